/* Who is charged to what, and what the headers say. */
#include <criterion/criterion.h>
#include <unistd.h>
#include "shm/options.h"
#include "shm/segment.h"
#include "worker/call/limit.h"
#include "worker/worker.h"

static struct options opt;
static struct worker worker = {.opt = &opt};
static struct http_request rq;
static struct arena arena;
static struct pb_method methods[1];
static const struct pb_methods table = {.v = methods, .n = 1};

static void setup(void)
{
	int fd = segment_create();

	cr_assert(fd >= 0);
	worker.seg = segment_map(fd);
	cr_assert_not_null(worker.seg);
	close(fd);
	worker.methods = &table;
	opt.limit_scale = 1;
	opt.limit_key_rate = 10;
	opt.limit_key_burst = 3;
	opt.limit_project_rate = 10;
	opt.limit_project_burst = 100;
	opt.limit_address_rate = 1;
	opt.limit_address_burst = 2;
	opt.limit_customer_rate = 0;
	opt.limit_customer_burst = 1;
	opt.limit_project_events = 10;
	opt.limit_project_events_burst = 50;
	opt.limit_signin_per_minute = 6;
	opt.limit_signin_burst = 2;
	opt.limit_link_per_hour = 1;
	opt.limit_link_burst = 2;
	arena_init(&arena, 1 << 16);
}

static void teardown(void)
{
	arena_free(&arena);
	segment_unmap(worker.seg);
}

static struct call call_of(enum principal_kind kind, const char *key, uint64_t address)
{
	struct call c = {.w = &worker,
		.rq = &rq,
		.arena = &arena,
		.method = methods,
		.address_hash = address,
		.who = {.kind = kind, .project = 5, .hash = 9}};

	strcpy(c.who.key_id, key);
	strcpy(c.who.customer_id, key);
	return c;
}

TestSuite(limit, .init = setup, .fini = teardown, .timeout = 20);

Test(limit, key_then_project)
{
	for (int i = 0; i < 4; i++) {
		struct call c = call_of(WHO_PUBLIC_KEY, "k1", 1);

		cr_assert_eq(call_limit(&c), i < 3 ? 0 : -1, "call %d", i);
		cr_assert_eq(c.n_limits, i < 3 ? 2 : 1);
		if (i == 3) {
			cr_assert_eq(c.code, CODE_RESOURCE_EXHAUSTED);
			cr_assert_gt(c.retry_ms, 0);
		}
	}
	struct call other = call_of(WHO_PUBLIC_KEY, "k2", 1);

	cr_assert_eq(call_limit(&other), 0);
}

Test(limit, public_methods_count_addresses)
{
	for (int i = 0; i < 3; i++) {
		struct call c = call_of(WHO_NOBODY, "", 11);

		cr_assert_eq(call_limit(&c), i < 2 ? 0 : -1);
	}
	struct call other = call_of(WHO_NOBODY, "", 12);

	cr_assert_eq(call_limit(&other), 0);
}

Test(limit, zero_switches_off)
{
	for (int i = 0; i < 50; i++) {
		struct call c = call_of(WHO_CUSTOMER, "c1", 1);

		cr_assert_eq(call_limit(&c), 0);
		cr_assert_eq(c.n_limits, 0);
	}
}

Test(limit, events_count_one_by_one)
{
	struct call c = call_of(WHO_PUBLIC_KEY, "k1", 1);

	cr_assert_eq(limit_events(&c, 40), 0);
	cr_assert_eq(limit_events(&c, 40), -1);
}

Test(limit, a_batch_above_the_burst_is_possible)
{
	struct call c = call_of(WHO_PUBLIC_KEY, "k1", 1);

	cr_assert_eq(limit_events(&c, 1000), 0);
}

