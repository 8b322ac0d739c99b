// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Many RPCs of mixed sizes at a time, with every byte checked on both sides,
 * each request delivered at most once, and each RPC completed exactly once.
 *
 * Every socket is driven by threads that do whatever can be done: start a
 * request, answer one, take a response; none ever blocks in a send, so that
 * full buffers cannot become a deadlock of the test's own making.
 */
#include "args.h"

#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define MAX_OUTSTANDING 1024
#define MAX_RPCS (1 << 23)
#define MAX_NODES 64

static const char usage[] =
"usage: stress [OPTION]...\n"
"\n"
"Sends requests from the client's sockets to a server's and checks contents.\n"
"\n"
"  --rpcs N         requests in all (10000)\n"
"  --for N          as many as there are in N seconds, instead\n"
"  --outstanding N  at a time, per client socket (32)\n"
"  --clients N      client sockets (2)\n"
"  --threads N      threads per socket (2)\n"
"  --max N          longest message in bytes (1000000)\n"
"  --min N          shortest message in bytes (1)\n"
"  --seed N         of sizes and contents (1)\n"
"  --family 4|6     the IP version (4)\n"
"  --sealed         under sessions\n"
"  --both           the server sends requests too, from the same socket\n"
"  --rekey N        all sessions get new keys every N ms\n"
"  --seconds N      fail after that time (240)\n"
"  --sizes N,N...   these lengths, each as request with each as response\n"
"  --args           as a program for HomaModule: its API, pools, no counters\n"
"  --serve          only be the server, until SIGTERM\n"
"  --remote         only be the clients of a server that runs elsewhere\n"
"\n"
"Where client and server are: see lib.h.\n";

/* What is at the start of every message of 16 bytes or more. */
struct header {
	uint32_t index;		/* of the RPC, where --both: | its direction */
	uint32_t response_len;
	uint64_t seed;
};

struct slot {
	bool used;
	uint32_t response_len;
	uint64_t seed;
};

/* A reply that did not fit in the socket's memory. */
struct pending {
	struct pending *next;
	struct rpc rpc;
	uint32_t len;
	uint64_t seed;
};

/* A socket, and its requests. */
struct node {
	int fd;
	union addr to[MAX_NODES];
	int targets;
	int quota, started, used;	/* requests */
	uint32_t base;			/* of the indices of its requests */
	pthread_mutex_t lock;
	struct slot slots[MAX_OUTSTANDING];
	struct pending *pending;
};

static int rpcs = 10000, outstanding = 32, clients = 2, threads = 2;
static int family = AF_INET, max_len = HOMA_MAX_MESSAGE_LENGTH, min_len = 1;
static unsigned long long seed = 1;
static bool sealed, both, serve, remote, args;
static uint32_t sizes[64];
static int size_count;
static unsigned int seconds = 240;
static int rekey_ms, for_seconds;

static struct node *nodes[MAX_NODES + 1];
static int count;
static atomic_int completed, failed, wrong, twice;
static atomic_bool done;
static _Atomic uint64_t bytes;
static _Atomic unsigned char seen[MAX_RPCS / 8];
static atomic_int total;

static ssize_t do_request(int fd, const union addr *to, const void *buf,
			  size_t len, uint64_t cookie)
{
	return args ? args_request(fd, to, buf, len, cookie) :
		      request(fd, to, buf, len, cookie);
}

static ssize_t do_reply(int fd, const struct rpc *rpc, const void *buf,
			size_t len)
{
	return args ? args_reply(fd, rpc, buf, len) : reply(fd, rpc, buf, len);
}

static ssize_t do_receive(int fd, void *buf, size_t len, int flags,
			  struct rpc *rpc)
{
	return args ? args_receive(fd, buf, len, flags, rpc) :
		      receive(fd, buf, len, flags, rpc);
}

static unsigned long long do_counter(const struct side *side, const char *name)
{
	return args ? 0 : counter(side, name);
}

/* Most messages are small, most bytes are in large ones. */
static uint32_t pick_len(uint64_t random)
{
	uint64_t kind = random % 1000, limit;

	limit = kind < 700 ? 1400 : kind < 930 ? 10000 : kind < 996 ? 60000 :
							HOMA_MAX_MESSAGE_LENGTH;
	if (limit > (uint64_t)max_len)
		limit = max_len;
	if (limit < (uint64_t)min_len)
		limit = min_len;
	return min_len + mix(random) % (limit - min_len + 1);
}

