/*
 * See geo.h. Whatever a header says is outside text, also from a trusted proxy, which
 * may pass on what a client sent: it is made fit to be stored before it is.
 */
#include <errno.h>
#include <math.h>
#include <maxminddb.h>
#include <stdlib.h>

#include "proto/number.h"
#include "shm/options.h"
#include "worker/call/client_addr.h"
#include "worker/ingest/geo.h"
#include "worker/ingest/text.h"

enum { HEADER_NAME_MAX = 64, VALUE_MAX = 256 };

enum fact_kind { FACT_TEXT, FACT_NUMBER, FACT_SCORE, FACT_TRUTH };

/* How each is called in geo_headers, what it becomes, which values mean "unknown", and
 * where a database has it. from_database() knows the country by its place, the second. */
static const struct fact {
	const char *name;
	enum auto_key key;
	enum fact_kind kind;
	const char *unknown[2];
	const char *path[5]; /* NULL-terminated */
} facts[GEO_FACTS] = {
	{"continent", AUTO_CONTINENT, FACT_TEXT, {0}, {"continent", "code"}},
	{"country", AUTO_COUNTRY, FACT_TEXT, {"XX", "T1"}, {"country", "iso_code"}},
	{"region", AUTO_REGION, FACT_TEXT, {"Unknown"}, {"subdivisions", "0", "names", "en"}},
	{"city", AUTO_CITY, FACT_TEXT, {"Unknown"}, {"city", "names", "en"}},
	{"postal_code", AUTO_POSTAL_CODE, FACT_TEXT, {0}, {"postal", "code"}},
	{"metro_code", AUTO_METRO_CODE, FACT_TEXT, {0}, {"location", "metro_code"}},
	{"latitude", AUTO_LATITUDE, FACT_NUMBER, {0}, {"location", "latitude"}},
	{"longitude", AUTO_LONGITUDE, FACT_NUMBER, {0}, {"location", "longitude"}},
	{"timezone", AUTO_TIMEZONE, FACT_TEXT, {0}, {"location", "time_zone"}},
	{"bot_score", AUTO_BOT_SCORE, FACT_SCORE, {0}, {0}},
	{"verified_bot", AUTO_VERIFIED_BOT, FACT_TRUTH, {0}, {0}},
};

struct geo {
	char headers[GEO_FACTS][HEADER_NAME_MAX]; /* "": nobody says */
	bool has_headers;
	bool has_database;
	MMDB_s database;
};

/* ---- headers ---- */

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c && strchr("!#$%&'*+-.^_`|~", c))))
			return false;
	}
	return s.n > 0;
}

static bool take_entry(struct geo *g, struct str entry)
{
	long eq = str_find(entry, '=');
	struct str key = {entry.p, eq < 0 ? entry.n : (size_t)eq}, header = {entry.p + entry.n, 0};

	if (eq >= 0)
		header = (struct str){entry.p + eq + 1, entry.n - (size_t)eq - 1};
	if (!is_token(header) || header.n >= HEADER_NAME_MAX)
		return false;
	for (int i = 0; i < GEO_FACTS; i++)
		if (str_eq(key, str_of(facts[i].name)) && !g->headers[i][0]) {
			memcpy(g->headers[i], header.p, header.n);
			g->has_headers = true;
			return true;
		}
	return false;
}

static bool take_headers(struct geo *g, struct str list, char error[GEO_ERROR])
{
	size_t i = 0, start;

	while (i < list.n) {
		start = i;
		while (i < list.n && !strchr(" ,\t", list.p[i]))
			i++;
		if (i > start && !take_entry(g, (struct str){list.p + start, i - start})) {
			snprintf(error, GEO_ERROR, "geo_headers: '%.*s' is not NAME=HEADER",
				(int)(i - start), list.p + start);
			return false;
		}
		i++;
	}
	return true;
}

static void add(struct geo_facts *out, enum auto_key key, struct value v)
{
	out->v[out->n].key = key;
	out->v[out->n++].value = v;
}

static bool has(const struct geo_facts *out, enum auto_key key)
{
	for (unsigned i = 0; i < out->n; i++)
		if (out->v[i].key == key)
			return true;
	return false;
}

static bool is_unknown(const struct fact *f, struct str s)
{
	for (size_t i = 0; i < 2; i++)
		if (f->unknown[i] && str_eq(s, str_of(f->unknown[i])))
			return true;
	return s.n == 0 || s.n > VALUE_MAX;
}

/* Not a number, nor infinite: neither is a coordinate, and an event must not have one. */
static bool is_odd_number(struct str s)
{
	static const char *const words[] = {"nan", "inf", "infinity"};

	if (s.n && (s.p[0] == '+' || s.p[0] == '-'))
		s = (struct str){s.p + 1, s.n - 1};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_case_eq(s, str_of(words[i])))
			return true;
	return false;
}

/* What is not as it should be is left out, as if the header were not there; only a coordinate
 * that cannot be read stays, as text (1.10). */
static void add_header(struct geo_facts *out, struct arena *a, const struct fact *f, struct str s)
{
	struct value v = {.type = VALUE_STR};
	uint64_t n;

	if (is_unknown(f, s))
		return;
	if (f->kind == FACT_SCORE) {
		if (str_u64(s, &n) && n <= 255)
			add(out, f->key, (struct value){.type = VALUE_INT, .i = (int64_t)n});
		return;
	}
	if (f->kind == FACT_TRUTH) {
		if (str_eq(s, STR("true")) || str_eq(s, STR("false")))
			add(out, f->key, (struct value){.type = VALUE_BOOL, .i = s.n == 4});
		return;
	}
	if (f->kind == FACT_NUMBER && is_odd_number(s))
		return;
	if (f->kind == FACT_NUMBER && number_parse(s, &v.d))
		v.type = VALUE_DOUBLE;
	else
		v.s = text_clean(a, s);
	add(out, f->key, v);
}

