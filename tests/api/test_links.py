#!/usr/bin/env python3
"""Links that are mailed, invitations that they accept, the demo (auth.md 4.2, 4.3, 4.7)."""
import base64
import concurrent.futures
import hashlib
import json
import os
import re
import sys
import time
import uuid

import outbox
import pug

AUTH, OLD = "/auth.v1.AuthService/", "/public.auth.v1.AuthService/"
ORGS, PROJECTS = "/orgs.v1.OrgsService/", "/projects.v1.ProjectsService/"
CUSTOMERS = "/customers.v1.CustomersService/"
P = None


def reason(answer):
    """ErrorInfo.reason: field 1 of the first detail."""
    raw = base64.b64decode(answer["details"][0]["value"] + "===")
    return raw[2:2 + raw[1]].decode()


def fails(status, want_reason, path, body=None, **kw):
    got, answer, _ = P.call(path, body, **kw)
    assert got == status and reason(answer) == want_reason, (path, got, answer)
    return answer


def address():
    return f"Person-{uuid.uuid4().hex[:12]}@example.com"


def tokens(email):
    return outbox.outbox_tokens(P, email)


def link(email):
    """Asks for a link and returns its token."""
    P.ok(AUTH + "RequestMagicLink", {"email": email})
    return tokens(email)[-1]


def redeem(token, **extra):
    return P.ok(AUTH + "CompleteMagicLink", {"token": token, **extra})


def dead(token):
    return fails(400, "INVALID_TOKEN", AUTH + "CompleteMagicLink", {"token": token})


def sign_up(email, password="correct horse"):
    return P.ok(AUTH + "SignUp", {"email": email, "password": password})


def orgs(pair):
    return P.ok(ORGS + "List", token=pair["token"]).get("orgs", [])


