/* Both codecs over every scalar type, as a field, repeated, in a map, as its key and in a
 * oneof (scalars/sample/v1/scalars.proto); the product's messages use only some of them. */
#include "codec.h"

#define SCALARS  "sample.v1.Scalars"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Values as JSON writes them, and what is no value of the type. */
static const struct {
	const char *type;
	const char *good[5], *bad[6];
} types[] = {
	{"Double", {"0", "0.1", "-1.7976931348623157e308", "5e-324", "\"-Infinity\""},
		{"1e309", "\"x\"", "true", "[]", "\"\""}},
	{"Float", {"0", "0.1", "3.4028235e38", "1e-45", "\"NaN\""},
		{"3.5e38", "\"x\"", "true", "{}"}},
	{"Int32", {"0", "1", "-1", "2147483647", "-2147483648"},
		{"2147483648", "-2147483649", "0.5", "\"a\"", "false"}},
	{"Int64", {"\"0\"", "\"-1\"", "\"9223372036854775807\"", "\"-9223372036854775808\""},
		{"\"9223372036854775808\"", "\"-9223372036854775809\"", "1.5", "\"\""}},
	{"Uint32", {"0", "1", "4294967295"}, {"-1", "4294967296", "1.5", "\"-1\"", "true"}},
	{"Uint64", {"\"0\"", "\"18446744073709551615\""},
		{"\"-1\"", "\"18446744073709551616\"", "-1", "[]"}},
	{"Sint32", {"0", "-1", "2147483647", "-2147483648"}, {"2147483648", "-2147483649", "0.5"}},
	{"Sint64", {"\"0\"", "\"-1\"", "\"9223372036854775807\"", "\"-9223372036854775808\""},
		{"\"9223372036854775808\"", "\"x\"", "0.5"}},
	{"Fixed32", {"0", "4294967295"}, {"-1", "4294967296", "0.5"}},
	{"Fixed64", {"\"0\"", "\"18446744073709551615\""}, {"-1", "\"18446744073709551616\""}},
	{"Sfixed32", {"0", "-2147483648", "2147483647"}, {"2147483648", "-2147483649"}},
	{"Sfixed64", {"\"0\"", "\"-9223372036854775808\""}, {"\"9223372036854775808\"", "0.5"}},
	{"Bool", {"true", "false"}, {"0", "1", "\"true\"", "[]"}},
	{"String", {"\"\"", "\"\xc3\xa9\xf0\x9f\x90\x95\"", "\"\\n\""},
		{"0", "true", "\"\\ud800\"", "\"\xff\"", "\"\\u0000\""}},
	{"Bytes", {"\"\"", "\"AP8=\"", "\"++//\""}, {"0", "\"*\"", "\"A\"", "true"}},
	{"Color",
		{"\"COLOR_UNSPECIFIED\"", "\"COLOR_RED\"", "\"COLOR_LAST\"", "\"COLOR_FIRST\"",
			"7"},
		{"\"RED\"", "2147483648", "0.5", "true", "{}"}},
	{"Inner", {"{}", "{\"text\":\"\"}", "{\"text\":\"x\"}"},
		{"0", "[]", "{\"text\":1}", "\"\""}},
};

static const struct {
	const char *type;
	const char *good[3], *bad[4];
} keys[] = {
	{"Int32", {"0", "-2147483648", "2147483647"}, {"2147483648", "x", "", "0.5"}},
	{"Int64", {"0", "-9223372036854775808", "9223372036854775807"},
		{"9223372036854775808", "", "x"}},
	{"Uint32", {"0", "4294967295"}, {"-1", "4294967296", ""}},
	{"Uint64", {"0", "18446744073709551615"}, {"-1", "18446744073709551616", ""}},
	{"Sint32", {"0", "-2147483648", "2147483647"}, {"2147483648", "true"}},
	{"Sint64", {"0", "-9223372036854775808"}, {"-9223372036854775809", ""}},
	{"Fixed32", {"0", "4294967295"}, {"4294967296", "-1"}},
	{"Fixed64", {"0", "18446744073709551615"}, {"18446744073709551616", "x"}},
	{"Sfixed32", {"0", "-2147483648"}, {"-2147483649", ""}},
	{"Sfixed64", {"0", "-9223372036854775808"}, {"9223372036854775808", ""}},
	{"Bool", {"true", "false"}, {"1", "True", ""}},
	{"String", {"", "x", "\xc3\xa9"}, {"\\ud800", "\xff"}},
};

