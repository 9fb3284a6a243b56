/* pugd retention: how long projects keep their events. */
#include <stdio.h>
#include <string.h>

#include "q.h"
#include "worker/cli/cli.h"
#include "worker/cli/database.h"

enum { COMMAND_MEMORY = 16 << 20, DAYS_MAX = 36500 };

struct wanted {
	const char *project;
	bool set, off;
	int32_t days;
};

static int list(struct db *db)
{
	struct q_retention_list_row *rows;
	int n = q_retention_list(db, &rows);

	if (n < 0)
		return -1;
	printf("%-20s  %-10s  %-24s  %s\n", "project", "kept", "organisation", "name");
	for (int i = 0; i < n; i++) {
		char kept[24] = "for ever";

		if (!rows[i].days_null)
			snprintf(kept, sizeof(kept), "%d days", rows[i].days);
		printf("%.*s  %-10s  %-24.*s  %.*s\n", STR_ARG(rows[i].id), kept,
			STR_ARG(rows[i].org), STR_ARG(rows[i].display_name));
	}
	return 0;
}

static int set(struct db *db, const struct wanted *w)
{
	struct q_retention_set_args args = {
		.id = str_of(w->project), .days = w->off ? NULL : &w->days};
	struct q_retention_set_row row;
	int n = q_retention_set(db, &args, &row);

	if (n < 0)
		return -1;
	if (n == 0) {
		fprintf(stderr, "there is no project %s\n", w->project);
		return 1;
	}
	if (w->off)
		printf("events are kept for ever\n");
	else
		printf("events before %.*s (UTC) are hidden now and will be erased\n",
			STR_ARG(row.first_day));
	return 0;
}

static bool read_command(int argc, char **argv, struct wanted *w)
{
	uint64_t days;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--project") == 0 && i + 1 < argc) {
			w->project = argv[++i];
		} else if (strcmp(argv[i], "--off") == 0 && !w->set) {
			w->set = w->off = true;
		} else if (strcmp(argv[i], "--days") == 0 && i + 1 < argc && !w->set &&
			   str_u64(str_of(argv[i + 1]), &days) && days >= 1 && days <= DAYS_MAX) {
			w->set = true;
			w->days = (int32_t)days;
			i++;
		} else {
			return false;
		}
	}
	return w->set == (w->project != NULL);
}

static int run(struct db *db, void *arg)
{
	const struct wanted *w = arg;

	return w->set ? set(db, w) : list(db);
}

int cli_retention(const struct options *opt, int argc, char **argv)
{
	struct wanted w = {0};

	if (!read_command(argc, argv, &w)) {
		fprintf(stderr, "usage: pugd retention\n"
				"       pugd retention --project ID --days N | --off\n"
				"N is 1 to 36500 whole UTC days before today\n");
		return 2;
	}
	return cli_with_database(opt, "retention", COMMAND_MEMORY, run, &w);
}
