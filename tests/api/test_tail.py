#!/usr/bin/env python3
"""Nobody seals: the tail of unsealed events grows over its budget, /readyz, metrics and status
say so, and events are taken all the same (storage.md: ingestion is refused last)."""
import contextlib
import json
import os
import random
import re
import signal
import sys
import time

import pug
import test_sealed
import test_status

P = SHOP = None
RND = random.Random(1)
MOST = 100  # tail_events


def ready():
    status, answer, _ = P.call("/readyz", method="GET")
    assert status == 200 and answer["ready"] is True, (status, answer)
    assert answer["dependencies"] == {"postgres_writer": "ok", "postgres_reader": "ok"}, answer
    return answer.get("degraded", False)


def gauges():
    return {k: int(v) for k, v in re.findall(r"^pugd_unsealed_(\w+) (\d+)$", P.admin("/metrics"), re.M)}


def becomes(degraded, seconds=30):
    """Waits while events keep coming in, each acknowledged at once."""
    end = time.monotonic() + seconds * (3 if P.slow else 1)
    while ready() != degraded:
        assert time.monotonic() < end, (gauges(), P.log()[-2000:])
        SHOP.send(SHOP.batch(RND, 2))
        time.sleep(0.3)
    return gauges()


@contextlib.contextmanager
def nobody_seals():
    """Another sealer seems to have the project, for ever."""
    with test_sealed.pg.connect(P.info["database_url"]) as db:
        db.query("BEGIN")
        db.query("SELECT pugd.seal_lock($1, true)", SHOP.num)
        yield
        db.query("ROLLBACK")


def calm():
    """Everything is sealed, and has been seen to be."""
    test_sealed.until(lambda: SHOP.rows("inbox") == 0 and gauges().get("events") == 0, 60)


def test_a_short_tail_is_nothing_to_tell(_):
    SHOP.send(SHOP.batch(RND, 5))
    calm()
    assert ready() is False
    got = gauges()
    assert (got["over_budget"], got["oldest_seconds"]) == (0, 0) and got["seen_seconds"] <= 10, got
    assert re.search("^waiting to be sealed: 0 events, the oldest for 0ms$", status(), re.M), status()


def status(*more):
    test_status.P = P
    return test_status.status(*more)


def test_too_many(_):
    with nobody_seals():
        SHOP.send(SHOP.batch(RND, MOST + 1))
        got = becomes(True)
        assert got["events"] > MOST and got["over_budget"] == 1 and got["seen_seconds"] <= 10, got
        page = json.loads(status("--json"))["unsealed"]
        assert page["events"] > MOST and page["over_budget"] == 1, page
        assert re.search(r"^waiting to be sealed: \d+ events, the oldest for \S+: too much or too long$",
                         status(), re.M), status()
        SHOP.send(SHOP.batch(RND, 50))
    assert becomes(False)["over_budget"] == 0
    SHOP.check()


def test_too_long(_):
    """seal_age and tail_age are a second each."""
    calm()
    with nobody_seals():
        SHOP.send(SHOP.batch(RND, 1))
        assert ready() is False
        end = time.monotonic() + 30
        while not ready():  # nothing else comes, so that it is not the number
            assert time.monotonic() < end, gauges()
            time.sleep(0.2)
        got = gauges()
        assert got["events"] == 1 and got["oldest_seconds"] >= 2 and got["over_budget"] == 1, got
    becomes(False)
    calm()
    log = P.log()
    assert log.count("unsealed events over budget") == log.count("unsealed events within budget again") > 0


def test_without_a_keeper(_):
    """It stands still: then it is the workers who look, because they are asked whether they are ready."""
    pid = test_sealed.keeper(P)
    os.kill(pid, signal.SIGSTOP)
    try:
        SHOP.send(SHOP.batch(RND, MOST + 1))
        becomes(True, 40)
        test_sealed.until(lambda: ready() and gauges()["events"] > MOST, 90)
        SHOP.send(SHOP.batch(RND, 50))
    finally:
        os.kill(pid, signal.SIGCONT)
    becomes(False)
    SHOP.check()


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2", "seal_age=1s", "tail_age=1s", f"tail_events={MOST}",
                                   "hang_timeout=10m"]) as P:
        SHOP = test_sealed.Shop(P)
        sys.exit(pug.main(tests))
