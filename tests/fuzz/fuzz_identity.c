/*
 * What other people's servers and the operator's file say. Byte 0 chooses: 0 an id token,
 * 1 its claims, 2 a key set, 3 the file of providers, 4 a discovery document, 5 the answer
 * of a token endpoint, 6 a redirect URI and an origin, separated by a line end.
 */
#include <stdlib.h>

#include "proto/base64.h"
#include "worker/identity/config.h"
#include "worker/identity/discovery.h"
#include "worker/identity/exchange.h"
#include "worker/identity/idtoken.h"
#include "worker/identity/redirect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void token(struct str text, struct arena *a)
{
	struct idtoken t;
	const char *why = NULL;

	if (!idtoken_open(&t, text, a, &why) && !why)
		abort();
}

static void claims(struct str text, struct arena *a)
{
	struct idtoken_want want = {
		"https://i.example", "us", .schemeless = true, .now_s = 1700000000};
	char *part = arena_alloc(a, base64_encoded_len(text.n, false) + 1);
	struct idtoken t = {.claims = {part, base64_encode_url(text.p, text.n, part)}};
	struct idtoken_person who;
	const char *why = NULL;

	if (idtoken_claims(&t, &want, a, &who, &why) != IDTOKEN_GOOD)
		return;
	if (!str_utf8_ok(who.name) || str_utf8_len(who.name) > 150 || who.subject.n > SUBJECT_MAX ||
		str_utf8_len(who.picture) > 255 || who.email.n > 255)
		abort();
}

static void key_set(struct str text)
{
	const char *why = NULL;
	struct jwks *k = jwks_read(text, &why);

	for (unsigned i = 0; k && i < k->n; i++)
		if (EVP_PKEY_get_bits(k->v[i].key) < 2048 || EVP_PKEY_get_bits(k->v[i].key) > 8192)
			abort();
	jwks_free(k);
}

static void file(struct str text, struct arena *a)
{
	static struct options opt;
	struct providers *p = arena_alloc(a, sizeof(*p));
	char error[CONFIG_ERROR] = "";

	if (text.n >= sizeof(opt.auth_config) || memchr(text.p, '\0', text.n))
		return;
	opt.auth_config_file[0] = '/';
	memcpy(opt.auth_config, text.p, text.n);
	opt.auth_config[text.n] = '\0';
	if (providers_load(&opt, a, p, error) != (error[0] == '\0'))
		abort();
}

static void redirect(struct str text)
{
	long end = str_find(text, '\n');
	struct str uri = {text.p, end < 0 ? text.n : (size_t)end}, origin = {text.p + text.n, 0};

	if (end >= 0)
		origin = (struct str){text.p + end + 1, text.n - (size_t)end - 1};
	if (redirect_ok(uri) && memchr(uri.p, '@', uri.n))
		abort();
	(void)redirect_same_origin(uri, origin);
}

static void run(uint8_t which, struct str text, struct arena *a)
{
	struct exchange x = {.a = a};
	struct discovery d;

	switch (which % 7) {
	case 0:
		token(text, a);
		break;
	case 1:
		claims(text, a);
		break;
	case 2:
		key_set(text);
		break;
	case 3:
		file(text, a);
		break;
	case 4:
		(void)discovery_read(&d, text, "https://i.example");
		break;
	case 5:
		exchange_read(&x, 200, text);
		break;
	default:
		redirect(text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a;

	if (size == 0 || size > 1 << 18)
		return 0;
	arena_init(&a, (size_t)8 << 20);
	run(data[0], (struct str){(const char *)data + 1, size - 1}, &a);
	arena_free(&a);
	return 0;
}
