/*
 * AuthService without passwords: links that are mailed (auth.md 4.2, 4.3) and the demo's
 * visitor (4.7). Asking for a link answers and costs the same whether or not the address
 * has an account. Redeeming one is a single transaction: signed in, and whatever had to be
 * made for that, or nothing at all and the link still good.
 */
#include "proto/auth/v1/auth.pb-c.h"
#include "q.h"
#include "rpc.h"
#include "shm/options.h"
#include "worker/call/limit.h"
#include "worker/rpc/account.h"
#include "worker/rpc/link.h"
#include "worker/rpc/session.h"
#include "worker/worker.h"

struct pair {
	char *token, *refresh_token;
};

static int request(struct call *c, const char *email)
{
	struct link link;
	/* For unknown addresses too: a limit that only accounts have would tell them apart. */
	if (limit_link(c, str_of(email)) != 0 || link_make(c, LINK_SIGN_IN, &link) != 0)
		return -1;
	struct q_link_request_args args = {
		.email = str_of(email),
		.hash = link_digest(&link),
		.lifetime_us = LINK_SIGN_IN_US,
		.mail_id = str_of(link.mail_id),
		.secret = link.sealed,
	};
	explicit_bzero(link.text, sizeof(link.text));
	return q_link_request(&c->db, &args) < 0 ? call_fail_db(c, &c->db) : 0;
}

/* Unknown, used, expired, of a revoked invitation: a stranger learns no more. */
static int no_such_link(struct call *c)
{
	return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_TOKEN",
		"token: this link is invalid or has expired");
}

/* Takes the link out of use; *row is its. An invitation that is over keeps its link from
 * counting. 0, or -1 after call_fail(). The invitation is locked before its token, as links.sql
 * says. */
static int take(struct call *c, struct db *tx, const char *token, struct q_link_take_row *row)
{
	struct q_link_invitation_row invitation;
	uint8_t hash[32];
	link_hash(token, hash);
	struct str digest = {(const char *)hash, sizeof(hash)};
	int invited = q_link_invitation(
		tx, &(struct q_link_invitation_args){.hash = digest}, &invitation);
	if (invited < 0)
		return call_fail_db(c, tx);
	int n = q_link_take(tx, &(struct q_link_take_args){.hash = digest}, row);
	if (n < 0)
		return call_fail_db(c, tx);
	if (n == 0 || (row->invitation_id.p && (!invited || !invitation.open)))
		return no_such_link(c);
	return 0;
}

/* The invitation is sent again by the operator's server, as that address has an account now. */
static int seen_by_org(struct call *c)
{
	return call_fail(c, CODE_FAILED_PRECONDITION, "INVITATION_NOT_TRUSTED",
		"token: this address has an account by now; ask for the invitation to be sent again");
}

/* A link that the organisation's own mail server has carried says who was invited, and not who
 * redeems it: it makes an account that nobody has verified, as SignUp does, and opens none. */
static int redeem_in(
	struct call *c, struct db *tx, const char *token, const char *timezone, struct pair *out)
{
	struct q_link_take_row row;
	bool made;
	char id[21];
	if (take(c, tx, token, &row) != 0)
		return -1;
	bool invited = row.invitation_id.p != NULL;
	struct account_new account = {.email = row.email,
		.display_name = STR(""),
		.picture_url = STR(""),
		.timezone = timezone,
		.with_org = !invited};
	if (account_find_or_create(c, tx, &account, id, &made) != 0)
		return -1;
	if (row.by_org && !made)
		return seen_by_org(c);
	struct q_link_accept_args accept = {
		.invitation_id = row.invitation_id, .customer_id = str_of(id)};
	if (invited && q_link_accept(tx, &accept) < 0)
		return call_fail_db(c, tx);
	/* Before the session: the first time it ends all that there are (D84). */
	if (!row.by_org && account_verified(c, tx, id) != 0)
		return -1;
	return session_open_in(c, tx, id, &out->token, &out->refresh_token);
}

static int redeem(struct call *c, const char *token, const char *timezone, struct pair *out)
{
	struct db tx;
	if (db_begin(&tx, c->w->db, c->arena, c->deadline_ms) < 0)
		return call_fail_db(c, &tx);
	if (redeem_in(c, &tx, token, timezone, out) != 0) {
		db_rollback(&tx);
		return -1;
	}
	return db_commit(&tx) < 0 ? call_fail_db(c, &tx) : 0;
}

int rpc_auth_request_magic_link(struct call *c, const Auth__V1__RequestMagicLinkRequest *in,
	Auth__V1__RequestMagicLinkResponse *out)
{
	(void)out;
	return request(c, in->email);
}

int rpc_auth_complete_magic_link(struct call *c, const Auth__V1__CompleteMagicLinkRequest *in,
	Auth__V1__CompleteMagicLinkResponse *out)
{
	struct pair pair;
	if (redeem(c, in->token, in->timezone, &pair) != 0)
		return -1;
	out->token = pair.token;
	out->refresh_token = pair.refresh_token;
	return 0;
}

int rpc_auth_sign_in_with_magic_link(struct call *c, const Auth__V1__SignInWithMagicLinkRequest *in,
	Auth__V1__SignInWithMagicLinkResponse *out)
{
	struct pair pair;
	/* rule_sign_in_with_magic_link saw to it that one of them is there. */
	if (!in->token || !in->token[0]) {
		out->has_sent = 1;
		out->sent = 1;
		return request(c, in->email);
	}
	if (redeem(c, in->token, in->timezone, &pair) != 0)
		return -1;
	out->token = pair.token;
	out->refresh_token = pair.refresh_token;
	return 0;
}

int rpc_auth_demo_sign_in(
	struct call *c, const Auth__V1__DemoSignInRequest *in, Auth__V1__DemoSignInResponse *out)
{
	struct q_demo_visitor_row row;
	(void)in;
	int n = c->w->opt->demo_sign_in ? q_demo_visitor(&c->db, &row) : 0;
	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0)
		return call_fail(
			c, CODE_UNAVAILABLE, NULL, "there is no demo on this server just now");
	char *id = call_str(c, row.customer_id);
	out->project_id = call_str(c, row.project_id);
	if (!id || !out->project_id)
		return -1;
	return session_open(c, id, &out->token, &out->refresh_token);
}
