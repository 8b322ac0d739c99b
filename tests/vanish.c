// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Peers that go away: killed programs, and hosts whose link is down. RPCs end
 * with an error within a bound, at both ends, and their memory comes back.
 *
 *	vanish [--sealed]
 */
#include "lib.h"

#include <linux/sock_diag.h>
#include <signal.h>
#include <sys/wait.h>

/* What docs promise: a client gives up a silent server after this time. */
#define BOUND_MS 7000

static bool sealed;
static int family;
static const char *name;
static char buf[HOMA_MAX_MESSAGE_LENGTH];

__printf(1, 2)
static void run(const char *fmt, ...)
{
	char cmd[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, args);
	va_end(args);
	if (system(cmd))
		bail("%s", cmd);
}

static void fix_neighbour(const struct side *from, const struct side *to,
			  const char *address)
{
	run("mac=$(ip netns exec %s cat %s) && ip -n %s neigh replace %s lladdr $mac %s",
	    to->ns, "/sys/class/net/eth0/address", from->ns, address, "dev eth0 nud permanent");
}

/* Neither ARP nor neighbour discovery shall tell of the silence first. */
static void fix_neighbours(void)
{
	fix_neighbour(&client, &server, server.in4);
	fix_neighbour(&client, &server, server.in6);
	fix_neighbour(&server, &client, client.in4);
	fix_neighbour(&server, &client, client.in6);
}

/* No packet passes from then on, or again. */
static void cut(bool down)
{
	run("ip netns exec %s tc qdisc %s dev eth0 root %s", client.ns,
	    down ? "add" : "del", down ? "netem loss 100%" : "");
	run("ip netns exec %s tc qdisc %s dev eth0 root %s", server.ns,
	    down ? "add" : "del", down ? "netem loss 100%" : "");
}

/* Bytes that the socket's messages occupy, as the kernel counts them. */
static unsigned int memory(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	must(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	return info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_ALLOC] +
	       info[SK_MEMINFO_WMEM_QUEUED] + info[SK_MEMINFO_BACKLOG];
}

static void memory_back(int fd, const char *what)
{
	int i;

	for (i = 0; i < 40 && memory(fd) > 1; i++)
		usleep(100000);
	ok(memory(fd) <= 1, "%s: %s: memory is back (%u)", name, what,
	   memory(fd));
}

static void rpcs_gone(const struct side *side, int seconds, const char *what)
{
	uint64_t start = now_ms();

	while (counter(side, "live_rpcs") &&
	       now_ms() - start < seconds * 1000ull)
		usleep(100000);
	is(counter(side, "live_rpcs"), 0, "%s: %s: no RPC is left after %d ms",
	   name, what, (int)(now_ms() - start));
}

static void try_both(int fd, int sfd, const char *what)
{
	union addr to = addr_of(&server, family, 99);
	const char *wrong = round_trip(fd, sfd, &to, 50000, 50000);

	ok(!wrong, "%s: %s, everything works", name, what);
	if (wrong)
		diag("%s", wrong);
}

/* Ends when its process does. */
static pid_t fork_server(int sfd, int *ready)
{
	int pipes[2];
	struct rpc rpc;
	pid_t pid;

	must(pipe(pipes));
	pid = must(fork());
	if (pid) {
		close(pipes[1]);
		*ready = pipes[0];
		return pid;
	}
	if (receive(sfd, buf, sizeof(buf), 0, &rpc) > 0 &&
	    write(pipes[1], "x", 1) == 1)
		pause();
	_exit(1);
}

static void test_killed(void)
{
	union addr to = addr_of(&server, family, 99);
	int fd = open_socket(&client, family), ready;
	int sfd = open_server(&server, family, 99);
	struct rpc rpc;
	uint64_t start;
	pid_t pid;

	if (sealed)
		seal(fd, &client, sfd, &server, family);
	pid = fork_server(sfd, &ready);
	close(sfd);
	must(request(fd, &to, "q", 1, 3));
	is(read(ready, buf, 1), 1, "%s: the server has the request", name);
	must(kill(pid, SIGKILL));
	must(waitpid(pid, NULL, 0));
	close(ready);
	start = now_ms();
	is(receive(fd, buf, sizeof(buf), 0, &rpc), -1,
	   "%s: server killed: fails", name);
	ok(rpc.error == ENOTCONN || rpc.error == ETIMEDOUT, "%s: ... %s", name,
	   strerror(rpc.error));
	ok(now_ms() - start < BOUND_MS, "%s: ... after %d ms", name,
	   (int)(now_ms() - start));
	memory_back(fd, "server killed");
	rpcs_gone(&client, 5, "server killed, client");
	rpcs_gone(&server, 5, "server killed, server");
	close(fd);
}

