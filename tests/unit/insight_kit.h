/*
 * Insights without a database: events in a short notation go through the encoder,
 * the codec and the plan into the kernels; answers come back as text.
 *
 * An event: "TIME KIND ID [key=value ...]"; TIME is RFC 3339, a value is a JSON-ish
 * literal: 5, 2.5, true, @1700000000000 (an instant in ms), else text. @session=N puts it
 * into that session, @id=N makes N the end of an id that is zero otherwise.
 */
#ifndef UNIT_INSIGHT_KIT_H
#define UNIT_INSIGHT_KIT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "proto/json.h"
#include "proto/number.h"
#include "shm/base/hash.h"
#include "worker/insights/compile.h"
#include "worker/insights/segmentation.h"
#include "worker/insights/sessions.h"
#include "worker/insights/segment_users.h"
#include "worker/insights/topk.h"
#include "worker/insights/trends.h"
#include "worker/store/encode.h"

static struct arena kit_a;
static struct people kit_people;
static char kit_text[65536];
static const struct evseg *kit_seg; /* that kit_fold() is at */
/* What segments are: of the inbox, or sealed, whose lines must be in the order of (time, id);
 * these with all their ids, if a plan asks for an order. */
static enum { KIT_INBOX, KIT_SEALED, KIT_SEALED_IDS } kit_level;

/* Segments come day by day: before that of its first event nothing comes any more. */
static bool kit_settles;

static void __attribute__((unused)) kit_setup(void)
{
	kit_settles = false;
	arena_init(&kit_a, 256 << 20);
	people_init(&kit_people, &kit_a, 8);
	kit_level = KIT_INBOX;
}

static void __attribute__((unused)) kit_teardown(void)
{
	arena_free(&kit_a);
}

static int64_t kit_time(struct str s)
{
	struct tm tm = {0};
	char buf[40];
	const char *rest;
	int64_t ms = 0;

	snprintf(buf, sizeof(buf), "%.*s", STR_ARG(s));
	rest = strptime(buf, "%Y-%m-%dT%H:%M:%S", &tm);
	cr_assert(rest, "time %s", buf);
	if (*rest == '.')
		ms = atol(rest + 1);
	return (int64_t)timegm(&tm) * 1000 + ms;
}

static struct value kit_value(struct str s)
{
	struct value v = {.type = VALUE_STR, .s = s};
	double d;
	int64_t i;

	if (str_i64(s, &i))
		v = (struct value){.type = VALUE_INT, .i = i};
	else if (number_parse(s, &d))
		v = (struct value){.type = VALUE_DOUBLE, .d = d};
	else if (str_eq(s, STR("true")) || str_eq(s, STR("false")))
		v = (struct value){.type = VALUE_BOOL, .i = s.n == 4};
	else if (s.n > 1 && s.p[0] == '@' && str_i64((struct str){s.p + 1, s.n - 1}, &i))
		v = (struct value){.type = VALUE_TIME, .i = i};
	else if (s.n >= 2 && s.p[0] == '"')
		v.s = (struct str){s.p + 1, s.n - 2};
	return v;
}

static struct str kit_word(const char **p)
{
	const char *start = *p;

	while (**p && **p != ' ')
		(*p)++;
	struct str s = {start, (size_t)(*p - start)};
	while (**p == ' ')
		(*p)++;
	return s;
}

static bool kit_special(struct event *ev, struct str w)
{
	if (str_starts(w, STR("@session="))) {
		ev->has_session = true;
		ev->session[14] = (uint8_t)(atoi(w.p + 9) >> 8);
		ev->session[15] = (uint8_t)atoi(w.p + 9);
		return true;
	}
	if (!str_starts(w, STR("@id=")))
		return false;
	memset(ev->id, 0, sizeof(ev->id));
	ev->id[14] = (uint8_t)(atoi(w.p + 4) >> 8);
	ev->id[15] = (uint8_t)atoi(w.p + 4);
	return true;
}

static void kit_event(struct encoder *e, const char *line)
{
	struct prop props[16];
	/* the encoder keeps pointing at the session's bytes */
	struct event *ev = arena_zalloc(&kit_a, sizeof(*ev));

	cr_assert(ev);
	ev->props = props;
	ev->time_ms = kit_time(kit_word(&line));
	ev->kind = kit_word(&line);
	ev->distinct_id = kit_word(&line);
	hash_random(ev->id, sizeof(ev->id));
	while (*line && ev->n_props < 16) {
		struct str w = kit_word(&line);
		long at = str_find(w, '=');
		struct prop *p = &props[ev->n_props];

		cr_assert(at > 0);
		if (kit_special(ev, w))
			continue;
		ev->n_props++;
		p->key = (struct str){w.p, (size_t)at};
		p->scope = p->key.p[0] == '$' ? SCOPE_AUTO : SCOPE_CUSTOM;
		p->value = kit_value((struct str){w.p + at + 1, w.n - (size_t)at - 1});
	}
	cr_assert(encoder_add(e, ev));
}

