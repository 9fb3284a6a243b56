/* See naming.h. */
#include "worker/insights/naming.h"
#include "shm/base/log.h"
#include "worker/insights/explain.h"
#include "worker/insights/watch.h"

enum { OF_INBOX = UINT32_MAX }; /* naming_place.segment: row is the number of a text */

struct naming_segment {
	int64_t id;
	uint32_t events;
	uint32_t wanted; /* place + 1 among those that are read; 0: it is not */
};

/* Segments that are read, and for whom: side by side their numbers as in naming_place, and what
 * reader_texts() wants to know of each. */
struct errand {
	struct scan *scan;
	struct naming_person **v;
	uint32_t persons;
	uint32_t segment[NAMING_SEGMENTS];
	int64_t ids[NAMING_SEGMENTS];
	int32_t events[NAMING_SEGMENTS];
	uint32_t n;
};

void naming_init(struct naming *n, struct arena *a)
{
	*n = (struct naming){.a = a};
	chunks_init(&n->segments, a, sizeof(struct naming_segment));
	chunks_init(&n->texts, a, sizeof(struct str));
}

bool naming_begin(struct naming *n, const struct frame *f)
{
	struct naming_segment *s;

	if (f->batch->id == 0)
		return true;
	/* places hold the number + 1, which must not be OF_INBOX */
	s = n->n_segments < OF_INBOX - 1 ? chunks_make(&n->segments, n->n_segments) : NULL;
	if (!s)
		return false;
	*s = (struct naming_segment){f->batch->id, f->batch->n, 0};
	n->n_segments++;
	return true;
}

bool naming_note(struct naming *n, const struct frame *f, uint32_t row, struct naming_place *place)
{
	const struct batch_column *c = &f->batch->distinct;
	struct str text, *copy;

	if (f->batch->id != 0) {
		*place = naming_sealed(n, row);
		return true;
	}
	text = c->entries[c->codes[row] - 1].s;
	copy = n->n_texts < UINT32_MAX ? chunks_make(&n->texts, n->n_texts) : NULL;
	if (!copy)
		return false;
	*copy = (struct str){arena_str(n->a, text), text.n};
	*place = (struct naming_place){OF_INBOX, n->n_texts++};
	return copy->p != NULL;
}

/* Which segments to read; what is there already is taken. False when they are too many. Once only:
 * `wanted` is not taken back. */
static bool plan_errand(struct naming *n, struct errand *e)
{
	for (uint32_t i = 0; i < e->persons; i++) {
		struct naming_place place = e->v[i]->place;
		struct naming_segment *s;

		if (place.segment == OF_INBOX) {
			e->v[i]->name = *(struct str *)chunks_at(&n->texts, place.row);
			continue;
		}
		if (place.segment == 0)
			return false;
		s = chunks_at(&n->segments, place.segment - 1);
		if (s->wanted)
			continue;
		if (e->n == NAMING_SEGMENTS)
			return false;
		e->segment[e->n] = place.segment;
		e->ids[e->n] = s->id;
		e->events[e->n] = (int32_t)s->events;
		s->wanted = ++e->n;
	}
	return true;
}

/* Only an arena's `over` tells that it is full from bytes that are broken. */
static enum stream_next stop(struct reader *r, const struct arena *a)
{
	r->error = a->over || r->scratch.over ? READER_MEMORY : READER_BROKEN;
	return STREAM_FAIL;
}

static enum stream_next take_texts(struct reader *r, const struct evseg *s, struct arena *a)
{
	struct errand *e = r->stream.arg;
	struct arena *keep = &e->scan->a;
	struct column c;
	uint32_t at = 0;

	/* others have their turns at computing in between, too */
	if (watch_over()) {
		r->error = READER_DB;
		r->stream.db.err.kind = DB_TIMEOUT;
		return STREAM_FAIL;
	}
	while (at < e->n && e->ids[at] != s->id)
		at++;
	/* reader_texts() gives one part, distinct_ids: every event has one, so it is dense */
	if (at == e->n || s->n_parts == 0 || !evseg_column(s, &s->parts[0], a, &c) || c.sparse)
		return stop(r, keep);
	if (e->scan->explain)
		explain_parts(e->scan->explain, e->scan->plan, s);
	for (uint32_t i = 0; i < e->persons; i++) {
		struct naming_person *who = e->v[i];
		struct str text;

		if (who->place.segment != e->segment[at])
			continue;
		if (who->place.row >= s->n || c.codes[who->place.row] == 0)
			return stop(r, keep);
		text = c.entries[c.codes[who->place.row] - 1].s;
		who->name = (struct str){arena_str(keep, text), text.n};
		if (!who->name.p)
			return stop(r, keep);
	}
	return STREAM_MORE;
}

/* Texts of persons that are profiles become the profiles' ids. No segment may come any more:
 * reader_profiles_of() takes stream.arg over. */
static bool resolve(struct errand *e, struct reader *r)
{
	struct arena *a = &e->scan->a;
	struct str *ids = arena_array(a, e->persons + 1, sizeof(*ids));
	struct str *profiles = arena_array(a, e->persons + 1, sizeof(*profiles));
	struct naming_person **whose = arena_array(a, e->persons + 1, sizeof(*whose));
	uint32_t n = 0;

	if (!ids || !profiles || !whose)
		return false;
	for (uint32_t i = 0; i < e->persons; i++) {
		if (!people_has_profile(&e->scan->people, e->v[i]->person))
			continue;
		ids[n] = e->v[i]->name;
		whose[n++] = e->v[i];
	}
	if (n > 0 && reader_profiles_of(r, ids, n, profiles) < 0)
		return false;
	for (uint32_t i = 0; i < n; i++)
		whose[i]->name = profiles[i];
	return true;
}

/* Whether all have names, which are those persons'. Persons came by number or digest, names by
 * text: a number that is another id's, or an id that PostgreSQL resolves otherwise than
 * store/people.c, must not name somebody wrongly. False at the arena's cap. */
static bool verify(struct errand *e, bool *right)
{
	*right = true;
	for (uint32_t i = 0; i < e->persons && *right; i++) {
		struct naming_person *who = e->v[i];
		uint32_t person =
			who->name.n ? people_find(&e->scan->people, who->name) : PERSON_FULL;

		if (who->name.n && person == PERSON_FULL)
			return false;
		*right = person == who->person;
	}
	return true;
}

bool naming_find(struct naming *n, struct scan *s, struct reader *r, struct naming_person **v,
	uint32_t persons)
{
	struct errand *e = arena_zalloc(n->a, sizeof(*e));
	bool right = false;

	if (!e)
		return false;
	e->scan = s;
	e->v = v;
	e->persons = persons;
	if (persons > NAMING_PERSONS || !plan_errand(n, e)) {
		s->by_text = true;
		return true;
	}
	r->segment = take_texts;
	r->stream.arg = e;
	if (e->n > 0 && reader_texts(r, e->ids, e->events, e->n) < 0)
		return false;
	if (!resolve(e, r) || !verify(e, &right))
		return false;
	/* no failure of the question: it is asked again by texts */
	if (!right)
		log_err("names of persons are not theirs project=%d", s->project);
	s->by_text = !right;
	return true;
}
