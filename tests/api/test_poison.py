#!/usr/bin/env python3
"""Poison in every field of every method that an API key opens, in both codecs, in the query
and in headers: text that is no text, numbers that are none, what is too long or too deep.
No answer says `internal`, no worker dies, and events beside it are judged by the contract.
The fields come from the protos, so that a new one is poisoned, too."""
import base64
import gzip
import json
import sys
import urllib.parse
import uuid

from google.protobuf import json_format

import protos
import pug
import test_model
import test_roles
import test_sealed

BATCH, SDK = pug.BATCH, "profiles.v1.ProfilesSDKService"
MARK = "@@POISON@@"
NOBODYS = {"internal", "unknown", "data_loss", "unimplemented", "unavailable"}
SPECIAL = {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.Struct",
           "google.protobuf.Value", "google.protobuf.ListValue"}
DEEPEST = 7  # of fields in fields
P = SHOP = None
START = {"asked": 0}
PUBLIC = {}

# name, inside of a JSON string, bytes of a Protobuf string (None: cannot be said there),
# always refused. Most begin as an anonymous id must, or they would not come far.
TEXTS = [
    ("latin-1", b"anon-\xe9t\xe9", b"anon-\xe9t\xe9", True),
    ("no byte of UTF-8", b"anon-\xff\xfe", b"anon-\xff\xfe", True),
    ("overlong NUL", b"anon-\xc0\x80", b"anon-\xc0\x80", True),
    ("surrogate", b"anon-\xed\xa0\x80", b"anon-\xed\xa0\x80", True),
    ("beyond Unicode", b"anon-\xf4\x90\x80\x80", b"anon-\xf4\x90\x80\x80", True),
    ("cut short", b"anon-\xe2\x82", b"anon-\xe2\x82", True),
    ("NUL", b"anon-\\u0000x", b"anon-\0x", True),
    ("raw NUL", b"anon-\0x", None, True),
    ("lone surrogate", b"anon-\\ud800", None, True),
    ("surrogates reversed", b"anon-\\udc00\\ud800", None, True),
    ("no escape", b"anon-\\x00", None, True),
    ("raw newline", b"anon-\n", None, True),
    ("percent", b"anon-http://x/%E9?utm_source=%00%ff&q=%", b"anon-http://x/%E9?utm_source=%00%ff&q=%", False),
    ("controls", b"anon-\\u0001\\u001f\\u007f\\r\\n", b"anon-\x01\x1f\x7f\r\n", False),
    ("odd letters", "anon-\uffff\u202e\ufeff\u0000"[:-1].encode() + "\U0010ffff".encode(),
     "anon-\uffff\u202e\ufeff\U0010ffff".encode(), False),
    ("backslash", b"anon-\\\\", b"anon-\\", False),
    ("wildcards", b"anon-%_\\\\%", b"anon-%_\\%", False),
    ("SQL", b"anon-'; drop table pugd.inbox; --$1", b"anon-'; drop table pugd.inbox; --$1", False),
    ("format", b"anon-%s%n%1000000d", b"anon-%s%n%1000000d", False),
    ("NaN", b"NaN", b"NaN", False), ("-Infinity", b"-Infinity", b"-Infinity", False),
    ("1e999999999", b"1e999999999", b"1e999999999", False), ("digits", b"9" * 4000, b"9" * 4000, False),
    ("empty", b"", b"", False), ("blank", b" \\t ", b" \t ", False),
    ("xid", b"v" * 20, b"v" * 20, False), ("UUID", b"f" * 8 + b"-ffff" * 3 + b"-" + b"f" * 12,
                                          b"f" * 8 + b"-ffff" * 3 + b"-" + b"f" * 12, False),
    ("513 bytes", b"anon-" + b"x" * 508, b"anon-" + b"x" * 508, False),
    ("long", b"anon-" + b"x" * 70000, b"anon-" + b"x" * 70000, False),
]
HUGE = ("a megabyte", b"anon-" + b"x" * 1000000, b"anon-" + b"x" * 1000000, False)
TOKENS = {  # of JSON where something else is expected
    "number": [b"NaN", b"Infinity", b"-Infinity", b'"NaN"', b'"Infinity"', b'"-Infinity"', b"1e999", b"-1e999",
               b"1e-999", b"1e999999999999", b"9" * 400, b"-0", b"18446744073709551616", b'"1e400"', b'"x"', b'""',
               b"1.5", b"-1", b"null", b"true", b"[]", b"{}", b'"\\ud800"'],
    "Timestamp": [b'"0000-00-00T00:00:00Z"', b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:60.999999999Z"',
                  b'"2026-02-30T00:00:00Z"', b'"+275760-09-13T00:00:00Z"', b'"2026-01-01T00:00:00+99:99"', b'""',
                  b'"\\u0000"', b'"2026-01-01T00:00:00.' + b"9" * 4000 + b'Z"', b"NaN", b"1e999", b"{}", b"null"],
    "Duration": [b'"1e999s"', b'"-315576000001s"', b'"315576000000.999999999s"', b'"NaNs"', b'"s"', b'"\\ud800s"',
                 b"NaN", b"1e999", b"{}", b"null", b'"-0.000000001s"'],
    "Struct": [b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b'{"\\u0000":1}', b'{"\xff":1}',
               b'{"\\udfff":1}', b'{"":1}', b'{"$latitude":1e308,"$longitude":"NaN","$ip":"\\u0001"}',
               b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}",
               b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"' + b"k" * 70000 + b'":1}', b'{"a":1,"a":2}', b"[]", b"null",
               b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(3000)) + b"}", b'{"$url":"http://%E9/%00?%"}',
               b'{"a":-0.0,"b":5e-324,"c":1.7976931348623157e308,"d":12345678901234567890123}'],
}
TOKENS["enum"] = TOKENS["number"] + [b'"NO_SUCH"', b"2147483648", b"-2147483648"]
TOKENS["bool"] = TOKENS["number"]
SECONDS = [(-2 ** 63, 0), (2 ** 63 - 1, 999999999), (0, -1), (0, 2 ** 31 - 1), (-62135596801, 0), (253402300800, 0)]


