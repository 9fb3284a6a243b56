/*
 * Runs a plan over a project's events on a scan thread: connection, snapshot,
 * people, frames, kernel; within a budget of time and memory.
 */
#ifndef INSIGHTS_SCAN_H
#define INSIGHTS_SCAN_H

#include "shm/colcache.h"
#include "shm/flights.h"
#include "worker/call/call.h"
#include "worker/insights/frame.h"
#include "worker/store/people_load.h"
#include "worker/store/reader.h"

enum scan_end {
	SCAN_OK,
	SCAN_TIME, /* the budget or the call's deadline is over */
	SCAN_GONE, /* the client went away */
	SCAN_MEMORY,
	/* no failures, and nothing was answered; see scan_again() */
	SCAN_TIES,  /* scan->undecided: ids are needed */
	SCAN_TEXTS, /* more() wants people by text */
	SCAN_ALONE, /* what two threads needed was too much: with `alone` set it may do */
	SCAN_DB,    /* PostgreSQL cannot be asked now */
	SCAN_BROKEN /* a bug, or stored bytes are damaged */
};

/* Where a query's time goes. */
enum scan_stage {
	STAGE_COMPILE,
	STAGE_CONNECT, /* a connection, inside a snapshot */
	STAGE_PEOPLE,
	STAGE_READ,   /* waiting for rows, and taking them over */
	STAGE_DECODE, /* unpacking columns, and the plan's conditions */
	STAGE_FOLD,
	STAGE_FINISH,
	STAGE_ANSWER, /* the message */
	SCAN_STAGES
};

struct explain;
struct segment;

struct scan {
	const struct plan *plan;
	int32_t project;
	/* Set: given the traits of each live profile, as JSON, before the events. False at
	 * the arena's cap; `a` is emptied after each. */
	bool (*profile)(struct scan *s, struct str traits, int64_t update_ms, struct arena *a);
	/* Set: given the trait that the plan's only path names, of each who has it, before the
	 * events. False at the arena's cap. */
	bool (*trait)(struct scan *s, const struct value *v);
	/* Folds one frame. False at the arena's cap, or with s->undecided or s->by_text. `s` is
	 * there for what a batch does not hold. NULL: events are not read. */
	bool (*fold)(struct scan *s, const struct frame *f, const struct evseg *seg);
	/* Set: newest first; asked before each segment with its latest time. */
	bool (*enough)(struct scan *s, int64_t tmax);
	/* Set: reader->names. The plan is of all events of all time. */
	bool (*names)(struct scan *s, struct str packed, struct arena *a);
	/* Both set (or the kernel gets sealed segments whole): asked when all was folded for
	 * which segments, by day and id, are needed whole; they come to fill(). False at an
	 * arena's cap. */
	bool (*missing)(struct scan *s, const int32_t **days, const int64_t **ids, uint32_t *n);
	bool (*fill)(struct scan *s, const struct evseg *seg, struct arena *a);
	/* Set: asked when all was folded; may read more in the same snapshot. Where digests will
	 * not do it sets by_text: then the scan ends as SCAN_TEXTS, and whoever asked asks again
	 * after scan_again(). False at the arena's cap, or with r->error. */
	bool (*more)(struct scan *s, struct reader *r);
	bool by_text;
	/* Both set: the kernel can be two, which two threads fold into. twin() makes another one
	 * for `s`, a scan of its own: it gets the later days, or, twin_all, both get everything
	 * that comes, and say which half is theirs. join() takes over what it has, when all was
	 * read; from then on only what it has allocated is there. False at the arena's cap, or
	 * with s->undecided. */
	void *(*twin)(struct scan *s, void *kernel);
	bool (*join)(struct scan *s, void *other);
	bool twin_all;
	/* Set: asked once at the end, still on the thread. False as fold(). */
	bool (*finish)(struct scan *s);
	void *kernel;
	/* Set by a kernel that gave up: the order of some events of one time matters, and only
	 * their ids tell it (D29), which the plan did not ask for. */
	bool undecided;
	struct arena a; /* of the query: plan, people, kernel, results */
	struct people people;
	/* what was read: bytes, by all runs, go to a counter, the rest is for tests and pugd
	 * explain */
	uint64_t bytes, segments, events;
	uint32_t runs;
	uint64_t ns[SCAN_STAGES];
	uint64_t ended_ns;       /* CLOCK_MONOTONIC when the thread was done */
	size_t peak;             /* most bytes of memory held at a time */
	struct explain *explain; /* counts more (explain.h); or NULL */
	struct colcache cache;   /* counts what was in memory, if there is any */

	/* below: scan.c's own */
	bool twins; /* a second thread had half of it */
	bool alone; /* there is to be none */
	struct offload *offload;
	struct segment *seg; /* for turns (turn.h); NULL: without */
	int slot_no, turns;
	const char *url, *home_url, *primary_url;
	struct str position;  /* WAL that the answer must include; p == NULL: any */
	uint64_t deadline_ms; /* of the thread */
	int64_t settled_ms;   /* of the frame before */
	/* the loop's, which may still rise, until FLIGHT_FIXED (shm/flights.h) is added to it */
	_Atomic uint64_t until_ms, *until;  /* until: this one, or that which workers share */
	uint64_t budget_ms;                 /* the latest that until_ms can be */
	size_t segment_memory, twin_memory; /* of one segment; and of that of the second thread */
	size_t people_cache;                /* as in people_load.h */
	enum people_origin people_origin;   /* how who is who became known */
	_Atomic int asked_to_stop;
	enum scan_end end;
};

/* Sets up s->a with the query's memory; release with scan_free(). */
void scan_init(struct scan *s, struct call *c);
void scan_free(struct scan *s);
/* arena_free() for memory that a kernel had besides: what is much is freed on a thread. */
void scan_release(struct scan *s, struct arena *a);
/* For whoever arrived just now and wants to share the answer: true when the snapshot will be
 * taken from now on, so that what they know to be committed is in it (D21); the scan then
 * runs until deadline_ms at least, within its own budget. */
bool scan_join(struct scan *s, uint64_t deadline_ms);
/* From now on that is for *until, which callers of other workers may raise, too. */
void scan_share(struct scan *s, _Atomic uint64_t *until);
/* Nobody waits for it any more. */
void scan_stop(struct scan *s);
/* Runs it on a thread while the call is parked, or here where there are none (commands).
 * 0, or -1 after call_fail(), or for SCAN_TIES, SCAN_TEXTS and SCAN_ALONE without. */
int scan_run(struct scan *s, struct call *c);
/* After SCAN_TIES, SCAN_TEXTS or SCAN_ALONE: forgets all that was read, and whatever is in s->a, so
 * that another plan can be run, within the same budget of time. */
void scan_again(struct scan *s);
/* The failure of a query whose arena is full; returns -1. */
int scan_no_memory(struct call *c);

#endif
