#!/usr/bin/env python3
"""Connect over HTTP as the contract has it (D3, D8, D10, D43, D50 to D54, D83): verbs,
types, codings, deadlines, ids, error details, CORS, limits, health."""
import base64
import concurrent.futures
import gzip
import json
import os
import signal
import sys
import time
import urllib.parse

import pug

AUTH, PROJECTS = "/auth.v1.AuthService/", "/projects.v1.ProjectsService/"
BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST_KEYS = PROJECTS + "ListApiKeys"
DAYS = {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [{"event": {"kind": "x"}}]},
        "granularity": "GRANULARITY_DAY",
        "timeRange": {"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}}
STREAM = "/shared.profiles.v1.ProfilesService/List"
# Needs no credential.
SHARED = "/dashboards.v1.SharedDashboardsService/Query"
# A coding that is not implemented, as Connect calls it (no method is left that is not).
BROTLI = {"content-encoding": "br"}
SHOP = "https://shop.example"
DASH = "http://localhost:5173"
P = None
TOKEN = None


# ---- a small reader of Protobuf -------------------------------------------------------

def fields(data):
    """[(number, value)] of a message of strings, messages and integers."""
    out, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        value = varint()
        if key & 7 == 2:
            at += value
            value = data[at - value:at]
        out.append((key >> 3, value))
    return out


def unbase64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def details(answer):
    """{"google.rpc.X": fields}, in order."""
    assert set(answer) <= {"code", "message", "details"}, answer
    for d in answer["details"]:
        assert set(d) <= {"type", "value", "debug"} and "=" not in d["value"], d
    return {d["type"]: fields(unbase64(d["value"])) for d in answer["details"]}


def check_error(answer, headers, reason):
    """What every Connect error carries (D10, D51); returns the details."""
    got = details(answer)
    assert list(got)[:2] == ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"], got
    assert got["google.rpc.ErrorInfo"][:2] == [(1, reason.encode()), (2, b"pug.sh")], got
    assert got["google.rpc.RequestInfo"] == [(1, headers["x-request-id"].encode())], got
    assert headers["content-type"] == "application/json", headers
    assert answer["message"], answer
    return got


def fails(status, code, reason, path, body=None, **kw):
    got, answer, headers = P.call(path, body, **kw)
    assert got == status and answer["code"] == code, (path, got, answer)
    return check_error(answer, headers, reason), answer, headers


def get(path, token=None, project=None, key=None, headers=None, **query):
    return P.call(path + "?" + urllib.parse.urlencode(query), method="GET", token=token,
                  project=project, key=key, headers={"content-type": "", **(headers or {})})


# ---- verbs, types, codings --------------------------------------------------------------

def test_get(_):
    project = P.info["project_id"]
    want = P.ok(LIST_KEYS, {}, token=TOKEN, project=project)
    plain = {"connect": "v1", "encoding": "json", "message": "{}"}
    packed = base64.urlsafe_b64encode(b"{}").decode()
    zipped = base64.urlsafe_b64encode(gzip.compress(b"{}")).decode().rstrip("=")
    for query in (plain, {**plain, "base64": "1", "message": packed},
                  {**plain, "base64": "1", "message": packed.rstrip("=")},
                  {**plain, "base64": "1", "compression": "gzip", "message": zipped},
                  {**plain, "compression": "identity", "unknown": "x"},
                  {"message": "{}", "encoding": "json"}):
        status, answer, headers = get(LIST_KEYS, TOKEN, project, **query)
        assert status == 200 and answer == want, (query, status, answer)
        assert headers["cache-control"] == "no-store", headers
    status, answer, headers = get(LIST_KEYS, TOKEN, project, connect="v1", encoding="proto",
                                  message="")
    assert status == 200 and headers["content-type"] == "application/proto", headers
    assert fields(answer)[0][0] == 1 and headers["cache-control"] == "no-store"
    # The message is what the POST would carry: an insight by GET.
    status, answer, _ = get(QUERY, key=P.info["private_key"], connect="v1", encoding="json",
                            message=json.dumps(DAYS))
    assert status == 200 and "trends" in answer, answer
    # Errors are not for keeping either.
    status, answer, headers = get(LIST_KEYS, None, project, **plain)
    assert status == 401 and headers["cache-control"] == "no-store", headers
    check_error(answer, headers, "UNAUTHENTICATED")
    for query in ({"encoding": "json"}, {"message": "{}"}, {**plain, "connect": "v2"},
                  {**plain, "base64": "1", "message": "!!"}, {**plain, "message": "{"}):
        status, answer, headers = get(LIST_KEYS, TOKEN, project, **query)
        assert status == 400 and answer["code"] == "invalid_argument", (query, status, answer)
        check_error(answer, headers, "INVALID_ARGUMENT")
    assert get(LIST_KEYS, TOKEN, project, **{**plain, "encoding": "xml"})[0] == 415
    status, answer, _ = get(LIST_KEYS, TOKEN, project, **{**plain, "compression": "br"})
    assert (status, answer["code"]) == (501, "unimplemented"), answer


def test_verbs(_):
    for path, allow in ((BATCH, "POST"), (PROJECTS + "Create", "POST"), (LIST_KEYS, "GET, POST"),
                        (QUERY, "GET, POST"), (AUTH + "SignIn", "POST")):
        for method in ("DELETE", "PUT", "PATCH", "OPTIONS") + (("GET",) if allow == "POST" else ()):
            status, body, headers = P.call(path, method=method, raw=b"")
            assert status == 405 and headers["allow"] == allow and not body, (path, method, headers)
            assert headers["x-request-id"], headers


def test_media_types(_):
    for kind in ("text/plain", "application/foo", "image/jpeg", "application/json; charset=latin1",
                 "application/connect+json", "application/connect+proto", "application/grpc",
                 "application/grpc-web+proto", "", "json", "application/jsonx"):
        status, body, headers = P.call(BATCH, {}, key=P.info["public_key"],
                                       headers={"content-type": kind})
        assert status == 415 and not body, (kind, status)
        assert headers["accept-post"] == "application/json, application/proto", headers
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON",
                 "application/json;charset=UTF-8"):
        assert P.call(BATCH, {}, key=P.info["public_key"], headers={"content-type": kind})[0] == 200
    status, body, headers = P.call(BATCH, raw=b"", key=P.info["public_key"],
                                   headers={"content-type": "application/proto"})
    assert (status, headers["content-type"]) == (200, "application/proto"), headers
    # The released dashboard opens a stream here; with a unary type it is told so (D50).
    for path in ("/profiles.v1.ProfilesService/ListAll", STREAM):
        status, _, headers = P.call(path, {}, token=TOKEN)
        assert status == 415, (path, status)
        assert headers["accept-post"] == "application/connect+json, application/connect+proto"