def claims(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def one(sql):
    return P.psql(sql)[0][0]


def count(table, email):
    return int(one(f"SELECT count(*) FROM pugd.{table} WHERE lower(email) = lower('{email}')"))


def xid():
    return base64.b32hexencode(uuid.uuid4().bytes[:12] + b"\0" * 3).decode().lower()[:20]


def invite(org, email, role, status=1, hours=168, token_hours=168):
    """An invitation and the link of it, as Orgs.InviteMember writes them."""
    token, invitation = uuid.uuid4().hex, xid()
    P.psql(f"""WITH i AS (
      INSERT INTO pugd.org_invitations (id, org_id, email, role, status, expires_at)
      VALUES ('{invitation}', '{org}', '{email}', {role}, {status},
              now() + interval '{hours} hours') RETURNING id)
      INSERT INTO pugd.action_tokens (hash, purpose, email, invitation_id, expires_at)
      SELECT '\\x{hashlib.sha256(token.encode()).hexdigest()}', 2, '{email}', i.id,
             now() + interval '{token_hours} hours' FROM i""")
    return invitation, token


def new_org():
    """An org of somebody else's, with its admin's session."""
    pair = sign_up(address())
    return orgs(pair)[0]["id"], pair


def at_once(calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def complete(token):
    return P.call(AUTH + "CompleteMagicLink", {"token": token})[:2]


# ---- sign-in and sign-up ---------------------------------------------------------------

def test_new_address_gets_everything(_):
    for base in (AUTH, OLD):
        email = address()
        assert P.ok(base + "RequestMagicLink", {"email": email}) == {}
        assert count("customers", email) == 0
        [token] = tokens(email)
        assert len(token) == 64 and int(token, 16)
        pair = P.ok(base + "CompleteMagicLink", {"token": token, "timezone": "Europe/Berlin"})
        me = P.ok(CUSTOMERS + "GetMe", token=pair["token"])
        assert me == {"customerId": claims(pair["token"])["sub"], "email": email,
                      "emailVerified": True}, me
        [org] = orgs(pair)
        assert (org["displayName"], org["role"]) == ("default", "ORG_ROLE_ADMIN"), org
        [project] = P.ok(PROJECTS + "List", {"orgId": org["id"]}, token=pair["token"])["projects"]
        assert project["displayName"] == "default"
        assert project["reportingTimezone"] == "Europe/Berlin", project
        [key] = P.ok(PROJECTS + "ListApiKeys", token=pair["token"],
                     project=project["id"])["apiKeys"]
        assert key["kind"] == "API_KEY_KIND_PUBLIC" and key["key"].startswith("pub_")
        P.ok(AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})
        dead(token)
    # A zone that nobody knows is no error.
    pair = redeem(link(address()), timezone="Mars/Olympus")
    [org] = orgs(pair)
    [project] = P.ok(PROJECTS + "List", {"orgId": org["id"]}, token=pair["token"])["projects"]
    assert project["reportingTimezone"] == "", project


def test_known_address(_):
    email = address()
    first = redeem(link(email))
    P.ok(CUSTOMERS + "SetPassword", {"password": "correct horse"}, token=first["token"])
    # The mail goes to the spelling of the account, whatever was typed.
    P.ok(AUTH + "RequestMagicLink", {"email": email.upper()})
    assert one("SELECT recipient FROM pugd.mail_outbox WHERE lower(recipient) = "
               f"'{email.lower()}' ORDER BY create_time DESC LIMIT 1") == email
    second = redeem(tokens(email)[-1])
    assert claims(second["token"])["sub"] == claims(first["token"])["sub"]
    assert len(orgs(second)) == 1 and count("customers", email) == 1
    # An address that was verified before keeps its password and its other sessions.
    P.ok(AUTH + "SignIn", {"email": email, "password": "correct horse"})
    P.ok(AUTH + "RefreshToken", {"refreshToken": first["refreshToken"]})
    # Without an org there is none either after signing in.
    P.psql("DELETE FROM pugd.org_members WHERE customer_id = "
           f"'{claims(first['token'])['sub']}'")
    assert orgs(redeem(link(email))) == []


def test_both_halves_in_one_method(_):
    email = address()
    assert P.ok(AUTH + "SignInWithMagicLink", {"email": email}) == {"sent": True}
    # What the page left empty does not count.
    assert P.ok(AUTH + "SignInWithMagicLink", {"email": email, "token": ""}) == {"sent": True}
    pair = P.ok(AUTH + "SignInWithMagicLink", {"token": tokens(email)[-1]})
    assert sorted(pair) == ["refreshToken", "token"] and len(orgs(pair)) == 1
    for body in ({}, {"token": ""}, {"email": email, "token": "0" * 64}):
        fails(400, "INVALID_ARGUMENT", AUTH + "SignInWithMagicLink", body)
    answer = fails(400, "INVALID_TOKEN", AUTH + "SignInWithMagicLink", {"token": "0" * 64})
    assert answer["code"] == "invalid_argument" and "token" in answer["message"], answer


def test_bad_requests(_):
    for body in ({}, {"email": ""}, {"email": "no address"}, {"email": "a" * 250 + "@b.example"}):
        answer = fails(400, "INVALID_ARGUMENT", AUTH + "RequestMagicLink", body)
        assert "email" in answer["message"], answer
    for body in ({}, {"token": ""}, {"token": "x" * 129}, {"token": "x", "timezone": "a b"}):
        fails(400, "INVALID_ARGUMENT", AUTH + "CompleteMagicLink", body)
    for token in ("x", "0" * 64, "0" * 128):
        dead(token)


def test_only_a_fresh_link_works_and_only_once(_):
    email = address()
    old = link(email)
    new = link(email.upper())
    dead(old)
    dead(new[:-1])
    dead(new + "0")
    redeem(new)
    dead(new)
    late = link(email)
    P.psql("UPDATE pugd.action_tokens SET expires_at = now() "
           f"WHERE lower(email) = '{email.lower()}' AND consumed_at IS NULL")
    dead(late)
    redeem(link(email))
    # 15 minutes, and nothing but a hash of it is stored.
    token = link(email)
    rows = P.psql("SELECT hash, round(extract(epoch FROM expires_at - create_time)) "
                  f"FROM pugd.action_tokens WHERE lower(email) = '{email.lower()}' "
                  "AND consumed_at IS NULL")
    assert rows == [["\\x" + hashlib.sha256(token.encode()).hexdigest(), "900"]], rows


def test_links_asked_for_at_once_leave_one(_):
    email = address()
    for got in at_once([lambda: P.call(AUTH + "RequestMagicLink", {"email": email})] * 8):
        assert got[:2] == (200, {}), got
    assert int(one("SELECT count(*) FROM pugd.action_tokens WHERE consumed_at IS NULL "
                   f"AND lower(email) = '{email.lower()}'")) == 1
    sent = tokens(email)
    assert len(set(sent)) == 8
    results = sorted(complete(t)[0] for t in sent)
    assert results == [200] + [400] * 7, results


def work(email):
    """What PostgreSQL does for link_request, but for how many customers were found."""
    with open(os.path.join(pug.TOP, "sql/query/links.sql"), encoding="utf-8") as f:
        sql = f.read().split("-- name: link_request")[1].split("-- name:")[0].split("\nWITH ")[1]
    values = {"$1": f"'{email}'", "$2": f"'\\x{uuid.uuid4().hex * 2}'::bytea", "$3": "1000000",
              "$4": f"'{xid()}'", "$5": "'\\x00'::bytea"}
    for name, value in values.items():
        sql = sql.replace(name, value)
    plan = P.psql("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) WITH " + sql)
    text = "\n".join(line[0] for line in plan).replace(email, "ADDRESS")
    return re.sub(r"(on customers .*rows=)[01]\b", r"\1N", text.replace(email.lower(), "address"))


def test_known_and_unknown_cost_the_same(_):
    """Neither answer nor rows, nor what the statement does, nor its time tell who has an account."""
    known, unknown = address(), address()
    sign_up(known)

    def seen(email):
        """Answer, and rows of both tables for the address."""
        status, answer, headers = P.call(AUTH + "RequestMagicLink", {"email": email})
        low = email.lower()
        return (status, answer, sorted(h for h in headers if h != "date"),
                P.psql("SELECT purpose, customer_id, invitation_id FROM pugd.action_tokens "
                       f"WHERE lower(email) = '{low}' AND consumed_at IS NULL"),
                P.psql("SELECT kind, org_id, state, length(secret) FROM pugd.mail_outbox "
                       f"WHERE lower(recipient) = '{low}'"))
    # The first link of an address, and one that takes the place of another.
    for conflicts in (0, 1):
        plans = [work(known), work(unknown)]
        assert plans[0] == plans[1], "\n\n".join(plans)
        assert f"Conflicting Tuples: {conflicts}" in plans[0], plans[0]
    # What work() left; the sender may have been at it already.
    P.psql(f"DELETE FROM pugd.mail_outbox WHERE recipient IN ('{known}', '{unknown}')")
    assert seen(known) == seen(unknown)
    rounds = 40
    times = {known: [], unknown: []}
    conn = P.connect()
    for _ in range(rounds):
        for email in (known, unknown):
            start = time.monotonic()
            P.ok(AUTH + "RequestMagicLink", {"email": email}, conn=conn)
            times[email].append(time.monotonic() - start)
    conn.close()
    a, b = (sorted(t)[rounds // 2] for t in times.values())
    assert max(a, b) < 2 * min(a, b), (a, b)


# ---- races -----------------------------------------------------------------------------

def test_parallel_redemptions_have_one_winner(_):
    for _ in range(5):
        email = address()
        token = link(email)
        got = at_once([lambda: complete(token)] * 8)
        won = [answer for status, answer in got if status == 200]
        lost = [answer for status, answer in got if status != 200]
        assert len(won) == 1 and all(reason(a) == "INVALID_TOKEN" for a in lost), got
        assert count("customers", email) == 1 and len(orgs(won[0])) == 1
        assert int(one("SELECT count(*) FROM pugd.sessions WHERE customer_id = "
                       f"'{claims(won[0]['token'])['sub']}'")) == 1


def test_two_purposes_at_once(_):
    """A sign-in link and invitations of one new person: nobody waits for ever, nobody loses."""
    org, _ = new_org()
    other, _ = new_org()
    for _ in range(5):
        email = address()
        links = [invite(org, email, 2)[1], invite(other, email, 3)[1], link(email)]
        got = at_once([lambda t=t: complete(t) for t in links])
        assert [status for status, _ in got] == [200] * 3, got
        assert len({claims(a["token"])["sub"] for _, a in got}) == 1
        assert count("customers", email) == 1
        roles = {o["id"]: o["role"] for o in orgs(got[0][1])}
        assert roles[org] == "ORG_ROLE_MEMBER" and roles[other] == "ORG_ROLE_VIEWER", roles
        # Whether there is a default org depends on who came first; never more than one.
        assert len(roles) in (2, 3), roles


def test_redeeming_while_invitations_are_revoked_and_resent(_):
    org, _ = new_org()
    for _ in range(5):
        email = address()
        invitation, token = invite(org, email, 2)
        resend = ("BEGIN; SELECT 1 FROM pugd.org_invitations "
                  f"WHERE id = '{invitation}' FOR UPDATE; SELECT pg_sleep(0.02); "
                  "UPDATE pugd.action_tokens SET consumed_at = now() "
                  f"WHERE invitation_id = '{invitation}' AND consumed_at IS NULL; COMMIT")
        revoke = f"DELETE FROM pugd.org_invitations WHERE id = '{invitation}' AND status = 1"
        got = at_once([lambda: complete(token), lambda: P.psql(resend), lambda: P.psql(revoke)])
        status, answer = got[0]
        assert status == 200 or reason(answer) == "INVALID_TOKEN", answer
        member = int(one("SELECT count(*) FROM pugd.org_members m JOIN pugd.customers c "
                         "ON c.id = m.customer_id WHERE m.org_id = "
                         f"'{org}' AND lower(c.email) = '{email.lower()}'"))
        assert member == (1 if status == 200 else 0), (status, member)


# ---- invitations -----------------------------------------------------------------------

def test_invitation_makes_an_account(_):
    org, _ = new_org()
    email = address()
    invitation, token = invite(org, email, 3)
    pair = redeem(token, timezone="Asia/Tokyo")
    assert [(o["id"], o["role"]) for o in orgs(pair)] == [(org, "ORG_ROLE_VIEWER")]
    assert P.ok(CUSTOMERS + "GetMe", token=pair["token"])["emailVerified"] is True
    assert one(f"SELECT status FROM pugd.org_invitations WHERE id = '{invitation}'") == "2"
    dead(token)


def test_invitation_joins_an_account(_):
    org, _ = new_org()
    email = address()
    first = redeem(link(email))
    _, token = invite(org, email.upper(), 2)
    # Signing in by a plain link neither accepts the invitation nor spoils it.
    assert len(orgs(redeem(link(email)))) == 1
    pair = redeem(token)
    assert claims(pair["token"])["sub"] == claims(first["token"])["sub"]
    assert {o["id"]: o["role"] for o in orgs(pair)}[org] == "ORG_ROLE_MEMBER"
    assert len(orgs(pair)) == 2
    # A member keeps the old role, and the invitation is accepted all the same.
    invitation, token = invite(org, email, 1)
    pair = redeem(token)
    assert {o["id"]: o["role"] for o in orgs(pair)}[org] == "ORG_ROLE_MEMBER"
    assert one(f"SELECT status FROM pugd.org_invitations WHERE id = '{invitation}'") == "2"


def test_invitation_that_is_over(_):
    org, _ = new_org()
    gone, revoked = invite(org, address(), 2)
    P.psql(f"DELETE FROM pugd.org_invitations WHERE id = '{gone}'")
    dead(revoked)
    for extra in ({"status": 2}, {"hours": -1}, {"token_hours": -1}):
        email = address()
        _, token = invite(org, email, 2, **extra)
        dead(token)
        assert count("customers", email) == 0
    # A refused link is not used up: reviving the invitation revives it.
    email = address()
    invitation, token = invite(org, email, 2, hours=-1)
    dead(token)
    P.psql("UPDATE pugd.org_invitations SET expires_at = now() + interval '1 hour' "
           f"WHERE id = '{invitation}'")
    redeem(token)


# ---- D84 -------------------------------------------------------------------------------

def test_preregistered_address_is_safe(_):
    email = address()
    attacker = sign_up(email, "attacker's own")
    second = P.ok(AUTH + "SignIn", {"email": email, "password": "attacker's own"})
    assert P.ok(CUSTOMERS + "GetMe", token=attacker["token"])["emailVerified"] is False
    victim = redeem(link(email))
    assert claims(victim["token"])["sub"] == claims(attacker["token"])["sub"]
    for pair in (attacker, second):
        fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})
        for path, body in ((CUSTOMERS + "SetPassword", {"password": "attacker's own"}),
                           (CUSTOMERS + "GetMe", {}), (ORGS + "List", {})):
            fails(401, "UNAUTHENTICATED", path, body, token=pair["token"])
    fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn",
          {"email": email, "password": "attacker's own"})
    P.ok(AUTH + "RefreshToken", {"refreshToken": victim["refreshToken"]})
    me = P.ok(CUSTOMERS + "Get", token=victim["token"])["customer"]
    assert me["emailVerified"] is True and me["hasPassword"] is False, me
    P.ok(CUSTOMERS + "SetPassword", {"password": "the victim's"}, token=victim["token"])
    P.ok(AUTH + "SignIn", {"email": email, "password": "the victim's"})
    # Only the first time: now both stay.
    redeem(link(email))
    P.ok(AUTH + "SignIn", {"email": email, "password": "the victim's"})


