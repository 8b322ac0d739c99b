// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Rules that can be broken on purpose, one at a time.

use crate::check::Invariant;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Sabotage {
    /// A server knows only the requests whose RPCs it still has.
    NoReplayWindow,
    /// A server marks a request when its first packet comes, before a record opened.
    MarkEarly,
    /// A server takes a floor from a header: all ids below the packet's are done.
    FloorFromHeader,
    /// A client calls an RPC finished when its response begins.
    FinishEarly,
    /// A receiver believes the length in the header.
    ClearLength,
    /// The nonce does not tell request and response apart.
    NoDirection,
    /// The nonce does not tell the records of a message apart.
    NoIndex,
    /// A record opens by the nonce that it came with, whatever its place.
    AnyNonce,
    /// What is sent again is sealed again, with the floor of now.
    SealAgain,
    /// Both directions have the same key.
    OneKey,
    /// The next key may be the one before, and control packets are counted anew with each key, as TLS counts records.
    KeyAgain,
    /// Ids are counted anew with each key, as TLS counts records, and so does the replay window.
    IdsAgain,
    /// A receiver drops all but one of its older keys as soon as it gets the next one.
    DropKeyEarly,
    /// Whatever authenticates ends the oldest of a receiver's three keys.
    AnyEpochEnds,
    /// Nothing that authenticates ends a receiver's key: only the next ones do.
    KeepKeys,
    /// A sender goes on to the next key although messages under the key before the current one are under way.
    AdvanceEarly,
    /// A receiver gets its next key before its peer seals with the one before.
    EarlyKey,
    /// A receiver has only the newest key.
    NewestKey,
    /// Control packets that were taken are taken again.
    NoControlWindow,
    /// The counter of a control packet is marked before its tag is checked.
    CounterEarly,
    /// The tag of a control packet does not cover its header.
    ClearControl,
    /// The tag of a control packet is not looked at.
    NoTag,
    /// The first packet of a message decides how it is cut, proven or not.
    FirstPacketDecides,
    /// A record that does not open ends the RPC, proven or not.
    ForgedEnds,
}

impl Sabotage {
    /// The scenario of the tests in which that is seen.
    pub fn scenario(self) -> &'static str {
        match self {
            Self::NoReplayWindow | Self::MarkEarly | Self::FloorFromHeader => "replay",
            Self::NoControlWindow | Self::CounterEarly | Self::ClearControl | Self::NoTag => {
                "replay"
            }
            Self::FinishEarly | Self::ClearLength | Self::NoIndex | Self::AnyNonce => "records",
            Self::SealAgain | Self::OneKey | Self::FirstPacketDecides | Self::ForgedEnds => {
                "records"
            }
            Self::KeyAgain | Self::IdsAgain | Self::DropKeyEarly | Self::NewestKey => "epochs",
            Self::AnyEpochEnds | Self::KeepKeys | Self::AdvanceEarly | Self::EarlyKey => "wrap",
            Self::NoDirection => "both",
        }
    }

    /// The invariant that breaks.
    pub fn breaks(self) -> Invariant {
        match self {
            Self::NoReplayWindow | Self::IdsAgain => Invariant::AtMostOnce,
            Self::MarkEarly
            | Self::NewestKey
            | Self::CounterEarly
            | Self::FirstPacketDecides
            | Self::ForgedEnds => Invariant::Progress,
            Self::FloorFromHeader | Self::FinishEarly => Invariant::FloorSafe,
            Self::ClearLength => Invariant::NoTruncation,
            Self::NoDirection | Self::NoIndex | Self::SealAgain | Self::KeyAgain => {
                Invariant::NonceOnce
            }
            Self::AnyNonce | Self::OneKey => Invariant::OnlyWhatWasSent,
            Self::NoControlWindow => Invariant::ControlOnce,
            Self::DropKeyEarly | Self::AnyEpochEnds | Self::AdvanceEarly | Self::EarlyKey => {
                Invariant::KeysKept
            }
            Self::KeepKeys => Invariant::KeysGo,
            Self::ClearControl | Self::NoTag => Invariant::ControlAuthentic,
        }
    }
}

/// The rules that hold: all but one, or all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules(pub Option<Sabotage>);

impl Rules {
    /// Is this rule broken?
    pub fn broken(self, sabotage: Sabotage) -> bool {
        self.0 == Some(sabotage)
    }
}
