/* The sixteen codes and how a failure is written down: see error.c. */
#ifndef CALL_ERROR_H
#define CALL_ERROR_H

#include "worker/call/call.h"

struct code_info {
	const char *name;   /* "invalid_argument" */
	const char *reason; /* "INVALID_ARGUMENT" */
	int status;         /* HTTP */
};

/* Memory that the steps cannot use up: a call that has spent its arena can still say
 * so. Withheld at the call's start, given back by its failure or its reply. */
void error_reserve(struct call *c);
void error_release(struct call *c);
/* Any number: one outside the sixteen is reported as internal. */
const struct code_info *error_code(enum code code);
/* The whole detail list: ErrorInfo and RequestInfo, then the call's own.
 * Without memory for them the list is just shorter. */
const struct detail *error_details(struct call *c);
/* The Connect error object; {NULL, 0} without memory. */
struct str error_json(struct call *c);
/* A protobuf field of wire type 2: a string or an embedded message. */
void error_field(struct buf *b, unsigned number, struct str value);
/* Retry-After in seconds, 0 for none. */
uint64_t error_retry_after(const struct call *c);

#endif
