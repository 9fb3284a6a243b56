/* The access log and the counters of a finished call: see access.c. */
#ifndef CALL_ACCESS_H
#define CALL_ACCESS_H

#include "worker/call/call.h"

/* Before the reply is sent. */
void access_log(struct call *c);

#endif
