#!/usr/bin/env python3
"""Reading persons: one by one, by pages, and as a stream read by hand."""
import base64
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
import uuid

import model
import protos
import pug
import test_accounts
import test_identify
from test_accounts import fails, reason
from test_identify import BATCH, GET, Project

S = "/profiles.v1.ProfilesService/"
SHARED = "/shared.profiles.v1.ProfilesService/"
SHOWN = {"browser": "$browser", "browserVersion": "$browserVersion", "os": "$os", "osVersion": "$osVersion",
         "device": "$device", "country": "$country", "region": "$region", "city": "$city"}
P = None


def event(who, at, kind="page_view", session=None, **auto):
    return {"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": who, "occurTime": at,
            "sessionId": session or str(uuid.uuid4()),
            "autoProperties": {"$" + k: {"stringValue": v} for k, v in auto.items()}}


def send(p, events):
    for i in range(0, len(events), 1000):
        P.ok(BATCH, {"events": events[i:i + 1000]}, key=p.private)


def ids(answer):
    return [x["id"] for x in answer.get("profiles", [])]


def group(*filters, operator="LOGICAL_OPERATOR_AND"):
    return {"filters": list(filters), "operator": operator}


def trait(name, op, value=None, values=None, source="PROPERTY_SOURCE_PROFILE"):
    f = {"property": name, "operator": "FILTER_OPERATOR_" + op, "source": source}
    if value is not None:
        f["value"] = value
    if values is not None:
        f["values"] = values
    return f


def auto(name, op, value=None, values=None):
    return trait(name, op, value, values, source="PROPERTY_SOURCE_AUTO")


def pages(p, body, size):
    """Everybody by pages; the last one has no token."""
    out, token = [], None
    while True:
        got = P.ok(S + "List", {**body, "pageSize": size, **({"pageToken": token} if token else {})},
                   key=p.private)
        out += got.get("profiles", [])
        token = got.get("nextPageToken")
        assert len(got.get("profiles", [])) == size or not token, got
        if not token:
            return out


# ---- a stream, read by hand ----------------------------------------------------------------

class Stream:
    """One ListAll on a socket of its own, chunk by chunk."""

    def __init__(self, key, body=None, codec="json", headers=(), path=SHARED + "List", raw=None, version="1.1",
                 receive=0):
        method = next(m for m in protos.methods() if m.path == S + "ListAll")
        message = json.dumps(body or {}).encode() if codec == "json" else method.encode(body or {})
        if raw is None:
            raw = b"\0" + struct.pack(">I", len(message)) + message
        self.method, self.codec = method, codec
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(30)
        self.socket.connect((P.host, P.port))
        head = {"host": "x", "content-type": "application/connect+" + codec, "x-api-key": key,
                "connect-protocol-version": "1", "content-length": str(len(raw)), **dict(headers)}
        self.socket.sendall(f"POST {path} HTTP/{version}\r\n".encode() +
                            b"".join(f"{k}: {v}\r\n".encode() for k, v in head.items()) + b"\r\n" + raw)
        self.file = self.socket.makefile("rb")
        self.left = b""

    def head(self):
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()):
            name, value = line.decode().split(": ", 1)
            headers[name.lower()] = value
        self.headers = headers
        return status, headers

    def more(self):
        """The bytes of one chunk; b"" at the end."""
        if "transfer-encoding" not in self.headers:
            if "content-length" not in self.headers:
                return self.file.read(65536)
            n, self.headers["content-length"] = int(self.headers["content-length"]), "0"
            return self.file.read(n)
        n = int(self.file.readline(), 16)
        data = self.file.read(n)
        assert self.file.readline() == b"\r\n"
        return data

    def frame(self):
        """(flags, message), or None at the end of the body."""
        while len(self.left) < 5 or len(self.left) < 5 + struct.unpack(">I", self.left[1:5])[0]:
            data = self.more()
            if not data:
                assert not self.left, self.left
                return None
            self.left += data
        n = struct.unpack(">I", self.left[1:5])[0]
        flags, message, self.left = self.left[0], self.left[5:5 + n], self.left[5 + n:]
        return flags, message

    def all(self):
        """(messages, the end as JSON, flags seen); the body must be over after the end."""
        messages, seen = [], set()
        while True:
            got = self.frame()
            assert got, "the stream ends without its end"
            flags, raw = got
            seen.add(flags)
            if flags & 2:
                assert self.frame() is None
                return messages, json.loads(raw), seen
            if flags & 1:
                raw = gzip.decompress(raw)
            messages.append(json.loads(raw) if self.codec == "json" else self.method.decode(raw))

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_stream(key, body=None, **kw):
    with Stream(key, body, **kw) as s:
        status, headers = s.head()
        assert status == 200, status
        assert headers["content-type"] == "application/connect+" + kw.get("codec", "json"), headers
        return (*s.all(), headers)


