"""Random projects for test_model.py: people, events and questions, all plain JSON.

Small on purpose: few users, kinds and values, so that ties, repeats, empty buckets and
events of one millisecond are the rule. Times crowd around clock changes and the borders
of buckets.
"""
import datetime
import json
import random
import time
import uuid

import model

ZONES = ["", "UTC", "Asia/Kolkata", "America/New_York", "America/St_Johns", "Asia/Kathmandu",
         "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "Africa/Casablanca",
         "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Asia/Tehran", "Africa/Cairo",
         "Europe/Dublin", "Antarctica/Troll", "Asia/Gaza", "Pacific/Kiritimati", "Etc/GMT+12",
         "America/Caracas", "Europe/Berlin", "America/Scoresbysund", "America/Asuncion"]
HOUR = 3600000
CAPS = {"MINUTE": 6, "HOUR": 336, "DAY": 8760, "WEEK": 35064, "MONTH": 87660}
SPANS = {"MINUTE": 4, "HOUR": 60, "DAY": 24 * 12, "WEEK": 24 * 60, "MONTH": 24 * 300}
KINDS = ["view", "buy", "a", "B", "a.b", "a-b", "_x", "view2", "Z9"]
USERS = ["u1", "u2", "u3", "anon-1", "anon 2", "ü", "日本", "$others", "U1", "u1 ", "mail@x.example", "9"]
COOKIELESS = ["cookieles~-1", "cookieles~-2", "cookieles~-3"]
KEYS = ["p", "q", "a.b", "x-y", "$country", "$city", "$x", "$browser", "$mobile", "absent", "$bot_score"]
WORDS = ["", "a", "b", "A", "ab", "b%", "_", "\\", "true", "false", "$others", "é", "😀", "\u00ff",
         "\u007f", "\uffff", "Zz", "a b", "'", "\"", "null"]
NUMBERISH = ["42", "42.0", "1e2", "1E5", "1e+5", "+5", "-5", ".5", "5.", "00012", "0", "-0", "1e-7",
             "0.30000000000000004", "9007199254740993", "123456789012345678901234567890", "1e-400"]
NOT_NUMBERS = ["1e400", "-1e400", "inf", "nan", "-Infinity", "NaN", " 5", "5 ", "0x10", "1,000", "e5", ".",
               "+", "-", "1e", "1e+", "--1", "1.2.3", "5e1.5", "1_0", "٣"]
INTS = [0, 1, 2, 5, 42, -5, -1, 100, 2**53, 2**53 + 1, 2**63 - 1, -2**63, 10**18]
DOUBLES = [0.5, 1.0, 2.5, -0.0, 42.0, 1e21, 1e20, 123456789012345680000.0, 1e-6, 1e-7, 1.5e-7, 5e-324,
           1.7976931348623157e308, 0.1, 123456789.123, 1e22, 1e16, -2.5, 9.999999e20, 0.000001234]
AGGREGATIONS = ["TOTAL", "UNIQUE_USERS", "PER_USER_AVG", "SUM", "AVG", "MIN", "MAX", "UNSPECIFIED"]
TRAITS = ["plan", "age", "n.x", "vip", "tags", "n", "none", "score", "n.x.y", "a.b", "a.b.c", "a.0", "tags.0"]
OPERATORS = ["EQUALS", "NOT_EQUALS", "CONTAINS", "NOT_CONTAINS", "IS_SET", "IS_NOT_SET", "LTE", "GTE", "LT",
             "GT", "IN", "NOT_IN", "BETWEEN", "NOT_BETWEEN"]


def rfc3339(r, ms):
    """One of the spellings of an instant; below the millisecond anything."""
    text = model.utc(ms).strftime("%Y-%m-%dT%H:%M:%S")
    if ms % 1000 or r.random() < 0.5:
        text += f".{ms % 1000:03d}" + r.choice(["", "", "999", "500001", "000"])
    if r.random() < 0.1:
        shifted = model.utc(ms + 19800000).strftime("%Y-%m-%dT%H:%M:%S")
        return shifted + text[19:] + "+05:30"
    return text + "Z"


