/*
 * Views of a property value. The 26 promoted keys read as if stored in slots of
 * their own: strings take anything that renders as text, $mobile is never
 * missing, booleans have no numeric view.
 */
#include <stdio.h>
#include "proto/number.h"
#include "proto/wkt.h"
#include "shm/base/hash.h"
#include "worker/store/value.h"

_Static_assert((int)NUMBER_TEXT <= (int)VALUE_TEXT_MAX, "scratch must hold any number");

/* In byte order: value_key_class() searches. */
static const struct {
	const char *key;
	enum key_class class;
} promoted[] = {
	{"$bot_score", KEY_BOT_SCORE},
	{"$browser", KEY_STRING},
	{"$browserVersion", KEY_STRING},
	{"$channel", KEY_STRING},
	{"$city", KEY_STRING},
	{"$country", KEY_STRING},
	{"$device", KEY_STRING},
	{"$hostname", KEY_STRING},
	{"$locale", KEY_STRING},
	{"$mobile", KEY_MOBILE},
	{"$os", KEY_STRING},
	{"$osVersion", KEY_STRING},
	{"$pageTitle", KEY_STRING},
	{"$pathname", KEY_STRING},
	{"$platform", KEY_STRING},
	{"$referrer", KEY_STRING},
	{"$referrerDomain", KEY_STRING},
	{"$region", KEY_STRING},
	{"$screenSize", KEY_STRING},
	{"$url", KEY_STRING},
	{"$utmCampaign", KEY_STRING},
	{"$utmContent", KEY_STRING},
	{"$utmMedium", KEY_STRING},
	{"$utmSource", KEY_STRING},
	{"$utmTerm", KEY_STRING},
	{"$verified_bot", KEY_VERIFIED_BOT},
};

enum key_class value_key_class(struct str key)
{
	size_t lo = 0, hi = sizeof(promoted) / sizeof(promoted[0]);

	if (key.n == 0 || key.p[0] != '$')
		return KEY_PLAIN;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = str_cmp(key, str_of(promoted[mid].key));

		if (order == 0)
			return promoted[mid].class;
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return KEY_PLAIN;
}

const char *value_promoted_key(size_t i)
{
	return i < sizeof(promoted) / sizeof(promoted[0]) ? promoted[i].key : NULL;
}

static struct str bool_text(bool yes)
{
	return yes ? STR("true") : STR("false");
}

/* YYYY-MM-DD hh:mm:ss.mmm in UTC, with another separator before the hour. */
static struct str time_text(int64_t ms, char separator, char *scratch)
{
	int64_t day = ms / 86400000, rest = ms % 86400000, year;
	unsigned month, mday;
	int n, secs;

	if (rest < 0) {
		rest += 86400000;
		day--;
	}
	wkt_date(day, &year, &month, &mday);
	secs = (int)(rest / 1000);
	n = snprintf(scratch, VALUE_TEXT_MAX, "%04lld-%02u-%02u%c%02d:%02d:%02d.%03d",
		(long long)year, month, mday, separator, secs / 3600, secs / 60 % 60, secs % 60,
		(int)(rest % 1000));
	return (struct str){scratch, n > 0 && n < VALUE_TEXT_MAX ? (size_t)n : 0};
}

struct str value_rfc3339(int64_t ms, char *scratch)
{
	struct str s = time_text(ms, 'T', scratch);

	while (s.n && scratch[s.n - 1] == '0')
		s.n--;
	/* a whole second has no fraction, and so no point */
	if (s.n && scratch[s.n - 1] == '.')
		s.n--;
	if (s.n + 1 < VALUE_TEXT_MAX)
		scratch[s.n++] = 'Z';
	return s;
}

static struct str plain_text(const struct value *v, char *scratch)
{
	int n;

	switch (v->type) {
	case VALUE_STR:
		return v->s;
	case VALUE_INT:
		n = snprintf(scratch, VALUE_TEXT_MAX, "%lld", (long long)v->i);
		return (struct str){scratch, (size_t)n};
	case VALUE_DOUBLE:
		return (struct str){scratch, number_text(v->d, scratch)};
	case VALUE_BOOL:
		return bool_text(v->i != 0);
	case VALUE_TIME:
		return time_text(v->i, ' ', scratch);
	case VALUE_NONE:
	case VALUE_UUID:
	default:
		return STR("");
	}
}

/* 1 true, 0 false, -1 neither: what a boolean slot takes. */
static int truth(const struct value *v)
{
	if (v->type == VALUE_BOOL)
		return v->i != 0;
	if (v->type != VALUE_STR)
		return -1;
	if (str_eq(v->s, STR("true")) || str_eq(v->s, STR("1")))
		return 1;
	return str_eq(v->s, STR("false")) || str_eq(v->s, STR("0")) ? 0 : -1;
}

struct str value_text(const struct value *v, enum key_class class, char *scratch)
{
	switch (class) {
	case KEY_MOBILE:
		return bool_text(truth(v) == 1);
	case KEY_VERIFIED_BOT:
		return truth(v) < 0 ? STR("") : bool_text(truth(v) == 1);
	case KEY_STRING:
	case KEY_BOT_SCORE:
		/* a timestamp does not render in a string slot */
		return v->type == VALUE_TIME ? STR("") : plain_text(v, scratch);
	case KEY_PLAIN:
	default:
		return plain_text(v, scratch);
	}
}

bool value_promoted(const struct value *v, enum key_class class, char *scratch, struct str *text)
{
	double n;

	if (class == KEY_PLAIN || v->type == VALUE_TIME)
		return false;
	*text = value_text(v, class, scratch);
	if (class == KEY_MOBILE && truth(v) != 1)
		*text = STR("");
	if (class == KEY_MOBILE || class == KEY_VERIFIED_BOT)
		return truth(v) >= 0 || (v->type == VALUE_STR && v->s.n == 0);
	if (class == KEY_BOT_SCORE)
		return v->type != VALUE_BOOL && number_parse(*text, &n) && n >= 0 && n <= 255;
	return true;
}

bool value_number(const struct value *v, enum key_class class, double *out)
{
	if (class == KEY_MOBILE || class == KEY_VERIFIED_BOT)
		return false;
	switch (v->type) {
	case VALUE_INT:
		*out = (double)v->i;
		return true;
	case VALUE_DOUBLE:
		*out = v->d;
		return true;
	case VALUE_STR:
		return number_parse(v->s, out);
	case VALUE_NONE:
	case VALUE_BOOL:
	case VALUE_TIME:
	case VALUE_UUID:
	default:
		return false;
	}
}

uint64_t value_hash(const struct value *v)
{
	uint64_t seed = (uint64_t)v->type * 0x9e3779b97f4a7c15u;

	if (v->type == VALUE_STR || v->type == VALUE_UUID)
		return hash_text(v->s.p, v->s.n) ^ seed;
	return hash_text(&v->i, sizeof(v->i)) ^ seed;
}

bool value_eq(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == VALUE_STR || a->type == VALUE_UUID)
		return str_eq(a->s, b->s);
	return a->i == b->i;
}
