/*
 * The worker process: from exec to exit. It takes what the master left at
 * fixed descriptors (shm/message.h), warms up, enters the sandbox, says READY
 * and serves until it is told to drain, to stop, or the master is gone.
 * A keeper is the same without listeners, with jobs.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/spare.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/base/str.h"
#include "shm/message.h"
#include "shm/options.h"
#include "shm/segment.h"
#include "shm/visitors.h"
#include "worker/coro.h"
#include "worker/crash.h"
#include "worker/loop.h"
#include "worker/modules.h"
#include "worker/net/net.h"
#include "worker/offload.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

enum {
	/* READY comes without the database after this long: a server that says
	 * "unavailable" is better than none, and the pool keeps trying. */
	WARM_UP_MS = 2000,
	BEAT_MS = 1000,
	/* Coroutines that are no calls: jobs, group commits, connects. */
	OTHER_COROUTINES = 64,
	/* Large bodies come from mmap and go back to the kernel; without a fixed
	 * threshold glibc raises it to 32 MB and keeps them. An arena's chunks (256 KB)
	 * do not: mapping them anew for every batch of events is a quarter of its cost.
	 * What the heap's end may keep instead is bounded as well. */
	MMAP_THRESHOLD = 1 << 20,
	TRIM_THRESHOLD = 32 << 20,
	MALLOC_ARENAS = 4,
	/* Calls that may wait for another server, per worker. */
	OUTBOUND_QUEUE = 64,
	/* The one of the scan before may not have left its thread yet. */
	TWIN_QUEUE = 64,
	/* Queries whose memory waits to be given back: far more than can end at once. */
	FREE_QUEUE = 256,
	/* crumbs[1..16], one for each thread of the pools that run code for calls. */
	THREADS_MAX = CRUMBS_PER_SLOT - 1
};

struct process {
	struct worker w;
	struct loop_io control, signals;
	struct loop_timer warm_up, drain_bound, beat;
	int listen_count;
	bool ready;
	bool stop_now;
};

/* The one global of the process, see worker.h. */
static struct process self;

struct worker *worker_self(void)
{
	return &self.w;
}

/* ---- leaving ---- */

static void drain_over(struct loop_timer *t)
{
	struct worker *w = &self.w;

	(void)t;
	log_warn("drain timeout calls=%u connections=%u", w->net ? net_calls(w->net) : 0,
		w->net ? net_connections(w->net) : 0);
	self.stop_now = true;
	loop_stop(w->loop);
}

static void drain(const char *why)
{
	struct worker *w = &self.w;

	if (w->draining)
		return;
	log_info("draining reason=%s", why);
	w->draining = true;
	atomic_store(&w->slot->state, SLOT_DRAINING);
	if (w->net)
		net_drain(w->net);
	loop_timer_set(w->loop, &self.drain_bound, (uint64_t)w->opt->drain_timeout);
}

static bool drained(const struct worker *w)
{
	/* A job that is cut off is rolled back by the database and runs again, but a mail
	 * that is cut off may have been sent. */
	if (!w->net)
		return worker_modules_idle(w);
	return net_connections(w->net) == 0 && net_calls(w->net) == 0;
}

static void stop(void)
{
	self.stop_now = true;
	loop_stop(self.w.loop);
}

/* ---- the master ---- */

static void control_message(const struct message *m)
{
	if (m->version != MESSAGE_VERSION)
		log_warn("control message dropped version=%u", m->version);
	else if (m->type == MESSAGE_DRAIN)
		drain("asked");
	else if (m->type == MESSAGE_STOP)
		stop();
	else
		log_warn("control message dropped type=%u", m->type);
}

static void control_ready(struct loop_io *io, uint32_t events)
{
	struct message m;
	ssize_t n = recv(io->fd, &m, sizeof(m), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		if ((size_t)n == sizeof(m))
			control_message(&m);
		else
			log_warn("control message dropped size=%zd", n);
		return;
	}
	loop_del(self.w.loop, io);
	drain("master gone");
}

