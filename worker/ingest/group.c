/* See group.h. Everybody inserts ids in the order of (project, day, id): it is made here. */
#include <endian.h>
#include <stdlib.h>
#include "worker/ingest/group.h"
#include "worker/store/encode.h"

enum { DAY_MS = 86400000 };

enum { RUN = 8 }; /* claims that are sorted by insertion */

struct claim {
	uint64_t key[3]; /* compare like (project, day, id); ids as two big-endian numbers */
	uint32_t order;  /* of the event in the group */
	uint32_t share;
};

static int32_t day_of(int64_t ms)
{
	return (int32_t)(ms / DAY_MS - (ms % DAY_MS < 0));
}

/* Negative numbers come first when their sign is turned. */
static uint64_t ordered(int32_t project, int32_t day)
{
	uint64_t sign = UINT64_C(1) << 31;

	return ((uint32_t)project ^ sign) << 32 | ((uint32_t)day ^ sign);
}

/* Ids as numbers that compare like their bytes, as uuids do in PostgreSQL. */
static uint64_t big_endian(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static bool same_key(const struct claim *a, const struct claim *b)
{
	return a->key[0] == b->key[0] && a->key[1] == b->key[1] && a->key[2] == b->key[2];
}

/* Equal keys lie in order of arrival, whatever sorts them: drop_repeats() keeps the first. */
static bool comes_first(const struct claim *a, const struct claim *b)
{
	for (int i = 0; i < 3; i++)
		if (a->key[i] != b->key[i])
			return a->key[i] < b->key[i];
	return a->order < b->order;
}

static void sort_run(struct claim *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		struct claim c = v[i];
		uint32_t k = i;

		for (; k > 0 && comes_first(&c, &v[k - 1]); k--)
			v[k] = v[k - 1];
		v[k] = c;
	}
}

/* v[0, mid) and v[mid, n), both sorted, into `to`. */
static void merge_runs(const struct claim *v, uint32_t mid, uint32_t n, struct claim *to)
{
	uint32_t i = 0, k = mid;

	/* batches one behind the other, as clients number them: nothing to do */
	if (mid < n && comes_first(&v[mid - 1], &v[mid]))
		i = mid;
	memcpy(to, v, i * sizeof(*v));
	to += i;
	while (i < mid && k < n)
		*to++ = comes_first(&v[k], &v[i]) ? v[k++] : v[i++];
	memcpy(to, &v[i], (i < mid ? mid - i : 0) * sizeof(*v));
	to += i < mid ? mid - i : 0;
	memcpy(to, &v[k], (n - k) * sizeof(*v));
}

/* Merging, because qsort() calls back for each comparison. Returns v or spare, sorted. */
static struct claim *sort_claims(struct claim *v, struct claim *spare, uint32_t n)
{
	for (uint32_t at = 0; at < n; at += RUN)
		sort_run(v + at, n - at < RUN ? n - at : RUN);
	for (uint32_t run = RUN; run < n; run *= 2) {
		struct claim *sorted = spare;

		for (uint32_t at = 0; at < n; at += 2 * run) {
			uint32_t left = n - at;

			merge_runs(v + at, left < run ? left : run, left < 2 * run ? left : 2 * run,
				spare + at);
		}
		spare = v;
		v = sorted;
	}
	return v;
}

struct arrival {
	struct ingest_batch *batch;
	uint32_t no;
};

static int by_project(const void *x, const void *y)
{
	const struct arrival *a = x, *b = y;

	if (a->batch->project != b->batch->project)
		return a->batch->project < b->batch->project ? -1 : 1;
	return a->no < b->no ? -1 : a->no > b->no;
}

static bool order_batches(struct group *g, struct ingest_batch *const *batches, uint32_t n)
{
	struct arrival *v = arena_array(g->a, n, sizeof(*v));

	g->batches = arena_array(g->a, n, sizeof(struct ingest_batch *));
	g->share_of = arena_array(g->a, n, sizeof(*g->share_of));
	g->dead = arena_array(g->a, n, sizeof(*g->dead));
	if (!v || !g->batches || !g->share_of || !g->dead)
		return false;
	for (uint32_t i = 0; i < n; i++)
		v[i] = (struct arrival){batches[i], i};
	qsort(v, n, sizeof(*v), by_project);
	for (uint32_t i = 0; i < n; i++) {
		g->batches[i] = v[i].batch;
		if (i == 0 || v[i].batch->project != v[i - 1].batch->project)
			g->n_shares++;
		g->share_of[i] = g->n_shares - 1;
		g->n_events += v[i].batch->n;
	}
	g->n_batches = n;
	return true;
}

