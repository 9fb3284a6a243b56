/* /healthz and /readyz (auth.md 1.3): see health.c. */
#ifndef CALL_HEALTH_H
#define CALL_HEALTH_H

#include "worker/call/call.h"

/* True when the path is a health page; then c->reply is filled. */
bool health_answer(struct call *c);

#endif
