#!/usr/bin/env python3
"""Names that a project's events have: limits (D82), and that whatever is kept of them says what
the events say, comes with them and goes with them."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid

import model
import people
import pg
import pug
import test_accounts
import test_erase
import test_events
import test_identify
import test_model
import test_schema
import test_sealed
from people import until
from test_accounts import fails
from test_events import BATCH, event
from test_schema import schema, values

DAY, KINDS, KEYS = 86400000, 2000, 5000
LIST = "/activity.v1.ActivityService/List"
P = None


def now_ms():
    return int(time.time() * 1000)


class Project(test_events.Project):
    def __init__(self):
        super().__init__()
        with people.database() as db:
            self.num = db.one(f"SELECT num FROM pugd.projects WHERE id = '{self.id}'")

    def catalog(self):
        """{(list, name)}: 0 kinds, 1 automatic keys, 2 custom keys."""
        with people.database() as db:
            return {(int(n), name) for n, name in db.query(
                f"SELECT list, name FROM pugd.catalog WHERE project = {self.num}")}

    def count(self, of):
        return sum(n == of for n, _ in self.catalog())

    def names(self):
        """What is kept of each sealed segment, None where nothing is."""
        with people.database() as db:
            return dict(db.query("SELECT id, encode(names, 'hex') FROM pugd.segment "
                                 f"WHERE project = {self.num}"))

    def due(self):
        """The keeper compares now; until it has."""
        with people.database() as db:
            db.query(f"UPDATE pugd.catalog_state SET due_at = now() WHERE project = {self.num}")
            until(lambda: db.one("SELECT due_at IS NULL OR due_at > now() FROM pugd.catalog_state "
                                 f"WHERE project = {self.num}") == "t")

    def old(self):
        """Nothing is so young any more that its events may still be on the way."""
        with people.database() as db:
            db.query(f"UPDATE pugd.catalog SET since = since - interval '1 day' WHERE project = {self.num}")


def ev(kind="k", props=None, age=0, who="u", **extra):
    return event(kind, who, model.utc(now_ms() - 1000 - age), props, **extra)


def batches(events, most=1000):
    return [events[i:i + most] for i in range(0, len(events), most)]


def refused(p, events, *fields):
    got = fails(400, "INVALID_ARGUMENT", BATCH, {"events": events}, key=p.prv)
    assert "2000 kinds" in got["message"], got
    for field in fields:
        assert field in got["message"], (field, got)
    return got


# ---- limits ------------------------------------------------------------------------------

def test_kinds(_):
    p, other = Project(), Project()
    for batch in batches([ev(f"kind{i}") for i in range(KINDS - 1)]):
        p.send(batch)
    # Two are new and one has room: nothing of the call is taken, and the room is left.
    got = refused(p, [ev("kind5"), ev("new1"), ev("new2"), ev("new2")], "events[2].kind", "events[3].kind")
    assert "events[1]" not in got["message"] and "events[0]" not in got["message"], got
    assert p.count(0) == KINDS - 1 and (0, "new1") not in p.catalog()
    assert p.send([ev("new1", {"x": 1})])["eventsCreated"] == 1
    assert p.count(0) == KINDS
    for _ in range(3):
        refused(p, [ev("onemore")], "events[0].kind")
    status, got, _ = P.call(BATCH, {"events": [{"name": "onemore", "distinctId": "u"}]}, key=p.prv)
    assert status == 400 and "events[0].name" in got["message"] and "kind" in got["message"], got
    # What is known goes on, and nobody else is affected.
    assert p.send([ev(f"kind{i}") for i in range(0, KINDS - 1, 7)])["eventsCreated"] == len(range(0, KINDS - 1, 7))
    assert other.send([ev("onemore")])["eventsCreated"] == 1
    assert other.catalog() == {(0, "onemore")}
    assert len(schema(p.prv)[0]) == 1000 and "onemore" not in schema(p.prv)[0]


def test_keys(_):
    """Keys beyond the limit: feeds show them, filters do not see them, sealed or not."""
    for of, letter in ((2, ""), (1, "$")):
        p = Project()

        def props(names, value=7, auto=letter == "$"):
            given = {f"{letter}{n}": {"intValue": value} for n in names}
            return {"autoProperties" if auto else "customProperties": given}

        p.send([{**ev(), **props([f"key{i}" for i in range(n, n + 250)])} for n in range(0, KEYS - 250, 250)])
        p.send([{**ev(), **props([f"key{i}" for i in range(KEYS - 250, KEYS - 1)])}])
        assert p.count(of) == KEYS - 1
        many = [{**ev("last", {"both": 3}, autoProperties={"$os": {"stringValue": "X"}}),
                 } for _ in range(3)]
        for e in many:
            for field, given in props(["a-in", "b-out", "key5"]).items():
                e[field] = {**e.get(field, {}), **given}
        assert p.send(many)["eventsCreated"] == 3
        names = {n for n, _ in p.catalog()} and {n for i, n in p.catalog() if i == of}
        room = {f"{letter}a-in", f"{letter}b-out", "both"} & names
        assert len(names) == KEYS and len(room) == 1, room
        inside = room.pop()
        outside = {f"{letter}a-in", f"{letter}b-out"} - {inside}
        shown = {e["eventId"]: e for e in P.ok(LIST, {"kind": "last"}, key=p.prv)["events"]}
        for step in ("waiting", "sealed", "sealed again"):
            feed = {e["eventId"]: e for e in P.ok(LIST, {"kind": "last"}, key=p.prv)["events"]}
            assert feed == shown and len(feed) == 3, step
            assert all(out in json.dumps(e) for e in feed.values() for out in outside), (step, feed)
            autos, customs = schema(p.prv, eventKind="last")[1:3]
            listed = {**autos, **customs}
            assert f"{letter}key5" in listed and not outside & set(listed), (step, listed)
            assert autos["$os"][0] == 3, "what the server knows has its place"
            for out in outside:
                assert values(p.prv, out) == []
            test_sealed.seal()
            if step == "sealed":
                p.send([{**ev("other"), **props(["key6", *(o.removeprefix("$") for o in outside)])}])
        assert p.count(of) == KEYS
        assert test_sealed.verify()[0] == 0


def test_many_at_the_same_moment(_):
    """The limit holds whoever comes when, and a call is taken whole or not at all."""
    p = Project()
    calls = [[f"kind-{i}-{j}" for j in range(90)] + [f"shared-{j}" for j in range(i % 5, 40)] for i in range(30)]
    answers = people.at_once(*[(BATCH, {"events": [ev(k) for k in kinds]}, {"key": p.prv}) for kinds in calls])
    taken = {k for kinds, (status, _) in zip(calls, answers) for k in kinds if status == 200}
    assert {status for status, _ in answers} == {200, 400}, [a[0] for a in answers]
    assert {name for _, name in p.catalog()} == taken and KINDS - 130 < len(taken) <= KINDS, len(taken)
    assert len(schema(p.prv)[0]) == 1000
    # Many times the same new ones, by everybody: once each, and nobody waits for ever.
    q = Project()
    names = [f"n{i}" for i in range(300)]
    calls = []
    for i in range(24):
        random.Random(i).shuffle(names)
        calls.append((BATCH, {"events": [ev(n, {n: 1}) for n in names]}, {"key": q.prv}))
    answers = people.at_once(*calls)
    assert [a[0] for a in answers] == [200] * 24, answers
    assert q.count(0) == q.count(2) == 300


def test_what_is_known_costs_nothing(_):
    """While nobody can look into the catalogue, calls with known names go on."""
    with pug.Pug(P.variant, options=["workers=1"]) as one:
        key = one.info["private_key"]
        known = [ev("a", {"x": 1}), ev("b", {"y": 2}, autoProperties={"$z": {"intValue": 1}})]
        one.ok(BATCH, {"events": known}, key=key)
        with pg.connect(one.info["database_url"]) as db:
            db.query("BEGIN")
            db.query("LOCK TABLE pugd.catalog, pugd.catalog_state IN ACCESS EXCLUSIVE MODE")
            again = [ev("b", {"x": 1, "y": 5}), ev("a", autoProperties={"$z": {"intValue": 1}}), *known]
            got = one.ok(BATCH, {"events": again}, key=key)
            assert got["eventsCreated"] == 2 and got["accepted"] == 4, got
            status, got, _ = one.call(BATCH, {"events": [ev("c")]}, key=key, headers={"connect-timeout-ms": "700"})
            assert status in (429, 503, 504), (status, got)
            db.query("ROLLBACK")
        assert one.ok(BATCH, {"events": [ev("c")]}, key=key)["eventsCreated"] == 1


# ---- both ways ---------------------------------------------------------------------------

def answers(p, kinds):
    return [schema(p.prv, eventKind=kind, allowedTypes=["PROPERTY_VALUE_TYPE_" + t for t in types])
            for kind in ("", *kinds, "never") for types in ([], ["STRING"], ["INTEGER", "FLOAT"])]


def test_both_ways(_):
    """The names that are kept and the events themselves give one answer; what the keeper finds
    is what sealing had found."""
    r = random.Random(5)
    p = Project()
    kinds = [f"kind{i}" for i in range(9)]

    def some(n):
        out = []
        for _ in range(n):
            props = {f"p{r.randrange(12)}": r.choice([1, 2.5, "x", "", True]) for _ in range(r.randrange(5))}
            autos = {k: {"stringValue": r.choice(["", "Fox"])} for k in ("$browser", "$own") if r.random() < .5}
            autos.update({"$screenWidth": {"intValue": 5}} if r.random() < .3 else {})
            age = r.choice([0, 0, DAY, 3 * DAY, 4000 * DAY])
            out.append(ev(r.choice(kinds[:3] + kinds), props, age, autoProperties=autos))
        return out

    first = some(50)
    for i in range(11):
        p.send(some(40) + (first if i % 2 else []))
        test_sealed.seal()
    p.send(some(60))  # waits
    kept = p.names()
    assert len(kept) > 8 and None not in kept.values(), kept
    short = answers(p, kinds)
    with people.database() as db:
        for _ in range(50):  # until the keeper was not faster
            db.query("BEGIN")
            db.query(f"SELECT FROM pugd.segment WHERE project = {p.num} FOR UPDATE")
            db.query(f"UPDATE pugd.segment SET names = NULL WHERE project = {p.num}")
            db.query("COMMIT")
            db.query("BEGIN")
            db.query(f"SELECT FROM pugd.segment WHERE project = {p.num} FOR UPDATE")
            if set(p.names().values()) == {None}:
                break
            db.query("ROLLBACK")
        assert set(p.names().values()) == {None}
        whole = answers(p, kinds)
        assert set(p.names().values()) == {None}, "nobody has filled them meanwhile"
        db.query("ROLLBACK")
    assert short == whole
    until(lambda: None not in p.names().values(), 30)
    assert p.names() == kept
    assert answers(p, kinds) == short
    assert test_sealed.verify()[0] == 0
    with people.database() as db:  # and verify sees when they differ
        one = db.one(f"SELECT min(id) FROM pugd.segment WHERE project = {p.num}")
        db.query(f"UPDATE pugd.segment SET names = (SELECT names FROM pugd.segment WHERE project = {p.num} "
                 f"AND names <> (SELECT names FROM pugd.segment WHERE project = {p.num} AND id = {one}) "
                 f"LIMIT 1) WHERE project = {p.num} AND id = {one}")
        code, lines = test_sealed.verify()
        assert code == 1 and any("names" in x and f"segment={one}" in x.replace("segment ", "segment=")
                                 for x in lines), lines
        db.query(f"UPDATE pugd.segment SET names = NULL WHERE project = {p.num} AND id = {one}")
    until(lambda: None not in p.names().values(), 30)
    assert p.names() == kept


def test_back_dated_and_sealed(_):
    """Back-dated events register their names at once (D38), and hidden ones are not counted."""
    p = Project()
    p.send([ev("today", {"x": 1})])
    test_sealed.seal()
    p.send([ev("ancient", {"long_ago": "y"}, 5000 * DAY)])
    for _ in range(2):
        events, _, customs, _ = schema(p.prv)
        assert events["ancient"][0] == customs["long_ago"][0] == 1 and events["today"][0] == 1
        test_sealed.seal()
    with people.database() as db:
        db.query(f"UPDATE pugd.projects SET retention_days = 30 WHERE num = {p.num}")
        events, _, customs, _ = schema(p.prv)  # hidden, not erased yet
        assert list(events) == ["today"] and list(customs) == ["x"]
        # the keeper erases them every 10 s, and then their names
        p.old()
        until(lambda: p.catalog() == {(0, "today"), (2, "x")}, 40)


# ---- what comes and goes -----------------------------------------------------------------

def test_a_lost_catalogue_is_made_anew(_):
    p = Project()
    p.send([ev("a", {"x": 1}), ev("b", {"y": 1}, 900 * DAY, autoProperties={"$q": {"intValue": 1}})])
    test_sealed.seal()
    p.send([ev("c", {"z": 1})])
    all_of_it = {(0, "a"), (0, "b"), (0, "c"), (1, "$q"), (2, "x"), (2, "y"), (2, "z")}
    assert p.catalog() == all_of_it
    with people.database() as db:
        db.query(f"DELETE FROM pugd.catalog WHERE project = {p.num}")
        db.query(f"UPDATE pugd.segment SET names = NULL WHERE project = {p.num}")
    assert set(schema(p.prv)[0]) == {"a", "b", "c"}
    p.due()
    assert p.catalog() == all_of_it
    until(lambda: None not in p.names().values(), 30)
    # A name without events goes, unless it is so new that they may be on the way.
    with people.database() as db:
        db.query(f"INSERT INTO pugd.catalog (project, list, name) VALUES ({p.num}, 0, 'none')")
    p.due()
    assert p.catalog() == all_of_it | {(0, "none")}
    p.old()
    p.due()
    assert p.catalog() == all_of_it


def test_refused_and_repeated_leave_nothing(_):
    p = Project()
    e = ev("kept", {"x": 1})
    p.send([e])
    assert p.send([{**e, "kind": "changed", "customProperties": {"other": {"intValue": 1}}}])["eventsCreated"] == 0
    assert p.catalog() == {(0, "kept"), (2, "x")}, "the first one counts (D20), so the names are no event's"
    p.send([ev("changed", {"other": 1})])
    assert p.catalog() == {(0, "kept"), (2, "x"), (0, "changed"), (2, "other")}


def test_import(_):
    """Comes by another way; the keeper finds its names."""
    p = Project()
    lines = [{"eventId": str(uuid.uuid4()), "kind": f"imported{i}", "distinctId": "u", "occurTime":
              "2024-05-01T00:00:00Z", "customProperties": {f"key{i}": {"intValue": 1}}} for i in range(20)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("".join(json.dumps(x) + "\n" for x in lines))
        f.flush()
        done = subprocess.run([P.binary, "import", "--project", p.id, f.name, "--config", "/dev/null", "-o",
                               "database_url=" + P.info["database_url"], "-o", "credential_file="
                               + os.path.join(P.data, "credential")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(schema(p.prv)[0]) == 20
    until(lambda: p.count(0) == p.count(2) == 20, 40)


def test_erasure(_):
    """Names that only one person had brought are nowhere, sealed or not; also when one of the
    events comes again. What others have as well stays."""
    p, m = test_erase.Project(), test_erase.mark()
    shared = f"shared-{uuid.uuid4().hex[:8]}"
    events = []
    for way in ("sealed", "waiting"):
        hers = [test_erase.event(f"u-{m}", f"kind-{m}-{way}", **{f"key-{m}-{way}": "v", shared: m}),
                test_erase.event(f"u-{m}", "view", **{f"key-{m}": "v"})]
        events += hers
        p.put(*hers, test_erase.event("else", "view", **{shared: "x"}))
        if way == "sealed":
            test_sealed.seal()
    with people.database() as db:
        def catalogued():
            return {n for n, in db.query(f"SELECT name FROM pugd.catalog WHERE project = {p.num}")}

        assert {f"kind-{m}-sealed", f"kind-{m}-waiting", f"key-{m}", shared, "view"} < catalogued()
        assert p.bytes().count(m) > 10
        request = p.delete(f"u-{m}")["requestId"]
        assert not [n for n in schema(p.private)[2] if m in n], "hidden at once"
        p.wait(request)
        assert m not in p.bytes() and catalogued() == {"view", shared}
        assert shared in schema(p.private)[2]
        # A retry is acknowledged and leaves nothing (D20).
        got = p.put(*events)
        assert got["accepted"] == 4 and "eventsCreated" not in got or got.get("eventsCreated") == 0, got
        assert m not in p.bytes() and catalogued() == {"view", shared}
    p.checks()


def test_a_deleted_project(_):
    """Nothing of the catalogue is left once it is purged."""
    p = Project()
    p.send([ev("a", {"x": 1})])
    P.ok("/projects.v1.ProjectsService/Delete", {"projectId": p.id}, token=p.token, project=p.id)
    with people.database() as db:
        db.query(f"UPDATE pugd.projects SET deleted_at = now() - interval '1 hour' WHERE num = {p.num}")
        until(lambda: db.one(f"SELECT purged_at IS NOT NULL FROM pugd.projects WHERE num = {p.num}") == "t", 40)
        assert p.catalog() == set()
        assert db.one(f"SELECT count(*) FROM pugd.catalog_state WHERE project = {p.num}") == "0"


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=test_sealed.LAZY) as P:
        P.variant = variant
        for module in (test_accounts, test_erase, test_events, test_identify, test_model, test_schema, test_sealed):
            module.P = P
        sys.exit(pug.main(tests))
