/*
 * jansson recurses 2048 deep, which is more than a coroutine's stack holds, and spends
 * hundreds of bytes on `{}`: so depth and items are counted first. Its error texts
 * quote what they stumbled over, which may be a secret: only the place is told.
 */
#include "worker/identity/doc.h"

#include <stdio.h>

enum { DEPTH_MAX = 16, ITEMS_MAX = 16384 };

/* Counts without understanding: what is wrong otherwise, jansson finds. */
static bool small_enough(struct str text)
{
	unsigned depth = 0, items = 0;
	bool quoted = false;

	for (size_t i = 0; i < text.n; i++) {
		char ch = text.p[i];

		if (quoted && ch == '\\')
			i++;
		else if (ch == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (ch == '{' || ch == '[')
			depth++, items++;
		else if (ch == ',')
			items++;
		else if ((ch == '}' || ch == ']') && depth > 0)
			depth--;
		if (depth > DEPTH_MAX || items > ITEMS_MAX)
			return false;
	}
	return true;
}

static const char *problem(const json_error_t *e)
{
	enum json_error_code code = json_error_code(e);

	if (code == json_error_duplicate_key)
		return "a key that was there before";
	if (code == json_error_invalid_utf8)
		return "not UTF-8";
	return code == json_error_premature_end_of_input ? "ends too early" : "not JSON";
}

json_t *doc_parse(struct str text, char *error)
{
	json_error_t e;
	json_t *doc;

	if (!small_enough(text)) {
		if (error)
			snprintf(error, DOC_ERROR, "nested too deep, or too many items");
		return NULL;
	}
	doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
	if (!doc && error)
		snprintf(error, DOC_ERROR, "line %d, column %d: %s", e.line, e.column, problem(&e));
	return doc;
}

const char *doc_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

bool doc_lists(const json_t *object, const char *key, const char *text)
{
	const json_t *list = json_object_get(object, key);
	const char *s;

	for (size_t i = 0; i < json_array_size(list); i++) {
		s = json_string_value(json_array_get(list, i));
		if (s && strcmp(s, text) == 0)
			return true;
	}
	return false;
}
