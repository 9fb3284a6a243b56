/*
 * User agents, one a line, to what the rules say: browser family and major version, system
 * family, major, minor and patch, device family, separated by tabs. For test_enrich.py,
 * which asks it what uap-core's own tests ask.
 */
#include <stdio.h>

#include "worker/ingest/agent_match.h"

int main(void)
{
	static const int fields[AGENT_LISTS] = {2, 4, 1};
	struct agent_match *m = agent_match_new();
	char line[8192];
	struct str out[AGENT_OUTPUTS];
	struct arena a;

	arena_init(&a, 1 << 20);
	while (m && fgets(line, sizeof(line), stdin)) {
		struct str agent = {line, strcspn(line, "\n")};

		agent_match_start(m, agent);
		for (int list = 0; list < AGENT_LISTS; list++) {
			agent_match(m, &a, (enum agent_list)list, agent, out);
			for (int i = 0; i < fields[list]; i++)
				printf("%.*s\t", STR_ARG(out[i]));
		}
		putchar('\n');
		arena_reset(&a);
	}
	fprintf(stderr, "%u cut\n", agent_match_cut(m));
	agent_match_free(m);
	arena_free(&a);
	return m ? 0 : 1;
}
