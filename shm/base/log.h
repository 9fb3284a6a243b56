/*
 * Log lines: one per event on standard error, `<6>` priority prefix when under
 * systemd (JOURNAL_STREAM), constant message first, then key=value pairs.
 * Never give it bodies, keys, tokens or query strings.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* Prefix for every line, for example "w=3 g=7" or "master"; copied. */
void log_setup(const char *prefix, int level);
/* One line; the format is "message key=%d other=%s". */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)   log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A bug: writes the text to the panic hook (the worker's slot) and stderr, aborts. */
_Noreturn void panic(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Stays on in production. */
#define must(cond)                                                    \
	do {                                                          \
		if (!(cond))                                          \
			panic(__FILE__, __LINE__, "must: %s", #cond); \
	} while (0)
/* Called by panic() with the text; set by the worker to fill its slot. */
extern void (*panic_hook)(const char *text);

#endif