def test_unknown_and_unimplemented(_):
    status, body, headers = P.call("/no.such.v1.Service/Method", {}, token=TOKEN)
    assert status == 404 and not isinstance(body, dict) and headers["x-request-id"]
    # A method of a known service, too: it may come with a later release.
    for path in ("/dashboards.v1.SharedDashboardsService/Later", "/orgs.v1.OrgsService/Later",
                 "/sdk.devices.v1.DevicesService/Subscribe"):
        status, body, headers = P.call(path, {}, token=TOKEN)
        assert status == 404 and not isinstance(body, dict) and headers["x-request-id"], path
    _, answer, _ = fails(501, "unimplemented", "UNIMPLEMENTED", SHARED, {"shareId": "x"}, headers=BROTLI)
    assert "not supported" in answer["message"], answer


def test_gzip_answers(_):
    key = P.info["private_key"]
    P.ok(BATCH, {"events": [{"name": "x", "distinctId": "u",
                             "timestamp": f"2026-0{1 + d // 25}-{1 + d % 25:02}T00:00:00Z"}
                            for d in range(60)]}, key=key)
    want = P.ok(QUERY, DAYS, key=key)
    status, body, headers = P.call(QUERY, DAYS, key=key, headers={"accept-encoding": "gzip,br"},
                                   conn=Plain(P))
    assert status == 200 and headers["content-encoding"] == "gzip", headers
    assert json.loads(gzip.decompress(body)) == want
    assert "Accept-Encoding" in headers["vary"], headers
    for accept in ("identity", "br", "gzip;q=0", ""):
        status, body, headers = P.call(QUERY, DAYS, key=key, headers={"accept-encoding": accept})
        assert status == 200 and "content-encoding" not in headers and body == want, headers
    # Both ways at once, and in Protobuf.
    status, body, headers = P.call(QUERY, raw=gzip.compress(json.dumps(DAYS).encode()), key=key,
                                   conn=Plain(P), headers={"content-encoding": "gzip",
                                                           "accept-encoding": "gzip"})
    assert status == 200 and json.loads(gzip.decompress(body)) == want
    # An empty body is an empty message, and nothing to inflate.
    status, _, _ = P.call(BATCH, raw=b"", key=P.info["public_key"],
                          headers={"content-encoding": "gzip", "content-type": "application/proto"})
    assert status == 200, status


