#!/usr/bin/env python3
"""pugd import and pugd export: every event comes out as it went in, and never goes in twice."""
import glob
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import pug

P = None
AUTH, PROJECTS = "/auth.v1.AuthService/", "/projects.v1.ProjectsService/"
ACTIVITY, EVENTS = "/activity.v1.ActivityService/List", "/events.v1.EventsService/BatchCreate"


class Project:
    """A project of its own, of a person who just signed up."""

    def __init__(self):
        made = P.ok(AUTH + "SignUp", {"email": f"p-{uuid.uuid4().hex[:12]}@example.com",
                                      "password": "correct horse"})
        self.token = made["token"]
        org = P.ok("/orgs.v1.OrgsService/List", token=self.token)["orgs"][0]["id"]
        self.id = P.ok(PROJECTS + "List", {"orgId": org}, token=self.token)["projects"][0]["id"]
        self.key = P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE", "displayName": "k"},
                        token=self.token, project=self.id)["key"]

    def events(self):
        """All events, oldest first, as ActivityService shows them."""
        out, page = [], ""
        while True:
            answer = P.ok(ACTIVITY, {"pageSize": 200, "pageToken": page, "timeRange": {
                "from": "2000-01-01T00:00:00Z", "to": "2035-01-01T00:00:00Z"}}, key=self.key)
            out += answer.get("events", [])
            page = answer.get("nextPageToken", "")
            if not page:
                return out[::-1]


def line(*words):
    return [P.binary, *words, "--config", "/dev/null", "-o",
            "database_url=" + P.info["database_url"],
            "-o", "credential_file=" + os.path.join(P.data, "credential")]


