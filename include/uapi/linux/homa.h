/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * Homa: reliable, encrypted messages between the hosts of a datacenter.
 *
 * This is the interface between programs and homa.ko. Programs written for the
 * C implementation of Homa (HomaModule) compile against it and run unchanged;
 * programs that know only sockets need no more than the first two calls below.
 *
 *	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_HOMA);	(or AF_INET6)
 *	sendto(fd, request, length, 0, server, size);	a request; returns length
 *	recvmsg(fd, &msg, 0);				its response
 *
 * A message is a request or the response to one; the pair is an RPC. An RPC has
 * a 64-bit id, which is even where it is the client's and odd (the same id | 1)
 * where it is the server's. Messages arrive whole, in any order, once.
 *
 * There are two ways to say which RPC a message belongs to:
 *
 *  - an ordinary control message, struct homa_rpc_cmsg. Works with everything
 *    that passes control messages, io_uring included;
 *  - HomaModule's: msg_control points straight at a struct homa_sendmsg_args
 *    or homa_recvmsg_args.
 *
 * All numbers are in host byte order, except addresses and ports in sockaddrs.
 * Errors are returned as by every system call (-1 and errno).
 */
#ifndef _UAPI_LINUX_HOMA_H
#define _UAPI_LINUX_HOMA_H

#include <linux/types.h>
#include <linux/ioctl.h>
#include <linux/socket.h>
#include <linux/tls.h>

/*
 * struct sockaddr_in and sockaddr_in6. The C library's header and the kernel's
 * can be included together only in this order, so take the C library's unless
 * the program has chosen.
 */
#if defined(__KERNEL__) || defined(_LINUX_IN_H)
#include <linux/in.h>
#include <linux/in6.h>
#else
#include <netinet/in.h>
#endif

/* IP protocol number, third argument of socket(), and level of socket options. */
#ifndef IPPROTO_HOMA
#define IPPROTO_HOMA 146
#endif

/* Level of the socket options TLS_TX and TLS_RX, see struct homa_tls_key. */
#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* Longest request or response, in bytes; the shortest is 1. */
#define HOMA_MAX_MESSAGE_LENGTH 1000000

/* Unit of the receive pool (SO_HOMA_RCVBUF), the "bpage", in bytes. */
#define HOMA_BPAGE_SHIFT 16
#define HOMA_BPAGE_SIZE (1 << HOMA_BPAGE_SHIFT)

/* Bpages that the longest message occupies. */
#define HOMA_MAX_BPAGES \
	((HOMA_MAX_MESSAGE_LENGTH + HOMA_BPAGE_SIZE - 1) >> HOMA_BPAGE_SHIFT)

/*
 * Ports. Homa has a port space of its own, apart from TCP's and UDP's. Below
 * this number: for servers, with bind(). From here on: given to every socket
 * when it is created, for its requests.
 */
#define HOMA_MIN_DEFAULT_PORT 0x8000

/* ---- Ordinary control messages ------------------------------------------ */

/* cmsg_type of struct homa_rpc_cmsg; cmsg_level is IPPROTO_HOMA. */
#define HOMA_CMSG_RPC 1

/* homa_rpc_cmsg.flags */

/*
 * recvmsg: the message came under a session (its sender holds the keys).
 * sendmsg: send this only under a session; ENOKEY if there is none. So a
 * server that gives back the control message it received never answers a
 * sealed request in clear.
 */
#define HOMA_CMSG_SEALED 0x1

/* recvmsg: there is no message, the RPC failed; the reason is in @error. */
#define HOMA_CMSG_FAILED 0x2

