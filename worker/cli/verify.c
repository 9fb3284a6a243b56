/*
 * pugd verify: reads everything that is stored, inside one snapshot beside a running
 * server, and says what is wrong: checksums, counts, order, ids that are there twice or
 * were never claimed (D20), usage that is not what was stored (D42), numbers that are not
 * those of their distinct ids, a packed copy of who is who that is not what the tables say.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "q.h"
#include "shm/base/list.h"
#include "worker/cli/cli.h"
#include "worker/cli/progress.h"
#include "worker/cli/verify_people.h"
#include "worker/db/blocking.h"
#include "worker/db/codec.h"
#include "worker/db/stream.h"
#include "worker/store/check.h"
#include "worker/store/numbers.h"
#include "worker/store/sealed.h"

enum { SHOWN_MAX = 100, DAY_MS = 86400000 };
#define SCRATCH_MAX ((size_t)512 << 20)
#define IDS_MAX     ((size_t)16 << 30) /* 16 bytes an event of one day, and the inbox */

struct id {
	int32_t day;
	uint8_t id[16];
};

struct verify {
	struct db_stream stream;
	struct progress progress;
	struct arena small, scratch; /* arguments and short lists; one row */
	struct arena known;          /* the project's digests */
	struct digests digests;
	uint8_t key[DIGEST_KEY_BYTES];
	int32_t project, day;
	uint64_t events, claimed; /* of all projects */
	uint64_t wrong;
	/* ids of the project's inbox, in order, and of the day that is looked at */
	struct id *waiting;
	size_t n_waiting, cap_waiting;
	uint8_t *ids;
	size_t n_ids, cap_ids, at_id;
	bool memory; /* there was not enough */
};

static struct verify *verify_of(struct db_stream *st)
{
	return list_item(st, struct verify, stream);
}

/* ---- saying what is wrong ---- */

static void say(struct verify *v, const char *table, int64_t id, const char *what)
{
	if (v->wrong++ < SHOWN_MAX)
		printf("project=%d %s=%lld: %s\n", v->project, table, (long long)id, what);
}

static void say_id(struct verify *v, int32_t day, const uint8_t *id, const char *what)
{
	char text[37];

	str_uuid_text(id, text);
	if (v->wrong++ < SHOWN_MAX)
		printf("project=%d day=%d event=%s: %s\n", v->project, day, text, what);
}

/* ---- collecting ids ---- */

static bool room(void **p, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap ? *cap * 2 : 4096;
	void *grown;

	if (n < *cap)
		return true;
	if (more > IDS_MAX / size)
		return false;
	grown = realloc(*p, more * size);
	if (!grown)
		return false;
	*p = grown;
	*cap = more;
	return true;
}

static bool add_id(struct verify *v, const uint8_t *id)
{
	void *p = v->ids;

	if (!room(&p, v->n_ids, &v->cap_ids, 16))
		return false;
	v->ids = p;
	memcpy(v->ids + v->n_ids++ * 16, id, 16);
	return true;
}

static bool add_waiting(struct verify *v, int64_t ms, const uint8_t *id)
{
	void *p = v->waiting;

	if (!room(&p, v->n_waiting, &v->cap_waiting, sizeof(*v->waiting)))
		return false;
	v->waiting = p;
	v->waiting[v->n_waiting].day = (int32_t)(ms / DAY_MS - (ms % DAY_MS < 0));
	memcpy(v->waiting[v->n_waiting++].id, id, 16);
	return true;
}

static enum stream_next no_memory(struct verify *v)
{
	v->memory = true;
	return STREAM_FAIL;
}

/* One that is not as the statement says is the database's failure. */
static bool take_row(struct verify *v, const struct query *q, const PGresult *res, void *row)
{
	enum db_kind kind = codec_row(q, res, 0, row, &v->scratch);

	v->memory |= kind == DB_MEMORY;
	v->stream.db.err.kind = kind;
	return kind == DB_OK;
}

/* ---- level 0 ---- */

static const char *check_blob(
	struct verify *v, struct evseg *s, const struct q_verify_inbox_row *row)
{
	const char *wrong;

