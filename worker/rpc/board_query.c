/*
 * Dashboards with their results: QueryDashboard and, by its link, a shared dashboard
 * (insights-dashboards.md 7.4, 7.5). Each tile is asked as a part of the call that may fail
 * on its own (call/child.h), several of them at a time on coroutines of their own.
 */
#include "proto/validate.h"
#include "proto/wkt.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "shm/options.h"
#include "tables.h"
#include "worker/call/child.h"
#include "worker/call/crumb.h"
#include "worker/coro.h"
#include "worker/insights/preset.h"
#include "worker/rpc/board.h"
#include "worker/rpc/insight.h"
#include "worker/rpc/share.h"
#include "worker/worker.h"

enum { AT_ONCE = 8 /* tiles */ };

/* What the caller asked for; NULL and 0: the dashboard's own. */
struct window {
	const Common__V1__TimeRange *range;
	Insights__V1__Granularity granularity;
};

/* On the stack of the call's coroutine. Lanes share it without locks: they are coroutines of one
 * thread, and one parks only inside of a tile. */
struct render {
	struct call *c;
	struct str zone;
	Common__V1__TimeRange range;
	Google__Protobuf__Timestamp from, to;
	Insights__V1__Granularity granularity;
	int64_t slack_ms;
	Dashboards__V1__RenderedTile **tiles;
	size_t n, next; /* the next one to look at */
	size_t memory;  /* that results may take and no running tile has claimed */
	unsigned lanes, helpers;
	struct coro *waiter; /* the call, while it waits for its helpers */
	enum code stop;      /* the call is over, and so are its tiles */
};

/* The one window of all tiles. A zone that cannot be read makes it UTC; the tiles then say
 * why they have no answer. */
static void set_window(struct render *r, const struct q_dashboard_read_row *row,
	const struct window *asked, struct arena *a)
{
	int64_t now = clock_real_ms(), from;
	const struct tz *z;

	r->granularity = asked->granularity ? asked->granularity
					    : (Insights__V1__Granularity)row->granularity;
	if (asked->range) {
		r->range = *asked->range;
		return;
	}
	z = tz_open(r->zone, a);
	if (!z)
		z = tz_open(STR("UTC"), a);
	from = z ? preset_from((Common__V1__TimeRangePreset)row->time_range, now, z) : now;
	common__v1__time_range__init(&r->range);
	google__protobuf__timestamp__init(&r->from);
	google__protobuf__timestamp__init(&r->to);
	wkt_of_ms(from, &r->from.seconds, &r->from.nanos);
	wkt_of_ms(now, &r->to.seconds, &r->to.nanos);
	r->range.from = &r->from;
	r->range.to = &r->to;
	/* only what a preset chose may be an hour longer than the cap (D39) */
	r->slack_ms = PRESET_SLACK_MS;
}

/* A stored question was valid without its window; and rules grow. So the caps of windows are each
 * tile's failure and not the call's (7.4). */
