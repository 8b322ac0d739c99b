// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "fuzz_kcov.h"
#include "lib.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

struct frame {
	uint16_t len;
	uint8_t data[FRAME];
};

/* For each host, what is on its way there. */
static struct queue {
	int tap;		/* of the host that the frames are for */
	unsigned int first, count;
	struct frame frames[QUEUE];
} queues[2];

#define HISTORY 32
static struct frame history[HISTORY];
static unsigned int seen;

static const uint8_t macs[2][6] = {
	{ 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 },
};

__printf(1, 2) static void run(const char *fmt, ...)
{
	char command[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	if (system(command))
		bail("failed: %s", command);
}

/*
 * A write() to a tap device is received in the writer's own context, so that
 * KCOV sees it. One of the two goes through receive offload, with the packet in
 * fragments.
 */
static int open_tap(int host)
{
	struct ifreq req = {
		.ifr_name = "fz0",
		.ifr_flags = IFF_TAP | IFF_NO_PI |
			     (host ? 0 : IFF_NAPI | IFF_NAPI_FRAGS),
	};
	int fd = must(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));

	must(ioctl(fd, TUNSETIFF, &req));
	return fd;
}

void wire_setup(void)
{
	struct side *sides[] = { &client, &server };
	int i;

	for (i = 0; i < 2; i++) {
		struct side *side = sides[i];

		snprintf(side->ns, sizeof(side->ns), "fz%d", i + 1);
		snprintf(side->in4, sizeof(side->in4), "10.77.0.%d", i + 1);
		snprintf(side->in6, sizeof(side->in6), "fd77::%d", i + 1);
		run("ip netns add fz%d", i + 1);
		enter(side);
		queues[i].tap = open_tap(i);
		leave();
		run("ip -n fz%d link set fz0 address 02:00:00:00:00:0%d", i + 1,
		    i + 1);
		run("ip -n fz%d link set fz0 addrgenmode none", i + 1);
		run("ip -n fz%d addr add 10.77.0.%d/24 dev fz0", i + 1, i + 1);
		run("ip -n fz%d addr add fd77::%d/64 dev fz0 nodad", i + 1, i + 1);
		run("ip -n fz%d link set fz0 up", i + 1);
		run("ip -n fz%d link set lo up", i + 1);
		run("ip -n fz%d neigh add 10.77.0.%d lladdr 02:00:00:00:00:0%d dev fz0",
		    i + 1, 2 - i, 2 - i);
		run("ip -n fz%d neigh add fd77::%d lladdr 02:00:00:00:00:0%d dev fz0",
		    i + 1, 2 - i, 2 - i);
	}
}

void wire_remove(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		close(queues[i].tap);
		run("ip netns del fz%d", i + 1);
	}
}

static struct frame *nth(int to, unsigned int n)
{
	struct queue *q = &queues[to & 1];

	return n < q->count ? &q->frames[(q->first + n) % QUEUE] : NULL;
}

static struct frame *append(int to)
{
	struct queue *q = &queues[to & 1];

	if (q->count == QUEUE)
		return NULL;
	return &q->frames[(q->first + q->count++) % QUEUE];
}

static void forget_first(int to)
{
	struct queue *q = &queues[to & 1];

	if (!q->count)
		return;
	q->first = (q->first + 1) % QUEUE;
	q->count--;
}

/* Where the protocol's part begins; 0 if the frame is of another. */
static unsigned int start_of(const struct frame *frame)
{
	const uint8_t *d = frame->data;

	if (frame->len > 34 && d[12] == 0x08 && d[23] == IPPROTO_HOMA)
		return 34;
	if (frame->len > 54 && d[12] == 0x86 && d[20] == IPPROTO_HOMA)
		return 54;
	return 0;
}

void wire_collect(void)
{
	static uint8_t data[FRAME];
	struct frame *frame;
	ssize_t len;
	int from;

	for (from = 0; from < 2; from++) {
		for (;;) {
			struct frame one;

			len = read(queues[from].tap, data, sizeof(data));
			if (len <= 0)
				break;
			one.len = len;
			memcpy(one.data, data, len);
			/* Neighbours are looked for and so on: no business of ours. */
			if (!start_of(&one))
				continue;
			history[seen++ % HISTORY] = one;
			frame = append(!from);
			if (frame)
				*frame = one;
		}
	}
}

