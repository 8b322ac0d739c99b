// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The next key of a session: which are refused, when it is too soon, and that
 * what was sealed before still arrives. stress --rekey does it under load,
 * hostile/ looks at the packets.
 */
#include "lib.h"

#include <sys/ioctl.h>

static int family;
static const char *name;
static char buf[HOMA_MAX_MESSAGE_LENGTH];

/* A client and a server with a session between them. */
struct pair {
	int cfd, sfd;
	union addr caddr, saddr;
};

static struct pair open_pair(uint64_t seed)
{
	struct pair p;

	p.cfd = open_server(&client, family, 300);
	p.sfd = open_server(&server, family, 99);
	p.caddr = addr_of(&client, family, 300);
	p.saddr = addr_of(&server, family, 99);
	seal_one(p.sfd, &p.caddr, seed, seed + 1);
	seal_one(p.cfd, &p.saddr, seed + 1, seed);
	return p;
}

static void close_pair(struct pair *p)
{
	close(p->cfd);
	close(p->sfd);
}

static int set_seed(int fd, int direction, const union addr *peer,
		    uint64_t seed)
{
	struct homa_tls_key key;

	make_key(&key, peer, seed);
	return set_key(fd, direction, &key);
}

/* The next key for what the client sends, or the server. */
static int rekey_client(struct pair *p, uint64_t seed)
{
	return set_seed(p->sfd, TLS_RX, &p->caddr, seed) ? :
	       set_seed(p->cfd, TLS_TX, &p->saddr, seed);
}

static int rekey_server(struct pair *p, uint64_t seed)
{
	uint64_t end = now_ms() + 5000 * slow;
	int ret = set_seed(p->cfd, TLS_RX, &p->saddr, seed);

	if (ret)
		return ret;
	/* Responses are under way until the client said that it has them. */
	do {
		ret = set_seed(p->sfd, TLS_TX, &p->caddr, seed);
		if (!ret || errno != EBUSY)
			break;
		usleep(10000);
	} while (now_ms() < end);
	return ret;
}

static void works(struct pair *p, size_t there, size_t back, const char *what)
{
	const char *wrong = round_trip(p->cfd, p->sfd, &p->saddr, there, back);

	ok(!wrong, "%s: %s: %s", name, what, wrong ? : "works");
}

static void test_refused(void)
{
	struct pair p = open_pair(100);
	unsigned long long errors = counter(&client, "TlsTxRekeyError");
	int version = tls_version, cipher = tls_cipher;

	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 101), ENOTUNIQ,
	      "%s: the current TX key", name);
	fails(set_seed(p.cfd, TLS_RX, &p.saddr, 100), ENOTUNIQ,
	      "%s: the current RX key", name);
	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 100), ENOTUNIQ,
	      "%s: the RX key as TX key", name);
	fails(set_seed(p.cfd, TLS_RX, &p.saddr, 101), ENOTUNIQ,
	      "%s: the TX key as RX key", name);
	works(&p, 10, 10, "after refused keys");
	is(rekey_client(&p, 110), 0, "%s: the next key", name);
	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 110), ENOTUNIQ,
	      "%s: that one again", name);
	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 101), ENOTUNIQ,
	      "%s: the one before it", name);

	tls_version = version == TLS_1_3_VERSION ? TLS_1_2_VERSION :
						   TLS_1_3_VERSION;
	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 111), EINVAL,
	      "%s: another version", name);
	tls_version = version;
	tls_cipher = cipher == TLS_CIPHER_AES_GCM_128 ? TLS_CIPHER_AES_GCM_256 :
							TLS_CIPHER_AES_GCM_128;
	fails(set_seed(p.cfd, TLS_RX, &p.saddr, 112), EINVAL,
	      "%s: another cipher", name);
	tls_cipher = cipher;
	works(&p, 100000, 30, "after refused keys");
	is(counter(&client, "TlsTxRekeyError") - errors, 5,
	   "%s: TlsTxRekeyError", name);
	close_pair(&p);
}

