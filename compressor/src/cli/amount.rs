//! Numbers of bytes on the command line.

/// A number of bytes with an optional K or M: 65536, 64K, 64KB (of 1,024), 2M.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let word = text.trim_end_matches(['B', 'b']);
    let (digits, factor) = match word.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => word.strip_suffix(['M', 'm']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("`{text}` is no number such as 65536, 64K or 2M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, value) in [("64K", 65_536), ("64kB", 65_536), ("2M", 2 << 20), ("17", 17)] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in
            ["", "K", "many", "-1", "1.5K", "17B5", "99999999999999999999", "9999999999999999999M"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
