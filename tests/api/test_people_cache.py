#!/usr/bin/env python3
"""Who is who kept between queries (worker/store/people_cache.h): whatever changes, the very next
question of a worker that keeps it, of one that does not, and of a naive model count the same
persons, on one database; also while keepers die and copies are made anew."""
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import people
import pg
import pug
import test_erase
import test_identify
import test_sealed
from test_sealed import LAZY, keeper, until

QUERY = test_identify.QUERY
STEPS, CROWD = 90, 600
P = None


class Plain:
    """A second server on the database of the first, which keeps nothing."""

    def __init__(self, first):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        options = [f"listen=127.0.0.1:{port}", "admin_listen=", "user=", "workers=1", "limit_scale=100", "people_cache=0",
                   "database_url=" + first.info["database_url"], "erasure_delay=1h", *LAZY,
                   "credential_file=" + os.path.join(first.data, "credential")]
        with open(os.path.join(self.folder.name, "log"), "wb") as log:
            self.child = subprocess.Popen([first.binary, "run", "--config", "/dev/null"] +
                                          [w for o in options for w in ("-o", o)], stdout=log, stderr=log)
        self.p = pug.Pug.__new__(pug.Pug)
        self.p.host, self.p.port, self.p.info = "127.0.0.1", port, first.info
        until(self.answers, 60)

    def answers(self):
        assert self.child.poll() is None, open(os.path.join(self.folder.name, "log"), encoding="utf-8").read()
        try:
            return self.p.call("/readyz", method="GET")[0] == 200
        except OSError:
            return False

    def __enter__(self):
        return self.p

    def __exit__(self, *_):
        self.child.terminate()
        assert self.child.wait(60) == 0
        self.folder.cleanup()


