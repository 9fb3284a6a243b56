/*
 * Reads a project's segments of a window inside one snapshot, each as struct
 * evseg, and the people tables. Runs on a blocking connection, for threads. Both
 * levels come by the same callback: blobs of the inbox, whose parts are all there,
 * and what was sealed, with the columns that are wanted. What is being erased is masked
 * by the segment's place in pugd.inbox_order (tombs_mask()), at both levels.
 */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "shm/colcache.h"
#include "worker/db/stream.h"
#include "worker/store/batch.h"
#include "worker/store/people.h"
#include "worker/store/people_load.h"
#include "worker/store/tombs.h"

struct offload;

enum reader_error {
	READER_OK,
	READER_DB,     /* reader->stream.db.err tells */
	READER_MEMORY, /* an arena's cap */
	READER_BROKEN  /* a stored segment is malformed */
};

struct reader {
	struct db_stream stream;
	int32_t project;
	struct people *people;
	size_t people_cache; /* by digest: people_load.h */
	enum people_origin people_origin;
	struct people_base *shared; /* that the cache has, too, or NULL */
	bool everybody;             /* who is being erased is there, too */
	bool dates;                 /* reader_people() notes when profiles were made */
	/* Per segment: MORE, ENOUGH, or FAIL after setting reader->error. `a` is
	 * emptied after each. */
	enum stream_next (*segment)(struct reader *r, const struct evseg *s, struct arena *a);
	/* Level 1 only: load what batch_load() needs, of segments that may have one of these
	 * kinds. NULL: all columns, all kinds. */
	const struct batch_need *need;
	const struct str *kinds;
	uint32_t n_kinds;
	/* Level 1 of reader_scan() with `need` only: where unpacked columns are kept. NULL:
	 * nowhere. */
	struct colcache *cache;
	/* Level 1 of reader_scan() only: told what is known of a segment (names.h) instead of its
	 * columns being read; segments of which nothing is known, or of which some events are
	 * hidden, come as usual. The window is all time; `need` and `kinds` are NULL. False: as
	 * it is malformed, or at an arena's cap. */
	bool (*names)(struct reader *r, struct str packed);
	/* Set, with `cache` and `offload`: when there is much to read, and all of it is in memory,
	 * asked for another reader, which a second thread works with at the same time; NULL: there
	 * is none. It gets the segments of the later days, and this one the others; or both get
	 * all of them, twin_all. */
	struct reader *(*twin)(struct reader *r);
	void (*wait)(struct reader *r); /* asked every few ms while the second thread works */
	struct offload *offload;
	bool twin_all;
	/* Of a twin (reader_twin()): it is on the second thread. What segment() leaves there, and
	 * fails without having touched, it gets again on the first. */
	bool second, touched, leave;
	/* Newest first only: asked with the latest time of the next segments; true ends. */
	bool (*enough)(struct reader *r, int64_t tmax);
	/* Of live profiles, one by one; false at the arena's cap, which ends the reading. What
	 * they are given lives until they return, like `scratch`. */
	bool (*profile)(struct reader *r, struct str properties, int64_t update_us);
	bool (*trait)(struct reader *r, const struct value *v);
	struct tombs tombs; /* who is being erased is not there (D27) */
	struct arena scratch;
	struct reader_parts *parts; /* of the segment that is being read */
	struct reader_cached *cached;
	enum reader_error error;
	uint64_t n_segments, n_events;
};

/* The UTC day of an instant, days since the epoch. Events lie between 2000 and tomorrow
 * (D23): days beyond what a date can be do not matter, and are the nearest one that can. */
int32_t reader_day(int64_t ms);
/* scratch_cap bounds one segment's decoding. `stop` as in db_stream, may be NULL. */
void reader_init(struct reader *r, PGconn *conn, int32_t project, struct arena *a,
	size_t scratch_cap, bool (*stop)(struct db_stream *st));
void reader_free(struct reader *r);
/* Makes a twin of `of`: the same, but for one segment's decoding, which scratch_cap bounds. */
void reader_twin(struct reader *r, const struct reader *of, size_t scratch_cap);
/* Fills people from the profile tables; paths are those of its traits. By digest: with the
 * numbers of sealed events, too. */
int reader_people(
	struct reader *r, struct people *people, const struct str *paths, uint32_t n_paths);
/* Gives the traits of every live profile, as JSON, to r->profile. */
int reader_properties(struct reader *r);
/* Gives one trait of every live profile that has it to r->trait. */
int reader_trait(struct reader *r, struct str path);
/* All segments that may hold events of [from_ms, to_ms): the inbox, then what is sealed, day by
 * day. 0, or -1 with r->error. */
int reader_scan(struct reader *r, int64_t from_ms, int64_t to_ms);
/* The same, those with the latest events first. */
int reader_scan_newest(struct reader *r, int64_t from_ms, int64_t to_ms);
/* These segments of level 1 with all columns; their days since the epoch. */
int reader_segments(struct reader *r, const int32_t *days, const int64_t *ids, uint32_t n);
/* These segments of level 1 with their distinct_ids only; events: how many each has. */
int reader_texts(struct reader *r, const int64_t *ids, const int32_t *events, uint32_t n);
/* Which live profile each of n ids resolves to (D60): its id, copied into the stream's arena;
 * empty: to none. */
int reader_profiles_of(struct reader *r, const struct str *ids, uint32_t n, struct str *profiles);
/* Gives those live profiles to take() whose name, which is their external_id or else their id,
 * lies after one text and before another, by bytes; bound.p NULL: all after. take() gets what
 * lives until it returns; false at an arena's cap, which ends the reading. */
int reader_profile_names(struct reader *r, struct str after, struct str bound,
	bool (*take)(void *arg, struct str id, struct str name), void *arg);

#endif