/* Messages too short for a header. */
static struct header short_header(uint32_t len)
{
	return (struct header){ .index = UINT_MAX, .seed = len * 77,
				.response_len = 1 + len * 211 % max_len };
}

static void make_message(char *buf, uint32_t len, const struct header *header,
			 uint64_t contents)
{
	fill(buf, len, contents);
	if (len >= sizeof(*header))
		memcpy(buf, header, sizeof(*header));
}

static bool message_good(char *buf, uint32_t len,
			 const struct header *header, uint64_t contents)
{
	uint32_t skip = len >= sizeof(*header) ? sizeof(*header) : 0;

	if (skip && memcmp(buf, header, skip))
		return false;
	/* fill() knows only whole messages: put back what it made there. */
	fill(buf, skip, contents);
	return check(buf, len, contents) < 0;
}

static uint64_t start_ms;	/* when the load began */

static void complain(atomic_int *counter, const char *fmt, ...)
{
	char text[160];
	va_list args;

	if (atomic_fetch_add(counter, 1) >= 5)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	diag("after %llu ms: %s", (unsigned long long)(now_ms() - start_ms),
	     text);
}

/* Starts a request if there is one to start; false if nothing was done. */
static bool start_one(struct node *n, char *buf)
{
	struct header header;
	uint32_t len, slot, index;
	bool good = false;
	ssize_t ret;

	pthread_mutex_lock(&n->lock);
	if (n->started < n->quota && n->used < outstanding) {
		for (slot = 0; n->slots[slot].used; slot++)
			;
		index = n->base + n->started;
		header.index = index;
		header.seed = mix(seed + index);
		if (size_count) {
			len = sizes[index % size_count];
			header.response_len = sizes[index / size_count %
						    size_count];
		} else {
			len = pick_len(mix(seed * 2 +
					   (uint64_t)index * 1000003));
			header.response_len = pick_len(mix(~header.seed));
		}
		if (len < sizeof(header))
			header = short_header(len);
		make_message(buf, len, &header, header.seed);
		n->slots[slot] = (struct slot){ true, header.response_len,
						header.seed };
		errno = 0;
		ret = do_request(n->fd, &n->to[index % n->targets], buf, len, slot);
		if (ret == (ssize_t)len) {
			n->started++;
			n->used++;
			bytes += len;
			good = true;
		} else {
			n->slots[slot].used = false;
			if (ret >= 0 || errno != EAGAIN) {
				complain(&failed, "request of %u bytes: %zd %s",
					 len, ret, strerror(errno));
				done = true;
			}
		}
	}
	pthread_mutex_unlock(&n->lock);
	return good;
}

static bool send_reply(struct node *n, char *buf, const struct rpc *rpc,
		       uint32_t len, uint64_t contents)
{
	struct header header = { .seed = contents, .response_len = len };
	ssize_t ret;

	make_message(buf, len, &header, ~contents);
	ret = do_reply(n->fd, rpc, buf, len);
	if (ret == (ssize_t)len) {
		bytes += len;
		return true;
	}
	if (ret < 0 && errno == EAGAIN)
		return false;
	complain(&failed, "reply of %u bytes: %zd %s", len, ret,
		 strerror(errno));
	return true;
}

static bool retry_reply(struct node *n, char *buf)
{
	struct pending *p;
	bool sent;

	pthread_mutex_lock(&n->lock);
	p = n->pending;
	if (p)
		n->pending = p->next;
	pthread_mutex_unlock(&n->lock);
	if (!p)
		return false;
	sent = send_reply(n, buf, &p->rpc, p->len, p->seed);
	if (sent) {
		free(p);
		return true;
	}
	pthread_mutex_lock(&n->lock);
	p->next = n->pending;
	n->pending = p;
	pthread_mutex_unlock(&n->lock);
	return false;
}

