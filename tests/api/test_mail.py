#!/usr/bin/env python3
"""Mail from its cause to the server that takes it (D16, D59, auth.md 5.4 and 6): folder, SMTP
in its three forms, Resend; retries, stale links, crash points, providers, operator."""
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid

import mailbox
import pug

AUTH, ORGS = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/"
PROVIDERS = "/orgemailproviders.v1.OrgEmailProvidersService/"
P = CA = CONTEXT = None


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = check()
        if got:
            return got
        time.sleep(0.02)
    raise AssertionError(f"timed out waiting for {what}: " + str(rows()))


def rows(where="true"):
    return P.psql("SELECT kind, state, attempts, last_error, secret IS NULL FROM pugd.mail_outbox "
                  f"WHERE {where} ORDER BY create_time DESC LIMIT 5")


def person():
    email = f"{uuid.uuid4().hex[:12]}@example.com"
    token = P.ok(AUTH + "SignUp", {"email": email, "password": "long enough",
                                   "displayName": "Ada Lovelac\u00e9"})["token"]
    return email, token, P.ok(ORGS + "List", token=token)["orgs"][0]["id"]


def use_smtp(token, org, port, **config):
    P.ok(PROVIDERS + "Upsert", {"orgId": org, "fromAddress": "team@shop.example", "replyTo": "help@shop.example",
                                "smtp": {"host": "localhost", "port": port, **config}}, token=token)


def invite(token, org):
    email = f"new-{uuid.uuid4().hex[:12]}@example.com"
    P.ok(ORGS + "InviteMember", {"orgId": org, "email": email}, token=token)
    return email


def state(email):
    got = P.psql(f"SELECT state, attempts, last_error, secret IS NULL FROM pugd.mail_outbox "
                 f"WHERE recipient = '{email}'")
    return got[0] if got else None


def folder_mails(email):
    found = []
    for name in os.listdir(P.info["mail_dir"]):
        if name.endswith(".eml"):
            with open(os.path.join(P.info["mail_dir"], name), "rb") as f:
                message = mailbox.parse(f.read())
            if message["To"].addresses[0].addr_spec == email:
                found.append(message)
    return found


def link_in(message):
    """The one link, the same in text and HTML."""
    text = re.findall(r"https?://\S+/magic-link\?token=([0-9a-f]+)", message.text)
    assert text and set(text) == set(re.findall(r"magic-link\?token=([0-9a-f]+)", message.html)), message
    return text[0]


def test_sign_in_link_in_the_folder(_):
    email = f"{uuid.uuid4().hex[:12]}@example.com"
    P.ok("/public.auth.v1.AuthService/RequestMagicLink", {"email": email})
    message = wait_for("the file", lambda: folder_mails(email), 5)[0]
    token = link_in(message)
    assert len(token) == 64 and "15 minutes" in message.text, message.text
    pair = P.ok(AUTH + "CompleteMagicLink", {"token": token})
    assert P.ok(ORGS + "List", token=pair["token"])["orgs"]
    assert wait_for("the record", lambda: (state(email) or [0])[0] == "2")
    assert state(email)[3] == "t", "the secret goes with the mail"


def test_invitation_from_mail_to_membership(_):
    _, token, org = person()
    email = invite(token, org)
    message = wait_for("the file", lambda: folder_mails(email), 5)[0]
    assert "Ada Lovelac\u00e9" in message.text and "Ada Lovelac\u00e9" in message["Subject"]
    link = link_in(message)
    assert len(link) == 32
    pair = P.ok(AUTH + "SignInWithMagicLink", {"token": link})
    assert [o["role"] for o in P.ok(ORGS + "List", token=pair["token"])["orgs"]] == ["ORG_ROLE_MEMBER"]
    members = P.ok(ORGS + "ListMembers", {"orgId": org}, token=token)["members"]
    assert email in [m["email"] for m in members]


