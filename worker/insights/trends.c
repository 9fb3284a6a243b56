/*
 * The fold of trends; see trends.h. Everything that depends on a value (its kind,
 * its tuple of breakdown texts, its number) is worked out per dictionary entry of
 * the batch; per event there are lookups and one addition, and events of one line and
 * bucket are added together.
 */
#include "worker/insights/hits.h"
#include "worker/insights/trends_internal.h"
#include "worker/insights/watch.h"

enum { KNOWN_BITS = 10, KNOWN = 1 << KNOWN_BITS };

/* The kind and the texts of an event, and its line; INTERN_FULL: nothing yet. The last key of
 * each place is remembered; one that comes in its way costs a look-up and nothing else, so no
 * hash needs a secret. */
struct known {
	uint32_t key[1 + PLAN_BREAKDOWNS_MAX], line;
};

/* One plan event over one frame. */
struct pass {
	struct trends *t;
	const struct frame *f;
	const struct plan_event *ev;
	uint32_t event;
	const uint32_t *kind_no;                      /* by code of the kind column */
	const uint32_t *text_no[PLAN_BREAKDOWNS_MAX]; /* by code of each breakdown */
	struct numbers numbers;
	struct buckets_near near;
	struct picked picked;
	const uint32_t *codes, *ids; /* of what was picked, where they are looked at */
	bool one_kind;               /* all events have the same */
	/* lines that were found before: by code where all depends on one column, or KNOWN of
	 * them */
	const struct batch_column *by;
	uint32_t *line_by_code;
	struct groups groups; /* by that column, if there is one */
	struct known *known;
};

struct trends *trends_new(const struct plan *plan)
{
	struct trends *t = arena_zalloc(plan->a, sizeof(*t));

	if (!t)
		return NULL;
	t->plan = plan;
	intern_init(&t->kinds, plan->a);
	intern_init(&t->texts, plan->a);
	intern_init(&t->tuples, plan->a);
	intern_init(&t->lines_by_key, plan->a);
	intern_init(&t->cells_by_key, plan->a);
	chunks_init(&t->users, plan->a, sizeof(struct personset));
	t->exists = arena_zalloc(plan->a, plan->buckets.n + 1);
	return t->exists ? t : NULL;
}

/* Numbers of the texts of a column, [0] for the missing value. */
static const uint32_t *intern_column(
	struct intern *to, const struct batch_column *c, enum key_class class, struct arena *a)
{
	static const struct value missing = {.type = VALUE_NONE};
	uint32_t *no = arena_array(a, c->n_entries + 1, sizeof(*no));
	char scratch[VALUE_TEXT_MAX];

	for (uint32_t i = 0; no && i <= c->n_entries; i++) {
		const struct value *v = i ? &c->entries[i - 1] : &missing;

		no[i] = intern_add(to, value_text(v, class, scratch));
		if (no[i] == INTERN_FULL)
			return NULL;
	}
	return no;
}

static struct str key_of(const void *p, size_t n)
{
	return (struct str){p, n};
}

/* The array as it is, or moved with room for item n, which is not cleared. */
static void *grown(struct arena *a, void *old, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t more = *cap ? *cap * 2 : 64;
	void *p = n < *cap ? old : arena_grow(a, old, *cap * size, more * size);

	if (p && n >= *cap)
		*cap = more;
	return p;
}

static uint32_t line_add(struct trends *t, uint32_t event, uint32_t kind, uint32_t tuple)
{
	uint32_t key[3] = {event, kind, tuple};
	uint32_t no = intern_add(&t->lines_by_key, key_of(key, sizeof(key)));

	if (no == INTERN_FULL || no < t->n_lines)
		return no;
	t->lines = grown(t->plan->a, t->lines, no, &t->cap_lines, sizeof(*t->lines));
	if (!t->lines)
		return INTERN_FULL;
	t->lines[no] = (struct line){event, kind, tuple, PLAN_NONE, 0};
	t->n_lines = no + 1;
	return no;
}

/* As many persons as in the bucket before: days are alike. The cell of that one has a set,
 * because it was made to add events to it (add_events()). */
static bool expect_users(struct trends *t, const struct line *l, uint32_t cell)
{
	struct personset *users;

	if (l->last_bucket == PLAN_NONE || !tally_needs_users(t->plan->events[l->event].agg))
		return true;
	users = chunks_make(&t->users, cell);
	return users && personset_expect_loose(
				users, t->plan->a, &t->marks, chunks_at(&t->users, l->last_cell));
}

/* May move the cells, but never the lines. */
static uint32_t cell_add(struct trends *t, uint32_t line, uint32_t bucket)
{
	uint32_t key[2] = {line, bucket}, no;
	struct line *l = &t->lines[line];

	if (l->last_bucket == bucket)
		return l->last_cell;
	no = intern_add(&t->cells_by_key, key_of(key, sizeof(key)));
	if (no == INTERN_FULL)
		return no;
	if (no >= t->n_cells) {
		t->cells = grown(t->plan->a, t->cells, no, &t->cap_cells, sizeof(*t->cells));
		if (!t->cells)
			return INTERN_FULL;
		t->cells[no] = (struct cell){.line = line, .bucket = bucket};
		t->n_cells = no + 1;
		if (!expect_users(t, l, no))
			return INTERN_FULL;
	}
	l->last_bucket = bucket;
	l->last_cell = no;
	return no;
}

