/*
 * Timestamps, durations and field masks as text. Strict readers: what they
 * refuse is what the reference implementations of proto3 JSON refuse, so a
 * client finds out here and not after a switch of servers.
 */
#include "proto/wkt.h"

#include <stdio.h>

/* The calendar is counted in eras of 400 years that start on 1 March of year 0,
 * so that leap days come last in their year. 146097 days are 400 years, 719468 those until 1970;
 * 153 are five months from March on, and again from August. */
int64_t wkt_days(int64_t year, unsigned month, unsigned day)
{
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + (int64_t)doe - 719468;
}

void wkt_date(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*day = doy - (153 * mp + 2) / 5 + 1;
	*month = mp < 10 ? mp + 3 : mp - 9;
	*year = (int64_t)yoe + era * 400 + (*month <= 2);
}

int64_t wkt_to_ms(int64_t seconds, int32_t nanos)
{
	const int64_t limit = WKT_MAX_SECONDS + 1;
	int64_t s = seconds > limit ? limit : seconds < -limit ? -limit : seconds;

	return s * 1000 + nanos / 1000000 - (nanos % 1000000 < 0);
}

void wkt_of_ms(int64_t ms, int64_t *seconds, int32_t *nanos)
{
	int64_t rest = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;

	*seconds = (ms - rest) / 1000;
	*nanos = (int32_t)rest * 1000000;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* Exactly n digits off the front. */
static bool take_fixed(struct str *s, size_t n, unsigned *out)
{
	unsigned v = 0;

	if (s->n < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s->p[i] - '0');
	}
	s->p += n;
	s->n -= n;
	*out = v;
	return true;
}

/* ".123" as nanoseconds; nothing there is 0. */
static bool take_nanos(struct str *s, int32_t *nanos)
{
	int32_t v = 0;
	size_t n = 0;

	*nanos = 0;
	if (!str_take(s, '.'))
		return true;
	for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++) {
		if (n == 9)
			return false;
		v = v * 10 + (s->p[n] - '0');
	}
	if (n == 0)
		return false;
	s->p += n;
	s->n -= n;
	for (; n < 9; n++)
		v *= 10;
	*nanos = v;
	return true;
}

static bool take_offset(struct str *s, int64_t *seconds)
{
	unsigned h, m;
	bool west;

	*seconds = 0;
	if (str_take(s, 'Z'))
		return true;
	west = str_take(s, '-');
	if (!west && !str_take(s, '+'))
		return false;
	if (!take_fixed(s, 2, &h) || !str_take(s, ':') || !take_fixed(s, 2, &m) || h > 23 || m > 59)
		return false;
	*seconds = (int64_t)h * 3600 + (int64_t)m * 60;
	if (west)
		*seconds = -*seconds;
	return true;
}

bool wkt_timestamp_parse(struct str s, int64_t *seconds, int32_t *nanos)
{
	unsigned y, mo, d, h, mi, sec;
	int64_t offset, t;

	if (!take_fixed(&s, 4, &y) || !str_take(&s, '-') || !take_fixed(&s, 2, &mo) ||
		!str_take(&s, '-') || !take_fixed(&s, 2, &d) || !str_take(&s, 'T'))
		return false;
	if (!take_fixed(&s, 2, &h) || !str_take(&s, ':') || !take_fixed(&s, 2, &mi) ||
		!str_take(&s, ':') || !take_fixed(&s, 2, &sec) || !take_nanos(&s, nanos) ||
		!take_offset(&s, &offset))
		return false;
	if (s.n > 0 || mo < 1 || mo > 12 || d < 1 || d > days_in_month(y, mo))
		return false;
	/* no leap second: a Timestamp counts days of 86400 s */
	if (h > 23 || mi > 59 || sec > 59)
		return false;
	t = wkt_days(y, mo, d) * 86400 + (int64_t)h * 3600 + (int64_t)mi * 60 + sec - offset;
	*seconds = t;
	/* Asked last: an offset may lead out of the range, or into it. */
	return t >= WKT_MIN_SECONDS && t <= WKT_MAX_SECONDS;
}

/* The last n digits. Answers hold thousands of times, for which printf() takes ten times as
 * long. */
static size_t put_digits(char *out, unsigned v, size_t n)
{
	for (size_t i = n; i > 0; i--, v /= 10)
		out[i - 1] = (char)('0' + v % 10);
	return n;
}

/* The same after a mark. */
static size_t put_fixed(char *out, char mark, unsigned v, size_t n)
{
	out[0] = mark;
	return 1 + put_digits(out + 1, v, n);
}

