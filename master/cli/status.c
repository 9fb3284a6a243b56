/*
 * `pugd status`: two samples of the status page a second apart, so that there
 * are rates and percentiles of now; for methods without calls in that second
 * the percentiles are since the start. --watch repeats, --json prints the page.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "master/address.h"
#include "master/cli/cli.h"
#include "master/cli/client.h"

/* LATENCY_BUCKETS is 26, but the page may be of another release; 1 << i must fit 64 bits. */
enum { BUCKETS_MAX = 64 };

/* Two status pages, the same one twice in the first turn. */
struct view {
	const char *before, *now;
};

static void human_time(uint64_t ms, char *out, size_t n)
{
	if (ms < 1000)
		snprintf(out, n, "%" PRIu64 "ms", ms);
	else if (ms < 120000)
		snprintf(out, n, "%.1fs", (double)ms / 1e3);
	else if (ms < 7200000)
		snprintf(out, n, "%" PRIu64 "m", ms / 60000);
	else if (ms < 172800000)
		snprintf(out, n, "%" PRIu64 "h", ms / 3600000);
	else
		snprintf(out, n, "%" PRIu64 "d", ms / 86400000);
}

static void human_us(uint64_t us, char *out, size_t n)
{
	if (us < 1000)
		snprintf(out, n, "%" PRIu64 "us", us);
	else if (us < 1000000)
		snprintf(out, n, "%.1fms", (double)us / 1e3);
	else
		snprintf(out, n, "%.1fs", (double)us / 1e6);
}

static void human_bytes(uint64_t bytes, char *out, size_t n)
{
	if (bytes < 1 << 20)
		snprintf(out, n, "%.0fK", (double)bytes / 1024);
	else
		snprintf(out, n, "%.1fM", (double)bytes / (1 << 20));
}

static uint64_t number(const char *object, const char *name)
{
	return client_number(client_member(object, name));
}

static void print_head(const char *now)
{
	char version[32], state[32], error[256], up[16];

	client_text(client_member(now, "version"), version, sizeof(version));
	client_text(client_member(now, "state"), state, sizeof(state));
	client_text(client_member(now, "last_error"), error, sizeof(error));
	human_time(number(now, "uptime_ms"), up, sizeof(up));
	printf("pugd %s (pid %" PRIu64 ") %s, generation %" PRIu64 ", %" PRIu64 " workers, up %s\n",
		version, number(now, "pid"), state, number(now, "generation"),
		number(now, "ready_workers"), up);
	printf("reloads: %" PRIu64 " completed, %" PRIu64 " rejected; deaths: %" PRIu64 "\n",
		number(now, "completed"), number(now, "rejected"), number(now, "deaths"));
	if (error[0])
		printf("last reload failed: %s\n", error);
	printf("listening:");
	for (const char *l = client_first(client_member(now, "listen")); l; l = client_next(l)) {
		client_text(l, error, sizeof(error));
		printf(" %s", error);
	}
	printf("\n");
}

static void print_worker(const char *w)
{
	char role[16], state[16], beat[16], age[16], memory[16];

	client_text(client_member(w, "role"), role, sizeof(role));
	client_text(client_member(w, "state"), state, sizeof(state));
	human_time(number(w, "heartbeat_age_ms"), beat, sizeof(beat));
	human_time(number(w, "state_ms"), age, sizeof(age));
	human_bytes(number(w, "memory"), memory, sizeof(memory));
	if (number(w, "pid") == 0) {
		printf("   -        - %4" PRIu64 " %-7s %-9s %6s\n", number(w, "generation"), role,
			state, age);
		return;
	}
	printf("%4" PRIu64 " %8" PRIu64 " %4" PRIu64 " %-7s %-9s %6s %6s %6" PRIu64 " %6" PRIu64
	       " %8s %s\n",
		number(w, "slot"), number(w, "pid"), number(w, "generation"), role, state, age,
		beat, number(w, "connections"), number(w, "in_flight"), memory,
		number(w, "db_up") ? "up" : "down");
}

static void print_workers(const char *now)
{
	printf("\nslot      pid  gen role    state      since   beat  conns  calls   memory db\n");
	for (const char *w = client_first(client_member(now, "workers")); w; w = client_next(w))
		print_worker(w);
}

