/*
 * Hashes and identifiers. The two table hashes are our own code; everything
 * that secrets depend on is OpenSSL's. All functions may be called from any
 * thread: the loop and the offload threads both make ids.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/random.h>

#include "shm/base/clock.h"
#include "shm/base/hash.h"
#include "shm/base/log.h"

/* memcpy: the bytes come from anywhere, and unaligned loads are undefined in C. */
static uint64_t load64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The last n < 8 bytes, little-endian. */
static uint64_t load_tail(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

/* The published round; test_hash.c holds it against the reference's vectors. */
static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

uint64_t hash_sip(const uint8_t key[16], const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t k0 = load64(key), k1 = load64(key + 8);
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
		k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		sip_word(v, load64(s + i));
	sip_word(v, load_tail(s + i, n - i) | (uint64_t)n << 56);
	v[2] ^= 0xff;
	for (int r = 0; r < 4; r++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Full 64x64 product, folded: every input bit reaches every output bit. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t multiply(const uint64_t c[3], const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t h = c[0] ^ n;
	size_t i = 0;

	/* The rotated constant keeps a zero factor from wiping the state. */
	for (; i + 16 <= n; i += 16)
		h = fold(load64(s + i) ^ c[1], load64(s + i + 8) ^ h) + rotate(h, 29);
	if (i + 8 <= n) {
		h = fold(load64(s + i) ^ c[1], h ^ c[2]) + rotate(h, 29);
		i += 8;
	}
	h = fold(load_tail(s + i, n - i) ^ c[2], h ^ c[1]) + rotate(h, 29);
	return fold(h ^ c[0], c[2] ^ n);
}

uint64_t hash_64(const void *p, size_t n)
{
	/* Odd, half of the bits set: fractional digits of pi and e. */
	static const uint64_t c[3] = {
		0x243f6a8885a308d3u, 0xb7e151628aed2a6bu, 0xa4093822299f31d1u};

	return multiply(c, p, n);
}

/* With known constants a block can be chosen whose one factor is 0, and then the other one may be
 * anything. Nobody outside knows these; children of a fork have their parent's. */
static uint64_t text_key[3];

/* Before main(): a look at "is it there" would cost as much as hashing a short text. */
__attribute__((constructor)) static void text_setup(void)
{
	hash_random(text_key, sizeof(text_key));
	for (int i = 0; i < 3; i++)
		text_key[i] |= 1;
}

uint64_t hash_text(const void *p, size_t n)
{
	return multiply(text_key, p, n);
}

/*
 * CRC-32C and not zlib's CRC-32: processors have an instruction for it, and it
 * finds more errors in blocks of our size. The polynomial is bit-reversed.
 */
enum { CRC_POLY = 0x82f63b78, CRC_LANES = 8 };

static uint32_t crc_table[CRC_LANES][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_setup(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? (uint32_t)CRC_POLY : 0);
		crc_table[0][i] = crc;
	}
	for (int lane = 1; lane < (int)CRC_LANES; lane++)
		for (uint32_t i = 0; i < 256; i++)
			crc_table[lane][i] = crc_table[lane - 1][i] >> 8 ^
					     crc_table[0][crc_table[lane - 1][i] & 255];
}

/* Eight bytes a step, for processors without the instruction. */
static uint32_t crc_soft(uint32_t crc, const unsigned char *p, size_t n)
{
	pthread_once(&crc_once, crc_setup);
	for (; n >= 8; p += 8, n -= 8) {
		uint32_t next = 0;

		for (unsigned i = 0; i < 8; i++) {
			uint32_t byte = p[i] ^ (i < 4 ? crc >> (8 * i) & 255 : 0);

			next ^= crc_table[7 - i][byte];
		}
		crc = next;
	}
	for (; n > 0; p++, n--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
	return crc;
}

/* Compiled for SSE 4.2 whatever the rest is compiled for; called only where it exists. */
#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hard(
	uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t wide = crc;

	for (; n >= 8; p += 8, n -= 8)
		wide = __builtin_ia32_crc32di(wide, load64(p));
	crc = (uint32_t)wide;
	for (; n > 0; p++, n--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_hard(~crc, p, n);
#endif
	return ~crc_soft(~crc, p, n);
}

static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

/* Fetched once: OpenSSL 3 otherwise looks the algorithm up by name on each use. */
static void sha256_setup(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	must(sha256);
}

void hash_sha256(const void *p, size_t n, uint8_t out[32])
{
	pthread_once(&sha256_once, sha256_setup);
	must(EVP_Digest(p, n, out, NULL, sha256, NULL) == 1);
}

void hash_hmac(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[32])
{
	unsigned len = 32;

	must(key_n <= INT32_MAX);
	pthread_once(&sha256_once, sha256_setup);
	/* An empty key must not be NULL: that means "the previous key" to OpenSSL. */
	must(HMAC(sha256, key_n > 0 ? key : "", (int)key_n, p, n, out, &len) && len == 32);
}

/* RFC 5869 without a salt: the secret is uniformly random already. */
void hash_hkdf(const void *secret, size_t secret_n, const char *label, uint8_t *out, size_t n)
{
	static const uint8_t salt[32];
	/* input = previous block, label, counter; the first round has no block. */
	uint8_t prk[32], block[32], input[32 + 128 + 1];
	size_t label_n = strlen(label), at = 0;

	must(n <= 64 && label_n <= 128);
	hash_hmac(salt, sizeof(salt), secret, secret_n, prk);
	for (uint8_t i = 1; n > 0; i++) {
		size_t take = n < sizeof(block) ? n : sizeof(block);

		memcpy(input + at, label, label_n);
		input[at + label_n] = i;
		hash_hmac(prk, sizeof(prk), input, at + label_n + 1, block);
		memcpy(out, block, take);
		memcpy(input, block, sizeof(block));
		at = sizeof(block);
		out += take;
		n -= take;
	}
	OPENSSL_cleanse(prk, sizeof(prk));
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(input, sizeof(input));
}

void hash_random(void *p, size_t n)
{
	unsigned char *out = p;

	while (n > 0) {
		ssize_t got = getrandom(out, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		must(got > 0);
		out += got;
		n -= (size_t)got;
	}
}

/* What makes this process's xids its own; drawn again after a fork. */
static struct {
	uint8_t origin[5];
	_Atomic uint32_t counter;
} xid;
static pthread_once_t xid_once = PTHREAD_ONCE_INIT;

/* A random start: two processes that drew the same origin still differ. */
static void xid_seed(void)
{
	uint32_t start;

	hash_random(xid.origin, sizeof(xid.origin));
	hash_random(&start, sizeof(start));
	atomic_store(&xid.counter, start);
}

static void xid_setup(void)
{
	xid_seed();
	must(pthread_atfork(NULL, NULL, xid_seed) == 0);
}

void hash_xid(char out[21])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	uint32_t now, counter;
	uint8_t b[13] = {0};

	/* The counter alone makes ids of one second differ: 16 million of them. */
	pthread_once(&xid_once, xid_setup);
	now = (uint32_t)(clock_real_ms() / 1000);
	counter = atomic_fetch_add_explicit(&xid.counter, 1, memory_order_relaxed);
	for (int i = 0; i < 4; i++)
		b[i] = (uint8_t)(now >> (24 - 8 * i));
	memcpy(b + 4, xid.origin, sizeof(xid.origin));
	for (int i = 0; i < 3; i++)
		b[9 + i] = (uint8_t)(counter >> (16 - 8 * i));
	/* 96 bits in groups of five; the 20th has one bit, padded with b[12] == 0. */
	for (int i = 0; i < 20; i++) {
		int byte = i * 5 / 8, shift = 11 - i * 5 % 8;

		out[i] = digits[(b[byte] << 8 | b[byte + 1]) >> shift & 31];
	}
	out[20] = '\0';
}

static void uuid_version(uint8_t uuid[16], unsigned version)
{
	uuid[6] = (uint8_t)(version << 4 | (uuid[6] & 0x0f));
	uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
}

void hash_uuid7(uint8_t out[16])
{
	uint64_t now = (uint64_t)clock_real_ms();

	/* All other bits are random: guessing an event's id must not be easy. */
	hash_random(out + 6, 10);
	for (int i = 0; i < 6; i++)
		out[i] = (uint8_t)(now >> (40 - 8 * i));
	uuid_version(out, 7);
}

void hash_uuid4(uint8_t out[16])
{
	hash_random(out, 16);
	uuid_version(out, 4);
}

void hash_uuid5(const uint8_t space[16], const void *name, size_t n, uint8_t out[16])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t digest[20];

	/* SHA-1 is what RFC 9562 says; nothing here rests on its strength. */
	must(ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
		EVP_DigestUpdate(ctx, space, 16) == 1 && EVP_DigestUpdate(ctx, name, n) == 1 &&
		EVP_DigestFinal_ex(ctx, digest, NULL) == 1);
	EVP_MD_CTX_free(ctx);
	memcpy(out, digest, 16);
	uuid_version(out, 5);
}
