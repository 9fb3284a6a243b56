#!/usr/bin/env python3
"""Identify and Alias against a naive model of identity, alone and from many threads."""
import random
import sys
import threading
import time
import uuid

import pg
import protos
import pug
import test_accounts
from test_accounts import ORGS, PROJECTS, fails, reason

IDENTIFY, ALIAS = "/profiles.v1.ProfilesSDKService/Identify", "/profiles.v1.ProfilesSDKService/Alias"
SDK_IDENTIFY = "/sdk.profiles.v1.ProfilesSDKService/Identify"
SDK_ALIAS = "/sdk.profiles.v1.ProfilesSDKService/Alias"
BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
GET = "/profiles.v1.ProfilesService/Get"
P = None


class Project:
    def __init__(self):
        email = f"id-{uuid.uuid4().hex[:12]}@example.com"
        token = P.ok("/auth.v1.AuthService/SignUp", {"email": email, "password": "12345678"})["token"]
        org = P.ok(ORGS + "List", token=token)["orgs"][0]["id"]
        self.token = token
        self.id = P.ok(PROJECTS + "List", {"orgId": org}, token=token)["projects"][0]["id"]
        self.public, self.private = (
            P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_" + kind}, token=token,
                 project=self.id)["key"] for kind in ("PUBLIC", "PRIVATE"))
        self.num = P.psql(f"SELECT num FROM pugd.projects WHERE id = '{self.id}'")[0][0]

    def identify(self, external, traits=None, anonymous=None, conn=None):
        body = {"externalId": external}
        if traits is not None:
            body["traits"] = traits
        if anonymous is not None:
            body["anonymousId"] = anonymous
        return P.ok(IDENTIFY, body, key=self.public, conn=conn)["profileId"]

    def alias(self, previous, external, conn=None):
        return P.ok(ALIAS, {"previousId": previous, "externalId": external}, key=self.public,
                    conn=conn)["profileId"]

    def send(self, *ids, kind="x"):
        P.ok(BATCH, {"events": [
            {"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": i, "occurTime": "2026-01-01T10:00:00Z",
             "sessionId": str(uuid.uuid4())} for i in ids]}, key=self.public)

    def users(self):
        got = P.ok(QUERY, {
            "spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION",
                     "events": [{"event": {}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]},
            "timeRange": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            "granularity": "GRANULARITY_DAY"}, key=self.private)
        return got["segmentation"]["total"]

    def traits(self, profile):
        return P.ok(GET, {"id": profile}, key=self.private)["profile"]["properties"]

    def tables(self, db):
        """({profile id: (external_id, traits)}, {alias: profile id}) as stored."""
        import json
        profiles = {i: (e, json.loads(t)) for i, e, t in db.query(
            "select id, external_id, properties::text from pugd.profiles where project = $1 "
            "and deleted_at is null", self.num)}
        return profiles, dict(db.query("select alias_id, profile_id from pugd.aliases where project = $1",
                                       self.num))


class Model:
    """D26 and D60 with dicts, one change after the other."""

    def __init__(self):
        self.profiles = {}  # name -> [external id, traits]; names are ours
        self.aliases = {}
        self.made = 0

    def resolve(self, some_id, external=False):
        by_external = [n for n, (e, _) in self.profiles.items() if e == some_id]
        order = [some_id if some_id in self.profiles else None,
                 self.aliases.get(some_id), by_external[0] if by_external else None]
        if external:
            order = order[2:] + order[:2]
        return next((x for x in order if x in self.profiles), None)

    def make(self, external):
        self.made += 1
        self.profiles[f"P{self.made}"] = [external, {}]
        return f"P{self.made}"

    def identify(self, external, traits, anonymous):
        """Name of the profile, or None where the server must refuse."""
        joins = anonymous and anonymous != external
        if joins and any(e == anonymous for e, _ in self.profiles.values()):
            return None
        who = self.resolve(external, external=True) or self.make(external)
        for k, v in traits.items():
            self.profiles[who][1][k] = v
            if v is None:
                del self.profiles[who][1][k]
        if joins:
            self.aliases[anonymous] = who
        return who

    def alias(self, previous, external):
        target, source = self.resolve(external, external=True), self.resolve(previous)
        if previous == external or (source and source == target):
            return target or ""
        target = target or self.make(external)
        self.aliases[previous] = target
        if source:
            old_external, traits = self.profiles.pop(source)
            self.profiles[target][1] = {**traits, **self.profiles[target][1]}
            self.aliases = {a: target if p == source else p for a, p in self.aliases.items()}
            self.aliases[source] = self.aliases[old_external] = target
        return target


