//! Times as people give them: RFC 3339, or how long ago or from now.

use veriboot_wire::Time;

use crate::error::CliError;

/// Seconds of `90s`, `30m`, `12h`, `7d`, `2w`.
pub fn duration_s(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(factor).filter(|seconds| *seconds > 0)
}

fn time(text: &str) -> Option<Time> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

/// A time, or one that lies so long ago.
pub fn before(text: &str, now: Time) -> Result<Time, CliError> {
    duration_s(text)
        .map(|seconds| now.plus_s(-seconds))
        .or_else(|| time(text))
        .ok_or_else(|| unreadable(text))
}

/// A time, or one that is so far away.
pub fn after(text: &str, now: Time) -> Result<Time, CliError> {
    duration_s(text).map(|seconds| now.plus_s(seconds)).or_else(|| time(text)).ok_or_else(|| unreadable(text))
}

fn unreadable(text: &str) -> CliError {
    CliError::usage("bad-time", format!("{text:?} is no time"))
        .hint("give 2026-11-21T18:04:00Z, or 30m, 12h, 7d, 2w")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_give_times_in_two_ways() {
        let now = Time::from_unix_ms(1_000_000_000);
        assert_eq!(before("30m", now).unwrap(), Time::from_unix_ms(1_000_000_000 - 1_800_000));
        assert_eq!(after("2w", now).unwrap(), now.plus_s(1_209_600));
        assert_eq!(after("1970-01-02T00:00:00Z", now).unwrap(), Time::from_unix_ms(86_400_000));
        for bad in [
            "",
            "h",
            "0h",
            "-1h",
            "1.5h",
            "1 h",
            "yesterday",
            "99999999999999999999d",
            "9223372036854775807w",
            "é",
        ] {
            assert_eq!(after(bad, now).unwrap_err().code, "bad-time", "{bad}");
        }
    }
}