# ---- fields --------------------------------------------------------------------------------

def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def kind_of(field):
    """Of a leaf; None of a message that has fields of its own."""
    if field.message_type is not None:
        name = field.message_type.full_name
        if name not in SPECIAL:
            return None
        return name.rpartition(".")[2].replace("ListValue", "Struct").replace("Value", "Struct")
    return {field.TYPE_STRING: "text", field.TYPE_BYTES: "text", field.TYPE_BOOL: "bool",
            field.TYPE_ENUM: "enum"}.get(field.type, "number")


def leaves(descriptor, above=()):
    """[(path, kind)]: where something can be said in a request."""
    for field in descriptor.fields:
        path = above + (field,)
        if is_map(field):
            yield path, "key"
            value = field.message_type.fields_by_name["value"]
            kind = kind_of(value)
            if kind:
                yield path, kind
            else:
                yield from leaves(value.message_type, path)
        elif kind_of(field):
            yield path, kind_of(field)
        elif len(path) < DEEPEST and all(f.message_type is not field.message_type for f in above):
            yield from leaves(field.message_type, path)


def said(base, path, kind, what):
    """The base with `what` at the path, all of it as JSON."""
    body = json.loads(json.dumps(base))
    at = body
    for i, field in enumerate(path):
        last, name = i == len(path) - 1, field.json_name
        rival = {"kind": "name", "name": "kind", "occurTime": "timestamp", "timestamp": "occurTime"}.get(name)
        if "distinctId" in at:
            at.pop(rival, None)
        if is_map(field):
            if last:
                at[name] = {what: sample(field)} if kind == "key" else {"k": what}
            else:
                at[name] = {"k": {}}
                at = at[name]["k"]
        elif field.label == field.LABEL_REPEATED:
            if last:
                at[name] = [what]
            else:
                at[name] = at.get(name) or [{}]
                at = at[name][0]
        elif last:
            at[name] = what
        else:
            at[name] = at.get(name) if isinstance(at.get(name), dict) else {}
            at = at[name]
    return body


