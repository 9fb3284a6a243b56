/* The option table as a parser: every kind, every complaint with its place. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/args.h"
#include "master/config.h"

static struct options opt;

/* Parses over the defaults; returns the report until the next call. */
static const char *parse(const char *text)
{
	static char report[4096];
	struct config_report r;

	config_report_init(&r);
	config_defaults(&opt);
	config_parse(&opt, "f", str_of(text), &r);
	snprintf(report, sizeof(report), "%.*s", (int)r.text.n, r.text.n ? r.text.p : "");
	config_report_free(&r);
	return report;
}

Test(config, defaults_are_valid)
{
	struct config_report r;

	config_report_init(&r);
	config_defaults(&opt);
	config_check(&opt, "defaults", &r);
	cr_assert_eq(r.count, 0, "%.*s", (int)r.text.n, r.text.p);
	cr_assert_eq(opt.drain_timeout, 30000);
	cr_assert_eq(opt.max_body, 4 << 20);
	cr_assert_eq(opt.refresh_lifetime, 90LL * 86400000);
	cr_assert(opt.access_log);
	cr_assert_str_eq(opt.user, "pugd");
	config_report_free(&r);
}

/* Every default must be what its own row accepts. */
Test(config, every_default_parses)
{
	for (size_t i = 0; i < config_row_count; i++) {
		struct config_report r;
		char line[700];

		if (!config_rows[i].key)
			continue;
		config_report_init(&r);
		snprintf(line, sizeof(line), "%s = \"%s\"", config_rows[i].key, config_rows[i].def);
		config_parse(&opt, "f", str_of(line), &r);
		cr_expect_eq(r.count, 0, "%s", line);
		config_report_free(&r);
	}
}

Test(config, values)
{
	cr_assert_str_eq(parse("  workers=3 \r\n\n# c\nmax_head = 64K\t# c\nhang_timeout = 2m\n"
			       "access_log = OFF\nlimit_key_rate = 0\nidle_timeout = 1h"),
		"");
	cr_assert_eq(opt.workers, 3);
	cr_assert_eq(opt.max_head, 65536);
	cr_assert_eq(opt.hang_timeout, 120000);
	cr_assert_eq(opt.idle_timeout, 3600000);
	cr_assert_eq(opt.limit_key_rate, 0);
	cr_assert_not(opt.access_log);
}

Test(config, quotes_and_comments)
{
	cr_assert_str_eq(parse("jwt_issuer = \"a # b\" # c\njwt_audience = x#y\nuser = \"\"\n"
			       "database_url = host=/x password=a=b"),
		"");
	cr_assert_str_eq(opt.jwt_issuer, "a # b");
	cr_assert_str_eq(opt.jwt_audience, "x#y");
	cr_assert_str_eq(opt.user, "");
	cr_assert_str_eq(opt.database_url, "host=/x password=a=b");
}

static const struct {
	const char *text, *complaint;
} bad[] = {
	{"workers", "f:1: expected key = value\n"},
	{"\nworkers = 61", "f:2: workers: 61 is outside 0..60\n"},
	{"workers = -1", "f:1: workers: -1 is outside 0..60\n"},
	{"workers = 1x", "f:1: workers: '1x' is not a whole number\n"},
	{"workers =", "f:1: workers: '' is not a whole number\n"},
	{"workers = 99999999999999999999",
		"f:1: workers: '99999999999999999999' is not a whole number\n"},
	{"no_such = 1", "f:1: no_such: unknown option\n"},
	{"= 1", "f:1: : unknown option\n"},
	{"workers = 1\nworkers = 1", "f:2: workers: given twice\n"},
	{"access_log = y", "f:1: access_log: 'y' is not yes or no\n"},
	{"hang_timeout = 10",
		"f:1: hang_timeout: '10' is not a duration such as 500ms, 10s, 2m, 1h or 90d\n"},
	{"hang_timeout = 10 s",
		"f:1: hang_timeout: '10 s' is not a duration such as 500ms, 10s, 2m, 1h or 90d\n"},
	{"hang_timeout = 1ms", "f:1: hang_timeout: 1ms is outside 500..600000 ms\n"},
	{"hang_timeout = 9223372036854775807d",
		"f:1: hang_timeout: '9223372036854775807d' is not a duration such as 500ms, 10s, 2m, 1h or 90d\n"},
	{"max_body = 4m", "f:1: max_body: '4m' is not a size such as 1024, 32K, 4M or 1G\n"},
	{"max_body = 18446744073709551615",
		"f:1: max_body: '18446744073709551615' is not a size such as 1024, 32K, 4M or 1G\n"},
	{"jwt_issuer = \"x", "f:1: jwt_issuer: quotes do not match\n"},
	{"jwt_issuer = \"x\" y", "f:1: jwt_issuer: quotes do not match\n"},
	{"jwt_issuer = \xff", "f:1: jwt_issuer: not valid UTF-8\n"},
	{"user = 123456789012345678901234567890123", "f:1: user: longer than 32 bytes\n"},
};

Test(config, complaints)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_str_eq(parse(bad[i].text), bad[i].complaint);
}

Test(config, all_problems_are_told)
{
	cr_assert_str_eq(parse("a = 1\nb = 1\nworkers = x\n"),
		"f:1: a: unknown option\n"
		"f:2: b: unknown option\nf:3: workers: 'x' is not a whole number\n");
}

Test(config, nul_and_no_newline)
{
	struct config_report r;

	config_report_init(&r);
	config_parse(&opt, "f", (struct str){"user = a\0b", 10}, &r);
	cr_assert_eq(r.count, 1);
	config_parse(&opt, "f", (struct str){"", 0}, &r);
	cr_assert_eq(r.count, 1);
	config_report_free(&r);
}

