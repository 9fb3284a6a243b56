/* The connection that a thread keeps between its jobs: see blocking.h. */
#include <pthread.h>

#include "shm/base/log.h"
#include "worker/db/blocking.h"

/* C tells nobody when a thread with such a variable ends: the key has the same pointer for the
 * sake of its destructor. That does not run when a process exits; commands end theirs
 * themselves. */
static _Thread_local PGconn *kept;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_exit;

static void drop(void *conn)
{
	PQfinish(conn);
}

static void setup(void)
{
	must(pthread_key_create(&at_exit, drop) == 0);
}

PGconn *db_kept(void)
{
	return kept;
}

void db_keep(PGconn *conn)
{
	pthread_once(&once, setup);
	kept = conn;
	pthread_setspecific(at_exit, conn);
}

void db_kept_end(void)
{
	PQfinish(kept);
	db_keep(NULL);
}

PGconn *db_kept_idle(const char *url, uint64_t ms, const char *what)
{
	char why[256];

	if (kept && PQtransactionStatus(kept) != PQTRANS_IDLE)
		db_kept_end();
	if (!kept)
		db_keep(db_connect_within(url, ms, why, sizeof(why)));
	if (!kept)
		log_debug("%s cannot connect why=\"%s\"", what, why);
	return kept;
}
