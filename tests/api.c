// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every system call on a Homa socket: what it does, and the errno of each
 * misuse. Friendly API; hmapi.c does the same for HomaModule's.
 */
#include "lib.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int family;
static const char *name;
static char big[HOMA_MAX_MESSAGE_LENGTH + 1];
static void *const bad = (void *)16;

union control {
	struct cmsghdr hdr;
	char buf[CMSG_SPACE(sizeof(struct homa_rpc_cmsg)) + 64];
};

/* sendmsg() of @len bytes with one control message, good unless changed. */
struct send {
	union control control;
	struct iovec iov;
	struct msghdr msg;
	struct homa_rpc_cmsg *rpc;
};

/* Every protocol takes an IPv6 address without its scope, as RFC 2133 had it. */
static socklen_t too_short(void)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) - 1 :
				   offsetof(struct sockaddr_in6, sin6_scope_id) - 1;
}

static void send_init(struct send *s, const union addr *to, size_t len)
{
	memset(s, 0, sizeof(*s));
	s->iov.iov_base = big;
	s->iov.iov_len = len;
	s->msg.msg_name = (void *)to;
	s->msg.msg_namelen = to ? addr_len(family) : 0;
	s->msg.msg_iov = &s->iov;
	s->msg.msg_iovlen = 1;
	s->msg.msg_control = &s->control;
	s->msg.msg_controllen = CMSG_SPACE(sizeof(*s->rpc));
	s->control.hdr.cmsg_level = IPPROTO_HOMA;
	s->control.hdr.cmsg_type = HOMA_CMSG_RPC;
	s->control.hdr.cmsg_len = CMSG_LEN(sizeof(*s->rpc));
	s->rpc = (void *)CMSG_DATA(&s->control.hdr);
}

static int get_int(int fd, int level, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	if (getsockopt(fd, level, option, &value, &len))
		diag("getsockopt(%d, %d): %s", level, option, strerror(errno));
	return value;
}

static void test_socket(void)
{
	int fd = open_socket(&client, family), pair[2], status;
	union addr addr;
	socklen_t len;
	pid_t pid;

	is(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM, "%s: SO_TYPE", name);
	is(get_int(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_HOMA,
	   "%s: SO_PROTOCOL", name);
	is(get_int(fd, SOL_SOCKET, SO_DOMAIN), family, "%s: SO_DOMAIN", name);
	is(get_int(fd, SOL_SOCKET, SO_ERROR), 0, "%s: SO_ERROR", name);
	fails(socket(family, SOCK_STREAM, IPPROTO_HOMA), EPROTONOSUPPORT,
	      "%s: socket(SOCK_STREAM)", name);
	fails(socketpair(family, SOCK_DGRAM, IPPROTO_HOMA, pair), EOPNOTSUPP,
	      "%s: socketpair()", name);
	fails(listen(fd, 1), EOPNOTSUPP, "%s: listen()", name);
	len = sizeof(addr);
	fails(accept(fd, &addr.sa, &len), EOPNOTSUPP, "%s: accept()", name);
	len = sizeof(addr);
	fails(getpeername(fd, &addr.sa, &len), ENOTCONN,
	      "%s: getpeername() before connect()", name);
	close(fd);

	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    IPPROTO_HOMA);
	ok(fd >= 0 && fcntl(fd, F_GETFL) & O_NONBLOCK &&
	   fcntl(fd, F_GETFD) & FD_CLOEXEC,
	   "%s: SOCK_NONBLOCK and SOCK_CLOEXEC", name);
	close(fd);

	pid = must(fork());
	if (!pid) {
		must(setgid(65534));
		must(setuid(65534));
		fd = socket(family, SOCK_DGRAM, IPPROTO_HOMA);
		_exit(fd < 0);
	}
	must(waitpid(pid, &status, 0));
	ok(WIFEXITED(status) && !WEXITSTATUS(status),
	   "%s: socket() without privileges", name);
}

static void test_bind(void)
{
	int fd = open_socket(&server, family), other;
	union addr addr, wrong;
	socklen_t len = addr_len(family), length;

	addr = name_of(fd);
	is(addr.sa.sa_family, family, "%s: getsockname() before bind()", name);
	ok(!port_of(&addr) || port_of(&addr) >= HOMA_MIN_DEFAULT_PORT,
	   "%s: port %d is not a server's", name, port_of(&addr));

	addr = addr_of(&server, family, HOMA_MIN_DEFAULT_PORT);
	fails(bind(fd, &addr.sa, len), EINVAL, "%s: bind(0x8000)", name);
	addr = addr_of(&server, family, 0xffff);
	fails(bind(fd, &addr.sa, len), EINVAL, "%s: bind(0xffff)", name);
	addr = addr_of(&server, family, 77);
	for (length = 0; length < len; length += too_short())
		fails(bind(fd, &addr.sa, length), EINVAL,
		      "%s: bind() with an address of %u bytes", name, length);
	fails(bind(fd, bad, len), EFAULT, "%s: bind() with a bad pointer", name);
	wrong = addr;
	wrong.sa.sa_family = family == AF_INET ? AF_INET6 : AF_INET;
	fails(bind(fd, &wrong.sa, sizeof(wrong.in6)), EAFNOSUPPORT,
	      "%s: bind() with an address of another family", name);
	wrong.sa.sa_family = AF_UNIX;
	fails(bind(fd, &wrong.sa, sizeof(wrong.in6)), EAFNOSUPPORT,
	      "%s: bind(AF_UNIX)", name);

	is(bind(fd, &addr.sa, len), 0, "%s: bind(77)", name);
	addr = name_of(fd);
	is(port_of(&addr), 77, "%s: getsockname() after bind()", name);

	other = open_socket(&server, family);
	addr = addr_of(&server, family, 77);
	fails(bind(other, &addr.sa, len), EADDRINUSE, "%s: bind(77) again", name);
	addr = addr_of(&server, family, HOMA_MIN_DEFAULT_PORT - 1);
	is(bind(other, &addr.sa, len), 0, "%s: bind(0x7fff)", name);
	close(other);

	other = open_socket(&server, family);
	addr = addr_of(&server, family, 0);
	is(bind(other, &addr.sa, len), 0, "%s: bind(0)", name);
	close(other);

	if (client.ns[0]) {
		other = open_socket(&client, family);
		addr = addr_of(&client, family, 77);
		is(bind(other, &addr.sa, len), 0,
		   "%s: bind(77) in another namespace", name);
		close(other);
	}

	close(fd);
	fd = open_socket(&server, family);
	addr = addr_of(&server, family, 77);
	is(bind(fd, &addr.sa, len), 0, "%s: bind(77) after close()", name);
	close(fd);
}

