/*
 * Links that are mailed: sign-in (auth.md 4.2) and invitations (5.1). A link's token
 * is known to its mail only: stored are its SHA-256 and, sealed, its text in the
 * outbox until the mail is out. A statement writes both beside their cause:
 *
 *   INSERT INTO pugd.action_tokens (hash, purpose, ...)
 *   INSERT INTO pugd.mail_outbox (id, kind, org_id, token_hash, recipient, secret)
 */
#ifndef RPC_LINK_H
#define RPC_LINK_H

#include "shm/options.h"
#include "worker/call/call.h"

/* Also pugd.action_tokens.purpose and pugd.mail_outbox.kind. */
enum link_kind { LINK_SIGN_IN = 1, LINK_INVITATION = 2 };

struct link {
	char text[65];     /* 64 hex digits to sign in, 32 for an invitation */
	uint8_t hash[32];  /* SHA-256 of the text: action_tokens.hash */
	char mail_id[21];  /* mail_outbox.id */
	struct str sealed; /* mail_outbox.secret, in the call's arena */
};

/* How long a link to sign in holds. */
static const int64_t LINK_SIGN_IN_US = INT64_C(15) * 60 * 1000000;

/* A new link. 0, or -1 after call_fail(): `failed_precondition` where the operator has
 * set no mail up. */
int link_make(struct call *c, enum link_kind kind, struct link *out);
/* The two halves of link_make(), for commands: whether mail is set up at all, and the link;
 * false without a signing key. */
bool link_possible(const struct options *opt);
bool link_fill(const struct options *opt, struct arena *a, enum link_kind kind, struct link *out);
/* The hash of a token that a client sent; any length. */
void link_hash(const char *text, uint8_t hash[32]);

static inline struct str link_digest(const struct link *l)
{
	return (struct str){(const char *)l->hash, sizeof(l->hash)};
}

#endif
