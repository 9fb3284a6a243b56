/*
 * One event, one line, one write(2): lines of several processes never mix in a
 * pipe, because a line is at most PIPE_BUF. The format is read here instead of
 * by vsnprintf as a whole, for then it is known which bytes come from outside:
 * a %s value that could pass for something else (spaces, quotes, '=', control
 * characters) is quoted and escaped, so that no client can forge a line or a
 * key. Not here: rotation, files, levels per module (journald's business).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shm/base/log.h"

enum { LINE_MAX_BYTES = 4096, PREFIX_BYTES = 64, SPEC_BYTES = 24 };

struct line {
	size_t n;
	char text[LINE_MAX_BYTES];
};

/* The process has one standard error, hence one of these. */
static struct {
	int level;
	bool journal;
	char prefix[PREFIX_BYTES];
} setup = {.level = LOG_LEVEL_INFO};

void (*panic_hook)(const char *text);

/* Both ends must agree: shells started inside a desktop inherit the variable. */
static bool stderr_is_journal(void)
{
	const char *var = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (!var || fstat(STDERR_FILENO, &st) < 0)
		return false;
	dev = strtoull(var, &end, 10);
	if (*end != ':')
		return false;
	ino = strtoull(end + 1, NULL, 10);
	return dev == st.st_dev && ino == st.st_ino;
}

void log_setup(const char *prefix, int level)
{
	snprintf(setup.prefix, sizeof(setup.prefix), "%s", prefix ? prefix : "");
	setup.level = level;
	setup.journal = stderr_is_journal();
}

/* The last byte is kept for the newline. */
static void put(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof(l->text) - 1 - l->n;

	if (n > room)
		n = room;
	memcpy(l->text + l->n, p, n);
	l->n += n;
}

/* Control characters always: a terminal that shows the log obeys them. */
static void put_escaped(struct line *l, const char *p, size_t n, bool quoted)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		char hex[5];

		if (c < 0x20 || c == 0x7f) {
			snprintf(hex, sizeof(hex), "\\x%02x", (unsigned)c);
			put(l, hex, 4);
		} else if (quoted && (c == '"' || c == '\\')) {
			put(l, (const char[]){'\\', (char)c}, 2);
		} else {
			put(l, p + i, 1);
		}
	}
}

/* Whatever a reader of key=value pairs would take for syntax. */
static bool needs_quotes(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] <= ' ' || strchr("\"'\\=\x7f", p[i]))
			return true;
	return n == 0;
}

/* `before` is the format's byte before the conversion: it tells a value from prose. */
static void put_text(struct line *l, const char *p, size_t n, char before)
{
	if (before == '=' && needs_quotes(p, n)) {
		put(l, "\"", 1);
		put_escaped(l, p, n, true);
		put(l, "\"", 1);
	} else {
		put_escaped(l, p, n, before == '"');
	}
}

/* One conversion of the format: %[flags][width][.precision][size]conv. */
struct spec {
	char text[SPEC_BYTES]; /* "%-8l" ... without stars, with the conversion */
	int precision;         /* -1: none */
	int longs;             /* 'l', 'z' and 'j' count 1 or 2; 'h' needs nothing */
	char conv;
};

/*
 * Reads one conversion behind its '%'. Stars are replaced by their numbers, so
 * that what is left can be given to snprintf with its one argument.
 */
