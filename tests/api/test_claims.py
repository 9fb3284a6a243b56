#!/usr/bin/env python3
"""What makes ingestion fast must change nothing.

Known ids: whoever is suspected of having been sent before, and whoever is not although it was,
each event is stored once (D20). The claim against a model, two at a time, and through the API.
Equal properties, which a binary message shares: its events are those of JSON, which shares none."""
import datetime
import os
import random
import signal
import struct
import sys
import threading
import time
import uuid

import pg
import pug
import test_accounts
import test_events
from test_events import Project, ask, event

UTC = datetime.timezone.utc
P = None
BLOB = "'\\x00'::bytea"


def array(values, kind):
    return "ARRAY[" + ",".join(map(str, values)) + f"]::{kind}[]"


def call(db, events, shares, suspects):
    """events: sorted [(project, day, id, batch from 1, position)]; shares: [project]. The rows."""
    quoted = lambda i: array([f"'{e[i]}'" for e in events], {1: "date", 2: "uuid"}[i])
    plain = lambda i: array([e[i] for e in events], "int")
    n = [sum(e[3] == b + 1 for e in events) for b in range(len(shares))]
    tmin = [min(int(datetime.datetime.fromisoformat(f"{e[1]}T00:00:00+00:00").timestamp() * 1000)
                for e in events if e[3] == b + 1) for b in range(len(shares))]
    rows = db.query(f"SELECT no, live, array_to_string(refused, ','), array_to_string(expired, ',') FROM "
                    f"pugd.events_claim({plain(0)}, {quoted(1)}, {quoted(2)}, {plain(3)}, {plain(4)}, "
                    f"{array(suspects, 'int')}, {array(shares, 'int')}, {array(n, 'int')}, {array(tmin, 'bigint')}, "
                    f"{array([t + 86400000 for t in tmin], 'bigint')}, {array([BLOB] * len(shares), 'bytea')}) ORDER BY 1")
    listed = lambda text: [int(x) for x in text.split(",")] if text else []
    return [(int(no), live == "t", listed(refused), listed(old)) for no, live, refused, old in rows]


def group(rng, pool, shares):
    events = []
    for b, project in enumerate(shares):
        some = rng.sample(pool, rng.randint(1, 12))
        events += [[project, day, i, b + 1, pos] for pos, (day, i) in enumerate(some)]
    return sorted(events, key=lambda e: (e[0], e[1], e[2]))


def numbers(db):
    """(live, with retention, dead) projects' numbers."""
    projects = [Project() for _ in range(3)]
    nums = [int(db.one("SELECT num FROM pugd.projects WHERE id = $1", p.id)) for p in projects]
    db.query("UPDATE pugd.projects SET retention_days = 30 WHERE num = $1", nums[1])
    db.query("UPDATE pugd.projects SET deleted_at = now() WHERE num = $1", nums[2])
    return sorted(nums), nums[1], nums[2]


def test_any_hint_gives_the_same(_):
    rng = random.Random(20)
    today = datetime.datetime.now(UTC).date()
    days = [str(today), str(today - datetime.timedelta(days=1)), str(today - datetime.timedelta(days=90))]
    with pg.connect(P.info["database_url"]) as db:
        db.query("BEGIN")  # and nothing of it stays
        shares, keeps, dead = numbers(db)
        pool = [(rng.choice(days), str(uuid.UUID(int=rng.getrandbits(128)))) for _ in range(60)]
        stored, inbox = set(), 0
        for turn in range(120):
            mine = sorted(rng.sample(shares, rng.randint(1, 3)))
            events = group(rng, pool, mine)
            expired = [e for e in events if e[0] == keeps and e[1] == days[2]]
            known = [e for e in events if tuple(e[:3]) in stored]
            suspects = {0: [], 1: [i + 1 for i, e in enumerate(events) if e in known],
                        2: [i + 1 for i, e in enumerate(events) if e not in known],
                        3: sorted(rng.sample(range(1, len(events) + 1), rng.randint(0, len(events))))}[turn % 4]
            got = call(db, events, mine, suspects)
            at = lambda some, b: sorted(e[4] for e in some if e[3] == b + 1)
            want = [(b + 1, project != dead, at(known, b), at(expired, b)) for b, project in enumerate(mine)]
            assert got == want, (turn, suspects, got, want)
            new = [e for e in events if e not in known and e not in expired and e[0] != dead]
            stored |= {tuple(e[:3]) for e in new}
            inbox += len({e[3] for e in new})
        seen = db.query("SELECT project, day, event_id FROM pugd.event_seen WHERE project = ANY($1)",
                        "{" + ",".join(map(str, shares)) + "}")
        assert {(int(a), b, c) for a, b, c in seen} == stored and len(seen) == len(stored)
        n, total = db.query("SELECT count(*), sum(stored) FROM pugd.inbox WHERE project = ANY($1)",
                            "{" + ",".join(map(str, shares)) + "}")[0]
        assert (int(n), int(total)) == (inbox, len(stored)), (n, total, inbox, len(stored))
        db.query("ROLLBACK")


