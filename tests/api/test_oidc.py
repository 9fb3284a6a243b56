#!/usr/bin/env python3
"""Signing in by other providers: a real OpenID provider, and one that lies (forge.py)."""
import base64
import concurrent.futures
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import pug
from forge import Browser, Forge, Key, b64, closed_url, real_provider
from test_accounts import reason

HERE = os.path.dirname(os.path.abspath(__file__))
AUTH, ORGS, PROJECTS = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/", "/projects.v1.ProjectsService/"
CALLBACK = "https://dash.example/oauth/callback"
# What the Authorization header must encode and a form, too.
SECRET = "s:e+c/r&e=t %~"
CLIENT = "our-client"
P = KEY = GOOGLE = FORGE = REAL = None
SAID = []  # whatever must not be in the log


def fails(status, want_reason, path, body, p=None, **kw):
    got, answer, _ = (p or P).call(path, body, **kw)
    assert got == status and reason(answer) == want_reason, (got, answer)
    return answer


def customer(pair):
    part = pair["token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=="))["sub"]


def person():
    name = "p" + uuid.uuid4().hex[:12]
    return {"sub": name, "email": f"{name}@people.example"}


def claims(issuer, who=None, **changes):
    now = int(time.time())
    all_of_them = {"iss": issuer.url, "aud": CLIENT, "iat": now, "exp": now + 300,
                   "email_verified": True, "name": "Pat", **(who or person())}
    all_of_them.update(changes)
    return {k: v for k, v in all_of_them.items() if v is not None}


def google(token, status=200, want_reason=None, path=AUTH + "SignInWithOAuth", **extra):
    body = {"provider": "O_AUTH_PROVIDER_GOOGLE", "credential": token, **extra}
    SAID.append(token)
    if status == 200:
        return P.ok(path, body)
    return fails(status, want_reason, path, body)


def oidc_body(provider, code, nonce="n", **changes):
    SAID.extend([code, "v" * 43])
    return {"providerId": provider, "code": code, "codeVerifier": "v" * 43,
            "redirectUri": CALLBACK, "nonce": nonce, **changes}


def oidc(provider, issuer, token, status=200, want_reason=None, conn=None, **changes):
    """A code flow whose provider answers with this token."""
    code = secrets.token_urlsafe(24)
    issuer.codes[code] = token
    body = oidc_body(provider, code, **changes)
    if status == 200:
        return P.ok(AUTH + "CompleteOIDCSignIn", body, conn=conn)
    return fails(status, want_reason, AUTH + "CompleteOIDCSignIn", body, conn=conn)


def count(sql):
    return int(P.psql(sql)[0][0])


# ---- Google ----


def test_google_new_person_gets_an_account(_):
    who = person()
    token = KEY.token(claims(GOOGLE, who, name="\u00fc" * 151,
                             picture="https://pics.example/a.png"))
    first = google(token, timezone="Europe/Berlin")
    second = google(KEY.token(claims(GOOGLE, who)),
                    path="/public.auth.v1.AuthService/CompleteOAuthSignIn")
    assert customer(first) == customer(second)
    assert len(first["refreshToken"]) == 64 and first["refreshToken"] != second["refreshToken"]
    orgs = P.ok(ORGS + "List", token=first["token"])["orgs"]
    assert [o["displayName"] for o in orgs] == ["default"], orgs
    projects = P.ok(PROJECTS + "List", {"orgId": orgs[0]["id"]}, token=first["token"])["projects"]
    assert [(x["displayName"], x["reportingTimezone"]) for x in projects] == [
        ("default", "Europe/Berlin")]
    row = P.psql("SELECT email, display_name, picture_url, email_verified_at IS NOT NULL, password_hash "
                 f"FROM pugd.customers WHERE id = '{customer(first)}'")[0]
    assert row == [who["email"], "\u00fc" * 150, "https://pics.example/a.png", "t", ""], row
    # What is only for show is left out rather than refused.
    for picture in ("http://pics.example/a", "https://pics.example/" + "x" * 250, 7):
        pair = google(KEY.token(claims(GOOGLE, picture=picture, name=["Pat"])))
        assert P.psql("SELECT picture_url || display_name FROM pugd.customers "
                      f"WHERE id = '{customer(pair)}'") == []  # psql prints one empty line


