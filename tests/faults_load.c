// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every allocation that the module makes while it is loaded fails, one after
 * the other: insmod says ENOMEM (or ENOBUFS, which is what proto_register()
 * makes of it), nothing is left over, and at last it loads.
 * It needs a debug kernel, see scripts/debug-kernel.
 */
#include "inject.h"
#include "lib.h"

#include <fcntl.h>
#include <sys/syscall.h>

int main(void)
{
	const char *path = getenv("HOMA_MODULE") ?: "target/kmod/homa.ko";
	unsigned int nth, odd = 0;
	uint64_t start, end;
	const char *wrong;
	int fd, cfd, sfd;
	bool hit = true;
	union addr to;
	long ret = -1;

	setup(300);
	/* The code's place is not known before; but who calls it is. */
	inject_function_range("do_one_initcall", &start, &end);
	must(syscall(SYS_delete_module, "homa", O_NONBLOCK));
	inject_from(INJECT_SLAB | INJECT_PAGES, start, end, 0);
	for (nth = 1; hit && nth < 1000; nth++) {
		int err;

		fd = must(open(path, O_RDONLY | O_CLOEXEC));
		inject_nth(nth);
		ret = syscall(SYS_finit_module, fd, "", 0);
		err = errno;
		hit = inject_done();
		close(fd);
		if (ret && err != ENOMEM && err != ENOBUFS) {
			diag("fault %u: %s", nth, strerrorname_np(err));
			odd++;
		}
		if (!ret && hit)
			/* It does without that. */
			must(syscall(SYS_delete_module, "homa", O_NONBLOCK));
	}
	inject_off();
	ok(!odd && nth > 10, "each allocation fails, with the errno for that");
	diag("%u faults", nth - 2);
	is(ret, 0, "the module loads at last");

	cfd = open_socket(&client, AF_INET);
	sfd = open_server(&server, AF_INET, 99);
	to = addr_of(&server, AF_INET, 99);
	wrong = round_trip(cfd, sfd, &to, 300000, 300000);
	ok(!wrong, "and works");
	if (wrong)
		diag("%s", wrong);
	close(cfd);
	close(sfd);
	check_clean();
	return tap_end();
}