static void test_epochs(void)
{
	static const size_t lengths[] = { 1, 1400, 30000, 500000 };
	struct pair p = open_pair(200);
	unsigned long long tx = counter(&client, "TlsTxRekeyOk");
	unsigned long long rx = counter(&client, "TlsRxRekeyOk");
	unsigned long long bad = counter(&client, "TlsDecryptError") +
				 counter(&server, "TlsDecryptError");
	size_t i, n = ARRAY_SIZE(lengths);

	works(&p, 10, 10, "epoch 0");
	/* Each direction by itself, and more often than there are numbers. */
	for (i = 0; i < 9; i++) {
		is(rekey_client(&p, 210 + i), 0, "%s: client's key %zu", name,
		   i + 1);
		works(&p, lengths[i % n], 20, "after it");
	}
	for (i = 0; i < 6; i++) {
		is(rekey_server(&p, 220 + i), 0, "%s: server's key %zu", name,
		   i + 1);
		works(&p, 20, lengths[i % n], "after it");
	}
	/* Without a message in between. */
	for (i = 0; i < 6; i++) {
		is(rekey_client(&p, 230 + i), 0, "%s: idle: client's", name);
		is(rekey_server(&p, 240 + i), 0, "%s: idle: server's", name);
	}
	works(&p, 100000, 100000, "after idle rekeys");
	is(counter(&client, "TlsTxRekeyOk") - tx, 15, "%s: TlsTxRekeyOk", name);
	is(counter(&client, "TlsRxRekeyOk") - rx, 12, "%s: TlsRxRekeyOk", name);
	is(counter(&client, "TlsDecryptError") +
	   counter(&server, "TlsDecryptError"), bad, "%s: all records open",
	   name);
	close_pair(&p);
}

/* The one who sends must not run ahead: messages of two epochs at most. */
static void test_under_way(void)
{
	struct pair p = open_pair(300);
	struct homa_abort_args all = {};
	struct rpc old, next, rpc;
	size_t len = 5000;
	int i;

	fill(buf, len, 1);
	must(request(p.cfd, &p.saddr, buf, len, 1));
	is(receive(p.sfd, buf, sizeof(buf), 0, &old), len,
	   "%s: a request of epoch 0", name);
	is(rekey_client(&p, 310), 0, "%s: rekey while it is served", name);
	fails(rekey_client(&p, 311), EBUSY, "%s: and again: too soon", name);
	works(&p, 2000, 3000, "epoch 1");
	must(request(p.cfd, &p.saddr, buf, len, 2));
	is(receive(p.sfd, buf, sizeof(buf), 0, &next), len,
	   "%s: a request of epoch 1", name);
	fails(set_seed(p.cfd, TLS_TX, &p.saddr, 311), EBUSY,
	      "%s: still too soon", name);

	/* The server's keys do not wait for that. */
	is(rekey_server(&p, 320), 0, "%s: the server's next key", name);
	must(reply(p.sfd, &old, "old", 3));
	is(receive(p.cfd, buf, sizeof(buf), 0, &rpc), 3,
	   "%s: the old request is answered", name);
	is(rpc.cookie, 1, "%s: ... with its cookie", name);
	is(set_seed(p.cfd, TLS_TX, &p.saddr, 311), 0,
	   "%s: now the key after the next one is taken", name);
	works(&p, 2000, 3000, "epoch 2");
	must(reply(p.sfd, &next, "next", 4));
	is(receive(p.cfd, buf, sizeof(buf), 0, &rpc), 4,
	   "%s: the request of epoch 1 is answered", name);
	is(rpc.cookie, 2, "%s: ... with its cookie", name);

	/* Responses count until the client has said that it has them. */
	for (i = 0; i < 3; i++) {
		works(&p, 10, 100, "a response");
		is(rekey_server(&p, 330 + i), 0, "%s: server's next key", name);
		works(&p, 10, 100, "after it");
	}

	/* A request that is given up is not under way any more. */
	must(request(p.cfd, &p.saddr, buf, len, 3));
	is(receive(p.sfd, buf, sizeof(buf), 0, &old), len,
	   "%s: a request that gets no answer", name);
	is(rekey_client(&p, 340), 0, "%s: rekey", name);
	fails(rekey_client(&p, 341), EBUSY, "%s: too soon", name);
	must(ioctl(p.cfd, HOMAIOCABORT, &all));
	is(set_seed(p.cfd, TLS_TX, &p.saddr, 341), 0,
	   "%s: not once it is aborted", name);
	works(&p, 20000, 20000, "after it");
	close_pair(&p);
}

