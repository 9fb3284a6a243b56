/*
 * The keeper's chores: one file and one row of jobs.c each. A job is straight-line
 * code on a coroutine of its own; it is run again `period` after it ended, sooner or
 * later with backoff after it failed. Everything a job does must be safe to do twice
 * and on several hosts at once.
 */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H

#include "shm/base/arena.h"
#include "worker/db/db.h"

struct worker;

/* What a run gets: a database handle whose deadline fits, and memory until it ends. */
struct job_run {
	struct worker *w;
	struct db db;
	struct arena arena;
};

/* 0, or -1 with r->db.err. */
int job_key_feed(struct job_run *r);   /* key_feed.c */
int job_mail(struct job_run *r);       /* mail.c */
int job_partitions(struct job_run *r); /* partitions.c */
int job_secrets(struct job_run *r);    /* secrets.c */
int job_sessions(struct job_run *r);   /* sessions.c */
int job_purge(struct job_run *r);      /* purge.c */
int job_retention(struct job_run *r);  /* retention.c */
int job_erase(struct job_run *r);      /* erase.c */
int job_seal(struct job_run *r);       /* seal.c */
int job_tail(struct job_run *r);       /* tail.c */
int job_catalog(struct job_run *r);    /* catalog.c */
int job_people(struct job_run *r);     /* people.c */

/* The senders of mail, which job_mail() wakes; NULL without memory. */
struct mailer *mailer_new(struct worker *w);
/* Nothing is being sent, and what was sent is recorded. */
bool mailer_idle(const struct mailer *m);
void mailer_free(struct mailer *m);

/* Starts all jobs; the first runs come at once. Only in the keeper. False without memory. */
bool jobs_start(struct worker *w);
/* When no job runs any more. */
void jobs_free(struct worker *w);

#endif