def sample(field):
    return {"boolValue": True} if kind_of(field.message_type.fields_by_name["value"]) is None else 1


def json_bodies(base, path, kind, huge):
    """(name, body, is refused)"""
    plain = json.dumps(said(base, path, kind, MARK)).encode()
    mark = b'"' + MARK.encode() + b'"'
    if kind in ("text", "key"):
        for name, inside, _, bad in TEXTS + [HUGE] * huge:
            yield name, plain.replace(mark, b'"' + inside + b'"'), bad
    for token in TOKENS.get(kind, ()) if kind != "key" else ():
        yield token[:40], plain.replace(mark, token), b"\\ud8" in token or token in (b"NaN", b"Infinity", b"-Infinity")


def binary_bodies(method, base, path, kind, huge):
    if kind in ("text", "key"):
        for name, _, inside, bad in TEXTS + [HUGE] * huge:
            if inside:
                mark = ("~q" * len(inside))[:len(inside)]
                body = method.encode(said(base, path, kind, mark))
                assert mark.encode() in body, (path, name)
                yield name, body.replace(mark.encode(), inside), bad
    elif kind == "number":
        for text in ("NaN", "-Infinity", 1.7976931348623157e308, -1, 2 ** 31 - 1, -2 ** 31, 2 ** 63 - 1):
            try:
                yield text, method.encode(said(base, path, kind, text)), False
            except json_format.ParseError:
                pass  # not of this type
    elif kind in ("Timestamp", "Duration"):
        good = "2026-01-01T00:00:00Z" if kind == "Timestamp" else "1s"
        for seconds, nanos in SECONDS:
            message = method.input()
            json_format.ParseDict(said(base, path, kind, good), message)
            at = message
            for field in path:
                at = getattr(at, field.name)
                if is_map(field):
                    at = at["k"]
                elif field.label == field.LABEL_REPEATED:
                    at = at[0]
            at.seconds, at.nanos = seconds, nanos
            yield (seconds, nanos), message.SerializeToString(), False


# ---- asking ----------------------------------------------------------------------------------

class Asker:
    """A kept connection; counts what was stored."""

    def __init__(self):
        self.conn = P.connect()

    def stream(self, where, path, raw, bad, kind):
        """The same of a method that streams: its judgement is in the last envelope."""
        status, body = self.ask(where, path, b"\0" + len(raw).to_bytes(4, "big") + raw,
                                kind=kind.replace("/", "/connect+"))
        assert status == 200, (where, body)
        last = b""
        while body:
            size = int.from_bytes(body[1:5], "big")
            last, body = body[:5 + size], body[5 + size:]
        code = json.loads(last[5:]).get("error", {}).get("code")
        assert last[0] == 2 and code not in NOBODYS and (not bad or code == "invalid_argument"), f"{where}: {last}"

    def ask(self, where, path, raw, headers=None, method="POST", bad=False, kind="application/json"):
        """An answer that no poison may change into something else than a judgement."""
        START["asked"] += 1
        headers = {"content-type": kind, "x-api-key": SHOP.key, **(headers or {})}
        try:
            self.conn.request(method, path, body=raw, headers=headers)
            answer = self.conn.getresponse()
            body = answer.read()
        except OSError as e:
            raise AssertionError(f"{where}: {e!r}") from None
        if answer.status == 200:
            assert not bad, f"{where}: was taken: {body[:300]!r}"
            return 200, json.loads(body) if kind == "application/json" else body
        assert 400 <= answer.status < 500, f"{where}: {answer.status} {body[:500]!r}"
        if answer.status == 415 and not body:
            return 415, {"code": None}  # who asks for another codec reads no error of this one
        told = json.loads(body.decode())
        assert told["code"] not in NOBODYS, f"{where}: {told}"
        assert not bad or answer.status == 400, f"{where}: {answer.status} {told}"
        return answer.status, told