/**
 * struct homa_rpc_cmsg - which RPC a message belongs to
 *
 * recvmsg() on a socket without a receive pool returns one when msg_control
 * has room for it (MSG_CTRUNC in msg_flags when the room is too small, as
 * always). The message is copied to msg_iov; if it is longer, the rest is
 * dropped, with MSG_TRUNC in msg_flags. read() and recv() work too and return
 * no control message.
 *
 * When an RPC failed, recvmsg() returns -1 with the RPC's errno (ETIMEDOUT:
 * the peer is silent; ENOTCONN: nobody on that port; EHOSTUNREACH: no route;
 * ECONNRESET: sent in clear before a session began; or what HOMAIOCABORT
 * gave), and
 * this control message tells which. The kernel does not write struct msghdr
 * back when a call fails, so look at the buffer itself: clear its struct
 * cmsghdr before the call, and after -1 there is a failed RPC if CMSG_FIRSTHDR
 * has this level and type. Without one, the call itself failed (EAGAIN, EINTR,
 * EFAULT, ...).
 *
 * sendmsg() with it (msg_controllen is then CMSG_SPACE(sizeof), so never 0)
 * returns the number of bytes in the message. The first HOMA_CMSG_SHORT bytes
 * are enough, without @error and what follows, which then count as 0: the
 * kernel needs no memory for a msg_controllen of CMSG_LEN(HOMA_CMSG_SHORT),
 * which is quicker. Errors: EINVAL for a length of 0
 * or for fields that are not as described here, EMSGSIZE above
 * HOMA_MAX_MESSAGE_LENGTH, EDESTADDRREQ without a destination, EAGAIN when a
 * nonblocking socket has no send memory left, ENOKEY as said under
 * HOMA_CMSG_SEALED and SO_HOMA_SEALED, EKEYEXPIRED as said under struct
 * homa_key_cmsg, EPIPE after shutdown() (with struct
 * homa_sendmsg_args: ESHUTDOWN). After shutdown(), recvmsg() returns 0 (with a
 * pool: ESHUTDOWN).
 *
 * @id: recvmsg: the RPC; odd: this is a request to answer, even: a response,
 *	or the failed request. sendmsg: 0 starts a new request, odd answers
 *	that request; EINVAL if it is even, or answered already. To answer a
 *	request that is gone (its client gave up) is no error.
 * @cookie: chosen by the program and never sent: sendmsg: any value for a new
 *	request, 0 for an answer. recvmsg: the request's value for its
 *	response or failure, 0 for a request.
 * @flags: HOMA_CMSG_*; other bits are 0 (sendmsg: EINVAL).
 * @error: recvmsg: the errno (positive) with HOMA_CMSG_FAILED, else 0.
 *	sendmsg: 0.
 * @peer: recvmsg: the other side's address and port, as in msg_name. sendmsg:
 *	destination if msg_name is NULL and the socket is not connected; in an
 *	answer, the value received. Its first member is the address family;
 *	AF_UNSPEC (0) if not used. The bytes behind an in4 are 0.
 * @reserved: 0.
 */
struct homa_rpc_cmsg {
	__u64 id;
	__u64 cookie;
	__u32 flags;
	__s32 error;
	union {
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} peer;
	__u32 reserved;
};

/* What is enough of it for sendmsg(): @id, @cookie and @flags. */
#define HOMA_CMSG_SHORT 20

/* cmsg_type of struct homa_key_cmsg; cmsg_level is IPPROTO_HOMA. */
#define HOMA_CMSG_KEY 2

/**
 * struct homa_key_cmsg - a key is half used up
 *
 * A key may seal messages of 2^34.5 AES blocks in all (RFC 8446, section 5.5),
 * and control packets for an eighth longer; and 2^36 records and control packets
 * may fail to open with it (RFC 9147, section 4.5.3). At half of that poll()
 * reports EPOLLPRI, and recvmsg() with MSG_ERRQUEUE, which never waits (EAGAIN),
 * returns 0 and this control message, once for each key; the peer is in msg_name,
 * too. The program should set the next key then, after which there is nothing to
 * tell of this one any more.
 *
 * At either limit, sending is EKEYEXPIRED until the next key is set. What was
 * sealed before is sent again as often as it must; but after too many failures
 * nothing is opened with that key any more, and RPCs that wait for something
 * sealed with it time out.
 *
 * @used: how far the key was used: in blocks, or failures.
 * @limit: how far it may be.
 * @direction: TLS_TX or TLS_RX.
 * @peer: with whom it is shared.
 */
struct homa_key_cmsg {
	__u64 used;
	__u64 limit;
	__u32 direction;
	union {
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} peer;
};

