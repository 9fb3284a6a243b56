/*
 * See agent.h. Answers are kept per worker, by the hash of the user agent and, because
 * anybody can make two that hash alike, by all of its text.
 */
#include <stdlib.h>

#include "shm/base/hash.h"
#include "worker/ingest/agent.h"
#include "worker/ingest/agent_match.h"
#include "worker/ingest/text.h"

enum {
	SETS = 256,
	WAYS = 4,
	AGENT_MAX = 1024, /* bytes that count (D90) */
	NAME_MAX_BYTES = 255
};

/* One answer: `agent` points into `text`, which begins with the user agent. */
struct kept {
	uint64_t hash;
	uint32_t used; /* when, in look-ups */
	size_t n;      /* of the user agent */
	struct agent agent;
	char text[];
};

struct agents {
	struct agent_match *match;
	struct kept *kept[SETS][WAYS];
	uint32_t now;
};

struct agents *agents_new(void)
{
	struct agents *g = calloc(1, sizeof(*g));

	if (g && !(g->match = agent_match_new())) {
		free(g);
		g = NULL;
	}
	return g;
}

void agents_free(struct agents *g)
{
	if (!g)
		return;
	for (int s = 0; s < SETS; s++)
		for (int w = 0; w < WAYS; w++)
			free(g->kept[s][w]);
	agent_match_free(g->match);
	free(g);
}

static const struct {
	struct str from, to;
} browsers[] = {
	{{"Chrome", 6}, {"Google Chrome", 13}},
	{{"Chrome Mobile", 13}, {"Google Chrome", 13}},
	{{"Edge", 4}, {"Microsoft Edge", 14}},
	{{"Edge Mobile", 11}, {"Microsoft Edge", 14}},
	{{"Mobile Safari", 13}, {"Safari", 6}},
};

static const char *const linuxes[] = {"Ubuntu", "Debian", "Fedora", "Red Hat", "CentOS", "SUSE",
	"openSUSE", "Gentoo", "Arch Linux", "Linux Mint", "Mageia", "Mandriva", "Slackware",
	"PCLinuxOS", "Kubuntu"};

/* "Other" is how the rules say that they do not know. */
static struct str name(struct arena *a, struct str s)
{
	s = text_clean(a, s);
	return s.n > NAME_MAX_BYTES || str_eq(s, STR("Other")) ? STR("") : s;
}

static struct str browser_name(struct str family)
{
	for (size_t i = 0; i < sizeof(browsers) / sizeof(browsers[0]); i++)
		if (str_eq(family, browsers[i].from))
			return browsers[i].to;
	return family;
}

static struct str os_name(struct str family)
{
	if (str_eq(family, STR("Mac OS X")))
		return STR("macOS");
	for (size_t i = 0; i < sizeof(linuxes) / sizeof(linuxes[0]); i++)
		if (str_eq(family, str_of(linuxes[i])))
			return STR("Linux");
	return family;
}

static struct str version(struct arena *a, const struct str parts[3])
{
	struct buf b;

	buf_init(&b, a);
	for (int i = 0; i < 3; i++) {
		if (parts[i].n && b.n)
			buf_c(&b, '.');
		buf_str(&b, parts[i]);
	}
	return name(a, b.over ? STR("") : (struct str){b.p, b.n});
}

static bool has(struct str s, const char *word)
{
	return memmem(s.p, s.n, word, strlen(word)) != NULL;
}

/* `os` as the rules call it, before os_name() (1.11). */
static bool is_mobile(struct str os, struct str user_agent)
{
	if (str_eq(os, STR("iOS")))
		return !has(user_agent, "iPad");
	return str_eq(os, STR("Android")) && has(user_agent, "Mobile");
}

static struct agent find(struct agents *g, struct arena *a, struct str user_agent)
{
	struct str out[AGENT_OUTPUTS];
	struct agent r = {0};

	agent_match_start(g->match, user_agent);
	if (agent_match(g->match, a, AGENT_BROWSER, user_agent, out)) {
		r.browser = browser_name(name(a, out[0]));
		r.browser_version = r.browser.n ? name(a, out[1]) : STR("");
	}
	if (agent_match(g->match, a, AGENT_OS, user_agent, out)) {
		r.os = os_name(name(a, out[0]));
		r.os_version = version(a, out + 1);
		r.mobile = is_mobile(out[0], user_agent);
	}
	if (agent_match(g->match, a, AGENT_DEVICE, user_agent, out))
		r.device = name(a, str_trim(out[0]));
	r.known = r.browser.n || r.os.n || r.os_version.n || r.device.n;
	return r;
}

/* All strings of an answer, to copy them. */
static void strings(struct agent *r, struct str *list[5])
{
	list[0] = &r->browser;
	list[1] = &r->browser_version;
	list[2] = &r->os;
	list[3] = &r->os_version;
	list[4] = &r->device;
}

/* Copies what r points to; `to` has room for all of it. */
static void move(struct agent *r, char *to)
{
	struct str *list[5];

	strings(r, list);
	for (int i = 0; i < 5; i++) {
		if (list[i]->n)
			memcpy(to, list[i]->p, list[i]->n);
		list[i]->p = to;
		to += list[i]->n;
	}
}

static size_t bytes(struct agent r)
{
	return r.browser.n + r.browser_version.n + r.os.n + r.os_version.n + r.device.n;
}

static struct kept *keep(uint64_t hash, struct str user_agent, struct agent r)
{
	struct kept *k = malloc(sizeof(*k) + user_agent.n + bytes(r));

	if (!k)
		return NULL;
	*k = (struct kept){.hash = hash, .n = user_agent.n, .agent = r};
	memcpy(k->text, user_agent.p, user_agent.n);
	move(&k->agent, k->text + user_agent.n);
	return k;
}

/* Its own copy: what is kept may be gone before the call ends. */
static struct agent own(struct arena *a, const struct kept *k)
{
	struct agent r = k->agent;
	char *to = arena_alloc(a, bytes(r) + 1);

	if (!to)
		return (struct agent){0};
	move(&r, to);
	return r;
}

struct agent agents_look_up(struct agents *g, struct arena *a, struct str user_agent)
{
	struct kept **set, **old;
	struct agent r;
	uint64_t hash;

	user_agent.n = user_agent.n > AGENT_MAX ? AGENT_MAX : user_agent.n;
	if (user_agent.n == 0)
		return (struct agent){0};
	hash = hash_64(user_agent.p, user_agent.n);
	old = set = g->kept[hash % SETS];
	g->now++;
	for (int w = 0; w < WAYS; w++) {
		if (set[w] && set[w]->hash == hash &&
			str_eq((struct str){set[w]->text, set[w]->n}, user_agent)) {
			set[w]->used = g->now;
			return own(a, set[w]);
		}
		/* ages, so that the counter may wrap */
		if (*old && (!set[w] || g->now - set[w]->used > g->now - (*old)->used))
			old = &set[w];
	}
	r = find(g, a, user_agent);
	free(*old);
	/* what this call's arena cut short is no answer for others */
	*old = a->over ? NULL : keep(hash, user_agent, r);
	if (*old)
		(*old)->used = g->now;
	return r;
}
