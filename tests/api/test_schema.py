#!/usr/bin/env python3
"""What filter pickers show: kinds, keys and values, by meaning and against a naive model."""
import collections
import json
import os
import random
import sys
import time
import urllib.parse
import uuid

import model
import pg
import pug
import scenario
import test_accounts
import test_events
import test_identify
import test_model
from test_accounts import fails
from test_events import Project, event

SERVICES = ("/insights.v1.InsightsService/", "/shared.insights.v1.InsightsService/",
            "/activity.v1.ActivityService/", "/shared.activity.v1.ActivityService/")
SCHEMA, VALUES = (SERVICES[0] + m for m in ("GetFilterSchema", "GetPropertyValues"))
LISTS = ("events", "autoPropertyKeys", "customPropertyKeys", "profilePropertyKeys")
DAY = 86400000
SEED = os.environ.get("PUGD_SEED", "20261129")
P = None


def now_ms():
    return int(time.time() * 1000)


def at(ms):
    return model.utc(ms)


def schema(key, **body):
    """The four lists as {name: (count, last seen in ms, type)}, in the order of the answer."""
    got = P.ok(SCHEMA, body, key=key)
    assert set(got) <= set(LISTS), got
    out = []
    for name in LISTS:
        seen = {m["name"]: (int(m["count"]), "lastSeenAt" in m and model.millis(m["lastSeenAt"]),
                            m.get("valueType", "").removeprefix("PROPERTY_VALUE_TYPE_"))
                for m in got.get(name, [])}
        assert len(seen) == len(got.get(name, []))
        out.append(seen)
    return out


def seen(found):
    return {name: v for name, v in found.items() if v[0]}


def values(key, name, source=None, kind=None):
    source = source or ("AUTO" if name.startswith("$") else "CUSTOM")
    return P.ok(VALUES, {"propertyKey": name, "source": "PROPERTY_SOURCE_" + source,
                         **({"eventKind": kind} if kind is not None else {})}, key=key).get("values", [])


# ---- by meaning ------------------------------------------------------------------------

def test_an_empty_project_knows_the_promoted_keys(_):
    p = Project()
    events, autos, customs, traits = schema(p.prv)
    assert events == customs == traits == {}
    # Count 0 is said, a time that never was is not.
    assert autos == {k: (0, False, "STRING") for k in model.PROMOTED}, autos
    assert list(autos) == sorted(autos)
    assert schema(p.prv, allowedTypes=["PROPERTY_VALUE_TYPE_BOOLEAN"]) == [{}, {}, {}, {}]
    assert values(p.prv, "x") == values(p.prv, "$browser") == values(p.prv, "x", "PROFILE") == []


def test_what_was_just_accepted_is_there(_):
    """Whatever its time: back-dated events register their keys and kinds, too (D38)."""
    p, now = Project(), now_ms()
    for i, age in enumerate((0, 40 * DAY, 4000 * DAY)):
        kind, key, when = f"k{i}", f"p{i}", now - age
        p.send([event(kind, "u", at(when), {key: "x"}, autoProperties={f"$z{i}": {"intValue": 1}})])
        events, autos, customs, _ = schema(p.prv)
        assert events[kind] == (1, when, ""), events
        assert customs[key] == (1, when, "STRING"), customs
        assert autos[f"$z{i}"] == (1, when, "INTEGER"), autos
        assert values(p.prv, key) == (["x"] if age < 30 * DAY else [])
    other = Project()
    assert schema(other.prv)[0] == {} and values(other.prv, "p0") == []


