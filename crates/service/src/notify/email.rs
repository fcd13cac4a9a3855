//! Mail by SMTP: STARTTLS or TLS from the start, a server in clear text only on this machine.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Time};

use super::tell::SendError;
use super::{address, roots, webhook, words};

/// Time for one exchange with the server.
const TIMEOUT: Duration = Duration::from_secs(10);
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
    let settings = &target.settings;
    let host = settings.host.as_deref().unwrap_or_default();
    let port = settings.port.unwrap_or(587);
    let mut last = SendError::failed(format!("{host} has no address"));
    for address in address::resolve(host, port, settings.allow_local)? {
        // The address that was checked is the one that is connected to; the name is for its certificate.
        let mut builder = SmtpTransport::builder_dangerous(address.ip().to_string())
            .port(port)
            .timeout(Some(TIMEOUT))
            .tls(tls(target, host)?);
        if let (Some(user), Some(password)) = (&settings.username, &target.secrets.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        match builder.build().send(&message) {
            Ok(_) => return Ok(()),
            // An answer is an answer: another address of the same name is not asked.
            Err(error) if error.is_permanent() => return Err(SendError::refused(told(&error))),
            Err(error) if error.is_transient() => return Err(SendError::failed(told(&error))),
            Err(error) => last = SendError::failed(told(&error)),
        }
    }
    Err(last)
}

fn told(error: &lettre::transport::smtp::Error) -> String {
    format!("the mail server: {}", words::excerpt(&crate::problem::chain(error)))
}

fn tls(target: &TargetRow, host: &str) -> Result<Tls, SendError> {
    let mode = target.settings.tls.as_deref().unwrap_or("starttls");
    if mode == "none" {
        return Ok(Tls::None);
    }
    let failed = |error| SendError::failed(told(&error));
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut parameters = TlsParameters::builder(bare.to_owned()).certificate_store(CertificateStore::None);
    for root in roots::roots(target.settings.ca.as_deref())? {
        parameters = parameters.add_root_certificate(Certificate::from_der(root.to_vec()).map_err(failed)?);
    }
    let parameters = parameters.build().map_err(failed)?;
    Ok(if mode == "tls" { Tls::Wrapper(parameters) } else { Tls::Required(parameters) })
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
        .map_err(|error| SendError::refused(words::excerpt(&error.to_string())))
}
