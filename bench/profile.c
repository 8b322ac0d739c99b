// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * bench/profile.c - a plugin for qemu (TCG): counts the instructions between two marks by calling context
 *
 * The marks are no-ops with a number in them, which homa-perf executes at the beginning and the end
 * of its measurement (tools/homa-perf/src/mark.rs). In between, every executed block of
 * instructions is charged to the chain of calls that led to it. bench/profile builds this, runs it and
 * gives names to the addresses.
 *
 *	-plugin profile.so,out=FILE
 *
 * FILE gets, at each end mark, one line for each
 *	N id parent entry calls		node of the tree of calls; entry is the function's address
 *	B id address size...		block: where it is and the sizes of its instructions, in bytes
 *	C node block times		how often the block was executed there
 *
 * Call chains come from watching calls and the stack pointer: a call pushes a frame, and a frame is gone
 * when the stack pointer is above it. Each stack (16 KiB, as the kernel's are) has frames of its
 * own, so that context switches and interrupts do no harm. One virtual CPU only.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of qemu's plugin interface, version 7, and of glib, which qemu brings along. */

struct tb;
struct insn;
struct reg;

struct info {
	const char *target;
	struct {
		int min, cur;
	} version;
};

struct reg_descriptor {
	struct reg *handle;
	const char *name;
	const char *feature;
	bool read_only;
};

struct array {
	void *data;
	unsigned int len;
};

#define READ_REGISTERS 1

void qemu_plugin_register_vcpu_init_cb(uint64_t id, void (*cb)(unsigned int cpu, void *data), void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*cb)(void *tb, void *data), void *data);
void qemu_plugin_register_vcpu_tb_exec_cb(struct tb *tb, void (*cb)(unsigned int cpu, void *data), int flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *insn, void (*cb)(unsigned int cpu, void *data),
					    int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct tb *tb);
struct insn *qemu_plugin_tb_get_insn(const struct tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct insn *insn, void *dest, size_t len);
size_t qemu_plugin_insn_size(const struct insn *insn);
struct array *qemu_plugin_get_registers(void);
bool qemu_plugin_read_register(struct reg *handle, struct array *buf);
struct array *g_byte_array_new(void);
struct array *g_byte_array_set_size(struct array *array, unsigned int len);

__attribute__((visibility("default"))) int qemu_plugin_version = 7;

/* A block of instructions with one entry and one exit. */
struct block {
	uint64_t address;
	uint32_t id;
	uint16_t count;
	bool is_call;	/* ends in a call */
	bool is_thunk;	/* begins a retpoline: a call over a few bytes */
	uint8_t *sizes;
	/* Where it was counted last. */
	uint32_t last_node, last_slot;
};

/* A function, called by the function that the parent is. Node 0 is where nothing is known. */
struct node {
	uint32_t parent, first_child, next_sibling;
	uint64_t entry, calls;
};

struct frame {
	uint64_t sp, entry;
	uint32_t node;
	bool thunk;
};

struct stack {
	uint64_t key;
	uint32_t depth;
	struct frame frames[200];
};

/* (node, block) -> times; open addressing, a power of two in size. */
struct count {
	uint32_t node, block;
	uint64_t times;
};

static const char *out;
static bool counting;
static struct reg *sp_register;
static struct array *sp_bytes;

static struct block **blocks;
static uint32_t n_blocks, max_blocks;
static struct node *nodes;
static uint32_t n_nodes, max_nodes;
static struct count *counts;
static uint32_t n_counts, max_counts;
static struct stack **stacks;
static uint32_t n_stacks;

static const struct block *previous;
static struct stack *previous_stack;

static void *grow(void *array, uint32_t used, uint32_t *max, size_t size)
{
	if (used < *max)
		return array;
	*max = *max ? *max * 2 : 4096;
	array = realloc(array, *max * size);
	if (!array)
		abort();
	return array;
}

