/*
 * See topk.h. A row is found once per dictionary entry of a batch by the text of the
 * entry, or per event by its person; per event there is one lookup and one addition. $others
 * is folded again from the rows, so that it is right for every metric. What a person is called
 * matters to ties and to the answer, so of persons that are digests only those are named who are
 * not worse than the last one that is kept.
 */
#include "worker/insights/chunks.h"
#include "worker/insights/country.h"
#include "worker/insights/hits.h"
#include "worker/insights/naming.h"
#include "worker/insights/person_counts.h"
#include "worker/insights/personset.h"
#include "worker/insights/tally.h"
#include "worker/insights/topk.h"
#include "worker/insights/watch.h"
#include "worker/store/intern.h"

/* One value. */
struct row {
	struct tally t;
	struct naming_person who; /* of DIMENSION_USER; the rest of it where people are digests */
	bool kept;
};

struct topk {
	const struct plan *plan;
	struct people *people;
	struct intern texts;         /* by row, but of DIMENSION_USER */
	struct chunks rows;          /* struct row */
	struct chunks row_of;        /* DIMENSION_USER: uint32_t row + 1, by person */
	struct person_counts counts; /* the same where only their number matters; rows at the end */
	uint32_t n_rows;
	struct tally rest; /* of those of whom no row was made */
	/* struct personset of ids (hits.h), by row; for metrics of users */
	struct chunks users;
	struct marks marks;
	struct naming naming;
	bool made; /* rows of persons whose events were counted */
};

/* What an entry of the dictionary is: a row, or one of these. */
enum { UNSEEN = 0, NO_ROW = UINT32_MAX }; /* else row + 1 */

/* One frame. */
struct pass {
	struct topk *t;
	const struct frame *f;
	const struct batch_column *column;
	enum key_class class;
	uint32_t *row; /* by code; but of DIMENSION_USER */
	struct numbers numbers;
	struct hits *hits; /* DIMENSION_USER */
	uint32_t *persons; /* room for those of the hits */
	uint32_t *counts;  /* by code, where only their number matters; or NULL */
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
	person_counts_init(&t->counts, plan->a, UINT32_MAX);
	chunks_init(&t->users, plan->a, sizeof(struct personset));
	naming_init(&t->naming, plan->a);
	return t;
}

/* Row + 1, or 0 at the arena's cap. */
static uint32_t row_add(struct topk *t, uint32_t no, uint32_t person)
{
	struct row *row;

	if (no < t->n_rows)
		return no + 1;
	/* row + 1 is neither 0 nor NO_ROW; an INTERN_FULL of row_of_text() ends here, too */
	row = no < NO_ROW - 1 ? chunks_make(&t->rows, no) : NULL;
	if (!row)
		return 0;
	row->who.person = person;
	t->n_rows = no + 1;
	return no + 1;
}

static struct row *row_get(const struct topk *t, uint32_t no)
{
	return chunks_at(&t->rows, no);
}

/* What persons are called must be found out. */
static bool is_nameless(const struct topk *t)
{
	return t->plan->dimension == DIMENSION_USER && t->people && t->people->by_digest;
}

/* Row + 1 of whose event the one at `at` is. */
static uint32_t row_of_person(struct pass *p, uint32_t person, uint32_t at)
{
	struct topk *t = p->t;
	uint32_t *known = chunks_make(&t->row_of, person);

	if (!known || *known)
		return known ? *known : 0;
	*known = row_add(t, t->n_rows, person);
	if (*known && is_nameless(t) &&
		!naming_note(&t->naming, p->f, at, &row_get(t, *known - 1)->who.place))
		return 0;
	return *known;
}

/* A missing property is the text "", a value like any (1.9), but no country. */
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

/* Row + 1 of a code, or NO_ROW; 0 at the arena's cap. */
static uint32_t row_of_code(struct pass *p, uint32_t code)
{
	if (p->row[code] == UNSEEN)
		p->row[code] = row_of_text(p, code);
	return p->row[code];
}

static bool is_by_user(const struct topk *t)
{
	return t->plan->dimension == DIMENSION_USER;
}

/* Only the number of its events makes a row. */
static bool is_count(const struct topk *t)
{
	return t->plan->events[0].number == PLAN_NONE && !tally_needs_users(t->plan->events[0].agg);
}