/* All ids in the order of their keys. Events are numbered batch by batch as they lie in
 * g->batches; encode_shares(), group_settle() and group_settle_new() count them in the same way,
 * because pos_of goes by it. */
static struct claim *make_claims(const struct group *g)
{
	struct claim *v = arena_array(g->a, g->n_events + 1, sizeof(*v));
	struct claim *spare = arena_array(g->a, g->n_events + 1, sizeof(*spare));
	uint32_t order = 0;

	if (!v || !spare)
		return NULL;
	for (uint32_t i = 0; i < g->n_batches; i++) {
		const struct ingest_batch *b = g->batches[i];

		for (uint32_t k = 0; k < b->n; k++, order++)
			v[order] =
				(struct claim){{ordered(b->project, day_of(b->events[k].time_ms)),
						       big_endian(b->events[k].id),
						       big_endian(b->events[k].id + 8)},
					order, g->share_of[i]};
	}
	return sort_claims(v, spare, g->n_events);
}

/* Marks repeats and leaves them out of the claims: of equal keys the first that arrived stays, and
 * is noted for the others. */
static bool drop_repeats(struct group *g)
{
	struct claim *v = g->claims;

	g->pos_of = arena_array(g->a, g->n_events + 1, sizeof(*g->pos_of));
	g->first_of = arena_array(g->a, g->n_events + 1, sizeof(*g->first_of));
	if (!g->pos_of || !g->first_of)
		return false;
	for (uint32_t i = 0; i < g->n_events; i++) {
		if (g->n_claims > 0 && same_key(&v[g->n_claims - 1], &v[i])) {
			g->pos_of[v[i].order] = GROUP_DUPLICATE;
			g->first_of[v[i].order] = v[g->n_claims - 1].order;
		} else {
			v[g->n_claims++] = v[i];
		}
	}
	return true;
}

struct shares {
	int32_t *project, *n;
	int64_t *tmin, *tmax;
	struct str *data;
};

/* Positions never come near the two marks: a blob has at most 65536 events. */
static bool left_out(const struct group *g, uint32_t order)
{
	return g->pos_of[order] >= GROUP_KNOWN;
}

/* A row of the statement, or none when all of its events are left out. tmin is that of what is
 * in the blob, because events_store compares it with the retention. */
static bool encode_share(
	struct group *g, struct shares *s, uint32_t first, uint32_t end, uint32_t order)
{
	struct encoder *e = encoder_new(g->a);
	uint32_t no = g->n_rows;
	int64_t lo = INT64_MAX, hi = INT64_MIN;

	if (!e)
		return false;
	for (uint32_t i = first; i < end; i++) {
		for (uint32_t k = 0; k < g->batches[i]->n; k++, order++) {
			const struct event *ev = &g->batches[i]->events[k];

			if (left_out(g, order))
				continue;
			g->pos_of[order] = encoder_count(e);
			if (!encoder_add(e, ev))
				return false;
			lo = ev->time_ms < lo ? ev->time_ms : lo;
			hi = ev->time_ms > hi ? ev->time_ms : hi;
		}
	}
	g->row_of[g->share_of[first]] = GROUP_NO_ROW;
	if (encoder_count(e) == 0)
		return true;
	g->row_of[g->share_of[first]] = g->n_rows++;
	s->project[no] = g->batches[first]->project;
	s->n[no] = (int32_t)encoder_count(e);
	s->tmin[no] = lo;
	s->tmax[no] = hi;
	s->data[no] = encoder_finish(e);
	return s->data[no].p != NULL;
}

static bool encode_shares(struct group *g)
{
	struct shares s = {arena_array(g->a, g->n_shares, sizeof(int32_t)),
		arena_array(g->a, g->n_shares, sizeof(int32_t)),
		arena_array(g->a, g->n_shares, sizeof(int64_t)),
		arena_array(g->a, g->n_shares, sizeof(int64_t)),
		arena_array(g->a, g->n_shares, sizeof(struct str))};
	uint32_t order = 0, end;

	g->row_of = arena_array(g->a, g->n_shares, sizeof(*g->row_of));
	if (!g->row_of || !s.project || !s.n || !s.tmin || !s.tmax || !s.data)
		return false;
	for (uint32_t first = 0; first < g->n_batches; first = end) {
		uint32_t events = 0;

		for (end = first; end < g->n_batches && g->share_of[end] == g->share_of[first];
			end++)
			events += g->batches[end]->n;
		if (!encode_share(g, &s, first, end, order))
			return false;
		order += events;
	}
	int n = (int)g->n_rows;
	g->args.b_project = (struct db_int4s){s.project, n};
	g->args.b_n = (struct db_int4s){s.n, n};
	g->args.b_tmin = (struct db_int8s){s.tmin, n};
	g->args.b_tmax = (struct db_int8s){s.tmax, n};
	g->args.b_data = (struct db_texts){s.data, n};
	return true;
}

