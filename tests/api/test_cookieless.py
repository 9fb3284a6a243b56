#!/usr/bin/env python3
"""Cookieless visitors (events-profiles.md 1.14): who is who on which day and visit, what survives
a reload and what must not survive a restart, and that the salt is nowhere but in memory."""
import base64
import contextlib
import datetime
import mmap
import os
import re
import signal
import struct
import sys
import threading
import time
import uuid

import pug
import test_events
from test_events import BATCH, LIST, UTC, Project, ask, event, iso
from test_accounts import reason
import test_accounts
from test_rotation import reload

P = None
SPACE = uuid.UUID("5a1e8e1e-7d5a-4f3b-9c2e-0c00c1e55e55")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
MINUTE = datetime.timedelta(minutes=1)
ID = re.compile(r"cookieless-[A-Za-z0-9_-]{22}")


def now():
    return datetime.datetime.now(UTC)


def yesterday(minutes=0):
    """A time on the day before: all of it is accepted, whatever the hour is now."""
    start = now().replace(hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(days=1)
    return start + 600 * MINUTE + minutes * MINUTE


def view(when, kind="v", **extra):
    return {"eventId": str(uuid.uuid4()), "kind": kind, "occurTime": iso(when), "cookieless": True,
            **extra}


class Visitor:
    """A browser that keeps nothing: an address and a user agent."""

    def __init__(self, project, ip=None, agent=AGENT):
        self.project, self.agent = project, agent
        self.ip = ip or f"198.51.{os.urandom(1)[0]}.{os.urandom(1)[0]}"

    def call(self, events, headers=(), **kw):
        own = {"x-forwarded-for": self.ip, **({"user-agent": self.agent} if self.agent else {})}
        return P.call(BATCH, {"events": events}, key=self.project.pub, headers=own | dict(headers), **kw)

    def send(self, events, **kw):
        status, answer, _ = self.call(events, **kw)
        assert status == 200, answer
        return answer

    def come(self, *times, **kw):
        """(distinct id, session) of an event at each of the times, sent together."""
        events = [view(t) for t in times or (now(),)]
        got = self.send(events, **kw)
        assert got == {"accepted": len(events), "dropped": 0, "eventsCreated": len(events)}, got
        found = stored(self.project)
        return [found[e["eventId"]] for e in events]

    def one(self, when=None, **kw):
        return self.come(when or now(), **kw)[0]


def stored(project):
    events, token = {}, None
    while token != "":
        got = P.ok(LIST, {"pageSize": 50, **({"pageToken": token} if token else {})}, key=project.prv)
        events |= {e["eventId"]: (e["distinctId"], e["sessionId"]) for e in got.get("events", [])}
        token = got.get("nextPageToken", "")
    return events


# ---- who ------------------------------------------------------------------------------

def test_who_is_who(_):
    p = Project()
    a = Visitor(p)
    name, session = a.one()
    assert ID.fullmatch(name) and uuid.UUID(session).version == 4, (name, session)
    assert a.one() == (name, session), "the same visitor on the same visit"
    others = [Visitor(p, ip=a.ip, agent=AGENT + "x"), Visitor(p), Visitor(Project(), ip=a.ip),
              Visitor(p, ip="2001:db8::1"), Visitor(p, ip="2001:db8::2")]
    seen = {(name, session), *(o.one() for o in others)}
    assert len({n for n, _ in seen}) == len({s for _, s in seen}) == 6, seen
    assert a.one(yesterday())[0] not in {n for n, _ in seen}, "another day is another visitor"
    assert Visitor(p, ip="2001:DB8:0::1").one()[0] == others[3].one()[0], "another spelling"
    for header in ("CF-Connecting-IP", "True-Client-IP"):
        got = Visitor(p, ip="192.0.2.99").one(headers={header: a.ip})
        assert got[0] == name, "what a trusted proxy says"


def test_what_insights_count(_):
    p = Project()
    when, span = yesterday(), (yesterday(-60), yesterday(60))
    a, b = Visitor(p), Visitor(p)
    a.come(when, when + MINUTE, when + 2 * MINUTE)
    b.come(when)
    p.send([event("v", "consented", when)])
    assert p.total(*span, ask("v")) == 5
    assert p.total(*span, ask("v", "UNIQUE_USERS")) == 1
    assert p.total(*span, ask("v", "UNIQUE_USERS"), includeCookieless=True) == 3
    assert p.total(*span, ask("v", "PER_USER_AVG")) == 1


def test_drops_are_per_event(_):
    p = Project()
    a, today = Visitor(p), now()
    old, later = today - datetime.timedelta(days=2), today + datetime.timedelta(hours=23, minutes=59)
    got = a.send([event("v", "consented", old), view(old)])
    assert got == {"accepted": 1, "dropped": 1, "droppedByReason": {"day_out_of_range": 1},
                   "eventsCreated": 1}, got
    midnight = yesterday(-600)
    edge = [view(midnight), {**view(midnight), "occurTime": iso(midnight - MINUTE)[:-7] + "59.999999999Z"}]
    got = a.send([*edge, view(today)])
    assert got["accepted"] == 2 and got["droppedByReason"] == {"day_out_of_range": 1}, got
    if later.date() > now().date():
        assert a.send([view(later)])["droppedByReason"] == {"day_out_of_range": 1}, "a fast clock"
    # All dropped is a success, too, and nothing of it is stored.
    before = stored(p)
    assert a.send([view(old)]) == {"accepted": 0, "dropped": 1, "eventsCreated": 0,
                                   "droppedByReason": {"day_out_of_range": 1}}
    assert stored(p) == before and len(before) == 3
    # Without a time it happens now.
    e = {k: v for k, v in view(today).items() if k != "occurTime"}
    assert a.send([e])["accepted"] == 1


def test_refusals(_):
    p = Project()
    consented = event("v", "u", now())
    for agent in (None, "", "  "):
        status, answer, _ = Visitor(p, agent=agent).call([consented, view(now())])
        assert status == 400 and answer["code"] == "invalid_argument", answer
        assert reason(answer) == "COOKIELESS_IDENTITY_UNAVAILABLE", answer
        assert "User-Agent" in answer["message"], answer
    assert stored(p) == {}, "the consented events of the batch go with it"
    assert Visitor(p, agent=None).send([consented])["accepted"] == 1, "they need no user agent"
    a = Visitor(p)
    name, session = a.one()
    for bad in ({"distinctId": name}, {"distinctId": "x", "cookieless": True},
                {"sessionId": session, "cookieless": True}):
        e = {k: v for k, v in {**consented, **bad, "eventId": str(uuid.uuid4())}.items()
             if not (bad.get("cookieless") and k in ("distinctId", "sessionId") and k not in bad)}
        status, answer, _ = a.call([view(now()), e])
        assert status == 400 and reason(answer) == "INVALID_ARGUMENT", (bad, answer)
    # One bad event rejects its batch, cookieless or not (D22).
    assert a.call([view(now()), {**view(now()), "kind": "has space"}])[0] == 400
    assert a.call([view(now()), {**view(yesterday(-99999)), "kind": "has space"}])[0] == 400
    assert len(stored(p)) == 2


# ---- which visit -----------------------------------------------------------------------

def test_sessions(_):
    a = Visitor(Project())
    (name, first), (_, again), (_, newer) = a.come(yesterday(), yesterday(30), yesterday(61))
    assert first == again and newer != first and uuid.UUID(newer).version == 4
    assert a.one(yesterday(91))[1] == newer, "half an hour is within"
    assert a.one(yesterday(62))[1] == newer, "so is what came late, and it rewinds nothing"
    assert a.one(yesterday(121))[1] == newer
    # Older than that is of no known visit: one session for each half hour of UTC.
    for minutes in (5, 29, 31):
        start = yesterday(minutes - minutes % 30)
        stale = f"{name}|{start:%Y%m%d}|w{int(start.timestamp() * 1000)}"
        assert a.one(yesterday(minutes)) == (name, str(uuid.uuid5(SPACE, stale))), minutes
    assert a.one(yesterday(151))[1] == newer, "the stale ones have moved nothing"
    assert a.one(yesterday(181) + datetime.timedelta(milliseconds=1))[1] != newer


def test_midnight_splits(_):
    a = Visitor(Project())
    last = now().replace(hour=0, minute=0, second=0, microsecond=0)
    (one, s1), (two, s2) = a.come(last - datetime.timedelta(milliseconds=1), last)
    assert one != two and s1 != s2


def test_a_repeat_changes_nothing(_):
    p = Project()
    a = Visitor(p)
    batch = [view(yesterday(m)) for m in (0, 10, 100)]
    assert a.send(batch)["eventsCreated"] == 3
    before = stored(p)
    for who in (a, Visitor(p, ip=a.ip, agent="another"), Visitor(p)):
        assert who.send(batch) == {"accepted": 3, "dropped": 0, "eventsCreated": 0}
    assert stored(p) == before, "first write wins (D20)"
    assert a.one(yesterday(110))[1] == before[batch[2]["eventId"]][1], "the visit goes on"


# ---- processes ---------------------------------------------------------------------------

def test_workers_agree(_):
    p = Project()
    conns = P.connections_by_worker()
    try:
        assert len(conns) == 2
        a = Visitor(p)
        assert len({a.one(conn=c) for found in conns.values() for c in found}) == 1
        # Both meet new visitors at once: each begins one session only.
        visitors = [Visitor(p, ip=f"198.18.0.{i}") for i in range(60)]

        def work(conn):
            for v in visitors:
                v.send([view(yesterday()) for _ in range(3)], conn=conn)

        threads = [threading.Thread(target=work, args=(found[0],)) for found in conns.values()]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        pairs = set(stored(p).values())
        assert len(pairs) == 61 == len({n for n, _ in pairs}), len(pairs)
    finally:
        for conn in sum(conns.values(), []):
            conn.close()


def workers():
    return {w["pid"] for w in P.admin()["workers"] if w["role"] == "worker" and w["state"] == "ready"}


def test_reload_and_crash_keep_visits(_):
    a = Visitor(Project())
    before = a.one()
    reload(P)
    assert a.one() == before, "after a reload"
    dead = workers()
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while len(workers() - dead) < 2:
        assert time.monotonic() < end, "no new workers"
        time.sleep(0.02)
    assert a.one() == before, "with new workers"


# ---- where the salt is -------------------------------------------------------------------

@contextlib.contextmanager
def memory(pid):
    for n in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{n}"
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(path).startswith("/memfd:pugd-visitors"):
                with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
                    yield m
                    return
    raise AssertionError("the master has no memory of visitors")


def place(name):
    """Where the set of a visitor begins, whose first word says who writes in it."""
    key = base64.urlsafe_b64decode(name.removeprefix("cookieless-") + "==")
    return 4096 + int.from_bytes(key[:8], sys.byteorder) % 16384 * 512


def test_writers_that_stand_still_or_die(_):
    a = Visitor(Project())
    name, session = a.one(yesterday())
    with memory(P.info["master_pid"]) as m:
        at, free = place(name), bytes(4)
        keeper, = (w["pid"] for w in P.admin()["workers"] if w["role"] == "keeper")
        m[at:at + 4] = struct.pack("=I", keeper)
        begun = time.monotonic()
        fallback = str(uuid.uuid5(SPACE, f"{name}|{yesterday():%Y%m%d}"))
        assert a.come(yesterday(), yesterday(300)) == [(name, fallback)] * 2, "one session a day"
        assert time.monotonic() - begun < 5, "nobody waits for long"
        assert "pugd_visits_full_total 2" in P.admin("/metrics")
        m[at:at + 4] = free
        assert a.one(yesterday()) == (name, session), "nothing was stored meanwhile"
        # A worker that dies there, between two changes.
        dead = min(workers())
        m[at:at + 8] = struct.pack("=II", dead, 0)
        os.kill(dead, signal.SIGKILL)
        end = time.monotonic() + 10
        while m[at:at + 4] != free:
            assert time.monotonic() < end, "not mended"
            time.sleep(0.001)
        assert a.one(yesterday()) == (name, session), "nor lost"


def salts(m):
    """{day: salt} as laid out in shm/visitors_priv.h."""
    found = {}
    for i in range(4):
        _, ready = struct.unpack_from("<QQ", m, 256 + 64 * i)
        if ready:
            found[ready >> 1] = m[256 + 64 * i + 16:256 + 64 * i + 48]
    return found


def files_with(words, *folders):
    found = []
    for folder in folders:
        for top, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(top, name)
                with contextlib.suppress(FileNotFoundError, OSError):
                    if os.path.isfile(path):
                        with open(path, "rb") as f:
                            data = f.read()
                        found += [(path, w) for w in words if w in data]
    return found


def test_salt_is_in_memory_only(_):
    p = Project()
    a = Visitor(p)
    name, session = a.one()
    a.one(yesterday())
    P.psql("checkpoint")
    with memory(P.info["master_pid"]) as m:
        today = int(time.time()) // 86400
        got = salts(m)
        assert set(got) <= {today - 1, today, today + 1} and today in got, got.keys()
        assert len(set(got.values())) == len(got) >= 2
        key = base64.urlsafe_b64decode(name.removeprefix("cookieless-") + "==")
        assert m.find(key) > 0 and m.find(uuid.UUID(session).bytes) > 0, "the visit is there"
        words = [w for s in got.values() for w in (s, s.hex().encode(), s.hex().upper().encode(),
                                                   base64.b64encode(s)[:-2])]
    (data,), = P.psql("show data_directory")
    assert os.path.isdir(os.path.join(data, "pg_wal")), data
    # The search would find it: it finds what is stored.
    other = event("plain", "someone-that-is-stored", now())
    p.send([other])
    P.psql("checkpoint")
    assert files_with([uuid.UUID(other["eventId"]).bytes], data), "the search finds nothing"
    assert files_with(words, data, P.data) == []


def flags(pid):
    """VmFlags of the mappings of the visitors' memory."""
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as f:
        parts = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", f.read())
    return [re.search(r"VmFlags: (.*)", part).group(1).split() for part in parts
            if "/memfd:pugd-visitors" in part.split("\n", 1)[0]]


def test_salt_is_not_dumped_nor_swapped(_):
    pids = [P.info["master_pid"]]
    if os.geteuid() == 0:  # workers show themselves to root only
        pids += workers()
    Visitor(Project()).one()
    for pid in pids:
        found = flags(pid)
        assert found and all("dd" in f for f in found), (pid, found)
        assert "lo" in found[0] or "cannot lock the salts" in P.log(), (pid, found)


def test_restart_is_another_salt(_):
    p = Project()
    a = Visitor(p)
    before, old = a.one(), a.one(yesterday())
    with memory(P.info["master_pid"]) as m:
        salt = salts(m)
        assert P.stop() == 0
        # No service manager keeps it: it is wiped while somebody could still look.
        assert salts(m) == {}
        assert all(m.find(s) < 0 for s in salt.values())
    P.start()
    after, past = a.one(), a.one(yesterday())
    assert after[0] != before[0] and after[1] != before[1], "another visitor"
    assert past[0] != old[0]
    assert before in stored(p).values(), "what was stored stays"


def main():
    variant = sys.argv[sys.argv.index("--variant") + 1] if "--variant" in sys.argv else "test"
    global P
    with pug.Pug(variant, options=["workers=2"]) as p:
        P = test_events.P = test_accounts.P = p
        return pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")
                         and callable(f)], expects=pug.KILLS)


if __name__ == "__main__":
    sys.exit(main())
