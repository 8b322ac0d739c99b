// SPDX-License-Identifier: GPL-2.0

//! Packets, and ICMP about packets: `struct net_protocol` and `struct inet6_protocol`.

use super::{DatagramProtocol, IcmpError};
use crate::sys::{
    addr::Addr,
    netns::Net,
    skb::{SkBuff, Skb},
};
use ::core::{mem::size_of, ptr::NonNull};
use homa_bindings as bindings;
use kernel::{ffi::c_int, prelude::*};

/// The namespace of the device that a packet came in on.
///
/// # Safety
///
/// `skb` must be a packet being received, in an RCU section of which `'a` is a part.
unsafe fn net<'a>(skb: *mut bindings::sk_buff) -> &'a Net {
    // SAFETY: by the caller's promise; a device has a namespace, which RCU keeps.
    unsafe {
        Net::from_raw((*(*skb).__bindgen_anon_1.__bindgen_anon_1.__bindgen_anon_1.dev).nd_net.net)
    }
}

/// IPv4 and IPv6 alike: 0 means that the packet was taken.
///
/// # Safety
///
/// `skb` must be a valid packet being received, in an RCU section, that nobody else uses. It is given away.
pub(super) unsafe extern "C" fn rcv<P: DatagramProtocol>(skb: *mut bindings::sk_buff) -> c_int {
    // SAFETY: IP gives us a valid packet that nobody else uses, in an RCU section.
    unsafe { P::rcv(net(skb), SkBuff::from_raw(NonNull::new_unchecked(skb))) };
    0
}

/// `skb`'s data is at the IP header of the packet that we sent; its first 8 bytes of transport header are linear.
///
/// # Safety
///
/// `skb` must be such an ICMP packet, valid and with icmp_hdr set and linear, in an RCU section.
pub(super) unsafe extern "C" fn err4<P: DatagramProtocol>(
    skb: *mut bindings::sk_buff,
    info: u32,
) -> c_int {
    // SAFETY: as in `rcv`.
    let (net, s) = unsafe { (net(skb), Skb::from_raw(skb)) };
    // SAFETY: the transport header is ICMP's (icmp_hdr), linear, and begins with these bytes. (Not every device aligns it.)
    let [kind, code] = unsafe { s.transport_header().cast::<[u8; 2]>().read() };
    let kind = u32::from(kind);
    let mut fatal = false;
    let err = match kind {
        bindings::ICMP_DEST_UNREACH if u32::from(code) > bindings::NR_ICMP_UNREACH => return 0,
        bindings::ICMP_DEST_UNREACH if u32::from(code) == bindings::ICMP_FRAG_NEEDED => {
            // SAFETY: valid arguments.
            unsafe { bindings::ipv4_update_pmtu(skb, net.as_raw(), info, 0, P::PROTOCOL) };
            EMSGSIZE
        }
        bindings::ICMP_DEST_UNREACH => {
            // SAFETY: the code was checked; the table is constant.
            let e = unsafe {
                &*(&raw const bindings::icmp_err_convert)
                    .cast::<bindings::icmp_err>()
                    .add(usize::from(code))
            };
            fatal = e.fatal() != 0;
            Error::from_errno(e.errno.wrapping_neg())
        }
        bindings::ICMP_TIME_EXCEEDED => EHOSTUNREACH,
        bindings::ICMP_PARAMETERPROB => {
            fatal = true;
            EPROTO
        }
        bindings::ICMP_REDIRECT => {
            // SAFETY: valid arguments.
            unsafe { bindings::ipv4_redirect(skb, net.as_raw(), 0, P::PROTOCOL) };
            return 0;
        }
        _ => return 0,
    };
    let head = s.head();
    let Some((ip, _)) = head.split_at_checked(20) else { return 0 };
    let Some(header) = head.get(usize::from(ip[0] & 15) * 4..) else { return 0 };
    let error = IcmpError { dest: Addr::v4([ip[16], ip[17], ip[18], ip[19]]), err, fatal };
    if header.len() >= 8 {
        P::icmp_error(net, header, &error);
    }
    0
}

/// The same for ICMPv6; `offset` is where the transport header is.
///
/// # Safety
///
/// `skb` must be such an ICMPv6 packet, valid, in an RCU section.
pub(super) unsafe extern "C" fn err6<P: DatagramProtocol>(
    skb: *mut bindings::sk_buff,
    _opt: *mut bindings::inet6_skb_parm,
    kind: u8,
    code: u8,
    offset: c_int,
    info: u32,
) -> c_int {
    // SAFETY: as in `rcv`.
    let (net, s) = unsafe { (net(skb), Skb::from_raw(skb)) };
    let mut err = 0;
    // SAFETY: valid arguments.
    let fatal = unsafe { bindings::icmpv6_err_convert(kind, code, &mut err) } != 0;
    // SAFETY: valid arguments. (A zero user is what others pass, too, who ask for no particular one.)
    unsafe {
        if u32::from(kind) == bindings::ICMPV6_PKT_TOOBIG {
            let uid = bindings::kuid_t { val: 0 };
            bindings::ip6_update_pmtu(skb, net.as_raw(), info, 0, 0, uid);
            err = EMSGSIZE.to_errno().wrapping_neg();
        } else if u32::from(kind) == bindings::NDISC_REDIRECT {
            let uid = bindings::kuid_t { val: 0 };
            bindings::ip6_redirect(skb, net.as_raw(), (*skb_dev(skb)).ifindex, 0, uid);
            return 0;
        }
    }
    let head = s.head();
    let Some(header) = usize::try_from(offset).ok().and_then(|at| head.get(at..)) else { return 0 };
    if head.len() < size_of::<bindings::ipv6hdr>() || header.len() < 8 {
        return 0;
    }
    let mut dest = Addr::ANY;
    dest.0.copy_from_slice(&head[24..40]);
    let error = IcmpError { dest, err: Error::from_errno(err.wrapping_neg()), fatal };
    P::icmp_error(net, header, &error);
    0
}

/// # Safety
///
/// As for [`net`].
unsafe fn skb_dev(skb: *mut bindings::sk_buff) -> *mut bindings::net_device {
    // SAFETY: by the caller's promise.
    unsafe { (*skb).__bindgen_anon_1.__bindgen_anon_1.__bindgen_anon_1.dev }
}
