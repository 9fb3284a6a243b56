/* What reader.c and reader_people.c share. */
#ifndef STORE_READER_INTERNAL_H
#define STORE_READER_INTERNAL_H

#include "worker/store/reader.h"

struct reader *reader_of(struct db_stream *st);
/* STREAM_FAIL, with r->error set. */
enum stream_next reader_fail(struct reader *r, enum reader_error error);
/* The same for stored bytes that are malformed, or for which r->scratch has no room. */
enum stream_next reader_broken(struct reader *r, const char *what);
/* What a statement's end means: 0, or -1 with r->error. */
int reader_done(struct reader *r, int n);

#endif
