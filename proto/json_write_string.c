/* String literals of JSON that are safe wherever JSON may end up. */
#include "proto/json.h"

#include <stdio.h>

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static size_t sequence(const uint8_t *p, size_t left)
{
	size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

	return left >= n && str_utf8_ok((struct str){(const char *)p, n}) ? n : 0;
}

/* strchr() would find 0, too, at the end of the names. */
static void escape(struct buf *out, uint8_t c)
{
	static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *name = c ? strchr(names, c) : NULL;
	char text[8];

	if (name) {
		buf_c(out, '\\');
		buf_c(out, letters[name - names]);
		return;
	}
	snprintf(text, sizeof(text), "\\u%04x", c);
	buf_add(out, text, 6);
}

/* U+2028 and U+2029 end a line in older JavaScript. Of what is no UTF-8 each byte becomes
 * U+FFFD. */
static size_t beyond_ascii(struct buf *out, const uint8_t *p, size_t left)
{
	size_t n = sequence(p, left);

	if (n == 0) {
		buf_add(out, "\xef\xbf\xbd", 3);
		return 1;
	}
	if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8)
		buf_z(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029");
	else
		buf_add(out, p, n);
	return n;
}

void json_write_string(struct buf *out, struct str s)
{
	const uint8_t *p = (const uint8_t *)s.p;
	size_t i = 0, run;

	buf_c(out, '"');
	while (i < s.n) {
		run = i;
		while (i < s.n && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
			i++;
		buf_add(out, p + run, i - run);
		if (i == s.n)
			break;
		if (p[i] < 0x80)
			escape(out, p[i++]);
		else
			i += beyond_ascii(out, p + i, s.n - i);
	}
	buf_c(out, '"');
}
