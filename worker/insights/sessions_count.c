/*
 * The numbers of session metrics; see sessions.h. A session is counted when it is put away, and
 * its record kept: 16 bytes where nothing but times is asked for. When later there is more of it,
 * which is rare, both parts are taken back at the end and counted as one. Sessions come in the
 * order of time, so all of a bucket, by tuple, are added to its cells together.
 */
#include "worker/insights/sessions_internal.h"
#include "worker/insights/watch.h"

/* A record: times in ms, as how long after (or before) some time, and of how long or how many. 26
 * bits are 18 hours, 37 two years either way; the top one of 64 is wide_mark. */
#ifdef PUGD_TEST_HOOKS
enum { EXTENT_BITS = 23, SINCE_BITS = 33 }; /* so that there are some that do not fit */
#else
enum { EXTENT_BITS = 26, SINCE_BITS = 37 };
#endif
enum { TIMES_WORDS = 2, DOUBT_BITS = 2, ID_WORDS = 4 };
enum { DOUBTS = (1 << DOUBT_BITS) - 1 };
/* of the query's memory, records may take such a part before they are merged */
enum { MERGE_SHARE = 6 };

static const uint64_t wide_mark = (uint64_t)1 << 63;
static const double bin_most = 0x1p+52; /* whole numbers are exact below twice of it */

/* ---- counting ---- */

static bool is_counted(const struct sessions *s, const struct session *one)
{
	return one->first_ms >= s->plan->starts_from_ms && one->first_ms < s->plan->starts_to_ms;
}

static double number_of(const struct sessions *s, const struct session *one)
{
	switch (s->plan->session_number) {
	case SESSION_DURATION:
		return (double)(one->last_ms - one->first_ms);
	case SESSION_BOUNCE:
		return one->n == 1 ? 100 : 0;
	case SESSION_EVENTS:
		return (double)one->n;
	case SESSION_ITSELF:
	default:
		return 0;
	}
}

/* The cell of the bucket at hand; NULL at the arena's cap. */
static struct tally *tally_of(struct sessions *s, struct session_bin *bin, uint32_t tuple)
{
	if (s->plan->buckets.n == 0)
		return &s->total;
	if (bin->line == 0)
		bin->line = trends_line(s->trends, s->kind, tuple) + 1;
	return bin->line ? trends_cell(s->trends, bin->line - 1, s->bucket) : NULL;
}

/* What is in bins is of the bucket at hand: they are emptied before that changes. */
static bool empty_bins(struct sessions *s)
{
	while (s->listed != 0 && s->listed != UINT32_MAX) {
		uint32_t tuple = s->listed - 1;
		struct session_bin *bin = &s->bins[tuple];
		struct tally *t = tally_of(s, bin, tuple);

		if (!t)
			return false;
		tally_sum(t, bin->n, bin->sum);
		s->listed = bin->next;
		bin->n = 0;
		bin->sum = 0;
		bin->next = 0;
	}
	s->listed = UINT32_MAX;
	return true;
}

static bool make_bins(struct sessions *s)
{
	uint32_t n = s->trends->tuples.n, most = s->n_bins ? s->n_bins : 8;

	while (most < n)
		most *= 2;
	if (s->n_bins >= n)
		return true;
	s->bins = arena_grow(s->plan->a, s->bins, (size_t)s->n_bins * sizeof(*s->bins),
		(size_t)most * sizeof(*s->bins));
	if (!s->bins)
		return false;
	memset(s->bins + s->n_bins, 0, (size_t)(most - s->n_bins) * sizeof(*s->bins));
	s->n_bins = most;
	return true;
}

/* One more (by: 1), or one that was counted and is not any more (-1). make_bins() came before.
 * False at the arena's cap. */
static inline bool count(struct sessions *s, struct session *one, int by)
{
	uint32_t bucket = 0, tuple = s->plan->n_breakdowns ? session_edge(one)->tuple : s->none;
	struct session_bin *bin = &s->bins[tuple];

	if (!is_counted(s, one))
		return true;
	if (s->plan->buckets.n > 0)
		bucket = buckets_find_near(&s->plan->buckets, &s->near, one->first_ms);
	if (bucket != s->bucket || bin->sum > bin_most || bin->sum < -bin_most) {
		if (!empty_bins(s))
			return false;
		s->bucket = bucket;
	}
	if (bin->next == 0) {
		bin->next = s->listed ? s->listed : UINT32_MAX;
		s->listed = tuple + 1;
	}
	bin->n += by;
	bin->sum += by * number_of(s, one);
	return true;
}

/* ---- records ---- */

static uint32_t record_words(const struct plan *plan)
{
	if (plan->n_breakdowns == 0)
		return TIMES_WORDS;
	return TIMES_WORDS + 1 + (plan->need.ids ? ID_WORDS : 0);
}

