// SPDX-License-Identifier: GPL-2.0 OR MIT
/* poll(), select() and epoll on Homa sockets. */
#include "lib.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int family;
static const char *name;
static char buf[100000];

static short events(int fd, short wanted, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = wanted };

	return poll(&pfd, 1, ms) < 0 ? -1 : pfd.revents;
}

static void test_poll(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;
	uint64_t start;

	is(events(fd, POLLIN | POLLOUT, 0), POLLOUT,
	   "%s: a new socket can be written to", name);
	is(events(sfd, POLLIN, 0), 0, "%s: and has nothing to read", name);
	start = now_ms();
	is(events(sfd, POLLIN, 200), 0, "%s: poll() with a timeout", name);
	ok(now_ms() - start >= 190, "%s: ... waits for it", name);

	must(request(fd, &to, buf, 10, 1));
	is(events(sfd, POLLIN | POLLRDNORM, 5000), POLLIN | POLLRDNORM,
	   "%s: a request makes the server readable", name);
	is(events(sfd, POLLIN, 0), POLLIN, "%s: ... until it is read", name);
	is(events(fd, POLLIN, 0), 0, "%s: not the client", name);
	must(receive(sfd, buf, sizeof(buf), 0, &rpc));
	is(events(sfd, POLLIN, 0), 0, "%s: ... and then no more", name);
	must(reply(sfd, &rpc, buf, sizeof(buf)));
	is(events(fd, POLLIN, 5000), POLLIN,
	   "%s: a response makes the client readable", name);
	must(receive(fd, buf, sizeof(buf), 0, &rpc));
	is(events(fd, POLLIN, 0), 0, "%s: ... once", name);
	close(fd);

	/* What failed is something to receive too. */
	fd = open_socket(&client, family);
	to = addr_of(&server, family, 4321);
	must(request(fd, &to, buf, 10, 1));
	ok(events(fd, POLLIN, 9000) & POLLIN,
	   "%s: a failed RPC makes the client readable", name);
	is(receive(fd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), -1,
	   "%s: ... and is received", name);
	ok(rpc.present, "%s: ... with its name", name);
	is(events(fd, POLLIN | POLLERR, 0), 0, "%s: ... once", name);

	must(shutdown(fd, SHUT_RDWR));
	ok(events(fd, POLLIN, 0) & POLLHUP, "%s: POLLHUP after shutdown()",
	   name);
	close(fd);
	close(sfd);
}

static void test_select(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct timeval tv = { .tv_usec = 100000 };
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(sfd, &in);
	is(select(sfd + 1, &in, NULL, NULL, &tv), 0, "%s: select()", name);
	must(request(fd, &to, buf, 10, 1));
	tv.tv_sec = 5;
	FD_SET(sfd, &in);
	FD_SET(fd, &out);
	while (select(sfd + 1, &in, NULL, NULL, &tv) < 0)
		;
	ok(FD_ISSET(sfd, &in), "%s: select() reads", name);
	is(select(fd + 1, NULL, &out, NULL, &tv), 1, "%s: select() writes",
	   name);
	close(fd);
	close(sfd);
}

static void test_epoll(void)
{
	int ep = must(epoll_create1(0)), fd = open_socket(&client, family), i;
	int sfd[3], got[3] = {};
	struct epoll_event ev = {}, evs[4];
	union addr to;
	struct rpc rpc;

	for (i = 0; i < 3; i++) {
		sfd[i] = open_server(&server, family, 100 + i);
		ev.events = i == 2 ? EPOLLIN | EPOLLET : EPOLLIN;
		ev.data.u32 = i;
		must(epoll_ctl(ep, EPOLL_CTL_ADD, sfd[i], &ev));
	}
	is(epoll_wait(ep, evs, 4, 100), 0, "%s: epoll_wait()", name);
	for (i = 0; i < 3; i++) {
		to = addr_of(&server, family, 100 + i);
		must(request(fd, &to, buf, 10 + i, i));
	}
	usleep(300000);
	is(epoll_wait(ep, evs, 4, 5000), 3, "%s: three sockets ready", name);
	for (i = 0; i < 3; i++)
		got[evs[i].data.u32 % 3]++;
	ok(got[0] == 1 && got[1] == 1 && got[2] == 1, "%s: each once", name);
	is(epoll_wait(ep, evs, 4, 0), 2,
	   "%s: level-triggered ones still are", name);
	for (i = 0; i < 3; i++)
		is(receive(sfd[i], buf, sizeof(buf), 0, &rpc), 10 + i,
		   "%s: socket %d's message", name, i);
	is(epoll_wait(ep, evs, 4, 0), 0, "%s: all read", name);

	/* Edge-triggered: each message is an edge, though none is read. */
	to = addr_of(&server, family, 102);
	must(request(fd, &to, buf, 10, 1));
	is(epoll_wait(ep, evs, 4, 5000), 1, "%s: edge", name);
	must(request(fd, &to, buf, 10, 1));
	is(epoll_wait(ep, evs, 4, 5000), 1, "%s: another edge", name);
	is(epoll_wait(ep, evs, 4, 100), 0, "%s: no third one", name);
	close(sfd[2]);
	is(epoll_wait(ep, evs, 4, 0), 0, "%s: closed socket", name);
	close(sfd[0]);
	close(sfd[1]);
	close(fd);
	close(ep);
}

