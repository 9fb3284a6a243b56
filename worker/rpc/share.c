/* Tokens of shared dashboards: see share.h. */
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "worker/call/seal.h"
#include "worker/rpc/share.h"
#include "worker/worker.h"

void share_hash(struct str text, uint8_t out[SHARE_HASH])
{
	hash_sha256(text.p, text.n, out);
}

int share_make(struct call *c, struct str dashboard, struct share *out)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t random[SHARE_TEXT / 2];
	char text[SHARE_TEXT];

	hash_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++) {
		text[2 * i] = digits[random[i] >> 4];
		text[2 * i + 1] = digits[random[i] & 15];
	}
	share_hash((struct str){text, sizeof(text)}, out->hash);
	out->sealed = seal_make(
		c->w->opt, KEY_SHARE, dashboard, (struct str){text, sizeof(text)}, c->arena);
	explicit_bzero(random, sizeof(random));
	explicit_bzero(text, sizeof(text));
	if (out->sealed.p)
		return 0;
	return call_fail(c, CODE_FAILED_PRECONDITION, NULL,
		"is_public: this server has no key to make links with");
}

char *share_text(struct call *c, struct str dashboard, struct str sealed)
{
	struct str text = seal_open(c->w->opt, KEY_SHARE, dashboard, sealed, c->arena, NULL);

	if (!text.p)
		log_warn("share link cannot be opened dashboard=%.*s", STR_ARG(dashboard));
	/* The bytes are the arena's: only struct str calls them const. */
	return (char *)(uintptr_t)text.p;
}
