/*
 * See segment_users.h. Folding marks persons; the page is cut out at the end, in
 * memory of its own size, because what persons are called is known only then.
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
	/* the smallest ids so far */
	struct str *v;
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
		if (!personset_add_all(&s->seen, s->plan->a, persons, n))
			return false;
	}
	return true;
}

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
}

/* Whether it may be on the page, as far as is known: after its begin, and before what so many
 * are not after. */
static bool is_near(const struct segment_users *s, struct str id, struct str bound)
{
	return str_cmp(id, s->after) > 0 && (!bound.p || str_cmp(id, bound) < 0);
}

void segment_users_finish(struct segment_users *s, struct segment_page *out)
{
	uint32_t at = 0, person;
	struct str bound = {0};
	uint64_t turn = 0;

	while (personset_next(&s->seen, &at, &person)) {
		struct str id = people_external(s->people, person);

		if (watch_due(turn++))
			break;
		if (id.n == 0)
			id = people_key(s->people, person);
		if (!is_near(s, id, bound))
			continue;
		if (s->n == s->cap) {
			settle(s);
			if (s->n > s->want)
				bound = s->v[s->n - 1];
		}
		s->v[s->n++] = id;
	}
	settle(s);
	*out = (struct segment_page){s->v, s->n < s->want ? s->n : s->want, s->n > s->want};
}
