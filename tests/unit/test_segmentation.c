/* Segmentation against insights-dashboards.md 1.4. */
#include "tests/unit/insight_kit.h"

TestSuite(segmentation, .init = kit_setup, .fini = kit_teardown);

#define Q(events)                                                                               \
	"{\"spec\":{\"insightType\":\"INSIGHT_TYPE_SEGMENTATION\",\"events\":[" events          \
	"]},\"timeRange\":{\"from\":\"2024-01-01T00:00:00Z\",\"to\":\"2024-01-05T00:00:00Z\"}," \
	"\"granularity\":\"GRANULARITY_DAY\"}"
#define EV(kind, agg)                                                                \
	"{\"event\":{\"kind\":\"" kind "\"},\"aggregation\":\"AGGREGATION_TYPE_" agg \
	"\",\"aggregationProperty\":\"amt\"}"

static const char *const data[] = {"2024-01-01T10:00:00 view u1", "2024-01-01T11:00:00 view u1",
	"2024-01-01T12:00:00 view u2", "2024-01-02T09:00:00 view u3", NULL,
	"2024-01-01T11:30:00 buy u1 amt=3", "2024-01-04T09:30:00 buy u3 amt=4.5", NULL, NULL};

Test(segmentation, union_of_events_and_first_aggregation)
{
	cr_assert_eq(kit_segmentation(Q(EV("view", "TOTAL") "," EV("buy", "SUM")), data), 6);
	cr_assert_eq(kit_segmentation(Q(EV("buy", "SUM") "," EV("view", "TOTAL")), data), 7.5);
	cr_assert_eq(kit_segmentation(Q(EV("view", "UNIQUE_USERS")), data), 3);
	cr_assert_eq(kit_segmentation(Q(EV("view", "TOTAL") "," EV("view", "TOTAL")), data), 4);
	cr_assert_eq(kit_segmentation(Q(""), data), 6);
}

Test(segmentation, nothing_is_zero)
{
	cr_assert_eq(kit_segmentation(Q(EV("none", "TOTAL")), data), 0);
	cr_assert_eq(kit_segmentation(Q(EV("none", "PER_USER_AVG")), data), 0);
	cr_assert_eq(kit_segmentation(Q(EV("view", "MAX")), data), 0);
}

Test(segmentation, empty_members_are_refused)
{
	struct plan plan;

	cr_assert_not_null(kit_compile(&plan, Q(EV("view", "TOTAL") ",{\"event\":{}}"), ""));
	cr_assert_not_null(kit_compile(&plan, Q("{}"), ""));
	cr_assert_null(kit_compile(&plan, Q("{\"event\":{}}"), ""));
	(void)kit_trends;
}
