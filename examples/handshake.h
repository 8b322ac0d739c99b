/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A stand-in for a TLS handshake, so that the examples need no TLS library.
 *
 * A real program does the handshake with its TLS library over an ordinary TCP
 * connection and takes from it what this file makes up: a fresh key and IV for
 * each direction. What matters for Homa is only that both ends set them before
 * the first sealed message, and that no key is ever used for two sessions.
 *
 * Here, client and server prove nothing to each other; they mix a secret that
 * both have with random numbers that they exchange over TCP. There is no forward
 * secrecy and no identity: fit for trying things out, not for data you care for.
 */
#ifndef HOMA_EXAMPLES_HANDSHAKE_H
#define HOMA_EXAMPLES_HANDSHAKE_H

#include <linux/homa.h>
#include <stddef.h>

/* Reads a secret of 16 to 1024 bytes from a file; its length, or exits. */
size_t read_secret(const char *path, unsigned char secret[1024]);

/* Listens on the TCP port that has the same number as the Homa port. */
int handshake_listen(int family, int port);

/*
 * Server: accepts one client on @listener and sets its keys on the Homa socket:
 * the first ones of a session, or the next.
 * 0, or -1 if this client did not do its part.
 */
int handshake_accept(int listener, int homa, const unsigned char *secret,
		     size_t len);

/*
 * Client: connects to @server (the same address as for Homa, by TCP) and sets
 * the keys on the Homa socket, connected or not: the first ones of a session, or
 * the next. 0, or -1 and errno.
 */
int handshake_connect(const struct sockaddr *server, socklen_t size, int homa,
		      const unsigned char *secret, size_t len);

#endif
