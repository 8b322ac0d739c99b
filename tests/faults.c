// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Every allocation of the module fails: in each call, the first of them, the
 * second, and so on until the call makes no more; then at random, under
 * traffic. A call whose allocation failed returns ENOMEM or ENOBUFS, or does
 * without; nothing hangs, nothing is left over, and afterwards everything works.
 * The same for copies from and to the program's memory, with EFAULT.
 *
 *	faults [SECONDS]	of traffic with random faults (20)
 *
 * It needs a debug kernel, see scripts/debug-kernel.
 */
#include "inject.h"
#include "lib.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PORT 90
#define POOL (2 << 20)

static uint64_t text_start, text_end;
static char *buffer, *pool;

/* What a call is made on: a client's socket and a server's. */
struct pair {
	int family;
	bool sealed, pooled;
	int cfd, sfd;
	union addr to;
	struct rpc rpc;		/* the request that the server received */
	size_t len;		/* of messages */
};

struct scenario {
	const char *name;
	/* Without faults; false if there is nothing to make the call on. */
	bool (*prepare)(struct pair *pair);
	/* As a system call: -1 and errno if it failed. */
	long (*call)(struct pair *pair);
	size_t len;
	bool sealed, pooled;
	unsigned int allocations, copies;	/* at least so many */
};

static long set_pool(int fd)
{
	struct homa_rcvbuf_args args = {
		.start = (uintptr_t)pool, .length = POOL,
	};

	return setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &args,
			  sizeof(args));
}

static bool two_sockets(struct pair *pair)
{
	pair->cfd = open_socket(&client, pair->family);
	pair->sfd = open_server(&server, pair->family, PORT);
	pair->to = addr_of(&server, pair->family, PORT);
	if (pair->sealed)
		seal(pair->cfd, &client, pair->sfd, &server, pair->family);
	if (pair->pooled)
		must(set_pool(pair->sfd));
	return true;
}

static bool request_sent(struct pair *pair)
{
	struct pollfd pfd = { .events = POLLIN };

	two_sockets(pair);
	must(request(pair->cfd, &pair->to, buffer, pair->len, 7));
	pfd.fd = pair->sfd;
	return poll(&pfd, 1, 20000 * slow) == 1;
}

static bool request_received(struct pair *pair)
{
	return request_sent(pair) &&
	       receive(pair->sfd, buffer, HOMA_MAX_MESSAGE_LENGTH, 0,
		       &pair->rpc) == (ssize_t)pair->len;
}

static bool nothing(struct pair *pair __maybe_unused)
{
	return true;
}

static long call_socket(struct pair *pair)
{
	pair->cfd = socket(pair->family, SOCK_DGRAM, IPPROTO_HOMA);
	return pair->cfd;
}

static long call_bind(struct pair *pair)
{
	union addr addr = { .sa.sa_family = pair->family };

	addr.in4.sin_port = htons(PORT + 1);
	return bind(pair->cfd, &addr.sa, addr_len(pair->family));
}

static long call_connect(struct pair *pair)
{
	return connect(pair->cfd, &pair->to.sa, addr_len(pair->family));
}

static long call_pool(struct pair *pair)
{
	return set_pool(pair->sfd);
}

static long call_key(struct pair *pair)
{
	struct homa_tls_key rx, tx;

	make_key(&rx, &pair->to, 5);
	make_key(&tx, &pair->to, 6);
	return set_key(pair->cfd, TLS_RX, &rx) ? :
	       set_key(pair->cfd, TLS_TX, &tx);
}

static long call_request(struct pair *pair)
{
	return request(pair->cfd, &pair->to, buffer, pair->len, 3);
}

static long call_reply(struct pair *pair)
{
	return reply(pair->sfd, &pair->rpc, buffer, pair->len);
}

static long call_receive(struct pair *pair)
{
	return receive(pair->sfd, buffer, HOMA_MAX_MESSAGE_LENGTH, MSG_DONTWAIT,
		       &pair->rpc);
}

static long call_pool_receive(struct pair *pair)
{
	struct homa_recvmsg_args args = {};
	struct msghdr msg = {
		.msg_control = &args, .msg_controllen = sizeof(args),
	};

	return recvmsg(pair->sfd, &msg, MSG_DONTWAIT);
}

static long call_info(struct pair *pair)
{
	struct homa_rpc_info rpcs[4];
	struct homa_info info = {
		.rpc_info = (uintptr_t)rpcs, .rpc_info_length = sizeof(rpcs),
	};

	return ioctl(pair->cfd, HOMAIOCINFO, &info);
}

static long call_abort(struct pair *pair)
{
	struct homa_abort_args args = { .error = ECANCELED };

	return ioctl(pair->cfd, HOMAIOCABORT, &args);
}