/* Events of several segments: NULL starts another one, a second NULL ends. True when all
 * were folded. */
static bool kit_fold_all(const struct plan *plan, const char *const *lines,
	bool (*fold)(void *kernel, const struct frame *f), void *kernel)
{
	struct batch_need need = plan->need;

	need.ids |= need.order && kit_level == KIT_SEALED_IDS;
	while (*lines) {
		struct encoder *e = encoder_new(&kit_a);
		struct evseg seg;
		struct batch batch;
		struct frame frame;

		for (; *lines; lines++)
			kit_event(e, *lines);
		lines++;
		cr_assert(evseg_open(&seg, encoder_finish(e), &kit_a));
		seg.id = kit_level != KIT_INBOX;
		cr_assert(batch_load(&batch, &seg, &need, &kit_a));
		cr_assert(frame_make(&frame, plan, &batch, &kit_people, &kit_a));
		if (kit_settles)
			frame.settled_ms = batch.times[0] - batch.times[0] % 86400000;
		kit_seg = &seg;
		if (!fold(kernel, &frame))
			return false;
	}
	return true;
}

static void kit_fold(const struct plan *plan, const char *const *lines,
	bool (*fold)(void *kernel, const struct frame *f), void *kernel)
{
	cr_assert(kit_fold_all(plan, lines, fold, kernel));
}

static const char *kit_compile(struct plan *plan, const char *json, const char *zone)
{
	ProtobufCMessage *msg;
	struct json_error err;
	const char *why = "";

	cr_assert_eq(json_read(pb_msg_find(STR("insights.v1.QueryRequest")), str_of(json), &kit_a,
			     &msg, &err),
		0, "%s: %s", err.path, err.reason);
	if (compile_query(
		    plan, (const Insights__V1__QueryRequest *)msg, str_of(zone), &kit_a, &why) < 0)
		return why ? why : "memory";
	return NULL;
}

static bool kit_fold_trends(void *k, const struct frame *f)
{
	return trends_fold(k, f);
}

static bool kit_fold_segmentation(void *k, const struct frame *f)
{
	return segmentation_fold(k, f);
}

static void kit_put_time(struct buf *b, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char text[40];

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), tm.tm_hour || tm.tm_min ? "%m-%dT%H:%M" : "%m-%d", &tm);
	buf_z(b, text);
}

/* "[a,b]", or nothing without breakdowns. */
__attribute__((unused)) static void kit_put_tuple(
	struct buf *b, const struct plan *plan, const struct str *values)
{
	for (uint32_t k = 0; k < plan->n_breakdowns; k++)
		buf_printf(b, "%s%.*s", k ? "," : "[", STR_ARG(values[k]));
	buf_z(b, plan->n_breakdowns ? "]" : "");
}

/* "kind[a,b]: 01-01=3 01-02=1; ..." */
static const char *kit_series(
	const struct plan *plan, const struct trend_series *series, uint32_t n)
{
	struct buf b;

	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++) {
		char number[NUMBER_TEXT];

		buf_printf(&b, "%s%.*s", i ? "; " : "", STR_ARG(series[i].kind));
		kit_put_tuple(&b, plan, series[i].values);
		buf_c(&b, ':');
		for (uint32_t k = 0; k < series[i].n_points; k++) {
			buf_c(&b, ' ');
			kit_put_time(&b, series[i].points[k].time_ms);
			number_text(series[i].points[k].value, number);
			buf_printf(&b, "=%s", number);
		}
	}
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p ? b.p : "");
	return kit_text;
}

__attribute__((unused)) static const char *kit_trends(
	const char *json, const char *zone, const char *const *lines)
{
	struct plan plan;
	const char *why = kit_compile(&plan, json, zone);
	const struct trend_series *series;
	struct trends *t;
	uint32_t n;

	if (why)
		return why;
	t = trends_new(&plan);
	kit_fold(&plan, lines, kit_fold_trends, t);
	cr_assert(trends_finish(t, &series, &n));
	return kit_series(&plan, series, n);
}

static bool kit_fold_sessions(void *k, const struct frame *f)
{
	return sessions_fold(k, f);
}

/* Two kernels as a scan has them: the second one comes when the first has some frames. */
__attribute__((unused)) static bool kit_twins;

struct kit_twin {
	struct plan plan;
	struct arena a;
	void *first, *second;
	int frames;
};

