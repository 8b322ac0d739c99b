/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A small TAP producer (https://testanything.org, as kselftest uses it).
 *
 * A program calls ok() and friends any number of times and ends with
 * "return tap_end();", which prints the plan and is 0 only if everything
 * passed. A program that dies in between prints no plan, so its runner sees
 * that; a check that cannot be made here is a failure, not a skip.
 *
 * __printf and __maybe_unused are the kernel's; the Makefile defines them.
 */
#ifndef HOMA_TESTS_TAP_H
#define HOMA_TESTS_TAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int tap_run, tap_failed;

/* Prints a comment line ("# ..."). */
__printf(1, 2) void diag(const char *fmt, ...);

/* Ends the program at once, as a failure of the whole suite. */
__printf(1, 2) _Noreturn void bail(const char *fmt, ...);

/* One check; returns @good. */
__printf(4, 5) bool tap_ok(bool good, const char *file, int line,
			   const char *fmt, ...);

/* "@got is @want", with both printed when they differ. */
__printf(5, 6) bool tap_is(long long got, long long want, const char *file,
			   int line, const char *fmt, ...);

/* A system call returned @got and left @err: it must be -1 and @want. */
__printf(6, 7) bool tap_errno(long got, int err, int want, const char *file,
			      int line, const char *fmt, ...);

int tap_end(void);

#define ok(good, ...) tap_ok(good, __FILE__, __LINE__, __VA_ARGS__)
#define is(got, want, ...) \
	tap_is(got, want, __FILE__, __LINE__, __VA_ARGS__)

/* fails(call, EINVAL, "name"): the call returns -1 with this errno. */
#define fails(call, want, ...) \
({ \
	errno = 0; \
	long ret_ = (call); \
	tap_errno(ret_, errno, want, __FILE__, __LINE__, __VA_ARGS__); \
})

/* must(call): setup that has nothing to do with what is tested. */
#define must(call) \
({ \
	long ret_ = (call); \
	if (ret_ < 0) \
		bail("%s:%d: %s: %s", __FILE__, __LINE__, #call, \
		     strerror(errno)); \
	ret_; \
})

#endif
