"""What one call may send to the functions of sql/schema/015_bounds.sql costs no square of it, and
they answer and write the same as the functions that they replace.
"""
import datetime
import json
import os
import random
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402
from test_people_pack import Base  # noqa: E402

# Each takes a fifth of it on two busy cores; the old ones took 6 s or more.
PATIENCE = "SET statement_timeout = '3s'"
REPLACED = (("013_claim.sql", "events_claim"), ("009_catalog.sql", "catalog_admit"), ("003_people.sql", "identify"))
CLAIM = "SELECT * FROM pugd.%sevents_claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ORDER BY no"
ADMIT = "SELECT * FROM pugd.%scatalog_admit($1, $2, $3, $4, $5)"
IDENTIFY = "SELECT * FROM pugd.%sidentify($1, $2, $3, $4, $5, $6)"
WRITTEN = {
    "events_claim": "SELECT project, day, event_id::text FROM pugd.event_seen UNION ALL "
                    "SELECT project, receive_day, concat_ws(' ', n, stored, tmin, tmax, refused, data) FROM pugd.inbox "
                    "ORDER BY 1, 2, 3",
    "catalog_admit": "SELECT c.list, c.name, s.due_at IS NULL FROM pugd.catalog c JOIN pugd.catalog_state s "
                     "USING (project) ORDER BY 1, 2",
    "identify": "SELECT id, external_id, properties FROM pugd.profiles ORDER BY 1",
}
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
FIRST = datetime.date(2001, 1, 1)


def array(values):
    return "{" + ",".join(map(str, values)) + "}"


def group(events, projects, suspects=()):
    """Arguments of events_claim. events: (batch from 1, day, id); projects: of the batches."""
    events = sorted(events, key=lambda e: (projects[e[0] - 1], e[1], e[2]))
    batches = range(1, len(projects) + 1)
    day_of = [[e[1] for e in events if e[0] == b] for b in batches]
    ms = [[(d - datetime.date(1970, 1, 1)).days * 86400000 for d in (min(days), max(days))] for days in day_of]
    seen = dict.fromkeys(batches, 0)
    at = []
    for b, _, _ in events:
        at.append(seen[b])
        seen[b] += 1
    return (array(projects[b - 1] for b, _, _ in events), array(d for _, d, _ in events),
            array(i for _, _, i in events), array(b for b, _, _ in events), array(at), array(suspects),
            array(projects), array(map(len, day_of)), array(m[0] for m in ms), array(m[1] for m in ms),
            array(['"\\\\x01"'] * len(projects)))


def old_functions(db):
    """As pugd.old_*."""
    for name, function in REPLACED:
        with open(os.path.join(pug.TOP, "sql", "schema", name), encoding="utf-8") as f:
            text = f.read()
        start = text.index(f"CREATE FUNCTION pugd.{function}(")
        text = text[start:text.index("END $$;", start) + 7]
        db.query(text.replace(f"pugd.{function}(", f"pugd.old_{function}("))


def both(db, function, sql, args):
    """The old function and the new one from the same start, which the new one's work then ends."""
    said = []
    for which in ("old_", ""):
        db.query("BEGIN")
        said.append((db.query(sql % which, *args), db.query(WRITTEN[function])))
        db.query("COMMIT" if not which else "ROLLBACK")
    assert said[0] == said[1], (function, args, said)
    return said[1][0]


def test_claims_of_many_days(variant):
    with Base(S, variant) as b:
        short, long = b.num, b.project(2)
        b.db.query(f"UPDATE pugd.projects SET retention_days = CASE WHEN num = {short} THEN 30 END")
        b.db.query(PATIENCE)
        events = [(1, FIRST + datetime.timedelta(i), uuid.UUID(int=i)) for i in range(8000)]
        for num, expected in ((short, (None, "8000")), (long, (None, None)), (long, ("8000", None))):
            got = b.db.query("SELECT cardinality(c.refused), cardinality(c.expired) FROM "
                             f"({CLAIM % ''}) c", *group(events, [num]))
            assert got == [expected], (got, expected)


def test_the_last_of_many_names(variant):
    with Base(S, variant) as b:
        b.db.query(f"INSERT INTO pugd.catalog SELECT {b.num}, 1, 'k' || i FROM generate_series(1, 30000) i")
        b.db.query(PATIENCE)
        got = b.db.query(ADMIT % "", b.num, array([1] * 60000), array(f"k{i}" for i in range(1, 60001)), 10, 100000)
        assert got == [(None, array(range(30001, 60001)))]
        assert b.db.one("SELECT count(*) FROM pugd.catalog") == "60000"