static uint32_t find_line(struct pass *p, const uint32_t *key)
{
	uint32_t n = p->t->plan->n_breakdowns;
	uint32_t tuple = intern_add(&p->t->tuples, key_of(key + 1, n * sizeof(*key)));

	return tuple == INTERN_FULL ? tuple : line_add(p->t, p->event, key[0], tuple);
}

/* A line by the numbers of all its values. */
static uint32_t line_of_key(struct pass *p, const uint32_t *key)
{
	uint32_t n = 1 + p->t->plan->n_breakdowns, hash = key[0];
	struct known *known;
	bool same;

	for (uint32_t k = 1; k < n; k++)
		hash = hash * 31 + key[k];
	known = &p->known[hash * 0x9e3779b9u >> (32 - KNOWN_BITS)];
	same = known->line != INTERN_FULL;
	for (uint32_t k = 0; k < n; k++)
		same &= known->key[k] == key[k];
	if (!same) {
		known->line = find_line(p, key);
		memcpy(known->key, key, n * sizeof(*key));
	}
	return known->line;
}

/* That of events with a code of the column that all depends on: a kind, or a value of events of
 * one kind. */
static uint32_t line_of_code(struct pass *p, uint32_t code)
{
	const struct batch_column *kind = &p->f->batch->kind;
	uint32_t *known = &p->line_by_code[code], key[2] = {0};

	if (*known != INTERN_FULL)
		return *known;
	key[0] = p->kind_no[p->by == kind ? code : kind->codes[0]];
	if (p->by != kind)
		key[1] = p->text_no[0][code];
	*known = find_line(p, key);
	return *known;
}

/* The line of one event. */
static uint32_t line_of(struct pass *p, uint32_t row)
{
	const struct plan *plan = p->t->plan;
	uint32_t key[1 + PLAN_BREAKDOWNS_MAX];

	if (p->by)
		return line_of_code(p, p->by->codes[row]);
	key[0] = p->kind_no[p->f->batch->kind.codes[row]];
	for (uint32_t k = 0; k < plan->n_breakdowns; k++)
		key[1 + k] = p->text_no[k][p->f->batch->props[plan->breakdowns[k]].codes[row]];
	return line_of_key(p, key);
}

/* n events of one line and bucket, with these ids. NULL at the arena's cap. The tally stays there
 * until the next cell is made. */
static struct tally *add_events(
	struct pass *p, uint32_t line, const uint32_t *ids, uint32_t n, uint32_t bucket)
{
	struct trends *t = p->t;
	struct personset *users;
	struct tally *tally;
	uint32_t cell;

	cell = line == INTERN_FULL ? line : cell_add(t, line, bucket);
	if (cell == INTERN_FULL)
		return NULL;
	tally = &t->cells[cell].t;
	tally->count += n;
	if (!tally_needs_users(p->ev->agg))
		return tally;
	users = chunks_make(&t->users, cell);
	if (!users || !personset_add_loose(users, t->plan->a, &t->marks, ids, n))
		return NULL;
	return tally;
}

static bool add_event(struct pass *p, uint32_t row, const uint32_t *id, uint32_t bucket)
{
	struct tally *tally = add_events(p, line_of(p, row), id, 1, bucket);

	if (tally && p->ev->number != PLAN_NONE && p->numbers.has[p->numbers.codes[row]])
		tally_number(tally, p->numbers.v[p->numbers.codes[row]]);
	return tally != NULL;
}

/* Without values of a column all are of the first one. */
static bool are_alike(const struct pass *p)
{
	return p->one_kind && p->t->plan->n_breakdowns == 0 && p->ev->number == PLAN_NONE;
}

/* Numbers are added one by one: a tally needs each, and has no use for a group. */
static bool are_grouped(const struct pass *p)
{
	return p->by && p->ev->number == PLAN_NONE && !are_alike(p);
}

static const uint32_t *ids_at(const struct pass *p, uint32_t k)
{
	return p->ids ? p->ids + k : NULL;
}

/* Of the events picked n from `at` on, which lie in one bucket. */
static bool add_run(struct pass *p, uint32_t at, uint32_t n, uint32_t bucket)
{
	struct groups *g = &p->groups;

	if (are_alike(p))
		return add_events(p, line_of(p, hits_row(&p->picked, at)), ids_at(p, at), n,
			       bucket) != NULL;
	for (uint32_t k = at; k < at + n && !are_grouped(p); k++)
		if (!add_event(p, hits_row(&p->picked, k), ids_at(p, k), bucket))
			return false;
	if (!are_grouped(p))
		return true;
	groups_make(g, p->codes + at, n, ids_at(p, at));
	for (uint32_t i = 0; i < g->n; i++)
		if (!add_events(p, line_of_code(p, g->v[i].code), g->values + g->v[i].at, g->v[i].n,
			    bucket))
			return false;
	return true;
}

