#!/usr/bin/env python3
"""Names and zones of projects (auth.md 5.2), and their end: hidden at once, keys dead on every
worker, everything that they owned erased in the background, whatever is killed meanwhile."""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import pug
import test_accounts
from test_accounts import ORGS, PROJECTS, reason
from test_protocol import fields
from people import Later, Person, alias, at_once, binary, database, join, until

BATCH = "/events.v1.EventsService/BatchCreate"
USAGE = "/usage.v1.UsageService/GetUsage"
P = None
BOSS = None


def both(method):
    return PROJECTS + method, alias(PROJECTS + method)


def events(n, day=2):
    return [{"eventId": str(uuid.uuid4()), "name": "e", "distinctId": "u",
             "timestamp": f"2026-01-{day:02}T00:00:00Z"} for _ in range(n)]


# Where something of a project is once it has events.
EVENTS = {"inbox", "event_seen", "catalog", "catalog_state"}


class Project:
    def __init__(self, org=None):
        global BOSS
        BOSS = BOSS or Person()
        self.org = org or BOSS.org()
        self.name = uuid.uuid4().hex
        self.id = BOSS.ok(PROJECTS + "Create", {"orgId": self.org, "displayName": self.name})["project"]["id"]
        self.pub = BOSS.ok(PROJECTS + "ListApiKeys", project=self.id)["apiKeys"][0]["key"]
        self.prv = BOSS.ok(PROJECTS + "CreateApiKey", {"kind": 2}, project=self.id)["key"]
        with database() as db:
            self.num = db.one(f"SELECT num FROM pugd.projects WHERE id = '{self.id}'")

    def send(self, batch, **kw):
        return P.ok(BATCH, {"events": batch}, key=self.prv, **kw)

    def delete(self, path=PROJECTS + "Delete"):
        return BOSS.ok(path, project=self.id)

    def fill(self, seen=20000, blobs=300, people=3000):
        """Much of everything; the blobs are copies, 3 events each."""
        self.send(events(3))
        with database() as db:
            db.query(f"""
              INSERT INTO pugd.event_seen SELECT {self.num}, d, gen_random_uuid()
                FROM generate_series(1, {seen}), unnest(ARRAY[current_date, current_date - 1,
                                                              date '2015-05-05']) d;
              INSERT INTO pugd.inbox (project, n, stored, tmin, tmax, receive_day, data)
                SELECT project, n, stored, tmin, tmax, date '2026-01-01' + i % 40, data
                FROM pugd.inbox, generate_series(1, {blobs}) i WHERE project = {self.num};
              INSERT INTO pugd.profiles (project, id, external_id)
                SELECT {self.num}, lpad(i::text, 20, '0'), i::text FROM generate_series(1, {people}) i;
              INSERT INTO pugd.aliases (project, alias_id, profile_id)
                SELECT {self.num}, 'a' || i, lpad(i::text, 20, '0') FROM generate_series(1, {people}) i;
              WITH d AS (INSERT INTO pugd.dashboards (id, project, display_name, time_range, granularity)
                SELECT lpad('{self.num}d' || i, 20, '0'), {self.num}, 'd', 1, 1 FROM generate_series(1, 1200) i
                RETURNING id)
              INSERT INTO pugd.dashboard_tiles (id, dashboard, body) SELECT reverse(id), id, '' FROM d;
              INSERT INTO pugd.imports (project, source, read_bytes, read_sha256)
                VALUES ({self.num}, '-', 1, sha256('x'));
              INSERT INTO pugd.erasures (project, id, external_id, high, fence, due_at)
                SELECT {self.num}, lpad(i::text, 20, '0'), i::text, 1, '1', now() + interval '1 year'
                FROM generate_series(1, 1200) i;
              INSERT INTO pugd.tombstones (project, erasure, distinct_id, high)
                SELECT {self.num}, lpad(i::text, 20, '0'), i::text, 1 FROM generate_series(1, 1200) i""")
        return self

    def remains(self):
        """{table: rows} over everything that has a column `project`."""
        with database() as db:
            tables = [t for t, in db.query(
                "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
                "WHERE c.relnamespace = 'pugd'::regnamespace AND c.relkind IN ('r', 'p') "
                "AND NOT c.relispartition AND a.attname = 'project' AND a.attnum > 0 ORDER BY 1")]
            assert {"aliases", "api_keys", "catalog", "catalog_state", "dashboards", "erasures", "event_seen", "imports",
                    "inbox", "profiles", "tombstones", "usage_days"} <= set(tables)
            got = {t: int(db.one(f"SELECT count(*) FROM pugd.{t} WHERE project = {self.num}"))
                   for t in tables}
        return {t: n for t, n in got.items() if n}

    def purged(self):
        with database() as db:
            return db.one(f"SELECT purged_at IS NOT NULL FROM pugd.projects WHERE num = {self.num}") == "t"

    def is_due(self):
        with database() as db:
            db.query("UPDATE pugd.projects SET deleted_at = deleted_at - interval '1 hour' "
                     f"WHERE num = {self.num} AND deleted_at IS NOT NULL")


