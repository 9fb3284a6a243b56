/* The rules that gen/agents.py made tables of; agent_match.c says how they are used. */
#ifndef INGEST_AGENT_RULES_H
#define INGEST_AGENT_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum agent_list { AGENT_BROWSER, AGENT_OS, AGENT_DEVICE, AGENT_LISTS };

enum { AGENT_OUTPUTS = 4, AGENT_ATOM_MIN = 3, AGENT_BUCKET_BITS = 12 };

struct agent_rule {
	const char *regex;
	const char *out[AGENT_OUTPUTS]; /* with $1 to $9; NULL: the group of that number */
	bool fold;                      /* case does not matter */
};

/* A text, one of which must be there for a rule to match; lower case. */
struct agent_atom {
	const char *text;
	uint8_t n;
	uint16_t first, rules; /* of agent_atom_rules */
};

extern const struct agent_rule agent_rules[];
extern const uint16_t agent_rule_count;
extern const uint16_t agent_list_ends[]; /* AGENT_LISTS; a list begins where the last ends */
extern const uint16_t agent_always[];    /* rules without atoms */
extern const uint16_t agent_always_count;
extern const struct agent_atom agent_atoms[]; /* by bucket */
extern const uint16_t agent_atom_rules[];
extern const uint16_t agent_buckets[]; /* where each begins, and one more */

#endif