static void test_ports(void)
{
	int fds[16], sfd = open_server(&server, family, 99), i, j;
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc[16];
	char buf[64];

	for (i = 0; i < 16; i++) {
		fds[i] = open_socket(&client, family);
		must(request(fds[i], &to, "hello", 5, i));
		must(receive(sfd, buf, sizeof(buf), 0, &rpc[i]));
		if (port_of(&rpc[i].name) < HOMA_MIN_DEFAULT_PORT)
			break;
		for (j = 0; j < i; j++)
			if (addr_equal(&rpc[j].name, &rpc[i].name))
				break;
		if (j < i)
			break;
	}
	is(i, 16, "%s: automatic ports are client ports and all differ", name);
	ok(addr_equal(&rpc[0].name, &rpc[0].peer),
	   "%s: msg_name and the control message name the same peer", name);
	for (j = 0; j < i; j++)
		close(fds[j]);
	close(sfd);
}

static void test_connect(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99), addr;
	socklen_t len = addr_len(family), got;
	struct rpc rpc;
	char buf[64];

	fails(connect(fd, &to.sa, 1), EINVAL, "%s: connect(), short", name);
	fails(connect(fd, &to.sa, too_short()), EINVAL,
	      "%s: connect(), one byte short", name);
	fails(connect(fd, bad, len), EFAULT, "%s: connect(), bad pointer", name);
	addr = to;
	addr.sa.sa_family = family == AF_INET ? AF_INET6 : AF_UNIX;
	fails(connect(fd, &addr.sa, sizeof(addr.in6)), EAFNOSUPPORT,
	      "%s: connect(), another family", name);
	fails(send(fd, "x", 1, 0), EDESTADDRREQ,
	      "%s: send() without connect()", name);

	is(connect(fd, &to.sa, len), 0, "%s: connect()", name);
	got = sizeof(addr);
	is(getpeername(fd, &addr.sa, &got), 0, "%s: getpeername()", name);
	ok(addr_equal(&addr, &to) && got == len,
	   "%s: getpeername() tells the server", name);
	addr = name_of(fd);
	ok(port_of(&addr) >= HOMA_MIN_DEFAULT_PORT,
	   "%s: a connected socket has a port", name);

	is(send(fd, "hello", 5, 0), 5, "%s: send()", name);
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), 5, "%s: arrives", name);
	is(reply(sfd, &rpc, "world!", 6), 6, "%s: reply", name);
	is(read(fd, buf, sizeof(buf)), 6, "%s: read()", name);
	ok(!memcmp(buf, "world!", 6), "%s: the reply's contents", name);

	is(write(fd, "again", 5), 5, "%s: write()", name);
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), 5, "%s: arrives", name);
	is(reply(sfd, &rpc, "yes", 3), 3, "%s: reply", name);
	is(recv(fd, buf, sizeof(buf), 0), 3, "%s: recv()", name);

	/* As for UDP, an address beats connect(). */
	is(sendto(fd, "to", 2, 0, &to.sa, len), 2,
	   "%s: sendto() on a connected socket", name);
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), 2, "%s: arrives", name);
	is(reply(sfd, &rpc, "ok", 2), 2, "%s: reply", name);
	is(recv(fd, buf, sizeof(buf), 0), 2, "%s: recv()", name);

	addr.sa.sa_family = AF_UNSPEC;
	is(connect(fd, &addr.sa, sizeof(addr.sa)), 0,
	   "%s: connect(AF_UNSPEC)", name);
	fails(send(fd, "x", 1, 0), EDESTADDRREQ,
	      "%s: send() after connect(AF_UNSPEC)", name);
	got = sizeof(addr);
	fails(getpeername(fd, &addr.sa, &got), ENOTCONN,
	      "%s: getpeername() after connect(AF_UNSPEC)", name);
	close(fd);
	close(sfd);
}

