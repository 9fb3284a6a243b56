/*
 * Who is who in a project, for one query, as digests of ids (digests.h): read from the packed
 * copy that the keeper makes (worker/jobs/people.c) and the few changes since, and without a
 * copy from the tables; what comes out is the same. The schema, and why nothing is missed,
 * is in sql/schema/012_people_pack.sql.
 *
 * The caller gets who is who as of its snapshot: first each live profile exactly once, then
 * each alias exactly once. Aliases of profiles that were not given are among them and mean
 * nothing. Ranks are those of people.h: profile, alias, external_id, itself.
 *
 * How copy and changes are put together, here, so that the caller need not know: profiles that
 * changed (live: given; dead: not), then of the copy those that did not change; then the same
 * for aliases. Of the copy nothing is believed whose id has changed since.
 */
#ifndef STORE_PEOPLE_PACK_H
#define STORE_PEOPLE_PACK_H

#include "worker/db/stream.h"
#include "worker/store/digests.h"

enum { PEOPLE_PACK_BATCH = 16384 }; /* that a callback gets at most */

struct people_pack {
	/* The caller's, called by people_pack_read() only; false ends it as DB_MEMORY. Arrays of
	 * n > 0 digests, which are gone after the call; so digests_append() and
	 * digests_find_all() take them as they are. of[i]: external_id of the live profile
	 * id[i], 0: none. */
	bool (*profiles)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);
	/* of[i]: the id of the profile of the alias id[i]. */
	bool (*aliases)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);
	/* Bytes that it may use for what changed since the copy was made: 40 a change are
	 * enough. Up to 22 MB come on top of that. */
	size_t cap;

	/* Known before the first of these calls. */
	uint8_t key[DIGEST_KEY_BYTES];  /* projects.digest_key */
	uint64_t n_profiles, n_aliases; /* about so many will come; 0: not known */

	uint64_t rows, bytes; /* received so far: rows of tables, bytes of the copy */

	/* Its own. */
	struct db_stream *stream;
	int32_t project;
	int64_t upto;             /* changes up to there are in the copy; negative: there is none */
	struct arena a, row, set; /* what lasts; of one page; of `changed` */
	struct digests changed;   /* ids of the kind that is being read */
	bool (*give)(struct people_pack *p, const uint64_t *id, const uint64_t *of, uint32_t n);
	uint64_t *id, *of;
	uint32_t *no;
	uint32_t n, n_page; /* in these arrays; rows of this page */
	struct str after;   /* where the next page begins: an id... */
	int64_t last;       /* ...or a change */
};

/* Inside the caller's transaction (REPEATABLE READ). *p is zero but for what is the caller's.
 * Sets st->row and st->arg. 0, or -1 with st->db.err. */
int people_pack_read(struct people_pack *p, struct db_stream *st, int32_t project);
/* The same from the tables alone. Its callbacks may use the stream's connection. */
int people_tables_read(struct people_pack *p, struct db_stream *st, int32_t project);

#endif