/* ---- Arguments in msg_control, as in HomaModule -------------------------- */

/**
 * struct homa_sendmsg_args - argument and result of sendmsg()
 *
 * msg_control points to it and msg_controllen is 0. msg_name is the peer
 * (NULL on a connected socket). sendmsg() returns 0 on success, not a length.
 * Errors as under struct homa_rpc_cmsg.
 *
 * @id: (in, out) 0: a new request; its id is stored here. Not 0: answer this
 *	request of msg_name's.
 * @completion_cookie: (in) for a new request, any value: recvmsg() returns it
 *	with the response. For an answer: 0.
 * @flags: (in) HOMA_SENDMSG_*; EINVAL for other bits.
 * @reserved: (in) 0.
 */
struct homa_sendmsg_args {
	__u64 id;
	__u64 completion_cookie;
	__u32 flags;
	__u32 reserved;
};

/*
 * homa_sendmsg_args.flags: only a recvmsg() that names this RPC's id gets the
 * response; poll() does not report it. Means nothing in an answer.
 */
#define HOMA_SENDMSG_PRIVATE 0x01
#define HOMA_SENDMSG_VALID_FLAGS 0x01

/**
 * struct homa_recvmsg_args - argument and result of recvmsg() with a pool
 *
 * On a socket with a receive pool (SO_HOMA_RCVBUF) msg_control points to it
 * and msg_controllen is its size (else EINVAL). recvmsg() returns the length of
 * the message, which is in the pool; msg_iov is not used. On return from a
 * successful call msg_controllen is 0.
 *
 * If recvmsg() fails and @id is not 0, that RPC failed, with errno as the
 * reason; if it is 0, the call itself failed.
 *
 * @id: (in, out) in: 0 for the next message of any RPC that is not private,
 *	else the id of a private RPC (EINVAL if there is none). Out: the
 *	message's RPC.
 * @completion_cookie: (out) of the request, with its response or failure;
 *	0 with a request.
 * @num_bpages: (in, out) number of valid entries in @bpage_offsets, at most
 *	HOMA_MAX_BPAGES.
 * @reserved: (in) 0.
 * @bpage_offsets: (in, out) bytes from the start of the pool. In: bpages that
 *	the program has finished with and gives back, in any order and of any
 *	messages. If the call fails before they were taken, they and
 *	@num_bpages are unchanged and still the program's. Out: where the
 *	message is: HOMA_BPAGE_SIZE bytes at each entry but the last, the
 *	rest at the last one, which need not be aligned. They are the
 *	program's until it gives them back.
 */
struct homa_recvmsg_args {
	__u64 id;
	__u64 completion_cookie;
	__u32 num_bpages;
	__u32 reserved;
	__u32 bpage_offsets[HOMA_MAX_BPAGES];
};

/* ---- Socket options, level IPPROTO_HOMA ---------------------------------- */

/*
 * struct homa_rcvbuf_args, set and get: the receive pool. Once per socket,
 * before the first message (EBUSY after).
 */
#define SO_HOMA_RCVBUF 10

/*
 * int, set and get: 1 lets requests in, 0 answers them with "nobody on that
 * port". Initially 0; bind() sets it to 1.
 */
#define SO_HOMA_SERVER 11

/*
 * int, set and get: 1 refuses plain traffic: sending to a peer without a
 * session is ENOKEY, and what arrives in clear is dropped and counted.
 * Initially 0.
 */
#define SO_HOMA_SEALED 12

/*
 * int, set and get: hides how long sealed messages are. Each one sent from now
 * on is padded, its first 8 bytes, which Homa adds, included, to a multiple of so
 * many bytes: a power of two, at most 1,048,576, with which all have the same
 * length; 0 or 1, as initially, for none. The receiver's recvmsg() shows nothing
 * of it.
 */
#define SO_HOMA_PADDING 13