def test_preregistered_address_is_safe_from_an_invitation_on(_):
    org, _ = new_org()
    email = address()
    attacker = sign_up(email, "attacker's own")
    _, token = invite(org, email, 2)
    victim = redeem(token)
    assert org in [o["id"] for o in orgs(victim)]
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": attacker["refreshToken"]})
    fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn",
          {"email": email, "password": "attacker's own"})


def test_no_access_token_from_before_gets_into_the_org_that_invites(_):
    org, admin = new_org()
    [project] = P.ok(PROJECTS + "List", {"orgId": org}, token=admin["token"])["projects"]
    for by_invitation in (True, False):
        email = address()
        attacker = sign_up(email, "attacker's own")
        gone = P.ok(AUTH + "SignIn", {"email": email, "password": "attacker's own"})
        P.ok(AUTH + "SignOut", {"refreshToken": gone["refreshToken"]})
        for pair in (attacker, gone):  # signing out ends no access token
            P.ok(CUSTOMERS + "GetMe", token=pair["token"])
        _, invitation = invite(org, email, 2)
        # by a link of their own first, the invitation only joins an account that is theirs
        victim = redeem(invitation if by_invitation else link(email))
        if not by_invitation:
            victim = redeem(invitation)
        for pair in (attacker, gone):
            fails(401, "UNAUTHENTICATED", ORGS + "List", token=pair["token"])
            fails(401, "UNAUTHENTICATED", PROJECTS + "Get", token=pair["token"],
                  project=project["id"])
        P.ok(PROJECTS + "Get", token=victim["token"], project=project["id"])
        P.ok(AUTH + "SignOut", {"refreshToken": victim["refreshToken"]})
        P.ok(PROJECTS + "Get", token=victim["token"], project=project["id"])
        # later links leave what is there
        redeem(link(email))
        P.ok(PROJECTS + "Get", token=victim["token"], project=project["id"])


