/* OrgsService: the organisations a person belongs to (auth.md 5.1). Members and invitations
 * have files of their own. */
#include "proto/orgs/v1/orgs.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "worker/call/call.h"
#include "worker/rpc/apikey.h"

/* NULL after call_fail(). */
static Orgs__V1__Org *org_message(struct call *c, struct str id, struct str name, int32_t role)
{
	Orgs__V1__Org *org = call_alloc(c, sizeof(*org));
	if (!org)
		return NULL;
	orgs__v1__org__init(org);
	org->id = call_str(c, id);
	org->display_name = call_str(c, name);
	org->has_role = 1;
	org->role = (Orgs__V1__OrgRole)role;
	return org->id && org->display_name ? org : NULL;
}

/* Authz let the caller pass: the membership, or the org, went since. */
static int org_gone(struct call *c, const char *id)
{
	return call_fail_resource(c, "ORG_NOT_FOUND", "org", id, "org_id: no such organisation");
}

int rpc_orgs_list(struct call *c, const Orgs__V1__ListRequest *in, Orgs__V1__ListResponse *out)
{
	struct q_org_list_row *rows;
	(void)in;
	int n = q_org_list(&c->db,
		&(struct q_org_list_args){.customer_id = str_of(c->who.customer_id)}, &rows);
	if (n < 0)
		return call_fail_db(c, &c->db);
	out->orgs = call_alloc(c, ((size_t)n + 1) * sizeof(*out->orgs));
	if (!out->orgs)
		return -1;
	for (int i = 0; i < n; i++) {
		out->orgs[i] = org_message(c, rows[i].id, rows[i].display_name, rows[i].role);
		if (!out->orgs[i])
			return -1;
		out->n_orgs++;
	}
	return 0;
}

int rpc_orgs_get(struct call *c, const Orgs__V1__GetRequest *in, Orgs__V1__GetResponse *out)
{
	struct q_org_get_row row;
	struct q_org_get_args args = {
		.org_id = str_of(in->org_id), .customer_id = str_of(c->who.customer_id)};
	int n = q_org_get(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return org_gone(c, in->org_id);
	out->org = org_message(c, row.id, row.display_name, row.role);
	return out->org ? 0 : -1;
}

/* Only an admin gets here (orgs.proto), so the role of the answer is known. */
int rpc_orgs_update(
	struct call *c, const Orgs__V1__UpdateRequest *in, Orgs__V1__UpdateResponse *out)
{
	struct q_org_update_row row;
	struct q_org_update_args args = {
		.org_id = str_of(in->org_id), .display_name = str_of(in->display_name)};
	int n = q_org_update(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return org_gone(c, in->org_id);
	out->org = org_message(c, row.id, row.display_name, PB_ROLE_ADMIN);
	return out->org ? 0 : -1;
}

/* Ids and key are made here, and one statement stores everything: the answer needs nothing of its
 * row, and no org is left without admin or project. */
int rpc_orgs_create(
	struct call *c, const Orgs__V1__CreateRequest *in, Orgs__V1__CreateResponse *out)
{
	struct q_org_create_row row;
	struct apikey key;
	char org[21], project[21];
	apikey_make(&key, APIKEY_PUBLIC);
	hash_xid(org);
	hash_xid(project);
	struct q_org_create_args args = {
		.org_id = str_of(org),
		.display_name = str_of(in->display_name),
		.customer_id = str_of(c->who.customer_id),
		.project_id = str_of(project),
		.key_id = str_of(key.id),
		.key = str_of(key.text),
		.key_digest = apikey_digest(&key),
		.key_hint = str_of(key.hint),
	};
	if (q_org_create(&c->db, &args, &row) < 0)
		return call_fail_db(c, &c->db);
	out->org = org_message(c, str_of(org), str_of(in->display_name), PB_ROLE_ADMIN);
	return out->org ? 0 : -1;
}
