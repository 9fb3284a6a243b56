#!/usr/bin/env python3
"""Events in, insights out: validation, exactly-once, trends and segmentation by meaning."""
import concurrent.futures
import datetime
import os
import sys
import uuid

import pug
from test_accounts import AUTH, PROJECTS, first_project, reason
import test_accounts

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST = "/activity.v1.ActivityService/List"
UTC = datetime.timezone.utc
P = None


def iso(t):
    return t.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Project:
    """A fresh project with both kinds of key."""

    def __init__(self, zone=""):
        email = f"p-{uuid.uuid4().hex[:12]}@example.com"
        self.token = P.ok(AUTH + "SignUp", {"email": email, "password": "12345678",
                                            "timezone": zone})["token"]
        _, self.id = first_project(self.token)
        self.pub = P.ok(PROJECTS + "ListApiKeys", token=self.token,
                        project=self.id)["apiKeys"][0]["key"]
        self.prv = P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"},
                        token=self.token, project=self.id)["key"]

    def send(self, events, key=None, **kw):
        return P.ok(BATCH, {"events": events}, key=key or self.prv, **kw)

    def query(self, spec, start, end, granularity="DAY", **kw):
        return P.ok(QUERY, {"spec": spec, "granularity": "GRANULARITY_" + granularity,
                            "timeRange": {"from": iso(start), "to": iso(end)}}, key=self.prv, **kw)

    def trends(self, start, end, *events, granularity="DAY", **spec):
        spec = {"insightType": "INSIGHT_TYPE_TRENDS", "events": list(events), **spec}
        out = []
        for s in self.query(spec, start, end, granularity).get("trends", {}).get("series", []):
            out.append((s["eventKind"], s.get("breakdown", {}),
                        [(p["time"], p["value"]) for p in s["points"]]))
        return out

    def total(self, start, end, *events, **spec):
        spec = {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": list(events), **spec}
        return self.query(spec, start, end)["segmentation"]["total"]


def event(kind, who, when, props=None, **extra):
    return {"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": who,
            "sessionId": str(uuid.uuid4()), "occurTime": iso(when),
            "customProperties": {k: ({"doubleValue": v} if isinstance(v, float) else
                                     {"boolValue": v} if isinstance(v, bool) else
                                     {"intValue": v} if isinstance(v, int) else
                                     {"stringValue": v}) for k, v in (props or {}).items()},
            **extra}


def ask(kind="", aggregation=None, prop=None, filters=()):
    q = {"event": {"kind": kind, "filters": list(filters)}}
    if aggregation:
        q["aggregation"] = "AGGREGATION_TYPE_" + aggregation
    if prop:
        q["aggregationProperty"] = prop
    return q


def flt(name, operator, value=None, values=None, source=None):
    f = {"property": name, "operator": "FILTER_OPERATOR_" + operator}
    if value is not None:
        f["value"] = value
    if values is not None:
        f["values"] = values
    if source:
        f["source"] = source
    return f


D1 = datetime.datetime(2026, 1, 1, tzinfo=UTC)


def day(n, hour=0, minute=0):
    return D1 + datetime.timedelta(days=n - 1, hours=hour, minutes=minute)


def test_both_spellings(_):
    p = Project()
    now = datetime.datetime.now(UTC) - datetime.timedelta(minutes=5)
    got = p.send([{"name": "order", "distinctId": "u1", "timestamp": iso(now),
                   "properties": {"amount": 12.5, "$country": "DE", "vip": True, "note": None}},
                  event("order", "u2", now, {"amount": 2})])
    assert got == {"accepted": 2, "dropped": 0, "eventsCreated": 2}, got
    events = P.ok(LIST, {}, key=p.prv)["events"]
    mine = next(e for e in events if e["distinctId"] == "u1")
    assert mine["kind"] == "order" and mine["customProperties"] == {"amount": 12.5, "vip": True}
    assert mine["autoProperties"] == {"$country": "DE"}, mine
    assert mine["sessionId"] == str(uuid.UUID(int=0)), mine
    both = event("a", "u", now, {"y": 1})
    for bad in ({"name": "a"}, {"timestamp": iso(now)}, {"properties": {"y": 2}}):
        status, answer, _ = P.call(BATCH, {"events": [{**both, **bad}]}, key=p.prv)
        assert status == 400, (bad, answer)
    # Keys join; only the same key twice is a contradiction.
    assert p.send([{**event("joined", "u", now, {"y": 1}), "properties": {"x": 2}}])["accepted"] == 1
    assert P.ok(LIST, {"kind": "joined"}, key=p.prv)["events"][0]["customProperties"] == {"x": 2, "y": 1}
    status, answer, _ = P.call(BATCH, {"events": [{"name": "a", "distinctId": "u",
                                                   "properties": {"deep": {"x": 1}}}]}, key=p.prv)
    assert status == 400 and "properties" in answer["message"], answer


def test_validation_names_index_and_field(_):
    p = Project()
    good = event("a", "u", datetime.datetime.now(UTC))
    cases = [({"kind": "has space"}, "kind"), ({"kind": ""}, "kind"),
             ({"eventId": "nope"}, "event_id"), ({"sessionId": "nope"}, "session_id"),
             ({"distinctId": "cookieless-x"}, "distinct_id"), ({"distinctId": "x" * 513}, "distinct_id"),
             ({"occurTime": "1999-12-31T00:00:00Z"}, "occur_time"),
             ({"occurTime": iso(datetime.datetime.now(UTC) + datetime.timedelta(days=2))}, "occur_time"),
             ({"autoProperties": {"plain": {"intValue": 1}}}, "auto_properties"),
             ({"customProperties": {"$x": {"intValue": 1}}}, "custom_properties"),
             ({"customProperties": {"x": {"stringValue": "y" * 1025}}}, "custom_properties"),
             ({"customProperties": {"x": {"doubleValue": "NaN"}}}, "custom_properties"),
             ({"customProperties": {"x": {}}}, "custom_properties"),
             ({"customProperties": {str(i): {"intValue": 1} for i in range(256)}}, "properties")]
    for change, field in cases:
        status, answer, _ = P.call(BATCH, {"events": [good, {**good, "eventId": str(uuid.uuid4()),
                                                             **change}]}, key=p.prv)
        assert status == 400 and answer["code"] == "invalid_argument", (change, answer)
        assert "events[1]" in answer["message"] and field in answer["message"], (change, answer)
    status, answer, _ = P.call(BATCH, {"events": [good, {**good, "eventId": good["eventId"].upper()}]},
                               key=p.prv)
    assert status == 400 and reason(answer) in ("INVALID_EVENT_BATCH", "INVALID_ARGUMENT"), answer
    assert p.total(day(1), day(300), ask("a")) == 0
    # Nothing of a refused batch is kept; a public key needs a session or `name`.
    no_session = {k: v for k, v in good.items() if k != "sessionId"}
    assert P.call(BATCH, {"events": [no_session]}, key=p.pub)[0] == 400
    assert P.call(BATCH, {"events": [no_session]}, key=p.prv)[0] == 200
    many = [event("m", "u", datetime.datetime.now(UTC)) for _ in range(1001)]
    assert P.call(BATCH, {"events": many}, key=p.prv)[0] == 400
    assert p.send(many[:1000])["eventsCreated"] == 1000
    assert p.send([])["accepted"] == 0


def test_exactly_once(_):
    p = Project()
    batch = [event("once", f"u{i % 7}", day(2, i % 24)) for i in range(50)]
    assert p.send(batch)["eventsCreated"] == 50
    assert p.send(batch) == {"accepted": 50, "dropped": 0, "eventsCreated": 0}
    # First write wins: a retry with other properties changes nothing.
    changed = [{**e, "distinctId": "other"} for e in batch]
    mixed = changed[:10] + [event("once", "new", day(3))]
    assert p.send(mixed)["eventsCreated"] == 1
    assert p.total(day(1), day(5), ask("once")) == 51
    assert p.total(day(1), day(5), ask("once", "UNIQUE_USERS")) == 8
    # The same id on another UTC day is another event (D20).
    assert p.send([{**batch[0], "occurTime": iso(day(9))}])["eventsCreated"] == 1


def test_exactly_once_in_parallel(_):
    p = Project()
    batches = [[event("par", f"u{i}", day(2, i % 24)) for i in range(20)] for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda b: p.send(b), batches * 8))
    assert sum(g["eventsCreated"] for g in got) == 200, got
    assert p.total(day(1), day(5), ask("par")) == 200


