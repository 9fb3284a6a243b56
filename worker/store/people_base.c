/* See people_base.h. */
#include "worker/store/people_base.h"

#include <string.h>
#include <sys/mman.h>

/* Of an id. KEPT: what has changed says so, and what is gone came before it. */
enum { LIVE = 1, KEPT = 2 };

enum { AT_ONCE = 256, STALE_MIN = 4096, ROOM_ALIGN = 16, HUGE_PAGE = 2 << 20 };

struct people_base *people_base_new(size_t cap)
{
	struct people_base *b;
	struct arena a;

	arena_init(&a, cap);
	b = arena_zalloc(&a, sizeof(*b));
	if (!b) {
		arena_free(&a);
		return NULL;
	}
	b->a = a;
	digests_init(&b->ids, &b->a);
	list_init(&b->in_cache);
	return b;
}

/* b lies in its own arena. */
void people_base_free(struct people_base *b)
{
	struct arena a = b->a;

	arena_free(&a);
}

/* n items of size bytes. */
static void *copied(struct arena *a, const void *v, size_t n, size_t size)
{
	void *out = arena_alloc(a, n * size);

	if (out && n)
		memcpy(out, v, n * size);
	return out;
}

bool people_base_describe(struct people_base *b, const struct people_state *s)
{
	size_t n = s->n_blocks;

	b->state = *s;
	b->state.server.p = copied(&b->a, s->server.p, s->server.n, 1);
	b->state.first = copied(&b->a, s->first, n, sizeof(*s->first));
	b->state.n = copied(&b->a, s->n, n, sizeof(*s->n));
	b->state.version = copied(&b->a, s->version, n, sizeof(*s->version));
	return b->state.server.p && b->state.first && b->state.n && b->state.version;
}

/* ---- facts ---- */

/* cap moves last: refused halfway, some arrays are larger than they need be, and no more. */
static bool grow_to(struct people_base *b, uint32_t cap)
{
	uint32_t *alias, *external;
	uint8_t *flags;

	alias = arena_grow(&b->a, b->alias, b->cap * sizeof(*alias), cap * sizeof(*alias));
	if (!alias)
		return false;
	b->alias = alias;
	external =
		arena_grow(&b->a, b->external, b->cap * sizeof(*external), cap * sizeof(*external));
	if (!external)
		return false;
	b->external = external;
	flags = arena_grow(&b->a, b->flags, b->cap, cap);
	if (!flags)
		return false;
	b->flags = flags;
	b->cap = cap;
	return true;
}

/* Nothing is said of what was added to the ids. */
static bool know_all(struct people_base *b)
{
	uint32_t more = b->ids.n - b->n;

	if (b->ids.n > b->cap && !grow_to(b, b->ids.cap))
		return false;
	if (more) {
		memset(b->alias + b->n, 0, more * sizeof(*b->alias));
		memset(b->external + b->n, 0, more * sizeof(*b->external));
		memset(b->flags + b->n, 0, more);
	}
	b->n = b->ids.n;
	return true;
}

static bool add_all(struct people_base *b, const uint64_t *d, uint32_t n, uint32_t *no)
{
	return digests_add_all(&b->ids, d, n, no) && know_all(b);
}

static bool numbers_to(struct people_base *b, uint32_t cap)
{
	uint32_t *more = arena_grow(
		&b->a, b->id_of, b->cap_numbers * sizeof(*more), (size_t)cap * sizeof(*more));

	if (!more)
		return false;
	b->id_of = more;
	b->cap_numbers = cap;
	return true;
}

static bool room_for_numbers(struct people_base *b, uint32_t n)
{
	uint32_t cap = b->cap_numbers ? b->cap_numbers : 64;

	while (cap < n)
		cap *= 2;
	return cap == b->cap_numbers || numbers_to(b, cap);
}

/* ---- room at once ---- */

/* The kernel gives memory in pages: with large ones all the arrays take a third of the time. */
static void ask_for_huge(void *p, size_t n)
{
	uintptr_t from = ((uintptr_t)p + HUGE_PAGE - 1) & ~((uintptr_t)HUGE_PAGE - 1);
	uintptr_t to = ((uintptr_t)p + n) & ~((uintptr_t)HUGE_PAGE - 1);

	if (to > from)
		(void)madvise((char *)p + (from - (uintptr_t)p), to - from, MADV_HUGEPAGE);
}

/* All arrays of an empty base in one piece, of which only the slots are touched, and not even
 * these if they are to be copied. */
