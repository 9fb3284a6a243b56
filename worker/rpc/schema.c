/*
 * What filter pickers show: kinds, keys and values (insights-dashboards.md 2.5). The same
 * for InsightsService and ActivityService. Read from the events themselves, of sealed ones
 * from the names that each segment keeps, so that what was just accepted is there (D38).
 */
#include "proto/wkt.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "worker/insights/compile.h"
#include "worker/insights/scan.h"
#include "worker/insights/schema.h"
#include "worker/insights/values.h"

/* The first three, and VALUES_WINDOW_MS, are of 2.5. */
enum {
	KINDS_LIMIT = 1000,
	KEYS_LIMIT = 500, /* of each list; promoted keys come on top */
	VALUES_LIMIT = 100,
	VALUES_SHARE = 3 /* the texts' part of the query's memory, see values.h */
};

static const int64_t VALUES_WINDOW_MS = INT64_C(30) * 86400 * 1000;

/* ---- kinds and keys ---- */

/* These three run on the scan's thread. */
static bool fold_schema(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	return schema_fold(s->kernel, f, seg);
}

static bool fold_names(struct scan *s, struct str packed, struct arena *a)
{
	return schema_names(s->kernel, packed, a);
}

static bool add_profile(struct scan *s, struct str traits, int64_t update_ms, struct arena *a)
{
	return schema_profile(s->kernel, traits, update_ms, a);
}

/* NULL after call_fail(). */
static Google__Protobuf__Timestamp *instant(struct call *c, int64_t ms)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	wkt_of_ms(ms, &t->seconds, &t->nanos);
	return t;
}

/* allowed_types is about keys: kinds have no type (2.5). */
static int put_kinds(
	struct call *c, struct scan *s, struct schema *k, Common__V1__GetFilterSchemaResponse *out)
{
	const struct schema_entry *e;
	Common__V1__EventNameMeta *all;
	uint32_t n;

	if (!schema_pick(&k->kinds, UINT32_MAX, KINDS_LIMIT, &s->a, &e, &n))
		return scan_no_memory(c);
	all = call_alloc(c, (n + 1) * sizeof(*all));
	out->events = call_alloc(c, (n + 1) * sizeof(all));
	if (!all || !out->events)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		common__v1__event_name_meta__init(&all[i]);
		all[i].name = call_str(c, e[i].name);
		all[i].last_seen_at = instant(c, e[i].last_ms);
		all[i].has_count = true;
		all[i].count = e[i].count;
		if (!all[i].name || !all[i].last_seen_at)
			return -1;
		out->events[i] = &all[i];
	}
	out->n_events = n;
	return 0;
}

static int put_keys(struct call *c, struct scan *s, const struct schema_list *list,
	uint32_t allowed, Common__V1__PropertyKeyMeta ***out, size_t *n_out)
{
	const struct schema_entry *e;
	Common__V1__PropertyKeyMeta *all;
	uint32_t n;

	if (!schema_pick(list, allowed, KEYS_LIMIT, &s->a, &e, &n))
		return scan_no_memory(c);
	all = call_alloc(c, (n + 1) * sizeof(*all));
	*out = call_alloc(c, (n + 1) * sizeof(all));
	if (!all || !*out)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		common__v1__property_key_meta__init(&all[i]);
		all[i].name = call_str(c, e[i].name);
		/* a promoted key that never occurred has no time */
		all[i].last_seen_at = e[i].count ? instant(c, e[i].last_ms) : NULL;
		all[i].has_count = all[i].has_value_type = true;
		all[i].count = e[i].count;
		all[i].value_type = (Common__V1__PropertyValueType)e[i].type;
		if (!all[i].name || (e[i].count && !all[i].last_seen_at))
			return -1;
		(*out)[i] = &all[i];
	}
	*n_out = n;
	return 0;
}

/* The proto's rule has let in known types only, which are bits of it. */
static uint32_t allowed_types(const Common__V1__GetFilterSchemaRequest *in)
{
	uint32_t allowed = in->n_allowed_types ? 0 : UINT32_MAX;

	for (size_t i = 0; i < in->n_allowed_types; i++)
		allowed |= 1U << (unsigned)in->allowed_types[i];
	return allowed;
}

