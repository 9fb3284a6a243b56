/*
 * What the insight kernels cost without a database: events of 90 days, encoded once into
 * a file as one segment a day and kind, go through the batch, the frame and the kernel
 * of each question in turn.
 *
 *   kernels FILE EVENTS [QUESTION...]
 *
 * Makes FILE when it is not there: EVENTS events, a person for every 50 of them, a session
 * for every 5. Prints a line per question: seconds of CPU in decoding, framing, folding
 * and finishing, the most bytes the query's arena and a segment's held, and a digest
 * of the answer, by which two builds may be compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "proto/json.h"
#include "shm/base/hash.h"
#include "worker/insights/compile.h"
#include "worker/insights/flow.h"
#include "worker/insights/funnel.h"
#include "worker/insights/retention.h"
#include "worker/insights/segment_users.h"
#include "worker/insights/segmentation.h"
#include "worker/insights/sessions.h"
#include "worker/insights/topk.h"
#include "worker/insights/trends.h"
#include "worker/store/encode.h"
#include "tests/bench/questions.h"

enum { DAYS = 90, DAY_MS = 86400000, KINDS = 8, PATHS = 60, PER_PERSON = 50, PER_SESSION = 5 };

static const int64_t begin_ms = 1735689600000; /* 2025-01-01 */
static const char *const kinds[KINDS] = {"page_view", "click", "search", "view_item", "add_to_cart",
	"checkout", "purchase", "refund"};
static const unsigned shares[KINDS] = {35, 20, 15, 10, 8, 6, 4, 2};
static const char *const countries[] = {"DE", "FR", "US", "GB", "JP", "BR", "IN", "SE"};

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "kernels: %s: %s\n", what, detail);
	exit(1);
}

static void *need(void *p)
{
	if (!p)
		die("memory", "exhausted");
	return p;
}

/* ---- the events ---- */

struct one {
	int64_t ms;
	uint32_t person, session, tie; /* tie: random end of the id */
	uint8_t kind, path, country;
};

static uint64_t next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint8_t draw_kind(uint64_t *rng)
{
	unsigned at = (unsigned)(next(rng) % 100);
	uint8_t k = 0;

	for (; at >= shares[k]; k++)
		at -= shares[k];
	return k;
}

static int by_segment(const void *x, const void *y)
{
	const struct one *a = x, *b = y;
	int64_t day_a = a->ms / DAY_MS, day_b = b->ms / DAY_MS;

	if (day_a != day_b)
		return day_a < day_b ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->ms < b->ms ? -1 : a->ms > b->ms;
}

/* Sessions of some events each; few persons do much, many do little. */
static struct one *draw(uint32_t n)
{
	struct one *all = need(calloc(n, sizeof(*all)));
	uint64_t rng = 1, persons = n / PER_PERSON + 1;
	struct one at = {0};

	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || next(&rng) % PER_SESSION == 0) {
			uint64_t a = next(&rng) % persons, b = next(&rng) % persons;

			at.person = (uint32_t)(a < b ? a : b);
			at.ms = begin_ms + (int64_t)(next(&rng) % ((uint64_t)DAYS * DAY_MS));
			at.session++;
			at.country = (uint8_t)(at.person % 8);
		}
		at.ms += (int64_t)(next(&rng) % 60000);
		if (at.ms >= begin_ms + (int64_t)DAYS * DAY_MS)
			at.ms = begin_ms;
		at.kind = draw_kind(&rng);
		at.path = (uint8_t)(next(&rng) % PATHS);
		at.tie = (uint32_t)next(&rng);
		all[i] = at;
	}
	qsort(all, n, sizeof(*all), by_segment);
	return all;
}

static void put_uuid(uint8_t id[16], uint64_t high, uint64_t low)
{
	for (int i = 0; i < 8; i++) {
		id[i] = (uint8_t)(high >> (56 - 8 * i));
		id[8 + i] = (uint8_t)(low >> (56 - 8 * i));
	}
}