static bool settle(struct people_base *b, uint32_t ids, uint32_t numbers, uint64_t n_slots)
{
	struct {
		size_t n, size;
		void *p;
	} all[] = {{n_slots, sizeof(uint32_t), NULL}, {ids, sizeof(uint64_t), NULL},
		{ids, sizeof(uint32_t), NULL}, {ids, sizeof(uint32_t), NULL}, {ids, 1, NULL},
		{numbers, sizeof(uint32_t), NULL}, {ids, sizeof(uint32_t), NULL},
		{(size_t)numbers + 1, sizeof(uint32_t), NULL}};
	enum { ALL = sizeof(all) / sizeof(all[0]) };
	size_t total = 0, at = 0;
	char *room;

	for (int i = 0; i < ALL; i++)
		total += (all[i].n * all[i].size + ROOM_ALIGN - 1) & ~(size_t)(ROOM_ALIGN - 1);
	room = arena_alloc(&b->a, total);
	if (!room)
		return false;
	ask_for_huge(room, total);
	for (int i = 0; i < ALL; i++) {
		all[i].p = room + at;
		at += (all[i].n * all[i].size + ROOM_ALIGN - 1) & ~(size_t)(ROOM_ALIGN - 1);
	}
	digests_settle(&b->ids, all[1].p, ids, all[0].p, n_slots);
	b->alias = all[2].p;
	b->external = all[3].p;
	b->flags = all[4].p;
	b->id_of = all[5].p;
	b->person = all[6].p;
	b->of_number = all[7].p;
	b->cap = b->cap_person = ids;
	b->cap_numbers = b->cap_of_number = numbers;
	return true;
}

bool people_base_expect(struct people_base *b, uint32_t ids, uint32_t numbers)
{
	uint64_t n_slots;

	/* what is looked up at once may all be new, as far as anybody knows before */
	ids += ids / 16 + AT_ONCE;
	n_slots = digests_slots(ids);
	if (!settle(b, ids, numbers, n_slots))
		return false;
	memset(b->ids.slots, 0, n_slots * sizeof(*b->ids.slots));
	return true;
}

/* The number is this id's. */
static bool number(struct people_base *b, uint32_t number, uint64_t digest, uint32_t no)
{
	bool known = number <= b->n_numbers;

	if (!digest) {
		/* whoever had it has it no more */
		if (known && !b->ids.v[b->id_of[number - 1]])
			return true;
		no = b->ids.n;
		if (!digests_append(&b->ids, &digest, 1) || !know_all(b))
			return false;
	}
	b->id_of[number - 1] = no;
	if (!known)
		b->n_numbers = number;
	return true;
}

bool people_base_numbers(struct people_base *b, uint32_t first, const uint64_t *digests, uint32_t n)
{
	uint32_t no[AT_ONCE];

	if (!room_for_numbers(b, first + n - 1))
		return false;
	if (first == b->ids.n + 1 && b->n_numbers == b->ids.n) {
		/* nobody else is there yet: no digest is, for each has one number */
		if (!digests_append(&b->ids, digests, n) || !know_all(b))
			return false;
		for (uint32_t i = 0; i < n; i++)
			b->id_of[b->n_numbers + i] = b->n_numbers + i;
		b->n_numbers += n;
		return true;
	}
	for (uint32_t at = 0, k; at < n; at += k) {
		k = n - at < AT_ONCE ? n - at : (uint32_t)AT_ONCE;
		if (!add_all(b, digests + at, k, no))
			return false;
		for (uint32_t i = 0; i < k; i++)
			if (!number(b, first + at + i, digests[at + i], no[i]))
				return false;
	}
	return true;
}

/* To be called before a fact changes. */
static bool note(struct people_base *b, uint32_t no)
{
	if (!b->changing)
		return true;
	if (b->n_was == b->cap_was) {
		uint32_t cap = b->cap_was ? b->cap_was * 2 : 64;
		struct people_fact *was = arena_grow(
			&b->a, b->was, b->cap_was * sizeof(*was), (size_t)cap * sizeof(*was));

		if (!was)
			return false;
		b->was = was;
		b->cap_was = cap;
	}
	b->was[b->n_was++] = (struct people_fact){no, b->alias[no], b->external[no], b->flags[no]};
	return true;
}

bool people_base_profiles(
	struct people_base *b, const uint64_t *ids, const uint64_t *externals, uint32_t n)
{
	for (uint32_t at = 0, k; at < n; at += k) {
		uint32_t who[AT_ONCE], external[AT_ONCE];

		k = n - at < AT_ONCE ? n - at : (uint32_t)AT_ONCE;
		if (!add_all(b, ids + at, k, who) || !add_all(b, externals + at, k, external))
			return false;
		for (uint32_t i = 0; i < k; i++) {
			if (!note(b, who[i]))
				return false;
			b->flags[who[i]] = b->changing ? LIVE | KEPT : LIVE;
			b->external[who[i]] = external[i] == DIGESTS_FULL ? 0 : external[i] + 1;
		}
	}
	return true;
}

