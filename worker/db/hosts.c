/*
 * Host names of a connection string -> addresses, because libpq's own lookup would
 * block the loop. Sockets and literal addresses need none of this. A host with
 * several addresses becomes several entries, which libpq tries in order.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shm/base/log.h"
#include "worker/db/internal.h"

enum { HOSTS_TEXT = 2048 };

struct lists {
	char names[HOSTS_TEXT], addresses[HOSTS_TEXT], ports[HOSTS_TEXT];
};

struct hosts {
	char host[512], port[256]; /* as configured, comma-separated */
	struct lists found;
	struct lists *fresh; /* of the last lookup, until adopted */
};

static bool literal(const char *host)
{
	uint8_t room[sizeof(struct in6_addr)];

	return !*host || *host == '/' || *host == '@' || inet_pton(AF_INET, host, room) == 1 ||
	       inet_pton(AF_INET6, host, room) == 1;
}

/* The next entry of a comma-separated list into out; false at its end. */
static bool next_entry(const char **at, char *out, size_t size)
{
	size_t n;

	if (!*at)
		return false;
	n = strcspn(*at, ",");
	snprintf(out, size, "%.*s", (int)n, *at);
	*at = (*at)[n] ? *at + n + 1 : NULL;
	return true;
}

/* What cannot be parsed has no names: connecting will say what is wrong with it. */
struct hosts *hosts_new(const char *url)
{
	PQconninfoOption *all = PQconninfoParse(url, NULL);
	const char *host = "", *port = "", *at;
	bool given = false, names = false;
	struct hosts *h = NULL;
	char one[256];

	for (PQconninfoOption *o = all; o && o->keyword; o++) {
		if (!o->val)
			continue;
		if (strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (strcmp(o->keyword, "port") == 0)
			port = o->val;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			given = *o->val != '\0';
	}
	for (at = host; next_entry(&at, one, sizeof(one));)
		names = names || !literal(one);
	if (names && !given)
		h = calloc(1, sizeof(*h));
	if (h) {
		snprintf(h->host, sizeof(h->host), "%s", host);
		snprintf(h->port, sizeof(h->port), "%s", port);
	}
	PQconninfoFree(all);
	return h;
}

static void append(char *list, const char *text, bool first)
{
	size_t n = strlen(list);

	snprintf(list + n, HOSTS_TEXT - n, "%s%s", first ? "" : ",", text);
}

/* The port is never empty: by it hosts_names() and the others see that anything was found. */
static void add_entry(struct lists *l, const char *name, const char *address, const char *port)
{
	bool first = !*l->names && !*l->ports && !*l->addresses;

	append(l->names, name, first);
	append(l->addresses, address, first);
	append(l->ports, *port ? port : "5432", first);
}

static bool resolve_one(struct lists *l, const char *name, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL;
	char address[NI_MAXHOST];
	int failed;

	if (literal(name)) {
		add_entry(l, name, *name == '/' || *name == '@' ? "" : name, port);
		return true;
	}
	failed = getaddrinfo(name, NULL, &hints, &list);
	if (failed)
		log_warn("cannot resolve database host host=%s reason=\"%s\"", name,
			gai_strerror(failed));
	for (struct addrinfo *a = list; a; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0,
			    NI_NUMERICHOST) == 0)
			add_entry(l, name, address, port);
	if (list)
		freeaddrinfo(list);
	return !failed;
}

void hosts_resolve(struct hosts *h)
{
	struct lists *found;
	const char *host, *port;
	char one[256], its_port[32] = "";
	bool any = false;

	if (!h)
		return;
	found = calloc(1, sizeof(*found));
	if (!found)
		return;
	host = h->host;
	port = *h->port ? h->port : NULL;
	/* One port may stand for all hosts. */
	while (next_entry(&host, one, sizeof(one))) {
		next_entry(&port, its_port, sizeof(its_port));
		any = resolve_one(found, one, its_port) || any;
	}
	/* then what an earlier lookup found stays good */
	if (!any) {
		free(found);
		return;
	}
	free(h->fresh);
	h->fresh = found;
}

void hosts_adopt(struct hosts *h)
{
	if (!h || !h->fresh)
		return;
	h->found = *h->fresh;
	free(h->fresh);
	h->fresh = NULL;
}

void hosts_free(struct hosts *h)
{
	if (h)
		free(h->fresh);
	free(h);
}

const char *hosts_names(const struct hosts *h)
{
	return h && *h->found.ports ? h->found.names : NULL;
}

const char *hosts_addresses(const struct hosts *h)
{
	return h && *h->found.ports ? h->found.addresses : NULL;
}

const char *hosts_ports(const struct hosts *h)
{
	return h && *h->found.ports ? h->found.ports : NULL;
}
