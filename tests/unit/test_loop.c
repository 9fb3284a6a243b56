/* The event loop: order, stale events, timers, chores, messages of threads. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker/loop.h"

static struct loop *l;
static int order[64], order_n;

static void note(int what)
{
	cr_assert_lt(order_n, 64);
	order[order_n++] = what;
}

static void setup(void)
{
	l = loop_new();
	cr_assert_not_null(l);
	order_n = 0;
}

static void teardown(void)
{
	loop_free(l);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 20);

struct pair {
	struct loop_io io;
	struct pair *other;
	int seen;
};

static void delete_other(struct loop_io *io, uint32_t events)
{
	struct pair *p = (struct pair *)io;

	cr_assert(events & EPOLLIN);
	p->seen++;
	loop_del(l, io);
	loop_del(l, &p->other->io);
}

/* Both are ready in one batch; whichever runs first deletes the other. */
Test(loop, deleted_io_gets_no_event_of_the_same_batch)
{
	struct pair a = {.io = {eventfd(1, EFD_NONBLOCK), delete_other}};
	struct pair b = {.io = {eventfd(1, EFD_NONBLOCK), delete_other}};

	a.other = &b;
	b.other = &a;
	cr_assert_eq(loop_add(l, &a.io, EPOLLIN), 0);
	cr_assert_eq(loop_add(l, &b.io, EPOLLIN), 0);
	loop_once(l, 0);
	loop_once(l, 0);
	cr_assert_eq(a.seen + b.seen, 1);
	close(a.io.fd);
	close(b.io.fd);
}

struct numbered {
	struct loop_timer t;
	int no;
};

static void fired(struct loop_timer *t)
{
	note(((struct numbered *)t)->no);
}

Test(loop, timers_fire_in_order_and_stop)
{
	struct numbered t[6];
	static const unsigned delay[6] = {30, 10, 50, 20, 40, 0};
	int i;

	for (i = 0; i < 6; i++) {
		t[i] = (struct numbered){.t = {.fire = fired}, .no = i};
		loop_timer_set(l, &t[i].t, delay[i]);
	}
	loop_timer_stop(l, &t[3].t);
	loop_timer_stop(l, &t[3].t);
	loop_timer_set(l, &t[2].t, 5);
	for (i = 0; i < 200 && order_n < 5; i++)
		loop_once(l, 10);
	cr_assert_eq(order_n, 5);
	static const int want[5] = {5, 2, 1, 0, 4};
	for (i = 0; i < 5; i++)
		cr_assert_eq(order[i], want[i], "position %d: %d", i, order[i]);
}

static uint64_t last_due;

static void fired_in_order(struct loop_timer *t)
{
	cr_assert_geq(t->due_ms, last_due);
	last_due = t->due_ms;
	order_n++;
}

Test(loop, heap_keeps_order_under_random_changes)
{
	static struct loop_timer t[2000];
	unsigned i, armed = 0;

	srand(7);
	for (i = 0; i < 2000; i++)
		t[i].fire = fired_in_order;
	for (i = 0; i < 20000; i++) {
		struct loop_timer *one = &t[rand() % 2000];

		if (rand() % 3)
			loop_timer_set(l, one, (uint64_t)(rand() % 60));
		else
			loop_timer_stop(l, one);
	}
	for (i = 0; i < 2000; i++)
		armed += t[i].index != 0;
	order_n = 0;
	last_due = 0;
	for (i = 0; i < 1000 && (unsigned)order_n < armed; i++)
		loop_once(l, 5);
	cr_assert_eq((unsigned)order_n, armed);
}

static void again(struct loop_timer *t)
{
	order_n++;
	loop_timer_set(l, t, 0);
}

Test(loop, timer_that_rearms_itself_lets_the_turn_end)
{
	struct loop_timer t = {.fire = again};

	loop_timer_set(l, &t, 0);
	loop_once(l, 0);
	cr_assert_eq(order_n, 1);
}

struct numbered_chore {
	struct loop_chore ch;
	struct loop_chore *then;
	int no;
};

static void chore(struct loop_chore *ch)
{
	struct numbered_chore *n = (struct numbered_chore *)ch;

	note(n->no);
	if (n->then)
		loop_chore(l, n->then);
}

Test(loop, chores_run_once_and_after_those_that_queued_them)
{
	struct numbered_chore flush = {.ch = {.run = chore}, .no = 9};
	struct numbered_chore a = {.ch = {.run = chore}, .then = &flush.ch, .no = 1};
	struct numbered_chore b = {.ch = {.run = chore}, .then = &flush.ch, .no = 2};

	loop_chore(l, &a.ch);
	loop_chore(l, &b.ch);
	loop_chore(l, &a.ch);
	loop_once(l, 0);
	cr_assert_eq(order_n, 3);
	cr_assert(order[0] == 1 && order[1] == 2 && order[2] == 9);
}

Test(loop, chore_without_end_does_not_starve_the_loop)
{
	struct numbered_chore c = {.ch = {.run = chore}, .no = 1};

	c.then = &c.ch;
	loop_chore(l, &c.ch);
	loop_once(l, 1000);
	cr_assert_leq(order_n, 8);
	loop_once(l, 1000);
	cr_assert_leq(order_n, 16);
	c.then = NULL;
}

enum { POSTERS = 4, POSTS = 5000 };
static int posted_n;

static void posted(void *arg)
{
	(void)arg;
	if (++posted_n == POSTERS * POSTS)
		loop_stop(l);
}

static void *poster(void *arg)
{
	int i;

	for (i = 0; i < POSTS; i++)
		cr_assert_eq(loop_post(l, posted, arg), 0);
	return NULL;
}

Test(loop, messages_of_threads_all_arrive)
{
	pthread_t th[POSTERS];
	int i;

	for (i = 0; i < POSTERS; i++)
		pthread_create(&th[i], NULL, poster, NULL);
	loop_run(l, NULL, NULL);
	for (i = 0; i < POSTERS; i++)
		pthread_join(th[i], NULL);
	cr_assert_eq(posted_n, POSTERS * POSTS);
}
