/* Base64 in both alphabets. */
#include <criterion/criterion.h>

#include "proto/base64.h"

static void decodes(const char *text, const char *want, size_t n)
{
	uint8_t out[64];
	size_t got;

	cr_expect(base64_decode(str_of(text), out, &got), "%s", text);
	cr_expect(got == n && memcmp(out, want, n) == 0, "%s", text);
}

Test(base64, decodes_with_and_without_padding)
{
	decodes("", "", 0);
	decodes("Zg==", "f", 1);
	decodes("Zg", "f", 1);
	decodes("Zm8=", "fo", 2);
	decodes("Zm8", "fo", 2);
	decodes("Zm9v", "foo", 3);
	decodes("Zm9vYmFy", "foobar", 6);
	decodes("-_-_", "\xfb\xff\xbf", 3);
	decodes("+/+/", "\xfb\xff\xbf", 3);
	decodes("AAA=", "\0\0", 2);
}

Test(base64, refuses_everything_else)
{
	static const char *const bad[] = {"Z", "Zg=", "Zg===", "=", "==", "Zm9v=", "Zm9vY", "Zm 9v",
		"Zm9v\n", "Zm9*", "Z===", "Zg==Zg==", "\xc3\xa4"};
	uint8_t out[64];
	size_t n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(base64_decode(str_of(bad[i]), out, &n), "%s", bad[i]);
}

Test(base64, encodes)
{
	static const struct {
		const char *in, *padded, *bare;
	} t[] = {{"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"},
		{"\xfb\xff\xbf", "+/+/", "+/+/"}};
	char out[32];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		size_t n = strlen(t[i].in);

		cr_expect_eq(base64_encode(t[i].in, n, true, out), base64_encoded_len(n, true));
		cr_expect_str_eq(out, t[i].padded);
		cr_expect_eq(base64_encode(t[i].in, n, false, out), base64_encoded_len(n, false));
		cr_expect_str_eq(out, t[i].bare);
	}
	base64_encode_url("\xfb\xff\xbf", 3, out);
	cr_expect_str_eq(out, "-_-_");
}

/* auth.md 1.6: the bytes of a real detail. */
Test(base64, encodes_error_details_unpadded)
{
	static const char info[] = "\x0a\x0fUNAUTHENTICATED\x12\x06pug.sh";
	char out[64];

	base64_encode(info, sizeof(info) - 1, false, out);
	cr_expect_str_eq(out, "Cg9VTkFVVEhFTlRJQ0FURUQSBnB1Zy5zaA");
}
