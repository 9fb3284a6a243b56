#!/usr/bin/env python3
"""Accounts, orgs, projects and keys through the real server, by what the answers mean."""
import base64
import concurrent.futures
import json
import sys
import time
import uuid

import pug

AUTH, ORGS, PROJECTS = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/", "/projects.v1.ProjectsService/"
P = None


def reason(answer):
    """ErrorInfo.reason: field 1 of the first detail."""
    detail = answer["details"][0]
    assert detail["type"] == "google.rpc.ErrorInfo", answer
    raw = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
    assert raw[0] == 0x0A, raw
    assert b"pug.sh" in raw, raw
    return raw[2:2 + raw[1]].decode()


def fails(status, want_reason, path, body=None, **kw):
    got, answer, headers = P.call(path, body, **kw)
    assert got == status, (path, got, answer)
    assert reason(answer) == want_reason, answer
    assert answer["message"], answer
    assert headers["x-request-id"], headers
    return answer


def new_account(**extra):
    email = f"Person-{uuid.uuid4().hex[:12]}@example.com"
    body = {"email": email, "password": "correct horse", "displayName": "Pat", **extra}
    pair = P.ok(AUTH + "SignUp", body)
    return email, pair["token"], pair["refreshToken"]


def first_project(token):
    org = P.ok(ORGS + "List", token=token)["orgs"][0]["id"]
    return org, P.ok(PROJECTS + "List", {"orgId": org}, token=token)["projects"][0]["id"]


def test_sign_up_makes_org_project_and_key(_):
    _, token, refresh = new_account(timezone="Europe/Berlin")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["iss"] == "pug/auth" and claims["exp"] - claims["iat"] == 900, claims
    assert len(claims["sub"]) == 20 and len(refresh) == 64
    orgs = P.ok(ORGS + "List", token=token)["orgs"]
    assert [(o["role"], o["displayName"]) for o in orgs] == [("ORG_ROLE_ADMIN", "Pat")], orgs
    org, project = first_project(token)
    got = P.ok(PROJECTS + "Get", token=token, project=project)["project"]
    assert got == {"id": project, "orgId": org, "displayName": "default", "fcmServiceJson": "",
                   "reportingTimezone": "Europe/Berlin"}, got
    keys = P.ok(PROJECTS + "ListApiKeys", token=token, project=project)["apiKeys"]
    assert len(keys) == 1 and keys[0]["kind"] == "API_KEY_KIND_PUBLIC", keys
    assert keys[0]["key"].startswith("pub_") and len(keys[0]["key"]) == 44


def test_sign_up_refuses(_):
    email, _, _ = new_account()
    fails(409, "EMAIL_TAKEN", AUTH + "SignUp", {"email": email.upper(), "password": "12345678"})
    for body, field in (({"password": "12345678"}, "email"),
                        ({"email": "x y", "password": "12345678"}, "email"),
                        ({"email": "a@b.c", "password": "short"}, "password"),
                        ({"email": "a@b.c", "password": "x" * 129}, "password"),
                        ({"email": "a@b.c", "password": "12345678", "displayName": ""},
                         "display_name")):
        answer = fails(400, "INVALID_ARGUMENT", AUTH + "SignUp", body)
        assert field in answer["message"], answer
        assert any(d["type"] == "google.rpc.BadRequest" for d in answer["details"]), answer
    # An unknown zone is taken for UTC, not refused.
    _, token, _ = new_account(timezone="Mars/Olympus")
    _, project = first_project(token)
    assert P.ok(PROJECTS + "Get", token=token,
                project=project)["project"]["reportingTimezone"] == ""


