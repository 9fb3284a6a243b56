/*
 * DashboardsService.Upsert: makes a dashboard equal to the request (insights-dashboards.md
 * 7.3), in one transaction that holds its row. A tile whose content is the same stays
 * untouched, its update_time included.
 */
#include "proto/wire_read.h"
#include "rpc.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"
#include "worker/rpc/board.h"
#include "worker/worker.h"

#define VIEW_LINE DASHBOARDS__V1__DASHBOARD_TILE_VIEW_MODE__DASHBOARD_TILE_VIEW_MODE_LINE

/* Columns of tiles, for one statement. */
struct columns {
	struct str ids[BOARD_TILES], names[BOARD_TILES], descriptions[BOARD_TILES],
		bodies[BOARD_TILES];
	int n;
};

struct upsert {
	const Dashboards__V1__DashboardsServiceUpsertRequest *in;
	struct board_head head;
	struct columns wanted; /* in the request's order; new tiles have ids already */
	bool is_new[BOARD_TILES];
	struct columns add, change;
	struct str keep[BOARD_TILES];
	int n_keep;
	bool touched; /* the dashboard differs from what is stored */
};

static bool given(const char *text)
{
	return text && *text;
}

static bool is_plain_header(const Dashboards__V1__TileHeader *h)
{
	return !given(h->icon) && !given(h->accent_color) && !h->hide_title && !h->borderless;
}

static bool is_plain_drawing(const Dashboards__V1__VisualizationOptions *v)
{
	return !v->y_axis_format && !v->log_scale && !v->hide_legend && !v->zero_baseline &&
	       !v->hide_sparkline && !v->legend_position && !v->hide_pie_labels;
}

/* The stored form, in which equal contents have equal bytes: defaults are written out or
 * left out always. What Get returns packs to the same bytes again. A new field of tiles must be
 * named here, or it is dropped without a word. */
