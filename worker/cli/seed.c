/*
 * `pugd seed`: the demo organisation of `pugd dev`. Accounts and keys are made
 * once and remembered in DIR/demo.conf; the events of a data folder are always
 * the same (their end is remembered too), so a seeding that was interrupted is
 * simply repeated: the claims of D20 keep what is there already.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "q.h"
#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "worker/cli/cli.h"
#include "worker/cli/demo.h"
#include "worker/cli/progress.h"
#include "worker/rpc/apikey.h"
#include "worker/rpc/password.h"
#include "worker/rpc/session.h"
#include "worker/store/encode.h"

enum { BATCH = 4000, ARENA = 256 << 20, PATH = 4096 };

struct seed {
	struct demo_sink sink; /* first: the callbacks get a pointer to it */
	const struct options *opt;
	struct db db;
	struct arena arena; /* of one batch */
	char file[PATH];    /* DIR/demo.conf */
	uint64_t events;
	int64_t end_ms;
	int32_t project;
	struct encoder *enc;
	uint8_t ids[BATCH][16];
	int32_t days[BATCH];
	int64_t tmin, tmax;
	int n;
	struct str profile_ids[BATCH], external_ids[BATCH], alias_ids[BATCH], plans[BATCH],
		countries[BATCH];
	int64_t created[BATCH];
	int n_people;
	struct progress progress;
};

static int fail(const char *what, const struct db *db)
{
	fprintf(stderr, "pugd seed: %s failed%s%s\n", what, db ? ", SQLSTATE " : "",
		db ? db->err.sqlstate : "");
	return -1;
}

static bool conf_value(const struct seed *s, const char *key, char *out, size_t n)
{
	FILE *f = fopen(s->file, "re");
	char line[512];
	size_t k = strlen(key);
	bool found = false;
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, key, k) == 0 && line[k] == '=')
			found = (size_t)snprintf(out, n, "%s", line + k + 1) < n;
	}
	if (f)
		fclose(f);
	return found;
}

struct account {
	char id[21], email[64], password[25], hash[CRYPT_OUTPUT_SIZE];
};

static bool make_account(struct account *a, const char *name)
{
	uint8_t bytes[14];
	char hex[29];
	hash_xid(a->id);
	hash_random(bytes, sizeof(bytes));
	str_hex(bytes, sizeof(bytes), hex);
	/* The suffix keeps a lost demo.conf from colliding with the old account. */
	snprintf(a->email, sizeof(a->email), "%s-%.4s@example.com", name, hex);
	snprintf(a->password, sizeof(a->password), "%.24s", hex + 4);
	return password_make(a->password, a->hash);
}

struct demo_keys {
	struct apikey pub, prv;
	char org[21], project[21];
};

static int make_admin(struct seed *s, const struct account *a, struct demo_keys *k)
{
	struct refresh r;
	struct q_auth_sign_up_row row;
	char session[21];
	session_first(&r);
	apikey_make(&k->pub, APIKEY_PUBLIC);
	hash_xid(k->org);
	hash_xid(k->project);
	hash_xid(session);
	struct q_auth_sign_up_args args = {
		.customer_id = str_of(a->id),
		.email = str_of(a->email),
		.password_hash = str_of(a->hash),
		.display_name = STR("Demo admin"),
		.org_id = str_of(k->org),
		.org_name = STR("Demo"),
		.project_id = str_of(k->project),
		.timezone = STR(""),
		.key_id = str_of(k->pub.id),
		.key = str_of(k->pub.text),
		.key_digest = apikey_digest(&k->pub),
		.key_hint = str_of(k->pub.hint),
		.session_id = str_of(session),
		.refresh_hash = {(const char *)r.hash, sizeof(r.hash)},
		/* sign-up opens a session, too, which nobody wants: it is over at once */
		.lifetime_us = 1,
	};
	return q_auth_sign_up(&s->db, &args, &row) == 1 ? 0 : fail("the demo account", &s->db);
}

static int make_private_key(struct seed *s, struct demo_keys *k)
{
	struct q_seed_project_row project;
	struct q_api_key_create_row row;
	if (q_seed_project(
		    &s->db, &(struct q_seed_project_args){.id = str_of(k->project)}, &project) != 1)
		return fail("the demo project", &s->db);
	apikey_make(&k->prv, APIKEY_PRIVATE);
	struct q_api_key_create_args args = {
		.key_id = str_of(k->prv.id),
		.project = project.num,
		.kind = APIKEY_PRIVATE,
		.digest = apikey_digest(&k->prv),
		.hint = str_of(k->prv.hint),
		.display_name = STR("demo"),
	};
	return q_api_key_create(&s->db, &args, &row) == 1 ? 0 : fail("the private key", &s->db);
}

/* All of it or nothing, and for its owner only: there are passwords and keys in it. end_ms is
 * where the events end, whenever and however often they are made. */
