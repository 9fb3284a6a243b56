/*
 * ActivityService: when somebody was active, and what their latest event says of them
 * (insights-dashboards.md 3.2). Days are those of the project's reporting zone (D39).
 */
#include "proto/wkt.h"
#include "rpc.h"
#include "shm/base/clock.h"
#include "worker/insights/compile.h"
#include "worker/insights/days.h"
#include "worker/insights/persons.h"
#include "worker/insights/scan.h"
#include "worker/rpc/activity.h"
#include "worker/rpc/profile.h"

#define DAY_MS (INT64_C(86400) * 1000)

/* Of 24 hours each, so that they may touch 61 dates (3.2). */
enum { HEATMAP_DAYS = 60 };

/* No event is earlier than 2000 or more than a day ahead (D23): a wider window holds nothing
 * more, and would only cost days. */
static const int64_t FIRST_MS = INT64_C(946684800) * 1000, AHEAD_MS = 2 * DAY_MS;

/* What stats show of the latest event, in the order of the message. */
static const char *const shown[] = {
	"$browser", "$browserVersion", "$os", "$osVersion", "$device", "$country", "$city"};
enum { SHOWN = sizeof(shown) / sizeof(shown[0]) };

int activity_person(struct call *c, const char *distinct_id, struct q_activity_person_row *row)
{
	struct q_activity_person_args args = {c->who.project, str_of(distinct_id)};
	int n = q_activity_person(&c->db, &args, row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	/* the statement always has a row */
	return n == 1 ? 0 : call_fail(c, CODE_INTERNAL, NULL, "internal error");
}

/* The project's zone, in the query's memory; NULL after call_fail(). Asked each time, so that a
 * change of the zone counts at once (projects.sql). */
static const struct tz *project_zone(struct call *c, struct arena *a)
{
	struct q_project_zone_args args = {.project = c->who.project};
	struct q_project_zone_row row;
	const struct tz *zone;
	int n = q_project_zone(&c->db, &args, &row);

	if (n < 0) {
		(void)call_fail_db(c, &c->db);
		return NULL;
	}
	if (n == 0) {
		(void)call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
		return NULL;
	}
	zone = tz_open(row.reporting_timezone, a);
	if (!zone)
		(void)call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_ACTIVITY_FILTER",
			"the project's reporting timezone is unknown to this server");
	return zone;
}

/* ---- days ---- */

struct window {
	int64_t from_ms, to_ms;
};

static struct window last_days(void)
{
	int64_t now = clock_real_ms();

	return (struct window){now - HEATMAP_DAYS * DAY_MS, now};
}

/* Both ends are there, in this order (common.proto); what is left of a window may be
 * empty. */
static struct window window_of(const Common__V1__TimeRange *range)
{
	int64_t end = clock_real_ms() + AHEAD_MS;
	struct window w;

	if (!range)
		return last_days();
	w.from_ms = wkt_to_ms(range->from->seconds, range->from->nanos);
	w.to_ms = wkt_to_ms(range->to->seconds, range->to->nanos);
	if (w.from_ms < FIRST_MS)
		w.from_ms = FIRST_MS;
	if (w.to_ms > end)
		w.to_ms = end;
	return w;
}

static int put_days(struct call *c, const struct days *d, const struct tz *zone,
	Activity__V1__HeatmapDay ***out, size_t *n_out)
{
	Activity__V1__HeatmapDay *all = call_alloc(c, (d->buckets->n + 1) * sizeof(*all));
	char date[DAYS_DATE];
	size_t n = 0;

	*out = call_alloc(c, (d->buckets->n + 1) * sizeof(all));
	if (!all || !*out)
		return -1;
	for (uint32_t i = 0; i < d->buckets->n; i++) {
		if (d->counts[i] == 0)
			continue;
		days_date(d, zone, i, date);
		activity__v1__heatmap_day__init(&all[n]);
		all[n].date = call_str(c, str_of(date));
		all[n].has_count = true;
		all[n].count = (int64_t)d->counts[i];
		if (!all[n].date)
			return -1;
		(*out)[n] = &all[n];
		n++;
	}
	*n_out = n;
	return 0;
}

/* On the scan's thread, as fold_stats(). */
static bool fold_days(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	(void)seg;
	days_fold(s->kernel, f);
	return true;
}

static int heatmap(struct call *c, struct scan *s, const struct q_activity_person_row *who,
	struct window w, Activity__V1__GetActivityHeatmapResponse *out)
{
	const struct tz *zone = project_zone(c, &s->a);
	struct days days;
	struct plan plan;

