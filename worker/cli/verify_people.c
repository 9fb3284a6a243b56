/* See verify_people.h. Sums do not depend on the order in which people come. */
#include "worker/cli/verify_people.h"

#include "shm/base/hash.h"
#include "shm/base/list.h"
#include "worker/store/people_pack.h"

enum { MEMORY_GB = 4 }; /* 24 bytes a profile */

/* What one reading comes to: live profiles, and aliases of such. */
struct tally {
	struct people_pack pack;
	struct arena a;
	struct digests live;
	uint64_t n, sum;
};

static void add(struct tally *t, uint64_t id, uint64_t of, uint64_t kind)
{
	uint64_t all[] = {kind, id, of};

	t->n++;
	t->sum += hash_64(all, sizeof(all));
}

static bool on_profiles(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	struct tally *t = list_item(p, struct tally, pack);

	for (uint32_t i = 0; i < n; i++) {
		add(t, id[i], of[i], 1);
		if (digests_add(&t->live, id[i]) == DIGESTS_FULL)
			return false;
	}
	return true;
}

static bool on_aliases(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	struct tally *t = list_item(p, struct tally, pack);

	for (uint32_t i = 0; i < n; i++)
		if (digests_find(&t->live, of[i]) != DIGESTS_FULL)
			add(t, id[i], of[i], 2);
	return true;
}

static int count(struct tally *t, struct db_stream *st, int32_t project,
	int (*read)(struct people_pack *p, struct db_stream *st, int32_t project))
{
	int n;

	*t = (struct tally){.pack = {.profiles = on_profiles,
				    .aliases = on_aliases,
				    .cap = (size_t)MEMORY_GB << 30}};
	arena_init(&t->a, (size_t)MEMORY_GB << 30);
	digests_init(&t->live, &t->a);
	n = read(&t->pack, st, project);
	arena_free(&t->a);
	return n;
}

int verify_people(struct db_stream *st, int32_t project, bool *agree)
{
	struct tally copy, tables;

	*agree = true;
	if (count(&copy, st, project, people_pack_read) < 0)
		return -1;
	if (copy.pack.upto < 0)
		return 0;
	if (count(&tables, st, project, people_tables_read) < 0)
		return -1;
	*agree = copy.n == tables.n && copy.sum == tables.sum;
	return 0;
}
