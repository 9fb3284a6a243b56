#!/usr/bin/env python3
"""Members and their roles (auth.md 5.1): who may do what, and an admin is always left."""
import sys

import pug
import test_accounts
from test_accounts import ORGS, reason
from people import Later, Person, alias, at_once, binary, database, join, roles

ADMIN, MEMBER, VIEWER = "ORG_ROLE_ADMIN", "ORG_ROLE_MEMBER", "ORG_ROLE_VIEWER"
ROUNDS = 20
P = None
CREW = []


def crew(*others):
    """An org of the first person as admin, and the next ones with these roles."""
    while len(CREW) <= len(others):
        CREW.append(Person())
    org = CREW[0].org()
    for person, role in zip(CREW[1:], others):
        join(org, person, role)
    return (org, *CREW[:len(others) + 1])


def test_list(_):
    org, a, b, c = crew(2, 3)
    want = [{"customerId": p.id, "displayName": "Pat", "email": p.email, "orgId": org, "role": r}
            for p, r in ((a, ADMIN), (b, MEMBER), (c, VIEWER))]
    for path in (ORGS + "ListMembers", alias(ORGS + "ListMembers")):
        for who in (a, b, c):
            assert who.ok(path, {"orgId": org})["members"] == want
        status, members = binary(path, (1, org), token=c.token)
        assert status == 200 and len(members) == 3
        assert P.call(path + "?encoding=json&connect=v1&message=%7B%22orgId%22%3A%22" + org + "%22%7D",
                      method="GET", token=a.token)[1]["members"] == want


def test_only_admins_change(_):
    org, a, b, c = crew(2, 3)
    stranger = Person()
    changes = (("RemoveMember", {"customerId": a.id}), ("RemoveMember", {"customerId": "nobody"}),
               ("UpdateMemberRole", {"customerId": c.id, "role": ADMIN}),
               ("UpdateMemberRole", {"customerId": b.id, "role": ADMIN}),
               ("Update", {"displayName": "Mine"}), ("ListInvitations", {}),
               ("InviteMember", {"email": "x@example.com"}),
               ("ResendInvite", {"invitationId": "0" * 20}),
               ("RevokeInvite", {"invitationId": "0" * 20}))
    for method, body in changes:
        for path in (ORGS + method, alias(ORGS + method)):
            for who in (b, c):
                who.fails(403, "ORG_ROLE_FORBIDDEN", path, {**body, "orgId": org})
            known = stranger.fails(403, "ORG_NOT_A_MEMBER", path, {**body, "orgId": org})
            unknown = stranger.fails(403, "ORG_NOT_A_MEMBER", path, {**body, "orgId": "0" * 20})
            assert known["message"] == unknown["message"]
            # what is wrong in itself is said first
            b.fails(400, "INVALID_ARGUMENT", path, {})
    stranger.fails(403, "ORG_NOT_A_MEMBER", ORGS + "ListMembers", {"orgId": org})
    assert roles(org) == {a.id: "1", b.id: "2", c.id: "3"}


def test_keys_and_visitors_change_nothing(_):
    org = P.info["org_id"]
    viewer = P.sign_in(viewer=True)
    for method, body in (("Leave", {}), ("RemoveMember", {"customerId": "0" * 20}),
                         ("UpdateMemberRole", {"customerId": "0" * 20, "role": ADMIN}),
                         ("Update", {"displayName": "Mine"}),
                         ("InviteMember", {"email": "x@example.com"})):
        for key in (P.info["private_key"], P.info["public_key"]):
            test_accounts.fails(403, "PERMISSION_DENIED", ORGS + method, {**body, "orgId": org}, key=key)
        test_accounts.fails(403, "ORG_ROLE_FORBIDDEN", ORGS + method, {**body, "orgId": org},
                            token=viewer)
        assert P.call(ORGS + method, {**body, "orgId": org})[0] == 401
    P.ok(ORGS + "ListMembers", {"orgId": org}, token=viewer)


