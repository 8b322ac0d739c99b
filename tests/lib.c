// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "lib.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>

struct side client = { .in4 = "127.0.0.1", .in6 = "::1" };
struct side server = { .in4 = "127.0.0.1", .in6 = "::1" };

int slow = 1;

static int home_ns = -1;

static void read_cipher(void);

static void watchdog(int sig __maybe_unused)
{
	static const char text[] = "Bail out! the program's time is up\n";

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(97);
	_exit(98);
}

static void read_side(struct side *side, const char *variable)
{
	const char *value = getenv(variable);

	if (!value)
		return;
	memset(side, 0, sizeof(*side));
	if (sscanf(value, "%63[^,],%15[^,],%45s", side->ns, side->in4,
		   side->in6) != 3)
		bail("%s is \"%s\", not NAMESPACE,IPV4,IPV6", variable, value);
	if (!strcmp(side->ns, "-"))
		side->ns[0] = 0;
}

void setup(unsigned int seconds)
{
	const char *factor = getenv("HOMA_SLOW");

	if (factor)
		slow = atoi(factor);
	setvbuf(stdout, NULL, _IOLBF, 0);
	read_side(&client, "HOMA_TEST_CLIENT");
	read_side(&server, "HOMA_TEST_SERVER");
	read_cipher();
	home_ns = must(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, watchdog);
	alarm(seconds * slow);
	if (!getenv("HOMA_TEST_CLIENT"))
		diag("on the loopback");
}

const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

void enter(const struct side *side)
{
	char path[128];
	int fd;

	if (!side->ns[0])
		return;
	snprintf(path, sizeof(path), "/run/netns/%s", side->ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bail("%s: %s", path, strerror(errno));
	must(setns(fd, CLONE_NEWNET));
	close(fd);
}

void leave(void)
{
	must(setns(home_ns, CLONE_NEWNET));
}

void link_set(const struct side *side, bool up)
{
	struct if_nameindex *all, *one;
	struct ifreq req;
	int fd;

	enter(side);
	fd = must(socket(AF_INET, SOCK_DGRAM, 0));
	all = if_nameindex();
	if (!all)
		bail("if_nameindex: %s", strerror(errno));
	for (one = all; one->if_index; one++) {
		memset(&req, 0, sizeof(req));
		snprintf(req.ifr_name, IFNAMSIZ, "%s", one->if_name);
		must(ioctl(fd, SIOCGIFFLAGS, &req));
		if (req.ifr_flags & IFF_LOOPBACK)
			continue;
		if (up)
			req.ifr_flags |= IFF_UP;
		else
			req.ifr_flags &= ~IFF_UP;
		must(ioctl(fd, SIOCSIFFLAGS, &req));
	}
	if_freenameindex(all);
	close(fd);
	leave();
}

union addr addr_of(const struct side *side, int family, int port)
{
	union addr addr = {};
	int good;

	if (family == AF_INET) {
		addr.in4.sin_family = AF_INET;
		addr.in4.sin_port = htons(port);
		good = inet_pton(AF_INET, side->in4, &addr.in4.sin_addr);
	} else {
		addr.in6.sin6_family = AF_INET6;
		addr.in6.sin6_port = htons(port);
		good = inet_pton(AF_INET6, side->in6, &addr.in6.sin6_addr);
	}
	if (good != 1)
		bail("bad address %s or %s", side->in4, side->in6);
	return addr;
}

socklen_t addr_len(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) :
				   sizeof(struct sockaddr_in6);
}

int port_of(const union addr *addr)
{
	return ntohs(addr->sa.sa_family == AF_INET ? addr->in4.sin_port :
						     addr->in6.sin6_port);
}

union addr name_of(int fd)
{
	union addr addr = {};
	socklen_t len = sizeof(addr);

	must(getsockname(fd, &addr.sa, &len));
	return addr;
}

bool addr_equal(const union addr *a, const union addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family || port_of(a) != port_of(b))
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
	return !memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16);
}

