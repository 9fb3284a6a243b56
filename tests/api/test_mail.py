#!/usr/bin/env python3
"""The outbox: what is sent, how it looks, what happens when sending fails or the keeper dies."""
import contextlib
import glob
import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import mailbox
import pug
import seal

warnings.simplefilter("ignore")  # aiosmtpd's, about AUTH without TLS
XID = "0123456789abcdefghijklmnopqrstuv"
P = CA = TLS = None


def xid():
    return "".join(secrets.choice(XID) for _ in range(20))


def quote(text):
    return "'" + text.replace("'", "''") + "'" if isinstance(text, str) else f"'\\x{text.hex()}'"


def credential(p):
    with open(os.path.join(p.data, "credential"), "rb") as f:
        return f.read()


def make_org(name="Acme", inviter="Ada", **smtp):
    """An org whose first admin has that name; with smtp(port=...), a provider of its own."""
    org, who = xid(), xid()
    P.psql(f"""INSERT INTO pugd.customers (id, email, display_name)
      VALUES ('{who}', '{who}@example.com', {quote(inviter)});
      INSERT INTO pugd.orgs (id, display_name) VALUES ('{org}', {quote(name)});
      INSERT INTO pugd.org_members (org_id, customer_id, role) VALUES ('{org}', '{who}', 1)""")
    if smtp:
        config = {"host": "127.0.0.1", "username": "", "password": "", "use_tls": False, **smtp}
        secret = seal.seal(credential(P), seal.PROVIDER, org, json.dumps(config).encode())
        P.psql(f"""INSERT INTO pugd.org_email_providers (org_id, kind, from_address, secret)
          VALUES ('{org}', 1, 'noreply@acme.example', {quote(secret)})""")
    return org, who


def queue(org=None, inviter=None, to="Reader@example.org", secret=None, lifetime="15 minutes",
          commit=True, row=None):
    """What RequestMagicLink (no org) or InviteMember writes: (dispatch id, token)."""
    row, invitation, token = row or xid(), xid(), secrets.token_hex(16 if org else 32)
    digest = quote(hashlib.sha256(token.encode()).digest())
    sealed = quote(secret or seal.seal(credential(P), seal.MAIL, row, token.encode()))
    sql = "BEGIN;"
    if org:
        to = f"{invitation}@example.org"
        sql += f"""INSERT INTO pugd.org_invitations (id, org_id, email, role, inviter_id, expires_at)
          VALUES ('{invitation}', '{org}', '{to}', 2, {quote(inviter) if inviter else 'NULL'},
                  now() + interval '7 days');"""
        lifetime = "7 days"
    sql += f"""INSERT INTO pugd.action_tokens (hash, purpose, email, invitation_id, expires_at)
      VALUES ({digest}, {2 if org else 1}, '{to}', {f"'{invitation}'" if org else 'NULL'},
              now() + interval '{lifetime}');
      INSERT INTO pugd.mail_outbox (id, kind, org_id, token_hash, recipient, secret)
      VALUES ('{row}', {2 if org else 1}, {f"'{org}'" if org else 'NULL'}, {digest}, '{to}', {sealed});
      {'COMMIT' if commit else 'ROLLBACK'}"""
    P.psql(sql)
    return row, token


def row_of(mail, columns="state, attempts, secret IS NULL, last_error"):
    return P.psql(f"SELECT {columns} FROM pugd.mail_outbox WHERE id = '{mail}'")[0]


def until(check, seconds=20):
    end = time.monotonic() + seconds * (4 if P.slow else 1)
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def until_state(mail, state, seconds=20):
    try:
        until(lambda: row_of(mail)[0] == str(state), seconds)
    except AssertionError:
        raise AssertionError((state, row_of(mail), P.log()[-2000:])) from None


def eml(mail, seconds=20):
    path = os.path.join(P.data, "mail", mail + ".eml")
    until(lambda: os.path.exists(path), seconds)
    with open(path, "rb") as f:
        return mailbox.parse(f.read())


