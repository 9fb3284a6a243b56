/*
 * The pool on a loop of its own, for the scripts here. Reads one command a line from
 * standard input, runs each on a coroutine, prints one line per result:
 *
 *   N read X          N times SELECT X in one turn -> "read N ok=.. wrong=.. KIND=.."
 *   N mix             N calls of which every fifth fails in SQL -> counts by kind
 *   tx KEY / txfail KEY / unique KEY    inserts into t(k) (unique t_k_key)
 *   txodd KEY                           insert, a row that cannot be decoded, commit
 *   sleep MS DEADLINE                   pg_sleep on the fast lane
 *   lock KEY                            update in a transaction while another holds the row
 *   text                                SELECT v FROM w (text), prepared
 *   forget                              DEALLOCATE ALL on a fast connection
 *   state                               "state up=N"
 *   wait MS                             nothing is read for so long
 * Exits at end of input when all are done. The name server of "silent.invalid" says nothing for
 * SILENCE_S, and that of "slow.invalid", which is 127.0.0.1, for SLOW_MS.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shm/base/list.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/coro.h"
#include "worker/db/db.h"
#include "worker/db/db_types.h"
#include "worker/db/pool.h"
#include "worker/db/run.h"
#include "worker/loop.h"
#include "worker/offload.h"
#include "worker/worker.h"

enum { SILENCE_S = 3, SLOW_MS = 300 };

struct one {
	int32_t v;
};
struct text_one {
	struct str v;
};

static const struct db_field int_field[] = {{"v", DB_T_INT4, false, 0, 0}};
static const struct db_field text_field[] = {{"v", DB_T_TEXT, false, 0, 0}};
static const unsigned int_oid[] = {23}, text_oid[] = {25};

#define QUERY(id_, sql_, lane_, reads_, oids_, params_, columns_)                              \
	{                                                                                      \
		.label = #id_, .name = "q_probe_" #id_, .id = id_, .sql = sql_, .lane = lane_, \
		.reads = reads_, .params = params_, .param_types = oids_, .n_params = 1,       \
		.columns = columns_, .n_columns = columns_ == NULL ? 0 : 1,                    \
		.row_size = sizeof(struct text_one)                                            \
	}

enum { Q_READ = 1, Q_FAIL, Q_SLEEP, Q_INSERT, Q_UPDATE, Q_TEXT, Q_FORGET, Q_ODD };
static const struct query queries[] = {
	[Q_READ] = QUERY(1, "SELECT $1::int", LANE_FAST, true, int_oid, int_field, int_field),
	[Q_FAIL] = QUERY(2, "SELECT 1 / $1::int", LANE_FAST, true, int_oid, int_field, int_field),
	[Q_SLEEP] = QUERY(3, "SELECT count(*)::int FROM pg_sleep($1::int / 1000.0)", LANE_FAST,
		true, int_oid, int_field, int_field),
	[Q_INSERT] = QUERY(
		4, "INSERT INTO t (k) VALUES ($1)", LANE_TX, false, text_oid, text_field, NULL),
	[Q_UPDATE] = QUERY(5, "UPDATE t SET n = n + 1 WHERE k = $1", LANE_TX, false, text_oid,
		text_field, NULL),
	[Q_TEXT] = QUERY(6, "SELECT v FROM w WHERE $1 IS NOT NULL", LANE_FAST, true, text_oid,
		text_field, text_field),
	[Q_FORGET] = {.label = "forget", .sql = "DEALLOCATE ALL", .id = 7, .lane = LANE_FAST},
	[Q_ODD] = QUERY(
		8, "SELECT NULLIF($1, $1)::int", LANE_TX, true, text_oid, text_field, int_field),
};

static const char *const kind_names[] = {"OK", "DOWN", "TIMEOUT", "UNIQUE", "FOREIGN", "CHECK",
	"SERIALIZE", "BUSY", "MEMORY", "BUG"};

struct group {
	char command[32];
	int n, left, wrong, kinds[10];
};

struct call {
	struct group *g;
	char name[32], text[32];
	int value, deadline;
};

static struct {
	struct worker w;
	struct options opt;
	struct loop_io in;
	struct loop_timer pause;
	char line[4096];
	size_t n;
	int running;
	bool eof, paused;
} probe;

static void finish_if_idle(void)
{
	if (probe.eof && probe.running == 0 && !probe.paused)
		loop_stop(probe.w.loop);
}

static void report(struct group *g)
{
	printf("%s n=%d wrong=%d", g->command, g->n, g->wrong);
	for (int i = 0; i < 10; i++)
		if (g->kinds[i])
			printf(" %s=%d", kind_names[i], g->kinds[i]);
	printf("\n");
	fflush(stdout);
	free(g);
}

static int run_tx(struct call *c, struct arena *a, struct db *tx)
{
	struct text_one arg = {str_of(c->text)}, row;
	bool fail = strcmp(c->name, "txfail") == 0;

	if (db_begin(tx, probe.w.db, a, 0) < 0)
		return -1;
	if (db_run_exec(tx, &queries[Q_INSERT], &arg) < 0 ||
		db_run_exec(tx, &queries[Q_UPDATE], &arg) < 0 ||
		(fail && db_run_exec(tx, &queries[Q_INSERT], &arg) < 0)) {
		db_rollback(tx);
		return -1;
	}
	if (strcmp(c->name, "txodd") == 0 && db_run_one(tx, &queries[Q_ODD], &arg, &row) >= 0)
		c->g->wrong++;
	return db_commit(tx);
}

static int run_call(struct call *c, struct db *db, struct arena *a)
{
	/* The table's row_size is that of the larger row. */
	union {
		struct one one;
		struct text_one text;
	} row = {.one = {-1}};
	struct one arg = {c->value};
	struct text_one text = {str_of(c->text)};

	if (strncmp(c->name, "tx", 2) == 0)
		return run_tx(c, a, db);
	if (strcmp(c->name, "unique") == 0)
		return db_run_exec(db, &queries[Q_INSERT], &text);
	if (strcmp(c->name, "lock") == 0)
		return db_run_exec(db, &queries[Q_UPDATE], &text);
	if (strcmp(c->name, "sleep") == 0)
		return db_run_one(db, &queries[Q_SLEEP], &arg, &row);
	if (strcmp(c->name, "text") == 0)
		return db_run_one(db, &queries[Q_TEXT], &text, &row);
	if (strcmp(c->name, "forget") == 0)
		return db_run_exec(db, &queries[Q_FORGET], NULL);
	if (strcmp(c->name, "mix") == 0 && c->value % 5 == 0) {
		arg.v = 0;
		return db_run_one(db, &queries[Q_FAIL], &arg, &row);
	}
	if (db_run_one(db, &queries[Q_READ], &arg, &row) < 0)
		return -1;
	c->g->wrong += row.one.v != c->value;
	return 0;
}

