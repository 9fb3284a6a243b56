/*
 * Turns at computing insights: how many scan threads of all workers work at the same time. An
 * insight keeps a CPU busy here and most of another in PostgreSQL, whose processes nobody can
 * nice from here; so many at once that ingestion waits for them (D40) is what this prevents. A
 * thread without a turn asks again and again, and who has waited longest gets the next one. An
 * insight's second thread (worker/store/reader_twin.c) has no turn: it leaves when anybody waits.
 *
 * Nothing here is needed for anything to be right: who waits too long goes on without a turn,
 * and what a dead process held is free as soon as the master has buried it.
 */
#ifndef SHM_TURNS_H
#define SHM_TURNS_H

#include <stdbool.h>
#include <stdint.h>

struct segment;

enum {
	TURNS_MAX = 64,
	TURNS_WAITING = 64, /* threads that can wait; others need no turn */
	TURNS_NONE = -1
};

/* Times are CLOCK_MONOTONIC in ms. */

/* A place among those that wait, for turns_try(); TURNS_NONE when there are too many. */
int turns_queue(struct segment *seg, int slot_no, uint64_t now_ms);
/* One of the first n turns, if there is a free one and nobody has waited longer; the place is
 * given up then. Else TURNS_NONE. */
int turns_try(struct segment *seg, int place, int slot_no, int n, uint64_t now_ms);
/* Gives up a place without having got a turn. */
void turns_leave(struct segment *seg, int place);
/* Gives a turn back. */
void turns_end(struct segment *seg, int turn, int slot_no);
/* Whether anybody waits. */
bool turns_wanted(const struct segment *seg, uint64_t now_ms);
/* The master's: frees what a dead process held. Returns how many. */
int turns_repair(struct segment *seg, int slot_no);

#endif
