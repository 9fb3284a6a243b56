/*
 * DashboardsService: dashboards of a project (insights-dashboards.md 7.2). Upsert has a
 * file of its own (board_upsert.c), as have the results of tiles (board_query.c).
 */
#include "rpc.h"
#include "shm/base/hash.h"
#include "worker/rpc/board.h"
#include "worker/rpc/share.h"

int rpc_dashboards_create(struct call *c, const Dashboards__V1__DashboardsServiceCreateRequest *in,
	Dashboards__V1__DashboardsServiceCreateResponse *out)
{
	struct board_head head = board_head(
		in->display_name, in->description, in->default_time_range, in->default_granularity);
	struct q_dashboard_create_row made;
	struct board_tx tx;
	char id[21];

	hash_xid(id);
	if (board_begin(c, &tx) < 0)
		return -1;
	int n = q_dashboard_create(&tx.db,
		&(struct q_dashboard_create_args){.id = str_of(id),
			.project = c->who.project,
			.display_name = head.name,
			.description = head.description,
			.time_range = head.time_range,
			.granularity = head.granularity},
		&made);
	/* 0 cannot be: board_begin() has locked the project's row. */
	if (n < 1) {
		(void)call_fail_db(c, &tx.db);
		db_rollback(&tx.db);
		return -1;
	}
	if (board_commit(c, &tx, "display_name") < 0)
		return -1;
	out->dashboard = board_message(c,
		&(struct q_dashboard_read_row){.id = str_of(id),
			.display_name = head.name,
			.description = head.description,
			.time_range = head.time_range,
			.granularity = head.granularity,
			.create_time = made.create_time,
			.update_time = made.create_time},
		false);
	return out->dashboard ? 0 : -1;
}

/* Without board_begin(): the project's dashboards only become smaller. */
int rpc_dashboards_delete(struct call *c, const Dashboards__V1__DashboardsServiceDeleteRequest *in,
	Dashboards__V1__DashboardsServiceDeleteResponse *out)
{
	struct q_dashboard_delete_args args = {.project = c->who.project, .id = str_of(in->id)};
	int n = q_dashboard_delete(&c->db, &args);

	(void)out;
	if (n < 0)
		return call_fail_db(c, &c->db);
	return n == 0 ? board_gone(c, "id", in->id) : 0;
}

/* As it is now; NULL after call_fail(). */
static Dashboards__V1__Dashboard *current(struct call *c, struct db *db, const char *id)
{
	struct q_dashboard_read_row *rows;
	int n = board_read(c, db, c->who.project, id, &rows);

	if (n == 0)
		board_gone(c, "id", id);
	return n > 0 ? board_message(c, &rows[0], true) : NULL;
}

int rpc_dashboards_get(struct call *c, const Dashboards__V1__DashboardsServiceGetRequest *in,
	Dashboards__V1__DashboardsServiceGetResponse *out)
{
	out->dashboard = current(c, &c->db, in->id);
	return out->dashboard ? 0 : -1;
}

int rpc_dashboards_list(struct call *c, const Dashboards__V1__DashboardsServiceListRequest *in,
	Dashboards__V1__DashboardsServiceListResponse *out)
{
	struct q_dashboard_read_row *rows;
	int n = board_read(c, &c->db, c->who.project, NULL, &rows);

	(void)in;
	return n < 0 ? -1 : board_list(c, rows, n, out);
}

/* Inside the transaction. The answer is read there, too: it shows this change and not the next
 * one. An empty description changes nothing, and a window that is left out becomes the default one
 * (insights-dashboards.md 7.2). */
static int change(struct call *c, struct db *tx,
	const Dashboards__V1__DashboardsServiceUpdateRequest *in,
	Dashboards__V1__DashboardsServiceUpdateResponse *out)
{
	struct board_head head = board_head(
		in->display_name, in->description, in->default_time_range, in->default_granularity);
	bool is_public = in->is_public, rotate = in->has_rotate_share && in->rotate_share;
	struct q_dashboard_update_row row;
	struct share share = {.sealed = STR("")};

	/* made in any case where it may be wanted: whether there is one only the statement sees */
	if ((in->has_is_public || rotate) && share_make(c, str_of(in->id), &share) < 0)
		return -1;
	int n = q_dashboard_update(tx,
		&(struct q_dashboard_update_args){.project = c->who.project,
			.id = str_of(in->id),
			.display_name = head.name,
			.description = head.description,
			.time_range = head.time_range,
			.granularity = head.granularity,
			.is_public = in->has_is_public ? &is_public : NULL,
			.rotate = rotate,
			.hash = {(const char *)share.hash, sizeof(share.hash)},
			.sealed = share.sealed},
		&row);
	if (n < 0)
		return call_fail_db(c, tx);
	if (n == 0)
		return board_gone(c, "id", in->id);
	out->dashboard = current(c, tx, in->id);
	return out->dashboard ? 0 : -1;
}

int rpc_dashboards_update(struct call *c, const Dashboards__V1__DashboardsServiceUpdateRequest *in,
	Dashboards__V1__DashboardsServiceUpdateResponse *out)
{
	struct board_tx tx;

	if (board_begin(c, &tx) < 0)
		return -1;
	if (change(c, &tx.db, in, out) < 0) {
		db_rollback(&tx.db);
		return -1;
	}
	return board_commit(c, &tx, "description");
}
