/*
 * OrgsService: who belongs to an organisation, and with which role (auth.md 5.1). What may
 * not happen, whoever else acts at the moment, is decided in sql/query/members.sql.
 */
#include <string.h>

#include "proto/orgs/v1/orgs.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "worker/call/call.h"

/* As in members.sql. */
enum outcome { DONE = 1, NO_ADMIN, NO_MEMBER, LAST_ADMIN, LAST_MEMBER };

/* LAST_ADMIN and LAST_MEMBER have another reason in each method, which tells it itself. */
static int not_done(struct call *c, int32_t outcome, const char *customer_id)
{
	switch ((enum outcome)outcome) {
	case NO_ADMIN:
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_ADMIN_REQUIRED",
			"you are no longer an admin of this organisation");
	case NO_MEMBER:
		return call_fail_resource(c, "ORG_MEMBER_NOT_FOUND", "org_member", customer_id,
			"customer_id: the organisation has no such member");
	case DONE:
	case LAST_ADMIN:
	case LAST_MEMBER:
		break;
	}
	return call_fail(c, CODE_INTERNAL, NULL, "internal error");
}

static int member_message(struct call *c, Orgs__V1__OrgMember *m,
	const struct q_member_list_row *row, const char *org)
{
	orgs__v1__org_member__init(m);
	m->customer_id = call_str(c, row->customer_id);
	m->display_name = call_str(c, row->display_name);
	m->email = call_str(c, row->email);
	m->org_id = call_str(c, str_of(org));
	m->has_role = 1;
	m->role = (Orgs__V1__OrgRole)row->role;
	return m->customer_id && m->display_name && m->email && m->org_id ? 0 : -1;
}

int rpc_orgs_list_members(
	struct call *c, const Orgs__V1__ListMembersRequest *in, Orgs__V1__ListMembersResponse *out)
{
	struct q_member_list_row *rows;
	int n = q_member_list(
		&c->db, &(struct q_member_list_args){.org_id = str_of(in->org_id)}, &rows);

	if (n < 0)
		return call_fail_db(c, &c->db);
	Orgs__V1__OrgMember *all = call_alloc(c, ((size_t)n + 1) * sizeof(*all));
	out->members = call_alloc(c, ((size_t)n + 1) * sizeof(all));
	if (!all || !out->members)
		return -1;
	for (int i = 0; i < n; i++) {
		if (member_message(c, &all[i], &rows[i], in->org_id) < 0)
			return -1;
		out->members[out->n_members++] = &all[i];
	}
	return 0;
}

/* Oneself is refused first (auth.md 5.1), and the statement counts on that: the caller, an admin,
 * stays. */
int rpc_orgs_remove_member(struct call *c, const Orgs__V1__RemoveMemberRequest *in,
	Orgs__V1__RemoveMemberResponse *out)
{
	struct q_member_remove_row row;
	struct q_member_remove_args args = {
		.org_id = str_of(in->org_id),
		.caller_id = str_of(c->who.customer_id),
		.customer_id = str_of(in->customer_id),
	};
	(void)out;

	if (strcmp(in->customer_id, c->who.customer_id) == 0)
		return call_fail(c, CODE_INVALID_ARGUMENT, "ORG_CANNOT_REMOVE_SELF",
			"customer_id: leave the organisation instead of removing yourself");
	if (q_member_remove(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	return row.outcome == DONE ? 0 : not_done(c, row.outcome, in->customer_id);
}

/* AUTHZ_SELF: nobody has looked yet whether the caller is a member. */
int rpc_orgs_leave(struct call *c, const Orgs__V1__LeaveRequest *in, Orgs__V1__LeaveResponse *out)
{
	struct q_member_leave_row row;
	struct q_member_leave_args args = {
		.org_id = str_of(in->org_id), .customer_id = str_of(c->who.customer_id)};
	(void)out;

	if (q_member_leave(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	switch ((enum outcome)row.outcome) {
	case DONE:
		return 0;
	case NO_MEMBER:
		/* No ResourceInfo: an organisation of others answers like none (auth.md 2.7). */
		return call_fail(c, CODE_NOT_FOUND, "ORG_MEMBER_NOT_FOUND",
			"org_id: you are not a member of this organisation");
	case LAST_ADMIN:
		return call_fail(c, CODE_FAILED_PRECONDITION, "CANNOT_REMOVE_LAST_ADMIN",
			"you are the last admin of this organisation: make somebody else an admin "
			"first");
	case LAST_MEMBER:
		return call_fail(c, CODE_FAILED_PRECONDITION, "CANNOT_LEAVE_AS_LAST_MEMBER",
			"you are the last member of this organisation");
	case NO_ADMIN:
		break;
	}
	return not_done(c, row.outcome, c->who.customer_id);
}

int rpc_orgs_update_member_role(struct call *c, const Orgs__V1__UpdateMemberRoleRequest *in,
	Orgs__V1__UpdateMemberRoleResponse *out)
{
	struct q_member_set_role_row row;
	struct q_member_set_role_args args = {
		.org_id = str_of(in->org_id),
		.caller_id = str_of(c->who.customer_id),
		.customer_id = str_of(in->customer_id),
		.role = (int32_t)in->role,
	};

	if (q_member_set_role(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	if (row.outcome == LAST_ADMIN)
		return call_fail(c, CODE_FAILED_PRECONDITION, "CANNOT_DEMOTE_LAST_ADMIN",
			"role: the organisation would have no admin any more");
	if (row.outcome != DONE)
		return not_done(c, row.outcome, in->customer_id);
	/* names come with DONE only, and the role is the one that was asked for */
	out->member = call_alloc(c, sizeof(*out->member));
	return out->member ? member_message(c, out->member,
				     &(struct q_member_list_row){args.customer_id, row.display_name,
					     row.email, args.role},
				     in->org_id)
			   : -1;
}
