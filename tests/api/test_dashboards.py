#!/usr/bin/env python3
"""Dashboards (insights-dashboards.md 7, D39): kept, reconciled, rendered and shared, by what
the answers mean."""
import datetime
import sys
import time
import uuid
import zoneinfo

import pg
import pug
import protos
import test_accounts
from test_accounts import ORGS, PROJECTS, fails
from people import Person, at_once, database, join, until

BATCH = "/events.v1.EventsService/BatchCreate"
BOARDS = "/dashboards.v1.DashboardsService/"
RELEASED = "/dashboard.dashboards.v1.DashboardsService/"
XID = "0" * 20
DEFAULTS = {"defaultTimeRange": "TIME_RANGE_PRESET_LAST_30_DAYS", "defaultGranularity": "GRANULARITY_DAY"}
P = None
TEAM = None


def trend(kind="view", **spec):
    return {"insight": {"spec": {"insightType": "INSIGHT_TYPE_TRENDS",
                                 "events": [{"event": {"kind": kind}}], **spec}}}


def text(body="# Hello"):
    return {"markdown": {"body": body}}


class Team:
    """A project with somebody of each role, and one with nothing to do with it."""

    def __init__(self):
        self.admin, self.member, self.viewer, self.stranger = (Person() for _ in range(4))
        self.org = self.admin.org()
        join(self.org, self.member, 2)
        join(self.org, self.viewer, 3)

    def project(self, zone=""):
        return Project(self, self.admin.ok(PROJECTS + "Create", {
            "orgId": self.org, "displayName": uuid.uuid4().hex, "reportingTimezone": zone})["project"]["id"])


class Project:
    def __init__(self, team, project):
        self.team, self.id = team, project

    def ok(self, method, body=None, who=None, base=BOARDS):
        return (who or self.team.member).ok(base + method, body, project=self.id)

    def fails(self, status, why, method, body=None, who=None):
        return (who or self.team.member).fails(status, why, BOARDS + method, body, project=self.id)

    def make(self, name="Board", **more):
        return Board(self, self.ok("Create", {"displayName": name, **more})["dashboard"])

    def events(self, *events):
        """(kind, user, RFC 3339 time) each."""
        key = self.team.admin.ok(PROJECTS + "CreateApiKey", {"kind": 2}, project=self.id)["key"]
        P.ok(BATCH, {"events": [{"eventId": str(uuid.uuid4()), "name": kind, "distinctId": user,
                                 "timestamp": when} for kind, user, when in events]}, key=key)
        return self

    def listed(self):
        return self.ok("List").get("dashboards", [])


class Board:
    def __init__(self, project, made):
        self.project, self.made, self.id = project, made, made["id"]

    def get(self):
        return self.project.ok("Get", {"id": self.id})["dashboard"]

    def request(self, *tiles, **head):
        return {"id": self.id, "displayName": "Board", "tiles": list(tiles), **head}

    def put(self, *tiles, **head):
        return self.project.ok("Upsert", self.request(*tiles, **head))["dashboard"]

    def render(self, who=None, base=BOARDS, **asked):
        return self.project.ok("QueryDashboard", {"dashboardId": self.id, **asked},
                               who or self.project.team.viewer, base)["dashboard"]

    def fails(self, status, why, *tiles, **head):
        return self.project.fails(status, why, "Upsert", self.request(*tiles, **head))

    def update(self, **change):
        return self.project.ok("Update", {"id": self.id, "displayName": "Board", **change})["dashboard"]


def team():
    global TEAM
    TEAM = TEAM or Team()
    return TEAM


def project(zone=""):
    return team().project(zone)


def names(board):
    return [t["displayName"] for t in board.get("tiles", [])]


def without(value, *keys):
    """The value without the keys, at every depth."""
    if isinstance(value, list):
        return [without(v, *keys) for v in value]
    if isinstance(value, dict):
        return {k: without(v, *keys) for k, v in value.items() if k not in keys}
    return value


# ---- keeping ----------------------------------------------------------------------------