def test_scope_of_a_kind_and_of_types(_):
    p, now = Project(), now_ms() - DAY
    p.send([event("a", "u", at(now), {"both": 1, "only_a": "x"}),
            event("b", "u", at(now + 1), {"both": 1, "only_b": 2.5}, autoProperties={"$os": {"stringValue": "X"}}),
            event("b", "u", at(now + 2), {"both": 1, "yes": True})])
    events, autos, customs, _ = schema(p.prv, eventKind="b")
    assert events == {"b": (2, now + 2, ""), "a": (1, now, "")}
    assert list(customs.items()) == [("both", (2, now + 2, "INTEGER")), ("only_b", (1, now + 1, "FLOAT")),
                                     ("yes", (1, now + 2, "BOOLEAN"))]
    assert seen(autos) == {"$os": (1, now + 1, "STRING")} and list(autos)[0] == "$os"
    assert seen(schema(p.prv, eventKind="a")[1]) == {}
    assert schema(p.prv, eventKind="never")[2] == {}
    types = ["PROPERTY_VALUE_TYPE_FLOAT", "PROPERTY_VALUE_TYPE_BOOLEAN"]
    events, autos, customs, _ = schema(p.prv, allowedTypes=types)
    assert len(events) == 2 and autos == {} and list(customs) == ["only_b", "yes"]


def test_a_key_of_several_types_keeps_its_first(_):
    p, now = Project(), now_ms() - DAY
    p.send([event("a", "u", at(now), {"x": 5}), event("a", "u", at(now + 5), {"x": "five"})])
    assert schema(p.prv)[2] == {"x": (2, now + 5, "INTEGER")}
    p.send([event("a", "u", at(now + 9), {"x": "six"})])
    assert schema(p.prv)[2] == {"x": (3, now + 9, "INTEGER")}
    assert schema(p.prv, allowedTypes=["PROPERTY_VALUE_TYPE_STRING"])[2] == {}


def test_traits_of_profiles(_):
    p, start = test_identify.Project(), now_ms() - 1
    one = p.identify("one", {"plan": "gold", "address": {"city": "Rome", "geo": {"lat": 41.9}}, "n": 3, "gone": 1})
    p.identify("two", {"plan": "silver", "n": 4, "vip": True, "tags": ["a", "b"], "empty": {}})
    p.identify("three", {"plan": "gold"})
    p.identify("one", {"gone": None})
    traits = schema(p.private, eventKind="whatever")[3]
    assert [(k, v[0], v[2]) for k, v in traits.items()] == [
        ("plan", 3, "STRING"), ("n", 2, "INTEGER"), ("address.city", 1, "STRING"),
        ("address.geo.lat", 1, "FLOAT"), ("tags", 1, "OTHER"), ("vip", 1, "BOOLEAN")], traits
    assert all(start <= v[1] <= now_ms() for v in traits.values())
    only = schema(p.private, allowedTypes=["PROPERTY_VALUE_TYPE_OTHER"])
    assert list(only[3]) == ["tags"] and only[1] == {}
    assert values(p.private, "plan", "PROFILE") == ["gold", "silver"]
    assert values(p.private, "address.city", "PROFILE", kind="ignored") == ["Rome"]
    assert values(p.private, "n", "PROFILE") == ["3", "4"]
    assert values(p.private, "vip", "PROFILE") == ["true"]
    assert values(p.private, "address", "PROFILE") == values(p.private, "none", "PROFILE") == []
    assert values(p.private, "plan") == []  # a trait is no property
    # Whatever the list of keys names can be asked for, dots in keys or not.
    p.identify("four", {"utm.source": "ad", "a.b": {"c": "one"}, "o": {"x.y": "two", "0": "three"}})
    for path, text in (("utm.source", "ad"), ("a.b.c", "one"), ("o.x.y", "two"), ("o.0", "three")):
        assert path in schema(p.private)[3] and values(p.private, path, "PROFILE") == [text], path
    # The key as it stands first; lists have no keys.
    p.identify("five", {"home.city": "Oslo", "home": {"city": "Bergen"}})
    assert values(p.private, "home.city", "PROFILE") == ["Oslo"]
    assert values(p.private, "tags.0", "PROFILE") == []
    p.identify("two", {"plan": "gold"})
    assert values(p.private, "plan", "PROFILE") == ["gold"]
    P.psql(f"UPDATE pugd.profiles SET deleted_at = now() WHERE id = '{one}'")
    assert "address.city" not in schema(p.private)[3] and values(p.private, "address.city", "PROFILE") == []


