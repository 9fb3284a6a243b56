/*
 * See sessions.h. A session is looked for once a frame and not once an event, by
 * dictionary code. With breakdowns a frame is summed up per session first: of its first or
 * last event only the values are kept, as a tuple of the trend to come.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/codes.h"
#include "worker/insights/edge.h"
#include "worker/insights/hits.h"
#include "worker/insights/sessions.h"
#include "worker/insights/trends_internal.h"
#include "worker/insights/uuids.h"
#include "worker/insights/watch.h"

/* One session; with breakdowns an edge of the same number goes with it. No metric asks for
 * both its last event and their number. */
struct session {
	int64_t first_ms; /* INT64_MAX: no event yet */
	union {
		int64_t last_ms;
		uint64_t n;
	};
};

struct sessions {
	const struct plan *plan;
	struct uuids ids;      /* with a struct session each */
	struct chunks edges;   /* by number of the id; first or last events */
	uint32_t n;            /* of them begun */
	bool counts;           /* their events are counted */
	struct trends *trends; /* where texts and tuples live */
	bool undecided;        /* only ids tell which event of a session is the edge */
	/* of the frame at hand */
	struct codes columns[PLAN_BREAKDOWNS_MAX];
	uint32_t source;  /* its number */
	uint32_t *tuples; /* of one breakdown: by code, INTERN_FULL: not known yet */
};

/* What one frame says of one session. */
struct part {
	int64_t first_ms, last_ms;
	uint32_t n;
	uint32_t edge; /* row of its first or last event */
};

struct sessions *sessions_new(const struct plan *plan)
{
	struct sessions *s = arena_zalloc(plan->a, sizeof(*s));

	if (!s)
		return NULL;
	s->plan = plan;
	s->counts =
		plan->session_number == SESSION_BOUNCE || plan->session_number == SESSION_EVENTS;
	uuids_init_items(&s->ids, plan->a, sizeof(struct session));
	chunks_init(&s->edges, plan->a, sizeof(struct edge));
	s->trends = trends_new(plan);
	return s->trends ? s : NULL;
}

static struct session *session_at(const struct sessions *s, uint32_t no)
{
	return uuids_item(&s->ids, no);
}

/* ---- folding ---- */

/* Whether of two events of one time that at the later row is nearer to the wanted end of their
 * session (D29). */
static bool is_nearer(const struct sessions *s, const struct batch *b, uint32_t row, uint32_t other)
{
	bool after = b->ordered ||
		     memcmp(b->ids + (size_t)row * 16, b->ids + (size_t)other * 16, 16) > 0;

	return after == s->plan->exits;
}

/* Mostly without a branch: what comes first for one session is not for another. */
static void add(const struct sessions *s, const struct frame *f, struct part *part, uint32_t row)
{
	int64_t ms = f->batch->times[row];
	bool nearer = s->plan->exits ? ms > part->last_ms : ms < part->first_ms;

	if (ms == (s->plan->exits ? part->last_ms : part->first_ms))
		nearer = part->n > 0 && is_nearer(s, f->batch, row, part->edge);
	part->edge = nearer ? row : part->edge;
	part->first_ms = ms < part->first_ms ? ms : part->first_ms;
	part->last_ms = ms > part->last_ms ? ms : part->last_ms;
	part->n++;
}

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

/* Makes those that got a number just now. */
static bool begin_sessions(struct sessions *s)
{
	for (; s->n < s->ids.n; s->n++) {
		struct session *one = session_at(s, s->n);

		if (s->plan->n_breakdowns && !chunks_make(&s->edges, s->n))
			return false;
		one->first_ms = INT64_MAX;
		if (!s->counts)
			one->last_ms = INT64_MIN;
	}
	return true;
}

/* Takes over the edge of a part if it is nearer than what is known. */
static bool merge_edge(
	struct sessions *s, const struct frame *f, const struct part *part, uint32_t no)
{
	struct session *one = session_at(s, no);
	struct edge *edge = chunks_at(&s->edges, no), other;
	int64_t ms = f->batch->times[part->edge];
	int64_t known_ms = s->plan->exits ? one->last_ms : one->first_ms;
	bool anew = one->first_ms == INT64_MAX;
	uint64_t id[2];

	if (!anew && (s->plan->exits ? ms < known_ms : ms > known_ms))
		return true;
	other = edge_of(batch_id(f->batch, part->edge, id), s->source, tuple_of(s, part->edge));
	if (!anew && ms == known_ms)
		edge_meet(edge, &other, s->plan->exits);
	else
		*edge = other;
	return other.tuple != INTERN_FULL;
}

/* n events between two times. */
static void extend(const struct sessions *s, struct session *one, int64_t first_ms, int64_t last_ms,
	uint32_t n)
{
	one->first_ms = first_ms < one->first_ms ? first_ms : one->first_ms;
	if (s->counts)
		one->n += n;
	else
		one->last_ms = last_ms > one->last_ms ? last_ms : one->last_ms;
}

static bool fold_parts(
	struct sessions *s, const struct frame *f, const uint8_t *wanted, const uint32_t *no)
{
	const struct batch_column *c = &f->batch->session;
	struct part *parts = arena_alloc(f->a, ((size_t)c->n_entries + 1) * sizeof(*parts));
	struct hits *h = arena_alloc(f->a, sizeof(*h));

	if (!parts || !h || !begin_frame(s, f))
		return false;
	for (uint32_t k = 0; k <= c->n_entries; k++)
		parts[k] = (struct part){INT64_MAX, INT64_MIN, 0, 0};
	hits_begin(h, f, f->match[0]);
	while (hits_next(h))
		for (uint32_t k = 0; k < h->n; k++)
			add(s, f, &parts[c->codes[h->rows[k]]], h->rows[k]);
	for (uint32_t k = 1; k <= c->n_entries; k++) {
		if (!wanted[k])
			continue;
		if (!merge_edge(s, f, &parts[k], no[k]))
			return false;
		extend(s, session_at(s, no[k]), parts[k].first_ms, parts[k].last_ms, parts[k].n);
	}
	return true;
}