/* The method of the same name in the other page, or NULL. Its place may be another: methods that
 * were never called are left out. */
static const char *same_method(const char *page, const char *name)
{
	char other[128];

	for (const char *m = client_first(client_member(page, "methods")); m; m = client_next(m)) {
		client_text(client_member(m, "name"), other, sizeof(other));
		if (strcmp(other, name) == 0)
			return m;
	}
	return NULL;
}

static int read_buckets(const char *method, uint64_t out[BUCKETS_MAX])
{
	int n = 0;

	for (const char *v = client_first(client_member(method, "latency")); v && n < BUCKETS_MAX;
		v = client_next(v))
		out[n++] = client_number(v);
	return n;
}

/* Upper edge of the bucket that holds the given share of all calls. Bucket i ends at 2^i us. The
 * last one is open (shm/counters.c): what is said for it is no bound. */
static uint64_t percentile(const uint64_t *bucket, int n, double share)
{
	uint64_t total = 0, sum = 0;

	for (int i = 0; i < n; i++)
		total += bucket[i];
	for (int i = 0; i < n; i++) {
		sum += bucket[i];
		if (total > 0 && (double)sum >= share * (double)total)
			return 1ULL << i;
	}
	return 0;
}

/* in_window > calls: the counters began anew between the pages, in another segment, and the
 * difference wrapped. No rate then, and percentiles of all calls; these also where the two pages
 * have not as many buckets. */
static void print_method(const struct view *v, const char *m, double seconds)
{
	uint64_t now[BUCKETS_MAX] = {0}, then[BUCKETS_MAX] = {0}, calls, ok, in_window;
	char name[128], p50[16], p99[16];
	const char *old;
	int n;

	client_text(client_member(m, "name"), name, sizeof(name));
	old = same_method(v->before, name);
	n = read_buckets(m, now);
	calls = number(m, "calls");
	ok = client_number(client_member(client_member(m, "codes"), "ok"));
	in_window = calls - number(old, "calls");
	if (old && in_window > 0 && in_window <= calls && read_buckets(old, then) == n)
		for (int i = 0; i < n; i++)
			now[i] -= then[i];
	human_us(percentile(now, n, 0.50), p50, sizeof(p50));
	human_us(percentile(now, n, 0.99), p99, sizeof(p99));
	printf("%-52s %10" PRIu64 " %9.1f %9" PRIu64 " %8s %8s\n", name, calls,
		seconds > 0 && in_window <= calls ? (double)in_window / seconds : 0.0,
		calls > ok ? calls - ok : 0, p50, p99);
}

static void print_methods(const struct view *v)
{
	double seconds = (double)(number(v->now, "time_ms") - number(v->before, "time_ms")) / 1e3;
	const char *m = client_first(client_member(v->now, "methods"));

	printf("\n%-52s %10s %9s %9s %8s %8s\n", "method", "calls", "calls/s", "failed",
		"p50 <=", "p99 <=");
	if (!m)
		printf("(no calls yet)\n");
	for (; m; m = client_next(m))
		print_method(v, m, seconds);
}

/* What a master of another release does not tell is 0 (client_number). */
static void print_counters(const char *now)
{
	const char *c = client_member(now, "counters");
	uint64_t hits = number(c, "key_hits"), all = hits + number(c, "key_misses");

	printf("\nkey cache: %" PRIu64 " hits, %" PRIu64 " misses (%.1f%% hits), %" PRIu64
	       " known wrong\n",
		hits, number(c, "key_misses"), all ? 100.0 * (double)hits / (double)all : 0.0,
		number(c, "key_denied"));
	printf("limits: %" PRIu64 " refused; quarantine: %" PRIu64 " refused; "
	       "shared slots repaired: %" PRIu64 "\n",
		number(c, "limited"), number(c, "quarantined"), number(c, "repaired"));
	printf("events: %" PRIu64 " accepted, %" PRIu64 " new, %" PRIu64 " dropped; "
	       "database: %" PRIu64 " statements, %" PRIu64 " failed\n",
		number(c, "events_accepted"), number(c, "events_created"),
		number(c, "events_dropped"), number(c, "db_queries"), number(c, "db_errors"));
	printf("mail: %" PRIu64 " sent, %" PRIu64 " attempts failed, %" PRIu64 " given up\n",
		number(c, "mails_sent"), number(c, "mails_failed"), number(c, "mails_dead"));
}

