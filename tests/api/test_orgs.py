#!/usr/bin/env python3
"""Renaming and inviting (auth.md 5.1), up to the link that waits in the outbox. What redeems
it is AuthService."""
import datetime
import sys
import uuid

import pug
import test_accounts
from test_accounts import ORGS, reason
from test_protocol import fields
from people import Later, Person, alias, at_once, binary, database, join, until

PENDING, ACCEPTED = "INVITATION_STATUS_PENDING", "INVITATION_STATUS_ACCEPTED"
WEEK = datetime.timedelta(days=7)
P = None
BOSS = None


def setup():
    global BOSS
    BOSS = BOSS or Person()
    return BOSS, BOSS.org()


def address():
    return f"Guest.{uuid.uuid4().hex[:10]}@Example.com"


def both(method):
    return ORGS + method, alias(ORGS + method)


def invite(org, email=None, **extra):
    return BOSS.ok(ORGS + "InviteMember", {"orgId": org, "email": email or address(),
                                           **extra})["invitation"]


def invitations(org):
    return BOSS.ok(ORGS + "ListInvitations", {"orgId": org}).get("invitations", [])


def in_a_week(text):
    t = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return abs(t - now - WEEK) < datetime.timedelta(minutes=1)


def tokens(db, invitation):
    return db.query("SELECT purpose, email, consumed_at IS NULL, expires_at = "
                    "(SELECT i.expires_at FROM pugd.org_invitations i WHERE i.id = invitation_id) "
                    f"FROM pugd.action_tokens WHERE invitation_id = '{invitation['id']}' "
                    "ORDER BY consumed_at IS NULL, create_time")


def mails(db, invitation):
    """Outbox rows by the tokens that they carry. The sender may have been there already."""
    return db.query("SELECT m.kind, m.org_id, m.recipient, m.secret IS NOT NULL OR m.state <> 1 "
                    "FROM pugd.mail_outbox m JOIN pugd.action_tokens t ON t.hash = m.token_hash "
                    f"WHERE t.invitation_id = '{invitation['id']}'")


def accept(db, invitation):
    db.query(f"UPDATE pugd.org_invitations SET status = 2 WHERE id = '{invitation['id']}'")


def test_rename(_):
    boss, org = setup()
    for path in both("Update"):
        name = "Zoo \u00fc " + uuid.uuid4().hex
        got = boss.ok(path, {"orgId": org, "displayName": name})["org"]
        assert got == {"id": org, "displayName": name, "role": "ORG_ROLE_ADMIN"}, got
        assert boss.ok(ORGS + "Get", {"orgId": org})["org"] == got
        status, answer = binary(path, (1, "Packed"), (2, org), token=boss.token)
        assert status == 200 and dict(fields(answer[0][1]))[1] == b"Packed", answer
        boss.ok(path, {"orgId": org, "displayName": "\u00e9" * 150})
        for name in ("", "\u00e9" * 151):
            boss.fails(400, "INVALID_ARGUMENT", path, {"orgId": org, "displayName": name})
        boss.fails(400, "INVALID_ARGUMENT", path, {"displayName": "x"})


def test_invite(_):
    boss, org = setup()
    want = []
    for path in both("InviteMember"):
        for extra, role in (({}, "MEMBER"), ({"role": 0}, "MEMBER"), ({"role": "ORG_ROLE_ADMIN"}, "ADMIN"),
                            ({"role": 2}, "MEMBER"), ({"role": 3}, "VIEWER")):
            email = address()
            got = boss.ok(path, {"orgId": org, "email": email, **extra})["invitation"]
            assert in_a_week(got["expiresAt"]), got
            assert got == {"id": got["id"], "orgId": org, "email": email, "status": PENDING,
                           "role": "ORG_ROLE_" + role, "expiresAt": got["expiresAt"]}, got
            assert len(got["id"]) == 20
            want.insert(0, got)
            with database() as db:
                assert tokens(db, got) == [("2", email, "t", "t")], tokens(db, got)
                assert mails(db, got) == [("2", org, email, "t")], mails(db, got)
                assert db.one(f"SELECT inviter_id FROM pugd.org_invitations WHERE id = '{got['id']}'") \
                    == boss.id
        status, answer = binary(path, (1, address()), (2, org), token=boss.token)
        assert status == 200 and dict(fields(answer[0][1]))[6] == 2, answer
        want.insert(0, None)
        for bad in ({"email": "x y"}, {"email": ""}, {}, {"email": "a@b.c", "role": 4},
                    {"email": "a" * 251 + "@b.cd"}):
            boss.fails(400, "INVALID_ARGUMENT", path, {"orgId": org, **bad})
    for path in both("ListInvitations"):
        got = boss.ok(path, {"orgId": org})["invitations"]
        assert len(got) == len(want) and all(w in (None, g) for w, g in zip(want, got)), got
        status, answer = binary(path, (1, org), token=boss.token)
        assert status == 200 and len(answer) == len(want)
    # another org sees none of it
    assert invitations(boss.org()) == []


