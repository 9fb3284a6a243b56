#!/usr/bin/env python3
"""pugd explain: what an insight reads, and why it does not read the rest."""
import datetime
import json
import os
import subprocess
import sys
import uuid

import pg
import pug

P = None
QUERY = "/insights.v1.InsightsService/Query"
NOW = datetime.datetime.now(datetime.timezone.utc)
DAYS = 90


def days_ago(n, hour=12):
    """An instant of the UTC day that was n days before today's."""
    day = NOW.replace(hour=hour, minute=0, second=0, microsecond=0) - datetime.timedelta(days=n)
    return day.strftime("%Y-%m-%dT%H:%M:%SZ")


class Project:
    def __init__(self, zone=""):
        made = P.ok("/auth.v1.AuthService/SignUp", {
            "email": f"p-{uuid.uuid4().hex[:12]}@example.com", "password": "correct horse"})
        org = P.ok("/orgs.v1.OrgsService/List", token=made["token"])["orgs"][0]["id"]
        self.id = P.ok("/projects.v1.ProjectsService/Create", {
            "orgId": org, "displayName": uuid.uuid4().hex, "reportingTimezone": zone},
            token=made["token"])["project"]["id"]
        self.key = P.ok("/projects.v1.ProjectsService/CreateApiKey", {
            "kind": "API_KEY_KIND_PRIVATE", "displayName": "k"}, token=made["token"], project=self.id)["key"]

    def send(self, *events):
        """(kind, user, days ago) each."""
        P.ok(pug.BATCH, {"events": [
            {"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": who, "occurTime": days_ago(days),
             "sessionId": str(uuid.UUID(int=0x018f000000007000800000000000000 + days)),
             "customProperties": {"plan": {"stringValue": f"p{days % 3}"}}} for kind, who, days in events]},
            key=self.key)

    def answer(self, body):
        return P.ok(QUERY, body, key=self.key)


def command(*words, stdin=None):
    done = subprocess.run([P.binary, *words, "--config", "/dev/null", "-o", "database_url=" + P.info["database_url"],
                           "-o", "credential_file=" + os.path.join(P.data, "credential"),
                           "-o", "insight_memory=64M"],
                          input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def explain(project, body):
    code, out, err = command("explain", "--project", project.id, "--json", stdin=json.dumps(body))
    assert code == 0, err
    got = json.loads(out)
    for level in ("segments", "inbox"):
        assert got[level]["stored"] == sum(got[level]["pruned"].values()) + got[level]["read"], got
    assert sum(c["stored"] for c in got["columns"]) == got["bytes"]["columns"] <= got["bytes"]["received"], got
    return got


def count(days, kind="view", more=None, last=-1):
    return {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [{"event": {"kind": kind}}], **(more or {})},
            "timeRange": {"from": days_ago(days, 0), "to": days_ago(last, 0)}, "granularity": "GRANULARITY_DAY"}


def names(got):
    return {c["name"] for c in got["columns"] if c["pieces"]}


def sealed_project():
    """A view and a buy a day, sealed, of which a day has one segment each; and three that wait."""
    p = Project()
    p.send(*[(kind, f"u{n}", n) for n in range(DAYS) for kind in ("view", "buy")])
    assert command("seal")[0] == 0
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{p.id}'")[0][0]
    p.rows = P.psql(f"SELECT kind, to_char(day, 'YYYY-MM-DD'), n FROM pugd.segment WHERE project = {num}")
    p.send(("view", "u1", 1), ("view", "u2", 1), ("buy", "u3", 1))
    return p


def test_a_day_reads_less(_):
    p = sealed_project()
    stored = len(p.rows)
    day, all_days = explain(p, count(1, last=0)), explain(p, count(DAYS))
    assert day["segments"]["stored"] == all_days["segments"]["stored"] == stored
    # of yesterday: as many as there are with that day, that may hold views
    want = [r for r in p.rows if r[1] == days_ago(1)[:10] and r[0] in ("", "view")]
    assert day["segments"]["read"] == len(want) < 3, (day, p.rows[:4])
    assert day["segments"]["pruned"]["time"] == len([r for r in p.rows if r[1] != days_ago(1)[:10]])
    assert all_days["segments"]["read"] == len([r for r in p.rows if r[0] in ("", "view")])
    assert all_days["segments"]["pruned"]["time"] == 0
    for part, key in (("bytes", "columns"), ("bytes", "decoded"), ("events", "scanned")):
        assert day[part][key] < all_days[part][key], (part, key, day, all_days)
    # what waits is read, too, and counts
    assert day["inbox"] == all_days["inbox"] == {"stored": 1, "pruned": {"time": 0, "retention": 0}, "read": 1}
    assert day["events"] == {"scanned": sum(int(r[2]) for r in want) + 3, "hidden": 0, "matched": 3}, day
    assert all_days["events"]["matched"] == DAYS + 2
    # what it counts is what the server answers
    assert p.answer(count(1, last=0))["segmentation"]["total"] == day["events"]["matched"]
    assert p.answer(count(DAYS))["segmentation"]["total"] == all_days["events"]["matched"]
    early = explain(p, count(400, last=300))
    assert early["segments"]["read"] == early["inbox"]["read"] == early["events"]["scanned"] == 0
    assert early["segments"]["pruned"]["time"] == stored and early["inbox"]["pruned"]["time"] == 1
    assert early["columns"] == []


