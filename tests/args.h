/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The calls of lib.h as a program written for HomaModule makes them: struct
 * homa_sendmsg_args and homa_recvmsg_args, a receive pool, and nothing that
 * HomaModule has not. So what uses these runs on that, too.
 */
#ifndef HOMA_TESTS_ARGS_H
#define HOMA_TESTS_ARGS_H

#include "lib.h"

/* Gives the socket a receive pool of so many bpages. */
void args_pool(int fd, int bpages);

/* Starts a request; the number of bytes, or -1 and errno. */
ssize_t args_request(int fd, const union addr *to, const void *buf, size_t len,
		     uint64_t cookie);

/* Answers the request that came with @rpc. */
ssize_t args_reply(int fd, const struct rpc *rpc, const void *buf, size_t len);

/*
 * Receives a message and copies it out of the pool. If it is -1 and
 * @rpc->present, that RPC failed with @rpc->error. The bpages are given back
 * by the next call of the same thread.
 */
ssize_t args_receive(int fd, void *buf, size_t len, int flags,
		     struct rpc *rpc);

#endif
