/*
 * Tokens of JSON, strictly as RFC 8259 has them. Strings without escapes, which
 * nearly all are, are scanned eight bytes at a time and not copied here.
 */
#include "proto/json_read.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/access.h"
#include "proto/keyset.h"
#include "proto/number.h"

/* Cuts text to room bytes without splitting a code point. */
static struct str clip(struct str s, size_t room)
{
	if (s.n <= room)
		return s;
	s.n = room;
	while (s.n > 0 && ((uint8_t)s.p[s.n] & 0xc0) == 0x80)
		s.n--;
	return s;
}

/* From the outermost frame inwards; json_open() bounds how many there are. */
static size_t path_text(const struct json_path *path, char *out, size_t size)
{
	size_t n = path->up ? path_text(path->up, out, size) : 0;
	char *at = out + n;
	struct str key;
	int len;

	if (size - n < 2)
		return n;
	if (path->kind == PATH_INDEX) {
		len = snprintf(at, size - n, "[%zu]", path->index);
	} else if (path->kind == PATH_FIELD) {
		len = snprintf(at, size - n, "%s%s", n ? "." : "", path->name);
	} else {
		key = clip(path->key, 40);
		len = snprintf(at, size - n, "[\"%.*s\"]", STR_ARG(key));
	}
	if (len < 0 || (size_t)len >= size - n) {
		*at = 0; /* a part that does not fit is left out, so nothing is cut in two */
		return n;
	}
	return n + (size_t)len;
}

bool json_fail(struct json_reader *r, const char *fmt, ...)
{
	va_list ap;

	r->err->memory = false;
	r->err->offset = (size_t)(r->p - r->start);
	r->err->path[0] = 0;
	if (r->path)
		path_text(r->path, r->err->path, sizeof(r->err->path));
	va_start(ap, fmt);
	vsnprintf(r->err->reason, sizeof(r->err->reason), fmt, ap);
	va_end(ap);
	return false;
}

bool json_no_memory(struct json_reader *r)
{
	json_fail(r, "takes too much memory");
	r->err->memory = true;
	return false;
}

/* A NUL in the text gives 0, too. No token begins with one, so it is refused like an early
 * end. */
char json_peek(struct json_reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? *r->p : 0;
}

/* All recursion of the reader passes through here: its only bound (D80). */
bool json_open(struct json_reader *r, char bracket)
{
	if (json_peek(r) != bracket)
		return json_fail(r, "must be %s", bracket == '{' ? "an object" : "a list");
	if (r->depth == PB_MAX_DEPTH)
		return json_fail(r, "is nested more than %d levels deep", PB_MAX_DEPTH);
	r->depth++;
	r->p++;
	return true;
}

/* When it fails *more stays true, by which callers tell an error from the end of their loop. */
bool json_more(struct json_reader *r, char close, bool *first, bool *more)
{
	char c = json_peek(r);

	*more = c != close;
	if (c == close) {
		r->p++;
		r->depth--;
	} else if (!*first) {
		if (c != ',')
			return json_fail(r, "is not JSON: expected ',' or '%c'", close);
		r->p++;
	}
	*first = false;
	return true;
}

/* Nonzero iff one of eight bytes ends a run of plain string bytes: a quote, a
 * backslash, a control character. The lowest byte marked is exact. */
static uint64_t stops(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = w ^ ones * '"', escape = w ^ ones * '\\';

	return (((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) |
		       ((escape - ones) & ~escape)) &
	       high;
}

/* Runs over plain bytes; returns true when there was one beyond ASCII. Only then must somebody
 * check that the string is UTF-8. */
static bool run_plain(const char **p, const char *end)
{
	uint64_t w, seen = 0;
	const char *q = *p;

	while (end - q >= 8) {
		memcpy(&w, q, 8);
		if (stops(w))
			break;
		seen |= w;
		q += 8;
	}
	seen &= 0x8080808080808080u;
	for (; q < end && *q != '"' && *q != '\\' && (uint8_t)*q >= 0x20; q++)
		seen |= (uint8_t)*q & 0x80;
	*p = q;
	return seen != 0;
}

static bool take_hex4(struct json_reader *r, const char **p, unsigned *out)
{
	unsigned v = 0;

	if (r->end - *p < 4)
		return json_fail(r, "is not JSON: incomplete \\u escape");
	for (int i = 0; i < 4; i++) {
		int d = str_hex_digit(*(*p)++);

		if (d < 0)
			return json_fail(r, "is not JSON: bad \\u escape");
		v = v << 4 | (unsigned)d;
	}
	*out = v;
	return true;
}

/* After "\u": one code point, from two escapes if it takes a surrogate pair. Half a pair has no
 * form in UTF-8 (RFC 3629, 3). */
static bool take_code_point(struct json_reader *r, const char **p, unsigned *out)
{
	unsigned high, low;

	if (!take_hex4(r, p, &high))
		return false;
	*out = high;
	if (high < 0xd800 || high > 0xdfff)
		return true;
	if (high > 0xdbff || r->end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
		return json_fail(r, "has half of a surrogate pair");
	*p += 2;
	if (!take_hex4(r, p, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return json_fail(r, "has half of a surrogate pair");
	*out = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
	return true;
}

static char *put_utf8(char *o, unsigned c)
{
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 63));
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	}
	return o;
}

/* After a backslash: what the escape stands for, written at *o. \u0000 passes; store_string()
 * refuses it in values and keys of maps, where it would hide what follows (D80). */
static bool take_escape(struct json_reader *r, const char **p, char **o)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	unsigned c;
	char letter;

	if (*p == r->end)
		return json_fail(r, "is not JSON: unterminated string");
	letter = *(*p)++;
	if (letter == 'u') {
		if (!take_code_point(r, p, &c))
			return false;
		*o = put_utf8(*o, c);
		return true;
	}
	name = letter ? strchr(names, letter) : NULL;
	if (!name)
		return json_fail(r, "is not JSON: unknown escape");
	*(*o)++ = values[name - names];
	return true;
}

