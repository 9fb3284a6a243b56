/*
 * people_probe URL: who is who, as queries read it (worker/store/people_pack.h). For
 * test_people_pack.py. A command a line:
 *
 *   begin / rollback    a snapshot, and its end
 *   read N / tables N   of project N, with the copy and without: "key HEX", then "p ID OF" and
 *                       "a ID OF" in the order in which they come
 *   cost N              read, without what comes
 *   pack N              makes the copy
 *
 * Each ends with a line "end RESULT ROWS BYTES US".
 */
#include <inttypes.h>
#include <stdio.h>

#include "shm/base/clock.h"
#include "shm/base/list.h"
#include "worker/db/blocking.h"
#include "worker/store/packer.h"
#include "worker/store/people_pack.h"

struct probe {
	struct people_pack pack;
	struct db_stream stream;
	struct db db;
	struct arena a;
	bool quiet;
};

static bool print(
	struct people_pack *p, char kind, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	if (list_item(p, struct probe, pack)->quiet)
		return true;
	for (uint32_t i = 0; i < n; i++)
		printf("%c %" PRIu64 " %" PRIu64 "\n", kind, id[i], of[i]);
	return true;
}

static bool profiles(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return print(p, 'p', id, of, n);
}

static bool aliases(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n)
{
	return print(p, 'a', id, of, n);
}

static int read_people(struct probe *p, int32_t project, bool tables)
{
	int n;

	p->pack = (struct people_pack){.profiles = profiles, .aliases = aliases, .cap = 64 << 20};
	db_stream(&p->stream, p->db.impl, &p->a);
	n = tables ? people_tables_read(&p->pack, &p->stream, project)
		   : people_pack_read(&p->pack, &p->stream, project);
	if (p->quiet)
		return n;
	printf("key ");
	for (int i = 0; i < DIGEST_KEY_BYTES; i++)
		printf("%02x", p->pack.key[i]);
	putchar('\n');
	return n;
}

static int obey(struct probe *p, const char *word, int32_t project)
{
	struct packer k = {.conn = p->db.impl};

	p->quiet = !strcmp(word, "cost");
	if (!strcmp(word, "begin"))
		return db_blocking_begin(&p->db, "ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, 0);
	if (!strcmp(word, "pack"))
		return (int)packer_pack(&k, project);
	if (strcmp(word, "rollback"))
		return read_people(p, project, !strcmp(word, "tables"));
	db_rollback(&p->db);
	return 0;
}

int main(int argc, char **argv)
{
	static struct probe p;
	char line[256], word[32], why[256];
	PGconn *conn = argc == 2 ? db_connect(argv[1], why, sizeof(why)) : NULL;
	int project;

	if (!conn)
		return 1;
	arena_init(&p.a, 16 << 20);
	db_blocking(&p.db, conn, &p.a);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t start = clock_mono_ns();
		int done;

		project = 0;
		if (sscanf(line, "%31s %d", word, &project) < 1)
			continue;
		done = obey(&p, word, project);
		printf("end %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", done, p.pack.rows,
			p.pack.bytes, (clock_mono_ns() - start) / 1000);
		fflush(stdout);
		arena_reset(&p.a);
	}
	PQfinish(conn);
	arena_free(&p.a);
	return 0;
}
