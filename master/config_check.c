/*
 * Checks that need more than one option or the world outside, the credential
 * files, and the sealed page that children get.
 */
#include "master/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/address.h"
#include "shm/base/log.h"
#include "shm/message.h"

enum { SECRET_MIN = 32 };

/* Nothing is bound here: the address may be in use by the very server that asks for this
 * check. */
static void check_listen(const struct options *o, const char *name, struct config_report *r)
{
	struct str list = str_of(o->listen), word;
	struct address a;
	int n = 0;

	while (address_next(&list, &word)) {
		if (!address_parse(word, &a))
			config_problem(r,
				"%s: listen: '%.*s' is not HOST:PORT, [IPV6]:PORT or "
				"unix:/PATH",
				name, STR_ARG(word));
		n++;
	}
	if (n > LISTEN_MAX)
		config_problem(r, "%s: listen: more than %d addresses", name, LISTEN_MAX);
}

/* The admin page answers anybody who can connect, so only this machine may. */
static void check_admin(const struct options *o, const char *name, struct config_report *r)
{
	struct address a;

	if (o->admin_listen[0] == '\0')
		return;
	if (!address_parse(str_of(o->admin_listen), &a))
		config_problem(
			r, "%s: admin_listen: '%s' is not an address", name, o->admin_listen);
	else if (!address_is_local(&a))
		config_problem(
			r, "%s: admin_listen: must be a Unix socket or a loopback address", name);
}

/* max_declared is asked first, with the head (worker/net/conn.c): a smaller one would refuse
 * bodies that max_body allows. One call is always let in (worker/net/reserve.c), so
 * worker_memory must be worth one at least. */
static void check_sizes(const struct options *o, const char *name, struct config_report *r)
{
	if (o->max_declared < o->max_body)
		config_problem(r, "%s: max_declared: smaller than max_body", name);
	if (o->call_memory < o->max_body)
		config_problem(r, "%s: call_memory: smaller than max_body", name);
	if (o->worker_memory < o->call_memory)
		config_problem(r, "%s: worker_memory: smaller than call_memory", name);
}

static void check_database(const struct options *o, const char *name, struct config_report *r)
{
	if (o->database_url[0] == '\0')
		config_problem(r, "%s: database_url: must not be empty", name);
}

/* Takes the next entry off a list separated by blanks or commas. The separators are those of
 * client_addr_in(), which reads networks in the worker. */
static bool next_entry(struct str *list, char *out, size_t size)
{
	size_t n = 0;

	while (list->n > 0 && memchr(" \t,", list->p[0], 3)) {
		list->p++;
		list->n--;
	}
	while (n < list->n && !memchr(" \t,", list->p[n], 3))
		n++;
	snprintf(out, size, "%.*s", (int)n, list->p);
	list->p += n;
	list->n -= n;
	return n > 0;
}

/* 10.0.0.0/8, 2001:db8::/32 or one address. What passes here and is no network there would match
 * nobody, without a word. */
static bool is_network(const char *text)
{
	unsigned char address[16];
	char host[64];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	bool v4, v6;
	uint64_t bits = 0;

	if (n >= sizeof(host))
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	v4 = inet_pton(AF_INET, host, address) == 1;
	v6 = !v4 && inet_pton(AF_INET6, host, address) == 1;
	if (slash && !str_u64(str_of(slash + 1), &bits))
		return false;
	return (v4 && bits <= 32) || (v6 && bits <= 128);
}

static void check_networks(
	const char *value, const char *key, bool peers, const char *name, struct config_report *r)
{
	struct str list = str_of(value);
	char entry[128];

	while (next_entry(&list, entry, sizeof(entry)))
		if (!is_network(entry) && !(peers && strcmp(entry, "unix") == 0))
			config_problem(
				r, "%s: %s: '%s' is not an address or network", name, key, entry);
}