def test_values_by_frequency_then_text(_):
    p, now = Project(), now_ms() - 60000
    sent = [("b", 3), ("a", 2), ("c", 2), (5, 1), ("5", 1), (2.0, 1), ("", 9), (True, 1)]
    p.send([event("k", "u", at(now), {"x": v}) for v, n in sent for _ in range(n)])
    assert values(p.prv, "x") == ["b", "5", "a", "c", "2", "true"]
    # A frequency is of the last 30 days, and of the kind that is asked for.
    p.send([event("other", "u", at(now), {"x": "a"}) for _ in range(5)])
    p.send([event("k", "u", at(now - 31 * DAY), {"x": "old"}) for _ in range(99)])
    assert values(p.prv, "x") == ["a", "b", "5", "c", "2", "true"]
    assert values(p.prv, "x", kind="k") == ["b", "5", "a", "c", "2", "true"]
    assert values(p.prv, "x", kind="other") == ["a"]
    assert values(p.prv, "x", kind="") == values(p.prv, "x")
    # An hour ahead of us is not later than the last 30 days.
    p.send([event("k", "u", at(now + 3600000), {"ahead": "yes"})])
    assert values(p.prv, "ahead") == ["yes"]


def test_limits(_):
    p, now = Project(), now_ms() - 60000
    for i in range(0, 1100, 100):
        p.send([event(f"kind{j:04}", "u", at(now), {f"key{j % 600:03}": f"v{j:04}", "many": f"v{j:04}"},
                      autoProperties={f"$own{j % 600:03}": {"intValue": j}}) for j in range(i, i + 100)])
    events, autos, customs, _ = schema(p.prv)
    assert list(events) == [f"kind{j:04}" for j in range(1000)]
    assert list(customs) == ["many"] + [f"key{j:03}" for j in range(499)]
    assert list(autos)[:500] == [f"$own{j:03}" for j in range(500)]
    assert sorted(list(autos)[500:]) == sorted(model.PROMOTED)
    assert values(p.prv, "many") == [f"v{j:04}" for j in range(100)]
    # What is left over gets in as soon as it is frequent.
    p.send([event("kind1099", "u", at(now), {"key599": "x", "many": "v1099"}) for _ in range(2)])
    events, _, customs, _ = schema(p.prv)
    assert list(events)[0] == "kind1099" and list(customs)[:2] == ["many", "key599"]
    assert values(p.prv, "many")[:2] == ["v1099", "v0000"]


def test_a_property_that_never_repeats(_):
    """Costs no more than the query may use: what is frequent is known, the rest in part."""
    with pug.Pug(P.variant, options=["insight_memory=4M"]) as small:
        now, each = now_ms() - 60000, 1000
        for i in range(12):
            small.ok(test_events.BATCH, key=small.info["private_key"], body={"events": [
                event("a", "u", at(now), {"id": f"{(i * each + j) * 7919 % 12000:05} {'x' * 200}"})
                for j in range(each - 10)] + [event("a", "u", at(now), {"id": "often"}) for _ in range(10)]})
        got = small.ok(VALUES, {"propertyKey": "id", "source": "PROPERTY_SOURCE_CUSTOM"},
                       key=small.info["private_key"])["values"]
        assert got[0] == "often" and len(got) == len(set(got)) == 100, got[:5]
        assert got[1:] == sorted(got[1:])