def test_google_tokens_that_are_refused(_):
    bad = [KEY.token(claims(GOOGLE), alg=alg) for alg in ("none", "HS256", "RS512", "ES256", "rs256")]
    bad += [KEY.token(claims(GOOGLE, **c)) for c in (
        {"iss": "https://evil.example"}, {"iss": None}, {"aud": "another"}, {"aud": ["another"]},
        {"aud": None}, {"aud": ["another", CLIENT], "azp": "another"},
        {"exp": int(time.time()) - 61}, {"exp": None}, {"exp": str(int(time.time()) + 300)},
        {"iat": int(time.time()) + 90}, {"nbf": int(time.time()) + 90},
        {"sub": None}, {"sub": ""}, {"sub": "s" * 256}, {"sub": 7})]
    bad += [KEY.token(claims(GOOGLE), **h) for h in (
        {"crit": ["exp"]}, {"typ": "at+jwt"}, {"kid": "unknown"}, {"kid": ""}, {"kid": 7})]
    good = KEY.token(claims(GOOGLE))
    head, body, signature = good.split(".")
    other = Key(KEY.kid)
    bad += [other.token(claims(GOOGLE)), head + "." + body + ".", head + "." + body, good + ".x",
            good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"), "." + body + "." + signature,
            head + "." + b64(json.dumps(claims(GOOGLE)).encode()) + "." + signature,
            b64(b"[" * 9000) + "." + body + "." + signature, good + "=", "x", "\u00fc.\u00fc.\u00fc"]
    for token in bad:
        google(token, 401, "OAUTH_CREDENTIAL_INVALID")
    google("x" * 16385, 400, "INVALID_ARGUMENT")
    google("", 400, "INVALID_ARGUMENT")
    assert google(good)["token"]


def test_google_tokens_that_are_odd_but_good(_):
    now = int(time.time())
    for changes in ({"iss": GOOGLE.url.split("://")[1]}, {"aud": [CLIENT]},
                    {"aud": ["another", CLIENT], "azp": CLIENT}, {"aud": ["another", CLIENT]},
                    {"azp": "android-client"}, {"exp": now - 50}, {"iat": now + 50},
                    {"exp": now + 300.5}, {"nonce": "whatever"}, {"iat": None}):
        assert google(KEY.token(claims(GOOGLE, **changes)))["token"], changes
    # No kid, and only one key that fits.
    assert google(KEY.token(claims(GOOGLE), kid=None))["token"]
    for typ in (None, "jwt"):
        assert google(KEY.token(claims(GOOGLE), typ=typ))["token"]


def test_google_needs_a_verified_email(_):
    for changes in ({"email_verified": False}, {"email_verified": None}, {"email_verified": "true"},
                    {"email_verified": 1}, {"email": None}, {"email": ""}, {"email": " "},
                    {"email": "no address"}, {"email": "a@" + "b" * 254}):
        google(KEY.token(claims(GOOGLE, **changes)), 400, "INVALID_ARGUMENT")


def test_google_absent_or_unknown_provider(_):
    token = KEY.token(claims(GOOGLE))
    fails(400, "OAUTH_PROVIDER_DISABLED", AUTH + "SignInWithOAuth", {"credential": token})
    fails(400, "INVALID_ARGUMENT", AUTH + "SignInWithOAuth",
          {"provider": 0, "credential": token})
    fails(400, "INVALID_ARGUMENT", AUTH + "SignInWithOAuth", {"provider": "O_AUTH_PROVIDER_GOOGLE"})


