/* See dense.h. */
#include "worker/store/dense.h"

#include <endian.h>

#include "q.h"
#include "shm/base/log.h"
#include "worker/db/sqlstate.h"

/* ---- ids and their numbers ---- */

void dense_init(struct dense *d, const uint8_t *key, struct arena *a, struct arena *scratch)
{
	*d = (struct dense){.a = a, .scratch = scratch, .key = key, .next = 1};
	digests_init(&d->ids, a);
}

bool dense_cookieless(struct str id)
{
	return str_starts(id, STR("cookieless-"));
}

/* Place of an id, whose number is not known when it is new. */
static uint32_t add(struct dense *d, struct str id)
{
	uint32_t before = d->ids.n, no = digests_add(&d->ids, digest_of(d->key, id));

	if (no == DIGESTS_FULL || d->ids.n == before)
		return no;
	if (no == d->cap) {
		uint32_t cap = d->cap ? d->cap * 2 : 1024;
		uint32_t *v =
			arena_grow(d->a, d->numbers, d->cap * sizeof(*v), (size_t)cap * sizeof(*v));

		if (!v)
			return DIGESTS_FULL;
		d->numbers = v;
		d->cap = cap;
	}
	d->numbers[no] = 0;
	d->unknown++;
	return no;
}

static void learn(struct dense *d, uint32_t no, uint32_t number)
{
	if (d->numbers[no])
		return;
	d->numbers[no] = number;
	d->unknown--;
}

/* Codes of a segment's events, and by code the place + 1 of its id, all in scratch. A sparse
 * column is malformed: every event has an id, and column_encode() makes a full one dense. */
static bool read_ids(struct dense *d, const struct evseg *s, struct column *c, uint32_t **places)
{
	const struct evseg_part *part = evseg_find(s, PART_DISTINCT, SCOPE_AUTO, STR(""));

	if (!part || !evseg_column(s, part, d->scratch, c) || c->sparse)
		return false;
	*places = arena_array(d->scratch, c->n_entries + 1, sizeof(**places));
	if (!*places)
		return false;
	for (uint32_t i = 0; i < c->n_entries; i++) {
		uint32_t no;

		if (dense_cookieless(c->entries[i].s))
			continue;
		no = add(d, c->entries[i].s);
		if (no == DIGESTS_FULL)
			return false;
		(*places)[i + 1] = no + 1;
	}
	return true;
}

/* Numbers first: were ids of a segment without any noted, they would count as unknown and get
 * numbers, also those of whom an erasure is just leaving out. */
void dense_know(struct dense *d, const struct evseg *s)
{
	const uint32_t *numbers;
	uint32_t greatest, *places;
	struct column c;

	arena_reset(d->scratch);
	if (!numbers_read(s, d->scratch, &numbers, &greatest) || !read_ids(d, s, &c, &places))
		return;
	for (uint32_t i = 0; i < s->n; i++)
		if (places[c.codes[i]] && numbers[i])
			learn(d, places[c.codes[i]] - 1, numbers[i]);
}

bool dense_collect(struct dense *d, const struct evseg *s, uint32_t **rows)
{
	uint32_t *places;
	struct column c;

	arena_reset(d->scratch);
	if (!read_ids(d, s, &c, &places))
		return false;
	*rows = arena_alloc(d->a, s->n * sizeof(**rows));
	if (!*rows)
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		if (c.codes[i] == 0)
			return false;
		(*rows)[i] = places[c.codes[i]];
	}
	return true;
}

/* A digest that was retired is 0: it is not found, and its number remains taken. */
bool dense_meet(struct dense *d, uint32_t first, const uint64_t *digests, uint32_t n)
{
	uint32_t no[256];

	if (first != d->next || n == 0 || n > NUMBERS_MAX - (first - 1))
		return false;
	for (uint32_t at = 0; at < n; at += 256) {
		uint32_t some = n - at < 256 ? n - at : 256;

		digests_find_all(&d->ids, digests + at, some, no);
		for (uint32_t i = 0; i < some; i++)
			if (no[i] != DIGESTS_FULL)
				learn(d, no[i], first + at + i);
	}
	d->next = first + n;
	d->last = n;
	return true;
}

