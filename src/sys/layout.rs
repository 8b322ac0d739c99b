// SPDX-License-Identifier: GPL-2.0

//! Does bindgen lay structs out as C does?
//!
//! It does not understand everything (a tagged struct as an anonymous member, say), and depending on the kernel's
//! configuration a mistake shows or not. `layout.h` has the compiler's own numbers for every field that we touch.

use ::core::mem::{offset_of, size_of};
use homa_bindings as bindings;
use kernel::macros::paste;

macro_rules! check {
    ($($ty:ident: $($field:ident),* $(,)?;)*) => { paste! { $(
        $( const _: () = assert!(
            offset_of!(bindings::$ty, $field) == bindings::[<SHIM_ $ty _ $field>] as usize,
            concat!("bindgen lays out ", stringify!($ty), ".", stringify!($field), " in another way than C")
        ); )*
        const _: () = assert!(
            size_of::<bindings::$ty>() == bindings::[<SHIM_SIZE_ $ty>] as usize,
            concat!("bindgen lays out ", stringify!($ty), " in another way than C")
        );
    )* } };
}

check! {
    aes_gcm_ctx: ;
    aes_gcm_key: ;
    cred: user_ns;
    ctl_table: procname, data, maxlen, mode, proc_handler, extra1, extra2;
    dst_entry: ops, header_len, obsolete;
    file: f_cred;
    flowi: ;
    flowi4: saddr, daddr, uli;
    flowi6: saddr, daddr, flowlabel, uli;
    hrtimer: is_queued, function;
    inet6_protocol: handler, err_handler, flags;
    inet_protosw: type_, protocol, prot, ops;
    inet_sock: pinet6, inet_saddr, inet_sport, tos;
    iov_iter: data_source, iov_offset;
    ipv6_pinfo: saddr, opt, tclass;
    msghdr: msg_name, msg_namelen, msg_iter, msg_flags, msg_controllen;
    napi_gro_cb: data_offset, flush, count;
    net: net_cookie, gen, proc_net;
    net_device: ifindex, nd_net, gso_max_size, gso_ipv4_max_size;
    net_offload: callbacks;
    net_protocol: handler, err_handler;
    pernet_operations: init, pre_exit, exit, id, size;
    proto: init, close, destroy, setsockopt, get_port, no_autobind, obj_size, ipv6_pinfo_offset, owner, name;
    proto_ops: owner, bind, poll, ioctl, setsockopt, sendmsg, recvmsg, mmap;
    rtable: rt_flags;
    seq_file: file, private;
    sk_buff: sk, cb, len, data_len, tail, end, head, data, truesize;
    skb_shared_info: nr_frags, gso_size, gso_segs, frag_list, gso_type, dataref, frags;
    sock: sk_backlog, sk_rcvbuf, sk_data_ready, sk_rcvtimeo, sk_err, sk_wmem_alloc, sk_sndtimeo, sk_priority,
        sk_mark, sk_uid, sk_ino, sk_protocol, sk_sndbuf, sk_shutdown, sk_state_change;
    socket: sk, wq;
    tracepoint: key;
    wait_queue_entry: private, func;
}