static uint32_t new_node(uint32_t parent, uint64_t entry)
{
	nodes = grow(nodes, n_nodes, &max_nodes, sizeof(*nodes));
	nodes[n_nodes] = (struct node){ .parent = parent, .entry = entry };
	if (n_nodes) {
		nodes[n_nodes].next_sibling = nodes[parent].first_child;
		nodes[parent].first_child = n_nodes;
	}
	return n_nodes++;
}

static uint32_t child(uint32_t parent, uint64_t entry)
{
	for (uint32_t n = nodes[parent].first_child; n; n = nodes[n].next_sibling)
		if (nodes[n].entry == entry)
			return n;
	return new_node(parent, entry);
}

static uint32_t slot_of(uint32_t node, uint32_t block)
{
	uint32_t slot = (node * 0x9e3779b1u ^ block * 0x85ebca6bu) & (max_counts - 1);

	while (counts[slot].times && (counts[slot].node != node || counts[slot].block != block))
		slot = (slot + 1) & (max_counts - 1);
	return slot;
}

static void charge(uint32_t node, struct block *block)
{
	if (block->last_node == node && counts[block->last_slot].block == block->id &&
	    counts[block->last_slot].node == node) {
		counts[block->last_slot].times++;
		return;
	}
	if (n_counts * 2 >= max_counts) {
		struct count *old = counts;
		uint32_t old_max = max_counts;

		max_counts = old_max ? old_max * 2 : 65536;
		counts = calloc(max_counts, sizeof(*counts));
		if (!counts)
			abort();
		for (uint32_t i = 0; i < old_max; i++)
			if (old[i].times)
				counts[slot_of(old[i].node, old[i].block)] = old[i];
		free(old);
		for (uint32_t i = 0; i < n_blocks; i++)
			blocks[i]->last_node = UINT32_MAX;
	}
	uint32_t slot = slot_of(node, block->id);

	if (!counts[slot].times)
		n_counts++;
	counts[slot].node = node;
	counts[slot].block = block->id;
	counts[slot].times++;
	block->last_node = node;
	block->last_slot = slot;
}

static struct stack *stack_of(uint64_t sp)
{
	uint64_t key = (sp - 1) >> 14;

	if (previous_stack && previous_stack->key == key)
		return previous_stack;
	for (uint32_t i = 0; i < n_stacks; i++)
		if (stacks[i]->key == key)
			return stacks[i];
	stacks = realloc(stacks, (n_stacks + 1) * sizeof(*stacks));
	if (!stacks)
		abort();
	stacks[n_stacks] = calloc(1, sizeof(struct stack));
	if (!stacks[n_stacks])
		abort();
	stacks[n_stacks]->key = key;
	return stacks[n_stacks++];
}

static uint64_t stack_pointer(void)
{
	uint64_t sp = 0;

	g_byte_array_set_size(sp_bytes, 0);
	if (qemu_plugin_read_register(sp_register, sp_bytes) && sp_bytes->len >= sizeof(sp))
		memcpy(&sp, sp_bytes->data, sizeof(sp));
	return sp;
}

static void executed(unsigned int cpu, void *data)
{
	(void)cpu;
	if (!counting)
		return;

	struct block *block = data;
	uint64_t sp = stack_pointer();
	struct stack *stack = stack_of(sp);
	const struct block *from = previous;
	struct stack *from_stack = previous_stack;

	previous = block;
	previous_stack = stack;

	while (stack->depth && sp > stack->frames[stack->depth - 1].sp)
		stack->depth--;
	uint32_t node = stack->depth ? stack->frames[stack->depth - 1].node : 0;

	if (from && from->is_call && from_stack == stack &&
	    stack->depth < sizeof(stack->frames) / sizeof(stack->frames[0])) {
		node = child(node, block->address);
		nodes[node].calls++;
		stack->frames[stack->depth++] = (struct frame){
			.sp = sp, .entry = block->address, .node = node, .thunk = block->is_thunk
		};
	} else if (stack->depth) {
		struct frame *top = &stack->frames[stack->depth - 1];

		/* The retpoline has jumped to where the call was meant to go. */
		if (top->thunk && sp == top->sp && block->address - top->entry > 64) {
			nodes[node].calls--;
			node = child(nodes[node].parent, block->address);
			nodes[node].calls++;
			top->node = node;
			top->thunk = false;
		}
	}
	charge(node, block);
}

