/* Binary parameters and rows: C structs of build/gen/q.h <-> PostgreSQL's wire format. */
#ifndef DB_CODEC_H
#define DB_CODEC_H

#include "worker/db/db.h"
#include "worker/db/db_types.h"

/* Parameters ready to send. Scalars live in here, strings where the caller has
 * them, arrays in the arena. */
struct bound {
	struct db_param p[DB_PARAMS_MAX];
	uint8_t scalars[DB_PARAMS_MAX][16];
};

/* DB_OK, DB_MEMORY, or DB_BUG (a value that cannot be sent). */
enum db_kind codec_bind(
	const struct query *q, const void *args, struct bound *out, struct arena *a);
/* Row `row` of the result into the struct at out; strings and arrays go to the arena. */
enum db_kind codec_row(
	const struct query *q, const PGresult *res, int row, void *out, struct arena *a);

#endif
