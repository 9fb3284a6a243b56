"""Funnels, retention and user flow worked out the slow and obvious way, from the text of the decisions.

Every definition is taken literally (who reaches which level: try every start; what a
chain is: a recursion), so that nothing here is built like the C code. Reading events,
conditions, zones and identity is model.py's.
"""
import functools

import model

DAY, OTHERS = 86400000, model.OTHERS
TIMES = [("0-30s", 30), ("30s-2m", 120), ("2-5m", 300), ("5-15m", 900), ("15-60m", 3600), ("1-6h", 21600),
         ("6-24h", 86400), ("24h+", None)]
NS = 1000000


class Paths(model.Model):
    def query(self, request):
        kind = request["spec"]["insightType"].removeprefix("INSIGHT_TYPE_").lower()
        return getattr(self, kind)(request["spec"], request)

    # -- who did what

    def rows(self, spec, request):
        """What counts: in the window, in the groups, of people unless cookieless ones are asked for."""
        rows = [e for e in self.window(request["timeRange"]) if self.in_groups(spec, e)]
        if not spec.get("includeCookieless"):
            rows = [e for e in rows if not e.distinct_id.startswith("cookieless-")]
        return rows

    def persons(self, rows):
        """{person: their events, in order}"""
        out = {}
        for e in rows:
            out.setdefault(self.person(e.distinct_id), []).append(e)
        return out

    def split(self, spec, first, weight):
        """[(values or None, persons)]: persons by the texts of their first event, the heaviest values,
        by text, and the rest as $others. weight(persons) ranks."""
        names = [b["property"] for b in spec.get("breakdowns", [])]
        by_values = {}
        for person, event in first.items():
            by_values.setdefault(tuple(event.text(n) for n in names), []).append(person)
        text = lambda values: [v.encode() for v in values]
        order = sorted(by_values, key=lambda v: (-weight(by_values[v]), text(v)))
        limit = spec.get("breakdownLimit", 0) or 10
        kept, rest = (order[:limit], order[limit:]) if names else (order, [])
        out = [(dict(zip(names, v)), by_values[v]) for v in sorted(kept, key=text)]
        if rest:
            out.append(({n: OTHERS for n in names}, [p for v in rest for p in by_values[v]]))
        return out

    # -- funnels (D32, D75)

    def funnel(self, spec, request):
        steps = [q["event"] for q in spec["events"]]
        window = model.millis(request["timeRange"]["to"]) - model.millis(request["timeRange"]["from"])
        within = int(spec["conversionWindow"].rstrip("s")) * 1000 if "conversionWindow" in spec else window
        people = self.persons([e for e in self.rows(spec, request)
                               if any(self.is_meant(s, e) for s in steps)])
        chain = {}
        for person, events in people.items():
            matches = [[self.is_meant(s, e) for s in steps] for e in events]
            chain[person] = final_chain(events, matches, within)
            assert len(chain[person]) == level(events, matches, within), (person, events)
        series = self.split(spec, {p: events[0] for p, events in people.items()},
                            lambda persons: sum(len(chain[p]) >= 1 for p in persons))
        if not series and not spec.get("breakdowns"):
            series = [({}, [])]
        return [(values, [self.step(s, i, [chain[p] for p in persons if len(chain[p]) > i],
                                    spec.get("includeStepTiming"))
                          for i, s in enumerate(steps)]) for values, persons in series]

    @staticmethod
    def step(step, i, chains, timed):
        deltas = sorted(c[i].ms - c[i - 1].ms for c in chains)
        return step.get("kind", ""), len(chains), timing(deltas) if timed and i else None

    # -- retention (D33, D76)

    def retention(self, spec, request):
        """[(values, [(cohort's text, size, [(bucket ms, value)])])]"""
        granularity = request["granularity"].removeprefix("GRANULARITY_")
        starts, returns = spec["events"][0]["event"], spec["events"][-1]["event"]
        people = self.persons(self.rows(spec, request))
        first = {p: [e for e in events if self.is_meant(starts, e)][:1] for p, events in people.items()}
        first = {p: e[0] for p, e in first.items() if e}
        cohort = {p: self.zone.start(e.ms, granularity) for p, e in first.items()}
        came = {p: {self.zone.start(e.ms, granularity) for e in people[p]
                    if self.is_meant(returns, e) and e.ms >= first[p].ms} for p in first}
        out = []
        for values, persons in self.split(spec, first, len):
            cohorts = []
            for c in sorted({cohort[p] for p in persons}):
                mine = [p for p in persons if cohort[p] == c]
                points = []
                for t in sorted({c}.union(*(came[p] for p in mine))):
                    share = 100 * sum(t in came[p] for p in mine) / len(mine)
                    if t == c or t > c and share:
                        points.append((t, share))
                cohorts.append((self.local_text(c), len(mine), points))
            out.append((values, cohorts))
        return out

    def local_text(self, ms):
        text = self.zone.local(ms).isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text

    # -- user flow (D34, D77)

    def user_flow(self, spec, request):
        """([(id, depth, label, is_others)], [(source, target, value)])"""
        flow = spec["userFlow"]
        label = (lambda e: e.text(flow["nodeProperty"])) if flow.get("nodeKind") == "NODE_KIND_PROPERTY" else \
            (lambda e: e.kind)
        sessions = {}
        for e in self.rows(spec, request):
            if e.session.int and self.is_meant(flow.get("scope", {}), e):
                sessions.setdefault(e.session, []).append(label(e))
        ways = [clipped(labels, flow.get("maxHops") or 5) for labels in sessions.values()]
        # A link is (depth, label, label at the next depth); a session has each once.
        links = {}
        for way in ways:
            for depth, pair in enumerate(zip(way, way[1:])):
                links[depth, *pair] = links.get((depth, *pair), 0) + 1
        weight = {}
        for (depth, a, b), value in links.items():
            for node in ((depth, a), (depth + 1, b)):
                weight[node] = weight.get(node, 0) + value
        heaviest = lambda node: (-weight[node], node[1].encode())
        kept = {node for depth in range(11) for node in
                sorted((n for n in weight if n[0] == depth), key=heaviest)[:flow.get("maxNodes") or 20]}
        # A bucket is the label None.
        merged = {}
        for (depth, a, b), value in links.items():
            ends = (depth, a if (depth, a) in kept else None), (depth + 1, b if (depth + 1, b) in kept else None)
            merged[ends] = merged.get(ends, 0) + value
        byte_wise = lambda name: (name is None, (name or "").encode())
        order = sorted(merged, key=lambda k: (-merged[k], k[0][0], byte_wise(k[0][1]), byte_wise(k[1][1])))
        order = order[:flow.get("maxLinks") or 100]
        nodes = sorted({node for ends in order for node in ends},
                       key=lambda n: (n[0], n[1] is None, heaviest(n) if n[1] is not None else ()))
        ids = {node: f"{node[0]}:{node[1]}" for node in nodes if node[1] is not None}
        for node in nodes:
            if node[1] is None:
                ids[node] = f"{node[0]}:{OTHERS}"
                while ids[node] in [i for n, i in ids.items() if n[1] is not None]:
                    ids[node] += "_"
        return ([(ids[n], n[0], OTHERS if n[1] is None else n[1], n[1] is None) for n in nodes],
                [(ids[a], ids[b], merged[a, b]) for a, b in order])


