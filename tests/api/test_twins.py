#!/usr/bin/env python3
"""Insights that a second thread has half of: sessions and flows of which all columns are in memory.
They say what a naive count says, whether that thread has enough memory, is disturbed, or not there."""
import collections
import itertools
import json
import random
import sys
import time
import uuid

import model
import pug
import test_colcache
import test_sealed
from test_model import QUERY
from test_sealed import DAY, LAZY, NOW, Shop, count, iso, seal

KINDS = ["open", "view", "buy", "leave"]
OPTIONS = LAZY + ["workers=1"]


class Visits(Shop):
    """Six days of sessions, some of which go on a day later; sealed."""

    def __init__(self, p):
        super().__init__(p)
        rnd, begin = random.Random(3), NOW - NOW % DAY - 9 * DAY
        self.of = collections.defaultdict(list)
        for no in range(1800):
            session, at = str(uuid.UUID(int=rnd.getrandbits(128))), begin + no % 6 * DAY + rnd.randrange(80000000)
            for _ in range(rnd.randrange(1, 9)):
                at += rnd.choice([0, 1, 60000, 60000, DAY]) if rnd.random() < 0.05 else rnd.randrange(1, 300000)
                self.of[session].append({
                    "eventId": str(uuid.UUID(int=rnd.getrandbits(128))), "kind": rnd.choice(KINDS),
                    "distinctId": f"u{rnd.randrange(300)}", "sessionId": session, "timestamp": iso(at),
                    "properties": {"page": f"/p{rnd.randrange(4)}", "long": "%0240x" % rnd.getrandbits(960)}})
        events = list(itertools.chain(*self.of.values()))
        rnd.shuffle(events)
        for i in range(0, len(events), 500):
            self.p.ok(test_sealed.BATCH, {"events": events[i:i + 500]}, key=self.key)
        for s in self.of.values():
            s.sort(key=lambda e: (model.millis(e["timestamp"]), uuid.UUID(e["eventId"]).bytes))

    def ask(self, spec):
        return self.p.ok(QUERY, {"spec": spec, "granularity": "GRANULARITY_DAY", "timeRange": {
            "from": iso(NOW - 30 * DAY), "to": iso(NOW + DAY)}}, key=self.key)


def session(metric, kind="SEGMENTATION", **more):
    return {"insightType": "INSIGHT_TYPE_" + kind, "session": {"metric": "SESSION_METRIC_" + metric}, **more}


DURATION, SESSIONS = session("AVG_DURATION"), session("SESSIONS")
ENTRY = session("ENTRY", "TRENDS", breakdowns=[{"property": "page"}])
LONG = session("EXIT", "TRENDS", breakdowns=[{"property": "long"}], breakdownLimit=3)
FLOW = {"insightType": "INSIGHT_TYPE_USER_FLOW", "userFlow": {"nodeKind": "NODE_KIND_EVENT_KIND", "maxHops": 4}}


def links(sessions):
    """{(source, target): sessions} of a flow of 4 hops."""
    out = collections.Counter()
    for s in sessions:
        steps = [k for k, _ in itertools.groupby(e["kind"] for e in s)][:5]
        out.update((f"{d}:{a}", f"{d + 1}:{b}") for d, (a, b) in enumerate(zip(steps, steps[1:])))
    return out


def same(shop, spec):
    """The answer is that of a naive count."""
    got, all_of = shop.ask(spec), list(shop.of.values())
    lasted = [model.millis(s[-1]["timestamp"]) - model.millis(s[0]["timestamp"]) for s in all_of]
    if spec is SESSIONS:
        assert int(got["segmentation"]["total"]) == len(all_of), got
    elif spec is DURATION:
        assert abs(got["segmentation"]["total"] - sum(lasted) / len(lasted) / 1000) < 1e-6, got
    elif spec is ENTRY:
        want = collections.Counter((s[0]["properties"]["page"], s[0]["timestamp"][:10]) for s in all_of)
        assert {(s["breakdown"]["page"], x["time"][:10]): x["value"] for s in got["trends"]["series"]
                for x in s["points"] if x["value"]} == want, got
    elif spec is FLOW:
        assert {(x["source"], x["target"]): int(x["value"]) for x in got["userFlow"]["links"]} == links(all_of), got
    return json.dumps(got)


