/*
 * Evaluates a plan's conditions over a batch; see frame.h. Vectors of one byte per
 * event, combined with AND and OR in plain loops that compilers vectorise.
 */
#include "worker/insights/frame.h"

#include "worker/insights/watch.h"
#include "worker/store/dense.h"

/* Filters and events are as many as a call has memory for, and each is held against a whole
 * dictionary or segment: watch_over() is asked for each of them, and within one for each so many
 * bytes of text that it looks at. What an entry takes besides is like some more of them. */
enum { LOOK_BYTES = 1 << 16, ENTRY_BYTES = 16 };

static bool find_cookieless(struct frame *f)
{
	const struct batch_column *c = &f->batch->distinct;
	uint8_t *cookieless;

	if (f->batch->numbered)
		return true;
	cookieless = arena_zalloc(f->a, c->n_entries + 1);
	for (uint32_t i = 0; cookieless && i < c->n_entries; i++)
		cookieless[i + 1] = dense_cookieless(c->entries[i].s);
	f->cookieless = cookieless;
	return cookieless != NULL;
}

/* Marks the ids of events that match. NULL at the arena's cap, or when watch_over(). */
static uint8_t *find_wanted(const struct frame *f)
{
	const struct batch *b = f->batch;
	uint8_t *wanted = arena_zalloc(f->a, b->distinct.n_entries + 1);

	for (uint32_t e = 0; wanted && e < f->plan->n_events; e++) {
		if (watch_over())
			return NULL;
		for (uint32_t i = 0; i < b->n; i++)
			wanted[b->distinct.codes[i]] |= f->match[e][i];
	}
	return wanted;
}

/* One table for the whole query. False when a number is nobody's: what is stored is not believed,
 * and kernels use codes as places in this table without asking. */
static bool numbered_people(struct frame *f)
{
	f->persons = f->people->of_number;
	return !f->plan->people || f->batch->distinct.n_entries <= f->people->n_numbers;
}

/* The persons of the wanted ids, or of all: some at a time, because most of what it costs is
 * waiting for memory. The others stay 0, which is somebody, too: nobody may look at these. */
static bool resolve_people(struct frame *f, const uint8_t *wanted)
{
	const struct batch_column *c = &f->batch->distinct;
	uint32_t *persons = arena_zalloc(f->a, (c->n_entries + 1) * sizeof(*persons));
	struct str ids[INTERN_BATCH];
	uint32_t codes[INTERN_BATCH], found[INTERN_BATCH], n = 0;

	f->persons = persons;
	if (!persons || !f->plan->people)
		return persons != NULL;
	for (uint32_t code = 1; code <= c->n_entries; code++) {
		if (!wanted || wanted[code]) {
			ids[n] = c->entries[code - 1].s;
			codes[n++] = code;
		}
		if (n < INTERN_BATCH && code < c->n_entries)
			continue;
		if (!people_find_all(f->people, ids, n, found))
			return false;
		for (uint32_t k = 0; k < n; k++)
			persons[codes[k]] = found[k];
		n = 0;
	}
	return true;
}

/* The column a filter looks at, and its answer per dictionary code. Of traits that is by text: a
 * plan that asks for any gets no numbers (numbers_will_do()). NULL at the arena's cap, or when
 * watch_over(). */
static uint8_t *pass_table(
	const struct frame *f, const struct filter *flt, const struct batch_column **column)
{
	const struct batch_column *c =
		flt->profile ? &f->batch->distinct : &f->batch->props[flt->source];
	uint8_t *pass = arena_alloc(f->a, c->n_entries + 1);
	size_t looked = 0;

	*column = c;
	if (!pass)
		return NULL;
	pass[0] = filter_test(flt, NULL);
	for (uint32_t i = 1; i <= c->n_entries; i++) {
		const struct value *v = &c->entries[i - 1];

		if (flt->profile)
			v = people_get_trait(f->people, f->persons[i], flt->source);
		pass[i] = filter_test(flt, v);
		looked += ENTRY_BYTES + (v && v->type == VALUE_STR ? v->s.n : 0);
		if (looked >= LOOK_BYTES) {
			if (watch_over())
				return NULL;
			looked = 0;
		}
	}
	return pass;
}

