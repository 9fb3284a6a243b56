/* Who carries mail: the operator's URL, an org's sealed settings, what is shown of them. */
#include <criterion/criterion.h>
#include <string.h>

#include "worker/mail/outbox.h"
#include "worker/mail/provider.h"
#include "worker/mail/send.h"

static struct arena a;
static struct options o;

static void setup(void)
{
	arena_init(&a, 1 << 20);
	memset(&o, 0, sizeof(o));
	strcpy(o.mail_from, "Pug <pug@x.example>");
	memset(o.secret, 7, 48);
	o.secret_len = 48;
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(provider, .init = setup, .fini = teardown);

static enum provider_end url(const char *text, struct provider *p)
{
	strcpy(o.mail_url, text);
	return provider_operator(&o, &a, p);
}

Test(provider, operators_urls)
{
	static const struct {
		const char *url, *host, *user;
		unsigned port;
		enum provider_tls tls;
	} rows[] = {
		{"smtps://mx.example", "mx.example", "", 465, PROVIDER_TLS},
		{"smtps://mx.example:10465/", "mx.example", "", 10465, PROVIDER_TLS},
		{"smtp://me@mx.example:587", "mx.example", "me", 587, PROVIDER_STARTTLS},
		{"smtp://me@x.example@mx.example", "mx.example", "me@x.example", 587,
			PROVIDER_STARTTLS},
		{"smtp://127.0.0.1:25", "127.0.0.1", "", 25, PROVIDER_CLEAR},
		{"smtp://localhost", "localhost", "", 25, PROVIDER_CLEAR},
		{"smtp://[::1]:2525", "::1", "", 2525, PROVIDER_CLEAR},
		{"smtps://127.0.0.1:9", "127.0.0.1", "", 9, PROVIDER_TLS},
		{"smtp://10.0.0.1", "10.0.0.1", "", 587, PROVIDER_STARTTLS},
	};
	struct provider p;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(url(rows[i].url, &p), PROVIDER_OK, "%s", rows[i].url);
		cr_expect_str_eq(p.host, rows[i].host);
		cr_expect_str_eq(p.username, rows[i].user);
		cr_expect_eq(p.port, rows[i].port, "%s", rows[i].url);
		cr_expect_eq(p.tls, rows[i].tls, "%s", rows[i].url);
		cr_expect(str_eq(p.from.name, STR("Pug")));
		cr_expect(str_eq(p.from.address, STR("pug@x.example")));
		cr_expect_eq(p.target, OUTBOUND_OPERATOR);
	}
}

Test(provider, operators_urls_that_make_no_sense)
{
	static const char *const bad[] = {"smtp://", "smtps://:465", "smtps://a b", "smtp://h:0",
		"smtp://h:65536", "smtp://h:x", "smtp://h/path", "http://h", "resend:", "smtp://u@",
		"smtps://[::1", "smtp://h\r\nx"};
	struct provider p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(url(bad[i], &p), PROVIDER_BAD, "%s", bad[i]);
	cr_expect_eq(url("", &p), PROVIDER_NONE);
	strcpy(o.mail_secret, "re_1");
	cr_expect_eq(url("resend:", &p), PROVIDER_OK);
	strcpy(o.mail_from, "nobody");
	cr_expect_eq(url("resend:", &p), PROVIDER_BAD);
	strcpy(o.mail_from, "pug@x.example");
	strcpy(o.mail_dir, "/tmp");
	cr_expect_eq(url("smtp://h", &p), PROVIDER_OK);
	cr_expect_eq(p.kind, PROVIDER_FOLDER);
}

static struct provider through(struct provider in, enum provider_end want)
{
	struct provider_row row = {STR("org"), (int32_t)in.kind, STR("a@b.example"), {NULL, 0},
		provider_seal(&o, STR("org"), &in, &a)};
	struct provider out;

	cr_assert_not_null(row.secret.p);
	cr_assert_eq(provider_org(&o, &row, &a, &out), want);
	row.org_id = STR("orh");
	cr_assert_eq(provider_org(&o, &row, &a, &(struct provider){0}), PROVIDER_SEALED);
	return out;
}

