#!/usr/bin/env python3
"""Feeds, exploration, days and totals of persons: by meaning and against a naive model."""
import base64
import collections
import datetime
import json
import os
import random
import sys
import time
import urllib.parse
import uuid

import model
import pug
import scenario
import test_accounts
import test_events
import test_identify
import test_model
from test_accounts import PROJECTS, fails
from test_events import event, flt

SERVICES = ("/activity.v1.ActivityService/", "/shared.activity.v1.ActivityService/")
LIST, FEED, EXPLORER, HEATMAP, STATS = (
    SERVICES[0] + m for m in ("List", "GetActivityFeed", "GetEventExplorer", "GetActivityHeatmap",
                              "GetProfileStats"))
SHOWN = {"browser": "$browser", "browserVersion": "$browserVersion", "os": "$os", "osVersion": "$osVersion",
         "device": "$device", "country": "$country", "city": "$city"}
HOUR, DAY = 3600000, 86400000
SEED = os.environ.get("PUGD_SEED", "20261130")
P = None


def now_ms():
    return int(time.time() * 1000)


def at(ms):
    return model.utc(ms)


def iso(ms):
    return test_events.iso(at(ms))


def auto(**props):
    return {"autoProperties": {"$" + k: {"stringValue": v} for k, v in props.items()}}


def pages(path, key, body, size, conn=None):
    """(events of all pages, sizes of the pages)."""
    out, sizes, token = [], [], None
    while True:
        got = P.ok(path, {**body, "pageSize": size, **({"pageToken": token} if token else {})}, key=key, conn=conn)
        assert set(got) <= {"events", "nextPageToken"}, got
        out += got.get("events", [])
        sizes.append(len(got.get("events", [])))
        token = got.get("nextPageToken")
        if not token:
            return out, sizes


def ids(path, key, **body):
    return [e["eventId"] for e in P.ok(path, body, key=key).get("events", [])]


def days(key, who, start=None, end=None):
    body = {"distinctId": who}
    if start is not None:
        body["timeRange"] = {"from": iso(start), "to": iso(end)}
    got = P.ok(HEATMAP, body, key=key)
    assert set(got) <= {"days"}, got
    return [(d["date"], int(d["count"])) for d in got.get("days", [])]


def stats(key, who):
    return P.ok(STATS, {"distinctId": who}, key=key)


# ---- whose events -----------------------------------------------------------------------

def test_one_person_under_every_id(_):
    p, now = test_identify.Project(), now_ms() - HOUR
    profile = p.identify("ext", {"plan": "gold"}, "anon-1")
    who = [profile] * 5 + ["anon-1", "ext", "stranger"]
    P.ok(test_events.BATCH, {"events": [event("a", w, at(now + i)) for i, w in enumerate(who)]}, key=p.private)
    for name in (profile, "anon-1", "ext"):
        events, sizes = pages(FEED, p.private, {"distinctId": name}, 3)
        assert [e["distinctId"] for e in events] == ["ext", "anon-1"] + [profile] * 5, events
        assert sizes == [3, 3, 1]
        assert int(stats(p.private, name)["stats"]["totalEvents"]) == 7
        assert sum(n for _, n in days(p.private, name)) == 7
    # The explorer compares the id as it is, and without one shows everybody.
    assert len(ids(EXPLORER, p.private, distinctId=profile)) == 5
    assert len(ids(EXPLORER, p.private, distinctId="ext")) == 1
    assert len(ids(EXPLORER, p.private)) == len(ids(EXPLORER, p.private, distinctId="")) == 8
    assert pages(EXPLORER, p.private, {"distinctId": profile}, 5)[1] == [5]  # exactly full: no token
    # Who is unknown has nothing, which is no error.
    for path in (FEED, EXPLORER, HEATMAP, STATS):
        assert P.ok(path, {"distinctId": "nobody"}, key=p.private) == {}


