/*
 * Sealed segments whose columns may be in shared memory (shm/colcache.h); see reader.h. Which
 * segments there are, and what is hidden of them, is read in the query's snapshot as ever;
 * only bytes that cannot change are not read again.
 *
 * First the rows of the segments, in the order of their days. Then window by window: the
 * columns that are not in memory, in one statement; and as these come, segment by segment all
 * that go before. What was in memory when the window began may be overwritten since: then the
 * rest of its statement is thrown away, and the next window begins with that segment, which is
 * then read whole. That is rare, and after some times memory is not asked any more.
 */
#include <endian.h>
#include <string.h>

#include "q.h"
#include "shm/base/hash.h"
#include "worker/db/codec.h"
#include "worker/db/sqlstate.h"
#include "worker/store/reader_cached.h"

enum {
	HEADS_MAX = 65536,       /* segments of a query */
	HEADS_SHARE = 32,        /* of the query's memory, they may take such a part */
	PAIRS_MAX = 32768,       /* what one statement reads: columns, */
	PAIRS_SHARE = 64,        /* of which the list may take such a part, */
	WINDOW_EVENTS = 2 << 20, /* and events */
	GUESS_BYTES = 6,         /* of a column, an event */
	ID_BYTES = 16,           /* of event ids or distinct_ids, an event */
	ID_SHARE = 4,            /* of the cache, those of one query may take such a part */
	LOST_MAX = 8
};

/* ---- which segments ---- */

static uint64_t bit(uint32_t no)
{
	return (uint64_t)1 << no;
}

/* The row says the rest already. */
static uint64_t columns_wanted(
	const struct reader *r, const struct q_scan_heads_row *row, const struct reader_wanted *w)
{
	uint64_t wanted = 0;

	for (uint32_t i = 0; i < (uint32_t)w->part.n; i++) {
		int32_t part = w->part.v[i];
		bool told = (part == PART_TIME && row->flat) ||
			    (part == PART_KIND && row->kind.n > 0) ||
			    (part == PART_DISTINCT && reader_numbers(r) && !r->need->texts &&
				    row->numbered) ||
			    (part == PART_NUMBER && !row->numbered);

		wanted |= told ? 0 : bit(i);
	}
	return wanted;
}

static uint64_t head_tag(const struct reader *r, const struct q_scan_heads_row *row)
{
	int64_t is[] = {row->home, r->project, row->id, row->place, row->n, row->tmin, row->tmax,
		row->columns, row->bytes, row->sealed_at};

	return colcache_hash(r->cache, is, sizeof(is));
}

static enum stream_next head_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct reader_cached *p = r->cached;
	struct q_scan_heads_row row;
	struct cached_head *h = &p->heads[p->n];

	arena_reset(&r->scratch);
	if (p->n == p->most)
		return reader_broken(r, "segments");
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	*h = (struct cached_head){
		.tag = head_tag(r, &row), .wanted = columns_wanted(r, &row, &p->w)};
	h->row = (struct reader_head){.id = row.id,
		.place = row.place,
		.tmin = row.tmin,
		.floor_ms = row.floor_ms,
		.n = row.n,
		.columns = row.columns,
		.has_floor = !row.floor_ms_null,
		.flat = row.flat};
	/* neighbours are often of one kind */
	if (p->n > 0 && str_eq(p->heads[p->n - 1].row.kind, row.kind))
		h->row.kind = p->heads[p->n - 1].row.kind;
	else
		h->row.kind = (struct str){arena_str(st->db.arena, row.kind), row.kind.n};
	p->n++;
	return h->row.kind.p ? STREAM_MORE : reader_fail(r, READER_MEMORY);
}

/* One row more than there is room for tells that there are too many. */
static int read_heads(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct reader_cached *p = r->cached;
	struct q_scan_heads_args args = {.project = r->project,
		.from_ms = from_ms,
		.to_ms = to_ms,
		.from_day = reader_day(from_ms),
		.to_day = reader_day(to_ms),
		.kinds = {r->kinds, (int)r->n_kinds},
		.flat = r->need->flat,
		.edges = {r->need->edges, (int)r->need->n_edges},
		.most = p->most};
	struct q_scan_heads_row *rows;

	r->stream.row = head_row;
	return q_scan_heads(&r->stream.db, &args, &rows);
}

