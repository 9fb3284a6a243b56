"""Insights on a standby: an acknowledged event is in the next answer (D21), whether
the standby keeps up or lags behind."""
import os
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402
from test_ingest import BATCH, account, event, trend  # noqa: E402


class Standby(pg.Postgres):
    """A streaming copy of a server; `delay` is how far it stays behind."""

    def __init__(self, primary):
        super().__init__(start=False)
        subprocess.run(["rm", "-rf", self.data], check=True)
        argv = [f"{pg.bindir()}/pg_basebackup", "-d", primary.url(), "-D", self.data, "-R", "-c", "fast"]
        assert pg._spawn(argv).wait(60) == 0
        self.start()

    def delay(self, text):
        with pg.connect(self.url()) as db:
            db.query(f"ALTER SYSTEM SET recovery_min_apply_delay = '{text}'")
            db.query("SELECT pg_reload_conf()")
        time.sleep(0.5)  # the process that replays reads its settings when it likes


def serve(binary, folder, options):
    """pugd on a free port, as an object with the calls of pug.Pug."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    key = os.path.join(folder, "key")
    with open(key, "wb") as f:
        f.write(os.urandom(32))
    os.chmod(key, 0o600)
    options = options + [f"listen=127.0.0.1:{port}", "admin_listen=", "user=", "workers=1",
                         f"credential_file={key}", "limit_scale=100"]
    log = open(os.path.join(folder, "log"), "wb")
    child = subprocess.Popen([binary, "run"] + [w for o in options for w in ("-o", o)], stdout=log, stderr=log)
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return child, port
        except OSError:
            assert child.poll() is None and time.monotonic() < end, open(log.name).read()
            time.sleep(0.05)


def check(p, key, seen, rounds):
    for _ in range(rounds):
        p.ok(BATCH, {"events": [event("k", "u")]}, key=key)
        seen += 1
        assert trend(p, key, [{"event": {"kind": "k"}}])[0][2] == [("2024-01-01", seen)]
    return seen


def test_read_your_writes(variant):
    binary = os.path.join(pug.TOP, "build", variant, "pugd")
    with tempfile.TemporaryDirectory() as folder, pg.Postgres({"wal_level": "replica"}) as primary:
        url = primary.createdb()
        subprocess.run([binary, "migrate", "--database", url], check=True, timeout=60)
        with Standby(primary) as standby:
            analytics = standby.url(url.split("/")[3].split("?")[0])
            child, port = serve(binary, folder, [f"database_url={url}", f"analytics_url={analytics}"])
            try:
                p = pug.Pug.__new__(pug.Pug)
                p.host, p.port, p.info = "127.0.0.1", port, {"database_url": url}
                key = account(p)[2]
                seen = check(p, key, 0, 20)
                with pg.connect(analytics) as db:
                    assert db.one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pugd'") != "0"
                standby.delay("20s")
                begin = time.monotonic()
                seen = check(p, key, seen, 1)
                assert 0.9 < time.monotonic() - begin < 5
                standby.delay("0")
                check(p, key, seen, 5)
            finally:
                child.terminate()
                assert child.wait(60) == 0


if __name__ == "__main__":
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
