"""Reads the query files of sql/query and the migrations of sql/schema.

The one parser of the block format described in sql/README.md; gen.py turns what
it returns into C, check.py into PREPAREs. It also refuses SQL that would leave
state on a pooled connection. Standard library only; output order = input order.
"""
import hashlib
import os
import re
import sys

# SQL type -> (OID, C kind of worker/db/db_types.h, C type of arguments, C type of row members)
TYPES = {
    "text": (25, "TEXT", "struct str", "struct str"),
    "bytea": (17, "TEXT", "struct str", "struct str"),
    "json": (114, "TEXT", "struct str", "struct str"),
    "jsonb": (3802, "JSONB", "struct str", "struct str"),
    "int2": (21, "INT2", "int32_t", "int32_t"),
    "int4": (23, "INT4", "int32_t", "int32_t"),
    "int8": (20, "INT8", "int64_t", "int64_t"),
    "float8": (701, "FLOAT8", "double", "double"),
    "bool": (16, "BOOL", "bool", "bool"),
    "timestamptz": (1184, "TIME", "int64_t", "int64_t"),
    "date": (1082, "DATE", "int32_t", "int32_t"),
    "uuid": (2950, "UUID", "const uint8_t *", "uint8_t"),
    "text[]": (1009, "TEXTS", "struct db_texts", "struct db_texts"),
    "bytea[]": (1001, "BYTEAS", "struct db_texts", "struct db_texts"),
    "int4[]": (1007, "INT4S", "struct db_int4s", "struct db_int4s"),
    "int8[]": (1016, "INT8S", "struct db_int8s", "struct db_int8s"),
    "float8[]": (1022, "FLOAT8S", "struct db_float8s", "struct db_float8s"),
    "bool[]": (1000, "BOOLS", "struct db_bools", "struct db_bools"),
    "date[]": (1182, "DATES", "struct db_int4s", "struct db_int4s"),
    "timestamptz[]": (1185, "TIMES", "struct db_int8s", "struct db_int8s"),
    "uuid[]": (2951, "UUIDS", "struct db_uuids", "struct db_uuids"),
}
STRINGS = {"text", "bytea", "json", "jsonb"}
LANES = {"fast": "LANE_FAST", "slow": "LANE_SLOW", "tx": "LANE_TX", "ingest": "LANE_INGEST"}
MODES = {":one", ":many", ":exec"}
MAX_PARAMS = 40  # = DB_PARAMS_MAX of worker/db/db_types.h
C_WORDS = set("""auto bool break case char const continue default do double else enum extern
    float for goto if inline int long register restrict return short signed sizeof static struct
    switch typedef union unsigned void volatile while""".split())

# What must not reach a pooled connection: (pattern on text without literals, why).
REFUSED = [
    (r"\bset\s+(?!local\b)(session\b|time\s+zone\b|\w+(\.\w+)?\s*(=|\bto\b))(?=.*)",
     "SET without LOCAL"),
    (r"\b(un)?listen\b", "LISTEN"),
    (r"\bcreate\s+(local\s+|global\s+)?temp(orary)?\b", "temporary tables"),
    (r"\binto\s+temp(orary)?\b", "temporary tables"),
    (r"\bpg_(try_)?advisory_(un)?lock(_shared|_all)?\s*\(", "session advisory locks"),
    (r"\bwith\s+hold\b", "WITH HOLD"),
    (r"^\s*(prepare|deallocate|discard|declare)\b", "statements about session state"),
    (r"^\s*(begin|commit|rollback|start)\b", "transaction control (db_begin does it)"),
]
WRITES = re.compile(r"\b(insert|update|delete|merge|truncate|create|drop|alter|call|lock)\b")


class Bad(Exception):
    """An error with its place, for the user."""


class Field:
    def __init__(self, where, text):
        m = re.fullmatch(r"([a-z_][a-z0-9_]*)\s+([a-z0-9_]+(?:\[\])?)(\?)?", text)
        if not m or m.group(2) not in TYPES:
            raise Bad(f"{where}: cannot read {text!r}; known types: {' '.join(TYPES)}")
        self.name, self.type, self.null = m.group(1), m.group(2), bool(m.group(3))
        if self.name in C_WORDS:
            raise Bad(f"{where}: {self.name!r} is a word of C")
        self.oid, self.kind, self.c_arg, self.c_row = TYPES[self.type]


class Query:
    def __init__(self, where, name, mode):
        self.where, self.name, self.mode = where, name, mode
        self.lane, self.params, self.columns = None, [], []
        self.unbounded = self.volatile = None  # the reason given, if any
        self.comment, self.lines, self.sql = [], [], ""

    @property
    def statement(self):
        return "q_" + hashlib.sha256(self.sql.encode()).hexdigest()[:24]

    @property
    def reads(self):
        """True when running it twice is harmless: then a lost connection is retried."""
        text = bare(self.sql)
        return not (WRITES.search(text) or re.search(r"\bfor\s+(update|no\s+key|share|key)", text)
                    or self.volatile)


