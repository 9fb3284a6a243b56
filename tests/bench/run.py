#!/usr/bin/env python3
"""`make bench`: how fast the release build is, as ratios within one run.

    ingestion   BatchCreate (Protobuf) against COPY of the same events, batch by batch,
                into a bare table of texts in the same PostgreSQL
    insights    trends over the demo events against SQL over a row table of the same
                events with the indexes that one would make, and with equal answers
    HTTP        GET /healthz on keep-alive connections

The sides of a ratio take turns, so that a slow moment of the machine hits both; the
ratio is the median of the turns' ratios. Absolute numbers only give the scale.
Everything stays on this host. `--quick` halves the turns.
"""
import argparse
import datetime
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST = "/activity.v1.ActivityService/List"
LOADER = os.path.join(pug.TOP, "build/test/bin/bench/bench_main")
UTC = datetime.timezone.utc
DEMO_EVENTS = 200000
KEYS = ["$pathname", "$hostname", "$country", "$city", "$browser", "$os", "$device", "$platform",
        "$utmSource", "$locale", "$referrerDomain", "plan", "amount"]
COLUMNS = ["event_id", "kind", "distinct_id", "session_id", "occur_time"] + \
    [k.lstrip("$").lower() for k in KEYS]


class Progress:
    """One line that is rewritten, on a terminal only."""

    def __init__(self, steps):
        self.steps, self.done, self.tty = steps, 0, sys.stderr.isatty()

    def step(self, text):
        self.done += 1
        if self.tty:
            print(f"\r\033[K[{self.done}/{self.steps}] {text}", end="", file=sys.stderr, flush=True)

    def note(self, text):
        """Within a step."""
        if self.tty:
            print(f"\r\033[K[{self.done}/{self.steps}] {text}", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.tty:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


# ---- ingestion -------------------------------------------------------------------------

def sample_event(i, now):
    """An event like those of the demo: ten short texts, a number here and there."""
    countries = ["US", "DE", "GB", "IN", "FR", "BR", "JP", "CA", "AU"]
    props = {"$pathname": ["/", "/features", "/pricing", "/docs", "/blog/hello"][i % 5],
             "$hostname": "shop.example", "$country": countries[i * 7 % 9], "$city": "Berlin",
             "$browser": ["Google Chrome", "Safari", "Firefox"][i % 3], "$os": "Windows", "$device": "Desktop",
             "$platform": "web", "$utmSource": ["", "google", "newsletter"][i % 3], "$locale": "en-US"}
    if i % 10 == 0:
        props |= {"plan": "pro", "amount": 12.5 + i}
    return {"event_id": str(uuid.UUID(int=(1 << 64) + i)), "kind": ["page_view", "feature_used", "purchase"][i % 3],
            "distinct_id": f"user-{i * 31 % 5000}", "session_id": str(uuid.UUID(int=i * 17 % 999 + 1)),
            "ms": now - i * 37 % 600000, "props": {k: v for k, v in props.items() if v != ""}}


def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def proto_event(e):
    out = field(1, e["event_id"])
    for k, v in e["props"].items():
        value = field(1, v) if isinstance(v, str) else b"\x19" + struct.pack("<d", v)
        out += field(2 if k.startswith("$") else 3, field(1, k) + field(2, value))
    when = b"\x08" + varint(e["ms"] // 1000) + b"\x10" + varint(e["ms"] % 1000 * 1000000)
    return out + field(4, e["distinct_id"]) + field(5, e["kind"]) + field(6, when) + field(7, e["session_id"])


def copy_line(e):
    when = datetime.datetime.fromtimestamp(e["ms"] / 1000, UTC).isoformat()
    values = [e["event_id"], e["kind"], e["distinct_id"], e["session_id"], when] + \
        [e["props"].get(k) for k in KEYS]
    return "\t".join(r"\N" if v is None else str(v).replace("\\", "\\\\") for v in values).encode() + b"\n"


def template(folder, name, data, ids):
    """A file for bench_main: where the ids are, and the bytes."""
    offsets = [data.index(i.encode()) for i in ids]
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(" ".join(map(str, [len(ids)] + offsets)).encode() + b"\n" + data)
    return path


def request(method, path, body=b"", **headers):
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n"
    for k, v in headers.items():
        head += f"{k.replace('_', '-')}: {v}\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n" if body else head + "\r\n").encode() + body


def load(how, target, clients, millis, path, statement=None):
    command = [LOADER, how, target, str(clients), str(millis), path] + ([statement] if statement else [])
    # a session of its own: the kernel shares CPUs out by session, and Python works in this one
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def ingestion(p, db, key, folder, turns, progress):
    """[(title, ratio, text)]"""
    statement = "COPY bench_copy FROM STDIN"
    db.query("CREATE TABLE bench_copy (" + ", ".join(f'"{c}" text' for c in COLUMNS) + ")")
    target, rows, sent = f"{p.host}:{p.port}", [], 0
    for clients in (1, 8):
        for size in (1, 10, 100, 1000):
            now = int(time.time() * 1000)
            events = [sample_event(i, now) for i in range(size)]
            ids = [e["event_id"] for e in events]
            body = b"".join(field(1, proto_event(e)) for e in events)
            ours = template(folder, "rpc", request("POST", BATCH, body, x_api_key=key,
                                                   content_type="application/proto"), ids)
            theirs = template(folder, "copy", b"".join(map(copy_line, events)), ids)
            db.query("CHECKPOINT")
            results = []
            for turn in range(turns):
                progress.step(f"ingestion: {clients} clients, {size} events a batch, turn {turn + 1}")
                a = load("http", target, clients, 700, ours)
                b = load("copy", p.info["database_url"], clients, 700, theirs, statement)
                sent += a["events"]
                results.append((a, b))
            db.query("TRUNCATE bench_copy")
            rate = [[x["events"] / x["seconds"] for x in side] for side in zip(*results)]
            ratio = statistics.median(a / b for a, b in zip(*rate))
            p50, p99 = (statistics.median(a[f] for a, _ in results) / 1000 for f in ("p50_us", "p99_us"))
            rows.append((f"{clients} x {size}", ratio, f"{statistics.median(rate[0]):9,.0f} "
                         f"{statistics.median(rate[1]):9,.0f} {p50:8.2f} {p99:8.2f}"))
    return rows, sent


# ---- insights --------------------------------------------------------------------------

def export_events(p, db, key, progress):
    """The demo events, page by page, into an indexed row table."""
    db.query("CREATE TABLE bench_row (" + ", ".join(f'"{c}" text' for c in COLUMNS) +
             "); ALTER TABLE bench_row ALTER occur_time TYPE timestamptz USING NULL, "
             "ALTER amount TYPE float8 USING NULL")
    conn, token, n = p.connect(), None, 0
    psql = subprocess.Popen(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", p.info["database_url"],
                             "-c", "COPY bench_row FROM STDIN"], stdin=subprocess.PIPE)
    while True:
        if n % 20000 == 0:
            progress.step(f"reading the demo events: {n}")
        got = p.ok(LIST, {"pageSize": 1000, **({"pageToken": token} if token else {})}, key=key, conn=conn)
        for e in got.get("events", []):
            props = {**e["autoProperties"], **e["customProperties"]}
            values = [e["eventId"], e["kind"], e["distinctId"], e["sessionId"], e["occurTime"]]
            values += [props.get(k) for k in KEYS]
            psql.stdin.write("\t".join(r"\N" if v is None else str(v) for v in values).encode() + b"\n")
            n += 1
        token = got.get("nextPageToken")
        if not token:
            break
    psql.stdin.close()
    assert psql.wait() == 0
    conn.close()
    db.query("CREATE INDEX ON bench_row (kind, occur_time); CREATE INDEX ON bench_row (distinct_id, occur_time)")
    db.query("CREATE TABLE bench_person AS SELECT a.alias_id AS id, a.profile_id AS person FROM pugd.aliases a "
             "UNION SELECT external_id, id FROM pugd.profiles WHERE external_id <> ''; "
             "CREATE UNIQUE INDEX ON bench_person (id)")
    db.query("VACUUM ANALYZE bench_row")
    db.query("VACUUM ANALYZE bench_person")
    return n


