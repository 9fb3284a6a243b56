/*
 * Stored bytes and tz files. Byte 0 chooses: 0 a segment whose checksum is made
 * right first (else nothing behind it would ever be reached), 1 a segment as it
 * is, 2 a TZif file (modulo 3); from 0xf0 on the columns of a level 1 segment, with right
 * checksums. What can be read is merged, too, and what comes out must be readable.
 */
#include <stdlib.h>
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "worker/insights/bucket.h"
#include "worker/insights/feed.h"
#include "worker/store/batch.h"
#include "worker/store/bytes.h"
#include "worker/store/check.h"
#include "worker/store/dense.h"
#include "worker/store/merge.h"
#include "worker/store/names.h"
#include "worker/store/prune.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 32 << 20 };

static void read_everything(const struct evseg *s, struct arena *a)
{
	struct prop_ref refs[] = {
		{STR("plan"), SCOPE_CUSTOM, KEY_PLAIN}, {STR("$browser"), SCOPE_AUTO, KEY_STRING}};
	struct batch_need need = {
		.distinct = true, .session = true, .ids = true, .props = refs, .n_props = 2};
	struct plan_event any = {.agg = AGG_TOTAL, .number = PLAN_NONE};
	struct plan plan = {.kind = PLAN_LIST,
		.a = a,
		.from_ms = INT64_MIN / 2,
		.to_ms = INT64_MAX / 2,
		.need = need,
		.people = true,
		.events = &any,
		.n_events = 1};
	struct people_base *base;
	struct people people;
	struct batch batch;
	struct frame frame;
	struct feed feed;

	if (!batch_load(&batch, s, &need, a) || !people_init(&people, a, 0))
		return;
	if (frame_make(&frame, &plan, &batch, &people, a) && feed_init(&feed, 20, a))
		(void)feed_fold(&feed, &frame, s);
	need.ids = false;
	need.order = true;
	if (batch_load(&batch, s, &need, a))
		for (uint32_t i = 0; i < s->n; i++) {
			uint64_t id[2];

			must(batch_id(&batch, i, id) ==
				(batch.ids || (batch.tied && batch.tied[i / 8] >> i % 8 & 1)
						? id
						: NULL));
		}
	plan.need.numbers = true;
	people_init_digests(&people, a);
	base = people_base_new(MEMORY);
	must(base && people_base_numbers(base, 1, (const uint64_t[]){1, 0, 3}, 3) &&
		people_base_ready(base));
	people_use(&people, base);
	if (batch_load(&batch, s, &plan.need, a) && frame_make(&frame, &plan, &batch, &people, a))
		for (uint32_t i = 0; i < s->n && batch.numbered; i++)
			must(frame_consented(&frame, i) == (batch.distinct.codes[i] != 0));
	people_base_free(base);
}

static bool note(struct names_sink *sink, const struct name_seen *seen)
{
	(void)sink;
	return seen->n > 0;
}

/* What can be packed can be read. */
static void name_it(const struct evseg *s, struct arena *a)
{
	struct names_sink sink = {note};
	struct arena scratch;
	struct str packed;

	arena_init(&scratch, MEMORY);
	if (names_pack(s, a, &scratch, &packed))
		must(names_read(packed, &sink, a) || a->over);
	arena_free(&scratch);
	(void)names_read(s->n_parts ? s->parts[0].stored : STR(""), &sink, a);
}

/* Numbers that are given can be read, and are right. */
static void number_it(const struct evseg *s, struct arena *a)
{
	static const uint8_t key[DIGEST_KEY_BYTES] = {1};
	struct evseg_part parts[2];
	struct evseg with = {.n = s->n, .parts = parts, .n_parts = 2};
	const struct evseg_part *who = evseg_find(s, PART_DISTINCT, SCOPE_AUTO, STR(""));
	struct arena scratch;
	struct dense d;
	uint32_t *rows;

	arena_init(&scratch, MEMORY);
	dense_init(&d, key, a, &scratch);
	dense_know(&d, s);
	dense_init(&d, key, a, &scratch);
	if (who && dense_collect(&d, s, &rows) && dense_give(&d)) {
		parts[0] = *who;
		dense_part(&d, rows, s->n, &parts[1]);
		arena_reset(&scratch);
		if (parts[1].stored.p)
			must(!check_numbers(&with, key, d.fresh, d.n_fresh, &scratch) ||
				scratch.over);
	}
	arena_free(&scratch);
}

