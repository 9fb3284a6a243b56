#!/usr/bin/env python3
"""Usage (D42): events stored, per month and per UTC day and project, exactly."""
import concurrent.futures
import datetime
import sys
import uuid

import pug
import test_accounts
from test_accounts import PROJECTS
from test_protocol import fields
from people import Person, alias, binary, database, join, packed

BATCH = "/events.v1.EventsService/BatchCreate"
USAGE = "/usage.v1.UsageService/GetUsage"
DAY = datetime.timedelta(days=1)
P = None


def iso(t):
    return t.isoformat(timespec="seconds") + "Z"


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def instant(text):
    return datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")


def events(n):
    return [{"eventId": str(uuid.uuid4()), "name": "e", "distinctId": "u",
             "timestamp": iso(now() - datetime.timedelta(days=400))}
            for _ in range(n)]


class Shop:
    """An org with two projects."""

    def __init__(self):
        self.boss = Person()
        self.org = self.boss.org()
        self.projects = [self.boss.ok(PROJECTS + "List", {"orgId": self.org})["projects"][0]["id"]]
        self.projects.append(self.boss.ok(PROJECTS + "Create", {
            "orgId": self.org, "displayName": "two"})["project"]["id"])
        self.keys = [self.boss.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"},
                                  project=p)["key"] for p in self.projects]

    def usage(self, start=None, end=None, **kw):
        body = {"orgId": self.org}
        if start:
            body["range"] = {"from": iso(start), "to": iso(end)}
        got = self.boss.ok(USAGE, body, **kw)
        return int(got["usedEvents"]), [(d["day"], d["projectId"], int(d["eventCount"]))
                                        for d in got.get("daily", [])]

    def send(self, which, batch):
        return P.ok(BATCH, {"events": batch}, key=self.keys[which])


def sealed(project, day, n):
    """What sealing or purging leaves."""
    with database() as db:
        db.query("INSERT INTO pugd.usage_days SELECT num, date '%s', %d FROM pugd.projects "
                 "WHERE id = '%s' ON CONFLICT (project, day) DO UPDATE SET events = "
                 "usage_days.events + excluded.events" % (day, n, project))


def test_nothing(_):
    shop = Shop()
    for path in (USAGE, alias(USAGE)):
        got = shop.boss.ok(path, {"orgId": shop.org})
        assert got["usedEvents"] == "0" and not got.get("daily"), got
        start, end = instant(got["periodStart"]), instant(got["periodEnd"])
        at = instant(got["usageComputedAt"])
        assert start.day == end.day == 1 and start <= at < end, got
        assert (end - start).days in (28, 29, 30, 31) and "T00:00:00Z" in got["periodStart"], got
        assert abs(at - now()) < datetime.timedelta(minutes=1), got
        status, answer = binary(path, (1, shop.org), token=shop.boss.token)
        assert status == 200 and [n for n, _ in answer] == [1, 2, 3, 4] and answer[0][1] == 0, answer
        got = P.call(path + "?encoding=json&connect=v1&message=%7B%22orgId%22%3A%22" + shop.org
                     + "%22%7D", method="GET", token=shop.boss.token)
        assert got[0] == 200 and got[1]["usedEvents"] == "0", got


def test_counts(_):
    shop = Shop()
    first = events(5)
    shop.send(0, first)
    assert shop.usage()[0] == 5
    # a retry, whole or within a new batch, is not stored and so not counted
    shop.send(0, first)
    shop.send(0, first[:2] + events(3))
    shop.send(1, events(7))
    shop.send(1, first)  # the same ids in another project are other events
    used, daily = shop.usage()
    assert used == 20 == sum(n for _, _, n in daily), daily
    by_project = {p: sum(n for _, q, n in daily if q == p) for p in shop.projects}
    assert list(by_project.values()) == [8, 12], daily
    # the day is the day of arrival, in UTC, not that of the event
    assert all(now() - instant(day) < 2 * DAY for day, _, _ in daily), daily
    # what was sealed adds to its day
    day = daily[-1][0]
    sealed(shop.projects[1], day[:10], 1000)
    after_used, after = shop.usage()
    assert after_used == 1020 and sum(n for d, p, n in after if p == shop.projects[1]) == 1012, after


def test_everybody_of_the_org_sees_it(_):
    shop = Shop()
    shop.send(0, events(1))
    for role in (1, 2, 3):
        other = Person()
        join(shop.org, other, role)
        assert other.ok(USAGE, {"orgId": shop.org})["usedEvents"] == "1"
    stranger = Person()
    for path in (USAGE, alias(USAGE)):
        stranger.fails(403, "ORG_NOT_A_MEMBER", path, {"orgId": shop.org})
        stranger.fails(403, "ORG_NOT_A_MEMBER", path, {"orgId": "0" * 20})
        shop.boss.fails(400, "INVALID_ARGUMENT", path, {})
        for key in shop.keys:
            test_accounts.fails(403, "PERMISSION_DENIED", path, {"orgId": shop.org}, key=key)
        assert P.call(path, {"orgId": shop.org})[0] == 401
    assert stranger.ok(USAGE, {"orgId": stranger.org()})["usedEvents"] == "0"


