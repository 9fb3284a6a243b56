/*
 * See segment_users.h. Folding marks persons. What they are called is known by text only at
 * the end, when the page is cut out, in memory of its own size. Of sealed events numbers are
 * marked; what these are called others have learned (id_texts.h), but for a few whose texts are
 * read then. Or they have not: then texts are asked for, each is looked at once, when its number
 * is new, and kept. Of profiles only the names that may still be on the page are read.
 */
#include <endian.h>
#include <stdlib.h>
#include "worker/insights/hits.h"
#include "worker/insights/id_texts.h"
#include "worker/insights/naming.h"
#include "worker/insights/personset.h"
#include "worker/insights/segment_users.h"
#include "worker/insights/watch.h"

enum { WORD = 64 };

struct segment_users {
	const struct plan *plan;
	struct people *people;
	struct personset seen;
	/* of sealed events */
	uint64_t *numbers; /* a bit each */
	struct colcache *cache;
	struct id_texts texts;
	bool by_text; /* it must be asked with texts */
	/* without texts: where an event of each number is, and numbers of which nobody has learned
	 * the text */
	struct naming naming;
	struct naming_place *places;
	uint32_t unknown[NAMING_PERSONS], n_unknown;
	struct str after;
	uint32_t want;
	/* the smallest ids so far; from `bound` on there are enough */
	struct str *v, bound;
	uint64_t bound_head; /* head_of() the bound */
	uint32_t n, cap;
};

struct segment_users *segment_users_new(
	const struct plan *plan, struct str after, uint32_t want, struct colcache *cache)
{
	struct segment_users *s = arena_zalloc(plan->a, sizeof(*s));

	if (!s)
		return NULL;
	s->plan = plan;
	s->after = after;
	s->want = want;
	s->cache = cache;
	s->cap = 2 * (want + 1);
	s->v = arena_array(plan->a, s->cap, sizeof(*s->v));
	return s->v ? s : NULL;
}

/* ---- the page ---- */

