// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "fuzz_kcov.h"
#include "lib.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define SLOTS 6
#define ARENA (1 << 21)

unsigned long calls_made, calls_good, errnos_odd;

/* Even slots: on the client's host; from 3 on with IPv6; odd ones with a server's port. */
static struct slot {
	int fd, family, host;
	uint16_t port;
	struct rpc last;
} slots[SLOTS];

static char *arena;

static void tally(long ret)
{
	calls_made++;
	calls_good += ret >= 0;
	/* From 512 on they are the kernel's own. */
	errnos_odd += ret < 0 && errno > 511;
}

#define CALL(call) (errno = 0, tally((long)(call)))

static struct slot *slot_of(unsigned int n)
{
	return &slots[n % SLOTS];
}

static const struct side *side_of(const struct slot *slot)
{
	return slot->host ? &server : &client;
}

static union addr peer_addr(const struct slot *slot)
{
	return addr_of(side_of(slot), slot->family, slot->port);
}

static size_t length(uint32_t d)
{
	static const size_t edges[] = {
		0, 1, 2, 1399, 1400, 1401, 1440, 1444, 16384, 20000, 60000, 65535,
		131072, 1000000, 1000001,
	};

	return d & 0x80000000 ? edges[d % ARRAY_SIZE(edges)] : d % 5000;
}

static uint32_t number(uint32_t d)
{
	static const uint32_t edges[] = {
		0, 1, 2, 3, 7, 8, 16, 64, 255, 1024, 1400, 10000, 16384, 65535,
		0x7fffffff, 0x80000000, 0xffffffff,
	};

	return d & 0x80000000 ? edges[d % ARRAY_SIZE(edges)] : d;
}

static void open_slot(struct slot *slot)
{
	union addr addr = {};

	enter(side_of(slot));
	slot->fd = socket(slot->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			  IPPROTO_HOMA);
	leave();
	if (slot->fd < 0)
		bail("socket: %s", strerror(errno));
	memset(&slot->last, 0, sizeof(slot->last));
	if (slot->host) {
		addr.sa.sa_family = slot->family;
		addr.in4.sin_port = htons(90 + (slot - slots));
		must(bind(slot->fd, &addr.sa, addr_len(slot->family)));
	}
	addr = name_of(slot->fd);
	slot->port = port_of(&addr);
}

static void op_reopen(const struct op *op)
{
	struct slot *slot = slot_of(op->a);

	CALL(close(slot->fd));
	open_slot(slot);
}

/* Keys that fit each other on two sockets of the two hosts, as far as they have none. */
static void op_seal(const struct op *op)
{
	struct slot *a = slot_of(op->a), *b = slot_of(op->a + 1);
	union addr to_a = peer_addr(a), to_b = peer_addr(b);
	struct homa_tls_key key;

	make_key(&key, &to_b, 1 + op->b % 2);
	CALL(set_key(a->fd, TLS_TX, &key));
	make_key(&key, &to_b, 3);
	CALL(set_key(a->fd, TLS_RX, &key));
	make_key(&key, &to_a, 1 + op->b % 2);
	CALL(set_key(b->fd, TLS_RX, &key));
	make_key(&key, &to_a, 3);
	CALL(set_key(b->fd, TLS_TX, &key));
}

static void op_key(const struct op *op)
{
	union addr peer = peer_addr(slot_of(op->b));
	struct homa_tls_key key;
	socklen_t len = HOMA_TLS_KEY_SIZE(key.crypto.aes_gcm_128);

	make_key(&key, &peer, op->c % 4);
	if (op->d & 3)
		((char *)&key)[(op->d >> 2) % sizeof(key)] ^= op->d >> 10;
	if (op->d & 0x40000000)
		len = op->d >> 10 & 0xff;
	CALL(setsockopt(slot_of(op->a)->fd, SOL_TLS, op->c & 8 ? TLS_TX : TLS_RX,
			&key, len));
}

static void op_request(const struct op *op)
{
	struct slot *from = slot_of(op->a), *to = slot_of(op->a + 1);
	union addr addr;

	if (op->b & 0x80)
		to = slot_of(op->b);
	addr = peer_addr(to);
	CALL(request(from->fd, &addr, arena, length(op->d), op->c));
}

static void op_reply(const struct op *op)
{
	struct slot *slot = slot_of(op->a);
	struct rpc rpc = slot->last;

	if (op->b & 1)
		rpc.id = wire_id(op->c) ^ (op->b >> 1 & 1);
	if (op->b & 4)
		rpc.flags ^= op->b >> 4 & 3;
	if (rpc.name.sa.sa_family == 0)
		rpc.name = peer_addr(slot_of(op->a + 5));
	CALL(reply(slot->fd, &rpc, arena, length(op->d)));
}

