/*
 * A bump allocator with one lifetime: what a call allocates goes together.
 * Every arena has a cap; an allocation beyond it returns NULL and sets `over`,
 * so that attacker-sized input ends as resource_exhausted, never as OOM.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "shm/base/str.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunk; /* newest first; NULL until the first allocation */
	size_t used;               /* bytes handed out, over all chunks */
	size_t held;               /* bytes taken from malloc */
	size_t cap;                /* upper bound of held */
	struct arena *within;      /* whose held counts this one's, too; or NULL */
	bool over;                 /* sticky: an allocation was refused */
	bool spares;               /* large blocks come from and go to spare.h */
};

/* Prepares an empty arena; nothing is allocated before the first use. */
void arena_init(struct arena *a, size_t cap);
/* The same, with what `of` may still hold: both may then be used at the same time, by two threads.
 * It is freed, or adopted, before `of` is freed. */
void arena_init_within(struct arena *a, struct arena *of);
/* held, while another thread may allocate. */
static inline size_t arena_held(const struct arena *a)
{
	return __atomic_load_n(&a->held, __ATOMIC_RELAXED);
}
/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *a);
/* As arena_free, but keeps one small chunk for the next call. */
void arena_reset(struct arena *a);
/* Where an arena stands, to go back to: for what is made and forgotten many times within
 * one call. Of what was allocated before, nothing may grow in between. */
struct arena_mark {
	struct arena_chunk *head, *behind;
	size_t head_used, used;
};

struct arena_mark arena_mark(const struct arena *a);
void arena_release(struct arena *a, const struct arena_mark *m);
/* Everything in `from` gets the lifetime of `to`; `from` is empty then. False beyond the cap
 * of `to`: then nothing has changed. No buffer that is in `from` may grow afterwards. */
bool arena_adopt(struct arena *to, struct arena *from);
/* size bytes, aligned to 16, uninitialised; NULL beyond the cap. */
void *arena_alloc(struct arena *a, size_t size);
/* As arena_alloc, zeroed. */
void *arena_zalloc(struct arena *a, size_t size);
/* n items of size bytes, zeroed; NULL on overflow or beyond the cap. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* Grows the newest allocation in place where possible, else copies. */
void *arena_grow(struct arena *a, void *old, size_t old_size, size_t new_size);
/* NUL-terminated copy of s; NULL beyond the cap. */
char *arena_str(struct arena *a, struct str s);
/* printf into the arena; {NULL, 0} beyond the cap. */
struct str arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A growing byte buffer in an arena (or in malloc when a is NULL). */
struct buf {
	char *p;
	size_t n, cap;
	struct arena *a;
	bool over; /* sticky: an append did not fit; the content is then incomplete */
};

void buf_init(struct buf *b, struct arena *a);
/* Room for `more` bytes after b->n; false beyond the cap. */
bool buf_room(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_z(struct buf *b, const char *z);
void buf_c(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* in decimal digits */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Only for malloc'ed buffers. */
void buf_free(struct buf *b);

#endif
