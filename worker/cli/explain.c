/*
 * pugd explain: runs one insight as the server would (the same compiling, scan and kernel)
 * and says what that took: what was pruned and why, which columns were read, and where the
 * time went.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/json.h"
#include "proto/wkt.h"
#include "q.h"
#include "shm/base/clock.h"
#include "tables.h"
#include "worker/call/error.h"
#include "worker/call/route.h"
#include "worker/cli/cli.h"
#include "worker/db/blocking.h"
#include "worker/insights/explain.h"
#include "worker/rpc/insight.h"
#include "worker/worker.h"

enum { BAR = 40, DETAIL_MEMORY = 64 << 20 };

struct wanted {
	const char *project, *file;
	bool json;
};

struct explained {
	const struct wanted *wanted;
	struct worker w;
	struct call c;
	struct arena a, detail;
	struct str zone;
	struct scan scan;
	struct explain explain;
	uint64_t total_ns;
};

static const char *const stages[SCAN_STAGES] = {[STAGE_COMPILE] = "compile",
	[STAGE_CONNECT] = "connect",
	[STAGE_PEOPLE] = "people",
	[STAGE_READ] = "read",
	[STAGE_DECODE] = "decode",
	[STAGE_FOLD] = "fold",
	[STAGE_FINISH] = "finish",
	[STAGE_ANSWER] = "answer"};

#define TYPE(name) INSIGHTS__V1__INSIGHT_TYPE__INSIGHT_TYPE_##name

/* A valid request has one of these. */
static const char *const insights[] = {[TYPE(TRENDS)] = "trends",
	[TYPE(SEGMENTATION)] = "segmentation",
	[TYPE(FUNNEL)] = "funnel",
	[TYPE(RETENTION)] = "retention",
	[TYPE(USER_FLOW)] = "user flow",
	[TYPE(TOP_K)] = "top-K",
	[TYPE(MAP)] = "map"};

/* ---- the answer for people ---- */

/* Session metrics read all time, because a session is measured whole. */
static bool is_bounded(int64_t ms)
{
	return ms > INT64_MIN / 4 && ms < INT64_MAX / 4;
}

static void print_time(const char *label, int64_t ms)
{
	char text[WKT_TEXT];
	int64_t seconds;
	int32_t nanos;

	wkt_of_ms(ms, &seconds, &nanos);
	if (!is_bounded(ms))
		printf("%-10s any time\n", label);
	else
		printf("%-10s %.*s\n", label, (int)wkt_timestamp_text(seconds, nanos, text), text);
}

static void print_level(const char *name, const struct explain_level *l, bool kinds)
{
	char kind[24] = "-";

	if (kinds)
		snprintf(kind, sizeof(kind), "%" PRIu64, l->by_kind);
	printf("%-10s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12s %12" PRIu64 "\n", name, l->all,
		l->by_time, l->by_retention, kind, l->read);
}

static void print_columns(const struct explain *e)
{
	printf("\n%-32s %12s %12s %12s\n", "column", "pieces", "stored", "decoded");
	for (uint32_t i = 0; i < e->n_columns; i++) {
		const struct explain_column *c = &e->columns[i];

		/* a property that was asked for is told even where no segment has it */
		if (c->segments || c->property)
			printf("%-32.*s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n",
				STR_ARG(c->name), c->segments, c->stored, c->decoded);
	}
	if (e->over)
		printf("(too many columns to count)\n");
}

static void print_stages(const struct explained *x)
{
	static const char bar[] = "########################################";
	uint64_t most = 1;

	_Static_assert(sizeof(bar) == BAR + 1, "as long as the longest");
	for (int i = 0; i < SCAN_STAGES; i++)
		most = x->scan.ns[i] > most ? x->scan.ns[i] : most;
	printf("\n%-10s %12s\n", "stage", "ms");
	for (int i = 0; i < SCAN_STAGES; i++) {
		double ms = (double)x->scan.ns[i] / 1e6;
		int n = (int)((double)x->scan.ns[i] * BAR / (double)most + 0.5);

		printf("%-10s %12.3f%s%.*s\n", stages[i], ms, n ? "  " : "", n, bar);
	}
	printf("%-10s %12.3f\n", "together", (double)x->total_ns / 1e6);
}

static void sum_columns(const struct explain *e, uint64_t *stored, uint64_t *decoded)
{
	*stored = *decoded = 0;
	for (uint32_t i = 0; i < e->n_columns; i++) {
		*stored += e->columns[i].stored;
		*decoded += e->columns[i].decoded;
	}
}

