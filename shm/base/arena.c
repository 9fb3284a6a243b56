/*
 * The bump allocator and the growing buffer. Chunks double from 4 KB to 256 KB;
 * what does not fit well into one gets a chunk of its own, linked behind the
 * head so that small allocations go on using the head's rest. Under ASan all
 * bytes that are not handed out are poisoned, with a gap after each allocation,
 * so that an overrun inside an arena is found like one in malloc.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/base/arena.h"
#include "shm/base/clock.h"
#include "shm/base/log.h"
#include "shm/base/spare.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(ARENA_ASAN)
/* Not from its header: there the bytes are const, and gcc finds them uninitialised. */
void __asan_poison_memory_region(volatile void *p, size_t n);
void __asan_unpoison_memory_region(volatile void *p, size_t n);
#define POISON(p, n)   __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
enum { RED_ZONE = 16 };
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

enum { ALIGN = 16, CHUNK_MIN = 4096, CHUNK_MAX = 256 * 1024 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* of data[] */
	size_t used; /* of data[], multiple of ALIGN */
	bool own;    /* made for one allocation */
	_Alignas(ALIGN) unsigned char data[];
};

_Static_assert(sizeof(struct arena_chunk) % ALIGN == 0, "data must be aligned");

/* What an allocation takes from its chunk; 0 when that overflows. */
static size_t arena_take(size_t size)
{
	size_t take = size ? size : 1;

	if (__builtin_add_overflow(take, (size_t)(ALIGN - 1 + RED_ZONE), &take))
		return 0;
	return take & ~(size_t)(ALIGN - 1);
}

/* The flag is what tells resource_exhausted from a bug, calls later. */
static void *arena_refuse(struct arena *a)
{
	a->over = true;
	return NULL;
}

/* Books bytes that malloc is about to give. False beyond a cap. */
static bool arena_take_bytes(struct arena *a, size_t n)
{
	if (n > a->cap)
		return false;
	if (__atomic_add_fetch(&a->held, n, __ATOMIC_RELAXED) <= a->cap &&
		(!a->within || arena_take_bytes(a->within, n)))
		return true;
	__atomic_sub_fetch(&a->held, n, __ATOMIC_RELAXED);
	return false;
}

static void arena_give_bytes(struct arena *a, size_t n)
{
	for (; a; a = a->within)
		__atomic_sub_fetch(&a->held, n, __ATOMIC_RELAXED);
}

/* Not under ASan, which would not notice who uses what was freed. */
static bool is_spare(const struct arena *a, size_t total)
{
#ifdef ARENA_ASAN
	(void)a, (void)total;
	return false;
#else
	return a->spares && total >= SPARE_MIN;
#endif
}

static void chunk_free(const struct arena *a, struct arena_chunk *chunk)
{
	size_t total = sizeof(*chunk) + chunk->size;

	UNPOISON(chunk->data, chunk->size);
	if (is_spare(a, total))
		spare_give(chunk, total, clock_mono_ms());
	else
		free(chunk);
}

void arena_init(struct arena *a, size_t cap)
{
	*a = (struct arena){.cap = cap};
}

void arena_init_within(struct arena *a, struct arena *of)
{
	*a = (struct arena){.cap = of->cap, .within = of, .spares = of->spares};
}

/* As new. */
static void arena_empty(struct arena *a)
{
	arena_give_bytes(a->within, a->held);
	*a = (struct arena){.cap = a->cap, .within = a->within, .spares = a->spares};
}

void arena_free(struct arena *a)
{
	struct arena_chunk *next;

	for (struct arena_chunk *c = a->chunk; c; c = next) {
		next = c->next;
		chunk_free(a, c);
	}
	arena_empty(a);
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = NULL, *next;

	for (struct arena_chunk *c = a->chunk; c; c = next) {
		next = c->next;
		/* The smallest one: a connection that is idle must not hold much. */
		if (!keep && !c->own && c->size <= CHUNK_MIN)
			keep = c;
		else
			chunk_free(a, c);
	}
	if (keep) {
		arena_give_bytes(a->within, a->held - sizeof(*keep) - keep->size);
		keep->next = NULL;
		keep->used = 0;
		POISON(keep->data, keep->size);
		*a = (struct arena){.chunk = keep,
			.held = sizeof(*keep) + keep->size,
			.cap = a->cap,
			.within = a->within,
			.spares = a->spares};
	} else {
		arena_empty(a);
	}
}

