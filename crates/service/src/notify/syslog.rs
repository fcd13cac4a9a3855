//! Syslog messages of RFC 5424 over TCP (RFC 6587, octet counting) or TLS (RFC 5425).

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Severity};

use super::connection::{Bounded, failed};
use super::tell::SendError;
use super::words;

/// Facility `auth`: security messages.
const FACILITY: u8 = 4;
/// Longest MSGID and APP-NAME.
const MAX_ID_CHARS: usize = 32;
const MAX_HOST_CHARS: usize = 255;
/// Name of our structured data: under the private enterprise number that RFC 5612 sets aside for documentation.
const SD_ID: &str = "veriboot@32473";

/// Time for a whole connection: a receiver that takes one byte at a time holds nobody for longer.
const SESSION: Duration = Duration::from_secs(30);
/// What a receiver may say on one, its certificates included.
const MAX_SAID_BYTES: u64 = 256 * 1024;
/// How long is waited for the receiver to end the connection, or to break it because it did not take what was sent.
const LINGER: Duration = Duration::from_millis(500);
/// What a receiver may say meanwhile.
const MAX_LINGER_BYTES: u64 = 1024;

/// Tells these events over one connection.
pub(super) fn send(target: &TargetRow, events: &[Event], public_url: &str) -> Result<(), SendError> {
    let settings = &target.settings;
    let Some(port) = settings.port else { return Err(SendError::refused("the target has no port")) };
    let mut bytes = Vec::new();
    for event in events {
        let message = message(event, public_url);
        bytes.extend_from_slice(format!("{} ", message.len()).as_bytes());
        bytes.extend_from_slice(message.as_bytes());
    }
    let lost = |error: std::io::Error| failed("the connection broke", &error);
    let mut stream = Bounded::connect(settings, port, SESSION, MAX_SAID_BYTES)?;
    if settings.tls.as_deref() == Some("none") {
        stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(lost)?;
        stream.finish().map_err(lost)?;
        stream.end_within(LINGER);
        return ended(&mut stream).map_err(lost);
    }
    let mut stream = stream.secured(settings)?;
    stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(lost)?;
    stream.conn.send_close_notify();
    stream.flush().map_err(lost)?;
    stream.sock.end_within(LINGER);
    ended(&mut stream).map_err(lost)
}

/// Syslog has no answers: all that can be learned is that the connection was broken on us.
fn ended(stream: &mut impl Read) -> std::io::Result<()> {
    match std::io::copy(&mut stream.take(MAX_LINGER_BYTES), &mut std::io::sink()) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

fn level(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

/// `<PRI>1 TIME HOST veriboot - KIND [veriboot@32473 …] BOM TEXT`.
fn message(event: &Event, public_url: &str) -> String {
    let host = public_url.split("://").nth(1).unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split([':', '/']).next().unwrap_or_default(),
    };
    let mut data = format!("[{SD_ID}");
    let sequence = event.sequence.to_string();
    let reason = event.data.get("reason").and_then(serde_json::Value::as_str);
    for (name, value) in [
        ("sequence", Some(sequence.as_str())),
        ("severity", Some(event.severity.as_str())),
        ("group", event.group.as_deref()),
        ("scale_set", event.scale_set.as_deref()),
        ("vm", event.vm_name.as_deref()),
        ("vm_id", event.vm_id.as_deref()),
        ("subject", event.subject.as_deref()),
        ("reason", reason),
    ] {
        if let Some(value) = value {
            data.push_str(&format!(" {name}=\"{}\"", quoted(value)));
        }
    }
    data.push(']');
    format!(
        "<{}>1 {} {} veriboot - {} {data} \u{feff}{}",
        FACILITY * 8 + level(event.severity),
        event.at,
        printable(host, MAX_HOST_CHARS),
        printable(&event.kind, MAX_ID_CHARS),
        words::one_line(&event.summary()),
    )
}

/// A header's word: printable ASCII without spaces, `-` for none.
fn printable(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// The value of a parameter: `"`, `\` and `]` are escaped.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            c => out.push(words::plain(c)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use veriboot_wire::Time;

    #[test]
    fn messages_have_the_form_of_rfc_5424() {
        let mut event = Event {
            sequence: 7,
            at: Time::from_unix_ms(0),
            kind: "alert.opened".into(),
            severity: Severity::High,
            group: Some("prod".into()),
            scale_set: None,
            vm_id: None,
            vm_name: Some("we\"b]\\\n0".into()),
            subject: None,
            data: json!({"message": "Secure Boot\nis off", "reason": "baseline-deviation"}),
        };
        assert_eq!(
            message(&event, "https://veriboot.example:8443"),
            "<35>1 1970-01-01T00:00:00.000Z veriboot.example veriboot - alert.opened [veriboot@32473 sequence=\"7\" \
             severity=\"high\" group=\"prod\" vm=\"we\\\"b\\]\\\\ 0\" reason=\"baseline-deviation\"] \
             \u{feff}we\"b]\\ 0: Secure Boot is off"
        );
        event.kind = "é ".repeat(40) + &"k".repeat(40);
        let told = message(&event, "https://[2001:db8::1]:8443");
        assert!(told.contains(" 2001:db8::1 veriboot - kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk ["), "{told}");
    }
}
