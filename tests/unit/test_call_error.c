/* What a failure looks like: first one wins, details in order, codes mapped. */
#include <criterion/criterion.h>
#include "worker/call/error.h"
#include "worker/worker.h"

static struct worker worker;
static struct arena arena;
static struct call c;

static void setup(void)
{
	arena_init(&arena, 1 << 16);
	memset(&c, 0, sizeof(c));
	memset(&worker, 0, sizeof(worker));
	c.w = &worker;
	c.arena = &arena;
	c.details_tail = &c.details;
	strcpy(c.id, "0123456789abcdefghij");
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(call_error, .init = setup, .fini = teardown, .timeout = 20);

Test(call_error, first_failure_wins)
{
	cr_assert_eq(call_fail(&c, CODE_NOT_FOUND, "PROJECT_NOT_FOUND", "no project %d", 7), -1);
	cr_assert_eq(call_fail(&c, CODE_INTERNAL, NULL, "later"), -1);
	cr_assert_eq(c.code, CODE_NOT_FOUND);
	cr_assert_str_eq(c.reason, "PROJECT_NOT_FOUND");
	cr_assert(str_eq(c.error_text, STR("no project 7")));
}

Test(call_error, reason_defaults_to_the_code)
{
	call_fail(&c, CODE_UNAUTHENTICATED, NULL, "x");
	cr_assert_str_eq(c.reason, "UNAUTHENTICATED");
}

/* Worked bytes of auth.md 1.6: the base64 text of ErrorInfo. */
Test(call_error, error_info_bytes)
{
	static const char want[] = "\x0a\x0fUNAUTHENTICATED\x12\x06pug.sh";
	const struct detail *d;

	call_fail(&c, CODE_UNAUTHENTICATED, NULL, "x");
	d = error_details(&c);
	cr_assert_str_eq(d->type, "google.rpc.ErrorInfo");
	cr_assert(str_eq(d->value, STR(want)));
	d = d->next;
	cr_assert_str_eq(d->type, "google.rpc.RequestInfo");
	cr_assert(str_eq(d->value, STR("\x0a\x14"
				       "0123456789abcdefghij")));
	cr_assert_null(d->next);
}

Test(call_error, own_details_come_last_in_order)
{
	const struct detail *d;

	call_fail_resource(&c, "ORG_NOT_FOUND", "org", "o1", "no such org");
	call_detail(&c, "a.B", STR("x"));
	cr_assert_eq(c.code, CODE_NOT_FOUND);
	d = error_details(&c)->next->next;
	cr_assert_str_eq(d->type, "google.rpc.ResourceInfo");
	cr_assert(str_eq(d->value, STR("\x0a\x03org\x12\x02o1")));
	cr_assert_str_eq(d->next->type, "a.B");
}

Test(call_error, bare_errors_hold_own_details_only)
{
	worker.bare_errors = true;
	call_fail(&c, CODE_ABORTED, NULL, "x");
	cr_assert_null(error_details(&c));
	call_detail(&c, "a.B", STR("x"));
	cr_assert_str_eq(error_details(&c)->type, "a.B");
}

Test(call_error, long_strings_get_long_lengths)
{
	char text[300];
	struct buf b;

	memset(text, 'a', sizeof(text));
	buf_init(&b, &arena);
	error_field(&b, 3, (struct str){text, sizeof(text)});
	cr_assert_eq(b.n, 303);
	cr_assert_eq(memcmp(b.p, "\x1a\xac\x02", 3), 0);
}

Test(call_error, statuses)
{
	static const struct {
		enum code code;
		const char *name;
		int status;
	} rows[] = {
		{CODE_CANCELED, "canceled", 499},
		{CODE_UNKNOWN, "unknown", 500},
		{CODE_INVALID_ARGUMENT, "invalid_argument", 400},
		{CODE_DEADLINE_EXCEEDED, "deadline_exceeded", 504},
		{CODE_NOT_FOUND, "not_found", 404},
		{CODE_ALREADY_EXISTS, "already_exists", 409},
		{CODE_PERMISSION_DENIED, "permission_denied", 403},
		{CODE_RESOURCE_EXHAUSTED, "resource_exhausted", 429},
		{CODE_FAILED_PRECONDITION, "failed_precondition", 400},
		{CODE_ABORTED, "aborted", 409},
		{CODE_OUT_OF_RANGE, "out_of_range", 400},
		{CODE_UNIMPLEMENTED, "unimplemented", 501},
		{CODE_INTERNAL, "internal", 500},
		{CODE_UNAVAILABLE, "unavailable", 503},
		{CODE_DATA_LOSS, "data_loss", 500},
		{CODE_UNAUTHENTICATED, "unauthenticated", 401},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_str_eq(error_code(rows[i].code)->name, rows[i].name);
		cr_assert_eq(error_code(rows[i].code)->status, rows[i].status);
	}
	cr_assert_str_eq(error_code((enum code)99)->name, "internal");
}

Test(call_error, database_failures)
{
	static const struct {
		enum db_kind kind;
		enum code code;
	} rows[] = {
		{DB_DOWN, CODE_UNAVAILABLE},
		{DB_TIMEOUT, CODE_UNAVAILABLE},
		{DB_UNIQUE, CODE_ALREADY_EXISTS},
		{DB_SERIALIZE, CODE_ABORTED},
		{DB_BUSY, CODE_UNAVAILABLE},
		{DB_MEMORY, CODE_RESOURCE_EXHAUSTED},
		{DB_BUG, CODE_INTERNAL},
		{(enum db_kind)77, CODE_INTERNAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct db db = {.err = {.kind = rows[i].kind}};

		c.code = CODE_OK;
		cr_assert_eq(call_fail_db(&c, &db), -1);
		cr_assert_eq(c.code, rows[i].code, "row %zu", i);
	}
}

Test(call_error, retry_after)
{
	call_fail(&c, CODE_UNAVAILABLE, NULL, "x");
	cr_assert_eq(error_retry_after(&c), 1);
	c.code = CODE_RESOURCE_EXHAUSTED;
	cr_assert_eq(error_retry_after(&c), 0, "an oversized body is no reason to wait");
	c.retry_ms = 1001;
	cr_assert_eq(error_retry_after(&c), 2);
}

Test(call_error, no_memory_is_a_failure_too)
{
	arena_free(&arena);
	arena_init(&arena, 64);
	call_fail(&c, CODE_INVALID_ARGUMENT, NULL, "%0200d", 1);
	cr_assert_eq(c.code, CODE_INVALID_ARGUMENT);
	cr_assert(str_eq(c.error_text, STR("out of memory")));
	cr_assert_null(error_details(&c));
}