/*
 * int, set and get: with 1, a message sent without a destination and without
 * control data is the answer to the request that was received last on this
 * socket, so that a server which takes one request at a time needs no more than
 * recv() and send(), the quickest calls. Each request can be answered so once;
 * then, and before the first, and when the socket is connected, too, such a
 * message is EDESTADDRREQ. When sending failed it can be tried again (but EFAULT
 * and ENOMEM end an RPC of a session, as with control messages). The next
 * request that is received takes the place of one that was not answered. All
 * else is as ever: control messages answer any request, and requests are sent
 * with a destination. (A sealed request's answer is sealed.) Threads that
 * receive on one socket cannot tell whose request is the last one: each needs a
 * socket of its own, or control messages. Initially 0.
 */
#define SO_HOMA_REPLY 14

/**
 * struct homa_rcvbuf_args - the receive pool, for SO_HOMA_RCVBUF
 *
 * A writable mapping of the calling process in which recvmsg() places
 * messages. It must stay mapped as long as the socket is in use: a message
 * for which it is not gives EFAULT, for which it is full waits.
 *
 * @start: address of its first byte, a multiple of the page size (EINVAL).
 * @length: its size in bytes, at least one bpage; a part of a bpage at the end
 *	is not used.
 */
struct homa_rcvbuf_args {
	__u64 start;
	__u64 length;
};

/* ---- Keys: setsockopt(fd, SOL_TLS, TLS_TX or TLS_RX, ...) ---------------- */

/**
 * struct homa_tls_key - one direction's key for one peer
 *
 * After a TLS handshake (over any channel) both sides set TLS_TX and TLS_RX;
 * from then on everything to and from that peer address and port is sealed.
 * Setting a key again starts the next epoch: new messages are sealed with that
 * key, and those under way are finished with the one they began with. Set it as
 * TLS_RX where it is received first, then as TLS_TX where it is sent; and the
 * next TLS_RX only when the peer seals with the one before it, as a receiver
 * has three keys at most and drops the oldest for a fourth. Each
 * direction rekeys by itself; version and cipher type stay. A direction needs
 * a key of its own, as TLS makes them.
 *
 * On a connected socket the argument is exactly kTLS's: a struct
 * tls12_crypto_info_aes_gcm_128 or _256. On an unconnected one, it is this
 * struct, of which only the member of @crypto that is used is passed:
 *
 *	setsockopt(fd, SOL_TLS, TLS_TX, &key,
 *		   HOMA_TLS_KEY_SIZE(key.crypto.aes_gcm_128));
 *
 * As under kTLS, TLS 1.3's static IV is salt (4 bytes) | iv (8 bytes). In TLS
 * 1.2, where iv is the first explicit nonce, it is not used: Homa forms record
 * sequence numbers itself, and they are the explicit nonces. For the same
 * reason rec_seq must be 0.
 *
 * Errors: EINVAL for another length, version, cipher type, address family, or
 * rec_seq, and for a next key of another version or cipher type than the first
 * (as kTLS has it); EBUSY for TLS_TX while messages are under way that were
 * sealed with the key before the current one: try again when they are done;
 * ENOTUNIQ for a key that is the current or previous one of either direction,
 * whatever its IV; ENOSPC after too many sessions on this socket, ENOMEM.
 *
 * getsockopt() of TLS_TX and TLS_RX is ENOPROTOOPT: unlike kTLS, Homa gives no
 * key back, as a socket may have been passed on to a process that was never
 * meant to have the keys, and a record sequence number, the other half of what
 * kTLS returns, is each message's own.
 *
 * @peer: (in) a sockaddr_in or sockaddr_in6 with a port, in a storage of full
 *	size.
 * @crypto: (in) version (TLS_1_2_VERSION, TLS_1_3_VERSION) and cipher_type
 *	(TLS_CIPHER_AES_GCM_128, _256) in its info tell which member it is.
 */
struct homa_tls_key {
	struct __kernel_sockaddr_storage peer;
	union {
		struct tls_crypto_info info;
		struct tls12_crypto_info_aes_gcm_128 aes_gcm_128;
		struct tls12_crypto_info_aes_gcm_256 aes_gcm_256;
	} crypto;
};

/* optlen for a struct homa_tls_key whose crypto info is @member. */
#define HOMA_TLS_KEY_SIZE(member) \
	(sizeof(struct __kernel_sockaddr_storage) + sizeof(member))