/* The IPv4 header's checksum, and the length that it or IPv6's says, as they have to be. */
static void mend(struct frame *frame)
{
	uint8_t *ip = frame->data + ETH_HLEN;
	uint16_t len = frame->len - ETH_HLEN;
	uint32_t sum = 0;
	int i;

	if (frame->data[12] == 0x86) {
		len -= 40;
		ip[4] = len >> 8;
		ip[5] = len;
		return;
	}
	ip[2] = len >> 8;
	ip[3] = len;
	ip[10] = 0;
	ip[11] = 0;
	for (i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	ip[10] = sum >> 8;
	ip[11] = sum;
}

void wire_deliver(int to, unsigned int count)
{
	struct frame *frame;

	while (count-- && (frame = nth(to, 0))) {
		/* In two pieces, which the offload path makes fragments of. */
		size_t head = frame->len < 90 ? frame->len : 90;
		struct iovec iov[2] = {
			{ frame->data, head },
			{ frame->data + head, frame->len - head },
		};

		if (writev(queues[to & 1].tap, iov, frame->len > head ? 2 : 1) < 0)
			errno = 0;
		forget_first(to);
	}
}

void wire_settle(void)
{
	int rounds;

	for (rounds = 0; rounds < 20; rounds++) {
		wire_collect();
		if (!queues[0].count && !queues[1].count)
			break;
		wire_deliver(0, QUEUE);
		wire_deliver(1, QUEUE);
	}
}

void wire_drop(int to)
{
	forget_first(to);
}

void wire_swap(int to)
{
	struct frame *a = nth(to, 0), *b = nth(to, 1), tmp;

	if (!a || !b)
		return;
	tmp = *a;
	*a = *b;
	*b = tmp;
}

void wire_clear(void)
{
	wire_collect();
	queues[0].count = 0;
	queues[1].count = 0;
	seen = 0;
}

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
	while (len--) {
		uint8_t tmp = *a;

		*a++ = *b;
		*b++ = tmp;
	}
}

void wire_repeat(int to, unsigned int which, bool reflect)
{
	struct frame *frame;
	unsigned int at;

	if (!seen)
		return;
	frame = append(to);
	if (!frame)
		return;
	*frame = history[(seen - 1 - which % (seen < HISTORY ? seen : HISTORY)) %
			 HISTORY];
	memcpy(frame->data, macs[to & 1], 6);
	if (!reflect)
		return;
	at = start_of(frame);
	if (at == 34)
		swap(frame->data + 26, frame->data + 30, 4);
	else
		swap(frame->data + 22, frame->data + 38, 16);
	swap(frame->data + at, frame->data + at + 2, 2);
	/* As if it were the other half of that RPC. */
	if (frame->len >= at + 28)
		frame->data[at + 27] ^= 1;
}

void wire_craft(int to, int family, const void *packet, size_t len)
{
	static const uint8_t ip4[20] = { 0x45, [8] = 64, [9] = IPPROTO_HOMA };
	static const uint8_t ip6[8] = { 0x60, [6] = IPPROTO_HOMA, [7] = 64 };
	const struct side *sides[] = { &client, &server };
	union addr from = addr_of(sides[!(to & 1)], family, 0);
	union addr dest = addr_of(sides[to & 1], family, 0);
	struct frame *frame = append(to);
	uint8_t *p;

	if (!frame)
		return;
	memcpy(frame->data, macs[to & 1], 6);
	memcpy(frame->data + 6, macs[!(to & 1)], 6);
	p = frame->data + ETH_HLEN;
	if (family == AF_INET) {
		memcpy(frame->data + 12, "\x08\x00", 2);
		memcpy(p, ip4, 20);
		memcpy(p + 12, &from.in4.sin_addr, 4);
		memcpy(p + 16, &dest.in4.sin_addr, 4);
		p += 20;
	} else {
		memcpy(frame->data + 12, "\x86\xdd", 2);
		memcpy(p, ip6, 8);
		memcpy(p + 8, &from.in6.sin6_addr, 16);
		memcpy(p + 24, &dest.in6.sin6_addr, 16);
		p += 40;
	}
	memcpy(p, packet, len);
	frame->len = p + len - frame->data;
	mend(frame);
	history[seen++ % HISTORY] = *frame;
}

void wire_mutate(int to, unsigned int how, unsigned int where, uint32_t value)
{
	struct frame *frame = nth(to, 0);
	unsigned int at, room;

	at = frame ? start_of(frame) : 0;
	if (!at)
		return;
	room = frame->len - at;
	switch (how % 6) {
	case 0:
		frame->data[at + where % room] = value;
		break;
	case 1:
		frame->data[at + where % room] ^= 1 << value % 8;
		break;
	case 2:			/* in the header, where all is aligned */
		where = where % 25 * 4;
		if (where + 4 > room)
			return;
		value = htobe32(value);
		memcpy(frame->data + at + where, &value, 4);
		break;
	case 3:
		where = where % 50 * 2;
		if (where + 2 > room)
			return;
		frame->data[at + where] = value >> 8;
		frame->data[at + where + 1] = value;
		break;
	case 4:			/* shorter */
		frame->len = at + 1 + value % room;
		mend(frame);
		break;
	default:		/* longer */
		room = FRAME - frame->len;
		if (!room)
			return;
		room = 1 + value % (room < 100 ? room : 100);
		memset(frame->data + frame->len, where, room);
		frame->len += room;
		mend(frame);
	}
}

uint64_t wire_id(unsigned int ago)
{
	struct frame *frame;
	unsigned int at;
	uint64_t id;

	if (!seen)
		return 2;
	frame = &history[(seen - 1 - ago % (seen < HISTORY ? seen : HISTORY)) %
			 HISTORY];
	at = start_of(frame);
	if (!at || frame->len < at + 28)
		return 2;
	memcpy(&id, frame->data + at + 20, 8);
	return be64toh(id);
}
