"""The pool of worker/db against a private PostgreSQL: errors stay with their call,
lost servers, deadlines, locks, prepared statements, PgBouncer. Drives db_probe."""
import os
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402

VARIANT = "asan" if "asan" in sys.argv else "test"
PROBE = os.environ.get("DB_PROBE") or os.path.join(pug.TOP, "build", VARIANT, "bin", "db", "db_probe")
SCHEMA = """CREATE TABLE t (k text CONSTRAINT t_k_key UNIQUE, n int NOT NULL DEFAULT 0);
            CREATE TABLE w (v varchar(10)); INSERT INTO w VALUES ('x')"""


class Probe:
    """db_probe and its answers: ask("50 read 0") == {"name": "read", "OK": 50, ...}."""

    def __init__(self, url, *args):
        self.child = subprocess.Popen([PROBE, url, *args], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.child.stdin.close()
        if exc[0]:
            self.child.kill()
        assert self.child.wait(30) == 0 or exc[0], "the probe died"
        self.child.stdout.close()

    def send(self, *lines):
        self.child.stdin.write("".join(line + "\n" for line in lines).encode())
        self.child.stdin.flush()

    def answer(self, timeout=30):
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.child.stdout], [], [], left)[0], "no answer"
            got = os.read(self.child.stdout.fileno(), 4096)
            assert got, "the probe died"
            self.rest += got
        line, _, self.rest = self.rest.partition(b"\n")
        name, *pairs = line.decode().split()
        counts = {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
        assert not counts.get("wrong"), f"answers mixed up: {line}"
        return {"name": name, **counts}

    def ask(self, line, timeout=30):
        self.send(line)
        return self.answer(timeout)

    def until_up(self, timeout=15):
        end = time.monotonic() + timeout
        while self.ask("read 1").get("OK") != 1:
            assert time.monotonic() < end, "does not come back"
            time.sleep(0.05)


def fresh():
    url = S.createdb()
    with pg.connect(url) as db:
        db.query(SCHEMA)
    return url


def test_errors_stay_with_their_call(_):
    for mode in ([], ["noprepare"]):
        with Probe(fresh(), *mode) as p:
            assert p.ask("50 read 0")["OK"] == 50
            got = p.ask("1000 mix 0")
            assert (got["OK"], got["BUG"]) == (800, 200), got


def test_constraints_and_transactions(_):
    url = fresh()
    with Probe(url) as p, pg.connect(url) as db:
        assert p.ask("unique a")["OK"] == 1
        assert p.ask("unique a")["UNIQUE"] == 1
        assert p.ask("tx b")["OK"] == 1
        assert p.ask("txfail c")["UNIQUE"] == 1
        # more transactions than connections: they take turns
        assert p.ask("20 tx d").get("UNIQUE") == 19
        # what was committed is no failure, whatever could not be read before
        assert p.ask("txodd e")["OK"] == 1
        assert db.query("DELETE FROM t WHERE k = 'e' RETURNING k") == [("e",)]
        assert db.query("SELECT k, n FROM t ORDER BY k") == [("a", "0"), ("b", "1"), ("d", "1")]


def test_deadline_of_a_call(_):
    with Probe(fresh()) as p:
        start = time.monotonic()
        assert p.ask("sleep 800 100")["TIMEOUT"] == 1
        assert time.monotonic() - start < 0.5
        # its late answer is nobody else's
        assert p.ask("50 read 0")["OK"] == 50


def test_row_locks(_):
    url = fresh()
    with Probe(url, "timeout=700") as p, pg.connect(url) as db:
        db.query("INSERT INTO t VALUES ('a')")
        db.query("BEGIN; UPDATE t SET n = 5")
        p.send("4 lock a")
        # waiting for a row holds nobody else up
        assert p.ask("50 read 0")["name"] == "read"
        assert p.answer()["TIMEOUT"] == 4
        db.query("ROLLBACK")
        time.sleep(0.2)
        assert p.ask("tx z")["OK"] == 1
        waiting = db.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        assert waiting == "0", "the server gives up as well"


def test_the_queue_is_bounded(_):
    with Probe(fresh(), "queue=10") as p:
        got = p.ask("50 read 0")
        assert got["OK"] == 10 and got["BUSY"] == 40, got
        assert p.ask("10 read 0")["OK"] == 10


def test_killed_backends(_):
    url = fresh()
    with Probe(url) as p, pg.connect(url) as db:
        p.ask("read 1")
        p.send("2 sleep 300")
        time.sleep(0.1)
        db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pugd'")
        # reads are sent again on a new connection
        assert p.answer()["OK"] == 2
        assert p.ask("50 read 0")["OK"] == 50


def test_a_short_restart_is_invisible(_):
    url = fresh()
    with Probe(url) as p:
        p.ask("read 1")
        S.kill9()
        p.send("5 read 0")
        S.start()
        got = p.answer()
        p.until_up()
        assert got.get("OK", 0) + got.get("DOWN", 0) == 5, got
        assert p.ask("tx q")["OK"] == 1


def test_a_long_outage_fails_fast(_):
    url = fresh()
    with Probe(url) as p:
        p.ask("tx q")
        S.kill9()
        time.sleep(1.3)
        start = time.monotonic()
        assert p.ask("100 read 0")["DOWN"] == 100
        assert p.ask("tx r")["DOWN"] == 1
        assert time.monotonic() - start < 0.5
        assert p.ask("state")["up"] == 0
        S.start()
        p.until_up()
        assert p.ask("tx r").get("OK") == 1, p.ask("tx r2")


def test_no_server_at_start(_):
    url = fresh()
    S.stop()
    with Probe(url) as p:
        assert p.ask("read 1")["DOWN"] == 1
        S.start()
        p.until_up()


def test_a_silent_server(_):
    url = fresh()
    with Probe(url, "timeout=400") as p:
        assert p.ask("20 read 0")["OK"] == 20
        S.pause()
        try:
            assert p.ask("20 read 0", timeout=5)["TIMEOUT"] == 20
            time.sleep(1.2)  # the connections are given up
        finally:
            S.pause(False)
        p.until_up()
        assert p.ask("20 read 0")["OK"] == 20


def test_prepared_statements_come_back(_):
    url = fresh()
    with Probe(url) as p, pg.connect(url) as db:
        assert p.ask("10 text")["OK"] == 10
        # both fast connections forget everything
        assert p.ask("10 forget")["OK"] == 10
        assert p.ask("50 read 0")["OK"] == 50
        got = p.ask("50 text")
        assert got["OK"] == 50, got
        # the result type of a prepared statement changes
        db.query("ALTER TABLE w ALTER v TYPE text")
        assert p.ask("10 text")["OK"] == 10


def test_pgbouncer(_):
    url = fresh()
    db_name = url.split("?")[0].rpartition("/")[2]
    with pg.PgBouncer(S, db=db_name, pool_size=2) as bouncer:
        with Probe(bouncer.url(), "noprepare") as p, Probe(bouncer.url(), "noprepare") as other:
            for _round in range(5):
                p.send("200 read 0", "20 tx a", "100 mix 0")
                other.send("200 read 0", "5 unique b")
                got = [p.answer() for _ in range(3)]
                assert {g["name"] for g in got} == {"read", "tx", "mix"}
                assert sum(g.get("OK", 0) for g in got) in (281, 280), got
                got = [other.answer(), other.answer()]
                assert sum(g.get("DOWN", 0) + g.get("TIMEOUT", 0) for g in got) == 0, got
        with pg.connect(bouncer.url()) as db:
            # nothing that we set stayed on the pooled connections
            for _ in range(4):
                assert db.one("SHOW lock_timeout") == "0" and db.one("SHOW statement_timeout") == "0"


def test_host_names(_):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pg.Postgres({"listen_addresses": "127.0.0.1", "port": port}) as server:
        # libpq would block on names, so they are looked up before; a dead one is skipped
        for hosts in ("localhost", "127.0.0.1", "slow.invalid",
                      f"nosuch.invalid,localhost,{server.dir}"):
            with Probe(f"postgresql://pugd@/postgres?host={hosts}&port={port}") as p:
                assert p.ask("5 read 0").get("OK") == 5, hosts
                # every connection of every lane comes up, not the first ones alone
                assert p.ask("4 tx a")["BUG"] == 4, hosts
                with pg.connect(server.url()) as db:
                    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pugd'"
                    end = time.monotonic() + 10
                    while int(db.one(ours)) < 5:
                        assert time.monotonic() < end, (hosts, db.one(ours))
                        time.sleep(0.05)


def test_a_silent_name_server_holds_nobody_up(_):
    with Probe("postgresql://pugd@silent.invalid/postgres") as p:
        start = time.monotonic()
        assert p.ask("state")["up"] == 0
        assert time.monotonic() - start < 1
        assert p.ask("5 read 0")["DOWN"] == 5
        assert time.monotonic() - start < 2.5, "calls wait for the name server"


def test_names_that_cannot_be_found_are_not_left_to_libpq(_):
    # PQconnectStart would look them up itself, on the loop: seconds without a heartbeat.
    done = subprocess.run([PROBE, "postgresql://pugd@nosuch.invalid/postgres"], input=b"wait 500\n",
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=True)
    assert b"cannot resolve database host" in done.stderr, done.stderr
    assert b"could not translate host name" not in done.stderr, done.stderr


if __name__ == "__main__":
    with pg.Postgres() as S:
        sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