static void call_coro(void *p)
{
	struct call *c = p;
	struct arena a;
	struct db db;

	arena_init(&a, 1 << 20);
	db_pooled(&db, probe.w.db, &a,
		c->deadline ? loop_now_ms(probe.w.loop) + (uint64_t)c->deadline : 0);
	if (run_call(c, &db, &a) >= 0)
		c->g->kinds[DB_OK]++;
	else
		c->g->kinds[db.err.kind]++;
	arena_free(&a);
	probe.running--;
	if (--c->g->left == 0)
		report(c->g);
	free(c);
	finish_if_idle();
}

static void launch(int n, const char *name, int value, int deadline, const char *text)
{
	struct group *g = calloc(1, sizeof(*g));

	must(g);
	snprintf(g->command, sizeof(g->command), "%s", name);
	g->n = g->left = n;
	probe.running += n;
	for (int i = 0; i < n; i++) {
		struct call *c = calloc(1, sizeof(*c));

		must(c);
		*c = (struct call){.g = g, .value = n > 1 ? i : value, .deadline = deadline};
		snprintf(c->name, sizeof(c->name), "%s", name);
		snprintf(c->text, sizeof(c->text), "%s", text);
		must(coro_start(call_coro, c));
	}
}

static void read_lines(struct loop_io *io, uint32_t events);

