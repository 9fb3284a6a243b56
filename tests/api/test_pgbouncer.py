#!/usr/bin/env python3
"""The whole product behind PgBouncer in transaction mode with two server connections:
every test of the suites of accounts and of events; and an alias for each lane."""
import concurrent.futures
import contextlib
import sys
import time

import pg
import pug
import test_accounts
import test_events

P = POSTGRES = None
DIRECT = ""
WINDOW = {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}


def slow_question(number):
    """Equal ones would be answered once."""
    return {"spec": {"insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [{"event": {"kind": f"kind{number}"}}]},
            "granularity": "GRANULARITY_DAY", "timeRange": WINDOW}


def blocked(db):
    """Of each who waits for the inbox whether it is an insight; the keeper wants to look into it, too. In
    a transaction one would see the same statements again and again."""
    return [insight == "t" for insight, in db.query(
        "SELECT query LIKE '%refused, data%' FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE relation = 'pugd.inbox'::regclass AND NOT granted")]


def test_slow_insights_leave_sign_in_alone(variant):
    """As the README says: an alias for each lane. Both connections of the insights' alias are taken."""
    url = POSTGRES.createdb("lanes")
    with pg.PgBouncer(POSTGRES, "lanes", pool_size=2) as pooler, contextlib.ExitStack() as stack:
        options = ["workers=2", "db_prepare=no"] + [f"{lane}_url={pooler.url(lane)}"
                                                    for lane in ("database", "ingest", "analytics")]
        p = stack.enter_context(pug.Pug(variant, options=options))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(3))
        with pg.connect(url) as db, pg.connect(url) as eye:
            db.query("BEGIN; LOCK TABLE pugd.inbox IN ACCESS EXCLUSIVE MODE")
            slow = [pool.submit(p.call, "/insights.v1.InsightsService/Query", slow_question(i),
                                key=p.info["private_key"]) for i in range(3)]
            end = time.monotonic() + 20
            while (waiting := blocked(eye)).count(True) != 2:
                assert time.monotonic() < end and not any(s.done() for s in slow), (waiting, slow)
                time.sleep(0.02)
            for _ in range(3):
                start = time.monotonic()
                assert p.ok("/orgs.v1.OrgsService/List", token=p.sign_in())["orgs"]
                assert time.monotonic() - start < 2, "the sign-in waited for the insights"
            assert not any(s.done() for s in slow), slow
        assert [s.result()[0] for s in slow] == [200] * 3, slow


def test_nothing_prepared_and_pool_kept(_):
    """Last: statements all went through the two connections, none was left prepared."""
    with pg.connect(DIRECT) as db:
        backends = db.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
                          "'client backend' AND datname = current_database() "
                          "AND pid <> pg_backend_pid()")
    assert int(backends) <= 2, backends
    text = P.log()
    for trouble in ("prepared statement", "already exists", "does not exist"):
        assert trouble not in text, trouble
    assert P.admin()["deaths"] == 0


def tests():
    for module in (test_accounts, test_events):
        for name, fn in list(vars(module).items()):
            if name.startswith("test_") and callable(fn) and fn.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", fn
    yield "test_slow_insights_leave_sign_in_alone", test_slow_insights_leave_sign_in_alone
    yield "test_nothing_prepared_and_pool_kept", test_nothing_prepared_and_pool_kept


if __name__ == "__main__":
    variant = "asan" if "asan" in sys.argv else "test"
    with pg.Postgres() as POSTGRES:
        DIRECT = POSTGRES.createdb("pugd")
        with pg.PgBouncer(POSTGRES, "pugd", pool_size=2) as pooler:
            options = ["workers=2", "db_prepare=no", "database_url=" + pooler.url()]
            with pug.Pug(variant, options=options) as P:
                P.variant, P.workers = variant, 2
                P.info["database_url"] = DIRECT
                test_accounts.P = test_events.P = P
                sys.exit(pug.main(tests()))