static void write_anew(const struct evseg *s, struct arena *a)
{
	uint8_t *drop = arena_zalloc(a, s->n);
	struct pruned out;

	for (uint32_t i = 0; drop && i < s->n; i += 3)
		drop[i] = 1;
	if (drop)
		(void)prune_events(s, drop, a, &out);
}

/* A segment and the same one again, every third event of it left out. */
static void merge_it(const struct evseg *s, struct arena *a)
{
	struct evseg both[2] = {*s, *s};
	struct merge_segment *out;
	uint8_t *masked = arena_zalloc(a, s->n);
	uint32_t n, want = s->n, got = 0;
	struct arena scratch;

	for (uint32_t i = 0; masked && i < s->n; i++) {
		masked[i] = i % 3 == 0;
		want += !masked[i];
	}
	both[1].masked = masked;
	arena_init(&scratch, MEMORY);
	if (masked && merge_segments(both, 2, a, &scratch, &out, &n) == MERGE_OK) {
		for (uint32_t i = 0; i < n; i++) {
			struct batch_need need = {.distinct = true, .session = true, .ids = true};
			struct batch batch;
			struct evseg m = {
				.n = out[i].n, .parts = out[i].parts, .n_parts = out[i].n_parts};

			got += out[i].n;
			must(out[i].n <= EVSEG_EVENTS_MAX);
			must(batch_load(&batch, &m, &need, &scratch) || scratch.over);
		}
		must(got == want);
	}
	arena_free(&scratch);
}

static void columns(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	struct bytes b;
	struct evseg_part parts[64];
	int32_t crcs[64];
	struct arena a;
	struct evseg s;
	uint32_t n, rows;

	memcpy(copy, data, size);
	b = bytes_of((struct str){copy, size});
	rows = bytes_varint32(&b);
	for (n = 0; n < 64 && bytes_left(&b) && !b.bad; n++) {
		parts[n] = (struct evseg_part){.kind = (enum part_kind)bytes_u8(&b)};
		parts[n].scope = (enum prop_scope)bytes_u8(&b);
		parts[n].key = bytes_take(&b, bytes_u8(&b));
		parts[n].raw_n = bytes_varint32(&b);
		parts[n].stored = bytes_take(&b, bytes_varint32(&b));
		if (b.bad)
			break;
		crcs[n] = (int32_t)evseg_part_crc(&parts[n], 7);
	}
	arena_init(&a, MEMORY);
	if (rows <= 4096 && evseg_of_parts(&s, 7, rows, parts, n, crcs)) {
		read_everything(&s, &a);
		merge_it(&s, &a);
		name_it(&s, &a);
		number_it(&s, &a);
	}
	arena_free(&a);
	free(copy);
}

static void segment(const uint8_t *data, size_t size, bool seal)
{
	char *copy = malloc(size ? size : 1);
	struct arena a;
	struct evseg s;

	memcpy(copy, data, size);
	if (seal && size > 12) {
		uint32_t crc = hash_crc32c(0, copy + 12, size - 12);

		memcpy(copy, "PUGS\1\0\0\0", 8);
		for (int i = 0; i < 4; i++)
			copy[8 + i] = (char)(crc >> 8 * i);
	}
	arena_init(&a, MEMORY);
	if (evseg_open(&s, (struct str){copy, size}, &a)) {
		read_everything(&s, &a);
		if (s.n <= 4096)
			merge_it(&s, &a);
		name_it(&s, &a);
		number_it(&s, &a);
	}
	arena_free(&a);
	arena_init(&a, MEMORY);
	if (evseg_open(&s, (struct str){copy, size}, &a))
		write_anew(&s, &a);
	arena_free(&a);
	free(copy);
}

static void zone(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	struct buckets b;
	struct arena a;
	struct tz *z;

	memcpy(copy, data, size);
	arena_init(&a, MEMORY);
	z = tz_parse((struct str){copy, size}, &a);
	for (enum bucket_unit unit = BUCKET_MINUTE; z && unit <= BUCKET_MONTH; unit++)
		if (buckets_make(&b, z, unit, 1700000000000, 1700020000000, &a) && b.n)
			(void)buckets_find(&b, 1700010000000);
	arena_free(&a);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] >= 0xf0)
		columns(data + 1, size - 1);
	else if (data[0] % 3 == 2)
		zone(data + 1, size - 1);
	else
		segment(data + 1, size - 1, data[0] % 3 == 0);
	return 0;
}