void set_nonblock(int fd)
{
	must(fcntl(fd, F_SETFL, O_NONBLOCK));
}

void set_timeout(int fd, int option, unsigned int ms)
{
	struct timeval tv = {
		.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000,
	};

	must(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)));
}

int open_socket(const struct side *side, int family)
{
	int fd;

	enter(side);
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_HOMA);
	if (fd < 0)
		bail("no Homa socket: %s", strerror(errno));
	leave();
	set_timeout(fd, SO_RCVTIMEO, RECV_TIMEOUT * 1000);
	return fd;
}

int open_server(const struct side *side, int family, int port)
{
	int fd = open_socket(side, family);
	union addr addr = {};

	addr.sa.sa_family = family;
	if (family == AF_INET)
		addr.in4.sin_port = htons(port);
	else
		addr.in6.sin6_port = htons(port);
	must(bind(fd, &addr.sa, addr_len(family)));
	return fd;
}

union control {
	struct cmsghdr hdr;
	char buf[CMSG_SPACE(sizeof(struct homa_rpc_cmsg))];
};

static ssize_t send_rpc(int fd, const union addr *to, const void *buf,
			size_t len, const struct homa_rpc_cmsg *rpc)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	union control control = {};
	struct msghdr msg = {
		.msg_name = (void *)to,
		.msg_namelen = to ? addr_len(to->sa.sa_family) : 0,
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.hdr.cmsg_level = IPPROTO_HOMA;
	control.hdr.cmsg_type = HOMA_CMSG_RPC;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(*rpc));
	memcpy(CMSG_DATA(&control.hdr), rpc, sizeof(*rpc));
	return sendmsg(fd, &msg, 0);
}

ssize_t request(int fd, const union addr *to, const void *buf, size_t len,
		uint64_t cookie)
{
	struct homa_rpc_cmsg rpc = { .cookie = cookie };

	return send_rpc(fd, to, buf, len, &rpc);
}

ssize_t reply(int fd, const struct rpc *rpc, const void *buf, size_t len)
{
	struct homa_rpc_cmsg cmsg = {
		.id = rpc->id, .flags = rpc->flags,
	};

	return send_rpc(fd, &rpc->name, buf, len, &cmsg);
}

ssize_t receive(int fd, void *buf, size_t len, int flags, struct rpc *rpc)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct homa_rpc_cmsg cmsg;
	union control control = {};
	struct msghdr msg = {
		.msg_name = &rpc->name,
		.msg_namelen = sizeof(rpc->name),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t ret;

	memset(rpc, 0, sizeof(*rpc));
	ret = recvmsg(fd, &msg, flags);
	rpc->msg_flags = msg.msg_flags;
	if (control.hdr.cmsg_level == IPPROTO_HOMA &&
	    control.hdr.cmsg_type == HOMA_CMSG_RPC) {
		memcpy(&cmsg, CMSG_DATA(&control.hdr), sizeof(cmsg));
		rpc->present = true;
		rpc->id = cmsg.id;
		rpc->cookie = cmsg.cookie;
		rpc->flags = cmsg.flags;
		rpc->error = cmsg.error;
		memcpy(&rpc->peer, &cmsg.peer, sizeof(cmsg.peer));
	}
	return ret;
}

