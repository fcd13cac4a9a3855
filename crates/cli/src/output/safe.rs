//! What somebody else wrote, shown so that it steers no terminal and deceives no reader.

/// Makes control characters and direction overrides visible: what comes from a guest never steers a terminal. Ends of lines
/// and tabs, as they are or as the service spells them, are shown as signs: menus of boot loaders are full of them.
pub fn safe(text: &str) -> String {
    let text = text.replace("\\u{a}", LINE_END).replace("\\u{9}", TAB);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => {
                out.push_str(LINE_END);
                continue;
            }
            '\t' => {
                out.push_str(TAB);
                continue;
            }
            _ => {}
        }
        if steers(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Stands for the end of a line.
const LINE_END: &str = "↵";

/// Stands for a tab.
const TAB: &str = "⇥";

/// JSON that means the same, with what a terminal or a person could stumble over escaped: serde_json leaves C1 controls,
/// DEL and direction overrides as they are. They occur in strings only.
pub(super) fn steers_nothing(json: String) -> String {
    if !json.chars().any(steers) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that steer a terminal, or hide or turn around what stands beside them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(safe("a\u{1b}[31mb\r\n\u{202e}c"), "a\\u{1b}[31mb\\u{d}↵\\u{202e}c");
    }

    #[test]
    fn json_means_the_same_and_steers_nothing() {
        let value = serde_json::json!({ "name": "a\u{9b}31m\u{202e}b\u{e0041}\u{7f}é", "next": [1, 2] });
        let text = steers_nothing(serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains("\"a\\u009b31m\\u202eb\\udb40\\udc41\\u007fé\""), "{text}");
        assert!(!text.chars().any(|c| c != '\n' && steers(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn menus_are_readable() {
        let menu = "menuentry Linux {\\u{a}\\u{9}linux /vmlinuz\n\t}";
        assert_eq!(safe(menu), "menuentry Linux {↵⇥linux /vmlinuz↵⇥}");
    }
}