def test_both_services_at_all_paths(_):
    """One answer for private keys and for people, by POST and by GET."""
    p, now = Project(), now_ms()
    p.send([event("a", "u", at(now), {"x": "y"})])
    asked = {"GetFilterSchema": {"eventKind": "a"},
             "GetPropertyValues": {"propertyKey": "x", "source": "PROPERTY_SOURCE_CUSTOM"}}
    for method, body in asked.items():
        answers = []
        for service in SERVICES:
            for who in ({"key": p.prv}, {"token": p.token, "project": p.id}):
                answers.append(P.ok(service + method, body, **who))
                query = urllib.parse.urlencode({"connect": "v1", "encoding": "json", "message": json.dumps(body)})
                answers.append(P.ok(f"{service}{method}?{query}", method="GET", **who))
            fails(403, "PERMISSION_DENIED", service + method, body, key=p.pub)
            fails(401, "UNAUTHENTICATED", service + method, body)
        assert len(answers) == 16 and all(a == answers[0] for a in answers), answers
        assert answers[0], answers
    assert answers[0] == {"values": ["y"]}


def test_requests_that_are_wrong(_):
    key = Project().prv
    ok = {"propertyKey": "x", "source": "PROPERTY_SOURCE_CUSTOM"}
    for service in SERVICES:
        for change, field in (
                ({"source": "PROPERTY_SOURCE_AUTO"}, "property_key"), ({"propertyKey": "$x"}, "property_key"),
                ({"source": "PROPERTY_SOURCE_UNSPECIFIED"}, "source"), ({"source": 9}, "source"),
                ({"source": None}, "source"), ({"propertyKey": ""}, "property_key"),
                ({"propertyKey": None}, "property_key"), ({"propertyKey": "a..b"}, "property_key"),
                ({"propertyKey": "a b"}, "property_key"), ({"eventKind": "a b"}, "event_kind")):
            got = fails(400, "INVALID_ARGUMENT", service + "GetPropertyValues", {**ok, **change}, key=key)
            assert field in got["message"], got
        for body, field in (({"eventKind": "é"}, "event_kind"), ({"allowedTypes": [0]}, "allowed_types"),
                            ({"allowedTypes": [7]}, "allowed_types")):
            got = fails(400, "INVALID_ARGUMENT", service + "GetFilterSchema", body, key=key)
            assert field in got["message"], got
    # Traits may be called anything that a filter can name.
    assert values(key, "$x", "PROFILE") == []


# ---- against a naive model ---------------------------------------------------------------

def type_of(v):
    return {bool: "BOOLEAN", int: "INTEGER", float: "FLOAT", str: "STRING", model.Instant: "DATETIME"}[type(v)]


def summary(sightings, allowed, limit):
    """{name: (count, last, type)} of [(name, type, ms)], one a bearer, or with bearers; see schema()."""
    found = collections.defaultdict(list)
    bearers = collections.defaultdict(set)
    for i, (name, kind, ms, *bearer) in enumerate(sightings):
        found[name].append((kind, ms))
        bearers[name].add(bearer[0] if bearer else i)
    out = {}
    for name, of in found.items():
        last = {}
        for kind, ms in of:
            last[kind] = max(ms, last.get(kind, ms))
        types = ["STRING", "INTEGER", "FLOAT", "BOOLEAN", "DATETIME", "OTHER", ""]
        out[name] = (len(bearers[name]), max(last.values()), min(last, key=lambda k: (last[k], types.index(k))))
    out = {n: v for n, v in out.items() if not allowed or v[2] in allowed}
    return dict(sorted(out.items(), key=lambda x: (-x[1][0], x[0].encode()))[:limit])


def paths(properties, before=""):
    for k, v in properties.items():
        if isinstance(v, dict):
            yield from paths(v, before + k + ".")
        elif v is not None:
            whole = isinstance(v, float) and v == int(v)
            yield before + k, "OTHER" if isinstance(v, list) else "INTEGER" if whole else type_of(v)


