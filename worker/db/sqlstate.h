/* What a SQLSTATE means to us. */
#ifndef DB_SQLSTATE_H
#define DB_SQLSTATE_H

#include "worker/db/db.h"

/* Five characters, or NULL (no server answer: DB_DOWN). */
enum db_kind sqlstate_kind(const char *sqlstate);
/* Fills err from a failed result; logs what is our own bug with the statement's label. */
void sqlstate_read(const PGresult *res, const char *label, struct db_error *err);
/* Sets err to a kind that has no SQLSTATE; returns -1. */
int db_fail(struct db_error *err, enum db_kind kind);

#endif
