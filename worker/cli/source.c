/* See source.h. */
#include "worker/cli/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const struct source *s)
{
	fprintf(stderr, "pugd import: %s: %s\n", s->name, strerror(errno));
	return -1;
}

static bool digest_anew(struct source *s)
{
	s->read = s->line_no = 0;
	return EVP_DigestInit_ex(s->sha, EVP_sha256(), NULL) == 1;
}

int source_open(struct source *s, const char *path)
{
	struct stat st;

	*s = (struct source){.sha = EVP_MD_CTX_new()};
	snprintf(s->name, sizeof(s->name), "%s", path);
	if (strcmp(path, "-") == 0) {
		s->file = stdin;
	} else {
		char *full = realpath(path, NULL);

		s->file = fopen(path, "re");
		if (full && strlen(full) < sizeof(s->name))
			strcpy(s->name, full);
		free(full);
	}
	if (!s->file)
		return failed(s);
	if (!s->sha || !digest_anew(s)) {
		fprintf(stderr, "pugd import: no memory\n");
		return -1;
	}
	if (fstat(fileno(s->file), &st) == 0 && S_ISREG(st.st_mode))
		s->size = (uint64_t)st.st_size;
	return 0;
}

void source_close(struct source *s)
{
	if (s->file && s->file != stdin)
		fclose(s->file);
	EVP_MD_CTX_free(s->sha);
	free(s->line);
}

static int start_anew(struct source *s)
{
	if (fseeko(s->file, 0, SEEK_SET) == 0 && digest_anew(s))
		return 0;
	fprintf(stderr, "pugd import: standard input does not begin with what was imported before; "
			"say --restart to import all of it\n");
	return -1;
}

int source_skip(struct source *s, uint64_t bytes, const uint8_t sha[SOURCE_SHA])
{
	static char chunk[1 << 16];
	uint8_t now[SOURCE_SHA];

	while (s->read < bytes) {
		uint64_t left = bytes - s->read;
		size_t want = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);
		size_t n = fread(chunk, 1, want, s->file);

		if (ferror(s->file))
			return failed(s);
		if (n == 0)
			return start_anew(s);
		for (size_t i = 0; i < n; i++)
			s->line_no += chunk[i] == '\n';
		s->read += n;
		EVP_DigestUpdate(s->sha, chunk, n);
	}
	return source_digest(s, now) && memcmp(now, sha, SOURCE_SHA) == 0 ? 1 : start_anew(s);
}

int source_line(struct source *s, struct str *line)
{
	ssize_t n = getline(&s->line, &s->room, s->file);

	if (n < 0)
		return feof(s->file) ? 0 : failed(s);
	s->read += (uint64_t)n;
	s->line_no++;
	EVP_DigestUpdate(s->sha, s->line, (size_t)n);
	while (n > 0 && (s->line[n - 1] == '\n' || s->line[n - 1] == '\r'))
		n--;
	*line = (struct str){s->line, (size_t)n};
	return 1;
}

bool source_digest(const struct source *s, uint8_t sha[SOURCE_SHA])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	bool ok = copy && EVP_MD_CTX_copy_ex(copy, s->sha) == 1 &&
		  EVP_DigestFinal_ex(copy, sha, NULL) == 1;

	EVP_MD_CTX_free(copy);
	return ok;
}
