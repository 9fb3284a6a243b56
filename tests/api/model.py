"""What the server ought to answer, worked out the slow and obvious way.

Written from the contract (decisions.md and the sections of
insights-dashboards.md that it names), not from the C code: plain lists, no column,
no dictionary, no single pass. A Model takes the JSON that a client sends and gives
the JSON that the server should give: Query for TRENDS and SEGMENTATION, List.
"""
import datetime
import decimal
import math
import re
import uuid
import zoneinfo

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
NUMERIC = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
PROMOTED = set("$country $region $city $browser $browserVersion $os $osVersion $device $platform $url "
               "$utmSource $utmMedium $utmCampaign $pathname $hostname $referrer $referrerDomain "
               "$channel $locale $screenSize $utmTerm $utmContent $pageTitle".split())
NEVER_KEPT = {"$ip", "$bot_score", "$verified_bot"}
OTHERS = "$others"
MINUTE = 60000


# ---- time ----------------------------------------------------------------------

def millis(text):
    """RFC 3339 to milliseconds, the rest cut off."""
    m = re.fullmatch(r"(\d+-\d+-\d+)T(\d+:\d+:\d+)(?:\.(\d+))?(Z|[+-]\d+:\d+)", text)
    whole = datetime.datetime.fromisoformat(m[1] + "T" + m[2] + m[4].replace("Z", "+00:00"))
    return (whole - EPOCH) // datetime.timedelta(seconds=1) * 1000 + int(((m[3] or "") + "000")[:3])


def utc(ms):
    return EPOCH + datetime.timedelta(milliseconds=ms)


def fraction_trimmed(ms):
    text = utc(ms).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}"
    return text.rstrip("0").rstrip(".") + "Z"


class Zone:
    """Bucket starts of D71, by looking at every minute."""

    def __init__(self, name):
        self.zone = zoneinfo.ZoneInfo(name or "UTC")
        self.first_of = {}

    def local(self, ms):
        return utc(ms).astimezone(self.zone)

    def first_instant(self, date):
        """The earliest instant whose local date is this. Offsets are whole minutes
        since long before 2000, and below 24 hours."""
        if date not in self.first_of:
            midnight = datetime.datetime(date.year, date.month, date.day, tzinfo=UTC)
            t = (midnight - EPOCH) // datetime.timedelta(milliseconds=1) - 24 * 60 * MINUTE
            while self.local(t).date() != date:
                t += MINUTE
            self.first_of[date] = t
        return self.first_of[date]

    def start(self, ms, granularity):
        local = self.local(ms)
        if granularity in ("MINUTE", "HOUR"):
            unit = MINUTE if granularity == "MINUTE" else 60 * MINUTE
            offset = local.utcoffset() // datetime.timedelta(milliseconds=1)
            return ms - (ms + offset) % unit
        date = local.date()
        if granularity == "WEEK":
            date -= datetime.timedelta(days=(date.weekday() + 1) % 7)
        elif granularity == "MONTH":
            date = date.replace(day=1)
        return self.first_instant(date)


# ---- values --------------------------------------------------------------------

def number_text(x):
    """Shortest round-trip, plain from 1e-6 to below 1e21 (D70)."""
    if isinstance(x, int):
        return str(x)
    if x == 0:
        return "0"
    d = decimal.Decimal(repr(x)).normalize()
    if 1e-6 <= abs(x) < 1e21:
        return format(d, "f")
    sign, digits, _ = d.as_tuple()
    tail = "".join(map(str, digits[1:]))
    return f"{'-' * sign}{digits[0]}{'.' + tail if tail else ''}e{d.adjusted()}"


def parse_number(text):
    """The numeric view of a text; None when it has none."""
    if not NUMERIC.fullmatch(text):
        return None
    x = float(text)
    return None if math.isinf(x) else x


class Instant(int):
    """Milliseconds; a property value of its own type."""


def typed(value):
    """A PropertyValue in JSON to bool, int, float, str or Instant."""
    (kind, v), = value.items()
    return {"stringValue": str, "intValue": int, "doubleValue": float, "boolValue": bool,
            "timestampValue": lambda t: Instant(millis(t))}[kind](v)


def value_text(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, Instant):
        return utc(v).strftime("%Y-%m-%d %H:%M:%S") + f".{v % 1000:03d}"
    return v if isinstance(v, str) else number_text(v)


