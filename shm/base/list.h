/*
 * Intrusive doubly linked circular lists: the node lives in the item, so that
 * linking never allocates and an item leaves its list in constant time. A list
 * is a head node that belongs to no item; an unlinked node points to itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

/* The item that holds node `ptr` as its `member`. */
#define list_item(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Visits every node; the body must not unlink the current one. */
#define list_each(node, head) \
	for (struct list *node = (head)->next; node != (head); node = node->next)
/* As list_each, but the body may unlink or free the current item (not its neighbours). */
#define list_each_safe(node, head)                                                        \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
		node = node##_next, node##_next = node->next)

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_insert(struct list *node, struct list *after)
{
	node->prev = after;
	node->next = after->next;
	after->next->prev = node;
	after->next = node;
}

/* At the front of the list. */
static inline void list_push(struct list *head, struct list *node)
{
	list_insert(node, head);
}

/* At the end of the list. */
static inline void list_add(struct list *head, struct list *node)
{
	list_insert(node, head->prev);
}

/* Unlinking twice is harmless: the node then points to itself. */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

/* The first node, unlinked; NULL when the list is empty. */
static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;

	if (node == head)
		return NULL;
	list_del(node);
	return node;
}

/* Moves all of `from` to the end of `to`; `from` is empty then. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}

static inline size_t list_count(const struct list *head)
{
	size_t n = 0;

	for (const struct list *p = head->next; p != head; p = p->next)
		n++;
	return n;
}

#endif
