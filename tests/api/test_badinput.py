#!/usr/bin/env python3
"""Hostile and broken input through the whole server: a clean error that names the field
where there is one, or a closed connection, and never a dead or swollen worker."""
import concurrent.futures
import gzip
import json
import random
import socket
import struct
import sys
import time
import zlib

import pug

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
UNKNOWN_DEEP = b'{"unknown":' + b"[" * 10000 + b"]" * 10000 + b"}"
MB = 1024 * 1024
P = None
START = {}


# ---- bytes on a socket -------------------------------------------------------------

def head(path=BATCH, kind="application/json", method="POST", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"X-Api-Key: {P.info['public_key']}"]
    if kind:
        lines.append("Content-Type: " + kind)
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunks(body, size=65536):
    pieces = [b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size])
              for i in range(0, len(body), size)]
    return b"".join(pieces) + b"0\r\n\r\n"


def parse(data):
    """The answers in `data`: [(status, headers, body)]; interim ones are left out."""
    out = []
    while b"\r\n\r\n" in data:
        top, data = data.split(b"\r\n\r\n", 1)
        lines = top.decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip()
                   for k, _, v in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if not lines[0].startswith("HTTP/1.1 1"):
            out.append((int(lines[0].split()[1]), headers, data[:length]))
        data = data[length:]
    return out


def talk(data, timeout=15, end=False, pause=0.0):
    """(answers, closed) of a connection that sends `data` (bytes, or pieces with a pause
    between them) and reads until the server closes or `timeout` passes."""
    got, closed = b"", False
    with socket.create_connection((P.host, P.port), timeout=timeout) as s:
        try:
            for piece in [data] if isinstance(data, bytes) else data:
                s.sendall(piece)
                time.sleep(pause)
            if end:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused and closed before the end
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    closed = True
                    break
                got += piece
        except socket.timeout:
            pass
        except OSError:
            closed = True
    return parse(got), closed


def refused(data, *statuses, **kw):
    """Exactly one answer, of one of `statuses`, then the end of the connection. A
    connection that just ends is clean too when 0 is among them."""
    answers, closed = talk(data, **kw)
    got = [a[0] for a in answers]
    assert closed, (data[:200], got)
    assert (len(got) == 1 and got[0] in statuses) or (not got and 0 in statuses), (data[:200], got)
    return answers[0] if answers else None


def post(body, kind="application/json", path=BATCH, limit=4.0, **headers):
    """(status, code, message) of one call, which must not take long."""
    start = time.monotonic()
    status, answer, _ = P.call(path, raw=body, key=P.info["public_key"],
                               headers={"content-type": kind, **headers})
    spent = time.monotonic() - start
    assert spent < limit * (10 if P.slow else 1), (spent, body[:80])
    if not isinstance(answer, dict):
        return status, None, answer
    if status != 200:
        types = [d["type"] for d in answer["details"]]
        assert types[:2] == ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"], answer
    return status, answer.get("code"), answer.get("message")


def invalid(body, fragment="", **kw):
    got = post(body, **kw)
    assert got[:2] == (400, "invalid_argument"), (body[:80], got)
    assert fragment in got[2], (body[:80], got)


# ---- Protobuf bytes ---------------------------------------------------------------

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


# ---- tests ---------------------------------------------------------------------------

def test_malformed_json(_):
    for body in (b"", b" ", b"{", b"}", b"[]", b"null", b"1", b'"x"', b"nul", b"{]", b'{"events"}',
                 b'{"events":}', b'{"events":[}', b'{"events":[,]}', b'{"events":[],}', b"{,}",
                 b'{events:[]}', b"{'events':[]}", b'{"events":[]} x', b'{"events":[]}{}',
                 b"\xef\xbb\xbf{}", b"// c\n{}", b"{}\0", b"\0{}", b'{"x":01}', b'{"x":+1}',
                 b'{"x":.5}', b'{"x":1.}', b'{"x":1e}', b'{"x":0x1}', b'{"x":NaN}',
                 b'{"x":Infinity}', b'{"x":-}', b'{"x":tru}', b'{"x":truex}', b'{"x":"\n"}',
                 b'{"x":"\\x"}', b'{"x":"\\u12"}', b'{"x":"\\ud800"}', b'{"x":"\\udc00\\ud800"}',
                 b'{"x":"\xff"}', b'{"x":"\xc0\x80"}', b'{"x":"\xed\xa0\x80"}', b'{"x":"',
                 b'{"\xf5":1}', b'{"x":1 "y":2}', b'{"x"', "{}".encode("utf-16"),
                 b'{"x":' + b"-" * 1000 + b"}", b"[" * 10000, b'{"a":' * 10000, UNKNOWN_DEEP,
                 b'{"x":1,"x":2}', b'{"x":{"y":1,"y":2}}'):
        invalid(body)


