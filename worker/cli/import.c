/*
 * pugd import: events of JSON Lines into a project, in batches, each stored like a
 * group of ingestion (D20). It may be stopped anywhere and run again: it goes on where
 * it was, and whatever it meets a second time is known by its id.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "worker/cli/cli.h"
#include "worker/cli/lines.h"
#include "worker/cli/progress.h"
#include "worker/cli/source.h"
#include "worker/db/blocking.h"
#include "worker/ingest/group.h"

enum {
	BATCH_EVENTS = 5000,
	BATCH_BYTES = 8 << 20,
	MEMORY = 1 << 30,
	SHOWN = 10, /* refused lines that are named */
	ATTEMPTS = 3
};

struct import {
	const char *project_id, *path;
	enum line_shape shape;
	bool restart;
	struct source source;
	struct db db;
	struct arena a; /* of one batch */
	int32_t project;
	struct event *events;
	struct line_link {
		struct str external, anonymous;
	} * links;
	uint32_t n, n_links;
	size_t bytes;
	bool again; /* the last batch was not all new, so the next one may not be either */
	uint64_t lines, created, known, expired, refused, joined, left_out, shortened;
	struct progress progress;
};

static volatile sig_atomic_t stopped;

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static int db_failed(const struct import *im)
{
	if (im->db.err.kind == DB_DOWN) {
		fprintf(stderr,
			"pugd import: the database takes nothing more now (%s); later the same "
			"command goes on from here\n",
			im->db.err.sqlstate[0] ? im->db.err.sqlstate : "connection lost");
		return -1;
	}
	fprintf(stderr, "pugd import: the database refused line %" PRIu64 " or one before (%s)\n",
		im->source.line_no, im->db.err.sqlstate);
	return -1;
}

/* ---- storing a batch ---- */

static bool batch_begin(struct import *im)
{
	arena_reset(&im->a);
	im->n = im->n_links = 0;
	im->bytes = 0;
	im->events = arena_array(&im->a, BATCH_EVENTS, sizeof(*im->events));
	im->links = arena_array(&im->a, BATCH_EVENTS, sizeof(*im->links));
	return im->events && im->links;
}

/* True when the claim is worth another attempt: a day may lack its partition. Each statement is
 * a transaction of its own here, so nothing of the failed one is left. */
static bool repair(struct import *im, const struct group *g)
{
	struct q_events_days_args args;
	struct q_events_days_row row;

	if (im->db.err.kind == DB_SERIALIZE)
		return true;
	/* "no partition of relation found for row": not a constraint of ours */
	return strcmp(im->db.err.sqlstate, "23514") == 0 && im->db.err.constraint[0] == '\0' &&
	       group_days(g, &args.days) && q_events_days(&im->db, &args, &row) >= 0;
}

static int store_events(struct import *im)
{
	struct ingest_batch batch = {
		.project = im->project, .events = im->events, .n = im->n, .bytes = im->bytes};
	struct ingest_batch *one = &batch;
	struct group g;

	if (!group_make(&g, &one, 1, &im->a)) {
		fprintf(stderr, "pugd import: a batch needs too much memory\n");
		return -1;
	}
	for (int attempt = 1;; attempt++) {
		uint32_t known = 0;
		int rc = im->again ? group_claim(&g, &im->db, &known) : group_store(&g, &im->db);

		if (rc > 0) {
			im->again = known > 0;
			break;
		}
		if (rc == 0) {
			im->again = true;
			attempt = 0;
		} else if (im->db.err.kind == DB_OK || attempt == ATTEMPTS || !repair(im, &g)) {
			return db_failed(im);
		}
	}
	if (g.dead[0]) {
		fprintf(stderr, "pugd import: the project was deleted\n");
		return -1;
	}
	im->created += batch.created;
	im->expired += batch.expired;
	im->known += im->n - batch.created - batch.expired;
	return 0;
}

static int store_links(struct import *im)
{
	for (uint32_t i = 0; i < im->n_links; i++) {
		struct q_import_identify_row row;
		char id[21];
		int n;

		hash_xid(id);
		n = q_import_identify(&im->db,
			&(struct q_import_identify_args){im->project, str_of(id),
				im->links[i].external, im->links[i].anonymous},
			&row);
		if (n < 0)
			return db_failed(im);
		im->joined += (uint64_t)n;
	}
	return 0;
}

/* In this order: what is interrupted is repeated from the last mark, and then events are known
 * by their ids and links by their aliases. A mark that came first would lose them. */
static int store_batch(struct import *im)
{
	uint8_t sha[SOURCE_SHA];

	if ((im->n && store_events(im) < 0) || store_links(im) < 0)
		return -1;
	if (!source_digest(&im->source, sha))
		return -1;
	if (q_import_mark(&im->db,
		    &(struct q_import_mark_args){im->project, str_of(im->source.name),
			    (int64_t)im->source.read, {(const char *)sha, sizeof(sha)}}) < 0)
		return db_failed(im);
	progress_to(&im->progress, im->source.read, im->created + im->known);
	return batch_begin(im) ? 0 : -1;
}

/* ---- reading ---- */

static void refuse(struct import *im, const char *why)
{
	im->refused++;
	if (im->refused <= SHOWN)
		fprintf(stderr, "%sline %" PRIu64 ": %s\n", im->progress.on ? "\r\033[K" : "",
			im->source.line_no, why);
	else if (im->refused == SHOWN + 1)
		fprintf(stderr, "further refused lines are counted only\n");
}

/* As Identify's rules have it: the reserved prefix is nobody's. */
static bool is_id(struct str s)
{
	enum { ID_MAX = 512 };

	return s.n > 0 && s.n <= ID_MAX && !str_starts(s, STR("cookieless-"));
}

