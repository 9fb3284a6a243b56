#!/usr/bin/env python3
"""Who may call what: every method of the protos, at each of its paths, by every kind of
caller. What is expected stands here as the contract has it (auth.md 3.3, D3, D12, D52),
not as the protos' options say it."""
import base64
import concurrent.futures
import json
import os
import sys
import time
import uuid

import protos
import pug

P = None
ORGS, PROJECTS = "/orgs.v1.OrgsService/", "/projects.v1.ProjectsService/"
VIEWER, MEMBER, ADMIN = 3, 2, 1

# kind of gate, lowest role. `project` and `org` are for people; `shared` also for private keys.
MATRIX = {
    "auth.v1.AuthService": {"*": ("public", None)},
    "dashboards.v1.SharedDashboardsService": {"Query": ("public", None)},
    "orgs.v1.OrgsService": {
        "List": ("self", None), "Create": ("self", None), "Leave": ("self", None),
        "Get": ("org", VIEWER), "ListMembers": ("org", VIEWER), "Update": ("org", ADMIN),
        "InviteMember": ("org", ADMIN), "ResendInvite": ("org", ADMIN),
        "RevokeInvite": ("org", ADMIN), "ListInvitations": ("org", ADMIN),
        "RemoveMember": ("org", ADMIN), "UpdateMemberRole": ("org", ADMIN)},
    "projects.v1.ProjectsService": {
        "List": ("org", VIEWER), "Create": ("org", ADMIN), "Get": ("project", VIEWER),
        "Delete": ("project", ADMIN), "Update": ("project", ADMIN),
        "ListApiKeys": ("project", VIEWER), "CreateApiKey": ("project", ADMIN),
        "RevokeApiKey": ("project", ADMIN)},
    "dashboards.v1.DashboardsService": {
        "Get": ("project", VIEWER), "List": ("project", VIEWER),
        "QueryDashboard": ("project", VIEWER), "Create": ("project", MEMBER),
        "Update": ("project", MEMBER), "Upsert": ("project", MEMBER),
        "Delete": ("project", MEMBER)},
    "orgemailproviders.v1.OrgEmailProvidersService": {"*": ("org", ADMIN)},
    "customers.v1.CustomersService": {
        "List": ("org", VIEWER), "Get": ("self", None), "Update": ("self", None),
        "GetMe": ("self", None), "SetPassword": ("self", None)},
    "usage.v1.UsageService": {"GetUsage": ("org", VIEWER)},
    "insights.v1.InsightsService": {"*": ("shared", VIEWER)},
    "activity.v1.ActivityService": {"*": ("shared", VIEWER)},
    "profiles.v1.ProfilesService": {
        "Get": ("shared", VIEWER), "GetByExternalId": ("shared", VIEWER),
        "List": ("shared", VIEWER), "ListAll": ("shared", VIEWER),
        "GetDeletionRequest": ("shared", VIEWER), "Delete": ("shared", MEMBER),
        "DeleteDataSubject": ("shared", MEMBER)},
    "profiles.v1.ProfilesSDKService": {"*": ("sdk", None)},
    "events.v1.EventsService": {"*": ("sdk", None)},
}
# What a method counts as reading; the demo visitor may call these only (D12, D50).
READS = ("Get", "List", "Query", "SegmentUsers")
RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
XID = "0" * 20


def bodies(world):
    """A valid request for each method whose answer is more than its gate; harmless ones."""
    org = {"orgId": world["org"]}
    return {
        "OrgsService": {
            "Create": {"displayName": "x"}, "Leave": {"orgId": XID}, "Get": org, "List": {},
            "Update": {**org, "displayName": "matrix"}, "ListMembers": org, "ListInvitations": org,
            "InviteMember": {**org, "email": f"{uuid.uuid4().hex}@example.com"},
            "ResendInvite": {**org, "invitationId": XID},
            "RevokeInvite": {**org, "invitationId": XID},
            "RemoveMember": {**org, "customerId": XID},
            "UpdateMemberRole": {**org, "customerId": XID, "role": "ORG_ROLE_VIEWER"}},
        "ProjectsService": {
            "List": org, "Create": {**org, "displayName": uuid.uuid4().hex}, "Get": {},
            "Update": {}, "Delete": {}, "ListApiKeys": {},
            "CreateApiKey": {"kind": "API_KEY_KIND_PUBLIC"}, "RevokeApiKey": {"id": XID}},
        "OrgEmailProvidersService": {
            "Get": org, "Delete": org, "SendTest": {**org, "recipient": "somebody@example.com"},
            "Upsert": {**org, "fromAddress": "a@example.com", "resend": {"apiKey": "re_0"}}},
        "CustomersService": {
            "List": org, "Get": {}, "GetMe": {}, "Update": {"displayName": "x"},
            "SetPassword": {"password": "matrix password"}},
        "UsageService": {"GetUsage": org},
        "EventsService": {"BatchCreate": {"events": []}},
        "InsightsService": {
            "Query": {"spec": {"insightType": "INSIGHT_TYPE_TRENDS",
                               "events": [{"event": {"kind": "x"}}]},
                      "granularity": "GRANULARITY_DAY", "timeRange": RANGE}},
        "ActivityService": {"List": {}},
        "DashboardsService": {
            "Create": {"displayName": "x"}, "Get": {"id": XID}, "List": {}, "Delete": {"id": XID},
            "Update": {"id": XID, "displayName": "x"}, "Upsert": {"id": XID, "displayName": "x"},
            "QueryDashboard": {"dashboardId": XID}},
        "SharedDashboardsService": {"Query": {"shareId": "0" * 64}},
    }


