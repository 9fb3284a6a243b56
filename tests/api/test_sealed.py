#!/usr/bin/env python3
"""Sealed events answer as waiting ones do: the model's scenarios (test_model.py) with
everything sealed, with a part of it, and with every batch sealed by itself; what sealing
keeps, whatever happens to the keeper meanwhile.

    test_sealed.py [--scenarios N] [--seed S] [--first I]    as test_model.py
"""
import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

import model
import pg
import pug
import scenario
import test_accounts
import test_events
import test_identify
import test_model
import test_paths
import test_points
from test_model import BATCH, LIST, QUERY

P = None
ARGS = None
# The keeper leaves the inbox alone; `pugd seal` is what seals.
LAZY = ["seal_age=1d", "seal_events=100000000", "seal_commits=100000000"]
HOUR, DAY = 3600000, 86400000
# The same for the whole run, and the hour before it is of one day (UTC): days make segments.
NOW = int(time.time() * 1000)
NOW -= HOUR if NOW % DAY < HOUR else 0


def seal(p=None, memory="256M"):
    """What pugd seal printed."""
    p = p or P
    done = subprocess.run([p.binary, "seal", "--config", "/dev/null", "-o",
                           "database_url=" + p.info["database_url"], "-o", "seal_memory=" + memory],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verify(p=None):
    """(exit code, lines) of pugd verify."""
    p = p or P
    done = subprocess.run([p.binary, "verify", "--config", "/dev/null", "-o",
                           "database_url=" + p.info["database_url"]],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()


def send(server, key, num, truth, batches):
    for batch in batches:
        got = server.ok(BATCH, {"events": batch}, key=key)
        want = {"accepted": len(batch), "dropped": 0,
                "eventsCreated": truth.send(test_model.renamed(batch))}
        if got != want:
            return f"BatchCreate: got {got}, want {want}"
    if any("cookieles~-" in str(b) for b in batches):
        server.forge_cookieless(num)
    return None


def as_before(server, num, odd):
    """Half of the segments as they were before there were numbers (011_numbers.sql), so that
    one query goes both ways. The keeper may give them back at any time."""
    server.db.query("""
        with s as (select id from pugd.segment where project = $1 and id % 2 = $2 and numbered for update),
        gone as (delete from pugd.segment_column c using s
                 where c.project = $1 and c.segment = s.id and c.part = 9
                 returning c.segment, octet_length(c.data) as bytes)
        update pugd.segment t set numbered = false, kinds = null, columns = columns - 1, bytes = t.bytes - g.bytes
        from gone g where t.project = $1 and t.id = g.segment""", num, odd)


def check(server, s):
    """As test_model.check(), with sealing between the steps; which way, the scenario's
    number of events decides."""
    key, num = server.project(s["zone"])
    truth = model.Model(s["zone"])
    batches = s["batches"]
    half = len(batches) // 2
    how = sum(map(len, batches)) % 4
    steps = {0: [batches], 1: [batches[:half], batches[half:]],
             2: [[b] for b in batches], 3: [batches[:half], batches[half:]]}[how]
    for i, step in enumerate(steps):
        bad = send(server, key, num, truth, step)
        if bad:
            return None, bad
        if how < 3 or i == 0:
            seal()
            left = server.db.one("select count(*) from pugd.inbox where project = $1", num)
            if int(left):
                return None, f"{left} rows are still in the inbox"
    if how in (1, 2):
        as_before(server, num, how - 1)
    bad = kept(server, num, truth)
    if bad:
        return None, bad
    server.people(num, s["profiles"], s["aliases"])
    truth.profiles = {p["id"]: (p["external_id"], p["properties"]) for p in s["profiles"] if not p["deleted"]}
    truth.aliases = s["aliases"]
    for i, request in enumerate(s["queries"]):
        request = test_model.renamed_request(request)
        try:
            bad = test_model.difference(server, key, truth, request)
        except AssertionError as e:
            bad = e, "an answer"
        if bad:
            return i, f"got  {bad[0]}\nwant {bad[1]}"
    return None


def kept(server, num, truth):
    """None, or how the numbers of the tables differ from what was stored."""
    row = server.db.query("""
        select coalesce((select sum(n) from pugd.segment where project = $1), 0)
             + coalesce((select sum(stored) from pugd.inbox where project = $1), 0),
               (select count(*) from pugd.event_seen where project = $1),
               coalesce((select sum(events) from pugd.usage_days where project = $1), 0)
             + coalesce((select sum(stored) from pugd.inbox where project = $1), 0),
               (select count(*) from pugd.segment where project = $1 and day <>
                (to_timestamp(tmin / 1000.0) at time zone 'UTC')::date)""", num)[0]
    want = [len(truth.events)] * 3 + [0]
    got = [int(x) for x in row]
    return None if got == want else f"events in tables, claimed, counted, wrong days: {got}, want {want}"


# ---- one project, looked at from all sides ---------------------------------------------

class Shop:
    """A project and what was acknowledged to it."""

    def __init__(self, p, name="shop"):
        self.p, self.db = p, pg.connect(p.info["database_url"])
        boss = p.ok(test_model.AUTH + "SignUp", {"email": f"{name}-{uuid.uuid4().hex}@example.com",
                                                 "password": test_model.PASSWORD})
        self.token = boss["token"]
        self.org = p.ok(test_model.ORGS + "List", token=self.token)["orgs"][0]["id"]
        self.id = p.ok(test_model.PROJECTS + "List", {"orgId": self.org},
                       token=self.token)["projects"][0]["id"]
        self.key = p.ok(test_model.PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"},
                        token=self.token, project=self.id)["key"]
        self.num = self.db.one("select num from pugd.projects where id = $1", self.id)
        self.lock = threading.Lock()
        self.events, self.acked, self.asked = {}, 0, 0

    def batch(self, rnd, n, days=3):
        at = NOW - rnd.randrange(days) * DAY
        return [{"eventId": str(uuid.UUID(int=rnd.getrandbits(128))), "name": f"k{rnd.randrange(6)}",
                 "distinctId": f"u{rnd.randrange(50)}",
                 "timestamp": iso(at - rnd.randrange(HOUR)),
                 "properties": {"n": rnd.randrange(5), f"p{rnd.randrange(20)}": "x" * rnd.randrange(40)}}
                for _ in range(n)]

    def send(self, batch, **kw):
        with self.lock:
            self.asked += len(batch)
        got = self.p.ok(BATCH, {"events": batch}, key=self.key, **kw)
        assert got["accepted"] == len(batch), got
        with self.lock:
            self.events.update({e["eventId"]: e for e in batch})
            self.acked += len(batch)

    def total(self, **kw):
        now = int(time.time() * 1000)
        got = self.p.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION"},
                                "timeRange": {"from": iso(now - 30 * 86400000), "to": iso(now + 86400000)},
                                "granularity": "GRANULARITY_DAY"}, key=self.key, **kw)
        return int(got["segmentation"]["total"])

    def usage(self, **kw):
        return int(self.p.ok("/usage.v1.UsageService/GetUsage", {"orgId": self.org},
                             token=self.token, **kw)["usedEvents"])

    def check(self):
        """Everything acknowledged is there once, as it was, in the order of the feed."""
        got, _ = test_model.ask_list(self.p, self.key, {"pageSize": 500})
        want = sorted(self.events.values(), reverse=True,
                      key=lambda e: (model.millis(e["timestamp"]), uuid.UUID(e["eventId"]).bytes))
        assert [e["eventId"] for e in got] == [e["eventId"] for e in want]
        for g, w in zip(got, want):
            assert (g["kind"], g["distinctId"]) == (w["name"], w["distinctId"]), (g, w)
            assert {**g["customProperties"]} == w["properties"], (g, w)
        n = len(want)
        assert (self.total(), self.usage()) == (n, n)
        for table in ("(select n from pugd.segment where project = $1 union all "
                      "select stored from pugd.inbox where project = $1) x",
                      "(select 1 as n from pugd.event_seen where project = $1) x"):
            assert int(self.db.one(f"select coalesce(sum(n), 0) from {table}", self.num)) == n, table

    def rows(self, table):
        return int(self.db.one(f"select count(*) from pugd.{table} where project = $1", self.num))


