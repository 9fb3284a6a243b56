#!/usr/bin/env python3
"""What insights keep in memory (insight_cache) never shows: the models' random questions asked
cold and warm, with more and with less memory than they need, by several at once; and what was
acknowledged or erased while segments are sealed and merged.

    test_colcache.py [--scenarios N] [--seed S]    as test_model.py
"""
import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time

import model
import pug
import test_accounts
import test_events
import test_identify
import test_model
import test_paths
import test_points
import test_retention
import test_sealed
from test_model import QUERY
from test_sealed import LAZY, Shop, iso, seal, until

P = None
ARGS = None
SIZES = ["0", "4K", "256M"]


def counters(p):
    got = p.admin()["counters"]
    return {k: got["insight_cache_" + k] for k in ("hits", "misses", "lost", "bytes")}


def use(p):
    for m in (sys.modules[__name__], test_sealed, test_model, test_points, test_paths, test_retention,
              test_accounts, test_events, test_identify):
        m.P = p


# ---- the models' questions -----------------------------------------------------------------

def run_models():
    """Some scenarios of each kind. One after another: what one seals is everybody's."""
    for i in range(ARGS.scenarios):
        for module in (test_paths, test_points):
            server = test_sealed.Sealing()  # asks twice: the second time it is in memory
            try:
                bad = module.check(server, module.Maker(f"{ARGS.seed}:{i}").scenario())
            finally:
                server.close()
            assert not bad, f"{module.__name__}, scenario {i} of seed {ARGS.seed}: {bad}"


def at_once(*work):
    wrong = []

    def guarded(f):
        try:
            f()
        except BaseException as e:  # pylint: disable=broad-except
            wrong.append(e)
    threads = [threading.Thread(target=guarded, args=(f,)) for f in work]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]


def test_models(variant):
    for size in SIZES:
        with pug.Pug(variant, options=LAZY + ["workers=2", f"insight_cache={size}"]) as p:
            use(p)
            shop, stop, asked = Shop(p), threading.Event(), 0
            for day in range(20):
                shop.send([dict(e, timestamp=iso(model.millis(e["timestamp"]) - day * 86400000))
                           for e in shop.batch(random.Random(day), 60, days=1)])
            seal()

            def models(stop=stop, size=size, p=p):
                try:
                    run_models()
                    if size == "4K":  # somebody has written there just before somebody else read it
                        until(lambda: counters(p)["lost"] > 0)
                finally:
                    stop.set()

            def others(shop=shop, stop=stop):
                """Throws out what the models' questions have read."""
                nonlocal asked
                while not stop.is_set():
                    Asked(shop).check(1)
                    asked += 1
            at_once(models, others, others)
            got = counters(p)
            print(f"  {size}: {got}, {asked} times all of the shop")
            assert (got["hits"] > 0) == (size != "0"), got
            assert size != "256M" or got["hits"] > got["misses"], got


# ---- one project, while its segments change --------------------------------------------------

class Asked:
    """What is asked, and what the events that are there make of it."""

    def __init__(self, shop):
        self.shop = shop

    def ask(self, spec):
        now = int(time.time() * 1000)
        return self.shop.p.ok(QUERY, {"spec": spec, "granularity": "GRANULARITY_DAY", "timeRange": {
            "from": iso(now - 40 * 86400000), "to": iso(now + 86400000)}}, key=self.shop.key)

    def trend(self, kind, how, **more):
        got = self.ask({"insightType": "INSIGHT_TYPE_TRENDS", "events": [
            {"event": {"kind": kind}, "aggregation": "AGGREGATION_TYPE_" + how, **more}]})["trends"]
        days = collections.Counter()
        for s in got.get("series", []):
            for x in s["points"]:
                if x["value"]:
                    days[x["time"][:10]] += x["value"]
        return dict(days)

    def all(self):
        answers = {}
        for kind in ("k0", "k3"):
            answers[kind, "total"] = self.trend(kind, "TOTAL")
            answers[kind, "users"] = self.trend(kind, "UNIQUE_USERS")
            answers[kind, "sum"] = self.trend(kind, "SUM", aggregationProperty="n")
        for n in range(5):
            answers["n", n] = int(self.ask({
                "insightType": "INSIGHT_TYPE_SEGMENTATION", "filterGroups": [{"filters": [{
                    "property": "n", "operator": "FILTER_OPERATOR_EQUALS", "value": str(n)}]}],
            })["segmentation"]["total"])
        return answers

    def meant(self):
        answers = {}
        events = [(e["name"], e["distinctId"], e["timestamp"][:10], e["properties"]["n"])
                  for e in self.shop.events.values()]
        for kind in ("k0", "k3"):
            mine = [e for e in events if e[0] == kind]
            days = sorted({e[2] for e in mine})
            answers[kind, "total"] = {d: sum(e[2] == d for e in mine) for d in days}
            answers[kind, "users"] = {d: len({e[1] for e in mine if e[2] == d}) for d in days}
            sums = {d: sum(e[3] for e in mine if e[2] == d) for d in days}
            answers[kind, "sum"] = {d: n for d, n in sums.items() if n}
        for n in range(5):
            answers["n", n] = sum(e[3] == n for e in events)
        return answers

    def check(self, times=3):
        want = self.meant()
        for i in range(times):
            got = self.all()
            assert got == want, (i, [(k, got[k], want[k]) for k in want if got[k] != want[k]])


