/* See link.h. */
#include "worker/rpc/link.h"

#include "shm/base/hash.h"
#include "worker/call/seal.h"
#include "worker/worker.h"

void link_hash(const char *text, uint8_t hash[32])
{
	hash_sha256(text, strlen(text), hash);
}

bool link_possible(const struct options *opt)
{
	return opt->mail_url[0] || opt->mail_dir[0];
}

/* Sealed under the id of its mail: in another row of the outbox it is nothing. out->text is the
 * caller's to forget. */
bool link_fill(const struct options *opt, struct arena *a, enum link_kind kind, struct link *out)
{
	size_t n = kind == LINK_INVITATION ? 16 : 32;
	uint8_t bytes[32];

	hash_random(bytes, n);
	str_hex(bytes, n, out->text);
	explicit_bzero(bytes, sizeof(bytes));
	link_hash(out->text, out->hash);
	hash_xid(out->mail_id);
	out->sealed = seal_make(opt, KEY_MAIL, str_of(out->mail_id), str_of(out->text), a);
	return out->sealed.p != NULL;
}

int link_make(struct call *c, enum link_kind kind, struct link *out)
{
	if (!link_possible(c->w->opt))
		return call_fail(c, CODE_FAILED_PRECONDITION, NULL,
			"this server is not set up to send mail");
	if (!link_fill(c->w->opt, c->arena, kind, out))
		return call_fail(c, CODE_INTERNAL, NULL, "no signing key is configured");
	return 0;
}