/* Writable again when memory is: see "memory" in api.c for the other half. */
static void test_writable(void)
{
	int fd = open_socket(&client, family), sent, size = 100000;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct homa_abort_args all = {};

	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	must(fcntl(fd, F_SETFL, O_NONBLOCK));
	for (sent = 0; sent < 1000; sent++)
		if (request(fd, &to, buf, sizeof(buf), sent) < 0)
			break;
	ok(sent && sent < 1000, "%s: %d requests fill the socket", name, sent);
	is(errno, EAGAIN, "%s: ... with EAGAIN", name);
	is(events(fd, POLLOUT, 0), 0, "%s: not writable", name);
	must(ioctl(fd, HOMAIOCABORT, &all));
	is(events(fd, POLLOUT, 5000), POLLOUT, "%s: writable after an abort",
	   name);
	ok(request(fd, &to, buf, 1, 1) == 1, "%s: ... indeed", name);
	close(fd);
	close(sfd);
}

struct sleeper {
	pthread_t thread;
	int fd, ep, ret;
	uint64_t woken;
};

/* Sleeps in sendmsg(). */
static void *send_thread(void *arg)
{
	struct sleeper *s = arg;
	union addr to = addr_of(&server, family, 99);

	s->ret = request(s->fd, &to, "abcd", 4, 1);
	s->woken = now_ms();
	return NULL;
}

static void *poll_thread(void *arg)
{
	struct sleeper *s = arg;

	s->ret = events(s->fd, POLLOUT, 5000);
	s->woken = now_ms();
	return NULL;
}

static void *epoll_thread(void *arg)
{
	struct sleeper *s = arg;
	struct epoll_event ev = {};

	s->ret = epoll_wait(s->ep, &ev, 1, 5000) == 1 ? ev.events : 0;
	s->woken = now_ms();
	return NULL;
}

/*
 * Who sleeps until there is room is woken by the memory itself: in sendmsg(), in
 * poll(), and by the edge after EAGAIN, which nothing asked for again.
 */
static void test_room(void)
{
	int fd = open_socket(&client, family), sent, size = 100000;
	int sfd = open_server(&server, family, 99), ep = epoll_create1(0);
	union addr to = addr_of(&server, family, 99);
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLET };
	struct homa_abort_args all = {};
	struct sleeper sender = { .fd = fd }, poller = { .fd = fd };
	struct sleeper epoller = { .ep = ep };
	struct timeval limit = { .tv_sec = 5 };
	uint64_t start;

	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	is(epoll_wait(ep, &ev, 1, 5000), 1, "%s: writable at first", name);
	must(fcntl(fd, F_SETFL, O_NONBLOCK));
	for (sent = 0; sent < 1000; sent++)
		if (request(fd, &to, buf, sizeof(buf), sent) < 0)
			break;
	is(errno, EAGAIN, "%s: full", name);
	must(fcntl(fd, F_SETFL, 0));
	is(epoll_wait(ep, &ev, 1, 100), 0, "%s: no edge while it is", name);
	must(pthread_create(&epoller.thread, NULL, epoll_thread, &epoller));
	must(pthread_create(&sender.thread, NULL, send_thread, &sender));
	must(pthread_create(&poller.thread, NULL, poll_thread, &poller));
	usleep(300000);
	start = now_ms();
	must(ioctl(fd, HOMAIOCABORT, &all));
	pthread_join(sender.thread, NULL);
	pthread_join(poller.thread, NULL);
	pthread_join(epoller.thread, NULL);
	/* At the end of their time all three look once more: too late. */
	ok(sender.ret == 4 && sender.woken - start < 3000,
	   "%s: room wakes a sender", name);
	ok(poller.ret == POLLOUT && poller.woken - start < 3000,
	   "%s: ... who polls", name);
	ok(epoller.ret & EPOLLOUT && epoller.woken - start < 3000,
	   "%s: ... and is an edge", name);
	close(ep);
	close(fd);
	close(sfd);
}

struct waiter {
	pthread_t thread;
	int fd, count;
};

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;
	struct rpc rpc;
	char word[8];

	while (receive(w->fd, word, sizeof(word), 0, &rpc) == 4)
		w->count++;
	return NULL;
}

/* Eight threads in recvmsg() on one socket: each message wakes one. */
static void test_threads(void)
{
	int fd = open_socket(&client, family), i, sum = 0;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct waiter w[8] = {};

	for (i = 0; i < 8; i++) {
		w[i].fd = sfd;
		must(pthread_create(&w[i].thread, NULL, wait_thread, &w[i]));
	}
	usleep(200000);
	for (i = 0; i < 200; i++)
		must(request(fd, &to, "abcd", 4, i));
	usleep(500000);
	/* A message of another length ends a thread. */
	for (i = 0; i < 8; i++)
		must(request(fd, &to, "end", 3, i));
	for (i = 0; i < 8; i++) {
		pthread_join(w[i].thread, NULL);
		sum += w[i].count;
	}
	is(sum, 200, "%s: eight threads receive 200 messages, each once", name);
	close(fd);
	close(sfd);
}

int main(void)
{
	setup(120);
	for (family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
		name = family_name(family);
		test_poll();
		test_select();
		test_epoll();
		test_writable();
		test_room();
		test_threads();
	}
	check_clean();
	return tap_end();
}
