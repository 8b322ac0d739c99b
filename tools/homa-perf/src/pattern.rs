// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Payload that says which request it is of, for `--check`.
//!
//! The first 8 bytes (of messages that have them) are the request's number; the others follow from it
//! and from their place. So a response that was mixed up, shifted, cut or damaged is noticed.

/// Bytes that hold the number.
const HEAD: usize = 8;

/// Fill the request with this number.
pub fn fill(buffer: &mut [u8], index: u64) {
    let skip = match buffer.first_chunk_mut::<HEAD>() {
        Some(head) => {
            *head = index.to_le_bytes();
            HEAD
        }
        None => 0,
    };
    for (byte, expected) in buffer.iter_mut().zip(bytes(index)).skip(skip) {
        *byte = expected;
    }
}

/// The number that this message carries, if it is long enough to carry one.
pub fn index(buffer: &[u8]) -> Option<u64> {
    buffer.first_chunk::<HEAD>().map(|head| u64::from_le_bytes(*head))
}

/// The place of the first byte that is not as `fill` made it.
pub fn first_wrong(buffer: &[u8], number: u64) -> Option<usize> {
    let skip = match index(buffer) {
        Some(found) if found == number => HEAD,
        Some(_) => return Some(0),
        None => 0,
    };
    buffer.iter().zip(bytes(number)).skip(skip).position(|(&a, b)| a != b).map(|at| at + skip)
}

/// A sequence that differs for each index and does not repeat within a message.
fn bytes(index: u64) -> impl Iterator<Item = u8> {
    let seed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0u64..).map(move |place| {
        let mixed = (place ^ seed).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 56) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_right_and_nothing_else() {
        for size in [1, 7, 8, 9, 1000] {
            let mut buffer = vec![0; size];
            fill(&mut buffer, 77);
            assert_eq!(first_wrong(&buffer, 77), None);
            for at in 0..size {
                buffer[at] ^= 4;
                let reported = if at < HEAD && size >= HEAD { 0 } else { at };
                assert_eq!(first_wrong(&buffer, 77), Some(reported));
                buffer[at] ^= 4;
            }
            assert!(size < HEAD || first_wrong(&buffer, 78) == Some(0));
        }
    }
}
