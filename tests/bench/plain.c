/* See plain.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/plain.h"

enum {
	DAY_MS = 86400000,
	FIRST_SUNDAY = 4, /* 1970-01-01 was a Thursday */
	RARE = 20,
	TOP = 10,
	PAGE = 1000,
	HOPS = 5,
	FUNNEL_MS = 7 * DAY_MS,
	CHROME = 0,
	NOBODY = 255
};

/* Room for one more row, zeroed. */
static double *row(struct answer *a)
{
	if (a->rows == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 256;
		a->v = realloc(a->v, (size_t)a->cap * a->width * sizeof(*a->v));
		if (!a->v)
			columns_need(SIZE_MAX / 2, 1);
	}
	return a->v + (size_t)a->rows++ * a->width;
}

/* One past the window's last event. */
static uint32_t window(const struct columns *c)
{
	int64_t end = c->start_ms + (int64_t)c->days * DAY_MS;
	uint32_t lo = 0, hi = c->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (c->t[mid] < end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t day_of(const struct columns *c, uint32_t i)
{
	return (uint32_t)((uint64_t)(c->t[i] - c->start_ms) / DAY_MS);
}

/* ---- counts by day and something ---- */

/* Rows of (key, day, value) for what is not zero; without keys (day, value). */
static void days_out(const struct columns *c, struct answer *a, const double *v, uint32_t keys)
{
	a->width = keys ? 3 : 2;
	for (uint32_t k = 0; k < (keys ? keys : 1); k++)
		for (uint32_t d = 0; d < c->days; d++) {
			double *r;

			if (v[k * c->days + d] == 0)
				continue;
			r = row(a);
			if (keys)
				*r++ = k;
			r[0] = d;
			r[1] = v[k * c->days + d];
		}
}

static void count_kind(const struct columns *c, struct answer *a, uint8_t kind)
{
	double *v = columns_need(c->days, sizeof(*v));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == kind) {
			v[day_of(c, i)]++;
			a->matched++;
		}
	days_out(c, a, v, 0);
	free(v);
}

static void trend(const struct columns *c, struct answer *a)
{
	count_kind(c, a, PAGE_VIEW);
}

static void trend_rare(const struct columns *c, struct answer *a)
{
	count_kind(c, a, RARE);
}

static void revenue(const struct columns *c, struct answer *a)
{
	double *v = columns_need(c->days, sizeof(*v));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PURCHASE) {
			v[day_of(c, i)] += c->amount[i] / 4.0;
			a->matched++;
		}
	days_out(c, a, v, 0);
	free(v);
}

static void kinds(const struct columns *c, struct answer *a)
{
	double *v = columns_need((size_t)c->days * KINDS, sizeof(*v));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++)
		v[c->kind[i] * c->days + day_of(c, i)]++;
	a->matched = n;
	days_out(c, a, v, KINDS);
	free(v);
}

static void breakdown(const struct columns *c, struct answer *a)
{
	double *v = columns_need((size_t)c->days * COUNTRIES, sizeof(*v));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW && c->browser[i] == CHROME) {
			v[c->country[i] * c->days + day_of(c, i)]++;
			a->matched++;
		}
	days_out(c, a, v, COUNTRIES);
	free(v);
}

/* Days come one after the other, so the last day that counted a person is enough. */
static void users(const struct columns *c, struct answer *a)
{
	double *v = columns_need(c->days, sizeof(*v));
	uint16_t *last = columns_need(c->persons, sizeof(*last));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t day;

		if (c->kind[i] != PAGE_VIEW)
			continue;
		a->matched++;
		day = day_of(c, i);
		if (last[c->person[i]] != day + 1) {
			last[c->person[i]] = (uint16_t)(day + 1);
			v[day]++;
		}
	}
	days_out(c, a, v, 0);
	free(v);
	free(last);
}

static void users_by(const struct columns *c, struct answer *a)
{
	double *v = columns_need((size_t)c->days * COUNTRIES, sizeof(*v));
	uint16_t *last = columns_need((size_t)c->persons * COUNTRIES, sizeof(*last));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t day;
		uint16_t *seen;

		if (c->kind[i] != PAGE_VIEW)
			continue;
		a->matched++;
		day = day_of(c, i);
		seen = &last[(size_t)c->person[i] * COUNTRIES + c->country[i]];
		if (*seen != day + 1) {
			*seen = (uint16_t)(day + 1);
			v[c->country[i] * c->days + day]++;
		}
	}
	days_out(c, a, v, COUNTRIES);
	free(v);
	free(last);
}

/* ---- whole windows ---- */

static void segmentation(const struct columns *c, struct answer *a)
{
	uint8_t *seen = columns_need(c->persons, 1);
	uint32_t n = window(c), count = 0;

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW) {
			a->matched++;
			count += !seen[c->person[i]];
			seen[c->person[i]] = 1;
		}
	a->width = 1;
	*row(a) = count;
	free(seen);
}

