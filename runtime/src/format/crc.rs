//! CRC-32 (IEEE 802.3, reflected), the checksum of the container.

/// Remainders of the 16 values of a nibble: 64 bytes of flash instead of the usual kilobyte.
const NIBBLES: [u32; 16] = nibbles();

const fn nibbles() -> [u32; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// CRC-32 of the concatenation of `parts`, which saves copying around the checksum's own bytes.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    !parts.iter().fold(u32::MAX, |crc, part| continued(crc, part))
}

/// Whole words first: three instructions a nibble and little else.
#[inline(never)]
fn continued(mut crc: u32, part: &[u8]) -> u32 {
    let (words, rest) = part.as_chunks::<4>();
    for &word in words {
        crc = byte(byte(byte(byte(crc ^ u32::from_le_bytes(word)))));
    }
    rest.iter().fold(crc, |crc, &last| byte(crc ^ u32::from(last)))
}

/// Takes the lowest byte in.
#[inline(always)]
const fn byte(crc: u32) -> u32 {
    nibble(nibble(crc))
}

#[inline(always)]
const fn nibble(crc: u32) -> u32 {
    NIBBLES[(crc & 15) as usize] ^ (crc >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(crc32(&[b"123456789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }

    #[test]
    fn parts_are_concatenated() {
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), crc32(&[b"123456789"]));
    }
}
