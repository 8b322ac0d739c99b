// SPDX-License-Identifier: GPL-2.0

//! A message that is one packet.

use kernel::prelude::*;

use crate::protocol::wire::{at, Common, Data, DATA_LEN};
use crate::sys::builder::SkbBuilder;
use crate::sys::inline::InlineBytes;
use crate::sys::pagebytes::PageBytes;
use crate::sys::route::Dst;
use crate::sys::skb::SkBuff;
use crate::sys::sock::{Sock, WmemCharge};
use crate::sys::uio::IovIter;

/// The linear bytes of such a message, from the transport header on. They are not part of [`Whole`], which is moved
/// before it is where it stays.
pub(crate) type Short = InlineBytes<MAX_SHORT>;

/// What fits into the allocation of an RPC anyway.
const MAX_SHORT: usize = 256;

/// Messages of one packet that are longer (on the loopback device) are kept as segments are: they need no memory in one piece.
pub(super) const MAX_WHOLE: u32 = 16 << 10;

/// A message of [`MAX_WHOLE`] bytes at most in one packet. That is sent itself, and its bytes are kept: cheaper than to send a clone, of which
/// somebody below may need a copy.
pub(super) struct Whole {
    /// The packet, until it is sent.
    fresh: Option<SkBuff>,
    /// So many of its linear bytes, from the transport header on, are [`Short`] once it is sent.
    head: u16,
    /// Those behind them.
    rest: Option<PageBytes>,
    _charge: WmemCharge,
}

impl Whole {
    /// Takes a plain message from a program. Sleeps.
    #[inline]
    pub(super) fn plain(
        sk: &Sock,
        dst: &Dst,
        common: &Common,
        data: &Data,
        from: &mut IovIter,
    ) -> Result<Self> {
        let len = data.message_length as usize;
        let headroom = dst.headroom() + DATA_LEN;
        let mut rest = None;
        let mut builder = if DATA_LEN.saturating_add(len) > MAX_SHORT {
            let mut builder = SkbBuilder::new(headroom, 0, false, GFP_KERNEL)?;
            builder.append_page(rest.insert(PageBytes::from_iter(from, len)?))?;
            builder
        } else {
            let mut builder = SkbBuilder::new(headroom, len, false, GFP_KERNEL)?;
            builder.append_iter(from, len)?;
            builder
        };
        builder.push(&data.emit_packet(common))?;
        Self::keep(builder, DATA_LEN, rest, sk)
    }

    /// Keeps a filled packet, whose header of `header` bytes is there too. `rest`: where what follows its linear bytes is kept already.
    #[inline]
    pub(super) fn keep(
        mut builder: SkbBuilder,
        header: usize,
        mut rest: Option<PageBytes>,
        sk: &Sock,
    ) -> Result<Self> {
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(sk);
        let mut head = skb.head().len();
        if head > MAX_SHORT {
            head = header;
            rest = Some(PageBytes::copy_of(skb.head().get(header..).unwrap_or_default())?);
        }
        let kept = head.saturating_add(rest.as_ref().map_or(0, |rest| rest.len()));
        let _charge = WmemCharge::new(sk, kept as u32);
        // (A short one, or a header.)
        Ok(Self { fresh: Some(builder.finish()), head: head as u16, rest, _charge })
    }

    /// The packet, to be sent. None without memory.
    #[inline]
    pub(super) fn packet(&mut self, short: &mut Short, sk: &Sock, dst: &Dst) -> Option<SkBuff> {
        match self.fresh.take() {
            Some(skb) => {
                short.set(skb.head().get(..usize::from(self.head)).unwrap_or_default());
                Some(skb)
            }
            None => self.copy(short, sk, dst, false),
        }
    }

    /// The same once more, marked as such. None without memory.
    pub(super) fn packet_again(&self, short: &Short, sk: &Sock, dst: &Dst) -> Option<SkBuff> {
        let bytes = match &self.fresh {
            Some(skb) => skb.head().get(..usize::from(self.head)).unwrap_or_default(),
            None => short,
        };
        self.copy(bytes, sk, dst, true)
    }

    /// A packet with `head` and what follows it.
    #[cold]
    fn copy(&self, head: &[u8], sk: &Sock, dst: &Dst, retransmit: bool) -> Option<SkBuff> {
        let mut builder = SkbBuilder::new(dst.headroom(), head.len(), false, GFP_ATOMIC).ok()?;
        builder.append(head).ok()?;
        if let Some(rest) = &self.rest {
            builder.append_page(rest).ok()?;
        }
        if retransmit && !builder.write_at(at::RETRANSMIT, &[1]) {
            return None;
        }
        let skb = builder.as_skb();
        skb.set_transport_header_here();
        skb.set_checksum_unnecessary();
        skb.set_owner_w(sk);
        Some(builder.finish())
    }
}
