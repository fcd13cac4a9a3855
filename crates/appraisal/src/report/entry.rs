//! What one event measured: a component, in words that are its own, shared, or not made yet.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use veriboot_eventlog::{ComponentKind, Event, EventType, Label, LoaderCommand};

use crate::content::{self, Content, STUB_PCR, SignatureId};
use crate::lists;

/// What an allocation costs beside its content.
const ALLOCATION: usize = 32;

/// One measured component, for all banks. Its [`Component`] is read through it.
#[derive(Clone)]
pub struct Entry {
    /// Index of the event in the log.
    pub event: u32,
    /// PCR, or register of a confidential VM.
    pub pcr: u32,
    /// Type of the event.
    pub event_type: EventType,
    /// Kind of component.
    pub kind: ComponentKind,
    pub(super) said: Said,
}

/// What an event says: of its own, the same as in other logs, or not put into words before somebody asks.
#[derive(Clone)]
pub(super) enum Said {
    Own(Component),
    Shared(Arc<Component>),
    Later(Later),
}

/// A command of the boot loader. Nearly all that anybody asks is whether it is the one that a baseline knows.
#[derive(Clone)]
pub(super) struct Later {
    /// Commands of the log, one after the other.
    pub(super) texts: Arc<OnceLock<Vec<u8>>>,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) words: OnceLock<Box<Component>>,
}

impl Later {
    fn command(&self) -> Option<LoaderCommand<'_>> {
        LoaderCommand::from_text(self.texts.get()?.get(self.from..self.to)?)
    }

    fn words(&self) -> &Component {
        self.words.get_or_init(|| {
            let mut label = self.command().map(|command| command.label());
            Box::new(Component {
                name: label.as_mut().map(|label| std::mem::take(&mut label.name)).unwrap_or_default(),
                value: label.and_then(|label| label.value),
                signer: None,
                items: Vec::new(),
                content: Content::Text,
            })
        })
    }
}

/// A command whose words can wait. What the PCR of systemd-stub holds is proven in another way.
pub(super) fn command<'a>(event: &Event<'a>) -> Option<LoaderCommand<'a>> {
    if event.pcr == STUB_PCR { None } else { LoaderCommand::of(event) }
}

pub(super) fn is_command(event: &Event<'_>) -> bool {
    event.pcr != STUB_PCR && LoaderCommand::is_measured_by(event)
}

/// Whether an event is the separator of a boot without errors, of which every log has eight.
pub(crate) fn is_separator(event: &Event<'_>) -> bool {
    event.event_type == EventType::EV_SEPARATOR && event.data == [0; 4]
}

/// What such a separator says. Its words are the same in every register.
pub(super) fn separator(event: &Event<'_>) -> &'static Arc<Component> {
    static SEPARATOR: OnceLock<Arc<Component>> = OnceLock::new();
    SEPARATOR.get_or_init(|| Arc::new(component_of(event).1))
}

/// What an event measures, beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// What tells several components of one kind apart. Printable, bounded.
    pub name: Cow<'static, str>,
    /// The content in words, where the log has it. Printable, bounded.
    pub value: Option<String>,
    /// Subject of the certificate that admitted the component.
    pub signer: Option<String>,
    /// Members of a list in plain words: the certificates and the number of hashes of db, dbx, KEK, PK and MOK lists.
    pub items: Vec<String>,
    /// What the digest proves about the content.
    pub content: Content,
}

impl Deref for Entry {
    type Target = Component;

    fn deref(&self) -> &Component {
        match &self.said {
            Said::Own(component) => component,
            Said::Shared(component) => component,
            Said::Later(command) => command.words(),
        }
    }
}

impl Entry {
    /// Whether it has this name and this value. Words that wait for somebody to ask are not made.
    pub(crate) fn is_called(&self, name: &str, value: Option<&str>) -> bool {
        if let Said::Later(later) = &self.said
            && let Some(command) = later.command()
        {
            return command.is_called(name, value);
        }
        self.name == name && self.value.as_deref() == value
    }

    /// The text of a command whose words wait for somebody to ask.
    pub(crate) fn command_text(&self) -> Option<&[u8]> {
        match &self.said {
            Said::Later(later) => later.texts.get()?.get(later.from..later.to),
            Said::Own(_) | Said::Shared(_) => None,
        }
    }

    /// Changes what its digest proves.
    pub(crate) fn set_content(&mut self, content: Content) {
        self.said = Said::Own(Component { content, ..Component::clone(self) });
    }

    /// The signer of an image; images do not stand alone.
    pub(super) fn signer_mut(&mut self) -> Option<&mut Option<String>> {
        match &mut self.said {
            Said::Own(component) => Some(&mut component.signer),
            Said::Shared(_) | Said::Later(_) => None,
        }
    }

    /// Bytes that it has on the heap, estimated from above, with words that are not made yet.
    pub fn heap_bytes(&self) -> usize {
        match &self.said {
            Said::Own(component) => component.heap_bytes(),
            Said::Shared(component) => component.heap_bytes(),
            Said::Later(later) => {
                let words = later.command().map_or(0, |command| command.max_label_bytes());
                size_of::<Component>() + 3 * ALLOCATION + (later.to - later.from) + words
            }
        }
    }

    /// Members of a revocation list, as far as its digest proves them; none when it could not be read whole.
    pub(crate) fn revoked(&self) -> Vec<SignatureId> {
        if self.kind != ComponentKind::RevocationDb {
            return Vec::new();
        }
        self.content.signatures().filter(|list| list.complete).map(|list| list.members).unwrap_or_default()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.event, self.pcr, self.event_type, self.kind)
            == (other.event, other.pcr, other.event_type, other.kind)
            && **self == **other
    }
}

impl Eq for Entry {}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("event", &self.event)
            .field("pcr", &self.pcr)
            .field("event_type", &self.event_type)
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("value", &self.value)
            .field("signer", &self.signer)
            .field("items", &self.items)
            .field("content", &self.content)
            .finish()
    }
}

impl Component {
    pub(super) fn of(event: &Event<'_>, label: &mut Label) -> Self {
        Self {
            items: lists::items(label.kind, event),
            content: content::of_event(event, label.fingerprint),
            name: std::mem::take(&mut label.name),
            value: label.value.take(),
            signer: label.signer.take(),
        }
    }

    /// Bytes that it has on the heap, estimated from above.
    pub(crate) fn heap_bytes(&self) -> usize {
        let text = |text: &String| text.capacity() + ALLOCATION;
        let item = |item: &String| size_of::<String>() + text(item);
        ALLOCATION
            + self.name.len()
            + self.value.as_ref().map_or(0, text)
            + self.signer.as_ref().map_or(0, text)
            + self.items.iter().map(item).sum::<usize>()
            + self.content.heap_bytes()
    }
}

/// What an event says that stands alone, or by itself without the events around it.
pub(crate) fn component_of(event: &Event<'_>) -> (ComponentKind, Component) {
    let mut label = Label::of(event);
    (label.kind, Component::of(event, &mut label))
}