def test_smtp_forms(_):
    """Implicit TLS, STARTTLS, in the clear to loopback; AUTH PLAIN and LOGIN, none offered."""
    users = {"mailer": "smtp secret 1"}
    login = {"username": "mailer", "password": "smtp secret 1"}
    forms = [({"starttls": CONTEXT}, {"useTls": True}, None), ({}, {}, None), ({}, login, None),
             ({"users": users, "mechanism": "PLAIN"}, login, "mailer"),
             ({"users": users, "mechanism": "LOGIN"}, login, "mailer"),
             ({"starttls": CONTEXT, "users": users}, {"useTls": True, **login}, "mailer")]
    for server_options, config, user in forms:
        with mailbox.SmtpServer(**server_options) as server:
            _, token, org = person()
            use_smtp(token, org, server.port, **config)
            email = invite(token, org)
            mail = wait_for(f"mail with {config}", lambda: server.mails)[0]
            assert mail.to == [email] and mail.sender == "team@shop.example", vars(mail)
            assert mail.tls == bool(config.get("useTls")) and mail.user == user, vars(mail)
            assert mail.message["Reply-To"].addresses[0].addr_spec == "help@shop.example"
            assert not folder_mails(email), "the org's provider carries it, not the operator's"
            wait_for("the record", lambda: state(email)[0] == "2")


def me(pair):
    return P.ok("/customers.v1.CustomersService/GetMe", token=pair["token"])


def test_what_an_orgs_server_carries_opens_no_account(_):
    """Whoever runs that server reads the links: they make accounts, like SignUp, and open none that there are."""
    victim, _, _ = person()
    with mailbox.SmtpServer() as server:
        _, token, org = person()
        use_smtp(token, org, server.port)
        # with an account the operator's server carries it, and the link is as good as any
        P.ok(ORGS + "InviteMember", {"orgId": org, "email": victim}, token=token)
        message = wait_for("the operator's mail", lambda: folder_mails(victim))[0]
        assert not server.mails and me(P.ok(AUTH + "CompleteMagicLink", {"token": link_in(message)}))["email"] == victim
        # without one it makes one, which nobody has verified
        email = invite(token, org)
        pair = P.ok(AUTH + "CompleteMagicLink", {"token": link_in(wait_for("mail", lambda: server.mails)[0].message)})
        assert me(pair)["email"] == email and me(pair)["emailVerified"] is False
        assert [o["id"] for o in P.ok(ORGS + "List", token=pair["token"])["orgs"]] == [org]
        # and when there is one by then, it opens it to nobody, not even later or without that server
        email = invite(token, org)
        link = link_in(wait_for("mail", lambda: server.mails[1:])[0].message)
        own = P.ok(AUTH + "SignUp", {"email": email, "password": "the owner's"})
        for _ in range(2):
            status, answer, _ = P.call(AUTH + "SignInWithMagicLink", {"token": link})
            assert status == 400 and answer["code"] == "failed_precondition" and "sent again" in answer["message"], answer
            P.ok(PROVIDERS + "Delete", {"orgId": org}, token=token)
        assert me(own)["emailVerified"] is False and P.ok(AUTH + "SignIn", {"email": email, "password": "the owner's"})
        use_smtp(token, org, server.port)
        invitation = [i for i in P.ok(ORGS + "ListInvitations", {"orgId": org}, token=token)["invitations"]
                      if i["email"] == email][0]["id"]
        P.ok(ORGS + "ResendInvite", {"orgId": org, "invitationId": invitation}, token=token)
        message = wait_for("the operator's mail", lambda: folder_mails(email))[0]
        assert me(P.ok(AUTH + "SignInWithMagicLink", {"token": link_in(message)}))["emailVerified"] is True
        assert len(server.mails) == 2


def test_transient_and_permanent(_):
    with mailbox.SmtpServer(replies=["451 later please", "250 OK"]) as server:
        _, token, org = person()
        use_smtp(token, org, server.port)
        email = invite(token, org)
        wait_for("the second attempt", lambda: state(email)[0] == "2")
        assert state(email)[1] == "2", state(email)
    with mailbox.SmtpServer(replies=["554 no such thing"]) as server:
        _, token, org = person()
        use_smtp(token, org, server.port)
        email = invite(token, org)
        wait_for("the end", lambda: state(email)[0] == "3")
        assert state(email)[1] == "1" and state(email)[3] == "f", state(email)
        operator_drives_again(email, server)


def pugd(*words):
    return subprocess.run([P.binary, *words, "--config", "/dev/null", "-o",
                           "database_url=" + P.info["database_url"], "-o",
                           "credential_file=" + os.path.join(P.data, "credential")],
                          capture_output=True, text=True, timeout=60)