/* ---- what is in memory ---- */

static struct colcache_key key_of(
	const struct reader_cached *p, const struct cached_head *h, uint32_t no)
{
	uint64_t both[] = {h->tag, p->tag[no]};

	return (struct colcache_key){(uint64_t)h->row.id, hash_64(both, sizeof(both))};
}

uint64_t cached_missing(const struct reader *r, const struct cached_head *h, uint64_t more)
{
	const struct reader_cached *p = r->cached;
	uint64_t lacking = h->wanted & ~p->kept;

	for (uint64_t left = h->wanted & p->kept; left; left &= left - 1) {
		uint32_t no = (uint32_t)__builtin_ctzll(left);
		struct colcache_place place;

		if (!colcache_find(r->cache, key_of(p, h, no), &place) ||
			!colcache_stays(r->cache, place, more))
			lacking |= bit(no);
	}
	return lacking;
}

static void list_pairs(struct reader_cached *p, uint32_t k)
{
	for (uint64_t left = p->heads[k].missing; left; left &= left - 1) {
		p->segment[p->n_pairs] = p->heads[k].row.id;
		p->no[p->n_pairs] = __builtin_ctzll(left) + 1;
		p->of[p->n_pairs++] = k;
	}
}

/* From `next` on, as far as one statement goes. Returns how much may be put for it. */
static uint64_t window(struct reader *r, uint64_t more)
{
	struct reader_cached *p = r->cached;
	uint64_t guess = 0, events = 0;
	uint32_t k;

	p->n_pairs = p->last = 0;
	for (k = p->next; k < p->n; k++) {
		struct cached_head *h = &p->heads[k];

		h->missing = k == p->whole || p->n_lost >= LOST_MAX ? h->wanted
								    : cached_missing(r, h, more);
		if (k > p->next && h->missing &&
			(events > WINDOW_EVENTS || p->n_pairs + CACHED_COLUMNS > p->most_pairs))
			break;
		list_pairs(p, k);
		events += h->missing ? (uint64_t)h->row.n : 0;
		guess += (uint64_t)__builtin_popcountll(h->missing & p->kept) * (uint64_t)h->row.n *
			 GUESS_BYTES;
	}
	p->end = k;
	return guess;
}

/* What this window puts must not throw out what it still wants. */
static void plan_window(struct reader *r)
{
	uint64_t room = colcache_room(r->cache), guess = window(r, 0);

	if (guess > 0 && room > 0)
		window(r, guess < room ? guess : room);
}

/* ---- one segment ---- */

/* True also when it is known that there is no such column. */
static bool from_memory(struct reader *r, const struct cached_head *h, uint32_t no)
{
	struct reader_cached *p = r->cached;
	struct colcache_place place;
	void *copy;

	if (!colcache_find(r->cache, key_of(p, h, no), &place) || place.size > EVSEG_PART_MAX)
		return false;
	r->cache->hits++;
	if (place.size == 0)
		return true;
	/* whole words are copied */
	copy = arena_alloc(&r->scratch, place.size + 8);
	if (!copy || !colcache_read(r->cache, place, copy))
		return false;
	r->cache->bytes += place.size;
	p->v[p->n_v++] = (struct evseg_part){.kind = (enum part_kind)p->w.part.v[no],
		.scope = (enum prop_scope)p->w.scope.v[no],
		.key = p->w.key.v[no],
		.raw_n = (uint32_t)place.size,
		.stored = {copy, place.size}};
	return true;
}

/* Unpacks what was read, and keeps it. False when malformed, or the arena is full. */
static bool keep(struct reader *r, const struct cached_head *h)
{
	struct reader_cached *p = r->cached;
	uint64_t absent = h->missing & p->optional & ~p->got;
	uint32_t i = 0;

	for (uint64_t left = p->got; left; left &= left - 1, i++) {
		uint32_t no = (uint32_t)__builtin_ctzll(left);
		struct evseg_part *part = &p->v[i];

		if (!(p->kept & bit(no)))
			continue;
		if (!evseg_unpack(part, &r->scratch, &part->stored))
			return false;
		/* there is no way to say that it is empty, which none is */
		if (part->stored.n > 0)
			colcache_put(r->cache, key_of(p, h, no), part->stored);
	}
	for (; absent; absent &= absent - 1)
		colcache_put(r->cache, key_of(p, h, (uint32_t)__builtin_ctzll(absent)), STR(""));
	return true;
}

