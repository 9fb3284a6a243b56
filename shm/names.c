/*
 * Names of the methods that statistics are kept for. An index belongs to a name
 * for the life of the segment, because a reload may bring a binary whose method
 * table is sorted differently. Claiming is one CAS of the name's hash; whoever
 * finds the hash there may write the text too: all write the same bytes.
 */
#include "shm/base/hash.h"
#include "shm/segment_priv.h"

static void write_text(struct name_cell *cell, struct str name)
{
	memcpy(cell->text, name.p, name.n);
	atomic_store_explicit(&cell->written, 1, memory_order_release);
}

int segment_method_index(struct segment *seg, const char *name)
{
	struct str text = str_of(name);
	uint64_t hash, seen;

	if (text.n == 0 || text.n >= sizeof(seg->names[0].text))
		return -1;
	hash = hash_64(text.p, text.n) | 1; /* 0 is a free cell */
	for (int i = 0; i < METHODS_MAX; i++) {
		seen = 0;
		if (!atomic_compare_exchange_strong(&seg->names[i].hash, &seen, hash) &&
			seen != hash)
			continue;
		write_text(&seg->names[i], text);
		return i;
	}
	return -1;
}

const char *segment_method_name(const struct segment *seg, unsigned index)
{
	if (index >= METHODS_MAX)
		return NULL;
	if (!atomic_load_explicit(&seg->names[index].written, memory_order_acquire))
		return NULL;
	return seg->names[index].text;
}
