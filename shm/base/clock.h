/* Clocks. Monotonic for durations, boot time for rate limits (keeps running in
 * suspend, same for all processes), real time only for what people see. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
uint64_t clock_boot_ns(void);
uint64_t clock_boot_us(void);
int64_t clock_real_us(void);
int64_t clock_real_ms(void);

#endif