static const char *problem(const char *fmt, ...)
{
	static _Thread_local char text[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return text;
}

/* One of the two messages of a round trip. */
static const char *transfer(const char *what, ssize_t sent, int to, char *buf,
			    size_t len, uint64_t seed, struct rpc *rpc)
{
	ssize_t ret;

	if (sent < 0)
		return problem("%s: sendmsg: %s", what, strerror(errno));
	if ((size_t)sent != len)
		return problem("%s: sendmsg returned %zd", what, sent);

	memset(buf, 0xee, HOMA_MAX_MESSAGE_LENGTH);
	ret = receive(to, buf, HOMA_MAX_MESSAGE_LENGTH, 0, rpc);
	if (ret < 0)
		return problem("%s: recvmsg: %s", what, strerror(errno));
	if ((size_t)ret != len)
		return problem("%s: %zd bytes arrived", what, ret);
	ret = check(buf, len, seed);
	if (ret >= 0)
		return problem("%s: byte %zd is wrong", what, ret);
	return NULL;
}

const char *round_trip(int cfd, int sfd, const union addr *to,
		       size_t request_len, size_t response_len)
{
	static _Thread_local char buf[HOMA_MAX_MESSAGE_LENGTH];
	static _Thread_local uint64_t count;
	uint64_t seed = mix(request_len * 1000003 + response_len + ++count);
	const char *wrong;
	struct rpc rpc;
	ssize_t ret;

	fill(buf, request_len, seed);
	ret = request(cfd, to, buf, request_len, seed);
	wrong = transfer("request", ret, sfd, buf, request_len, seed, &rpc);
	if (wrong)
		return wrong;
	if (!rpc.present || !(rpc.id & 1) || rpc.cookie)
		return problem("request has id %llu, cookie %llu",
			       (unsigned long long)rpc.id,
			       (unsigned long long)rpc.cookie);

	fill(buf, response_len, ~seed);
	ret = reply(sfd, &rpc, buf, response_len);
	wrong = transfer("response", ret, cfd, buf, response_len, ~seed, &rpc);
	if (wrong)
		return wrong;
	if (!rpc.present || rpc.id & 1 || rpc.cookie != seed)
		return problem("response has id %llu, cookie %llu",
			       (unsigned long long)rpc.id,
			       (unsigned long long)rpc.cookie);
	if (!addr_equal(&rpc.name, to) || !addr_equal(&rpc.peer, to))
		return problem("response is not from the server");
	return NULL;
}

/* The finalizer of splitmix64: any change of x changes half of the bits. */
uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

void fill(void *buf, size_t len, uint64_t seed)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < len; i += 8) {
		word = mix(seed + i);
		memcpy((char *)buf + i, &word, len - i < 8 ? len - i : 8);
	}
}

ssize_t check(const void *buf, size_t len, uint64_t seed)
{
	const unsigned char *bytes = buf;
	uint64_t word = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (!(i & 7))
			word = mix(seed + i);
		if (bytes[i] != (unsigned char)(word >> (i & 7) * 8))
			return i;
	}
	return -1;
}

int tls_version = TLS_1_3_VERSION, tls_cipher = TLS_CIPHER_AES_GCM_128;

/* HOMA_TEST_CIPHER: what make_key() makes, unless the program says more. */
static void read_cipher(void)
{
	const char *value = getenv("HOMA_TEST_CIPHER");
	int version, bits;

	if (!value)
		return;
	if (sscanf(value, "1.%d/%d", &version, &bits) != 2 ||
	    (version != 2 && version != 3) || (bits != 128 && bits != 256))
		bail("HOMA_TEST_CIPHER is \"%s\", not as 1.3/128", value);
	tls_version = version == 2 ? TLS_1_2_VERSION : TLS_1_3_VERSION;
	tls_cipher = bits == 128 ? TLS_CIPHER_AES_GCM_128 :
				   TLS_CIPHER_AES_GCM_256;
	diag("TLS %s", value);
}

void make_key(struct homa_tls_key *key, const union addr *peer, uint64_t seed)
{
	struct tls12_crypto_info_aes_gcm_128 *aes = &key->crypto.aes_gcm_128;
	struct tls12_crypto_info_aes_gcm_256 *long_aes =
		&key->crypto.aes_gcm_256;

	memset(key, 0, sizeof(*key));
	key->peer = peer->storage;
	key->crypto.info.version = tls_version;
	key->crypto.info.cipher_type = tls_cipher;
	if (tls_cipher == TLS_CIPHER_AES_GCM_256) {
		fill(long_aes->key, sizeof(long_aes->key), seed);
		fill(long_aes->salt, sizeof(long_aes->salt), seed + 1000);
		fill(long_aes->iv, sizeof(long_aes->iv), seed + 2000);
		return;
	}
	fill(aes->key, sizeof(aes->key), seed);
	fill(aes->salt, sizeof(aes->salt), seed + 1000);
	fill(aes->iv, sizeof(aes->iv), seed + 2000);
}