static void print_table(const struct explained *x, const char *kind)
{
	const struct explain *e = &x->explain;
	uint64_t stored, decoded;

	sum_columns(e, &stored, &decoded);
	printf("%-10s %s\n", "insight", kind);
	printf("%-10s %.*s\n", "zone", STR_ARG(x->zone));
	print_time("from", e->from_ms);
	print_time("to", e->to_ms);
	printf("\n%-10s %12s %12s %12s %12s %12s\n", "", "stored", "not in time", "retention",
		"other kinds", "read");
	print_level("segments", &e->segments, true);
	print_level("inbox", &e->inbox, false);
	printf("\n%-10s %12" PRIu64 " scanned, %" PRIu64 " of them hidden, %" PRIu64 " matched\n",
		"events", e->scanned, e->hidden, e->matched);
	printf("%-10s %12" PRIu64 " received, %" PRIu64 " of columns, %" PRIu64 " decoded\n",
		"bytes", x->scan.bytes, stored, decoded);
	printf("%-10s %12u%s\n", "runs", x->scan.runs,
		x->scan.runs > 1 ? " (ids of events or texts of all distinct ids were needed)"
				 : "");
	printf("%-10s %12zu of %" PRIu64 " bytes\n", "memory", x->scan.peak,
		(uint64_t)x->w.opt->insight_memory);
	print_columns(e);
	print_stages(x);
}

/* ---- for machines ---- */

static void put_level(struct buf *b, const char *name, const struct explain_level *l, bool kinds)
{
	buf_printf(b,
		",\"%s\":{\"stored\":%" PRIu64 ",\"pruned\":{\"time\":%" PRIu64
		",\"retention\":%" PRIu64,
		name, l->all, l->by_time, l->by_retention);
	if (kinds)
		buf_printf(b, ",\"kind\":%" PRIu64, l->by_kind);
	buf_printf(b, "},\"read\":%" PRIu64 "}", l->read);
}

static void put_time(struct buf *b, const char *name, int64_t ms)
{
	if (is_bounded(ms))
		buf_printf(b, ",\"%s\":%" PRId64, name, ms);
	else
		buf_printf(b, ",\"%s\":null", name);
}

static void put_columns(struct buf *b, const struct explain *e)
{
	bool any = false;

	buf_z(b, ",\"columns\":[");
	for (uint32_t i = 0; i < e->n_columns; i++) {
		const struct explain_column *c = &e->columns[i];

		if (!c->segments && !c->property)
			continue;
		buf_printf(b, "%s{\"name\":", any ? "," : "");
		json_write_string(b, c->name);
		buf_printf(b,
			",\"property\":%s,\"pieces\":%" PRIu64 ",\"stored\":%" PRIu64
			",\"decoded\":%" PRIu64 "}",
			c->property ? "true" : "false", c->segments, c->stored, c->decoded);
		any = true;
	}
	buf_z(b, "]");
}

static int print_json(struct explained *x, const char *kind)
{
	const struct explain *e = &x->explain;
	uint64_t stored, decoded;
	struct buf b;

	sum_columns(e, &stored, &decoded);
	buf_init(&b, NULL);
	buf_printf(&b, "{\"insight\":\"%s\",\"zone\":", kind);
	json_write_string(&b, x->zone);
	put_time(&b, "from_ms", e->from_ms);
	put_time(&b, "to_ms", e->to_ms);
	put_level(&b, "segments", &e->segments, true);
	put_level(&b, "inbox", &e->inbox, false);
	buf_printf(&b,
		",\"events\":{\"scanned\":%" PRIu64 ",\"hidden\":%" PRIu64 ",\"matched\":%" PRIu64
		"}",
		e->scanned, e->hidden, e->matched);
	buf_printf(&b,
		",\"bytes\":{\"received\":%" PRIu64 ",\"columns\":%" PRIu64 ",\"decoded\":%" PRIu64
		"}",
		x->scan.bytes, stored, decoded);
	buf_printf(&b, ",\"runs\":%u", x->scan.runs);
	buf_printf(&b, ",\"memory\":{\"peak\":%zu,\"budget\":%" PRIu64 "}", x->scan.peak,
		(uint64_t)x->w.opt->insight_memory);
	put_columns(&b, e);
	buf_z(&b, ",\"ms\":{");
	for (int i = 0; i < SCAN_STAGES; i++)
		buf_printf(&b, "\"%s\":%.3f,", stages[i], (double)x->scan.ns[i] / 1e6);
	buf_printf(&b, "\"together\":%.3f}}\n", (double)x->total_ns / 1e6);
	if (!b.over)
		fwrite(b.p, 1, b.n, stdout);
	else
		fprintf(stderr, "pugd explain: out of memory\n");
	buf_free(&b);
	return b.over ? 1 : 0;
}

/* ---- running it ---- */

/* As the server words it. */
static int tell(struct call *c)
{
	fprintf(stderr, "pugd explain: %s: %.*s\n", error_code(c->code)->name,
		STR_ARG(c->error_text));
	return 1;
}