/* The closing quote of a string with escapes, so that its copy can be sized;
 * r->end if there is none. Sized by all that is left, each of many short strings would take as
 * much as the body. */
static const char *find_quote(const struct json_reader *r, const char *p)
{
	while (p < r->end && *p != '"')
		p += *p == '\\' && p + 1 < r->end ? 2 : 1;
	return p;
}

/* The rest of a string from its first escape on, at p; the plain run before it
 * started at `from`. No escape is shorter than what it stands for. */
static bool unescape(struct json_reader *r, const char *from, const char *p, struct str *out)
{
	char *copy = arena_alloc(r->a, (size_t)(find_quote(r, p) - from) + 1);
	const char *run = from;
	char *o = copy;

	if (!copy)
		return json_no_memory(r);
	for (;;) {
		memcpy(o, run, (size_t)(p - run));
		o += p - run;
		if (p == r->end || *p != '\\')
			break;
		p++;
		if (!take_escape(r, &p, &o))
			return false;
		run = p;
		run_plain(&p, r->end);
	}
	r->p = p;
	*out = (struct str){copy, (size_t)(o - copy)};
	return true;
}

bool json_string(struct json_reader *r, struct str *out)
{
	const char *from, *p;
	bool beyond_ascii;

	if (json_peek(r) != '"')
		return json_fail(r, "must be a string");
	p = from = r->p + 1;
	beyond_ascii = run_plain(&p, r->end);
	*out = (struct str){from, (size_t)(p - from)};
	if (p < r->end && *p == '\\') {
		/* unescape() does not look at the bytes that it copies */
		beyond_ascii = true;
		if (!unescape(r, from, p, out))
			return false;
	} else {
		r->p = p;
	}
	if (r->p == r->end)
		return json_fail(r, "is not JSON: unterminated string");
	if (*r->p != '"')
		return json_fail(r, "is not JSON: control character in a string");
	r->p++;
	if (beyond_ascii && !str_utf8_ok(*out))
		return json_fail(r, "is not valid UTF-8");
	return true;
}

bool json_key(struct json_reader *r, struct str *out)
{
	if (json_peek(r) != '"')
		return json_fail(r, "is not JSON: expected a key in quotes");
	if (!json_string(r, out))
		return false;
	if (json_peek(r) != ':')
		return json_fail(r, "is not JSON: expected ':' after a key");
	r->p++;
	return true;
}

/* What stands behind a number or a word is not looked at: whoever reads on takes nothing but a
 * comma or a closing bracket. */
bool json_number(struct json_reader *r, struct str *out)
{
	json_peek(r);
	*out = (struct str){r->p, (size_t)(r->end - r->p)};
	out->n = number_json_span(*out);
	if (out->n == 0)
		return json_fail(r, "must be a number");
	r->p += out->n;
	return true;
}

bool json_word(struct json_reader *r, const char *word)
{
	size_t n = strlen(word);

	json_peek(r);
	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
		return json_fail(r, "is not JSON: unknown word");
	r->p += n;
	return true;
}

/* No key occurs twice at any level, not even in what nobody reads (D54). */
static bool skip_object(struct json_reader *r)
{
	struct keyset keys;
	struct str key;
	bool first = true, more;
	enum keyset_found k;

	keyset_init(&keys, r->a);
	if (!json_open(r, '{'))
		return false;
	while (json_more(r, '}', &first, &more) && more) {
		if (!json_key(r, &key))
			return false;
		k = keyset_add(&keys, key);
		if (k == KEYSET_MEMORY)
			return json_no_memory(r);
		if (k == KEYSET_DUPLICATE)
			return json_fail(r, "has a key twice");
		if (!json_skip(r))
			return false;
	}
	return !more;
}

static bool skip_array(struct json_reader *r)
{
	bool first = true, more;

	if (!json_open(r, '['))
		return false;
	while (json_more(r, ']', &first, &more) && more)
		if (!json_skip(r))
			return false;
	return !more;
}

bool json_skip(struct json_reader *r)
{
	struct str ignored;

	switch (json_peek(r)) {
	case '{':
		return skip_object(r);
	case '[':
		return skip_array(r);
	case '"':
		return json_string(r, &ignored);
	case 'n':
		return json_word(r, "null");
	case 't':
		return json_word(r, "true");
	case 'f':
		return json_word(r, "false");
	default:
		if (!json_number(r, &ignored))
			return json_fail(r, "is not JSON: expected a value");
		return true;
	}
}
