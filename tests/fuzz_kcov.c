// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A fuzzer of the module that sees where in it an input gets (KCOV): inputs are
 * sequences of system calls on sockets of two hosts and of what happens to the
 * packets between them. Those that reach something new are kept and changed
 * further. Nothing may crash, hang, leak, or be reported by the kernel;
 * afterwards everything works.
 *
 *	fuzz_kcov [SECONDS [SEED [FOLDER]]]	60 seconds
 *	fuzz_kcov --run FILE			one input, printed
 *
 * What is kept is read from and written to FOLDER. The input that runs is
 * FOLDER/current, so that it is there if the machine dies; one that the kernel
 * reported is FOLDER/report-N. A seed repeats a run as far as timers and the
 * kernel's random numbers allow; a file always is the same input. It needs a
 * debug kernel, see scripts/debug-kernel.
 */
#include "fuzz_kcov.h"
#include "lib.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcov.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define COVER_SIZE (1 << 18)	/* program counters of one input */
#define EDGES (1 << 18)
#define CORPUS 4096

static unsigned long *cover;
static uint8_t edges[EDGES / 8];
static unsigned long edge_count, blocks;
static struct input *corpus[CORPUS];
static unsigned int corpus_size;
static uint64_t state;

static uint64_t below(uint64_t n)
{
	return mix(state++) % n;
}

static void open_kcov(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		bail("no KCOV: this needs the debug kernel");
	must(ioctl(fd, KCOV_INIT_TRACE, COVER_SIZE));
	cover = mmap(NULL, COVER_SIZE * sizeof(*cover), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED)
		bail("mmap of KCOV: %s", strerror(errno));
	must(ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC));
}

/* Runs it; how many edges nobody has seen before. */
static unsigned int measure(const struct input *input)
{
	unsigned long i, count, last = 0;
	unsigned int fresh = 0;

	__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
	run_input(input);
	count = __atomic_load_n(&cover[0], __ATOMIC_RELAXED);
	blocks += count;
	for (i = 1; i <= count && i < COVER_SIZE; i++) {
		uint32_t edge = mix(cover[i] ^ last << 20) % EDGES;

		last = cover[i];
		if (edges[edge / 8] & 1 << edge % 8)
			continue;
		edges[edge / 8] |= 1 << edge % 8;
		fresh++;
	}
	edge_count += fresh;
	return fresh;
}

static void write_file(const char *folder, const char *name, const struct input *input)
{
	char path[512];
	int fd;

	if (!folder)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = must(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	must(write(fd, input, sizeof(*input)));
	close(fd);
}

static bool read_input(const char *path, struct input *input)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool whole = fd >= 0 &&
		     read(fd, input, sizeof(*input)) == sizeof(*input) &&
		     input->count <= MAX_OPS;

	if (fd >= 0)
		close(fd);
	return whole;
}

static void keep(const struct input *input, const char *folder)
{
	char name[32];

	if (corpus_size == CORPUS)
		return;
	corpus[corpus_size] = malloc(sizeof(*input));
	*corpus[corpus_size] = *input;
	snprintf(name, sizeof(name), "input-%04u", corpus_size++);
	write_file(folder, name, input);
}

/* What an earlier run kept, as far as it still reaches something of its own. */
static void load(const char *folder)
{
	static struct input inputs[CORPUS];
	unsigned int count = 0, i;
	struct dirent *entry;
	char path[512];
	DIR *dir;

	dir = folder ? opendir(folder) : NULL;
	while (dir && (entry = readdir(dir)) && count < CORPUS) {
		if (strncmp(entry->d_name, "input-", 6))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (read_input(path, &inputs[count]))
			count++;
		unlink(path);
	}
	if (dir)
		closedir(dir);
	for (i = 0; i < count; i++)
		if (measure(&inputs[i]))
			keep(&inputs[i], folder);
	diag("%u of %u inputs of earlier runs kept, %lu edges", corpus_size, count, edge_count);
}

static struct op random_op(void)
{
	return (struct op){ below(op_kinds), below(256), below(256), below(256), mix(state++) };
}

static void change_op(struct op *op)
{
	switch (below(8)) {
	case 0:
		*op = random_op();
		break;
	case 1:
		op->a = below(256);
		break;
	case 2:
		op->b = below(256);
		break;
	case 3:
		op->c = below(256);
		break;
	case 4:
		op->d = mix(state++);
		break;
	case 5:
		op->d ^= 1u << below(32);
		break;
	case 6:
		op->b ^= 1 << below(8);
		break;
	default:
		op->c += below(9) - 4;
	}
}

static void insert(struct input *input, unsigned int at, struct op op)
{
	if (input->count == MAX_OPS)
		return;
	memmove(&input->ops[at + 1], &input->ops[at], (input->count - at) * sizeof(op));
	input->ops[at] = op;
	input->count++;
}

