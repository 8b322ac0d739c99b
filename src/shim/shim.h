/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Rust cannot call because it is a macro or inline: as rust/helpers does in
 * the kernel, one function each, no logic. src/sys/ says what each is for.
 */
#ifndef HOMA_SHIM_H
#define HOMA_SHIM_H

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/poll.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>
#include <net/sock.h>

/* lock.rs */
void shim_local_bh_disable(void);
void shim_local_bh_enable(void);
/* The question and the lock in one call: several of each per packet. */
bool shim_spin_lock_bh(spinlock_t *lock);
bool shim_spin_trylock_bh(spinlock_t *lock);
void shim_spin_unlock_bh(spinlock_t *lock, bool bh_off);

/* percpu.rs, timer.rs */
int shim_next_possible_cpu(int cpu);
void *shim_per_cpu_ptr(void *ptr, int cpu);
bool shim_hrtimer_runs_here(struct hrtimer *timer);

/* trace.rs */
struct shim_event {
	u64 netns, id;
	u32 offset, length;
	u16 port, peer_port;
	u8 peer[16];
	const char *what;
	u32 what_len;
};

/* sock.rs, proto.rs */
void shim_sock_hold(struct sock *sk);
void shim_sock_put(struct sock *sk);
void shim_sock_set_rcu_free(struct sock *sk);
void shim_sock_inuse_add(struct sock *sk, int val);
void shim_sk_drops_inc(struct sock *sk);
void shim_sk_wake_readers(struct sock *sk);
void shim_sk_wake_writers(struct sock *sk);
bool shim_can_nonlocal_bind(struct sock *sk, bool v4);
void shim_sock_poll_wait(struct file *file, struct socket *sock,
			 poll_table *wait);

/* skb.rs, builder.rs, gro.rs */
void *shim_frag_address(const skb_frag_t *frag);
struct page_frag *shim_task_frag(void);
void *shim_page_address(struct page *page);
void shim_get_page(struct page *page);
void shim_put_page(struct page *page);
struct page *shim_alloc_compound(unsigned int size);

/* secret.rs */
struct kmem_cache *shim_uncleared_cache(const char *name, unsigned int size);

struct sk_buff *shim_skb_share_check(struct sk_buff *skb, gfp_t gfp);
void shim_skb_orphan(struct sk_buff *skb);
void shim_skb_dst_set_noref(struct sk_buff *skb, struct dst_entry *dst);
void *shim_gro_header(struct sk_buff *skb, unsigned int len);
void shim_frag_fill_head(skb_frag_t *frag, const struct sk_buff *skb,
			 unsigned int offset);
void shim_icmp_port_unreachable(struct sk_buff *skb);

/* early.rs */
const void *shim_early_ports(const struct sk_buff *skb, u8 protocol);
struct dst_entry *shim_skb_dst(const struct sk_buff *skb);
struct dst_entry *shim_hold_local_route(const struct sk_buff *skb, u32 *cookie);

/* aead.rs */
void shim_sg_set(struct scatterlist *sg, void *buf, unsigned int len);
void shim_sg_mark_end(struct scatterlist *sg);

/* route.rs */
void shim_sk_classify_flow(const struct sock *sk, struct flowi_common *flow);
u32 shim_rt6_cookie(struct dst_entry *dst);
bool shim_dst_check(struct dst_entry *dst, u32 cookie);
u32 shim_dst_mtu(const struct dst_entry *dst);
unsigned int shim_dst_ll_space(const struct dst_entry *dst);
struct net_device *shim_dst_dev(const struct dst_entry *dst);
bool shim_dst_has_queue(const struct dst_entry *dst);
void shim_dst_hold(struct dst_entry *dst);
u32 shim_dst_link_speed(const struct dst_entry *dst);

#endif
