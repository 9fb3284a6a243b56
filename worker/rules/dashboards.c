/* Rules of dashboards and their tiles. */
#include <stdio.h>

#include "proto/dashboards/v1/dashboards.pb-c.h"
#include "proto/validate.h"
#include "rules.h"

/* A logarithmic scale has no zero to begin at. */
void rule_visualization_options(struct pb_check *check, const ProtobufCMessage *message)
{
	const Dashboards__V1__VisualizationOptions *options =
		(const Dashboards__V1__VisualizationOptions *)message;

	if (options->log_scale && options->zero_baseline)
		pb_violation(check, "", "log_scale and zero_baseline exclude each other");
}

/* An id in two places would make the answer depend on their order. */
void rule_dashboard_upsert(struct pb_check *check, const ProtobufCMessage *message)
{
	const Dashboards__V1__DashboardsServiceUpsertRequest *in =
		(const Dashboards__V1__DashboardsServiceUpsertRequest *)message;
	char place[32];

	/* More tiles than are allowed are refused anyway: comparing all pairs is cheap. */
	for (size_t i = 1; i < in->n_tiles && i < 100; i++) {
		for (size_t j = 0; j < i; j++) {
			const char *id = in->tiles[i]->id, *other = in->tiles[j]->id;

			if (!id || !*id || !other || strcmp(id, other) != 0)
				continue;
			check->reason = "INVALID_TILE_CONTENT";
			snprintf(place, sizeof(place), "tiles[%zu].id", i);
			pb_violation(check, place, "id occurs twice in tiles");
			break;
		}
	}
}
