/*
 * Look-ups in the tables of pb.h. The tables themselves are made by proto/gen
 * and never change while the process lives, so nothing here allocates or locks.
 */
#include <stddef.h>
#include <stdlib.h>

#include "proto/pb.h"
#include "tables.h"

static int cmp_msg(const void *key, const void *item)
{
	const struct pb_msg *const *m = item;
	const struct str *name = key;

	return str_cmp(*name, str_of((*m)->name));
}

const struct pb_msg *pb_msg_find(struct str full_name)
{
	const struct pb_msg *const *found =
		bsearch(&full_name, pb_messages, pb_n_messages, sizeof(*pb_messages), cmp_msg);

	return found ? *found : NULL;
}

/* Most fields are numbered without gaps, so the first guess is usually right. */
const struct pb_field *pb_field_find(const struct pb_msg *m, uint32_t number)
{
	size_t low = 0, high = m->n_fields;

	if (number - 1 < m->n_fields && m->fields[number - 1].number == number)
		return &m->fields[number - 1];
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->fields[middle].number == number)
			return &m->fields[middle];
		if (m->fields[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct pb_field *pb_field_named(const struct pb_msg *m, struct str name)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct pb_field *f = &m->fields[i];

		if (str_eq(name, str_of(f->json_name)) || str_eq(name, str_of(f->name)))
			return f;
	}
	return NULL;
}

/* Aliases share a number: the first declared name wins, as JSON writes it. */
const struct pb_enum_value *pb_enum_number(const struct pb_enum *e, int32_t number)
{
	for (const struct pb_enum_value *v = e->values; v < e->values + e->n_values; v++) {
		if (v->number == number)
			return v;
	}
	return NULL;
}

const struct pb_enum_value *pb_enum_named(const struct pb_enum *e, struct str name)
{
	for (const struct pb_enum_value *v = e->values; v < e->values + e->n_values; v++) {
		if (str_eq(name, str_of(v->name)))
			return v;
	}
	return NULL;
}
