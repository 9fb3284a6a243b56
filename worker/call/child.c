/* Parts of a call that fail on their own: see child.h. */
#include "worker/call/child.h"

/* Of the copied database handle only arena and failure are the part's own: the pool behind it
 * serves several at a time. What the parent was charged is copied, too, but only the parent's goes
 * into headers. */
void child_begin(struct call_child *child, const struct call *parent, size_t memory)
{
	struct call *c = &child->c;

	arena_init(&child->arena, memory);
	*c = *parent;
	c->arena = c->db.arena = &child->arena;
	c->db.err = (struct db_error){.kind = DB_OK};
	c->code = CODE_OK;
	c->reason = NULL;
	c->error_text = (struct str){NULL, 0};
	c->details = NULL;
	c->details_tail = &c->details;
	c->reserve = 0; /* is the parent's to give back */
	buf_init(&c->headers, &child->arena);
	buf_init(&c->reply.headers, &child->arena);
}

bool child_keep(struct call_child *child, struct call *parent)
{
	if (arena_adopt(parent->arena, &child->arena))
		return true;
	arena_free(&child->arena);
	return false;
}

/* The sentence is in the memory that goes. */
char *child_drop(struct call_child *child, struct call *parent)
{
	static char none[] = "the call needs too much memory";
	struct str text = child->c.error_text;
	char *copy = text.p ? arena_str(parent->arena, text) : NULL;

	arena_free(&child->arena);
	return copy ? copy : none;
}