def reason(answer):
    raw = base64.b64decode(answer["details"][0]["value"] + "==")
    return raw[2:2 + raw[1]].decode()


def account(org=None, role=None):
    """A new person, in an org by SQL: how people get there is other suites' business."""
    email = f"m-{uuid.uuid4().hex[:12]}@example.com"
    token = P.ok("/auth.v1.AuthService/SignUp", {"email": email, "password": "long enough"})["token"]
    if org:
        P.psql("INSERT INTO pugd.org_members (org_id, customer_id, role) SELECT '%s', id, %d "
               "FROM pugd.customers WHERE lower(email) = '%s'" % (org, role, email))
    return token


def subject(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"]


def make_world():
    admin = account()
    org = P.ok(ORGS + "List", token=admin)["orgs"][0]["id"]
    outsider = account()
    foreign_org = P.ok(ORGS + "List", token=outsider)["orgs"][0]["id"]
    world = {"org": org, "foreign":
             P.ok(PROJECTS + "List", {"orgId": foreign_org}, token=outsider)["projects"][0]["id"]}
    head, body, sign = admin.split(".")
    world["tokens"] = {
        "garbage": "a.b.c", "tampered": f"{head}.{body}.{sign[:-4]}AAAA",
        "expired": expired_token(), "viewer": account(org, VIEWER),
        "member": account(org, MEMBER), "admin": admin, "outsider": outsider}
    return world


def expired_token():
    """From a server whose tokens live for a second, with the same keys."""
    with pug.Pug(P.variant, options=["jwt_lifetime=1s",
                                     "credential_file=" + os.path.join(P.data, "credential")]) as other:
        token = other.sign_in()
    time.sleep(1.2)
    return token


def new_project(world):
    return P.ok(PROJECTS + "Create", {"orgId": world["org"], "displayName": uuid.uuid4().hex},
                token=world["tokens"]["admin"])["project"]["id"]


def new_key(world, kind, project):
    return P.ok(PROJECTS + "CreateApiKey", {"kind": kind}, token=world["tokens"]["admin"],
                project=project)["key"]


NO = (401, "UNAUTHENTICATED")
DENIED = (403, "PERMISSION_DENIED")
FORBIDDEN = (403, "ORG_ROLE_FORBIDDEN")
STRANGER = (403, "ORG_NOT_A_MEMBER")
NO_PROJECT = (400, "PROJECT_REQUIRED")
YES = None


def expected(method, kind, least, caller):
    """What the gate says; YES: the call got through it."""
    if kind == "public":
        return YES
    if caller in ("none", "garbage", "tampered", "expired", "junk key"):
        return NO
    if caller in ("public key", "private key"):
        allowed = kind == "sdk" or (kind == "shared" and caller == "private key")
        return YES if allowed else DENIED
    if kind == "sdk" or caller == "foreign project":
        return DENIED
    if caller == "demo":
        reads = method.name.startswith(READS) and least in (None, VIEWER)
        return YES if reads else FORBIDDEN
    if caller == "outsider":
        return {"self": YES, "org": STRANGER}.get(kind, DENIED)
    if caller == "no project":
        return NO_PROJECT if kind in ("project", "shared") else YES
    role = {"viewer": VIEWER, "member": MEMBER, "admin": ADMIN}[caller]
    return YES if least is None or role <= least else FORBIDDEN


CALLERS = ("none", "garbage", "tampered", "expired", "junk key", "public key", "private key",
           "viewer", "member", "admin", "no project", "outsider", "foreign project", "demo")


def credentials(world, caller, project):
    if caller in ("public key", "private key"):
        return {"key": world["keys"][caller]}
    if caller == "junk key":
        return {"key": "prv_" + "0" * 40}
    if caller == "none":
        return {}
    if caller == "demo":
        return {"token": world["demo"], "project": P.info["project_id"]}
    if caller == "no project":
        return {"token": world["tokens"]["admin"]}
    if caller == "foreign project":
        return {"token": world["tokens"]["admin"], "project": world["foreign"]}
    return {"token": world["tokens"][caller], "project": project}


def check(world, method, path, caller, binary):
    kinds = MATRIX[method.service]
    kind, least = kinds.get(method.name) or kinds["*"]
    body = bodies(world).get(method.service.split(".")[-1], {}).get(method.name, {})
    if caller == "demo" and "orgId" in body and body["orgId"] != XID:
        body["orgId"] = P.info["org_id"]
    project = world["project"]
    if method.name == "Delete" and kind == "project" and caller == "admin":
        project = new_project(world)
    kw = credentials(world, caller, project)
    # Outsiders of a project-gated method name a project of their own org's neighbour.
    if caller == "outsider" and kind in ("self", "org"):
        kw.pop("project")
    want = expected(method, kind, least, caller)
    headers, raw = {}, None
    if method.server_stream:
        headers = {"content-type": "application/connect+json"}
        raw = b"\0\0\0\0\2{}"
    elif binary:
        headers, raw = {"content-type": "application/proto"}, method.encode(body)
    status, answer, _ = P.call(path, body, headers=headers, raw=raw, **kw)
    return verdict(method, caller, want, status, answer)


def verdict(method, caller, want, status, answer):
    what = f"{method.path} by {caller}: {status} {str(answer)[:200]}"
    if method.server_stream and isinstance(answer, bytes):
        while answer[0] & 2 == 0:
            answer = answer[5 + int.from_bytes(answer[1:5], "big"):]
        answer = json.loads(answer[5:]).get("error", {})
        status = {"unauthenticated": 401, "permission_denied": 403, "unimplemented": 501,
                  "invalid_argument": 400}.get(answer.get("code"), 200)
    if status == 501:
        # Not written yet: who is nobody, or holds the wrong kind of key, is told so first.
        planned = "rpc_" + method.service.split(".")[0]
        return None if want in (YES, FORBIDDEN, STRANGER) and planned in PLANNED else what
    if want is YES:
        bad = status in (401, 403) and reason(answer) in (
            "UNAUTHENTICATED", "PERMISSION_DENIED", "ORG_ROLE_FORBIDDEN", "ORG_NOT_A_MEMBER")
        return what if bad and method.service != "auth.v1.AuthService" else None
    return None if (status, reason(answer)) == want else f"{what}, expected {want}"


def planned():
    with open(os.path.join(pug.TOP, "worker/rpc/PLANNED"), encoding="utf-8") as f:
        return f.read()


def test_every_method_by_every_caller(_):
    world = make_world()
    world["project"] = new_project(world)
    world["keys"] = {"public key": new_key(world, "API_KEY_KIND_PUBLIC", world["project"]),
                     "private key": new_key(world, "API_KEY_KIND_PRIVATE", world["project"])}
    world["demo"] = P.sign_in(viewer=True)
    todo = []
    for method in protos.methods():
        kinds = MATRIX[method.service]
        assert method.name in kinds or "*" in kinds, f"{method.path} is not in the matrix"
        for path in [method.path, *method.aliases]:
            for caller in CALLERS:
                for binary in (False, True):
                    todo.append((world, method, path, caller, binary))
    # SetPassword signs others out, never the caller; so the order does not matter.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [bad for bad in pool.map(lambda t: check(*t), todo) if bad]
    assert len(todo) > 3000, len(todo)
    assert not found, f"{len(found)} of {len(todo)}:\n" + "\n".join(found[:20])


def test_a_role_counts_at_once(_):
    """Roles are read for each call: no token outlives a demotion or a removal."""
    admin = account()
    org = P.ok(ORGS + "List", token=admin)["orgs"][0]["id"]
    project = P.ok(PROJECTS + "List", {"orgId": org}, token=admin)["projects"][0]["id"]
    other = account(org, ADMIN)
    where = f"WHERE org_id = '{org}' AND customer_id = '{subject(other)}'"
    for change, want in ((None, (200, None)),
                         (f"UPDATE pugd.org_members SET role = {VIEWER} {where}", FORBIDDEN),
                         (f"UPDATE pugd.org_members SET role = {ADMIN} {where}", (200, None)),
                         (f"DELETE FROM pugd.org_members {where}", DENIED)):
        if change:
            P.psql(change)
        status, answer, _ = P.call(PROJECTS + "Update", {}, token=other, project=project)
        assert (status, None if status == 200 else reason(answer)) == want, (change, answer)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    PLANNED = planned()
    with pug.Pug(variant, options=["workers=2", "hash_queue=1000"]) as P:
        P.variant = variant
        sys.exit(pug.main(tests))