class Plain:
    """A connection whose JSON answers are left as bytes, for Pug.call()."""

    def __init__(self, p):
        self.conn = p.connect()

    def request(self, *args, **kw):
        self.conn.request(*args, **kw)

    def getresponse(self):
        answer = self.conn.getresponse()
        body = answer.read()

        class Read:
            status = answer.status

            def read(self):
                return body

            def getheaders(self):
                return [(k, "bytes" if k.lower() == "content-type" else v)
                        for k, v in answer.getheaders()]
        return Read()


# ---- metadata ---------------------------------------------------------------------------

def test_protocol_version(_):
    key = P.info["public_key"]
    assert P.call(BATCH, {}, key=key, headers={"connect-protocol-version": "1"})[0] == 200
    for version in ("2", "0", "v1", "1.0", "11"):
        fails(400, "invalid_argument", "INVALID_ARGUMENT", BATCH, {}, key=key,
              headers={"connect-protocol-version": version})


def test_timeouts(_):
    key = P.info["public_key"]
    for value in ("10000", "1000", "0000010000", "9999999999"):
        assert P.call(BATCH, {}, key=key, headers={"connect-timeout-ms": value})[0] == 200, value
    for value in ("12345678901", "abc", "-1", "+1", "1.5", "1 0", "10s", "0x10", ""):
        _, answer, _ = fails(400, "invalid_argument", "INVALID_ARGUMENT", BATCH, {}, key=key,
                             headers={"connect-timeout-ms": value})
        assert "Connect-Timeout-Ms" in answer["message"], answer
    fails(504, "deadline_exceeded", "DEADLINE_EXCEEDED", BATCH, {}, key=key,
          headers={"connect-timeout-ms": "0"})
    # Hashing a password takes longer than this.
    fails(504, "deadline_exceeded", "DEADLINE_EXCEEDED", AUTH + "SignIn",
          {"email": P.info["email"], "password": P.info["password"]},
          headers={"connect-timeout-ms": "3"})


def test_request_ids(_):
    for given in ("abcdefgh", "A" * 64, "01234567-89ab-cdef_XYZ"):
        _, _, headers = P.call(BATCH, {}, headers={"x-request-id": given})
        assert headers["x-request-id"] == given, headers
    seen = set()
    for given in ("abcdefg", "A" * 65, "with space", "dot.dot.dot", "semi;colon", "",
                  "caf\u00e9caf\u00e9"):
        status, answer, headers = P.call(BATCH, {}, headers={"x-request-id": given.encode("utf-8")})
        assert headers["x-request-id"] != given and len(headers["x-request-id"]) == 20, headers
        check_error(answer, headers, "UNAUTHENTICATED")
        seen.add(headers["x-request-id"])
    assert len(seen) == 7, seen
    P.call(BATCH, {}, key=P.info["public_key"], headers={"x-request-id": "find-me-in-the-log"})
    end = time.monotonic() + 5
    while "find-me-in-the-log" not in P.log() and time.monotonic() < end:
        time.sleep(0.05)
    assert "find-me-in-the-log" in P.log()


# ---- errors --------------------------------------------------------------------------------

