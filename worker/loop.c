/*
 * The event loop: one level-triggered epoll, a binary heap of timers, chores
 * for the end of a turn, and a list that other threads may append to.
 *
 * One turn: wait, deliver events, fire due timers, run what threads posted,
 * run chores, tick. Invariants: an io that was loop_del()ed gets no event any
 * more, not even one of the batch at hand; a callback may delete or add
 * anything; time stands still within a turn.
 */
#include "worker/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

enum {
	LOOP_BATCH = 256,
	/* Chores that queue chores (a finished call starts the next one, which
	 * queues a database flush) run in the same turn, but a client that
	 * pipelines without end must not keep the others waiting. */
	LOOP_CHORE_PASSES = 4,
	LOOP_TICK_MS = 1000
};

struct loop_message {
	struct loop_message *next;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	int epoll_fd;
	bool stop;
	uint64_t now_ms;
	struct epoll_event batch[LOOP_BATCH];
	int batch_at, batch_n; /* events from batch_at on are not delivered yet */
	struct loop_timer **heap;
	uint32_t heap_n, heap_cap;
	struct loop_chore *chores, **chores_tail;
	struct loop_io wake;
	pthread_mutex_t lock; /* guards posted and posted_tail */
	struct loop_message *posted, **posted_tail;
};

