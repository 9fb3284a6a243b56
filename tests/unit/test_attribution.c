/* URLs, channels and all else that an event says about where a visit came from
 * (events-profiles.md 1.13). */
#include <criterion/criterion.h>
#include <stdio.h>
#include "worker/ingest/enrich.h"
#include "worker/ingest/text.h"

enum { PAIRS = 12 };

struct pair {
	enum auto_key key;
	const char *text;
};

static struct arena arena;
static struct enrich x;
static struct prop props[PAIRS + ENRICH_ROOM];
static uint32_t n_props;

static void set_up(void)
{
	arena_init(&arena, 8 << 20);
	attribution_init(&x.attribution, &arena);
}

static void tear_down(void)
{
	arena_free(&arena);
}

TestSuite(attribution, .init = set_up, .fini = tear_down);
TestSuite(url, .init = set_up, .fini = tear_down);

static void put(enum auto_key k, struct value v)
{
	props[n_props++] = (struct prop){autokey_name(k), SCOPE_AUTO, v};
}

static void put_text(enum auto_key k, const char *text)
{
	put(k, (struct value){.type = VALUE_STR, .s = str_of(text)});
}

static void run(void)
{
	n_props = enrich_props(&x, props, n_props);
}

static const struct value *get(enum auto_key k)
{
	const struct value *found = NULL;

	for (uint32_t i = 0; i < n_props; i++)
		if (props[i].scope == SCOPE_AUTO && str_eq(props[i].key, autokey_name(k))) {
			cr_assert_null(found, "%.*s is there twice", STR_ARG(props[i].key));
			found = &props[i].value;
		}
	return found;
}

/* NULL: absent. */
static void expect(enum auto_key k, const char *text, const char *what)
{
	const struct value *v = get(k);

	if (!text) {
		cr_expect_null(v, "%s: %.*s = %.*s", what, STR_ARG(autokey_name(k)),
			(int)(v && v->type == VALUE_STR ? v->s.n : 0), v ? v->s.p : "");
		return;
	}
	cr_assert(v, "%s: %.*s is missing", what, STR_ARG(autokey_name(k)));
	cr_assert_eq(v->type, VALUE_STR, "%s", what);
	cr_expect(str_eq(v->s, str_of(text)), "%s: %.*s = %.*s, not %s", what,
		STR_ARG(autokey_name(k)), STR_ARG(v->s), text);
}

Test(attribution, every_key_is_found)
{
	for (int k = 0; k < AUTO_COUNT; k++)
		cr_expect_eq((int)autokey_find(autokey_name((enum auto_key)k)), k, "%.*s",
			STR_ARG(autokey_name((enum auto_key)k)));
	for (const char *const *p = (const char *const[]){"", "$", "$o", "$oS", "$urls", "os",
		     "$referrerDomains", "$browserVersiom", NULL};
		*p; p++)
		cr_expect_eq(autokey_find(str_of(*p)), AUTO_COUNT, "%s", *p);
}