def test_alias_is_seen_on_return(_):
    p = Project()
    p.send("anon-1", "anon-2", "u1", "other")
    assert p.users() == 4
    first = p.identify("u1", {"plan": "pro"}, "anon-1")
    assert p.users() == 3
    assert p.identify("u1", {}, "anon-2") == first
    assert p.users() == 2
    p.send("anon-1")  # a late event folds in
    assert p.users() == 2
    assert p.alias("other", "u1") == first
    assert p.users() == 1
    # The latest call decides whose an anonymous id is.
    second = p.identify("u2", {}, "anon-1")
    assert second != first and p.users() == 2


def test_traits(_):
    p = Project()
    who = p.identify("u", {"a": 1, "n": {"x": 1, "y": None}, "gone": None, "$ip": "192.0.2.1", "t": "é"})
    assert p.traits(who) == {"a": 1, "n": {"x": 1, "y": None}, "t": "é"}
    p.identify("u", {"b": [1, "x", None, {"k": True}], "a": None, "n": {"z": 2}})
    assert p.traits(who) == {"n": {"z": 2}, "t": "é", "b": [1, "x", None, {"k": True}]}
    p.identify("u", {})
    p.identify("u")
    assert p.traits(who) == {"n": {"z": 2}, "t": "é", "b": [1, "x", None, {"k": True}]}
    p.identify("u", {"big": 1e21, "tiny": 1e-7, "zero": -0.0, "a.b": 1, "": "empty"})
    got = p.traits(who)
    assert (got["big"], got["tiny"], got["zero"], got["a.b"], got[""]) == (1e21, 1e-7, 0, 1, "empty")
    # A profile stays readable: what would make it too large changes nothing.
    answer = fails(400, "INVALID_ARGUMENT", IDENTIFY,
                   {"externalId": "u", "traits": {"x": "y" * 300000, "t": "other"}}, key=p.public)
    assert "traits" in answer["message"]
    assert p.traits(who) == got


def test_merging_two_people(_):
    p = Project()
    p.send("anon-1", "old", "new")
    old = p.identify("old", {"only_old": 1, "both": "old"}, "anon-1")
    new = p.identify("new", {"only_new": 2, "both": "new"})
    assert p.users() == 2
    assert P.ok(SDK_ALIAS, {"previousId": "old", "externalId": "new"}, key=p.private)["profileId"] == new
    assert p.users() == 1
    assert p.traits(new) == {"only_old": 1, "only_new": 2, "both": "new"}
    # Every id of the old person leads to the new one, whatever is done with it.
    for i in (old, "anon-1", "old"):
        assert P.ok(GET, {"id": i}, key=p.private)["profile"]["id"] == new
    assert p.identify("old", {"late": True}) == new
    assert p.traits(new)["late"] is True
    assert p.alias("old", "new") == new == p.alias("anon-1", "old")
    # A third one absorbs the second: aliases stay flat.
    third = p.identify("third")
    assert p.alias("anon-1", "third") == third
    assert P.ok(GET, {"id": old}, key=p.private)["profile"]["id"] == third
    assert P.psql(f"SELECT count(*) FROM pugd.aliases WHERE project = {p.num} AND profile_id <> '{third}'"
                  ) == [["0"]]
    assert p.users() == 1


def test_self_alias_makes_nobody(_):
    p = Project()
    assert p.alias("nobody", "nobody") == ""
    assert P.psql(f"SELECT count(*) FROM pugd.profiles WHERE project = {p.num}") == [["0"]]
    who = p.identify("u", anonymous="anon-1")
    assert p.alias("u", "u") == who == p.alias("anon-1", "u") == p.alias(who, "u")
    made = p.alias("anonymous", "new one")
    assert len(made) == 20 and made != who


