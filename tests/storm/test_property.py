#!/usr/bin/env python3
"""Everything at once, at random, while workers, the keeper and PostgreSQL are killed: batches
that are new, repeated, overlapping, out of order and back-dated, identify and alias in
between, sealing and merging all the time. Afterwards the server has exactly the events that
it acknowledged, once each, and counts people as a naive model does.

    PUGD_SEED=7 test_property.py    the random choices of seed 7 again (not their timing)
    STORM=full                      longer
"""
import http.client
import os
import random
import signal
import sys
import threading
import time
import uuid

import pug

sys.path.insert(0, os.path.join(pug.TOP, "tests", "api"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import model  # noqa: E402
import test_identify  # noqa: E402
import test_model  # noqa: E402
import test_sealed  # noqa: E402
import test_storm  # noqa: E402
from test_sealed import iso, until  # noqa: E402

SECONDS = 30 if os.environ.get("STORM") == "full" else 12
SEED = int(os.environ.get("PUGD_SEED") or random.randrange(1 << 31))
DAY = 86400000
KINDS = ["view", "buy", "rare"]
# Two sets of ids, each identified by a thread of its own, so that each knows the order.
POOLS = [[f"{pool}{i}" for i in range(8)] + [f"anon-{pool}{i}" for i in range(16)] for pool in "ab"]
STRANGERS = [f"anon-stranger{i}" for i in range(4)]  # nobody identifies these
LOST = (OSError, http.client.HTTPException)
P = None


def key_of(e):
    """What an event is once (D20)."""
    return model.millis(e["occurTime"]) // DAY, uuid.UUID(e["eventId"]).bytes


class Client:
    """One keep-alive connection that may break. ask() is the answer, or None where nobody
    can know whether the call was done."""

    def __init__(self, world):
        self.world, self.conn = world, None

    def ask(self, path, body, key=None, token=None):
        self.conn = self.conn or P.connect()
        try:
            status, answer, headers = P.call(path, body, key=key, token=token, conn=self.conn)
            if headers.get("connection", "").lower() == "close":
                self.close()
            if status != 503:
                return status, answer
            assert answer["code"] == "unavailable", answer
        except LOST:
            self.close()
        self.world.lost_calls += 1
        return None

    def surely(self, path, body, key, before_again=lambda: None):
        """Repeats until there is an answer."""
        end, pause = time.monotonic() + 60, 0.01
        while True:
            got = self.ask(path, body, key)
            if got:
                return got
            assert time.monotonic() < end, "no answer for a minute"
            time.sleep(pause)
            pause = min(pause * 2, 0.5)
            before_again()

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None


class World:
    """What was sent and what was acknowledged."""

    def __init__(self):
        self.shop = test_sealed.Shop(P)
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.truth = {}  # key -> the event as it was sent first
        self.acked, self.created = set(), 0
        self.batches, self.unsure, self.held = [], [], []
        self.people = [test_identify.Model() for _ in POOLS]
        self.lost_calls, self.identified, self.asked = 0, 0, 0
        self.now = int(time.time() * 1000)
        self.kills, self.wrong = {}, []

    def when(self, r):
        """Mostly now; back-dated by minutes or months; on both sides of midnight."""
        ms = self.now - r.randrange(3 * 3600000)
        how = r.random()
        if how < 0.25:
            ms -= r.choice([1, 2, 3, 30, 31, 200, 300]) * DAY
        elif how < 0.35:
            ms = ms // DAY * DAY + r.choice([-1, 0, 1])
        elif how < 0.4:
            ms += r.randrange(20 * 3600000)
        return ms

    def event(self, r, event_id=None):
        return {"eventId": event_id or str(uuid.UUID(int=r.getrandbits(128))),
                "kind": r.choices(KINDS, [50, 30, 1])[0], "distinctId": r.choice(r.choice(POOLS * 4 + [STRANGERS])),
                "sessionId": str(uuid.UUID(int=r.randrange(1, 40))), "occurTime": iso(self.when(r)),
                "customProperties": {"p": {"stringValue": r.choice("abc") * r.randrange(1, 30)},
                                     f"q{r.randrange(12)}": {"intValue": r.randrange(9)}}}

    def fresh(self, r):
        return [self.event(r) for _ in range(r.choice([1, 1, 3, 10, 40]))]

    def batch(self, r):
        """The next thing to send: a list of events, each id once (D61)."""
        how = r.random()
        with self.lock:
            known = [e for b in r.sample(self.batches, min(3, len(self.batches))) for e in b]
            again = self.unsure.pop(r.randrange(len(self.unsure))) if self.unsure and how < 0.1 else None
            if not again and self.held and how < 0.2:
                again = self.held.pop(r.randrange(len(self.held)))
        if again or not known or how < 0.55:
            return again or self.fresh(r)
        some = r.sample(known, r.randrange(1, len(known) + 1))
        if how < 0.75:
            out = some
        elif how < 0.9:
            out = some + self.fresh(r)
        elif how < 0.95:
            out = [self.event(r, e["eventId"]) for e in some]  # most are of another day
        else:
            out = [self.changed(r, e) for e in some]
        r.shuffle(out)
        return list({e["eventId"]: e for e in out}.values())

    def changed(self, r, e):
        """The same event with other contents: the first write wins, if it is over."""
        with self.lock:
            if key_of(e) not in self.acked:
                return e
        return {**e, "kind": r.choice(KINDS), "distinctId": "impostor", "customProperties": {}}

    def send(self, client, batch, surely=True):
        body = {"events": batch}
        with self.lock:
            for e in batch:
                # An event whose first sending is in doubt must not be sent otherwise.
                first = self.truth.setdefault(key_of(e), e)
                if first is not e and key_of(e) not in self.acked:
                    batch[batch.index(e)] = first
            self.batches.append(batch)
        if surely:
            got = client.surely(test_model.BATCH, body, self.shop.key)
        else:
            got = client.ask(test_model.BATCH, body, self.shop.key)
        if not got:
            with self.lock:
                self.unsure.append(batch)
            return
        status, answer = got
        assert status == 200 and answer["accepted"] == len(batch), (status, answer)
        with self.lock:
            self.acked.update(map(key_of, batch))
            self.created += answer.get("eventsCreated", 0)

    # -- threads

    def sends(self, client, r):
        batch = self.batch(r)
        if r.random() < 0.1:
            with self.lock:
                self.held.append(batch)
            return
        self.send(client, batch, surely=r.random() < 0.6)
        time.sleep(r.random() * 0.03)

    def identifies(self, client, r, pool):
        """One call, repeated until it is known to be done; the model does it then."""
        ids, people = POOLS[pool], self.people[pool]
        a, b, anonymous = r.choice(ids), r.choice(ids[:8]), r.choice(ids[8:])
        if r.random() < 0.7:
            traits = {r.choice("xyz"): r.choice([1, "two", None, True])}
            path, body = test_identify.IDENTIFY, {"externalId": b, "traits": traits, "anonymousId": anonymous}
            def step(): return people.identify(b, traits, anonymous)
        else:
            path, body = test_identify.ALIAS, {"previousId": a, "externalId": b}
            def step(): return people.alias(a, b)
        status, answer = client.surely(path, body, self.shop.key, self.nothing_is_late)
        who = step()
        assert status == (400 if who is None else 200), (body, status, answer, who)
        self.identified += 1
        time.sleep(r.random() * 0.05)

    @staticmethod
    def nothing_is_late():
        """A worker that was killed may have left a statement with PostgreSQL. Repeating a call
        is safe; what comes after it must not overtake its first try."""
        ask = ("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() "
               "AND (query LIKE '%pugd.identify(%' OR query LIKE '%pugd.identity_alias(%')")

        def quiet():
            try:
                return P.psql(ask) == [["0"]]
            except test_sealed.subprocess.CalledProcessError:
                return False
        until(quiet, 60)

    def reads(self, client, r):
        """An answer holds what was acknowledged before, and nothing twice."""
        with self.lock:
            low = len(self.acked)
        got = client.ask(test_model.QUERY, self.question("SEGMENTATION", "TOTAL"), self.shop.key)
        with self.lock:
            high = len(self.truth)
        if got:
            assert got[0] == 200, got
            assert low <= int(got[1]["segmentation"]["total"]) <= high, (low, got, high)
            self.asked += 1
        time.sleep(r.random() * 0.1)

    def question(self, insight, how, granularity="DAY", **event):
        hours = {"DAY": 8700, "MONTH": 8700, "HOUR": 330}[granularity]
        to = self.now + 2 * DAY
        return {"spec": {"insightType": "INSIGHT_TYPE_" + insight,
                         "events": [{"event": event, "aggregation": "AGGREGATION_TYPE_" + how}]},
                "timeRange": {"from": iso(to - hours * 3600000), "to": iso(to)},
                "granularity": "GRANULARITY_" + granularity}

    def run(self, seed, work, *args):
        client, r = Client(self), random.Random(seed)
        try:
            while not self.stop.is_set():
                work(client, r, *args)
        except BaseException as e:  # pylint: disable=broad-except
            self.wrong.append(e)
            self.stop.set()
        client.close()


# ---- kills ---------------------------------------------------------------------------------

def pids(role):
    return [w["pid"] for w in test_storm.status()["workers"] if w["role"] == role and w["state"] == "ready"]


def backends():
    """PostgreSQL's processes for us. One that dies takes the others with it."""
    got = P.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pugd'")
    return [int(row[0]) for row in got]


def postmaster():
    return [pid for pid in [test_storm.postmaster_pid()] if pid]


VICTIMS = [("worker", 10, lambda: pids("worker")), ("keeper", 6, lambda: pids("keeper")),
           ("postmaster", 2, postmaster), ("backend", 2, backends)]


def kill_something(world, r):
    name, _, find = r.choices(VICTIMS, [v[1] for v in VICTIMS])[0]
    try:
        os.kill(r.choice(find()), signal.SIGKILL)
    except (IndexError, ProcessLookupError, test_sealed.subprocess.CalledProcessError):
        return  # nobody there: between two lives
    world.kills[name] = world.kills.get(name, 0) + 1
    if name in ("postmaster", "backend"):
        time.sleep(0.3)
        healthy()


def healthy():
    def ready():
        try:
            return P.call("/readyz", method="GET")[0] == 200
        except LOST:
            return False
    until(lambda: ready() and pids("keeper") and len(pids("worker")) == 2 and
          all(w["db_up"] for w in test_storm.status()["workers"]), 90)


def merged(world):
    """Whether something is merged by now, which takes eight sealings of one day and kind."""
    try:
        return P.psql(f"SELECT max(tier) > 0 FROM pugd.segment WHERE project = {world.shop.num}") == [["t"]]
    except test_sealed.subprocess.CalledProcessError:
        return False


def blows(world, r):
    """Kills until it is time and the keeper has come to merge something between two kills: on
    a busy machine twelve seconds may not be enough for eight sealings."""
    end = time.monotonic() + SECONDS
    while not world.stop.is_set() and (time.monotonic() < end or not merged(world)):
        assert time.monotonic() < end + 90, "nothing was merged"
        time.sleep(r.uniform(0.05, 0.8))
        kill_something(world, r)


# ---- afterwards ------------------------------------------------------------------------------

def listed(world):
    events, _ = test_model.ask_list(P, world.shop.key, {"pageSize": 1000})
    return [key_of(e) for e in events]


def check_what_is_stored(world):
    """Everything acknowledged, once; of what is in doubt anything, once."""
    keys = listed(world)
    assert len(keys) == len(set(keys)), f"{len(keys) - len(set(keys))} events are stored twice"
    lost, foreign = world.acked - set(keys), set(keys) - set(world.truth)
    assert not lost, f"{len(lost)} acknowledged events are lost of {len(world.acked)}"
    assert not foreign, f"{len(foreign)} events that nobody sent"
    return len(keys)


def settle(world):
    """Sends again what is in doubt, and what was held back; then there is no doubt."""
    client = Client(world)
    for batch in world.unsure + world.held:
        world.send(client, batch)
    client.close()
    assert world.acked == set(world.truth)


def check_answers(world):
    """Every event as it was sent first, and every count of people, by the model."""
    truth = model.Model()
    for key, e in world.truth.items():
        truth.events[key] = model.Event(e, 0)
    for pool, people in zip("ab", world.people):
        truth.profiles |= {pool + name: (external, traits) for name, (external, traits) in people.profiles.items()}
        truth.aliases |= {a: pool + name for a, name in people.aliases.items()}
    questions = [{"pageSize": 1000}, {"pageSize": 1000, "distinctId": "anon-a3"}]
    for how in ("TOTAL", "UNIQUE_USERS", "PER_USER_AVG"):
        questions += [world.question("SEGMENTATION", how), world.question("SEGMENTATION", how, kind="rare")]
        questions += [world.question("TRENDS", how, g, kind="view") for g in ("DAY", "MONTH", "HOUR")]
    questions.append(world.question("TRENDS", "UNIQUE_USERS", "MONTH"))
    questions[-1]["spec"]["breakdowns"] = [{"property": "q1"}]
    for question in questions:
        bad = test_model.difference(P, world.shop.key, truth, question)
        assert not bad, f"{question}\ngot  {str(bad[0])[:3000]}\nwant {str(bad[1])[:3000]}"


def strangers(world):
    """Ids of events that are nobody's: each is a person of its own, of that id, without an
    external_id or traits (events-profiles.md 4.7)."""
    ids = {e["distinctId"] for e in world.truth.values()}
    return {i for i in ids if not any(people.resolve(i) for people in world.people)}


def check_people(world):
    """Profiles with their traits, as the model has them, and whoever has but events."""
    alone = strangers(world)
    assert alone >= set(STRANGERS), alone
    want = sorted([(external, "", traits) for people in world.people for external, traits in people.profiles.values()] +
                  [("", i, {}) for i in alone])
    profiles, token = [], None
    while True:
        page = P.ok("/profiles.v1.ProfilesService/List", {"pageToken": token or ""}, key=world.shop.key)
        profiles += page.get("profiles", [])
        token = page.get("nextPageToken")
        if not token:
            break
    got = sorted((p["externalId"], "" if p["externalId"] else p["id"], p.get("properties", {})) for p in profiles)
    assert got == want, f"got  {got}\nwant {want}"


def check_sealed(world):
    """Sealing and merging happened; nothing is wrong with what they left."""
    db = test_sealed.pg.connect(P.info["database_url"])
    segments, tier = db.query("SELECT count(*), max(tier) FROM pugd.segment WHERE project = $1",
                              world.shop.num)[0]
    assert int(segments) > 0 and int(tier) > 0, (segments, tier)
    until(lambda: db.one("SELECT count(*) FROM pugd.inbox") == "0", 60)
    db.close()
    code, lines = test_sealed.verify(P)
    assert code == 0, lines[-20:]


def test_storm_of_everything(_):
    world = World()
    work = [(world.sends,)] * 4 + [(world.identifies, 0), (world.identifies, 1), (world.reads,)]
    threads = [threading.Thread(target=world.run, args=(SEED + i, *w), daemon=True) for i, w in enumerate(work)]
    for t in threads:
        t.start()
    try:
        blows(world, random.Random(SEED - 1))
    finally:
        world.stop.set()
        for t in threads:
            t.join(90)
    assert not world.wrong, f"seed {SEED}: {world.wrong[0]!r}"
    assert not any(t.is_alive() for t in threads)
    healthy()
    stored = check_what_is_stored(world)
    settle(world)
    print(f"     {len(world.truth)} events ({stored} before the last retries), {world.identified} changes of "
          f"people, {world.asked} questions, {world.lost_calls} calls without an answer, kills {world.kills}")
    assert check_what_is_stored(world) == len(world.truth) >= world.created
    check_answers(world)
    check_people(world)
    check_sealed(world)
    check_answers(world)
    assert world.shop.usage() == len(world.truth)


if __name__ == "__main__":
    print(f"     PUGD_SEED={SEED}", flush=True)
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2", "seal_events=60", "seal_commits=12", "seal_age=1s"]) as P:
        test_storm.P = P
        sys.exit(pug.main([("test_storm_of_everything", test_storm_of_everything)], expects=pug.KILLS))