def keeper(old=None):
    """Process id of a keeper other than `old`, once there is one."""
    found = []
    until(lambda: found.extend(w["pid"] for w in P.admin()["workers"] if w["role"] == "keeper"
                               and w["pid"] not in (0, old)) or found, 40)
    return found[0]


def pugd(*words):
    """An operator's command on the same database."""
    return subprocess.run([P.binary, *words, "--config", "/dev/null", "-o",
                           "database_url=" + P.info["database_url"], "-o",
                           "credential_file=" + os.path.join(P.data, "credential")],
                          capture_output=True, text=True, timeout=60)


def test_sign_in_link_is_there_within_a_second(_):
    took = []
    for _ in range(3):
        start = time.monotonic()
        mail, token = queue()
        message = eml(mail)
        took.append(time.monotonic() - start)
    assert min(took) < 1 or P.slow, took
    link = f"http://localhost:5173/magic-link?token={token}"
    assert link in message.text and f'href="{link}"' in message.html
    assert "15 minutes" in message.text and "15 minutes" in message.html
    assert message["To"].addresses[0].addr_spec == "Reader@example.org"
    assert message["From"].addresses[0].display_name == "Pug"
    assert message["From"].addresses[0].addr_spec == "pug@localhost"
    assert message["Message-ID"] == f"<{mail}@localhost>" and message["X-Idempotency-Key"] == mail
    assert "Pug" in message["Subject"] and message["Reply-To"] is None
    assert "<table" not in message.html and "color-scheme" in message.html
    until_state(mail, 2)
    assert row_of(mail) == ["2", "1", "t", ""]
    assert not glob.glob(os.path.join(P.data, "mail", ".*"))


def test_invitation_words(_):
    nasty = "Eve\r\nBcc: x@evil.example\t<b>\u202e\x07"
    for org_name, inviter, subject in (
            ("Acme", "Ada", "Ada invites you to Acme"),
            ("Acme", "", "You are invited to Acme"),
            ("Z\u00fcrich \u2603 Zoo" + " gr\u00f6\u00dfer" * 12, "J\u00fcrgen \u96ea", None),
            ("<script>alert(1)</script> & Co", nasty, None),
            ("=?UTF-8?Q?fake?=", "Q. \"Quote\" \\ Uote", None)):
        org, who = make_org(org_name, inviter)
        mail, token = queue(org, who)
        message = eml(mail)
        assert subject in (None, message["Subject"]), message["Subject"]
        assert f"/magic-link?token={token}" in message.text and "7 days" in message.text
        assert message["Bcc"] is None and "<script" not in message.html and "<b>" not in message.html
        shown = message["Subject"]
        assert not re.search("[\x00-\x1f\u202e]", shown), shown
        cut = org_name.encode()[:120].decode(errors="ignore").strip()
        assert cut in shown and cut in message.text, (shown, cut)
        assert len(shown.encode()) < 300


def test_stale_links_are_not_sent(_):
    org, who = make_org()
    spoil = {
        "used": "UPDATE pugd.action_tokens SET consumed_at = now() WHERE hash = {h}",
        "over": "UPDATE pugd.action_tokens SET expires_at = now() - interval '1 s' WHERE hash = {h}",
        "revoked": "DELETE FROM pugd.org_invitations WHERE org_id = '{org}'",
        "accepted": "UPDATE pugd.org_invitations SET status = 2 WHERE org_id = '{org}'",
    }
    for why, sql in spoil.items():
        # Written due in a moment, so that it can be spoilt first.
        P.psql("ALTER TABLE pugd.mail_outbox ALTER next_at SET DEFAULT now() + interval '1 hour'")
        mail, token = queue(org, who) if why in ("revoked", "accepted") else queue()
        P.psql("ALTER TABLE pugd.mail_outbox ALTER next_at SET DEFAULT now()")
        P.psql(sql.format(h=quote(hashlib.sha256(token.encode()).digest()), org=org))
        P.psql(f"UPDATE pugd.mail_outbox SET next_at = now() WHERE id = '{mail}'")
        until_state(mail, 4)
        assert row_of(mail)[2] == "t" and not os.path.exists(
            os.path.join(P.data, "mail", mail + ".eml")), why


