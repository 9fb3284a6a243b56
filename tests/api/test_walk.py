#!/usr/bin/env python3
"""One person's way through the services of people, four times: in JSON and in binary, at the
canonical and at the released paths. Sign-up, invitation from the mail, roles, keys, mail provider,
other providers' tokens, refresh and its replay, the end."""
import datetime
import json
import os
import re
import sys
import tempfile
import time
import uuid

import mailbox
import protos
import pug
import test_oidc as oidc
from forge import Forge, Key, real_provider
from test_accounts import reason

METHODS = {f"{m.service.split('.')[-1]}/{m.name}": m for m in protos.methods()}
P = KEY = GOOGLE = CONTEXT = None
CLIENT = "walk-client"


class Walker:
    """Calls by service and method name, in one codec and at one kind of path."""

    def __init__(self, binary, released):
        self.binary, self.released = binary, released
        self.called = set()

    def __call__(self, name, body=None, want=200, **kw):
        m = METHODS[name]
        path = m.aliases[0] if self.released and m.aliases else m.path
        self.called.add(name)
        if not self.binary:
            status, answer, _ = P.call(path, body or {}, **kw)
        else:
            raw = m.encode(body or {})
            P.secrets |= pug.secrets_in(body or {}, set())
            status, answer, _ = P.call(path, None, raw=raw,
                                       headers={"content-type": "application/proto"}, **kw)
            if status == 200:
                answer = m.decode(answer)
        if want == 200:
            assert status == 200, (path, status, answer)
            return answer
        assert status == want[0] and reason(answer) == want[1], (path, status, answer)
        return answer


def mailed_token(email):
    """Of the newest mail to the address in the folder."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for name in os.listdir(P.info["mail_dir"]):
            if name.endswith(".eml"):
                with open(os.path.join(P.info["mail_dir"], name), "rb") as f:
                    message = mailbox.parse(f.read())
                if message["To"].addresses[0].addr_spec == email:
                    os.unlink(os.path.join(P.info["mail_dir"], name))
                    return re.search(r"token=([0-9a-f]+)", message.text).group(1)
        time.sleep(0.02)
    raise AssertionError("no mail to " + email)


def address():
    return f"w{uuid.uuid4().hex[:12]}@example.com"


def people(w, admin, org):
    """Invitation, acceptance from the mail, roles, and leaving. Returns the guest's token."""
    guest = address()
    made = w("OrgsService/InviteMember", {"orgId": org, "email": guest, "role": "ORG_ROLE_VIEWER"}, token=admin)
    first = mailed_token(guest)
    w("OrgsService/ResendInvite", {"orgId": org, "invitationId": made["invitation"]["id"]}, token=admin)
    second = mailed_token(guest)
    w("AuthService/CompleteMagicLink", {"token": first}, want=(400, "INVALID_TOKEN"))
    pair = w("AuthService/CompleteMagicLink", {"token": second, "timezone": "Asia/Tokyo"})
    token = pair["token"]
    me = w("CustomersService/GetMe", token=token)
    assert me["email"] == guest and me["emailVerified"] is True, me
    w("OrgsService/Update", {"orgId": org, "displayName": "no"}, want=(403, "ORG_ROLE_FORBIDDEN"), token=token)
    role = {"orgId": org, "customerId": me["customerId"], "role": "ORG_ROLE_ADMIN"}
    assert w("OrgsService/UpdateMemberRole", role, token=admin)["member"]["role"] == "ORG_ROLE_ADMIN"
    assert w("OrgsService/Update", {"orgId": org, "displayName": "Walk"}, token=token)["org"]["displayName"] == "Walk"
    assert len(w("OrgsService/ListMembers", {"orgId": org}, token=token)["members"]) == 2
    assert len(w("CustomersService/List", {"orgId": org}, token=token)["customers"]) == 2
    w("CustomersService/Update", {"displayName": "Guest"}, token=token)
    seen = w("CustomersService/Get", {"customerId": me["customerId"]}, token=admin)["customer"]
    assert seen["displayName"] == "Guest", seen
    w("CustomersService/SetPassword", {"password": "a long password"}, token=token)
    w("AuthService/SignIn", {"email": guest, "password": "a long password"})
    spare = w("OrgsService/InviteMember", {"orgId": org, "email": address()}, token=admin)["invitation"]["id"]
    w("OrgsService/RevokeInvite", {"orgId": org, "invitationId": spare}, token=admin)
    assert [i["status"] for i in w("OrgsService/ListInvitations", {"orgId": org}, token=admin)["invitations"]] == \
        ["INVITATION_STATUS_ACCEPTED"]
    w("OrgsService/Leave", {"orgId": org}, token=token)
    w("OrgsService/Get", {"orgId": org}, want=(403, "ORG_NOT_A_MEMBER"), token=token)
    w("OrgsService/RemoveMember", {"orgId": org, "customerId": me["customerId"]},
      want=(404, "ORG_MEMBER_NOT_FOUND"), token=admin)


