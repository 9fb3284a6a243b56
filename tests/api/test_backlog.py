#!/usr/bin/env python3
"""What cannot be sealed or merged, or not now, keeps nobody else waiting; and what could never be
read is not acknowledged."""
import sys

import people
import pug
import test_accounts
import test_catalog
import test_events
import test_sealed
from people import until
from test_catalog import DAY, KEYS, Project, ev, now_ms
from test_events import BATCH

FAN, AT_ONCE = 8, 32  # rewrite.c
P = None


def waiting(db, p):
    return int(db.one(f"SELECT count(*) FROM pugd.inbox WHERE project = {p.num}"))


def due(db):
    """All that waits has waited long enough."""
    db.query("UPDATE pugd.inbox SET received_at = received_at - interval '2 days'")


def test_a_project_that_fails_waits_alone(_):
    """It waits the longest, so it was tried first each time, and nothing came after it."""
    stuck, others = Project(), [Project() for _ in range(3)]
    with people.database() as db, people.database() as lock:
        lock.query("BEGIN")
        lock.query(f"SELECT pugd.seal_lock({stuck.num}, true)")
        for p in [stuck, *others]:
            p.send([ev()])
        due(db)
        until(lambda: not any(waiting(db, p) for p in others))
        assert waiting(db, stuck) == 1
        lock.query("COMMIT")
        until(lambda: waiting(db, stuck) == 0)


def test_what_cannot_be_merged_is_passed_over(_):
    """Segments that are too large together, on more days than are looked at in one go; behind them some
    that are not."""
    p = Project()
    with people.database() as db:
        for i in range(FAN):
            p.send([ev(age=now_ms() % DAY + DAY // 2)])
            if i < FAN - 1:  # or the keeper, who has sealed them, would merge this day alone
                due(db)
                until(lambda: waiting(db, p) == 0)
        # rows alone, of which nothing is read: the keeper leaves them when it sees their size
        db.query(f"""
            INSERT INTO pugd.segment
              (project, day, id, kind, n, tmin, tmax, columns, bytes, names, numbered, tier, place)
            SELECT s.project, s.day - d.n - 1, nextval('pugd.segment_id'), 'large', 1, 0, 0, 1, 20000000,
                   s.names, true, 0, s.place
            FROM (SELECT * FROM pugd.segment WHERE project = {p.num} ORDER BY id LIMIT 1) s,
                 generate_series(1, {AT_ONCE + 1}) d (n), generate_series(1, {FAN})""")
        test_sealed.seal(P)
        kinds = dict(db.query(f"SELECT kind, count(*) FROM pugd.segment WHERE project = {p.num} GROUP BY kind"))
        assert kinds == {"k": "1", "large": str(FAN * (AT_ONCE + 1))}, kinds
        db.query(f"DELETE FROM pugd.segment WHERE project = {p.num} AND kind = 'large'")
        assert test_sealed.verify(P)[0] == 0


def test_a_batch_that_no_blob_holds_is_refused(_):
    """With max_body raised. Keys without room share a part, which may have 16 MB."""
    p, events, text = Project(), 1000, "x" * 68
    with people.database() as db:
        db.query(f"INSERT INTO pugd.catalog (project, list, name) SELECT {p.num}, 2, 'k' || n "
                 f"FROM generate_series(1, {KEYS}) n")
    p.send([ev()])
    props = {f"x{k}": {"stringValue": text} for k in range(255)}
    many = [{**ev(), "customProperties": props} for _ in range(events)]
    status, got, _ = P.call(BATCH, {"events": many}, key=p.prv)
    assert status == 429 and got["code"] == "resource_exhausted" and "memory" in got["message"], (status, got)
    assert p.send(many[:500])["eventsCreated"] == 500
    test_sealed.seal(P)
    code, lines = test_sealed.verify(P)
    assert code == 0, lines


if __name__ == "__main__":
    cases = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    options = ["workers=1", "max_body=64M", "max_declared=256M", "call_memory=512M", "worker_memory=1G"]
    with pug.Pug(variant, options=options + test_sealed.LAZY) as P:
        test_accounts.P = test_events.P = test_catalog.P = test_sealed.P = P
        sys.exit(pug.main(cases))
