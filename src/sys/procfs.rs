// SPDX-License-Identifier: GPL-2.0

//! A read-only file in /proc/net.

/// What a file shows.
pub trait ProcNet: super::netns::PerNet {
    const FILE: &'static CStr;
    /// Prints it: `kernel::seq_print!(m, "{}\n", ..)`.
    fn show(this: &Self, m: &SeqFile);
}
/// Keeps /proc/net/NAME there in one namespace. Drop removes it. Make it in PerNet::init, drop it at latest in exit.
pub struct ProcFile;
impl ProcFile { pub fn new<T: ProcNet>(net: &Net) -> Result<Self>; }
