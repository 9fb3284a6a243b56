/*
 * The automatic properties that the server has something to say about
 * (events-profiles.md 1.9).
 */
#ifndef INGEST_AUTOKEY_H
#define INGEST_AUTOKEY_H

#include "shm/base/str.h"

/* AUTO_KEY(member, name, the client's value never counts), in order of their lengths. */
#define AUTO_KEYS(AUTO_KEY)                                 \
	AUTO_KEY(OS, "$os", false)                          \
	AUTO_KEY(IP, "$ip", true)                           \
	AUTO_KEY(URL, "$url", false)                        \
	AUTO_KEY(CITY, "$city", false)                      \
	AUTO_KEY(DEVICE, "$device", false)                  \
	AUTO_KEY(MOBILE, "$mobile", false)                  \
	AUTO_KEY(LOCALE, "$locale", false)                  \
	AUTO_KEY(REGION, "$region", false)                  \
	AUTO_KEY(COUNTRY, "$country", false)                \
	AUTO_KEY(BROWSER, "$browser", false)                \
	AUTO_KEY(CHANNEL, "$channel", true)                 \
	AUTO_KEY(UTM_TERM, "$utmTerm", false)               \
	AUTO_KEY(HOSTNAME, "$hostname", false)              \
	AUTO_KEY(PATHNAME, "$pathname", false)              \
	AUTO_KEY(REFERRER, "$referrer", false)              \
	AUTO_KEY(TIMEZONE, "$timezone", false)              \
	AUTO_KEY(LATITUDE, "$latitude", false)              \
	AUTO_KEY(UTM_SOURCE, "$utmSource", false)           \
	AUTO_KEY(UTM_MEDIUM, "$utmMedium", false)           \
	AUTO_KEY(CONTINENT, "$continent", false)            \
	AUTO_KEY(LONGITUDE, "$longitude", false)            \
	AUTO_KEY(BOT_SCORE, "$bot_score", true)             \
	AUTO_KEY(OS_VERSION, "$osVersion", false)           \
	AUTO_KEY(METRO_CODE, "$metroCode", false)           \
	AUTO_KEY(SCREEN_SIZE, "$screenSize", false)         \
	AUTO_KEY(POSTAL_CODE, "$postalCode", false)         \
	AUTO_KEY(UTM_CONTENT, "$utmContent", false)         \
	AUTO_KEY(UTM_CAMPAIGN, "$utmCampaign", false)       \
	AUTO_KEY(SCREEN_WIDTH, "$screenWidth", false)       \
	AUTO_KEY(VERIFIED_BOT, "$verified_bot", true)       \
	AUTO_KEY(SCREEN_HEIGHT, "$screenHeight", false)     \
	AUTO_KEY(BROWSER_VERSION, "$browserVersion", false) \
	AUTO_KEY(REFERRER_DOMAIN, "$referrerDomain", true)

enum auto_key {
#define AUTO_KEY(member, name, never) AUTO_##member,
	AUTO_KEYS(AUTO_KEY)
#undef AUTO_KEY
		AUTO_COUNT
};

/* The key of that name, AUTO_COUNT when it is none of these. */
enum auto_key autokey_find(struct str name);
struct str autokey_name(enum auto_key k);
/* True when what a client says is dropped. */
bool autokey_server_only(enum auto_key k);

#endif
