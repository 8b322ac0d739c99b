// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "args.h"

#include <sys/mman.h>

#define MAX_FDS 128

static char *pools[MAX_FDS];

/* What the thread received last on each socket: its bpages are the thread's. */
static _Thread_local struct homa_recvmsg_args held[MAX_FDS];

void args_pool(int fd, int bpages)
{
	struct homa_rcvbuf_args args = {
		.length = (size_t)bpages * HOMA_BPAGE_SIZE,
	};
	void *pool = mmap(NULL, args.length, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pool == MAP_FAILED || fd >= MAX_FDS)
		bail("no pool for socket %d: %s", fd, strerror(errno));
	args.start = (uintptr_t)pool;
	must(setsockopt(fd, IPPROTO_HOMA, SO_HOMA_RCVBUF, &args, sizeof(args)));
	pools[fd] = pool;
}

static ssize_t send_args(int fd, const union addr *to, const void *buf,
			 size_t len, struct homa_sendmsg_args *args)
{
	struct iovec iov = { (void *)buf, len };
	struct msghdr msg = {
		.msg_name = (void *)to,
		.msg_namelen = addr_len(to->sa.sa_family),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = args,
		.msg_controllen = 0,
	};
	ssize_t ret = sendmsg(fd, &msg, 0);

	if (ret > 0)
		bail("sendmsg with homa_sendmsg_args returned %zd", ret);
	return ret ? ret : (ssize_t)len;
}

ssize_t args_request(int fd, const union addr *to, const void *buf, size_t len,
		     uint64_t cookie)
{
	struct homa_sendmsg_args args = { .completion_cookie = cookie };
	ssize_t ret = send_args(fd, to, buf, len, &args);

	if (ret >= 0 && (!args.id || args.id & 1))
		bail("sendmsg returned the id %llu",
		     (unsigned long long)args.id);
	return ret;
}

ssize_t args_reply(int fd, const struct rpc *rpc, const void *buf, size_t len)
{
	struct homa_sendmsg_args args = { .id = rpc->id };

	return send_args(fd, &rpc->name, buf, len, &args);
}

ssize_t args_receive(int fd, void *buf, size_t len, int flags,
		     struct rpc *rpc)
{
	struct homa_recvmsg_args *args = &held[fd];
	struct msghdr msg = {
		.msg_name = &rpc->name,
		.msg_namelen = sizeof(rpc->name),
		.msg_control = args,
		.msg_controllen = sizeof(*args),
	};
	size_t left, part;
	uint32_t i;
	ssize_t ret;

	memset(rpc, 0, sizeof(*rpc));
	args->id = 0;
	ret = recvmsg(fd, &msg, flags);
	rpc->id = args->id;
	rpc->cookie = args->completion_cookie;
	rpc->present = args->id;
	if (ret < 0) {
		rpc->error = errno;
		return ret;
	}
	if ((size_t)ret > len ||
	    args->num_bpages != (ret + HOMA_BPAGE_SIZE - 1) / HOMA_BPAGE_SIZE)
		bail("%zd bytes in %u bpages", ret, args->num_bpages);
	for (i = 0, left = ret; i < args->num_bpages; i++, left -= part) {
		part = left < HOMA_BPAGE_SIZE ? left : HOMA_BPAGE_SIZE;
		memcpy((char *)buf + (size_t)i * HOMA_BPAGE_SIZE,
		       pools[fd] + args->bpage_offsets[i], part);
	}
	return ret;
}
