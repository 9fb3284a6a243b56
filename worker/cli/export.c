/*
 * pugd export: a project's events as JSON Lines (events.v1.Event), which `pugd
 * import` reads. Days in order, the events of a day in no order; all of it as it was
 * at one moment, which is the time of the files. With --dir a file a day, each there only
 * when it is whole: the same command goes on with the days that are missing, and writes
 * those again that were not over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/events/v1/events.pb-c.h"
#include "proto/json.h"
#include "proto/wkt.h"
#include "q.h"
#include "shm/base/list.h"
#include "worker/cli/cli.h"
#include "worker/cli/progress.h"
#include "worker/db/blocking.h"
#include "worker/store/reader.h"
#include "worker/store/rows.h"

enum { DAY_MS = 86400000, MEMORY = 256 << 20, DAYS_MAX = 60000, PATH = 4096 };

struct export
{
	struct reader reader; /* first: its callback gets a pointer to it */
	const char *project_id, *dir;
	int64_t from_ms, to_ms; /* [from, to) */
	int64_t window_from, window_to;
	struct arena a, line;
	uint64_t *days; /* events per day, from first_day */
	int64_t first_day;
	FILE *out;
	struct timespec moment; /* before the snapshot was taken */
	uint64_t events;
	struct progress progress;
};

static int failed(const char *what)
{
	fprintf(stderr, "pugd export: %s\n", what);
	return -1;
}

/* ---- one event ---- */

static bool put_value(const struct value *v, Common__V1__PropertyValue *out, struct arena *a)
{
	common__v1__property_value__init(out);
	switch (v->type) {
	case VALUE_STR:
		out->value_case = COMMON__V1__PROPERTY_VALUE__VALUE_STRING_VALUE;
		out->string_value = arena_str(a, v->s);
		return out->string_value != NULL;
	case VALUE_INT:
		out->value_case = COMMON__V1__PROPERTY_VALUE__VALUE_INT_VALUE;
		out->int_value = v->i;
		return true;
	case VALUE_DOUBLE:
		out->value_case = COMMON__V1__PROPERTY_VALUE__VALUE_DOUBLE_VALUE;
		out->double_value = v->d;
		return true;
	case VALUE_BOOL:
		out->value_case = COMMON__V1__PROPERTY_VALUE__VALUE_BOOL_VALUE;
		out->bool_value = v->i != 0;
		return true;
	case VALUE_TIME:
		out->value_case = COMMON__V1__PROPERTY_VALUE__VALUE_TIMESTAMP_VALUE;
		out->timestamp_value = arena_alloc(a, sizeof(*out->timestamp_value));
		if (!out->timestamp_value)
			return false;
		google__protobuf__timestamp__init(out->timestamp_value);
		wkt_of_ms(v->i, &out->timestamp_value->seconds, &out->timestamp_value->nanos);
		return true;
	case VALUE_UUID:
	case VALUE_NONE:
	default:
		return false;
	}
}

static bool put_properties(const struct event *ev, Events__V1__Event *out, struct arena *a)
{
	out->auto_properties = arena_array(a, ev->n_props + 1, sizeof(*out->auto_properties));
	out->custom_properties = arena_array(a, ev->n_props + 1, sizeof(*out->custom_properties));
	if (!out->auto_properties || !out->custom_properties)
		return false;
	for (uint32_t i = 0; i < ev->n_props; i++) {
		const struct prop *p = &ev->props[i];
		Common__V1__PropertyValue *value = arena_alloc(a, sizeof(*value));
		char *key = arena_str(a, p->key);

		if (!value || !key || !put_value(&p->value, value, a))
			return false;
		if (p->scope == SCOPE_AUTO) {
			Events__V1__Event__AutoPropertiesEntry *e = arena_alloc(a, sizeof(*e));

			if (!e)
				return false;
			events__v1__event__auto_properties_entry__init(e);
			e->key = key;
			e->value = value;
			out->auto_properties[out->n_auto_properties++] = e;
		} else {
			Events__V1__Event__CustomPropertiesEntry *e = arena_alloc(a, sizeof(*e));

			if (!e)
				return false;
			events__v1__event__custom_properties_entry__init(e);
			e->key = key;
			e->value = value;
			out->custom_properties[out->n_custom_properties++] = e;
		}
	}
	return true;
}