def test_known_ids_among_new_ones(_):
    """New ids are stored by a plain INSERT and known ones found out by its failure: the answers
    are right whatever comes after whatever, and the database's log stays quiet."""
    p = Project()
    known = [event("mix", f"u{i}", day(2, i % 24)) for i in range(30)]
    assert p.send(known[:20])["eventsCreated"] == 20
    assert p.send(known)["eventsCreated"] == 10
    for i in range(40):  # the server is in doubt for a while, and then no more
        fresh = [event("mix", f"v{i}", day(3)), event("mix", f"w{i}", day(3))]
        assert p.send(fresh[:1])["eventsCreated"] == 1
        got = p.send([*fresh, known[i % 30]] if i % 20 == 0 else fresh[1:])
        assert (got["accepted"], got["eventsCreated"]) == ((3, 1) if i % 20 == 0 else (1, 1)), got
    assert p.total(day(1), day(5), ask("mix")) == 30 + 80
    path = os.path.join(os.path.realpath(os.path.join(P.data, "postgres")), "data/log/postgresql.log")
    with open(path, encoding="utf-8", errors="replace") as log:
        assert "duplicate key" not in log.read()


def t1(p):
    p.send([event("view", "u1", day(1, 10)), event("view", "u1", day(1, 11)),
            event("view", "u2", day(1, 12)), event("view", "u3", day(2, 9))])


