#!/usr/bin/env python3
"""Identical questions at the same time are answered once (D40), and every answer has all that
was acknowledged before it was asked for (D21). A lock that no scan gets past stands in for a
heavy question, so that what shares a scan is known and not a matter of luck."""
import json
import random
import re
import socket
import sys
import threading
import time
import uuid

import pg
import pug

P = None
QUERY = "/insights.v1.InsightsService/Query"
BOARDS = "/dashboards.v1.DashboardsService/"
MAY = {"from": "2026-05-01T00:00:00Z", "to": "2026-05-03T00:00:00Z"}
# Events come in all the same.
# Scans that wait for the lock have no turns (shm/turns.h): insight_parallel is 64.
LOCK = "BEGIN; LOCK TABLE pugd.segment IN ACCESS EXCLUSIVE MODE"
HELD = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND application_name = 'pugd' AND query LIKE '%retention_floor%'")


class Project:
    def __init__(self, zone=""):
        made = P.ok("/auth.v1.AuthService/SignUp", {
            "email": f"p-{uuid.uuid4().hex[:12]}@example.com", "password": "correct horse"})
        self.token = made["token"]
        org = P.ok("/orgs.v1.OrgsService/List", token=self.token)["orgs"][0]["id"]
        self.id = P.ok("/projects.v1.ProjectsService/Create", {
            "orgId": org, "displayName": uuid.uuid4().hex, "reportingTimezone": zone},
            token=self.token)["project"]["id"]
        self.key = P.ok("/projects.v1.ProjectsService/CreateApiKey", {
            "kind": "API_KEY_KIND_PRIVATE", "displayName": "k"}, token=self.token, project=self.id)["key"]

    def event(self, n=1, kind="view", when="2026-05-01T20:00:00Z"):
        P.ok(pug.BATCH, {"events": [{"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": "u",
                                     "occurTime": when} for _ in range(n)]}, key=self.key)


def count(kind="view", window=None, unit="DAY"):
    return {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [{"event": {"kind": kind}}]},
            "timeRange": window or MAY, "granularity": "GRANULARITY_" + unit}


def trend(kind="view", unit="DAY"):
    return {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [{"event": {"kind": kind}}]},
            "timeRange": MAY, "granularity": "GRANULARITY_" + unit}


def total(answer):
    return answer["segmentation"]["total"]


def counters():
    text = P.admin("/metrics")
    return {name: sum(float(v) for v in re.findall(rf"^pugd_{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", text, re.M))
            for name in ("insight_queries", "insight_joined")}


class Spent:
    """Scans and joins within the block; counters reach the page a moment later at most."""
    def __enter__(self):
        self.before = counters()
        return self

    def __exit__(self, *_):
        self.scans, self.joined = (counters()[k] - self.before[k] for k in ("insight_queries", "insight_joined"))


class Asked(threading.Thread):
    """A question on a thread and a connection of its own."""
    def __init__(self, project, body, path=QUERY, **kw):
        super().__init__(daemon=True)
        self.project, self.body, self.path, self.kw, self.answer = project, body, path, kw, None
        self.start()

    def run(self):
        start = time.monotonic()
        who = {"key": self.project.key} if self.path == QUERY else {
            "token": self.project.token, "project": self.project.id}
        self.answer = P.call(self.path, self.body, **who, **self.kw)[:2]
        self.took = time.monotonic() - start

    def result(self, status=200):
        self.join(60)
        assert self.answer, "no answer"
        assert self.answer[0] == status, self.answer
        return self.answer[1]