static void op_receive(const struct op *op)
{
	struct slot *slot = slot_of(op->a);
	size_t len = op->b & 1 ? length(op->d) : HOMA_MAX_MESSAGE_LENGTH;
	struct homa_recvmsg_args args = {
		.id = op->b & 4 ? wire_id(op->c) : 0,
		.num_bpages = op->c % 18,
		.bpage_offsets = { number(op->d) << 16, op->d },
	};
	struct msghdr msg = {
		.msg_control = &args, .msg_controllen = sizeof(args),
	};
	struct rpc rpc;

	if (op->b & 2) {
		CALL(recvmsg(slot->fd, &msg, MSG_DONTWAIT));
		return;
	}
	if (len > ARENA)
		len = ARENA;
	errno = 0;
	tally(receive(slot->fd, arena, len, op->b & 8 ? op->c : MSG_DONTWAIT, &rpc));
	if (rpc.present && rpc.id & 1)
		slot->last = rpc;
}

static void op_homa_send(const struct op *op)
{
	struct slot *slot = slot_of(op->a);
	struct homa_sendmsg_args args = {
		.id = op->b & 1 ? wire_id(op->c) ^ (op->b >> 1 & 1) : 0,
		.completion_cookie = op->c,
		.flags = op->b >> 2 & 1,
		.reserved = op->b == 0xff,
	};
	union addr addr = peer_addr(slot_of(op->a + (op->b & 1 ? 5 : 1)));
	struct iovec iov[2] = {
		{ arena, length(op->d) / 2 }, { arena, length(op->d) / 2 },
	};
	struct msghdr msg = {
		.msg_name = &addr, .msg_namelen = addr_len(slot->family),
		.msg_iov = iov, .msg_iovlen = 2, .msg_control = &args,
	};

	CALL(sendmsg(slot->fd, &msg, MSG_DONTWAIT));
}

static void op_option(const struct op *op)
{
	int fd = slot_of(op->a)->fd, value = number(op->d);
	struct homa_rcvbuf_args pool = {
		.start = (uintptr_t)arena, .length = ARENA >> op->c % 8,
	};
	socklen_t len = sizeof(value);

	switch (op->b % 6) {
	case 0:
		CALL(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &pool, sizeof(pool)));
		break;
	case 1:
		CALL(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_SERVER + op->c % 4, &value, len));
		break;
	case 2:
		CALL(getsockopt(fd, op->c & 1 ? SOL_TLS : IPPROTO_HOMA,
				op->c & 1 ? TLS_RX : 10 + op->c % 5, arena, &len));
		break;
	case 3:			/* small buffers */
		CALL(setsockopt(fd, SOL_SOCKET, op->c & 1 ? SO_SNDBUF : SO_RCVBUF, &value, len));
		break;
	case 4:
		CALL(setsockopt(fd, IPPROTO_IP, op->c % 40, &value, len));
		break;
	default:
		CALL(setsockopt(fd, IPPROTO_IPV6, op->c % 80, &value, len));
	}
}

static void op_ioctl(const struct op *op)
{
	int fd = slot_of(op->a)->fd;
	struct homa_abort_args stop = {
		.id = op->b & 1 ? wire_id(op->c) & ~1ull : 0,
		.error = number(op->d) % 200,
	};
	struct homa_rpc_info rpcs[8];
	struct homa_info info = {
		.rpc_info = (uintptr_t)rpcs, .rpc_info_length = op->d % sizeof(rpcs),
	};

	if (op->b & 2)
		CALL(ioctl(fd, HOMAIOCINFO, &info));
	else
		CALL(ioctl(fd, HOMAIOCABORT, &stop));
}

static void op_connect(const struct op *op)
{
	struct slot *slot = slot_of(op->a);
	union addr addr = peer_addr(slot_of(op->b));
	socklen_t len = sizeof(addr);

	switch (op->c % 6) {
	case 0:
		CALL(connect(slot->fd, &addr.sa, addr_len(addr.sa.sa_family)));
		break;
	case 1:
		addr.sa.sa_family = AF_UNSPEC;
		CALL(connect(slot->fd, &addr.sa, len));
		break;
	case 2:
		addr.in4.sin_port = htons(op->d);
		CALL(bind(slot->fd, &addr.sa, addr_len(addr.sa.sa_family)));
		break;
	case 3:
		CALL(shutdown(slot->fd, op->d % 4));
		break;
	case 4:
		CALL(getpeername(slot->fd, &addr.sa, &len));
		break;
	default:
		CALL(send(slot->fd, arena, length(op->d), MSG_DONTWAIT));
	}
}

