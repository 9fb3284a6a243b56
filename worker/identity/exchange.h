/* Trading an authorization code for an id token (RFC 6749 4.1.3 with PKCE, RFC 7636). */
#ifndef IDENTITY_EXCHANGE_H
#define IDENTITY_EXCHANGE_H

#include "worker/identity/config.h"
#include "worker/outbound.h"

enum exchange_outcome {
	EXCHANGE_DONE,
	EXCHANGE_REFUSED, /* by the provider: a bad code, or we are not its client */
	EXCHANGE_FAILED   /* no answer, or none that makes sense */
};

struct exchange {
	const struct options *opt;
	const struct provider *provider;
	const char *endpoint;
	bool basic; /* the endpoint takes client_secret_basic */
	const char *code, *code_verifier, *redirect_uri;
	struct arena *a;
	uint64_t timeout_ms;
	/* out */
	enum exchange_outcome outcome;
	struct str id_token;
	char error[OUTBOUND_ERROR]; /* for the log */
};

/* Blocks, for timeout_ms at most: for an OFFLOAD_OUT thread. Fills the fields below `out`,
 * id_token in x->a. */
void exchange_run(struct exchange *x);
/* The two halves of it, for tests: the form ({NULL, 0} at the arena's cap), and what an answer
 * with that HTTP status means. */
struct str exchange_form(const struct exchange *x);
void exchange_read(struct exchange *x, long status, struct str body);
/* The Authorization header in x->a, or NULL where there is none to send (or no memory). */
const char *exchange_authorization(const struct exchange *x);

#endif
