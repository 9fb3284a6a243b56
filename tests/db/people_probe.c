/*
 * people_probe URL: who is who, as queries read it (worker/store/people_pack.h). For
 * test_people_pack.py. A command a line:
 *
 *   begin / rollback    a snapshot, and its end
 *   read N / tables N   of project N, with the copy and without: "key HEX", "p ID OF" of the
 *                       live profiles and "a ID OF" of aliases
 *   keep N              read, with what the process has kept of the last one and sealed
 *                       numbers: in front "origin N" of enum people_origin, after the others
 *                       "n NUMBER PERSON" as digests, and "w ID PERSON"
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
#include "worker/store/people_load.h"

struct probe {
	uint64_t rows, bytes;
	struct db_stream stream;
	struct db db;
	struct arena a;
	bool quiet;
};

/* Ids, and what they come to. */
static void print_persons(const struct people_base *b)
{
	const uint64_t *id = b->ids.v;

	for (uint32_t i = 0; i < b->n_numbers; i++)
		printf("n %u %" PRIu64 "\n", i + 1, id[b->of_number[i + 1]]);
	for (uint32_t no = 0; no < b->n; no++)
		if (id[no])
			printf("w %" PRIu64 " %" PRIu64 "\n", id[no], id[b->person[no]]);
}

static void print(const struct people_base *b)
{
	const uint64_t *id = b->ids.v;

	printf("key ");
	for (size_t i = 0; i < sizeof(b->state.key); i++)
		printf("%02x", b->state.key[i]);
	putchar('\n');
	for (uint32_t no = 0; no < b->n; no++) {
		uint32_t external = b->external[no];

		if (people_base_live(b, no))
			printf("p %" PRIu64 " %" PRIu64 "\n", id[no],
				external ? id[external - 1] : 0);
		if (b->alias[no])
			printf("a %" PRIu64 " %" PRIu64 "\n", id[no], id[b->alias[no] - 1]);
	}
}

static int read_people(struct probe *p, int32_t project, const char *word)
{
	bool keep = !strcmp(word, "keep");
	struct people_load l = {.memory = 256 << 20,
		.tables = !strcmp(word, "tables"),
		.numbers = keep,
		.cache = keep ? 64 << 20 : 0};
	int n;

	db_stream(&p->stream, p->db.impl, &p->a);
	n = people_load(&l, &p->stream, project);
	p->rows = l.pack.rows;
	p->bytes = l.pack.bytes;
	if (n == 0 && keep)
		printf("origin %d\n", (int)l.origin);
	if (n == 0 && !p->quiet)
		print(l.base);
	if (n == 0 && keep)
		print_persons(l.base);
	people_unload(&l);
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
		return read_people(p, project, word);
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
		printf("end %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", done, p.rows, p.bytes,
			(clock_mono_ns() - start) / 1000);
		fflush(stdout);
		arena_reset(&p.a);
	}
	PQfinish(conn);
	arena_free(&p.a);
	return 0;
}
