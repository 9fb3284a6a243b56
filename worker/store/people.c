/*
 * Identity resolution over interned ids; see people.h. A person's number is the
 * number of its key, so that anonymous ids need no table of their own.
 */
#include "worker/store/people.h"

bool people_init(struct people *p, struct arena *a, uint32_t n_paths)
{
	*p = (struct people){.a = a, .n_paths = n_paths};
	intern_init(&p->ids, a);
	p->traits = arena_array(a, n_paths + 1, sizeof(*p->traits));
	return p->traits != NULL;
}

void people_init_digests(struct people *p, struct arena *a)
{
	*p = (struct people){.a = a, .by_digest = true};
	digests_init(&p->others, a);
}

void people_use(struct people *p, const struct people_base *base)
{
	p->base = base;
	p->of_number = base->of_number;
	p->n_numbers = base->n_numbers;
}

/* cap moves last: refused halfway, some arrays are larger than they need be, and no more. */
static bool grow(struct people *p)
{
	uint32_t cap = p->cap ? p->cap * 2 : 64;
	uint32_t *person =
		arena_grow(p->a, p->person, p->cap * sizeof(*person), cap * sizeof(*person));
	uint32_t *external;
	uint8_t *rank;

	if (!person)
		return false;
	p->person = person;
	rank = arena_grow(p->a, p->rank, p->cap, cap);
	if (!rank)
		return false;
	p->rank = rank;
	external =
		arena_grow(p->a, p->external, p->cap * sizeof(*external), cap * sizeof(*external));
	if (!external)
		return false;
	p->external = external;
	p->cap = cap;
	return true;
}

/* A number that was just given out: a new id is its own person. To be called in the order of
 * numbers: n is the end of what is filled in. */
static uint32_t known(struct people *p, uint32_t no)
{
	if (no == INTERN_FULL || no < p->n)
		return no;
	if (no >= p->cap && !grow(p))
		return INTERN_FULL;
	p->person[no] = no;
	p->rank[no] = RANK_ITSELF;
	p->external[no] = 0;
	p->n = no + 1;
	return no;
}

static uint32_t id_number(struct people *p, struct str id)
{
	return known(p, intern_add(&p->ids, id));
}

/* Ranks make it indifferent which profile comes first: an id may be met as the external_id of
 * another one before its own profile. */
static bool claim(struct people *p, struct str id, uint32_t person, enum people_rank rank)
{
	uint32_t no = id_number(p, id);

	if (no == INTERN_FULL)
		return false;
	if (p->rank[no] < rank) {
		p->person[no] = person;
		p->rank[no] = (uint8_t)rank;
	}
	return true;
}

/* No two live profiles have one external_id (profiles_external_id_key), so nobody loses one to
 * whoever came first. */
bool people_profile(struct people *p, struct str id, struct str external_id)
{
	uint32_t who = id_number(p, id);

	if (who == INTERN_FULL || !claim(p, id, who, RANK_PROFILE))
		return false;
	if (external_id.n == 0)
		return true;
	if (!claim(p, external_id, who, RANK_EXTERNAL))
		return false;
	p->external[who] = intern_find(&p->ids, external_id) + 1;
	return true;
}

/* One step is enough: what an alias names is never itself an alias (002_events.sql). */
bool people_alias(struct people *p, struct str alias, struct str profile)
{
	uint32_t who = intern_find(&p->ids, profile);

	if (who == INTERN_FULL || p->rank[who] != RANK_PROFILE)
		return true;
	return claim(p, alias, who, RANK_ALIAS);
}

/* Not zeroed: dates are asked of live profiles, and every one of these is told one. */
bool people_date(struct people *p, struct str profile, int64_t us)
{
	uint32_t who = id_number(p, profile);

	if (who == INTERN_FULL)
		return false;
	if (who >= p->cap_dates) {
		int64_t *dates = arena_grow(
			p->a, p->dates, p->cap_dates * sizeof(*dates), p->cap * sizeof(*dates));

		if (!dates)
			return false;
		p->dates = dates;
		p->cap_dates = p->cap;
	}
	p->dates[who] = us;
	return true;
}