def test_sign_in(_):
    email, _, _ = new_account()
    for path in (AUTH + "SignIn", "/public.auth.v1.AuthService/SignInWithEmail"):
        pair = P.ok(path, {"email": email.lower(), "password": "correct horse"})
        assert P.ok(ORGS + "List", token=pair["token"])["orgs"]
    for body in ({"email": email, "password": "wrong"},
                 {"email": "nobody@example.com", "password": "wrong"}):
        answer = fails(401, "INVALID_CREDENTIALS", AUTH + "SignIn", body)
        assert answer["code"] == "unauthenticated"


def test_bcrypt_hash_is_upgraded(_):
    email, _, _ = new_account()
    # "correct horse" under bcrypt, made with crypt(3).
    import ctypes
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    old = crypt(b"correct horse", b"$2b$04$abcdefghijklmnopqrstuu").decode()
    P.psql(f"UPDATE pugd.customers SET password_hash = '{old}' WHERE lower(email) = '{email.lower()}'")
    P.ok(AUTH + "SignIn", {"email": email, "password": "correct horse"})
    row = P.psql(f"SELECT password_hash FROM pugd.customers WHERE lower(email) = '{email.lower()}'")
    assert row[0][0].startswith("$y$"), row
    P.ok(AUTH + "SignIn", {"email": email, "password": "correct horse"})


def test_refresh_rotation(_):
    _, _, first = new_account()
    second = P.ok(AUTH + "RefreshToken", {"refreshToken": first})
    # A lost reply: the same token within the grace repeats the same successor.
    again = P.ok(AUTH + "RefreshToken", {"refreshToken": first})
    assert again["refreshToken"] == second["refreshToken"] != first
    third = P.ok("/public.auth.v1.AuthService/RefreshSession",
                 {"refreshToken": second["refreshToken"]})
    # Also when the successor was used already (D58).
    assert P.ok(AUTH + "RefreshToken",
                {"refreshToken": first})["refreshToken"] == second["refreshToken"]
    P.ok(ORGS + "List", token=third["token"])
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": "0" * 64})
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": first + "00"})
    fails(400, "INVALID_ARGUMENT", AUTH + "RefreshToken", {"refreshToken": ""})


def test_refresh_reuse_revokes_family(_):
    email, _, first = new_account()
    second = P.ok(AUTH + "RefreshToken", {"refreshToken": first})["refreshToken"]
    P.psql("UPDATE pugd.refresh_tokens SET consumed_at = consumed_at - interval '11 seconds' "
           "WHERE consumed_at IS NOT NULL AND session_id IN (SELECT s.id FROM pugd.sessions s "
           f"JOIN pugd.customers c ON c.id = s.customer_id WHERE lower(c.email) = '{email.lower()}')")
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": first})
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": second})


def test_parallel_refresh_keeps_one_family(_):
    for _ in range(5):
        _, _, first = new_account()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: P.ok(AUTH + "RefreshToken", {"refreshToken": first}),
                                range(8)))
        assert len({g["refreshToken"] for g in got}) == 1, got
        P.ok(AUTH + "RefreshToken", {"refreshToken": got[0]["refreshToken"]})


def test_sign_out(_):
    email, _, refresh = new_account()
    other = P.ok(AUTH + "SignIn", {"email": email, "password": "correct horse"})["refreshToken"]
    assert P.ok(AUTH + "SignOut", {"refreshToken": refresh}) == {}
    fails(401, "INVALID_TOKEN", AUTH + "RefreshToken", {"refreshToken": refresh})
    P.ok(AUTH + "RefreshToken", {"refreshToken": other})
    assert P.ok(AUTH + "SignOut", {}) == {} == P.ok(AUTH + "SignOut", {"refreshToken": "nonsense"})