def usage(org):
    got = BOSS.ok(USAGE, {"orgId": org, "range": {"from": "2026-01-01T00:00:00Z",
                                                  "to": "2027-01-01T00:00:00Z"}})
    return sorted((d["projectId"], d["day"], d["eventCount"]) for d in got["daily"])


def keeper():
    """The pid of the keeper that is ready."""
    def ready():
        return [w["pid"] for w in P.admin()["workers"] if w["role"] == "keeper" and w["state"] == "ready"]
    end = time.monotonic() + 30
    while not (found := ready()):
        assert time.monotonic() < end, "no keeper is ready"
        time.sleep(0.02)
    return found[0]


# ---- names and zones --------------------------------------------------------------------

def test_zones(_):
    org = Project().org
    for path in both("Create"):
        for zone, want in (("Europe/Berlin", "Europe/Berlin"), ("", ""), ("UTC", ""),
                           ("Mars/Olympus", ""), ("../etc/passwd", 400), ("x" * 65, 400)):
            body = {"orgId": org, "displayName": uuid.uuid4().hex, "reportingTimezone": zone}
            if want == 400:
                BOSS.fails(400, "INVALID_ARGUMENT", path, body)
            else:
                assert BOSS.ok(path, body)["project"]["reportingTimezone"] == want
    project = Project(org)
    for path in both("Update"):
        for body, name, zone in (({"reportingTimezone": "Asia/Tokyo"}, project.name, "Asia/Tokyo"),
                                 ({"displayName": "n"}, "n", "Asia/Tokyo"), ({}, "n", "Asia/Tokyo"),
                                 ({"reportingTimezone": ""}, "n", ""),
                                 ({"displayName": project.name, "reportingTimezone": "UTC"},
                                  project.name, "")):
            got = BOSS.ok(path, body, project=project.id)["project"]
            assert (got["displayName"], got["reportingTimezone"]) == (name, zone), got
        for zone in ("Mars/Olympus", "Europe", "posixrules/x", "europe/berlin/"):
            answer = BOSS.fails(400, "INVALID_TIMEZONE", path, {"reportingTimezone": zone},
                                project=project.id)
            assert "timezone" in answer["message"], answer


def test_names(_):
    one = Project()
    two = Project(one.org)
    for path in both("Create"):
        BOSS.fails(409, "PROJECT_NAME_TAKEN", path, {"orgId": one.org, "displayName": one.name})
    for path in both("Update"):
        BOSS.fails(409, "PROJECT_NAME_TAKEN", path, {"displayName": one.name}, project=two.id)
        BOSS.ok(path, {"displayName": two.name}, project=two.id)
    # another spelling and another org are other names
    BOSS.ok(PROJECTS + "Create", {"orgId": one.org, "displayName": one.name.upper()})
    BOSS.ok(PROJECTS + "Create", {"orgId": BOSS.org(), "displayName": one.name})
    two.delete()
    BOSS.ok(PROJECTS + "Update", {"displayName": two.name}, project=one.id)


# ---- Delete -----------------------------------------------------------------------------

def test_delete_hides_at_once(_):
    for path in both("Delete"):
        project = Project()
        other = Project(project.org)
        conns = [P.connect() for _ in range(12)]
        for conn in conns:  # the keys are in every worker's reach
            for key in (project.pub, project.prv, other.pub):
                P.ok(BATCH, {"events": []}, key=key, conn=conn)
        assert project.delete(path) == {}
        for conn in conns:
            for key in (project.pub, project.prv):
                test_accounts.fails(401, "UNAUTHENTICATED", BATCH, {"events": events(1)}, key=key, conn=conn)
            P.ok(BATCH, {"events": events(1)}, key=other.pub, conn=conn)
            conn.close()
        test_accounts.fails(401, "UNAUTHENTICATED", "/activity.v1.ActivityService/List", {}, key=project.prv)
        for method in ("Get", "Delete", "ListApiKeys", "Update"):
            BOSS.fails(403, "PERMISSION_DENIED", PROJECTS + method, project=project.id)
        listed = BOSS.ok(PROJECTS + "List", {"orgId": project.org})["projects"]
        assert project.id not in [p["id"] for p in listed] and other.id in [p["id"] for p in listed]
        again = BOSS.ok(PROJECTS + "Create", {"orgId": project.org, "displayName": project.name})
        assert again["project"]["id"] != project.id
        assert binary(path, token=BOSS.token, project=other.id) == (200, [])
        BOSS.fails(403, "PERMISSION_DENIED", path, project=other.id)