def iso(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def until(ready, seconds=30):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def keeper(p):
    found = []

    def ready():
        found[:] = [w["pid"] for w in p.admin()["workers"] if w["role"] == "keeper" and w["state"] == "ready"]
        return found
    until(ready)
    return found[0]


# ---- tests -------------------------------------------------------------------------------

def test_regressions(_):
    test_model.test_regressions(_)


def test_random_scenarios(_):
    test_model.test_random_scenarios(_)


class Sealing(test_model.Server):
    """Seals before about half of the steps: what a question meets is sealed whole, in part, or
    in one segment per batch. Ids that are still to be forged are in the inbox only."""
    rnd, made = random.Random(8), 0

    def ok(self, path, body, **kw):
        if path == BATCH:
            self.forged = getattr(self, "forged", True) and "cookieles~-" not in str(body)
        if getattr(self, "forged", True) and self.rnd.random() < (0.5 if path == BATCH else 0.3):
            seal()
            Sealing.made += 1
        got = super().ok(path, body, **kw)
        if path == QUERY:  # columns may be in memory now: a second thread has half of them
            again = super().ok(path, body, **kw)
            assert again == got, (body, got, again)
        return got

    def forge_cookieless(self, num):
        super().forge_cookieless(num)
        self.forged = True


def run_sealed(module, test):
    for m in (module, test_accounts, test_events, test_identify):
        m.P = P
    plain, before, was, twins = test_model.Server, Sealing.made, insights(P), count(P, "insight_twins")
    test_model.Server = Sealing
    try:
        test(None)
    finally:
        test_model.Server = plain
    assert Sealing.made > before
    ran, anew = (b - a for a, b in zip(was, insights(P)))
    print(f"{ran} insights, {anew} of them begun anew with event ids")
    assert 0 < anew < ran / 4, (ran, anew)
    return count(P, "insight_twins") - twins


def insights(p):
    """(how many were computed, how many of these needed a second run)"""
    return [count(p, name) for name in ("insight_queries", "insight_ties")]


def count(p, name):
    """A counter, over all workers."""
    return sum(int(float(v)) for v in re.findall(rf"^pugd_{name}_total(?:{{[^}}]*}})? (\S+)$",
                                                 p.admin("/metrics"), re.M))


def test_sealed_points(_):
    """Top-K, maps, sessions, SegmentUsers (test_points.py)."""
    test_points.ARGS = argparse.Namespace(scenarios=ARGS.scenarios // 3 or 1, seed=ARGS.seed, first=ARGS.first)
    assert run_sealed(test_points, test_points.test_random_projects) > 0


def test_sealed_paths(_):
    """Funnels, retention, flow (test_paths.py)."""
    test_paths.SCENARIOS, test_paths.SEED, test_paths.FIRST = ARGS.scenarios // 3 or 1, ARGS.seed, ARGS.first
    assert run_sealed(test_paths, test_paths.test_random_scenarios) > 0


def test_two_at_once(_):
    """Two sealers share the work and double nothing."""
    shop, rnd = Shop(P), random.Random(1)
    for _ in range(60):
        shop.send(shop.batch(rnd, 5))
    sealers = [threading.Thread(target=seal) for _ in range(3)]
    for t in sealers:
        t.start()
    for t in sealers:
        t.join()
    assert shop.rows("inbox") == 0 and shop.rows("segment") > 0
    shop.check()
    shop.send(list(shop.events.values())[:100])  # a retry of what is sealed changes nothing
    shop.check()


def test_merges(_):
    """Small segments become few: eight of a tier one of the next."""
    shop, rnd = Shop(P), random.Random(5)
    for i in range(20):
        shop.send(shop.batch(rnd, 12, days=1))
        seal()
        tiers = shop.db.query("select day, kind, tier, count(*) from pugd.segment where project = $1 "
                              "group by 1, 2, 3", shop.num)
        assert all(int(n) < 8 for *_, n in tiers), (i, tiers)
    assert max(int(t) for _, _, t, _ in tiers) >= 1, tiers
    # in the tests' build twelve events of a kind make a segment of their own
    assert {k for _, k, _, _ in tiers} >= {f"k{i}" for i in range(6)}, tiers
    shop.check()
    columns = int(shop.db.one("select sum(columns) from pugd.segment where project = $1", shop.num))
    assert columns == shop.rows("segment_column")  # nothing of the merged ones is left


def test_merges_that_were_left(_):
    """What could not be merged when it was sealed is merged later, though nothing more comes."""
    shop, rnd, holder = Shop(P), random.Random(6), pg.connect(P.info["database_url"])
    most = lambda: max(int(n) for n, in shop.db.query(
        "select count(*) from pugd.segment where project = $1 group by day, kind, tier", shop.num))
    holder.query("begin")
    for _ in range(9):
        shop.send(shop.batch(rnd, 12, days=1))
        holder.query("select id from pugd.segment where project = $1 for update", shop.num)
        seal()  # finds the newest one only, which is not written again and again
    assert most() >= 8, most()
    holder.close()
    until(lambda: most() < 8)
    shop.check()


def test_a_page_of_much(_):
    """A page ends the reading early, and its events are still completed."""
    shop, rnd = Shop(P), random.Random(7)
    for _ in range(16):
        batch = shop.batch(rnd, 1000, days=28)
        for e in batch:
            day = rnd.randrange(28)
            e["timestamp"] = iso(NOW - day * DAY - rnd.randrange(HOUR))
            e["properties"]["long"] = "%0200x" % rnd.getrandbits(2000)
        shop.send(batch)
    seal(memory="32M")  # not all rows at once
    want = sorted(shop.events.values(), reverse=True,
                  key=lambda e: (model.millis(e["timestamp"]), uuid.UUID(e["eventId"]).bytes))
    for page in (1, 30, 700):
        got = P.ok(LIST, {"pageSize": page}, key=shop.key)["events"]
        assert [(e["eventId"], e["customProperties"]) for e in got] == \
            [(e["eventId"], e["properties"]) for e in want[:page]]


def test_what_cannot_be_read_stays(_):
    """A damaged row is left alone; what is around it is sealed."""
    shop, rnd = Shop(P), random.Random(2)
    for _ in range(9):
        shop.send(shop.batch(rnd, 3))
    bad = shop.db.one("select id from pugd.inbox where project = $1 order by id offset 4 limit 1", shop.num)
    flip = ("update pugd.inbox set data = set_byte(data, 40, get_byte(data, 40) # 1) "
            "where project = $1 and id = $2")
    shop.db.query(flip, shop.num, bad)
    seal()
    assert shop.db.query("select id from pugd.inbox where project = $1", shop.num) == [(bad,)]
    status, _, _ = P.call(LIST, {}, key=shop.key)
    assert status == 500  # never a wrong answer
    shop.db.query(flip, shop.num, bad)
    seal()
    shop.check()


def test_damaged_columns(_):
    """A flipped bit, a lost column, a column of another key: an error, not a wrong answer."""
    shop, rnd = Shop(P), random.Random(3)
    shop.send(shop.batch(rnd, 40, days=1))
    seal()
    first = "(select min(id) from pugd.segment where project = $1)"
    for change, back in (
            ("update pugd.segment_column set data = set_byte(data, 0, get_byte(data, 0) # 1) "
             f"where project = $1 and segment = {first} and part = 4", None),
            (f"update pugd.segment_column set key = 'm' where project = $1 and segment = {first} and key = 'n'",
             f"update pugd.segment_column set key = 'n' where project = $1 and segment = {first} and key = 'm'"),
            (f"update pugd.segment_column set part = 6 where project = $1 and segment = {first} and part = 2",
             f"update pugd.segment_column set part = 2 where project = $1 and segment = {first} and part = 6"),
            (f"update pugd.segment set columns = columns + 1 where project = $1 and id = {first}",
             f"update pugd.segment set columns = columns - 1 where project = $1 and id = {first}")):
        shop.db.query(change, shop.num)
        status, _, _ = P.call(LIST, {}, key=shop.key)
        assert status == 500, change
        shop.db.query(back or change, shop.num)
        shop.check()
    # what every event has, and a question needs, cannot be lost unnoticed, unless it is in memory
    total, fresh = shop.total(), Shop(P, "fresh")
    fresh.send(fresh.batch(rnd, 40, days=1))
    seal()
    for at in (fresh, shop):
        with rolled_back(at, "delete from pugd.segment_column where project = $1 and part = 3"):
            status, got, _ = P.call(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION"},
                                            "timeRange": {"from": iso(int(time.time() - 9 * 86400) * 1000),
                                                          "to": iso(int(time.time() * 1000))},
                                            "granularity": "GRANULARITY_DAY"}, key=at.key)
            assert status == (500 if at is fresh else 200), (status, got)
            assert at is fresh or int(got["segmentation"]["total"]) == total
    fresh.check()


def test_purge(_):
    doomed, neighbour, rnd = Shop(P, "doomed"), Shop(P, "neighbour"), random.Random(4)
    for shop in (doomed, neighbour):
        for _ in range(4):
            shop.send(shop.batch(rnd, 30))
        seal()
        shop.send(shop.batch(rnd, 10))
    used = doomed.usage()
    P.ok(test_model.PROJECTS + "Delete", token=doomed.token, project=doomed.id)
    doomed.db.query("update pugd.projects set deleted_at = deleted_at - interval '1 hour' where num = $1",
                    doomed.num)

    def over():
        assert doomed.usage() == used
        return doomed.db.one("select purged_at is not null from pugd.projects where num = $1",
                             doomed.num) == "t"
    until(over)
    assert [doomed.rows(t) for t in ("inbox", "segment", "segment_column", "event_seen")] == [0] * 4
    neighbour.check()


def test_killed_keepers(variant):
    """Keepers that die at any moment while events come and questions are asked: every answer
    holds what was acknowledged before it, nothing twice."""
    with pug.Pug(variant, options=["seal_age=0", "seal_events=1"]) as p:
        shop, stop, wrong = Shop(p), threading.Event(), []

        def guarded(work):
            def run(no):
                try:
                    conn, rnd = p.connect(), random.Random(no)
                    while not stop.is_set():
                        work(rnd, conn)
                    conn.close()
                except BaseException as e:  # pylint: disable=broad-except
                    wrong.append(e)
                    stop.set()
            return run

        def sends(rnd, conn):
            shop.send(shop.batch(rnd, rnd.randrange(1, 12)), conn=conn)
            time.sleep(0.01)

        def asks(_rnd, conn):
            for ask in (shop.total, shop.usage):
                low = shop.acked
                got = ask(conn=conn)
                assert low <= got <= shop.asked, (ask, low, got, shop.asked)

        work = [threading.Thread(target=guarded(f), args=(i,)) for i, f in enumerate([sends, sends, asks, asks])]
        for t in work:
            t.start()
        rnd, kills, end = random.Random(0), 0, time.monotonic() + 6
        while time.monotonic() < end and not stop.is_set():
            # sealing starts at once in a new keeper and goes on without a rest
            pid = keeper(p)
            time.sleep(rnd.random() * 0.15)
            try:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass  # the status page still had the one that died
        stop.set()
        for t in work:
            t.join()
        assert not wrong, wrong[0]
        segments = shop.rows("segment")
        until(lambda: shop.rows("inbox") == 0)
        print(f"  {kills} kills, {len(shop.events)} events, {segments} segments meanwhile")
        assert segments > 0
        shop.check()
        code, lines = verify(p)
        assert code == 0, lines


def test_many_small_commits(variant):
    """Few events in many commits are sealed by their number, and nobody is asked to wait for it:
    whoever asks while the keeper seals and merges has all that was acknowledged, once."""
    lazy = [*LAZY[:2], "seal_commits=4"]
    with pug.Pug(variant, options=["workers=2", *lazy]) as p:
        shop, rnd = Shop(p), random.Random(11)
        for _ in range(3):
            shop.send(shop.batch(rnd, 2))
        time.sleep(2.5)  # the keeper looks every second
        assert (shop.rows("inbox"), shop.rows("segment")) == (3, 0)
        shop.check()
        stop, wrong, asked = threading.Event(), [], []

        def asks():
            conn = p.connect()
            while not stop.is_set() and not wrong:
                for ask in (shop.total, shop.usage):
                    low = shop.acked
                    got = ask(conn=conn)
                    asked.append(got)
                    if not low <= got <= shop.asked:
                        wrong.append((ask, low, got, shop.asked))
            conn.close()
        asker = threading.Thread(target=asks)
        asker.start()
        for _ in range(80):
            shop.send(shop.batch(rnd, 2, days=1))
            time.sleep(0.03)
        until(lambda: shop.rows("inbox") < 4)
        stop.set()
        asker.join()
        assert not wrong, wrong[0]
        assert len(asked) > 4 and shop.rows("segment") > 0, (len(asked), shop.rows("segment"))
        # and what they left behind is cleared away, for every reader of the inbox walks past it
        until(lambda: int(shop.db.one("select vacuum_count from pg_stat_user_tables where relname = 'inbox'")))
        shop.check()
        code, lines = verify(p)
        assert code == 0, lines


def test_verify(_):
    code, lines = verify()  # of all that the tests before have left
    assert code == 0 and lines[-1].endswith(" 0 things wrong"), lines
    shop, rnd = Shop(P), random.Random(6)
    for _ in range(3):
        shop.send(shop.batch(rnd, 30))
    seal()
    shop.send(shop.batch(rnd, 20, days=1))
    shop.send(shop.batch(rnd, 20, days=1))
    first = "(select min(id) from pugd.segment where project = $1)"
    row = "(select min(id) from pugd.inbox where project = $1)"
    for change, want in (
            (f"update pugd.inbox set data = set_byte(data, 99, get_byte(data, 99) # 4) where project = $1 and id = {row}",
             "inbox=.*: the checksum is wrong"),
            (f"update pugd.inbox set n = n - 1, stored = stored - 1 where project = $1 and id = {row}",
             "inbox=.*: its counts are wrong"),
            (f"update pugd.inbox set tmin = tmin + 1 where project = $1 and id = {row}", "inbox=.*: tmin and tmax"),
            ("insert into pugd.inbox (project, n, stored, tmin, tmax, receive_day, data) select project, n, stored, "
             f"tmin, tmax, receive_day, data from pugd.inbox where project = $1 and id = {row}",
             "event=.*: is there twice"),
            ("update pugd.segment_column set data = set_byte(data, 5, get_byte(data, 5) # 4) "
             f"where project = $1 and segment = {first} and part = 1", "segment=.*: the checksum of a column"),
            (f"delete from pugd.segment_column where project = $1 and segment = {first} and part = 4",
             "segment=.*: the number of its columns"),
            (f"update pugd.segment set tmax = tmax + 1 where project = $1 and id = {first}", "segment=.*: tmin and tmax"),
            (f"update pugd.segment set kind = 'k1' where project = $1 and id = {first}", "segment=.*: an event is of another kind"),
            (f"update pugd.segment set bytes = bytes + 1 where project = $1 and id = {first}", "segment=.*: the number of its bytes"),
            (f"update pugd.segment set day = day + 1 where project = $1 and id = {first}", "segment=.*: an event is of another day"),
            (f"delete from pugd.segment where project = $1 and id = {first}", "columns=.*: belong to no segment"),
            ("delete from pugd.event_seen where project = $1 and (day, event_id) = (select day, event_id "
             "from pugd.event_seen where project = $1 order by 1, 2 limit 1)", "event=.*: its id was never claimed"),
            ("update pugd.usage_days set events = events + 1 where project = $1", "usage=.*: is not the number")):
        with rolled_back(shop, change):
            code, lines = verify()
            assert code == 1 and any(re.search(f"^project=[0-9]+ .*{want}", x) for x in lines), (change, lines)
    assert verify()[0] == 0
    shop.check()


@contextlib.contextmanager
def rolled_back(shop, change):
    """A change, and all tables of events as they were before it afterwards."""
    tables = ["inbox", "segment", "segment_column", "usage_days", "event_seen"]
    for t in tables:
        shop.db.query(f"create table pugd.kept_{t} as select * from pugd.{t} where project = $1", shop.num)
    try:
        shop.db.query(change, shop.num)
        yield
    finally:
        for t in tables:
            shop.db.query(f"delete from pugd.{t} where project = $1", shop.num)
            shop.db.query(f"insert into pugd.{t} select * from pugd.kept_{t}")
            shop.db.query(f"drop table pugd.kept_{t}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=60)
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261129"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=2)
    ARGS, rest = parser.parse_known_args()
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in rest else "test"
    with pug.Pug(variant, options=LAZY) as P:
        test_model.P, test_model.ARGS, test_model.check = P, ARGS, check
        sys.exit(pug.main(tests, rest, expects=(*pug.KILLS, "stored bytes are broken ")))
