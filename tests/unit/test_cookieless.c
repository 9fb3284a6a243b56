/* Cookieless identity (events-profiles.md 1.14): its vectors, and who is whom in a batch. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/options.h"
#include "shm/visitors_priv.h"
#include "worker/call/client_addr.h"
#include "worker/ingest/cookieless.h"
#include "worker/worker.h"

static struct options opt;
static struct worker worker = {.opt = &opt};
static struct arena arena;

static void setup(void)
{
	int fd = visitors_create();

	worker.visitors = visitors_map(fd);
	cr_assert_not_null(worker.visitors);
	close(fd);
	opt.trusted_proxies[0] = '\0';
	arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
	arena_free(&arena);
	visitors_unmap(worker.visitors);
}

TestSuite(cookieless, .init = setup, .fini = teardown, .timeout = 20);

static const char *text_of(const uint8_t uuid[16])
{
	static char text[37];

	str_uuid_text(uuid, text);
	return text;
}

/* ---- the contract's vectors -------------------------------------------------------- */

Test(cookieless, id_vector)
{
	struct call c = {.arena = &arena};
	uint8_t key[VISITOR_KEY_BYTES];
	char id[COOKIELESS_ID_BYTES];

	cr_assert_eq(cookieless_key(&c, (const uint8_t *)"0123456789abcdef0123456789abcdef",
			     STR("proj1"), STR("203.0.113.7"), STR("Mozilla/5.0"), key),
		0);
	cookieless_id(key, id);
	cr_assert_str_eq(id, "cookieless-vJ49ercGcgePiFBOBw8bPw");
	cr_assert_eq(strlen(id), 33);
}

Test(cookieless, session_vectors)
{
	const int64_t three = 1784516400000; /* 2026-07-20T03:00:00Z */
	uint8_t session[16];

	cookieless_fallback(STR("cookieless-abc"), three, session);
	cr_assert_str_eq(text_of(session), "9161b4ea-9e18-51a2-9181-0ffe6d5ae406");
	cookieless_fallback(STR("cookieless-abc"), three + 20 * 3600 * 1000, session);
	cr_assert_str_eq(text_of(session), "9161b4ea-9e18-51a2-9181-0ffe6d5ae406");
	cookieless_stale(STR("cookieless-abc"), three, session);
	cr_assert_str_eq(text_of(session), "b50c51c1-7c9d-57d5-9498-941f6384642e");
	cookieless_stale(STR("cookieless-abc"), three + 30 * 60 * 1000 - 1, session);
	cr_assert_str_eq(text_of(session), "b50c51c1-7c9d-57d5-9498-941f6384642e");
	cookieless_stale(STR("cookieless-abc"), three + 30 * 60 * 1000, session);
	cr_assert_str_neq(text_of(session), "b50c51c1-7c9d-57d5-9498-941f6384642e");
}

Test(cookieless, addresses)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"203.0.113.7", "203.0.113.7"},
		{" 203.0.113.7:1234 ", "203.0.113.7"},
		{"::ffff:203.0.113.7", "203.0.113.7"},
		{"2001:DB8:0:0::1", "2001:db8::1"},
		{"[2001:db8::1]:443", "2001:db8::1"},
		{"fe80::1%eth0", "fe80::1"},
		/* Whole: neighbours in a /64 are two visitors. */
		{"2001:db8::ffff:1:2:3", "2001:db8::ffff:1:2:3"},
	};
	uint8_t addr[16] = {0};
	char text[ADDRESS_TEXT_BYTES];

	cr_assert_not(cookieless_address(addr, text), "a Unix socket has none");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert(client_addr_parse(str_of(rows[i].in), addr), "%s", rows[i].in);
		cr_assert(cookieless_address(addr, text));
		cr_assert_str_eq(text, rows[i].want);
	}
	cr_assert_not(client_addr_parse(STR("203.0.113.7%eth0"), addr));
	cr_assert_not(client_addr_parse(STR("unknown"), addr));
}

/* ---- a batch ----------------------------------------------------------------------- */

struct asked {
	const char *project, *peer, *agent, *name, *value; /* one more header */
};

static const struct asked usual = {.project = "p", .peer = "203.0.113.7", .agent = "Mozilla/5.0"};