static const struct scenario scenarios[] = {
	{ "socket", nothing, call_socket, .allocations = 2 },
	{ "bind", two_sockets, call_bind, .copies = 0 },
	{ "connect", two_sockets, call_connect },
	{ "SO_HOMA_RCVBUF", two_sockets, call_pool, .copies = 1 },
	{ "TLS_RX and TLS_TX", two_sockets, call_key, .allocations = 4,
	  .copies = 2 },
	{ "request of 1 byte", two_sockets, call_request, 1, .allocations = 2,
	  .copies = 1 },
	{ "request of 1,000 bytes", two_sockets, call_request, 1000,
	  .allocations = 2, .copies = 1 },
	{ "request of 100,000 bytes", two_sockets, call_request, 100000,
	  .allocations = 4, .copies = 1 },
	{ "sealed request of 1,000 bytes", two_sockets, call_request, 1000,
	  .sealed = true, .allocations = 2, .copies = 1 },
	{ "sealed request of 100,000 bytes", two_sockets, call_request, 100000,
	  .sealed = true, .allocations = 4, .copies = 1 },
	{ "reply of 100,000 bytes", request_received, call_reply, 100000,
	  .allocations = 4, .copies = 1 },
	{ "sealed reply of 100,000 bytes", request_received, call_reply, 100000,
	  .sealed = true, .allocations = 4, .copies = 1 },
	{ "recvmsg of 100,000 bytes", request_sent, call_receive, 100000,
	  .copies = 1 },
	{ "sealed recvmsg of 100,000 bytes", request_sent, call_receive, 100000,
	  .sealed = true, .copies = 1 },
	{ "recvmsg with a pool", request_sent, call_pool_receive, 100000,
	  .pooled = true, .copies = 1 },
	{ "sealed recvmsg with a pool", request_sent, call_pool_receive, 100000,
	  .sealed = true, .pooled = true, .copies = 1 },
	{ "HOMAIOCINFO", request_received, call_info, 1000, .copies = 2 },
	{ "HOMAIOCABORT", request_received, call_abort, 1000, .copies = 1 },
};

/* Makes the call again and again, with another fault each time. */
static void each_fault(const struct scenario *s, int family, bool copies)
{
	unsigned int nth, absorbed = 0, odd = 0;
	unsigned int least = copies ? s->copies : s->allocations;
	bool hit = true, prepared = true;

	for (nth = 1; hit && prepared && nth < 2000; nth++) {
		struct pair pair = {
			.family = family, .sealed = s->sealed,
			.pooled = s->pooled, .cfd = -1, .sfd = -1, .len = s->len,
		};
		long ret;
		int err;

		prepared = s->prepare(&pair);
		inject_nth(nth);
		ret = prepared ? s->call(&pair) : 0;
		err = errno;
		hit = inject_done();
		if (ret < 0 && hit && copies)
			odd += err != EFAULT;
		else if (ret < 0 && hit)
			odd += err != ENOMEM && err != ENOBUFS;
		else
			odd += ret < 0;
		if (ret < 0 && odd)
			diag("fault %u: %s", nth, strerrorname_np(err));
		absorbed += hit && ret >= 0;
		if (pair.cfd >= 0)
			close(pair.cfd);
		if (pair.sfd >= 0)
			close(pair.sfd);
	}
	nth -= 2;
	ok(prepared && !odd && !hit && nth >= least,
	   "%s, %s: each of its %s fails, with the errno for that",
	   family_name(family), s->name,
	   copies ? "copies" : "allocations");
	diag("%u faults, %u of them absorbed", nth, absorbed);
	if (nth < least)
		diag("expected at least %u", least);
}

static void still_works(const char *when)
{
	int families[] = { AF_INET, AF_INET6 }, i;

	for (i = 0; i < 4; i++) {
		struct pair pair = { .family = families[i & 1],
				     .sealed = i & 2 };
		const char *wrong;

		two_sockets(&pair);
		wrong = round_trip(pair.cfd, pair.sfd, &pair.to, 300000,
				   300000);
		ok(!wrong, "%s, %s%s works", when, i & 2 ? "sealed " : "",
		   family_name(pair.family));
		if (wrong)
			diag("%s", wrong);
		close(pair.cfd);
		close(pair.sfd);
	}
	check_clean();
}

/* What the module has in a namespace is all there. */
static bool namespace_whole(void)
{
	static const char * const files[] = {
		"/proc/net/homa", "/proc/net/homa_rpcs",
		"/proc/net/homa_tls_stat", "/proc/sys/net/homa/link_mbps",
	};
	int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_HOMA);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		if (access(files[i], R_OK))
			return false;
	return fd >= 0;
}

/* A network namespace that cannot be made is not half made. */
static void namespaces(void)
{
	enum { DONE = 255, WHOLE = 254, HALF = 253 };
	unsigned int nth, failed = 0, absorbed = 0, odd = 0;
	int status = 0;

	for (nth = 1; status != DONE && nth < 200; nth++) {
		pid_t pid = must(fork());

		if (!pid) {
			inject_nth(nth);
			status = unshare(CLONE_NEWNET) ? errno : 0;
			if (!inject_done())
				_exit(status ? HALF : DONE);
			if (!status)
				status = namespace_whole() ? WHOLE : HALF;
			_exit(status);
		}
		must(waitpid(pid, &status, 0));
		status = WIFEXITED(status) ? WEXITSTATUS(status) : HALF;
		failed += status == ENOMEM;
		absorbed += status == WHOLE;
		if (status == ENOMEM || status == WHOLE || status == DONE)
			continue;
		diag("fault %u: %s", nth, status == HALF ?
		     "half made" : strerrorname_np(status));
		odd++;
	}
	ok(failed && !odd && status == DONE,
	   "unshare(CLONE_NEWNET): fails with ENOMEM, or all is there");
	diag("%u faults, %u of them absorbed", nth - 2, absorbed);
}