static void take_request(struct node *n, char *buf, ssize_t len,
			 const struct rpc *rpc)
{
	struct header header;
	struct pending *p;
	unsigned char bit;

	if (len < (ssize_t)sizeof(header))
		header = short_header(len);
	else
		memcpy(&header, buf, sizeof(header));
	if (!message_good(buf, len, &header, header.seed) ||
	    !header.response_len ||
	    header.response_len > HOMA_MAX_MESSAGE_LENGTH) {
		complain(&wrong, "request of %zd bytes is wrong", len);
		return;
	}
	if (sealed != !!(rpc->flags & HOMA_CMSG_SEALED))
		complain(&wrong, "request with flags %x", rpc->flags);
	if (header.index < MAX_RPCS && len >= (ssize_t)sizeof(header)) {
		bit = 1 << header.index % 8;
		if (atomic_fetch_or(&seen[header.index / 8], bit) & bit)
			complain(&twice, "request %u came twice", header.index);
	}
	if (send_reply(n, buf, rpc, header.response_len, header.seed))
		return;
	p = malloc(sizeof(*p));
	*p = (struct pending){ NULL, *rpc, header.response_len, header.seed };
	pthread_mutex_lock(&n->lock);
	p->next = n->pending;
	n->pending = p;
	pthread_mutex_unlock(&n->lock);
}

static void take_response(struct node *n, char *buf, ssize_t len,
			  const struct rpc *rpc)
{
	struct header header;
	struct slot slot;

	pthread_mutex_lock(&n->lock);
	slot = n->slots[rpc->cookie % MAX_OUTSTANDING];
	n->slots[rpc->cookie % MAX_OUTSTANDING].used = false;
	if (slot.used)
		n->used--;
	pthread_mutex_unlock(&n->lock);

	header = (struct header){ .seed = slot.seed,
				  .response_len = slot.response_len };
	if (!slot.used)
		complain(&twice, "cookie %llu came twice",
			 (unsigned long long)rpc->cookie);
	else if (len < 0)
		complain(&failed, "RPC %llu: %s", (unsigned long long)rpc->id,
			 strerror(rpc->error));
	else if (len != slot.response_len ||
		 !message_good(buf, len, &header, ~slot.seed))
		complain(&wrong, "response of %zd bytes (not %u) is wrong",
			 len, slot.response_len);
	if (slot.used && atomic_fetch_add(&completed, 1) + 1 == total)
		done = true;
}

static bool receive_one(struct node *n, char *buf)
{
	struct rpc rpc;
	ssize_t len;

	len = do_receive(n->fd, buf, HOMA_MAX_MESSAGE_LENGTH, MSG_DONTWAIT,
			 &rpc);
	if (len < 0 && !rpc.present) {
		if (errno != EAGAIN && errno != EINTR)
			complain(&failed, "recvmsg: %s", strerror(errno));
		return false;
	}
	if (rpc.id & 1)
		take_request(n, buf, len, &rpc);
	else
		take_response(n, buf, len, &rpc);
	return true;
}

static void *run(void *arg)
{
	struct node *n = arg;
	char *buf = malloc(HOMA_MAX_MESSAGE_LENGTH);
	struct pollfd pfd = { .fd = n->fd };

	while (!done) {
		if (start_one(n, buf) | retry_reply(n, buf) |
		    receive_one(n, buf))
			continue;
		pfd.events = POLLIN;
		pthread_mutex_lock(&n->lock);
		if (n->pending ||
		    (n->started < n->quota && n->used < outstanding))
			pfd.events |= POLLOUT;
		pthread_mutex_unlock(&n->lock);
		poll(&pfd, 1, 50);
	}
	free(buf);
	return NULL;
}

static struct node *new_node(const struct side *side, int port)
{
	struct node *n = calloc(1, sizeof(*n));

	pthread_mutex_init(&n->lock, NULL);
	n->fd = open_server(side, family, port);
	if (args)
		args_pool(n->fd, 512);
	set_nonblock(n->fd);
	nodes[count++] = n;
	return n;
}

/* The server of another machine may not be there yet. */
static void wait_for_server(void)
{
	int fd = open_socket(&client, family), tries;
	union addr to = addr_of(&server, family,
				family == AF_INET ? 1000 : 2000);
	static char buf[1024];
	struct rpc rpc;
	char word[8];

	if (args)
		args_pool(fd, 64);
	/* A message too short for a header, see short_header(). */
	fill(word, 1, short_header(1).seed);
	for (tries = 0; tries < 50 && !sealed; tries++) {
		must(do_request(fd, &to, word, 1, 0));
		if (do_receive(fd, buf, sizeof(buf), 0, &rpc) >= 0)
			break;
		usleep(200000);
	}
	close(fd);
}

