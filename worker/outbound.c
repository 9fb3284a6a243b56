/* See outbound.h. */
#include "worker/outbound.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/call/client_addr.h"

enum { CONNECT_MS = 10000 };

/* Addresses that are not public hosts (IANA's special-purpose registries), and the
 * IPv6 forms that carry an IPv4 address inside, which could be one of them. */
static const char not_public[] =
	"0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
	"192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
	"224.0.0.0/4 240.0.0.0/4 ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 "
	"2002::/16 fc00::/7 fe80::/10 ff00::/8";

/* IPv4 as v4-mapped, the form of client_addr.c, so that ::ffff:10.0.0.1 is judged as
 * 10.0.0.1. */
static bool address_bytes(const struct sockaddr *address, uint8_t out[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (address->sa_family == AF_INET6) {
		memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
		return true;
	}
	if (address->sa_family != AF_INET)
		return false;
	memcpy(out, mapped, sizeof(mapped));
	memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
	return true;
}

bool outbound_allowed(const struct options *opt, const struct sockaddr *address)
{
	uint8_t bytes[16];

	if (!address_bytes(address, bytes))
		return false;
	if (!client_addr_in(bytes, STR(not_public)))
		return true;
	return client_addr_in(bytes, str_of(opt->mail_networks)) ||
	       (opt->dev && client_addr_in(bytes, STR("127.0.0.0/8 ::1")));
}

static bool is_loopback_address(const struct sockaddr *address)
{
	uint8_t bytes[16];

	return address_bytes(address, bytes) && client_addr_in(bytes, STR("127.0.0.0/8 ::1"));
}

/* libcurl asks with the very address that it is about to connect to, once for each that it
 * tries. Judged any earlier, the name could lead elsewhere by then. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct outbound *o = arg;

	if (purpose != CURLSOCKTYPE_IPCXN)
		return CURL_SOCKET_BAD;
	if (o->target == OUTBOUND_TENANT && !outbound_allowed(o->opt, &to->addr)) {
		o->refused = !o->tried;
		return CURL_SOCKET_BAD;
	}
	if (o->loopback_only && !is_loopback_address(&to->addr)) {
		o->exposed = !o->tried;
		return CURL_SOCKET_BAD;
	}
	o->tried = true;
	o->refused = o->exposed = false;
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* There are several OFFLOAD_OUT threads, and not every libcurl may be set up by two at a
 * time. */
static void init_once(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

CURL *outbound_curl(struct outbound *o)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	long ms = (long)o->timeout_ms;
	CURL *curl;

	pthread_once(&once, init_once);
	curl = curl_easy_init();
	if (!curl)
		return NULL;
	o->tried = o->refused = o->exposed = false;
	o->error[0] = '\0';
	/* Time limits by SIGALRM are not for a process with threads; and the signal is
	 * pace.c's. */
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, ms < CONNECT_MS ? ms : CONNECT_MS);
	/* http gets here for loopback only, by outbound_url_ok(). */
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	/* A proxy of the environment would hide where a transfer goes. */
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, o);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (o->opt->outbound_ca_file[0])
		curl_easy_setopt(curl, CURLOPT_CAINFO, o->opt->outbound_ca_file);
	return curl;
}

struct answer_sink {
	struct buf body;
	size_t max;
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct answer_sink *sink = arg;

	if (sink->body.n + size * n > sink->max)
		return 0; /* ends the transfer with CURLE_WRITE_ERROR */
	buf_add(&sink->body, p, size * n);
	return sink->body.over ? 0 : size * n;
}

static bool is_loopback(const char *host)
{
	uint8_t address[16];

	return strcmp(host, "localhost") == 0 ||
	       (client_addr_parse(str_of(host), address) &&
		       client_addr_in(address, STR("127.0.0.0/8 ::1")));
}

/* By libcurl's own parser: another one might see another host in it than libcurl connects to. */
bool outbound_url_ok(const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	bool ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;

	if (ok && strcmp(scheme, "https") != 0)
		ok = strcmp(scheme, "http") == 0 && is_loopback(host);
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return ok;
}

static void keep_cache_control(CURL *curl, struct outbound_answer *out)
{
	struct curl_header *h;
	bool found = curl_easy_header(curl, "Cache-Control", 0, CURLH_HEADER, -1, &h) == CURLHE_OK;

	snprintf(out->cache_control, sizeof(out->cache_control), "%s", found ? h->value : "");
}

/* No CURLOPT_ERRORBUFFER: its texts name hosts and repeat what servers said. */
static int perform(
	CURL *curl, struct outbound *o, struct answer_sink *sink, struct outbound_answer *out)
{
	CURLcode rc = curl_easy_perform(curl);

	if (o->refused)
		snprintf(o->error, sizeof(o->error), "the address is not allowed");
	else if (rc == CURLE_WRITE_ERROR)
		snprintf(o->error, sizeof(o->error), "the answer is too long");
	else if (rc != CURLE_OK)
		snprintf(o->error, sizeof(o->error), "%s", curl_easy_strerror(rc));
	if (rc != CURLE_OK)
		return -1;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
	keep_cache_control(curl, out);
	buf_c(&sink->body, '\0');
	if (sink->body.over)
		return snprintf(o->error, sizeof(o->error), "out of memory"), -1;
	out->body = (struct str){sink->body.p, sink->body.n - 1};
	return 0;
}

/* False without memory: a request that lacks one of its headers must not go out. */
static bool list_headers(const struct outbound_request *rq, struct curl_slist **out)
{
	*out = NULL;
	for (size_t i = 0; i < sizeof(rq->headers) / sizeof(rq->headers[0]) && rq->headers[i];
		i++) {
		struct curl_slist *longer = curl_slist_append(*out, rq->headers[i]);

		if (!longer)
			return false;
		*out = longer;
	}
	return true;
}

int outbound_http(struct outbound *o, const struct outbound_request *rq, struct arena *a,
	struct outbound_answer *out)
{
	struct answer_sink sink = {.max = rq->answer_max};
	bool ok = outbound_url_ok(rq->url);
	struct curl_slist *headers = NULL;
	CURL *curl = ok ? outbound_curl(o) : NULL;
	int rc = -1;

	if (!curl || !list_headers(rq, &headers)) {
		snprintf(o->error, sizeof(o->error), "%s",
			ok ? "out of memory" : "the address is not an https:// URL");
		curl_slist_free_all(headers);
		curl_easy_cleanup(curl);
		return -1;
	}
	buf_init(&sink.body, a);
	curl_easy_setopt(curl, CURLOPT_URL, rq->url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "pugd/" PUGD_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
	if (rq->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(rq->body));
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, rq->body);
	}
	rc = perform(curl, o, &sink, out);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return rc;
}