def test_rolled_back_rows_send_nothing(_):
    lost, _ = queue(commit=False)
    kept, _ = queue()
    eml(kept)
    time.sleep(0.3)
    assert not os.path.exists(os.path.join(P.data, "mail", lost + ".eml"))


def test_worker_dies_around_the_commit(_):
    """The link's row is in the transaction of its cause: before it no mail, after it the mail."""
    path, before = "/auth.v1.AuthService/RequestMagicLink", "a-before@example.org"
    if P.call(path, {"email": "a-probe@example.org"})[0] == 501:
        print("     RequestMagicLink is not there yet")
        return
    for how, to in (("abort", before), ("abort-after", "a-after@example.org")):
        try:
            P.call(path, {"email": to}, headers={"x-test-crash": how})
            raise AssertionError("the worker lives")
        except (http.client.HTTPException, OSError):
            pass
    sql = "SELECT id FROM pugd.mail_outbox WHERE recipient = '{}'"
    (mail,), = P.psql(sql.format("a-after@example.org"))
    assert eml(mail)["To"].addresses[0].addr_spec == "a-after@example.org"
    assert P.psql(sql.format(before)) == []


def test_unopenable_secret_is_dead(_):
    mail, _ = queue(secret=seal.seal(os.urandom(48), seal.MAIL, xid(), b"x" * 64))
    until_state(mail, 3)
    assert "no key" in row_of(mail)[3], row_of(mail)


def test_org_provider_carries_invitations_only(_):
    with mailbox.SmtpServer(starttls=TLS, users={"u@acme": "pass word"}) as server:
        org, who = make_org(port=server.port, host="localhost", use_tls=True, username="u@acme",
                            password="pass word")
        mail, token = queue(org, who)
        until_state(mail, 2)
        link, _ = queue()
        eml(link)
    got, = server.mails
    assert got.tls and got.user == "u@acme" and got.helo == "acme.example"
    assert got.sender == "noreply@acme.example" and got.to == [row_of(mail, "recipient")[0]]
    assert got.message["Message-ID"] == f"<{mail}@acme.example>" and token in got.message.text


def test_server_without_auth_is_fine(_):
    with mailbox.SmtpServer() as server:
        org, who = make_org(port=server.port, username="u", password="secret")
        until_state(queue(org, who)[0], 2)
    assert server.mails[0].user is None


def test_temporary_failure_is_tried_again(_):
    with mailbox.SmtpServer(replies=["451 4.3.0 come back later", "421 4.3.0 again"]) as server:
        org, who = make_org(port=server.port)
        mail, _ = queue(org, who)
        until(lambda: row_of(mail)[1] == "1")
        assert "come back later" in row_of(mail)[3]
        until(lambda: row_of(mail)[1] == "2")
        wait, = row_of(mail, "extract(epoch FROM next_at - now())")
        assert 3 < float(wait) <= 5, wait
        P.psql(f"UPDATE pugd.mail_outbox SET next_at = now() WHERE id = '{mail}'")
        until_state(mail, 2)
        assert row_of(mail) == ["2", "3", "t", ""]
    assert len(server.mails) == 1