def key_methods():
    return [m for m in protos.methods() if m.authz in (5, 6)]


def bases(method):
    """Valid requests that poison is put into."""
    if method.path == BATCH:
        return [{"events": [{"name": "poisoned", "distinctId": "u"}]},
                {"events": [{"kind": "poisoned", "distinctId": "u", "occurTime": "2026-01-01T00:00:00Z",
                             "eventId": str(uuid.uuid4()), "sessionId": str(uuid.uuid4())}]}]
    if method.service == SDK:
        return [{"externalId": "somebody", "anonymousId": "anon-1"} if method.name == "Identify" else
                {"externalId": "somebody", "previousId": "anon-2"}]
    known = test_roles.bodies({"org": test_roles.XID}).get(method.service.rpartition(".")[2], {})
    return [known.get(method.name, {})]


# ---- tests -----------------------------------------------------------------------------------

def poisoned(method, asker):
    fields = list(leaves(method.input.DESCRIPTOR))
    assert fields or not method.input.DESCRIPTOR.fields, method.path
    sdk, send = method.authz == 5, asker.stream if method.server_stream else asker.ask
    paths = [method.path] + (method.aliases if sdk else [])
    for base in bases(method):
        for path, kind in fields:
            name = ".".join(f.name for f in path)
            for what, body, bad in json_bodies(base, path, kind, sdk):
                for at in paths:
                    send(f"{at} {name} JSON {what}", at, body, bad=bad, kind="application/json")
                if method.no_side_effects and len(body) < 8000:
                    query = urllib.parse.urlencode({"connect": "v1", "encoding": "json", "message": body})
                    asker.ask(f"GET {method.path} {name} {what}", f"{method.path}?{query}", None, method="GET",
                              bad=bad)
            for what, body, bad in binary_bodies(method, base, path, kind, sdk):
                send(f"{method.path} {name} Protobuf {what}", method.path, body, bad=bad, kind="application/proto")
    return len(fields)


def test_every_field(_):
    methods = key_methods()
    assert len(methods) >= 21, len(methods)
    asker, total = Asker(), 0
    for method in methods:
        total += poisoned(method, asker)
    print(f"     {len(methods)} methods, {total} fields, {START['asked']} requests")


def test_whole_bodies(_):
    """What is no message at all, at every method."""
    asker = Asker()
    for method in [m for m in key_methods() if not m.server_stream]:
        for body in (b"", b"\xff\xfe{\0}\0", b"\xe9", b"{\"\\ud800\":1}", b"[" * 100000, b'{"a":' * 100000, b"null",
                     b"NaN", b'{"x":NaN}', b"\0" * 100, b'"\\u0000"'):
            asker.ask(f"{method.path} {body[:20]!r}", method.path, body, bad=True)
        for body in (b"\x0b" * 10000, b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 999):
            asker.ask(f"{method.path} {body[:20]!r}", method.path, body, bad=True, kind="application/proto")
        squeezed = gzip.compress(b"{}")
        for body in (b"", b"x", squeezed[:-1], squeezed[:-8] + b"\0" * 8, squeezed + b"\0", b"\x1f\x8b\x08\xff" * 9,
                     gzip.compress(b"\xff"), gzip.compress(squeezed)):
            asker.ask(f"{method.path} gzip {body[:20]!r}", method.path, body, {"content-encoding": "gzip"}, bad=True)


def good(name="good", **more):
    return {"eventId": str(uuid.uuid4()), "name": name, "distinctId": "visitor", **more}


