/* The head of an answer: see reply.c. */
#ifndef CALL_REPLY_H
#define CALL_REPLY_H

#include "worker/call/call.h"

/* Puts all of a Connect answer's headers into c->reply.headers. */
void reply_headers(struct call *c);

#endif
