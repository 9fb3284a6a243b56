/*
 * pugd seal: everything that waits in the inbox becomes segments now, whatever its size
 * and age, small segments are merged, those from before there were numbers of distinct ids
 * get theirs, and copies of who is who that lack anything are made anew; for instance after
 * an import. Safe beside a running server.
 */
#include <stdio.h>

#include "q.h"
#include "worker/cli/cli.h"
#include "worker/cli/progress.h"
#include "worker/db/blocking.h"
#include "worker/store/backfill.h"
#include "worker/store/packer.h"

enum { AT_ONCE = 256 };

static int seal_all(struct sealer *s)
{
	int32_t *due, projects[AT_ONCE];
	bool more;
	int n;

	do {
		more = false;
		n = sealer_due(s, &(struct sealer_due){1, 1, 0}, &due);
		/* the list is in memory that sealer_seal() empties */
		for (int i = 0; i < n && i < AT_ONCE; i++)
			projects[i] = due[i];
		for (int i = 0; i < n && i < AT_ONCE; i++) {
			enum sealer_end end;

			while ((end = sealer_seal(s, projects[i])) == SEALER_BUSY)
				more = true;
			if (end == SEALER_DB)
				return -1;
		}
	} while (n > 0 && more);
	return n < 0 ? -1 : 0;
}

/* All small segments of all days: the keeper looks at those days first that get new ones. */
static int merge_all(struct sealer *s)
{
	enum sealer_end end;
	int32_t project = 0;

	do
		end = sealer_sweep(s, &project);
	while (end == SEALER_BUSY);
	return end == SEALER_DB ? -1 : 0;
}

static int number_all(struct sealer *s, struct backfill *b)
{
	struct q_numberless_total_row total;
	enum sealer_end end = SEALER_BUSY;
	struct progress p;

	sealer_empty(s);
	s->db.deadline_ms = 0;
	if (q_numberless_total(&s->db, &total) != 1)
		return -1;
	if (total.events == 0)
		return 0;
	progress_start(&p, "events numbered", (uint64_t)total.events);
	while (end == SEALER_BUSY) {
		uint64_t before = b->events;

		end = backfill_step(s, b);
		progress_add(&p, b->events - before);
	}
	progress_end(&p);
	return end == SEALER_DB ? -1 : 0;
}

/* What somebody else is at is left to him. */
static int pack_all(PGconn *conn)
{
	struct q_people_projects_row *rows;
	struct packer k = {.conn = conn};
	enum packer_end end = PACKER_DONE;
	struct arena a;
	struct db db;
	int n;

	arena_init(&a, 64 << 20);
	db_blocking(&db, conn, &a);
	n = q_people_projects(&db, &rows);
	for (int i = 0; i < n && end != PACKER_DB; i++)
		end = packer_pack(&k, rows[i].project);
	arena_free(&a);
	return n < 0 || end == PACKER_DB ? -1 : 0;
}

int cli_seal(const struct options *opt, int argc, char **argv)
{
	const char *url = opt->ingest_url[0] ? opt->ingest_url : opt->database_url;
	struct backfill numbered = {0};
	struct sealer s;
	char why[256];
	PGconn *conn;
	int done;

	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "usage: pugd seal\n");
		return 2;
	}
	conn = db_connect(url, why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "pugd: cannot connect: %s\n", why);
		return 1;
	}
	sealer_init(&s, (uint64_t)opt->seal_memory);
	sealer_connection(&s, conn);
	done = seal_all(&s);
	if (done == 0)
		done = merge_all(&s);
	if (done == 0)
		done = number_all(&s, &numbered);
	if (done == 0)
		done = pack_all(conn);
	if (done < 0)
		fprintf(stderr, "pugd: the database failed: %s\n", PQerrorMessage(conn));
	printf("%llu events sealed, %llu segments merged, %llu segments made\n",
		(unsigned long long)s.n_events, (unsigned long long)s.n_merged,
		(unsigned long long)s.n_segments);
	if (numbered.n)
		printf("%llu older segments numbered\n", (unsigned long long)numbered.n);
	sealer_free(&s);
	PQfinish(conn);
	return done < 0 ? 1 : 0;
}
