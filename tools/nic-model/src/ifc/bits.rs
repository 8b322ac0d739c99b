// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fields of up to 64 bits in a string of bits, the most significant bit of the first byte first.

/// The field's value; none if it is not wholly inside the data.
pub fn get_bits(data: &[u8], offset: u64, bits: u64) -> Option<u64> {
    let (start, window, shift) = window(data.len(), offset, bits)?;
    let mut value = 0u128;
    for byte in &data[start..start + window] {
        value = (value << 8) | u128::from(*byte);
    }
    Some((value >> shift) as u64 & mask(bits))
}

/// Sets the field to the value's low bits.
pub fn set_bits(data: &mut [u8], offset: u64, bits: u64, value: u64) -> Option<()> {
    let (start, window, shift) = window(data.len(), offset, bits)?;
    let keep = !(u128::from(mask(bits)) << shift);
    let new = u128::from(value & mask(bits)) << shift;
    let bytes = &mut data[start..start + window];
    let old = bytes.iter().fold(0u128, |old, byte| (old << 8) | u128::from(*byte));
    let all = old & keep | new;
    let whole = all.to_be_bytes();
    bytes.copy_from_slice(&whole[whole.len() - window..]);
    Some(())
}

fn mask(bits: u64) -> u64 {
    u64::MAX.checked_shr(64 - bits as u32).unwrap_or(0)
}

/// The first byte that holds some of the field, how many do (at most 9), and the bits right of it in the last one.
fn window(len: usize, offset: u64, bits: u64) -> Option<(usize, usize, u64)> {
    if bits > 64 {
        return None;
    }
    let end = offset.checked_add(bits)?;
    let last = usize::try_from(end.div_ceil(8)).ok()?;
    let start = usize::try_from(offset / 8).ok()?.min(last);
    (last <= len).then(|| (start, last - start, last as u64 * 8 - end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn big_endian_from_the_left() {
        let data = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x11];
        assert_eq!(get_bits(&data, 0, 4), Some(1));
        assert_eq!(get_bits(&data, 4, 12), Some(0x234));
        assert_eq!(get_bits(&data, 4, 64), Some(0x2345_6789_abcd_ef01));
        assert_eq!(get_bits(&data, 8, 64), Some(0x3456_789a_bcde_f011));
        assert_eq!(get_bits(&data, 16, 0), Some(0));
    }

    #[test]
    fn outside_is_none() {
        let mut data = [0u8; 4];
        assert_eq!(get_bits(&data, 1, 32), None);
        assert_eq!(get_bits(&data, u64::MAX, 8), None);
        assert_eq!(get_bits(&data, 0, 65), None);
        assert_eq!(set_bits(&mut data, 32, 1, 1), None);
        assert_eq!(get_bits(&data, 32, 0), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_set_is_got_and_the_rest_stays(
            mut data in proptest::collection::vec(any::<u8>(), 9..20), offset in 0u64..8, bits in 1u64..=64,
            value: u64
        ) {
            let before = data.clone();
            set_bits(&mut data, offset, bits, value).unwrap();
            prop_assert_eq!(get_bits(&data, offset, bits), Some(value & mask(bits)));
            for bit in (0..offset).chain(offset + bits..before.len() as u64 * 8) {
                prop_assert_eq!(get_bits(&data, bit, 1), get_bits(&before, bit, 1));
            }
        }
    }
}
