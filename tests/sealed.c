// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sealed sessions as a program sees them: setting keys, what is sealed and
 * what is refused, keys that do not match, and that nothing leaves in clear.
 * hostile/ and capture.py look at the packets.
 */
#include "lib.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>

/* How long a client waits for a silent server, and some more. */
#define TIMEOUT_MS 7000

static int family;
static const char *name;
static char buf[HOMA_MAX_MESSAGE_LENGTH];
static void *const bad = (void *)16;

/* With the bytes up to the one after the key's; @size may be anything. */
static int set_size(int fd, int direction, const struct homa_tls_key *key,
		    socklen_t size)
{
	return setsockopt(fd, SOL_TLS, direction, key, size);
}

/* A socket connected to @sfd, which has these keys for it. */
static int open_connected(const union addr *to, int sfd, uint64_t tx_seed,
			  uint64_t rx_seed)
{
	int fd = open_socket(&client, family);
	union addr addr;

	must(connect(fd, &to->sa, addr_len(family)));
	addr = name_of(fd);
	addr = addr_of(&client, family, port_of(&addr));
	seal_one(sfd, &addr, tx_seed, rx_seed);
	return fd;
}

static void test_keys(void)
{
	static const int directions[] = { TLS_TX, TLS_RX };
	int fd = open_socket(&client, family), direction;
	union addr to = addr_of(&server, family, 99), none;
	struct homa_tls_key good, key;
	socklen_t len = HOMA_TLS_KEY_SIZE(good.crypto.aes_gcm_128), got;
	struct tls12_crypto_info_aes_gcm_128 *aes = &key.crypto.aes_gcm_128;
	size_t i;

	make_key(&good, &to, 1);
	for (i = 0; i < 2; i++) {
		direction = directions[i];
		key = good;
		fails(set_size(fd, direction, &key, len - 1), EINVAL,
		      "%s: key one byte short", name);
		fails(set_size(fd, direction, &key, len + 1), EINVAL,
		      "%s: key one byte long", name);
		fails(set_size(fd, direction, &key, 0), EINVAL,
		      "%s: empty key", name);
		fails(set_size(fd, direction, &key, sizeof(key.peer)), EINVAL,
		      "%s: no crypto info", name);
		fails(set_size(fd, direction, bad, len), EFAULT,
		      "%s: bad pointer", name);
		fails(setsockopt(fd, SOL_TLS, direction, aes, sizeof(*aes)),
		      EINVAL, "%s: kTLS's struct without connect()", name);
		aes->info.version = 0x0305;
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: TLS version 1.4", name);
		key = good;
		aes->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: ChaCha20", name);
		aes->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		fails(set_size(fd, direction, &key, len), EINVAL,
		      "%s: AES-256 of AES-128's length", name);
		key = good;
		aes->rec_seq[7] = 1;
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: rec_seq is not 0", name);
		none = addr_of(&server, family, 0);
		make_key(&key, &none, 1);
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: peer's port 0", name);
		key = good;
		key.peer.ss_family = AF_UNIX;
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: a peer of AF_UNIX", name);
		key.peer.ss_family = family == AF_INET ? AF_INET6 : 99;
		fails(set_key(fd, direction, &key), EINVAL,
		      "%s: a peer of another family", name);
	}
	got = sizeof(key);
	ok(getsockopt(fd, SOL_TLS, TLS_TX, &key, &got) == -1,
	   "%s: getsockopt(TLS_TX) is refused: %s", name, strerror(errno));
	fails(set_size(fd, 77, &good, len), ENOPROTOOPT,
	      "%s: unknown option of SOL_TLS", name);
	/* None of these made a session. */
	is(request(fd, &to, "x", 1, 0), 1, "%s: still plain", name);

	make_key(&good, &to, 2);
	is(set_key(fd, TLS_TX, &good), 0, "%s: TLS_TX", name);
	ok(set_key(fd, TLS_TX, &good) == -1 &&
	   (errno == ENOTUNIQ || errno == EBUSY), "%s: TX key again: %s", name,
	   strerror(errno));
	make_key(&key, &to, 3);
	is(set_key(fd, TLS_RX, &key), 0, "%s: TLS_RX", name);

	got = sizeof(key);
	memset(&key, 0, sizeof(key));
	getsockopt(fd, SOL_TLS, TLS_TX, &key, &got);
	ok(!memmem(&key, sizeof(key), good.crypto.aes_gcm_128.key, 16),
	   "%s: keys cannot be read back", name);
	close(fd);

	/* Connected: exactly kTLS's struct. */
	fd = open_socket(&client, family);
	must(connect(fd, &to.sa, addr_len(family)));
	make_key(&key, &to, 4);
	fails(set_key(fd, TLS_TX, &key), EINVAL,
	      "%s: struct homa_tls_key on a connected socket", name);
	is(setsockopt(fd, SOL_TLS, TLS_TX, aes, sizeof(*aes)), 0,
	   "%s: kTLS's struct on a connected socket", name);
	close(fd);
}

