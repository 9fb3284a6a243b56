#!/usr/bin/env python3
"""How the real workers end: a crash, a hang, and a stop with calls in flight."""
import concurrent.futures
import contextlib
import http.client
import os
import re
import signal
import socket
import sys
import time

import pg
import pug

BATCH, QUERY = pug.BATCH, "/insights.v1.InsightsService/Query"
EVENT = {"events": [{"name": "slow", "distinctId": "x"}]}


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        assert time.monotonic() < end, f"no {what} in {seconds} s"
        time.sleep(0.01)


def workers(p):
    return [w for w in p.admin()["workers"] if w["role"] == "worker" and w["state"] == "ready"]


def die(p, conn, how, call_id):
    """A call that its worker does not survive; the obituary."""
    before = len(p.log())
    try:
        p.call(BATCH, {"events": [{"name": how, "distinctId": "x"}]}, key=p.info["private_key"], conn=conn,
               headers={"x-test-crash": how, "x-request-id": call_id})
        raise AssertionError("the worker should have died")
    except (OSError, http.client.HTTPException):
        pass
    line = wait_for("obituary", lambda: re.search(r"^.*worker died.*\n", p.log()[before:], re.M)).group(0)
    for word in (f'method="{BATCH[1:]}"', f'call="{call_id}"', "step=handle"):
        assert word in line, line
    return line


def test_hang_and_segfault_stay_with_their_worker(variant):
    with pug.Pug(variant, options=["workers=2", "hang_timeout=1s"]) as p:
        cases = [("hang", ("name=SIGABRT", "hung=1")), ("segv", ("name=SIGSEGV", "backtrace="))]
        # The sanitizer handles SIGSEGV itself, and would call it a finding.
        for number, (how, words) in enumerate(cases[:1] if variant == "asan" else cases):
            by_slot = p.connections_by_worker(3)
            assert len(by_slot) == 2, by_slot
            victim, other = by_slot.values()
            with pug.Steady(p, other) as load:
                line = die(p, victim[0], how, f"life-{how}-1")
                assert all(w in line for w in words) and ("hung=1" in line) == (how == "hang"), line
                wait_for("all workers", lambda: len(workers(p)) == 2)
                before = load.calls
                wait_for("calls afterwards", lambda: load.calls > before + 20 or load.failures)
            assert not load.failures and load.calls > 20, (load.calls, load.failures)
            page = p.admin()
            assert page["deaths"] == number + 1 and page["counters"]["hung"] == 1, page
            for conn in victim + other:
                conn.close()


def test_few_connections_are_spread(variant):
    """Four clients with a connection each are to have both workers, however soon they come after one another."""
    with pug.Pug(variant, options=["workers=2"]) as p:
        most = []
        for _ in range(16):
            socks = [socket.create_connection((p.host, p.port)) for _ in range(4)]
            wait_for("four connections", lambda: sum(w["connections"] for w in workers(p)) == 4)
            most.append(max(w["connections"] for w in workers(p)))
            for s in socks:
                s.close()
            wait_for("their ends", lambda: sum(w["connections"] for w in workers(p)) == 0)
        # 2 each is what it should be, and 3.4 on average what it was
        assert sum(most) <= 2.9 * len(most), most


def test_the_release_build_cannot_be_told_to_die(_):
    with pug.Pug("release", options=["workers=2"]) as p:
        for how in ("abort", "segv", "hang"):
            p.ok(BATCH, EVENT, key=p.info["private_key"], headers={"x-test-crash": how})
        assert p.admin()["deaths"] == 0


@contextlib.contextmanager
def held_up(p):
    """Nothing that touches stored events gets on, until the block ends."""
    with pg.connect(p.info["database_url"]) as db:
        db.query("BEGIN; LOCK TABLE pugd.inbox IN ACCESS EXCLUSIVE MODE")
        yield db
        # The connection's end ends the transaction.


def slow_calls(p, pool, answers):
    """24 calls that wait for the lock, each on a connection of its own; for each in the end the status
    and whether the connection was closed after it, or the error."""
    window = {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}
    query = {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [{"event": {"kind": "slow"}}]},
             "granularity": "GRANULARITY_DAY", "timeRange": window}

    def one(number):
        conn = p.connect(60)
        path, body = (QUERY, query) if number % 6 == 0 else (BATCH, EVENT)
        try:
            status, _, headers = p.call(path, body, key=p.info["private_key"], conn=conn)
            return status, headers.get("connection", "").lower() == "close"
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, True
        finally:
            conn.close()

    answers += [pool.submit(one, i) for i in range(24)]
    wait_for("calls in flight", lambda: sum(w["in_flight"] for w in workers(p)) >= 24)


def closed(sock):
    """A connection that idles is ended by the server, with nothing said."""
    sock.settimeout(20)
    return sock.recv(100) == b""


def test_stop_answers_what_is_in_flight(variant):
    with pug.Pug(variant, options=["workers=2"]) as p, concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = []
        idle = socket.create_connection((p.host, p.port))
        with held_up(p):
            slow_calls(p, pool, answers)
            os.kill(p.info["master_pid"], signal.SIGTERM)
            wait_for("drain", lambda: [w["state"] for w in p.admin()["workers"]].count("draining") >= 2)
            assert not any(a.done() for a in answers), [a.result() for a in answers if a.done()]
            released = time.monotonic()
        with idle:
            got = [a.result() for a in answers]
            assert got == [(200, True)] * 24, got
            assert time.monotonic() - released < 10, "the answers came late"
            assert closed(idle)
        p.stop()  # its own exit code says whether it saw the master's end before this
        assert "master: stopped exit=0" in p.log(), p.log()[-3000:]


def test_stop_is_bounded(variant):
    """Calls that never get on do not hold up the end: an error in words or a closed connection."""
    options = ["workers=2", "drain_timeout=1s"]
    with pug.Pug(variant, options=options) as p, concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = []
        with held_up(p):
            slow_calls(p, pool, answers)
            start = time.monotonic()
            os.kill(p.info["master_pid"], signal.SIGTERM)
            got = [a.result() for a in answers]
            assert time.monotonic() - start < 15, got
        assert all(status in (503, "RemoteDisconnected", "ConnectionResetError") for status, _ in got), got
        p.stop()  # its own exit code says whether it saw the master's end before this
        assert "master: stopped exit=0" in p.log(), p.log()[-3000:]


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    sys.exit(pug.main(tests, expects=(*pug.KILLS, "worker hangs", " name=SIGSEGV ", " hung=1 ")))
