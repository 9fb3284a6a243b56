#!/usr/bin/env python3
"""Funnels, retention and user flow: by meaning, and against a naive model (naive_paths.py) over random scenarios.

    SCENARIOS=5000 test_paths.py            more than the 200 of an ordinary run
    PUGD_SEED=7 FIRST=41 SCENARIOS=1 ...    one scenario of a seed, as a failure names it
"""
import decimal
import json
import os
import sys
import time

import model
import naive_paths
import pug
import scenario
import test_accounts
import test_events
import test_identify
import test_model
from test_accounts import reason
from test_events import BATCH, Project, QUERY, ask, day, event, flt, iso

SEED = os.environ.get("PUGD_SEED", "20261129")
SCENARIOS = int(os.environ.get("SCENARIOS", "200"))
FIRST = int(os.environ.get("FIRST", "0"))
IDS = ["u1", "u2", "u3", "ü", "anon-1", "anon-2", "anon-3", "device 9"]
P = None


# ---- answers in the form of the model ------------------------------------------------------

def ns(duration):
    return int(decimal.Decimal(duration.removesuffix("s")) * 10**9)


def plain_timing(t):
    if t is None:
        return None
    buckets = t["distribution"]
    bounds = [(b["label"], b.get("upperBound") and int(b["upperBound"].removesuffix("s"))) for b in buckets]
    assert bounds == naive_paths.TIMES, bounds
    return ns(t["avg"]), ns(t["median"]), ns(t["p95"]), [int(b["count"]) for b in buckets]


def plain(answer):
    """A QueryResponse as naive_paths.Paths.query() has it."""
    (arm, result), = answer.items()
    if arm == "funnel":
        return [(s.get("breakdown", {}), [(step["eventKind"], step["total"], plain_timing(step.get("timing")))
                                          for step in s["steps"]]) for s in result.get("series", [])]
    if arm == "retention":
        return [(s.get("breakdown", {}), [(c["cohort"], c["cohortSize"], points(c)) for c in s["cohorts"]])
                for s in result.get("series", [])]
    if arm == "userFlow":
        nodes = result.get("nodes", [])
        assert all(n.get("isOthers", True) for n in nodes), nodes  # set on buckets only
        return ([(n["id"], n["depth"], n["label"], "isOthers" in n) for n in nodes],
                [(link["source"], link["target"], int(link["value"])) for link in result.get("links", [])])
    raise AssertionError(arm)


def points(cohort):
    return [(model.millis(p["time"]), p["value"]) for p in cohort["points"]]


# ---- by meaning ----------------------------------------------------------------------------

def paths(p, kind, events, start=None, end=None, granularity="DAY", **spec):
    return p.query({"insightType": "INSIGHT_TYPE_" + kind, **({"events": events} if events else {}), **spec},
                   start or day(1), end or day(5), granularity)


def funnel(p, *kinds, **spec):
    """[(breakdown, totals)]"""
    got = plain(paths(p, "FUNNEL", [ask(k) for k in kinds], **spec))
    return [(values, [total for _, total, _ in steps]) for values, steps in got]


def test_funnel_worked_examples(_):
    p = Project()
    p.send([event("signup", "A", day(1, 10)), event("cart", "A", day(1, 11)), event("pay", "A", day(1, 12)),
            event("signup", "B", day(1, 10)), event("cart", "B", day(1, 14)), event("signup", "C", day(1, 10)),
            event("pay", "D", day(1, 9))])
    assert funnel(p, "signup", "cart", "pay") == [({}, [3, 2, 1])]
    assert funnel(p, "signup", "cart", conversionWindow="3600s") == [({}, [3, 1])]
    assert funnel(p, "nothing", "cart") == [({}, [0, 0])]
    assert funnel(p, "never", "ever") == [({}, [0, 0])]
    assert funnel(p, "never", "ever", breakdowns=[{"property": "c"}]) == []
    q = Project()
    q.send([event("view", "u1", day(1, 10), {"c": "US"}), event("view", "u1", day(1, 11), {"c": "FR"}),
            event("buy", "u1", day(1, 11, 30), {"c": "FR"}), event("view", "u2", day(1), {"c": "FR"}),
            event("view", "u3", day(1), {"c": "US"}), event("buy", "u3", day(2), {"c": "US"})])
    assert funnel(q, "view", "buy", breakdowns=[{"property": "c"}]) == [({"c": "FR"}, [1, 0]),
                                                                       ({"c": "US"}, [2, 2])]
    assert funnel(q, "view", "buy", breakdowns=[{"property": "c"}], breakdownLimit=1) == [
        ({"c": "US"}, [2, 2]), ({"c": "$others"}, [1, 0])]
    # The groups go for every step.
    groups = {"filterGroups": [{"filters": [flt("c", "EQUALS", "US")]}]}
    assert funnel(q, "view", "buy", **groups) == [({}, [2, 1])]


