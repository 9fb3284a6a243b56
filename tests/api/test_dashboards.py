#!/usr/bin/env python3
"""Dashboards (insights-dashboards.md 7.2, 7.3, D39): kept and reconciled, by what the answers
mean. Their results and links: test_board_query.py."""
import sys

import pug
import protos
import test_accounts
from boards import BOARDS, Board, DEFAULTS, RELEASED, XID, names, project, team, text, trend, without
from people import at_once, database
from test_accounts import PROJECTS, fails

P = None


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


def test_a_project_has_no_more_than_list_can_show(_):
    p = project()
    with database() as db:
        num = db.one("SELECT num FROM pugd.projects WHERE id = $1", p.id)
        db.query("INSERT INTO pugd.dashboards (id, project, display_name, time_range, granularity) "
                 "SELECT lpad(n::text, 20, '0'), $1, 'x', 1, 1 FROM generate_series(1, 999) n", num)
    last = p.make()
    answer = p.fails(429, "RESOURCE_EXHAUSTED", "Create", {"displayName": "one more"})
    assert answer["message"].startswith("display_name: ") and "1000" in answer["message"], answer
    assert len(p.listed()) == 1000 and len(last.put(text())["tiles"]) == 1
    p.ok("Delete", {"id": last.id})
    p.make()


def test_large_dashboards(_):
    """Whatever is accepted can be listed: plain texts, those that grow as JSON, and questions."""
    filters = [{"property": "a", "operator": "FILTER_OPERATOR_IN", "values": [""] * 50}] * 20
    groups = {"filterGroups": [{"filters": filters}] * 20}
    cases = ([text("x" * 90000)] * 40, 2), ([text("\1" * 90000)] * 7, 2), ([trend(**groups)] * 10, 1)
    for tiles, least in () if P.slow else cases:  # sanitizers take longer for a call than a loop may stand still
        p, n = project(), 0
        while n < 30:
            status, answer, _ = P.call(BOARDS + "Upsert", p.make().request(*tiles), token=team().member.token, project=p.id)
            if status != 200:
                break
            n += 1
        assert status == 429, (n, status)
        assert answer["code"] == "resource_exhausted" and answer["message"].startswith("tiles: "), answer
        listed = p.listed()
        assert n >= least and [len(d.get("tiles", [])) for d in listed] == [len(tiles)] * n + [0], n
        print(f"{n} dashboards of {len(tiles)} tiles")
        # There is a way back, and small changes are still possible.
        first = Board(p, listed[0])
        assert len(first.put(*listed[0]["tiles"][1:])["tiles"]) == len(tiles) - 1
        assert first.update(isPublic=True)["shareId"]
        first.put(text())


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


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests, expects=("stored tile cannot be decoded ",)))