def test_error_details(_):
    got, answer, _ = fails(400, "invalid_argument", "INVALID_ARGUMENT", AUTH + "SignUp",
                           {"email": "nope", "password": "short"})
    violations = [dict(fields(v)) for n, v in got["google.rpc.BadRequest"] if n == 1]
    assert [v[1] for v in violations] == [b"email", b"password"], violations
    assert all(v[2] and v[2].decode() in answer["message"] for v in violations), answer
    event = {"kind": "a b", "distinctId": "u", "sessionId": "x", "eventId": "y",
             "customProperties": {"$x": {"stringValue": "z" * 1025}}}
    got, answer, _ = fails(400, "invalid_argument", "INVALID_ARGUMENT", BATCH,
                           {"events": [{"name": "a", "distinctId": "u"}, event]},
                           key=P.info["public_key"])
    names = {dict(fields(v))[1].decode() for _, v in got["google.rpc.BadRequest"]}
    assert {"events.kind", "events.event_id", "events.session_id"} <= names, names
    assert any(n.startswith("events.custom_properties") for n in names), names
    assert not any("[" in n for n in names), names
    assert "events[1].kind" in answer["message"], answer
    # Before a message is there, and on what is not validation: no BadRequest.
    for status, code, reason, kw in (
            (400, "invalid_argument", "INVALID_ARGUMENT",
             {"raw": b"{", "key": P.info["public_key"]}),
            (401, "unauthenticated", "UNAUTHENTICATED", {}),
            (401, "unauthenticated", "UNAUTHENTICATED", {"key": "pub_" + "0" * 40}),
            (501, "unimplemented", "UNIMPLEMENTED",
             {"key": P.info["public_key"], "headers": {"content-encoding": "br"}})):
        got, _, headers = fails(status, code, reason, BATCH, **kw)
        assert list(got) == ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"], got
        assert ("www-authenticate" in headers) == (status == 401), headers
    got, _, _ = fails(404, "not_found", "API_KEY_NOT_FOUND", PROJECTS + "RevokeApiKey",
                      {"id": "0" * 20}, token=TOKEN, project=P.info["project_id"])
    assert "google.rpc.ResourceInfo" in got, got
    # A binary call has the same JSON error.
    status, answer, headers = P.call(BATCH, raw=b"\xff", key=P.info["public_key"],
                                     headers={"content-type": "application/proto"})
    assert status == 400
    check_error(answer, headers, "INVALID_ARGUMENT")


# ---- CORS (D43, clients.md 3 and 4.1) --------------------------------------------------------

def preflight(path, origin, names, method="POST"):
    status, body, headers = P.call(path, method="OPTIONS", raw=b"", headers={
        "origin": origin, "access-control-request-method": method,
        "access-control-request-headers": names})
    assert status == 204 and not body, (path, status)
    for name in ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"):
        assert name in headers["vary"], headers
    return headers


def words(text):
    return {w.strip().lower() for w in text.split(",")}


def allowed(path, origin, names, method="POST"):
    headers = preflight(path, origin, names, method)
    assert headers.get("access-control-allow-origin") == origin, (path, headers)
    assert headers["access-control-allow-credentials"] == "true", headers
    assert headers["access-control-max-age"] == "7200", headers
    assert method in headers["access-control-allow-methods"], headers
    assert words(names) <= words(headers["access-control-allow-headers"]), headers
    assert "*" not in headers["access-control-allow-headers"], headers


def test_preflights_of_released_clients(_):
    for path in ("/sdk.events.v1.EventsService/BatchCreate", BATCH,
                 "/sdk.profiles.v1.ProfilesSDKService/Identify"):
        for origin in (SHOP, DASH, "null", "http://a.b:81"):
            allowed(path, origin, "connect-protocol-version,content-type,x-api-key")
            allowed(path, origin, "content-type")
    # connect-web in a browser, with our generated clients.
    allowed(BATCH, SHOP, "connect-protocol-version,connect-timeout-ms,content-type,x-user-agent,"
                         "x-api-key")
    base = "connect-protocol-version,connect-timeout-ms,content-type"
    for path, names in (("/public.auth.v1.AuthService/SignInWithEmail", base),
                        ("/dashboard.orgs.v1.OrgsService/List", base + ",authorization"),
                        ("/dashboard.orgs.v1.OrgsService/List", "authorization," + base),
                        ("/shared.insights.v1.InsightsService/Query",
                         "authorization," + base + ",x-project-id"),
                        ("/shared.profiles.v1.ProfilesService/List",
                         "authorization,connect-protocol-version,content-type,x-project-id")):
        allowed(path, DASH, names)
    allowed("/shared.insights.v1.InsightsService/Query", DASH, "authorization", "GET")
    # The preflight of a service that this server does not have: the client must be able
    # to read the 404.
    allowed("/dashboard.later.v1.NewService/Get", DASH, "authorization," + base)


def test_foreign_origins(_):
    for path in ("/dashboard.orgs.v1.OrgsService/List", QUERY, AUTH + "SignIn", "/no.such/Path"):
        for origin in (SHOP, "http://localhost", "http://localhost.evil.example:80", "null",
                       "https://localhost:5173", "http://evil.example/http://localhost:1"):
            headers = preflight(path, origin, "content-type")
            assert "access-control-allow-origin" not in headers, (path, origin, headers)
            _, _, headers = P.call(path, {}, headers={"origin": origin})
            assert "access-control-allow-origin" not in headers, (path, origin, headers)
            assert "Origin" in headers["vary"], headers
    # A private key has no business in a page, and unlisted names are refused.
    headers = preflight("/dashboard.orgs.v1.OrgsService/List", DASH, "x-api-key")
    assert "access-control-allow-origin" not in headers, headers
    headers = preflight(BATCH, SHOP, "content-type,x-evil")
    assert "access-control-allow-origin" not in headers, headers
    headers = preflight(BATCH, SHOP, "content-type", "DELETE")
    assert "access-control-allow-origin" not in headers, headers


