#!/usr/bin/env python3
"""Distinct ids as numbers (worker/store/numbers.h): each sealed event has that of its id, an id
has one and a number is nobody else's, whoever seals, merges, erases, dies or comes from an older
version meanwhile. Decoded and digested here by other code than the server's."""
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid

import people
import pug
import test_accounts
import test_erase
import test_model
import test_sealed
from digest import digest, siphash
from test_model import QUERY
from test_sealed import DAY, HOUR, LAZY, NOW, iso, seal, until, verify

P = None
NUMBERS_MAX, BLOCK = 4 << 20, 256  # of the tests' build


def use(server):
    global P
    P = server
    for m in (test_sealed, test_model, test_accounts, test_erase, test_erase.test_identify):
        m.P = server
    test_erase.use(server)


# ---- what is stored, read the slow way ------------------------------------------------------

def test_the_digest(_):
    """The vector of the paper, appendix A."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xa129ca6149be45e5


def texts(raw, n):
    """Values of a column of strings that every event has (worker/store/column.h)."""
    at = 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = raw[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v
    entries = []
    for _ in range(varint()):
        at += 1
        size = varint()
        entries.append(raw[at:at + size].decode())
        at += size
    layout, width = raw[at], raw[at + 1]
    assert layout == 0 and len(raw) == at + 2 + n * width
    return [entries[int.from_bytes(raw[at + 2 + i * width:at + 2 + (i + 1) * width], "little") - 1]
            for i in range(n)]


def unpacked(data, size):
    data = bytes.fromhex(data)
    return data if len(data) == size else test_model.lz4(data, size)


class Store:
    """All sealed segments of a project and its numbers, checked while they are read."""

    def __init__(self, db, num):
        db.query("begin isolation level repeatable read read only")  # the keeper goes on meanwhile
        try:
            self.read(db, num)
        finally:
            db.query("rollback")

    def read(self, db, num):
        self.key = bytes.fromhex(db.one("select encode(digest_key, 'hex') from pugd.projects where num = $1", num))
        self.digests, self.blocks, self.numbers, self.segments, self.without = [], [], {}, 0, 0
        for first, n, data in db.query("select first, n, encode(digests, 'hex') from pugd.number_block "
                                       "where project = $1 order by first", num):
            assert int(first) == len(self.digests) + 1 and len(data) == 16 * int(n), "no gaps"
            self.digests += [d for d, in struct.iter_unpack("<Q", bytes.fromhex(data))]
            self.blocks.append(int(n))
        live = [d for d in self.digests if d]
        assert len(set(live)) == len(live), "an id has two numbers"
        rows = db.query("select s.id, s.n, s.kind, s.numbered, array_to_string(s.kinds, ','), s.columns, s.bytes, "
                        "count(c.*), sum(octet_length(c.data)) from pugd.segment s join pugd.segment_column c on "
                        "c.project = s.project and c.segment = s.id where s.project = $1 group by s.project, s.day, "
                        "s.id order by s.id", num)
        for segment, n, kind, numbered, kinds, columns, size, parts, bytes_ in rows:
            assert (columns, size) == (parts, bytes_), segment
            part = {int(p): unpacked(d, int(r)) for p, r, d in db.query(
                "select part, raw, encode(data, 'hex') from pugd.segment_column where project = $1 and segment = $2 "
                "and part in (3, 4, 9)", num, segment)}
            assert (9 in part) == (numbered == "t"), segment
            if 9 not in part:
                self.without += 1
                continue
            self.segments += 1
            self.segment(int(n), part)
            have = sorted(set(texts(part[3], int(n))))
            assert have == [kind] and not kinds if kind else have == (kinds or "").split(","), (have, kind, kinds)

    def segment(self, n, part):
        raw, width = part[9], part[9][0]
        assert len(raw) == 1 + n * width
        for i, text in enumerate(texts(part[4], n)):
            number = int.from_bytes(raw[1 + i * width:1 + (i + 1) * width], "little")
            if text.startswith("cookieless-"):
                assert number == 0, text
            else:
                assert self.digests[number - 1] == digest(self.key, text), (text, number)
                assert self.numbers.setdefault(text, number) == number, text


class Shop(test_sealed.Shop):
    def put(self, ids, kinds=6, days=3, seed=0):
        """An event or more of each id, in batches."""
        rnd = random.Random(seed)
        events = [{"eventId": str(uuid.uuid4()), "name": f"k{rnd.randrange(kinds)}", "distinctId": i,
                   "timestamp": iso(NOW - rnd.randrange(days) * DAY - rnd.randrange(HOUR)),
                   "properties": {}} for i in ids]
        for at in range(0, len(events), 500):
            self.send(events[at:at + 500])

    def store(self):
        return Store(self.db, self.num)

    def users(self):
        """Distinct people, as a question has it: with numbers or without."""
        now = int(time.time() * 1000)
        got = P.ok(QUERY, {"spec": {"insightType": "INSIGHT_TYPE_TRENDS", "events": [
            {"event": {"kind": "k1"}, "aggregation": "AGGREGATION_TYPE_UNIQUE_USERS"}]},
            "timeRange": {"from": iso(now - 30 * 86400000), "to": iso(now + 86400000)},
            "granularity": "GRANULARITY_DAY"}, key=self.key)
        return {x["time"]: x["value"] for s in got["trends"]["series"] for x in s["points"] if x.get("value")}

    def make_old(self, where="true", numbers_too=False):
        """As an older version left them; in one statement, because the keeper mends it at once."""
        self.db.query(
            "with old as (update pugd.segment s set numbered = false, kinds = null, columns = columns - 1, "
            "bytes = bytes - (select octet_length(c.data) from pugd.segment_column c where c.project = s.project and "
            f"c.segment = s.id and c.part = 9) where project = $1 and numbered and {where} returning id), "
            f"blocks as (delete from pugd.number_block where project = $1 and {numbers_too}) "
            "delete from pugd.segment_column where project = $1 and part = 9 and segment in (select id from old)",
            self.num)

    def clean(self):
        """Nothing of this project is wrong, says pugd verify."""
        _, lines = verify()
        assert not [x for x in lines if x.startswith(f"project={self.num} ")], lines


# ---- tests ----------------------------------------------------------------------------------

def test_every_event_has_its_number(_):
    shop = Shop(P)
    for round_ in range(3):
        shop.put([f"user-{i}" for i in range(round_ * 200, round_ * 200 + 400)], seed=round_)
        seal()
    store = shop.store()
    assert store.without == 0 and store.segments > 6
    assert set(store.numbers) == {f"user-{i}" for i in range(800)}
    assert sorted(store.numbers.values()) == list(range(1, 801)), "dense"
    assert store.blocks == [BLOCK] * 3 + [800 - 3 * BLOCK], "the last one grows first"
    assert len({shop.db.one("select encode(digest_key, 'hex') from pugd.projects where num = $1", s.num)
                for s in (shop, Shop(P))}) == 2
    shop.clean()
    shop.check()


def test_rare_kinds_share_a_segment_and_are_listed(_):
    shop = Shop(P)
    shop.put([f"u{i % 9}" for i in range(60)], kinds=25, days=1)
    seal()
    lists = shop.db.query("select n, cardinality(kinds) from pugd.segment where project = $1 and kind = ''", shop.num)
    assert lists and all(int(k) > 1 for _, k in lists), lists
    assert shop.store().without == 0
    shop.clean()


def test_cookieless_visitors_have_none(_):
    shop = Shop(P)
    shop.put(["cookieles~-1", "cookieles~-2", "somebody"] * 5)
    test_model.Server.forge_cookieless(shop, shop.num)
    seal()
    assert shop.store().numbers == {"somebody": 1}
    shop.clean()


def test_many_seal_at_once(_):
    shop, ids = Shop(P), [f"user-{i}" for i in range(300)]
    for round_ in range(4):
        for i in range(30):
            shop.put(random.sample(ids, 12), days=2, seed=i)
        sealers = [threading.Thread(target=seal) for _ in range(4)]
        for t in sealers:
            t.start()
        for t in sealers:
            t.join()
        store = shop.store()
        assert store.without == 0 and len([d for d in store.digests if d]) == len(store.numbers), round_
    shop.clean()
    shop.check()


def test_killed_in_the_middle(_):
    """What is not committed has given no number out."""
    shop, rnd = Shop(P), random.Random(3)
    for i in range(25):
        shop.put([f"user-{rnd.randrange(5000)}" for _ in range(60)], seed=i)
        one = subprocess.Popen([P.binary, "seal", "--config", "/dev/null", "-o", "database_url=" +
                                P.info["database_url"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rnd.random() * 0.05)
        one.send_signal(signal.SIGKILL)
        one.wait()
    seal()
    store = shop.store()
    assert store.without == 0 and sorted(store.numbers.values()) == list(range(1, len(store.digests) + 1))
    shop.clean()
    shop.check()


def test_merges_keep_them(_):
    """Of segments with numbers, without, and of both."""
    shop = Shop(P)
    for i in range(24):
        shop.put([f"user-{(i * 7 + k) % 90}" for k in range(30)], kinds=2, days=1, seed=i)
        seal()
        if i % 3 == 1:
            shop.make_old("tier = 0" if i % 2 else "id % 2 = 0")
    assert int(shop.db.one("select max(tier) from pugd.segment where project = $1", shop.num)) > 0
    store = shop.store()
    assert store.without == 0 and len(store.digests) == 90
    shop.clean()
    shop.check()


def test_old_segments_get_numbers(_):
    """By pugd seal, by the keeper, and without anything else of them being touched."""
    shop = Shop(P)
    for i in range(5):
        shop.put([f"user-{i * 40 + k}" for k in range(100)], kinds=20, seed=i)
        seal()
    kept = "select count(*), sum(n), min(id), max(id), string_agg(names::text, ',' order by id) from pugd.segment " \
        "where project = $1"
    before, users = shop.db.query(kept, shop.num), shop.users()
    assert len(users) >= 3, users
    for how in (seal, lambda: None):
        shop.make_old(numbers_too=True)
        assert shop.users() == users
        how()
        until(lambda: shop.db.one("select bool_and(numbered) from pugd.segment where project = $1", shop.num) == "t")
        store = shop.store()
        assert store.without == 0 and len(store.digests) == 260
        assert shop.db.query(kept, shop.num) == before and shop.users() == users
        shop.clean()
    shop.check()


def test_old_segments_while_others_write(_):
    """Several number, seal and merge the same project's at once."""
    shop, rnd = Shop(P), random.Random(4)
    for i in range(20):
        shop.put([f"user-{rnd.randrange(400)}" for _ in range(40)], days=2, seed=i)
        seal()
    for i in range(5):
        shop.make_old("id % 3 <> 0" if i else "true", numbers_too=i == 0)
        for k in range(4):
            shop.put([f"user-{rnd.randrange(800)}" for _ in range(20)], days=2, seed=i * 10 + k)
        sealers = [threading.Thread(target=seal) for _ in range(4)]
        for t in sealers:
            t.start()
        for t in sealers:
            t.join()
        until(lambda: shop.db.one("select bool_and(numbered) from pugd.segment where project = $1", shop.num) == "t")
        store = shop.store()
        assert len([d for d in store.digests if d]) == len(store.numbers), i
    shop.clean()
    shop.check()