def test_remove(_):
    for path in (ORGS + "RemoveMember", alias(ORGS + "RemoveMember")):
        org, a, b, c = crew(1, 2)
        a.fails(400, "ORG_CANNOT_REMOVE_SELF", path, {"orgId": org, "customerId": a.id})
        other = Person()
        for nobody in (other.id, "0" * 20, "x"):
            answer = a.fails(404, "ORG_MEMBER_NOT_FOUND", path, {"orgId": org, "customerId": nobody})
            assert any(d["type"] == "google.rpc.ResourceInfo" for d in answer["details"]), answer
        assert a.ok(path, {"orgId": org, "customerId": c.id}) == {}
        a.fails(404, "ORG_MEMBER_NOT_FOUND", path, {"orgId": org, "customerId": c.id})
        c.fails(403, "ORG_NOT_A_MEMBER", ORGS + "Get", {"orgId": org})
        assert binary(path, (1, b.id), (2, org), token=a.token) == (200, [])
        assert roles(org) == {a.id: "1"}
        a.fails(400, "INVALID_ARGUMENT", path, {"orgId": org, "customerId": ""})


def test_roles(_):
    for path in (ORGS + "UpdateMemberRole", alias(ORGS + "UpdateMemberRole")):
        org, a, b = crew(3)
        want = {"customerId": b.id, "displayName": "Pat", "email": b.email, "orgId": org}
        for role in (MEMBER, MEMBER, VIEWER, ADMIN):
            got = a.ok(path, {"orgId": org, "customerId": b.id, "role": role})["member"]
            assert got == {**want, "role": role}, got
        # now the other one is free to go down, by its own hand, and b remains
        assert a.ok(path, {"orgId": org, "customerId": a.id, "role": 3})["member"]["role"] == VIEWER
        a.fails(403, "ORG_ROLE_FORBIDDEN", path, {"orgId": org, "customerId": a.id, "role": ADMIN})
        for role in (MEMBER, VIEWER):
            b.fails(400, "CANNOT_DEMOTE_LAST_ADMIN", path,
                    {"orgId": org, "customerId": b.id, "role": role})
        assert b.ok(path, {"orgId": org, "customerId": b.id, "role": ADMIN})["member"]["role"] == ADMIN
        answer = b.fails(404, "ORG_MEMBER_NOT_FOUND", path,
                         {"orgId": org, "customerId": "0" * 20, "role": ADMIN})
        assert any(d["type"] == "google.rpc.ResourceInfo" for d in answer["details"]), answer
        for role in ({}, {"role": 0}, {"role": 4}, {"role": "ORG_ROLE_OWNER"}):
            b.fails(400, "INVALID_ARGUMENT", path, {"orgId": org, "customerId": a.id, **role})
        status, answer = binary(path, (1, org), (2, a.id), (3, 2), token=b.token)
        assert status == 200 and answer[0][0] == 1, answer
        assert roles(org) == {a.id: "2", b.id: "1"}


def test_leave(_):
    for path in (ORGS + "Leave", alias(ORGS + "Leave")):
        org, a, b, c = crew(2, 1)
        assert c.ok(path, {"orgId": org}) == {}
        c.fails(404, "ORG_MEMBER_NOT_FOUND", path, {"orgId": org})
        answer = a.fails(400, "CANNOT_REMOVE_LAST_ADMIN", path, {"orgId": org})
        assert answer["code"] == "failed_precondition", answer
        assert binary(path, (1, org), token=b.token) == (200, [])
        b.fails(403, "ORG_NOT_A_MEMBER", ORGS + "Get", {"orgId": org})
        # last admin goes before last member; a lone member without that role is the other
        a.fails(400, "CANNOT_REMOVE_LAST_ADMIN", path, {"orgId": org})
        with database() as db:
            db.query(f"UPDATE pugd.org_members SET role = 2 WHERE org_id = '{org}'")
        a.fails(400, "CANNOT_LEAVE_AS_LAST_MEMBER", path, {"orgId": org})
        for nothing in (org, "0" * 20, "x"):
            answer = b.fails(404, "ORG_MEMBER_NOT_FOUND", path, {"orgId": nothing})
            assert all(d["type"] != "google.rpc.ResourceInfo" for d in answer["details"]), answer
        b.fails(400, "INVALID_ARGUMENT", path, {"orgId": ""})


