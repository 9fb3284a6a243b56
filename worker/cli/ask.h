/* Secrets that a person types or a script pipes in. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <stdbool.h>
#include <stddef.h>

/* One line of standard input. On a terminal it is asked for twice, without echo. False
 * after saying why on standard error: input ended, line too long, not the same twice. */
bool ask_password(char *out, size_t size);

#endif
