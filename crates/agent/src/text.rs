//! Text that the service or the machine chose, before it goes to a terminal, a log or the service.

/// Whether a character steers the display instead of being seen: controls, line and paragraph separators,
/// bidirectional formatting, invisible operators, annotations, byte order marks and tags.
const fn steers(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most `limit` characters of `text`, with a space in place of each that would steer a terminal.
pub fn printable(text: &str, limit: usize) -> String {
    text.chars().map(|c| if steers(c) { ' ' } else { c }).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_a_space() {
        let steering = [
            0..=0x1f,
            0x7f..=0x9f,
            0x61c..=0x61c,
            0x200e..=0x200f,
            0x202a..=0x202e,
            0x2060..=0x2064,
            0x2066..=0x206f,
            0xfeff..=0xfeff,
            0xfff9..=0xfffb,
            0xe0000..=0xe007f,
        ];
        for c in steering.into_iter().flatten().filter_map(char::from_u32) {
            assert_eq!(printable(&format!("a{c}b"), 9), "a b", "{:x}", u32::from(c));
        }
        assert_eq!(printable("Größe \"4\" – 東京 'x'", 99), "Größe \"4\" – 東京 'x'");
        assert_eq!(printable("ééé", 2), "éé");
    }
}