static void test_send(void)
{
	int fd = open_socket(&client, family), sfd, i;
	union addr to = addr_of(&server, family, 99), addr;
	socklen_t len = addr_len(family);
	struct iovec parts[8];
	struct rpc rpc;
	struct send s;

	sfd = open_server(&server, family, 99);

	fails(sendto(fd, big, 0, 0, &to.sa, len), EINVAL,
	      "%s: empty message", name);
	fails(sendto(fd, big, HOMA_MAX_MESSAGE_LENGTH + 1, 0, &to.sa, len),
	      EMSGSIZE, "%s: message of 1,000,001 bytes", name);
	fails(sendto(fd, bad, 100, 0, &to.sa, len), EFAULT,
	      "%s: bad buffer", name);
	fails(sendto(fd, bad, 100000, 0, &to.sa, len), EFAULT,
	      "%s: large bad buffer", name);
	fails(sendto(fd, big, 1, 0, bad, len), EFAULT, "%s: bad address", name);
	fails(sendto(fd, big, 1, 0, &to.sa, 1), EINVAL,
	      "%s: address of one byte", name);
	fails(sendto(fd, big, 1, 0, &to.sa, too_short()), EINVAL,
	      "%s: address one byte short", name);
	fails(sendto(fd, big, 1, 0, NULL, 0), EDESTADDRREQ,
	      "%s: no address", name);
	fails(sendto(fd, big, 1, MSG_OOB, &to.sa, len), EOPNOTSUPP,
	      "%s: MSG_OOB", name);
	addr = to;
	addr.sa.sa_family = family == AF_INET ? AF_INET6 : AF_UNIX;
	fails(sendto(fd, big, 1, 0, &addr.sa, sizeof(addr.in6)), EAFNOSUPPORT,
	      "%s: sendto() to another family", name);
	addr = addr_of(&server, family, 0);
	fails(sendto(fd, big, 1, 0, &addr.sa, len), EINVAL,
	      "%s: sendto() to port 0", name);

	send_init(&s, &to, 1);
	s.rpc->flags = 0x80;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: unknown flag", name);
	send_init(&s, &to, 1);
	s.rpc->flags = HOMA_CMSG_FAILED;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: HOMA_CMSG_FAILED", name);
	send_init(&s, &to, 1);
	s.rpc->error = 1;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: error is not 0", name);
	send_init(&s, &to, 1);
	s.rpc->reserved = 1;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: reserved is not 0", name);
	send_init(&s, &to, 1);
	s.rpc->id = 1234;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: even id", name);
	send_init(&s, &to, 1);
	s.rpc->flags = HOMA_CMSG_SEALED;
	fails(sendmsg(fd, &s.msg, 0), ENOKEY,
	      "%s: HOMA_CMSG_SEALED without a session", name);
	send_init(&s, &to, 1);
	s.control.hdr.cmsg_len = CMSG_LEN(8);
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: short cmsg", name);
	send_init(&s, &to, 1);
	s.control.hdr.cmsg_len = CMSG_LEN(HOMA_CMSG_SHORT + 4);
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: cut cmsg", name);
	send_init(&s, NULL, 1);
	memcpy(&s.rpc->peer, &to, sizeof(s.rpc->peer));
	s.control.hdr.cmsg_len = CMSG_LEN(HOMA_CMSG_SHORT);
	s.msg.msg_controllen = CMSG_LEN(HOMA_CMSG_SHORT);
	fails(sendmsg(fd, &s.msg, 0), EDESTADDRREQ,
	      "%s: the part of a cmsg has no destination", name);
	send_init(&s, &to, 1);
	s.control.hdr.cmsg_len = 4;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: malformed cmsg", name);
	send_init(&s, &to, 1);
	s.control.hdr.cmsg_len = sizeof(s.control) + 1;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: cmsg past its end", name);
	send_init(&s, &to, 1);
	s.control.hdr.cmsg_type = 99;
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: unknown cmsg", name);
	send_init(&s, &to, 1);
	s.msg.msg_control = bad;
	fails(sendmsg(fd, &s.msg, 0), EFAULT, "%s: bad msg_control", name);
	send_init(&s, &to, HOMA_MAX_MESSAGE_LENGTH + 1);
	fails(sendmsg(fd, &s.msg, 0), EMSGSIZE, "%s: EMSGSIZE with cmsg", name);
	send_init(&s, &to, 0);
	fails(sendmsg(fd, &s.msg, 0), EINVAL, "%s: empty, with cmsg", name);

	/* None of these was sent. */
	fails(receive(sfd, big, sizeof(big), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: nothing arrived", name);

	/* The destination may also be in the control message. */
	send_init(&s, NULL, 3);
	memcpy(&s.rpc->peer, &to, sizeof(s.rpc->peer));
	is(sendmsg(fd, &s.msg, 0), 3, "%s: destination in the cmsg", name);
	is(receive(sfd, big, sizeof(big), 0, &rpc), 3, "%s: arrives", name);
	is(reply(sfd, &rpc, big, 1), 1, "%s: reply", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 1, "%s: arrives", name);

	/* The first part of the control message is enough. */
	send_init(&s, &to, 3);
	s.rpc->cookie = 7;
	s.rpc->error = 1;
	s.control.hdr.cmsg_len = CMSG_LEN(HOMA_CMSG_SHORT);
	s.msg.msg_controllen = CMSG_LEN(HOMA_CMSG_SHORT);
	is(sendmsg(fd, &s.msg, 0), 3, "%s: part of a cmsg", name);
	is(receive(sfd, big, sizeof(big), 0, &rpc), 3, "%s: arrives", name);
	send_init(&s, &to, 1);
	s.msg.msg_name = &rpc.peer;
	s.rpc->id = rpc.id;
	s.rpc->reserved = 1;
	s.control.hdr.cmsg_len = CMSG_LEN(HOMA_CMSG_SHORT);
	s.msg.msg_controllen = CMSG_LEN(HOMA_CMSG_SHORT);
	is(sendmsg(sfd, &s.msg, 0), 1, "%s: reply with part of one", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 1, "%s: arrives", name);
	is(rpc.cookie, 7, "%s: with the cookie", name);

	/* Gathered from many pieces, empty ones among them. */
	send_init(&s, &to, 0);
	fill(big, 9000, 5);
	for (i = 0; i < 8; i++) {
		parts[i].iov_base = big + (i & ~1) * 1500;
		parts[i].iov_len = i & 1 ? 0 : 3000;
	}
	parts[6].iov_len = 0;
	s.msg.msg_iov = parts;
	s.msg.msg_iovlen = 8;
	is(sendmsg(fd, &s.msg, 0), 9000, "%s: eight iovecs", name);
	memset(big, 0, sizeof(big));
	is(receive(sfd, big, sizeof(big), 0, &rpc), 9000, "%s: arrives", name);
	is(check(big, 9000, 5), -1, "%s: contents", name);
	is(reply(sfd, &rpc, big, 1), 1, "%s: reply", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 1, "%s: arrives", name);

	/* A reply that cannot be sent leaves the request open. */
	must(request(fd, &to, "q", 1, 0));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	fails(reply(sfd, &rpc, big, 0), EINVAL, "%s: empty reply", name);
	fails(reply(sfd, &rpc, bad, 100), EFAULT, "%s: reply, bad buffer", name);
	fails(reply(sfd, &rpc, big, HOMA_MAX_MESSAGE_LENGTH + 1), EMSGSIZE,
	      "%s: reply of 1,000,001 bytes", name);
	send_init(&s, &rpc.name, 1);
	s.rpc->id = rpc.id;
	s.rpc->cookie = 1;
	fails(sendmsg(sfd, &s.msg, 0), EINVAL, "%s: reply with cookie", name);
	send_init(&s, &rpc.name, 1);
	s.rpc->id = rpc.id;
	s.rpc->flags = HOMA_CMSG_SEALED;
	fails(sendmsg(sfd, &s.msg, 0), ENOKEY,
	      "%s: sealed reply to a plain request", name);
	is(reply(sfd, &rpc, "answer", 6), 6, "%s: and now a reply", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 6, "%s: arrives", name);
	close(fd);
	close(sfd);
}

static void test_reply(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc, other;
	struct send s;

	must(request(fd, &to, "q", 1, 42));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	is(rpc.cookie, 0, "%s: a request has no cookie", name);
	is(rpc.id & 1, 1, "%s: a request's id is odd", name);
	is(rpc.flags | rpc.error, 0, "%s: neither flags nor error", name);

	other = rpc;
	other.id += 1000;
	is(reply(sfd, &other, "a", 1), 1,
	   "%s: reply to an unknown request is forgotten", name);
	send_init(&s, NULL, 6);
	s.rpc->id = rpc.id;
	memcpy(&s.rpc->peer, &rpc.peer, sizeof(s.rpc->peer));
	is(sendmsg(sfd, &s.msg, 0), 6, "%s: reply with cmsg only", name);
	is(receive(fd, big, sizeof(big), 0, &other), 6, "%s: arrives", name);
	is(other.cookie, 42, "%s: with the cookie", name);
	is(other.id, rpc.id & ~1ull, "%s: with the id", name);
	/* As in HomaModule. */
	fails(reply(sfd, &rpc, "a", 1), EINVAL, "%s: a second reply", name);
	fails(receive(fd, big, sizeof(big), MSG_DONTWAIT, &other), EAGAIN,
	      "%s: ... does not arrive", name);
	close(fd);
	close(sfd);
}

/* SO_HOMA_REPLY: send() answers the request that was received last. */
static void test_reply_to_last(void)
{
	int fd = open_socket(&client, family), one = 1, zero = 0;
	int sfd = open_server(&server, family, 97), i;
	union addr to = addr_of(&server, family, 97), back;
	struct rpc rpc;
	struct send s;

	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_REPLY, &one, 4));
	fails(send(sfd, "a", 1, 0), EDESTADDRREQ,
	      "%s: nothing to answer yet", name);
	for (i = 0; i < 3; i++) {
		fill(big, 3000, i);
		must(request(fd, &to, big, 3000, 50 + i));
		is(recv(sfd, big, sizeof(big), 0), 3000, "%s: recv()", name);
		fill(big, 2000, 10 + i);
		is(send(sfd, big, 2000, 0), 2000, "%s: send()", name);
		is(receive(fd, big, sizeof(big), 0, &rpc), 2000,
		   "%s: arrives", name);
		is(check(big, 2000, 10 + i), -1, "%s: contents", name);
		is(rpc.cookie, 50 + i, "%s: of that request", name);
	}
	fails(send(sfd, "a", 1, 0), EDESTADDRREQ, "%s: only once", name);
	fails(receive(fd, big, sizeof(big), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: nothing else arrived", name);

	/* What cannot be sent can be tried again. */
	must(request(fd, &to, "q", 1, 60));
	must(recv(sfd, big, sizeof(big), 0));
	fails(send(sfd, bad, 100, 0), EFAULT, "%s: a bad buffer", name);
	fails(send(sfd, big, 0, 0), EINVAL, "%s: an empty answer", name);
	is(send(sfd, "again", 5, 0), 5, "%s: and a good one", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 5, "%s: arrives", name);

	/* To look is not to receive. */
	must(request(fd, &to, "q", 1, 61));
	must(recv(sfd, big, sizeof(big), MSG_PEEK));
	fails(send(sfd, "a", 1, 0), EDESTADDRREQ, "%s: after MSG_PEEK", name);
	must(recv(sfd, big, sizeof(big), 0));
	is(send(sfd, "a", 1, 0), 1, "%s: and after recv()", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 1, "%s: arrives", name);

	/* The next request takes the place of one that was not answered. */
	must(request(fd, &to, "q", 1, 62));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	must(request(fd, &to, "q", 1, 63));
	must(recv(sfd, big, sizeof(big), 0));
	is(send(sfd, "a", 1, 0), 1, "%s: the last one", name);
	is(reply(sfd, &rpc, "aa", 2), 2, "%s: and the first by its id", name);
	must(receive(fd, big, sizeof(big), 0, &rpc));
	is(rpc.cookie, 63, "%s: the last one's answer", name);
	must(receive(fd, big, sizeof(big), 0, &rpc));
	is(rpc.cookie, 62, "%s: the first one's", name);

	/* Answered in another way, it is answered. */
	must(request(fd, &to, "q", 1, 64));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	is(reply(sfd, &rpc, "a", 1), 1, "%s: an answer by id", name);
	fails(send(sfd, "a", 1, 0), EINVAL, "%s: and another one", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 1, "%s: arrives", name);

	/* Requests can be sent, too, and connect() changes nothing. */
	back = name_of(fd);
	if (family == AF_INET)
		back.in4.sin_addr = addr_of(&client, family, 0).in4.sin_addr;
	else
		back.in6.sin6_addr = addr_of(&client, family, 0).in6.sin6_addr;
	must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_SERVER, &one, 4));
	is(request(sfd, &back, "hello", 5, 65), 5, "%s: a request", name);
	must(connect(sfd, &back.sa, addr_len(family)));
	must(receive(fd, big, sizeof(big), 0, &rpc));
	is(reply(fd, &rpc, "hi", 2), 2, "%s: its answer", name);
	is(receive(sfd, big, sizeof(big), 0, &rpc), 2, "%s: arrives", name);
	is(rpc.cookie, 65, "%s: with the cookie", name);
	must(request(fd, &to, "q", 1, 66));
	must(recv(sfd, big, sizeof(big), 0));
	is(send(sfd, "aaa", 3, 0), 3, "%s: an answer when connected", name);
	is(receive(fd, big, sizeof(big), 0, &rpc), 3, "%s: arrives", name);
	is(rpc.cookie, 66, "%s: with the cookie", name);
	send_init(&s, NULL, 4);
	is(sendmsg(sfd, &s.msg, 0), 4, "%s: control data: a request", name);
	must(receive(fd, big, sizeof(big), 0, &rpc));
	is(reply(fd, &rpc, "hi", 2), 2, "%s: its answer", name);
	is(recv(sfd, big, sizeof(big), 0), 2, "%s: arrives", name);

	/* Without it, what is connected sends requests. */
	must(request(fd, &to, "q", 1, 67));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_REPLY, &zero, 4));
	is(send(sfd, "r", 1, 0), 1, "%s: switched off", name);
	is(reply(sfd, &rpc, "a", 1), 1, "%s: an answer by id", name);
	must(receive(fd, big, sizeof(big), 0, &rpc));
	must(receive(fd, big, sizeof(big), 0, &rpc));

	/* A client that gave up is no error; nor is a socket that closes. */
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_REPLY, &one, 4));
	must(request(fd, &to, "q", 1, 68));
	must(recv(sfd, big, sizeof(big), 0));
	close(fd);
	is(send(sfd, "a", 1, 0), 1, "%s: to nobody", name);
	close(sfd);
	sfd = open_server(&server, family, 97);
	fd = open_socket(&client, family);
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_REPLY, &one, 4));
	must(request(fd, &to, "q", 1, 69));
	must(recv(sfd, big, sizeof(big), 0));
	close(sfd);
	close(fd);
}