/* src, med and referrer to channel; with a page that has no query. */
static const struct {
	const char *source, *medium, *referrer, *channel;
} channels[] = {
	{"google", "cpm", NULL, "Paid Search"},
	{"facebook", "cpm", NULL, "Paid Social"},
	{"youtube", "cpm", NULL, "Paid Video"},
	{"adnetwork", "cpm", NULL, "Display"},
	{"newsletter", "cpc", NULL, "Paid Other"},
	{"youtube", "newsletter", NULL, "Organic Video"},
	{NULL, "email", "https://www.bing.com/search", "Organic Search"},
	{NULL, "affiliate", "https://twitter.com/x", "Organic Social"},
	{NULL, "affiliate", "https://partner.example/", "Affiliate"},
	{NULL, NULL, "android-app://com.google.android.gm", "Referral"},
	{NULL, NULL, "https://notfacebook.com/", "Referral"},
	{"m.facebook.com", NULL, NULL, "Organic Social"},
	{NULL, NULL, "google.com", "Unassigned"},
	{NULL, NULL, "://bad", "Unassigned"},
	{NULL, NULL, "not a url", "Unassigned"},
	{NULL, NULL, "https://www.", "Unassigned"},
	{NULL, NULL, "https://site.example/before", "Direct"},
	{NULL, NULL, "https://www.site.example/before", "Direct"},
	{NULL, NULL, "https://mail.google.com/", "Organic Search"},
	{NULL, NULL, "https://images.google.co.in/", "Organic Search"},
	{NULL, NULL, "https://www.googleusercontent.com/", "Referral"},
	{NULL, NULL, "https://google.example/", "Referral"},
	{NULL, NULL, "//duckduckgo.com/", "Organic Search"},
	{NULL, NULL, "https://t.co/abc", "Organic Social"},
	{NULL, NULL, "https://xt.co/abc", "Referral"},
	{NULL, NULL, "https://m.youtube.com/watch?v=1", "Organic Video"},
	{NULL, NULL, "https://sub.site.example/", "Referral"},
	{NULL, NULL, NULL, "Direct"},
	{"GOOGLE", "CPC", NULL, "Paid Search"},
	{"x", "paidsocial", NULL, "Paid Social"},
	{"other", "retargeting", NULL, "Paid Other"},
	{"other", "ppc", NULL, "Paid Other"},
	{"other", "Banner", NULL, "Display"},
	{"other", "organic", NULL, "Organic Search"},
	{"other", "sm", NULL, "Organic Social"},
	{"other", "video", NULL, "Organic Video"},
	{"e-mail", "other", NULL, "Email"},
	{"other", "e_mail", NULL, "Email"},
	{"other", "other", NULL, "Unassigned"},
};

Test(attribution, channel_table)
{
	char what[160];

	for (size_t i = 0; i < sizeof(channels) / sizeof(channels[0]); i++) {
		n_props = 0;
		put_text(AUTO_URL, "https://site.example/page");
		if (channels[i].source)
			put_text(AUTO_UTM_SOURCE, channels[i].source);
		if (channels[i].medium)
			put_text(AUTO_UTM_MEDIUM, channels[i].medium);
		if (channels[i].referrer)
			put_text(AUTO_REFERRER, channels[i].referrer);
		run();
		snprintf(what, sizeof(what), "row %zu", i);
		expect(AUTO_CHANNEL, channels[i].channel, what);
	}
}

Test(attribution, only_a_campaign_is_unassigned)
{
	put_text(AUTO_URL, "https://site.example/?utm_campaign=spring");
	run();
	expect(AUTO_CHANNEL, "Unassigned", "campaign");
	expect(AUTO_UTM_CAMPAIGN, "spring", "campaign");
	expect(AUTO_UTM_SOURCE, NULL, "campaign");
}

Test(attribution, without_a_page_no_channel)
{
	put_text(AUTO_REFERRER, "https://www.google.com/search?q=x");
	put_text(AUTO_CHANNEL, "Paid Search");
	put_text(AUTO_REFERRER_DOMAIN, "spoofed.example");
	run();
	expect(AUTO_CHANNEL, NULL, "no url");
	expect(AUTO_REFERRER_DOMAIN, "google.com", "no url");
}

Test(attribution, a_client_hostname_cannot_steer)
{
	put_text(AUTO_URL, "https://real.example.com/");
	put_text(AUTO_HOSTNAME, "google.com");
	put_text(AUTO_REFERRER, "https://google.com/");
	run();
	expect(AUTO_REFERRER_DOMAIN, "google.com", "steer");
	expect(AUTO_HOSTNAME, "google.com", "the client's own stays");
	n_props = 0;
	put_text(AUTO_HOSTNAME, "WWW.Google.com");
	put_text(AUTO_REFERRER, "https://google.com/");
	run();
	expect(AUTO_REFERRER_DOMAIN, NULL, "without a URL it is all there is");
}

