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
#include "worker/store/evseg.h"
#include "worker/store/people_base.h"
#include "tests/bench/kernel_events.h"
#include "tests/bench/questions.h"

static void *need(void *p)
{
	if (!p)
		events_die("memory", "exhausted");
	return p;
}

/* ---- the kernels ---- */

struct run {
	struct plan plan;
	struct arena a, batch_a;
	struct people people;
	struct people_base *base;
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
	segmentation_finish(r->kernel);
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
		double total;
		bool counted = sessions_total(r->kernel, &total);

		mix_double(r, counted ? total : 0);
		return counted;
	}
	if (!sessions_finish(r->kernel, &s, &n))
		return false;
	mix_series(r, s, n);
	return true;
}

static void *make_segment_users(struct run *r)
{
	return segment_users_new(&r->plan, STR(""), 1000, NULL);
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
		events_die(name, err.reason);
	if ((users ? compile_segment_users(
			     &r->plan, (const Insights__V1__SegmentUsersRequest *)msg, &r->a, &why)
		   : compile_query(&r->plan, (const Insights__V1__QueryRequest *)msg, STR("UTC"),
			     &r->a, &why)) < 0)
		events_die(name, why ? why : "no memory");
}

/* As of a sealed segment: with what its row says instead of columns (evseg.h), and with
 * numbers of who its events are. False when the plan does not ask for its kind: the reader
 * does not read it then. */
static bool seal(struct evseg *seg, const struct plan *plan, struct str numbers, struct arena *a)
{
	struct evseg_part *parts = need(arena_array(a, seg->n_parts + 1, sizeof(*parts)));
	const int64_t *times;
	struct str *kinds;
	uint32_t n = 0, n_kinds;

	if (!evseg_kinds(seg, a, &kinds, &n_kinds) || !evseg_times(seg, a, &times))
		events_die("segment", "broken");
	seg->kind = kinds[0];
	/* where an order is asked for, ids are read as those of the inbox */
	seg->id = !plan->need.order;
	/* no edge lies within a day */
	seg->flat = plan->need.flat;
	seg->flat_ms = times[0];
	for (uint32_t i = 0; i < seg->n_parts; i++) {
		enum part_kind kind = seg->parts[i].kind;

		if (kind != PART_KIND && !(kind == PART_TIME && seg->flat) &&
			!(kind == PART_DISTINCT && plan->need.numbers))
			parts[n++] = seg->parts[i];
	}
	parts[n++] = (struct evseg_part){
		.kind = PART_NUMBER, .raw_n = (uint32_t)numbers.n, .stored = numbers};
	seg->parts = parts;
	seg->n_parts = n;
	for (uint32_t i = 0; i < plan->n_kinds; i++)
		if (str_eq(plan->kinds[i], seg->kind))
			return true;
	return !plan->kinds;
}

static bool run_segment(struct run *r, struct str blob, struct str numbers)
{
	double start, decoded, framed;
	struct batch batch;
	struct frame frame;
	struct evseg seg;
	bool ok;

	arena_reset(&r->batch_a);
	if (!evseg_open(&seg, blob, &r->batch_a))
		events_die("segment", "broken");
	if (!seal(&seg, &r->plan, numbers, &r->batch_a))
		return true;
	start = cpu();
	if (!batch_load(&batch, &seg, &r->plan.need, &r->batch_a))
		events_die("segment", "broken");
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

/* Two of five persons have a profile and, for that, two numbers. */
static void make_people(struct run *r, uint32_t n)
{
	uint64_t *digests = need(arena_array(&r->a, n, sizeof(*digests)));
	uint64_t *profiles = need(arena_array(&r->a, n, sizeof(*profiles)));
	uint64_t *externals = need(arena_array(&r->a, n, sizeof(*externals)));
	uint32_t known = n * 2 / 5;

	if (!r->plan.need.numbers) {
		if (!people_init(&r->people, &r->a, r->plan.n_paths))
			events_die("people", "no memory");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		digests[i] = hash_64(&i, sizeof(i)) | 1;
		profiles[i] = hash_64(&i, sizeof(i)) & ~1ull;
	}
	people_init_digests(&r->people, &r->a);
	r->base = need(people_base_new((size_t)1 << 30));
	if (!people_base_numbers(r->base, 1, digests, n) ||
		!people_base_profiles(r->base, profiles, externals, known) ||
		!people_base_aliases(r->base, digests, profiles, known) ||
		!people_base_ready(r->base))
		events_die("people", "no memory");
	people_use(&r->people, r->base);
}

/* The next bytes of the file. */
static struct str take(const char *data, size_t *at)
{
	uint64_t n;
	const char *p = data + *at + sizeof(n);

	memcpy(&n, data + *at, sizeof(n));
	*at += sizeof(n) + n;
	return (struct str){p, n};
}

static void run(const char *name, const char *json, struct str data, uint32_t events)
{
	struct run r = {0};
	bool ok = true;

	arena_init(&r.a, (size_t)4 << 30);
	arena_init(&r.batch_a, (size_t)1 << 30);
	compile(&r, name, json);
	make_people(&r, events / PER_PERSON + 1);
	r.kernel = need(kernels[r.plan.kind].make(&r));
	for (size_t at = 0; ok && at < data.n;) {
		struct str blob = take(data.p, &at);

		ok = run_segment(&r, blob, take(data.p, &at));
	}
	r.cpu[3] = -cpu();
	if (!ok || !kernels[r.plan.kind].finish(&r))
		events_die(name, "no memory");
	r.cpu[3] += cpu();
	printf("%-16s %6.0f %6.0f %6.0f %6.0f %7.1f %7.1f  %016llx\n", name, r.cpu[0] * 1e3,
		r.cpu[1] * 1e3, r.cpu[2] * 1e3, r.cpu[3] * 1e3, (double)r.a.held / 1048576,
		(double)r.peak_batch / 1048576, (unsigned long long)r.digest);
	fflush(stdout);
	if (r.base)
		people_base_free(r.base);
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
	uint32_t events;
	void *data;
	int fd;

	if (argc < 3)
		events_die("usage", "kernels FILE EVENTS [QUESTION...]");
	events = (uint32_t)strtoul(argv[2], NULL, 10);
	if (access(argv[1], R_OK))
		events_make(argv[1], events);
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		events_die(argv[1], strerror(errno));
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		events_die(argv[1], strerror(errno));
	printf("%-16s %6s %6s %6s %6s %7s %7s  ms of CPU; MiB; answer\n", "", "decode", "frame",
		"fold", "finish", "query", "segment");
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (is_asked(questions[i].name, argc, argv))
			run(questions[i].name, questions[i].json,
				(struct str){data, (size_t)st.st_size}, events);
	return 0;
}
