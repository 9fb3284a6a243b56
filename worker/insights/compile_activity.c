/*
 * Compiles lists of events, what pickers ask (which kinds, keys and values there are), and
 * when somebody was active. See compile.h.
 */
#include "worker/insights/compile_internal.h"

/* ---- lists ---- */

/* Any of the events, and all of the filters (3): so these are a group of their own. */
static int feed_events(struct plan *p, const struct feed_query *q, const char **why)
{
	struct plan_event *events = arena_array(p->a, q->n_events + 1, sizeof(*events));
	struct plan_group *all = arena_array(p->a, 1, sizeof(*all));

	*why = NULL;
	if (!events || !all)
		return -1;
	p->events = events;
	p->n_events = q->n_events ? (uint32_t)q->n_events : 1;
	if (q->n_events == 0 && compile_event(p, &events[0], NULL, why) < 0)
		return -1;
	for (size_t i = 0; i < q->n_events; i++)
		if (compile_event(p, &events[i], q->events[i], why) < 0)
			return -1;
	p->groups = all;
	p->n_groups = 1;
	return compile_group(p, all, q->filters, q->n_filters, false, why);
}

int compile_feed(struct plan *p, const struct feed_query *q, struct arena *a, const char **why)
{
	uint8_t *session = arena_alloc(a, 16);

	*p = (struct plan){
		.kind = PLAN_LIST, .a = a, .from_ms = INT64_MIN / 2, .to_ms = INT64_MAX / 2};
	*why = NULL;
	if (!session || feed_events(p, q, why) < 0)
		return -1;
	if (q->range && compile_window(p, q->range, why) < 0)
		return -1;
	*why = NULL;
	if (!plan_only_events(p))
		return -1;
	/* holds besides the events, so that none of another kind matters, whatever these name */
	if (q->kind.n) {
		p->only_kind = q->kind;
		p->kinds = &p->only_kind;
		p->n_kinds = 1;
	}
	*why = "session_id: session_id must be a UUID";
	if (q->session.n) {
		if (!str_uuid(q->session, session))
			return -1;
		p->session = (struct str){(const char *)session, 16};
	}
	p->need.session = p->session.p != NULL;
	p->need.ids = true;
	/* columns are for what is asked; what is shown is read from rows, of sealed segments when
	 * it is known which ones matter (scan->missing) */
	p->need.distinct = p->people;
	p->lean = true;
	*why = NULL;
	return !q->ids || plan_only_ids(p, q->ids, q->n_ids) ? 0 : -1;
}

/* ---- pickers and days ---- */

/* Not lean: whoever sets reader->names gets the other segments whole (reader.h). */
void compile_schema(struct plan *p, struct arena *a)
{
	*p = (struct plan){
		.kind = PLAN_SCHEMA, .a = a, .from_ms = INT64_MIN / 2, .to_ms = INT64_MAX / 2};
}

/* The property, or path, has number 0, which is where values_fold() and scan.c look. */
bool compile_values(struct plan *p, struct str key, bool trait, struct str kind, int64_t from_ms,
	struct arena *a)
{
	*p = (struct plan){.kind = PLAN_VALUES, .a = a, .from_ms = from_ms, .to_ms = INT64_MAX / 2};
	p->lean = true;
	if (kind.n) {
		p->only_kind = kind;
		p->kinds = &p->only_kind;
		p->n_kinds = 1;
	}
	return (trait ? plan_path(p, key) : plan_property(p, key)) != PLAN_NONE;
}

bool compile_days(struct plan *p, const struct tz *zone, int64_t from_ms, int64_t to_ms,
	const char *const *keys, size_t n_keys, struct arena *a)
{
	*p = (struct plan){
		.kind = PLAN_DAYS, .a = a, .from_ms = from_ms, .to_ms = to_ms, .lean = true};
	for (size_t i = 0; i < n_keys; i++)
		if (plan_property(p, str_of(keys[i])) == PLAN_NONE)
			return false;
	if (n_keys) {
		p->from_ms = INT64_MIN / 2;
		p->to_ms = INT64_MAX / 2;
		p->need.ids = true; /* the latest of events of one millisecond (D29) */
	}
	return buckets_make(&p->buckets, zone, BUCKET_DAY, from_ms, to_ms, a);
}