/* ".5" with 3, 6 or 9 digits, nothing for 0. */
static size_t put_nanos(int32_t nanos, char *out)
{
	unsigned v = (unsigned)nanos;

	if (nanos == 0)
		return 0;
	if (v % 1000000 == 0)
		return put_fixed(out, '.', v / 1000000, 3);
	if (v % 1000 == 0)
		return put_fixed(out, '.', v / 1000, 6);
	return put_fixed(out, '.', v, 9);
}

bool wkt_timestamp_ok(int64_t seconds, int32_t nanos)
{
	return seconds >= WKT_MIN_SECONDS && seconds <= WKT_MAX_SECONDS && nanos >= 0 &&
	       nanos <= 999999999;
}

size_t wkt_timestamp_text(int64_t seconds, int32_t nanos, char out[WKT_TEXT])
{
	int64_t days, year;
	unsigned month, day, rest;
	size_t n;

	if (!wkt_timestamp_ok(seconds, nanos))
		return 0;
	/* From the first second there is, a midnight, because C rounds towards zero. */
	days = (seconds - WKT_MIN_SECONDS) / 86400 + WKT_MIN_SECONDS / 86400;
	rest = (unsigned)((seconds - WKT_MIN_SECONDS) % 86400);
	wkt_date(days, &year, &month, &day);
	n = put_digits(out, (unsigned)year, 4);
	n += put_fixed(out + n, '-', month, 2);
	n += put_fixed(out + n, '-', day, 2);
	n += put_fixed(out + n, 'T', rest / 3600, 2);
	n += put_fixed(out + n, ':', rest / 60 % 60, 2);
	n += put_fixed(out + n, ':', rest % 60, 2);
	n += put_nanos(nanos, out + n);
	out[n++] = 'Z';
	out[n] = 0;
	return n;
}

/* Both parts get the sign: wkt_duration_ok() wants them to agree. */
bool wkt_duration_parse(struct str s, int64_t *seconds, int32_t *nanos)
{
	bool negative = str_take(&s, '-');
	int64_t v = 0;
	size_t n = 0;

	for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++) {
		v = v * 10 + (s.p[n] - '0');
		if (v > WKT_MAX_DURATION)
			return false;
	}
	if (n == 0)
		return false;
	s.p += n;
	s.n -= n;
	if (!take_nanos(&s, nanos) || !str_take(&s, 's') || s.n > 0)
		return false;
	if (v == WKT_MAX_DURATION && *nanos > 0)
		return false;
	*seconds = negative ? -v : v;
	*nanos = negative ? -*nanos : *nanos;
	return true;
}

bool wkt_duration_ok(int64_t seconds, int32_t nanos)
{
	return seconds >= -WKT_MAX_DURATION && seconds <= WKT_MAX_DURATION && nanos >= -999999999 &&
	       nanos <= 999999999 && !(seconds < 0 && nanos > 0) && !(seconds > 0 && nanos < 0);
}

size_t wkt_duration_text(int64_t seconds, int32_t nanos, char out[WKT_TEXT])
{
	bool negative = seconds < 0 || nanos < 0;
	size_t n = 0;

	if (!wkt_duration_ok(seconds, nanos))
		return 0;
	if (negative)
		out[n++] = '-';
	n += (size_t)snprintf(
		out + n, WKT_TEXT - n, "%lld", (long long)(seconds < 0 ? -seconds : seconds));
	n += put_nanos(nanos < 0 ? -nanos : nanos, out + n);
	out[n++] = 's';
	out[n] = 0;
	return n;
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_path_char(char c)
{
	return is_lower(c) || (c >= '0' && c <= '9') || c == '.';
}

bool wkt_path_to_snake(struct str camel, struct buf *out)
{
	for (size_t i = 0; i < camel.n; i++) {
		char c = camel.p[i];

		if (is_upper(c)) {
			buf_c(out, '_');
			buf_c(out, (char)(c + ('a' - 'A')));
		} else if (is_path_char(c)) {
			buf_c(out, c);
		} else {
			return false;
		}
	}
	return camel.n > 0;
}

bool wkt_path_to_camel(struct str snake, struct buf *out)
{
	for (size_t i = 0; i < snake.n; i++) {
		char c = snake.p[i];

		if (c == '_' && i + 1 < snake.n && is_lower(snake.p[i + 1]))
			buf_c(out, (char)(snake.p[++i] - ('a' - 'A')));
		else if (is_path_char(c))
			buf_c(out, c);
		else
			return false;
	}
	return snake.n > 0;
}
