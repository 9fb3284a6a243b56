#!/usr/bin/env python3
"""CustomersService (auth.md 5.3, D15, D57): who sees whom, one's own profile and password."""
import base64
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import sys
import uuid

import outbox
import pug

AUTH, ORGS, ME = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/", "/customers.v1.CustomersService/"
OLD = "/dashboard.customers.v1.CustomersService/"
P = None


def reason(answer):
    """ErrorInfo.reason: field 1 of the first detail."""
    raw = base64.b64decode(answer["details"][0]["value"] + "===")
    return raw[2:2 + raw[1]].decode()


def fails(status, want_reason, path, body=None, **kw):
    got, answer, _ = P.call(path, body, **kw)
    assert got == status and reason(answer) == want_reason, (path, got, answer)
    return answer


def claims(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def person(password="correct horse", **extra):
    """(email, id, access token, refresh token) of a new account."""
    email = f"Person-{uuid.uuid4().hex[:12]}@example.com"
    pair = P.ok(AUTH + "SignUp", {"email": email, "password": password, **extra})
    return email, claims(pair["token"])["sub"], pair["token"], pair["refreshToken"]


def sign_in(email, password="correct horse"):
    return P.ok(AUTH + "SignIn", {"email": email, "password": password})


def refresh(token):
    return P.ok(AUTH + "RefreshToken", {"refreshToken": token})


def ended(*refresh_tokens):
    for token in refresh_tokens:
        fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": token})


def org_of(token):
    return P.ok(ORGS + "List", token=token)["orgs"][0]["id"]


def join(org, customer, role=3):
    P.psql("INSERT INTO pugd.org_members (org_id, customer_id, role) "
           f"VALUES ('{org}', '{customer}', {role})")


def old_token(token):
    """The same token as a pugd made it that had no claim `sid`."""
    with open(os.path.join(P.data, "credential"), "rb") as f:
        key = outbox.derive(f.read(), b"pugd access token v1")
    body = claims(token)
    assert len(body.pop("sid")) == 20
    text = token.split(".")[0] + "." + base64.urlsafe_b64encode(
        json.dumps(body).encode()).rstrip(b"=").decode()
    mac = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return text + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def test_get_me(_):
    email, me, token, _ = person()
    for base in (ME, OLD):
        got = P.ok(base + "GetMe", token=token)
        assert got == {"customerId": me, "email": email, "emailVerified": False}, got
    status, answer, headers = P.call(OLD + "GetMe")
    assert status == 401 and "www-authenticate" in headers, answer
    # A read: it answers GET, too (D50).
    status, got, _ = P.call(ME + "GetMe?connect=v1&encoding=json&message=%7B%7D", method="GET",
                            token=token)
    assert status == 200 and got["customerId"] == me, got


def test_get(_):
    email, me, token, _ = person(displayName="Zoë")
    got = P.ok(ME + "Get", token=token)["customer"]
    created = datetime.datetime.fromisoformat(got.pop("createTime").replace("Z", "+00:00"))
    age = datetime.datetime.now(datetime.timezone.utc) - created
    assert abs(age.total_seconds()) < 60, age
    assert got == {"id": me, "email": email, "displayName": "Zoë", "pictureUrl": "",
                   "emailVerified": False, "hasPassword": True}, got
    assert P.ok(ME + "Get", {"customerId": me}, token=token)["customer"]["id"] == me
    _, stranger, other_token, _ = person()
    # A stranger and nobody are one answer.
    messages = {fails(404, "CUSTOMER_NOT_FOUND", ME + "Get", {"customerId": i},
                      token=token)["message"] for i in (stranger, "0" * 20, "x", "\u00fc" * 300)}
    assert len(messages) == 1 and "customer_id" in messages.pop()
    fails(400, "INVALID_ARGUMENT", ME + "Get", {"customerId": ""}, token=token)
    # Sharing an org is enough, in both directions and whatever the roles; leaving ends it.
    org = org_of(token)
    join(org, stranger)
    assert P.ok(ME + "Get", {"customerId": stranger}, token=token)["customer"]["id"] == stranger
    assert P.ok(ME + "Get", {"customerId": me}, token=other_token)["customer"]["email"] == email
    P.psql(f"DELETE FROM pugd.org_members WHERE org_id = '{org}' AND customer_id = '{stranger}'")
    fails(404, "CUSTOMER_NOT_FOUND", ME + "Get", {"customerId": stranger}, token=token)


def test_list(_):
    _, first, token, _ = person()
    org = org_of(token)
    people = [first]
    for role in (3, 2):
        email, customer, other, _ = person()
        join(org, customer, role)
        people.append(customer)
        got = P.ok(ME + "List", {"orgId": org}, token=other)["customers"]
        assert [c["id"] for c in got] == people, got
    assert got[-1]["email"] == email and got[-1]["hasPassword"] is True
    _, _, outsider, _ = person()
    for body in ({"orgId": org}, {"orgId": "0" * 20}):
        fails(403, "ORG_NOT_A_MEMBER", ME + "List", body, token=outsider)
    for body in ({}, {"orgId": ""}):
        fails(400, "INVALID_ARGUMENT", ME + "List", body, token=token)


def test_update(_):
    _, me, token, _ = person(displayName="Old")
    _, _, other, _ = person(displayName="Other")
    got = P.ok(ME + "Update", {"displayName": "Neu \U0001f415"}, token=token)["customer"]
    assert (got["displayName"], got["pictureUrl"]) == ("Neu \U0001f415", ""), got
    url = "https://example.com/" + "p" * 235
    got = P.ok(ME + "Update", {"pictureUrl": url}, token=token)["customer"]
    assert (got["id"], got["displayName"], got["pictureUrl"]) == (me, "Neu \U0001f415", url), got
    assert P.ok(ME + "Update", {}, token=token)["customer"] == got
    assert P.ok(ME + "Get", token=token)["customer"] == got
    for body, field in (({"displayName": ""}, "display_name"),
                        ({"displayName": "x" * 151}, "display_name"),
                        ({"pictureUrl": "http://example.com/p.png"}, "picture_url"),
                        ({"pictureUrl": "javascript:alert(1)"}, "picture_url"),
                        ({"pictureUrl": url + "p"}, "picture_url"),
                        ({"displayName": "fine", "pictureUrl": "x"}, "picture_url")):
        answer = fails(400, "INVALID_ARGUMENT", ME + "Update", body, token=token)
        assert field in answer["message"], answer
    # All or nothing, and nobody else.
    assert P.ok(ME + "Get", token=token)["customer"] == got
    assert P.ok(ME + "Get", token=other)["customer"]["displayName"] == "Other"


def test_set_password_ends_other_sessions(_):
    for base in (ME, OLD):
        email, me, token, mine = person()
        others = [sign_in(email) for _ in range(3)]
        stranger = person()
        rotated = refresh(mine)
        assert claims(rotated["token"])["sid"] == claims(token)["sid"]
        assert P.ok(base + "SetPassword", {"password": "battery staple"},
                    token=rotated["token"]) == {}
        fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn",
              {"email": email, "password": "correct horse"})
        sign_in(email, "battery staple")
        ended(*[o["refreshToken"] for o in others])
        # The caller's own goes on, before and after the rotation; so do strangers'.
        refresh(mine)
        refresh(rotated["refreshToken"])
        refresh(stranger[3])
        assert P.psql(f"SELECT left(password_hash, 3) FROM pugd.customers WHERE id = '{me}'") == \
            [["$y$"]]
        # An ended session may look, until its token expires, but not change the lock.
        P.ok(ME + "GetMe", token=others[0]["token"])
        fails(401, "UNAUTHENTICATED", base + "SetPassword", {"password": "of the thief"},
              token=others[0]["token"])
        sign_in(email, "battery staple")


