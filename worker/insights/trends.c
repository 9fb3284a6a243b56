/*
 * The fold of trends; see trends.h. Everything that depends on a value (its kind,
 * its tuple of breakdown texts, its number) is worked out per dictionary entry of
 * the batch; per event there are lookups and one addition, and events of one line and
 * bucket are added together.
 */
#include "worker/insights/hits.h"
#include "worker/insights/trends_internal.h"

enum { KNOWN_BITS = 10, KNOWN = 1 << KNOWN_BITS };

/* The kind and the texts of an event, and its line; INTERN_FULL: nothing yet. */
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
	struct hits *hits;
	uint32_t *persons; /* room for those of the hits */
	bool one_kind;     /* all events have the same */
	/* lines that were found before: by code where all depends on one column, or KNOWN of
	 * them */
	const struct batch_column *by;
	uint32_t *line_by_code;
	struct groups *groups; /* by that column, if there is one */
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

/* As many persons as in the bucket before: days are alike. */
static bool expect_users(struct trends *t, const struct line *l, uint32_t cell)
{
	struct personset *users;

	if (l->last_bucket == PLAN_NONE || !tally_needs_users(t->plan->events[l->event].agg))
		return true;
	users = chunks_make(&t->users, cell);
	return users && personset_expect(users, t->plan->a, chunks_at(&t->users, l->last_cell));
}

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

/* The line of one event. */
static uint32_t line_of(struct pass *p, uint32_t row)
{
	const struct plan *plan = p->t->plan;
	uint32_t key[1 + PLAN_BREAKDOWNS_MAX];
	uint32_t *known = p->by ? &p->line_by_code[p->by->codes[row]] : NULL;

	if (known && *known != INTERN_FULL)
		return *known;
	key[0] = p->kind_no[p->f->batch->kind.codes[row]];
	for (uint32_t k = 0; k < plan->n_breakdowns; k++)
		key[1 + k] = p->text_no[k][p->f->batch->props[plan->breakdowns[k]].codes[row]];
	if (!known)
		return line_of_key(p, key);
	*known = find_line(p, key);
	return *known;
}

/* Events of one line and bucket, and with room whose they are. */
static bool add_events(
	struct pass *p, const uint32_t *rows, const uint32_t *persons, uint32_t n, uint32_t bucket)
{
	struct trends *t = p->t;
	uint32_t line = line_of(p, rows[0]), cell;
	struct tally *tally;

	cell = line == INTERN_FULL ? line : cell_add(t, line, bucket);
	if (cell == INTERN_FULL)
		return false;
	tally = &t->cells[cell].t;
	tally->count += n;
	if (tally_needs_users(p->ev->agg)) {
		struct personset *users = chunks_make(&t->users, cell);

		if (!users || !(n == 1 ? personset_add(users, t->plan->a, *persons) >= 0
				       : personset_add_all(users, t->plan->a, persons, n)))
			return false;
		tally->users = users->n;
		return true;
	}
	for (uint32_t k = 0; k < n && p->ev->number != PLAN_NONE; k++)
		if (p->numbers.has[p->numbers.codes[rows[k]]])
			tally_number(tally, p->numbers.v[p->numbers.codes[rows[k]]]);
	return true;
}

/* How many of the hits from `at` on lie in the bucket of the first, which is set. */
static uint32_t in_bucket(struct pass *p, uint32_t at, uint32_t *bucket)
{
	const int64_t *times = p->f->batch->times;
	const struct hits *h = p->hits;
	struct buckets_near near;
	uint32_t k = at + 1;

	*bucket = buckets_find_near(&p->t->plan->buckets, &p->near, times[h->rows[at]]);
	near = p->near;
	while (k < h->n && times[h->rows[k]] >= near.from && times[h->rows[k]] < near.to)
		k++;
	return k - at;
}

/* The same for events of several lines, which depend on one code. */
static bool add_groups(struct pass *p, const uint32_t *rows, uint32_t n, uint32_t bucket)
{
	struct groups *g = p->groups;

	groups_make(g, rows, n, tally_needs_users(p->ev->agg) ? p->persons : NULL);
	for (uint32_t i = 0; i < g->n; i++)
		if (!add_events(p, &g->v[i].row, g->persons + g->v[i].at, g->v[i].n, bucket))
			return false;
	return true;
}

static bool add_hits(struct pass *p, uint32_t *rows, uint32_t n, uint32_t bucket)
{
	bool one_line = p->one_kind && p->t->plan->n_breakdowns == 0;

	p->t->exists[bucket] = 1;
	if (p->ev->consented)
		n = hits_consented(p->f, rows, n);
	if (tally_needs_users(p->ev->agg))
		hits_persons(p->f, rows, n, p->persons);
	if (one_line)
		return n == 0 || add_events(p, rows, p->persons, n, bucket);
	if (p->groups && p->ev->number == PLAN_NONE)
		return add_groups(p, rows, n, bucket);
	for (uint32_t k = 0; k < n; k++)
		if (!add_events(p, rows + k, p->persons + k, 1, bucket))
			return false;
	return true;
}

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
	hits_begin(p->hits, p->f, p->f->match[p->event]);
	while (hits_next(p->hits))
		for (uint32_t at = 0, n; at < p->hits->n; at += n) {
			uint32_t bucket;

			n = in_bucket(p, at, &bucket);
			if (!add_hits(p, p->hits->rows + at, n, bucket))
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
	p->one_kind = is_alike(b->kind.codes, b->n);
	if (plan->n_breakdowns == 0)
		p->by = &b->kind;
	else if (plan->n_breakdowns == 1 && p->one_kind)
		p->by = &b->props[plan->breakdowns[0]];
	if (!p->by) {
		p->known = arena_alloc(a, KNOWN * sizeof(*p->known));
		return p->known != NULL;
	}
	p->line_by_code = arena_alloc(a, (p->by->n_entries + 1) * sizeof(*p->line_by_code));
	p->groups = groups_new(p->f, p->by);
	return p->line_by_code && p->groups;
}

bool trends_fold(struct trends *t, const struct frame *f)
{
	struct pass p = {.t = t,
		.f = f,
		.hits = arena_alloc(f->a, sizeof(*p.hits)),
		.persons = arena_alloc(f->a, HITS * sizeof(*p.persons))};

	if (!p.hits || !p.persons || !begin(&p))
		return false;
	for (p.event = 0; p.event < t->plan->n_events; p.event++) {
		p.ev = &t->plan->events[p.event];
		if (!fold_event(&p))
			return false;
	}
	return true;
}
