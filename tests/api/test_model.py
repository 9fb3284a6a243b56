#!/usr/bin/env python3
"""The server against a naive model (model.py), over random scenarios (scenario.py).

    test_model.py                            300 scenarios of a fixed seed, or of $PUGD_SEED
    test_model.py --scenarios 3000 --seed 7  more; the same ones again
    test_model.py --seed 7 --first 41 --scenarios 1   one of them

Every difference is cut down to the events and the parts of the question that it needs
and printed as JSON that can be put into REGRESSIONS.
"""
import argparse
import copy
import json
import math
import os
import struct
import sys
import time
import uuid

import model
import pg
import pug
import scenario
from test_accounts import AUTH, ORGS, PROJECTS

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST = "/activity.v1.ActivityService/List"
PASSWORD = "12345678"
P = None
ARGS = None


# ---- the server's side ---------------------------------------------------------------

class Server:
    """One account whose projects hold one scenario each."""

    def __init__(self):
        self.conn = P.connect()
        self.db = pg.connect(P.info["database_url"])
        self.email = f"model-{uuid.uuid4().hex[:12]}@example.com"
        self.token = P.ok(AUTH + "SignUp", {"email": self.email, "password": PASSWORD})["token"]
        self.token_time = time.monotonic()
        self.org = P.ok(ORGS + "List", token=self.token)["orgs"][0]["id"]

    def close(self):
        self.conn.close()
        self.db.close()

    def ok(self, path, body, **kw):
        return P.ok(path, body, conn=self.conn, **kw)

    def project(self, zone):
        """(key, number) of a new project."""
        if time.monotonic() - self.token_time > 600:
            self.token = P.ok(AUTH + "SignIn", {"email": self.email, "password": PASSWORD})["token"]
            self.token_time = time.monotonic()
        got = self.ok(PROJECTS + "Create", {"orgId": self.org, "displayName": uuid.uuid4().hex,
                                            "reportingTimezone": zone}, token=self.token)["project"]
        assert got["reportingTimezone"] == zone.replace("UTC", ""), (zone, got)
        key = self.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"}, token=self.token,
                      project=got["id"])["key"]
        return key, self.db.one("select num from pugd.projects where id = $1", got["id"])

    def people(self, num, profiles, aliases):
        for p in profiles:
            self.db.query("insert into pugd.profiles (project, id, external_id, properties, deleted_at) "
                          "values ($1, $2, $3, $4, case when $5 then now() end)", num, p["id"],
                          p["external_id"], json.dumps(p["properties"]), p["deleted"])
        for alias, profile in aliases.items():
            self.db.query("insert into pugd.aliases (project, alias_id, profile_id) values ($1, $2, $3)",
                          num, alias, profile)

    def forge_cookieless(self, num):
        """Turns the ids that stand for cookieless ones into such: those that the API
        makes are new ones each day, and only today's and yesterday's."""
        for row, data in self.db.query("select id, encode(data, 'hex') from pugd.inbox where project = $1",
                                       num):
            blob = forge(bytes.fromhex(data))
            self.db.query("update pugd.inbox set data = decode($3, 'hex') where project = $1 and id = $2",
                          num, row, blob.hex())


def lz4(data, size):
    """Unpacks one LZ4 block."""
    out, i = bytearray(), 0

    def length(n):
        nonlocal i
        while n >= 15 and data[i] == 255:
            n, i = n + 255, i + 1
        if n >= 15:
            n, i = n + data[i], i + 1
        return n

    while i < len(data):
        token = data[i]
        i += 1
        n = length(token >> 4)
        out += data[i:i + n]
        i += n
        if i >= len(data):
            break
        back = struct.unpack_from("<H", data, i)[0]
        i += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-back])
    assert len(out) == size
    return bytes(out)


def crc32c(data, table=[]):
    if not table:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            table.append(n)
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ table[(crc ^ b) & 255]
    return crc ^ 0xFFFFFFFF