static void fill(struct event *ev, const struct one *o, struct prop *props, char text[64])
{
	uint64_t seed = o->session;

	*ev = (struct event){.has_session = true,
		.time_ms = o->ms,
		.kind = str_of(kinds[o->kind]),
		.distinct_id = {text, 0},
		.props = props,
		.n_props = 3};
	put_uuid(ev->id, (uint64_t)o->ms << 16 | o->tie >> 16, (uint64_t)o->tie << 32);
	put_uuid(ev->session, next(&seed), next(&seed));
	seed = o->person;
	ev->distinct_id.n = (size_t)sprintf(
		text, "%016llx%08x", (unsigned long long)next(&seed), (unsigned)o->person);
	sprintf(text + 32, "/path/%u", (unsigned)o->path);
	props[0] = (struct prop){
		STR("$pathname"), SCOPE_AUTO, {.type = VALUE_STR, .s = str_of(text + 32)}};
	props[1] = (struct prop){STR("$country"), SCOPE_AUTO,
		{.type = VALUE_STR, .s = str_of(countries[o->country])}};
	props[2] =
		(struct prop){STR("amount"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = o->tie % 1000}};
}

static void put_segment(FILE *out, const struct one *v, uint32_t n)
{
	struct event *events = need(calloc(n, sizeof(*events)));
	char(*texts)[64] = need(calloc(n, sizeof(*texts)));
	struct arena a;
	struct encoder *e;
	struct prop props[3];
	uint64_t size;
	struct str blob;

	arena_init(&a, (size_t)1 << 30);
	e = need(encoder_new(&a));
	for (uint32_t i = 0; i < n; i++) {
		fill(&events[i], &v[i], props, texts[i]);
		if (!encoder_add(e, &events[i]))
			die("encoder", "no memory");
	}
	blob = encoder_finish(e);
	size = blob.n;
	if (!blob.p || fwrite(&size, sizeof(size), 1, out) != 1 ||
		fwrite(blob.p, 1, blob.n, out) != blob.n)
		die("write", strerror(errno));
	arena_free(&a);
	free(events);
	free(texts);
}

static void make_file(const char *path, uint32_t n)
{
	FILE *out = fopen(path, "we");
	struct one *all;

	if (!out)
		die(path, strerror(errno));
	all = draw(n);
	for (uint32_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && end - i < EVSEG_EVENTS_MAX &&
				  all[end].kind == all[i].kind &&
				  all[end].ms / DAY_MS == all[i].ms / DAY_MS;)
			end++;
		put_segment(out, &all[i], end - i);
	}
	free(all);
	if (fclose(out))
		die(path, strerror(errno));
}

/* ---- the kernels ---- */

struct run {
	struct plan plan;
	struct arena a, batch_a;
	struct people people;
	void *kernel;
	uint64_t digest;
	double cpu[4]; /* decode, frame, fold, finish */
	size_t peak, peak_batch;
};

static void mix(struct run *r, const void *p, size_t n)
{
	r->digest = (r->digest ^ hash_64(p, n)) * 0x9e3779b97f4a7c15u;
}

static void mix_str(struct run *r, struct str s)
{
	mix(r, s.p ? s.p : "", s.n);
}

static void mix_double(struct run *r, double v)
{
	char text[40];

	/* sums may differ in the last digits */
	mix(r, text, (size_t)snprintf(text, sizeof(text), "%.9g", v));
}

static void *make_trends(struct run *r)
{
	return trends_new(&r->plan);
}

static bool fold_trends(struct run *r, const struct frame *f)
{
	return trends_fold(r->kernel, f);
}

static void mix_series(struct run *r, const struct trend_series *s, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		mix_str(r, s[i].kind);
		for (uint32_t k = 0; k < r->plan.n_breakdowns; k++)
			mix_str(r, s[i].values[k]);
		for (uint32_t k = 0; k < s[i].n_points; k++) {
			mix(r, &s[i].points[k].time_ms, sizeof(int64_t));
			mix_double(r, s[i].points[k].value);
		}
	}
}

static bool finish_trends(struct run *r)
{
	const struct trend_series *s;
	uint32_t n;

	if (!trends_finish(r->kernel, &s, &n))
		return false;
	mix_series(r, s, n);
	return true;
}

static void *make_segmentation(struct run *r)
{
	struct segmentation *s = need(arena_alloc(&r->a, sizeof(*s)));

	segmentation_init(s, &r->plan);
	return s;
}

static bool fold_segmentation(struct run *r, const struct frame *f)
{
	return segmentation_fold(r->kernel, f);
}

static bool finish_segmentation(struct run *r)
{
	mix_double(r, segmentation_total(r->kernel));
	return true;
}

static void *make_funnel(struct run *r)
{
	return funnel_new(&r->plan);
}

static bool fold_funnel(struct run *r, const struct frame *f)
{
	return funnel_fold(r->kernel, f);
}

