/* See render.h. No colours but the button's, which are legible on light and dark. */
#include "worker/mail/render.h"

#include <inttypes.h>

enum { NAME_MAX_BYTES = 120, DAY = 86400, HOUR = 3600, MINUTE = 60 };

/* Bytes of the code point at the front of s; 0 when it is no valid one. The first length that is
 * valid is the right one: no code point begins with another one. */
static size_t code_point(struct str s)
{
	for (size_t n = 1; n <= 4 && n <= s.n; n++)
		if (str_utf8_ok((struct str){s.p, n}))
			return n;
	return 0;
}

/* Control characters (C0, DEL, C1), line and paragraph separators, and what changes the
 * direction of writing: none may take part in a name that strangers read. */
static bool is_unseen(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;

	if (n == 1)
		return u[0] < ' ' || u[0] == 0x7f;
	if (n == 2) /* U+061C is the Arabic letter mark */
		return (u[0] == 0xc2 && u[1] < 0xa0) || (u[0] == 0xd8 && u[1] == 0x9c);
	if (n == 3 && u[0] == 0xe2 && u[1] == 0x80)
		return u[2] == 0x8e || u[2] == 0x8f || (u[2] >= 0xa8 && u[2] <= 0xae);
	return n == 3 && u[0] == 0xe2 && u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9;
}

/* Bytes that are no UTF-8 are dropped. Cut at both ends once more, as blanks may have stood
 * beside what was dropped. */
struct str render_name(struct str name, struct arena *a)
{
	struct buf out;
	size_t n;

	buf_init(&out, a);
	for (name = str_trim(name); name.n > 0; name.p += n, name.n -= n) {
		n = code_point(name);
		if (n > 0 && out.n + n > NAME_MAX_BYTES)
			break;
		if (n == 1 && *name.p == '\t')
			buf_c(&out, ' ');
		else if (n > 0 && !is_unseen(name.p, n))
			buf_add(&out, name.p, n);
		n = n > 0 ? n : 1;
	}
	buf_c(&out, '\0');
	if (out.over)
		return (struct str){NULL, 0};
	return str_trim((struct str){out.p, out.n - 1});
}

static struct str escaped(struct str s, struct arena *a)
{
	struct buf out;

	buf_init(&out, a);
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '<':
			buf_z(&out, "&lt;");
			break;
		case '>':
			buf_z(&out, "&gt;");
			break;
		case '&':
			buf_z(&out, "&amp;");
			break;
		case '"':
			buf_z(&out, "&quot;");
			break;
		case '\'':
			buf_z(&out, "&#39;");
			break;
		default:
			buf_c(&out, s.p[i]);
		}
	}
	buf_c(&out, '\0');
	return out.over ? (struct str){NULL, 0} : (struct str){out.p, out.n - 1};
}

/* auth.md 6: the path is the dashboard's, and dashboard_url may end in slashes. */
static struct str link_of(const struct options *opt, struct str token, struct arena *a)
{
	struct str base = str_of(opt->dashboard_url);

	while (base.n > 0 && base.p[base.n - 1] == '/')
		base.n--;
	return arena_printf(a, "%.*s/magic-link?token=%.*s", STR_ARG(base), STR_ARG(token));
}

/* "15 minutes", "7 days": the largest unit that says it exactly. A test has no lifetime, and its
 * mail does not say this. */
static struct str duration(int64_t s, struct arena *a)
{
	int64_t unit = s > 0 && s % DAY == 0 ? DAY : s > 0 && s % HOUR == 0 ? HOUR : MINUTE;
	const char *name = unit == DAY ? "day" : unit == HOUR ? "hour" : "minute";
	int64_t n = s / unit;

	return arena_printf(a, "%" PRId64 " %s%s", n, name, n == 1 ? "" : "s");
}

/* What a mail says; the same pieces make its text and its HTML. subject and lead hold names and
 * are escaped for HTML; button and fine_print are words of ours. Without a link there is no
 * button. */
struct words {
	struct str subject, lead, button, link, fine_print;
};

static bool sign_in(struct str product, struct str time, struct arena *a, struct words *w)
{
	w->subject = arena_printf(a, "Your sign-in link for %.*s", STR_ARG(product));
	w->lead = arena_printf(a, "Here is the link that signs you in to %.*s.", STR_ARG(product));
	w->button = STR("Sign in");
	w->fine_print = arena_printf(a,
		"The link works once, for %.*s, and only the newest one counts. If you did not "
		"ask for it, you need not do anything: nobody can sign in without this mail.",
		STR_ARG(time));
	return w->subject.p && w->lead.p && w->fine_print.p;
}

