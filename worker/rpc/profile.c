/*
 * See profile.h. Listing takes two scans: the first looks at everybody and keeps little
 * of each, the second keeps all, but only of those on the page. So memory depends on the
 * number of persons and not on their events, and what it takes is free again before a
 * client reads the first byte.
 */
#include "proto/json.h"
#include "proto/wkt.h"
#include "shm/base/list.h"
#include "worker/insights/compile.h"
#include "worker/insights/roster.h"
#include "worker/insights/scan.h"
#include "worker/rpc/profile.h"

/* Of the call's arena, for what events say of a page. */
enum { TEXTS_BUDGET = 8 << 20 };

/* In the order of the message's fields. */
static const char *const shown[PROFILE_TEXTS] = {"$browser", "$browserVersion", "$os", "$osVersion",
	"$device", "$country", "$region", "$city"};

static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	(void)seg;
	return persons_fold(s->kernel, f);
}

/* ---- everything of a few ---- */

/* people: `wanted` are persons, to whom distinct_ids must be resolved, and not distinct_ids
 * themselves. Sessions are counted, and ids tell which of one millisecond's events is the latest
 * (D29). */
static bool plan_details(struct plan *p, bool people, struct arena *a)
{
	const char *why;

	if (compile_persons(p, NULL, 0, false, a, &why) < 0)
		return false;
	for (size_t i = 0; i < PROFILE_TEXTS; i++)
		if (plan_property(p, str_of(shown[i])) == PLAN_NONE)
			return false;
	p->people = people;
	p->dates = false;
	p->need.session = p->need.ids = true;
	return true;
}

static int keep(
	struct call *c, const struct persons *persons, uint32_t number, struct profile_events *out)
{
	out->sums = persons_get(persons, number);
	for (uint32_t k = 0; k < PROFILE_TEXTS; k++) {
		struct str s = persons_text(persons, number, k);

		out->texts[k] = (struct str){call_str(c, s), s.n};
		if (!out->texts[k].p)
			return -1;
	}
	return 0;
}

/* Scans for the events of `keys`, each on its own or all of them together. They are numbered as
 * they come, which keep_page() counts on: on a page none is there twice. */
static int run_details(struct call *c, struct scan *s, struct persons *persons, struct plan *plan,
	const struct str *keys, size_t n, bool together)
{
	struct intern *wanted = arena_zalloc(&s->a, sizeof(*wanted));

	if (!wanted)
		return scan_no_memory(c);
	intern_init(wanted, &s->a);
	for (size_t i = 0; i < n; i++)
		if (intern_add(wanted, keys[i]) == INTERN_FULL)
			return scan_no_memory(c);
	if (!plan_details(plan, !together, &s->a) || !persons_init(persons, plan, wanted, together))
		return scan_no_memory(c);
	s->plan = plan;
	s->fold = fold;
	s->kernel = persons;
	return scan_run(s, c);
}

int profile_events_of(struct call *c, const struct str *ids, size_t n, struct profile_events *out)
{
	struct persons persons;
	struct plan plan;
	struct scan scan;
	int rc;

	scan_init(&scan, c);
	rc = run_details(c, &scan, &persons, &plan, ids, n, true);
	if (rc == 0)
		rc = keep(c, &persons, 0, out);
	scan_free(&scan);
	return rc;
}

/* ---- who is on a page ---- */

/* On the scan's thread, as it sorts everybody. */
static bool finish(struct scan *s)
{
	struct persons *persons = s->kernel;

	return roster_finish(list_item(persons, struct roster, persons));
}

static int copy_page(struct call *c, const struct roster *r, struct profile_page *out)
{
	out->v = call_alloc(c, (r->n + 1) * sizeof(*out->v));
	if (!out->v)
		return -1;
	for (uint32_t i = 0; i < r->n; i++) {
		struct str key = r->v[i].key;

		out->v[i].us = r->v[i].us;
		out->v[i].profile = r->v[i].profile;
		out->v[i].key = (struct str){call_str(c, key), key.n};
		if (!out->v[i].key.p)
			return -1;
	}
	out->n = r->n;
	out->more = r->more;
	return 0;
}

static int roster_within(struct call *c, struct scan *s, const struct profile_query *q,
	struct roster *r, struct profile_page *out)
{
	struct plan plan;
	const char *why;

	if (compile_persons(&plan, q->groups, q->n_groups, q->any, &s->a, &why) < 0) {
		if (!why)
			return scan_no_memory(c);
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_PROFILE_FILTER", "%s", why);
	}
	if (!persons_init(&r->persons, &plan, NULL, false))
		return scan_no_memory(c);
	r->people = &s->people;
	s->plan = &plan;
	s->fold = fold;
	s->finish = finish;
	s->kernel = &r->persons;
	return scan_run(s, c) < 0 ? -1 : copy_page(c, r, out);
}

