// SPDX-License-Identifier: GPL-2.0 OR MIT
/* io_uring on Homa sockets: send, sendmsg, recvmsg, recv, poll, cancel. */
#include "lib.h"

#include <liburing.h>

union control {
	struct cmsghdr hdr;
	char buf[CMSG_SPACE(sizeof(struct homa_rpc_cmsg))];
};

/* One message under way in the ring. */
struct op {
	struct msghdr msg;
	struct iovec iov;
	union control control;
	union addr addr;
};

static struct io_uring ring;
static int family;
static const char *name;
static char out[HOMA_MAX_MESSAGE_LENGTH], in[HOMA_MAX_MESSAGE_LENGTH];

static void op_init(struct op *op, void *buf, size_t len)
{
	memset(op, 0, sizeof(*op));
	op->iov.iov_base = buf;
	op->iov.iov_len = len;
	op->msg.msg_iov = &op->iov;
	op->msg.msg_iovlen = 1;
	op->msg.msg_name = &op->addr;
	op->msg.msg_namelen = sizeof(op->addr);
	op->msg.msg_control = &op->control;
	op->msg.msg_controllen = sizeof(op->control);
}

static void op_send(struct op *op, const union addr *to, void *buf, size_t len,
		    uint64_t id, uint64_t cookie)
{
	struct homa_rpc_cmsg rpc = { .id = id, .cookie = cookie };

	op_init(op, buf, len);
	op->addr = *to;
	op->msg.msg_namelen = addr_len(family);
	op->control.hdr.cmsg_level = IPPROTO_HOMA;
	op->control.hdr.cmsg_type = HOMA_CMSG_RPC;
	op->control.hdr.cmsg_len = CMSG_LEN(sizeof(rpc));
	memcpy(CMSG_DATA(&op->control.hdr), &rpc, sizeof(rpc));
}

static struct homa_rpc_cmsg op_rpc(struct op *op)
{
	struct homa_rpc_cmsg rpc = {};

	if (op->control.hdr.cmsg_level == IPPROTO_HOMA &&
	    op->control.hdr.cmsg_type == HOMA_CMSG_RPC)
		memcpy(&rpc, CMSG_DATA(&op->control.hdr), sizeof(rpc));
	return rpc;
}

/* Submits what was prepared, waits for one completion: its result. */
static int complete(uint64_t *data)
{
	struct __kernel_timespec ts = { .tv_sec = 10 };
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &ts, NULL);
	if (ret < 0)
		return ret;
	ret = cqe->res;
	if (data)
		*data = cqe->user_data;
	io_uring_cqe_seen(&ring, cqe);
	return ret;
}

#define SQE(prep, data, ...) \
do { \
	struct io_uring_sqe *sqe_ = io_uring_get_sqe(&ring); \
	io_uring_prep_##prep(sqe_, __VA_ARGS__); \
	sqe_->user_data = data; \
} while (0)

static void test_messages(void)
{
	static const size_t sizes[] = { 1, 100, 5000, 100000, 1000000 };
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct op send, recv, answer, response;
	struct homa_rpc_cmsg rpc;
	uint64_t data, seen;
	size_t i, len;
	int ret, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		len = sizes[i];
		/* The server waits before there is anything to receive. */
		op_init(&recv, in, sizeof(in));
		SQE(recvmsg, 1, sfd, &recv.msg, 0);
		fill(out, len, len);
		op_send(&send, &to, out, len, 0, 4711);
		SQE(sendmsg, 2, fd, &send.msg, 0);
		for (j = 0, seen = 0; j < 2; j++) {
			ret = complete(&data);
			is(ret, len, "%s: %zu bytes: %s", name, len,
			   data == 1 ? "recvmsg" : "sendmsg");
			seen |= data;
		}
		is(seen, 3, "%s: both complete", name);
		is(check(in, len, len), -1, "%s: contents", name);
		rpc = op_rpc(&recv);
		is(rpc.id & 1, 1, "%s: request's id", name);

		op_init(&response, in, sizeof(in));
		SQE(recvmsg, 1, fd, &response.msg, 0);
		fill(out, len, ~len);
		op_send(&answer, &recv.addr, out, len, rpc.id, 0);
		SQE(sendmsg, 2, sfd, &answer.msg, 0);
		for (j = 0; j < 2; j++)
			is(complete(&data), len, "%s: response: %s", name,
			   data == 1 ? "recvmsg" : "sendmsg");
		is(check(in, len, ~len), -1, "%s: contents", name);
		rpc = op_rpc(&response);
		is(rpc.cookie, 4711, "%s: cookie", name);
	}
	close(fd);
	close(sfd);
}

static void test_connected(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;

	SQE(connect, 1, fd, &to.sa, addr_len(family));
	is(complete(NULL), 0, "%s: connect", name);
	SQE(send, 1, fd, "hello", 5, 0);
	is(complete(NULL), 5, "%s: send", name);
	SQE(poll_add, 1, sfd, POLLIN);
	ok(complete(NULL) & POLLIN, "%s: poll", name);
	is(receive(sfd, in, sizeof(in), 0, &rpc), 5, "%s: arrives", name);
	is(reply(sfd, &rpc, "answer", 6), 6, "%s: reply", name);
	SQE(recv, 1, fd, in, sizeof(in), 0);
	is(complete(NULL), 6, "%s: recv", name);
	ok(!memcmp(in, "answer", 6), "%s: contents", name);

	SQE(sendto, 1, fd, "again", 5, 0, &to.sa, addr_len(family));
	is(complete(NULL), 5, "%s: sendto", name);
	is(receive(sfd, in, sizeof(in), 0, &rpc), 5, "%s: arrives", name);
	SQE(write, 1, fd, "written", 7, 0);
	is(complete(NULL), 7, "%s: write", name);
	is(receive(sfd, in, sizeof(in), 0, &rpc), 7, "%s: arrives", name);
	close(fd);
	close(sfd);
}

