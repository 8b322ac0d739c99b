/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Failing allocations and copies on purpose, with the fault injection of a debug
 * kernel (Documentation/fault-injection). Only what the module does fails: what
 * has a function of the module, or another range of the kernel's code, among
 * its callers.
 */
#ifndef HOMA_TESTS_INJECT_H
#define HOMA_TESTS_INJECT_H

#include <stdbool.h>
#include <stdint.h>

enum {
	INJECT_SLAB = 1,	/* kmalloc and the like */
	INJECT_PAGES = 2,	/* whole pages */
	INJECT_COPIES = 4,	/* to and from the memory of programs */
};

/*
 * What is to fail from now on in callees of the code from @start to before
 * @end: by inject_nth(), and with @percent of probability everywhere else,
 * softirqs included.
 */
void inject_from(unsigned int what, uint64_t start, uint64_t end, int percent);

/* Nothing fails any more. */
void inject_off(void);

/* The module's own code. */
void inject_module_range(uint64_t *start, uint64_t *end);

/* A function of the kernel. */
void inject_function_range(const char *name, uint64_t *start, uint64_t *end);

/*
 * Of what the calling thread does from now on, the @nth thing that can fail
 * fails, once.
 */
void inject_nth(unsigned int nth);

/* Ends that; whether it came to that. */
bool inject_done(void);

#endif
