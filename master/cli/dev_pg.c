/*
 * The private PostgreSQL of `pugd dev`: one cluster in the data folder, reached
 * by Unix socket only. initdb refuses uid 0, and the user `postgres` cannot
 * enter a private home, so for root the cluster lives in a state directory of
 * its own and the data folder holds a link to it (D88).
 */
#include "master/cli/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/hash.h"

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* Joins into a fixed buffer; false (with a message) when it does not fit. */
static bool join(char *out, size_t n, const char *a, const char *b)
{
	if ((size_t)snprintf(out, n, "%s%s", a, b) >= n)
		return dev_fail("path too long: %s%s", a, b);
	return true;
}

static bool make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return true;
	return dev_fail("cannot make %s: %s", path, strerror(errno));
}

/* Debian keeps one folder a version; the newest wins. Elsewhere: PATH. */
static bool find_binaries(struct dev *d)
{
	static const char *const patterns[] = {
		"/usr/lib/postgresql/*/bin/initdb", "/usr/local/bin/initdb", "/usr/bin/initdb"};
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		glob_t g;
		bool found = glob(patterns[i], 0, NULL, &g) == 0 && g.gl_pathc > 0;
		if (found) {
			snprintf(d->bin, sizeof(d->bin), "%s", g.gl_pathv[g.gl_pathc - 1]);
			*strrchr(d->bin, '/') = '\0';
		}
		globfree(&g);
		if (found)
			return true;
	}
	return dev_fail(
		"PostgreSQL is not installed: no initdb found (apt-get install postgresql)");
}

/* The state directory of a root-run cluster: named after the data folder. hash_64() has no key,
 * so a folder finds its cluster again. */
static bool root_cluster(struct dev *d)
{
	struct passwd *pw = getpwnam("postgres");
	if (!pw)
		return dev_fail("running as root needs the user `postgres` for the database");
	d->pg_uid = pw->pw_uid;
	d->pg_gid = pw->pw_gid;
	char base[64];
	uint64_t id = hash_64(d->data, strlen(d->data));
	snprintf(base, sizeof(base), "/var/lib/pugd-dev/%016llx", (unsigned long long)id);
	if (!make_dir("/var/lib/pugd-dev", 0755) || !make_dir(base, 0700))
		return false;
	if (chown(base, d->pg_uid, d->pg_gid) != 0)
		return dev_fail("cannot chown %s: %s", base, strerror(errno));
	char link_path[PATH_MAX];
	if (!join(link_path, sizeof(link_path), d->data, "/postgres"))
		return false;
	(void)unlink(link_path);
	if (symlink(base, link_path) != 0)
		return dev_fail("cannot link %s: %s", link_path, strerror(errno));
	/* A data folder that was deleted leaves its cluster behind: it is not ours. */
	char marker[PATH_MAX];
	if (!join(marker, sizeof(marker), d->data, "/credential"))
		return false;
	snprintf(d->sockets, sizeof(d->sockets), "%s", base);
	if (!join(d->cluster, sizeof(d->cluster), base, "/data"))
		return false;
	if (!exists(marker) && exists(d->cluster)) {
		char old[PATH_MAX];
		snprintf(old, sizeof(old), "%s.old-%lld", base, (long long)time(NULL));
		if (rename(base, old) != 0 || !make_dir(base, 0700) ||
			chown(base, d->pg_uid, d->pg_gid) != 0)
			return dev_fail("cannot move %s away", base);
	}
	return true;
}

bool dev_plain_folder(const struct dev *d)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._-+@";
	/* "<folder>/.s.PGSQL.5432" must fit 107 bytes. */
	return strlen(d->data) < 80 && d->data[strspn(d->data, plain)] == '\0';
}