def test_trends_one_event(_):
    p = Project()
    t1(p)
    z = "T00:00:00Z"
    assert p.trends(day(1), day(5), ask("view")) == [
        ("view", {}, [("2026-01-01" + z, 3), ("2026-01-02" + z, 1)])]
    assert p.trends(day(1), day(5), ask("view", "UNIQUE_USERS"))[0][2] == [
        ("2026-01-01" + z, 2), ("2026-01-02" + z, 1)]
    assert p.trends(day(1), day(5), ask("view", "PER_USER_AVG"))[0][2] == [
        ("2026-01-01" + z, 1.5), ("2026-01-02" + z, 1)]
    assert p.trends(day(1), day(5), ask("none")) == []
    assert p.trends(day(1, 11), day(1, 12), ask("view"), granularity="HOUR") == [
        ("view", {}, [("2026-01-01T11:00:00Z", 1)])]


def test_trends_several_events_in_request_order(_):
    p = Project()
    t1(p)
    p.send([event("buy", "u1", day(1, 11, 30), {"amt": 5}), event("buy", "u3", day(4, 9, 30))])
    z = "T00:00:00Z"
    got = p.trends(day(1), day(5), ask("view"), ask("buy", "UNIQUE_USERS"))
    assert got == [("view", {}, [("2026-01-01" + z, 3), ("2026-01-02" + z, 1), ("2026-01-04" + z, 0)]),
                   ("buy", {}, [("2026-01-01" + z, 1), ("2026-01-02" + z, 0), ("2026-01-04" + z, 1)])], got
    assert p.total(day(1), day(5), ask("view"), ask("buy", "SUM", "amt")) == 6
    assert p.total(day(1), day(5), ask("view", "UNIQUE_USERS")) == 3
    # An event with an empty kind expands to its kinds, byte-wise.
    assert [s[0] for s in p.trends(day(1), day(5), ask(""))] == ["buy", "view"]
    # The same kind twice stays two series (D30).
    assert [s[0] for s in p.trends(day(1), day(5), ask("view"), ask("view", "UNIQUE_USERS"))] == \
        ["view", "view"]


def test_trends_top_n_and_others(_):
    p = Project()
    p.send([event("v", who, day(n, 8), {"c": c}) for n, who, c in
            ((1, "a", "DE"), (1, "b", "DE"), (2, "a", "DE"), (2, "b", "DE"),
             (1, "c", "IT"), (1, "d", "IT"), (1, "e", "IT"))])
    got = p.trends(day(1), day(3), ask("v", "UNIQUE_USERS"), breakdowns=[{"property": "c"}],
                   breakdownLimit=1)
    assert [(s[1], [v for _, v in s[2]]) for s in got] == [({"c": "DE"}, [2, 2]),
                                                           ({"c": "$others"}, [3])], got
    p.send([event("t", "u", day(1), {"plan": x} if x else {}) for x in ("b",) * 3 + ("a",) * 3 + ("",) * 3])
    got = p.trends(day(1), day(3), ask("t"), breakdowns=[{"property": "plan"}], breakdownLimit=2)
    assert [(s[1]["plan"], s[2][0][1]) for s in got] == [("", 3), ("a", 3), ("$others", 3)], got


def test_others_is_aggregated_again(_):
    p = Project()
    p.send([event("v", "same", day(1), {"c": c, "x": x}) for c, x in
            (("A", 1.0), ("A", 1.0), ("A", 1.0), ("B", 2.0), ("C", 10.0))])
    by = {"breakdowns": [{"property": "c"}], "breakdownLimit": 1}
    assert p.trends(day(1), day(2), ask("v", "UNIQUE_USERS"), **by)[-1][2][0][1] == 1
    # C is kept (10); the mean of the folded events, not the sum of their means.
    assert p.trends(day(1), day(2), ask("v", "AVG", "x"), **by)[-1][2][0][1] == 1.25


