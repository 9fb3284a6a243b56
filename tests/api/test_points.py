#!/usr/bin/env python3
"""Top-K, maps, session metrics and SegmentUsers: worked examples of the contract, refusals,
and random projects against a naive model (naive_points.py).

    test_points.py                    200 scenarios of a fixed seed, or of $PUGD_SEED
    SCENARIOS=5000 test_points.py     more
    test_points.py --seed 7 --first 41 --scenarios 1   one of them
"""
import argparse
import datetime
import json
import math
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
import test_events
import test_model
from test_accounts import fails
from test_events import Project, UTC, event, iso

QUERY = "/insights.v1.InsightsService/Query"
USERS = "/insights.v1.InsightsService/SegmentUsers"
BATCH = "/events.v1.EventsService/BatchCreate"
IDENTIFY, ALIAS = ("/profiles.v1.ProfilesSDKService/" + m for m in ("Identify", "Alias"))
DAY1 = datetime.datetime(2024, 1, 1, tzinfo=UTC)
P = None
ARGS = None


def at(day, clock):
    h, m = clock.split(":")
    return DAY1 + datetime.timedelta(days=day - 1, hours=int(h), minutes=int(m))


def strings(**props):
    return {("$" + k if k in ("browser", "url", "pathname", "country") else k): {"stringValue": v}
            for k, v in props.items()}


def seen(who, when=None, kind="view", session=None, amt=None, **auto):
    out = event(kind, who, when or at(1, "10:00"), {} if amt is None else {"amt": amt},
                autoProperties=strings(**auto))
    return {**out, "sessionId": session or out["sessionId"]}


def rows(project, days=1, **spec):
    kind = "TOP_K" if "topK" in spec else "MAP"
    got = project.query({"insightType": "INSIGHT_TYPE_" + kind, **spec}, DAY1,
                        DAY1 + datetime.timedelta(days=days))
    assert set(got) == {"topK"}, got
    return got["topK"].get("rows", [])


def short(got):
    return [(r["dimensionValue"], r["value"]) + ((True,) if r["isOthers"] else ()) for r in got]


def top(dimension, metric="TOTAL", **more):
    return {"dimension": "DIMENSION_" + dimension, "metric": "AGGREGATION_TYPE_" + metric, **more}


# ---- worked examples ---------------------------------------------------------------------

def test_k1_and_k2(_):
    p = Project()
    assert rows(p, topK=top("EVENT_KIND")) == []
    p.send([seen("u", browser=b) for b, n in (("Chrome", 5), ("Safari", 3), ("Firefox", 2), ("Edge", 1))
            for _ in range(n)])
    by = {"property": "$browser", "scope": {"kind": "view"}, "limit": 2}
    assert short(rows(p, topK=top("PROPERTY", **by))) == [("Chrome", 5), ("Safari", 3), ("$others", 3, True)]
    assert short(rows(p, topK=top("PROPERTY", omitOthers=True, **by))) == [("Chrome", 5), ("Safari", 3)]
    assert "profile" not in rows(p, topK=top("PROPERTY", **by))[0]
    q = Project()
    q.send([seen(u, browser=b) for b, us in (("A", "123"), ("B", "45"), ("C", "9"), ("D", "9")) for u in us])
    assert short(rows(q, topK=top("PROPERTY", "UNIQUE_USERS", **by))) == [
        ("A", 3), ("B", 2), ("$others", 1, True)]


def test_k3(_):
    p = Project()
    p.send([seen(who, amt=amt) for who, amt in (("p", 4), ("p", 8), ("q", 30), ("r", 3), ("s", "n/a"))])
    for metric, others in (("AVG", 5), ("MIN", 3), ("MAX", 8)):
        got = short(rows(p, topK=top("USER", metric, metricProperty="amt", limit=1)))
        assert got == [("q", 30), ("$others", others, True)], (metric, got)