	if (!zone)
		return -1;
	if (!compile_days(&plan, zone, w.from_ms, w.to_ms, NULL, 0, &s->a) ||
		!plan_only_ids(&plan, who->ids.v, (size_t)who->ids.n) ||
		!days_init(&days, &plan, w.from_ms, w.to_ms))
		return scan_no_memory(c);
	s->plan = &plan;
	s->fold = fold_days;
	s->kernel = &days;
	if (scan_run(s, c) < 0)
		return -1;
	return put_days(c, &days, zone, &out->days, &out->n_days);
}

int rpc_activity_get_activity_heatmap(struct call *c,
	const Activity__V1__GetActivityHeatmapRequest *in,
	Activity__V1__GetActivityHeatmapResponse *out)
{
	struct window w = window_of(in->time_range);
	struct q_activity_person_row who;
	struct scan scan;
	int n;

	if (w.from_ms >= w.to_ms) /* nothing can lie in it */
		return 0;
	if (activity_person(c, in->distinct_id, &who) < 0)
		return -1;
	scan_init(&scan, c);
	n = heatmap(c, &scan, &who, w, out);
	scan_free(&scan);
	return n;
}

/* ---- stats ---- */

struct stats {
	struct persons persons; /* one, number 0 */
	struct days days;
};

static bool fold_stats(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct stats *st = s->kernel;

	(void)seg;
	days_fold(&st->days, f);
	return persons_fold(&st->persons, f);
}

static Google__Protobuf__Timestamp *instant(struct call *c, int64_t ms)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	wkt_of_ms(ms, &t->seconds, &t->nanos);
	return t;
}

static int put_stats(
	struct call *c, const struct persons *persons, Activity__V1__GetProfileStatsResponse *out)
{
	struct person sums = persons_get(persons, 0);
	Activity__V1__ProfileStats *s;

	if (sums.total == 0) /* no events, no stats */
		return 0;
	s = call_alloc(c, sizeof(*s));
	if (!s)
		return -1;
	activity__v1__profile_stats__init(s);
	char **const texts[SHOWN] = {&s->browser, &s->browser_version, &s->os, &s->os_version,
		&s->device, &s->country, &s->city};

	s->first_seen = instant(c, sums.first_ms);
	s->last_seen = instant(c, sums.last_ms);
	s->has_total_events = true;
	s->total_events = (int64_t)sums.total;
	for (uint32_t k = 0; k < SHOWN; k++) {
		*texts[k] = call_str(c, persons_text(persons, 0, k));
		if (!*texts[k])
			return -1;
	}
	out->stats = s;
	return s->first_seen && s->last_seen ? 0 : -1;
}

/* Stats are of all time, days of the last sixty (3.2): with keys the plan's window is all time,
 * and `days` has its own. */
static int profile_stats(struct call *c, struct scan *s, const struct q_activity_person_row *who,
	Activity__V1__GetProfileStatsResponse *out)
{
	const struct tz *zone = project_zone(c, &s->a);
	struct window w = last_days();
	struct stats st;
	struct plan plan;

	if (!zone)
		return -1;
	if (!compile_days(&plan, zone, w.from_ms, w.to_ms, shown, SHOWN, &s->a) ||
		!plan_only_ids(&plan, who->ids.v, (size_t)who->ids.n) ||
		!persons_init(&st.persons, &plan, NULL, true) ||
		!days_init(&st.days, &plan, w.from_ms, w.to_ms))
		return scan_no_memory(c);
	st.persons.cookieless = true; /* whoever is asked for by id counts (0.8) */
	s->plan = &plan;
	s->fold = fold_stats;
	s->kernel = &st;
	if (scan_run(s, c) < 0 || put_stats(c, &st.persons, out) < 0)
		return -1;
	return put_days(c, &st.days, zone, &out->heatmap, &out->n_heatmap);
}

int rpc_activity_get_profile_stats(struct call *c, const Activity__V1__GetProfileStatsRequest *in,
	Activity__V1__GetProfileStatsResponse *out)
{
	struct q_activity_person_row who;
	struct scan scan;
	int n;

	if (activity_person(c, in->distinct_id, &who) < 0)
		return -1;
	/* only where the id is that of a live profile itself, not where it leads to one (3.2) */
	if (who.properties.p) {
		out->properties = profile_traits(c, who.properties);
		if (!out->properties)
			return -1;
	}
	scan_init(&scan, c);
	n = profile_stats(c, &scan, &who, out);
	scan_free(&scan);
	return n;
}