/* Who has no key yet drops what comes, and gets it later. */
static void test_early(void)
{
	struct pair p = open_pair(400);
	unsigned long long before;
	struct rpc rpc;

	works(&p, 10, 10, "epoch 0");
	is(set_seed(p.cfd, TLS_TX, &p.saddr, 410), 0,
	   "%s: the sender is first", name);
	before = counter(&server, "drop_no_session");
	fill(buf, 20000, 7);
	must(request(p.cfd, &p.saddr, buf, 20000, 9));
	usleep(100000);
	fails(receive(p.sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc), EAGAIN,
	      "%s: its request does not arrive", name);
	ok(counter(&server, "drop_no_session") > before,
	   "%s: drop_no_session grew", name);
	is(set_seed(p.sfd, TLS_RX, &p.caddr, 410), 0,
	   "%s: then the receiver gets the key", name);
	is(receive(p.sfd, buf, sizeof(buf), 0, &rpc), 20000,
	   "%s: and the request, sent again", name);
	is(check(buf, 20000, 7), -1, "%s: contents", name);
	must(reply(p.sfd, &rpc, "late", 4));
	is(receive(p.cfd, buf, sizeof(buf), 0, &rpc), 4, "%s: its answer",
	   name);
	is(rpc.cookie, 9, "%s: its cookie", name);
	close_pair(&p);
}

static void set_limit(const struct side *side, const char *which, int limit)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/homa/%s", which);
	enter(side);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%d", limit) < 0 || fclose(f))
		bail("%s: %s", path, strerror(errno));
	leave();
}

static short poll_pri(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };

	poll(&pfd, 1, 0);
	return pfd.revents;
}

/* What MSG_ERRQUEUE returns; -1 and errno if there is nothing. */
static int notice(int fd, struct homa_key_cmsg *key)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(*key))];
	} control = {};
	struct msghdr msg = {
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int ret = recvmsg(fd, &msg, MSG_ERRQUEUE);

	if (!ret) {
		is(control.hdr.cmsg_level, IPPROTO_HOMA, "%s: level", name);
		is(control.hdr.cmsg_type, HOMA_CMSG_KEY, "%s: type", name);
		memcpy(key, CMSG_DATA(&control.hdr), sizeof(*key));
	}
	return ret;
}

