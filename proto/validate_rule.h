/* Rules of single values, for validate.c. */
#ifndef PROTO_VALIDATE_RULE_H
#define PROTO_VALIDATE_RULE_H

#include "proto/validate.h"

/* Applies the rule of f to the value at slot; place is its relative path. */
void validate_rule(
	struct pb_check *c, const struct pb_field *f, const char *place, const void *slot);

#endif
