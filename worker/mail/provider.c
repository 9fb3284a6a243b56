/* See provider.h. */
#include "worker/mail/provider.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>

#include "proto/validate.h"
#include "worker/call/client_addr.h"

enum { PORT_TLS = 465, PORT_SUBMIT = 587, PORT_RELAY = 25 };

/* No '/', '@', '?', '#' or '%', and ':' in an IPv6 address only: whoever names a host must not
 * move smtp.c's URL to another one. */
bool provider_host_ok(struct str host)
{
	char z[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (host.n == 0 || host.n > 255 || host.p[0] == '-' || host.p[0] == '.')
		return false;
	if (host.n < sizeof(z)) {
		memcpy(z, host.p, host.n);
		z[host.n] = '\0';
		if (inet_pton(AF_INET6, z, address) == 1)
			return true;
	}
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

/* It becomes part of a header line (resend.c): nothing in it may end one. */
bool provider_key_ok(struct str key)
{
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] <= ' ' || key.p[i] > '~')
			return false;
	return key.n > 0;
}

/* Only chooses what the operator did not say. Whether the address really is loopback is seen to
 * when its socket is opened (worker/outbound.c). */
static bool is_loopback(struct str host)
{
	uint8_t address[16];

	return str_case_eq(host, STR("localhost")) ||
	       (client_addr_parse(host, address) &&
		       client_addr_in(address, STR("127.0.0.0/8 ::1")));
}

/* ---- the operator's ---- */

static bool take_prefix(struct str *s, struct str prefix)
{
	if (!str_starts(*s, prefix))
		return false;
	s->p += prefix.n;
	s->n -= prefix.n;
	return true;
}

static bool take_host(struct str *s, struct str *host)
{
	long end = str_take(s, '[') ? str_find(*s, ']') : -1;

	if (end >= 0) {
		*host = (struct str){s->p, (size_t)end};
		s->p += end + 1;
		s->n -= (size_t)end + 1;
	} else {
		end = str_find(*s, ':');
		*host = (struct str){s->p, end < 0 ? s->n : (size_t)end};
		s->p += host->n;
		s->n -= host->n;
	}
	return provider_host_ok(*host);
}

/* USER@HOST:PORT of mail_url. The last @ counts, as user names may hold one. */
static enum provider_end server(
	struct str rest, bool implicit, struct arena *a, struct provider *out)
{
	struct str user = {"", 0}, host;
	uint64_t port;

	for (size_t i = rest.n; i > 0 && user.n == 0; i--) {
		if (rest.p[i - 1] != '@')
			continue;
		user = (struct str){rest.p, i - 1};
		rest.p += i;
		rest.n -= i;
	}
	while (rest.n > 0 && rest.p[rest.n - 1] == '/')
		rest.n--;
	if (!take_host(&rest, &host))
		return PROVIDER_BAD;
	out->tls = implicit ? PROVIDER_TLS : is_loopback(host) ? PROVIDER_CLEAR : PROVIDER_STARTTLS;
	port = implicit ? PORT_TLS : out->tls == PROVIDER_CLEAR ? PORT_RELAY : PORT_SUBMIT;
	if (str_take(&rest, ':') && (!str_u64(rest, &port) || port < 1 || port > UINT16_MAX))
		return PROVIDER_BAD;
	out->port = (uint16_t)port;
	out->host = arena_str(a, host);
	out->username = arena_str(a, user);
	return out->host && out->username ? PROVIDER_OK : PROVIDER_MEMORY;
}

/* "NAME <ADDRESS>" or an address. The name may hold anything: who writes it cleans it (mime.c,
 * resend.c). */
static bool sender(struct str text, struct mail_address *out)
{
	struct str name = {"", 0}, address = str_trim(text);
	long at = str_find(address, '<');

	if (at >= 0 && address.p[address.n - 1] == '>') {
		name = str_trim((struct str){address.p, (size_t)at});
		address = (struct str){address.p + at + 1, address.n - (size_t)at - 2};
	}
	if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"')
		name = (struct str){name.p + 1, name.n - 2};
	*out = (struct mail_address){name, address};
	return valid_email(address);
}

static enum provider_end operator_url(struct str url, struct arena *a, struct provider *out)
{
	out->kind = PROVIDER_SMTP;
	if (take_prefix(&url, STR("smtps://")))
		return server(url, true, a, out);
	if (take_prefix(&url, STR("smtp://")))
		return server(url, false, a, out);
	out->kind = PROVIDER_RESEND;
	if (!str_eq(url, STR("resend:")) || !provider_key_ok(str_of(out->secret)))
		return PROVIDER_BAD;
	return PROVIDER_OK;
}

enum provider_end provider_operator(
	const struct options *opt, struct arena *a, struct provider *out)
{
	*out = (struct provider){.target = OUTBOUND_OPERATOR,
		.reply_to = str_of(opt->mail_reply_to),
		.host = "",
		.username = "",
		.secret = opt->mail_secret};
	if (!opt->mail_dir[0] && !opt->mail_url[0])
		return PROVIDER_NONE;
	if (!sender(str_of(opt->mail_from), &out->from) ||
		(out->reply_to.n > 0 && !valid_email(out->reply_to)))
		return PROVIDER_BAD;
	/* mail_dir replaces the operator's provider, and nobody else's (D59). */
	if (!opt->mail_dir[0])
		return operator_url(str_of(opt->mail_url), a, out);
	out->kind = PROVIDER_FOLDER;
	out->folder = opt->mail_dir;
	return PROVIDER_OK;
}

