/* See autokey.h. Asked for every property of every event: by length, then by bytes. */
#include "worker/ingest/autokey.h"

enum { LONGEST = 15 };

static const struct {
	struct str name;
	bool never;
} keys[AUTO_COUNT] = {
#define AUTO_KEY(member, name, never) [AUTO_##member] = {{name, sizeof(name) - 1}, never},
	AUTO_KEYS(AUTO_KEY)
#undef AUTO_KEY
};

/* Where the names of a length begin, and so where those of the length before end. A length
 * without names begins where the next one does; a new name may move what is here. */
static const uint8_t first[LONGEST + 2] = {[3] = AUTO_OS,
	[4] = AUTO_URL,
	[5] = AUTO_CITY,
	[6] = AUTO_DEVICE,
	[7] = AUTO_DEVICE,
	[8] = AUTO_COUNTRY,
	[9] = AUTO_HOSTNAME,
	[10] = AUTO_UTM_SOURCE,
	[11] = AUTO_SCREEN_SIZE,
	[12] = AUTO_UTM_CAMPAIGN,
	[13] = AUTO_VERIFIED_BOT,
	[14] = AUTO_BROWSER_VERSION,
	[15] = AUTO_BROWSER_VERSION,
	[16] = AUTO_COUNT};

enum auto_key autokey_find(struct str name)
{
	if (name.n < 3 || name.n > LONGEST || name.p[0] != '$')
		return AUTO_COUNT;
	for (unsigned k = first[name.n]; k < first[name.n + 1]; k++)
		if (memcmp(keys[k].name.p, name.p, name.n) == 0)
			return (enum auto_key)k;
	return AUTO_COUNT;
}

struct str autokey_name(enum auto_key k)
{
	return keys[k].name;
}

bool autokey_server_only(enum auto_key k)
{
	return keys[k].never;
}
