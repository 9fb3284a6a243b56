/*
 * Asks the running master. The JSON reader only knows what master/status.c
 * writes: well-formed, no blanks, and the text ends with a NUL.
 */
#include "master/cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "master/address.h"
#include "master/args.h"
#include "master/config.h"

/* As long as the master gives a client (CLIENT_MS of admin.c). Far more than a page has: who
 * listens at an address need not be pugd. */
enum { TIMEOUT_S = 5, ANSWER_MAX = 8 << 20 };

bool client_address(struct args *a, char *out, size_t size)
{
	struct config_report r;
	struct options o;

	for (int i = 1; i + 1 < a->rest_count; i++) {
		if (strcmp(a->rest[i], "--admin") == 0) {
			snprintf(out, size, "%s", a->rest[i + 1]);
			return true;
		}
	}
	/* A configuration that would not start a server may still tell where one listens. */
	config_report_init(&r);
	config_load(&o, a, &r);
	config_report_free(&r);
	snprintf(out, size, "%s", o.admin_listen);
	if (out[0] == '\0')
		fprintf(stderr, "pugd: admin_listen is empty; say --admin ADDRESS\n");
	return out[0] != '\0';
}

static int connect_to(const char *address)
{
	const struct timeval limit = {.tv_sec = TIMEOUT_S};
	struct address a;
	int fd;

	if (!address_parse(str_of(address), &a)) {
		fprintf(stderr, "pugd: %s is not an address\n", address);
		return -1;
	}
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, (struct sockaddr *)&a.sa, a.len) == 0)
			return fd;
	}
	fprintf(stderr, "pugd: cannot reach a running pugd at %s: %s\n", address, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* To the end of the stream: the master ends its side after one answer. */
static bool read_answer(int fd, struct buf *b)
{
	ssize_t n;

	do {
		if (b->n > ANSWER_MAX || !buf_room(b, 65536))
			return false;
		n = recv(fd, b->p + b->n, 65536, 0);
		b->n += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return n == 0;
}

/* Host and Pugd-Admin are what admin.c wants: this machine's name on TCP, and the header for
 * whatever changes something. The NUL is for the JSON reader and for who prints the body; b->n
 * does not count it. */
bool client_ask(const char *address, const char *request, struct buf *b)
{
	char head[256];
	char *body;
	int fd = connect_to(address);
	int n = snprintf(head, sizeof(head),
		"%s HTTP/1.1\r\nHost: localhost\r\nPugd-Admin: 1\r\n\r\n", request);
	bool ok;

	if (fd < 0)
		return false;
	ok = send(fd, head, (size_t)n, MSG_NOSIGNAL) == n && read_answer(fd, b);
	close(fd);
	buf_c(b, '\0');
	body = ok ? strstr(b->p, "\r\n\r\n") : NULL;
	if (!body || strncmp(b->p, "HTTP/1.1 200 ", 13) != 0) {
		fprintf(stderr, "pugd: %s did not answer as expected\n", address);
		return false;
	}
	body += 4;
	b->n -= (size_t)(body - b->p) + 1;
	memmove(b->p, body, b->n + 1);
	return true;
}

/* The byte after the string that begins at s. */
static const char *skip_string(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

/* The byte after the value that begins at s. A number has no end of its own: the byte behind it
 * is looked at. */
static const char *skip_value(const char *s)
{
	int depth = 0;

	if (*s == '"')
		return skip_string(s);
	for (; *s; s++) {
		if (*s == '"') {
			s = skip_string(s) - 1;
			continue;
		}
		if (*s == '{' || *s == '[')
			depth++;
		if (*s == '}' || *s == ']')
			depth--;
		if (depth < 0 || (depth == 0 && (s[1] == ',' || s[1] == '}' || s[1] == ']')))
			return depth < 0 ? s : s + 1;
	}
	return s;
}

/* Names are compared as they are written: status.c has none that needs an escape. */
const char *client_member(const char *object, const char *name)
{
	const char *key, *value;
	size_t n = strlen(name);

	if (!object || *object != '{' || object[1] != '"')
		return NULL;
	for (key = object + 1; *key == '"'; key = *value == ',' ? value + 1 : value) {
		value = skip_string(key);
		if (*value != ':')
			return NULL;
		if ((size_t)(value - key) == n + 2 && memcmp(key + 1, name, n) == 0)
			return value + 1;
		value = skip_value(value + 1);
	}
	return NULL;
}

const char *client_first(const char *array)
{
	return array && *array == '[' && array[1] != ']' ? array + 1 : NULL;
}

const char *client_next(const char *item)
{
	const char *end = item ? skip_value(item) : NULL;

	return end && *end == ',' ? end + 1 : NULL;
}

uint64_t client_number(const char *value)
{
	return value && *value >= '0' && *value <= '9' ? strtoull(value, NULL, 10) : 0;
}

/* Texts may come from a configuration or another process, and a terminal obeys control
 * characters. An escaped one comes out as its digits. */
void client_text(const char *value, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	if (!value || *value != '"')
		return;
	for (value++; *value && *value != '"' && n + 1 < size; value++) {
		if (*value == '\\' && value[1])
			value++;
		out[n++] = (unsigned char)*value < ' ' || *value == 127 ? '.' : *value;
	}
	out[n] = '\0';
}
