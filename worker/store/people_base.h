/*
 * Who is who in a project by digest (digests.h), as of one state of the database: profiles,
 * external_ids and aliases as facts, which can be set again, and what they come to. Once it is
 * ready it never changes, so that any number of threads may ask it (people.h), and queries may
 * share it (people_cache.h).
 *
 * Facts are those of the packed copy and, on top, what has changed since (people_pack.h). What
 * the latter replaced is kept, so that a copy of a base can be put back to the packed copy
 * and given the changes of another snapshot: nothing of the first snapshot's is left then
 * but ids that mean nothing.
 */
#ifndef STORE_PEOPLE_BASE_H
#define STORE_PEOPLE_BASE_H

#include "shm/base/list.h"
#include "worker/store/digests.h"

enum { PEOPLE_NO_COPY = -1 };

/* Exactly what a snapshot sees of a project's people and numbers. */
struct people_state {
	struct str server; /* which one, and since when it has had no crash */
	int32_t project;
	uint8_t key[DIGEST_KEY_BYTES]; /* projects.digest_key */
	int64_t upto;                  /* changes up to there are in the copy; or PEOPLE_NO_COPY */
	int64_t changes, hash;         /* of the numbers of the changes since, as a set */
	uint32_t n_blocks;             /* of pugd.number_block, in their order */
	const int32_t *first, *n;
	const int64_t *version; /* changes whenever the block does */
	int64_t snapshot;       /* a later one is greater; says nothing about what it sees */
};

/* The facts of an id before a change. */
struct people_fact {
	uint32_t no, alias, external;
	uint8_t flags;
};

struct people_base {
	struct arena a; /* with this struct in it */
	struct people_state state;
	struct digests ids;
	uint32_t *alias;    /* by id: the profile it is an alias of + 1, or 0 */
	uint32_t *external; /* by id, of a live profile: its external_id + 1, or 0 */
	uint8_t *flags;
	uint32_t n, cap; /* of these three */
	uint32_t *id_of; /* by number of sealed events - 1 */
	uint32_t n_numbers, cap_numbers;
	bool changing;           /* what comes now is a change */
	struct people_fact *was; /* in the order in which it was changed */
	uint32_t n_was, cap_was;
	uint32_t n_first; /* ids when it was last made from nothing */
	/* what the facts come to */
	uint32_t *person;    /* by id */
	uint32_t *of_number; /* by number of sealed events, [0] is nobody's */
	uint32_t cap_person, cap_of_number;

	/* people_cache.c's */
	struct list in_cache;
	unsigned refs;
};

/* An empty one that may take so many bytes; NULL: no memory. */
struct people_base *people_base_new(size_t cap);
/* A copy as of the packed copy, to be changed and made ready again; NULL beyond the cap. */
struct people_base *people_base_copy(const struct people_base *b, size_t cap);
void people_base_free(struct people_base *b);
/* Takes over a description; its lists are copied. False at the cap. */
bool people_base_describe(struct people_base *b, const struct people_state *s);

/* Of an empty one: room for so many ids in all, and numbers, which is only a guess. All of
 * these: false at the cap. */
bool people_base_expect(struct people_base *b, uint32_t ids, uint32_t numbers);
/* The numbers from `first` on, at most the next one, are these ids'; 0: nobody's. */
bool people_base_numbers(
	struct people_base *b, uint32_t first, const uint64_t *digests, uint32_t n);
/* n live profiles and their external_ids (0: none); those that are not live. After
 * people_base_changing(), a live one of which was told stays live. */
bool people_base_profiles(
	struct people_base *b, const uint64_t *ids, const uint64_t *externals, uint32_t n);
bool people_base_gone(struct people_base *b, const uint64_t *ids, uint32_t n);
/* n aliases and the ids of their profiles, live or not. */
bool people_base_aliases(
	struct people_base *b, const uint64_t *aliases, const uint64_t *profiles, uint32_t n);
/* That was the packed copy. */
void people_base_changing(struct people_base *b);
/* That was all. */
bool people_base_ready(struct people_base *b);

/* Whether copies of copies have got so many ids more that it had better be made from nothing:
 * what has vanished leaves some that mean nothing. */
bool people_base_stale(const struct people_base *b);
bool people_base_live(const struct people_base *b, uint32_t no);

#endif