def test_invite_twice(_):
    boss, org = setup()
    guest = Person()
    first = invite(org, guest.email)
    again = {"orgId": org, "email": guest.email.upper()}
    for path in both("InviteMember"):
        boss.fails(409, "INVITATION_ALREADY_PENDING", path, again)
    with database() as db:
        db.query("UPDATE pugd.org_invitations SET expires_at = now() - interval '1 day' "
                 f"WHERE id = '{first['id']}'")
    boss.fails(409, "INVITATION_ALREADY_PENDING", ORGS + "InviteMember", again)
    assert len(invitations(org)) == 1
    invite(boss.org(), guest.email)  # of another org
    # a member, in any spelling, is told first
    join(org, guest, 3)
    for email in (guest.email, guest.email.upper(), boss.email.lower()):
        for path in both("InviteMember"):
            boss.fails(409, "ORG_MEMBER_ALREADY_EXISTS", path, {"orgId": org, "email": email})
    # who joined and left may be invited again
    with database() as db:
        accept(db, first)
    guest.ok(ORGS + "Leave", {"orgId": org})
    second = invite(org, guest.email.lower(), role=1)
    assert [(i["id"], i["status"]) for i in invitations(org)] == \
        [(second["id"], PENDING), (first["id"], ACCEPTED)]


def test_resend(_):
    boss, org = setup()
    email = address()
    for path in both("ResendInvite"):
        made = invite(org, email, role=3)
        with database() as db:  # expired long ago
            for table, column in (("org_invitations", "id"), ("action_tokens", "invitation_id")):
                db.query(f"UPDATE pugd.{table} SET expires_at = now() - interval '1 day', "
                         "create_time = create_time - interval '8 days' "
                         f"WHERE {column} = '{made['id']}'")
        got = boss.ok(path, {"orgId": org, "invitationId": made["id"]})["invitation"]
        assert in_a_week(got.pop("expiresAt")), got
        assert got == {"id": made["id"], "orgId": org, "email": email, "status": PENDING,
                       "role": "ORG_ROLE_VIEWER"}, got
        status, answer = binary(path, (1, made["id"]), (2, org), token=boss.token)
        assert status == 200 and answer[0][0] == 1, answer
        with database() as db:
            rows = tokens(db, made)
            assert [(r[2], r[3]) for r in rows] == [("f", "f"), ("f", "t"), ("t", "t")] or \
                [r[2] for r in rows] == ["f", "f", "t"] and rows[2] == ("2", email, "t", "t"), rows
            assert len(mails(db, made)) == 3
        assert [i["id"] for i in invitations(org)] == [made["id"]]
        boss.ok(ORGS + "RevokeInvite", {"orgId": org, "invitationId": made["id"]})


def test_resend_limit(_):
    boss, org = setup()
    made, other = invite(org), invite(org)
    again = ORGS + "ResendInvite", {"orgId": org, "invitationId": made["id"]}
    for _ in range(9):
        boss.ok(*again)
    answer = boss.fails(400, "INVITATION_SEND_LIMIT", *again)
    assert answer["code"] == "failed_precondition", answer
    boss.ok(again[0], {"orgId": org, "invitationId": other["id"]})
    with database() as db:
        rows = tokens(db, made)
        assert [r[2] for r in rows] == ["f"] * 9 + ["t"] and len(mails(db, made)) == 10
        # the day slides on: one falls out, one may follow
        db.query("UPDATE pugd.action_tokens SET create_time = now() - interval '25 hours' WHERE hash = "
                 "(SELECT hash FROM pugd.action_tokens WHERE consumed_at IS NOT NULL AND "
                 f"invitation_id = '{made['id']}' ORDER BY create_time LIMIT 1)")
    boss.ok(*again)
    boss.fails(400, "INVITATION_SEND_LIMIT", *again)
    with database() as db:
        assert [r[2] for r in tokens(db, made)] == ["f"] * 10 + ["t"]


def test_resend_at_once(_):
    boss, org = setup()
    made = invite(org)
    call = ORGS + "ResendInvite", {"orgId": org, "invitationId": made["id"]}, {"token": boss.token}
    got = at_once(*[call] * 14)
    refused = [reason(answer) for status, answer in got if status != 200]
    assert refused == ["INVITATION_SEND_LIMIT"] * 5, got
    with database() as db:
        assert [r[2] for r in tokens(db, made)] == ["f"] * 9 + ["t"]
    for _ in range(5):  # revoked among them: then nothing remains
        made = invite(org)
        body = {"orgId": org, "invitationId": made["id"]}
        got = at_once(*[(ORGS + method, body, {"token": boss.token})
                        for method in ("ResendInvite",) * 4 + ("RevokeInvite",) + ("ResendInvite",) * 3])
        assert got[4] == (200, {}), got
        assert all(s == 200 or reason(a) == "INVITATION_NOT_FOUND" for s, a in got), got
        with database() as db:
            assert tokens(db, made) == []


