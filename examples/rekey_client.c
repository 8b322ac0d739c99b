// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Changes the keys of a session again and again while requests are under way.
 *
 * Shows three things: a socket that is to be sealed refuses to send without a
 * key (ENOKEY); keys are set, on a connected socket, by the very code of a kTLS
 * program (set_key() in handshake.c); and the next keys are set by the same call,
 * at any time, whatever is under way. A program that has one session for long does
 * that when poll() says POLLPRI: its key is half used up.
 */
#include <errno.h>
#include <linux/homa.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handshake.h"

static const char usage[] =
"usage: rekey_client -s FILE HOST PORT [REQUESTS]\n"
"\n"
"Sends requests (2000) to \"echo_server -s FILE PORT\", 16 at a time, with new keys\n"
"after every 100.\n"
"\n"
"  -s FILE  the secret that the server has, too\n"
"  -h       print this\n";

#define OUTSTANDING 16
#define REKEY_EVERY 100

static void fail(const char *what)
{
	fprintf(stderr, "rekey_client: %s: %s\n", what, strerror(errno));
	if (errno == EPROTONOSUPPORT)
		fprintf(stderr, "Is the module loaded? (insmod homa.ko)\n");
	exit(1);
}

/* Requests are all different: number and length. */
static size_t make(uint32_t number, uint32_t *buf)
{
	size_t words = 1 + number * 37 % 5000, i;

	for (i = 0; i < words; i++)
		buf[i] = number;
	return words * sizeof(*buf);
}

static void receive(int fd, bool *done, uint32_t requests)
{
	static uint32_t got[5001], want[5001];
	ssize_t len = recv(fd, got, sizeof(got), 0);

	if (len < 0)
		fail("recv");
	if (len < 4 || got[0] >= requests || done[got[0]] ||
	    (size_t)len != make(got[0], want) || memcmp(got, want, len)) {
		fprintf(stderr, "rekey_client: %zd bytes that were not sent\n",
			len);
		exit(1);
	}
	done[got[0]] = true;
}

/* A key is half used up: takes note of it. (After a terabyte or so.) */
static void read_notice(int fd)
{
	struct msghdr msg = {};

	if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0)
		fail("MSG_ERRQUEUE");
}

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *server;
	uint32_t requests = 2000, sent = 0, received = 0, rekeys = 0;
	struct pollfd pfd = { .events = POLLIN | POLLPRI };
	unsigned char secret[1024];
	static uint32_t buf[5001];
	size_t secret_len = 0;
	int option, error, one = 1;
	bool *done;

	while ((option = getopt(argc, argv, "s:h")) >= 0) {
		if (option == 's') {
			secret_len = read_secret(optarg, secret);
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (!secret_len || argc - optind < 2 || argc - optind > 3) {
		fputs(usage, stderr);
		return 2;
	}
	if (argc - optind == 3)
		requests = strtoul(argv[optind + 2], NULL, 0);
	done = calloc(requests, sizeof(*done));
	if (!done)
		fail("calloc");

	error = getaddrinfo(argv[optind], argv[optind + 1], &hints, &server);
	if (error) {
		fprintf(stderr, "rekey_client: %s port %s: %s\n", argv[optind],
			argv[optind + 1], gai_strerror(error));
		return 1;
	}
	pfd.fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC,
			IPPROTO_HOMA);
	if (pfd.fd < 0)
		fail("socket");
	if (connect(pfd.fd, server->ai_addr, server->ai_addrlen))
		fail("connect");

	/* Never in clear, come what may. */
	if (setsockopt(pfd.fd, IPPROTO_HOMA, SO_HOMA_SEALED, &one, sizeof(one)))
		fail("SO_HOMA_SEALED");
	if (send(pfd.fd, "secret", 6, 0) >= 0 || errno != ENOKEY)
		fail("sent without a key, or refused for another reason");
	printf("without a key: %s\n", strerror(ENOKEY));

	if (handshake_connect(server->ai_addr, server->ai_addrlen, pfd.fd,
			      secret, secret_len))
		fail("handshake");
	while (received < requests) {
		while (sent < requests && sent - received < OUTSTANDING) {
			if (send(pfd.fd, buf, make(sent, buf), 0) < 0)
				fail("send");
			sent++;
		}
		errno = ETIMEDOUT;
		if (poll(&pfd, 1, 20000) <= 0)
			fail("poll");
		if (pfd.revents & POLLPRI)
			read_notice(pfd.fd);
		if (pfd.revents & POLLPRI ||
		    received / REKEY_EVERY > rekeys) {
			if (handshake_connect(server->ai_addr,
					      server->ai_addrlen, pfd.fd,
					      secret, secret_len))
				fail("the next keys");
			rekeys++;
		}
		if (pfd.revents & POLLIN) {
			receive(pfd.fd, done, requests);
			received++;
		}
	}
	printf("%u requests answered, with %u new pairs of keys meanwhile\n",
	       received, rekeys);
	freeaddrinfo(server);
	free(done);
	close(pfd.fd);
	return 0;
}
