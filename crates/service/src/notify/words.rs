//! Events in words: one line, and some lines.

use veriboot_appraisal::is_shown_as_it_is;
use veriboot_wire::Event;

/// Characters of a text that is quoted.
const EXCERPT_CHARS: usize = 200;

/// Members of an event's data that people read, with their headings.
const TOLD: [(&str, &str); 9] = [
    ("reason", "Reason"),
    ("state", "State"),
    ("before", "Before"),
    ("after", "Now"),
    ("component", "Component"),
    ("detail", "Detail"),
    ("remediation", "What to do"),
    ("by", "By"),
    ("comment", "Comment"),
];

/// The start of a text, on one line and without characters that steer a terminal or those around them.
pub(super) fn excerpt(text: &str) -> String {
    start(text, EXCERPT_CHARS)
}

/// The same with so many characters.
pub(super) fn start(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let (mut line, mut count) = (String::new(), 0);
    for c in words.flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1) {
        if count == most {
            line.push('…');
            break;
        }
        count += 1;
        line.push(if is_shown_as_it_is(c) { c } else { char::REPLACEMENT_CHARACTER });
    }
    line
}

/// `high: web-0: Secure Boot is off`.
pub(super) fn line(event: &Event) -> String {
    format!("{}: {}", event.severity, one_line(&event.summary()))
}

/// A text without line breaks, control characters and those that steer how others are shown.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// A character as a line of text may have it.
pub(super) fn plain(c: char) -> char {
    match c {
        c if c.is_control() => ' ',
        c if is_shown_as_it_is(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Everything about an event that people read.
pub(super) fn lines(event: &Event, public_url: &str) -> String {
    let mut lines = vec![one_line(&event.summary()), String::new()];
    let mut row = |heading: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("{:<12}{}", format!("{heading}:"), one_line(value)));
        }
    };
    row("Event", Some(&event.kind));
    row("Severity", Some(event.severity.as_str()));
    row("At", Some(&event.at.to_string()));
    row("Group", event.group.as_deref());
    row("Scale set", event.scale_set.as_deref());
    row("VM", event.vm_name.as_deref());
    for (name, heading) in TOLD {
        row(heading, event.data.get(name).and_then(serde_json::Value::as_str));
    }
    row("Link", link(event, public_url).as_deref());
    lines.join("\n")
}

/// Where the thing that changed can be looked at.
pub(super) fn link(event: &Event, public_url: &str) -> Option<String> {
    let family = event.kind.split('.').next().unwrap_or_default();
    match (family, &event.subject, &event.vm_id) {
        ("alert", Some(id), _) => Some(format!("{public_url}/v1/alerts/{id}")),
        ("proposal", Some(id), _) => Some(format!("{public_url}/v1/proposals/{id}")),
        (_, _, Some(vm)) => Some(format!("{public_url}/v1/vms/{vm}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_answers_is_one_short_line() {
        assert_eq!(excerpt("  <html>\r\n\u{1b}[31m no \u{0}"), "<html> [31m no");
        assert_eq!(excerpt(&"x".repeat(1000)).chars().count(), EXCERPT_CHARS + 1);
        assert_eq!(excerpt(""), "");
        assert_eq!(one_line("a\r\nb\u{202e}c\u{200b}é"), "a  b\u{fffd}c\u{fffd}é");
        assert_eq!(excerpt("a\u{202e}b\u{2066}"), "a\u{fffd}b\u{fffd}");
    }
}
