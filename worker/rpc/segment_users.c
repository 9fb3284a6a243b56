/* SegmentUsers: runs the kernel, writes a page down. */
#include <string.h>

#include "rpc.h"
#include "worker/insights/compile.h"
#include "worker/insights/segment_users.h"
#include "worker/rpc/insight.h"
#include "worker/rpc/page.h"

/* Longest distinct_id or external_id (D23). */
enum { PAGE_DEFAULT = 100, ID_MAX = 512 };

/* Of both runs, where there are two: the kernel's cursor points to `after`. */
struct run {
	struct segment_users *kernel;
	struct segment_page page;
	char after[ID_MAX];
	size_t n_after;
};

/* These three run on the scan's thread. False with by_text set asks for texts, without it memory
 * is full. */
static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct run *run = s->kernel;

	(void)seg;
	if (segment_users_fold(run->kernel, f))
		return true;
	s->by_text = segment_users_by_text(run->kernel);
	return false;
}

static bool more(struct scan *s, struct reader *r)
{
	struct run *run = s->kernel;

	if (!segment_users_name(run->kernel, s, r))
		return false;
	s->by_text = segment_users_by_text(run->kernel);
	return true;
}

static bool finish(struct scan *s)
{
	struct run *run = s->kernel;

	segment_users_finish(run->kernel, &run->page);
	return true;
}

/* The ids are in the query's memory, which goes. A page that others follow is not empty. */
static int put_page(
	struct call *c, const struct segment_page *page, Insights__V1__SegmentUsersResponse *out)
{
	struct str last;

	out->distinct_ids = call_alloc(c, (page->n + 1) * sizeof(char *));
	if (!out->distinct_ids)
		return -1;
	for (uint32_t i = 0; i < page->n; i++) {
		out->distinct_ids[i] = call_str(c, page->ids[i]);
		if (!out->distinct_ids[i])
			return -1;
	}
	out->n_distinct_ids = page->n;
	if (!page->more)
		return 0; /* nothing follows: no token (D55) */
	last = page->ids[page->n - 1];
	out->next_page_token = page_token(c, last.p, last.n);
	return out->next_page_token ? 0 : -1;
}

/* texts: of all events, where those of ids in memory may do. The plan is on this stack: s->plan
 * means nothing after the return. */
static int compile_and_run(struct call *c, struct scan *s,
	const Insights__V1__SegmentUsersRequest *in, struct run *run, bool texts,
	Insights__V1__SegmentUsersResponse *out)
{
	uint32_t want = in->page_size > 0 ? (uint32_t)in->page_size : PAGE_DEFAULT;
	struct plan plan;
	const char *why;

	if (compile_segment_users(&plan, in, &s->a, &why) < 0) {
		if (!why)
			return scan_no_memory(c);
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_INSIGHT_QUERY", "%s", why);
	}
	plan.need.texts &= texts;
	run->kernel =
		segment_users_new(&plan, (struct str){run->after, run->n_after}, want, &s->cache);
	if (!run->kernel)
		return scan_no_memory(c);
	s->plan = &plan;
	s->kernel = run;
	s->fold = fold;
	s->more = more;
	s->finish = finish;
	return scan_run(s, c) < 0 ? -1 : put_page(c, &run->page, out);
}

int rpc_insights_segment_users(struct call *c, const Insights__V1__SegmentUsersRequest *in,
	Insights__V1__SegmentUsersResponse *out)
{
	struct run run = {.n_after = 0};
	struct scan scan;
	int rc;

	if (in->page_token && *in->page_token &&
		page_payload_upto(
			c, str_of(in->page_token), run.after, sizeof(run.after), &run.n_after) < 0)
		return -1;
	scan_init(&scan, c);
	/* Without shared memory for texts the first run could only say that it needs them. */
	rc = compile_and_run(c, &scan, in, &run, scan.cache.ring == 0, out);
	if (rc < 0 && scan.end == SCAN_TEXTS) {
		scan_again(&scan);
		rc = compile_and_run(c, &scan, in, &run, true, out);
	}
	scan_free(&scan);
	return rc;
}