def test_what_cannot_be_read_is_passed_over(_):
    shop = Shop(P)
    shop.put([f"user-{i}" for i in range(200)], days=6)
    seal()
    flip = "update pugd.segment_column set data = set_byte(data, 9, get_byte(data, 9) # 1) where project = $1 and " \
        "part = 4 and segment = (select min(id) from pugd.segment where project = $1)"
    shop.db.query(flip, shop.num)
    shop.make_old(numbers_too=True)
    seal()
    missing = "select count(*) from pugd.segment where project = $1 and not numbered"
    assert shop.db.one(missing, shop.num) == "1"
    shop.db.query(flip, shop.num)
    until(lambda: shop.db.one(missing, shop.num) == "0")
    shop.store()
    shop.clean()


def test_no_more_numbers(_):
    """A project may have 4 194 304; what comes then is sealed without, and answers are right."""
    shop = Shop(P)
    shop.db.query("insert into pugd.number_block select $1::int, 1 + 8192 * i, case when i = 511 then 8184 else 8192 end,"
                  " decode(repeat('00', case when i = 511 then 65472 else 65536 end), 'hex') "
                  "from generate_series(0, 511) i", shop.num)
    shop.put([f"user-{i}" for i in range(5)], kinds=1, days=1)
    seal()
    store = shop.store()
    assert (store.without, len(store.digests), min(store.numbers.values())) == (0, NUMBERS_MAX - 3, NUMBERS_MAX - 7)
    shop.put([f"user-{i}" for i in range(9)], kinds=1, days=1)
    seal()
    store = shop.store()
    assert (store.without, len(store.digests)) == (1, NUMBERS_MAX), "three got the last ones"
    shop.put([f"user-{i}" for i in range(9)], kinds=1, days=1)
    seal()
    time.sleep(2.2)  # the keeper has tried it
    store = shop.store()
    assert (store.segments, store.without, len(store.digests)) == (1, 2, NUMBERS_MAX), (store.segments, store.without)
    shop.clean()
    shop.check()