/* After --for seconds: nothing more is begun, and what was is the total. */
static void stop_beginning(void)
{
	uint64_t end = now_ms() + for_seconds * 1000ull;
	int i, sum = 0;

	while (now_ms() < end && !done)
		usleep(100000);
	for (i = 0; i < count; i++) {
		pthread_mutex_lock(&nodes[i]->lock);
		nodes[i]->quota = nodes[i]->started;
		sum += nodes[i]->started;
		pthread_mutex_unlock(&nodes[i]->lock);
	}
	total = sum;
	if (completed == sum)
		done = true;
}

static void on_term(int sig __maybe_unused)
{
	done = true;
}

static void parse_sizes(const char *list)
{
	char *end;

	for (; *list; list = end + (*end == ',')) {
		sizes[size_count] = strtoul(list, &end, 10);
		if (end == list || sizes[size_count] - 1 >= HOMA_MAX_MESSAGE_LENGTH ||
		    ++size_count == ARRAY_SIZE(sizes))
			bail("--sizes %s", list);
	}
	rpcs = size_count * size_count;
	clients = 1;
}

/* The numbers and the long options are in the same order. */
static void parse(int argc, char **argv)
{
	int *const numbers[] = { &rpcs, &outstanding, &clients, &threads,
				 &max_len, &min_len, &rekey_ms, &for_seconds };
	bool *const flags[] = { &sealed, &both, &serve, &remote, &args };
	static const struct option options[] = {
		{ "rpcs", 1, NULL, 0 }, { "outstanding", 1, NULL, 1 },
		{ "clients", 1, NULL, 2 }, { "threads", 1, NULL, 3 },
		{ "max", 1, NULL, 4 }, { "min", 1, NULL, 5 },
		{ "rekey", 1, NULL, 6 }, { "for", 1, NULL, 7 },
		{ "sealed", 0, NULL, 10 }, { "both", 0, NULL, 11 },
		{ "serve", 0, NULL, 12 }, { "remote", 0, NULL, 13 },
		{ "args", 0, NULL, 14 }, { "sizes", 1, NULL, 23 },
		{ "seed", 1, NULL, 20 }, { "family", 1, NULL, 21 },
		{ "seconds", 1, NULL, 22 }, { "help", 0, NULL, 'h' }, {}
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c < 8)
			*numbers[c] = atoi(optarg);
		else if (c >= 10 && c < 15)
			*flags[c - 10] = true;
		else if (c == 20)
			seed = strtoull(optarg, NULL, 0);
		else if (c == 21)
			family = atoi(optarg) == 6 ? AF_INET6 : AF_INET;
		else if (c == 22)
			seconds = atoi(optarg);
		else if (c == 23)
			parse_sizes(optarg);
		else
			fputs(usage, c == 'h' ? stdout : stderr);
		if (c == 'h' || c == '?')
			exit(c == '?' ? 2 : 0);
	}
	if (for_seconds > 0) {
		rpcs = MAX_RPCS / 2;
		seconds += for_seconds;
	}
	if (optind < argc || for_seconds < 0 || clients < 1 || clients >= MAX_NODES ||
	    outstanding < 1 || outstanding > MAX_OUTSTANDING || rpcs < clients ||
	    rpcs * 2 > MAX_RPCS || (remote && rpcs > MAX_RPCS / 32) ||
	    threads < 1 || threads > 16 || min_len < 1 ||
	    max_len < min_len || max_len > HOMA_MAX_MESSAGE_LENGTH ||
	    (args && sealed) || (for_seconds && (serve || remote)) ||
	    (rekey_ms && (!sealed || serve || remote || rekey_ms < 1))) {
		fputs("stress: a number is out of range\n", stderr);
		exit(2);
	}
}

static int rekeyed, too_soon;

/* The next key of one direction, at the receiver first. */
static void next_key(int from, const union addr *from_addr, int to,
		     const union addr *to_addr, uint64_t key_seed)
{
	struct homa_tls_key key;

	make_key(&key, from_addr, key_seed);
	must(set_key(to, TLS_RX, &key));
	make_key(&key, to_addr, key_seed);
	/* Messages of the key before this one may be under way. */
	while (set_key(from, TLS_TX, &key)) {
		if (errno != EBUSY)
			bail("the next key: %s", strerror(errno));
		too_soon++;
		if (done)
			return;
		usleep(1000);
	}
	rekeyed++;
}