/* The request as the server reads and checks it. 0, or -1 after call_fail(). Without the steps
 * before: an operator has no credential, and nobody is charged. */
static int parse(struct call *c, struct str text)
{
	c->method = route_find(&pb_product_methods, STR("/insights.v1.InsightsService/Query"));
	c->codec = CODEC_JSON;
	c->message = text;
	return call_unpack(c) < 0 ? -1 : call_validate(c);
}

static int ask(struct explained *x, struct str text)
{
	const Insights__V1__QueryRequest *in;
	Insights__V1__QueryResponse out = INSIGHTS__V1__QUERY_RESPONSE__INIT;
	const char *kind;
	uint64_t start;
	int result;

	if (parse(&x->c, text) < 0)
		return tell(&x->c);
	in = (const Insights__V1__QueryRequest *)x->c.in;
	kind = in->spec->session ? "sessions" : insights[in->spec->insight_type];
	scan_init(&x->scan, &x->c);
	x->scan.explain = &x->explain;
	start = clock_mono_ns();
	result = insight_ask(&x->c, &x->scan, in, x->zone, &out);
	x->total_ns = clock_mono_ns() - start;
	if (result < 0) {
		scan_free(&x->scan);
		return tell(&x->c);
	}
	if (x->wanted->json)
		result = print_json(x, kind);
	else
		print_table(x, kind);
	scan_free(&x->scan);
	return result;
}

static int failed(const char *what)
{
	fprintf(stderr, "pugd explain: %s\n", what);
	return 1;
}

static int find_project(struct explained *x)
{
	static const char odd[] = "the database does not answer as expected; see pugd migrate";
	struct q_port_project_row row;
	struct q_project_zone_row zone;
	int n = q_port_project(
		&x->c.db, &(struct q_port_project_args){str_of(x->wanted->project)}, &row);

	if (n <= 0)
		return failed(n < 0 ? odd : "there is no such project");
	x->c.who.project = row.num;
	if (q_project_zone(&x->c.db, &(struct q_project_zone_args){row.num}, &zone) != 1)
		return failed(odd);
	x->zone = zone.reporting_timezone.n ? zone.reporting_timezone : STR("UTC");
	return 0;
}

/* The whole input; false after a message. */
static bool read_all(const char *path, struct buf *out, size_t most)
{
	bool input = !path || strcmp(path, "-") == 0;
	int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : 1;

	while (got > 0 && out->n <= most && buf_room(out, 65536)) {
		got = read(fd, out->p + out->n, 65536);
		if (got > 0)
			out->n += (size_t)got;
	}
	if (got < 0)
		perror(input ? "pugd explain: standard input" : path);
	if (fd >= 0 && !input)
		close(fd);
	if (got > 0)
		fprintf(stderr, "pugd explain: %s\n",
			out->n > most ? "the query is larger than max_body" : "out of memory");
	return got == 0;
}

static bool read_command(int argc, char **argv, struct wanted *w)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--project") == 0 && i + 1 < argc)
			w->project = argv[++i];
		else if (strcmp(argv[i], "--json") == 0)
			w->json = true;
		else if (!w->file && (argv[i][0] != '-' || !argv[i][1]))
			w->file = argv[i];
		else
			return false;
	}
	return w->project != NULL;
}

static int run(struct explained *x, PGconn *conn)
{
	struct buf text;
	int code = 1;

	buf_init(&text, &x->a);
	db_blocking(&x->c.db, conn, &x->a);
	if (find_project(x) == 0 && read_all(x->wanted->file, &text, (size_t)x->w.opt->max_body))
		code = ask(x, (struct str){text.p ? text.p : "", text.n});
	/* the scan's connection, which it left for the next job of its thread */
	if (db_kept())
		db_kept_end();
	return code;
}

int cli_explain(const struct options *opt, int argc, char **argv)
{
	struct wanted wanted = {0};
	static struct explained x; /* a call and a scan */
	char why[256];
	PGconn *conn;
	int code;

	if (!read_command(argc, argv, &wanted)) {
		fprintf(stderr, "usage: pugd explain --project ID [--json] [FILE|-]\n"
				"The file, or standard input, is a QueryRequest as JSON\n");
		return 2;
	}
	conn = db_connect(opt->database_url, why, sizeof(why));
	if (!conn)
		return failed(why);
	/* a worker without loop, threads and segment: the scan runs here, without turns and
	 * column cache */
	x.wanted = &wanted;
	x.w.opt = opt;
	x.c.w = &x.w;
	x.c.arena = &x.a;
	x.c.details_tail = &x.c.details;
	x.explain.a = &x.detail;
	arena_init(&x.a, (size_t)opt->call_memory);
	arena_init(&x.detail, DETAIL_MEMORY);
	code = run(&x, conn);
	arena_free(&x.detail);
	arena_free(&x.a);
	PQfinish(conn);
	return code;
}