# ---- one ----------------------------------------------------------------------------------

def test_get_the_whole_person(_):
    p, one, two = Project(), str(uuid.uuid4()), str(uuid.uuid4())
    send(p, [event("anon-1", "2026-11-01T10:00:00.25Z", session=one, browser="Firefox", city="Bonn"),
             event("u1", "2026-11-02T10:00:00Z", "buy", session=one, browser="Safari", os="iOS"),
             event("u1", "2026-11-01T11:00:00Z", session=two, device="phone"),
             event("somebody", "2026-11-03T00:00:00Z")])
    who = p.identify("u1", {"plan": "pro"}, "anon-1")
    got = P.ok(GET, {"id": who}, key=p.private)["profile"]
    for path, body in ((SHARED + "Get", {"id": "anon-1"}), (S + "GetByExternalId", {"externalId": "u1"}),
                       (SHARED + "GetByExternalId", {"externalId": "u1"})):
        assert P.ok(path, body, key=p.private)["profile"] == got
    assert (got["id"], got["externalId"], got["projectId"]) == (who, "u1", p.id)
    assert got["properties"] == {"plan": "pro"}
    assert abs(model.millis(got["createTime"]) / 1000 - time.time()) < 60
    # The latest event decides, also where it says nothing.
    assert got["activity"] == {
        "firstSeen": "2026-11-01T10:00:00.250Z", "lastSeen": "2026-11-02T10:00:00Z", "totalEvents": "3",
        "pageviews": "2", "sessions": "2", "browser": "Safari", "os": "iOS", "city": "", "device": "",
        "browserVersion": "", "osVersion": "", "country": "", "region": ""}
    # By GET, too, and by a person who may look at the project.
    query = base64.urlsafe_b64encode(json.dumps({"id": who}).encode()).decode().rstrip("=")
    assert P.ok(f"{GET}?connect=v1&encoding=json&base64=1&message={query}", token=p.token, project=p.id,
                method="GET")["profile"] == got


def test_get_somebody_anonymous(_):
    p = Project()
    send(p, [event("visitor", "2026-11-01T10:00:00Z"), event("visitor", "2026-11-05T10:00:00.001Z")])
    got = P.ok(GET, {"id": "visitor"}, key=p.private)["profile"]
    assert (got["id"], got["externalId"], got["properties"]) == ("visitor", "", {})
    assert (got["createTime"], got["updateTime"]) == ("2026-11-01T10:00:00Z", "2026-11-05T10:00:00.001Z")
    assert got["activity"]["totalEvents"] == "2"
    # Without events there is no summary.
    who = p.identify("silent")
    assert "activity" not in P.ok(GET, {"id": who}, key=p.private)["profile"]