static void mutate(struct input *input)
{
	unsigned int rounds = 1 + below(6), at, from;
	const struct input *other;

	while (rounds--) {
		at = below(input->count + 1);
		switch (below(6)) {
		case 0:
			insert(input, at, random_op());
			break;
		case 1:
			if (at < input->count && input->count > 1) {
				memmove(&input->ops[at], &input->ops[at + 1],
					(input->count - at - 1) * sizeof(struct op));
				input->count--;
			}
			break;
		case 2:			/* goes on as another does */
			other = corpus[below(corpus_size)];
			from = below(other->count + 1);
			while (from < other->count && at < MAX_OPS)
				input->ops[at++] = other->ops[from++];
			if (at > input->count)
				input->count = at;
			break;
		case 3:			/* a step twice */
			if (at < input->count)
				insert(input, at, input->ops[at]);
			break;
		default:
			if (at < input->count)
				change_op(&input->ops[at]);
		}
	}
}

/* A round trip, and a sealed one: from there on it need not be guessed. */
static const struct input seeds[] = {
	{ 7, { { 0, 0, 0, 1, 1000 }, { 6 }, { 2, 1 }, { 4, 1, 0, 0, 1000 }, { 6 },
	       { 2, 0 }, { 6 } } },
	{ 8, { { 15, 0 }, { 0, 0, 0, 1, 1000 }, { 6 }, { 2, 1 },
	       { 4, 1, 0, 0, 3000 }, { 6 }, { 2, 0 }, { 6 } } },
	{ 8, { { 15, 4 }, { 0, 4, 0, 1, 0x80000009 }, { 6 }, { 6 }, { 2, 5 },
	       { 4, 5, 0, 0, 3000 }, { 6 }, { 2, 4 } } },
	{ 4, { { 0, 2, 0, 1, 0x8000000a }, { 10, 1, 0, 28 }, { 6 }, { 2, 3 } } },
};

static int taint(void)
{
	static int fd = -1;
	char text[16] = "";

	if (fd < 0)
		fd = must(open("/proc/sys/kernel/tainted", O_RDONLY | O_CLOEXEC));
	must(pread(fd, text, sizeof(text) - 1, 0));
	return atoi(text);
}

static void fuzz(unsigned int seconds, const char *folder)
{
	uint64_t end = now_ms() + seconds * 1000ull, next = now_ms() + 20000;
	unsigned int reports = 0;
	unsigned long runs = 0;
	int before = taint();
	struct input input;
	size_t i;

	load(folder);
	for (i = 0; i < ARRAY_SIZE(seeds); i++)
		if (measure(&seeds[i]))
			keep(&seeds[i], folder);
	if (!corpus_size)
		bail("no input reaches anything: is the module built for KCOV?");
	for (; now_ms() < end; runs++) {
		/* Half of the time one of the newest. */
		i = corpus_size < 16 || below(2) ? below(corpus_size) :
						   corpus_size - 1 - below(16);
		input = *corpus[i];
		mutate(&input);
		write_file(folder, "current", &input);
		if (measure(&input))
			keep(&input, folder);
		if (taint() != before) {
			char name[32];

			snprintf(name, sizeof(name), "report-%u", ++reports);
			write_file(folder, name, &input);
			diag("the kernel reported something after this input (%s):", name);
			print_input(&input);
			before = taint();
		}
		if (now_ms() >= next) {
			diag("%lu inputs, %u kept, %lu edges", runs, corpus_size, edge_count);
			next += 20000;
		}
	}
	ok(runs > seconds / 2, "%lu inputs in %u s", runs, seconds);
	diag("%u kept, %lu edges, %lu blocks; %lu calls, %lu without error",
	     corpus_size, edge_count, blocks, calls_made, calls_good);
	ok(edge_count > 1000 && corpus_size > 20, "they get further and further");
	ok(!reports, "the kernel reported nothing");
	is(errnos_odd, 0, "no errno from inside the kernel");
}

static void still_works(int family)
{
	int cfd = open_socket(&client, family), sfd = open_server(&server, family, 99);
	static char buf[HOMA_MAX_MESSAGE_LENGTH];
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;
	bool good;

	must(request(cfd, &to, buf, 3000, 1));
	wire_settle();
	good = receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc) == 3000 &&
	       reply(sfd, &rpc, buf, 5000) == 5000;
	wire_settle();
	good = good && receive(cfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc) == 5000;
	ok(good, "afterwards %s works", family_name(family));
	close(cfd);
	close(sfd);
}

int main(int argc, char **argv)
{
	unsigned long long seed = time(NULL);
	int seconds = 60;
	struct input one;

	if (argc == 3 && !strcmp(argv[1], "--run")) {
		setup(60);
		if (!read_input(argv[2], &one))
			bail("%s is no input", argv[2]);
		wire_setup();
		open_kcov();
		print_input(&one);
		ok(measure(&one), "it ran");
	} else {
		if (argc > 1)
			seconds = atoi(argv[1]);
		if (argc > 2)
			seed = strtoull(argv[2], NULL, 0);
		setup(seconds + 120);
		state = mix(seed);
		diag("%d s, seed %llu", seconds, seed);
		wire_setup();
		open_kcov();
		fuzz(seconds, argc > 3 ? argv[3] : NULL);
		still_works(AF_INET);
		still_works(AF_INET6);
	}
	check_clean();
	wire_remove();
	return tap_end();
}
