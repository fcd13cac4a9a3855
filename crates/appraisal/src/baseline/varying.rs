//! Identifiers in device paths: partition and disk GUIDs, MAC addresses.

use crate::rule::Pattern;

/// Characters of a GUID by group.
const GUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// How a device path begins a MAC address (UEFI 2.10, section 10.6.1.6).
const MAC_NODE: &str = "MAC(";
/// Digits of an Ethernet address.
const MAC_DIGITS: usize = 12;

/// The pattern that both texts meet when they differ in nothing but GUIDs and MAC addresses.
pub(super) fn common(a: &str, b: &str) -> Option<Pattern> {
    let (a, b) = (masked(a), masked(b));
    (a == b && a.contains('*')).then(|| Pattern::try_from(a).ok()).flatten()
}

/// The text with `*` for every GUID and MAC address. One with a star of its own is left as it is: there it would stand
/// for more than an identifier.
fn masked(text: &str) -> String {
    if text.contains('*') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut boundary = true;
    while let Some(first) = rest.chars().next() {
        let taken = match () {
            () if boundary && guid(rest) => GUID_GROUPS.iter().sum::<usize>() + GUID_GROUPS.len() - 1,
            () if out.ends_with(MAC_NODE) && mac(rest) => MAC_DIGITS,
            () => 0,
        };
        if let (1.., Some(after)) = (taken, rest.get(taken..)) {
            out.push('*');
            (rest, boundary) = (after, false);
            continue;
        }
        out.push(first);
        boundary = !first.is_ascii_alphanumeric();
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    out
}

fn guid(text: &str) -> bool {
    let mut bytes = text.bytes();
    for (at, digits) in GUID_GROUPS.into_iter().enumerate() {
        if at > 0 && bytes.next() != Some(b'-') {
            return false;
        }
        if !(0..digits).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit())) {
            return false;
        }
    }
    bytes.next().is_none_or(|b| !b.is_ascii_alphanumeric())
}

fn mac(text: &str) -> bool {
    let mut bytes = text.bytes();
    (0..MAC_DIGITS).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit()))
        && bytes.next().is_none_or(|b| !b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: &str =
        r"PciRoot(0x0)/HD(1,GPT,66A8E32D-0B5F-4B9A-8F3C-000000000001,0x800,0x1000)/\EFI\BOOT\BOOTX64.EFI";

    #[test]
    fn identifiers_and_nothing_else_may_differ() {
        let other = DISK.replace("66A8E32D", "77a8e32d");
        let pattern = common(DISK, &other).unwrap();
        assert_eq!(pattern.as_str(), r"PciRoot(0x0)/HD(1,GPT,*,0x800,0x1000)/\EFI\BOOT\BOOTX64.EFI");
        assert!(pattern.meets(DISK) && pattern.meets(&other));
        assert_eq!(common(DISK, &DISK.replace("BOOTX64", "EVILX64")), None);
        assert_eq!(common(DISK, &DISK.replace("0x800", "0x900")), None);
        assert_eq!(common("a", "b"), None);
        assert_eq!(common("a", "a"), None, "nothing varies");
    }

    #[test]
    fn network_cards() {
        let of = |mac: &str| format!("PciRoot(0x0)/Pci(0x2,0x0)/MAC({mac},0x1)/IPv4(0.0.0.0)");
        let pattern = common(&of("525400123456"), &of("5254009abcde")).unwrap();
        assert_eq!(pattern.as_str(), of("*"));
        assert_eq!(common(&of("525400123456"), &of("5254001234567")), None);
    }

    #[test]
    fn a_star_of_the_log_widens_nothing() {
        let star = DISK.replace("BOOTX64", "*");
        assert_eq!(common(&star, &star.replace("66A8E32D", "77A8E32D")), None);
        assert_eq!(common(DISK, &star), None);
    }
}