/* Eight messages of 3000 bytes, each received in another way. */
static void test_receive(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99), i;
	union addr to = addr_of(&server, family, 99), from;
	union control control;
	struct iovec iov[3];
	struct msghdr msg = {};
	socklen_t len;
	struct rpc rpc;

	fails(recv(fd, big, 1, MSG_DONTWAIT), EAGAIN, "%s: MSG_DONTWAIT", name);
	must(fcntl(fd, F_SETFL, O_NONBLOCK));
	fails(recv(fd, big, 1, 0), EAGAIN, "%s: O_NONBLOCK", name);
	fails(receive(fd, big, 1, 0, &rpc), EAGAIN, "%s: EAGAIN, cmsg", name);
	ok(!rpc.present, "%s: ... which names no RPC", name);
	must(fcntl(fd, F_SETFL, 0));
	fails(recv(fd, big, 1, MSG_OOB), EOPNOTSUPP, "%s: MSG_OOB", name);
	fails(recv(fd, big, 1, MSG_ERRQUEUE), EAGAIN, "%s: MSG_ERRQUEUE", name);

	fill(big, 3000, 1);
	for (i = 0; i < 8; i++)
		must(request(fd, &to, big, 3000, i));
	usleep(300000);

	memset(big, 0, 4000);
	is(receive(sfd, big, 100, MSG_PEEK | MSG_TRUNC, &rpc), 3000,
	   "%s: MSG_PEEK", name);
	ok(rpc.present && rpc.id & 1, "%s: ... tells the id", name);
	is(check(big, 100, 1), -1, "%s: ... contents", name);
	is(big[100], 0, "%s: ... and no more", name);
	is(recv(sfd, big, 3000, 0), 3000, "%s: exact buffer", name);
	is(check(big, 3000, 1), -1, "%s: ... contents", name);

	memset(big, 0xee, 4000);
	is(receive(sfd, big, 10, 0, &rpc), 10, "%s: short buffer", name);
	ok(rpc.msg_flags & MSG_TRUNC, "%s: ... sets MSG_TRUNC", name);
	is(check(big, 10, 1), -1, "%s: ... contents", name);
	is((unsigned char)big[10], 0xee, "%s: ... and no more", name);

	is(receive(sfd, big, 10, MSG_TRUNC, &rpc), 3000,
	   "%s: MSG_TRUNC returns the length", name);
	ok(rpc.msg_flags & MSG_TRUNC, "%s: ... and sets MSG_TRUNC", name);

	is(receive(sfd, big, 0, MSG_TRUNC, &rpc), 3000,
	   "%s: empty buffer, MSG_TRUNC", name);

	/* Scattered; a name buffer that is too small is filled, as always. */
	memset(big, 0, 4000);
	memset(&from, 0, sizeof(from));
	memset(&control, 0, sizeof(control));
	iov[0] = (struct iovec){ big, 1 };
	iov[1] = (struct iovec){ big + 1, 1500 };
	iov[2] = (struct iovec){ big + 1501, 10000 };
	msg.msg_iov = iov;
	msg.msg_iovlen = 3;
	msg.msg_name = &from;
	msg.msg_namelen = 4;
	msg.msg_control = &control;
	msg.msg_controllen = CMSG_SPACE(4);
	is(recvmsg(sfd, &msg, 0), 3000, "%s: three iovecs", name);
	is(check(big, 3000, 1), -1, "%s: ... contents", name);
	is(msg.msg_namelen, addr_len(family), "%s: true msg_namelen", name);
	is(from.sa.sa_family, family, "%s: ... with the family", name);
	ok(msg.msg_flags & MSG_CTRUNC, "%s: MSG_CTRUNC", name);

	/* Nothing is lost by that: the next call gets the message. */
	fails(recv(sfd, bad, 3000, 0), EFAULT, "%s: bad buffer", name);
	fails(recv(sfd, bad, 3000, MSG_PEEK), EFAULT, "%s: MSG_PEEK, bad buffer",
	      name);

	len = sizeof(from);
	is(recvfrom(sfd, big, sizeof(big), 0, &from.sa, &len), 3000,
	   "%s: recvfrom()", name);
	is(len, addr_len(family), "%s: ... with an address", name);
	to = name_of(fd);
	to = addr_of(&client, family, port_of(&to));
	ok(addr_equal(&from, &to), "%s: ... which is the client's", name);

	iov[0] = (struct iovec){ big, 1000 };
	iov[1] = (struct iovec){ big + 1000, 5000 };
	is(readv(sfd, iov, 2), 3000, "%s: readv()", name);

	is(recv(sfd, big, 0, 0), 0, "%s: recv() of no bytes", name);
	fails(recv(sfd, big, 10, MSG_DONTWAIT), EAGAIN, "%s: no more", name);
	close(fd);
	close(sfd);
}