def identify(project, external, **more):
    return P.ok(IDENTIFY, {"externalId": external, **more}, key=project.prv)["profileId"]


def test_k4(_):
    p = Project()
    who = identify(p, "e1", anonymousId="anon-1", traits={"plan": "gold", "n": {"x": [1]}})
    bare = identify(p, "e2")
    p.send([seen(i, amt=a) for i, a in ((who, 100), ("e1", 50), ("anon-1", 25), ("z", 80), ("e2", 1))])
    assert rows(p, topK=top("USER", "SUM", metricProperty="amt")) == [
        {"dimensionValue": who, "value": 175, "isOthers": False,
         "profile": {"id": who, "externalId": "e1", "properties": {"plan": "gold", "n": {"x": [1]}}}},
        {"dimensionValue": "z", "value": 80, "isOthers": False},
        {"dimensionValue": bare, "value": 1, "isOthers": False,
         "profile": {"id": bare, "externalId": "e2"}}]


def test_large_traits(_):
    """A page of persons with all the traits that one may have is an answer."""
    p = Project()
    ids = [identify(p, f"u{i:02d}", traits={"t": "x" * 60000}) for i in range(30)]
    p.send([seen(i) for i in ids])
    got = rows(p, topK=top("USER", limit=100))
    assert sorted(r["profile"]["id"] for r in got) == sorted(ids)
    full = [r for r in got if "properties" in r["profile"]]
    assert full == got[:len(full)] and 10 < len(full) < 30, len(full)


def test_map(_):
    p = Project()
    p.send([seen(u, country=c, amt=a) for u, c, a in (
        ("a", "DE", 1), ("b", "DE", 2), ("a", "FR", "x"), ("a", "de", 9), ("a", "XX", 9), ("a", "EU", 9),
        ("c", "AT", -3), ("c", "", 1))])
    assert short(rows(p, map={})) == [("DE", 2), ("AT", 1), ("FR", 1)]
    assert rows(p, map={"metric": "AGGREGATION_TYPE_SUM", "metricProperty": "amt"}) == [
        {"dimensionValue": c, "value": v, "isOthers": False} for c, v in (("DE", 3), ("FR", 0), ("AT", -3))]


def session_total(p, metric, start, end, **scope):
    return p.query({"insightType": "INSIGHT_TYPE_SEGMENTATION",
                    "session": {"metric": "SESSION_METRIC_" + metric, **scope}}, start, end)["segmentation"]["total"]


def session_trends(p, metric, start, end, *breakdowns, granularity="DAY", scope=None, **spec):
    got = p.query({"insightType": "INSIGHT_TYPE_TRENDS",
                   "session": {"metric": "SESSION_METRIC_" + metric, **({"scope": scope} if scope else {})},
                   "breakdowns": [{"property": b} for b in breakdowns], **spec}, start, end, granularity)
    assert set(got) == {"trends"}, got
    return [(s["eventKind"], s.get("breakdown", {}), [(x["time"], x["value"]) for x in s["points"]])
            for s in got["trends"].get("series", [])]


def test_s1(_):
    p, s = Project(), [str(uuid.uuid4()) for _ in range(3)]
    p.send([seen("u", at(*when), session=s[n], url=url) for n, when, url in (
        (0, (1, "10:00"), "/a"), (0, (1, "10:04"), "/b"), (1, (1, "10:30"), "/a"),
        (2, (1, "23:50"), "/x"), (2, (2, "00:05"), "/y"), (2, (2, "00:20"), "/z"))])
    one, two = (DAY1, at(2, "00:00")), (at(2, "00:00"), at(3, "00:00"))
    assert [session_total(p, m, *one) for m in ("SESSIONS", "AVG_DURATION", "BOUNCE_RATE",
                                                "AVG_EVENTS_PER_SESSION")] == [3, 680, 100 / 3, 2]
    assert [session_total(p, m, *two) for m in ("SESSIONS", "AVG_DURATION", "BOUNCE_RATE",
                                                "AVG_EVENTS_PER_SESSION")] == [0, 0, 0, 0]
    assert session_trends(p, "SESSIONS", *two) == []
    day = "2024-01-01T00:00:00Z"
    assert session_trends(p, "ENTRY", *one, "$url") == [
        ("$session", {"$url": "/a"}, [(day, 2)]), ("$session", {"$url": "/x"}, [(day, 1)])]
    assert session_trends(p, "EXIT", *one, "$url") == [
        ("$session", {"$url": u}, [(day, 1)]) for u in ("/a", "/b", "/z")]


