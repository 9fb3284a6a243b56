/*
 * Who a distinct_id is, for the time of one query (D25, D60): the live profile
 * with that id, else the person its alias names, else the live profile with
 * that external_id, else itself. Persons are dense numbers. Fill it weakest rule
 * first, so that the stronger ones overwrite.
 */
#ifndef STORE_PEOPLE_H
#define STORE_PEOPLE_H

#include "worker/store/intern.h"
#include "worker/store/value.h"

enum { PERSON_FULL = INTERN_FULL };

struct people {
	struct intern ids;
	uint32_t *person; /* by number of the id */
	uint32_t n, cap;
	/* traits wanted by profile filters: [path][person], VALUE_NONE where absent */
	struct value **traits;
	uint32_t n_paths, cap_traits;
};

bool people_init(struct people *p, struct arena *a, uint32_t n_paths);
/* id belongs to the person whose key (profile id) is given. False at the arena's cap. */
bool people_link(struct people *p, struct str id, struct str person);
/* Sets a trait of a person; text is copied. False at the arena's cap. */
bool people_trait(struct people *p, struct str person, uint32_t path, const struct value *v);
/* The person of an id, or PERSON_FULL at the arena's cap. */
uint32_t people_find(struct people *p, struct str id);
/* The profile id, or the distinct_id of somebody anonymous. */
struct str people_key(const struct people *p, uint32_t person);
/* NULL when the person has no such trait. */
const struct value *people_get_trait(const struct people *p, uint32_t person, uint32_t path);

#endif
