/*
 * See persons.h. Per event there are table look-ups only; texts are copied once a frame
 * and person, for the latest event there.
 */
#include "worker/insights/persons.h"

#define NOBODY UINT32_MAX

static bool grow(struct persons *p, uint32_t want)
{
	uint32_t cap = p->cap ? p->cap : 64, n_props = p->plan->need.n_props;
	struct person *v;
	struct person_text *texts;

	while (cap < want)
		cap *= 2;
	if (cap == p->cap)
		return true;
	/* zeros: no event yet, and `frame` is that of none, for frames are counted from 1 */
	v = arena_array(p->a, cap, sizeof(*v));
	texts = arena_array(p->a, (size_t)cap * n_props + 1, sizeof(*texts));
	if (!v || !texts)
		return false;
	if (p->cap) {
		memcpy(v, p->v, p->cap * sizeof(*v));
		memcpy(texts, p->texts, (size_t)p->cap * n_props * sizeof(*texts));
	}
	p->v = v;
	p->texts = texts;
	p->cap = cap;
	return true;
}

bool persons_init(
	struct persons *p, const struct plan *plan, const struct intern *wanted, bool together)
{
	*p = (struct persons){.plan = plan, .a = plan->a, .wanted = wanted, .together = together};
	p->pairs.a = plan->a;
	intern_init(&p->sessions, plan->a);
	return grow(p, wanted && !together ? wanted->n : 1);
}

/* The number of whom an entry of the distinct_id column counts for. */
static uint32_t number_of(const struct persons *p, const struct frame *f, uint32_t entry)
{
	struct str id = f->batch->distinct.entries[entry].s;
	uint32_t person = f->persons[entry + 1], found;

	/* visitors without cookies are nobody, and so is who has no id */
	if ((f->cookieless[entry + 1] && !p->cookieless) || id.n == 0)
		return NOBODY;
	if (!p->wanted)
		return person;
	/* without people the caller has resolved who is wanted to all their ids */
	found = intern_find(p->wanted, p->plan->people ? people_key(f->people, person) : id);
	if (found == INTERN_FULL)
		return NOBODY;
	return p->together ? 0 : found;
}

/* What is looked up once a frame. */
struct lookup {
	const uint32_t *who; /* by code of distinct */
	uint32_t *session;   /* by code; number + 1, 0: not yet */
	uint32_t page_view;  /* code of kind, 0: none here */
	uint32_t *touched;   /* persons with a new latest event */
	uint32_t n_touched;
};

/* Makes room for everybody of the frame, so that nobody moves while its events are added. */
static bool look_up(struct persons *p, const struct frame *f, struct lookup *l)
{
	const struct batch *b = f->batch;
	uint32_t *who = arena_array(f->a, b->distinct.n_entries + 1, sizeof(*who)), most = 0;

	*l = (struct lookup){.who = who};
	l->session = arena_array(f->a, b->session.n_entries + 1, sizeof(*l->session));
	l->touched = arena_array(f->a, b->n + 1, sizeof(*l->touched));
	if (!who || !l->session || !l->touched)
		return false;
	who[0] = NOBODY;
	for (uint32_t i = 0; i < b->distinct.n_entries; i++) {
		who[i + 1] = number_of(p, f, i);
		if (who[i + 1] != NOBODY && who[i + 1] >= most)
			most = who[i + 1] + 1;
	}
	for (uint32_t i = 0; i < b->kind.n_entries; i++)
		if (str_eq(b->kind.entries[i].s, STR("page_view")))
			l->page_view = i + 1;
	return grow(p, most);
}

/* Counted with each person who had it: a session may have been several persons'. */
static bool add_session(
	struct persons *p, const struct frame *f, struct lookup *l, uint32_t who, uint32_t row)
{
	uint32_t code = f->batch->session.codes[row], known = p->pairs.n, no;

