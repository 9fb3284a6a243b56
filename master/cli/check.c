/*
 * `pugd check`: everything a start would stumble over, one problem per line. This is
 * the master's half; main.c lets worker/cli/check.c look, too, before it calls it good.
 * The last lines of a good check are read by a running master before it execs
 * this binary (master/reload.c), so they are an interface.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/cli/cli.h"
#include "master/config.h"
#include "shm/segment.h"

/* A reload starts this file again: it must be there and executable. */
static void check_binary(const struct args *a, struct config_report *r)
{
	if (a->binary && access(a->binary, X_OK) != 0)
		config_problem(r, "%s: cannot be executed", a->binary);
}

int cli_check(struct args *a)
{
	struct config_report r;
	struct options o;
	bool ok;

	if (a->rest_count > 1) {
		fprintf(stderr, "usage: pugd check [--config FILE] [-o KEY=VALUE]...\n");
		return 2;
	}
	config_report_init(&r);
	config_load(&o, a, &r);
	config_credentials(&o, &r);
	check_binary(a, &r);
	ok = r.count == 0;
	if (r.text.n > 0)
		fwrite(r.text.p, 1, r.text.n, stderr);
	config_report_free(&r);
	explicit_bzero(&o, sizeof(o));
	return ok ? 0 : 1;
}

void cli_check_good(void)
{
	printf("pugd check: good\nversion=%s\nlayout=%016llx\n", PUGD_VERSION,
		(unsigned long long)segment_layout());
}
