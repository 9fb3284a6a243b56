"""The questions of `make bench-insights`: as a request, as SQL over bench_event, and by name
for the plain scan (plain.c). SQL and scan give the same rows, of numbers; what pugd answers
must follow from them.

The SQL is what one would write who knows what answer is wanted: person columns are already
resolved, properties are numbers, every statement has an index that covers it. Where two ways
of writing are plausible both are listed, and the quicker one counts.
"""
import collections
import dataclasses
import datetime
import typing

VIEW, CART, PURCHASE, RARE, CHROME = 0, 4, 6, 20, 0
UTC = datetime.timezone.utc
EPOCH = datetime.date(1970, 1, 1)
OTHERS, TOP, NODES, LINKS = "$others", 10, 20, 100
INDEXES = [
    "CREATE INDEX ON bench_event (kind, t) INCLUDE (person)",
    "CREATE INDEX ON bench_event (kind, t) INCLUDE (person, country, browser, path, amount)",
    "CREATE INDEX ON bench_event (person, t) INCLUDE (kind)",
    "CREATE INDEX ON bench_event (session, t) INCLUDE (kind, path)",
    "CREATE UNIQUE INDEX ON bench_person (person)",
    "CREATE INDEX ON bench_person (label)"]
TABLES = """
CREATE TABLE bench_event (t timestamptz NOT NULL, id uuid NOT NULL, person int NOT NULL, session int NOT NULL,
  amount float8, kind int2 NOT NULL, path int2 NOT NULL, country int2 NOT NULL, browser int2 NOT NULL,
  os int2 NOT NULL, source int2 NOT NULL);
CREATE TABLE bench_person (person int NOT NULL, key text COLLATE "C" NOT NULL, label text COLLATE "C" NOT NULL);
"""


@dataclasses.dataclass
class Case:
    name: str                # of the plain scan
    title: str
    spec: dict
    sql: list                # ways to ask, equal in their answers
    read: typing.Callable    # pugd's answer as {key: number}
    expect: typing.Callable  # the rows as the same
    granularity: str = "DAY"
    selective: bool = True   # names its kinds, so it reads these only
    quick: bool = False      # must take less than 50 ms
    method: str = "/insights.v1.InsightsService/Query"
    body: dict = None        # of another method


