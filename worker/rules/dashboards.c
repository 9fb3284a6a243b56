/* Rules of dashboards and their tiles. */
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
