#!/usr/bin/env python3
"""`make bench-insights`: every insight against the best SQL over indexed rows of the same
events (R5) and against a plain C scan of the same columns in memory (R4), with equal answers.

    insights  each type over the whole window: cold (after a restart), warm, in turns
    beside    8 dashboards of 12 tiles while events come in and people sign in; then the
              insights themselves: what ingestion and sign-ins feel of it (beside.py)

Ratios are medians over the turns of one run; absolute times only give the scale. Everything
stays on this host. `--quick`: 200 000 events, in under a minute. `--check`: exit 1 when a
threshold is missed. `--data DIR` keeps what was loaded for the next run.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import beside  # noqa: E402
import insight_cases  # noqa: E402
import insight_data  # noqa: E402
import pug  # noqa: E402
import run as base  # noqa: E402

SLOW_SQL, TIMES, ALL, QUICK, SCAN = 0.200, 20, 0.500, 0.050, 3.0
PROGRAMS = [os.path.relpath(p, pug.TOP) for p in (insight_data.MAIN, base.LOADER)]


class Result:
    """What one case took, in seconds, by side and turn."""

    def __init__(self, case):
        self.case, self.cold = case, {}
        self.ours, self.sql, self.scan = [], [], []
        self.matched = self.bytes = 0
        self.cpu = {}      # ours, SQL, scan; seconds a query: what other work on the host hardly changes
        self.refused = ""  # why pugd has no answer

    def median(self, side):
        return statistics.median(getattr(self, side))

    def ratio(self, a, b):
        """Of side a over side b, turn by turn."""
        return statistics.median(x / y for x, y in zip(getattr(self, a), getattr(self, b)))


# ---- the insights ------------------------------------------------------------------------

def agree(case, answer, rows, scanned):
    """The three answers, or an error that says where they differ."""
    ours, sql, scan = case.read(answer), case.expect(rows), case.expect(scanned)
    for name, other in (("SQL", sql), ("the plain scan", scan)):
        if not insight_cases.same(ours, other):
            odd = [k for k in sorted(ours.keys() | other.keys(), key=str) if ours.get(k) != other.get(k)]
            raise AssertionError(f"{case.name}: pugd and {name} differ, for instance at " + ", ".join(
                f"{k}: {ours.get(k)} and {other.get(k)}" for k in odd[:3]))


def best_sql(data, case):
    """The quickest way to ask, among those listed, with and without JIT; and the rows."""
    best = rows = None
    for text in case.sql:
        for jit in ("off", "on"):
            data.db.query(f"SET jit = {jit}")
            took, rows = data.sql(text)
            if best is None:
                took, rows = data.sql(text)  # the first one had to read the disk
            if best is None or took < best[0]:
                best = (took, text, jit)
    data.db.query(f"SET jit = {best[2]}")
    return best[1], rows


def warm(data, case, result, turns, say):
    say(f"{case.title}: warming up")
    text, rows = best_sql(data, case)
    _, scanned, result.matched, _ = data.plain(case.name)
    sides = [("sql", lambda: data.sql(text)), ("scan", lambda: data.plain(case.name))]
    try:
        before = data.bytes_read()
        answer = data.ours(case)[1]
        result.bytes = data.bytes_read() - before
        agree(case, answer, rows, scanned)
        sides.append(("ours", lambda: data.ours(case)))
    except insight_data.Refused as error:
        result.refused = str(error)
    for turn in range(turns):
        say(f"{case.title}: turn {turn + 1}")
        at = turn % len(sides)
        for name, ask in sides[at:] + sides[:at]:
            before = data.cpu()
            got = ask()
            getattr(result, name).append(got[0])
            cpu = got[3] if name == "scan" else data.cpu() - before
            result.cpu[name] = result.cpu.get(name, 0) + cpu / turns


def cold(data, results, say):
    """Each side's first query after a restart of pugd and PostgreSQL, their files not cached."""
    for r in results:
        say(f"{r.case.title}: cold")
        if r.refused:
            continue
        data.restart(cold=True)
        r.cold["ours"] = data.ours(r.case)[0]
        r.cold["sql"] = data.sql(r.case.sql[-1])[0]


def told(r):
    """A line for each case when it is done: the whole may take long."""
    ours = r.refused or f"{r.median('ours') * 1000:.1f} ms"
    clear = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{clear}{r.case.title}: {ours}, SQL {r.median('sql') * 1000:.1f} ms, C scan {r.median('scan') * 1000:.1f} ms",
          file=sys.stderr, flush=True)


def insights(data, args, say):
    results = []
    for case in insight_cases.cases(data.frame):
        if args.only and args.only not in case.name:
            continue
        results.append(Result(case))
        warm(data, case, results[-1], args.turns, say)
        told(results[-1])
    if not args.no_cold:
        cold(data, results, say)
    return results


# ---- output ------------------------------------------------------------------------------

def bar(seconds, scale, width=30):
    """Logarithmic: a tenth of the width is a factor of 2.5."""
    steps = 0
    while seconds > scale and steps < width:
        seconds, steps = seconds / 1.357, steps + 1
    return "█" * max(1, steps)


