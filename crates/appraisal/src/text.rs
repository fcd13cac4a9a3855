//! Text in findings: bounded, and free of what could fool a terminal.

use veriboot_eventlog::Certificate;

/// Characters of one quoted value in a message.
const MAX_QUOTED_CHARS: usize = 120;
/// Characters of `expected` and `seen` in a finding.
pub(crate) const MAX_VALUE_CHARS: usize = 1024;

/// A value in backticks, cut to [`MAX_QUOTED_CHARS`].
pub(crate) fn quoted(value: &str) -> String {
    format!("`{}`", shortened(value, MAX_QUOTED_CHARS))
}

/// At most `max` characters; what could steer a terminal or reorder text is replaced, whoever made the value.
pub(crate) fn shortened(value: &str, max: usize) -> String {
    // Without a branch per byte: most texts are plain and short.
    let odd = value.bytes().fold(false, |odd, byte| odd | !matches!(byte, 0x20..=0x7E));
    if !odd && value.len() <= max {
        return value.to_owned();
    }
    let mut text: String = value.chars().take(max).map(printable).collect();
    if value.chars().nth(max).is_some() {
        text.push('…');
    }
    text
}

/// What people call a certificate by, [`shortened`].
pub(crate) fn certificate_name(certificate: &Certificate<'_>, max: usize) -> String {
    let name = certificate.short_name();
    match name.as_plain() {
        Some(plain) => shortened(plain, max),
        None => shortened(&name.to_string(), max),
    }
}

/// Control characters, and those that change how others are shown (bidirectional marks, invisible operators, zero-width
/// characters, line separators, annotations, tags), become the replacement character.
fn printable(c: char) -> char {
    if is_shown_as_it_is(c) { c } else { char::REPLACEMENT_CHARACTER }
}

/// Whether a character steers neither a terminal nor the characters around it.
pub fn is_shown_as_it_is(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// `PCR 4`, `PCRs 4, 8 and 9`.
pub(crate) fn pcr_list(pcrs: &[u32]) -> String {
    match pcrs {
        [] => "no PCR".to_owned(),
        [one] => format!("PCR {one}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(u32::to_string).collect();
            format!("PCRs {} and {last}", first.join(", "))
        }
    }
}

/// `text` with its first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What is wrong with a TOML document, and where, in one line: terminals and JSON show lines of errors escaped.
pub(crate) fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(shortened("\u{1b}[31mred\u{202e}\n", 64), "\u{fffd}[31mred\u{fffd}\u{fffd}");
        for c in
            ['\u{61c}', '\u{2060}', '\u{2064}', '\u{206a}', '\u{206f}', '\u{fff9}', '\u{e0001}', '\u{e007f}']
        {
            assert_eq!(shortened(&c.to_string(), 4), "\u{fffd}", "{}", c.escape_unicode());
        }
        assert_eq!(shortened("grüße 世界 🦀", 64), "grüße 世界 🦀");
    }

    #[test]
    fn lists_read_well() {
        assert_eq!(pcr_list(&[4]), "PCR 4");
        assert_eq!(pcr_list(&[4, 8, 9]), "PCRs 4, 8 and 9");
        assert_eq!(capitalised("shim"), "Shim");
    }
}