/* The keys of the claims as arguments: of all, or of those that are not left out. */
static bool fill_ids(struct group *g, struct group_ids *ids)
{
	int32_t *project = arena_array(g->a, g->n_claims + 1, sizeof(*project));
	int32_t *day = arena_array(g->a, g->n_claims + 1, sizeof(*day));
	uint8_t *id = arena_array(g->a, g->n_claims + 1, 16);
	int n = 0;

	if (!project || !day || !id)
		return false;
	for (uint32_t i = 0; i < g->n_claims; i++) {
		const struct claim *c = &g->claims[i];

		if (left_out(g, c->order))
			continue;
		project[n] = (int32_t)((uint32_t)(c->key[0] >> 32) ^ UINT32_C(1) << 31);
		day[n] = (int32_t)((uint32_t)c->key[0] ^ UINT32_C(1) << 31);
		memcpy(id + (size_t)n * 16, (uint64_t[]){htobe64(c->key[1]), htobe64(c->key[2])},
			16);
		n++;
	}
	ids->project = (struct db_int4s){project, n};
	ids->day = (struct db_int4s){day, n};
	ids->id = (struct db_uuids){id, n};
	return true;
}

/* args.suspects stays empty, which means all: group_claim() comes after a surprise, when nobody
 * knows which they are. */
static bool fill_claims(struct group *g)
{
	int32_t *batch = arena_array(g->a, g->n_claims + 1, sizeof(*batch));
	int32_t *pos = arena_array(g->a, g->n_claims + 1, sizeof(*pos));
	struct group_ids ids = g->ids;
	int n = 0;

	if (!batch || !pos || (g->n_known > 0 && !fill_ids(g, &ids)))
		return false;
	for (uint32_t i = 0; i < g->n_claims; i++) {
		const struct claim *c = &g->claims[i];

		if (left_out(g, c->order))
			continue;
		batch[n] = (int32_t)g->row_of[c->share] + 1;
		pos[n++] = (int32_t)g->pos_of[c->order];
	}
	g->args.project = ids.project;
	g->args.day = ids.day;
	g->args.id = ids.id;
	g->args.batch = (struct db_int4s){batch, n};
	g->args.pos = (struct db_int4s){pos, n};
	return true;
}

bool group_sort(struct group *g, struct ingest_batch *const *batches, uint32_t n, struct arena *a)
{
	*g = (struct group){.a = a};
	return order_batches(g, batches, n) && (g->claims = make_claims(g)) && drop_repeats(g) &&
	       fill_ids(g, &g->ids);
}

/* The one claim of a known id is marked; its repeats are left out already. So nothing of it is
 * stored, and all of them are acknowledged. */
bool group_drop(struct group *g, const int32_t *numbers, int n, const struct db_int4s *known)
{
	for (int i = 0; i < known->n; i++) {
		if (known->v[i] < 1 || known->v[i] > n)
			return false;
		g->pos_of[g->claims[numbers[known->v[i] - 1] - 1].order] = GROUP_KNOWN;
	}
	g->n_known = (uint32_t)known->n;
	return true;
}

bool group_encode(struct group *g)
{
	return encode_shares(g) && fill_claims(g);
}

bool group_make(struct group *g, struct ingest_batch *const *batches, uint32_t n, struct arena *a)
{
	return group_sort(g, batches, n, a) && group_encode(g);
}

enum fate { STORED, KNOWN, EXPIRED };

static bool mark(uint8_t *map, uint32_t n, const struct db_int4s *positions, enum fate fate)
{
	for (int i = 0; i < positions->n; i++) {
		if (positions->v[i] < 0 || (uint32_t)positions->v[i] >= n)
			return false;
		map[positions->v[i]] = (uint8_t)fate;
	}
	return true;
}

/* One byte per event of a blob: enum fate. NULL when out of range. Positions come back as they
 * were sent, from 0; batches count from 1. */
