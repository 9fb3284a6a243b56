/*
 * The fold of trends; see trends.h. Everything that depends on a value (its kind,
 * its tuple of breakdown texts, its number) is worked out per dictionary entry of
 * the batch; per event there are lookups and one addition.
 */
#include "worker/insights/trends_internal.h"

/* One plan event over one frame. */
struct pass {
	struct trends *t;
	const struct frame *f;
	const struct plan_event *ev;
	uint32_t event;
	const uint32_t *kind_no;                      /* by code of the kind column */
	const uint32_t *text_no[PLAN_BREAKDOWNS_MAX]; /* by code of each breakdown */
	struct numbers numbers;
	/* Lines that are known already, + 1, by kind and first breakdown, where there is no second
	 * one; NULL: too many. */
	uint32_t *lines;
	uint32_t width;
	const uint32_t *codes; /* of the first breakdown; NULL: none */
	/* the line of the event before: runs are common */
	uint32_t key[2 + PLAN_BREAKDOWNS_MAX];
	uint32_t line;
	struct counted counted; /* where the event counts persons */
	struct buckets_near near;
};

enum { LINES_MAX = 1 << 16 };

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
	t->users.a = plan->a;
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

/* The line of one event, by its key. */
static uint32_t line_find(struct pass *p, uint32_t row)
{
	const struct plan *plan = p->t->plan;
	uint32_t key[2 + PLAN_BREAKDOWNS_MAX] = {p->event}, tuple;

	key[1] = p->kind_no[p->f->batch->kind.codes[row]];
	for (uint32_t k = 0; k < plan->n_breakdowns; k++)
		key[2 + k] = p->text_no[k][p->f->batch->props[plan->breakdowns[k]].codes[row]];
	if (p->line != INTERN_FULL && memcmp(key, p->key, sizeof(key)) == 0)
		return p->line;
	tuple = intern_add(&p->t->tuples, key_of(key + 2, plan->n_breakdowns * sizeof(*key)));
	if (tuple == INTERN_FULL)
		return tuple;
	memcpy(p->key, key, sizeof(key));
	p->line = line_add(p->t, p->event, key[1], tuple);
	return p->line;
}

static uint32_t line_of(struct pass *p, uint32_t row)
{
	uint32_t *known, line;

	if (!p->lines)
		return line_find(p, row);
	known = &p->lines[p->f->batch->kind.codes[row] * p->width + (p->codes ? p->codes[row] : 0)];
	if (*known)
		return *known - 1;
	line = line_find(p, row);
	*known = line == INTERN_FULL ? 0 : line + 1;
	return line;
}

static bool add_event(struct pass *p, uint32_t row, uint32_t bucket)
{
	uint32_t line = line_of(p, row), cell;
	struct tally *tally;

	if (line == INTERN_FULL)
		return false;
	cell = cell_add(p->t, line, bucket);
	if (cell == INTERN_FULL)
		return false;
	tally = &p->t->cells[cell].t;
	tally->count++;
	if (p->counted.cell) {
		uint32_t code = p->f->batch->distinct.codes[row];
		int fresh = counted_add(&p->counted, &p->t->users, cell, code, p->f->persons[code]);

		tally->users += fresh > 0;
		return fresh >= 0;
	}
	if (p->ev->number != PLAN_NONE && p->numbers.has[p->numbers.codes[row]])
		tally_number(tally, p->numbers.v[p->numbers.codes[row]]);
	return true;
}

/* What is remembered for the event's rows of this frame. */
static bool begin_event(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	const struct batch_column *by = plan->n_breakdowns ? &b->props[plan->breakdowns[0]] : NULL;
	uint64_t lines;

	p->line = INTERN_FULL;
	p->width = by ? by->n_entries + 1 : 1;
	p->codes = by ? by->codes : NULL;
	lines = (uint64_t)(b->kind.n_entries + 1) * p->width;
	p->lines = NULL;
	if (plan->n_breakdowns < 2 && lines <= LINES_MAX) {
		p->lines = arena_zalloc(p->f->a, lines * sizeof(*p->lines));
		if (!p->lines)
			return false;
	}
	p->counted.cell = NULL;
	return !tally_needs_users(p->ev->agg) || counted_make(&p->counted, &b->distinct, p->f->a);
}

static bool fold_event(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	const uint8_t *match = p->f->match[p->event];

	if (!begin_event(p))
		return false;
	if (p->ev->number != PLAN_NONE && !numbers_make(&p->numbers, &b->props[p->ev->number],
						  plan->need.props[p->ev->number].class, p->f->a))
		return false;
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
	if (!p.kind_no)
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
