#!/usr/bin/env python3
"""Events of one person, session and millisecond are in the order of their ids (D29). Sealed
segments have the ids of the few that need them apart (store/ties.h): answers are the same before
and after sealing, merging and erasing, and the ids of all events are read only where they must be."""
import collections
import random
import sys
import uuid

import pug
import test_erase
import test_sealed
from test_erase import BATCH, QUERY, Project
from test_sealed import insights

P = None
KINDS = ("view", "buy", "open")  # of enough events a day to have segments of their own
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


class Shop(Project):
    """Sessions of one event of each kind, all at one time; each of somebody else."""

    def __init__(self, seed):
        super().__init__()
        self.rnd, self.sessions, self.second = random.Random(seed), {}, 0

    def session(self, who=None):
        """Its events, in any order; they are not sent yet."""
        self.second += 1
        who = who or f"u{self.second}"
        session = str(uuid.UUID(int=self.rnd.getrandbits(128)))
        at = f"2026-01-01T10:{self.second // 60:02}:{self.second % 60:02}.123Z"
        events = [{"eventId": str(uuid.UUID(int=self.rnd.getrandbits(128))), "kind": kind, "distinctId": who,
                   "occurTime": at, "sessionId": session,
                   "customProperties": {"p": {"stringValue": f"{kind}{self.second % 3}"}}} for kind in KINDS]
        self.rnd.shuffle(events)
        self.sessions[who] = sorted(events, key=lambda e: uuid.UUID(e["eventId"]).bytes)
        return events

    def many(self, n=16):
        return [e for _ in range(n) for e in self.session()]

    def put(self, events):
        P.ok(BATCH, {"events": events}, key=self.public)

    def ask(self, kind, **spec):
        return P.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_" + kind, **spec}, "timeRange": DAY,
                            "granularity": "GRANULARITY_DAY"}, key=self.private)

    def check(self, anew):
        """Every question that needs an order; `anew` of them in a second run."""
        before = insights(P)
        ways = [[e["kind"] for e in v] for v in self.sessions.values()]
        steps = [{"event": {"kind": k}} for k in KINDS[:2]]
        by_p = [{"property": "p"}]
        got = [s["total"] for s in self.ask("FUNNEL", events=steps)["funnel"]["series"][0]["steps"]]
        assert got == [len(ways), sum(w.index("view") < w.index("buy") for w in ways)], got
        want = collections.Counter((f"{i}:{a}", f"{i + 1}:{b}") for w in ways for i, (a, b) in enumerate(zip(w, w[1:])))
        got = {(x["source"], x["target"]): int(x["value"]) for x in self.ask("USER_FLOW", userFlow={})["userFlow"]["links"]}
        assert got == want, (got, want)
        edge = lambda i: collections.Counter(v[i]["customProperties"]["p"]["stringValue"] for v in self.sessions.values())
        for metric, i in (("ENTRY", 0), ("EXIT", -1)):
            got = self.ask("TRENDS", session={"metric": "SESSION_METRIC_" + metric}, breakdowns=by_p)["trends"]["series"]
            assert {s["breakdown"]["p"]: sum(x["value"] for x in s["points"]) for s in got} == edge(i), (metric, got)
        any_p = [{"event": {"filters": [{"property": "p", "operator": "FILTER_OPERATOR_IS_SET"}]}}]
        got = self.ask("RETENTION", events=any_p, breakdowns=by_p)["retention"]["series"]
        assert {s["breakdown"]["p"]: int(s["cohorts"][0]["cohortSize"]) for s in got} == edge(0), got
        ran, again = (b - a for a, b in zip(before, insights(P)))
        assert (ran, again) == (5, anew), (ran, again)

    def segments(self):
        return [r for r in P.psql(f"SELECT kind, tier, n FROM pugd.segment WHERE project = {self.num}")]

    def ties(self):
        return int(P.psql(f"SELECT count(*) FROM pugd.segment_column WHERE project = {self.num} AND part = 10")[0][0])

    def verified(self):
        code, lines = test_sealed.verify(P)
        assert code == 0, lines


def test_sealed_together(_):
    """Waiting, sealed, merged and after an erasure: one run always."""
    shop = Shop(1)
    shop.put(shop.many())
    shop.check(0)
    test_sealed.seal(P)
    assert {kind for kind, _, _ in shop.segments()} == set(KINDS) and shop.ties() == 3, shop.segments()
    shop.check(0)
    for _ in range(9):
        shop.put(shop.many())
        shop.check(0)  # what waits has ids
        test_sealed.seal(P)
    assert max(int(tier) for _, tier, _ in shop.segments()) > 0, "some are merged"
    assert shop.ties() == len(shop.segments())
    shop.check(0)
    shop.verified()
    gone = list(shop.sessions)[::5]
    requests = [shop.delete(who)["requestId"] for who in gone]
    for who, request in zip(gone, requests):
        shop.wait(request)
        del shop.sessions[who]
    shop.check(0)
    assert shop.ties() == len(shop.segments()) > 0
    shop.verified()


def test_sealed_apart(_):
    """Events of one session in two sealings, or of which some still wait: with all ids."""
    shop = Shop(2)
    shop.put(shop.many())
    events = sorted(shop.session(), key=lambda e: e["kind"] != "view")
    shop.put(events[:1])
    test_sealed.seal(P)
    shop.put(events[1:])
    shop.check(4)  # the second question about sessions knows that it needs them
    shop.put(shop.many())
    test_sealed.seal(P)
    shop.check(0)  # as all of them do
    shop.verified()


def test_one_kind_apart(_):
    """Of one kind, merged since: their rows tell again."""
    shop = Shop(3)
    shop.put(shop.many())
    test_sealed.seal(P)
    for _ in range(8):
        shop.put(shop.many())
        test_sealed.seal(P)
    shop.check(0)
    shop.verified()


def test_old_segments(_):
    """Those from before there were ties: answers as ever, after a second run."""
    shop = Shop(4)
    shop.put(shop.many())
    test_sealed.seal(P)
    P.psql(f"""WITH gone AS (DELETE FROM pugd.segment_column WHERE project = {shop.num} AND part = 10
                             RETURNING segment, octet_length(data) AS bytes)
               UPDATE pugd.segment s SET columns = columns - 1, bytes = s.bytes - g.bytes
               FROM gone g WHERE s.project = {shop.num} AND s.id = g.segment""")
    assert shop.ties() == 0
    shop.verified()
    shop.check(4)
    shop.check(0)
    shop.put(shop.many())
    test_sealed.seal(P)
    assert shop.ties() == 3
    shop.check(0)


def test_damaged_ties(_):
    shop = Shop(5)
    shop.put(shop.many())
    test_sealed.seal(P)
    P.psql(f"""UPDATE pugd.segment_column SET data = set_byte(data, 9, get_byte(data, 9) # 4)
               WHERE project = {shop.num} AND part = 10""")
    code, lines = test_sealed.verify(P)
    assert code == 1 and any("the checksum of a column" in x for x in lines), lines
    code = P.call(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_USER_FLOW", "userFlow": {}}, "timeRange": DAY,
                          "granularity": "GRANULARITY_DAY"}, key=shop.private)[0]
    assert code == 500, code
    P.psql(f"DELETE FROM pugd.segment_column WHERE project = {shop.num}")
    P.psql(f"DELETE FROM pugd.segment WHERE project = {shop.num}")


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=1", "seal_age=1d", "seal_events=100000000", "seal_commits=100000000"]) as P:
        P.variant = variant
        test_erase.P = test_sealed.P = P
        test_erase.use(P)
        sys.exit(pug.main(tests, expects=("stored bytes are broken ",)))
