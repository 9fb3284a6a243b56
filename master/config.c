/*
 * Reads `key = value` lines into struct options, by the table of options.def.
 * A `#` at the start of a line or after a blank begins a comment; a value may
 * stand in double quotes (no escapes), which keeps blanks and `#`.
 */
#include "master/config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/args.h"

/* A bound for what has no size of its own, such as a pipe. */
enum { CONFIG_FILE_MAX = 1 << 20 };

#define AT(member) offsetof(struct options, member)
const struct option_row config_rows[] = {
#define OPT_GROUP(title) {OPTION_GROUP, NULL, 0, 0, 0, 0, NULL, false, title},
#define OPT_TEXT(member, key, bytes, def, reloadable, help) \
	{OPTION_TEXT, key, AT(member), bytes, 0, 0, def, reloadable, help},
#define OPT_INT(member, key, min, max, def, reloadable, help) \
	{OPTION_INT, key, AT(member), 0, min, max, def, reloadable, help},
#define OPT_BOOL(member, key, def, reloadable, help) \
	{OPTION_BOOL, key, AT(member), 0, 0, 1, def, reloadable, help},
#define OPT_MS(member, key, min, max, def, reloadable, help) \
	{OPTION_MS, key, AT(member), 0, min, max, def, reloadable, help},
#define OPT_SIZE(member, key, min, max, def, reloadable, help) \
	{OPTION_SIZE, key, AT(member), 0, min, max, def, reloadable, help},
#include "shm/options.def"
#undef OPT_GROUP
#undef OPT_TEXT
#undef OPT_INT
#undef OPT_BOOL
#undef OPT_MS
#undef OPT_SIZE
};
const size_t config_row_count = sizeof(config_rows) / sizeof(config_rows[0]);

struct unit {
	const char *name;
	int64_t factor;
};

/* No unit without a name: a bare 10 is refused, because people would disagree on what it
 * means. */
static const struct unit time_units[] = {
	{"ms", 1},
	{"s", 1000},
	{"m", 60000},
	{"h", 3600000},
	{"d", 86400000},
	{NULL, 0},
};
static const struct unit size_units[] = {
	{"", 1},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
	{NULL, 0},
};

void config_report_init(struct config_report *r)
{
	buf_init(&r->text, NULL);
	r->count = 0;
}

void config_report_free(struct config_report *r)
{
	buf_free(&r->text);
}

/* The count decides, not the text, which may be cut for want of memory. */
void config_problem(struct config_report *r, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_z(&r->text, line);
	buf_c(&r->text, '\n');
	r->count++;
}

/* A number with a unit; false when it is not one, or does not fit. */
static bool parse_scaled(struct str v, const struct unit *units, int64_t *out)
{
	size_t digits = 0;
	uint64_t n;

	while (digits < v.n && v.p[digits] >= '0' && v.p[digits] <= '9')
		digits++;
	if (!str_u64((struct str){v.p, digits}, &n) || n > INT64_MAX)
		return false;
	struct str unit = {v.p + digits, v.n - digits};
	/* Zero needs no unit. */
	if (n == 0 && unit.n == 0)
		return *out = 0, true;
	for (; units->name; units++)
		if (str_eq(unit, str_of(units->name)))
			return !__builtin_mul_overflow((int64_t)n, units->factor, out);
	return false;
}

static bool parse_bool(struct str v, bool *out)
{
	static const char *const words[][2] = {
		{"no", "yes"},
		{"off", "on"},
		{"false", "true"},
		{"0", "1"},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int b = 0; b < 2; b++)
			if (str_case_eq(v, str_of(words[i][b])))
				return *out = b == 1, true;
	return false;
}

/* What a value of this kind looks like, for complaints. */
static const char *expected(enum option_kind kind)
{
	static const char *const text[] = {
		[OPTION_GROUP] = "",
		[OPTION_TEXT] = "a text",
		[OPTION_INT] = "a whole number",
		[OPTION_BOOL] = "yes or no",
		[OPTION_MS] = "a duration such as 500ms, 10s, 2m, 1h or 90d",
		[OPTION_SIZE] = "a size such as 1024, 32K, 4M or 1G",
	};

	return text[kind];
}

static bool parse_number(const struct option_row *row, struct str v, int64_t *out)
{
	if (row->kind == OPTION_MS)
		return parse_scaled(v, time_units, out);
	if (row->kind == OPTION_SIZE)
		return parse_scaled(v, size_units, out);
	return str_i64(v, out);
}

/* A member ends at its NUL: whatever followed one inside would be lost without a word. */
static void set_text(struct options *o, const struct option_row *row, const char *where,
	struct str v, struct config_report *r)
{
	char *to = (char *)o + row->offset;

	if (v.n >= row->bytes) {
		config_problem(r, "%s%s: longer than %zu bytes", where, row->key, row->bytes - 1);
		return;
	}
	if (!str_utf8_ok(v) || memchr(v.p, '\0', v.n)) {
		config_problem(r, "%s%s: not valid UTF-8", where, row->key);
		return;
	}
	/* The whole member, so that equal settings are equal bytes. */
	memset(to, 0, row->bytes);
	memcpy(to, v.p, v.n);
}

static void set_number(struct options *o, const struct option_row *row, const char *where,
	struct str v, struct config_report *r)
{
	int64_t n;

	if (!parse_number(row, v, &n))
		config_problem(r, "%s%s: '%.*s' is not %s", where, row->key, STR_ARG(v),
			expected(row->kind));
	else if (n < row->min || n > row->max)
		config_problem(r, "%s%s: %.*s is outside %" PRId64 "..%" PRId64 "%s", where,
			row->key, STR_ARG(v), row->min, row->max,
			row->kind == OPTION_MS ? " ms" : "");
	else
		memcpy((char *)o + row->offset, &n, sizeof(n));
}

