//! Mail servers that mean harm, and a good one for comparison.

use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Instant;

use veriboot_wire::{Route, TargetKind, TargetSecrets, TargetSettings, Time};

use super::*;

/// How a server goes on after what it was told: what it says, and how long it waits after each byte of it.
type Script = fn(&str) -> (Vec<u8>, Duration);

/// A server that follows a script; ends with all that it was told, and how much it could say.
fn server(banner: &'static [u8], script: Script) -> (u16, JoinHandle<(String, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut heard, mut said) = (String::new(), 0);
        let mut next = (banner.to_vec(), Duration::ZERO);
        loop {
            let (words, pause) = next;
            for part in words.chunks(if pause.is_zero() { 65_536 } else { 1 }) {
                if stream.write_all(part).is_err() {
                    return (heard, said);
                }
                said += part.len();
                std::thread::sleep(pause);
            }
            let mut bytes = [0; 65_536];
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    let words = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    next = script(&words);
                    heard.push_str(&words);
                }
                _ => return (heard, said),
            }
        }
    });
    (port, serving)
}

fn good(told: &str) -> (Vec<u8>, Duration) {
    let words: &[u8] = match told.get(..4).unwrap_or_default() {
        "EHLO" => b"250-server\r\n250- \r\n250 8BITMIME\r\n",
        "MAIL" | "RCPT" => b"250 ok\r\n",
        "DATA" => b"354 go on\r\n",
        "QUIT" => b"",
        _ if told.ends_with("\r\n.\r\n") => b"250 taken\r\n",
        _ => b"500 what?\r\n",
    };
    (words.to_vec(), Duration::ZERO)
}

fn send(port: u16, tls: &str, within: Duration) -> Result<(), SendError> {
    let settings = TargetSettings {
        host: Some("127.0.0.1".into()),
        port: Some(port),
        tls: Some(tls.into()),
        allow_local: true,
        ..TargetSettings::default()
    };
    let at = Time::from_unix_ms(0);
    let target = TargetRow {
        id: "1".into(),
        name: "mail".into(),
        kind: TargetKind::Email,
        enabled: true,
        settings,
        secrets: TargetSecrets::default(),
        route: Route::default(),
        revision: 1,
        created_at: at,
        created_by: "ann".into(),
        changed_at: at,
    };
    let to = vec!["a@example.com".parse().unwrap(), "b@example.com".parse().unwrap()];
    let envelope = Envelope::new(Some("v@example.com".parse().unwrap()), to).unwrap();
    deliver(&target, &envelope, b"Subject: x\r\n\r\n.dot\r\n", within)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_mail_is_handed_over_with_all_of_its_receivers() {
    let (port, serving) = server(b"220 ready\r\n", good);
    assert_eq!(send(port, "none", LONG), Ok(()));
    let told = "EHLO [127.0.0.1]\r\nMAIL FROM:<v@example.com>\r\nRCPT TO:<a@example.com>\r\n\
                RCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    assert_eq!(serving.join().unwrap().0, told);
}

#[test]
fn only_a_message_is_refused() {
    let refusals: [(Script, bool); 4] = [
        (
            |told| if told.starts_with("EHLO") { (b"554 go\r\n".into(), Duration::ZERO) } else { good(told) },
            false,
        ),
        (
            |told| if told.contains("<b@") { (b"550 who?\r\n".into(), Duration::ZERO) } else { good(told) },
            false,
        ),
        (|told| if told.contains("dot") { (b"554 no\r\n".into(), Duration::ZERO) } else { good(told) }, true),
        (
            |told| if told.contains("dot") { (b"451 later\r\n".into(), Duration::ZERO) } else { good(told) },
            false,
        ),
    ];
    for (n, (script, refused)) in refusals.into_iter().enumerate() {
        let (port, _serving) = server(b"220 ready\r\n", script);
        let error = send(port, "none", LONG).unwrap_err();
        assert_eq!(error.is_refused(), refused, "{n}: {error:?}");
        assert!(error.message().starts_with("the mail server: "), "{n}: {error:?}");
    }
}

#[test]
fn a_server_that_never_ends_a_line_or_a_reply_is_left() {
    let endless: [(Script, &str); 3] = [
        (|_| (vec![b'2'; 32 << 20], Duration::ZERO), "a line of the mail server has over 2048 bytes"),
        (|_| (b"250-x\r\n".repeat(4 << 20), Duration::ZERO), "a reply of the mail server has over 128 lines"),
        (|_| (b"\r\n".repeat(4 << 20), Duration::ZERO), "the mail server speaks no SMTP: "),
    ];
    for (script, message) in endless {
        let (port, serving) = server(b"220 ready\r\n", script);
        assert_eq!(send(port, "none", LONG).unwrap_err().message(), message);
        // The rest stayed with the server, but for what the system holds.
        assert!(serving.join().unwrap().1 < 16 << 20, "{message}");
    }
}

#[test]
fn a_server_that_says_a_byte_at_a_time_is_left_in_time() {
    let (port, serving) = server(b"220 ready\r\n", |_| (vec![b'2'; 1000], Duration::from_millis(50)));
    let asked = Instant::now();
    let error = send(port, "none", Duration::from_secs(1)).unwrap_err();
    assert!(error.message().contains("the server took too long"), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    serving.join().unwrap();
}

#[test]
fn nothing_is_heard_that_came_before_its_turn() {
    // Somebody on the way answers in clear what is asked below TLS.
    let inject: Script = |told| match told.get(..4).unwrap_or_default() {
        "EHLO" => (b"250-server\r\n250 STARTTLS\r\n".into(), Duration::ZERO),
        _ => (b"220 begin\r\n250-server\r\n250 AUTH PLAIN\r\n".into(), Duration::ZERO),
    };
    let (port, serving) = server(b"220 ready\r\n", inject);
    let error = send(port, "starttls", LONG).unwrap_err();
    assert_eq!(error.message(), "the mail server speaks before its turn");
    assert!(serving.join().unwrap().0.ends_with("STARTTLS\r\n"), "nothing is told after it");
    // A server without STARTTLS is told nothing.
    let (port, serving) = server(b"220 ready\r\n", good);
    assert!(send(port, "starttls", LONG).unwrap_err().message().contains("STARTTLS"));
    assert_eq!(serving.join().unwrap().0, "EHLO [127.0.0.1]\r\n");
}

#[test]
fn what_is_no_smtp_is_said_and_does_no_harm() {
    for banner in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"22\r\n",
        b"220\xff\r\n",
        b"2\xc3\xa90 x\r\n",
        b"220-a\r\n221 b\r\n",
        b"999 x\r\n",
        b"+20 x\r\n",
        b"\0\r\n",
    ] {
        let (port, _serving) = server(banner, good);
        let error = send(port, "none", LONG).unwrap_err();
        assert!(error.message().starts_with("the mail server"), "{error:?}");
    }
}

#[test]
fn no_line_of_a_message_ends_it() {
    assert_eq!(stuffed(b".\r\n..\r\na.\r\n\n.\n"), b"..\r\n...\r\na.\r\n\n..\n\r\n.\r\n");
    assert_eq!(stuffed(b""), b"\r\n.\r\n");
}
