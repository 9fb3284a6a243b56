"""Who is who kept between queries (worker/store/people_load.h): whatever is written, sealed, erased
and packed, and in whatever snapshot, a process that keeps it says the same as one that does not,
and as a naive model.
"""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402
from digest import digest  # noqa: E402
from test_people_pack import Base, Probe, Reading, Writer, model, others_writing  # noqa: E402

MADE, CHANGED, KEPT = 1, 2, 3  # enum people_origin
BLOCK, STEPS = 50, 200


class Numbers:
    """What sealing and erasing do to a project's numbers."""

    def __init__(self, db, num, key):
        self.db, self.num, self.key, self.of = db, num, key, []  # the id of each number; None: nobody's

    def add(self, ids):
        """As dense.c: the last block grows first."""
        new = [i for i in dict.fromkeys(ids) if i not in self.of]
        while new:
            some = new[:BLOCK - len(self.of) % BLOCK]
            first = len(self.of) - len(self.of) % BLOCK + 1
            data = b"".join(digest(self.key, i).to_bytes(8, "little") for i in some).hex()
            self.db.query("INSERT INTO pugd.number_block AS b (project, first, n, digests) "
                          "VALUES ($1, $2, $3, decode($4, 'hex')) ON CONFLICT (project, first) DO UPDATE "
                          "SET n = b.n + excluded.n, digests = b.digests || excluded.digests",
                          self.num, str(first), str(len(some)), data)
            self.of += some
            new = new[len(some):]

    def retire(self, i):
        """As eraser_numbers.c."""
        if i not in self.of:
            return
        at = self.of.index(i)
        self.db.query("UPDATE pugd.number_block SET digests = overlay(digests placing decode(repeat('00', 8), 'hex') "
                      "from $3) WHERE project = $1 AND first = $2", self.num, str(at - at % BLOCK + 1),
                      str(1 + 8 * (at % BLOCK)))
        self.of[at] = None

    def lose(self):
        self.db.query("DELETE FROM pugd.number_block WHERE project = $1", self.num)
        self.of = []


def agrees(got, numbers, want, digests):
    """Whether a base says what the model says, of all ids and all numbers."""
    back = {d: i for i, d in digests.items()}
    assert len(got.numbers) == len(numbers.of)
    for number, i in enumerate(numbers.of, 1):
        person = digests[want.get(i, i)] if i else 0
        assert got.numbers[number] == person, (number, i, back.get(got.numbers[number]))
    for i, d in digests.items():
        assert got.who.get(d, d) == digests[want.get(i, i)], (i, back.get(got.who.get(d)), want.get(i))


def test_what_is_kept(variant):
    """A process that keeps who is who between queries, one that does not, and a naive model agree
    after every single change; and in a snapshot that is older than what is kept."""
    seed = random.randrange(1 << 30)
    rng, said, origins = random.Random(seed), [], []
    with pg.Postgres() as server, Base(server, variant) as b, Probe(b.url, variant) as probe, \
            Probe(b.url, variant) as old:
        b.fill(400)
        key = bytes.fromhex(b.db.one("SELECT encode(digest_key, 'hex') FROM pugd.projects"))
        writer, numbers = Writer(b.db, b.num, rng, "a"), Numbers(b.db, b.num, key)
        digests = {}
        seen = set(writer.ids) | {f"anon-{i}" for i in range(400)}
        numbers.add(sorted(seen))

        def now():
            want = model(b.db, b.num)
            seen.update(want)
            digests.update((i, digest(key, i)) for i in seen.difference(digests))
            return want, dict(digests)

        def seal():
            numbers.add([f"new-{len(said)}-{k}" for k in range(rng.choice([0, 1, 7, 60]))] +
                        rng.sample(sorted(seen), 3))
            seen.update(i for i in numbers.of if i)

        steps = [(30, writer.step), (6, seal), (3, lambda: numbers.retire(rng.choice(numbers.of or [None]))),
                 (4, lambda: probe.do(f"pack {b.num}")), (10, lambda: None), (0.5, numbers.lose)]
        for step in range(STEPS):
            begun = rng.random() < 0.1  # an older snapshot, which is asked after the newer one
            if begun:
                before, count = now(), list(numbers.of)
                old.do("begin")
                old.say(f"read {b.num}")
            what = rng.choices([s for _, s in steps], [w for w, _ in steps])[0]
            said.append(what() or getattr(what, "__name__", "?"))
            want, known = now()
            try:
                got = probe.read(f"keep {b.num}")
                origins.append(got.origin)
                agrees(got, numbers, want, known)
                if begun:
                    lines, result, *_ = old.say(f"keep {b.num}")
                    old.do("rollback")
                    assert result == 0
                    past = Numbers(None, 0, key)
                    past.of = count
                    agrees(Reading(lines), past, *before)
            except AssertionError as e:
                raise AssertionError((seed, step, said[-20:], origins[-20:])) from e
        for origin in (MADE, CHANGED, KEPT):
            assert origins.count(origin) > STEPS / 40, (origin, origins)
        # as is: everything is known
        assert probe.read(f"keep {b.num}").origin == KEPT
        probe.do("begin")
        assert probe.say(f"keep {b.num}")[1:4] == (0, 0, 0), "nothing was read"
        probe.do("rollback")


def test_kept_while_others_write(variant):
    """The same where changes commit in another order than they were drawn."""
    origins, kept_at_once, turn = [], 0, 0
    with pg.Postgres() as server, Base(server, variant) as b:
        b.fill(1200)
        with others_writing(b, 0.005), Probe(b.url, variant) as keeper, Probe(b.url, variant) as reader:
            keeper.do(f"pack {b.num}")
            end = time.monotonic() + 5
            while time.monotonic() < end:
                turn += 1
                if turn % 10 == 0:
                    keeper.say(f"pack {b.num}")
                reader.do("begin")
                got = [reader.say(f"{command} {b.num}") for command in ("keep", "tables", "keep")]
                reader.do("rollback")
                kept, tables, again = (Reading(g[0]) for g in got)
                origins.append(kept.origin)
                assert again.origin != MADE and again.others() == kept.others(), origins
                kept_at_once += again.origin == KEPT  # nothing is where an erasure has spoilt the copy
                assert kept.others() == {i: p for i, p in tables.persons().items() if i != p}, origins
        assert origins.count(CHANGED) > 5 and MADE in origins and kept_at_once > 5, (kept_at_once, origins)


def test_a_crash_makes_another_server(variant):
    """Numbers and transactions that a crash has lost may come again: what was kept is not believed."""
    with open(os.path.join(pug.TOP, "sql/query/people_pack.sql"), encoding="utf-8") as f:
        query = f.read().split("-- name: people_now")[1].split("SELECT", 1)[1].split(";")[0]

    def name(db):
        return db.query("SELECT" + query, b.num, "1")[0][9]

    with pg.Postgres() as server, Base(server, variant) as b:
        before = name(b.db)
        with pg.connect(b.url) as other:
            assert name(other) == before and len(before.split()) == 3
            victim = int(other.one("SELECT pg_backend_pid()"))
            os.kill(victim, signal.SIGKILL)
            end, after = time.monotonic() + 20, None
            while after is None:
                assert time.monotonic() < end
                try:
                    with pg.connect(b.url) as again:
                        after = name(again)
                except (pg.DbError, RuntimeError, OSError):
                    time.sleep(0.1)
        started, crashed = before.split()[1:], after.split()[1:]
        assert started[0] == crashed[0] and float(started[1]) < float(crashed[1]), (before, after)


if __name__ == "__main__":
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]))
