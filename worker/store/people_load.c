/* See people_load.h. */
#include "worker/store/people_load.h"

#include <endian.h>
#include <pthread.h>

#include "q.h"
#include "shm/base/hash.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"
#include "worker/store/numbers.h"
#include "worker/store/people_cache.h"

enum {
	KEEP_MIN = 1000, /* ids: less is made in no time */
	IDS_MAX = 256 << 20
};

static struct people_load *load_of(struct people_pack *p)
{
	return list_item(p, struct people_load, pack);
}

/* Of the hash over the numbers of changes, which is their XOR: nobody shall be able to choose
 * changes that cancel out. One for the process, in which alone states are compared. */
static int64_t seed;

static void draw(void)
{
	hash_random(&seed, sizeof(seed));
}

/* ---- what the snapshot sees ---- */

/* Blocks follow each other without gaps, from 1 on. total() and people_base_numbers() count on
 * it. */
static bool in_order(const struct people_state *s)
{
	int64_t next = 1;

	for (uint32_t i = 0; i < s->n_blocks; i++) {
		if (s->first[i] != next || s->n[i] < 1)
			return false;
		next += s->n[i];
	}
	return next - 1 <= NUMBERS_MAX;
}

static uint32_t total(const struct people_state *s)
{
	uint32_t last = s->n_blocks - 1;

	return s->n_blocks ? (uint32_t)s->first[last] + (uint32_t)s->n[last] - 1 : 0;
}

/* `first` follows from n. The version tells of digests that an erasure zeroed where they were. */
static bool same_blocks(const struct people_state *a, const struct people_state *b)
{
	size_t n = a->n_blocks;

	return a->n_blocks == b->n_blocks &&
	       (n == 0 || (!memcmp(a->n, b->n, n * sizeof(*a->n)) &&
				  !memcmp(a->version, b->version, n * sizeof(*a->version))));
}

/* Of one project on one server. Without a packed copy nothing tells what there is. */
static bool equal(const struct people_state *a, const struct people_state *b)
{
	return a->upto != PEOPLE_NO_COPY && a->upto == b->upto && a->changes == b->changes &&
	       a->hash == b->hash && same_blocks(a, b);
}

/* Whether what `now` sees can be made from what there is. Changes are none of it: the old ones
 * are put back, and all since the copy read again. But numbers cannot be taken out: an older
 * snapshot, which has fewer, is made from nothing. */
static bool fits(const struct people_base *b, const struct people_state *now)
{
	const struct people_state *s = &b->state;

	if (s->upto != now->upto || s->n_blocks > now->n_blocks || people_base_stale(b))
		return false;
	for (uint32_t i = 0; i < s->n_blocks; i++)
		if (s->n[i] > now->n[i])
			return false;
	return true;
}

/* ---- numbers ---- */

static enum stream_next numbers_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct people_load *l = load_of(st->arg);
	struct arena *a = &l->pack.row;
	struct q_people_numbers_row row;
	uint64_t *digests;

	arena_reset(a);
	if (codec_row(q, res, 0, &row, a) != DB_OK) {
		db_fail(&st->db.err, DB_MEMORY);
		return STREAM_FAIL;
	}
	if (row.first < 1 || (uint32_t)row.first > l->base->n_numbers + 1 || row.n < 1 ||
		row.n > NUMBERS_MAX || row.digests.n != (size_t)row.n * sizeof(*digests)) {
		l->broken = true;
		db_fail(&st->db.err, DB_BUG);
		return STREAM_FAIL;
	}
	digests = arena_alloc(a, row.digests.n);
	if (digests)
		memcpy(digests, row.digests.p, row.digests.n);
	for (int i = 0; digests && i < row.n; i++)
		digests[i] = le64toh(digests[i]);
	if (digests && people_base_numbers(l->base, (uint32_t)row.first, digests, (uint32_t)row.n))
		return STREAM_MORE;
	db_fail(&st->db.err, DB_MEMORY);
	return STREAM_FAIL;
}

