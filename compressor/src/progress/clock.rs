//! The date, whatever the clock says.

use std::time::{Duration, SystemTime};

/// Seconds from 1970 to the last second of the year 9999, which a date of four digits can say.
const LAST: u64 = 253_402_300_799;

/// A time as `2026-11-29T19:12:58Z`. Clocks of boards without a battery may stand before 1970 or
/// beyond all bounds; dates are then the first or the last that can be written.
pub(crate) fn date(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = since.min(Duration::from_secs(LAST));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_gives_a_date() {
        let at = |seconds: i64| {
            let away = Duration::from_secs(seconds.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            date(if seconds < 0 { epoch - away } else { epoch + away })
        };
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(at(-1), "1970-01-01T00:00:00Z");
        assert_eq!(at(-(1 << 40)), "1970-01-01T00:00:00Z");
        assert_eq!(at(1 << 40), "9999-12-31T23:59:59Z");
    }
}
