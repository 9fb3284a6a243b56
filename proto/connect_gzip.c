/*
 * gzip bodies. Inflating is bounded by what comes out, never by what a header
 * claims, and its memory grows with what has come out so far: a bomb costs its
 * limit at most, and an honest small body costs little.
 */
#include "proto/connect.h"

#include <limits.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16 /* zlib: gzip framing only */, FIRST_ROOM = 4096, LEVEL = 4 };

/* Room to inflate into: at least doubled, up to one byte more than the limit,
 * so that "exactly the limit" and "more" can be told apart. */
static bool make_room(struct buf *b, size_t limit, size_t hint)
{
	size_t want = b->cap > FIRST_ROOM ? b->cap : hint;

	if (b->n < b->cap)
		return true;
	if (want > limit + 1 - b->n)
		want = limit + 1 - b->n;
	return buf_room(b, want);
}

static void give_room(z_stream *z, struct buf *b, size_t limit)
{
	size_t room = b->cap - b->n;

	if (room > limit + 1 - b->n)
		room = limit + 1 - b->n;
	z->next_out = (Bytef *)b->p + b->n;
	z->avail_out = room > UINT_MAX ? UINT_MAX : (uInt)room;
}

/* One call of zlib. CONNECT_INFLATED means: go on. */
static enum connect_inflated step(z_stream *z, struct buf *b, size_t limit, size_t hint, int *rc)
{
	uInt before;

	if (!make_room(b, limit, hint))
		return CONNECT_INFLATE_MEMORY;
	give_room(z, b, limit);
	before = z->avail_out;
	*rc = inflate(z, Z_NO_FLUSH);
	b->n += before - z->avail_out;
	if (b->n > limit)
		return CONNECT_INFLATE_LARGE;
	if (*rc == Z_MEM_ERROR)
		return CONNECT_INFLATE_MEMORY;
	/* Z_BUF_ERROR here means that the input ended too early. */
	return *rc == Z_OK || *rc == Z_STREAM_END ? CONNECT_INFLATED : CONNECT_INFLATE_BAD;
}

/* Members may follow each other, as `cat a.gz b.gz` makes them; anything else
 * after the end is refused by the next member's header check. */
static enum connect_inflated run(z_stream *z, struct buf *b, size_t limit, size_t hint)
{
	enum connect_inflated result;
	int rc;

	for (;;) {
		result = step(z, b, limit, hint, &rc);
		if (result != CONNECT_INFLATED)
			return result;
		if (rc != Z_STREAM_END)
			continue;
		if (z->avail_in == 0)
			return CONNECT_INFLATED;
		if (inflateReset(z) != Z_OK)
			return CONNECT_INFLATE_BAD;
	}
}

/* zlib's structures are not const-correct; it does not write through next_in. */
static bool set_input(z_stream *z, struct str in)
{
	union {
		const char *from;
		Bytef *to;
	} p = {.from = in.p};

	z->next_in = p.to;
	z->avail_in = (uInt)in.n;
	return in.n <= UINT_MAX;
}

enum connect_inflated connect_gunzip(struct str in, size_t limit, struct arena *a, struct str *out)
{
	enum connect_inflated result;
	z_stream z = {0};
	struct buf b;

	*out = (struct str){in.p, 0};
	if (in.n == 0)
		return CONNECT_INFLATED;
	if (!set_input(&z, in))
		return CONNECT_INFLATE_LARGE;
	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return CONNECT_INFLATE_MEMORY;
	buf_init(&b, a);
	result = run(&z, &b, limit, in.n < FIRST_ROOM ? FIRST_ROOM : in.n * 4);
	inflateEnd(&z);
	*out = (struct str){b.p, b.n};
	return result;
}

bool connect_gzip(struct str in, struct buf *out)
{
	z_stream z = {0};
	size_t room;
	bool ok;

	if (!set_input(&z, in) ||
		deflateInit2(&z, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	room = deflateBound(&z, in.n);
	ok = room <= UINT_MAX && buf_room(out, room);
	if (ok) {
		z.next_out = (Bytef *)out->p + out->n;
		z.avail_out = (uInt)room;
		ok = deflate(&z, Z_FINISH) == Z_STREAM_END;
		out->n += room - z.avail_out;
	}
	deflateEnd(&z);
	return ok;
}
