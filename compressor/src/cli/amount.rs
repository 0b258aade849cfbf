//! Numbers on the command line, each with what it may be.

/// A number of bytes with an optional K or M: 65536, 64K, 64KB (of 1,024), 2M.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let word = match text.strip_suffix(['B', 'b']) {
        Some(word) if word.ends_with(['K', 'k', 'M', 'm']) => word,
        _ => text,
    };
    with_unit(word, 1 << 10).ok_or_else(|| wrong(text, "65536, 64K or 2M (of 1,024)"))
}

/// As [`bytes`], at most what 32 bits hold.
pub(super) fn device_bytes(text: &str) -> Result<u32, String> {
    bytes(text)?.try_into().map_err(|_| wrong(text, "65536, 64K or 2M (of 1,024)"))
}

/// A number of instructions with an optional K or M: 250000, 250K (of 1,000), 2M.
pub(super) fn instructions(text: &str) -> Result<u64, String> {
    with_unit(text, 1000).ok_or_else(|| wrong(text, "250000, 250K or 2M (of 1,000)"))
}

/// A number whose K is `step` and whose M is that squared.
fn with_unit(word: &str, step: u64) -> Option<u64> {
    let (digits, factor) = match word.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, step),
        None => word.strip_suffix(['M', 'm']).map_or((word, 1), |digits| (digits, step * step)),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn wrong(text: &str, such_as: &str) -> String {
    format!("`{text}` is no number such as {such_as}, or too large")
}

/// From 0 to 100.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "give a number from 0 to 100".to_owned())
}

/// Between 0 and 100.
pub(super) fn inner_percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number| 0.0 < number && number < 100.0);
    number.ok_or_else(|| "give a number above 0 and below 100".to_owned())
}

/// A sentinel's tolerance as jobs may ask for it, in percent.
pub(super) fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=20.0).contains(number));
    number.ok_or_else(|| "give a number from 0 to 20".to_owned())
}

/// A probability above 0.
pub(super) fn chance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number| 0.0 < number && number <= 1.0);
    number.ok_or_else(|| "give a number above 0 and at most 1".to_owned())
}

/// A confidence as jobs may ask for it.
pub(super) fn confidence(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.5..=0.9999).contains(number));
    number.ok_or_else(|| "give a number from 0.5 to 0.9999".to_owned())
}

/// A finite number from 0 on.
pub(super) fn points(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "give a number from 0 on".to_owned())
}

/// A whole number from 1 on.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| "give a whole number from 1 on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, value) in [("64K", 65_536), ("64kB", 65_536), ("2M", 2 << 20), ("17", 17)] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for (text, value) in [("250k", 250_000), ("2M", 2_000_000), ("17", 17)] {
            assert_eq!(instructions(text), Ok(value), "{text}");
        }
        let wrong =
            ["", "K", "many", "-1", "1.5K", "17B5", "99999999999999999999", "9999999999999999999M"];
        for text in wrong {
            assert!(bytes(text).is_err() && instructions(text).is_err(), "{text}");
        }
        assert!(instructions("2MB").is_err(), "instructions are no bytes");
        assert_eq!(device_bytes("4095M"), Ok(4095 << 20));
        assert!(device_bytes("4096M").is_err());
    }

    #[test]
    fn numbers_are_finite_and_in_their_range() {
        assert_eq!((percent("0"), percent("100"), percent("2.5")), (Ok(0.0), Ok(100.0), Ok(2.5)));
        assert_eq!((points("0"), points("250")), (Ok(0.0), Ok(250.0)));
        assert_eq!((at_least_one("1"), at_least_one("300")), (Ok(1), Ok(300)));
        for text in ["nan", "inf", "-inf", "-5", "1e999", "", "few"] {
            assert!(percent(text).is_err() && points(text).is_err(), "{text}");
        }
        assert!(percent("100.1").is_err() && tolerance("20.1").is_err() && chance("0").is_err());
        assert_eq!((tolerance("0"), chance("1")), (Ok(0.0), Ok(1.0)));
        for text in ["0", "-1", "1.5", "", "99999999999999999999"] {
            assert!(at_least_one(text).is_err(), "{text}");
        }
    }
}
