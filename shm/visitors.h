/*
 * What cookieless ids are made from (events-profiles.md 1.14): the salts of the
 * days that still count, and which visit each visitor is on. Its own memfd and not
 * a region of the segment, because it must outlive what the segment may lose: a
 * new layout of the segment at an upgrade, and the master itself (systemd keeps
 * the descriptor). It is never written to a file, a database or a log.
 *
 * Times are CLOCK_REALTIME or an event's, in ms since 1970; a day is their floor
 * by 86 400 000 (UTC).
 */
#ifndef SHM_VISITORS_H
#define SHM_VISITORS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SALT_BYTES = 32,
	VISITOR_KEY_BYTES = 16,
	VISIT_GAP_MS = 30 * 60 * 1000,       /* a longer silence begins a new session */
	VISIT_KEPT_MS = 24 * 60 * 60 * 1000, /* and this long without any is forgotten */
	VISIT_DAY_MS = 24 * 60 * 60 * 1000
};

struct visitors; /* the mapped bytes; the layout is in visitors_priv.h */

/* An empty, sized and sealed memfd; -errno. */
int visitors_create(void);
/* Maps it, out of core dumps and, as far as the limit of locked memory allows, out of
 * swap. NULL with errno (EPROTO: made by a release of another layout). */
struct visitors *visitors_map(int fd);
void visitors_unmap(struct visitors *v);
/* Locks the salts, then the rest; 0, or -errno when not even the salts could be locked. */
int visitors_lock(struct visitors *v);

/* The UTC day of a time. */
int64_t visitors_day(int64_t ms);

enum salt_found {
	SALT_FOUND,
	SALT_BUSY,    /* another process makes it this moment: ask again in a millisecond */
	SALT_CORRUPT, /* it is not what was stored; stays so until its day is over */
	SALT_DAY,     /* a salt of that day may not exist: only today's and yesterday's do */
};

/* The salt of `day`, made when this is the first to ask for it; now_ms says which days
 * count. The caller wipes its copy. */
enum salt_found visitors_salt(
	struct visitors *v, int64_t day, int64_t now_ms, uint8_t salt[SALT_BYTES]);

enum visit_found {
	VISIT_KNOWN, /* session is the visit's */
	VISIT_NEW,   /* session was taken from `fresh` */
	VISIT_STALE, /* the event is older than the visit that is known; nothing was stored */
	VISIT_FULL,  /* no room; nothing was stored */
	VISIT_BUSY,  /* another process works there: ask again in a millisecond */
};

/* One event of a visitor, and the answer. */
struct visit {
	uint8_t key[VISITOR_KEY_BYTES]; /* of (salt of the day, project, visitor) */
	int64_t time_ms;                /* of the event, on a day whose salt exists */
	int64_t now_ms;
	uint8_t fresh[16]; /* a random UUID, in case that a session begins */
	uint8_t session[16];
};

/* Finds the session and moves the visit on, in one step that no other process can split. */
enum visit_found visitors_visit(struct visitors *v, struct visit *visit);

/* For the master. Wipes salts and visits that do not count any more, and says when to come
 * again at the latest (now_ms and the result are CLOCK_REALTIME). */
int64_t visitors_sweep(struct visitors *v, int64_t now_ms);
/* For the master, when `pid` was reaped: undoes what it was in the middle of. 0: everybody
 * but the master is gone. Returns how many places it mended. */
int visitors_repair(struct visitors *v, pid_t pid);
/* Wipes everything. */
void visitors_wipe(struct visitors *v);

#endif