class Crowd(test_erase.Project):
    """A project with enough people to have a packed copy, and what a naive model knows of it."""

    def __init__(self, rng):
        super().__init__()
        self.rng, self.db = rng, pg.connect(P.info["database_url"])
        self.events, self.hidden, self.restored = [], {}, 0
        self.db.query(
            f"BEGIN; SELECT pugd.identity_lock({self.num}, false, '{{}}');"
            "INSERT INTO pugd.profiles (project, id, external_id) "
            f"SELECT {self.num}, lpad(i::text, 20, '0'), 'ext-' || i FROM generate_series(1, {CROWD}) i;"
            "INSERT INTO pugd.aliases (project, alias_id, profile_id) "
            f"SELECT {self.num}, 'anon-' || i, lpad(i::text, 20, '0') FROM generate_series(1, {CROWD}) i; COMMIT")
        self.come(*(f"anon-{i}" for i in range(CROWD + 300)), *(f"ext-{i}" for i in range(0, CROWD, 3)))

    def come(self, *ids):
        for at in range(0, len(ids), 500):
            self.send(*ids[at:at + 500])
        self.events += ids

    def whose(self):
        """{id: person} of everybody known, as D60 says, from the tables."""
        profiles = self.db.query("SELECT id, external_id FROM pugd.profiles WHERE project = $1 "
                                 "AND deleted_at IS NULL", self.num)
        live = {i for i, _ in profiles}
        out = {e: i for i, e in profiles if e}
        out.update((a, p) for a, p in self.db.query("SELECT alias_id, profile_id FROM pugd.aliases "
                                                    "WHERE project = $1", self.num) if p in live)
        out.update((i, i) for i in live)
        return out

    def want(self):
        whose = self.whose()
        seen = {i for no, i in enumerate(self.events)
                if not any(i in ids and no < before for ids, before in self.hidden.values())}
        return len({whose.get(i, i) for i in seen})

    def ask(self, server):
        got = server.ok(QUERY, {
            "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION",
                     "events": [{"event": {"kind": "x"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]},
            "timeRange": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            "granularity": "GRANULARITY_DAY"}, key=self.private)
        return int(got["segmentation"]["total"])

    # ---- changes ----

    def some(self, kinds=("anon-", "ext-")):
        return self.rng.choice(kinds) + self.rng.choice([f"x{self.rng.randrange(10)}", str(self.rng.randrange(1, CROWD))])

    def do_identify(self):
        test_identify.act(self, ("identify", self.some(("ext-",)), {}, self.some(("anon-",))), None)

    def do_alias(self):
        test_identify.act(self, ("alias", self.some(), self.some(("ext-",))), None)

    def do_come(self):
        self.come(*(self.some() for _ in range(3)), f"new-{len(self.events)}")

    def do_delete(self):
        whose, some_id = self.whose(), self.rng.choice(sorted(set(self.events)))
        person = whose.get(some_id, some_id)
        status, answer, _ = P.call(test_erase.S + "Delete", {"id": some_id}, key=self.private)
        if status == 200:
            ids = {i for i in self.events if whose.get(i, i) == person} | {i for i, w in whose.items() if w == person}
            self.hidden[answer["requestId"]] = (ids, len(self.events))

    def do_restore(self):
        waiting = [r for r, in self.db.query("SELECT id FROM pugd.erasures WHERE project = $1 AND state = 1", self.num)
                   if r in self.hidden]
        if waiting:
            request = self.rng.choice(waiting)
            done = test_erase.pugd(P, "profile", "restore", self.id, request)
            self.restored += done[0] == 0
            if done[0] == 0:
                del self.hidden[request]

    def do_erase(self):
        """What waits long enough is erased at once: the keeper looks every moment."""
        one = self.db.query("SELECT id FROM pugd.erasures WHERE project = $1 AND state = 1", self.num)
        if one:
            self.db.query("UPDATE pugd.erasures SET due_at = now() WHERE project = $1 AND id = $2", self.num,
                          self.rng.choice(one)[0])

    def do_seal(self):
        test_sealed.seal(P)  # makes packed copies anew, too

    def do_kill(self):
        os.kill(keeper(P), signal.SIGKILL)

    def do_rename(self):
        """No method does that yet."""
        self.db.query("BEGIN")
        self.db.query("SELECT pugd.identity_lock($1, true, '{}')", self.num)
        self.db.query("UPDATE pugd.profiles SET external_id = $2 WHERE project = $1 AND id = $3 AND deleted_at IS NULL",
                      self.num, f"renamed-{len(self.events)}-{self.rng.random()}", f"{self.rng.randrange(1, CROWD):020d}")
        self.db.query("COMMIT")

    def step(self):
        steps = [(9, self.do_identify), (5, self.do_alias), (5, self.do_come), (4, self.do_delete), (3, self.do_restore),
                 (1, self.do_erase), (2, self.do_seal), (1, self.do_kill), (2, self.do_rename)]
        chosen = self.rng.choices([s for _, s in steps], [w for w, _ in steps])[0]
        chosen()
        return chosen.__name__


def counters():
    got = P.admin()
    return {name: got["counters"][name] for name in ("people_kept", "people_changed", "people_made")}


def test_the_very_next_question(_):
    seed = random.randrange(1 << 30)
    before, said = counters(), []
    with Plain(P) as plain:
        p = Crowd(random.Random(seed))
        p.do_seal()
        for _ in range(STEPS):
            said.append(p.step())
            want = p.want()
            got = [p.ask(P), p.ask(plain), p.ask(P)]
            assert got == [want] * 3, (seed, got, want, said[-20:])
        assert {"do_identify", "do_alias", "do_delete", "do_seal"} <= set(said) and p.restored >= 0
        p.checks()
    used = {k: v - before[k] for k, v in counters().items()}
    print(f"     {used}", flush=True)
    assert used["people_kept"] > STEPS / 2 and used["people_changed"] > STEPS / 5, (seed, used)


def test_many_ask_while_others_change(_):
    """Threads share a base; what they are told is between what was so before and after."""
    rng = random.Random(3)
    p, wrong, over = Crowd(rng), [], threading.Event()
    p.do_seal()
    least = most = p.want()
    before = counters()

    def asks():
        conn = P.connect()
        while not over.is_set():
            got = p.ask(P)
            if not least - 40 <= got <= most:
                wrong.append(got)
        conn.close()

    threads = [threading.Thread(target=asks) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for i in range(40):  # each makes two persons one
            p.alias(f"anon-{2 * i + 1}", f"ext-{2 * i + 2}")
            time.sleep(0.02)
    finally:
        over.set()
        for t in threads:
            t.join()
    assert not wrong, (wrong[:5], least, most)
    assert p.ask(P) == p.want() == least - 40
    used = {k: v - before[k] for k, v in counters().items()}
    assert used["people_kept"] > 10 and used["people_changed"] > 10, used


def test_small_projects_keep_nothing(_):
    p, before = test_erase.Project(), counters()
    p.send("one", "two")
    for _ in range(3):
        assert int(p.users()) == 2
    used = {k: v - before[k] for k, v in counters().items()}
    assert used == {"people_kept": 0, "people_changed": 0, "people_made": 3}, used


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=1", "erasure_delay=1h", "limit_scale=100"] + LAZY) as P:
        P.variant = variant
        test_sealed.P = test_erase.P = people.test_accounts.P = P
        test_erase.use(P)
        sys.exit(pug.main(tests, expects=pug.KILLS))