static int ask(const struct asked *a, struct call *c, struct event *events, uint32_t *n,
	uint32_t dropped[DROPS])
{
	static struct http_request rq;

	rq = (struct http_request){.peer = str_of(a->peer ? a->peer : "unix")};
	if (a->peer)
		cr_assert(client_addr_parse(rq.peer, rq.peer_addr));
	if (a->agent)
		rq.headers[rq.n_headers++] =
			(struct http_header){STR("user-agent"), str_of(a->agent)};
	if (a->name)
		rq.headers[rq.n_headers++] =
			(struct http_header){str_of(a->name), str_of(a->value)};
	*c = (struct call){.w = &worker, .rq = &rq, .arena = &arena};
	strcpy(c->who.project_id, a->project);
	client_addr(c);
	memset(dropped, 0, DROPS * sizeof(*dropped));
	return cookieless_resolve(c, events, n, dropped);
}

/* The id of one event now. */
static struct str id_of(struct asked a)
{
	struct event ev = {.cookieless = true, .time_ms = clock_real_ms()};
	uint32_t n = 1, dropped[DROPS];
	struct call c;

	cr_assert_eq(ask(&a, &c, &ev, &n, dropped), 0);
	cr_assert_eq(n, 1);
	cr_assert(ev.has_session);
	cr_assert_eq(ev.distinct_id.n, 33);
	return ev.distinct_id;
}

Test(cookieless, what_makes_an_identity)
{
	struct str one = id_of(usual);
	struct asked other = usual;

	cr_assert(str_eq(one, id_of(usual)));
	other.project = "q";
	cr_assert_not(str_eq(one, id_of(other)), "project");
	other = usual;
	other.peer = "203.0.113.8";
	cr_assert_not(str_eq(one, id_of(other)), "address");
	other = usual;
	other.agent = "Mozilla/5.1";
	cr_assert_not(str_eq(one, id_of(other)), "agent");
	other = usual;
	other.peer = "::ffff:203.0.113.7";
	cr_assert(str_eq(one, id_of(other)), "the same address in another spelling");
}

Test(cookieless, proxies_are_believed_when_trusted)
{
	static const char *const names[] = {
		"CF-Connecting-IP", "True-Client-IP", "X-Forwarded-For"};
	struct str one = id_of(usual);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct asked proxied = usual;

		proxied.peer = "10.0.0.1";
		proxied.name = names[i];
		proxied.value = "203.0.113.7";
		opt.trusted_proxies[0] = '\0';
		cr_expect_not(str_eq(one, id_of(proxied)), "%s of anybody", names[i]);
		strcpy(opt.trusted_proxies, "10.0.0.0/8");
		cr_expect(str_eq(one, id_of(proxied)), "%s of a proxy", names[i]);
		/* Nonsense falls through, at last to the peer. */
		proxied.value = "nonsense";
		cr_expect_not(str_eq(one, id_of(proxied)), "%s", names[i]);
	}
}

Test(cookieless, without_agent_or_address_the_batch_is_refused)
{
	struct event ev[2] = {{.time_ms = 5}, {.cookieless = true, .time_ms = clock_real_ms()}};
	struct asked none = usual, blank = usual, local = usual;
	uint32_t n = 2, dropped[DROPS];
	struct call c;

	none.agent = NULL;
	cr_assert_eq(ask(&none, &c, ev, &n, dropped), -1);
	cr_assert_eq(c.code, CODE_INVALID_ARGUMENT);
	cr_assert_str_eq(c.reason, "COOKIELESS_IDENTITY_UNAVAILABLE");
	blank.agent = "";
	cr_assert_eq(ask(&blank, &c, ev, &n, dropped), -1);
	local.peer = NULL;
	cr_assert_eq(ask(&local, &c, ev, &n, dropped), -1);
	cr_assert_str_eq(c.reason, "COOKIELESS_IDENTITY_UNAVAILABLE");
	/* Without cookieless events nobody asks. */
	n = 1;
	cr_assert_eq(ask(&none, &c, ev, &n, dropped), 0);
	cr_assert_eq(n, 1);
}