static bool finish_funnel(struct run *r)
{
	const struct funnel_series *s;
	uint32_t n;

	if (!funnel_finish(r->kernel, &s, &n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < r->plan.n_breakdowns; k++)
			mix_str(r, s[i].values[k]);
		mix(r, s[i].totals, r->plan.n_events * sizeof(uint64_t));
		for (uint32_t k = 1; s[i].timing && k < r->plan.n_events; k++)
			mix(r, &s[i].timing[k], sizeof(s[i].timing[k]));
	}
	return true;
}

static void *make_retention(struct run *r)
{
	return retention_new(&r->plan);
}

static bool fold_retention(struct run *r, const struct frame *f)
{
	return retention_fold(r->kernel, f);
}

static bool finish_retention(struct run *r)
{
	const struct retention_series *s;
	uint32_t n;

	if (!retention_finish(r->kernel, &s, &n))
		return false;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < s[i].n_cohorts; c++) {
			const struct retention_cohort *cohort = &s[i].cohorts[c];

			mix(r, &cohort->size, sizeof(cohort->size));
			for (uint32_t k = 0; k < cohort->n_points; k++)
				mix_double(r, cohort->points[k].value);
		}
	return true;
}

static void *make_flow(struct run *r)
{
	return flow_new(&r->plan);
}

static bool fold_flow(struct run *r, const struct frame *f)
{
	return flow_fold(r->kernel, f);
}

static bool finish_flow(struct run *r)
{
	struct flow_answer out;

	if (!flow_finish(r->kernel, &out))
		return false;
	for (uint32_t i = 0; i < out.n_nodes; i++)
		mix_str(r, out.nodes[i].id);
	for (uint32_t i = 0; i < out.n_links; i++) {
		mix(r, &out.links[i].source, sizeof(uint32_t));
		mix(r, &out.links[i].target, sizeof(uint32_t));
		mix(r, &out.links[i].value, sizeof(uint64_t));
	}
	return true;
}

static void *make_topk(struct run *r)
{
	return topk_new(&r->plan);
}

static bool fold_topk(struct run *r, const struct frame *f)
{
	return topk_fold(r->kernel, f);
}

