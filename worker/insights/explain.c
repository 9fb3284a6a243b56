/* See explain.h. */
#include "worker/insights/explain.h"
#include "q.h"
#include "worker/store/reader.h"

/* Each run is in a snapshot of its own, so a second one begins these anew; columns go on. */
bool explain_count(struct explain *e, struct db *db, int32_t project, const struct plan *plan)
{
	struct q_explain_segments_args args = {.project = project,
		.from_ms = plan->from_ms,
		.to_ms = plan->to_ms,
		.from_day = reader_day(plan->from_ms),
		.to_day = reader_day(plan->to_ms),
		.kinds = {plan->kinds, (int)plan->n_kinds}};
	struct q_explain_segments_row row;

	if (q_explain_segments(db, &args, &row) != 1)
		return false;
	e->from_ms = plan->from_ms;
	e->to_ms = plan->to_ms;
	e->segments = (struct explain_level){.all = (uint64_t)row.segments,
		.by_time = (uint64_t)row.by_time,
		.by_retention = (uint64_t)row.by_retention,
		.by_kind = (uint64_t)row.by_kind};
	e->inbox = (struct explain_level){.all = (uint64_t)row.inbox,
		.by_time = (uint64_t)row.inbox_by_time,
		.by_retention = (uint64_t)row.inbox_by_retention};
	e->scanned = e->hidden = e->matched = 0;
	return true;
}

/* Places of the columns that are no properties. */
enum { COLUMN_TIME, COLUMN_KIND, COLUMN_DISTINCT, COLUMN_SESSION, COLUMN_ID, COLUMNS_FIXED };

/* Once for both runs: the second one's plan is compiled from the same message, so it has the same
 * properties in the same order. Their keys are the message's, which outlives scan_again(). */
static bool make_columns(struct explain *e, const struct batch_need *need)
{
	static const char *const names[COLUMNS_FIXED] = {
		"time", "kind", "distinct_id", "session_id", "event_id"};

	e->columns = arena_array(e->a, COLUMNS_FIXED + need->n_props + 1, sizeof(*e->columns));
	if (!e->columns)
		return false;
	for (uint32_t i = 0; i < COLUMNS_FIXED; i++)
		e->columns[i].name = str_of(names[i]);
	for (uint32_t i = 0; i < need->n_props; i++)
		e->columns[COLUMNS_FIXED + i] =
			(struct explain_column){.name = need->props[i].key, .property = true};
	e->n_columns = COLUMNS_FIXED + need->n_props + 1;
	e->columns[e->n_columns - 1].name = STR("(not decoded)");
	return true;
}

static uint32_t property_of(const struct batch_need *need, const struct evseg_part *part)
{
	for (uint32_t i = 0; i < need->n_props; i++)
		if (need->props[i].scope == part->scope && str_eq(need->props[i].key, part->key))
			return COLUMNS_FIXED + i;
	return COLUMNS_FIXED + need->n_props;
}

/* Which column a part counts for; the last one when the plan has no use for it: rows of the inbox
 * come with all their parts. What is unpacked of these batch_load() decides; this must agree. */
static uint32_t column_of(const struct batch_need *need, const struct evseg_part *part, bool sealed)
{
	uint32_t none = COLUMNS_FIXED + need->n_props;

	switch (part->kind) {
	case PART_TIME:
		return COLUMN_TIME;
	case PART_KIND:
		return COLUMN_KIND;
	case PART_NUMBER:
	case PART_DISTINCT:
		return need->distinct ? COLUMN_DISTINCT : none;
	case PART_SESSION:
		return need->session ? COLUMN_SESSION : none;
	case PART_ID:
		return need->ids || (need->order && !sealed) ? COLUMN_ID : none;
	case PART_TIES:
		return need->order ? COLUMN_ID : none;
	case PART_PROP:
		return property_of(need, part);
	case PART_COOKIELESS:
	case PART_OVERFLOW:
	case PART_KINDS:
	default:
		return none;
	}
}

/* Commands have no column cache, which would give parts that are unpacked: so what is stored is
 * as in the database. */
static void count_columns(struct explain *e, const struct batch_need *need, const struct evseg *seg)
{
	for (uint32_t i = 0; i < seg->n_parts; i++) {
		uint32_t no = column_of(need, &seg->parts[i], seg->id != 0);
		struct explain_column *c = &e->columns[no];

		c->segments++;
		c->stored += seg->parts[i].stored.n;
		if (no < e->n_columns - 1)
			c->decoded += seg->parts[i].raw_n;
	}
}

void explain_segment(struct explain *e, const struct frame *f, const struct evseg *seg)
{
	(seg->id ? &e->segments : &e->inbox)->read++;
	e->scanned += seg->n;
	for (uint32_t i = 0; i < seg->n; i++) {
		e->hidden += seg->masked && seg->masked[i];
		e->matched += frame_matches(f, i);
	}
	explain_parts(e, f->plan, seg);
}

void explain_parts(struct explain *e, const struct plan *plan, const struct evseg *seg)
{
	e->over |= !e->columns && !make_columns(e, &plan->need);
	if (!e->over)
		count_columns(e, &plan->need, seg);
}
