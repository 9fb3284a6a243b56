/*
 * See segment_users.h. Folding marks persons. What they are called is known by text only at
 * the end, when the page is cut out, in memory of its own size. By digest each id is looked at
 * once, when its person is new, and of profiles only the names that may still be on the page
 * are read.
 */
#include <stdlib.h>
#include "worker/insights/hits.h"
#include "worker/insights/personset.h"
#include "worker/insights/segment_users.h"
#include "worker/insights/watch.h"

struct segment_users {
	const struct plan *plan;
	struct people *people;
	struct personset seen;
	struct str after;
	uint32_t want;
	/* the smallest ids so far; from `bound` on there are enough */
	struct str *v, bound;
	uint32_t n, cap;
};

struct segment_users *segment_users_new(const struct plan *plan, struct str after, uint32_t want)
{
	struct segment_users *s = arena_zalloc(plan->a, sizeof(*s));

	if (!s)
		return NULL;
	s->plan = plan;
	s->after = after;
	s->want = want;
	s->cap = 2 * (want + 1);
	s->v = arena_array(plan->a, s->cap, sizeof(*s->v));
	return s->v ? s : NULL;
}

/* ---- the page ---- */

static int by_bytes(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Leaves the smallest want + 1, each once, in order. */
static void settle(struct segment_users *s)
{
	uint32_t n = 0;

	qsort(s->v, s->n, sizeof(*s->v), by_bytes);
	for (uint32_t i = 0; i < s->n && n <= s->want; i++)
		if (n == 0 || !str_eq(s->v[n - 1], s->v[i]))
			s->v[n++] = s->v[i];
	s->n = n;
	if (s->n > s->want)
		s->bound = s->v[s->n - 1];
}

/* Whether it may be on the page, as far as is known: after its begin, and before what so many
 * are not after. */
static bool is_near(const struct segment_users *s, struct str id)
{
	return str_cmp(id, s->after) > 0 && (!s->bound.p || str_cmp(id, s->bound) < 0);
}

/* An id that is near, and stays. */
static void put(struct segment_users *s, struct str id)
{
	if (s->n == s->cap)
		settle(s);
	s->v[s->n++] = id;
}

/* The same of any that does not stay. False at the arena's cap. */
static bool put_copy(struct segment_users *s, struct str id)
{
	const char *copy;

	if (!is_near(s, id))
		return true;
	copy = arena_str(s->plan->a, id);
	if (copy)
		put(s, (struct str){copy, id.n});
	return copy != NULL;
}

/* ---- who is on it ---- */

/* By digest: of whoever is seen for the first time the text is at hand, and where that is no
 * profile it is the name. */
static bool add_new(struct segment_users *s, const struct frame *f, const uint32_t *rows,
	const uint32_t *persons, uint32_t n)
{
	const struct batch *b = f->batch;
	const struct batch_column *c = b->numbered ? &b->texts : &b->distinct;

	for (uint32_t k = 0; k < n; k++) {
		int new = personset_add(&s->seen, s->plan->a, persons[k]);
		uint32_t code = c->codes[rows[k]];

		if (new < 0)
			return false;
		if (new &&code && !people_has_profile(f->people, persons[k]) &&
			!put_copy(s, c->entries[code - 1].s))
			return false;
	}
	return true;
}

bool segment_users_fold(struct segment_users *s, const struct frame *f)
{
	struct hits *h = arena_alloc(f->a, sizeof(*h));
	uint32_t *persons = arena_alloc(f->a, HITS * sizeof(*persons));
	const uint8_t *any = hits_any(f);

	s->people = f->people;
	if (!h || !persons || !any)
		return false;
	hits_begin(h, f, any);
	while (hits_next(h)) {
		/* visitors without cookies are never listed (0.8) */
		uint32_t n = hits_consented(f, h->rows, h->n);

		hits_persons(f, h->rows, n, persons);
		if (f->people->by_digest ? !add_new(s, f, h->rows, persons, n)
					 : !personset_add_all(&s->seen, s->plan->a, persons, n))
			return false;
	}
	return true;
}

static bool take_profile(void *arg, struct str id, struct str name)
{
	struct segment_users *s = arg;
	uint32_t person = people_find(s->people, id);

	if (person == PERSON_FULL)
		return false;
	return !personset_has(&s->seen, person) || put_copy(s, name);
}

bool segment_users_name(struct segment_users *s, struct reader *r)
{
	if (!s->people || !s->people->by_digest || s->seen.n == 0)
		return true;
	settle(s);
	return reader_profile_names(r, s->after, s->bound, take_profile, s) == 0;
}

void segment_users_finish(struct segment_users *s, struct segment_page *out)
{
	uint32_t at = 0, person;
	uint64_t turn = 0;

	while (s->people && !s->people->by_digest && personset_next(&s->seen, &at, &person)) {
		struct str id = people_external(s->people, person);

		if (watch_due(turn++))
			break;
		if (id.n == 0)
			id = people_key(s->people, person);
		if (is_near(s, id))
			put(s, id);
	}
	settle(s);
	*out = (struct segment_page){s->v, s->n < s->want ? s->n : s->want, s->n > s->want};
}
