/*
 * See segment_users.h. Folding marks persons; the page is cut out at the end, in
 * memory of its own size, because what persons are called is known only then.
 */
#include <stdlib.h>
#include "worker/insights/chunks.h"
#include "worker/insights/segment_users.h"
#include "worker/insights/watch.h"

struct segment_users {
	const struct plan *plan;
	struct people *people;
	struct chunks seen; /* one byte a person */
	uint32_t n_seen;    /* persons below may be marked */
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
	chunks_init(&s->seen, plan->a, 1);
	return s->v ? s : NULL;
}

static bool mark(struct segment_users *s, uint32_t person)
{
	uint8_t *seen = chunks_make(&s->seen, person);

	if (!seen)
		return false;
	*seen = 1;
	if (person >= s->n_seen)
		s->n_seen = person + 1;
	return true;
}

bool segment_users_fold(struct segment_users *s, const struct frame *f)
{
	const struct batch_column *c = &f->batch->distinct;
	uint8_t *done = arena_zalloc(f->a, c->n_entries + 1);

	s->people = f->people;
	if (!done)
		return false;
	for (uint32_t i = 0; i < f->batch->n; i++) {
		uint32_t code = c->codes[i];

		if (done[code] || !frame_matches(f, i))
			continue;
		done[code] = 1;
		/* visitors without cookies are never listed (0.8) */
		if (!f->cookieless[code] && !mark(s, f->persons[code]))
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

void segment_users_finish(struct segment_users *s, struct segment_page *out)
{
	for (uint32_t person = 0; person < s->n_seen; person++) {
		const char *seen = s->seen.v[person >> CHUNK_SHIFT];
		struct str id;

		if (watch_due(person))
			break;
		if (!seen || !seen[person & (CHUNK_ITEMS - 1)])
			continue;
		id = people_external(s->people, person);
		if (id.n == 0)
			id = people_key(s->people, person);
		if (str_cmp(id, s->after) <= 0)
			continue;
		if (s->n == s->cap)
			settle(s);
		s->v[s->n++] = id;
	}
	settle(s);
	*out = (struct segment_page){s->v, s->n < s->want ? s->n : s->want, s->n > s->want};
}