static void test_errors(void)
{
	struct __kernel_timespec ts = { .tv_nsec = 200000000 };
	int fd = open_socket(&client, family);
	union addr to = addr_of(&server, family, 4321);
	struct op send, recv;
	struct io_uring_sqe *sqe;
	struct homa_rpc_cmsg rpc;
	uint64_t data, seen = 0;
	int i, ret;

	op_send(&send, &to, out, 0, 0, 0);
	SQE(sendmsg, 1, fd, &send.msg, 0);
	is(complete(NULL), -EINVAL, "%s: empty message", name);
	SQE(send, 1, fd, "x", 1, 0);
	is(complete(NULL), -EDESTADDRREQ, "%s: send, not connected", name);
	op_init(&recv, in, sizeof(in));
	SQE(recvmsg, 1, fd, &recv.msg, MSG_DONTWAIT);
	is(complete(NULL), -EAGAIN, "%s: MSG_DONTWAIT", name);

	/* A recvmsg that nothing ends but its timeout, or being cancelled. */
	op_init(&recv, in, sizeof(in));
	SQE(recvmsg, 1, fd, &recv.msg, 0);
	SQE(cancel64, 2, 1, 0);
	for (i = 0; i < 2; i++) {
		ret = complete(&data);
		is(ret, data == 1 ? -ECANCELED : 0, "%s: cancel", name);
		seen |= data;
	}
	is(seen, 3, "%s: both complete", name);
	op_init(&recv, in, sizeof(in));
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_recvmsg(sqe, fd, &recv.msg, 0);
	sqe->user_data = 1;
	sqe->flags |= IOSQE_IO_LINK;
	SQE(link_timeout, 2, &ts, 0);
	for (i = 0; i < 2; i++) {
		ret = complete(&data);
		is(ret, data == 1 ? -ECANCELED : -ETIME, "%s: timeout", name);
	}

	/* A failed RPC: the errno, and the control message says which. */
	op_send(&send, &to, out, 10, 0, 12);
	SQE(sendmsg, 1, fd, &send.msg, 0);
	is(complete(NULL), 10, "%s: request to nobody", name);
	op_init(&recv, in, sizeof(in));
	SQE(recvmsg, 1, fd, &recv.msg, 0);
	is(complete(NULL), -ENOTCONN, "%s: ... fails", name);
	rpc = op_rpc(&recv);
	is(rpc.cookie, 12, "%s: ... the cookie tells which", name);
	is(rpc.error, ENOTCONN, "%s: ... error", name);
	close(fd);
}

/* 64 requests in one submission; the server answers as they come. */
static void test_many(void)
{
	enum { N = 64, LEN = 3000 };
	static struct op sends[N], answers[N], recv, last;
	static char bufs[N][LEN];
	int sent = 0, got = 0, answered = 0, done = 0, ret, i;
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct homa_rpc_cmsg rpc;
	uint64_t data, cookies = 0;

	for (i = 0; i < N; i++) {
		fill(bufs[i], LEN, i);
		op_send(&sends[i], &to, bufs[i], LEN, 0, i);
		SQE(sendmsg, 1, fd, &sends[i].msg, 0);
	}
	op_init(&recv, in, LEN);
	SQE(recvmsg, 2, sfd, &recv.msg, 0);
	op_init(&last, out, LEN);
	SQE(recvmsg, 3, fd, &last.msg, 0);
	while (got < N) {
		ret = complete(&data);
		if (ret != LEN) {
			diag("operation %d: %d", (int)data, ret);
			break;
		}
		if (data == 1) {
			sent++;
		} else if (data == 2) {
			rpc = op_rpc(&recv);
			memcpy(bufs[answered], in, LEN);
			op_send(&answers[answered], &recv.addr, bufs[answered],
				LEN, rpc.id, 0);
			SQE(sendmsg, 4, sfd, &answers[answered].msg, 0);
			if (++answered < N) {
				op_init(&recv, in, LEN);
				SQE(recvmsg, 2, sfd, &recv.msg, 0);
			}
		} else if (data == 4) {
			done++;
		} else {
			rpc = op_rpc(&last);
			if (rpc.cookie >= N || check(out, LEN, rpc.cookie) >= 0)
				break;
			cookies |= 1ull << rpc.cookie;
			if (++got < N) {
				op_init(&last, out, LEN);
				SQE(recvmsg, 3, fd, &last.msg, 0);
			}
		}
	}
	is(got, N, "%s: %d RPCs at a time", name, N);
	ok(cookies == ~0ull, "%s: each answered once", name);
	is(sent, N, "%s: all sent", name);
	while (done < answered && complete(&data) == LEN && data == 4)
		done++;
	is(done, N, "%s: all answers sent", name);
	close(fd);
	close(sfd);
}

int main(void)
{
	int ret;

	setup(120);
	ret = io_uring_queue_init(256, &ring, 0);
	if (ret)
		bail("io_uring_queue_init: %s", strerror(-ret));
	for (family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
		name = family_name(family);
		test_messages();
		test_connected();
		test_errors();
		test_many();
	}
	io_uring_queue_exit(&ring);
	check_clean();
	return tap_end();
}