def test_as_counted(variant):
    with pug.Pug(variant, options=OPTIONS) as p:
        test_sealed.P = p
        shop = Visits(p)
        for spec in (SESSIONS, DURATION, ENTRY, FLOW):
            same(shop, spec)  # what waits is one thread's
        assert count(p, "insight_twins") == 0
        seal()
        for spec in (SESSIONS, DURATION, ENTRY, LONG, FLOW):
            cold = same(shop, spec)
            before = count(p, "insight_twins")
            assert same(shop, spec) == cold
            assert count(p, "insight_twins") == before + 1, spec
        # with some that wait, a part of them of sessions that are sealed
        late = [dict(s[-1], eventId=str(uuid.uuid4()), kind="late") for s in list(shop.of.values())[::5]]
        for e, s in zip(late, list(shop.of.values())[::5]):
            s.append(dict(e, timestamp=iso(model.millis(e["timestamp"]) + 1)))
            e["timestamp"] = s[-1]["timestamp"]
        p.ok(test_sealed.BATCH, {"events": late}, key=shop.key)
        before = count(p, "insight_twins")
        for spec in (SESSIONS, DURATION, ENTRY, FLOW):
            same(shop, spec)
        assert count(p, "insight_twins") == before + 4


def test_little_memory(variant):
    """A segment that takes more than the second thread has is the first one's."""
    with pug.Pug(variant, options=OPTIONS + ["insight_memory=6M"]) as p:
        test_sealed.P = p
        shop = Visits(p)
        seal()
        for spec in (LONG, ENTRY, FLOW):
            cold = same(shop, spec)
            for _ in range(3):
                assert same(shop, spec) == cold
        twins, misses = count(p, "insight_twins"), count(p, "insight_cache_misses")
        assert twins >= 9, (twins, misses)


def test_not_alone(variant):
    """Who wants to compute, too, sends the second thread away."""
    with pug.Pug(variant, options=OPTIONS + ["insight_parallel=1", "insight_threads=4"]) as p:
        test_sealed.P = p
        shop = Visits(p)
        seal()
        specs, end = [SESSIONS, DURATION, ENTRY, LONG, FLOW], time.monotonic() + 4
        want = {json.dumps(s): same(shop, s) for s in specs}

        def asks(seed):
            rnd = random.Random(seed)
            while time.monotonic() < end:
                spec = rnd.choice(specs)
                assert same(shop, spec) == want[json.dumps(spec)]
        test_colcache.at_once(*[lambda n=n: asks(n) for n in range(3)])
        assert count(p, "insight_twins") > 0


def test_many_conditions(variant):
    """The budget of time (D40) ends both threads within a segment, and is no failure of its own."""
    with pug.Pug(variant, options=OPTIONS + ["insight_timeout=2s"]) as p:
        test_sealed.P = p
        shop, begin = Shop(p), NOW - NOW % DAY - 9 * DAY
        for day in range(4):
            p.ok(test_sealed.BATCH, {"events": [
                {"eventId": str(uuid.uuid4()), "kind": "k", "distinctId": "u", "sessionId": str(uuid.uuid4()),
                 "timestamp": iso(begin + day * DAY + i), "properties": {"big": f"{i:04d}" + "a" * 1000}}
                for i in range(500)]}, key=shop.key)
        seal()

        def ask(filters):
            start = time.monotonic()
            status, body, _ = p.call(QUERY, {
                "spec": session("SESSIONS", filterGroups=[{"filters": [
                    {"property": "big", "operator": 4, "value": "ab"}] * filters}]),
                "granularity": "GRANULARITY_DAY",
                "timeRange": {"from": iso(NOW - 30 * DAY), "to": iso(NOW + DAY)}}, key=shop.key)
            return status, body, time.monotonic() - start
        for _ in range(2):
            status, body, _ = ask(2)
            assert status == 200 and int(body["segmentation"]["total"]) == 2000, body
        before = count(p, "insight_twins")
        status, body, took = ask(20000)
        assert (status, body["code"]) == (504, "deadline_exceeded"), (status, body)
        assert took < 10, f"{took:.3f} s"  # a minute and more it would be
        assert count(p, "insight_twins") == before + 1


if __name__ == "__main__":
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]))
