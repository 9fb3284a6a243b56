/*
 * See merge.h and ties.h. This file: which rows of the segments in the making get their ids
 * into PART_TIES, once it is known which segments there are.
 */
#include "shm/base/hash.h"
#include "worker/store/merge_internal.h"
#include "worker/store/ties.h"

static bool no_memory(struct merge *m)
{
	m->end = MERGE_MEMORY;
	return false;
}

/* By row: whether it has a tie; and the segment it goes to. */
struct marks {
	uint8_t *tied;
	uint32_t *group;
};

/* What was tied stays so: the other event may be in a segment that is not here. */
static bool carry(struct merge *m, struct marks *k)
{
	uint8_t **tied = arena_array(m->scratch, m->n_src, sizeof(*tied));
	bool any = false;
	struct ties t;

	if (!tied)
		return no_memory(m);
	for (uint32_t i = 0; i < m->n_src; i++) {
		if (!ties_read(&m->src[i], m->scratch, &t)) {
			m->end = m->scratch->over ? MERGE_MEMORY : MERGE_BROKEN;
			return false;
		}
		if (t.n == 0)
			continue;
		tied[i] = arena_zalloc(m->scratch, m->src[i].n);
		if (!tied[i])
			return no_memory(m);
		for (uint32_t n = 0; n < t.n; n++)
			tied[i][t.rows[n]] = 1;
		any = true;
	}
	for (uint32_t i = 0; any && i < m->n_rows; i++)
		if (tied[m->rows[i].src])
			k->tied[i] = tied[m->rows[i].src][m->rows[i].row];
	return true;
}

/* Rows of one time and owner, by the first one of them. */
struct meetings {
	const struct merge *m;
	const uint32_t *owners;
	uint64_t key[3]; /* of the hash, because clients choose times */
	uint64_t *slots; /* row + 1 of a first one, below the upper half of its hash */
	uint32_t mask;
	uint32_t *first; /* by row */
	uint8_t *apart;  /* by row of a first one: another one goes elsewhere */
};

static uint64_t hash_row(const struct meetings *t, uint32_t row)
{
	uint64_t h = (uint64_t)t->m->rows[row].time * t->key[0] ^ t->owners[row] * t->key[1];

	return (h ^ h >> 32) * t->key[2];
}

static uint64_t *find_slot(const struct meetings *t, uint32_t row, uint64_t hash)
{
	const struct merge_row *rows = t->m->rows;

	for (uint32_t at = (uint32_t)(hash >> 20) & t->mask;; at = (at + 1) & t->mask) {
		uint64_t slot = t->slots[at];
		uint32_t other = (uint32_t)slot - 1;

		if (slot == 0 || ((slot ^ hash) >> 32 == 0 && rows[other].time == rows[row].time &&
					 t->owners[other] == t->owners[row]))
			return &t->slots[at];
	}
}

static bool meetings_init(struct meetings *t, struct merge *m, const uint32_t *owners)
{
	*t = (struct meetings){.m = m, .owners = owners, .mask = 63};
	while (t->mask < m->n_rows + m->n_rows / 2)
		t->mask = t->mask * 2 + 1;
	t->slots = arena_array(m->scratch, (size_t)t->mask + 1, sizeof(*t->slots));
	t->first = arena_array(m->scratch, (size_t)m->n_rows + 1, sizeof(*t->first));
	t->apart = arena_zalloc(m->scratch, (size_t)m->n_rows + 1);
	hash_random(t->key, sizeof(t->key));
	/* an even factor would lose bits */
	for (int i = 0; i < 3; i++)
		t->key[i] |= 1;
	return (t->slots && t->first && t->apart) || no_memory(m);
}

/* Marks the events that have the time and the owner of one that goes to another segment. */
static bool find_ties(struct merge *m, const uint32_t *owners, struct marks *k)
{
	/* rows between asking memory for a slot and looking at it */
	enum { AHEAD = 12 };
	uint64_t hashes[AHEAD] = {0};
	struct arena_mark mark = arena_mark(m->scratch);
	struct meetings t;

	if (!owners)
		return true;
	if (!meetings_init(&t, m, owners))
		return false;
	for (uint32_t i = 0; i < m->n_rows + AHEAD; i++) {
		uint64_t hash = hashes[i % AHEAD], *slot;
		uint32_t row = i - AHEAD;

		if (i < m->n_rows) {
			hashes[i % AHEAD] = hash_row(&t, i);
			__builtin_prefetch(
				&t.slots[(uint32_t)(hashes[i % AHEAD] >> 20) & t.mask], 1);
		}
		if (i < AHEAD || owners[row] == 0)
			continue;
		slot = find_slot(&t, row, hash);
		if (*slot == 0)
			*slot = hash >> 32 << 32 | (row + 1);
		/* to compare with the first is enough: if none differs from it, none differ */
		t.first[row] = (uint32_t)*slot - 1;
		t.apart[t.first[row]] |= k->group[row] != k->group[t.first[row]];
	}
	for (uint32_t i = 0; i < m->n_rows; i++)
		k->tied[i] |= owners[i] != 0 && t.apart[t.first[i]];
	arena_release(m->scratch, &mark);
	return true;
}

static bool put_ties(struct merge *m, struct merge_group *g, const uint8_t *tied)
{
	static const struct evseg_part like = {.kind = PART_TIES, .key = {"", 0}};
	uint32_t *rows = arena_alloc(m->scratch, (size_t)g->n * sizeof(*rows)), n = 0;
	uint8_t *ids = arena_alloc(m->scratch, (size_t)g->n * 16);
	struct buf raw;

	if (!rows || !ids)
		return no_memory(m);
	for (uint32_t i = 0; i < g->n; i++) {
		if (!tied[i])
			continue;
		memcpy(ids + (size_t)n * 16, m->rows[g->first + i].id, 16);
		rows[n++] = i;
	}
	if (n == 0)
		return true;
	buf_init(&raw, m->scratch);
	ties_encode(&raw, &(struct ties){rows, ids, n});
	if (raw.over)
		return no_memory(m);
	return merge_add_part(m, g, &like, (struct str){raw.p, raw.n});
}

/* Rows of one segment tell their order by themselves: with one group nothing is looked for, but
 * what the sources had is carried on. */
bool merge_ties(struct merge *m, struct merge_group *groups, uint32_t n)
{
	struct marks k;

	arena_reset(m->scratch);
	k.tied = arena_zalloc(m->scratch, (size_t)m->n_rows + 1);
	k.group = arena_array(m->scratch, (size_t)m->n_rows + 1, sizeof(*k.group));
	if (!k.tied || !k.group)
		return no_memory(m);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t r = 0; r < groups[i].n; r++)
			k.group[groups[i].first + r] = i;
	if (!carry(m, &k))
		return false;
	if (n > 1 && (!find_ties(m, m->distincts, &k) || !find_ties(m, m->sessions, &k)))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		struct arena_mark mark = arena_mark(m->scratch);

		if (!put_ties(m, &groups[i], k.tied + groups[i].first))
			return false;
		arena_release(m->scratch, &mark);
	}
	return true;
}
