//! What differs between two lists of settings, `NAME=VALUE; NAME=VALUE`, as Windows' measurements are put into words.

use std::collections::BTreeMap;

use crate::text::quoted;

/// Settings named in one message.
const MAX_SETTINGS: usize = 6;

/// The settings that differ, in words. `None` when one side is no such list, names a setting twice, or when both agree.
pub(super) fn difference(was: &str, is: &str) -> Option<String> {
    let (before, after) = (settings(was)?, settings(is)?);
    let changed = after.iter().filter_map(|(name, now)| match before.get(name) {
        Some(then) if then == now => None,
        Some(then) => Some(format!("{} is {} instead of {}", quoted(name), quoted(now), quoted(then))),
        None => Some(format!("{} is {} and was not there", quoted(name), quoted(now))),
    });
    let gone = before
        .iter()
        .filter(|(name, _)| !after.contains_key(*name))
        .map(|(name, then)| format!("{} is gone and was {}", quoted(name), quoted(then)));
    let mut told: Vec<String> = changed.chain(gone).collect();
    let total = told.len();
    told.truncate(MAX_SETTINGS);
    let more = if total > MAX_SETTINGS { format!("; {} more", total - MAX_SETTINGS) } else { String::new() };
    (total > 0).then(|| told.join("; ") + &more)
}

fn settings(text: &str) -> Option<BTreeMap<&str, &str>> {
    let mut settings = BTreeMap::new();
    for setting in text.split("; ") {
        let (name, value) = setting.split_once('=')?;
        if settings.insert(name, value).is_some() {
            return None;
        }
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named() {
        assert_eq!(
            difference("A=yes; B=no; C=1", "A=yes; B=yes; D=2").as_deref(),
            Some("`B` is `yes` instead of `no`; `D` is `2` and was not there; `C` is gone and was `1`")
        );
        assert_eq!(difference("A=yes", "A=yes"), None);
    }

    #[test]
    fn what_is_no_list_of_settings_is_left_to_others() {
        for other in ["words", "A=1; words", "A=1; A=2", ""] {
            assert_eq!(difference("A=1", other), None, "{other}");
            assert_eq!(difference(other, "A=1"), None, "{other}");
        }
    }

    #[test]
    fn many_are_counted() {
        let many = |value: u32| (0..9).map(|i| format!("S{i}={value}")).collect::<Vec<_>>().join("; ");
        let told = difference(&many(1), &many(2)).unwrap();
        assert!(told.ends_with("`S5` is `2` instead of `1`; 3 more"), "{told}");
    }
}