def test_purge(_):
    doomed, stays = Shop(P), Shop(P)
    for shop in (doomed, stays):
        shop.put([f"user-{i}" for i in range(300)])
    seal()
    P.ok(test_model.PROJECTS + "Delete", token=doomed.token, project=doomed.id)
    doomed.db.query("update pugd.projects set deleted_at = deleted_at - interval '1 hour' where num = $1", doomed.num)
    until(lambda: doomed.db.one("select purged_at is not null from pugd.projects where num = $1", doomed.num) == "t")
    assert doomed.rows("number_block") == 0 and len(stays.store().digests) == 300


# ---- erasure --------------------------------------------------------------------------------

def digest_of(project, store, text):
    return digest(store.key, text)


def stored(project):
    with people.database() as db:
        return Store(db, project.num)


def test_an_erased_id_is_nobodys(_):
    p, m = test_erase.Project(), test_erase.mark()
    profile, external, anon = test_erase.person(p, m, 6)
    p.put(*(test_erase.event(f"other-{i}") for i in range(300)))
    seal()
    before = stored(p)
    assert {external, anon} < set(before.numbers) and len(before.digests) == 302
    p.wait(p.delete(anon)["requestId"])
    after = stored(p)
    gone = {before.numbers[i] for i in (external, anon)}
    assert [n for n, d in enumerate(after.digests, 1) if not d] == sorted(gone)
    assert [d for d in before.digests if d in after.digests] == [d for d in after.digests if d]
    p.put(test_erase.event(external), test_erase.event("other-1"))
    seal()
    new = stored(p)
    assert new.numbers[external] == 303 and len(new.digests) == 303 and new.without == 0
    p.checks()


