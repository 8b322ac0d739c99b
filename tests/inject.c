// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "inject.h"
#include "lib.h"

#include <fcntl.h>

static const struct {
	const char *folder;
	/* Requests that may sleep are let through unless this says otherwise. */
	const char *sleeping;
} kinds[] = {
	{ "failslab", "ignore-gfp-wait" },
	{ "fail_page_alloc", "ignore-gfp-wait" },
	{ "fail_usercopy", NULL },
};

static void set(const char *folder, const char *file, const char *fmt, ...)
{
	char path[128], text[32];
	va_list args;
	int fd, len;

	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", folder, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		bail("%s: %s: this needs the debug kernel", path,
		     strerror(errno));
	must(write(fd, text, len));
	close(fd);
}

void inject_from(unsigned int what, uint64_t start, uint64_t end, int percent)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool on = what & 1 << i;

		set(kinds[i].folder, "probability", "0");
		/* A range that nothing is in, for what is not to fail. */
		set(kinds[i].folder, "require-start", "%#llx",
		    on ? (unsigned long long)start : 1ull);
		set(kinds[i].folder, "require-end", "%#llx",
		    on ? (unsigned long long)end : 2ull);
		set(kinds[i].folder, "stacktrace-depth", "32");
		set(kinds[i].folder, "verbose", "0");
		set(kinds[i].folder, "task-filter", "N");
		set(kinds[i].folder, "interval", "1");
		set(kinds[i].folder, "times", "-1");
		if (kinds[i].sleeping)
			set(kinds[i].folder, kinds[i].sleeping, "N");
	}
	set("fail_page_alloc", "min-order", "0");
	set("fail_page_alloc", "ignore-gfp-highmem", "N");
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (what & 1 << i)
			set(kinds[i].folder, "probability", "%d", percent);
}

void inject_off(void)
{
	inject_from(0, 0, 0, 0);
}

void inject_module_range(uint64_t *start, uint64_t *end)
{
	unsigned long long address;
	unsigned long size;
	char line[512];
	FILE *f;

	f = fopen("/sys/module/homa/sections/.text", "r");
	if (!f || fscanf(f, "%llx", &address) != 1)
		bail("the module's code is not found");
	fclose(f);
	*start = address;
	*end = 0;
	f = fopen("/proc/modules", "r");
	while (f && fgets(line, sizeof(line), f))
		/* Its data counts in the size, which does no harm. */
		if (sscanf(line, "homa %lu", &size) == 1)
			*end = address + size;
	if (f)
		fclose(f);
	if (!*end)
		bail("the module's size is not found");
}

void inject_function_range(const char *name, uint64_t *start, uint64_t *end)
{
	unsigned long long address;
	char line[512], symbol[256], type;
	FILE *f = fopen("/proc/kallsyms", "r");

	*start = 0;
	*end = ~0ull;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %c %255s", &address, &type, symbol) != 3)
			continue;
		if (!strcmp(symbol, name))
			*start = address;
	}
	if (!*start)
		bail("%s is not found", name);
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		address = strtoull(line, NULL, 16);
		if (address > *start && address < *end)
			*end = address;
	}
	fclose(f);
}

static void write_nth(unsigned int nth)
{
	char text[16];
	int fd = must(open("/proc/thread-self/fail-nth", O_WRONLY | O_CLOEXEC));

	snprintf(text, sizeof(text), "%u", nth);
	must(write(fd, text, strlen(text)));
	close(fd);
}

void inject_nth(unsigned int nth)
{
	write_nth(nth);
}

bool inject_done(void)
{
	unsigned int left = 0;
	char text[16] = "";
	int fd, err = errno;

	fd = must(open("/proc/thread-self/fail-nth", O_RDONLY | O_CLOEXEC));
	must(read(fd, text, sizeof(text) - 1));
	close(fd);
	left = atoi(text);
	if (left)
		write_nth(0);
	errno = err;
	return !left;
}
