// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Random sequences of system calls with random arguments on Homa sockets, by
 * several threads at once: nothing may crash, hang, leak or stop other traffic.
 * The seed is printed, and repeats a run as far as threads allow.
 *
 *	fuzz_syscalls [CALLS [SEED [THREADS]]]
 */
#include "lib.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>

#define FDS 12

static _Atomic int fds[FDS];
static long calls = 30000, threads = 3;
static atomic_long left, succeeded;
static atomic_long errnos[256];	/* [0]: those that no program should see */
static unsigned long long seed;
static _Thread_local uint64_t state;

/* Three pages: data, read-only, and one that is not there. */
static char *arena;
#define PAGE 4096
#define ARENA (300 * PAGE)

static uint64_t rnd(void)
{
	return mix(state++);
}

static uint64_t below(uint64_t n)
{
	return rnd() % n;
}

static bool chance(int percent)
{
	return below(100) < (uint64_t)percent;
}

/* Mostly good memory; sometimes the end of it, read-only, none, or nonsense. */
static void *pointer(void)
{
	switch (below(40)) {
	case 0:
		return NULL;
	case 1:
		return (void *)rnd();
	case 2:
		return arena + ARENA - below(64);
	case 3:
		return arena + ARENA + below(PAGE);
	case 4:
		return arena + ARENA + PAGE - below(64);
	default:
		return arena + below(ARENA / 2);
	}
}

static size_t length(void)
{
	static const size_t edges[] = {
		0, 1, 2, 1399, 1400, 1420, 1500, 16384, 65536, 100000, 999999,
		1000000, 1000001, 0x7fffffff, 0xffffffff, ~0ul,
	};

	if (chance(50))
		return below(3000);
	if (chance(50))
		return below(HOMA_MAX_MESSAGE_LENGTH + 10);
	return edges[below(ARRAY_SIZE(edges))];
}

static uint32_t interesting(void)
{
	static const uint32_t values[] = {
		0, 1, 2, 3, 4, 7, 8, 10, 11, 12, 146, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff,
	};

	return chance(80) ? values[below(ARRAY_SIZE(values))] : (uint32_t)rnd();
}

static int family(void)
{
	return chance(50) ? AF_INET : AF_INET6;
}

static union addr address(void)
{
	int port = chance(70) ? 99 + below(4) : chance(80) ? interesting() : 0;
	union addr addr = addr_of(chance(70) ? &server : &client, family(),
				  port);

	if (chance(3))
		fill(&addr, sizeof(addr), rnd());
	if (chance(2))
		addr.sa.sa_family = interesting();
	return addr;
}

static socklen_t address_len(const union addr *addr)
{
	return chance(95) ? addr_len(addr->sa.sa_family) : below(200);
}

static int some_fd(void)
{
	return fds[below(FDS)];
}

static long count_call(long ret)
{
	if (ret >= 0)
		succeeded++;
	else
		errnos[errno > 0 && errno < 256 ? errno : 0]++;
	return ret;
}

#define CALL(call) (errno = 0, count_call((long)(call)))

static void replace_fd(int slot)
{
	const struct side *side = chance(50) ? &client : &server;
	struct timeval tv = { .tv_usec = 2000 };
	int fd, old;

	enter(side);
	fd = socket(family(), SOCK_DGRAM | (chance(60) ? SOCK_NONBLOCK : 0),
		    IPPROTO_HOMA);
	leave();
	if (fd < 0)
		bail("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (chance(50)) {
		union addr addr = address();

		CALL(bind(fd, &addr.sa, address_len(&addr)));
	}
	old = atomic_exchange(&fds[slot], fd);
	if (old >= 0)
		CALL(close(old));
}

/* The ids of RPCs that were received, so that some replies make sense. */
static _Thread_local struct rpc last;

static size_t make_control(char *control)
{
	struct cmsghdr *hdr = (void *)control;
	struct homa_rpc_cmsg rpc = {};

	hdr->cmsg_level = chance(95) ? IPPROTO_HOMA : interesting();
	hdr->cmsg_type = chance(95) ? HOMA_CMSG_RPC : interesting();
	hdr->cmsg_len = chance(95) ? CMSG_LEN(sizeof(rpc)) : below(100);
	if (chance(50)) {
		rpc.id = last.id;
		memcpy(&rpc.peer, &last.peer, sizeof(rpc.peer));
	}
	if (chance(5))
		rpc.id = chance(50) ? rnd() : interesting();
	if (chance(5))
		rpc.flags = interesting();
	if (chance(3))
		fill(&rpc, sizeof(rpc), rnd());
	memcpy(CMSG_DATA(hdr), &rpc, sizeof(rpc));
	return chance(95) ? CMSG_SPACE(sizeof(rpc)) : below(200);
}

