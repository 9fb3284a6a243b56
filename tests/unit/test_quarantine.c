/* shm/quarantine.c: sentences, repeats, a full table. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "shm/segment_priv.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static struct segment *seg;

static void setup(void)
{
	int fd = segment_create();

	seg = segment_map(fd);
	cr_assert_not_null(seg);
	close(fd);
}

TestSuite(quarantine, .init = setup);

Test(quarantine, second_death_within_a_minute)
{
	static const struct {
		uint64_t gap;
		bool convicted;
	} rows[] = {{0, true}, {SECOND, true}, {MINUTE, true}, {MINUTE + 1, false},
		{10 * MINUTE, false}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t fp = 1000 + i, now = 5 * MINUTE;

		cr_expect_not(quarantine_report(seg, fp, now));
		cr_expect_not(quarantine_has(seg, fp, now));
		cr_expect_eq(quarantine_report(seg, fp, now + rows[i].gap), rows[i].convicted,
			"gap %lu", (unsigned long)rows[i].gap);
		cr_expect_eq(quarantine_has(seg, fp, now + rows[i].gap), rows[i].convicted);
		cr_expect_not(quarantine_has(seg, fp + 100, now + rows[i].gap));
		quarantine_clear(seg);
		cr_expect_not(quarantine_has(seg, fp, now + rows[i].gap));
	}
}

Test(quarantine, doubles)
{
	uint64_t now = MINUTE, length = 10 * MINUTE;

	for (int i = 0; i < 12; i++) {
		cr_expect_not(quarantine_report(seg, 5, now));
		cr_expect(quarantine_report(seg, 5, now + 1));
		now++;
		cr_expect(quarantine_has(seg, 5, now + length - 1));
		cr_expect_not(quarantine_has(seg, 5, now + length), "sentence %d", i);
		now += length + 10 * SECOND;
		if (i < 7)
			length *= 2;
	}
	/* Forgotten after a day of peace. */
	now += 25ull * 60 * MINUTE;
	cr_expect_not(quarantine_report(seg, 5, now));
	cr_expect(quarantine_report(seg, 5, now + 1));
	cr_expect_not(quarantine_has(seg, 5, now + 1 + 10 * MINUTE));
}

/* Calls that were past the check when the fingerprint was put away. */
Test(quarantine, stragglers_do_not_double)
{
	struct quarantine_row row;

	quarantine_report(seg, 5, MINUTE);
	cr_expect(quarantine_report(seg, 5, MINUTE + 1));
	for (int i = 0; i < 20; i++)
		cr_expect_not(quarantine_report(seg, 5, MINUTE + 2));
	cr_expect_eq(quarantine_list(seg, &row, 1, MINUTE + 3), 1);
	cr_expect_eq(row.fingerprint, 5);
	cr_expect_eq(row.until_ms, 11 * MINUTE + 1);
	cr_expect_eq(row.deaths, 22);
	/* One death after the end, near a straggler's, is not two. */
	quarantine_report(seg, 5, 11 * MINUTE);
	cr_expect_not(quarantine_report(seg, 5, 11 * MINUTE + 2));
	cr_expect(quarantine_report(seg, 5, 11 * MINUTE + 3));
}

Test(quarantine, flood_of_single_deaths)
{
	struct quarantine_row rows[QUARANTINE_ROWS];

	for (uint64_t fp = 1; fp <= 10; fp++) {
		quarantine_report(seg, fp, MINUTE);
		quarantine_report(seg, fp, MINUTE);
	}
	for (uint64_t fp = 1000; fp < 2000; fp++)
		quarantine_report(seg, fp, MINUTE + fp);
	cr_expect_eq(quarantine_list(seg, rows, QUARANTINE_ROWS, 2 * MINUTE), 10);
	for (uint64_t fp = 1; fp <= 10; fp++)
		cr_expect(quarantine_has(seg, fp, 2 * MINUTE));
	/* The last ones are remembered: a second death convicts. */
	cr_expect(quarantine_report(seg, 1999, MINUTE + 2000));
	cr_expect_eq(quarantine_list(seg, rows, 3, 2 * MINUTE), 3);
	cr_expect_eq(quarantine_list(seg, rows, QUARANTINE_ROWS, 100 * MINUTE), 0);
}

Test(quarantine, fingerprint)
{
	cr_expect_neq(quarantine_fingerprint(1, 2, 3), quarantine_fingerprint(1, 3, 2));
	cr_expect_neq(quarantine_fingerprint(1, 2, 3), quarantine_fingerprint(2, 2, 3));
	cr_expect_eq(quarantine_fingerprint(1, 2, 3), quarantine_fingerprint(1, 2, 3));
}
