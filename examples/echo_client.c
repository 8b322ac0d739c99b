// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sends requests to an echo server, plain or sealed, and compares what comes
 * back. A plain request takes two calls that every sockets program knows:
 * send() and recv() on a connected socket.
 */
#include <errno.h>
#include <linux/homa.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "handshake.h"

static const char usage[] =
"usage: echo_client [-s FILE] [-m TEXT] HOST PORT [LENGTH]...\n"
"\n"
"Sends messages of so many bytes (1 to 1000000; 64) to an echo server.\n"
"\n"
"  -s FILE  sealed, with keys from the secret in FILE (the server's as well)\n"
"  -m TEXT  what the messages contain, repeated as often as needed\n"
"  -h       print this\n";

static char out[HOMA_MAX_MESSAGE_LENGTH], in[HOMA_MAX_MESSAGE_LENGTH];

static void fail(const char *what)
{
	fprintf(stderr, "echo_client: %s: %s\n", what, strerror(errno));
	if (errno == EPROTONOSUPPORT)
		fprintf(stderr, "Is the module loaded? (insmod homa.ko)\n");
	if (errno == ENOTCONN || errno == ETIMEDOUT)
		fprintf(stderr,
			"Is echo_server running there, on this port, and with the same secret?\n");
	exit(1);
}

static long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void echo(int fd, size_t len)
{
	long start = now_us();
	ssize_t got;

	if (send(fd, out, len, 0) < 0)
		fail("send");
	got = recv(fd, in, sizeof(in), 0);
	if (got < 0)
		fail("recv");
	if ((size_t)got != len || memcmp(in, out, len)) {
		fprintf(stderr, "echo_client: sent %zu bytes, %zd others came back\n",
			len, got);
		exit(1);
	}
	printf("%7zu bytes there and back in %ld us\n", len, now_us() - start);
}

int main(int argc, char **argv)
{
	const char *text = "All quiet on the wire. ";
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM }, *server;
	unsigned char secret[1024];
	size_t secret_len = 0, i;
	int fd, option, error;
	long len;

	while ((option = getopt(argc, argv, "s:m:h")) >= 0) {
		if (option == 's') {
			secret_len = read_secret(optarg, secret);
		} else if (option == 'm' && *optarg) {
			text = optarg;
		} else {
			fputs(usage, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (argc - optind < 2) {
		fputs(usage, stderr);
		return 2;
	}
	for (i = 0; i < sizeof(out); i++)
		out[i] = text[i % strlen(text)];

	error = getaddrinfo(argv[optind], argv[optind + 1], &hints, &server);
	if (error) {
		fprintf(stderr, "echo_client: %s port %s: %s\n", argv[optind],
			argv[optind + 1], gai_strerror(error));
		return 1;
	}
	fd = socket(server->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA);
	if (fd < 0)
		fail("socket");
	/* Before connect(), because that is when keys come with an address. */
	if (secret_len && handshake_connect(server->ai_addr, server->ai_addrlen,
					    fd, secret, secret_len))
		fail("handshake");
	if (connect(fd, server->ai_addr, server->ai_addrlen))
		fail("connect");
	freeaddrinfo(server);

	if (argc - optind == 2)
		echo(fd, 64);
	for (optind += 2; optind < argc; optind++) {
		len = atol(argv[optind]);
		if (len < 1 || len > HOMA_MAX_MESSAGE_LENGTH) {
			fprintf(stderr, "echo_client: a message has 1 to %d bytes\n",
				HOMA_MAX_MESSAGE_LENGTH);
			return 2;
		}
		echo(fd, len);
	}
	close(fd);
	return 0;
}