# ---- accounts ----


def test_link_takes_over_an_unverified_account(_):
    """D84: whoever registered the address before loses password and sessions, and only once."""
    who = person()
    body = {"email": who["email"].upper(), "password": "correct horse"}
    squatter = P.ok(AUTH + "SignUp", body)
    owner = google(KEY.token(claims(GOOGLE, who, name="Not Taken Over")))
    assert customer(owner) == customer(squatter)
    fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn", body)
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": squatter["refreshToken"]})
    fails(401, "UNAUTHENTICATED", ORGS + "List", {}, token=squatter["token"])
    assert P.psql(f"SELECT display_name FROM pugd.customers WHERE id = '{customer(owner)}'") == []
    assert len(P.ok(ORGS + "List", token=owner["token"])["orgs"]) == 1, "no second org"
    again = google(KEY.token(claims(GOOGLE, who)))
    for pair in (owner, again):
        P.ok(AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})


def test_link_keeps_a_verified_account(_):
    who = person()
    body = {"email": who["email"], "password": "correct horse"}
    before = P.ok(AUTH + "SignUp", body)
    P.psql(f"UPDATE pugd.customers SET email_verified_at = now() WHERE id = '{customer(before)}'")
    pair = google(KEY.token(claims(GOOGLE, who)))
    assert customer(pair) == customer(before) == customer(P.ok(AUTH + "SignIn", body))
    P.ok(AUTH + "RefreshToken", {"refreshToken": before["refreshToken"]})


def test_identity_stays_with_its_account(_):
    who, other = person(), person()
    mine = google(KEY.token(claims(GOOGLE, who)))
    theirs = google(KEY.token(claims(GOOGLE, other)))
    moved = google(KEY.token(claims(GOOGLE, who, email=other["email"])))
    assert customer(moved) == customer(mine) != customer(theirs)
    row = P.psql(f"SELECT email FROM pugd.customers WHERE id = '{customer(mine)}'")
    assert row == [[who["email"]]], row
    # It proves nothing about the account's own address either.
    squatted = person()
    P.psql("UPDATE pugd.customers SET email_verified_at = NULL, email = "
           f"'{squatted['email']}' WHERE id = '{customer(mine)}'")
    google(KEY.token(claims(GOOGLE, who)))
    assert count("SELECT count(*) FROM pugd.customers WHERE email_verified_at IS NULL "
                 f"AND id = '{customer(mine)}'") == 1


def test_same_subject_at_two_providers_is_two_identities(_):
    who = person()
    first = google(KEY.token(claims(GOOGLE, who)))
    stranger = oidc("forge", FORGE, KEY.token(claims(FORGE, {**person(), "sub": who["sub"]}, nonce="n")))
    assert customer(stranger) != customer(first)
    linked = oidc("forge", FORGE, KEY.token(claims(FORGE, {**who, "sub": "other"}, nonce="n")))
    assert customer(linked) == customer(first)
    subjects = P.psql("SELECT provider, subject FROM pugd.customer_identities WHERE customer_id = "
                      f"'{customer(first)}' ORDER BY 1")
    assert subjects == [["google", who["sub"]], ["oidc", FORGE.url + "\x1fother"]], subjects


def parallel(calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(c) for c in calls]]


def test_parallel_first_sign_ins_make_one_account(_):
    for _ in range(3):
        who = person()
        tokens = [KEY.token(claims(GOOGLE, who)) for _ in range(8)]
        pairs = parallel([lambda t=t: google(t) for t in tokens])
        assert len({customer(p) for p in pairs}) == 1
        assert len({p["refreshToken"] for p in pairs}) == 8
        for pair in pairs:
            P.ok(AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})
        assert count(f"SELECT count(*) FROM pugd.org_members WHERE customer_id = '{customer(pairs[0])}'") == 1
        assert count(f"SELECT count(*) FROM pugd.customers WHERE email = '{who['email']}'") == 1