def transition(r, zone):
    """Milliseconds of a clock change of some year from 2000 on, or None."""
    year = r.randrange(2000, 2026)
    at = [datetime.datetime(year, 1, 1, tzinfo=model.UTC) + datetime.timedelta(days=d) for d in range(366)]
    offset = lambda t: t.astimezone(zone.zone).utcoffset()
    pairs = [(a, b) for a, b in zip(at, at[1:]) if offset(a) != offset(b)]
    if not pairs:
        return None
    a, b = r.choice(pairs)
    while b - a > datetime.timedelta(minutes=1):
        middle = a + (b - a) / 2
        a, b = (a, middle) if offset(middle) != offset(a) else (middle, b)
    return (b - model.EPOCH) // datetime.timedelta(minutes=1) * 60000


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.now = int(time.time() * 1000)

    def xid(self):
        return "".join(self.r.choice("0123456789abcdefghijklmnopqrstuv") for _ in range(20))

    def some(self, pool, low, high):
        return self.r.sample(pool, min(len(pool), self.r.randint(low, high)))

    def scenario(self):
        r = self.r
        self.zone_name = r.choice(ZONES)
        self.zone = model.Zone(self.zone_name)
        self.granularity = r.choice(list(CAPS))
        # Now and then enough to need wide dictionary codes and several batches.
        self.big = r.random() < 0.01
        self.pick_times()
        self.kinds = self.some(KINDS, 1, 5)
        self.users = self.some(USERS, 1, 7) + [f"many-{i}" for i in range(400 if self.big else 0)]
        self.keys = self.some(KEYS, 1, 4)
        self.sessions = [str(uuid.UUID(int=r.getrandbits(128))) for _ in range(3)]
        profiles, aliases = self.people()
        if r.random() < 0.2:
            self.users += self.some(COOKIELESS, 1, 3)
        batches = self.batches()
        return {"zone": self.zone_name, "profiles": profiles, "aliases": aliases, "batches": batches,
                "queries": [self.question() for _ in range(6)]}

    def pick_times(self):
        """Where events may lie: crowded on few instants."""
        r = self.r
        span = SPANS[self.granularity] * HOUR
        anchor = transition(r, self.zone) if r.random() < 0.6 else None
        anchor = anchor or r.choice([r.randrange(946684800000, self.now), self.now - span,
                                     r.randrange(2000, 2026) * 31556952000 - 1970 * 31556952000])
        self.times = []
        for _ in range(200 if self.big else r.randint(3, 14)):
            near = anchor + r.choice([0, r.randrange(-span, span), r.randrange(-span, span),
                                      r.randrange(-3 * HOUR, 3 * HOUR), r.randrange(-48, 48) * 30 * 60000])
            if r.random() < 0.4:
                near = self.zone.start(near, self.granularity)
            self.times.append(near + r.choice([0, 0, 0, -1, 1, 999]))
        floor, ceiling = 946684800000, self.now + 23 * HOUR
        self.times = [min(max(t, floor), ceiling) for t in self.times]
        self.anchor, self.span = anchor, span

    def people(self):
        r = self.r
        profiles, aliases, taken = [], {}, set()
        for _ in range(r.choice([0, 0, 1, 2, 4])):
            external = r.choice(["", r.choice(self.users), "ext" + str(r.randrange(3))])
            dead = r.random() < 0.15
            if external in taken and not dead:
                external = ""
            if not dead:
                taken.add(external)
            profiles.append({"id": self.xid(), "external_id": external, "properties": self.traits(),
                             "deleted": dead})
        for p in profiles:
            for alias in self.some(self.users, 0, 30 if self.big else 3):
                aliases.setdefault(alias, p["id"])
        for p in profiles:
            self.users += [u for u in self.some([p["id"], p["external_id"]], 0, 2) if u]
        return profiles, aliases

    def traits(self):
        r = self.r
        every = {"plan": r.choice(["gold", "silver", "", "2026-01-01", "42"]),
                 "age": r.choice([1, 42, 2.5, 1e21, 1e-7, -3, "42", "1e2", "x", 2**53 + 1, None]),
                 "n": {"x": r.choice(["deep", 5, True, None, {"y": 1}])}, "vip": r.choice([True, False]),
                 "tags": r.choice([["a", "b"], []]), "score": r.choice([0, 0.5, 1.0, 100]),
                 "n.x": r.choice(["flat", 6, None, {"y": 2}]), "a.b": r.choice(["gold", 7, {"c": "silver"}]),
                 "a": r.choice([{"b": {"c": 3}}, {"b": "42", "b.c": "gold"}, {"0": "plan"}, ["x"], 5]),
                 "a.b.c": r.choice(["gold", None])}
        return {k: every[k] for k in self.some(list(every), 0, 8)}

    def value(self, key):
        r = self.r
        if key == "amt":
            return self.typed(r.choice([1, 2, 3, 0.25, 2.5, -1, -0.5, 7.0, "7", "abc", "", "1e1", "+2", True,
                                        "inf", ".5", 0, 100]))
        if key == "$mobile":
            return self.typed(r.choice([True, False, "true", "false", "1", "0", "", "yes", 1, 0.0]))
        if r.random() < 0.06:
            return {"timestampValue": rfc3339(r, r.choice(self.times))}
        return self.typed(r.choice(self.values))

    @staticmethod
    def typed(v):
        kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(v)]
        return {kind: v}

    def event(self):
        r = self.r
        when, who = r.choice(self.times), r.choice(self.users)
        props = {k: self.value(k) for k in self.some(self.keys + ["amt", "amt"], 0, 5) if k != "absent"}
        out = {"eventId": str(uuid.UUID(int=r.getrandbits(128))), "distinctId": who}
        if r.random() < 0.15 and not any("timestampValue" in v for v in props.values()):
            plain = {k: next(iter(v.values())) for k, v in props.items()}
            plain = {k: float(v) if type(v) is int else v for k, v in plain.items()}
            return {**out, "name": r.choice(self.kinds), "timestamp": rfc3339(r, when),
                    "properties": {**plain, "void": None}}
        out |= {"kind": r.choice(self.kinds), "occurTime": rfc3339(r, when)}
        if r.random() < 0.8:
            out["sessionId"] = r.choice(self.sessions + [str(uuid.UUID(int=0))])
        for part, mine in (("autoProperties", True), ("customProperties", False)):
            some = {k: v for k, v in props.items() if k.startswith("$") == mine}
            if some:
                out[part] = some
        return out

    def batches(self):
        """Lists of events, with retries: equal, changed, spelled otherwise, on another day."""
        r = self.r
        pool = r.choice([WORDS, NUMBERISH + NOT_NUMBERS, INTS + NUMBERISH, DOUBLES + NUMBERISH + NOT_NUMBERS,
                         WORDS + INTS + DOUBLES + [True, False], ["a", "b", "c", "d"]])
        self.values = self.some(pool, 2, 12) + [f"v{i}" for i in range(500 if self.big else 0)]
        n = 1500 if self.big else r.choice([0, 3, 10, 20, 40, 40, 80])
        events = [self.event() for _ in range(n)]
        out = []
        while events:
            size = min(1000, r.choice([1, 5, len(events)]))
            out.append(events[:size])
            events = events[size:]
        for batch in list(out):
            if r.random() < 0.2:
                again = json.loads(json.dumps(batch))
                for e in again:
                    change = r.randrange(5)
                    if change == 0:
                        e["eventId"] = e["eventId"].upper()
                    elif change == 1:
                        e["distinctId"] = r.choice(self.users)
                    elif change == 2 and "kind" in e:
                        e["kind"] = r.choice(self.kinds)
                    elif change == 3 and "occurTime" in e:
                        e["occurTime"] = rfc3339(r, r.choice(self.times))
                out.append(again)
        return out

    # -- questions

    def text(self):
        r = self.r
        return r.choice([model.value_text(r.choice(self.values)), r.choice(WORDS), r.choice(NUMBERISH), "a"])

    def number(self):
        r = self.r
        mine = [model.value_text(v) for v in self.values]
        mine = [v for v in mine if model.parse_number(v) is not None]
        return r.choice(mine or NUMBERISH) if r.random() < 0.6 else r.choice(NUMBERISH)

    def filter(self):
        r = self.r
        f = {"property": r.choice(self.keys + ["amt", "absent"]),
             "operator": "FILTER_OPERATOR_" + r.choice(OPERATORS)}
        if r.random() < 0.25:
            f |= {"property": r.choice(TRAITS), "source": "PROPERTY_SOURCE_PROFILE"}
        elif r.random() < 0.3:
            f["source"] = "PROPERTY_SOURCE_" + r.choice(["AUTO", "CUSTOM", "UNSPECIFIED"])
        if f["property"] == "tags":
            f["operator"] = "FILTER_OPERATOR_" + r.choice(["IS_SET", "IS_NOT_SET"])
        op = f["operator"].removeprefix("FILTER_OPERATOR_")
        text = (lambda: r.choice(["gold", "42", "deep", "true", "", "1e21"])) \
            if "PROFILE" in f.get("source", "") else self.text
        if op in ("EQUALS", "NOT_EQUALS", "CONTAINS", "NOT_CONTAINS"):
            value = text() or "a"
            if "CONTAINS" in op and r.random() < 0.5:
                value = value[r.randrange(len(value)):][:1]
            f["value"] = value
        elif op in ("IN", "NOT_IN"):
            f["values"] = [text() for _ in range(r.randint(1, 4))]
        elif op in ("LT", "LTE", "GT", "GTE"):
            f["value"] = self.number()
        elif "BETWEEN" in op:
            f["values"] = sorted([self.number(), self.number()], key=model.parse_number)
        return f

    def event_filter(self, may_be_empty=True):
        r = self.r
        out = {}
        if r.random() < 0.75:
            out["kind"] = r.choice(self.kinds if r.random() < 0.95 else ["never"])
        if r.random() < 0.25 or not (out or may_be_empty):
            out["filters"] = [self.filter() for _ in range(r.randint(1, 2))]
        return out

    def window(self, granularity):
        r = self.r
        for _ in range(100):
            a, b = (r.choice([r.choice(self.times) + r.choice([-1, 0, 1]), self.anchor - self.span,
                              self.anchor + self.span, self.anchor]) for _ in range(2))
            if r.random() < 0.6:
                a, b = min(self.times), max(self.times) + 1
            if a < b and b - a <= CAPS[granularity] * HOUR:
                return {"from": rfc3339(r, a), "to": rfc3339(r, b)}
        a = r.choice(self.times)
        return {"from": rfc3339(r, a), "to": rfc3339(r, a + CAPS[granularity] * HOUR)}

    def question(self):
        r = self.r
        if r.random() < 0.2:
            return self.listing()
        granularity = self.granularity if r.random() < 0.7 else r.choice(list(CAPS))
        trends = r.random() < 0.7
        spec = {"insightType": "INSIGHT_TYPE_" + ("TRENDS" if trends else "SEGMENTATION")}
        if r.random() < 0.95:
            spec["events"] = self.event_queries(trends)
        if trends and r.random() < 0.6:
            names = self.some(self.keys + ["absent", "p", "$os"], 1, r.choice([1, 2, 3, 5]))
            spec["breakdowns"] = [{"property": k} for k in dict.fromkeys(names)]
            if r.random() < 0.8:
                spec["breakdownLimit"] = r.choice([0, 1, 1, 2, 2, 3, 5, 100])
        if r.random() < 0.25:
            spec["filterGroups"] = [
                {"filters": [self.filter() for _ in range(r.randint(1, 3))],
                 "operator": "LOGICAL_OPERATOR_" + r.choice(["AND", "OR", "UNSPECIFIED"])}
                for _ in range(r.randint(1, 3))]
            spec["filterGroupsOperator"] = "LOGICAL_OPERATOR_" + r.choice(["AND", "OR", "UNSPECIFIED"])
        if r.random() < 0.3:
            spec["includeCookieless"] = True
        return {"spec": spec, "granularity": "GRANULARITY_" + granularity,
                "timeRange": self.window(granularity)}

    def event_queries(self, trends):
        r = self.r
        n = r.choice([1, 1, 1, 2, 2, 3, 5])
        out = []
        for _ in range(n):
            q = {"event": self.event_filter(trends or n == 1)}
            if trends and r.random() < 0.05:
                del q["event"]
            if r.random() < 0.8:
                how = r.choice(AGGREGATIONS)
                q["aggregation"] = "AGGREGATION_TYPE_" + how
                if how in ("SUM", "AVG"):
                    q["aggregationProperty"] = r.choice(["amt", "absent", "$mobile"])
                elif how in ("MIN", "MAX"):
                    q["aggregationProperty"] = r.choice(self.keys + ["amt"])
            out.append(q)
        return out

    def listing(self):
        r = self.r
        out = {"pageSize": r.choice([0, 1, 2, 3, 7, 20, 1000])}
        if r.random() < 0.4:
            out["distinctId"] = r.choice(self.users + ["nobody"])
        if r.random() < 0.3:
            out["kind"] = r.choice(self.kinds + ["never"])
        if r.random() < 0.2:
            out["sessionId"] = r.choice(self.sessions).upper()
        if r.random() < 0.3:
            out["timeRange"] = self.window("MONTH")
        if r.random() < 0.3:
            out["propertyFilters"] = [self.filter() for _ in range(r.randint(1, 2))]
        if r.random() < 0.3:
            n = r.choice([1, 2, 3])
            out["events"] = [self.event_filter(n == 1) for _ in range(n)]
        return out
