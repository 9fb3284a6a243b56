/* The worker's half of pugd check: settings that only a worker understands. */
#include <stdio.h>

#include "worker/cli/cli.h"
#include "worker/identity/identity.h"
#include "worker/ingest/enrich.h"

_Static_assert((int)GEO_ERROR <= (int)CONFIG_ERROR, "one text for both");

int cli_check_worker(const struct options *opt, int argc, char **argv)
{
	char error[CONFIG_ERROR];

	(void)argc;
	(void)argv;
	if (identity_check(opt, error) && enricher_check(opt, error))
		return 0;
	fprintf(stderr, "%s\n", error);
	return 1;
}
