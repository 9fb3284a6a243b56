/* Who is calling, for limits (D83): see client_addr.c. */
#ifndef CALL_CLIENT_ADDR_H
#define CALL_CLIENT_ADDR_H

#include "worker/call/call.h"

/* Sets c->client, c->client_addr and the two hashes of it. */
void client_addr(struct call *c);
/* True when addr is in the list ("10.0.0.0/8 ::1, 192.0.2.7 unix"). */
bool client_addr_in(const uint8_t addr[16], struct str list);
/* True when the peer is a trusted proxy, whose headers are believed (D83). */
bool client_addr_trusted(const struct call *c);
/* IPv4 or IPv6 text, with or without port or brackets, to v6 or v4-mapped. */
bool client_addr_parse(struct str text, uint8_t addr[16]);

#endif