def run(*words, stdin=None):
    done = subprocess.run(line(*words), input=stdin, capture_output=True, text=True, timeout=120,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def counts(out):
    return {row.split()[0]: int(row.split()[1]) for row in out.splitlines() if len(row.split()) == 2}


def export(project, *more):
    code, out, err = run("export", "--project", project.id, *more)
    assert code == 0, (code, err)
    return [json.loads(row) for row in out.splitlines()]


def by_id(events):
    return sorted(events, key=lambda e: e["eventId"])


def some_events(r, n):
    def value():
        return r.choice([
            {"stringValue": r.choice(["", "a", "\"quoted\"\n", "ü😀", "x" * 1024])},
            {"intValue": str(r.choice([0, -1, 2**53 + 1, 2**63 - 1, -2**63]))},
            {"doubleValue": r.choice([0.5, 1e21, -0.25, 5e-324])}, {"boolValue": r.random() < 0.5},
            {"timestampValue": "2024-02-29T12:00:00.125Z"}])
    out = []
    for i in range(n):
        event = {"eventId": str(uuid.UUID(int=r.getrandbits(128))), "kind": r.choice(["view", "buy", "a.b-c"]),
                 "distinctId": r.choice(["u1", "ü", "日本", "x" * 500]),
                 "occurTime": f"20{r.randrange(10, 26)}-0{r.randrange(1, 10)}-1{i % 10}T0{i % 10}:00:00.{i % 1000:03}Z"}
        if r.random() < 0.7:
            event["sessionId"] = str(uuid.UUID(int=r.getrandbits(128) | 1))
        event["autoProperties"] = {k: value() for k in r.sample(["$url", "$x", "$bot_score", "$mobile"], 2)}
        event["customProperties"] = {k: value() for k in r.sample(["plan", "a.b", "ü", "n", "z"], 3)}
        out.append(event)
    out[0] |= {"distinctId": "cookieless-abc", "cookieless": True}
    for event in out:  # what comes back has no empty maps and normal forms
        event["occurTime"] = event["occurTime"].replace(".000Z", "Z")
    return out


def test_round_trip(_):
    r = random.Random(7)
    first, second = Project(), Project()
    sent = some_events(r, 400)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "in.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(json.dumps(e) for e in sent))  # the last line has no end
        code, out, err = run("import", "--project", first.id, path)
        assert code == 0 and counts(out)["stored"] == 400 and counts(out)["refused"] == 0, (out, err)
        exported = export(first)
        assert by_id(exported) == by_id(sent)
        days = [e["occurTime"][:10] for e in exported]
        assert days == sorted(days), "days are in order"
        text = "".join(json.dumps(e) + "\n" for e in exported)
        code, out, err = run("import", "--project", second.id, "-", stdin=text)
        assert code == 0 and counts(out)["stored"] == 400, (out, err)
    assert by_id(export(second)) == by_id(sent)
    assert first.events() == second.events() and len(first.events()) == 400
    window = export(first, "--from", "2015-01-01T00:00:00Z", "--to", "2016-06-01T00:00:00Z")
    assert by_id(window) == by_id([e for e in sent if "2015" <= e["occurTime"] < "2016-06-01"])


def test_twice_and_by_both_ways(_):
    """The same line, again, in a copy, or sent by an SDK: stored once."""
    project = Project()
    sent = some_events(random.Random(8), 50)[1:]
    P.ok(EVENTS, {"events": sent[:20]}, key=project.key)
    rows = [json.dumps(e) for e in sent + sent[-5:]]
    rows.append('{"kind":"view","distinctId":"u1","occurTime":"2024-01-01T00:00:00Z"}')
    text = "\n".join(rows) + "\n"
    code, out, _ = run("import", "--project", project.id, "--restart", "-", stdin=text)
    assert code == 0 and counts(out) == {"lines": 55, "stored": 30, "known": 25, "refused": 0}, out
    code, out, _ = run("import", "--project", project.id, "--restart", "-", stdin=text)
    assert code == 0 and counts(out) == {"lines": 55, "stored": 0, "known": 55, "refused": 0}, out
    assert len(project.events()) == 50


def test_going_on(_):
    """A run that was killed, a file that grew, a file that is another one now."""
    project = Project()
    r = random.Random(9)
    rows = [json.dumps({"eventId": str(uuid.UUID(int=r.getrandbits(128))), "kind": "view",
                        "distinctId": f"u{i % 100}", "occurTime": f"2024-05-{i % 28 + 1:02}T00:00:00Z"})
            for i in range(60000)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "in.jsonl")
        with open(path, "w", encoding="utf-8") as out:
            out.write("\n".join(rows) + "\n")
        killed = 0
        for _ in range(6):
            child = subprocess.Popen(line("import", "--project", project.id, path),
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            before = at = marked(project)
            until = time.monotonic() + 30
            while at == before and child.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
                at = marked(project)
            time.sleep(r.random() * 0.05)
            child.send_signal(r.choice([signal.SIGKILL, signal.SIGTERM]))
            killed += child.wait() != 0
        assert killed >= 2, killed
        code, out, err = run("import", "--project", project.id, path)
        assert code == 0 and "going on after line" in err, (out, err)
        assert counts(out)["lines"] < 60000, "it did not begin anew"
        assert number(project) == 60000
        with open(path, "a", encoding="utf-8") as out:
            out.write(rows[0] + "\n" + json.dumps({"kind": "buy", "distinctId": "u1",
                                                   "occurTime": "2024-05-01T00:00:00Z"}) + "\n")
        code, out, err = run("import", "--project", project.id, path)
        assert code == 0 and counts(out) == {"lines": 2, "stored": 1, "known": 1, "refused": 0}, (out, err)
        with open(path, "r+", encoding="utf-8") as out:  # another id in the first line
            out.seek(len('{"eventId": "'))
            out.write("0" if rows[0][len('{"eventId": "')] != "0" else "1")
        code, out, err = run("import", "--project", project.id, path)
        assert code == 0 and counts(out)["stored"] == 1 and counts(out)["lines"] == 60002, (out, err)
    assert number(project) == 60002
    code, out, err = run("import", "--project", project.id, "-", stdin=rows[0] + "\n")
    code, out, err = run("import", "--project", project.id, "-", stdin=rows[1] + "\n")
    assert code == 1 and "--restart" in err, (out, err)


def marked(project):
    rows = P.psql("SELECT coalesce(max(read_bytes), 0) FROM pugd.imports i JOIN pugd.projects p "
                  f"ON p.num = i.project WHERE p.id = '{project.id}'")
    return int(rows[0][0] if isinstance(rows[0], (list, tuple)) else rows[0])


def number(project):
    """TOTAL of everything, by an insight."""
    return P.ok("/insights.v1.InsightsService/Query", {
        "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION"}, "granularity": "GRANULARITY_MONTH",
        "timeRange": {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}},
        key=project.key)["segmentation"]["total"]


def test_refused_lines(_):
    """What is wrong is said with its line and field; the rest is stored."""
    project = Project()
    good = '{"kind":"view","distinctId":"u1","occurTime":"2024-01-01T00:00:00Z"}'
    bad = ['{"kind":"vi ew","distinctId":"u1"}', '{"kind":"view"}', '{"kind":"view","distinctId":7}', '{"kind"',
           '{"kind":"view","distinctId":"u1","occurTime":"1999-12-31T23:59:59Z"}',
           '{"kind":"view","distinctId":"cookieless-1"}', '{"kind":"view","kind":"view","distinctId":"u1"}', '[]',
           '{"kind":"view","distinctId":"u1","eventId":"7"}', '{"kind":"view","distinctId":"\\u0000"}',
           '{"kind":"view","distinctId":"u1","customProperties":{"$a":{"intValue":"1"}}}',
           '{"kind":"view","distinctId":"u1","properties":{"a":[1]}}']
    text = good + "\n\n" + "\n".join(bad) + "\n" + good.replace("u1", "u2")
    code, out, err = run("import", "--project", project.id, "-", stdin=text)
    assert code == 1, (out, err)
    assert counts(out) == {"lines": 14, "stored": 2, "known": 0, "refused": 12}, (out, err)
    said = err.splitlines()
    for i, word in enumerate(["kind", "distinct_id", "distinctId", "", "occur_time", "cookieless", "", "",
                              "event_id", ""]):
        assert said[i].startswith(f"line {i + 3}: ") and word in said[i], said
    assert "further refused" in said[10], said
    assert [e["distinctId"] for e in project.events()] in (["u1", "u2"], ["u2", "u1"])


def test_enriched_events_come_back(_):
    """What the server adds to a full event is beyond what a client may send, but not lost on its way."""
    first, second = Project(), Project()
    P.ok(EVENTS, {"events": [{
        "eventId": str(uuid.uuid4()), "kind": "full", "distinctId": "u", "occurTime": "2024-03-01T10:00:00Z",
        "customProperties": {f"k{i}": {"intValue": "1"} for i in range(10)},
        "autoProperties": {"$url": {"stringValue": "https://a.example/x?utm_source=news"},
                           **{f"$a{i}": {"intValue": "1"} for i in range(244)}}}]}, key=first.key,
         headers={"user-agent": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/118.0 Safari/537.36"})
    sent = export(first)
    added = {"$browser", "$browserVersion", "$os", "$osVersion", "$mobile", "$pathname", "$hostname", "$utmSource", "$channel"}
    assert added <= set(sent[0]["autoProperties"]) and len(sent[0]["autoProperties"]) == 254, sent
    code, out, err = run("import", "--project", second.id, "-", stdin=json.dumps(sent[0]))
    assert code == 0 and export(second) == sent, (out, err)
    sent[0]["autoProperties"] |= {f"$b{i}": {"intValue": "1"} for i in range(50)}
    code, out, err = run("import", "--project", second.id, "--restart", "-", stdin=json.dumps(sent[0]))
    assert code == 1 and "at most 255" in err, (out, err)


class Piped:
    """An import that reads what the test writes, and can be looked at meanwhile."""

    def __init__(self, project):
        self.child = subprocess.Popen(line("import", "--project", project.id, "-"), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def write(self, data):
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def end(self):
        out, err = self.child.communicate(timeout=60)
        return self.child.returncode, out.decode(), err.decode()


def plain(first, n):
    return "".join(json.dumps({"eventId": str(uuid.UUID(int=first + i)), "kind": "view", "distinctId": "u",
                               "occurTime": "2024-05-01T00:00:00Z"}) + "\n" for i in range(n)).encode()


def until(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_endless_line(_):
    """A line of any length costs no more memory than the longest that is taken."""
    project = Project()
    imported = Piped(project)
    for _ in range(600):
        imported.write(b"x" * (1 << 20))
    imported.write(b"\n" + plain(1, 5000))
    until(lambda: marked(project))
    with open(f"/proc/{imported.child.pid}/status", encoding="ascii") as f:
        peak = next(int(row.split()[1]) for row in f if row.startswith("VmHWM"))
    code, out, err = imported.end()
    assert code == 1 and "line 1: it is longer than 4 MiB" in err, err
    assert counts(out) == {"lines": 5001, "stored": 5000, "known": 0, "refused": 1}, out
    assert peak < 400 << 10, f"{peak} KiB"


def test_stopped_while_it_waits(_):
    """Everything that was read is stored, and known when the rest comes."""
    project = Project()
    imported = Piped(project)
    imported.write(plain(1, 5300))
    until(lambda: marked(project))
    time.sleep(0.3)
    imported.child.send_signal(signal.SIGTERM)
    imported.child.wait(60)
    code, out, err = imported.end()
    assert code == 1 and "goes on from here" in out and "Interrupted" not in err, (out, err)
    assert number(project) == 5300 and marked(project) == len(plain(1, 5300))
    code, out, err = run("import", "--project", project.id, "-", stdin=plain(1, 5400).decode())
    assert code == 0 and counts(out) == {"lines": 100, "stored": 100, "known": 0, "refused": 0}, (out, err)


def test_database_goes_away(_):
    project = Project()
    pids = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    before = {row[0] for row in P.psql(pids)}
    imported = Piped(project)
    imported.write(plain(1, 5000))
    until(lambda: marked(project))
    for row in P.psql(pids):
        if row[0] not in before:
            P.psql(f"SELECT pg_terminate_backend({row[0]})")
    imported.write(plain(5001, 5000))
    code, out, err = imported.end()
    assert code == 1 and "later the same command goes on" in err and counts(out)["stored"] == 5000, (out, err)
    code, out, err = run("import", "--project", project.id, "-", stdin=plain(1, 10000).decode())
    assert code == 0 and counts(out)["stored"] == 5000 and "after line 5000" in err, (out, err)
    assert number(project) == 10000


def test_ids_of_others(_):
    """Ids that are numbers have one text; the reserved prefix makes nobody's profile."""
    project = Project()
    rows = [{"event": "a", "distinct_id": n, "timestamp": "2024-03-01T10:00:00Z", "properties": {}}
            for n in (0.1, 12345678901, 1e20)]
    code, out, err = run("import", "--project", project.id, "-", stdin="\n".join(json.dumps(r) for r in rows))
    assert code == 0, (out, err)
    assert {e["distinctId"] for e in project.events()} == {"0.1", "12345678901", "100000000000000000000"}
    rows = [{"event": "$identify", "properties": {"time": 1709287200, "distinct_id": "d", "$identified_id": a,
                                                  "$anon_id": b}}
            for a, b in (("cookieless-x", "q"), ("zoe", "cookieless-x"), ("zoe", "r"))]
    code, out, err = run("import", "--project", project.id, "--restart", "-", stdin="\n".join(json.dumps(r) for r in rows))
    assert code == 0 and "1 joined" in " ".join(out.split()), (out, err)
    listed = P.ok("/profiles.v1.ProfilesService/List", key=project.key)["profiles"]
    assert [p["externalId"] for p in listed if p["externalId"]] == ["zoe"], listed


def test_posthog(_):
    project = Project()
    session, event = str(uuid.uuid4()), str(uuid.uuid4())
    rows = [
        {"uuid": event, "event": "$pageview", "distinct_id": "anon-1", "timestamp": "2024-03-01 10:00:00.123000",
         "properties": {"$current_url": "https://a.example/x?y", "$host": "a.example", "$browser": "Safari",
                        "$geoip_country_code": "CH", "utm_source": "news", "$session_id": session, "price": 12.5,
                        "tags": ["a", "b"], "none": None, "long": "ü" * 2000, "big": ["x" * 2000], "$ip": "1.2.3.4"}},
        {"uuid": str(uuid.uuid4()), "event": "$identify", "distinct_id": "zoe", "timestamp": "2024-03-01T10:01:00+01:00",
         "properties": json.dumps({"$anon_distinct_id": "anon-1", "$set": {"email": "z@example.com"}})},
        {"event": "Signed up!", "distinct_id": 42, "timestamp": "2024-03-01T10:02:00Z", "properties": {}},
        {"event": "no time", "distinct_id": "zoe", "properties": {}}]
    text = "\n".join(json.dumps(r) for r in rows)
    code, out, err = run("import", "--project", project.id, "-", stdin=text)
    assert code == 1 and "line 4: timestamp" in err, (out, err)
    assert counts(out) == {"lines": 4, "stored": 3, "known": 0, "refused": 1}, out
    assert "1 joined" in " ".join(out.split()) and "1 properties left out, 1 texts shortened" in out, out
    view = next(e for e in project.events() if e["kind"] == "page_view")
    assert view["eventId"] == event and view["sessionId"] == session, view
    assert view["occurTime"] == "2024-03-01T10:00:00.123Z", view
    assert view["autoProperties"] == {"$url": "https://a.example/x?y", "$hostname": "a.example", "$country": "CH",
                                      "$browser": "Safari", "$utmSource": "news"}, view
    assert view["customProperties"] == {"price": 12.5, "tags": '["a","b"]', "long": "ü" * 1024}, view
    assert {e["kind"] for e in project.events()} == {"page_view", "identify", "Signed_up_"}
    # one person, by either of her ids; and not again when she was joined to another one since
    people = P.ok("/insights.v1.InsightsService/Query", {
        "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [
            {"event": {}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]},
        "granularity": "GRANULARITY_MONTH",
        "timeRange": {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}}, key=project.key)
    assert people["segmentation"]["total"] == 2, people
    P.ok("/profiles.v1.ProfilesSDKService/Identify", {"externalId": "other", "anonymousId": "anon-1"}, key=project.key)
    code, out, err = run("import", "--project", project.id, "--restart", "-", stdin=text)
    assert counts(out)["known"] == 3 and "joined" not in out, out


def test_mixpanel(_):
    project = Project()
    rows = [{"event": "Played song", "properties": {
        "time": 1709287200, "distinct_id": "u1", "$insert_id": "abc", "mp_country_code": "DE", "$city": "Berlin",
        "$current_url": "https://a.example/", "genre": "punk", "n": 3, "$browser_version": 120}},
        {"event": "Played song", "properties": {"time": 1709287200000, "distinct_id": "u2"}},
        {"event": "Played song", "properties": {"time": "yesterday", "distinct_id": "u2"}}]
    text = "\n".join(json.dumps(r) for r in rows[:2])
    code, out, err = run("import", "--project", project.id, "-", stdin=text)
    assert code == 0 and counts(out)["stored"] == 2, (out, err)
    one, two = sorted(project.events(), key=lambda e: e["distinctId"])
    assert one["kind"] == "Played_song" and one["occurTime"] == two["occurTime"] == "2024-03-01T10:00:00Z", one
    assert one["autoProperties"] == {"$country": "DE", "$city": "Berlin", "$url": "https://a.example/",
                                     "$browserVersion": "120"}, one
    assert one["customProperties"] == {"genre": "punk", "n": 3}, one
    # Mixpanel knows repeats by event, time, distinct_id and $insert_id; so does the import
    rows[0]["properties"]["genre"] = "rock"
    text = "\n".join(json.dumps(r) for r in rows)
    code, out, err = run("import", "--project", project.id, "--restart", "--format", "mixpanel", "-", stdin=text)
    assert code == 1 and "line 3: properties.time" in err, err
    assert counts(out) == {"lines": 3, "stored": 0, "known": 2, "refused": 1}, out


def test_export_goes_on(_):
    """A file a day; a day that is there is not written again."""
    project = Project()
    sent = some_events(random.Random(10), 60)
    run("import", "--project", project.id, "-", stdin="\n".join(json.dumps(e) for e in sent))
    with tempfile.TemporaryDirectory() as folder:
        code, _, err = run("export", "--project", project.id, "--dir", folder)
        assert code == 0, err
        files = sorted(glob.glob(folder + "/*"))
        days = sorted({e["occurTime"][:10] for e in sent})
        assert [os.path.basename(f) for f in files] == [f"events-{d}.jsonl" for d in days]
        os.unlink(files[1])
        with open(files[0], "w", encoding="utf-8") as out:
            out.write("mine\n")
        code, _, err = run("export", "--project", project.id, "--dir", folder)
        assert code == 0, err
        assert sorted(glob.glob(folder + "/*")) == files
        with open(files[0], encoding="utf-8") as f:
            assert f.read() == "mine\n"
        got = [json.loads(row) for f in files[1:] for row in open(f, encoding="utf-8")]
        assert by_id(got) == by_id([e for e in sent if e["occurTime"][:10] != days[0]])


def test_export_of_a_day_that_is_not_over(_):
    """A file of a day that was not over is written again; one of a part of a day is never written."""
    project = Project()
    today = time.strftime("%Y-%m-%d", time.gmtime())

    def more(who):
        P.ok(EVENTS, {"events": [{"kind": "view", "distinctId": who, "occurTime": t + "T00:00:01Z"}
                                 for t in (today, "2024-05-01")]}, key=project.key)

    with tempfile.TemporaryDirectory() as folder:
        more("u1")
        began = time.time()
        assert run("export", "--project", project.id, "--dir", folder)[0] == 0
        path = f"{folder}/events-{today}.jsonl"
        assert abs(os.stat(path).st_mtime - began) < 60
        more("u2")
        assert run("export", "--project", project.id, "--dir", folder)[0] == 0
        with open(path, encoding="utf-8") as f:
            assert sorted(json.loads(row)["distinctId"] for row in f) == ["u1", "u2"]
        with open(f"{folder}/events-2024-05-01.jsonl", encoding="utf-8") as f:
            assert len(f.readlines()) == 1
        assert sorted(os.listdir(folder)) == ["events-2024-05-01.jsonl", f"events-{today}.jsonl"]
        for name in ("--from", "--to"):
            code, _, err = run("export", "--project", project.id, "--dir", folder, name, "2024-05-01T12:00:00Z")
            assert code == 2 and "midnight" in err, err


def test_refused_commands(_):
    project = Project()
    for words in (("import",), ("import", "--project", project.id), ("import", "-"),
                  ("import", "--project", project.id, "--format", "csv", "-"), ("export",),
                  ("export", "--project", project.id, "--from", "yesterday"),
                  ("export", "--project", project.id, "--from", "2024-01-02T00:00:00Z", "--to", "2024-01-01T00:00:00Z")):
        code, out, err = run(*words, stdin="")
        assert code == 2 and "usage: pugd" in err and out == "", (words, code, out, err)
    for words in (("import", "--project", "0" * 20, "-"), ("export", "--project", "0" * 20)):
        code, out, err = run(*words, stdin="")
        assert code == 1 and "no " in err and "project" in err, (words, err)
    code, out, err = run("import", "--project", project.id, "/nonexistent.jsonl")
    assert code == 1 and "No such file" in err, err


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with pug.Pug("asan" if "asan" in sys.argv else "test") as P:
        sys.exit(pug.main(tests))