Test(attribution, page)
{
	put_text(AUTO_URL,
		"HTTPS://user:pw@WWW.Ex\xc3\x84mple.com:8443/a%20b/%C3%A4?utm_source=a+b%21"
		"&utm_source=second&utm_medium=x;y&utm_term=%zz&utm_term=ok&utm%5Fcontent=c#f");
	run();
	expect(AUTO_HOSTNAME, "www.ex\xc3\xa4mple.com", "page");
	expect(AUTO_PATHNAME, "/a b/\xc3\xa4", "page");
	expect(AUTO_UTM_SOURCE, "a b!", "page");
	expect(AUTO_UTM_MEDIUM, NULL, "page");
	expect(AUTO_UTM_TERM, "ok", "page");
	expect(AUTO_UTM_CONTENT, "c", "page");
}

Test(attribution, what_the_client_said_stays)
{
	put_text(AUTO_URL, "https://site.example/real?utm_source=url&utm_medium=url");
	put_text(AUTO_PATHNAME, "/mine");
	put_text(AUTO_HOSTNAME, "");
	put_text(AUTO_UTM_SOURCE, "mine");
	put_text(AUTO_UTM_MEDIUM, "");
	put(AUTO_UTM_TERM, (struct value){.type = VALUE_TIME, .i = 0});
	put(AUTO_UTM_CONTENT, (struct value){.type = VALUE_INT, .i = 7});
	run();
	expect(AUTO_PATHNAME, "/mine", "kept");
	expect(AUTO_HOSTNAME, "site.example", "an empty one does not count");
	expect(AUTO_UTM_SOURCE, "mine", "kept");
	expect(AUTO_UTM_MEDIUM, "url", "completed");
	cr_assert_eq(get(AUTO_UTM_TERM)->type, VALUE_TIME);
	cr_assert_eq(get(AUTO_UTM_CONTENT)->type, VALUE_INT);
}

Test(attribution, text_is_safe)
{
	put_text(AUTO_URL,
		"https://site.example/caf%E9/%00x?utm_source=%ff%00&utm_medium=%F0%9F%98%80");
	run();
	expect(AUTO_PATHNAME, "/caf\xef\xbf\xbd/\xef\xbf\xbdx", "path");
	expect(AUTO_UTM_SOURCE, "\xef\xbf\xbd\xef\xbf\xbd", "utm");
	expect(AUTO_UTM_MEDIUM, "\xf0\x9f\x98\x80", "utm");
}

Test(attribution, screen)
{
	static const struct {
		struct value width, height;
		const char *size;
	} sizes[] = {
		{{.type = VALUE_STR, .s = {"1920", 4}}, {.type = VALUE_STR, .s = {"1080", 4}},
			"1920x1080"},
		{{.type = VALUE_DOUBLE, .d = 1920.0}, {.type = VALUE_INT, .i = 1080}, "1920x1080"},
		{{.type = VALUE_DOUBLE, .d = 1366.5}, {.type = VALUE_INT, .i = 768}, NULL},
		{{.type = VALUE_INT, .i = 0}, {.type = VALUE_INT, .i = 768}, NULL},
		{{.type = VALUE_INT, .i = -1}, {.type = VALUE_INT, .i = 768}, NULL},
		{{.type = VALUE_TIME, .i = 5}, {.type = VALUE_INT, .i = 768}, NULL},
		{{.type = VALUE_BOOL, .i = 1}, {.type = VALUE_INT, .i = 768}, NULL},
	};
	char what[32];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		n_props = 0;
		put(AUTO_SCREEN_WIDTH, sizes[i].width);
		put(AUTO_SCREEN_HEIGHT, sizes[i].height);
		run();
		snprintf(what, sizeof(what), "row %zu", i);
		expect(AUTO_SCREEN_SIZE, sizes[i].size, what);
	}
	put_text(AUTO_SCREEN_SIZE, "mine");
	run();
	expect(AUTO_SCREEN_SIZE, "mine", "kept");
}

