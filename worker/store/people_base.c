/* See people_base.h. */
#include "worker/store/people_base.h"

#include <string.h>

/* Of an id. KEPT: what has changed says so, and what is gone came before it. */
enum { LIVE = 1, KEPT = 2 };

enum { AT_ONCE = 256, STALE_MIN = 4096 };

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

void people_base_free(struct people_base *b)
{
	struct arena a = b->a;

	arena_free(&a);
}

/* n items of size bytes, with room for `cap` of them. */
static void *copied(struct arena *a, const void *v, size_t n, size_t cap, size_t size)
{
	void *out = arena_alloc(a, cap * size);

	if (out && n)
		memcpy(out, v, n * size);
	return out;
}

bool people_base_describe(struct people_base *b, const struct people_state *s)
{
	size_t n = s->n_blocks;

	b->state = *s;
	b->state.server.p = copied(&b->a, s->server.p, s->server.n, s->server.n + 1, 1);
	b->state.first = copied(&b->a, s->first, n, n + 1, sizeof(*s->first));
	b->state.n = copied(&b->a, s->n, n, n + 1, sizeof(*s->n));
	b->state.version = copied(&b->a, s->version, n, n + 1, sizeof(*s->version));
	return b->state.server.p && b->state.first && b->state.n && b->state.version;
}

/* ---- facts ---- */

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

bool people_base_expect(struct people_base *b, uint64_t ids, uint32_t numbers)
{
	if (numbers > b->cap_numbers && !numbers_to(b, numbers))
		return false;
	if (ids > DIGESTS_FULL / 4 || ids <= b->cap)
		return true;
	return digests_reserve(&b->ids, (uint32_t)ids - b->ids.n) && grow_to(b, (uint32_t)ids);
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

bool people_base_ready(struct people_base *b)
{
	b->person = arena_alloc(&b->a, ((size_t)b->n + 1) * sizeof(*b->person));
	b->of_number = arena_alloc(&b->a, ((size_t)b->n_numbers + 1) * sizeof(*b->of_number));
	if (!b->person || !b->of_number)
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

static bool copy_facts(struct people_base *to, const struct people_base *b)
{
	/* changes are few: room for them at once */
	uint32_t cap = b->n + b->n / 16 + 64, numbers = b->n_numbers + b->n_numbers / 16 + 64;

	to->alias = copied(&to->a, b->alias, b->n, cap, sizeof(*b->alias));
	to->external = copied(&to->a, b->external, b->n, cap, sizeof(*b->external));
	to->flags = copied(&to->a, b->flags, b->n, cap, sizeof(*b->flags));
	to->id_of = copied(&to->a, b->id_of, b->n_numbers, numbers, sizeof(*b->id_of));
	if (!to->alias || !to->external || !to->flags || !to->id_of)
		return false;
	to->n = b->n;
	to->cap = cap;
	to->n_numbers = b->n_numbers;
	to->cap_numbers = numbers;
	to->n_first = b->n_first;
	return true;
}

struct people_base *people_base_copy(const struct people_base *b, size_t cap)
{
	struct people_base *to = people_base_new(cap);

	if (!to)
		return NULL;
	if (!digests_copy(&to->ids, &b->ids) || !copy_facts(to, b)) {
		people_base_free(to);
		return NULL;
	}
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
