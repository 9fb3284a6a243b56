/* Whom a tenant's transfer may reach, and which URLs are taken at all. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "worker/outbound.h"

static bool allowed(const struct options *o, const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return outbound_allowed(o, (struct sockaddr *)&v4);
	cr_assert_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1, "%s", text);
	return outbound_allowed(o, (struct sockaddr *)&v6);
}

Test(outbound, tenants_reach_public_addresses_only)
{
	static const char *const no[] = {"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3",
		"172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
		"2002:7f00:1::", "::127.0.0.1"};
	static const char *const yes[] = {
		"8.8.8.8", "172.32.0.1", "2a00:1450:4001::1", "::ffff:8.8.8.8"};
	static struct options o;

	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_assert_not(allowed(&o, no[i]), "%s", no[i]);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_assert(allowed(&o, yes[i]), "%s", yes[i]);
}

Test(outbound, the_operator_may_allow_more)
{
	static struct options o;

	strcpy(o.mail_networks, "10.1.0.0/16 ::1");
	cr_assert(allowed(&o, "10.1.2.3"));
	cr_assert(allowed(&o, "::1"));
	cr_assert_not(allowed(&o, "10.2.0.1"));
	cr_assert_not(allowed(&o, "127.0.0.1"));
	o.dev = true; /* D59 */
	cr_assert(allowed(&o, "127.0.0.1"));
	cr_assert_not(allowed(&o, "192.168.0.1"));
}

Test(outbound, plain_http_is_for_loopback)
{
	cr_assert(outbound_url_ok("https://accounts.google.com/x"));
	cr_assert(outbound_url_ok("http://127.0.0.1:8080/x"));
	cr_assert(outbound_url_ok("http://localhost/x"));
	cr_assert(outbound_url_ok("http://[::1]:1/x"));
	cr_assert_not(outbound_url_ok("http://example.com/"));
	cr_assert_not(outbound_url_ok("http://127.evil.example/"));
	cr_assert_not(outbound_url_ok("ftp://localhost/"));
	cr_assert_not(outbound_url_ok("file:///etc/passwd"));
	cr_assert_not(outbound_url_ok("nonsense"));
	cr_assert_not(outbound_url_ok(""));
}