bool people_base_gone(struct people_base *b, const uint64_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t no = digests_find(&b->ids, ids[i]);

		if (no == DIGESTS_FULL || b->flags[no] & KEPT)
			continue;
		if (!note(b, no))
			return false;
		b->flags[no] = 0;
		b->external[no] = 0;
	}
	return true;
}

bool people_base_aliases(
	struct people_base *b, const uint64_t *aliases, const uint64_t *profiles, uint32_t n)
{
	for (uint32_t at = 0, k; at < n; at += k) {
		uint32_t alias[AT_ONCE], who[AT_ONCE];

		k = n - at < AT_ONCE ? n - at : (uint32_t)AT_ONCE;
		if (!add_all(b, aliases + at, k, alias) || !add_all(b, profiles + at, k, who))
			return false;
		for (uint32_t i = 0; i < k; i++) {
			if (!note(b, alias[i]))
				return false;
			b->alias[alias[i]] = who[i] + 1;
		}
	}
	return true;
}

void people_base_changing(struct people_base *b)
{
	b->changing = true;
}

/* ---- what they come to ---- */

bool people_base_live(const struct people_base *b, uint32_t no)
{
	return b->flags[no] & LIVE;
}

/* By the ranks of people.h, the lowest first. */
static void resolve(struct people_base *b)
{
	const uint8_t *flags = b->flags;

	for (uint32_t no = 0; no < b->n; no++)
		b->person[no] = no;
	for (uint32_t no = 0; no < b->n; no++)
		if (b->external[no])
			b->person[b->external[no] - 1] = no;
	for (uint32_t no = 0; no < b->n; no++) {
		uint32_t of = b->alias[no];

		if (flags[no] & LIVE)
			b->person[no] = no;
		else if (of && flags[of - 1] & LIVE)
			b->person[no] = of - 1;
	}
}

/* Again if the guess was too small. */
static bool room_for_answers(struct people_base *b)
{
	if (b->n > b->cap_person || !b->person)
		b->person = arena_alloc(&b->a, ((size_t)b->n + 1) * sizeof(*b->person));
	if (b->n_numbers > b->cap_of_number || !b->of_number)
		b->of_number =
			arena_alloc(&b->a, ((size_t)b->n_numbers + 1) * sizeof(*b->of_number));
	return b->person && b->of_number;
}

bool people_base_ready(struct people_base *b)
{
	if (!room_for_answers(b))
		return false;
	resolve(b);
	b->of_number[0] = UINT32_MAX;
	for (uint32_t i = 0; i < b->n_numbers; i++)
		b->of_number[i + 1] = b->person[b->id_of[i]];
	if (!b->n_first)
		b->n_first = b->n;
	return true;
}

/* ---- copies ---- */

static void copy_facts(struct people_base *to, const struct people_base *b)
{
	if (b->n == 0)
		return;
	memcpy(to->ids.slots, b->ids.slots, ((size_t)b->ids.mask + 1) * sizeof(*b->ids.slots));
	memcpy(to->ids.v, b->ids.v, b->n * sizeof(*b->ids.v));
	memcpy(to->alias, b->alias, b->n * sizeof(*b->alias));
	memcpy(to->external, b->external, b->n * sizeof(*b->external));
	memcpy(to->flags, b->flags, b->n);
	memcpy(to->id_of, b->id_of, b->n_numbers * sizeof(*b->id_of));
	to->ids.n = to->n = b->n;
	to->n_numbers = b->n_numbers;
	to->n_first = b->n_first;
}

struct people_base *people_base_copy(const struct people_base *b, size_t cap)
{
	struct people_base *to = people_base_new(cap);
	uint64_t n_slots = b->n ? (uint64_t)b->ids.mask + 1 : 0;
	/* changes are few: room for them at once, as far as there are slots */
	uint64_t ids = (uint64_t)b->n + b->n / 16 + AT_ONCE;
	uint32_t numbers = b->n_numbers + b->n_numbers / 16 + 64;

	if (!to)
		return NULL;
	if (b->n &&
		!settle(to, (uint32_t)(ids < n_slots / 2 ? ids : n_slots / 2), numbers, n_slots)) {
		people_base_free(to);
		return NULL;
	}
	copy_facts(to, b);
	for (uint32_t i = b->n_was; i-- > 0;) {
		const struct people_fact *was = &b->was[i];

		to->alias[was->no] = was->alias;
		to->external[was->no] = was->external;
		to->flags[was->no] = was->flags;
	}
	/* what comes first is of the same copy still: nothing of it is read again */
	to->changing = true;
	return to;
}

bool people_base_stale(const struct people_base *b)
{
	uint64_t most = (uint64_t)b->n_first + b->n_first / 2 + STALE_MIN;

	return b->n > most;
}