def test_create_get_list_delete(_):
    p = project()
    assert p.listed() == []
    first = p.make("Zoo")
    made = first.made
    assert without(made, "id", "createTime", "updateTime") == {
        "projectId": p.id, "displayName": "Zoo", "description": "", **DEFAULTS}, made
    assert len(first.id) == 20 and made["createTime"] == made["updateTime"]
    # Names may repeat; the order is that of making.
    second = p.make("Zoo", description="Ü" * 2000, defaultTimeRange="TIME_RANGE_PRESET_LAST_1_HOUR",
                    defaultGranularity="GRANULARITY_MINUTE")
    assert second.made["defaultTimeRange"] == "TIME_RANGE_PRESET_LAST_1_HOUR"
    assert [d["id"] for d in p.listed()] == [first.id, second.id]
    tiles = second.put({"displayName": "a", **trend()}, text())["tiles"]
    assert second.get()["tiles"] == tiles and p.listed()[1]["tiles"] == tiles
    # At the released path, and by a viewer, the same.
    for base, who in ((RELEASED, None), (BOARDS, team().viewer)):
        assert p.ok("Get", {"id": second.id}, who, base)["dashboard"] == second.get()
        assert p.ok("List", {}, who, base)["dashboards"] == p.listed()
    p.ok("Delete", {"id": first.id})
    for method in ("Get", "Delete", "Update", "Upsert"):
        answer = p.fails(404, "DASHBOARD_NOT_FOUND", method, {"id": first.id, "displayName": "x"})
        assert [d["type"] for d in answer["details"]][2:] == ["google.rpc.ResourceInfo"], answer
    assert [d["id"] for d in p.listed()] == [second.id]


def test_reading_by_get(_):
    p = project()
    board = p.make()
    status, answer, headers = P.call(
        BOARDS + "List?connect=v1&encoding=json&message=%7B%7D", method="GET",
        token=team().viewer.token, project=p.id)
    assert status == 200 and [d["id"] for d in answer["dashboards"]] == [board.id], answer
    assert headers["cache-control"] == "no-store"


def test_who_may(_):
    p, other = project(), project()
    board = p.make()
    tile = board.put(text())["tiles"][0]
    key = team().admin.ok(PROJECTS + "CreateApiKey", {"kind": 2}, project=p.id)["key"]
    for method in ("Create", "Get", "List", "Update", "Upsert", "Delete", "QueryDashboard"):
        body = {"id": board.id, "displayName": "x", "dashboardId": board.id}
        if method in ("Create", "Update", "Upsert", "Delete"):
            p.fails(403, "ORG_ROLE_FORBIDDEN", method, body, team().viewer)
        p.fails(403, "PERMISSION_DENIED", method, body, team().stranger)
        fails(403, "PERMISSION_DENIED", BOARDS + method, body, key=key)
        fails(401, "UNAUTHENTICATED", BOARDS + method, body)
        # In another project of the same org it does not exist.
        if method not in ("Create", "List"):
            other.fails(404, "DASHBOARD_NOT_FOUND", method, body)
    # Nor can its tiles be taken to another dashboard, of the same project even.
    for home in (p, other):
        home.make().fails(404, "DASHBOARD_TILE_NOT_FOUND", {**text(), "id": tile["id"]})
    assert other.ok("List") == {"dashboards": [other.listed()[0]]} and p.listed()[0] == board.get()
    assert board.get()["tiles"] == [tile]


