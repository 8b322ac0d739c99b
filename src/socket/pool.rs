// SPDX-License-Identifier: GPL-2.0

//! The receive pool: a region of the program's memory that messages are copied into.

use kernel::prelude::*;

use super::uapi::RcvbufArgs;
use crate::protocol::bpool::{BufferPool, Placement, BPAGE_SHIFT, BPAGE_SIZE, MAX_POOL_BPAGES};
use crate::sys::uio::UserDest;
use crate::sys::user::UserPtr;
use crate::transport::incoming::Incoming;

/// Bytes of a page: the region begins at one.
const PAGE: u64 = 4096;

/// A registered region.
pub(super) struct Pool {
    args: RcvbufArgs,
    pub(super) bpages: BufferPool,
}

impl Pool {
    /// EINVAL if the region does not begin at a page, or holds no bpage; EFAULT if it is none of the
    /// program's.
    pub(super) fn new(args: RcvbufArgs) -> Result<Self> {
        let pages = (args.length >> BPAGE_SHIFT).min(MAX_POOL_BPAGES as u64);
        if args.start % PAGE != 0 || pages == 0 {
            return Err(EINVAL);
        }
        UserDest::new(args.start as usize, args.length as usize)?;
        // A region that is not mapped is better refused now than message by message.
        let last = args.start.wrapping_add(args.length).wrapping_sub(1);
        for address in [args.start, last] {
            UserPtr::new(address as usize).read::<u8>()?;
        }
        let bpages = BufferPool::new(pages as usize).map_err(|_| ENOMEM)?;
        Ok(Self { args, bpages })
    }

    /// What it was registered with.
    pub(super) fn args(&self) -> RcvbufArgs {
        self.args
    }

    /// First address.
    pub(super) fn start(&self) -> usize {
        self.args.start as usize
    }
}

/// Copies a message of `length` bytes to `place` of the region that begins at `start`, in the
/// current process. EFAULT.
pub(super) fn copy_out(
    incoming: &Incoming,
    length: u32,
    start: usize,
    place: &Placement,
) -> Result {
    let mut from = 0;
    for offset in place.offsets() {
        let len = length.saturating_sub(from).min(BPAGE_SIZE);
        let mut dest = UserDest::new(start.wrapping_add(*offset as usize), len as usize)?;
        incoming.copy_out(from, len, dest.iter())?;
        from = from.saturating_add(len);
    }
    Ok(())
}
