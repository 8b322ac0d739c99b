// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Round trips of every size where packets, segments, records or pages begin a
 * new one, with contents checked on both sides, over IPv4 and IPv6.
 *
 *	basic [--sealed]
 */
#include "lib.h"

/* 1399 to 1500, byte by byte, surround what fits in one packet: see main(). */
static const size_t sizes[] = {
	1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 1000,
	2799, 2800, 2801, 2839, 2840, 2841, 4095, 4096, 4097, 8192,
	16383 - 8, 16384 - 8, 16385 - 8, 16383, 16384, 16385, 32768, 60000,
	65535, 65536, 65537, 100000, 131072, 131073, 500000, 999999, 1000000,
};

static void test_family(int family, bool sealed)
{
	int sfd = open_server(&server, family, 99);
	int cfd = open_socket(&client, family);
	union addr to = addr_of(&server, family, 99);
	const char *name = family_name(family), *wrong;
	uint64_t start;
	size_t i, size;

	if (sealed)
		seal(cfd, &client, sfd, &server, family);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		start = now_ms();
		wrong = round_trip(cfd, sfd, &to, sizes[i], sizes[i]);
		ok(!wrong, "%s: %zu bytes both ways", name, sizes[i]);
		if (wrong)
			diag("%s", wrong);
		if (now_ms() - start > 1000)
			diag("took %d ms", (int)(now_ms() - start));
	}

	wrong = NULL;
	for (size = 1399; size <= 1500 && !wrong; size++)
		wrong = round_trip(cfd, sfd, &to, size, size);
	ok(!wrong, "%s: 1399 to 1500 bytes both ways", name);
	if (wrong)
		diag("%zu bytes: %s", size - 1, wrong);

	wrong = round_trip(cfd, sfd, &to, 1, 1000000);
	ok(!wrong, "%s: small request, large response", name);
	if (wrong)
		diag("%s", wrong);
	wrong = round_trip(cfd, sfd, &to, 1000000, 1);
	ok(!wrong, "%s: large request, small response", name);
	if (wrong)
		diag("%s", wrong);

	start = now_ms();
	wrong = NULL;
	for (i = 0; i < 300 && !wrong; i++)
		wrong = round_trip(cfd, sfd, &to, 1 + mix(i) % 3000,
				   1 + mix(~i) % 3000);
	ok(!wrong, "%s: 300 small RPCs, one after the other", name);
	if (wrong)
		diag("RPC %zu: %s", i, wrong);
	diag("300 RPCs took %d ms", (int)(now_ms() - start));

	close(cfd);
	close(sfd);
}

int main(int argc, char **argv)
{
	bool sealed = argc == 2 && !strcmp(argv[1], "--sealed");
	unsigned long long bad;

	if (argc > 1 && !sealed) {
		fprintf(stderr, "usage: basic [--sealed]\n");
		return 2;
	}
	setup(240);
	bad = counter(&server, "TlsDecryptError");
	test_family(AF_INET, sealed);
	test_family(AF_INET6, sealed);
	if (sealed) {
		is(counter(&server, "TlsDecryptError"), bad, "no record failed");
		ok(counter(&server, "TlsRxSw"), "there were sessions");
	}
	check_clean();
	return tap_end();
}
