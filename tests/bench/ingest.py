#!/usr/bin/env python3
"""`make bench-ingest`: what an event costs, end to end, as ratios within one run.

    pugd     BatchCreate (Protobuf) over HTTP: acknowledged, durable, exactly once
    COPY     the ceiling: COPY BINARY of the same events into a bare table of texts
    INSERT   what most people build: INSERT ... ON CONFLICT DO NOTHING into rows of
             texts with three indexes (unique id; kind, time; user, time)

All three in the same PostgreSQL, in turns, with fresh UUIDv7s as SDKs make them, no
checkpoint in a timed part, `event_seen` filled with millions of ids before, and the rows
with the same number of events. Ratios are medians over the turns; absolute numbers only
give the scale. Everything stays on this host. `--quick`: fewer ids, shorter turns.
`--check`: exit 1 when a threshold is missed.
"""
import argparse
import glob
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402
import run as base  # noqa: E402
import tail as sealing  # noqa: E402

NAMES = ", ".join(f'"{c}"' for c in base.COLUMNS)
COPY = f"COPY bench_copy ({NAMES}) FROM STDIN (FORMAT binary)"
INSERT = (f"INSERT INTO bench_row ({NAMES}) SELECT * FROM unnest(" +
          ", ".join(f"${i + 1}::text[]" for i in range(len(base.COLUMNS))) + ") ON CONFLICT DO NOTHING")
TICK = os.sysconf("SC_CLK_TCK")
MATRIX = [(size, clients) for size in (1, 10, 100, 1000) for clients in (1, 8, 64)]


# ---- the same events for each side ----------------------------------------------------

def values(e):
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(e["ms"] / 1000)) + f".{e['ms'] % 1000:03}+00"
    got = [e["event_id"], e["kind"], e["distinct_id"], e["session_id"], when] + [e["props"].get(k) for k in base.KEYS]
    return [None if v is None else str(v) for v in got]


def copy_binary(events):
    out = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for e in events:
        row = values(e)
        out += struct.pack(">h", len(row))
        for v in row:
            out += struct.pack(">i", -1) if v is None else struct.pack(">i", len(v.encode())) + v.encode()
    return out + struct.pack(">h", -1)


def insert_params(events):
    columns = zip(*map(values, events))
    quote = lambda v: "NULL" if v is None else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return b"".join(("{" + ",".join(map(quote, c)) + "}").encode() + b"\0" for c in columns)


def json_size(events):
    """Bytes of an event as an SDK's JSON would say it."""
    return statistics.mean(len(json.dumps({
        "eventId": e["event_id"], "kind": e["kind"], "distinctId": e["distinct_id"], "sessionId": e["session_id"],
        "occurTime": values(e)[4], "properties": e["props"]}, separators=(",", ":"))) for e in events)


class Sides:
    """Templates for one size of batch, and one turn of each side."""

    def __init__(self, p, db, key, folder, size):
        events = [base.sample_event(i, int(time.time() * 1000)) for i in range(size)]
        ids = [e["event_id"] for e in events]
        body = b"".join(base.field(1, base.proto_event(e)) for e in events)
        call = base.request("POST", base.BATCH, body, x_api_key=key, content_type="application/proto")
        self.p, self.db = p, db
        self.json = json_size(events)
        self.how = {"pugd": ("http", f"{p.host}:{p.port}", base.template(folder, f"rpc{size}", call, ids)),
                    "COPY": ("copy", p.info["database_url"],
                             base.template(folder, f"copy{size}", copy_binary(events), ids), COPY),
                    "INSERT": ("insert", p.info["database_url"],
                               base.template(folder, f"insert{size}", insert_params(events), ids), INSERT)}

    def turn(self, side, clients, millis, rate=None, **env):
        how, target, path, *statement = self.how[side]
        command = [base.LOADER, how, target, str(clients), str(millis), path] + statement
        if rate:
            command.append(str(rate))
        before = self.wal(), cpu(self.p)
        done = subprocess.run(command, capture_output=True, text=True, timeout=millis / 1000 + 120,
                              env={**os.environ, **env}, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        got = json.loads(done.stdout)
        after = self.wal(), cpu(self.p)
        n = max(1, got["events"])
        got |= {"rate": got["events"] / got["seconds"], "wal": (after[0] - before[0]) / n,
                "pugd_us": (after[1][0] - before[1][0]) * 1e6 / n, "pg_us": (after[1][1] - before[1][1]) * 1e6 / n}
        return got

    def wal(self):
        return int(self.db.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))