def keys(w, admin, org):
    name = uuid.uuid4().hex
    project = w("ProjectsService/Create", {"orgId": org, "displayName": name,
                                           "reportingTimezone": "Europe/Berlin"}, token=admin)["project"]["id"]
    in_project = {"token": admin, "project": project}
    w("ProjectsService/Update", {"displayName": name + "2"}, **in_project)
    assert w("ProjectsService/Get", **in_project)["project"]["displayName"] == name + "2"
    made = w("ProjectsService/CreateApiKey", {"kind": "API_KEY_KIND_PRIVATE"}, **in_project)
    event = {"events": [{"name": "walked", "distinctId": "w", "eventId": str(uuid.uuid4())}]}
    assert int(w("EventsService/BatchCreate", event, key=made["key"])["eventsCreated"]) == 1
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT00:00:00Z")
    used = w("UsageService/GetUsage", {"orgId": org}, token=admin)
    assert used["usedEvents"] == "1" and used["daily"][0]["projectId"] == project, used
    assert used["daily"][0]["day"] <= today
    w("ProjectsService/RevokeApiKey", {"id": made["apiKey"]["id"]}, **in_project)
    w("EventsService/BatchCreate", event, want=(401, "UNAUTHENTICATED"), key=made["key"])
    assert len(w("ProjectsService/ListApiKeys", **in_project)["apiKeys"]) == 1
    w("ProjectsService/Delete", **in_project)
    w("ProjectsService/Get", want=(403, "PERMISSION_DENIED"), **in_project)
    assert project not in [p["id"] for p in w("ProjectsService/List", {"orgId": org}, token=admin)["projects"]]


def provider(w, admin, org, email):
    with mailbox.SmtpServer(starttls=CONTEXT) as server:
        w("OrgEmailProvidersService/Upsert", {
            "orgId": org, "fromAddress": "walk@shop.example",
            "smtp": {"host": "127.0.0.1", "port": server.port, "useTls": True}}, token=admin)
        got = w("OrgEmailProvidersService/Get", {"orgId": org}, token=admin)
        assert got["kind"] == "ORG_EMAIL_PROVIDER_KIND_SMTP", got
        sent = w("OrgEmailProvidersService/SendTest", {"orgId": org, "recipient": email}, token=admin)
        assert sent["success"] and server.mails[0].to == [email], sent
    w("OrgEmailProvidersService/Delete", {"orgId": org}, token=admin)
    w("OrgEmailProvidersService/Get", {"orgId": org}, want=(404, "EMAIL_PROVIDER_NOT_FOUND"), token=admin)


def other_ways_in(w, email):
    w("AuthService/RequestMagicLink", {"email": email})
    w("AuthService/SignInWithMagicLink", {"token": mailed_token(email)})
    assert w("AuthService/SignInWithMagicLink", {"email": email})["sent"] is True
    mailed_token(email)
    now = int(time.time())
    claims = {"iss": GOOGLE.url, "aud": CLIENT, "iat": now, "exp": now + 300, "sub": email,
              "email": email, "email_verified": True, "name": "Walker"}
    body = {"provider": "O_AUTH_PROVIDER_GOOGLE", "credential": KEY.token(claims)}
    w("AuthService/SignInWithOAuth", body)
    offered = w("AuthService/GetAuthConfig")["providers"]
    assert [p["id"] for p in offered] == ["basic"], offered
    # A real OpenID provider, whose pages are walked through, too.
    login = "w" + uuid.uuid4().hex[:10]
    pair = w("AuthService/CompleteOIDCSignIn", oidc.real_flow("basic", login))
    me = w("CustomersService/GetMe", token=pair["token"])
    assert me["email"] == f"{login}@people.example" and me["emailVerified"], me
    demo = w("AuthService/DemoSignIn")
    assert demo["projectId"] == P.info["project_id"]
    w("OrgsService/Create", {"displayName": "x"}, want=(403, "ORG_ROLE_FORBIDDEN"), token=demo["token"])


