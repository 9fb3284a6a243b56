/*
 * A mail as bytes (RFC 5322, 2045, 2047): headers that nothing can be put into, lines of
 * at most 78 bytes where an address allows, text and HTML as quoted-printable.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "worker/mail/mail.h"

/* CRLF lines; dots are not stuffed. `time_s` becomes the date. False without memory. */
bool mime_write(const struct mail *m, const struct mail_address *from, struct str reply_to,
	int64_t time_s, struct buf *out);

/* Single pieces, for tests. A header's text, and a body. */
void mime_words(struct buf *out, struct str text, size_t column);
void mime_quoted(struct buf *out, struct str text);

#endif
