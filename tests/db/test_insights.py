"""Trends and segmentation against a naive model: random events, people, zones and
questions; brute force over all events, straight from decisions D25, D30, D31, D70-D74.
Cookieless ids are not among them: clients may not send such (tests/unit/test_trends.c)."""
import datetime
import math
import os
import random
import re
import sys
import uuid
import zoneinfo

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pug  # noqa: E402
from test_ingest import BATCH, QUERY, account  # noqa: E402

ZONES = ["", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
START = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
HOURS = 24 * 50  # both hemispheres change their clocks in it
UNITS = {"MINUTE": 6, "HOUR": 336, "DAY": 1200, "WEEK": 1200, "MONTH": 1200}
AGGS = ["TOTAL", "UNIQUE_USERS", "PER_USER_AVG", "SUM", "AVG", "MIN", "MAX"]
VALUES = [5, 2.5, 7, -3, 0.1, "7", "1e3", " 7", "abc", "", "0x10", "gold", "gold%", True, False, None]
NUMBERS = {2.5: "2.5", 0.1: "0.1"}


def text(v):
    if v is None:
        return ""
    if isinstance(v, bool):
        return "true" if v else "false"
    return NUMBERS.get(v, str(v))


def number(v):
    if v is None or isinstance(v, bool):
        return None
    if isinstance(v, str):
        return float(v) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", v) else None
    return float(v)


def holds(f, v):
    op, t, n = f["operator"][len("FILTER_OPERATOR_"):], text(v), number(v)
    value, values = f.get("value", ""), f.get("values", [])
    if op in ("LT", "LTE", "GT", "GTE"):
        return n is not None and {"LT": n < float(value), "LTE": n <= float(value),
                                  "GT": n > float(value), "GTE": n >= float(value)}[op]
    if op in ("BETWEEN", "NOT_BETWEEN"):
        return n is not None and (float(values[0]) <= n <= float(values[1])) == (op == "BETWEEN")
    return {"EQUALS": t == value, "NOT_EQUALS": t != value, "CONTAINS": value in t,
            "NOT_CONTAINS": value not in t, "IS_SET": t != "", "IS_NOT_SET": t == "",
            "IN": t in values, "NOT_IN": t not in values}[op]


class World:
    """The events of one project, and who is who."""

    def __init__(self, p, zone, rnd):
        _, _, self.key, self.num = account(p)
        self.zone = zoneinfo.ZoneInfo(zone or "UTC")
        self.starts = {}
        p.psql(f"UPDATE pugd.projects SET reporting_timezone = '{zone}' WHERE num = {self.num}")
        self.profiles = {f"0000000000000000000{c}": {"plan": rnd.choice(VALUES[:-1])} for c in "abc"}
        self.person, rows = {}, []
        for i, (pid, traits) in enumerate(self.profiles.items()):
            self.person.update({pid: pid, f"ext{i}": pid, f"anon{i}": pid})
            plan = traits["plan"]
            json = f'"{plan}"' if isinstance(plan, str) else text(plan)
            rows.append(f"""INSERT INTO pugd.profiles (project, id, external_id, properties) VALUES
                ({self.num}, '{pid}', 'ext{i}', '{{"plan": {json}}}');
                INSERT INTO pugd.aliases (project, alias_id, profile_id) VALUES ({self.num}, 'anon{i}', '{pid}')""")
        p.psql(";".join(rows))
        ids = list(self.person) + ["x", "y", "z"]
        self.events = [self.event(rnd, ids) for _ in range(220)]
        for i in range(0, len(self.events), 37):
            p.ok(BATCH, {"events": [self.message(e) for e in self.events[i:i + 37]]}, key=self.key)

    @staticmethod
    def event(rnd, ids):
        # many events in one hour and on one day, so that cells hold several
        at = rnd.choice([rnd.randrange(HOURS * 3600000), rnd.randrange(6 * 3600000), 864000000])
        return {"id": str(uuid.uuid4()), "ms": int(START.timestamp() * 1000) + at,
                "kind": rnd.choice("aaab"), "who": rnd.choice(ids),
                "props": {k: rnd.choice(VALUES) for k in ("p", "q", "$city") if rnd.random() < 0.8}}

    @staticmethod
    def message(e):
        when = datetime.datetime.fromtimestamp(e["ms"] // 1000, datetime.timezone.utc)
        return {"eventId": e["id"], "name": e["kind"], "distinctId": e["who"],
                "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S") + f".{e['ms'] % 1000:03}Z",
                "properties": e["props"]}

    def local(self, s):
        return datetime.datetime.fromtimestamp(s, self.zone)

    def day_start(self, day):
        if day not in self.starts:
            at = int(datetime.datetime(day.year, day.month, day.day,
                                       tzinfo=datetime.timezone.utc).timestamp()) - 26 * 3600
            while self.local(at).date() != day:
                at += 60
            self.starts[day] = at
        return self.starts[day]

    def bucket(self, ms, unit):
        s = ms // 1000
        local = self.local(s)
        if unit in ("MINUTE", "HOUR"):
            size = 60 if unit == "MINUTE" else 3600
            return s - (s + int(local.utcoffset().total_seconds())) % size
        day = local.date()
        if unit == "WEEK":
            day -= datetime.timedelta(days=(day.weekday() + 1) % 7)
        if unit == "MONTH":
            day = day.replace(day=1)
        return self.day_start(day)

    def who(self, e):
        return self.person.get(e["who"], e["who"])

    def matches_filter(self, e, f):
        if f.get("source") == "PROPERTY_SOURCE_PROFILE":
            return holds(f, self.profiles.get(self.who(e), {}).get(f["property"]))
        return holds(f, e["props"].get(f["property"]))

    def matches(self, e, spec, q):
        groups = [(all if g.get("operator") != "LOGICAL_OPERATOR_OR" else any)(
            [self.matches_filter(e, f) for f in g["filters"]]) for g in spec.get("filterGroups", [])]
        outer = any if spec.get("filterGroupsOperator") == "LOGICAL_OPERATOR_OR" and groups else all
        ev = q.get("event", {})
        return outer(groups) and (not ev.get("kind") or ev["kind"] == e["kind"]) and \
            all(self.matches_filter(e, f) for f in ev.get("filters", []))


def aggregate(world, q, events):
    agg = q.get("aggregation", "AGGREGATION_TYPE_TOTAL")[len("AGGREGATION_TYPE_"):]
    users = {world.who(e) for e in events}
    numbers = [n for n in (number(e["props"].get(q.get("aggregationProperty"))) for e in events) if n is not None]
    return {"TOTAL": lambda: len(events), "UNIQUE_USERS": lambda: len(users),
            "PER_USER_AVG": lambda: len(events) / len(users) if users else 0,
            "SUM": lambda: math.fsum(numbers), "AVG": lambda: math.fsum(numbers) / len(numbers) if numbers else 0,
            "MIN": lambda: min(numbers, default=0), "MAX": lambda: max(numbers, default=0)}[agg]()


def trends(world, spec, frm, to, unit):
    queries = spec.get("events") or [{}]
    keys = [b["property"] for b in spec.get("breakdowns", [])]
    limit = spec.get("breakdownLimit") or 10
    inside = [e for e in world.events if frm <= e["ms"] < to]
    several, units, exists = len(queries) > 1, [], set()
    for no, q in enumerate(queries):
        kind = q.get("event", {}).get("kind")
        hits = [e for e in inside if world.matches(e, spec, q)]
        exists |= {world.bucket(e["ms"], unit) for e in hits}
        kinds = [kind] if kind and several else sorted({e["kind"] for e in hits})
        for k in kinds:
            cells = {}
            for e in hits:
                if e["kind"] == k:
                    tup = tuple(text(e["props"].get(b)).encode() for b in keys)
                    cells.setdefault(tup, {}).setdefault(world.bucket(e["ms"], unit), []).append(e)
            units.append((no, q, k, cells))
    ranked = []
    for no, q, k, cells in units:
        total = {t: sum(aggregate(world, q, v) for _, v in sorted(c.items())) for t, c in cells.items()}
        order = sorted(cells, key=lambda t: (-total[t], t))
        keep = order[:limit] if keys else order
        ranked.append((q, k, cells, total, keep, order[len(keep):]))
    out = []
    for i, (q, k, cells, total, keep, folded) in enumerate(ranked):
        keep = list(keep)
        if several and not folded:
            for j, other in enumerate(ranked):
                keep += [t for t in other[4] if j != i and t not in keep]
            if not keys and not keep:
                keep = [()]
        keep.sort(key=lambda t: (-total.get(t, 0), t))
        lines = [(t, cells.get(t, {})) for t in keep]
        if folded:
            rest = {}
            for t in folded:
                for b, v in cells[t].items():
                    rest.setdefault(b, []).extend(v)
            lines.append((None, rest))
        for t, line in lines:
            points = [(b, aggregate(world, q, line.get(b, []))) for b in sorted(exists if several else line)]
            names = ["$others"] * len(keys) if t is None else [x.decode() for x in t]
            if points:
                out.append((k, dict(zip(keys, names)), points))
    return out


def segmentation(world, spec, frm, to):
    queries = spec.get("events") or [{}]
    return aggregate(world, queries[0], [e for e in world.events if frm <= e["ms"] < to and
                                         any(world.matches(e, spec, q) for q in queries)])


def random_filter(rnd):
    op = rnd.choice(["EQUALS", "NOT_EQUALS", "CONTAINS", "NOT_CONTAINS", "IS_SET", "IS_NOT_SET", "LTE", "GTE",
                     "LT", "GT", "IN", "NOT_IN", "BETWEEN", "NOT_BETWEEN"])
    f = {"property": rnd.choice(["p", "q", "$city"]), "operator": "FILTER_OPERATOR_" + op}
    if rnd.random() < 0.2:
        f.update(property="plan", source="PROPERTY_SOURCE_PROFILE")
    if op in ("LTE", "GTE", "LT", "GT"):
        f["value"] = rnd.choice(["5", "0.1", "-3", "1e3"])
    elif op in ("BETWEEN", "NOT_BETWEEN"):
        f["values"] = rnd.choice([["0", "5"], ["-3", "2.5"], ["7", "7"]])
    elif op in ("IN", "NOT_IN"):
        f["values"] = rnd.sample(["5", "gold", "true", "", "2.5"], 2)
    elif not op.startswith("IS_"):
        f["value"] = rnd.choice(["5", "gold", "7", "%", "true", "2.5", "a"])
    return f


def random_question(rnd):
    kind = rnd.choice(["TRENDS", "TRENDS", "SEGMENTATION"])
    spec = {"insightType": "INSIGHT_TYPE_" + kind, "events": []}
    for _ in range(rnd.choice([0, 1, 1, 2, 3])):
        q = {"event": {"kind": rnd.choice(["a", "a", "b", "none", ""])},
             "aggregation": "AGGREGATION_TYPE_" + rnd.choice(AGGS), "aggregationProperty": rnd.choice("pq")}
        if rnd.random() < 0.4 or (kind == "SEGMENTATION" and not q["event"]["kind"]):
            q["event"]["filters"] = [random_filter(rnd)]
        spec["events"].append(q)
    if rnd.random() < 0.3:
        spec["filterGroups"] = [{"filters": [random_filter(rnd) for _ in range(rnd.randrange(1, 3))],
                                 "operator": rnd.choice(["LOGICAL_OPERATOR_AND", "LOGICAL_OPERATOR_OR"])}
                                for _ in range(rnd.randrange(1, 3))]
        spec["filterGroupsOperator"] = rnd.choice(["LOGICAL_OPERATOR_AND", "LOGICAL_OPERATOR_OR"])
    if kind == "TRENDS" and rnd.random() < 0.6:
        spec["breakdowns"] = [{"property": b} for b in rnd.sample(["p", "q", "$city"], rnd.randrange(1, 3))]
        spec["breakdownLimit"] = rnd.randrange(0, 5)
    unit = rnd.choice(list(UNITS))
    begin = rnd.choice([0, rnd.randrange(HOURS), 24 * 9])
    hours = rnd.randrange(1, UNITS[unit] + 1)
    frm = int(START.timestamp() * 1000) + begin * 3600000
    return spec, frm, frm + hours * 3600000, unit


def stamp(ms):
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(when):
    return int(datetime.datetime.strptime(when, "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=datetime.timezone.utc).timestamp())


def close(a, b):
    return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))


def same(got, expected):
    return len(got) == len(expected) and all(
        g[:2] == e[:2] and [b for b, _ in g[2]] == [b for b, _ in e[2]] and
        all(close(x, y) for (_, x), (_, y) in zip(g[2], e[2])) for g, e in zip(got, expected))


def ask(p, world, spec, frm, to, unit):
    answer = p.ok(QUERY, {"spec": spec, "granularity": "GRANULARITY_" + unit,
                          "timeRange": {"from": stamp(frm), "to": stamp(to)}}, key=world.key)
    if "segmentation" in answer:
        expected = segmentation(world, spec, frm, to)
        assert close(answer["segmentation"]["total"], expected), (spec, frm, to, answer, expected)
        return
    got = [(s["eventKind"], s.get("breakdown", {}), [(seconds(x["time"]), x["value"]) for x in s["points"]])
           for s in answer["trends"].get("series", [])]
    expected = trends(world, spec, frm, to, unit)
    assert same(got, expected), f"{spec}\n{stamp(frm)} {stamp(to)} {unit}\ngot {got}\nexp {expected}"


def test_random_questions(variant, count=300, seed=None):
    # The same questions every time, so that a failure is the change's; PUGD_SEED asks others.
    seed = seed if seed is not None else int(os.environ.get("PUGD_SEED", "20261124"))
    rnd = random.Random(seed)
    with pug.Pug(variant=variant) as p:
        for zone in ZONES:
            world = World(p, zone, rnd)
            for _ in range(count // len(ZONES)):
                question = random_question(rnd)
                try:
                    ask(p, world, *question)
                except AssertionError as e:
                    raise AssertionError(f"seed {seed} zone {zone!r}\n{e}") from None


if __name__ == "__main__":
    sys.exit(pug.main([("random_questions", test_random_questions)]))
