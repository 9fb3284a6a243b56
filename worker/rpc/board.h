/*
 * Dashboards in messages: what DashboardsService, its Upsert and the rendering of
 * dashboards have in common. Everything lives as long as the call's arena.
 */
#ifndef RPC_BOARD_H
#define RPC_BOARD_H

#include "proto/dashboards/v1/dashboards.pb-c.h"
#include "q.h"
#include "worker/call/call.h"

enum { BOARD_TILES = 100 };

/* Name, description and window of a dashboard; a zero window means the default one. */
struct board_head {
	struct str name, description;
	int32_t time_range, granularity;
};

struct board_head board_head(const char *name, const char *description,
	Common__V1__TimeRangePreset range, Insights__V1__Granularity granularity);

/* All dashboards of a project (id == NULL) or one. Their number, or -1 after call_fail(). */
int board_read(struct call *c, struct db *db, int32_t project, const char *id,
	struct q_dashboard_read_row **rows);
/* DASHBOARD_NOT_FOUND for the id in that field; returns -1. */
int board_gone(struct call *c, const char *field, const char *id);
/* With its tiles; a tile that cannot be decoded fails the call. NULL after call_fail(). */
Dashboards__V1__Dashboard *board_message(
	struct call *c, const struct q_dashboard_read_row *row, bool with_share);
/* Tile i. *broken: its body cannot be decoded, so it has ids, names and times only. NULL
 * after call_fail(). */
Dashboards__V1__DashboardTile *board_tile(
	struct call *c, const struct q_dashboard_read_row *row, int i, bool *broken);
/* All of these with tiles and links into the answer. 0, or -1 after call_fail(). */
int board_list(struct call *c, const struct q_dashboard_read_row *rows, int n,
	Dashboards__V1__DashboardsServiceListResponse *out);

/* board_room.c: a transaction in which nobody else makes dashboards of the project larger. */
struct board_tx {
	struct db db;
	struct q_dashboards_size_row before;
};

/* 0, or -1 after call_fail(): then it is over. */
int board_begin(struct call *c, struct board_tx *tx);
/* Commits, unless the change made the project's dashboards too many or too large for List;
 * `field` is to blame then. 0, or -1 after call_fail(): then nothing is changed. */
int board_commit(struct call *c, struct board_tx *tx, const char *field);

/* NULL after call_fail(). */
Google__Protobuf__Timestamp *board_time(struct call *c, int64_t us);

#endif
