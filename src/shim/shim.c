// SPDX-License-Identifier: GPL-2.0
#include <linux/cpumask.h>
#include <linux/ethtool.h>
#include <linux/hrtimer.h>
#include <linux/hrtimer_bases.h>
#include <linux/icmpv6.h>
#include <linux/interrupt.h>
#include <linux/mm.h>
#include <linux/netfilter_bridge.h>
#include <linux/percpu.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/security.h>
#include <net/dst_metadata.h>
#include <net/gro.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/route.h>
#include "shim.h"

void shim_local_bh_disable(void)
{
	local_bh_disable();
}

void shim_local_bh_enable(void)
{
	local_bh_enable();
}

bool shim_spin_lock_bh(spinlock_t *lock)
{
	if (softirq_count()) {
		spin_lock(lock);
		return false;
	}
	spin_lock_bh(lock);
	return true;
}

bool shim_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

void shim_spin_unlock_bh(spinlock_t *lock, bool bh_off)
{
	if (bh_off)
		spin_unlock_bh(lock);
	else
		spin_unlock(lock);
}

int shim_next_possible_cpu(int cpu)
{
	unsigned int next = cpumask_next(cpu, cpu_possible_mask);

	return next < nr_cpu_ids ? (int)next : -1;
}

void *shim_per_cpu_ptr(void *ptr, int cpu)
{
	return per_cpu_ptr((void __percpu *)(unsigned long)ptr, cpu);
}

bool shim_hrtimer_runs_here(struct hrtimer *timer)
{
	return in_serving_softirq() && hrtimer_callback_running(timer) &&
	       timer->base->cpu_base->cpu == raw_smp_processor_id();
}

void shim_sock_hold(struct sock *sk)
{
	sock_hold(sk);
}

void shim_sock_put(struct sock *sk)
{
	sock_put(sk);
}

void shim_sock_set_rcu_free(struct sock *sk)
{
	sock_set_flag(sk, SOCK_RCU_FREE);
}

void shim_sock_inuse_add(struct sock *sk, int val)
{
	sock_prot_inuse_add(sock_net(sk), sk->sk_prot, val);
}

void shim_sk_drops_inc(struct sock *sk)
{
	sk_drops_inc(sk);
}

void shim_sk_wake_readers(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_all(&wq->wait);
	sk_wake_async_rcu(sk, SOCK_WAKE_WAITD, POLL_IN);
	rcu_read_unlock();
}

