/* Text forms of the well-known types that are written as one JSON string. */
#ifndef PROTO_WKT_H
#define PROTO_WKT_H

#include "shm/base/arena.h"

enum { WKT_TEXT = 40 }; /* room for any timestamp or duration as text */

/* Range of google.protobuf.Timestamp: years 0001 to 9999. */
#define WKT_MIN_SECONDS (-62135596800LL)
#define WKT_MAX_SECONDS 253402300799LL
/* Range of google.protobuf.Duration: about 10 000 years either way. */
#define WKT_MAX_DURATION 315576000000LL

/* Whether it has a text form: in range, and for durations of one sign. */
bool wkt_timestamp_ok(int64_t seconds, int32_t nanos);
bool wkt_duration_ok(int64_t seconds, int32_t nanos);
/* RFC 3339 with upper-case T and Z, up to nine digits of a second, any offset. */
bool wkt_timestamp_parse(struct str s, int64_t *seconds, int32_t *nanos);
/* UTC with 0, 3, 6 or 9 digits; NUL-terminated. Length, or 0 when out of range. */
size_t wkt_timestamp_text(int64_t seconds, int32_t nanos, char out[WKT_TEXT]);
/* "1.5s", "-0.001s". */
bool wkt_duration_parse(struct str s, int64_t *seconds, int32_t *nanos);
/* Length, or 0 when out of range or when the signs differ. */
size_t wkt_duration_text(int64_t seconds, int32_t nanos, char out[WKT_TEXT]);
/* One path of a FieldMask: lowerCamelCase to snake_case and back; false when it
 * would not come back the same. */
bool wkt_path_to_snake(struct str camel, struct buf *out);
bool wkt_path_to_camel(struct str snake, struct buf *out);

/* Milliseconds, cut down; far outside the years 1-9999 they saturate. */
int64_t wkt_to_ms(int64_t seconds, int32_t nanos);
void wkt_of_ms(int64_t ms, int64_t *seconds, int32_t *nanos);
/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. */
int64_t wkt_days(int64_t year, unsigned month, unsigned day);
/* Its inverse. */
void wkt_date(int64_t days, int64_t *year, unsigned *month, unsigned *day);

#endif
