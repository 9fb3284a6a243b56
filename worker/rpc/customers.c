/*
 * CustomersService: the people of one's orgs, and oneself (auth.md 5.3, D15, D57). Who may
 * see whom is in the SQL; the demo's visitor is stopped by authz (D12).
 */
#include "proto/customers/v1/customers.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "worker/call/call.h"
#include "worker/rpc/password.h"
#include "worker/worker.h"

/* The columns that list, get and update share. */
struct person {
	struct str id, email, display_name, picture_url;
	bool email_verified, has_password;
	int64_t create_us;
};

/* A macro, because each statement's row is a type of its own. */
#define PERSON(row)                                                                     \
	(&(struct person){(row).id, (row).email, (row).display_name, (row).picture_url, \
		(row).email_verified, (row).has_password, (row).create_time})

/* NULL after call_fail(). */
static Customers__V1__Customer *message(struct call *c, const struct person *p)
{
	Customers__V1__Customer *m = call_alloc(c, sizeof(*m));
	Google__Protobuf__Timestamp *t = call_alloc(c, sizeof(*t));
	if (!m || !t)
		return NULL;
	customers__v1__customer__init(m);
	google__protobuf__timestamp__init(t);
	t->seconds = p->create_us / 1000000;
	t->nanos = (int32_t)(p->create_us % 1000000) * 1000;
	m->create_time = t;
	m->id = call_str(c, p->id);
	m->email = call_str(c, p->email);
	m->display_name = call_str(c, p->display_name);
	m->picture_url = call_str(c, p->picture_url);
	m->has_email_verified = m->has_has_password = 1;
	m->email_verified = p->email_verified;
	m->has_password = p->has_password;
	return m->id && m->email && m->display_name && m->picture_url ? m : NULL;
}

/* A stranger and nobody are one answer (D57). */
static int not_found(struct call *c, const char *id)
{
	return call_fail_resource(c, "CUSTOMER_NOT_FOUND", "customer", id,
		"customer_id: no such person in your organisations");
}

int rpc_customers_list(
	struct call *c, const Customers__V1__ListRequest *in, Customers__V1__ListResponse *out)
{
	struct q_customer_list_row *rows;
	int n = q_customer_list(
		&c->db, &(struct q_customer_list_args){.org_id = str_of(in->org_id)}, &rows);
	if (n < 0)
		return call_fail_db(c, &c->db);
	out->customers = call_alloc(c, ((size_t)n + 1) * sizeof(*out->customers));
	if (!out->customers)
		return -1;
	for (int i = 0; i < n; i++) {
		out->customers[i] = message(c, PERSON(rows[i]));
		if (!out->customers[i])
			return -1;
		out->n_customers++;
	}
	return 0;
}

int rpc_customers_get(
	struct call *c, const Customers__V1__GetRequest *in, Customers__V1__GetResponse *out)
{
	const char *id = in->customer_id ? in->customer_id : c->who.customer_id;
	struct q_customer_get_row row;
	struct q_customer_get_args args = {
		.customer_id = str_of(id), .caller_id = str_of(c->who.customer_id)};
	int n = q_customer_get(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return not_found(c, id);
	out->customer = message(c, PERSON(row));
	return out->customer ? 0 : -1;
}

int rpc_customers_update(
	struct call *c, const Customers__V1__UpdateRequest *in, Customers__V1__UpdateResponse *out)
{
	struct q_customer_update_row row;
	struct q_customer_update_args args = {
		.customer_id = str_of(c->who.customer_id),
		.display_name = str_of(in->display_name),
		.picture_url = str_of(in->picture_url),
	};
	int n = q_customer_update(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return not_found(c, c->who.customer_id);
	out->customer = message(c, PERSON(row));
	return out->customer ? 0 : -1;
}

int rpc_customers_get_me(
	struct call *c, const Customers__V1__GetMeRequest *in, Customers__V1__GetMeResponse *out)
{
	struct q_customer_get_row row;
	struct str me = str_of(c->who.customer_id);
	struct q_customer_get_args args = {.customer_id = me, .caller_id = me};
	(void)in;
	int n = q_customer_get(&c->db, &args, &row);
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return not_found(c, c->who.customer_id);
	out->customer_id = call_str(c, row.id);
	out->email = call_str(c, row.email);
	out->has_email_verified = 1;
	out->email_verified = row.email_verified;
	return out->customer_id && out->email ? 0 : -1;
}

/* The account is locked first: a sign-in with the old password has its session seen here and
 * ended, or fails (customers.sql). */
static int set_password_in(struct call *c, struct db *tx, const char *hash)
{
	struct q_customer_lock_row row;
	struct q_customer_lock_args lock = {.customer_id = str_of(c->who.customer_id)};
	struct q_customer_set_password_args args = {
		.customer_id = lock.customer_id,
		.session_id = str_of(c->who.session_id),
		.password_hash = str_of(hash),
	};
	int n = q_customer_lock(tx, &lock, &row);
	if (n > 0)
		n = q_customer_set_password(tx, &args);
	if (n < 0)
		return call_fail_db(c, tx);
	if (n == 0)
		return call_fail(c, CODE_UNAUTHENTICATED, NULL,
			"the session of this token has ended, sign in again");
	return 0;
}

/* The session that calls is spared: the token names it (sid, worker/call/jwt.h), because
 * the person that just set a password should not have to type it at once. Hashing comes before the
 * transaction: it takes long, and the lock should not. */
int rpc_customers_set_password(struct call *c, const Customers__V1__SetPasswordRequest *in,
	Customers__V1__SetPasswordResponse *out)
{
	struct db tx;
	const char *hash = password_hash(c, in->password);
	(void)out;
	if (!hash)
		return -1;
	if (db_begin(&tx, c->w->db, c->arena, c->deadline_ms) < 0)
		return call_fail_db(c, &tx);
	if (set_password_in(c, &tx, hash) != 0) {
		db_rollback(&tx);
		return -1;
	}
	return db_commit(&tx) < 0 ? call_fail_db(c, &tx) : 0;
}
