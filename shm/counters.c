/*
 * Counters and per-method statistics. Each slot has its own lines, so counting
 * never makes two processes fight for one; readers add the slots up and may see
 * a call in one number and not yet in another, which no reader minds.
 */
#include "shm/base/log.h"
#include "shm/segment_priv.h"

/* For words with one writer: half the price of an atomic addition. */
static void bump(_Atomic uint64_t *word, uint64_t n)
{
	atomic_store_explicit(
		word, atomic_load_explicit(word, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t peek(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* A real addition: offload threads count too, in the slot of their process. */
void counter_add(struct segment *seg, int slot_no, enum counter c, uint64_t n)
{
	must(slot_no >= 0 && slot_no < SLOTS_MAX && c < COUNTERS);
	atomic_fetch_add_explicit(&seg->counters[slot_no].value[c], n, memory_order_relaxed);
}

uint64_t counter_sum(const struct segment *seg, enum counter c)
{
	uint64_t sum = 0;

	must(c < COUNTERS);
	for (int i = 0; i < SLOTS_MAX; i++)
		sum += peek(&seg->counters[i].value[c]);
	return sum;
}

/* Bucket 0 is below 1 us, bucket i is [2^(i-1), 2^i), the last one is open. */
static unsigned latency_bucket(uint64_t us)
{
	unsigned bits = us ? 64 - (unsigned)__builtin_clzll(us) : 0;

	return bits < LATENCY_BUCKETS ? bits : LATENCY_BUCKETS - 1;
}

/* Only from the loop's thread: calls begin and end there. */
void stat_call(struct segment *seg, int slot_no, unsigned method, unsigned code, uint64_t us)
{
	struct stat_cell *cell;

	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	if (method >= METHODS_MAX || code >= CODES)
		return;
	/* Looked at before written: the line is everybody's. */
	if (!atomic_load_explicit(&seg->head.counted[slot_no], memory_order_relaxed))
		atomic_store_explicit(&seg->head.counted[slot_no], 1, memory_order_relaxed);
	cell = &seg->stats[slot_no][method];
	bump(&cell->calls, 1);
	bump(&cell->by_code[code], 1);
	bump(&cell->latency[latency_bucket(us)], 1);
	bump(&cell->latency_sum_us, us);
}

static void stat_add(const struct stat_cell *cell, struct method_stat *out)
{
	out->calls += peek(&cell->calls);
	out->latency_sum_us += peek(&cell->latency_sum_us);
	for (int i = 0; i < CODES; i++)
		out->by_code[i] += peek(&cell->by_code[i]);
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		out->latency[i] += peek(&cell->latency[i]);
}

void stat_read(const struct segment *seg, unsigned method, struct method_stat *out)
{
	*out = (struct method_stat){0};
	if (method >= METHODS_MAX)
		return;
	for (int i = 0; i < SLOTS_MAX; i++)
		if (atomic_load_explicit(&seg->head.counted[i], memory_order_relaxed))
			stat_add(&seg->stats[i][method], out);
}
