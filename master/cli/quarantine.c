/* `pugd quarantine clear`. */
#include <stdio.h>
#include <string.h>

#include "master/address.h"
#include "master/cli/cli.h"
#include "master/cli/client.h"

int cli_quarantine(struct args *a)
{
	char address[ADDRESS_TEXT];
	struct buf b;
	bool ok;

	if (a->rest_count < 2 || strcmp(a->rest[1], "clear") != 0) {
		fprintf(stderr, "usage: pugd quarantine clear [--admin ADDRESS]\n");
		return 2;
	}
	buf_init(&b, NULL);
	ok = client_address(a, address, sizeof(address)) &&
	     client_ask(address, "POST /quarantine/clear", &b);
	if (ok)
		printf("%s", b.p);
	buf_free(&b);
	return ok ? 0 : 1;
}
