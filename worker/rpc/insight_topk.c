/*
 * Top-K and maps: runs the kernel, looks up who the ranked persons are, writes the
 * answer down.
 */
#include <string.h>

#include "q.h"
#include "worker/insights/topk.h"
#include "worker/rpc/insight.h"
#include "worker/rpc/profile.h"

enum {
	/* Bytes of traits in one answer: as messages they take up to twenty times as much.
	 * Beyond it profiles come without. */
	TRAITS_BUDGET = 768 * 1024
};

struct run {
	struct topk *kernel;
	const struct topk_row *rows;
	uint32_t n;
};

static bool fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct run *run = s->kernel;

	(void)seg;
	return topk_fold(run->kernel, f);
}

/* On the thread, in the snapshot of the scan: what persons are called must be of that, too. */
static bool more(struct scan *s, struct reader *r)
{
	struct run *run = s->kernel;

	return topk_name(run->kernel, s, r);
}

static bool finish(struct scan *s)
{
	struct run *run = s->kernel;

	return topk_finish(run->kernel, &run->rows, &run->n);
}

static int put_profile(
	struct call *c, Insights__V1__TopKRow *out, const struct q_profiles_by_id_row *row)
{
	Insights__V1__TopKProfile *p = call_alloc(c, sizeof(*p));

	if (!p)
		return -1;
	insights__v1__top_kprofile__init(p);
	p->id = call_str(c, row->id);
	p->external_id = call_str(c, row->external_id);
	if (!p->id || !p->external_id)
		return -1;
	out->profile = p;
	if (!row->properties.p)
		return 0;
	/* NULL above: beyond the budget. The field is absent without traits, too (1.9) */
	p->properties = profile_traits(c, row->properties);
	if (!p->properties)
		return -1;
	if (p->properties->n_fields == 0)
		p->properties = NULL;
	return 0;
}

/* Whoever cannot be looked up stays without a profile; the numbers are right all the same. Asked
 * on the call's own handle, after the snapshot: who was deleted since has none. An id for each
 * row, "" for those that are no profile, because answers name their places. */
static int put_profiles(struct call *c, const struct run *run, Insights__V1__TopKRow *all)
{
	struct str *ids = call_alloc(c, (run->n + 1) * sizeof(*ids));
	struct q_profiles_by_id_row *rows;
	int n;

	if (!ids)
		return -1;
	for (uint32_t i = 0; i < run->n; i++)
		ids[i] = run->rows[i].profile ? run->rows[i].value : STR("");
	n = q_profiles_by_id(&c->db,
		&(struct q_profiles_by_id_args){c->who.project, {ids, (int)run->n}, TRAITS_BUDGET},
		&rows);
	for (int i = 0; i < n; i++)
		if (put_profile(c, &all[rows[i].no], &rows[i]) < 0)
			return -1;
	return 0;
}

static int put_rows(
	struct call *c, struct scan *s, const struct run *run, Insights__V1__TopKResult *result)
{
	Insights__V1__TopKRow *all = call_alloc(c, (run->n + 1) * sizeof(*all));

	result->rows = call_alloc(c, (run->n + 1) * sizeof(all));
	if (!all || !result->rows)
		return -1;
	for (uint32_t i = 0; i < run->n; i++) {
		insights__v1__top_krow__init(&all[i]);
		all[i].dimension_value = call_str(c, run->rows[i].value);
		if (!all[i].dimension_value)
			return -1;
		all[i].has_value = all[i].has_is_others = true;
		all[i].value = run->rows[i].number;
		all[i].is_others = run->rows[i].others;
		result->rows[i] = &all[i];
	}
	result->n_rows = run->n;
	return s->plan->dimension == DIMENSION_USER ? put_profiles(c, run, all) : 0;
}

int insight_top_k(struct call *c, struct scan *s, Insights__V1__QueryResponse *out)
{
	Insights__V1__TopKResult *result = call_alloc(c, sizeof(*result));
	struct run run = {.kernel = topk_new(s->plan)};

	if (!result)
		return -1;
	insights__v1__top_kresult__init(result);
	s->more = more;
	if (insight_run(c, s, &run, run.kernel != NULL, fold, finish) < 0 ||
		put_rows(c, s, &run, result) < 0)
		return -1;
	out->result_case = INSIGHTS__V1__QUERY_RESPONSE__RESULT_TOP_K;
	out->top_k = result;
	return 0;
}
