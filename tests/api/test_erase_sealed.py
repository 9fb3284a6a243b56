#!/usr/bin/env python3
"""Deletion of persons whose events are sealed, being sealed or being merged (D27)."""
import contextlib
import os
import random
import signal
import sys
import time

import people
import pug
import test_erase as base
from people import until
from test_erase import FAILED, Project, event, held, keeper, mark, person

P = None


def use(server):
    global P
    P = base.P = server
    base.use(server)


def seal():
    code, out, err = base.pugd(P, "seal")
    assert code == 0, (out, err)


def segments(p):
    """(place, tier, events) of each."""
    with people.database() as db:
        return [tuple(map(int, r)) for r in db.query(
            f"SELECT place, tier, n FROM pugd.segment WHERE project = {p.num} ORDER BY place")]


def test_sealed_merged_and_waiting(_):
    p, m, other = Project(), mark(), mark()
    profile, external, anon = person(p, m, 6)
    stays = person(p, other, 4)
    for i in range(20):
        p.put(event(external, note=f"note {m} {i}"), event(stays[1]), event(f"only-{m}" if i % 5 else anon))
        seal()
    assert max(t for _, t, _ in segments(p)) > 0, "some are merged"
    p.put(event(anon, note=m), event(stays[1]))
    before, used, views = p.feed(), p.usage(), p.trend()
    hers = {i for i, e in before.items() if e["distinctId"] in (profile, external, anon)}
    assert len(hers) == 6 + 20 + 4 + 1 and views == len(before), (len(hers), views)
    with held():
        request = p.delete(anon)["requestId"]
        rest = {i: e for i, e in before.items() if i not in hers}
        p.missing(profile, external, anon)
        for _ in range(2):
            assert p.feed() == rest and p.trend() == len(rest) and p.feed(external) == {}
            assert p.listed() == {stays[0], f"only-{m}"} and p.usage() == used
            seal()  # who is hidden goes along
        stored = sum(n for _, _, n in segments(p))
        assert stored == len(before)
        new = [event(external) for _ in range(3)]
        for e in new:
            p.put(e)
            seal()
        with people.database() as db:
            high = int(db.one("SELECT high FROM pugd.erasures WHERE id = $1", request))
        assert sum(n for place, _, n in segments(p) if place < high) == stored, "the sides stay apart"
        assert set(p.feed()) == set(rest) | {e["eventId"] for e in new}
        assert m in p.bytes()
    said = p.wait(request)
    assert int(said["eventsIdentified"]) == len(hers), said
    assert set(p.feed()) == set(rest) | {e["eventId"] for e in new} and p.get(external)["id"] == external
    assert f"note {m}" not in p.bytes() and f"anon-{m}" not in p.bytes()
    assert p.usage() == str(int(used) + 3), "what was stored stays counted (D42)"
    p.checks()
    second = p.wait(p.delete(external)["requestId"])
    assert int(second["eventsIdentified"]) == 3 and p.feed() == rest and f"ext-{m}" not in p.bytes()
    p.put(*(event(external, event_id=i) for i in hers))
    assert p.feed() == rest, "what was erased does not come again"
    p.checks()


def test_merging_keeps_sides_apart(_):
    """Many small segments before and after a deletion that waits."""
    p, who, other = Project(), f"anon-{mark()}", f"other-{mark()}"
    with held():
        requests = []
        for i in range(3):
            for _ in range(9):
                p.put(event(who), event(other))
                seal()
            assert len(p.feed(who)) == 9 and len(p.feed(other)) == 9 * (i + 1)
            requests.append(p.delete(who)["requestId"])
            assert p.feed(who) == {}
        assert max(t for _, t, _ in segments(p)) == 1 and len(segments(p)) <= 6, segments(p)
    assert [int(p.wait(r)["eventsIdentified"]) for r in requests] == [9, 9, 9]
    assert len(p.feed()) == 27 and who not in p.bytes()
    p.checks()
    seal()
    assert len(p.feed()) == 27


def test_damaged_segment(_):
    p, m = Project(), mark()
    profile, _, _ = person(p, m, 4)
    seal()
    where = f"WHERE project = {p.num} AND part = 4"
    flip = f"UPDATE pugd.segment_column SET data = set_byte(data, 0, get_byte(data, 0) # 1) {where}"
    with people.database() as db:
        with held():
            request = p.delete(profile)["requestId"]
            db.query(flip)
        assert "damaged" in p.wait(request, FAILED)["error"]
        db.query(flip)
        assert p.delete(profile)["requestId"] == request
    assert int(p.wait(request)["eventsIdentified"]) == 4 and m not in p.bytes() and p.feed() == {}


SEALED_TOO = ("test_hidden_at_once_and_then_gone", "test_a_repeat_is_not_stored_and_a_new_event_is_somebody_new",
              "test_the_new_one_can_be_deleted_too", "test_data_subject", "test_others_keep_what_is_theirs",
              "test_many_deletes_at_once", "test_events_arrive_while_their_person_is_deleted", "test_crash_points")


@contextlib.contextmanager
def eager(variant, segments_at_least):
    """A server whose keeper seals all the time; what it stores is verified at the end."""
    outer = P
    with pug.Pug(variant, options=["workers=2", "seal_age=0", "seal_events=1"]) as server:
        use(server)
        try:
            yield
            with people.database() as db:
                assert int(db.one("SELECT last_value FROM pugd.segment_id")) >= segments_at_least, "it did seal"
            code, out, _ = base.pugd(P, "verify")
            assert code == 0, out
        finally:
            use(outer)


def test_while_the_keeper_seals_all_the_time(variant):
    with eager(variant, 10):
        for name in SEALED_TOO:
            getattr(base, name)(variant)
            # a keeper that was killed may have to wait; what came meanwhile would be sealed at once
            with people.database() as db:
                until(lambda: db.one("SELECT count(*) FROM pugd.inbox") == "0", 60)


def test_killed_while_it_seals(variant):
    with eager(variant, 2):  # of its own: after crashes the master lets a keeper wait
        kill_sealed(variant)


def kill_sealed(variant):
    """Keepers die while they seal, merge and erase."""
    p, who, n = Project(), f"anon-{mark()}", 0
    for _ in range(2 if variant == "asan" else 5):
        for _ in range(30):
            p.put(event(who), event("stays"))
            n += 1
        request = p.delete(who)["requestId"]
        for _ in range(3):
            time.sleep(random.uniform(0, 0.3))
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper(), signal.SIGKILL)
        assert p.feed(who) == {} and len(p.feed()) == n
        assert int(p.wait(request)["eventsIdentified"]) == 30
    assert len(p.feed("stays")) == n == len(p.feed()) and p.usage() == str(2 * n) and who not in p.bytes()
    p.checks()


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as first:
        first.variant = variant
        use(first)
        sys.exit(pug.main(tests, expects=(*pug.ABORTS, "erasure failed .* is damaged")))