static void check_lists(const struct options *o, const char *name, struct config_report *r)
{
	check_networks(o->trusted_proxies, "trusted_proxies", true, name, r);
	check_networks(o->mail_networks, "mail_networks", false, name, r);
}

static void check_origins(const struct options *o, const char *name, struct config_report *r)
{
	struct str list = str_of(o->cors_origins);
	char entry[256];
	const char *star;

	while (next_entry(&list, entry, sizeof(entry))) {
		star = strchr(entry, '*');
		if (star && strchr(star + 1, '*'))
			config_problem(
				r, "%s: cors_origins: '%s' has more than one *", name, entry);
		else if (strncmp(entry, "https://", 8) != 0 && strncmp(entry, "http://", 7) != 0)
			config_problem(r,
				"%s: cors_origins: '%s' does not begin with https:// or "
				"http://",
				name, entry);
	}
}

/* What a worker will read more closely (worker/mail/provider.c). */
static void check_mail(const struct options *o, const char *name, struct config_report *r)
{
	static const char *const schemes[] = {"smtps://", "smtp://"};
	bool known = strcmp(o->mail_url, "resend:") == 0;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(o->mail_url, schemes[i], strlen(schemes[i])) == 0)
			known = o->mail_url[strlen(schemes[i])] != '\0';
	if (o->mail_url[0] && !known)
		config_problem(
			r, "%s: mail_url: must be smtps://HOST, smtp://HOST or resend:", name);
	if (o->mail_url[0] && !strchr(o->mail_from, '@'))
		config_problem(r, "%s: mail_from: must be an address when mail_url is set", name);
	if (o->dashboard_url[0] && strncmp(o->dashboard_url, "https://", 8) != 0 &&
		strncmp(o->dashboard_url, "http://", 7) != 0)
		config_problem(
			r, "%s: dashboard_url: does not begin with https:// or http://", name);
}

void config_check(const struct options *o, const char *name, struct config_report *r)
{
	static void (*const checks[])(
		const struct options *, const char *, struct config_report *) = {
		check_listen,
		check_admin,
		check_sizes,
		check_database,
		check_lists,
		check_origins,
		check_mail,
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](o, name, r);
}

/* One byte more than fits is asked for, so that a file that is too long shows. The mode is that
 * of the file that was opened, whatever its name means by now; its group may read it. */
static void read_secret(const char *key, const char *path, uint8_t out[OPTIONS_SECRET_MAX],
	uint32_t *out_n, struct config_report *r)
{
	uint8_t bytes[OPTIONS_SECRET_MAX + 1];
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0 || (n = read(fd, bytes, sizeof(bytes))) < 0)
		config_problem(r, "%s: %s: %s", key, path, strerror(errno));
	else if (st.st_mode & S_IRWXO)
		config_problem(r, "%s: %s: open to everybody (mode %03o); chmod o= it", key, path,
			st.st_mode & 0777);
	else if (n < SECRET_MIN || n > OPTIONS_SECRET_MAX)
		config_problem(r, "%s: %s: must hold %d to %d bytes", key, path, SECRET_MIN,
			OPTIONS_SECRET_MAX);
	else
		memcpy(out, bytes, *out_n = (uint32_t)n);
	explicit_bzero(bytes, sizeof(bytes));
	if (fd >= 0)
		close(fd);
}

/* A file of text into a NUL-terminated member; line ends after a secret do not count. One that
 * fills the member to its last byte is too long, for the NUL needs that. */
