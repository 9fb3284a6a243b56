/* See spare.h. A few blocks: a list is quick enough. */
#include "shm/base/spare.h"

#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 32 };

static struct {
	pthread_mutex_t lock;
	struct {
		void *p;
		size_t n;
		uint64_t since_ms;
	} v[BLOCKS];
	int n;
	size_t bytes;
} spares = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held. */
static void *remove_at(int i)
{
	void *p = spares.v[i].p;

	spares.bytes -= spares.v[i].n;
	spares.v[i] = spares.v[--spares.n];
	return p;
}

/* The smallest one that fits, unless much of it would be wasted. */
void *spare_take(size_t n)
{
	int best = -1;
	void *p = NULL;

	pthread_mutex_lock(&spares.lock);
	for (int i = 0; i < spares.n; i++) {
		size_t size = spares.v[i].n;

		if (size >= n && size - n <= n / 4 && (best < 0 || size < spares.v[best].n))
			best = i;
	}
	if (best >= 0)
		p = remove_at(best);
	pthread_mutex_unlock(&spares.lock);
	return p;
}

/* With the lock held; there is one. */
static int oldest(void)
{
	int at = 0;

	for (int i = 1; i < spares.n; i++)
		at = spares.v[i].since_ms < spares.v[at].since_ms ? i : at;
	return at;
}

/* Other questions ask for other sizes: the oldest blocks go first. */
void spare_give(void *block, size_t n, uint64_t now_ms)
{
	void *gone[BLOCKS];
	int n_gone = 0;

	if (n > SPARE_MOST) {
		free(block);
		return;
	}
	pthread_mutex_lock(&spares.lock);
	while (spares.n == BLOCKS || n > SPARE_MOST - spares.bytes)
		gone[n_gone++] = remove_at(oldest());
	spares.v[spares.n].p = block;
	spares.v[spares.n].n = n;
	spares.v[spares.n++].since_ms = now_ms;
	spares.bytes += n;
	pthread_mutex_unlock(&spares.lock);
	while (n_gone > 0)
		free(gone[--n_gone]);
}

/* With the lock held; below 0: none. */
static int old_one(uint64_t now_ms)
{
	int i = spares.n - 1;

	while (i >= 0 && now_ms < spares.v[i].since_ms + SPARE_MS)
		i--;
	return i;
}

bool spare_old(uint64_t now_ms)
{
	bool old;

	pthread_mutex_lock(&spares.lock);
	old = old_one(now_ms) >= 0;
	pthread_mutex_unlock(&spares.lock);
	return old;
}

/* One after another: giving pages back takes a while. */
void spare_expire(uint64_t now_ms)
{
	void *p;

	do {
		int i;

		pthread_mutex_lock(&spares.lock);
		i = old_one(now_ms);
		p = i >= 0 ? remove_at(i) : NULL;
		pthread_mutex_unlock(&spares.lock);
		free(p);
	} while (p);
}
