/* What kernels.c asks, of the events that it makes. */
#ifndef BENCH_QUESTIONS_H
#define BENCH_QUESTIONS_H

#define WINDOW                                                                                    \
	"\"timeRange\": {\"from\": \"2025-01-01T00:00:00Z\", \"to\": \"2025-04-01T00:00:00Z\"}, " \
	"\"granularity\": \"GRANULARITY_"
#define EVENT(kind) "{\"event\": {\"kind\": \"" kind "\"}}"
#define UNIQUE(kind) \
	"{\"event\": {\"kind\": \"" kind "\"}, \"aggregation\": \"AGGREGATION_TYPE_UNIQUE_USERS\"}"
#define ANY                                                                       \
	"{\"event\": {\"filters\": [{\"property\": \"$pathname\", \"operator\": " \
	"\"FILTER_OPERATOR_IS_SET\", \"source\": \"PROPERTY_SOURCE_AUTO\"}]}}"
#define ASK(type, rest, unit) \
	"{\"spec\": {\"insightType\": \"INSIGHT_TYPE_" type "\", " rest "}, " WINDOW unit "\"}"

static const struct {
	const char *name, *json;
} questions[] = {
	{"trends", ASK("TRENDS", "\"events\": [" EVENT("page_view") "]", "DAY")},
	{"trends-path",
		ASK("TRENDS",
			"\"events\": [" EVENT("page_view") "], \"breakdowns\": [{\"property\": "
							   "\"$pathname\"}]",
			"DAY")},
	{"trends-sum",
		ASK("TRENDS",
			"\"events\": [{\"event\": {\"kind\": \"page_view\"}, \"aggregation\": "
			"\"AGGREGATION_TYPE_SUM\", \"aggregationProperty\": \"amount\"}], "
			"\"breakdowns\": [{\"property\": \"$pathname\"}, "
			"{\"property\": \"$country\"}]",
			"DAY")},
	{"unique", ASK("TRENDS", "\"events\": [" UNIQUE("page_view") "]", "DAY")},
	{"unique-all", ASK("TRENDS", "\"events\": [" UNIQUE("") "]", "DAY")},
	{"unique-path",
		ASK("TRENDS",
			"\"events\": [" UNIQUE("page_view") "], \"breakdowns\": [{\"property\": "
							    "\"$pathname\"}]",
			"DAY")},
	{"trends-kinds", ASK("TRENDS", "\"events\": []", "DAY")},
	{"unique-country",
		ASK("TRENDS",
			"\"events\": [" UNIQUE("page_view") "], \"breakdowns\": [{\"property\": "
							    "\"$country\"}]",
			"DAY")},
	{"segmentation", ASK("SEGMENTATION", "\"events\": [" UNIQUE("page_view") "]", "DAY")},
	{"topk", ASK("TOP_K",
			 "\"topK\": {\"dimension\": \"DIMENSION_PROPERTY\", \"property\": "
			 "\"$pathname\", \"scope\": {\"kind\": \"page_view\"}}",
			 "DAY")},
	{"topk-users", ASK("TOP_K",
			       "\"topK\": {\"dimension\": \"DIMENSION_PROPERTY\", \"property\": "
			       "\"$pathname\", \"scope\": {\"kind\": \"page_view\"}, "
			       "\"metric\": \"AGGREGATION_TYPE_UNIQUE_USERS\"}",
			       "DAY")},
	{"topk-who", ASK("TOP_K", "\"topK\": {\"dimension\": \"DIMENSION_USER\"}", "DAY")},
	{"map-users", ASK("MAP",
			      "\"map\": {\"scope\": {\"kind\": \"page_view\"}, "
			      "\"metric\": \"AGGREGATION_TYPE_UNIQUE_USERS\"}",
			      "DAY")},
	{"funnel", ASK("FUNNEL",
			   "\"events\": [" EVENT("page_view") ", " EVENT("add_to_cart") ", " EVENT(
				   "purchase") "], \"conversionWindow\": \"604800s\"",
			   "DAY")},
	{"funnel-timing",
		ASK("FUNNEL",
			"\"events\": [" EVENT("page_view") ", " EVENT("add_to_cart") ", " EVENT(
				"purchase") "], \"conversionWindow\": \"604800s\", "
					    "\"includeStepTiming\": true",
			"DAY")},
	{"funnel-country",
		ASK("FUNNEL",
			"\"events\": [" EVENT("page_view") ", " EVENT("add_to_cart") ", " EVENT(
				"purchase") "], \"conversionWindow\": \"604800s\", "
					    "\"breakdowns\": [{\"property\": \"$country\"}]",
			"DAY")},
	{"funnel-all",
		ASK("FUNNEL",
			"\"events\": [" ANY ", " ANY ", " ANY "], \"includeStepTiming\": true, "
			"\"conversionWindow\": \"604800s\"",
			"DAY")},
	{"funnel-one", ASK("FUNNEL", "\"events\": [" ANY "]", "DAY")},
	{"retention", ASK("RETENTION", "\"events\": [" ANY ", " ANY "]", "WEEK")},
	{"retention-view", ASK("RETENTION", "\"events\": [" EVENT("page_view") "]", "WEEK")},
	{"retention-day",
		ASK("RETENTION",
			"\"events\": [" EVENT("page_view") ", " ANY "], \"breakdowns\": "
							   "[{\"property\": \"$country\"}]",
			"DAY")},
	{"flow", ASK("USER_FLOW", "\"userFlow\": {\"nodeKind\": \"NODE_KIND_EVENT_KIND\"}", "DAY")},
	{"flow-path",
		ASK("USER_FLOW",
			"\"userFlow\": {\"nodeKind\": \"NODE_KIND_PROPERTY\", \"nodeProperty\": "
			"\"$pathname\"}",
			"DAY")},
	{"flow-one",
		ASK("USER_FLOW",
			"\"userFlow\": {\"nodeKind\": \"NODE_KIND_PROPERTY\", \"nodeProperty\": "
			"\"$pathname\", \"scope\": {\"kind\": \"page_view\"}}",
			"DAY")},
	{"sessions",
		ASK("TRENDS", "\"session\": {\"metric\": \"SESSION_METRIC_AVG_DURATION\"}", "DAY")},
	{"sessions-bounce",
		ASK("SEGMENTATION", "\"session\": {\"metric\": \"SESSION_METRIC_BOUNCE_RATE\"}",
			"DAY")},
	{"sessions-entry",
		ASK("TRENDS",
			"\"session\": {\"metric\": \"SESSION_METRIC_ENTRY\"}, \"breakdowns\": "
			"[{\"property\": \"$pathname\"}]",
			"DAY")},
	{"segment-users",
		"{\"events\": [{\"event\": {\"kind\": \"page_view\"}}], \"timeRange\": {\"from\": "
		"\"2025-01-01T00:00:00Z\", \"to\": \"2025-04-01T00:00:00Z\"}}"},
};

#endif
