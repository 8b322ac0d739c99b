// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * kTLS over TCP, offloaded to a NIC for transmission.
 *
 *	nic_ktls serve
 *	nic_ktls send HOST [--bits 128|256|0] [--connections N] [--bytes N] [--seed N]
 *		[--software] [--offloaded N] [--expect-failure] [--wander]
 *		[--rounds N] [--model DEVICE] [--tune OPTION]...
 *
 * The sender has one thread and two connections for each of N: one to agree on
 * keys and, at the end, to hear how it went; and one for the data, whose
 * bytes are TLS from the first on. The data are of a pattern, so that the
 * receiver, which decrypts in software, can tell whether they are what was
 * sent. A "ktls-key" line for each connection goes to the output for
 * tools/nic-model's ktls-verify, which looks at a capture.
 *
 * That the NIC did encrypt is asked of /proc/net/tls_stat. --software wants the
 * contrary, --offloaded that it does for so many connections. --bits 0 takes both
 * lengths of keys in turn. --rounds does all of it so many times, with the next
 * seed each time. Before each round, OPTIONs are given to the model NIC, whose
 * PCI device is DEVICE, with the seed in place of "@": --tune 'sched seed=@'.
 *
 * With --wander a sender is on another CPU for each piece that it sends, and so
 * prefers another queue of the NIC: see net.core.txq_reselection_ms.
 *
 * --expect-failure is for a NIC that is broken on purpose: there
 * must be connections that the receiver refuses for a record that does not
 * decrypt, and still none with wrong data.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib.h"

#define CONTROL_PORT "4420"
#define MAGIC 0x6b746c73
#define CHUNK 65536
#define PATIENCE 120 /* seconds without any progress */

/* Registers of the model NIC's own: see tools/nic-model/README.md. */
#define MODEL_COMMAND 0xf0
#define MODEL_TEXT 0xe00
#define MODEL_TUNE (4u << 24)

/* What the sender tells first, and the receiver last. Both are of one kind of machine. */
struct hello {
	uint32_t magic;
	uint32_t bits;
	uint8_t key[32];
	uint8_t salt[4];
	uint8_t iv[8];
	uint8_t rec_seq[8];
	uint64_t bytes;
	uint64_t seed;
};

struct verdict {
	uint64_t bytes; /* of which all were right */
	int32_t error; /* what recv() failed with */
	uint32_t wrong; /* the next one was another than was sent */
};

struct connection {
	pthread_t thread;
	struct hello hello;
	struct verdict verdict;
	uint16_t src_port, dst_port;
	int send_error; /* what send() failed with */
	const char *trouble; /* what failed before anything could be tested */
	int trouble_errno;
};

static const char *host;
static bool wander;
/* Nobody sends before all have their keys: so many connections there are at a time. */
static pthread_barrier_t keys_set;

