/*
 * The shared segment: a sealed memfd of fixed size holding fixed arrays, found
 * by offset. The master makes it, children map it. Everything in it may be lost
 * at any moment; all truth is in PostgreSQL. Layout: ARCHITECTURE.md.
 */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include <stdint.h>
#include "shm/slots.h"

struct segment; /* the mapped bytes; the layout is in segment.c's private header */

/* Creates, sizes and seals the memfd; returns the fd or -errno. */
int segment_create(void);
/* Maps it after checking magic, size and layout hash; NULL with errno (EPROTO: other layout). */
struct segment *segment_map(int fd);
void segment_unmap(struct segment *seg);
/* Hash of this binary's layout. */
uint64_t segment_layout(void);
/* slot_no in [0, SLOTS_MAX). */
struct slot *segment_slot(struct segment *seg, int slot_no);

/* Counters (counters.def): per slot, so that no two writers share a line. */
enum counter {
#define COUNTER(name, help) CTR_##name,
#define GAUGE(name, help)
#include "shm/counters.def"
#undef COUNTER
#undef GAUGE
	COUNTERS
};
void counter_add(struct segment *seg, int slot_no, enum counter c, uint64_t n);
uint64_t counter_sum(const struct segment *seg, enum counter c);

/* Calls per method: count, failures by code, latency histogram in powers of two of microseconds. */
enum { METHODS_MAX = 160, LATENCY_BUCKETS = 26, CODES = 17 };
struct method_stat {
	uint64_t calls, by_code[CODES], latency[LATENCY_BUCKETS], latency_sum_us;
};
/* Where the statistics of the method with this name are: the same for all processes and
 * generations on this segment, whatever their own tables look like. A worker asks once per
 * method at its start and gives the answer to stat_call. -1: no room (not counted then). */
int segment_method_index(struct segment *seg, const char *name);
/* The name behind an index; NULL when nobody has claimed it. */
const char *segment_method_name(const struct segment *seg, unsigned index);
void stat_call(struct segment *seg, int slot_no, unsigned method, unsigned code, uint64_t us);
/* Sum over all slots. */
void stat_read(const struct segment *seg, unsigned method, struct method_stat *out);

/* Quarantine of fingerprints that killed workers (D92). */
/* The master reports a death; true when this made the fingerprint quarantined. */
bool quarantine_report(struct segment *seg, uint64_t fingerprint, uint64_t now_ms);
bool quarantine_has(const struct segment *seg, uint64_t fingerprint, uint64_t now_ms);
/* (method, principal hash, body hash). */
uint64_t quarantine_fingerprint(uint64_t method, uint64_t principal, uint64_t body);
void quarantine_clear(struct segment *seg);
struct quarantine_row {
	uint64_t fingerprint, until_ms;
	uint32_t deaths;
};
/* Copies the active rows; returns how many. */
int quarantine_list(
	const struct segment *seg, struct quarantine_row *rows, int max, uint64_t now_ms);

#endif
