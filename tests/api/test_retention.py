#!/usr/bin/env python3
"""pugd retention: too old is refused, hidden and erased, and nothing else is (D20)."""
import datetime
import json
import os
import subprocess
import sys
import time
import uuid

import people
import pug
import test_accounts

P = None
AUTH, EVENTS = "/auth.v1.AuthService/", "/events.v1.EventsService/BatchCreate"
PROFILES = "/profiles.v1.ProfilesService/"
NOW = datetime.datetime.now(datetime.timezone.utc)


def days_ago(n, hour=12):
    """An instant of the UTC day that was n days before today's."""
    day = NOW.replace(hour=hour, minute=0, second=0, microsecond=0) - datetime.timedelta(days=n)
    return day.strftime("%Y-%m-%dT%H:%M:%SZ")


def project():
    made = P.ok(AUTH + "SignUp", {"email": f"p-{uuid.uuid4().hex[:12]}@example.com", "password": "correct horse"})
    org = P.ok("/orgs.v1.OrgsService/List", token=made["token"])["orgs"][0]["id"]
    found = P.ok("/projects.v1.ProjectsService/List", {"orgId": org}, token=made["token"])["projects"][0]["id"]
    return found, P.ok("/projects.v1.ProjectsService/CreateApiKey",
                       {"kind": "API_KEY_KIND_PRIVATE", "displayName": "k"}, token=made["token"], project=found)["key"]


def event(days, who="u1"):
    return {"eventId": str(uuid.uuid4()), "kind": "view", "distinctId": who, "occurTime": days_ago(days)}


def command(*words, stdin=None):
    done = subprocess.run([P.binary, *words, "--config", "/dev/null", "-o", "database_url=" + P.info["database_url"],
                           "-o", "credential_file=" + os.path.join(P.data, "credential")],
                          input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def shown(key):
    """How many events an insight counts, and those that the feed lists."""
    window = {"from": days_ago(400), "to": days_ago(-1)}
    total = P.ok("/insights.v1.InsightsService/Query", {
        "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION"}, "granularity": "GRANULARITY_WEEK", "timeRange": window},
        key=key)["segmentation"]["total"]
    listed = P.ok("/activity.v1.ActivityService/List", {"timeRange": window, "pageSize": 100}, key=key)
    assert total == len(listed.get("events", [])), (total, listed)
    return sorted(e["eventId"] for e in listed.get("events", []))


def until(where, n):
    end = time.monotonic() + 30
    while stored(where) != n:
        assert time.monotonic() < end, (where, stored(where))
        time.sleep(0.2)


def used(num):
    return int(P.psql(f"SELECT (SELECT coalesce(sum(events), 0) FROM pugd.usage_days WHERE project = {num}) + "
                      f"(SELECT coalesce(sum(stored), 0) FROM pugd.inbox WHERE project = {num})")[0][0])


def stored(where):
    return int(P.psql(f"SELECT count(*) FROM {where}")[0][0])


def test_hidden_refused_erased(_):
    name, key = project()
    other, other_key = project()
    old, edge, young = [event(30), event(8)], [event(7)], [event(6), event(0)]
    mixed = [event(9), event(1)]
    for batch in (old, [event(200)], edge + young, mixed):
        P.ok(EVENTS, {"events": batch}, key=key)
        P.ok(EVENTS, {"events": batch}, key=other_key)
    before = shown(key)
    assert len(before) == 8 and shown(other_key) == before
    code, out, err = command("retention", "--project", name, "--days", "7")
    assert code == 0 and days_ago(7)[:10] in out, (out, err)
    kept = shown(key)
    assert len(kept) == 4 and {e["eventId"] for e in edge + young} < set(kept), "hidden at once, the rest stays"
    # what is sent now, and a retry of what was stored before
    new = [event(8), event(7), event(300)]
    answer = P.ok(EVENTS, {"events": new + old[:1]}, key=key)
    assert answer == {"accepted": 1, "dropped": 3, "droppedByReason": {"retention_expired": 3}, "eventsCreated": 1}
    answer = P.ok(EVENTS, {"events": new}, key=key)
    assert (answer["accepted"], answer["eventsCreated"], answer["dropped"]) == (1, 0, 2), answer
    answer = P.ok(EVENTS, {"events": [event(50)]}, key=key)
    assert (answer.get("accepted", 0), answer["dropped"]) == (0, 1), answer
    assert shown(key) == sorted(kept + [new[1]["eventId"]])
    # an import is told the same
    text = "\n".join(json.dumps(e) for e in [event(2), event(90)])
    code, out, _ = command("import", "--project", name, "-", stdin=text)
    assert code == 0 and "expired           1" in out and "stored            1" in out, out
    code, out, _ = command("export", "--project", name)
    assert len(out.splitlines()) == 6 == len(shown(key)), out
    # the keeper erases blobs that are too old whole
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{name}'")[0][0]
    until(f"pugd.inbox WHERE project = {num} AND tmax < extract(epoch FROM now() - interval '9 days') * 1000", 0)
    assert len(shown(key)) == 6 and shown(other_key) == before, "another project's are untouched"
    assert used(num) == 8 + 2, "usage counts what was stored, erased or not"
    # off again: what was erased does not come back, and old events are welcome
    assert command("retention", "--project", name, "--off")[:2] == (0, "events are kept for ever\n")
    answer = P.ok(EVENTS, {"events": [event(300)] + mixed}, key=key)
    assert (answer["accepted"], answer["eventsCreated"]) == (3, 1), "what shares a blob shows again, once"
    assert len(shown(key)) == 8


