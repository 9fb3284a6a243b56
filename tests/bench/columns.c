/* See columns.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/base/str.h"
#include "tests/bench/columns.h"

enum { DAY_MS = 86400000, BOUNCE = 25 };

struct row {
	int64_t t;
	uint32_t person, session, order;
	uint16_t path, amount;
	uint8_t kind, source, known;
};

struct dice {
	uint64_t state;
};

uint64_t columns_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u; /* splitmix64 */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint32_t roll(struct dice *d, uint32_t below)
{
	d->state += 0x9e3779b97f4a7c15u;
	return (uint32_t)(((columns_mix(d->state) >> 32) * below) >> 32);
}

/* Small numbers are much more frequent. */
static uint32_t roll_skewed(struct dice *d, uint32_t below)
{
	uint64_t a = roll(d, 1 << 20), b = a * a >> 20;

	return (uint32_t)(b * below >> 20);
}

void *columns_need(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		fprintf(stderr, "bench: no memory\n");
		exit(1);
	}
	return p;
}

/* ---- people ---- */

static uint64_t person_hash(uint32_t person, uint32_t what)
{
	return columns_mix((uint64_t)what << 32 | person);
}

bool person_identified(uint32_t person)
{
	return person_hash(person, 1) % 100 < PEOPLE_IDENTIFIED;
}

static uint8_t person_country(uint32_t person)
{
	struct dice d = {person_hash(person, 2)};

	return (uint8_t)roll_skewed(&d, COUNTRIES);
}

static uint8_t person_browser(uint32_t person)
{
	struct dice d = {person_hash(person, 3)};

	return (uint8_t)roll_skewed(&d, BROWSERS);
}

uint8_t person_system(uint32_t person)
{
	return (uint8_t)(person_hash(person, 4) % SYSTEMS);
}

static void uuid_of(uint64_t high, uint64_t low, char out[ID_TEXT + 1])
{
	uint8_t b[16];

	memcpy(b, &high, 8);
	memcpy(b + 8, &low, 8);
	b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	str_uuid_text(b, out);
}

void person_anonymous(uint32_t person, char out[ID_TEXT + 1])
{
	uuid_of(person_hash(person, 5), person_hash(person, 6), out);
}

void person_external(uint32_t person, char out[ID_TEXT + 1])
{
	snprintf(out, ID_TEXT + 1, "user-%u", person);
}

void person_xid(uint32_t person, char out[XID_TEXT + 1])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	uint64_t h = person_hash(person, 7);

	/* 13 digits of hash, then the number itself, so that no two are equal */
	for (int i = 0; i < 13; i++)
		out[i] = digits[h >> (i * 4) & 31];
	for (int i = 13; i < XID_TEXT; i++)
		out[i] = digits[person >> (5 * (XID_TEXT - 1 - i)) & 31];
	out[XID_TEXT] = '\0';
}

void person_label(uint32_t person, char out[ID_TEXT + 1])
{
	if (person_identified(person))
		person_external(person, out);
	else
		person_anonymous(person, out);
}

void person_key(uint32_t person, char out[ID_TEXT + 1])
{
	if (person_identified(person))
		person_xid(person, out);
	else
		person_anonymous(person, out);
}

/* ---- events ---- */

/* A share of 1000: views 350, clicks 140, ..., purchases 15; the rest features. */
static uint8_t roll_kind(struct dice *d)
{
	static const uint32_t upto[KINDS_NAMED] = {350, 490, 570, 620, 650, 665, 680};
	uint32_t at = roll(d, 1000);

	for (uint8_t k = 0; k < KINDS_NAMED; k++)
		if (at < upto[k])
			return k;
	return (uint8_t)(KINDS_NAMED + roll_skewed(d, KINDS - KINDS_NAMED));
}

static uint32_t session_length(struct dice *d)
{
	uint32_t n = 1;

	if (roll(d, 100) < BOUNCE)
		return 1;
	while (n < 60 && roll(d, 100) < 85)
		n++;
	return n;
}

static uint32_t make_session(
	struct columns *c, struct dice *d, struct row *rows, uint32_t at, int64_t day)
{
	uint32_t n = session_length(d), person = roll_skewed(d, c->persons);
	uint8_t source = roll(d, 10) < 6 ? 0 : (uint8_t)(1 + roll_skewed(d, SOURCES - 1));
	bool known = person_identified(person) && roll(d, 10) < 6;
	int64_t t = day + roll(d, DAY_MS);

	for (uint32_t i = 0; i < n && at < c->n; i++, at++) {
		uint8_t kind = roll_kind(d);

		rows[at] = (struct row){.t = t,
			.person = person,
			.session = c->sessions,
			.order = at,
			.path = (uint16_t)roll_skewed(d, PATHS),
			.kind = kind,
			.source = source,
			.known = known,
			.amount = kind == PURCHASE ? (uint16_t)(4 + roll_skewed(d, 2000)) : 0};
		t += 200 + roll_skewed(d, 180000);
	}
	c->sessions++;
	return at;
}

