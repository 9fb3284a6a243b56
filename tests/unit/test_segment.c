/* shm/segment.c: sealed, of one size, refused when it is not ours. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/options.h"
#include "shm/segment_priv.h"
#include "shm/tail.h"

Test(segment, create_and_share)
{
	int fd = segment_create();
	struct segment *a, *b;

	cr_assert_geq(fd, 0);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	a = segment_map(fd);
	b = segment_map(fd);
	cr_assert(a && b && a != b);
	atomic_store(&segment_slot(a, 127)->pid, 4711);
	cr_expect_eq(atomic_load(&segment_slot(b, 127)->pid), 4711);
	segment_unmap(a);
	segment_unmap(b);
	segment_unmap(NULL);
	close(fd);
}

Test(segment, sealed)
{
	int fd = segment_create();

	cr_expect_eq(ftruncate(fd, 0), -1);
	cr_expect_eq(ftruncate(fd, 1 << 30), -1);
	cr_expect_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

Test(segment, seeds_differ)
{
	int fds[2] = {segment_create(), segment_create()};
	struct segment *a = segment_map(fds[0]), *b = segment_map(fds[1]);

	cr_expect_neq(a->head.seed[0], b->head.seed[0]);
	cr_expect_neq(a->head.seed[1], a->head.seed[0]);
}

/* Breaks one thing of a good segment; it must then be refused. */
Test(segment, refuses_others)
{
	static const struct {
		const char *what;
		size_t offset;
	} rows[] = {
		{"magic", offsetof(struct segment_head, magic)},
		{"layout", offsetof(struct segment_head, layout)},
		{"size", offsetof(struct segment_head, size)},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = segment_create();
		struct segment *seg = segment_map(fd);

		((unsigned char *)seg)[rows[i].offset] ^= 1;
		errno = 0;
		cr_expect_null(segment_map(fd), "%s", rows[i].what);
		cr_expect_eq(errno, EPROTO, "%s", rows[i].what);
		segment_unmap(seg);
		close(fd);
	}
}

Test(segment, refuses_other_files)
{
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	cr_expect_null(segment_map(fd));
	cr_expect_eq(errno, EPROTO);
	cr_assert_eq(ftruncate(fd, sizeof(struct segment)), 0);
	cr_expect_null(segment_map(fd));
	cr_expect_eq(errno, EPROTO);
	close(fd);
	cr_expect_null(segment_map(fd));
	cr_expect_eq(errno, EBADF);
}

Test(segment, directory)
{
	int fd = segment_create();
	struct segment *seg = segment_map(fd);
	uint64_t end = 0;

	cr_expect_eq(seg->head.regions, 12);
	for (uint64_t i = 0; i < seg->head.regions; i++) {
		const struct segment_region *r = &seg->head.region[i];

		cr_expect_geq(r->offset, end, "%s", r->name);
		cr_expect_eq(r->offset % 64, 0);
		end = r->offset + r->size;
	}
	cr_expect_leq(end, seg->head.size);
}

/* Idle memory: a fresh segment costs its first page, not its 10 MB. */
Test(segment, lazy)
{
	int fd = segment_create();
	struct segment *seg = segment_map(fd);
	struct method_stat m;
	struct stat st;

	stat_read(seg, 3, &m);
	counter_add(seg, 2, CTR_requests, 1);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect(st.st_blocks * 512 < 64 * 1024, "%ld", (long)st.st_blocks * 512);
	cr_expect(quarantine_has(seg, 1, 1) == false);
}

Test(segment, layout_is_constant)
{
	cr_expect_eq(segment_layout(), segment_layout());
	cr_expect_neq(segment_layout(), 0);
}

/* What was seen last, and when it is too much or too long. */
Test(segment, tail)
{
	static const struct options o = {.tail_events = 10, .tail_age = 2000, .seal_age = 1000};
	int fd = segment_create();
	struct segment *seg = segment_map(fd);
	struct tail t = tail_get(seg);

	cr_expect_not(tail_over(&t, &o, 1000000000), "nobody has looked");
	tail_put(seg, &(struct tail){.events = 10, .oldest_us = 5000000, .seen_us = 6000000});
	t = tail_get(seg);
	cr_expect_eq(tail_age_us(&t, 4000000), 0, "older than what the clock says");
	cr_expect_eq(tail_age_us(&t, 7000000), 2000000, "it grows though nobody looks");
	cr_expect_not(tail_over(&t, &o, 8000000));
	cr_expect(tail_over(&t, &o, 8000001));
	t.events = 11;
	cr_expect(tail_over(&t, &o, 6000000));
	t = (struct tail){.seen_us = 6000000};
	cr_expect_eq(tail_age_us(&t, 9000000), 0);
	cr_expect_not(tail_over(&t, &o, 9000000));
	segment_unmap(seg);
	close(fd);
}