def test_set_password_with_a_token_that_names_no_session(_):
    email, _, token, mine = person()
    other = sign_in(email)["refreshToken"]
    bare = old_token(token)
    P.ok(ME + "GetMe", token=bare)
    P.ok(ME + "SetPassword", {"password": "battery staple"}, token=bare)
    ended(mine, other)
    sign_in(email, "battery staple")


def test_set_password_bounds(_):
    email, _, token, _ = person()
    for bad in ("", "1234567", "x" * 129, "\u00fc" * 65):
        answer = fails(400, "INVALID_ARGUMENT", ME + "SetPassword", {"password": bad}, token=token)
        assert "password" in answer["message"] and bad not in answer["message"].split() or not bad
    fails(400, "INVALID_ARGUMENT", ME + "SetPassword", {}, token=token)
    sign_in(email)
    # Bytes count, and all of them.
    for good in ("12345678", "\u00fc" * 4, "x" * 127 + "y"):
        P.ok(ME + "SetPassword", {"password": good}, token=token)
        sign_in(email, good)
    fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn", {"email": email, "password": "x" * 128})


def test_set_password_while_others_sign_in(_):
    """Who signs in with the old password meanwhile is ended or refused, whatever the order."""
    for _ in range(4):
        email, me, token, mine = person()
        body = {"email": email, "password": "correct horse"}
        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            ins = [pool.submit(P.call, AUTH + "SignIn", body) for _ in range(4)]
            P.ok(ME + "SetPassword", {"password": "battery staple"}, token=token)
            for status, answer, _ in [f.result() for f in ins]:
                assert status in (200, 401), answer
                if status == 200:
                    ended(answer["refreshToken"])
        assert P.psql("SELECT id FROM pugd.sessions WHERE revoked_at IS NULL AND "
                      f"customer_id = '{me}'") == [[claims(token)["sid"]]]
        refresh(mine)


