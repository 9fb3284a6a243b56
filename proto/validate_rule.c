/* What each rule of a single value means. */
#include "proto/validate_rule.h"

#include <math.h>

#include "proto/access.h"
#include "proto/number.h"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters, digits and inner hyphens, at most 63. */
static bool valid_label(struct str s)
{
	if (s.n == 0 || s.n > 63 || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return true;
}

/* One label is enough, and nothing bounds the whole (auth.md 1.7): fields have a rule for
 * that. */
static bool valid_domain(struct str s)
{
	struct str label;
	long dot;

	do {
		dot = str_find(s, '.');
		label = (struct str){s.p, dot < 0 ? s.n : (size_t)dot};
		if (!valid_label(label))
			return false;
		s.p += label.n + 1;
		s.n -= dot < 0 ? s.n : label.n + 1;
	} while (dot >= 0);
	return true;
}

/* What browsers take in <input type=email> (auth.md 1.7). worker/mail puts addresses into SMTP
 * commands and header lines, and can because nothing passes here that could end one: no control
 * character, blank, double quote, < or >. */
bool valid_email(struct str s)
{
	static const char marks[] = ".!#$%&'*+/=?^_`{|}~-";
	long at = str_find(s, '@');

	if (at <= 0)
		return false;
	for (long i = 0; i < at; i++)
		if (!is_alnum(s.p[i]) && (s.p[i] == 0 || !strchr(marks, s.p[i])))
			return false;
	return valid_domain((struct str){s.p + at + 1, s.n - (size_t)at - 1});
}

/* Enough to be put into a page as a link: scheme, a host, nothing that ends it. */
bool valid_https(struct str s)
{
	static const char scheme[] = "https://";
	size_t n = sizeof(scheme) - 1;

	if (s.n <= n || !str_case_eq((struct str){s.p, n}, (struct str){scheme, n}))
		return false;
	if (!is_alnum(s.p[n]) && s.p[n] != '[' && (uint8_t)s.p[n] < 0x80)
		return false;
	for (size_t i = n; i < s.n; i++)
		if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f || strchr("\"<>\\^`{|}", s.p[i]))
			return false;
	return true;
}

/* One step a byte, whatever the expression: an attacker's text has nowhere to backtrack. */
bool valid_pattern(const struct pb_pattern *p, struct str s)
{
	unsigned state = 0;

	for (size_t i = 0; i < s.n; i++) {
		state = p->next[state * p->classes + p->class_of[(uint8_t)s.p[i]]];
		if (state == 255)
			return false;
	}
	return p->accept[state];
}

static void check_size(struct pb_check *c, const struct pb_field *f, const char *place, size_t n,
	uint32_t min, uint32_t max, const char *unit)
{
	if (min && n < min)
		pb_violation(c, place, "%s must have at least %u %s%s", f->name, min, unit,
			min == 1 ? "" : "s");
	if (max && n > max)
		pb_violation(c, place, "%s must have at most %u %s%s", f->name, max, unit,
			max == 1 ? "" : "s");
}

static void check_string(
	struct pb_check *c, const struct pb_field *f, const char *place, struct str s)
{
	const struct pb_rule *rule = f->rule;
	uint8_t uuid[16];

	/* Empty is as good as absent (D11), and one sentence about it is enough. */
	if (rule->required && s.n == 0) {
		pb_violation(c, place, "%s is required", f->name);
		return;
	}
	if (rule->min_len || rule->max_len)
		check_size(c, f, place, str_utf8_len(s), rule->min_len, rule->max_len, "character");
	check_size(c, f, place, s.n, rule->min_bytes, rule->max_bytes, "byte");
	if (rule->email && !valid_email(s))
		pb_violation(c, place, "%s must be an e-mail address", f->name);
	if (rule->uuid && !str_uuid(s, uuid))
		pb_violation(c, place, "%s must be a UUID", f->name);
	if (rule->https && !valid_https(s))
		pb_violation(c, place, "%s must be an https URL", f->name);
	if (rule->pattern && !valid_pattern(rule->pattern, s))
		pb_violation(c, place, "%s must match %s", f->name, rule->pattern->text);
}

/* Enums of proto3 have a name for 0, so the first look-up finds one. */
static void check_enum(struct pb_check *c, const struct pb_field *f, const char *place, int32_t v)
{
	if (f->rule->not_zero && v == 0)
		pb_violation(
			c, place, "%s must not be %s", f->name, pb_enum_number(f->en, 0)->name);
	if (f->rule->defined_only && !pb_enum_number(f->en, v))
		pb_violation(c, place, "%s has the unknown value %d", f->name, v);
}

/* The value as a double; exact where ranges are (no rule goes beyond 2^53). */
static double number_of(const struct pb_field *f, const void *slot)
{
	union {
		double d;
		float f;
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
	} v = {0};

	memcpy(&v, slot, pb_elem_size(f));
	switch (f->type) {
	case PB_DOUBLE:
		return v.d;
	case PB_FLOAT:
		return (double)v.f;
	case PB_UINT32:
	case PB_FIXED32:
		return (double)v.u32;
	case PB_UINT64:
	case PB_FIXED64:
		return (double)v.u64;
	case PB_INT64:
	case PB_SINT64:
	case PB_SFIXED64:
		return (double)v.i64;
	default:
		return (double)v.i32;
	}
}

static void check_number(
	struct pb_check *c, const struct pb_field *f, const char *place, const void *slot)
{
	const struct pb_rule *rule = f->rule;
	double v = number_of(f, slot);
	char min[NUMBER_TEXT], max[NUMBER_TEXT];

	if (rule->finite && !isfinite(v))
		pb_violation(c, place, "%s must be a finite number", f->name);
	/* Asked this way round, NaN is out of every range. */
	if (!rule->has_range || (v >= rule->min && v <= rule->max))
		return;
	number_text(rule->min, min);
	number_text(rule->max, max);
	pb_violation(c, place, "%s must be between %s and %s", f->name, min, max);
}

void validate_rule(
	struct pb_check *c, const struct pb_field *f, const char *place, const void *slot)
{
	int32_t number;

	switch (f->type) {
	case PB_STRING:
		check_string(c, f, place, str_of(pb_pointer(slot)));
		break;
	case PB_ENUM:
		memcpy(&number, slot, sizeof(number));
		check_enum(c, f, place, number);
		break;
	case PB_BYTES:
		check_size(c, f, place, ((const ProtobufCBinaryData *)slot)->len,
			f->rule->min_bytes, f->rule->max_bytes, "byte");
		break;
	/* All that can be asked of these is that they are there: check_single(). */
	case PB_MESSAGE:
	case PB_BOOL:
		break;
	default:
		check_number(c, f, place, slot);
	}
}
