/*
 * Pools of threads for what must block. A job lives on the stack of the
 * coroutine that waits for it; one that was given away is freed by its thread. Threads start with
 * the first job, block every signal (the loop's thread handles them; pace.h lets in one of the
 * thread's own) and tell the loop by loop_post().
 */
#include "worker/offload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "worker/coro.h"
#include "worker/crumb.h"
#include "worker/loop.h"

enum {
	/* Of threads that compute: the loop and PostgreSQL go first, or a few sign-ins at
	 * once would delay every event (D40). */
	OFFLOAD_NICE = 10,
	/* yescrypt, libcurl and the scan kernels stay far below this. */
	OFFLOAD_STACK = 1024 * 1024
};

/* Either `waiter` is set and the job lies on its stack, or `given` and the job is malloc's. */
struct job {
	struct job *next;
	void (*fn)(void *arg);
	void *arg;
	struct coro *waiter;
	uint64_t deadline_ms;
	struct crumb crumb; /* of the call that asked */
	bool has_crumb;
	bool done, late;
	bool given; /* nobody waits */
};

struct thread_pool {
	struct offload *o;
	enum offload_pool which;
	int want, started, idle;
	unsigned era; /* threads of an earlier one leave */
	int queued, queue_max;
	struct job *head, **tail;
	pthread_cond_t more;
	pthread_t *threads;
	int first_crumb;
};

struct offload {
	struct loop *loop;
	bool quit;
	struct crumb *crumbs; /* slot->crumbs, or NULL */
	pthread_mutex_t lock; /* guards quit and all of the pools */
	pthread_t *left;      /* of earlier eras, to be joined */
	int n_left;
	struct thread_pool pools[OFFLOAD_POOLS];
};

static _Thread_local int crumb_index;

int offload_crumb_index(void)
{
	return crumb_index;
}

void offload_set_crumbs(struct offload *o, struct crumb *crumbs)
{
	o->crumbs = crumbs;
}

static bool pool_setup(
	struct offload *o, enum offload_pool which, int threads, int queue_max, int first_crumb)
{
	struct thread_pool *p = &o->pools[which];

	p->o = o;
	p->which = which;
	p->want = threads > 0 ? threads : 1;
	p->queue_max = queue_max;
	p->tail = &p->head;
	p->first_crumb = first_crumb;
	p->threads = calloc((size_t)p->want, sizeof(*p->threads));
	pthread_cond_init(&p->more, NULL);
	return p->threads != NULL;
}

struct offload *offload_new(
	struct loop *l, const int threads[OFFLOAD_POOLS], const int queue_max[OFFLOAD_POOLS])
{
	struct offload *o = calloc(1, sizeof(*o));
	int i, crumb = 1;
	bool ok = true;

	if (!o)
		return NULL;
	o->loop = l;
	pthread_mutex_init(&o->lock, NULL);
	for (i = 0; i < OFFLOAD_POOLS; i++) {
		/* In the order of the pools: TWIN and FREE come last and may get numbers for
		 * which the slot has no crumb, which job_run() minds. */
		ok = pool_setup(o, (enum offload_pool)i, threads[i], queue_max[i], crumb) && ok;
		crumb += o->pools[i].want;
	}
	if (!ok) {
		offload_free(o);
		return NULL;
	}
	return o;
}

/* On the loop: the job's coroutine may end, and with it the job. */
static void job_finished(void *arg)
{
	struct job *j = arg;

	j->done = true;
	coro_resume(j->waiter);
}

static void job_run(struct offload *o, struct job *j)
{
	struct crumb *mine = NULL;

	if (j->given) {
		j->fn(j->arg);
		free(j);
		return;
	}
	if (o->crumbs && j->has_crumb && crumb_index < CRUMBS_PER_SLOT)
		mine = &o->crumbs[crumb_index];
	if (mine)
		crumb_set(mine, &j->crumb);
	j->late = j->deadline_ms && clock_mono_ms() >= j->deadline_ms;
	if (!j->late)
		j->fn(j->arg);
	if (mine)
		atomic_store_explicit(&mine->busy, 0, memory_order_release);
	/* Losing the message would park the call for ever. Nothing may touch `j` behind this:
	 * its coroutine may be on its way already. */
	must(loop_post(o->loop, job_finished, j) == 0);
}

static struct job *job_take(struct thread_pool *p)
{
	struct job *j = p->head;

	p->head = j->next;
	if (!p->head)
		p->tail = &p->head;
	p->queued--;
	return j;
}

struct thread_start {
	struct thread_pool *pool;
	int index;
	unsigned era;
};