/* Times that fit, or where they are; known: what the record says already, or 0. */
static inline bool pack_times(
	struct sessions *s, const struct session *one, uint64_t known, uint64_t *times)
{
	uint64_t extent = s->counts ? one->n : (uint64_t)one->last_ms - (uint64_t)one->first_ms;
	uint64_t since =
		(uint64_t)one->first_ms - (uint64_t)s->base_ms + ((uint64_t)1 << (SINCE_BITS - 1));
	struct session *wide;

	if (extent >> EXTENT_BITS == 0 && since >> SINCE_BITS == 0) {
		*times = since << EXTENT_BITS | extent;
		return true;
	}
	*times = known & wide_mark ? known : wide_mark | s->n_wide;
	wide = chunks_make(&s->wide, (uint32_t)*times);
	if (!wide || s->n_wide == UINT32_MAX)
		return false;
	s->n_wide += !(known & wide_mark);
	*wide = *one;
	return true;
}

static void unpack_times(const struct sessions *s, uint64_t times, struct session *one)
{
	uint64_t extent = times & (((uint64_t)1 << EXTENT_BITS) - 1);
	uint64_t since = (times >> EXTENT_BITS) - ((uint64_t)1 << (SINCE_BITS - 1));

	if (times & wide_mark) {
		*one = *(const struct session *)chunks_at(&s->wide, (uint32_t)times);
		return;
	}
	one->first_ms = (int64_t)((uint64_t)s->base_ms + since);
	if (s->counts)
		one->n = extent;
	else
		one->last_ms = (int64_t)((uint64_t)one->first_ms + extent);
}

/* Ids are kept where those of all events are known: else they are of few, and events of one time
 * are in doubt. */
static void pack_edge(const struct sessions *s, const struct edge *edge, uint32_t *record)
{
	*record = edge->tuple << DOUBT_BITS | edge->doubt;
	if (s->plan->need.ids)
		memcpy(record + 1, edge->id, sizeof(edge->id));
}

/* source: any that no other one has. */
static void unpack_edge(
	const struct sessions *s, const uint32_t *record, uint32_t source, struct edge *edge)
{
	*edge = edge_of(NULL, source, *record >> DOUBT_BITS);
	edge->doubt = *record & DOUBTS;
	edge->known = s->plan->need.ids;
	if (s->plan->need.ids)
		memcpy(edge->id, record + 1, sizeof(edge->id));
}

static inline bool pack(struct sessions *s, struct session *one, uint64_t known, uint32_t *record)
{
	uint64_t times;

	if (!pack_times(s, one, known, &times))
		return false;
	memcpy(record, &times, sizeof(times));
	if (s->plan->n_breakdowns)
		pack_edge(s, session_edge(one), record + TIMES_WORDS);
	return true;
}

/* Returns its times as they are packed. */
static uint64_t unpack(
	const struct sessions *s, const uint32_t *record, uint32_t source, struct session_edge *out)
{
	uint64_t times;

	memcpy(&times, record, sizeof(times));
	unpack_times(s, times, &out->session);
	if (s->plan->n_breakdowns)
		unpack_edge(s, record + TIMES_WORDS, source, &out->edge);
	return times;
}

/* ---- parts of one session ---- */

/* As edge_meet(), where that of the other part may be in doubt, too: what was left out there is
 * of its time, and of its tuple. */
static void meet_edge(struct edge *e, const struct edge *other, bool last)
{
	struct edge sure = *other;

	sure.doubt = EDGE_SURE;
	edge_meet(e, &sure, last);
	if (other->doubt == EDGE_UNSURE || (other->doubt == EDGE_ALIKE && e->tuple != other->tuple))
		e->doubt = EDGE_UNSURE;
	else if (other->doubt == EDGE_ALIKE && e->doubt == EDGE_SURE)
		e->doubt = EDGE_ALIKE;
}

static void join(const struct sessions *s, struct session_edge *into, const struct session_edge *p)
{
	struct session *a = &into->session;
	const struct session *b = &p->session;
	bool exits = s->plan->exits;
	int64_t ms = exits ? a->last_ms : a->first_ms, other_ms = exits ? b->last_ms : b->first_ms;

	if (s->plan->n_breakdowns && ms == other_ms)
		meet_edge(&into->edge, &p->edge, exits);
	else if (s->plan->n_breakdowns && (other_ms > ms) == exits)
		into->edge = p->edge;
	a->first_ms = b->first_ms < a->first_ms ? b->first_ms : a->first_ms;
	if (s->counts)
		a->n += b->n;
	else
		a->last_ms = b->last_ms > a->last_ms ? b->last_ms : a->last_ms;
}

/* What was taken over is of no interest any more, nor its doubts. Both parts are taken back as
 * they were counted, so before they are joined. */