def test_parallel_sign_ins_with_several_addresses(_):
    """One subject whose e-mail differs: the winner's account, and nothing of the losers."""
    sub = uuid.uuid4().hex
    mails = [f"{sub}-{i}@people.example" for i in range(6)]
    tokens = [KEY.token(claims(GOOGLE, {"sub": sub, "email": m})) for m in mails]
    pairs = parallel([lambda t=t: google(t) for t in tokens])
    assert len({customer(p) for p in pairs}) == 1
    assert count(f"SELECT count(*) FROM pugd.customers WHERE email LIKE '{sub}-%'") == 1


# ---- a real provider ----


def real_flow(provider, login):
    """Everything a dashboard does up to CompleteOIDCSignIn; returns its request."""
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_hex(16)
    shown = {p["id"]: p for p in P.ok(AUTH + "GetAuthConfig")["providers"]}[provider]
    back = Browser(shown["issuerUrl"]).sign_in(
        login, client_id=shown["clientId"], response_type="code", redirect_uri=CALLBACK,
        scope=" ".join(shown["scopes"]), state="st", nonce=nonce, code_challenge_method="S256",
        code_challenge=b64(hashlib.sha256(verifier.encode()).digest()))
    assert back["state"] == "st" and back["code"], back
    SAID.extend([back["code"], verifier, nonce])
    return {"providerId": provider, "code": back["code"], "codeVerifier": verifier,
            "redirectUri": CALLBACK, "nonce": nonce, "timezone": "Asia/Tokyo"}


def test_real_provider(_):
    """With a secret (client_secret_basic) and as a public client."""
    for provider in ("basic", "open"):
        login = "r" + uuid.uuid4().hex[:10]
        body = real_flow(provider, login)
        first = P.ok(AUTH + "CompleteOIDCSignIn", body, headers={"origin": "https://dash.example"})
        # A code works once.
        fails(401, "OAUTH_CREDENTIAL_INVALID", AUTH + "CompleteOIDCSignIn", body)
        second = P.ok("/public.auth.v1.AuthService/CompleteOIDCSignIn", real_flow(provider, login))
        assert customer(first) == customer(second)
        row = P.psql("SELECT email, c.display_name, picture_url, reporting_timezone "
                     "FROM pugd.customers c JOIN pugd.org_members m ON m.customer_id = c.id "
                     f"JOIN pugd.projects USING (org_id) WHERE c.id = '{customer(first)}'")
        assert row == [[f"{login}@people.example", f"Person {login}",
                        "https://people.example/p.png", "Asia/Tokyo"]], row


def test_real_provider_refuses(_):
    login = "r" + uuid.uuid4().hex[:10]
    fails(400, "INVALID_ARGUMENT", AUTH + "CompleteOIDCSignIn", real_flow("basic", "unproven"))
    for changes in ({"codeVerifier": "w" * 43}, {"nonce": "another"}, {"code": "another"},
                    {"redirectUri": "https://other.example/oauth/callback"}):
        fails(401, "OAUTH_CREDENTIAL_INVALID", AUTH + "CompleteOIDCSignIn",
              {**real_flow("basic", login), **changes})
    # We are not the client that this provider knows.
    fails(401, "OAUTH_CREDENTIAL_INVALID", AUTH + "CompleteOIDCSignIn", real_flow("wrong", login))
    assert "identity provider refuses us provider=wrong error=invalid_client" in P.log()
    assert count(f"SELECT count(*) FROM pugd.customers WHERE email = '{login}@people.example'") == 0


# ---- CompleteOIDCSignIn against the forger ----