static bool write_event(struct export *ex, const struct event *ev)
{
	Events__V1__Event out = EVENTS__V1__EVENT__INIT;
	Google__Protobuf__Timestamp when = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	char id[37], session[37];
	struct buf b;

	arena_reset(&ex->line);
	str_uuid_text(ev->id, id);
	str_uuid_text(ev->session, session);
	wkt_of_ms(ev->time_ms, &when.seconds, &when.nanos);
	out.event_id = id;
	out.session_id = ev->has_session ? session : NULL;
	out.occur_time = &when;
	out.kind = arena_str(&ex->line, ev->kind);
	out.distinct_id = arena_str(&ex->line, ev->distinct_id);
	out.has_cookieless = out.cookieless = ev->cookieless;
	buf_init(&b, &ex->line);
	if (!out.kind || !out.distinct_id || !put_properties(ev, &out, &ex->line) ||
		json_write(pb_msg_find(STR("events.v1.Event")), &out.base, &b) < 0)
		return false;
	buf_c(&b, '\n');
	ex->events++;
	return !b.over && fwrite(b.p, 1, b.n, ex->out) == b.n;
}

/* ---- the two passes ---- */

static enum stream_next count_segment(struct reader *r, const struct evseg *s, struct arena *a)
{
	struct export *ex = (struct export *)r;
	const int64_t *times;

	if (!evseg_times(s, a, &times)) {
		r->error = a->over ? READER_MEMORY : READER_BROKEN;
		return STREAM_FAIL;
	}
	for (uint32_t i = 0; i < s->n; i++)
		if (!(s->masked && s->masked[i]) && times[i] >= ex->from_ms && times[i] < ex->to_ms)
			ex->days[times[i] / DAY_MS - ex->first_day]++;
	return STREAM_MORE;
}

static enum stream_next write_segment(struct reader *r, const struct evseg *s, struct arena *a)
{
	struct export *ex = (struct export *)r;
	struct rows rows;
	struct event ev;

	if (!rows_open(&rows, s, a)) {
		r->error = a->over ? READER_MEMORY : READER_BROKEN;
		return STREAM_FAIL;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		if ((s->masked && s->masked[i]) || rows.times[i] < ex->window_from ||
			rows.times[i] >= ex->window_to)
			continue;
		if (!rows_read(&rows, i, &ev) || !write_event(ex, &ev)) {
			r->error = READER_BROKEN;
			return STREAM_FAIL;
		}
		progress_add(&ex->progress, 1);
	}
	return STREAM_MORE;
}

static int scan(struct export *ex, int64_t from_ms, int64_t to_ms,
	enum stream_next (*segment)(struct reader *r, const struct evseg *s, struct arena *a))
{
	static const char *const why[] = {[READER_OK] = "cannot write the output",
		[READER_DB] = "the database does not answer as expected",
		[READER_MEMORY] = "a segment needs too much memory",
		[READER_BROKEN] = "a stored segment is malformed, or the output cannot be written"};

	/* a segment may reach beyond the window: its callback looks at each event's time */
	ex->reader.segment = segment;
	ex->window_from = from_ms;
	ex->window_to = to_ms;
	return reader_scan(&ex->reader, from_ms, to_ms) == 0 ? 0 : failed(why[ex->reader.error]);
}

/* ---- output ---- */

/* The day is there already, from a moment at which it was over. */
static bool day_is_there(const char *path, int64_t day)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_mtime >= (day + 1) * (DAY_MS / 1000);
}

/* 1: the day is there already. */
static int day_open(struct export *ex, int64_t day, char *path, char *part)
{
	int64_t year;
	unsigned month, mday;

	if (!ex->dir)
		return 0;
	wkt_date(day, &year, &month, &mday);
	snprintf(path, PATH, "%s/events-%04d-%02u-%02u.jsonl", ex->dir, (int)year, month, mday);
	snprintf(part, PATH + 8, "%s.part", path);
	if (day_is_there(path, day))
		return 1;
	ex->out = fopen(part, "we");
	if (ex->out)
		return 0;
	fprintf(stderr, "pugd export: %s: %s\n", part, strerror(errno));
	return -1;
}

/* The time comes after the last write, which would set it anew; day_is_there() goes by it. */
static int day_close(struct export *ex, const char *path, const char *part)
{
	if (!ex->dir)
		return fflush(ex->out) == 0 ? 0 : failed("cannot write the output");
	const struct timespec times[2] = {ex->moment, ex->moment};
	bool ok = fflush(ex->out) == 0 && futimens(fileno(ex->out), times) == 0 &&
		  fsync(fileno(ex->out)) == 0;
	ok = fclose(ex->out) == 0 && ok && rename(part, path) == 0;
	ex->out = NULL;
	return ok ? 0 : failed("cannot write the output");
}

