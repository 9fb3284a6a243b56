/*
 * A request failure: code, reason, text, details (D10). Recorded once, by
 * whoever notices it first; written by call_reply(). Also the one place that
 * says what a database failure means to a caller.
 */
#include <stdarg.h>
#include <stdio.h>
#include "proto/connect.h"
#include "worker/call/error.h"
#include "worker/worker.h"

/* Enough for the longest list of violations, as text and in base64. */
enum { RESERVE = 64 * 1024 };
/* Bytes of the name in a ResourceInfo: no id that exists is longer (D9, D23). */
enum { RESOURCE_NAME = 512 };

/* Names and statuses are Connect's (auth.md 1.6): failed_precondition is 400, not 412. */
static const struct code_info codes[] = {
	[CODE_OK] = {"ok", "OK", 200},
	[CODE_CANCELED] = {"canceled", "CANCELED", 499},
	[CODE_UNKNOWN] = {"unknown", "UNKNOWN", 500},
	[CODE_INVALID_ARGUMENT] = {"invalid_argument", "INVALID_ARGUMENT", 400},
	[CODE_DEADLINE_EXCEEDED] = {"deadline_exceeded", "DEADLINE_EXCEEDED", 504},
	[CODE_NOT_FOUND] = {"not_found", "NOT_FOUND", 404},
	[CODE_ALREADY_EXISTS] = {"already_exists", "ALREADY_EXISTS", 409},
	[CODE_PERMISSION_DENIED] = {"permission_denied", "PERMISSION_DENIED", 403},
	[CODE_RESOURCE_EXHAUSTED] = {"resource_exhausted", "RESOURCE_EXHAUSTED", 429},
	[CODE_FAILED_PRECONDITION] = {"failed_precondition", "FAILED_PRECONDITION", 400},
	[CODE_ABORTED] = {"aborted", "ABORTED", 409},
	[CODE_OUT_OF_RANGE] = {"out_of_range", "OUT_OF_RANGE", 400},
	[CODE_UNIMPLEMENTED] = {"unimplemented", "UNIMPLEMENTED", 501},
	[CODE_INTERNAL] = {"internal", "INTERNAL", 500},
	[CODE_UNAVAILABLE] = {"unavailable", "UNAVAILABLE", 503},
	[CODE_DATA_LOSS] = {"data_loss", "DATA_LOSS", 500},
	[CODE_UNAUTHENTICATED] = {"unauthenticated", "UNAUTHENTICATED", 401},
};

const struct code_info *error_code(enum code code)
{
	size_t i = (size_t)code;

	return &codes[i < sizeof(codes) / sizeof(codes[0]) ? i : CODE_INTERNAL];
}

/* Of a small arena it would be most. */
void error_reserve(struct call *c)
{
	if (c->arena->cap - c->arena->held < 2 * RESERVE)
		return;
	c->reserve = RESERVE;
	c->arena->cap -= RESERVE;
}

void error_release(struct call *c)
{
	c->arena->cap += c->reserve;
	c->reserve = 0;
}

__attribute__((format(printf, 2, 0))) static struct str format_text(
	struct arena *a, const char *fmt, va_list ap)
{
	va_list again;
	int n;
	char *p;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
	if (!p)
		return STR("out of memory");
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	return (struct str){p, (size_t)n};
}

int call_fail(struct call *c, enum code code, const char *reason, const char *fmt, ...)
{
	va_list ap;

	if (c->code != CODE_OK)
		return -1;
	/* The sentence may need it. */
	error_release(c);
	c->code = code == CODE_OK ? CODE_INTERNAL : code;
	c->reason = reason ? reason : error_code(code)->reason;
	va_start(ap, fmt);
	c->error_text = format_text(c->arena, fmt, ap);
	va_end(ap);
	return -1;
}

/* Of numbers below 16: their tag is one byte. */
void error_field(struct buf *b, unsigned number, struct str value)
{
	size_t n = value.n;

	buf_c(b, (char)(number << 3 | 2));
	for (; n >= 0x80; n >>= 7)
		buf_c(b, (char)(n | 0x80));
	buf_c(b, (char)n);
	buf_str(b, value);
}

/* Without memory there is a detail less, and the failure stays. */
void call_detail(struct call *c, const char *type, struct str value)
{
	struct detail *d = arena_zalloc(c->arena, sizeof(*d));
	struct buf copy;

	buf_init(&copy, c->arena);
	buf_str(&copy, value);
	if (!d || copy.over)
		return;
	d->type = type;
	d->value = (struct str){copy.p, copy.n};
	*c->details_tail = d;
	c->details_tail = &d->next;
}