def test_sign_in_while_the_owner_comes(_):
    """A password that is being compared while it is removed opens no session that lasts."""
    for _ in range(6):
        email = address()
        sign_up(email, "attacker's own")
        token = link(email)
        body = {"email": email, "password": "attacker's own"}
        got = at_once([lambda: P.call(AUTH + "SignIn", body)[:2]] * 4 + [lambda: complete(token)])
        assert got[-1][0] == 200, got
        for status, answer in got[:-1]:
            assert status in (200, 401), answer
            if status == 200:
                fails(401, "INVALID_TOKEN", AUTH + "RefreshToken",
                      {"refreshToken": answer["refreshToken"]})
        assert int(one("SELECT count(*) FROM pugd.sessions WHERE revoked_at IS NULL "
                       f"AND customer_id = '{claims(got[-1][1]['token'])['sub']}'")) == 1


def test_sign_up_while_the_owner_comes(_):
    for _ in range(5):
        email = address()
        token = link(email)
        body = {"email": email, "password": "attacker's own"}
        up, done = at_once([lambda: P.call(AUTH + "SignUp", body)[:2], lambda: complete(token)])
        assert done[0] == 200, done
        assert up[0] == 200 or reason(up[1]) == "EMAIL_TAKEN", up
        assert count("customers", email) == 1 and len(orgs(done[1])) == 1
        fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn", body)


