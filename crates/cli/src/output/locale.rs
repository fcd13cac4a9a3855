//! Whether the terminal shows more than ASCII, and what stands for it where it does not.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::sync::OnceLock;

/// Whether standard output may have characters beyond ASCII. Files and pipes always may: they are UTF-8.
pub fn shows_unicode() -> bool {
    static SHOWS: OnceLock<bool> = OnceLock::new();
    *SHOWS.get_or_init(|| {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os);
        !std::io::stdout().is_terminal() || is_utf8(locale.into_iter().find(|value| !value.is_empty()))
    })
}

/// Whether a locale is UTF-8. One that nobody set says nothing: containers have none, and their terminals are.
fn is_utf8(locale: Option<OsString>) -> bool {
    let Some(locale) = locale else { return true };
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The text in ASCII: signs that Veriboot itself writes by what looks alike, everything else by its number.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_ascii() => out.push(c),
            '─' | '–' | '—' => out.push('-'),
            '…' => out.push_str("..."),
            '·' => out.push('|'),
            '×' => out.push('x'),
            '→' => out.push_str("->"),
            '↵' => out.push_str("\\n"),
            '⇥' => out.push_str("\\t"),
            '▁' | '▂' => out.push('_'),
            '▃' | '▄' | '▅' => out.push('='),
            '▆' | '▇' | '█' => out.push('#'),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_locale_says() {
        for utf8 in ["C.UTF-8", "en_GB.utf8", "de_DE.UTF-8@euro"] {
            assert!(is_utf8(Some(utf8.into())), "{utf8}");
        }
        for other in ["C", "POSIX", "en_US", "de_DE.ISO-8859-15"] {
            assert!(!is_utf8(Some(other.into())), "{other}");
        }
        assert!(is_utf8(None));
    }

    #[test]
    fn signs_have_a_look_alike() {
        assert_eq!(plain("3 × a → b · c … ─"), "3 x a -> b | c ... -");
        assert_eq!(plain("menu↵⇥é▁▄█"), "menu\\n\\t\\u{e9}_=#");
        assert!(plain("─│┌ ✓ 日本").is_ascii());
    }
}