static void op_poll(const struct op *op)
{
	struct pollfd pfd = { slot_of(op->a)->fd, POLLIN | POLLOUT };

	CALL(poll(&pfd, 1, 0));
}

static void op_deliver(const struct op *op)
{
	wire_collect();
	wire_deliver(op->a, 1 + op->b % 8);
}

static void op_settle(const struct op *op __maybe_unused)
{
	wire_settle();
}

static void op_trouble(const struct op *op)
{
	wire_collect();
	switch (op->b % 4) {
	case 0:
		wire_drop(op->a);
		break;
	case 1:
		wire_swap(op->a);
		break;
	default:
		wire_repeat(op->a, op->c, op->b & 1);
	}
}

static void op_mutate(const struct op *op)
{
	wire_collect();
	wire_mutate(op->a, op->b, op->c, number(op->d));
	if (op->a & 2)
		wire_deliver(op->a, 1);
}

/* A packet that says it is from one slot's socket to another's. */
static void op_craft(const struct op *op)
{
	struct slot *to = slot_of(op->a), *from = slot_of(op->a + (op->a & 0x40 ? 1 : 5));
	static const uint8_t lengths[] = { 56, 33, 37, 28, 28, 62, 28, 28, 80 };
	uint8_t packet[1500] = {};
	uint16_t port = htobe16(from->port), dest = htobe16(to->port);
	unsigned int type = op->b % 9, len = lengths[type], payload = 0;
	uint64_t id = wire_id(op->c) ^ (op->c >> 5 & 1);
	uint32_t value = htobe32(number(op->d));

	id = htobe64(id + (op->c >> 6) * 2);
	memcpy(packet, &port, 2);
	memcpy(packet + 2, &dest, 2);
	packet[11] = (op->b & 0x80 ? 0x20 : 0x10) + type;
	packet[12] = type ? 0x50 : 0xe0;
	memcpy(packet + 20, &id, 8);
	if (type) {
		memcpy(packet + 28, &value, len - 28 < 4 ? len - 28 : 4);
		/* Of a RESEND the length, of an ACK what is acknowledged. */
		fill(packet + 32, len > 32 ? len - 32 : 0, op->d & 7);
	} else {
		payload = 1 + op->d % 1400;
		value = htobe32(op->d >> 16 & 1 ? payload : number(op->d));
		memcpy(packet + 28, &value, 4);
		memset(packet + 32, 0x7f, 4);
		memset(packet + 52, 0xff, 4);
	}
	if (op->b & 0x80)
		payload += 24;
	wire_craft(to->host, to->family, packet, len + payload);
	if (op->a & 0x80)
		wire_deliver(to->host, QUEUE);
}

static void op_wait(const struct op *op)
{
	/* Long enough for a timer of the module now and then. */
	usleep(op->d % 64 ? op->d % 500 : 15000);
}

static const struct {
	const char *name;
	void (*run)(const struct op *op);
} kinds[] = {
	{ "request", op_request }, { "request", op_request },
	{ "receive", op_receive }, { "receive", op_receive },
	{ "reply", op_reply }, { "reply", op_reply },
	{ "settle", op_settle }, { "settle", op_settle },
	{ "deliver", op_deliver }, { "deliver", op_deliver },
	{ "mutate", op_mutate }, { "mutate", op_mutate },
	{ "craft", op_craft }, { "craft", op_craft },
	{ "trouble", op_trouble }, { "seal", op_seal }, { "key", op_key },
	{ "homa_send", op_homa_send }, { "option", op_option },
	{ "ioctl", op_ioctl }, { "connect", op_connect }, { "poll", op_poll },
	{ "reopen", op_reopen }, { "wait", op_wait },
};

unsigned int op_kinds = ARRAY_SIZE(kinds);

void run_input(const struct input *input)
{
	uint32_t i;

	if (!arena) {
		arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (arena == MAP_FAILED)
			bail("no memory");
	}
	for (i = 0; i < SLOTS; i++) {
		slots[i].host = i & 1;
		slots[i].family = i < 4 ? AF_INET : AF_INET6;
		open_slot(&slots[i]);
	}
	for (i = 0; i < input->count && i < MAX_OPS; i++)
		kinds[input->ops[i].kind % ARRAY_SIZE(kinds)].run(&input->ops[i]);
	for (i = 0; i < SLOTS; i++)
		close(slots[i].fd);
	wire_clear();
}

void print_input(const struct input *input)
{
	uint32_t i;

	for (i = 0; i < input->count && i < MAX_OPS; i++) {
		const struct op *op = &input->ops[i];

		diag("  %-9s %02x %02x %02x %08x",
		     kinds[op->kind % ARRAY_SIZE(kinds)].name, op->a, op->b, op->c,
		     op->d);
	}
}