def value_number(v):
    """The numeric view of a stored value, compared as a double."""
    if isinstance(v, (bool, Instant)):
        return None
    return parse_number(v) if isinstance(v, str) else float(v)


def mobile(v):
    """The bool of `$mobile`; None for what does not turn into one."""
    return v if isinstance(v, bool) else {"true": True, "1": True, "false": False, "0": False,
                                          "": False}.get(v) if isinstance(v, str) else None


class Event:
    def __init__(self, sent, now_ms):
        self.id = uuid.UUID(sent["eventId"]).bytes
        self.kind = sent.get("kind") or sent["name"]
        self.distinct_id = sent["distinctId"]
        self.session = uuid.UUID(sent.get("sessionId") or str(uuid.UUID(int=0)))
        when = sent.get("occurTime") or sent.get("timestamp")
        self.ms = millis(when) if when else now_ms
        self.props = {k: typed(v) for part in ("autoProperties", "customProperties")
                      for k, v in sent.get(part, {}).items()}
        for k, v in sent.get("properties", {}).items():
            if v is not None:
                # JSON has one kind of number: without a fraction it is an integer.
                whole = type(v) is float and abs(v) <= 2**53 and v == int(v)
                self.props[k] = int(v) if whole else v
        self.props = {k: v for k, v in self.props.items() if k not in NEVER_KEPT}

    def text(self, name):
        v = self.props.get(name)
        if name == "$mobile":
            return "true" if mobile(v) else "false"
        # An instant does not render in a promoted slot (events-profiles.md 3.2).
        return "" if v is None or name in PROMOTED and isinstance(v, Instant) else value_text(v)

    def number(self, name):
        return None if name == "$mobile" or name not in self.props else value_number(self.props[name])

    def shown(self, auto):
        """One of the two structs of an ActivityEvent."""
        out = {}
        for k, v in self.props.items():
            if k.startswith("$") != auto:
                continue
            if isinstance(v, Instant):
                out[k] = fraction_trimmed(v)
            elif k in PROMOTED:
                out[k] = value_text(v)
            elif k == "$mobile" and mobile(v) is not None:
                out[k] = "true" if mobile(v) else ""
            elif isinstance(v, (bool, str)):
                out[k] = v
            else:
                out[k] = float(v)
        return {k: v for k, v in out.items()
                if v != "" or not (k in PROMOTED or k == "$mobile")}


def trait_ways(v, steps, taken):
    """Every way in which a dotted path can be read: (how many steps each key took, value)."""
    if not steps:
        yield taken, v
    elif isinstance(v, dict):
        for n in range(1, len(steps) + 1):
            key = ".".join(steps[:n])
            if key in v:
                yield from trait_ways(v[key], steps[n:], taken + (n,))


def trait(properties, path):
    """(text, number) of a trait; dots descend, but for those that belong to a key."""
    ways = list(trait_ways(properties, path.split("."), ()))
    steps = path.count(".") + 1
    # The key as it stands, then a dot a level, then whatever has longer keys earlier.
    _, v = max(ways, key=lambda way: (way[0] == (steps,), len(way[0]) == steps, way[0]), default=(None, None))
    if v is None or isinstance(v, (dict, list)):
        return ("", None) if not isinstance(v, list) else ("[...]", None)
    return value_text(v), value_number(v)


# ---- conditions ----------------------------------------------------------------

def holds(f, text, number):
    op = f["operator"].removeprefix("FILTER_OPERATOR_")
    value, values = f.get("value", ""), f.get("values", [])
    if op in ("LT", "LTE", "GT", "GTE"):
        if number is None:
            return False
        x = parse_number(value)
        return {"LT": number < x, "LTE": number <= x, "GT": number > x, "GTE": number >= x}[op]
    if op in ("BETWEEN", "NOT_BETWEEN"):
        if number is None:
            return False
        a, b = map(parse_number, values)
        return (a <= number <= b) == (op == "BETWEEN")
    return {"EQUALS": text == value, "NOT_EQUALS": text != value, "CONTAINS": value in text,
            "NOT_CONTAINS": value not in text, "IS_SET": text != "", "IS_NOT_SET": text == "",
            "IN": text in values, "NOT_IN": text not in values}[op]