def test_rules(_):
    p = project()
    board = p.make()
    for bad in ({}, {"displayName": ""}, {"displayName": "x" * 151},
                {"displayName": "x", "description": "x" * 2001},
                {"displayName": "x", "defaultGranularity": 9}):
        p.fails(400, "INVALID_ARGUMENT", "Create", bad)
        p.fails(400, "INVALID_ARGUMENT", "Update", {"id": board.id, **bad})
        p.fails(400, "INVALID_ARGUMENT", "Upsert", {"id": board.id, **bad})
    threshold = {"operator": "OPERATOR_GT", "value": 1, "tone": "TONE_GOOD"}
    for bad in ({}, {"insight": {}}, trend(session={"metric": 1}), trend(top_k={}), text(""),
                text("x" * 100001), {**text(), "displayName": "x" * 151},
                {**text(), "description": "x" * 2001}, {**text(), "viewMode": 10},
                {**text(), "compare": 2}, {**text(), "thresholds": [threshold] * 6},
                {**text(), "thresholds": [{**threshold, "operator": 0}]},
                {**text(), "thresholds": [{"operator": 1}]},
                {**text(), "header": {"icon": "x" * 9}}, {**text(), "header": {"accentColor": "pink"}},
                {**text(), "visualization": {"logScale": True, "zeroBaseline": True}},
                {**text(), "visualization": {"yAxisFormat": 5}},
                {**text(), "position": {"w": 1}}, {**text(), "position": {"w": 73, "h": 1}},
                {**text(), "position": {"w": 1, "h": 801}},
                {**text(), "position": {"x": -1, "w": 1, "h": 1}}):
        board.fails(400, "INVALID_ARGUMENT", bad)
    board.fails(400, "INVALID_ARGUMENT", *[text()] * 101)
    assert "tiles" not in board.get() and board.get() == board.made
    assert len(board.put(*[text("é" * 1000)] * 100)["tiles"]) == 100
    # The cap of a window is not looked at before it is asked for.
    board.put(trend(), defaultTimeRange="TIME_RANGE_PRESET_LAST_365_DAYS",
              defaultGranularity="GRANULARITY_MINUTE")


def test_update(_):
    board = project().make(description="old", defaultTimeRange="TIME_RANGE_PRESET_LAST_7_DAYS",
                           defaultGranularity="GRANULARITY_HOUR")
    tiles = board.put(text(), description="old")["tiles"]
    before = board.get()["updateTime"]
    # The name is replaced, an empty description is not, the window goes back to its default.
    got = board.update(displayName="New", description="")
    assert got["displayName"] == "New" and got["description"] == "old" and got["tiles"] == tiles, got
    assert {k: got[k] for k in DEFAULTS} == DEFAULTS and got["updateTime"] > before, got
    again = board.update(displayName="New", description="new",
                         defaultGranularity="GRANULARITY_WEEK")
    assert again["description"] == "new" and again["defaultGranularity"] == "GRANULARITY_WEEK"
    assert again["updateTime"] > got["updateTime"] and again == board.get()


# ---- Upsert -----------------------------------------------------------------------------

def test_upsert_keeps_adds_changes_drops(_):
    board = project().make()
    a, b, c = board.put({**text("a"), "displayName": "A"}, {**trend(), "displayName": "B"},
                        {**text("c"), "displayName": "C"})["tiles"]
    assert len({t["id"] for t in (a, b, c)}) == 3 and a["dashboardId"] == board.id
    assert (a["viewMode"], b["viewMode"]) == ("DASHBOARD_TILE_VIEW_MODE_UNSPECIFIED",
                                              "DASHBOARD_TILE_VIEW_MODE_LINE")
    assert a["compare"] == "COMPARE_PERIOD_UNSPECIFIED" and a["description"] == "", a
    assert not {"header", "visualization", "position", "thresholds"} & set(a), a
    first = board.get()
    # C first, then a new one that takes the name of the dropped B, then A as a question.
    got = board.put(c, {**text("n"), "displayName": "b"}, {**trend(), "id": a["id"], "displayName": "A"})
    assert names(got) == ["C", "b", "A"] and got["tiles"][0] == c
    assert got["tiles"][2]["createTime"] == a["createTime"] < got["tiles"][2]["updateTime"]
    assert "markdown" not in got["tiles"][2] and got["tiles"][1]["id"] not in (a["id"], b["id"], c["id"])
    assert got["updateTime"] > first["updateTime"]
    # Reading shows the order of making, whatever the order of requests.
    assert names(board.get()) == ["A", "C", "b"]
    board.fails(404, "DASHBOARD_TILE_NOT_FOUND", b)
    board.fails(404, "DASHBOARD_TILE_NOT_FOUND", {**text(), "id": XID})
    assert names(board.get()) == ["A", "C", "b"]
    assert "tiles" not in board.put() and "tiles" not in board.get()