Test(cookieless, days_and_drops)
{
	int64_t now = clock_real_ms(), midnight = visitors_day(now) * VISIT_DAY_MS;
	const int64_t times[] = {now, midnight, midnight - 1, midnight - VISIT_DAY_MS,
		midnight - VISIT_DAY_MS - 1, midnight + VISIT_DAY_MS, 5};
	struct event ev[8] = {{.time_ms = 5, .distinct_id = STR("me")}};
	uint32_t n = 8, dropped[DROPS];
	struct call c;

	for (int i = 0; i < 7; i++)
		ev[i + 1] = (struct event){
			.cookieless = true, .time_ms = times[i], .n_props = (uint32_t)i};
	cr_assert_eq(ask(&usual, &c, ev, &n, dropped), 0);
	cr_assert_eq(n, 5);
	cr_assert_eq(dropped[DROP_DAY], 3);
	cr_assert_eq(dropped[DROP_SALT_UNAVAILABLE] + dropped[DROP_SALT_CORRUPT], 0);
	cr_assert(str_eq(ev[0].distinct_id, STR("me")), "the others are left alone");
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(ev[i + 1].n_props, i, "in their order");
	cr_assert(str_eq(ev[1].distinct_id, ev[2].distinct_id), "today");
	cr_assert(str_eq(ev[3].distinct_id, ev[4].distinct_id), "yesterday");
	cr_assert_not(str_eq(ev[1].distinct_id, ev[3].distinct_id), "midnight splits");
}

Test(cookieless, without_a_salt)
{
	struct visitors *v = worker.visitors;
	struct event ev = {.cookieless = true, .time_ms = clock_real_ms()};
	int64_t day = visitors_day(ev.time_ms);
	uint32_t n = 1, dropped[DROPS];
	struct call c;

	id_of(usual);
	v->salt[day % SALTS].word[0] ^= 1;
	cr_assert_eq(ask(&usual, &c, &ev, &n, dropped), 0);
	cr_assert(n == 0 && dropped[DROP_SALT_CORRUPT] == 1);
	worker.visitors = NULL;
	n = 1;
	cr_assert_eq(ask(&usual, &c, &ev, &n, dropped), 0);
	cr_assert(n == 0 && dropped[DROP_SALT_UNAVAILABLE] == 1);
	worker.visitors = v;
	cr_assert_str_eq(drop_tokens[DROP_DAY], "day_out_of_range");
	cr_assert_str_eq(drop_tokens[DROP_SALT_UNAVAILABLE], "salt_unavailable");
	cr_assert_str_eq(drop_tokens[DROP_SALT_CORRUPT], "salt_corrupt");
}

/* Sessions of a batch in the order of the request; `base` is today's noon or the like. */
static void sessions(struct event *ev, const int64_t *times, uint32_t n)
{
	uint32_t dropped[DROPS], left = n;
	struct call c;

	for (uint32_t i = 0; i < n; i++)
		ev[i] = (struct event){.cookieless = true, .time_ms = times[i]};
	cr_assert_eq(ask(&usual, &c, ev, &left, dropped), 0);
	cr_assert_eq(left, n);
}

static bool same(const struct event *a, const struct event *b)
{
	return memcmp(a->session, b->session, 16) == 0;
}

Test(cookieless, sessions_in_a_batch_and_its_repeat)
{
	const int64_t gap = VISIT_GAP_MS, late = visitors_day(clock_real_ms()) * VISIT_DAY_MS - 1;
	/* Yesterday, so that the day is whole. */
	const int64_t times[] = {late - 5 * gap, late - 4 * gap, late - 2 * gap, late - 9 * gap};
	struct event ev[4], again[4];
	uint8_t stale[16];

	sessions(ev, times, 4);
	cr_assert(same(&ev[0], &ev[1]), "half an hour apart");
	cr_assert_not(same(&ev[1], &ev[2]), "an hour apart");
	cookieless_stale(ev[3].distinct_id, times[3], stale);
	cr_assert_arr_eq(ev[3].session, stale, 16, "came too late");
	/* The repeat leaves the visit where it is. */
	sessions(again, times, 4);
	cr_assert(same(&ev[2], &again[2]));
	cr_assert(same(&ev[3], &again[3]));
	sessions(again, &times[2], 1);
	cr_assert(same(&ev[2], &again[0]));
}

Test(cookieless, no_room_for_a_visit)
{
	int64_t now = clock_real_ms();
	struct visitors *v = worker.visitors;
	struct event ev;
	uint8_t want[16];

	id_of(usual);
	for (int i = 0; i < VISIT_SETS; i++)
		for (int way = 0; way < VISIT_WAYS; way++) {
			v->set[i].way[way].key[0] = 1;
			v->set[i].way[way].touched_ms = (uint64_t)now;
			v->set[i].way[way].day = (uint64_t)visitors_day(now);
		}
	sessions(&ev, &now, 1);
	cookieless_fallback(ev.distinct_id, now, want);
	cr_assert_arr_eq(ev.session, want, 16);
	cr_assert_eq(ev.session[6] >> 4, 5);
}