static int write_conf(const struct seed *s, const struct account *admin,
	const struct account *viewer, const struct demo_keys *k)
{
	char tmp[PATH + 8];
	snprintf(tmp, sizeof(tmp), "%s.new", s->file);
	(void)unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		fprintf(stderr, "pugd seed: cannot write %s: %s\n", tmp, strerror(errno));
		return -1;
	}
	fprintf(f,
		"email=%s\npassword=%s\nviewer_email=%s\nviewer_password=%s\norg_id=%s\n"
		"project_id=%s\npublic_key=%s\nprivate_key=%s\nend_ms=%lld\n",
		admin->email, admin->password, viewer->email, viewer->password, k->org, k->project,
		k->pub.text, k->prv.text, (long long)clock_real_ms());
	return fclose(f) == 0 && rename(tmp, s->file) == 0 ? 0 : fail(s->file, NULL);
}

static int make_accounts(struct seed *s)
{
	struct account admin, viewer;
	struct demo_keys k;
	struct q_seed_viewer_row row;
	if (!make_account(&admin, "admin") || !make_account(&viewer, "viewer"))
		return fail("password hashing", NULL);
	if (make_admin(s, &admin, &k) != 0 || make_private_key(s, &k) != 0)
		return -1;
	struct q_seed_viewer_args args = {.customer_id = str_of(viewer.id),
		.email = str_of(viewer.email),
		.password_hash = str_of(viewer.hash),
		.org_id = str_of(k.org)};
	if (q_seed_viewer(&s->db, &args, &row) != 1)
		return fail("the viewer account", &s->db);
	return write_conf(s, &admin, &viewer, &k);
}

static bool store_people(struct seed *s)
{
	int n = s->n_people;
	if (n == 0)
		return true;
	struct q_seed_people_args args = {.project = s->project,
		.profile_ids = {s->profile_ids, n},
		.external_ids = {s->external_ids, n},
		.alias_ids = {s->alias_ids, n},
		.plans = {s->plans, n},
		.countries = {s->countries, n},
		.created = {s->created, n}};
	s->n_people = 0;
	return q_seed_people(&s->db, &args) >= 0 || fail("storing people", &s->db) == 0;
}

/* By events_claim, because a seeding that is repeated meets its own events again. */
static bool store_batch(struct seed *s)
{
	struct q_events_claim_row *rows;
	int32_t *ones = arena_array(&s->arena, BATCH * 2, sizeof(*ones));
	struct str blob = s->n && s->enc ? encoder_finish(s->enc) : (struct str){0};
	if (s->n == 0)
		return store_people(s);
	if (!ones || !blob.p)
		return fail("encoding", NULL) == 0;
	int32_t *projects = ones, *positions = ones + BATCH;
	int32_t one[BATCH];
	for (int i = 0; i < s->n; i++) {
		projects[i] = s->project;
		positions[i] = i;
		one[i] = 1;
	}
	int n = s->n;
	struct q_events_claim_args args = {
		.project = {projects, n},
		.day = {s->days, n},
		.id = {&s->ids[0][0], n},
		.batch = {one, n},
		.pos = {positions, n},
		.b_project = {&s->project, 1},
		.b_n = {&n, 1},
		.b_tmin = {&s->tmin, 1},
		.b_tmax = {&s->tmax, 1},
		.b_data = {&blob, 1},
	};
	if (q_events_claim(&s->db, &args, &rows) < 0)
		return fail("storing events", &s->db) == 0;
	progress_add(&s->progress, (uint64_t)s->n);
	s->n = 0;
	/* people's texts are in the arena that is emptied now */
	bool ok = store_people(s);
	s->enc = NULL;
	arena_reset(&s->arena);
	return ok;
}

/* An event and its strings live as long as its batch. */
static struct str keep(struct seed *s, struct str text)
{
	char *p = arena_str(&s->arena, text);
	return (struct str){p, p ? text.n : 0};
}

/* The event itself is copied, too: the encoder reads its session when it finishes. */
static bool on_event(struct demo_sink *sink, const struct event *ev)
{
	struct seed *s = (struct seed *)sink;
	struct event *copy = arena_alloc(&s->arena, sizeof(*copy));
	struct prop *props = arena_array(&s->arena, ev->n_props ? ev->n_props : 1, sizeof(*props));
	if (!s->enc)
		s->enc = encoder_new(&s->arena);
	if (!copy || !props || !s->enc)
		return false;
	*copy = *ev;
	copy->kind = keep(s, ev->kind);
	copy->distinct_id = keep(s, ev->distinct_id);
	for (uint32_t i = 0; i < ev->n_props; i++)
		props[i] = ev->props[i]; /* demo.c's tables: static strings */
	copy->props = props;
	if (!copy->distinct_id.p || !encoder_add(s->enc, copy))
		return false;
	memcpy(s->ids[s->n], ev->id, 16);
	s->days[s->n] = (int32_t)(ev->time_ms / 86400000);
	s->tmin = s->n == 0 || ev->time_ms < s->tmin ? ev->time_ms : s->tmin;
	s->tmax = s->n == 0 || ev->time_ms > s->tmax ? ev->time_ms : s->tmax;
	return ++s->n < BATCH || store_batch(s);
}