static uint64_t scramble(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* Bytes from @at on of the pattern that @seed gives: words of splitmix64. */
static void pattern(uint8_t *buf, size_t len, uint64_t seed, uint64_t at)
{
	while (len) {
		uint64_t word = scramble(seed + (at / 8 + 1) * 0x9e3779b97f4a7c15);
		size_t skip = at % 8, n = 8 - skip < len ? 8 - skip : len;

		memcpy(buf, (uint8_t *)&word + skip, n);
		buf += n;
		at += n;
		len -= n;
	}
}

static bool read_all(int fd, void *buf, size_t len)
{
	return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

static bool write_all(int fd, const void *buf, size_t len)
{
	return send(fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void patience(int fd)
{
	struct timeval time = { .tv_sec = PATIENCE * slow };

	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)));
}

/* Keys of TLS 1.2 into the kernel. */
static int set_keys(int fd, int direction, const struct hello *hello)
{
	struct tls12_crypto_info_aes_gcm_128 k128 = {
		.info = { TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128 },
	};
	struct tls12_crypto_info_aes_gcm_256 k256 = {
		.info = { TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_256 },
	};

	if (setsockopt(fd, SOL_TCP, TCP_ULP, "tls", sizeof("tls")))
		return -1;
	if (hello->bits == 128) {
		memcpy(k128.key, hello->key, sizeof(k128.key));
		memcpy(k128.salt, hello->salt, sizeof(k128.salt));
		memcpy(k128.iv, hello->iv, sizeof(k128.iv));
		memcpy(k128.rec_seq, hello->rec_seq, sizeof(k128.rec_seq));
		return setsockopt(fd, SOL_TLS, direction, &k128, sizeof(k128));
	}
	memcpy(k256.key, hello->key, sizeof(k256.key));
	memcpy(k256.salt, hello->salt, sizeof(k256.salt));
	memcpy(k256.iv, hello->iv, sizeof(k256.iv));
	memcpy(k256.rec_seq, hello->rec_seq, sizeof(k256.rec_seq));
	return setsockopt(fd, SOL_TLS, direction, &k256, sizeof(k256));
}

/* --- the receiver ------------------------------------------------------------------------- */

static void check_stream(int fd, const struct hello *hello, struct verdict *verdict)
{
	static __thread uint8_t got[CHUNK], want[CHUNK];

	while (verdict->bytes < hello->bytes) {
		ssize_t n = recv(fd, got, sizeof(got), 0);

		if (n <= 0) {
			verdict->error = n ? errno : EPIPE;
			return;
		}
		pattern(want, n, hello->seed, verdict->bytes);
		if (memcmp(got, want, n)) {
			verdict->wrong = 1;
			return;
		}
		verdict->bytes += n;
	}
	/* Not a byte more. */
	if (recv(fd, got, 1, 0))
		verdict->wrong = 1;
}

static void *serve_one(void *arg)
{
	int control = (intptr_t)arg, listener, fd;
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	struct verdict verdict = {};
	struct hello hello;
	uint16_t port;

	patience(control);
	if (!read_all(control, &hello, sizeof(hello)) || hello.magic != MAGIC)
		goto out_control;
	listener = must(socket(AF_INET, SOCK_STREAM, 0));
	patience(listener);
	must(bind(listener, (void *)&addr, sizeof(addr)));
	must(listen(listener, 1));
	must(getsockname(listener, (void *)&addr, &len));
	port = ntohs(addr.sin_port);
	if (!write_all(control, &port, sizeof(port)))
		goto out_listener;
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		goto out_listener;
	patience(fd);
	if (set_keys(fd, TLS_RX, &hello))
		verdict.error = errno;
	/* Only now may it send: keys are not taken after the other end has shut down. */
	if (write_all(control, "", 1) && !verdict.error)
		check_stream(fd, &hello, &verdict);
	close(fd);
	write_all(control, &verdict, sizeof(verdict));
out_listener:
	close(listener);
out_control:
	close(control);
	return NULL;
}

static int serve(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(CONTROL_PORT)),
	};
	int fd = must(socket(AF_INET, SOCK_STREAM, 0)), one = 1;

	must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	must(bind(fd, (void *)&addr, sizeof(addr)));
	must(listen(fd, 4096));
	for (;;) {
		intptr_t control = must(accept(fd, NULL, NULL));
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve_one, (void *)control))
			bail("no thread for another connection");
		pthread_detach(thread);
	}
}

/* --- the sender --------------------------------------------------------------------------- */

/* Connects, to who may be still booting. */
static int dial(const char *port, uint16_t *src_port)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	struct addrinfo *to;
	int fd = -1, i;

	if (getaddrinfo(host, port, &hints, &to))
		return -1;
	for (i = 0; i < 60 * slow; i++) {
		fd = must(socket(AF_INET, SOCK_STREAM, 0));
		patience(fd);
		if (!connect(fd, to->ai_addr, to->ai_addrlen))
			break;
		close(fd);
		fd = -1;
		if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ETIMEDOUT)
			break;
		sleep(1);
	}
	freeaddrinfo(to);
	if (fd >= 0 && !getsockname(fd, (void *)&addr, &len))
		*src_port = ntohs(addr.sin_port);
	return fd;
}

/* On to another CPU. */
static void move(uint64_t dice)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(dice % sysconf(_SC_NPROCESSORS_ONLN), &set);
	must(sched_setaffinity(0, sizeof(set), &set));
}

/* Pieces of all sizes, some of which wait for the next one: records begin and end anywhere. */
static void transmit(struct connection *c, int fd)
{
	static __thread uint8_t buf[CHUNK];
	uint64_t at = 0, dice = c->hello.seed;

	while (at < c->hello.bytes) {
		uint64_t left = c->hello.bytes - at;
		size_t len;
		ssize_t n;

		dice = scramble(dice + 1);
		len = dice % 4 ? 1 + (dice >> 8) % CHUNK : 1 + (dice >> 8) % 2000;
		if (len > left)
			len = left;
		pattern(buf, len, c->hello.seed, at);
		if (wander)
			move(dice >> 32);
		n = send(fd, buf, len, MSG_NOSIGNAL | (dice & 0x70 || len == left ? 0 : MSG_MORE));
		if (n <= 0) {
			c->send_error = errno;
			return;
		}
		at += n;
	}
}

