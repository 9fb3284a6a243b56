/* The status page: one JSON object with everything `pugd status` shows. */
#include <inttypes.h>
#include <stddef.h>
#include <unistd.h>

#include "master/admin.h"
#include "master/child.h"
#include "master/generation.h"
#include "master/metrics.h"
#include "shm/base/clock.h"
#include "shm/segment.h"
#include "shm/tail.h"

/* Of 256 rows at most (shm/segment_priv.h); the metrics page counts all of them. */
enum { QUARANTINE_SHOWN = 64 };

/* A JSON string; the bytes may come from a configuration or another process. */
static void add_string(struct buf *b, const char *s)
{
	buf_c(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_c(b, '\\');
		if ((unsigned char)*s < ' ')
			buf_printf(b, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			buf_c(b, *s);
	}
	buf_c(b, '"');
}

static void add_named(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "\"%s\":", name);
	add_string(b, value);
}

/* The first that holds counts: a stop over all, and the boot over a reload, for it has a next
 * generation, too. */
static const char *phase(const struct master *m)
{
	if (m->stopping)
		return "stopping";
	if (!m->current)
		return "starting";
	if (m->reload.pid != 0 || m->next)
		return "reloading";
	return m->old ? "draining" : "serving";
}

/* time_ms is CLOCK_MONOTONIC: it says how far two pages are apart (cli/status.c), never what
 * time it is. */
static void write_head(const struct master *m, struct buf *b)
{
	add_named(b, "version", PUGD_VERSION);
	buf_printf(b, ",\"pid\":%d,\"uptime_ms\":%" PRIu64 ",\"time_ms\":%" PRIu64 ",",
		(int)getpid(), clock_mono_ms() - m->started_ms, clock_mono_ms());
	add_named(b, "state", phase(m));
	buf_printf(b,
		",\"generation\":%u,\"ready_workers\":%d,\"completed\":%" PRIu64
		",\"rejected\":%" PRIu64 ",\"deaths\":%" PRIu64 ",\"layout\":\"%016" PRIx64 "\",",
		m->current ? m->current->number : 0, generation_ready_workers(m->current),
		m->completed, m->rejected, m->deaths, segment_layout());
	add_named(b, "last_error", m->last_error);
	buf_c(b, ',');
	add_named(b, "binary", m->binary);
	buf_z(b, ",\"listen\":[");
	for (int i = 0; i < m->listeners.count; i++) {
		buf_z(b, i ? "," : "");
		add_string(b, m->listeners.one[i].address);
	}
	buf_c(b, ']');
}

/* Its process writes these words meanwhile: a beat may be younger than now_ms, and the numbers
 * of one line need not fit together. */
static void write_slot(struct slot *s, uint64_t now_ms, struct buf *b)
{
	uint64_t beat = atomic_load(&s->heartbeat_ms);

	buf_printf(b,
		",\"heartbeat_age_ms\":%" PRIu64 ",\"connections\":%u,\"in_flight\":%u"
		",\"memory\":%" PRIu64 ",\"db_up\":%u,\"degraded\":%u",
		now_ms > beat ? now_ms - beat : 0, atomic_load(&s->connections),
		atomic_load(&s->calls_in_flight), (uint64_t)atomic_load(&s->arena_bytes),
		atomic_load(&s->db_up), atomic_load(&s->degraded));
}

/* A seat without a process still has the slot and pid of its last one, which may be another's by
 * now: -1 and 0. Without seg (master.h) a running child's line has no numbers. */
static void write_child(const struct child *c, uint64_t now_ms, struct buf *b)
{
	bool runs = child_has_process(c);

	buf_printf(b,
		"{\"role\":\"%s\",\"generation\":%u,\"state\":\"%s\",\"slot\":%d,\"pid\":%d"
		",\"state_ms\":%" PRIu64,
		child_role(c), c->gen->number, child_state_name(c->state), runs ? c->slot_no : -1,
		runs ? (int)c->pid : 0, now_ms - c->since_ms);
	if (runs && c->gen->seg)
		write_slot(segment_slot(c->gen->seg, c->slot_no), now_ms, b);
	buf_c(b, '}');
}

static void write_workers(const struct master *m, struct buf *b)
{
	uint64_t now_ms = clock_mono_ms();
	bool first = true;

	buf_z(b, ",\"workers\":[");
	for (int g = 0; g < GENERATIONS; g++) {
		for (int i = 0; m->gens[g].state != GEN_NONE && i < m->gens[g].seats; i++) {
			if (m->gens[g].child[i].state == CHILD_DONE)
				continue;
			buf_z(b, first ? "" : ",");
			write_child(&m->gens[g].child[i], now_ms, b);
			first = false;
		}
	}
	buf_c(b, ']');
}

static void write_counters(const struct segment *seg, struct buf *b)
{
	buf_z(b, ",\"counters\":{");
	for (unsigned c = 0; c < COUNTERS; c++)
		buf_printf(b, "%s\"%s\":%" PRIu64, c ? "," : "", metrics_counters[c].name,
			counter_sum(seg, (enum counter)c));
	buf_c(b, '}');
}

/* As configured, scale included. No overflow: a rate is at most 1e8, the scale 1e6
 * (options.def). */
