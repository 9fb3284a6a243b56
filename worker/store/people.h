/*
 * Who a distinct_id is, for the time of one query (D25, D60): the live profile
 * with that id, else the person its alias names, else the live profile with
 * that external_id, else itself. Persons are dense numbers. Add the live profiles
 * first, then the aliases, then ask.
 *
 * Ids are known by their text, or, where a query does not ask what anybody is called, by
 * their digest, those of sealed events by the number that these have for them (numbers.h):
 * then whole segments are counted without a look-up. Both ways give the same persons. By
 * digest everybody is in a base (people_base.h), which others may use at the same time; ids that
 * are not in there are somebody of their own, and noted here.
 */
#ifndef STORE_PEOPLE_H
#define STORE_PEOPLE_H

#include "worker/store/intern.h"
#include "worker/store/people_base.h"
#include "worker/store/value.h"

enum { PERSON_FULL = INTERN_FULL };
/* What says whose an id is; a higher one wins. */
enum people_rank { RANK_ITSELF, RANK_EXTERNAL, RANK_ALIAS, RANK_PROFILE };

struct people {
	struct arena *a;
	bool by_digest;
	/* by digest */
	const struct people_base *base;
	struct digests others;     /* ids that are not in the base; persons after its own */
	const uint32_t *of_number; /* by number of sealed events, [0] is nobody's */
	uint32_t n_numbers;
	/* by text */
	struct intern ids;
	uint32_t *person;   /* by number of the id */
	uint8_t *rank;      /* enum people_rank: why */
	uint32_t *external; /* by number of a profile: number of its external_id + 1, or 0 */
	uint32_t n, cap;
	int64_t *dates; /* by number, where people_date() set one; or NULL */
	uint32_t cap_dates;
	/* traits wanted by profile filters: [path][person], VALUE_NONE where absent */
	struct value **traits;
	uint32_t n_paths, cap_traits;
};

bool people_init(struct people *p, struct arena *a, uint32_t n_paths);
/* By digest: without traits, keys, dates and external ids. Nobody is asked for before
 * people_use(). */
void people_init_digests(struct people *p, struct arena *a);
/* The base, which is ready, and outlives *p. */
void people_use(struct people *p, const struct people_base *base);

/* By text: a live profile; external_id may be empty. False at the arena's cap. */
bool people_profile(struct people *p, struct str id, struct str external_id);
/* alias names a profile; one that is not live is ignored. False at the arena's cap. */
bool people_alias(struct people *p, struct str alias, struct str profile);
/* Notes when a live profile was made, in us. False at the arena's cap. */
bool people_date(struct people *p, struct str profile, int64_t us);
/* Sets a trait of a person; text is copied. False at the arena's cap. */
bool people_trait(struct people *p, struct str person, uint32_t path, const struct value *v);
/* The person of an id, or PERSON_FULL at the arena's cap. */
uint32_t people_find(struct people *p, struct str id);
/* The same for up to INTERN_BATCH ids at once. False at the arena's cap. */
bool people_find_all(struct people *p, const struct str *ids, uint32_t n, uint32_t *persons);
/* Persons are below that; it grows as ids are asked for. */
uint32_t people_end(const struct people *p);
/* Whether a person is a live profile. */
bool people_has_profile(const struct people *p, uint32_t person);
/* Numbers of sealed events and persons in one range, for whoever keeps very many and does not
 * want to look each number up: a number is itself, and this is a person. */
static inline uint32_t people_id(const struct people *p, uint32_t person)
{
	return p->n_numbers + 1 + person;
}
/* The profile id, or the distinct_id of somebody anonymous; by text only. */
struct str people_key(const struct people *p, uint32_t person);
/* The external_id of a profile; empty when it has none, or the person is anonymous; by text
 * only. */
struct str people_external(const struct people *p, uint32_t person);
/* NULL when the person has no such trait. */
const struct value *people_get_trait(const struct people *p, uint32_t person, uint32_t path);

#endif