void shim_sk_wake_writers(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLOUT | EPOLLWRNORM |
						      EPOLLWRBAND);
	sk_wake_async_rcu(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

bool shim_can_nonlocal_bind(struct sock *sk, bool v4)
{
	return v4 ? inet_can_nonlocal_bind(sock_net(sk), inet_sk(sk)) :
		    ipv6_can_nonlocal_bind(sock_net(sk), inet_sk(sk));
}

void shim_sock_poll_wait(struct file *file, struct socket *sock,
			 poll_table *wait)
{
	sock_poll_wait(file, sock, wait);
}

void *shim_frag_address(const skb_frag_t *frag)
{
	return skb_frag_address_safe(frag);
}

struct page_frag *shim_task_frag(void)
{
	return in_task() ? &current->task_frag : NULL;
}

void *shim_page_address(struct page *page)
{
	return page_address(page);
}

void shim_get_page(struct page *page)
{
	get_page(page);
}

void shim_put_page(struct page *page)
{
	put_page(page);
}

struct page *shim_alloc_compound(unsigned int size)
{
	return alloc_pages(GFP_KERNEL | __GFP_COMP, get_order(size));
}

static void shim_leave_alone(void *object)
{
}

/* Objects with a constructor are not cleared when they are handed out. */
struct kmem_cache *shim_uncleared_cache(const char *name, unsigned int size)
{
	return kmem_cache_create_usercopy(name, size, 0, 0, 0, size,
					  shim_leave_alone);
}

struct sk_buff *shim_skb_share_check(struct sk_buff *skb, gfp_t gfp)
{
	return skb_share_check(skb, gfp);
}

void shim_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

void shim_skb_dst_set_noref(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set_noref(skb, dst);
}

void *shim_gro_header(struct sk_buff *skb, unsigned int len)
{
	unsigned int off = skb_gro_offset(skb);

	return skb_gro_header(skb, off + len, off);
}

/*
 * The ports of a packet at PREROUTING that may have the route of its flow: none
 * that has something else already, is somebody else's, or a fragment.
 */
const void *shim_early_ports(const struct sk_buff *skb, u8 protocol)
{
	bool ours = false;

	if (skb->protocol == htons(ETH_P_IP))
		ours = ip_hdr(skb)->protocol == protocol &&
		       ip_hdr(skb)->ihl == 5 && !ip_is_fragment(ip_hdr(skb));
	else if (skb->protocol == htons(ETH_P_IPV6))
		ours = ipv6_hdr(skb)->nexthdr == protocol;
	if (!ours || skb_dst(skb) || skb->sk || skb->pkt_type != PACKET_HOST ||
	    nf_bridge_in_prerouting(skb) ||
	    !READ_ONCE(dev_net(skb->dev)->ipv4.sysctl_ip_early_demux) ||
	    skb_headlen(skb) < skb_transport_offset(skb) + 4)
		return NULL;
	return skb_transport_header(skb);
}

struct dst_entry *shim_skb_dst(const struct sk_buff *skb)
{
	return skb_dst(skb);
}

struct dst_entry *shim_hold_local_route(const struct sk_buff *skb, u32 *cookie)
{
	struct dst_entry *dst = skb_dst(skb);
	bool local;

	if (!skb_valid_dst(skb) || skb->skb_iif != skb->dev->ifindex)
		return NULL;
	if (skb->protocol == htons(ETH_P_IP)) {
		local = dst_rtable(dst)->rt_type == RTN_LOCAL;
		*cookie = 0;
	} else {
		local = dst_rt6_info(dst)->rt6i_flags & RTF_LOCAL;
		*cookie = rt6_get_cookie(dst_rt6_info(dst));
	}
	return local && dst_hold_safe(dst) ? dst : NULL;
}

void shim_frag_fill_head(skb_frag_t *frag, const struct sk_buff *skb,
			 unsigned int offset)
{
	struct page *page = virt_to_head_page(skb->head);

	skb_frag_fill_page_desc(frag, page,
				skb->data + offset - (u8 *)page_address(page),
				skb_headlen(skb) - offset);
}

void shim_icmp_port_unreachable(struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
	else
		icmpv6_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
}

void shim_sk_classify_flow(const struct sock *sk, struct flowi_common *flow)
{
	security_sk_classify_flow(sk, flow);
}

u32 shim_rt6_cookie(struct dst_entry *dst)
{
	return rt6_get_cookie(dst_rt6_info(dst));
}

bool shim_dst_check(struct dst_entry *dst, u32 cookie)
{
	return dst_check(dst, cookie);
}

u32 shim_dst_mtu(const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

unsigned int shim_dst_ll_space(const struct dst_entry *dst)
{
	return LL_RESERVED_SPACE(dst_dev(dst));
}

struct net_device *shim_dst_dev(const struct dst_entry *dst)
{
	return dst_dev_rcu(dst);
}

bool shim_dst_has_queue(const struct dst_entry *dst)
{
	return !(dst_dev_rcu(dst)->priv_flags & IFF_NO_QUEUE);
}

void shim_dst_hold(struct dst_entry *dst)
{
	dst_hold(dst);
}

u32 shim_dst_link_speed(const struct dst_entry *dst)
{
	struct ethtool_link_ksettings ks = {};
	int err;

	rtnl_lock();
	err = __ethtool_get_link_ksettings(dst_dev(dst), &ks);
	rtnl_unlock();
	return err || ks.base.speed == (u32)SPEED_UNKNOWN ? 0 : ks.base.speed;
}

void shim_sg_set(struct scatterlist *sg, void *buf, unsigned int len)
{
	sg_set_buf(sg, buf, len);
}

void shim_sg_mark_end(struct scatterlist *sg)
{
	sg_mark_end(sg);
}