/* How much a key may seal: half of it is told, and then it is used up. */
static void test_limit(void)
{
	struct homa_abort_args all = {};
	struct homa_key_cmsg key = {};
	struct rpc rpc;
	struct pair p;
	int i, sent;

	/* A message of 16,000 bytes is some 1003 blocks. */
	set_limit(&client, "test_key_blocks", 10000);
	p = open_pair(500);
	works(&p, 100, 100, "before");
	for (sent = 0; sent < 4; sent++)
		works(&p, 16000, 10, "below half");
	is(poll_pri(p.cfd), 0, "%s: no EPOLLPRI below half", name);
	fails(notice(p.cfd, &key), EAGAIN, "%s: nothing to tell", name);
	for (; sent < 6; sent++)
		works(&p, 16000, 10, "above half");
	is(poll_pri(p.cfd), POLLPRI, "%s: EPOLLPRI above half", name);
	is(notice(p.cfd, &key), 0, "%s: the control message", name);
	is(key.direction, TLS_TX, "%s: ... of TLS_TX", name);
	is(key.limit, 10000, "%s: ... with the limit", name);
	ok(key.used >= 5000 && key.used < 7000, "%s: ... and the use: %llu",
	   name, (unsigned long long)key.used);
	ok(!memcmp(&key.peer, &p.saddr, addr_len(family)), "%s: ... and peer",
	   name);
	is(poll_pri(p.cfd), 0, "%s: told once", name);
	fails(notice(p.cfd, &key), EAGAIN, "%s: nothing more", name);
	fill(buf, 16000, 1);
	for (; sent < 20; sent++) {
		if (request(p.cfd, &p.saddr, buf, 16000, 1) < 0)
			break;
		must(receive(p.sfd, buf, sizeof(buf), 0, &rpc));
		must(reply(p.sfd, &rpc, "x", 1));
		must(receive(p.cfd, buf, sizeof(buf), 0, &rpc));
	}
	is(errno, EKEYEXPIRED, "%s: EKEYEXPIRED after %d messages", name, sent);
	ok(sent >= 8 && sent <= 10, "%s: which is when it should be", name);
	set_limit(&client, "test_key_blocks", 0);
	is(rekey_client(&p, 510), 0, "%s: the next key", name);
	works(&p, 16000, 10, "with it");

	/* A response that there is no key for may be tried again with the next. */
	set_limit(&server, "test_key_blocks", 10000);
	is(rekey_server(&p, 515), 0, "%s: the server's key", name);
	set_limit(&server, "test_key_blocks", 0);
	/* What is refused uses nothing of the key. */
	must(request(p.cfd, &p.saddr, "x", 1, 3));
	must(receive(p.sfd, buf, sizeof(buf), 0, &rpc));
	must(reply(p.sfd, &rpc, "once", 4));
	fill(buf, 16000, 1);
	for (i = 0; i < 20; i++)
		fails(reply(p.sfd, &rpc, buf, 16000), EINVAL,
		      "%s: a second response", name);
	is(receive(p.cfd, buf, sizeof(buf), 0, &rpc), 4, "%s: the first", name);
	works(&p, 10, 16000, "and there is key left");

	must(request(p.cfd, &p.saddr, "x", 1, 3));
	must(receive(p.sfd, buf, sizeof(buf), 0, &rpc));
	fill(buf, 300000, 1);
	fails(reply(p.sfd, &rpc, buf, 300000), EKEYEXPIRED,
	      "%s: a response beyond the limit", name);
	is(rekey_server(&p, 520), 0, "%s: the server's next key", name);
	is(reply(p.sfd, &rpc, buf, 30000), 30000, "%s: then it works", name);
	is(receive(p.cfd, buf, sizeof(buf), 0, &rpc), 30000, "%s: ... whole",
	   name);

	/* What does not open. */
	set_limit(&server, "test_key_failures", 4);
	is(set_seed(p.cfd, TLS_TX, &p.saddr, 530), 0, "%s: client's key", name);
	is(set_seed(p.sfd, TLS_RX, &p.caddr, 531), 0, "%s: not server's", name);
	set_limit(&server, "test_key_failures", 0);
	for (i = 0; i < 4; i++)
		must(request(p.cfd, &p.saddr, "forged", 6, 4));
	usleep(200000);
	is(poll_pri(p.sfd), POLLPRI, "%s: EPOLLPRI after failures", name);
	is(notice(p.sfd, &key), 0, "%s: the control message", name);
	is(key.direction, TLS_RX, "%s: ... of TLS_RX", name);
	is(key.limit, 4, "%s: ... with the limit", name);
	fails(request(p.sfd, &p.caddr, "x", 1, 5), EKEYEXPIRED,
	      "%s: too many failures", name);
	must(ioctl(p.cfd, HOMAIOCABORT, &all));
	is(rekey_client(&p, 540), 0, "%s: the next key", name);
	works(&p, 100, 16000, "with it");
	close_pair(&p);
}

int main(int, char **argv)
{
	static const struct test tests[] = {
		{ "refused", test_refused },
		{ "epochs", test_epochs },
		{ "under_way", test_under_way },
		{ "early", test_early },
		{ "limit", test_limit },
	};

	setup(200);
	return run_tests(tests, ARRAY_SIZE(tests), argv[1], &family,
			 &name);
}