def test_s2(_):
    p, s = Project(), str(uuid.uuid4())
    p.send([seen("u", at(1, "10:00"), "identify", s), seen("u", at(1, "10:01"), "page_view", s, pathname="/in"),
            seen("u", at(1, "10:02"), "page_view", s, pathname="/out")])
    one, scope, day = (DAY1, at(2, "00:00")), {"kind": "page_view"}, "2024-01-01T00:00:00Z"
    assert session_trends(p, "ENTRY", *one, "$pathname") == [("$session", {"$pathname": ""}, [(day, 1)])]
    assert session_trends(p, "ENTRY", *one, "$pathname", scope=scope) == [
        ("page_view", {"$pathname": "/in"}, [(day, 1)])]
    assert session_total(p, "AVG_EVENTS_PER_SESSION", *one) == 3
    assert session_total(p, "AVG_EVENTS_PER_SESSION", *one, scope=scope) == 2


# ---- SegmentUsers ------------------------------------------------------------------------

WINDOW = {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}


def pages(p, size=0, **more):
    """[ids of a page]."""
    out, token = [], None
    while True:
        got = P.ok(USERS, {"timeRange": WINDOW, "events": [{"event": {}}], "pageSize": size,
                           **({"pageToken": token} if token else {}), **more}, key=p.prv)
        out.append(got.get("distinctIds", []))
        token = got.get("nextPageToken")
        if not token:
            return out


def test_segment_users(_):
    p = Project()
    assert pages(p) == [[]]
    who = identify(p, "zoe", anonymousId="anon-1")
    p.send([seen(i) for i in ("b", "a", "é", "anon-1", who, "zoe", "B")] + [seen("out", at(2, "00:00"))])
    everybody = ["B", "a", "b", "zoe", "é"]
    assert pages(p) == [everybody]
    assert pages(p, 2) == [["B", "a"], ["b", "zoe"], ["é"]]
    assert pages(p, 5) == [everybody], "nothing follows a page that is exactly full (D55)"
    assert pages(p, 4) == [everybody[:4], everybody[4:]]
    p.send([seen(f"u{i:03d}") for i in range(150)])
    assert [len(page) for page in pages(p)] == [100, 55]
    assert [len(page) for page in pages(p, 1000)] == [155]
    # A window of any length; a person who signs up later is one person with the past.
    wide = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    assert "out" in pages(p, 1000, timeRange=wide)[0]
    assert P.ok(ALIAS, {"previousId": "a", "externalId": "zoe"}, key=p.prv)["profileId"] == who
    assert pages(p, 1000)[0][:3] == ["B", "b", "u000"]


def test_tokens(_):
    p, q = Project(), Project()
    for project in (p, q):
        project.send([seen("a"), seen("b")])
    body = {"timeRange": WINDOW, "events": [{"event": {}}], "pageSize": 1}
    token = P.ok(USERS, body, key=p.prv)["nextPageToken"]
    assert P.ok(USERS, {**body, "pageToken": token}, key=p.prv) == {"distinctIds": ["b"]}
    assert P.ok(USERS, {**body, "pageToken": ""}, key=p.prv)["distinctIds"] == ["a"]
    for bad in (token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), "a", "x" * 3000, token + "A"):
        fails(400, "INVALID_PAGE_TOKEN", USERS, {**body, "pageToken": bad}, key=p.prv)
    fails(400, "INVALID_PAGE_TOKEN", USERS, {**body, "pageToken": token}, key=q.prv)


