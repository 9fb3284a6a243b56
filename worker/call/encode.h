/* Messages to bytes: see encode.c. */
#ifndef CALL_ENCODE_H
#define CALL_ENCODE_H

#include "worker/call/call.h"

/* Smaller answers fit into one packet anyway; gzip would cost time for nothing. */
enum { ENCODE_GZIP_MIN = 1024 };

/* A message of the method's answer, in the call's codec. 0, or -1 after call_fail(). */
int encode_message(struct call *c, const ProtobufCMessage *m, struct str *out);

#endif