static int write_day(struct export *ex, int64_t day)
{
	char path[PATH], part[PATH + 8];
	int64_t from = day * DAY_MS, to = from + DAY_MS;
	int there = day_open(ex, day, path, part);

	if (there > 0)
		progress_add(&ex->progress, ex->days[day - ex->first_day]);
	if (there)
		return there < 0 ? -1 : 0;
	if (scan(ex, from > ex->from_ms ? from : ex->from_ms, to < ex->to_ms ? to : ex->to_ms,
		    write_segment) < 0)
		return -1;
	return day_close(ex, path, part);
}

/* Counts first: a day without events is not scanned and has no file. */
static int write_all(struct export *ex)
{
	int64_t n = (ex->to_ms - 1) / DAY_MS - ex->first_day + 1;
	uint64_t total = 0;

	ex->days = arena_zalloc(&ex->a, (size_t)n * sizeof(*ex->days));
	if (!ex->days)
		return failed("no memory");
	if (scan(ex, ex->from_ms, ex->to_ms, count_segment) < 0)
		return -1;
	for (int64_t i = 0; i < n; i++)
		total += ex->days[i];
	progress_start(&ex->progress, "events", total);
	for (int64_t i = 0; i < n; i++)
		if (ex->days[i] && write_day(ex, ex->first_day + i) < 0)
			return -1;
	progress_end(&ex->progress);
	return 0;
}

static int run(struct export *ex, PGconn *conn)
{
	struct q_port_project_row row;
	struct db db;
	int n;

	db_blocking(&db, conn, &ex->a);
	/* before the snapshot: a file must not seem newer than what is in it */
	clock_gettime(CLOCK_REALTIME, &ex->moment);
	/* one snapshot for all days */
	if (db_blocking_begin(&db, "ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, 0) < 0)
		return failed("the database does not answer as expected");
	n = q_port_project(&db, &(struct q_port_project_args){str_of(ex->project_id)}, &row);
	if (n <= 0)
		return failed(n < 0 ? "the database does not answer as expected"
				    : "there is no such project");
	reader_init(&ex->reader, conn, row.num, &ex->a, MEMORY, NULL);
	ex->first_day = ex->from_ms / DAY_MS;
	n = write_all(ex);
	reader_free(&ex->reader);
	return n;
}

/* ---- the command ---- */

static bool read_time(const char *z, int64_t *ms)
{
	int64_t seconds;
	int32_t nanos;

	if (!wkt_timestamp_parse(str_of(z), &seconds, &nanos))
		return false;
	*ms = wkt_to_ms(seconds, nanos);
	return true;
}

static bool read_command(int argc, char **argv, struct export *ex)
{
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return false;
		if (strcmp(argv[i], "--project") == 0)
			ex->project_id = argv[i + 1];
		else if (strcmp(argv[i], "--dir") == 0)
			ex->dir = argv[i + 1];
		else if (strcmp(argv[i], "--from") == 0 && read_time(argv[i + 1], &ex->from_ms))
			continue;
		else if (strcmp(argv[i], "--to") == 0 && read_time(argv[i + 1], &ex->to_ms))
			continue;
		else
			return false;
	}
	/* a file that holds a part of its day would pass for the whole one later */
	if (ex->dir && (ex->from_ms % DAY_MS || ex->to_ms % DAY_MS))
		return false;
	return ex->project_id && ex->from_ms < ex->to_ms && ex->from_ms >= 0 &&
	       ex->to_ms / DAY_MS < DAYS_MAX;
}

int cli_export(const struct options *opt, int argc, char **argv)
{
	/* D23: nothing is older than 2000 */
	static struct export ex = {.from_ms = 946684800000, .to_ms = 4102444800000};
	char why[256];
	PGconn *conn;
	int code;

	if (!read_command(argc, argv, &ex)) {
		fprintf(stderr,
			"usage: pugd export --project ID [--from TIME] [--to TIME] [--dir DIR]\n"
			"TIME is RFC 3339, for example 2026-01-31T00:00:00Z; with --dir it is "
			"midnight (UTC)\n");
		return 2;
	}
	conn = db_connect(
		opt->analytics_url[0] ? opt->analytics_url : opt->database_url, why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "pugd export: %s\n", why);
		return 1;
	}
	ex.out = stdout;
	arena_init(&ex.a, MEMORY);
	arena_init(&ex.line, MEMORY);
	code = run(&ex, conn);
	arena_free(&ex.line);
	arena_free(&ex.a);
	PQfinish(conn);
	return code == 0 ? 0 : 1;
}
