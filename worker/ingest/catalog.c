/*
 * See catalog.h. Events of a call tend to have the same kind and the same keys in the same
 * order as the event before, so these are compared before anything is hashed.
 */
#include "worker/ingest/catalog.h"

#include "proto/validate.h"
#include "q.h"
#include "shm/base/clock.h"
#include "worker/ingest/autokey.h"
#include "worker/ingest/known.h"
#include "worker/store/evseg.h"
#include "worker/store/intern.h"
#include "worker/worker.h"

enum {
	NAME_BYTES = 512,
	RECENT = 8, /* kinds that are compared */
	AHEAD = 3   /* properties of the event before that may be missing in this one */
};

/* Every key that is admitted, of both lists, and the server's own have their columns in one
 * segment: else some keys would take the columns of others, and neighbours could not be merged. */
_Static_assert(
	EVSEG_KEYS_MAX >= 2 * CATALOG_KEYS_MAX + AUTO_COUNT, "a segment holds the catalogue");

/* The keeper spares what is younger than a minute. */
static const int64_t DOUBT_US = INT64_C(90) * 1000000;

struct admission {
	struct call *c;
	struct known *known;
	uint64_t now_ms;
	struct event *events;
	uint32_t n;
	struct intern asked; /* u8 list, name */
	bool *refused;       /* by number there */
	bool over, excess;   /* excess: some key is known to have no room */
	const struct event *before;
	struct str recent[RECENT];
	unsigned n_recent;
};

static enum name_list list_of(const struct prop *p)
{
	return p->scope == SCOPE_AUTO ? NAME_AUTO : NAME_CUSTOM;
}

/* List and name as one string in buf. Names are at most 255 bytes (D23). */
static struct str spelled(enum name_list list, struct str name, char buf[NAME_BYTES])
{
	size_t n = name.n < NAME_BYTES - 1 ? name.n : NAME_BYTES - 1;

	buf[0] = (char)list;
	if (n)
		memcpy(buf + 1, name.p, n);
	return (struct str){buf, n + 1};
}

static void look_up(struct admission *ad, enum name_list list, struct str name)
{
	char buf[NAME_BYTES];

	switch (known_find(ad->known, ad->c->who.project, list, name, ad->now_ms)) {
	case VERDICT_GOOD:
		return;
	case VERDICT_EXCESS:
		ad->excess = true;
		return;
	case VERDICT_NONE:
	default:
		if (intern_add(&ad->asked, spelled(list, name, buf)) == INTERN_FULL)
			ad->over = true;
	}
}

/* What the server itself may add has its column in every project. */
static bool is_ours(const struct prop *p)
{
	return p->scope == SCOPE_AUTO && autokey_find(p->key) != AUTO_COUNT;
}

static void look_at_kind(struct admission *ad, struct str kind)
{
	for (unsigned i = 0; i < RECENT && i < ad->n_recent; i++)
		if (str_eq(ad->recent[i], kind))
			return;
	ad->recent[ad->n_recent++ % RECENT] = kind;
	look_up(ad, NAME_KIND, kind);
}

/* True when the event before had it, from *at on; moves behind it. Then it was looked up with
 * that one. */
static bool had_key(const struct event *before, uint32_t *at, const struct prop *p)
{
	for (uint32_t i = *at; before && i < before->n_props && i < *at + AHEAD; i++) {
		const struct prop *q = &before->props[i];

		if (q->scope != p->scope || !str_eq(q->key, p->key))
			continue;
		*at = i + 1;
		return true;
	}
	return false;
}

static void look_at(struct admission *ad, const struct event *ev)
{
	uint32_t at = 0;

	look_at_kind(ad, ev->kind);
	for (uint32_t i = 0; i < ev->n_props; i++) {
		const struct prop *p = &ev->props[i];

		if (!had_key(ad->before, &at, p) && !is_ours(p))
			look_up(ad, list_of(p), p->key);
	}
	ad->before = ev;
}

/* ---- asking ---- */

