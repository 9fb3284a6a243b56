/* Streams of messages: see stream.c. */
#ifndef CALL_STREAM_H
#define CALL_STREAM_H

#include "worker/call/call.h"

/* The one message of a stream's body, still compressed if *coding says so. 0, or -1 after
 * call_fail(). */
int stream_open(struct call *c, struct str body, bool coded, struct str *message, bool *packed);
/* The last envelope: nothing went wrong, or what did. p == NULL without memory. */
struct str stream_end(struct call *c);

#endif