static bool asked_to_stop(struct reader *r)
{
	if (!r->stream.stop || !r->stream.stop(&r->stream))
		return false;
	r->error = READER_DB;
	db_fail(&r->stream.db.err, DB_TIMEOUT);
	return true;
}

/* MORE with p->lost when it is not in memory any more. */
static enum stream_next give(struct reader *r)
{
	struct reader_cached *p = r->cached;
	const struct cached_head *h = &p->heads[p->next];
	enum stream_next next;
	uint32_t n_read;

	if (!p->open) {
		arena_reset(&r->scratch);
		p->n_v = 0;
		p->got = 0;
	}
	r->touched = false;
	if (asked_to_stop(r))
		return STREAM_FAIL;
	n_read = p->n_v;
	for (uint64_t left = h->wanted & ~h->missing; left; left &= left - 1)
		if (!from_memory(r, h, (uint32_t)__builtin_ctzll(left))) {
			p->lost = !r->scratch.over;
			return p->lost ? STREAM_MORE : reader_fail(r, READER_MEMORY);
		}
	r->cache->misses += (uint64_t)__builtin_popcountll(h->missing);
	if ((n_read > 0 || h->missing) && !keep(r, h))
		return reader_broken(r, "segment");
	p->open = false;
	next = reader_sealed(r, &h->row, p->v, p->n_v, NULL);
	p->next += next != STREAM_FAIL;
	return next;
}

enum stream_next cached_give(struct reader *r, uint32_t end)
{
	struct reader_cached *p = r->cached;
	enum stream_next next = STREAM_MORE;

	while (next == STREAM_MORE && p->next < end && !p->lost)
		next = give(r);
	p->enough |= next == STREAM_ENOUGH;
	return next;
}

/* ---- what is read ---- */

/* False when malformed. */
static bool add_part(struct reader_cached *p, const struct q_scan_columns_row *row)
{
	uint32_t no = (uint32_t)p->no[row->at - 1] - 1;
	struct evseg_part part = {.kind = (enum part_kind)p->w.part.v[no],
		.scope = (enum prop_scope)p->w.scope.v[no],
		.key = p->w.key.v[no],
		.raw_n = (uint32_t)row->raw,
		.stored = row->data};

	if (part.raw_n > EVSEG_PART_MAX || part.stored.n > part.raw_n ||
		evseg_part_crc(&part, p->heads[p->next].row.id) != (uint32_t)row->crc)
		return false;
	p->got |= bit(no);
	p->v[p->n_v++] = part;
	return true;
}

/* Before anything of the row is copied. */
static uint32_t at_of(const PGresult *res)
{
	uint32_t at = 0;

	if (PQgetlength(res, 0, 0) == sizeof(at))
		memcpy(&at, PQgetvalue(res, 0, 0), sizeof(at));
	return be32toh(at);
}

static enum stream_next column_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct reader *r = reader_of(st);
	struct reader_cached *p = r->cached;
	struct q_scan_columns_row row;
	uint32_t at = at_of(res), of;

	if (p->lost)
		return STREAM_MORE;
	if (at <= p->last || at > p->n_pairs)
		return reader_broken(r, "order of columns");
	p->last = at;
	of = p->of[at - 1];
	if (!p->open || p->next != of) {
		enum stream_next next = cached_give(r, of);

		if (next != STREAM_MORE || p->lost)
			return next;
		arena_reset(&r->scratch);
		p->open = true;
		p->n_v = 0;
		p->got = 0;
	}
	if (codec_row(q, res, 0, &row, &r->scratch) != DB_OK)
		return reader_fail(r, READER_MEMORY);
	return add_part(p, &row) ? STREAM_MORE : reader_broken(r, "segment");
}

/* One window. The segment that was lost is read whole in the next one, so that each gets
 * further. */