def test_wrong_types_name_the_field(_):
    event = {"name": "a", "distinctId": "u"}
    for change, where in (({"name": 1}, "events[0].name"), ({"name": ["a"]}, "events[0].name"),
                          ({"name": True}, "events[0].name"), ({"distinctId": {}}, "distinct"),
                          ({"cookieless": "yes"}, "events[0].cookieless"),
                          ({"cookieless": 1}, "events[0].cookieless"),
                          ({"timestamp": 5}, "events[0].timestamp"),
                          ({"timestamp": "yesterday"}, "events[0].timestamp"),
                          ({"timestamp": "2026-02-30T00:00:00Z"}, "events[0].timestamp"),
                          ({"timestamp": "2026-01-01"}, "events[0].timestamp"),
                          ({"properties": []}, "events[0].properties"),
                          ({"properties": "x"}, "events[0].properties"),
                          ({"properties": {"deep": {"x": 1}}}, "properties"),
                          ({"properties": {"deep": [1]}}, "properties"),
                          ({"customProperties": {"a": 1}}, "events[0].customProperties"),
                          ({"customProperties": {"a": {"intValue": 1.5}}}, "intValue"),
                          ({"customProperties": {"a": {"intValue": "9223372036854775808"}}},
                           "intValue"),
                          ({"customProperties": {"a": {"intValue": 1, "boolValue": True}}},
                           "events[0].customProperties"),
                          ({"customProperties": []}, "events[0].customProperties")):
        got = post(json.dumps({"events": [{**event, **change}]}).encode())
        assert got[:2] == (400, "invalid_argument"), (change, got)
        assert where.lower() in got[2].replace("_", "").lower(), (change, got)
    for body, where in ((b'{"events":{}}', "events"), (b'{"events":"x"}', "events"),
                        (b'{"events":[1]}', "events[0]"), (b'{"events":[null]}', "events[0]"),
                        (b'{"events":[[]]}', "events[0]"),
                        (b'{"events":[{"name":"a","name":"b"}]}', "events[0].name")):
        invalid(body, where)
    # Enums of a read, through a private key.
    for spec, where in (({"insightType": "NO_SUCH"}, "insightType"),
                        ({"insightType": 99}, "insight"),
                        ({"insightType": []}, "insightType"), ({"events": 5}, "events")):
        status, answer, _ = P.call(QUERY, {"spec": spec, "granularity": "GRANULARITY_DAY"},
                                   key=P.info["private_key"])
        assert status == 400 and where.lower() in answer["message"].replace("_", "").lower(), answer


