/*
 * pugd admin create --email ADDRESS [--name NAME] [--org NAME] [--link]
 * pugd sessions revoke --email ADDRESS
 *
 * What an operator does with accounts from a shell: the first admin, and ending the
 * sessions of somebody whose laptop is gone. Passwords are never arguments, which
 * everybody on the machine can read.
 */
#include <stdio.h>
#include <string.h>

#include "proto/validate.h"
#include "q.h"
#include "shm/base/hash.h"
#include "worker/cli/ask.h"
#include "worker/cli/cli.h"
#include "worker/db/blocking.h"
#include "worker/rpc/apikey.h"
#include "worker/rpc/link.h"
#include "worker/rpc/password.h"

enum {
	PASSWORD_MIN = 8,
	PASSWORD_MAX = 128,
	ARENA = 1 << 20,
	LOCK_MS = 5000,
	STATEMENT_MS = 10000
};

struct request {
	const struct options *opt;
	const char *email, *name, *org;
	bool link;
	char hash[CRYPT_OUTPUT_SIZE]; /* "" with a link */
	struct link mail;             /* with a link */
	char customer[21], org_id[21], project[21];
	struct apikey key;
	struct arena arena;
	struct db db;
};

static int usage(void)
{
	fprintf(stderr,
		"usage: pugd admin create --email ADDRESS [--name NAME] [--org NAME] [--link]\n"
		"       pugd sessions revoke --email ADDRESS\n");
	return 2;
}

static bool complain(const char *text)
{
	fprintf(stderr, "pugd: %s\n", text);
	return false;
}

static int fail(const char *text)
{
	complain(text);
	return 1;
}

static int fail_db(const struct db *db)
{
	if (strcmp(db->err.sqlstate, "42P01") == 0 || strcmp(db->err.sqlstate, "42703") == 0)
		return fail("migrations are missing: run pugd migrate");
	if (db->err.kind == DB_DOWN)
		return fail(
			"the connection to the database was lost; whether anything was done is unknown");
	fprintf(stderr, "pugd: the database refused, SQLSTATE %s\n", db->err.sqlstate);
	return 1;
}

/* argv[0] and [1] are the command. `full` admits more than --email. */
static bool parse(struct request *r, int argc, char **argv, bool full)
{
	for (int i = 2; i < argc; i++) {
		const char **to = strcmp(argv[i], "--email") == 0          ? &r->email
				  : full && strcmp(argv[i], "--name") == 0 ? &r->name
				  : full && strcmp(argv[i], "--org") == 0  ? &r->org
									   : NULL;
		if (full && strcmp(argv[i], "--link") == 0)
			r->link = true;
		else if (!to || *to || i + 1 == argc)
			return false;
		else
			*to = argv[++i];
	}
	return r->email != NULL;
}

/* The rules of SignUp and Orgs.Create. */
static const char *invalid(const struct request *r)
{
	struct str email = str_of(r->email), name = str_of(r->name), org = str_of(r->org);

	if (email.n > 255 || !valid_email(email))
		return "--email: this is not an e-mail address";
	if (!str_utf8_ok(name) || str_utf8_len(name) > 150)
		return "--name: more than 150 characters, or not UTF-8";
	if (r->org && (org.n == 0 || !str_utf8_ok(org) || str_utf8_len(org) > 150))
		return "--org: not 1 to 150 characters of UTF-8";
	return NULL;
}

static bool read_password(struct request *r)
{
	char password[PASSWORD_MAX + 1];
	bool ok = ask_password(password, sizeof(password));
	size_t n = ok ? strlen(password) : 0;

	if (ok && (n < PASSWORD_MIN || !str_utf8_ok((struct str){password, n})))
		ok = complain("a password has 8 to 128 bytes of UTF-8");
	if (ok && !password_make(password, r->hash))
		ok = complain("hashing the password failed");
	explicit_bzero(password, sizeof(password));
	return ok;
}

static bool make_link(struct request *r)
{
	if (!link_possible(r->opt))
		return complain("this server is not set up to send mail: see mail_url");
	if (!link_fill(r->opt, &r->arena, LINK_SIGN_IN, &r->mail))
		return complain("the credential file cannot be read: see credential_file");
	return true;
}