static unsigned cross_problems(const char *text)
{
	struct config_report r;
	unsigned n;

	config_report_init(&r);
	config_defaults(&opt);
	config_parse(&opt, "f", str_of(text), &r);
	cr_expect_eq(r.count, 0, "%s: %.*s", text, (int)r.text.n, r.text.p);
	config_check(&opt, "f", &r);
	n = r.count;
	config_report_free(&r);
	return n;
}

Test(config, cross_checks)
{
	static const struct {
		const char *text;
		unsigned problems;
	} cases[] = {
		{"listen = 127.0.0.1:1 [::1]:2 unix:/x *:3", 0},
		{"listen = :1 x:1 127.0.0.1 127.0.0.1:99999 unix:x [::1:2", 6},
		{"listen = a:1 b:1", 2},
		{"admin_listen = 127.3.2.1:1", 0},
		{"admin_listen = [::1]:1", 0},
		{"admin_listen = unix:@abstract", 0},
		{"admin_listen = 0.0.0.0:1", 1},
		{"admin_listen = 10.0.0.1:1", 1},
		{"admin_listen = \"\"", 0},
		{"max_body = 16M", 1},
		{"max_body = 64M", 2},
		{"worker_memory = 16M", 1},
		{"database_url = \"\"", 1},
		{"trusted_proxies = 10.0.0.0/8, ::1 2001:db8::/32 unix", 0},
		{"mail_networks = unix", 1},
		{"trusted_proxies = 10.0.0.0/33 x 1.2.3 ::/129 1.2.3.4/", 5},
		{"cors_origins = https://a https://*.b,http://c:1", 0},
		{"cors_origins = https://*.*.b, a.example", 2},
		{"mail_url = smtps://h\nmail_from = a@b", 0},
		{"mail_url = resend:\nmail_from = A <a@b>", 0},
		{"mail_url = smtp://u@h:587", 1},
		{"mail_url = smtp://", 2},
		{"mail_url = http://h\nmail_from = a@b", 1},
		{"dashboard_url = app.example", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_expect_eq(cross_problems(cases[i].text), cases[i].problems, "%s", cases[i].text);
}

Test(config, arguments)
{
	char *argv[] = {
		"pugd", "check", "--config=x", "-o", "workers=2", "--json", "-o=user=", NULL};
	struct args a;

	unsetenv("PUGD_CONFIG");
	cr_assert(args_parse(&a, 6, argv));
	cr_assert_str_eq(a.command, "check");
	cr_assert_str_eq(a.config, "x");
	cr_assert_eq(a.override_count, 1);
	cr_assert_eq(a.rest_count, 2);
	cr_assert_str_eq(a.rest[1], "--json");
	cr_assert(args_parse(&a, 1, argv));
	cr_assert_str_eq(a.command, "run");
	cr_assert_not(a.config_given);
	cr_assert_not(args_parse(&a, 2, (char *[]){"pugd", "-o", NULL}));
	cr_assert_not(args_parse(&a, 3, (char *[]){"pugd", "--resume", "x", NULL}));
}

static unsigned credential_problems(size_t bytes, mode_t mode)
{
	char path[] = "/tmp/pugd-test-key-XXXXXX", data[200] = "secret";
	struct config_report r;
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && fchmod(fd, mode) == 0);
	config_report_init(&r);
	config_defaults(&opt);
	snprintf(opt.credential_file, sizeof(opt.credential_file), "%s", path);
	config_credentials(&opt, &r);
	unlink(path);
	close(fd);
	config_report_free(&r);
	return r.count;
}

Test(config, credentials)
{
	cr_expect_eq(credential_problems(32, 0600), 0);
	cr_expect_eq(opt.secret_len, 32);
	cr_expect_eq(credential_problems(128, 0440), 0);
	cr_expect_eq(credential_problems(129, 0600), 1);
	cr_expect_eq(opt.secret_len, 0);
	cr_expect_eq(credential_problems(31, 0600), 1);
	cr_expect_eq(credential_problems(48, 0604), 1);
	cr_expect_eq(credential_problems(0, 0600), 1);
}

/* Operator commands go on without it (main.c), and what they read ends with a NUL. */
Test(config, a_text_that_is_too_long_is_none)
{
	static char data[sizeof(opt.auth_config) + 10];
	char path[] = "/tmp/pugd-test-text-XXXXXX";
	struct config_report r;
	int fd = mkstemp(path);

	memset(data, 'x', sizeof(data));
	cr_assert(fd >= 0 && write(fd, data, sizeof(data)) == (ssize_t)sizeof(data));
	config_report_init(&r);
	config_defaults(&opt);
	snprintf(opt.auth_config_file, sizeof(opt.auth_config_file), "%s", path);
	snprintf(opt.mail_secret_file, sizeof(opt.mail_secret_file), "%s", path);
	config_credentials(&opt, &r);
	unlink(path);
	close(fd);
	config_report_free(&r);
	cr_expect_geq(r.count, 2);
	cr_expect_eq(opt.auth_config[0], '\0');
	cr_expect_eq(opt.mail_secret[0], '\0');
}

Test(config, page_is_sealed)
{
	struct options *page;
	int fd;

	config_defaults(&opt);
	fd = config_memfd(&opt);
	cr_assert(fd >= 0);
	cr_assert_lt(write(fd, "x", 1), 0);
	cr_assert_lt(ftruncate(fd, 0), 0);
	cr_assert_eq(
		mmap(NULL, sizeof(opt), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	page = mmap(NULL, sizeof(opt), PROT_READ, MAP_SHARED, fd, 0);
	cr_assert_neq(page, MAP_FAILED);
	cr_assert_eq(memcmp(page, &opt, sizeof(opt)), 0);
}
