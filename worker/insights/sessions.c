/*
 * See sessions.h. A frame is summed up per session first, by dictionary code, and a session is
 * looked for once a frame. Only those met lately are: what a later part of a session that was put
 * away says is put to it at the end (sessions_count.c). Of the first or last event only the
 * values are kept, as a tuple of the trend to come.
 */
#include "worker/insights/hits.h"
#include "worker/insights/sessions_internal.h"

/* What one frame says of one session. */
struct part {
	int64_t first_ms, last_ms;
	uint32_t n;
	uint32_t edge; /* row of its first or last event */
};

/* The parts of a frame, by code. Where rows are in order: which of the picked events are the first
 * and the last, and how many there are; else ready. */
struct parts {
	const struct picked *p;
	uint32_t *first, *last, *n;
	struct part *ready;
};

struct sessions *sessions_new(const struct plan *plan)
{
	struct sessions *s = arena_zalloc(plan->a, sizeof(*s));
	struct str kind = plan->events[0].kind;
	bool edges = plan->n_breakdowns > 0;

	if (!s)
		return NULL;
	s->plan = plan;
	s->counts =
		plan->session_number == SESSION_BOUNCE || plan->session_number == SESSION_EVENTS;
	s->lasts = plan->session_number == SESSION_DURATION || plan->exits;
	s->settled_ms = INT64_MIN;
	s->agreed_ms = SESSIONS_NO_BASE;
	s->agreed = &s->agreed_ms;
	visits_init(
		&s->visits, plan->a, edges ? sizeof(struct session_edge) : sizeof(struct session));
	chunks_init(&s->wide, plan->a, sizeof(struct session));
	s->trends = trends_new(plan);
	if (!s->trends)
		return NULL;
	s->kind = intern_add(&s->trends->kinds, kind.n ? kind : STR("$session"));
	s->none = intern_add(&s->trends->tuples, STR(""));
	return s->kind != INTERN_FULL && s->none != INTERN_FULL ? s : NULL;
}

/* Under one key, so that both have one digest for a session; and with one base for times, so that
 * records go over as they are. */
struct sessions *sessions_twin(const struct sessions *of, const struct plan *plan)
{
	struct sessions *s = sessions_new(plan);

	if (!s)
		return NULL;
	memcpy(s->visits.key, of->visits.key, sizeof(s->visits.key));
	s->agreed = of->agreed;
	return s;
}

/* ---- a frame, by code ---- */

/* Whether of two events of one time that at the later row is nearer to the wanted end of their
 * session (D29). */
static bool is_nearer(const struct sessions *s, const struct batch *b, uint32_t row, uint32_t other)
{
	bool after = memcmp(b->ids + (size_t)row * 16, b->ids + (size_t)other * 16, 16) > 0;

	return after == s->plan->exits;
}

/* Mostly without a branch: what comes first for one session is not for another. */
static void add(const struct sessions *s, const struct batch *b, struct part *part, uint32_t row)
{
	int64_t ms = b->times[row];
	bool nearer = s->plan->exits ? ms > part->last_ms : ms < part->first_ms;

	if (s->plan->n_breakdowns && ms == (s->plan->exits ? part->last_ms : part->first_ms))
		nearer = part->n > 0 && is_nearer(s, b, row, part->edge);
	part->edge = nearer ? row : part->edge;
	part->first_ms = ms < part->first_ms ? ms : part->first_ms;
	part->last_ms = ms > part->last_ms ? ms : part->last_ms;
	part->n++;
}

/* Rows of the inbox: in any order, but with all ids if these are needed (batch.h). */
static bool find_any_order(
	const struct sessions *s, struct parts *u, const struct batch *b, const uint32_t *codes)
{
	uint32_t n = b->session.n_entries;

	u->ready = arena_alloc(u->p->f->a, ((size_t)n + 1) * sizeof(*u->ready));
	if (!u->ready)
		return false;
	for (uint32_t k = 0; k <= n; k++)
		u->ready[k] = (struct part){INT64_MAX, INT64_MIN, 0, 0};
	for (uint32_t k = 0; k < u->p->n; k++)
		add(s, b, &u->ready[codes[k]], hits_row(u->p, k));
	return true;
}

/* Bytes may be anybody's: what the loops need is not read through pointers. */
static void note_firsts(uint32_t *first, const uint32_t *codes, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		uint32_t known = first[codes[k]];

		first[codes[k]] = k < known ? k : known;
	}
}

static void note_ends(uint32_t *first, uint32_t *last, const uint32_t *codes, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++) {
		uint32_t code = codes[k], known = first[code];

		first[code] = k < known ? k : known;
		last[code] = k;
	}
}

static void note_counts(uint32_t *counts, const uint32_t *codes, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		counts[codes[k]]++;
}

