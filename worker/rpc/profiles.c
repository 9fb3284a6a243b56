/*
 * ProfilesService: persons, one by one and by pages (events-profiles.md 5). Their
 * deletion is in erasure.c.
 */
#include <string.h>

#include "q.h"
#include "rpc.h"
#include "worker/rpc/page.h"
#include "worker/rpc/profile.h"

enum {
	PAGE_DEFAULT = 100,
	/* Persons a scan finds for a stream: more is less scanning, and memory while the
	 * client reads. */
	STREAM_CHUNK = 2000,
	/* Rows asked for at once, and bytes of traits in one answer: as messages they take
	 * up to twenty times as much. A page of greater ones is shorter. */
	ROWS_AT_ONCE = 100,
	TRAITS_BUDGET = 768 * 1024
};

/* ---- one ---- */

static int not_found(struct call *c, const char *id)
{
	return call_fail_resource(c, "PROFILE_NOT_FOUND", "profile", id, "no profile has this id");
}

/* Only ids made by events, for which no profile stands, are persons of their own. */
static int anonymous(struct call *c, const char *id, Profiles__V1__Profile *out)
{
	struct str key = str_of(id);
	struct profile_events events;

	if (str_starts(key, STR("cookieless-")))
		return not_found(c, id);
	if (profile_events_of(c, &key, 1, &events) < 0)
		return -1;
	if (events.sums.total == 0)
		return not_found(c, id);
	return profile_message(c, NULL, key, &events, out);
}

static int get(struct call *c, const char *id, Profiles__V1__Profile **out)
{
	struct q_profile_find_row row;
	struct profile_events events;
	int n = q_profile_find(
		&c->db, &(struct q_profile_find_args){c->who.project, str_of(id)}, &row);

	if (n < 0)
		return call_fail_db(c, &c->db);
	*out = call_alloc(c, sizeof(**out));
	if (!*out)
		return -1;
	/* known: the external_id of somebody, by which Get does not find them (events-profiles.md
	 * 5.2) */
	if (!row.id.p)
		return row.known ? not_found(c, id) : anonymous(c, id, *out);
	if (profile_events_of(c, row.ids.v, (size_t)row.ids.n, &events) < 0)
		return -1;
	return profile_message(c,
		&(struct profile_row){
			row.id, row.external_id, row.properties, row.create_time, row.update_time},
		row.id, &events, *out);
}

int rpc_profiles_get(
	struct call *c, const Profiles__V1__GetRequest *in, Profiles__V1__GetResponse *out)
{
	return get(c, in->id, &out->profile);
}

int rpc_profiles_get_by_external_id(struct call *c, const Profiles__V1__GetByExternalIdRequest *in,
	Profiles__V1__GetByExternalIdResponse *out)
{
	struct q_profile_of_external_id_row row;
	int n = q_profile_of_external_id(&c->db,
		&(struct q_profile_of_external_id_args){c->who.project, str_of(in->external_id)},
		&row);
	const char *id;

	if (n < 0)
		return call_fail_db(c, &c->db);
	if (n == 0 || !row.id.p)
		return not_found(c, in->external_id);
	id = call_str(c, row.id);
	return id ? get(c, id, &out->profile) : -1;
}

/* ---- pages ---- */

/* What a page token holds: when the last person was made, and their key. */
enum { TOKEN_MAX = 8 + sizeof(((struct profile_cursor *)0)->key) };

static int read_token(struct call *c, const char *token, struct profile_cursor *out)
{
	char payload[TOKEN_MAX];
	size_t n;

	*out = (struct profile_cursor){.set = token && *token};
	if (!out->set)
		return 0;
	if (page_payload_upto(c, str_of(token), payload, sizeof(payload), &n) < 0)
		return -1;
	if (n < sizeof(out->us))
		return call_fail(c, CODE_INVALID_ARGUMENT, "INVALID_PAGE_TOKEN",
			"page_token was not made by this method");
	memcpy(&out->us, payload, sizeof(out->us));
	out->n = n - sizeof(out->us);
	memcpy(out->key, payload + sizeof(out->us), out->n);
	return 0;
}

static char *make_token(struct call *c, const struct profile_listed *last)
{
	char payload[TOKEN_MAX];

	memcpy(payload, &last->us, sizeof(last->us));
	memcpy(payload + sizeof(last->us), last->key.p, last->key.n);
	return page_token(c, payload, sizeof(last->us) + last->key.n);
}

/* A copy, for what it comes from goes with the arena's mark. */
static void move_to(struct profile_cursor *cursor, const struct profile_listed *last)
{
	cursor->set = true;
	cursor->us = last->us;
	cursor->n = last->key.n;
	memcpy(cursor->key, last->key.p, last->key.n);
}

/* A message under way. */
struct filling {
	Profiles__V1__Profile **v;
	size_t n;
	size_t traits; /* bytes so far */
};

static int add(struct call *c, struct filling *f, const struct profile_listed *who,
	const struct profile_row *row)
{
	Profiles__V1__Profile *p = call_alloc(c, sizeof(*p));

	if (!p || profile_message(c, row, who->key, &who->events, p) < 0)
		return -1;
	f->v[f->n++] = p;
	return 0;
}

/* The rows of those of who[0..n) that are profiles. The others ask for "", which is no profile's
 * id, so that places keep their numbers. */