static void loop_wake_ready(struct loop_io *io, uint32_t events)
{
	uint64_t n;

	(void)events;
	/* Only empties the counter; the messages are taken once a turn. */
	if (read(io->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_err("reading the loop's eventfd failed error=%d", errno);
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	l->chores_tail = &l->chores;
	l->posted_tail = &l->posted;
	l->now_ms = clock_mono_ms();
	l->wake.ready = loop_wake_ready;
	l->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->wake.fd < 0 || l->epoll_fd < 0 || loop_add(l, &l->wake, EPOLLIN) < 0) {
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	struct loop_message *m, *next;

	if (!l)
		return;
	for (m = l->posted; m; m = next) {
		next = m->next;
		free(m);
	}
	if (l->wake.fd >= 0)
		close(l->wake.fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	pthread_mutex_destroy(&l->lock);
	free(l->heap);
	free(l);
}

static int loop_ctl(struct loop *l, int op, struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data = {.ptr = io}};

	return epoll_ctl(l->epoll_fd, op, io->fd, &ev) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_io *io, uint32_t events)
{
	return loop_ctl(l, EPOLL_CTL_ADD, io, events);
}

int loop_mod(struct loop *l, struct loop_io *io, uint32_t events)
{
	return loop_ctl(l, EPOLL_CTL_MOD, io, events);
}

void loop_del(struct loop *l, struct loop_io *io)
{
	int i;

	loop_ctl(l, EPOLL_CTL_DEL, io, 0);
	for (i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == io)
			l->batch[i].data.ptr = NULL;
}

/* ---- timers: a binary heap by due_ms; index is the position + 1 ---- */

static void heap_put(struct loop *l, uint32_t at, struct loop_timer *t)
{
	l->heap[at] = t;
	t->index = at + 1;
}

static void heap_up(struct loop *l, uint32_t at)
{
	struct loop_timer *t = l->heap[at];

	while (at > 0 && l->heap[(at - 1) / 2]->due_ms > t->due_ms) {
		heap_put(l, at, l->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(l, at, t);
}

static void heap_down(struct loop *l, uint32_t at)
{
	struct loop_timer *t = l->heap[at];
	uint32_t child;

	while ((child = 2 * at + 1) < l->heap_n) {
		if (child + 1 < l->heap_n && l->heap[child + 1]->due_ms < l->heap[child]->due_ms)
			child++;
		if (l->heap[child]->due_ms >= t->due_ms)
			break;
		heap_put(l, at, l->heap[child]);
		at = child;
	}
	heap_put(l, at, t);
}

static void heap_room(struct loop *l)
{
	uint32_t cap = l->heap_cap ? l->heap_cap * 2 : 64;
	struct loop_timer **heap;

	if (l->heap_n < l->heap_cap)
		return;
	heap = realloc(l->heap, cap * sizeof(struct loop_timer *));
	/* A timer that cannot be armed is a connection that never ends. */
	must(heap != NULL);
	l->heap = heap;
	l->heap_cap = cap;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t delay_ms)
{
	uint64_t due;

	if (__builtin_add_overflow(l->now_ms, delay_ms, &due))
		due = UINT64_MAX;
	if (!t->index) {
		heap_room(l);
		l->heap[l->heap_n] = t;
		t->index = ++l->heap_n;
	}
	t->due_ms = due;
	/* An armed timer may move either way; one of the two does nothing. */
	heap_up(l, t->index - 1);
	heap_down(l, t->index - 1);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
	uint32_t at = t->index - 1;
	struct loop_timer *last;

	if (!t->index)
		return;
	must(l->heap[at] == t);
	last = l->heap[--l->heap_n];
	t->index = 0;
	if (last == t)
		return;
	heap_put(l, at, last);
	heap_up(l, at);
	heap_down(l, last->index - 1);
}

/* Only those due at the start: one that rearms itself with 0 waits a turn. */
static void loop_fire(struct loop *l)
{
	uint32_t most = l->heap_n;

	while (most-- > 0 && l->heap_n > 0 && l->heap[0]->due_ms <= l->now_ms) {
		struct loop_timer *t = l->heap[0];

		loop_timer_stop(l, t);
		t->fire(t);
	}
}

/* ---- chores and messages ---- */

void loop_chore(struct loop *l, struct loop_chore *ch)
{
	if (ch->queued)
		return;
	ch->queued = true;
	ch->next = NULL;
	*l->chores_tail = ch;
	l->chores_tail = &ch->next;
}

/* A chore that is queued must stay where it is: nothing takes one off the list but its turn. */
static void loop_do_chores(struct loop *l)
{
	int pass;

	for (pass = 0; l->chores && pass < LOOP_CHORE_PASSES; pass++) {
		struct loop_chore *ch = l->chores, *next;

		l->chores = NULL;
		l->chores_tail = &l->chores;
		for (; ch; ch = next) {
			/* Read first: running it may queue it again or free it. */
			next = ch->next;
			ch->queued = false;
			ch->run(ch);
		}
	}
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_message *m = malloc(sizeof(*m));
	uint64_t one = 1;

	if (!m)
		return -ENOMEM;
	*m = (struct loop_message){.fn = fn, .arg = arg};
	pthread_mutex_lock(&l->lock);
	*l->posted_tail = m;
	l->posted_tail = &m->next;
	pthread_mutex_unlock(&l->lock);
	/* EAGAIN means that the counter is full, so the loop wakes anyway. */
	if (write(l->wake.fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_err("waking the loop failed error=%d", errno);
	return 0;
}

/* What is posted while these run waits for the next turn, which the eventfd brings at once. */
static void loop_do_posted(struct loop *l)
{
	struct loop_message *m, *next;

	pthread_mutex_lock(&l->lock);
	m = l->posted;
	l->posted = NULL;
	l->posted_tail = &l->posted;
	pthread_mutex_unlock(&l->lock);
	for (; m; m = next) {
		next = m->next;
		m->fn(m->arg);
		free(m);
	}
}

/* ---- turns ---- */

/* Not by l->now_ms: the turn that ends here may have taken long. */
static int loop_wait_ms(const struct loop *l, uint64_t most)
{
	uint64_t now = clock_mono_ms(), wait = most;

	if (l->chores || l->stop)
		return 0;
	if (l->heap_n > 0)
		wait = l->heap[0]->due_ms > now ? l->heap[0]->due_ms - now : 0;
	return (int)(wait < most ? wait : most);
}

/* Chores come last, so that what events, timers and threads have put on a database connection
 * goes out in one flush (db/pipeline.c). */
void loop_once(struct loop *l, uint64_t most_ms)
{
	int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, loop_wait_ms(l, most_ms));

	must(n >= 0 || errno == EINTR);
	l->now_ms = clock_mono_ms();
	l->batch_n = n > 0 ? n : 0;
	for (l->batch_at = 0; l->batch_at < l->batch_n;) {
		struct epoll_event *ev = &l->batch[l->batch_at++];
		struct loop_io *io = ev->data.ptr;

		if (io)
			io->ready(io, ev->events);
	}
	l->batch_at = l->batch_n = 0;
	loop_fire(l);
	loop_do_posted(l);
	loop_do_chores(l);
}

void loop_run(struct loop *l, void (*tick)(void *arg), void *arg)
{
	l->stop = false;
	while (!l->stop) {
		loop_once(l, LOOP_TICK_MS);
		if (tick)
			tick(arg);
	}
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}
