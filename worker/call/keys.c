/* Derivation of the signing keys: see keys.h. Derived on each use rather than
 * kept: a few microseconds buy that no key outlives the function that needs it. */
#include <string.h>
#include "shm/base/hash.h"
#include "worker/call/keys.h"

static const char *const labels[KEY_USES] = {
	[KEY_JWT] = "pugd access token v1",
	[KEY_REFRESH] = "pugd refresh token v1",
	[KEY_PAGE_TOKEN] = "pugd page token v1",
	[KEY_PROVIDER_SECRET] = "pugd provider secret v1",
	[KEY_MAIL] = "pugd mail link v1",
	[KEY_SHARE] = "pugd share link v1",
};

/* Fewer bytes than this are a truncated or test file; signing with them would
 * be forgeable, so every caller fails closed instead. */
enum { SECRET_MIN = 32 };

bool keys_derive(const struct options *opt, enum key_use use, bool previous, uint8_t out[KEY_BYTES])
{
	const uint8_t *secret = previous ? opt->secret_previous : opt->secret;
	uint32_t len = previous ? opt->secret_previous_len : opt->secret_len;

	memset(out, 0, KEY_BYTES);
	if (len < SECRET_MIN || len > OPTIONS_SECRET_MAX)
		return false;
	hash_hkdf(secret, len, labels[use], out, KEY_BYTES);
	return true;
}
