// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Keys and plaintext are wiped: all memory of the machine is searched for
 * them, as /proc/kcore has it. While they are in use they must be found, or the
 * search is worth nothing; when they are not needed any more, nowhere.
 *
 * What is searched for is kept inverted, so that it is not found here, and no
 * 16 bytes of it pass through registers that the kernel would save.
 */
#include "lib.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TO_SERVER, TO_CLIENT };

/* 16 bytes of a secret, inverted, and where to count them. */
struct pattern {
	uint32_t inverted[4];
	unsigned int *found;
};

/*
 * Keys of the first epoch, and of the current one: each is somewhere at a
 * multiple of 4. Messages, which may be anywhere, repeat one word; there is a
 * pattern for each way in which they can lie.
 */
static unsigned int first[2], last[2], text[2];
static struct pattern patterns[] = {
	{ .found = &first[TO_SERVER] }, { .found = &first[TO_CLIENT] },
	{ .found = &last[TO_SERVER] },	{ .found = &last[TO_CLIENT] },
	{ .found = &text[TO_SERVER] },	{ .found = &text[TO_SERVER] },
	{ .found = &text[TO_SERVER] },	{ .found = &text[TO_SERVER] },
	{ .found = &text[TO_CLIENT] },	{ .found = &text[TO_CLIENT] },
	{ .found = &text[TO_CLIENT] },	{ .found = &text[TO_CLIENT] },
};

#define FIRST patterns
#define LAST (patterns + 2)
#define TEXT(way) (patterns + 4 + 4 * (way))

/* Does a pattern begin with a word that has these low bits? */
static bool begins[1 << 16];
static char message[40000];

static void remember_beginnings(void)
{
	size_t i;

	memset(begins, 0, sizeof(begins));
	for (i = 0; i < ARRAY_SIZE(patterns); i++)
		begins[(uint16_t)~patterns[i].inverted[0]] = true;
}

static void count(const uint32_t *words)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(patterns); i++) {
		for (j = 0; j < 4; j++)
			if (words[j] != ~patterns[i].inverted[j])
				break;
		*patterns[i].found += j == 4;
	}
}

/* Looks at @size bytes of the machine's memory. */
static void search(int fd, off_t offset, size_t size)
{
	/* So much of one read is looked at with the next one again. */
	enum { OVERLAP = 12, CHUNK = 1 << 20 };

	static uint32_t buf[CHUNK / 4];
	ssize_t len;
	size_t i;

	while (size > OVERLAP) {
		len = pread(fd, buf, size < CHUNK ? size : CHUNK, offset);
		if (len <= OVERLAP)
			bail("/proc/kcore at %#llx: %zd", (long long)offset,
			     len);
		for (i = 0; i + 4 <= (size_t)len / 4; i++)
			if (begins[(uint16_t)buf[i]])
				count(buf + i);
		explicit_bzero(buf, len);
		offset += len - OVERLAP;
		size -= len - OVERLAP;
	}
}

static void search_all(void)
{
	static Elf64_Phdr headers[256];
	int fd = must(open("/proc/kcore", O_RDONLY));
	Elf64_Ehdr elf;
	size_t i;

	remember_beginnings();
	memset(first, 0, sizeof(first));
	memset(last, 0, sizeof(last));
	memset(text, 0, sizeof(text));
	is(pread(fd, &elf, sizeof(elf), 0), sizeof(elf), "/proc/kcore");
	if (elf.e_phnum > ARRAY_SIZE(headers) ||
	    pread(fd, headers, elf.e_phnum * sizeof(*headers), elf.e_phoff) < 0)
		bail("/proc/kcore: %u program headers", elf.e_phnum);
	/* What has a physical address is memory; others are addresses only. */
	for (i = 0; i < elf.e_phnum; i++)
		if (headers[i].p_type == PT_LOAD &&
		    headers[i].p_paddr != ~(Elf64_Addr)0)
			search(fd, headers[i].p_offset, headers[i].p_filesz);
	close(fd);
}

/* The next key from @from to @to; the receiver's is set first. */
static void set_keys(int from, const union addr *from_addr, int to,
		     const union addr *to_addr, struct pattern *pattern)
{
	static struct homa_tls_key key;
	uint8_t *secret = key.crypto.aes_gcm_128.key;
	uint64_t end = now_ms() + 5000 * slow;
	int ret, i;

	make_key(&key, from_addr, 1);
	must(getrandom(secret, 16, 0));
	for (i = 0; i < 4; i++)
		memcpy(&pattern->inverted[i], secret + 4 * i, 4);
	for (i = 0; i < 4; i++)
		pattern->inverted[i] = ~pattern->inverted[i];
	must(set_key(to, TLS_RX, &key));
	memcpy(&key.peer, to_addr, sizeof(*to_addr));
	/* Until messages of the key before the current one are done. */
	while ((ret = set_key(from, TLS_TX, &key)) && errno == EBUSY &&
	       now_ms() < end)
		usleep(10000);
	explicit_bzero(&key, sizeof(key));
	must(ret);
}

