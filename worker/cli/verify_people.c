/* See verify_people.h. Sums do not depend on the order in which people come. */
#include "worker/cli/verify_people.h"

#include "shm/base/hash.h"
#include "worker/store/people_load.h"

enum { MEMORY_GB = 4 }; /* about 30 bytes an id */

/* What one reading comes to: live profiles, and aliases of such. */
struct tally {
	uint64_t n, sum;
};

static void add(struct tally *t, uint64_t id, uint64_t of, uint64_t kind)
{
	uint64_t all[] = {kind, id, of};

	t->n++;
	t->sum += hash_64(all, sizeof(all));
}

static void tally(struct tally *t, const struct people_base *b)
{
	const uint64_t *id = b->ids.v;

	*t = (struct tally){0};
	for (uint32_t no = 0; no < b->n; no++) {
		uint32_t external = b->external[no], of = b->alias[no];

		if (people_base_live(b, no))
			add(t, id[no], external ? id[external - 1] : 0, 1);
		if (of && people_base_live(b, of - 1))
			add(t, id[no], id[of - 1], 2);
	}
}

/* *upto: as in struct people_state. Only the sums of a reading outlive it, so that memory holds
 * one at a time. */
static int count(struct tally *t, struct db_stream *st, int32_t project, bool tables, int64_t *upto)
{
	struct people_load l = {.memory = (size_t)MEMORY_GB << 30, .tables = tables};
	int n = people_load(&l, st, project);

	if (n == 0) {
		tally(t, l.base);
		*upto = l.base->state.upto;
	}
	people_unload(&l);
	return n;
}

int verify_people(struct db_stream *st, int32_t project, bool *agree)
{
	struct tally copy, tables;
	int64_t upto;

	*agree = true;
	if (count(&copy, st, project, false, &upto) < 0)
		return -1;
	if (upto == PEOPLE_NO_COPY)
		return 0;
	if (count(&tables, st, project, true, &upto) < 0)
		return -1;
	*agree = copy.n == tables.n && copy.sum == tables.sum;
	return 0;
}