def until(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Locked:
    """No scan gets past it; `held()` is how many stand there."""
    def __enter__(self):
        self.db, self.look = pg.connect(P.info["database_url"]), pg.connect(P.info["database_url"])
        self.db.query(LOCK)
        return self

    def held(self, n):
        until(lambda: self.look.one(HELD) == str(n))

    def release(self):
        self.db.query("ROLLBACK")

    def __exit__(self, *_):
        self.db.close()
        self.look.close()


def in_flight(n):
    """Calls that the worker has; the one who asks is no call."""
    until(lambda: sum(w["in_flight"] for w in P.admin()["workers"] if w["role"] == "worker") >= n)


def test_fifty_cost_two(_):
    p = Project()
    p.event(3)
    with Spent() as spent, Locked() as lock:
        first = Asked(p, count())
        lock.held(1)
        more = [Asked(p, count()) for _ in range(49)]
        in_flight(50)
        lock.release()
        assert [total(a.result()) for a in [first, *more]] == [3] * 50
    assert spent.scans == 2 and spent.joined == 48, vars(spent)
    # And the other way round: what is not asked at the same time is asked anew.
    with Spent() as spent:
        for _ in range(3):
            assert total(P.ok(QUERY, count(), key=p.key)) == 3
    assert spent.scans == 3 and spent.joined == 0, vars(spent)


def test_without_a_lock(_):
    """The same by chance: far fewer scans than questions, and all answers equal."""
    p = Project()
    for _ in range(20):
        p.event(1000)
    body = {**count(), "spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [{"event": {"kind": "view"}}],
                                "breakdowns": [{"property": "$os"}]}}
    with Spent() as spent:
        got = [a.result() for a in [Asked(p, body) for _ in range(50)]]
    assert all(g == got[0] for g in got) and got[0]["trends"]["series"], got[0]
    assert spent.scans + spent.joined == 50, vars(spent)


def test_read_your_writes(_):
    """Who comes while a scan runs sees what was acknowledged meanwhile; the scan does not."""
    p = Project()
    p.event(1)
    with Spent() as spent, Locked() as lock:
        early = Asked(p, count())
        lock.held(1)
        asked = []
        for n in range(2, 6):
            p.event(1)
            asked.append((n, Asked(p, count())))
            in_flight(n)
        lock.release()
        assert total(early.result()) == 1
        # all of them wait for one scan that begins after the last of them came
        assert [total(a.result()) for _, a in asked] == [5] * 4
    assert spent.scans == 2, vars(spent)


def crowd(people, events):
    """So many ask the same all the time, each on a connection of their own, while events come
    in: who sent one and asks then misses none. What that cost."""
    p = Project()
    stop, wrong = threading.Event(), []

    def ask():
        conn = P.connect()
        while not stop.is_set():
            status, answer, _ = P.call(QUERY, count(), key=p.key, conn=conn)
            if status != 200:
                wrong.append(answer)
                return
    threads = [threading.Thread(target=ask, daemon=True) for _ in range(people)]
    with Spent() as spent:
        for t in threads:
            t.start()
        for n in range(1, events):
            p.event(1)
            got = total(P.ok(QUERY, count(), key=p.key))
            assert got == n, f"{n} were acknowledged, {got} are counted"
        stop.set()
        for t in threads:
            t.join(30)
    assert not wrong, wrong[:1]
    return spent


def test_read_your_writes_in_a_crowd(_):
    spent = crowd(6, 120)
    assert spent.joined > 50, vars(spent)


def hang_up(project, body):
    """A question whose client goes away when it is told."""
    data = json.dumps(body).encode()
    s = socket.create_connection((P.host, P.port))
    s.sendall((f"POST {QUERY} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Api-Key: {project.key}\r\n"
               f"Content-Length: {len(data)}\r\n\r\n").encode() + data)
    return s


def test_the_first_one_leaves(_):
    p = Project()
    p.event(2)
    with Spent() as spent, Locked() as lock:
        first = hang_up(p, count())
        lock.held(1)
        second = hang_up(p, count())  # the first of those who wait for the next scan
        in_flight(2)
        rest = [Asked(p, count()) for _ in range(5)]
        in_flight(7)
        second.close()
        time.sleep(0.5)
        first.close()  # nobody waits for that scan any more: it ends, and the next one begins
        until(lambda: sum(w["in_flight"] for w in P.admin()["workers"] if w["role"] == "worker") == 5)
        lock.held(1)
        lock.release()
        assert [total(a.result()) for a in rest] == [2] * 5
    assert spent.scans == 2, vars(spent)
    # A scan goes on for who is left, even when those who asked first have gone.
    with Spent() as spent, Locked() as lock:
        busy = [Asked(p, count(k)) for k in ("x", "y")]  # as many as there are threads
        lock.held(2)
        first = hang_up(p, count())
        in_flight(3)
        rest = [Asked(p, count()) for _ in range(3)]
        in_flight(6)
        first.close()
        time.sleep(0.5)
        lock.release()
        assert [total(a.result()) for a in busy + rest] == [0, 0, 2, 2, 2]
    assert spent.scans == 3 and spent.joined == 3, vars(spent)