def test_numeric_aggregations(_):
    p = Project()
    p.send([event("view", "u", day(1), x) for x in ({"amt": 5}, {"amt": 2.5}, {"amt": "7"},
                                                    {"amt": "abc"}, {}, {"amt": True})])
    for aggregation, want in (("SUM", 14.5), ("AVG", 14.5 / 3), ("MIN", 2.5), ("MAX", 7), ("TOTAL", 6)):
        got = p.trends(day(1), day(2), ask("view", aggregation, "amt"))[0][2][0][1]
        assert abs(got - want) < 1e-12, (aggregation, got)
        assert abs(p.total(day(1), day(2), ask("view", aggregation, "amt")) - want) < 1e-12


def test_filters(_):
    p = Project()
    p.send([event("e", "u", day(1), x) for x in ({"v": 42}, {"v": "42"}, {"v": 42.5}, {"v": "x%y"},
                                                 {"v": True}, {}, {"v": ""}, {"v": "1e2"})])
    cases = [(flt("v", "EQUALS", "42"), 2), (flt("v", "NOT_EQUALS", "42"), 6),
             (flt("v", "CONTAINS", "4"), 3), (flt("v", "CONTAINS", "%"), 1),
             (flt("v", "NOT_CONTAINS", "4"), 5), (flt("v", "IS_SET"), 6), (flt("v", "IS_NOT_SET"), 2),
             (flt("v", "GT", "42"), 2), (flt("v", "GTE", "42"), 4), (flt("v", "LT", "42.5"), 2),
             (flt("v", "LTE", "42.5"), 3), (flt("v", "IN", values=["42", "true"]), 3),
             (flt("v", "IN", values=["", "x%y"]), 3), (flt("v", "NOT_IN", values=["42", ""]), 4),
             (flt("v", "BETWEEN", values=["42", "42.5"]), 3),
             (flt("v", "NOT_BETWEEN", values=["42", "42.5"]), 1)]
    for f, want in cases:
        assert p.total(day(1), day(2), ask("e", filters=[f])) == want, (f, want)
    groups = {"filterGroups": [{"filters": [flt("v", "EQUALS", "42"), flt("v", "EQUALS", "true")],
                                "operator": "LOGICAL_OPERATOR_OR"}, {"filters": [flt("v", "IS_SET")]}]}
    assert p.total(day(1), day(2), ask("e"), **groups) == 3
    groups["filterGroupsOperator"] = "LOGICAL_OPERATOR_OR"
    assert p.total(day(1), day(2), ask("e"), **groups) == 6


def test_zones(_):
    p = Project("Asia/Kolkata")
    p.send([event("e", "u", datetime.datetime(2026, 6, 9, 20, 10, tzinfo=UTC))])
    start = datetime.datetime(2026, 6, 1, tzinfo=UTC)
    end = datetime.datetime(2026, 6, 12, tzinfo=UTC)
    for granularity, want in (("DAY", "2026-06-09T18:30:00Z"), ("HOUR", "2026-06-09T19:30:00Z"),
                              ("WEEK", "2026-06-06T18:30:00Z"), ("MONTH", "2026-05-31T18:30:00Z")):
        got = p.trends(start, end, ask("e"), granularity=granularity)[0][2][0][0]
        assert got == want, (granularity, got)
    # A changed zone counts for the next query, with a key as well.
    P.ok(PROJECTS + "Update", {"reportingTimezone": "UTC"}, token=p.token, project=p.id)
    assert p.trends(start, end, ask("e"))[0][2][0][0] == "2026-06-09T00:00:00Z"
    q = Project("America/New_York")
    q.send([event("e", "u", datetime.datetime(2024, 11, 3, h, 30, tzinfo=UTC)) for h in (5, 6)])
    start = datetime.datetime(2024, 11, 2, tzinfo=UTC)
    end = datetime.datetime(2024, 11, 5, tzinfo=UTC)
    assert [t for t, _ in q.trends(start, end, ask("e"), granularity="HOUR")[0][2]] == \
        ["2024-11-03T05:00:00Z", "2024-11-03T06:00:00Z"]
    assert q.trends(start, end, ask("e"))[0][2] == [("2024-11-03T04:00:00Z", 2)]


