#!/usr/bin/env python3
"""Identical questions at the same time are answered once, whichever worker they come to (D40),
and every answer has all that was acknowledged before it was asked for (D21). Everything of
test_flights that says nothing about threads holds over several workers, too."""
import os
import random
import re
import signal
import sys
import threading
import time

import pug
import test_flights as tf
from test_flights import QUERY, Asked, Locked, Project, Spent, count, hang_up, in_flight, total, trend, until

WORKERS = 3
BUDGET = "60s"
P = None


def begin(p):
    """test_flights' helpers ask this server."""
    global P
    P = tf.P = p


def handed():
    return sum(float(v) for v in re.findall(r"^pugd_insight_handed_total(?:{[^}]*})? (\S+)$", P.admin("/metrics"), re.M))


def calls():
    """In flight, by worker."""
    return {w["pid"]: w["in_flight"] for w in P.admin()["workers"] if w["role"] == "worker"}


def more_since(before):
    """The worker that got one more call."""
    return next(pid for pid, n in calls().items() if n > before[pid])


class Risky(Asked):
    """A question whose worker may die."""
    def run(self):
        try:
            super().run()
        except OSError:
            self.answer = (0, None)


def test_sixty_cost_two(_):
    p = Project()
    p.event(3)
    before = handed()
    with Spent() as spent, Locked() as lock:
        first = Asked(p, count())
        lock.held(1)
        more = [Asked(p, count()) for _ in range(59)]
        in_flight(60)
        assert all(calls().values()), "some connections came to each"
        time.sleep(0.3)
        lock.release()
        assert [total(a.result()) for a in [first, *more]] == [3] * 60
    assert spent.scans == 2 and spent.joined == 58, vars(spent)
    assert handed() - before > 10
    with Spent() as spent:
        for _ in range(6):
            assert total(P.ok(QUERY, count(), key=p.key)) == 3
    assert spent.scans == 6 and spent.joined == 0, "one after the other each is answered anew"


def test_answers_are_whole(_):
    """What comes through shared memory is what a worker of its own would have said."""
    p = Project()
    for day in range(1, 15):
        for hour in range(0, 24, 3):
            p.event(1 + day % 3, "view", f"2026-05-{day:02}T{hour:02}:20:00Z")
    body = {**trend(unit="HOUR"), "timeRange": {"from": "2026-05-01T00:00:00Z", "to": "2026-05-15T00:00:00Z"}}
    want = P.ok(QUERY, body, key=p.key)
    assert sum(x["value"] for x in want["trends"]["series"][0]["points"]) == 8 * sum(1 + d % 3 for d in range(1, 15))
    before = handed()
    with Locked() as lock:
        first = Asked(p, body)
        lock.held(1)
        more = [Asked(p, body) for _ in range(40)]
        in_flight(41)
        lock.release()
        assert all(a.result() == want for a in [first, *more])
    assert handed() > before


def test_read_your_writes(_):
    """A scan that has its snapshot is joined from no worker."""
    p = Project()
    p.event(1)
    with Spent() as spent, Locked() as lock:
        early = Asked(p, count())
        lock.held(1)
        asked = []
        for n in range(2, 12):
            p.event(1)
            asked.append(Asked(p, count()))
            in_flight(n)
        lock.release()
        assert total(early.result()) == 1
        assert [total(a.result()) for a in asked] == [11] * 10
    assert spent.scans == 2, vars(spent)


def test_read_your_writes_in_a_crowd(_):
    before = handed()
    spent = tf.crowd(12, 200)
    assert spent.joined > 50 and handed() - before > 20, (vars(spent), handed() - before)


def test_others_are_others(_):
    tf.test_others_are_others(_)


def test_who_asked_first_leaves(_):
    """Its worker goes on for callers of others, and no longer than for them."""
    p = Project()
    p.event(2)
    with Spent() as spent, Locked() as lock:
        # as many as there are threads, so that nobody's snapshot is taken
        busy = [Asked(p, count(f"x{n}")) for n in range(2 * WORKERS)]
        in_flight(len(busy))
        first = hang_up(p, count())
        in_flight(len(busy) + 1)
        rest = [Asked(p, count()) for _ in range(12)]
        in_flight(len(busy) + 13)
        first.close()
        time.sleep(1)
        lock.release()
        assert [total(a.result()) for a in rest] == [2] * 12
        for b in busy:
            assert total(b.result()) == 0
    assert spent.scans <= len(busy) + 2, vars(spent)
    # and when all have left, nothing goes on
    with Spent() as spent, Locked() as lock:
        gone = [hang_up(p, count()) for _ in range(20)]
        in_flight(20)
        lock.held(1)
        for s in gone:
            s.close()
        until(lambda: lock.look.one(tf.HELD) == "0")
        until(lambda: sum(calls().values()) == 0)
    assert total(P.ok(QUERY, count(), key=p.key)) == 2