static void paths(const struct columns *c, struct answer *a)
{
	uint32_t count[PATHS] = {0}, n = window(c);

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW) {
			count[c->path[i]]++;
			a->matched++;
		}
	a->width = 2;
	for (uint32_t p = 0; p < PATHS; p++)
		if (count[p]) {
			double *r = row(a);

			r[0] = p;
			r[1] = count[p];
		}
}

static void map(const struct columns *c, struct answer *a)
{
	uint8_t *seen = columns_need((size_t)c->persons * COUNTRIES, 1);
	uint32_t count[COUNTRIES] = {0}, n = window(c);

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *s;

		if (c->kind[i] != PAGE_VIEW)
			continue;
		a->matched++;
		s = &seen[(size_t)c->person[i] * COUNTRIES + c->country[i]];
		count[c->country[i]] += !*s;
		*s = 1;
	}
	a->width = 2;
	for (uint32_t k = 0; k < COUNTRIES; k++)
		if (count[k]) {
			double *r = row(a);

			r[0] = k;
			r[1] = count[k];
		}
	free(seen);
}

/* ---- persons with texts ---- */

static void add_text(struct answer *a, const char *text, double value)
{
	a->text = realloc(a->text, (a->rows + 1) * sizeof(*a->text));
	if (!a->text)
		columns_need(SIZE_MAX / 2, 1);
	snprintf(a->text[a->rows], sizeof(*a->text), "%s", text);
	*row(a) = value;
}

struct ranked {
	uint32_t person, n;
	char key[ID_TEXT + 1];
};

static int by_rank(const void *x, const void *y)
{
	const struct ranked *a = x, *b = y;

	if (a->n != b->n)
		return a->n > b->n ? -1 : 1;
	return strcmp(a->key, b->key);
}

/* The best of all, kept in order; keys are written for those that get in only. */
static void top_users(const struct columns *c, struct answer *a)
{
	uint32_t *count = columns_need(c->persons, sizeof(*count)), n = window(c), kept = 0;
	struct ranked top[TOP + 1];
	uint64_t others;

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW) {
			count[c->person[i]]++;
			a->matched++;
		}
	others = a->matched;
	for (uint32_t p = 0; p < c->persons; p++) {
		if (!count[p] || (kept == TOP && count[p] < top[TOP - 1].n))
			continue;
		top[kept] = (struct ranked){.person = p, .n = count[p]};
		person_key(p, top[kept].key);
		qsort(top, kept + 1, sizeof(*top), by_rank);
		kept += kept < TOP;
	}
	a->width = 1;
	for (uint32_t k = 0; k < kept; k++) {
		add_text(a, top[k].key, top[k].n);
		others -= top[k].n;
	}
	if (others)
		add_text(a, "$others", (double)others);
	free(count);
}

static int by_text(const void *x, const void *y)
{
	return strcmp(x, y);
}

static void who(const struct columns *c, struct answer *a)
{
	uint8_t *seen = columns_need(c->persons, 1);
	char(*labels)[ID_TEXT + 1] = columns_need(c->persons, sizeof(*labels));
	uint32_t n = window(c), found = 0;

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PURCHASE) {
			seen[c->person[i]] = 1;
			a->matched++;
		}
	for (uint32_t p = 0; p < c->persons; p++)
		if (seen[p])
			person_label(p, labels[found++]);
	qsort(labels, found, sizeof(*labels), by_text);
	a->width = 1;
	for (uint32_t k = 0; k < found && k < PAGE; k++)
		add_text(a, labels[k], 0);
	free(seen);
	free(labels);
}

/* ---- paths ---- */

/* For each step the start of the chain that completed it last (D75). */
static void funnel(const struct columns *c, struct answer *a)
{
	int64_t(*chain)[2] = columns_need(c->persons, sizeof(*chain));
	uint8_t *level = columns_need(c->persons, 1);
	uint32_t n = window(c), reached[4] = {0};
	double *r;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t p = c->person[i], up = 0;
		int64_t t = c->t[i];

		if (c->kind[i] == PURCHASE && chain[p][1] && t - chain[p][1] <= FUNNEL_MS) {
			up = 3;
		} else if (c->kind[i] == ADD_TO_CART && chain[p][0] &&
			   t - chain[p][0] <= FUNNEL_MS) {
			up = 2;
			chain[p][1] = chain[p][0];
		} else if (c->kind[i] == PAGE_VIEW) {
			up = 1;
			chain[p][0] = t;
		}
		a->matched += c->kind[i] == PAGE_VIEW || c->kind[i] == ADD_TO_CART ||
			      c->kind[i] == PURCHASE;
		if (up > level[p])
			level[p] = (uint8_t)up;
	}
	for (uint32_t p = 0; p < c->persons; p++)
		for (uint32_t k = 1; k <= level[p]; k++)
			reached[k]++;
	a->width = 3;
	r = row(a);
	for (int k = 0; k < 3; k++)
		r[k] = reached[k + 1];
	free(chain);
	free(level);
}