static int step(struct reader *r)
{
	struct reader_cached *p = r->cached;
	struct q_scan_columns_args args = {.project = r->project};
	struct q_scan_columns_row *rows;

	plan_window(r);
	args.segment = (struct db_int8s){p->segment, (int)p->n_pairs};
	args.no = (struct db_int4s){p->no, (int)p->n_pairs};
	args.part = p->w.part;
	args.scope = p->w.scope;
	args.key = p->w.key;
	r->stream.row = column_row;
	if (p->n_pairs > 0 && q_scan_columns(&r->stream.db, &args, &rows) < 0)
		return -1;
	if (!p->enough && !p->lost && cached_give(r, p->end) == STREAM_FAIL)
		return -1;
	p->open = false;
	if (p->lost) {
		p->lost = false;
		p->n_lost++;
		r->cache->lost++;
		p->whole = p->next;
	}
	return 0;
}

static void describe_columns(struct reader *r, struct reader_cached *p)
{
	for (uint32_t i = 0; i < (uint32_t)p->w.part.n; i++) {
		int32_t is[] = {p->w.part.v[i], p->w.scope.v[i]};
		uint64_t both[] = {colcache_hash(r->cache, is, sizeof(is)),
			colcache_hash(r->cache, p->w.key.v[i].p, p->w.key.v[i].n)};

		p->tag[i] = hash_64(both, sizeof(both));
		if (is[0] == PART_PROP || is[0] == PART_SESSION || is[0] == PART_TIES)
			p->optional |= bit(i);
	}
}

/* Ids and texts take as much as all other columns together, which more questions ask for: of
 * a large project they would throw these out. */
static void choose_columns(struct reader *r, struct reader_cached *p)
{
	uint64_t events = 0;
	bool ids;

	for (uint32_t k = 0; k < p->n; k++)
		events += (uint64_t)p->heads[k].row.n;
	ids = events * ID_BYTES <= r->cache->ring / ID_SHARE;
	for (uint32_t i = 0; i < (uint32_t)p->w.part.n; i++)
		if (ids || (p->w.part.v[i] != PART_ID && p->w.part.v[i] != PART_DISTINCT))
			p->kept |= bit(i);
}

static uint32_t share(const struct arena *a, size_t part, size_t size, size_t most)
{
	size_t n = a->cap / part / size;

	return (uint32_t)(n < most ? n : most);
}

/* False at the arena's cap. */
static bool make_room(struct reader *r, struct reader_cached *p)
{
	struct arena *a = r->stream.db.arena;

	p->heads = arena_alloc(a, (size_t)p->most * sizeof(*p->heads));
	p->segment = arena_alloc(a, p->most_pairs * sizeof(*p->segment));
	p->no = arena_alloc(a, p->most_pairs * sizeof(*p->no));
	p->of = arena_alloc(a, p->most_pairs * sizeof(*p->of));
	p->v = arena_alloc(a, CACHED_COLUMNS * sizeof(*p->v));
	return p->heads && p->segment && p->no && p->of && p->v;
}

int cached_steps(struct reader *r)
{
	struct reader_cached *p = r->cached;
	int n = 0;

	while (n >= 0 && p->next < p->n && !p->enough)
		n = step(r);
	return n;
}

int reader_cached(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	struct reader_cached p = {.whole = UINT32_MAX};
	struct arena *a = r->stream.db.arena;
	size_t pair = sizeof(*p.segment) + sizeof(*p.no) + sizeof(*p.of);
	int n;

	if (!reader_wanted(r, &p.w, a))
		return db_fail(&r->stream.db.err, DB_MEMORY);
	p.most = share(a, HEADS_SHARE, sizeof(*p.heads), HEADS_MAX);
	p.most_pairs = share(a, PAIRS_SHARE, pair, PAIRS_MAX);
	if (p.w.part.n > CACHED_COLUMNS || p.most_pairs < CACHED_COLUMNS)
		return reader_parts(r, from_ms, to_ms);
	if (!make_room(r, &p))
		return db_fail(&r->stream.db.err, DB_MEMORY);
	describe_columns(r, &p);
	r->cached = &p;
	n = read_heads(r, from_ms, to_ms);
	if (n >= 0 && p.n == p.most) {
		r->cached = NULL;
		return reader_parts(r, from_ms, to_ms);
	}
	choose_columns(r, &p);
	if (n >= 0)
		n = r->twin && r->offload ? cached_twins(r) : cached_steps(r);
	r->cached = NULL;
	return n;
}
