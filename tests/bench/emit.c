/* See emit.h. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/base/str.h"
#include "tests/bench/emit.h"

enum { BLOCK = 5000, OUT_BYTES = 1 << 20, LINE_BYTES = 2048 };

static char out[OUT_BYTES];
static size_t out_n;

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail);
	exit(1);
}

static void put(const void *p, size_t n)
{
	memcpy(out + out_n, p, n);
	out_n += n;
}

static void put_text(const char *z)
{
	put(z, strlen(z));
}

static void told(uint32_t n)
{
	fprintf(stderr, "done %u\n", n);
}

/* ---- JSON Lines ---- */

static void put_time(int64_t ms)
{
	static time_t second = -1;
	static char text[64];
	time_t now = (time_t)(ms / 1000);
	struct tm tm;
	char end[8];

	if (now != second) {
		gmtime_r(&now, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		second = now;
	}
	put_text(text);
	snprintf(end, sizeof(end), ".%03dZ", (int)(ms % 1000));
	put_text(end);
}

static void put_uuid(const uint8_t id[16])
{
	char text[ID_TEXT + 1];

	str_uuid_text(id, text);
	put(text, ID_TEXT);
}

static void put_property(const char *key, const char *value)
{
	put_text(",\"");
	put_text(key);
	put_text("\":\"");
	put_text(value);
	put_text("\"");
}

static void put_properties(const struct columns *c, uint32_t i)
{
	char buf[32];

	put_text("\"properties\":{\"$platform\":\"web\"");
	put_property("$hostname", "shop.example");
	put_property("$locale", "en-US");
	put_property("$device", c->browser[i] % 3 ? "Mobile" : "Desktop");
	put_property("$pathname", name_path(c->path[i], buf));
	put_property("$country", name_country(c->country[i], buf));
	put_property("$browser", name_browser(c->browser[i], buf));
	put_property("$os", name_system(person_system(c->person[i]), buf));
	if (c->source[i])
		put_property("$utmSource", name_source(c->source[i], buf));
	if (c->amount[i]) {
		put_property("plan", c->amount[i] % 3 ? "pro" : "team");
		snprintf(buf, sizeof(buf), ",\"amount\":%.2f", c->amount[i] / 4.0);
		put_text(buf);
	}
	put_text("}}\n");
}

static void put_event(const struct columns *c, uint32_t i)
{
	char id[ID_TEXT + 1], buf[32];
	uint8_t raw[16];

	put_text("{\"eventId\":\"");
	event_id(c, i, raw);
	put_uuid(raw);
	put_text("\",\"kind\":\"");
	put_text(name_kind(c->kind[i], buf));
	put_text("\",\"distinctId\":\"");
	if (c->known[i])
		person_external(c->person[i], id);
	else
		person_anonymous(c->person[i], id);
	put_text(id);
	put_text("\",\"sessionId\":\"");
	session_id(c->session[i], raw);
	put_uuid(raw);
	put_text("\",\"occurTime\":\"");
	put_time(c->t[i]);
	put_text("\",");
	put_properties(c, i);
}

static void flush_stdout(void)
{
	if (fwrite(out, 1, out_n, stdout) != out_n)
		die("stdout", "closed");
	out_n = 0;
}

void emit_json(const struct columns *c, uint32_t part, uint32_t parts)
{
	uint32_t n = 0;

	for (uint32_t block = part; (uint64_t)block * BLOCK < c->n; block += parts) {
		uint32_t end = (block + 1) * BLOCK < c->n ? (block + 1) * BLOCK : c->n;

		for (uint32_t i = block * BLOCK; i < end; i++, n++) {
			put_event(c, i);
			if (out_n > OUT_BYTES - LINE_BYTES)
				flush_stdout();
		}
		flush_stdout();
		told(n);
	}
	if (fflush(stdout))
		die("stdout", "closed");
}

/* ---- COPY BINARY ---- */

struct copy {
	PGconn *db;
	uint32_t rows;
};

static PGresult *expect(PGconn *db, PGresult *r, ExecStatusType want)
{
	if (PQresultStatus(r) != want)
		die("COPY", PQerrorMessage(db));
	PQclear(r);
	return NULL;
}

static void copy_begin(struct copy *c, PGconn *db, const char *statement)
{
	static const char head[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";

	*c = (struct copy){.db = db};
	expect(db, PQexec(db, statement), PGRES_COPY_IN);
	put(head, sizeof(head));
}

static void put_be(uint64_t v, int n)
{
	for (int i = n - 1; i >= 0; i--)
		out[out_n++] = (char)(v >> 8 * i);
}

static void put_number(uint64_t v, int n)
{
	put_be((uint64_t)n, 4);
	put_be(v, n);
}

static void put_bytes(const void *p, size_t n)
{
	put_be(n, 4);
	put(p, n);
}

static void copy_flush(struct copy *c)
{
	if (PQputCopyData(c->db, out, (int)out_n) != 1)
		die("COPY", PQerrorMessage(c->db));
	out_n = 0;
}

static void copy_row(struct copy *c, int columns)
{
	if (out_n > OUT_BYTES - LINE_BYTES)
		copy_flush(c);
	put_be((uint64_t)columns, 2);
	c->rows++;
}

static void copy_end(struct copy *c)
{
	put_be(0xffff, 2);
	copy_flush(c);
	if (PQputCopyEnd(c->db, NULL) != 1)
		die("COPY", PQerrorMessage(c->db));
	expect(c->db, PQgetResult(c->db), PGRES_COMMAND_OK);
	while (PQgetResult(c->db))
		;
}

static PGconn *need_connection(const char *conninfo)
{
	PGconn *db = PQconnectdb(conninfo);

	if (PQstatus(db) != CONNECTION_OK)
		die("connect", PQerrorMessage(db));
	return db;
}

/* Of PostgreSQL's epoch, 2000-01-01, in microseconds. */
static uint64_t pg_time(int64_t ms)
{
	return (uint64_t)((ms - 946684800000) * 1000);
}

static void put_amount(uint16_t quarters)
{
	double amount = quarters / 4.0;
	uint64_t bits;

	memcpy(&bits, &amount, 8);
	if (quarters)
		put_number(bits, 8);
	else
		put_be(0xffffffff, 4);
}

void emit_rows(const struct columns *c, const char *conninfo)
{
	PGconn *db = need_connection(conninfo);
	struct copy copy;

	copy_begin(&copy, db,
		"COPY bench_event (t, id, person, session, amount, kind, path, country, browser, os, source) "
		"FROM STDIN (FORMAT binary)");
	for (uint32_t i = 0; i < c->n; i++) {
		uint8_t id[16];

		event_id(c, i, id);
		copy_row(&copy, 11);
		put_number(pg_time(c->t[i]), 8);
		put_bytes(id, 16);
		put_number(c->person[i], 4);
		put_number(c->session[i], 4);
		put_amount(c->amount[i]);
		put_number(c->kind[i], 2);
		put_number(c->path[i], 2);
		put_number(c->country[i], 2);
		put_number(c->browser[i], 2);
		put_number(person_system(c->person[i]), 2);
		put_number(c->source[i], 2);
		if (i % BLOCK == 0)
			told(i);
	}
	copy_end(&copy);
	PQfinish(db);
}

static void profiles(const struct columns *c, PGconn *db, int project)
{
	struct copy copy;
	char id[ID_TEXT + 1];

	copy_begin(&copy, db,
		"COPY pugd.profiles (project, id, external_id, properties) FROM STDIN (FORMAT binary)");
	for (uint32_t p = 0; p < c->persons; p++) {
		static const char plan[] = "\001{\"plan\": \"pro\"}";

		if (!person_identified(p))
			continue;
		copy_row(&copy, 4);
		put_number((uint64_t)project, 4);
		person_xid(p, id);
		put_bytes(id, XID_TEXT);
		person_external(p, id);
		put_bytes(id, strlen(id));
		put_bytes(plan, sizeof(plan) - 1);
	}
	copy_end(&copy);
}

static void aliases(const struct columns *c, PGconn *db, int project)
{
	struct copy copy;
	char id[ID_TEXT + 1];

	copy_begin(&copy, db,
		"COPY pugd.aliases (project, alias_id, profile_id) FROM STDIN (FORMAT binary)");
	for (uint32_t p = 0; p < c->persons; p++) {
		if (!person_identified(p))
			continue;
		copy_row(&copy, 3);
		put_number((uint64_t)project, 4);
		person_anonymous(p, id);
		put_bytes(id, ID_TEXT);
		person_xid(p, id);
		put_bytes(id, XID_TEXT);
	}
	copy_end(&copy);
}

void emit_people(const struct columns *c, const char *conninfo, int project)
{
	PGconn *db = need_connection(conninfo);
	char id[ID_TEXT + 1], lock[128];
	struct copy copy;

	/* as everybody who writes people, for the sake of the keeper's packed copy of them */
	snprintf(lock, sizeof(lock), "BEGIN; SELECT pugd.identity_lock(%d, false, '{}')", project);
	expect(db, PQexec(db, lock), PGRES_TUPLES_OK);
	profiles(c, db, project);
	aliases(c, db, project);
	expect(db, PQexec(db, "COMMIT"), PGRES_COMMAND_OK);
	copy_begin(&copy, db, "COPY bench_person (person, key, label) FROM STDIN (FORMAT binary)");
	for (uint32_t p = 0; p < c->persons; p++) {
		copy_row(&copy, 3);
		put_number(p, 4);
		person_key(p, id);
		put_bytes(id, strlen(id));
		person_label(p, id);
		put_bytes(id, strlen(id));
	}
	copy_end(&copy);
	PQfinish(db);
}

/* ---- names ---- */

void emit_names(void)
{
	static const struct {
		const char *what;
		const char *(*name)(unsigned, char buf[32]);
		unsigned n;
	} lists[] = {{"kinds", name_kind, KINDS}, {"paths", name_path, PATHS},
		{"countries", name_country, COUNTRIES}, {"browsers", name_browser, BROWSERS}};
	char buf[32];

	for (size_t l = 0; l < sizeof(lists) / sizeof(*lists); l++) {
		printf("%s\"%s\": [", l ? ", " : "{", lists[l].what);
		for (unsigned i = 0; i < lists[l].n; i++)
			printf("%s\"%s\"", i ? ", " : "", lists[l].name(i, buf));
		printf("]");
	}
	printf("}\n");
}