def changes_meanwhile(p, seconds):
    """Every answer holds what was acknowledged before it was asked for, and nothing twice, while
    events come, are sealed and merged."""
    shop, stop = Shop(p), threading.Event()

    def sends():
        rnd, end = random.Random(1), time.monotonic() + seconds
        try:
            while time.monotonic() < end and not stop.is_set():
                shop.send(shop.batch(rnd, rnd.randrange(1, 40)))
        finally:
            stop.set()

    def asks():
        conn = p.connect()
        try:
            while not stop.is_set():
                low = shop.acked
                got = shop.total(conn=conn)
                assert low <= got <= shop.asked, (low, got, shop.asked)
        finally:
            stop.set()
            conn.close()
    at_once(sends, asks, asks, asks)
    return shop


def erased(p, shop):
    """Nobody who was erased is shown, at once, and after the segments were written anew."""
    asked = Asked(shop)
    for who in ("u7", "u11"):
        request = p.ok("/shared.profiles.v1.ProfilesService/Delete", {"id": who}, key=shop.key)["requestId"]
        shop.events = {i: e for i, e in shop.events.items() if e["distinctId"] != who}
        asked.check(2)
        until(lambda r=request: p.ok("/shared.profiles.v1.ProfilesService/GetDeletionRequest", {"requestId": r},
                                     key=shop.key)["status"].endswith("COMPLETED"))
        asked.check(2)


def retained(shop):
    """What a retention hides is hidden at once, while memory has it still; and then gone."""
    asked = Asked(shop)
    old = [dict(e, timestamp=iso(model.millis(e["timestamp"]) - 20 * 86400000))
           for e in shop.batch(random.Random(9), 80)]
    shop.send(old)
    until(lambda: shop.rows("inbox") == 0)
    asked.check()
    assert test_retention.command("retention", "--project", shop.id, "--days", "10")[0] == 0
    shop.events = {i: e for i, e in shop.events.items() if e not in old}
    asked.check()
    days = f"pugd.segment WHERE project = {shop.num} AND day < (now() AT TIME ZONE 'UTC')::date - 11"
    test_retention.until(days, 0)
    asked.check()


def test_changes(variant):
    for size in ("4K", "256M"):
        with pug.Pug(variant, options=["workers=2", "seal_age=0", "seal_events=1", f"insight_cache={size}"]) as p:
            use(p)
            shop = changes_meanwhile(p, 2)
            before = counters(p)
            asked = Asked(shop)
            asked.check()
            until(lambda s=shop: s.rows("inbox") == 0)
            asked.check()
            test_sealed.as_before(test_model.Server(), shop.num, 0)  # and the keeper gives numbers back
            asked.check()
            until(lambda s=shop: s.db.one("select count(*) from pugd.segment where project = $1 and not numbered",
                                          s.num) == "0", 60)
            asked.check()
            erased(p, shop)
            retained(shop)
            for _ in range(10):
                shop.send(shop.batch(random.Random(time.time()), 20))
            asked.check()
            got = counters(p)
            print(f"  {size}: {len(shop.events)} events, {shop.rows('segment')} segments, before {before}, then {got}")
            assert got["hits"] > before["hits"], got
            done = subprocess.run([p.binary, "verify", "--config", "/dev/null", "-o",
                                   "database_url=" + p.info["database_url"]], capture_output=True, check=False)
            assert done.returncode == 0, done.stdout


def test_what_is_not_believed(variant):
    """A row that says anything else is another segment, whatever its id; a death is a new start."""
    with pug.Pug(variant, options=LAZY + ["workers=1"]) as p:
        use(p)
        shop = Shop(p)
        for _ in range(5):
            shop.send(shop.batch(random.Random(5), 40))
        seal()
        asked = Asked(shop)

        def misses():
            before = counters(p)
            asked.check(1)
            after = counters(p)
            assert after["hits"] + after["misses"] > before["hits"] + before["misses"]
            return after["misses"] - before["misses"]
        first = misses()
        assert first > 0 and misses() == 0
        shop.db.query("update pugd.segment set sealed_at = sealed_at + interval '1 microsecond' where project = $1",
                      shop.num)
        assert misses() == first and misses() == 0
        worker = next(w["pid"] for w in p.admin()["workers"] if w["role"] == "worker")
        os.kill(worker, signal.SIGKILL)
        until(lambda: [w["pid"] for w in p.admin()["workers"] if w["role"] == "worker" and w["state"] == "ready"]
              not in ([], [worker]))
        assert misses() == first and misses() == 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=2)
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261129"))
    ARGS, rest = parser.parse_known_args()
    cases = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    sys.exit(pug.main(cases, rest, expects=pug.KILLS))