/* At most n bytes of valid UTF-8, ending with a whole character. */
static struct str head_of(struct str s, size_t n)
{
	if (s.n <= n)
		return s;
	while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return (struct str){s.p, n};
}

int call_fail_resource(
	struct call *c, const char *reason, const char *type, const char *name, const char *text)
{
	struct buf b;
	bool first = c->code == CODE_OK;

	call_fail(c, CODE_NOT_FOUND, reason, "%s", text);
	if (!first)
		return -1;
	buf_init(&b, c->arena);
	error_field(&b, 1, str_of(type));
	error_field(&b, 2, head_of(str_of(name), RESOURCE_NAME));
	if (!b.over)
		call_detail(c, "google.rpc.ResourceInfo", (struct str){b.p, b.n});
	return -1;
}

/* What each kind of database failure means to a caller. Texts name no table:
 * handlers turn the constraints they expect into better words beforehand. */
static const struct {
	enum code code;
	const char *text;
} db_failures[] = {
	[DB_OK] = {CODE_INTERNAL, "internal error"},
	[DB_DOWN] = {CODE_UNAVAILABLE, "the database is not reachable, try again"},
	[DB_TIMEOUT] = {CODE_UNAVAILABLE, "the database took too long, try again"},
	[DB_UNIQUE] = {CODE_ALREADY_EXISTS, "this already exists"},
	[DB_FOREIGN] = {CODE_FAILED_PRECONDITION, "something that this refers to does not exist"},
	[DB_CHECK] = {CODE_INVALID_ARGUMENT, "a value is not allowed here"},
	[DB_SERIALIZE] = {CODE_ABORTED, "another change came first, try again"},
	[DB_BUSY] = {CODE_UNAVAILABLE, "the server is busy, try again"},
	[DB_MEMORY] = {CODE_RESOURCE_EXHAUSTED, "the answer is too large"},
	[DB_BUG] = {CODE_INTERNAL, "internal error"},
};

int call_fail_db(struct call *c, const struct db *db)
{
	size_t kind = (size_t)db->err.kind;

	if (kind >= sizeof(db_failures) / sizeof(db_failures[0]))
		kind = DB_BUG;
	/* PostgreSQL's or the call's own: only the call can tell which. */
	if (kind == DB_TIMEOUT && call_time_left(c) == 0)
		return call_fail(c, CODE_DEADLINE_EXCEEDED, NULL, "the deadline has passed");
	return call_fail(c, db_failures[kind].code, NULL, "%s", db_failures[kind].text);
}

void *call_alloc(struct call *c, size_t size)
{
	void *p = arena_zalloc(c->arena, size);

	if (!p)
		call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
	return p;
}

char *call_str(struct call *c, struct str s)
{
	char *z = call_alloc(c, s.n + 1);

	if (z && s.n > 0)
		memcpy(z, s.p, s.n);
	return z;
}

static struct detail *own_detail(struct call *c, const char *type, struct str one, struct str two)
{
	struct detail *d = arena_zalloc(c->arena, sizeof(*d));
	struct buf b;

	buf_init(&b, c->arena);
	error_field(&b, 1, one);
	if (two.n)
		error_field(&b, 2, two);
	if (!d || b.over)
		return NULL;
	d->type = type;
	d->value = (struct str){b.p, b.n};
	return d;
}

const struct detail *error_details(struct call *c)
{
	struct detail *info, *request;

	if (c->w->bare_errors)
		return c->details;
	info = own_detail(c, "google.rpc.ErrorInfo", str_of(c->reason), STR("pug.sh"));
	request = own_detail(c, "google.rpc.RequestInfo", str_of(c->id), (struct str){NULL, 0});
	if (!info || !request)
		return c->details;
	info->next = request;
	request->next = c->details;
	return info;
}

struct str error_json(struct call *c)
{
	struct connect_error e;
	struct buf out;

	buf_init(&out, c->arena);
	connect_error_begin(&e, &out, error_code(c->code)->name, c->error_text);
	for (const struct detail *d = error_details(c); d; d = d->next)
		connect_error_detail(&e, d->type, d->value);
	connect_error_end(&e);
	return out.over ? (struct str){NULL, 0} : (struct str){out.p, out.n};
}

uint64_t error_retry_after(const struct call *c)
{
	if (c->code != CODE_RESOURCE_EXHAUSTED && c->code != CODE_UNAVAILABLE)
		return 0;
	/* A body over the limit is resource_exhausted too; waiting will not help. */
	if (c->code == CODE_RESOURCE_EXHAUSTED && c->retry_ms == 0)
		return 0;
	return c->retry_ms == 0 ? 1 : (c->retry_ms + 999) / 1000;
}
