//! Numbers as people read them, on the page and in the terminal.

/// `1234567` → `1,234,567`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a unit that leaves few digits: `812 B`, `31.2 kB`, `1.07 MB` (powers of ten, as
/// flash sizes on a data sheet's first page are not: the exact figure stands in the table).
pub(crate) fn bytes(value: u64) -> String {
    match value {
        0..=999 => format!("{value} B"),
        1_000..=999_999 => format!("{} kB", significant(value as f64 / 1e3)),
        _ => format!("{} MB", significant(value as f64 / 1e6)),
    }
}

/// Counts with a unit that leaves few digits: `812`, `31.2 k`, `1.07 M`.
pub(crate) fn count(value: u64) -> String {
    match value {
        0..=999 => value.to_string(),
        1_000..=999_999 => format!("{} k", significant(value as f64 / 1e3)),
        _ => format!("{} M", significant(value as f64 / 1e6)),
    }
}

/// Three significant digits, or all of an integer part: `0.044`, `3.14`, `31.4`, `314`, `3142`.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        x if x >= 99.95 => format!("{value:.0}"),
        x if x >= 9.995 => format!("{value:.1}"),
        x if x >= 0.0995 || x == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// `34.2×`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{}×", significant(ratio))
}

/// A ratio before : after in words: `34.2× smaller`, or below 1, `2.00× larger`.
pub(crate) fn change(ratio: f64, less: &str, more: &str) -> String {
    if ratio > 0.0 && ratio < 1.0 {
        format!("{} {more}", times(1.0 / ratio))
    } else {
        format!("{} {less}", times(ratio))
    }
}

/// A shape: `20×5×5×1`.
pub(crate) fn shape(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// `41 s`, `3 min 05 s`, `1 h 12 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=9 => format!("{:.1} s", seconds.max(0.0)),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let all = [0, 999, 1_000, 12_345, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn units_leave_few_digits() {
        assert_eq!([812, 31_240, 1_066_440].map(bytes), ["812 B", "31.2 kB", "1.07 MB"]);
        assert_eq!([812, 31_240, 2_293_000].map(count), ["812", "31.2 k", "2.29 M"]);
        assert_eq!([3.144, 31.44, 314.4].map(significant), ["3.14", "31.4", "314"]);
        assert_eq!(significant(0.0437), "0.044");
        assert_eq!(times(34.21), "34.2×");
        assert_eq!(shape(&[20, 5, 5, 1]), "20×5×5×1");
    }

    #[test]
    fn durations() {
        assert_eq!(
            [0.42, 41.0, 185.2, 4_321.0].map(duration),
            ["0.4 s", "41 s", "3 min 05 s", "1 h 12 min"]
        );
    }
}