def names():
    return [(e["kind"], e["eventId"]) for e in test_model.ask_list(P, SHOP.key, {"pageSize": 1000})[0]]


def test_good_events_beside_it(_):
    """A batch with a poisoned event is refused whole, naming it (D22); without it, it is taken."""
    asker, kept = Asker(), []
    for poison in ({"distinctId": "\0"}, {"distinctId": "x" * 513}, {"name": "a\u0001"}, {"distinctId": "\ud800"},
                   {"properties": {"a": [1]}}, {"properties": {"a": "x" * 1025}}, {"properties": {"a": "\0"}},
                   {"properties": {"k" * 256: 1}}, {"customProperties": {"x": {"doubleValue": "NaN"}}},
                   {"customProperties": {"x": {"doubleValue": "Infinity"}}}, {"timestamp": "1999-12-31T23:59:59Z"},
                   {"autoProperties": {"$latitude": {"doubleValue": "-Infinity"}}}, {"sessionId": "nobody's"}):
        first, last = good(), good()
        for path in (BATCH, BATCH + "?api_key=" + PUBLIC["key"]):
            status, told = asker.ask(str(poison), path, json.dumps({"events": [first, good(**poison), last]}).encode())
            assert status == 400 and told["code"] == "invalid_argument", (poison, told)
            if "\ud800" not in str(poison):  # which is no JSON
                assert "events[1]" in told["message"] and "events[0]" not in told["message"], (poison, told)
        got = P.ok(BATCH, {"events": [first, last]}, key=SHOP.key)
        assert got == {"accepted": 2, "dropped": 0, "eventsCreated": 2}, got
        kept += [("good", first["eventId"]), ("good", last["eventId"])]
    assert sorted(n for n in names() if n[0] == "good") == sorted(kept)


HEADERS = [b"\xff\xfe", b"M\xfcnchen", b"%E9%00", b"NaN", b"Infinity", b"-1e999", b"1e999", b"91", b"0x1p4", b"",
           b"'; drop table x; --", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"x" * 20000, b"[" * 5000, b"1" * 5000,
           b"{\"a\":1}", b"=?utf-8?q?=00?=", b"\t", b"10.0.0.1, \xff, ::1%lo", b"://", b"http://[", b"http://%E9.%00/",
           b"q=;;;=,,,", b"*;q=NaN"]
NAMES = ["User-Agent", "CF-IPLatitude", "CF-IPLongitude", "CF-IPCity", "CF-IPCountry", "CF-IPContinent", "CF-Region",
         "CF-Postal-Code", "CF-Metro-Code", "CF-Timezone", "CF-Bot-Score", "CF-Verified-Bot", "X-Forwarded-For",
         "Forwarded", "Referer", "Origin", "Accept-Language", "Cookie", "X-Request-Id", "Traceparent", "X-Unknown"]


def test_headers(_):
    """What others say about a client spoils no event: it is replaced or left out (D23)."""
    asker, sent = Asker(), []
    for name in NAMES:
        for text in HEADERS:
            event = good("headed", autoProperties={"$url": {"stringValue": "https://a.example/%E9?utm_source=%00"}})
            status, told = asker.ask(f"{name}: {text[:40]!r}", BATCH, json.dumps({"events": [event]}).encode(),
                                     {name: text.decode("latin-1")})
            assert (status, told.get("eventsCreated")) == (200, 1), (name, text[:40], told)
            sent.append(event["eventId"])
    stored, _ = test_model.ask_list(P, SHOP.key, {"pageSize": 1000, "kind": "headed"})
    assert {e["eventId"] for e in stored} == set(sent) and len(stored) == len(sent)
    for event in stored:
        auto = event["autoProperties"]
        text = json.dumps(auto, allow_nan=False, ensure_ascii=False)  # what is no number is text
        assert "\0" not in text and "\\u0000" not in text and auto["$pathname"] == "/\ufffd", auto


