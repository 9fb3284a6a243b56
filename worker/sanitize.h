/* Defines WORKER_ASAN when built with the address sanitizer; gcc and clang say
 * it in different ways. */
#ifndef WORKER_SANITIZE_H
#define WORKER_SANITIZE_H

#if defined(__SANITIZE_ADDRESS__)
#define WORKER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WORKER_ASAN 1
#endif
#endif

#endif
