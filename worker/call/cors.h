/* Two policies of cross-origin access (D43): see cors.c. */
#ifndef CALL_CORS_H
#define CALL_CORS_H

#include "worker/call/call.h"

/* True when the origin may read answers of a service of this kind. */
bool cors_origin_ok(const char *configured, bool sdk, struct str origin);
/* Answers OPTIONS with Access-Control-Request-Method: fills c->reply.
 * m is NULL for a path that is not ours. */
void cors_preflight(struct call *c, const struct pb_method *m);
/* Header lines of an actual answer. */
void cors_headers(const struct call *c, struct buf *out);

#endif