Test(limit, only_failed_signins_are_charged)
{
	struct call c = call_of(WHO_NOBODY, "", 1);

	for (int i = 0; i < 10; i++)
		cr_assert_eq(limit_signin_check(&c, STR("a@b.example")), 0);
	limit_signin_charge(&c, STR("a@b.example"));
	cr_assert_eq(limit_signin_check(&c, STR("a@b.example")), 0);
	limit_signin_charge(&c, STR("A@B.example"));
	cr_assert_eq(limit_signin_check(&c, STR("other@b.example")), 0);
	cr_assert_eq(limit_signin_check(&c, STR("a@B.example")), -1);
	cr_assert_eq(c.code, CODE_RESOURCE_EXHAUSTED);
}

Test(limit, guesses_at_once_are_counted)
{
	struct call c = call_of(WHO_NOBODY, "", 1), late = c, other = c;

	/* All were checked before any of them was known to be wrong. */
	cr_assert_eq(limit_signin_charge(&c, STR("a@b.example")), 0);
	cr_assert_eq(limit_signin_charge(&c, STR("a@b.example")), 0);
	cr_assert_eq(limit_signin_charge(&late, STR("a@b.example")), -1);
	cr_assert_eq(late.code, CODE_RESOURCE_EXHAUSTED);
	cr_assert_eq(limit_signin_charge(&other, STR("b@b.example")), 0);
}

Test(limit, links_count_by_mailbox)
{
	struct call c = call_of(WHO_NOBODY, "", 1), late = c, other = c;

	cr_assert_eq(limit_link(&c, STR("a@b.example")), 0);
	cr_assert_eq(limit_link(&c, STR("A@B.example")), 0);
	cr_assert_eq(limit_link(&late, STR("a@b.example")), -1);
	cr_assert_eq(late.code, CODE_RESOURCE_EXHAUSTED);
	/* Less than a thousandth a second is still no "unlimited": one in 1000 s. */
	cr_assert_gt(late.retry_ms, 500000);
	cr_assert_leq(late.retry_ms, 1000000);
	cr_assert_eq(limit_link(&other, STR("b@b.example")), 0);
	/* Not the bucket of failed sign-ins. */
	cr_assert_eq(limit_signin_check(&other, STR("a@b.example")), 0);
	opt.limit_link_per_hour = 0;
	for (int i = 0; i < 10; i++)
		cr_assert_eq(limit_link(&other, STR("b@b.example")), 0);
}

Test(limit, only_wrong_guesses_of_keys_are_charged)
{
	struct call c = call_of(WHO_NOBODY, "", 21), other = call_of(WHO_NOBODY, "", 22);

	for (int i = 0; i < 10; i++) {
		cr_assert_eq(limit_guess_take(&c), 0);
		limit_guess_give(&c);
	}
	cr_assert_eq(limit_guess_take(&c), 0);
	cr_assert_eq(limit_guess_take(&c), 0);
	cr_assert_eq(limit_guess_take(&c), -1);
	cr_assert_eq(c.code, CODE_RESOURCE_EXHAUSTED);
	cr_assert_eq(limit_guess_take(&other), 0);
	/* Public calls have their own bucket. */
	cr_assert_eq(call_limit(&(struct call){.w = &worker,
			     .rq = &rq,
			     .arena = &arena,
			     .method = methods,
			     .address_hash = 21}),
		0);
}

Test(limit, headers)
{
	struct call c = call_of(WHO_PUBLIC_KEY, "k1", 1);
	struct buf b;

	c.limits[0] = (struct limit_note){"key", {500000, 2000}, {1999, 2, 0}};
	c.limits[1] = (struct limit_note){"project", {1000000, 100}, {99, 1001, 0}};
	c.n_limits = 2;
	buf_init(&b, &arena);
	limit_headers(&c, &b);
	buf_c(&b, '\0');
	cr_assert_str_eq(b.p, "RateLimit-Policy: \"key\";q=2000;w=4, \"project\";q=100;w=1\r\n"
			      "RateLimit: \"key\";r=1999;t=1, \"project\";r=99;t=2\r\n");
}