def test_echo_changes_nothing(_):
    """What Get returned means what is stored: in JSON and in binary."""
    p = project()
    board = p.make()
    full = {"displayName": "Full", "description": "d", "viewMode": "DASHBOARD_TILE_VIEW_MODE_KPI",
            "compare": "COMPARE_PERIOD_PRIOR", "header": {"icon": "📈", "accentColor": "blue"},
            "thresholds": [{"operator": "OPERATOR_GT", "value": 0.1, "tone": "TONE_GOOD"},
                           {"operator": "OPERATOR_LTE", "value": "-Infinity", "tone": "TONE_BAD"}],
            "visualization": {"logScale": True, "yAxisFormat": "Y_AXIS_FORMAT_PERCENT"},
            "position": {"x": 0, "w": 72, "h": 800},
            "insight": {"spec": {"insightType": "INSIGHT_TYPE_FUNNEL", "conversionWindow": "60s",
                                 "events": [{"event": {"kind": "a", "filters": [
                                     {"property": "$x", "operator": "FILTER_OPERATOR_IN",
                                      "values": ["", "é"]}]}}, {"event": {"kind": "b"}}]}}}
    plain = {**text(), "header": {"icon": "", "hideTitle": False}, "visualization": {"logScale": False},
             "viewMode": "DASHBOARD_TILE_VIEW_MODE_PIE"}
    got = board.put(full, plain, description="d")
    assert without(got["tiles"][0], "id", "dashboardId", "createTime", "updateTime") == full, got
    assert not {"header", "visualization"} & set(got["tiles"][1]), got
    assert got["tiles"][1]["viewMode"] == "DASHBOARD_TILE_VIEW_MODE_UNSPECIFIED"
    before = board.get()
    assert before == got and board.put(*before["tiles"], description="d") == before
    upsert = next(m for m in protos.methods() if m.path == BOARDS + "Upsert")
    body = board.request(*without(before["tiles"], "dashboardId", "createTime", "updateTime"),
                         description="d")
    status, answer, _ = P.call(upsert.path, raw=upsert.encode(body), token=team().member.token,
                               project=p.id, headers={"content-type": "application/proto"})
    assert status == 200, answer
    assert board.get() == before, (before, board.get())
    # Metadata alone moves the dashboard's time and no tile's; so does a tile alone.
    head = board.put(*before["tiles"])
    assert head["description"] == "" and head["updateTime"] > before["updateTime"]
    assert head["tiles"] == before["tiles"]
    tile = {**before["tiles"][1], "description": "new"}
    last = board.put(before["tiles"][0], tile)
    assert last["updateTime"] > head["updateTime"] and last["tiles"][0] == before["tiles"][0]
    assert last["tiles"][1]["updateTime"] > before["tiles"][1]["updateTime"]
    moved = board.put(*reversed(last["tiles"]))
    assert moved["tiles"] == last["tiles"][::-1] and board.get() == last


def test_names_of_tiles(_):
    board = project().make()
    clash = (409, "DASHBOARD_TILE_NAME_CONFLICT")
    board.fails(*clash, {**text(), "displayName": "Same"}, {**text(), "displayName": "sAME"})
    a, b, _, _ = board.put({**text("a"), "displayName": "Alpha"}, {**text("b"), "displayName": "Beta"},
                           text(), text())["tiles"]
    before = board.get()
    # All or nothing: neither the new name of the dashboard nor the dropped tiles stay.
    board.fails(*clash, a, {**b, "displayName": "ALPHA"}, displayName="Other")
    board.fails(*clash, a, b, {**text(), "displayName": "beta"})
    assert board.get() == before
    # Swapped, with another letter case, and three in a ring, in one Upsert (D39).
    got = board.put({**a, "displayName": "Beta"}, {**b, "displayName": "alpha"},
                    {**text(), "displayName": "Gamma"})
    assert names(got) == ["Beta", "alpha", "Gamma"] and [t["id"] for t in got["tiles"]][:2] == [a["id"], b["id"]]
    ring = [{**t, "displayName": name} for t, name in zip(got["tiles"], ["alpha", "Gamma", "Beta"])]
    assert names(board.put(*ring)) == ["alpha", "Gamma", "Beta"]
    # A new tile may have the name that a kept one gives up, and a kept one that of a dropped one.
    kept = board.get()["tiles"]
    got = board.put({**kept[0], "displayName": "gamma"}, {**kept[2], "displayName": "x"},
                    {**text(), "displayName": "Alpha"}, {**text(), "displayName": "BETA"})
    assert sorted(names(got)) == ["Alpha", "BETA", "gamma", "x"]