def test_credentials(_):
    _, token, _ = new_account()
    _, project = first_project(token)
    status, answer, headers = P.call(ORGS + "List")
    assert status == 401 and "www-authenticate" in headers, (status, headers)
    assert reason(answer) == "UNAUTHENTICATED"
    for bad in (token[:-2] + "aa", token + "x", "a.b.c", "pub_short"):
        fails(401, "UNAUTHENTICATED", ORGS + "List", token=bad)
    fails(400, "PROJECT_REQUIRED", PROJECTS + "Get", token=token)
    _, foreign_token, _ = new_account()
    _, foreign = first_project(foreign_token)
    a = fails(403, "PERMISSION_DENIED", PROJECTS + "Get", token=token, project=foreign)
    b = fails(403, "PERMISSION_DENIED", PROJECTS + "Get", token=token, project="0" * 20)
    assert a["message"] == b["message"]
    fails(403, "ORG_NOT_A_MEMBER", ORGS + "Get", {"orgId": "0" * 20}, token=token)
    # A public key may not read, a private one may not administer.
    P.ok(PROJECTS + "Get", token=token, project=project)
    key = P.ok(PROJECTS + "ListApiKeys", token=token, project=project)["apiKeys"][0]["key"]
    status, _, _ = P.call("/insights.v1.InsightsService/Query", {}, key=key)
    assert status == 403, status


def test_orgs(_):
    _, token, _ = new_account()
    made = P.ok("/dashboard.orgs.v1.OrgsService/Create", {"displayName": "Zoo \u00fc"},
                token=token)["org"]
    assert made["role"] == "ORG_ROLE_ADMIN" and made["displayName"] == "Zoo \u00fc"
    assert P.ok(ORGS + "Get", {"orgId": made["id"]}, token=token)["org"] == made
    assert [o["id"] for o in P.ok(ORGS + "List", token=token)["orgs"]][1:] == [made["id"]]
    projects = P.ok("/dashboard.projects.v1.ProjectsService/BatchGet", {"orgId": made["id"]},
                    token=token)["projects"]
    assert [p["displayName"] for p in projects] == ["default"]
    fails(400, "INVALID_ARGUMENT", ORGS + "Create", {"displayName": ""}, token=token)


def test_projects(_):
    _, token, _ = new_account()
    org, project = first_project(token)
    made = P.ok(PROJECTS + "Create", {"displayName": "Two", "orgId": org,
                                      "reportingTimezone": "Asia/Kolkata"}, token=token)["project"]
    assert made["reportingTimezone"] == "Asia/Kolkata"
    fails(409, "PROJECT_NAME_TAKEN", PROJECTS + "Create", {"displayName": "Two", "orgId": org},
          token=token)
    fails(409, "PROJECT_NAME_TAKEN", PROJECTS + "Update", {"displayName": "Two"}, token=token,
          project=project)
    got = P.ok(PROJECTS + "Update", {"reportingTimezone": "America/New_York"}, token=token,
               project=project)["project"]
    assert got["displayName"] == "default" and got["reportingTimezone"] == "America/New_York"
    answer = fails(400, "INVALID_TIMEZONE", "/dashboard.projects.v1.ProjectsService/UpdateMeta",
                   {"reportingTimezone": "Nowhere/City"}, token=token, project=project)
    assert "timezone" in answer["message"]
    for utc in ("", "UTC"):
        got = P.ok(PROJECTS + "Update", {"reportingTimezone": utc}, token=token, project=project)
        assert got["project"]["reportingTimezone"] == ""
    assert P.ok(PROJECTS + "Update", {}, token=token, project=project)["project"]["id"] == project
    fails(400, "INVALID_ARGUMENT", PROJECTS + "Update", {"displayName": ""}, token=token,
          project=project)


