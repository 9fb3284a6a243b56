/* `pugd status` reads the master's JSON in place. */
#include <criterion/criterion.h>

#include "master/cli/client.h"

static const char page[] =
	"{\"a\":1,\"s\":\"x\\\"y\\\\z\\u0001\",\"o\":{\"a\":22,\"e\":{}},\"l\":[{\"n\":\"}]\"},[],3],"
	"\"empty\":[],\"last\":18446744073709551615}\n";

Test(cli_client, members)
{
	char text[32];

	cr_assert_eq(client_number(client_member(page, "a")), 1);
	cr_assert_eq(client_number(client_member(client_member(page, "o"), "a")), 22);
	cr_assert_eq(client_number(client_member(page, "last")), UINT64_MAX);
	cr_assert_null(client_member(page, "n"));
	cr_assert_null(client_member(client_member(client_member(page, "o"), "e"), "x"));
	client_text(client_member(page, "s"), text, sizeof(text));
	cr_assert_str_eq(text, "x\"y\\zu0001");
	client_text(client_member(page, "s"), text, 3);
	cr_assert_str_eq(text, "x\"");
}

Test(cli_client, items)
{
	const char *item = client_first(client_member(page, "l"));
	char text[8];

	client_text(client_member(item, "n"), text, sizeof(text));
	cr_assert_str_eq(text, "}]");
	item = client_next(item);
	cr_assert_null(client_first(item));
	item = client_next(item);
	cr_assert_eq(client_number(item), 3);
	cr_assert_null(client_next(item));
	cr_assert_null(client_first(client_member(page, "empty")));
}

Test(cli_client, nothing_is_nothing)
{
	char text[4] = "x";

	cr_assert_null(client_member(NULL, "a"));
	cr_assert_null(client_first(NULL));
	cr_assert_null(client_next(NULL));
	cr_assert_eq(client_number(NULL), 0);
	client_text(NULL, text, sizeof(text));
	cr_assert_str_eq(text, "");
	/* A page cut off in the middle must not be read past its end. */
	for (size_t n = 0; n < sizeof(page) - 1; n++) {
		char cut[sizeof(page)];

		memcpy(cut, page, n);
		cut[n] = '\0';
		client_number(client_member(cut, "last"));
		client_next(client_first(client_member(cut, "l")));
	}
}
