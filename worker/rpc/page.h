/*
 * Page tokens: opaque and authenticated, bound to project and method (D55). What
 * is inside is the handler's business.
 */
#ifndef RPC_PAGE_H
#define RPC_PAGE_H

#include "worker/call/call.h"

enum { PAGE_PAYLOAD_MAX = 1024 };

/* The token, or NULL after call_fail(). n <= PAGE_PAYLOAD_MAX. */
char *page_token(struct call *c, const void *payload, size_t n);
/* The payload of a token of this method and project, exactly n bytes. 0, or -1
 * after call_fail(INVALID_PAGE_TOKEN). */
int page_payload(struct call *c, struct str token, void *payload, size_t n);
/* The same for payloads of different lengths, at most max bytes. */
int page_payload_upto(struct call *c, struct str token, void *payload, size_t max, size_t *n);

#endif