def trend_cases(start, end):
    """(title, spec, SQL with the columns of the flattened answer)"""
    window = f"occur_time >= '{start}' AND occur_time < '{end}'"
    day = "date_trunc('day', occur_time, 'UTC')"
    person = "LEFT JOIN bench_person p ON p.id = distinct_id"
    view = {"event": {"kind": "page_view"}}
    users = {**view, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}
    by = {"breakdowns": [{"property": "$country"}], "breakdownLimit": 100}
    chrome = {"event": {"kind": "page_view", "filters": [
        {"property": "$browser", "operator": "FILTER_OPERATOR_EQUALS", "value": "Google Chrome"}]}}
    amount = {"event": {"kind": "purchase"}, "aggregation": "AGGREGATION_TYPE_SUM",
              "aggregationProperty": "amount"}
    return [
        ("page views a day", {"events": [view]},
         f"SELECT '', {day}, count(*) FROM bench_row WHERE kind = 'page_view' AND {window} GROUP BY 2"),
        ("persons a day", {"events": [users]},
         f"SELECT '', {day}, count(DISTINCT coalesce(p.person, distinct_id)) FROM bench_row {person} "
         f"WHERE kind = 'page_view' AND {window} GROUP BY 2"),
        ("persons a day and country", {"events": [users], **by},
         f"SELECT coalesce(country, ''), {day}, count(DISTINCT coalesce(p.person, distinct_id)) "
         f"FROM bench_row {person} WHERE kind = 'page_view' AND {window} GROUP BY 1, 2"),
        ("page views in one browser", {"events": [chrome]},
         f"SELECT '', {day}, count(*) FROM bench_row WHERE kind = 'page_view' AND browser = 'Google Chrome' "
         f"AND {window} GROUP BY 2"),
        ("revenue a day", {"events": [amount]},
         f"SELECT '', {day}, sum(amount) FROM bench_row WHERE kind = 'purchase' AND {window} GROUP BY 2"),
        ("all kinds a day", {},
         f"SELECT kind, {day}, count(*) FROM bench_row WHERE {window} GROUP BY 1, 2"),
    ]


