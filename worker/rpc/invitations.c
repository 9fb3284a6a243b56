/*
 * OrgsService: invitations (auth.md 5.1). Only the mail knows an invitation's link; what
 * redeems it is AuthService. Sending again replaces the link and starts the seven days anew.
 */
#include <string.h>

#include "proto/orgs/v1/orgs.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "worker/call/call.h"
#include "worker/call/limit.h"
#include "worker/rpc/link.h"
#include "worker/worker.h"

/* Of auth.md 5.1. The sentence of SENT_TOO_OFTEN says ten, too. */
enum { LIFETIME_DAYS = 7, SENDS_PER_DAY = 10 };
static const int64_t lifetime_us = LIFETIME_DAYS * 86400LL * 1000000;

/* As in invitations.sql. */
enum outcome {
	DONE = 1,
	NO_ADMIN,
	NO_INVITATION,
	NOT_PENDING,
	SENT_TOO_OFTEN,
	IS_MEMBER,
	IS_INVITED
};

static const struct {
	enum code code;
	const char *reason, *text;
} failures[] = {
	[NO_ADMIN] = {CODE_PERMISSION_DENIED, "ORG_ADMIN_REQUIRED",
		"you are no longer an admin of this organisation"},
	[NOT_PENDING] = {CODE_FAILED_PRECONDITION, "INVITATION_NOT_PENDING",
		"invitation_id: the invitation was accepted already"},
	[SENT_TOO_OFTEN] = {CODE_FAILED_PRECONDITION, "INVITATION_SEND_LIMIT",
		"this invitation was sent ten times within a day, try again later"},
	[IS_MEMBER] = {CODE_ALREADY_EXISTS, "ORG_MEMBER_ALREADY_EXISTS",
		"email: this person is a member already"},
	[IS_INVITED] = {CODE_ALREADY_EXISTS, "INVITATION_ALREADY_PENDING",
		"email: this person is invited already; send the invitation again or revoke it"},
};

/* An outcome without a row above, DONE included, is a bug and no success. */
static int not_done(struct call *c, int32_t outcome, const char *id)
{
	size_t i = (size_t)outcome;

	if (outcome == NO_INVITATION)
		return call_fail_resource(c, "INVITATION_NOT_FOUND", "invitation", id,
			"invitation_id: the organisation has no such invitation");
	if (i >= sizeof(failures) / sizeof(failures[0]) || !failures[i].reason)
		return call_fail(c, CODE_INTERNAL, NULL, "internal error");
	return call_fail(c, failures[i].code, failures[i].reason, "%s", failures[i].text);
}

/* NULL after call_fail(). */
static Orgs__V1__OrgInvitation *invitation_message(
	struct call *c, const struct q_invitation_list_row *row, const char *org)
{
	Orgs__V1__OrgInvitation *m = call_alloc(c, sizeof(*m));

	if (!m)
		return NULL;
	orgs__v1__org_invitation__init(m);
	m->id = call_str(c, row->id);
	m->org_id = call_str(c, str_of(org));
	m->email = call_str(c, row->email);
	m->expires_at = call_str(c, row->expires_at);
	m->has_role = 1;
	m->role = (Orgs__V1__OrgRole)row->role;
	m->has_status = 1;
	m->status = (Orgs__V1__InvitationStatus)row->status;
	return m->id && m->org_id && m->email && m->expires_at ? m : NULL;
}

/* The two statements that make one pending do not return its status. */
static Orgs__V1__OrgInvitation *pending(
	struct call *c, const struct q_invitation_list_row *row, const char *org)
{
	struct q_invitation_list_row copy = *row;

	copy.status = ORGS__V1__INVITATION_STATUS__INVITATION_STATUS_PENDING;
	return invitation_message(c, &copy, org);
}

/* The link comes first: a server that cannot mail it must not leave an invitation. An explicit
 * role 0 counts as an absent one (auth.md 1.7). */