def test_columns(_):
    """Those that the question needs, and no others."""
    p = sealed_project()
    assert names(explain(p, count(DAYS))) == {"time", "kind", "(not decoded)"}
    # nothing that waits is as old; days that lie whole in the window say their times themselves
    assert names(explain(p, count(DAYS, last=5))) == {"kind"}
    sealed = {"last": 5}
    users = {"events": [{"event": {"kind": "view"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]}
    assert names(explain(p, count(DAYS, more=users, **sealed))) == {"kind", "distinct_id"}
    plan = {"filterGroups": [{"filters": [{"property": "plan", "operator": "FILTER_OPERATOR_EQUALS", "value": "p1"}]}]}
    got = explain(p, count(DAYS, more=plan, **sealed))
    assert names(got) == {"kind", "plan"}
    assert next(c for c in got["columns"] if c["name"] == "plan")["property"] is True
    assert got["events"]["matched"] == len([n for n in range(6, DAYS) if n % 3 == 1])
    assert got["events"]["matched"] == p.answer(count(DAYS, more=plan, **sealed))["segmentation"]["total"]
    odd = "no.such-key"
    missing = {"filterGroups": [{"filters": [{"property": odd, "operator": "FILTER_OPERATOR_IS_NOT_SET"}]}]}
    got = explain(p, count(DAYS, more=missing, **sealed))
    assert [c for c in got["columns"] if c["property"]] == [
        {"name": odd, "property": True, "pieces": 0, "stored": 0, "decoded": 0}]
    session = {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "session": {"metric": "SESSION_METRIC_SESSIONS"}},
               "timeRange": count(DAYS)["timeRange"], "granularity": "GRANULARITY_DAY"}
    got = explain(p, session)
    assert got["insight"] == "sessions" and "session_id" in names(got)
    assert got["segments"]["pruned"] == {"time": 0, "retention": 0, "kind": 0}, "sessions are read whole"
    # events of one instant are in order within what is sealed; what waits has their ids
    flow = {"spec": {"insightType": "INSIGHT_TYPE_USER_FLOW", "userFlow": {}}, "granularity": "GRANULARITY_DAY"}
    got = explain(p, {**flow, "timeRange": count(DAYS, **sealed)["timeRange"]})
    assert got["runs"] == 1 and names(got) == {"time", "kind", "session_id", "distinct_id"}, got
    got = explain(p, {**flow, "timeRange": count(DAYS)["timeRange"]})
    ids = next(c for c in got["columns"] if c["name"] == "event_id")
    assert got["runs"] == 2 and ids["decoded"] == 16 * (2 * 3 + 2 * DAYS), got


def test_kinds_and_retention(_):
    """Each reason is told apart."""
    p = Project()
    p.send(*[(k, f"u{i}", 3) for k in ("view", "buy") for i in range(500)])
    p.send(*[(k, f"u{i}", 20) for k in ("view", "buy") for i in range(500)])
    assert command("seal")[0] == 0
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{p.id}'")[0][0]
    rows = P.psql(f"SELECT kind, to_char(day, 'YYYY-MM-DD') FROM pugd.segment WHERE project = {num}")
    got = explain(p, count(30, "buy"))
    pruned = len([r for r in rows if r[0] not in ("", "buy")])
    assert got["segments"]["pruned"]["kind"] == pruned > 0, (got, rows)
    assert got["segments"]["read"] == len(rows) - pruned, (got, rows)
    # what a retention hides is there until the keeper comes, who is kept away
    with pg.connect(P.info["database_url"]) as db:
        db.query("BEGIN; LOCK TABLE pugd.segment IN SHARE MODE")
        assert command("retention", "--project", p.id, "--days", "10")[0] == 0
        got = explain(p, count(30, "buy"))
        old = len([r for r in rows if r[1] == days_ago(20)[:10]])
        assert got["segments"]["pruned"] == {"time": 0, "retention": old, "kind": pruned // 2} and old > 0, (got, rows)
        assert got["events"]["matched"] == 500 == p.answer(count(30, "buy"))["segmentation"]["total"]


def test_the_table(_):
    p = sealed_project()
    path = os.path.join(P.data, "query.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(count(DAYS), f)
    code, out, err = command("explain", "--project", p.id, path)
    assert code == 0, err
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert lines["insight"][1] == "segmentation" and lines["zone"][1] == "UTC", out
    assert lines["from"][1] == days_ago(DAYS, 0) and lines["to"][1] == days_ago(-1, 0), out
    assert lines["segments"][1] == str(len(p.rows)) and lines["inbox"][1:] == ["1", "0", "0", "-", "1"], out
    assert lines["events"][-2:] == [str(DAYS + 2), "matched"], out
    stages = ["compile", "connect", "people", "read", "decode", "fold", "finish", "answer"]
    times = [float(lines[s][1]) for s in stages]
    assert all(t >= 0 for t in times) and sum(times) <= float(lines["together"][1]) + 0.01, out
    bars = {s: len(lines[s][2]) if len(lines[s]) > 2 else 0 for s in stages}
    assert max(bars.values()) == 40 and bars[max(stages, key=lambda s: float(lines[s][1]))] == 40, out
    assert all(set(lines[s][2]) == {"#"} for s in stages if bars[s]), out
    assert "of 67108864 bytes" in out and 0 < int(lines["memory"][1]) < 67108864, out


def test_zones(_):
    p = Project("Asia/Kolkata")
    assert explain(p, count(3))["zone"] == "Asia/Kolkata"
    P.psql(f"UPDATE pugd.projects SET reporting_timezone = 'Mars/Olympus' WHERE id = '{p.id}'")
    code, out, err = command("explain", "--project", p.id, stdin=json.dumps(count(3)))
    assert code == 1 and not out and "invalid_argument: " in err and "zone" in err, err


def test_refuses(_):
    """In the server's words, with the field that it names."""
    p = Project()
    good = count(3)
    for bad, field in (({**good, "timeRange": {"from": days_ago(1), "to": days_ago(2)}}, "time_range"),
                       ({**good, "timeRange": {"from": days_ago(1)}}, "time_range"),
                       ({"timeRange": good["timeRange"]}, "spec"),
                       ({**good, "spec": {"insightType": "INSIGHT_TYPE_FUNNEL"}}, "events"),
                       ({**good, "spec": {**good["spec"], "insightType": "NO_SUCH"}}, "spec.insightType"),
                       ({**good, "spec": {**good["spec"], "events": [{"event": {"kind": "a"}}, {"event": {}}]}},
                        "event")):
        status, answer, _ = P.call(QUERY, bad, key=p.key)
        assert status == 400 and field in answer["message"], answer
        code, out, err = command("explain", "--project", p.id, stdin=json.dumps(bad))
        assert code == 1 and not out, (out, err)
        assert err == f"pugd explain: invalid_argument: {answer['message']}\n", (err, answer)
    code, out, err = command("explain", "--project", p.id, stdin="{")
    assert code == 1 and "invalid JSON" in err, err
    code, _, err = command("explain", "--project", "0" * 20, stdin=json.dumps(good))
    assert code == 1 and err == "pugd explain: there is no such project\n", err
    code, _, err = command("explain", "--project", p.id, "/no/such/file")
    assert code == 1 and "/no/such/file" in err, err
    for words in ((), ("--json",), ("--project",), ("--project", p.id, "a", "b"), ("--project", p.id, "--what")):
        code, _, err = command("explain", *words)
        assert code == 2 and "usage: pugd explain" in err, (words, err)


def test_every_insight(_):
    """Each kind runs, and what it reads matches what it was asked."""
    p = sealed_project()
    p.send(*[("view", f"u{i}", 2) for i in range(20)])
    steps = [{"event": {"kind": "view"}}, {"event": {"kind": "buy"}}]
    range_ = count(DAYS)["timeRange"]
    for kind, spec, name in (
            ("TRENDS", {"events": steps[:1], "breakdowns": [{"property": "plan"}]}, "trends"),
            ("FUNNEL", {"events": steps}, "funnel"), ("RETENTION", {"events": steps[:1]}, "retention"),
            ("USER_FLOW", {"userFlow": {}}, "user flow"),
            ("TOP_K", {"topK": {"dimension": "DIMENSION_USER"}}, "top-K"),
            ("TOP_K", {"topK": {"dimension": "DIMENSION_PROPERTY", "property": "plan"}}, "top-K")):
        body = {"spec": {"insightType": "INSIGHT_TYPE_" + kind, **spec}, "timeRange": range_,
                "granularity": "GRANULARITY_DAY"}
        p.answer(body)
        got = explain(p, body)
        assert got["insight"] == name and got["events"]["matched"] >= DAYS, got
        assert 0 < got["memory"]["peak"] < got["memory"]["budget"], got
        assert got["runs"] == 1 + (kind in ("FUNNEL", "USER_FLOW")), got  # what waits ties with what is sealed


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test") as P:
        sys.exit(pug.main(tests, sys.argv[1:]))
