/* See account.h. */
#include "worker/rpc/account.h"

#include "q.h"
#include "shm/base/hash.h"
#include "worker/rpc/apikey.h"
#include "worker/rpc/zone.h"

/* 1 and the id when the address has an account, 0, or -1. */
static int lock(struct call *c, struct db *tx, struct str email, char id[21])
{
	struct q_account_lock_row row;
	int n = q_account_lock(tx, &(struct q_account_lock_args){.email = email}, &row);

	if (n < 0)
		return call_fail_db(c, tx);
	/* with the NUL that the database's texts end with (db/codec.c) */
	if (n > 0)
		memcpy(id, row.id.p, 21);
	return n;
}

/* Without an org its ids and key are made all the same: org_id NULL tells the statement. */
static int create(struct call *c, struct db *tx, const struct account_new *a, char id[21])
{
	struct q_account_create_row row;
	struct apikey key;
	char org[21], project[21];

	apikey_make(&key, APIKEY_PUBLIC);
	hash_xid(id);
	hash_xid(org);
	hash_xid(project);
	struct q_account_create_args args = {
		.customer_id = {id, 20},
		.email = a->email,
		.display_name = a->display_name,
		.picture_url = a->picture_url,
		.org_id = a->with_org ? str_of(org) : (struct str){NULL, 0},
		.project_id = str_of(project),
		.timezone = zone_or_utc(a->timezone),
		.key_id = str_of(key.id),
		.key = str_of(key.text),
		.key_digest = apikey_digest(&key),
		.key_hint = str_of(key.hint),
	};
	int n = q_account_create(tx, &args, &row);

	return n < 0 ? call_fail_db(c, tx) : n;
}

int account_find_or_create(
	struct call *c, struct db *tx, const struct account_new *a, char id[21], bool *made)
{
	int found = lock(c, tx, a->email, id), n;

	if (made)
		*made = false;
	if (found != 0)
		return found < 0 ? -1 : 0;
	n = create(c, tx, a, id);
	if (n != 0) {
		if (made)
			*made = n > 0;
		return n < 0 ? -1 : 0;
	}
	/* Somebody was faster; READ COMMITTED sees the winner now. */
	found = lock(c, tx, a->email, id);
	if (found == 0)
		return call_fail(c, CODE_ABORTED, NULL, "the account is changing, try again");
	return found < 0 ? -1 : 0;
}

int account_verified(struct call *c, struct db *tx, const char *id)
{
	struct q_account_verified_args args = {.customer_id = str_of(id)};

	return q_account_verified(tx, &args) < 0 ? call_fail_db(c, tx) : 0;
}