# ---- refusals ----------------------------------------------------------------------------

def test_rules_name_the_field(_):
    p = Project()
    base = {"timeRange": WINDOW, "granularity": "GRANULARITY_DAY"}
    by_kind = {"dimension": "DIMENSION_EVENT_KIND"}
    for spec, field in (
            ({"insightType": "INSIGHT_TYPE_TOP_K"}, "top_k"), ({"insightType": "INSIGHT_TYPE_MAP"}, "map"),
            ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": {}}, "top_k.dimension"),
            ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": by_kind, "breakdownLimit": 1}, "breakdown_limit"),
            ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": {**by_kind, "limit": 101}}, "top_k.limit"),
            ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": {**by_kind, "scope": {"kind": "a b"}}},
             "top_k.scope.kind"),
            ({"insightType": "INSIGHT_TYPE_TRENDS", "session": {}}, "session.metric"),
            ({"insightType": "INSIGHT_TYPE_TRENDS", "session": {"metric": "SESSION_METRIC_ENTRY"}},
             "session.metric"),
            ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": by_kind,
              "session": {"metric": "SESSION_METRIC_SESSIONS"}}, "session")):
        answer = fails(400, "INVALID_ARGUMENT", QUERY, {**base, "spec": spec}, key=p.prv)
        assert field in answer["message"], (spec, answer)
    any_event = {"event": {}}
    for body, field in (({"events": [any_event]}, "time_range"), ({"timeRange": WINDOW}, "events"),
                        ({"timeRange": WINDOW, "events": [any_event], "pageSize": 1001}, "page_size"),
                        ({"timeRange": {"from": WINDOW["to"], "to": WINDOW["from"]}, "events": [any_event]},
                         "time_range"),
                        ({"timeRange": WINDOW, "events": [any_event], "filterGroups": [{}]},
                         "filter_groups[0].filters")):
        answer = fails(400, "INVALID_ARGUMENT", USERS, body, key=p.prv)
        assert field in answer["message"], (body, answer)
    empty = {"event": {"kind": "a"}}, any_event
    for events, where in ((list(empty), "events[1].event: event "), ([{}], "events[0].event: event ")):
        answer = fails(400, "INVALID_INSIGHT_QUERY", USERS, {"timeRange": WINDOW, "events": events}, key=p.prv)
        assert answer["message"].startswith(where), answer
    for events, where in (([{"event": {"kind": "a"}, "aggregation": "AGGREGATION_TYPE_TOTAL"}, any_event],
                           "spec.events[1].event: event "), ([{}], "spec.events[0].event: event ")):
        answer = fails(400, "INVALID_INSIGHT_QUERY", QUERY,
                       {**base, "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": events}}, key=p.prv)
        assert answer["message"].startswith(where), answer


def test_sums_stay_finite(_):
    """What no double holds is the largest one; what comes back into the range is right."""
    p, most = Project(), sys.float_info.max
    for kind, numbers in (("up", [1e308] * 3), ("down", [-1e308] * 3), ("back", [1e308, 1e308, -1e308])):
        p.send([seen("u", kind=kind, amt=n) for n in numbers])
    for metric, want in (("SUM", {"up": most, "down": -most, "back": 1e308}),
                         ("AVG", {"up": 1e308, "down": -1e308, "back": 1e308 / 3})):
        metric = {"metricProperty": "amt", **top("EVENT_KIND", metric)}
        got = {r["dimensionValue"]: r["value"] for r in rows(p, topK=metric)}
        assert set(got) == set(want) and all(math.isclose(got[k], want[k], rel_tol=1e-12) for k in want), got
    by_sum = {"event": {}, "aggregation": "AGGREGATION_TYPE_SUM", "aggregationProperty": "amt"}
    for kind in ("TRENDS", "SEGMENTATION"):
        got = p.query({"insightType": "INSIGHT_TYPE_" + kind, "events": [
            {**by_sum, "event": {"kind": "up"}}]}, DAY1, DAY1 + datetime.timedelta(days=1))
        total = got["segmentation"]["total"] if "segmentation" in got else got["trends"]["series"][0]["points"][0]["value"]
        assert total == most, got


