/*
 * See trail_internal.h. Numbers of events are sorted by time, by counting digits; then those of
 * each time by owner; then those of one owner by what ids or rows tell.
 */
#include "worker/insights/trail_internal.h"
#include "worker/insights/trail_sort.h"
#include "worker/insights/watch.h"

/* so many of one instant are compared each with each */
enum { SHORT = 32 };

static uint32_t origin_of(const struct trails *t, uint64_t number)
{
	const struct trail_block *b = trail_block_of(t, number);

	return b->mixed ? b->origins[(uint32_t)number % TRAIL_BLOCK] : b->origin;
}

static bool is_known(const struct trails *t, uint64_t number)
{
	uint32_t at = (uint32_t)number % TRAIL_BLOCK;

	return trail_block_of(t, number)->known[at / 64] >> at % 64 & 1;
}

static const uint64_t *id_of(const struct trails *t, uint64_t number)
{
	return trail_block_of(t, number)->ids[(uint32_t)number % TRAIL_BLOCK];
}

static int by_id(const void *x, const void *y, void *arg)
{
	const uint64_t *a = id_of(arg, *(const uint64_t *)x), *b = id_of(arg, *(const uint64_t *)y);
	uint32_t word = a[0] == b[0];

	return a[word] < b[word] ? -1 : a[word] > b[word];
}

static bool sort_ids(struct trails *t, uint64_t *v, uint32_t n)
{
	if (n > SHORT)
		return watch_sort(t->a, v, n, sizeof(*v), by_id, t);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t one = v[i];
		uint32_t k = i;

		for (; k > 0 && by_id(&one, &v[k - 1], t) < 0; k--)
			v[k] = v[k - 1];
		v[k] = one;
	}
	return true;
}

/* Some events of one owner and time, in the order in which they were added. All of one segment:
 * that order is the one of ids. All of one value: none is asked for. Ids of some only are of no
 * use. */
static bool decide(struct trails *t, uint64_t *v, uint32_t n)
{
	bool known = is_known(t, v[0]), one_source = true, one_value = true;

	for (uint32_t i = 1; i < n; i++) {
		known &= is_known(t, v[i]);
		one_source &= origin_of(t, v[i]) == origin_of(t, v[0]);
		one_value &= *trail_key(t, v[i]) == *trail_key(t, v[0]);
	}
	if (known && !one_value)
		return sort_ids(t, v, n);
	t->undecided = !one_source && !one_value;
	return !t->undecided;
}

/* A few events of one time: those of each owner together. By insertion, which is stable: decide()
 * needs the order in which they came. */
static bool sort_few(struct trails *t, uint64_t *v, uint32_t n)
{
	uint32_t owners[SHORT];

	for (uint32_t i = 0; i < n; i++) {
		uint64_t one = v[i];
		uint32_t owner = trail_owner(t, one), k = i;

		for (; k > 0 && owner < owners[k - 1]; k--) {
			v[k] = v[k - 1];
			owners[k] = owners[k - 1];
		}
		v[k] = one;
		owners[k] = owner;
	}
	for (uint32_t i = 0, k; i < n; i += k) {
		for (k = 1; i + k < n && owners[i + k] == owners[i];)
			k++;
		if (k > 1 && !decide(t, v + i, k))
			return false;
	}
	return true;
}

/* How many from v on are alike but for their number. */
static uint32_t alike(const uint64_t *v, uint32_t n)
{
	uint32_t k = 1;

	while (k < n && v[k] >> 32 == v[0] >> 32)
		k++;
	return k;
}

/* Many events of one instant, by owner first: dates without a time are all alike. */
static bool sort_instant(struct trails *t, uint64_t *v, uint64_t *spare, uint32_t n)
{
	uint64_t time = v[0] >> 32 << 32, *sorted;

	for (uint32_t i = 0; i < n; i++)
		v[i] = (uint64_t)trail_owner(t, v[i]) << 32 | (uint32_t)v[i];
	sorted = trail_sort_digits(v, spare, n, 32, 32);
	if (!sorted)
		return false;
	for (uint32_t i = 0, k; i < n; i += k) {
		k = alike(sorted + i, n - i);
		if (watch_due(i) || (k > 1 && !decide(t, sorted + i, k)))
			return false;
	}
	for (uint32_t i = 0; i < n; i++)
		v[i] = time | (uint32_t)sorted[i];
	return true;
}

uint64_t *trail_order(struct trails *t, uint64_t *v, uint32_t n, unsigned bits)
{
	uint64_t *sorted = trail_sort_digits(v, t->spares, n, 32, bits), *spare;

	if (!sorted)
		return NULL;
	spare = sorted == v ? t->spares : v;
	for (uint32_t i = 0, k; i < n; i += k) {
		k = alike(sorted + i, n - i);
		if (watch_due(i) || (k > 1 && !(k > SHORT ? sort_instant(t, sorted + i, spare, k)
							  : sort_few(t, sorted + i, k))))
			return NULL;
	}
	return sorted;
}
