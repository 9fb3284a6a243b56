/*
 * See agent_match.h. Expressions are compiled when they are first needed, to PCRE2's
 * interpreter: its compiler to machine code wants memory that is writable and
 * executable, which neither our sandbox nor systemd's allows.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "shm/base/log.h"
#include "worker/ingest/agent_match.h"

enum {
	AGENT_MAX = 1024,
	GROUPS = 10,
	/* Per expression: all of uap-core's own tests come out right with it, and the slowest
	 * user agent that a search found costs 4 ms, once. */
	STEPS_MAX = 10000,
	HEAP_KB = 512
};

struct agent_match {
	pcre2_code **code; /* of agent_rules; NULL: not needed yet */
	bool *bad;         /* cannot be compiled: never matches */
	pcre2_match_data *data;
	pcre2_match_context *context;
	uint64_t *can; /* bits: rules worth trying */
	unsigned cut;
};

static size_t words(void)
{
	return (agent_rule_count + 63u) / 64;
}

struct agent_match *agent_match_new(void)
{
	struct agent_match *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->code = calloc(agent_rule_count, sizeof(pcre2_code *));
	m->bad = calloc(agent_rule_count, sizeof(bool));
	m->can = calloc(words(), sizeof(uint64_t));
	m->data = pcre2_match_data_create(GROUPS, NULL);
	m->context = pcre2_match_context_create(NULL);
	if (!m->code || !m->bad || !m->can || !m->data || !m->context) {
		agent_match_free(m);
		return NULL;
	}
	pcre2_set_match_limit(m->context, STEPS_MAX);
	pcre2_set_heap_limit(m->context, HEAP_KB);
	return m;
}

void agent_match_free(struct agent_match *m)
{
	if (!m)
		return;
	for (unsigned i = 0; m->code && i < agent_rule_count; i++)
		pcre2_code_free(m->code[i]);
	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->context);
	free(m->code);
	free(m->bad);
	free(m->can);
	free(m);
}

static void mark(struct agent_match *m, unsigned rule)
{
	m->can[rule / 64] |= (uint64_t)1 << rule % 64;
}

static struct str cut_agent(struct str agent)
{
	if (agent.n > AGENT_MAX)
		agent.n = AGENT_MAX;
	return agent;
}

/* At every place three bytes choose a bucket of atoms, by the hash of bucket() in gen/agents.py:
 * the two must stay the same. A rule too many is tried in vain, one too few loses an answer. */
void agent_match_start(struct agent_match *m, struct str agent)
{
	char low[AGENT_MAX];
	const struct agent_atom *atom;
	uint32_t three, bucket;

	agent = cut_agent(agent);
	memset(m->can, 0, words() * sizeof(*m->can));
	for (unsigned i = 0; i < agent_always_count; i++)
		mark(m, agent_always[i]);
	for (size_t i = 0; i < agent.n; i++)
		low[i] = agent.p[i] >= 'A' && agent.p[i] <= 'Z' ? (char)(agent.p[i] | 0x20)
								: agent.p[i];
	for (size_t i = 0; i + AGENT_ATOM_MIN <= agent.n; i++) {
		three = (uint32_t)(unsigned char)low[i] | (uint32_t)(unsigned char)low[i + 1] << 8 |
			(uint32_t)(unsigned char)low[i + 2] << 16;
		bucket = three * 2654435761u >> (32 - AGENT_BUCKET_BITS);
		for (unsigned k = agent_buckets[bucket]; k < agent_buckets[bucket + 1]; k++) {
			atom = &agent_atoms[k];
			if (atom->n > agent.n - i || memcmp(low + i, atom->text, atom->n) != 0)
				continue;
			for (unsigned r = 0; r < atom->rules; r++)
				mark(m, agent_atom_rules[atom->first + r]);
		}
	}
}

static pcre2_code *compiled(struct agent_match *m, unsigned rule)
{
	const struct agent_rule *r = &agent_rules[rule];
	int error;
	PCRE2_SIZE at;

	if (m->code[rule] || m->bad[rule])
		return m->code[rule];
	/* without PCRE2_UTF: a header may hold any bytes */
	m->code[rule] = pcre2_compile((PCRE2_SPTR)r->regex, PCRE2_ZERO_TERMINATED,
		r->fold ? PCRE2_CASELESS : 0, &error, &at, NULL);
	/* Without memory it is worth another try. */
	if (!m->code[rule] && error != PCRE2_ERROR_NOMEMORY) {
		m->bad[rule] = true;
		log_warn("user-agent rule cannot be compiled rule=%u error=%d", rule, error);
	}
	return m->code[rule];
}

unsigned agent_match_check(struct agent_match *m)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < agent_rule_count; i++)
		bad += compiled(m, i) == NULL;
	return bad;
}

unsigned agent_match_cut(const struct agent_match *m)
{
	return m->cut;
}

/* The groups of the last match; those that took no part are empty. */
static struct str group(const struct agent_match *m, int groups, int i, struct str agent)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);

	if (i >= groups || at[2 * i] == PCRE2_UNSET || at[2 * i] > at[2 * i + 1])
		return STR("");
	return (struct str){agent.p + at[2 * i], at[2 * i + 1] - at[2 * i]};
}

/* A rule's own text with $1 to $9. */
static struct str fill(const struct agent_match *m, struct arena *a, const char *text, int groups,
	struct str agent)
{
	struct buf b;

	if (!strchr(text, '$'))
		return str_of(text);
	buf_init(&b, a);
	for (; *text; text++) {
		if (text[0] == '$' && text[1] >= '1' && text[1] <= '9')
			buf_str(&b, group(m, groups, *++text - '0', agent));
		else
			buf_c(&b, *text);
	}
	return str_trim(b.over ? STR("") : (struct str){b.p, b.n});
}

/* True when the rule matches and names a family. */
static bool try_rule(struct agent_match *m, struct arena *a, unsigned rule, struct str agent,
	struct str out[AGENT_OUTPUTS])
{
	const struct agent_rule *r = &agent_rules[rule];
	pcre2_code *code = compiled(m, rule);
	int groups;

	if (!code)
		return false;
	groups = pcre2_match(code, (PCRE2_SPTR)agent.p, agent.n, 0, 0, m->data, m->context);
	if (groups < 0) {
		/* a bound that was met counts as no match: the next rule has its chance (D90) */
		m->cut += groups != PCRE2_ERROR_NOMATCH;
		return false;
	}
	if (groups == 0) /* more groups than anybody names */
		groups = GROUPS;
	for (int i = 0; i < AGENT_OUTPUTS; i++)
		out[i] = r->out[i] ? fill(m, a, r->out[i], groups, agent)
				   : group(m, groups, i + 1, agent);
	return out[0].n > 0;
}

bool agent_match(struct agent_match *m, struct arena *a, enum agent_list list, struct str agent,
	struct str out[AGENT_OUTPUTS])
{
	unsigned i = list == AGENT_BROWSER ? 0 : agent_list_ends[list - 1];

	agent = cut_agent(agent);
	for (; agent.n && i < agent_list_ends[list]; i++) {
		if (!(m->can[i / 64] >> i % 64 & 1))
			continue;
		if (try_rule(m, a, i, agent, out))
			return true;
	}
	for (i = 0; i < AGENT_OUTPUTS; i++)
		out[i] = STR("");
	return false;
}
