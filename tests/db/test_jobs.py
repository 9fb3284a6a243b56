"""The keeper's jobs on a real server: expired credentials go, partitions come."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "harness"))
import pg  # noqa: E402
import pug  # noqa: E402

DATA = """
INSERT INTO pugd.customers (id, email) VALUES ('00000000000000000000', 'a@b.c');
INSERT INTO pugd.sessions (id, customer_id, create_time) VALUES
  ('00000000000000000001', '00000000000000000000', now() - interval '100 days'),
  ('00000000000000000002', '00000000000000000000', now() - interval '100 days');
INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at)
  SELECT sha256(i::text::bytea), '00000000000000000001', now() - interval '1 day'
  FROM generate_series(1, 1200) i;
INSERT INTO pugd.refresh_tokens (hash, session_id, expires_at) VALUES
  (sha256('live'), '00000000000000000002', now() + interval '1 day');
INSERT INTO pugd.action_tokens (hash, purpose, email, expires_at) VALUES
  (sha256('old'), 1, 'a@b.c', now() - interval '8 days'),
  (sha256('new'), 1, 'b@b.c', now() - interval '1 day');
"""
MAILS = "".join(f"""
INSERT INTO pugd.mail_outbox (id, kind, token_hash, recipient, secret, state, end_time) VALUES
  ('0000000000000000000{i}', 1, sha256('{i}'), 'a@b.c', 'x', {state}, now() - interval '{days} days');
""" for i, (state, days) in enumerate([(2, 29), (2, 31), (4, 31), (3, 6), (3, 8), (3, 31)]))
AHEAD = "pugd.event_seen_' || to_char((now() AT TIME ZONE 'UTC')::date + 3, 'YYYYMMDD')"


def until(db, sql, value):
    end = time.monotonic() + 20
    while db.one(sql) != value:
        assert time.monotonic() < end, (sql, db.one(sql))
        time.sleep(0.05)


def test_jobs(variant):
    binary = os.path.join(pug.TOP, "build", variant, "pugd")
    with tempfile.TemporaryDirectory() as folder, pg.Postgres() as server:
        url = server.createdb()
        key = os.path.join(folder, "key")
        with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
        options = [f"database_url={url}", "listen=127.0.0.1:0", "admin_listen=", "user=", "workers=1",
                   f"credential_file={key}", "migrate=yes"]
        command = [binary, "run"] + [word for option in options for word in ("-o", option)]
        subprocess.run([binary, "migrate", "--database", url], check=True, timeout=60)
        with pg.connect(url) as db:
            db.query(DATA)
            db.query(MAILS)
            db.query(f"DO $$ BEGIN EXECUTE 'DROP TABLE {AHEAD}; END $$")
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with pg.connect(url) as db:
                until(db, "SELECT count(*) FROM pugd.refresh_tokens", "1")
                until(db, "SELECT count(*) FROM pugd.sessions", "1")
                until(db, "SELECT count(*) FROM pugd.action_tokens", "1")
                until(db, "SELECT string_agg(right(id, 1) || (secret IS NULL)::text, ' ' ORDER BY id) "
                          "FROM pugd.mail_outbox", "0false 3false 4true")
                until(db, f"SELECT to_regclass('{AHEAD}) IS NOT NULL", "t")
                # the key feed, seen from the server
                until(db, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE "
                          "'%pugd.key_epoch%' AND application_name = 'pugd'", "t")
        finally:
            child.terminate()
            assert child.wait(60) == 0


if __name__ == "__main__":
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
