/*
 * ActivityService: events one by one, newest first (D14, insights-dashboards.md
 * section 3). Three methods that differ in whose events they show.
 */
#include "rpc.h"
#include "worker/insights/compile.h"
#include "worker/insights/feed.h"
#include "worker/insights/scan.h"
#include "worker/rpc/activity.h"
#include "worker/rpc/page.h"
#include "worker/rpc/render.h"

enum { PAGE_DEFAULT = 100 };

/* What a page token holds: the last event of the page before it. */
struct cursor {
	int64_t time_ms;
	uint8_t id[16];
};
_Static_assert(sizeof(struct cursor) == 24, "tokens must not hold padding");

/* One page of any of the methods, into the fields of its answer. */
struct page {
	int32_t size; /* as asked for */
	const char *token;
	Activity__V1__ActivityEvent ***events;
	size_t *n;
	char **next;
};

/* These four run on the scan's thread. */
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
	/* The window ends before to_ms: events of the cursor's own millisecond are told apart by
	 * their ids. */
	if (cursor.time_ms < plan->to_ms)
		plan->to_ms = cursor.time_ms + 1;
	return 0;
}

static int put_events(struct call *c, const struct feed *feed, uint32_t n, struct page *page)
{
	Activity__V1__ActivityEvent *all = call_alloc(c, (n + 1) * sizeof(*all));

	*page->events = call_alloc(c, (n + 1) * sizeof(all));
	if (!all || !*page->events)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (render_event(c, feed->events[i], &all[i]) < 0)
			return -1;
		(*page->events)[i] = &all[i];
	}
	*page->n = n;
	return 0;
}

static int put_page(struct call *c, const struct feed *feed, uint32_t size, struct page *page)
{
	uint32_t n = feed->n < size ? feed->n : size;
	struct cursor cursor;

	if (put_events(c, feed, n, page) < 0)
		return -1;
	if (feed->n <= size) /* nothing follows: no token (D55) */
		return 0;
	cursor.time_ms = feed->events[n - 1]->time_ms;
	memcpy(cursor.id, feed->events[n - 1]->id, 16);
	*page->next = page_token(c, &cursor, sizeof(cursor));
	return *page->next ? 0 : -1;
}

static int run_feed(struct call *c, struct scan *s, const struct feed_query *q, struct page *page)
{
	uint32_t size = page->size > 0 ? (uint32_t)page->size : PAGE_DEFAULT;
	struct plan plan;
	struct feed feed;
	const char *why;

	if (compile_feed(&plan, q, &s->a, &why) < 0) {
		if (!why)
			return scan_no_memory(c);
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_ACTIVITY_FILTER", "%s", why);
	}
	/* one more than the page shows whether something follows */
	if (!feed_init(&feed, size + 1, &s->a))
		return scan_no_memory(c);
	/* narrows the window, so it comes after what has set that */
	if (start_after(c, &feed, &plan, page->token) < 0)
		return -1;
	s->plan = &plan;
	s->fold = fold;
	s->enough = enough;
	s->missing = missing;
	s->fill = fill;
	s->kernel = &feed;
	return scan_run(s, c) < 0 ? -1 : put_page(c, &feed, size, page);
}

static int read_page(struct call *c, const struct feed_query *q, struct page *page)
{
	struct scan scan;
	int n;

	scan_init(&scan, c);
	n = run_feed(c, &scan, q, page);
	scan_free(&scan);
	return n;
}

/* Narrows a query to a person, whichever of their ids was given; "" is everybody. The ids are in
 * the call's arena, so the query may point to them. */
static int only_person(struct call *c, struct feed_query *q, const char *distinct_id)
{
	struct q_activity_person_row row;

	if (!distinct_id || !*distinct_id)
		return 0;
	if (activity_person(c, distinct_id, &row) < 0)
		return -1;
	q->ids = row.ids.v;
	q->n_ids = (size_t)row.ids.n;
	return 0;
}

int rpc_activity_list(
	struct call *c, const Activity__V1__ListRequest *in, Activity__V1__ListResponse *out)
{
	struct feed_query q = {.kind = str_of(in->kind),
		.session = str_of(in->session_id),
		.range = in->time_range,
		.filters = in->property_filters,
		.n_filters = in->n_property_filters,
		.events = in->events,
		.n_events = in->n_events};
	struct page page = {
		in->page_size, in->page_token, &out->events, &out->n_events, &out->next_page_token};

	return only_person(c, &q, in->distinct_id) < 0 ? -1 : read_page(c, &q, &page);
}

int rpc_activity_get_activity_feed(struct call *c, const Activity__V1__GetActivityFeedRequest *in,
	Activity__V1__GetActivityFeedResponse *out)
{
	struct feed_query q = {.session = str_of(in->session_id),
		.range = in->time_range,
		.filters = in->property_filters,
		.n_filters = in->n_property_filters,
		.events = in->events,
		.n_events = in->n_events};
	struct page page = {
		in->page_size, in->page_token, &out->events, &out->n_events, &out->next_page_token};

	return only_person(c, &q, in->distinct_id) < 0 ? -1 : read_page(c, &q, &page);
}

int rpc_activity_get_event_explorer(struct call *c, const Activity__V1__GetEventExplorerRequest *in,
	Activity__V1__GetEventExplorerResponse *out)
{
	struct str id = str_of(in->distinct_id); /* as it is: nobody is looked up */
	struct feed_query q = {.ids = id.n ? &id : NULL,
		.n_ids = 1,
		.session = str_of(in->session_id),
		.range = in->time_range,
		.filters = in->property_filters,
		.n_filters = in->n_property_filters,
		.events = in->events,
		.n_events = in->n_events};
	struct page page = {
		in->page_size, in->page_token, &out->events, &out->n_events, &out->next_page_token};

	return read_page(c, &q, &page);
}