static void write_limits(const struct options *o, const struct segment *seg, struct buf *b)
{
	const struct {
		const char *name, *per;
		int64_t rate, burst;
		enum counter refused;
	} all[] = {
		{"key", "second", o->limit_key_rate, o->limit_key_burst, CTR_limited_key},
		{"project", "second", o->limit_project_rate, o->limit_project_burst,
			CTR_limited_project},
		{"events", "second", o->limit_project_events, o->limit_project_events_burst,
			CTR_limited_events},
		{"customer", "second", o->limit_customer_rate, o->limit_customer_burst,
			CTR_limited_customer},
		{"address", "second", o->limit_address_rate, o->limit_address_burst,
			CTR_limited_address},
		{"account", "minute", o->limit_signin_per_minute, o->limit_signin_burst,
			CTR_limited_account},
		{"mailbox", "hour", o->limit_link_per_hour, o->limit_link_burst,
			CTR_limited_mailbox},
	};

	buf_z(b, ",\"limits\":[");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		buf_printf(b,
			"%s{\"name\":\"%s\",\"per\":\"%s\",\"rate\":%" PRId64 ",\"burst\":%" PRId64
			",\"refused\":%" PRIu64 "}",
			i ? "," : "", all[i].name, all[i].per, all[i].rate * o->limit_scale,
			all[i].burst * o->limit_scale, counter_sum(seg, all[i].refused));
	buf_c(b, ']');
}

/* Of codes only those that occurred, but all buckets: a reader knows a bucket by its place, and
 * compares two pages only if they have as many (cli/status.c). */
static void write_method(const char *name, const struct method_stat *st, struct buf *b)
{
	const char *comma = "";

	buf_c(b, '{');
	add_named(b, "name", name);
	buf_printf(b, ",\"calls\":%" PRIu64 ",\"latency_sum_us\":%" PRIu64 ",\"codes\":{",
		st->calls, st->latency_sum_us);
	for (unsigned c = 0; c < CODES; c++) {
		if (st->by_code[c] == 0)
			continue;
		buf_printf(b, "%s\"%s\":%" PRIu64, comma, metrics_code(c), st->by_code[c]);
		comma = ",";
	}
	buf_z(b, "},\"latency\":[");
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		buf_printf(b, "%s%" PRIu64, i ? "," : "", st->latency[i]);
	buf_z(b, "]}");
}

/* Workers claim the names of all their methods at their start, and names of other releases stay
 * as long as the segment (shm/names.c): most were never called. */
static void write_methods(const struct segment *seg, struct buf *b)
{
	struct method_stat st;
	const char *name, *comma = "";

	buf_z(b, ",\"methods\":[");
	for (unsigned i = 0; i < METHODS_MAX; i++) {
		name = segment_method_name(seg, i);
		if (!name)
			continue;
		stat_read(seg, i, &st);
		if (st.calls == 0)
			continue;
		buf_z(b, comma);
		write_method(name, &st, b);
		comma = ",";
	}
	buf_c(b, ']');
}

static void write_quarantine(const struct segment *seg, struct buf *b)
{
	struct quarantine_row rows[QUARANTINE_SHOWN];
	uint64_t now_ms = clock_mono_ms();
	int n = quarantine_list(seg, rows, QUARANTINE_SHOWN, now_ms);

	buf_z(b, ",\"quarantine\":[");
	for (int i = 0; i < n; i++)
		buf_printf(b,
			"%s{\"fingerprint\":\"%016" PRIx64 "\",\"deaths\":%u"
			",\"remaining_ms\":%" PRIu64 "}",
			i ? "," : "", rows[i].fingerprint, rows[i].deaths,
			rows[i].until_ms > now_ms ? rows[i].until_ms - now_ms : 0);
	buf_c(b, ']');
}

/* What waits to be sealed; null before somebody has looked. */
static void write_tail(const struct options *o, const struct segment *seg, struct buf *b)
{
	uint64_t now_us = clock_boot_us();
	struct tail t = tail_get(seg);

	buf_z(b, ",\"unsealed\":");
	if (t.seen_us == 0)
		buf_z(b, "null");
	else
		buf_printf(b,
			"{\"events\":%" PRIu64 ",\"oldest_ms\":%" PRIu64 ",\"seen_ms\":%" PRIu64
			",\"over_budget\":%u}",
			t.events, tail_age_us(&t, now_us) / 1000,
			now_us > t.seen_us ? (now_us - t.seen_us) / 1000 : 0,
			tail_over(&t, o, now_us));
}

/* The reader (cli/client.c) knows no more JSON than this: no blanks between tokens. It may be of
 * another release than we are: the installed file is newer than its master until a reload.
 * Without a readable segment there is only what the master itself knows. */
void status_write(const struct master *m, struct buf *b)
{
	const struct segment *seg = metrics_segment(m);

	buf_c(b, '{');
	write_head(m, b);
	write_workers(m, b);
	if (seg) {
		write_counters(seg, b);
		write_limits(&m->opt, seg, b);
		write_methods(seg, b);
		write_quarantine(seg, b);
		write_tail(&m->opt, seg, b);
	}
	buf_z(b, "}\n");
}
