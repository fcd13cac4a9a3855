//! Mail by SMTP: STARTTLS or TLS from the start, a server in clear text only on this machine.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::message::{Mailbox, header::ContentType};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Time};

use super::tell::SendError;
use super::{smtp, webhook, words};

/// Time for a whole session with the server.
const SESSION: Duration = Duration::from_secs(35);
/// Characters of a subject line.
const MAX_SUBJECT_CHARS: usize = 150;

/// One event, or a digest of several.
pub(super) fn send(
    target: &TargetRow,
    events: &[Event],
    public_url: &str,
    now: Time,
) -> Result<(), SendError> {
    let message = message(target, events, public_url, now)?;
    smtp::deliver(target, message.envelope(), &message.formatted(), SESSION)
}

/// An address as it stands in a message.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    if text.len() > 254 || text.chars().any(char::is_control) {
        return Err("an address must have at most 254 bytes and no control characters".to_owned());
    }
    text.parse().map_err(|_| format!("{:?} is no mail address", words::excerpt(text)))
}

fn message(target: &TargetRow, events: &[Event], public_url: &str, now: Time) -> Result<Message, SendError> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err(SendError::refused("there is nothing to tell".to_owned()));
    };
    let settings = &target.settings;
    let from = mailbox(settings.from.as_deref().unwrap_or_default()).map_err(SendError::refused)?;
    let domain = from.email.domain().to_owned();
    let (subject, body) = match events {
        [one] => (words::line(one), words::lines(one, public_url)),
        several => {
            let worst = several.iter().map(|event| event.severity).max().unwrap_or(first.severity);
            let mut body: Vec<String> =
                several.iter().map(|event| format!("{}  {}", event.at, words::line(event))).collect();
            body.push(String::new());
            body.extend(several.iter().map(|event| words::lines(event, public_url) + "\n"));
            (format!("{worst}: {} events", several.len()), body.join("\n"))
        }
    };
    let subject: String = format!("[veriboot] {subject}").chars().take(MAX_SUBJECT_CHARS).collect();
    // The same events make the same message: a mailbox can show a repetition once.
    let id = format!("<{}.{}.{}@{domain}>", webhook::event_id(first), webhook::event_id(last), target.id);
    let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.unix_ms()).unwrap_or(0));
    let mut builder = Message::builder().from(from).subject(subject).message_id(Some(id)).date(at);
    for to in &settings.to {
        builder = builder.to(mailbox(to).map_err(SendError::refused)?);
    }
    builder
        .header(ContentType::TEXT_PLAIN)
        .body(body + "\n")
        .map_err(|error| SendError::refused(error.to_string()))
}
