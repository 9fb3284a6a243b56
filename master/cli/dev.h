/* What the parts of `pugd dev` share. */
#ifndef MASTER_CLI_DEV_H
#define MASTER_CLI_DEV_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct dev {
	char data[PATH_MAX];    /* --data, absolute */
	char cluster[PATH_MAX]; /* PostgreSQL's data directory */
	char sockets[96];       /* folder of its socket: sun_path is short */
	char bin[PATH_MAX];     /* folder of initdb and postgres */
	char exe[PATH_MAX];     /* this binary, for the children */
	char database_url[256];
	char admin[128]; /* where `pugd status` finds the master */
	char url[64];
	int port;
	long seed;
	const char *config; /* --config or NULL */
	char **overrides;   /* further -o key=value, passed on */
	int n_overrides;
	uid_t pg_uid; /* who runs PostgreSQL; 0 = we do */
	gid_t pg_gid;
	int listen_fd, listen6_fd, notify_fd; /* listen6_fd: -1 without IPv6 */
	char notify_path[64];                 /* abstract name of the READY socket */
	pid_t postgres, master;
};

/* True when the data folder's name may stand in a socket's path, a URL and a shell line;
 * else the sockets go elsewhere. */
bool dev_plain_folder(const struct dev *d);
/* Finds the binaries, makes folders and the cluster where they are missing. false after
 * printing why. */
bool dev_pg_prepare(struct dev *d);
/* Starts PostgreSQL and waits until it answers, at most 30 s. */
bool dev_pg_start(struct dev *d);
/* Fast shutdown; waits for it. */
void dev_pg_stop(struct dev *d);
/* After its death: starts it again without waiting. */
void dev_pg_again(struct dev *d);

/* fork + exec in a process group of its own, so that ^C reaches only us; as_pg: as the user of
 * PostgreSQL. */
pid_t dev_spawn(struct dev *d, const char *path, char *const argv[], bool as_pg);
/* Waits for it; true when it exited with 0 and nobody asked us to end meanwhile. */
bool dev_wait(pid_t pid);
/* Prints "pugd dev: ..." on stderr; returns false. */
bool dev_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Values of DIR/demo.conf, written by `pugd seed`. */
bool dev_demo_value(const struct dev *d, const char *key, char *out, size_t n);
/* DIR/dev.json and the banner. */
bool dev_report(const struct dev *d);

#endif
