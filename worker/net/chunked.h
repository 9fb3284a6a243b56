/* The chunked transfer coding, decoded byte by byte and strictly. */
#ifndef NET_CHUNKED_H
#define NET_CHUNKED_H

#include "shm/base/str.h"

enum chunked_progress { CHUNKED_MORE, CHUNKED_DATA, CHUNKED_DONE, CHUNKED_BAD };

/* Zeroed at the start of a body. */
struct chunked {
	uint64_t left;  /* data bytes of this chunk still to come */
	uint32_t extra; /* bytes of extensions and trailers so far, over the whole body */
	uint8_t digits;
	uint8_t state;
};

/* Takes from the front of `in`. CHUNKED_DATA: `data` is a piece of the body,
 * call again; CHUNKED_MORE: everything was taken; CHUNKED_DONE: the body ended
 * and what is left of `in` belongs to the next request. */
enum chunked_progress chunked_next(struct chunked *ch, struct str *in, struct str *data);

#endif
