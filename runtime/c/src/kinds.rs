//! The operators that the library holds, chosen when it is built.

use bitsback_runtime::ALL_KINDS;

/// A set of [`bitsback_runtime::OpKind`]s, as [`bitsback_runtime::op_kinds`] gives it: that in the
/// environment variable `BITSBACK_OP_KINDS` at build time (a decimal number), else all.
pub(crate) const KINDS: u32 = match option_env!("BITSBACK_OP_KINDS") {
    Some(text) => decimal(text),
    None => ALL_KINDS,
};

/// A number out of range or no number at all is a compile error.
const fn decimal(text: &str) -> u32 {
    let mut rest = text.as_bytes();
    let mut number: u32 = 0;
    while let [digit, after @ ..] = rest {
        assert!(digit.is_ascii_digit(), "BITSBACK_OP_KINDS must be a decimal number");
        number = number * 10 + (*digit - b'0') as u32;
        rest = after;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        assert_eq!([decimal("0"), decimal("4294967295"), decimal("70")], [0, u32::MAX, 70]);
    }
}
