/*
 * Salts and visits of cookieless visitors: see visitors.h and, for the layout,
 * visitors_priv.h. A writer owns one place at a time, for some ten instructions;
 * whoever finds it owned is told BUSY and comes again.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/hash.h"
#include "shm/visitors_priv.h"

static const char visitors_magic[8] = {'p', 'u', 'g', 'v', 'i', 's', 'i', 't'};

/* No grow or shrink: nobody can make another process fault by truncating. */
enum { SEALS = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL };

/* Looks at a place before giving up: writers are there for less than this. */
enum { SPINS = 200 };

/* glibc has it from 2.36, the kernel from 4.4. */
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

int64_t visitors_day(int64_t ms)
{
	return ms / VISIT_DAY_MS - (ms % VISIT_DAY_MS < 0);
}

/* ---- the memory ---------------------------------------------------------------- */

static int visitors_prepare(int fd)
{
	struct visitors_head head = {.version = VISITORS_VERSION, .size = sizeof(struct visitors)};

	memcpy(head.magic, visitors_magic, sizeof(head.magic));
	if (ftruncate(fd, sizeof(struct visitors)) < 0 ||
		pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return -errno;
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

int visitors_create(void)
{
	int fd = memfd_create("pugd-visitors", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return -errno;
	rc = visitors_prepare(fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

static bool head_fits(const struct visitors_head *head)
{
	return memcmp(head->magic, visitors_magic, sizeof(head->magic)) == 0 &&
	       head->version == VISITORS_VERSION && head->size == sizeof(struct visitors);
}

struct visitors *visitors_map(int fd)
{
	struct visitors *v;
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return NULL;
	seals = fcntl(fd, F_GET_SEALS);
	/* The size comes first: reading a head beyond the end would be SIGBUS. */
	if (seals < 0 || (seals & SEALS) != SEALS || st.st_size != sizeof(struct visitors)) {
		errno = EPROTO;
		return NULL;
	}
	v = mmap(NULL, sizeof(struct visitors), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (v == MAP_FAILED)
		return NULL;
	if (!head_fits(&v->head)) {
		visitors_unmap(v);
		errno = EPROTO;
		return NULL;
	}
	madvise(v, sizeof(struct visitors), MADV_DONTDUMP);
	return v;
}

int visitors_lock(struct visitors *v)
{
	/* Apart, because a usual limit is 8 MiB: then at least the salts are locked. Not by
	 * mlock(), which sanitizers make a no-op. */
	if (mlock2(v, VISITORS_PAGE, 0) < 0)
		return -errno;
	/* Only what is used takes memory. */
	mlock2(v->set, sizeof(v->set), MLOCK_ONFAULT);
	return 0;
}

void visitors_unmap(struct visitors *v)
{
	if (v)
		munmap(v, sizeof(*v));
}

/* ---- owning a place ------------------------------------------------------------- */

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static bool own(_Atomic uint64_t *owner)
{
	const uint64_t me = (uint32_t)getpid();
	uint64_t was;

	for (int i = 0; i < SPINS; i++) {
		was = get(owner);
		if (!(was & OWNER_MASK) &&
			atomic_compare_exchange_strong_explicit(owner, &was, was | me,
				memory_order_acquire, memory_order_relaxed)) {
			/* No other store may become visible before the owner's pid. */
			atomic_thread_fence(memory_order_release);
			return true;
		}
		pause_briefly();
	}
	return false;
}

static void disown(_Atomic uint64_t *owner)
{
	uint64_t count = (get(owner) >> OWNER_COUNT_SHIFT) + 1;

	atomic_store_explicit(owner, count << OWNER_COUNT_SHIFT, memory_order_release);
}

/* ---- salts ----------------------------------------------------------------------- */

static uint64_t ready_word(int64_t day)
{
	return (uint64_t)day * 2 + 1;
}

static uint64_t salt_check(int64_t day, const uint64_t word[SALT_WORDS])
{
	uint64_t text[SALT_WORDS + 1] = {(uint64_t)day}, digest[4];

	memcpy(text + 1, word, SALT_BYTES);
	hash_sha256(text, sizeof(text), (uint8_t *)digest);
	explicit_bzero(text, sizeof(text));
	return digest[0];
}

static void salt_clear(struct salt_cell *s)
{
	atomic_store_explicit(&s->ready, 0, memory_order_relaxed);
	/* Whoever copies meanwhile sees that it is not ready any more. */
	atomic_thread_fence(memory_order_release);
	for (int i = 0; i < SALT_WORDS; i++)
		set(&s->word[i], 0);
	set(&s->check, 0);
}

/* What the place holds; BUSY: not the salt of that day. */
static enum salt_found salt_read(const struct salt_cell *s, int64_t day, uint64_t word[SALT_WORDS])
{
	uint64_t check;

	if (atomic_load_explicit(&s->ready, memory_order_acquire) != ready_word(day))
		return SALT_BUSY;
	for (int i = 0; i < SALT_WORDS; i++)
		word[i] = get(&s->word[i]);
	check = get(&s->check);
	atomic_thread_fence(memory_order_acquire);
	if (get(&s->ready) != ready_word(day))
		return SALT_BUSY;
	return check == salt_check(day, word) ? SALT_FOUND : SALT_CORRUPT;
}

/* The owner alone is here. Killed anywhere in it, it leaves a place that is not ready. */
static void salt_make(struct salt_cell *s, int64_t day)
{
	uint64_t word[SALT_WORDS];

	salt_clear(s);
	hash_random(word, sizeof(word));
	for (int i = 0; i < SALT_WORDS; i++)
		set(&s->word[i], word[i]);
	set(&s->check, salt_check(day, word));
	atomic_store_explicit(&s->ready, ready_word(day), memory_order_release);
	explicit_bzero(word, sizeof(word));
}

enum salt_found visitors_salt(
	struct visitors *v, int64_t day, int64_t now_ms, uint8_t salt[SALT_BYTES])
{
	int64_t today = visitors_day(now_ms);
	struct salt_cell *s = &v->salt[(uint64_t)day % SALTS];
	uint64_t word[SALT_WORDS];
	enum salt_found found;

	if (day != today && day != today - 1)
		return SALT_DAY;
	found = salt_read(s, day, word);
	if (found == SALT_BUSY && own(&s->owner)) {
		/* Somebody may have made it while we looked: the first one counts. */
		if (get(&s->ready) != ready_word(day))
			salt_make(s, day);
		found = salt_read(s, day, word);
		disown(&s->owner);
	}
	if (found == SALT_FOUND)
		memcpy(salt, word, SALT_BYTES);
	explicit_bzero(word, sizeof(word));
	return found;
}

/* True when it cannot be used any more, or not for longer than any clock is wrong. */
static bool day_is_over(int64_t day, int64_t today)
{
	return day < today - 1 || day > today + 1;
}

/* False: a salt is due, but somebody is there, who may be dead and not reaped yet. */
static bool salt_sweep(struct salt_cell *s, int64_t today)
{
	uint64_t ready = get(&s->ready);

	if (ready == 0 || !day_is_over((int64_t)(ready >> 1), today))
		return true;
	if (!own(&s->owner))
		return false;
	if (get(&s->ready) == ready)
		salt_clear(s);
	disown(&s->owner);
	return true;
}

/* ---- visits ---------------------------------------------------------------------- */

static struct visit_set *set_of(struct visitors *v, const uint64_t key[2])
{
	/* Keys are digests under a salt that nobody knows: nobody can aim at a set. */
	return &v->set[key[0] % VISIT_SETS];
}

/* From here to disown() the words of this place need not belong together. */
static void begin_change(struct visit_set *s, int way)
{
	uint64_t others = get(&s->owner) & ~((uint64_t)0xff << OWNER_WAY_SHIFT);

	set(&s->owner, others | (uint64_t)(way + 1) << OWNER_WAY_SHIFT);
	atomic_thread_fence(memory_order_release);
}

static void cell_clear(struct visit_cell *c)
{
	set(&c->touched_ms, 0);
	set(&c->key[0], 0);
	set(&c->key[1], 0);
	set(&c->session[0], 0);
	set(&c->session[1], 0);
	set(&c->last_ms, 0);
	set(&c->day, 0);
}

static bool cell_is_over(const struct visit_cell *c, int64_t now_ms)
{
	int64_t touched = (int64_t)get(&c->touched_ms);

	return touched == 0 || touched + VISIT_KEPT_MS < now_ms ||
	       touched > now_ms + VISIT_KEPT_MS ||
	       day_is_over((int64_t)get(&c->day), visitors_day(now_ms));
}

static int find_way(const struct visit_set *s, const uint64_t key[2])
{
	for (int way = 0; way < VISIT_WAYS; way++)
		if (get(&s->way[way].key[0]) == key[0] && get(&s->way[way].key[1]) == key[1] &&
			get(&s->way[way].touched_ms) != 0)
			return way;
	return -1;
}

/*
 * A place for somebody new: a free one, else the visit that was silent for longest, if
 * it is over anyhow (its visitor would begin a new session). -1: all are on a visit.
 */
static int make_room(const struct visit_set *s, int64_t now_ms)
{
	int64_t oldest = now_ms - VISIT_GAP_MS;
	int best = -1;

	for (int way = 0; way < VISIT_WAYS; way++) {
		const struct visit_cell *c = &s->way[way];

		if (cell_is_over(c, now_ms))
			return way;
		if ((int64_t)get(&c->touched_ms) < oldest) {
			oldest = (int64_t)get(&c->touched_ms);
			best = way;
		}
	}
	return best;
}

static enum visit_found begin_session(
	struct visit_set *s, int way, const uint64_t key[2], struct visit *visit)
{
	struct visit_cell *c = &s->way[way];
	uint64_t fresh[2];

	memcpy(fresh, visit->fresh, sizeof(fresh));
	begin_change(s, way);
	set(&c->key[0], key[0]);
	set(&c->key[1], key[1]);
	set(&c->session[0], fresh[0]);
	set(&c->session[1], fresh[1]);
	set(&c->last_ms, (uint64_t)visit->time_ms);
	set(&c->touched_ms, (uint64_t)visit->now_ms);
	set(&c->day, (uint64_t)visitors_day(visit->time_ms));
	memcpy(visit->session, visit->fresh, sizeof(visit->session));
	return VISIT_NEW;
}

/* The table of events-profiles.md 1.14; the gap is inclusive on both sides. */
static enum visit_found follow(
	struct visit_set *s, int way, const uint64_t key[2], struct visit *visit)
{
	struct visit_cell *c = &s->way[way];
	int64_t last = (int64_t)get(&c->last_ms);
	uint64_t session[2] = {get(&c->session[0]), get(&c->session[1])};

	if (visit->time_ms > last + VISIT_GAP_MS)
		return begin_session(s, way, key, visit);
	if (visit->time_ms < last - VISIT_GAP_MS)
		return VISIT_STALE;
	/* One word each: whole at whatever instruction we are killed. */
	if (visit->time_ms > last)
		set(&c->last_ms, (uint64_t)visit->time_ms);
	set(&c->touched_ms, (uint64_t)visit->now_ms);
	memcpy(visit->session, session, sizeof(visit->session));
	return VISIT_KNOWN;
}

enum visit_found visitors_visit(struct visitors *v, struct visit *visit)
{
	enum visit_found found = VISIT_FULL;
	struct visit_set *s;
	uint64_t key[2];
	int way;

	memcpy(key, visit->key, sizeof(key));
	s = set_of(v, key);
	if (!own(&s->owner))
		return VISIT_BUSY;
	way = find_way(s, key);
	if (way >= 0) {
		found = follow(s, way, key, visit);
	} else {
		way = make_room(s, visit->now_ms);
		if (way >= 0)
			found = begin_session(s, way, key, visit);
	}
	disown(&s->owner);
	return found;
}

static bool set_is_due(const struct visit_set *s, int64_t now_ms)
{
	for (int way = 0; way < VISIT_WAYS; way++)
		if (get(&s->way[way].touched_ms) != 0 && cell_is_over(&s->way[way], now_ms))
			return true;
	return false;
}

static void set_sweep(struct visit_set *s, int64_t now_ms)
{
	if (!set_is_due(s, now_ms) || !own(&s->owner))
		return;
	for (int way = 0; way < VISIT_WAYS; way++) {
		if (!cell_is_over(&s->way[way], now_ms))
			continue;
		begin_change(s, way);
		cell_clear(&s->way[way]);
	}
	disown(&s->owner);
}

/* ---- the master ------------------------------------------------------------------ */

int64_t visitors_sweep(struct visitors *v, int64_t now_ms)
{
	const int64_t hour = 60 * 60 * 1000, again = 250;
	bool clean = true;

	for (int i = 0; i < SALTS; i++)
		clean = salt_sweep(&v->salt[i], visitors_day(now_ms)) && clean;
	for (int i = 0; i < VISIT_SETS; i++)
		set_sweep(&v->set[i], now_ms);
	/* The next full hour, so that midnight, when a salt ends, is never missed. */
	return clean ? now_ms - now_ms % hour + hour : now_ms + again;
}

static bool left_by(const _Atomic uint64_t *owner, pid_t pid)
{
	uint64_t who = atomic_load_explicit(owner, memory_order_acquire) & OWNER_MASK;

	return who != 0 && (pid == 0 || who == (uint32_t)pid);
}

static int salt_repair(struct salt_cell *s, pid_t pid)
{
	if (!left_by(&s->owner, pid))
		return 0;
	/* Half a salt; nobody has used it, for it is not ready. */
	if (get(&s->ready) == 0)
		salt_clear(s);
	disown(&s->owner);
	return 1;
}

static int set_repair(struct visit_set *s, pid_t pid)
{
	uint64_t way;

	if (!left_by(&s->owner, pid))
		return 0;
	way = get(&s->owner) >> OWNER_WAY_SHIFT & 0xff;
	if (way >= 1 && way <= VISIT_WAYS)
		cell_clear(&s->way[way - 1]);
	disown(&s->owner);
	return 1;
}

int visitors_repair(struct visitors *v, pid_t pid)
{
	int mended = 0;

	for (int i = 0; i < SALTS; i++)
		mended += salt_repair(&v->salt[i], pid);
	for (int i = 0; i < VISIT_SETS; i++)
		mended += set_repair(&v->set[i], pid);
	return mended;
}

void visitors_wipe(struct visitors *v)
{
	for (int i = 0; i < SALTS; i++)
		salt_clear(&v->salt[i]);
	for (int i = 0; i < VISIT_SETS; i++)
		for (int way = 0; way < VISIT_WAYS; way++)
			cell_clear(&v->set[i].way[way]);
}