def test_many_traits_removed(variant):
    with Base(S, variant) as b:
        traits = {f"{i:04x}": 1 for i in range(20000)}
        # as long as the keys, so that all of it is compared
        removed = ["z" + a + b + c for a in DIGITS for b in DIGITS for c in DIGITS] + list(traits)[:10000]
        b.db.query(IDENTIFY % "", b.num, "0" * 20, "alice", "", json.dumps(traits), "{}")
        b.db.query(PATIENCE)
        b.db.query(IDENTIFY % "", b.num, "1" * 20, "alice", "", '{"x": null}', array(removed))
        left = json.loads(b.db.one("SELECT properties FROM pugd.profiles"))
        assert left == {"x": None, **{k: 1 for k in list(traits)[10000:]}}


def test_claims_as_before(variant):
    rng = random.Random(15)
    with Base(S, variant) as b:
        old_functions(b.db)
        nums = [b.num, b.project(2), b.project(3), b.project(4)]
        b.db.query(f"UPDATE pugd.projects SET retention_days = CASE WHEN num = {nums[0]} THEN 30 END, "
                   f"deleted_at = CASE WHEN num = {nums[3]} THEN now() END")
        today = datetime.datetime.now(datetime.timezone.utc).date()
        days = [FIRST, FIRST + datetime.timedelta(400), *(today - datetime.timedelta(n) for n in (60, 2, 0))]
        met = set()
        for _ in range(150):
            projects = [rng.choice(nums) for _ in range(rng.randint(1, 3))]
            free = {(p, d, i) for p in projects for d in days for i in range(12)}
            events = []
            for project, day, i in rng.sample(sorted(free), rng.randint(len(projects), 20)):
                batch = rng.choice([j for j, p in enumerate(projects, 1) if p == project])
                events.append((batch, day, uuid.UUID(int=i)))
            if len({e[0] for e in events}) < len(projects):
                continue
            suspects = rng.choice([[], rng.sample(range(1, len(events) + 1), rng.randint(1, len(events)))])
            for _, live, refused, expired in both(b.db, "events_claim", CLAIM, group(events, projects, suspects)):
                met.add((live, refused is None, expired is None))
        assert len(met) == 5, met  # a dead project's has neither


def test_names_as_before(variant):
    rng = random.Random(15)
    with Base(S, variant) as b:
        old_functions(b.db)
        met = set()
        for i in range(200):
            if i % 20 == 0:
                b.db.query("DELETE FROM pugd.catalog; DELETE FROM pugd.catalog_state")
            names = rng.sample([(n, f"n{k}") for n in range(3) for k in range(12)], rng.randint(1, 12))
            args = (b.num, array(n for n, _ in names), array(k for _, k in names), 8 + i % 4, 6)
            for excess, added in both(b.db, "catalog_admit", ADMIT, args):
                met.add((excess is None, added is None))
        assert len(met) == 4, met


def test_traits_as_before(variant):
    rng = random.Random(15)
    values = (None, 1, 1.50, "x", [1], {"k0": None}, True)
    with Base(S, variant) as b:
        old_functions(b.db)
        for i in range(200):
            some = rng.sample([f"k{k}" for k in range(99)] + ["", "é"], rng.randint(0, 101))
            traits = {k: rng.choice(values) for k in some[::2]}
            # around the number from which on they are removed as a set; some of them twice
            removed = [json.dumps(k) for k in some[1::2]]
            removed += rng.choice([[], removed, [f"z{k}" for k in range(64 - len(removed) + i % 3)]])
            who = f"p{rng.randint(0, 3)}"
            both(b.db, "identify", IDENTIFY, (b.num, f"{i:020d}", who, "", json.dumps(traits), array(removed)))
        assert b.db.one("SELECT count(*) FROM pugd.profiles") == "4"
        # all of them
        gone = b.db.one("SELECT array_agg(k) FROM pugd.profiles, jsonb_object_keys(properties) k "
                        "WHERE external_id = 'p0'")
        gone = gone[:-1] + "," + ",".join(f"z{k}" for k in range(64)) + "}" if gone else array(range(65))
        both(b.db, "identify", IDENTIFY, (b.num, "0" * 20, "p0", "", "{}", gone))
        assert b.db.one("SELECT properties FROM pugd.profiles WHERE external_id = 'p0'") == "{}"


if __name__ == "__main__":
    with pg.Postgres() as S:
        sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
