//! Where a line ends: how wide the terminal is, what a text takes of it, between which words it is broken.

use comfy_table::Table;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A sentence narrower than this goes below its row.
pub(super) const MIN_SENTENCE_WIDTH: usize = 40;

/// What `COLUMNS` asks for, or the terminal's width.
pub(super) fn known_width() -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok().and_then(|w| w.parse().ok());
    asked.filter(|w| (20..=1000).contains(w)).or_else(|| Table::new().width().map(usize::from))
}

/// Lines of at most `width` columns of a terminal, broken between words; a longer word, such as an id, has a line of its own
/// and stays whole. Spaces inside a line stay. Where nobody writes spaces, in Chinese and Japanese, any two characters may be
/// torn apart.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ').flat_map(unbroken) {
        let length = visible_width(word.trim_end());
        if used > 0 && used + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
        used += visible_width(word);
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// A word, in parts between which a line may end: before and behind each wide character.
pub(super) fn unbroken(word: &str) -> Vec<&str> {
    let wide = |c: char| c.width() == Some(2);
    if !word.contains(wide) {
        return vec![word];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, c) in word.char_indices() {
        // What has no width of its own belongs to the character before it.
        if at > from
            && (wide(c)
                || word.get(from..at).is_some_and(|part| part.ends_with(wide) && c.width() == Some(1)))
        {
            parts.extend(word.get(from..at));
            from = at;
        }
    }
    parts.extend(word.get(from..));
    parts
}

/// Columns of a terminal that text takes, which may be painted: two for a wide character, none for an accent on its own.
pub(super) fn visible_width(text: &str) -> usize {
    let mut width = 0;
    for (nth, part) in text.split('\u{1b}').enumerate() {
        let shown = if nth == 0 { part } else { part.split_once('m').map_or("", |(_, shown)| shown) };
        width += shown.width();
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a averyverylongword b", 4), ["a", "averyverylongword", "b"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("x  y", usize::MAX), ["x  y"]);
        assert_eq!(visible_width("  \u{1b}[31mhigh\u{1b}[0m "), 7);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(visible_width("測試"), 4);
        assert_eq!(visible_width("\u{1b}[31m測e\u{301}\u{1b}[0m"), 3);
        assert_eq!(wrapped("機器不健康 web-0", 6), ["機器不", "健康", "web-0"]);
        assert_eq!(wrapped("a機b", 3), ["a機", "b"]);
        // An accent stays with its letter, and punctuation that is narrow moves on.
        assert_eq!(wrapped("測e\u{301}試", 3), ["測e\u{301}", "試"]);
        for line in wrapped(&"漢字 mixed with words and ".repeat(20), 30) {
            assert!(visible_width(&line) <= 30, "{line}");
        }
    }
}
