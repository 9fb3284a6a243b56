/* The first or last of events of one time, with and without ids. */
#include <criterion/criterion.h>
#include <string.h>
#include "worker/insights/edge.h"

enum { EVENTS = 6, SOURCES = 3, TUPLES = 2 };

struct event {
	uint64_t id[2];
	uint32_t source, tuple;
	bool known;
};

static uint64_t next(uint64_t *rng)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return *rng >> 33;
}

static int compare(const struct event *a, const struct event *b)
{
	if (a->id[0] != b->id[0])
		return a->id[0] < b->id[0] ? -1 : 1;
	return a->id[1] < b->id[1] ? -1 : 1;
}

/* Whether nothing that is known of two events says that another one is nearer to the edge. */
static bool may_be_edge(const struct event *v, uint32_t n, uint32_t i, bool last)
{
	for (uint32_t k = 0; k < n; k++) {
		bool told = v[k].source == v[i].source || (v[k].known && v[i].known);

		if (k != i && told && (compare(&v[k], &v[i]) > 0) == last)
			return false;
	}
	return true;
}

/* Rows of a source are in order, or all their ids are known. */
static uint32_t draw(struct event *v, uint64_t *rng)
{
	uint32_t n = 0, sources = 1 + (uint32_t)(next(rng) % SOURCES);

	for (uint32_t s = 0; s < sources; s++) {
		bool sealed = next(rng) % 3 != 0;
		uint32_t from = n, to = from + 1 + (uint32_t)(next(rng) % (EVENTS / SOURCES));

		for (; n < to; n++) {
			struct event e = {{next(rng) % 2, next(rng) << 8 | n}, s,
				(uint32_t)(next(rng) % TUPLES), !sealed || next(rng) % 2};
			uint32_t k = n;

			for (; sealed && k > from && compare(&e, &v[k - 1]) < 0; k--)
				v[k] = v[k - 1];
			v[k] = e;
		}
	}
	return n;
}

static bool check(uint64_t *rng, bool last)
{
	struct event v[EVENTS];
	uint32_t n = draw(v, rng), edge = 0;
	struct edge e = {.tuple = 0};
	bool clear = true;

	for (uint32_t i = 0; i < n; i++) {
		struct edge other = edge_of(v[i].known ? v[i].id : NULL, v[i].source, v[i].tuple);

		if (i == 0)
			e = other;
		else
			edge_meet(&e, &other, last);
		if ((compare(&v[i], &v[edge]) > 0) == last)
			edge = i;
	}
	for (uint32_t i = 0; i < n; i++)
		clear &= v[i].tuple == v[edge].tuple || !may_be_edge(v, n, i, last);
	if (e.doubt == EDGE_UNSURE)
		return false;
	cr_assert_eq(e.tuple, v[edge].tuple);
	cr_assert(clear, "it cannot be sure");
	return true;
}

Test(edge, is_right_or_unsure)
{
	uint64_t rng = 1;
	uint32_t sure = 0, n = 0;

	for (int i = 0; i < 200000; i++, n++)
		sure += check(&rng, i % 2);
	cr_assert_gt(sure, n / 3);
	cr_assert_lt(sure, n);
}

/* Of one segment, and of ids that are known, there is no doubt. */
Test(edge, is_sure_where_something_tells)
{
	struct edge first = edge_of(NULL, 1, 10), second = edge_of(NULL, 1, 20), e = first;
	uint64_t low[2] = {0, 1}, high[2] = {0, 2};

	edge_meet(&e, &second, false);
	cr_assert(e.tuple == 10 && e.doubt == EDGE_SURE);
	edge_meet(&e, &second, true);
	cr_assert(e.tuple == 20 && e.doubt == EDGE_SURE);
	e = edge_of(high, 1, 30);
	first = edge_of(low, 2, 40);
	edge_meet(&e, &first, true);
	cr_assert(e.tuple == 30 && e.doubt == EDGE_SURE);
	edge_meet(&e, &first, false);
	cr_assert(e.tuple == 40 && e.doubt == EDGE_SURE);
}
