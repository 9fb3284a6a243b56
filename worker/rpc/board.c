/* Rows of dashboards to messages: see board.h. */
#include "proto/wire_read.h"
#include "shm/base/log.h"
#include "tables.h"
#include "worker/rpc/board.h"
#include "worker/rpc/share.h"

#define PRESET_DEFAULT      COMMON__V1__TIME_RANGE_PRESET__TIME_RANGE_PRESET_LAST_30_DAYS
#define GRANULARITY_DEFAULT INSIGHTS__V1__GRANULARITY__GRANULARITY_DAY

/* What is stored is concrete: "unspecified" in a request is the default, and never shown
 * (insights-dashboards.md 5, 7.1). */
struct board_head board_head(const char *name, const char *description,
	Common__V1__TimeRangePreset range, Insights__V1__Granularity granularity)
{
	return (struct board_head){.name = str_of(name),
		.description = str_of(description ? description : ""),
		.time_range = range ? (int32_t)range : PRESET_DEFAULT,
		.granularity = granularity ? (int32_t)granularity : GRANULARITY_DEFAULT};
}

int board_read(struct call *c, struct db *db, int32_t project, const char *id,
	struct q_dashboard_read_row **rows)
{
	struct q_dashboard_read_args args = {
		.project = project, .id = id ? str_of(id) : (struct str){NULL, 0}};
	int n = q_dashboard_read(db, &args, rows);

	return n < 0 ? call_fail_db(c, db) : n;
}

int board_gone(struct call *c, const char *field, const char *id)
{
	struct str text = arena_printf(c->arena, "%s: no such dashboard", field);

	return call_fail_resource(
		c, "DASHBOARD_NOT_FOUND", "dashboard", id, text.p ? text.p : "no such dashboard");
}

Google__Protobuf__Timestamp *board_time(struct call *c, int64_t us)
{
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = us / 1000000;
	t->nanos = (int32_t)(us % 1000000) * 1000;
	return t;
}

/* The stored part; NULL after call_fail(). It has neither id nor names nor times, which are
 * columns: so equal contents have equal bytes (board_upsert.c), and of a broken one these are
 * still known. */
static Dashboards__V1__DashboardTile *tile_body(struct call *c, struct str body, bool *broken)
{
	struct wire_error err = {.memory = false};
	Dashboards__V1__DashboardTile *tile;
	ProtobufCMessage *message;

	*broken = false;
	/* the codec does arithmetic on the pointer */
	if (pb_unpack(&pb_msg_dashboards_v1_dashboard_tile, body.n ? body : STR(""), c->arena,
		    &message, &err) == 0)
		return (Dashboards__V1__DashboardTile *)message;
	if (err.memory) {
		call_fail(c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
		return NULL;
	}
	*broken = true;
	tile = call_alloc(c, sizeof(*tile));
	if (!tile)
		return NULL;
	dashboards__v1__dashboard_tile__init(tile);
	/* answers have both always (5) */
	tile->has_view_mode = tile->has_compare = true;
	return tile;
}

Dashboards__V1__DashboardTile *board_tile(
	struct call *c, const struct q_dashboard_read_row *row, int i, bool *broken)
{
	Dashboards__V1__DashboardTile *tile = tile_body(c, row->tile_bodies.v[i], broken);

	if (!tile)
		return NULL;
	tile->id = call_str(c, row->tile_ids.v[i]);
	tile->dashboard_id = call_str(c, row->id);
	tile->display_name = call_str(c, row->tile_names.v[i]);
	tile->description = call_str(c, row->tile_descriptions.v[i]);
	tile->create_time = board_time(c, row->tile_created.v[i]);
	tile->update_time = board_time(c, row->tile_updated.v[i]);
	if (!tile->id || !tile->dashboard_id || !tile->display_name || !tile->description ||
		!tile->create_time || !tile->update_time)
		return NULL;
	return tile;
}

/* A tile that cannot be decoded fails the call (7.2): were it left out, the next Upsert of what
 * is shown would delete it (7.3). */
static int put_tiles(
	struct call *c, const struct q_dashboard_read_row *row, Dashboards__V1__Dashboard *out)
{
	out->tiles = call_alloc(c, ((size_t)row->tile_ids.n + 1) * sizeof(*out->tiles));
	if (!out->tiles)
		return -1;
	for (int i = 0; i < row->tile_ids.n; i++) {
		bool broken;

		out->tiles[i] = board_tile(c, row, i, &broken);
		if (!out->tiles[i])
			return -1;
		if (broken) {
			log_err("stored tile cannot be decoded id=%.*s",
				STR_ARG(row->tile_ids.v[i]));
			return call_fail(c, CODE_INTERNAL, NULL, "internal error");
		}
		out->n_tiles++;
	}
	return 0;
}

Dashboards__V1__Dashboard *board_message(
	struct call *c, const struct q_dashboard_read_row *row, bool with_share)
{
	Dashboards__V1__Dashboard *d = call_alloc(c, sizeof(*d));

	if (!d)
		return NULL;
	dashboards__v1__dashboard__init(d);
	d->id = call_str(c, row->id);
	d->project_id = call_str(c, str_of(c->who.project_id));
	d->display_name = call_str(c, row->display_name);
	d->description = call_str(c, row->description);
	d->create_time = board_time(c, row->create_time);
	d->update_time = board_time(c, row->update_time);
	d->has_default_time_range = d->has_default_granularity = true;
	d->default_time_range = (Common__V1__TimeRangePreset)row->time_range;
	d->default_granularity = (Insights__V1__Granularity)row->granularity;
	/* NULL where no key of ours opens it: then it is shown without a link (7.2) */
	if (with_share && row->share.p)
		d->share_id = share_text(c, row->id, row->share);
	if (!d->id || !d->project_id || !d->display_name || !d->description || !d->create_time ||
		!d->update_time || put_tiles(c, row, d) < 0)
		return NULL;
	return d;
}

int board_list(struct call *c, const struct q_dashboard_read_row *rows, int n,
	Dashboards__V1__DashboardsServiceListResponse *out)
{
	out->dashboards = call_alloc(c, ((size_t)n + 1) * sizeof(*out->dashboards));
	if (!out->dashboards)
		return -1;
	for (int i = 0; i < n; i++) {
		out->dashboards[i] = board_message(c, &rows[i], true);
		if (!out->dashboards[i])
			return -1;
		out->n_dashboards++;
	}
	return 0;
}