def operator_drives_again(email, server):
    listed = pugd("mail", "list", "--dead")
    mail_id = P.psql(f"SELECT id FROM pugd.mail_outbox WHERE recipient = '{email}'")[0][0]
    assert mail_id in listed.stdout and email not in listed.stdout, listed
    again = pugd("mail", "retry", mail_id)
    assert again.returncode == 0, again
    wait_for("the mail", lambda: server.mails)
    wait_for("the record", lambda: state(email)[0] == "2")


def test_stale_links_are_not_sent(_):
    with mailbox.SmtpServer(replies=["451 later"] * 50) as server:
        _, token, org = person()
        use_smtp(token, org, server.port)
        email = invite(token, org)
        wait_for("an attempt", lambda: int(state(email)[1]) >= 1)
        invitation = P.ok(ORGS + "ListInvitations", {"orgId": org}, token=token)["invitations"][0]["id"]
        P.ok(ORGS + "RevokeInvite", {"orgId": org, "invitationId": invitation}, token=token)
        wait_for("the drop", lambda: state(email)[0] == "4")
        assert not server.mails and state(email)[3] == "t"


def test_crash_points_lose_no_mail(variant):
    """The keeper dies once at each step; twice is a mail only where D16 says so."""
    if variant == "asan":
        return
    with mailbox.SmtpServer() as server:
        _, token, org = person()
        use_smtp(token, org, server.port)
        for point in ("claimed", "rendered", "connected", "accepted", "recorded", "committed"):
            armed = os.path.join(P.info["mail_dir"], "crash-" + point)
            server.mails.clear()
            with open(armed, "w", encoding="utf-8"):
                pass
            email = invite(token, org)
            wait_for(f"death at {point}", lambda: not os.path.exists(armed))
            wait_for(f"the mail after {point}", lambda: state(email)[0] == "2")
            ids = {m.message["Message-ID"] for m in server.mails}
            most = 2 if point in ("accepted", "recorded") else 1
            assert len(ids) == 1 and 1 <= len(server.mails) <= most, (point, len(server.mails))
            assert all(m.to == [email] for m in server.mails)


def test_worker_dies_around_the_commit(_):
    """The mail's row is in the transaction of its cause: before it no mail, after it the mail."""
    for how in ("abort", "abort-after"):
        email = f"{how}-{uuid.uuid4().hex[:12]}@example.com"
        try:
            P.call(AUTH + "RequestMagicLink", {"email": email}, headers={"x-test-crash": how})
            raise AssertionError("the worker lives")
        except (http.client.HTTPException, OSError):
            pass
        if how == "abort":
            assert state(email) is None
        else:
            assert link_in(wait_for("the mail", lambda: folder_mails(email))[0])


def test_provider_service(_):
    email, token, org = person()
    status, answer, _ = P.call(PROVIDERS + "Get", {"orgId": org}, token=token)
    assert status == 404, answer
    old = "/dashboard.orgemailproviders.v1.OrgEmailProvidersService/"
    P.ok(old + "Set", {"orgId": org, "fromAddress": "a@shop.example",
                       "resend": {"apiKey": "re_1234567890abcdef"}}, token=token)
    got = P.ok(old + "Get", {"orgId": org}, token=token)
    assert got["kind"] == "ORG_EMAIL_PROVIDER_KIND_RESEND", got
    assert got["redactedSecret"] == "re_12345***cdef" and "replyTo" not in got, got
    stored = P.psql(f"SELECT encode(secret, 'escape') FROM pugd.org_email_providers WHERE org_id = '{org}'")
    assert "re_12345" not in stored[0][0]
    use_smtp(token, org, 2525, username="mailer", password="smtp secret 2")
    assert P.ok(PROVIDERS + "Get", {"orgId": org}, token=token)["redactedSecret"] == \
        "smtp://mailer:***@localhost:2525"
    status, answer, _ = P.call(PROVIDERS + "SendTest", {"orgId": org, "recipient": "other@example.com"}, token=token)
    assert status == 403, answer
    failed = P.ok(PROVIDERS + "SendTest", {"orgId": org, "recipient": email.upper()}, token=token)
    assert not failed.get("success") and failed["errorMessage"], failed
    with mailbox.SmtpServer(starttls=CONTEXT) as server:
        use_smtp(token, org, server.port, useTls=True)
        sent = P.ok(PROVIDERS + "SendTest", {"orgId": org, "recipient": email}, token=token)
        assert sent == {"success": True} and server.mails[0].tls, sent
    for _ in range(2):
        assert P.ok(old + "Remove", {"orgId": org}, token=token) == {}
    assert P.call(PROVIDERS + "Get", {"orgId": org}, token=token)[0] == 404


