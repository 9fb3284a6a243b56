/*
 * The OpenMetrics page. Counters are of the shared segment, so they survive
 * workers and reloads and begin again with a new segment, which scrapers know
 * as a counter reset.
 */
#include "master/metrics.h"

#include <inttypes.h>
#include <stddef.h>

#include "master/admin.h"
#include "master/child.h"
#include "master/generation.h"
#include "shm/base/clock.h"
#include "shm/segment.h"
#include "shm/tail.h"

/* QUARANTINE_ROWS of shm/segment_priv.h: they are only counted. */
enum { QUARANTINE_SHOWN = 256 };

const struct metric_counter metrics_counters[] = {
#define COUNTER(name, help) {#name, help},
#define GAUGE(name, help)
#include "shm/counters.def"
#undef COUNTER
#undef GAUGE
};

/* In the order of the codes' numbers, by which workers count (stat_call). */
const char *metrics_code(unsigned code)
{
	static const char *const names[] = {
		"ok",
		"canceled",
		"unknown",
		"invalid_argument",
		"deadline_exceeded",
		"not_found",
		"already_exists",
		"permission_denied",
		"resource_exhausted",
		"failed_precondition",
		"aborted",
		"out_of_range",
		"unimplemented",
		"internal",
		"unavailable",
		"data_loss",
		"unauthenticated",
	};
	_Static_assert(sizeof(names) / sizeof(names[0]) == CODES, "one name per code");

	return code < CODES ? names[code] : "?";
}

/* The next one's during the boot, and in an image that cannot read the current one's. */
const struct segment *metrics_segment(const struct master *m)
{
	if (m->current && m->current->seg)
		return m->current->seg;
	return m->next ? m->next->seg : NULL;
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# TYPE pugd_%s %s\n# HELP pugd_%s %s.\n", name, type, name, help);
}

static void gauge(struct buf *b, const char *name, const char *help, uint64_t value)
{
	head(b, name, "gauge", help);
	buf_printf(b, "pugd_%s %" PRIu64 "\n", name, value);
}

static void counter(struct buf *b, const char *name, const char *help, uint64_t value)
{
	head(b, name, "counter", help);
	buf_printf(b, "pugd_%s_total %" PRIu64 "\n", name, value);
}

/* A state that nobody is in is shown with 0, so that its series does not end. Relies on the
 * order in enum child_state; NONE and DONE mean that nobody sits there. */
static void write_workers(const struct master *m, struct buf *b)
{
	unsigned count[CHILD_DONE + 1] = {0};

	for (int g = 0; g < GENERATIONS; g++)
		for (int i = 0; m->gens[g].state != GEN_NONE && i < m->gens[g].seats; i++)
			count[m->gens[g].child[i].state]++;
	head(b, "processes", "gauge", "Workers and keepers by state");
	for (int s = CHILD_STARTING; s <= CHILD_WAITING; s++)
		buf_printf(b, "pugd_processes{state=\"%s\"} %u\n",
			child_state_name((enum child_state)s), count[s]);
}

static void write_master(const struct master *m, struct buf *b)
{
	gauge(b, "generation", "Number of the generation that serves",
		m->current ? m->current->number : 0);
	gauge(b, "ready_workers", "Workers of that generation that are ready",
		(uint64_t)generation_ready_workers(m->current));
	gauge(b, "uptime_seconds", "Time since the first start",
		(clock_mono_ms() - m->started_ms) / 1000);
	counter(b, "reloads_completed", "Reloads that took over", m->completed);
	counter(b, "reloads_rejected", "Reloads that changed nothing", m->rejected);
	counter(b, "deaths", "Processes that died", m->deaths);
}

/* Nothing before somebody has looked. */
static void write_tail(const struct master *m, const struct segment *seg, struct buf *b)
{
	uint64_t now_us = clock_boot_us();
	struct tail t = tail_get(seg);

	if (t.seen_us == 0)
		return;
	gauge(b, "unsealed_events", "Events of all projects that wait to be sealed", t.events);
	gauge(b, "unsealed_oldest_seconds", "How long the oldest of them has waited",
		tail_age_us(&t, now_us) / 1000000);
	gauge(b, "unsealed_over_budget", "1: more or longer than tail_events or tail_age allow",
		tail_over(&t, &m->opt, now_us));
	gauge(b, "unsealed_seen_seconds", "How long ago they were counted",
		now_us > t.seen_us ? (now_us - t.seen_us) / 1000000 : 0);
}

/* Every method that has been called. Once for each family: OpenMetrics wants the samples of one
 * family together. */
static void write_methods(const struct segment *seg, struct buf *b,
	void (*one)(const struct method_stat *st, const char *name, struct buf *b))
{
	struct method_stat st;
	const char *name;

	for (unsigned i = 0; i < METHODS_MAX; i++) {
		name = segment_method_name(seg, i);
		if (!name)
			continue;
		stat_read(seg, i, &st);
		if (st.calls > 0)
			one(&st, name, b);
	}
}

static void write_codes(const struct method_stat *st, const char *name, struct buf *b)
{
	for (unsigned c = 0; c < CODES; c++)
		if (st->by_code[c] > 0)
			buf_printf(b, "pugd_calls_total{method=\"%s\",code=\"%s\"} %" PRIu64 "\n",
				name, metrics_code(c), st->by_code[c]);
}

/* Bucket i counts what took less than 2^i microseconds (shm/counters.c). The last one is open,
 * hence +Inf. The count is the sum of the buckets and not st->calls: workers go on counting, and
 * within one page the two must agree. */
static void write_histogram(const struct method_stat *st, const char *name, struct buf *b)
{
	uint64_t sum = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		sum += st->latency[i];
		if (i < LATENCY_BUCKETS - 1)
			buf_printf(b,
				"pugd_call_seconds_bucket{method=\"%s\",le=\"%.6f\"} %" PRIu64 "\n",
				name, (double)(1ULL << i) / 1e6, sum);
	}
	buf_printf(
		b, "pugd_call_seconds_bucket{method=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, sum);
	buf_printf(b, "pugd_call_seconds_count{method=\"%s\"} %" PRIu64 "\n", name, sum);
	buf_printf(b, "pugd_call_seconds_sum{method=\"%s\"} %.6f\n", name,
		(double)st->latency_sum_us / 1e6);
}

void metrics_write(const struct master *m, struct buf *b)
{
	const struct segment *seg = metrics_segment(m);
	struct quarantine_row rows[QUARANTINE_SHOWN];

	write_master(m, b);
	write_workers(m, b);
	if (seg) {
		for (unsigned c = 0; c < COUNTERS; c++)
			counter(b, metrics_counters[c].name, metrics_counters[c].help,
				counter_sum(seg, (enum counter)c));
		gauge(b, "quarantine_entries", "Fingerprints in quarantine",
			(uint64_t)quarantine_list(seg, rows, QUARANTINE_SHOWN, clock_mono_ms()));
		write_tail(m, seg, b);
		head(b, "calls", "counter", "Calls by method and code");
		write_methods(seg, b, write_codes);
		head(b, "call_seconds", "histogram",
			"Time from the head of a request to its answer");
		write_methods(seg, b, write_histogram);
	}
	/* A page without it counts as cut off. */
	buf_z(b, "# EOF\n");
}
