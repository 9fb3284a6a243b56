#!/usr/bin/env python3
"""Every alias path of the protos is its canonical path: the same call to both, the same answer. What
was called, the access log says, with one line a call."""
import collections
import os
import re
import sys
import time
import urllib.parse

import pug

sys.path.insert(0, os.path.join(pug.TOP, "proto", "gen"))
import methods  # noqa: E402
import schema as schemas  # noqa: E402
from google.protobuf import descriptor_pb2  # noqa: E402

# A successful answer holds fresh tokens: only the status is compared.
VOLATILE = {"/auth.v1.AuthService/DemoSignIn"}
P = None


def entries():
    with open(os.path.join(pug.TOP, "build/gen/api.pb"), "rb") as f:
        schema = schemas.Schema(descriptor_pb2.FileDescriptorSet.FromString(f.read()))
    return methods.entries(schema, [], None)


def credentials(entry, viewer):
    """A viewer may read and change nothing, so that an empty request is harmless everywhere."""
    if entry.authz == "PUBLIC":
        return [{}]
    if entry.authz == "SDK":
        return [{}, {"key": P.info["public_key"]}]
    return [{}, {"token": viewer, "project": P.info["project_id"]}]


def requests(entry):
    """(what, path suffix, arguments of call()): an empty message in every way that it may be sent."""
    yield "json", "", {"raw": b"{}"}
    yield "binary", "", {"raw": b"", "headers": {"content-type": "application/proto"}}
    yield "malformed", "", {"raw": b"{\"events\": 7, \"spec\": 7, \"email\": 7, \"id\": 7"}
    if entry.method.no_side_effects:
        query = urllib.parse.urlencode({"connect": "v1", "encoding": "json", "message": "{}"})
        yield "get", "?" + query, {"method": "GET"}


def walk(conn, viewer, calls):
    """Compares; counts what it called by request id."""
    for entry in entries():
        paths = [entry.method.path] + entry.aliases
        for who in credentials(entry, viewer):
            for what, suffix, kw in requests(entry):
                tag = f"alias-{len(calls)}-{what}"
                headers = {**kw.get("headers", {}), "x-request-id": tag}
                answers = [P.call(p + suffix, conn=conn, **{**kw, **who, "headers": headers})[:2] for p in paths]
                calls[tag] = (entry.method.path, len(paths))
                assert answers[0][0] not in (500, 503), (tag, paths, answers)
                if entry.method.path in VOLATILE and answers[0][0] == 200:
                    answers = [a[:1] for a in answers]
                assert all(a == answers[0] for a in answers), (tag, paths, answers)


def lines(calls):
    """Method names of the access-log lines of each request id."""
    found = collections.defaultdict(list)
    for name, tag in re.findall(r" call verb=.* name=(\S+) .* id=(alias-\S+) ", P.log()):
        found[tag].append("/" + name)
    return found if sum(map(len, found.values())) >= sum(n for _, n in calls.values()) else None


def test_aliases_answer_as_their_method(_):
    viewer, calls = P.sign_in(viewer=True), {}
    conn = P.connect()
    walk(conn, viewer, calls)
    conn.close()
    assert len({path for path, n in calls.values() if n > 1}) > 50, len(calls)
    end = time.monotonic() + 10
    while not (found := lines(calls)):
        assert time.monotonic() < end, "the access log lacks lines"
        time.sleep(0.05)
    for tag, (path, n) in calls.items():
        assert found[tag] == [path] * n, (tag, path, n, found[tag])


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with pug.Pug("asan" if "asan" in sys.argv else "test", options=["workers=2"]) as P:
        sys.exit(pug.main(tests))
