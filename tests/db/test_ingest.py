"""Events in, insights and feeds out, through a whole pugd: exactly once, group commit,
missing partitions, deleted projects, people, pages."""
import base64
import concurrent.futures
import json
import os
import socket
import sys
import time
import types
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST = "/activity.v1.ActivityService/List"


def account(p):
    """A new account: (token, project id, private key, internal number)."""
    mail = f"t{uuid.uuid4().hex}@example.com"
    token = p.ok("/auth.v1.AuthService/SignUp", {"email": mail, "password": "correct horse"})["token"]
    org = p.ok("/orgs.v1.OrgsService/List", {}, token=token)["orgs"][0]["id"]
    project = p.ok("/projects.v1.ProjectsService/List", {"orgId": org}, token=token)["projects"][0]["id"]
    key = p.ok("/projects.v1.ProjectsService/CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE", "displayName": "t"},
               token=token, project=project)["key"]
    num = p.psql(f"SELECT num FROM pugd.projects WHERE id = '{project}'")[0][0]
    return token, project, key, num


def reason(body):
    """Of the error's ErrorInfo: its first field."""
    raw = base64.b64decode(body["details"][0]["value"] + "==")
    return raw[2:2 + raw[1]].decode()


def event(kind="view", who="u", when="2024-01-01T10:00:00Z"):
    return {"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": who, "occurTime": when}


def trend(p, key, events, frm="2024-01-01T00:00:00Z", to="2024-01-05T00:00:00Z", **spec):
    answer = p.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": events, **spec},
                          "timeRange": {"from": frm, "to": to}, "granularity": "GRANULARITY_DAY"}, key=key)
    return [(s["eventKind"], s.get("breakdown"), [(x["time"][:10], x["value"]) for x in s["points"]])
            for s in answer["trends"].get("series", [])]


def test_events_come_back(p):
    token, project, key, _ = account(p)
    events = [event("view", "u1"), event("view", "u1", "2024-01-01T11:00:00.123Z"),
              event("view", "u2", "2024-01-01T12:00:00Z"), event("view", "u3", "2024-01-02T09:00:00Z")]
    got = p.ok(BATCH, {"events": events}, key=key)
    assert got == {"accepted": 4, "dropped": 0, "eventsCreated": 4}, got
    got = p.ok(BATCH, {"events": events + [event("buy", "u1", "2024-01-01T11:30:00Z")]}, key=key)
    assert got == {"accepted": 5, "dropped": 0, "eventsCreated": 1}, got
    assert p.ok(BATCH, {"events": []}, key=key) == {"accepted": 0, "dropped": 0, "eventsCreated": 0}
    view = {"event": {"kind": "view"}}
    assert trend(p, key, [view]) == [("view", None, [("2024-01-01", 3), ("2024-01-02", 1)])]
    # the same question with a session, and a project's zone
    answer = p.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION",
                                   "events": [{"event": {"kind": "view"},
                                               "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]},
                          "timeRange": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-05T00:00:00Z"},
                          "granularity": "GRANULARITY_DAY"}, token=token, project=project)
    assert answer == {"segmentation": {"total": 3}}, answer
    p.ok("/projects.v1.ProjectsService/Update", {"reportingTimezone": "Asia/Kolkata"}, token=token, project=project)
    end = time.monotonic() + 5
    while True:
        got = trend(p, key, [view])
        if got == [("view", None, [("2023-12-31", 3), ("2024-01-01", 1)])] or time.monotonic() > end:
            break
        time.sleep(0.1)
    assert got == [("view", None, [("2023-12-31", 3), ("2024-01-01", 1)])], got