/* Both directions of all sessions, one after the other. */
static void *rekey(void *unused __maybe_unused)
{
	union addr caddr, saddr = name_of(nodes[0]->fd);
	uint64_t key_seed = 1ull << 40;
	int i;

	saddr = addr_of(&server, family, port_of(&saddr));
	while (!done) {
		for (i = 1; i < count && !done; i++) {
			caddr = name_of(nodes[i]->fd);
			caddr = addr_of(&client, family, port_of(&caddr));
			next_key(nodes[i]->fd, &caddr, nodes[0]->fd, &saddr,
				 key_seed++);
			next_key(nodes[0]->fd, &saddr, nodes[i]->fd, &caddr,
				 key_seed++);
		}
		usleep(rekey_ms * 1000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t tids[(MAX_NODES + 1) * 16], rekeyer;
	struct node *s = NULL, *c;
	union addr caddr, saddr;
	unsigned long long bad;
	uint64_t ms;
	int i, j, port, first = 0;

	parse(argc, argv);
	setup(seconds);
	/* Several programs may send to one server: it must tell them apart. */
	if (remote)
		first = seed % 32 * (MAX_RPCS / 32);
	signal(SIGTERM, on_term);
	/* Known ports, so that both sides know them before there is traffic. */
	port = family == AF_INET ? 1000 : 2000;
	saddr = addr_of(&server, family, port);
	if (!remote)
		s = new_node(&server, port);
	for (i = 0; i < clients; i++) {
		caddr = addr_of(&client, family, port + 1 + i);
		if (!serve) {
			c = new_node(&client, port + 1 + i);
			c->to[c->targets++] = saddr;
			c->quota = rpcs / clients;
			c->base = first + i * c->quota;
			total += c->quota;
			if (sealed)
				seal_one(c->fd, &saddr, seed * 1000 + 2 * i,
					 seed * 1000 + 2 * i + 1);
		}
		if (s) {
			s->to[s->targets++] = caddr;
			if (sealed)
				seal_one(s->fd, &caddr, seed * 1000 + 2 * i + 1,
					 seed * 1000 + 2 * i);
		}
	}
	if (s && both) {
		s->quota = rpcs;
		s->base = rpcs;
		total += rpcs;
	}

	if (for_seconds)
		total = INT_MAX;	/* not known yet */
	bad = do_counter(&client, "TlsDecryptError") +
	      do_counter(&server, "TlsDecryptError");
	if (remote)
		wait_for_server();
	start_ms = now_ms();
	for (i = 0; i < count; i++)
		for (j = 0; j < threads; j++)
			must(-pthread_create(&tids[i * threads + j], NULL, run,
					     nodes[i]));
	if (rekey_ms)
		must(-pthread_create(&rekeyer, NULL, rekey, NULL));
	if (for_seconds)
		stop_beginning();
	for (i = 0; i < count * threads; i++)
		pthread_join(tids[i], NULL);
	ms = now_ms() - start_ms;
	if (rekey_ms) {
		done = true;
		pthread_join(rekeyer, NULL);
		ok(rekeyed > clients * 8, "%d keys were followed by others",
		   rekeyed);
		diag("%d times too soon (EBUSY)", too_soon);
	}
	for (i = 0; i < count; i++)
		close(nodes[i]->fd);

	is(wrong, 0, "contents are right");
	is(twice, 0, "nothing came twice");
	is(failed, 0, "nothing failed");
	if (!serve)
		is(completed, total, "%d %sRPCs complete", total,
		   sealed ? "sealed " : "");
	diag("%llu ms, %llu bytes", (unsigned long long)ms,
	     (unsigned long long)bytes);
	diag("%llu packets sent again, %llu drops of duplicates",
	     do_counter(&client, "retransmits") +
	     (remote || serve ? 0 : do_counter(&server, "retransmits")),
	     do_counter(serve ? &server : &client, "drop_duplicate"));
	if (sealed)
		is(do_counter(&client, "TlsDecryptError") +
		   do_counter(&server, "TlsDecryptError"), bad, "all records open");
	/* What is elsewhere, or beside a server, is not ours to judge. */
	if (remote)
		server = client;
	if (!serve && !args)
		check_clean();
	return tap_end();
}