/* ---- an organisation's ---- */

static const char *member(const json_t *o, const char *name, struct arena *a)
{
	const json_t *v = json_object_get(o, name);

	return arena_str(a, v && json_is_string(v)
				    ? (struct str){json_string_value(v), json_string_length(v)}
				    : STR(""));
}

/* The stored form knows only use_tls: 465 speaks TLS from the first byte, any other port has to
 * offer STARTTLS. */
static enum provider_end read_smtp(const json_t *o, struct arena *a, struct provider *out)
{
	json_int_t port = json_integer_value(json_object_get(o, "port"));
	bool tls = json_is_true(json_object_get(o, "use_tls"));

	out->host = member(o, "host", a);
	out->username = member(o, "username", a);
	out->secret = member(o, "password", a);
	if (!out->host || !out->username || !out->secret)
		return PROVIDER_MEMORY;
	if (port < 1 || port > UINT16_MAX || !provider_host_ok(str_of(out->host)))
		return PROVIDER_BAD;
	out->port = (uint16_t)port;
	out->tls = !tls ? PROVIDER_CLEAR : port == PORT_TLS ? PROVIDER_TLS : PROVIDER_STARTTLS;
	return PROVIDER_OK;
}

static enum provider_end read_secret(struct str text, struct arena *a, struct provider *out)
{
	json_t *o = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	enum provider_end end = PROVIDER_BAD;

	if (json_is_object(o) && out->kind == PROVIDER_SMTP) {
		end = read_smtp(o, a, out);
	} else if (json_is_object(o)) {
		out->secret = member(o, "api_key", a);
		end = !out->secret                           ? PROVIDER_MEMORY
		      : provider_key_ok(str_of(out->secret)) ? PROVIDER_OK
							     : PROVIDER_BAD;
	}
	json_decref(o);
	return end;
}

enum provider_end provider_org(const struct options *opt, const struct provider_row *row,
	struct arena *a, struct provider *out)
{
	struct str text;

	*out = (struct provider){.kind = (enum provider_kind)row->kind,
		.target = OUTBOUND_TENANT,
		.from.address = row->from_address,
		/* without one of its own an org inherits the operator's (auth.md 6) */
		.reply_to = row->reply_to.n > 0 ? row->reply_to : str_of(opt->mail_reply_to),
		.host = "",
		.username = ""};
	/* Bound to the org (D16): copied to another one's row it does not open. */
	text = seal_open(opt, KEY_PROVIDER_SECRET, row->org_id, row->secret, a, NULL);
	if (!text.p)
		return a->over ? PROVIDER_MEMORY : PROVIDER_SEALED;
	if ((out->kind != PROVIDER_SMTP && out->kind != PROVIDER_RESEND) ||
		!valid_email(row->from_address) ||
		(out->reply_to.n > 0 && !valid_email(out->reply_to)))
		return PROVIDER_BAD;
	return read_secret(text, a, out);
}

/* Of `tls` only whether there is any is kept: read_smtp() finds the kind by the port. */
struct str provider_seal(
	const struct options *opt, struct str org_id, const struct provider *p, struct arena *a)
{
	json_t *o = p->kind == PROVIDER_SMTP
			    ? json_pack("{s:s, s:i, s:s, s:s, s:b}", "host", p->host, "port",
				      (int)p->port, "username", p->username, "password", p->secret,
				      "use_tls", p->tls != PROVIDER_CLEAR)
			    : json_pack("{s:s}", "api_key", p->secret);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	struct str sealed = {NULL, 0};

	if (text)
		sealed = seal_make(opt, KEY_PROVIDER_SECRET, org_id, str_of(text), a);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	json_decref(o);
	return sealed;
}

struct str provider_redacted(const struct provider *p, struct arena *a)
{
	struct str secret = str_of(p->secret);
	bool v6 = strchr(p->host, ':') != NULL;

	if (p->kind == PROVIDER_SMTP)
		return arena_printf(a, "smtp://%s:***@%s%s%s:%u", p->username, v6 ? "[" : "",
			p->host, v6 ? "]" : "", p->port);
	if (secret.n <= 12)
		return arena_printf(a, "***");
	return arena_printf(a, "%.8s***%s", secret.p, secret.p + secret.n - 4);
}

const char *provider_end_text(enum provider_end end)
{
	static const char *const texts[] = {
		[PROVIDER_OK] = "",
		[PROVIDER_MEMORY] = "there was not enough memory",
		[PROVIDER_NONE] = "this server is not set up to send mail",
		[PROVIDER_SEALED] =
			"the provider's secret cannot be read any more; please set it again",
		[PROVIDER_BAD] = "the provider's settings make no sense; please set them again",
	};

	return texts[end];
}
