/*
 * API keys that PostgreSQL has confirmed (or denied) lately, in shared memory.
 * Readers never write and never wait: a torn, owned or stale slot is a miss,
 * and a miss asks PostgreSQL (D85). Positive and negative entries live in
 * separate arrays, so that guessing cannot flush the good ones.
 */
#ifndef SHM_KEYCACHE_H
#define SHM_KEYCACHE_H

#include <stdbool.h>
#include <stdint.h>

struct segment;

/* What a key gives access to; copied in and out as whole words. */
struct key_entry {
	char key_id[24]; /* xid, zero-padded */
	char project_id[24];
	char org_id[24];
	int32_t project; /* internal number */
	uint32_t kind;   /* 1 public, 2 private */
};

enum key_found { KEY_MISS, KEY_HIT, KEY_DENIED };

/* digest = SHA-256 of the whole key text. A hit counts only if the entry's
 * epoch is current and the feed is younger than a second. */
enum key_found keycache_get(
	const struct segment *seg, const uint8_t digest[32], struct key_entry *out);
/* Read before the lookup in PostgreSQL; given to keycache_put afterwards. */
uint64_t keycache_epoch(const struct segment *seg);
/* Stores what the lookup found (entry == NULL: no such key, kept 5 s). `slot_no`
 * is the writer's worker slot. Gives up rather than waits. */
void keycache_put(struct segment *seg, int slot_no, const uint8_t digest[32], uint64_t epoch,
	const struct key_entry *entry);
/* Every entry stored so far stops counting. After COMMIT of a revocation. */
void keycache_bump(struct segment *seg);
/* The keeper saw the database's epoch: a change bumps ours; the feed is fresh now. */
void keycache_feed(struct segment *seg, uint64_t database_epoch);
/* As keycache_feed, but the answer is as old as `asked_us` (clock_boot_us() before the poll was
 * sent): a keeper that was stopped in between must not make old news fresh. */
void keycache_feed_since(struct segment *seg, uint64_t database_epoch, uint64_t asked_us);
/* Master: the feed counts as stale from now on (segment replaced). */
void keycache_retire(struct segment *seg);
/* Master, after the death of slot_no: wipes the entries it was writing. Returns how many. */
int keycache_repair(struct segment *seg, int slot_no);

#endif