static void do_sendmsg(void)
{
	static _Thread_local uint64_t aligned[32];
	char *control = (char *)aligned;
	struct homa_sendmsg_args args = {};
	struct iovec iov[4];
	union addr addr = last.id && chance(50) ? last.name : address();
	struct msghdr msg = {
		.msg_name = chance(90) ? &addr : chance(50) ? NULL : pointer(),
		.msg_namelen = address_len(&addr),
		.msg_iov = chance(98) ? iov : pointer(),
		.msg_iovlen = chance(98) ? below(5) : interesting(),
		.msg_control = control,
	};
	size_t i;

	for (i = 0; i < 4; i++)
		iov[i] = (struct iovec){ pointer(), length() };
	if (chance(40)) {
		args.id = chance(50) ? 0 : last.id;
		args.flags = chance(90) ? below(2) : interesting();
		args.reserved = chance(97) ? 0 : interesting();
		memcpy(control, &args, sizeof(args));
	} else {
		msg.msg_controllen = make_control(control);
	}
	if (chance(3))
		msg.msg_control = pointer();
	if (chance(5))
		msg.msg_controllen = interesting();
	CALL(sendmsg(some_fd(), &msg, chance(90) ? MSG_DONTWAIT : interesting()));
}

static void do_recvmsg(void)
{
	/* Room for whatever options that were set add to it. */
	union {
		struct homa_recvmsg_args args;
		char space[512];
	} control = {};
	struct homa_recvmsg_args *args = &control.args;
	struct iovec iov = { pointer(), length() };
	struct msghdr msg = {
		.msg_name = chance(80) ? pointer() : NULL,
		.msg_namelen = below(200),
		.msg_iov = &iov,
		.msg_iovlen = chance(95),
		.msg_control = chance(90) ? &control : pointer(),
		.msg_controllen = chance(90) ? sizeof(*args) : below(300),
	};

	if (chance(50)) {
		CALL(receive(some_fd(), arena, length() % ARENA, MSG_DONTWAIT,
			     &last));
		return;
	}
	if (chance(20)) {
		args->num_bpages = chance(80) ? below(3) : interesting();
		args->bpage_offsets[0] = chance(50) ? 0 : interesting();
		args->bpage_offsets[1] = interesting();
		args->id = chance(80) ? 0 : last.id;
	}
	CALL(recvmsg(some_fd(), &msg, chance(80) ? MSG_DONTWAIT :
		     chance(50) ? 0 : interesting()));
}

static void do_option(void)
{
	int fd = some_fd(), level, option;
	struct homa_rcvbuf_args pool;
	struct homa_tls_key key;
	union addr addr = address();
	socklen_t len = chance(80) ? 4 : interesting();
	int value = interesting();

	switch (below(6)) {
	case 0:
		pool.start = (uintptr_t)(chance(80) ? arena : pointer());
		pool.length = chance(80) ? ARENA : rnd();
		CALL(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &pool,
				sizeof(pool)));
		break;
	case 1:
		make_key(&key, &addr, below(6));
		if (chance(10))
			key.crypto.info.cipher_type = interesting();
		if (chance(10))
			key.crypto.info.version = interesting();
		CALL(setsockopt(fd, SOL_TLS, chance(95) ? 1 + below(2) :
				interesting(), &key, chance(90) ?
				HOMA_TLS_KEY_SIZE(key.crypto.aes_gcm_128) :
				length()));
		break;
	case 2:
		CALL(setsockopt(fd, IPPROTO_HOMA, 10 + below(4), &value, len));
		break;
	case 3:
		CALL(getsockopt(fd, chance(60) ? IPPROTO_HOMA : SOL_TLS,
				chance(50) ? 10 + below(4) : interesting(),
				pointer(), chance(90) ? &len : pointer()));
		break;
	default:
		level = chance(50) ? SOL_SOCKET :
			chance(50) ? IPPROTO_IP : IPPROTO_IPV6;
		option = below(80);
		/* They would change what the other calls mean. */
		if (level == SOL_SOCKET &&
		    (option == SO_RCVTIMEO || option == SO_SNDTIMEO ||
		     option == SO_LINGER))
			break;
		if (chance(50))
			CALL(setsockopt(fd, level, option, &value, len));
		else
			CALL(getsockopt(fd, level, option, pointer(),
					chance(90) ? &len : pointer()));
	}
}

static void do_ioctl(void)
{
	static const unsigned long numbers[] = {
		HOMAIOCINFO, HOMAIOCABORT, HOMAIOCFREEZE, FIONREAD, 0x5411,
		0x8904, 0x8906,
	};
	struct homa_abort_args stop = {};
	struct homa_info info = {};
	void *arg = pointer();
	unsigned long number = numbers[below(ARRAY_SIZE(numbers))];

	if (number == HOMAIOCABORT && chance(80)) {
		stop.id = chance(60) ? last.id & ~1ull : 0;
		stop.error = chance(50) ? 0 : interesting();
		arg = &stop;
	} else if (number == HOMAIOCINFO && chance(80)) {
		info.rpc_info = (uintptr_t)pointer();
		info.rpc_info_length = length();
		arg = &info;
	}
	CALL(ioctl(some_fd(), chance(97) ? number : rnd(), arg));
}