def test_everybody_has_a_deadline(_):
    p = Project()
    p.event(2)
    with Spent() as spent, Locked() as lock:
        busy = [Asked(p, count(k)) for k in ("x", "y")]
        lock.held(2)
        short = Asked(p, count(), headers={"connect-timeout-ms": "700"})
        in_flight(3)
        others = [Asked(p, count()), Asked(p, count(), headers={"connect-timeout-ms": "900"}), Asked(p, count())]
        in_flight(6)
        for late in (short, others[1]):
            assert late.result(504)["code"] == "deadline_exceeded"
            assert late.took < 4, late.took
        lock.release()
        assert [total(others[0].result()), total(others[2].result())] == [2, 2]
        for b in busy:
            b.result()
    assert spent.scans == 3, vars(spent)


def test_failures_are_shared(_):
    p = Project()
    with Spent() as spent, Locked() as lock:
        busy = [Asked(p, count(k)) for k in ("x", "y")]
        lock.held(2)
        asked = [Asked(p, count()) for _ in range(4)]
        in_flight(6)
        kill = HELD.replace("SELECT count(*)", "SELECT count(pg_terminate_backend(pid))")
        lock.look.query(kill)
        for b in busy:
            assert b.result(503)["code"] == "unavailable"
        lock.held(1)
        lock.look.query(kill)
        got = [a.result(503) for a in asked]
        assert all(g["code"] == "unavailable" and g["message"] == got[0]["message"] for g in got), got
        lock.release()
    assert spent.scans == 3, vars(spent)
    assert total(P.ok(QUERY, count(), key=p.key)) == 0
    for a in [Asked(p, count(window={"from": MAY["to"], "to": MAY["from"]})) for _ in range(4)]:
        assert "time_range" in a.result(400)["message"]


def test_refused_at_once(_):
    """A question that is refused before it waits for anything: its caller may be gone, and its
    stack another call's, before the loop comes to telling it."""
    p, deaths = Project(), P.admin()["deaths"]
    p.event(2)
    # an event that says nothing is refused by the compiler of the kind (2.6), in the flight
    wrong = {**count(), "spec": {"insightType": "INSIGHT_TYPE_FUNNEL", "events": [{"event": {"kind": "view"}}, {}]}}
    for _ in range(100):
        status, answer, _ = P.call(QUERY, wrong, key=p.key)
        assert status == 400 and "events[1]" in answer["message"], answer
        status, answer, _ = P.call(QUERY, count(), key=p.key)
        assert status == 200 and total(answer) == 2, answer
    assert P.admin()["deaths"] == deaths


def test_others_are_others(_):
    """Projects, ranges, kinds, granularities and zones are never mixed."""
    one, two, far = Project(), Project(), Project("Asia/Kolkata")
    one.event(1)
    two.event(2)
    far.event(3)
    one.event(4, "buy")
    half = {"from": MAY["from"], "to": "2026-05-01T12:00:00Z"}
    with Locked() as lock:
        busy = [Asked(one, count(k)) for k in ("x", "y")]
        lock.held(2)
        wanted = [(one, count(), 1), (two, count(), 2), (far, count(), 3), (one, count("buy"), 4),
                  (one, count(window=half), 0)] * 4
        asked = [(Asked(p, body), n) for p, body, n in wanted]
        days = [Asked(p, trend(unit=u)) for p in (one, far) for u in ("DAY", "HOUR") for _ in range(3)]
        in_flight(2 + len(asked) + len(days))
        lock.release()
        for a, n in asked:
            assert total(a.result()) == n, (n, a.body)
        got = [[(x["time"], x["value"]) for x in a.result()["trends"]["series"][0]["points"]] for a in days]
        for b in busy:
            b.result()
    assert got == ([[("2026-05-01T00:00:00Z", 1)]] * 3 + [[("2026-05-01T20:00:00Z", 1)]] * 3 +
                   [[("2026-05-01T18:30:00Z", 3)]] * 3 + [[("2026-05-01T19:30:00Z", 3)]] * 3), got
    # The zone of a project changes while an answer is being worked out.
    with Locked() as lock:
        early = Asked(far, trend())
        lock.held(1)
        P.ok("/projects.v1.ProjectsService/Update", {"id": far.id, "displayName": "far", "reportingTimezone": "UTC"},
             token=far.token, project=far.id)
        late = Asked(far, trend())
        lock.held(2)
        lock.release()
        assert early.result()["trends"]["series"][0]["points"][0]["time"] == "2026-05-01T18:30:00Z"
        assert late.result()["trends"]["series"][0]["points"][0]["time"] == "2026-05-01T00:00:00Z"


