/* Defines WORKER_ASAN when built with the address sanitizer, WORKER_TSAN with the thread
 * sanitizer; gcc and clang say it in different ways. */
#ifndef WORKER_SANITIZE_H
#define WORKER_SANITIZE_H

#if defined(__SANITIZE_ADDRESS__)
#define WORKER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define WORKER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WORKER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define WORKER_TSAN 1
#endif
#endif

#endif
