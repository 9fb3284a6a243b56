"""Top-K, maps, session metrics and SegmentUsers worked out the slow and obvious way.

Written from decisions D25, D26, D29, D35-D37, D41, D60-D62, D70-D79 and sections 1.9,
1.10, 2.4 of insights-dashboards.md: for every question all events are looked at again.
What an event, a condition and a bucket are is model.py's.
"""
import fractions

import model

# ISO 3166-1 alpha-2, as anybody would copy them from the standard.
COUNTRIES = set("""
AF AX AL DZ AS AD AO AI AQ AG AR AM AW AU AT AZ BS BH BD BB BY BE BZ BJ BM BT BO BQ BA BW BV BR IO BN BG BF BI
CV KH CM CA KY CF TD CL CN CX CC CO KM CG CD CK CR CI HR CU CW CY CZ DK DJ DM DO EC EG SV GQ ER EE SZ ET FK FO
FJ FI FR GF PF TF GA GM GE DE GH GI GR GL GD GP GU GT GG GN GW GY HT HM VA HN HK HU IS IN ID IR IQ IE IM IL IT
JM JP JE JO KZ KE KI KP KR KW KG LA LV LB LS LR LY LI LT LU MO MG MW MY MV ML MT MH MQ MR MU YT MX FM MD MC MN
ME MS MA MZ MM NA NR NP NL NC NZ NI NE NG NU NF MK MP NO OM PK PW PS PA PG PY PE PH PN PL PT PR QA RE RO RU RW
BL SH KN LC MF PM VC WS SM ST SA SN RS SC SL SG SX SK SI SB SO ZA GS SS ES LK SD SR SJ SE CH SY TW TJ TZ TH TL
TG TK TO TT TN TR TM TC TV UG UA AE GB US UM UY UZ VU VE VN VG VI WF EH YE ZM ZW""".split())
NO_SESSION = 0


def how(query):
    return query.get("metric", "AGGREGATION_TYPE_TOTAL").removeprefix("AGGREGATION_TYPE_")


