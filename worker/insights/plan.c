/*
 * The parts of a plan that every compiler needs: properties and trait paths by
 * number, each once; whose events; see plan.h. A request may name some hundred
 * thousand of them, and compiling is done on the loop: so numbers are looked up by hash.
 */
#include "worker/insights/plan.h"

/* The number of a key: that of its first mention, or the next one. */
static uint32_t number(struct intern *keys, struct str key, struct arena *a)
{
	if (!keys->a)
		intern_init(keys, a);
	return intern_add(keys, key);
}

uint32_t plan_property(struct plan *p, struct str key)
{
	/* keys starting with $ are automatic, and only those (1.1) */
	enum prop_scope scope = key.n && key.p[0] == '$' ? SCOPE_AUTO : SCOPE_CUSTOM;
	uint32_t n = p->need.n_props, no = number(&p->prop_keys, key, p->a);

	if (no < n || no == INTERN_FULL)
		return no < n ? no : PLAN_NONE;
	if (n == p->cap_props) {
		uint32_t cap = n ? n * 2 : 8;

		p->props =
			arena_grow(p->a, p->props, n * sizeof(*p->props), cap * sizeof(*p->props));
		if (!p->props)
			return PLAN_NONE;
		p->cap_props = cap;
		p->need.props = p->props;
	}
	p->props[n] = (struct prop_ref){key, scope, value_key_class(key)};
	p->need.n_props = n + 1;
	return n;
}

uint32_t plan_path(struct plan *p, struct str path)
{
	uint32_t no = number(&p->path_keys, path, p->a);

	if (no < p->n_paths || no == INTERN_FULL)
		return no < p->n_paths ? no : PLAN_NONE;
	if (p->n_paths == p->cap_paths) {
		uint32_t cap = p->cap_paths ? p->cap_paths * 2 : 8;

		p->paths = arena_grow(
			p->a, p->paths, p->n_paths * sizeof(*p->paths), cap * sizeof(*p->paths));
		if (!p->paths)
			return PLAN_NONE;
		p->cap_paths = cap;
	}
	p->paths[p->n_paths] = path;
	return p->n_paths++;
}

bool plan_only_ids(struct plan *p, const struct str *ids, size_t n)
{
	struct intern *set = arena_alloc(p->a, sizeof(*set));

	if (!set)
		return false;
	intern_init(set, p->a);
	for (size_t i = 0; i < n; i++)
		if (intern_add(set, ids[i]) == INTERN_FULL)
			return false;
	p->ids = set;
	p->need.distinct = true;
	return true;
}

/* An event of any kind, or none at all, needs every segment: then kinds stays NULL. */
bool plan_only_events(struct plan *p)
{
	struct str *kinds = arena_array(p->a, p->n_events + 1, sizeof(*kinds));

	if (!kinds)
		return false;
	for (uint32_t i = 0; i < p->n_events; i++) {
		if (p->events[i].kind.n == 0)
			return true;
		kinds[i] = p->events[i].kind;
	}
	p->kinds = p->n_events ? kinds : NULL;
	p->n_kinds = p->n_events;
	return true;
}