def answer_points(answer, by_kind):
    out = {}
    for s in answer["trends"].get("series", []):
        label = s["eventKind"] if by_kind else next(iter(s.get("breakdown", {}).values()), "")
        for point in s["points"]:
            out[label, point["time"][:10]] = point["value"]
    return out


def insights(p, db, key, turns, progress):
    n = export_events(p, db, key, progress)
    first, last = db.query("SELECT min(occur_time), max(occur_time) + interval '1 ms' FROM bench_row")[0]
    span = [datetime.datetime.fromisoformat(t.replace("+00", "+00:00")) for t in (first, last)]
    start, end = (t.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" for t in span)
    conn, rows = p.connect(), []
    for title, spec, sql in trend_cases(start, end):
        body = {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", **spec}, "granularity": "GRANULARITY_DAY",
                "timeRange": {"from": start, "to": end}}
        times = []
        for turn in range(turns + 1):
            progress.step(f"insights: {title}, turn {turn}")
            t0 = time.perf_counter()
            answer = p.ok(QUERY, body, key=key, conn=conn)
            t1 = time.perf_counter()
            table = db.query(sql)
            t2 = time.perf_counter()
            times.append((t1 - t0, t2 - t1))
        got = answer_points(answer, title == "all kinds a day")
        want = {(label, day[:10]): float(value) for label, day, value in table}
        assert got.keys() == want.keys() and all(abs(got[k] - want[k]) <= 1e-9 * abs(want[k]) for k in want), \
            f"{title}: the answers differ"
        times = times[1:]  # the first turn warms both
        ours, theirs = (statistics.median(side) * 1000 for side in zip(*times))
        rows.append((title, statistics.median(b / a for a, b in times), f"{ours:9.2f} {theirs:9.2f}"))
    conn.close()
    return rows, n


# ---- HTTP ------------------------------------------------------------------------------

def http(p, folder, progress):
    path = template(folder, "get", request("GET", "/healthz"), [])
    rows = []
    for clients in (1, 8, 64):
        progress.step(f"HTTP: {clients} connections")
        got = load("http", f"{p.host}:{p.port}", clients, 1500, path)
        rows.append((f"{clients} connections", got["requests"] / got["seconds"],
                     f"{got['p50_us'] / 1000:8.3f} {got['p99_us'] / 1000:8.3f}"))
    return rows


# ---- output ----------------------------------------------------------------------------

def table(title, head, rows, unit):
    """A table with a bar for each row's main number."""
    print(f"\n{title}\n{head}")
    most = max(value for _, value, _ in rows)
    for name, value, rest in rows:
        bar = "█" * max(1, round(value / most * 24))
        number = f"{value:9.2f}x" if unit == "x" else f"{value:10,.0f}"
        print(f"{name:28} {rest} {number} {bar}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="half the turns")
    quick = parser.parse_args().quick
    subprocess.run(["make", "-s", "-j2", "build/release/pugd", os.path.relpath(LOADER, pug.TOP)], cwd=pug.TOP,
                   check=True, stdout=subprocess.DEVNULL)
    turns = 2 if quick else 4
    progress = Progress(8 * turns + DEMO_EVENTS // 20000 + 6 * (2 * turns + 1) + 5)
    limits = ["limit_scale=100000", "access_log=no"]
    progress.step(f"starting with {DEMO_EVENTS} demo events")
    begin = time.monotonic()
    with pug.Pug("release", seed=DEMO_EVENTS, options=limits) as p, tempfile.TemporaryDirectory() as folder:
        with pg.connect(p.info["database_url"]) as db:
            key = p.info["private_key"]
            seeded = time.monotonic() - begin
            trends, n = insights(p, db, key, 2 * turns, progress)
            health = http(p, folder, progress)
            ingest, sent = ingestion(p, db, key, folder, turns, progress)
            version = db.one("show server_version")
        progress.clear()
    table(f"Trends over {n:,} events, ms (ratio: SQL / ours)",
          f"{'':28} {'ours':>9} {'SQL':>9} {'ratio':>10}", trends, "x")
    table(f"Ingestion, clients x events a batch (ratio: ours / COPY; {sent:,} events stored)",
          f"{'':28} {'events/s':>9} {'COPY/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'ratio':>10}", ingest, "x")
    table("GET /healthz", f"{'':28} {'p50 ms':>8} {'p99 ms':>8} {'req/s':>10}", health, "")
    print(f"\n{os.cpu_count()} CPUs, PostgreSQL {version}, started and seeded in {seeded:.1f} s, "
          f"{time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
