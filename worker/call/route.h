/* Parts of the first step that tests look at: see route.c. */
#ifndef CALL_ROUTE_H
#define CALL_ROUTE_H

#include "proto/connect.h"
#include "worker/call/call.h"

/* By canonical path or alias; NULL if unknown. */
const struct pb_method *route_find(const struct pb_methods *methods, struct str path);
/* From enum connect_codec of proto/connect.h, which knows no calls. */
enum codec call_codec(enum connect_codec codec);

#endif