def test_delete_asks_for_an_admin(_):
    project = Project()
    for role in (2, 3):
        other = Person()
        join(project.org, other, role)
        for path in both("Delete"):
            other.fails(403, "ORG_ROLE_FORBIDDEN", path, project=project.id)
    for path in both("Delete"):
        Person().fails(403, "PERMISSION_DENIED", path, project=project.id)
        BOSS.fails(400, "PROJECT_REQUIRED", path)
        for key in (project.pub, project.prv):
            test_accounts.fails(403, "PERMISSION_DENIED", path, key=key)
    test_accounts.fails(403, "ORG_ROLE_FORBIDDEN", PROJECTS + "Delete", token=P.sign_in(viewer=True),
                        project=P.info["project_id"])
    # a role that was lost on the way, and a project
    friend = Person()
    join(project.org, friend, 1)
    with database() as db:
        db.query("BEGIN; UPDATE pugd.org_members SET role = 2 "
                 f"WHERE org_id = '{project.org}' AND customer_id = '{friend.id}'")
        late = Later(PROJECTS + "Delete", token=friend.token, project=project.id).waits()
        db.query("COMMIT")
        status, answer = late.result()
        assert (status, reason(answer)) == (403, "ORG_ADMIN_REQUIRED"), answer
        db.query(f"UPDATE pugd.org_members SET role = 1 WHERE customer_id = '{friend.id}'")
        db.query(f"BEGIN; SELECT FROM pugd.projects WHERE num = {project.num} FOR UPDATE")
        late = Later(PROJECTS + "Delete", token=friend.token, project=project.id).waits()
        db.query(f"UPDATE pugd.projects SET deleted_at = now() WHERE num = {project.num}; COMMIT")
    status, answer = late.result()
    assert status == 404 and reason(answer) == "PROJECT_NOT_FOUND", answer
    assert any(d["type"] == "google.rpc.ResourceInfo" for d in answer["details"]), answer


def test_delete_at_once(_):
    for _ in range(5):
        project = Project()
        got = at_once(*[(PROJECTS + "Delete", {}, {"token": BOSS.token, "project": project.id})] * 8)
        assert [s for s, _ in got].count(200) == 1, got
        for status, answer in got:
            assert status == 200 or (status, reason(answer)) in (
                (404, "PROJECT_NOT_FOUND"), (403, "PERMISSION_DENIED")), got


def test_keys_and_delete_at_once(_):
    """Making, ending and deleting keys meanwhile: no deadlock, and no key works afterwards."""
    for _ in range(5):
        project = Project()
        ids = [k["id"] for k in BOSS.ok(PROJECTS + "ListApiKeys", project=project.id)["apiKeys"]]
        who = {"token": BOSS.token, "project": project.id}
        got = at_once(*[(PROJECTS + "CreateApiKey", {"kind": 2}, who)] * 3,
                      *[(PROJECTS + "RevokeApiKey", {"id": i}, who) for i in ids],
                      (PROJECTS + "Delete", {}, who))
        assert got[-1][0] == 200 and all(s in (200, 403, 404) for s, _ in got), got
        for status, answer in got[:3]:
            if status == 200:
                test_accounts.fails(401, "UNAUTHENTICATED", BATCH, {"events": []}, key=answer["key"])
        project.is_due()


# ---- the purge --------------------------------------------------------------------------

def test_purge(_):
    fresh = Project()
    fresh.send(events(1))
    fresh.delete()  # not due while a claim could still be under way
    doomed = Project().fill()
    neighbour = Project(doomed.org).fill(seen=100, blobs=5, people=50)
    before, kept = usage(doomed.org), neighbour.remains()
    doomed.delete()
    # the keeper may have copied its people already
    left = set(doomed.remains()) - {"people_pack", "people_state"}
    assert "api_keys" not in left and len(left) == 10, left
    doomed.is_due()

    def over():
        assert usage(doomed.org) == before  # at every moment
        return doomed.purged()
    until(over)
    assert set(doomed.remains()) == {"usage_days"}, doomed.remains()
    assert usage(doomed.org) == before and neighbour.remains() == kept
    assert set(fresh.remains()) == EVENTS and not fresh.purged()
    with database() as db:
        assert db.one(f"SELECT count(*) FROM pugd.projects WHERE num = {doomed.num}") == "1"
    fresh.is_due()
    until(fresh.purged)


