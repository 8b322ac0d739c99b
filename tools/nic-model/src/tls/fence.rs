// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The fences that the driver sets around parameters, per send queue.
//!
//! Hardware fetches a queue's WQEs ahead of their execution. Parameters that overtake the data before them, or data that
//! overtakes its parameters, are what `fm_ce_se`'s fence keeps from happening. Whether DUMP needs one is not known; the
//! driver sets none, so none is asked for.

use std::collections::HashSet;

use super::Violation;

/// What was posted for a TIS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    /// UMR with static parameters.
    StaticParams,
    /// SET_PSV with progress parameters.
    ProgressParams,
    /// DUMP.
    Dump,
    /// SEND or LSO with a TIS.
    Data,
}

/// The rules of one send queue:
///
/// - a pair of static and progress parameters has a fence before one of the two, progress parameters alone have one;
/// - between progress parameters and the first data or DUMP of that TIS is a fence.
#[derive(Clone, Debug, Default)]
pub struct FenceRules {
    /// The TIS whose static parameters, fenced, were the WQE before this one.
    fenced_static: Option<u32>,
    /// TISes that had parameters since the last fence.
    open: HashSet<u32>,
}

impl FenceRules {
    /// Looks at a WQE that has to do with a TIS.
    #[must_use]
    pub fn post(&mut self, what: Post, tisn: u32, fenced: bool) -> Option<Violation> {
        let before = self.fenced_static.take();
        if fenced {
            self.open.clear();
        }
        match what {
            Post::StaticParams => {
                self.fenced_static = fenced.then_some(tisn);
                None
            }
            Post::ProgressParams => {
                self.open.insert(tisn);
                (!fenced && before != Some(tisn)).then_some(Violation::NoFence(what))
            }
            Post::Dump | Post::Data => {
                // Once for each such parameters.
                self.open.remove(&tisn).then_some(Violation::NoFenceAfterParams(what, tisn))
            }
        }
    }

    /// Looks at any other WQE, such as a NOP.
    pub fn other(&mut self, fenced: bool) {
        self.fenced_static = None;
        if fenced {
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the driver posts: `mlx5e_ktls_tx_post_param_wqes`, for a new connection, and for both kinds of resync.
    #[test]
    fn the_drivers_own_sequences_are_right() {
        for (static_fence, progress_fence) in
            [(Some(false), true), (Some(true), false), (None, true)]
        {
            let mut sq = FenceRules::default();
            assert_eq!(sq.post(Post::Data, 5, false), None);
            if let Some(fence) = static_fence {
                assert_eq!(sq.post(Post::StaticParams, 5, fence), None);
            }
            assert_eq!(sq.post(Post::ProgressParams, 5, progress_fence), None);
            sq.other(true);
            assert_eq!(sq.post(Post::Dump, 5, false), None);
            assert_eq!(sq.post(Post::Data, 5, false), None);
        }
    }

    #[test]
    fn what_lacks_a_fence_is_seen() {
        let mut sq = FenceRules::default();
        assert_eq!(
            sq.post(Post::ProgressParams, 5, false),
            Some(Violation::NoFence(Post::ProgressParams))
        );
        sq.other(false);
        assert_eq!(sq.post(Post::Data, 6, false), None);
        assert_eq!(
            sq.post(Post::Dump, 5, false),
            Some(Violation::NoFenceAfterParams(Post::Dump, 5))
        );
        assert_eq!(sq.post(Post::Data, 5, false), None);

        // Another TIS's static parameters fence nothing for this one, nor do those before a NOP.
        assert_eq!(sq.post(Post::StaticParams, 6, true), None);
        assert_eq!(
            sq.post(Post::ProgressParams, 5, false),
            Some(Violation::NoFence(Post::ProgressParams))
        );
        assert_eq!(sq.post(Post::StaticParams, 5, true), None);
        sq.other(false);
        assert_eq!(
            sq.post(Post::ProgressParams, 5, false),
            Some(Violation::NoFence(Post::ProgressParams))
        );
    }
}
