/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The parts of fuzz_kcov: what an input is, running one, the wire. */
#ifndef HOMA_TESTS_FUZZ_KCOV_H
#define HOMA_TESTS_FUZZ_KCOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One step of an input. What a, b, c and d mean depends on the kind; every
 * value of each means something.
 */
struct op {
	uint8_t kind, a, b, c;
	uint32_t d;
};

#define MAX_OPS 40

struct input {
	uint32_t count;
	struct op ops[MAX_OPS];
};

/* fuzz_exec.c */

/* Runs it on fresh sockets, and closes them. */
void run_input(const struct input *input);

/* As text, for whoever looks at what failed. */
void print_input(const struct input *input);

extern unsigned int op_kinds;
extern unsigned long calls_made, calls_good, errnos_odd;

/*
 * fuzz_wire.c: two namespaces, each with a tap device, and this program between
 * them. What a host sent waits in a queue for the other until it is delivered,
 * if it is.
 */

#define QUEUE 64
#define FRAME 2048

void wire_setup(void);
void wire_remove(void);

/* Takes what the hosts have sent into the queues. */
void wire_collect(void);

/* Delivers the next @count frames to host @to (0 or 1). */
void wire_deliver(int to, unsigned int count);

/* Delivers all there is, answers included, as long as it does not go on for ever. */
void wire_settle(void);

void wire_drop(int to);
void wire_swap(int to);
void wire_clear(void);

/*
 * Once more, a frame of some time ago; or, with @reflect, the other half of an
 * RPC made of it.
 */
void wire_repeat(int to, unsigned int which, bool reflect);

/* A packet of the module's protocol, all but the IP header, from the other. */
void wire_craft(int to, int family, const void *packet, size_t len);

/* Changes the protocol's part of the next frame: @how, at @where. */
void wire_mutate(int to, unsigned int how, unsigned int where, uint32_t value);

/* The sender id of a frame that was seen @ago. */
uint64_t wire_id(unsigned int ago);

#endif
