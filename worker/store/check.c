/* See check.h. */
#include "worker/store/check.h"

#include "worker/store/dense.h"
#include "worker/store/names.h"
#include "worker/store/ties.h"

enum { DAY_MS = 86400000 };

/* A cap says nothing about the bytes. Texts are constants: the arena is taken back before they
 * are shown. */
static const char *unreadable(const struct arena *a, const char *what)
{
	return a->over ? "needs too much memory" : what;
}

/* A column in which every event has a value. rows.c, merge.c and dense.c give up a segment in
 * which one has none. */
static const char *check_full(
	const struct evseg *s, enum part_kind kind, struct arena *a, const char *what)
{
	const struct evseg_part *part = evseg_find(s, kind, SCOPE_AUTO, STR(""));
	struct column c;

	if (!part)
		return what;
	if (!evseg_column(s, part, a, &c))
		return unreadable(a, what);
	for (uint32_t i = 0; i < s->n; i++)
		if (column_code(&c, i) == 0)
			return what;
	return NULL;
}

/* ties_read() knows rows and lengths, but not whose ids these are; a wrong one would put events
 * into another order, and nothing else would notice. */
static const char *check_ties(const struct evseg *s, struct arena *a)
{
	const uint8_t *ids;
	struct ties t;

	if (!ties_read(s, a, &t) || !evseg_ids(s, a, &ids))
		return unreadable(a, "the ids of its ties cannot be read");
	for (uint32_t i = 0; i < t.n; i++)
		if (memcmp(t.ids + (size_t)i * 16, ids + (size_t)t.rows[i] * 16, 16) != 0)
			return "the id of a tie is another event's";
	return NULL;
}

static const char *check_part(const struct evseg *s, const struct evseg_part *p, struct arena *a)
{
	uint32_t greatest;
	struct evseg_overflow o;
	const uint32_t *numbers;
	struct column c;
	struct prop last;
	struct str raw;

	switch (p->kind) {
	case PART_ID:
	case PART_TIME:
		return NULL; /* read already */
	case PART_OVERFLOW:
		/* behind all rows: so it looks at all entries */
		if (!evseg_unpack(p, a, &raw) || !evseg_overflow_open(&o, raw) ||
			evseg_overflow_next(s, &o, s->n, &last) < 0)
			return unreadable(a, "the overflow part cannot be read");
		return NULL;
	case PART_KIND:
	case PART_DISTINCT:
	case PART_SESSION:
	case PART_COOKIELESS:
	case PART_PROP:
		if (!evseg_column(s, p, a, &c))
			return unreadable(a, "a column cannot be read");
		return NULL;
	case PART_NUMBER:
		if (!numbers_read(s, a, &numbers, &greatest))
			return unreadable(a, "the numbers of its ids cannot be read");
		return NULL;
	case PART_TIES:
		return check_ties(s, a);
	case PART_KINDS:
	default:
		return "a part is of no known kind";
	}
}

const char *check_parts(const struct evseg *s, struct arena *a)
{
	const char *wrong;
	const int64_t *times;
	const uint8_t *ids;

	if (!evseg_times(s, a, &times))
		return unreadable(a, "its times cannot be read");
	if (!evseg_ids(s, a, &ids))
		return unreadable(a, "its ids cannot be read");
	wrong = check_full(s, PART_KIND, a, "not every event has a kind");
	if (!wrong)
		wrong = check_full(s, PART_DISTINCT, a, "not every event has a distinct_id");
	for (uint32_t i = 0; i < s->n_parts && !wrong; i++) {
		/* one column at a time: a segment may have thousands */
		struct arena_mark mark = arena_mark(a);

		wrong = check_part(s, &s->parts[i], a);
		arena_release(a, &mark);
	}
	return wrong;
}

/* Noted while the group was encoded, when nobody knew yet which ids would be refused. */
const char *check_window(const struct evseg *s, int64_t tmin, int64_t tmax, struct arena *a)
{
	int64_t lo = INT64_MAX, hi = INT64_MIN;
	const int64_t *times;

	if (!evseg_times(s, a, &times))
		return unreadable(a, "its times cannot be read");
	for (uint32_t i = 0; i < s->n; i++) {
		lo = times[i] < lo ? times[i] : lo;
		hi = times[i] > hi ? times[i] : hi;
	}
	return lo == tmin && hi == tmax ? NULL : "tmin and tmax are not those of its events";
}

