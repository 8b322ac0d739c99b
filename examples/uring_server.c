// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The echo server with io_uring: DEPTH messages are received and answered at a
 * time, by one thread, with one system call for as many as there are.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/homa.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handshake.h"

#define DEPTH 16

static const char usage[] =
"usage: uring_server [-6] [-s FILE] PORT\n"
"\n"
"Answers Homa requests to PORT (1 to 32767) with what they contain.\n"
"\n"
"  -6       over IPv6\n"
"  -s FILE  sealed: only for clients that know the secret in FILE\n"
"  -h       print this\n";

/* One message: received into it, and sent back from it. */
struct slot {
	int sending;
	struct msghdr msg;
	struct iovec iov;
	struct sockaddr_storage peer;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct homa_rpc_cmsg))];
	} control;
	char buf[HOMA_MAX_MESSAGE_LENGTH];
};

static struct slot slots[DEPTH];
static struct io_uring ring;

static void fail(const char *what)
{
	fprintf(stderr, "uring_server: %s: %s\n", what, strerror(errno));
	if (errno == EPROTONOSUPPORT)
		fprintf(stderr, "Is the module loaded? (insmod homa.ko)\n");
	exit(1);
}

static void start_receive(int fd, struct slot *slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	slot->sending = 0;
	slot->iov.iov_base = slot->buf;
	slot->iov.iov_len = sizeof(slot->buf);
	slot->msg.msg_iov = &slot->iov;
	slot->msg.msg_iovlen = 1;
	slot->msg.msg_name = &slot->peer;
	slot->msg.msg_namelen = sizeof(slot->peer);
	slot->msg.msg_control = &slot->control;
	slot->msg.msg_controllen = sizeof(slot->control);
	io_uring_prep_recvmsg(sqe, fd, &slot->msg, 0);
	io_uring_sqe_set_data(sqe, slot);
}

/* Name, control message and bytes are in place: recvmsg put them there. */
static void start_reply(int fd, struct slot *slot, size_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	slot->sending = 1;
	slot->iov.iov_len = len;
	io_uring_prep_sendmsg(sqe, fd, &slot->msg, 0);
	io_uring_sqe_set_data(sqe, slot);
}

static void start_accept(int listener)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	io_uring_prep_poll_add(sqe, listener, POLLIN);
	io_uring_sqe_set_data(sqe, NULL);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage addr = {};
	unsigned char secret[1024];
	int family = AF_INET, option, port, one = 1, fd, listener = -1, i, ret;
	struct io_uring_cqe *cqe;
	size_t secret_len = 0;
	struct slot *slot;

	while ((option = getopt(argc, argv, "6s:h")) >= 0) {
		if (option == '6') {
			family = AF_INET6;
		} else if (option == 's') {
			secret_len = read_secret(optarg, secret);
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	port = optind == argc - 1 ? atoi(argv[optind]) : 0;
	if (port < 1 || port >= HOMA_MIN_DEFAULT_PORT) {
		fputs(usage, stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);

	ret = io_uring_queue_init(2 * DEPTH, &ring, 0);
	if (ret) {
		errno = -ret;
		fail("io_uring");
	}
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA);
	if (fd < 0)
		fail("socket");
	addr.ss_family = family;
	((struct sockaddr_in *)&addr)->sin_port = htons(port);
	if (bind(fd, (struct sockaddr *)&addr,
		 family == AF_INET ? sizeof(struct sockaddr_in) :
				     sizeof(struct sockaddr_in6)))
		fail("bind");
	if (secret_len) {
		if (setsockopt(fd, IPPROTO_HOMA, SO_HOMA_SEALED, &one,
			       sizeof(one)))
			fail("SO_HOMA_SEALED");
		listener = handshake_listen(family, port);
		start_accept(listener);
	}
	for (i = 0; i < DEPTH; i++)
		start_receive(fd, &slots[i]);

	printf("listening on port %d, %s\n", port,
	       secret_len ? "sealed" : "plain");
	for (;;) {
		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR) {
			errno = -ret;
			fail("io_uring");
		}
		while (!io_uring_peek_cqe(&ring, &cqe)) {
			slot = io_uring_cqe_get_data(cqe);
			ret = cqe->res;
			io_uring_cqe_seen(&ring, cqe);
			if (!slot) {
				handshake_accept(listener, fd, secret,
						 secret_len);
				start_accept(listener);
				continue;
			}
			if (ret < 0)
				fprintf(stderr, "%s: %s\n", slot->sending ?
					"sendmsg" : "recvmsg", strerror(-ret));
			if (ret < 0 || slot->sending)
				start_receive(fd, slot);
			else
				start_reply(fd, slot, ret);
		}
	}
}