def clipped(labels, hops):
    """A session's way: no blanks, then no repeats in a row, then the first ones."""
    labels = [x for x in labels if x]
    return [x for i, x in enumerate(labels) if i == 0 or x != labels[i - 1]][:hops + 1]


def level(events, matches, within):
    """The largest k with k different events in order, of steps 1 to k, within the time from the first."""
    best = 0
    for start in range(len(events)):
        if not matches[start][0]:
            continue
        step = 1
        for i in range(start + 1, len(events)):
            if step < len(matches[i]) and matches[i][step] and events[i].ms - events[start].ms <= within:
                step += 1
        best = max(best, step)
    return best


def final_chain(events, matches, within):
    """The chain that first brought the person to their level."""
    @functools.lru_cache(None)
    def newest(i, step):
        """The chain of steps up to `step` that ends with event i: it goes on from the chain of the step
        before that was completed last."""
        if not matches[i][step]:
            return None
        if step == 0:
            return (events[i],)
        before = next((c for c in (newest(j, step - 1) for j in range(i - 1, -1, -1)) if c), None)
        return before + (events[i],) if before and events[i].ms - before[0].ms <= within else None

    best = ()
    for i in range(len(events)):
        for step in range(len(matches[i])):
            chain = newest(i, step)
            if chain and len(chain) > len(best):
                best = chain
    return best


def timing(deltas):
    """1.6, of sorted deltas in ms; durations in ns."""
    n = len(deltas)
    counts = [0] * len(TIMES)
    for d in deltas:
        counts[next(i for i, (_, below) in enumerate(TIMES) if below is None or d < below * 1000)] += 1
    if not n:
        return 0, 0, 0, counts
    middle = [deltas[(n - 1) // 2], deltas[n // 2]]
    return sum(deltas) * NS // n, sum(middle) * NS // 2, deltas[-(-95 * n // 100) - 1] * NS, counts
