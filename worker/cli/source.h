/*
 * What an import reads: lines of a file or of stdin, and the digest of everything
 * read so far, so that a later run knows the same input again and goes on.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "shm/base/str.h"

enum { SOURCE_LINE_MAX = 4 << 20, SOURCE_SHA = 32, SOURCE_CHUNK = 1 << 16 };

struct source {
	char name[4096]; /* absolute path, or "-" */
	int fd;
	uint64_t size; /* bytes; 0: not a regular file */
	uint64_t read; /* bytes of whole lines so far */
	uint64_t line_no;
	char *line; /* of the current one at most SOURCE_LINE_MAX + 2 bytes: with its end */
	size_t room;
	size_t at, end; /* what is left of the chunk */
	EVP_MD_CTX *sha;
	char chunk[SOURCE_CHUNK];
};

/* "-" is stdin. 0, or -1 after a message on stderr. */
int source_open(struct source *s, const char *path);
void source_close(struct source *s);
/* Skips `bytes` if their digest is `sha`; else starts anew, which stdin cannot.
 * 1 skipped, 0 started anew, -1 after a message. */
int source_skip(struct source *s, uint64_t bytes, const uint8_t sha[SOURCE_SHA]);
/* The next line without its end. 1; 0 at the end of the input, or when a signal came while
 * a line was waited for; -1 after a message. Of a line longer than SOURCE_LINE_MAX only n
 * says the truth: it may be of any length and is not kept. */
int source_line(struct source *s, struct str *line);
/* The digest of s->read bytes. */
bool source_digest(const struct source *s, uint8_t sha[SOURCE_SHA]);

#endif
