/*
 * Checking requests against the rules that the protos state. Everything that is
 * wrong is collected, with the place where it is wrong.
 */
#ifndef PROTO_VALIDATE_H
#define PROTO_VALIDATE_H

#include "proto/pb.h"
#include "shm/base/arena.h"

/* Kept; further ones are only counted. */
enum { PB_MAX_VIOLATIONS = 64, PB_PASSED = 128 };

struct pb_violation {
	const char *field; /* "events.kind": for BadRequest, without indexes and keys */
	const char *path;  /* "events[3].kind" */
	const char *text;  /* a sentence that names the field (D44) */
	struct pb_violation *next;
};

struct pb_check_frame;

struct pb_check {
	struct arena *a;
	bool private_key;   /* set by the caller: the credential is a private API key (D1) */
	int64_t slack_ms;   /* set by the caller: so much longer may a window be (D39) */
	unsigned spare;     /* set by the caller: so many more elements may a list have */
	const char *reason; /* a rule's own reason for its violation, else NULL */
	int64_t now_s;      /* of the rules that ask for the time; 0: none did yet */
	unsigned n;         /* all violations, kept or not */
	bool memory;        /* the arena's cap was reached: resource_exhausted */
	struct pb_violation *first, **tail;
	const struct pb_check_frame *frame;
	const void *passed[PB_PASSED]; /* entries of maps that are as they must be, by address */
};

void pb_check_init(struct pb_check *c, struct arena *a);
/* Applies the rules of every field, of required oneofs, and the `check`
 * functions, children before their parent. */
void validate_message(struct pb_check *c, const struct pb_msg *m, const ProtobufCMessage *msg);
/* For rule functions: `field` is a path from the message being checked
 * ("filters[2].value"), "" for the message itself. */
void pb_violation(struct pb_check *c, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The error message for the violations: one in a line, several as a list. */
void pb_check_text(const struct pb_check *c, struct buf *out);
/* google.rpc.BadRequest, encoded. */
void pb_check_bad_request(const struct pb_check *c, struct buf *out);

/* Single rules, for code that has no table. */
bool valid_email(struct str s);
bool valid_https(struct str s);
bool valid_pattern(const struct pb_pattern *p, struct str s);

#endif
