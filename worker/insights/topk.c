/*
 * See topk.h. A row is found once per dictionary entry of a batch, by the text of
 * the entry or by its person; per event there is one lookup and one addition. $others
 * is folded again from the rows, so that it is right for every metric.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/country.h"
#include "worker/insights/tally.h"
#include "worker/insights/topk.h"
#include "worker/store/intern.h"

/* One value. */
struct row {
	struct tally t;
	uint32_t person;
	bool kept;
};

struct topk {
	const struct plan *plan;
	struct people *people;
	struct intern texts;  /* by row, but of DIMENSION_USER */
	struct chunks rows;   /* struct row */
	struct chunks row_of; /* DIMENSION_USER: uint32_t row + 1, by person */
	uint32_t n_rows;
	struct pairs users; /* (row, person) */
};

/* What an entry of the dictionary is: a row, or one of these. */
enum { UNSEEN = 0, NO_ROW = UINT32_MAX }; /* else row + 1 */

/* One frame. */
struct pass {
	struct topk *t;
	const struct frame *f;
	const struct batch_column *column;
	enum key_class class;
	uint32_t *row; /* by code */
	struct numbers numbers;
	struct counted counted; /* where the metric counts persons */
};

struct topk *topk_new(const struct plan *plan)
{
	struct topk *t = arena_zalloc(plan->a, sizeof(*t));

	if (!t)
		return NULL;
	t->plan = plan;
	intern_init(&t->texts, plan->a);
	chunks_init(&t->rows, plan->a, sizeof(struct row));
	chunks_init(&t->row_of, plan->a, sizeof(uint32_t));
	t->users.a = plan->a;
	return t;
}

/* Row + 1, or 0 at the arena's cap. */
static uint32_t row_add(struct topk *t, uint32_t no, uint32_t person)
{
	struct row *row;

	if (no < t->n_rows)
		return no + 1;
	row = no < NO_ROW - 1 ? chunks_make(&t->rows, no) : NULL;
	if (!row)
		return 0;
	row->person = person;
	t->n_rows = no + 1;
	return no + 1;
}

static uint32_t row_of_person(struct topk *t, uint32_t person)
{
	uint32_t *known = chunks_make(&t->row_of, person);

	if (known && *known == 0)
		*known = row_add(t, t->n_rows, person);
	return known ? *known : 0;
}

static uint32_t row_of_text(struct pass *p, uint32_t code)
{
	static const struct value missing = {.type = VALUE_NONE};
	char scratch[VALUE_TEXT_MAX];
	struct str text =
		value_text(code ? &p->column->entries[code - 1] : &missing, p->class, scratch);

	if (p->t->plan->dimension == DIMENSION_COUNTRY && !country_assigned(text))
		return NO_ROW;
	return row_add(p->t, intern_add(&p->t->texts, text), PERSON_FULL);
}

/* Row + 1 of the event at i, or NO_ROW; 0 at the arena's cap. */
static uint32_t row_at(struct pass *p, uint32_t i)
{
	uint32_t code = p->column->codes[i];

	if (p->row[code] == UNSEEN)
		p->row[code] = p->t->plan->dimension == DIMENSION_USER
				       ? row_of_person(p->t, p->f->persons[code])
				       : row_of_text(p, code);
	return p->row[code];
}

static bool begin(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	uint32_t number = plan->events[0].number;

	p->class = KEY_PLAIN;
	if (plan->dimension == DIMENSION_KIND) {
		p->column = &b->kind;
	} else if (plan->dimension == DIMENSION_USER) {
		p->column = &b->distinct;
	} else {
		p->column = &b->props[plan->ranked];
		p->class = plan->need.props[plan->ranked].class;
	}
	if (tally_needs_users(plan->events[0].agg) &&
		!counted_make(&p->counted, &b->distinct, p->f->a))
		return false;
	p->row = arena_array(p->f->a, p->column->n_entries + 1, sizeof(*p->row));
	return p->row && (number == PLAN_NONE || numbers_make(&p->numbers, &b->props[number],
							 plan->need.props[number].class, p->f->a));
}

static bool add(struct pass *p, uint32_t i, uint32_t no)
{
	struct tally *t = &((struct row *)chunks_at(&p->t->rows, no))->t;

	t->count++;
	if (tally_needs_users(p->t->plan->events[0].agg)) {
		uint32_t code = p->f->batch->distinct.codes[i];
		int fresh = counted_add(&p->counted, &p->t->users, no, code, p->f->persons[code]);

		t->users += fresh > 0;
		return fresh >= 0;
	}
	if (p->numbers.codes && p->numbers.has[p->numbers.codes[i]])
		tally_number(t, p->numbers.v[p->numbers.codes[i]]);
	return true;
}