static void do_one(void)
{
	union addr addr = address();
	socklen_t len = below(200);
	struct pollfd pfd = { .events = interesting() };
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = some_fd(), ep, pipes[2];

	switch (below(24)) {
	case 0:
		replace_fd(below(FDS));
		break;
	case 1:
		CALL(bind(fd, &addr.sa, address_len(&addr)));
		break;
	case 2:
		if (chance(30))
			addr.sa.sa_family = AF_UNSPEC;
		CALL(connect(fd, &addr.sa, address_len(&addr)));
		break;
	case 3 ... 5:
		CALL(sendto(fd, pointer(), length(), MSG_DONTWAIT, &addr.sa,
			    address_len(&addr)));
		break;
	case 6:
		CALL(send(fd, pointer(), length(), chance(80) ? MSG_DONTWAIT :
			  interesting()));
		break;
	case 7 ... 11:
		do_sendmsg();
		break;
	case 12 ... 16:
		do_recvmsg();
		break;
	case 17:
		CALL(recvfrom(fd, pointer(), length(), interesting(), pointer(),
			      chance(50) ? &len : pointer()));
		break;
	case 18 ... 19:
		do_option();
		break;
	case 20:
		do_ioctl();
		break;
	case 21:
		pfd.fd = fd;
		CALL(poll(&pfd, 1, chance(90) ? 0 : 2));
		if (chance(30)) {
			ep = epoll_create1(EPOLL_CLOEXEC);
			CALL(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
			CALL(epoll_wait(ep, &ev, 1, 0));
			close(ep);
		}
		break;
	case 22:
		if (chance(15))
			CALL(shutdown(fd, below(4)));
		else if (chance(50))
			CALL(getsockname(fd, pointer(), chance(80) ? &len :
					 pointer()));
		else
			CALL(getpeername(fd, pointer(), chance(80) ? &len :
					 pointer()));
		break;
	default:
		if (chance(50)) {
			CALL(fcntl(fd, F_SETFL, chance(70) ? O_NONBLOCK : 0));
		} else if (!pipe2(pipes, O_NONBLOCK)) {
			CALL(write(pipes[1], arena, 3000));
			CALL(splice(pipes[0], NULL, fd, NULL, 2000,
				    SPLICE_F_NONBLOCK));
			CALL(splice(fd, NULL, pipes[1], NULL, 2000,
				    SPLICE_F_NONBLOCK));
			close(pipes[0]);
			close(pipes[1]);
		}
	}
}

static void *run(void *arg)
{
	state = mix(seed + (uintptr_t)arg) << 20;
	while (left-- > 0)
		do_one();
	return NULL;
}

static void ignore(int sig __maybe_unused)
{
}

/* What blocks is interrupted, so a call that cannot be shows as a hang. */
static void *interrupt(void *arg)
{
	pthread_t *tids = arg;
	long i;

	while (left > 0) {
		usleep(5000);
		for (i = 0; i < threads; i++)
			pthread_kill(tids[i], SIGUSR1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore };
	int families[] = { AF_INET, AF_INET6 }, fd, sfd;
	pthread_t tids[17];
	const char *wrong;
	union addr to;
	long i;

	setup(240);
	seed = time(NULL);
	if (argc > 1)
		calls = atol(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		threads = atol(argv[3]);
	if (threads < 1 || threads > 16)
		bail("1 to 16 threads");
	diag("%ld calls, seed %llu, %ld threads", calls, seed, threads);
	sigaction(SIGUSR1, &action, NULL);

	arena = mmap(NULL, ARENA + 2 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(arena + ARENA, PAGE, PROT_READ);
	munmap(arena + ARENA + PAGE, PAGE);
	state = seed;
	for (i = 0; i < FDS; i++) {
		fds[i] = -1;
		replace_fd(i);
	}
	left = calls;
	/* The interrupter must not see thread ids that are not there yet. */
	for (i = 0; i < threads; i++)
		must(-pthread_create(&tids[i], NULL, run, (void *)i));
	must(-pthread_create(&tids[16], NULL, interrupt, tids));
	pthread_join(tids[16], NULL);
	for (i = 0; i < threads; i++)
		pthread_join(tids[i], NULL);
	for (i = 0; i < FDS; i++)
		close(fds[i]);

	ok(true, "%ld calls made", calls);
	diag("  no error: %ld", (long)succeeded);
	for (i = 1; i < 256; i++)
		if (errnos[i])
			diag("  %s: %ld", strerrorname_np(i), (long)errnos[i]);
	ok(succeeded > calls / 20, "some calls succeeded");
	is(errnos[0], 0, "no errno from inside the kernel");

	for (i = 0; i < 2; i++) {
		fd = open_socket(&client, families[i]);
		sfd = open_server(&server, families[i], 99);
		to = addr_of(&server, families[i], 99);
		wrong = round_trip(fd, sfd, &to, 1000000, 1000000);
		ok(!wrong, "afterwards %s works", family_name(families[i]));
		if (wrong)
			diag("%s", wrong);
		close(fd);
		close(sfd);
	}
	check_clean();
	return tap_end();
}