static void from_headers(const struct geo *g, struct call *c, struct geo_facts *out)
{
	bool said[GEO_FACTS] = {false};
	const struct http_header *h;

	for (unsigned k = 0; k < c->rq->n_headers; k++) {
		h = &c->rq->headers[k];
		for (int i = 0; i < GEO_FACTS; i++)
			if (!said[i] && g->headers[i][0] &&
				str_case_eq(h->name, str_of(g->headers[i]))) {
				said[i] = true; /* of several the first counts */
				add_header(out, c->arena, &facts[i], h->value);
			}
	}
}

/* ---- database ---- */

static struct str copy(struct arena *a, const MMDB_entry_data_s *d)
{
	struct str s = {d->utf8_string, d->data_size};
	char *p;

	s.n = s.n > VALUE_MAX ? VALUE_MAX : s.n; /* a cut character is cleaned away */
	p = arena_str(a, s);
	return p ? text_clean(a, (struct str){p, s.n}) : STR("");
}

/* False when the database has nothing there that can be stored. */
static bool read_fact(MMDB_entry_s *entry, const struct fact *f, struct arena *a, struct value *v)
{
	MMDB_entry_data_s d;

	if (!f->path[0] || MMDB_aget_value(entry, &d, f->path) != MMDB_SUCCESS || !d.has_data)
		return false;
	*v = (struct value){.type = VALUE_STR};
	switch (d.type) {
	case MMDB_DATA_TYPE_UTF8_STRING:
		v->s = copy(a, &d);
		return v->s.n > 0;
	case MMDB_DATA_TYPE_DOUBLE:
		*v = (struct value){.type = VALUE_DOUBLE, .d = d.double_value};
		return isfinite(v->d);
	case MMDB_DATA_TYPE_UINT16:
		v->s = arena_printf(a, "%u", d.uint16);
		return v->s.n > 0;
	case MMDB_DATA_TYPE_UINT32:
		v->s = arena_printf(a, "%u", d.uint32);
		return v->s.n > 0;
	default:
		return false;
	}
}

/* A country from a header and one from the database are about different addresses when
 * they differ, and then so would be a city. */
static bool agrees(const struct geo_facts *out, struct str country)
{
	for (unsigned i = 0; i < out->n; i++)
		if (out->v[i].key == AUTO_COUNTRY)
			return str_eq(out->v[i].value.s, country);
	return true;
}

static bool is_v4(const uint8_t addr[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, prefix, sizeof(prefix)) == 0;
}

static bool find(const struct geo *g, const uint8_t addr[16], MMDB_entry_s *entry)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	const void *sa = &v6;
	MMDB_lookup_result_s r;
	int error = MMDB_SUCCESS;

	memcpy(&v6.sin6_addr, addr, 16);
	memcpy(&v4.sin_addr, addr + 12, 4);
	if (is_v4(addr))
		sa = &v4;
	r = MMDB_lookup_sockaddr(&g->database, sa, &error);
	*entry = r.entry;
	return error == MMDB_SUCCESS && r.found_entry;
}

/* Only what no header has said, and only with the type that the property has elsewhere. */
static void from_database(const struct geo *g, struct call *c, struct geo_facts *out)
{
	const struct fact *country = &facts[1];
	MMDB_entry_s entry;
	struct value v;

	if (!find(g, c->client_addr, &entry))
		return;
	if (read_fact(&entry, country, c->arena, &v) && v.type == VALUE_STR && !agrees(out, v.s))
		return;
	for (int i = 0; i < GEO_FACTS; i++)
		if (!has(out, facts[i].key) && read_fact(&entry, &facts[i], c->arena, &v) &&
			(v.type == VALUE_DOUBLE) == (facts[i].kind == FACT_NUMBER))
			add(out, facts[i].key, v);
}

/* ---- all ---- */

struct geo *geo_new(const struct options *opt, char error[GEO_ERROR])
{
	struct geo *g = calloc(1, sizeof(*g));
	int status = MMDB_SUCCESS;

	snprintf(error, GEO_ERROR, "no memory");
	if (!g || !take_headers(g, str_of(opt->geo_headers), error)) {
		free(g);
		return NULL;
	}
	/* mapped: whoever wrote into the file instead of renaming another one over it would
	 * change it under all workers, or kill them by SIGBUS where it gets shorter */
	if (opt->geo_database[0])
		status = MMDB_open(opt->geo_database, MMDB_MODE_MMAP, &g->database);
	if (status != MMDB_SUCCESS) {
		snprintf(error, GEO_ERROR, "geo_database: %.160s: %s", opt->geo_database,
			status == MMDB_FILE_OPEN_ERROR || status == MMDB_IO_ERROR
				? strerror(errno)
				: MMDB_strerror(status));
		free(g);
		return NULL;
	}
	g->has_database = opt->geo_database[0] != '\0';
	return g;
}

void geo_free(struct geo *g)
{
	if (!g)
		return;
	if (g->has_database)
		MMDB_close(&g->database);
	free(g);
}

void geo_look_up(const struct geo *g, struct call *c, struct geo_facts *out)
{
	out->n = 0;
	if (g->has_headers && client_addr_trusted(c))
		from_headers(g, c, out);
	if (g->has_database)
		from_database(g, c, out);
}
