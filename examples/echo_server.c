// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Answers every request with its own bytes. The whole of a Homa server is in
 * serve_one(): receive a message, send one with the same control message.
 */
#include <errno.h>
#include <linux/homa.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake.h"

static const char usage[] =
"usage: echo_server [-6] [-s FILE] PORT\n"
"\n"
"Answers Homa requests to PORT (1 to 32767) with what they contain.\n"
"\n"
"  -6       over IPv6\n"
"  -s FILE  sealed: only for clients that know the secret in FILE\n"
"  -q       do not print a line for each request\n"
"  -h       print this\n";

static char buf[HOMA_MAX_MESSAGE_LENGTH];
static int quiet;

static void fail(const char *what)
{
	fprintf(stderr, "echo_server: %s: %s\n", what, strerror(errno));
	if (errno == EPROTONOSUPPORT)
		fprintf(stderr, "Is the module loaded? (insmod homa.ko)\n");
	exit(1);
}

static void serve_one(int fd)
{
	struct sockaddr_storage peer;
	/* Comes with a message and says which RPC it is: see linux/homa.h. */
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct homa_rpc_cmsg))];
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct msghdr msg = {
		.msg_name = &peer,
		.msg_namelen = sizeof(peer),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct homa_rpc_cmsg *rpc = (void *)CMSG_DATA(&control.header);
	ssize_t len;

	len = recvmsg(fd, &msg, 0);
	if (len < 0) {
		if (errno != EINTR && errno != EAGAIN)
			fprintf(stderr, "recvmsg: %s\n", strerror(errno));
		return;
	}
	if (!quiet)
		printf("request %llu: %zd bytes, %s\n",
		       (unsigned long long)rpc->id, len,
		       rpc->flags & HOMA_CMSG_SEALED ? "sealed" : "plain");

	/* Name, control message and bytes are all still in place. */
	iov.iov_len = len;
	if (sendmsg(fd, &msg, 0) < 0)
		fprintf(stderr, "sendmsg: %s\n", strerror(errno));
}

int main(int argc, char **argv)
{
	struct sockaddr_storage addr = {};
	unsigned char secret[1024];
	struct pollfd fds[2] = { { .fd = -1, .events = POLLIN },
				 { .fd = -1, .events = POLLIN } };
	int family = AF_INET, option, port, one = 1;
	size_t secret_len = 0;

	while ((option = getopt(argc, argv, "6s:qh")) >= 0) {
		if (option == '6') {
			family = AF_INET6;
		} else if (option == 's') {
			secret_len = read_secret(optarg, secret);
		} else if (option == 'q') {
			quiet = 1;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (optind != argc - 1) {
		fputs(usage, stderr);
		return 2;
	}
	port = atoi(argv[optind]);
	if (port < 1 || port >= HOMA_MIN_DEFAULT_PORT) {
		fprintf(stderr, "echo_server: a server's port is 1 to %d\n",
			HOMA_MIN_DEFAULT_PORT - 1);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);

	fds[0].fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA);
	if (fds[0].fd < 0)
		fail("socket");
	addr.ss_family = family;
	((struct sockaddr_in *)&addr)->sin_port = htons(port);
	if (bind(fds[0].fd, (struct sockaddr *)&addr,
		 family == AF_INET ? sizeof(struct sockaddr_in) :
				     sizeof(struct sockaddr_in6)))
		fail("bind");

	if (secret_len) {
		/* Take nothing in clear; let clients agree on keys by TCP. */
		if (setsockopt(fds[0].fd, IPPROTO_HOMA, SO_HOMA_SEALED, &one,
			       sizeof(one)))
			fail("SO_HOMA_SEALED");
		fds[1].fd = handshake_listen(family, port);
	}

	printf("listening on port %d, %s\n", port,
	       secret_len ? "sealed" : "plain");
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			fail("poll");
		if (fds[1].revents)
			handshake_accept(fds[1].fd, fds[0].fd, secret,
					 secret_len);
		if (fds[0].revents)
			serve_one(fds[0].fd);
	}
}
