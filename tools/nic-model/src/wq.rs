// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What send and receive queues have in common: their states, and segments of data.

use crate::cmd::{CmdError, Status};
use crate::memory::{DmaError, GuestMemory};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WqState {
    Reset = 0,
    Ready = 1,
    Error = 3,
}

impl WqState {
    pub fn from_bits(bits: u64) -> Result<WqState, CmdError> {
        match bits {
            0 => Ok(WqState::Reset),
            1 => Ok(WqState::Ready),
            3 => Ok(WqState::Error),
            _ => Err(CmdError::parameter(format!("a queue in state {bits}"))),
        }
    }

    /// A change that the driver asks for, which must know the state that it changes.
    pub fn change(self, from: WqState, to: WqState) -> Result<WqState, CmdError> {
        if self != from {
            return Err(CmdError::new(
                Status::BadResourceState,
                format!("a queue is {self:?}, not {from:?}"),
            ));
        }
        match (from, to) {
            (WqState::Reset, WqState::Error) => Err(CmdError::new(
                Status::BadResourceState,
                format!("a queue cannot go from {from:?} to {to:?}"),
            )),
            // Changes of other things leave it as it is.
            _ => Ok(to),
        }
    }
}

/// `struct mlx5_wqe_data_seg`: memory to read from or write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSegment {
    pub byte_count: u32,
    pub lkey: u32,
    pub addr: u64,
}

pub const DATA_SEGMENT_SIZE: usize = 16;

/// Ends the list of a receive WQE.
const INVALID_LKEY: u32 = 0x100;

/// `MLX5_HW_START_PADDING` in a receive WQE's `byte_count`: the data may begin a little later in the buffer, which is a matter
/// of performance.
const START_PADDING: u32 = 1 << 31;

impl DataSegment {
    pub fn parse(bytes: &[u8; DATA_SEGMENT_SIZE]) -> DataSegment {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        DataSegment {
            byte_count: word(0),
            lkey: word(4),
            addr: (u64::from(word(8)) << 32) | u64::from(word(12)),
        }
    }
}

/// Writes a packet to the segments of a receive WQE; how many of its bytes found room.
pub fn scatter(
    mem: &GuestMemory,
    wqe: &[u8],
    lkey: &dyn Fn(u32) -> bool,
    data: &[u8],
) -> Result<usize, ScatterError> {
    let mut rest = data;
    for segment in wqe.chunks_exact(DATA_SEGMENT_SIZE) {
        let Some(segment) = segment.first_chunk().map(DataSegment::parse) else { break };
        if rest.is_empty() || segment.lkey == INVALID_LKEY {
            break;
        }
        if !lkey(segment.lkey) {
            return Err(ScatterError::Key(segment.lkey));
        }
        let (now, later) =
            rest.split_at(rest.len().min((segment.byte_count & !START_PADDING) as usize));
        mem.write(segment.addr, now)?;
        rest = later;
    }
    Ok(data.len() - rest.len())
}

#[derive(Debug, thiserror::Error)]
pub enum ScatterError {
    #[error("there is no memory key {0:#x}")]
    Key(u32),
    #[error(transparent)]
    Dma(#[from] DmaError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(byte_count: u32, lkey: u32, addr: u64) -> Vec<u8> {
        [&byte_count.to_be_bytes()[..], &lkey.to_be_bytes(), &addr.to_be_bytes()].concat()
    }

    #[test]
    fn packets_are_scattered() {
        let mem = GuestMemory::for_test(&[(0x1000, 0x1000)]);
        let wqe = [
            segment(START_PADDING | 3, 7, 0x1000),
            segment(4, 7, 0x1100),
            segment(0, INVALID_LKEY, 0),
        ]
        .concat();
        let all = |_| true;
        assert_eq!(scatter(&mem, &wqe, &all, &[1, 2, 3, 4, 5]).unwrap(), 5);
        assert_eq!(mem.read_vec(0x1000, 4).unwrap(), [1, 2, 3, 0]);
        assert_eq!(mem.read_vec(0x1100, 3).unwrap(), [4, 5, 0]);
        assert_eq!(scatter(&mem, &wqe, &all, &[9; 10]).unwrap(), 7, "the list ends");
        assert!(matches!(scatter(&mem, &wqe, &|_| false, &[1]), Err(ScatterError::Key(7))));
        assert!(matches!(
            scatter(&mem, &segment(9, 7, 0x1ffc), &all, &[1; 9]),
            Err(ScatterError::Dma(_))
        ));
        assert_eq!(scatter(&mem, &[1, 2, 3], &all, &[1]).unwrap(), 0);
    }

    #[test]
    fn states() {
        use WqState::*;
        assert_eq!(Reset.change(Reset, Ready).unwrap(), Ready);
        assert_eq!(Error.change(Error, Reset).unwrap(), Reset);
        assert!(Error.change(Ready, Reset).is_err());
        assert!(Reset.change(Reset, Error).is_err());
        assert!(WqState::from_bits(2).is_err());
    }
}
