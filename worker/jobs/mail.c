/*
 * Wakes the senders of mail: a cheap question four times a second, and a coroutine per
 * sender while there is something to send (worker/mail/outbox.h does the work, on a
 * thread). Sender 0 takes sign-in links only.
 */
#include <stdlib.h>

#include "q.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/jobs/jobs.h"
#include "worker/loop.h"
#include "worker/mail/outbox.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum { RECORD_AGAIN_MS = 250 };

struct mail_sender {
	struct loop_timer timer; /* first: fire() gets a pointer to it */
	struct mailer *mailer;
	struct outbox_sender *outbox;
	struct coro *co; /* NULL: asleep */
};

struct mailer {
	struct worker *w;
	struct outbox outbox;
	struct mail_sender senders[OUTBOX_SENDERS];
};

static void wake(struct loop_timer *t)
{
	coro_resume(((struct mail_sender *)t)->co);
}

static void nap(struct mail_sender *s)
{
	loop_timer_set(s->mailer->w->loop, &s->timer, RECORD_AGAIN_MS);
	coro_park();
}

/* Until there is nothing to do. What was sent and not recorded keeps it awake, through
 * the end of the process too. */
static void send_all(void *arg)
{
	struct mail_sender *s = arg;
	struct worker *w = s->mailer->w;
	bool more = true;

	s->co = coro_self();
	while (more) {
		if (offload_run(w->offload, OFFLOAD_OUT, 0, outbox_step, s->outbox) != 0)
			s->outbox->end = OUTBOX_TROUBLE;
		more = s->outbox->end == OUTBOX_DONE && !w->draining;
		if (s->outbox->accepted[0]) {
			nap(s);
			more = true;
		}
	}
	s->co = NULL;
}

struct mailer *mailer_new(struct worker *w)
{
	struct mailer *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->w = w;
	m->outbox = (struct outbox){.opt = w->opt,
		.seg = w->seg,
		.slot_no = w->slot_no,
		.n = (int)w->opt->outbound_threads};
	pthread_mutex_init(&m->outbox.lock, NULL);
	for (int i = 0; i < m->outbox.n; i++) {
		m->outbox.senders[i] =
			(struct outbox_sender){.outbox = &m->outbox, .links_only = i == 0};
		m->senders[i] = (struct mail_sender){
			.timer.fire = wake, .mailer = m, .outbox = &m->outbox.senders[i]};
	}
	return m;
}

void mailer_free(struct mailer *m)
{
	if (m)
		pthread_mutex_destroy(&m->outbox.lock);
	free(m);
}

bool mailer_idle(const struct mailer *m)
{
	for (int i = 0; i < m->outbox.n; i++)
		if (m->senders[i].co)
			return false;
	return true;
}

int job_mail(struct job_run *r)
{
	struct mailer *m = r->w->mailer;
	struct q_mail_due_row due;

	if (q_mail_due(&r->db, &due) != 1)
		return -1;
	for (int i = 0; i < m->outbox.n && !r->w->draining; i++)
		if (!m->senders[i].co && (due.links || (due.others && i > 0)))
			(void)coro_start(send_all, &m->senders[i]);
	return 0;
}
