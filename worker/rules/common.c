/* Rules of the messages that many requests share. */
#include "proto/common/v1/common.pb-c.h"
#include "proto/number.h"
#include "proto/validate.h"
#include "rules.h"

static bool before(const Google__Protobuf__Timestamp *a, const Google__Protobuf__Timestamp *b)
{
	return a->seconds < b->seconds || (a->seconds == b->seconds && a->nanos < b->nanos);
}

void rule_time_range(struct pb_check *check, const ProtobufCMessage *message)
{
	const Common__V1__TimeRange *range = (const Common__V1__TimeRange *)message;

	if (range->from && range->to && !before(range->from, range->to))
		pb_violation(check, "", "from must be before to");
}

/* What an operator wants in value and in values. */
enum operand {
	OPERAND_UNKNOWN,
	OPERAND_NONE,
	OPERAND_TEXT,
	OPERAND_NUMBER,
	OPERAND_LIST,
	OPERAND_RANGE
};

#define OP(name) COMMON__V1__FILTER_OPERATOR__FILTER_OPERATOR_##name

/* Clients may send any number; negative ones become large ones here. */
static enum operand operand_of(Common__V1__FilterOperator op)
{
	static const uint8_t operands[] = {[OP(EQUALS)] = OPERAND_TEXT,
		[OP(NOT_EQUALS)] = OPERAND_TEXT,
		[OP(CONTAINS)] = OPERAND_TEXT,
		[OP(NOT_CONTAINS)] = OPERAND_TEXT,
		[OP(IS_SET)] = OPERAND_NONE,
		[OP(IS_NOT_SET)] = OPERAND_NONE,
		[OP(LT)] = OPERAND_NUMBER,
		[OP(LTE)] = OPERAND_NUMBER,
		[OP(GT)] = OPERAND_NUMBER,
		[OP(GTE)] = OPERAND_NUMBER,
		[OP(IN)] = OPERAND_LIST,
		[OP(NOT_IN)] = OPERAND_LIST,
		[OP(BETWEEN)] = OPERAND_RANGE,
		[OP(NOT_BETWEEN)] = OPERAND_RANGE};
	unsigned i = (unsigned)op;

	return i < sizeof(operands) ? (enum operand)operands[i] : OPERAND_UNKNOWN;
}

/* Lists and ranges ignore value (insights-dashboards.md 2.3). Numbers are read by the parser
 * that compiles filters (insights/compile.c), so what passes here is a number there. */
static void check_value(struct pb_check *check, const char *value, enum operand operand)
{
	bool empty = !value || !*value;
	double number;

	if (operand == OPERAND_NONE && !empty)
		pb_violation(check, "value", "value must be empty for IS_SET and IS_NOT_SET");
	if ((operand == OPERAND_TEXT || operand == OPERAND_NUMBER) && empty)
		pb_violation(check, "value", "value is required by this operator");
	if (operand == OPERAND_NUMBER && !empty && !number_parse(str_of(value), &number))
		pb_violation(check, "value", "value must be a number");
}

static void check_range(struct pb_check *check, const Common__V1__PropertyFilter *filter)
{
	double low, high;

	if (filter->n_values != 2)
		pb_violation(check, "values", "values must be two numbers, the smaller first");
	else if (!number_parse(str_of(filter->values[0]), &low) ||
		 !number_parse(str_of(filter->values[1]), &high))
		pb_violation(check, "values", "values must be numbers");
	else if (low > high)
		pb_violation(check, "values", "values must hold the smaller number first");
}

void rule_property_filter(struct pb_check *check, const ProtobufCMessage *message)
{
	const Common__V1__PropertyFilter *filter = (const Common__V1__PropertyFilter *)message;
	enum operand operand = operand_of(filter->operator_);

	if (!filter->has_operator_ || operand == OPERAND_UNKNOWN)
		return; /* the field's own rule says so */
	check_value(check, filter->value, operand);
	if (operand == OPERAND_RANGE)
		check_range(check, filter);
	else if (operand == OPERAND_LIST && filter->n_values == 0)
		pb_violation(check, "values", "values is required by this operator");
	else if (operand != OPERAND_LIST && filter->n_values > 0)
		pb_violation(check, "values", "values must be empty for this operator");
}