def test_a_megabyte_of_user_agent(_):
    """A head that is too large is refused, and the connection ends; the next one is served."""
    event = json.dumps({"events": [good()]}).encode()
    for name in ("User-Agent", "Referer", "Cookie", "X-Api-Key"):
        answer = P.raw(b"POST " + BATCH.encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n%s: " % (len(event), name.encode()) + b"x" * 1000000 + b"\r\n\r\n" + event)
        assert answer.startswith(b"HTTP/1.1 431 ") or answer == b"", (name, answer[:200])
    assert Asker().ask("then", BATCH, event)[0] == 200


def test_query_strings(_):
    """Of beacons and of GET: keys, messages and options that are none."""
    asker, pub = Asker(), PUBLIC["key"]
    event = json.dumps({"events": [good("beacon")]}).encode()
    for query in ("api_key=%00", "api_key=%E9", "api_key=%ff%fe", "api_key=" + "x" * 8000, "api_key", "api_key=",
                  "&&&=&%", "%", "api_key=%zz", f"api_key={pub}%00", f"api_key=%20{pub}", "api_key=" + SHOP.key,
                  f"x=%E9&api_key={pub[:-1]}", "api_key=%C3%A9"):
        status, told = asker.ask(query[:60], f"{BATCH}?{query}", event, {"x-api-key": ""})
        assert (status, told["code"]) == (401, "unauthenticated"), (query, told)
    for query in (f"api_key={pub}", f"api_key={pub}&x=%E9&%00=%ff&y", f"%ff=1&api_key={pub}&", f"api_key={pub}&api_key=x"):
        assert asker.ask(query, f"{BATCH}?{query}", event, {"x-api-key": ""})[0] in (200, 401), query
    question = json.dumps(test_roles.bodies({"org": ""})["InsightsService"]["Query"])
    packed = base64.urlsafe_b64encode(question.encode()).decode()
    for options in ({"message": question, "encoding": "\xff"}, {"message": "\0", "encoding": "json"},
                    {"message": "%", "encoding": "json"}, {"message": "====", "encoding": "json", "base64": "1"},
                    {"message": packed[:-7], "encoding": "json", "base64": "1"}, {"encoding": "json"},
                    {"message": packed, "encoding": "proto", "base64": "1"}, {"message": question, "encoding": ""},
                    {"message": packed, "encoding": "json", "base64": "1", "compression": "gzip"},
                    {"message": packed, "encoding": "json", "base64": "\0"},
                    {"message": question, "encoding": "json", "connect": "v\0"}):
        query = urllib.parse.urlencode({"connect": "v1", **options})
        asker.ask(query[:200], f"{test_model.QUERY}?{query}", None, method="GET")
    query = urllib.parse.urlencode({"connect": "v1", "encoding": "json", "message": question})
    assert asker.ask("good", f"{test_model.QUERY}?{query}", None, method="GET")[0] == 200


def test_nobody_died(_):
    """Last: the same workers, and everything that was taken can be read, sealed and counted."""
    status = P.admin()
    assert {w["pid"] for w in status["workers"]} == START["pids"], status["workers"]
    assert status["deaths"] == 0 and status["quarantine"] == [], status
    log = P.log()
    for word in ("worker died", "panic", "runtime error", "AddressSanitizer"):
        assert word not in log, log[max(0, log.find(word) - 500):][:3000]
    before = names()
    test_sealed.seal(P)
    assert names() == before and SHOP.rows("inbox") == 0
    code, lines = test_sealed.verify(P)
    assert code == 0, lines[-20:]


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2", "access_log=no"] + test_sealed.LAZY) as P:
        test_roles.P = P
        SHOP = test_sealed.Shop(P)
        PUBLIC["key"] = P.ok(test_model.PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PUBLIC"},
                             token=SHOP.token, project=SHOP.id)["key"]
        START["pids"] = {w["pid"] for w in P.admin()["workers"]}
        sys.exit(pug.main(tests))
