/*
 * What is under way for some identical questions (insight_flight.c), for its callers
 * (insight_answer.c).
 */
#ifndef RPC_INSIGHT_FLIGHT_H
#define RPC_INSIGHT_FLIGHT_H

#include "shm/base/list.h"
#include "worker/call/child.h"
#include "worker/loop.h"
#include "worker/rpc/insight.h"
#include "worker/rpc/insight_share.h"

/* A question, and everything that its answer depends on but the events. */
struct insight_question {
	int32_t project;
	struct str zone, request; /* packed */
	uint64_t hash;
};

struct insight_flight {
	struct insight_flight *next;      /* in the worker's list, until it has landed */
	struct insight_question question; /* in the child's arena */
	struct call_child child; /* acts for the question, for no caller; holds the answer */
	struct insight_share share;
	struct scan scan;
	Insights__V1__QueryResponse answer;
	struct str packed; /* the answer, once somebody needs a copy */
	bool started;      /* the scan was set up */
	bool failed;
	struct list waiters;
	unsigned owners; /* the coroutine, whoever has not taken the answer, a wake-up */
	struct coro *co; /* while it waits for its turn, or for another worker */
	struct loop_timer patience;
	struct loop_timer idle; /* armed while it runs for other workers only */
	struct loop_chore wake;
	uint64_t since_ms;
};

/* A caller; on the stack of its coroutine. */
struct insight_waiter {
	struct list node;
	struct loop_chore chore;
	struct loop_timer timer;
	struct coro *co;
	struct call *c;
	struct insight_flight *flight;
	bool landed;
	bool told; /* of it, by the chore, which refers to this until then */
};

/* What is asked, in the memory of the call. False without any. */
bool insight_pose(struct call *c, const Insights__V1__QueryRequest *in, struct str zone,
	struct insight_question *q);
/* One that this call may join; NULL: there is none. */
struct insight_flight *insight_flight_find(struct call *c, const struct insight_question *q);
/* NULL without memory. It is the caller's, who is to insight_flight_leave() it. */
struct insight_flight *insight_flight_new(struct call *c, const struct insight_question *q);
/* Begins, for those who are in f->waiters already. False without memory. */
bool insight_flight_take_off(struct insight_flight *f, struct call *c);
/* For whoever counted themselves among its owners. */
void insight_flight_leave(struct insight_flight *f);
/* No caller waits in this worker: it ends unless others do. */
void insight_flight_idle(struct insight_flight *f);
/* The answer for whoever needs one more, into f->packed. False without memory. */
bool insight_flight_pack(struct insight_flight *f);
/* 0, or -1 after call_fail(), as the next two always. */
int insight_unpack(struct call *c, struct str packed, Insights__V1__QueryResponse *out);
int insight_late(struct call *c);
int insight_no_memory(struct call *c);

#endif
