/*
 * Step 3: who calls too much is refused before anything is decoded (D8, D83).
 * Public methods are charged to the client's address, API keys to the key and
 * its project, people to the person (by authn), guesses to who guesses. Buckets are per host, in
 * shared memory.
 */
#include "shm/base/hash.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/call/crumb.h"
#include "worker/call/limit.h"
#include "worker/worker.h"

/* Distinct per kind, so that a key and a person never share a bucket. */
enum bucket_kind {
	BUCKET_ADDRESS = 1,
	BUCKET_KEY,
	BUCKET_PROJECT,
	BUCKET_CUSTOMER,
	BUCKET_EVENTS,
	BUCKET_SIGNIN,
	BUCKET_GUESS,
	BUCKET_LINK
};

static uint64_t bucket(enum bucket_kind kind, const void *id, size_t n)
{
	uint64_t part[2] = {(uint64_t)kind, hash_64(id, n)};

	return hash_64(part, sizeof(part));
}

/* rate is per second times 1000. */
static struct limit scaled(const struct call *c, int64_t rate, int64_t burst)
{
	uint64_t scale = (uint64_t)c->w->opt->limit_scale;

	return (struct limit){(uint64_t)rate * scale, (uint64_t)burst * scale};
}

/* The names that refuse() is called with; `pugd status` shows the counters. */
static void count_refusal(struct call *c, const char *name)
{
	static const struct {
		const char *name;
		enum counter counter;
	} all[] = {
		{"key", CTR_limited_key},
		{"project", CTR_limited_project},
		{"events", CTR_limited_events},
		{"customer", CTR_limited_customer},
		{"address", CTR_limited_address},
		{"account", CTR_limited_account},
		{"mailbox", CTR_limited_mailbox},
	};

	counter_add(c->w->seg, c->w->slot_no, CTR_limited, 1);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, name) == 0)
			counter_add(c->w->seg, c->w->slot_no, all[i].counter, 1);
}

static int refuse(struct call *c, const char *name, const struct limit_state *state)
{
	count_refusal(c, name);
	c->retry_ms = state->retry_ms ? state->retry_ms : 1000;
	return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
		"rate limit of this %s exceeded, retry later", name);
}

/* A cost above the burst could never be admitted: it takes all of the burst instead. Headers tell
 * of the charge also when it was refused. */
static int charge(struct call *c, const char *name, uint64_t hash, struct limit lim, uint64_t cost)
{
	struct limit_state state = {0, 0, 0};
	bool ok;

	if (lim.rate == 0 || !c->w->seg)
		return 0;
	ok = ratelimit_take(c->w->seg, hash, lim, cost < lim.burst ? cost : lim.burst, &state);
	if (c->n_limits < CALL_LIMITS)
		c->limits[c->n_limits++] = (struct limit_note){name, lim, state};
	return ok ? 0 : refuse(c, name, &state);
}

static struct limit address_limit(const struct call *c)
{
	const struct options *o = c->w->opt;

	return scaled(c, o->limit_address_rate * 1000, o->limit_address_burst);
}

/* By the method's rate class: what hashes a password or sends a mail may be called a
 * fifth as often. Events and insights have limits of their own. */
static uint64_t cost(const struct call *c)
{
	return c->method && c->method->rate == PB_RATE_AUTH ? 5 : 1;
}

static int charge_address(struct call *c)
{
	return charge(c, "address",
		bucket(BUCKET_ADDRESS, &c->address_hash, sizeof(c->address_hash)), address_limit(c),
		cost(c));
}

int limit_customer(struct call *c)
{
	const struct options *o = c->w->opt;
	struct limit lim = scaled(c, o->limit_customer_rate * 1000, o->limit_customer_burst);
	struct str id = str_of(c->who.customer_id);

	return charge(c, "customer", bucket(BUCKET_CUSTOMER, id.p, id.n), lim, cost(c));
}

/* What the project's limit refuses was charged to the key all the same. */
static int charge_key(struct call *c)
{
	const struct options *o = c->w->opt;
	struct limit key = scaled(c, o->limit_key_rate * 1000, o->limit_key_burst);
	struct limit project = scaled(c, o->limit_project_rate * 1000, o->limit_project_burst);
	struct str id = str_of(c->who.key_id);

	if (charge(c, "key", bucket(BUCKET_KEY, id.p, id.n), key, 1) < 0)
		return -1;
	return charge(c, "project", bucket(BUCKET_PROJECT, &c->who.project, sizeof(c->who.project)),
		project, 1);
}

int call_limit(struct call *c)
{
	crumb_fill(c);
	if (crumb_quarantine(c) < 0)
		return -1;
	switch (c->who.kind) {
	case WHO_NOBODY:
		return charge_address(c);
	case WHO_CUSTOMER:
		return 0; /* authn has charged */
	case WHO_PUBLIC_KEY:
	case WHO_PRIVATE_KEY:
		return charge_key(c);
	}
	return 0;
}

