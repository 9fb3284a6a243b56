/*
 * See cookieless.h. What is stored of a visitor is a keyed digest: nobody can try
 * addresses against it once the key, the salt of the day, is gone.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/base64.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/segment.h"
#include "worker/call/client_addr.h"
#include "worker/ingest/cookieless.h"
#include "worker/worker.h"

enum {
	/* For a whole batch. What a process killed in mid-write left is mended within some
	 * milliseconds; one that was stopped is not waited for. */
	SALT_WAIT_MS = 200,
	VISIT_WAIT_MS = 50,
	SALT_DAYS = 2
};

#define PREFIX "cookieless-"

const char *const drop_tokens[DROPS] = {
	[DROP_DAY] = "day_out_of_range",
	[DROP_SALT_UNAVAILABLE] = "salt_unavailable",
	[DROP_SALT_CORRUPT] = "salt_corrupt",
	[DROP_EXPIRED] = "retention_expired",
};

/* 5a1e8e1e-7d5a-4f3b-9c2e-0c00c1e55e55, the namespace of the sessions without a visit. */
static const uint8_t session_space[16] = {0x5a, 0x1e, 0x8e, 0x1e, 0x7d, 0x5a, 0x4f, 0x3b, 0x9c,
	0x2e, 0x0c, 0x00, 0xc1, 0xe5, 0x5e, 0x55};

/* What the visitor is called on one day; made when the first event of the day needs it. */
struct pseudonym {
	bool known;
	enum drop drop; /* DROPS: none */
	uint8_t key[VISITOR_KEY_BYTES];
	struct str id; /* in the call's arena, like all text of an event */
};

struct resolver {
	struct call *c;
	int64_t today;
	struct str agent;
	char address[ADDRESS_TEXT_BYTES];
	struct pseudonym day[SALT_DAYS]; /* yesterday, today */
	int salt_ms, visit_ms;           /* waited so far */
	uint8_t fresh[16];               /* a session nobody has yet; all zero: make one */
};

/* ---- the parts ------------------------------------------------------------------ */

bool cookieless_address(const uint8_t addr[16], char text[ADDRESS_TEXT_BYTES])
{
	static const uint8_t none[16], v4[12] = {[10] = 0xff, [11] = 0xff};

	if (memcmp(addr, none, sizeof(none)) == 0)
		return false;
	if (memcmp(addr, v4, sizeof(v4)) == 0)
		return inet_ntop(AF_INET, addr + 12, text, ADDRESS_TEXT_BYTES) != NULL;
	return inet_ntop(AF_INET6, addr, text, ADDRESS_TEXT_BYTES) != NULL;
}

int cookieless_key(struct call *c, const uint8_t salt[SALT_BYTES], struct str project,
	struct str address, struct str agent, uint8_t key[VISITOR_KEY_BYTES])
{
	size_t n = project.n + 1 + address.n + 1 + agent.n;
	char *text = call_alloc(c, n), *p = text;
	uint8_t digest[32];

	if (!text)
		return -1;
	memcpy(p, project.p, project.n);
	p += project.n;
	*p++ = '\0';
	memcpy(p, address.p, address.n);
	p += address.n;
	*p++ = '\0';
	memcpy(p, agent.p, agent.n);
	hash_hmac(salt, SALT_BYTES, text, n, digest);
	memcpy(key, digest, VISITOR_KEY_BYTES);
	return 0;
}

void cookieless_id(const uint8_t key[VISITOR_KEY_BYTES], char id[COOKIELESS_ID_BYTES])
{
	memcpy(id, PREFIX, sizeof(PREFIX) - 1);
	id[sizeof(PREFIX) - 1 +
		base64_encode_url(key, VISITOR_KEY_BYTES, id + sizeof(PREFIX) - 1)] = '\0';
}

static void day_text(int64_t time_ms, char text[9])
{
	time_t at = (time_t)(visitors_day(time_ms) * (VISIT_DAY_MS / 1000));
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(text, 9, "%Y%m%d", &tm);
}

void cookieless_fallback(struct str id, int64_t time_ms, uint8_t session[16])
{
	char name[COOKIELESS_ID_BYTES + 16], day[9];
	int n;

	day_text(time_ms, day);
	n = snprintf(name, sizeof(name), "%.*s|%s", STR_ARG(id), day);
	hash_uuid5(session_space, name, (size_t)n, session);
}

void cookieless_stale(struct str id, int64_t time_ms, uint8_t session[16])
{
	/* The day first, so that the remainder is never negative. */
	int64_t midnight = visitors_day(time_ms) * VISIT_DAY_MS;
	int64_t start = time_ms - (time_ms - midnight) % VISIT_GAP_MS;
	char name[COOKIELESS_ID_BYTES + 48], day[9];
	int n;

	day_text(time_ms, day);
	n = snprintf(name, sizeof(name), "%.*s|%s|w%lld", STR_ARG(id), day, (long long)start);
	hash_uuid5(session_space, name, (size_t)n, session);
}

/* ---- the request ---------------------------------------------------------------- */

/* Proxies say whom they serve; whoever is no trusted proxy is the visitor (D83). */
static bool find_address(struct resolver *r)
{
	static const char *const names[] = {"cf-connecting-ip", "true-client-ip"};
	const struct call *c = r->c;
	uint8_t addr[16];

	for (size_t i = 0; client_addr_trusted(c) && i < sizeof(names) / sizeof(names[0]); i++)
		if (client_addr_parse(http_header_get(c->rq, str_of(names[i])), addr) &&
			cookieless_address(addr, r->address))
			return true;
	return cookieless_address(c->client_addr, r->address);
}