# ---- the rest --------------------------------------------------------------------------

def test_deleted_account(_):
    email = address()
    pair = redeem(link(email))
    waiting = link(email)
    P.psql(f"DELETE FROM pugd.customers WHERE lower(email) = '{email.lower()}'")
    fails(401, "UNAUTHENTICATED", ORGS + "List", token=pair["token"])
    fails(401, "UNAUTHENTICATED", CUSTOMERS + "SetPassword", {"password": "correct horse"},
          token=pair["token"])
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})
    # The link shows who owns the address, not what was there: a new account.
    again = redeem(waiting)
    assert claims(again["token"])["sub"] != claims(pair["token"])["sub"]


def test_limit_per_mailbox(_):
    options = outbox.WAITING + ["limit_scale=1", "limit_address_rate=0", "limit_link_per_hour=1",
                                "limit_link_burst=3"]
    with pug.Pug(P.variant, options=options) as strict:
        known = strict.info["email"]
        for email in (known, "nobody@example.com"):
            codes = [strict.call(path, {"email": spelling})[0] for path, spelling in
                     ((AUTH + "RequestMagicLink", email), (AUTH + "SignInWithMagicLink", email),
                      (OLD + "RequestMagicLink", email.upper()),
                      (AUTH + "RequestMagicLink", email.upper()))]
            assert codes == [200, 200, 200, 429], codes
            status, answer, headers = strict.call(AUTH + "RequestMagicLink", {"email": email})
            assert status == 429 and reason(answer) == "RESOURCE_EXHAUSTED", answer
            assert 500 <= int(headers["retry-after"]) <= 1000, headers
            assert '"mailbox";q=3' in headers["ratelimit-policy"], headers
        # Signing in with a password is another matter.
        token = strict.ok(AUTH + "SignIn", {"email": known, "password": strict.info["password"]})["token"]
        # Invitations and test mails fill the same mailbox, whoever they are from.
        org = strict.info["org_id"]
        codes = [strict.call(ORGS + "InviteMember", {"orgId": org, "email": "some@example.com"}, token=token)[0]
                 for _ in range(4)]
        assert codes == [200, 409, 409, 429], codes
        status, answer, _ = strict.call("/orgemailproviders.v1.OrgEmailProvidersService/SendTest",
                                        {"orgId": org, "recipient": known}, token=token)
        assert status == 429 and reason(answer) == "RESOURCE_EXHAUSTED", answer