static bool invitation(struct str product, struct str org, struct str inviter, struct str time,
	struct arena *a, struct words *w)
{
	if (inviter.n > 0) {
		w->subject =
			arena_printf(a, "%.*s invites you to %.*s", STR_ARG(inviter), STR_ARG(org));
		w->lead = arena_printf(a, "%.*s would like you to join %.*s on %.*s.",
			STR_ARG(inviter), STR_ARG(org), STR_ARG(product));
	} else {
		w->subject = arena_printf(a, "You are invited to %.*s", STR_ARG(org));
		w->lead = arena_printf(a, "You have been invited to join %.*s on %.*s.",
			STR_ARG(org), STR_ARG(product));
	}
	w->button = STR("Accept the invitation");
	w->fine_print = arena_printf(a,
		"The invitation is open for %.*s. It was meant for you alone, so please do not "
		"pass this mail on. If you do not expect it, you can ignore it.",
		STR_ARG(time));
	return w->subject.p && w->lead.p && w->fine_print.p;
}

static bool test(struct str product, struct arena *a, struct words *w)
{
	w->subject = arena_printf(a, "%.*s can send mail", STR_ARG(product));
	w->lead = arena_printf(
		a, "This is the test mail that you asked %.*s to send.", STR_ARG(product));
	w->fine_print = STR("As it has reached you, your organisation's mail settings work. "
			    "There is nothing else to do.");
	return w->subject.p && w->lead.p;
}

/* "-- " with its blank begins a signature (RFC 3676, 4.3); mime_quoted() keeps the blank. */
static bool write_text(const struct words *w, struct str product, struct arena *a, struct str *out)
{
	struct buf b;

	buf_init(&b, a);
	buf_printf(&b, "Hello,\n\n%.*s\n\n", STR_ARG(w->lead));
	if (w->link.n > 0)
		buf_printf(&b, "%.*s:\n%.*s\n\n", STR_ARG(w->button), STR_ARG(w->link));
	buf_printf(&b, "%.*s\n\n-- \n%.*s\n", STR_ARG(w->fine_print), STR_ARG(product));
	*out = (struct str){b.p, b.n};
	return !b.over;
}

static const char page_top[] = "<!DOCTYPE html>\n"
			       "<html lang=\"en\">\n"
			       "<head>\n"
			       "<meta charset=\"utf-8\">\n"
			       "<meta name=\"viewport\" content=\"width=device-width\">\n"
			       "<meta name=\"color-scheme\" content=\"light dark\">\n"
			       "<meta name=\"supported-color-schemes\" content=\"light dark\">\n";
static const char body_style[] =
	"margin:0 auto;padding:24px;max-width:32em;line-height:1.5;"
	"font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
static const char button_style[] =
	"display:inline-block;padding:12px 20px;border-radius:6px;background:#2457c5;"
	"color:#ffffff;text-decoration:none;font-weight:600";

static bool write_html(const struct words *w, struct str product, struct arena *a, struct str *out)
{
	struct str title = escaped(w->subject, a), name = escaped(product, a);
	struct str lead = escaped(w->lead, a), link = escaped(w->link, a);
	struct buf b;

	buf_init(&b, a);
	buf_z(&b, page_top);
	buf_printf(&b, "<title>%.*s</title>\n</head>\n<body style=\"%s\">\n", STR_ARG(title),
		body_style);
	buf_printf(&b, "<p style=\"font-size:1.25em;font-weight:700\">%.*s</p>\n", STR_ARG(name));
	buf_printf(&b, "<p>Hello,</p>\n<p>%.*s</p>\n", STR_ARG(lead));
	if (link.n > 0) {
		buf_printf(&b, "<p><a href=\"%.*s\" style=\"%s\">%.*s</a></p>\n", STR_ARG(link),
			button_style, STR_ARG(w->button));
		buf_printf(&b,
			"<p style=\"font-size:0.875em;word-break:break-all\">Or open this "
			"address: %.*s</p>\n",
			STR_ARG(link));
	}
	buf_printf(&b, "<p style=\"font-size:0.875em\">%.*s</p>\n</body>\n</html>\n",
		STR_ARG(w->fine_print));
	*out = (struct str){b.p, b.n};
	return !b.over && title.p && name.p && lead.p && link.p;
}

/* Nothing of the moment or of chance: other words under the same Idempotency-Key are a conflict
 * to Resend, and that is for good (auth.md 5.4). */
bool render_mail(const struct options *opt, enum mail_kind kind, const struct mail_facts *facts,
	struct arena *a, struct mail *out)
{
	struct str product = render_name(str_of(opt->mail_product), a);
	struct str org = render_name(facts->org, a), inviter = render_name(facts->inviter, a);
	struct str time = duration(facts->lifetime_s, a);
	struct words w = {0};
	bool ok;

	if (!product.p || !org.p || !inviter.p || !time.p)
		return false;
	if (kind == MAIL_TEST)
		ok = test(product, a, &w);
	else if (kind == MAIL_INVITATION)
		ok = invitation(product, org, inviter, time, a, &w);
	else
		ok = sign_in(product, time, a, &w);
	if (kind != MAIL_TEST)
		w.link = link_of(opt, facts->token, a);
	if (!ok || (kind != MAIL_TEST && !w.link.p))
		return false;
	out->subject = w.subject;
	return write_text(&w, product, a, &out->text) && write_html(&w, product, a, &out->html);
}
