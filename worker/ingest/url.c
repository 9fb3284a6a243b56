/* See url.h. Parts point into the text that was given wherever nothing was decoded. */
#include "worker/ingest/text.h"
#include "worker/ingest/url.h"

static struct str from(struct str s, size_t at)
{
	return (struct str){s.p + at, s.n - at};
}

/* Cuts s at the first c; false when there is none. */
static bool cut(struct str *s, char c, struct str *rest)
{
	long at = str_find(*s, c);

	*rest = (struct str){s->p + s->n, 0};
	if (at < 0)
		return false;
	*rest = from(*s, (size_t)at + 1);
	s->n = (size_t)at;
	return true;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

static bool escapes_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '%' && (i + 2 >= s.n || str_hex_digit(s.p[i + 1]) < 0 ||
					     str_hex_digit(s.p[i + 2]) < 0))
			return false;
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
	return is_letter(c) || (c >= '0' && c <= '9');
}

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* Takes "scheme:" off; false when a colon stands where a scheme would end, without one. */
static bool take_scheme(struct str *s, struct str *scheme)
{
	size_t i = 0;

	*scheme = STR("");
	while (i < s->n &&
		(is_letter(s->p[i]) || (i > 0 && (is_alnum(s->p[i]) || is_one_of(s->p[i], "+-.")))))
		i++;
	if (i == s->n || s->p[i] != ':')
		return true;
	*scheme = (struct str){s->p, i};
	*s = from(*s, i + 1);
	return i > 0;
}

/* "" or a colon and digits, of which there may be none. */
static bool port_ok(struct str s)
{
	if (s.n && !str_take(&s, ':'))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static long find_last(struct str s, char c)
{
	for (size_t i = s.n; i-- > 0;)
		if (s.p[i] == c)
			return (long)i;
	return -1;
}

/* In a host only what is beyond ASCII is escaped, and the percent sign of a zone. Only after
 * escapes_ok(): two hex digits follow each percent sign. */
static bool host_bytes_ok(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%') {
			if (str_hex_digit(s.p[i + 1]) < 8 &&
				!(s.p[i + 1] == '2' && s.p[i + 2] == '5'))
				return false;
			i += 2;
		} else if (!(c & '\x80') && !is_alnum(c) &&
			   !is_one_of(c, "-_.~!$&'()*+,;=:[]<>\"")) {
			return false;
		}
	}
	return true;
}

/* host, host:port, [v6], [v6]:port */
static bool take_host(struct arena *a, struct str s, struct str *host)
{
	bool bracket = s.n && s.p[0] == '[';
	long end = find_last(s, bracket ? ']' : ':');
	struct str decoded;

	if (bracket && end < 0)
		return false;
	if (end >= 0 && !port_ok(from(s, (size_t)end + bracket)))
		return false;
	if (!escapes_ok(s) || !host_bytes_ok(s))
		return false;
	if (bracket)
		s = (struct str){s.p + 1, (size_t)end - 1};
	else if (end >= 0)
		s.n = (size_t)end;
	if (!text_unescape(a, s, false, &decoded))
		return false;
	*host = text_lower(a, decoded);
	return true;
}

/* The user ends at the last @ and may hold others (1.13). */
static bool take_authority(struct arena *a, struct str s, struct str *host)
{
	long at = find_last(s, '@');
	struct str user = {s.p, at < 0 ? 0 : (size_t)at};

	for (size_t i = 0; i < user.n; i++)
		if (!is_alnum(user.p[i]) && !is_one_of(user.p[i], "-._:~!$&'()*+,;=%@"))
			return false;
	return escapes_ok(user) && take_host(a, at < 0 ? s : from(s, (size_t)at + 1), host);
}

/* A path without a leading slash must not look like a scheme in its first segment. */
static bool relative_ok(struct str s)
{
	long colon = str_find(s, ':'), slash = str_find(s, '/');

	return colon < 0 || (slash >= 0 && slash < colon);
}

/* The fragment is cut off first, because it may hold anything but bad escapes: control bytes
 * count only before it, and no query begins in it (1.13). */
bool url_parse(struct arena *a, struct str s, struct url *u)
{
	struct str fragment, rest;
	long slash;

	*u = (struct url){0};
	(void)cut(&s, '#', &fragment);
	if (!escapes_ok(fragment) || has_control(s) || !take_scheme(&s, &u->scheme))
		return false;
	(void)cut(&s, '?', &u->query);
	if (s.n == 0 || s.p[0] != '/') {
		/* mailto:x and the like: no authority, and no path that counts */
		if (u->scheme.n)
			return true;
		if (!relative_ok(s))
			return false;
	}
	if (s.n >= 2 && s.p[0] == '/' && s.p[1] == '/' &&
		(u->scheme.n || s.n == 2 || s.p[2] != '/')) {
		s = from(s, 2);
		slash = str_find(s, '/');
		rest = slash < 0 ? from(s, s.n) : from(s, (size_t)slash);
		s.n -= rest.n;
		if (!take_authority(a, s, &u->host))
			return false;
		s = rest;
	}
	if (!text_unescape(a, s, false, &u->path))
		return false;
	u->path = text_clean(a, u->path);
	return true;
}

static const struct str names[UTM_COUNT] = {
	[UTM_SOURCE] = {"utm_source", 10},
	[UTM_MEDIUM] = {"utm_medium", 10},
	[UTM_CAMPAIGN] = {"utm_campaign", 12},
	[UTM_TERM] = {"utm_term", 8},
	[UTM_CONTENT] = {"utm_content", 11},
};

/* Names may be escaped, too, but a name with nothing escaped says at its first byte
 * whether it can be one of ours. */
static void take_pair(struct arena *a, struct str key, struct str value, struct str out[UTM_COUNT])
{
	struct str decoded;

	if (key.n < names[UTM_TERM].n || (key.p[0] != 'u' && key.p[0] != '%'))
		return;
	if (!text_unescape(a, key, true, &key))
		return;
	for (int i = 0; i < UTM_COUNT; i++)
		if (!out[i].p && str_eq(key, names[i]) && text_unescape(a, value, true, &decoded))
			out[i] = decoded.n ? text_clean(a, decoded) : STR("");
}

void url_utm(struct arena *a, struct str query, struct str out[UTM_COUNT])
{
	struct str pair, rest, value;

	/* NULL until a pair has the name: the first one counts, even when it is empty */
	for (int i = 0; i < UTM_COUNT; i++)
		out[i] = (struct str){NULL, 0};
	while (query.n) {
		pair = query;
		(void)cut(&pair, '&', &rest);
		query = rest;
		/* a pair with a semicolon is dropped (1.13) */
		if (pair.n == 0 || str_find(pair, ';') >= 0)
			continue;
		(void)cut(&pair, '=', &value);
		take_pair(a, pair, value, out);
	}
	for (int i = 0; i < UTM_COUNT; i++)
		if (!out[i].p)
			out[i] = STR("");
}
