/* See enrich.h. */
#include <stdlib.h>

#include "shm/base/log.h"
#include "shm/message.h"
#include "worker/ingest/enrich.h"
#include "worker/worker.h"

/* From so many on the table of ENRICH_SEEN entries, which is zeroed for each call, is worth it. */
enum { SEEN_WORTH = 50 /* events */ };

struct enricher {
	struct agents *agents;
	struct geo *geo;
};

int enricher_start(struct worker *w)
{
	struct enricher *e = w->enricher = calloc(1, sizeof(*e));
	char error[GEO_ERROR];

	if (!e || !(e->agents = agents_new()))
		return EXIT_FAILURE;
	e->geo = geo_new(w->opt, error);
	if (!e->geo)
		log_err("configuration refused: %s", error);
	/* of a new generation: another worker would find the same settings, so it comes to nothing
	 */
	return e->geo ? 0 : EXIT_HOPELESS;
}

void enricher_free(struct enricher *e)
{
	if (!e)
		return;
	agents_free(e->agents);
	geo_free(e->geo);
	free(e);
}

bool enricher_check(const struct options *opt, char error[GEO_ERROR])
{
	struct geo *g = geo_new(opt, error);

	geo_free(g);
	return g != NULL;
}

void enrich_begin(struct call *c, struct enrich *x, size_t n_events)
{
	struct enricher *e = c->w->enricher;

	x->room = NULL;
	x->n_room = 0;
	/* without memory for it, it is only slower */
	x->seen =
		n_events > SEEN_WORTH ? arena_array(c->arena, ENRICH_SEEN, sizeof(*x->seen)) : NULL;
	x->place.n = 0;
	geo_look_up(e->geo, c, &x->place);
	x->agent = agents_look_up(e->agents, c->arena, http_header_get(c->rq, STR("user-agent")));
	attribution_init(&x->attribution, c->arena);
}

/* Leaves out what only the server may say, and of a key given twice the first value. In place:
 * what is kept never gets ahead of what is read. */
static void take_stock(struct props *p, uint32_t n)
{
	enum auto_key k;
	struct prop now;

	p->n = 0;
	for (int i = 0; i < AUTO_COUNT; i++)
		p->at[i] = -1;
	for (uint32_t i = 0; i < n; i++) {
		now = p->v[i];
		k = now.scope == SCOPE_AUTO ? autokey_find(now.key) : AUTO_COUNT;
		if (k == AUTO_COUNT) {
			p->v[p->n++] = now;
		} else if (p->at[k] >= 0) {
			p->v[p->at[k]].value = now.value;
		} else if (!autokey_server_only(k)) {
			p->at[k] = (int32_t)p->n;
			p->v[p->n++] = now;
		}
	}
}

static void put_agent(struct props *p, const struct agent *agent)
{
	const struct {
		enum auto_key key;
		struct str text;
	} texts[] = {
		{AUTO_BROWSER, agent->browser},
		{AUTO_BROWSER_VERSION, agent->browser_version},
		{AUTO_OS, agent->os},
		{AUTO_OS_VERSION, agent->os_version},
		{AUTO_DEVICE, agent->device},
	};

	if (!agent->known)
		return;
	/* A key that the client sent stays, an empty one, too. */
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].text.n && p->at[texts[i].key] < 0)
			props_put(p, texts[i].key,
				(struct value){.type = VALUE_STR, .s = texts[i].text});
	if (p->at[AUTO_MOBILE] < 0)
		props_put(p, AUTO_MOBILE, (struct value){.type = VALUE_BOOL, .i = agent->mobile});
}

/* In the order of 1.9: what a proxy says about the place replaces the client's word, what the
 * user agent says does not, and attribution derives from what is there by then. */
uint32_t enrich_props(struct enrich *x, struct prop *v, uint32_t n)
{
	struct props p = {.v = v};

	take_stock(&p, n);
	for (unsigned i = 0; i < x->place.n; i++)
		props_put(&p, x->place.v[i].key, x->place.v[i].value);
	put_agent(&p, &x->agent);
	attribution_apply(&x->attribution, &p);
	return p.n;
}
