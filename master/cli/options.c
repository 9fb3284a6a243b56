/*
 * `pugd options`: the table of settings as a commented sample file (--sample,
 * the default), or as the list of pugd.conf(5) (--man). Both shipped files are
 * compared with this in the tests, so neither can drift.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "master/cli/cli.h"
#include "master/config.h"

enum { SAMPLE_WIDTH = 88, MAN_WIDTH = 76 };

/* The help as comment lines. */
static void print_wrapped(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > 0 && column + 1 + n > SAMPLE_WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf(column ? " %.*s" : "# %.*s", (int)n, text);
		text += n + strspn(text + n, " ");
	}
	putchar('\n');
}

static void sample_row(const struct option_row *row)
{
	if (row->kind == OPTION_GROUP) {
		printf("\n# ---- %s\n\n", row->help);
		return;
	}
	print_wrapped(row->help);
	if (!row->reloadable)
		printf("# (counts after a restart)\n");
	printf("#%s =%s%s\n\n", row->key, row->def[0] ? " " : "", row->def);
}

static void print_sample(void)
{
	printf("# pugd.conf: settings of pugd, see pugd.conf(5).\n"
	       "#\n"
	       "# Every line below is a comment that shows the default. `pugd check` tells what is\n"
	       "# wrong, `systemctl reload pugd` makes most changes count without losing a call.\n");
	for (size_t i = 0; i < config_row_count; i++)
		sample_row(&config_rows[i]);
}

/* One word for mdoc: some characters are escapes, or would become typographic ones. */
static size_t mdoc_word(const char *word, size_t n, char *out, size_t size)
{
	static const struct {
		char from;
		const char *to;
	} escapes[] = {{'\\', "\\e"}, {'~', "\\(ti"}, {'`', "\\(ga"}, {'^', "\\(ha"}, {0, NULL}};
	size_t used = 0;

	/* 5: the longest escape and the NUL. */
	for (size_t i = 0; i < n && used + 5 < size; i++) {
		int e = 0;

		while (escapes[e].to && escapes[e].from != word[i])
			e++;
		if (escapes[e].to)
			used += (size_t)snprintf(out + used, size - used, "%s", escapes[e].to);
		else
			out[used++] = word[i];
	}
	out[used] = '\0';
	return used;
}

/* Wrapped, and each sentence on a line of its own as mandoc wants it. */
static void print_mdoc(const char *text)
{
	char word[256];
	size_t column = 0, n, width;

	while (*text) {
		n = strcspn(text, " ");
		width = mdoc_word(text, n, word, sizeof(word));
		if (column > 0 && column + 1 + width > MAN_WIDTH) {
			putchar('\n');
			column = 0;
		}
		/* A line that begins with a dot or a quote would be a macro. */
		if (column == 0 && (word[0] == '.' || word[0] == '\''))
			column += (size_t)printf("\\&");
		else if (column > 0)
			column += (size_t)printf(" ");
		column += (size_t)printf("%s", word);
		text += n + strspn(text + n, " ");
		if (n > 1 && word[width - 1] == '.' && isupper((unsigned char)*text)) {
			putchar('\n');
			column = 0;
		}
	}
	if (column > 0)
		putchar('\n');
}

static void man_range(const struct option_row *row)
{
	if (row->kind == OPTION_INT)
		printf("A number from %" PRId64 " to %" PRId64 ".\n", row->min, row->max);
	else if (row->kind == OPTION_MS)
		printf("A duration.\n");
	else if (row->kind == OPTION_SIZE)
		printf("A size.\n");
	else if (row->kind == OPTION_BOOL)
		printf("Yes or no.\n");
}

static void man_row(const struct option_row *row)
{
	printf(".It Ic %s\n", row->key);
	print_mdoc(row->help);
	man_range(row);
	if (row->def[0])
		printf("Default:\n.Ql %s .\n", row->def);
	if (!row->reloadable)
		printf("Counts after a restart.\n");
}

static void print_man(void)
{
	bool open = false;

	for (size_t i = 0; i < config_row_count; i++) {
		if (config_rows[i].kind != OPTION_GROUP) {
			man_row(&config_rows[i]);
			continue;
		}
		if (open)
			printf(".El\n");
		printf(".Ss %s\n.Bl -tag -width Ds\n", config_rows[i].help);
		open = true;
	}
	if (open)
		printf(".El\n");
}

int cli_options(struct args *a)
{
	const char *how = a->rest_count > 1 ? a->rest[1] : "--sample";

	if (strcmp(how, "--sample") == 0) {
		print_sample();
	} else if (strcmp(how, "--man") == 0) {
		print_man();
	} else {
		fprintf(stderr, "usage: pugd options [--sample | --man]\n");
		return 2;
	}
	return 0;
}
