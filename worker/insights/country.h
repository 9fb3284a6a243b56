/* ISO 3166-1: which two-letter country codes are assigned (D41). */
#ifndef INSIGHTS_COUNTRY_H
#define INSIGHTS_COUNTRY_H

#include "shm/base/str.h"

enum { COUNTRY_COUNT = 249 };

/* True for an assigned alpha-2 code in upper case. */
bool country_assigned(struct str code);

#endif
