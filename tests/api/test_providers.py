#!/usr/bin/env python3
"""OrgEmailProvidersService: who may, what is shown, and what a test mail tells."""
import base64
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
import warnings

import mailbox
import pug
import seal

warnings.simplefilter("ignore")
NEW, OLD = "/orgemailproviders.v1.OrgEmailProvidersService/", \
    "/dashboard.orgemailproviders.v1.OrgEmailProvidersService/"
P = CA = TLS = RESEND = OLD_KEY = None


def reason(answer):
    raw = base64.b64decode(answer["details"][0]["value"] + "==")
    return raw[2:2 + raw[1]].decode()


def fails(status, want, path, body, token):
    got, answer, _ = P.call(path, body, token=token)
    assert (got, reason(answer)) == (status, want), (got, answer)
    return answer


def account():
    """(e-mail, token, org)"""
    email = f"Admin-{secrets.token_hex(6)}@example.com"
    token = P.ok("/auth.v1.AuthService/SignUp", {"email": email, "password": "correct horse"})["token"]
    return email, token, P.ok("/orgs.v1.OrgsService/List", token=token)["orgs"][0]["id"]


def smtp(org, port=25, host="127.0.0.1", tls=False, user="", password="", **extra):
    return {"orgId": org, "fromAddress": "noreply@acme.example",
            "smtp": {"host": host, "port": port, "username": user, "password": password,
                     "useTls": tls}, **extra}


def send_test(email, token, org, **kw):
    got = P.ok(NEW + "SendTest", {"orgId": org, "recipient": email}, token=token, **kw)
    assert got["success"] == ("errorMessage" not in got), got
    return got.get("errorMessage", True)


def unused_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(check, seconds=30):
    end = time.monotonic() + seconds * (4 if P.slow else 1)
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def test_set_get_remove_at_both_paths(_):
    for base, put, remove in ((NEW, "Upsert", "Delete"), (OLD, "Set", "Remove")):
        _, token, org = account()
        fails(404, "EMAIL_PROVIDER_NOT_FOUND", base + "Get", {"orgId": org}, token)
        assert P.ok(base + remove, {"orgId": org}, token=token) == {}
        made = P.ok(base + put, smtp(org, 587, "smtp.acme.example", True, "me", "hunter22",
                                     replyTo="help@acme.example"), token=token)
        got = P.ok(base + "Get", {"orgId": org}, token=token)
        assert got == {"kind": "ORG_EMAIL_PROVIDER_KIND_SMTP", "fromAddress": "noreply@acme.example",
                       "replyTo": "help@acme.example", "updateTime": made["updateTime"],
                       "redactedSecret": "smtp://me:***@smtp.acme.example:587"}, got
        for key, shown in (("re_12345678_abcdef", "re_12345***cdef"), ("re_short", "***"),
                           ("123456789012", "***"), ("1234567890123", "12345678***0123")):
            made = P.ok(base + put, {"orgId": org, "fromAddress": "b@acme.example", "replyTo": "",
                                     "resend": {"apiKey": key}}, token=token)
            got = P.ok(base + "Get", {"orgId": org}, token=token)
            assert got == {"kind": "ORG_EMAIL_PROVIDER_KIND_RESEND", "fromAddress": "b@acme.example",
                           "updateTime": made["updateTime"], "redactedSecret": shown}, got
        assert P.ok(base + remove, {"orgId": org}, token=token) == {}
        fails(404, "EMAIL_PROVIDER_NOT_FOUND", base + "Get", {"orgId": org}, token)


def test_secrets_are_sealed_and_bound(_):
    _, token, org = account()
    email2, token2, org2 = account()
    P.ok(NEW + "Upsert", smtp(org, 25, user="me", password="hunter22"), token=token)
    stored, = P.psql(f"SELECT encode(secret, 'hex') FROM pugd.org_email_providers WHERE org_id = '{org}'")
    assert b"hunter22".hex() not in stored[0]
    with open(os.path.join(P.data, "credential"), "rb") as f:
        text = seal.unseal(f.read(), seal.PROVIDER, org, bytes.fromhex(stored[0]))
    assert json.loads(text) == {"host": "127.0.0.1", "port": 25, "username": "me",
                                "password": "hunter22", "use_tls": False}
    # Moved to another org it opens no more.
    P.psql("INSERT INTO pugd.org_email_providers (org_id, kind, from_address, secret) SELECT "
           f"'{org2}', kind, from_address, secret FROM pugd.org_email_providers WHERE org_id = '{org}'")
    fails(400, "EMAIL_PROVIDER_SECRET_DECRYPT_FAILED", NEW + "Get", {"orgId": org2}, token2)
    assert "cannot be read" in send_test(email2, token2, org2)


