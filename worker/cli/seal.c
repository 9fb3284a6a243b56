/*
 * pugd seal: everything that waits in the inbox becomes segments now, whatever its size
 * and age; for instance after an import. Safe beside a running server.
 */
#include <stdio.h>

#include "worker/cli/cli.h"
#include "worker/db/blocking.h"
#include "worker/store/sealer.h"

static int seal_all(struct sealer *s)
{
	int32_t *due, projects[256];
	int most = (int)(sizeof(projects) / sizeof(projects[0])), n;
	bool more;

	do {
		more = false;
		n = sealer_due(s, 1, 0, &due);
		for (int i = 0; i < n && i < most; i++)
			projects[i] = due[i];
		for (int i = 0; i < n && i < most; i++) {
			enum sealer_end end;

			while ((end = sealer_seal(s, projects[i])) == SEALER_BUSY)
				more = true;
			if (end == SEALER_DB)
				return -1;
		}
	} while (n > 0 && more);
	return n < 0 ? -1 : 0;
}

int cli_seal(const struct options *opt, int argc, char **argv)
{
	const char *url = opt->ingest_url[0] ? opt->ingest_url : opt->database_url;
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
	if (done < 0)
		fprintf(stderr, "pugd: the database failed: %s\n", PQerrorMessage(conn));
	printf("%llu events sealed into %llu segments\n", (unsigned long long)s.n_events,
		(unsigned long long)s.n_segments);
	sealer_free(&s);
	PQfinish(conn);
	return done < 0 ? 1 : 0;
}
