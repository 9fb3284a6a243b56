/* Text that was derived, and so may hold anything: made fit to be stored (D23). */
#ifndef INGEST_TEXT_H
#define INGEST_TEXT_H

#include "shm/base/arena.h"

/* s itself when it is valid UTF-8 without NUL, else a copy with U+FFFD for each byte
 * that is not. "" at the arena's cap. */
struct str text_clean(struct arena *a, struct str s);
/* Lower case by Unicode's simple rules, clean as above; s itself when nothing changes. */
struct str text_lower(struct arena *a, struct str s);
/* Undoes %XX, and + where plus is set; s itself when there is nothing to undo. False on
 * a bad escape or at the arena's cap. What comes out may be no UTF-8. */
bool text_unescape(struct arena *a, struct str s, bool plus, struct str *out);
/* A language tag in its usual spelling (1.13): de_de -> de-DE; "" when blank. */
struct str text_locale(struct arena *a, struct str s);

#endif