def test_revoke(_):
    boss, org = setup()
    for path in both("RevokeInvite"):
        made = invite(org)
        with database() as db:
            assert boss.ok(path, {"orgId": org, "invitationId": made["id"]}) == {}
            assert tokens(db, made) == [] and invitations(org) == []
        answer = boss.fails(404, "INVITATION_NOT_FOUND", path, {"orgId": org, "invitationId": made["id"]})
        assert any(d["type"] == "google.rpc.ResourceInfo" for d in answer["details"]), answer
        again = invite(org, made["email"])
        assert again["id"] != made["id"]
        assert binary(path, (1, again["id"]), (2, org), token=boss.token) == (200, [])


def test_neither_foreign_nor_accepted(_):
    boss, org = setup()
    foreign = Person()
    their_org = foreign.org()
    made = invite(org)
    for method in ("ResendInvite", "RevokeInvite"):
        for path in both(method):
            for unknown in (made["id"], "0" * 20, "x"):
                foreign.fails(404, "INVITATION_NOT_FOUND", path,
                              {"orgId": their_org, "invitationId": unknown})
            boss.fails(400, "INVALID_ARGUMENT", path, {"orgId": org, "invitationId": ""})
    with database() as db:
        assert [r[2] for r in tokens(db, made)] == ["t"]
        accept(db, made)
    for method in ("ResendInvite", "RevokeInvite"):
        for path in both(method):
            answer = boss.fails(400, "INVITATION_NOT_PENDING", path,
                                {"orgId": org, "invitationId": made["id"]})
            assert answer["code"] == "failed_precondition", answer
    assert [i["status"] for i in invitations(org)] == [ACCEPTED]


def test_at_once(_):
    boss, org = setup()
    for _ in range(5):
        email = address()
        spelled = [email, email.lower(), email.upper(), email.swapcase()] * 2
        got = at_once(*[(ORGS + "InviteMember", {"orgId": org, "email": e}, {"token": boss.token})
                        for e in spelled])
        assert sorted(s for s, _ in got) == [200] + [409] * 7, got
        assert {reason(a) for s, a in got if s != 200} == {"INVITATION_ALREADY_PENDING"}, got
        (made,) = invitations(org)
        with database() as db:
            assert len(tokens(db, made)) == len(mails(db, made)) == 1
        got = at_once(*[(ORGS + "RevokeInvite", {"orgId": org, "invitationId": made["id"]},
                         {"token": boss.token})] * 8)
        assert sorted(s for s, _ in got) == [200] + [404] * 7, got
        assert {reason(a) for s, a in got if s != 200} == {"INVITATION_NOT_FOUND"}, got


def test_redeemed_meanwhile(_):
    """Redeeming locks the invitation, then its link. Who comes between must neither deadlock
    with it nor take back or repeat what was accepted."""
    boss, org = setup()
    for method in ("RevokeInvite", "ResendInvite"):
        made = invite(org)
        with database() as db:
            db.query(f"BEGIN; SELECT FROM pugd.org_invitations WHERE id = '{made['id']}' FOR UPDATE")
            late = Later(ORGS + method, {"orgId": org, "invitationId": made["id"]},
                         token=boss.token).waits()
            db.query("UPDATE pugd.action_tokens SET consumed_at = now() "
                     f"WHERE invitation_id = '{made['id']}'")
            accept(db, made)
            db.query("COMMIT")
            status, answer = late.result()
            assert status == 400 and reason(answer) == "INVITATION_NOT_PENDING", (status, answer)
            assert [r[2] for r in tokens(db, made)] == ["f"]


def test_a_lost_role_sends_nothing(_):
    boss, org = setup()
    friend = Person()
    join(org, friend, 1)
    made = invite(org)
    with database() as db:
        db.query(f"BEGIN; SELECT FROM pugd.org_invitations WHERE id = '{made['id']}' FOR UPDATE; "
                 f"DELETE FROM pugd.org_members WHERE customer_id = '{friend.id}' AND org_id = '{org}'")
        late = Later(ORGS + "ResendInvite", {"orgId": org, "invitationId": made["id"]},
                     token=friend.token).waits()
        db.query("COMMIT")
        status, answer = late.result()
        assert status == 403 and reason(answer) == "ORG_ADMIN_REQUIRED", (status, answer)
        assert len(tokens(db, made)) == 1


def test_no_secret_in_the_log(_):
    boss, org = setup()
    email = address()
    made = invite(org, email)
    boss.ok(ORGS + "ResendInvite", {"orgId": org, "invitationId": made["id"]})
    boss.fails(409, "INVITATION_ALREADY_PENDING", ORGS + "InviteMember", {"orgId": org, "email": email})
    until(lambda: "InviteMember" in P.log())
    log = P.log().split("Stop: ^C")[-1].lower()
    assert email.lower() not in log and boss.email.lower() not in log


def test_without_mail(_):
    with pug.Pug(P.variant, options=["mail_dir=", "workers=1"]) as quiet:
        token = quiet.sign_in()
        for method in ("InviteMember", "ResendInvite"):
            status, answer, _ = quiet.call(ORGS + method, {
                "orgId": quiet.info["org_id"], "email": "a@b.c", "invitationId": "0" * 20}, token=token)
            assert (status, answer["code"]) == (400, "failed_precondition"), answer
            assert "mail" in answer["message"], answer


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=["workers=2"]) as P:
        P.variant = variant
        test_accounts.P = P
        sys.exit(pug.main(tests))