	if (!evseg_open(s, row->data, &v->scratch))
		return v->scratch.over ? "needs too much memory" : "the checksum is wrong";
	if (row->n < 0 || s->n != (uint32_t)row->n || row->stored + row->refused.n != row->n ||
		!evseg_mask(s, row->refused.v, (uint32_t)row->refused.n, &v->scratch))
		return "its counts are wrong";
	wrong = check_parts(s, &v->scratch);
	return wrong ? wrong : check_window(s, row->tmin, row->tmax, &v->scratch);
}

/* Ids are kept until their day is looked at, because the same one could lie at both levels.
 * Those of a damaged blob are not missed: a claim needs no event. */
static enum stream_next inbox_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct verify *v = verify_of(st);
	struct q_verify_inbox_row row;
	const int64_t *times;
	const uint8_t *ids;
	const char *wrong;
	struct evseg s;

	arena_reset(&v->scratch);
	if (!take_row(v, q, res, &row))
		return STREAM_FAIL;
	wrong = check_blob(v, &s, &row);
	progress_add(&v->progress, (uint64_t)row.n);
	if (wrong) {
		say(v, "inbox", row.id, wrong);
		return STREAM_MORE;
	}
	if (!evseg_times(&s, &v->scratch, &times) || !evseg_ids(&s, &v->scratch, &ids))
		return no_memory(v);
	for (uint32_t i = 0; i < s.n; i++)
		if (!(s.masked && s.masked[i]) && !add_waiting(v, times[i], ids + (size_t)i * 16))
			return no_memory(v);
	return STREAM_MORE;
}

/* ---- numbers of distinct ids ---- */

/* Numbers have no gaps, so the place of a digest is its number: check_numbers() relies on it. */
static const char *check_block(struct verify *v, const struct q_verify_numbers_row *row)
{
	if (row->first < 1 || (uint32_t)row->first != v->digests.n + 1)
		return "it does not begin where the one before ends";
	if (row->n < 1 || row->digests.n != (size_t)row->n * 8)
		return "its counts are wrong";
	return v->digests.n + (uint32_t)row->n > NUMBERS_MAX ? "there are too many numbers" : NULL;
}

static enum stream_next numbers_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct verify *v = verify_of(st);
	struct q_verify_numbers_row row;
	const char *wrong;

	arena_reset(&v->scratch);
	if (!take_row(v, q, res, &row))
		return STREAM_FAIL;
	wrong = check_block(v, &row);
	for (int i = 0; !wrong && i < row.n; i++) {
		uint64_t d;

		memcpy(&d, row.digests.p + (size_t)i * 8, sizeof(d));
		d = le64toh(d);
		/* 0, somebody who was erased, may come often: it is never found */
		if (digests_find(&v->digests, d) != DIGESTS_FULL)
			wrong = "an id has two numbers";
		else if (!digests_append(&v->digests, &d, 1))
			return no_memory(v);
	}
	if (wrong)
		say(v, "number_block", row.first, wrong);
	return STREAM_MORE;
}

static int load_numbers(struct verify *v, struct str key)
{
	struct q_verify_numbers_row *rows;

	arena_reset(&v->known);
	digests_init(&v->digests, &v->known);
	if (key.n == sizeof(v->key))
		memcpy(v->key, key.p, sizeof(v->key));
	v->stream.row = numbers_row;
	return q_verify_numbers(&v->stream.db, &(struct q_verify_numbers_args){v->project}, &rows);
}

/* ---- level 1 ---- */

static const char *check_row(
	struct verify *v, struct evseg *s, const struct q_verify_segments_row *row)
{
	struct check_row about = {v->day, row->kind, row->tmin, row->tmax, row->bytes,
		row->numbered, row->kinds.v, row->kinds.n};
	const char *wrong;

	if (row->part.n != row->columns)
		return "the number of its columns is wrong";
	if (!sealed_open(s, SEALED(row), &v->scratch))
		return v->scratch.over ? "needs too much memory"
				       : "the checksum of a column is wrong";
	wrong = check_parts(s, &v->scratch);
	if (!wrong)
		wrong = check_sealed(s, &about, &v->scratch);
	if (!wrong && row->numbered)
		wrong = check_numbers(s, v->key, v->digests.v, v->digests.n, &v->scratch);
	return wrong ? wrong : check_names(s, row->names, &v->scratch);
}

