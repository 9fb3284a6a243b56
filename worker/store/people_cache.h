/*
 * Who is who, kept between the queries of a process: the last base (people_base.h) of some
 * projects, shared by all threads. A base is used only by a query whose own snapshot describes
 * exactly the state it was made of (people_load.h), or as what another is made from; so
 * nothing here can be out of date, only useless. All calls are for threads: freeing a large base
 * takes a while.
 */
#ifndef STORE_PEOPLE_CACHE_H
#define STORE_PEOPLE_CACHE_H

#include "worker/store/people_base.h"

/* The project's base on that server, which the caller then holds; NULL: there is none. Lets go
 * of what is beyond `limit` bytes in all. */
struct people_base *people_cache_get(const struct people_state *s, size_t limit);
/* Gives a base to the cache, which the caller then holds, too; from then on nobody changes it.
 * Those that were used longest ago make room, unless somebody holds them. False: it remains
 * the caller's alone, as there is no room, or a later one. */
bool people_cache_offer(struct people_base *b, size_t limit);
/* Ends a hold. */
void people_cache_release(struct people_base *b);
/* Bytes of all bases that are in the cache or were when somebody took hold of them. */
size_t people_cache_bytes(void);

#endif