def test_memory_has_a_cap(variant):
    """What needs more than it may use ends as such, and what needs less still runs."""
    many = [{"eventId": str(uuid.uuid4()), "kind": "view", "distinctId": f"u{i}", "sessionId": str(uuid.uuid4()),
             "occurTime": iso(at(1, "10:00")), "customProperties": {"p": {"stringValue": f"{i}" * 20}}}
            for i in range(8000)]
    with pug.Pug(variant, options=["insight_memory=1M"]) as small:
        key = small.info["private_key"]
        for i in range(0, len(many), 1000):
            small.ok(BATCH, {"events": many[i:i + 1000]}, key=key)

        def ask(path, body):
            status, answer, _ = small.call(path, {**body, "timeRange": WINDOW}, key=key)
            return answer.get("code", status)

        def query(spec):
            return ask(QUERY, {"granularity": "GRANULARITY_DAY", "spec": spec})
        sessions = {"insightType": "INSIGHT_TYPE_TRENDS", "session": {"metric": "SESSION_METRIC_ENTRY"},
                    "breakdowns": [{"property": "p"}]}
        for spec in ({"insightType": "INSIGHT_TYPE_TOP_K", "topK": top("PROPERTY", property="p")},
                     {"insightType": "INSIGHT_TYPE_TOP_K", "topK": top("USER")}, sessions):
            assert query(spec) == "resource_exhausted", spec
        traits = {"filterGroups": [{"filters": [{"property": "none", "source": "PROPERTY_SOURCE_PROFILE",
                                                 "operator": "FILTER_OPERATOR_IS_NOT_SET"}]}]}
        assert ask(USERS, {"events": [{"event": {}}], **traits}) == "resource_exhausted"
        assert ask(USERS, {"events": [{"event": {}}]}) == 200, "people are digests"
        assert query({"insightType": "INSIGHT_TYPE_TOP_K", "topK": top("EVENT_KIND")}) == 200
        assert query({**sessions, "session": {**sessions["session"], "scope": {"kind": "none"}}}) == 200


# ---- random projects ---------------------------------------------------------------------