def test_refusals(_):
    p = Project()
    p.identify("anon-taken")
    for path, body, field in (
            (IDENTIFY, {}, "external_id"), (IDENTIFY, {"externalId": ""}, "external_id"),
            (IDENTIFY, {"externalId": "cookieless-x"}, "external_id"),
            (IDENTIFY, {"externalId": "x" * 513}, "external_id"),
            (IDENTIFY, {"externalId": "u", "anonymousId": "visitor"}, "anonymous_id"),
            (IDENTIFY, {"externalId": "u", "anonymousId": "anon-taken"}, "anonymous_id"),
            (IDENTIFY, {"externalId": "u", "deviceId": "d" * 37}, "device_id"),
            (ALIAS, {"externalId": "u"}, "previous_id"), (ALIAS, {"previousId": "u"}, "external_id"),
            (ALIAS, {"previousId": "cookieless-x", "externalId": "u"}, "previous_id")):
        answer = fails(400, "INVALID_ARGUMENT", path, body, key=p.public)
        assert field in answer["message"], answer
    assert len(p.identify("é" * 256, anonymous="")) == 20
    fails(401, "UNAUTHENTICATED", IDENTIFY, {"externalId": "u"})
    fails(403, "PERMISSION_DENIED", IDENTIFY, {"externalId": "u"}, token=p.token, project=p.id)
    P.psql(f"UPDATE pugd.projects SET deleted_at = now() WHERE num = {p.num}")
    for path, body in ((IDENTIFY, {"externalId": "u"}), (ALIAS, {"previousId": "a", "externalId": "u"})):
        status, answer, _ = P.call(path, body, key=p.public)
        assert (status, reason(answer)) == (401, "UNAUTHENTICATED"), answer


def test_projects_are_apart(_):
    one, two = Project(), Project()
    a, b = one.identify("u", {"x": 1}, "anon-1"), two.identify("u", {"x": 2}, "anon-1")
    assert a != b and one.traits(a) == {"x": 1} and two.traits(b) == {"x": 2}
    assert P.call(GET, {"id": a}, key=two.private)[0] == 404


def test_requests_of_released_sdks(_):
    """clients.md 2 and 3: binary, chunked from Node, aliases as paths."""
    p = Project()
    method = next(m for m in protos.methods() if m.path == IDENTIFY)
    body = method.encode({"externalId": "node-user", "traits": {"plan": "pro"}, "anonymousId": "anon-n",
                          "deviceId": "device"})
    conn = P.connect()
    conn.putrequest("POST", SDK_IDENTIFY)
    for k, v in {"content-type": "application/proto", "connect-protocol-version": "1", "x-api-key": p.private,
                 "connect-timeout-ms": "10000", "accept-encoding": "gzip,br", "user-agent": "connect-es/2.1.1",
                 "transfer-encoding": "chunked"}.items():
        conn.putheader(k, v)
    conn.endheaders()
    conn.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    answer = conn.getresponse()
    raw = answer.read()
    assert (answer.status, answer.getheader("content-type")) == (200, "application/proto"), raw
    assert raw[:2] == b"\x0a\x14", raw
    conn.close()
    status, raw, headers = P.call(SDK_IDENTIFY, key=p.public, raw=body, headers={
        "content-type": "application/proto", "connect-protocol-version": "1",
        "origin": "https://shop.example"})
    assert status == 200 and raw[:2] == b"\x0a\x14", raw
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert p.identify("node-user") == raw[2:].decode()


# ---- random ------------------------------------------------------------------------------

def script(r, n, who="", ids=6):
    """Changes as tuples; `who` keeps the ids of one thread apart."""
    externals = [f"{who}u{i}" for i in range(ids)] + [f"anon-{who}e"]
    anonymous = [f"anon-{who}{i}" for i in range(ids)] + [f"anon-{who}e", ""]
    loose = [f"{who}device {i}" for i in range(3)]
    for _ in range(n):
        if r.random() < 0.6:
            traits = {r.choice("abc"): r.choice([1, "x", None, True, {"k": [1]}]) for _ in range(r.randrange(3))}
            yield "identify", r.choice(externals), traits, r.choice(anonymous)
        else:
            yield "alias", r.choice(externals + anonymous[:-1] + loose), r.choice(externals)


def act(p, change, conn):
    """Profile id or None when refused as the contract has it."""
    if change[0] == "identify":
        status, answer, _ = P.call(IDENTIFY, {"externalId": change[1], "traits": change[2],
                                              "anonymousId": change[3]}, key=p.public, conn=conn)
    else:
        status, answer, _ = P.call(ALIAS, {"previousId": change[1], "externalId": change[2]},
                                   key=p.public, conn=conn)
    assert status == 200 or status == 400 and "anonymous_id is" in answer["message"], (change, answer)
    return answer["profileId"] if status == 200 else None