static int fetch(struct call *c, const struct filling *f, const struct profile_listed *who,
	uint32_t n, struct q_profiles_by_id_row **rows)
{
	struct str ids[ROWS_AT_ONCE];

	for (uint32_t i = 0; i < n; i++)
		ids[i] = who[i].profile ? who[i].key : STR("");
	return q_profiles_by_id(&c->db,
		&(struct q_profiles_by_id_args){
			c->who.project, {ids, (int)n}, TRAITS_BUDGET - (int64_t)f->traits},
		rows);
}

/* Adds some of who[0..n), at most ROWS_AT_ONCE; *used says how many were looked at. Who
 * is no person any more since the scan is left out. */
static int fill_some(struct call *c, struct filling *f, const struct profile_listed *who,
	uint32_t n, uint32_t *used)
{
	struct q_profiles_by_id_row *rows, *row;
	int left = fetch(c, f, who, n, &rows);

	if (left < 0)
		return call_fail_db(c, &c->db);
	row = rows;
	for (uint32_t i = 0; i < n; i++) {
		bool here = left > 0 && row->no == (int32_t)i;

		*used = i;
		if (here && !row->properties.p)
			return 0; /* no room for these traits */
		if (here || (!who[i].profile && who[i].events.sums.total)) {
			struct profile_row r = {0};

			if (here)
				r = (struct profile_row){row->id, row->external_id, row->properties,
					row->create_time, row->update_time};
			if (add(c, f, &who[i], here ? &r : NULL) < 0)
				return -1;
			f->traits += r.properties.n;
		}
		row += here;
		left -= here;
	}
	*used = n;
	return 0;
}

/* Fills a message with who[0..n) as far as its traits go. Returns how many were used up,
 * at least one, or -1 after call_fail(). */
static int fill(struct call *c, struct filling *f, const struct profile_listed *who, uint32_t n)
{
	uint32_t at = 0, used = 0;

	*f = (struct filling){.v = call_alloc(c, (n + 1) * sizeof(Profiles__V1__Profile *))};
	if (!f->v)
		return -1;
	while (at < n && f->traits < TRAITS_BUDGET) {
		uint32_t some = n - at < ROWS_AT_ONCE ? n - at : ROWS_AT_ONCE;

		if (fill_some(c, f, who + at, some, &used) < 0)
			return -1;
		at += used;
		if (used < some)
			break;
	}
	return (int)at;
}

int rpc_profiles_list(
	struct call *c, const Profiles__V1__ListRequest *in, Profiles__V1__ListResponse *out)
{
	uint32_t size = in->page_size > 0 ? (uint32_t)in->page_size : PAGE_DEFAULT;
	struct profile_query q = {in->filter_groups, in->n_filter_groups,
		in->filter_groups_operator == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR};
	struct profile_cursor cursor;
	struct profile_page page;
	struct filling f;
	int n;

	if (read_token(c, in->page_token, &cursor) < 0 ||
		profile_next(c, &q, &cursor, size, &page) < 0)
		return -1;
	n = fill(c, &f, page.v, page.n);
	if (n < 0)
		return -1;
	out->profiles = f.v;
	out->n_profiles = f.n;
	if (!page.more && (uint32_t)n == page.n)
		return 0; /* nothing follows: no token (D55) */
	out->next_page_token = make_token(c, &page.v[n - 1]);
	return out->next_page_token ? 0 : -1;
}

/* One message of at most PAGE_DEFAULT; returns as fill(). */
static int send_page(struct call *c, const struct profile_page *page, uint32_t at)
{
	uint32_t left = page->n - at;
	Profiles__V1__ListAllResponse out = PROFILES__V1__LIST_ALL_RESPONSE__INIT;
	struct filling f;
	int n = fill(c, &f, page->v + at, left < PAGE_DEFAULT ? left : PAGE_DEFAULT);

	if (n < 0)
		return -1;
	out.profiles = f.v;
	out.n_profiles = f.n;
	if (page->more || (uint32_t)n < left) {
		out.next_page_token = make_token(c, &page->v[at + (uint32_t)n - 1]);
		if (!out.next_page_token)
			return -1;
	}
	if (f.n > 0 && call_send(c, &out.base) < 0)
		return -1;
	return n;
}

/* Everybody whom one scan found; the call's memory is given back after each message. */
static int send_chunk(struct call *c, const struct profile_page *page)
{
	for (uint32_t at = 0; at < page->n;) {
		struct arena_mark mark = arena_mark(c->arena);
		int n = send_page(c, page, at);

		if (n < 0)
			return -1;
		arena_release(c->arena, &mark);
		at += (uint32_t)n;
	}
	return 0;
}

int rpc_profiles_list_all(
	struct call *c, const Profiles__V1__ListAllRequest *in, Profiles__V1__ListAllResponse *out)
{
	struct profile_query q = {in->filter_groups, in->n_filter_groups,
		in->filter_groups_operator == COMMON__V1__LOGICAL_OPERATOR__LOGICAL_OPERATOR_OR};
	struct profile_cursor cursor;
	struct profile_page page = {.more = true};

	(void)out; /* its messages are sent one by one */
	if (read_token(c, in->page_token, &cursor) < 0)
		return -1;
	while (page.more) {
		struct arena_mark mark = arena_mark(c->arena);

		if (profile_next(c, &q, &cursor, STREAM_CHUNK, &page) < 0 ||
			send_chunk(c, &page) < 0)
			return -1;
		if (page.n > 0)
			move_to(&cursor, &page.v[page.n - 1]);
		arena_release(c->arena, &mark);
	}
	return 0;
}