static void resume_reading(struct loop_timer *t)
{
	(void)t;
	probe.paused = false;
	must(loop_add(probe.w.loop, &probe.in, EPOLLIN) == 0);
	read_lines(NULL, 0);
}

static void command(char *line)
{
	char name[32] = "", a[32] = "", b[32] = "";
	int n = 1;

	if (sscanf(line, "%d %31s %31s", &n, name, a) < 2) {
		n = 1;
		sscanf(line, "%31s %31s %31s", name, a, b);
	}
	if (strcmp(name, "state") == 0) {
		printf("state up=%d\n", db_pool_up(probe.w.db));
		fflush(stdout);
	} else if (strcmp(name, "wait") == 0) {
		probe.paused = true;
		loop_del(probe.w.loop, &probe.in);
		loop_timer_set(probe.w.loop, &probe.pause, strtoul(a, NULL, 10));
	} else if (*name) {
		launch(n, name, (int)strtol(a, NULL, 10), (int)strtol(b, NULL, 10), a);
	}
}

static void read_lines(struct loop_io *io, uint32_t events)
{
	ssize_t got = io ? read(0, probe.line + probe.n, sizeof(probe.line) - probe.n) : 0;
	char *end;

	(void)events;
	if (got > 0)
		probe.n += (size_t)got;
	while (!probe.paused && (end = memchr(probe.line, '\n', probe.n))) {
		char line[256];
		size_t n = (size_t)(end - probe.line);

		snprintf(line, sizeof(line), "%.*s", (int)n, probe.line);
		probe.n -= n + 1;
		memmove(probe.line, end + 1, probe.n);
		command(line);
	}
	if (io && got == 0) {
		loop_del(probe.w.loop, &probe.in);
		probe.eof = true;
	}
	finish_if_idle();
}

/* Goes before libc's. */
int getaddrinfo(
	const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (name && strcmp(name, "silent.invalid") == 0) {
		sleep(SILENCE_S);
		return EAI_AGAIN;
	}
	if (name && strcmp(name, "slow.invalid") == 0) {
		usleep(SLOW_MS * 1000);
		name = "127.0.0.1";
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	must(real);
	return real(name, service, hints, list);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	probe.opt = (struct options){.db_fast = 2,
		.db_tx = 2,
		.db_ingest = 1,
		.db_queue = 4096,
		.db_timeout = 3000,
		.db_prepare = true,
		.insight_timeout = 3000};
	snprintf(probe.opt.database_url, sizeof(probe.opt.database_url), "%s", argv[1]);
	for (int i = 2; i < argc; i++) {
		probe.opt.db_prepare = probe.opt.db_prepare && strcmp(argv[i], "noprepare") != 0;
		if (strncmp(argv[i], "queue=", 6) == 0)
			probe.opt.db_queue = strtol(argv[i] + 6, NULL, 10);
		if (strncmp(argv[i], "timeout=", 8) == 0)
			probe.opt.db_timeout = strtol(argv[i] + 8, NULL, 10);
	}
	log_setup("probe", LOG_LEVEL_INFO);
	coro_setup(2000);
	probe.w = (struct worker){.opt = &probe.opt, .loop = loop_new()};
	must(probe.w.loop);
	probe.w.offload = offload_new(
		probe.w.loop, (int[OFFLOAD_POOLS]){1, 1, 4, 1, 1}, (int[]){4, 4, 8, 4, 4});
	must(probe.w.offload);
	probe.w.db = db_pool_new(&probe.w);
	must(probe.w.db);
	probe.in = (struct loop_io){.fd = 0, .ready = read_lines};
	probe.pause.fire = resume_reading;
	must(loop_add(probe.w.loop, &probe.in, EPOLLIN) == 0);
	loop_run(probe.w.loop, NULL, NULL);
	/* look-ups of names, of which a thread has the lane's hosts */
	while (coro_count() > 0)
		loop_once(probe.w.loop, 100);
	offload_free(probe.w.offload);
	db_pool_free(probe.w.db);
	loop_free(probe.w.loop);
	coro_teardown();
	return 0;
}