/* One of a line at most, and only of one that became an event: there is room. */
static void take_link(struct import *im, const struct line *line)
{
	if (is_id(line->external) && is_id(line->anonymous))
		im->links[im->n_links++] = (struct line_link){line->external, line->anonymous};
}

static int take_line(struct import *im, struct str text)
{
	struct line line = {0};

	if (text.n == 0)
		return 0;
	im->lines++;
	if (text.n > SOURCE_LINE_MAX) {
		refuse(im, "it is longer than 4 MiB");
		return 0;
	}
	if (im->shape == LINE_AUTO)
		im->shape = line_shape_of(text, &im->a);
	if (im->shape == LINE_AUTO) {
		refuse(im, "it is no JSON object");
	} else if (line_read(im->shape, text, clock_real_ms(), &im->a, &line)) {
		im->events[im->n++] = line.ev;
		im->left_out += line.left_out;
		im->shortened += line.shortened;
		take_link(im, &line);
	} else {
		refuse(im, line.why);
	}
	/* refused ones, too: what was read of them is in the same arena */
	im->bytes += text.n;
	return im->n == BATCH_EVENTS || im->bytes >= BATCH_BYTES ? store_batch(im) : 0;
}

static int read_all(struct import *im)
{
	struct str text;
	int more = 1;

	if (!batch_begin(im))
		return -1;
	while (!stopped && (more = source_line(&im->source, &text)) > 0)
		if (take_line(im, text) < 0)
			return -1;
	return more < 0 || store_batch(im) < 0 ? -1 : 0;
}

/* Where an earlier run came to. */
static int resume(struct import *im)
{
	struct q_import_begin_row row;
	int n = q_import_begin(
		&im->db, &(struct q_import_begin_args){im->project, str_of(im->source.name)}, &row);
	int skipped;

	if (n < 0)
		return db_failed(im);
	if (n == 0 || im->restart || row.read_bytes == 0)
		return 0;
	skipped = source_skip(
		&im->source, (uint64_t)row.read_bytes, (const uint8_t *)row.read_sha256.p);
	if (skipped > 0)
		fprintf(stderr, "going on after line %" PRIu64 "\n", im->source.line_no);
	return skipped < 0 ? -1 : 0;
}

static int run(struct import *im)
{
	struct q_port_project_row row;
	int n = q_port_project(
		&im->db, &(struct q_port_project_args){str_of(im->project_id)}, &row);

	if (n < 0)
		return db_failed(im);
	if (n == 0) {
		fprintf(stderr, "pugd import: there is no project %s\n", im->project_id);
		return -1;
	}
	im->project = row.num;
	if (resume(im) < 0)
		return -1;
	progress_start(&im->progress, "events", im->source.size);
	progress_to(&im->progress, im->source.read, 0);
	n = read_all(im);
	progress_end(&im->progress);
	printf("lines    %10" PRIu64 "\nstored   %10" PRIu64 "\nknown    %10" PRIu64
	       "\nrefused  %10" PRIu64 "\n",
		im->lines, im->created, im->known, im->refused);
	if (im->expired)
		printf("expired  %10" PRIu64 " older than the project's retention\n", im->expired);
	if (im->joined)
		printf("people   %10" PRIu64 " joined with their anonymous ids\n", im->joined);
	if (im->left_out || im->shortened)
		printf("limits   %10" PRIu64 " properties left out, %" PRIu64 " texts shortened\n",
			im->left_out, im->shortened);
	if (n == 0 && stopped)
		printf("stopped; the same command goes on from here\n");
	/* lines that are missing make the command fail, though all others are stored */
	return n < 0 || im->refused || stopped ? -1 : 0;
}

/* ---- the command ---- */

static bool read_shape(const char *z, enum line_shape *shape)
{
	static const char *const names[] = {"auto", "pug", "posthog", "mixpanel"};

	for (int i = 0; i < 4; i++)
		if (strcmp(z, names[i]) == 0) {
			*shape = (enum line_shape)i;
			return true;
		}
	return false;
}

static bool read_command(int argc, char **argv, struct import *im)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--project") == 0 && i + 1 < argc)
			im->project_id = argv[++i];
		else if (strcmp(argv[i], "--format") == 0 && i + 1 < argc) {
			if (!read_shape(argv[++i], &im->shape))
				return false;
		} else if (strcmp(argv[i], "--restart") == 0)
			im->restart = true;
		else if (!im->path && (argv[i][0] != '-' || strcmp(argv[i], "-") == 0))
			im->path = argv[i];
		else
			return false;
	}
	return im->project_id && im->path;
}

int cli_import(const struct options *opt, int argc, char **argv)
{
	static struct import im;
	struct sigaction stop = {.sa_handler = on_stop};
	char why[256];
	PGconn *conn;
	int code;

	if (!read_command(argc, argv, &im)) {
		fprintf(stderr,
			"usage: pugd import --project ID [--format auto|pug|posthog|mixpanel] "
			"[--restart] FILE|-\n");
		return 2;
	}
	if (source_open(&im.source, im.path) < 0)
		return 1;
	conn = db_connect(
		opt->ingest_url[0] ? opt->ingest_url : opt->database_url, why, sizeof(why));
	if (!conn) {
		fprintf(stderr, "pugd import: %s\n", why);
		source_close(&im.source);
		return 1;
	}
	/* without SA_RESTART, so that a read() which waits for standard input ends */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	arena_init(&im.a, MEMORY);
	db_blocking(&im.db, conn, &im.a);
	code = run(&im);
	source_close(&im.source);
	arena_free(&im.a);
	PQfinish(conn);
	return code == 0 ? 0 : 1;
}
