/* The plain scans of `make bench-insights`. */
#ifndef BENCH_PLAIN_H
#define BENCH_PLAIN_H

#include "tests/bench/columns.h"

/* What a question's answer is made of: rows of numbers, or of a text and a number. */
struct answer {
	double *v;
	uint32_t rows, width, cap;
	char (*text)[ID_TEXT + 1]; /* NULL, or one a row */
	uint64_t matched;          /* events that the question is about */
};

/* One thread, one pass over all events in the order of their time, memory for what
 * the kernel counts, and nothing else. False: there is no such question. */
bool plain_answer(const struct columns *c, const char *question, struct answer *out);
void plain_free(struct answer *a);

#endif
