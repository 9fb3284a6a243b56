/*
 * Which modules a worker has. A new one is added here and to struct worker;
 * main.c knows none of them.
 */
#include "worker/modules.h"

#include <stdlib.h>

#include "proto/pb.h"
#include "shm/slots.h"
#include "worker/crumb.h"
#include "worker/db/pool.h"
#include "worker/identity/identity.h"
#include "worker/ingest/enrich.h"
#include "worker/ingest/ingest.h"
#include "worker/ingest/known.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

/* What waits for the database gives its breadcrumb away meanwhile. */
static void park(void)
{
	crumb_park(&worker_self()->slot->crumbs[0]);
}

int worker_modules_start(struct worker *w)
{
	int status;

	w->methods = &pb_product_methods;
	w->db = db_pool_new(w);
	if (!w->db)
		return EXIT_FAILURE;
	db_pool_park(w->db, park);
	/* The keeper writes no events and signs nobody in. */
	if (w->keeper)
		return 0;
	w->ingest = ingest_new(w);
	w->known = known_new();
	if (!w->ingest || !w->known)
		return EXIT_FAILURE;
	status = enricher_start(w);
	return status ? status : identity_start(w);
}

bool worker_modules_up(const struct worker *w)
{
	return w->db && db_pool_up(w->db);
}

bool worker_modules_jobs(struct worker *w)
{
	w->mailer = mailer_new(w);
	return w->mailer && jobs_start(w);
}

bool worker_modules_idle(const struct worker *w)
{
	return !w->mailer || mailer_idle(w->mailer);
}

void worker_modules_stop(struct worker *w)
{
	jobs_free(w);
	identity_free(w->identity);
	w->identity = NULL;
	mailer_free(w->mailer);
	w->mailer = NULL;
	enricher_free(w->enricher);
	w->enricher = NULL;
	known_free(w->known);
	w->known = NULL;
	ingest_free(w->ingest);
	w->ingest = NULL;
	db_pool_free(w->db);
	w->db = NULL;
}