static int no_memory(struct admission *ad)
{
	return call_fail(ad->c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
}

/* One violation for each event whose kind has no room. */
static int refuse(struct admission *ad, const Events__V1__BatchCreateRequest *in)
{
	struct pb_check check;
	char buf[NAME_BYTES];

	pb_check_init(&check, ad->c->arena);
	for (uint32_t i = 0; i < ad->n; i++) {
		const char *field = in->events[i]->kind ? "kind" : "name";
		uint32_t no = intern_find(&ad->asked, spelled(NAME_KIND, ad->events[i].kind, buf));
		char path[64];

		if (no == INTERN_FULL || !ad->refused[no])
			continue;
		snprintf(path, sizeof(path), "events[%u].%s", i, field);
		pb_violation(&check, path,
			"%s must be one that the project has already: it has %d kinds, the most "
			"there may be",
			field, CATALOG_KINDS_MAX);
	}
	return call_violations(ad->c, &check);
}

/* Into ad->refused: which of the asked have no room. */
static int ask(struct admission *ad, struct catalog_new *new)
{
	uint32_t n = ad->asked.n;
	struct q_catalog_admit_args args = {.project = ad->c->who.project,
		.kinds_max = CATALOG_KINDS_MAX,
		.keys_max = CATALOG_KEYS_MAX};
	int32_t *list = call_alloc(ad->c, n * sizeof(*list));
	struct str *name = call_alloc(ad->c, n * sizeof(*name));
	struct q_catalog_admit_row row;

	ad->refused = call_alloc(ad->c, n * sizeof(*ad->refused));
	if (!list || !name || !ad->refused)
		return -1;
	memset(ad->refused, 0, n * sizeof(*ad->refused));
	for (uint32_t i = 0; i < n; i++) {
		list[i] = ad->asked.strings[i].p[0];
		name[i] = (struct str){ad->asked.strings[i].p + 1, ad->asked.strings[i].n - 1};
	}
	args.list = (struct db_int4s){list, (int)n};
	args.name = (struct db_texts){name, (int)n};
	if (q_catalog_admit(&ad->c->db, &args, &row) < 0)
		return call_fail_db(ad->c, &ad->c->db);
	for (int i = 0; !row.excess_null && i < row.excess.n; i++)
		if (row.excess.v[i] >= 1 && (uint32_t)row.excess.v[i] <= n)
			ad->refused[row.excess.v[i] - 1] = true;
	/* ascending, so they move to the front */
	for (int i = 0; !row.added_null && i < row.added.n; i++) {
		if (row.added.v[i] < new->n + 1 || (uint32_t)row.added.v[i] > n)
			continue;
		list[new->n] = list[row.added.v[i] - 1];
		name[new->n++] = name[row.added.v[i] - 1];
	}
	new->list = list;
	new->name = name;
	return 0;
}

/* False when a kind is refused. Then pugd.catalog_admit() has added nothing, keys neither, and
 * nothing may be remembered. */
static bool remember(struct admission *ad)
{
	for (uint32_t i = 0; i < ad->asked.n; i++)
		if (ad->asked.strings[i].p[0] == NAME_KIND && ad->refused[i])
			return false;
	for (uint32_t i = 0; i < ad->asked.n; i++) {
		struct str s = ad->asked.strings[i];

		ad->excess |= ad->refused[i];
		known_add(ad->known, ad->c->who.project, (enum name_list)s.p[0],
			(struct str){s.p + 1, s.n - 1},
			ad->refused[i] ? VERDICT_EXCESS : VERDICT_GOOD, ad->now_ms);
	}
	return true;
}

/* ---- keys without room ---- */

/* The answer of this moment goes first: a full known.c may have forgotten it again. */
static bool has_no_room(struct admission *ad, const struct prop *p)
{
	char buf[NAME_BYTES];
	uint32_t no = intern_find(&ad->asked, spelled(list_of(p), p->key, buf));

	if (is_ours(p))
		return false;
	if (no != INTERN_FULL)
		return ad->refused[no];
	return known_find(ad->known, ad->c->who.project, list_of(p), p->key, ad->now_ms) ==
	       VERDICT_EXCESS;
}

static int mark(struct admission *ad, struct event *ev)
{
	uint8_t *excess = NULL;

	for (uint32_t i = 0; i < ev->n_props; i++) {
		if (!has_no_room(ad, &ev->props[i]))
			continue;
		if (!excess) {
			excess = call_alloc(ad->c, ev->n_props);
			if (!excess)
				return -1;
			memset(excess, 0, ev->n_props);
		}
		excess[i] = 1;
	}
	ev->excess = excess;
	return 0;
}

int catalog_admit(struct call *c, const Events__V1__BatchCreateRequest *in, struct event *events,
	uint32_t n, struct catalog_new *new)
{
	struct admission ad = {
		.c = c, .known = c->w->known, .now_ms = clock_mono_ms(), .events = events, .n = n};

	*new = (struct catalog_new){.n = 0};
	intern_init(&ad.asked, c->arena);
	for (uint32_t i = 0; i < n; i++)
		look_at(&ad, &events[i]);
	if (ad.over)
		return no_memory(&ad);
	if (ad.asked.n) {
		if (ask(&ad, new) < 0)
			return -1;
		if (!remember(&ad))
			return refuse(&ad, in);
	}
	for (uint32_t i = 0; i < n && ad.excess; i++)
		if (mark(&ad, &events[i]) < 0)
			return -1;
	return 0;
}

void catalog_settle(
	struct call *c, const struct catalog_new *new, bool failed, uint32_t created, uint32_t n)
{
	struct q_catalog_withdraw_args args = {
		c->who.project, {new->list, new->n}, {new->name, new->n}};

	if (new->n == 0 || (!failed && created == n))
		return;
	for (int i = 0; i < new->n; i++)
		known_forget(
			c->w->known, c->who.project, (enum name_list) new->list[i], new->name[i]);
	if (!failed && created == 0)
		(void)q_catalog_withdraw(&c->db, &args);
	else
		(void)q_catalog_doubt(
			&c->db, &(struct q_catalog_doubt_args){c->who.project, DOUBT_US});
}
