/* A stored event as clients see it (insights-dashboards.md 3.2). */
#ifndef RPC_RENDER_H
#define RPC_RENDER_H

#include "proto/activity/v1/activity.pb-c.h"
#include "worker/call/call.h"
#include "worker/insights/feed.h"

/* Everything is copied into the call's arena. 0, or -1 after call_fail(). */
int render_event(struct call *c, const struct feed_event *ev, Activity__V1__ActivityEvent *out);

#endif
