/* The embedded migrations: in order, complete, and with the hashes of their texts. */
#include <criterion/criterion.h>
#include <string.h>

#include "shm/base/hash.h"
#include "worker/db/migrate.h"

Test(migrate, table)
{
	int n = 0;

	for (const struct migration *m = migrations; m->number; m++, n++) {
		uint8_t digest[32];
		char hex[65];

		cr_expect(m->number == n + 1, "%s has number %d", m->name, m->number);
		hash_sha256(m->sql, strlen(m->sql), digest);
		str_hex(digest, sizeof(digest), hex);
		cr_expect_str_eq(m->sha256, hex, "%s", m->name);
	}
	cr_expect(n == migrations_n);
	cr_expect(n >= 2);
}

Test(migrate, unreachable_server)
{
	const char *url = "postgresql:///x?host=/nonexistent";

	cr_expect(migrate_state(url) == -1);
	cr_expect(migrate_run(url, false) == -1);
}