static struct {
	struct pair pair;
	atomic_int started, refused, answered, failed, wrong, unanswered;
	atomic_bool done;
} traffic;

static bool no_memory(void)
{
	return errno == ENOMEM || errno == ENOBUFS;
}

static void *serve(void *arg __maybe_unused)
{
	static char buf[HOMA_MAX_MESSAGE_LENGTH];
	struct rpc rpc;
	ssize_t len;
	int tries;

	while (!traffic.done) {
		len = receive(traffic.pair.sfd, buf, sizeof(buf), 0, &rpc);
		if (len < 0)
			continue;
		for (tries = 0; reply(traffic.pair.sfd, &rpc, buf, len) < 0;
		     tries++) {
			/* An RPC that such a failure ended is answered by nobody. */
			if (!no_memory() || tries > 100)
				break;
			usleep(100);
		}
	}
	return NULL;
}

static void take_answer(char *buf)
{
	struct rpc rpc;
	ssize_t len = receive(traffic.pair.cfd, buf, HOMA_MAX_MESSAGE_LENGTH, 0,
			      &rpc);

	if (len < 0 && !rpc.present)
		return;
	if (len < 0)
		traffic.failed++;
	else if (check(buf, len, rpc.cookie) >= 0)
		traffic.wrong++;
	else
		traffic.answered++;
}

static int outstanding(void)
{
	return traffic.started - traffic.answered - traffic.failed -
	       traffic.wrong;
}

/* Echoes of all sizes while a percent of what the module allocates fails. */
static void random_faults(int family, bool sealed, int seconds)
{
	static const size_t lens[] = { 1, 100, 1400, 5000, 40000, 300000 };
	static char buf[HOMA_MAX_MESSAGE_LENGTH];
	uint64_t end = now_ms() + seconds * 1000, seed = 1;
	pthread_t thread;

	memset(&traffic, 0, sizeof(traffic));
	traffic.pair.family = family;
	traffic.pair.sealed = sealed;
	two_sockets(&traffic.pair);
	set_timeout(traffic.pair.sfd, SO_RCVTIMEO, 200);
	set_timeout(traffic.pair.cfd, SO_RCVTIMEO, 200);
	must(-pthread_create(&thread, NULL, serve, NULL));
	inject_from(INJECT_SLAB | INJECT_PAGES, text_start, text_end, 1);
	while (now_ms() < end) {
		size_t len = lens[mix(seed++) % ARRAY_SIZE(lens)];

		fill(buf, len, seed);
		if (request(traffic.pair.cfd, &traffic.pair.to, buf, len,
			    seed) >= 0)
			traffic.started++;
		else if (no_memory())
			traffic.refused++;
		else
			traffic.wrong++;
		while (outstanding() > 8 && now_ms() < end)
			take_answer(buf);
	}
	inject_off();
	/* What is still on its way arrives, or is given up within 5 s or so. */
	end = now_ms() + 30000 * slow;
	while (outstanding() > 0 && now_ms() < end)
		take_answer(buf);
	traffic.done = true;
	pthread_join(thread, NULL);
	ok(traffic.answered > 20 && traffic.refused && !traffic.wrong &&
	   !outstanding(),
	   "%s%s: under random faults each RPC ends, with the right bytes",
	   sealed ? "sealed " : "", family_name(family));
	diag("%d started, %d answered, %d failed, %d wrong, %d refused, %d for ever",
	     traffic.started, traffic.answered, traffic.failed, traffic.wrong,
	     traffic.refused, outstanding());
	close(traffic.pair.cfd);
	close(traffic.pair.sfd);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 20;
	size_t i;

	setup(600);
	buffer = malloc(HOMA_MAX_MESSAGE_LENGTH);
	fill(buffer, HOMA_MAX_MESSAGE_LENGTH, 1);
	pool = mmap(NULL, POOL, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	inject_module_range(&text_start, &text_end);

	inject_from(INJECT_SLAB | INJECT_PAGES, text_start, text_end, 0);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		each_fault(&scenarios[i], AF_INET, false);
		each_fault(&scenarios[i], AF_INET6, false);
	}
	namespaces();
	still_works("after failed allocations");

	inject_from(INJECT_COPIES, text_start, text_end, 0);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		each_fault(&scenarios[i], AF_INET, true);
	still_works("after failed copies");

	for (i = 0; i < 4; i++)
		random_faults(i & 1 ? AF_INET6 : AF_INET, i & 2, seconds / 4);
	inject_off();
	still_works("after random faults");
	return tap_end();
}
