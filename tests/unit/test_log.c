/* shm/base/log.c: one event is one line whatever the values hold. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/base/log.h"

static int capture_fds[2];

static void capture(void)
{
	cr_assert_eq(pipe(capture_fds), 0);
	cr_assert_eq(dup2(capture_fds[1], STDERR_FILENO), STDERR_FILENO);
}

/* What was logged since; the head (time and level) is cut off. */
static char *captured(void)
{
	static char text[8192];
	ssize_t n = read(capture_fds[0], text, sizeof(text) - 1);
	char *body;

	cr_assert(n > 0);
	text[n] = '\0';
	body = strstr(text, "t: ");
	cr_assert_not_null(body, "%s", text);
	return body + 3;
}

Test(log, values, .init = capture)
{
	log_setup("t", LOG_LEVEL_INFO);
#define LINE(want, ...)                                  \
	do {                                             \
		log_info(__VA_ARGS__);                   \
		cr_expect_str_eq(captured(), want "\n"); \
	} while (0)
	LINE("plain", "plain");
	LINE("a=1 b=-2 c=3 d=ff", "a=%d b=%ld c=%zu d=%x", 1, -2L, (size_t)3, 255);
	LINE("a=18446744073709551615", "a=%llu", ~0ull);
	LINE("a=1.50 b=   7 c=007 100%", "a=%.2f b=%4d c=%03d 100%%", 1.5, 7, 7);
	LINE("s=abc", "s=%s", "abc");
	LINE("s=ab n=9", "s=%.*s n=%d", 2, "abcdef", 9);
	LINE("s=ab", "s=%.2s", "abcdef");
	LINE("s=\"\"", "s=%s", "");
	LINE("s=-", "s=%s", getenv("PUGD_NO_SUCH_VARIABLE"));
	LINE("s=\"a b\"", "s=%s", "a b");
	LINE("s=\"x\\\" ok=1\"", "s=%s", "x\" ok=1");
	LINE("s=\"x\\x0a<3>forged\"", "s=%s", "x\n<3>forged");
	LINE("s=\"a\\\"b\" n=1", "s=\"%s\" n=%d", "a\"b", 1);
	LINE("said hello\\x1b[0m there", "said %s there", "hello\x1b[0m");
	errno = ENOENT;
	LINE("e=\"No such file or directory\"", "e=%m");
	cr_expect_eq(errno, ENOENT);
#undef LINE
}

Test(log, long_line_is_cut, .init = capture)
{
	static char big[9000];
	char *text;

	memset(big, 'x', sizeof(big) - 1);
	log_setup("t", LOG_LEVEL_INFO);
	log_info("s=%s", big);
	text = captured();
	cr_expect(strlen(text) > 4000 && strlen(text) <= 4096);
	cr_expect_eq(text[strlen(text) - 1], '\n');
}

Test(log, level, .init = capture)
{
	log_setup("t", LOG_LEVEL_WARN);
	log_info("no");
	log_debug("no");
	log_warn("yes");
	cr_expect_str_eq(captured(), "yes\n");
}

Test(log, journal_prefix, .init = capture)
{
	struct stat st;
	char var[64], text[100];
	ssize_t n;

	cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(var, sizeof(var), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
	setenv("JOURNAL_STREAM", var, 1);
	log_setup("t", LOG_LEVEL_INFO);
	log_err("x");
	n = read(capture_fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	cr_expect_str_eq(text, "<3>t: x\n");
	/* Somebody else's journal: inherited, not ours. */
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_setup("t", LOG_LEVEL_INFO);
	log_err("x");
	n = read(capture_fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	cr_expect_not_null(strstr(text, "Z error t: x\n"), "%s", text);
}

static void hook(const char *text)
{
	/* Exits with success only when the text is the one expected. */
	_exit(strncmp(text, "panic at test_log.c:", 20) == 0 && strstr(text, "must: 1 == 2") ? 7
											     : 8);
}

Test(log, panic_calls_the_hook, .exit_code = 7)
{
	panic_hook = hook;
	must(1 == 2);
}

Test(log, panic_aborts, .signal = SIGABRT)
{
	panic(__FILE__, __LINE__, "x=%d", 1);
}