/* Whether a filter asks no more than that there is a value. */
static bool needs_any(const uint8_t *pass, const struct batch_column *c)
{
	return !pass[0] && c->n_entries > 0 && !memchr(pass + 1, 0, c->n_entries);
}

static void need_any(uint8_t *out, const uint32_t *codes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] &= codes[i] != 0;
}

static void add_filter(
	uint8_t *out, const uint32_t *codes, const uint8_t *pass, uint32_t n, bool any)
{
	for (uint32_t i = 0; i < n && any; i++)
		out[i] |= pass[codes[i]];
	for (uint32_t i = 0; i < n && !any; i++)
		out[i] &= pass[codes[i]];
}

/* Which events the group lets through, 0 or 1 each. NULL at the arena's cap, or when
 * watch_over(). */
static uint8_t *group_vector(const struct frame *f, const struct plan_group *g)
{
	uint32_t n = f->batch->n;
	uint8_t *out = arena_alloc(f->a, n);

	if (!out)
		return NULL;
	memset(out, !g->any || g->n == 0, n);
	for (uint32_t k = 0; k < g->n; k++) {
		const struct batch_column *c;
		const uint8_t *pass = watch_over() ? NULL : pass_table(f, &g->filters[k], &c);

		if (!pass)
			return NULL;
		if (g->any || !needs_any(pass, c))
			add_filter(out, c->codes, pass, n, g->any);
		else
			need_any(out, c->codes, n);
	}
	return out;
}

static bool add_groups(const struct frame *f, uint8_t *base)
{
	const struct plan *p = f->plan;
	uint32_t n = f->batch->n;
	uint8_t *any = p->any_group && p->n_groups ? arena_zalloc(f->a, n) : NULL;

	if (p->any_group && p->n_groups && !any)
		return false;
	for (uint32_t k = 0; k < p->n_groups; k++) {
		const uint8_t *g = group_vector(f, &p->groups[k]);

		if (!g)
			return false;
		for (uint32_t i = 0; i < n && any; i++)
			any[i] |= g[i];
		for (uint32_t i = 0; i < n && !any; i++)
			base[i] &= g[i];
	}
	for (uint32_t i = 0; i < n && any; i++)
		base[i] &= any[i];
	return true;
}

/* Bytes may be anybody's: what the loop needs is not read through pointers. Wanted 0: it is
 * not in the dictionary, and must not match rows without a value, whose code that is. */
static void only_code(uint8_t *out, const uint32_t *codes, uint32_t wanted, uint32_t n)
{
	if (wanted == 0)
		memset(out, 0, n);
	for (uint32_t i = 0; i < n; i++)
		out[i] &= codes[i] == wanted;
}

static uint32_t session_code(const struct batch_column *c, struct str session)
{
	for (uint32_t code = 1; code <= c->n_entries; code++)
		if (memcmp(batch_uuid(c, code), session.p, BATCH_UUID) == 0)
			return code;
	return 0;
}

static uint32_t text_code(const struct batch_column *c, struct str text)
{
	for (uint32_t code = 1; code <= c->n_entries; code++)
		if (str_eq(c->entries[code - 1].s, text))
			return code;
	return 0;
}

/* By text: whoever calls plan_only_ids() asks for no numbers. */
static bool only_ids(const struct frame *f, uint8_t *base)
{
	const struct batch_column *c = &f->batch->distinct;
	uint8_t *pass = arena_zalloc(f->a, c->n_entries + 1);

	if (!pass)
		return false;
	for (uint32_t i = 0; i < c->n_entries; i++)
		pass[i + 1] = intern_find(f->plan->ids, c->entries[i].s) != INTERN_FULL;
	for (uint32_t i = 0; i < f->batch->n; i++)
		base[i] &= pass[c->codes[i]];
	return true;
}

/* One comparison each, as of how long after the begin; of those that are in order the first and
 * the last will do, when they are inside. */
