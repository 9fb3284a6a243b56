#!/usr/bin/env python3
"""Top-K of persons, who are digests until the few that are kept are named
(worker/insights/naming.h), and SegmentUsers, where they are until a page is cut out: the same as
by texts and as the naive model's, whoever is equal to whom; what is read for it; and when it is
asked again by texts.

    test_naming.py [--scenarios N] [--seed S] [--first I]    as test_points.py
"""
import argparse
import datetime
import os
import random
import sys
import time
import uuid

import model
import naive_points
import pug
import scenario
import test_accounts
import test_erase
import test_events
import test_explain
import test_flights
import test_model
import test_numbers
import test_points
import test_sealed
from test_points import QUERY, USERS, exact
from test_sealed import LAZY, seal

P = None
ARGS = None
# Nobody has this trait, so that everything matches; but traits are known by text only.
BY_TEXT = [{"filters": [{"property": "no-such-trait", "source": "PROPERTY_SOURCE_PROFILE",
                         "operator": "FILTER_OPERATOR_IS_NOT_SET"}]}]
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
PERSONS, SEGMENTS = 1024, 64  # of worker/insights/naming.h


def use(server):
    global P
    P = server
    test_numbers.use(server)
    for m in (test_explain, test_events, test_flights, test_points):
        m.P = server