def test_who_has_come_again_keeps_the_number(_):
    """Somebody new under the same id, sealed before the erasure is over."""
    p, who, other = test_erase.Project(), f"who-{test_erase.mark()}", f"other-{test_erase.mark()}"
    for _ in range(3):
        p.put(test_erase.event(who), test_erase.event(other), test_erase.event("stays"))
        seal()
    before = stored(p).numbers
    with test_erase.held():
        requests = [p.delete(i)["requestId"] for i in (who, other)]
        p.put(test_erase.event(who))
        seal()
        assert stored(p).numbers == before
    for r in requests:
        assert int(p.wait(r)["eventsIdentified"]) == 3
    after = stored(p)
    assert after.numbers == {i: before[i] for i in (who, "stays")}
    assert [n for n, d in enumerate(after.digests, 1) if not d] == [before[other]]
    p.wait(p.delete(who)["requestId"])
    after = stored(p)
    assert after.numbers == {"stays": before["stays"]} and sum(not d for d in after.digests) == 2
    p.checks()


def test_erasing_of_old_segments(_):
    """The keeper gives them numbers while the person is being erased."""
    p, m = test_erase.Project(), test_erase.mark()
    profile, external, anon = test_erase.person(p, m, 6)
    p.put(*(test_erase.event(f"other-{i}") for i in range(30)))
    seal()
    with people.database() as db:
        shop = Shop.__new__(Shop)
        shop.db, shop.num = db, p.num
        shop.make_old(numbers_too=True)
        p.wait(p.delete(anon)["requestId"])
        until(lambda: db.one("select bool_and(numbered) from pugd.segment where project = $1", p.num) == "t")
    store = stored(p)
    here = {digest(store.key, i) for i in (external, anon, profile)}
    assert not here & set(store.digests) and set(store.numbers) == {f"other-{i}" for i in range(30)}
    p.checks()


