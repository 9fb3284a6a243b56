/*
 * Base64 in both alphabets. Decoding is lenient about alphabet and padding, as
 * proto3 JSON and the Connect protocol ask for, and strict about all else.
 */
#include "proto/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Padding is only right where it fills a group of four. */
static bool strip_padding(struct str *s)
{
	size_t pad = 0;

	while (pad < 2 && s->n > 0 && s->p[s->n - 1] == '=') {
		s->n--;
		pad++;
	}
	return pad == 0 || (s->n + pad) % 4 == 0;
}

/* Bits left over in the last character are not looked at, so one value has several texts:
 * compare bytes, never texts. */
bool base64_decode(struct str s, uint8_t *out, size_t *n_out)
{
	uint32_t acc = 0;
	size_t n = 0;

	if (!strip_padding(&s) || s.n % 4 == 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int v = sextet(s.p[i]);

		if (v < 0)
			return false;
		acc = acc << 6 | (uint32_t)v;
		if (i % 4 == 3) {
			out[n++] = (uint8_t)(acc >> 16);
			out[n++] = (uint8_t)(acc >> 8);
			out[n++] = (uint8_t)acc;
		}
	}
	if (s.n % 4 == 2) {
		out[n++] = (uint8_t)(acc >> 4);
	} else if (s.n % 4 == 3) {
		out[n++] = (uint8_t)(acc >> 10);
		out[n++] = (uint8_t)(acc >> 2);
	}
	*n_out = n;
	return true;
}

static size_t encode(const uint8_t *p, size_t n, const char *alphabet, bool pad, char *out)
{
	size_t o = 0;

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)p[i] << 16;

		v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= left > 2 ? p[i + 2] : 0;
		out[o++] = alphabet[v >> 18];
		out[o++] = alphabet[v >> 12 & 63];
		if (left > 1 || pad)
			out[o++] = left > 1 ? alphabet[v >> 6 & 63] : '=';
		if (left > 2 || pad)
			out[o++] = left > 2 ? alphabet[v & 63] : '=';
	}
	out[o] = 0;
	return o;
}

size_t base64_encode(const void *p, size_t n, bool pad, char *out)
{
	return encode(p, n, standard, pad, out);
}

size_t base64_encode_url(const void *p, size_t n, char *out)
{
	return encode(p, n, url_safe, false, out);
}