static void signal_ready(struct loop_io *io, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	while (read(io->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		drain("SIGTERM");
}

/* Last of all: to the master a worker that said so accepts (shm/message.h). */
static void say_ready(bool degraded)
{
	struct message m = {
		.version = MESSAGE_VERSION,
		.type = MESSAGE_READY,
		.degraded = degraded,
	};

	if (send(self.w.ctl_fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
		log_warn("telling the master failed error=%d", errno);
}

/* ---- warm-up ---- */

static void open_doors(void)
{
	struct worker *w = &self.w;
	int i, rc;

	if (w->keeper) {
		if (!worker_modules_jobs(w))
			log_err("starting the jobs failed");
		return;
	}
	for (i = 0; i < self.listen_count; i++) {
		rc = net_listen(w->net, FD_LISTEN + i);
		if (rc < 0)
			log_err("listening failed fd=%d error=%d", FD_LISTEN + i, -rc);
	}
}

/* Once, as soon as the database answered or the time is over. */
static void become_ready(bool degraded)
{
	struct worker *w = &self.w;

	self.ready = true;
	loop_timer_stop(w->loop, &self.warm_up);
	/* before the doors are open: no byte of a client is read outside of it */
	sandbox_enter(w->opt);
	/* Looking for the database may have taken threads, and Landlock binds only those that start
	 * after it: none of them may get another job. */
	if (!offload_renew(w->offload))
		log_warn("threads stay outside of the sandbox");
	if (degraded)
		log_warn("starting without the database");
	if (!w->draining) {
		open_doors();
		atomic_store(&w->slot->state, SLOT_READY);
	}
	say_ready(degraded);
}

static void warm_up_over(struct loop_timer *t)
{
	(void)t;
	become_ready(true);
}

static void expire_spares(void *arg)
{
	(void)arg;
	spare_expire(clock_mono_ms());
}

/* Causes a turn: an idle loop must not look like a hanging one. */
static void beat(struct loop_timer *t)
{
	uint64_t often = (uint64_t)self.w.opt->hang_timeout / 4;

	if (self.w.offload && spare_old(clock_mono_ms()))
		offload_give(self.w.offload, OFFLOAD_FREE, expire_spares, NULL);
	loop_timer_set(self.w.loop, t, often < BEAT_MS ? often : BEAT_MS);
}

static void tick(void *arg)
{
	struct worker *w = arg;
	bool up = worker_modules_up(w);

	atomic_store_explicit(&w->slot->heartbeat_ms, loop_now_ms(w->loop), memory_order_relaxed);
	atomic_store_explicit(&w->slot->db_up, up, memory_order_relaxed);
	atomic_store_explicit(&w->slot->degraded, !up, memory_order_relaxed);
	if (!self.ready && up)
		become_ready(false);
	if (w->net)
		net_tick(w->net);
	if (w->draining && drained(w))
		loop_stop(w->loop);
}

/* ---- start ---- */

static bool read_number(struct str s, uint64_t most, int *out)
{
	uint64_t n;

	if (!s.p || !str_u64(s, &n) || n > most)
		return false;
	*out = (int)n;
	return true;
}

static bool read_arguments(int argc, char **argv)
{
	struct worker *w = &self.w;
	int generation = 0;

	if (argc != 3 || !read_number(str_of(argv[2]), SLOTS_MAX - 1, &w->slot_no))
		return false;
	w->keeper = strcmp(argv[1], "--keeper") == 0;
	if (!read_number(str_of(getenv("PUGD_GENERATION")), INT32_MAX, &generation) ||
		!read_number(str_of(getenv("PUGD_LISTEN_COUNT")), LISTEN_MAX, &self.listen_count))
		return false;
	w->generation = (uint32_t)generation;
	w->ctl_fd = FD_CONTROL;
	return true;
}

static const struct options *map_options(void)
{
	struct stat st;
	void *p;

	if (fstat(FD_OPTIONS, &st) < 0 || st.st_size != (off_t)sizeof(struct options))
		return NULL;
	p = mmap(NULL, sizeof(struct options), PROT_READ, MAP_PRIVATE, FD_OPTIONS, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* Without it the server serves, but drops cookieless events. */
static void map_visitors(void)
{
	const char *text = getenv("PUGD_VISITORS_FD");
	struct worker *w = &self.w;
	int fd;

	if (w->keeper)
		return;
	if (text && read_number(str_of(text), INT32_MAX, &fd)) {
		w->visitors = visitors_map(fd);
		/* The mapping is enough; and it is locked by whoever maps it, for as long. */
		close(fd);
		if (w->visitors)
			visitors_lock(w->visitors);
	}
	if (!w->visitors)
		log_warn("cookieless events will be dropped error=%d", text ? errno : 0);
}

static bool take_inheritance(void)
{
	struct worker *w = &self.w;
	char prefix[48];

	w->opt = map_options();
	w->seg = segment_map(FD_SEGMENT);
	if (!w->opt || !w->seg)
		return false;
	w->slot = segment_slot(w->seg, w->slot_no);
	if (w->keeper)
		snprintf(prefix, sizeof(prefix), "keeper g=%u", w->generation);
	else
		snprintf(prefix, sizeof(prefix), "w=%d g=%u", w->slot_no, w->generation);
	log_setup(prefix, (int)w->opt->log_level);
	atomic_store(&w->slot->heartbeat_ms, clock_mono_ms());
	map_visitors();
	return true;
}

/* SIGTERM comes through the loop; the others come to a whole process group and
 * are the master's business. */
static bool setup_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
	sigset_t term;
	size_t i;

	for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	self.signals =
		(struct loop_io){signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK), signal_ready};
	return self.signals.fd >= 0;
}

static void setup_limits(const struct options *opt)
{
	struct rlimit rl;
	rlim_t want = (rlim_t)opt->max_connections + 256;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < want) {
		rl.rlim_cur = rl.rlim_max < want ? rl.rlim_max : want;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
	mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
	mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	coro_setup((unsigned)opt->max_calls + OTHER_COROUTINES);
}

static bool build_offload(struct worker *w)
{
	int64_t fast = w->opt->hash_threads, scan = w->opt->insight_threads;
	const int64_t out = w->opt->outbound_threads, rest = THREADS_MAX - out;
	const int queues[OFFLOAD_POOLS] = {[OFFLOAD_FAST] = (int)w->opt->hash_queue,
		[OFFLOAD_SCAN] = (int)w->opt->insight_queue,
		[OFFLOAD_OUT] = OUTBOUND_QUEUE,
		[OFFLOAD_TWIN] = TWIN_QUEUE,
		[OFFLOAD_FREE] = FREE_QUEUE};
	int threads[OFFLOAD_POOLS];

	fast = fast > rest / 2 ? rest / 2 : fast;
	scan = scan > rest - fast ? rest - fast : scan;
	threads[OFFLOAD_FAST] = (int)fast;
	threads[OFFLOAD_SCAN] = (int)scan;
	threads[OFFLOAD_OUT] = (int)out;
	/* these leave no crumbs: their scan does, and freeing runs no code of a call's */
	threads[OFFLOAD_TWIN] = (int)scan;
	threads[OFFLOAD_FREE] = 1;
	w->offload = offload_new(w->loop, threads, queues);
	if (w->offload)
		offload_set_crumbs(w->offload, w->slot->crumbs);
	return w->offload != NULL;
}

/* 0, or the status to exit with. */
static int build(struct worker *w)
{
	struct net_setup setup = {
		.opt = w->opt,
		.seg = w->seg,
		.slot_no = w->slot_no,
		.slot = w->slot,
	};

	setup.loop = w->loop = loop_new();
	if (!w->loop || !build_offload(w))
		return EXIT_FAILURE;
	if (!w->keeper && !(w->net = net_new(&setup)))
		return EXIT_FAILURE;
	self.control = (struct loop_io){w->ctl_fd, control_ready};
	self.warm_up.fire = warm_up_over;
	self.drain_bound.fire = drain_over;
	self.beat.fire = beat;
	beat(&self.beat);
	loop_timer_set(w->loop, &self.warm_up, WARM_UP_MS);
	if (loop_add(w->loop, &self.control, EPOLLIN) != 0 ||
		loop_add(w->loop, &self.signals, EPOLLIN) != 0)
		return EXIT_FAILURE;
	return worker_modules_start(w);
}

static void tear_down(struct worker *w)
{
	/* The chores of ended connections still refer to the net. */
	loop_once(w->loop, 0);
	worker_modules_stop(w);
	net_free(w->net);
	offload_free(w->offload);
	loop_free(w->loop);
	coro_teardown();
}

int worker_main(int argc, char **argv)
{
	struct worker *w = &self.w;
	int status;

	if (!read_arguments(argc, argv) || !take_inheritance()) {
		fprintf(stderr,
			"pugd: this is how the master starts its children; see pugd help\n");
		return EXIT_HOPELESS;
	}
	crash_setup(w->slot);
	setup_limits(w->opt);
	status = setup_signals() ? build(w) : EXIT_FAILURE;
	if (status != 0) {
		log_err("starting failed status=%d error=%d", status, errno);
		return status;
	}
	loop_run(w->loop, tick, w);
	/* In a hurry nothing is put in order: threads may be busy for long. Nor while a
	 * coroutine is left (a job, a look-up of the database's address): a thread may
	 * be working for it on what would be freed. */
	if (self.stop_now || coro_count() > 0)
		_exit(EXIT_DRAINED);
	tear_down(w);
	log_info("drained");
	return EXIT_DRAINED;
}
