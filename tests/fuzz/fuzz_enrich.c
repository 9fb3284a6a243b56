/*
 * What is derived from events and heads. Byte 0 chooses: 0 a URL, 1 a user agent, 2 an
 * event, 3 a header. An event is properties, each up to the next line feed: a byte for
 * the key, one for the type, the value. A header is a byte for its name and the value.
 * Whatever comes in: what comes out can be stored, and enriching twice changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/options.h"
#include "worker/ingest/enrich.h"
#include "worker/ingest/text.h"
#include "worker/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PROPS_MAX = 40 };

static struct options options;
static struct worker worker = {.opt = &options};
static struct agents *agents;
static struct geo *geo;

static const char *const headers[] = {"cf-ipcountry", "CF-IPCity", "CF-IPLatitude",
	"CF-IPLongitude", "CF-Bot-Score", "CF-Verified-Bot", "CF-Timezone"};

static void set_up(void)
{
	char error[GEO_ERROR];

	if (geo)
		return;
	strcpy(options.trusted_proxies, "127.0.0.1");
	strcpy(options.geo_headers,
		"country=CF-IPCountry city=CF-IPCity latitude=CF-IPLatitude "
		"longitude=CF-IPLongitude timezone=CF-Timezone bot_score=CF-Bot-Score "
		"verified_bot=CF-Verified-Bot");
	agents = agents_new();
	geo = geo_new(&options, error);
	if (!agents || !geo)
		abort();
}

static void check_text(struct str s)
{
	if (!str_utf8_ok(s) || (s.n && memchr(s.p, '\0', s.n)))
		abort();
}

static void check_value(const struct value *v)
{
	if (v->type == VALUE_STR)
		check_text(v->s);
	if (v->type == VALUE_DOUBLE && !(v->d - v->d == 0)) /* neither infinite nor NaN */
		abort();
}

static void url(struct str text, struct arena *a)
{
	struct str utm[UTM_COUNT];
	struct url u;

	if (!url_parse(a, text, &u))
		return;
	check_text(u.host);
	check_text(u.path);
	if (!str_eq(text_lower(a, u.host), u.host))
		abort();
	url_utm(a, u.query, utm);
	for (int i = 0; i < UTM_COUNT; i++)
		check_text(utm[i]);
}

static void agent(struct str text, struct arena *a)
{
	struct agent first = agents_look_up(agents, a, text);
	struct agent again = agents_look_up(agents, a, text);

	check_text(first.browser);
	check_text(first.browser_version);
	check_text(first.os);
	check_text(first.os_version);
	check_text(first.device);
	if (!str_eq(first.browser, again.browser) || !str_eq(first.os_version, again.os_version) ||
		!str_eq(first.device, again.device) || first.mobile != again.mobile)
		abort();
}

static struct value value_of(uint8_t type, struct str text)
{
	int64_t i = 0;
	double d = (double)text.n;

	memcpy(&i, text.p, text.n < sizeof(i) ? text.n : sizeof(i));
	switch (type % 5) {
	case 0:
		return (struct value){.type = VALUE_INT, .i = i};
	case 1:
		return (struct value){.type = VALUE_DOUBLE, .d = d};
	case 2:
		return (struct value){.type = VALUE_BOOL, .i = i & 1};
	case 3:
		return (struct value){.type = VALUE_TIME, .i = i % 300000000000000};
	default:
		return (struct value){.type = VALUE_STR, .s = text};
	}
}

/* Clients' strings were checked before: valid, and without NUL. */
static uint32_t read_props(struct str text, struct arena *a, struct prop *v)
{
	uint32_t n = 0;

	while (text.n >= 2 && n < PROPS_MAX) {
		long end = str_find(text, '\n');
		size_t line = end < 0 ? text.n : (size_t)end;
		unsigned k = (uint8_t)text.p[0] % (AUTO_COUNT + 2);
		struct str s = {text.p + 2, line < 2 ? 0 : line - 2};

		v[n] = (struct prop){
			STR("other"), k == AUTO_COUNT ? SCOPE_CUSTOM : SCOPE_AUTO, {0}};
		if (k < AUTO_COUNT)
			v[n].key = autokey_name((enum auto_key)k);
		v[n++].value = value_of((uint8_t)text.p[1], text_clean(a, s));
		line += end >= 0;
		text = (struct str){text.p + line, text.n - line};
	}
	return n;
}

static void check_keys(const struct prop *v, uint32_t n)
{
	bool seen[AUTO_COUNT + 1] = {false};

	for (uint32_t i = 0; i < n; i++) {
		enum auto_key k = v[i].scope == SCOPE_AUTO ? autokey_find(v[i].key) : AUTO_COUNT;

		check_value(&v[i].value);
		if (k != AUTO_COUNT && seen[k])
			abort();
		seen[k] = true;
	}
	if (seen[AUTO_IP])
		abort();
}

static void event(struct str text, struct arena *a)
{
	static struct prop v[PROPS_MAX + ENRICH_ROOM], again[PROPS_MAX + ENRICH_ROOM];
	struct enrich x = {.agent = {.known = true, .mobile = true, .os = STR("iOS")}};
	uint32_t n = read_props(text, a, v), m;

	attribution_init(&x.attribution, a);
	n = enrich_props(&x, v, n);
	check_keys(v, n);
	memcpy(again, v, n * sizeof(*v));
	m = enrich_props(&x, again, n);
	if (n > PROPS_MAX + ENRICH_ROOM || m != n)
		abort();
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < m; k++)
			if (v[i].scope == SCOPE_AUTO && autokey_find(v[i].key) != AUTO_COUNT &&
				again[k].scope == SCOPE_AUTO && str_eq(v[i].key, again[k].key) &&
				!value_eq(&v[i].value, &again[k].value))
				abort();
}

static void header(struct str text, struct arena *a)
{
	static const uint8_t loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
	static struct http_request rq;
	struct call c = {.w = &worker, .rq = &rq, .arena = a};
	struct geo_facts facts;

	if (!text.n)
		return;
	memcpy(rq.peer_addr, loopback, sizeof(loopback));
	rq.headers[0] = (struct http_header){
		str_of(headers[(uint8_t)text.p[0] % (sizeof(headers) / sizeof(headers[0]))]),
		str_trim((struct str){text.p + 1, text.n - 1})};
	rq.n_headers = 1;
	geo_look_up(geo, &c, &facts);
	for (unsigned i = 0; i < facts.n; i++)
		check_value(&facts.v[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(struct str, struct arena *) = {url, agent, event, header};
	struct arena a;

	if (size == 0 || size > 1 << 14)
		return 0;
	set_up();
	arena_init(&a, (size_t)8 << 20);
	targets[data[0] % 4]((struct str){(const char *)data + 1, size - 1}, &a);
	arena_free(&a);
	return 0;
}
