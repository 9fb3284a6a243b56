/* Values of the Connect protocol. */
#include <criterion/criterion.h>

#include "proto/connect.h"

static struct arena arena;

Test(connect, content_types)
{
	static const struct {
		const char *text;
		bool ok;
		enum connect_codec codec;
		bool stream;
	} t[] = {
		{"application/json", true, CONNECT_JSON, false},
		{"application/json; charset=utf-8", true, CONNECT_JSON, false},
		{"Application/JSON;charset=\"UTF-8\"", true, CONNECT_JSON, false},
		{"application/json;  foo=bar ; charset=utf-8", true, CONNECT_JSON, false},
		{"application/json; charset=latin1", false, 0, 0},
		{"application/proto", true, CONNECT_PROTO, false},
		{"application/connect+json", true, CONNECT_JSON, true},
		{"application/connect+proto", true, CONNECT_PROTO, true},
		{"application/foo", false, 0, 0},
		{"image/jpeg", false, 0, 0},
		{"", false, 0, 0},
		{"application/grpc", false, 0, 0},
		{"application/grpc-web+proto", false, 0, 0},
		{"application/jsonx", false, 0, 0},
		{"text/plain;charset=UTF-8", false, 0, 0},
		{"application/x-protobuf", false, 0, 0},
	};
	struct connect_media m;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		cr_expect_eq(connect_media_parse(str_of(t[i].text), &m), t[i].ok, "%s", t[i].text);
		if (t[i].ok)
			cr_expect(
				m.codec == t[i].codec && m.stream == t[i].stream, "%s", t[i].text);
	}
	m = (struct connect_media){CONNECT_PROTO, true};
	cr_expect_str_eq(connect_media_name(m), "application/connect+proto");
}

Test(connect, timeouts)
{
	static const char *const bad[] = {
		"", "-1", "+1", "1.5", " 1", "1 ", "12345678901", "1s", "x"};
	uint64_t ms;

	cr_expect(connect_timeout_parse(STR("0"), &ms) && ms == 0);
	cr_expect(connect_timeout_parse(STR("2000"), &ms) && ms == 2000);
	cr_expect(connect_timeout_parse(STR("9999999999"), &ms) && ms == 9999999999);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(connect_timeout_parse(str_of(bad[i]), &ms), "%s", bad[i]);
}

