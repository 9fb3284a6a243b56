/*
 * The kinds of insights: each runs s->plan's kernel on a scan thread and writes its
 * answer into *out, whose memory is the call's. 0, or -1 after call_fail().
 */
#ifndef RPC_INSIGHT_H
#define RPC_INSIGHT_H

#include "proto/insights/v1/insights.pb-c.h"
#include "worker/insights/scan.h"
#include "worker/insights/trends.h"

/* Runs `answer`, which holds a kernel (made: there was memory for it), over s->plan on a scan
 * thread; fold and finish as in scan.h. 0, or -1 after call_fail(). */
int insight_run(struct call *c, struct scan *s, void *answer, bool made,
	bool (*fold)(struct scan *s, const struct frame *f, const struct evseg *seg),
	bool (*finish)(struct scan *s));

int insight_trends(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
int insight_segmentation(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
/* As many points of a message; NULL after call_fail(). */
Insights__V1__DataPoint **insight_put_points(
	struct call *c, const struct trend_point *in, uint32_t n);
/* Fills the map `breakdown` of a series of any kind: what the plan breaks down by, and the
 * series' values of these. 0, or -1 after call_fail(). */
int insight_put_breakdown(
	struct call *c, ProtobufCMessage *series, const struct plan *p, const struct str *values);
/* Writes series into *out as the answer. 0, or -1 after call_fail(). */
int insight_put_trends(struct call *c, const struct plan *p, const struct trend_series *series,
	uint32_t n, Insights__V1__QueryResponse *out);
int insight_session_trends(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
int insight_session_total(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
/* Maps, too. */
int insight_top_k(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
int insight_funnel(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
int insight_retention(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);
int insight_flow(struct call *c, struct scan *s, Insights__V1__QueryResponse *out);

/* Compiles and runs any insight in the zone of its project (D30); the scan was set up, and
 * is released, by the caller. s->plan does not outlive this. */
int insight_ask(struct call *c, struct scan *s, const Insights__V1__QueryRequest *in,
	struct str zone, Insights__V1__QueryResponse *out);
/* The same with a scan of its own, or that of an identical question (insight_answer.c). */
int insight_answer(struct call *c, const Insights__V1__QueryRequest *in, struct str zone,
	Insights__V1__QueryResponse *out);

#endif
