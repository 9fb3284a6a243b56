/* ProjectsService: projects of an org and their API keys (auth.md 5.2, D4, D12). */
#include <string.h>

#include "proto/projects/v1/projects.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "shm/keycache.h"
#include "worker/call/call.h"
#include "worker/rpc/apikey.h"
#include "worker/rpc/zone.h"
#include "worker/worker.h"

struct project_row {
	struct str id, org_id, name, zone;
};

/* NULL after call_fail(). */
static Projects__V1__Project *project_message(struct call *c, const struct project_row *row)
{
	Projects__V1__Project *p = call_alloc(c, sizeof(*p));
	if (!p)
		return NULL;
	projects__v1__project__init(p);
	p->id = call_str(c, row->id);
	p->org_id = call_str(c, row->org_id);
	p->display_name = call_str(c, row->name);
	p->reporting_timezone = call_str(c, row->zone);
	/* Released clients expect the field; push credentials are not kept (D56). */
	p->fcm_service_json = call_str(c, STR(""));
	if (!p->id || !p->org_id || !p->display_name || !p->reporting_timezone ||
		!p->fcm_service_json)
		return NULL;
	return p;
}

/* Authn has seen it: it was deleted since. */
static int project_gone(struct call *c)
{
	return call_fail_resource(c, "PROJECT_NOT_FOUND", "project", c->who.project_id,
		"x-project-id: the project does not exist any more");
}

/* A look-up that read a key before the COMMIT carries an older epoch, and one that began
 * afterwards does not find it: moving the epoch here is enough, and only a real revocation
 * may empty the cache for everybody. Also when the outcome is unknown. Before the answer: whoever
 * uses the key after that must be refused on every worker of the host (D4). */
static void keys_ended(struct call *c)
{
	keycache_bump(c->w->seg);
}

/* A unique index decides: of two calls at once only one can have the name (D12). */
static int failed_name(struct call *c)
{
	if (c->db.err.kind == DB_UNIQUE &&
		strcmp(c->db.err.constraint, "projects_org_name_key") == 0)
		return call_fail(c, CODE_ALREADY_EXISTS, "PROJECT_NAME_TAKEN",
			"display_name: the organisation has a project of this name already");
	return call_fail_db(c, &c->db);
}

int rpc_projects_list(
	struct call *c, const Projects__V1__ListRequest *in, Projects__V1__ListResponse *out)
{
	struct q_project_list_row *rows;
	int n = q_project_list(
		&c->db, &(struct q_project_list_args){.org_id = str_of(in->org_id)}, &rows);
	if (n < 0)
		return call_fail_db(c, &c->db);
	out->projects = call_alloc(c, ((size_t)n + 1) * sizeof(*out->projects));
	if (!out->projects)
		return -1;
	for (int i = 0; i < n; i++) {
		struct project_row row = {rows[i].id, rows[i].org_id, rows[i].display_name,
			rows[i].reporting_timezone};
		out->projects[i] = project_message(c, &row);
		if (!out->projects[i])
			return -1;
		out->n_projects++;
	}
	return 0;
}

int rpc_projects_get(
	struct call *c, const Projects__V1__GetRequest *in, Projects__V1__GetResponse *out)
{
	struct q_project_get_row row;
	(void)in;
	int n = q_project_get(
		&c->db, &(struct q_project_get_args){.project = c->who.project}, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return project_gone(c);
	out->project = project_message(c, &(struct project_row){row.id, row.org_id,
						  row.display_name, row.reporting_timezone});
	return out->project ? 0 : -1;
}

/* A zone that nobody knows becomes UTC here; Update refuses it (auth.md 5.2). No row: the role was
 * lost between authz and the statement, which asks for it again. */
int rpc_projects_create(
	struct call *c, const Projects__V1__CreateRequest *in, Projects__V1__CreateResponse *out)
{
	struct q_project_create_row row;
	struct apikey key;
	char id[21];
	apikey_make(&key, APIKEY_PUBLIC);
	hash_xid(id);
	struct q_project_create_args args = {
		.project_id = str_of(id),
		.org_id = str_of(in->org_id),
		.display_name = str_of(in->display_name),
		.reporting_timezone = zone_or_utc(in->reporting_timezone),
		.customer_id = str_of(c->who.customer_id),
		.key_id = str_of(key.id),
		.key = str_of(key.text),
		.key_digest = apikey_digest(&key),
		.key_hint = str_of(key.hint),
	};
	int n = q_project_create(&c->db, &args, &row);
	if (n < 0)
		return failed_name(c);
	if (n == 0)
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_ADMIN_REQUIRED",
			"only an admin of the organisation may create projects");
	out->project = project_message(c, &(struct project_row){args.project_id, args.org_id,
						  args.display_name, args.reporting_timezone});
	return out->project ? 0 : -1;
}

/* What is absent is NULL to the statement, and stays. A zone of "" is a text, and resets it to
 * UTC. */