/* A profile id that a repeated seeding finds again: xid alphabet, from the person. A hash has
 * bits for twelve digits; those after them come from the hash of the hash. */
static struct str profile_id(struct seed *s, const struct demo_person *p)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	char id[21];
	uint64_t h = hash_64(p->anon, sizeof(p->anon));
	for (int i = 0; i < 20; i++) {
		id[i] = digits[(h >> (i % 12 * 5)) & 31];
		if (i == 11)
			h = hash_64(&h, sizeof(h));
	}
	id[20] = '\0';
	return keep(s, str_of(id));
}

static bool on_signup(struct demo_sink *sink, const struct demo_person *p)
{
	struct seed *s = (struct seed *)sink;
	int i = s->n_people;
	char anon[37];
	str_uuid_text(p->anon, anon);
	s->profile_ids[i] = profile_id(s, p);
	s->external_ids[i] = arena_printf(&s->arena, "user-%u", p->number);
	s->alias_ids[i] = arena_printf(&s->arena, "anon-%s", anon);
	s->plans[i] = str_of(demo_plan(p));
	s->countries[i] = str_of(demo_country(p));
	s->created[i] = p->signup_ms * 1000;
	s->n_people++;
	return s->profile_ids[i].p && s->external_ids[i].p && s->alias_ids[i].p &&
	       (s->n_people < BATCH || store_batch(s));
}

static int make_events(struct seed *s)
{
	char project[21], end[24];
	struct q_seed_project_row row;
	uint64_t end_ms;
	if (!conf_value(s, "project_id", project, sizeof(project)) ||
		!conf_value(s, "end_ms", end, sizeof(end)) || !str_u64(str_of(end), &end_ms))
		return fail("reading demo.conf", NULL);
	if (q_seed_project(&s->db, &(struct q_seed_project_args){.id = str_of(project)}, &row) != 1)
		return fail("the demo project", &s->db);
	s->project = row.num;
	s->end_ms = (int64_t)end_ms;
	s->sink = (struct demo_sink){.event = on_event, .signup = on_signup};
	progress_start(&s->progress, "demo events", s->events);
	if (!demo_generate(&s->sink, s->events, s->end_ms) || !store_batch(s))
		return fail("seeding", NULL);
	progress_end(&s->progress);
	/* no catalog_admit() has seen their names: the keeper looks */
	if (q_catalog_doubt(&s->db, &(struct q_catalog_doubt_args){s->project, 0}) < 0)
		return fail("marking the catalogue", &s->db);
	/* last of all: without it the next run makes the same events once more */
	FILE *f = fopen(s->file, "ae");
	if (!f || fprintf(f, "seeded=%llu\n", (unsigned long long)s->events) < 0 || fclose(f) != 0)
		return fail(s->file, NULL);
	return 0;
}

static int run(struct seed *s)
{
	char value[64];
	PGconn *conn = PQconnectdb(s->opt->database_url);
	if (PQstatus(conn) != CONNECTION_OK) {
		fprintf(stderr, "pugd seed: %s", PQerrorMessage(conn));
		PQfinish(conn);
		return -1;
	}
	arena_init(&s->arena, ARENA);
	db_blocking(&s->db, conn, &s->arena);
	int rc = 0;
	if (!conf_value(s, "private_key", value, sizeof(value)))
		rc = make_accounts(s);
	if (rc == 0 && s->events > 0 && !conf_value(s, "seeded", value, sizeof(value)))
		rc = make_events(s);
	arena_free(&s->arena);
	PQfinish(conn);
	return rc;
}

int cli_seed(const struct options *opt, int argc, char **argv)
{
	struct seed *s = calloc(1, sizeof(*s));
	const char *data = NULL;
	bool ok = s != NULL;
	for (int i = 1; ok && i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--data") == 0)
			data = argv[i + 1];
		else if (strcmp(argv[i], "--events") == 0)
			ok = str_u64(str_of(argv[i + 1]), &s->events);
		else
			ok = false;
	}
	if (!ok || !data) {
		fprintf(stderr, "usage: pugd seed --data DIR [--events N]\n");
		free(s);
		return 2;
	}
	s->opt = opt;
	snprintf(s->file, sizeof(s->file), "%s/demo.conf", data);
	int rc = run(s);
	free(s);
	return rc == 0 ? 0 : 1;
}
