/*
 * What the master process owns. There is one struct master per process; it is
 * single-threaded and never blocks after its start (the boot-time migration is
 * the one exception). Files, in the order in which time passes: boot.c,
 * supervise.c (loop), generation.c, child.c, spawn.c, obituary.c, reload.c,
 * handover.c; beside them listen.c, notify.c, salt.c and admin.c.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/args.h"
#include "master/backoff.h"
#include "master/listen.h"
#include "master/notify.h"
#include "shm/options.h"
#include "shm/slots.h"

struct generation;
struct master;
struct segment;
struct visitors;

/* Something in the epoll set. The loop takes one event per epoll_wait, so a
 * handler may free any watch: no stale event of the same batch exists. Level-triggered: it may
 * take one thing and leave the rest for the next turn. */
struct watch {
	void (*fn)(struct master *m, struct watch *w, uint32_t events);
	int fd; /* -1: not in the set */
};

/* 60 workers and the keeper; two generations of them fit into SLOTS_MAX. */
enum { SEATS_MAX = 61, GENERATIONS = 2 };
_Static_assert(SEATS_MAX *GENERATIONS <= SLOTS_MAX, "a reload needs slots for two generations");

/* A seat of a generation; the state also says what else is true:
 * NONE, WAITING, DONE have no process; the others have one and hold
 * slot_no, pid, ctl and both watches. Only child_enter() changes it. */
enum child_state {
	CHILD_NONE,
	CHILD_STARTING, /* deadline: start_timeout, then SIGKILL */
	CHILD_READY,    /* deadline: none; its heartbeat is watched */
	CHILD_DRAINING, /* deadline: drain_timeout, then STOP and SIGTERM */
	CHILD_STOPPING, /* deadline: SIGKILL */
	CHILD_ABORTING, /* hung; SIGABRT sent; deadline: SIGKILL */
	CHILD_WAITING,  /* dead; deadline: respawn */
	CHILD_DONE,     /* left while its generation drains */
};

struct child {
	enum child_state state;
	bool keeper;
	bool degraded; /* PostgreSQL did not answer when it became READY */
	bool hung;     /* the master killed it for a late heartbeat */
	int slot_no;   /* in its generation's segment */
	pid_t pid;
	struct generation *gen;
	struct watch exit;    /* pidfd */
	struct watch control; /* socketpair */
	uint64_t since_ms;    /* when it entered its state */
	uint64_t deadline_ms; /* UINT64_MAX: none */
	struct backoff backoff;
	unsigned failed_starts;
};

enum generation_state { GEN_NONE, GEN_STARTING, GEN_CURRENT, GEN_DRAINING };

/* One binary, one configuration, one segment, and the processes that run them. */
struct generation {
	enum generation_state state;
	uint32_t number;
	int exe_fd, options_fd, segment_fd;
	uint32_t segment_id;                 /* generations with the same id share slots */
	bool retired;                        /* the segment's key cache does not count any more */
	struct segment *seg;                 /* NULL: another layout than this image's */
	int64_t start_ms, drain_ms, hang_ms; /* its timeouts */
	uint64_t deadline_ms;                /* GEN_STARTING: give up then */
	int seats;                           /* child[0] is the keeper */
	struct child child[SEATS_MAX];
};

/* The `pugd check` of a binary about to be started. */
struct reload {
	pid_t pid; /* 0: none runs */
	struct watch exit, output;
	uint64_t deadline_ms;
	char text[4096];
	size_t text_n;
};

enum { ADMIN_CLIENTS = 8, ADMIN_REQUEST = 2048 };

struct admin_client {
	struct watch watch;
	char request[ADMIN_REQUEST];
	size_t request_n;
	char *answer; /* NULL while the request is read */
	size_t answer_n, sent;
	uint64_t deadline_ms;
};

struct admin {
	struct watch listener;
	char address[ADDRESS_TEXT];
	struct admin_client client[ADMIN_CLIENTS];
};

/* Of cookieless events (salt.c). */
struct salt {
	int fd; /* -1: none */
	struct visitors *map;
	int64_t swept_ms, sweep_ms; /* last and next wiping; CLOCK_REALTIME */
};

enum { BUDGET_DEATHS = 10, BUDGET_MS = 60000 };

struct master {
	struct args args;
	const char *argv0;
	const char *binary; /* the installed path: what a reload starts */
	char *found_binary; /* its memory, when it was not given with --binary */
	int exe_fd;         /* this image */
	struct options opt;

	int epoll_fd;
	struct watch signals;
	struct listeners listeners;
	struct notify notify;
	struct admin admin;
	struct salt salt;

	struct generation gens[GENERATIONS];
	struct generation *current; /* serves; NULL until the boot is done */
	struct generation *next;    /* starting */
	struct generation *old;     /* draining */
	uint32_t last_generation;
	uint32_t last_segment_id;

	struct reload reload;
	bool begin_next;  /* handed over: start the next generation */
	bool hup_pending; /* one more reload when this one is through */
	bool stopping;
	bool quit; /* leave the loop with exit_code */
	int exit_code;

	uint64_t started_ms; /* CLOCK_MONOTONIC; of the first image */
	uint64_t completed, rejected, deaths;
	char last_error[256];             /* why the last reload was rejected */
	uint64_t death_ms[BUDGET_DEATHS]; /* ring, for the crash budget */
	bool over_budget;
	uint64_t turn_ms;  /* when the loop last turned */
	uint64_t grace_ms; /* heartbeats do not count before: we stood still ourselves */
};

/* supervise.c */
bool watch_add(struct master *m, struct watch *w, int fd, uint32_t events,
	void (*fn)(struct master *m, struct watch *w, uint32_t events));
/* Out of the set and closed. */
void watch_drop(struct master *m, struct watch *w);
/* Before the first child: a signal must not find the master without its children. */
bool supervise_signals(struct master *m);
int supervise_run(struct master *m);
/* SIGTERM: drain everything, then leave. A second one does not wait. */
void supervise_stop(struct master *m);
/* READY=1 with a STATUS line; also when a reload was rejected. */
void supervise_announce(struct master *m);

/* boot.c */
int boot_run(struct args *args, int argc, char **argv);

#endif
