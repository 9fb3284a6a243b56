/* shm/base/hash.c against published vectors, and the shape of identifiers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/hash.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *hex32(const uint8_t d[32])
{
	static char text[65];

	str_hex(d, 32, text);
	return text;
}

/* The reference implementation's vectors: key 00..0f, message 00, 01, 02 ... */
Test(hash, siphash)
{
	static const struct {
		size_t n;
		uint64_t want;
	} rows[] = {
		{0, 0x726fdb47dd0e0e31},
		{1, 0x74f839c593dc67fd},
		{7, 0xab0200f58b01d137},
		{8, 0x93f5f5799a932462},
		{15, 0xa129ca6149be45e5},
	};
	uint8_t key[16], message[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = message[i] = i;
	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(hash_sip(key, message, rows[i].n), rows[i].want, "n %zu", rows[i].n);
}

Test(hash, table_hash)
{
	uint8_t zero[64] = {0};
	uint64_t seen[65], flips = 0;
	uint32_t buckets[64] = {0};

	for (size_t n = 0; n <= 64; n++) {
		seen[n] = hash_64(zero, n);
		for (size_t m = 0; m < n; m++)
			cr_assert_neq(seen[n], seen[m], "%zu zeros and %zu", n, m);
	}
	for (size_t bit = 0; bit < 512; bit++) {
		zero[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flips += (uint64_t)__builtin_popcountll(hash_64(zero, 64) ^ seen[64]);
		zero[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cr_expect(flips > 512 * 30 && flips < 512 * 34, "flips %lu", (unsigned long)flips);
	for (uint64_t i = 0; i < 64000; i++)
		buckets[hash_64(&i, sizeof(i)) & 63]++;
	for (size_t i = 0; i < 64; i++)
		cr_expect(buckets[i] > 850 && buckets[i] < 1150, "%zu: %u", i, buckets[i]);
}

/* The second block's other half is the state after the first: what is between them does not
 * count. Found by trying 327 beginnings. */
Test(hash, a_client_cannot_fill_one_slot)
{
	char text[] = "user-00000000326????????3V-DUZ4b";
	size_t n = sizeof(text) - 1, same = 0;
	uint64_t plain = hash_64(text, n), keyed = hash_text(text, n);

	cr_assert_eq(hash_text(text, n), keyed, "the same for the same text");
	for (int i = 0; i < 10000; i++) {
		snprintf(text + 16, 9, "%08d", i);
		text[24] = '3';
		cr_assert_eq(hash_64(text, n), plain, "%s: they do collide without a key", text);
		same += hash_text(text, n) == keyed;
	}
	cr_expect_eq(same, 0);
}

Test(hash, crc32c)
{
	uint8_t bytes[100];
	uint32_t whole;

	for (uint8_t i = 0; i < 100; i++)
		bytes[i] = (uint8_t)(i * 7);
	cr_expect_eq(hash_crc32c(0, "123456789", 9), 0xe3069283);
	cr_expect_eq(hash_crc32c(0, "", 0), 0);
	whole = hash_crc32c(0, bytes, 100);
	for (size_t cut = 0; cut <= 100; cut++)
		cr_expect_eq(
			hash_crc32c(hash_crc32c(0, bytes, cut), bytes + cut, 100 - cut), whole);
}

Test(hash, sha256_hmac)
{
	uint8_t d[32];

	hash_sha256("abc", 3, d);
	cr_expect_str_eq(
		hex32(d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_sha256("", 0, d);
	cr_expect_str_eq(
		hex32(d), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hash_hmac("Jefe", 4, "what do ya want for nothing?", 28, d);
	cr_expect_str_eq(
		hex32(d), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	hash_hmac("", 0, "", 0, d);
	cr_expect_str_eq(
		hex32(d), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 5869, test case 3 (no salt, no info), and that labels separate. */
Test(hash, hkdf)
{
	uint8_t secret[22], okm[42], a[64], b[64];
	char text[85];

	memset(secret, 0x0b, sizeof(secret));
	hash_hkdf(secret, sizeof(secret), "", okm, sizeof(okm));
	str_hex(okm, sizeof(okm), text);
	cr_expect_str_eq(text, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
			       "9d201395faa4b61a96c8");
	hash_hkdf(secret, sizeof(secret), "jwt", a, 64);
	hash_hkdf(secret, sizeof(secret), "page", b, 64);
	cr_expect_neq(memcmp(a, b, 32), 0);
	cr_expect_neq(memcmp(a, a + 32, 32), 0);
}

Test(hash, xid)
{
	char last[21] = "", id[21];

	for (int i = 0; i < 1000; i++) {
		hash_xid(id);
		cr_assert_eq(strlen(id), 20);
		cr_assert_eq(strspn(id, "0123456789abcdefghijklmnopqrstuv"), 20);
		/* The 20th character holds one bit only. */
		cr_assert(id[19] == '0' || id[19] == 'g');
		cr_assert_neq(strcmp(id, last), 0);
		memcpy(last, id, sizeof(last));
	}
}

Test(hash, xid_after_fork)
{
	char mine[21], theirs[21];
	int fds[2];
	pid_t pid;

	hash_xid(mine);
	cr_assert_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		hash_xid(theirs);
		_exit(write(fds[1], theirs, 21) == 21 ? 0 : 1);
	}
	cr_assert_eq(read(fds[0], theirs, 21), 21);
	waitpid(pid, NULL, 0);
	/* Characters 7 to 14 come from the process's own random bytes. */
	cr_expect_neq(memcmp(mine + 7, theirs + 7, 7), 0);
}

Test(hash, uuid4_and_uuid5)
{
	/* The namespace of host names, and python3 -c 'uuid5(NAMESPACE_DNS, "www.example.com")'. */
	static const uint8_t dns[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4,
		0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};
	uint8_t a[16], b[16];
	char text[37];

	hash_uuid5(dns, "www.example.com", 15, a);
	str_uuid_text(a, text);
	cr_expect_str_eq(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
	hash_uuid4(a);
	hash_uuid4(b);
	cr_expect_eq(a[6] >> 4, 4);
	cr_expect_eq(a[8] >> 6, 2);
	cr_expect_neq(memcmp(a, b, 16), 0);
}

Test(hash, uuid7)
{
	uint8_t a[16], b[16];

	hash_uuid7(a);
	usleep(2000);
	hash_uuid7(b);
	cr_expect_eq(a[6] >> 4, 7);
	cr_expect_eq(a[8] >> 6, 2);
	cr_expect_lt(memcmp(a, b, 6), 0);
}