def test_two_set_passwords_at_once(_):
    for _ in range(3):
        email, me, token, mine = person()
        other = sign_in(email)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            got = [f.result()[0] for f in
                   [pool.submit(P.call, ME + "SetPassword", {"password": p}, token=t)
                    for p, t in (("password one", token), ("password two", other["token"]))]]
        # The first to come ends the other's session, which then may not.
        assert sorted(got) == [200, 401], got
        won = 0 if got[0] == 200 else 1
        sign_in(email, ("password one", "password two")[won])
        refresh((mine, other["refreshToken"])[won])
        ended((other["refreshToken"], mine)[won])
        assert me


def test_bcrypt_upgrades_at_once(_):
    """Of two first sign-ins with an old hash one upgrades it; the other is not told "wrong"."""
    import ctypes
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    old = crypt(b"correct horse", b"$2b$04$abcdefghijklmnopqrstuu").decode()
    for _ in range(3):
        email, me, _, _ = person()
        P.psql(f"UPDATE pugd.customers SET password_hash = '{old}' WHERE id = '{me}'")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: sign_in(email), range(4)))
        assert P.psql(f"SELECT left(password_hash, 3) FROM pugd.customers WHERE id = '{me}'") == \
            [["$y$"]]


def test_api_keys_are_nobody(_):
    _, _, token, _ = person()
    org = org_of(token)
    project = P.ok("/projects.v1.ProjectsService/List", {"orgId": org},
                   token=token)["projects"][0]["id"]
    for kind in ("API_KEY_KIND_PRIVATE", "API_KEY_KIND_PUBLIC"):
        key = P.ok("/projects.v1.ProjectsService/CreateApiKey", {"kind": kind}, token=token,
                   project=project)["key"]
        for method, body in (("GetMe", {}), ("Get", {}), ("List", {"orgId": org}), ("Update", {}),
                             ("SetPassword", {"password": "correct horse"})):
            fails(403, "PERMISSION_DENIED", ME + method, body, key=key)


def test_account_gone(_):
    _, me, token, mine = person()
    P.psql(f"DELETE FROM pugd.customers WHERE id = '{me}'")
    for method, body in (("GetMe", {}), ("Get", {}), ("Update", {"displayName": "x"}),
                         ("SetPassword", {"password": "correct horse"})):
        fails(401, "UNAUTHENTICATED", ME + method, body, token=token)
    ended(mine)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=4"]) as P:
        P.variant = variant
        sys.exit(pug.main(tests))