static int check(struct call *c, const Insights__V1__QueryRequest *request, int64_t slack_ms)
{
	struct pb_check check;
	struct buf text;

	pb_check_init(&check, c->arena);
	check.slack_ms = slack_ms;
	validate_message(&check, &pb_msg_insights_v1_query_request, &request->base);
	if (check.memory)
		return call_fail(
			c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
	if (check.n == 0)
		return 0;
	buf_init(&text, c->arena);
	pb_check_text(&check, &text);
	return call_fail(c, CODE_INVALID_ARGUMENT, NULL, "%.*s", (int)text.n, text.p ? text.p : "");
}

/* NULL after call_fail(). */
static Insights__V1__QueryResponse *ask(
	struct call *c, struct render *r, const Dashboards__V1__DashboardTile *tile)
{
	Insights__V1__QueryRequest request = INSIGHTS__V1__QUERY_REQUEST__INIT;
	Insights__V1__QueryResponse *out = call_alloc(c, sizeof(*out));

	if (!out)
		return NULL;
	insights__v1__query_response__init(out);
	request.spec = tile->insight->spec;
	request.time_range = &r->range;
	request.has_granularity = true;
	request.granularity = r->granularity;
	if (check(c, &request, r->slack_ms) < 0 || insight_answer(c, &request, r->zone, out) < 0)
		return NULL;
	return out;
}

static void tell(Dashboards__V1__RenderedTile *tile, char *why)
{
	tile->outcome_case = DASHBOARDS__V1__RENDERED_TILE__OUTCOME_ERROR_MESSAGE;
	tile->error_message = why;
}

/* Is the call itself over? What then ends a tile is not the tile's failure. */
static bool over(struct render *r)
{
	if (r->stop == CODE_OK && call_time_left(r->c) == 0)
		r->stop = CODE_DEADLINE_EXCEEDED;
	if (r->stop == CODE_OK && http_gone(r->c->rq))
		r->stop = CODE_CANCELED;
	return r->stop != CODE_OK;
}

/* While it runs it has claimed a lane's part of the memory; what it kept is taken for good, the
 * rest is the others' again. */
static void run_tile(struct render *r, Dashboards__V1__RenderedTile *tile)
{
	Insights__V1__QueryResponse *result;
	struct call_child child;
	size_t claimed = r->memory / r->lanes, held;

	r->memory -= claimed;
	child_begin(&child, r->c, claimed);
	result = ask(&child.c, r, tile->tile);
	held = child.arena.held;
	r->memory += claimed;
	if (!result) {
		tell(tile, child_drop(&child, r->c));
	} else if (child_keep(&child, r->c)) {
		r->memory -= held;
		tile->outcome_case = DASHBOARDS__V1__RENDERED_TILE__OUTCOME_RESULT;
		tile->result = result;
	} else {
		tell(tile, child_drop(&child, r->c));
	}
}

/* Takes tiles until none is left. */
static void run_lane(struct render *r)
{
	while (r->next < r->n && !over(r)) {
		Dashboards__V1__RenderedTile *tile = r->tiles[r->next++];

		if (tile->tile->content_case == DASHBOARDS__V1__DASHBOARD_TILE__CONTENT_INSIGHT)
			run_tile(r, tile);
	}
}

/* On a coroutine of its own; the last one wakes the call, which may end r before this
 * returns. */
static void help(void *arg)
{
	struct render *r = arg;
	struct worker *w = r->c->w;

	run_lane(r);
	crumb_end(w);
	if (--r->helpers == 0 && r->waiter)
		coro_resume(r->waiter);
}

/* The call itself is one lane, so that it gets on however many coroutines there are.
 * More lanes than threads would only fill the threads' queue, and half of the coroutines
 * stay for other calls. */
static int run_all(struct render *r)
{
	struct call *c = r->c;
	size_t threads = (size_t)c->w->opt->insight_threads;

	r->lanes = (unsigned)(threads < AT_ONCE ? threads : AT_ONCE);
	for (unsigned i = 1; i < r->lanes && r->next < r->n; i++) {
		if (coro_count() >= coro_limit() / 2)
			break;
		r->helpers++;
		if (!coro_start(help, r))
			r->helpers--;
		crumb_fill(c); /* what ran meanwhile has cleared it */
	}
	run_lane(r);
	/* also when the call is over: they refer to r */
	while (r->helpers > 0) {
		r->waiter = coro_self();
		call_park(c);
	}
	over(r);
	if (r->stop == CODE_CANCELED)
		return call_fail(c, CODE_CANCELED, NULL, "the client went away");
	if (r->stop == CODE_DEADLINE_EXCEEDED)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	return 0;
}

static int put_tiles(struct render *r, const struct q_dashboard_read_row *row)
{
	static char unreadable[] = "the stored tile cannot be read";
	struct call *c = r->c;
	Dashboards__V1__RenderedTile *v;
	bool broken;

	r->n = (size_t)row->tile_ids.n;
	v = call_alloc(c, (r->n + 1) * sizeof(*v));
	r->tiles = call_alloc(c, (r->n + 1) * sizeof(*r->tiles));
	if (!v || !r->tiles)
		return -1;
	for (size_t i = 0; i < r->n; i++) {
		dashboards__v1__rendered_tile__init(&v[i]);
		v[i].tile = board_tile(c, row, (int)i, &broken);
		if (!v[i].tile)
			return -1;
		if (broken)
			tell(&v[i], unreadable);
		r->tiles[i] = &v[i];
	}
	return 0;
}

/* NULL after call_fail(). Whoever has a link may see it: it says neither the project nor the link
 * (7.4). */
static Dashboards__V1__RenderedDashboard *head(
	struct call *c, const struct q_dashboard_read_row *row)
{
	Dashboards__V1__RenderedDashboard *d = call_alloc(c, sizeof(*d));

	if (!d)
		return NULL;
	dashboards__v1__rendered_dashboard__init(d);
	d->id = call_str(c, row->id);
	d->display_name = call_str(c, row->display_name);
	d->description = call_str(c, row->description);
	d->has_default_time_range = d->has_default_granularity = true;
	d->default_time_range = (Common__V1__TimeRangePreset)row->time_range;
	d->default_granularity = (Insights__V1__Granularity)row->granularity;
	d->create_time = board_time(c, row->create_time);
	d->update_time = board_time(c, row->update_time);
	if (!d->id || !d->display_name || !d->description || !d->create_time || !d->update_time)
		return NULL;
	return d;
}

/* NULL after call_fail(). The project is the call's. */
static Dashboards__V1__RenderedDashboard *render(struct call *c,
	const struct q_dashboard_read_row *row, struct str zone, const struct window *asked)
{
	Dashboards__V1__RenderedDashboard *out = head(c, row);
	struct render r = {.c = c, .zone = zone};

	if (!out || put_tiles(&r, row) < 0)
		return NULL;
	set_window(&r, row, asked, c->arena);
	/* the other half is for the answer's bytes */
	r.memory = (c->arena->cap - c->arena->held) / 2;
	if (run_all(&r) < 0)
		return NULL;
	out->tiles = r.tiles;
	out->n_tiles = r.n;
	return out;
}

int rpc_dashboards_query_dashboard(struct call *c,
	const Dashboards__V1__DashboardsServiceQueryDashboardRequest *in,
	Dashboards__V1__DashboardsServiceQueryDashboardResponse *out)
{
	struct window asked = {in->time_range, in->granularity};
	struct q_project_zone_args args = {.project = c->who.project};
	struct q_project_zone_row zone;
	struct q_dashboard_read_row *rows;
	int n = q_project_zone(&c->db, &args, &zone);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
	n = board_read(c, &c->db, c->who.project, in->dashboard_id, &rows);
	if (n < 0)
		return -1;
	if (n == 0)
		return board_gone(c, "dashboard_id", in->dashboard_id);
	out->dashboard = render(c, &rows[0], zone.reporting_timezone, &asked);
	return out->dashboard ? 0 : -1;
}

/* Whoever has the link is told that it is not there when it is off, rotated or never was. */
int rpc_dashboards_shared_query(struct call *c,
	const Dashboards__V1__SharedDashboardsServiceQueryRequest *in,
	Dashboards__V1__SharedDashboardsServiceQueryResponse *out)
{
	struct window asked = {in->time_range, in->granularity};
	uint8_t hash[SHARE_HASH];
	struct q_dashboard_shared_row found;
	struct q_dashboard_read_row *rows;
	int n;

	share_hash(str_of(in->share_id), hash);
	n = q_dashboard_shared(&c->db,
		&(struct q_dashboard_shared_args){{(const char *)hash, sizeof(hash)}}, &found);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n > 0)
		n = board_read(c, &c->db, found.project, found.id.p, &rows);
	if (n < 0)
		return -1;
	if (n == 0)
		return call_fail_resource(c, "DASHBOARD_NOT_FOUND", "dashboard_share", in->share_id,
			"share_id: no such shared dashboard");
	c->who.project = found.project; /* whose events the tiles ask for */
	out->dashboard = render(c, &rows[0], found.reporting_timezone, &asked);
	return out->dashboard ? 0 : -1;
}