class Points(model.Model):
    # -- who is who: one change after the other (D26, D60)

    def by_external(self, external):
        return next((p for p, (e, _) in self.profiles.items() if e == external), None)

    def identified(self, external, traits, anonymous, answer):
        """What Identify does; `answer` is the profile id that the server gave."""
        who = self.by_external(external) or self.profile_of(external)
        if who is None:
            who = answer
            self.profiles[who] = (external, {})
        assert who == answer, ("Identify", external, who, answer)
        properties = {**self.profiles[who][1], **traits}
        self.profiles[who] = (self.profiles[who][0],
                              {k: v for k, v in properties.items() if traits.get(k, v) is not None})
        if anonymous and anonymous != external:
            self.aliases[anonymous] = who

    def aliased(self, previous, external, answer):
        target = self.by_external(external) or self.profile_of(external)
        source = self.profile_of(previous)
        if previous == external or source is not None and source == target:
            assert answer == (target or ""), ("Alias", previous, external, target, answer)
            return
        if target is None:
            target = answer
            self.profiles[target] = (external, {})
        assert target == answer, ("Alias", previous, external, target, answer)
        self.aliases[previous] = target
        if source is not None:
            old_external, old = self.profiles.pop(source)
            self.profiles[target] = (self.profiles[target][0], {**old, **self.profiles[target][1]})
            for alias, whose in self.aliases.items():
                if whose == source:
                    self.aliases[alias] = target
            self.aliases[source] = self.aliases[old_external] = target

    # -- top-K and maps

    def meant(self, spec, query, time_range, users):
        """Events of the window that a question is about; `users`: it counts people."""
        events = [e for e in self.window(time_range)
                  if self.in_groups(spec, e) and self.is_meant(query.get("scope", {}), e)]
        if users and not spec.get("includeCookieless"):
            events = [e for e in events if not e.distinct_id.startswith("cookieless-")]
        return events

    def number(self, query, events):
        return self.aggregate({"aggregation": query.get("metric", "AGGREGATION_TYPE_TOTAL"),
                               "aggregationProperty": query.get("metricProperty", "")}, events)

    def has_numbers(self, query, events):
        return any(model.parse_number(e.text(query["metricProperty"])) is not None for e in events)

    def top_k(self, spec, time_range):
        query = spec["topK"]
        dimension = query["dimension"].removeprefix("DIMENSION_")
        events = self.meant(spec, query, time_range,
                            dimension == "USER" or how(query) in ("UNIQUE_USERS", "PER_USER_AVG"))
        groups = {}
        for e in events:
            value = {"PROPERTY": lambda: e.text(query["property"]), "EVENT_KIND": lambda: e.kind,
                     "USER": lambda: self.person(e.distinct_id)[1]}[dimension]()
            groups.setdefault(value, []).append(e)

        def rank(value):
            nothing = how(query) == "SUM" and not self.has_numbers(query, groups[value])
            return nothing, -self.number(query, groups[value]), value.encode()
        order = sorted(groups, key=rank)
        limit = query.get("limit") or 10
        rows = [self.row(value, self.number(query, groups[value]), dimension) for value in order[:limit]]
        rest = [e for value in order[limit:] for e in groups[value]]
        if rest and not query.get("omitOthers"):
            rows.append({"dimensionValue": "$others", "value": self.number(query, rest), "isOthers": True})
        return rows

    def row(self, value, number, dimension):
        row = {"dimensionValue": value, "value": number, "isOthers": False}
        if dimension == "USER" and value in self.profiles:
            external, properties = self.profiles[value]
            row["profile"] = {"id": value, "externalId": external}
            if properties:
                row["profile"]["properties"] = properties
        return row

    def map(self, spec, time_range):
        query = spec["map"]
        events = self.meant(spec, query, time_range, how(query) in ("UNIQUE_USERS", "PER_USER_AVG"))
        found = {e.text("$country") for e in events} & COUNTRIES
        numbers = {c: self.number(query, [e for e in events if e.text("$country") == c]) for c in found}
        return [{"dimensionValue": c, "value": numbers[c], "isOthers": False}
                for c in sorted(numbers, key=lambda c: (-numbers[c], c))]

    # -- sessions

    def sessions(self, spec, time_range):
        """Lists of events, each in order: whole sessions that start in the window."""
        scope = spec["session"].get("scope", {})
        by_id = {}
        for e in self.events.values():
            if e.session.int != NO_SESSION and self.in_groups(spec, e) and self.is_meant(scope, e):
                by_id.setdefault(e.session, []).append(e)
        out = [sorted(es, key=lambda e: (e.ms, e.id)) for es in by_id.values()]
        a, b = model.millis(time_range["from"]), model.millis(time_range["to"])
        return [es for es in out if a <= es[0].ms < b]

    @staticmethod
    def session_number(spec, sessions):
        metric, n = spec["session"]["metric"].removeprefix("SESSION_METRIC_"), len(sessions)
        if metric in ("SESSIONS", "ENTRY", "EXIT"):
            return n
        if n == 0:
            return 0
        total = {"AVG_DURATION": lambda es: fractions.Fraction(es[-1].ms - es[0].ms, 1000),
                 "BOUNCE_RATE": lambda es: 100 if len(es) == 1 else 0,
                 "AVG_EVENTS_PER_SESSION": len}[metric]
        return float(sum(map(total, sessions)) / fractions.Fraction(n))

    def session_trends(self, spec, time_range, granularity):
        """[(kind, breakdown, [(bucket ms, value)])] in order."""
        names = [b["property"] for b in spec.get("breakdowns", [])]
        which = -1 if spec["session"]["metric"] == "SESSION_METRIC_EXIT" else 0
        groups = {}
        for es in self.sessions(spec, time_range):
            groups.setdefault(tuple(es[which].text(n) for n in names), []).append(es)

        def points(sessions):
            buckets = {}
            for es in sessions:
                buckets.setdefault(self.zone.start(es[0].ms, granularity), []).append(es)
            return [(b, self.session_number(spec, buckets[b])) for b in sorted(buckets)]

        def rank(values):
            total = 0.0
            for _, number in points(groups[values]):
                total += number
            return -total, [v.encode() for v in values]
        order = sorted(groups, key=rank)
        limit = (spec.get("breakdownLimit") or 10) if names else len(order)
        kind = spec["session"].get("scope", {}).get("kind") or "$session"
        out = [(kind, dict(zip(names, values)), points(groups[values])) for values in order[:limit]]
        rest = [es for values in order[limit:] for es in groups[values]]
        if rest:
            out.append((kind, {n: "$others" for n in names}, points(rest)))
        return out

    # -- SegmentUsers

    def users(self, request):
        """What the persons are called, in order."""
        found = set()
        for e in self.window(request["timeRange"]):
            if e.distinct_id.startswith("cookieless-") or not self.in_groups(request, e):
                continue
            if any(self.is_meant(q["event"], e) for q in request["events"]):
                profile = self.profile_of(e.distinct_id)
                external = self.profiles[profile][0] if profile else ""
                found.add(external or profile or e.distinct_id)
        return sorted(found, key=str.encode)

    # -- any of them

    def answer(self, request):
        if "spec" not in request:
            return self.users(request)
        spec, time_range = request["spec"], request["timeRange"]
        if "topK" in spec:
            return self.top_k(spec, time_range)
        if "map" in spec:
            return self.map(spec, time_range)
        if spec["insightType"] == "INSIGHT_TYPE_SEGMENTATION":
            return self.session_number(spec, self.sessions(spec, time_range))
        return self.session_trends(spec, time_range, request["granularity"].removeprefix("GRANULARITY_"))


assert len(COUNTRIES) == 249