static void test_server_gone(bool link)
{
	union addr to = addr_of(&server, family, 99);
	int fd = open_socket(&client, family), size = 64 << 20, i, failed = 0;
	int sfd = open_server(&server, family, 99), timeouts = 0, ms;
	uint64_t start, cookies = 0;
	struct rpc rpc;

	if (sealed)
		seal(fd, &client, sfd, &server, family);
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
	try_both(fd, sfd, "before");
	must(request(fd, &to, "delivered, not answered", 23, 0));
	must(receive(sfd, buf, sizeof(buf), 0, &rpc));
	fill(buf, sizeof(buf), 1);
	for (i = 1; i < 20; i++)
		must(request(fd, &to, buf, i * 50000, i));
	if (link)
		link_set(&server, false);
	else
		cut(true);
	for (i = 20; i < 40; i++)
		must(request(fd, &to, buf, 1 + (i - 20) * 50000, i));
	start = now_ms();
	while (failed < 40 && receive(fd, buf, sizeof(buf), 0, &rpc) < 0 &&
	       rpc.present) {
		failed++;
		timeouts += rpc.error == ETIMEDOUT;
		cookies |= 1ull << rpc.cookie;
	}
	ms = now_ms() - start;
	is(failed, 40, "%s: server's link down: 40 RPCs fail", name);
	is(timeouts, 40, "%s: ... with ETIMEDOUT", name);
	ok(cookies == (1ull << 40) - 1, "%s: ... each once", name);
	ok(ms > 1000 && ms < BOUND_MS, "%s: ... after %d ms", name, ms);
	memory_back(fd, "server gone");
	rpcs_gone(&client, 3, "server gone, client");

	/* The other side sees a client that is silent. */
	while (receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &rpc) > 0)
		;
	if (link)
		link_set(&server, true);
	else
		cut(false);
	fix_neighbours();
	try_both(fd, sfd, "when the link is back");
	close(sfd);
	close(fd);
}

static void test_client_gone(void)
{
	union addr to = addr_of(&server, family, 99);
	int fd = open_socket(&client, family), i, got = 0, size = 64 << 20;
	int sfd = open_server(&server, family, 99);
	unsigned long long lost;
	struct rpc rpc[8];
	struct rpc other;

	if (sealed)
		seal(fd, &client, sfd, &server, family);
	try_both(fd, sfd, "before");
	lost = counter(&server, "clients_lost");
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
	must(setsockopt(sfd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
	for (i = 0; i < 8; i++)
		must(request(fd, &to, buf, 100 + 10000 * i, i));
	for (i = 0; i < 8; i++)
		if (receive(sfd, buf, sizeof(buf), 0, &rpc[i]) > 0)
			got++;
	is(got, 8, "%s: the server has 8 requests", name);
	must(request(fd, &to, buf, sizeof(buf), 9));

	/* Half of the answers before, half after the client has gone. */
	fill(buf, sizeof(buf), 2);
	cut(true);
	for (i = 0; i < 8; i++)
		is(reply(sfd, &rpc[i], buf, 1 + 20000 * i), 1 + 20000 * i,
		   "%s: reply to nobody", name);
	close(fd);
	/* What is not answered stays; that is the program's affair. */
	while (receive(sfd, buf, sizeof(buf), MSG_DONTWAIT, &other) > 0)
		must(reply(sfd, &other, buf, 1));
	rpcs_gone(&server, 15, "client gone");
	memory_back(sfd, "client gone");
	ok(counter(&server, "clients_lost") > lost, "%s: clients_lost", name);
	cut(false);
	fd = open_socket(&client, family);
	if (sealed)
		seal(fd, &client, sfd, &server, family);
	try_both(fd, sfd, "when the link is back");
	close(sfd);
	close(fd);
}

int main(int argc, char **argv)
{
	sealed = argc == 2 && !strcmp(argv[1], "--sealed");
	setup(240);
	if (!client.ns[0])
		bail("this needs two namespaces");
	run("ip netns exec %s sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1",
	    server.ns);
	for (family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
		name = family_name(family);
		fix_neighbours();
		test_killed();
		test_server_gone(false);
		/* IPv6 addresses would go with the link. */
		if (family == AF_INET)
			test_server_gone(true);
		test_client_gone();
	}
	check_clean();
	return tap_end();
}