def test_its_worker_dies(_):
    """Callers of the other workers have their answer all the same."""
    p = Project()
    p.event(4)
    with Locked() as lock:
        first = Risky(p, count())
        lock.held(1)
        before = calls()
        rest = [Risky(p, count())]  # who leads the flight of all that come now
        in_flight(2)
        leader = more_since(before)
        rest += [Risky(p, count()) for _ in range(30)]
        in_flight(32)
        there = calls()
        assert all(there.values()), there
        os.kill(leader, signal.SIGKILL)
        until(lambda: leader not in calls())
        time.sleep(0.3)
        lock.release()
        for a in [first, *rest]:
            a.join(60)
    answered = [a.answer for a in [first, *rest] if a.answer[0]]
    assert len(answered) == 32 - there[leader], (there, leader, answered)
    assert all(status == 200 and total(answer) == 4 for status, answer in answered), answered
    until(lambda: len(calls()) == WORKERS)


def test_a_deadly_question(_):
    """What has killed two workers is not asked of the third, though that waits for it (D92)."""
    p, bad = Project(), count("deadly")
    with Locked() as lock:
        before = calls()
        hang_up(p, bad)
        lock.held(1)
        first = more_since(before)
        while True:  # who leads the flight of all that come now is to be in another worker
            before = calls()
            s = hang_up(p, bad)
            in_flight(2)
            second = more_since(before)
            if second != first:
                break
            s.close()
            until(lambda: sum(calls().values()) == 1)
        rest = [Risky(p, bad) for _ in range(30)]
        in_flight(32)
        assert all(calls().values()), calls()
        third = next(pid for pid in calls() if pid not in (first, second))
        os.kill(third, signal.SIGSTOP)  # so that it is not the one who asks next
        try:
            for pid in (first, second):
                os.kill(pid, signal.SIGABRT)  # in its scan, for all that the master can know
                until(lambda: pid not in calls())
                if pid == first:
                    lock.held(2)  # PostgreSQL does not know yet that the first is dead
                    os.kill(third, signal.SIGCONT)
                    time.sleep(0.3)
        finally:
            os.kill(third, signal.SIGCONT)
        for a in rest:
            a.join(20)
        lock.held(2)  # nobody has asked for a third time
    got = [a.answer for a in rest if a.answer[0]]
    assert got and all(status == 503 and "made the server fail" in answer["message"] for status, answer in got), got
    until(lambda: len(calls()) == WORKERS)
    assert total(P.ok(QUERY, count("harmless"), key=p.key)) == 0


def test_deaths_at_any_time(_):
    """Answers stay right, and the rest gets them, while workers are killed."""
    p = Project()
    for _ in range(5):
        p.event(1000)
    end, wrong, answered = time.monotonic() + 6, [], [0]

    def ask(seed):
        pick = random.Random(seed)
        while time.monotonic() < end and not wrong:
            kind = pick.choice(("view", "x"))
            try:
                status, answer, _ = P.call(QUERY, count(kind), key=p.key)
            except OSError:
                continue  # it came to the one that died
            answered[0] += status == 200
            if status != 200 or total(answer) != (5000 if kind == "view" else 0):
                wrong.append(answer)
    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(12)]
    for t in threads:
        t.start()
    for n in range(4):
        time.sleep(1)
        os.kill(random.Random(n).choice(sorted(calls())), signal.SIGKILL)
    for t in threads:
        t.join(30)
    assert not wrong and answered[0] > 50, (wrong[:1], answered)
    until(lambda: len(calls()) == WORKERS and sum(calls().values()) == 0)


def test_coming_and_going(_):
    tf.test_coming_and_going(_)


def test_a_reload_in_between(_):
    """Workers of two generations have different settings: they do not answer each other."""
    p = Project()
    p.event(1)
    with Spent() as spent, Locked() as lock:
        early = [Asked(p, count())]
        lock.held(1)
        early += [Asked(p, count()) for _ in range(6)]
        in_flight(7)
        old = set(calls())
        os.kill(P.info["master_pid"], signal.SIGHUP)
        until(lambda: {w["state"] for w in P.admin()["workers"] if w["pid"] in old} <= {"draining"} and
              sum(w["state"] == "ready" and w["pid"] not in old for w in P.admin()["workers"]) > WORKERS)
        late = [Asked(p, count()) for _ in range(6)]
        lock.held(2)
        lock.release()
        assert [total(a.result()) for a in early + late] == [1] * 13
    assert spent.scans >= 3, vars(spent)
    until(lambda: len(calls()) == WORKERS)


def test_without_memory_for_it(variant):
    """insight_cache=0: each worker answers its own."""
    outer = P
    with pug.Pug(variant, options=[f"workers={WORKERS}", "insight_parallel=64", "insight_cache=0"]) as other:
        begin(other)
        try:
            p = Project()
            p.event(3)
            with Spent() as spent, Locked() as lock:
                first = Asked(p, count())
                lock.held(1)
                more = [Asked(p, count()) for _ in range(29)]
                in_flight(30)
                lock.release()
                assert [total(a.result()) for a in [first, *more]] == [3] * 30
            assert 2 < spent.scans <= 2 * WORKERS and handed() == 0, vars(spent)
        finally:
            begin(outer)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test",
                 options=[f"workers={WORKERS}", "insight_parallel=64", "insight_threads=2",
                          f"insight_timeout={BUDGET}"]) as P:
        begin(P)
        sys.exit(pug.main(tests, sys.argv[1:], expects=pug.ABORTS))