def test_before_and_after_identify(_):
    p, now = test_identify.Project(), now_ms() - HOUR
    send = lambda *events: P.ok(test_events.BATCH, {"events": list(events)}, key=p.private)
    send(event("a", "anon-1", at(now)), event("a", "anon-2", at(now + 1)))
    feed = lambda who: [e["distinctId"] for e in P.ok(FEED, {"distinctId": who}, key=p.private).get("events", [])]
    assert feed("anon-1") == ["anon-1"] and feed("pat") == []
    one = p.identify("pat", {}, "anon-1")
    send(event("a", "pat", at(now + 2)))
    assert feed("anon-1") == feed("pat") == feed(one) == ["pat", "anon-1"]
    # An id that moves on takes its events along (D26).
    two = p.identify("kim", {}, "anon-2")
    p.identify("kim", {}, "anon-1")
    assert feed("kim") == feed(two) == feed("anon-1") == ["anon-2", "anon-1"] and feed("pat") == ["pat"]
    # Merged: all are one, also by the id that was absorbed.
    assert p.alias("pat", "kim") == two
    assert feed(one) == feed("pat") == feed("kim") == ["pat", "anon-2", "anon-1"]
    assert int(stats(p.private, one)["stats"]["totalEvents"]) == 3
    other = test_identify.Project()
    assert P.ok(FEED, {"distinctId": "kim"}, key=other.private) == {}


def test_visitors_without_cookies_count(_):
    server = test_model.Server()
    key, num = server.project("")
    now = now_ms() - HOUR
    P.ok(test_events.BATCH, {"events": [event("a", "cookieles~-1", at(now), **auto(browser="B")),
                                        event("a", "u", at(now))]}, key=key)
    server.forge_cookieless(num)
    who = "cookieless-1"
    assert len(ids(FEED, key, distinctId=who)) == len(ids(EXPLORER, key, distinctId=who)) == 1
    assert len(ids(EXPLORER, key)) == 2
    assert sum(n for _, n in days(key, who)) == 1
    got = stats(key, who)
    assert got["stats"]["totalEvents"] == "1" and got["stats"]["browser"] == "B" and "properties" not in got, got
    server.close()


# ---- pages --------------------------------------------------------------------------------