def test_not_found(_):
    p = Project()
    send(p, [event("u1", "2026-11-01T10:00:00Z")])
    p.identify("u1", anonymous="anon-1")
    for path, body, name in ((GET, {"id": "nobody"}, b"nobody"), (GET, {"id": "u1"}, b"u1"),
                             (GET, {"id": "cookieless-x"}, b"cookieless-x"),
                             (S + "GetByExternalId", {"externalId": "nobody"}, b"nobody")):
        answer = fails(404, "PROFILE_NOT_FOUND", path, body, key=p.private)
        info = next(d for d in answer["details"] if d["type"] == "google.rpc.ResourceInfo")
        raw = base64.b64decode(info["value"] + "==")
        assert raw == b"\x0a\x07profile\x12" + bytes([len(name)]) + name, raw
    # What cannot be an id comes back cut, at a whole character.
    for sent, head in (("x" * 5000, b"x" * 512), ("é" * 300, b"\xc3\xa9" * 256), ("x" + "é" * 300, b"x" + b"\xc3\xa9" * 255)):
        answer = fails(404, "PROFILE_NOT_FOUND", GET, {"id": sent}, key=p.private)
        info = next(d for d in answer["details"] if d["type"] == "google.rpc.ResourceInfo")
        raw = base64.b64decode(info["value"] + "==")
        assert raw.endswith(b"\x12" + bytes([len(head) & 127 | 128, len(head) >> 7]) + head), raw
        assert len(answer["message"]) < 200, answer
    for path, body in ((GET, {}), (GET, {"id": ""}), (S + "GetByExternalId", {})):
        fails(400, "INVALID_ARGUMENT", path, body, key=p.private)
    fails(403, "PERMISSION_DENIED", GET, {"id": "u1"}, key=p.public)
    fails(404, "PROFILE_NOT_FOUND", GET, {"id": "u1"}, key=Project().private)
    # What was absorbed is found under either of its names.
    p.identify("u2")
    p.alias("u1", "u2")
    assert P.ok(S + "GetByExternalId", {"externalId": "u1"}, key=p.private)["profile"]["externalId"] == "u2"


# ---- pages --------------------------------------------------------------------------------

def test_pages_of_a_hundred(_):
    p = Project()
    assert P.ok(S + "List", {}, key=p.private) == {}
    send(p, [event(f"a{i:03}", f"2026-10-01T00:{i // 60:02}:{i % 60:02}Z") for i in range(100)])
    got = P.ok(S + "List", {}, key=p.private)
    assert ids(got) == [f"a{i:03}" for i in range(99, -1, -1)] and "nextPageToken" not in got
    messages, end, _, _ = read_stream(p.private)
    assert len(messages) == 1 and "nextPageToken" not in messages[0] and end == {}
    who = p.identify("u1")
    got = P.ok(S + "List", {}, key=p.private)
    assert ids(got)[0] == who and len(ids(got)) == 100 and got["nextPageToken"]
    last = P.ok(S + "List", {"pageToken": got["nextPageToken"]}, key=p.private)
    assert ids(last) == ["a000"] and "nextPageToken" not in last
    # Of persons of one moment the greater id comes first.
    send(p, [event(x, "2026-09-01T00:00:00Z") for x in ("b", "é", "B", "a")])
    assert [x["id"] for x in pages(p, {}, 3)][-4:] == ["é", "b", "a", "B"]


def test_tokens(_):
    p, other = Project(), Project()
    send(p, [event(f"a{i}", "2026-10-01T00:00:00Z") for i in range(3)])
    token = P.ok(S + "List", {"pageSize": 1}, key=p.private)["nextPageToken"]
    for bad in (("B" if token[0] == "A" else "A") + token[1:], "x", "A" * 800, token + "A", "A" * 5000):
        fails(400, "INVALID_PAGE_TOKEN", S + "List", {"pageToken": bad}, key=p.private)
    fails(400, "INVALID_PAGE_TOKEN", S + "List", {"pageToken": token}, key=other.private)
    _, end, _, _ = read_stream(p.private, {"pageToken": token})  # of another method
    assert (end["error"]["code"], reason(end["error"])) == ("invalid_argument", "INVALID_PAGE_TOKEN")
    for size in (-1, 1001):
        fails(400, "INVALID_ARGUMENT", S + "List", {"pageSize": size}, key=p.private)


