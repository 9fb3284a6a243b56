#!/usr/bin/env python3
"""Deletion of persons (events-profiles.md 5.6-5.8, D27): hidden at once and from everything,
then gone from every byte of the tables, whatever dies meanwhile."""
import contextlib
import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

import pug
import test_accounts
import test_identify
import test_model
import people
from people import at_once, until
from test_accounts import fails, reason

S, SHARED = "/profiles.v1.ProfilesService/", "/shared.profiles.v1.ProfilesService/"
BATCH, QUERY, LIST = pug.BATCH, test_identify.QUERY, "/activity.v1.ActivityService/List"
USAGE = "/usage.v1.UsageService/GetUsage"
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
PENDING, PROCESSING, COMPLETED, FAILED = (
    "COMPLIANCE_REQUEST_STATUS_" + s for s in ("PENDING", "PROCESSING", "COMPLETED", "FAILED"))
POINTS = ("admitted", "found", "rewritten", "committed", "moved", "catalogued", "numbers", "aliases", "finishing", "finished")
P = None


def event(who, kind="view", event_id=None, **props):
    return {"eventId": event_id or str(uuid.uuid4()), "kind": kind, "distinctId": who,
            "occurTime": f"2026-01-01T10:{random.randrange(60):02d}:00.{random.randrange(1000):03d}Z",
            "sessionId": str(uuid.uuid4()),
            "customProperties": {k: {"stringValue": v} for k, v in props.items()}}


class Project(test_identify.Project):
    def put(self, *events):
        """Events in one call; the answer."""
        return P.ok(BATCH, {"events": list(events)}, key=self.public)

    def get(self, some_id):
        return P.ok(S + "Get", {"id": some_id}, key=self.private)["profile"]

    def missing(self, *ids):
        for i in ids:
            fails(404, "PROFILE_NOT_FOUND", S + "Get", {"id": i}, key=self.private)

    def listed(self):
        return {p["id"] for p in P.ok(S + "List", {"pageSize": 1000}, key=self.private).get("profiles", [])}

    def feed(self, who=""):
        """The project's events, or somebody's, by their ids."""
        got = P.ok(LIST, {"pageSize": 1000, "distinctId": who}, key=self.private)
        return {e["eventId"]: e for e in got.get("events", [])}

    def trend(self):
        got = P.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [
            {"event": {"kind": "view"}, "aggregation": "AGGREGATION_TYPE_TOTAL"}]},
            "timeRange": DAY, "granularity": "GRANULARITY_DAY"}, key=self.private)
        return sum(x["value"] for s in got["trends"].get("series", []) for x in s["points"])

    def delete(self, some_id, **kw):
        kw = kw or {"key": self.private}
        return P.ok(S + "Delete", {"id": some_id}, **kw)

    def delete_subject(self, external):
        return P.ok(S + "DeleteDataSubject", {"externalId": external}, key=self.private)

    def request(self, request):
        return P.ok(S + "GetDeletionRequest", {"requestId": request}, key=self.private)

    def wait(self, request, status=COMPLETED, seconds=60):
        until(lambda: self.request(request)["status"] == status, seconds)
        return self.request(request)

    def usage(self):
        with people.database() as db:
            org = db.one(f"SELECT org_id FROM pugd.projects WHERE num = {self.num}")
        return P.ok(USAGE, {"orgId": org}, token=self.token)["usedEvents"]

    def bytes(self):
        """Everything that is stored, as one text: rows of all tables, segments unpacked."""
        with people.database() as db:
            tables = [t for t, in db.query("SELECT c.oid::regclass FROM pg_class c WHERE c.relkind = 'r' AND "
                                           "c.relnamespace = 'pugd'::regnamespace")]
            rows = [r for t in tables for r, in db.query(f"SELECT t::text FROM {t} t")]
            blobs = [test_model.forge(bytes.fromhex(b)).decode("latin-1") for b, in db.query(
                f"SELECT DISTINCT encode(data, 'hex') FROM pugd.inbox WHERE project = {self.num}")]
            blobs += [(test_model.lz4(bytes.fromhex(b), int(n)) if len(b) < 2 * int(n) else bytes.fromhex(b))
                      .decode("latin-1") for b, n in db.query(
                          f"SELECT encode(data, 'hex'), raw FROM pugd.segment_column WHERE project = {self.num} UNION "
                          f"SELECT encode(names, 'hex'), 0 FROM pugd.segment WHERE project = {self.num} AND names > ''")]
        return "\n".join(rows + blobs)

    def checks(self):
        """What holds for every row of the inbox."""
        with people.database() as db:
            assert db.query(f"SELECT id FROM pugd.inbox WHERE project = {self.num} AND "
                            "(stored <> n - coalesce(array_length(refused, 1), 0) OR n < 1)") == []
        _, out, err = pugd(P, "verify")
        assert "things wrong" in out and f"project={self.num} " not in out, (out, err)