def naive_schema(truth, updated, kind, allowed):
    events = list(truth.events.values())
    scope = [e for e in events if kind in ("", e.kind)]
    autos = [(k, "STRING" if k in model.PROMOTED else type_of(v), e.ms) for e in scope
             for k, v in e.props.items() if k.startswith("$") and k != "$mobile" and
             (k not in model.PROMOTED or e.text(k))]
    autos = summary(autos, allowed, 500)
    if not allowed or "STRING" in allowed:
        autos.update({k: (0, False, "STRING") for k in sorted(model.PROMOTED) if k not in autos})
    customs = [(k, type_of(v), e.ms) for e in scope for k, v in e.props.items() if not k.startswith("$")]
    # one profile may spell a path in two ways
    traits = [(path, of, updated[i], i) for i, (_, properties) in truth.profiles.items()
              for path, of in paths(properties)]
    return [summary([(e.kind, "", e.ms) for e in events], None, 1000), autos, summary(customs, allowed, 500),
            summary(traits, allowed, 500)]


def as_doubles(v):
    """Traits as they travel: every number is a double."""
    if isinstance(v, dict):
        return {k: as_doubles(x) for k, x in v.items()}
    return float(v) if type(v) is int else v


def naive_values(truth, name, source, kind):
    if source == "PROFILE":
        texts = [model.trait(as_doubles(properties), name)[0] for _, properties in truth.profiles.values()]
    else:
        start = now_ms() - 30 * DAY
        texts = [e.text(name) for e in truth.events.values() if e.ms >= start and kind in ("", e.kind) and
                 name in e.props]
    count = collections.Counter(t for t in texts if t)
    return sorted(count, key=lambda t: (-count[t], t.encode()))[:100]


class Maker(scenario.Maker):
    """Events now, long ago, and on either side of the last 30 days; nobody's kind or key is rare."""

    def pick_times(self):
        super().pick_times()
        recent = [self.now - self.r.choice([29, 31, 1, 1, 2]) * DAY + self.r.choice([0, 0, 1, 500])
                  for _ in range(4)]
        self.times = recent + self.times[:2]


def test_random_projects(_):
    server = test_model.Server()
    print(f"seed {SEED}")
    for i in range(25 if P.slow else 60):
        maker = Maker(f"{SEED}:{i}")
        s = maker.scenario()
        r = maker.r
        key, num, truth, bad = test_model.load(server, s)
        assert not bad, bad
        updated = {p: 1700000000000 + r.randrange(3) for p in truth.profiles}
        for p, ms in updated.items():
            server.db.query("update pugd.profiles set update_time = to_timestamp($3::float8 / 1000) "
                            "where project = $1 and id = $2", num, p, ms)
        for _ in range(4):
            kind = r.choice(["", *maker.kinds, "never"])
            allowed = r.choice([[], [], maker.some(["STRING", "INTEGER", "FLOAT", "BOOLEAN", "DATETIME", "OTHER"], 1, 4)])
            want = naive_schema(truth, updated, kind, allowed)
            got = schema(key, eventKind=kind, allowedTypes=["PROPERTY_VALUE_TYPE_" + t for t in allowed])
            for g, w, name in zip(got, want, LISTS):
                assert list(g.items()) == sorted(w.items(), key=lambda x: (-x[1][0], x[0].encode())), \
                    f"project {i} of seed {SEED}, {name} of {kind!r} {allowed}:\n{g}\n{w}"
        for _ in range(8):
            name = r.choice(maker.keys + ["amt", "$mobile"])
            source = "AUTO" if name.startswith("$") else "CUSTOM"
            if r.random() < 0.3:
                name, source = r.choice([t for t in scenario.TRAITS if t != "tags"]), "PROFILE"
            kind = r.choice(["", "", *maker.kinds])
            got, want = values(key, name, source, kind), naive_values(truth, name, source, kind)
            assert got == want, f"project {i} of seed {SEED}, {source} {name} of {kind!r}:\n{got}\n{want}"
    server.close()


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant) as P:
        P.variant = variant
        for module in (test_accounts, test_events, test_identify, test_model):
            module.P = P
        sys.exit(pug.main(tests))