/* last[] is set where first[] is, and looked at there only: it need not be cleared. */
static bool find_in_order(
	const struct sessions *s, struct parts *u, const struct batch *b, const uint32_t *codes)
{
	size_t n = (size_t)b->session.n_entries + 1;
	struct arena *a = u->p->f->a;

	u->first = arena_alloc(a, n * sizeof(*u->first));
	u->last = s->lasts ? arena_alloc(a, n * sizeof(*u->last)) : u->first;
	u->n = s->counts ? arena_array(a, n, sizeof(*u->n)) : NULL;
	if (!u->first || !u->last || (s->counts && !u->n))
		return false;
	memset(u->first, 0xff, n * sizeof(*u->first));
	if (s->lasts)
		note_ends(u->first, u->last, codes, u->p->n);
	else
		note_firsts(u->first, codes, u->p->n);
	if (s->counts)
		note_counts(u->n, codes, u->p->n);
	return true;
}

static inline struct part part_of(const struct sessions *s, const struct parts *u, uint32_t code)
{
	const int64_t *times = u->p->f->batch->times;
	uint32_t first, last;

	if (u->ready)
		return u->ready[code];
	first = hits_row(u->p, u->first[code]);
	last = hits_row(u->p, u->last[code]);
	return (struct part){
		times[first], times[last], u->n ? u->n[code] : 0, s->plan->exits ? last : first};
}

/* ---- into sessions ---- */

/* The tuple of the event at row; INTERN_FULL at the arena's cap. */
static uint32_t tuple_of(struct sessions *s, uint32_t row)
{
	uint32_t key[PLAN_BREAKDOWNS_MAX], n = s->plan->n_breakdowns;
	uint32_t *known = s->tuples ? &s->tuples[s->columns[0].column->codes[row]] : NULL, tuple;

	if (known && *known != INTERN_FULL)
		return *known;
	for (uint32_t k = 0; k < n; k++) {
		key[k] = codes_at(&s->columns[k], row);
		if (key[k] == INTERN_FULL)
			return INTERN_FULL;
	}
	tuple = intern_add(&s->trends->tuples, (struct str){(const char *)key, n * sizeof(key[0])});
	if (known)
		*known = tuple;
	return tuple;
}

static bool begin_frame(struct sessions *s, const struct frame *f)
{
	size_t n;

	s->source++;
	for (uint32_t k = 0; k < s->plan->n_breakdowns; k++) {
		uint32_t prop = s->plan->breakdowns[k];

		if (!codes_init(&s->columns[k], &s->trends->texts, &f->batch->props[prop],
			    s->plan->need.props[prop].class, f->a))
			return false;
	}
	if (s->plan->n_breakdowns != 1)
		return true;
	n = ((size_t)s->columns[0].column->n_entries + 1) * sizeof(*s->tuples);
	s->tuples = arena_alloc(f->a, n);
	if (s->tuples)
		memset(s->tuples, 0xff, n);
	return s->tuples != NULL;
}

/* Takes over the edge of a part if it is nearer than what is known. */
static inline bool merge_edge(
	struct sessions *s, const struct frame *f, const struct part *part, struct session *one)
{
	int64_t ms = s->plan->exits ? part->last_ms : part->first_ms;
	int64_t known_ms = s->plan->exits ? one->last_ms : one->first_ms;
	bool anew = one->first_ms == INT64_MAX;
	struct edge *edge = session_edge(one);
	const uint64_t *id;
	uint64_t room[2];
	uint32_t tuple;

	if (!anew && (s->plan->exits ? ms < known_ms : ms > known_ms))
		return true;
	tuple = tuple_of(s, part->edge);
	id = batch_id(f->batch, part->edge, room);
	if (!anew && ms == known_ms) {
		struct edge other = edge_of(id, s->source, tuple);

		edge_meet(edge, &other, s->plan->exits);
	} else {
		*edge = edge_of(id, s->source, tuple);
	}
	return tuple != INTERN_FULL;
}

static void extend(const struct sessions *s, struct session *one, const struct part *part)
{
	one->first_ms = part->first_ms < one->first_ms ? part->first_ms : one->first_ms;
	if (s->counts)
		one->n += part->n;
	else
		one->last_ms = part->last_ms > one->last_ms ? part->last_ms : one->last_ms;
}

/* The times of what was picked first and last, by code. */
struct ends {
	const int64_t *times;
	const uint32_t *rows, *first, *last; /* rows or NULL: every */
};

static inline int64_t time_at(const struct ends *e, uint32_t k)
{
	return e->times[e->rows ? e->rows[k] : k];
}