@contextlib.contextmanager
def held():
    """A transaction from before a deletion is still under way: nothing is erased yet."""
    with people.database() as db:
        db.query("BEGIN; SELECT pg_current_xact_id()")
        yield
        db.query("ROLLBACK")


def person(project, mark, events=6):
    """An identified person with two other ids, traits and events under all of them."""
    anon, external = f"anon-{mark}", f"ext-{mark}"
    project.put(*(event(anon, note=f"note {mark}") for _ in range(events // 2)))
    profile = project.identify(external, {"name": f"name {mark}"}, anon)
    project.put(*(event(external, note=f"note {mark}", more=f"more {mark}") for _ in range(events - events // 2)))
    return profile, external, anon


def mark():
    return uuid.uuid4().hex


# ---- what it means ----------------------------------------------------------------------------

def test_hidden_at_once_and_then_gone(_):
    p, m, other = Project(), mark(), mark()
    profile, external, anon = person(p, m, 6)
    stays = person(p, other, 4)
    # one commit with both of them, a repeat of one of hers in another's call, and wide rows
    again = event(external, note=f"note {m}")
    p.put(again, *(event(stays[1], **{f"k{i}-{k}": f"v{k}" for k in range(9)}) for i in range(9)))
    p.put(event(stays[1], event_id=str(uuid.uuid4())), again)
    before, used, views = p.feed(), p.usage(), p.trend()
    hers = {i for i, e in before.items() if e["distinctId"] in (profile, external, anon)}
    assert len(hers) == 7 and views == len(before) == 21 and p.users() == 2, (len(hers), views)
    assert m in p.bytes()
    with held():
        got = p.delete(anon, token=p.token, project=p.id)
        assert got["status"] == PENDING and len(got["requestId"]) == 20, got
        p.missing(profile, external, anon)
        fails(404, "PROFILE_NOT_FOUND", S + "GetByExternalId", {"externalId": external}, key=p.private)
        assert p.listed() == {stays[0]} and p.users() == 1 and p.trend() == 14
        rest = p.feed()
        assert rest == {i: e for i, e in before.items() if i not in hers}
        assert p.feed(external) == p.feed(anon) == p.feed(profile) == {} and p.feed(stays[2]) == rest
        assert p.usage() == used
        for one in (profile, external, anon):
            assert p.delete(one) == got, one
        said = p.request(got["requestId"])
        assert (said["status"], said["profileId"], said["externalId"]) == (PENDING, profile, external), said
        assert said["requestedAt"] and not {"completedAt", "error"} & set(said), said
        with people.database() as db:
            assert db.one("SELECT requested_by IS NOT NULL FROM pugd.erasures WHERE id = $1", got["requestId"]) == "t"
    said = p.wait(got["requestId"])
    assert int(said["eventsIdentified"]) == 7 and said["completedAt"] >= said["requestedAt"], said
    assert not {"profileId", "externalId", "error"} & set(said), said
    text = p.bytes()
    assert m not in text and profile not in text and other in text
    assert p.feed() == rest and p.listed() == {stays[0]} and p.trend() == 14 and p.users() == 1
    assert p.usage() == used, "what was stored stays counted (D42)"
    p.missing(profile, external, anon)
    p.checks()
    for one in (profile, external, anon):
        fails(404, "PROFILE_NOT_FOUND", S + "Delete", {"id": one}, key=p.private)


def test_a_repeat_is_not_stored_and_a_new_event_is_somebody_new(_):
    p, m = Project(), mark()
    profile, external, anon = person(p, m, 2)
    old = [event(anon), event(external)]
    p.put(*old)
    with held():
        request = p.delete(profile)["requestId"]
        got = p.put(*old)
        assert (got["accepted"], got.get("eventsCreated", 0)) == (2, 0), got
        p.missing(anon, external)
        new = [event(anon), event(anon), event(external)]
        assert p.put(*new, *old)["eventsCreated"] == 3
        for who, n in ((anon, 2), (external, 1)):
            one = p.get(who)
            assert (one["id"], one["externalId"], one["properties"]) == (who, "", {}), one
            assert int(one["activity"]["totalEvents"]) == n, one
        assert p.listed() == {anon, external} and p.users() == 2
        second = p.identify(external, {"plan": "new"}, anon)
        assert second != profile and p.get(anon)["properties"] == {"plan": "new"}
        assert int(p.get(second)["activity"]["totalEvents"]) == 3 and p.users() == 1
    said = p.wait(request)
    assert int(said["eventsIdentified"]) == 4, said
    assert set(p.feed()) == {e["eventId"] for e in new} and p.listed() == {second}
    assert p.get(second)["id"] == p.get(anon)["id"] == second and f"note {m}" not in p.bytes()
    got = p.put(*old)
    assert (got["accepted"], got.get("eventsCreated", 0)) == (2, 0) and len(p.feed()) == 3, got
    p.missing(profile)
    p.checks()


def test_the_new_one_can_be_deleted_too(_):
    p, m = Project(), mark()
    profile, external, anon = person(p, m, 4)
    with held():
        first = p.delete(external)["requestId"]
        p.put(event(external, note=m))
        second_profile = p.identify(external)
        second = p.delete(external)["requestId"]
        assert first != second, "not the same person"
        p.put(event(external, note=m), event(anon, note=m))
        third, fourth = p.delete(external)["requestId"], p.delete(anon)["requestId"]
        assert len({first, second, third, fourth}) == 4
        assert p.feed() == {} and p.listed() == set() and p.request(third)["profileId"] == external
        assert p.delete(profile)["requestId"] == first and p.delete(second_profile)["requestId"] == second
    got = [int(p.wait(r)["eventsIdentified"]) for r in (first, second, third, fourth)]
    assert got == [4, 1, 1, 1], got
    assert m not in p.bytes() and p.feed() == {}


def test_somebody_anonymous(_):
    p, m = Project(), mark()
    who = f"anon-{m}"
    fails(404, "PROFILE_NOT_FOUND", S + "Delete", {"id": who}, key=p.private)
    answer = fails(404, "PROFILE_NOT_FOUND", SHARED + "Delete", {"id": who}, key=p.private)
    assert answer["details"][-1]["type"] == "google.rpc.ResourceInfo" or len(answer["details"]) >= 3, answer
    p.put(event(who), event(who), event("another"))
    with held():
        got = p.delete(who)
        assert p.delete(who) == got and p.request(got["requestId"])["profileId"] == who
        assert "externalId" not in p.request(got["requestId"])
        p.missing(who)
        assert p.listed() == {"another"}
        p.put(event(who))
        second = p.delete(who)
        assert second["requestId"] != got["requestId"] and p.delete(who) == second
    assert int(p.wait(got["requestId"])["eventsIdentified"]) == 2
    assert int(p.wait(second["requestId"])["eventsIdentified"]) == 1
    assert m not in p.bytes() and p.listed() == {"another"}


def test_visitors_without_cookies(_):
    """Nobody's list shows them, and their events can be erased all the same (5.6, row 8)."""
    p = Project()
    p.put(event("cookieles~-1"), event("cookieles~-2"))
    with people.database() as db:
        for row, data in db.query(f"SELECT id, encode(data, 'hex') FROM pugd.inbox WHERE project = {p.num}"):
            db.query("UPDATE pugd.inbox SET data = decode($2, 'hex') WHERE id = $1", row,
                     test_model.forge(bytes.fromhex(data)).hex())
    fails(404, "PROFILE_NOT_FOUND", S + "Delete", {"id": "cookieless-9"}, key=p.private)
    said = p.wait(p.delete("cookieless-1")["requestId"])
    assert int(said["eventsIdentified"]) == 1, said
    assert [e["distinctId"] for e in p.feed().values()] == ["cookieless-2"]


def test_data_subject(_):
    p, m = Project(), mark()
    with held():
        # known or not: there is a request
        nobody = p.delete_subject(f"none-{m}")
        assert p.delete_subject(f"none-{m}") == nobody and nobody["status"] == PENDING
        said = p.request(nobody["requestId"])
        assert said["externalId"] == f"none-{m}" and "profileId" not in said, said
        profile, external, anon = person(p, m, 4)
        got = p.delete_subject(external)
        assert p.delete_subject(external) == got == p.delete(profile)
        assert p.request(got["requestId"])["profileId"] == profile
        p.missing(profile, anon)
        # by an id that was joined to somebody: the whole person; by bare events
        second, _, _ = person(p, m + "2", 4)
        p.alias(f"old-{m}", f"ext-{m}2")
        p.put(event(f"old-{m}"), event(f"bare-{m}"))
        absorbed, bare = p.delete_subject(f"old-{m}"), p.delete_subject(f"bare-{m}")
        assert p.request(absorbed["requestId"])["profileId"] == second and p.feed() == {}
        # a profile's own id is no external id
        third, third_external, _ = person(p, m + "3", 2)
        p.delete_subject(third)
        assert p.get(third)["externalId"] == third_external
        # events since: a new request
        p.put(event(external))
        newer = p.delete_subject(external)
        assert newer["requestId"] != got["requestId"] and p.delete_subject(external) == newer
    for request, n in ((nobody, 0), (got, 4), (absorbed, 5), (bare, 1), (newer, 1)):
        assert int(p.wait(request["requestId"])["eventsIdentified"]) == n, (request, n)
    assert len(p.feed()) == 2 and p.listed() == {third}
    P.ok(SHARED + "DeleteDataSubject", {"externalId": "x" * 512}, key=p.private)
    for body in ({"externalId": "x" * 513}, {"externalId": ""}, {}):
        fails(400, "INVALID_ARGUMENT", S + "DeleteDataSubject", body, key=p.private)
    for body in ({"id": ""}, {}):
        fails(400, "INVALID_ARGUMENT", S + "Delete", body, key=p.private)


def test_others_keep_what_is_theirs(_):
    """An anonymous id that was given to somebody else, and a person who absorbed another."""
    p, m = Project(), mark()
    profile, external, anon = person(p, m, 4)
    other = p.identify(f"other-{m}", anonymous=anon)
    assert len(p.feed(other)) == 2
    said = p.wait(p.delete(profile)["requestId"])
    assert int(said["eventsIdentified"]) == 2, said
    assert {e["distinctId"] for e in p.feed(other).values()} == {anon} and len(p.feed()) == 2
    assert p.get(anon)["id"] == other and p.listed() == {other}
    # b joins a: all three ids go with a; an id that is given away while it waits does not
    one, two = person(p, m + "a", 2), person(p, m + "b", 2)
    p.alias(two[1], one[1])
    with held():
        got = p.delete(two[0])
        assert p.request(got["requestId"])["profileId"] == one[0]
        third = p.identify(f"third-{m}", anonymous=two[2])
        assert p.feed(third) == {}
    assert int(p.wait(got["requestId"])["eventsIdentified"]) == 4
    p.put(event(two[2]))
    assert len(p.feed(third)) == 1 and p.get(two[2])["id"] == third
    assert m + "a" not in p.bytes() and p.listed() == {other, third}


def test_requests_of_others(_):
    p, other = Project(), Project()
    p.put(event("x"))
    request = p.delete("x")["requestId"]
    for project, name in ((other, request), (p, "0" * 20), (p, "no id"), (p, "x" * 600)):
        answer = fails(404, "DELETION_REQUEST_NOT_FOUND", S + "GetDeletionRequest", {"requestId": name},
                       key=project.private)
        assert any(d["type"] == "google.rpc.ResourceInfo" for d in answer["details"]), answer
    fails(404, "PROFILE_NOT_FOUND", S + "Delete", {"id": "x"}, key=other.private)
    fails(403, "PERMISSION_DENIED", S + "Delete", {"id": "x"}, key=p.public)


# ---- at the same time --------------------------------------------------------------------------

def test_many_deletes_at_once(_):
    p, m = Project(), mark()
    profile, external, anon = person(p, m, 4)
    bare = f"anon-bare-{m}"
    p.put(event(bare), event(bare))
    for ids in ((profile, external, anon, profile, external, anon), (bare,) * 6):
        with held():
            got = at_once(*[(S + "Delete", {"id": i}, {"key": p.private}) for i in ids])
            assert {s for s, _ in got} == {200} and len({a["requestId"] for _, a in got}) == 1, got
        p.wait(got[0][1]["requestId"])
    assert m not in p.bytes()


def test_events_arrive_while_their_person_is_deleted(variant):
    """What was acknowledged before a Delete began is gone, what was sent after it answered is
    there, and what was under way is one or the other for good."""
    p, who, stop = Project(), f"anon-{mark()}", threading.Event()
    sent, failures = [], []

    def send(i):
        conn = P.connect()
        while not stop.is_set():
            batch = [event(who if random.random() < 0.7 else f"other-{i}") for _ in range(3)]
            start = time.monotonic()
            status, answer, _ = P.call(BATCH, {"events": batch}, key=p.public, conn=conn)
            if status != 200:
                failures.append(answer)
            sent.extend((start, time.monotonic(), e["eventId"], e["distinctId"]) for e in batch)

    threads = [threading.Thread(target=send, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    until(lambda: len(sent) > 60)
    deleted = []
    for _ in range(3 if variant == "asan" else 6):
        start = time.monotonic()
        deleted.append((start, p.delete(who)["requestId"], time.monotonic()))
        early = {e for s, end, e, d in sent if end < start and d == who}
        assert not early & set(p.feed(who)), "hidden at once"
        time.sleep(0.15)
    stop.set()
    for t in threads:
        t.join()
    assert not failures, failures[:2]
    here = seen(p)
    found = sum(int(p.wait(r)["eventsIdentified"]) for _, r, _ in deleted)
    assert seen(p) == here, "one way for good"
    last_start, _, last_end = deleted[-1]
    for start, end, event_id, d in sent:
        if d != who:
            assert event_id in here
        elif end < last_start:
            assert event_id not in here
        elif start > last_end:
            assert event_id in here
    assert found == len(sent) - len(here), (found, len(sent), len(here))
    p.checks()


def seen(p):
    """Ids of all events, by pages."""
    out, token = set(), ""
    while True:
        got = P.ok(LIST, {"pageSize": 1000, "pageToken": token}, key=p.private)
        out |= {e["eventId"] for e in got.get("events", [])}
        token = got.get("nextPageToken")
        if not token:
            return out


# ---- what dies ---------------------------------------------------------------------------------

def test_crash_points(variant):
    """The keeper dies once at each step; the next one ends it, and counts every event once."""
    if variant == "asan":
        return
    p = Project()
    stays = person(p, mark(), 3)
    for point in POINTS:
        m = mark()
        profile, _, anon = person(p, m, 6)
        p.put(event(anon, note=m), event(stays[1]))
        armed = os.path.join(P.info["mail_dir"], "crash-erase-" + point)
        with open(armed, "w", encoding="utf-8"):
            pass
        request = p.delete(profile)["requestId"]
        until(lambda armed=armed: not os.path.exists(armed))
        said = p.wait(request)
        assert int(said["eventsIdentified"]) == 7, (point, said)
        assert m not in p.bytes() and profile not in p.bytes(), point
    assert len(p.feed()) == 3 + len(POINTS) and p.listed() == {stays[0]}
    p.checks()


def keeper():
    found = []
    until(lambda: found.extend(w["pid"] for w in P.admin()["workers"]
                               if w["role"] == "keeper" and w["state"] == "ready") or found)
    return found[0]


def test_kill_in_the_middle(variant):
    p, m, blobs = Project(), mark(), 100 if variant == "asan" else 400
    profile, _, anon = person(p, m, 4)
    p.put(event(anon, note=m), event("stays"))
    with people.database() as db:
        db.query(f"""INSERT INTO pugd.inbox (project, n, stored, tmin, tmax, receive_day, data)
                     SELECT project, n, stored, tmin, tmax, receive_day, data
                     FROM pugd.inbox, generate_series(2, {blobs}) i WHERE project = {p.num}""")
    used, before = p.usage(), len(P.log())
    request = p.delete(profile)["requestId"]
    for _ in range(4):
        time.sleep(random.uniform(0.05, 0.4))
        victim = keeper()
        os.kill(victim, signal.SIGKILL)
        until(lambda victim=victim: keeper() != victim)
    for worker in [w["pid"] for w in P.admin()["workers"] if w["role"] == "worker"]:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len([w for w in P.admin()["workers"] if w["state"] == "ready"]) == 3)
    said = p.wait(request, seconds=120)
    assert int(said["eventsIdentified"]) == 5 * blobs, said
    both = "(SELECT project, stored FROM pugd.inbox UNION ALL SELECT project, n FROM pugd.segment) x"  # sealed meanwhile?
    assert P.psql(f"SELECT sum(stored) FROM {both} WHERE project = {p.num}")[0][0] == str(blobs)
    assert m not in p.bytes() and p.usage() == used and p.get("stays")
    assert m not in P.log()[before:], "the log names nobody"


def test_a_worker_dies_around_the_commit(_):
    p = Project()
    for how in ("abort", "abort-after"):
        m = mark()
        profile, _, anon = person(p, m, 4)
        try:
            P.call(S + "Delete", {"id": anon}, key=p.private, headers={"x-test-crash": how})
            raise AssertionError("the worker lives")
        except (http.client.HTTPException, OSError):
            pass
        until(lambda: len([w for w in P.admin()["workers"] if w["state"] == "ready"]) == 3)
        if how == "abort":
            assert p.get(anon)["id"] == profile
            assert int(p.wait(p.delete(anon)["requestId"])["eventsIdentified"]) == 4
        else:
            p.missing(anon)
        until(lambda m=m: m not in p.bytes())


def test_damage_is_told_and_can_be_tried_again(_):
    p, m = Project(), mark()
    profile, external, anon = person(p, m, 4)
    stays = person(p, mark(), 2)
    where = f"WHERE project = {p.num} AND id = (SELECT min(id) FROM pugd.inbox WHERE project = {p.num})"
    with people.database() as db:
        whole = db.one(f"SELECT encode(data, 'hex') FROM pugd.inbox {where}")
        with held():
            request = p.delete(profile)["requestId"]
            db.query(f"UPDATE pugd.inbox SET data = set_byte(data, 30, get_byte(data, 30) # 1) {where}")
        said = p.wait(request, FAILED)
        assert "damaged" in said["error"] and said["profileId"] == profile, said
        db.query(f"UPDATE pugd.inbox SET data = decode($1, 'hex') {where}", whole)
        p.missing(profile, external, anon)
        assert len(p.feed()) == 2
        again = p.delete(external)
        assert again == {"requestId": request, "status": PENDING}, again
    said = p.wait(request)
    assert int(said["eventsIdentified"]) == 4 and "error" not in said, said
    assert m not in p.bytes() and p.listed() == {stays[0]}
    assert P.admin()["counters"]["erasures_failed"] >= 1


def pugd(server, *words):
    done = subprocess.run([server.binary, *words, "--config", "/dev/null", "-o",
                           "database_url=" + server.info["database_url"], "-o",
                           "credential_file=" + os.path.join(server.data, "credential")],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_restore_within_the_delay(variant):
    global P
    outer = P
    with pug.Pug(variant, options=["workers=2", "erasure_delay=1h"]) as P:
        use(P)
        try:
            restore_and_refuse(Project())
        finally:
            P = outer
            use(outer)


def restore_and_refuse(p):
    m = mark()
    profile, external, anon = person(p, m, 4)
    before, feed = p.get(profile), p.feed(anon)
    request = p.delete(anon)["requestId"]
    time.sleep(1.5)
    assert p.request(request)["status"] == PENDING and p.delete(external)["requestId"] == request
    p.missing(profile, external, anon)
    for words in ((p.id, "nobody"), ("0" * 20, request)):
        code, _, err = pugd(P, "profile", "restore", *words)
        assert code == 1 and "no deletion waits" in err, err
    for words in ((), ("restore",), ("restore", p.id), ("undo", p.id, request)):
        assert pugd(P, "profile", *words)[0] == 2, words
    assert pugd(P, "profile", "restore", p.id, request) == (0, f"request={request} undone\n", "")
    assert p.get(profile) == before and p.get(anon) == before and p.feed(external) == feed
    fails(404, "DELETION_REQUEST_NOT_FOUND", S + "GetDeletionRequest", {"requestId": request}, key=p.private)
    assert pugd(P, "profile", "restore", p.id, request)[0] == 1
    # by the external id; what came meanwhile stays the person's who has the ids now
    p.delete(profile)
    p.put(event(external))
    assert pugd(P, "profile", "restore", p.id, external)[0] == 0 and len(p.feed(profile)) == 5
    # somebody anonymous, whose events are sealed before and after
    p.put(event("anon-bare"))
    p.delete("anon-bare")
    p.missing("anon-bare")
    everything = len(p.feed())
    assert pugd(P, "seal")[0] == 0
    assert len(p.feed()) == everything and p.feed("anon-bare") == {}
    for _ in range(9):
        p.put(event("anon-bare-2"))
        assert pugd(P, "seal")[0] == 0
    assert len(p.feed()) == everything + 9
    p.missing("anon-bare")
    assert pugd(P, "profile", "restore", p.id, "anon-bare")[0] == 0 and p.get("anon-bare")
    # the external id is somebody else's meanwhile
    request = p.delete(profile)["requestId"]
    second = p.identify(external)
    code, _, err = pugd(P, "profile", "restore", p.id, request)
    assert code == 1 and "new profile" in err, err
    assert p.get(second) and p.request(request)["status"] == PENDING
    # who may not wait takes the waiting one of the same ids with him
    now = p.delete_subject(external)["requestId"]
    p.wait(now)
    assert int(p.wait(request)["eventsIdentified"]) == 5
    assert pugd(P, "profile", "restore", p.id, request)[0] == 1 and m not in p.bytes()
    # and so does one that repeats a waiting one
    third, external, _ = person(p, m + "3", 2)
    request = p.delete(third)["requestId"]
    assert p.delete_subject(external)["requestId"] == request
    p.wait(request)


def test_a_deleted_project_takes_its_requests_along(_):
    p, m = Project(), mark()
    profile, _, _ = person(p, m, 4)
    done = p.wait(p.delete(profile)["requestId"])
    assert done
    with held():
        second, _, _ = person(p, m + "2", 2)
        p.delete(second)
        P.ok(test_accounts.PROJECTS + "Delete", token=p.token, project=p.id)
        with people.database() as db:
            db.query(f"UPDATE pugd.projects SET deleted_at = deleted_at - interval '1 hour' WHERE num = {p.num}")
            until(lambda: db.one(f"SELECT purged_at IS NOT NULL FROM pugd.projects WHERE num = {p.num}") == "t")
            for table in ("erasures", "tombstones", "profiles", "aliases", "inbox", "segment", "segment_column"):
                assert db.one(f"SELECT count(*) FROM pugd.{table} WHERE project = {p.num}") == "0", table


def use(server):
    test_accounts.P = test_identify.P = server


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        P.variant = variant
        use(P)
        sys.exit(pug.main(tests, expects=(*pug.ABORTS, "erasure failed .* is damaged")))
