/*
 * How many dashboards a project may have: no more than List, which knows no pages, can show
 * within the memory of a call. See board.h.
 */
#include "proto/json.h"
#include "shm/options.h"
#include "tables.h"
#include "worker/call/child.h"
#include "worker/rpc/board.h"
#include "worker/worker.h"

enum {
	BOARDS = 1000,
	/* Memory that a stored byte may take: as a row, as a message (filters: up to 16), as
	 * JSON, which doubles its room (filters: up to 16, a control character 12), with the
	 * decoder wanting to be sure of its memory beforehand. And what
	 * each dashboard and tile takes for its own ids, times and names of fields. */
	BYTE_FACTOR = 64,
	ROW_BYTES = 4096
};

static int lock(struct call *c, struct board_tx *tx)
{
	struct q_dashboards_lock_row row;
	int n = q_dashboards_lock(&tx->db, &(struct q_dashboards_lock_args){c->who.project}, &row);

	if (n == 0)
		return call_fail_resource(c, "PROJECT_NOT_FOUND", "project", c->who.project_id,
			"x-project-id: the project does not exist any more");
	if (n < 0 || q_dashboards_size(&tx->db, &(struct q_dashboards_size_args){c->who.project},
			     &tx->before) < 0)
		return call_fail_db(c, &tx->db);
	return 0;
}

int board_begin(struct call *c, struct board_tx *tx)
{
	if (db_begin(&tx->db, c->w->db, c->arena, c->deadline_ms) < 0)
		return call_fail_db(c, &tx->db);
	if (lock(c, tx) == 0)
		return 0;
	db_rollback(&tx->db);
	return -1;
}

/* What List would do, as if nothing were left over. No more of these go on at once than
 * there are connections for transactions. */
static int try_list(struct call *c, struct db *tx, size_t memory, bool *fits)
{
	Dashboards__V1__DashboardsServiceListResponse out =
		DASHBOARDS__V1__DASHBOARDS_SERVICE_LIST_RESPONSE__INIT;
	struct arena *before = tx->arena;
	struct q_dashboard_read_row *rows;
	struct call_child child;
	struct buf text;
	int n;

	child_begin(&child, c, memory);
	tx->arena = &child.arena;
	n = board_read(&child.c, tx, c->who.project, NULL, &rows);
	tx->arena = before;
	if (n >= 0 && board_list(&child.c, rows, n, &out) == 0) {
		buf_init(&text, &child.arena);
		(void)json_write(
			&pb_msg_dashboards_v1_dashboards_service_list_response, &out.base, &text);
	}
	/* what else is wrong with a stored dashboard is no reason to refuse another one */
	*fits = !child.arena.over && child.c.code != CODE_RESOURCE_EXHAUSTED;
	arena_free(&child.arena);
	return n < 0 && *fits ? call_fail_db(c, tx) : 0;
}

static int check_room(struct call *c, struct board_tx *tx, const char *field)
{
	int64_t memory = c->w->opt->call_memory / 8 * 7; /* the rest: the call itself */
	struct q_dashboards_size_row row;
	bool fits = true;

	if (q_dashboards_size(&tx->db, &(struct q_dashboards_size_args){c->who.project}, &row) < 0)
		return call_fail_db(c, &tx->db);
	/* who is beyond it, by an option that changed, may get out of it */
	if (row.boards <= tx->before.boards && row.bytes <= tx->before.bytes)
		return 0;
	if (row.boards > BOARDS)
		return call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			"%s: the project would have more than %d dashboards", field, BOARDS);
	if (row.bytes > (memory - row.rows * ROW_BYTES) / BYTE_FACTOR &&
		try_list(c, &tx->db, (size_t)memory, &fits) < 0)
		return -1;
	return fits ? 0
		    : call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL,
			      "%s: the project's dashboards would be larger than List can show",
			      field);
}

int board_commit(struct call *c, struct board_tx *tx, const char *field)
{
	if (check_room(c, tx, field) < 0) {
		db_rollback(&tx->db);
		return -1;
	}
	return db_commit(&tx->db) < 0 ? call_fail_db(c, &tx->db) : 0;
}
