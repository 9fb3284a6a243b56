/*
 * The events of kernels.c: 90 days of them, as one segment a day and kind. A file of them is,
 * for each segment, the bytes of a blob (evseg.h) and of its numbers (numbers.h), each after
 * a u64 that says how many.
 */
#ifndef BENCH_KERNEL_EVENTS_H
#define BENCH_KERNEL_EVENTS_H

#include <stdint.h>

enum { DAY_MS = 86400000, PER_PERSON = 50 }; /* events of a person */

/* Ends the program. */
void events_die(const char *what, const char *detail) __attribute__((noreturn));
/* Makes a file of n events. */
void events_make(const char *path, uint32_t n);

#endif