	if (code == 0)
		return true;
	if (l->session[code] == 0) {
		no = intern_add(&p->sessions,
			(struct str){batch_uuid(&f->batch->session, code), BATCH_UUID});
		if (no == INTERN_FULL)
			return false;
		l->session[code] = no + 1;
	}
	no = pairs_add(&p->pairs, who, l->session[code]);
	p->v[who].sessions += no == known;
	return no != PAIRS_FULL;
}

/* D29: of equal times the greater id is the later one. Without ids no texts are kept
 * (compile_persons()), and the time is all that matters. */
static bool is_later(const struct person *one, const struct frame *f, uint32_t row)
{
	int64_t ms = f->batch->times[row];

	if (one->total == 0 || ms != one->last_ms)
		return one->total == 0 || ms > one->last_ms;
	return f->batch->ids &&
	       memcmp(f->batch->ids + (size_t)row * 16, one->last_id, sizeof(one->last_id)) > 0;
}

static bool add(
	struct persons *p, const struct frame *f, struct lookup *l, uint32_t who, uint32_t row)
{
	struct person *one = &p->v[who];
	int64_t ms = f->batch->times[row];

	if (is_later(one, f, row)) {
		one->last_ms = ms;
		if (f->batch->ids)
			memcpy(one->last_id, f->batch->ids + (size_t)row * 16, 16);
		if (one->frame != p->frames)
			l->touched[l->n_touched++] = who;
		one->frame = p->frames;
		one->row = row;
	}
	if (one->total == 0 || ms < one->first_ms)
		one->first_ms = ms;
	one->total++;
	one->pageviews += l->page_view && f->batch->kind.codes[row] == l->page_view;
	return !f->plan->need.session || add_session(p, f, l, who, row);
}

/* Room at least doubles: all that was outgrown, which stays in the arena, is less than what there
 * is. */
static bool set_text(struct persons *p, struct person_text *t, struct str s)
{
	if (s.n > t->cap) {
		uint32_t cap = (uint32_t)s.n > t->cap * 2 ? (uint32_t)s.n : t->cap * 2;

		t->p = arena_alloc(p->a, cap);
		t->cap = t->p ? cap : 0;
		if (!t->p)
			return false;
	}
	if (s.n)
		memcpy(t->p, s.p, s.n);
	t->n = (uint32_t)s.n;
	return true;
}

static bool keep_texts(struct persons *p, const struct frame *f, uint32_t who)
{
	uint32_t n = p->plan->need.n_props;
	char scratch[VALUE_TEXT_MAX];

	for (uint32_t k = 0; k < n; k++) {
		const struct batch_column *c = &f->batch->props[k];
		uint32_t code = c->codes[p->v[who].row];
		struct str s = STR("");

		if (code)
			s = value_text(
				&c->entries[code - 1], p->plan->need.props[k].class, scratch);
		if (!set_text(p, &p->texts[(size_t)who * n + k], s))
			return false;
	}
	return true;
}

bool persons_fold(struct persons *p, const struct frame *f)
{
	struct lookup l;

	p->frames++;
	if (!look_up(p, f, &l))
		return false;
	for (uint32_t i = 0; i < f->batch->n; i++) {
		uint32_t who = f->base[i] ? l.who[f->batch->distinct.codes[i]] : NOBODY;

		if (who != NOBODY && !add(p, f, &l, who, i))
			return false;
	}
	for (uint32_t i = 0; i < l.n_touched; i++)
		if (!keep_texts(p, f, l.touched[i]))
			return false;
	return true;
}

struct person persons_get(const struct persons *p, uint32_t number)
{
	return number < p->cap ? p->v[number] : (struct person){.total = 0};
}

struct str persons_text(const struct persons *p, uint32_t number, uint32_t k)
{
	const struct person_text *t;

	if (number >= p->cap || p->v[number].total == 0)
		return STR("");
	t = &p->texts[(size_t)number * p->plan->need.n_props + k];
	return (struct str){t->p, t->n};
}