static void *send_one(void *arg)
{
	struct connection *c = arg;
	char port[8];
	uint16_t unused;
	int control, fd = -1;
	bool waited = false;

	c->trouble = "connect";
	control = dial(CONTROL_PORT, &unused);
	if (control < 0)
		goto trouble;
	c->trouble = "agree on keys";
	if (!write_all(control, &c->hello, sizeof(c->hello)) ||
	    !read_all(control, &c->dst_port, sizeof(c->dst_port)))
		goto trouble;
	c->trouble = "connect for data";
	snprintf(port, sizeof(port), "%d", c->dst_port);
	fd = dial(port, &c->src_port);
	if (fd < 0)
		goto trouble;
	c->trouble = "set keys";
	if (set_keys(fd, TLS_TX, &c->hello))
		goto trouble;
	c->trouble = "wait for the receiver's keys";
	if (!read_all(control, port, 1))
		goto trouble;
	pthread_barrier_wait(&keys_set);
	waited = true;
	transmit(c, fd);
	shutdown(fd, SHUT_WR);
	c->trouble = "hear how it went";
	if (!read_all(control, &c->verdict, sizeof(c->verdict)))
		goto trouble;
	c->trouble = NULL;
trouble:
	c->trouble_errno = errno;
	if (!waited)
		pthread_barrier_wait(&keys_set);
	if (fd >= 0)
		close(fd);
	if (control >= 0)
		close(control);
	return NULL;
}

/* A counter of /proc/net/tls_stat. */
static long tls_counter(const char *name)
{
	FILE *file = fopen("/proc/net/tls_stat", "r");
	char found[64];
	long value = -1, v;

	if (!file)
		bail("/proc/net/tls_stat: %s: is the module tls there?", strerror(errno));
	while (fscanf(file, "%63s %ld", found, &v) == 2)
		if (!strcmp(found, name))
			value = v;
	fclose(file);
	return value;
}

static void log_key(const struct connection *c)
{
	char key[65], salt[9], iv[17];
	uint64_t seq;
	size_t i;

	for (i = 0; i < c->hello.bits / 8; i++)
		sprintf(key + 2 * i, "%02x", c->hello.key[i]);
	for (i = 0; i < sizeof(c->hello.salt); i++)
		sprintf(salt + 2 * i, "%02x", c->hello.salt[i]);
	for (i = 0; i < sizeof(c->hello.iv); i++)
		sprintf(iv + 2 * i, "%02x", c->hello.iv[i]);
	memcpy(&seq, c->hello.rec_seq, sizeof(seq));
	diag("ktls-key %u %u 1.2 %s %s %s %llu 0 %llu %llu", c->src_port, c->dst_port, key, salt,
	     iv, (unsigned long long)be64toh(seq), (unsigned long long)c->hello.bytes,
	     (unsigned long long)c->hello.seed);
}

#define TUNES 4

struct options {
	uint32_t bits;
	int connections, rounds, offloaded;
	uint64_t bytes, seed;
	bool expect_failure;
	const char *model, *tune[TUNES];
	int tunes;
};

/* Returns how many connections were right, and says what was wrong with the others. */
static int judge(const struct options *opt, const struct connection *all)
{
	int right = 0, refused = 0, wrong = 0, troubled = 0, i;

	for (i = 0; i < opt->connections; i++) {
		const struct connection *c = all + i;
		const struct verdict *v = &c->verdict;

		if (c->trouble) {
			troubled++;
			diag("connection %d: cannot %s: %s", i, c->trouble,
			     strerror(c->trouble_errno));
			continue;
		}
		log_key(c);
		wrong += !!v->wrong;
		refused += v->error == EBADMSG;
		if (!v->wrong && !v->error && !c->send_error && v->bytes == c->hello.bytes)
			right++;
		else
			diag("connection %d: %llu bytes were right, then recv: %s, send: %s%s", i,
			     (unsigned long long)v->bytes, strerror(v->error),
			     strerror(c->send_error), v->wrong ? ", WRONG DATA" : "");
	}
	if (opt->rounds > 1)
		return right;
	is(troubled, 0, "all connections were made");
	is(wrong, 0, "no wrong byte was taken for a right one");
	if (opt->expect_failure)
		ok(refused > 0 && right + refused <= opt->connections,
		   "a broken NIC is noticed: records that do not decrypt (%d of %d connections)",
		   refused, opt->connections);
	else
		is(right, opt->connections, "%d connections, %llu bytes each: all arrived",
		   opt->connections, (unsigned long long)opt->bytes);
	return right;
}

