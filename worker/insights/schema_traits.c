/*
 * The traits of profiles, nested ones as dotted paths; see schema.h. Lists are of no type
 * that a filter has, null and empty objects are no value.
 */
#include <math.h>
#include "proto/google/protobuf/struct.pb-c.h"
#include "proto/json.h"
#include "worker/insights/schema.h"

/* Longer paths are not listed: with as many as SCHEMA_NAMES_MAX they must fit in memory. */
enum { PATH_MAX_BYTES = 1024 };

#define KIND(name) GOOGLE__PROTOBUF__VALUE__KIND_##name

struct walk {
	struct schema *schema;
	int64_t at_ms;
	char path[PATH_MAX_BYTES];
};

static enum schema_type type_of(const Google__Protobuf__Value *v)
{
	switch (v->kind_case) {
	case KIND(STRING_VALUE):
		return SCHEMA_STRING;
	case KIND(NUMBER_VALUE):
		return trunc(v->number_value) == v->number_value ? SCHEMA_INTEGER : SCHEMA_FLOAT;
	case KIND(BOOL_VALUE):
		return SCHEMA_BOOLEAN;
	case KIND(NULL_VALUE):
	case KIND(STRUCT_VALUE):
	case KIND(LIST_VALUE):
	case KIND(_NOT_SET):
	case _GOOGLE__PROTOBUF__VALUE__KIND__CASE_IS_INT_SIZE:
	default:
		return SCHEMA_OTHER;
	}
}

/* The fields of an object whose own path has n bytes. As deep as json_read() goes. */
static bool walk(struct walk *w, const Google__Protobuf__Struct *in, size_t n)
{
	for (size_t i = 0; i < in->n_fields; i++) {
		struct str key = str_of(in->fields[i]->key);
		const Google__Protobuf__Value *v = in->fields[i]->value;
		size_t at = n + (n > 0);

		if (!v || v->kind_case == KIND(NULL_VALUE) || at + key.n >= sizeof(w->path))
			continue;
		if (n > 0)
			w->path[n] = '.';
		if (key.n)
			memcpy(w->path + at, key.p, key.n);
		if (v->kind_case == KIND(STRUCT_VALUE)) {
			if (!walk(w, v->struct_value, at + key.n))
				return false;
		} else if (!schema_note(&w->schema->traits, (struct str){w->path, at + key.n},
				   type_of(v), 1, w->at_ms, w->schema->profiles)) {
			return false;
		}
	}
	return true;
}

bool schema_profile(struct schema *s, struct str traits, int64_t at_ms, struct arena *a)
{
	struct walk w = {.schema = s, .at_ms = at_ms};
	struct json_error err;
	ProtobufCMessage *msg;

	s->profiles++;
	if (json_read(pb_msg_find(STR("google.protobuf.Struct")), traits, a, &msg, &err) < 0)
		return !err.memory; /* numbers beyond a double: made by no client of ours */
	return walk(&w, (const Google__Protobuf__Struct *)msg, 0);
}