def test_repeated_id(_):
    board = project().make()
    tile = board.put(text())["tiles"][0]
    answer = board.fails(400, "INVALID_TILE_CONTENT", tile, text(), {**tile, **text("other")})
    assert "tiles[2].id" in answer["message"] or "id occurs twice" in answer["message"], answer
    # Before anything is looked up: on a dashboard that does not exist, too.
    board.project.fails(400, "INVALID_TILE_CONTENT", "Upsert", {
        "id": XID, "displayName": "x", "tiles": [tile, tile]})
    assert board.get()["tiles"] == [tile]


def test_upserts_at_once(_):
    """Whole dashboards follow one another: the last one wins, and nothing is mixed."""
    p = project()
    board = p.make()
    old = board.put(*[{**text(str(i)), "displayName": f"old {i}"} for i in range(5)])["tiles"]
    variants = [[{**t, "displayName": f"{who} {i}", **text(f"{who} {i}")} for i, t in enumerate(old)]
                + [{**text(f"{who} new {i}"), "displayName": f"new {i}"} for i in range(5)]
                for who in "abcdef"]
    calls = [(BOARDS + "Upsert", board.request(*tiles, displayName=f"by {'abcdef'[n]}"),
              {"token": team().member.token, "project": p.id}) for n, tiles in enumerate(variants)]
    answers = at_once(*calls)
    assert [status for status, _ in answers] == [200] * 6, answers
    got = board.get()
    who = got["displayName"][-1]
    bodies = sorted(t["markdown"]["body"] for t in got["tiles"])
    assert bodies == sorted([f"{who} {i}" for i in range(5)] + [f"{who} new {i}" for i in range(5)]), got
    ids = {t["id"] for _, a in answers for t in a["dashboard"]["tiles"]}
    assert len(ids) == 5 + 6 * 5  # each answer tells of its own new tiles
    # Against deletion: either there first, never half.
    for _ in range(5):
        board = p.make()
        answers = at_once((BOARDS + "Upsert", board.request(text(), text()),
                           {"token": team().member.token, "project": p.id}),
                          (BOARDS + "Delete", {"id": board.id}, {"token": team().member.token, "project": p.id}))
        assert answers[1][0] == 200 and answers[0][0] in (200, 404), answers
        p.fails(404, "DASHBOARD_NOT_FOUND", "Get", {"id": board.id})
    with database() as db:
        assert db.one("SELECT count(*) FROM pugd.dashboard_tiles t WHERE NOT EXISTS "
                      "(SELECT FROM pugd.dashboards d WHERE d.id = t.dashboard)") == "0"


def test_a_damaged_tile(_):
    p = project()
    board = p.make()
    good, bad = board.put({**text(), "displayName": "good"}, {**trend(), "displayName": "bad"})["tiles"]
    P.psql(f"UPDATE pugd.dashboard_tiles SET body = '\\xff' WHERE id = '{bad['id']}'")
    for method, body in (("Get", {"id": board.id}), ("List", {})):
        answer = p.fails(500, "INTERNAL", method, body)
        assert answer["message"] == "internal error", answer
    # It can be replaced.
    board.put(good, bad)
    assert board.get()["tiles"][1]["insight"] == bad["insight"]


# ---- QueryDashboard ---------------------------------------------------------------------

MAY = {"from": "2026-05-01T00:00:00Z", "to": "2026-05-03T00:00:00Z"}


