#!/usr/bin/env python3
"""Sealed events answer as waiting ones do: the model's scenarios (test_model.py) with
everything sealed, with a part of it, and with every batch sealed by itself; what sealing
keeps, whatever happens to the keeper meanwhile.

    test_sealed.py [--scenarios N] [--seed S] [--first I]    as test_model.py
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

import model
import pg
import pug
import scenario
import test_model
from test_model import BATCH, LIST, QUERY

P = None
ARGS = None
# The keeper leaves the inbox alone; `pugd seal` is what seals.
LAZY = ["seal_age=1d", "seal_events=100000000"]


def seal(p=None):
    """What pugd seal printed."""
    p = p or P
    done = subprocess.run([p.binary, "seal", "--config", "/dev/null", "-o",
                           "database_url=" + p.info["database_url"]],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(server, key, num, truth, batches):
    for batch in batches:
        got = server.ok(BATCH, {"events": batch}, key=key)
        want = {"accepted": len(batch), "dropped": 0,
                "eventsCreated": truth.send(test_model.renamed(batch))}
        if got != want:
            return f"BatchCreate: got {got}, want {want}"
    if any("cookieles~-" in str(b) for b in batches):
        server.forge_cookieless(num)
    return None


def check(server, s):
    """As test_model.check(), with sealing between the steps; which way, the scenario's
    number of events decides."""
    key, num = server.project(s["zone"])
    truth = model.Model(s["zone"])
    batches = s["batches"]
    half = len(batches) // 2
    how = sum(map(len, batches)) % 4
    steps = {0: [batches], 1: [batches[:half], batches[half:]],
             2: [[b] for b in batches], 3: [batches[:half], batches[half:]]}[how]
    for i, step in enumerate(steps):
        bad = send(server, key, num, truth, step)
        if bad:
            return None, bad
        if how < 3 or i == 0:
            seal()
            left = server.db.one("select count(*) from pugd.inbox where project = $1", num)
            if int(left):
                return None, f"{left} rows are still in the inbox"
    bad = kept(server, num, truth)
    if bad:
        return None, bad
    server.people(num, s["profiles"], s["aliases"])
    truth.profiles = {p["id"]: (p["external_id"], p["properties"]) for p in s["profiles"] if not p["deleted"]}
    truth.aliases = s["aliases"]
    for i, request in enumerate(s["queries"]):
        request = test_model.renamed_request(request)
        try:
            bad = test_model.difference(server, key, truth, request)
        except AssertionError as e:
            bad = e, "an answer"
        if bad:
            return i, f"got  {bad[0]}\nwant {bad[1]}"
    return None


def kept(server, num, truth):
    """None, or how the numbers of the tables differ from what was stored."""
    row = server.db.query("""
        select coalesce((select sum(n) from pugd.segment where project = $1), 0)
             + coalesce((select sum(stored) from pugd.inbox where project = $1), 0),
               (select count(*) from pugd.event_seen where project = $1),
               coalesce((select sum(events) from pugd.usage_days where project = $1), 0)
             + coalesce((select sum(stored) from pugd.inbox where project = $1), 0),
               (select count(*) from pugd.segment where project = $1 and day <>
                (to_timestamp(tmin / 1000.0) at time zone 'UTC')::date)""", num)[0]
    want = [len(truth.events)] * 3 + [0]
    got = [int(x) for x in row]
    return None if got == want else f"events in tables, claimed, counted, wrong days: {got}, want {want}"


# ---- tests -------------------------------------------------------------------------------

def test_regressions(_):
    test_model.test_regressions(_)


def test_random_scenarios(_):
    test_model.test_random_scenarios(_)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=200)
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261129"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=2)
    ARGS, rest = parser.parse_known_args()
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in rest else "test"
    with pug.Pug(variant, options=LAZY) as P:
        test_model.P, test_model.ARGS, test_model.check = P, ARGS, check
        sys.exit(pug.main(tests, rest))
