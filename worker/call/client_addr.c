/*
 * The client's address. X-Forwarded-For is what anybody may write, so it counts
 * only when the peer is a trusted proxy, and then the rightmost address that no
 * trusted proxy has: everything left of it was said by a stranger.
 */
#include <arpa/inet.h>
#include <string.h>
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/call/client_addr.h"
#include "worker/worker.h"

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t unix_peer[16];

static bool is_v4(const uint8_t addr[16])
{
	return memcmp(addr, v4_prefix, sizeof(v4_prefix)) == 0;
}

/* Without "[", "]" and ":port": proxies write addresses in all those ways. */
static struct str bare(struct str s)
{
	long colon = str_find(s, ':'), end;

	if (s.n > 0 && s.p[0] == '[') {
		end = str_find(s, ']');
		return end < 0 ? s : (struct str){s.p + 1, (size_t)end - 1};
	}
	if (colon >= 0 && memchr(s.p + colon + 1, ':', s.n - (size_t)colon - 1) == NULL)
		return (struct str){s.p, (size_t)colon};
	return s;
}

bool client_addr_parse(struct str text, uint8_t addr[16])
{
	char z[INET6_ADDRSTRLEN];
	struct str s = bare(str_trim(text));
	long zone = str_find(s, '%');

	/* "fe80::1%eth0": which link it was is the proxy's affair. */
	if (zone > 0 && str_find(s, ':') >= 0)
		s.n = (size_t)zone;

	if (s.n == 0 || s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	if (inet_pton(AF_INET6, z, addr) == 1)
		return true;
	memcpy(addr, v4_prefix, sizeof(v4_prefix));
	return inet_pton(AF_INET, z, addr + 12) == 1;
}

static bool prefix_eq(const uint8_t a[16], const uint8_t b[16], unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

/* All addresses are 16 bytes: the prefix of an IPv4 entry begins behind the 96 bits of mapping. */
static bool in_network(const uint8_t addr[16], struct str entry)
{
	long slash = str_find(entry, '/');
	uint8_t net[16];
	uint64_t bits = 128;
	struct str host = entry;

	if (str_eq(entry, STR("unix")))
		return memcmp(addr, unix_peer, 16) == 0;
	if (slash >= 0)
		host = (struct str){entry.p, (size_t)slash};
	if (!client_addr_parse(host, net))
		return false;
	if (slash >= 0) {
		if (!str_u64((struct str){entry.p + slash + 1, entry.n - (size_t)slash - 1}, &bits))
			return false;
		bits += is_v4(net) ? 96 : 0;
	}
	return bits <= 128 && prefix_eq(addr, net, (unsigned)bits);
}

bool client_addr_in(const uint8_t addr[16], struct str list)
{
	size_t i = 0, start;

	while (i < list.n) {
		start = i;
		while (i < list.n && !strchr(" ,\t", list.p[i]))
			i++;
		if (i > start && in_network(addr, (struct str){list.p + start, i - start}))
			return true;
		i++;
	}
	return false;
}

/* In development mode loopback is a trusted proxy (D59). */
static bool trusted(const struct options *opt, const uint8_t addr[16])
{
	return client_addr_in(addr, str_of(opt->trusted_proxies)) ||
	       (opt->dev && client_addr_in(addr, STR("127.0.0.0/8 ::1 unix")));
}

bool client_addr_trusted(const struct call *c)
{
	return trusted(c->w->opt, c->rq->peer_addr);
}

/* Walks one header from its right end; true when the walk is over. */
static bool walk(struct call *c, struct str list)
{
	uint8_t addr[16];
	size_t end = list.n, i;
	struct str item;

	while (end > 0) {
		for (i = end; i > 0 && list.p[i - 1] != ','; i--)
			;
		item = str_trim((struct str){list.p + i, end - i});
		if (!client_addr_parse(item, addr))
			return true; /* nonsense: the last good hop answers for it */
		memcpy(c->client_addr, addr, 16);
		c->client = bare(item);
		if (!trusted(c->w->opt, addr))
			return true;
		end = i > 0 ? i - 1 : 0;
	}
	return false;
}

/* /32 and /64 (D83): whoever has one IPv6 address has 2^64 of them. */
static uint64_t address_hash(const uint8_t addr[16])
{
	return hash_64(addr, is_v4(addr) ? 16 : 8) | 1;
}

/* /24 and /64 (D92): whoever kills workers must not begin anew with the next address. */
static uint64_t network_hash(const uint8_t addr[16])
{
	return hash_64(addr, is_v4(addr) ? 15 : 8) | 1;
}

void client_addr(struct call *c)
{
	const struct http_request *rq = c->rq;

	c->client = rq->peer;
	memcpy(c->client_addr, rq->peer_addr, 16);
	if (trusted(c->w->opt, rq->peer_addr))
		for (unsigned i = rq->n_headers; i-- > 0;)
			if (str_case_eq(rq->headers[i].name, STR("x-forwarded-for")) &&
				walk(c, rq->headers[i].value))
				break;
	c->address_hash = address_hash(c->client_addr);
	c->network_hash = network_hash(c->client_addr);
}
