//! Numbers of things in words: `1 VM`, `2 VMs`, `1 entry`, `0 entries`.

/// `count` of a thing that is named in the singular, as sentences for people say it.
///
/// ```
/// assert_eq!(veriboot_wire::counted(1_u32, "VM"), "1 VM");
/// assert_eq!(veriboot_wire::counted(2_usize, "open alert"), "2 open alerts");
/// ```
pub fn counted(count: impl TryInto<u64>, thing: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {}", plural(thing)),
    }
}

/// The plural of an English noun, of which the last word may end in `y`, `s`, `x`, `ch` or `sh`.
fn plural(thing: &str) -> String {
    let vowel = |stem: &str| stem.ends_with(['a', 'e', 'i', 'o', 'u']);
    match thing.strip_suffix('y') {
        Some(stem) if !vowel(stem) => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| thing.ends_with(end)) => format!("{thing}es"),
        _ => format!("{thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular_and_every_other_number_plural() {
        for (one, many) in [
            ("VM", "VMs"),
            ("open alert", "open alerts"),
            ("entry", "entries"),
            ("delivery", "deliveries"),
            ("day", "days"),
            ("hash", "hashes"),
            ("match", "matches"),
        ] {
            assert_eq!(counted(1_u64, one), format!("1 {one}"));
            for count in [0_u32, 2, 11, 101] {
                assert_eq!(counted(count, one), format!("{count} {many}"));
            }
        }
    }

    #[test]
    fn numbers_of_every_type_are_taken() {
        assert_eq!(counted(1_i64, "VM"), "1 VM");
        assert_eq!(counted(-1_i64, "VM"), format!("{} VMs", u64::MAX));
        assert_eq!(counted(usize::MAX, "VM"), format!("{} VMs", usize::MAX));
    }
}