def test_purge_survives_kills(_):
    doomed = Project().fill(seen=60000)
    before = usage(doomed.org)
    total = doomed.remains()["event_seen"]
    doomed.delete()
    doomed.is_due()
    kills = 0
    with database() as db:
        # One row that cannot go: whatever happens, the purge is not over before we say so.
        db.query(f"BEGIN; SELECT FROM pugd.aliases WHERE project = {doomed.num} AND alias_id = 'a7' FOR UPDATE")
        left = total
        while left > 0 and kills < 3:
            now = doomed.remains().get("event_seen", 0)
            if 0 < now < left:  # it is at it
                os.kill(keeper(), signal.SIGKILL)
                kills += 1
            left = now
        until(lambda: doomed.remains().get("event_seen", 0) == 0)
        until(lambda: doomed.remains()["aliases"] == 1)
        os.kill(keeper(), signal.SIGKILL)
        kills += 1
        keeper()
        assert not doomed.purged() and usage(doomed.org) == before
        other = Project()  # is not held up
        other.send(events(1))
        other.delete()
        other.is_due()
        until(other.purged)
        assert not doomed.purged()
        db.query("COMMIT")
    until(doomed.purged)
    print("  kills", kills)
    assert set(doomed.remains()) == {"usage_days"} and usage(doomed.org) == before


@contextlib.contextmanager
def second_host():
    """Another pugd with a keeper of its own on the same database."""
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
        command = [P.binary, "run"]
        for option in (f"database_url={P.info['database_url']}", "listen=127.0.0.1:0", "admin_listen=",
                       "user=", "workers=1", f"credential_file={key}"):
            command += ["-o", option]
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                yield lambda: open(log.name, encoding="utf-8").read()
            finally:
                child.terminate()
                assert child.wait(60) == 0


def test_purge_of_two_hosts(_):
    with second_host() as log:
        until(lambda: "role=keeper" in log() or "keeper" in log())
        org = BOSS.org()
        all_of = [Project(org).fill(seen=10000, blobs=200) for _ in range(3)]
        before = usage(org)
        for project in all_of:
            project.delete()
        with database() as db:
            db.query("UPDATE pugd.projects SET deleted_at = now() - interval '1 hour' "
                     f"WHERE org_id = '{org}' AND deleted_at IS NOT NULL")
        until(lambda: all(project.purged() for project in all_of))
        assert usage(org) == before
        assert all(set(project.remains()) == {"usage_days"} for project in all_of)


def test_a_claim_that_ends_after_the_deletion(_):
    """It saw the project alive, so its events are stored: and purged like the others."""
    project = Project()
    batch = events(2)
    with database() as db:
        db.query(f"BEGIN; INSERT INTO pugd.event_seen VALUES ({project.num}, '2026-01-02', "
                 f"'{batch[0]['eventId']}')")
        late = Later(BATCH, {"events": batch}, key=project.prv).waits()
        project.delete()
        db.query("ROLLBACK")
    assert late.result()[0] == 200, late.result()
    assert set(project.remains()) == EVENTS, project.remains()
    before = usage(project.org)
    assert [row[2] for row in before] == ["2"], before
    project.is_due()
    until(project.purged)
    assert set(project.remains()) == {"usage_days"} and usage(project.org) == before


def test_delete_under_load(_):
    """Senders that never stop: once Delete has answered, nothing more is accepted."""
    project = Project()
    gone, wrong = threading.Event(), []

    def send():
        conn, after = P.connect(), 0
        while after < 5:
            over = gone.is_set()
            status, answer, _ = P.call(BATCH, {"events": events(3)}, key=project.pub, conn=conn)
            after += over
            if (status != 200 and (status, reason(answer)) != (401, "UNAUTHENTICATED") and over) or \
                    (over and status == 200):
                wrong.append((status, answer))
        conn.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: project.remains().get("inbox", 0) > 5)
    project.delete()
    gone.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    before = usage(project.org)
    project.is_due()
    until(project.purged)
    assert set(project.remains()) == {"usage_days"} and usage(project.org) == before


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=4"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests, expects=pug.KILLS))
