/*
 * Where a visit came from, and the page's address in parts: derived from what the
 * event itself says (events-profiles.md 1.13).
 */
#ifndef INGEST_ATTRIBUTION_H
#define INGEST_ATTRIBUTION_H

#include "worker/ingest/channel.h"
#include "worker/ingest/props.h"
#include "worker/ingest/url.h"

/* Events of one call mostly are of one visit: what was found last. */
struct attribution {
	struct arena *a;
	struct str url, referrer; /* the texts parsed last */
	bool page;                /* url is a page's: http or https, with a host */
	struct str host, path, utm[UTM_COUNT];
	struct str referrer_host; /* without www.; "" when there is none */
	struct channel_signals signals;
	struct str channel; /* of these signals; "": none yet */
	struct str locale_was, locale;
	int64_t width, height;
	struct str screen; /* of these; "": none yet */
};

void attribution_init(struct attribution *at, struct arena *a);
void attribution_apply(struct attribution *at, struct props *p);

#endif
