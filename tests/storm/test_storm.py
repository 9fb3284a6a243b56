#!/usr/bin/env python3
"""Reloads, kills and a database crash under load: nothing acknowledged is lost, nothing doubled."""
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import pug

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from load import Load

FULL = os.environ.get("STORM") == "full"
P = None


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = check()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError(f"timed out waiting for {what}: {json.dumps(status())[:2000]}")


def stored_ids():
    """Every stored event of the demo project by id, through ActivityService.List."""
    token, ids = None, []
    while True:
        body = {"kind": "storm", "pageSize": 1000, **({"pageToken": token} if token else {})}
        page = P.ok("/activity.v1.ActivityService/List", body, key=P.info["private_key"])
        ids += [e["eventId"] for e in page["events"]]
        token = page.get("nextPageToken")
        if not token:
            return ids


def check_exactly_once(load, before=0):
    ids = stored_ids()
    assert len(ids) == len(set(ids)), f"{len(ids) - len(set(ids))} stored twice"
    lost = load.acked - set(ids)
    assert not lost, f"{len(lost)} acknowledged events lost of {len(load.acked)}"


def hup_and_wait(counter):
    """A reload that ends as said: `completed` or `rejected`."""
    before = P.admin()[counter]
    os.kill(P.info["master_pid"], signal.SIGHUP)
    wait_for(f"one more {counter}", lambda: status()[counter] > before)


def status():
    """The page is gone for a moment while the master execs itself."""
    while True:
        try:
            return P.admin()
        except OSError:
            time.sleep(0.01)


# Four busy connections and eight that idle, up to almost the 5 s that are promised.
GAPS = [(0, 0.02), (0.2, 0.6), (0.5, 1.5), (0, 0.2), (0.2, 0.6), (0.5, 1.5), (0, 0.02), (1, 2.5), (0.2, 4.9),
        (0, 0.02), (1, 2.5), (0.2, 4.9)]


def wait_for_drain():
    """True if a connection idled on the old generation meanwhile, as the old workers themselves say."""
    seen = []

    def drained():
        old = [w for w in status()["workers"] if w["state"] == "draining"]
        seen.extend(w.get("connections", 0) - w.get("in_flight", 0) for w in old)
        return not old

    wait_for("the drain", drained, 60)
    return any(n > 0 for n in seen)


def test_reloads_fail_no_call(_):
    """Completed generations, rejected configs, and a binary with another segment layout."""
    rounds, bad_every = (80, 4) if FULL else (12, 4)
    good = open(P.config, encoding="utf-8").read()
    swap = rounds // 2
    done = rejected = drains_with_idle = 0
    with Load(P.host, P.port, P.info["private_key"], threads=len(GAPS), gap=GAPS) as load:
        for i in range(rounds):
            if i == swap:
                shutil.copy(os.path.join(pug.TOP, "build/pad/pugd"), P.binary + ".new")
                os.rename(P.binary + ".new", P.binary)
            if i % bad_every == bad_every - 1:
                with open(P.config, "w", encoding="utf-8") as f:
                    f.write("workers = many\n")
                hup_and_wait("rejected")
                rejected += 1
                with open(P.config, "w", encoding="utf-8") as f:
                    f.write(good)
            hup_and_wait("completed")
            done += 1
            drains_with_idle += wait_for_drain()
    assert not load.failures, load.failures[:10]
    assert load.calls > rounds, load.calls
    assert drains_with_idle > rounds * 0.8, f"{drains_with_idle} of {rounds} drains had idle connections"
    check_exactly_once(load)
    print(f"     {done} generations ({drains_with_idle} with idle connections), {rejected} rejected, "
          f"{load.calls} calls, 0 failed")


def workers():
    page = status()
    return [dict(w, ready_at=(page["time_ms"] - w["state_ms"]) / 1000) for w in page["workers"]
            if w["role"] == "worker" and w["state"] == "ready"]


def test_killed_workers_lose_nothing(_):
    kills = 200 if FULL else 40
    rng = random.Random(7)
    times = []
    with Load(P.host, P.port, P.info["private_key"], threads=4, gap=(0.01, 0.03), retry=True) as load:
        for _ in range(kills):
            time.sleep(rng.uniform(0.1, 0.4))
            want = P.workers
            wait_for("all workers", lambda: len(workers()) >= want, 60)
            before = {w["pid"] for w in workers()}
            victim = rng.choice(workers())
            start = time.monotonic()
            os.kill(victim["pid"], signal.SIGKILL)
            fresh = wait_for("a new worker", lambda: [
                w for w in workers() if w["pid"] not in before], 30)
            times.append(min(w["ready_at"] for w in fresh) - start)
    assert not load.failures, load.failures[:10]
    check_exactly_once(load)
    print(f"     {kills} kills, {load.retried} retries, ready again after "
          f"{statistics.median(times) * 1000:.0f} ms in the median, "
          f"{max(times) * 1000:.0f} ms at the most")
    assert P.variant == "asan" or statistics.median(times) <= 0.05, times
    assert P.admin()["counters"]["panics"] >= kills


