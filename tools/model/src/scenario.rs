// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bounds: what happens at most in a run of the model.

/// Records of an RPC's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// In the request.
    pub request: u8,
    /// In the response.
    pub response: u8,
}

/// The bounds of a run.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// The RPCs that each end begins, in this order.
    pub rpcs: [Vec<Shape>; 2],
    /// Rekeys of what each end seals with.
    pub rekeys: [u8; 2],
    /// May a key be set where it seals before it is set where it opens? (Programs do it the other way round.)
    pub tx_first: bool,
    /// NEED_ACKs of each end.
    pub need_acks: [u8; 2],
    /// RPCs that each end's program may give up.
    pub aborts: [u8; 2],
    /// Requests that each end may give up for lack of packets.
    pub time_outs: [u8; 2],
    /// Most records that a changed header may claim.
    pub records: u8,
    /// [`Progress`](crate::check::Invariant::Progress) is checked in one of so many states.
    pub progress_every: u64,
}

const fn shape(request: u8, response: u8) -> Shape {
    Shape { request, response }
}

/// The runs that the tests do: each is exhaustive within its bounds.
pub fn small() -> Vec<Scenario> {
    let base = Scenario { records: 2, progress_every: 1, ..Scenario::default() };
    vec![
        // Replay, floors, acknowledgments.
        Scenario {
            name: "replay",
            rpcs: [vec![shape(1, 1); 3], vec![]],
            need_acks: [0, 1],
            ..base.clone()
        },
        // RPCs that are given up.
        Scenario {
            name: "abort",
            rpcs: [vec![shape(1, 2), shape(2, 1)], vec![]],
            need_acks: [0, 1],
            aborts: [1, 0],
            ..base.clone()
        },
        // Truncation, splices, wrong places.
        Scenario {
            name: "records",
            rpcs: [vec![shape(2, 2), shape(2, 1)], vec![]],
            time_outs: [0, 1],
            ..base.clone()
        },
        // Keys of both directions.
        Scenario {
            name: "rekey",
            rpcs: [vec![shape(1, 1), shape(1, 1)], vec![]],
            rekeys: [1, 1],
            ..base.clone()
        },
        // Epochs around a message of two records, and control packets in them.
        Scenario {
            name: "epochs",
            rpcs: [vec![shape(2, 1)], vec![]],
            rekeys: [2, 1],
            need_acks: [0, 2],
            ..base.clone()
        },
        // More keys than there are epochs.
        Scenario {
            name: "wrap",
            rpcs: [vec![shape(1, 1), shape(1, 1)], vec![]],
            rekeys: [4, 0],
            ..base.clone()
        },
        // Keys set in any order.
        Scenario {
            name: "order",
            rpcs: [vec![shape(2, 1)], vec![]],
            rekeys: [3, 1],
            tx_first: true,
            need_acks: [0, 1],
            ..base.clone()
        },
        // Both ends are clients, with the same ids.
        Scenario {
            name: "both",
            rpcs: [vec![shape(1, 2)], vec![shape(2, 1)]],
            need_acks: [1, 1],
            aborts: [1, 1],
            ..base
        },
    ]
}

/// Larger ones, for the command alone.
pub fn large() -> Vec<Scenario> {
    let base = Scenario { records: 2, progress_every: 1, ..Scenario::default() };
    vec![
        Scenario {
            name: "replay+",
            rpcs: [vec![shape(1, 1); 3], vec![]],
            need_acks: [0, 1],
            aborts: [1, 0],
            ..base.clone()
        },
        Scenario {
            name: "rekey+",
            rpcs: [vec![shape(1, 1), shape(1, 1)], vec![]],
            rekeys: [1, 1],
            need_acks: [0, 1],
            ..base.clone()
        },
        Scenario {
            name: "both+",
            rpcs: [vec![shape(1, 1)], vec![shape(1, 1)]],
            rekeys: [1, 1],
            ..base
        },
    ]
}