int rpc_orgs_invite_member(struct call *c, const Orgs__V1__InviteMemberRequest *in,
	Orgs__V1__InviteMemberResponse *out)
{
	struct q_invitation_create_row row;
	struct link link;
	char id[21];

	/* whoever invites chooses the mailbox, and may revoke and invite again */
	if (limit_link(c, str_of(in->email)) != 0 || link_make(c, LINK_INVITATION, &link) < 0)
		return -1;
	hash_xid(id);
	struct q_invitation_create_args args = {
		.id = str_of(id),
		.org_id = str_of(in->org_id),
		.email = str_of(in->email),
		.role = in->has_role && in->role ? (int32_t)in->role : PB_ROLE_MEMBER,
		.inviter_id = str_of(c->who.customer_id),
		.lifetime_us = lifetime_us,
		.token_hash = link_digest(&link),
		.mail_id = str_of(link.mail_id),
		.secret = link.sealed,
	};
	/* The sealed text and the hash are all that is needed from here on. */
	explicit_bzero(link.text, sizeof(link.text));
	if (q_invitation_create(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	if (row.outcome != DONE)
		return not_done(c, row.outcome, id);
	out->invitation = pending(c,
		&(struct q_invitation_list_row){
			.id = args.id,
			.email = args.email,
			.role = args.role,
			.expires_at = row.expires_at,
		},
		in->org_id);
	return out->invitation ? 0 : -1;
}

int rpc_orgs_list_invitations(struct call *c, const Orgs__V1__ListInvitationsRequest *in,
	Orgs__V1__ListInvitationsResponse *out)
{
	struct q_invitation_list_row *rows;
	int n = q_invitation_list(
		&c->db, &(struct q_invitation_list_args){.org_id = str_of(in->org_id)}, &rows);

	if (n < 0)
		return call_fail_db(c, &c->db);
	out->invitations = call_alloc(c, ((size_t)n + 1) * sizeof(*out->invitations));
	if (!out->invitations)
		return -1;
	for (int i = 0; i < n; i++) {
		out->invitations[i] = invitation_message(c, &rows[i], in->org_id);
		if (!out->invitations[i])
			return -1;
		out->n_invitations++;
	}
	return 0;
}

/* The two statements of sending again, inside `tx`. *row gets what clients see. 0, or -1
 * after call_fail(). Counting waits for the lock, or two at once would not see each other's link
 * (invitations.sql). */
static int resend(struct call *c, struct db *tx, const struct q_invitation_resend_args *args,
	struct q_invitation_list_row *row)
{
	struct q_invitation_lock_row old;
	struct q_invitation_resend_row new;
	struct q_invitation_lock_args lock = {.id = args->id, .org_id = args->org_id};
	int n = q_invitation_lock(tx, &lock, &old);

	if (n < 0)
		return call_fail_db(c, tx);
	if (n == 0)
		return not_done(c, NO_INVITATION, args->id.p);
	if (old.status != ORGS__V1__INVITATION_STATUS__INVITATION_STATUS_PENDING)
		return not_done(c, NOT_PENDING, args->id.p);
	if (q_invitation_resend(tx, args, &new) < 0)
		return call_fail_db(c, tx);
	if (new.outcome != DONE)
		return not_done(c, new.outcome, args->id.p);
	*row = (struct q_invitation_list_row){
		.id = args->id,
		.email = old.email,
		.role = old.role,
		.expires_at = new.expires_at,
	};
	return 0;
}

/* Whatever needs no lock is done before the transaction. */
int rpc_orgs_resend_invite(struct call *c, const Orgs__V1__ResendInviteRequest *in,
	Orgs__V1__ResendInviteResponse *out)
{
	struct q_invitation_list_row row;
	struct link link;
	struct db tx;

	if (link_make(c, LINK_INVITATION, &link) < 0)
		return -1;
	struct q_invitation_resend_args args = {
		.id = str_of(in->invitation_id),
		.org_id = str_of(in->org_id),
		.caller_id = str_of(c->who.customer_id),
		.most = SENDS_PER_DAY,
		.lifetime_us = lifetime_us,
		.token_hash = link_digest(&link),
		.mail_id = str_of(link.mail_id),
		.secret = link.sealed,
	};
	explicit_bzero(link.text, sizeof(link.text));
	if (db_begin(&tx, c->w->db, c->arena, c->deadline_ms) < 0)
		return call_fail_db(c, &tx);
	if (resend(c, &tx, &args, &row) < 0) {
		db_rollback(&tx);
		return -1;
	}
	if (db_commit(&tx) < 0)
		return call_fail_db(c, &tx);
	out->invitation = pending(c, &row, in->org_id);
	return out->invitation ? 0 : -1;
}

int rpc_orgs_revoke_invite(struct call *c, const Orgs__V1__RevokeInviteRequest *in,
	Orgs__V1__RevokeInviteResponse *out)
{
	struct q_invitation_revoke_row row;
	struct q_invitation_revoke_args args = {
		.id = str_of(in->invitation_id), .org_id = str_of(in->org_id)};
	int n = q_invitation_revoke(&c->db, &args, &row);
	(void)out;

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return not_done(c, NO_INVITATION, in->invitation_id);
	return row.outcome == DONE ? 0 : not_done(c, row.outcome, in->invitation_id);
}