def postmaster_pid():
    cluster = os.path.join(os.path.realpath(os.path.join(P.data, "postgres")), "data")
    if not os.path.exists(os.path.join(cluster, "postmaster.pid")):
        cluster = os.path.join(P.data, "postgres")
    try:
        with open(os.path.join(cluster, "postmaster.pid"), encoding="utf-8") as f:
            return int(f.readline())
    except (OSError, ValueError):
        return 0  # between two lives


def test_killed_database_needs_no_restart(_):
    pids = {w["pid"] for w in workers()}
    with Load(P.host, P.port, P.info["private_key"], threads=4, gap=(0, 0.02), retry=True,
              also=(503,)) as load:
        time.sleep(0.5)
        for _ in range(3):
            old = postmaster_pid()
            os.kill(old, signal.SIGKILL)
            wait_for("a new postmaster", lambda: postmaster_pid() not in (0, old), 60)
            wait_for("ready", lambda: P.call("/readyz", method="GET")[0] == 200, 30)
            # Of every worker: each has connections, and a backoff, of its own.
            wait_for("the workers' connections", lambda: all(w["db_up"] for w in workers()), 30)
            before = load.calls
            wait_for("calls again", lambda: load.calls > before + 10, 30)
    assert not load.failures, load.failures[:10]
    assert {w["pid"] for w in workers()} == pids, "a worker did not survive the database"
    check_exactly_once(load)


BATCH = "/events.v1.EventsService/BatchCreate"


def test_crash_is_isolated_and_quarantined(_):
    body = {"events": [{"name": "boom", "distinctId": "x"}]}
    crash = {"x-test-crash": "abort", "x-request-id": "crash-test-1"}
    by_slot = P.connections_by_worker(4)
    log_before = len(P.log())
    deaths = status()["deaths"]
    victim = min(by_slot)
    others = sum((conns for slot, conns in by_slot.items() if slot != victim), [])
    with pug.Steady(P, others) as load:  # whoever is on another worker notices nothing
        wait_for("the load", lambda: load.calls > 20)
        try:
            P.call(BATCH, body, key=P.info["private_key"], headers=crash, conn=by_slot[victim][0])
            raise AssertionError("the worker should have died")
        except (OSError, pug.http.client.HTTPException):
            pass
        wait_for("the obituary", lambda: status()["deaths"] > deaths, 30)
        wait_for("all workers", lambda: len(workers()) >= P.workers, 30)
        after = load.calls
        wait_for("calls afterwards", lambda: load.calls > after + 20 or load.failures)
    assert not load.failures, load.failures
    for conn in sum(by_slot.values(), []):
        conn.close()
    try:  # the second time may meet any worker
        P.call(BATCH, body, key=P.info["private_key"], headers=crash)
        raise AssertionError("the worker should have died")
    except (OSError, pug.http.client.HTTPException):
        pass
    wait_for("the obituary", lambda: status()["deaths"] > deaths + 1, 30)
    wait_for("all workers", lambda: len(workers()) >= P.workers, 30)
    obituaries = [line for line in P.log()[log_before:].splitlines() if "worker died" in line]
    assert len(obituaries) == 2, obituaries
    for line in obituaries:
        assert "BatchCreate" in line and "crash-test-1" in line and "handle" in line, line
    code, answer, _ = P.call(BATCH, body,
                               key=P.info["private_key"], headers=crash)
    assert code == 503 and answer["code"] == "unavailable", (code, answer)
    # Only that fingerprint: the same method with another body works.
    P.ok(BATCH, {"events": [{"name": "fine", "distinctId": "x"}]},
         key=P.info["private_key"])
    assert P.admin()["quarantine"], P.admin()
    subprocess.run([P.binary, "quarantine", "clear", "--admin", P.info["admin"]], check=True,
                   stdout=subprocess.DEVNULL)


def pss_kb(pid):
    """A worker's memory map is closed to ordinary users: then its private pages have to do."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    except PermissionError:
        with open(f"/proc/{pid}/statm", encoding="utf-8") as f:
            _, resident, shared = (int(x) for x in f.read().split()[:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_idle_memory(variant):
    """PSS of all processes of an idle pugd with two workers (release build)."""
    if variant == "asan":
        return
    binary = os.path.join(pug.TOP, "build/release/pugd")
    with pug.Pug(binary=binary, options=["workers=2"]) as idle:
        time.sleep(2)
        info = idle.admin()
        pids = [idle.info["master_pid"]] + [w["pid"] for w in info["workers"]]
        total = 0
        for pid in pids:
            total += pss_kb(pid)
        print(f"     {total / 1024:.1f} MB in {len(pids)} processes")
        assert len(pids) == 4 and total < 40 * 1024, total


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    folder = tempfile.mkdtemp(prefix="pugs-")
    try:
        # A copy of the binary, because one test replaces it under the running master.
        binary = os.path.join(folder, "pugd")
        shutil.copy(os.path.join(pug.TOP, "build", variant, "pugd"), binary)
        config = os.path.join(folder, "pugd.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("workers = 2\n")
        with pug.Pug(variant, binary=binary, config=config) as P:
            P.workers, P.variant = 2, variant
            # The reload test last: it swaps the binary.
            tests.sort(key=lambda t: t[0] == "test_reloads_fail_no_call")
            code = pug.main(tests, expects=(*pug.ABORTS, "pugd.conf:[0-9]+: workers: 'many' "))
            if code:
                print(P.log()[-6000:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)