def test_funnel_timing_on_the_wire(_):
    p = Project()
    at = lambda s: day(1) + test_events.datetime.timedelta(milliseconds=int(s * 1000))
    p.send([event(k, f"u{i}", at(t)) for i, d in enumerate((60, 120, 180, 240.001)) for k, t in
            (("a", 0), ("b", d))] + [event("a", "late", at(5))])
    got = paths(p, "FUNNEL", [ask("a"), ask("b"), ask("c")], includeStepTiming=True)["funnel"]["series"]
    a, b, c = got[0]["steps"]
    assert len(got) == 1 and "breakdown" not in got[0] and a == {"eventKind": "a", "total": 5}
    assert (b["eventKind"], b["total"]) == ("b", 4)
    assert (b["timing"]["avg"], b["timing"]["median"], b["timing"]["p95"]) == ("150.000250s", "150s", "240.001s")
    assert b["timing"]["distribution"] == [
        {"label": label, **({"upperBound": f"{below}s"} if below else {}), "count": str(n)}
        for (label, below), n in zip(naive_paths.TIMES, (0, 1, 3, 0, 0, 0, 0, 0))]
    # Zeros where nobody got, nothing where it was not asked for.
    assert c["total"] == 0 and (c["timing"]["avg"], c["timing"]["p95"]) == ("0s", "0s")
    assert [x["count"] for x in c["timing"]["distribution"]] == ["0"] * 8
    got = paths(p, "FUNNEL", [ask("a"), ask("b")])["funnel"]["series"][0]["steps"]
    assert "timing" not in got[1], got


def retention(p, *kinds, **spec):
    """[(breakdown, [(cohort, size, [(time, value)])])]"""
    got = paths(p, "RETENTION", [ask(k) for k in kinds], **spec)["retention"]
    return [(s.get("breakdown", {}), [(c["cohort"], c["cohortSize"],
                                       [(t["time"][:10], round(t["value"], 2)) for t in c["points"]])
                                      for c in s["cohorts"]]) for s in got.get("series", [])]


def test_retention_worked_examples(_):
    p = Project()
    test_events.t1(p)
    p.send([event("buy", "u1", day(1, 11, 30)), event("buy", "u3", day(4, 9, 30))])
    assert retention(p, "view", "buy") == [({}, [
        ("2026-01-01T00:00:00Z", 2, [("2026-01-01", 50)]),
        ("2026-01-02T00:00:00Z", 1, [("2026-01-02", 0), ("2026-01-04", 100)])])]
    assert retention(p, "view") == [({}, [("2026-01-01T00:00:00Z", 2, [("2026-01-01", 100)]),
                                         ("2026-01-02T00:00:00Z", 1, [("2026-01-02", 100)])])]
    assert retention(p, "never", "view") == []
    p.send([event("start", who, day(1, 10)) for who in "abc"] +
           [event("login", who, day(n, 12)) for n, some in ((1, "abc"), (2, "ab"), (3, "a")) for who in some] +
           [event("login", "r3", day(1, 9)), event("start", "r3", day(1, 10), {"c": "x"})])
    groups = {"filterGroups": [{"filters": [flt("c", "IS_NOT_SET")]}]}
    assert retention(p, "start", "login", **groups)[0][1][0][1:] == (
        3, [("2026-01-01", 100), ("2026-01-02", 66.67), ("2026-01-03", 33.33)])
    assert retention(p, "start", "login", breakdowns=[{"property": "c"}])[1] == (
        {"c": "x"}, [("2026-01-01T00:00:00Z", 1, [("2026-01-01", 0)])])