def test_pages_through_ties(_):
    """Fifty events of one millisecond, and some around it, come once each, by id downwards."""
    p, now = test_events.Project(), now_ms() - DAY
    events = [event("a", "u", at(now)) for _ in range(50)] + \
        [event("a", "u", at(now + d)) for d in (-1, 1, 999, -999, DAY - 1) for _ in range(3)]
    random.Random(SEED).shuffle(events)
    for i in range(0, len(events), 13):
        p.send(events[i:i + 13])
    order = sorted(events, key=lambda e: (e["occurTime"], uuid.UUID(e["eventId"]).bytes), reverse=True)
    want = [e["eventId"] for e in order]
    for path in (FEED, EXPLORER, LIST):
        for size in (1, 7, 64, 65, 66):
            got, sizes = pages(path, p.prv, {"distinctId": "u"}, size)
            assert [e["eventId"] for e in got] == want, (path, size)
            assert sizes == [size] * (65 // size) + [65 % size] * (65 % size > 0), (path, sizes)
    # What comes in between pages is where it belongs, and moves nothing.
    first = P.ok(FEED, {"distinctId": "u", "pageSize": 10}, key=p.prv)
    p.send([event("new", "u", at(now + 2 * HOUR)), event("late", "u", at(now - 5))])
    rest, _ = pages(FEED, p.prv, {"distinctId": "u", "pageToken": first["nextPageToken"]}, 1000)
    assert [e["kind"] for e in rest].count("late") == 1 and "new" not in [e["kind"] for e in rest]
    assert [e["eventId"] for e in rest if e["kind"] != "late"] == want[10:]


def test_page_sizes(_):
    p, now = test_events.Project(), now_ms() - DAY
    for i in range(2):
        p.send([event("a", "u", at(now + i)) for _ in range(600)])
    for path in (FEED, EXPLORER):
        assert len(ids(path, p.prv, distinctId="u")) == len(ids(path, p.prv, distinctId="u", pageSize=0)) == 100
        assert pages(path, p.prv, {"distinctId": "u"}, 1000)[1] == [1000, 200]
        for size in (1001, -1):
            got = fails(400, "INVALID_ARGUMENT", path, {"distinctId": "u", "pageSize": size}, key=p.prv)
            assert "page_size" in got["message"]


def test_forged_cursors(_):
    p, q, now = test_events.Project(), test_events.Project(), now_ms() - DAY
    for project in (p, q):
        project.send([event("a", "u", at(now + i)) for i in range(4)])
    body = {"distinctId": "u", "pageSize": 2}
    tokens = {path: P.ok(path, body, key=p.prv)["nextPageToken"] for path in (LIST, FEED, EXPLORER)}
    for path, token in tokens.items():
        raw = bytearray(base64.urlsafe_b64decode(token + "=="))
        bad = ["forged", "0", "é", token[:-1], token + "A", token * 2, token.upper(), base64.b64encode(
            json.dumps({"t": iso(now), "id": str(uuid.uuid4())}).encode()).decode()]
        for i in range(len(raw)):
            raw[i] ^= 1
            bad.append(base64.urlsafe_b64encode(raw).decode().rstrip("="))
            raw[i] ^= 1
        bad += [t for other, t in tokens.items() if other != path]
        for service in SERVICES:
            there = service + path.rsplit("/", 1)[1]
            for one in bad:
                fails(400, "INVALID_PAGE_TOKEN", there, {**body, "pageToken": one}, key=p.prv)
            fails(400, "INVALID_PAGE_TOKEN", there, {**body, "pageToken": token}, key=q.prv)
            # The same method under its other name; filters are not bound; empty is the first page.
            assert len(ids(there, p.prv, **{**body, "pageToken": token})) == 2
            assert len(ids(there, p.prv, **{**body, "pageToken": token, "pageSize": 1})) == 1
            assert len(ids(there, p.prv, **{**body, "pageToken": ""})) == 2


# ---- conditions ----------------------------------------------------------------------------

def test_filters_of_every_operator(_):
    p, now = test_identify.Project(), now_ms() - HOUR
    p.identify("gold", {"plan": "gold", "age": 30})
    p.identify("none", {})
    sent = [{"x": 5}, {"x": "5"}, {"x": "abc"}, {"x": 7.5}, {"x": True}, {}, {"x": ""}]
    who = ["gold", "gold", "none", "gold", "u", "u", "gold"]
    events = [event("k", w, at(now + i), x) for i, (w, x) in enumerate(zip(who, sent))]
    P.ok(test_events.BATCH, {"events": events}, key=p.private)
    number = {e["eventId"]: i for i, e in enumerate(events)}
    cases = [
        (flt("x", "EQUALS", "5"), {0, 1}), (flt("x", "NOT_EQUALS", "5"), {2, 3, 4, 5, 6}),
        (flt("x", "CONTAINS", "b"), {2}), (flt("x", "NOT_CONTAINS", "b"), {0, 1, 3, 4, 5, 6}),
        (flt("x", "IS_SET"), {0, 1, 2, 3, 4}), (flt("x", "IS_NOT_SET"), {5, 6}),
        (flt("x", "LT", "7"), {0, 1}), (flt("x", "LTE", "7.5"), {0, 1, 3}), (flt("x", "GT", "5"), {3}),
        (flt("x", "GTE", "5"), {0, 1, 3}), (flt("x", "IN", values=["abc", ""]), {2, 5, 6}),
        (flt("x", "NOT_IN", values=["5", "true"]), {2, 3, 5, 6}), (flt("x", "BETWEEN", values=["6", "8"]), {3}),
        (flt("x", "NOT_BETWEEN", values=["6", "8"]), {0, 1}),
        (flt("plan", "EQUALS", "gold", source="PROPERTY_SOURCE_PROFILE"), {0, 1, 3, 6}),
        (flt("age", "GT", "29", source="PROPERTY_SOURCE_PROFILE"), {0, 1, 3, 6}),
        (flt("plan", "IS_NOT_SET", source="PROPERTY_SOURCE_PROFILE"), {2, 4, 5})]
    mine = {"gold": {0, 1, 3, 6}, "none": {2}, "u": {4, 5}}
    for f, want in cases:
        found = ids(EXPLORER, p.private, propertyFilters=[f])
        assert {number[i] for i in found} == want, (f, found)
        assert found == sorted(found, key=lambda i: -number[i])
        assert ids(EXPLORER, p.private, events=[{"kind": "k", "filters": [f]}]) == found
        assert ids(EXPLORER, p.private, events=[{"kind": "none", "filters": [f]}]) == []
        for name, own in mine.items():
            got = ids(FEED, p.private, distinctId=name, propertyFilters=[f])
            assert {number[i] for i in got} == want & own, (name, f)
    # ANDed among themselves, while of the events one is enough.
    both = [flt("x", "IS_SET"), flt("x", "NOT_EQUALS", "5")]
    assert {number[i] for i in ids(EXPLORER, p.private, propertyFilters=both)} == {2, 3, 4}
    either = [{"filters": [flt("x", "EQUALS", "abc")]}, {"kind": "k", "filters": [flt("x", "GT", "7")]}]
    assert {number[i] for i in ids(EXPLORER, p.private, events=either)} == {2, 3}
    assert {number[i] for i in ids(EXPLORER, p.private, events=either, propertyFilters=[
        flt("plan", "EQUALS", "gold", source="PROPERTY_SOURCE_PROFILE")])} == {3}
    assert len(ids(EXPLORER, p.private, events=[{}])) == 7


def test_session_and_window(_):
    p, now = test_events.Project(), now_ms() - HOUR
    session = str(uuid.uuid4())
    events = [event("a", "u", at(now + i), **({"sessionId": session} if i % 2 else {})) for i in range(4)]
    p.send(events)
    for path in (FEED, EXPLORER):
        number = lambda **body: [next(i for i, e in enumerate(events) if e["eventId"] == x)
                                 for x in ids(path, p.prv, distinctId="u", **body)]
        assert number(sessionId=session) == number(sessionId=session.upper()) == [3, 1]
        assert number(sessionId=str(uuid.uuid4())) == [] and number(sessionId="") == [3, 2, 1, 0]
        span = lambda a, b: {"from": iso(now + a), "to": iso(now + b)}
        assert number(timeRange=span(1, 3)) == [2, 1]  # half-open, to the millisecond
        assert number(timeRange=span(1, 3), sessionId=session) == [1]
        assert number(timeRange=span(4, 9)) == []


def test_requests_that_are_wrong(_):
    key = test_events.Project().prv
    when = "2026-01-01T00:00:00Z"
    wrong = [({"sessionId": "nope"}, "session_id"), ({"distinctId": "x" * 513}, "distinct_id"),
             ({"timeRange": {"from": when, "to": when}}, "time_range"),
             ({"timeRange": {"from": when}}, "time_range"),
             ({"propertyFilters": [flt("x", "EQUALS", "1")] * 21}, "property_filters"),
             ({"events": [{"kind": "a"}] * 51}, "events"), ({"events": [{"kind": "a"}, {}]}, "events[1]"),
             ({"propertyFilters": [flt("x", "GT", "many")]}, "property_filters[0]"),
             ({"propertyFilters": [flt("x", "UNSPECIFIED")]}, "property_filters[0]")]
    for service in SERVICES:
        for method in ("GetActivityFeed", "GetEventExplorer"):
            for change, field in wrong:
                got = fails(400, "INVALID_ARGUMENT", service + method, {"distinctId": "u", **change}, key=key)
                assert field in got["message"], got
        for method in ("GetActivityFeed", "GetActivityHeatmap", "GetProfileStats"):
            for body in ({}, {"distinctId": ""}):
                got = fails(400, "INVALID_ARGUMENT", service + method, body, key=key)
                assert "distinct_id" in got["message"], got
        fails(400, "INVALID_ARGUMENT", service + "GetActivityHeatmap",
              {"distinctId": "u", "timeRange": {"from": when, "to": when}}, key=key)


def test_all_paths_for_all_who_may(_):
    p = test_events.Project()
    p.send([event("a", "u", at(now_ms() - 60000), {"x": 1})])
    for method in ("GetActivityFeed", "GetEventExplorer", "GetActivityHeatmap", "GetProfileStats"):
        answers, body = [], {"distinctId": "u"}
        for service in SERVICES:
            for who in ({"key": p.prv}, {"token": p.token, "project": p.id}):
                answers.append(P.ok(service + method, body, **who))
                query = urllib.parse.urlencode({"connect": "v1", "encoding": "json", "message": json.dumps(body)})
                answers.append(P.ok(f"{service}{method}?{query}", method="GET", **who))
            fails(403, "PERMISSION_DENIED", service + method, body, key=p.pub)
            fails(401, "UNAUTHENTICATED", service + method, body)
        assert len(answers) == 8 and answers[0] and all(a == answers[0] for a in answers), answers


# ---- days and totals -----------------------------------------------------------------------

def test_days_of_the_project(_):
    """A day is one of the project's zone (D39), also where clocks change."""
    p = test_events.Project("America/New_York")
    t = model.millis
    p.send([event("a", "u", at(t(when))) for when in (
        "2026-03-08T04:59:59.999Z", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59.999Z", "2026-03-09T04:00:00Z",
        "2025-11-02T03:59:59.999Z", "2025-11-02T04:00:00Z", "2025-11-03T04:59:59.999Z", "2025-11-03T05:00:00Z")])
    start, end = t("2025-11-01T00:00:00Z"), t("2026-04-01T00:00:00Z")
    assert days(p.prv, "u", start, end) == [
        ("2025-11-01", 1), ("2025-11-02", 2), ("2025-11-03", 1), ("2026-03-07", 1), ("2026-03-08", 2),
        ("2026-03-09", 1)]
    # Half-open, to the millisecond.
    assert days(p.prv, "u", t("2026-03-08T05:00:00Z"), t("2026-03-09T03:59:59.999Z")) == [("2026-03-08", 1)]
    # Windows may be as wide as time itself, and where no event can be they are empty.
    for a, b, n in (("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 8), ("1900-01-01T00:00:00Z", "2000-01-01T00:00:00Z", 0),
                    ("2500-01-01T00:00:00Z", "9000-01-01T00:00:00Z", 0)):
        got = P.ok(HEATMAP, {"distinctId": "u", "timeRange": {"from": a, "to": b}}, key=p.prv)
        assert sum(int(d["count"]) for d in got.get("days", [])) == n, (a, b, got)
    P.ok(PROJECTS + "Update", {"reportingTimezone": "Asia/Tokyo"}, token=p.token, project=p.id)
    assert days(p.prv, "u", start, end)[0] == ("2025-11-02", 2)  # at once
    P.psql(f"UPDATE pugd.projects SET reporting_timezone = 'No/Where' WHERE id = '{p.id}'")
    for path in (HEATMAP, STATS):
        got = fails(400, "INVALID_ACTIVITY_FILTER", path, {"distinctId": "u"}, key=p.prv)
        assert "timezone" in got["message"]


def test_the_last_sixty_days(_):
    p, now = test_events.Project(), now_ms()
    ages = (HOUR, HOUR, 60 * DAY - HOUR, 60 * DAY + HOUR, 61 * DAY, 4000 * DAY, -HOUR)
    p.send([event("a", "u", at(now - age)) for age in ages])
    count = collections.Counter(at(now - age).strftime("%Y-%m-%d") for age in ages[:3])
    assert days(p.prv, "u") == sorted(count.items())
    got = stats(p.prv, "u")
    assert [(d["date"], int(d["count"])) for d in got["heatmap"]] == sorted(count.items())
    # Totals are of all times, what is ahead of us included.
    assert int(got["stats"]["totalEvents"]) == 7, got
    assert model.millis(got["stats"]["firstSeen"]) == now - 4000 * DAY
    assert model.millis(got["stats"]["lastSeen"]) == now + HOUR


def test_the_latest_event_alone_says_where(_):
    p, now = test_events.Project(), now_ms() - HOUR
    everything = {k[1:]: k.upper() for k in SHOWN.values()}
    p.send([event("a", "u", at(now), **auto(**everything))])
    assert {k: stats(p.prv, "u")["stats"][k] for k in SHOWN} == {k: v.upper() for k, v in SHOWN.items()}
    # Not the last one that is not empty, and late arrivals do not count as later.
    p.send([event("a", "u", at(now + 2), **auto(os="Linux")), event("a", "u", at(now + 1), **auto(os="Old"))])
    assert {k: stats(p.prv, "u")["stats"][k] for k in SHOWN} == {**dict.fromkeys(SHOWN, ""), "os": "Linux"}
    # Of one millisecond the greatest event id is the latest (D29).
    tied = [event("a", "u", at(now + 9), **auto(city=f"c{i}")) for i in range(20)]
    for e in tied:
        p.send([e])
    last = max(tied, key=lambda e: uuid.UUID(e["eventId"]).bytes)
    assert stats(p.prv, "u")["stats"]["city"] == last["autoProperties"]["$city"]["stringValue"]


def test_traits_only_by_the_profile_id(_):
    p, now = test_identify.Project(), now_ms() - HOUR
    profile = p.identify("ext", {"plan": "gold", "n": {"deep": [1, "x"]}}, "anon-1")
    assert stats(p.private, profile) == {"properties": {"plan": "gold", "n": {"deep": [1, "x"]}}}  # no event yet
    assert stats(p.private, "ext") == stats(p.private, "anon-1") == {}
    empty = p.identify("empty")
    assert stats(p.private, empty) == {"properties": {}}
    P.ok(test_events.BATCH, {"events": [event("a", "anon-1", at(now))]}, key=p.private)
    got = [stats(p.private, who) for who in (profile, "ext", "anon-1")]
    assert "properties" in got[0] and got[0]["stats"] == got[1]["stats"] == got[2]["stats"]
    assert set(got[1]) == set(got[2]) == {"stats", "heatmap"}


def test_properties_of_events_come_back(_):
    """Promoted ones as text, the others with their type, both structs always there (3.2)."""
    p, now = test_events.Project(), now_ms() - HOUR
    p.send([event("a", "u", at(now), {"s": "x", "i": 5, "d": 1.5, "b": True},
                  autoProperties={"$os": {"intValue": 7}, "$mobile": {"boolValue": True}, "$z": {"intValue": 7},
                                  "$t": {"timestampValue": "2026-01-02T03:04:05.600Z"}, "$city": {"stringValue": ""}}),
            event("a", "u", at(now - 1))])
    for path in (FEED, EXPLORER):
        one, two = P.ok(path, {"distinctId": "u"}, key=p.prv)["events"]
        assert one["autoProperties"] == {"$os": "7", "$mobile": "true", "$z": 7, "$t": "2026-01-02T03:04:05.6Z"}, one
        assert one["customProperties"] == {"s": "x", "i": 5, "d": 1.5, "b": True}, one
        assert two["autoProperties"] == two["customProperties"] == {}
        assert model.millis(one["occurTime"]) == now


# ---- against a naive model -------------------------------------------------------------------

class Maker(scenario.Maker):
    """As in test_model.py, with a part of the events in the last two months."""

    def pick_times(self):
        super().pick_times()
        now = self.now - HOUR
        self.times += [now - self.r.randrange(59) * DAY + self.r.choice([0, 0, 1, 999]) for _ in range(8)]


def naive_days(truth, events, start, end):
    count = collections.Counter(truth.zone.local(e.ms).date().isoformat() for e in events if start <= e.ms < end)
    return sorted(count.items())


def as_doubles(v):
    if isinstance(v, dict):
        return {k: as_doubles(x) for k, x in v.items()}
    return float(v) if type(v) is int else v


def check_person(key, truth, maker, who, conn):
    mine = [e for e in truth.events.values() if truth.person(e.distinct_id) == truth.person(who)]
    now = now_ms()
    recent = naive_days(truth, mine, now - 60 * DAY, now)
    assert days(key, who) == recent, (who, recent)
    a, b = sorted(maker.r.choice(maker.times) + maker.r.choice([0, 1, DAY]) for _ in range(2))
    if a < b:
        assert days(key, who, a, b) == naive_days(truth, mine, a, b), (who, a, b)
    got = stats(key, who)
    assert [(d["date"], int(d["count"])) for d in got.get("heatmap", [])] == recent
    if who in truth.profiles:
        assert got["properties"] == as_doubles(truth.profiles[who][1]), (who, got)
    else:
        assert "properties" not in got
    if not mine:
        assert "stats" not in got
        return
    last = max(mine, key=lambda e: (e.ms, e.id))
    s = got["stats"]
    assert (model.millis(s.pop("firstSeen")), model.millis(s.pop("lastSeen")), int(s.pop("totalEvents"))) == \
        (min(e.ms for e in mine), last.ms, len(mine)), (who, got)
    assert s == {k: last.text(v) for k, v in SHOWN.items()}, (who, s)


def check_list(key, truth, path, request, conn):
    size = request.get("pageSize") or 100
    got, sizes = pages(path, key, request, request.get("pageSize", 0), conn=conn)
    if path == FEED:
        want = truth.list(request)
    else:
        want = truth.list({**request, "distinctId": ""})
        if request.get("distinctId"):
            want = [e for e in want if e["distinctId"] == request["distinctId"]]
    for e in got:
        e["occurTime"] = model.millis(e["occurTime"])
    assert test_model.strict(got) == test_model.strict(want), (path, request, got, want)
    assert sizes == ([size] * (len(want) // size) + [len(want) % size] * (len(want) % size > 0) or [0]), sizes


def test_random_projects(_):
    server = test_model.Server()
    print(f"seed {SEED}")
    for i in range(20 if P.slow else 60):
        maker = Maker(f"{SEED}:{i}")
        s = maker.scenario()
        maker.keys += ["$os", "$city"]
        key, _, truth, bad = test_model.load(server, s)
        assert not bad, bad
        people = [*maker.users, *truth.profiles, *truth.aliases, "nobody"]
        people = test_model.renamed_request({"all": people})["all"]
        where = f"project {i} of seed {SEED}: "
        try:
            for who in maker.some(people, 3, 5):
                check_person(key, truth, maker, who, server.conn)
            for path in (FEED, EXPLORER):
                for _ in range(3):
                    request = test_model.renamed_request(maker.listing())
                    request.pop("kind", None)
                    if path == FEED or maker.r.random() < 0.5:
                        request["distinctId"] = maker.r.choice(people)
                    check_list(key, truth, path, request, server.conn)
        except AssertionError as e:
            raise AssertionError(where + str(e)) from e
    server.close()


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test") as P:
        for module in (test_accounts, test_events, test_identify, test_model):
            module.P = P
        sys.exit(pug.main(tests))
