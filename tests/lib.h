/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the test programs share: two sides (namespaces) to put sockets on,
 * messages with contents that can be checked, RPCs by control message, keys,
 * counters.
 *
 * Where the sides are comes from the environment, which tests/run sets:
 *
 *	HOMA_TEST_CLIENT=NAMESPACE,IPV4,IPV6
 *	HOMA_TEST_SERVER=NAMESPACE,IPV4,IPV6
 *
 * A namespace "-" is the one that the program runs in. Without the variables
 * both sides are the loopback there.
 */
#ifndef HOMA_TESTS_LIB_H
#define HOMA_TESTS_LIB_H

#include <arpa/inet.h>
#include <linux/homa.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct side {
	char ns[64];		/* empty: the program's own namespace */
	char in4[INET_ADDRSTRLEN];
	char in6[INET6_ADDRSTRLEN];
};

extern struct side client, server;

union addr {
	struct sockaddr sa;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
	struct __kernel_sockaddr_storage storage;
};

/* What came with a message, see struct homa_rpc_cmsg. */
struct rpc {
	uint64_t id, cookie;
	uint32_t flags;
	int error;
	union addr peer;	/* from the control message */
	union addr name;	/* from msg_name */
	int msg_flags;
	bool present;		/* there was a control message */
};

/* How many times as slow as usual the kernel is: HOMA_SLOW, which scripts/vm sets. */
extern int slow;

/*
 * Reads the environment, makes output unbuffered and ends the program, as
 * failed, after so many seconds (times @slow). Call it first.
 */
void setup(unsigned int seconds);

/* "IPv4" or "IPv6". */
const char *family_name(int family);

/* Moves the calling thread to that side's namespace. */
void enter(const struct side *side);
void leave(void);

/* Sets every interface of a side but the loopback up or down. */
void link_set(const struct side *side, bool up);

union addr addr_of(const struct side *side, int family, int port);
socklen_t addr_len(int family);
int port_of(const union addr *addr);
union addr name_of(int fd);
bool addr_equal(const union addr *a, const union addr *b);

/*
 * A Homa socket on that side; receiving gives up (EAGAIN) after RECV_TIMEOUT
 * seconds, so that a lost message is a failed check and not a hang.
 */
#define RECV_TIMEOUT (30 * slow)
int open_socket(const struct side *side, int family);

/* The same, bound to a server port. */
int open_server(const struct side *side, int family, int port);

void set_nonblock(int fd);
void set_timeout(int fd, int option, unsigned int ms);

/* Starts a request; the number of bytes, or -1 and errno. */
ssize_t request(int fd, const union addr *to, const void *buf, size_t len,
		uint64_t cookie);

/* Answers the request that came with @rpc. */
ssize_t reply(int fd, const struct rpc *rpc, const void *buf, size_t len);

/*
 * Receives a message. If it is -1 and @rpc->present, that RPC failed with
 * @rpc->error.
 */
ssize_t receive(int fd, void *buf, size_t len, int flags, struct rpc *rpc);

/*
 * One round trip from @cfd to @sfd (whose address is @to) with the contents
 * checked on both sides: NULL if all was well, else what was not.
 */
const char *round_trip(int cfd, int sfd, const union addr *to,
		       size_t request_len, size_t response_len);

/* Contents that differ everywhere and with each seed. */
void fill(void *buf, size_t len, uint64_t seed);

/* Offset of the first byte that is not as fill() made it, or -1. */
ssize_t check(const void *buf, size_t len, uint64_t seed);

uint64_t mix(uint64_t x);

/*
 * The kind of keys that make_key() makes, as <linux/tls.h> numbers them. Begins
 * with what HOMA_TEST_CIPHER says: 1.2/128, 1.2/256, 1.3/128 (also without the
 * variable) or 1.3/256.
 */
extern int tls_version, tls_cipher;

/* A key for one direction, good for tests only: all of it from @seed. */
void make_key(struct homa_tls_key *key, const union addr *peer, uint64_t seed);

/* Bytes of kTLS's structure in it. */
socklen_t crypto_size(const struct homa_tls_key *key);

/* Sets it on an unconnected socket, or a connected one; as setsockopt(). */
int set_key(int fd, int direction, const struct homa_tls_key *key);
int set_connected_key(int fd, int direction, const struct homa_tls_key *key);

/* A session with fresh keys between two sockets of this process. */
void seal(int cfd, const struct side *cside, int sfd, const struct side *sside,
	  int family);

/* A session on one socket with keys that the other program has too. */
void seal_one(int fd, const union addr *peer, uint64_t tx_seed,
	      uint64_t rx_seed);

/*
 * A line of /proc/net/homa or homa_tls_stat (whichever has it) in that side's
 * namespace. A counter that does not exist ends the program.
 */
unsigned long long counter(const struct side *side, const char *name);

/* Two checks, after all sockets were closed: sockets and RPCs are gone. */
void check_clean(void);

struct test {
	const char *name;
	void (*run)(void);
};

/*
 * Runs all @n tests, or the one called @only (NULL: all), once for each address
 * family, with that in @family and @name; then check_clean(). The exit status.
 */
int run_tests(const struct test *tests, size_t n, const char *only,
	      int *family, const char **name);

uint64_t now_ms(void);

#endif
