/*
 * Token = base64url(payload, first 16 bytes of HMAC-SHA256 over method, project
 * and payload). Tokens of the previous credential file are still taken.
 */
#include "proto/base64.h"
#include "shm/base/hash.h"
#include "worker/call/keys.h"
#include "worker/rpc/page.h"
#include "worker/worker.h"

enum { MAC_BYTES = 16 };

/* False without such a key. What stands before the payload holds no NUL, so no other method or
 * project signs the same bytes. The path is the canonical one: tokens made under an alias count
 * under both. */
static bool sign(
	struct call *c, bool previous, const void *payload, size_t n, uint8_t mac[MAC_BYTES])
{
	uint8_t key[KEY_BYTES], full[32];
	struct buf b;
	bool ok;

	if (!keys_derive(c->w->opt, KEY_PAGE_TOKEN, previous, key))
		return false;
	buf_init(&b, c->arena);
	buf_z(&b, c->method->path);
	buf_c(&b, '\0');
	buf_z(&b, c->who.project_id);
	buf_c(&b, '\0');
	buf_add(&b, payload, n);
	ok = !b.over;
	if (ok)
		hash_hmac(key, sizeof(key), b.p, b.n, full);
	if (ok)
		memcpy(mac, full, MAC_BYTES);
	explicit_bzero(key, sizeof(key));
	return ok;
}

char *page_token(struct call *c, const void *payload, size_t n)
{
	uint8_t raw[PAGE_PAYLOAD_MAX + MAC_BYTES];
	char *text = call_alloc(c, base64_encoded_len(n + MAC_BYTES, false) + 1);

	if (!text || n > PAGE_PAYLOAD_MAX)
		return NULL;
	memcpy(raw, payload, n);
	if (!sign(c, false, payload, n, raw + n)) {
		(void)call_fail(c, CODE_INTERNAL, NULL, "page tokens need a credential file");
		return NULL;
	}
	base64_encode_url(raw, n + MAC_BYTES, text);
	return text;
}

static bool authentic(struct call *c, const uint8_t *raw, size_t n)
{
	struct str given = {(const char *)raw + n, MAC_BYTES};
	uint8_t mac[MAC_BYTES];

	for (int previous = 0; previous <= 1; previous++)
		if (sign(c, previous, raw, n, mac) &&
			str_secret_eq(given, (struct str){(const char *)mac, MAC_BYTES}))
			return true;
	return false;
}

static int forged(struct call *c)
{
	return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_PAGE_TOKEN",
		"page_token was not made by this method for this project");
}

int page_payload_upto(struct call *c, struct str token, void *payload, size_t max, size_t *n)
{
	uint8_t raw[PAGE_PAYLOAD_MAX + MAC_BYTES + 3];
	size_t got = 0;

	/* the length is checked first: the buffer holds no longer one */
	if (max > PAGE_PAYLOAD_MAX || token.n > base64_encoded_len(max + MAC_BYTES, false) ||
		!base64_decode(token, raw, &got) || got < MAC_BYTES || got - MAC_BYTES > max ||
		!authentic(c, raw, got - MAC_BYTES))
		return forged(c);
	*n = got - MAC_BYTES;
	memcpy(payload, raw, *n);
	return 0;
}

int page_payload(struct call *c, struct str token, void *payload, size_t n)
{
	uint8_t raw[PAGE_PAYLOAD_MAX];
	size_t got;

	if (page_payload_upto(c, token, raw, n, &got) < 0)
		return -1;
	if (got != n)
		return forged(c);
	memcpy(payload, raw, n);
	return 0;
}
