//! A command of GRUB, put into words only when somebody wants them: a boot menu has a hundred commands, and nearly all of
//! them are only compared.

use super::ipl::{first_word, is_linux_command};
use super::{Label, Labels};
use crate::decode::ipl::Ipl;
use crate::limits::{MAX_NAME_CHARS, MAX_VALUE_CHARS};
use crate::text::{Text, is_plain_ascii};
use crate::{ComponentKind, Event, EventType};

/// What commands that load Linux begin with.
const LINUX: &[u8] = b"linux";

/// A command of GRUB, but for those that load Linux: what the label of these shows is not all that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderCommand<'a>(&'a [u8]);

impl<'a> LoaderCommand<'a> {
    /// Kind of component of all of them.
    pub const KIND: ComponentKind = ComponentKind::BootLoaderConfig;

    /// The command that an event measures.
    pub fn of(event: &Event<'a>) -> Option<Self> {
        match event.event_type {
            EventType::EV_IPL => Ipl::command(event.data).and_then(Self::from_text),
            _ => None,
        }
    }

    /// Whether an event measures one.
    pub fn is_measured_by(event: &Event<'a>) -> bool {
        // Without looking where the text ends, as long as that decides nothing.
        event.event_type == EventType::EV_IPL
            && Ipl::command_and_rest(event.data)
                .is_some_and(|rest| !rest.starts_with(LINUX) || Self::of(event).is_some())
    }

    /// The command with this text, that [`Self::text`] gave.
    pub fn from_text(text: &'a [u8]) -> Option<Self> {
        let loads_linux = text.starts_with(LINUX) && is_linux_command(first_word(text).0);
        (!loads_linux).then_some(Self(text))
    }

    /// What is measured, but for a NUL after it.
    pub fn text(&self) -> &'a [u8] {
        self.0
    }

    /// What [`Label::of`] gives for its event.
    pub fn label(&self) -> Label {
        let mut label = Label::blank();
        Labels::new(&[]).label_ipl(&mut label, &Ipl::Command { text: Text(self.0) });
        label
    }

    /// Whether its label has this name and this value.
    pub fn is_called(&self, name: &str, value: Option<&str>) -> bool {
        let word = first_word(self.0).0;
        if word.len() > MAX_NAME_CHARS || self.0.len() > MAX_VALUE_CHARS || !is_plain_ascii(self.0) {
            let label = self.label();
            return label.name == name && label.value.as_deref() == value;
        }
        // Plain text is shown as it is.
        value.map(str::as_bytes) == Some(self.0)
            && name.strip_prefix("GRUB command ").map(str::as_bytes) == Some(word)
    }

    /// Bytes of name and value together, estimated from above.
    pub fn max_label_bytes(&self) -> usize {
        // A byte that is not shown as it is becomes `\u{9b}` at most.
        let of_byte = if is_plain_ascii(self.0) { 1 } else { 8 };
        16 + 2 * of_byte * self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Digests;

    fn event(data: &[u8]) -> Event<'_> {
        Event { index: 0, offset: 0, pcr: 8, event_type: EventType::EV_IPL, digests: Digests::NONE, data }
    }

    #[test]
    fn is_called_what_its_label_says() {
        let long = |chars: usize| "x".repeat(chars);
        let (longer, longest, named) =
            (long(MAX_VALUE_CHARS + 1), long(MAX_VALUE_CHARS), long(MAX_NAME_CHARS + 1));
        let texts = [
            "set root=hd0,gpt2",
            "menuentry Debian {\n linux /vmlinuz\n}",
            "grüße",
            "",
            " ",
            "x",
            "a\u{202e}b c",
            "\t",
            &longer,
            &longest,
            &named,
            "[ -f /x ]",
            "linux /vmlinuz ro",
            "linux16",
            "linuxefi x",
            "initrd /initrd.img",
            "linux-x y",
        ];
        let raw: [&[u8]; 3] = [b"\xff\xfe", b"set x=\x9b\x00trailing", b"echo \x1b[31m"];
        let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).chain(raw).collect();
        let mut labels = Vec::new();
        let events: Vec<_> =
            texts.iter().map(|text| [b"grub_cmd: ".as_slice(), text, b"\0"].concat()).collect();
        for (text, data) in texts.iter().zip(&events) {
            let Some(command) = LoaderCommand::of(&event(data)) else {
                assert!(text.starts_with(b"linux"), "{}", Text(text));
                assert!(!LoaderCommand::is_measured_by(&event(data)));
                continue;
            };
            assert!(LoaderCommand::is_measured_by(&event(data)));
            let label = Label::of(&event(data));
            assert_eq!(label.kind, LoaderCommand::KIND);
            assert_eq!(command.label().name, label.name);
            assert_eq!(command.label().value, label.value);
            let bytes = label.name.len() + label.value.as_ref().map_or(0, String::len);
            assert!(bytes <= command.max_label_bytes(), "{} of {}", bytes, command.max_label_bytes());
            labels.push((command, (label.name, label.value)));
        }
        assert_eq!(labels.len(), texts.len() - 3, "linux-x loads no kernel");
        // Labels of any two are the same when and only when each is called what the other is.
        let again: Vec<_> = labels.iter().map(|(_, label)| label.clone()).collect();
        for (command, label) in &labels {
            for other in &again {
                assert_eq!(command.is_called(&other.0, other.1.as_deref()), label == other, "{command:?}");
            }
            assert!(!command.is_called(&label.0, None));
            assert!(!command.is_called("GRUB", label.1.as_deref()));
        }
    }

    #[test]
    fn other_events_are_no_commands() {
        for data in [b"kernel_cmdline: /vmlinuz ro\0".as_slice(), b"(hd0)/vmlinuz", b"MokList\0", b""] {
            assert_eq!(LoaderCommand::of(&event(data)), None);
            assert!(!LoaderCommand::is_measured_by(&event(data)));
        }
        let action = Event { event_type: EventType::EV_ACTION, ..event(b"grub_cmd: set x") };
        assert_eq!(LoaderCommand::of(&action), None);
    }
}