def test_config_is_shown(_):
    for path in (AUTH, "/public.auth.v1.AuthService/"):
        shown = P.ok(path + "GetAuthConfig")["providers"]
        assert [p["id"] for p in shown] == [p["id"] for p in PROVIDERS]
        assert shown[0] == {"id": "basic", "type": "AUTH_PROVIDER_TYPE_OIDC", "displayName": "Basic",
                            "clientId": "basic", "issuerUrl": REAL,
                            "scopes": ["openid", "profile", "email"]}, shown[0]
        assert SECRET not in json.dumps(shown, ensure_ascii=False)
    got = P.call(AUTH + "GetAuthConfig?connect=v1&encoding=json&message=%7B%7D", method="GET")
    assert got[0] == 200 and got[1]["providers"] == shown, got


def test_oidc_request_is_checked(_):
    good = oidc_body("forge", "c")
    fails(400, "OAUTH_PROVIDER_DISABLED", AUTH + "CompleteOIDCSignIn", {**good, "providerId": "nobody"})
    for changes in ({"codeVerifier": "v" * 42}, {"codeVerifier": "v" * 129}, {"codeVerifier": "\u00fc" * 50},
                    {"nonce": ""}, {"code": ""}, {"code": "c" * 8193}, {"providerId": "Forge"},
                    *({"redirectUri": uri} for uri in (
                        "", "/oauth/callback", "http://dash.example/oauth/callback",
                        CALLBACK + "?a=b", CALLBACK + "?", CALLBACK + "#x", CALLBACK + "/",
                        "https://dash.example/OAuth/callback", "https://u@dash.example/oauth/callback",
                        "https://dash.example:0/oauth/callback", "https://dash.example/a/../oauth/callback",
                        "https://localhost.evil.example@x/oauth/callback", "javascript:alert(1)",
                        "http://127.0.0.1.evil.example/oauth/callback"))):
        fails(400, "INVALID_ARGUMENT", AUTH + "CompleteOIDCSignIn", {**good, **changes})
    for origin in ("https://evil.example", "http://dash.example", "https://dash.example:444", "null"):
        fails(400, "INVALID_ARGUMENT", AUTH + "CompleteOIDCSignIn", good, headers={"origin": origin})
    for origin, uri in (("https://dash.example", CALLBACK),
                        ("https://dash.example", "https://Dash.example:443/oauth/callback"),
                        ("http://localhost:5173", "http://localhost:5173/oauth/callback"),
                        ("http://[::1]:5173", "http://[::1]:5173/oauth/callback")):
        # Past the checks: this code is nobody's.
        fails(401, "OAUTH_CREDENTIAL_INVALID", AUTH + "CompleteOIDCSignIn",
              {**good, "redirectUri": uri}, headers={"origin": origin})


def test_oidc_tokens_are_checked(_):
    assert oidc("forge", FORGE, KEY.token(claims(FORGE, nonce="n")))["token"]
    for bad in ({"nonce": "another"}, {}, {"nonce": 7}, {"nonce": "n", "aud": "another"},
                {"nonce": "n", "iss": FORGE.url + "/"}, {"nonce": "n", "iss": FORGE.url[7:]},
                {"nonce": "n", "exp": int(time.time()) - 61}):
        oidc("forge", FORGE, KEY.token(claims(FORGE, **bad)), 401, "OAUTH_CREDENTIAL_INVALID")
    oidc("forge", FORGE, KEY.token(claims(FORGE, nonce="n", email_verified=False)), 400,
         "INVALID_ARGUMENT")
    oidc("forge", FORGE, KEY.token(claims(GOOGLE, nonce="n")), 401, "OAUTH_CREDENTIAL_INVALID")


