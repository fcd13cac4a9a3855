//! Words of strangers, made fit to be stored and shown.

use veriboot_appraisal::is_shown_as_it_is;
use veriboot_wire::MachineInfo;

/// At most `max` characters, without control characters and without characters that change how others are
/// shown (bidirectional marks, zero-width and line separators); each of these becomes U+FFFD.
pub fn plain(text: &str, max: usize) -> String {
    text.chars()
        .take(max)
        .map(|c| if is_shown_as_it_is(c) { c } else { char::REPLACEMENT_CHARACTER })
        .collect()
}

/// What the agent says about its machine, every member bounded.
pub fn machine(info: &MachineInfo) -> MachineInfo {
    MachineInfo {
        hostname: plain(&info.hostname, 253),
        os: plain(&info.os, 32),
        os_version: plain(&info.os_version, 128),
        kernel: plain(&info.kernel, 128),
        arch: plain(&info.arch, 32),
        platform: plain(&info.platform, 128),
        boot_id: plain(&info.boot_id, 64),
        agent_version: plain(&info.agent_version, 64),
        machine_uuid: plain(&info.machine_uuid, 36),
    }
}

/// Whether this can be the name of a VM, a group or a scale set: 1 to 63 of `A-Z a-z 0-9 . _ -`, not starting
/// with `.` or `-`.
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_or_turns_the_text() {
        assert_eq!(
            plain("a\u{1b}[2Jb\r\nc\u{202e}d\0", 99),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(plain("grüße 世界", 5), "grüße");
        assert_eq!(plain(&"x".repeat(10_000_000), 253).len(), 253);
    }

    #[test]
    fn names() {
        for good in ["web-0", "a", "0", "A.b_c-9", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", ".", "..", "a b", "a/b", "a\n", "ä", "a;b", "<b>", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
