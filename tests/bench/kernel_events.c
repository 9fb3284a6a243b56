/* See kernel_events.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/kernel_events.h"
#include "worker/store/encode.h"
#include "worker/store/numbers.h"

enum { DAYS = 90, KINDS = 8, PATHS = 60, COUNTRIES = 24, PER_SESSION = 5 };

static const int64_t begin_ms = 1735689600000; /* 2025-01-01 */
static const char *const kinds[KINDS] = {"page_view", "click", "search", "view_item", "add_to_cart",
	"checkout", "purchase", "refund"};
static const unsigned shares[KINDS] = {35, 20, 15, 10, 8, 6, 4, 2};
/* two letters each */
static const char codes[] = "USDEFRGBJPBRINSEESITNLPLCACHATBECZDKFINOPTIEMXAR";

void events_die(const char *what, const char *detail)
{
	fprintf(stderr, "kernels: %s: %s\n", what, detail);
	exit(1);
}

static void *need(void *p)
{
	if (!p)
		events_die("memory", "exhausted");
	return p;
}

struct one {
	int64_t ms;
	uint32_t person, number, session, tie; /* tie: random end of the id */
	uint8_t kind, path, country;
};

static uint64_t next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Of some a person is much more often than of others. */
static uint8_t draw_country(uint32_t person)
{
	uint64_t rng = person, a = next(&rng) % COUNTRIES, b = next(&rng) % COUNTRIES;

	return (uint8_t)(a * b / COUNTRIES);
}

static uint8_t draw_kind(uint64_t *rng)
{
	unsigned at = (unsigned)(next(rng) % 100);
	uint8_t k = 0;

	for (; at >= shares[k]; k++)
		at -= shares[k];
	return k;
}

static int by_segment(const void *x, const void *y)
{
	const struct one *a = x, *b = y;
	int64_t day_a = a->ms / DAY_MS, day_b = b->ms / DAY_MS;

	if (day_a != day_b)
		return day_a < day_b ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->ms < b->ms ? -1 : a->ms > b->ms;
}

/* As ids get them that are sealed in this order. */
static void number(struct one *all, uint32_t n)
{
	uint32_t *of = need(calloc((size_t)n / PER_PERSON + 1, sizeof(*of))), last = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t *known = &of[all[i].person];

		if (*known == 0)
			*known = ++last;
		all[i].number = *known;
	}
	free(of);
}

/* Sessions of some events each; few persons do much, many do little. */
static struct one *draw(uint32_t n)
{
	struct one *all = need(calloc(n, sizeof(*all)));
	uint64_t rng = 1, persons = n / PER_PERSON + 1;
	struct one at = {0};

	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || next(&rng) % PER_SESSION == 0) {
			uint64_t a = next(&rng) % persons, b = next(&rng) % persons;

			at.person = (uint32_t)(a < b ? a : b);
			at.ms = begin_ms + (int64_t)(next(&rng) % ((uint64_t)DAYS * DAY_MS));
			at.session++;
			at.country = draw_country(at.person);
		}
		at.ms += (int64_t)(next(&rng) % 60000);
		if (at.ms >= begin_ms + (int64_t)DAYS * DAY_MS)
			at.ms = begin_ms;
		at.kind = draw_kind(&rng);
		at.path = (uint8_t)(next(&rng) % PATHS);
		at.tie = (uint32_t)next(&rng);
		all[i] = at;
	}
	qsort(all, n, sizeof(*all), by_segment);
	number(all, n);
	return all;
}

static void put_uuid(uint8_t id[16], uint64_t high, uint64_t low)
{
	for (int i = 0; i < 8; i++) {
		id[i] = (uint8_t)(high >> (56 - 8 * i));
		id[8 + i] = (uint8_t)(low >> (56 - 8 * i));
	}
}

static void fill(struct event *ev, const struct one *o, struct prop *props, char text[64])
{
	uint64_t seed = o->session;

	*ev = (struct event){.has_session = true,
		.time_ms = o->ms,
		.kind = str_of(kinds[o->kind]),
		.distinct_id = {text, 0},
		.props = props,
		.n_props = 3};
	put_uuid(ev->id, (uint64_t)o->ms << 16 | o->tie >> 16, (uint64_t)o->tie << 32);
	put_uuid(ev->session, next(&seed), next(&seed));
	seed = o->person;
	ev->distinct_id.n = (size_t)sprintf(
		text, "%016llx%08x", (unsigned long long)next(&seed), (unsigned)o->person);
	sprintf(text + 32, "/path/%u", (unsigned)o->path);
	props[0] = (struct prop){
		STR("$pathname"), SCOPE_AUTO, {.type = VALUE_STR, .s = str_of(text + 32)}};
	props[1] = (struct prop){STR("$country"), SCOPE_AUTO,
		{.type = VALUE_STR, .s = {codes + 2 * (size_t)o->country, 2}}};
	props[2] =
		(struct prop){STR("amount"), SCOPE_CUSTOM, {.type = VALUE_INT, .i = o->tie % 1000}};
}

static void put(FILE *out, struct str s)
{
	uint64_t size = s.n;

	if (!s.p || fwrite(&size, sizeof(size), 1, out) != 1 || fwrite(s.p, 1, s.n, out) != s.n)
		events_die("write", strerror(errno));
}

static void put_segment(FILE *out, const struct one *v, uint32_t n)
{
	struct event *events = need(calloc(n, sizeof(*events)));
	char(*texts)[64] = need(calloc(n, sizeof(*texts)));
	uint32_t *numbers = need(calloc(n, sizeof(*numbers)));
	struct arena a;
	struct encoder *e;
	struct prop props[3];
	struct buf body;

	arena_init(&a, (size_t)1 << 30);
	e = need(encoder_new(&a));
	for (uint32_t i = 0; i < n; i++) {
		fill(&events[i], &v[i], props, texts[i]);
		numbers[i] = v[i].number;
		if (!encoder_add(e, &events[i]))
			events_die("encoder", "no memory");
	}
	put(out, encoder_finish(e));
	buf_init(&body, &a);
	numbers_encode(&body, numbers, n);
	put(out, (struct str){body.p, body.n});
	arena_free(&a);
	free(events);
	free(texts);
	free(numbers);
}

void events_make(const char *path, uint32_t n)
{
	FILE *out = fopen(path, "we");
	struct one *all;

	if (!out)
		events_die(path, strerror(errno));
	all = draw(n);
	for (uint32_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && end - i < EVSEG_EVENTS_MAX &&
				  all[end].kind == all[i].kind &&
				  all[end].ms / DAY_MS == all[i].ms / DAY_MS;)
			end++;
		put_segment(out, &all[i], end - i);
	}
	free(all);
	if (fclose(out))
		events_die(path, strerror(errno));
}
