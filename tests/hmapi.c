// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A program written for HomaModule and nothing else: struct homa_sendmsg_args
 * and homa_recvmsg_args in msg_control, receive pools, private RPCs, ioctls.
 */
#include "lib.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define POOL_SIZE (32 * HOMA_BPAGE_SIZE)

/* A socket with its pool, and the message that it received last. */
struct sock {
	int fd;
	char *pool;
	struct homa_recvmsg_args control;
	union addr peer;
};

static int family;
static const char *name;
static char big[HOMA_MAX_MESSAGE_LENGTH];
static void *const bad = (void *)16;

static void pool_init(struct sock *s, int fd, size_t size)
{
	struct homa_rcvbuf_args args = { .length = size };

	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->pool = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->pool == MAP_FAILED)
		bail("mmap: %s", strerror(errno));
	args.start = (uintptr_t)s->pool;
	must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &args, sizeof(args)));
}

static void pool_exit(struct sock *s, size_t size)
{
	close(s->fd);
	munmap(s->pool, size);
}

static long send_args(int fd, const union addr *to, void *buf, size_t len,
		      struct homa_sendmsg_args *args)
{
	struct iovec iov = { buf, len };
	struct msghdr msg = {
		.msg_name = (void *)to,
		.msg_namelen = addr_len(family),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = args,
		.msg_controllen = 0,
	};

	return sendmsg(fd, &msg, 0);
}

/* Gives back the bpages of the last message and receives the next one. */
static long recv_args(struct sock *s, uint64_t id, int flags)
{
	struct msghdr msg = {
		.msg_name = &s->peer,
		.msg_namelen = sizeof(s->peer),
		.msg_control = &s->control,
		.msg_controllen = sizeof(s->control),
	};

	s->control.id = id;
	s->control.reserved = 0;
	return recvmsg(s->fd, &msg, flags);
}

/* Offset of the first wrong byte of the received message, or -1. */
static long pool_check(struct sock *s, long len, uint64_t seed)
{
	uint32_t i;
	long part;

	if (s->control.num_bpages !=
	    (len + HOMA_BPAGE_SIZE - 1) / HOMA_BPAGE_SIZE)
		return len;
	for (i = 0; i < s->control.num_bpages; i++) {
		part = len - (long)i * HOMA_BPAGE_SIZE;
		if (part > HOMA_BPAGE_SIZE)
			part = HOMA_BPAGE_SIZE;
		if (part == HOMA_BPAGE_SIZE &&
		    s->control.bpage_offsets[i] % HOMA_BPAGE_SIZE)
			return i * HOMA_BPAGE_SIZE;
		memcpy(big + (long)i * HOMA_BPAGE_SIZE,
		       s->pool + s->control.bpage_offsets[i], part);
	}
	return check(big, len, seed);
}

static const char *trip(struct sock *c, struct sock *s, const union addr *to,
			size_t len, uint64_t cookie)
{
	struct homa_sendmsg_args args = { .completion_cookie = cookie };
	uint64_t id;

	fill(big, len, cookie);
	if (send_args(c->fd, to, big, len, &args))
		return "request: sendmsg does not return 0";
	if (!args.id || args.id & 1)
		return "request: sendmsg returns no id";
	id = args.id;
	if (recv_args(s, 0, 0) != (long)len)
		return "server: recvmsg does not return the length";
	if (!(s->control.id & 1) || s->control.completion_cookie)
		return "server: bad id or cookie";
	if (pool_check(s, len, cookie) >= 0)
		return "server: contents";

	memset(&args, 0, sizeof(args));
	args.id = s->control.id;
	fill(big, len, ~cookie);
	if (send_args(s->fd, &s->peer, big, len, &args))
		return "response: sendmsg does not return 0";
	if (recv_args(c, 0, 0) != (long)len)
		return "client: recvmsg does not return the length";
	if (c->control.id != id || c->control.completion_cookie != cookie)
		return "client: bad id or cookie";
	if (!addr_equal(&c->peer, to))
		return "client: response from somebody else";
	if (pool_check(c, len, ~cookie) >= 0)
		return "client: contents";
	return NULL;
}