class Maker(scenario.Maker):
    """Two rounds of events, changes of identity and questions."""

    def scenario(self):
        r = self.r
        self.zone_name = r.choice(scenario.ZONES)
        self.zone = model.Zone(self.zone_name)
        self.granularity = r.choice(list(scenario.CAPS))
        self.big = r.random() < 0.01
        self.pick_times()
        self.kinds = self.some(scenario.KINDS, 1, 4)
        self.users = self.some(scenario.USERS, 1, 7) + ["anon-1", "anon-2"]
        self.users += [f"many-{i}" for i in range(400 if self.big else 0)]
        self.keys = self.some(scenario.KEYS, 1, 4) + ["$country"]
        self.sessions = [str(uuid.UUID(int=r.getrandbits(128))) for _ in range(r.choice([2, 6, 12]))]
        if r.random() < 0.2:
            self.users += self.some(scenario.COOKIELESS, 1, 3)
        rounds = []
        for _ in range(2):
            steps = [("send", batch) for batch in self.batches()] + \
                [self.change() for _ in range(r.choice([0, 1, 3, 8]))]
            r.shuffle(steps)
            rounds.append((steps, [self.question() for _ in range(5)]))
        return {"zone": self.zone_name, "rounds": rounds}

    def value(self, key):
        if key == "$country" and self.r.random() < 0.8:
            return self.typed(self.r.choice(["DE", "FR", "AT", "US", "ZW", "XK", "UK", "de", "", "EU"]))
        return super().value(key)

    def change(self):
        """A change of identity; who is no cookieless visitor."""
        r = self.r
        ids = [u for u in self.users if not u.startswith("cookieles")] + ["ext1", "ext2"]
        if r.random() < 0.6:
            traits = {k: v for k, v in self.traits().items() if r.random() < 0.5}
            return "identify", r.choice(ids), traits, r.choice(["anon-1", "anon-2", ""])
        return "alias", r.choice(ids), r.choice(ids)

    def metric(self, query, may_count_users=True):
        how = self.r.choice([a for a in scenario.AGGREGATIONS
                             if may_count_users or "USER" not in a])
        query["metric"] = "AGGREGATION_TYPE_" + how
        if how in ("SUM", "AVG"):
            query["metricProperty"] = self.r.choice(["amt", "amt", "absent", "$mobile"])
        elif how in ("MIN", "MAX"):
            query["metricProperty"] = self.r.choice(self.keys + ["amt"])
        return query

    def scoped(self, query):
        if self.r.random() < 0.5:
            query["scope"] = self.event_filter()
        return query

    def top_k(self):
        r = self.r
        dimension = r.choice(["PROPERTY", "PROPERTY", "EVENT_KIND", "USER"])
        query = self.metric(self.scoped({"dimension": "DIMENSION_" + dimension}), dimension != "USER")
        if dimension == "PROPERTY":
            query["property"] = r.choice(self.keys + ["absent", "amt"])
        if r.random() < 0.7:
            query["limit"] = r.choice([0, 1, 1, 2, 3, 100])
        if r.random() < 0.2:
            query["omitOthers"] = True
        return {"insightType": "INSIGHT_TYPE_TOP_K", "topK": query}

    def session(self):
        r = self.r
        metric = r.choice(["SESSIONS", "AVG_DURATION", "BOUNCE_RATE", "ENTRY", "EXIT", "AVG_EVENTS_PER_SESSION"])
        trends = metric in ("ENTRY", "EXIT") or r.random() < 0.6
        spec = {"insightType": "INSIGHT_TYPE_" + ("TRENDS" if trends else "SEGMENTATION"),
                "session": self.scoped({"metric": "SESSION_METRIC_" + metric})}
        n = 1 if metric in ("ENTRY", "EXIT") else r.choice([0, 1, 1, 2, 5]) if trends else 0
        names = list(dict.fromkeys(self.some(self.keys + ["absent", "amt", "$os"], n, n)))
        if names and (n != 1 or len(names) == 1):
            spec["breakdowns"] = [{"property": k} for k in names]
            spec["breakdownLimit"] = r.choice([0, 1, 1, 2, 3, 100])
        return spec

    def question(self):
        r = self.r
        kind = r.choice(["top", "top", "top", "map", "session", "session", "session", "users"])
        granularity = self.granularity if r.random() < 0.7 else r.choice(list(scenario.CAPS))
        if kind == "users":
            n = r.choice([1, 1, 2, 3])
            out = {"events": [{"event": self.event_filter(n == 1)} for _ in range(n)],
                   "pageSize": r.choice([0, 1, 2, 3, 1000])}
        else:
            spec = {"top": self.top_k, "session": self.session,
                    "map": lambda: {"insightType": "INSIGHT_TYPE_MAP", "map": self.metric(self.scoped({}))}}[kind]()
            if r.random() < 0.3:
                spec["includeCookieless"] = True
            out = {"spec": spec, "granularity": "GRANULARITY_" + granularity}
        out["timeRange"] = self.window(granularity)
        if r.random() < 0.2:
            out.get("spec", out).update(filterGroups=[
                {"filters": [self.filter() for _ in range(r.randint(1, 2))],
                 "operator": "LOGICAL_OPERATOR_" + r.choice(["AND", "OR", "UNSPECIFIED"])}
                for _ in range(r.randint(1, 2))],
                filterGroupsOperator="LOGICAL_OPERATOR_" + r.choice(["AND", "OR"]))
        return out


