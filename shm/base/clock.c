/*
 * The clocks, as plain integers. All four are read through the vDSO, so that
 * asking costs tens of nanoseconds and never a system call.
 */
#include <time.h>

#include "shm/base/clock.h"
#include "shm/base/log.h"

static struct timespec clock_read(clockid_t id)
{
	struct timespec ts;

	/* Fails only for a clock that the kernel does not have. */
	must(clock_gettime(id, &ts) == 0);
	return ts;
}

uint64_t clock_mono_ns(void)
{
	struct timespec ts = clock_read(CLOCK_MONOTONIC);

	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

uint64_t clock_boot_ns(void)
{
	struct timespec ts = clock_read(CLOCK_BOOTTIME);

	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_boot_us(void)
{
	return clock_boot_ns() / 1000;
}

int64_t clock_real_us(void)
{
	struct timespec ts = clock_read(CLOCK_REALTIME);

	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_real_ms(void)
{
	return clock_real_us() / 1000;
}