def count(kind="view", **spec):
    return {"insight": {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION",
                                 "events": [{"event": {"kind": kind}}], **spec}}}


def total(tile):
    return float(tile["result"]["segmentation"]["total"])


def points(tile):
    return {p["time"]: float(p["value"])
            for series in tile["result"]["trends"]["series"] for p in series["points"]}


def test_render(_):
    p = project("Asia/Kolkata").events(*[("view", f"u{i}", "2026-05-01T20:00:00Z") for i in range(3)],
                                       ("view", "u1", "2026-05-02T12:00:00Z"), ("buy", "u1", "2026-05-02T12:00:00Z"))
    board = p.make()
    stored = board.put({**trend(), "displayName": "trend"}, {**text(), "displayName": "text"},
                       {**count("buy"), "displayName": "count"}, description="what it is about",
                       defaultTimeRange="TIME_RANGE_PRESET_LAST_1_HOUR")
    got = board.render(timeRange=MAY)
    assert without(got, "tiles") == without(stored, "tiles", "projectId"), got
    assert [t["tile"] for t in got["tiles"]] == stored["tiles"]
    one, two, three = got["tiles"]
    # The days are those of the project, and so are the answers of Query.
    assert points(one) == {"2026-05-01T18:30:00Z": 4.0}, one
    assert points(one) == points({"result": team().viewer.ok("/insights.v1.InsightsService/Query", {
        **trend()["insight"], "timeRange": MAY, "granularity": "GRANULARITY_DAY"}, project=p.id)})
    assert set(two) == {"tile"} and total(three) == 1
    # The granularity of the request comes before that of the dashboard.
    hours = board.render(timeRange=MAY, granularity="GRANULARITY_HOUR")["tiles"][0]
    assert points(hours) == {"2026-05-01T19:30:00Z": 3.0, "2026-05-02T11:30:00Z": 1.0}, hours
    # Also at the released path, and by GET; an empty dashboard is one, too.
    assert board.render(base=RELEASED, timeRange=MAY) == got
    status, answer, _ = P.call(
        BOARDS + "QueryDashboard?connect=v1&encoding=json&message=" + "%7B%22dashboardId%22%3A%22"
        + p.make().id + "%22%7D", method="GET", token=team().viewer.token, project=p.id)
    assert status == 200 and "tiles" not in answer["dashboard"], answer


def test_render_refuses(_):
    board = project().make()
    for bad in ({}, {"dashboardId": ""}, {"dashboardId": board.id, "granularity": 9},
                {"dashboardId": board.id, "timeRange": {"from": MAY["to"], "to": MAY["from"]}},
                {"dashboardId": board.id, "timeRange": {"from": MAY["from"]}}):
        board.project.fails(400, "INVALID_ARGUMENT", "QueryDashboard", bad)
    answer = board.project.fails(404, "DASHBOARD_NOT_FOUND", "QueryDashboard", {"dashboardId": XID})
    assert answer["message"].startswith("dashboard_id: "), answer


