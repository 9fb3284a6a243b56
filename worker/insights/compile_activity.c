/*
 * Compiles what pickers ask: which kinds, keys and values there are. See compile.h.
 */
#include "worker/insights/compile.h"

void compile_schema(struct plan *p, struct arena *a)
{
	*p = (struct plan){
		.kind = PLAN_SCHEMA, .a = a, .from_ms = INT64_MIN / 2, .to_ms = INT64_MAX / 2};
}

bool compile_values(struct plan *p, struct str key, bool trait, struct str kind, int64_t from_ms,
	struct arena *a)
{
	*p = (struct plan){
		.kind = PLAN_VALUES, .a = a, .from_ms = from_ms, .to_ms = INT64_MAX / 2};
	if (kind.n)
		p->only_kind = kind;
	return (trait ? plan_path(p, key) : plan_property(p, key)) != PLAN_NONE;
}
