/*
 * Seals anew what only the previous credential file opens (D86), so that it can be taken
 * away after a rotation: secrets of mail providers, tokens of shared dashboards.
 */
#include "q.h"
#include "shm/base/log.h"
#include "shm/options.h"
#include "worker/call/seal.h"
#include "worker/jobs/jobs.h"
#include "worker/worker.h"

/* The text of `sealed` under the current key; {NULL, 0} when nothing is to be done. */
static struct str renewed(struct job_run *r, enum key_use use, struct str bound, struct str sealed)
{
	const struct options *opt = r->w->opt;
	bool old = false;
	struct str text = seal_open(opt, use, bound, sealed, &r->arena, &old);

	if (!text.p || !old)
		return (struct str){NULL, 0};
	return seal_make(opt, use, bound, text, &r->arena);
}

/* Rows changed, or -1. */
static int providers(struct job_run *r)
{
	struct str after = STR(""), fresh;
	struct q_provider_secrets_row *rows;
	int n, done, total = 0;

	do {
		n = q_provider_secrets(&r->db, &(struct q_provider_secrets_args){after}, &rows);
		for (int i = 0; i < n; i++) {
			after = rows[i].org_id;
			fresh = renewed(r, KEY_PROVIDER_SECRET, after, rows[i].secret);
			if (!fresh.p)
				continue;
			done = q_provider_reseal(&r->db,
				&(struct q_provider_reseal_args){after, rows[i].secret, fresh});
			if (done < 0)
				return -1;
			total += done;
		}
	} while (n > 0);
	return n < 0 ? -1 : total;
}

/* Rows changed, or -1. */
static int shares(struct job_run *r)
{
	struct str after = STR(""), fresh;
	struct q_share_secrets_row *rows;
	int n, done, total = 0;

	do {
		n = q_share_secrets(&r->db, &(struct q_share_secrets_args){after}, &rows);
		for (int i = 0; i < n; i++) {
			after = rows[i].dashboard;
			fresh = renewed(r, KEY_SHARE, after, rows[i].sealed);
			if (!fresh.p)
				continue;
			done = q_share_reseal(&r->db,
				&(struct q_share_reseal_args){after, rows[i].sealed, fresh});
			if (done < 0)
				return -1;
			total += done;
		}
	} while (n > 0);
	return n < 0 ? -1 : total;
}

int job_secrets(struct job_run *r)
{
	int n_providers, n_shares;

	if (r->w->opt->secret_previous_len == 0)
		return 0;
	n_providers = providers(r);
	n_shares = shares(r);
	if (n_providers > 0)
		log_info("provider secrets sealed with the current key n=%d", n_providers);
	if (n_shares > 0)
		log_info("share links sealed with the current key n=%d", n_shares);
	return n_providers < 0 || n_shares < 0 ? -1 : 0;
}