static void no_action(int sig __maybe_unused)
{
}

static void test_waiting(void)
{
	struct sigaction action = { .sa_handler = no_action };
	int fd = open_socket(&client, family);
	uint64_t start;
	unsigned int took;
	char buf[8];

	set_timeout(fd, SO_RCVTIMEO, 300);
	start = now_ms();
	fails(recv(fd, buf, 8, 0), EAGAIN, "%s: SO_RCVTIMEO", name);
	took = now_ms() - start;
	ok(took >= 290 && took < 3000, "%s: ... after %u ms", name, took);

	set_timeout(fd, SO_RCVTIMEO, 0);
	sigaction(SIGUSR1, &action, NULL);
	if (!fork()) {
		usleep(200000);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	fails(recv(fd, buf, 8, 0), EINTR, "%s: a signal", name);
	wait(NULL);
	close(fd);
}

static void test_options(void)
{
	int fd = open_socket(&client, family), one = 1, value, i;
	static const int flags[] = { SO_HOMA_SERVER, SO_HOMA_SEALED,
				     SO_HOMA_REPLY };
	static const int paddings[] = { -1, 3, 1000, 1 << 21, INT_MIN };
	socklen_t len = sizeof(value);

	for (i = 0; i < (int)ARRAY_SIZE(flags); i++) {
		is(get_int(fd, IPPROTO_HOMA, flags[i]), 0,
		   "%s: option %d is 0 at first", name, flags[i]);
		is(setsockopt(fd, IPPROTO_HOMA, flags[i], &one, 4), 0,
		   "%s: option %d can be set", name, flags[i]);
		is(get_int(fd, IPPROTO_HOMA, flags[i]), 1, "%s: ... is", name);
		fails(setsockopt(fd, IPPROTO_HOMA, flags[i], &one, 3), EINVAL,
		      "%s: ... with 3 bytes", name);
		fails(setsockopt(fd, IPPROTO_HOMA, flags[i], &one, 0), EINVAL,
		      "%s: ... with 0 bytes", name);
		fails(setsockopt(fd, IPPROTO_HOMA, flags[i], bad, 4), EFAULT,
		      "%s: ... from a bad pointer", name);
		len = 3;
		fails(getsockopt(fd, IPPROTO_HOMA, flags[i], &value, &len),
		      EINVAL, "%s: ... read with 3 bytes", name);
		len = 4;
		fails(getsockopt(fd, IPPROTO_HOMA, flags[i], bad, &len), EFAULT,
		      "%s: ... to a bad pointer", name);
		fails(getsockopt(fd, IPPROTO_HOMA, flags[i], &value, bad),
		      EFAULT, "%s: ... with a bad length pointer", name);
	}
	value = 2;
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_SEALED, &value, 4), EINVAL,
	      "%s: SO_HOMA_SEALED of 2", name);
	fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_REPLY, &value, 4), EINVAL,
	      "%s: SO_HOMA_REPLY of 2", name);
	is(get_int(fd, IPPROTO_HOMA, SO_HOMA_PADDING), 0,
	   "%s: SO_HOMA_PADDING is 0 at first", name);
	for (value = 1024; value <= 1 << 20; value <<= 10) {
		must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_PADDING, &value, 4));
		is(get_int(fd, IPPROTO_HOMA, SO_HOMA_PADDING), value,
		   "%s: SO_HOMA_PADDING of %d", name, value);
	}
	for (i = 0; i < (int)ARRAY_SIZE(paddings); i++)
		fails(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_PADDING,
				 &paddings[i], 4), EINVAL,
		      "%s: SO_HOMA_PADDING of %d", name, paddings[i]);
	value = 1;
	must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_PADDING, &value, 4));
	is(get_int(fd, IPPROTO_HOMA, SO_HOMA_PADDING), 0,
	   "%s: SO_HOMA_PADDING of 1 is none", name);
	for (value = 0; value < 1000; value += 333) {
		fails(setsockopt(fd, IPPROTO_HOMA, value, &one, 4), ENOPROTOOPT,
		      "%s: setsockopt(%d)", name, value);
		len = 4;
		fails(getsockopt(fd, IPPROTO_HOMA, value, &one, &len),
		      ENOPROTOOPT, "%s: getsockopt(%d)", name, value);
	}
	fails(setsockopt(fd, IPPROTO_TCP, 1, &one, 4), ENOPROTOOPT,
	      "%s: an option of TCP", name);
	fails(setsockopt(fd, IPPROTO_UDP, 1, &one, 4), ENOPROTOOPT,
	      "%s: an option of UDP", name);

	/* What belongs to every socket, or to IP, still works. */
	value = 100000;
	is(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, 4), 0,
	   "%s: SO_RCVBUF", name);
	is(get_int(fd, SOL_SOCKET, SO_RCVBUF), 200000, "%s: ... is set", name);
	value = 0x40;
	if (family == AF_INET)
		is(setsockopt(fd, IPPROTO_IP, IP_TOS, &value, 4), 0,
		   "%s: IP_TOS", name);
	else
		is(setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &value, 4), 0,
		   "%s: IPV6_TCLASS", name);
	close(fd);
}