def stat(pid):
    """(parent, name, seconds of CPU, and of children that ended) or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return None
    rest = text[text.rindex(")") + 2:].split()
    return int(rest[1]), text[text.index("(") + 1:text.rindex(")")], \
        (int(rest[11]) + int(rest[12])) / TICK, (int(rest[13]) + int(rest[14])) / TICK


def cpu(p):
    """Seconds of CPU of pugd's processes and of PostgreSQL's, ended ones included."""
    all_of = {int(d[6:]): s for d in glob.glob("/proc/[0-9]*") if (s := stat(int(d[6:])))}
    tree, ours, theirs = {p.child.pid}, 0.0, 0.0
    while True:
        more = {pid for pid, s in all_of.items() if s[0] in tree} - tree
        if not more:
            break
        tree |= more
    for pid in tree & all_of.keys():
        _, name, own, ended = all_of[pid]
        if name.startswith("postgres"):
            theirs += own + ended
        else:
            ours += own
    return ours, theirs


# ---- parts -----------------------------------------------------------------------------

# An id of the minutes before, as it would be there.
OLD_ID = ("(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 600000 + i / 10), 12, '0') || '7' || "
          "substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text || 'x'), 1, 15))::uuid")


def fill_rows(db, ids, progress):
    """The rows that those who INSERT have by then: of the events whose ids we remember."""
    progress.step(f"filling the rows of {ids:,} events")
    db.query("INSERT INTO bench_row (event_id, kind, distinct_id, session_id, occur_time, pathname, hostname, country, "
             "city, browser, os, device, platform, utmsource, locale) "
             f"SELECT {OLD_ID}, (ARRAY['page_view', 'feature_used', 'purchase'])[i % 3 + 1], "
             "'user-' || i::bigint * 31 % 5000, md5((i::bigint * 17 % 999)::text)::uuid, "
             "now() - (i % 600) * interval '1 second', '/features', 'shop.example', "
             "(ARRAY['US', 'DE', 'GB', 'IN'])[i % 4 + 1], 'Berlin', 'Firefox', 'Windows', 'Desktop', 'web', 'google', "
             f"'en-US' FROM generate_series(1, {ids}) i")


def prepare(p, db, ids, progress):
    sealing.base_settings(db)
    columns = ", ".join(f'"{c}" text' for c in base.COLUMNS)
    db.query(f"CREATE TABLE bench_copy ({columns})")
    db.query(f"CREATE TABLE bench_row ({columns})")
    fill_rows(db, ids, progress)
    db.query("CREATE UNIQUE INDEX ON bench_row (event_id); CREATE INDEX ON bench_row (kind, occur_time); "
             "CREATE INDEX ON bench_row (distinct_id, occur_time)")
    progress.step(f"filling event_seen with {ids:,} ids")
    db.query("INSERT INTO pugd.event_seen (project, day, event_id) "
             f"SELECT 1, (now() AT TIME ZONE 'UTC')::date, {OLD_ID} FROM generate_series(1, {ids}) i")
    db.query("VACUUM ANALYZE pugd.event_seen")


def checkpoint(url):
    with pg.connect(url) as db:
        db.query("CHECKPOINT")


def rounds(sides, sizes_clients, turns, millis, progress, which=("pugd", "COPY", "INSERT"), during=None, **env):
    """{(size, clients): {side: [turn]}}; `during` runs beside each turn."""
    out = {}
    for size, clients in sizes_clients:
        got = out[size, clients] = {side: [] for side in which}
        sides[size].db.query("CHECKPOINT")
        for turn in range(turns):
            for side in which:
                progress.step(f"{clients} clients x {size} events, {side}, turn {turn + 1}")
                beside = threading.Thread(target=during or (lambda: None))
                beside.start()
                got[side].append(sides[size].turn(side, clients, millis, **env))
                beside.join()
        sides[size].db.query("TRUNCATE bench_copy")
    return out


def med(turns, key):
    return statistics.median(t[key] for t in turns)


def ratio(got, key, a="pugd", b="COPY"):
    return statistics.median(x[key] / y[key] for x, y in zip(got[a], got[b]))


def stored(p, db):
    """(events, bytes) of everything that holds events; claims too."""
    size = db.one("SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relkind = 'r' "
                  "AND c.relnamespace = 'pugd'::regnamespace AND c.relname IN ('inbox', 'segment', 'segment_column')")
    live = db.one("SELECT coalesce(sum(stored), 0) FROM pugd.inbox")
    return int(live), int(size)


def duplicates(sides, clients, millis, turns, progress):
    """{percent: ratio of acknowledged events a second to none resent}"""
    side, out = sides[1000], {}
    for percent in (1, 50):
        pairs = []
        for turn in range(turns):
            progress.step(f"resent ids: {percent} %, turn {turn + 1}")
            with_them = side.turn("pugd", clients, millis, BENCH_RESEND=str(percent))
            without = side.turn("pugd", clients, millis)
            pairs.append(with_them["rate"] / without["rate"])
        out[percent] = statistics.median(pairs)
    return out


def print_matrix(got):
    print(f"\n{'batch x clients':18}{'events/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>8}{'+ PG us':>9}{'WAL B':>7}"
          f"{'COPY/s':>10}{'WAL B':>7}{'INSERT/s':>10}{'WAL B':>7}{'/ COPY':>8}{'/ INSERT':>9}")
    for (size, clients), g in got.items():
        a, b, c = g["pugd"], g["COPY"], g["INSERT"]
        r = ratio(g, "rate")
        print(f"{f'{size} x {clients}':18}{med(a, 'rate'):10,.0f}{med(a, 'p50_us') / 1000:9.2f}"
              f"{med(a, 'p99_us') / 1000:9.2f}{med(a, 'pugd_us'):8.1f}{med(a, 'pg_us'):9.1f}{med(a, 'wal'):7.0f}"
              f"{med(b, 'rate'):10,.0f}{med(b, 'wal'):7.0f}{med(c, 'rate'):10,.0f}{med(c, 'wal'):7.0f}"
              f"{r:7.2f}x{ratio(g, 'rate', 'pugd', 'INSERT'):8.2f}x {'█' * max(1, round(r * 12))}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer ids, shorter turns")
    parser.add_argument("--check", action="store_true", help="exit 1 when a threshold is missed")
    args = parser.parse_args()
    subprocess.run(["make", "-s", "-j2", "build/release/pugd", os.path.relpath(base.LOADER, pug.TOP)], cwd=pug.TOP,
                   check=True, stdout=subprocess.DEVNULL)
    ids, millis, turns = (200000, 500, 2) if args.quick else (5000000, 1500, 3)
    progress = base.Progress(len(MATRIX) * 3 * turns + 2 * 3 * turns + 2 * 3 * turns + 3 * turns * 2 + 4)
    begin = time.monotonic()
    with pug.Pug("release", options=["limit_scale=100000", "access_log=no"]) as p, \
            tempfile.TemporaryDirectory() as folder, pg.connect(p.info["database_url"]) as db:
        key = p.info["private_key"]
        prepare(p, db, ids, progress)
        sides = {size: Sides(p, db, key, folder, size) for size in (1, 10, 100, 1000)}
        matrix = rounds(sides, MATRIX, turns, millis, progress)
        four = rounds(sides, [(1000, 4)], 2 * turns, millis, progress)
        v4 = rounds(sides, [(1000, 4)], turns, millis, progress, BENCH_IDS="4")
        busy = rounds(sides, [(1000, 4)], turns, millis, progress, ("pugd", "COPY"),
                      lambda: checkpoint(p.info["database_url"]))
        again = duplicates(sides, 4, millis, turns, progress)
        events, size = stored(p, db)
        version = db.one("show server_version")
        rate = med(four[1000, 4]["pugd"], "rate")
        progress.step("70%")
        tail = sealing.tail(sides[1000], 0.7 * rate, 10 if args.quick else 120, progress)
    progress.step("drain")
    drain = sealing.drain(Sides, 3000 if args.quick else 10000, progress)
    progress.clear()
    print_matrix({**matrix, **four})
    main_turn, small = four[1000, 4], matrix[10, 64]
    rows = [
        ("R1  1000 x 4 / COPY", ratio(main_turn, "rate"), ">=", 0.4),
        ("    1000 x 4 / INSERT", ratio(main_turn, "rate", "pugd", "INSERT"), ">=", 2.0),
        ("    10 x 64 / COPY", ratio(small, "rate"), ">=", 1.0),
        ("    the same, UUIDv4 / COPY", ratio(v4[1000, 4], "rate"), "", 0),
        ("    with a checkpoint / COPY", ratio(busy[1000, 4], "rate"), "", 0),
        ("R2  WAL and sealing's / COPY", (med(main_turn["pugd"], "wal") + drain["wal"]) / med(main_turn["COPY"], "wal"),
         "<=", 1.3),
        ("R3  70 % of R1: of what was sent", tail["rate"] / (0.7 * rate), ">=", 0.98),
        ("    its tail, seconds", tail["most"] / tail["rate"], "<=", 10),
        ("    drained / R1", drain["rate"] / rate, ">=", 1.5),
        ("R6  stored bytes / JSON", size / max(1, events) / sides[1000].json, "", 0),
        ("R8  rate with 1 % resent", again[1], "", 0),
        ("    rate with 50 % resent", again[50], ">=", 0.8)]
    missed = 0
    print()
    for name, value, how, limit in rows:
        ok = how == "" or (value >= limit if how == ">=" else value <= limit)
        missed += not ok
        print(f"{name:34} {value:7.2f}  {f'{how} {limit}' if how else '':8} {'' if not how else 'ok' if ok else 'MISSED'}")
    print(f"\n70 % of R1: {tail['rate']:,.0f} events/s, p99 {tail['p99_us'] / 1000:.1f} ms, at most {tail['most']:,} events wait, "
          f"{tail['end']:,} at the end; WAL {tail['wal']:.0f} B per event, sealing included")
    print(f"sealing {drain['events']:,} events: {drain['rate']:,.0f} a second, {drain['cpu_us']:.1f} us of CPU and "
          f"{drain['wal']:.0f} B of WAL each; {drain['bytes']:.0f} B each when sealed, beside the claims")
    print(f"\n{events:,} events stored in {size / 1e6:,.0f} MB ({size / max(1, events):.0f} B each; as JSON "
          f"{sides[1000].json:.0f}); {ids:,} ids before; {os.cpu_count()} CPUs, PostgreSQL {version}, "
          f"{time.monotonic() - begin:.0f} s")
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
