/*
 * See uuids.h. Open addressing, at most five eighths full: what is not there is found not to be
 * so with half as many looks as at three quarters. Half of the hash is beside each number, so that
 * other ids are hardly ever looked at, and none when a table grows. A large table is in no cache:
 * entries go through it side by side, so that one does not wait for the memory of another.
 * Before it comes a small one of ids that were asked for lately: sessions are of a day.
 */
#include <sys/mman.h>
#include "shm/base/hash.h"
#include "worker/insights/uuids.h"

/* Tables that were outgrown stay in the arena: a third as much, not as much again, when the
 * next is four times as large. Of the largest that would be too much of a jump. */
enum { SLOTS_MIN = 1024, SLOTS_FOUR = 1 << 19, RECENT = 1 << 17, LARGE_PAGE = 2 << 20 };
enum { SOME = 4096, RING = 128, AHEAD = 16 }; /* RING: a power of two above 2 * AHEAD */

void uuids_init(struct uuids *u, struct arena *a)
{
	*u = (struct uuids){.a = a};
	chunks_init(&u->v, a, BATCH_UUID);
	hash_random(u->key, sizeof(u->key));
}

static uint64_t hash(const struct uuids *u, const void *id)
{
	return hash_pair(u->key, id);
}

/* NULL while the table is as small. */
static uint64_t *recent_at(const struct uuids *u, uint64_t hash)
{
	return u->recent ? &u->recent[(uint32_t)hash & (RECENT - 1)] : NULL;
}

/* The half that chooses the place is kept: so a table grows without a look at the ids. */
static uint64_t slot_for(uint64_t hash, uint32_t no)
{
	return (hash & ~(uint64_t)UINT32_MAX) | (no + 1);
}

/* Of a hash, or of what is in a slot. */
static uint32_t place_of(const struct uuids *u, uint64_t hash)
{
	return (uint32_t)(hash >> 32) & u->mask;
}

static uint32_t number_of(uint64_t slot)
{
	return (uint32_t)slot - 1;
}

/* Zeros. A large table is asked for in large pages: each look-up is in another page, and to find
 * where a small one is takes longer than to read it. Whether there are any does not matter. */
static uint64_t *make_slots(struct arena *a, size_t n)
{
	size_t bytes = n * sizeof(uint64_t);
	char *p = arena_alloc(a, bytes), *begin;

	if (!p)
		return NULL;
	begin = p + (-(uintptr_t)p & (LARGE_PAGE - 1));
	if (bytes >= 2 * (size_t)LARGE_PAGE)
		(void)madvise(begin, (size_t)(p + bytes - begin) & ~(size_t)(LARGE_PAGE - 1),
			MADV_HUGEPAGE);
	return memset(p, 0, bytes);
}

/* What was in a table of n slots. Those that follow each other go to two or four places that
 * follow each other as well. */
static void move_slots(struct uuids *u, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t k = place_of(u, from[i]);

		if (!from[i])
			continue;
		while (u->slots[k])
			k = (k + 1) & u->mask;
		u->slots[k] = from[i];
	}
}

static bool grow(struct uuids *u)
{
	const uint64_t *old = u->slots;
	size_t n = old ? (size_t)u->mask + 1 : 0;
	size_t size = !old ? SLOTS_MIN : n <= SLOTS_FOUR ? n * 4 : n * 2;

	if (u->n >= UINT32_MAX / 4)
		return false;
	if (!u->recent && size > RECENT)
		u->recent = arena_array(u->a, RECENT, sizeof(*u->recent));
	u->slots = make_slots(u->a, size);
	if (!u->slots || (size > RECENT && !u->recent))
		return false;
	u->mask = (uint32_t)(size - 1);
	move_slots(u, old, n);
	return true;
}

static bool is_it(const struct uuids *u, uint64_t slot, const char *id, uint64_t hash)
{
	return slot && slot >> 32 == hash >> 32 &&
	       memcmp(chunks_at(&u->v, number_of(slot)), id, BATCH_UUID) == 0;
}

