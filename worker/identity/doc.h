/* JSON of other people's servers and of the operator, bounded before jansson sees it. */
#ifndef IDENTITY_DOC_H
#define IDENTITY_DOC_H

#include <jansson.h>
#include "shm/base/str.h"

enum { DOC_ERROR = 256 };

/* The value that the text is, to be ended with json_decref(); or NULL, and then `error`
 * (DOC_ERROR bytes, or NULL) says where it stops being one. Never quotes the text. */
json_t *doc_parse(struct str text, char *error);
/* A member's text; NULL when it is absent or no string. NULL, and whatever else is no object, has
 * no members: so a document that is no JSON needs no question of its own. */
const char *doc_text(const json_t *object, const char *key);
/* Whether a member is an array that holds this text. */
bool doc_lists(const json_t *object, const char *key, const char *text);

#endif