def do(server, key, truth, step):
    """One step on both sides."""
    if step[0] == "send":
        server.ok(BATCH, {"events": step[1]}, key=key)
        truth.send(test_model.renamed(step[1]))
    elif step[0] == "identify":
        _, external, traits, anonymous = step
        status, answer, _ = P.call(IDENTIFY, {"externalId": external, "traits": traits, "anonymousId": anonymous},
                                   key=key, conn=server.conn)
        if status == 400 and "anonymous_id is" in answer["message"]:
            assert truth.by_external(anonymous), step
            return
        assert status == 200, (step, answer)
        truth.identified(external, traits, anonymous, answer["profileId"])
    else:
        answer = server.ok(ALIAS, {"previousId": step[1], "externalId": step[2]}, key=key)
        truth.aliased(step[1], step[2], answer.get("profileId", ""))


def ask(server, key, request):
    """The answer in the shape of Points.answer()."""
    if "spec" in request:
        answer = server.ok(QUERY, request, key=key)
        if "segmentation" in answer:
            return answer["segmentation"]["total"]
        if "topK" in answer:
            return answer["topK"].get("rows", [])
        return [(s["eventKind"], s.get("breakdown", {}), [(model.millis(x["time"]), x["value"]) for x in s["points"]])
                for s in answer["trends"].get("series", [])]
    ids, token, size = [], None, request["pageSize"] or 100
    while True:
        got = server.ok(USERS, {**request, **({"pageToken": token} if token else {})}, key=key)
        page, token = got.get("distinctIds", []), got.get("nextPageToken")
        assert len(page) == size if token else len(page) <= size and (page or not ids), (len(page), token)
        ids += page
        if not token:
            return ids


def exact(x):
    """JSON with lists for tuples, doubles for numbers, and bools kept apart from them."""
    if isinstance(x, dict):
        return {k: exact(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [exact(v) for v in x]
    return ("bool", x) if isinstance(x, bool) else float(x) if isinstance(x, (int, float)) else x


def check(server, s):
    """None, or what is wrong."""
    key, num = server.project(s["zone"])
    truth = naive_points.Points(s["zone"])
    for steps, questions in s["rounds"]:
        for step in steps:
            do(server, key, truth, step)
        if "cookieles~-" in json.dumps(steps):
            server.forge_cookieless(num)
        for request in map(test_model.renamed_request, questions):
            got, want = ask(server, key, request), truth.answer(request)
            if exact(got) != exact(want):
                return f"{json.dumps(request, ensure_ascii=False)}\ngot  {got}\nwant {want}"
    return None


def test_random_projects(_):
    server, failures, start = test_model.Server(), 0, time.monotonic()
    print(f"seed {ARGS.seed}", flush=True)
    for i in range(ARGS.first, ARGS.first + ARGS.scenarios):
        wrong = check(server, Maker(f"{ARGS.seed}:points:{i}").scenario())
        if wrong:
            failures += 1
            print(f"--- scenario {i} of seed {ARGS.seed}:\n{wrong}", flush=True)
        if failures >= 5:
            break
    server.close()
    print(f"{ARGS.scenarios} scenarios in {time.monotonic() - start:.1f} s")
    assert not failures, f"{failures} scenarios of seed {ARGS.seed}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=int(os.environ.get("SCENARIOS", "200")))
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261129"))
    parser.add_argument("--first", type=int, default=0)
    ARGS, rest = parser.parse_known_args()
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in rest else "test"
    with pug.Pug(variant) as P:
        test_accounts.P = test_events.P = test_model.P = P
        sys.exit(pug.main(tests, rest))
