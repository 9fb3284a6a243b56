/* See zone.h. What counts as a zone is what the tz database has (D90). */
#include "worker/rpc/zone.h"

#include "worker/insights/tz.h"

static bool is_utc(struct str name)
{
	return name.n == 0 || str_eq(name, STR("UTC"));
}

/* The zone is read only to see whether there is one. What is returned is `name` itself. */
struct str zone_or_utc(const char *name)
{
	struct arena a;
	struct str s = str_of(name);
	if (is_utc(s))
		return STR("");
	arena_init(&a, 1 << 20);
	bool known = tz_open(s, &a) != NULL;
	arena_free(&a);
	return known ? s : STR("");
}

int zone_checked(struct call *c, const char *name, struct str *out)
{
	struct str s = str_of(name);
	*out = zone_or_utc(name);
	if (out->n == 0 && !is_utc(s))
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_TIMEZONE",
			"reporting_timezone: unknown timezone");
	return 0;
}