bool topk_fold(struct topk *t, const struct frame *f)
{
	struct pass p = {.t = t, .f = f};
	bool consented = t->plan->events[0].consented;

	t->people = f->people;
	if (!begin(&p))
		return false;
	for (uint32_t i = 0; i < f->batch->n; i++) {
		uint32_t row;

		if (!f->match[0][i] || (consented && !frame_consented(f, i)))
			continue;
		row = row_at(&p, i);
		if (row == 0 || (row != NO_ROW && !add(&p, i, row - 1)))
			return false;
	}
	return true;
}

/* ---- the answer ---- */

static struct row *row_get(const struct topk *t, uint32_t no)
{
	return chunks_at(&t->rows, no);
}

static struct str value_of(const struct topk *t, uint32_t no)
{
	return t->plan->dimension == DIMENSION_USER ? people_key(t->people, row_get(t, no)->person)
						    : t->texts.strings[no];
}

/* A sum over nothing ranks after every number; on a map it is a zero like any (1.9, D78). */
static bool is_void(const struct topk *t, const struct tally *tally)
{
	return t->plan->events[0].agg == AGG_SUM && t->plan->dimension != DIMENSION_COUNTRY &&
	       tally->numbers == 0;
}

static bool is_before(const struct topk *t, uint32_t a, uint32_t b)
{
	const struct tally *x = &row_get(t, a)->t, *y = &row_get(t, b)->t;
	double m = tally_value(x, t->plan->events[0].agg);
	double n = tally_value(y, t->plan->events[0].agg);

	if (is_void(t, x) != is_void(t, y))
		return is_void(t, y);
	if (m != n)
		return m > n;
	return str_cmp(value_of(t, a), value_of(t, b)) < 0;
}

/* The first rows in order, by insertion: few are kept of very many. */
static uint32_t select_rows(const struct topk *t, uint32_t *best, uint32_t most)
{
	uint32_t n = 0;

	for (uint32_t no = 0; no < t->n_rows; no++) {
		uint32_t k;

		if (n == most && !is_before(t, no, best[n - 1]))
			continue;
		k = n < most ? n++ : n - 1;
		for (; k > 0 && is_before(t, no, best[k - 1]); k--)
			best[k] = best[k - 1];
		best[k] = no;
	}
	return n;
}

/* False at the arena's cap. */
static bool fold_others(struct topk *t, struct tally *out)
{
	struct pairs seen = {.a = t->plan->a};

	for (uint32_t no = 0; no < t->n_rows; no++)
		if (!row_get(t, no)->kept)
			tally_merge(out, &row_get(t, no)->t);
	/* persons are a union: who is behind two folded values counts once */
	for (uint64_t i = 0; t->users.v && i <= t->users.mask; i++) {
		uint64_t pair = t->users.v[i] - 1;
		int fresh;

		if (!t->users.v[i] || row_get(t, (uint32_t)(pair >> 32))->kept)
			continue;
		fresh = pairs_add(&seen, 0, (uint32_t)pair);
		if (fresh < 0)
			return false;
		out->users += (uint64_t)fresh;
	}
	return true;
}

bool topk_finish(struct topk *t, const struct topk_row **rows, uint32_t *n)
{
	enum plan_agg agg = t->plan->events[0].agg;
	uint32_t most = t->plan->n_rows < t->n_rows ? t->plan->n_rows : t->n_rows, kept;
	uint32_t *best = arena_array(t->plan->a, most + 1, sizeof(*best));
	struct topk_row *out = arena_array(t->plan->a, most + 1, sizeof(*out));
	struct tally others = {0};

	if (!best || !out)
		return false;
	kept = select_rows(t, best, most);
	for (uint32_t i = 0; i < kept; i++) {
		struct row *row = row_get(t, best[i]);

		row->kept = true;
		out[i] = (struct topk_row){
			value_of(t, best[i]), tally_value(&row->t, agg), false, row->person};
	}
	*rows = out;
	*n = kept;
	if (kept == t->n_rows || t->plan->omit_others)
		return true;
	if (!fold_others(t, &others))
		return false;
	out[(*n)++] =
		(struct topk_row){STR("$others"), tally_value(&others, agg), true, PERSON_FULL};
	return true;
}