static bool begin(struct pass *p)
{
	const struct plan *plan = p->t->plan;
	const struct batch *b = p->f->batch;
	uint32_t number = plan->events[0].number;

	if (is_nameless(p->t) && !naming_begin(&p->t->naming, p->f))
		return false;
	p->class = KEY_PLAIN;
	if (plan->dimension == DIMENSION_KIND) {
		p->column = &b->kind;
	} else if (!is_by_user(p->t)) {
		p->column = &b->props[plan->ranked];
		p->class = plan->need.props[plan->ranked].class;
	}
	if (p->column) {
		p->row = arena_array(p->f->a, p->column->n_entries + 1, sizeof(*p->row));
		if (is_count(p->t))
			p->counts =
				arena_array(p->f->a, p->column->n_entries + 1, sizeof(*p->counts));
		if (!p->row || (is_count(p->t) && !p->counts))
			return false;
	} else if (!is_count(p->t)) {
		p->hits = arena_alloc(p->f->a, sizeof(*p->hits));
		p->persons = arena_alloc(p->f->a, HITS * sizeof(*p->persons));
		if (!p->hits || !p->persons)
			return false;
	}
	return number == PLAN_NONE || numbers_make(&p->numbers, &b->props[number],
					      plan->need.props[number].class, p->f->a);
}

static struct tally *tally_of(struct pass *p, uint32_t no)
{
	return &((struct row *)chunks_at(&p->t->rows, no))->t;
}

/* The event at row. */
static void add(struct pass *p, uint32_t no, uint32_t row)
{
	struct tally *t = tally_of(p, no);

	t->count++;
	if (p->numbers.codes && p->numbers.has[p->numbers.codes[row]])
		tally_number(t, p->numbers.v[p->numbers.codes[row]]);
}

/* n events of one row and whose they are. */
static bool add_users(struct pass *p, uint32_t no, const uint32_t *ids, uint32_t n)
{
	struct personset *users = chunks_make(&p->t->users, no);

	tally_of(p, no)->count += n;
	return users && personset_add_loose(users, p->t->plan->a, &p->t->marks, ids, n);
}

/* A row's set is looked for once a group, not once an event. */
static bool add_groups(struct pass *p, const struct picked *picked, const uint32_t *codes)
{
	const uint32_t *ids = hits_ids(picked);
	struct groups g;

	if (!ids || !groups_init(&g, p->column->n_entries, picked->n, p->f->a))
		return false;
	groups_make(&g, codes, picked->n, ids);
	for (uint32_t i = 0; i < g.n; i++) {
		uint32_t row = row_of_code(p, g.v[i].code);

		if (row == 0 ||
			(row != NO_ROW && !add_users(p, row - 1, g.values + g.v[i].at, g.v[i].n)))
			return false;
	}
	return true;
}

/* Rows are looked for once a code. */
static bool add_counts(struct pass *p)
{
	for (uint32_t code = 0; code <= p->column->n_entries; code++) {
		uint32_t row = p->counts[code] ? row_of_code(p, code) : NO_ROW;

		if (row == 0)
			return false;
		if (row != NO_ROW)
			((struct row *)chunks_at(&p->t->rows, row - 1))->t.count += p->counts[code];
	}
	return true;
}

/* Events of persons are counted, without a look at who these are. */
static bool count_persons(struct topk *t, const struct frame *f)
{
	struct picked picked;

	return hits_pick(&picked, f, f->match[0], t->plan->events[0].consented) &&
	       person_counts_add(&t->counts, &picked, is_nameless(t) ? &t->naming : NULL);
}

/* A person makes a row. */
static bool add_hits(struct pass *p)
{
	uint32_t *rows = p->hits->rows, n = p->hits->n;
	bool users = tally_needs_users(p->t->plan->events[0].agg);

	if (p->t->plan->events[0].consented)
		n = hits_consented(p->f, rows, n);
	hits_persons(p->f, rows, n, p->persons);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t row = row_of_person(p, p->persons[k], rows[k]);
		uint32_t id = people_id(p->t->people, p->persons[k]);

		if (row == 0 || (users && !add_users(p, row - 1, &id, 1)))
			return false;
		if (!users)
			add(p, row - 1, rows[k]);
	}
	return true;
}

