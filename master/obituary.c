/*
 * Turns a dead process's slot into one log line. The slot was written by a
 * process that may have gone wild: nothing in it is trusted to be terminated,
 * printable or consistent.
 */
#include "master/obituary.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "shm/base/arena.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/colcache.h"
#include "shm/flights.h"
#include "shm/keycache.h"
#include "shm/segment.h"
#include "shm/turns.h"

/* As enum step of worker/call/call.h, which this side may not include; a unit test compares. */
const char *obituary_step_name(uint32_t step)
{
	static const char *const names[] = {
		"none",
		"route",
		"authn",
		"limit",
		"decode",
		"validate",
		"authz",
		"handle",
		"encode",
		"reply",
	};

	return step < sizeof(names) / sizeof(names[0]) ? names[step] : "?";
}

/* At most n bytes of an untrusted text, with everything unusual made a dot. */
static void add_text(struct buf *b, const char *text, size_t n)
{
	for (size_t i = 0; i < n && text[i] != '\0'; i++)
		buf_c(b, text[i] < ' ' || text[i] > '~' || text[i] == '"' ? '.' : text[i]);
}

static void add_cause(struct buf *b, const struct child *c, const siginfo_t *si)
{
	const char *name;

	if (si->si_code == CLD_EXITED) {
		buf_printf(b, " exit=%d", si->si_status);
	} else {
		name = sigabbrev_np(si->si_status);
		buf_printf(b, " signal=%d name=SIG%s", si->si_status, name ? name : "?");
	}
	if (c->hung)
		buf_z(b, " hung=1");
}

static void add_crumb(struct buf *b, int thread, const struct crumb *k, uint64_t now_ms)
{
	buf_printf(b, " thread=%d step=%s method=\"", thread, obituary_step_name(k->step));
	add_text(b, k->method_name, sizeof(k->method_name));
	buf_z(b, "\" call=\"");
	add_text(b, k->call_id, sizeof(k->call_id));
	buf_printf(b, "\" call_ms=%" PRIu64, now_ms > k->start_ms ? now_ms - k->start_ms : 0);
}

static void add_crumbs(struct buf *b, struct slot *s)
{
	for (int i = 0; i < CRUMBS_PER_SLOT; i++)
		if (atomic_load(&s->crumbs[i].busy) == 1)
			add_crumb(b, i, &s->crumbs[i], clock_mono_ms());
}

/* panic_set comes before the backtrace, whose walk may fault once more (worker/crash.c): frames
 * may be missing, or all of them. */
static void add_panic(struct buf *b, struct slot *s)
{
	if (s->panic[0]) {
		buf_z(b, " panic=\"");
		add_text(b, s->panic, sizeof(s->panic));
		buf_z(b, "\"");
	}
	if (!atomic_load(&s->panic_set))
		return;
	buf_printf(b, " address=0x%" PRIx64 " backtrace=", s->address);
	for (int i = 0; i < 16 && s->backtrace[i]; i++)
		buf_printf(b, "%s0x%" PRIx64, i ? "," : "", s->backtrace[i]);
}

/* A death that came from outside (kill -9, OOM killer, operator) says nothing about the
 * call that happened to run. Ours after a hang does. */
static bool is_call_to_blame(const struct child *c, const siginfo_t *si)
{
	if (c->hung || si->si_code == CLD_EXITED)
		return true;
	return si->si_status != SIGKILL && si->si_status != SIGTERM && si->si_status != SIGINT &&
	       si->si_status != SIGHUP;
}

/* What every thread worked on: which of them it was nobody knows, and one report alone puts
 * nothing away (shm/quarantine.c). */
static void report_crumbs(struct segment *seg, struct slot *s)
{
	const struct crumb *k;
	uint64_t fingerprint;

	for (int i = 0; i < CRUMBS_PER_SLOT; i++) {
		k = &s->crumbs[i];
		if (atomic_load(&k->busy) != 1)
			continue;
		fingerprint = quarantine_fingerprint(k->method, k->principal, k->body);
		if (quarantine_report(seg, fingerprint, clock_mono_ms()))
			log_warn("call quarantined fingerprint=%016" PRIx64 " method=\"%.*s\"",
				fingerprint, (int)strnlen(k->method_name, sizeof(k->method_name)),
				k->method_name);
	}
}

static void log_death(const struct child *c, const siginfo_t *si, struct slot *s)
{
	struct buf b;

	buf_init(&b, NULL);
	buf_printf(&b, "role=%s slot=%d pid=%d generation=%u state=%s", child_role(c), c->slot_no,
		(int)c->pid, c->gen->number, child_state_name(c->state));
	add_cause(&b, c, si);
	if (s) {
		add_panic(&b, s);
		add_crumbs(&b, s);
	}
	log_err("worker died %.*s", (int)b.n, b.p);
	buf_free(&b);
}

/* Repairs come before the slot is free: what a process held bears its slot's number
 * (shm/README.md). Who crashed or was killed may have written anywhere: flights and columns from
 * before are not believed then. m->deaths is counted first; charge_budget() relies on it. */
void obituary_write(struct master *m, struct child *c, const siginfo_t *si, enum child_end end)
{
	struct segment *seg = c->gen->seg;
	struct slot *s = seg ? segment_slot(seg, c->slot_no) : NULL;
	/* with 78 it left in order, before any call, and may do so again and again */
	bool wild = end != END_LEFT && end != END_HOPELESS;
	int repaired;

	if (end == END_LEFT)
		log_info("%s left slot=%d pid=%d generation=%u", child_role(c), c->slot_no,
			(int)c->pid, c->gen->number);
	else
		log_death(c, si, s);
	m->deaths += end != END_LEFT;
	if (!seg)
		return;
	if (end != END_LEFT) {
		counter_add(seg, c->slot_no, CTR_panics, 1);
		counter_add(seg, c->slot_no, CTR_hung, c->hung);
		if (is_call_to_blame(c, si))
			report_crumbs(seg, s);
	}
	turns_repair(seg, c->slot_no);
	flights_repair(seg, c->slot_no, wild);
	repaired = keycache_repair(seg, c->slot_no) + colcache_repair(seg, c->slot_no, wild);
	if (repaired > 0)
		counter_add(seg, c->slot_no, CTR_repaired, (uint64_t)repaired);
	atomic_store(&s->pid, 0);
	atomic_store(&s->state, SLOT_FREE);
}