static int in_order(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->t != b->t)
		return a->t < b->t ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void fill(struct columns *c, const struct row *rows)
{
	for (uint32_t i = 0; i < c->n; i++) {
		const struct row *r = &rows[i];

		c->t[i] = r->t;
		c->person[i] = r->person;
		c->session[i] = r->session;
		c->path[i] = r->path;
		c->amount[i] = r->amount;
		c->kind[i] = r->kind;
		c->country[i] = person_country(r->person);
		c->browser[i] = person_browser(r->person);
		c->source[i] = r->source;
		c->known[i] = r->known;
	}
}

void columns_make(struct columns *c, uint32_t n, uint32_t persons, uint32_t days, int64_t start_ms)
{
	struct row *rows = columns_need(n, sizeof(*rows));
	struct dice d = {20260101};

	*c = (struct columns){.n = n,
		.persons = persons,
		.days = days,
		.start_ms = start_ms,
		.t = columns_need(n, 8),
		.person = columns_need(n, 4),
		.session = columns_need(n, 4),
		.path = columns_need(n, 2),
		.amount = columns_need(n, 2),
		.kind = columns_need(n, 1),
		.country = columns_need(n, 1),
		.browser = columns_need(n, 1),
		.source = columns_need(n, 1),
		.known = columns_need(n, 1)};
	for (uint32_t day = 0, at = 0; day < days; day++) {
		uint32_t begin = at, end = (uint32_t)((uint64_t)n * (day + 1) / days);

		while (at < end)
			at = make_session(c, &d, rows, at, start_ms + (int64_t)day * DAY_MS);
		qsort(rows + begin, at - begin, sizeof(*rows), in_order);
	}
	/* some sessions last past midnight, so days overlap a little */
	qsort(rows, n, sizeof(*rows), in_order);
	fill(c, rows);
	free(rows);
}

/* A UUIDv7 whose place among those of its millisecond is that of the event. */
void event_id(const struct columns *c, uint32_t i, uint8_t out[16])
{
	uint64_t low = (uint64_t)(i & 0xfffff) << 42 | columns_mix(i) >> 22;

	for (int k = 0; k < 6; k++)
		out[k] = (uint8_t)(c->t[i] >> (40 - 8 * k));
	out[6] = (uint8_t)(0x70 | (i >> 28 & 0x0f));
	out[7] = (uint8_t)(i >> 20);
	for (int k = 0; k < 8; k++)
		out[8 + k] = (uint8_t)(low >> (56 - 8 * k));
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

void session_id(uint32_t session, uint8_t out[16])
{
	uint64_t a = columns_mix((uint64_t)8 << 32 | session), b = columns_mix(a);

	memcpy(out, &a, 8);
	memcpy(out + 8, &b, 8);
	out[6] = (uint8_t)(0x40 | (out[6] & 0x0f));
	out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

/* ---- names ---- */

const char *name_kind(unsigned kind, char buf[32])
{
	static const char *const named[KINDS_NAMED] = {
		"page_view", "click", "scroll", "search", "add_to_cart", "sign_up", "purchase"};

	if (kind < KINDS_NAMED)
		return named[kind];
	snprintf(buf, 32, "feature_%02u", kind);
	return buf;
}

const char *name_path(unsigned path, char buf[32])
{
	static const char *const top[] = {"/", "/pricing", "/features", "/docs", "/blog"};

	if (path < 5)
		return top[path];
	snprintf(buf, 32, "%s/article-%u", top[1 + path % 4], path);
	return buf;
}

const char *name_country(unsigned country, char buf[32])
{
	static const char codes[] =
		"USDEGBINFRBRJPCAAUESITNLPLSECHBEATDKNOFIIEPTGRCZROHUUAILTRZANGEGKEMA"
		"MXARCLCOPEVEKRCNTWHKSGMYTHVNIDPHPKBDLKNZAESA";

	snprintf(buf, 32, "%.2s", codes + 2 * country);
	return buf;
}

const char *name_browser(unsigned browser, char buf[32])
{
	static const char *const names[BROWSERS] = {
		"Google Chrome", "Safari", "Firefox", "Edge", "Opera"};

	(void)buf;
	return names[browser];
}

const char *name_system(unsigned system, char buf[32])
{
	static const char *const names[SYSTEMS] = {
		"Windows", "Mac OS X", "iOS", "Android", "Linux"};

	(void)buf;
	return names[system];
}

const char *name_source(unsigned source, char buf[32])
{
	static const char *const names[SOURCES] = {
		"", "google", "newsletter", "bing", "linkedin", "reddit", "github", "partner"};

	(void)buf;
	return names[source];
}
