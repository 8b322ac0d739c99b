// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "tap.h"

int tap_run, tap_failed;

void diag(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# ");
	vprintf(fmt, args);
	printf("\n");
	fflush(stdout);
	va_end(args);
}

void bail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("Bail out! ");
	vprintf(fmt, args);
	printf("\n");
	fflush(stdout);
	va_end(args);
	_Exit(99);
}

static void result(bool good, const char *fmt, va_list args)
{
	tap_run++;
	tap_failed += !good;
	printf("%sok %d - ", good ? "" : "not ", tap_run);
	vprintf(fmt, args);
	printf("\n");
	fflush(stdout);
}

bool tap_ok(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	result(good, fmt, args);
	va_end(args);
	if (!good)
		diag("at %s:%d", file, line);
	return good;
}

bool tap_is(long long got, long long want, const char *file, int line,
	    const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	result(got == want, fmt, args);
	va_end(args);
	if (got != want)
		diag("at %s:%d: got %lld, expected %lld", file, line, got, want);
	return got == want;
}

bool tap_errno(long got, int err, int want, const char *file, int line,
	       const char *fmt, ...)
{
	bool good = got == -1 && err == want;
	va_list args;

	va_start(args, fmt);
	result(good, fmt, args);
	va_end(args);
	if (!good && got == -1)
		diag("at %s:%d: errno is %s, expected %s", file, line,
		     strerrorname_np(err), strerrorname_np(want));
	else if (!good)
		diag("at %s:%d: returned %ld, expected -1 with %s", file, line,
		     got, strerrorname_np(want));
	return good;
}

int tap_end(void)
{
	printf("1..%d\n", tap_run);
	printf("# %d passed, %d failed\n", tap_run - tap_failed, tap_failed);
	fflush(stdout);
	return tap_failed || !tap_run;
}