def test_cohorts_are_called_by_local_time(_):
    p = Project("Asia/Kolkata")
    p.send([event("e", "u", test_events.datetime.datetime(2026, 6, 9, 20, 10, tzinfo=test_events.UTC))])
    start = test_events.datetime.datetime(2026, 6, 1, tzinfo=test_events.UTC)
    end = test_events.datetime.datetime(2026, 6, 12, tzinfo=test_events.UTC)
    for granularity, cohort, point in (("DAY", "2026-06-10T00:00:00+05:30", "2026-06-09T18:30:00Z"),
                                       ("HOUR", "2026-06-10T01:00:00+05:30", "2026-06-09T19:30:00Z"),
                                       ("WEEK", "2026-06-07T00:00:00+05:30", "2026-06-06T18:30:00Z"),
                                       ("MONTH", "2026-06-01T00:00:00+05:30", "2026-05-31T18:30:00Z")):
        got = paths(p, "RETENTION", [ask("e")], start, end, granularity)["retention"]["series"][0]["cohorts"]
        assert got == [{"cohort": cohort, "cohortSize": 1, "points": [{"time": point, "value": 100}]}], got
    P.ok(test_events.PROJECTS + "Update", {"reportingTimezone": "America/St_Johns"}, token=p.token, project=p.id)
    got = paths(p, "RETENTION", [ask("e")], start, end)["retention"]["series"][0]["cohorts"]
    assert got[0]["cohort"] == "2026-06-09T00:00:00-02:30", got


def walk(session, *labels, who="u", prop=None):
    """A session of events, a second apart."""
    sid = str(test_events.uuid.uuid5(test_events.uuid.NAMESPACE_DNS, session))
    return [event("k" if prop else label, who, day(1) + test_events.datetime.timedelta(seconds=i),
                  {prop: label} if prop else {}, sessionId=sid) for i, label in enumerate(labels)]


def flow(p, **user_flow):
    return plain(paths(p, "USER_FLOW", [], userFlow=user_flow))


def test_flow_worked_examples(_):
    p = Project()
    p.send(walk("A", "login", "dash", "settings", "logout") + walk("B", "login", "dash", "logout") +
           walk("C", "login", "logout") + walk("D", "login"))
    nodes, links = flow(p)
    assert links == [("0:login", "1:dash", 2), ("0:login", "1:logout", 1), ("1:dash", "2:logout", 1),
                     ("1:dash", "2:settings", 1), ("2:settings", "3:logout", 1)], links
    assert nodes == [("0:login", 0, "login", False), ("1:dash", 1, "dash", False), ("1:logout", 1, "logout", False),
                     ("2:settings", 2, "settings", False), ("2:logout", 2, "logout", False),
                     ("3:logout", 3, "logout", False)], nodes
    assert flow(p, scope={"kind": "login"}) == ([], [])
    assert paths(p, "USER_FLOW", [], userFlow={"scope": {"kind": "none"}}) == {"userFlow": {}}
    p = Project()
    p.send(walk("S1", "pv", "pv", "click", prop="p") + walk("S2", "pv", "", "click", prop="p") +
           walk("S3", "pv", "click", "pv", "click", prop="p"))
    by_p = {"nodeKind": "NODE_KIND_PROPERTY", "nodeProperty": "p"}
    assert flow(p, **by_p)[1] == [("0:pv", "1:click", 3), ("1:click", "2:pv", 1), ("2:pv", "3:click", 1)]
    assert flow(p, **by_p, maxHops=1)[1] == [("0:pv", "1:click", 3)]
    p = Project()
    p.send([e for to in "abcd" for e in walk(to, "hub", to)])
    nodes, links = flow(p, maxNodes=2)
    assert links == [("0:hub", "1:$others", 2), ("0:hub", "1:a", 1), ("0:hub", "1:b", 1)], links
    assert nodes[-1] == ("1:$others", 1, "$others", True), nodes
    # A real node may be called that, and then the bucket is not.
    p.send([e for i in range(3) for e in walk(f"o{i}", "hub", "$others", prop="p")])
    p.send([e for to in "abcd" for e in walk("p" + to, "hub", to, prop="p")])
    nodes, links = flow(p, **by_p, maxNodes=2)
    assert links[:2] == [("0:hub", "1:$others", 3), ("0:hub", "1:$others_", 3)], links
    assert nodes[1:] == [("1:$others", 1, "$others", False), ("1:a", 1, "a", False),
                         ("1:$others_", 1, "$others", True)], nodes
    # Events without a session are nowhere.
    p = Project()
    p.send([event(k, "u", day(1), sessionId="00000000-0000-0000-0000-000000000000") for k in "ab"])
    assert flow(p) == ([], [])


