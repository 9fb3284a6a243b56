/*
 * What `make bench-insights` (insights.py) needs in C: its events, made from a seed, and
 * the plain scans that its answers are held against.
 *
 *   insights_main names
 *   insights_main json   EVENTS PERSONS DAYS START PART PARTS
 *   insights_main rows   EVENTS PERSONS DAYS START CONNINFO
 *   insights_main people EVENTS PERSONS DAYS START CONNINFO PROJECT
 *   insights_main serve  EVENTS PERSONS DAYS START
 *
 * START: a midnight in ms since 1970. `serve` reads the names of questions, a line each,
 * and answers each with a line of JSON: seconds, seconds of CPU, events matched, rows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/base/clock.h"
#include "tests/bench/emit.h"
#include "tests/bench/plain.h"

static void usage(void)
{
	fprintf(stderr, "usage: see insights_main.c\n");
	exit(2);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(const struct answer *a, double seconds, double cpu)
{
	printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"matched\": %llu, \"rows\": [", seconds, cpu,
		(unsigned long long)a->matched);
	for (uint32_t i = 0; i < a->rows; i++) {
		printf("%s[", i ? ", " : "");
		if (a->text)
			printf("\"%s\", ", a->text[i]);
		for (uint32_t k = 0; k < a->width; k++)
			printf("%s%.17g", k ? ", " : "", a->v[(size_t)i * a->width + k]);
		printf("]");
	}
	printf("]}\n");
	fflush(stdout);
}

static void serve(const struct columns *c)
{
	char line[64];

	printf("{\"sessions\": %u}\n", c->sessions);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		struct answer a;
		uint64_t begin = clock_mono_ns();
		double cpu = cpu_seconds();

		line[strcspn(line, "\n")] = '\0';
		if (!plain_answer(c, line, &a)) {
			fprintf(stderr, "bench: no question \"%s\"\n", line);
			exit(1);
		}
		print(&a, (double)(clock_mono_ns() - begin) / 1e9, cpu_seconds() - cpu);
		plain_free(&a);
	}
}

int main(int argc, char **argv)
{
	struct columns c;

	if (argc == 2 && strcmp(argv[1], "names") == 0) {
		emit_names();
		return 0;
	}
	if (argc < 6)
		usage();
	columns_make(&c, (uint32_t)strtoul(argv[2], NULL, 10), (uint32_t)strtoul(argv[3], NULL, 10),
		(uint32_t)strtoul(argv[4], NULL, 10), strtoll(argv[5], NULL, 10));
	if (strcmp(argv[1], "json") == 0 && argc == 8)
		emit_json(&c, (uint32_t)strtoul(argv[6], NULL, 10),
			(uint32_t)strtoul(argv[7], NULL, 10));
	else if (strcmp(argv[1], "rows") == 0 && argc == 7)
		emit_rows(&c, argv[6]);
	else if (strcmp(argv[1], "people") == 0 && argc == 8)
		emit_people(&c, argv[6], (int)strtol(argv[7], NULL, 10));
	else if (strcmp(argv[1], "serve") == 0)
		serve(&c);
	else
		usage();
	return 0;
}
