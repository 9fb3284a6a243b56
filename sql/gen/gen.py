"""gen.py queries OUT.h OUT.c FILE.sql...   typed C functions from sql/query
gen.py migrations OUT.c FILE.sql...          sql/schema as a table in C

Deterministic: the same input gives the same bytes. The functions themselves are
one line each; worker/db/run.c does the work from the field tables made here.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sqlfile  # noqa: E402
from sqlfile import Bad, LANES, STRINGS  # noqa: E402

NOTICE = "/* Made by sql/gen/gen.py; do not edit. */\n"


def literal(text):
    """C string literal, one line of source per line of text."""
    out = []
    for line in text.split("\n"):
        esc = line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("?", "\\?")
        out.append('"' + esc + '\\n"')
    out[-1] = out[-1][:-3] + '"'
    return "\n\t\t".join(out)


def arg_member(f):
    if f.type in STRINGS or f.type.endswith("[]"):
        return f"{f.c_arg} {f.name};" + (" /* may be NULL */" if f.null else "")
    if f.type == "uuid":
        return f"const uint8_t *{f.name}; /* 16 bytes{', or NULL' if f.null else ''} */"
    return f"const {f.c_arg} *{f.name}; /* may be NULL */" if f.null else f"{f.c_arg} {f.name};"


def row_members(f):
    if f.type == "uuid":
        lines = [f"uint8_t {f.name}[16];"]
    else:
        lines = [f"{f.c_row} {f.name};" + (" /* p may be NULL */" if f.null and f.type in STRINGS else "")]
    if f.null and f.type not in STRINGS:
        lines.append(f"bool {f.name}_null;")
    return lines


def prototype(q):
    text = f"int q_{q.name}(struct db *db"
    if q.params:
        text += f", const struct q_{q.name}_args *args"
    if q.mode == ":one":
        text += f", struct q_{q.name}_row *out"
    if q.mode == ":many":
        text += f", struct q_{q.name}_row **rows"
    return text + ")"


def struct(name, lines):
    return f"struct {name} {{\n" + "".join(f"\t{line}\n" for line in lines) + "};\n"


def header(queries):
    out = [NOTICE, "#ifndef GEN_Q_H\n#define GEN_Q_H\n\n", '#include "worker/db/db.h"\n',
           '#include "worker/db/db_types.h"\n']
    for q in queries:
        where = os.path.basename(q.where.split(":")[0])
        out.append(f"\n/* {where} {q.mode}" + "".join(f"\n * {c}" for c in q.comment if c).replace("*/", "* /")
                   + " */\n")
        if q.params:
            out.append(struct(f"q_{q.name}_args", [arg_member(f) for f in q.params]))
        if q.columns:
            out.append(struct(f"q_{q.name}_row", [m for f in q.columns for m in row_members(f)]))
        out.append(prototype(q) + ";\n")
    out.append("\n#endif\n")
    return "".join(out)


def field_rows(q, what, struct_name, is_row):
    rows = []
    for f in what:
        has_flag = is_row and f.null and f.type not in STRINGS
        flag = f"offsetof(struct {struct_name}, {f.name}_null)" if has_flag else "0"
        rows.append(f'\t{{"{f.name}", DB_T_{f.kind}, {str(f.null).lower()}, '
                    f"offsetof(struct {struct_name}, {f.name}), {flag}}},\n")
    return "".join(rows)


def definition(number, q):
    out, n = [], q.name
    if q.params:
        out.append(f"static const struct db_field params_{n}[] = {{\n"
                   + field_rows(q, q.params, f"q_{n}_args", False) + "};\n")
        out.append(f"static const unsigned oids_{n}[] = {{{', '.join(str(f.oid) for f in q.params)}}};\n")
    if q.columns:
        out.append(f"static const struct db_field columns_{n}[] = {{\n"
                   + field_rows(q, q.columns, f"q_{n}_row", True) + "};\n")
    out.append(f"static const struct query query_{n} = {{\n"
               f'\t.label = "{n}", .name = "{q.statement}", .id = {number},\n'
               f"\t.lane = {LANES[q.lane]}, .reads = {str(q.reads).lower()},\n")
    if q.params:
        out.append(f"\t.params = params_{n}, .param_types = oids_{n}, .n_params = {len(q.params)},\n")
    if q.columns:
        out.append(f"\t.columns = columns_{n}, .n_columns = {len(q.columns)},\n"
                   f"\t.row_size = sizeof(struct q_{n}_row),\n")
    out.append(f"\t.sql = {literal(q.sql)},\n}};\n\n{prototype(q)}\n{{\n")
    args = "args" if q.params else "NULL"
    call = {":one": f"db_run_one(db, &query_{n}, {args}, out)",
            ":many": f"db_run_many(db, &query_{n}, {args}, (void *)rows)",
            ":exec": f"db_run_exec(db, &query_{n}, {args})"}[q.mode]
    out.append(f"\treturn {call};\n}}\n\n")
    return "".join(out)


def source(queries):
    return (NOTICE + '#include <stddef.h>\n#include "q.h"\n#include "worker/db/run.h"\n\n'
            + "".join(definition(i, q) for i, q in enumerate(queries, 1)))


def migrations_source(rows):
    out = [NOTICE, '#include <stddef.h>\n#include "worker/db/migrate.h"\n\n',
           "const struct migration migrations[] = {\n"]
    for number, name, text, digest in rows:
        # One literal per statement line keeps compilers happy with long texts.
        out.append(f'\t{{{number}, "{name}", "{digest}",\n\t\t{literal(text)}}},\n')
    out.append(f"\t{{0, NULL, NULL, NULL}},\n}};\nconst int migrations_n = {len(rows)};\n")
    return "".join(out)


def write(path, text):
    """Leaves an unchanged file alone, so that nothing is compiled again for it."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            if f.read() == text:
                return
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def run(argv):
    if len(argv) >= 3 and argv[0] == "queries":
        queries = sqlfile.read_all(argv[3:])
        write(argv[1], header(queries))
        write(argv[2], source(queries))
    elif len(argv) >= 2 and argv[0] == "migrations":
        write(argv[1], migrations_source(sqlfile.read_migrations(argv[2:])))
    else:
        raise Bad(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(sqlfile.main(run))
