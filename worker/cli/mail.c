/* pugd mail list | retry: what waits, what died, and another chance for it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/json.h"
#include "q.h"
#include "worker/cli/cli.h"
#include "worker/cli/database.h"

enum { COMMAND_MEMORY = 16 << 20 };

/* By mail_outbox.kind and mail_outbox.state (003_people.sql). */
static const char *const kinds[] = {"?", "sign-in", "invitation"};
static const char *const states[] = {"?", "waiting", "sent", "dead", "dropped"};

static const char *name_of(const char *const *names, int n, int32_t i)
{
	return names[i > 0 && i < n ? i : 0];
}

/* a***@example.com: enough to recognise a complaint by. */
static struct str shortened(struct str recipient, struct arena *a)
{
	long at = str_find(recipient, '@');

	if (at <= 0)
		return STR("***");
	return arena_printf(
		a, "%.1s***%.*s", recipient.p, (int)(recipient.n - (size_t)at), recipient.p + at);
}

static void human_time(int64_t ms, char out[24])
{
	static const struct {
		int64_t below, unit;
		char letter;
	} table[] = {{120000, 1000, 's'}, {7200000, 60000, 'm'}, {172800000, 3600000, 'h'},
		{INT64_MAX, 86400000, 'd'}};
	size_t i = 0;

	while (ms >= table[i].below && i < 3)
		i++;
	snprintf(out, 24, "%" PRId64 "%c", ms / table[i].unit, table[i].letter);
}

static void print_row(const struct q_mail_list_row *r, struct arena *a)
{
	char age[24], wait[24] = "-";
	struct str to = shortened(r->recipient, a);

	human_time(r->age_ms, age);
	if (r->state == 1)
		human_time(r->wait_ms, wait);
	printf("%.*s  %-10s  %-7s  %8d  %5s  %5s  %-28.*s  %.*s\n", STR_ARG(r->id),
		name_of(kinds, 3, r->kind), name_of(states, 5, r->state), r->attempts, age, wait,
		STR_ARG(to), STR_ARG(r->last_error));
}

static void print_json(const struct q_mail_list_row *r, struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	buf_printf(&b,
		"{\"id\":\"%.*s\",\"kind\":\"%s\",\"state\":\"%s\",\"attempts\":%d,"
		"\"age_ms\":%" PRId64 ",\"wait_ms\":%" PRId64 ",\"recipient\":",
		STR_ARG(r->id), name_of(kinds, 3, r->kind), name_of(states, 5, r->state),
		r->attempts, r->age_ms, r->wait_ms);
	json_write_string(&b, shortened(r->recipient, a));
	buf_z(&b, ",\"last_error\":");
	json_write_string(&b, r->last_error);
	buf_z(&b, "}\n");
	fwrite(b.p, 1, b.n, stdout);
}

static int list(struct db *db, bool dead_only, bool json)
{
	struct q_mail_list_row *rows;
	int n = q_mail_list(db, &(struct q_mail_list_args){dead_only}, &rows);

	if (n < 0)
		return -1;
	if (!json)
		printf("%-20s  %-10s  %-7s  %8s  %5s  %5s  %-28s  %s\n", "id", "kind", "state",
			"attempts", "age", "next", "recipient", "last error");
	for (int i = 0; i < n; i++) {
		if (json)
			print_json(&rows[i], db->arena);
		else
			print_row(&rows[i], db->arena);
	}
	return 0;
}

/* 1 when one of those named could not be driven again. */
static int retry(struct db *db, const struct str *ids, int n_ids, bool all)
{
	struct q_mail_retry_row *rows;
	int n = q_mail_retry(db, &(struct q_mail_retry_args){{ids, n_ids}, all}, &rows);
	int missed = 0;

	if (n < 0)
		return -1;
	for (int i = 0; i < n_ids; i++) {
		bool found = false;

		for (int k = 0; k < n && !found; k++)
			found = str_eq(rows[k].id, ids[i]);
		if (!found) {
			fprintf(stderr, "%.*s is not dead, or its link is gone\n", STR_ARG(ids[i]));
			missed = 1;
		}
	}
	printf("%d mail%s will be tried again\n", n, n == 1 ? "" : "s");
	return missed;
}

struct wanted {
	bool list, retry, dead, json, all;
	struct str ids[256];
	int n_ids;
};

static bool read_command(int argc, char **argv, struct wanted *w)
{
	w->list = argc > 1 && strcmp(argv[1], "list") == 0;
	w->retry = argc > 1 && strcmp(argv[1], "retry") == 0;
	for (int i = 2; i < argc; i++) {
		if (w->list && strcmp(argv[i], "--dead") == 0)
			w->dead = true;
		else if (w->list && strcmp(argv[i], "--json") == 0)
			w->json = true;
		else if (w->retry && strcmp(argv[i], "--all-dead") == 0)
			w->all = true;
		else if (w->retry && argv[i][0] != '-' && w->n_ids < 256)
			w->ids[w->n_ids++] = str_of(argv[i]);
		else
			return false;
	}
	return w->list || (w->retry && w->all != (w->n_ids > 0));
}

static int run(struct db *db, void *arg)
{
	const struct wanted *w = arg;

	return w->list ? list(db, w->dead, w->json) : retry(db, w->ids, w->n_ids, w->all);
}

int cli_mail(const struct options *opt, int argc, char **argv)
{
	struct wanted w = {0};

	if (!read_command(argc, argv, &w)) {
		fprintf(stderr, "usage: pugd mail list [--dead] [--json]\n"
				"       pugd mail retry ID... | --all-dead\n");
		return 2;
	}
	return cli_with_database(opt, "mail", COMMAND_MEMORY, run, &w);
}