def test_bad_settings(_):
    email, token, org = account()
    for change in ({"smtp": {"host": "mail host", "port": 25}}, {"smtp": {"host": "a/b", "port": 25}},
                   {"smtp": {"host": "x@y", "port": 25}}, {"smtp": {"host": "h\r\nx", "port": 25}},
                   {"smtp": {"host": "h", "port": 0}}, {"smtp": {"host": "h", "port": 65536}},
                   {"smtp": {"host": "", "port": 25}}, {"smtp": {"host": "h"}},
                   {"resend": {"apiKey": ""}}, {"resend": {"apiKey": "a b"}},
                   {"resend": {"apiKey": "a\r\nX: y"}}, {},
                   {"resend": {"apiKey": "k"}, "fromAddress": "nobody"},
                   {"resend": {"apiKey": "k"}, "fromAddress": ""},
                   {"resend": {"apiKey": "k"}, "replyTo": "nobody"}):
        fails(400, "INVALID_ARGUMENT", NEW + "Upsert",
              {"orgId": org, "fromAddress": "a@acme.example", **change}, token)
    fails(403, "EMAIL_TEST_RECIPIENT_MISMATCH", NEW + "SendTest",
          {"orgId": org, "recipient": "other@example.com"}, token)
    fails(400, "INVALID_ARGUMENT", NEW + "SendTest", {"orgId": org, "recipient": "x"}, token)


def test_admins_only(_):
    _, _, org = account()
    _, outsider, _ = account()
    viewer, theirs = P.sign_in(viewer=True), P.info["org_id"]
    for method, extra in (("Get", {}), ("Delete", {}), ("SendTest", {"recipient": "a@b.example"}),
                          ("Upsert", {"fromAddress": "a@b.example", "resend": {"apiKey": "k"}})):
        fails(403, "ORG_NOT_A_MEMBER", NEW + method, {"orgId": org, **extra}, outsider)
        fails(403, "ORG_ROLE_FORBIDDEN", NEW + method, {"orgId": theirs, **extra}, viewer)


def test_send_test_by_smtp(_):
    email, token, org = account()
    with mailbox.SmtpServer(starttls=TLS, users={"me": "pass word"}) as server:
        P.ok(NEW + "Upsert", smtp(org, server.port, "localhost", True, "me", "pass word"), token=token)
        assert send_test(email.upper(), token, org) is True
        assert send_test(email, token, org) is True
        P.ok(NEW + "Upsert", smtp(org, server.port, "localhost", True, "me", "pass wrod"), token=token)
        said = send_test(email, token, org)
        assert said.startswith("was refused by the server: 535") and "wrod" not in said, said
    first, second = server.mails
    assert first.tls and first.user == "me" and first.to == [email] and "Pug" in first.message.text
    assert first.message["Message-ID"] != second.message["Message-ID"], "each is a mail of its own"
    assert "magic-link" not in first.message.text


def test_each_kind_of_sign_in(_):
    email, token, org = account()
    for mechanism in ("PLAIN", "LOGIN"):
        with mailbox.SmtpServer(users={"me": "p"}, mechanism=mechanism) as server:
            P.ok(NEW + "Upsert", smtp(org, server.port, user="me", password="p"), token=token)
            assert send_test(email, token, org) is True
        assert server.mails[0].user == "me" and not server.mails[0].tls
    with mailbox.SmtpServer() as server:
        P.ok(NEW + "Upsert", smtp(org, server.port, user="me", password="p"), token=token)
        assert send_test(email, token, org) is True


def test_what_a_failure_tells(_):
    email, token, org = account()
    with mailbox.SmtpServer(rcpt_reply="550 5.7.1 <x@y.example> " + "f" * 64 + " go\taway") as server:
        P.ok(NEW + "Upsert", smtp(org, server.port), token=token)
        said = send_test(email, token, org)
        assert said == "was refused by the server: 550 5.7.1 [address] [...] go away", said
    P.ok(NEW + "Upsert", smtp(org, unused_port()), token=token)
    assert send_test(email, token, org) == "could not connect"
    P.ok(NEW + "Upsert", smtp(org, 25, "no-such-host.invalid"), token=token)
    assert send_test(email, token, org) == "could not connect"
    for host in ("10.0.0.1", "169.254.169.254", "192.168.1.1", "fe80::1", "fc00::1", "0.0.0.0",
                 "::ffff:10.0.0.1", "167772161"):
        P.ok(NEW + "Upsert", smtp(org, 587, host, True), token=token)
        assert send_test(email, token, org) == "the address is not allowed", host


