#!/usr/bin/env python3
"""Memory under full load, whatever a project holds: a worker that ingests as fast as it can
stays under 150 MB, the keeper that seals what comes under 250 MB. Counted is the peak of
everything resident (VmHWM), the shared segment's pages included."""
import os
import random
import sys
import tempfile
import threading
import time
import uuid

import pug

sys.path.insert(0, os.path.join(pug.TOP, "tests", "api"))
sys.path.insert(0, os.path.join(pug.TOP, "tests", "bench"))
import run as bench  # noqa: E402
import test_sealed  # noqa: E402

FULL = os.environ.get("STORM") == "full"
SECONDS = 8 if FULL else 4
WORKER_MB, KEEPER_MB = 150, 250
OPTIONS = ["workers=1", "access_log=no", "limit_project_events=0", "limit_key_rate=0", "limit_project_rate=0"]
P = SHOP = None


def peaks(role):
    """MB at most resident, of each process of that role."""
    out = []
    for w in P.admin()["workers"]:
        if w["role"] == role:
            with open(f"/proc/{w['pid']}/status", encoding="ascii") as f:
                out += [int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM")]
    return out


def check(what):
    worker, keeper = max(peaks("worker")), max(peaks("keeper"))
    print(f"     {what}: worker {worker:.0f} MB, keeper {keeper:.0f} MB", flush=True)
    assert worker < WORKER_MB and keeper < KEEPER_MB, (what, worker, keeper)
    assert P.admin()["deaths"] == 0, P.log()[-3000:]


# Bodies: what SDKs send; many different values; as many properties as an event may have; values
# as long as they may be; many keys; many kinds and days. As many events as call_memory allows.

def usual(i, r):
    return bench.sample_event(i, int(time.time() * 1000))


def shaped(props, kinds=3, days=1):
    def make(i, r):
        at = int(time.time() * 1000) - r.randrange(days) * 86400000
        return {"event_id": str(uuid.UUID(int=i)), "kind": f"kind{r.randrange(kinds)}",
                "distinct_id": f"{r.getrandbits(128):032x}", "session_id": str(uuid.UUID(int=r.getrandbits(128))),
                "ms": at, "props": props(r)}
    return make


def text(r, n):
    return f"{r.getrandbits(n * 4):0{n}x}"


SHAPES = [
    ("different values", shaped(lambda r: {f"p{i}": text(r, 60) for i in range(16)}), 1000),
    ("255 properties", shaped(lambda r: {f"p{i}": text(r, 8) for i in range(255)}), 150),
    ("long values", shaped(lambda r: {f"p{i}": text(r, 1024) for i in range(30)}), 110),
    ("many keys", shaped(lambda r: {f"k{r.randrange(4900)}": text(r, 12) for i in range(100)}), 350),
    ("many kinds and days", shaped(lambda r: {"p": text(r, 20)}, kinds=1500, days=300), 1000),
]


def body_of(make, r, most):
    """A request's events in Protobuf, below the limit of 4 MiB, and where their ids are."""
    events, size = [], 0
    for i in range(most):
        one = bench.field(1, bench.proto_event(make(i, r)))
        size += len(one)
        if size > 4 << 20:
            break
        events.append(one)
    return events


def fresh(events, r):
    """The same with other ids: each event begins with its own (tag, length, 36 bytes)."""
    out = []
    for one in events:
        at = one.index(b"\x0a\x24") + 2
        out.append(one[:at] + str(uuid.UUID(int=r.getrandbits(128))).encode() + one[at + 36:])
    return b"".join(out)


def sends(make, most, seconds, number, wrong):
    r, conn = random.Random(number), P.connect()
    events, end = body_of(make, r, most), time.monotonic() + seconds
    sent = 0
    while time.monotonic() < end:
        if sent % 4 == 3:
            events = body_of(make, r, most)
        status, answer, _ = P.call(pug.BATCH, raw=fresh(events, r), key=SHOP.key, conn=conn,
                                   headers={"content-type": "application/proto"})
        if status != 200:
            wrong.append((status, answer))
            break
        sent += 1
    conn.close()


def test_full_load(_):
    """The load generator in C: 64 clients, a thousand events a call."""
    r = random.Random(0)
    events = [usual(i, r) for i in range(1000)]
    body = b"".join(bench.field(1, bench.proto_event(e)) for e in events)
    with tempfile.TemporaryDirectory(prefix="pugs-") as folder:
        call = bench.request("POST", pug.BATCH, body, x_api_key=SHOP.key, content_type="application/proto")
        path = bench.template(folder, "rpc", call, [e["event_id"] for e in events])
        got = bench.load("http", f"{P.host}:{P.port}", 64, SECONDS * 1000, path)
    check(f"{got['events'] / got['seconds']:.0f} events/s of 64 clients")


def test_shapes(_):
    """Bodies near their limit from eight clients, while the keeper seals and merges."""
    for what, make, most in SHAPES:
        wrong = []
        threads = [threading.Thread(target=sends, args=(make, most, SECONDS / 2, i, wrong)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not wrong, wrong[:3]
        check(what)


def test_sealed_to_the_end(_):
    test_sealed.until(lambda: SHOP.rows("inbox") == 0, 120)
    check("all sealed")
    print(f"     {SHOP.rows('segment')} segments")


def test_one_after_the_other(_):
    """Room for two or three messages at once: the others wait, and none of them is refused. Who
    does not want to wait so long learns that it was too long."""
    with pug.Pug(binary=P.binary, options=OPTIONS + ["worker_memory=16M", "call_memory=8M"]) as small:
        shop, r, got, quick = test_sealed.Shop(small), random.Random(1), [], []
        events = body_of(usual, r, 1000)

        def send(number, into, **headers):
            body = fresh(events, random.Random(number))
            into.append(small.call(pug.BATCH, raw=body, key=shop.key,
                                   headers={"content-type": "application/proto", **headers})[0])
        threads = [threading.Thread(target=send, args=(i, got)) for i in range(14)]
        threads += [threading.Thread(target=send, args=(100 + i, quick), kwargs={"connect-timeout-ms": "10"})
                    for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert got == [200] * 14, got
        assert set(quick) <= {200, 504} and 504 in quick, quick
        test_sealed.until(lambda: not any(w["in_flight"] for w in small.admin()["workers"]))
        shop.send([{"eventId": str(uuid.uuid4()), "name": "after", "distinctId": "u"}])


if __name__ == "__main__":
    variant = "asan" if "asan" in sys.argv else "test"
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    if variant == "asan":  # which takes many times the memory
        sys.exit(pug.main([("test_nothing", lambda _: print("     skipped: not the product's memory"))]))
    binary = os.path.join(pug.TOP, "build/release/pugd")
    with pug.Pug(binary=binary, options=OPTIONS + ["seal_age=1s"]) as P:
        SHOP = test_sealed.Shop(P)
        sys.exit(pug.main(tests))