def test_revoked_key_fails_everywhere_at_once(_):
    _, token, _ = new_account()
    _, project = first_project(token)
    for _ in range(5):
        made = P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE", "displayName": "x"},
                    token=token, project=project)
        key = made["key"]
        assert "key" not in made["apiKey"] and made["apiKey"]["masked"] == key[:4] + "..." + key[-4:]
        # Every worker has some of the connections, and each has the key in the cache.
        by_worker = P.connections_by_worker(2)
        assert len(by_worker) == P.workers, by_worker
        conns = sum(by_worker.values(), [])
        for conn in conns:
            P.ok("/events.v1.EventsService/BatchCreate", {"events": []}, key=key, conn=conn)
        P.ok("/dashboard.projects.v1.ProjectsService/DeleteApiKey", {"id": made["apiKey"]["id"]},
             token=token, project=project)
        for conn in conns:
            fails(401, "UNAUTHENTICATED", "/events.v1.EventsService/BatchCreate", {"events": []},
                  key=key, conn=conn)
            conn.close()
        fails(404, "API_KEY_NOT_FOUND", PROJECTS + "RevokeApiKey", {"id": made["apiKey"]["id"]},
              token=token, project=project)


def test_vain_revocations_empty_no_cache(_):
    """Only a real revocation moves the epoch: or anybody could slow everybody."""
    _, token, _ = new_account()
    _, project = first_project(token)
    key = P.ok(PROJECTS + "ListApiKeys", token=token, project=project)["apiKeys"][0]["key"]
    conn = P.connect()
    for _ in range(2):
        P.ok("/events.v1.EventsService/BatchCreate", {"events": []}, key=key, conn=conn)
    misses = P.admin()["counters"]["key_misses"]
    for _ in range(5):
        fails(404, "API_KEY_NOT_FOUND", PROJECTS + "RevokeApiKey", {"id": "0" * 20}, token=token,
              project=project)
        P.ok(PROJECTS + "Update", {"reportingTimezone": "Asia/Tokyo"}, token=token, project=project)
        P.ok("/events.v1.EventsService/BatchCreate", {"events": []}, key=key, conn=conn)
    conn.close()
    # The poll of a second ago may have been late once on a busy machine.
    assert P.admin()["counters"]["key_misses"] <= misses + 1


def test_viewer_may_only_read(_):
    token = P.sign_in(viewer=True)
    project = P.info["project_id"]
    P.ok(PROJECTS + "Get", token=token, project=project)
    P.ok(PROJECTS + "ListApiKeys", token=token, project=project)
    for method, body in (("Update", {"displayName": "mine"}),
                         ("CreateApiKey", {"kind": "API_KEY_KIND_PUBLIC"}),
                         ("RevokeApiKey", {"id": "0" * 20})):
        fails(403, "ORG_ROLE_FORBIDDEN", PROJECTS + method, body, token=token, project=project)
    fails(403, "ORG_ROLE_FORBIDDEN", PROJECTS + "Create",
          {"displayName": "n", "orgId": P.info["org_id"]}, token=token)


def test_sign_in_failures_are_limited(_):
    email, _, _ = new_account()
    with pug.Pug(P.variant, options=["limit_scale=1", "limit_address_rate=0"]) as strict:
        codes = [strict.call(AUTH + "SignIn", {"email": email, "password": "wrong"})[0]
                 for _ in range(14)]
        assert codes[:10] == [401] * 10 and codes[-1] == 429, codes
        _, answer, headers = strict.call(AUTH + "SignIn", {"email": email, "password": "wrong"})
        assert int(headers["retry-after"]) >= 1 and reason(answer) == "RESOURCE_EXHAUSTED"


def test_no_secret_in_the_log(_):
    email, token, refresh = new_account()
    _, project = first_project(token)
    made = P.ok(PROJECTS + "CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"}, token=token,
                project=project)
    P.ok("/events.v1.EventsService/BatchCreate", {"events": []}, key=made["key"])
    P.call("/events.v1.EventsService/BatchCreate?api_key=" + P.info["public_key"], {"events": []})
    time.sleep(0.2)
    log = P.log().split("pugd serves at")[-1]
    after_banner = log.split("Stop: ^C")[-1]
    for secret in (token, refresh, made["key"], "correct horse", email, P.info["public_key"]):
        assert secret not in after_banner, secret


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=4"]) as P:
        P.variant, P.workers = variant, 4
        sys.exit(pug.main(tests))
