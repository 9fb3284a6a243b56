/*
 * What an import reads: lines of a file or of stdin, and the digest of everything
 * read so far, so that a later run knows the same input again and goes on.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include <stdint.h>
#include <stdio.h>

#include <openssl/evp.h>

#include "shm/base/str.h"

enum { SOURCE_LINE_MAX = 4 << 20, SOURCE_SHA = 32 };

struct source {
	char name[4096]; /* absolute path, or "-" */
	FILE *file;
	uint64_t size; /* bytes; 0: not a regular file */
	uint64_t read; /* bytes of whole lines so far */
	uint64_t line_no;
	char *line; /* of getline(3) */
	size_t room;
	EVP_MD_CTX *sha;
};

/* "-" is stdin. 0, or -1 after a message on stderr. */
int source_open(struct source *s, const char *path);
void source_close(struct source *s);
/* Skips `bytes` if their digest is `sha`; else starts anew, which stdin cannot.
 * 1 skipped, 0 started anew, -1 after a message. */
int source_skip(struct source *s, uint64_t bytes, const uint8_t sha[SOURCE_SHA]);
/* The next line without its end. 1, 0 at the end, -1 after a message. An empty or
 * longer line than SOURCE_LINE_MAX comes with n as it is. */
int source_line(struct source *s, struct str *line);
/* The digest of s->read bytes. */
bool source_digest(const struct source *s, uint8_t sha[SOURCE_SHA]);

#endif