static void exchange(int cfd, int sfd, const union addr *to, size_t len,
		     bool sealed, const char *what);

/* How many sessions there can be. */
static void test_limits(void)
{
	int fd = open_socket(&client, family), count;
	union addr to = addr_of(&server, family, 99);
	struct homa_tls_key key;

	for (count = 0; count < 200000; count++) {
		to = addr_of(&server, family, 1 + count % 0xffff);
		if (family == AF_INET)
			to.in4.sin_addr.s_addr ^= htonl(count / 0xffff);
		else
			to.in6.sin6_addr.s6_addr[12] ^= count / 0xffff;
		make_key(&key, &to, count);
		if (set_key(fd, TLS_TX, &key))
			break;
	}
	ok(count >= 1000 && count < 200000 &&
	   (errno == ENOSPC || errno == ENOMEM || errno == ENOBUFS),
	   "%s: after %d sessions of a socket: %s", name, count,
	   strerror(errno));
	close(fd);
}

/* What was sent in clear before there was a session does not go on in clear. */
static void test_begin(void)
{
	int fd = open_socket(&client, family);
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc waiting, rpc;

	must(request(fd, &to, "in clear", 8, 3));
	is(receive(sfd, buf, sizeof(buf), 0, &waiting), 8,
	   "%s: a request in clear arrives", name);
	seal(fd, &client, sfd, &server, family);
	is(receive(fd, buf, sizeof(buf), 0, &rpc), -1,
	   "%s: then a session begins: it fails", name);
	is(rpc.error, ECONNRESET, "%s: ... with ECONNRESET", name);
	is(rpc.cookie, 3, "%s: ... and its cookie", name);
	reply(sfd, &waiting, "in clear", 8);
	usleep(200000);
	fails(receive(fd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: ... nor does an answer come", name);
	exchange(fd, sfd, &to, 100, true, "the session");
	close(fd);
	close(sfd);
}

/* One exchange whose messages must both be marked sealed (or not). */
static void exchange(int cfd, int sfd, const union addr *to, size_t len,
		     bool sealed, const char *what)
{
	uint32_t flags = sealed ? HOMA_CMSG_SEALED : 0;
	struct rpc rpc;

	fill(buf, len, len);
	is(request(cfd, to, buf, len, 5), len, "%s: %s: request", name, what);
	memset(buf, 0, len);
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), len, "%s: %s: arrives",
	   name, what);
	is(check(buf, len, len), -1, "%s: %s: contents", name, what);
	is(rpc.flags, flags, "%s: %s: request's flags", name, what);
	fill(buf, len, ~len);
	is(reply(sfd, &rpc, buf, len), len, "%s: %s: reply", name, what);
	memset(buf, 0, len);
	is(receive(cfd, buf, sizeof(buf), 0, &rpc), len, "%s: %s: arrives",
	   name, what);
	is(check(buf, len, ~len), -1, "%s: %s: contents", name, what);
	is(rpc.flags, flags, "%s: %s: response's flags", name, what);
	is(rpc.cookie, 5, "%s: %s: cookie", name, what);
}