static void read_text(const char *key, const char *path, char *out, size_t size, bool secret,
	struct config_report *r)
{
	unsigned before = r->count;
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	memset(out, 0, size);
	if (fd < 0 || fstat(fd, &st) != 0 || (n = read(fd, out, size)) < 0)
		config_problem(r, "%s: %s: %s", key, path, strerror(errno));
	else if (secret && (st.st_mode & S_IRWXO))
		config_problem(r, "%s: %s: open to everybody (mode %03o); chmod o= it", key, path,
			st.st_mode & 0777);
	else if ((size_t)n >= size)
		config_problem(r, "%s: %s: longer than %zu bytes", key, path, size - 1);
	else if (memchr(out, '\0', (size_t)n))
		config_problem(r, "%s: %s: holds a NUL byte", key, path);
	else
		for (; secret && n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'); n--)
			out[n - 1] = '\0';
	/* commands go on without it (main.c): nothing without a NUL must be left there */
	if (r->count > before)
		explicit_bzero(out, size);
	if (fd >= 0)
		close(fd);
}

/* Optional: the folder's file counts only where there is one, but one that was named must be
 * readable. */
static void read_mail_secret(struct options *o, const char *dir, struct config_report *r)
{
	char path[4096];

	memset(o->mail_secret, 0, sizeof(o->mail_secret));
	snprintf(path, sizeof(path), "%s/pugd.mail", dir ? dir : "");
	if (o->mail_secret_file[0])
		snprintf(path, sizeof(path), "%s", o->mail_secret_file);
	else if (!dir || access(path, F_OK) != 0)
		return;
	read_text("mail_secret_file", path, o->mail_secret, sizeof(o->mail_secret), true, r);
}

/* The folder is systemd's (LoadCredential= in pugd.service). All is read again at each reload,
 * as the user that serves (boot.c). */
void config_credentials(struct options *o, struct config_report *r)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[4096];

	o->secret_len = o->secret_previous_len = 0;
	if (o->credential_file[0])
		snprintf(path, sizeof(path), "%s", o->credential_file);
	else
		snprintf(path, sizeof(path), "%s/pugd.key", dir ? dir : "");
	if (o->credential_file[0] || dir)
		read_secret("credential_file", path, o->secret, &o->secret_len, r);
	else
		config_problem(r, "credential_file: not set, and there is no "
				  "$CREDENTIALS_DIRECTORY/pugd.key");
	if (o->credential_previous_file[0])
		read_secret("credential_previous_file", o->credential_previous_file,
			o->secret_previous, &o->secret_previous_len, r);
	read_mail_secret(o, dir, r);
	memset(o->auth_config, 0, sizeof(o->auth_config));
	if (o->auth_config_file[0])
		read_text("auth_config_file", o->auth_config_file, o->auth_config,
			sizeof(o->auth_config), false, r);
}

static size_t value_bytes(const struct option_row *row)
{
	if (row->kind == OPTION_TEXT)
		return row->bytes;
	return row->kind == OPTION_BOOL ? sizeof(bool) : sizeof(int64_t);
}

/* Bytes are compared: set_text() fills the whole member, so equal texts are equal bytes. */
void config_warn_fixed(const struct options *running, const struct options *wanted)
{
	const struct option_row *row;

	for (size_t i = 0; i < config_row_count; i++) {
		row = &config_rows[i];
		if (row->key && !row->reloadable &&
			memcmp((const char *)running + row->offset,
				(const char *)wanted + row->offset, value_bytes(row)) != 0)
			log_warn("option counts only after a restart key=%s", row->key);
	}
}

/* Sealed, so that a worker gone wild cannot change what its neighbours, or a seat that is filled
 * again later, start with. Written and not mapped: F_SEAL_WRITE fails while there is a writable
 * mapping. */
int config_memfd(const struct options *o)
{
	int fd = memfd_create("pugd-options", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	if (fd < 0)
		return -errno;
	if (write(fd, o, sizeof(*o)) == (ssize_t)sizeof(*o) &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) ==
			0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

bool config_read_memfd(int fd, struct options *o)
{
	struct options *page = malloc(sizeof(*page));
	bool ok = page && lseek(fd, 0, SEEK_END) == (off_t)sizeof(*page) &&
		  pread(fd, page, sizeof(*page), 0) == (ssize_t)sizeof(*page);

	if (ok)
		memcpy(o, page, sizeof(*o));
	if (page)
		explicit_bzero(page, sizeof(*page));
	free(page);
	return ok;
}
