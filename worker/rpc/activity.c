/*
 * ActivityService: events one by one, newest first (D14, insights-dashboards.md
 * section 3).
 */
#include "rpc.h"
#include "worker/insights/compile.h"
#include "worker/insights/feed.h"
#include "worker/insights/scan.h"
#include "worker/rpc/page.h"
#include "worker/rpc/render.h"

enum { PAGE_DEFAULT = 100 };

/* What a page token holds: the last event of the page before it. */
struct cursor {
	int64_t time_ms;
	uint8_t id[16];
};
_Static_assert(sizeof(struct cursor) == 24, "tokens must not hold padding");

static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	return feed_fold(s->kernel, f, seg);
}

static bool enough(struct scan *s, int64_t tmax)
{
	return feed_full(s->kernel, tmax);
}

static bool missing(struct scan *s, const int32_t **days, const int64_t **ids, uint32_t *n)
{
	return feed_missing(s->kernel, days, ids, n);
}

static bool fill(struct scan *s, const struct evseg *seg, struct arena *a)
{
	return feed_fill(s->kernel, seg, a);
}

static int start_after(struct call *c, struct feed *feed, struct plan *plan, const char *token)
{
	struct cursor cursor;

	if (!token || !*token)
		return 0;
	if (page_payload(c, str_of(token), &cursor, sizeof(cursor)) < 0)
		return -1;
	feed->has_cursor = true;
	feed->cursor_ms = cursor.time_ms;
	memcpy(feed->cursor_id, cursor.id, 16);
	if (cursor.time_ms < plan->to_ms)
		plan->to_ms = cursor.time_ms + 1;
	return 0;
}

static int put_events(
	struct call *c, const struct feed *feed, uint32_t n, Activity__V1__ListResponse *out)
{
	Activity__V1__ActivityEvent *all = call_alloc(c, (n + 1) * sizeof(*all));

	out->events = call_alloc(c, (n + 1) * sizeof(all));
	if (!all || !out->events)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (render_event(c, feed->events[i], &all[i]) < 0)
			return -1;
		out->events[i] = &all[i];
	}
	out->n_events = n;
	return 0;
}

static int put_page(
	struct call *c, const struct feed *feed, uint32_t size, Activity__V1__ListResponse *out)
{
	uint32_t n = feed->n < size ? feed->n : size;
	struct cursor cursor;

	if (put_events(c, feed, n, out) < 0)
		return -1;
	if (feed->n <= size) /* nothing follows: no token (D55) */
		return 0;
	cursor.time_ms = feed->events[n - 1]->time_ms;
	memcpy(cursor.id, feed->events[n - 1]->id, 16);
	out->next_page_token = page_token(c, &cursor, sizeof(cursor));
	return out->next_page_token ? 0 : -1;
}

static int list(struct call *c, struct scan *s, const Activity__V1__ListRequest *in,
	Activity__V1__ListResponse *out)
{
	uint32_t size = in->page_size > 0 ? (uint32_t)in->page_size : PAGE_DEFAULT;
	struct plan plan;
	struct feed feed;
	const char *why;

	if (compile_list(&plan, in, &s->a, &why) < 0) {
		if (!why)
			return scan_no_memory(c);
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_ACTIVITY_FILTER", "%s", why);
	}
	/* one more than the page shows whether something follows */
	if (!feed_init(&feed, size + 1, &s->a))
		return scan_no_memory(c);
	if (start_after(c, &feed, &plan, in->page_token) < 0)
		return -1;
	s->plan = &plan;
	s->fold = fold;
	s->enough = enough;
	s->missing = missing;
	s->fill = fill;
	s->kernel = &feed;
	return scan_run(s, c) < 0 ? -1 : put_page(c, &feed, size, out);
}

int rpc_activity_list(
	struct call *c, const Activity__V1__ListRequest *in, Activity__V1__ListResponse *out)
{
	struct scan scan;
	int n;

	scan_init(&scan, c);
	n = list(c, &scan, in, out);
	scan_free(&scan);
	return n;
}