/* Ends the page early rather than the call where somebody's events hold long texts. */
static int keep_page(struct call *c, const struct persons *persons, struct profile_page *page)
{
	size_t before = c->arena->used;

	for (uint32_t i = 0; i < page->n; i++) {
		if (keep(c, persons, i, &page->v[i].events) < 0)
			return -1;
		if (c->arena->used - before > TEXTS_BUDGET && i + 1 < page->n) {
			page->n = i + 1;
			page->more = true;
		}
	}
	return 0;
}

static int fill_events(struct call *c, struct profile_page *page)
{
	struct str *keys = call_alloc(c, (page->n + 1) * sizeof(*keys));
	struct persons persons;
	struct plan plan;
	struct scan scan;
	int rc;

	if (!keys)
		return -1;
	for (uint32_t i = 0; i < page->n; i++)
		keys[i] = page->v[i].key;
	scan_init(&scan, c);
	rc = run_details(c, &scan, &persons, &plan, keys, page->n, false);
	if (rc == 0)
		rc = keep_page(c, &persons, page);
	scan_free(&scan);
	return rc;
}

int profile_next(struct call *c, const struct profile_query *q, const struct profile_cursor *after,
	uint32_t want, struct profile_page *out)
{
	struct roster roster = {.has_cursor = after->set,
		.cursor_us = after->us,
		.cursor_key = {after->key, after->n},
		.want = want};
	struct scan scan;
	int rc;

	scan_init(&scan, c);
	rc = roster_within(c, &scan, q, &roster, out);
	scan_free(&scan);
	return rc < 0 || out->n == 0 ? rc : fill_events(c, out);
}

/* ---- messages ---- */

/* Rounded down before 1970, too: nanos must not be negative. */
static Google__Protobuf__Timestamp *timestamp(struct call *c, int64_t us)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));
	int64_t ms = us / 1000 - (us % 1000 < 0);

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	wkt_of_ms(ms, &t->seconds, &t->nanos);
	t->nanos += (int32_t)(us - ms * 1000) * 1000;
	return t;
}

/* Traits are as PostgreSQL has them: what cannot be read is our mistake, not the caller's. */
Google__Protobuf__Struct *profile_traits(struct call *c, struct str json)
{
	ProtobufCMessage *out;
	struct json_error err;

	if (json_read(pb_msg_find(STR("google.protobuf.Struct")), json, c->arena, &out, &err) == 0)
		return (Google__Protobuf__Struct *)out;
	if (err.memory)
		call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the answer is too large");
	else
		call_fail(c, CODE_INTERNAL, NULL, "internal error");
	return NULL;
}

static Profiles__V1__ProfileActivitySummary *summary(
	struct call *c, const struct profile_events *ev)
{
	Profiles__V1__ProfileActivitySummary *s = call_alloc(c, sizeof(*s));

	if (!s)
		return NULL;
	profiles__v1__profile_activity_summary__init(s);
	char **const texts[PROFILE_TEXTS] = {&s->browser, &s->browser_version, &s->os,
		&s->os_version, &s->device, &s->country, &s->region, &s->city};

	s->first_seen = timestamp(c, ev->sums.first_ms * 1000);
	s->last_seen = timestamp(c, ev->sums.last_ms * 1000);
	s->has_total_events = s->has_pageviews = s->has_sessions = true;
	s->total_events = (int64_t)ev->sums.total;
	s->pageviews = (int64_t)ev->sums.pageviews;
	s->sessions = (int64_t)ev->sums.sessions;
	for (size_t k = 0; k < PROFILE_TEXTS; k++) {
		*texts[k] = call_str(c, ev->texts[k]);
		if (!*texts[k])
			return NULL;
	}
	return s->first_seen && s->last_seen ? s : NULL;
}

int profile_message(struct call *c, const struct profile_row *row, struct str id,
	const struct profile_events *events, Profiles__V1__Profile *out)
{
	struct profile_row anonymous = {.id = id,
		.external_id = STR(""),
		.properties = STR("{}"),
		.create_us = events->sums.first_ms * 1000,
		.update_us = events->sums.last_ms * 1000};

	if (!row)
		row = &anonymous;
	profiles__v1__profile__init(out);
	out->id = call_str(c, row->id);
	out->external_id = call_str(c, row->external_id);
	out->project_id = call_str(c, str_of(c->who.project_id));
	out->create_time = timestamp(c, row->create_us);
	out->update_time = timestamp(c, row->update_us);
	if (!out->id || !out->external_id || !out->project_id || !out->create_time ||
		!out->update_time)
		return -1;
	out->properties = profile_traits(c, row->properties);
	if (events->sums.total)
		out->activity = summary(c, events);
	return out->properties && (!events->sums.total || out->activity) ? 0 : -1;
}