def bare(sql):
    """Lower case, without comments and literals: for looking at keywords."""
    sql = re.sub(r"--[^\n]*", " ", sql)
    sql = re.sub(r"'(?:[^']|'')*'", "''", sql)
    return re.sub(r'"(?:[^"]|"")*"', '""', sql).lower()


def fields(where, text):
    return [Field(where, part.strip()) for part in text.split(",") if part.strip()]


def header(q, key, value):
    if key == "lane":
        if value not in LANES:
            raise Bad(f"{q.where}: unknown lane {value!r}")
        q.lane = value
    elif key == "params":
        q.params += fields(q.where, value)
    elif key == "columns":
        q.columns += fields(q.where, value)
    else:
        setattr(q, key, value or True)


def finish(q):
    q.sql = "\n".join(line.rstrip() for line in q.lines).strip().rstrip(";").strip()
    text = bare(q.sql)
    if not q.sql:
        raise Bad(f"{q.where}: no statement")
    if ";" in text:
        raise Bad(f"{q.where}: one statement per block")
    for pattern, why in REFUSED:
        if re.search(pattern, re.sub(r"\bupdate\b.*?\bset\b", "update", text, flags=re.S), re.S):
            raise Bad(f"{q.where}: refused on pooled connections: {why}")
    if q.mode == ":many" and not re.search(r"\b(limit|fetch\s+first)\b", text) and not q.unbounded:
        raise Bad(f"{q.where}: :many needs LIMIT (or '-- unbounded: reason')")
    q.lane = q.lane or ("fast" if q.reads else "tx")
    if q.lane == "fast" and not q.reads and not q.volatile:
        # It would make every sign-in behind it in the pipeline wait for its row lock.
        raise Bad(f"{q.where}: may wait for a row lock, so it cannot be on the fast lane")
    if (q.mode == ":exec") != (not q.columns):
        raise Bad(f"{q.where}: {q.mode} and '-- columns:' do not fit")
    used = {int(n) for n in re.findall(r"\$(\d+)", text)}
    if used != set(range(1, len(q.params) + 1)):
        raise Bad(f"{q.where}: {len(q.params)} params declared, used: {sorted(used)}")
    if len(q.params) > MAX_PARAMS:
        raise Bad(f"{q.where}: more than {MAX_PARAMS} params")
    for what in (q.params, q.columns):
        names = [f.name for f in what]
        if len(set(names)) != len(names):
            raise Bad(f"{q.where}: a name occurs twice")


def read_queries(path):
    queries, q = [], None
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            where = f"{path}:{number}"
            m = re.match(r"--\s*name:\s*(.*)", line)
            if m:
                head = re.fullmatch(r"([a-z][a-z0-9_]*)\s+(:\w+)\s*", m.group(1))
                if not head or head.group(2) not in MODES:
                    raise Bad(f"{where}: expected '-- name: some_name :one|:many|:exec'")
                q = Query(f"{where}: {head.group(1)}", head.group(1), head.group(2))
                queries.append(q)
                continue
            m = re.match(r"\s*--\s?(?:(lane|params|columns|unbounded|volatile):)?\s*(.*?)\s*$", line)
            if m and m.group(1):
                if not q:
                    raise Bad(f"{where}: '{m.group(1)}' before the first '-- name:'")
                header(q, m.group(1), m.group(2))
            elif m and q:
                if not q.lines:
                    q.comment.append(m.group(2))
            elif line.strip() and not m:
                if not q:
                    raise Bad(f"{where}: SQL before the first '-- name:'")
                q.lines.append(line)
    for q in queries:
        finish(q)
    return queries


def read_all(paths):
    queries = [q for path in sorted(paths) for q in read_queries(path)]
    seen = {}
    for q in queries:
        if q.name in seen:
            raise Bad(f"{q.where}: also at {seen[q.name]}")
        seen[q.name] = q.where
    return queries


def read_migrations(paths):
    """[(number, name, text, sha256 hex)], in order of their numbers."""
    rows = []
    for path in paths:
        m = re.fullmatch(r"(\d{3})_([a-z0-9_]+)\.sql", os.path.basename(path))
        if not m:
            raise Bad(f"{path}: expected NNN_name.sql")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        rows.append((int(m.group(1)), m.group(2), text, hashlib.sha256(text.encode()).hexdigest()))
    rows.sort()
    for a, b in zip(rows, rows[1:]):
        if a[0] == b[0]:
            raise Bad(f"migration {a[0]:03d} exists twice: {a[1]}, {b[1]}")
    return rows


def main(run):
    """run(argv) with errors as one line each."""
    try:
        return run(sys.argv[1:])
    except Bad as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