def test_dead_mail_is_seen_and_driven_again(_):
    with mailbox.SmtpServer(replies=["550 5.1.1 <reader@example.org> unknown, " + "a1" * 32]) as server:
        org, who = make_org(port=server.port)
        mail, _ = queue(org, who)
        until_state(mail, 3)
        state, attempts, gone, error = row_of(mail)
        assert attempts == "1" and gone == "f" and "was refused by the server: 550" in error, error
        assert "reader@" not in error and "a1a1" not in error
        done = pugd("mail", "list", "--dead", "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0 and all(r["state"] == "dead" for r in rows), done
        row, = [r for r in rows if r["id"] == mail]
        recipient, = row_of(mail, "recipient")
        assert row["kind"] == "invitation" and row["recipient"] == recipient[0] + "***@example.org"
        table = pugd("mail", "list").stdout
        assert mail in table and recipient not in table
        done = pugd("mail", "retry", mail, "0" * 20)
        assert done.returncode == 1 and "0" * 20 in done.stderr and "1 mail" in done.stdout, done
        until_state(mail, 2)
    assert pugd("mail", "retry").returncode == 2 and pugd("mail").returncode == 2
    assert pugd("mail", "retry", mail).returncode == 1
    assert pugd("mail", "retry", "--all-dead").returncode == 0
    assert len(server.mails) == 1


def test_wrong_password_is_final(_):
    with mailbox.SmtpServer(starttls=TLS, users={"user": "right-one"}) as server:
        org, who = make_org(port=server.port, use_tls=True, username="user", password="wrong-one")
        mail, _ = queue(org, who)
        until_state(mail, 3)
        error = row_of(mail)[3]
        assert "535" in error and "wrong-one" not in error and "user" not in error, error
    assert not server.mails


def test_starttls_is_demanded(_):
    with mailbox.SmtpServer() as server:
        org, who = make_org(port=server.port, use_tls=True)
        mail, _ = queue(org, who)
        until_state(mail, 3)
        assert "STARTTLS" in row_of(mail)[3]
    assert not server.mails


def test_clear_only_to_this_machine(_):
    # 192.0.2.1 is nobody's: refused before anything is sent there.
    org, who = make_org(port=25, host="192.0.2.1")
    mail, _ = queue(org, who)
    until_state(mail, 3)
    assert "not allowed" in row_of(mail)[3]


def test_slow_tenants_do_not_delay_sign_in(_):
    with mailbox.SmtpServer(silent=True) as tar:
        slow = [queue(*make_org(port=tar.port))[0] for _ in range(8)]
        until(lambda: tar.connections >= 3)
        start = time.monotonic()
        eml(queue()[0])
        assert time.monotonic() - start < 2 or P.slow
        assert tar.connections == 3, "one sender is for sign-in links only"
        P.psql("UPDATE pugd.mail_outbox SET next_at = now() + interval '1 day' WHERE id IN "
               f"({','.join(map(quote, slow))}) AND id IN (SELECT id FROM pugd.mail_outbox "
               "WHERE state = 1 FOR UPDATE SKIP LOCKED)")
    until(lambda: all(row_of(m)[1] != "0" or row_of(m, "next_at > now()")[0] == "t" for m in slow))
    P.psql(f"DELETE FROM pugd.mail_outbox WHERE id IN ({','.join(map(quote, slow))})")


def test_one_mail_per_org_at_a_time(_):
    with mailbox.SmtpServer(delay=0.15) as server:
        org, who = make_org(port=server.port)
        mails = [queue(org, who)[0] for _ in range(5)]
        for mail in mails:
            until_state(mail, 2)
    assert server.most == 1 and len(server.mails) == 5
    assert {m.message["X-Idempotency-Key"] for m in server.mails} == set(mails)


def arm(point):
    with open(os.path.join(P.data, "mail", "crash-" + point), "wb"):
        pass


def test_crash_points(_):
    org_mails = {}
    with mailbox.SmtpServer() as server:
        org, who = make_org(port=server.port)
        for point in ("claimed", "rendered", "connected", "accepted", "recorded", "committed"):
            old = keeper()
            arm(point)
            mail, _ = queue(org, who)
            until_state(mail, 2, 40)
            keeper(old)
            assert not os.path.exists(os.path.join(P.data, "mail", "crash-" + point)), point
            got = [m for m in server.mails if m.message["X-Idempotency-Key"] == mail]
            assert len({m.message["Message-ID"] for m in got}) == 1, point
            org_mails[point] = len(got)
    assert org_mails == {"claimed": 1, "rendered": 1, "connected": 1, "accepted": 2, "recorded": 2,
                         "committed": 1}, org_mails


def test_crash_while_writing_a_file(_):
    old = keeper()
    arm("connected")
    mail, _ = queue()
    until_state(mail, 2, 40)
    keeper(old)
    eml(mail)
    assert not glob.glob(os.path.join(P.data, "mail", ".*"))


def test_accepted_but_not_recorded_is_not_sent_again(_):
    P.psql("""CREATE FUNCTION pugd.test_refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN IF new.state = 2 THEN RAISE 'not now'; END IF; RETURN new; END $$;
      CREATE TRIGGER test_refuse BEFORE UPDATE ON pugd.mail_outbox FOR EACH ROW
      EXECUTE FUNCTION pugd.test_refuse()""")
    try:
        with mailbox.SmtpServer() as server:
            org, who = make_org(port=server.port)
            mail, _ = queue(org, who)
            other, _ = queue(org, who)
            until(lambda: len(server.mails) == 2)
            time.sleep(1)
            assert row_of(mail)[0] == row_of(other)[0] == "1" and len(server.mails) == 2
            P.psql("DROP TRIGGER test_refuse ON pugd.mail_outbox")
            until_state(mail, 2)
            until_state(other, 2)
            assert len(server.mails) == 2
    finally:
        P.psql("DROP FUNCTION pugd.test_refuse CASCADE")


def test_lost_connection_while_sending(_):
    """PostgreSQL goes away between claim and commit: the mail is not sent again."""
    with mailbox.SmtpServer(delay=1) as server:
        org, who = make_org(port=server.port)
        mail, _ = queue(org, who)
        until(lambda: server.now == 1)
        P.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = "
               "'idle in transaction' AND application_name = 'pugd'")
        until_state(mail, 2)
        assert row_of(mail)[1] == "1"
        time.sleep(0.5)
    assert len(server.mails) == 1