static int pack(struct call *c, const Dashboards__V1__DashboardTileInput *in, struct str *body)
{
	Dashboards__V1__DashboardTile t = DASHBOARDS__V1__DASHBOARD_TILE__INIT;
	struct buf b;

	t.has_view_mode = t.has_compare = true;
	t.compare = in->compare;
	if (in->content_case == DASHBOARDS__V1__DASHBOARD_TILE_INPUT__CONTENT_INSIGHT) {
		t.content_case = DASHBOARDS__V1__DASHBOARD_TILE__CONTENT_INSIGHT;
		t.insight = in->insight;
		t.view_mode = in->view_mode ? in->view_mode : VIEW_LINE;
	} else {
		t.content_case = DASHBOARDS__V1__DASHBOARD_TILE__CONTENT_MARKDOWN;
		t.markdown = in->markdown;
	}
	t.n_thresholds = in->n_thresholds;
	t.thresholds = in->thresholds;
	t.header = in->header && !is_plain_header(in->header) ? in->header : NULL;
	t.visualization = in->visualization && !is_plain_drawing(in->visualization)
				  ? in->visualization
				  : NULL;
	t.position = in->position;
	buf_init(&b, c->arena);
	pb_pack(&t.base, &b);
	*body = (struct str){b.p, b.n};
	return b.over ? call_fail(
				c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory")
		      : 0;
}

/* What the request wants, before anything is locked. New tiles get their ids here, by which the
 * answer finds them again. */
static int prepare(struct call *c, struct upsert *u)
{
	must(u->in->n_tiles <= BOARD_TILES); /* validation has seen to it */
	for (size_t i = 0; i < u->in->n_tiles; i++) {
		const Dashboards__V1__DashboardTileInput *tile = u->in->tiles[i];

		u->is_new[i] = !given(tile->id);
		if (u->is_new[i]) {
			char *id = call_alloc(c, 21);

			if (!id)
				return -1;
			hash_xid(id);
			u->wanted.ids[i] = str_of(id);
		} else {
			u->wanted.ids[i] = str_of(tile->id);
		}
		u->wanted.names[i] = str_of(tile->display_name ? tile->display_name : "");
		u->wanted.descriptions[i] = str_of(tile->description ? tile->description : "");
		if (pack(c, tile, &u->wanted.bodies[i]) < 0)
			return -1;
		u->wanted.n++;
	}
	return 0;
}

static void take(struct columns *to, const struct columns *from, int i)
{
	to->ids[to->n] = from->ids[i];
	to->names[to->n] = from->names[i];
	to->descriptions[to->n] = from->descriptions[i];
	to->bodies[to->n] = from->bodies[i];
	to->n++;
}

/* Sorts the wanted tiles into new, changed and untouched ones. No id is there twice
 * (worker/rules/dashboards.c), so that keep has room and its number tells how many stored tiles
 * go. */
static int compare(
	struct call *c, struct upsert *u, const struct q_dashboard_tiles_row *stored, int n)
{
	const struct columns *w = &u->wanted;

	for (int i = 0; i < w->n; i++) {
		int at = 0;

		if (u->is_new[i]) {
			take(&u->add, w, i);
			continue;
		}
		while (at < n && !str_eq(stored[at].id, w->ids[i]))
			at++;
		if (at == n)
			return call_fail_resource(c, "DASHBOARD_TILE_NOT_FOUND", "dashboard",
				u->in->id, "tiles: an id is not that of a tile of this dashboard");
		u->keep[u->n_keep++] = w->ids[i];
		if (!str_eq(stored[at].display_name, w->names[i]) ||
			!str_eq(stored[at].description, w->descriptions[i]) ||
			!str_eq(stored[at].body, w->bodies[i]))
			take(&u->change, w, i);
	}
	return 0;
}

/* Names are compared by the database only: lower-cased, and empty ones not at all (name_key in
 * 005_dashboards.sql). */
static int failed(struct call *c, const struct db *tx)
{
	if (tx->err.kind == DB_UNIQUE &&
		strcmp(tx->err.constraint, "dashboard_tiles_name_key") == 0)
		return call_fail(c, CODE_ALREADY_EXISTS, "DASHBOARD_TILE_NAME_CONFLICT",
			"display_name: two tiles of the dashboard would have the same name");
	return call_fail_db(c, tx);
}

/* Deletes first, then changes all at once, then adds: so every name is free by the time
 * somebody takes it. */
static int write_tiles(struct call *c, struct db *tx, struct upsert *u, int stored)
{
	struct str board = str_of(u->in->id);
	struct columns *m = &u->change, *a = &u->add;

	if (u->n_keep < stored &&
		q_dashboard_tiles_keep(
			tx, &(struct q_dashboard_tiles_keep_args){board, {u->keep, u->n_keep}}) < 0)
		return failed(c, tx);
	if (m->n > 0 &&
		q_dashboard_tiles_change(tx,
			&(struct q_dashboard_tiles_change_args){board, {m->ids, m->n},
				{m->names, m->n}, {m->descriptions, m->n}, {m->bodies, m->n}}) < 0)
		return failed(c, tx);
	if (a->n > 0 &&
		q_dashboard_tiles_add(tx,
			&(struct q_dashboard_tiles_add_args){board, {a->ids, a->n},
				{a->names, a->n}, {a->descriptions, a->n}, {a->bodies, a->n}}) < 0)
		return failed(c, tx);
	if (u->n_keep < stored || m->n > 0 || a->n > 0)
		u->touched = true;
	return 0;
}

/* The dashboard's update_time moves if, and only if, something of it or of its tiles has changed
 * (7.3). */
static int write_head(struct call *c, struct db *tx, const struct upsert *u)
{
	struct q_dashboard_touch_args args = {.project = c->who.project,
		.id = str_of(u->in->id),
		.display_name = u->head.name,
		.description = u->head.description,
		.time_range = u->head.time_range,
		.granularity = u->head.granularity};

	if (!u->touched)
		return 0;
	return q_dashboard_touch(tx, &args) < 0 ? failed(c, tx) : 0;
}

static bool differs(const struct board_head *head, const struct q_dashboard_lock_row *row)
{
	return !str_eq(head->name, row->display_name) ||
	       !str_eq(head->description, row->description) ||
	       head->time_range != row->time_range || head->granularity != row->granularity;
}

/* The answer lists tiles as the request did. Read before the commit, under the row's lock: so it
 * has exactly the tiles that were wanted, each once. Without a link (7.3). */
static Dashboards__V1__Dashboard *answer(struct call *c, struct db *tx, const struct upsert *u)
{
	Dashboards__V1__Dashboard *d;
	Dashboards__V1__DashboardTile **ordered;
	struct q_dashboard_read_row *rows;
	int n = board_read(c, tx, c->who.project, u->in->id, &rows);

	if (n == 0)
		board_gone(c, "id", u->in->id);
	d = n > 0 ? board_message(c, &rows[0], false) : NULL;
	ordered = d ? call_alloc(c, (d->n_tiles + 1) * sizeof(*ordered)) : NULL;
	if (!ordered)
		return NULL;
	must(d->n_tiles == (size_t)u->wanted.n);
	for (size_t i = 0; i < d->n_tiles; i++) {
		size_t at = 0;

		while (at + 1 < d->n_tiles && !str_eq(str_of(d->tiles[at]->id), u->wanted.ids[i]))
			at++;
		ordered[i] = d->tiles[at];
	}
	d->tiles = ordered;
	return d;
}

/* Tiles are read once the row is locked, in a statement of their own: who waited for another
 * Upsert sees all of that. The project's row is locked already (board_begin()): whoever takes
 * both does so in this order. */
static int reconcile(
	struct call *c, struct db *tx, struct upsert *u, Dashboards__V1__Dashboard **out)
{
	struct q_dashboard_lock_args lock = {.project = c->who.project, .id = str_of(u->in->id)};
	struct q_dashboard_lock_row row;
	struct q_dashboard_tiles_row *stored;
	int n = q_dashboard_lock(tx, &lock, &row);

	if (n < 0)
		return failed(c, tx);
	if (n == 0)
		return board_gone(c, "id", u->in->id);
	n = q_dashboard_tiles(tx, &(struct q_dashboard_tiles_args){lock.id}, &stored);
	if (n < 0)
		return failed(c, tx);
	u->touched = differs(&u->head, &row);
	if (compare(c, u, stored, n) < 0 || write_tiles(c, tx, u, n) < 0 ||
		write_head(c, tx, u) < 0)
		return -1;
	*out = answer(c, tx, u);
	return *out ? 0 : -1;
}

int rpc_dashboards_upsert(struct call *c, const Dashboards__V1__DashboardsServiceUpsertRequest *in,
	Dashboards__V1__DashboardsServiceUpsertResponse *out)
{
	struct upsert *u = call_alloc(c, sizeof(*u));
	struct board_tx tx;

	if (!u)
		return -1;
	u->in = in;
	u->head = board_head(
		in->display_name, in->description, in->default_time_range, in->default_granularity);
	if (prepare(c, u) < 0)
		return -1;
	if (board_begin(c, &tx) < 0)
		return -1;
	if (reconcile(c, &tx.db, u, &out->dashboard) < 0) {
		db_rollback(&tx.db);
		return -1;
	}
	return board_commit(c, &tx, "tiles");
}