static int filter_schema(struct call *c, struct scan *s,
	const Common__V1__GetFilterSchemaRequest *in, Common__V1__GetFilterSchemaResponse *out)
{
	uint32_t allowed = allowed_types(in);
	struct schema kernel;
	struct plan plan;

	compile_schema(&plan, &s->a);
	if (!schema_init(&kernel, str_of(in->event_kind), &s->a))
		return scan_no_memory(c);
	s->plan = &plan;
	s->fold = fold_schema;
	s->names = fold_names;
	s->profile = add_profile;
	s->kernel = &kernel;
	if (scan_run(s, c) < 0 || put_kinds(c, s, &kernel, out) < 0 ||
		put_keys(c, s, &kernel.autos, allowed, &out->auto_property_keys,
			&out->n_auto_property_keys) < 0 ||
		put_keys(c, s, &kernel.customs, allowed, &out->custom_property_keys,
			&out->n_custom_property_keys) < 0)
		return -1;
	return put_keys(c, s, &kernel.traits, allowed, &out->profile_property_keys,
		&out->n_profile_property_keys);
}

static int get_filter_schema(struct call *c, const Common__V1__GetFilterSchemaRequest *in,
	Common__V1__GetFilterSchemaResponse *out)
{
	struct scan scan;
	int n;

	scan_init(&scan, c);
	n = filter_schema(c, &scan, in, out);
	scan_free(&scan);
	return n;
}

int rpc_insights_get_filter_schema(struct call *c, const Common__V1__GetFilterSchemaRequest *in,
	Common__V1__GetFilterSchemaResponse *out)
{
	return get_filter_schema(c, in, out);
}

int rpc_activity_get_filter_schema(struct call *c, const Common__V1__GetFilterSchemaRequest *in,
	Common__V1__GetFilterSchemaResponse *out)
{
	return get_filter_schema(c, in, out);
}

/* ---- values ---- */

/* A request of either service. */
struct property {
	struct str key, event_kind;
	bool trait;
};

/* Its values, and which of them are answered. */
struct picked {
	struct values values;
	const struct str *texts;
	uint32_t n;
};

static bool fold_values(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct picked *picked = s->kernel;

	(void)seg;
	return values_fold(&picked->values, f);
}

static bool add_trait(struct scan *s, const struct value *v)
{
	struct picked *picked = s->kernel;
	char scratch[VALUE_TEXT_MAX];

	return values_add(&picked->values, value_text(v, KEY_PLAIN, scratch), 1);
}

/* Sorts up to a million texts: on the thread. */
static bool finish_values(struct scan *s)
{
	struct picked *picked = s->kernel;

	return values_top(&picked->values, VALUES_LIMIT, &picked->texts, &picked->n);
}

static int put_values(struct call *c, const struct picked *picked, char ***out, size_t *n_out)
{
	*out = call_alloc(c, (picked->n + 1) * sizeof(**out));
	if (!*out)
		return -1;
	for (uint32_t i = 0; i < picked->n; i++) {
		(*out)[i] = call_str(c, picked->texts[i]);
		if (!(*out)[i])
			return -1;
	}
	*n_out = picked->n;
	return 0;
}

/* Traits are those of live profiles of any age, so no event is read for them (2.5). */
static int property_values(struct call *c, struct scan *s, struct picked *picked,
	const struct property *in, char ***out, size_t *n_out)
{
	int64_t from_ms = clock_real_ms() - VALUES_WINDOW_MS;
	struct plan plan;

	if (!compile_values(&plan, in->key, in->trait, in->event_kind, from_ms, &s->a))
		return scan_no_memory(c);
	s->plan = &plan;
	if (in->trait)
		s->trait = add_trait;
	else
		s->fold = fold_values;
	s->finish = finish_values;
	s->kernel = picked;
	return scan_run(s, c) < 0 ? -1 : put_values(c, picked, out, n_out);
}

static int get_property_values(
	struct call *c, const struct property *in, char ***out, size_t *n_out)
{
	struct picked picked = {.n = 0};
	struct scan scan;
	int n;

	scan_init(&scan, c);
	values_init(&picked.values, scan.a.cap / VALUES_SHARE, &scan.a);
	n = property_values(c, &scan, &picked, in, out, n_out);
	/* its texts have an arena of their own, of which scan_free() does not know */
	scan_release(&scan, &picked.values.room);
	scan_free(&scan);
	return n;
}

int rpc_insights_get_property_values(struct call *c,
	const Insights__V1__GetPropertyValuesRequest *in,
	Insights__V1__GetPropertyValuesResponse *out)
{
	struct property p = {str_of(in->property_key), str_of(in->event_kind),
		in->source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_PROFILE};

	return get_property_values(c, &p, &out->values, &out->n_values);
}

int rpc_activity_get_property_values(struct call *c,
	const Activity__V1__GetPropertyValuesRequest *in,
	Activity__V1__GetPropertyValuesResponse *out)
{
	struct property p = {str_of(in->property_key), str_of(in->event_kind),
		in->source == COMMON__V1__PROPERTY_SOURCE__PROPERTY_SOURCE_PROFILE};

	return get_property_values(c, &p, &out->values, &out->n_values);
}