/* When numbers run out, the other ids stay at 0, and dense_part() makes no part for what has one
 * of them. */
bool dense_give(struct dense *d)
{
	d->fresh = arena_array(d->a, (size_t)d->unknown + 1, sizeof(*d->fresh));
	if (!d->fresh)
		return false;
	for (uint32_t i = 0; i < d->ids.n && d->next <= NUMBERS_MAX; i++) {
		if (d->numbers[i])
			continue;
		d->fresh[d->n_fresh++] = d->ids.v[i];
		learn(d, i, d->next++);
	}
	return true;
}

/* The project's last block is filled up first: its piece has the `first` of that block, to which
 * numbers_put appends. */
bool dense_piece(const struct dense *d, uint32_t *at, struct dense_piece *p)
{
	uint32_t start = d->next - d->n_fresh;
	uint32_t room = *at == 0 && d->last < DENSE_BLOCK ? DENSE_BLOCK - d->last : DENSE_BLOCK;
	uint32_t left = d->n_fresh - *at;

	if (left == 0)
		return false;
	*p = (struct dense_piece){start + *at, left < room ? left : room, d->fresh + *at};
	if (*at == 0 && d->last < DENSE_BLOCK)
		p->first -= d->last;
	*at += p->n;
	return true;
}

void dense_part(const struct dense *d, const uint32_t *rows, uint32_t n, struct evseg_part *part)
{
	uint32_t *numbers;
	struct buf raw;

	arena_reset(d->scratch);
	*part = (struct evseg_part){.kind = PART_NUMBER, .key = STR("")};
	numbers = arena_alloc(d->scratch, n * sizeof(*numbers));
	if (!numbers)
		return;
	for (uint32_t i = 0; i < n; i++) {
		numbers[i] = rows[i] ? d->numbers[rows[i] - 1] : 0;
		/* 0 would make a cookieless visitor of somebody */
		if (rows[i] && !numbers[i])
			return;
	}
	buf_init(&raw, d->scratch);
	numbers_encode(&raw, numbers, n);
	if (raw.over || !evseg_pack(part, (struct str){raw.p, raw.n}, d->a, d->scratch))
		part->stored = (struct str){NULL, 0};
}

/* ---- the project's ---- */

/* Digests are stored little-endian. */
static bool meet_row(struct dense *d, const struct q_numbers_blocks_row *row, struct arena *a)
{
	uint32_t n = (uint32_t)row->n;
	uint64_t *v;

	if (row->n < 1 || row->first < 1 || row->digests.n != (size_t)n * 8)
		return false;
	v = arena_alloc(a, (size_t)n * 8);
	if (!v)
		return false;
	memcpy(v, row->digests.p, (size_t)n * 8);
	for (uint32_t i = 0; i < n; i++)
		v[i] = le64toh(v[i]);
	return dense_meet(d, (uint32_t)row->first, v, n);
}

/* Until all that is wanted was there: 1, 0 when they cannot be used, -1. After 0 segments are put
 * without numbers: damaged blocks must not keep events from being sealed. */
static int meet_all(struct db *db, struct dense *d, int32_t project)
{
	enum { BLOCKS = 32 }; /* as numbers_blocks */
	struct q_numbers_blocks_row *rows;
	int n;

	do {
		struct q_numbers_blocks_args args = {project, (int32_t)d->next};

		arena_reset(d->scratch);
		n = q_numbers_blocks(db, &args, &rows);
		for (int i = 0; i < n; i++)
			if (!meet_row(d, &rows[i], d->scratch)) {
				log_err("numbers of distinct ids are damaged project=%d first=%d",
					project, rows[i].first);
				return 0;
			}
	} while (n == BLOCKS && d->unknown);
	return n < 0 ? -1 : 1;
}