def test_tiles_fail_alone(_):
    p = project().events(("view", "u", "2026-05-01T20:00:00Z"))
    board = p.make()
    empty = {"insight": {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION",
                                  "events": [{"event": {"kind": "view"}}, {"event": {}}]}}}
    tiles = board.put({**count(), "displayName": "good"}, {**empty, "displayName": "late"}, text(),
                      {**count(), "displayName": "broken", "viewMode": "DASHBOARD_TILE_VIEW_MODE_KPI"},
                      {**trend(), "displayName": "trend"})["tiles"]
    P.psql(f"UPDATE pugd.dashboard_tiles SET body = '\\xff' WHERE id = '{tiles[3]['id']}'")
    P.psql("UPDATE pugd.dashboard_tiles SET body = body || '\\x2a00' "  # an insight without a query
           f"WHERE id = '{tiles[4]['id']}'")
    good, late, plain, broken, _ = board.render(timeRange=MAY)["tiles"]
    assert total(good) == 1 and set(plain) == {"tile"}
    assert set(late) == {"tile", "errorMessage"} and "event" in late["errorMessage"], late
    assert broken["errorMessage"] == "the stored tile cannot be read", broken
    assert broken["tile"] == without(tiles[3], "insight") | {
        "viewMode": "DASHBOARD_TILE_VIEW_MODE_UNSPECIFIED"}, broken
    # The cap of a window is each tile's affair: the call succeeds, whatever tiles say.
    board.put({**count(), "displayName": "good"}, text())
    wide = {"from": "2026-01-01T00:00:00Z", "to": "2026-05-03T00:00:00Z"}
    tile, plain = board.render(timeRange=wide, granularity="GRANULARITY_MINUTE")["tiles"]
    assert "time_range" in tile["errorMessage"] and "6 hours" in tile["errorMessage"], tile
    assert set(plain) == {"tile"}
    assert total(board.render(timeRange=wide)["tiles"][0]) == 1
    # A zone that nobody knows any more: the window is that of UTC, tiles say why not.
    P.psql(f"UPDATE pugd.projects SET reporting_timezone = 'Mars/Olympus' WHERE id = '{p.id}'")
    tile, plain = board.render()["tiles"]
    assert "zone" in tile["errorMessage"] and set(plain) == {"tile"}, tile


def test_many_tiles(_):
    """As many as there may be, each its own question, in their order."""
    p = project().events(*[(f"k{i}", f"u{n}", "2026-05-01T20:00:00Z") for i in range(45) for n in range(i)])
    board = p.make()
    board.put(*[count(f"k{i // 2}") if i % 2 == 0 else text() for i in range(100)])
    got = board.render(timeRange=MAY)["tiles"]
    assert [total(t) for t in got if "result" in t] == list(range(45)) + [0] * 5
    assert [set(t) for t in got] == [{"tile", "result"}, {"tile"}] * 50
    # Many at once, some with tiles that fail before they wait for anything.
    board.put(*[count(f"k{i}") for i in range(20)], *[count("") for _ in range(3)])
    calls = [(BOARDS + "QueryDashboard", {"dashboardId": board.id, "timeRange": MAY},
              {"token": team().viewer.token, "project": p.id}) for _ in range(12)]
    for status, answer in at_once(*calls):
        assert status == 200, answer
        assert [total(t) for t in answer["dashboard"]["tiles"][:20]] == list(range(20)), answer


# A lock that no scan gets past.
LOCK = "BEGIN; LOCK TABLE pugd.inbox IN ACCESS EXCLUSIVE MODE"


def test_the_call_ends_its_tiles(_):
    """Out of time or without a client the whole call is over, and nothing goes on behind it."""
    p = project().events(("view", "u", "2026-05-01T20:00:00Z"))
    board = p.make()
    board.put(*[count() for _ in range(20)], text())
    body = {"dashboardId": board.id, "timeRange": MAY}
    who = {"token": team().viewer.token, "project": p.id}
    queue = lambda: sum(w["in_flight"] for w in P.admin()["workers"] if w["role"] == "worker")
    with database() as db:
        db.query(LOCK)
        start = time.monotonic()
        fails(504, "DEADLINE_EXCEEDED", BOARDS + "QueryDashboard", body, **who,
              headers={"connect-timeout-ms": "700"})
        assert 0.6 < time.monotonic() - start < 5
        name = f"gone-{uuid.uuid4().hex}"
        conn = P.connect(timeout=0.5)
        try:
            P.call(BOARDS + "QueryDashboard", body, **who, conn=conn, headers={"x-request-id": name})
            raise AssertionError("the lock was not waited for")
        except TimeoutError:
            conn.close()
        until(lambda: any(name in line and "canceled" in line for line in P.log().splitlines()), 10)
        until(lambda: queue() == 0, 10)
    assert total(board.render(timeRange=MAY)["tiles"][0]) == 1


