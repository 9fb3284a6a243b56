/*
 * Reading and writing of numbers as text. The C library does the correctly
 * rounded conversions, but only ever sees digits and an exponent, never a
 * point: so no locale can change a result. What most inputs look like (few
 * digits, small exponents) is computed exactly without it.
 */
#include "proto/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* More digits than any double needs to be told from its neighbours (767), so
 * that the rest may be replaced by one sticky digit. */
enum { MAX_DIGITS = 800 };

/* A decimal number: the digits d (with or without a point inside), times ten
 * to the exp. */
struct decimal {
	bool negative;
	struct str whole, fraction; /* digits only */
	long exp;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static struct str take_digits(struct str *s)
{
	struct str d = {s->p, 0};

	while (d.n < s->n && is_digit(d.p[d.n]))
		d.n++;
	s->p += d.n;
	s->n -= d.n;
	return d;
}

/* The value is clamped: beyond a million nothing changes but zero stays zero
 * and all else over- or underflows, whatever the number of digits (<= 4 MiB
 * of text would need an exponent of millions, so the clamp is generous). */
static bool take_exponent(struct str *s, long *exp)
{
	bool negative;
	struct str d;
	long e = 0;

	if (!str_take(s, 'e') && !str_take(s, 'E'))
		return true;
	negative = str_take(s, '-');
	if (!negative)
		str_take(s, '+');
	d = take_digits(s);
	if (d.n == 0)
		return false;
	for (size_t i = 0; i < d.n; i++)
		if (e < 100000000)
			e = e * 10 + (d.p[i] - '0');
	*exp = negative ? -e : e;
	return true;
}

/* Takes a number off s. `strict`: RFC 8259; else the wider syntax of D70. */
static bool take_decimal(struct str *s, bool strict, struct decimal *d)
{
	*d = (struct decimal){.negative = str_take(s, '-')};
	if (!d->negative && !strict)
		str_take(s, '+');
	d->whole = take_digits(s);
	if (strict && (d->whole.n == 0 || (d->whole.n > 1 && d->whole.p[0] == '0')))
		return false;
	if (str_take(s, '.')) {
		d->fraction = take_digits(s);
		if (strict && d->fraction.n == 0)
			return false;
	}
	return d->whole.n + d->fraction.n > 0 && take_exponent(s, &d->exp);
}

/* Appends the digits of part to buf, without leading zeros of the number;
 * returns how many of its digits did not fit. */
static size_t copy_digits(char *buf, size_t *n, struct str part, bool *sticky)
{
	size_t dropped = 0;

	for (size_t i = 0; i < part.n; i++) {
		if (*n == 0 && part.p[i] == '0')
			continue;
		if (*n < MAX_DIGITS) {
			buf[(*n)++] = part.p[i];
		} else {
			dropped++;
			*sticky |= part.p[i] != '0';
		}
	}
	return dropped;
}

static double exact_power(unsigned e)
{
	static const double power[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

	return power[e];
}

/* Up to 15 digits and a power of ten up to 22 are exact doubles, so one
 * multiplication or division rounds correctly. */
static bool small_decimal(const char *digits, size_t n, long exp, double *out)
{
	uint64_t m = 0;

	if (n > 15 || exp < -22 || exp > 22)
		return false;
	for (size_t i = 0; i < n; i++)
		m = m * 10 + (uint64_t)(digits[i] - '0');
	*out = exp < 0 ? (double)m / exact_power((unsigned)-exp)
		       : (double)m * exact_power((unsigned)exp);
	return true;
}

static bool decimal_double(const struct decimal *d, double *out)
{
	char buf[MAX_DIGITS + 32];
	size_t n = 0;
	bool sticky = false;
	long exp;
	double v;

	exp = (long)copy_digits(buf, &n, d->whole, &sticky);
	exp += (long)copy_digits(buf, &n, d->fraction, &sticky);
	exp += d->exp - (long)d->fraction.n;
	if (n == 0) {
		v = 0;
	} else if (sticky || !small_decimal(buf, n, exp, &v)) {
		if (sticky) {
			buf[n++] = '1';
			exp--;
		}
		snprintf(buf + n, sizeof(buf) - n, "e%ld", exp);
		v = strtod(buf, NULL);
	}
	*out = d->negative ? -v : v;
	return isfinite(v);
}

bool number_parse(struct str s, double *out)
{
	struct decimal d;

	return take_decimal(&s, false, &d) && s.n == 0 && decimal_double(&d, out);
}

size_t number_json_span(struct str s)
{
	struct str rest = s;
	struct decimal d;

	return take_decimal(&rest, true, &d) ? s.n - rest.n : 0;
}

bool number_json_double(struct str s, double *out)
{
	struct decimal d;

	return take_decimal(&s, true, &d) && decimal_double(&d, out);
}

static bool add_digit(uint64_t *v, unsigned digit)
{
	return !__builtin_mul_overflow(*v, 10u, v) && !__builtin_add_overflow(*v, digit, v);
}

/* Digit i of the number, the point left out. */
static unsigned digit_at(const struct decimal *d, size_t i)
{
	char c = i < d->whole.n ? d->whole.p[i] : d->fraction.p[i - d->whole.n];

	return (unsigned)(c - '0');
}

bool number_json_integer(struct str s, bool *negative, uint64_t *magnitude)
{
	struct decimal d;
	size_t n, first = 0;
	uint64_t v = 0;
	long exp;

	if (!take_decimal(&s, true, &d))
		return false;
	n = d.whole.n + d.fraction.n;
	exp = d.exp - (long)d.fraction.n;
	while (n > 0 && digit_at(&d, n - 1) == 0) {
		n--;
		exp++;
	}
	while (first < n && digit_at(&d, first) == 0)
		first++;
	/* Without the zeros at its end a number with exp < 0 has a fraction,
	 * and one with more than 20 digits does not fit. */
	if (first < n && (exp < 0 || exp > 20 || n - first > 20))
		return false;
	for (size_t i = first; i < n; i++)
		if (!add_digit(&v, digit_at(&d, i)))
			return false;
	for (; first < n && exp > 0; exp--)
		if (!add_digit(&v, 0))
			return false;
	*negative = d.negative;
	*magnitude = v;
	return true;
}

/* What "%.*e" prints, taken apart: digits without a point, and the power of
 * ten of the first. */
struct shortest {
	char digits[24];
	int n, exp;
};

static double shortest_value(const struct shortest *s, bool single)
{
	char buf[48];
	double v;

	if (!single && small_decimal(s->digits, (size_t)s->n, s->exp - (s->n - 1), &v))
		return v;
	snprintf(buf, sizeof(buf), "%.*se%d", s->n, s->digits, s->exp - (s->n - 1));
	return single ? (double)strtof(buf, NULL) : strtod(buf, NULL);
}

static void round_to(double v, int n, struct shortest *s)
{
	char buf[48];
	const char *p = buf;

	snprintf(buf, sizeof(buf), "%.*e", n - 1, v);
	for (s->n = 0; *p && *p != 'e'; p++)
		if (is_digit(*p)) /* whatever the locale's point is, skip it */
			s->digits[s->n++] = *p;
	s->digits[s->n] = 0;
	s->exp = (int)strtol(p + 1, NULL, 10);
}

/* The next decimal of as many digits, away from zero. */
static void step_up(struct shortest *s)
{
	int i = s->n - 1;

	while (i >= 0 && s->digits[i] == '9')
		s->digits[i--] = '0';
	if (i >= 0) {
		s->digits[i]++;
		return;
	}
	memmove(s->digits + 1, s->digits, (size_t)s->n - 1);
	s->digits[0] = '1';
	s->exp++;
}

/* The same from all digits that a double can have, which cost as much as fewer. False when the
 * digits left out are a half, and so maybe a little less. */
static bool shorten(const struct shortest *all, int n, struct shortest *s)
{
	*s = *all;
	s->n = n;
	s->digits[n] = 0;
	if (all->digits[n] < '5')
		return true;
	if (all->digits[n] == '5' &&
		strspn(all->digits + n + 1, "0") + (size_t)n + 1 == (size_t)all->n)
		return false;
	step_up(s);
	return true;
}

/* The fewest digits that read back as v (v > 0). At a power of two the doubles
 * below are closer than those above: there the nearest decimal may miss v while
 * its upper neighbour does not. */
static void find_shortest(double v, bool single, struct shortest *s)
{
	int most = single ? FLT_DECIMAL_DIG : DBL_DECIMAL_DIG;
	bool subnormal = single ? v < (double)FLT_MIN : v < DBL_MIN;
	/* Every decimal of FLT_DIG (DBL_DIG) digits survives the way to a
	 * normal number and back, so fewer digits need not be tried. */
	int n = subnormal ? 1 : single ? FLT_DIG : DBL_DIG;
	struct shortest all;
	int power;

	round_to(v, most, &all);
	for (;; n++) {
		if (n == most)
			*s = all;
		else if (!shorten(&all, n, s))
			round_to(v, n, s);
		if (n >= most || shortest_value(s, single) == v)
			break;
		if (frexp(v, &power) == 0.5) {
			step_up(s);
			if (shortest_value(s, single) == v)
				break;
		}
	}
	while (s->n > 1 && s->digits[s->n - 1] == '0')
		s->n--;
}

static size_t put_zeros(char *out, int n)
{
	for (int i = 0; i < n; i++)
		out[i] = '0';
	return n > 0 ? (size_t)n : 0;
}

static size_t put(char *out, const char *digits, int n)
{
	memcpy(out, digits, (size_t)n);
	return (size_t)n;
}

/* D70: plain from 1e-6 to below 1e21, an exponent elsewhere. */
static size_t layout(const struct shortest *s, char *out)
{
	size_t n = 0;

	if (s->exp < -6 || s->exp >= 21) {
		out[n++] = s->digits[0];
		if (s->n > 1) {
			out[n++] = '.';
			n += put(out + n, s->digits + 1, s->n - 1);
		}
		return n + (size_t)snprintf(out + n, NUMBER_TEXT - 1 - n, "e%d", s->exp);
	}
	if (s->exp < 0) {
		n += put(out, "0.", 2);
		n += put_zeros(out + n, -s->exp - 1);
		n += put(out + n, s->digits, s->n);
	} else if (s->n <= s->exp + 1) {
		n += put(out, s->digits, s->n);
		n += put_zeros(out + n, s->exp + 1 - s->n);
	} else {
		n += put(out, s->digits, s->exp + 1);
		out[n++] = '.';
		n += put(out + n, s->digits + s->exp + 1, s->n - s->exp - 1);
	}
	out[n] = 0;
	return n;
}

static size_t integer_text(int64_t v, char out[NUMBER_TEXT])
{
	uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	char digits[20];
	size_t n = 0, at = 0;

	do
		digits[n++] = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (v < 0)
		out[at++] = '-';
	while (n > 0)
		out[at++] = digits[--n];
	out[at] = 0;
	return at;
}

static size_t text(double v, bool single, char out[NUMBER_TEXT])
{
	struct shortest s;
	size_t n = 0;

	if (!isfinite(v))
		return (size_t)snprintf(out, NUMBER_TEXT, "%s",
			isnan(v) ? "NaN"
			: v < 0  ? "-Infinity"
				 : "Infinity");
	/* Most numbers that people store are small integers. */
	if (fabs(v) < (single ? 1e6 : 1e15) && v == (double)(int64_t)v)
		return integer_text((int64_t)v, out);
	if (v < 0)
		out[n++] = '-';
	find_shortest(fabs(v), single, &s);
	return n + layout(&s, out + n);
}

size_t number_text(double v, char out[NUMBER_TEXT])
{
	return text(v, false, out);
}

size_t number_text_float(float v, char out[NUMBER_TEXT])
{
	/* Beyond 2^24 a float's neighbours are integers apart, so its shortest
	 * text has zeros where the exact value has digits. */
	return text((double)v, true, out);
}