def test_rivals(_):
    """Groups that share ids, of which each expects the other ones to be known: nobody waits for ever,
    and of each id one is stored."""
    p = Project()
    url = P.info["database_url"]
    today = str(datetime.datetime.now(UTC).date())
    with pg.connect(url) as db:
        num = int(db.one("SELECT num FROM pugd.projects WHERE id = $1", p.id))
    pool = [(today, str(uuid.UUID(int=i << 64 | 7 << 76 | 1 << 63))) for i in range(400)]
    refused, sent, errors = [], [], []

    def rival(seed):
        rng = random.Random(seed)
        try:
            with pg.connect(url) as db:
                for _ in range(40):
                    events = sorted([num, day, i, 1, pos] for pos, (day, i) in enumerate(rng.sample(pool, 50)))
                    some = sorted(rng.sample(range(1, 51), rng.choice([1, 10, 25])))
                    rows = call(db, events, [num], some)
                    sent.append(len(events))
                    refused.append(len(rows[0][2]))
        except pg.DbError as e:
            errors.append(e)

    rivals = [threading.Thread(target=rival, args=(i,)) for i in range(4)]
    for t in rivals:
        t.start()
    for t in rivals:
        t.join()
    with pg.connect(url) as db:
        seen = int(db.one("SELECT count(*) FROM pugd.event_seen WHERE project = $1", num))
        stored = int(db.one("SELECT sum(stored) FROM pugd.inbox WHERE project = $1", num))
        db.query("DELETE FROM pugd.inbox WHERE project = $1", num)
    assert not errors, errors
    assert seen == stored == sum(sent) - sum(refused), (seen, stored, sum(sent), sum(refused))


def test_sent_again(_):
    """To the worker that knows, to one that cannot (after a reload), and together with new ones."""
    p = Project()
    when = datetime.datetime.now(UTC) - datetime.timedelta(hours=2)
    total = lambda: p.total(when - datetime.timedelta(hours=1), when + datetime.timedelta(hours=1), ask("again"))
    events = [event("again", f"u{i % 7}", when) for i in range(200)]
    assert p.send(events[:100])["eventsCreated"] == 100
    got = p.send(events[50:150])
    assert (got["accepted"], got["eventsCreated"]) == (100, 50), got
    workers = {w["pid"] for w in P.admin()["workers"]}
    assert workers
    os.kill(P.admin()["pid"], signal.SIGHUP)
    deadline = time.monotonic() + 30
    while workers & {w["pid"] for w in P.admin()["workers"]}:
        assert time.monotonic() < deadline, "the workers stay"
        time.sleep(0.1)
    for part, new in ((events[:150], 0), (events[140:200], 50), (events, 0), (events[::-1], 0)):
        got = p.send(part)
        assert (got["accepted"], got.get("eventsCreated", 0)) == (len(part), new), got
    assert total() == 200


# ---- shared properties -----------------------------------------------------------------

