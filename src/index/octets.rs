//! Little-endian numbers read out of bytes that may be damaged: nothing here panics.

/// The number at `at`, or 0 when the bytes end before.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match at.checked_add(2).and_then(|end| bytes.get(at..end)) {
        Some(octets) => u16::from_le_bytes(octets.try_into().expect("the slice has two octets")),
        None => 0,
    }
}

/// The number at `at`, or 0 when the bytes end before.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match at.checked_add(4).and_then(|end| bytes.get(at..end)) {
        Some(octets) => u32::from_le_bytes(octets.try_into().expect("the slice has four octets")),
        None => 0,
    }
}

/// The number at `at`, or 0 when the bytes end before.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    match at.checked_add(8).and_then(|end| bytes.get(at..end)) {
        Some(octets) => u64::from_le_bytes(octets.try_into().expect("the slice has eight octets")),
        None => 0,
    }
}

/// Reads seven bits an octet, least significant first, and moves `at` behind them.
#[inline]
pub(crate) fn varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut value = u32::from(first & 0x7f);
    for shift in [7, 14, 21, 28] {
        let octet = *bytes.get(*at)?;
        *at += 1;
        value |= u32::from(octet & 0x7f) << shift;
        if octet < 0x80 {
            return Some(value);
        }
    }
    None
}

#[inline]
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads an octet of each cache line of a stretch that will be read soon: so their misses overlap, with each other and with what is
/// done until then.
#[inline]
pub(crate) fn touch(bytes: &[u8], at: usize, octets: usize) {
    const LINE: usize = 64;
    let stretch = bytes.get(at..).unwrap_or(&[]);
    let lines = stretch.iter().take(octets).step_by(LINE);
    std::hint::black_box(lines.fold(0, |all, octet| all ^ octet));
}

/// How many octets two strings share at their beginning.
#[inline]
pub(crate) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    const WORD: usize = 8;
    let words = left.chunks_exact(WORD).zip(right.chunks_exact(WORD));
    let mut same = 0;
    for (left, right) in words {
        let differ = u64_at(left, 0) ^ u64_at(right, 0);
        if differ != 0 {
            return same + (differ.trailing_zeros() / 8) as usize;
        }
        same += WORD;
    }
    let (left, right) = (left.get(same..).unwrap_or(&[]), right.get(same..).unwrap_or(&[]));
    same + left.iter().zip(right).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefixes_of_every_length() {
        for len in 0..40 {
            let left: Vec<u8> = (0..len).collect();
            assert_eq!(common_prefix(&left, &left), left.len());
            assert_eq!(common_prefix(&left, &[left.as_slice(), b"more"].concat()), left.len());
            for at in 0..left.len() {
                let mut right = left.clone();
                right[at] ^= 0x80;
                assert_eq!(common_prefix(&left, &right), at);
                assert_eq!(common_prefix(&left, &left[..at]), at);
            }
        }
    }
}
