/*
 * A mail and what became of it. render.h writes its words, mime.h its bytes,
 * provider.h says who carries it, mail_send() hands it over. Everything here blocks and
 * belongs on an OFFLOAD_OUT thread. outbox.h is who calls it in the keeper.
 */
#ifndef MAIL_MAIL_H
#define MAIL_MAIL_H

#include "shm/base/arena.h"
#include "shm/options.h"

struct provider;

struct mail_address {
	struct str name; /* may be empty; cleaned when written */
	struct str address;
};

struct mail {
	struct str id; /* dispatch id: Message-ID and Idempotency-Key, the same on repeats */
	struct mail_address to;
	struct str subject, text, html; /* UTF-8, lines end with LF */
};

enum { MAIL_ERROR = 256 };

struct mail_result {
	bool accepted;
	bool permanent; /* trying again is in vain */
	/* A sentence for people, without mail addresses, secrets or more about the network
	 * than that it failed; "" when accepted. */
	char error[MAIL_ERROR];
};

/* Hands one mail over, within the time given. Memory comes from `a`. */
void mail_send(const struct options *opt, const struct provider *p, const struct mail *m,
	uint64_t timeout_ms, struct arena *a, struct mail_result *out);

/* For what hands over (smtp.c, resend.c, folder.c) and who asks it to. */
void mail_failed(struct mail_result *out, bool permanent, const char *text);
/* The same with what the server said, cleaned of everything that does not concern its
 * reader. Returns through `out`. */
void mail_refused(
	struct mail_result *out, bool permanent, const struct provider *p, struct str said);

#endif