/* One cookieless event refuses the whole batch, events with consent included (1.14). */
static int find_visitor(struct resolver *r)
{
	r->agent = str_trim(http_header_get(r->c->rq, STR("user-agent")));
	if (r->agent.n == 0)
		return call_fail(r->c, CODE_INVALID_ARGUMENT, "COOKIELESS_IDENTITY_UNAVAILABLE",
			"cookieless events need a User-Agent header");
	if (!find_address(r))
		return call_fail(r->c, CODE_INVALID_ARGUMENT, "COOKIELESS_IDENTITY_UNAVAILABLE",
			"cookieless events need a client address");
	return 0;
}

/* ---- the pseudonym --------------------------------------------------------------- */

static const enum drop drop_of[] = {
	[SALT_FOUND] = DROPS,
	[SALT_BUSY] = DROP_SALT_UNAVAILABLE,
	[SALT_CORRUPT] = DROP_SALT_CORRUPT,
	[SALT_DAY] = DROP_DAY,
};

static int wait_salt(struct resolver *r, int64_t day, uint8_t salt[SALT_BYTES], enum drop *drop)
{
	enum salt_found found = SALT_BUSY;
	struct visitors *v = r->c->w->visitors;

	while (v && found == SALT_BUSY) {
		/* The clock of this moment: a salt must not outlive its days by our waiting. */
		found = visitors_salt(v, day, clock_real_ms(), salt);
		if (found != SALT_BUSY || ++r->salt_ms > SALT_WAIT_MS)
			break;
		if (call_sleep(r->c, 1) < 0)
			return -1;
	}
	*drop = drop_of[found];
	return 0;
}

static int make_pseudonym(struct resolver *r, int64_t day, struct pseudonym *p)
{
	char *id = call_alloc(r->c, COOKIELESS_ID_BYTES);
	uint8_t salt[SALT_BYTES];
	int rc;

	p->known = true;
	if (!id || wait_salt(r, day, salt, &p->drop) < 0)
		return -1;
	if (p->drop != DROPS)
		return 0;
	rc = cookieless_key(
		r->c, salt, str_of(r->c->who.project_id), str_of(r->address), r->agent, p->key);
	explicit_bzero(salt, sizeof(salt));
	if (rc < 0)
		return -1;
	cookieless_id(p->key, id);
	p->id = str_of(id);
	return 0;
}

/* ---- the session ----------------------------------------------------------------- */

static void make_fresh(struct resolver *r)
{
	static const uint8_t none[16];

	if (memcmp(r->fresh, none, sizeof(none)) == 0)
		hash_uuid4(r->fresh);
}

static void without_visit(struct call *c, struct event *ev)
{
	cookieless_fallback(ev->distinct_id, ev->time_ms, ev->session);
	if (c->w->seg)
		counter_add(c->w->seg, c->w->slot_no, CTR_visits_full, 1);
}

/* c->w->visitors is there, because the salt came from it (wait_salt()). */
static int find_session(struct resolver *r, const struct pseudonym *p, struct event *ev)
{
	enum visit_found found = VISIT_BUSY;
	struct visit visit = {.time_ms = ev->time_ms};

	memcpy(visit.key, p->key, sizeof(visit.key));
	make_fresh(r);
	memcpy(visit.fresh, r->fresh, sizeof(visit.fresh));
	while (found == VISIT_BUSY) {
		visit.now_ms = clock_real_ms();
		found = visitors_visit(r->c->w->visitors, &visit);
		if (found != VISIT_BUSY || ++r->visit_ms > VISIT_WAIT_MS)
			break;
		if (call_sleep(r->c, 1) < 0)
			return -1;
	}
	if (found == VISIT_NEW)
		memset(r->fresh, 0, sizeof(r->fresh));
	if (found == VISIT_KNOWN || found == VISIT_NEW)
		memcpy(ev->session, visit.session, sizeof(ev->session));
	else if (found == VISIT_STALE)
		cookieless_stale(ev->distinct_id, ev->time_ms, ev->session);
	else
		without_visit(r->c, ev);
	ev->has_session = true;
	return 0;
}

/* *drop: DROPS when the event stays. In a batch around midnight each event gets the pseudonym of
 * its own day (1.14). */
static int resolve(struct resolver *r, struct event *ev, enum drop *drop)
{
	int64_t day = visitors_day(ev->time_ms);
	struct pseudonym *p;

	*drop = DROP_DAY;
	if (day != r->today && day != r->today - 1)
		return 0;
	p = &r->day[day == r->today];
	if (!p->known && make_pseudonym(r, day, p) < 0)
		return -1;
	*drop = p->drop;
	if (p->drop != DROPS)
		return 0;
	ev->distinct_id = p->id;
	return find_session(r, p, ev);
}

int cookieless_resolve(struct call *c, struct event *events, uint32_t *n, uint32_t dropped[DROPS])
{
	struct resolver r = {.c = c, .today = visitors_day(clock_real_ms())};
	uint32_t kept = 0, any = 0;
	enum drop drop;

	for (uint32_t i = 0; i < *n; i++)
		any += events[i].cookieless;
	if (any == 0)
		return 0;
	if (find_visitor(&r) < 0)
		return -1;
	for (uint32_t i = 0; i < *n; i++) {
		drop = DROPS;
		if (events[i].cookieless && resolve(&r, &events[i], &drop) < 0)
			return -1;
		if (drop != DROPS)
			dropped[drop]++;
		else
			events[kept++] = events[i];
	}
	*n = kept;
	return 0;
}