def iso(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def day(n, hour=10):
    return iso(START + datetime.timedelta(days=n, hours=hour))


class Project:
    """Of test_explain.explain(), too."""

    def __init__(self):
        self.server = test_model.Server()
        self.key, self.num = self.server.project("")
        self.db = self.server.db
        self.id = self.db.one("select id from pugd.projects where num = $1", self.num)

    def send(self, events):
        """(distinct_id, day, amt) each."""
        events = [{"eventId": str(uuid.uuid4()), "kind": "view", "distinctId": who, "occurTime": day(n),
                   "sessionId": str(uuid.uuid4()), "customProperties": {"amt": {"intValue": amt}}}
                  for who, n, amt in events]
        for i in range(0, len(events), 1000):
            P.ok(pug.BATCH, {"events": events[i:i + 1000]}, key=self.key)

    def people(self, profiles=(), aliases=()):
        self.server.people(self.num, [{"id": i, "external_id": e, "properties": {"n": i}, "deleted": d}
                                      for i, e, d in profiles], dict(aliases))

    def body(self, metric="TOTAL", days=100, by_text=False, cookieless=False, **more):
        spec = {"insightType": "INSIGHT_TYPE_TOP_K", "topK": {
            "dimension": "DIMENSION_USER", "metric": "AGGREGATION_TYPE_" + metric, **more}}
        if metric != "TOTAL":
            spec["topK"]["metricProperty"] = "amt"
        if by_text:
            spec["filterGroups"] = BY_TEXT
        if cookieless:
            spec["includeCookieless"] = True
        return {"spec": spec, "granularity": "GRANULARITY_DAY",
                "timeRange": {"from": day(0, 0), "to": day(days, 0)}}

    def rows(self, *metric, **more):
        """Both ways."""
        got, want = (P.ok(QUERY, self.body(*metric, by_text=t, **more), key=self.key)["topK"].get("rows", [])
                     for t in (False, True))
        assert exact(got) == exact(want), (got, want)
        return got

    def pages(self, size, **more):
        """Both ways."""
        both = []
        for groups in ([], BY_TEXT):
            body, pages = {"timeRange": {"from": day(0, 0), "to": day(100, 0)}, "events": [{"event": {}}],
                           "pageSize": size, "filterGroups": groups, **more}, []
            while not pages or "nextPageToken" in got:
                got = P.ok(USERS, {**body, **({"pageToken": got["nextPageToken"]} if pages else {})}, key=self.key)
                pages.append(got.get("distinctIds", []))
            both.append(pages)
        assert both[0] == both[1], both
        return both[0]

    def short(self, *metric, **more):
        return [(r["dimensionValue"], r["value"]) for r in self.rows(*metric, **more)]

    def explain(self, *metric, **more):
        got = test_explain.explain(self, self.body(*metric, **more))
        return got, {c["name"]: c for c in got["columns"] if c["pieces"]}


def column(num, db, part):
    """Stored bytes of all columns of a part."""
    return int(db.one(f"select coalesce(sum(octet_length(data)), 0) from pugd.segment_column where project = $1 "
                      f"and part = {part}", num))


# ---- ties ------------------------------------------------------------------------------------

def three_ways(make):
    """Waiting, sealed, and some of each."""
    for how in range(3):
        p = Project()
        make(p, lambda: how and seal(), lambda: how == 1 and seal())
        yield p


def test_equal_persons(_):
    """Of those that are equal the bytes of their names decide, of profiles their ids'."""
    ids = [f"u{i:03d}" for i in range(300)]

    def make(p, first, last):
        mixed = random.Random(1).sample(ids, len(ids))
        p.send([(who, 0, 5) for who in mixed[:150]] + [("zz", 0, 5), ("zz", 0, 5)])
        first()
        p.send([(who, 0, 5) for who in mixed[150:]] + [("zz", 1, 5), ("é", 1, 1), ("é", 1, 2)])
        last()
    for p in three_ways(make):
        assert p.short(limit=1) == [("zz", 3), ("$others", 302)]
        assert p.short(limit=5) == [("zz", 3), ("é", 2), ("u000", 1), ("u001", 1), ("u002", 1), ("$others", 297)]
        assert p.short("SUM", limit=3, omitOthers=True) == [("zz", 15), ("u000", 5), ("u001", 5)]
        assert p.short("MIN", limit=100, omitOthers=True)[99] == ("u099", 5)
        assert p.short("AVG", limit=3, omitOthers=True) == [("u000", 5), ("u001", 5), ("u002", 5)]
        assert p.short("MAX", limit=3) == [("u000", 5), ("u001", 5), ("u002", 5), ("$others", 5)]


def test_whose_an_id_is(_):
    """D60: profiles by their ids, aliases, external ids; what is left is itself."""
    p1, p2, p3, gone = ("cq00000000000000000" + c for c in "1234")

    def make(p, first, last):
        p.people([(p1, "ext-1", False), (p2, "", False), (p3, "anon-x", False), (gone, "ext-gone", True)],
                 {"anon-1": p1, "anon-2": p2, "anon-x": p1, "anon-gone": gone, p2: p1})
        p.send([("anon-1", 0, 1), ("anon-2", 0, 1), ("nobody", 0, 1), ("anon-gone", 0, 1)])
        first()
        # anon-x is the alias of p1, which goes before being p3's external id; p2 is p2
        p.send([("ext-1", 1, 1), (p1, 2, 1), ("anon-x", 2, 1), (p2, 3, 1), ("ext-gone", 3, 1), (p3, 3, 1)])
        last()
    for p in three_ways(make):
        want = [(p1, 4), (p2, 2), ("anon-gone", 1), (p3, 1), ("ext-gone", 1), ("nobody", 1)]
        assert p.short() == p.short("SUM") == want, p.short()
        rows = p.rows(limit=4)
        assert [r.get("profile", {}).get("externalId") for r in rows] == ["ext-1", "", None, "anon-x", None], rows
        assert rows[1]["profile"] == {"id": p2, "externalId": "", "properties": {"n": p2}}
        for n in range(1, 6):
            assert p.short(limit=n)[:n] == want[:n]


def test_cookieless_visitors(_):
    for p in three_ways(lambda p, first, last: (
            p.send([("cookieles~-1", 0, 1), ("cookieles~-1", 0, 1), ("u", 0, 1), ("cookieles~-2", 0, 1)]),
            p.server.forge_cookieless(p.num), first(), p.send([("u", 1, 1), ("v", 1, 1)]), last())):
        assert p.short() == [("u", 2), ("v", 1)]
        assert p.short(cookieless=True) == [("cookieless-1", 2), ("u", 2), ("cookieless-2", 1), ("v", 1)]


# ---- SegmentUsers ----------------------------------------------------------------------------

def test_pages(_):
    p1, p2, p3, gone = ("cq00000000000000000" + c for c in "1234")

    def make(p, first, last):
        p.people([(p1, "zoe", False), (p2, "", False), (p3, "anon-x", False), (gone, "ext-gone", True)],
                 {"anon-1": p1, "anon-2": p2, "anon-x": p1, "anon-gone": gone, p2: p1})
        p.send([("anon-1", 0, 1), ("é", 0, 1), ("anon-gone", 0, 1), ("b", 0, 1), ("cookieles~-1", 0, 1)])
        p.server.forge_cookieless(p.num)
        first()
        p.send([("B", 1, 1), ("anon-1", 2, 1), (p2, 3, 1), (p3, 3, 1), ("b", 3, 1), ("b ", 3, 1)])
        last()
    # p3 is called as one of p1's ids is
    want = ["B", "anon-gone", "anon-x", "b", "b ", p2, "zoe", "é"]
    for p in three_ways(make):
        assert p.pages(1000) == p.pages(len(want)) == [want]
        for size in range(1, len(want)):
            assert p.pages(size) == [want[i:i + size] for i in range(0, len(want), size)], size


def test_pages_of_many(_):
    """More than fit while they are gathered, in whichever order they come."""
    ids = [f"u{i:04d}" for i in range(900)]
    for order in (ids, ids[::-1], random.Random(2).sample(ids, len(ids))):
        p = Project()
        p.people([(f"cq000000000000{i:06d}", f"u{i:04d}" if i % 2 else "", False) for i in range(0, 900, 5)])
        p.send([(who, i // 30, 1) for i, who in enumerate(order)] + [
            (f"cq000000000000{i:06d}", i % 30, 1) for i in range(0, 900, 10)])
        want = sorted(ids + [f"cq000000000000{i:06d}" for i in range(0, 900, 10)])
        for how in range(3):
            for size in (70, 1000):
                assert p.pages(size) == [want[i:i + size] for i in range(0, len(want), size)], (how, size)
            if how == 0:
                seal()
            test_sealed.as_before(p.server, p.num, 1)


def bytes_of(ask):
    before = P.admin()["counters"]["insight_bytes"]
    ask()
    return P.admin()["counters"]["insight_bytes"] - before


def test_texts_in_memory(_):
    """What ids are called is read once; who is new, changes or goes is seen at once all the same."""
    p = Project()
    names = [f"user-{i}-{i * 7919 % 10007}" for i in range(3000)]
    p.send([(who, i % 20, 1) for i, who in enumerate(names)])
    seal()
    want, body = sorted(names), {"timeRange": {"from": day(0, 0), "to": day(100, 0)}, "events": [{"event": {}}],
                                 "pageSize": 1000}

    def ask():
        assert P.ok(USERS, body, key=p.key)["distinctIds"] == sorted(want)[:1000]
    texts = column(p.num, p.db, 4)
    assert bytes_of(ask) >= texts
    assert min(bytes_of(ask) for _ in range(6)) < texts / 10  # each worker reads who is who once
    more = [f"more-{i}" for i in range(500)]
    many = [f"late-{i}" for i in range(PERSONS + 100)]
    for new in (more, many):  # so few that they are looked up, and so many that all is read again
        p.send([(who, i % 20, 1) for i, who in enumerate(new)])
        want += new
        ask()
        seal()
        for _ in range(3):
            ask()
    # of the second ones: one is a profile's now, with a name and without, two are one person
    p.people([("cq000000000000000001", "a-name", False), ("cq000000000000000002", "", False)],
             {more[1]: "cq000000000000000001", more[2]: "cq000000000000000002", more[3]: "cq000000000000000002"})
    want = [w for w in want if w not in more[1:4]] + ["a-name", "cq000000000000000002"]
    ask()
    assert P.ok(test_erase.SHARED + "Delete", {"id": more[0]}, key=p.key)
    want.remove(more[0])
    for _ in range(2):
        ask()
    p.send([(more[0], 3, 1)])  # as somebody new
    want.append(more[0])
    ask()
    seal()
    for _ in range(3):
        ask()
    assert [w for page in p.pages(777) for w in page] == sorted(want)


# ---- what is read ----------------------------------------------------------------------------

def test_reads_few_texts(_):
    p = Project()
    p.send([(f"user-{i}-{i * 7919 % 10007}", i % 40, 1) for i in range(4000)] + [("best", 20, 1)] * 3)
    seal()
    for i in range(2):
        got, columns = p.explain(limit=1)
        assert got["runs"] == 1 and got["segments"]["read"] == 40, got
        # a number a segment, and the texts of one
        assert columns["distinct_id"]["pieces"] == 41, columns
        assert columns["distinct_id"]["stored"] < column(p.num, p.db, 9) + column(p.num, p.db, 4) / 20
        assert p.short(limit=1) == [("best", 3), ("$others", 4000)]
        assert p.explain(limit=1, by_text=True)[1]["distinct_id"]["stored"] == column(p.num, p.db, 4)
        # somebody who waits was read with the inbox
        p.send([("best", 20, 1)] * 4 if i else [])
    got, columns = p.explain("SUM", limit=1)
    assert got["runs"] == 1 and columns["distinct_id"]["pieces"] == 41, (got, columns)
    assert p.short(limit=1) == [("best", 7), ("$others", 4000)]


def test_too_many_are_equal(_):
    """Then all texts are read, after all."""
    p = Project()
    p.send([(f"u{i:04d}", i % 3, 1) for i in range(PERSONS - 1)] + [("best", 0, 1)] * 2)
    for sealed in range(2):
        assert p.explain(limit=2)[0]["runs"] == 1
        assert p.short(limit=2) == [("best", 2), ("u0000", 1), ("$others", PERSONS - 2)]
        if not sealed:
            seal()
    p.send([("aaa", 0, 1)])
    for sealed in range(2):
        for metric in ("TOTAL", "MAX"):
            got, columns = p.explain(metric, limit=2)
            assert got["runs"] == 2, got
            if sealed:
                assert columns["distinct_id"]["stored"] == sum(column(p.num, p.db, n) for n in (4, 9)), columns
                assert got["events"]["scanned"] == PERSONS + 2, got
        assert p.short(limit=2) == [("best", 2), ("aaa", 1), ("$others", PERSONS - 1)]
        assert p.short("MAX", limit=2) == [("aaa", 1), ("best", 1), ("$others", 1)]
        # whoever is better than all of them is found by numbers
        assert p.explain(limit=1)[0]["runs"] == 1 and p.short(limit=1)[0] == ("best", 2)
        seal()


def test_too_many_segments(_):
    p = Project()
    p.send([(f"u{n:02d}", n, 1) for n in range(SEGMENTS)])
    seal()
    got, columns = p.explain(limit=3)
    assert got["segments"]["read"] == SEGMENTS and got["runs"] == 1 and columns["distinct_id"]["pieces"] == 2 * SEGMENTS
    assert p.short(limit=3) == [("u00", 1), ("u01", 1), ("u02", 1), ("$others", SEGMENTS - 3)]
    p.send([("u99", SEGMENTS, 1)])
    assert p.explain(limit=3)[0]["runs"] == 1, "who waits is read anyway"
    seal()
    assert p.explain(limit=3)[0]["runs"] == 2
    assert p.short(limit=3) == [("u00", 1), ("u01", 1), ("u02", 1), ("$others", SEGMENTS - 2)]


def test_the_table_says_so(_):
    p = Project()
    p.send([(f"u{i}", 0, 1) for i in range(PERSONS + 1)])
    for limit, line in ((1, True), (100, True)):
        code, out, err = test_explain.command("explain", "--project", p.id, stdin=test_explain.json.dumps(
            p.body(limit=limit)))
        assert code == 0 and ("runs                  2 (ids" in out) == line, (out, err)


def test_one_question_is_counted(_):
    """However often it is asked inside."""
    p = Project()
    p.send([(f"u{i}", 0, 1) for i in range(PERSONS + 1)])

    before = test_flights.counters()["insight_queries"]
    P.ok(QUERY, p.body(), key=p.key)
    assert test_flights.counters()["insight_queries"] == before + 1


# ---- erasure, and what else hides ------------------------------------------------------------

def ranked(p, **more):
    body = {"spec": {"insightType": "INSIGHT_TYPE_TOP_K", "topK": {"dimension": "DIMENSION_USER", **more}},
            "timeRange": test_erase.DAY, "granularity": "GRANULARITY_DAY"}
    got = P.ok(QUERY, body, key=p.private)["topK"].get("rows", [])
    body["spec"]["filterGroups"] = BY_TEXT
    assert got == P.ok(QUERY, body, key=p.private)["topK"].get("rows", [])
    return [(r["dimensionValue"], r["value"]) for r in got]


def test_an_erasure_between(_):
    for sealed in range(2):
        p, m = test_erase.Project(), test_erase.mark()
        profile, external, anon = test_erase.person(p, m, 6)
        p.put(*(test_erase.event("other") for _ in range(4)), *(test_erase.event("third") for _ in range(2)))
        if sealed:
            seal()
        assert ranked(p) == [(profile, 6), ("other", 4), ("third", 2)]
        with test_erase.held():
            request = p.delete(anon)["requestId"]
            assert ranked(p) == [("other", 4), ("third", 2)]
            # the same ids again are somebody new
            p.put(*(test_erase.event(anon) for _ in range(3)), test_erase.event(external))
            assert ranked(p) == [("other", 4), (anon, 3), ("third", 2), (external, 1)]
            assert ranked(p, limit=2) == [("other", 4), (anon, 3), ("$others", 3)]
            if sealed:
                seal()
            assert ranked(p) == [("other", 4), (anon, 3), ("third", 2), (external, 1)]
        p.wait(request)
        assert ranked(p) == [("other", 4), (anon, 3), ("third", 2), (external, 1)]
        again = p.identify(external, {}, anon)
        assert ranked(p) == sorted([("other", 4), (again, 4)], key=lambda r: r[0].encode()) + [("third", 2)]
        p.checks()


def test_numbers_of_nobody(_):
    """An erased id's number stays without a digest."""
    p = test_erase.Project()
    p.put(*(test_erase.event(f"u{i}") for i in range(20)), test_erase.event("u7"))
    seal()
    p.wait(p.delete("u3")["requestId"])
    assert ranked(p, limit=4) == [("u7", 2), ("u0", 1), ("u1", 1), ("u10", 1), ("$others", 15)]
    p.put(test_erase.event("u3"), test_erase.event("u3"))
    for _ in range(2):
        assert ranked(p, limit=2) == [("u3", 2), ("u7", 2), ("$others", 18)]
        seal()


def test_numbers_of_others(_):
    """A digest that is not the id's: nobody gets another's name, the texts say who it was."""
    p = Project()
    p.send([(f"u{i}", i % 3, 1) for i in range(9) for _ in range(i + 1)])
    seal()
    want = [("u8", 9), ("u7", 8), ("$others", 28)]
    assert p.short(limit=2) == want and p.explain(limit=2)[0]["runs"] == 1
    p.db.query("update pugd.number_block set digests = overlay(overlay(digests placing substr(digests, 1, 32) from 33) "
               "placing substr(digests, 33, 32) from 1) where project = $1", p.num)
    assert p.short(limit=2) == want and p.explain(limit=2)[0]["runs"] == 2


# ---- random projects -------------------------------------------------------------------------

class Maker(test_points.Maker):
    def question(self):
        """Of persons only, and hardly ever with conditions on traits."""
        r = self.r
        if r.random() < 0.3:
            return {"events": [{"event": self.event_filter()}], "pageSize": r.choice([0, 1, 2, 3, 1000]),
                    "timeRange": self.window(self.granularity)}
        query = self.metric(self.scoped({"dimension": "DIMENSION_USER"}), False)
        if r.random() < 0.8:
            query["limit"] = r.choice([0, 1, 1, 2, 3, 4, 100])
        if r.random() < 0.2:
            query["omitOthers"] = True
        spec = {"insightType": "INSIGHT_TYPE_TOP_K", "topK": query}
        if r.random() < 0.2:
            spec["includeCookieless"] = True
        window = self.window(self.granularity)
        granularity = self.granularity
        if r.random() < 0.5:
            year, granularity = model.utc(self.anchor).year, "MONTH"
            window = {"from": f"{year - 4}-01-01T00:00:00Z", "to": f"{year + 4}-01-01T00:00:00Z"}
        return {"spec": spec, "granularity": "GRANULARITY_" + granularity, "timeRange": window}


def answers(server, key, request):
    forced = {**request, "filterGroups": BY_TEXT}
    if "spec" in request:
        forced = {**request, "spec": {**request["spec"], "filterGroups": BY_TEXT}}
    return [test_points.ask(server, key, r) for r in (request, forced)]


def check(server, s, rnd):
    key, num = server.project(s["zone"])
    truth = naive_points.Points(s["zone"])
    for steps, questions in s["rounds"]:
        for step in steps:
            test_points.do(server, key, truth, step)
            if step[0] == "send" and "cookieles~-" in str(step):
                server.forge_cookieless(num)
            if step[0] == "send" and rnd.random() < 0.3:
                seal()
        if rnd.random() < 0.6:
            seal()
        if rnd.random() < 0.3:
            test_sealed.as_before(server, num, rnd.randrange(2))
        for request in map(test_model.renamed_request, questions):
            want = truth.answer(request)
            for way, got in zip(("numbers", "texts"), answers(server, key, request)):
                if exact(got) != exact(want):
                    return f"by {way}: {request}\ngot  {got}\nwant {want}"
    return None


def test_random_projects(_):
    server, start = test_model.Server(), time.monotonic()
    print(f"seed {ARGS.seed}", flush=True)
    for i in range(ARGS.first, ARGS.first + ARGS.scenarios):
        name = f"{ARGS.seed}:naming:{i}"
        wrong = check(server, Maker(name).scenario(), random.Random(name))
        assert not wrong, f"scenario {i} of seed {ARGS.seed}: {wrong}"
    server.close()
    print(f"{ARGS.scenarios} scenarios in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=int(os.environ.get("SCENARIOS", "40")))
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261129"))
    parser.add_argument("--first", type=int, default=0)
    ARGS, rest = parser.parse_known_args()
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in rest else "test", options=LAZY) as first_server:
        use(first_server)
        sys.exit(pug.main(tests, rest, expects=("names of persons are not theirs ",)))