int limit_events(struct call *c, uint64_t n)
{
	const struct options *o = c->w->opt;
	struct limit lim = scaled(c, o->limit_project_events * 1000, o->limit_project_events_burst);

	return charge(c, "events", bucket(BUCKET_EVENTS, &c->who.project, sizeof(c->who.project)),
		lim, n);
}

/* Accounts compare case-insensitively (D57); the ASCII fold is enough, because
 * the e-mail rule admits ASCII only. */
static uint64_t mailbox(enum bucket_kind kind, struct str email)
{
	uint64_t h = (uint64_t)kind;

	for (size_t i = 0; i < email.n; i++) {
		unsigned char ch = (unsigned char)email.p[i];

		if (ch >= 'A' && ch <= 'Z')
			ch = (unsigned char)(ch + ('a' - 'A'));
		h = (h ^ ch) * UINT64_C(0x100000001b3);
	}
	return bucket(kind, &h, sizeof(h));
}

/* n in so many seconds, as thousandths per second; never down to "unlimited". */
static struct limit slow(const struct call *c, int64_t n, int64_t seconds, int64_t burst)
{
	int64_t rate = n * 1000 / seconds;

	return scaled(c, rate == 0 && n > 0 ? 1 : rate, burst);
}

static struct limit signin_limit(const struct call *c)
{
	const struct options *o = c->w->opt;

	return slow(c, o->limit_signin_per_minute, 60, o->limit_signin_burst);
}

static uint64_t account(struct str email)
{
	return mailbox(BUCKET_SIGNIN, email);
}

int limit_signin_check(struct call *c, struct str email)
{
	struct limit lim = signin_limit(c);
	struct limit_state state = {0, 0, 0};

	if (lim.rate == 0 || !c->w->seg ||
		ratelimit_peek(c->w->seg, account(email), lim, 1, &state))
		return 0;
	return refuse(c, "account", &state);
}

int limit_signin_charge(struct call *c, struct str email)
{
	struct limit lim = signin_limit(c);
	struct limit_state state = {0, 0, 0};

	if (lim.rate == 0 || !c->w->seg ||
		ratelimit_take(c->w->seg, account(email), lim, 1, &state))
		return 0;
	return refuse(c, "account", &state);
}

int limit_link(struct call *c, struct str email)
{
	const struct options *o = c->w->opt;

	return charge(c, "mailbox", mailbox(BUCKET_LINK, email),
		slow(c, o->limit_link_per_hour, 3600, o->limit_link_burst), 1);
}

/* A bucket of its own, as large as that of public calls: an SDK with a revoked
 * key must not lock its office out of the dashboard. */
static uint64_t guesser(const struct call *c)
{
	return bucket(BUCKET_GUESS, &c->address_hash, sizeof(c->address_hash));
}

int limit_guess_take(struct call *c)
{
	struct limit lim = address_limit(c);
	struct limit_state state = {0, 0, 0};

	if (lim.rate == 0 || !c->w->seg || ratelimit_take(c->w->seg, guesser(c), lim, 1, &state))
		return 0;
	return refuse(c, "address", &state);
}

void limit_guess_give(struct call *c)
{
	if (c->w->seg)
		ratelimit_give(c->w->seg, guesser(c), address_limit(c), 1);
}

/* The window is the time in which an empty bucket fills: burst / rate. */
static uint64_t window_s(struct limit lim)
{
	uint64_t w = lim.burst * 1000 / lim.rate;

	return w == 0 ? 1 : w;
}

static void put_limit(struct buf *out, const char *name, const char *first, uint64_t a,
	const char *second, uint64_t b)
{
	buf_c(out, '"');
	buf_z(out, name);
	buf_z(out, first);
	buf_u64(out, a);
	buf_z(out, second);
	buf_u64(out, b);
}

/* Without printf(): this is on every answer. */
void limit_headers(const struct call *c, struct buf *out)
{
	if (c->n_limits == 0)
		return;
	buf_z(out, "RateLimit-Policy: ");
	for (unsigned i = 0; i < c->n_limits; i++) {
		const struct limit_note *n = &c->limits[i];

		buf_z(out, i ? ", " : "");
		put_limit(out, n->name, "\";q=", n->limit.burst, ";w=", window_s(n->limit));
	}
	buf_z(out, "\r\nRateLimit: ");
	for (unsigned i = 0; i < c->n_limits; i++) {
		const struct limit_note *n = &c->limits[i];

		buf_z(out, i ? ", " : "");
		put_limit(out, n->name, "\";r=", n->state.remaining,
			";t=", (n->state.reset_ms + 999) / 1000);
	}
	buf_z(out, "\r\n");
}
