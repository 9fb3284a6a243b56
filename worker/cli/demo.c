/*
 * The model: each day brings sessions, more of them on weekdays and as the shop
 * grows; a session belongs to a new or a returning person; it reads pages, and
 * some sign up, use features and buy. Persons who signed up are known by their
 * external id afterwards, which gives alias resolution something to do.
 */
#include "worker/cli/demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROPS = 20, HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS };

struct weighted {
	const char *text;
	unsigned weight;
};

static const struct weighted countries[] = {{"US", 34}, {"DE", 16}, {"GB", 11}, {"IN", 10},
	{"FR", 8}, {"BR", 7}, {"JP", 5}, {"CA", 5}, {"AU", 4}};
static const struct weighted browsers[] = {{"Google Chrome", 58}, {"Safari", 22}, {"Firefox", 9},
	{"Microsoft Edge", 8}, {"Samsung Internet", 3}};
static const struct weighted systems[] = {
	{"Windows", 40}, {"macOS", 22}, {"Android", 20}, {"iOS", 14}, {"Linux", 4}};
static const struct weighted sources[] = {
	{"", 52}, {"google", 24}, {"newsletter", 10}, {"twitter", 8}, {"producthunt", 6}};
static const struct weighted plans[] = {{"free", 62}, {"pro", 28}, {"business", 10}};
static const struct weighted pages[] = {{"/", 30}, {"/features", 16}, {"/pricing", 14},
	{"/docs", 14}, {"/blog/hello", 9}, {"/blog/retention", 8}, {"/about", 5},
	{"/changelog", 4}};
static const struct weighted features[] = {
	{"export", 5}, {"dashboard", 12}, {"invite", 3}, {"search", 9}, {"report", 6}};

#define PICK(table, r) pick(table, sizeof(table) / sizeof((table)[0]), r)

struct model {
	struct demo_sink *sink;
	uint64_t rng;
	struct demo_person *people;
	size_t n_people, cap_people;
	uint64_t left; /* events still to make */
	struct prop props[MAX_PROPS];
	uint32_t n_props;
	bool stopped;
};

