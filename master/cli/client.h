/* The other end of the admin page: one request, and reading the JSON it answers. */
#ifndef MASTER_CLI_CLIENT_H
#define MASTER_CLI_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/base/arena.h"

struct args;

/* The admin address: --admin, else the configuration's. False: said why on stderr. */
bool client_address(struct args *a, char *out, size_t size);
/* "GET /status.json" and the like; the body into b. False: said why on stderr. */
bool client_ask(const char *address, const char *request, struct buf *b);

/* JSON of our own making, in place: a value is a pointer to its first byte, NULL when
 * absent. Every function takes NULL and then finds nothing. */
const char *client_member(const char *object, const char *name);
/* First item of an array; then the one after. */
const char *client_first(const char *array);
const char *client_next(const char *item);
uint64_t client_number(const char *value);
/* Copies a string value, control characters as dots; "" for anything else. */
void client_text(const char *value, char *out, size_t size);

#endif
