/*
 * See mime.h. A header's text is either plain ASCII that fits its line, or encoded words:
 * there is no third way, so nobody's name can end a line or look like an encoding.
 */
#include "worker/mail/mime.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

enum {
	LINE_MAX_BYTES = 78, /* RFC 5322 2.1.1, without CRLF */
	/* of text in one encoded word: 4/3 of it and "=?UTF-8?B?" "?=" stay below 75 */
	WORD_BYTES = 45,
	QUOTED_MAX = 76 /* RFC 2045 6.7, with the "=" of a soft break */
};

/* Printable ASCII without "=?", which would be read as the start of an encoded word. */
static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~' ||
			(s.p[i] == '=' && i + 1 < s.n && s.p[i + 1] == '?'))
			return false;
	return true;
}

/* The most of s, up to `most` bytes, that ends with a whole code point. */
static size_t whole(struct str s, size_t most)
{
	size_t n = s.n < most ? s.n : most;

	while (n > 0 && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return n > 0 ? n : s.n < most ? s.n : most;
}

static void encoded_word(struct buf *out, struct str s)
{
	unsigned char text[4 * (WORD_BYTES + 2) / 3 + 5];
	int n = EVP_EncodeBlock(text, (const unsigned char *)s.p, (int)s.n);

	buf_z(out, "=?UTF-8?B?");
	buf_add(out, text, (size_t)n);
	buf_z(out, "?=");
}

/* `column` bytes of the line are used. Blanks between encoded words vanish when read. No
 * header's name is so long that nothing is left. */
static void encoded(struct buf *out, struct str text, size_t column)
{
	/* 12 bytes of frame, 4 for every 3 of text */
	size_t n = (LINE_MAX_BYTES - column - 12) / 4 * 3;

	for (bool first = true; text.n > 0; first = false, text.p += n, text.n -= n) {
		n = whole(text, first && n < WORD_BYTES ? n : WORD_BYTES);
		if (!first)
			buf_z(out, "\r\n ");
		encoded_word(out, (struct str){text.p, n});
	}
}

void mime_words(struct buf *out, struct str text, size_t column)
{
	if (is_plain(text) && column + text.n <= LINE_MAX_BYTES)
		buf_str(out, text);
	else
		encoded(out, text, column);
}

static size_t quoted_length(struct str s)
{
	size_t n = s.n + 2;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '"' || s.p[i] == '\\';
	return n;
}

static void quoted_string(struct buf *out, struct str s)
{
	buf_c(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_c(out, '\\');
		buf_c(out, s.p[i]);
	}
	buf_c(out, '"');
}

/* Display name and address; the address has a line of its own when there is a name and
 * both would be too long. */
static void address_header(struct buf *out, const char *name, const struct mail_address *a)
{
	size_t used = strlen(name) + 2;
	bool quote = is_plain(a->name) && used + quoted_length(a->name) <= LINE_MAX_BYTES;
	size_t start = out->n;

	buf_printf(out, "%s: ", name);
	if (a->name.n > 0) {
		if (quote)
			quoted_string(out, a->name);
		else
			encoded(out, a->name, used);
		if (!quote || out->n - start + a->address.n + 3 > LINE_MAX_BYTES)
			buf_z(out, "\r\n");
		buf_c(out, ' ');
	}
	buf_printf(out, "<%.*s>\r\n", STR_ARG(a->address));
}

static void date_header(struct buf *out, int64_t time_s)
{
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t t = (time_t)time_s;
	struct tm tm;

	/* not strftime(), whose names are the locale's */
	if (!gmtime_r(&t, &tm))
		return;
	buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
		tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool is_blank_at_end(struct str s, size_t i)
{
	return (s.p[i] == ' ' || s.p[i] == '\t') && (i + 1 == s.n || s.p[i + 1] == '\n');
}

void mime_quoted(struct buf *out, struct str text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t column = 0;

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool literal = (c >= ' ' && c <= '~' && c != '=') || c == '\t';
		size_t need = literal && !is_blank_at_end(text, i) ? 1 : 3;

		if (c == '\n') {
			buf_z(out, "\r\n");
			column = 0;
			continue;
		}
		if (column + need >= QUOTED_MAX) {
			buf_z(out, "=\r\n");
			column = 0;
		}
		if (need == 1) {
			buf_c(out, (char)c);
		} else {
			buf_c(out, '=');
			buf_c(out, hex[c >> 4]);
			buf_c(out, hex[c & 15]);
		}
		column += need;
	}
	if (column > 0)
		buf_z(out, "\r\n");
}

static void part(struct buf *out, const char *boundary, const char *type, struct str text)
{
	buf_printf(out,
		"--%s\r\n"
		"Content-Type: %s; charset=utf-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n"
		"\r\n",
		boundary, type);
	mime_quoted(out, text);
}

static struct str domain_of(struct str address)
{
	long at = str_find(address, '@');

	if (at < 0)
		return STR("localhost");
	return (struct str){address.p + at + 1, address.n - (size_t)at - 1};
}

/* Auto-Submitted keeps those who are on holiday from answering (RFC 3834). */
bool mime_write(const struct mail *m, const struct mail_address *from, struct str reply_to,
	int64_t time_s, struct buf *out)
{
	struct str domain = domain_of(from->address);
	char boundary[40];

	/* "=_" cannot occur in quoted-printable, so no body can hold its own boundary. */
	snprintf(boundary, sizeof(boundary), "=_%.*s", STR_ARG(m->id));
	date_header(out, time_s);
	buf_printf(out, "Message-ID: <%.*s@%.*s>\r\n", STR_ARG(m->id), STR_ARG(domain));
	address_header(out, "From", from);
	address_header(out, "To", &m->to);
	if (reply_to.n > 0)
		address_header(out, "Reply-To", &(struct mail_address){{NULL, 0}, reply_to});
	buf_z(out, "Subject: ");
	mime_words(out, m->subject, sizeof("Subject: ") - 1);
	buf_printf(out,
		"\r\n"
		"Auto-Submitted: auto-generated\r\n"
		"X-Idempotency-Key: %.*s\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: multipart/alternative;\r\n"
		" boundary=\"%s\"\r\n"
		"\r\n",
		STR_ARG(m->id), boundary);
	part(out, boundary, "text/plain", m->text);
	part(out, boundary, "text/html", m->html);
	buf_printf(out, "--%s--\r\n", boundary);
	return !out->over;
}