/* An entry of a column makes a row. */
static bool add_column(struct pass *p)
{
	const struct plan_event *ev = &p->t->plan->events[0];
	const uint32_t *codes;
	struct picked picked;

	if (!hits_pick(&picked, p->f, p->f->match[0], ev->consented))
		return false;
	if (picked.n == 0)
		return true;
	codes = hits_column(&picked, p->column->codes);
	if (!codes)
		return false;
	for (uint32_t k = 0; k < picked.n && p->counts; k++)
		p->counts[codes[k]]++;
	if (p->counts)
		return add_counts(p);
	if (tally_needs_users(ev->agg))
		return add_groups(p, &picked, codes);
	if (!hits_rows(&picked))
		return false;
	for (uint32_t k = 0; k < picked.n; k++) {
		uint32_t row = row_of_code(p, codes[k]);

		if (row == 0)
			return false;
		if (row != NO_ROW)
			add(p, row - 1, hits_row(&picked, k));
	}
	return true;
}

bool topk_fold(struct topk *t, const struct frame *f)
{
	struct pass p = {.t = t, .f = f};

	t->people = f->people;
	if (!begin(&p) || !marks_reserve(&t->marks, t->plan->a, hits_ids_end(f)))
		return false;
	if (p.column)
		return add_column(&p);
	if (is_count(t))
		return count_persons(t, f);
	hits_begin(p.hits, f, f->match[0]);
	while (hits_next(p.hits))
		if (!add_hits(&p))
			return false;
	return true;
}

/* ---- the answer ---- */

static struct str value_of(const struct topk *t, uint32_t no)
{
	if (is_nameless(t))
		return row_get(t, no)->who.name;
	return is_by_user(t) ? people_key(t->people, row_get(t, no)->who.person)
			     : t->texts.strings[no];
}

/* A sum over nothing ranks after every number; on a map it is a zero like any (1.9, D78). */
static bool is_void(const struct topk *t, const struct tally *tally)
{
	return t->plan->events[0].agg == AGG_SUM && t->plan->dimension != DIMENSION_COUNTRY &&
	       tally->numbers == 0;
}

/* Less than 0 when row a ranks before b whatever they are called, 0 when that decides. */
static int by_number(const struct topk *t, uint32_t a, uint32_t b)
{
	const struct tally *x = &row_get(t, a)->t, *y = &row_get(t, b)->t;
	double m = tally_value(x, t->plan->events[0].agg);
	double n = tally_value(y, t->plan->events[0].agg);

	if (is_void(t, x) != is_void(t, y))
		return is_void(t, y) ? -1 : 1;
	return m == n ? 0 : m > n ? -1 : 1;
}

static bool is_before(const struct topk *t, uint32_t a, uint32_t b)
{
	int order = by_number(t, a, b);

	return order ? order < 0 : str_cmp(value_of(t, a), value_of(t, b)) < 0;
}

/* The first rows in order, by insertion: few are kept of very many. False when nobody waits
 * for them any more. Maps keep all, who are COUNTRY_COUNT at most. */
static bool select_rows(const struct topk *t, uint32_t *best, uint32_t most, uint32_t *kept)
{
	uint32_t n = 0;

	for (uint32_t no = 0; no < t->n_rows; no++) {
		uint32_t k;

		if (watch_due(no))
			return false;
		if (n == most && !is_before(t, no, best[n - 1]))
			continue;
		k = n < most ? n++ : n - 1;
		for (; k > 0 && is_before(t, no, best[k - 1]); k--)
			best[k] = best[k - 1];
		best[k] = no;
	}
	*kept = n;
	return true;
}

/* False at the arena's cap, or when nobody waits. */
static bool fold_others(struct topk *t, struct tally *out)
{
	bool users = tally_needs_users(t->plan->events[0].agg);
	struct personset seen = {0};

	for (uint32_t no = 0; no < t->n_rows; no++) {
		if (watch_due(no))
			return false;
		if (row_get(t, no)->kept)
			continue;
		tally_merge(out, &row_get(t, no)->t);
		/* persons are a union: who is behind two folded values counts once */
		if (users && !personset_join_loose(
				     &seen, t->plan->a, &t->marks, chunks_at(&t->users, no)))
			return false;
	}
	if (users && seen.n)
		out->users = personset_count(&seen, &t->marks, hits_id_map(t->people));
	return true;
}

