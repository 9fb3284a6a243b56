/*
 * Who carries a mail: the operator's provider (options mail_*) or an organisation's
 * (pugd.org_email_providers), in one form. The secret of the latter is JSON, sealed and
 * bound to the org: {"host","port","username","password","use_tls"} or {"api_key"}.
 */
#ifndef MAIL_PROVIDER_H
#define MAIL_PROVIDER_H

#include "worker/call/seal.h"
#include "worker/mail/mail.h"
#include "worker/outbound.h"

/* The first two are pugd.org_email_providers.kind. */
enum provider_kind { PROVIDER_SMTP = 1, PROVIDER_RESEND = 2, PROVIDER_FOLDER = 3 };

enum provider_tls {
	PROVIDER_TLS,      /* from the first byte */
	PROVIDER_STARTTLS, /* demanded, never only tried */
	PROVIDER_CLEAR     /* to loopback addresses only */
};

struct provider {
	enum provider_kind kind;
	enum outbound_target target;
	struct mail_address from;
	struct str reply_to; /* may be empty */
	/* SMTP; texts are NUL-terminated */
	const char *host;
	uint16_t port;
	enum provider_tls tls;
	const char *username; /* "": no AUTH */
	const char *secret;   /* SMTP password or Resend API key */
	const char *folder;   /* PROVIDER_FOLDER */
};

/* What an organisation stores about itself, secret still sealed. */
struct provider_row {
	struct str org_id;
	int32_t kind;
	struct str from_address, reply_to, secret;
};

/* Why there is no provider. */
enum provider_end { PROVIDER_OK, PROVIDER_MEMORY, PROVIDER_NONE, PROVIDER_SEALED, PROVIDER_BAD };

enum provider_end provider_operator(
	const struct options *opt, struct arena *a, struct provider *out);
enum provider_end provider_org(const struct options *opt, const struct provider_row *row,
	struct arena *a, struct provider *out);
/* A sentence about it. */
const char *provider_end_text(enum provider_end end);

/* The sealed secret of an org's provider (host, port, username, secret, tls != CLEAR);
 * {NULL, 0} without a key or memory. */
struct str provider_seal(
	const struct options *opt, struct str org_id, const struct provider *p, struct arena *a);
/* What may be shown of a secret: auth.md 5.4. {NULL, 0} without memory. */
struct str provider_redacted(const struct provider *p, struct arena *a);

/* A host name or address, nothing else: it becomes part of a URL. */
bool provider_host_ok(struct str host);
/* An API key as HTTP allows it in a header. */
bool provider_key_ok(struct str key);

#endif
