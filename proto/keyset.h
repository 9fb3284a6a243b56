/*
 * A set of byte strings that finds duplicates: object keys, map keys, elements
 * that must be unique. The first few are compared one by one; beyond them a
 * crit-bit tree in an arena takes over. It needs no hash, so there is nothing
 * to collide: all work together is linear in the bytes of the keys.
 */
#ifndef PROTO_KEYSET_H
#define PROTO_KEYSET_H

#include "shm/base/arena.h"

enum { KEYSET_FEW = 10 };
enum keyset_found { KEYSET_NEW, KEYSET_DUPLICATE, KEYSET_MEMORY };

struct keyset_node;

struct keyset {
	struct arena *a;
	struct keyset_node *root;
	size_t n;
	struct str *few; /* not inline: recursive readers have one of these per level */
};

static inline void keyset_init(struct keyset *k, struct arena *a)
{
	k->a = a;
	k->root = NULL;
	k->n = 0;
	k->few = NULL;
}

/* The bytes must stay where they are as long as the set is used. */
enum keyset_found keyset_add(struct keyset *k, struct str key);

#endif