def test_answers_carry_cors(_):
    for path, origin, kw, status in (
            (BATCH, SHOP, {"key": P.info["public_key"]}, 200), (BATCH, SHOP, {}, 401),
            (BATCH, SHOP, {"key": P.info["public_key"], "raw": b"{"}, 400),
            (BATCH, SHOP, {"key": P.info["public_key"], "headers": {"content-type": "x"}}, 415),
            (BATCH, SHOP, {"method": "DELETE"}, 405),
            ("/sdk.devices.v1.DevicesService/Subscribe", SHOP, {}, 404),
            ("/orgs.v1.OrgsService/List", DASH, {"token": TOKEN}, 200),
            ("/orgs.v1.OrgsService/List", "http://127.0.0.1:3000", {"token": TOKEN}, 200),
            ("/orgs.v1.OrgsService/List", DASH, {}, 401),
            ("/dashboard.later.v1.NewService/Get", DASH, {"token": TOKEN}, 404),
            (SHARED, DASH, {"body": {"shareId": "x"}}, 404),
            (SHARED, DASH, {"headers": BROTLI}, 501)):
        extra = {"origin": origin, **kw.pop("headers", {})}
        got, _, headers = P.call(path, headers=extra, **kw)
        assert got == status, (path, got, status)
        assert headers.get("access-control-allow-origin") == origin, (path, headers)
        assert headers["access-control-allow-credentials"] == "true", headers
        assert "Origin" in headers["vary"], headers
        expose = words(headers["access-control-expose-headers"])
        assert {"x-request-id", "retry-after", "ratelimit", "ratelimit-policy",
                "grpc-status"} <= expose, headers
    _, _, headers = P.call(BATCH, {}, key=P.info["public_key"])
    assert "access-control-allow-origin" not in headers and "Origin" in headers["vary"], headers


# ---- limits (D8, D83) ------------------------------------------------------------------------

def limits(headers):
    """{"key": (remaining, burst)} of the two headers."""
    left = {w.strip().split(";")[0].strip('"'): int(w.split("r=")[1].split(";")[0])
            for w in headers["ratelimit"].split(",")}
    most = {w.strip().split(";")[0].strip('"'): int(w.split("q=")[1].split(";")[0])
            for w in headers["ratelimit-policy"].split(",")}
    assert left.keys() == most.keys(), headers
    return {k: (left[k], most[k]) for k in left}


def test_rate_limits(variant):
    options = ["limit_scale=1", "limit_key_rate=1", "limit_key_burst=5", "limit_address_rate=1",
               "limit_address_burst=4", "limit_customer_rate=1", "limit_customer_burst=6",
               "workers=2"]
    with pug.Pug(variant, options=options) as p:
        token = p.sign_in()
        # Public methods, per address: a believed proxy's client, /32 and /64.
        for addresses, n in ((["203.0.113.7"], 4), (["203.0.113.8"], 4),
                             (["2001:db8::1", "2001:db8::ffff"], 4)):
            codes = [p.call(AUTH + "SignOut", {},
                            headers={"x-forwarded-for": addresses[i % len(addresses)]})
                     for i in range(n + 1)]
            assert [c[0] for c in codes] == [200] * n + [429], [c[0] for c in codes]
            check_error(codes[-1][1], codes[-1][2], "RESOURCE_EXHAUSTED")
            assert "address" in codes[-1][1]["message"], codes[-1]
        over(p, BATCH, 5, "key", key=p.info["public_key"])
        over(p, "/orgs.v1.OrgsService/List", 6, "customer", token=token)
        assert p.admin()["counters"]["limited"] >= 5
    with pug.Pug(variant, options=["limit_scale=1", "limit_project_events=10",
                                   "limit_project_events_burst=20"]) as p:
        event = {"name": "a", "distinctId": "u"}
        status, _, headers = p.call(BATCH, {"events": [event] * 15}, key=p.info["public_key"])
        assert status == 200 and limits(headers)["events"][0] <= 6, headers
        status, answer, headers = p.call(BATCH, {"events": [event] * 15}, key=p.info["public_key"])
        assert status == 429 and int(headers["retry-after"]) >= 1, (status, headers)
        check_error(answer, headers, "RESOURCE_EXHAUSTED")


