"""People, organisations and calls for suites about them: both paths of a method, both
codecs, many callers at one moment."""
import base64
import contextlib
import json
import threading
import time
import uuid

import pg
import test_accounts
from test_accounts import AUTH, ORGS, fails
from test_protocol import fields

ALIAS = {"Update": "UpdateDisplayName", "List": "BatchGet"}


def server():
    return test_accounts.P


def alias(path):
    """The released path of /orgs.v1.OrgsService/X, /projects..., /usage...."""
    service, method = path[1:].split("/")
    other = "UpdateMeta" if "projects" in service and method == "Update" else ALIAS.get(method, method)
    return f"/dashboard.{service}/{other}"


class Person:
    def __init__(self):
        self.email = f"Pat-{uuid.uuid4().hex[:12]}@Example.com"
        pair = server().ok(AUTH + "SignUp", {"email": self.email, "password": "correct horse",
                                             "displayName": "Pat"})
        self.token = pair["token"]
        self.id = json.loads(base64.urlsafe_b64decode(self.token.split(".")[1] + "=="))["sub"]

    def org(self, name="Zoo"):
        return server().ok(ORGS + "Create", {"displayName": name}, token=self.token)["org"]["id"]

    def ok(self, path, body=None, **kw):
        return server().ok(path, body, token=self.token, **kw)

    def fails(self, status, reason, path, body=None, **kw):
        return fails(status, reason, path, body, token=self.token, **kw)


@contextlib.contextmanager
def database():
    with pg.connect(server().info["database_url"]) as db:
        yield db


def join(org, person, role):
    """What accepting an invitation does. role: 1 admin, 2 member, 3 viewer."""
    with database() as db:
        db.query("INSERT INTO pugd.org_members (org_id, customer_id, role) VALUES "
                 f"('{org}', '{person.id}', {role})")


def roles(org):
    with database() as db:
        return dict(db.query("SELECT customer_id, role FROM pugd.org_members "
                             f"WHERE org_id = '{org}'"))


def packed(*pairs):
    """A Protobuf message of (number, str or int or bytes)."""
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])

    out = b""
    for number, value in pairs:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def binary(path, *pairs, **kw):
    """One binary call; the fields of its answer, or the JSON error."""
    status, answer, headers = server().call(path, raw=packed(*pairs), **kw,
                                            headers={"content-type": "application/proto"})
    if status != 200:
        return status, answer
    assert headers["content-type"] == "application/proto", headers
    return status, fields(answer)


def at_once(*calls):
    """Makes the calls (path, body, keywords) at one moment, each on a warm connection of its
    own. [(status, answer)]"""
    conns = [server().connect() for _ in calls]
    for conn in conns:
        server().call("/healthz", conn=conn, method="GET")
    gate, out = threading.Barrier(len(calls)), [None] * len(calls)

    def run(i):
        path, body, kw = calls[i]
        gate.wait()
        out[i] = server().call(path, body, conn=conns[i], **kw)[:2]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for conn in conns:
        conn.close()
    return out


class Later:
    """A call that goes on while the test does something else."""

    def __init__(self, path, body=None, **kw):
        self.answer = None
        self.thread = threading.Thread(target=self.run, args=(path, body, kw))
        self.thread.start()

    def run(self, path, body, kw):
        self.answer = server().call(path, body, **kw)[:2]

    def result(self):
        self.thread.join(30)
        return self.answer

    def waits(self):
        """Until the server waits for a lock in PostgreSQL."""
        with database() as db:
            until(lambda: db.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = "
                                 "'Lock' AND application_name = 'pugd'") != "0")
        return self


def until(ready, seconds=30):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