def test_range(_):
    shop = Shop()
    one, two = shop.projects
    for day, project, n in (("2024-02-28", one, 1), ("2024-02-29", two, 2), ("2024-02-29", one, 3),
                            ("2024-03-01", one, 4), ("2024-03-02", two, 5)):
        sealed(project, day, n)
    want = [("2024-02-28T00:00:00Z", one, 1), ("2024-02-29T00:00:00Z", one, 3),
            ("2024-02-29T00:00:00Z", two, 2), ("2024-03-01T00:00:00Z", one, 4),
            ("2024-03-02T00:00:00Z", two, 5)]
    at = datetime.datetime
    for start, end, rows in (
            (at(2024, 2, 28), at(2024, 3, 3), want),
            (at(2024, 2, 29), at(2024, 3, 1), want[1:3]),            # exact days
            (at(2024, 2, 29, 23, 59, 59), at(2024, 3, 1, 0, 0, 1), want[1:4]),  # outward
            (at(2024, 2, 29, 12), at(2024, 2, 29, 13), want[1:3]),   # within one
            (at(2024, 3, 3), at(2024, 4, 1), []),
            (at(1, 1, 1), at(9999, 12, 31), want)):
        used, daily = shop.usage(start, end)
        assert used == 0 and daily == rows, (start, end, daily)
    assert shop.usage() == (0, [])
    # the month's sum does not depend on the range
    shop.send(0, events(2))
    assert shop.usage(at(2024, 2, 28), at(2024, 3, 3)) == (2, want)
    for bad in ({"from": "2024-01-02T00:00:00Z", "to": "2024-01-01T00:00:00Z"},
                {"from": "2024-01-02T00:00:00Z"}, {}):
        shop.boss.fails(400, "INVALID_ARGUMENT", USAGE, {"orgId": shop.org, "range": bad})
    span = packed((1, packed((1, 1709164799))), (2, packed((1, 1709164801))))
    status, answer = binary(USAGE, (1, shop.org), (2, span), token=shop.boss.token)
    rows = [fields(v) for n, v in answer if n == 5]
    assert status == 200 and [dict(r)[3] for r in rows] == [1, 3, 2], rows


def test_month(_):
    """The first day of the month counts, the last of the one before does not."""
    shop = Shop()
    start = instant(shop.boss.ok(USAGE, {"orgId": shop.org})["periodStart"])
    end = instant(shop.boss.ok(USAGE, {"orgId": shop.org})["periodEnd"])
    for day, n in ((start - DAY, 1), (start, 10), (end - DAY, 100), (end, 1000)):
        sealed(shop.projects[0], day.strftime("%Y-%m-%d"), n)
    used, daily = shop.usage()
    assert used == 110 and [n for _, _, n in daily] == [10, 100], daily
    used, daily = shop.usage(start - DAY, end + DAY)
    assert used == 110 and [n for _, _, n in daily] == [1, 10, 100, 1000], daily


def test_deleted_projects_count(_):
    shop = Shop()
    shop.send(0, events(3))
    shop.send(1, events(4))
    before = shop.usage()
    shop.boss.ok(PROJECTS + "Delete", project=shop.projects[1])
    assert shop.usage() == before and before[0] == 7, before


def test_many_rows(_):
    shop = Shop()
    with database() as db:
        db.query("INSERT INTO pugd.usage_days SELECT num, date '2000-01-01' + i, i FROM pugd.projects, "
                 f"generate_series(0, 5999) i WHERE id IN ('{shop.projects[0]}', '{shop.projects[1]}')")
    _, daily = shop.usage(datetime.datetime(1999, 1, 1), datetime.datetime(2050, 1, 1))
    assert len(daily) == 10000 and daily == sorted(daily, key=lambda d: d[0])
    assert daily[0][0] == "2000-01-01T00:00:00Z" and daily[-1][2] == 4999, daily[-1]


def test_many_at_once(_):
    """They wait for each other and leave the connections that Identify needs."""
    shop = Shop()
    shop.send(0, events(3))
    want, got = shop.usage(), []
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(shop.usage) for _ in range(64)]
        for i in range(20):
            status, answer, _ = P.call("/profiles.v1.ProfilesSDKService/Identify", {"externalId": f"u{i}"},
                                       key=P.info["public_key"])
            got.append((status, answer))
        assert all(a.result() == want for a in asked)
    assert all(status == 200 for status, _ in got), got


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
