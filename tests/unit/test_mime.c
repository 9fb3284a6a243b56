/* Messages as bytes: what can be put into a header, where lines break, what is encoded. */
#include <criterion/criterion.h>
#include <string.h>

#include "worker/mail/mime.h"
#include "worker/mail/render.h"

static struct arena a;

static void setup(void)
{
	arena_init(&a, 4 << 20);
}

static void teardown(void)
{
	arena_free(&a);
}

TestSuite(mime, .init = setup, .fini = teardown);

static const char *words(const char *text)
{
	struct buf out;

	buf_init(&out, &a);
	mime_words(&out, str_of(text), 9);
	buf_c(&out, '\0');
	return out.p;
}

static const char *quoted(const char *text)
{
	struct buf out;

	buf_init(&out, &a);
	mime_quoted(&out, str_of(text));
	buf_c(&out, '\0');
	return out.p;
}

static const char *message(struct mail_address from, const char *subject)
{
	struct mail m = {.id = STR("00000000000000000000"),
		.to.address = STR("a@b.example"),
		.subject = str_of(subject),
		.text = STR("text\n"),
		.html = STR("<p>html</p>\n")};
	struct buf out;

	buf_init(&out, &a);
	cr_assert(mime_write(&m, &from, STR(""), 1700000000, &out));
	buf_c(&out, '\0');
	return out.p;
}

Test(mime, words_are_plain_or_encoded)
{
	cr_expect_str_eq(words("Hello, world"), "Hello, world");
	cr_expect_str_eq(words("\xc3\xbc"), "=?UTF-8?B?w7w=?=");
	/* what looks encoded is encoded, or a reader would decode it */
	cr_expect_null(strstr(words("=?UTF-8?Q?x?="), "?Q?"));
	cr_expect_null(strstr(words("a\r\nBcc: x"), "Bcc"));
	cr_expect_null(strchr(words("a\tb"), '\t'));
}

Test(mime, words_are_cut_between_code_points)
{
	char text[400] = "";

	for (int i = 0; i < 60; i++)
		strcat(text, "\xe2\x98\x83");
	const char *got = words(text), *at = got;

	for (int column = 9; *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : at + strlen(at)) {
		size_t line = strcspn(at, "\r");

		cr_expect_leq(line + (size_t)column, 78);
		column = 0;
		/* three bytes are four digits: no padding inside a word of whole ones */
		cr_expect_null(memmem(at, line, "=?=", 3));
	}
}

Test(mime, quoted_printable)
{
	cr_expect_str_eq(quoted("a=b\n"), "a=3Db\r\n");
	cr_expect_str_eq(quoted("a \n"), "a=20\r\n");
	cr_expect_str_eq(quoted("a\t"), "a=09\r\n");
	cr_expect_str_eq(quoted("a b"), "a b\r\n");
	cr_expect_str_eq(quoted("\xc3\xbc\r"), "=C3=BC=0D\r\n");
	cr_expect_str_eq(quoted(""), "");
	char text[301];

	memset(text, '=', 300);
	text[300] = '\0';
	for (const char *at = quoted(text); *at; at = strchr(at, '\n') + 1)
		cr_expect_leq(strcspn(at, "\r"), 76);
}

Test(mime, a_message)
{
	const char *m =
		message((struct mail_address){STR("Pug \"P\" \\"), STR("p@x.example")}, "Hi");

	cr_expect_not_null(strstr(m, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
	cr_expect_not_null(strstr(m, "Message-ID: <00000000000000000000@x.example>\r\n"));
	cr_expect_not_null(strstr(m, "From: \"Pug \\\"P\\\" \\\\\" <p@x.example>\r\n"));
	cr_expect_not_null(strstr(m, "To: <a@b.example>\r\n"));
	cr_expect_not_null(strstr(m, "Subject: Hi\r\n"));
	cr_expect_null(strstr(m, "Reply-To"));
	for (const char *p = m; (p = strchr(p, '\n')); p++)
		cr_expect_eq(p[-1], '\r');
}

Test(mime, nobody_adds_a_header)
{
	const char *m = message((struct mail_address){STR("x\r\nBcc: e@evil"), STR("p@x.example")},
		"y\r\nBcc: e@evil\r\n\r\nbody");

	cr_expect_null(strstr(m, "Bcc"));
	cr_expect_null(strstr(m, "\r\n\r\nbody"));
}

Test(mime, long_names_have_a_line_of_their_own)
{
	char name[121];

	memset(name, '"', 120);
	name[120] = '\0';
	const char *m = message((struct mail_address){str_of(name), STR("p@x.example")}, "Hi");

	for (const char *at = m; *at; at = strchr(at, '\n') + 1)
		cr_expect_leq(strcspn(at, "\r"), 78);
	cr_expect_not_null(strstr(m, "\r\n <p@x.example>\r\n"));
}

Test(mime, names_are_cleaned)
{
	char text[200], *p = text;

	cr_expect(str_eq(render_name(STR(" a\r\nb\tc\x7f\xc2\x85\xe2\x80\xae \xc3\xbc "), &a),
		STR("ab c \xc3\xbc")));
	cr_expect(str_eq(render_name(STR("a\xff\xc3"), &a), STR("a")));
	cr_expect(str_eq(render_name(STR("a\xd8\x9c"
					 "b\xd8\x9d"),
				 &a),
			  STR("ab\xd8\x9d")),
		"the Arabic letter mark goes");
	cr_expect_eq(render_name(STR(""), &a).n, 0);
	for (int i = 0; i < 61; i++)
		p = stpcpy(p, "\xc3\xbc");
	cr_expect_eq(render_name((struct str){text, 122}, &a).n, 120);
	text[0] = 'x';
	memmove(text + 1, text + 2, 121);
	cr_expect_eq(render_name((struct str){text, 121}, &a).n, 119);
}

Test(mime, the_same_facts_give_the_same_words)
{
	static struct options o;
	struct mail_facts facts = {STR("ab"), 604800, STR("A & <B>"), STR("")};
	struct mail one = {.id = STR("x")}, two = one;

	strcpy(o.mail_product, "Pug");
	strcpy(o.dashboard_url, "https://x.example///");
	cr_assert(render_mail(&o, MAIL_INVITATION, &facts, &a, &one));
	cr_assert(render_mail(&o, MAIL_INVITATION, &facts, &a, &two));
	cr_expect(str_eq(one.html, two.html) && str_eq(one.text, two.text));
	cr_expect(str_eq(one.subject, STR("You are invited to A & <B>")));
	cr_expect_not_null(memmem(one.html.p, one.html.n, "A &amp; &lt;B&gt;", 17));
	cr_expect_not_null(
		memmem(one.text.p, one.text.n, "https://x.example/magic-link?token=ab\n", 38));
	cr_expect_not_null(memmem(one.text.p, one.text.n, "7 days", 6));
	cr_assert(render_mail(&o, MAIL_TEST, &(struct mail_facts){0}, &a, &one));
	cr_expect_null(memmem(one.html.p, one.html.n, "href", 4));
}
