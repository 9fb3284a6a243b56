/*
 * Making, checking and mapping the segment. Nothing is initialised but the
 * head: a fresh memfd reads as zeros, and zero is the empty state of every
 * array, so that memory is spent only on what is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "shm/segment_priv.h"

static const char segment_magic[8] = "pugdshm";

/* Raise it when the meaning of a word changes and its place does not. */
enum { SEGMENT_FORMAT = 1 };

/* No grow or shrink: nobody can make another process fault by truncating. */
enum { SEALS = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL };

#define AT(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

/*
 * Places and sizes of everything; two binaries that agree on these can share.
 * By hand, because C cannot list members: what is forgotten here still moves
 * its neighbours or changes a size, unless it takes the place of padding.
 */
/* clang-format off */
static const uint64_t segment_shape[] = {
	SEGMENT_FORMAT, SEGMENT_PAD, sizeof(struct segment), SLOTS_MAX, CRUMBS_PER_SLOT, COUNTERS,
	METHODS_MAX, LATENCY_BUCKETS, CODES, LIMIT_WAYS, LIMIT_SETS, KEY_WAYS, KEY_SETS,
	DENIED_SETS, QUARANTINE_ROWS, WORD_LOCK, WORD_DIGEST, WORD_EPOCH, WORD_EXPIRY, WORD_ENTRY,
	AT(segment, head), AT(segment, slots), AT(segment, counters), AT(segment, keys),
	AT(segment, denied), AT(segment, limits), AT(segment, quarantine), AT(segment, names),
	AT(segment, stats), AT(segment, recent), AT(segment, flights), AT(segment, cache),
	AT(segment_head, seed), AT(segment_head, key_epoch), AT(segment_head, feed_us),
	AT(segment_head, feed_epoch), AT(segment_head, retired), AT(segment_head, counted),
	AT(segment_head, tail_events), AT(segment_head, tail_oldest_us),
	AT(segment_head, tail_seen_us), AT(segment, turns), AT(turns, holder), AT(turns, place),
	AT(turn_place, owner), AT(turn_place, since_ms), AT(turn_place, seen_ms),
	sizeof(struct slot), AT(slot, state), AT(slot, pid), AT(slot, generation), AT(slot, keeper),
	AT(slot, heartbeat_ms), AT(slot, started_ms), AT(slot, connections),
	AT(slot, calls_in_flight), AT(slot, db_up), AT(slot, degraded), AT(slot, arena_bytes),
	AT(slot, crumbs), AT(slot, panic_set), AT(slot, signal), AT(slot, address),
	AT(slot, backtrace), AT(slot, panic),
	sizeof(struct crumb), AT(crumb, busy), AT(crumb, step), AT(crumb, method),
	AT(crumb, principal), AT(crumb, body), AT(crumb, start_ms), AT(crumb, call_id),
	AT(crumb, method_name),
	sizeof(struct key_entry), AT(key_entry, key_id), AT(key_entry, project_id),
	AT(key_entry, org_id), AT(key_entry, project), AT(key_entry, kind),
	sizeof(struct stat_cell), AT(stat_cell, calls), AT(stat_cell, by_code),
	AT(stat_cell, latency), AT(stat_cell, latency_sum_us),
	AT(quarantine, until_ms), AT(quarantine, fingerprint), AT(quarantine, row),
	AT(quarantine_cell, until_ms), AT(quarantine_cell, last_ms), AT(quarantine_cell, deaths),
	AT(quarantine_cell, sentences),
	AT(column_cache, head), AT(column_cache, ring), AT(column_cache, epoch),
	AT(column_cache, writers), AT(column_cache, entries), AT(column_cache, bytes),
	AT(cache_writer, owner), AT(cache_writer, from), AT(cache_writer, entry),
	FLIGHTS_MAX, AT(flight_place, word), AT(flight_place, until_ms),
	AT(flight_place, wanted_ms), AT(flight_place, landed_ms), AT(flight_place, digest),
	CACHE_WAYS, CACHE_SETS, CACHE_LOCK, CACHE_ID, CACHE_TAG, CACHE_EPOCH, CACHE_POS, CACHE_SIZE,
};
/* clang-format on */