static void began(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	counting = true;
}

static void ended(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (!counting)
		return;
	counting = false;
	FILE *file = fopen(out, "w");

	if (!file) {
		perror(out);
		return;
	}
	for (uint32_t i = 0; i < n_nodes; i++)
		fprintf(file, "N %u %u %" PRIx64 " %" PRIu64 "\n", i, nodes[i].parent, nodes[i].entry,
			nodes[i].calls);
	for (uint32_t i = 0; i < max_counts; i++)
		if (counts[i].times)
			fprintf(file, "C %u %u %" PRIu64 "\n", counts[i].node, counts[i].block, counts[i].times);
	for (uint32_t i = 0; i < n_blocks; i++) {
		fprintf(file, "B %u %" PRIx64, i, blocks[i]->address);
		for (uint32_t k = 0; k < blocks[i]->count; k++)
			fprintf(file, " %u", blocks[i]->sizes[k]);
		fputc('\n', file);
	}
	fclose(file);
}

static bool ends_in_call(const uint8_t *code, size_t len)
{
	/* Prefixes: segment, operand size, bnd, REX. */
	while (len > 1 && (*code == 0x2e || *code == 0x3e || *code == 0x66 || *code == 0xf2 ||
			   (*code & 0xf0) == 0x40)) {
		code++;
		len--;
	}
	return code[0] == 0xe8 || (len > 1 && code[0] == 0xff && (code[1] & 0x38) == 0x10);
}

/*
 * Early releases with version 7 of the interface pass an id and the block, later ones the block and our
 * data.
 */
static void translated(void *first, void *second)
{
	struct tb *tb = second == &out ? first : second;
	size_t count = qemu_plugin_tb_n_insns(tb);
	struct block *block = calloc(1, sizeof(*block));

	blocks = grow(blocks, n_blocks, &max_blocks, sizeof(struct block *));
	if (!block || !(block->sizes = malloc(count)))
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->count = count;
	block->last_node = UINT32_MAX;
	block->id = n_blocks;
	blocks[n_blocks++] = block;

	for (size_t i = 0; i < count; i++) {
		struct insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t code[16] = { 0 };
		size_t len = qemu_plugin_insn_data(insn, code, sizeof(code));
		static const uint8_t mark[] = { 0x0f, 0x1f, 0x80 }, number[] = { 0x6d, 0x6f, 0x68 };

		block->sizes[i] = qemu_plugin_insn_size(insn);
		if (len == 7 && !memcmp(code, mark, 3) && !memcmp(code + 4, number, 3))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, code[3] == 1 ? began : ended, 0, NULL);
		if (i == 0)
			block->is_thunk = len == 5 && code[0] == 0xe8 && code[1] < 64 && !code[2] &&
					  !code[3] && !code[4];
		if (i == count - 1)
			block->is_call = ends_in_call(code, len);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, READ_REGISTERS, block);
}

static void cpu_ready(unsigned int cpu, void *data)
{
	struct array *registers = qemu_plugin_get_registers();
	const struct reg_descriptor *descriptor = registers->data;

	(void)cpu;
	(void)data;
	for (unsigned int i = 0; i < registers->len; i++)
		if (!strcmp(descriptor[i].name, "rsp"))
			sp_register = descriptor[i].handle;
	sp_bytes = g_byte_array_new();
	if (!sp_register) {
		fprintf(stderr, "profile.so: this CPU has no register rsp\n");
		abort();
	}
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const struct info *info, int argc,
							       char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = argv[i] + 4;
	if (!out) {
		fprintf(stderr, "profile.so: out=FILE is missing\n");
		return 1;
	}
	new_node(0, 0);
	qemu_plugin_register_vcpu_init_cb(id, cpu_ready, NULL);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated, &out);
	return 0;
}
