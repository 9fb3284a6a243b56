/*
 * Stored bytes and tz files. Byte 0 chooses: 0 a segment whose checksum is made
 * right first (else nothing behind it would ever be reached), 1 a segment as it
 * is, 2 a TZif file.
 */
#include <stdlib.h>
#include "shm/base/hash.h"
#include "worker/insights/bucket.h"
#include "worker/insights/feed.h"
#include "worker/store/batch.h"
#include "worker/store/prune.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 32 << 20 };

static void read_everything(const struct evseg *s, struct arena *a)
{
	struct prop_ref refs[] = {
		{STR("plan"), SCOPE_CUSTOM, KEY_PLAIN}, {STR("$browser"), SCOPE_AUTO, KEY_STRING}};
	struct batch_need need = {true, true, true, refs, 2};
	struct plan_event any = {.agg = AGG_TOTAL, .number = PLAN_NONE};
	struct plan plan = {.kind = PLAN_LIST,
		.a = a,
		.from_ms = INT64_MIN / 2,
		.to_ms = INT64_MAX / 2,
		.need = need,
		.people = true,
		.events = &any,
		.n_events = 1};
	struct people people;
	struct batch batch;
	struct frame frame;
	struct feed feed;

	if (!batch_load(&batch, s, &need, a) || !people_init(&people, a, 0))
		return;
	if (frame_make(&frame, &plan, &batch, &people, a) && feed_init(&feed, 20, a))
		(void)feed_fold(&feed, &frame, s);
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
	if (evseg_open(&s, (struct str){copy, size}, &a))
		read_everything(&s, &a);
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
	if (data[0] % 3 == 2)
		zone(data + 1, size - 1);
	else
		segment(data + 1, size - 1, data[0] % 3 == 0);
	return 0;
}