def test_the_budget_of_a_tile(variant):
    """A tile that takes too long fails alone; the call has time left."""
    with pug.Pug(variant, options=["insight_timeout=400ms", "workers=1"]) as p:
        kw = {"token": p.sign_in(), "project": p.info["project_id"]}
        board = p.ok(BOARDS + "Create", {"displayName": "x"}, **kw)["dashboard"]["id"]
        p.ok(BOARDS + "Upsert", {"id": board, "displayName": "x", "tiles": [count(), text(), count()]}, **kw)
        body = {"dashboardId": board, "timeRange": MAY}
        with pg.connect(p.info["database_url"]) as db:
            db.query(LOCK)
            got = p.ok(BOARDS + "QueryDashboard", body, **kw)["dashboard"]["tiles"]
        assert [t.get("errorMessage") for t in got] == [
            "the query took longer than its time budget", None,
            "the query took longer than its time budget"], got
        got = p.ok(BOARDS + "QueryDashboard", body, **kw)["dashboard"]["tiles"]
        assert [total(got[0]), total(got[2])] == [0, 0]


def iso(when):
    return when.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def test_presets(_):
    """Days of the project's zone: the first one whole, the last one up to now."""
    for zone in ("Asia/Kolkata", "America/New_York", "UTC"):
        here = zoneinfo.ZoneInfo(zone)
        now = datetime.datetime.now(here)
        if (now + datetime.timedelta(minutes=2)).date() != now.date():
            time.sleep(180)
            now = datetime.datetime.now(here)
        p = project(zone)
        for days, preset in ((7, "LAST_7_DAYS"), (30, "UNSPECIFIED"), (365, "LAST_365_DAYS")):
            first = datetime.datetime.combine(now.date() - datetime.timedelta(days=days - 1),
                                              datetime.time(), here)
            p.events((f"d{days}", "in", iso(first)), (f"d{days}", "in", iso(now)),
                     (f"d{days}", "out", iso(first.astimezone(datetime.timezone.utc)
                                             - datetime.timedelta(milliseconds=1))),
                     (f"d{days}", "out", iso(now + datetime.timedelta(hours=1))))
            board = p.make(defaultTimeRange="TIME_RANGE_PRESET_" + preset)
            board.put(trend(f"d{days}"), defaultTimeRange="TIME_RANGE_PRESET_" + preset)
            got = points(board.render()["tiles"][0])
            assert sum(got.values()) == 2 and min(got) == iso(first).replace(".000Z", "Z"), (zone, got)
        p.events(("h", "in", iso(now - datetime.timedelta(minutes=58))),
                 ("h", "out", iso(now - datetime.timedelta(minutes=61))))
        board = p.make()
        board.put(count("h"), defaultTimeRange="TIME_RANGE_PRESET_LAST_1_HOUR",
                  defaultGranularity="GRANULARITY_MINUTE")
        assert total(board.render()["tiles"][0]) == 1


def test_clock_changes(_):
    """A day of 25 hours is one bucket; 14 such days by the hour are more than a request may ask
    for. (That a preset may, tests/unit/test_preset.c and test_rules.c say, at a fixed clock.)"""
    p = project("America/New_York").events(*[("view", "u", f"2025-11-02T{h:02}:30:00Z") for h in range(24)],
                                           *[("view", "u", f"2025-11-03T{h:02}:30:00Z") for h in range(7)])
    board = p.make()
    board.put(trend())
    days = {"from": "2025-10-26T04:00:00Z", "to": "2025-11-09T05:00:00Z"}
    got = points(board.render(timeRange=days)["tiles"][0])
    assert got == {"2025-11-01T04:00:00Z": 4, "2025-11-02T04:00:00Z": 25, "2025-11-03T05:00:00Z": 2}, got
    tile = board.render(timeRange=days, granularity="GRANULARITY_HOUR")["tiles"][0]
    assert "336 hours" in tile["errorMessage"], tile
    hours = {"from": "2025-11-02T05:00:00Z", "to": "2025-11-02T07:00:00Z"}
    got = points(board.render(timeRange=hours, granularity="GRANULARITY_HOUR")["tiles"][0])
    assert got == {"2025-11-02T05:00:00Z": 1, "2025-11-02T06:00:00Z": 1}, got


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