static void in_window(uint8_t *base, const struct batch *b, const struct plan *plan)
{
	uint64_t from = (uint64_t)plan->from_ms, length = (uint64_t)plan->to_ms - from;
	const int64_t *times = b->times;
	uint32_t n = b->n;

	if (plan->to_ms <= plan->from_ms)
		length = 0;
	if (b->ordered && n > 0 && (uint64_t)times[0] - from < length &&
		(uint64_t)times[n - 1] - from < length) {
		memset(base, 1, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		base[i] = (uint64_t)times[i] - from < length;
}

static bool make_base(struct frame *f)
{
	const struct batch *b = f->batch;
	uint8_t *base = arena_alloc(f->a, b->n);

	if (!base)
		return false;
	if (b->flat)
		memset(base, b->times[0] >= f->plan->from_ms && b->times[0] < f->plan->to_ms, b->n);
	else
		in_window(base, b, f->plan);
	for (uint32_t i = 0; i < b->n && b->masked; i++)
		base[i] &= !b->masked[i];
	f->base = base;
	if (f->plan->session.p)
		only_code(
			base, b->session.codes, session_code(&b->session, f->plan->session), b->n);
	if (f->plan->only_kind.p)
		only_code(base, b->kind.codes, text_code(&b->kind, f->plan->only_kind), b->n);
	if (f->plan->ids && !only_ids(f, base))
		return false;
	return add_groups(f, base);
}

/* out &= the code is one of those of the kind: nearly always that is one, if any. */
static bool only_kind(const struct frame *f, struct str kind, uint8_t *out)
{
	const struct batch_column *c = &f->batch->kind;
	uint8_t *same = arena_zalloc(f->a, c->n_entries + 1);
	uint32_t n = f->batch->n, codes = 0, last = 0;

	if (!same)
		return false;
	for (uint32_t i = 0; i < c->n_entries; i++) {
		same[i + 1] = str_eq(c->entries[i].s, kind);
		codes += same[i + 1];
		last = same[i + 1] ? i + 1 : last;
	}
	if (codes <= 1)
		only_code(out, c->codes, last, n);
	else
		add_filter(out, c->codes, same, n, false);
	return true;
}

static uint8_t *copy_of(const uint8_t *base, uint32_t n, struct arena *a)
{
	uint8_t *out = arena_alloc(a, n);

	return out ? memcpy(out, base, n) : NULL;
}

/* May be base itself, which other events share: nobody writes to a vector that is in the frame. */
static const uint8_t *match_event(const struct frame *f, const struct plan_event *ev)
{
	const struct batch_column *c = &f->batch->kind;
	bool every = ev->kind.n == 0;
	uint32_t n = f->batch->n;
	uint8_t *out;

	if (!every && f->batch->one_kind) {
		if (!str_eq(c->entries[0].s, ev->kind))
			return arena_zalloc(f->a, n);
		every = true;
	}
	if (ev->filters.n == 0) {
		if (every)
			return f->base;
		out = copy_of(f->base, n, f->a);
	} else {
		out = group_vector(f, &ev->filters);
		for (uint32_t i = 0; out && i < n; i++)
			out[i] &= f->base[i];
	}
	return out && (every || only_kind(f, ev->kind, out)) ? out : NULL;
}

bool frame_make(struct frame *f, const struct plan *plan, const struct batch *b,
	struct people *people, struct arena *a)
{
	const uint8_t **match = arena_array(a, plan->n_events + 1, sizeof(*match));

	/* what profile filters ask needs to know everybody beforehand */
	bool first =
		plan->need.distinct && !b->numbered && (plan->n_events == 0 || plan->n_paths > 0);

	*f = (struct frame){.plan = plan,
		.batch = b,
		.people = people,
		.a = a,
		.match = match,
		.settled_ms = INT64_MIN};
	if (!match || (plan->need.distinct && !find_cookieless(f)) ||
		(first && !resolve_people(f, NULL)) || !make_base(f))
		return false;
	for (uint32_t e = 0; e < plan->n_events; e++) {
		match[e] = watch_over() ? NULL : match_event(f, &plan->events[e]);
		if (!match[e])
			return false;
	}
	if (plan->need.distinct && b->numbered)
		return numbered_people(f);
	/* not before: ids whose events match nothing are never looked up */
	if (plan->need.distinct && !first) {
		const uint8_t *wanted = find_wanted(f);

		return wanted && resolve_people(f, wanted);
	}
	return true;
}
