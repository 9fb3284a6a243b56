/* See text.h. Nearly all of this text is plain ASCII in lower case, which costs a look. */
#include <locale.h>
#include <wctype.h>

#include "worker/ingest/text.h"

static const struct str replacement = {"\xef\xbf\xbd", 3}; /* U+FFFD */

/* Length of the valid character that s begins with, 0 when there is none or it is NUL. The first
 * byte only proposes a length: what is no first byte, overlong forms and surrogates are left to
 * str_utf8_ok(). */
static size_t character(struct str s, uint32_t *code)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (p[0] == '\0' || n > s.n || !str_utf8_ok((struct str){s.p, n}))
		return 0;
	*code = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++)
		*code = *code << 6 | (p[i] & 0x3f);
	return n;
}

static void put_character(struct buf *b, uint32_t code)
{
	if (code < 0x80) {
		buf_c(b, (char)code);
		return;
	}
	if (code < 0x800) {
		buf_c(b, (char)(0xc0 | code >> 6));
	} else {
		if (code < 0x10000) {
			buf_c(b, (char)(0xe0 | code >> 12));
		} else {
			buf_c(b, (char)(0xf0 | code >> 18));
			buf_c(b, (char)(0x80 | (code >> 12 & 0x3f)));
		}
		buf_c(b, (char)(0x80 | (code >> 6 & 0x3f)));
	}
	buf_c(b, (char)(0x80 | (code & 0x3f)));
}

/* The process's own locale stays "C"; made once, and never without Debian's libc-bin. Without a
 * lock: events are enriched on the loop's thread only. */
static uint32_t lower(uint32_t code)
{
	static locale_t unicode;
	static bool tried;

	if (code < 0x80)
		return code >= 'A' && code <= 'Z' ? code | 0x20 : code;
	if (!tried)
		unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	tried = true;
	return unicode ? (uint32_t)towlower_l((wint_t)code, unicode) : code;
}

/* Into a new buffer: U+FFFD is longer than the byte that it stands for, and a small letter may
 * be longer than its capital (U+023A takes 2 bytes, U+2C65 takes 3). */
static struct str rewrite(struct arena *a, struct str s, bool to_lower)
{
	struct buf b;
	uint32_t code;
	size_t n;

	buf_init(&b, a);
	(void)buf_room(&b, s.n);
	while (s.n) {
		n = character(s, &code);
		if (n == 0)
			buf_str(&b, replacement);
		else
			put_character(&b, to_lower ? lower(code) : code);
		n += n == 0;
		s.p += n;
		s.n -= n;
	}
	return b.over ? STR("") : (struct str){b.p, b.n};
}

struct str text_clean(struct arena *a, struct str s)
{
	if (s.n == 0 || (str_utf8_ok(s) && !memchr(s.p, '\0', s.n)))
		return s;
	return rewrite(a, s, false);
}

struct str text_lower(struct arena *a, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x80 || c == '\0' || (c >= 'A' && c <= 'Z'))
			return rewrite(a, s, true);
	}
	return s;
}

/* Never longer than s. How much a bad escape spoils is the caller's to say: a whole URL, or one
 * pair of its query (1.13). */
bool text_unescape(struct arena *a, struct str s, bool plus, struct str *out)
{
	char *p;
	size_t n = 0;
	int high, low;

	*out = s;
	if (s.n == 0 || (!memchr(s.p, '%', s.n) && (!plus || !memchr(s.p, '+', s.n))))
		return true;
	p = arena_alloc(a, s.n);
	if (!p)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		p[n] = plus && s.p[i] == '+' ? ' ' : s.p[i];
		if (s.p[i] == '%') {
			high = i + 2 < s.n ? str_hex_digit(s.p[i + 1]) : -1;
			low = i + 2 < s.n ? str_hex_digit(s.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			p[n] = (char)(high << 4 | low);
			i += 2;
		}
		n++;
	}
	*out = (struct str){p, n};
	return true;
}

/* White_Space of Unicode, as 1.13 wants it; str_trim() knows spaces and tabs only. */
static bool is_space(uint32_t c)
{
	return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

static struct str trim(struct str s)
{
	uint32_t code;
	size_t n;

	while (s.n && (n = character(s, &code)) && is_space(code)) {
		s.p += n;
		s.n -= n;
	}
	while (s.n) {
		/* back to the first byte of the last character, which at most three continue */
		for (n = 1; n < s.n && n < 4 && (s.p[s.n - n] & 0xc0) == 0x80; n++)
			;
		if (!character((struct str){s.p + s.n - n, n}, &code) || !is_space(code))
			break;
		s.n -= n;
	}
	return s;
}

static char ascii_case(char c, bool upper)
{
	if (upper)
		return c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Lower, but regions (two letters) upper and scripts (four) with a capital. Lengths are of
 * bytes, those beyond ASCII stay, and nothing is validated or put in order (1.13). */
static void tag_case(char *p, size_t n, bool is_first)
{
	for (size_t i = 0; i < n; i++)
		p[i] = ascii_case(p[i], !is_first && (n == 2 || (n == 4 && i == 0)));
}

struct str text_locale(struct arena *a, struct str s)
{
	char *p;
	size_t start = 0;

	s = trim(s);
	if (s.n == 0 || !(p = arena_alloc(a, s.n)))
		return STR("");
	memcpy(p, s.p, s.n);
	for (size_t i = 0; i <= s.n; i++) {
		if (i < s.n && p[i] == '_')
			p[i] = '-';
		if (i == s.n || p[i] == '-') {
			tag_case(p + start, i - start, start == 0);
			start = i + 1;
		}
	}
	return (struct str){p, s.n};
}