class Model:
    def __init__(self, zone=""):
        self.zone = Zone(zone)
        self.events = {}    # (UTC day, id) -> Event: the first one stays (D20)
        self.profiles = {}  # id -> (external_id, properties), live ones only
        self.aliases = {}   # id -> profile id

    def send(self, batch, now_ms=0):
        """How many were new."""
        before = len(self.events)
        for sent in batch:
            ev = Event(sent, now_ms)
            self.events.setdefault((ev.ms // 86400000, ev.id), ev)
        return len(self.events) - before

    # -- people

    def profile_of(self, distinct_id):
        """Id of the live profile that an id resolves to, or None (D60)."""
        if distinct_id in self.profiles:
            return distinct_id
        if self.aliases.get(distinct_id) in self.profiles:
            return self.aliases[distinct_id]
        for profile, (external, _) in self.profiles.items():
            if external and external == distinct_id:
                return profile
        return None

    def person(self, distinct_id):
        profile = self.profile_of(distinct_id)
        return ("anonymous", distinct_id) if profile is None else ("profile", profile)

    # -- which events

    def passes(self, f, ev):
        if f.get("source") == "PROPERTY_SOURCE_PROFILE":
            profile = self.profile_of(ev.distinct_id)
            properties = self.profiles[profile][1] if profile else {}
            return holds(f, *trait(properties, f["property"]))
        return holds(f, ev.text(f["property"]), ev.number(f["property"]))

    def is_meant(self, event_filter, ev):
        return event_filter.get("kind", "") in ("", ev.kind) and \
            all(self.passes(f, ev) for f in event_filter.get("filters", []))

    def in_groups(self, spec, ev):
        results = []
        for g in spec.get("filterGroups", []):
            join = any if g.get("operator") == "LOGICAL_OPERATOR_OR" else all
            results.append(join(self.passes(f, ev) for f in g["filters"]))
        join = any if spec.get("filterGroupsOperator") == "LOGICAL_OPERATOR_OR" else all
        return join(results) if results else True

    def window(self, time_range):
        """Events of [from, to), oldest first."""
        a, b = millis(time_range["from"]), millis(time_range["to"])
        return sorted((e for e in self.events.values() if a <= e.ms < b), key=lambda e: (e.ms, e.id))

    # -- numbers

    def aggregate(self, query, events):
        how = query.get("aggregation", "AGGREGATION_TYPE_TOTAL").removeprefix("AGGREGATION_TYPE_")
        people = len({self.person(e.distinct_id) for e in events})
        numbers = [parse_number(e.text(query.get("aggregationProperty", ""))) for e in events]
        numbers = [n for n in numbers if n is not None]
        if how in ("TOTAL", "UNSPECIFIED"):
            return len(events)
        if how == "UNIQUE_USERS":
            return people
        if how == "PER_USER_AVG":
            return len(events) / people if people else 0
        if not numbers:
            return 0
        if how in ("MIN", "MAX"):
            return min(numbers) if how == "MIN" else max(numbers)
        return math.fsum(numbers) / (len(numbers) if how == "AVG" else 1)

    def counted(self, spec, query, events):
        """Without the visitors who are not counted as people (0.8, D72)."""
        users = query.get("aggregation") in ("AGGREGATION_TYPE_UNIQUE_USERS",
                                             "AGGREGATION_TYPE_PER_USER_AVG")
        if not users or spec.get("includeCookieless"):
            return list(events)
        return [e for e in events if not e.distinct_id.startswith("cookieless-")]

    def segmentation(self, spec, time_range):
        queries = spec.get("events") or [{"event": {}}]
        union = [e for e in self.window(time_range) if self.in_groups(spec, e) and
                 any(self.is_meant(q["event"], e) for q in queries)]
        return self.aggregate(queries[0], self.counted(spec, queries[0], union))

    # -- trends

    def trends(self, spec, time_range, granularity):
        """[(kind, tuple or None, is_others, [(bucket ms, value)])] in order."""
        queries = spec.get("events") or [{"event": {}}]
        names = [b["property"] for b in spec.get("breakdowns", [])]
        limit = spec.get("breakdownLimit", 0) or 10
        rows = [e for e in self.window(time_range) if self.in_groups(spec, e)]
        buckets = set()
        units = []
        for q in queries:
            matched = [e for e in rows if self.is_meant(q.get("event", {}), e)]
            buckets |= {self.zone.start(e.ms, granularity) for e in matched}
            matched = self.counted(spec, q, matched)
            kind = q.get("event", {}).get("kind", "")
            # An empty kind expands to its kinds, byte-wise (D30).
            for k in [kind] if kind else sorted({e.kind for e in matched}, key=str.encode):
                units.append(Unit(self, q, k, [e for e in matched if e.kind == k], names,
                                  granularity, limit))
        every = sorted(buckets) if len(queries) > 1 else None
        out = []
        for u in units:
            u.add_zeros([v for v in units if v is not u] if every else [], every)
            out += u.series(every)
        return out

    def query(self, request):
        spec = request["spec"]
        if spec["insightType"] == "INSIGHT_TYPE_SEGMENTATION":
            return self.segmentation(spec, request["timeRange"])
        granularity = request["granularity"].removeprefix("GRANULARITY_")
        names = [b["property"] for b in spec.get("breakdowns", [])]
        return [(kind, dict(zip(names, values)), points) for kind, values, points in
                self.trends(spec, request["timeRange"], granularity)]

    # -- feed

    def list(self, request):
        """All events that List should page through."""
        out = self.window(request.get("timeRange") or
                          {"from": "0001-01-01T00:00:00Z", "to": "9999-01-01T00:00:00Z"})
        if request.get("distinctId"):
            person = self.person(request["distinctId"])
            out = [e for e in out if self.person(e.distinct_id) == person]
        if request.get("kind"):
            out = [e for e in out if e.kind == request["kind"]]
        if request.get("sessionId"):
            out = [e for e in out if e.session == uuid.UUID(request["sessionId"])]
        for f in request.get("propertyFilters", []):
            out = [e for e in out if self.passes(f, e)]
        if request.get("events"):
            out = [e for e in out if any(self.is_meant(f, e) for f in request["events"])]
        return [{"eventId": str(uuid.UUID(bytes=e.id)), "kind": e.kind, "distinctId": e.distinct_id,
                 "occurTime": e.ms, "sessionId": str(e.session), "autoProperties": e.shown(True),
                 "customProperties": e.shown(False)} for e in reversed(out)]


class Unit:
    """One event of a trend with one of its kinds: it ranks its own values."""

    def __init__(self, model, query, kind, events, names, granularity, limit):
        self.kind, self.names = kind, names
        value = lambda some: model.aggregate(query, some)
        start = lambda e: model.zone.start(e.ms, granularity)
        by_tuple = {}
        for e in events:
            by_tuple.setdefault(tuple(e.text(n) for n in names), []).append(e)
        cells = {t: self.points(es, start, value) for t, es in by_tuple.items()}
        order = sorted(cells, key=lambda t: self.rank(cells[t], t))
        kept = order[:limit] if names else order
        folded = [e for t in order[len(kept):] for e in by_tuple[t]]
        folded.sort(key=lambda e: (e.ms, e.id))
        self.kept = {t: cells[t] for t in kept}
        self.lines = dict(self.kept)
        self.others = self.points(folded, start, value) if folded else None

    @staticmethod
    def points(events, start, value):
        buckets = {}
        for e in events:
            buckets.setdefault(start(e), []).append(e)
        return {b: value(buckets[b]) for b in sorted(buckets)}

    @staticmethod
    def rank(points, values):
        """Sum of its points downwards, then the tuple, element by element (D74)."""
        total = 0.0
        for _, value in sorted(points.items()):
            total += value
        return -total, [v.encode() for v in values]

    def add_zeros(self, rest, every):
        """Lines of zeros across several events (D30, D73)."""
        if every and not self.names:
            self.lines.setdefault((), {})
        if self.others is None:
            for other in rest:
                for t in other.kept:
                    self.lines.setdefault(t, {})

    def series(self, every):
        def filled(points):
            return [(b, points.get(b, 0)) for b in (every if every is not None else points)]
        out = [(self.kind, t, filled(self.lines[t]))
               for t in sorted(self.lines, key=lambda t: self.rank(self.lines[t], t))]
        if self.others is not None:
            out.append((self.kind, (OTHERS,) * len(self.names), filled(self.others)))
        return out