static void retention(const struct columns *c, struct answer *a)
{
	enum { WEEKS = 64 };
	uint8_t *first = columns_need(c->persons, 1);
	uint64_t *seen = columns_need(c->persons, sizeof(*seen));
	uint32_t n = window(c), cells[WEEKS][WEEKS] = {0};
	int64_t week0 = (c->start_ms / DAY_MS + FIRST_SUNDAY) / 7;

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW) {
			uint32_t p = c->person[i];
			int64_t week = (c->t[i] / DAY_MS + FIRST_SUNDAY) / 7 - week0;

			a->matched++;
			if (!seen[p])
				first[p] = (uint8_t)week;
			seen[p] |= 1ull << week;
		}
	for (uint32_t p = 0; p < c->persons; p++)
		for (uint64_t left = seen[p]; left; left &= left - 1)
			cells[first[p]][__builtin_ctzll(left)]++;
	a->width = 3;
	for (int f = 0; f < WEEKS; f++)
		for (int w = 0; w < WEEKS; w++)
			if (cells[f][w]) {
				double *r = row(a);

				r[0] = (double)(week0 + f);
				r[1] = (double)(week0 + w);
				r[2] = cells[f][w];
			}
	free(first);
	free(seen);
}

/* Links between kinds by depth, as they are before light nodes are put together. */
static void flow(const struct columns *c, struct answer *a)
{
	uint32_t *links = columns_need((size_t)HOPS * KINDS * KINDS, sizeof(*links));
	uint8_t *last = columns_need(c->sessions, 1), *depth = columns_need(c->sessions, 1);
	uint32_t n = window(c);

	memset(last, NOBODY, c->sessions);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t s = c->session[i];

		if (c->kind[i] == last[s] || depth[s] > HOPS)
			continue;
		if (depth[s])
			links[((depth[s] - 1) * KINDS + last[s]) * KINDS + c->kind[i]]++;
		depth[s]++;
		last[s] = c->kind[i];
	}
	a->matched = n;
	a->width = 4;
	for (uint32_t k = 0; k < HOPS * KINDS * KINDS; k++)
		if (links[k]) {
			double *r = row(a);

			r[0] = k / (KINDS * KINDS);
			r[1] = k / KINDS % KINDS;
			r[2] = k % KINDS;
			r[3] = links[k];
		}
	free(links);
	free(last);
	free(depth);
}

/* ---- sessions ---- */

static void duration(const struct columns *c, struct answer *a)
{
	int64_t *first = columns_need(c->sessions, sizeof(*first)),
		*last = columns_need(c->sessions, sizeof(*last));
	double *sums = columns_need((size_t)c->days * 2, sizeof(*sums));

	for (uint32_t i = 0; i < c->n; i++) {
		uint32_t s = c->session[i];

		if (!first[s])
			first[s] = c->t[i];
		last[s] = c->t[i];
	}
	for (uint32_t s = 0; s < c->sessions; s++) {
		uint64_t day = (uint64_t)(first[s] - c->start_ms) / DAY_MS;

		if (!first[s] || day >= c->days)
			continue;
		sums[day * 2]++;
		sums[day * 2 + 1] += (double)(last[s] - first[s]);
	}
	a->matched = c->n;
	a->width = 3;
	for (uint32_t d = 0; d < c->days; d++) {
		double *r = row(a);

		r[0] = d;
		r[1] = sums[d * 2];
		r[2] = sums[d * 2 + 1];
	}
	free(first);
	free(last);
	free(sums);
}

static void entry(const struct columns *c, struct answer *a)
{
	uint8_t *begun = columns_need(c->sessions, 1);
	double *v = columns_need((size_t)c->days * PATHS, sizeof(*v));
	uint32_t n = window(c);

	for (uint32_t i = 0; i < n; i++)
		if (c->kind[i] == PAGE_VIEW) {
			uint32_t s = c->session[i];

			a->matched++;
			if (begun[s])
				continue;
			begun[s] = 1;
			v[c->path[i] * c->days + day_of(c, i)]++;
		}
	days_out(c, a, v, PATHS);
	free(begun);
	free(v);
}

static const struct {
	const char *name;
	void (*answer)(const struct columns *, struct answer *);
} questions[] = {{"trend", trend}, {"trend_rare", trend_rare}, {"users", users},
	{"breakdown", breakdown}, {"users_by", users_by}, {"revenue", revenue}, {"kinds", kinds},
	{"segmentation", segmentation}, {"funnel", funnel}, {"retention", retention},
	{"flow", flow}, {"paths", paths}, {"top_users", top_users}, {"map", map},
	{"duration", duration}, {"entry", entry}, {"who", who}};

bool plain_answer(const struct columns *c, const char *question, struct answer *out)
{
	*out = (struct answer){0};
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++)
		if (strcmp(questions[i].name, question) == 0) {
			questions[i].answer(c, out);
			return true;
		}
	return false;
}

void plain_free(struct answer *a)
{
	free(a->v);
	free(a->text);
}