/* Those of the blocks that `old` has not got as they are now. */
static int read_numbers(struct people_load *l, struct db_stream *st, const struct people_state *old)
{
	const struct people_state *s = &l->pack.state;
	int32_t *blocks = arena_array(&l->pack.a, (size_t)s->n_blocks + 1, sizeof(*blocks));
	struct q_people_numbers_args args = {s->project, {blocks, 0}};
	struct q_people_numbers_row *rows;

	if (!blocks)
		return db_fail(&st->db.err, DB_MEMORY);
	for (uint32_t i = 0; i < s->n_blocks; i++)
		if (i >= old->n_blocks || s->version[i] != old->version[i])
			blocks[args.blocks.n++] = s->first[i];
	if (args.blocks.n == 0)
		return 0;
	st->arg = &l->pack;
	st->row = numbers_row;
	if (q_people_numbers(&st->db, &args, &rows) < 0)
		return -1;
	if (l->base->n_numbers == total(s))
		return 0;
	l->broken = true;
	return db_fail(&st->db.err, DB_BUG);
}

/* ---- people ---- */

static bool take_profiles(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return people_base_profiles(load_of(p)->base, id, of, n);
}

static bool take_gone(struct people_pack *p, const uint64_t *id, uint32_t n)
{
	return people_base_gone(load_of(p)->base, id, n);
}

static bool take_aliases(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return people_base_aliases(load_of(p)->base, id, of, n);
}

static int no_memory(struct db_stream *st)
{
	return db_fail(&st->db.err, DB_MEMORY);
}

/* The base gets a description of its own: l->pack.state ends with the pack. */
static int finish(struct people_load *l, struct db_stream *st)
{
	if (people_pack_changed(&l->pack) < 0)
		return -1;
	if (!people_base_ready(l->base) || !people_base_describe(l->base, &l->pack.state))
		return no_memory(st);
	return 0;
}

/* Numbers first: as long as nobody else is in the base, they need no look-up. */
static int make(struct people_load *l, struct db_stream *st)
{
	uint32_t numbers = l->numbers ? total(&l->pack.state) : 0;
	/* of those who are known, many of their other ids have no events */
	uint64_t people = l->pack.n_profiles + l->pack.n_aliases;
	uint64_t ids = numbers + l->pack.n_profiles + people / 2;

	l->origin = PEOPLE_MADE;
	l->base = people_base_new(l->memory);
	if (!l->base ||
		!people_base_expect(l->base, ids < IDS_MAX ? (uint32_t)ids : IDS_MAX, numbers))
		return no_memory(st);
	if (l->numbers && read_numbers(l, st, &(struct people_state){0}) < 0)
		return -1;
	if (people_pack_copied(&l->pack) < 0)
		return -1;
	people_base_changing(l->base);
	return finish(l, st);
}

static int change(struct people_load *l, struct db_stream *st, const struct people_base *old)
{
	l->origin = PEOPLE_CHANGED;
	l->base = people_base_copy(old, l->memory);
	if (!l->base)
		return no_memory(st);
	if (read_numbers(l, st, &old->state) < 0)
		return -1;
	return finish(l, st);
}

static int load(struct people_load *l, struct db_stream *st, int32_t project)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct people_state *s = &l->pack.state;
	struct people_base *old = NULL;
	int n;

	pthread_once(&once, draw);
	if (people_pack_begin(&l->pack, st, project, seed) < 0)
		return -1;
	if (l->numbers && !in_order(s)) {
		l->broken = true;
		return db_fail(&st->db.err, DB_BUG);
	}
	if (l->tables)
		/* nothing that is kept equals that: the tables are read in any case */
		l->pack.state.upto = PEOPLE_NO_COPY;
	if (l->cache)
		old = people_cache_get(s, l->cache);
	if (old && equal(&old->state, s)) {
		l->base = old;
		l->shared = true;
		l->origin = PEOPLE_KEPT;
		return 0;
	}
	n = old && fits(old, s) ? change(l, st, old) : make(l, st);
	if (old)
		people_cache_release(old);
	if (n == 0 && l->cache && l->base->n >= KEEP_MIN)
		l->shared = people_cache_offer(l->base, l->cache);
	return n;
}

int people_load(struct people_load *l, struct db_stream *st, int32_t project)
{
	int n;

	l->pack.profiles = take_profiles;
	l->pack.gone = take_gone;
	l->pack.aliases = take_aliases;
	n = load(l, st, project);
	people_pack_end(&l->pack);
	return n;
}

void people_unload(struct people_load *l)
{
	if (!l->base)
		return;
	if (l->shared)
		people_cache_release(l->base);
	else
		people_base_free(l->base);
	l->base = NULL;
}
