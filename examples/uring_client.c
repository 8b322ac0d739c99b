// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A client with io_uring that has DEPTH requests under way at a time, in
 * no order. The cookie of the control message tells whose response has come.
 */
#include <errno.h>
#include <liburing.h>
#include <linux/homa.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "handshake.h"

#define DEPTH 16
#define RECEIVE (-1ull)		/* user data of the recvmsg; of sends: the cookie */

static const char usage[] =
"usage: uring_client [-s FILE] HOST PORT [COUNT [LENGTH]]\n"
"\n"
"Sends COUNT requests (1000) of LENGTH bytes (1000) to an echo server, 16 at a\n"
"time, and compares what comes back.\n"
"\n"
"  -s FILE  sealed, with keys from the secret in FILE (the server's as well)\n"
"  -h       print this\n";

/* A request that is being sent, or waits for its response. */
struct request {
	struct msghdr msg;
	struct iovec iov;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct homa_rpc_cmsg))];
	} control;
	char buf[HOMA_MAX_MESSAGE_LENGTH];
};

static struct request requests[DEPTH], response;
static struct io_uring ring;
static size_t len = 1000;

static void fail(const char *what, int error)
{
	fprintf(stderr, "uring_client: %s: %s\n", what, strerror(error));
	if (error == EPROTONOSUPPORT)
		fprintf(stderr, "Is the module loaded? (insmod homa.ko)\n");
	if (error == ENOTCONN || error == ETIMEDOUT)
		fprintf(stderr,
			"Is the server running there, on this port, and with the same secret?\n");
	exit(1);
}

/* The socket is connected, so there is no name. */
static void prepare(struct request *r, size_t size)
{
	r->iov.iov_base = r->buf;
	r->iov.iov_len = size;
	memset(&r->msg, 0, sizeof(r->msg));
	r->msg.msg_iov = &r->iov;
	r->msg.msg_iovlen = 1;
	r->msg.msg_control = &r->control;
	r->msg.msg_controllen = sizeof(r->control);
}

static void start_request(int fd, unsigned long long cookie)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct homa_rpc_cmsg rpc = { .cookie = cookie };
	struct request *r = &requests[cookie];
	size_t i;

	for (i = 0; i < len; i++)
		r->buf[i] = rand();
	prepare(r, len);
	r->control.header.cmsg_level = IPPROTO_HOMA;
	r->control.header.cmsg_type = HOMA_CMSG_RPC;
	r->control.header.cmsg_len = CMSG_LEN(sizeof(rpc));
	memcpy(CMSG_DATA(&r->control.header), &rpc, sizeof(rpc));
	io_uring_prep_sendmsg(sqe, fd, &r->msg, 0);
	sqe->user_data = cookie;
}

static void start_receive(int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	prepare(&response, sizeof(response.buf));
	io_uring_prep_recvmsg(sqe, fd, &response.msg, 0);
	sqe->user_data = RECEIVE;
}

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *server;
	unsigned char secret[1024];
	long count = 1000, sent, got = 0;
	int fd, option, ret;
	struct io_uring_cqe *cqe;
	struct timespec start, end;
	struct homa_rpc_cmsg rpc;
	size_t secret_len = 0;
	unsigned long long data;

	while ((option = getopt(argc, argv, "s:h")) >= 0) {
		if (option == 's') {
			secret_len = read_secret(optarg, secret);
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (argc - optind < 2 || argc - optind > 4) {
		fputs(usage, stderr);
		return 2;
	}
	if (argc - optind > 2)
		count = atol(argv[optind + 2]);
	if (argc - optind > 3)
		len = atol(argv[optind + 3]);
	if (count < 1 || len < 1 || len > HOMA_MAX_MESSAGE_LENGTH) {
		fprintf(stderr, "uring_client: a message has 1 to %d bytes\n",
			HOMA_MAX_MESSAGE_LENGTH);
		return 2;
	}

	ret = getaddrinfo(argv[optind], argv[optind + 1], &hints, &server);
	if (ret) {
		fprintf(stderr, "uring_client: %s: %s\n", argv[optind],
			gai_strerror(ret));
		return 1;
	}
	fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA);
	if (fd < 0)
		fail("socket", errno);
	if (secret_len && handshake_connect(server->ai_addr, server->ai_addrlen,
					    fd, secret, secret_len))
		fail("handshake", errno);
	if (connect(fd, server->ai_addr, server->ai_addrlen))
		fail("connect", errno);
	freeaddrinfo(server);
	ret = io_uring_queue_init(4 * DEPTH, &ring, 0);
	if (ret)
		fail("io_uring", -ret);

	clock_gettime(CLOCK_MONOTONIC, &start);
	start_receive(fd);
	for (sent = 0; sent < DEPTH && sent < count; sent++)
		start_request(fd, sent);
	while (got < count) {
		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR)
			fail("io_uring", -ret);
		while (!io_uring_peek_cqe(&ring, &cqe)) {
			data = cqe->user_data;
			ret = cqe->res;
			io_uring_cqe_seen(&ring, cqe);
			if (ret < 0)
				fail(data == RECEIVE ? "recvmsg" : "sendmsg",
				     -ret);
			if (data != RECEIVE)
				continue;
			memcpy(&rpc, CMSG_DATA(&response.control.header),
			       sizeof(rpc));
			if (rpc.cookie >= DEPTH || (size_t)ret != len ||
			    memcmp(response.buf, requests[rpc.cookie].buf, len))
				fail("not what was sent came back", EBADMSG);
			got++;
			if (sent++ < count)
				start_request(fd, rpc.cookie);
			if (got < count)
				start_receive(fd);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%ld requests of %zu bytes answered, %.0f a second\n", count,
	       len, count / (end.tv_sec - start.tv_sec +
			     (end.tv_nsec - start.tv_nsec) / 1e9));
	io_uring_queue_exit(&ring);
	close(fd);
	return 0;
}
