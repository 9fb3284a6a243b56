/* Whose address counts: X-Forwarded-For is believed from trusted proxies only. */
#include <criterion/criterion.h>
#include "shm/options.h"
#include "worker/call/client_addr.h"
#include "worker/worker.h"

static struct options opt;
static struct worker worker = {.opt = &opt};

static const struct {
	const char *trusted, *peer, *forwarded, *second, *want;
} rows[] = {
	{"", "192.0.2.1", "198.51.100.7", NULL, "192.0.2.1"},
	{"192.0.2.0/24", "192.0.2.1", NULL, NULL, "192.0.2.1"},
	{"192.0.2.0/24", "192.0.2.1", "198.51.100.7", NULL, "198.51.100.7"},
	{"192.0.2.0/24", "192.0.2.1", "6.6.6.6, 198.51.100.7", NULL, "198.51.100.7"},
	{"192.0.2.0/24", "192.0.2.1", "198.51.100.7, 192.0.2.9", NULL, "198.51.100.7"},
	{"192.0.2.0/24", "192.0.2.1", "198.51.100.7, garbage", NULL, "192.0.2.1"},
	{"192.0.2.0/24", "192.0.2.1", "198.51.100.7", "192.0.2.4", "198.51.100.7"},
	{"192.0.2.0/24", "192.0.2.1", "198.51.100.7:4711", NULL, "198.51.100.7"},
	{"192.0.2.1", "192.0.2.1", "[2001:db8::1]:443", NULL, "2001:db8::1"},
	{"10.0.0.0/8,2001:db8::/32", "2001:db8::5", "203.0.113.1", NULL, "203.0.113.1"},
	{"192.0.2.2", "192.0.2.1", "198.51.100.7", NULL, "192.0.2.1"},
	{"192.0.2.0/33", "192.0.2.1", "198.51.100.7", NULL, "192.0.2.1"},
};

Test(client_addr, forwarded)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_request rq = {.peer = str_of(rows[i].peer)};
		struct call c = {.w = &worker, .rq = &rq};

		strcpy(opt.trusted_proxies, rows[i].trusted);
		cr_assert(client_addr_parse(rq.peer, rq.peer_addr));
		if (rows[i].forwarded)
			rq.headers[rq.n_headers++] = (struct http_header){
				STR("X-Forwarded-For"), str_of(rows[i].forwarded)};
		if (rows[i].second)
			rq.headers[rq.n_headers++] = (struct http_header){
				STR("x-forwarded-for"), str_of(rows[i].second)};
		client_addr(&c);
		cr_assert(str_eq(c.client, str_of(rows[i].want)), "row %zu: %.*s", i,
			STR_ARG(c.client));
	}
}

static struct call call_from(const char *peer)
{
	struct http_request rq = {.peer = str_of(peer)};
	struct call c = {.w = &worker, .rq = &rq};

	cr_assert(client_addr_parse(rq.peer, rq.peer_addr));
	client_addr(&c);
	return c;
}

static uint64_t hash_of(const char *peer)
{
	return call_from(peer).address_hash;
}

static uint64_t network_of(const char *peer)
{
	return call_from(peer).network_hash;
}

Test(client_addr, counts_as_32_and_64)
{
	opt.trusted_proxies[0] = '\0';
	cr_assert_neq(hash_of("192.0.2.1"), hash_of("192.0.2.2"));
	cr_assert_eq(hash_of("2001:db8::1"), hash_of("2001:db8::ffff:1"));
	cr_assert_neq(hash_of("2001:db8::1"), hash_of("2001:db8:0:1::1"));
}

/* D92: whoever killed a worker may have the whole network. */
Test(client_addr, is_blamed_as_24_and_64)
{
	opt.trusted_proxies[0] = '\0';
	cr_assert_eq(network_of("192.0.2.1"), network_of("192.0.2.254"));
	cr_assert_neq(network_of("192.0.2.1"), network_of("192.0.3.1"));
	cr_assert_eq(network_of("2001:db8::1"), network_of("2001:db8::ffff:1"));
	cr_assert_neq(network_of("2001:db8::1"), network_of("2001:db8:0:1::1"));
}

Test(client_addr, a_unix_peer_is_trusted_by_name)
{
	struct http_request rq = {.peer = STR("unix")};
	struct call c = {.w = &worker, .rq = &rq};

	strcpy(opt.trusted_proxies, "unix");
	rq.headers[rq.n_headers++] =
		(struct http_header){STR("X-Forwarded-For"), STR("198.51.100.7")};
	client_addr(&c);
	cr_assert(str_eq(c.client, STR("198.51.100.7")));
}