/* Gives an option to the model NIC. */
static void tune(const struct options *opt, const char *text, uint64_t seed)
{
	const char *at = strchr(text, '@');
	char path[100], option[200];
	uint32_t command;
	int fd, len;

	if (at)
		len = snprintf(option, sizeof(option), "%.*s%llu%s", (int)(at - text), text,
			       (unsigned long long)seed, at + 1);
	else
		len = snprintf(option, sizeof(option), "%s", text);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", opt->model);
	fd = must(open(path, O_RDWR));
	command = htole32(MODEL_TUNE | len);
	if (pwrite(fd, option, len, MODEL_TEXT) != len ||
	    pwrite(fd, &command, sizeof(command), MODEL_COMMAND) != sizeof(command))
		bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* All connections at once, to their end. */
static void run(const struct options *opt, struct connection *all, uint64_t first_seed)
{
	int i;

	memset(all, 0, opt->connections * sizeof(*all));
	for (i = 0; i < opt->connections; i++) {
		struct hello *hello = &all[i].hello;
		uint64_t seed = scramble(first_seed * 1000003 + i);
		uint64_t seq = htobe64(scramble(seed + 4) >> 8);

		hello->magic = MAGIC;
		hello->bits = opt->bits ? opt->bits : i % 2 ? 256 : 128;
		hello->bytes = opt->bytes;
		hello->seed = seed;
		pattern(hello->key, sizeof(hello->key), seed + 1, 0);
		pattern(hello->salt, sizeof(hello->salt), seed + 2, 0);
		pattern(hello->iv, sizeof(hello->iv), seed + 3, 0);
		memcpy(hello->rec_seq, &seq, sizeof(seq));
		if (pthread_create(&all[i].thread, NULL, send_one, all + i))
			bail("no thread for another connection");
	}
	for (i = 0; i < opt->connections; i++)
		pthread_join(all[i].thread, NULL);
}

static int transmitter(const struct options *opt)
{
	int expected = opt->connections * opt->rounds, right, i, round;
	int offloaded = opt->offloaded < 0 ? expected : opt->offloaded;
	struct connection *all = calloc(opt->connections, sizeof(*all));
	long device, in_software;

	if (!all)
		bail("no memory");
	pthread_barrier_init(&keys_set, NULL, opt->connections);
	device = tls_counter("TlsTxDevice");
	in_software = tls_counter("TlsTxSw");
	for (round = 0; round < opt->rounds; round++) {
		uint64_t seed = opt->seed + round;

		for (i = 0; i < opt->tunes; i++)
			tune(opt, opt->tune[i], seed);
		run(opt, all, seed);
		right = judge(opt, all);
		if (opt->rounds > 1)
			is(right, opt->connections, "seed %llu: all arrived",
			   (unsigned long long)seed);
	}
	device = tls_counter("TlsTxDevice") - device;
	in_software = tls_counter("TlsTxSw") - in_software;
	is(device, offloaded, "connections that the NIC encrypts");
	is(in_software, expected - offloaded, "connections that the CPU encrypts");
	free(all);
	return tap_end();
}

int main(int argc, char **argv)
{
	struct options opt = {
		.bits = 128, .connections = 1, .rounds = 1, .offloaded = -1,
		.bytes = 1000000, .seed = 1,
	};
	int i;

	setup(24 * 3600);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc < 3 || strcmp(argv[1], "send"))
		bail("nic_ktls serve, or nic_ktls send HOST [OPTION]...");
	host = argv[2];
	for (i = 3; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		bool taken = true;

		if (!strcmp(argv[i], "--software")) {
			opt.offloaded = 0;
			continue;
		} else if (!strcmp(argv[i], "--expect-failure")) {
			opt.expect_failure = true;
			continue;
		} else if (!strcmp(argv[i], "--wander")) {
			wander = true;
			continue;
		} else if (!strcmp(argv[i], "--bits")) {
			opt.bits = atoi(value);
		} else if (!strcmp(argv[i], "--connections")) {
			opt.connections = atoi(value);
		} else if (!strcmp(argv[i], "--rounds")) {
			opt.rounds = atoi(value);
		} else if (!strcmp(argv[i], "--offloaded")) {
			opt.offloaded = atoi(value);
		} else if (!strcmp(argv[i], "--model")) {
			opt.model = value;
		} else if (!strcmp(argv[i], "--tune") && opt.tunes < TUNES) {
			opt.tune[opt.tunes++] = value;
		} else if (!strcmp(argv[i], "--bytes")) {
			opt.bytes = strtoull(value, NULL, 0);
		} else if (!strcmp(argv[i], "--seed")) {
			opt.seed = strtoull(value, NULL, 0);
		} else {
			taken = false;
		}
		if (!taken || !*value)
			bail("there is no option %s, or it lacks its value", argv[i]);
		i++;
	}
	if (opt.bits && opt.bits != 128 && opt.bits != 256)
		bail("--bits is 128, 256, or 0 for both");
	if (opt.connections < 1 || opt.rounds < 1 || !opt.bytes)
		bail("there must be a connection, a round and a byte");
	if (opt.tunes && !opt.model)
		bail("--tune needs --model");
	return transmitter(&opt);
}