static void test_sessions(void)
{
	int fd = open_socket(&client, family), plain, second;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99), addr;
	unsigned long long opened = counter(&server, "TlsRecordsOpened");
	struct homa_tls_key key;

	seal(fd, &client, sfd, &server, family);
	exchange(fd, sfd, &to, 100, true, "sealed");
	ok(counter(&server, "TlsRecordsOpened") > opened,
	   "%s: a record was opened", name);
	exchange(fd, sfd, &to, 1000000, true, "large");

	/* One socket, many peers: each with keys of its own, or none. */
	plain = open_socket(&client, family);
	exchange(plain, sfd, &to, 100, false, "plain beside it");
	second = open_socket(&client, family);
	seal(second, &client, sfd, &server, family);
	exchange(second, sfd, &to, 20000, true, "second session");
	exchange(fd, sfd, &to, 20000, true, "first session");
	close(plain);
	close(second);
	close(fd);

	/* Connected, with kTLS's own struct. */
	fd = open_connected(&to, sfd, 11, 12);
	make_key(&key, &to, 11);
	is(setsockopt(fd, SOL_TLS, TLS_RX, &key.crypto,
		      sizeof(key.crypto.aes_gcm_128)), 0,
	   "%s: connected: TLS_RX", name);
	make_key(&key, &to, 12);
	is(setsockopt(fd, SOL_TLS, TLS_TX, &key.crypto,
		      sizeof(key.crypto.aes_gcm_128)), 0,
	   "%s: connected: TLS_TX", name);
	exchange(fd, sfd, &to, 3000, true, "connected");
	close(fd);

	/* A new socket has no session, on whatever port. */
	fd = open_server(&client, family, 300);
	addr = addr_of(&client, family, 300);
	seal_one(fd, &to, 13, 14);
	seal_one(sfd, &addr, 14, 13);
	exchange(fd, sfd, &to, 3000, true, "port 300");
	close(fd);
	close(sfd);
	fd = open_server(&client, family, 300);
	sfd = open_server(&server, family, 99);
	exchange(fd, sfd, &to, 3000, false, "port 300 again");
	close(fd);
	close(sfd);
}

/* Messages of many lengths both ways, unconnected and connected. */
static void test_cipher(const char *cipher)
{
	static const size_t lengths[] = {
		1, 2, 15, 16, 17, 1000, 1363, 1370, 1400, 1500, 8192, 16331,
		16354, 16355, 16362, 16384, 16385, 65536, 100000,
		HOMA_MAX_MESSAGE_LENGTH,
	};
	int fd = open_socket(&client, family), i, wrongs = 0;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct homa_tls_key key;
	const char *wrong;

	seal(fd, &client, sfd, &server, family);
	for (i = 0; i < (int)ARRAY_SIZE(lengths); i++) {
		wrong = round_trip(fd, sfd, &to, lengths[i],
				   lengths[ARRAY_SIZE(lengths) - 1 - i]);
		if (wrong && !wrongs++)
			diag("%zu bytes: %s", lengths[i], wrong);
	}
	is(wrongs, 0, "%s: %s: %zu lengths there and back", name, cipher,
	   ARRAY_SIZE(lengths));
	exchange(fd, sfd, &to, 30000, true, cipher);
	close(fd);

	fd = open_connected(&to, sfd, 71, 72);
	make_key(&key, &to, 71);
	is(set_connected_key(fd, TLS_RX, &key), 0, "%s: %s: connected: TLS_RX",
	   name, cipher);
	make_key(&key, &to, 72);
	is(set_connected_key(fd, TLS_TX, &key), 0, "%s: %s: connected: TLS_TX",
	   name, cipher);
	exchange(fd, sfd, &to, 100000, true, cipher);
	close(fd);
	close(sfd);
}

static void test_ciphers(void)
{
	static const struct {
		int version, cipher;
		const char *name;
	} all[] = {
		{ TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128, "TLS 1.3 AES-128" },
		{ TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256, "TLS 1.3 AES-256" },
		{ TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128, "TLS 1.2 AES-128" },
		{ TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_256, "TLS 1.2 AES-256" },
	};
	int version = tls_version, cipher = tls_cipher;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		tls_version = all[i].version;
		tls_cipher = all[i].cipher;
		test_cipher(all[i].name);
	}
	tls_version = version;
	tls_cipher = cipher;
}

/* SO_HOMA_REPLY: a sealed answer that failed half-way ended its RPC. */
static void test_half_answer(void)
{
	int fd = open_socket(&client, family), one = 1;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	struct rpc rpc;

	seal(fd, &client, sfd, &server, family);
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_REPLY, &one, 4));
	must(request(fd, &to, "q", 1, 1));
	must(recv(sfd, buf, sizeof(buf), 0));
	fails(send(sfd, bad, 100, 0), EFAULT, "%s: a bad buffer", name);
	fails(send(sfd, "a", 1, 0), EDESTADDRREQ, "%s: once only", name);
	must(request(fd, &to, "q", 1, 2));
	must(recv(sfd, buf, sizeof(buf), 0));
	is(send(sfd, "a", 1, 0), 1, "%s: the next request's answer", name);
	is(receive(fd, buf, sizeof(buf), 0, &rpc), 1, "%s: arrives", name);
	is(rpc.cookie, 2, "%s: of that request", name);
	close(fd);
	close(sfd);
}

