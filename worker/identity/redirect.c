/*
 * See redirect.h. No URL library: they differ in what they forgive, and what one of them
 * forgives here another one sends a code to.
 */
#include "worker/identity/redirect.h"

struct origin {
	bool tls;
	struct str host;
	uint64_t port;
};

static bool take_prefix(struct str *s, struct str prefix)
{
	if (!str_starts(*s, prefix))
		return false;
	s->p += prefix.n;
	s->n -= prefix.n;
	return true;
}

static bool take_scheme(struct str *s, struct origin *out)
{
	out->tls = take_prefix(s, STR("https://"));
	return out->tls || take_prefix(s, STR("http://"));
}

/* A name, an IPv4 address, or an IPv6 address in brackets. Neither set has @, / or a backslash, so
 * no user's name and no path passes for a host. */
static bool take_host(struct str *s, struct origin *out)
{
	static const char name[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
	bool v6 = s->n > 0 && s->p[0] == '[';
	size_t n = v6 ? 1 : 0;

	while (n < s->n && s->p[n] && strchr(v6 ? "0123456789abcdefABCDEF:." : name, s->p[n]))
		n++;
	if (v6 && (n == s->n || s->p[n++] != ']'))
		return false;
	out->host = (struct str){s->p, n};
	s->p += n;
	s->n -= n;
	return n > 0;
}

/* Without one it is the scheme's, so that https://a and https://a:443 are one origin. */
static bool take_port(struct str *s, struct origin *out)
{
	size_t n = 0;

	out->port = out->tls ? 443 : 80;
	if (!str_take(s, ':'))
		return true;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	if (n > 5 || !str_u64((struct str){s->p, n}, &out->port) || out->port > 65535)
		return false;
	s->p += n;
	s->n -= n;
	return out->port > 0;
}

static bool take_origin(struct str *s, struct origin *out)
{
	return take_scheme(s, out) && take_host(s, out) && take_port(s, out);
}

static bool is_local(struct str host)
{
	return str_case_eq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) ||
	       str_eq(host, STR("[::1]"));
}

bool redirect_ok(struct str uri)
{
	struct origin o;

	return take_origin(&uri, &o) && (o.tls || is_local(o.host)) &&
	       str_eq(uri, STR("/oauth/callback"));
}

bool redirect_same_origin(struct str uri, struct str origin)
{
	struct origin a, b;

	return take_origin(&uri, &a) && take_origin(&origin, &b) && origin.n == 0 &&
	       a.tls == b.tls && a.port == b.port && str_case_eq(a.host, b.host);
}