/* Buckets with events that match, whether or not they count (D72, D73). */
static bool note_buckets(struct pass *p)
{
	uint32_t bucket;

	if (!hits_pick(&p->picked, p->f, p->f->match[p->event], false))
		return false;
	if (!hits_rows(&p->picked))
		return false;
	for (uint32_t at = 0; at < p->picked.n;) {
		at += hits_in_bucket(&p->picked, &p->t->plan->buckets, &p->near, at, &bucket);
		p->t->exists[bucket] = 1;
	}
	return true;
}

/* Columns of what is to be counted. */
static bool pick(struct pass *p)
{
	struct trends *t = p->t;
	bool users = tally_needs_users(p->ev->agg);

	if (!hits_pick(&p->picked, p->f, p->f->match[p->event], p->ev->consented))
		return false;
	if (p->picked.n == 0)
		return true;
	p->codes = are_grouped(p) ? hits_column(&p->picked, p->by->codes) : NULL;
	p->ids = users ? hits_ids(&p->picked) : NULL;
	if (!hits_rows(&p->picked) || (are_grouped(p) && !p->codes) || (users && !p->ids))
		return false;
	if (are_grouped(p) && !groups_init(&p->groups, p->by->n_entries, p->picked.n, p->f->a))
		return false;
	return !users || marks_reserve(&t->marks, t->plan->a, hits_ids_end(p->f));
}

/* What is remembered of lines is of one plan event, so it begins anew with each. */
static bool fold_event(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;

	if (p->ev->number != PLAN_NONE && !numbers_make(&p->numbers, &b->props[p->ev->number],
						  plan->need.props[p->ev->number].class, p->f->a))
		return false;
	if (p->by)
		memset(p->line_by_code, 0xff, (p->by->n_entries + 1) * sizeof(*p->line_by_code));
	else
		memset(p->known, 0xff, KNOWN * sizeof(*p->known));
	p->near = (struct buckets_near){0};
	if ((plan->n_events > 1 && !note_buckets(p)) || !pick(p))
		return false;
	for (uint32_t at = 0, n; at < p->picked.n; at += n) {
		uint32_t bucket;

		n = hits_in_bucket(&p->picked, &plan->buckets, &p->near, at, &bucket);
		if (!add_run(p, at, n, bucket))
			return false;
	}
	return true;
}

uint32_t trends_line(struct trends *t, uint32_t kind, uint32_t tuple)
{
	return line_add(t, 0, kind, tuple);
}

struct tally *trends_cell(struct trends *t, uint32_t line, uint32_t bucket)
{
	uint32_t cell = cell_add(t, line, bucket);

	return cell == INTERN_FULL ? NULL : &t->cells[cell].t;
}

static bool is_alike(const uint32_t *codes, uint32_t n)
{
	enum { BLOCK = 1024 };

	for (uint32_t i = 0; i < n; i += BLOCK) {
		uint32_t end = n - i < BLOCK ? n : i + BLOCK, differ = 0;

		for (uint32_t k = i; k < end; k++)
			differ |= codes[k] ^ codes[0];
		if (differ)
			return false;
	}
	return true;
}

/* What is found out by looking at each row or entry once. */
static bool begin(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	struct arena *a = p->f->a;

	p->kind_no = intern_column(&p->t->kinds, &b->kind, KEY_PLAIN, a);
	if (!p->kind_no)
		return false;
	for (uint32_t k = 0; k < plan->n_breakdowns; k++) {
		uint32_t prop = plan->breakdowns[k];

		p->text_no[k] = intern_column(
			&p->t->texts, &b->props[prop], plan->need.props[prop].class, a);
		if (!p->text_no[k])
			return false;
	}
	p->one_kind = b->one_kind || is_alike(b->kind.codes, b->n);
	if (plan->n_breakdowns == 0)
		p->by = &b->kind;
	else if (plan->n_breakdowns == 1 && p->one_kind)
		p->by = &b->props[plan->breakdowns[0]];
	if (!p->by) {
		p->known = arena_alloc(a, KNOWN * sizeof(*p->known));
		return p->known != NULL;
	}
	p->line_by_code = arena_alloc(a, (p->by->n_entries + 1) * sizeof(*p->line_by_code));
	return p->line_by_code != NULL;
}

bool trends_fold(struct trends *t, const struct frame *f)
{
	struct pass p = {.t = t, .f = f};

	t->people = f->people;
	if (!begin(&p))
		return false;
	for (p.event = 0; p.event < t->plan->n_events; p.event++) {
		p.ev = &t->plan->events[p.event];
		/* they are as many as a call has memory for */
		if (watch_over() || !fold_event(&p))
			return false;
	}
	return true;
}
