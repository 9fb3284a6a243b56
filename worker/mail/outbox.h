/*
 * One mail of pugd.mail_outbox: claimed, sent and recorded in one transaction on a
 * blocking connection, so that a crash at any point leaves it waiting. The order that
 * D16 rests on: the row is locked until what became of it is committed.
 *
 * Senders of a process share a struct outbox: no two send for one org at once, and what
 * a provider took but PostgreSQL did not note is noted later, never sent again.
 */
#ifndef MAIL_OUTBOX_H
#define MAIL_OUTBOX_H

#include <pthread.h>
#include "shm/options.h"

struct segment;

enum { OUTBOX_SENDERS = 6, OUTBOX_ID = 21 };

enum outbox_end {
	OUTBOX_EMPTY,  /* nothing to do */
	OUTBOX_DONE,   /* one mail is on its way, in whatever sense */
	OUTBOX_TROUBLE /* PostgreSQL does not answer: not now */
};

struct outbox;

struct outbox_sender {
	struct outbox *outbox;
	bool links_only; /* sign-in links, which must not wait for tenants' servers */
	enum outbox_end end;
	/* under the outbox's lock: */
	char org[OUTBOX_ID];      /* "" or for whom it is sending */
	char accepted[OUTBOX_ID]; /* "" or a mail that is sent and not recorded */
};

struct outbox {
	const struct options *opt;
	struct segment *seg; /* counters */
	int slot_no;
	pthread_mutex_t lock;
	int n;
	struct outbox_sender senders[OUTBOX_SENDERS];
};

/* On an OFFLOAD_OUT thread: `arg` is a struct outbox_sender, which gets its `end`. */
void outbox_step(void *arg);
/* When the mail is tried again, after so many attempts; 0: it is dead. */
int64_t outbox_delay_ms(int attempts);

#endif
