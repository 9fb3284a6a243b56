/*
 * Comparing, searching and parsing outside text. Nothing here allocates or
 * depends on the locale: bytes are bytes, and letters are ASCII.
 */
#include "shm/base/str.h"

static const char hex_digits[] = "0123456789abcdef";

static unsigned char ascii_lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int diff = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return diff ? diff : (a.n > b.n) - (a.n < b.n);
}

bool str_case_eq(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower((unsigned char)a.p[i]) != ascii_lower((unsigned char)b.p[i]))
			return false;
	return true;
}

bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

long str_find(struct str s, char c)
{
	const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

struct str str_trim(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool str_u64(struct str s, uint64_t *out)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

		if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) ||
			__builtin_add_overflow(value, digit, &value))
			return false;
	}
	*out = value;
	return true;
}

bool str_i64(struct str s, int64_t *out)
{
	bool minus = s.n > 0 && s.p[0] == '-';
	uint64_t value;

	if (s.n > 0 && (minus || s.p[0] == '+')) {
		s.p++;
		s.n--;
	}
	if (!str_u64(s, &value) || value > (uint64_t)INT64_MAX + (minus ? 1 : 0))
		return false;
	/* Negated as unsigned, because -INT64_MIN does not exist. */
	*out = (int64_t)(minus ? 0 - value : value);
	return true;
}

/*
 * Length of the well-formed sequence at p, 0 when there is none. The bounds of
 * the second byte are what excludes overlong forms, surrogates and > U+10FFFF.
 */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool str_utf8_ok(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, step;

	while (i < s.n) {
		uint64_t word;

		/* Nearly all text is ASCII: eight bytes at a time. */
		if (s.n - i >= sizeof(word)) {
			memcpy(&word, p + i, sizeof(word));
			if (!(word & 0x8080808080808080u)) {
				i += sizeof(word);
				continue;
			}
		}
		step = utf8_sequence(p + i, s.n - i);
		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

size_t str_utf8_len(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

bool str_secret_eq(struct str a, struct str b)
{
	/* volatile: or the compiler may turn the loop into an early exit. */
	volatile unsigned char diff = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		diff = (unsigned char)(diff | (a.p[i] ^ b.p[i]));
	return diff == 0;
}

void str_hex(const void *bytes, size_t n, char *out)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		*out++ = hex_digits[p[i] >> 4];
		*out++ = hex_digits[p[i] & 15];
	}
	*out = '\0';
}

/* The value of a hex digit and 1; 0 for every other byte. */
static const uint8_t hex_value[256] = {['0'] = 1,
	['1'] = 2,
	['2'] = 3,
	['3'] = 4,
	['4'] = 5,
	['5'] = 6,
	['6'] = 7,
	['7'] = 8,
	['8'] = 9,
	['9'] = 10,
	['a'] = 11,
	['b'] = 12,
	['c'] = 13,
	['d'] = 14,
	['e'] = 15,
	['f'] = 16,
	['A'] = 11,
	['B'] = 12,
	['C'] = 13,
	['D'] = 14,
	['E'] = 15,
	['F'] = 16};

int str_hex_digit(char c)
{
	return hex_value[(uint8_t)c] - 1;
}

/* Two digits as a byte. *seen collects what they were, so that one test at the end tells
 * whether one of many was no digit: it is above 15 then. */
static uint8_t hex_byte(const char *p, uint8_t *seen)
{
	uint8_t high = (uint8_t)(hex_value[(uint8_t)p[0]] - 1);
	uint8_t low = (uint8_t)(hex_value[(uint8_t)p[1]] - 1);

	*seen |= high | low;
	return (uint8_t)(high << 4 | (low & 15));
}

bool str_unhex(struct str s, void *out, size_t n)
{
	uint8_t *p = out, seen = 0;

	/* Not s.n != 2 * n, which could overflow. */
	if (s.n % 2 != 0 || s.n / 2 != n)
		return false;
	for (size_t i = 0; i < n; i++)
		p[i] = hex_byte(s.p + 2 * i, &seen);
	return seen <= 15;
}

/* Bytes of a UUID between its dashes. */
static const unsigned char uuid_groups[] = {4, 2, 2, 2, 6};

bool str_uuid(struct str s, uint8_t out[16])
{
	/* where the digits of each byte are */
	static const uint8_t at[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
	uint8_t seen = 0;

	if (s.n != 36 || s.p[8] != '-' || s.p[13] != '-' || s.p[18] != '-' || s.p[23] != '-')
		return false;
	for (size_t i = 0; i < 16; i++)
		out[i] = hex_byte(s.p + at[i], &seen);
	return seen <= 15;
}

void str_uuid_text(const uint8_t uuid[16], char out[37])
{
	for (size_t g = 0; g < sizeof(uuid_groups); g++) {
		if (g > 0)
			*out++ = '-';
		str_hex(uuid, uuid_groups[g], out);
		out += 2 * uuid_groups[g];
		uuid += uuid_groups[g];
	}
}