def test_plain_spelling_and_minted_ids(p):
    _, _, key, _ = account(p)
    got = p.ok(BATCH, {"events": [{"name": "signup", "distinctId": "u", "properties":
                                   {"plan": "pro", "n": 5, "x": 1.5, "ok": True, "none": None,
                                    "$browser": "Chrome", "$ip": "10.0.0.1"}},
                                  {"kind": "c", "cookieless": True, "eventId": str(uuid.uuid4()),
                                   "occurTime": "2024-01-01T00:00:00Z"}]}, key=key,
               headers={"user-agent": "x"})
    assert got == {"accepted": 1, "dropped": 1, "droppedByReason": {"day_out_of_range": 1},
                   "eventsCreated": 1}, got
    events = p.ok(LIST, {}, key=key)["events"]
    assert len(events) == 1
    assert events[0]["autoProperties"] == {"$browser": "Chrome"}, events
    assert events[0]["customProperties"] == {"plan": "pro", "n": 5, "x": 1.5, "ok": True}
    assert events[0]["sessionId"] == "00000000-0000-0000-0000-000000000000"
    assert uuid.UUID(events[0]["eventId"]).version == 7


def test_concurrent_resends_store_once(p):
    _, _, key, num = account(p)
    batches = [[event("k", f"u{i}", f"2024-02-{1 + i % 28:02}T00:00:00Z") for i in range(b, b + 20)]
               for b in range(0, 200, 20)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(p.ok, BATCH, {"events": b[::-1] if n % 2 else b}, key=key)
                for n in range(8) for b in batches]
        answers = [j.result() for j in jobs]
    assert all(a["accepted"] == 20 for a in answers)
    assert sum(a["eventsCreated"] for a in answers) == 200
    assert p.psql(f"SELECT sum(stored), count(*) FROM pugd.inbox WHERE project = {num}")[0][0] == "200"
    assert p.psql(f"SELECT count(*) FROM pugd.event_seen WHERE project = {num}")[0][0] == "200"
    got = trend(p, key, [{"event": {"kind": "k"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}],
                "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")
    assert sum(v for _, v in got[0][2]) == 200, got


def test_missing_partitions_are_made(p):
    _, _, key, _ = account(p)
    day = p.psql("SELECT ((now() AT TIME ZONE 'UTC')::date - 2)::text")[0][0]
    p.psql(f"DROP TABLE pugd.event_seen_{day.replace('-', '')}")
    events = [event("k", "u", day + "T10:00:00Z"), event("k", "u", "2003-05-05T10:00:00Z")]
    assert p.ok(BATCH, {"events": events}, key=key)["eventsCreated"] == 2
    assert p.ok(BATCH, {"events": events}, key=key)["eventsCreated"] == 0


def test_dead_project(p):
    _, _, key, num = account(p)
    other = account(p)[2]
    p.ok(BATCH, {"events": [event()]}, key=key)
    p.psql(f"UPDATE pugd.projects SET deleted_at = now() WHERE num = {num}")
    status, body, _ = p.call(BATCH, {"events": [event()]}, key=key)
    assert status in (401, 403), (status, body)
    assert p.ok(BATCH, {"events": [event()]}, key=other)["eventsCreated"] == 1
    assert p.psql(f"SELECT sum(stored) FROM pugd.inbox WHERE project = {num}")[0][0] == "1"


def test_only_the_culprit_fails(p):
    """A group commit that fails is repeated project by project (D91)."""
    bad, good = account(p), account(p)
    p.psql(f"""CREATE FUNCTION pugd.test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN RAISE EXCEPTION 'refused'; END $$;
               CREATE TRIGGER test_refuse BEFORE INSERT ON pugd.inbox FOR EACH ROW
               WHEN (NEW.project = {bad[3]}) EXECUTE FUNCTION pugd.test_refuse()""")
    try:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            jobs = [pool.submit(p.call, BATCH, {"events": [event("k", f"u{i}")]}, key=(bad, good)[i % 2][2])
                    for i in range(120)]
            answers = [j.result() for j in jobs]
        assert all(status == 200 for status, _, _ in answers[1::2]), answers[1::2]
        assert all(status == 500 for status, _, _ in answers[0::2]), answers[0::2]
    finally:
        p.psql("DROP TRIGGER test_refuse ON pugd.inbox; DROP FUNCTION pugd.test_refuse()")
    assert p.psql(f"SELECT sum(stored) FROM pugd.inbox WHERE project = {good[3]}")[0][0] == "60"
    assert p.psql(f"SELECT count(*) FROM pugd.event_seen WHERE project = {bad[3]}")[0][0] == "0"


def test_who_an_id_is(p):
    """The order of D60, with ids that could mean two people."""
    _, _, key, num = account(p)
    a, b, c = (f"0000000000000000000{x}" for x in "abc")
    p.psql(f"""INSERT INTO pugd.profiles (project, id, external_id) VALUES
               ({num}, '{a}', 'ea'), ({num}, '{b}', '{a}'), ({num}, '{c}', 'x');
               INSERT INTO pugd.aliases (project, alias_id, profile_id)
               VALUES ({num}, 'x', '{b}'), ({num}, '{b}', '{c}')""")
    who = {a: a, b: b, "ea": a, "x": b, "new": "new", c: c}
    p.ok(BATCH, {"events": [event("k", i) for i in who]}, key=key)
    for person in (a, b, c, "new"):
        got = {e["distinctId"] for e in p.ok(LIST, {"distinctId": person}, key=key)["events"]}
        assert got == {i for i, w in who.items() if w == person}, (person, got)


def test_people(p):
    _, _, key, num = account(p)
    p.psql(f"""INSERT INTO pugd.profiles (project, id, external_id, properties) VALUES
               ({num}, '0000000000000000000p', 'ext1', '{{"plan": "gold", "a": {{"b": 1.50}}}}'),
               ({num}, '0000000000000000000q', 'ext2', '{{"plan": "silver", "tags": ["x"]}}');
               INSERT INTO pugd.aliases (project, alias_id, profile_id)
               VALUES ({num}, 'anon7', '0000000000000000000p')""")
    who = ["0000000000000000000p"] * 2 + ["anon7", "ext1", "0000000000000000000q", "z"]
    p.ok(BATCH, {"events": [event("v", w, f"2024-01-01T10:00:0{i}Z") for i, w in enumerate(who)]}, key=key)
    v = {"event": {"kind": "v"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}
    assert trend(p, key, [v]) == [("v", None, [("2024-01-01", 3)])]

    def count(prop, op, **kw):
        f = {"property": prop, "operator": "FILTER_OPERATOR_" + op, "source": "PROPERTY_SOURCE_PROFILE", **kw}
        got = trend(p, key, [{"event": {"kind": "v", "filters": [f]}}])
        return got[0][2][0][1] if got else 0
    assert count("plan", "EQUALS", value="gold") == 4
    assert count("plan", "NOT_EQUALS", value="gold") == 2
    assert count("a.b", "EQUALS", value="1.5") == 4
    assert count("a.b", "GT", value="1") == 4
    assert count("a", "IS_SET") == 0
    assert count("plan", "IS_NOT_SET") == 1
    for person in ("0000000000000000000p", "anon7", "ext1"):
        assert len(p.ok(LIST, {"distinctId": person}, key=key)["events"]) == 4
    assert len(p.ok(LIST, {"distinctId": "z"}, key=key)["events"]) == 1
    assert p.ok(LIST, {"distinctId": "nobody"}, key=key) == {}


def test_how_events_look(p):
    _, _, key, _ = account(p)
    session = str(uuid.uuid4())
    e = dict(event("k", "u", "2024-01-01T10:00:00.5Z"), sessionId=session.upper(), autoProperties={
        "$country": {"stringValue": "DE"}, "$city": {"stringValue": ""}, "$os": {"intValue": "7"},
        "$mobile": {"boolValue": True}, "$screenWidth": {"intValue": "1920"}, "$bot_score": {"intValue": "9"},
        "$region": {"timestampValue": "2024-01-01T00:00:00.120Z"}},
        customProperties={"when": {"timestampValue": "2024-01-01T00:00:00Z"}, "empty": {"stringValue": ""},
                          "n": {"doubleValue": 1.5}, "yes": {"boolValue": False}})
    off = dict(event("k", "v", "2024-01-01T09:00:00Z"), sessionId=str(uuid.uuid4()),
               autoProperties={"$mobile": {"boolValue": False}})
    p.ok(BATCH, {"events": [e, off]}, key=key)
    got = p.ok(LIST, {}, key=key)["events"]
    assert got[0] == {
        "eventId": e["eventId"], "kind": "k", "distinctId": "u", "occurTime": "2024-01-01T10:00:00.500Z",
        "sessionId": session,
        "autoProperties": {"$country": "DE", "$os": "7", "$mobile": "true", "$screenWidth": 1920,
                           "$region": "2024-01-01T00:00:00.12Z"},
        "customProperties": {"when": "2024-01-01T00:00:00Z", "empty": "", "n": 1.5, "yes": False}}, got[0]
    assert got[1]["autoProperties"] == {} == got[1]["customProperties"]
    assert len(p.ok(LIST, {"sessionId": session}, key=key)["events"]) == 1
    assert len(p.ok(LIST, {"kind": "k", "events": [{"kind": "x"}, {"kind": "k"}]}, key=key)["events"]) == 2
    assert p.ok(LIST, {"kind": "x"}, key=key) == {}
    assert len(p.ok(LIST, {"propertyFilters": [{"property": "$os", "operator": "FILTER_OPERATOR_EQUALS",
                                                "value": "7"}]}, key=key)["events"]) == 1


def test_more_keys_than_columns(p):
    _, _, key, _ = account(p)
    events = [dict(event("k", "u", f"2024-01-01T10:00:{i:02}Z"),
                   customProperties={f"key{i}_{k}": {"intValue": k} for k in range(250)}) for i in range(30)]
    p.ok(BATCH, {"events": events}, key=key)
    got = p.ok(LIST, {}, key=key)["events"]
    assert [len(e["customProperties"]) for e in got] == [250] * 30
    assert got[0]["customProperties"]["key29_249"] == 249


def test_pages(p):
    _, _, key, _ = account(p)
    events = [event("k", "u", f"2024-01-0{1 + i % 3}T10:00:00Z") for i in range(40)]
    for i in range(0, 40, 7):
        p.ok(BATCH, {"events": events[i:i + 7]}, key=key)
    expected = [e["eventId"] for e in sorted(events, key=lambda e: (e["occurTime"], e["eventId"]), reverse=True)]
    got, token, pages = [], None, 0
    while True:
        page = p.ok(LIST, {"pageSize": 8, **({"pageToken": token} if token else {})}, key=key)
        got += [e["eventId"] for e in page["events"]]
        token, pages = page.get("nextPageToken"), pages + 1
        if not token:
            break
    assert got == expected and pages == 5
    first = p.ok(LIST, {"pageSize": 8}, key=key)["nextPageToken"]
    bad = first[:-2] + ("AA" if first[-2:] != "AA" else "BB")
    for token in (bad, "x", first + "A"):
        status, body, _ = p.call(LIST, {"pageToken": token}, key=key)
        assert status == 400, body
    status, body, _ = p.call(LIST, {"pageToken": first}, key=account(p)[2])
    assert status == 400 and reason(body) == "INVALID_PAGE_TOKEN", body
    assert len(p.ok(LIST, {"timeRange": {"from": "2024-01-02T00:00:00Z", "to": "2024-01-03T00:00:00Z"}},
                    key=key)["events"]) == 13
    status, body, _ = p.call(LIST, {"sessionId": "x"}, key=key)
    assert status == 400, body


def test_a_database_that_is_away(p):
    _, _, key, _ = account(p)
    p.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name LIKE 'pugd%'")
    end = time.monotonic() + 10
    while True:
        status, body, _ = p.call(BATCH, {"events": [event()]}, key=key)
        if status == 200 or time.monotonic() > end:
            break
        assert body["code"] == "unavailable", body
    assert status == 200
    assert trend(p, key, [])[0][0] == "view"


def budget(p):
    """Small budgets end queries cleanly, and the server goes on."""
    _, _, key, _ = account(p)
    for _ in range(60):
        p.ok(BATCH, {"events": [event("k", f"{uuid.uuid4()}") for _ in range(1000)]}, key=key)
    users = {"insightType": "INSIGHT_TYPE_TRENDS", "events": [
        {"event": {"kind": "k"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]}
    window = {"timeRange": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-05T00:00:00Z"},
              "granularity": "GRANULARITY_DAY"}
    status, body, _ = p.call(QUERY, {"spec": users, **window}, key=key)
    assert status == 429 and body["code"] == "resource_exhausted", body
    p.psql("ALTER TABLE pugd.inbox RENAME TO inbox2; CREATE VIEW pugd.inbox AS SELECT i.* FROM pugd.inbox2 i, "
           "LATERAL (SELECT pg_sleep(0.5)) s")
    begin = time.monotonic()
    status, body, _ = p.call(QUERY, {"spec": users, **window}, key=key)
    assert body["code"] == "deadline_exceeded" and time.monotonic() - begin < 3, body
    left = p.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%retention_floor%' AND state = 'active' "
                  "AND pid <> pg_backend_pid()")
    assert left == [["0"]], left
    # a client that goes away takes its query with it (the keeper's sealing looks there, too)
    conn = p.connect()
    conn.request("POST", QUERY, json.dumps({"spec": users, **window}),
                 {"content-type": "application/json", "x-api-key": key})
    time.sleep(0.15)
    conn.close()
    end = time.monotonic() + 0.8
    while p.psql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep' "
                 "AND query LIKE '%retention_floor%'") != [["0"]]:
        assert time.monotonic() < end, "still running"
        time.sleep(0.02)
    # one that has only sent all it had to say still wants the answer
    text = json.dumps({"spec": users, **window}).encode()
    with socket.create_connection((p.host, p.port), timeout=10) as s:
        s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Api-Key: %s\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (QUERY.encode(), key.encode(), len(text), text))
        s.shutdown(socket.SHUT_WR)
        raw = b""
        while piece := s.recv(65536):
            raw += piece
    heads = [line for line in raw.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert [h.split()[1] for h in heads] in ([b"100", b"504"], [b"504"]), raw
    status, body, _ = p.call(QUERY, {"spec": users, **window}, key=key, headers={"connect-timeout-ms": "300"})
    assert body["code"] == "deadline_exceeded", body
    p.psql("DROP VIEW pugd.inbox; ALTER TABLE pugd.inbox2 RENAME TO inbox")
    assert len(p.ok(LIST, {"pageSize": 3}, key=key)["events"]) == 3


def standstill(p):
    """A PostgreSQL that is there but stands still: a scan ends in its time all the same."""
    _, _, key, _ = account(p)
    for _ in range(6):
        p.ok(BATCH, {"events": [event("k", f"{uuid.uuid4()}") for _ in range(10)]}, key=key)
    spec = {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [{"event": {"kind": "k"}}]},
            "timeRange": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-05T00:00:00Z"},
            "granularity": "GRANULARITY_DAY"}
    assert p.call(QUERY, spec, key=key)[0] == 200
    p.psql("ALTER TABLE pugd.inbox RENAME TO inbox2; CREATE VIEW pugd.inbox AS SELECT i.* FROM pugd.inbox2 i, "
           "LATERAL (SELECT pg_sleep(0.4)) s")
    with open(os.path.join(p.psql("SHOW data_directory")[0][0], "postmaster.pid"), encoding="ascii") as f:
        server = pg.Postgres.__new__(pg.Postgres)
        server.proc = types.SimpleNamespace(pid=int(f.readline()))
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            job = pool.submit(p.call, QUERY, spec, key=key)
            time.sleep(0.5)
            server.pause()
            begin = time.monotonic()
            try:
                status, body, _ = job.result(6)
            finally:
                server.pause(False)
            assert status == 504 and body["code"] == "deadline_exceeded", (status, body)
            assert time.monotonic() - begin < 5
    finally:
        server.pause(False)
    p.psql("DROP VIEW pugd.inbox; ALTER TABLE pugd.inbox2 RENAME TO inbox")
    end = time.monotonic() + 15
    while p.call(QUERY, spec, key=key)[0] != 200:
        assert time.monotonic() < end, "does not come back"
        time.sleep(0.1)


def test_standstill(variant):
    with pug.Pug(variant=variant, options=["insight_timeout=1s", "workers=1", "insight_threads=1"]) as p:
        standstill(p)


def test_budgets(variant):
    with pug.Pug(variant=variant, options=["insight_memory=1M", "insight_timeout=1s"]) as p:
        budget(p)


def impatient(p):
    """Nobody waits for a group commit beyond the own deadline, nor for every repetition of one."""
    bad, others = account(p), [account(p) for _ in range(6)]

    def send(key, **kw):
        begin = time.monotonic()
        status, body, _ = p.call(BATCH, {"events": [event("k", f"u{i}") for i in range(3)]}, key=key, **kw)
        return status, body, time.monotonic() - begin
    for a in [bad] + others:
        assert send(a[2])[0] == 200
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        lock = pool.submit(p.psql, "BEGIN; LOCK TABLE pugd.inbox IN EXCLUSIVE MODE; SELECT pg_sleep(1.8); COMMIT")
        while p.psql("SELECT count(*) FROM pg_locks WHERE relation = 'pugd.inbox'::regclass AND "
                     "mode = 'ExclusiveLock' AND granted") == [["0"]]:
            time.sleep(0.02)
        # the first is in the commit, the others wait for the next one
        patient = pool.submit(send, others[0][2])
        hasty = [pool.submit(send, a[2], headers={"connect-timeout-ms": "500"}) for a in others[:3] * 2]
        for status, body, took in (j.result() for j in hasty):
            assert status == 504 and body["code"] == "deadline_exceeded" and took < 1.3, (status, body, took)
        assert patient.result()[0] == 200
        lock.result()
    p.psql(f"""CREATE FUNCTION pugd.test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN IF NEW.project = {bad[3]} THEN RAISE EXCEPTION 'refused'; END IF;
               PERFORM pg_sleep(30); RETURN NEW; END $$;
               CREATE TRIGGER test_refuse BEFORE INSERT ON pugd.inbox FOR EACH ROW
               WHEN (NEW.project <> {others[0][3]}) EXECUTE FUNCTION pugd.test_refuse()""")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        lock = pool.submit(p.psql, "BEGIN; LOCK TABLE pugd.inbox IN EXCLUSIVE MODE; SELECT pg_sleep(1); COMMIT")
        time.sleep(0.4)
        first = pool.submit(send, others[0][2])
        time.sleep(0.2)
        jobs = [pool.submit(send, a[2]) for a in [bad] + others[1:]]
        assert first.result()[0] == 200
        answers = [j.result() for j in jobs]
        lock.result()
    p.psql("DROP TRIGGER test_refuse ON pugd.inbox; DROP FUNCTION pugd.test_refuse()")
    assert answers[0][0] == 500, answers[0]
    for status, body, took in answers[1:]:
        # one db_timeout in the only repetition, not five in a row
        assert status == 503 and body["code"] == "unavailable" and took < 6, (status, body, took)
    assert send(bad[2])[0] == 200


def test_impatient(variant):
    with pug.Pug(variant=variant, options=["db_timeout=2s", "workers=1", "db_ingest=1"]) as p:
        impatient(p)


def main():
    alone = [("test_budgets", test_budgets), ("test_impatient", test_impatient),
             ("test_standstill", test_standstill)]
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and f not in dict(alone).values()]
    with pug.Pug(variant="asan" if "asan" in sys.argv else "test") as p:
        return pug.main([(n, lambda _, f=f: f(p)) for n, f in tests] + alone,
                        expects=("query=events_store sqlstate=P0001 ",))


if __name__ == "__main__":
    sys.exit(main())
