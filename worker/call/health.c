/*
 * Health pages, for load balancers. /healthz says that this process serves and
 * touches nothing else; /readyz asks PostgreSQL under a bound of two seconds.
 * Both answer any method without credentials and tell nobody why. They are not
 * limited either, hence one question to PostgreSQL at a time: whoever comes
 * meanwhile gets the last answer, or strangers could have all coroutines wait.
 *
 * When more waits to be sealed than there should (shm/tail.h), /readyz says so, and goes
 * on answering 200: a host taken out of service would seal no faster, and its events
 * would be lost.
 */
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "q.h"
#include "worker/call/health.h"
#include "worker/store/tail_ask.h"
#include "worker/worker.h"

enum {
	READY_BOUND_MS = 2000,
	/* The keeper looks at the tail more often than that, if there is one. */
	TAIL_FRESH_MS = 15000
};

static void answer(struct call *c, int status, struct str type, struct str body)
{
	c->plain_answer = true;
	c->reply.status = status;
	c->reply.body = body;
	buf_z(&c->reply.headers, "Content-Type: ");
	buf_str(&c->reply.headers, type);
	buf_z(&c->reply.headers, "\r\nCache-Control: no-store\r\n");
}

static bool ping_writer(struct db *db)
{
	struct q_health_writer_row row;

	return q_health_writer(db, &row) == 1;
}

static bool ping_reader(struct db *db)
{
	struct q_health_reader_row row;

	return q_health_reader(db, &row) == 1;
}

static bool ping(struct call *c, const char *name, bool (*ask)(struct db *), uint64_t deadline_ms)
{
	struct db db;
	bool ok;

	if (!c->w->db)
		return false;
	db_pooled(&db, c->w->db, c->arena, deadline_ms);
	ok = ask(&db);
	if (!ok)
		log_warn("not ready dependency=%s kind=%d", name, (int)db.err.kind);
	return ok;
}

/* Nobody looked for a while: the keeper is dead, or cannot. Not tried again at once,
 * because counting a long tail takes longer than a page may. */
static void look_at_tail(struct call *c, uint64_t deadline_ms)
{
	uint64_t now_ms = clock_boot_us() / 1000;
	struct tail t;
	struct db db;

	if (!c->w->seg)
		return;
	t = tail_get(c->w->seg);
	if (now_ms < t.seen_us / 1000 + TAIL_FRESH_MS || now_ms < c->w->ready.tail_next_ms)
		return;
	c->w->ready.tail_next_ms = now_ms + TAIL_FRESH_MS;
	db_pooled(&db, c->w->db, c->arena, deadline_ms);
	if (tail_ask(&db, c->w->seg, &t) < 0)
		log_warn("unsealed events were not counted kind=%d", (int)db.err.kind);
}

static void ask(struct call *c)
{
	uint64_t deadline = clock_mono_ms() + READY_BOUND_MS;

	c->w->ready.asking = true;
	c->w->ready.writer = ping(c, "postgres_writer", ping_writer, deadline);
	c->w->ready.reader = ping(c, "postgres_reader", ping_reader, deadline);
	if (c->w->ready.writer)
		look_at_tail(c, deadline);
	c->w->ready.asking = false;
}

static void ready(struct call *c)
{
	bool writer, reader, late = false;
	struct str body;

	if (!c->w->ready.asking)
		ask(c);
	writer = c->w->ready.writer;
	reader = c->w->ready.reader;
	if (c->w->seg) {
		struct tail tail = tail_get(c->w->seg);

		late = tail_over(&tail, c->w->opt, clock_boot_us());
	}
	body = arena_printf(c->arena,
		"{\"ready\":%s,%s\"dependencies\":{\"postgres_writer\":\"%s\","
		"\"postgres_reader\":\"%s\"}}\n",
		writer && reader ? "true" : "false", late ? "\"degraded\":true," : "",
		writer ? "ok" : "unavailable", reader ? "ok" : "unavailable");

	answer(c, writer && reader ? 200 : 503, STR("application/json"), body);
}

bool health_answer(struct call *c)
{
	if (str_eq(c->rq->path, STR("/healthz")))
		answer(c, 200, STR("text/plain; charset=utf-8"), STR("ok"));
	else if (str_eq(c->rq->path, STR("/readyz")))
		ready(c);
	else
		return false;
	return true;
}