static void test_refusal(void)
{
	int fd = open_socket(&client, family), one = 1, sealed_fd;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	unsigned long long before;
	struct rpc rpc;

	must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_SEALED, &one, sizeof(one)));
	fails(request(fd, &to, "x", 1, 0), ENOKEY,
	      "%s: SO_HOMA_SEALED without a session", name);
	fails(sendto(fd, "x", 1, 0, &to.sa, addr_len(family)), ENOKEY,
	      "%s: ... sendto()", name);
	seal(fd, &client, sfd, &server, family);
	exchange(fd, sfd, &to, 100, true, "SO_HOMA_SEALED");
	close(fd);

	/* A server that refuses plain traffic. */
	must(setsockopt(sfd, IPPROTO_HOMA, SO_HOMA_SEALED, &one, sizeof(one)));
	fd = open_socket(&client, family);
	sealed_fd = open_socket(&client, family);
	seal(sealed_fd, &client, sfd, &server, family);
	before = counter(&server, "drop_plain");
	must(request(fd, &to, "plain", 5, 1));
	exchange(sealed_fd, sfd, &to, 100, true, "beside a plain one");
	fails(receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: the plain request does not arrive", name);
	ok(counter(&server, "drop_plain") > before, "%s: drop_plain", name);
	is(receive(fd, buf, sizeof(buf), 0, &rpc), -1, "%s: it fails", name);
	is(rpc.error, ETIMEDOUT, "%s: ... with ETIMEDOUT", name);
	close(fd);
	close(sealed_fd);
	close(sfd);
}

/* A request that must not arrive, and whose failure is awaited later. */
struct trial {
	int fd;
	uint64_t start;
	const char *what;
};

static struct trial trials[16];
static int trials_begun;