def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def binary(e):
    """events.v1.Event, times to the millisecond."""
    value = {"stringValue": lambda v: field(1, v), "intValue": lambda v: b"\x10" + varint(v),
             "doubleValue": lambda v: b"\x19" + struct.pack("<d", v), "boolValue": lambda v: b"\x20" + bytes([v])}
    out = field(1, e["eventId"]) + field(4, e["distinctId"]) + field(5, e["kind"]) + field(7, e["sessionId"])
    when = datetime.datetime.fromisoformat(e["occurTime"])
    ms = round(when.timestamp() * 1000)
    out += field(6, b"\x08" + varint(ms // 1000) + b"\x10" + varint(ms % 1000 * 1000000))
    for number, name in ((2, "autoProperties"), (3, "customProperties")):
        for k, v in e[name].items():
            (kind, v), = v.items()
            out += field(number, field(1, k) + field(2, value[kind](v)))
    return out


def shared_events(rng, n, when):
    """Few values for each property, some keys in both maps' spellings, empty texts and keys, an overlong URL
    with a query, what the server overwrites and what it derives."""
    text = lambda *some: {"stringValue": rng.choice(some)}
    for i in range(n):
        auto = {"$pathname": text("/", "/a", "/pricing"), "$browser": text("Firefox", "", "Safari"),
                "$url": text("https://shop.example/?utm_source=news&utm_medium=email", "https://shop.example/x"),
                "$referrer": text("https://www.google.com/", "", "https://shop.example/"), "$country": text("DE", "US"),
                "$screenWidth": {"intValue": rng.choice([1920, 390])}, "$locale": text("de-DE", "en"),
                "$mobile": {"boolValue": bool(rng.getrandbits(1))}, "$bot": text("yes")}
        custom = {"plan": text("pro", "free", ""), "": {"intValue": rng.choice([0, 1])}, "n": {"intValue": i},
                  "amount": {"doubleValue": rng.choice([0.5, 12.25])}, "pathname": text("/", "/a"),
                  "long": text("x" * 200, "y" * 200)}
        take = lambda some: {k: v for k, v in some.items() if rng.random() < 0.8}
        yield {"eventId": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "kind": rng.choice(["view", "buy"]),
               "distinctId": f"u{rng.randint(0, 5)}", "sessionId": str(uuid.UUID(int=rng.randint(1, 9), version=4)),
               "occurTime": test_events.iso(when + datetime.timedelta(milliseconds=i * 7)),
               "autoProperties": take(auto), "customProperties": take(custom)}


def test_shared_properties(_):
    rng = random.Random(7)
    when = datetime.datetime.now(UTC) - datetime.timedelta(hours=3)
    events = list(shared_events(rng, 400, when))
    agent = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
    seen = []
    for how in ("JSON one by one", "binary", "binary in tens"):
        p = Project()
        size = {"JSON one by one": 1, "binary": 400, "binary in tens": 10}[how]
        with_conn = P.connect()
        for at in range(0, 400, size):
            some = events[at:at + size]
            if how.startswith("JSON"):
                got = P.ok(test_events.BATCH, {"events": some}, key=p.prv, headers=agent, conn=with_conn)
                assert got["eventsCreated"] == len(some), got
                continue
            status, answer, _ = P.call(test_events.BATCH, key=p.prv, conn=with_conn, raw=b"".join(
                field(1, binary(e)) for e in some), headers={"content-type": "application/proto", **agent})
            assert status == 200, answer
        with_conn.close()
        got, token = {}, None
        while len(got) < 400:
            page = P.ok(test_events.LIST, {"pageSize": 100, **({"pageToken": token} if token else {})}, key=p.prv)
            for e in page["events"]:
                got[e["eventId"]] = {k: v for k, v in e.items() if k not in ("id", "profileId")}
            token = page.get("nextPageToken")
            if not token:
                break
        assert len(got) == 400, len(got)
        seen.append((how, got))
    for how, got in seen[1:]:
        for i, e in seen[0][1].items():
            assert got[i] == e, (how, got[i], e)
    e = seen[0][1][events[0]["eventId"]]
    assert e["autoProperties"]["$os"] and e["customProperties"].get("n", 0) == 0, e


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant) as P:
        test_accounts.P = test_events.P = P
        sys.exit(pug.main(tests))