static enum stream_next segment_row(
	struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct verify *v = verify_of(st);
	struct q_verify_segments_row row;
	const uint8_t *ids;
	const char *wrong;
	struct evseg s;

	arena_reset(&v->scratch);
	if (!take_row(v, q, res, &row))
		return STREAM_FAIL;
	wrong = check_row(v, &s, &row);
	progress_add(&v->progress, (uint64_t)row.n);
	if (wrong) {
		say(v, "segment", row.id, wrong);
		return STREAM_MORE;
	}
	if (!evseg_ids(&s, &v->scratch, &ids))
		return no_memory(v);
	for (uint32_t i = 0; i < s.n; i++)
		if (!add_id(v, ids + (size_t)i * 16))
			return no_memory(v);
	return STREAM_MORE;
}

/* ---- ids ---- */

static int by_id(const void *x, const void *y)
{
	return memcmp(x, y, 16);
}

static int by_day(const void *x, const void *y)
{
	const struct id *a = x, *b = y;

	return a->day != b->day ? (a->day < b->day ? -1 : 1) : memcmp(a->id, b->id, 16);
}

/* Both lists are in order: what was passed over was never claimed. Claims without an event are
 * right: those of erased persons stay (D20). */
static void pass_until(struct verify *v, const uint8_t *claimed)
{
	while (v->at_id < v->n_ids) {
		const uint8_t *id = v->ids + v->at_id * 16;
		int order = claimed ? memcmp(id, claimed, 16) : -1;

		if (order > 0)
			return;
		if (order < 0)
			say_id(v, v->day, id, "its id was never claimed");
		v->at_id++;
	}
}

static enum stream_next seen_row(struct db_stream *st, const struct query *q, const PGresult *res)
{
	struct verify *v = verify_of(st);
	struct q_verify_seen_row row;

	arena_reset(&v->scratch);
	if (!take_row(v, q, res, &row))
		return STREAM_FAIL;
	pass_until(v, row.event_id);
	return STREAM_MORE;
}

/* Leaves every id once. */
static void find_doubles(struct verify *v)
{
	size_t n = 0;

	qsort(v->ids, v->n_ids, 16, by_id);
	for (size_t i = 0; i < v->n_ids; i++) {
		const uint8_t *id = v->ids + i * 16;

		if (n > 0 && memcmp(v->ids + (n - 1) * 16, id, 16) == 0)
			say_id(v, v->day, id, "is there twice");
		else
			memmove(v->ids + n++ * 16, id, 16);
	}
	v->n_ids = n;
}

static int check_day(struct verify *v, int32_t day, size_t *waiting)
{
	struct db *db = &v->stream.db;
	struct q_verify_segments_row *segments;
	struct q_verify_seen_row *seen;

	v->day = day;
	v->n_ids = v->at_id = 0;
	for (; *waiting < v->n_waiting && v->waiting[*waiting].day == day; ++*waiting)
		if (!add_id(v, v->waiting[*waiting].id))
			return no_memory(v), -1;
	v->stream.row = segment_row;
	if (q_verify_segments(db, &(struct q_verify_segments_args){v->project, day}, &segments) < 0)
		return -1;
	v->events += v->n_ids;
	if (v->n_ids)
		find_doubles(v);
	v->stream.row = seen_row;
	if (q_verify_seen(db, &(struct q_verify_seen_args){v->project, day}, &seen) < 0)
		return -1;
	pass_until(v, NULL);
	return 0;
}

/* ---- all of it ---- */

struct day_list {
	int32_t *v;
	int n;
};

static int days_of(struct verify *v, struct db *plain, struct day_list *days)
{
	struct q_verify_days_row *rows;
	int n = q_verify_days(plain, &(struct q_verify_days_args){v->project}, &rows);

	if (n < 0)
		return -1;
	days->v = arena_array(&v->small, (size_t)n + 1, sizeof(*days->v));
	if (!days->v)
		return no_memory(v), -1;
	days->n = n;
	for (int i = 0; i < n; i++)
		days->v[i] = rows[i].day;
	return 0;
}