def test_signing_up_does_not_split_a_person(_):
    p = test_identify.Project()
    mine = lambda kind, who, hour: {**event(kind, who, day(1, hour))}
    P.ok(BATCH, {"events": [mine("view", "anon-1", 9), mine("buy", "u1", 10)]}, key=p.private)
    ask_it = lambda: plain(P.ok(QUERY, {
        "spec": {"insightType": "INSIGHT_TYPE_FUNNEL", "events": [ask("view"), ask("buy")]},
        "granularity": "GRANULARITY_DAY", "timeRange": {"from": iso(day(1)), "to": iso(day(2))}}, key=p.private))
    assert [t for _, t, _ in ask_it()[0][1]] == [1, 0]
    p.identify("u1", {}, "anon-1")
    assert [t for _, t, _ in ask_it()[0][1]] == [1, 1]


# (type, what is added to a right question, what the message must name, its reason)
WRONG = [
    ("FUNNEL", {"events": []}, "events", "INVALID_ARGUMENT"),
    ("FUNNEL", {"events": [ask("a")] * 21}, "events", "INVALID_ARGUMENT"),
    ("FUNNEL", {"events": [ask("a"), ask("a", "SUM", "v")]}, "events[1].aggregation", "INVALID_ARGUMENT"),
    ("FUNNEL", {"events": [ask("a"), ask("a b")]}, "events[1].event.kind", "INVALID_ARGUMENT"),
    ("FUNNEL", {"conversionWindow": "0s"}, "conversion_window", "INVALID_ARGUMENT"),
    ("FUNNEL", {"conversionWindow": "1.5s"}, "conversion_window", "INVALID_ARGUMENT"),
    ("FUNNEL", {"breakdowns": [{"property": str(i)} for i in range(6)]}, "breakdowns", "INVALID_ARGUMENT"),
    ("FUNNEL", {"breakdowns": [{"property": "a"}] * 2}, "breakdowns[1].property", "INVALID_ARGUMENT"),
    ("FUNNEL", {"breakdownLimit": 3}, "breakdown_limit", "INVALID_ARGUMENT"),
    ("FUNNEL", {"session": {"metric": "SESSION_METRIC_SESSIONS"}}, "session", "INVALID_ARGUMENT"),
    ("FUNNEL", {"userFlow": {}}, "user_flow", "INVALID_ARGUMENT"),
    ("FUNNEL", {"filterGroups": [{}]}, "filter_groups[0].filters", "INVALID_ARGUMENT"),
    ("FUNNEL", {"events": [ask("a"), ask("")]}, "spec.events[1].event: event ", "INVALID_INSIGHT_QUERY"),
    ("FUNNEL", {"events": [{}]}, "spec.events[0].event: event ", "INVALID_INSIGHT_QUERY"),
    ("RETENTION", {"events": []}, "events", "INVALID_ARGUMENT"),
    ("RETENTION", {"events": [ask("a")] * 3}, "events", "INVALID_ARGUMENT"),
    ("RETENTION", {"events": [ask("a", "MAX", "v")]}, "events[0].aggregation", "INVALID_ARGUMENT"),
    ("RETENTION", {"conversionWindow": "60s"}, "conversion_window", "INVALID_ARGUMENT"),
    ("RETENTION", {"includeStepTiming": True}, "include_step_timing", "INVALID_ARGUMENT"),
    ("RETENTION", {"breakdownLimit": 101, "breakdowns": [{"property": "a"}]}, "breakdown_limit",
     "INVALID_ARGUMENT"),
    ("RETENTION", {"topK": {"dimension": "DIMENSION_USER"}}, "top_k", "INVALID_ARGUMENT"),
    ("RETENTION", {"events": [ask("")]}, "spec.events[0].event: event ", "INVALID_INSIGHT_QUERY"),
    ("RETENTION", {"events": [ask("a"), ask("")]}, "spec.events[1].event: event ", "INVALID_INSIGHT_QUERY"),
    ("RETENTION", {"events": [ask("a"), {}]}, "spec.events[1].event: event ", "INVALID_INSIGHT_QUERY"),
    ("USER_FLOW", {"userFlow": None}, "user_flow", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"events": [ask("a")]}, "events", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"session": {"metric": "SESSION_METRIC_SESSIONS"}}, "session", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"breakdowns": [{"property": "a"}]}, "breakdowns", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"breakdownLimit": 3}, "breakdown_limit", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"conversionWindow": "60s"}, "conversion_window", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"topK": {"dimension": "DIMENSION_USER"}}, "top_k", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"nodeKind": "NODE_KIND_PROPERTY"}}, "user_flow.node_property", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"nodeProperty": "a b"}}, "user_flow.node_property", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"maxHops": 11}}, "user_flow.max_hops", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"maxNodes": 1}}, "user_flow.max_nodes", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"maxNodes": 51}}, "user_flow.max_nodes", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"maxLinks": 501}}, "user_flow.max_links", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"scope": {"kind": "a b"}}}, "user_flow.scope.kind", "INVALID_ARGUMENT"),
    ("USER_FLOW", {"userFlow": {"scope": {"filters": [flt("v", "GT", "abc")]}}}, "user_flow.scope.filters[0].value",
     "INVALID_ARGUMENT"),
]
RIGHT = {"FUNNEL": {"events": [ask("a"), ask("b")]}, "RETENTION": {"events": [ask("a"), ask("b")]},
         "USER_FLOW": {"userFlow": {}}}


