/* Duplicate detection; see keyset.h. */
#include "proto/keyset.h"

/* A leaf holds a key. An inner node tells keys apart by the first symbol (a
 * byte, or the end) and the bit of it in which the keys below differ. */
struct keyset_node {
	struct keyset_node *child[2]; /* both NULL: a leaf */
	union {
		struct str key;
		struct {
			size_t at;
			unsigned mask;
		} bit;
	} u;
};

/* Ends differ from every byte, so that a key may be a prefix of another. */
static unsigned symbol(struct str key, size_t i)
{
	return i < key.n ? 0x100u | (uint8_t)key.p[i] : 0;
}

static unsigned side(const struct keyset_node *node, struct str key)
{
	return (symbol(key, node->u.bit.at) & node->u.bit.mask) != 0;
}

static struct keyset_node *new_leaf(struct keyset *k, struct str key)
{
	struct keyset_node *leaf = arena_zalloc(k->a, sizeof(*leaf));

	if (leaf)
		leaf->u.key = key;
	return leaf;
}

/* Nodes on a way down are in the order of their symbols and, for one symbol, of their bits from
 * the highest on; insert() keeps it so. */
static bool before(const struct keyset_node *node, size_t at, unsigned mask)
{
	return node->child[0] &&
	       (node->u.bit.at < at || (node->u.bit.at == at && node->u.bit.mask > mask));
}

/* Splits the tree where `key` leaves it: at symbol `at`, bit `mask`. */
static enum keyset_found insert(struct keyset *k, struct str key, size_t at, unsigned mask)
{
	struct keyset_node **where = &k->root;
	struct keyset_node *leaf = new_leaf(k, key);
	struct keyset_node *inner = arena_zalloc(k->a, sizeof(*inner));
	unsigned s;

	if (!leaf || !inner)
		return KEYSET_MEMORY;
	while (before(*where, at, mask))
		where = &(*where)->child[side(*where, key)];
	inner->u.bit.at = at;
	inner->u.bit.mask = mask;
	s = side(inner, key);
	inner->child[s] = leaf;
	inner->child[!s] = *where;
	*where = inner;
	return KEYSET_NEW;
}

/* A leaf is reached by single bits, so there the key is compared as a whole, once. */
static enum keyset_found tree_add(struct keyset *k, struct str key)
{
	struct keyset_node *node = k->root;
	size_t at = 0;
	unsigned diff;

	if (!node) {
		k->root = new_leaf(k, key);
		return k->root ? KEYSET_NEW : KEYSET_MEMORY;
	}
	while (node->child[0])
		node = node->child[side(node, key)];
	while (symbol(key, at) == symbol(node->u.key, at)) {
		if (at == key.n)
			return KEYSET_DUPLICATE;
		at++;
	}
	diff = symbol(key, at) ^ symbol(node->u.key, at);
	return insert(k, key, at, 1u << (31 - __builtin_clz(diff)));
}

static enum keyset_found grow_tree(struct keyset *k)
{
	for (size_t i = 0; i < KEYSET_FEW; i++)
		if (tree_add(k, k->few[i]) == KEYSET_MEMORY)
			return KEYSET_MEMORY;
	return KEYSET_NEW;
}

/* After KEYSET_MEMORY the set may lack keys that were moving into the tree: what it says then
 * counts for nothing. */
enum keyset_found keyset_add(struct keyset *k, struct str key)
{
	if (k->n > KEYSET_FEW) {
		k->n++;
		return tree_add(k, key);
	}
	if (!k->few && !(k->few = arena_array(k->a, KEYSET_FEW, sizeof(*k->few))))
		return KEYSET_MEMORY;
	for (size_t i = 0; i < k->n; i++)
		if (str_eq(k->few[i], key))
			return KEYSET_DUPLICATE;
	if (k->n < KEYSET_FEW) {
		k->few[k->n++] = key;
		return KEYSET_NEW;
	}
	k->n++;
	if (grow_tree(k) == KEYSET_MEMORY)
		return KEYSET_MEMORY;
	return tree_add(k, key);
}
