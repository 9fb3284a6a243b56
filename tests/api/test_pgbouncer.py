#!/usr/bin/env python3
"""The whole product behind PgBouncer in transaction mode with two server connections:
every test of the suites of accounts and of events."""
import sys

import pg
import pug
import test_accounts
import test_events

P = None
DIRECT = ""


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
    yield "test_nothing_prepared_and_pool_kept", test_nothing_prepared_and_pool_kept


if __name__ == "__main__":
    variant = "asan" if "asan" in sys.argv else "test"
    with pg.Postgres() as postgres:
        DIRECT = postgres.createdb("pugd")
        with pg.PgBouncer(postgres, "pugd", pool_size=2) as pooler:
            options = ["workers=2", "db_prepare=no", "database_url=" + pooler.url()]
            with pug.Pug(variant, options=options) as P:
                P.variant, P.workers = variant, 2
                P.info["database_url"] = DIRECT
                test_accounts.P = test_events.P = P
                sys.exit(pug.main(tests()))