static bool meet(void *arg, uint32_t *record, uint32_t *later)
{
	struct sessions *s = arg;
	struct session_edge a = {0}, b = {0};
	uint64_t times = unpack(s, record, 0, &a);

	unpack(s, later, 1, &b);
	if (s->plan->n_breakdowns)
		later[TIMES_WORDS] &= ~(uint32_t)DOUBTS;
	s->taken_back = true;
	if (!count(s, &a.session, -1) || !count(s, &b.session, -1))
		return false;
	join(s, &a, &b);
	s->unsure |= a.edge.doubt == EDGE_UNSURE;
	return count(s, &a.session, 1) && pack(s, &a.session, times, record);
}

/* As often as records became half as many again, so that what this costs is in proportion. */
static bool merge_when_due(struct sessions *s)
{
	struct records *r = &s->records;

	if (s->merge_at == 0)
		s->merge_at = s->plan->a->cap / MERGE_SHARE /
			      (r->words * sizeof(uint32_t) + sizeof(uint64_t));
	if (r->n < s->merge_at)
		return true;
	if (!records_merge(r, meet, s, false))
		return false;
	if (s->merge_at < (uint64_t)r->n + r->n / 2)
		s->merge_at = (uint64_t)r->n + r->n / 2;
	return true;
}

/* Without breakdowns. What lies in the bucket of the one before is added to that at once. */
static bool count_plain(struct sessions *s)
{
	static const struct buckets_near none = {0}, every = {INT64_MIN, INT64_MAX, 0};
	struct session *all = (struct session *)s->visits.items;
	struct session_bin *bin = &s->bins[s->none];
	struct buckets_near near = none;
	int64_t n = 0;
	double sum = 0;

	for (uint32_t i = 0; i < s->visits.n; i++) {
		struct session *one = &all[i];

		if (one->first_ms >= near.from && one->first_ms < near.to && sum < bin_most) {
			n += is_counted(s, one);
			sum += is_counted(s, one) ? number_of(s, one) : 0;
			continue;
		}
		bin->n += n;
		bin->sum += sum;
		n = 0;
		sum = 0;
		if (!count(s, one, 1))
			return false;
		/* of one that is not counted nobody knows the bucket */
		near = !is_counted(s, one) ? none : s->plan->buckets.n ? s->near : every;
	}
	bin->n += n;
	bin->sum += sum;
	return true;
}

/* What was met lately, and which of it is in doubt. */
static bool count_visits(struct sessions *s)
{
	if (!make_bins(s))
		return false;
	if (s->plan->n_breakdowns == 0)
		return count_plain(s);
	for (uint32_t i = 0; i < s->visits.n; i++) {
		struct session *one = visits_item(&s->visits, i);

		s->unsure |= session_edge(one)->doubt == EDGE_UNSURE;
		if (!count(s, one, 1))
			return false;
	}
	return true;
}

/* Records of two kernels are joined as they are, so both must count from one time. */
static void begin_records(struct sessions *s)
{
	const struct visits *v = &s->visits;
	int64_t base_ms = v->n ? ((struct session *)visits_item(v, 0))->first_ms : 0;
	int64_t agreed_ms = SESSIONS_NO_BASE;

	if (s->records.words > 0)
		return;
	records_init(&s->records, s->plan->a, record_words(s->plan));
	s->base_ms = atomic_compare_exchange_strong(s->agreed, &agreed_ms, base_ms) ? base_ms
										    : agreed_ms;
}

bool sessions_put_away(struct sessions *s)
{
	struct visits *v = &s->visits;

	begin_records(s);
	if (watch_over() || !count_visits(s))
		return false;
	for (uint32_t i = 0; i < v->n; i++) {
		struct session *one = visits_item(v, i);
		uint32_t *record = records_add(&s->records, v->digests[i]);

		if (!record || !pack(s, one, 0, record))
			return false;
	}
	visits_forget(v);
	return merge_when_due(s);
}

/* ---- what another one has counted ---- */

/* Numbers of its tuples here, by number there. NULL at the arena's cap. */
static uint32_t *map_tuples(struct sessions *s, const struct trends *other)
{
	struct trends *t = s->trends;
	uint32_t n = s->plan->n_breakdowns, key[PLAN_BREAKDOWNS_MAX];
	uint32_t *map = arena_alloc(s->plan->a, (size_t)other->tuples.n * sizeof(*map));

	for (uint32_t i = 0; map && i < other->tuples.n; i++) {
		const char *texts = other->tuples.strings[i].p;

		/* that of none is the same everywhere */
		map[i] = s->none;
		if (other->tuples.strings[i].n == 0)
			continue;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t text;

			memcpy(&text, texts + k * sizeof(text), sizeof(text));
			key[k] = intern_add(&t->texts, other->texts.strings[text]);
			if (key[k] == INTERN_FULL)
				return NULL;
		}
		map[i] =
			intern_add(&t->tuples, (struct str){(const char *)key, n * sizeof(key[0])});
		if (map[i] == INTERN_FULL)
			return NULL;
	}
	return map;
}