__attribute__((unused)) static void kit_twin_init(
	struct kit_twin *t, const struct plan *plan, void *first)
{
	*t = (struct kit_twin){.plan = *plan, .first = first};
	arena_init_within(&t->a, &kit_a);
	t->plan.a = &t->a;
}

/* After two frames each second day goes to the second one. */
static bool kit_fold_two_sessions(void *arg, const struct frame *f)
{
	struct kit_twin *t = arg;

	if (t->frames == 2)
		t->second = sessions_twin(t->first, &t->plan);
	t->frames++;
	return sessions_fold(
		t->second && f->batch->times[0] / 86400000 % 2 ? t->second : t->first, f);
}

/* The same of a question about sessions; of a segmentation "total". */
__attribute__((unused)) static const char *kit_sessions(
	const char *json, const char *zone, const char *const *lines)
{
	struct plan plan;
	const char *why = kit_compile(&plan, json, zone);
	const struct trend_series *series;
	struct kit_twin twin;
	struct sessions *s;
	uint32_t n;

	if (why)
		return why;
	s = sessions_new(&plan);
	if (kit_twins) {
		kit_twin_init(&twin, &plan, s);
		kit_fold(&plan, lines, kit_fold_two_sessions, &twin);
		cr_assert(!twin.second || sessions_join(s, twin.second));
		cr_assert(arena_adopt(&kit_a, &twin.a));
	} else {
		kit_fold(&plan, lines, kit_fold_sessions, s);
	}
	if (plan.buckets.n == 0) {
		double total;

		cr_assert(sessions_total(s, &total));
		number_text(total, kit_text);
		return kit_text;
	}
	if (!sessions_finish(s, &series, &n)) {
		cr_assert(sessions_undecided(s));
		return "undecided";
	}
	return kit_series(&plan, series, n);
}

static bool kit_fold_topk(void *k, const struct frame *f)
{
	return topk_fold(k, f);
}

/* "value=3 value=2 +$others=1"; a person's row, when it is a profile's, begins with '#'. */
__attribute__((unused)) static const char *kit_topk(const char *json, const char *const *lines)
{
	struct plan plan;
	const char *why = kit_compile(&plan, json, "");
	const struct topk_row *rows;
	struct topk *t;
	uint32_t n;
	struct buf b;

	if (why)
		return why;
	t = topk_new(&plan);
	kit_fold(&plan, lines, kit_fold_topk, t);
	cr_assert(topk_finish(t, &rows, &n));
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < n; i++) {
		char number[NUMBER_TEXT];
		number_text(rows[i].number, number);
		buf_printf(&b, "%s%s%.*s=%s", i ? " " : "",
			rows[i].others    ? "+"
			: rows[i].profile ? "#"
					  : "",
			STR_ARG(rows[i].value), number);
	}
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p ? b.p : "");
	return kit_text;
}

static bool kit_fold_segment_users(void *k, const struct frame *f)
{
	return segment_users_fold(k, f);
}

/* Ids of one page of a SegmentUsersRequest, "+" at the end when somebody follows. */
__attribute__((unused)) static const char *kit_segment_users(
	const char *json, const char *after, uint32_t want, const char *const *lines)
{
	struct segment_page page;
	struct segment_users *s;
	ProtobufCMessage *msg;
	struct json_error err;
	struct plan plan;
	const char *why;
	struct buf b;

	cr_assert_eq(json_read(pb_msg_find(STR("insights.v1.SegmentUsersRequest")), str_of(json),
			     &kit_a, &msg, &err),
		0, "%s: %s", err.path, err.reason);
	if (compile_segment_users(
		    &plan, (const Insights__V1__SegmentUsersRequest *)msg, &kit_a, &why) < 0)
		return why ? why : "memory";
	s = segment_users_new(&plan, str_of(after), want, NULL);
	kit_fold(&plan, lines, kit_fold_segment_users, s);
	segment_users_finish(s, &page);
	buf_init(&b, &kit_a);
	for (uint32_t i = 0; i < page.n; i++)
		buf_printf(&b, "%s%.*s", i ? " " : "", STR_ARG(page.ids[i]));
	buf_z(&b, page.more ? "+" : "");
	snprintf(kit_text, sizeof(kit_text), "%.*s", (int)b.n, b.p ? b.p : "");
	return kit_text;
}

static double __attribute__((unused)) kit_segmentation(const char *json, const char *const *lines)
{
	struct plan plan;
	struct segmentation s;
	const char *why = kit_compile(&plan, json, "");

	cr_assert_null(why, "%s", why);
	segmentation_init(&s, &plan);
	kit_fold(&plan, lines, kit_fold_segmentation, &s);
	segmentation_finish(&s);
	return segmentation_total(&s);
}

#endif
