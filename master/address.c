/*
 * Text to socket address and back. Names are not resolved: a master that waits
 * for a name server is not supervising anybody.
 */
#include "master/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

/* The length says where an abstract name (@) ends, so no NUL counts there; a path has its NUL,
 * for which >= leaves room. */
static bool parse_unix(struct str path, struct address *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;

	if (path.n < 2 || path.n >= sizeof(un->sun_path) || (path.p[0] != '/' && path.p[0] != '@'))
		return false;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path.p, path.n);
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n);
	if (path.p[0] == '@')
		un->sun_path[0] = '\0';
	else
		out->len++;
	return true;
}

static bool parse_v6(const char *host, uint16_t port, struct address *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	out->len = sizeof(*in6);
	return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
}

static bool parse_v4(const char *host, uint16_t port, struct address *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&out->sa;

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	out->len = sizeof(*in);
	return inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

/* The last colon is the port's. An IPv6 address has its own, hence the brackets; host has room
 * for the longest with them (INET6_ADDRSTRLEN). */
bool address_parse(struct str text, struct address *out)
{
	char host[64];
	size_t colon = text.n;
	uint64_t port;

	memset(out, 0, sizeof(*out));
	if (str_starts(text, STR("unix:")))
		return parse_unix((struct str){text.p + 5, text.n - 5}, out);
	while (colon > 0 && text.p[colon - 1] != ':')
		colon--;
	if (colon < 2 || colon - 1 >= sizeof(host))
		return false;
	if (!str_u64((struct str){text.p + colon, text.n - colon}, &port) || port > 65535)
		return false;
	memcpy(host, text.p, colon - 1);
	host[colon - 1] = '\0';
	if (strcmp(host, "*") == 0)
		return parse_v6("::", (uint16_t)port, out);
	if (strcmp(host, "localhost") == 0)
		return parse_v4("127.0.0.1", (uint16_t)port, out);
	if (host[0] == '[' && host[colon - 2] == ']') {
		host[colon - 2] = '\0';
		return parse_v6(host + 1, (uint16_t)port, out);
	}
	return parse_v4(host, (uint16_t)port, out);
}

bool address_next(struct str *list, struct str *word)
{
	size_t n = 0;

	*list = str_trim(*list);
	while (n < list->n && list->p[n] != ' ' && list->p[n] != '\t')
		n++;
	*word = (struct str){list->p, n};
	list->p += n;
	list->n -= n;
	return n > 0;
}

/* Who is admitted to the admin page depends on it (config_check.c, admin.c). All of 127/8 is
 * this machine; a mapped ::ffff:127.0.0.1 is not taken for it. */
bool address_is_local(const struct address *a)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;

	if (a->sa.ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	if (a->sa.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	return a->sa.ss_family == AF_UNIX;
}

const char *address_path(const struct address *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;

	return a->sa.ss_family == AF_UNIX && un->sun_path[0] == '/' ? un->sun_path : NULL;
}

/* The kernel's length of a path may include its NUL or not; an unnamed socket has the family
 * only. */
static void unix_text(const struct address *a, char out[ADDRESS_TEXT])
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
	size_t n = a->len - offsetof(struct sockaddr_un, sun_path);

	if (a->len <= offsetof(struct sockaddr_un, sun_path))
		snprintf(out, ADDRESS_TEXT, "unix:");
	else if (un->sun_path[0] == '\0')
		snprintf(out, ADDRESS_TEXT, "unix:@%.*s", (int)n - 1, un->sun_path + 1);
	else
		snprintf(out, ADDRESS_TEXT, "unix:%.*s", (int)n, un->sun_path);
}

void address_text(const struct address *a, char out[ADDRESS_TEXT])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->sa.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(out, ADDRESS_TEXT, "%s:%u", host, ntohs(in->sin_port));
	} else if (a->sa.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(out, ADDRESS_TEXT, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		unix_text(a, out);
	}
}
