// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A stand-in for a TLS handshake: see handshake.h. */
#include "handshake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* What each side tells the other. */
struct hello {
	unsigned char random[32];
	uint16_t port;		/* the client's Homa port, big-endian */
};

/* ---- SHA-256 and HMAC (FIPS 180-4, RFC 2104) ----------------------------- */

static const uint32_t sha_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t h[8], const unsigned char *p)
{
	uint32_t w[64], s[8], t1, t2;
	int i;

	for (i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
	for (; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof(s));
	for (i = 0; i < 64; i++) {
		t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) +
		     ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
		t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) +
		     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		h[i] += s[i];
}

/* The hash of a short message, at most 2 KiB: enough for a handshake. */
static void sha256(const unsigned char *msg, size_t len, unsigned char out[32])
{
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	unsigned char last[128] = {};
	size_t full = len / 64 * 64, rest = len - full, i;
	size_t end = rest < 56 ? 64 : 128;

	for (i = 0; i < full; i += 64)
		sha256_block(h, msg + i);
	memcpy(last, msg + full, rest);
	last[rest] = 0x80;
	last[end - 2] = len * 8 >> 8;
	last[end - 1] = len * 8;
	last[end - 3] = len * 8 >> 16;
	for (i = 0; i < end; i += 64)
		sha256_block(h, last + i);
	for (i = 0; i < 32; i++)
		out[i] = h[i / 4] >> (24 - i % 4 * 8);
}

static void hmac(const unsigned char *key, size_t key_len,
		 const unsigned char *msg, size_t len, unsigned char out[32])
{
	unsigned char inner[64 + 256], outer[64 + 32], block[64] = {};
	int i;

	if (key_len > 64)
		sha256(key, key_len, block);
	else
		memcpy(block, key, key_len);
	for (i = 0; i < 64; i++) {
		inner[i] = block[i] ^ 0x36;
		outer[i] = block[i] ^ 0x5c;
	}
	memcpy(inner + 64, msg, len);
	sha256(inner, 64 + len, outer + 64);
	sha256(outer, sizeof(outer), out);
}

/* ---- Keys ----------------------------------------------------------------- */

/*
 * The key that seals messages may be followed by the next one while messages under
 * way have it, but not by the one after that: then we wait for them.
 */
static int set_when_free(int homa, int direction, const void *key,
			 socklen_t size)
{
	int tries = 500, ret;

	do {
		ret = setsockopt(homa, SOL_TLS, direction, key, size);
	} while (ret && errno == EBUSY && tries-- && !usleep(10000));
	return ret;
}

static int set_key(int homa, int direction, const char *sender,
		   const struct sockaddr *peer, socklen_t size,
		   const struct hello *client, const struct hello *server,
		   const unsigned char *secret, size_t len)
{
	struct homa_tls_key key = {};
	struct tls12_crypto_info_aes_gcm_128 *aes = &key.crypto.aes_gcm_128;
	unsigned char msg[sizeof(*client) + sizeof(*server) + 6], hash[32];
	struct sockaddr_storage to;
	socklen_t to_size = sizeof(to);

	memcpy(msg, client, sizeof(*client));
	memcpy(msg + sizeof(*client), server, sizeof(*server));
	memcpy(msg + sizeof(*client) + sizeof(*server), sender, 6);
	hmac(secret, len, msg, sizeof(msg), hash);

	aes->info.version = TLS_1_3_VERSION;
	aes->info.cipher_type = TLS_CIPHER_AES_GCM_128;
	memcpy(aes->key, hash, sizeof(aes->key));
	memcpy(aes->salt, hash + 16, sizeof(aes->salt));
	memcpy(aes->iv, hash + 20, sizeof(aes->iv));
	/* A connected socket: as for kTLS on a TCP socket, to the byte. */
	if (!getpeername(homa, (struct sockaddr *)&to, &to_size))
		return set_when_free(homa, direction, aes, sizeof(*aes));
	memcpy(&key.peer, peer, size);
	return set_when_free(homa, direction, &key,
			     HOMA_TLS_KEY_SIZE(key.crypto.aes_gcm_128));
}

static int set_keys(int homa, const char *we, const char *they,
		    const struct sockaddr *peer, socklen_t size,
		    const struct hello *client, const struct hello *server,
		    const unsigned char *secret, size_t len)
{
	if (set_key(homa, TLS_RX, they, peer, size, client, server, secret,
		    len))
		return -1;
	return set_key(homa, TLS_TX, we, peer, size, client, server, secret,
		       len);
}

static int fresh(struct hello *hello)
{
	memset(hello, 0, sizeof(*hello));
	return getrandom(hello->random, sizeof(hello->random), 0) < 0 ? -1 : 0;
}

size_t read_secret(const char *path, unsigned char secret[1024])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	len = fd < 0 ? -1 : read(fd, secret, 1024);
	if (len < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	close(fd);
	if (len < 16) {
		fprintf(stderr,
			"%s: a secret has 16 bytes or more: head -c 32 /dev/urandom >FILE makes one\n",
			path);
		exit(1);
	}
	return len;
}

/* ---- The exchange --------------------------------------------------------- */

/* Nobody shall keep us waiting. */
static void set_timeout(int fd)
{
	struct timeval tv = { .tv_sec = 5 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* The port of a socket address, which IPv4 and IPv6 have in the same place. */
static uint16_t *port_in(struct sockaddr_storage *addr)
{
	return &((struct sockaddr_in *)addr)->sin_port;
}

int handshake_listen(int family, int port)
{
	struct sockaddr_storage addr = { .ss_family = family };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	*port_in(&addr) = htons(port);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr,
		 family == AF_INET ? sizeof(struct sockaddr_in) :
				     sizeof(struct sockaddr_in6)) ||
	    listen(fd, 16)) {
		fprintf(stderr, "TCP port %d: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

int handshake_accept(int listener, int homa, const unsigned char *secret,
		     size_t len)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	struct hello client, server;
	int fd, ret = -1;

	fd = accept(listener, (struct sockaddr *)&peer, &size);
	if (fd < 0)
		return -1;
	set_timeout(fd);
	if (recv(fd, &client, sizeof(client), MSG_WAITALL) != sizeof(client) ||
	    fresh(&server))
		goto out;
	/* The client may send as soon as it has our answer: so keys first. */
	*port_in(&peer) = client.port;
	if (set_keys(homa, "server", "client", (struct sockaddr *)&peer, size,
		     &client, &server, secret, len))
		goto out;
	if (send(fd, &server, sizeof(server), MSG_NOSIGNAL) == sizeof(server))
		ret = 0;
out:
	close(fd);
	return ret;
}

int handshake_connect(const struct sockaddr *address, socklen_t size, int homa,
		      const unsigned char *secret, size_t len)
{
	struct sockaddr_storage own;
	socklen_t own_size = sizeof(own);
	struct hello client, server;
	ssize_t got;
	int fd, ret = -1;

	fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	set_timeout(fd);
	if (connect(fd, address, size) ||
	    getsockname(homa, (struct sockaddr *)&own, &own_size) ||
	    fresh(&client))
		goto out;
	client.port = *port_in(&own);
	if (send(fd, &client, sizeof(client), MSG_NOSIGNAL) != sizeof(client))
		goto out;
	got = recv(fd, &server, sizeof(server), MSG_WAITALL);
	if (got != sizeof(server)) {
		errno = got < 0 ? errno : ECONNRESET;
		goto out;
	}
	ret = set_keys(homa, "client", "server", address, size, &client,
		       &server, secret, len);
out:
	close(fd);
	return ret;
}
