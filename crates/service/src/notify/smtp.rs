//! One mail by SMTP (RFC 5321) with STARTTLS or TLS, over a connection that is bounded in time and bytes.
//!
//! Replies are bounded in lines and bytes. The server is never heard before its turn: what it sends behind a reply, which
//! before STARTTLS anybody on the way could have put there, ends the session.

use std::io::{Read, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::address::Envelope;
use veriboot_store::targets::TargetRow;

use super::connection::{Bounded, failed};
use super::tell::SendError;

/// Bytes that a server may say in one session, its certificates included.
const MAX_SAID_BYTES: u64 = 256 * 1024;
/// Bytes of one line of a reply. RFC 5321 permits 512.
const MAX_LINE_BYTES: usize = 2048;
/// Lines of one reply.
const MAX_LINES: usize = 128;
/// Bytes that are read at once.
const READ_BYTES: usize = 1024;

/// Delivers a message within a time, once the server takes all of its receivers.
///
/// # Errors
/// [`SendError::refused`] when the server took sender and receivers, and not the message; everything else may be mended.
pub(super) fn deliver(
    target: &TargetRow,
    envelope: &Envelope,
    message: &[u8],
    within: Duration,
) -> Result<(), SendError> {
    let settings = &target.settings;
    let stream = Bounded::connect(settings, settings.port.unwrap_or(587), within, MAX_SAID_BYTES)?;
    match settings.tls.as_deref() {
        Some("none") => {
            let mut session = Session::begin(stream)?;
            session.hand_over(target, false, envelope, message)
        }
        Some("tls") => {
            let mut session = Session::begin(stream.secured(settings)?)?;
            session.hand_over(target, true, envelope, message)
        }
        _ => {
            let mut clear = Session::begin(stream)?;
            if !clear.greet()?.starttls {
                return Err(SendError::failed("the mail server does not offer STARTTLS".to_owned()));
            }
            clear.command("STARTTLS")?.with_code(220)?;
            let mut session = Session { stream: clear.stream.secured(settings)?, unread: Vec::new() };
            session.hand_over(target, true, envelope, message)
        }
    }
}

/// A conversation; nothing is unread when it is our turn.
struct Session<S> {
    stream: S,
    unread: Vec<u8>,
}

/// What a server said.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// What a server can do.
#[derive(Default)]
struct Abilities {
    starttls: bool,
    plain: bool,
    login: bool,
    eight_bit: bool,
    utf8: bool,
}

impl Reply {
    fn words(&self) -> SendError {
        SendError::failed(format!("the mail server: {} {}", self.code, self.lines.join(" ")))
    }

    fn with_code(self, code: u16) -> Result<Self, SendError> {
        if self.code == code { Ok(self) } else { Err(self.words()) }
    }
}

impl<S: Read + Write> Session<S> {
    fn begin(stream: S) -> Result<Self, SendError> {
        let mut session = Self { stream, unread: Vec::new() };
        session.reply()?.with_code(220)?;
        Ok(session)
    }

    fn hand_over(
        &mut self,
        target: &TargetRow,
        secured: bool,
        envelope: &Envelope,
        message: &[u8],
    ) -> Result<(), SendError> {
        let abilities = self.greet()?;
        if let (Some(user), Some(password)) = (&target.settings.username, &target.secrets.password) {
            if !secured {
                return Err(SendError::failed("a password is not told in clear".to_owned()));
            }
            self.log_in(&abilities, user, password)?;
        }
        let from = envelope.from().map(ToString::to_string).unwrap_or_default();
        let to: Vec<String> = envelope.to().iter().map(ToString::to_string).collect();
        let mut mail = format!("MAIL FROM:<{from}>");
        if !message.is_ascii() {
            if !abilities.eight_bit {
                return Err(SendError::failed("the mail server takes no 8-bit text".to_owned()));
            }
            mail.push_str(" BODY=8BITMIME");
        }
        if !from.is_ascii() || to.iter().any(|to| !to.is_ascii()) {
            if !abilities.utf8 {
                return Err(SendError::failed(
                    "the mail server takes no such addresses (SMTPUTF8)".to_owned(),
                ));
            }
            mail.push_str(" SMTPUTF8");
        }
        self.command(&mail)?.with_code(250)?;
        for to in to {
            let reply = self.command(&format!("RCPT TO:<{to}>"))?;
            if !matches!(reply.code, 250 | 251) {
                return Err(reply.words());
            }
        }
        self.command("DATA")?.with_code(354)?;
        self.say(&stuffed(message))?;
        let reply = self.reply()?;
        match reply.code {
            250 => {
                // The message is theirs, whatever becomes of the connection.
                let _ = self.say(b"QUIT\r\n");
                Ok(())
            }
            500..=599 => Err(SendError::refused(reply.words().message())),
            _ => Err(reply.words()),
        }
    }

    fn greet(&mut self) -> Result<Abilities, SendError> {
        let reply = self.command("EHLO [127.0.0.1]")?.with_code(250)?;
        let mut abilities = Abilities::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace().map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("STARTTLS") => abilities.starttls = true,
                Some("8BITMIME") => abilities.eight_bit = true,
                Some("SMTPUTF8") => abilities.utf8 = true,
                Some("AUTH") => words.for_each(|mechanism| {
                    abilities.plain |= mechanism == "PLAIN";
                    abilities.login |= mechanism == "LOGIN";
                }),
                _ => {}
            }
        }
        Ok(abilities)
    }

    fn log_in(&mut self, abilities: &Abilities, user: &str, password: &str) -> Result<(), SendError> {
        if abilities.plain {
            let both = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {both}"))?.with_code(235)?;
        } else if abilities.login {
            self.command("AUTH LOGIN")?.with_code(334)?;
            self.command(&STANDARD.encode(user))?.with_code(334)?;
            self.command(&STANDARD.encode(password))?.with_code(235)?;
        } else {
            return Err(SendError::failed(
                "the mail server offers neither AUTH PLAIN nor AUTH LOGIN".to_owned(),
            ));
        }
        Ok(())
    }

    fn command(&mut self, command: &str) -> Result<Reply, SendError> {
        self.say(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let said = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        said.map_err(|error| failed("the connection to the mail server broke", &error))
    }

    fn reply(&mut self) -> Result<Reply, SendError> {
        let mut lines = Vec::new();
        let mut begun = None;
        loop {
            let line = self.line()?;
            let wrong = || SendError::failed(format!("the mail server speaks no SMTP: {line}"));
            let code: u16 = line
                .get(..3)
                .filter(|code| code.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|code| code.parse().ok())
                .ok_or_else(wrong)?;
            if *begun.get_or_insert(code) != code {
                return Err(wrong());
            }
            let rest = line.get(3..).unwrap_or_default();
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            match rest.as_bytes().first() {
                None | Some(b' ') if self.unread.is_empty() => return Ok(Reply { code, lines }),
                None | Some(b' ') => {
                    return Err(SendError::failed("the mail server speaks before its turn".to_owned()));
                }
                Some(b'-') if lines.len() < MAX_LINES => {}
                Some(b'-') => {
                    return Err(SendError::failed(format!(
                        "a reply of the mail server has over {MAX_LINES} lines"
                    )));
                }
                Some(_) => return Err(wrong()),
            }
        }
    }

    /// The next line without its end; what is no UTF-8 is replaced.
    fn line(&mut self) -> Result<String, SendError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.unread.len() > MAX_LINE_BYTES {
                return Err(SendError::failed(format!(
                    "a line of the mail server has over {MAX_LINE_BYTES} bytes"
                )));
            }
            let mut bytes = [0; READ_BYTES];
            let read = self.stream.read(&mut bytes);
            match read.map_err(|error| failed("the connection to the mail server broke", &error))? {
                0 => return Err(SendError::failed("the mail server ended the connection".to_owned())),
                count => self.unread.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// A message as DATA: no line of it is a lone dot but the last.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(message.len() + 64);
    let mut begins = true;
    for byte in message {
        if begins && *byte == b'.' {
            data.push(b'.');
        }
        data.push(*byte);
        begins = *byte == b'\n';
    }
    if !data.ends_with(b"\r\n") {
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    data
}

#[cfg(test)]
mod tests;
