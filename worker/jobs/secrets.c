/*
 * Seals secrets of mail providers anew that only the previous credential file opens
 * (D86), so that it can be taken away after a rotation.
 */
#include "q.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/call/seal.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

/* Rows changed, or -1. */
static int reseal(struct job_run *r, struct str org_id, struct str sealed)
{
	const struct options *opt = r->w->opt;
	bool old = false;
	struct str text = seal_open(opt, KEY_PROVIDER_SECRET, org_id, sealed, &r->arena, &old),
		   fresh;

	if (!text.p || !old)
		return 0;
	fresh = seal_make(opt, KEY_PROVIDER_SECRET, org_id, text, &r->arena);
	if (!fresh.p)
		return 0;
	return q_provider_reseal(&r->db, &(struct q_provider_reseal_args){org_id, sealed, fresh});
}

int job_secrets(struct job_run *r)
{
	struct str after = STR("");
	struct q_provider_secrets_row *rows;
	int n, done, total = 0;

	if (r->w->opt->secret_previous_len == 0)
		return 0;
	do {
		n = q_provider_secrets(&r->db, &(struct q_provider_secrets_args){after}, &rows);
		for (int i = 0; i < n; i++) {
			done = reseal(r, rows[i].org_id, rows[i].secret);
			if (done < 0)
				return -1;
			total += done;
			after = rows[i].org_id;
		}
	} while (n > 0);
	if (total > 0)
		log_info("provider secrets sealed with the current key n=%d", total);
	return n < 0 ? -1 : 0;
}