/* It is sent, and @drops of the server grows at once. */
static void trial_begin(int fd, int sfd, size_t len, const char *drops,
			const char *what)
{
	union addr to = addr_of(&server, family, 99);
	unsigned long long before = counter(&server, drops);
	struct rpc rpc;

	trials[trials_begun++] = (struct trial){ fd, now_ms(), what };
	is(request(fd, &to, buf, len, 9), len, "%s: %s: sent", name, what);
	usleep(100000);
	ok(counter(&server, drops) > before, "%s: %s: %s grew by %lld", name,
	   what, drops, counter(&server, drops) - before);
	fails(receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: %s: nothing arrived", name, what);
}

static void trials_end(int sfd)
{
	struct trial *t;
	struct rpc rpc;
	int ms;

	for (t = trials; t < trials + trials_begun; t++) {
		is(receive(t->fd, buf, sizeof(buf), 0, &rpc), -1,
		   "%s: %s: fails", name, t->what);
		is(rpc.error, ETIMEDOUT, "%s: %s: ETIMEDOUT", name, t->what);
		is(rpc.cookie, 9, "%s: %s: cookie", name, t->what);
		ms = now_ms() - t->start;
		ok(ms < TIMEOUT_MS + 1000, "%s: %s: after %d ms", name,
		   t->what, ms);
		close(t->fd);
	}
	fails(receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: nothing arrived in all that time", name);
	trials_begun = 0;
}

static void test_wrong_keys(void)
{
	int sfd = open_server(&server, family, 99), fd;
	union addr to = addr_of(&server, family, 99), addr;
	struct homa_tls_key key;

	/* Other keys at each end. */
	fd = open_server(&client, family, 300);
	addr = addr_of(&client, family, 300);
	seal_one(fd, &to, 21, 22);
	seal_one(sfd, &addr, 22, 23);
	trial_begin(fd, sfd, 100, "TlsDecryptError", "wrong key");

	fd = open_server(&client, family, 301);
	addr = addr_of(&client, family, 301);
	seal_one(fd, &to, 24, 25);
	seal_one(sfd, &addr, 25, 26);
	trial_begin(fd, sfd, 300000, "TlsDecryptError", "wrong key, large");

	/* The same key, another IV. */
	fd = open_server(&client, family, 302);
	addr = addr_of(&client, family, 302);
	seal_one(fd, &to, 31, 32);
	make_key(&key, &addr, 31);
	key.crypto.aes_gcm_128.iv[0] ^= 1;
	must(set_key(sfd, TLS_RX, &key));
	make_key(&key, &addr, 32);
	must(set_key(sfd, TLS_TX, &key));
	trial_begin(fd, sfd, 100, "TlsDecryptError", "wrong IV");

	/* Only one side has keys. */
	fd = open_socket(&client, family);
	seal_one(fd, &to, 41, 42);
	trial_begin(fd, sfd, 100, "drop_no_session", "server without keys");
	fd = open_server(&client, family, 303);
	addr = addr_of(&client, family, 303);
	seal_one(sfd, &addr, 51, 52);
	trial_begin(fd, sfd, 100, "drop_plain", "client without keys");

	/* Keys swapped: what is sealed for one direction opens in no other. */
	fd = open_server(&client, family, 304);
	addr = addr_of(&client, family, 304);
	seal_one(fd, &to, 61, 62);
	seal_one(sfd, &addr, 61, 62);
	trial_begin(fd, sfd, 100, "TlsDecryptError", "directions swapped");

	/* All that harms nobody else. */
	fd = open_socket(&client, family);
	seal(fd, &client, sfd, &server, family);
	exchange(fd, sfd, &to, 5000, true, "beside wrong keys");
	trials_end(sfd);
	exchange(fd, sfd, &to, 5000, true, "after wrong keys");
	close(fd);
	close(sfd);
}

/* Counts packets of IP protocol 146, and those with the marker in them. */
static int sniff(int fd, const char *marker, int *all)
{
	static char packet[70000];
	int found = 0;
	ssize_t len;

	*all = 0;
	while ((len = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		(*all)++;
		if (memmem(packet, len, marker, strlen(marker)))
			found++;
	}
	return found;
}

static void test_clear(void)
{
	/* Packets of the plain messages may come again, and late: others are looked for. */
	static const char clear[] = "tonight at the old mill";
	static const char secret[] = "at dawn behind the barn";
	int fd = open_socket(&client, family), tap, all, size = 64 << 20;
	int sfd = open_server(&server, family, 99);
	union addr to = addr_of(&server, family, 99);
	size_t i, len = 200000;
	struct rpc rpc;

	enter(&server);
	tap = must(socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL)));
	leave();
	must(setsockopt(tap, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)));
	for (i = 0; i < len; i++)
		buf[i] = clear[i % (sizeof(clear) - 1)];

	must(request(fd, &to, buf, len, 0));
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), len, "%s: plain", name);
	must(reply(sfd, &rpc, buf, len));
	is(receive(fd, buf, sizeof(buf), 0, &rpc), len, "%s: plain", name);
	i = sniff(tap, clear, &all);
	ok(i > 3, "%s: %zu of %d plain packets show the text", name, i, all);

	for (i = 0; i < len; i++)
		buf[i] = secret[i % (sizeof(secret) - 1)];
	seal(fd, &client, sfd, &server, family);
	must(request(fd, &to, buf, len, 0));
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), len, "%s: sealed", name);
	must(reply(sfd, &rpc, buf, len));
	is(receive(fd, buf, sizeof(buf), 0, &rpc), len, "%s: sealed", name);
	must(request(fd, &to, buf, 100, 0));
	is(receive(sfd, buf, sizeof(buf), 0, &rpc), 100, "%s: sealed", name);
	must(reply(sfd, &rpc, buf, 100));
	is(receive(fd, buf, sizeof(buf), 0, &rpc), 100, "%s: sealed", name);
	i = sniff(tap, secret, &all);
	ok(all > 3, "%s: %d packets seen", name, all);
	is(i, 0, "%s: no sealed packet shows the text", name);
	close(tap);
	close(fd);
	close(sfd);
}

int main(int, char **argv)
{
	static const struct test tests[] = {
		{ "keys", test_keys },
		{ "limits", test_limits },
		{ "begin", test_begin },
		{ "sessions", test_sessions },
		{ "ciphers", test_ciphers },
		{ "half_answer", test_half_answer },
		{ "refusal", test_refusal },
		{ "wrong_keys", test_wrong_keys },
		{ "clear", test_clear },
	};

	setup(300);
	return run_tests(tests, ARRAY_SIZE(tests), argv[1], &family,
			 &name);
}