static void test_server_option(void)
{
	int fd = open_socket(&client, family), sfd, zero = 0, one = 1;
	union addr to;
	struct rpc rpc;
	char buf[8];

	/* Any socket can serve, on its automatic port. */
	sfd = open_socket(&server, family);
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_SERVER, &one, 4));
	to = addr_of(&server, family, 1);
	is(connect(sfd, &to.sa, addr_len(family)), 0, "%s: connect()", name);
	to = name_of(sfd);
	to = addr_of(&server, family, port_of(&to));
	is(request(fd, &to, "x", 1, 0), 1, "%s: request to a client port", name);
	is(receive(sfd, buf, 8, 0, &rpc), 1, "%s: arrives", name);
	is(reply(sfd, &rpc, "yz", 2), 2, "%s: reply", name);
	is(receive(fd, buf, 8, 0, &rpc), 2, "%s: arrives", name);

	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_SERVER, &zero, 4));
	is(request(fd, &to, "x", 1, 7), 1, "%s: request to no server", name);
	is(receive(fd, buf, 8, 0, &rpc), -1, "%s: ... fails", name);
	is(rpc.error, ENOTCONN, "%s: ... with ENOTCONN", name);
	is(rpc.cookie, 7, "%s: ... and its cookie", name);
	ok(rpc.flags & HOMA_CMSG_FAILED, "%s: ... HOMA_CMSG_FAILED", name);
	fails(receive(sfd, buf, 8, MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: nothing arrived", name);
	close(sfd);

	/* After bind() a socket serves. */
	sfd = open_server(&server, family, 99);
	is(get_int(sfd, IPPROTO_HOMA, SO_HOMA_SERVER), 1,
	   "%s: bind() makes a server", name);
	close(sfd);
	close(fd);
}

static void test_nobody(void)
{
	int fd = open_socket(&client, family);
	union addr to = addr_of(&server, family, 4321);
	uint64_t start = now_ms();
	struct rpc rpc;
	char buf[8];

	is(request(fd, &to, "x", 1, 9), 1, "%s: request to no socket", name);
	is(receive(fd, buf, 8, 0, &rpc), -1, "%s: ... fails", name);
	is(errno, ENOTCONN, "%s: ... with errno ENOTCONN", name);
	is(rpc.error, ENOTCONN, "%s: ... and error ENOTCONN", name);
	is(rpc.cookie, 9, "%s: ... and its cookie", name);
	is(rpc.id & 1, 0, "%s: ... and its id", name);
	ok(addr_equal(&rpc.peer, &to), "%s: ... and its peer", name);
	ok(now_ms() - start < 2000, "%s: ... at once", name);
	fails(receive(fd, buf, 8, MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: ... once", name);
	close(fd);

	/* No route to these documentation networks. */
	if (!client.ns[0])
		return;
	fd = open_socket(&client, family);
	memset(&to, 0, sizeof(to));
	to = addr_of(&server, family, 99);
	if (family == AF_INET)
		inet_pton(AF_INET, "203.0.113.1", &to.in4.sin_addr);
	else
		inet_pton(AF_INET6, "2001:db8:ffff::1", &to.in6.sin6_addr);
	errno = 0;
	if (request(fd, &to, "x", 1, 9) < 0) {
		ok(errno == ENETUNREACH || errno == EHOSTUNREACH,
		   "%s: no route: sendmsg says %s", name, strerror(errno));
	} else {
		is(receive(fd, buf, 8, 0, &rpc), -1, "%s: no route", name);
		ok(errno == ENETUNREACH || errno == EHOSTUNREACH,
		   "%s: ... says %s", name, strerror(errno));
	}
	ok(connect(fd, &to.sa, addr_len(family)) == -1 &&
	   (errno == ENETUNREACH || errno == EHOSTUNREACH),
	   "%s: connect() without a route", name);
	close(fd);
}

struct waiter {
	pthread_t thread;
	int fd;
	ssize_t ret;
	int err;
};

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;
	char buf[8];

	w->ret = recv(w->fd, buf, sizeof(buf), 0);
	w->err = errno;
	return NULL;
}

static void test_shutdown(void)
{
	int fd = open_socket(&client, family);
	union addr to = addr_of(&server, family, 99);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct waiter w = { .fd = fd };
	char buf[8];

	must(pthread_create(&w.thread, NULL, wait_thread, &w));
	usleep(200000);
	is(shutdown(fd, SHUT_RDWR), 0, "%s: shutdown()", name);
	pthread_join(w.thread, NULL);
	is(w.ret, 0, "%s: shutdown() ends a waiting recv()", name);
	is(recv(fd, buf, 8, 0), 0, "%s: recv() after shutdown()", name);
	is(poll(&pfd, 1, 0), 1, "%s: poll() after shutdown()", name);
	ok(pfd.revents & POLLHUP, "%s: ... POLLHUP", name);
	fails(sendto(fd, "x", 1, 0, &to.sa, addr_len(family)), EPIPE,
	      "%s: sendto() after shutdown()", name);
	close(fd);

	fd = open_socket(&client, family);
	fails(shutdown(fd, 77), EINVAL, "%s: shutdown(77)", name);
	close(fd);

	/* The port is free again. */
	fd = open_server(&server, family, 99);
	must(shutdown(fd, SHUT_RDWR));
	close(fd);
	fd = open_server(&server, family, 99);
	ok(fd >= 0, "%s: port free after shutdown() and close()", name);
	close(fd);
}

static void test_close(void)
{
	int fd = open_socket(&client, family), i;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;
	char buf[8];

	/* Requests on their way in every state: none may outlive the socket. */
	fill(big, sizeof(big), 3);
	for (i = 0; i < 4; i++)
		must(request(fd, &to, big, 1 + i * 300000, i));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	close(fd);
	is(reply(sfd, &rpc, big, 100000), 100000,
	   "%s: reply to a closed client", name);
	usleep(100000);
	close(sfd);
	ok(true, "%s: close() with requests in flight", name);

	/* A server that goes takes no RPC with it silently. */
	fd = open_socket(&client, family);
	sfd = open_server(&server, family, 99);
	must(request(fd, &to, big, 1, 5));
	must(receive(sfd, big, sizeof(big), 0, &rpc));
	close(sfd);
	is(receive(fd, buf, 8, 0, &rpc), -1, "%s: server closed: fails", name);
	ok(rpc.present && rpc.cookie == 5 &&
	   (rpc.error == ENOTCONN || rpc.error == ETIMEDOUT),
	   "%s: ... with %s", name, strerror(rpc.error));
	close(fd);

	/* Two threads: one waits, the other closes; closing does not hang. */
	fd = open_socket(&client, family);
	must(request(fd, &to, big, 100000, 5));
	close(fd);
	ok(true, "%s: close() right after a request", name);
}

/* One socket for both: IPv4 peers have mapped addresses there, as for UDP. */
static void test_mapped(void)
{
	int fd, sfd;
	union addr to, mapped = {};
	struct rpc rpc;
	char buf[8];

	if (family == AF_INET)
		return;
	sfd = open_server(&server, AF_INET6, 99);
	fd = open_socket(&client, AF_INET);
	to = addr_of(&server, AF_INET, 99);
	is(request(fd, &to, "four", 4, 1), 4, "IPv4 request to IPv6 socket");
	is(receive(sfd, buf, 8, 0, &rpc), 4, "arrives");
	ok(rpc.name.sa.sa_family == AF_INET6 &&
	   IN6_IS_ADDR_V4MAPPED(&rpc.name.in6.sin6_addr),
	   "from a mapped address");
	is(reply(sfd, &rpc, "and back", 8), 8, "reply");
	is(receive(fd, buf, 8, 0, &rpc), 8, "arrives");
	ok(addr_equal(&rpc.name, &to), "from the IPv4 address");
	close(fd);
	close(sfd);

	sfd = open_server(&server, AF_INET, 99);
	fd = open_socket(&client, AF_INET6);
	mapped.in6.sin6_family = AF_INET6;
	mapped.in6.sin6_port = htons(99);
	mapped.in6.sin6_addr.s6_addr[10] = 0xff;
	mapped.in6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&mapped.in6.sin6_addr.s6_addr[12], &to.in4.sin_addr, 4);
	is(request(fd, &mapped, "six", 3, 1), 3,
	   "request from an IPv6 socket to a mapped address");
	is(receive(sfd, buf, 8, 0, &rpc), 3, "arrives");
	is(rpc.name.sa.sa_family, AF_INET, "from an IPv4 address");
	is(reply(sfd, &rpc, "and back", 8), 8, "reply");
	is(receive(fd, buf, 8, 0, &rpc), 8, "arrives");
	ok(addr_equal(&rpc.name, &mapped), "from the mapped address");
	close(fd);
	close(sfd);
}

static void test_ioctl(void)
{
	int fd = open_socket(&client, family), i;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct homa_abort_args stop = {};
	struct homa_rpc_info rpcs[4], served[4];
	struct homa_info info = {};
	struct rpc rpc;
	char buf[8];

	is(ioctl(sfd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO", name);
	is(info.port, 99, "%s: ... port", name);
	is(info.num_rpcs, 0, "%s: ... no RPCs", name);
	is(info.bpool_avail_bytes, 0, "%s: ... no pool", name);
	for (i = 0; i < 3; i++)
		must(request(fd, &to, big, 100 + i, 40 + i));
	for (i = 0; i < 3; i++)
		must(receive(sfd, big, sizeof(big), 0, &rpc));
	memset(rpcs, 0xee, sizeof(rpcs));
	info.rpc_info = (uintptr_t)rpcs;
	info.rpc_info_length = 2 * sizeof(rpcs[0]);
	is(ioctl(fd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO", name);
	is(info.num_rpcs, 3, "%s: ... three RPCs", name);
	is(info.rpc_info_length, 2 * sizeof(rpcs[0]), "%s: ... length is kept",
	   name);
	ok(rpcs[0].id && !(rpcs[0].id & 1) && rpcs[0].rx_length == -1 &&
	   rpcs[0].tx_length == (int)rpcs[0].completion_cookie + 60 &&
	   rpcs[0].tx_sent == (unsigned int)rpcs[0].tx_length,
	   "%s: ... and what they are", name);
	ok(addr_equal((union addr *)&rpcs[0].peer, &to), "%s: ... peer", name);
	info.rpc_info = 0;
	is(ioctl(fd, HOMAIOCINFO, &info), 0, "%s: ... without an array", name);
	info.rpc_info = (uintptr_t)rpcs;
	is(*(unsigned char *)&rpcs[2], 0xee, "%s: ... no more than fit", name);
	info.rpc_info = (uintptr_t)served;
	is(ioctl(sfd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO, server", name);
	ok(info.num_rpcs == 3 && served[0].id & 1 && served[0].tx_length == -1 &&
	   !(served[0].flags & HOMA_RPC_RX_READY),
	   "%s: ... a request that was received does not wait", name);
	fails(ioctl(fd, HOMAIOCINFO, bad), EFAULT, "%s: HOMAIOCINFO(bad)", name);
	info.rpc_info = (uintptr_t)bad;
	fails(ioctl(fd, HOMAIOCINFO, &info), EFAULT,
	      "%s: HOMAIOCINFO, bad array", name);

	fails(ioctl(fd, HOMAIOCABORT, bad), EFAULT, "%s: HOMAIOCABORT(bad)",
	      name);
	stop.id = 12345678;
	fails(ioctl(fd, HOMAIOCABORT, &stop), EINVAL,
	      "%s: HOMAIOCABORT of no RPC", name);
	stop.id = rpcs[0].id;
	stop._pad1 = 1;
	fails(ioctl(fd, HOMAIOCABORT, &stop), EINVAL,
	      "%s: HOMAIOCABORT, _pad1", name);
	stop._pad1 = 0;
	stop.error = ECANCELED;
	is(ioctl(fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT", name);
	is(receive(fd, buf, 8, 0, &rpc), -1, "%s: ... is received", name);
	is(rpc.error, ECANCELED, "%s: ... with its error", name);
	is(rpc.id, rpcs[0].id, "%s: ... and id", name);
	stop.id = rpcs[1].id;
	stop.error = 0;
	is(ioctl(fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT(0)", name);
	fails(receive(fd, buf, 8, MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: ... is not received", name);
	stop.id = 0;
	is(ioctl(fd, HOMAIOCABORT, &stop), 0, "%s: HOMAIOCABORT(all)", name);
	info.rpc_info_length = 0;
	is(ioctl(fd, HOMAIOCINFO, &info), 0, "%s: HOMAIOCINFO", name);
	is(info.num_rpcs, 0, "%s: no RPCs are left", name);

	fails(ioctl(fd, HOMAIOCFREEZE, 0), ENOTTY, "%s: HOMAIOCFREEZE", name);
	fails(ioctl(fd, _IO('h', 0x7f), 0), ENOTTY, "%s: unknown ioctl", name);
	close(fd);
	close(sfd);
}

/* The memory of a slow receiver is bounded, and comes back. */
static void test_memory(void)
{
	int fd = open_socket(&client, family), i, sent, got = 0;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;

	must(fcntl(fd, F_SETFL, O_NONBLOCK));
	fill(big, sizeof(big), 1);
	for (sent = 0; sent < 1000; sent++)
		if (request(fd, &to, big, 200000, sent) < 0)
			break;
	ok(sent > 0 && sent < 1000 && errno == EAGAIN,
	   "%s: after %d unanswered requests: %s", name, sent, strerror(errno));
	is(poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 0), 0,
	   "%s: then not writable", name);
	for (i = 0; i < sent; i++) {
		if (receive(sfd, big, sizeof(big), 0, &rpc) != 200000)
			break;
		if (check(big, 200000, 1) >= 0)
			break;
		if (reply(sfd, &rpc, "x", 1) != 1)
			break;
		got++;
	}
	is(got, sent, "%s: all arrive in the end", name);
	must(fcntl(fd, F_SETFL, 0));
	for (i = 0; i < sent; i++)
		if (receive(fd, big, sizeof(big), 0, &rpc) != 1)
			break;
	is(i, sent, "%s: all are answered", name);
	is(poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000), 1,
	   "%s: writable again", name);
	close(fd);
	close(sfd);
}

/*
 * A server that reads nothing for longer than a silent peer is waited for: the
 * clients' requests wait, and none is lost or fails.
 */
static void test_slow(void)
{
	int fd = open_socket(&client, family), i, size = 300000, got = 0;
	int sfd = open_server(&server, family, 99), one = 64 << 20;
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;

	must(setsockopt(sfd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &one, sizeof(one)));
	fill(big, sizeof(big), 8);
	for (i = 0; i < 20; i++)
		must(request(fd, &to, big, 100000, i));
	sleep(7);
	fails(receive(fd, big, sizeof(big), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: slow server: no request failed in 7 s", name);
	for (i = 0; i < 20; i++) {
		if (receive(sfd, big, sizeof(big), 0, &rpc) == 100000 &&
		    check(big, 100000, 8) < 0 &&
		    reply(sfd, &rpc, "x", 1) == 1 &&
		    receive(fd, big, sizeof(big), 0, &rpc) == 1)
			got++;
	}
	is(got, 20, "%s: ... and all are served then", name);
	close(fd);
	close(sfd);

	/* The same with a client that does not read its answers. */
	fd = open_socket(&client, family);
	sfd = open_server(&server, family, 99);
	must(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
	must(setsockopt(sfd, SOL_SOCKET, SO_SNDBUFFORCE, &one, sizeof(one)));
	for (i = 0; i < 20; i++)
		must(request(fd, &to, "q", 1, i));
	fill(big, sizeof(big), 9);
	for (i = 0; i < 20; i++) {
		char word[8];

		must(receive(sfd, word, sizeof(word), 0, &rpc));
		must(reply(sfd, &rpc, big, 100000));
	}
	sleep(7);
	for (i = 0, got = 0; i < 20; i++)
		if (receive(fd, big, sizeof(big), 0, &rpc) == 100000 &&
		    check(big, 100000, 9) < 0)
			got++;
	is(got, 20, "%s: slow client: all answers arrive", name);
	close(fd);
	close(sfd);
}

int main(int, char **argv)
{
	static const struct test tests[] = {
		{ "socket", test_socket },
		{ "bind", test_bind },
		{ "ports", test_ports },
		{ "connect", test_connect },
		{ "send", test_send },
		{ "reply", test_reply },
		{ "reply_to_last", test_reply_to_last },
		{ "receive", test_receive },
		{ "waiting", test_waiting },
		{ "options", test_options },
		{ "server_option", test_server_option },
		{ "nobody", test_nobody },
		{ "shutdown", test_shutdown },
		{ "close", test_close },
		{ "mapped", test_mapped },
		{ "ioctl", test_ioctl },
		{ "memory", test_memory },
		{ "slow", test_slow },
	};

	setup(240);
	return run_tests(tests, ARRAY_SIZE(tests), argv[1], &family,
			 &name);
}
