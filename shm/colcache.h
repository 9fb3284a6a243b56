/*
 * Unpacked columns of sealed segments in shared memory, so that a warm insight does not have
 * PostgreSQL, libpq and LZ4 handle the same bytes again. Which segments there are is never
 * asked here. Columns are put into a ring, the oldest go first. Readers never write and never
 * wait: what was overwritten meanwhile, torn or of another epoch is a miss. Who dies in
 * mid-write has published nothing.
 */
#ifndef SHM_COLCACHE_H
#define SHM_COLCACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/str.h"

struct segment;

/* What one query knows of the cache, and may do to it. */
struct colcache {
	struct segment *seg;
	int slot_no;
	uint64_t ring;  /* bytes; 0: there is no cache, and nothing below may be called */
	uint64_t epoch; /* when the query began */
	uint64_t put;   /* bytes put since the ring was full */
	uint64_t hits, misses, lost, bytes; /* counted by its owner */
};

/* tag: a colcache_hash() over whatever the column must agree in with what is asked for. */
struct colcache_key {
	uint64_t id, tag;
};

struct colcache_place {
	uint64_t pos, size; /* size 0: the segment has no such column */
};

/* `bytes`: the option insight_cache; who is first decides for all, as long as the segment
 * lives. 0: no cache. */
void colcache_open(struct colcache *c, struct segment *seg, int slot_no, uint64_t bytes);
/* Under the segment's random key: who chooses names cannot choose which of them meet. */
uint64_t colcache_hash(const struct colcache *c, const void *p, size_t n);
/* False: not there. */
bool colcache_find(const struct colcache *c, struct colcache_key key, struct colcache_place *place);
/* Whether it will still be there when so many bytes more were put. */
bool colcache_stays(const struct colcache *c, struct colcache_place place, uint64_t more);
/* Copies place.size bytes, rounded up to whole words of 8, to `out`, which is aligned. False:
 * they are no longer there, and `out` holds nothing of use. */
bool colcache_read(const struct colcache *c, struct colcache_place place, void *out);
/* How many bytes this query may still put. Until the ring was full once all; from then on an
 * eighth of it, so that one query cannot throw out what all others use. */
uint64_t colcache_room(const struct colcache *c);
/* Stores a column; an empty `body` says that there is none. Gives up rather than waits, or
 * puts more than that; false then. */
bool colcache_put(struct colcache *c, struct colcache_key key, struct str body);
/* The same where another one may be stored, which goes. */
bool colcache_replace(struct colcache *c, struct colcache_key key, struct str body);
/* Master, after the end of slot_no and before it is given out again: frees what it held.
 * `wild`: nothing from before is believed, for it may have written anywhere. Returns how much
 * was held. */
int colcache_repair(struct segment *seg, int slot_no, bool wild);

#endif