def test_rules_name_the_field(_):
    p = Project()
    for kind, change, field, why in WRONG:
        status, answer, _ = P.call(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_" + kind, **RIGHT[kind], **change},
                                           "granularity": "GRANULARITY_DAY",
                                           "timeRange": {"from": iso(day(1)), "to": iso(day(2))}}, key=p.prv)
        assert status == 400 and answer["code"] == "invalid_argument", (kind, change, status, answer)
        assert field in answer["message"] and reason(answer) == why, (kind, change, answer)
    for kind, spec in RIGHT.items():
        for granularity, hours in (("MINUTE", 7), ("HOUR", 337), ("DAY", 8761)):
            end = day(1) + test_events.datetime.timedelta(hours=hours)
            status, answer, _ = P.call(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_" + kind, **spec},
                                               "granularity": "GRANULARITY_" + granularity,
                                               "timeRange": {"from": iso(day(1)), "to": iso(end)}}, key=p.prv)
            assert status == 400 and "time_range" in answer["message"], (kind, answer)


# ---- random scenarios ----------------------------------------------------------------------

class Maker(scenario.Maker):
    """Events and changes of identity in two rounds, each followed by questions."""

    def scenario(self):
        r = self.r
        self.zone_name = r.choice(scenario.ZONES)
        self.zone = model.Zone(self.zone_name)
        self.granularity = r.choice(list(scenario.CAPS))
        self.big = False
        self.pick_times()
        # Crowds within seconds, so that steps are close and windows matter.
        self.times += [t + r.choice([1, 500, 999, 1000, 29999, 30000, 60000]) for t in self.some(self.times, 0, 6)]
        self.kinds = self.some(scenario.KINDS, 1, 4)
        self.people_ids = self.some(IDS, 1, len(IDS))
        self.users = self.people_ids + (self.some(scenario.COOKIELESS, 1, 2) if r.random() < 0.2 else [])
        self.keys = self.some(scenario.KEYS, 1, 3)
        self.sessions = [f"{r.getrandbits(128):032x}" for _ in range(r.randint(1, 8))]
        self.sessions = [f"{s[:8]}-{s[8:12]}-{s[12:16]}-{s[16:20]}-{s[20:]}" for s in self.sessions]
        return {"zone": self.zone_name, "rounds": [
            {"changes": self.changes(), "batches": self.batches(), "queries": [self.question() for _ in range(n)]}
            for n in (3, 4)]}

    def changes(self):
        r = self.r
        named = [i for i in IDS if not i.startswith("anon")]
        out = []
        for _ in range(r.choice([0, 1, 2, 5])):
            if r.random() < 0.6:
                out.append(["identify", r.choice(named), {"plan": r.choice(["gold", "silver"])},
                            r.choice(["anon-1", "anon-2", "anon-3", ""])])
            else:
                out.append(["alias", r.choice(IDS), r.choice(named)])
        return out

    def question(self):
        r = self.r
        kind = r.choice(list(RIGHT))
        spec = {"insightType": "INSIGHT_TYPE_" + kind, **getattr(self, kind.lower())()}
        if r.random() < 0.25:
            spec["filterGroups"] = [{"filters": [self.filter() for _ in range(r.randint(1, 2))],
                                     "operator": "LOGICAL_OPERATOR_" + r.choice(["AND", "OR"])}
                                    for _ in range(r.randint(1, 2))]
            spec["filterGroupsOperator"] = "LOGICAL_OPERATOR_" + r.choice(["AND", "OR", "UNSPECIFIED"])
        if r.random() < 0.3:
            spec["includeCookieless"] = True
        return {"spec": spec, "granularity": "GRANULARITY_" + self.granularity,
                "timeRange": self.window(self.granularity)}

    def breakdowns(self):
        r = self.r
        if r.random() < 0.4:
            return {}
        names = dict.fromkeys(self.some(self.keys + ["absent", "p", "$os"], 1, r.choice([1, 1, 2, 4])))
        return {"breakdowns": [{"property": k} for k in names], "breakdownLimit": r.choice([0, 1, 1, 2, 3, 100])}

    def window(self, granularity):
        whole = {"from": model.fraction_trimmed(min(self.times)), "to": model.fraction_trimmed(max(self.times) + 1)}
        fits = max(self.times) + 1 - min(self.times) <= scenario.CAPS[granularity] * scenario.HOUR
        return whole if fits and self.r.random() < 0.5 else super().window(granularity)

    def funnel(self):
        r = self.r
        steps = [{"event": self.event_filter(False)} for _ in range(r.choice([1, 2, 2, 3, 3, 4, 5, 20]))]
        out = {"events": steps, **self.breakdowns()}
        if r.random() < 0.6:
            a, b = r.choice(self.times), r.choice(self.times)
            out["conversionWindow"] = f"{max(1, abs(a - b) // 1000 + r.choice([0, 0, 1, -1]))}s"
        if r.random() < 0.7:
            out["includeStepTiming"] = True
        return out


    def retention(self):
        return {"events": [{"event": self.event_filter(False)} for _ in range(self.r.choice([1, 2, 2]))],
                **self.breakdowns()}


    def user_flow(self):
        r = self.r
        out = {"maxHops": r.choice([0, 1, 2, 5, 10]), "maxNodes": r.choice([0, 2, 2, 3, 50]),
               "maxLinks": r.choice([0, 1, 2, 4, 500])}
        if r.random() < 0.6:
            out |= {"nodeKind": "NODE_KIND_PROPERTY", "nodeProperty": r.choice(self.keys)}
        if r.random() < 0.4:
            out["scope"] = self.event_filter()
        return {"userFlow": out}


