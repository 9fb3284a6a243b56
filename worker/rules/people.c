/* Rules of identities. */
#include <math.h>

#include "proto/profiles/v1/profiles.pb-c.h"
#include "proto/validate.h"
#include "rules.h"

/* Ids that the server makes for visitors without cookies: nobody may claim one. */
static void check_id(struct pb_check *check, const char *field, const char *id)
{
	if (id && str_starts(str_of(id), STR("cookieless-")))
		pb_violation(check, field, "%s must not start with the reserved prefix cookieless-",
			field);
}

/* JSON has no NaN, so a trait cannot be one; depth is bounded by decoding. */
static bool all_finite(const Google__Protobuf__Value *value)
{
	const Google__Protobuf__Struct *object = value->struct_value;
	const Google__Protobuf__ListValue *list = value->list_value;
	bool ok = true;

	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE)
		return isfinite(value->number_value);
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		for (size_t i = 0; ok && i < object->n_fields; i++)
			ok = all_finite(object->fields[i]->value);
	if (value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
		for (size_t i = 0; ok && i < list->n_values; i++)
			ok = all_finite(list->values[i]);
	return ok;
}

void rule_identify(struct pb_check *check, const ProtobufCMessage *message)
{
	const Profiles__V1__IdentifyRequest *request =
		(const Profiles__V1__IdentifyRequest *)message;
	const Google__Protobuf__Struct *traits = request->traits;

	check_id(check, "external_id", request->external_id);
	for (size_t i = 0; traits && i < traits->n_fields; i++)
		if (!all_finite(traits->fields[i]->value))
			pb_violation(check, "traits", "traits: \"%.80s\" must hold finite numbers",
				traits->fields[i]->key);
}

void rule_alias(struct pb_check *check, const ProtobufCMessage *message)
{
	const Profiles__V1__AliasRequest *request = (const Profiles__V1__AliasRequest *)message;

	check_id(check, "previous_id", request->previous_id);
	check_id(check, "external_id", request->external_id);
}