static void set_value(struct options *o, const struct option_row *row, const char *where,
	struct str v, struct config_report *r)
{
	bool b;

	if (row->kind == OPTION_TEXT) {
		set_text(o, row, where, v, r);
	} else if (row->kind != OPTION_BOOL) {
		set_number(o, row, where, v, r);
	} else if (parse_bool(v, &b)) {
		memcpy((char *)o + row->offset, &b, sizeof(b));
	} else {
		config_problem(r, "%s%s: '%.*s' is not %s", where, row->key, STR_ARG(v),
			expected(row->kind));
	}
}

/* Index into config_rows, or -1. */
static long find_row(struct str key)
{
	for (size_t i = 0; i < config_row_count; i++)
		if (config_rows[i].key && str_eq(key, str_of(config_rows[i].key)))
			return (long)i;
	return -1;
}

/* Nobody looks at the report: a default that its own row refuses would stay zero, and a unit
 * test tries each. */
void config_defaults(struct options *o)
{
	struct config_report r;

	memset(o, 0, sizeof(*o));
	config_report_init(&r);
	for (size_t i = 0; i < config_row_count; i++)
		if (config_rows[i].key)
			set_value(
				o, &config_rows[i], "default of ", str_of(config_rows[i].def), &r);
	config_report_free(&r);
}

/* The value without comment and quotes; false when a quote is left open. */
static bool unquote(struct str raw, struct str *out)
{
	struct str v = str_trim(raw);
	const char *end;

	if (v.n > 0 && v.p[0] == '"') {
		end = memchr(v.p + 1, '"', v.n - 1);
		if (!end)
			return false;
		struct str after = str_trim((struct str){end + 1, v.n - (size_t)(end + 1 - v.p)});
		*out = (struct str){v.p + 1, (size_t)(end - v.p) - 1};
		return after.n == 0 || after.p[0] == '#';
	}
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] == '#' && (i == 0 || v.p[i - 1] == ' ' || v.p[i - 1] == '\t'))
			v.n = i;
	*out = str_trim(v);
	return true;
}

/* seen: which rows this file has had, good or bad; NULL for -o, where the last one counts. Twice
 * in a file is a problem: one of the two is not what was meant. */
static void parse_line(
	struct options *o, const char *where, struct str line, bool *seen, struct config_report *r)
{
	long eq = str_find(line, '=');
	struct str key, value;
	long row;

	if (eq < 0) {
		config_problem(r, "%sexpected key = value", where);
		return;
	}
	key = str_trim((struct str){line.p, (size_t)eq});
	row = find_row(key);
	if (row < 0)
		config_problem(r, "%s%.*s: unknown option", where, STR_ARG(key));
	else if (seen && seen[row])
		config_problem(r, "%s%s: given twice", where, config_rows[row].key);
	else if (!unquote((struct str){line.p + eq + 1, line.n - (size_t)eq - 1}, &value))
		config_problem(r, "%s%s: quotes do not match", where, config_rows[row].key);
	else
		set_value(o, &config_rows[row], where, value, r);
	if (row >= 0 && seen)
		seen[row] = true;
}

void config_parse(struct options *o, const char *name, struct str text, struct config_report *r)
{
	bool seen[sizeof(config_rows) / sizeof(config_rows[0])] = {false};
	char where[512];
	unsigned number = 0;

	while (text.n > 0) {
		const char *nl = memchr(text.p, '\n', text.n);
		size_t n = nl ? (size_t)(nl - text.p) : text.n;
		struct str line = str_trim((struct str){text.p, n});

		number++;
		/* str_trim() takes blanks and tabs only. */
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line = str_trim((struct str){line.p, line.n - 1});
		snprintf(where, sizeof(where), "%s:%u: ", name, number);
		if (line.n > 0 && line.p[0] != '#')
			parse_line(o, where, line, seen, r);
		text.p += n + (nl ? 1 : 0);
		text.n -= n + (nl ? 1 : 0);
	}
}

void config_override(struct options *o, const char *assignment, struct config_report *r)
{
	parse_line(o, "-o ", str_of(assignment), NULL, r);
}

/* The file's bytes in malloc'ed memory, or NULL with errno. An empty file is not NULL. Read to
 * its end whatever st_size says, which is 0 for a pipe. */
static char *read_file(const char *path, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *p = NULL;
	ssize_t got;

	*n = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && st.st_size <= CONFIG_FILE_MAX)
		p = malloc(CONFIG_FILE_MAX);
	else
		errno = EFBIG;
	while (p && (got = read(fd, p + *n, CONFIG_FILE_MAX - *n)) != 0) {
		if (got < 0) {
			int error = errno;
			free(p);
			p = NULL;
			errno = error;
			break;
		}
		*n += (size_t)got;
	}
	close(fd);
	return p;
}

/* Goes on after a problem, with what stood there before: all problems are told at once, and
 * client_address() uses what there is. Checks are last, because they compare options that file
 * and -o may have set. */
bool config_load(struct options *o, const struct args *a, struct config_report *r)
{
	char *text;
	size_t n;

	config_defaults(o);
	errno = 0;
	text = read_file(a->config, &n);
	if (text)
		config_parse(o, a->config, (struct str){text, n}, r);
	else if (a->config_given || errno != ENOENT)
		config_problem(r, "%s: %s", a->config, strerror(errno));
	free(text);
	for (int i = 0; i < a->override_count; i++)
		config_override(o, a->overrides[i], r);
	config_check(o, a->config, r);
	return r->count == 0;
}
