"""The packed copy of who is who (worker/store/people_pack.h): whatever is written, and whenever
copies are made, a query is told the same as a naive model finds in the tables.

    test_people_pack.py [--steps N] [--seed S]
"""
import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402
from digest import digest  # noqa: E402

ARGS = argparse.Namespace(steps=400, seed=1)
PROJECT = """
INSERT INTO pugd.orgs (id, display_name) VALUES ('00000000000000000000', 'Zoo') ON CONFLICT DO NOTHING;
INSERT INTO pugd.projects (id, org_id, display_name)
VALUES ('%s', '00000000000000000000', '%s');
"""
DONE, LEFT = 0, 1


class Reading:
    """What came of one read or tables."""

    def __init__(self, lines):
        self.profiles, self.aliases = [], []
        self.key, self.origin = b"", 0
        self.numbers, self.who = {}, {}  # as the base has them: numbers and ids, and whose they are
        for line in lines:
            kind, *rest = line.split()
            if kind == "key":
                self.key = bytes.fromhex(rest[0])
            elif kind == "origin":
                self.origin = int(rest[0])
            elif kind in "nw":
                (self.numbers if kind == "n" else self.who)[int(rest[0])] = int(rest[1])
            else:
                (self.profiles if kind == "p" else self.aliases).append(tuple(map(int, rest)))

    def persons(self):
        """{digest of an id: digest of its person}, by the ranks of people.h."""
        live = {p for p, _ in self.profiles}
        assert len(live) == len(self.profiles), "a profile came twice"
        assert len({a for a, _ in self.aliases}) == len(self.aliases), "an alias came twice"
        out = {e: p for p, e in self.profiles if e}
        out.update((a, p) for a, p in self.aliases if p in live)
        out.update((p, p) for p in live)
        return out

    def others(self):
        """{id: person} of those who are somebody else's."""
        return {i: p for i, p in self.who.items() if i != p}