def test_deadline_of_the_call(_):
    email, token, org = account()
    with mailbox.SmtpServer(silent=True) as server:
        P.ok(NEW + "Upsert", smtp(org, server.port), token=token)
        start = time.monotonic()
        said = send_test(email, token, org, headers={"connect-timeout-ms": "1500"})
        assert said == "could not connect" and time.monotonic() - start < 1.6 or P.slow


def test_send_test_by_resend(_):
    email, token, org = account()
    P.ok(NEW + "Upsert", {"orgId": org, "fromAddress": "a@acme.example",
                          "resend": {"apiKey": "re_0123456789abc"}}, token=token)
    assert send_test(email, token, org) is True
    RESEND.answers.append((403, {"name": "x", "message": "key re_0123456789abc of a@b.c: no"}))
    said = send_test(email, token, org)
    assert said.startswith("was refused by the server: key") and "re_0123" not in said, said
    assert "a@b.c" not in said
    (h1, body), (h2, _) = RESEND.requests[-2:]
    assert h1["authorization"] == "Bearer re_0123456789abc" and body["to"] == [email]
    assert h1["idempotency-key"] != h2["idempotency-key"]


def test_operator_carries_without_a_provider(_):
    email, token, org = account()
    before = set(os.listdir(os.path.join(P.data, "mail")))
    assert send_test(email, token, org) is True
    new, = set(os.listdir(os.path.join(P.data, "mail"))) - before
    with open(os.path.join(P.data, "mail", new), "rb") as f:
        assert mailbox.parse(f.read())["To"].addresses[0].addr_spec == email


def test_private_networks_in_production(_):
    """Without development mode loopback is refused too, until mail_networks allows it."""
    global P
    outer = P
    email, token, org = account()
    for networks, want in (("", "the address is not allowed"), ("127.0.0.0/8", True)):
        with mailbox.SmtpServer() as server, \
                pug.Pug(outer.variant, options=["dev=no", "workers=1", "mail_dir=", "limit_scale=100",
                                                f"mail_networks={networks}"]) as P:
            email, token, org = account()
            assert send_test(email, token, org) == "this server is not set up to send mail"
            P.ok(NEW + "Upsert", smtp(org, server.port), token=token)
            assert send_test(email, token, org) == want
            if want is True:
                P.ok(NEW + "Upsert", smtp(org, server.port, "8.8.8.8"), token=token)
                assert "TLS" in send_test(email, token, org)
            assert len(server.mails) == (want is True)
        P = outer


def test_rotation(_):
    """A secret of the previous credential file is read, and sealed anew by the keeper."""
    _, token, org = account()
    P.ok(NEW + "Upsert", smtp(org, 25, user="me", password="hunter22"), token=token)
    text = json.dumps({"api_key": "re_old_secret_key"}).encode()
    sealed = seal.seal(OLD_KEY, seal.PROVIDER, org, text)
    P.psql(f"UPDATE pugd.org_email_providers SET kind = 2, secret = '\\x{sealed.hex()}' "
           f"WHERE org_id = '{org}'")
    assert P.ok(NEW + "Get", {"orgId": org}, token=token)["redactedSecret"] == "re_old_s***_key"
    with open(os.path.join(P.data, "credential"), "rb") as f:
        current = f.read()

    def opens():
        row, = P.psql(f"SELECT encode(secret, 'hex') FROM pugd.org_email_providers "
                      f"WHERE org_id = '{org}'")
        try:
            return seal.unseal(current, seal.PROVIDER, org, bytes.fromhex(row[0])) == text
        except ValueError:
            return False

    assert not opens()
    os.kill(P.admin()["pid"], signal.SIGHUP)
    until(opens)
    assert P.ok(NEW + "Get", {"orgId": org}, token=token)["redactedSecret"] == "re_old_s***_key"


def test_no_secret_in_the_log(_):
    log = P.log().split("Stop: ^C")[-1]
    for secret in ("hunter22", "pass word", "pass wrod", "re_0123", "re_old", "example.com"):
        assert secret not in log, secret


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with tempfile.TemporaryDirectory() as folder:
        CA, TLS = mailbox.certificate(folder)
        OLD_KEY = os.urandom(48)
        previous = os.path.join(folder, "previous")
        with open(os.open(previous, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as key_file:
            key_file.write(OLD_KEY)
        with mailbox.ResendServer(TLS) as RESEND, \
                pug.Pug("asan" if "asan" in sys.argv else "test",
                        options=["workers=1", f"outbound_ca_file={CA}", "mail_timeout=5s",
                                 f"resend_url={RESEND.url}",
                                 f"credential_previous_file={previous}"]) as P:
            P.variant = "asan" if P.slow else "test"
            sys.exit(pug.main(tests))
