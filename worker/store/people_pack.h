/*
 * Who is who in a project as of a snapshot, as digests of ids (digests.h): read from the packed
 * copy that the keeper makes (worker/jobs/people.c) and the few changes since, and without a
 * copy from the tables; what comes out is the same. The schema, and why nothing is missed,
 * is in sql/schema/012_people_pack.sql. Before anything is read there is a description of
 * what the snapshot sees: equal ones mean equal people.
 *
 * How copy and changes are put together: first the copy as it is (people_pack_copied()), then
 * what has changed since (people_pack_changed()), each of which replaces what was said of its id
 * before: a profile that is live, one that is not, an alias. Without a copy the second part is
 * all of the tables. Aliases of profiles that are not live are among them and mean nothing.
 */
#ifndef STORE_PEOPLE_PACK_H
#define STORE_PEOPLE_PACK_H

#include "worker/db/stream.h"
#include "worker/store/people_base.h"

enum { PEOPLE_PACK_BATCH = 16384 }; /* that a callback gets at most */

struct people_pack {
	/* The caller's, called by people_pack_copied(), people_pack_changed() and
	 * people_tables_read() only; false ends these as DB_MEMORY. Arrays of n > 0 digests,
	 * which are gone after the call. of[i]: external_id of the live profile id[i], 0: none. */
	bool (*profiles)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);
	/* Profiles that are not live any more; among what changed only. */
	bool (*gone)(struct people_pack *p, const uint64_t *id, uint32_t n);
	/* of[i]: the id of the profile of the alias id[i]. */
	bool (*aliases)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);

	/* Known from people_pack_begin() on. */
	struct people_state state;      /* until the end */
	uint64_t n_profiles, n_aliases; /* about so many are in the copy; 0: not known */

	uint64_t rows, bytes; /* received so far: rows of tables, bytes of the copy */

	/* Its own. */
	struct db_stream *stream;
	struct arena a, row; /* what lasts, up to 2 MB; of one page, up to 20 MB */
	bool (*give)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);
	uint64_t *id, *of, *dead;
	uint32_t n, n_dead, n_page; /* in these arrays; rows of this page */
	struct str after;           /* where the next page begins: an id... */
	int64_t last;               /* ...or a change */
};

/* Inside the caller's transaction (REPEATABLE READ). *p is zero but for what is the caller's.
 * All of these set st->row and st->arg; 0, or -1 with st->db.err. `seed` is for state.hash:
 * two states are only compared if they have the same. */
int people_pack_begin(struct people_pack *p, struct db_stream *st, int32_t project, int64_t seed);
int people_pack_copied(struct people_pack *p);
int people_pack_changed(struct people_pack *p);
/* Frees what it needed; p->state is gone. */
void people_pack_end(struct people_pack *p);
/* All of the tables alone, from begin to end. Its callbacks may use the stream's connection. */
int people_tables_read(struct people_pack *p, struct db_stream *st, int32_t project);

#endif