Test(connect, codings)
{
	static const char *const yes[] = {"gzip", "br, gzip", "gzip;q=0.5", "GZIP", "*",
		"identity, *;q=0.1", "gzip ; q=1.0 , br"};
	static const char *const no[] = {
		"", "br", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzipx", "gzip;q=0, *"};

	cr_expect_eq(connect_coding_parse((struct str){NULL, 0}), CONNECT_IDENTITY);
	cr_expect_eq(connect_coding_parse(STR("identity")), CONNECT_IDENTITY);
	cr_expect_eq(connect_coding_parse(STR(" GZip ")), CONNECT_GZIP);
	cr_expect_eq(connect_coding_parse(STR("foo")), CONNECT_UNKNOWN_CODING);
	cr_expect_eq(connect_coding_parse(STR("gzip, gzip")), CONNECT_UNKNOWN_CODING);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		cr_expect(connect_accepts_gzip(str_of(yes[i])), "%s", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		cr_expect_not(connect_accepts_gzip(str_of(no[i])), "%s", no[i]);
}

static void get_is(const char *query, const char *message, enum connect_codec codec)
{
	struct connect_get g;
	const char *why;

	arena_init(&arena, 1 << 20);
	cr_expect_eq(
		connect_get_parse(str_of(query), &arena, &g, &why), CONNECT_GET_OK, "%s", query);
	cr_expect(str_eq(g.message, str_of(message)), "%s", query);
	cr_expect_eq(g.codec, codec);
	arena_free(&arena);
}

static void get_fails(const char *query, enum connect_get_error want, const char *word)
{
	struct connect_get g;
	const char *why = "";

	arena_init(&arena, 1 << 20);
	cr_expect_eq(connect_get_parse(str_of(query), &arena, &g, &why), want, "%s", query);
	if (word)
		cr_expect(strstr(why, word), "%s: %s", query, why);
	arena_free(&arena);
}

Test(connect, get_queries)
{
	get_is("encoding=json&message=%7B%22a%22%3A%22b+c%22%7D", "{\"a\":\"b c\"}", CONNECT_JSON);
	get_is("connect=v1&message=eyJhIjoxfQ&base64=1&encoding=json", "{\"a\":1}", CONNECT_JSON);
	get_is("message=eyJhIjoxfQ%3D%3D&encoding=json&base64=1", "{\"a\":1}", CONNECT_JSON);
	get_is("message=eyJhIjoxfQ==&encoding=json&base64=1", "{\"a\":1}", CONNECT_JSON);
	get_is("message=e30&encoding=json&base64=true", "e30", CONNECT_JSON);
	get_is("message=&encoding=proto", "", CONNECT_PROTO);
	get_is("message=&encoding=proto&base64=1&compression=identity&x=y&&=&z", "", CONNECT_PROTO);
	get_is("message=a&message=b&encoding=json", "a", CONNECT_JSON);
	get_fails("encoding=json", CONNECT_GET_BAD, "message");
	get_fails("message=x", CONNECT_GET_BAD, "encoding");
	get_fails("", CONNECT_GET_BAD, "encoding");
	get_fails("message=x&encoding=json&connect=v2", CONNECT_GET_BAD, "v1");
	get_fails("message=x&encoding=xml", CONNECT_GET_ENCODING, NULL);
	get_fails("message=x&encoding=json&compression=br", CONNECT_GET_CODING, NULL);
	get_fails("message=%&encoding=json", CONNECT_GET_BAD, "percent");
	get_fails("message=%4&encoding=json", CONNECT_GET_BAD, "percent");
	get_fails("message=%zz&encoding=json", CONNECT_GET_BAD, "percent");
	get_fails("message=*&encoding=json&base64=1", CONNECT_GET_BAD, "base64");
}

Test(connect, get_says_compression_and_version)
{
	struct connect_get g;
	const char *why;

	arena_init(&arena, 1 << 20);
	connect_get_parse(STR("message=x&encoding=json&compression=gzip"), &arena, &g, &why);
	cr_expect(g.coding == CONNECT_GZIP && !g.version);
	connect_get_parse(STR("connect=v1&message=x&encoding=json"), &arena, &g, &why);
	cr_expect(g.coding == CONNECT_IDENTITY && g.version);
	arena_free(&arena);
}

static struct str zip(struct str in)
{
	struct buf b;

	buf_init(&b, &arena);
	cr_assert(connect_gzip(in, &b));
	return (struct str){b.p, b.n};
}

Test(connect, gzip_there_and_back)
{
	static const char text[] = "{\"a\":\"b\"}";
	struct str out, z;

	arena_init(&arena, (size_t)32 << 20);
	z = zip(STR(text));
	cr_expect_eq(connect_gunzip(z, 1000, &arena, &out), CONNECT_INFLATED);
	cr_expect(str_eq(out, STR(text)));
	z = zip((struct str){"", 0});
	cr_expect_eq(connect_gunzip(z, 1000, &arena, &out), CONNECT_INFLATED);
	cr_expect_eq(out.n, 0);
	/* an empty body is an empty message, whatever the header says */
	cr_expect_eq(connect_gunzip((struct str){NULL, 0}, 1000, &arena, &out), CONNECT_INFLATED);
	cr_expect_eq(out.n, 0);
	arena_free(&arena);
}

Test(connect, gunzip_limit_counts_what_comes_out)
{
	static char zeros[300000];
	struct str out, z;

	arena_init(&arena, (size_t)32 << 20);
	z = zip((struct str){zeros, 204800});
	cr_expect_eq(connect_gunzip(z, 204800, &arena, &out), CONNECT_INFLATED);
	cr_expect_eq(out.n, 204800);
	z = zip((struct str){zeros, 204801});
	cr_expect_eq(connect_gunzip(z, 204800, &arena, &out), CONNECT_INFLATE_LARGE);
	cr_expect_eq(connect_gunzip(z, 0, &arena, &out), CONNECT_INFLATE_LARGE);
	arena_free(&arena);
}

Test(connect, gunzip_survives_a_bomb)
{
	size_t size = (size_t)24 << 20;
	char *zeros = calloc(1, size);
	struct arena small;
	struct str out, z;

	cr_assert(zeros);
	arena_init(&arena, (size_t)64 << 20);
	z = zip((struct str){zeros, size});
	free(zeros);
	arena_init(&small, (size_t)16 << 20);
	cr_expect_eq(connect_gunzip(z, (size_t)4 << 20, &small, &out), CONNECT_INFLATE_LARGE);
	arena_free(&small);
	arena_init(&small, (size_t)1 << 20);
	cr_expect_eq(connect_gunzip(z, (size_t)4 << 20, &small, &out), CONNECT_INFLATE_MEMORY);
	arena_free(&small);
	arena_free(&arena);
}

Test(connect, gunzip_refuses_what_is_not_gzip)
{
	struct str out, z;
	struct buf b;

	arena_init(&arena, (size_t)32 << 20);
	z = zip(STR("hello hello hello"));
	for (size_t n = 1; n < z.n; n++)
		cr_expect_eq(connect_gunzip((struct str){z.p, n}, 100, &arena, &out),
			CONNECT_INFLATE_BAD, "%zu", n);
	cr_expect_eq(connect_gunzip(STR("{\"a\":1}"), 100, &arena, &out), CONNECT_INFLATE_BAD);
	buf_init(&b, &arena);
	buf_str(&b, z);
	buf_z(&b, "garbage");
	cr_expect_eq(
		connect_gunzip((struct str){b.p, b.n}, 100, &arena, &out), CONNECT_INFLATE_BAD);
	b.n = z.n;
	buf_str(&b, z);
	cr_expect_eq(connect_gunzip((struct str){b.p, b.n}, 100, &arena, &out), CONNECT_INFLATED);
	cr_expect(str_eq(out, STR("hello hello hellohello hello hello")));
	b.p[z.n - 6] ^= 1; /* the checksum of the first member */
	cr_expect_eq(
		connect_gunzip((struct str){b.p, b.n}, 100, &arena, &out), CONNECT_INFLATE_BAD);
	arena_free(&arena);
}

Test(connect, envelopes)
{
	struct str in, message;
	uint8_t flags;
	struct buf b;

	arena_init(&arena, 1 << 20);
	buf_init(&b, &arena);
	connect_envelope(&b, 0, STR("abc"));
	connect_envelope(&b, CONNECT_FLAG_END, STR("{}"));
	cr_expect(b.n == 15 && memcmp(b.p, "\0\0\0\0\3abc\2\0\0\0\2{}", 15) == 0);
	in = (struct str){b.p, b.n};
	cr_expect(connect_envelope_take(&in, &flags, &message) && flags == 0 &&
		  str_eq(message, STR("abc")));
	cr_expect(connect_envelope_take(&in, &flags, &message) && flags == 2 &&
		  str_eq(message, STR("{}")));
	cr_expect_not(connect_envelope_take(&in, &flags, &message));
	in = (struct str){b.p, 7};
	cr_expect_not(connect_envelope_take(&in, &flags, &message));
	arena_free(&arena);
}

Test(connect, error_bodies)
{
	static const char info[] = "\x0a\x0fUNAUTHENTICATED\x12\x06pug.sh";
	struct connect_error e;
	struct buf b;

	arena_init(&arena, 1 << 20);
	buf_init(&b, &arena);
	connect_error_begin(&e, &b, "unauthenticated", STR("no \"key\"\r\n\xf0\x9f\x98\x80"));
	connect_error_end(&e);
	cr_expect(str_eq((struct str){b.p, b.n},
		STR("{\"code\":\"unauthenticated\",\"message\":\"no \\\"key\\\"\\r\\n\xf0\x9f\x98\x80\"}")));
	b.n = 0;
	connect_error_begin(&e, &b, "unauthenticated", STR("x"));
	connect_error_detail(&e, "google.rpc.ErrorInfo", STR(info));
	connect_error_detail(&e, "google.rpc.RequestInfo", STR(""));
	connect_error_end(&e);
	cr_expect(str_eq((struct str){b.p, b.n},
		STR("{\"code\":\"unauthenticated\",\"message\":\"x\",\"details\":[{\"type\":\"google.rpc.ErrorInfo\","
		    "\"value\":\"Cg9VTkFVVEhFTlRJQ0FURUQSBnB1Zy5zaA\"},{\"type\":\"google.rpc.RequestInfo\","
		    "\"value\":\"\"}]}")));
	arena_free(&arena);
}