def test_reload_while_sending(_):
    with mailbox.SmtpServer(delay=1.5) as server:
        org, who = make_org(port=server.port)
        mail, _ = queue(org, who)
        until(lambda: server.now == 1)
        before = P.admin()
        os.kill(before["pid"], signal.SIGHUP)
        until(lambda: P.admin()["generation"] != before["generation"], 60)
        until_state(mail, 2)
        until(lambda: not [w for w in P.admin()["workers"] if w["generation"] == before["generation"]],
              40)
        assert row_of(mail)[1] == "1"
    assert len(server.mails) == 1


def test_idle_transactions_may_be_limited(_):
    """The server's own limit is shorter than a slow mail server's answer."""
    P.psql("ALTER SYSTEM SET idle_in_transaction_session_timeout = '500ms'; ")
    P.psql("SELECT pg_reload_conf()")
    try:
        with mailbox.SmtpServer(delay=1.5) as server:
            org, who = make_org(port=server.port)
            mail, _ = queue(org, who)
            until_state(mail, 2)
        assert len(server.mails) == 1 and "could not be recorded id=" + mail not in P.log()
    finally:
        P.psql("ALTER SYSTEM RESET idle_in_transaction_session_timeout")
        P.psql("SELECT pg_reload_conf()")


def test_counters(_):
    counters = P.admin()["counters"]
    assert counters["mails_sent"] > 10 and counters["mails_dead"] >= 4, counters
    assert counters["mails_failed"] >= counters["mails_dead"]
    assert "pugd_mails_sent_total" in P.admin("/metrics")


@contextlib.contextmanager
def operator(**options):
    """A server whose own mail goes out; helpers work on it meanwhile."""
    global P
    outer = P
    words = [f"{k}={v}" for k, v in {"mail_dir": "", "outbound_ca_file": CA, "workers": 1,
                                     "mail_reply_to": "help@pug.example",
                                     "mail_from": "P\u00fcg Mail <mail@pug.example>", **options}.items()]
    with pug.Pug(outer.variant, options=words) as P:
        P.variant = outer.variant
        try:
            yield P
        finally:
            log, P = P.log(), outer
    for secret in ("top-secret", "re_key_123"):
        assert secret not in log


def secret_file(folder, text):
    path = os.path.join(folder, "mail.secret")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return path


