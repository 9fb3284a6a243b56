#!/usr/bin/env python3
"""Results of dashboards and their links (insights-dashboards.md 7.4, 7.5, D39): windows, tiles
that fail alone, calls that end, tokens that are turned off and rotated."""
import datetime
import sys
import time
import uuid
import zoneinfo

import pg
import pug
import test_accounts
from boards import BOARDS, RELEASED, SHARED, XID, project, team, text, trend, without
from people import Later, at_once, database, until
from test_accounts import PROJECTS, fails

P = None


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
    board.put(count(), *[count(f"k{i}") for i in range(19)], text())  # equal ones would share a scan
    body = {"dashboardId": board.id, "timeRange": MAY}
    who = {"token": team().viewer.token, "project": p.id}
    queue = lambda: sum(w["in_flight"] for w in P.admin()["workers"] if w["role"] == "worker")
    held = ("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND application_name = 'pugd' AND query LIKE '%retention_floor%'")  # a scan, not the keeper's sealing
    with database() as db, database() as look:
        db.query(LOCK)
        start = time.monotonic()
        fails(504, "DEADLINE_EXCEEDED", BOARDS + "QueryDashboard", body, **who,
              headers={"connect-timeout-ms": "700"})
        assert 0.6 < time.monotonic() - start < 5
        until(lambda: look.one(held) == "0")
        # Tiles of one call, which is on one worker, wait beside each other.
        later = Later(BOARDS + "QueryDashboard", body, **who, headers={"connect-timeout-ms": "1500"})
        until(lambda: look.one(held) == "2")
        assert later.result()[0] == 504
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


# ---- shared -----------------------------------------------------------------------------

def shared(link, **asked):
    return P.ok(SHARED, {"shareId": link, **asked})["dashboard"]


def not_shared(link):
    for path in (SHARED, "/public" + SHARED.replace("/", ".", 1)):
        answer = fails(404, "DASHBOARD_NOT_FOUND", path, {"shareId": link})
        assert answer["message"].startswith("share_id: ") and link not in answer["message"], answer


def test_sharing(_):
    p = project("Asia/Kolkata").events(("view", "u1", "2026-05-01T20:00:00Z"))
    board = p.make()
    tiles = board.put({**trend(), "displayName": "t"}, text())["tiles"]
    assert "shareId" not in board.get() and "shareId" not in board.update(description="x")
    on = board.update(isPublic=True)
    link = on["shareId"]
    assert len(link) == 64 and set(link) <= set("0123456789abcdef"), link
    assert on == board.get() == p.listed()[0] and p.ok("Get", {"id": board.id}, team().viewer)[
        "dashboard"]["shareId"] == link
    assert "shareId" not in board.put(*tiles, description="x"), "not in answers of Upsert"
    # The same as QueryDashboard, without a credential, and in the zone of the project.
    got = shared(link, timeRange=MAY)
    assert got == board.render(timeRange=MAY) and "projectId" not in got and "shareId" not in got
    assert points(got["tiles"][0]) == {"2026-05-01T18:30:00Z": 1.0}
    assert points(shared(link, timeRange=MAY, granularity="GRANULARITY_HOUR")["tiles"][0]) == {
        "2026-05-01T19:30:00Z": 1.0}
    assert len(shared(link)["tiles"]) == 2
    # A credential that is sent, of whomever, changes nothing.
    for kw in ({"token": "junk"}, {"token": team().stranger.token}, {"key": "prv_" + "0" * 40},
               {"token": team().viewer.token, "project": project().id}):
        assert P.ok(SHARED, {"shareId": link, "timeRange": MAY}, **kw)["dashboard"] == got
    # An unset is_public leaves it; off and on again, the link is the same one.
    assert board.update()["shareId"] == link
    off = board.update(isPublic=False)
    assert "shareId" not in off and "shareId" not in board.get()
    not_shared(link)
    assert board.update(isPublic=True)["shareId"] == link and shared(link)
    # Nothing of it is in the database but a hash and what only the credential file opens.
    with database() as db:
        stored, = db.query("SELECT s::text FROM pugd.dashboard_shares s "
                           f"WHERE dashboard = '{board.id}'")
        assert link not in stored[0] and link.encode().hex() not in stored[0]
    p.ok("Delete", {"id": board.id})
    not_shared(link)


def test_a_link_that_was_never_on(_):
    board = project().make()
    off = board.update(isPublic=False)
    assert "shareId" not in off
    with database() as db:
        where = f"FROM pugd.dashboard_shares WHERE dashboard = '{board.id}'"
        first = db.one("SELECT hash " + where)
        assert db.one("SELECT enabled " + where) == "f"
        assert board.update(isPublic=True)["shareId"] and db.one("SELECT hash " + where) == first


def test_rotating_a_link(_):
    p = project()
    board, other = p.make(), p.make()
    kept = other.update(isPublic=True)["shareId"]
    first = board.update(isPublic=True)["shareId"]
    second = board.update(rotateShare=True)["shareId"]
    assert first != second and len(second) == 64
    not_shared(first)
    assert shared(second)["id"] == board.id and shared(kept)["id"] == other.id
    # Rotated while it is off, it stays off; turned on at the same time, only the new one works.
    assert "shareId" not in board.update(isPublic=False)
    assert "shareId" not in board.update(rotateShare=True)
    not_shared(second)
    third = board.update(isPublic=True, rotateShare=True)["shareId"]
    assert third not in (first, second) and shared(third)["id"] == board.id
    assert board.update(rotateShare=False)["shareId"] == third
    # A dashboard that was never shared is not shared by this.
    assert "shareId" not in p.make().update(rotateShare=True)
    # Nobody but members may.
    for change in ({"rotateShare": True}, {"isPublic": False}):
        p.fails(403, "ORG_ROLE_FORBIDDEN", "Update", {"id": board.id, "displayName": "x", **change},
                team().viewer)
    assert shared(third)["displayName"] == "Board"


def test_a_link_to_nothing(_):
    p = project()
    board = p.make()
    link = board.update(isPublic=True)["shareId"]
    for wrong in ("0" * 64, link.upper(), link[:-1], link + "0", board.id, "x" * 100000):
        not_shared(wrong)
    for bad in ({}, {"shareId": ""}, {"shareId": link, "granularity": 9},
                {"shareId": link, "timeRange": {"from": MAY["to"], "to": MAY["from"]}}):
        fails(400, "INVALID_ARGUMENT", SHARED, bad)
    # Of a deleted project nothing is shared any more.
    team().admin.ok(PROJECTS + "Delete", project=p.id)
    not_shared(link)


def test_tiles_fail_alone_in_public(_):
    p = project().events(("view", "u", "2026-05-01T20:00:00Z"))
    board = p.make()
    board.put(count(), count(), text())
    link = board.update(isPublic=True)["shareId"]
    P.psql(f"UPDATE pugd.dashboard_tiles SET body = '\\xff' WHERE id = '{board.get()['tiles'][0]['id']}'")
    bad, good, plain = shared(link, timeRange=MAY)["tiles"]
    assert bad["errorMessage"] == "the stored tile cannot be read" and total(good) == 1
    assert set(plain) == {"tile"}
    minutes = shared(link, granularity="GRANULARITY_MINUTE")["tiles"][1]
    assert "6 hours" in minutes["errorMessage"], minutes


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