def test_resend(_):
    with mailbox.ResendServer(CONTEXT) as server:
        server.answers += [(429, {"name": "rate_limit_exceeded"}), (200, {"id": "sent-1"})]
        with pug.Pug(P.variant, options=["resend_url=" + server.url, "outbound_ca_file=" + CA]) as other:
            pair = other.ok(AUTH + "SignIn", {"email": other.info["email"], "password": other.info["password"]})
            body = {"orgId": other.info["org_id"], "fromAddress": "a@shop.example", "resend": {"apiKey": "re_0123456789"}}
            other.ok(PROVIDERS + "Upsert", body, token=pair["token"])
            other.ok(ORGS + "InviteMember", {"orgId": other.info["org_id"], "email": "x@example.com"},
                     token=pair["token"])
            wait_for("two requests", lambda: len(server.requests) == 2)
        keys = {head["idempotency-key"] for head, _ in server.requests}
        assert len(keys) == 1 and all(h["authorization"] == "Bearer re_0123456789" for h, _ in server.requests)
        assert server.requests[1][1]["to"] in ("x@example.com", ["x@example.com"]), server.requests[1]


def test_private_targets_are_refused(_):
    """Without development mode nobody reaches loopback through SendTest."""
    with mailbox.SmtpServer() as server:
        email, token, org = person()
        use_smtp(token, org, server.port)
        with pug.Pug(P.variant, options=["dev=no"]) as strict:
            pair = strict.ok(AUTH + "SignIn", {"email": strict.info["email"], "password": strict.info["password"]})
            body = {"orgId": strict.info["org_id"], "fromAddress": "a@shop.example",
                    "smtp": {"host": "127.0.0.1", "port": server.port}}
            strict.ok(PROVIDERS + "Upsert", body, token=pair["token"])
            got = strict.ok(PROVIDERS + "SendTest", {"orgId": strict.info["org_id"], "recipient": strict.info["email"]},
                            token=pair["token"])
        assert not got.get("success") and "not allowed" in got["errorMessage"], got
        assert server.connections == 0


def test_tenants_servers_come_last(_):
    """Organisations are free, and their servers may let every attempt wait for its whole time."""
    with mailbox.SmtpServer(silent=True) as server, \
            pug.Pug(P.variant, options=["workers=1", "outbound_ca_file=" + CA, "mail_timeout=2s", "outbound_threads=2"]) as p:
        token = p.sign_in()
        for i in range(5):
            org = p.ok(ORGS + "Create", {"displayName": f"slow {i}"}, token=token)["org"]["id"]
            p.ok(PROVIDERS + "Upsert", {"orgId": org, "fromAddress": "a@shop.example",
                                        "smtp": {"host": "localhost", "port": server.port}}, token=token)
            p.ok(ORGS + "InviteMember", {"orgId": org, "email": f"slow-{i}@example.com"}, token=token)
        start = time.monotonic()
        p.ok(ORGS + "InviteMember", {"orgId": p.info["org_id"], "email": "quick@example.com"}, token=token)
        while not p.psql("SELECT 1 FROM pugd.mail_outbox WHERE recipient = 'quick@example.com' AND state = 2"):
            assert time.monotonic() - start < 6, p.psql("SELECT recipient, state, attempts FROM pugd.mail_outbox")
            time.sleep(0.05)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    with tempfile.TemporaryDirectory(prefix="pugt-ca-") as folder:
        CA, CONTEXT = mailbox.certificate(folder)
        os.chmod(folder, 0o755)
        with pug.Pug(variant, options=["workers=2", "outbound_ca_file=" + CA]) as P:
            P.variant = variant
            sys.exit(pug.main(tests, expects=pug.ABORTS))