static bool finish_topk(struct run *r)
{
	const struct topk_row *rows;
	uint32_t n;

	if (!topk_finish(r->kernel, &rows, &n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		mix_str(r, rows[i].value);
		mix_double(r, rows[i].number);
	}
	return true;
}

static void *make_sessions(struct run *r)
{
	return sessions_new(&r->plan);
}

static bool fold_sessions(struct run *r, const struct frame *f)
{
	return sessions_fold(r->kernel, f);
}

static bool finish_sessions(struct run *r)
{
	const struct trend_series *s;
	uint32_t n;

	if (r->plan.buckets.n == 0) {
		mix_double(r, sessions_total(r->kernel));
		return true;
	}
	if (!sessions_finish(r->kernel, &s, &n))
		return false;
	mix_series(r, s, n);
	return true;
}

static void *make_segment_users(struct run *r)
{
	return segment_users_new(&r->plan, STR(""), 1000);
}

static bool fold_segment_users(struct run *r, const struct frame *f)
{
	return segment_users_fold(r->kernel, f);
}

static bool finish_segment_users(struct run *r)
{
	struct segment_page page;

	segment_users_finish(r->kernel, &page);
	for (uint32_t i = 0; i < page.n; i++)
		mix_str(r, page.ids[i]);
	return true;
}

static const struct kernel {
	void *(*make)(struct run *r);
	bool (*fold)(struct run *r, const struct frame *f);
	bool (*finish)(struct run *r);
} kernels[] = {
	[PLAN_TRENDS] = {make_trends, fold_trends, finish_trends},
	[PLAN_SEGMENTATION] = {make_segmentation, fold_segmentation, finish_segmentation},
	[PLAN_FUNNEL] = {make_funnel, fold_funnel, finish_funnel},
	[PLAN_RETENTION] = {make_retention, fold_retention, finish_retention},
	[PLAN_FLOW] = {make_flow, fold_flow, finish_flow},
	[PLAN_TOP_K] = {make_topk, fold_topk, finish_topk},
	[PLAN_SESSIONS] = {make_sessions, fold_sessions, finish_sessions},
	[PLAN_SEGMENT_USERS] = {make_segment_users, fold_segment_users, finish_segment_users},
};

/* ---- the run ---- */

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void compile(struct run *r, const char *name, const char *json)
{
	bool users = strcmp(name, "segment-users") == 0;
	ProtobufCMessage *msg;
	struct json_error err;
	const char *why = NULL;

	if (json_read(pb_msg_find(users ? STR("insights.v1.SegmentUsersRequest")
					: STR("insights.v1.QueryRequest")),
		    str_of(json), &r->a, &msg, &err))
		die(name, err.reason);
	if ((users ? compile_segment_users(
			     &r->plan, (const Insights__V1__SegmentUsersRequest *)msg, &r->a, &why)
		   : compile_query(&r->plan, (const Insights__V1__QueryRequest *)msg, STR("UTC"),
			     &r->a, &why)) < 0)
		die(name, why ? why : "no memory");
}

/* As the reader does: a segment without one of the plan's kinds is not read. */
static bool wanted(const struct plan *plan, const struct evseg *seg, struct arena *a)
{
	const struct evseg_part *part = evseg_find(seg, PART_KIND, SCOPE_AUTO, STR(""));
	struct column c;

	if (!plan->kinds)
		return true;
	if (!part || !evseg_column(seg, part, a, &c))
		die("kinds", "cannot be read");
	for (uint32_t i = 0; i < plan->n_kinds; i++)
		if (str_eq(plan->kinds[i], c.entries[0].s))
			return true;
	return false;
}

static bool run_segment(struct run *r, struct str blob)
{
	double start, decoded, framed;
	struct batch batch;
	struct frame frame;
	struct evseg seg;
	bool ok;

	arena_reset(&r->batch_a);
	if (!evseg_open(&seg, blob, &r->batch_a))
		die("segment", "broken");
	if (!wanted(&r->plan, &seg, &r->batch_a))
		return true;
	start = cpu();
	if (!batch_load(&batch, &seg, &r->plan.need, &r->batch_a))
		die("segment", "broken");
	decoded = cpu();
	r->cpu[0] += decoded - start;
	ok = frame_make(&frame, &r->plan, &batch, &r->people, &r->batch_a);
	/* segments come day by day */
	frame.settled_ms = batch.times[0] - batch.times[0] % DAY_MS;
	framed = cpu();
	r->cpu[1] += framed - decoded;
	ok = ok && kernels[r->plan.kind].fold(r, &frame);
	r->cpu[2] += cpu() - framed;
	if (r->batch_a.held > r->peak_batch)
		r->peak_batch = r->batch_a.held;
	return ok;
}

static void run(const char *name, const char *json, const char *data, size_t size)
{
	struct run r = {0};
	uint64_t n;
	bool ok = true;

	arena_init(&r.a, (size_t)4 << 30);
	arena_init(&r.batch_a, (size_t)1 << 30);
	compile(&r, name, json);
	if (!people_init(&r.people, &r.a, r.plan.n_paths))
		die("people", "no memory");
	r.kernel = need(kernels[r.plan.kind].make(&r));
	for (size_t at = 0; ok && at < size; at += n) {
		memcpy(&n, data + at, sizeof(n));
		at += sizeof(n);
		ok = run_segment(&r, (struct str){data + at, n});
	}
	r.cpu[3] = -cpu();
	if (!ok || !kernels[r.plan.kind].finish(&r))
		die(name, "no memory");
	r.cpu[3] += cpu();
	printf("%-16s %6.0f %6.0f %6.0f %6.0f %7.1f %7.1f  %016llx\n", name, r.cpu[0] * 1e3,
		r.cpu[1] * 1e3, r.cpu[2] * 1e3, r.cpu[3] * 1e3, (double)r.a.held / 1048576,
		(double)r.peak_batch / 1048576, (unsigned long long)r.digest);
	fflush(stdout);
	arena_free(&r.a);
	arena_free(&r.batch_a);
}

static bool is_asked(const char *name, int argc, char **argv)
{
	for (int i = 3; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 3;
}

int main(int argc, char **argv)
{
	struct stat st;
	void *data;
	int fd;

	if (argc < 3)
		die("usage", "kernels FILE EVENTS [QUESTION...]");
	if (access(argv[1], R_OK))
		make_file(argv[1], (uint32_t)strtoul(argv[2], NULL, 10));
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(argv[1], strerror(errno));
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		die(argv[1], strerror(errno));
	printf("%-16s %6s %6s %6s %6s %7s %7s  ms of CPU; MiB; answer\n", "", "decode", "frame",
		"fold", "finish", "query", "segment");
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (is_asked(questions[i].name, argc, argv))
			run(questions[i].name, questions[i].json, data, (size_t)st.st_size);
	return 0;
}