def test_the_next_one_waits_with_measure(variant):
    """A quarter of the budget; but no more than two scans of one question run at a time."""
    with pug.Pug(variant, options=["workers=1", "insight_parallel=64", "insight_threads=4", "insight_timeout=8s"]) as p:
        global P
        outer, P = P, p
        try:
            mine = Project()
            mine.event(1)
            with Spent() as spent, Locked() as lock:
                start = time.monotonic()
                asked = [Asked(mine, count())]
                lock.held(1)
                asked += [Asked(mine, count()) for _ in range(2)]
                lock.held(2)
                assert time.monotonic() - start > 1.8
                asked += [Asked(mine, count()) for _ in range(2)]
                time.sleep(2.5)
                lock.held(2)
                lock.release()
                assert [total(a.result()) for a in asked] == [1] * 5
            assert spent.scans == 3 and spent.joined == 2, vars(spent)
        finally:
            P = outer


def test_coming_and_going(_):
    """Clients that leave and that run out of time at any moment do no harm to those who stay."""
    p = Project()
    for _ in range(5):
        p.event(1000)
    end, wrong, answered = time.monotonic() + 5, [], [0]

    def stay(seed):
        pick, conn = random.Random(seed), P.connect()
        while time.monotonic() < end and not wrong:
            status, answer, _ = P.call(QUERY, count(pick.choice(("view", "x"))), key=p.key, conn=conn)
            answered[0] += status == 200
            if status != 200 or total(answer) not in (0, 5000):
                wrong.append(answer)

    def leave(seed):
        pick = random.Random(seed)
        while time.monotonic() < end and not wrong:
            if pick.random() < 0.5:
                s = hang_up(p, count(pick.choice(("view", "x"))))
                time.sleep(pick.random() * 0.02)
                s.close()
            else:
                status, answer, _ = P.call(QUERY, count(pick.choice(("view", "x"))), key=p.key,
                                           headers={"connect-timeout-ms": str(pick.randint(1, 20))})
                if status not in (200, 504):
                    wrong.append(answer)
    threads = [threading.Thread(target=f, args=(n,), daemon=True) for f in (stay, leave) for n in range(8)]
    pids = {w["pid"] for w in P.admin()["workers"]}
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert not wrong and answered[0] > 20, (wrong[:1], answered)
    until(lambda: sum(w["in_flight"] for w in P.admin()["workers"]) == 0)
    assert {w["pid"] for w in P.admin()["workers"]} == pids, "nobody died"


def test_tiles(_):
    """Of one dashboard, of several, and of a call beside them."""
    p = Project()
    p.event(3)
    who = {"token": p.token, "project": p.id}
    tile = {"insight": {"spec": count()["spec"]}}
    boards = []
    for _ in range(2):
        boards.append(P.ok(BOARDS + "Create", {"displayName": "b"}, **who)["dashboard"]["id"])
        P.ok(BOARDS + "Upsert", {"id": boards[-1], "displayName": "b", "tiles": [tile] * 4}, **who)
    with Spent() as spent, Locked() as lock:
        busy = [Asked(p, count(k)) for k in ("x", "y")]
        lock.held(2)
        asked = [Asked(p, {"dashboardId": b, "timeRange": MAY, "granularity": "GRANULARITY_DAY"},
                       BOARDS + "QueryDashboard") for b in boards for _ in range(2)]
        in_flight(6)
        one = Asked(p, count())
        in_flight(7)
        time.sleep(0.2)
        lock.release()
        for a in asked:
            assert [total(t["result"]) for t in a.result()["dashboard"]["tiles"]] == [3] * 4
        assert total(one.result()) == 3
        for b in busy:
            b.result()
    # 17 questions; two lanes each, so the later half of the tiles may need a scan or two more
    assert spent.scans + spent.joined == 19 and spent.scans <= 2 + 6, vars(spent)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test",
                 options=["workers=1", "insight_parallel=64", "insight_threads=2", "insight_timeout=60s"]) as P:
        sys.exit(pug.main(tests, sys.argv[1:]))