static bool user_cluster(struct dev *d)
{
	struct stat st;

	if (!join(d->cluster, sizeof(d->cluster), d->data, "/postgres"))
		return false;
	if (dev_plain_folder(d))
		return join(d->sockets, sizeof(d->sockets), d->data, "");
	snprintf(d->sockets, sizeof(d->sockets), "/tmp/pugd-dev-%u-%016llx", getuid(),
		(unsigned long long)hash_64(d->data, strlen(d->data)));
	if (!make_dir(d->sockets, 0700))
		return false;
	/* anybody may have made it before: whoever owns it owns the socket inside */
	if (lstat(d->sockets, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() &&
		(st.st_mode & 077) == 0)
		return true;
	return dev_fail("%s must be a folder that only you can use", d->sockets);
}

static bool init_cluster(struct dev *d)
{
	char marker[PATH_MAX], initdb[PATH_MAX];
	if (!join(marker, sizeof(marker), d->cluster, "/PG_VERSION"))
		return false;
	if (!join(initdb, sizeof(initdb), d->bin, "/initdb"))
		return false;
	if (exists(marker))
		return true;
	printf("Creating a private PostgreSQL in %s\n", d->cluster);
	fflush(stdout);
	/* The socket's folder is closed to others, so local connections need no password. */
	char *argv[] = {initdb, (char[]){"-D"}, d->cluster, (char[]){"-U"}, (char[]){"pugd"},
		(char[]){"--auth=trust"}, (char[]){"--encoding=UTF8"}, (char[]){"--locale=C"},
		(char[]){"--no-instructions"}, NULL};
	if (!dev_wait(dev_spawn(d, initdb, argv, true)))
		return dev_fail("initdb failed; see above");
	return true;
}

bool dev_pg_prepare(struct dev *d)
{
	if (!find_binaries(d))
		return false;
	if (!(geteuid() == 0 ? root_cluster(d) : user_cluster(d)))
		return false;
	snprintf(d->database_url, sizeof(d->database_url),
		"postgresql://pugd@/postgres?host=%s&port=5432", d->sockets);
	return init_cluster(d);
}

/* The log goes to a file and not between what we print. Nothing listens on TCP: the port is only
 * part of the socket's name. */
static void launch(struct dev *d)
{
	char postgres[PATH_MAX], sockets[128];
	if (!join(postgres, sizeof(postgres), d->bin, "/postgres"))
		return;
	snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", d->sockets);
	char *argv[] = {postgres, (char[]){"-D"}, d->cluster, (char[]){"-c"}, sockets,
		(char[]){"-c"}, (char[]){"listen_addresses="}, (char[]){"-c"},
		(char[]){"unix_socket_permissions=0700"}, (char[]){"-c"},
		(char[]){"max_connections=200"}, (char[]){"-c"}, (char[]){"logging_collector=on"},
		(char[]){"-c"}, (char[]){"log_directory=log"}, (char[]){"-c"},
		(char[]){"log_filename=postgresql.log"}, (char[]){"-c"}, (char[]){"port=5432"},
		NULL};
	d->postgres = dev_spawn(d, postgres, argv, true);
}

bool dev_pg_start(struct dev *d)
{
	launch(d);
	for (int i = 0; i < 300; i++) {
		if (PQping(d->database_url) == PQPING_OK)
			return true;
		/* A previous run may still be shutting down: its lock file goes away. */
		if (d->postgres > 0 && waitpid(d->postgres, NULL, WNOHANG) == d->postgres)
			launch(d);
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	}
	return dev_fail("PostgreSQL did not start; see %s/log/postgresql.log", d->cluster);
}

void dev_pg_stop(struct dev *d)
{
	if (d->postgres <= 0)
		return;
	(void)kill(d->postgres, SIGINT);
	(void)dev_wait(d->postgres);
	d->postgres = 0;
	/* A folder of our own in /tmp; anything else is not empty. */
	if (strncmp(d->sockets, "/tmp/", 5) == 0)
		(void)rmdir(d->sockets);
}

void dev_pg_again(struct dev *d)
{
	/* Orphaned backends hold the old shared memory for a moment: postgres would refuse,
	 * die, and be started again by the next round. */
	nanosleep(&(struct timespec){0, 200000000}, NULL);
	launch(d);
}
