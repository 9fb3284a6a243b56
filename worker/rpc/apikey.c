/* See apikey.h. The text of a private key leaves this process once, in the reply. */
#include "worker/rpc/apikey.h"

#include <stdio.h>
#include <string.h>

#include "shm/base/hash.h"

void apikey_make(struct apikey *k, enum apikey_kind kind)
{
	uint8_t bytes[20];
	hash_xid(k->id);
	hash_random(bytes, sizeof(bytes));
	memcpy(k->text, kind == APIKEY_PUBLIC ? "pub_" : "prv_", 4);
	str_hex(bytes, sizeof(bytes), k->text + 4);
	explicit_bzero(bytes, sizeof(bytes));
	hash_sha256(k->text, 44, k->digest);
	snprintf(k->hint, sizeof(k->hint), "%.4s...%.4s", k->text, k->text + 40);
}
