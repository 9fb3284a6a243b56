/* See country.h. The list of 2024, by first letter. Reserved and user-assigned codes (EU, UK, XK)
 * are not in it (D41). */
#include "worker/insights/country.h"

bool country_assigned(struct str code)
{
	static const char *const second[26] = {
		"DEFGILMOQRSTUWXZ",
		"ABDEFGHIJLMNOQRSTVWYZ",
		"ACDFGHIKLMNORUVWXYZ",
		"EJKMOZ",
		"CEGHRST",
		"IJKMOR",
		"ABDEFGHILMNPQRSTUWY",
		"KMNRTU",
		"DELMNOQRST",
		"EMOP",
		"EGHIMNPRWYZ",
		"ABCIKRSTUVY",
		"ACDEFGHKLMNOPQRSTUVWXYZ",
		"ACEFGILOPRUZ",
		"M",
		"AEFGHKLMNRSTWY",
		"A",
		"EOSUW",
		"ABCDEGHIJKLMNORSTVXYZ",
		"CDFGHJKLMNORTVWZ",
		"AGMSYZ",
		"ACEGINU",
		"FS",
		"",
		"ET",
		"AMW",
	};

	/* strchr() finds a NUL as well, the one that ends each list */
	return code.n == 2 && code.p[0] >= 'A' && code.p[0] <= 'Z' && code.p[1] &&
	       strchr(second[code.p[0] - 'A'], code.p[1]);
}
