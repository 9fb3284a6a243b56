/*
 * One line of an import to one event. Three shapes: our own (events.v1.Event as
 * JSON, what `pugd export` writes), PostHog's and Mixpanel's exports.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "proto/events/v1/events.pb-c.h"
#include "worker/store/event.h"

enum line_shape { LINE_AUTO, LINE_PUG, LINE_POSTHOG, LINE_MIXPANEL };

struct line {
	struct event ev;
	/* an identification that the line tells of; p == NULL: none */
	struct str external, anonymous;
	uint32_t left_out;  /* properties that did not fit our limits (D23) */
	uint32_t shortened; /* texts cut to 1024 code points */
	char why[256];      /* what is wrong with it, when line_read() failed */
};

/* Of the first line; LINE_AUTO when it is not JSON. */
enum line_shape line_shape_of(struct str text, struct arena *a);
/* False with line->why. The event lives in the arena. */
bool line_read(
	enum line_shape shape, struct str text, int64_t now_ms, struct arena *a, struct line *line);

/* lines_foreign.c: an event message from another product's line; its limits are
 * kept by shortening and leaving out. False with line->why. */
bool line_foreign(enum line_shape shape, const Google__Protobuf__Struct *in, struct str text,
	struct arena *a, Events__V1__Event *out, struct line *line);
/* A UUID (version 8, RFC 9562) that stands for these bytes, as text in the arena: the
 * same line always becomes the same event. NULL at the arena's cap. */
char *line_id_of(struct str bytes, struct arena *a);
/* A member of an object; NULL when it is absent or null. */
const Google__Protobuf__Value *line_member(const Google__Protobuf__Struct *in, const char *key);
/* False with line->why. */
bool line_wrong(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
