/* See source.h. */
#include "worker/cli/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const struct source *s)
{
	fprintf(stderr, "pugd import: %s: %s\n", s->name, strerror(errno));
	return -1;
}

static int no_memory(void)
{
	fprintf(stderr, "pugd import: no memory\n");
	return -1;
}

static bool digest_anew(struct source *s)
{
	s->read = s->line_no = 0;
	s->at = s->end = 0;
	return EVP_DigestInit_ex(s->sha, EVP_sha256(), NULL) == 1;
}

int source_open(struct source *s, const char *path)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->sha = EVP_MD_CTX_new();
	snprintf(s->name, sizeof(s->name), "%s", path);
	if (strcmp(path, "-") == 0) {
		s->fd = STDIN_FILENO;
	} else {
		/* the name under which pugd.imports has it, whatever path leads there */
		char *full = realpath(path, NULL);

		s->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (full && strlen(full) < sizeof(s->name))
			strcpy(s->name, full);
		free(full);
	}
	if (s->fd < 0)
		return failed(s);
	if (!s->sha || !digest_anew(s))
		return no_memory();
	if (fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode))
		s->size = (uint64_t)st.st_size;
	return 0;
}

void source_close(struct source *s)
{
	if (s->fd > STDIN_FILENO)
		close(s->fd);
	EVP_MD_CTX_free(s->sha);
	free(s->line);
}

static int start_anew(struct source *s)
{
	if (lseek(s->fd, 0, SEEK_SET) == 0 && digest_anew(s))
		return 0;
	fprintf(stderr, "pugd import: standard input does not begin with what was imported before; "
			"say --restart to import all of it\n");
	return -1;
}

int source_skip(struct source *s, uint64_t bytes, const uint8_t sha[SOURCE_SHA])
{
	uint8_t now[SOURCE_SHA];

	while (s->read < bytes) {
		uint64_t left = bytes - s->read;
		size_t want = left < sizeof(s->chunk) ? (size_t)left : sizeof(s->chunk);
		ssize_t n = read(s->fd, s->chunk, want);

		if (n < 0)
			return failed(s);
		if (n == 0)
			return start_anew(s);
		for (ssize_t i = 0; i < n; i++)
			s->line_no += s->chunk[i] == '\n';
		s->read += (uint64_t)n;
		EVP_DigestUpdate(s->sha, s->chunk, (size_t)n);
	}
	return source_digest(s, now) && memcmp(now, sha, SOURCE_SHA) == 0 ? 1 : start_anew(s);
}

/* Adds to the line, of which no more is kept than shows that it is too long. */
static bool keep(struct source *s, uint64_t have, const char *p, size_t n)
{
	enum { MOST = SOURCE_LINE_MAX + 2 };
	size_t want;
	char *line;

	if (have >= MOST)
		return true;
	want = (size_t)have + n < MOST ? (size_t)have + n : MOST;
	if (want > s->room) {
		size_t room = want < MOST / 2 ? want * 2 : MOST;

		line = realloc(s->line, room);
		if (!line)
			return false;
		s->line = line;
		s->room = room;
	}
	memcpy(s->line + have, p, want - (size_t)have);
	return true;
}

/* Takes what the chunk has of the line; true when that is its end. */
static bool take(struct source *s, size_t *n)
{
	const char *newline = memchr(s->chunk + s->at, '\n', s->end - s->at);

	*n = newline ? (size_t)(newline + 1 - (s->chunk + s->at)) : s->end - s->at;
	EVP_DigestUpdate(s->sha, s->chunk + s->at, *n);
	s->at += *n;
	return newline != NULL;
}

/* The line of `n` bytes without its end. */
static struct str without_end(const struct source *s, uint64_t n)
{
	if (n <= SOURCE_LINE_MAX + 2)
		while (n > 0 && (s->line[n - 1] == '\n' || s->line[n - 1] == '\r'))
			n--;
	return (struct str){s->line, (size_t)n};
}

/* Between two lines the digest is of s->read bytes exactly: take() adds what is taken of the
 * chunk, not what was read ahead. */
int source_line(struct source *s, struct str *line)
{
	uint64_t total = 0;
	bool whole = false;

	while (!whole) {
		size_t n;

		if (s->at == s->end) {
			ssize_t more = read(s->fd, s->chunk, sizeof(s->chunk));

			if (more < 0)
				return errno == EINTR && total == 0 ? 0 : failed(s);
			if (more == 0)
				break;
			s->at = 0;
			s->end = (size_t)more;
		}
		whole = take(s, &n);
		if (!keep(s, total, s->chunk + s->at - n, n))
			return no_memory();
		total += n;
	}
	if (total == 0)
		return 0;
	s->read += total;
	s->line_no++;
	*line = without_end(s, total);
	return 1;
}

bool source_digest(const struct source *s, uint8_t sha[SOURCE_SHA])
{
	/* finishing would end it, and more is to come */
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	bool ok = copy && EVP_MD_CTX_copy_ex(copy, s->sha) == 1 &&
		  EVP_DigestFinal_ex(copy, sha, NULL) == 1;

	EVP_MD_CTX_free(copy);
	return ok;
}