/* What batch->ordered promises to kernels. Two equal ids would be one event twice (D20). */
static const char *check_order(const struct evseg *s, const struct check_row *row, struct arena *a)
{
	int64_t from = (int64_t)row->day * DAY_MS;
	const int64_t *times;
	const uint8_t *ids;

	if (!evseg_times(s, a, &times) || !evseg_ids(s, a, &ids))
		return unreadable(a, "its times or ids cannot be read");
	if (times[0] != row->tmin || times[s->n - 1] != row->tmax)
		return "tmin and tmax are not those of its events";
	for (uint32_t i = 1; i < s->n; i++)
		if (times[i - 1] > times[i] ||
			(times[i - 1] == times[i] &&
				memcmp(ids + (size_t)(i - 1) * 16, ids + (size_t)i * 16, 16) >= 0))
			return "its events are not in order";
	return times[0] >= from && times[s->n - 1] < from + DAY_MS ? NULL
								   : "an event is of another day";
}

/* Packed again: the same events give the same bytes, whoever read their columns. Where nothing is
 * kept, questions read the segment until the keeper has named it: not wrong. */
const char *check_names(const struct evseg *s, struct str names, struct arena *a)
{
	const char *wrong = NULL;
	struct arena packed;
	struct str found;

	if (!names.p)
		return NULL;
	arena_init(&packed, EVSEG_BLOB_MAX);
	if (!names_pack(s, &packed, a, &found))
		wrong = unreadable(packed.over ? &packed : a, "its names cannot be read");
	else if (!str_eq(found, names))
		wrong = "its names are not those of its events";
	arena_free(&packed);
	return wrong;
}

/* Both lists have each kind once. A row that does not know its kinds is right: such a segment is
 * always read. One that lacks a kind is not read by questions for it. */
static const char *check_kinds(const struct evseg *s, const struct check_row *row, struct arena *a)
{
	struct str *kinds;
	uint32_t n, same = 0;

	if (!evseg_kinds(s, a, &kinds, &n))
		return unreadable(a, "its kinds cannot be read");
	if (row->kind.n)
		return n != 1 || !str_eq(kinds[0], row->kind) ? "an event is of another kind"
		       : row->kinds                           ? "it lists kinds and has only one"
							      : NULL;
	for (uint32_t i = 0; row->kinds && i < n; i++)
		for (int k = 0; k < row->n_kinds; k++)
			same += str_eq(kinds[i], row->kinds[k]);
	return !row->kinds || (same == n && row->n_kinds == (int)n)
		       ? NULL
		       : "its kinds are not those of its events";
}

const char *check_sealed(const struct evseg *s, const struct check_row *row, struct arena *a)
{
	const char *wrong = check_order(s, row, a);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < s->n_parts; i++)
		bytes += s->parts[i].stored.n;
	if (wrong)
		return wrong;
	if (bytes != (uint64_t)row->bytes)
		return "the number of its bytes is wrong";
	if (row->numbered != (evseg_find(s, PART_NUMBER, SCOPE_AUTO, STR("")) != NULL))
		return "whether it has numbers is wrong";
	return check_kinds(s, row, a);
}

/* Of an id: the only number that is right, when that is the one it has. verify.c has seen that no
 * digest is there twice. Of somebody who was erased it is 0, which is nobody's: a segment that
 * holds the id still is found out. */
static bool right_number(
	struct str id, uint32_t number, const uint8_t *key, const uint64_t *digests, uint32_t n)
{
	if (dense_cookieless(id))
		return number == 0;
	return number > 0 && number <= n && digests[number - 1] == digest_of(key, id);
}

const char *check_numbers(const struct evseg *s, const uint8_t *key, const uint64_t *digests,
	uint32_t n, struct arena *a)
{
	const struct evseg_part *part = evseg_find(s, PART_DISTINCT, SCOPE_AUTO, STR(""));
	const uint32_t *numbers;
	uint32_t greatest, *known;
	struct column c;

	if (!part || !evseg_column(s, part, a, &c) || !numbers_read(s, a, &numbers, &greatest))
		return unreadable(a, "the numbers of its ids cannot be read");
	/* by code: the number + 1 that was right, so that an id is hashed once, and another
	 * number of the same id is still looked at */
	known = arena_array(a, (size_t)c.n_entries + 1, sizeof(*known));
	if (!known)
		return unreadable(a, "");
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t code = column_code(&c, i);

		if (code && known[code] == numbers[i] + 1)
			continue;
		if (code == 0 || !right_number(c.entries[code - 1].s, numbers[i], key, digests, n))
			return "the number of a distinct_id is another's";
		known[code] = numbers[i] + 1;
	}
	return NULL;
}
