/*
 * The fold of trends; see trends.h. Everything that depends on a value (its kind,
 * its tuple of breakdown texts, its number) is worked out per dictionary entry of
 * the batch; per event there are lookups and one addition.
 */
#include "worker/insights/trends_internal.h"

enum { KNOWN_BITS = 8, KNOWN = 1 << KNOWN_BITS };

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
	struct known *known; /* KNOWN of them: lines that were found before */
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

/* The line of one event. */
static uint32_t line_of(struct pass *p, uint32_t row)
{
	const struct plan *plan = p->t->plan;
	uint32_t key[1 + PLAN_BREAKDOWNS_MAX], hash;
	struct known *known;
	bool same;

	key[0] = p->kind_no[p->f->batch->kind.codes[row]];
	hash = key[0];
	for (uint32_t k = 0; k < plan->n_breakdowns; k++) {
		key[1 + k] = p->text_no[k][p->f->batch->props[plan->breakdowns[k]].codes[row]];
		hash = hash * 31 + key[1 + k];
	}
	known = &p->known[hash * 0x9e3779b9u >> (32 - KNOWN_BITS)];
	same = known->line != INTERN_FULL;
	for (uint32_t k = 0; k <= plan->n_breakdowns; k++)
		same &= known->key[k] == key[k];
	if (!same) {
		known->line = find_line(p, key);
		memcpy(known->key, key, (1 + plan->n_breakdowns) * sizeof(*key));
	}
	return known->line;
}

static bool add_event(struct pass *p, uint32_t row, uint32_t bucket)
{
	const struct batch *b = p->f->batch;
	uint32_t line = line_of(p, row), cell;
	struct tally *tally;

	if (line == INTERN_FULL)
		return false;
	cell = cell_add(p->t, line, bucket);
	if (cell == INTERN_FULL)
		return false;
	tally = &p->t->cells[cell].t;
	tally->count++;
	if (tally_needs_users(p->ev->agg)) {
		struct personset *users = chunks_make(&p->t->users, cell);
		int fresh = users ? personset_add(users, p->t->plan->a,
					    p->f->persons[b->distinct.codes[row]])
				  : -1;

		tally->users += fresh > 0;
		return fresh >= 0;
	}
	if (p->ev->number != PLAN_NONE && p->numbers.has[p->numbers.codes[row]])
		tally_number(tally, p->numbers.v[p->numbers.codes[row]]);
	return true;
}

static bool fold_event(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	const uint8_t *match = p->f->match[p->event];

	if (p->ev->number != PLAN_NONE && !numbers_make(&p->numbers, &b->props[p->ev->number],
						  plan->need.props[p->ev->number].class, p->f->a))
		return false;
	memset(p->known, 0xff, KNOWN * sizeof(*p->known));
	p->near = (struct buckets_near){0};
	for (uint32_t i = 0; i < b->n; i++) {
		uint32_t bucket;

		if (!match[i])
			continue;
		bucket = buckets_find_near(&plan->buckets, &p->near, b->times[i]);
		p->t->exists[bucket] = 1;
		if (p->ev->consented && !frame_consented(p->f, i))
			continue;
		if (!add_event(p, i, bucket))
			return false;
	}
	return true;
}

struct tally *trends_cell(struct trends *t, uint32_t kind, uint32_t tuple, uint32_t bucket)
{
	uint32_t line = line_add(t, 0, kind, tuple);
	uint32_t cell = line == INTERN_FULL ? line : cell_add(t, line, bucket);

	return cell == INTERN_FULL ? NULL : &t->cells[cell].t;
}

bool trends_fold(struct trends *t, const struct frame *f)
{
	struct pass p = {.t = t, .f = f};
	const struct plan *plan = t->plan;

	p.kind_no = intern_column(&t->kinds, &f->batch->kind, KEY_PLAIN, f->a);
	p.known = arena_alloc(f->a, KNOWN * sizeof(*p.known));
	if (!p.kind_no || !p.known)
		return false;
	for (uint32_t k = 0; k < plan->n_breakdowns; k++) {
		uint32_t prop = plan->breakdowns[k];

		p.text_no[k] = intern_column(
			&t->texts, &f->batch->props[prop], plan->need.props[prop].class, f->a);
		if (!p.text_no[k])
			return false;
	}
	for (p.event = 0; p.event < plan->n_events; p.event++) {
		p.ev = &plan->events[p.event];
		if (!fold_event(&p))
			return false;
	}
	return true;
}
