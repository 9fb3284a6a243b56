/* The three ways of handing over, behind mail_send(). */
#ifndef MAIL_SEND_H
#define MAIL_SEND_H

#include "worker/mail/provider.h"

struct send_job {
	const struct options *opt;
	const struct provider *provider;
	const struct mail *mail;
	uint64_t timeout_ms;
	struct arena *a;
	struct mail_result *result; /* filled by each: accepted, or mail_failed/_refused */
};

void send_smtp(struct send_job *j);   /* smtp.c */
void send_resend(struct send_job *j); /* resend.c */
void send_folder(struct send_job *j); /* folder.c */

/* The message as bytes; false after mail_failed(). */
bool send_bytes(struct send_job *j, struct buf *out);
/* The failure of a transfer that got no answer. */
void send_unreachable(struct send_job *j, const struct outbound *o);

#endif
