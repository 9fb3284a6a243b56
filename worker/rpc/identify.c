/*
 * ProfilesSDKService: who is who (D26, D60). The change itself is one statement, so
 * that it is committed as a whole and every query sees it on return; here traits are
 * sorted into those to set and those to remove.
 */
#include <string.h>

#include "proto/json.h"
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "worker/call/call.h"

static struct str text(const char *z)
{
	return z ? str_of(z) : STR("");
}

struct traits {
	struct str set; /* JSON */
	struct db_texts removed;
};

static bool is_null(const Google__Protobuf__Value *v)
{
	return v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET ||
	       v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
}

/* Keeps what is to be set in `fields`, and notes what is to be removed. An address is
 * never kept (4.2). Only this map's own list is changed: its entries may be others' as well
 * (proto/wire_read.c). */
static void sort_out(Google__Protobuf__Struct *fields, struct str *removed, int *n_removed)
{
	size_t n = 0;

	for (size_t i = 0; i < fields->n_fields; i++) {
		Google__Protobuf__Struct__FieldsEntry *f = fields->fields[i];

		if (strcmp(f->key, "$ip") == 0)
			continue;
		if (is_null(f->value))
			removed[(*n_removed)++] = str_of(f->key);
		else
			fields->fields[n++] = f;
	}
	fields->n_fields = n;
}

static int take_traits(struct call *c, Google__Protobuf__Struct *in, struct traits *out)
{
	struct str *removed = call_alloc(c, ((in ? in->n_fields : 0) + 1) * sizeof(*removed));
	struct buf json;

	*out = (struct traits){STR("{}"), {removed, 0}};
	if (!removed)
		return -1;
	if (!in)
		return 0;
	sort_out(in, removed, &out->removed.n);
	buf_init(&json, c->arena);
	if (json_write(pb_msg_find(STR("google.protobuf.Struct")), &in->base, &json) < 0 &&
		!json.over)
		return call_fail(
			c, CODE_INVALID_ARGUMENT, NULL, "traits cannot be written as JSON");
	if (json.over)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "traits need too much memory");
	out->set = (struct str){json.p, json.n};
	return 0;
}

static int failed(struct call *c)
{
	if (c->db.err.kind == DB_CHECK &&
		strcmp(c->db.err.constraint, "profiles_properties_size") == 0)
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL,
			"traits: a profile holds at most 256 KiB of them");
	return call_fail_db(c, &c->db);
}

static int project_gone(struct call *c)
{
	return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
}

int rpc_profiles_sdk_identify(struct call *c, const Profiles__V1__IdentifyRequest *in,
	Profiles__V1__IdentifyResponse *out)
{
	struct q_identify_row row;
	struct traits traits;
	char id[21];
	int n;

	if (take_traits(c, in->traits, &traits) < 0)
		return -1;
	hash_xid(id);
	n = q_identify(&c->db,
		&(struct q_identify_args){.project = c->who.project,
			.new_id = str_of(id),
			.external_id = str_of(in->external_id),
			.anonymous_id = text(in->anonymous_id),
			.traits = traits.set,
			.removed = traits.removed},
		&row);
	if (n < 0)
		return failed(c);
	if (n == 0)
		return project_gone(c);
	if (row.taken)
		return call_fail(c, CODE_INVALID_ARGUMENT, NULL,
			"anonymous_id is the external_id of a profile; Alias joins two of them");
	out->profile_id = call_str(c, row.profile_id);
	return out->profile_id ? 0 : -1;
}

int rpc_profiles_sdk_alias(
	struct call *c, const Profiles__V1__AliasRequest *in, Profiles__V1__AliasResponse *out)
{
	struct q_identity_alias_row row = {.again = true};
	char id[21];
	int n = 1;

	hash_xid(id);
	/* Merging two profiles stops every other change of the project's people, joining
	 * somebody anonymous does not; which it is shows only inside. */
	for (int whole = 0; n == 1 && row.again && whole <= 1; whole++)
		n = q_identity_alias(&c->db,
			&(struct q_identity_alias_args){.project = c->who.project,
				.new_id = str_of(id),
				.previous_id = str_of(in->previous_id),
				.external_id = str_of(in->external_id),
				.whole = whole == 1},
			&row);
	if (n < 0)
		return failed(c);
	if (n == 0)
		return project_gone(c);
	out->profile_id = call_str(c, row.profile_id);
	return out->profile_id ? 0 : -1;
}
