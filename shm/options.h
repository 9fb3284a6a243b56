/*
 * The settings of one generation as plain data without pointers, so that the
 * master can hand them to its children as a sealed memfd. The rows are in
 * options.def; parsing is the master's business (master/config.c).
 */
#ifndef SHM_OPTIONS_H
#define SHM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_SECRET_MAX = 128, OPTIONS_MAIL_SECRET_MAX = 1024, OPTIONS_AUTH_MAX = 16384 };

struct options {
#define OPT_GROUP(title)
#define OPT_TEXT(member, key, bytes, def, reloadable, help)    char member[bytes];
#define OPT_INT(member, key, min, max, def, reloadable, help)  int64_t member;
#define OPT_BOOL(member, key, def, reloadable, help)           bool member;
#define OPT_MS(member, key, min, max, def, reloadable, help)   int64_t member;
#define OPT_SIZE(member, key, min, max, def, reloadable, help) int64_t member;
#include "shm/options.def"
#undef OPT_GROUP
#undef OPT_TEXT
#undef OPT_INT
#undef OPT_BOOL
#undef OPT_MS
#undef OPT_SIZE
	/* Contents of the credential files (D86); never printed. */
	uint8_t secret[OPTIONS_SECRET_MAX];
	uint32_t secret_len;
	uint8_t secret_previous[OPTIONS_SECRET_MAX];
	uint32_t secret_previous_len;
	/* mail_secret_file: NUL-terminated, never printed. */
	char mail_secret[OPTIONS_MAIL_SECRET_MAX];
	/* auth_config_file: its text, NUL-terminated; may hold client secrets. */
	char auth_config[OPTIONS_AUTH_MAX];
};

#endif