static void print_unsealed(const char *now)
{
	const char *t = client_member(now, "unsealed");
	char age[16];

	if (!client_member(t, "events"))
		return; /* nobody has counted yet */
	human_time(number(t, "oldest_ms"), age, sizeof(age));
	printf("waiting to be sealed: %" PRIu64 " events, the oldest for %s%s\n",
		number(t, "events"), age, number(t, "over_budget") ? ": too much or too long" : "");
}

static void print_limits(const char *now)
{
	char name[16], per[16], rate[48];

	printf("\n%-10s %20s %12s %9s\n", "limit", "rate", "burst", "refused");
	for (const char *l = client_first(client_member(now, "limits")); l; l = client_next(l)) {
		client_text(client_member(l, "name"), name, sizeof(name));
		client_text(client_member(l, "per"), per, sizeof(per));
		snprintf(rate, sizeof(rate), "%" PRIu64 "/%s", number(l, "rate"), per);
		printf("%-10s %20s %12" PRIu64 " %9" PRIu64 "\n", name,
			number(l, "rate") ? rate : "off", number(l, "burst"), number(l, "refused"));
	}
}

static void print_quarantine(const char *now)
{
	char fingerprint[32], left[16];

	for (const char *q = client_first(client_member(now, "quarantine")); q;
		q = client_next(q)) {
		client_text(client_member(q, "fingerprint"), fingerprint, sizeof(fingerprint));
		human_time(number(q, "remaining_ms"), left, sizeof(left));
		printf("in quarantine: %s after %" PRIu64 " deaths, for another %s\n", fingerprint,
			number(q, "deaths"), left);
	}
}

static void print_view(const struct view *v)
{
	print_head(v->now);
	print_workers(v->now);
	print_methods(v);
	print_counters(v->now);
	print_unsealed(v->now);
	print_limits(v->now);
	print_quarantine(v->now);
	fflush(stdout);
}

static void wait_second(void)
{
	const struct timespec second = {.tv_sec = 1};

	nanosleep(&second, NULL);
}

/* Once, or until it is interrupted or the server is gone. The pages take turns: what was shown
 * is the next one's `before`. */
static int show(const char *address, bool watch)
{
	struct buf page[2];
	int turn = 0;
	bool ok;

	buf_init(&page[0], NULL);
	buf_init(&page[1], NULL);
	ok = client_ask(address, "GET /status.json", &page[0]);
	do {
		wait_second();
		turn = !turn;
		page[turn].n = 0;
		ok = ok && client_ask(address, "GET /status.json", &page[turn]);
		if (!ok)
			break;
		if (watch)
			printf("\033[H\033[2J");
		print_view(&(struct view){page[!turn].p, page[turn].p});
	} while (watch);
	buf_free(&page[0]);
	buf_free(&page[1]);
	return ok ? 0 : 1;
}

static int show_json(const char *address)
{
	struct buf b;
	bool ok;

	buf_init(&b, NULL);
	ok = client_ask(address, "GET /status.json", &b);
	if (ok)
		fputs(b.p, stdout);
	buf_free(&b);
	return ok ? 0 : 1;
}

/* --admin is read by client_address(), here it is only known. */
int cli_status(struct args *a)
{
	char address[ADDRESS_TEXT];
	bool watch = false, json = false;

	for (int i = 1; i < a->rest_count; i++) {
		if (strcmp(a->rest[i], "--watch") == 0)
			watch = true;
		else if (strcmp(a->rest[i], "--json") == 0)
			json = true;
		else if (strcmp(a->rest[i], "--admin") == 0 && i + 1 < a->rest_count)
			i++;
		else {
			fprintf(stderr,
				"usage: pugd status [--watch] [--json] [--admin ADDRESS]\n");
			return 2;
		}
	}
	if (!client_address(a, address, sizeof(address)))
		return 1;
	return json ? show_json(address) : show(address, watch);
}
