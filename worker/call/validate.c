/* Step 5: the rules of the protos, before anybody's rights are looked at (the
 * released order: auth.md 1.2). All violations are reported at once. */
#include "proto/validate.h"
#include "worker/call/call.h"
#include "worker/call/error.h"

int call_violations(struct call *c, const struct pb_check *check)
{
	struct buf text, bad;

	if (check->memory)
		return call_fail(
			c, CODE_RESOURCE_EXHAUSTED, NULL, "the call needs too much memory");
	/* the memory that is kept for errors: the call may have used up the rest */
	error_release(c);
	buf_init(&text, c->arena);
	buf_init(&bad, c->arena);
	pb_check_text(check, &text);
	pb_check_bad_request(check, &bad);
	call_fail(
		c, CODE_INVALID_ARGUMENT, check->reason, "%.*s", (int)text.n, text.p ? text.p : "");
	if (!bad.over)
		call_detail(c, "google.rpc.BadRequest", (struct str){bad.p, bad.n});
	return -1;
}

int call_validate(struct call *c)
{
	struct pb_check check;

	if (!c->method->in->has_rules)
		return 0;
	pb_check_init(&check, c->arena);
	check.private_key = c->who.kind == WHO_PRIVATE_KEY;
	validate_message(&check, c->method->in, c->in);
	return check.n == 0 && !check.memory ? 0 : call_violations(c, &check);
}
