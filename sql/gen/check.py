"""check.py [SCHEMA_DIR QUERY_DIR]   make sql-check

Starts a scratch PostgreSQL, applies the migrations, has the server parse every
query and compares the types it reports with the '-- params' and '-- columns' that
the C structs were made from. The search path is empty, so a name without its
schema fails too. Prints every mismatch as file:line: name: what; exit 1 if any.
"""
import glob
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "harness")]
import pg  # noqa: E402
import sqlfile  # noqa: E402

NAMES = {row[0]: name for name, row in sqlfile.TYPES.items()}
# Same bytes on the wire, so either may be declared.
ALIKE = {1043: 25, 1042: 25, 19: 25}


def name_of(oid):
    return NAMES.get(oid, f"type {oid}")


def nullable(db):
    """{(table OID, column number)} of columns that may hold NULL."""
    rows = db.query("SELECT attrelid::int8, attnum FROM pg_attribute WHERE attnum > 0 AND NOT attnotnull")
    return {(int(table), int(column)) for table, column in rows}


def check(db, q, may_be_null):
    """Complaints about one query."""
    try:
        params, columns = db.describe(q.sql, [f.oid for f in q.params])
    except pg.DbError as e:
        return [str(e)]
    bad = [f"param {f.name} is {f.type}, the server wants {name_of(oid)}"
           for f, oid in zip(q.params, params) if f.oid != oid]
    if q.mode == ":exec":
        return bad
    if len(columns) != len(q.columns):
        return bad + [f"{len(q.columns)} columns declared, the server returns {len(columns)}"]
    for f, (_, oid, table, number) in zip(q.columns, columns):
        if ALIKE.get(oid, oid) != f.oid:
            bad.append(f"column {f.name} is {f.type}, the server returns {name_of(oid)}")
        if table and not f.null and (table, number) in may_be_null:
            bad.append(f"column {f.name} may be NULL: declare it '{f.type}?'")
    return bad


def run(argv):
    schema, query = argv if len(argv) == 2 else (f"{ROOT}/sql/schema", f"{ROOT}/sql/query")
    queries = sqlfile.read_all(glob.glob(f"{query}/*.sql"))
    migrations = sqlfile.read_migrations(glob.glob(f"{schema}/[0-9]*.sql"))
    bad = []
    with pg.Postgres() as server, pg.connect(server.createdb("check")) as db:
        by_name = {q.name: q for q in queries}
        for name in ("migrations_schema", "migrations_table"):
            db.query(by_name[name].sql)
        for number, name, text, _ in migrations:
            try:
                db.query(f"BEGIN; {text}\n; COMMIT")
            except pg.DbError as e:
                raise sqlfile.Bad(f"{schema}/{number:03d}_{name}.sql: {e}") from None
        db.query("SET search_path = ''")
        may_be_null = nullable(db)
        for q in queries:
            bad += [f"{q.where}: {text}" for text in check(db, q, may_be_null)]
    for line in bad:
        print(line, file=sys.stderr)
    print(f"sql-check: {len(migrations)} migrations, {len(queries)} queries, {len(bad)} mismatches")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(sqlfile.main(run))