/* The first piece may fill a block up and the last one be short: two more than there are full
 * ones. The digests become bytes where they are, as nobody asks for them any more. */
static int put(struct db *db, const struct dense *d, int32_t project)
{
	size_t most = d->n_fresh / DENSE_BLOCK + 2;
	int32_t *first = arena_array(d->a, most, sizeof(*first));
	int32_t *count = arena_array(d->a, most, sizeof(*count));
	struct str *digests = arena_array(d->a, most, sizeof(*digests));
	struct dense_piece p;
	uint32_t at = 0;
	int n = 0;

	arena_reset(d->scratch);
	if (!first || !count || !digests)
		return db_fail(&db->err, DB_MEMORY);
	for (uint32_t i = 0; i < d->n_fresh; i++)
		d->fresh[i] = htole64(d->fresh[i]);
	for (; dense_piece(d, &at, &p); n++) {
		first[n] = (int32_t)p.first;
		count[n] = (int32_t)p.n;
		digests[n] = (struct str){(const char *)p.digests, (size_t)p.n * 8};
	}
	if (n == 0 || q_numbers_put(db, &(struct q_numbers_put_args){project, {first, n},
						{count, n}, {digests, n}}) == n)
		return 0;
	return db->err.kind == DB_OK ? db_fail(&db->err, DB_BUG) : -1;
}

/* Numbers for all that is not known: 1, 0 when that cannot be, -1. The lock comes before the
 * first look, or two would give one id two numbers; after it, as the transaction is READ
 * COMMITTED, all that others gave is seen. Without new ids nobody waits for it: so it is with
 * merges, whose sources have their numbers. */
static int complete(struct db *db, struct dense *d, struct dense_job *j)
{
	struct q_numbers_lock_row row;
	int met;

	if (d->unknown == 0)
		return 1;
	if (q_numbers_lock(db, &(struct q_numbers_lock_args){j->project}, &row) < 0)
		return -1;
	met = meet_all(db, d, j->project);
	if (met <= 0)
		return met;
	if (d->unknown && !dense_give(d))
		return 0;
	j->full = d->next > NUMBERS_MAX;
	return put(db, d, j->project) < 0 ? -1 : 1;
}

/* row.next is from before numbers_lock(), and only says whether there are any left. If not, no
 * block is read: what `known` segments have is carried on, and a segment with any other id gets
 * no part. */
int dense_number(struct db *db, struct dense_job *j, struct arena *a, struct arena *scratch)
{
	uint32_t **rows = arena_array(a, (size_t)j->n + 1, sizeof(*rows));
	struct q_numbers_key_row row;
	uint8_t key[DIGEST_KEY_BYTES];
	struct dense d;
	int done;

	for (uint32_t i = 0; i < j->n; i++)
		j->parts[i] = (struct evseg_part){.kind = PART_NUMBER, .key = STR("")};
	arena_reset(scratch);
	done = q_numbers_key(db, &(struct q_numbers_key_args){j->project}, &row);
	if (done <= 0 || !rows || row.key.n != sizeof(key))
		return done < 0 ? -1 : 0;
	memcpy(key, row.key.p, sizeof(key));
	dense_init(&d, key, a, scratch);
	for (uint32_t i = 0; i < j->n_known; i++)
		dense_know(&d, &j->known[i]);
	for (uint32_t i = 0; i < j->n; i++)
		if (!dense_collect(&d, &j->segs[i], &rows[i]))
			rows[i] = NULL;
	j->full = row.next > NUMBERS_MAX;
	done = j->full ? 1 : complete(db, &d, j);
	for (uint32_t i = 0; done > 0 && i < j->n; i++)
		if (rows[i])
			dense_part(&d, rows[i], j->segs[i].n, &j->parts[i]);
	return done < 0 ? -1 : 0;
}
