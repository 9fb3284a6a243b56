/*
 * Step 6: may they (auth.md 3). Kinds of credential were settled by authn; what
 * remains is the role of a person in the org of the project or of the message.
 * Which rows are visible is not decided here but in the SQL of the handler.
 */
#include "q.h"
#include "worker/worker.h"
#include "worker/call/call.h"

/* Roles are ordered: 1 may all that 2 may, 2 all that 3 may. */
static int check_role(struct call *c)
{
	enum pb_role least = (enum pb_role)c->method->role;

	if (c->who.role == PB_ROLE_NONE)
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_NOT_A_MEMBER",
			"you are not a member of this organisation");
	if (least != PB_ROLE_NONE && c->who.role > least)
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_ROLE_FORBIDDEN",
			"your role in this organisation does not allow this");
	return 0;
}

/* The string field org_id of the request; absent reads as empty. A method that
 * is gated by org and has no such field is a bug of the proto. */
static struct str org_of(const struct call *c)
{
	const struct pb_field *f = pb_field_named(c->method->in, STR("org_id"));
	char *const *member;

	if (!f || f->type != PB_STRING || f->label == PB_REPEATED)
		return (struct str){NULL, 0};
	member = (char *const *)(const void *)((const char *)c->in + f->offset);
	return str_of(*member);
}

static int check_org(struct call *c)
{
	struct principal *who = &c->who;
	struct str org = org_of(c);
	struct q_authz_org_role_args args = {
		.org_id = org, .customer_id = str_of(who->customer_id)};
	struct q_authz_org_role_row row;
	int n = 0;

	who->role = PB_ROLE_NONE;
	if (org.n > 0 && org.n < sizeof(who->org_id))
		n = q_authz_org_role(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n > 0) {
		who->role = (enum pb_role)row.role;
		memcpy(who->org_id, org.p, org.n);
		who->org_id[org.n] = '\0';
	}
	return check_role(c);
}

int call_authz(struct call *c)
{
	/* Everybody shares the demo visitor: what it could change, itself included, the
	 * next visitor would meet (D12). */
	if (c->who.demo && !c->method->no_side_effects && !c->method->server_stream)
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_ROLE_FORBIDDEN",
			"the demo account may not change anything");
	switch ((enum pb_authz)c->method->authz) {
	case PB_AUTHZ_PUBLIC:
	case PB_AUTHZ_SELF:
	case PB_AUTHZ_SDK:
		return 0;
	case PB_AUTHZ_ORG:
		return check_org(c);
	case PB_AUTHZ_PROJECT:
		return check_role(c);
	case PB_AUTHZ_SHARED:
		return c->who.kind == WHO_CUSTOMER ? check_role(c) : 0;
	}
	/* A table from a newer generator: closed rather than open. */
	return call_fail(c, CODE_INTERNAL, NULL, "internal error");
}