/* UINT32_MAX at the arena's cap. */
static uint32_t add(struct uuids *u, const char *id, uint64_t hash)
{
	uint64_t *recent = recent_at(u, hash);
	uint32_t k = place_of(u, hash);
	void *v;

	if (recent && is_it(u, *recent, id, hash))
		return number_of(*recent);
	while (u->slots[k] && !is_it(u, u->slots[k], id, hash))
		k = (k + 1) & u->mask;
	if (!u->slots[k]) {
		v = chunks_make(&u->v, u->n);
		if (!v)
			return UINT32_MAX;
		memcpy(v, id, BATCH_UUID);
		u->slots[k] = slot_for(hash, u->n++);
	}
	if (recent)
		*recent = u->slots[k];
	return number_of(u->slots[k]);
}

/* What add() looks at behind what was asked for lately: an id that seems to be it, or a slot.
 * There is no branch, because nobody knows which of them it will be. Whoever calls this asks
 * memory for it: gcc leaves out functions that do nothing else. */
static const void *next_place(const struct uuids *u, uint64_t hash)
{
	uint64_t recent = *recent_at(u, hash);
	/* that of a free one is not looked at */
	uintptr_t item = (uintptr_t)chunks_at(&u->v, (uint32_t)recent - (recent != 0));
	uintptr_t slot = (uintptr_t)&u->slots[place_of(u, hash)];
	uintptr_t seems = -(uintptr_t)(recent >> 32 == hash >> 32);

	return (const void *)(slot ^ ((slot ^ item) & seems));
}

/* One after another, each looked for in three steps, so that memory has time in between. */
static bool add_all(struct uuids *u, const struct batch_column *c, const uint32_t *codes,
	uint32_t n, uint32_t *no)
{
	uint64_t hashes[RING];

	for (uint32_t i = 0; i < n + 2 * AHEAD; i++) {
		if (i < n) {
			uint64_t h = hashes[i % RING] = hash(u, batch_uuid(c, codes[i]));

			__builtin_prefetch(u->recent ? recent_at(u, h) : &u->slots[place_of(u, h)]);
		}
		if (u->recent && i >= AHEAD && i - AHEAD < n)
			__builtin_prefetch(next_place(u, hashes[(i - AHEAD) % RING]));
		if (i >= 2 * AHEAD) {
			uint32_t code = codes[i - 2 * AHEAD];

			if (u->n >= u->mask / 8 * 5 && !grow(u))
				return false;
			no[code] = add(u, batch_uuid(c, code), hashes[(i - 2 * AHEAD) % RING]);
			if (no[code] == UINT32_MAX)
				return false;
		}
	}
	return true;
}

bool uuids_add(struct uuids *u, const struct batch_column *c, const uint8_t *wanted, uint32_t *no)
{
	uint32_t some[SOME], n = 0;

	if (!u->slots && !grow(u))
		return false;
	for (uint32_t code = 1; code <= c->n_entries; code++) {
		some[n] = code;
		n += wanted[code];
		if (n == SOME || code == c->n_entries) {
			if (!add_all(u, c, some, n, no))
				return false;
			n = 0;
		}
	}
	return true;
}

bool uuids_copy(struct uuids *u, const struct uuids *of, struct arena *a)
{
	*u = (struct uuids){.a = a};
	chunks_init(&u->v, a, BATCH_UUID);
	memcpy(u->key, of->key, sizeof(u->key));
	for (uint32_t i = 0; i < of->n; i++) {
		const char *id = chunks_at(&of->v, i);

		if (u->n >= u->mask / 8 * 5 && !grow(u))
			return false;
		if (add(u, id, hash(u, id)) == UINT32_MAX)
			return false;
	}
	return true;
}

static bool has(const struct uuids *u, const char *id, uint64_t hash)
{
	uint32_t k = place_of(u, hash);

	while (u->slots[k] && !is_it(u, u->slots[k], id, hash))
		k = (k + 1) & u->mask;
	return u->slots[k] != 0;
}

/* By a bit that chooses no place. */
void uuids_half(
	const struct uuids *kept, bool second, const struct batch_column *c, uint8_t *wanted)
{
	for (uint32_t code = 1; code <= c->n_entries; code++) {
		const char *id = batch_uuid(c, code);
		uint64_t h = hash(kept, id);
		bool is_second = h >> 31 & 1;

		if (kept->n > 0)
			is_second = is_second && !has(kept, id, h);
		wanted[code] &= is_second == second;
	}
}
