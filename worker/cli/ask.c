/*
 * See ask.h. read(2) instead of stdio: no copy of the secret stays in a buffer that
 * nobody clears. A signal while the echo is off ends the question, not the process, so
 * that the terminal always gets its echo back.
 */
#include "worker/cli/ask.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static void interrupted(int signo)
{
	(void)signo; /* read(2) fails with EINTR: that is all */
}

/* The line, without its end; what follows it is left alone. 0, or why not. */
static const char *read_line(char *out, size_t size)
{
	size_t n = 0;
	char ch;

	for (;;) {
		ssize_t got = read(STDIN_FILENO, &ch, 1);

		if (got < 0)
			return errno == EINTR ? "interrupted" : strerror(errno);
		if (got == 0 && n == 0)
			return "standard input has no password";
		if (got == 0 || ch == '\n')
			break;
		if (n + 1 >= size || ch == '\0')
			return ch ? "the password is too long" : "the password has a NUL";
		out[n++] = ch;
	}
	out[n] = '\0';
	return NULL;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static const char *read_hidden(const char *prompt, char *out, size_t size)
{
	struct sigaction act = {.sa_handler = interrupted}, old[SIGNALS];
	struct termios shown, hidden;
	const char *why;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return strerror(errno);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	for (size_t i = 0; i < SIGNALS; i++)
		(void)sigaction(signals[i], &act, &old[i]);
	fprintf(stderr, "%s: ", prompt);
	why = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0 ? read_line(out, size)
							       : strerror(errno);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	fputc('\n', stderr);
	for (size_t i = 0; i < SIGNALS; i++)
		(void)sigaction(signals[i], &old[i], NULL);
	return why;
}

bool ask_password(char *out, size_t size)
{
	const char *why;
	char again[256];

	if (!isatty(STDIN_FILENO)) {
		why = read_line(out, size);
	} else {
		why = read_hidden("Password", out, size);
		if (!why)
			why = read_hidden("The same again", again, sizeof(again));
		if (!why && strcmp(out, again) != 0)
			why = "these are two different passwords";
		explicit_bzero(again, sizeof(again));
	}
	if (why)
		fprintf(stderr, "pugd: %s\n", why);
	return !why;
}
