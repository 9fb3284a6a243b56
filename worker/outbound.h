/*
 * Calls to other people's servers, through libcurl: HTTPS of identity providers and of
 * Resend; worker/mail/smtp.c sends mail with the same settings. Everything here blocks
 * and belongs on an OFFLOAD_OUT thread. Every transfer is bounded in time and size,
 * checks certificates (options outbound_ca_file) and follows no redirect.
 */
#ifndef WORKER_OUTBOUND_H
#define WORKER_OUTBOUND_H

#include <curl/curl.h>
#include "shm/base/arena.h"
#include "shm/options.h"

enum { OUTBOUND_ERROR = 256 };

/* Whom a transfer may reach. A name is judged by the address it resolves to, so that
 * DNS cannot be used to get around it. */
enum outbound_target {
	OUTBOUND_OPERATOR, /* named in the configuration: anybody */
	OUTBOUND_TENANT    /* named by a client: public addresses and mail_networks only */
};

struct outbound {
	const struct options *opt;
	enum outbound_target target;
	uint64_t timeout_ms;
	bool loopback_only; /* nothing protects the transfer: this machine only */
	/* out: the address was not allowed; it was not loopback, and should have been. Of a name
	 * that has other addresses, too, neither: whatever went wrong is theirs. */
	bool refused, exposed;
	bool tried;                 /* one of its addresses may be reached */
	char error[OUTBOUND_ERROR]; /* out: one line for people, no secrets */
};

/* A handle with the settings that all transfers share; NULL without memory. The caller
 * ends it with curl_easy_cleanup(). `o` must live as long. */
CURL *outbound_curl(struct outbound *o);

struct outbound_request {
	const char *url;        /* https://, or http:// to a loopback address */
	const char *body;       /* NULL: GET */
	const char *headers[6]; /* "Name: value", NULL-terminated */
	size_t answer_max;      /* a longer answer is an error */
};

struct outbound_answer {
	long status;
	struct str body;         /* NUL-terminated, in the arena */
	char cache_control[128]; /* that header, cut; "" without one */
};

/* 0 with any HTTP status, or -1 with o->error when there was no answer. */
int outbound_http(struct outbound *o, const struct outbound_request *rq, struct arena *a,
	struct outbound_answer *out);
/* Whether a tenant's transfer may go to this address (struct sockaddr_in or _in6). */
bool outbound_allowed(const struct options *opt, const struct sockaddr *address);
/* http:// is for loopback only: "localhost" and loopback addresses. */
bool outbound_url_ok(const char *url);

#endif