def test_query_rules_name_the_field(_):
    p = Project()
    base = {"insightType": "INSIGHT_TYPE_TRENDS", "events": [ask("a")]}
    cases = [({"breakdownLimit": 5}, "breakdown_limit"),
             ({"breakdowns": [{"property": "a b"}]}, "breakdowns"),
             ({"breakdowns": [{"property": "a"}] * 2}, "breakdowns"),
             ({"filterGroups": [{}]}, "filter_groups"),
             ({"conversionWindow": "60s"}, "conversion_window"),
             ({"events": [ask("a", "SUM")]}, "aggregation_property"),
             ({"events": [ask("a", filters=[flt("v", "GT", "abc")])]}, "value"),
             ({"events": [ask("a", filters=[flt("v", "BETWEEN", values=["2", "1"])])]}, "values"),
             ({"insightType": "INSIGHT_TYPE_UNSPECIFIED"}, "insight_type"),
             ({"topK": {}}, "top_k")]
    for change, field in cases:
        status, answer, _ = P.call(QUERY, {"spec": {**base, **change},
                                           "granularity": "GRANULARITY_DAY",
                                           "timeRange": {"from": iso(day(1)), "to": iso(day(2))}},
                                   key=p.prv)
        assert status == 400 and field in answer["message"], (change, status, answer)
    for span, granularity in ((7 / 24, "MINUTE"), (15, "HOUR"), (366, "DAY"), (-1, "DAY")):
        status, answer, _ = P.call(QUERY, {"spec": base, "granularity": "GRANULARITY_" + granularity,
                                           "timeRange": {"from": iso(day(1)), "to": iso(
                                               day(1) + datetime.timedelta(days=span))}}, key=p.prv)
        assert status == 400, (span, granularity, answer)


def test_activity_pages(_):
    p = Project()
    p.send([event("k" + str(i % 2), f"u{i % 3}", day(1, 0, i), {"i": i}) for i in range(7)])
    seen, token, sizes = [], None, []
    while True:
        body = {"pageSize": 3, **({"pageToken": token} if token else {})}
        got = P.ok(LIST, body, key=p.prv)
        sizes.append(len(got["events"]))
        seen += [e["customProperties"]["i"] for e in got["events"]]
        token = got.get("nextPageToken")
        if not token:
            break
    assert sizes == [3, 3, 1] and seen == [6, 5, 4, 3, 2, 1, 0], (sizes, seen)
    # No token when the last page is exactly full (D55).
    assert "nextPageToken" not in P.ok(LIST, {"pageSize": 7}, key=p.prv)
    assert len(P.ok(LIST, {"kind": "k1"}, key=p.prv)["events"]) == 3
    assert len(P.ok(LIST, {"distinctId": "u0"}, key=p.prv)["events"]) == 3
    for path in (LIST, "/shared.activity.v1.ActivityService/List"):
        status, answer, _ = P.call(path, {"pageToken": "forged"}, key=p.prv)
        assert status == 400 and reason(answer) == "INVALID_PAGE_TOKEN", answer
    other = Project()
    token = P.ok(LIST, {"pageSize": 3}, key=p.prv)["nextPageToken"]
    status, answer, _ = P.call(LIST, {"pageToken": token}, key=other.prv)
    assert status == 400 and reason(answer) == "INVALID_PAGE_TOKEN", answer


def test_other_projects_see_nothing(_):
    p, q = Project(), Project()
    p.send([event("secret", "u", day(1))])
    assert q.total(day(1), day(3), ask("secret")) == 0
    assert "secret" not in str(P.ok(LIST, {}, key=q.prv))


def test_beacon(_):
    p = Project()
    body = {"events": [event("b", "u", datetime.datetime.now(UTC))]}
    status, _, headers = P.call(BATCH + "?api_key=" + p.pub, body,
                                headers={"origin": "https://shop.example"})
    assert status == 200 and headers["access-control-allow-origin"] == "https://shop.example"
    assert headers["access-control-allow-credentials"] == "true"
    assert P.call(BATCH + "?api_key=" + p.prv, body)[0] == 401
    assert P.call(QUERY + "?api_key=" + p.pub, {})[0] == 401


def test_read_your_writes_under_load(_):
    p = Project()
    now = datetime.datetime.now(UTC) - datetime.timedelta(hours=1)
    for i in range(20):
        p.send([event("w", f"u{i}", now)])
        total = p.total(now - datetime.timedelta(hours=1), now + datetime.timedelta(hours=1), ask("w"))
        assert total == i + 1, (i, total)


def test_jwt_reads_too(_):
    token = P.sign_in(viewer=True)
    body = {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION"}, "granularity": "GRANULARITY_DAY",
            "timeRange": {"from": iso(day(1)), "to": iso(day(20))}}
    for path in (QUERY, "/shared.insights.v1.InsightsService/Query"):
        assert "segmentation" in P.ok(path, body, token=token, project=P.info["project_id"])


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
