/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module needs of the kernel's C: bindgen turns these headers, and the
 * wrappers of src/shim, into Rust (see Kbuild and homa_bindings.rs).
 */
#include <crypto/aead.h>
#include <crypto/aes-gcm.h>
#include <crypto/utils.h>
#include <linux/filter.h>
#include <linux/hrtimer.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/inetdevice.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include <linux/poll.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/spinlock.h>
#include <linux/sysctl.h>
#include <linux/tracepoint.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include <net/addrconf.h>
#include <net/dst.h>
#include <net/flow.h>
#include <net/gro.h>
#include <net/gso.h>
#include <net/icmp.h>
#include <net/inet_common.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/protocol.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/transp_v6.h>

#include "shim.h"
#include "trace.h"
#include "layout.h"
