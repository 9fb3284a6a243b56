/*
 * Everything one worker (or keeper) process owns. There is one per process;
 * modules get it passed, nothing reaches for a global but `worker_self()`,
 * which exists for signal handlers and thread start-up.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct db_pool;
struct offload;
struct options;
struct segment;
struct visitors;
struct slot;
struct net;
struct ingest;
struct enricher;
struct known;
struct insights;
struct identity;
struct mailer;
struct pb_methods;
struct key_flight;
struct insight_flight;

struct worker {
	int slot_no; /* 0..; the keeper has its own slot */
	uint32_t generation;
	bool keeper;
	bool draining;             /* stop accepting, Connection: close on every reply */
	const struct options *opt; /* config page, read-only for this generation */
	struct segment *seg;       /* shared memory */
	struct visitors *visitors; /* of cookieless events; of the keeper NULL */
	struct slot *slot;         /* ours in the segment */
	struct loop *loop;
	struct db_pool *db;
	struct offload *offload;
	struct net *net;
	struct ingest *ingest;     /* group commit */
	struct known *known;       /* names that the catalogue has */
	struct enricher *enricher; /* what is added to events */
	struct identity *identity; /* providers that people sign in by; NULL: none */
	struct job_state *jobs;    /* of the keeper, jobs/jobs.c; else NULL */
	struct mailer *mailer;     /* of the keeper, jobs/mail.c; else NULL */
	int32_t erased;            /* of the keeper: project that jobs/erase.c was at last */
	int32_t expired;           /* of the keeper: project that jobs/retention.c was at last */
	unsigned test_mails;       /* being sent (rpc/emailproviders.c) */
	bool usage_asked;          /* by a call (rpc/usage.c) */
	const struct pb_methods *methods;
	int ctl_fd;                     /* to the master; EOF means the master died */
	struct key_flight *key_flights; /* API keys being looked up (worker/call/apikey.c) */
	struct insight_flight *insight_flights; /* being answered (worker/rpc/insight_flight.c) */
	/* Projects and kinds of insights that needed event ids lately (worker/rpc/insights.c). */
	struct worker_ties {
		int32_t project;
		uint32_t kinds;
		uint64_t until_ms;
	} ties[64];
	int16_t stat_index[160]; /* per method: segment_method_index() + 2, 0 = not asked yet */
	struct {
		bool asking, writer, reader;
		uint64_t tail_next_ms; /* boot clock: not before, shm/tail.h */
	} ready;                       /* what /readyz found last (worker/call/health.c) */
	bool bare_errors; /* conformance suite: errors hold the handler's details only */
};

struct worker *worker_self(void);
/* Entry point of a child of the master (shm/message.h); the exit status. */
int worker_main(int argc, char **argv);

#endif
