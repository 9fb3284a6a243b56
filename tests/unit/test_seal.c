/* Secrets at rest: what opens, what does not, and which key did it. */
#include <criterion/criterion.h>
#include <string.h>

#include "worker/call/seal.h"

static struct options keys(uint8_t current, uint8_t previous)
{
	struct options o;

	memset(&o, 0, sizeof(o));
	memset(o.secret, current, 48);
	o.secret_len = 48;
	if (previous) {
		memset(o.secret_previous, previous, 48);
		o.secret_previous_len = 48;
	}
	return o;
}

Test(seal, opens_what_it_made)
{
	struct options o = keys(1, 0);
	struct arena a;
	bool old = true;

	arena_init(&a, 1 << 20);
	struct str s = seal_make(&o, KEY_PROVIDER_SECRET, STR("org"), STR("hunter2"), &a);
	cr_assert_eq(s.n, 7 + SEAL_OVERHEAD);
	cr_assert_null(memmem(s.p, s.n, "hunter2", 7));
	struct str t = seal_open(&o, KEY_PROVIDER_SECRET, STR("org"), s, &a, &old);
	cr_assert(str_eq(t, STR("hunter2")));
	cr_assert_eq(t.p[t.n], '\0');
	cr_assert_not(old);
	/* the same text twice is two ciphertexts */
	struct str u = seal_make(&o, KEY_PROVIDER_SECRET, STR("org"), STR("hunter2"), &a);
	cr_assert_not(str_eq(s, u));
	s = seal_make(&o, KEY_MAIL, STR("id"), STR(""), &a);
	t = seal_open(&o, KEY_MAIL, STR("id"), s, &a, NULL);
	cr_assert_not_null(t.p);
	cr_assert_eq(t.n, 0);
	arena_free(&a);
}

Test(seal, refuses_what_is_not_its_own)
{
	struct options o = keys(1, 0), other = keys(2, 0), none = keys(1, 0);
	struct arena a;

	arena_init(&a, 1 << 20);
	struct str s = seal_make(&o, KEY_PROVIDER_SECRET, STR("org"), STR("hunter2"), &a);
	cr_assert_null(seal_open(&o, KEY_PROVIDER_SECRET, STR("orh"), s, &a, NULL).p);
	cr_assert_null(seal_open(&o, KEY_MAIL, STR("org"), s, &a, NULL).p);
	cr_assert_null(seal_open(&other, KEY_PROVIDER_SECRET, STR("org"), s, &a, NULL).p);
	for (size_t i = 0; i < s.n; i++) {
		char copy[64];

		memcpy(copy, s.p, s.n);
		copy[i] ^= 1;
		cr_assert_null(seal_open(&o, KEY_PROVIDER_SECRET, STR("org"),
				       (struct str){copy, s.n}, &a, NULL)
				       .p,
			"byte %zu", i);
	}
	for (size_t n = 0; n < s.n; n++)
		cr_assert_null(seal_open(
			&o, KEY_PROVIDER_SECRET, STR("org"), (struct str){s.p, n}, &a, NULL)
				       .p);
	none.secret_len = 0;
	cr_assert_null(seal_make(&none, KEY_MAIL, STR("x"), STR("y"), &a).p);
	arena_free(&a);
}

Test(seal, rotates)
{
	struct options before = keys(1, 0), after = keys(2, 1);
	struct arena a;
	bool old = false;

	arena_init(&a, 1 << 20);
	struct str s = seal_make(&before, KEY_PROVIDER_SECRET, STR("org"), STR("hunter2"), &a);
	cr_assert(str_eq(
		seal_open(&after, KEY_PROVIDER_SECRET, STR("org"), s, &a, &old), STR("hunter2")));
	cr_assert(old);
	s = seal_make(&after, KEY_PROVIDER_SECRET, STR("org"), STR("hunter2"), &a);
	cr_assert_null(seal_open(&before, KEY_PROVIDER_SECRET, STR("org"), s, &a, NULL).p);
	arena_free(&a);
}