static void *pool_thread(void *arg)
{
	struct thread_start start = *(struct thread_start *)arg;
	struct thread_pool *p = start.pool;
	struct offload *o = p->o;

	free(arg);
	crumb_index = start.index;
	/* On Linux a nice value belongs to a thread. Without the right to lower
	 * priorities nothing is lost: raising the nice value is always allowed. */
	if (p->which != OFFLOAD_OUT)
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), OFFLOAD_NICE);
	pthread_mutex_lock(&o->lock);
	for (;;) {
		while (!p->head && !o->quit && p->era == start.era) {
			p->idle++;
			pthread_cond_wait(&p->more, &o->lock);
			p->idle -= p->era == start.era;
		}
		if (!p->head || p->era != start.era)
			break;
		struct job *j = job_take(p);

		pthread_mutex_unlock(&o->lock);
		job_run(o, j);
		pthread_mutex_lock(&o->lock);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

/* With the lock held. 0 or -errno. */
static int pool_start_thread(struct thread_pool *p)
{
	struct thread_start *start = malloc(sizeof(*start));
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	if (!start)
		return -ENOMEM;
	*start = (struct thread_start){p, p->first_crumb + p->started, p->era};
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, OFFLOAD_STACK);
	/* Inherited by the thread: no moment in which it could take a signal. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->threads[p->started], &attr, pool_thread, start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc) {
		free(start);
		return -rc;
	}
	p->started++;
	return 0;
}

/* With the lock held. False when nobody would ever take the job. An idle thread may have been
 * woken for a job before this one and not have run yet, so idle ones count only beyond those
 * that are queued. */
static bool pool_has_hands(struct thread_pool *p)
{
	int rc = 0;

	if (p->idle <= p->queued && p->started < p->want)
		rc = pool_start_thread(p);
	if (rc < 0)
		log_warn("starting a thread failed error=%d", -rc);
	return p->started > 0;
}

/* False when the queue is full, or threads are leaving and might not see it. */
static bool job_put(struct offload *o, enum offload_pool pool, struct job *j)
{
	struct thread_pool *p = &o->pools[pool];
	bool taken;

	pthread_mutex_lock(&o->lock);
	taken = !o->quit && p->queued < p->queue_max && pool_has_hands(p);
	if (taken) {
		*p->tail = j;
		p->tail = &j->next;
		p->queued++;
		pthread_cond_signal(&p->more);
	}
	pthread_mutex_unlock(&o->lock);
	return taken;
}

bool offload_give(struct offload *o, enum offload_pool pool, void (*fn)(void *arg), void *arg)
{
	struct job *j = malloc(sizeof(*j));

	if (!j)
		return false;
	*j = (struct job){.fn = fn, .arg = arg, .given = true};
	if (job_put(o, pool, j))
		return true;
	free(j);
	return false;
}

int offload_run(struct offload *o, enum offload_pool pool, uint64_t deadline_ms,
	void (*fn)(void *arg), void *arg)
{
	struct job j = {.fn = fn, .arg = arg, .waiter = coro_self(), .deadline_ms = deadline_ms};

	must(j.waiter != NULL);
	if (o->crumbs && atomic_load_explicit(&o->crumbs[0].busy, memory_order_relaxed)) {
		crumb_copy(&j.crumb, &o->crumbs[0]);
		j.has_crumb = true;
	}
	if (!job_put(o, pool, &j))
		return -EBUSY;
	while (!j.done)
		crumb_park(o->crumbs);
	return j.late ? -ETIME : 0;
}

/* With the lock held. Jobs that wait are taken by new threads, or by nobody: so one is started. */
static void pool_renew(struct thread_pool *p)
{
	memcpy(p->o->left + p->o->n_left, p->threads, (size_t)p->started * sizeof(*p->threads));
	p->o->n_left += p->started;
	p->started = p->idle = 0;
	p->era++;
	pthread_cond_broadcast(&p->more);
	if (p->queued > 0)
		pool_has_hands(p);
}

bool offload_renew(struct offload *o)
{
	pthread_t *more;
	int n = 0;

	pthread_mutex_lock(&o->lock);
	for (int i = 0; i < OFFLOAD_POOLS; i++)
		n += o->pools[i].started;
	more = n ? realloc(o->left, (size_t)(o->n_left + n) * sizeof(*more)) : NULL;
	if (more) {
		o->left = more;
		for (int i = 0; i < OFFLOAD_POOLS; i++)
			pool_renew(&o->pools[i]);
	}
	pthread_mutex_unlock(&o->lock);
	return n == 0 || more;
}

void offload_free(struct offload *o)
{
	int i, k;

	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	o->quit = true;
	for (i = 0; i < OFFLOAD_POOLS; i++)
		pthread_cond_broadcast(&o->pools[i].more);
	pthread_mutex_unlock(&o->lock);
	for (i = 0; i < OFFLOAD_POOLS; i++) {
		for (k = 0; k < o->pools[i].started; k++)
			pthread_join(o->pools[i].threads[k], NULL);
	}
	for (k = 0; k < o->n_left; k++)
		pthread_join(o->left[k], NULL);
	for (i = 0; i < OFFLOAD_POOLS; i++) {
		pthread_cond_destroy(&o->pools[i].more);
		free(o->pools[i].threads);
	}
	free(o->left);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