class Identity(test_identify.Model):
    """Identity as it should be, under the ids that the server gave."""

    def __init__(self):
        super().__init__()
        self.names = {}

    def change(self, server, key, what, *args):
        want = getattr(self, what)(*args)
        body = {"externalId": args[0], "traits": args[1], "anonymousId": args[2]} if what == "identify" else \
            {"previousId": args[0], "externalId": args[1]}
        path = test_identify.IDENTIFY if what == "identify" else test_identify.ALIAS
        status, answer, _ = P.call(path, body, key=key, conn=server.conn)
        if want is None:
            assert status == 400, (what, args, answer)
            return
        assert status == 200, (what, args, answer)
        if want:
            assert self.names.setdefault(want, answer["profileId"]) == answer["profileId"], (what, args)

    def tell(self, truth):
        truth.profiles = {self.names[n]: tuple(p) for n, p in self.profiles.items()}
        truth.aliases = {a: self.names[n] for a, n in self.aliases.items()}


def check(server, s):
    """None, or what is wrong."""
    key, num = server.project(s["zone"])
    truth, identity = naive_paths.Paths(s["zone"]), Identity()
    for part in s["rounds"]:
        for change in part["changes"]:
            identity.change(server, key, *change)
        identity.tell(truth)
        for batch in part["batches"]:
            got = server.ok(BATCH, {"events": batch}, key=key)
            want = {"accepted": len(batch), "dropped": 0,
                    "eventsCreated": truth.send(test_model.renamed(batch))}
            if got != want:
                return f"BatchCreate: got {got}, want {want}"
        if "cookieles~-" in json.dumps(part["batches"]):
            server.forge_cookieless(num)
        for request in part["queries"]:
            request = test_model.renamed_request(request)
            got, want = plain(server.ok(QUERY, request, key=key)), truth.query(request)
            if got != want:
                return f"{json.dumps(request, ensure_ascii=False)}\ngot  {got}\nwant {want}"
    return None


def test_random_scenarios(_):
    server, failures, start = test_model.Server(), 0, time.monotonic()
    for i in range(FIRST, FIRST + SCENARIOS):
        bad = check(server, Maker(f"{SEED}:{i}").scenario())
        if bad:
            failures += 1
            print(f"--- scenario {i} of seed {SEED}:\n{bad}", flush=True)
        if failures >= 5:
            break
    server.close()
    print(f"{SCENARIOS} scenarios of seed {SEED} in {time.monotonic() - start:.1f} s")
    assert not failures, f"{failures} scenarios of seed {SEED}"


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant) as P:
        test_accounts.P = test_events.P = test_identify.P = test_model.P = P
        sys.exit(pug.main(tests))