struct arena_mark arena_mark(const struct arena *a)
{
	struct arena_chunk *head = a->chunk;

	return (struct arena_mark){head, head ? head->next : NULL, head ? head->used : 0, a->used};
}

/* Frees the chunks from *link up to `end`. */
static void chunks_drop(struct arena *a, struct arena_chunk **link, struct arena_chunk *end)
{
	while (*link != end) {
		struct arena_chunk *c = *link;

		*link = c->next;
		arena_give_bytes(a, sizeof(*c) + c->size);
		chunk_free(a, c);
	}
}

void arena_release(struct arena *a, const struct arena_mark *m)
{
	/* newer chunks come before the head of then, or, made for one allocation, behind it */
	chunks_drop(a, &a->chunk, m->head);
	a->used = m->used;
	if (!m->head)
		return;
	chunks_drop(a, &m->head->next, m->behind);
	m->head->used = m->head_used;
	POISON(m->head->data + m->head_used, m->head->size - m->head_used);
}

bool arena_adopt(struct arena *to, struct arena *from)
{
	struct arena_chunk **behind = to->chunk ? &to->chunk->next : &to->chunk, *rest = *behind;

	if (from->within != to && !arena_take_bytes(to, from->held))
		return false;
	if (from->within == to)
		from->within = NULL; /* its bytes are counted there */
	/* behind the head, which goes on being filled; like an allocation of its own, none of
	 * these is ever filled further */
	*behind = from->chunk;
	for (struct arena_chunk *c = from->chunk; c; c = c->next) {
		c->own = true;
		behind = &c->next;
	}
	*behind = rest;
	to->used += from->used;
	arena_empty(from);
	return true;
}

static struct arena_chunk *chunk_new(struct arena *a, size_t size, bool own)
{
	struct arena_chunk *c;
	size_t total;

	if (__builtin_add_overflow(size, sizeof(*c), &total) || !arena_take_bytes(a, total))
		return NULL;
	c = is_spare(a, total) ? spare_take(total) : NULL;
	if (!c)
		c = malloc(total);
	if (!c) {
		arena_give_bytes(a, total);
		return NULL;
	}
	/* Not zeroed: most calls overwrite what they allocate anyway. */
	c->size = size;
	c->used = 0;
	c->own = own;
	POISON(c->data, size);
	if (own && a->chunk) {
		c->next = a->chunk->next;
		a->chunk->next = c;
	} else {
		c->next = a->chunk;
		a->chunk = c;
	}
	return c;
}

/*
 * A chunk with room for `take` more bytes; NULL beyond the cap. The rest of the old
 * head is given up: looking for holes would cost more than it saves.
 */
static struct arena_chunk *chunk_for(struct arena *a, size_t take)
{
	struct arena_chunk *head = a->chunk, *c;
	size_t total = CHUNK_MIN;

	if (head && head->size - head->used >= take)
		return head;
	if (head && !head->own)
		total = (head->size + sizeof(*head)) * 2;
	if (total > CHUNK_MAX)
		total = CHUNK_MAX;
	if (take > CHUNK_MAX / 4)
		return chunk_new(a, take, true);
	while (total - sizeof(*head) < take)
		total *= 2;
	total -= sizeof(*head);
	c = chunk_new(a, total, false);
	/* Close to the cap the exact size may still fit. */
	return c ? c : chunk_new(a, take, true);
}

void *arena_alloc(struct arena *a, size_t size)
{
	size_t take = arena_take(size);
	struct arena_chunk *c = take ? chunk_for(a, take) : NULL;
	unsigned char *p;

	if (!c)
		return arena_refuse(a);
	p = c->data + c->used;
	c->used += take;
	a->used += take;
	UNPOISON(p, size);
	return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
	void *p = arena_alloc(a, size);

	return p ? memset(p, 0, size) : NULL;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		return arena_refuse(a);
	return arena_zalloc(a, total);
}