def race(first, second, lost, left):
    """Both at once, often: one succeeds, the other one fails for one of these reasons, and
    `left` members and one admin remain."""
    winners = [0, 0]
    for _ in range(ROUNDS):
        org, a, b = crew(1)
        got = at_once(first(org, a, b), second(org, a, b))
        done = [i for i, (status, _) in enumerate(got) if status == 200]
        assert len(done) == 1, got
        winners[done[0]] += 1
        assert reason(got[1 - done[0]][1]) in lost, got
        after = roles(org)
        assert len(after) == left and list(after.values()).count("1") == 1, after
    print("  winners", winners)


def leave(org, who):
    return ORGS + "Leave", {"orgId": org}, {"token": who.token}


def remove(org, who, whom):
    return ORGS + "RemoveMember", {"orgId": org, "customerId": whom.id}, {"token": who.token}


def demote(org, who, whom):
    return (ORGS + "UpdateMemberRole", {"orgId": org, "customerId": whom.id, "role": MEMBER},
            {"token": who.token})


def test_two_admins_leave_at_once(_):
    race(lambda o, a, b: leave(o, a), lambda o, a, b: leave(o, b), {"CANNOT_REMOVE_LAST_ADMIN"}, 1)


def test_two_admins_demote_each_other_at_once(_):
    race(lambda o, a, b: demote(o, a, b), lambda o, a, b: demote(o, b, a),
         {"ORG_ADMIN_REQUIRED", "ORG_ROLE_FORBIDDEN"}, 2)


def test_two_admins_demote_themselves_at_once(_):
    race(lambda o, a, b: demote(o, a, a), lambda o, a, b: demote(o, b, b),
         {"CANNOT_DEMOTE_LAST_ADMIN"}, 2)


def test_two_admins_remove_each_other_at_once(_):
    race(lambda o, a, b: remove(o, a, b), lambda o, a, b: remove(o, b, a),
         {"ORG_ADMIN_REQUIRED", "ORG_NOT_A_MEMBER"}, 1)


def test_remove_and_leave_at_once(_):
    # whoever is first, b is gone, and a cannot go
    race(lambda o, a, b: remove(o, a, b), lambda o, a, b: leave(o, b), {"ORG_MEMBER_NOT_FOUND"}, 1)


def test_remove_and_leave_of_the_remover_at_once(_):
    # a removes b and leaves: only the first of the two may happen
    race(lambda o, a, b: remove(o, a, b), lambda o, a, b: leave(o, a),
         {"CANNOT_REMOVE_LAST_ADMIN", "ORG_ADMIN_REQUIRED", "ORG_NOT_A_MEMBER"}, 1)


def test_a_crowd_of_admins_leaves_at_once(_):
    org, *people = crew(1, 1, 1, 1, 1, 1, 1)
    got = at_once(*[leave(org, p) for p in people])
    assert [status for status, _ in got].count(200) == len(people) - 1, got
    assert list(roles(org).values()) == ["1"]


def test_a_role_lost_while_waiting_counts(_):
    """The gate saw an admin; when the lock comes, it is one no more."""
    for change, call in (("UPDATE pugd.org_members SET role = 2", remove),
                         ("UPDATE pugd.org_members SET role = 2", demote),
                         ("DELETE FROM pugd.org_members", remove)):
        org, a, b, c = crew(1, 1)
        with database() as db:
            db.query("BEGIN")
            db.query(f"{change} WHERE org_id = '{org}' AND customer_id = '{a.id}'")
            path, body, kw = call(org, a, c)
            late = Later(path, body, **kw).waits()
            db.query("COMMIT")
        status, answer = late.result()
        assert status == 403 and reason(answer) == "ORG_ADMIN_REQUIRED", (status, answer)
        assert roles(org)[c.id] == "1"


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        test_accounts.P = P
        sys.exit(pug.main(tests))
