/*
 * ProfilesService: erasure (events-profiles.md 5.6-5.8, D27). The change is one SQL function,
 * committed as a whole, after which no read shows the person; the keeper removes what is
 * hidden (worker/jobs/eraser.h). Whether somebody without a profile exists only their events
 * say, so a scan stands between two asks.
 */
#include "q.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "shm/options.h"
#include "worker/insights/compile.h"
#include "worker/insights/scan.h"
#include "worker/worker.h"

/* ---- whether there are events of an id ---- */

struct search {
	struct str id;
	bool found;
};

static bool search_fold(struct scan *s, const struct frame *f, const struct evseg *seg)
{
	struct search *search = s->kernel;
	const struct batch_column *c = &f->batch->distinct;
	uint32_t wanted = 0;

	(void)seg;
	/* the dictionary has the ids of hidden events, too: rows decide */
	for (uint32_t i = 0; i < c->n_entries; i++)
		if (str_eq(c->entries[i].s, search->id))
			wanted = i + 1;
	for (uint32_t i = 0; wanted && i < f->batch->n && !search->found; i++)
		search->found = f->base[i] && c->codes[i] == wanted;
	return true;
}

static bool search_enough(struct scan *s, int64_t tmax)
{
	(void)tmax;
	return ((struct search *)s->kernel)->found;
}

/* Events of that very id, ids of visitors without cookies included; hidden ones are none. */
static int has_events(struct call *c, const char *id, bool *found)
{
	struct search search = {.id = str_of(id)};
	const char *why;
	struct scan scan;
	struct plan plan;
	int rc;

	scan_init(&scan, c);
	if (compile_persons(&plan, NULL, 0, false, &scan.a, &why) < 0) {
		rc = scan_no_memory(c);
	} else {
		plan.people = plan.dates = false;
		scan.plan = &plan;
		scan.fold = search_fold;
		scan.enough = search_enough;
		scan.kernel = &search;
		rc = scan_run(&scan, c);
	}
	scan_free(&scan);
	*found = search.found;
	return rc;
}

/* ---- requests ---- */

static int ask(struct call *c, struct q_erase_args *args, struct q_erase_row *row)
{
	int n = q_erase(&c->db, args, row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL, "the project was deleted");
	return 0;
}

/* Who is live, or known as a data subject without a request, is settled by the first ask.
 * What it answers otherwise (a request that was open before, or nothing) holds unless there
 * are events that are not hidden. */
static int erase(struct call *c, const char *id, bool data_subject, struct q_erase_row *row)
{
	char new_id[21];
	struct q_erase_args args = {.project = c->who.project,
		.new_id = {new_id, 20},
		.id = str_of(id),
		.data_subject = data_subject,
		.delay_us = data_subject ? 0 : (int64_t)c->w->opt->erasure_delay * 1000,
		.requested_by = str_of(c->who.customer_id)};

	hash_xid(new_id);
	if (ask(c, &args, row) < 0)
		return -1;
	if (row->request_id.p && !row->again)
		return 0;
	if (has_events(c, id, &args.events) < 0)
		return -1;
	args.seen = row->seen;
	/* without events too: somebody else's Delete may have hidden them meanwhile */
	if ((args.events || !row->request_id.p) && ask(c, &args, row) < 0)
		return -1;
	if (row->request_id.p)
		return 0;
	return call_fail_resource(
		c, "PROFILE_NOT_FOUND", "profile", id, "nobody in this project has this id");
}

int rpc_profiles_delete(
	struct call *c, const Profiles__V1__DeleteRequest *in, Profiles__V1__DeleteResponse *out)
{
	struct q_erase_row row;

	if (erase(c, in->id, false, &row) < 0)
		return -1;
	out->request_id = call_str(c, row.request_id);
	out->has_status = 1;
	out->status = (Profiles__V1__ComplianceRequestStatus)row.state;
	return out->request_id ? 0 : -1;
}

int rpc_profiles_delete_data_subject(struct call *c,
	const Profiles__V1__DeleteDataSubjectRequest *in,
	Profiles__V1__DeleteDataSubjectResponse *out)
{
	struct q_erase_row row;

	if (erase(c, in->external_id, true, &row) < 0)
		return -1;
	out->request_id = call_str(c, row.request_id);
	out->has_status = 1;
	out->status = (Profiles__V1__ComplianceRequestStatus)row.state;
	return out->request_id ? 0 : -1;
}

/* ---- how far one is ---- */

/* False after call_fail(). */
static bool put_text(struct call *c, struct str s, char **out)
{
	if (s.p)
		*out = call_str(c, s);
	return !s.p || *out;
}

static bool put_time(struct call *c, int64_t us, Google__Protobuf__Timestamp **out)
{
	*out = call_alloc(c, sizeof(**out));
	if (!*out)
		return false;
	google__protobuf__timestamp__init(*out);
	(*out)->seconds = us / 1000000;
	(*out)->nanos = (int32_t)(us % 1000000) * 1000;
	return true;
}

int rpc_profiles_get_deletion_request(struct call *c,
	const Profiles__V1__GetDeletionRequestRequest *in,
	Profiles__V1__GetDeletionRequestResponse *out)
{
	struct q_erasure_get_args args = {c->who.project, str_of(in->request_id)};
	struct q_erasure_get_row row;
	int n = q_erasure_get(&c->db, &args, &row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return call_fail_resource(c, "DELETION_REQUEST_NOT_FOUND", "deletion_request",
			in->request_id, "this project has no such deletion request");
	out->has_status = out->has_events_identified = 1;
	out->status = (Profiles__V1__ComplianceRequestStatus)row.state;
	out->events_identified = row.events;
	if (!put_text(c, str_of(in->request_id), &out->request_id) ||
		!put_text(c, row.profile_id, &out->profile_id) ||
		!put_text(c, row.external_id, &out->external_id) ||
		!put_text(c, row.error, &out->error) ||
		!put_time(c, row.requested_at, &out->requested_at) ||
		(!row.completed_at_null && !put_time(c, row.completed_at, &out->completed_at)))
		return -1;
	return 0;
}
