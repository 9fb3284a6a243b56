/* Step 7: the handler, with an initialised answer to fill. Test builds can be
 * told to crash here, to see that a death is survived and told. */
#include <signal.h>
#include "worker/call/call.h"
#include "worker/coro.h"

#ifdef PUGD_TEST_HOOKS
#include <stdlib.h>

static void crash(struct str how)
{
	if (str_eq(how, STR("abort")))
		abort();
	if (str_eq(how, STR("segv")))
		raise(SIGSEGV);
	if (str_eq(how, STR("hang")))
		for (volatile int turn = 0;; turn = 1)
			(void)turn;
}
#endif

int call_handle(struct call *c)
{
	const ProtobufCMessageDescriptor *out = c->method->out->pc;

#ifdef PUGD_TEST_HOOKS
	struct str how = http_header_get(c->rq, STR("x-test-crash"));

	crash(how);
#endif
	c->out = call_alloc(c, out->sizeof_message);
	if (!c->out)
		return -1;
	protobuf_c_message_init(out, c->out);
	if (c->method->handler(c, c->in, c->out) == 0 && c->code == CODE_OK) {
#ifdef PUGD_TEST_HOOKS
		if (str_eq(how, STR("abort-after"))) /* all is committed, nothing answered */
			abort();
#endif
		return 0;
	}
	/* A handler that gives up without a reason is a bug, not a success. */
	return call_fail(c, CODE_INTERNAL, NULL, "internal error");
}
