/* See attribution.h. */
#include "worker/ingest/attribution.h"
#include "worker/ingest/text.h"

static const enum auto_key utm_keys[UTM_COUNT] = {
	[UTM_SOURCE] = AUTO_UTM_SOURCE,
	[UTM_MEDIUM] = AUTO_UTM_MEDIUM,
	[UTM_CAMPAIGN] = AUTO_UTM_CAMPAIGN,
	[UTM_TERM] = AUTO_UTM_TERM,
	[UTM_CONTENT] = AUTO_UTM_CONTENT,
};

void attribution_init(struct attribution *at, struct arena *a)
{
	*at = (struct attribution){.a = a};
}

/* Text from scratch lives as long as the event; what is kept needs a copy. */
static struct str keep(struct arena *a, struct str s, const char *scratch)
{
	char *p;

	if (s.p != scratch)
		return s;
	p = arena_str(a, s);
	return p ? (struct str){p, s.n} : STR("");
}

static struct str without_www(struct str host)
{
	return str_starts(host, STR("www.")) ? (struct str){host.p + 4, host.n - 4} : host;
}

/* The page URL gate of 1.13: unless it is passed, nothing is derived of path, host, UTM and
 * channel; what the client said of them stays. */
static void take_page(struct attribution *at, struct str text)
{
	struct url u;

	if (str_eq(text, at->url))
		return;
	at->url = text;
	at->page = text.n && url_parse(at->a, text, &u) && u.host.n &&
		   (str_case_eq(u.scheme, STR("http")) || str_case_eq(u.scheme, STR("https")));
	if (!at->page)
		return;
	at->host = u.host;
	at->path = u.path.n ? u.path : STR("/");
	url_utm(at->a, u.query, at->utm);
}

/* Any scheme will do, or none (//host), as long as there is a host (1.13). */
static void take_referrer(struct attribution *at, struct str text)
{
	struct url u;

	if (str_eq(text, at->referrer))
		return;
	at->referrer = text;
	at->referrer_host = STR("");
	if (text.n && url_parse(at->a, text, &u))
		at->referrer_host = without_www(u.host);
}

/* What the client did not say, and only if there is something to say. Returns what
 * counts now. */
static struct str complete(struct props *p, enum auto_key k, struct str derived, char *scratch)
{
	struct str own = props_text(p, k, scratch);

	if (own.n || !derived.n)
		return own;
	props_put(p, k, (struct value){.type = VALUE_STR, .s = derived});
	return derived;
}

static bool same_signals(const struct channel_signals *s, const struct channel_signals *t)
{
	return str_eq(s->source, t->source) && str_eq(s->medium, t->medium) &&
	       str_eq(s->referrer, t->referrer) && s->tagged == t->tagged &&
	       s->unresolved == t->unresolved;
}

/* Source and medium are in lower case for the rules only: the event keeps their spelling. */
static void put_channel(struct attribution *at, struct props *p, struct str domain, bool unresolved)
{
	char scratch[VALUE_TEXT_MAX];
	struct channel_signals s = {.referrer = domain, .unresolved = unresolved};
	struct str utm;

	for (int i = 0; i < UTM_COUNT; i++) {
		utm = complete(p, utm_keys[i], at->utm[i], scratch);
		s.tagged |= utm.n > 0;
		if (i == UTM_SOURCE)
			s.source = text_lower(at->a, keep(at->a, utm, scratch));
		if (i == UTM_MEDIUM)
			s.medium = text_lower(at->a, keep(at->a, utm, scratch));
	}
	if (!at->channel.n || !same_signals(&s, &at->signals)) {
		at->signals = s;
		at->channel = channel_of(&s);
	}
	props_put(p, AUTO_CHANNEL, (struct value){.type = VALUE_STR, .s = at->channel});
}

/* Both must be whole numbers as text (1.13): "1920" and 1920.0 are, 1366.5 is not. */
static void put_screen(struct attribution *at, struct props *p)
{
	char scratch[2][VALUE_TEXT_MAX];
	int64_t width, height;

	if (p->at[AUTO_SCREEN_WIDTH] < 0 || p->at[AUTO_SCREEN_HEIGHT] < 0 ||
		props_text(p, AUTO_SCREEN_SIZE, scratch[0]).n ||
		!str_i64(props_text(p, AUTO_SCREEN_WIDTH, scratch[0]), &width) ||
		!str_i64(props_text(p, AUTO_SCREEN_HEIGHT, scratch[1]), &height) || width <= 0 ||
		height <= 0)
		return;
	if (!at->screen.n || width != at->width || height != at->height)
		at->screen = arena_printf(at->a, "%lldx%lld", (long long)width, (long long)height);
	at->width = width;
	at->height = height;
	if (at->screen.n)
		props_put(p, AUTO_SCREEN_SIZE, (struct value){.type = VALUE_STR, .s = at->screen});
}

static void put_locale(struct attribution *at, struct props *p)
{
	char scratch[VALUE_TEXT_MAX];
	struct str was = keep(at->a, props_text(p, AUTO_LOCALE, scratch), scratch);

	if (!was.n)
		return;
	if (!str_eq(was, at->locale_was))
		at->locale = text_locale(at->a, was);
	at->locale_was = was;
	if (!at->locale.n)
		props_remove(p, AUTO_LOCALE);
	else if (!str_eq(was, at->locale))
		props_put(p, AUTO_LOCALE, (struct value){.type = VALUE_STR, .s = at->locale});
}

void attribution_apply(struct attribution *at, struct props *p)
{
	char scratch[VALUE_TEXT_MAX];
	struct str own, domain;

	take_page(at, keep(at->a, props_text(p, AUTO_URL, scratch), scratch));
	if (at->page) {
		complete(p, AUTO_PATHNAME, at->path, scratch);
		complete(p, AUTO_HOSTNAME, at->host, scratch);
	}
	take_referrer(at, keep(at->a, props_text(p, AUTO_REFERRER, scratch), scratch));
	/* A client's $hostname cannot say what the page is, where the URL does. */
	own = at->page ? at->host : text_lower(at->a, props_text(p, AUTO_HOSTNAME, scratch));
	domain = str_eq(at->referrer_host, without_www(own)) ? STR("") : at->referrer_host;
	if (domain.n)
		props_put(p, AUTO_REFERRER_DOMAIN, (struct value){.type = VALUE_STR, .s = domain});
	if (at->page)
		put_channel(at, p, domain, at->referrer.n && !at->referrer_host.n);
	put_screen(at, p);
	put_locale(at, p);
}