def test_client_authentication(_):
    """Basic by default, in the form where the provider takes only that."""
    FORGE.forms.clear()
    oidc("forge", FORGE, KEY.token(claims(FORGE, nonce="n")))
    form, authorization = FORGE.forms[-1]
    assert sorted(form) == ["code", "code_verifier", "grant_type", "redirect_uri"], form
    assert form["grant_type"] == "authorization_code" and form["redirect_uri"] == CALLBACK
    user, secret = base64.b64decode(authorization.split(" ")[1]).decode().split(":")
    assert user == CLIENT and secret == "s%3Ae%2Bc%2Fr%26e%3Dt%20%25~", secret
    oidc("post", ISSUERS["post"], KEY.token(claims(ISSUERS["post"], nonce="n")))
    form, authorization = ISSUERS["post"].forms[-1]
    assert authorization is None and form["client_secret"] == SECRET and form["client_id"] == CLIENT


def test_provider_in_trouble_is_unavailable(_):
    """The client may try again: nothing is said about the code."""
    for name in ("closed", "huge", "moved", "liar", "plain", "keys", "broken", "notoken"):
        answer = fails(503, "UNAVAILABLE", AUTH + "CompleteOIDCSignIn", oidc_body(name, "c"))
        assert answer["code"] == "unavailable", (name, answer)
    for status, headers, body in ((500, {}, b"{}"), (429, {}, b"{}"), (200, {}, b"{}"), (200, {}, b"<html>"),
                                  (200, {}, b'{"id_token":"' + b"x" * 300000 + b'"}'),
                                  (200, {}, b'{"id_token":"' + b"x" * 16385 + b'"}'),
                                  (307, {"Location": FORGE.url + "/token"}, b"")):
        ISSUERS["token"].answers["/token"] = status, headers, body
        fails(503, "UNAVAILABLE", AUTH + "CompleteOIDCSignIn", oidc_body("token", "c"))
    for error in (b'{"error":"invalid_grant"}', b"", b'{"error":"%s\\n"}' % (b"x" * 500)):
        ISSUERS["token"].answers["/token"] = 400, {}, error
        fails(401, "OAUTH_CREDENTIAL_INVALID", AUTH + "CompleteOIDCSignIn", oidc_body("token", "c"))