static bool join_cells(struct sessions *s, const struct trends *other, const uint32_t *map)
{
	for (uint32_t i = 0; i < other->n_cells; i++) {
		const struct cell *c = &other->cells[i];
		uint32_t line = trends_line(s->trends, s->kind, map[other->lines[c->line].tuple]);
		struct tally *to =
			line != INTERN_FULL ? trends_cell(s->trends, line, c->bucket) : NULL;

		if (!to)
			return false;
		tally_merge(to, &c->t);
	}
	return true;
}

/* What its records refer to becomes what is here. */
static bool move_records(struct sessions *s, struct sessions *other, const uint32_t *map)
{
	for (uint32_t i = 0; i < other->records.n; i++) {
		uint32_t *record = records_at(&other->records, i);
		uint64_t times;

		memcpy(&times, record, sizeof(times));
		if (times & wide_mark) {
			struct session one;

			unpack_times(other, times, &one);
			if (!pack_times(s, &one, 0, &times))
				return false;
			memcpy(record, &times, sizeof(times));
		}
		if (s->plan->n_breakdowns) {
			uint32_t edge = record[TIMES_WORDS];

			record[TIMES_WORDS] =
				map[edge >> DOUBT_BITS] << DOUBT_BITS | (edge & DOUBTS);
		}
	}
	return true;
}

/* Both threads have ended. What the other one has met is counted first: only then all its cells
 * are there. */
bool sessions_join(struct sessions *s, struct sessions *other)
{
	uint32_t *map;

	if (!sessions_put_away(other) || !empty_bins(other))
		return false;
	map = map_tuples(s, other->trends);
	if (!map || !join_cells(s, other->trends, map))
		return false;
	begin_records(s);
	tally_merge(&s->total, &other->total);
	s->unsure |= other->unsure;
	s->taken_back |= other->taken_back;
	return ((s->plan->n_breakdowns == 0 && other->n_wide == 0) ||
		       move_records(s, other, map)) &&
	       records_join(&s->records, &other->records);
}

/* ---- the answer ---- */

static bool is_unsure(const struct sessions *s, struct session *one)
{
	return session_edge(one)->doubt == EDGE_UNSURE && is_counted(s, one);
}

/* Whether only ids tell an order that matters. */
static bool any_unsure(struct sessions *s)
{
	struct session_edge e;

	if (!s->unsure)
		return false;
	for (uint32_t i = 0; i < s->visits.n; i++)
		if (is_unsure(s, visits_item(&s->visits, i)))
			return true;
	for (uint32_t i = 0; i < s->records.n; i++) {
		unpack(s, records_at(&s->records, i), 0, &e);
		if (is_unsure(s, &e.session))
			return true;
	}
	return false;
}

/* Counts everything. Few sessions were never put away. */
static bool count_all(struct sessions *s)
{
	if (s->records.n == 0)
		return count_visits(s) && empty_bins(s);
	return sessions_put_away(s) && records_merge(&s->records, meet, s, true) && empty_bins(s);
}

/* Cells, and then lines, of which nothing is left. The tables by key are wrong from here on:
 * nothing may be counted any more. */
static bool drop_empty(struct sessions *s)
{
	struct trends *t = s->trends;
	uint32_t *moved = arena_array(s->plan->a, (size_t)t->n_lines + 1, sizeof(*moved)), n = 0;

	if (!moved)
		return false;
	for (uint32_t i = 0; i < t->n_cells; i++) {
		if (t->cells[i].t.count == 0)
			continue;
		moved[t->cells[i].line] = 1;
		t->cells[n++] = t->cells[i];
	}
	t->n_cells = n;
	n = 0;
	for (uint32_t i = 0; i < t->n_lines; i++) {
		t->lines[n] = t->lines[i];
		n += moved[i];
		moved[i] = n - 1;
	}
	t->n_lines = n;
	for (uint32_t i = 0; i < t->n_cells; i++)
		t->cells[i].line = moved[t->cells[i].line];
	return true;
}

bool sessions_finish(struct sessions *s, const struct trend_series **series, uint32_t *n)
{
	if (!count_all(s))
		return false;
	s->undecided = any_unsure(s);
	if (s->undecided || (s->taken_back && !drop_empty(s)))
		return false;
	return trends_finish(s->trends, series, n);
}

bool sessions_total(struct sessions *s, double *total)
{
	if (!count_all(s))
		return false;
	*total = tally_value(&s->total, s->plan->events[0].agg);
	return true;
}

bool sessions_undecided(const struct sessions *s)
{
	return s->undecided;
}