/* Where the sessions of a frame are, by code; that of nobody's events is forgotten. */
static struct session **find_sessions(
	struct sessions *s, const struct frame *f, const uint8_t *wanted, const uint32_t *no)
{
	uint32_t n = f->batch->session.n_entries;
	struct session **at = arena_alloc(f->a, ((size_t)n + 1) * sizeof(*at));

	if (!at)
		return NULL;
	at[0] = arena_zalloc(f->a, sizeof(**at));
	for (uint32_t code = 1; code <= n; code++)
		at[code] = wanted[code] ? session_at(s, no[code]) : NULL;
	return at[0] ? at : NULL;
}

/* What was picked, and the codes of its sessions. */
static bool fold_events(struct sessions *s, const struct picked *p, const uint32_t *codes,
	const uint8_t *wanted, const uint32_t *no)
{
	struct session **at = find_sessions(s, p->f, wanted, no);
	const int64_t *times = p->f->batch->times;

	for (uint32_t k = 0; at && k < p->n; k++) {
		int64_t ms = times[hits_row(p, k)];

		extend(s, at[codes[k]], ms, ms, 1);
	}
	return at != NULL;
}

bool sessions_fold(struct sessions *s, const struct frame *f)
{
	const struct batch_column *c = &f->batch->session;
	uint8_t *wanted = arena_zalloc(f->a, (size_t)c->n_entries + 1);
	uint32_t *no = arena_alloc(f->a, ((size_t)c->n_entries + 1) * sizeof(*no));
	const uint32_t *codes;
	struct picked p;

	if (!wanted || !no || !hits_pick(&p, f, f->match[0], false) || !hits_rows(&p))
		return false;
	codes = hits_column(&p, c->codes);
	if (!codes)
		return false;
	/* code 0: events without a session are nobody's (D36) */
	for (uint32_t k = 0; k < p.n; k++)
		wanted[codes[k]] = 1;
	if (!uuids_add(&s->ids, c, wanted, no) || !begin_sessions(s))
		return false;
	return s->plan->n_breakdowns ? fold_parts(s, f, wanted, no)
				     : fold_events(s, &p, codes, wanted, no);
}

/* ---- the answer ---- */

static bool is_counted(const struct sessions *s, const struct session *one)
{
	return one->first_ms >= s->plan->starts_from_ms && one->first_ms < s->plan->starts_to_ms;
}

static void count(const struct sessions *s, const struct session *one, struct tally *t)
{
	t->count++;
	switch (s->plan->session_number) {
	case SESSION_DURATION:
		tally_number(t, (double)(one->last_ms - one->first_ms));
		break;
	case SESSION_BOUNCE:
		tally_number(t, one->n == 1 ? 100 : 0);
		break;
	case SESSION_EVENTS:
		tally_number(t, (double)one->n);
		break;
	case SESSION_ITSELF:
	default:
		break;
	}
}

/* Where the lines of tuples are remembered. */
struct lines {
	uint32_t kind, none; /* none: the tuple of all where there are no breakdowns */
	uint32_t *of;        /* line + 1, by tuple */
};

static bool find_lines(struct sessions *s, struct lines *l)
{
	struct str kind = s->plan->events[0].kind;

	l->kind = intern_add(&s->trends->kinds, kind.n ? kind : STR("$session"));
	l->none = intern_add(&s->trends->tuples, STR(""));
	l->of = arena_array(s->plan->a, (size_t)s->trends->tuples.n + 1, sizeof(*l->of));
	return l->kind != INTERN_FULL && l->none != INTERN_FULL && l->of;
}

/* NULL at the arena's cap. */
static struct tally *tally_of(struct sessions *s, struct lines *l, uint32_t no, uint32_t bucket)
{
	const struct edge *edge = s->plan->n_breakdowns ? chunks_at(&s->edges, no) : NULL;
	uint32_t tuple = edge ? edge->tuple : l->none;

	if (l->of[tuple] == 0)
		l->of[tuple] = trends_line(s->trends, l->kind, tuple) + 1;
	return l->of[tuple] ? trends_cell(s->trends, l->of[tuple] - 1, bucket) : NULL;
}

bool sessions_finish(struct sessions *s, const struct trend_series **series, uint32_t *n)
{
	struct buckets_near near = {0};
	struct lines lines;

	if (!find_lines(s, &lines))
		return false;
	for (uint32_t i = 0; i < s->ids.n; i++) {
		const struct session *one = session_at(s, i);
		struct tally *t;

		if (watch_due(i))
			return false;
		if (!is_counted(s, one))
			continue;
		if (s->plan->n_breakdowns &&
			((const struct edge *)chunks_at(&s->edges, i))->doubt == EDGE_UNSURE) {
			s->undecided = true;
			return false;
		}
		t = tally_of(
			s, &lines, i, buckets_find_near(&s->plan->buckets, &near, one->first_ms));
		if (!t)
			return false;
		count(s, one, t);
	}
	return trends_finish(s->trends, series, n);
}

double sessions_total(const struct sessions *s)
{
	struct tally t = {0};

	for (uint32_t i = 0; i < s->ids.n && !watch_due(i); i++)
		if (is_counted(s, session_at(s, i)))
			count(s, session_at(s, i), &t);
	return tally_value(&t, s->plan->events[0].agg);
}

bool sessions_undecided(const struct sessions *s)
{
	return s->undecided;
}