static int check_people(struct verify *v)
{
	bool agree;

	if (verify_people(&v->stream, v->project, &agree) < 0)
		return v->stream.db.err.kind == DB_MEMORY ? no_memory(v), -1 : -1;
	if (!agree)
		say(v, "people", v->project, "their packed copy is not what the tables say");
	return 0;
}

/* Days that have events at either level, in order. On others there may be claims, which need no
 * event. */
static int check_project(struct verify *v, struct db *plain)
{
	struct q_verify_inbox_row *rows;
	struct day_list days;
	size_t waiting = 0;
	int k = 0;

	v->n_waiting = 0;
	v->stream.row = inbox_row;
	if (days_of(v, plain, &days) < 0 ||
		q_verify_inbox(&v->stream.db, &(struct q_verify_inbox_args){v->project}, &rows) < 0)
		return -1;
	if (v->n_waiting)
		qsort(v->waiting, v->n_waiting, sizeof(*v->waiting), by_day);
	while (k < days.n || waiting < v->n_waiting) {
		int32_t day = k < days.n ? days.v[k] : INT32_MAX;

		if (waiting < v->n_waiting && v->waiting[waiting].day < day)
			day = v->waiting[waiting].day;
		if (check_day(v, day, &waiting) < 0)
			return -1;
		k += k < days.n && days.v[k] == day;
	}
	return 0;
}

static int check_all(struct verify *v, struct db *plain)
{
	struct q_verify_projects_row *projects;
	struct q_verify_orphans_row orphans;
	struct q_verify_total_row total;
	int n;

	if (q_verify_total(plain, &total) != 1)
		return -1;
	progress_start(&v->progress, "events", (uint64_t)total.events);
	n = q_verify_projects(plain, &projects);
	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		struct arena_mark mark = arena_mark(&v->small);

		v->project = projects[i].project;
		v->claimed += (uint64_t)projects[i].claimed;
		if (projects[i].used != projects[i].claimed)
			say(v, "usage", projects[i].used, "is not the number of claimed ids");
		if (load_numbers(v, projects[i].digest_key) < 0 || check_project(v, plain) < 0 ||
			check_people(v) < 0)
			return -1;
		arena_release(&v->small, &mark);
	}
	v->project = 0;
	if (q_verify_orphans(plain, &orphans) != 1)
		return -1;
	if (orphans.columns)
		say(v, "columns", orphans.columns, "belong to no segment");
	return 0;
}

static int report(struct verify *v, PGconn *conn, int done)
{
	progress_end(&v->progress);
	if (v->memory)
		fprintf(stderr, "pugd: not enough memory\n");
	else if (done < 0)
		fprintf(stderr, "pugd: the database failed: %s\n",
			v->stream.db.err.kind == DB_BUG ? "it does not answer as expected"
							: PQerrorMessage(conn));
	if (done < 0 || v->memory)
		return 1;
	if (v->wrong > SHOWN_MAX)
		printf("and %llu more\n", (unsigned long long)(v->wrong - SHOWN_MAX));
	printf("%llu events, %llu claimed ids, %llu things wrong\n", (unsigned long long)v->events,
		(unsigned long long)v->claimed, (unsigned long long)v->wrong);
	return v->wrong ? 1 : 0;
}

int cli_verify(const struct options *opt, int argc, char **argv)
{
	static struct verify v;
	struct db plain;
	char why[256];
	PGconn *conn;
	int done;

	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "usage: pugd verify\n");
		return 2;
	}
	conn = db_connect(opt->database_url, why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "pugd: cannot connect: %s\n", why);
		return 1;
	}
	arena_init(&v.small, SCRATCH_MAX);
	arena_init(&v.scratch, SCRATCH_MAX);
	arena_init(&v.known, SCRATCH_MAX);
	db_stream(&v.stream, conn, &v.small);
	db_blocking(&plain, conn, &v.small);
	done = db_blocking_begin(&plain, "ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, 0);
	if (done == 0)
		done = check_all(&v, &plain);
	done = report(&v, conn, done);
	PQfinish(conn);
	free(v.waiting);
	free(v.ids);
	arena_free(&v.small);
	arena_free(&v.scratch);
	arena_free(&v.known);
	return done;
}