def test_claims_go_with_their_events(_):
    name, key = project()
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{name}'")[0][0]
    P.ok(EVENTS, {"events": [event(n) for n in range(20, 60)]}, key=key)
    P.ok(EVENTS, {"events": [event(n) for n in range(3)]}, key=key)
    assert stored(f"pugd.event_seen WHERE project = {num}") == 43
    command("retention", "--project", name, "--days", "10")
    until(f"pugd.event_seen WHERE project = {num}", 3)
    assert stored(f"pugd.inbox WHERE project = {num}") == 1 and len(shown(key)) == 3 and used(num) == 43


def test_sealed_days(_):
    """As what waits: hidden at once, erased by days, counted still; and verify finds nothing wrong."""
    name, key = project()
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{name}'")[0][0]
    for _ in range(3):
        P.ok(EVENTS, {"events": [event(n) for n in (0, 1, 6, 7, 8, 9, 30, 40)]}, key=key)
    assert command("seal")[0] == 0 and stored(f"pugd.inbox WHERE project = {num}") == 0
    P.ok(EVENTS, {"events": [event(n) for n in (3, 50)]}, key=key)
    assert len(shown(key)) == 26 and used(num) == 26
    command("retention", "--project", name, "--days", "7")
    assert len(shown(key)) == 13, "hidden at once"
    assert len(command("export", "--project", name)[1].splitlines()) == 13
    until(f"pugd.segment WHERE project = {num} AND day < (now() AT TIME ZONE 'UTC')::date - 7", 0)
    assert stored(f"pugd.segment_column c WHERE project = {num} AND NOT EXISTS (SELECT FROM pugd.segment s "
                  f"WHERE s.project = {num} AND s.id = c.segment)") == 0
    # one blob with a young event keeps the claims of its old one
    until(f"pugd.event_seen WHERE project = {num} AND day < (now() AT TIME ZONE 'UTC')::date - 50", 0)
    assert len(shown(key)) == 13 and used(num) == 26 and command("verify")[0] == 0
    assert command("seal")[0] == 0
    until(f"pugd.segment WHERE project = {num} AND day < (now() AT TIME ZONE 'UTC')::date - 7", 0)
    until(f"pugd.event_seen WHERE project = {num}", 13)
    code, out, err = command("verify")
    assert code == 0 and len(shown(key)) == 13 and used(num) == 26, (out, err)
    command("retention", "--project", name, "--off")
    assert len(shown(key)) == 13 and command("verify")[0] == 0, "what was erased does not come back"


def test_erased_stay_erased(_):
    """A retention forgets ids with their events, but not those of erased persons (D20)."""
    name, key = project()
    num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{name}'")[0][0]
    sent = {who: [event(n, who) for n in (2, 20, 21, 30, 300)] for who in ("gone", "hidden", "other")}
    for half in (slice(0, None, 2), slice(1, None, 2)):  # sealed, and waiting
        assert command("seal")[0] == 0
        P.ok(EVENTS, {"events": [e for of in sent.values() for e in of[half]]}, key=key)
    done = lambda r: P.ok(PROFILES + "GetDeletionRequest", {"requestId": r}, key=key)["status"].endswith("COMPLETED")
    first = P.ok(PROFILES + "Delete", {"id": "gone"}, key=key)["requestId"]
    people.until(lambda: done(first))
    with people.database() as db:  # a transaction from before holds erasure up
        db.query("BEGIN; SELECT pg_current_xact_id()")
        second = P.ok(PROFILES + "Delete", {"id": "hidden"}, key=key)["requestId"]
        command("retention", "--project", name, "--days", "10")
        for table in ("inbox", "segment"):
            until(f"pugd.{table} WHERE project = {num} AND tmax < extract(epoch FROM now() - interval '11 days') * 1000", 0)
        assert not done(second)
        db.query("ROLLBACK")
    people.until(lambda: done(second))
    until(f"pugd.event_seen WHERE project = {num}", 5 + 5 + 1)
    assert command("retention", "--project", name, "--off")[0] == 0
    assert shown(key) == [sent["other"][0]["eventId"]]
    answer = P.ok(EVENTS, {"events": [e for of in sent.values() for e in of]}, key=key)
    assert (answer["accepted"], answer["eventsCreated"]) == (15, 4), answer
    assert shown(key) == sorted(e["eventId"] for e in sent["other"]), "who was erased stays erased"
    code, out, err = command("verify")
    assert code == 0, (out, err)


def test_list_and_arguments(_):
    name, _ = project()
    code, out, _ = command("retention")
    row = next(r for r in out.splitlines() if r.startswith(name))
    assert code == 0 and "for ever" in row, out
    command("retention", "--project", name, "--days", "36500")
    row = next(r for r in command("retention")[1].splitlines() if r.startswith(name))
    assert "36500 days" in row, row
    for words in (("--days", "7"), ("--project", name), ("--project", name, "--days", "0"),
                  ("--project", name, "--days", "36501"), ("--project", name, "--days", "x"),
                  ("--project", name, "--days", "7", "--off"), ("7",)):
        code, out, err = command("retention", *words)
        assert code == 2 and "usage" in err and not out, (words, code, out, err)
    code, out, err = command("retention", "--project", "0" * 20, "--off")
    assert code == 1 and "no project" in err, (code, err)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test") as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