static int by_bytes(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* The first 8 bytes as a number: where that of one is greater, it comes later. */
static uint64_t head_of(struct str s)
{
	uint64_t head = 0;

	memcpy(&head, s.p, s.n < sizeof(head) ? s.n : sizeof(head));
	return be64toh(head);
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
	if (s->n <= s->want)
		return;
	s->bound = s->v[s->n - 1];
	s->bound_head = head_of(s->bound);
}

/* Whether it may be on the page, as far as is known: after its begin, and before what so many
 * are not after. */
static bool is_near(const struct segment_users *s, struct str id)
{
	if (s->bound.p && head_of(id) > s->bound_head)
		return false;
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
	const struct batch_column *c = &f->batch->distinct;

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

/* False at the arena's cap, or when it cannot do without texts. */
static bool begin_numbers(struct segment_users *s, const struct frame *f)
{
	if (s->numbers)
		return true;
	id_texts_init(&s->texts, s->cache, f->people, s->plan->a);
	s->by_text = !s->plan->need.texts && !id_texts_any(&s->texts);
	if (s->by_text)
		return false;
	s->numbers = arena_array(s->plan->a, f->people->n_numbers / WORD + 1, sizeof(*s->numbers));
	if (s->plan->need.texts)
		return s->numbers != NULL;
	naming_init(&s->naming, s->plan->a);
	s->places =
		arena_alloc(s->plan->a, ((size_t)f->people->n_numbers + 1) * sizeof(*s->places));
	return s->numbers && s->places;
}

/* The first event of a number: its text, or where that is. A number of somebody without a
 * profile is their only one. */
static bool add_number(
	struct segment_users *s, const struct frame *f, uint32_t number, uint32_t row)
{
	const struct batch_column *c = &f->batch->texts;
	uint32_t code;

	if (!s->plan->need.texts) {
		s->places[number] = naming_sealed(&s->naming, row);
		return true;
	}
	code = c->codes[row];
	if (!code || people_has_profile(f->people, f->people->of_number[number]))
		return true;
	return put_copy(s, c->entries[code - 1].s) &&
	       id_texts_learn(&s->texts, number, c->entries[code - 1].s);
}

/* Sealed events: who it is, and what they are called, is asked once for each number. */
static bool add_numbers(
	struct segment_users *s, const struct frame *f, const struct hits *h, uint32_t n)
{
	const uint32_t *numbers = f->batch->distinct.codes;

	for (uint32_t k = 0; k < n; k++) {
		uint32_t no = numbers[h->rows[k]];
		uint64_t *word = &s->numbers[no / WORD], bit = 1ull << no % WORD;

		if (!(*word & bit) && !add_number(s, f, no, h->rows[k]))
			return false;
		*word |= bit;
	}
	return true;
}

static bool add(struct segment_users *s, const struct frame *f, const struct hits *h, uint32_t n,
	uint32_t *persons)
{
	if (f->batch->numbered)
		return add_numbers(s, f, h, n);
	hits_persons(f, h->rows, n, persons);
	return f->people->by_digest ? add_new(s, f, h->rows, persons, n)
				    : personset_add_all(&s->seen, s->plan->a, persons, n);
}

bool segment_users_fold(struct segment_users *s, const struct frame *f)
{
	struct hits *h = arena_alloc(f->a, sizeof(*h));
	uint32_t *persons = arena_alloc(f->a, HITS * sizeof(*persons));
	const uint8_t *any = hits_any(f);

	s->people = f->people;
	if (!h || !persons || !any || (f->people->n_numbers > 0 && !begin_numbers(s, f)))
		return false;
	if (s->places && !naming_begin(&s->naming, f))
		return false;
	hits_begin(h, f, any);
	/* visitors without cookies are never listed (0.8) */
	while (hits_next(h))
		if (!add(s, f, h, hits_consented(f, h->rows, h->n), persons))
			return false;
	return true;
}

bool segment_users_by_text(const struct segment_users *s)
{
	return s->by_text;
}

/* ---- what they are called ---- */

/* Somebody whose text is not known, or is another's. */
static void miss(struct segment_users *s, uint32_t number)
{
	s->by_text |= s->n_unknown == NAMING_PERSONS;
	if (!s->by_text)
		s->unknown[s->n_unknown++] = number;
}

/* The names of those of a block who have no profile, as far as they are known; the others are
 * seen. False at the arena's cap, or when nobody waits. */
static bool name_block(struct segment_users *s, uint32_t block, const struct str *texts)
{
	uint32_t first = block * ID_TEXTS_BLOCK, last = first + ID_TEXTS_BLOCK - 1;

	for (uint32_t no = first; no <= last && no <= s->people->n_numbers && !s->by_text; no++) {
		uint32_t person = s->people->of_number[no];
		struct str text;

		if (no == 0 || !(s->numbers[no / WORD] >> no % WORD & 1))
			continue;
		if (people_has_profile(s->people, person)) {
			if (personset_add(&s->seen, s->plan->a, person) < 0)
				return false;
			continue;
		}
		if (s->plan->need.texts)
			continue; /* done when it was folded */
		text = texts ? texts[no - first] : STR("");
		if (!id_texts_right(&s->texts, no, text))
			miss(s, no);
		else if (!put_copy(s, text))
			return false;
	}
	return !watch_over();
}

/* The texts of those who are missing are read from where their events are. */
static bool name_unknown(struct segment_users *s, struct scan *scan, struct reader *r)
{
	struct arena *a = s->plan->a;
	struct naming_person *all = arena_array(a, s->n_unknown + 1, sizeof(*all));
	struct naming_person **v = arena_array(a, s->n_unknown + 1, sizeof(*v));

	if (!all || !v)
		return false;
	for (uint32_t i = 0; i < s->n_unknown; i++) {
		uint32_t no = s->unknown[i];

		all[i] = (struct naming_person){
			.person = s->people->of_number[no], .place = s->places[no]};
		v[i] = &all[i];
	}
	if (!naming_find(&s->naming, scan, r, v, s->n_unknown))
		return false;
	s->by_text |= scan->by_text;
	for (uint32_t i = 0; i < s->n_unknown && !s->by_text; i++)
		if (!put_copy(s, all[i].name) ||
			!id_texts_learn(&s->texts, s->unknown[i], all[i].name))
			return false;
	return true;
}

static bool name_numbers(struct segment_users *s, struct scan *scan, struct reader *r)
{
	struct arena *scratch = &r->scratch;
	uint32_t blocks = s->numbers ? s->people->n_numbers / ID_TEXTS_BLOCK + 1 : 0;

	for (uint32_t block = 0; block < blocks && !s->by_text; block++) {
		const struct str *texts = NULL;

		arena_reset(scratch);
		if (!s->plan->need.texts)
			texts = id_texts_block(&s->texts, block, scratch);
		if (scratch->over || !name_block(s, block, texts))
			return false;
	}
	if (s->n_unknown > 0 && !s->by_text && !name_unknown(s, scan, r))
		return false;
	if (s->numbers)
		id_texts_keep(&s->texts, scratch);
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

bool segment_users_name(struct segment_users *s, struct scan *scan, struct reader *r)
{
	if (!s->people || !s->people->by_digest)
		return true;
	if (!name_numbers(s, scan, r))
		return false;
	if (s->by_text || s->seen.n == 0)
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