/* splitmix64: one state word, good enough for a demo and the same everywhere. */
static uint64_t roll(struct model *m)
{
	uint64_t z = (m->rng += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static bool chance(struct model *m, unsigned percent)
{
	return roll(m) % 100 < percent;
}

static uint8_t pick(const struct weighted *t, size_t n, uint64_t r)
{
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += t[i].weight;
	r %= sum;
	for (size_t i = 0; i < n; i++) {
		if (r < t[i].weight)
			return (uint8_t)i;
		r -= t[i].weight;
	}
	return 0;
}

const char *demo_plan(const struct demo_person *p)
{
	return plans[p->plan].text;
}

const char *demo_country(const struct demo_person *p)
{
	return countries[p->country].text;
}

/* Rolled like all else, so that a repeated seeding has the same ids and stores nothing twice. */
static void uuid(struct model *m, int64_t ms, uint8_t out[16])
{
	uint64_t a = roll(m), b = roll(m);
	for (int i = 0; i < 6; i++)
		out[i] = (uint8_t)(ms >> (40 - 8 * i));
	memcpy(out + 6, &a, 2);
	memcpy(out + 8, &b, 8);
	out[6] = (uint8_t)(0x70 | (out[6] & 0x0f)); /* version 7 */
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

static void prop_text(struct model *m, const char *key, const char *text)
{
	if (text[0] == '\0' || m->n_props == MAX_PROPS)
		return;
	m->props[m->n_props++] = (struct prop){.key = str_of(key),
		.scope = key[0] == '$' ? SCOPE_AUTO : SCOPE_CUSTOM,
		.value = {.type = VALUE_STR, .s = str_of(text)}};
}

/* Comes after twelve others at most, so there is room. */
static void prop_number(struct model *m, const char *key, double d)
{
	m->props[m->n_props++] = (struct prop){
		.key = str_of(key), .scope = SCOPE_CUSTOM, .value = {.type = VALUE_DOUBLE, .d = d}};
}

/* A person keeps his system, which therefore comes from first_ms and not from a roll. Cities are
 * in the order of `countries`. */
static void common_props(struct model *m, const struct demo_person *p, const char *path)
{
	static const char *const cities[] = {"New York", "Berlin", "London", "Mumbai", "Paris",
		"Recife", "Tokyo", "Toronto", "Perth"};
	uint8_t os = PICK(systems, (uint64_t)p->first_ms / 977);
	m->n_props = 0;
	prop_text(m, "$pathname", path);
	prop_text(m, "$hostname", "shop.example");
	prop_text(m, "$country", countries[p->country].text);
	prop_text(m, "$city", cities[p->country]);
	prop_text(m, "$browser", browsers[p->browser].text);
	prop_text(m, "$os", systems[os].text);
	prop_text(m, "$device", os == 2 || os == 3 ? "Phone" : "Desktop");
	prop_text(m, "$platform", "web");
	prop_text(m, "$utmSource", sources[p->source].text);
	prop_text(m, "$locale", p->country == 1 ? "de-DE" : "en-US");
}

/* The only one that counts: sessions may be cut anywhere, so that exactly as many events come as
 * were asked for. */
static void emit(struct model *m, struct demo_person *p, const char *kind,
	const uint8_t session[16], int64_t t)
{
	struct event ev = {.time_ms = t,
		.kind = str_of(kind),
		.has_session = true,
		.props = m->props,
		.n_props = m->n_props};
	char id[64], anon[37];
	if (m->left == 0 || m->stopped)
		return;
	if (p->signed_up) {
		snprintf(id, sizeof(id), "user-%u", p->number);
	} else {
		str_uuid_text(p->anon, anon);
		snprintf(id, sizeof(id), "anon-%s", anon);
	}
	ev.distinct_id = str_of(id);
	uuid(m, t, ev.id);
	memcpy(ev.session, session, 16);
	m->left--;
	m->stopped = !m->sink->event(m->sink, &ev);
}

static struct demo_person *new_person(struct model *m, int64_t t)
{
	if (m->n_people == m->cap_people) {
		size_t cap = m->cap_people ? m->cap_people * 2 : 1024;
		struct demo_person *grown = realloc(m->people, cap * sizeof(*grown));
		if (!grown)
			return NULL;
		m->people = grown;
		m->cap_people = cap;
	}
	struct demo_person *p = &m->people[m->n_people++];
	*p = (struct demo_person){.number = 1000 + (uint32_t)m->n_people,
		.first_ms = t,
		.country = PICK(countries, roll(m)),
		.browser = PICK(browsers, roll(m)),
		.source = PICK(sources, roll(m)),
		.plan = PICK(plans, roll(m))};
	uuid(m, t, p->anon);
	return p;
}

/* Recent people come back more often than those of months ago. Good until the next new_person(),
 * which may move all of them. */
static struct demo_person *any_person(struct model *m, int64_t t)
{
	if (m->n_people == 0 || chance(m, 30))
		return new_person(m, t);
	size_t recent = m->n_people < 400 ? m->n_people : 400;
	size_t at = chance(m, 60) ? m->n_people - 1 - roll(m) % recent : roll(m) % m->n_people;
	return &m->people[at];
}

static void sign_up(struct model *m, struct demo_person *p, const uint8_t session[16], int64_t t)
{
	common_props(m, p, "/signup");
	emit(m, p, "page_view", session, t - 9000);
	p->signed_up = true;
	p->signup_ms = t;
	common_props(m, p, "/signup");
	prop_text(m, "plan", demo_plan(p));
	emit(m, p, "signup", session, t);
	if (m->sink->signup && !m->sink->signup(m->sink, p))
		m->stopped = true;
}

static void use_product(
	struct model *m, struct demo_person *p, const uint8_t session[16], int64_t *t)
{
	unsigned uses = 1 + (unsigned)(roll(m) % 4);
	for (unsigned i = 0; i < uses; i++) {
		*t += 2000 + (int64_t)(roll(m) % 90000);
		common_props(m, p, "/app");
		prop_text(m, "feature", features[PICK(features, roll(m))].text);
		prop_text(m, "plan", demo_plan(p));
		emit(m, p, "feature_used", session, *t);
	}
	if (!chance(m, p->plan ? 14 : 4))
		return;
	*t += 5000 + (int64_t)(roll(m) % 60000);
	common_props(m, p, "/cart");
	prop_text(m, "plan", demo_plan(p));
	emit(m, p, "add_to_cart", session, *t);
	if (!chance(m, 62))
		return;
	*t += 8000 + (int64_t)(roll(m) % 120000);
	common_props(m, p, "/checkout");
	prop_text(m, "plan", demo_plan(p));
	prop_text(m, "currency", "USD");
	prop_number(m, "amount", (double)(900 + roll(m) % 9000) / 100 * (p->plan + 1));
	emit(m, p, "purchase", session, *t);
}

static bool run_session(struct model *m, int64_t t, int64_t end)
{
	struct demo_person *p = any_person(m, t);
	uint8_t session[16];
	if (!p)
		return false;
	uuid(m, t, session);
	unsigned views = 1 + (unsigned)(roll(m) % 5);
	for (unsigned i = 0; i < views && t < end; i++) {
		common_props(m, p, pages[PICK(pages, roll(m))].text);
		if (i == 0 && chance(m, 40))
			prop_text(m, "$referrerDomain", p->source ? "google.com" : "news.example");
		emit(m, p, "page_view", session, t);
		t += 3000 + (int64_t)(roll(m) % 70000);
	}
	if (!p->signed_up && t < end && chance(m, 22))
		sign_up(m, p, session, t);
	if (p->signed_up && t + 10 * 60000 < end)
		use_product(m, p, session, &t);
	return true;
}

/* Share of one day, out of about 1000: growth over the months, quiet weekends. */
static uint64_t day_weight(int day, int64_t start_ms)
{
	uint64_t growth = 400 + 1200 * (uint64_t)day / DEMO_DAYS;
	int weekday = (int)((start_ms / DAY_MS + day + 4) % 7); /* 1970-01-01 was a Thursday */
	return growth * (weekday == 0 || weekday == 6 ? 55 : 100) / 100;
}

bool demo_generate(struct demo_sink *s, uint64_t events, int64_t end_ms)
{
	struct model m = {.sink = s, .rng = 42, .left = events};
	int64_t start = end_ms - (int64_t)DEMO_DAYS * DAY_MS;
	uint64_t total = 0, sum = 0;
	bool ok = true;
	for (int d = 0; d < DEMO_DAYS; d++)
		total += day_weight(d, start);
	for (int d = 0; d < DEMO_DAYS && ok && !m.stopped; d++) {
		/* Until the day's share is made; the last day takes what is left. */
		sum += day_weight(d, start);
		uint64_t leave = d == DEMO_DAYS - 1 ? 0 : events - events * sum / total;
		int64_t day = start + (int64_t)d * DAY_MS;
		while (m.left > leave && ok && !m.stopped)
			ok = run_session(
				&m, day + (int64_t)(roll(&m) % (DAY_MS - HOUR_MS)), end_ms);
	}
	free(m.people);
	return ok && !m.stopped;
}