def test_filters(_):
    p = Project()
    pro = p.identify("pro", {"plan": "pro", "score": 0.5, "vip": True, "n": {"x": "7"}, "dotted.key": 1})
    free = p.identify("free", {"plan": "free", "score": "12", "note": "a%b", "a.b": "dotted"})
    send(p, [event("pro", "2026-10-01T00:00:00Z", country="DE", browser="Firefox"),
             event("pro", "2026-10-02T00:00:00Z", country="FR"),
             event("free", "2026-10-02T00:00:00Z", country="DE"),
             event("anyone", "2026-10-03T00:00:00Z", country="DE", browser="Edge")])
    someone = "anyone"
    for groups, operator, want in (
            ([group(trait("plan", "EQUALS", "pro"))], 1, {pro}),
            ([group(trait("plan", "EQUALS", "pro", source="PROPERTY_SOURCE_UNSPECIFIED"))], 1, {pro}),
            ([group(trait("plan", "NOT_EQUALS", "pro"))], 1, {free, someone}),
            ([group(trait("plan", "IN", values=["pro", "free"]))], 1, {pro, free}),
            ([group(trait("plan", "IS_NOT_SET"))], 1, {someone}),
            ([group(trait("n.x", "GT", "6.5"))], 1, {pro}),
            ([group(trait("a.b", "EQUALS", "dotted"))], 1, {free}),
            ([group(trait("score", "GTE", "0.5"))], 1, {pro, free}),
            ([group(trait("score", "NOT_BETWEEN", values=["0", "1"]))], 1, {free}),
            ([group(trait("vip", "GTE", "0.5"))], 1, set()),
            ([group(trait("vip", "EQUALS", "true"))], 1, {pro}),
            ([group(trait("note", "CONTAINS", "%"))], 1, {free}),
            ([group(auto("$country", "EQUALS", "DE"))], 1, {free, someone}),  # the latest event counts
            ([group(auto("$browser", "IS_SET"))], 1, {someone}),
            ([group(auto("$browser", "NOT_CONTAINS", "dge"))], 1, {pro, free}),
            ([group(auto("$country", "EQUALS", "DE"), trait("plan", "IS_SET"))], 1, {free}),
            ([group(auto("$country", "EQUALS", "FR"), trait("plan", "IS_NOT_SET"),
                    operator="LOGICAL_OPERATOR_OR")], 1, {pro, someone}),
            ([group(trait("plan", "EQUALS", "pro")), group(trait("plan", "EQUALS", "free"))], 1, set()),
            ([group(trait("plan", "EQUALS", "pro")), group(trait("plan", "EQUALS", "free"))], 2, {pro, free})):
        body = {"filterGroups": groups, "filterGroupsOperator": operator}
        assert {x["id"] for x in pages(p, body, 1)} == want, (body, want)
        messages, end, _, _ = read_stream(p.private, body)
        assert end == {} and {i for m in messages for i in ids(m)} == want, body
        assert messages or not want  # nobody: no message at all
    for bad in (auto("$country", "GT", "1"), auto("$url", "IS_SET"), auto("$browser", "BETWEEN", values=["1", "2"]),
                trait("x", "IS_SET", source="PROPERTY_SOURCE_CUSTOM")):
        body = {"filterGroups": [group(bad)]}
        answer = fails(400, "INVALID_PROFILE_FILTER", S + "List", body, key=p.private)
        assert answer["message"].startswith("filter_groups[0].filters[0]."), answer
        _, end, _, _ = read_stream(p.private, body)
        assert reason(end["error"]) == "INVALID_PROFILE_FILTER", end
    for bad in (group(), group(trait("plan", "EQUALS")), group(trait("a b", "IS_SET")), group({"property": "x"})):
        fails(400, "INVALID_ARGUMENT", S + "List", {"filterGroups": [bad]}, key=p.private)