/* Without breakdowns, and where rows are in order, nothing is asked that depends. */
static void extend_lasts(const struct visits *v, const struct ends *ends, const uint32_t *codes,
	const uint32_t *no, uint32_t n)
{
	struct session *all = (struct session *)v->items;
	struct ends e = *ends;

	for (uint32_t k = 0; k < n; k++) {
		struct session *one = &all[no[k]];
		int64_t first = time_at(&e, e.first[codes[k]]);
		int64_t last = time_at(&e, e.last[codes[k]]);

		one->first_ms = first < one->first_ms ? first : one->first_ms;
		one->last_ms = last > one->last_ms ? last : one->last_ms;
	}
}

static void extend_counts(const struct visits *v, const struct ends *ends, const uint32_t *counts,
	const uint32_t *codes, const uint32_t *no, uint32_t n)
{
	struct session *all = (struct session *)v->items;
	struct ends e = *ends;

	for (uint32_t k = 0; k < n; k++) {
		struct session *one = &all[no[k]];
		int64_t first = time_at(&e, e.first[codes[k]]);

		one->first_ms = first < one->first_ms ? first : one->first_ms;
		one->n += counts[codes[k]];
	}
}

static void extend_some(const struct visits *v, const struct parts *u, const uint32_t *codes,
	const uint32_t *no, uint32_t n)
{
	struct ends e = {u->p->f->batch->times, u->p->rows, u->first, u->last};

	if (u->n)
		extend_counts(v, &e, u->n, codes, no, n);
	else
		extend_lasts(v, &e, codes, no, n);
}

/* Some codes that are there. */
static bool fold_some(struct sessions *s, const struct parts *u, const uint32_t *codes, uint32_t n)
{
	struct visits *v = &s->visits;
	uint32_t no[VISITS_SOME], known;

	if (v->n + n > VISITS_MAX && !sessions_put_away(s))
		return false;
	known = v->n;
	if (!visits_find(v, &u->p->f->batch->session, codes, n, no))
		return false;
	for (uint32_t k = known; k < v->n; k++) {
		struct session *one = visits_item(v, k);

		one->first_ms = INT64_MAX;
		if (s->counts)
			one->n = 0;
		else
			one->last_ms = INT64_MIN;
	}
	if (!u->ready && s->plan->n_breakdowns == 0) {
		extend_some(v, u, codes, no, n);
		return true;
	}
	for (uint32_t k = 0; k < n; k++) {
		struct session *one = visits_item(v, no[k]);
		struct part part = part_of(s, u, codes[k]);

		if (s->plan->n_breakdowns && !merge_edge(s, u->p->f, &part, one))
			return false;
		extend(s, one, &part);
	}
	return true;
}

/* Whether none is missing, as without conditions. */
static bool are_all_there(const uint32_t *first, uint32_t n)
{
	uint32_t missing = 0;

	for (uint32_t k = 0; k < n; k++)
		missing |= first[k] == UINT32_MAX;
	return !missing;
}

/* Those of n codes from `code` on that are there; how many. */
static uint32_t list(const struct parts *u, uint32_t code, uint32_t n, uint32_t *some)
{
	uint32_t found = 0;

	if (u->first && are_all_there(u->first + code, n)) {
		for (uint32_t k = 0; k < n; k++)
			some[k] = code + k;
		return n;
	}
	for (uint32_t k = 0; k < n; k++) {
		some[found] = code + k;
		found += u->ready ? u->ready[code + k].n > 0 : u->first[code + k] != UINT32_MAX;
	}
	return found;
}

/* Code 0 is not looked at: events without a session are nobody's (D36). */
static bool fold_parts(struct sessions *s, const struct parts *u)
{
	uint32_t some[VISITS_SOME], n_codes = u->p->f->batch->session.n_entries;

	for (uint32_t code = 1; code <= n_codes; code += VISITS_SOME) {
		uint32_t left = n_codes - code + 1;
		uint32_t n = list(u, code, left < VISITS_SOME ? left : VISITS_SOME, some);

		if (n > 0 && !fold_some(s, u, some, n))
			return false;
	}
	return true;
}

/* Consent is not asked: sessions of cookieless visitors count always (insights-dashboards.md
 * 0.8). When a day is over most of its sessions are, too; those that go on get a second
 * record. */
bool sessions_fold(struct sessions *s, const struct frame *f)
{
	const struct batch *b = f->batch;
	struct picked p;
	struct parts u = {.p = &p};
	const uint32_t *codes;

	if (f->settled_ms > s->settled_ms) {
		s->settled_ms = f->settled_ms;
		if (s->visits.n >= VISITS_MANY && !sessions_put_away(s))
			return false;
	}
	if (!hits_pick(&p, f, f->match[0], false) || !hits_rows(&p))
		return false;
	codes = hits_column(&p, b->session.codes);
	if (!codes || !begin_frame(s, f))
		return false;
	return (b->ordered ? find_in_order(s, &u, b, codes) : find_any_order(s, &u, b, codes)) &&
	       fold_parts(s, &u);
}
