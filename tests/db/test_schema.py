"""Migrations by the real binary, what the SQL generator refuses, and what sql-check finds."""
import glob
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402

sys.path.insert(0, os.path.join(pug.TOP, "sql", "gen"))
import check  # noqa: E402
import sqlfile  # noqa: E402

FILES = sorted(glob.glob(os.path.join(pug.TOP, "sql", "schema", "[0-9]*.sql")))


def migrate(variant, url, *more, start=False):
    command = [os.path.join(pug.TOP, "build", variant, "pugd"), "migrate", "--database", url, *more]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if start:
        return child
    text = child.communicate(timeout=60)[0]
    return child.returncode, text


def test_migrate_twice(variant):
    url = S.createdb()
    assert migrate(variant, url, "--check")[0] == 1
    code, text = migrate(variant, url)
    assert code == 0, text
    assert migrate(variant, url)[0] == 0
    assert migrate(variant, url, "--check") == (0, "the schema is up to date\n")
    with pg.connect(url) as db:
        assert db.one("SELECT count(*) FROM pugd.migrations") == str(len(FILES))
        assert db.one("SELECT epoch FROM pugd.key_epoch") == "1"


def test_many_at_once(variant):
    url = S.createdb()
    children = [migrate(variant, url, start=True) for _ in range(4)]
    for child in children:
        text = child.communicate(timeout=60)[0]
        assert child.returncode == 0, text
    with pg.connect(url) as db:
        assert db.one("SELECT count(*) FROM pugd.migrations") == str(len(FILES))


def test_a_changed_file_is_refused(variant):
    url = S.createdb()
    assert migrate(variant, url)[0] == 0
    with pg.connect(url) as db:
        db.query("UPDATE pugd.migrations SET sha256 = 'x' WHERE number = 1")
    code, text = migrate(variant, url)
    assert code == 1 and "differs" in text, text


def test_a_newer_database_is_left_alone(variant):
    url = S.createdb()
    assert migrate(variant, url)[0] == 0
    with pg.connect(url) as db:
        db.query("INSERT INTO pugd.migrations (number, name, sha256) VALUES (900, 'later', 'x')")
    code, text = migrate(variant, url)
    assert code == 0 and "newer" in text, text


def test_an_interrupted_run_goes_on(variant):
    url = S.createdb()
    with pg.connect(url) as db:
        # the second file fails once, whatever it holds
        db.query("CREATE SCHEMA pugd; CREATE TABLE pugd.event_seen (x int)")
    code, text = migrate(variant, url)
    assert code == 1, text
    with pg.connect(url) as db:
        assert db.one("SELECT count(*) FROM pugd.migrations") == "1"
        db.query("DROP TABLE pugd.event_seen")
    assert migrate(variant, url)[0] == 0


def test_through_a_transaction_pooler(variant):
    url = S.createdb()
    with pg.PgBouncer(S, db=url.split("?")[0].rpartition("/")[2]) as bouncer:
        code, text = migrate(variant, bouncer.url())
        assert code == 0, text


def refused(text):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as f:
        f.write(text)
        f.flush()
        try:
            sqlfile.read_queries(f.name)
            return ""
        except sqlfile.Bad as e:
            return str(e)


HEAD = "-- name: a :exec\n"
REFUSED = {
    "SET search_path = x": "SET without LOCAL",
    "SET TIME ZONE 'UTC'": "SET without LOCAL",
    "LISTEN x": "LISTEN",
    "CREATE TEMP TABLE x (a int)": "temporary",
    "SELECT pg_advisory_lock(1)": "advisory",
    "SELECT pg_try_advisory_lock(1)": "advisory",
    "DECLARE x CURSOR WITH HOLD FOR SELECT 1": "HOLD",
    "PREPARE x AS SELECT 1": "session state",
    "BEGIN": "transaction control",
    "SELECT 1; SELECT 2": "one statement",
    "SELECT $2::int": "params",
}


def test_what_the_generator_refuses(_):
    for sql, why in REFUSED.items():
        assert why in refused(HEAD + sql), (sql, refused(HEAD + sql))
    assert "LIMIT" in refused("-- name: a :many\n-- columns: x int4\nSELECT 1")
    assert "before the first" in refused("SELECT 1")
    assert "do not fit" in refused("-- name: a :one\nSELECT 1")
    assert "row lock" in refused("-- name: a :exec\n-- lane: fast\nDELETE FROM pugd.orgs")
    assert "known types" in refused("-- name: a :exec\n-- params: x numeric\nSELECT $1")
    assert "word of C" in refused("-- name: a :exec\n-- params: int int4\nSELECT $1")
    fine = ["UPDATE pugd.orgs SET display_name = ''", "SELECT pg_advisory_xact_lock(1)",
            "SELECT 'SET x = 1; LISTEN'", "SET LOCAL lock_timeout = 1"]
    for sql in fine:
        assert refused(HEAD + sql) == "", refused(HEAD + sql)


def test_what_sql_check_finds(_):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/x.sql", "w", encoding="utf-8") as f:
            f.write("""
-- name: wrong_type :one
-- columns: a int4
SELECT 1::int8
-- name: wrong_null :one
-- columns: a timestamptz
SELECT deleted_at FROM pugd.projects
-- name: wrong_count :one
-- columns: a int4
SELECT 1, 2
-- name: wrong_param :exec
-- params: a int4
SELECT FROM pugd.orgs WHERE id = $1
-- name: unqualified :exec
SELECT FROM orgs
-- name: fine :one
-- columns: a timestamptz?
SELECT deleted_at FROM pugd.projects
""")
        queries = sqlfile.read_all([f"{folder}/x.sql"])
    url = S.createdb()
    with pg.connect(url) as db:
        db.query("CREATE SCHEMA pugd")
        with open(FILES[0], encoding="utf-8") as f:
            db.query(f.read())
        db.query("SET search_path = ''")
        may = check.nullable(db)
        found = {q.name: check.check(db, q, may) for q in queries}
    assert found.pop("fine") == []
    for name, bad in found.items():
        assert len(bad) == 1, (name, bad)


if __name__ == "__main__":
    with pg.Postgres() as S:
        sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