def print_table(results):
    print(f"\n{'warm, median, ms':30}{'ours':>9}{'SQL':>9}{'C scan':>9}{'R5':>8}{'R4':>7}{'rows/s':>9}{'MB read':>9}"
          f"{'cold':>9}{'SQL cold':>10}")
    for r in results:
        if r.refused:
            print(f"{r.case.title:30}{'-':>9}{r.median('sql') * 1000:9.1f}{r.median('scan') * 1000:9.1f}   {r.refused}")
            continue
        ours = r.median("ours")
        cold_ms = [f"{r.cold[s] * 1000:.1f}" if r.cold else "" for s in ("ours", "sql")]
        print(f"{r.case.title:30}{ours * 1000:9.1f}{r.median('sql') * 1000:9.1f}{r.median('scan') * 1000:9.1f}"
              f"{r.ratio('sql', 'ours'):7.1f}x{r.ratio('ours', 'scan'):6.1f}x{r.matched / ours / 1e6:8.1f}M"
              f"{r.bytes / 1e6:9.1f}{cold_ms[0]:>9}{cold_ms[1]:>10}")


def print_cpu(results):
    """Of all processes: a slow moment of the host does not change it."""
    print(f"\n{'CPU a query, ms':30}{'ours':>9}{'SQL':>9}{'C scan':>9}{'SQL/ours':>10}{'ours/scan':>10}")
    for r in results:
        ours, sql, scan = (r.cpu.get(side, 0) * 1000 for side in ("ours", "sql", "scan"))
        ratios = f"{sql / ours:9.1f}x{ours / scan:9.1f}x" if ours and scan else ""
        print(f"{r.case.title:30}{ours:9.1f}{sql:9.1f}{scan:9.1f}{ratios}")


def print_chart(results):
    results = [r for r in results if not r.refused]
    scale = min((min(r.median(s) for s in ("ours", "scan")) for r in results), default=1)
    print("\nlogarithmic: █ is a factor of 1.36")
    for r in results:
        for name, side in (("ours", "ours"), ("SQL", "sql"), ("C scan", "scan")):
            print(f"{r.case.title if side == 'ours' else '':30}{name:7} {bar(r.median(side), scale)} "
                  f"{r.median(side) * 1000:.1f}")


def thresholds(results):
    """[(what, value, unit, limit, whether it is met)]"""
    rows = []
    for r in results:
        title = r.case.title
        if r.refused:
            rows.append((f"   {title}", 0, "", "an answer", False))
            continue
        ours = r.median("ours")
        if r.median("sql") >= SLOW_SQL:
            ratio = r.ratio("sql", "ours")
            rows.append((f"R5 {title}", ratio, "x", f">= {TIMES}", ratio >= TIMES))
        if r.case.selective:
            ratio = r.ratio("ours", "scan")
            rows.append((f"R4 {title}", ratio, "x", f"<= {SCAN:.0f}", ratio <= SCAN))
        limit = QUICK if r.case.quick else ALL
        rows.append((f"   {title}", ours * 1000, "ms", f"<= {limit * 1000:.0f}", ours <= limit))
    return rows


def print_thresholds(rows):
    print(f"\n{'threshold':44}{'value':>10}    {'limit':>10}")
    for what, value, unit, limit, ok in rows:
        print(f"{what:44}{value:10.1f} {unit:2} {limit:>10}  {'ok' if ok else 'MISSED'}")
    missed = sum(not ok for *_, ok in rows)
    print(f"{len(rows) - missed} of {len(rows)} thresholds met")
    return missed


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--events", type=int, default=0, help="10 million")
    p.add_argument("--persons", type=int, default=0, help="a fiftieth of the events")
    p.add_argument("--days", type=int, default=90)
    p.add_argument("--turns", type=int, default=0, help="5")
    p.add_argument("--quick", action="store_true", help="200 000 events, 3 turns, no cold part, short pairs")
    p.add_argument("--part", choices=["all", "insights", "beside"], default="all")
    p.add_argument("--only", default="", help="insights whose name has this")
    p.add_argument("--no-cold", action="store_true", help="without restarts")
    p.add_argument("--data", help="folder that keeps the loaded database")
    p.add_argument("--check", action="store_true", help="exit 1 when a threshold is missed")
    args = p.parse_args()
    args.events = args.events or (200000 if args.quick else 10000000)
    args.persons = args.persons or max(1000, args.events // 50)
    args.turns = args.turns or (3 if args.quick else 5)
    args.no_cold |= args.quick
    return args


def say(text):
    """What it is at, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    args = arguments()
    subprocess.run(["make", "-s", "-j2", "build/release/pugd", *PROGRAMS], cwd=pug.TOP, check=True,
                   stdout=subprocess.DEVNULL)
    begin, results, rows = time.monotonic(), [], []
    with insight_data.Data(args.events, args.persons, args.days, args.data) as data:
        sizes, version = data.sizes(), data.db.one("show server_version")
        if args.part != "beside":
            results = insights(data, args, say)
        if args.part != "insights":
            rows = beside.run(data, args.quick, say)
    say("")
    shape = data.shape
    if results:
        print_table(results)
        print_cpu(results)
        print_chart(results)
    missed = print_thresholds(thresholds(results) + rows)
    print(f"\n{shape['events']:,} events, {shape['persons']:,} persons, {data.sessions:,} sessions, {shape['days']} days; "
          f"{os.cpu_count()} CPUs, PostgreSQL {version}\nstored: ours {int(sizes[0]) / shape['events']:.0f} bytes an event in "
          f"{sizes[2]} segments, rows with indexes {int(sizes[1]) / shape['events']:.0f}; {time.monotonic() - begin:.0f} s in all")
    if not args.no_cold and results:
        print("cold: after a restart, with the database's files dropped from the OS cache")
    sys.exit(1 if args.check and missed else 0)


if __name__ == "__main__":
    main()