def test_operator_smtps(_):
    with tempfile.TemporaryDirectory() as folder, \
            mailbox.SmtpServer(tls=TLS, users={"me@pug.example": "top-secret"}, mechanism="LOGIN") \
            as server, operator(mail_url=f"smtps://me@pug.example@127.0.0.1:{server.port}",
                                mail_secret_file=secret_file(folder, "top-secret"),
                                dashboard_url="https://app.pug.example//"):
        mail, token = queue()
        until_state(mail, 2)
        # An org without a provider uses the operator's.
        org, who = make_org()
        until_state(queue(org, who)[0], 2)
        got = server.mails[0]
        assert got.tls and got.user == "me@pug.example" and got.sender == "mail@pug.example"
        assert got.message["From"].addresses[0].display_name == "P\u00fcg Mail"
        assert got.message["Reply-To"] == "help@pug.example"
        assert f"https://app.pug.example/magic-link?token={token}\n" in got.message.text
        # One with a provider but no Reply-To inherits it.
        with mailbox.SmtpServer() as own:
            org, who = make_org(port=own.port)
            until_state(queue(org, who)[0], 2)
        assert own.mails[0].message["Reply-To"] == "help@pug.example"


def test_untrusted_certificate(_):
    with tempfile.TemporaryDirectory() as folder, \
            mailbox.SmtpServer(starttls=mailbox.certificate(folder)[1]) as server:
        org, who = make_org(port=server.port, use_tls=True)
        mail, _ = queue(org, who)
        until(lambda: row_of(mail)[1] != "0")
        assert "certificate" in row_of(mail)[3] and row_of(mail)[0] == "1" and not server.mails
        P.psql(f"DELETE FROM pugd.mail_outbox WHERE id = '{mail}'")


def test_operator_resend(_):
    with tempfile.TemporaryDirectory() as folder, mailbox.ResendServer(TLS) as server, \
            operator(mail_url="resend:", mail_secret_file=secret_file(folder, "re_key_123"),
                     resend_url=server.url):
        mail, token = queue()
        until_state(mail, 2)
        head, body = server.requests[0]
        assert head["authorization"] == "Bearer re_key_123" and head["idempotency-key"] == mail
        assert head["content-type"] == "application/json"
        assert body["to"] == ["Reader@example.org"] and token in body["text"] and token in body["html"]
        assert body["from"] == '"P\u00fcg Mail" <mail@pug.example>' and body["reply_to"] == "help@pug.example"
        cases = [(409, {"name": "concurrent_idempotent_requests", "message": "busy"}, 1),
                 (429, {"name": "rate_limit_exceeded", "message": "slow down"}, 1),
                 (500, {}, 1), (503, "nonsense", 1),
                 (409, {"name": "invalid_idempotent_request", "message": "differs"}, 3),
                 (422, {"name": "validation_error", "message": "no <x@y.z> re_key_123"}, 3),
                 (401, {"message": "bad key"}, 3), (200, {}, 3), (200, [1], 3)]
        for status, answer, state in cases:
            mail = xid()
            server.answer_to[mail] = status, answer
            queue(row=mail)
            until(lambda: row_of(mail)[1] != "0")
            got = row_of(mail)
            assert got[0] == str(state), (status, answer, got)
            assert "x@y.z" not in got[3] and "re_key" not in got[3], got
        # Tried again with the same key and the same words.
        mail = xid()
        server.answer_to[mail] = 500, {}
        queue(row=mail)
        until_state(mail, 2)
        mine = [(h, b) for h, b in server.requests if h["idempotency-key"] == mail]
        assert len(mine) == 2 and mine[0][1] == mine[1][1]


def test_no_secret_in_the_log(_):
    log = P.log().split("Stop: ^C")[-1]
    for secret in ("pass word", "wrong-one", "right-one", "example.org", "magic-link?token"):
        assert secret not in log, secret


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with tempfile.TemporaryDirectory() as certs:
        CA, TLS = mailbox.certificate(certs)
        with pug.Pug("asan" if "asan" in sys.argv else "test",
                     options=["workers=1", f"outbound_ca_file={CA}", "mail_timeout=3s"]) as P:
            P.variant = "asan" if P.slow else "test"
            sys.exit(pug.main(tests))