class Frame:
    """What cases need of the data: the window and the names."""

    def __init__(self, names, start_ms, days):
        self.names, self.days = names, days
        self.start = datetime.datetime.fromtimestamp(start_ms / 1000, UTC)
        self.end = self.start + datetime.timedelta(days=days)
        self.range = {"from": self.start.strftime("%Y-%m-%dT%H:%M:%SZ"), "to": self.end.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def day(self, text):
        """Days from the window's start of an RFC 3339 time."""
        return (datetime.date.fromisoformat(text[:10]) - self.start.date()).days


# ---- from answers ------------------------------------------------------------------------

def points(f, label):
    def read(answer):
        return {(*label(s), f.day(p["time"])): float(p["value"])
                for s in answer["trends"].get("series", []) for p in s["points"]}
    return read


def none(_):
    return ()


def value_of(series):
    return (next(iter(series["breakdown"].values())),)


def kind_of(series):
    return (series["eventKind"],)


def steps(answer):
    return {i: float(s["total"]) for i, s in enumerate(answer["funnel"]["series"][0]["steps"])}


def cohorts(answer):
    return {(c["cohort"][:10], p["time"][:10]): float(p["value"])
            for c in answer["retention"]["series"][0]["cohorts"] for p in c["points"]}


def links(answer):
    return {(k["source"], k["target"]): float(k["value"]) for k in answer["userFlow"]["links"]}


def top_rows(answer):
    return {r["dimensionValue"]: float(r["value"]) for r in answer["topK"]["rows"]}


def ids(answer):
    return {name: 0.0 for name in answer["distinctIds"]}


# ---- from rows ---------------------------------------------------------------------------

def plain(names=None):
    """(key, ..., value): the first key by its name, if there are names."""
    return lambda rows: {((names[int(r[0])] if names else int(r[0])), *map(int, r[1:-1])): float(r[-1]) for r in rows}


def best(names, limit):
    """(key, day, count): the keys with the greatest sums, the others together (D30)."""
    def expect(rows):
        sums, out = collections.Counter(), collections.Counter()
        for key, _, n in rows:
            sums[names[int(key)]] += float(n)
        keep = set(sorted(sums, key=lambda k: (-sums[k], k))[:limit])
        for key, day, n in rows:
            name = names[int(key)]
            out[name if name in keep else OTHERS, int(day)] += float(n)
        return dict(out)
    return expect


def best_rows(names, limit):
    def expect(rows):
        sums = {names[int(key)]: float(n) for key, n in rows}
        order = sorted(sums, key=lambda k: (-sums[k], k))
        out = {k: sums[k] for k in order[:limit]}
        if order[limit:]:
            out[OTHERS] = sum(sums[k] for k in order[limit:])
        return out
    return expect


def week(number):
    """The Sunday on which a week starts."""
    return (EPOCH + datetime.timedelta(days=7 * int(number) - 4)).isoformat()


def shares(rows):
    size = {f: float(n) for f, w, n in rows if f == w}
    return {(week(f), week(w)): 100 * float(n) / size[f] for f, w, n in rows}


def flow(names):
    """(depth, from, to, sessions): light nodes become buckets, links are merged and cut (D34)."""
    def expect(rows):
        rows = [(int(d), names[int(a)], names[int(b)], float(n)) for d, a, b, n in rows]
        weight = collections.defaultdict(collections.Counter)
        for d, a, b, n in rows:
            weight[d][a] += n
            weight[d + 1][b] += n
        keep = {d: set(sorted(w, key=lambda k, w=w: (-w[k], k))[:NODES]) for d, w in weight.items()}
        merged = collections.Counter()
        for d, a, b, n in rows:
            merged[d, a if a in keep[d] else None, b if b in keep[d + 1] else None] += n
        order = sorted(merged, key=lambda k: (-merged[k], k[0], k[1] is None, k[1] or "", k[2] is None, k[2] or ""))
        return {(f"{d}:{a or OTHERS}", f"{d + 1}:{b or OTHERS}"): merged[d, a, b] for d, a, b in order[:LINKS]}
    return expect


def means(rows):
    return {(int(day),): float(ms) / float(n) / 1000 for day, n, ms in rows if float(n)}


# ---- the cases -----------------------------------------------------------------------------

def spec(kind, **more):
    return {"insightType": "INSIGHT_TYPE_" + kind, **more}


def event(kind, *filters, **more):
    return {"event": {"kind": kind, **({"filters": list(filters)} if filters else {})}, **more}


def users(kind):
    return event(kind, aggregation="AGGREGATION_TYPE_UNIQUE_USERS")


def trend_cases(f, win, day):
    n, one = f.names, f"SELECT {day}, count(*) FROM bench_event WHERE {win}"
    chrome = {"property": "$browser", "operator": "FILTER_OPERATOR_EQUALS", "value": n["browsers"][CHROME]}
    by_country = {"breakdowns": [{"property": "$country"}]}
    days = lambda rows: {(int(r[0]),): float(r[1]) for r in rows}
    return [
        Case("trend", "trends: one kind", spec("TRENDS", events=[event("page_view")]),
             [f"{one} AND kind = {VIEW} GROUP BY 1"], points(f, none), days, quick=True),
        Case("trend_rare", "trends: a rare kind", spec("TRENDS", events=[event(n["kinds"][RARE])]),
             [f"{one} AND kind = {RARE} GROUP BY 1"], points(f, none), days, quick=True),
        Case("users", "trends: persons", spec("TRENDS", events=[users("page_view")]),
             [f"SELECT {day}, count(DISTINCT person) FROM bench_event WHERE {win} AND kind = {VIEW} GROUP BY 1",
              f"SELECT d, count(*) FROM (SELECT DISTINCT {day} AS d, person FROM bench_event "
              f"WHERE {win} AND kind = {VIEW}) x GROUP BY 1"], points(f, none), days),
        Case("breakdown", "trends: filter, by country", spec("TRENDS", events=[event("page_view", chrome)], **by_country),
             [f"SELECT country, {day}, count(*) FROM bench_event WHERE {win} AND kind = {VIEW} "
              f"AND browser = {CHROME} GROUP BY 1, 2"], points(f, value_of), best(n["countries"], TOP)),
        Case("users_by", "trends: persons by country",
             spec("TRENDS", events=[users("page_view")], **by_country, breakdownLimit=100),
             [f"SELECT country, d, count(*) FROM (SELECT DISTINCT country, {day} AS d, person FROM bench_event "
              f"WHERE {win} AND kind = {VIEW}) x GROUP BY 1, 2"], points(f, value_of), plain(n["countries"])),
        Case("revenue", "trends: sum of a property", spec("TRENDS", events=[event(
            "purchase", aggregation="AGGREGATION_TYPE_SUM", aggregationProperty="amount")]),
             [f"SELECT {day}, sum(amount) FROM bench_event WHERE {win} AND kind = {PURCHASE} GROUP BY 1"],
             points(f, none), days),
        Case("kinds", "trends: all kinds", spec("TRENDS"),
             [f"SELECT kind, {day}, count(*) FROM bench_event WHERE {win} GROUP BY 1, 2"],
             points(f, kind_of), plain(n["kinds"]), selective=False),
        Case("segmentation", "segmentation: persons", spec("SEGMENTATION", events=[users("page_view")]),
             [f"SELECT count(DISTINCT person) FROM bench_event WHERE {win} AND kind = {VIEW}",
              f"SELECT count(*) FROM (SELECT DISTINCT person FROM bench_event WHERE {win} AND kind = {VIEW}) x"],
             lambda answer: {0: float(answer["segmentation"]["total"])}, lambda rows: {0: float(rows[0][0])})]


def point_cases(f, win):
    n, kind = f.names, f"{win} AND kind = {VIEW}"
    top = lambda dimension, **more: spec("TOP_K", topK={"dimension": "DIMENSION_" + dimension,
                                                        "scope": {"kind": "page_view"}, **more})
    return [
        Case("paths", "top-K of a property", top("PROPERTY", property="$pathname"),
             [f"SELECT path, count(*) FROM bench_event WHERE {kind} GROUP BY 1"],
             top_rows, best_rows(n["paths"], TOP), quick=True),
        Case("top_users", "top-K of persons", top("USER"),
             [f"WITH c AS (SELECT person, count(*) AS n FROM bench_event WHERE {kind} GROUP BY 1), "
              "k AS (SELECT key, n FROM c JOIN bench_person USING (person) "
              f"WHERE n >= (SELECT min(n) FROM (SELECT n FROM c ORDER BY n DESC LIMIT {TOP}) x) "
              f"ORDER BY n DESC, key LIMIT {TOP}) "
              f"SELECT key, n FROM k UNION ALL SELECT '{OTHERS}', (SELECT sum(n) FROM c) - (SELECT sum(n) FROM k)"],
             top_rows, lambda rows: {r[0]: float(r[1]) for r in rows if float(r[1])}),
        Case("map", "map: persons",
             spec("MAP", map={"scope": {"kind": "page_view"}, "metric": "AGGREGATION_TYPE_UNIQUE_USERS"}),
             [f"SELECT country, count(*) FROM (SELECT DISTINCT country, person FROM bench_event WHERE {kind}) x GROUP BY 1"],
             top_rows, lambda rows: {n["countries"][int(k)]: float(v) for k, v in rows}),
        Case("who", "SegmentUsers: a page of 1000", None,
             [f"SELECT label FROM bench_person p WHERE EXISTS (SELECT FROM bench_event e WHERE e.person = p.person "
              f"AND e.kind = {PURCHASE} AND {win}) ORDER BY label LIMIT 1000",
              f"SELECT label FROM bench_person WHERE person IN (SELECT person FROM bench_event "
              f"WHERE {win} AND kind = {PURCHASE}) ORDER BY label LIMIT 1000"],
             ids, lambda rows: {r[0]: 0.0 for r in rows}, method="/insights.v1.InsightsService/SegmentUsers",
             body={"timeRange": f.range, "events": [event("purchase")], "pageSize": 1000})]


FUNNEL = """WITH a AS (SELECT person, t, kind, max(t) FILTER (WHERE kind = {v}) OVER w AS s1
  FROM bench_event WHERE {win} AND kind IN ({v}, {c}, {p})
  WINDOW w AS (PARTITION BY person ORDER BY t ROWS UNBOUNDED PRECEDING)),
b AS (SELECT person, t, kind, CASE WHEN kind = {c} AND t - s1 <= interval '7 days' THEN s1 END AS s2 FROM a),
c AS (SELECT person, t, kind, s2, max(s2) OVER (PARTITION BY person ORDER BY t ROWS UNBOUNDED PRECEDING) AS s3 FROM b),
d AS (SELECT person, max(CASE WHEN kind = {p} AND t - s3 <= interval '7 days' THEN 3 WHEN s2 IS NOT NULL THEN 2
  WHEN kind = {v} THEN 1 ELSE 0 END) AS level FROM c GROUP BY person)
SELECT count(*) FILTER (WHERE level >= 1), count(*) FILTER (WHERE level >= 2), count(*) FILTER (WHERE level >= 3) FROM d"""


def path_cases(f, win):
    weeks = "((t::date - DATE '1970-01-01') + 4) / 7"
    kinds = f.names["kinds"]
    return [
        Case("funnel", "funnel: 3 steps in 7 days", spec("FUNNEL", conversionWindow="604800s", events=[
            event("page_view"), event("add_to_cart"), event("purchase")]),
             [FUNNEL.format(v=VIEW, c=CART, p=PURCHASE, win=win)],
             steps, lambda rows: {i: float(v) for i, v in enumerate(rows[0])}),
        Case("retention", "retention: by weeks", spec("RETENTION", events=[event("page_view")]),
             [f"SELECT f, w, count(*) FROM (SELECT w, min(w) OVER (PARTITION BY person) AS f FROM "
              f"(SELECT DISTINCT person, {weeks} AS w FROM bench_event WHERE {win} AND kind = {VIEW}) x) y GROUP BY 1, 2"],
             cohorts, shares, granularity="WEEK"),
        Case("flow", "user flow: 5 hops", spec("USER_FLOW", userFlow={"nodeKind": "NODE_KIND_EVENT_KIND"}),
             [f"WITH s AS (SELECT session, t, kind, lag(kind) OVER (PARTITION BY session ORDER BY t) AS p "
              f"FROM bench_event WHERE {win}), n AS (SELECT kind, p, row_number() OVER (PARTITION BY session "
              "ORDER BY t) AS r FROM s WHERE p IS DISTINCT FROM kind) "
              "SELECT r - 2, p, kind, count(*) FROM n WHERE r BETWEEN 2 AND 6 GROUP BY 1, 2, 3"],
             links, flow(kinds), selective=False)]


def session_cases(f, win, day):
    metric = lambda m, **more: {"session": {"metric": "SESSION_METRIC_" + m, **more}}
    first = day.replace("t::", "f::")
    return [
        Case("duration", "sessions: mean duration", spec("TRENDS", **metric("AVG_DURATION")),
             [f"SELECT {first}, count(*), round(sum(ms)) FROM (SELECT min(t) AS f, "
              "date_part('epoch', max(t) - min(t)) * 1000 AS ms FROM bench_event GROUP BY session) x "
              f"WHERE {win.replace('t >', 'f >').replace('t <', 'f <')} GROUP BY 1"],
             points(f, none), means, selective=False),
        Case("entry", "sessions: entry pages", spec("TRENDS", **metric("ENTRY", scope={"kind": "page_view"}),
                                                    breakdowns=[{"property": "$pathname"}]),
             [f"SELECT path, {day}, count(*) FROM (SELECT DISTINCT ON (session) t, path FROM bench_event "
              f"WHERE kind = {VIEW} ORDER BY session, t) x WHERE {win} GROUP BY 1, 2"],
             points(f, value_of), best(f.names["paths"], TOP))]


def cases(f):
    win = f"t >= '{f.range['from']}' AND t < '{f.range['to']}'"
    day = f"t::date - DATE '{f.start.date()}'"
    return trend_cases(f, win, day) + path_cases(f, win) + point_cases(f, win) + session_cases(f, win, day)


def request(case, f):
    if case.body:
        return case.body
    return {"spec": case.spec, "granularity": "GRANULARITY_" + case.granularity, "timeRange": f.range}


def same(a, b):
    """Whether two answers are equal, up to the rounding of sums."""
    return a.keys() == b.keys() and all(abs(a[k] - b[k]) <= 1e-9 * max(1.0, abs(b[k])) for k in b)