/* Puts one random word all over the message. */
static size_t write_message(int way, size_t len)
{
	uint32_t word;
	size_t i, j;

	must(getrandom(&word, sizeof(word), 0));
	for (i = 0; i < 4; i++)
		for (j = 0; j < 4; j++)
			TEXT(way)[i].inverted[j] = ~(word << 8 * i |
						     (uint64_t)word >> (32 - 8 * i));
	for (i = 0; i < len; i += 4)
		memcpy(message + i, &word, 4);
	return len;
}

static void exchange(int cfd, int sfd, const union addr *to)
{
	struct rpc rpc;

	must(request(cfd, to, message, write_message(TO_SERVER, 40000), 1));
	must(receive(sfd, message, sizeof(message), 0, &rpc));
	must(reply(sfd, &rpc, message, write_message(TO_CLIENT, 30000)));
	must(receive(cfd, message, sizeof(message), 0, &rpc));
	explicit_bzero(message, sizeof(message));
}

/* A request of which only the first @len bytes are in readable memory. */
static void half_unreadable(int fd, union addr *to, size_t len)
{
	struct iovec iov[2] = { { message, write_message(TO_SERVER, len) },
				{ (void *)16, 16 } };
	struct msghdr msg = {
		.msg_name = to,
		.msg_namelen = sizeof(to->in4),
		.msg_iov = iov,
		.msg_iovlen = 2,
	};

	fails(sendmsg(fd, &msg, 0), EFAULT, "%zu bytes and a fault", len);
	explicit_bzero(message, sizeof(message));
	search_all();
	is(text[TO_SERVER], 0, "%zu bytes before a fault are gone", len);
}

int main(void)
{
	struct pollfd pfd = { .events = POLLIN };
	union addr caddr, saddr;
	struct rpc rpc;
	int cfd, sfd, i;

	setup(240);
	cfd = open_server(&client, AF_INET, 300);
	sfd = open_server(&server, AF_INET, 99);
	caddr = addr_of(&client, AF_INET, 300);
	saddr = addr_of(&server, AF_INET, 99);
	set_keys(cfd, &caddr, sfd, &saddr, &FIRST[TO_SERVER]);
	set_keys(sfd, &saddr, cfd, &caddr, &FIRST[TO_CLIENT]);
	exchange(cfd, sfd, &saddr);

	/* A request that nobody has received yet. */
	must(request(cfd, &saddr, message, write_message(TO_SERVER, 20000), 2));
	explicit_bzero(message, sizeof(message));
	pfd.fd = sfd;
	is(poll(&pfd, 1, 5000 * slow), 1, "a request waits");
	search_all();
	ok(first[TO_SERVER] && first[TO_CLIENT],
	   "keys in use are found: %u and %u times", first[TO_SERVER],
	   first[TO_CLIENT]);
	ok(text[TO_SERVER] > 1000, "so is a request that waits: %u times",
	   text[TO_SERVER]);
	is(text[TO_CLIENT], 0, "a response that was received is not");
	is(receive(sfd, message, sizeof(message), 0, &rpc), 20000, "received");
	explicit_bzero(message, sizeof(message));
	/* The search may have taken longer than its client waits. */
	must(reply(sfd, &rpc, "x", 1));
	receive(cfd, message, sizeof(message), 0, &rpc);

	/* A key is needed until something comes with the one after the next. */
	for (i = 0; i < 2; i++) {
		set_keys(cfd, &caddr, sfd, &saddr, &LAST[TO_SERVER]);
		set_keys(sfd, &saddr, cfd, &caddr, &LAST[TO_CLIENT]);
		exchange(cfd, sfd, &saddr);
	}
	sleep(1);
	search_all();
	is(first[TO_SERVER] + first[TO_CLIENT], 0,
	   "after two rekeys, the first keys are gone");
	ok(last[TO_SERVER] && last[TO_CLIENT], "the current ones are there");
	is(text[TO_SERVER] + text[TO_CLIENT], 0, "what was received is gone");

	/* A record in a packet, one in pages, and the second one of a message. */
	half_unreadable(cfd, &saddr, 1000);
	half_unreadable(cfd, &saddr, 10000);
	half_unreadable(cfd, &saddr, 30000);

	close(cfd);
	close(sfd);
	sleep(1);
	search_all();
	is(last[TO_SERVER] + last[TO_CLIENT], 0, "no session: no key is left");
	is(text[TO_SERVER] + text[TO_CLIENT], 0, "nor a message");
	check_clean();
	return tap_end();
}