Test(provider, an_orgs_own)
{
	struct provider smtp = {.kind = PROVIDER_SMTP,
		.host = "mx.example",
		.port = 587,
		.tls = PROVIDER_STARTTLS,
		.username = "me",
		.secret = "\"p\\w"};
	struct provider p = through(smtp, PROVIDER_OK);

	cr_expect_eq(p.target, OUTBOUND_TENANT);
	cr_expect_eq(p.tls, PROVIDER_STARTTLS);
	cr_expect_str_eq(p.secret, smtp.secret);
	smtp.port = 465;
	cr_expect_eq(through(smtp, PROVIDER_OK).tls, PROVIDER_TLS);
	smtp.tls = PROVIDER_CLEAR;
	cr_expect_eq(through(smtp, PROVIDER_OK).tls, PROVIDER_CLEAR);
	smtp.host = "mx.example/x";
	through(smtp, PROVIDER_BAD);
	strcpy(o.mail_reply_to, "help@x.example");
	p = through((struct provider){.kind = PROVIDER_RESEND, .secret = "re_1"}, PROVIDER_OK);
	cr_expect(str_eq(p.reply_to, STR("help@x.example")));
	through((struct provider){.kind = PROVIDER_RESEND, .secret = "re\r\nX: y"}, PROVIDER_BAD);
}

Test(provider, redaction)
{
	struct provider p = {
		.kind = PROVIDER_SMTP, .host = "h", .port = 25, .username = "me", .secret = "pw"};

	cr_expect(str_eq(provider_redacted(&p, &a), STR("smtp://me:***@h:25")));
	p.host = "::1";
	cr_expect(str_eq(provider_redacted(&p, &a), STR("smtp://me:***@[::1]:25")));
	p = (struct provider){.kind = PROVIDER_RESEND, .host = "", .secret = "123456789012"};
	cr_expect(str_eq(provider_redacted(&p, &a), STR("***")));
	p.secret = "1234567890123";
	cr_expect(str_eq(provider_redacted(&p, &a), STR("12345678***0123")));
}

Test(provider, what_a_server_said)
{
	struct provider p = {.username = "user", .secret = "hunter2"};
	struct mail_result r;

	mail_refused(&r, true, &p, STR("550 <x@y> hunter2 user\r\nok \"q\" \xc3\xbc"));
	cr_expect_str_eq(r.error, "was refused by the server: 550 [address] ******* **** ok 'q'");
	cr_expect(r.permanent && !r.accepted);
	mail_refused(&r, false, &p, STR("dGhpcyBpcyBhIHNlY3JldCB0aGF0IGlzIGxvbmc= no"));
	cr_expect_str_eq(r.error, "was refused by the server: [...] no");
	mail_refused(&r, false, &p, STR(""));
	cr_expect_str_eq(r.error, "was refused by the server");
	/* a secret that looks like what covers it */
	p = (struct provider){.username = "****", .secret = "***"};
	mail_refused(&r, true, &p, STR("550 ******* ** x"));
	cr_expect_str_eq(r.error, "was refused by the server: 550 ******* ** x");
	char text[2000];

	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(text); i += 9)
		text[i] = ' ';
	mail_refused(&r, false, &p, (struct str){text, sizeof(text)});
	cr_expect_lt(strlen(r.error), 250);
}

/* A name may have several addresses: of what one that may be reached did, nothing is permanent. */
Test(provider, out_of_reach)
{
	struct mail_result r;
	struct send_job j = {.result = &r};

	send_unreachable(&j, &(struct outbound){.refused = true});
	cr_expect(r.permanent);
	send_unreachable(&j, &(struct outbound){.exposed = true});
	cr_expect(r.permanent);
	send_unreachable(&j, &(struct outbound){.tried = true});
	cr_expect_not(r.permanent);
}

Test(provider, delays_add_up_to_a_day)
{
	static const int first[] = {1, 5, 15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600};
	int64_t sum = 0;
	int n = 1;

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		cr_expect_eq(outbox_delay_ms((int)i + 1), first[i] * 1000, "%zu", i);
	for (; outbox_delay_ms(n) > 0; n++)
		sum += outbox_delay_ms(n);
	cr_expect_geq(sum, 22 * 3600 * 1000LL);
	cr_expect_leq(sum, 25 * 3600 * 1000LL);
}