def sessions(w, email):
    pair = w("AuthService/SignIn", {"email": email, "password": "walk this way"})
    first = pair["refreshToken"]
    second = w("AuthService/RefreshToken", {"refreshToken": first})["refreshToken"]
    assert w("AuthService/RefreshToken", {"refreshToken": first})["refreshToken"] == second, "within the grace"
    P.psql("UPDATE pugd.refresh_tokens SET consumed_at = consumed_at - interval '11 seconds' "
           "WHERE consumed_at IS NOT NULL")
    w("AuthService/RefreshToken", {"refreshToken": first}, want=(401, "INVALID_TOKEN"))
    w("AuthService/RefreshToken", {"refreshToken": second}, want=(401, "INVALID_TOKEN"))
    pair = w("AuthService/SignIn", {"email": email, "password": "walk this way"})
    w("AuthService/SignOut", {"refreshToken": pair["refreshToken"]})
    w("AuthService/RefreshToken", {"refreshToken": pair["refreshToken"]}, want=(401, "INVALID_TOKEN"))


def walk(binary, released):
    w, email = Walker(binary, released), address()
    admin = w("AuthService/SignUp", {"email": email, "password": "walk this way", "displayName": "Ada"})["token"]
    w("AuthService/RequestMagicLink", {"email": email})
    pair = w("AuthService/CompleteMagicLink", {"token": mailed_token(email)})
    # The address is shown to be theirs: what was set up before ended (D84).
    w("AuthService/SignIn", {"email": email, "password": "walk this way"}, want=(401, "INVALID_CREDENTIALS"))
    w("CustomersService/SetPassword", {"password": "walk this way"}, token=pair["token"])
    admin = pair["token"]
    org = w("OrgsService/List", token=admin)["orgs"][0]["id"]
    assert w("OrgsService/Create", {"displayName": "Second"}, token=admin)["org"]["role"] == "ORG_ROLE_ADMIN"
    people(w, admin, org)
    keys(w, admin, org)
    provider(w, admin, org, email)
    other_ways_in(w, email)
    sessions(w, email)
    services = ("AuthService", "OrgsService", "ProjectsService", "CustomersService",
                "OrgEmailProvidersService", "UsageService")
    left = {n for n in METHODS if n.startswith(services)} - w.called
    assert not left, f"not walked: {left}"


def test_json_canonical(_):
    walk(False, False)


def test_json_released(_):
    walk(False, True)


def test_binary_canonical(_):
    walk(True, False)


def test_binary_released(_):
    walk(True, True)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    KEY = Key("walk")
    GOOGLE = Forge(KEY)
    node, oidc.REAL = real_provider(oidc.CALLBACK, oidc.SECRET)
    with tempfile.TemporaryDirectory(prefix="pugt-walk-") as folder:
        os.chmod(folder, 0o755)
        ca, CONTEXT = mailbox.certificate(folder)
        config = os.path.join(folder, "auth.json")
        with open(config, "w", encoding="utf-8") as f:
            json.dump({"version": 1, "auth": {"providers": [{
                "id": "basic", "type": "oidc", "displayName": "Walk", "clientId": "basic",
                "clientSecret": oidc.SECRET, "issuerUrl": oidc.REAL}]}}, f)
        options = ["workers=2", "google_client_id=" + CLIENT, "google_issuer=" + GOOGLE.url,
                   "auth_config_file=" + config, "outbound_ca_file=" + ca]
        try:
            with pug.Pug(variant, options=options) as P:
                oidc.P = P
                code = pug.main(tests)
        finally:
            node.stdin.close()
            node.wait(10)
    sys.exit(code)