def test_random_people(_):
    """Everybody, as a slow and obvious model has them."""
    seed = random.randrange(1 << 30)
    r = random.Random(seed)
    p, truth = Project(), test_identify.Model()
    sessions = [str(uuid.UUID(int=r.getrandbits(128))) for _ in range(6)]
    names, sent = {}, []
    for change in test_identify.script(r, 60):
        name, got = getattr(truth, change[0])(*change[1:]), test_identify.act(p, change, None)
        if name:
            names[name] = got
        if r.random() < 0.5:
            batch = [event(r.choice([f"u{r.randrange(6)}", f"anon-{r.randrange(6)}", "lonely " + r.choice("ab")]),
                           f"2026-10-0{r.randrange(1, 5)}T00:00:00.00{r.randrange(2)}Z",
                           r.choice(["page_view", "x"]), r.choice(sessions),
                           **{k: r.choice("abc") for k in ("browser", "city") if r.random() < 0.7})
                     for _ in range(4)]
            sent += batch
            send(p, batch)
    people = {}
    for e in sent:
        who = truth.resolve(e["distinctId"])
        people.setdefault(names[who] if who else e["distinctId"], []).append(e)
    for name in truth.profiles:
        people.setdefault(names[name], [])
    got = {x["id"]: x for x in pages(p, {}, 5)}
    assert set(got) == set(people), (seed, set(got) ^ set(people))
    messages, _, _, _ = read_stream(p.private, codec="proto")
    assert [x["id"] for x in pages(p, {}, 7)] == [i for m in messages for i in ids(m)]
    for who, events in people.items():
        activity = got[who].get("activity")
        assert (activity is None) == (not events), (seed, who)
        assert P.ok(GET, {"id": who}, key=p.private)["profile"] == got[who], (seed, who)
        if not events:
            continue
        latest = max(events, key=lambda e: (e["occurTime"], uuid.UUID(e["eventId"]).bytes))
        want = {k: latest["autoProperties"].get(v, {}).get("stringValue", "") for k, v in SHOWN.items()}
        assert {k: activity[k] for k in SHOWN} == want, (seed, who)
        assert (int(activity["totalEvents"]), int(activity["pageviews"]), int(activity["sessions"])) == (
            len(events), sum(e["kind"] == "page_view" for e in events),
            len({e["sessionId"] for e in events})), (seed, who)
        assert model.millis(activity["firstSeen"]) == min(model.millis(e["occurTime"]) for e in events)


# ---- streams ------------------------------------------------------------------------------

def crowd(n, traits=None):
    p = Project()
    send(p, [event(f"a{i:05}", f"2026-10-01T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z", "x",
                   browser="b" * 400) for i in range(n)])
    return p


def test_stream_of_many(_):
    """More than one scan's worth, in both codecs, plain and packed, by both paths."""
    p = crowd(4150)
    want = [f"a{i:05}" for i in range(4149, -1, -1)]
    for codec, packed, path in (("json", False, SHARED + "List"), ("proto", True, S + "ListAll")):
        headers = {"connect-accept-encoding": "gzip,br"} if packed else {}
        messages, end, flags, got = read_stream(p.private, codec=codec, headers=headers, path=path)
        assert end == {} and [i for m in messages for i in ids(m)] == want
        assert [len(ids(m)) for m in messages] == [100] * 41 + [50]
        assert all("nextPageToken" in m for m in messages[:-1]) and "nextPageToken" not in messages[-1]
        assert flags == ({1, 2} if packed else {0, 2}), flags
        assert (got.get("connect-content-encoding") == "gzip") == packed, got
        assert "content-encoding" not in got and got["transfer-encoding"] == "chunked"
    # Begin again in the middle.
    messages, _, _, _ = read_stream(p.private)
    rest, _, _, _ = read_stream(p.private, {"pageToken": messages[30]["nextPageToken"]})
    assert [i for m in rest for i in ids(m)] == want[3100:]
    # As the Node SDK asks (clients.md 2).
    messages, end, _, _ = read_stream(p.private, codec="proto", headers={
        "connect-accept-encoding": "gzip,br", "connect-timeout-ms": "10000", "user-agent": "connect-es/2.1.1"})
    assert len(messages) == 42 and end == {}


def test_large_traits_make_shorter_messages(_):
    p = Project()
    for i in range(12):
        p.identify(f"u{i}", {"text": "x" * 200000})
    messages, end, _, _ = read_stream(p.private)
    assert end == {} and sum(len(ids(m)) for m in messages) == 12 and len(messages) > 2
    assert len(P.ok(S + "List", {}, key=p.private)["profiles"]) < 12
    out, token = [], ""
    while token is not None:
        got = P.ok(S + "List", {"pageToken": token}, key=p.private)
        out, token = out + ids(got), got.get("nextPageToken")
    assert len(set(out)) == len(out) == 12


def test_the_connection_goes_on(_):
    p = crowd(150)
    conn = P.connect()
    for _ in range(3):
        status, body, _ = P.call(SHARED + "List", raw=b"\0\0\0\0\2{}", key=p.private, conn=conn,
                                 headers={"content-type": "application/connect+json"})
        assert status == 200 and body.endswith(b"\2\0\0\0\2{}"), body[-20:]
        assert P.ok(S + "List", {"pageSize": 1}, key=p.private, conn=conn)["profiles"]
    conn.close()
    # HTTP/1.0 knows no chunks: the end of the connection is the end.
    with Stream(p.private, version="1.0") as s:
        _, headers = s.head()
        assert "transfer-encoding" not in headers and headers["connection"] == "close"
        messages, end, _ = s.all()
        assert len(messages) == 2 and end == {}


