/*
 * Builds one level 0 segment from the events of several calls of one project.
 * Events keep their order, so that positions mean the same on both sides.
 */
#ifndef STORE_ENCODE_H
#define STORE_ENCODE_H

#include "worker/store/event.h"

struct encoder;

/* Everything is taken from the arena, which must outlive the encoder. NULL at its cap. */
struct encoder *encoder_new(struct arena *a);
/* The event and the bytes of its strings must stay until encoder_finish(); the array of its
 * properties may be used again. False at the arena's cap. */
bool encoder_add(struct encoder *e, const struct event *ev);
uint32_t encoder_count(const struct encoder *e);
/* The blob, in the arena; {NULL, 0} at its cap, or when evseg_open() would refuse it: a part or all
 * of it is too large. At least one event was added. */
struct str encoder_finish(struct encoder *e);

#endif
