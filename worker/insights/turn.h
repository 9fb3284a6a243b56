/*
 * A scan thread's part in the turns of all workers (shm/turns.h): it computes while it has one,
 * and lets others compute every 20 milliseconds when somebody waits, so that a question of 20 ms
 * does not wait for the end of one of a second.
 */
#ifndef INSIGHTS_TURN_H
#define INSIGHTS_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct segment;

struct turn {
	struct segment *seg; /* NULL: without turns, as in commands */
	int slot_no;
	int n; /* how many compute at the same time */
	/* TURNS_NONE: it computes without one, and since_ms may lie ahead (turn_take()) */
	int index;
	uint64_t since_ms;
	_Atomic bool shared;     /* somebody else has wanted to compute at the same time */
	bool (*stop)(void *arg); /* asked while waiting: true ends that */
	void *arg;
};

/* Waits for a turn, a second at most: then it goes on without one. */
void turn_take(struct turn *t);
/* Between two pieces of work. */
void turn_look(struct turn *t);
void turn_end(struct turn *t);
/* How many may compute at the same time, from the option insight_parallel. */
int turns_of_host(int64_t option);

#endif
