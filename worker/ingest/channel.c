/*
 * See channel.h. The order of the rules is what decides: a paid click from a search
 * engine is both paid and search, and the first rule that fits names the channel.
 */
#include "worker/ingest/channel.h"

#define TEXT(lit)                    \
	{                            \
		lit, sizeof(lit) - 1 \
	}

static const struct str search_names[] = {TEXT("google"), TEXT("bing"), TEXT("duckduckgo"),
	TEXT("ddg"), TEXT("yahoo"), TEXT("baidu"), TEXT("yandex"), TEXT("ecosia"), TEXT("brave"),
	TEXT("startpage"), TEXT("perplexity"), TEXT("qwant"), TEXT("kagi"), {NULL, 0}};
static const struct str search_domains[] = {TEXT("bing.com"), TEXT("duckduckgo.com"),
	TEXT("yahoo.com"), TEXT("yahoo.co.jp"), TEXT("baidu.com"), TEXT("yandex.com"),
	TEXT("yandex.ru"), TEXT("ecosia.org"), TEXT("search.brave.com"), TEXT("startpage.com"),
	TEXT("perplexity.ai"), TEXT("qwant.com"), TEXT("kagi.com"), {NULL, 0}};
static const struct str social_names[] = {TEXT("facebook"), TEXT("fb"), TEXT("instagram"),
	TEXT("ig"), TEXT("twitter"), TEXT("x"), TEXT("linkedin"), TEXT("tiktok"), TEXT("pinterest"),
	TEXT("reddit"), TEXT("threads"), TEXT("bluesky"), TEXT("bsky"), TEXT("hackernews"),
	TEXT("hn"), TEXT("whatsapp"), TEXT("telegram"), TEXT("mastodon"), {NULL, 0}};
static const struct str social_domains[] = {TEXT("facebook.com"), TEXT("fb.com"), TEXT("fb.me"),
	TEXT("messenger.com"), TEXT("instagram.com"), TEXT("twitter.com"), TEXT("x.com"),
	TEXT("t.co"), TEXT("linkedin.com"), TEXT("lnkd.in"), TEXT("tiktok.com"),
	TEXT("pinterest.com"), TEXT("pin.it"), TEXT("reddit.com"), TEXT("redd.it"),
	TEXT("threads.net"), TEXT("bsky.app"), TEXT("news.ycombinator.com"),
	TEXT("mastodon.social"), TEXT("whatsapp.com"), TEXT("telegram.org"), TEXT("t.me"),
	{NULL, 0}};
static const struct str video_names[] = {
	TEXT("youtube"), TEXT("yt"), TEXT("vimeo"), TEXT("twitch"), TEXT("dailymotion"), {NULL, 0}};
static const struct str video_domains[] = {TEXT("youtube.com"), TEXT("youtu.be"), TEXT("vimeo.com"),
	TEXT("twitch.tv"), TEXT("dailymotion.com"), {NULL, 0}};
static const struct str display_media[] = {TEXT("display"), TEXT("banner"), TEXT("expandable"),
	TEXT("interstitial"), TEXT("cpm"), {NULL, 0}};
static const struct str social_media[] = {
	TEXT("social"), TEXT("social-network"), TEXT("social-media"), TEXT("sm"), {NULL, 0}};
static const struct str email_words[] = {
	TEXT("email"), TEXT("e-mail"), TEXT("e_mail"), TEXT("newsletter"), {NULL, 0}};

static bool is_one_of(struct str s, const struct str *set)
{
	for (; s.n && set->p; set++)
		if (str_eq(s, *set))
			return true;
	return false;
}

/* s is a domain of the set, or has one behind a dot. */
static bool is_in_domain(struct str s, const struct str *set)
{
	for (; s.n && set->p; set++)
		if (s.n >= set->n && memcmp(s.p + s.n - set->n, set->p, set->n) == 0 &&
			(s.n == set->n || s.p[s.n - set->n - 1] == '.'))
			return true;
	return false;
}

/* Two or three letters, up to a dot or the end; returns what follows, NULL otherwise. */
static const char *country_label(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && p[n] >= 'a' && p[n] <= 'z')
		n++;
	return (n == 2 || n == 3) && (p + n == end || p[n] == '.') ? p + n : NULL;
}

/* google.com, images.google.co.in; not google.android.gm */
static bool is_google(struct str s)
{
	static const struct str google = TEXT("google.");
	const char *end, *p;

	if (s.n <= google.n)
		return str_eq(s, STR("google"));
	end = s.p + s.n;
	for (size_t i = 0; i + google.n < s.n; i++) {
		if ((i > 0 && s.p[i - 1] != '.') || memcmp(s.p + i, google.p, google.n) != 0)
			continue;
		p = country_label(s.p + i + google.n, end);
		if (p && p < end)
			p = country_label(p + 1, end);
		if (p == end)
			return true;
	}
	return false;
}

static bool is_search(const struct channel_signals *s)
{
	return is_one_of(s->source, search_names) || is_in_domain(s->source, search_domains) ||
	       is_in_domain(s->referrer, search_domains) || is_google(s->source) ||
	       is_google(s->referrer);
}

static bool is_social(const struct channel_signals *s)
{
	return is_one_of(s->source, social_names) || is_in_domain(s->source, social_domains) ||
	       is_in_domain(s->referrer, social_domains);
}

static bool is_video(const struct channel_signals *s)
{
	return is_one_of(s->source, video_names) || is_in_domain(s->source, video_domains) ||
	       is_in_domain(s->referrer, video_domains);
}

static bool is_paid(struct str medium)
{
	return str_eq(medium, STR("ppc")) || str_eq(medium, STR("retargeting")) ||
	       str_starts(medium, STR("paid")) || (medium.n && memmem(medium.p, medium.n, "cp", 2));
}

struct str channel_of(const struct channel_signals *s)
{
	bool paid = is_paid(s->medium), search = is_search(s), social = is_social(s),
	     video = is_video(s);
	const struct {
		bool fits;
		struct str name;
	} rules[] = {
		{paid && search, TEXT("Paid Search")},
		{paid && social, TEXT("Paid Social")},
		{paid && video, TEXT("Paid Video")},
		{is_one_of(s->medium, display_media), TEXT("Display")},
		{paid, TEXT("Paid Other")},
		{search || str_eq(s->medium, STR("organic")), TEXT("Organic Search")},
		{social || is_one_of(s->medium, social_media), TEXT("Organic Social")},
		{video || str_eq(s->medium, STR("video")), TEXT("Organic Video")},
		{is_one_of(s->source, email_words) || is_one_of(s->medium, email_words),
			TEXT("Email")},
		{str_eq(s->medium, STR("affiliate")), TEXT("Affiliate")},
		{s->referrer.n > 0, TEXT("Referral")},
		{s->tagged || s->unresolved, TEXT("Unassigned")},
	};

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].fits)
			return rules[i].name;
	return STR("Direct");
}