def test_without_mail_nothing_is_promised(_):
    with pug.Pug(P.variant, options=["mail_dir=", "mail_url=", "demo_sign_in=no"]) as mute:
        for email in (mute.info["email"], "nobody@example.com"):
            status, answer, _ = mute.call(AUTH + "RequestMagicLink", {"email": email})
            assert status == 400 and answer["code"] == "failed_precondition", answer
        assert mute.psql("SELECT 1 FROM pugd.action_tokens") == []
        for base in (AUTH, OLD):
            status, answer, _ = mute.call(base + "DemoSignIn")
            assert status == 503 and reason(answer) == "UNAVAILABLE", answer


def test_demo(_):
    for base in (AUTH, OLD):
        got = P.ok(base + "DemoSignIn")
        assert got["projectId"] == P.info["project_id"], got
        P.ok(PROJECTS + "Get", token=got["token"], project=got["projectId"])
        P.ok(CUSTOMERS + "GetMe", token=got["token"])
        P.ok(AUTH + "RefreshToken", {"refreshToken": got["refreshToken"]})
        for path, body in ((CUSTOMERS + "SetPassword", {"password": "correct horse"}),
                           (CUSTOMERS + "Update", {"displayName": "me"}),
                           (ORGS + "Create", {"displayName": "mine"})):
            fails(403, "ORG_ROLE_FORBIDDEN", path, body, token=got["token"])

    def off(change, back):
        P.psql(change)
        answer = fails(503, "UNAVAILABLE", AUTH + "DemoSignIn")
        assert answer["code"] == "unavailable", answer
        P.psql(back)
        P.ok(AUTH + "DemoSignIn")
    visitor = claims(got["token"])["sub"]
    mine = f"WHERE customer_id = '{visitor}'"
    off(f"UPDATE pugd.customers SET demo = false WHERE id = '{visitor}'",
        f"UPDATE pugd.customers SET demo = true WHERE id = '{visitor}'")
    off(f"UPDATE pugd.org_members SET role = 2 {mine}",
        f"UPDATE pugd.org_members SET role = 3 {mine}")
    project = f"WHERE id = '{got['projectId']}'"
    off(f"UPDATE pugd.projects SET deleted_at = now() {project}",
        f"UPDATE pugd.projects SET deleted_at = NULL {project}")
    # The oldest org counts, though there are others where they are but a viewer.
    older = xid()
    off(f"""WITH o AS (INSERT INTO pugd.orgs (id, display_name, create_time)
            VALUES ('{older}', 'older', now() - interval '9 years') RETURNING id)
            INSERT INTO pugd.org_members (org_id, customer_id, role)
            SELECT o.id, '{visitor}', 3 FROM o""",
        f"DELETE FROM pugd.orgs WHERE id = '{older}'")


def test_no_secret_in_the_log(_):
    email = address()
    token = link(email)
    pair = redeem(token)
    dead(token)
    log = P.log().split("Stop: ^C")[-1]
    for secret in (token, pair["token"], pair["refreshToken"], email, email.lower()):
        assert secret not in log, secret


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=4"] + outbox.WAITING) as P:
        outbox.hold(P)
        P.variant = variant
        sys.exit(pug.main(tests))
