/* See salt.h. Which process writes what, and how it is mended: shm/visitors.c. */
#include "master/salt.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "master/master.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/visitors.h"

/* The manager's store has room for one (FileDescriptorStoreMax= in pugd.service): without the
 * removal it would keep this and refuse the one that is made instead. */
static void drop_useless(struct master *m, int error)
{
	log_warn("visitors that were kept cannot be used, beginning anew error=\"%s\"",
		error == EPROTO ? "another layout" : strerror(error));
	notify_send(&m->notify, "FDSTOREREMOVE=1\nFDNAME=%s", SALT_FD_NAME);
	close(m->salt.fd);
	m->salt.fd = -1;
}

static void take_over(struct master *m, int resumed)
{
	m->salt.map = visitors_map(m->salt.fd);
	if (!m->salt.map)
		drop_useless(m, errno);
	else if (!resumed)
		/* Whoever wrote in it died with the master before us, or after it. */
		log_info("visitors kept over the restart mended=%d",
			visitors_repair(m->salt.map, 0));
}

static void make(struct master *m)
{
	int fd = visitors_create();

	m->salt.map = fd < 0 ? NULL : visitors_map(fd);
	if (!m->salt.map) {
		log_err("no memory for visitors, cookieless events will be dropped error=\"%s\"",
			strerror(fd < 0 ? -fd : errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	m->salt.fd = fd;
	notify_store(&m->notify, SALT_FD_NAME, fd);
}

void salt_open(struct master *m, int resumed)
{
	int rc;

	if (m->salt.fd >= 0)
		take_over(m, resumed);
	if (m->salt.fd < 0)
		make(m);
	rc = m->salt.map ? visitors_lock(m->salt.map) : 0;
	if (rc < 0)
		log_warn("cannot lock the salts in memory, they might be swapped error=\"%s\"",
			strerror(-rc));
	/* At the first turn: while nobody swept, a day may have ended. */
	m->salt.sweep_ms = 0;
}

void salt_repair(struct master *m, pid_t pid)
{
	int mended = m->salt.map ? visitors_repair(m->salt.map, pid) : 0;

	if (mended > 0)
		log_info("visitors mended pid=%d places=%d", (int)pid, mended);
}

uint64_t salt_tick(struct master *m, uint64_t now_ms)
{
	/* The wall clock is what ends a day, and it may be set at any moment: it is asked at
	 * every turn, which a master with workers makes four times a second. */
	int64_t real_ms = clock_real_ms(), left;

	if (!m->salt.map)
		return UINT64_MAX;
	if (real_ms >= m->salt.sweep_ms || real_ms < m->salt.swept_ms) {
		m->salt.swept_ms = real_ms;
		m->salt.sweep_ms = visitors_sweep(m->salt.map, real_ms);
	}
	left = m->salt.sweep_ms - real_ms;
	return now_ms + (uint64_t)(left > 0 ? left : 0);
}

void salt_close(struct master *m)
{
	/* `pugd dev` listens to what we notify, but keeps nothing. */
	if (m->salt.map && (m->notify.fd < 0 || m->opt.dev))
		visitors_wipe(m->salt.map);
	visitors_unmap(m->salt.map);
	if (m->salt.fd >= 0)
		close(m->salt.fd);
}