def forge(blob):
    """Renames the ids of a level 0 blob (worker/store/evseg.h); all parts become raw."""
    n, dir_size = struct.unpack_from("<II", blob, 12)
    at, data_at = 20, 20 + dir_size

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            b = blob[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    def put(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + put(n >> 7)

    count = varint()
    directory, body = put(count), b""
    for _ in range(count):
        head_at, kind = at, blob[at]
        at += 1
        if kind == 7:
            at += 1
            key_size = varint()
            at += key_size
        head = blob[head_at:at]
        raw_size, size = varint(), varint()
        part = blob[data_at:data_at + size]
        data_at += size
        if size != raw_size:
            part = lz4(part, raw_size)
        if kind == 4:
            part = part.replace(b"cookieles~-", b"cookieless-")
        directory += head + put(len(part)) * 2
        body += part
    rest = struct.pack("<II", n, len(directory)) + directory + body
    return blob[:8] + struct.pack("<I", crc32c(rest)) + rest


# ---- comparing -------------------------------------------------------------------------

def strict(x):
    """JSON with bools and numbers kept apart."""
    if isinstance(x, dict):
        return {k: strict(v) for k, v in x.items()}
    if isinstance(x, list):
        return [strict(v) for v in x]
    return (type(x).__name__, x) if isinstance(x, (bool, str)) else float(x)


def close(a, b, exact):
    a, b = float(a), float(b)  # JSON may spell a double like an integer
    return a == b or not exact and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def same_trends(got, want, exact):
    return len(got) == len(want) and all(
        g[:2] == w[:2] and [t for t, _ in g[2]] == [t for t, _ in w[2]] and
        all(close(x, y, exact) for (_, x), (_, y) in zip(g[2], w[2])) for g, w in zip(got, want))


def is_exact(spec):
    return not any(q.get("aggregation", "")[17:] in ("SUM", "AVG") for q in spec.get("events", []))


def ask_list(server, key, request):
    """(events of all pages, sizes of the pages)."""
    events, sizes, token = [], [], None
    while True:
        got = server.ok(LIST, {**request, **({"pageToken": token} if token else {})}, key=key)
        sizes.append(len(got.get("events", [])))
        events += got.get("events", [])
        token = got.get("nextPageToken")
        if not token:
            return events, sizes


def difference(server, key, truth, request):
    """None, or (got, want)."""
    if "spec" not in request:
        got, sizes = ask_list(server, key, request)
        want = truth.list(request)
        for e in got:
            e["occurTime"] = model.millis(e["occurTime"])
        size = request.get("pageSize") or 100
        pages = [size] * (len(want) // size) + [len(want) % size] * (len(want) % size > 0)
        same = strict(got) == strict(want) and sizes == (pages or [0])
        return None if same else ([sizes, got], [pages or [0], want])
    answer = server.ok(QUERY, request, key=key)
    want = truth.query(request)
    exact = is_exact(request["spec"])
    if request["spec"]["insightType"] == "INSIGHT_TYPE_SEGMENTATION":
        got = answer["segmentation"]["total"]
        return None if close(got, want, exact) else (got, want)
    got = [(s["eventKind"], s.get("breakdown", {}), [(model.millis(p["time"]), p["value"])
                                                     for p in s["points"]])
           for s in answer["trends"].get("series", [])]
    return None if same_trends(got, want, exact) else (got, want)


def renamed(events):
    """Events as the database has them once forge_cookieless() was there."""
    return [{**e, "distinctId": e["distinctId"].replace("cookieles~-", "cookieless-")} for e in events]


def renamed_request(request):
    return json.loads(json.dumps(request).replace("cookieles~-", "cookieless-"))


def load(server, s):
    """Sends a scenario to a new project: (key, number, model, what is wrong or None)."""
    key, num = server.project(s["zone"])
    truth = model.Model(s["zone"])
    for batch in s["batches"]:
        got = server.ok(BATCH, {"events": batch}, key=key)
        want = {"accepted": len(batch), "dropped": 0, "eventsCreated": truth.send(renamed(batch))}
        if got != want:
            return key, num, truth, f"BatchCreate: got {got}, want {want}"
    server.people(num, s["profiles"], s["aliases"])
    if "cookieles~-" in json.dumps(s["batches"]):
        server.forge_cookieless(num)
    truth.profiles = {p["id"]: (p["external_id"], p["properties"]) for p in s["profiles"] if not p["deleted"]}
    truth.aliases = s["aliases"]
    return key, num, truth, None


def check(server, s):
    """None, or (number of the question or None, what is wrong)."""
    key, _, truth, bad = load(server, s)
    if bad:
        return None, bad
    for i, request in enumerate(s["queries"]):
        request = renamed_request(request)
        try:
            bad = difference(server, key, truth, request)
        except AssertionError as e:
            bad = e, "an answer"
        if bad:
            return i, f"got  {bad[0]}\nwant {bad[1]}"
    return None


# ---- cutting down ----------------------------------------------------------------------

def smaller(s):
    """Scenarios with a little less in them."""
    for i in range(len(s["batches"])):
        yield {**s, "batches": s["batches"][:i] + s["batches"][i + 1:]}
    for i, batch in enumerate(s["batches"]):
        step = max(1, len(batch) // 2)
        while step:
            for j in range(0, len(batch), step):
                rest = batch[:j] + batch[j + step:]
                if rest:
                    yield {**s, "batches": s["batches"][:i] + [rest] + s["batches"][i + 1:]}
            step //= 2
    for part in ("profiles", "aliases"):
        if s[part]:
            yield {**s, part: type(s[part])()}
    query = s["queries"][0]
    spec = query.get("spec", query)
    for field in ("filterGroups", "filterGroupsOperator", "breakdowns", "propertyFilters", "events",
                  "distinctId", "kind", "sessionId", "includeCookieless"):
        for i in range(len(spec[field]) if isinstance(spec.get(field), list) else 1):
            if field in spec:
                cut = copy.deepcopy(query)
                inside = cut.get("spec", cut)
                if isinstance(inside[field], list) and len(inside[field]) > 1:
                    del inside[field][i]
                else:
                    del inside[field]
                    if field == "breakdowns":
                        inside.pop("breakdownLimit", None)
                yield {**s, "queries": [cut]}


def shrink(server, s, which, tries=150):
    best = {**s, "queries": [s["queries"][which]] if which is not None else []}
    if which is None or not check(server, best):
        return s
    progress = True
    while progress and tries > 0:
        progress = False
        for candidate in smaller(best):
            tries -= 1
            if tries <= 0:
                break
            found = check(server, candidate)
            if found and found[0] is not None and "400 " not in found[1]:
                best, progress = candidate, True
                break
    return best


# ---- tests -----------------------------------------------------------------------------

def test_the_model_knows_the_worked_examples(_):
    assert [model.number_text(x) for x in (1.0, 1.5, 0.1, 1e-7, 1e21, 1e20, -0.0, 1e-6, 1.5e300, -2.5e-9)] == \
        ["1", "1.5", "0.1", "1e-7", "1e21", "100000000000000000000", "0", "0.000001", "1.5e300", "-2.5e-9"]
    assert [model.parse_number(x) for x in (".5", "5.", "00012", "1e+5", "e5", ".", "inf", "1e999", " 1")] == \
        [0.5, 5, 12, 1e5, None, None, None, None, None]
    kolkata, york, havana = (model.Zone(z) for z in ("Asia/Kolkata", "America/New_York", "America/Havana"))
    t = model.millis("2026-06-09T20:10:00Z")
    for granularity, want in (("DAY", "2026-06-09T18:30:00Z"), ("HOUR", "2026-06-09T19:30:00Z"),
                              ("WEEK", "2026-06-06T18:30:00Z"), ("MONTH", "2026-05-31T18:30:00Z")):
        assert kolkata.start(t, granularity) == model.millis(want), granularity
    assert york.start(model.millis("2024-11-03T06:30:00Z"), "HOUR") == model.millis("2024-11-03T06:00:00Z")
    assert york.start(model.millis("2024-11-03T06:30:00Z"), "DAY") == model.millis("2024-11-03T04:00:00Z")
    # Two midnights: 3 November 2024 in Havana starts with the first of them (D71).
    assert havana.start(model.millis("2024-11-03T12:00:00Z"), "DAY") == model.millis("2024-11-03T04:00:00Z")


def test_regressions(_):
    server = Server()
    for s in REGRESSIONS:
        bad = check(server, s)
        assert not bad, f"{json.dumps(s)}\n{bad[1]}"
    server.close()


def test_random_scenarios(_):
    server, failures = Server(), 0
    start = time.monotonic()
    print(f"seed {ARGS.seed}", flush=True)
    for i in range(ARGS.first, ARGS.first + ARGS.scenarios):
        s = scenario.Maker(f"{ARGS.seed}:{i}").scenario()
        bad = check(server, s)
        if not bad:
            continue
        failures += 1
        print(f"--- scenario {i} of seed {ARGS.seed}, question {bad[0]}:\n{bad[1]}", flush=True)
        if failures <= ARGS.shrink:
            cut = shrink(server, s, bad[0])
            again = check(server, cut)
            print(f"cut down:\n{json.dumps(cut, ensure_ascii=False)}\n{again[1] if again else 'gone'}", flush=True)
        if failures >= 10:
            break
    server.close()
    print(f"{ARGS.scenarios} scenarios in {time.monotonic() - start:.1f} s")
    assert not failures, f"{failures} scenarios of seed {ARGS.seed}"


def fixed(zone, events, *queries):
    """A scenario written by hand: (who, when, properties) of kind `e`."""
    batch = [{"eventId": str(uuid.UUID(int=i + 1)), "name": "e", "distinctId": who, "timestamp": when,
              "properties": props} for i, (who, when, props) in enumerate(events)]
    return {"zone": zone, "profiles": [], "aliases": {}, "batches": [batch], "queries": list(queries)}


def trend(start, end, granularity, *names):
    return {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "breakdowns": [{"property": n} for n in names]},
            "granularity": "GRANULARITY_" + granularity, "timeRange": {"from": start, "to": end}}


# Asked whatever the seed: corners of D70 and D71, and what random runs have found.
REGRESSIONS = [
    # Two midnights, and a midnight that the clocks jump over.
    fixed("America/Havana", [("u", f"2024-11-03T{h}:30:00Z", {}) for h in ("03", "04", "05", "06")],
          trend("2024-11-01T00:00:00Z", "2024-11-05T00:00:00Z", "DAY"),
          trend("2024-11-01T00:00:00Z", "2024-11-05T00:00:00Z", "HOUR")),
    fixed("America/Sao_Paulo", [("u", f"2018-11-04T{h}:00:00Z", {}) for h in ("02", "03", "04")],
          trend("2018-11-01T00:00:00Z", "2018-11-06T00:00:00Z", "WEEK")),
    # A day that was left out, and the week that it is missing from.
    fixed("Pacific/Apia", [("u", f"2011-12-{d}T09:59:59.999Z", {}) for d in (29, 30, 31)],
          trend("2011-12-01T00:00:00Z", "2012-01-15T00:00:00Z", "DAY"),
          trend("2011-12-01T00:00:00Z", "2012-01-15T00:00:00Z", "WEEK")),
    # Whole doubles have all their digits only below 1e21, and no more than the shortest.
    fixed("", [("u", "2024-01-01T00:00:00Z", {"x": x}) for x in
               (1.7976931348623157e308, 123456789012345680000.0, 9.999999e20, 1e21, -0.0, 1e-6, 1e-7)],
          trend("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "HOUR", "x")),
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenarios", type=int, default=300)
    parser.add_argument("--seed", default=os.environ.get("PUGD_SEED", "20261124"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=3)
    ARGS, rest = parser.parse_known_args()
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in rest else "test"
    with pug.Pug(variant) as P:
        sys.exit(pug.main(tests, rest))
