/*
 * Fingerprints of calls that killed workers (D92). Only the master writes;
 * workers look a call up before they work on it. Two deaths within a minute put
 * a fingerprint away for ten minutes, each further sentence is twice as long.
 * A fingerprint, never a method: or an attacker could switch methods off.
 */
#include "shm/base/hash.h"
#include "shm/segment_priv.h"

enum {
	WINDOW_MS = 60 * 1000,
	SENTENCE_MS = 10 * 60 * 1000,
	SENTENCE_DOUBLINGS = 7,          /* at most 21 hours */
	MEMORY_MS = 24 * 60 * 60 * 1000, /* how long a repeat counts as one */
};

static uint64_t get64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

uint64_t quarantine_fingerprint(uint64_t method, uint64_t principal, uint64_t body)
{
	uint64_t parts[3] = {method, principal, body};
	uint64_t h = hash_64(parts, sizeof(parts));

	/* 0 marks a free row. */
	return h ? h : 1;
}

static int row_find(const struct quarantine *q, uint64_t fingerprint)
{
	for (int i = 0; i < QUARANTINE_ROWS; i++)
		if (get64(&q->fingerprint[i]) == fingerprint)
			return i;
	return -1;
}

/* When the row may be forgotten. */
static uint64_t row_end(const struct quarantine_cell *row)
{
	uint64_t until = get64(&row->until_ms);

	return until ? until + MEMORY_MS : get64(&row->last_ms) + WINDOW_MS;
}

static void row_clear(struct quarantine *q, int i)
{
	atomic_store(&q->row[i].until_ms, 0);
	atomic_store(&q->fingerprint[i], 0);
	atomic_store(&q->row[i].last_ms, 0);
	atomic_store(&q->row[i].deaths, 0);
	atomic_store(&q->row[i].sentences, 0);
}

/*
 * The row of a fingerprint that has none: a free one, else the one that ends
 * first. Those are single deaths before sentences, so that a flood of different
 * deaths does not let convicts out.
 */
static int row_take(struct quarantine *q, uint64_t fingerprint)
{
	int best = 0;

	for (int i = 0; i < QUARANTINE_ROWS; i++) {
		if (get64(&q->fingerprint[i]) == 0) {
			best = i;
			break;
		}
		if (row_end(&q->row[i]) < row_end(&q->row[best]))
			best = i;
	}
	row_clear(q, best);
	atomic_store(&q->fingerprint[best], fingerprint);
	return best;
}

static void rows_expire(struct quarantine *q, uint64_t now_ms)
{
	for (int i = 0; i < QUARANTINE_ROWS; i++)
		if (get64(&q->fingerprint[i]) != 0 && row_end(&q->row[i]) < now_ms)
			row_clear(q, i);
}

static void row_sentence(struct quarantine *q, struct quarantine_cell *row, uint64_t now_ms)
{
	uint32_t before = atomic_load(&row->sentences);
	uint32_t doublings = before < SENTENCE_DOUBLINGS ? before : SENTENCE_DOUBLINGS;
	uint64_t until = now_ms + ((uint64_t)SENTENCE_MS << doublings);

	atomic_store(&row->sentences, before + 1);
	atomic_store(&row->until_ms, until);
	if (until > get64(&q->until_ms))
		atomic_store(&q->until_ms, until);
}

bool quarantine_report(struct segment *seg, uint64_t fingerprint, uint64_t now_ms)
{
	struct quarantine *q = &seg->quarantine;
	struct quarantine_cell *row;
	uint64_t last;
	int i;

	rows_expire(q, now_ms);
	i = row_find(q, fingerprint);
	if (i < 0)
		i = row_take(q, fingerprint);
	row = &q->row[i];
	last = get64(&row->last_ms);
	atomic_store(&row->last_ms, now_ms);
	atomic_fetch_add(&row->deaths, 1);
	/* Calls that were past the check when the sentence fell are not a repeat. */
	if (get64(&row->until_ms) > now_ms)
		return false;
	if (atomic_load(&row->deaths) < 2 || now_ms - last > WINDOW_MS)
		return false;
	/* The death that led to the last sentence must not count for the next. */
	if (get64(&row->until_ms) > last)
		return false;
	row_sentence(q, row, now_ms);
	return true;
}

bool quarantine_has(const struct segment *seg, uint64_t fingerprint, uint64_t now_ms)
{
	const struct quarantine *q = &seg->quarantine;
	int i;

	/* Every call asks, and the answer is nearly always that the table is idle. */
	if (get64(&q->until_ms) <= now_ms)
		return false;
	i = row_find(q, fingerprint);
	return i >= 0 && get64(&q->row[i].until_ms) > now_ms &&
	       get64(&q->fingerprint[i]) == fingerprint;
}

void quarantine_clear(struct segment *seg)
{
	struct quarantine *q = &seg->quarantine;

	atomic_store(&q->until_ms, 0);
	for (int i = 0; i < QUARANTINE_ROWS; i++)
		row_clear(q, i);
}

int quarantine_list(
	const struct segment *seg, struct quarantine_row *rows, int max, uint64_t now_ms)
{
	const struct quarantine *q = &seg->quarantine;
	int n = 0;

	for (int i = 0; i < QUARANTINE_ROWS && n < max; i++) {
		uint64_t fingerprint = get64(&q->fingerprint[i]);
		uint64_t until = get64(&q->row[i].until_ms);

		if (fingerprint == 0 || until <= now_ms)
			continue;
		rows[n].fingerprint = fingerprint;
		rows[n].until_ms = until;
		rows[n].deaths = atomic_load(&q->row[i].deaths);
		n++;
	}
	return n;
}