static bool connect_db(struct request *r)
{
	char why[256];
	PGconn *conn = db_connect(r->opt->database_url, why, sizeof(why));

	if (!conn)
		return complain(why);
	db_blocking(&r->db, conn, &r->arena);
	return true;
}

static int create_in(struct request *r)
{
	struct q_operator_admin_create_row row;
	struct q_operator_admin_create_args args = {
		.customer_id = str_of(r->customer),
		.email = str_of(r->email),
		.password_hash = r->link ? (struct str){NULL, 0} : str_of(r->hash),
		.display_name = str_of(r->name),
		.org_id = str_of(r->org_id),
		.org_name = r->org ? str_of(r->org) : STR("default"),
		.project_id = str_of(r->project),
		.key_id = str_of(r->key.id),
		.key = str_of(r->key.text),
		.key_digest = apikey_digest(&r->key),
		.key_hint = str_of(r->key.hint),
	};
	struct q_link_request_args mail = {
		.email = str_of(r->email),
		.hash = link_digest(&r->mail),
		.lifetime_us = LINK_SIGN_IN_US,
		.mail_id = str_of(r->mail.mail_id),
		.secret = r->mail.sealed,
	};
	int n = q_operator_admin_create(&r->db, &args, &row);

	if (n == 0)
		return fail("an account with this address exists already; nothing was changed");
	if (n < 0 || (r->link && q_link_request(&r->db, &mail) < 0))
		return fail_db(&r->db);
	return 0;
}

/* Account and mailed link in one transaction: without a password the link is the only way in. */
static int create(struct request *r)
{
	int rc;

	hash_xid(r->customer);
	hash_xid(r->org_id);
	hash_xid(r->project);
	apikey_make(&r->key, APIKEY_PUBLIC);
	if (!connect_db(r))
		return 1;
	rc = db_blocking_begin(&r->db, "", LOCK_MS, STATEMENT_MS) < 0 ? fail_db(&r->db)
								      : create_in(r);
	if (rc != 0)
		db_rollback(&r->db);
	else if (db_commit(&r->db) < 0)
		rc = fail_db(&r->db);
	PQfinish(r->db.impl);
	if (rc == 0)
		printf("customer=%s org=%s project=%s%s\n", r->customer, r->org_id, r->project,
			r->link ? "; a sign-in link is on its way" : "");
	return rc;
}

static int revoke(struct request *r)
{
	struct q_operator_sessions_revoke_row row;
	struct q_operator_sessions_revoke_args args = {.email = str_of(r->email)};
	int n;

	if (!connect_db(r))
		return 1;
	n = q_operator_sessions_revoke(&r->db, &args, &row);
	PQfinish(r->db.impl);
	if (n < 0)
		return fail_db(&r->db);
	if (n == 0)
		return fail("no account has this address");
	printf("%d session%s ended\n", row.revoked, row.revoked == 1 ? "" : "s");
	return 0;
}

/* Both commands: `word` is the second word, which leaves room for more of them. */
static int command(const struct options *opt, int argc, char **argv, const char *word)
{
	struct request r = {.opt = opt};
	bool creates = strcmp(word, "create") == 0;
	const char *why;
	int rc = 1;

	if (argc < 2 || strcmp(argv[1], word) != 0 || !parse(&r, argc, argv, creates))
		return usage();
	why = invalid(&r);
	if (why) {
		fprintf(stderr, "pugd: %s\n", why);
		return 2;
	}
	arena_init(&r.arena, ARENA);
	/* a password is typed and hashed before there is a connection */
	if (!creates)
		rc = revoke(&r);
	else if (r.link ? make_link(&r) : read_password(&r))
		rc = create(&r);
	arena_free(&r.arena);
	explicit_bzero(&r.mail, sizeof(r.mail));
	return rc;
}

int cli_admin(const struct options *opt, int argc, char **argv)
{
	return command(opt, argc, argv, "create");
}

int cli_sessions(const struct options *opt, int argc, char **argv)
{
	return command(opt, argc, argv, "revoke");
}