/* New arrays instead of grown ones: the rest of them must be VALUE_NONE, which is 0. */
static bool room_for_trait(struct people *p, uint32_t person)
{
	uint32_t cap = p->cap_traits ? p->cap_traits : 64;

	while (cap <= person)
		cap *= 2;
	if (cap == p->cap_traits)
		return true;
	for (uint32_t i = 0; i < p->n_paths; i++) {
		struct value *more = arena_array(p->a, cap, sizeof(*more));

		if (!more)
			return false;
		if (p->cap_traits)
			memcpy(more, p->traits[i], p->cap_traits * sizeof(*more));
		p->traits[i] = more;
	}
	p->cap_traits = cap;
	return true;
}

bool people_trait(struct people *p, struct str person, uint32_t path, const struct value *v)
{
	uint32_t who = id_number(p, person);
	struct value copy = *v;

	if (who == INTERN_FULL || path >= p->n_paths || !room_for_trait(p, who))
		return false;
	if (v->type == VALUE_STR) {
		copy.s.p = arena_str(p->a, v->s);
		if (!copy.s.p)
			return false;
	}
	p->traits[path][who] = copy;
	return true;
}

/* ---- asking ---- */

/* Who is not in the base is of their own. Noted here, as other threads may be asking the base. At
 * most INTERN_BATCH. */
static bool find_digests(struct people *p, const struct str *ids, uint32_t n, uint32_t *persons)
{
	const struct people_base *b = p->base;
	uint64_t digests[INTERN_BATCH] = {0};

	for (uint32_t i = 0; i < n; i++)
		digests[i] = digest_of(b->state.key, ids[i]);
	digests_find_all(&b->ids, digests, n, persons);
	for (uint32_t i = 0; i < n; i++) {
		if (persons[i] != DIGESTS_FULL) {
			persons[i] = b->person[persons[i]];
			continue;
		}
		persons[i] = digests_add(&p->others, digests[i]);
		if (persons[i] == DIGESTS_FULL)
			return false;
		persons[i] += b->n;
	}
	return true;
}

uint32_t people_find(struct people *p, struct str id)
{
	uint32_t no;

	if (p->by_digest)
		return find_digests(p, &id, 1, &no) ? no : PERSON_FULL;
	no = id_number(p, id);
	return no == INTERN_FULL ? PERSON_FULL : p->person[no];
}

bool people_find_all(struct people *p, const struct str *ids, uint32_t n, uint32_t *persons)
{
	if (p->by_digest)
		return find_digests(p, ids, n, persons);
	if (!intern_add_all(&p->ids, ids, n, persons))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t no = known(p, persons[i]);

		if (no == INTERN_FULL)
			return false;
		persons[i] = p->person[no];
	}
	return true;
}

uint32_t people_end(const struct people *p)
{
	return p->by_digest ? (p->base ? p->base->n : 0) + p->others.n : p->n;
}

bool people_has_profile(const struct people *p, uint32_t person)
{
	if (p->by_digest)
		return person < p->base->n && people_base_live(p->base, person);
	return p->rank[person] == RANK_PROFILE;
}

struct str people_key(const struct people *p, uint32_t person)
{
	return p->ids.strings[person];
}

struct str people_external(const struct people *p, uint32_t person)
{
	uint32_t no = p->external[person];

	return no ? p->ids.strings[no - 1] : STR("");
}

const struct value *people_get_trait(const struct people *p, uint32_t person, uint32_t path)
{
	const struct value *v;

	if (path >= p->n_paths || person >= p->cap_traits)
		return NULL;
	v = &p->traits[path][person];
	return v->type == VALUE_NONE ? NULL : v;
}