def test_clients_that_leave(_):
    """The dashboard reads one message and goes: nothing stays behind."""
    p = crowd(4150)
    for n in range(20):
        with Stream(p.private, receive=4096) as s:
            if n % 3:
                s.head()
            if n % 3 == 2:
                assert s.frame()[0] == 0
    end = time.monotonic() + 20
    while busy() and time.monotonic() < end:
        time.sleep(0.05)
    assert busy() == 0
    assert P.ok(S + "List", {"pageSize": 1}, key=p.private)["profiles"]


def busy():
    """Calls that run on any worker."""
    return sum(w["in_flight"] for w in P.admin()["workers"])


def test_slow_readers_hold_nobody_up(_):
    """A client that reads nothing is waited for with little memory; the others go on."""
    p = crowd(4150)
    slow = [Stream(p.private, receive=4096) for _ in range(8)]
    for s in slow:
        assert s.head()[0] == 200
    assert busy() == 8  # each waits for its client
    assert sum(w["memory"] for w in P.admin()["workers"]) < 64 << 20
    start = time.monotonic()
    for _ in range(10):
        assert P.ok(S + "List", {"pageSize": 1}, key=p.private)["profiles"]
    assert time.monotonic() - start < 10
    done = []
    threads = [threading.Thread(target=lambda s=s: done.append(s.all())) for s in slow]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(done) == 8 and all(sum(len(ids(m)) for m in messages) == 4150 and end == {}
                                  for messages, end, _ in done)
    for s in slow:
        s.close()


def test_deadline(_):
    """A deadline in the middle of a stream is told in its end."""
    p = crowd(4150)
    with Stream(p.private, headers={"connect-timeout-ms": "1500"}, receive=4096) as s:
        s.head()
        time.sleep(1.8)
        messages, end, _ = s.all()
    assert end["error"]["code"] == "deadline_exceeded" and len(messages) < 42, (len(messages), end)
    _, end, _, headers = read_stream(p.private, headers={"connect-timeout-ms": "0"})
    assert end["error"]["code"] == "deadline_exceeded" and "content-length" in headers


def test_bad_requests(_):
    p = Project()
    one = b"\0\0\0\0\2{}"
    for raw, headers, code in ((b"", {}, "unimplemented"), (one + one, {}, "unimplemented"),
                               (one[:-1], {}, "invalid_argument"), (b"\0\0", {}, "invalid_argument"),
                               (b"\2" + one[1:], {}, "invalid_argument"),
                               (b"\1" + one[1:], {}, "internal"),
                               (b"\1" + one[1:], {"connect-content-encoding": "gzip"}, "invalid_argument"),
                               (one, {"connect-content-encoding": "br"}, "unimplemented"),
                               (b"\0\0\0\0\1{", {}, "invalid_argument"),
                               (b"\0\0\0\0\x14" + b'{"pageToken": 12345}', {}, "invalid_argument")):
        messages, end, _, _ = read_stream(p.private, raw=raw, headers=headers)
        assert not messages and end["error"]["code"] == code, (raw, headers, end)
        assert end["error"]["details"][0]["type"] == "google.rpc.ErrorInfo", end
    packed = gzip.compress(b'{"pageToken":""}')
    messages, end, _, _ = read_stream(p.private, raw=b"\1" + struct.pack(">I", len(packed)) + packed,
                                      headers={"connect-content-encoding": "gzip"})
    assert end == {} and not messages
    for key, code in (("prv_" + "0" * 40, "unauthenticated"), (p.public, "permission_denied")):
        _, end, _, _ = read_stream(key)
        assert end["error"]["code"] == code, end
    assert P.call(SHARED + "List", {}, key=p.private)[0] == 415


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        P.variant = variant
        test_accounts.P = test_identify.P = P
        sys.exit(pug.main(tests))