/* ---- ioctl() -------------------------------------------------------------- */

/**
 * struct homa_abort_args - argument of HOMAIOCABORT
 *
 * @id: (in) a request of this socket (EINVAL if there is none), or 0 for
 *	all of them.
 * @error: (in) 0: forget it, nothing will be received. Else recvmsg() returns
 *	it as failed with this errno (positive).
 * @_pad1: (in) 0.
 * @_pad2: (in) 0.
 */
struct homa_abort_args {
	__u64 id;
	__u32 error;
	__u32 _pad1;
	__u64 _pad2[2];
};

/* homa_rpc_info.flags */
#define HOMA_RPC_BUF_STALL 1	/* the pool has no room for the message */
#define HOMA_RPC_PRIVATE 2	/* sent with HOMA_SENDMSG_PRIVATE */
#define HOMA_RPC_RX_READY 4	/* complete, waits for recvmsg() */
#define HOMA_RPC_RX_COPY 8	/* received packets not yet copied to the pool */

/**
 * struct homa_rpc_info - one RPC, from HOMAIOCINFO (all fields out)
 *
 * @id: odd: this host is its server, even: its client.
 * @peer: the other side.
 * @completion_cookie: as given to sendmsg(); 0 at the server.
 * @tx_length: bytes of the message from here; -1: not sent by the program yet.
 * @tx_sent: bytes of it that were passed to the network at least once.
 * @tx_granted: bytes of it that the peer allows to be sent, the unscheduled
 *	ones included.
 * @tx_prio: network priority that the peer assigned to it, 0 (low) to 7.
 * @rx_length: bytes of the message to here; -1: nothing received yet.
 * @rx_remaining: bytes of it that have not arrived.
 * @rx_gaps: ranges of it that are missing although later bytes have arrived.
 * @rx_gap_bytes: bytes in those ranges.
 * @rx_granted: bytes of it that the peer may send, the unscheduled ones
 *	included.
 * @flags: HOMA_RPC_*.
 * @reserved: 0.
 */
struct homa_rpc_info {
	__u64 id;
	union {
		struct __kernel_sockaddr_storage storage;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} peer;
	__u64 completion_cookie;
	__s32 tx_length;
	__u32 tx_sent;
	__u32 tx_granted;
	__u32 tx_prio;
	__s32 rx_length;
	__u32 rx_remaining;
	__u32 rx_gaps;
	__u32 rx_gap_bytes;
	__u32 rx_granted;
	__u16 flags;
	__u16 reserved;
};

#define HOMA_ERROR_MSG_SIZE 104

/**
 * struct homa_info - argument and result of HOMAIOCINFO
 *
 * @rpc_info: (in) address of an array of struct homa_rpc_info for the result.
 * @rpc_info_length: (in) its size in bytes; 0 for none.
 * @bpool_avail_bytes: (out) free bytes in the receive pool; 0 without one.
 * @port: (out) the socket's port, in host byte order.
 * @num_rpcs: (out) RPCs of this socket, as client and as server. The array
 *	holds fewer if it is too small.
 * @error_msg: (out) what was wrong in the last call on this socket that
 *	failed, in words, ended by a 0; empty if nothing is known.
 */
struct homa_info {
	__u64 rpc_info;
	__u64 rpc_info_length;
	__u64 bpool_avail_bytes;
	__u32 port;
	__u32 num_rpcs;
	char error_msg[HOMA_ERROR_MSG_SIZE];
};

/* Describe the socket and its RPCs. Errors: EFAULT. */
#define HOMAIOCINFO _IOWR('h', 0x90, struct homa_info)

/* End requests of this socket. Errors: EFAULT, EINVAL. */
#define HOMAIOCABORT _IOWR('h', 0x91, struct homa_abort_args)

/* A debugging aid of HomaModule; the number is kept, the call is ENOTTY. */
#define HOMAIOCFREEZE _IO('h', 0x92)

/* Bits of the sysctl net.homa.flags: never hold packets back in the pacer. */
#define HOMA_FLAG_DONT_THROTTLE 2

#endif /* _UAPI_LINUX_HOMA_H */
