/* Parts of a call: what becomes of their memory and of their failures. */
#include <criterion/criterion.h>
#include "worker/call/child.h"
#include "worker/call/error.h"
#include "worker/worker.h"

static struct worker worker;
static struct arena arena;
static struct call c;

static void setup(void)
{
	arena_init(&arena, 1 << 20);
	memset(&c, 0, sizeof(c));
	c.w = &worker;
	c.arena = &arena;
	c.details_tail = &c.details;
	c.deadline_ms = 5;
	c.who.project = 7;
	error_reserve(&c);
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(child, .init = setup, .fini = teardown, .timeout = 20);

Test(child, fails_alone)
{
	struct call_child one, two;
	size_t cap = arena.cap, held = arena.held;
	char *text;

	child_begin(&one, &c, 1 << 16);
	child_begin(&two, &c, 1 << 16);
	cr_assert_eq(one.c.who.project, 7);
	cr_assert_eq(one.c.deadline_ms, 5);
	cr_assert_not_null(call_alloc(&one.c, 1000));
	cr_assert_eq(call_fail_resource(&one.c, "X_NOT_FOUND", "x", "id", "no such x"), -1);
	cr_assert_eq(c.code, CODE_OK);
	cr_assert_eq(two.c.code, CODE_OK);
	cr_assert_null(c.details);
	/* the memory that the call keeps for its own failure is not given back */
	cr_assert_eq(arena.cap, cap);
	cr_assert_eq(arena.held, held);
	text = child_drop(&one, &c);
	cr_assert_str_eq(text, "no such x");
	cr_assert_eq(one.arena.held, 0);
	cr_assert_eq(call_fail(&c, CODE_CANCELED, NULL, "gone"), -1);
	cr_assert_str_eq(text, "no such x");
	arena_free(&two.arena);
}

Test(child, keeps_what_it_made)
{
	struct call_child child;
	char *text;

	child_begin(&child, &c, 1 << 16);
	text = call_str(&child.c, STR("answer"));
	cr_assert(child_keep(&child, &c));
	memset(&child, 'x', sizeof(child));
	cr_assert_str_eq(text, "answer");
}

Test(child, out_of_memory)
{
	struct call_child child;

	child_begin(&child, &c, 1 << 16);
	cr_assert_null(call_alloc(&child.c, 1 << 17));
	cr_assert_eq(child.c.code, CODE_RESOURCE_EXHAUSTED);
	cr_assert_str_eq(child_drop(&child, &c), "the call needs too much memory");
	cr_assert_eq(c.code, CODE_OK);
	/* what fits into the part may still be too much for the call */
	child_begin(&child, &c, 8 << 20);
	cr_assert_not_null(call_alloc(&child.c, 2 << 20));
	cr_assert_not(child_keep(&child, &c));
	cr_assert_eq(child.arena.held, 0);
	cr_assert_str_eq(child_drop(&child, &c), "the call needs too much memory");
}