def test_failing_provider_is_not_asked_by_every_call(_):
    issuer = ISSUERS["broken"]
    before, start = issuer.asked.get(Forge.DISCOVERY, 0), time.monotonic()
    for _ in range(40):
        fails(503, "UNAVAILABLE", AUTH + "CompleteOIDCSignIn", oidc_body("broken", "c"))
    # Each worker once in three seconds.
    most = 2 * (1 + (time.monotonic() - start) // 3)
    assert issuer.asked[Forge.DISCOVERY] - before <= most, issuer.asked
    # And it comes back without a restart.
    issuer.answers.clear()
    end = time.monotonic() + 20
    issuer.codes["back"] = KEY.token(claims(issuer, nonce="n"))
    while P.call(AUTH + "CompleteOIDCSignIn", oidc_body("broken", "back"))[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_calls_wait_for_one_fetch(_):
    issuer = ISSUERS["slow"]
    tokens = [KEY.token(claims(issuer, nonce="n")) for _ in range(8)]
    issuer.delay = 0.4
    pairs = parallel([lambda t=t: oidc("slow", issuer, t) for t in tokens])
    assert len({customer(p) for p in pairs}) == 8
    # One for each worker at most.
    assert issuer.asked[Forge.DISCOVERY] <= 2 and issuer.asked["/keys"] <= 2, issuer.asked


def test_call_leaves_at_its_deadline(_):
    issuer = ISSUERS["late"]
    issuer.delay = 3
    start = time.monotonic()
    got, answer, _ = P.call(AUTH + "CompleteOIDCSignIn", oidc_body("late", "c"),
                            headers={"connect-timeout-ms": "300"})
    assert got == 504 and reason(answer) == "DEADLINE_EXCEEDED", answer
    assert time.monotonic() - start < 2


def test_keys_rotate_within_one_call(_):
    issuer, new = ISSUERS["rotate"], Key("new")
    # A connection of each worker: every one of them has keys of its own.
    conns = [of[0] for of in P.connections_by_worker().values()]
    for conn in conns:
        oidc("rotate", issuer, KEY.token(claims(issuer, nonce="n")), conn=conn)
    issuer.keys = [new.jwk()]
    for conn in conns:
        oidc("rotate", issuer, new.token(claims(issuer, nonce="n")), conn=conn)
    for conn in conns:
        oidc("rotate", issuer, KEY.token(claims(issuer, nonce="n")), 401, "OAUTH_CREDENTIAL_INVALID",
             conn=conn)
        conn.close()
    before = dict(issuer.asked)
    assert before["/keys"] <= 4, before
    for i in range(20):
        oidc("rotate", issuer, KEY.token(claims(issuer, nonce="n"), kid=f"made up {i}"), 401,
             "OAUTH_CREDENTIAL_INVALID")
    # Within ten seconds of the rotation: not once more, for either worker.
    assert issuer.asked["/keys"] <= 4, (before, issuer.asked)


def test_keys_that_do_not_fit_are_passed_over(_):
    issuer = ISSUERS["mixed"]
    small, big = Key("small", 1024), KEY.jwk(kid="big")
    issuer.keys = [{"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
                   KEY.jwk(kid="enc", use="enc"), KEY.jwk(kid="rs512", alg="RS512"),
                   KEY.jwk(kid="ops", use=None, key_ops=["sign"]), small.jwk(),
                   KEY.jwk(kid="even", e="BA"), KEY.jwk(kid="one", e="AQ"), KEY.jwk(kid="junk", n="!!"),
                   KEY.jwk(kid="long", e=b64(b"\1" * 9)), KEY.jwk(kid=7), "text", big]
    assert oidc("mixed", issuer, KEY.token(claims(issuer, nonce="n"), kid="big"))["token"]
    for kid in ("enc", "rs512", "ops", "even", "one", "junk", "long", "ec"):
        oidc("mixed", issuer, KEY.token(claims(issuer, nonce="n"), kid=kid), 401,
             "OAUTH_CREDENTIAL_INVALID")
    oidc("mixed", issuer, small.token(claims(issuer, nonce="n")), 401, "OAUTH_CREDENTIAL_INVALID")


def test_old_keys_serve_while_the_issuer_is_down(_):
    issuer = ISSUERS["old"]

    def sign_in(conn):
        oidc("old", issuer, KEY.token(claims(issuer, nonce="n")), conn=conn)

    # Every worker knows the keys: a connection of each, because which takes one is chance.
    conns = [of[0] for of in P.connections_by_worker().values()]
    for conn in conns:
        sign_in(conn)
    issuer.fail()
    before = issuer.asked[Forge.DISCOVERY]
    for conn in conns:
        sign_in(conn)
        conn.close()
    assert issuer.asked[Forge.DISCOVERY] > before, issuer.asked
    # Whether there is a new key, nobody can say now.
    oidc("old", issuer, KEY.token(claims(issuer, nonce="n"), kid="new"), 503, "UNAVAILABLE")


# ---- configuration ----


def test_check_and_reload_refuse_a_bad_file(_):
    with open(CONFIG, encoding="utf-8") as f:
        good = f.read()
    bad = good.replace('"clientId"', '"cleintId"', 1)
    place = 'auth_config_file: auth.providers[0]: unknown key "cleintId"'
    try:
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write(bad)
        with tempfile.NamedTemporaryFile(mode="wb") as secret:
            secret.write(b"k" * 48)
            secret.flush()
            command = [P.binary, "check", "-o", "auth_config_file=" + CONFIG,
                       "-o", "credential_file=" + secret.name]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1 and done.stderr == place + "\n" and not done.stdout, done
            with open(CONFIG, "w", encoding="utf-8") as f:
                f.write(good)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and "pugd check: good\nversion=" in done.stdout, done
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write(bad)
        reload("rejected")
        assert place in P.log() and P.ok(AUTH + "GetAuthConfig")["providers"]
        assert place in P.admin()["last_error"], P.admin()["last_error"]
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write(good.replace('"Basic"', '"Renamed"'))
        reload("completed")
        assert P.ok(AUTH + "GetAuthConfig")["providers"][0]["displayName"] == "Renamed"
    finally:
        with open(CONFIG, "w", encoding="utf-8") as f:
            f.write(good)


def status():
    """The page is gone for a moment while the master execs itself."""
    while True:
        try:
            return P.admin()
        except OSError:
            time.sleep(0.01)


def reload(counter):
    before, end = P.admin()[counter], time.monotonic() + 60
    os.kill(P.info["master_pid"], signal.SIGHUP)
    while status()[counter] == before:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_worker_refuses_a_bad_file(variant):
    with tempfile.NamedTemporaryFile(mode="w") as f:
        f.write('{"version": 2, "secret": "hush"}')
        f.flush()
        bad = pug.Pug(variant, options=["auth_config_file=" + f.name])
        try:
            bad.start()
        except RuntimeError as e:
            text = str(e)
        finally:
            bad.clean()
        assert 'configuration refused: auth_config_file: top level: unknown key "secret"' in text, text
        assert "hush" not in text


def test_no_secret_in_the_log(_):
    """Last: of everything that the other tests said."""
    log = P.log().split("Stop: ^C")[-1]
    assert "sign-in refused provider=google why=" in log
    for text in {*SAID, SECRET, "people.example", "access_token"}:
        assert len(text) < 8 or text not in log, text


PROVIDERS, ISSUERS, CONFIG = [], {}, None


def provider(name, issuer, **extra):
    PROVIDERS.append({"id": name, "type": "oidc", "displayName": name.capitalize(),
                      "clientId": CLIENT, "issuerUrl": issuer, **extra})


def forged(name, **extra):
    ISSUERS[name] = Forge(KEY)
    provider(name, ISSUERS[name].url, **extra)
    return ISSUERS[name]


def make_providers():
    provider("basic", REAL, clientId="basic", clientSecret=SECRET)
    provider("open", REAL, clientId="open", scopes=["openid", "email", "profile"])
    provider("wrong", REAL, clientId="basic", clientSecret="wrong")
    forge = forged("forge", clientSecret=SECRET)
    forged("post", clientSecret=SECRET).document = {
        "token_endpoint_auth_methods_supported": ["client_secret_post", "none"]}
    provider("closed", closed_url())
    forged("huge").document = {"x": "y" * 300000}
    moved = forged("moved")
    moved.answers[Forge.DISCOVERY] = 302, {"Location": forge.url + Forge.DISCOVERY}, b""
    forged("liar").document = {"issuer": forge.url}
    forged("plain").document = {"token_endpoint": "http://example.com/token"}
    forged("keys").keys = [KEY.jwk(kid=str(i)) for i in range(65)]
    forged("broken").fail()
    forged("notoken").answers["/keys"] = 200, {}, b'{"keys": 1}'
    forged("old").max_age = 0
    for name in ("token", "slow", "late", "rotate", "mixed"):
        forged(name)
    return forge


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    KEY = Key("first")
    GOOGLE = Forge(KEY)
    node, REAL = real_provider(CALLBACK, SECRET)
    try:
        FORGE = make_providers()
        with tempfile.TemporaryDirectory(prefix="pugt-") as folder:
            CONFIG = os.path.join(folder, "auth.json")
            with open(CONFIG, "w", encoding="utf-8") as f:
                json.dump({"version": 1, "auth": {"providers": PROVIDERS}}, f)
            with pug.Pug(variant, options=["workers=2", "google_client_id=" + CLIENT,
                                           "google_issuer=" + GOOGLE.url,
                                           "auth_config_file=" + CONFIG]) as P:
                code = pug.main(tests, expects=("auth_config_file: ",))
    finally:
        node.stdin.close()
        node.wait(10)
    sys.exit(code)
