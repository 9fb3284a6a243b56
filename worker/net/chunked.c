/*
 * Chunked bodies. Our own decoder rather than llhttp's, because versions of
 * llhttp differ in what they let through here (bare LF, endless extensions),
 * and a length that two programs read differently is a smuggled request.
 * Extensions and trailers are checked for their characters, bounded and
 * ignored; a trailer never becomes a header.
 */
#include "worker/net/chunked.h"

enum {
	CHUNKED_MAX_DIGITS = 15, /* cannot overflow 64 bits */
	/* Over the whole body: per chunk, extensions could be many times the data. */
	CHUNKED_MAX_EXTRA = 4096
};

enum state {
	CH_SIZE,
	CH_EXT,
	CH_SIZE_LF,
	CH_DATA,
	CH_DATA_CR,
	CH_DATA_LF,
	CH_FIRST, /* first byte of a trailer line */
	CH_NAME,
	CH_VALUE,
	CH_VALUE_LF,
	CH_END_LF,
	CH_DONE,
	CH_BAD
};

static bool is_text(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_name(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static enum state size_byte(struct chunked *ch, unsigned char c)
{
	int v = str_hex_digit((char)c);

	if (v >= 0 && ch->digits < CHUNKED_MAX_DIGITS) {
		ch->digits++;
		ch->left = ch->left << 4 | (uint64_t)v;
		return CH_SIZE;
	}
	if (ch->digits == 0)
		return CH_BAD;
	if (c == '\r')
		return CH_SIZE_LF;
	/* No white space before the semicolon: RFC 9112 7.1.1 calls it bad. */
	return c == ';' ? CH_EXT : CH_BAD;
}

static enum state extra_byte(struct chunked *ch, enum state s, unsigned char c)
{
	if (++ch->extra > CHUNKED_MAX_EXTRA)
		return CH_BAD;
	if (s == CH_FIRST)
		return is_name(c) ? CH_NAME : CH_BAD;
	if (s == CH_NAME)
		return c == ':' ? CH_VALUE : is_name(c) ? CH_NAME : CH_BAD;
	return is_text(c) ? s : CH_BAD;
}

static enum state framing_byte(struct chunked *ch, enum state s, unsigned char c)
{
	switch (s) {
	case CH_SIZE:
		return size_byte(ch, c);
	case CH_EXT:
		return c == '\r' ? CH_SIZE_LF : extra_byte(ch, s, c);
	case CH_SIZE_LF:
		return c != '\n' ? CH_BAD : ch->left ? CH_DATA : CH_FIRST;
	case CH_DATA_CR:
		return c == '\r' ? CH_DATA_LF : CH_BAD;
	case CH_DATA_LF:
		ch->digits = 0;
		return c == '\n' ? CH_SIZE : CH_BAD;
	case CH_FIRST:
		return c == '\r' ? CH_END_LF : extra_byte(ch, s, c);
	case CH_NAME:
		return extra_byte(ch, s, c);
	case CH_VALUE:
		return c == '\r' ? CH_VALUE_LF : extra_byte(ch, s, c);
	case CH_VALUE_LF:
		return c == '\n' ? CH_FIRST : CH_BAD;
	case CH_END_LF:
		return c == '\n' ? CH_DONE : CH_BAD;
	case CH_DATA:
	case CH_DONE:
	case CH_BAD:
		break;
	}
	return CH_BAD;
}

static void take(struct str *in, size_t n)
{
	in->p += n;
	in->n -= n;
}

enum chunked_progress chunked_next(struct chunked *ch, struct str *in, struct str *data)
{
	while (in->n > 0 && ch->state != CH_DONE && ch->state != CH_BAD) {
		if (ch->state == CH_DATA) {
			size_t n = in->n < ch->left ? in->n : (size_t)ch->left;

			*data = (struct str){in->p, n};
			take(in, n);
			ch->left -= n;
			if (ch->left == 0)
				ch->state = CH_DATA_CR;
			return CHUNKED_DATA;
		}
		ch->state = (uint8_t)framing_byte(ch, ch->state, (unsigned char)in->p[0]);
		take(in, 1);
	}
	if (ch->state == CH_BAD)
		return CHUNKED_BAD;
	return ch->state == CH_DONE ? CHUNKED_DONE : CHUNKED_MORE;
}
