/* Numbers as text, the same everywhere: in JSON, in event properties, in
 * filters (D70). Never depends on the process's locale. */
#ifndef PROTO_NUMBER_H
#define PROTO_NUMBER_H

#include "shm/base/str.h"

enum { NUMBER_TEXT = 32 }; /* room for any number as text, NUL included */

/* Shortest text that reads back as the same double: plain from 1e-6 to below
 * 1e21, else with an exponent without a plus sign; -0 is "0". Not finite:
 * "NaN", "Infinity", "-Infinity". NUL-terminated; returns the length. */
size_t number_text(double v, char out[NUMBER_TEXT]);
/* As number_text(), but shortest among floats. */
size_t number_text_float(float v, char out[NUMBER_TEXT]);

/* Numeric text of D70: optional sign, digits with an optional point (.5, 5.,
 * 00012), optional exponent. False on anything else: empty, spaces, hex, inf,
 * nan, or a value beyond the range of a double. */
bool number_parse(struct str s, double *out);

/* Length of the number of RFC 8259 that s starts with; 0 if there is none. */
size_t number_json_span(struct str s);
/* Value of text that number_json_span() accepted whole; false beyond the range. */
bool number_json_double(struct str s, double *out);
/* Its exact value when integral ("1.0" and "1e3" are): magnitude and sign.
 * False when it has a fraction or needs more than 64 bits. */
bool number_json_integer(struct str s, bool *negative, uint64_t *magnitude);

#endif
