/*
 * TZif reader and POSIX TZ footer; see tz.h. Files come from the operator's
 * system, names from clients: a name is checked before it becomes a path, and
 * every count in a file is held against its size.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "proto/wkt.h"
#include "worker/insights/tz.h"

enum { FILE_MAX = 64 * 1024, NAME_MAX_BYTES = 64 };
static const int64_t DAY = 86400, FOREVER = INT64_MAX / 4;

/* One end of daylight saving time in a footer: Mm.w.d, Jn or n. */
struct rule {
	char form; /* 'M', 'J', or '0' */
	int month, week, day;
	int64_t time; /* seconds after local midnight */
};

struct tz {
	int64_t n;
	const int64_t *when;   /* transitions, ascending */
	const int64_t *offset; /* from each on */
	int64_t first;         /* offset before the first */
	bool has_footer, has_dst;
	int64_t std, dst;
	struct rule start, end;
};

/* No dot is allowed: no name leads out of the directory. */
static bool name_ok(struct str name)
{
	if (name.n == 0 || name.n > NAME_MAX_BYTES || name.p[0] == '/')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    c == '_' || c == '+' || c == '-' || c == '/'))
			return false;
	}
	return true;
}

static struct str read_file(struct str name, struct arena *a)
{
	char path[128], *p = arena_alloc(a, FILE_MAX);
	size_t n = 0;
	ssize_t got = 0;
	int fd;

	snprintf(path, sizeof(path), "/usr/share/zoneinfo/%.*s", STR_ARG(name));
	fd = p ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return (struct str){NULL, 0};
	while (n < FILE_MAX && (got = read(fd, p + n, FILE_MAX - n)) > 0)
		n += (size_t)got;
	close(fd);
	return (struct str){p, got < 0 ? 0 : n};
}

static int64_t big(const char *p, int n)
{
	uint64_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | (uint8_t)p[i];
	return n == 4 ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v;
}

/* ---- the footer, for example EST5EDT,M3.2.0,M11.1.0 ---- */