int rpc_projects_update(
	struct call *c, const Projects__V1__UpdateRequest *in, Projects__V1__UpdateResponse *out)
{
	struct q_project_update_row row;
	struct q_project_update_args args = {
		.project = c->who.project, .display_name = str_of(in->display_name)};
	if (in->reporting_timezone &&
		zone_checked(c, in->reporting_timezone, &args.reporting_timezone) != 0)
		return -1;
	int n = q_project_update(&c->db, &args, &row);
	if (n < 0)
		return failed_name(c);
	if (n == 0)
		return project_gone(c);
	out->project = project_message(c, &(struct project_row){row.id, row.org_id,
						  row.display_name, row.reporting_timezone});
	return out->project ? 0 : -1;
}

int rpc_projects_delete(
	struct call *c, const Projects__V1__DeleteRequest *in, Projects__V1__DeleteResponse *out)
{
	struct q_project_delete_row row;
	struct q_project_delete_args args = {
		.project = c->who.project, .customer_id = str_of(c->who.customer_id)};
	(void)in;
	(void)out;
	int n = q_project_delete(&c->db, &args, &row);
	if (n == 0)
		return project_gone(c);
	if (n > 0 && row.outcome != 1)
		return call_fail(c, CODE_PERMISSION_DENIED, "ORG_ADMIN_REQUIRED",
			"only an admin of the organisation may delete projects");
	keys_ended(c);
	return n < 0 ? call_fail_db(c, &c->db) : 0;
}

/* key: of public ones only. Of private ones digest and hint are stored, nothing else (D4). */
struct key_row {
	struct str id, key, hint, name;
	int32_t kind;
	int64_t create_us;
};

/* NULL after call_fail(). */
static Projects__V1__ApiKey *key_message(struct call *c, const struct key_row *row)
{
	Projects__V1__ApiKey *k = call_alloc(c, sizeof(*k));
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));
	if (!k || !t)
		return NULL;
	projects__v1__api_key__init(k);
	google__protobuf__timestamp__init(t);
	t->seconds = row->create_us / 1000000;
	t->nanos = (int32_t)(row->create_us % 1000000) * 1000;
	k->create_time = t;
	k->id = call_str(c, row->id);
	k->display_name = call_str(c, row->name);
	k->has_kind = 1;
	k->kind = (Projects__V1__ApiKeyKind)row->kind;
	/* Public keys are shown in full, private ones never again (D4). */
	if (row->kind == APIKEY_PUBLIC)
		k->key = call_str(c, row->key);
	k->masked = call_str(c, row->hint);
	if (!k->id || !k->display_name || !k->masked || (row->kind == APIKEY_PUBLIC && !k->key))
		return NULL;
	return k;
}

/* The text of a private key goes into the answer and nowhere else. */
int rpc_projects_create_api_key(struct call *c, const Projects__V1__CreateApiKeyRequest *in,
	Projects__V1__CreateApiKeyResponse *out)
{
	struct q_api_key_create_row row;
	struct apikey key;
	bool public_key = in->kind == PROJECTS__V1__API_KEY_KIND__API_KEY_KIND_PUBLIC;
	apikey_make(&key, public_key ? APIKEY_PUBLIC : APIKEY_PRIVATE);
	struct q_api_key_create_args args = {
		.key_id = str_of(key.id),
		.project = c->who.project,
		.kind = public_key ? APIKEY_PUBLIC : APIKEY_PRIVATE,
		.digest = apikey_digest(&key),
		.key = public_key ? str_of(key.text) : (struct str){0},
		.hint = str_of(key.hint),
		.display_name = str_of(in->display_name),
	};
	int n = q_api_key_create(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return project_gone(c);
	out->key = call_str(c, str_of(key.text));
	out->api_key = key_message(c, &(struct key_row){args.key_id, args.key, args.hint,
					      str_of(in->display_name ? in->display_name : ""),
					      args.kind, row.create_time});
	return out->key && out->api_key ? 0 : -1;
}

/* For every role (auth.md 3.3): public keys are in web pages anyway, and of private ones the row
 * has no text. */
int rpc_projects_list_api_keys(struct call *c, const Projects__V1__ListApiKeysRequest *in,
	Projects__V1__ListApiKeysResponse *out)
{
	struct q_api_key_list_row *rows;
	(void)in;
	int n = q_api_key_list(
		&c->db, &(struct q_api_key_list_args){.project = c->who.project}, &rows);
	if (n < 0)
		return call_fail_db(c, &c->db);
	out->api_keys = call_alloc(c, ((size_t)n + 1) * sizeof(*out->api_keys));
	if (!out->api_keys)
		return -1;
	for (int i = 0; i < n; i++) {
		struct key_row row = {rows[i].id, rows[i].key, rows[i].hint, rows[i].display_name,
			rows[i].kind, rows[i].create_time};
		out->api_keys[i] = key_message(c, &row);
		if (!out->api_keys[i])
			return -1;
		out->n_api_keys++;
	}
	return 0;
}

int rpc_projects_revoke_api_key(struct call *c, const Projects__V1__RevokeApiKeyRequest *in,
	Projects__V1__RevokeApiKeyResponse *out)
{
	struct q_api_key_revoke_args args = {.key_id = str_of(in->id), .project = c->who.project};
	(void)out;
	int n = q_api_key_revoke(&c->db, &args);
	if (n == 0)
		return call_fail_resource(c, "API_KEY_NOT_FOUND", "api_key", in->id,
			"id: the project has no such API key");
	keys_ended(c);
	if (n < 0)
		return call_fail_db(c, &c->db);
	return 0;
}