socklen_t crypto_size(const struct homa_tls_key *key)
{
	return key->crypto.info.cipher_type == TLS_CIPHER_AES_GCM_256 ?
	       sizeof(key->crypto.aes_gcm_256) : sizeof(key->crypto.aes_gcm_128);
}

int set_key(int fd, int direction, const struct homa_tls_key *key)
{
	return setsockopt(fd, SOL_TLS, direction, key,
			  sizeof(key->peer) + crypto_size(key));
}

int set_connected_key(int fd, int direction, const struct homa_tls_key *key)
{
	return setsockopt(fd, SOL_TLS, direction, &key->crypto,
			  crypto_size(key));
}

void seal_one(int fd, const union addr *peer, uint64_t tx_seed,
	      uint64_t rx_seed)
{
	struct homa_tls_key key;

	make_key(&key, peer, rx_seed);
	must(set_key(fd, TLS_RX, &key));
	make_key(&key, peer, tx_seed);
	must(set_key(fd, TLS_TX, &key));
}

void seal(int cfd, const struct side *cside, int sfd, const struct side *sside,
	  int family)
{
	union addr caddr = name_of(cfd), saddr = name_of(sfd);
	uint64_t seed;

	caddr = addr_of(cside, family, port_of(&caddr));
	saddr = addr_of(sside, family, port_of(&saddr));
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		bail("getrandom");
	seal_one(sfd, &caddr, seed, ~seed);
	seal_one(cfd, &saddr, ~seed, seed);
}

unsigned long long counter(const struct side *side, const char *name)
{
	static const char *const files[] = {
		"/proc/thread-self/net/homa",
		"/proc/thread-self/net/homa_tls_stat",
	};
	unsigned long long value;
	char line[256], word[128];
	bool found = false;
	size_t i;
	FILE *f;

	enter(side);
	for (i = 0; i < ARRAY_SIZE(files) && !found; i++) {
		f = fopen(files[i], "r");
		if (!f)
			bail("%s: %s", files[i], strerror(errno));
		while (!found && fgets(line, sizeof(line), f))
			found = sscanf(line, "%127s %llu", word, &value) == 2 &&
				!strcmp(word, name);
		fclose(f);
	}
	leave();
	if (!found)
		bail("there is no %s in /proc/net/homa*", name);
	return value;
}

static bool all_gone(const struct side *side, const char *name)
{
	unsigned long long left = 0;
	int i;

	for (i = 0; i < 50 * slow; i++) {
		left = counter(side, name);
		if (!left)
			return true;
		usleep(100000);
	}
	diag("%s of %s is %llu", name, side->ns, left);
	return false;
}

void check_clean(void)
{
	ok(all_gone(&client, "live_sockets") && all_gone(&server, "live_sockets"),
	   "no socket is left");
	ok(all_gone(&client, "live_rpcs") && all_gone(&server, "live_rpcs"),
	   "no RPC is left");
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

int run_tests(const struct test *tests, size_t n, const char *only,
	      int *family, const char **name)
{
	static const int families[] = { AF_INET, AF_INET6 };
	size_t i, j, ran = 0;

	for (i = 0; i < ARRAY_SIZE(families); i++) {
		*family = families[i];
		*name = family_name(*family);
		for (j = 0; j < n; j++)
			if (!only || !strcmp(only, tests[j].name)) {
				tests[j].run();
				ran++;
			}
	}
	if (!ran)
		bail("there is no test %s", only);
	check_clean();
	return tap_end();
}