/* Through JSON, and through JSON, bytes and back, it stays what it is. */
static void stays(const char *json)
{
	const struct pb_msg *m = type_of(SCALARS);
	ProtobufCMessage *again;
	struct wire_error err = {0};
	struct buf packed;
	const char *text;

	round_trip(SCALARS, json, NULL);
	arena_init(&arena, (size_t)32 << 20);
	buf_init(&packed, NULL);
	pb_pack(read_ok(SCALARS, json), &packed);
	cr_assert_eq(pb_unpack(m, (struct str){packed.p, packed.n}, &arena, &again, &err), 0,
		"%s: %s %s", json, err.path, err.reason);
	text = write_json(SCALARS, again);
	cr_expect(text && strcmp(text, json) == 0, "%s: %s", json, text ? text : "-");
	buf_free(&packed);
	arena_free(&arena);
}

static const char *format(const char *place, const char *type, const char *a, const char *b)
{
	static char text[512];

	if (strcmp(place, "many") == 0)
		snprintf(text, sizeof(text), "{\"many%s\":[%s,%s]}", type, a, b);
	else if (strcmp(place, "to") == 0)
		snprintf(text, sizeof(text), "{\"to%s\":{\"a\":%s,\"b\":%s}}", type, a, b);
	else
		snprintf(text, sizeof(text), "{\"%s%s\":%s}", place, type, b);
	return text;
}

Test(scalars, values)
{
	static const char *const places[] = {"one", "many", "to", "either"};

	for (size_t i = 0; i < COUNT(types); i++) {
		for (size_t p = 0; p < COUNT(places); p++) {
			const char *first = types[i].good[0];

			for (size_t k = 0; k < COUNT(types[i].good) && types[i].good[k]; k++)
				stays(format(places[p], types[i].type, first, types[i].good[k]));
			for (size_t k = 0; k < COUNT(types[i].bad) && types[i].bad[k]; k++)
				read_fails(SCALARS,
					format(places[p], types[i].type, first, types[i].bad[k]),
					NULL, NULL);
		}
	}
}

Test(scalars, keys)
{
	char text[256];

	for (size_t i = 0; i < COUNT(keys); i++) {
		for (size_t k = 0; k < COUNT(keys[i].good) && keys[i].good[k]; k++) {
			snprintf(text, sizeof(text), "{\"by%s\":{\"%s\":\"x\"}}", keys[i].type,
				keys[i].good[k]);
			stays(text);
			snprintf(text, sizeof(text), "{\"by%s\":{\"%s\":\"x\",\"%s\":\"y\"}}",
				keys[i].type, keys[i].good[k], keys[i].good[k]);
			read_fails(SCALARS, text, NULL, NULL);
		}
		for (size_t k = 0; k < COUNT(keys[i].bad) && keys[i].bad[k]; k++) {
			snprintf(text, sizeof(text), "{\"by%s\":{\"%s\":\"x\"}}", keys[i].type,
				keys[i].bad[k]);
			read_fails(SCALARS, text, NULL, NULL);
		}
	}
}