/* Rows of persons whose events were counted: of those who may be kept, once. More than can be
 * named are not made. False at the arena's cap, or when nobody waits. */
static bool make_rows(struct topk *t)
{
	struct person_count c;
	uint64_t least;
	uint32_t at = 0;

	if (t->made || !t->counts.people)
		return true;
	if (!person_counts_join(&t->counts))
		return false;
	least = person_counts_least(&t->counts, t->plan->n_rows);
	t->rest.count = t->counts.events;
	while (least && person_counts_next(&t->counts, least, &at, &c)) {
		if (is_nameless(t) && t->n_rows > NAMING_PERSONS)
			break;
		if (row_add(t, t->n_rows, c.person) == 0)
			return false;
		row_get(t, t->n_rows - 1)->t.count = c.events;
		row_get(t, t->n_rows - 1)->who.place = c.place;
		t->rest.count -= c.events;
	}
	t->made = true;
	return least > 0;
}

/* Who is not worse than the last of those that are kept, at most one more than can be named.
 * False at the arena's cap, or when nobody waits. Who equals that one is wanted, because among
 * equals names decide (1.9). */
static bool find_wanted(struct topk *t, struct naming_person **v, uint32_t *n)
{
	uint32_t most = t->plan->n_rows < t->n_rows ? t->plan->n_rows : t->n_rows, kept;
	uint32_t *best = arena_array(t->plan->a, most + 1, sizeof(*best));

	*n = 0;
	if (!best || !select_rows(t, best, most, &kept))
		return false;
	for (uint32_t no = 0; kept && no < t->n_rows && *n <= NAMING_PERSONS; no++) {
		if (watch_due(no))
			return false;
		if (by_number(t, no, best[kept - 1]) <= 0)
			v[(*n)++] = &row_get(t, no)->who;
	}
	return true;
}

/* Sets are of ids until here. False when nobody waits any more. */
static bool make_users(struct topk *t)
{
	uint64_t work = 0;

	if (!tally_needs_users(t->plan->events[0].agg))
		return true;
	for (uint32_t no = 0; no < t->n_rows; no++) {
		const struct personset *users = chunks_at(&t->users, no);

		work += users->n + 1;
		if (work >= WATCH_EVERY && watch_over())
			return false;
		work = work < WATCH_EVERY ? work : 0;
		row_get(t, no)->t.users = personset_count(users, &t->marks, hits_id_map(t->people));
	}
	return true;
}

bool topk_name(struct topk *t, struct scan *s, struct reader *r)
{
	struct naming_person **v;
	uint32_t n;

	if (!is_nameless(t))
		return true;
	v = arena_array(t->plan->a, NAMING_PERSONS + 1, sizeof(struct naming_person *));
	return v && make_rows(t) && make_users(t) && find_wanted(t, v, &n) &&
	       naming_find(&t->naming, s, r, v, n);
}

/* Where persons were named the rows are there already. `rest` are the events of all persons who
 * could not be kept: for these no rows were made. */
bool topk_finish(struct topk *t, const struct topk_row **rows, uint32_t *n)
{
	enum plan_agg agg = t->plan->events[0].agg;

	if (!make_rows(t) || !make_users(t))
		return false;

	uint32_t most = t->plan->n_rows < t->n_rows ? t->plan->n_rows : t->n_rows, kept;
	uint32_t *best = arena_array(t->plan->a, most + 1, sizeof(*best));
	struct topk_row *out = arena_array(t->plan->a, most + 1, sizeof(*out));
	struct tally others = {0};

	if (!best || !out || !select_rows(t, best, most, &kept))
		return false;
	for (uint32_t i = 0; i < kept; i++) {
		struct row *row = row_get(t, best[i]);

		row->kept = true;
		out[i] = (struct topk_row){value_of(t, best[i]), tally_value(&row->t, agg), false,
			is_by_user(t) && people_has_profile(t->people, row->who.person)};
	}
	*rows = out;
	*n = kept;
	if ((kept == t->n_rows && t->rest.count == 0) || t->plan->omit_others)
		return true;
	tally_merge(&others, &t->rest);
	if (!fold_others(t, &others))
		return false;
	out[(*n)++] = (struct topk_row){STR("$others"), tally_value(&others, agg), true, false};
	return true;
}