class Probe:
    def __init__(self, url, variant):
        self.child = subprocess.Popen([os.path.join(pug.TOP, "build", variant, "bin/db/people_probe"), url],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        assert self.child.wait(20) == 0

    def say(self, command):
        """(lines, result, rows, bytes, us)"""
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        lines = []
        while True:
            line = self.child.stdout.readline()
            assert line, "the probe has died"
            if line.startswith("end "):
                return (lines, *map(int, line.split()[1:]))
            lines.append(line)

    def do(self, command):
        result = self.say(command)[1]
        assert result == 0, (command, result)

    def read(self, command):
        self.do("begin")
        lines, result, *_ = self.say(command)
        self.do("rollback")
        assert result == 0, (command, result)
        return Reading(lines)

    def both(self, num):
        """The persons by the copy and by the tables, in one snapshot."""
        self.do("begin")
        got = [self.say(f"{command} {num}") for command in ("read", "tables")]
        self.do("rollback")
        assert all(g[1] == 0 for g in got), got
        return [Reading(g[0]).persons() for g in got]


class Base:
    """A migrated database with a project, and who writes to it."""

    def __init__(self, server, variant):
        self.url = server.createdb()
        self.variant = variant
        self.binary = os.path.join(pug.TOP, "build", variant, "pugd")
        subprocess.run([self.binary, "migrate", "--database", self.url], check=True, timeout=60)
        self.db = pg.connect(self.url)
        self.num = self.project(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.close()

    def project(self, no):
        name = f"{no:020d}"
        self.db.query(PROJECT % (name, name))
        return int(self.db.one("SELECT num FROM pugd.projects WHERE id = $1", name))

    def fill(self, n, num=None, first=0):
        """n profiles, each with an external_id and an alias."""
        num = num or self.num
        self.db.query(
            f"BEGIN; SELECT pugd.identity_lock({num}, false, '{{}}');"
            "INSERT INTO pugd.profiles (project, id, external_id) "
            f"SELECT {num}, lpad(i::text, 20, '0'), 'ext-' || i FROM generate_series({first} + 1, {first} + {n}) i;"
            "INSERT INTO pugd.aliases (project, alias_id, profile_id) "
            f"SELECT {num}, 'anon-' || i, lpad(i::text, 20, '0') FROM generate_series({first} + 1, {first} + {n}) i;"
            "COMMIT; ANALYZE pugd.profiles, pugd.aliases")

    def run(self, *words):
        return subprocess.run([self.binary, *words, "--config", "/dev/null", "-o", f"database_url={self.url}"],
                              capture_output=True, text=True, timeout=60, check=False)


def model(db, num):
    """{id: person} of everybody known, as D60 says, from the tables."""
    profiles = db.query("SELECT id, external_id FROM pugd.profiles WHERE project = $1 AND deleted_at IS NULL", num)
    live = {i for i, _ in profiles}
    out = {e: i for i, e in profiles if e}
    out.update((a, p) for a, p in db.query("SELECT alias_id, profile_id FROM pugd.aliases WHERE project = $1", num)
               if p in live)
    out.update((i, i) for i in live)
    return out


class Writer:
    """Random changes; ids are few, so that they meet."""

    def __init__(self, db, num, rng, prefix=""):
        self.db, self.num, self.rng = db, num, rng
        self.prefix, self.made = prefix, 0
        self.ids = [f"{prefix}{kind}{i}" for kind in ("anon", "ext") for i in range(12)]

    def new(self):
        self.made += 1
        return f"{self.prefix}{self.made:0{20 - len(self.prefix)}d}"

    def any_id(self):
        if self.rng.random() < 0.15:
            known = self.db.query("SELECT id FROM pugd.profiles WHERE project = $1 AND id LIKE $2", self.num,
                                  self.prefix + "%")
            if known:
                return self.rng.choice(known)[0]
        return self.rng.choice(self.ids)

    def identify(self):
        anonymous = self.any_id() if self.rng.random() < 0.8 else ""
        self.db.query("SELECT * FROM pugd.identify($1, $2, $3, $4, $5, '{}')", self.num, self.new(), self.any_id(),
                      anonymous, '{"n": %d}' % self.made)

    def alias(self):
        new, previous, external = self.new(), self.any_id(), self.any_id()
        for whole in ("f", "t"):
            if self.db.query("SELECT again FROM pugd.identity_alias($1, $2, $3, $4, $5)", self.num, new, previous,
                             external, whole) != [("t",)]:
                break

    def imported(self):
        """As import_identify: an alias that is there stays."""
        anonymous = self.any_id()
        self.db.query(
            "SELECT i.profile_id FROM (SELECT $1::int AS project WHERE NOT EXISTS (SELECT FROM pugd.aliases a "
            "WHERE a.project = $1 AND a.alias_id = $4)) f, LATERAL pugd.identify(f.project, $2, $3, $4, '{}', '{}') i",
            self.num, self.new(), self.any_id(), anonymous)

    def rename(self):
        """No method does that yet."""
        self.db.query("BEGIN")
        self.db.query("SELECT pugd.identity_lock($1, true, '{}')", self.num)
        new = self.any_id()
        self.db.query(
            "UPDATE pugd.profiles p SET external_id = $2 WHERE project = $1 AND deleted_at IS NULL AND id = $3 AND "
            "NOT EXISTS (SELECT FROM pugd.profiles o WHERE o.project = $1 AND o.external_id = $2 AND "
            "o.deleted_at IS NULL)", self.num, new, self.any_id())
        self.db.query("COMMIT")

    def erase(self):
        self.db.query("SELECT * FROM pugd.erase($1, $2, $3, false, false, 0, 3600000000, '')", self.num,
                      self.new(), self.any_id())

    def waiting(self, state):
        rows = self.db.query("SELECT id FROM pugd.erasures WHERE project = $1 AND state = $2", self.num, state)
        return self.rng.choice(rows)[0] if rows else None

    def restore(self):
        one = self.waiting(1)
        if one:
            self.db.query("SELECT * FROM pugd.erasure_undo((SELECT id FROM pugd.projects WHERE num = $1), $2)",
                          self.num, one)

    def finish(self):
        """As the eraser: aliases first, without a lock, then the rest."""
        one = self.waiting(2)
        if one:
            self.db.query(
                "DELETE FROM pugd.aliases a USING pugd.profiles p, pugd.erasures e WHERE a.project = $1 "
                "AND p.project = $1 AND p.id = a.profile_id AND p.deleted_at IS NOT NULL "
                "AND e.project = $1 AND e.id = $2 AND a.profile_id = e.profile_id", self.num, one)
            self.db.query("SELECT pugd.erasure_finish($1, $2)", self.num, one)
            return
        one = self.waiting(1)
        if one:
            self.db.query("UPDATE pugd.erasures SET state = 2 WHERE project = $1 AND id = $2 AND state = 1", self.num, one)

    def step(self, merging=True):
        steps = [(8, self.identify), (2, self.imported)]
        if merging:
            steps += [(6, self.alias), (2, self.rename), (3, self.erase), (2, self.restore), (2, self.finish)]
        chosen = self.rng.choices([s for _, s in steps], [w for w, _ in steps])[0]
        chosen()
        return chosen.__name__


def test_digest(_):
    # the vector of the paper
    assert digest(bytes(range(16)), "".join(map(chr, range(15)))) == 0xa129ca6149be45e5


def test_random_writes(variant):
    rng = random.Random(ARGS.seed)
    with pg.Postgres() as server, Base(server, variant) as b, Probe(b.url, variant) as probe:
        writer, digests, said = Writer(b.db, b.num, rng), {}, []
        seen = set(writer.ids)
        for step in range(ARGS.steps):
            said.append(writer.step())
            if rng.random() < 0.15:
                said.append("pack")
                probe.do(f"pack {b.num}")
            got = probe.read(f"read {b.num}")
            want = model(b.db, b.num)
            seen.update(want)
            for i in seen.difference(digests):
                digests[i] = digest(got.key, i)
            persons = got.persons()
            for i in seen:
                person = digests[want.get(i, i)]
                assert persons.get(digests[i], digests[i]) == person, (ARGS.seed, step, i, said[-20:])
            assert set(persons) == {digests[i] for i in want}, (ARGS.seed, step, said[-20:])
        assert {"alias", "rename", "erase", "restore", "finish", "pack"} <= set(said), said
        assert b.db.one("SELECT count(*) FROM pugd.people_gone WHERE changed <= "
                        "(SELECT upto FROM pugd.people_state)") == "0"
        assert b.run("verify").returncode == 0


@contextlib.contextmanager
def others_writing(b, pause=0):
    """Four connections change people, two of them merge and erase, until the block ends."""
    failures, stopped = [], threading.Event()

    def write(no):
        try:
            with pg.connect(b.url) as db:
                writer = Writer(db, b.num, random.Random(no), "abcd"[no])
                while not stopped.is_set():
                    try:
                        writer.step(no < 2)
                        time.sleep(pause)
                    except pg.DbError as e:
                        assert e.sqlstate in ("40P01", "23505"), e
        except BaseException as e:  # pylint: disable=broad-except
            failures.append(e)

    threads = [threading.Thread(target=write, args=(no,)) for no in range(4)]
    for t in threads:
        t.start()
    try:
        yield
    finally:
        stopped.set()
        for t in threads:
            t.join()
    assert not failures, failures


def test_copies_while_others_write(variant):
    """Nothing is missed, whoever commits while the keeper draws its number or reads."""
    with pg.Postgres() as server, Base(server, variant) as b:
        b.fill(2000)
        packed = 0
        with others_writing(b), Probe(b.url, variant) as keeper, Probe(b.url, variant) as reader:
            end = time.monotonic() + 8
            while time.monotonic() < end:
                done = keeper.say(f"pack {b.num}")[1]
                assert done in (DONE, LEFT), done
                packed += done == DONE
                for _ in range(2):
                    copy, tables = reader.both(b.num)
                    assert copy == tables, set(copy.items()) ^ set(tables.items())
        assert packed > 5, packed
        assert int(b.db.one("SELECT count(*) FROM pugd.profiles WHERE id !~ '^0'")) > 20


def test_two_keepers(variant):
    with pg.Postgres() as server, Base(server, variant) as b:
        b.fill(3000)
        ends = []

        def keep():
            with Probe(b.url, variant) as probe:
                for _ in range(10):
                    ends.append(probe.say(f"pack {b.num}")[1])

        threads = [threading.Thread(target=keep) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert set(ends) <= {DONE, LEFT} and DONE in ends, ends
        with Probe(b.url, variant) as probe:
            copy, tables = probe.both(b.num)
            assert copy == tables and len(copy) == 9000


def test_order_of_application(variant):
    """One case a rule of people_pack.h."""
    with pg.Postgres() as server, Base(server, variant) as b, Probe(b.url, variant) as probe:
        b.fill(8)
        key = bytes.fromhex(b.db.one("SELECT encode(digest_key, 'hex') FROM pugd.projects"))
        name = [f"{i:020d}" for i in range(9)]

        def of(i):
            return digest(key, i)

        probe.do(f"pack {b.num}")
        lock = f"BEGIN; SELECT pugd.identity_lock({b.num}, true, '{{}}'); "
        # an alias that was given to another one, who dies: nobody's
        b.db.query(f"{lock} UPDATE pugd.aliases SET profile_id = '{name[2]}' WHERE alias_id = 'anon-1';"
                   f"UPDATE pugd.profiles SET deleted_at = now() WHERE id = '{name[2]}'; COMMIT")
        # an external_id that changes owners
        b.db.query(f"{lock} UPDATE pugd.profiles SET external_id = 'was-3' WHERE id = '{name[3]}';"
                   f"UPDATE pugd.profiles SET external_id = 'ext-3' WHERE id = '{name[4]}'; COMMIT")
        # one that becomes another
        b.db.query("SELECT * FROM pugd.identity_alias($1, $2, 'ext-6', 'ext-5', true)", b.num, "a" * 20)
        # one that goes and comes again under its id
        b.db.query(f"{lock} DELETE FROM pugd.profiles WHERE id = '{name[7]}';"
                   f"INSERT INTO pugd.profiles (project, id, external_id) VALUES ({b.num}, '{name[7]}', 'new-7'); COMMIT")
        got = probe.read(f"read {b.num}").persons()
        want = {"anon-1": None, name[2]: None, "ext-2": None, "anon-2": None,
                "was-3": name[3], "ext-3": name[4], "ext-4": None, "anon-4": name[4],
                "ext-6": name[5], name[6]: name[5], "anon-6": name[5], "anon-5": name[5],
                name[7]: name[7], "new-7": name[7], "ext-7": None, "anon-7": name[7], "ext-8": name[8]}
        for i, person in want.items():
            assert got.get(of(i)) == (person and of(person)), i
        # who was hidden when the copy was made comes back with aliases and all
        probe.do(f"pack {b.num}")
        assert probe.read(f"read {b.num}").persons() == got
        b.db.query(f"{lock} UPDATE pugd.profiles SET deleted_at = NULL WHERE id = '{name[2]}'; COMMIT")
        got = probe.read(f"read {b.num}").persons()
        assert all(got[of(i)] == of(name[2]) for i in ("anon-1", "anon-2", "ext-2", name[2]))
        # one that was given to another, who is erased with it, is not the former owner's again
        probe.do(f"pack {b.num}")
        b.db.query(f"{lock} UPDATE pugd.aliases SET profile_id = '{name[8]}' WHERE alias_id = 'anon-3';"
                   f"UPDATE pugd.profiles SET deleted_at = now() WHERE id = '{name[8]}'; COMMIT;"
                   f"DELETE FROM pugd.aliases WHERE profile_id = '{name[8]}'")
        assert of("anon-3") not in probe.read(f"read {b.num}").persons()
        assert probe.say(f"cost {b.num}")[3] == 0
        b.db.query(f"{lock} DELETE FROM pugd.profiles WHERE id = '{name[8]}'; COMMIT")
        probe.do(f"pack {b.num}")
        assert of("anon-3") not in probe.read(f"read {b.num}").persons()
        assert probe.say(f"cost {b.num}")[3] > 0
        b.fill(1, first=8 - 1)
        # aliases of somebody whose profile is itself an alias's name: the profile wins
        b.db.query("SELECT pugd.identity_join($1, ARRAY[$2], $3)", b.num, name[8], name[1])
        assert probe.read(f"read {b.num}").persons()[of(name[8])] == of(name[8])


def test_rows_from_before(variant):
    """Rows that the migration found have no number; without a copy all are read, with one none."""
    with pg.Postgres() as server, Base(server, variant) as b, Probe(b.url, variant) as probe:
        b.fill(17000)
        b.db.query("UPDATE pugd.profiles SET changed = 0; UPDATE pugd.aliases SET changed = 0")
        copy, tables = probe.both(b.num)
        assert copy == tables and len(copy) == 3 * 17000
        probe.do(f"pack {b.num}")
        copy, tables = probe.both(b.num)
        assert copy == tables and len(copy) == 3 * 17000
        assert probe.say(f"cost {b.num}")[1:4] == (0, 0, 16 * 34000)


def test_cost(variant):
    """With a copy a query receives the copy and the changes, nothing else."""
    with pg.Postgres() as server, Base(server, variant) as b, Probe(b.url, variant) as probe:
        b.fill(20000)
        assert probe.say(f"cost {b.num}")[1:4] == (0, 40000, 0)
        probe.do(f"pack {b.num}")
        assert probe.say(f"cost {b.num}")[1:4] == (0, 0, 16 * 40000)
        b.db.query("SELECT * FROM pugd.identify($1, $2, 'one', 'two', '{}', '{}')", b.num, "a" * 20)
        assert probe.say(f"cost {b.num}")[1:4] == (0, 2, 16 * 40000)
        # traits are no change, and their update stays within its page
        b.db.query("SELECT pg_stat_force_next_flush()")
        before = int(b.db.one("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'profiles'"))
        for i in range(20):
            b.db.query("SELECT * FROM pugd.identify($1, $2, 'one', 'two', $3, '{}')", b.num, "b" * 20,
                       '{"n": %d}' % i)
        b.db.query("SELECT pg_stat_force_next_flush()")
        after = int(b.db.one("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'profiles'"))
        assert after - before >= 19, (before, after)
        assert probe.say(f"cost {b.num}")[1:4] == (0, 2, 16 * 40000)


def test_verify(variant):
    with pg.Postgres() as server, Base(server, variant) as b:
        b.fill(1500)
        assert b.run("seal").returncode == 0
        assert b.db.one("SELECT profiles || ' ' || aliases FROM pugd.people_state") == "1500 1500"
        assert b.run("verify").returncode == 0
        # somebody writes without the lock, while a copy is being made: what must never happen
        b.db.query("UPDATE pugd.aliases SET profile_id = $1, changed = 1 WHERE alias_id = 'anon-7'", f"{8:020d}")
        b.db.query("ALTER TABLE pugd.aliases DISABLE TRIGGER aliases_changed")
        b.db.query("UPDATE pugd.aliases SET profile_id = $1 WHERE alias_id = 'anon-9'", f"{8:020d}")
        done = b.run("verify")
        assert done.returncode == 1 and f"project={b.num} people=" in done.stdout, done.stdout


def until(db, sql, value, seconds=20):
    end = time.monotonic() + seconds
    while db.one(sql) != value:
        assert time.monotonic() < end, (sql, db.one(sql), value)
        time.sleep(0.05)


def test_keeper(variant):
    """Copies come when there are enough people, again after enough changes or an erasure, and go
    with their project."""
    with tempfile.TemporaryDirectory() as folder, pg.Postgres() as server, Base(server, variant) as b:
        small = b.project(2)
        key = os.path.join(folder, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
        options = [f"database_url={b.url}", "listen=127.0.0.1:0", "admin_listen=", "user=", "workers=1",
                   f"credential_file={key}"]
        child = subprocess.Popen([b.binary, "run"] + [w for o in options for w in ("-o", o)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        state = f"SELECT profiles || ' ' || aliases FROM pugd.people_state WHERE project = {b.num}"
        try:
            b.fill(300, small)
            b.fill(501)
            until(b.db, f"SELECT count(*) FROM pugd.people_pack WHERE project = {b.num}", "2")
            assert b.db.one(state) == "501 501"
            assert b.db.one(f"SELECT count(*) FROM pugd.people_state WHERE project = {small}") == "0"
            b.fill(400, first=1000)
            time.sleep(2.5)
            assert b.db.one(state) == "501 501"
            b.fill(200, first=2000)
            until(b.db, state, "1101 1101")
            writer = Writer(b.db, b.num, random.Random(1))
            b.db.query("SELECT * FROM pugd.erase($1, $2, 'ext-1', false, false, 0, 0, '')", b.num, "c" * 20)
            until(b.db, "SELECT count(*) FROM pugd.erasures WHERE state = 3", "1")
            writer.identify()
            until(b.db, "SELECT count(*) FROM pugd.people_gone", "0")
            assert int(b.db.one(f"SELECT profiles FROM pugd.people_state WHERE project = {b.num}")) == 1101
            until(b.db, f"SELECT aliases IN (1100, 1101) FROM pugd.people_state WHERE project = {b.num}", "t")
            b.db.query("UPDATE pugd.projects SET deleted_at = now() - interval '1 day' WHERE num = $1", b.num)
            until(b.db, f"SELECT purged_at IS NOT NULL FROM pugd.projects WHERE num = {b.num}", "t")
            for table in ("people_pack", "people_state", "people_gone", "profiles", "aliases"):
                assert b.db.one(f"SELECT count(*) FROM pugd.{table} WHERE project = {b.num}") == "0", table
        finally:
            child.terminate()
            assert child.wait(60) == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    ARGS, rest = parser.parse_known_args()
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")], rest))