def shape(profiles, aliases):
    """Independent of how profiles are called."""
    people = []
    for i, (external, traits) in profiles.items():
        # absorbed profile ids are aliases too, and named by whoever made them
        people.append((external, sorted(traits.items(), key=repr),
                       sorted(a for a, q in aliases.items() if q == i and len(a) != 20 and a[0] != "P")))
    return sorted(people, key=repr)


def test_random_sequences(_):
    seed = random.randrange(1 << 30)
    db, conn = pg.connect(P.info["database_url"]), P.connect()
    for round_no in range(6):
        r = random.Random(seed + round_no)
        p, model, names = Project(), Model(), {}
        for change in script(r, 80):
            want = getattr(model, change[0])(*change[1:])
            got = act(p, change, conn)
            where = f"seed {seed} round {round_no}: {change}"
            assert (got is None) == (want is None), where
            if want:
                assert names.setdefault(want, got) == got, where
            else:
                assert got == want, where
        profiles, aliases = p.tables(db)
        assert set(aliases.values()) <= set(profiles), f"seed {seed}: an alias of nobody"
        assert shape(profiles, aliases) == shape(model.profiles, model.aliases), f"seed {seed}"
        ids = sorted({x for c in script(random.Random(seed + round_no), 80) for x in (c[1], c[-1])
                      if isinstance(x, str) and x})
        p.send(*ids)
        people = {model.resolve(i) or "anonymous " + i for i in ids}
        assert p.users() == len(people), f"seed {seed}"
    db.close()
    conn.close()


def run_threads(n, fn):
    errors = []

    def guard(i):
        try:
            fn(i)
        except Exception as e:  # noqa: BLE001 - told below, in the main thread
            errors.append(e)
    threads = [threading.Thread(target=guard, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_threads_on_ids_of_their_own(_):
    """Each thread's sequence must end as if it had been alone, in one project."""
    seed = random.randrange(1 << 30)
    p = Project()
    models = [Model() for _ in range(8)]

    def work(i):
        conn = P.connect()
        for change in script(random.Random(seed + i), 60, who=f"t{i}-"):
            want, got = getattr(models[i], change[0])(*change[1:]), act(p, change, conn)
            assert (got is None) == (want is None), (seed, i, change)
        conn.close()
    run_threads(8, work)
    db = pg.connect(P.info["database_url"])
    wanted = sorted((x for m in models for x in shape(m.profiles, m.aliases)), key=repr)
    assert shape(*p.tables(db)) == wanted, f"seed {seed}"
    db.close()


def test_threads_on_the_same_ids(_):
    """No deadlock, no alias of nobody, no id twice; and every answer named somebody."""
    seed = random.randrange(1 << 30)
    p = Project()
    end = time.monotonic() + 6

    def work(i):
        conn = P.connect()
        for change in script(random.Random(seed + i), 100000, ids=4):
            if time.monotonic() > end:
                break
            got = act(p, change, conn)
            assert got is None or len(got) in (0, 20), (seed, change, got)
            if i == 0:
                p.send("u1", "anon-1")
        conn.close()
    run_threads(8, work)
    db = pg.connect(P.info["database_url"])
    profiles, aliases = p.tables(db)
    externals = [e for e, _ in profiles.values()]
    assert len(externals) == len(set(externals)), externals
    assert set(aliases.values()) <= set(profiles), f"seed {seed}: an alias of nobody"
    # An external_id that is alive is nobody's alias.
    assert not set(externals) & set(aliases), (seed, set(externals) & set(aliases))
    assert not set(profiles) & set(aliases), seed
    db.close()
    assert "40P01" not in P.log()


def test_first_identifies_at_once_make_one(_):
    p = Project()
    for n in range(5):
        got = []
        run_threads(8, lambda i, n=n: got.append(p.identify(f"u{n}", {f"k{i}": i}, f"anon-{n}-{i}")))
        assert len(set(got)) == 1, got
        assert p.traits(got[0]) == {f"k{i}": i for i in range(8)}
        assert p.alias(f"anon-{n}-3", f"u{n}") == got[0]


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        P.variant = variant
        test_accounts.P = P
        sys.exit(pug.main(tests))
