/*
 * What the master and a child (worker or keeper) agree on: how a child is
 * started, and the few messages that pass between them.
 *
 * Start: fork + fexecve of the master's own executable (fd of /proc/self/exe,
 * opened at the master's start, so that a generation always runs one binary):
 *   pugd --worker SLOT       pugd --keeper SLOT       SLOT in [0, SLOTS_MAX)
 * File descriptors, exactly these; everything else was closed by exec:
 *   0 /dev/null   1, 2 the master's standard error
 *   3 FD_CONTROL  SOCK_SEQPACKET socketpair to the master; EOF: the master died
 *   4 FD_SEGMENT  the shared segment; segment_map(FD_SEGMENT)
 *   5 FD_OPTIONS  sealed memfd holding exactly one struct options
 *   6 FD_LISTEN   first of PUGD_LISTEN_COUNT listening sockets, non-blocking;
 *                 a keeper gets none
 *   and a worker, behind the last listener, the visitors of cookieless events
 *   (shm/visitors.h): PUGD_VISITORS_FD is its number; without it there are none
 * Environment: PUGD_GENERATION and PUGD_LISTEN_COUNT (decimal), and of the
 * master's only PATH HOME LANG LC_ALL TZ USER LOGNAME PG* SSL_* *SAN_OPTIONS
 * CREDENTIALS_DIRECTORY JOURNAL_STREAM LLVM_PROFILE_FILE.
 * PR_SET_PDEATHSIG is SIGTERM. SIGTERM to a child means the same as DRAIN.
 * All signals are at their defaults and unblocked.
 *
 * Life: the child maps the segment, fills its slot (the master has set state
 * STARTING, pid, generation, keeper, started_ms before the child runs),
 * sends READY, and from then on stores heartbeat_ms on every tick. On DRAIN
 * it stops accepting, finishes its calls, lingers and exits 0. On STOP it
 * exits 0 at once. Exit 78 means: do not start me again, it would not help.
 * A command of worker/cli/ finds its options in FD_OPTIONS, too.
 * Nothing else is ever sent; each side drops a message of a wrong size,
 * version or type (and logs it).
 */
#ifndef SHM_MESSAGE_H
#define SHM_MESSAGE_H

#include <stdint.h>

enum { FD_CONTROL = 3, FD_SEGMENT = 4, FD_OPTIONS = 5, FD_LISTEN = 6 };
enum { LISTEN_MAX = 16 };
enum { EXIT_DRAINED = 0, EXIT_HOPELESS = 78 };

/* Both sides are always the same binary, or the master is newer: the number
 * changes whenever struct message does. */
enum { MESSAGE_VERSION = 1 };

enum message_type {
	MESSAGE_READY = 1, /* child -> master: serving (accepting, for a worker) */
	MESSAGE_DRAIN = 2, /* master -> child: finish what you have and exit 0 */
	MESSAGE_STOP = 3,  /* master -> child: exit 0 now */
};

/* Sent whole with one send(2); a SEQPACKET socket keeps the boundaries. */
struct message {
	uint32_t version;  /* MESSAGE_VERSION */
	uint32_t type;     /* enum message_type */
	uint32_t degraded; /* READY: 1 when PostgreSQL did not answer yet */
	uint32_t pad;
};

_Static_assert(sizeof(struct message) == 16, "struct message is an agreement between binaries");

#endif