static uint8_t *fate_map(struct group *g, const struct q_events_claim_row *row)
{
	uint32_t n = (uint32_t)g->args.b_n.v[row->batch - 1];
	uint8_t *map = arena_zalloc(g->a, n + 1);

	if (!map || (!row->refused_null && !mark(map, n, &row->refused, KNOWN)) ||
		(!row->expired_null && !mark(map, n, &row->expired, EXPIRED)))
		return NULL;
	return map;
}

/* A repeat creates nothing, but is as expired as the event that stays: neither is accepted. */
static void settle_batch(
	const struct group *g, struct ingest_batch *b, const uint8_t *map, uint32_t order)
{
	b->created = b->expired = 0;
	for (uint32_t k = 0; k < b->n; k++, order++) {
		bool repeat = g->pos_of[order] == GROUP_DUPLICATE;
		uint32_t stays = repeat ? g->first_of[order] : order;

		if (left_out(g, stays))
			continue;
		b->created += !repeat && map[g->pos_of[stays]] == STORED;
		b->expired += map[g->pos_of[stays]] == EXPIRED;
	}
}

/* What is counted for a batch of a dead project means nothing, because nothing of it was stored:
 * `dead` is to be asked first. */
bool group_settle(struct group *g, const struct q_events_claim_row *rows, int n)
{
	uint8_t **maps = arena_array(g->a, g->n_rows + 1, sizeof(uint8_t *));
	bool *dead = arena_array(g->a, g->n_rows + 1, sizeof(*dead));
	uint32_t order = 0;

	if (!maps || !dead || n != (int)g->n_rows)
		return false;
	for (int i = 0; i < n; i++) {
		if (rows[i].batch < 1 || rows[i].batch > n)
			return false;
		dead[rows[i].batch - 1] = !rows[i].live;
		maps[rows[i].batch - 1] = fate_map(g, &rows[i]);
	}
	for (uint32_t i = 0; i < g->n_batches; i++) {
		struct ingest_batch *b = g->batches[i];
		uint32_t row = g->row_of[g->share_of[i]];

		if (row != GROUP_NO_ROW && !maps[row])
			return false;
		g->dead[i] = row != GROUP_NO_ROW && dead[row];
		settle_batch(g, b, row != GROUP_NO_ROW ? maps[row] : NULL, order);
		order += b->n;
	}
	return true;
}

void group_settle_new(struct group *g)
{
	uint32_t order = 0;

	for (uint32_t i = 0; i < g->n_batches; i++) {
		struct ingest_batch *b = g->batches[i];

		b->created = b->expired = 0;
		g->dead[i] = false;
		for (uint32_t k = 0; k < b->n; k++, order++)
			b->created += !left_out(g, order);
	}
}

/* A known id is no error of the statement: events_store catches it itself, or each would be in
 * the server's log. */
int group_store(struct group *g, struct db *db)
{
	struct q_events_store_args args = {.project = g->args.project,
		.day = g->args.day,
		.id = g->args.id,
		.b_project = g->args.b_project,
		.b_n = g->args.b_n,
		.b_tmin = g->args.b_tmin,
		.b_tmax = g->args.b_tmax,
		.b_data = g->args.b_data};
	struct q_events_store_row row;

	if (q_events_store(db, &args, &row) < 0)
		return -1;
	if (row.stored)
		group_settle_new(g);
	return row.stored;
}

int group_claim(struct group *g, struct db *db, uint32_t *known)
{
	struct q_events_claim_row *rows;
	int n = q_events_claim(db, &g->args, &rows);

	*known = 0;
	if (n < 0 || !group_settle(g, rows, n))
		return -1;
	for (int i = 0; i < n; i++)
		*known += rows[i].refused_null ? 0 : (uint32_t)rows[i].refused.n;
	return 1;
}

static int by_number(const void *x, const void *y)
{
	int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;

	return a < b ? -1 : a > b;
}

bool group_days(const struct group *g, struct db_int4s *days)
{
	int n = g->args.day.n, kept = 0;
	int32_t *v = arena_array(g->a, (size_t)n + 1, sizeof(*v));

	if (!v)
		return false;
	if (n)
		memcpy(v, g->args.day.v, (size_t)n * sizeof(*v));
	qsort(v, (size_t)n, sizeof(*v), by_number);
	for (int i = 0; i < n; i++)
		if (i == 0 || v[i] != v[i - 1])
			v[kept++] = v[i];
	*days = (struct db_int4s){v, kept};
	return true;
}
