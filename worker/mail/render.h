/*
 * The words of our mails: sign-in link, invitation, test of a provider. Names come from
 * people and are cleaned and cut first; HTML is escaped. The same facts give the same
 * mail, so that a repeat is one to a provider that compares (Resend does).
 */
#ifndef MAIL_RENDER_H
#define MAIL_RENDER_H

#include "worker/mail/mail.h"

/* The first two are pugd.mail_outbox.kind. */
enum mail_kind { MAIL_SIGN_IN = 1, MAIL_INVITATION = 2, MAIL_TEST = 3 };

struct mail_facts {
	struct str token;   /* of the link */
	int64_t lifetime_s; /* of the link, from the time it was made */
	struct str org;     /* invitations: whose */
	struct str inviter; /* invitations: who invites; may be empty */
};

/* Fills subject, text and html of `out`, in the arena. False without memory. */
bool render_mail(const struct options *opt, enum mail_kind kind, const struct mail_facts *facts,
	struct arena *a, struct mail *out);
/* A name as it may be shown: valid UTF-8 without control and direction characters, at
 * most 120 bytes. {NULL, 0} without memory. */
struct str render_name(struct str name, struct arena *a);

#endif