def over(p, path, burst, name, **kw):
    """`burst` calls pass, the next is refused with all it needs to be tried again."""
    origin = {"origin": DASH}
    for i in range(burst):
        status, _, headers = p.call(path, {}, headers=origin, **kw)
        assert status == 200, (name, i, status)
        left, most = limits(headers)[name]
        assert most == burst and left <= burst - 1 - i + 1, (name, i, headers)
    status, answer, headers = p.call(path, {}, headers=origin, **kw)
    assert (status, answer["code"]) == (429, "resource_exhausted"), (name, answer)
    check_error(answer, headers, "RESOURCE_EXHAUSTED")
    assert name in answer["message"] and headers["access-control-allow-origin"] == DASH, headers
    assert limits(headers)[name][0] == 0, headers
    wait = int(headers["retry-after"])
    assert 1 <= wait <= 3, headers
    time.sleep(wait)
    assert p.call(path, {}, **kw)[0] == 200, name


# ---- health ----------------------------------------------------------------------------------

def postmaster(p):
    for path in ("postgres/data/postmaster.pid", "postgres/postmaster.pid"):
        path = os.path.join(p.data, path)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                return int(f.readline())
    raise AssertionError("no postmaster.pid")


def family(pid):
    """A process and its children."""
    out = [pid]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == pid:
                        out.append(int(name))
            except OSError:
                pass
    return out


def test_health(_):
    for method in ("GET", "POST", "HEAD"):
        status, body, headers = P.call("/healthz", method=method, raw=b"")
        assert status == 200 and body == (b"" if method == "HEAD" else b"ok"), (method, body)
        assert headers["cache-control"] == "no-store", headers
    status, answer, _ = P.call("/readyz", method="GET")
    assert status == 200 and answer == {"ready": True, "dependencies": {
        "postgres_writer": "ok", "postgres_reader": "ok"}}, answer


class Silent:
    """A database that is there but says nothing, while this is entered."""

    def __enter__(self):
        self.pids = family(postmaster(P))
        self.kill(signal.SIGSTOP)

    def __exit__(self, *_):
        self.kill(signal.SIGCONT)

    def kill(self, sig):
        for pid in self.pids:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass


def ready_becomes(status, seconds):
    end = time.monotonic() + seconds * (3 if P.slow else 1)
    while True:
        got, answer, _ = P.call("/readyz", method="GET")
        if got == status:
            return answer
        assert time.monotonic() < end, (got, answer)
        time.sleep(0.1)


def test_health_without_database(_):
    with Silent():
        answer = ready_becomes(503, 8)
        assert answer["ready"] is False, answer
        assert answer["dependencies"]["postgres_writer"] == "unavailable", answer
        start = time.monotonic()
        assert P.call("/healthz", method="GET")[1] == b"ok"
        assert time.monotonic() - start < 1
        # Whether a credential is good cannot be told: never 401 (D3).
        for path, kw in ((BATCH, {"key": "pub_" + "1" * 40}),
                         ("/orgs.v1.OrgsService/List", {"token": TOKEN})):
            start = time.monotonic()
            got, answer, headers = P.call(path, {}, headers={"connect-timeout-ms": "1500"}, **kw)
            assert got in (503, 504), (kw, got, answer)
            assert time.monotonic() - start < 3, "the deadline was not kept"
            if got == 503:
                check_error(answer, headers, "UNAVAILABLE")
                assert int(headers["retry-after"]) >= 1, headers
    ready_becomes(200, 30)
    assert P.call(BATCH, {}, key=P.info["public_key"])[0] == 200


def test_key_lookup_outlives_the_first_asker(_):
    """All who miss on a key wait for one lookup; when its asker runs out of time, the
    others must not fail with it."""
    key = P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PUBLIC"}, token=TOKEN,
               project=P.info["project_id"])["key"]

    def ask(ms):
        return P.call(BATCH, {}, key=key, headers={"connect-timeout-ms": str(ms)})[0]

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        with Silent():
            hasty = [pool.submit(ask, 600) for _ in range(4)]
            time.sleep(0.2)
            patient = [pool.submit(ask, 20000) for _ in range(8)]
            assert {h.result() for h in hasty} == {504}
        assert {h.result() for h in patient} == {200}
    ready_becomes(200, 30)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        TOKEN = P.sign_in()
        sys.exit(pug.main(tests))
