#!/usr/bin/env python3
"""Events that are sent again: what is known is found out before anything is written.

The question for known ids against a model; that nothing is written of what is known; and a call that
leaves while its group waits for the answer: whoever sent the same events loses none."""
import datetime
import random
import sys
import threading
import time
import uuid

import pg
import pug
import test_accounts
import test_events
from test_claims import array, numbers
from test_events import Project, ask, event

UTC = datetime.timezone.utc
P = None
LOCK = "BEGIN; LOCK TABLE pugd.event_seen IN ACCESS EXCLUSIVE MODE"


def known(db, ids):
    """ids: [(project, day, id)], of one day after the other; those that are known."""
    days = sorted({e[1] for e in ids})
    past = [sum(e[1] <= day for e in ids) for day in days]
    first = {project: min(e[1] for e in ids if e[0] == project) for project, _, _ in ids}
    dates = lambda some: array([f"'{d}'" for d in some], "date")
    got = db.one("SELECT array_to_string(pugd.events_known("
                 f"{array([e[0] for e in ids], 'int')}, {array([repr(e[2]) for e in ids], 'uuid')}, {dates(days)}, "
                 f"{array(past, 'int')}, {array(list(first), 'int')}, {dates(first.values())}), ',')")
    return {ids[int(x) - 1] for x in (got or "").split(",") if x}


def test_known_ids(_):
    rng = random.Random(14)
    today = datetime.datetime.now(UTC).date()
    days = [str(today - datetime.timedelta(days=n)) for n in (0, 1, 40, 4000)]  # the last has no partition of its own
    with pg.connect(P.info["database_url"]) as db:
        db.query("BEGIN")  # and nothing of it stays
        live, keeps, dead = numbers(db)
        (alive,) = set(live) - {keeps, dead}
        pool = [(p, d, str(uuid.UUID(int=rng.getrandbits(128)))) for p in live for d in days[:3] for _ in range(20)]
        stored = set(rng.sample(pool, 90))
        for e in stored:
            db.query("INSERT INTO pugd.event_seen VALUES ($1, $2, $3)", *e)
        for turn in range(60):
            some = rng.sample(pool, rng.randint(1, 60)) + [(alive, days[3], str(uuid.uuid4()))]
            odd = any(e[0] == dead or e[0] == keeps and e[1] == days[2] for e in some)
            if turn % 3:  # mostly it is nobody's
                some, odd = [e for e in some if e[0] == alive or e[0] == keeps and e[1] != days[2]], False
            some.sort(key=lambda e: (e[1], rng.random()))
            got = known(db, some)
            assert got == (set() if odd else set(some) & stored), (turn, odd, got)
        db.query("ROLLBACK")


def test_written_once(_):
    """Of what is known nothing is written, whatever it comes with: other days, other projects."""
    now = datetime.datetime.now(UTC)
    projects = [Project() for _ in range(2)]
    events = [event("again", f"u{i % 7}", now - datetime.timedelta(hours=30 * (i % 3))) for i in range(120)]
    with pg.connect(P.info["database_url"]) as db:
        nums = "{" + ",".join(db.one("SELECT num FROM pugd.projects WHERE id = $1", p.id) for p in projects) + "}"
        for p in projects:
            assert p.send(events[:60])["eventsCreated"] == 60
            assert p.send(events[:60]).get("eventsCreated", 0) == 0
            assert p.send(events[30:] + events[:10])["eventsCreated"] == 60
            assert p.send(events[::-1]).get("eventsCreated", 0) == 0
        got = db.query("SELECT count(*), sum(n), sum(stored), count(refused) FROM pugd.inbox WHERE project = ANY($1)", nums)
        assert [int(x) for x in got[0]] == [4, 240, 240, 0], got


def waiting(db, n):
    """Until so many wait for the lock."""
    deadline = time.monotonic() + 20
    while int(db.one("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pugd.event_seen'::regclass")) < n:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.02)


def test_who_leaves(variant):
    """One call gives up while its group asks. It had the only copy, as the group counts, of an event that
    another call of the group sent, too."""
    with pug.Pug(variant, options=["workers=1", "db_ingest=1"]) as mine:
        url, key = mine.info["database_url"], mine.info["private_key"]
        now = datetime.datetime.now(UTC)
        old = [event("resent", f"u{i}", now) for i in range(10)]
        x, y, z = (event("new", name, now) for name in "xyz")
        answers = {}

        def send(name, events, **headers):
            answers[name] = mine.call(test_events.BATCH, {"events": events}, key=key, headers=headers)[:2]

        def start(name, events, **headers):
            t = threading.Thread(target=send, args=(name, events), kwargs=headers)
            t.start()
            return t

        send("before", old)
        with pg.connect(url) as first, pg.connect(url) as second, pg.connect(url) as watch:
            first.query(LOCK)
            calls = [start("ahead", [event("other", "u", now)])]
            waiting(watch, 1)
            locker = threading.Thread(target=lambda: second.query(LOCK))  # behind the call, ahead of the group
            locker.start()
            waiting(watch, 2)
            leaver = start("leaver", old + [x, z], **{"connect-timeout-ms": "1500"})
            time.sleep(0.3)
            calls.append(start("stayer", old[::-1] + [y, x]))
            time.sleep(0.3)
            first.query("COMMIT")
            locker.join()
            waiting(watch, 1)
            leaver.join()
            second.query("COMMIT")
        for t in calls:
            t.join()
        assert answers["before"][1]["eventsCreated"] == 10, answers
        assert answers["leaver"][1]["code"] == "deadline_exceeded", answers
        assert answers["stayer"][0] == 200 and answers["stayer"][1]["eventsCreated"] == 2, answers
        send("again", old + [x, y, z])
        assert answers["again"][1]["eventsCreated"] == 1, answers
        with pg.connect(url) as db:
            assert int(db.one("SELECT sum(stored) FROM pugd.inbox")) == 14


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant) as P:
        test_accounts.P = test_events.P = P
        sys.exit(pug.main(tests))