Test(scalars, other_spellings_of_numbers)
{
	round_trip(SCALARS, "{\"oneInt32\":\"5\"}", "{\"oneInt32\":5}");
	round_trip(SCALARS, "{\"oneInt32\":5.0}", "{\"oneInt32\":5}");
	round_trip(SCALARS, "{\"oneUint64\":1e3}", "{\"oneUint64\":\"1000\"}");
	round_trip(SCALARS, "{\"one_sfixed64\":-7}", "{\"oneSfixed64\":\"-7\"}");
	round_trip(SCALARS, "{\"oneDouble\":\"2.5\"}", "{\"oneDouble\":2.5}");
	round_trip(SCALARS, "{\"oneBytes\":\"--__\"}", "{\"oneBytes\":\"++//\"}");
	round_trip(SCALARS, "{\"oneColor\":1}", "{\"oneColor\":\"COLOR_RED\"}");
	round_trip(SCALARS, "{\"oneBool\":null,\"manyInt32\":null,\"toBool\":null}", "{}");
	read_fails(SCALARS, "{\"manyInt32\":[null]}", NULL, NULL);
	read_fails(SCALARS, "{\"toBool\":{\"a\":null}}", NULL, NULL);
	read_fails(SCALARS, "{\"eitherBool\":true,\"eitherInt32\":1}", NULL, NULL);
}

#define BYTES(lit) lit, sizeof(lit) - 1

/* As other implementations write them. */
Test(scalars, bytes)
{
	static const struct {
		const char *json, *bytes;
		size_t n;
	} rows[] = {
		{"{\"oneDouble\":1}", BYTES("\x09\0\0\0\0\0\0\xf0\x3f")},
		{"{\"oneFloat\":1}", BYTES("\x15\0\0\x80\x3f")},
		{"{\"oneInt32\":-1}", BYTES("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
		{"{\"oneUint64\":\"300\"}", BYTES("\x30\xac\x02")},
		{"{\"oneSint32\":-1}", BYTES("\x38\x01")},
		{"{\"oneSint64\":\"1\"}", BYTES("\x40\x02")},
		{"{\"oneFixed32\":1}", BYTES("\x4d\x01\0\0\0")},
		{"{\"oneFixed64\":\"1\"}", BYTES("\x51\x01\0\0\0\0\0\0\0")},
		{"{\"oneSfixed32\":-1}", BYTES("\x5d\xff\xff\xff\xff")},
		{"{\"oneSfixed64\":\"-1\"}", BYTES("\x61\xff\xff\xff\xff\xff\xff\xff\xff")},
		{"{\"oneBool\":true}", BYTES("\x68\x01")},
		{"{\"oneColor\":\"COLOR_FIRST\"}",
			BYTES("\x80\x01\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01")},
		{"{\"manySint32\":[-1,1]}", BYTES("\xda\x01\x02\x01\x02")},
		{"{\"manyFixed32\":[1,2]}", BYTES("\xea\x01\x08\x01\0\0\0\x02\0\0\0")},
		{"{\"byBool\":{\"true\":\"x\"}}", BYTES("\xba\x04\x05\x08\x01\x12\x01x")},
		{"{\"byFixed64\":{\"1\":\"x\"}}",
			BYTES("\xa2\x04\x0c\x09\x01\0\0\0\0\0\0\0\x12\x01x")},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b;

		buf_init(&b, NULL);
		pb_pack(read_ok(SCALARS, rows[i].json), &b);
		cr_expect(b.n == rows[i].n && memcmp(b.p, rows[i].bytes, b.n) == 0, "%s: %zu bytes",
			rows[i].json, b.n);
		buf_free(&b);
		arena_free(&arena);
	}
}

/* Repeated numbers are read packed or one by one, whichever way they were declared. */
Test(scalars, unpacked)
{
	static const char one_by_one[] = "\xd8\x01\x01\xda\x01\x02\x02\x04\xd8\x01\x03";
	struct wire_error err = {0};
	ProtobufCMessage *msg;

	arena_init(&arena, 1 << 20);
	cr_assert_eq(pb_unpack(type_of(SCALARS), (struct str){one_by_one, sizeof(one_by_one) - 1},
			     &arena, &msg, &err),
		0, "%s %s", err.path, err.reason);
	cr_expect_str_eq(write_json(SCALARS, msg), "{\"manySint32\":[-1,1,2,-2]}");
	arena_free(&arena);
}