/* Moves the one allocation of chunk *link to a larger chunk. */
static void *chunk_stretch(
	struct arena *a, struct arena_chunk **link, size_t old_take, size_t take, size_t new_size)
{
	struct arena_chunk *c = *link;

	if (!arena_take_bytes(a, take - old_take))
		return arena_refuse(a);
	UNPOISON(c->data, c->size);
	c = realloc(c, sizeof(*c) + take);
	if (!c) {
		arena_give_bytes(a, take - old_take);
		return arena_refuse(a);
	}
	*link = c;
	a->used += take - old_take;
	c->size = c->used = take;
	POISON(c->data, take);
	UNPOISON(c->data, new_size);
	return c->data;
}

/*
 * Growth happens in place in two cases: at the end of the head, and in a chunk
 * of its own that was the last one made. Both are found without a search.
 */
static void *grow_in_place(
	struct arena *a, void *old, size_t old_take, size_t take, size_t new_size)
{
	struct arena_chunk *head = a->chunk, **link = &a->chunk;

	if (head && !head->own) {
		if ((unsigned char *)old + old_take == head->data + head->used &&
			head->size - head->used >= take - old_take) {
			head->used += take - old_take;
			a->used += take - old_take;
			UNPOISON(old, new_size);
			return old;
		}
		link = &head->next;
	}
	if (*link && (*link)->own && old == (*link)->data && (*link)->used == old_take)
		return chunk_stretch(a, link, old_take, take, new_size);
	return NULL;
}

void *arena_grow(struct arena *a, void *old, size_t old_size, size_t new_size)
{
	size_t old_take = arena_take(old_size), take = arena_take(new_size);
	bool over = a->over;
	void *p;

	if (!old)
		return arena_alloc(a, new_size);
	/* Never shrinks: the rest could only be used by the next growth. */
	if (new_size <= old_size)
		return old;
	if (!take)
		return arena_refuse(a);
	a->over = false;
	p = grow_in_place(a, old, old_take, take, new_size);
	if (!p && !a->over) {
		p = arena_alloc(a, new_size);
		if (p)
			memcpy(p, old, old_size);
	}
	/* Sticky over the growth, which needed to see its own refusal only. */
	a->over = a->over || over;
	return p;
}

char *arena_str(struct arena *a, struct str s)
{
	char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : arena_refuse(a);

	if (!p)
		return NULL;
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	struct str s = {NULL, 0};
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	if (p) {
		vsnprintf(p, (size_t)n + 1, fmt, again);
		s = (struct str){p, (size_t)n};
	}
	va_end(again);
	return s;
}

/* Nothing is allocated yet: many buffers of a call stay empty. */
void buf_init(struct buf *b, struct arena *a)
{
	*b = (struct buf){.a = a};
}

/* Doubling keeps appends cheap; close to the arena's cap only the need counts. */
static size_t buf_want(const struct buf *b, size_t need)
{
	size_t want = b->cap < 64 ? 128 : b->cap * 2;

	if (b->cap > SIZE_MAX / 4 || want < need)
		want = need;
	if (b->a && want > need && want > (b->a->cap - arena_held(b->a)) / 2)
		want = need;
	return want;
}

bool buf_room(struct buf *b, size_t more)
{
	size_t need, want;
	char *p;

	if (b->over)
		return false;
	if (more <= b->cap - b->n)
		return true;
	if (__builtin_add_overflow(b->n, more, &need)) {
		b->over = true;
		return false;
	}
	want = buf_want(b, need);
	p = b->a ? arena_grow(b->a, b->p, b->cap, want) : realloc(b->p, want);
	if (!p) {
		b->over = true;
		return false;
	}
	b->p = p;
	b->cap = want;
	return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !buf_room(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void buf_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void buf_z(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

void buf_c(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	/* One byte more for the NUL that vsnprintf insists on; it does not count. */
	if (buf_room(b, (size_t)n + 1)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void buf_free(struct buf *b)
{
	/* What is in an arena goes with it; freeing it here would be a mistake. */
	must(!b->a);
	free(b->p);
	buf_init(b, NULL);
}
