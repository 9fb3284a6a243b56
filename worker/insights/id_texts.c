/*
 * See id_texts.h. A block is a u16 a number, the length of its text, 0: not known; then the
 * texts. It is replaced as a whole; of two who do so at once one is lost, and learned again.
 */
#include <string.h>

#include "worker/insights/id_texts.h"
#include "worker/store/evseg.h"

enum {
	RING_SHARE = 8,    /* texts may take such a part of the ring */
	GUESS = 32,        /* bytes of a text */
	LENGTH_MAX = 65535 /* of a text that is kept */
};

void id_texts_init(
	struct id_texts *t, struct colcache *cache, const struct people *people, struct arena *a)
{
	bool use = cache && cache->ring > 0 && people->by_digest && people->base &&
		   (uint64_t)people->n_numbers * GUESS <= cache->ring / RING_SHARE;

	*t = (struct id_texts){.cache = use ? cache : NULL, .base = people->base};
	chunks_init(&t->learned, a, sizeof(struct str));
}

/* The digest key is the project's own. */
static struct colcache_key key_of(const struct id_texts *t, uint32_t block)
{
	struct {
		uint8_t key[DIGEST_KEY_BYTES];
		char what[8];
		int32_t project;
		uint32_t block;
	} is = {.what = "id text", .project = t->base->state.project, .block = block};

	_Static_assert(sizeof(is) == 32, "without gaps");
	memcpy(is.key, t->base->state.key, sizeof(is.key));
	return (struct colcache_key){block, colcache_hash(t->cache, &is, sizeof(is))};
}

bool id_texts_any(const struct id_texts *t)
{
	struct colcache_place place;

	return t->cache && colcache_find(t->cache, key_of(t, 0), &place);
}

bool id_texts_learn(struct id_texts *t, uint32_t number, struct str text)
{
	struct str *to;

	if (!t->cache || text.n == 0 || text.n > LENGTH_MAX)
		return true;
	to = chunks_make(&t->learned, number);
	if (!to)
		return false;
	*to = (struct str){arena_str(t->learned.a, text), text.n};
	t->n_learned = number < t->n_learned ? t->n_learned : number + 1;
	return to->p != NULL;
}

/* False when that is no block: in shared memory there may be anything, so no length is believed. */
static bool take_apart(struct str body, struct str *out)
{
	size_t at = ID_TEXTS_BLOCK * sizeof(uint16_t);

	if (body.n < at)
		return false;
	for (size_t i = 0; i < ID_TEXTS_BLOCK; i++) {
		uint16_t n;

		memcpy(&n, body.p + i * sizeof(n), sizeof(n));
		if (n > body.n - at)
			return false;
		if (n)
			out[i] = (struct str){body.p + at, n};
		at += n;
	}
	return true;
}

const struct str *id_texts_block(const struct id_texts *t, uint32_t block, struct arena *a)
{
	struct colcache_place place;
	struct str *out;
	char *body;

	if (!t->cache || !colcache_find(t->cache, key_of(t, block), &place) ||
		place.size > EVSEG_PART_MAX)
		return NULL;
	/* colcache_read() writes whole words */
	body = arena_alloc(a, place.size + sizeof(uint64_t));
	out = arena_array(a, ID_TEXTS_BLOCK, sizeof(*out));
	if (!body || !out || !colcache_read(t->cache, place, body))
		return NULL;
	return take_apart((struct str){body, place.size}, out) ? out : NULL;
}

/* 0, which no text has, where there is no such number, or who had it was erased. */
static uint64_t digest_of_number(const struct id_texts *t, uint32_t number)
{
	return number > 0 && number <= t->base->n_numbers
		       ? t->base->ids.v[t->base->id_of[number - 1]]
		       : 0;
}

/* In a database that was restored a number may have become another id's since. */
bool id_texts_right(const struct id_texts *t, uint32_t number, struct str text)
{
	return digest_of(t->base->state.key, text) == digest_of_number(t, number);
}

static struct str learned(const struct id_texts *t, uint32_t number)
{
	if (number >= t->n_learned || !t->learned.v[number >> CHUNK_SHIFT])
		return (struct str){NULL, 0};
	return *(const struct str *)chunks_at(&t->learned, number);
}

/* What was known stays, but for who has been erased. */
static void keep_block(const struct id_texts *t, uint32_t block, struct arena *a)
{
	const struct str *known = id_texts_block(t, block, a);
	struct str *all = arena_array(a, ID_TEXTS_BLOCK, sizeof(*all));
	uint32_t first = block * ID_TEXTS_BLOCK, fresh = 0;
	struct buf b;

	buf_init(&b, a);
	for (uint32_t i = 0; all && i < ID_TEXTS_BLOCK; i++) {
		struct str new = learned(t, first + i);

		if (known && known[i].n && digest_of_number(t, first + i) != 0)
			all[i] = known[i];
		fresh += new.n > 0 && !str_eq(all[i], new);
		if (new.n > 0)
			all[i] = new;
	}
	if (fresh == 0 && (known || block > 0))
		return;
	for (uint32_t i = 0; all && i < ID_TEXTS_BLOCK; i++) {
		uint16_t n = (uint16_t)all[i].n;

		buf_add(&b, &n, sizeof(n));
	}
	for (uint32_t i = 0; all && i < ID_TEXTS_BLOCK; i++)
		buf_str(&b, all[i]);
	if (all && !b.over)
		colcache_replace(t->cache, key_of(t, block), (struct str){b.p, b.n});
}

void id_texts_keep(const struct id_texts *t, struct arena *a)
{
	/* the first block in any case: where all have profiles it says that no texts are needed */
	for (uint32_t at = 0; t->cache && (at == 0 || at < t->n_learned); at += ID_TEXTS_BLOCK) {
		arena_reset(a);
		keep_block(t, at / ID_TEXTS_BLOCK, a);
	}
	arena_reset(a);
}