def test_large_json(_):
    """Up to the limit of 4 MB, in the shapes that cost most."""
    room = 4 * MB - 200
    many = b",".join(b'"k%06x":1' % i for i in range(room // 13))
    got = post(b'{"events":[{"properties":{' + many + b"}}]}")
    assert got[0] in (400, 429), got
    got = post(b'{"events":[{"customProperties":{' + many.replace(b":1", b":{}")[:room]
               .rpartition(b",")[0] + b"}}]}")
    assert got[0] in (400, 429), got
    assert post(b'{"unknown":{' + many + b"}}")[0] in (200, 400, 429)
    assert post(b"{" + many + b"}")[0] in (200, 400, 429)
    for body in (b'{"events":[' + b"{}," * (room // 3 - 5) + b"{}]}",
                 b'{"events":[{"properties":{"x":[' + b"{}," * (room // 3 - 20) + b"{}]}}]}"):
        got = post(body)
        assert got[0] in (400, 429) and got[1] in ("invalid_argument", "resource_exhausted"), got
    for value in (b"1" * room, b"0." + b"1" * (room - 2), b"1e" + b"9" * (room - 3),
                  b'"' + b"\\u0000" * (room // 6) + b'"', b'"' + b"x" * room + b'"',
                  b'"' + b"\\n" * (room // 2) + b'"'):
        body = b'{"events":[{"name":"a","distinctId":"u","properties":{"x":' + value + b"}}]}"
        got = post(body)
        # A number may be as long as it likes; a string value has a rule.
        assert got[0] in ((200, 400) if value[:1].isdigit() else (400, 429)), (value[:20], got)
    # Keys that many hash functions send to one place.
    same = b",".join(b'"%s":1' % bytes(random.Random(i).choices(b"AaBb", k=12))
                     for i in range(50000))
    assert post(b'{"unknown":{' + same + b"}}")[0] in (200, 400)


def test_bad_protobuf(_):
    kind = "application/proto"
    name = field(9, b"a")
    nested = b""
    for _ in range(300):
        # google.protobuf.Value{list_value{values: [...]}}
        nested = field(6, field(1, nested))
    groups = varint(99 << 3 | 3)
    ungroups = varint(99 << 3 | 4)
    for body in (b"\x80" * 11, b"\x0a", b"\x0a\x05ab", b"\x0a" + varint(2 ** 31) + b"x" * 100,
                 b"\x0a" + varint(2 ** 31 - 1), b"\x0a" + varint(2 ** 63), b"\x0a\xff" * 5,
                 b"\x0a" + varint(2 ** 64 - 1) + b"x", b"\x0a" + b"\xff" * 10 + b"\x01",
                 b"\x00\x00", b"\x0e\x00", b"\x0f\x00", ungroups, groups, groups * 10000,
                 groups * 10000 + ungroups * 10000, groups + varint(98 << 3 | 4),
                 field(1, name[:-1]), field(1, field(9, b"\xff\xfe")), field(1, b"\x48"),
                 field(1, field(11, field(1, field(1, b"k") + field(2, nested)))),
                 field(1, field(3, field(1, b"k") + field(2, b"\x0a\x05"))),
                 b"\x08\x01\xff", b"\xfa\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"):
        invalid(body, kind=kind)
    invalid(field(1, field(9, b"a\0b") + field(4, b"u")), "name", kind=kind)
    for body in (field(1, b"") * (4 * MB // 2 - 1), field(1, field(3, b"") * (MB - 10)),
                 field(1, field(11, field(1, b"") * (MB - 10))), b"\x0a\x00" * 1000000,
                 field(1, b"\x40\x01" * (MB - 10)), b"\x50\x01" * (MB - 10)):
        got = post(body, kind=kind)
        assert got[0] in (200, 400, 429), (body[:10], got)
    rnd = random.Random(7)
    good = field(1, field(9, b"a") + field(4, b"u") +
                 field(11, field(1, field(1, b"k") + b"\x12\x00")))
    for i in range(300):
        body = bytearray(good if i % 2 else rnd.randbytes(rnd.randrange(1, 200)))
        for _ in range(3):
            body[rnd.randrange(len(body))] = rnd.randrange(256)
        got = post(bytes(body), kind=kind)
        assert got[0] in (200, 400), (bytes(body), got)


def test_unknown_paths(_):
    for path in ("/", "/x", "/events.v1.EventsService", "/events.v1.EventsService/",
                 "/events.v1.EventsService/batchcreate", BATCH + "/", "/" + BATCH, BATCH + "%00",
                 "/../../etc/passwd", "/%2e%2e/", "/a" * 5000, "/status.json", "/metrics"):
        status, _, headers = P.call(path, {}, key=P.info["public_key"])
        assert status == 404 and "x-request-id" in headers, (path, status)
    for method in ("DELETE", "PUT", "PATCH", "HEAD", "TRACE", "OPTIONS"):
        answers, _ = talk(head(method=method, Connection="close"))
        assert [a[0] for a in answers] == [405] and answers[0][1]["allow"] == "POST", answers
    for method in ("CONNECT", "BREW", "post", "POSTPOST"):
        refused(head(method=method), 400, 501)


def test_oversized_bodies(_):
    refused(head(Content_Length=8 * MB + 1), 413)
    refused(head(Content_Length=2 ** 63), 413)
    refused(head(Content_Length=2 ** 64 - 1), 413)
    refused(head(Content_Length=9 * MB) + b"x" * 9 * MB, 413)
    # Between the two limits: the Connect error, before the body is read.
    answer = refused(head(Content_Length=4 * MB + 1, Connection="close"), 429)
    assert json.loads(answer[2])["code"] == "resource_exhausted", answer
    answers, _ = talk(head(Transfer_Encoding="chunked") + chunks(b" " * (4 * MB + 1)), timeout=3)
    assert [a[0] for a in answers] == [429], answers
    assert json.loads(answers[0][2])["code"] == "resource_exhausted" and \
        "retry-after" not in answers[0][1], answers
    # One big chunk size, and one that overflows.
    answers, _ = talk(head(Transfer_Encoding="chunked") + b"7ffffffffffffff\r\n" + b"x" * 5 * MB,
                      timeout=3)
    assert [a[0] for a in answers] == [429], answers
    answer = refused(head(Transfer_Encoding="chunked") + b"10000000000000000\r\nx", 400)
    assert json.loads(answer[2])["code"] == "invalid_argument", answer
    # Exactly at the limit it is served.
    assert post(b"{}" + b" " * (4 * MB - 2))[0] == 200
    assert post(b"{}" + b" " * (4 * MB - 1))[0] == 429


def bomb(copies):
    """gzip of `copies` MB of zeros: every piece ends in a full flush, so that the same
    kilobyte repeats."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = z.compress(b"\0" * MB) + z.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + piece * copies + b"\x03\0" + b"\0" * 8


def test_gzip_bombs(_):
    small = bomb(3900)
    assert 3 * MB < len(small) < 4 * MB, len(small)
    for body in (small, bomb(5), gzip.compress(b"{}" + b" " * 4 * MB)):
        for kind in ("application/json", "application/proto"):
            got = post(body, kind=kind, **{"content-encoding": "gzip"})
            assert got[:2] == (429, "resource_exhausted"), got
    ten = bomb(10200)  # 10 MB that stand for 10 GB
    refused(head(Content_Encoding="gzip", Content_Length=len(ten)) + ten, 413)
    answers, _ = talk(head(Content_Encoding="gzip", Transfer_Encoding="chunked") + chunks(ten),
                      timeout=3)
    assert [a[0] for a in answers] == [429], answers
    # Nested: only one layer is ever taken off.
    invalid(gzip.compress(gzip.compress(b"{}")), **{"content-encoding": "gzip"})
    got = post(gzip.compress(b"{}"), **{"content-encoding": "gzip, gzip"})
    assert got[:2] == (501, "unimplemented"), got
    whole = gzip.compress(b'{"events":[]}')
    assert post(whole, **{"content-encoding": "gzip"})[0] == 200
    for body in (b"x", b"\x1f\x8b", whole[:-1], whole[:-8], whole + b"x", whole[:-5] + b"\0" * 5,
                 whole + whole, whole[:12] + b"\xff" * 8, zlib.compress(b"{}"), b"{}"):
        invalid(body, **{"content-encoding": "gzip"})
    for coding in ("br", "deflate", "zstd", "gzip\x01"[:4] + "x"):
        assert post(b"{}", **{"content-encoding": coding})[:2] == (501, "unimplemented")
    # In the query of a GET, too.
    import base64
    packed = base64.urlsafe_b64encode(gzip.compress(b"\0" * 5 * MB)).decode().rstrip("=")
    status, answer, _ = P.call(f"{QUERY}?connect=v1&encoding=proto&compression=gzip&base64=1"
                               f"&message={packed}", method="GET", key=P.info["private_key"])
    assert (status, answer["code"]) == (429, "resource_exhausted"), answer


def test_bombs_side_by_side(_):
    small = bomb(3900)
    with concurrent.futures.ThreadPoolExecutor(13) as pool:
        bombs = [pool.submit(post, small, limit=30, **{"content-encoding": "gzip"})
                 for _ in range(24)]
        good = [pool.submit(post, b"{}", limit=30) for _ in range(24)]
        # 504: so many megabytes may take longer than body_timeout on a busy machine.
        assert {b.result()[0] for b in bombs} - {504} == {429}
        assert {g.result()[0] for g in good} == {200}


def smuggling():
    """(name, bytes): each would hide a GET /healthz from one of two parsers."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    first = f"POST {BATCH} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {P.info['public_key']}\r\n" \
        "Content-Type: application/json\r\n".encode()
    te = b"Transfer-Encoding: chunked\r\n"
    tail = b"\r\n0\r\n\r\n" + inner
    yield "cl+te", first + b"Content-Length: 5\r\n" + te + tail
    yield "te+cl", first + te + b"Content-Length: 5\r\n" + tail
    yield "two cl", first + b"Content-Length: 0\r\nContent-Length: 5\r\n" + tail
    yield "two equal cl", first + b"Content-Length: 5\r\nContent-Length: 5\r\n" + tail
    yield "two te", first + te + te + tail
    for value in (b"5, 5", b"5,6", b"+5", b"-5", b"0x5", b"5 5", b"", b"5;", b"5\x0b", b"1e1",
                  b"5.", b"\xc2\xb25", b"99999999999999999999"):
        yield "cl " + repr(value), first + b"Content-Length: " + value + b"\r\n" + tail
    for value in (b"identity,chunked", b"chunked, identity", b"chunked, chunked", b"gzip, chunked",
                  b"xchunked", b"chunkedx", b"\"chunked\"", b"chunked;q=1", b"identity", b"",
                  b"cow", b"\x0bchunked", b"chunked\x0c", b",chunked", b"gzip", b"chun ked",
                  b"chunked,", b"\xa0chunked"):
        yield "te " + repr(value), first + b"Transfer-Encoding: " + value + b"\r\n" + tail
        yield "te+cl " + repr(value), (first + b"Content-Length: 5\r\nTransfer-Encoding: " + value +
                                       b"\r\n" + tail)
    for line in (b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
                 b"\tTransfer-Encoding: chunked", b"Transfer-Encoding\t: chunked",
                 b"Transfer-Encoding\0: chunked", b"X: y\rTransfer-Encoding: chunked",
                 b"X: y\nTransfer-Encoding: chunked", b"X: y\r\n Transfer-Encoding: chunked",
                 b"X: y\r\n\tfolded", b"X: y\0z", b"X: y\x7f", b"X", b": y", b"X y: z", b"X(: z",
                 b"Content-Length : 5", b"Content-Length\x00: 5", b"\x00", b"\x80: x",
                 b"Host: b", b"Content-Length: 5\nX: y", b"Transfer-Encoding:\n chunked"):
        yield "line " + repr(line), first + line + b"\r\n" + tail
    yield "bare lf head", first.replace(b"\r\n", b"\n") + b"\n" + inner
    yield "bare cr head", first.replace(b"\r\n", b"\r") + b"\r" + inner
    yield "no host", b"POST / HTTP/1.1\r\n\r\n" + inner
    for line in (b"GET  /healthz HTTP/1.1", b"GET /healthz  HTTP/1.1", b"GET /healthz HTTP/1.1 ",
                 b" GET /healthz HTTP/1.1", b"GET /healthz", b"GET\t/healthz HTTP/1.1",
                 b"GET /health\x00z HTTP/1.1", b"GET /healthz\x7f HTTP/1.1", b"GET /\x80 HTTP/1.1",
                 b"GET /healthz HTTP/1.1\x00", b"GET /healthz HTTP/11.1", b"GET /healthz HTTP/0.9",
                 b"GET /healthz HTTP/2.0", b"GET /healthz http/1.1", b"GET healthz HTTP/1.1",
                 b"GET /healthz#x HTTP/1.1", b"GET * HTTP/1.1", b"GET http:// HTTP/1.1",
                 b"GET http://u@a/healthz HTTP/1.1", b"GET /a b HTTP/1.1", b"(GET) / HTTP/1.1"):
        yield "line " + repr(line), line + b"\r\nHost: a\r\n\r\n" + inner


def test_smuggling_heads(_):
    for name, data in smuggling():
        try:
            refused(data, 400, 501, 505)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from None


def test_smuggling_chunks(_):
    """Bodies whose chunks two parsers might read differently."""
    inner = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (b"2\n{}\r\n0\r\n\r\n", b"2\r\n{}\n0\r\n\r\n", b"2\r{}\r\n0\r\n\r\n",
                    b"2\r\n{}\r0\r\n\r\n", b" 2\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n",
                    b"0x2\r\n{}\r\n0\r\n\r\n", b"+2\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n",
                    b"2\r\n{}0\r\n\r\n", b"2\r\n{}X\r\n0\r\n\r\n", b"3\r\n{}\r\n0\r\n\r\n",
                    b"\r\n", b"\n", b";\r\n", b"g\r\n", b"2;a\n\r\n{}\r\n0\r\n\r\n",
                    b"2;a=\"\r\n\"\r\n{}\r\n0\r\n\r\n", b"2;a\x00\r\n{}\r\n0\r\n\r\n",
                    b"2 ;a\r\n{}\r\n0\r\n\r\n", b"2;" + b"a" * 70000 + b"\r\n{}\r\n0\r\n\r\n",
                    b"1;aaaaaaaa\r\n \r\n" * 5000 + b"2\r\n{}\r\n0\r\n\r\n",
                    b"0000000000000000000000002\r\n{}\r\n0\r\n\r\n",
                    b"10000000000000002\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\n \r\n\r\n",
                    b"2\r\n{}\r\n0\r\nX : y\r\n\r\n", b"2\r\n{}\r\n0\r\nX: y\n\r\n",
                    b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                    b"2\r\n{}\r\n0\r\nX\r\n\r\n"):
        answers, closed = talk(head(Transfer_Encoding="chunked") + framing + inner, timeout=5)
        got = [a[0] for a in answers]
        assert closed and got == [400], (framing[:60], got)
    # Trailers and modest extensions are fine, and a trailer is no header.
    answers, _ = talk(head(Transfer_Encoding="chunked") +
                      b"2;a=b;c=\"d\"\r\n{}\r\n0\r\nContent-Length: 9\r\nX-Api-Key: x\r\n\r\n" +
                      inner.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert [a[0] for a in answers] == [200, 200] and answers[1][2] == b"ok", answers


def test_large_heads(_):
    refused(head(path="/" + "a" * 40000), 414)
    refused(head(X_Long="a" * 40000), 431)
    refused(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 431)
    refused(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431)
    refused(b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: y\r\n" % i
                                                           for i in range(100000)), 431)
    refused(b"GET /" + b"a" * 10 * MB, 414)
    refused(b"G" * MB, 400, 414, 501)
    answers, _ = talk(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
                      b"X: y\r\n" * 98 + b"\r\n")
    assert [a[0] for a in answers] == [200], answers


def test_other_protocols(_):
    rnd = random.Random(3)
    for data in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4" * 10,
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rnd.randbytes(500),
                 b"SSH-2.0-x\r\n", b"EHLO x\r\n", b"\0" * 1000, b"\xff" * 1000, b"\n\n\n\n",
                 b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", b"GET\r\n\r\n", b"*1\r\n$4\r\nPING\r\n"):
        refused(data, 0, 400, 501, 505, end=True)
    for _ in range(100):
        refused(rnd.randbytes(rnd.randrange(1, 300)), 0, 400, 414, 501, 505, end=True)
    # Bytes of a good request, some of them changed.
    good = head(Content_Length=2) + b"{}"
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rnd.randrange(1, 4)):
            data[rnd.randrange(len(data))] = rnd.randrange(256)
        answers, closed = talk(bytes(data), end=True, timeout=5)
        assert closed and len(answers) <= 2, (bytes(data), answers)
        assert all(a[0] < 500 or a[0] in (501, 505) for a in answers), (bytes(data), answers)


def test_slow_heads(_):
    """head_timeout is 500 ms here: 408 or a closed connection, soon after."""
    for data in ([b"P"], [head()[:40]], [b"GET /healthz HTTP/1.1\r\nHost: a\r\n"] +
                 [b"X: y\r\n"] * 8):
        start = time.monotonic()
        refused_pieces(data, 0.15, 408)
        assert time.monotonic() - start < 8, data
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        slow = [pool.submit(refused_pieces, [b"GET / HTTP/1.1\r\n"] + [b"X: y\r\n"] * 5, 0.2, 408)
                for _ in range(60)]
        assert post(b"{}")[0] == 200
        for s in slow:
            s.result()
    # No byte at all is idle, not slow.
    assert talk(b"", timeout=1.2) == ([], False)


def refused_pieces(pieces, pause, *statuses):
    answers, closed = talk(pieces, pause=pause, timeout=5)
    assert closed and [a[0] for a in answers] in [[s] for s in statuses] + [[]], answers


def test_slow_bodies(_):
    """body_timeout is 2 s here."""
    for data in ([head(Content_Length=100) + b"{"], [head(Transfer_Encoding="chunked") + b"2\r\n{"],
                 [head(Content_Length=100)] + [b" "] * 25,
                 [head(Transfer_Encoding="chunked")] + [b"1\r\n \r\n"] * 25):
        start = time.monotonic()
        answers, closed = talk(data, pause=0.1, timeout=5)
        assert closed and [a[0] for a in answers] == [504], (data, answers)
        assert json.loads(answers[0][2])["code"] == "deadline_exceeded", answers
        assert time.monotonic() - start < 8, data


def test_bodies_that_stay(_):
    """More unfinished bodies than the workers may hold in memory."""
    body = b" " * (4 * MB - 200)
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        held = [pool.submit(talk, head(Content_Length=len(body) + 1) + body, timeout=20)
                for _ in range(60)]
        for h in held:
            answers, closed = h.result()
            assert closed or answers, "neither answered nor closed"
            assert all(a[0] in (429, 503, 504, 408, 499) for a in answers), answers
    assert post(b"{}")[0] == 200


def test_half_open(_):
    for data in (b"", b"P", head()[:-2], head(Content_Length=10), head(Content_Length=10) + b"{}",
                 head(Transfer_Encoding="chunked") + b"5\r\n{", b"GET /healthz HTTP/1.1\r\n"):
        answers, closed = talk(data, end=True)
        assert closed and not [a for a in answers if a[0] < 400], (data, answers)
    # A whole request is answered even if its sender will say nothing more.
    answers, closed = talk(head(Content_Length=2) + b"{}", end=True)
    assert closed and [a[0] for a in answers] == [200], answers


def test_pipelined(_):
    good = head(Content_Length=2) + b"{}"
    last = head(Content_Length=2, Connection="close") + b"{}"
    answers, closed = talk(good * 99 + last)
    assert closed and [a[0] for a in answers] == [200] * 100, len(answers)
    for garbage in (b"\0\1\2", b"GARBAGE\r\n\r\n", b"GET /healthz HTTP/1.1\r\n\r\n", b"{}" + good):
        answers, closed = talk(good + garbage + good)
        assert closed and [a[0] for a in answers][:1] == [200], (garbage, answers)
        assert len(answers) == 2 and answers[1][0] in (400, 501), (garbage, answers)
    # A refused body's bytes are no next request.
    bad = head(path="/nowhere", Content_Length=len(good)) + good + last
    answers, _ = talk(bad)
    assert [a[0] for a in answers] == [404, 200], answers


def test_abrupt_resets(_):
    whole = head(Content_Length=20000) + b"{" + b" " * 19998 + b"}"
    rnd = random.Random(5)
    cuts = [rnd.randrange(1, len(whole) + 1) for _ in range(300)] + [len(whole)] * 100
    for cut in cuts:
        s = socket.create_connection((P.host, P.port), timeout=5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            s.sendall(whole[:cut])
        except OSError:
            pass
        if cut == len(whole) and cut % 2:
            s.recv(10)
        s.close()
    assert post(b"{}")[0] == 200


def memory():
    """RSS of the workers in MB."""
    out = []
    for worker in P.admin()["workers"]:
        with open(f"/proc/{worker['pid']}/status", encoding="ascii") as f:
            out += [int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS")]
    return out


def test_server_is_unharmed(_):
    """Last: the same processes, no death, no growth, and quick answers."""
    status = P.admin()
    assert {w["pid"] for w in status["workers"]} == START["pids"], status["workers"]
    assert status["deaths"] == 0 and status["counters"]["panics"] == 0, status
    assert status["quarantine"] == [] and status["generation"] == 1, status
    end = time.monotonic() + 10
    while time.monotonic() < end and sum(w["connections"] for w in P.admin()["workers"]) > 0:
        time.sleep(0.1)
    status = P.admin()
    assert all(w["connections"] == 0 and w["in_flight"] == 0 for w in status["workers"]), status
    grown = memory()
    bound = 600 if P.slow else 64
    assert all(after < before + bound for before, after in zip(START["memory"], grown)), \
        (START["memory"], grown)
    times = []
    for _ in range(50):
        start = time.monotonic()
        assert post(b"{}")[0] == 200
        times.append(time.monotonic() - start)
    assert sorted(times)[25] < (0.5 if P.slow else 0.05), times
    log = P.log()
    for word in ("panic", "AddressSanitizer", "runtime error", "obituary"):
        assert word not in log, word


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2", "head_timeout=500ms", "body_timeout=2s"]) as P:
        START["pids"] = {w["pid"] for w in P.admin()["workers"]}
        START["memory"] = memory()
        sys.exit(pug.main(tests))