static void test_trips(void)
{
	static const size_t sizes[] = {
		1, 100, 1500, 65535, 65536, 65537, 200000, 999999, 1000000,
	};
	union addr to = addr_of(&server, family, 99);
	struct homa_info info = {};
	const char *wrong = NULL;
	struct sock c, s;
	size_t i;

	pool_init(&c, open_socket(&client, family), POOL_SIZE);
	pool_init(&s, open_server(&server, family, 99), POOL_SIZE);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		wrong = trip(&c, &s, &to, sizes[i], i + 1);
		ok(!wrong, "%s: %zu bytes", name, sizes[i]);
		if (wrong)
			diag("%s: %s", wrong, strerror(errno));
	}

	/* Ten times what fits in a pool: bpages that come back are used again. */
	wrong = NULL;
	for (i = 0; i < 40 && !wrong; i++)
		wrong = trip(&c, &s, &to, 400000 + i, i + 1);
	ok(!wrong, "%s: bpages are recycled", name);
	if (wrong)
		diag("RPC %zu: %s: %s", i, wrong, strerror(errno));

	fails(recv_args(&s, 0, MSG_DONTWAIT), EAGAIN, "%s: EAGAIN", name);
	is(s.control.id, 0, "%s: ... sets no id", name);
	is(s.control.num_bpages, 0, "%s: ... takes the bpages", name);
	is(ioctl(s.fd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO", name);
	ok(info.bpool_avail_bytes >= POOL_SIZE - HOMA_BPAGE_SIZE &&
	   info.bpool_avail_bytes <= POOL_SIZE,
	   "%s: all of the pool is free again", name);
	pool_exit(&c, POOL_SIZE);
	pool_exit(&s, POOL_SIZE);
}

/* A pool that is full delays messages; it neither loses nor overwrites them. */
static void test_full(void)
{
	size_t size = 4 * HOMA_BPAGE_SIZE;
	union addr to = addr_of(&server, family, 99);
	int memory = 4 << 20;
	struct homa_sendmsg_args args;
	struct homa_recvmsg_args first;
	struct sock c, s;
	int i;

	pool_init(&c, open_socket(&client, family), POOL_SIZE);
	pool_init(&s, open_server(&server, family, 99), size);
	must(setsockopt(c.fd, SOL_SOCKET, SO_SNDBUFFORCE, &memory, 4));
	for (i = 0; i < 4; i++) {
		memset(&args, 0, sizeof(args));
		fill(big, 200000, i);
		must(send_args(c.fd, &to, big, 200000, &args));
	}
	is(recv_args(&s, 0, 0), 200000, "%s: first of four arrives", name);
	first = s.control;
	s.control.num_bpages = 0;
	set_timeout(s.fd, SO_RCVTIMEO, 500);
	fails(recv_args(&s, 0, 0), EAGAIN, "%s: no room for the second", name);
	set_timeout(s.fd, SO_RCVTIMEO, RECV_TIMEOUT * 1000);
	s.control = first;
	for (i = 1; i < 4; i++)
		is(recv_args(&s, 0, 0), 200000,
		   "%s: after the pages are back, message %d", name, i);
	pool_exit(&c, POOL_SIZE);
	pool_exit(&s, size);
}

static void test_private(void)
{
	struct homa_sendmsg_args args = { .completion_cookie = 5,
					  .flags = HOMA_SENDMSG_PRIVATE };
	union addr to = addr_of(&server, family, 99);
	struct pollfd pfd = { .events = POLLIN };
	struct homa_sendmsg_args answer = {};
	struct sock c, s;
	uint64_t id;

	pool_init(&c, open_socket(&client, family), POOL_SIZE);
	pool_init(&s, open_server(&server, family, 99), POOL_SIZE);
	fill(big, 100, 1);
	is(send_args(c.fd, &to, big, 100, &args), 0, "%s: private RPC", name);
	id = args.id;
	is(recv_args(&s, 0, 0), 100, "%s: arrives", name);

	fails(recv_args(&c, id, MSG_DONTWAIT), EAGAIN,
	      "%s: not answered yet", name);
	answer.id = s.control.id;
	is(send_args(s.fd, &s.peer, big, 100, &answer), 0, "%s: reply", name);
	usleep(300000);
	fails(recv_args(&c, 0, MSG_DONTWAIT), EAGAIN,
	      "%s: not for those who do not ask for it", name);
	pfd.fd = c.fd;
	is(poll(&pfd, 1, 0), 0, "%s: nor for poll()", name);
	is(recv_args(&c, id, 0), 100, "%s: for those who do", name);
	is(c.control.id, id, "%s: id", name);
	is(c.control.completion_cookie, 5, "%s: cookie", name);
	fails(recv_args(&c, id, 0), EINVAL, "%s: once", name);
	fails(recv_args(&c, 987654, 0), EINVAL, "%s: unknown id", name);
	pool_exit(&c, POOL_SIZE);
	pool_exit(&s, POOL_SIZE);
}

static void test_failures(void)
{
	struct homa_sendmsg_args args = { .completion_cookie = 77 };
	union addr to = addr_of(&server, family, 4321);
	struct homa_abort_args stop = {};
	struct sock c;
	uint64_t id;
	int sfd;

	pool_init(&c, open_socket(&client, family), POOL_SIZE);
	must(send_args(c.fd, &to, big, 10, &args));
	fails(recv_args(&c, 0, 0), ENOTCONN, "%s: nobody there", name);
	is(c.control.id, args.id, "%s: ... id", name);
	is(c.control.completion_cookie, 77, "%s: ... cookie", name);
	is(c.control.num_bpages, 0, "%s: ... no bpages", name);

	to = addr_of(&server, family, 99);
	sfd = open_server(&server, family, 99);
	memset(&args, 0, sizeof(args));
	args.flags = HOMA_SENDMSG_PRIVATE;
	must(send_args(c.fd, &to, big, 1000000, &args));
	id = args.id;
	stop.id = id;
	stop.error = ENOLINK;
	is(ioctl(c.fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT", name);
	fails(recv_args(&c, id, 0), ENOLINK, "%s: aborted", name);
	is(c.control.id, id, "%s: ... id", name);

	/* To forget all is to forget what has failed already, too. */
	memset(&args, 0, sizeof(args));
	must(send_args(c.fd, &to, big, 1000000, &args));
	stop.id = args.id;
	is(ioctl(c.fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT", name);
	memset(&stop, 0, sizeof(stop));
	is(ioctl(c.fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT, all", name);
	fails(recv_args(&c, 0, MSG_DONTWAIT), EAGAIN, "%s: ... is forgotten",
	      name);
	pool_exit(&c, POOL_SIZE);
	close(sfd);
}

static void test_misuse(void)
{
	union addr to = addr_of(&server, family, 99);
	struct homa_sendmsg_args args = {};
	struct homa_rcvbuf_args rcvbuf;
	struct homa_info info = {};
	struct msghdr msg = {};
	socklen_t len = sizeof(rcvbuf);
	struct sock s, c;
	char *pages;
	int fd;

	pages = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open_server(&server, family, 99);
	rcvbuf = (struct homa_rcvbuf_args){ (uintptr_t)pages, 4 << 20 };
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len - 1),
	      EINVAL, "%s: SO_HOMA_RCVBUF, short", name);
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, bad, len), EFAULT,
	      "%s: SO_HOMA_RCVBUF, bad pointer", name);
	rcvbuf.start = (uintptr_t)bad;
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len), EINVAL,
	      "%s: SO_HOMA_RCVBUF, not page-aligned", name);
	rcvbuf.start = 4096;
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len), EFAULT,
	      "%s: SO_HOMA_RCVBUF, not mapped", name);
	rcvbuf.start = ~0ull << 12;
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len), EFAULT,
	      "%s: SO_HOMA_RCVBUF, the kernel's memory", name);
	rcvbuf.start = (uintptr_t)pages;
	rcvbuf.length = HOMA_BPAGE_SIZE - 1;
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len), EINVAL,
	      "%s: SO_HOMA_RCVBUF, less than a bpage", name);
	close(fd);

	pool_init(&s, open_server(&server, family, 99), POOL_SIZE);
	pool_init(&c, open_socket(&client, family), POOL_SIZE);
	is(getsockopt(s.fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, &len), 0,
	   "%s: getsockopt(SO_HOMA_RCVBUF)", name);
	ok(rcvbuf.start == (uintptr_t)s.pool && rcvbuf.length == POOL_SIZE &&
	   len == sizeof(rcvbuf), "%s: ... is what was set", name);
	rcvbuf = (struct homa_rcvbuf_args){ (uintptr_t)pages, 4 << 20 };
	fails(setsockopt(s.fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &rcvbuf, len), EBUSY,
	      "%s: SO_HOMA_RCVBUF twice", name);

	fails(recvmsg(s.fd, &msg, MSG_DONTWAIT), EINVAL,
	      "%s: recvmsg() without msg_control", name);
	msg.msg_control = &s.control;
	msg.msg_controllen = sizeof(s.control) - 1;
	fails(recvmsg(s.fd, &msg, MSG_DONTWAIT), EINVAL,
	      "%s: recvmsg() with a short msg_controllen", name);
	msg.msg_control = bad;
	msg.msg_controllen = sizeof(s.control);
	fails(recvmsg(s.fd, &msg, MSG_DONTWAIT), EFAULT,
	      "%s: recvmsg() with a bad msg_control", name);
	s.control.num_bpages = HOMA_MAX_BPAGES + 1;
	fails(recv_args(&s, 0, MSG_DONTWAIT), EINVAL,
	      "%s: too many bpages", name);
	s.control.num_bpages = 1;
	s.control.bpage_offsets[0] = POOL_SIZE;
	fails(recv_args(&s, 0, MSG_DONTWAIT), EINVAL,
	      "%s: a bpage after the pool", name);
	s.control.num_bpages = 0;
	s.control.reserved = 1;
	msg.msg_control = &s.control;
	fails(recvmsg(s.fd, &msg, MSG_DONTWAIT), EINVAL,
	      "%s: reserved is not 0", name);

	fails(send_args(c.fd, &to, big, 1, bad), EFAULT,
	      "%s: sendmsg(), bad msg_control", name);
	args.flags = 2;
	fails(send_args(c.fd, &to, big, 1, &args), EINVAL,
	      "%s: sendmsg(), unknown flag", name);
	is(ioctl(c.fd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO", name);
	ok(strstr(info.error_msg, "unknown flag") &&
	   memchr(info.error_msg, 0, sizeof(info.error_msg)),
	   "%s: error_msg tells why", name);
	is(info.rpc_info_length, 0, "%s: rpc_info_length is ours", name);
	args.flags = 0;
	args.reserved = 1;
	fails(send_args(c.fd, &to, big, 1, &args), EINVAL,
	      "%s: sendmsg(), reserved", name);
	args.reserved = 0;
	args.id = 101;
	args.completion_cookie = 1;
	fails(send_args(c.fd, &to, big, 1, &args), EINVAL,
	      "%s: reply with a cookie", name);
	args.completion_cookie = 0;
	is(send_args(c.fd, &to, big, 1, &args), 0,
	   "%s: reply to an unknown request is forgotten", name);
	args.id = 0;
	fails(send_args(c.fd, &to, big, 0, &args), EINVAL,
	      "%s: empty message", name);
	fails(send_args(c.fd, &to, bad, 10, &args), EFAULT,
	      "%s: bad buffer", name);
	args.id = 0;
	fails(recv_args(&s, 0, MSG_DONTWAIT), EAGAIN, "%s: nothing sent", name);

	must(shutdown(c.fd, SHUT_RDWR));
	fails(recv_args(&c, 0, 0), ESHUTDOWN, "%s: recvmsg() after shutdown()",
	      name);
	fails(send_args(c.fd, &to, big, 1, &args), ESHUTDOWN,
	      "%s: sendmsg() after shutdown()", name);
	pool_exit(&c, POOL_SIZE);
	pool_init(&c, open_socket(&client, family), POOL_SIZE);

	/* A pool that was unmapped: an error, for that message only. */
	munmap(s.pool, POOL_SIZE);
	must(send_args(c.fd, &to, big, 10, &args));
	fails(recv_args(&s, 0, 0), EFAULT, "%s: pool unmapped", name);
	pool_exit(&c, POOL_SIZE);
	close(s.fd);
	munmap(pages, 4 << 20);
}

int main(int, char **argv)
{
	static const struct test tests[] = {
		{ "trips", test_trips },
		{ "full", test_full },
		{ "private", test_private },
		{ "failures", test_failures },
		{ "misuse", test_misuse },
	};

	setup(180);
	return run_tests(tests, ARRAY_SIZE(tests), argv[1], &family,
			 &name);
}