# ---- pugd verify ----------------------------------------------------------------------------

def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return struct.unpack("<i", struct.pack("<I", crc ^ 0xffffffff))[0]


def test_verify(_):
    shop = Shop(P)
    shop.put([f"user-{i}" for i in range(400)], kinds=30, days=1)
    shop.put([f"user-{i}" for i in range(40)], kinds=1, days=1)
    seal()
    shop.clean()
    first = "(select min(id) from pugd.segment where project = $1 and kind = 'k0')"
    shared = "(select min(id) from pugd.segment where project = $1 and kind = '')"
    segment, n, raw, data = shop.db.query(
        "select s.id, s.n, c.raw, encode(c.data, 'hex') from pugd.segment s join pugd.segment_column c on "
        f"c.project = s.project and c.segment = s.id and c.part = 9 where s.project = $1 and s.id = {first}", shop.num)[0]
    body = bytearray(unpacked(data, int(raw)))
    body[1] ^= 1
    head = bytes([9, 0]) + struct.pack("<QQQ", int(segment), 0, len(body))
    with_wrong = ("update pugd.segment s set bytes = bytes - (select octet_length(data) from pugd.segment_column c where "
                  f"c.project = $1 and c.segment = s.id and part = 9) + {len(body)} where project = $1 and id = {first}; "
                  f"update pugd.segment_column set data = decode('{body.hex()}', 'hex'), crc = {crc32c(head + bytes(body))}"
                  f" where project = $1 and segment = {first} and part = 9").replace("$1", shop.num)
    block = "pugd.number_block where project = $1"
    swap = "overlay(overlay(digests placing substr(digests, 1, 8) from 9) placing substr(digests, 9, 8) from 1)"
    for change, want in (
            (with_wrong, f"segment={segment}: the number of a distinct_id is another's"),
            (f"update pugd.number_block set digests = {swap} where project = $1 and first = 1",
             "segment=[0-9]*: the number of a distinct_id is another's"),
            ("update pugd.number_block set digests = overlay(digests placing substr(digests, 1, 8) from 9) "
             "where project = $1 and first = 1", "number_block=1: an id has two numbers"),
            ("update pugd.number_block set digests = overlay(digests placing decode(repeat('00', 8), 'hex') from 1) "
             "where project = $1 and first = 1", "segment=[0-9]*: the number of a distinct_id is another's"),
            (f"delete from {block} and first = 1", f"number_block={BLOCK + 1}: it does not begin where"),
            ("update pugd.number_block set first = first - 1 where project = $1 and first > 1",
             f"number_block={BLOCK}: it does not begin where"),
            (f"update pugd.segment set numbered = false where project = $1 and id = {first}",
             "segment=[0-9]*: whether it has numbers is wrong"),
            (f"update pugd.segment set kinds = kinds[2:] where project = $1 and id = {shared}",
             "segment=[0-9]*: its kinds are not those of its events"),
            (f"update pugd.segment set kinds[1] = 'k' where project = $1 and id = {shared}",
             "segment=[0-9]*: its kinds are not those of its events"),
            (f"update pugd.segment set kinds = '{{k0}}' where project = $1 and id = {first}",
             "segment=[0-9]*: it lists kinds and has only one")):
        for t in ("segment", "segment_column", "number_block"):
            shop.db.query(f"create table pugd.kept_{t} as select * from pugd.{t} where project = $1", shop.num)
        try:
            shop.db.query(change, *([shop.num] if "$1" in change else []))
            code, lines = verify()
            assert code == 1 and any(re.search(f"^project={shop.num} {want}", x) for x in lines), (change, lines)
        finally:
            for t in ("segment", "segment_column", "number_block"):
                shop.db.query(f"delete from pugd.{t} where project = $1", shop.num)
                shop.db.query(f"insert into pugd.{t} select * from pugd.kept_{t}")
                shop.db.query(f"drop table pugd.kept_{t}")
    shop.clean()
    shop.store()


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    with pug.Pug("asan" if "asan" in sys.argv else "test", options=LAZY) as first_server:
        use(first_server)
        sys.exit(pug.main(tests))