static const char *spec_read(struct spec *s, const char *f, va_list *ap)
{
	size_t n = 0;
	bool point = false;

	*s = (struct spec){.precision = -1};
	s->text[n++] = '%';
	for (; *f && strchr("-+ #0123456789.*hlzj", *f) && n < SPEC_BYTES - 14; f++) {
		if (*f == '*') {
			int value = va_arg(*ap, int);

			n += (size_t)snprintf(s->text + n, 12, "%d", value);
			if (point)
				s->precision = value;
			continue;
		}
		if (*f == '.')
			s->precision = 0;
		else if (point && *f >= '0' && *f <= '9')
			s->precision = s->precision * 10 + (*f - '0');
		point = point || *f == '.';
		s->longs += *f == 'l' || *f == 'z' || *f == 'j';
		s->text[n++] = *f;
	}
	s->conv = *f;
	s->text[n] = *f;
	return *f ? f + 1 : f;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* The format of each call is the caller's literal, cut into its conversions. */
static void put_number(struct line *l, const struct spec *s, va_list *ap)
{
	char text[128];
	int n = 0;

	if (strchr("fFeEgGaA", s->conv))
		n = snprintf(text, sizeof(text), s->text, va_arg(*ap, double));
	else if (s->conv == 'p')
		n = snprintf(text, sizeof(text), s->text, va_arg(*ap, void *));
	else if (s->longs == 0)
		n = snprintf(text, sizeof(text), s->text, va_arg(*ap, int));
	else if (s->longs == 1)
		n = snprintf(text, sizeof(text), s->text, va_arg(*ap, long));
	else
		n = snprintf(text, sizeof(text), s->text, va_arg(*ap, long long));
	if (n > 0)
		put(l, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}
#pragma GCC diagnostic pop

/* Width and flags are not kept for strings: no line here is a table. */
static void put_string(struct line *l, const struct spec *s, const char *z, char before)
{
	if (!z)
		z = "-";
	put_text(l, z, s->precision >= 0 ? strnlen(z, (size_t)s->precision) : strlen(z), before);
}

/* `before` follows what was written last: it decides how a string is put. */
static void put_format(struct line *l, const char *f, int error, va_list *ap)
{
	char before = ' ';
	struct spec s;

	while (*f) {
		size_t plain = strcspn(f, "%");

		if (plain > 0) {
			put(l, f, plain);
			before = f[plain - 1];
			f += plain;
			continue;
		}
		f = spec_read(&s, f + 1, ap);
		if (s.conv == '%')
			put(l, "%", 1);
		else if (s.conv == 's')
			put_string(l, &s, va_arg(*ap, const char *), before);
		else if (s.conv == 'm')
			put_text(l, strerror(error), strlen(strerror(error)), before);
		else if (s.conv == 'c')
			put_text(l, (const char[]){(char)va_arg(*ap, int)}, 1, before);
		else
			put_number(l, &s, ap);
		before = s.conv;
	}
}

static const char *level_name(int level)
{
	static const char *const names[] = {
		"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};

	return level >= 0 && level <= LOG_LEVEL_DEBUG ? names[level] : "?";
}

/* journald adds time and process itself; a terminal or a file needs the time. */
static void put_head(struct line *l, int level)
{
	struct timespec now;
	struct tm tm;
	char head[64];
	int n;

	if (setup.journal) {
		n = snprintf(head, sizeof(head), "<%d>", level);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		n = (int)strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
		n += snprintf(head + n, sizeof(head) - (size_t)n, ".%03dZ %s ",
			(int)(now.tv_nsec / 1000000), level_name(level));
	}
	put(l, head, (size_t)n);
	if (setup.prefix[0]) {
		put(l, setup.prefix, strlen(setup.prefix));
		put(l, ": ", 2);
	}
}

/* A reader that went away or is full costs the line, never the process. */
static void line_write(struct line *l)
{
	size_t done = 0;

	l->text[l->n++] = '\n';
	while (done < l->n) {
		ssize_t n = write(STDERR_FILENO, l->text + done, l->n - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static void write_line(int level, const char *fmt, va_list *ap)
{
	/* Kept, so that logging a failure does not change which one is returned. */
	int error = errno;
	struct line l;

	l.n = 0;
	put_head(&l, level);
	put_format(&l, fmt, error, ap);
	line_write(&l);
	errno = error;
}

/* Apart from the writing, whose stack most calls need not have. */
void log_line(int level, const char *fmt, ...)
{
	va_list ap;

	if (level > setup.level)
		return;
	va_start(ap, fmt);
	write_line(level, fmt, &ap);
	va_end(ap);
}

/*
 * Takes no lock and allocates nothing, for it may run in any state. A second
 * panic (in the hook, or in another thread) goes straight to abort.
 */
_Noreturn void panic(const char *file, int line, const char *fmt, ...)
{
	static atomic_flag entered = ATOMIC_FLAG_INIT;
	static struct line l;
	const char *base = strrchr(file, '/');
	char number[16];
	va_list ap;
	int error = errno, n;
	size_t start;

	if (atomic_flag_test_and_set(&entered))
		abort();
	l.n = 0;
	put_head(&l, LOG_LEVEL_ERR);
	start = l.n;
	put(&l, "panic at ", 9);
	put(&l, base ? base + 1 : file, strlen(base ? base + 1 : file));
	n = snprintf(number, sizeof(number), ":%d: ", line);
	put(&l, number, (size_t)n);
	va_start(ap, fmt);
	put_format(&l, fmt, error, &ap);
	va_end(ap);
	if (panic_hook) {
		l.text[l.n] = '\0';
		panic_hook(l.text + start);
	}
	line_write(&l);
	abort();
}