/* Six digits at most, so that nothing overflows before it is compared. */
static bool take_number(struct str *s, int64_t max, int64_t *out)
{
	size_t n = 0;

	for (*out = 0; n < s->n && n < 6 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
		*out = *out * 10 + (s->p[n] - '0');
	s->p += n;
	s->n -= n;
	return n > 0 && *out <= max;
}

/* [+-]hh[:mm[:ss]]; hours up to 167 as RFC 9636 allows. */
static bool take_time(struct str *s, int64_t *out)
{
	bool minus = str_take(s, '-');
	int64_t part;

	if (!minus)
		str_take(s, '+');
	if (!take_number(s, 167, out))
		return false;
	*out *= 3600;
	for (int64_t unit = 60; unit >= 1 && str_take(s, ':'); unit /= 60) {
		if (!take_number(s, 59, &part))
			return false;
		*out += part * unit;
	}
	*out = minus ? -*out : *out;
	return true;
}

static bool take_name(struct str *s)
{
	size_t n = 0;

	if (str_take(s, '<')) {
		while (n < s->n && s->p[n] != '>')
			n++;
		if (n == s->n)
			return false;
		n++;
	} else {
		while (n < s->n &&
			((s->p[n] >= 'A' && s->p[n] <= 'Z') || (s->p[n] >= 'a' && s->p[n] <= 'z')))
			n++;
		if (n < 3)
			return false;
	}
	s->p += n;
	s->n -= n;
	return true;
}

static bool take_rule(struct str *s, struct rule *r)
{
	int64_t a, b = 0, c = 0;

	*r = (struct rule){.form = '0', .time = 7200};
	if (!str_take(s, ','))
		return false;
	if (str_take(s, 'M')) {
		r->form = 'M';
		if (!take_number(s, 12, &a) || !str_take(s, '.') || !take_number(s, 5, &b) ||
			!str_take(s, '.') || !take_number(s, 6, &c) || a < 1 || b < 1)
			return false;
		r->month = (int)a;
		r->week = (int)b;
		r->day = (int)c;
	} else {
		if (str_take(s, 'J'))
			r->form = 'J';
		if (!take_number(s, 365, &a) || (r->form == 'J' && a < 1))
			return false;
		r->day = (int)a;
	}
	return !str_take(s, '/') || take_time(s, &r->time);
}

/* POSIX counts hours to the west: signs are turned. Summer time without an offset is one hour
 * ahead. */
static bool parse_footer(struct tz *z, struct str s)
{
	int64_t west;

	if (s.n == 0)
		return true; /* no rule: the last offset holds for ever */
	if (!take_name(&s) || !take_time(&s, &west))
		return false;
	z->has_footer = true;
	z->std = -west;
	if (s.n == 0)
		return true;
	z->has_dst = true;
	if (!take_name(&s))
		return false;
	z->dst = z->std + 3600;
	if (s.n && s.p[0] != ',') {
		if (!take_time(&s, &west))
			return false;
		z->dst = -west;
	}
	return take_rule(&s, &z->start) && take_rule(&s, &z->end) && s.n == 0;
}

/* ---- the file ---- */

/* Counts of a TZif header: isut, isstd, leap, time, type, char. */
static bool read_counts(struct str file, size_t at, int64_t counts[6])
{
	if (file.n < at + 44 || memcmp(file.p + at, "TZif", 4) != 0)
		return false;
	for (size_t i = 0; i < 6; i++) {
		counts[i] = big(file.p + at + 20 + 4 * i, 4);
		if (counts[i] < 0 || counts[i] > FILE_MAX)
			return false;
	}
	return counts[4] > 0;
}

static size_t body_size(const int64_t c[6], size_t time_size)
{
	return (size_t)c[3] * (time_size + 1) + (size_t)c[4] * 6 + (size_t)c[5] +
	       (size_t)c[2] * (time_size + 4) + (size_t)c[1] + (size_t)c[0];
}

/* They must ascend, for tz_at() searches by halves. */
static bool read_transitions(struct tz *z, const char *p, const int64_t c[6], struct arena *a)
{
	const char *index = p + c[3] * 8, *types = index + c[3];
	int64_t *when = arena_array(a, (size_t)c[3] + 1, sizeof(*when));
	int64_t *offset = arena_array(a, (size_t)c[3] + 1, sizeof(*offset));

	if (!when || !offset)
		return false;
	z->n = c[3];
	z->when = when;
	z->offset = offset;
	/* type 0 holds before the first transition (RFC 9636) */
	z->first = big(types, 4);
	for (int64_t i = 0; i < c[3]; i++) {
		uint8_t type = (uint8_t)index[i];

		when[i] = big(p + 8 * i, 8);
		if (type >= c[4] || (i > 0 && when[i] <= when[i - 1]))
			return false;
		offset[i] = big(types + 6 * type, 4);
		if (offset[i] < -DAY * 2 || offset[i] > DAY * 2)
			return false;
	}
	return true;
}

struct tz *tz_parse(struct str file, struct arena *a)
{
	struct tz *z = arena_zalloc(a, sizeof(*z));
	int64_t counts[6];
	struct str footer;
	size_t at;

	/* version 1 data is 32-bit: skip it, the 64-bit block follows */
	if (!z || !read_counts(file, 0, counts) || file.p[4] < '2')
		return NULL;
	at = 44 + body_size(counts, 4);
	if (!read_counts(file, at, counts))
		return NULL;
	at += 44;
	if (file.n - at < body_size(counts, 8) || !read_transitions(z, file.p + at, counts, a))
		return NULL;
	at += body_size(counts, 8);
	footer = (struct str){file.p + at, file.n - at};
	if (!str_take(&footer, '\n') || footer.n == 0 || footer.p[footer.n - 1] != '\n')
		return NULL;
	footer.n--;
	return parse_footer(z, footer) ? z : NULL;
}

/* All zeros is UTC: no transitions, no rule, offset 0. */
struct tz *tz_open(struct str name, struct arena *a)
{
	struct str file;

	if (name.n == 0 || str_eq(name, STR("UTC")))
		return arena_zalloc(a, sizeof(struct tz));
	if (!name_ok(name))
		return NULL;
	file = read_file(name, a);
	return file.n ? tz_parse(file, a) : NULL;
}

/* ---- looking up ---- */

static bool leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Local midnight of the rule's day, in days since the epoch. */
static int64_t rule_day(const struct rule *r, int64_t year)
{
	int64_t first = wkt_days(year, r->month ? (unsigned)r->month : 1, 1), day;
	int next = r->month % 12 + 1;
	int64_t end = wkt_days(next == 1 ? year + 1 : year, (unsigned)next, 1);

	if (r->form == '0')
		return first + r->day;
	if (r->form == 'J') /* 29 February is never counted */
		return first + r->day - 1 + (leap(year) && r->day >= 60);
	/* 1970-01-01 was a Thursday */
	day = first + (r->day - ((first + 4) % 7 + 7) % 7 + 7) % 7 + 7 * (r->week - 1);
	while (day >= end)
		day -= 7;
	return day;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The span of the footer's rule that holds `when`, not beginning before `low`. A rule's time is
 * told by the clock that holds until then: the start in standard time, the end in summer time.
 * The year is a guess by the mean length of one, hence its neighbours, too. */
static struct tz_span footer_at(const struct tz *z, int64_t when, int64_t low)
{
	struct tz_span span = {low, FOREVER, z->std};
	int64_t year = 1970 + floor_div(when, 31556952);

	if (!z->has_dst)
		return span;
	for (int64_t y = year - 1; y <= year + 1; y++) {
		int64_t edge[2] = {rule_day(&z->start, y) * DAY + z->start.time - z->std,
			rule_day(&z->end, y) * DAY + z->end.time - z->dst};

		for (int i = 0; i < 2; i++) {
			if (edge[i] <= when && edge[i] >= span.begin) {
				span.begin = edge[i];
				span.offset = i == 0 ? z->dst : z->std;
			}
			if (edge[i] > when && edge[i] < span.end)
				span.end = edge[i];
		}
	}
	/* right after the last transition of the file no edge may have passed yet */
	if (span.begin == low && z->n > 0)
		span.offset = z->offset[z->n - 1];
	return span;
}

struct tz_span tz_at(const struct tz *z, int64_t when)
{
	int64_t lo = 0, hi = z->n;

	while (lo < hi) {
		int64_t mid = lo + (hi - lo) / 2;

		if (z->when[mid] <= when)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == z->n && z->has_footer)
		return footer_at(z, when, z->n ? z->when[z->n - 1] : -FOREVER);
	return (struct tz_span){lo > 0 ? z->when[lo - 1] : -FOREVER,
		lo < z->n ? z->when[lo] : FOREVER, lo > 0 ? z->offset[lo - 1] : z->first};
}

int64_t tz_day_start(const struct tz *z, int64_t day)
{
	/* no offset is beyond 26 hours, so the day cannot begin earlier */
	int64_t at = day * DAY - 26 * 3600;

	for (;;) {
		struct tz_span span = tz_at(z, at);
		int64_t start = day * DAY - span.offset;

		if (start < at)
			start = at;
		if (start < span.end)
			return start;
		at = span.end;
	}
}