/* Their order is their meaning: a row moved in counters.def is another layout. */
static const char counter_names[] =
#define COUNTER(name, help) #name ","
#define GAUGE(name, help)
#include "shm/counters.def"
#undef COUNTER
#undef GAUGE
	;

uint64_t segment_layout(void)
{
	uint64_t parts[2] = {hash_64(segment_shape, sizeof(segment_shape)),
		hash_64(counter_names, sizeof(counter_names))};

	return hash_64(parts, sizeof(parts));
}

#define REGION(member)                       \
	{                                    \
#member, AT(segment, member) \
	}
static const struct segment_region directory[] = {
	REGION(head),
	REGION(slots),
	REGION(counters),
	REGION(keys),
	REGION(denied),
	REGION(limits),
	REGION(quarantine),
	REGION(names),
	REGION(stats),
	REGION(recent),
	REGION(flights),
	REGION(cache),
};
static_assert(sizeof(directory) / sizeof(directory[0]) <= REGIONS, "room in the directory");

/* The master alone has the memfd yet: no ordering is needed. */
static void segment_init(struct segment *seg)
{
	struct segment_head *head = &seg->head;

	memcpy(head->magic, segment_magic, sizeof(head->magic));
	head->layout = segment_layout();
	head->size = sizeof(struct segment);
	head->created_us = clock_real_us();
	hash_random(head->seed, sizeof(head->seed));
	head->regions = sizeof(directory) / sizeof(directory[0]);
	memcpy(head->region, directory, sizeof(directory));
	/* Not 0, which is the epoch of entries that were never written. */
	atomic_store(&head->key_epoch, 1);
	atomic_store(&seg->cache.epoch, 1);
}

static int segment_prepare(int fd)
{
	struct segment *seg;

	if (ftruncate(fd, sizeof(struct segment)) < 0)
		return -errno;
	seg = mmap(NULL, sizeof(struct segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seg == MAP_FAILED)
		return -errno;
	segment_init(seg);
	munmap(seg, sizeof(struct segment));
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

/* Sealing is last, for the size must be set before; a half-made one is closed. */
int segment_create(void)
{
	int fd = memfd_create("pugd-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return -errno;
	rc = segment_prepare(fd);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

static bool head_fits(const struct segment_head *head)
{
	return memcmp(head->magic, segment_magic, sizeof(head->magic)) == 0 &&
	       head->size == sizeof(struct segment) && head->layout == segment_layout();
}

struct segment *segment_map(int fd)
{
	/* The fd came with exec, from a master that may be of another release. */
	struct segment *seg;
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return NULL;
	seals = fcntl(fd, F_GET_SEALS);
	/* The size comes first: reading a head beyond the end would be SIGBUS. */
	if (seals < 0 || (seals & SEALS) != SEALS || st.st_size != sizeof(struct segment)) {
		errno = EPROTO;
		return NULL;
	}
	seg = mmap(NULL, sizeof(struct segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seg == MAP_FAILED)
		return NULL;
	if (!head_fits(&seg->head)) {
		segment_unmap(seg);
		errno = EPROTO;
		return NULL;
	}
	/* What people did is no business of whoever reads a core dump, and too much for it. */
	madvise(&seg->cache, sizeof(seg->cache), MADV_DONTDUMP);
	return seg;
}

void segment_unmap(struct segment *seg)
{
	if (seg)
		munmap(seg, sizeof(*seg));
}

struct slot *segment_slot(struct segment *seg, int slot_no)
{
	must(slot_no >= 0 && slot_no < SLOTS_MAX);
	return &seg->slots[slot_no].slot;
}