Test(attribution, locale)
{
	static const char *const tags[][2] = {{"zh_hans_cn", "zh-Hans-CN"}, {"es-419", "es-419"},
		{" de_de\xc2\xa0", "de-DE"}, {"EN", "en"}, {"en-us-POSIX", "en-US-posix"},
		{"sr-LATN-rs", "sr-Latn-RS"}, {"de--de", "de--DE"}, {"\xe3\x80\x80", NULL},
		{" \t\n", NULL}, {"x", "x"}, {"-DE", "-DE"}};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		n_props = 0;
		put_text(AUTO_LOCALE, tags[i][0]);
		put_text(AUTO_URL, "x");
		run();
		expect(AUTO_LOCALE, tags[i][1], tags[i][0]);
		expect(AUTO_URL, "x", tags[i][0]);
	}
}

Test(attribution, server_only_and_repeated_keys)
{
	put_text(AUTO_IP, "192.0.2.1");
	put_text(AUTO_CHANNEL, "x");
	put_text(AUTO_URL, "https://first.example/");
	put_text(AUTO_CHANNEL, "y");
	put(AUTO_BOT_SCORE, (struct value){.type = VALUE_INT, .i = 9});
	put(AUTO_VERIFIED_BOT, (struct value){.type = VALUE_BOOL, .i = 1});
	put_text(AUTO_URL, "https://last.example/");
	props[n_props++] = (struct prop){STR("$ip"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = 1}};
	run();
	expect(AUTO_IP, NULL, "never");
	expect(AUTO_BOT_SCORE, NULL, "never");
	expect(AUTO_VERIFIED_BOT, NULL, "never");
	expect(AUTO_URL, "https://last.example/", "the last counts");
	expect(AUTO_HOSTNAME, "last.example", "the last counts");
	expect(AUTO_CHANNEL, "Direct", "ours");
	cr_assert(n_props > 1 && props[1].scope == SCOPE_CUSTOM, "custom keys are not touched");
}

static const struct {
	const char *url, *host, *path; /* host NULL: no URL */
} urls[] = {
	{"http://a.example", "a.example", ""},
	{"http://a.example?x=/", "a.example", ""},
	{"http://a.example:", "a.example", ""},
	{"http://a.example:80/x", "a.example", "/x"},
	{"http://a.example:8x/", NULL, NULL},
	{"http://[2001:DB8::1]:80/", "2001:db8::1", "/"},
	{"http://[::1", NULL, NULL},
	{"http://[::1]x/", NULL, NULL},
	{"http://u@p@a.example/", "a.example", "/"},
	{"http://u p@a.example/", NULL, NULL},
	{"http://a b/", NULL, NULL},
	{"http://a%20b/", NULL, NULL},
	{"http://%C3%84.example/", "\xc3\xa4.example", "/"},
	{"http://a/%zz", NULL, NULL},
	{"http://a/%4", NULL, NULL},
	{"http://a/#%zz", NULL, NULL},
	{"http://a/?%zz#ok", "a", "/"},
	{"http://a/x\x01y", NULL, NULL},
	{"http://a/x#\x01", "a", "/x"},
	{"http://a/x+y%2By", "a", "/x+y+y"},
	{"http:///x", "", "/x"},
	{"//a/x", "a", "/x"},
	{"///a/x", "", "///a/x"},
	{"/x", "", "/x"},
	{"x:y", "", ""},
	{"mailto:a@b.example", "", ""},
	{"a/b:c", "", "a/b:c"},
	{"1a:b", NULL, NULL},
	{":x", NULL, NULL},
	{"", "", ""},
	{"#f", "", ""},
};

Test(url, parts)
{
	struct url u;

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		bool ok = url_parse(&arena, str_of(urls[i].url), &u);

		cr_expect_eq(ok, urls[i].host != NULL, "%s", urls[i].url);
		if (!ok || !urls[i].host)
			continue;
		cr_expect(str_eq(u.host, str_of(urls[i].host)), "%s: host %.*s", urls[i].url,
			STR_ARG(u.host));
		cr_expect(str_eq(u.path, str_of(urls[i].path)), "%s: path %.*s", urls[i].url,
			STR_ARG(u.path));
	}
}
