//! What a service that is away, a proxy, a token that is none and an answer that is cut off look like from the command line;
//! and readers that go away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Answers connections one after the other with these bytes, whatever they ask, and gives its URL.
fn answers(all: Vec<Vec<u8>>) -> String {
    heard(all).0
}

/// [`answers`], and the heads of the requests in lower case.
fn heard(all: Vec<Vec<u8>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for bytes in all {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let head = head(&mut stream);
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            let _ = stream.read_exact(&mut body);
            let _ = tell.send(head);
            let _ = stream.write_all(&bytes);
        }
    });
    (url, told)
}

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).to_ascii_lowercase()
}

/// An answer whose head promises `length` bytes.
fn promising(status: &str, length: usize, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

fn whole(status: &str, body: &str) -> Vec<u8> {
    promising(status, body.len(), body)
}

fn command(url: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veriboot"));
    command
        .args(line.split(' '))
        .env("VERIBOOT_SERVER", url)
        .env("VERIBOOT_TOKEN", "vbt_x")
        .env("VERIBOOT_CLI_CONFIG", "/nonexistent/cli.toml")
        .env_remove("VERIBOOT_CA")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error.
#[track_caller]
fn ended(out: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.code().expect("no signal"), text(&out.stdout), text(&out.stderr))
}

#[track_caller]
fn fails(all: Vec<Vec<u8>>, line: &str, exit: i32, says: &[&str]) {
    let (code, out, err) = ended(&command(&answers(all), line).output().unwrap());
    assert_eq!((code, out.as_str()), (exit, ""), "{line}: nothing half is shown\n{err}");
    for part in says {
        assert!(err.contains(part), "{part:?} is missing after {line}\n{err}");
    }
    assert!(err.lines().all(|line| line.starts_with("error: ") || line.starts_with("hint: ")), "{err}");
}

const JOIN_TOKEN: &str = r#"{"id":"0193","group":"default","uses_left":1,"created_at":"2026-11-22T00:00:00Z","created_by":"ann","expires_at":"2026-11-23T00:00:00Z","revoked":false}"#;

fn page(next: Option<&str>) -> String {
    let next = next.map(|next| format!(",\"next_cursor\":\"{next}\"")).unwrap_or_default();
    format!("{{\"items\":[{JOIN_TOKEN}]{next}}}")
}

#[test]
fn what_keeps_an_answer_away_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, err) = ended(&command(&format!("http://{nobody}"), "vm list").output().unwrap());
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("[cannot-connect]") && err.contains("hint: is the service up"), "{err}");

    let refused = r#"{"error":{"code":"unauthenticated","fault":"client","message":"no valid credential was sent","hint":"send `Authorization: Bearer TOKEN`"}}"#;
    fails(
        vec![whole("401 Unauthorized", refused)],
        "alert list",
        4,
        &["[unauthenticated]", "`veriboot login`"],
    );
    for proxy in ["<html>Bad gateway</html>", "", "{}"] {
        fails(vec![whole("502 Bad Gateway", proxy)], "alert list", 3, &["[not-veriboot]", "a proxy"]);
    }
    for other in ["<html>Please log in</html>", "{\"items\":1}", "[]", ""] {
        fails(vec![whole("200 OK", other)], "alert list", 3, &["[unexpected-answer]", "same version"]);
    }
    fails(vec![Vec::new()], "posture", 3, &["[cannot-connect]"]);
    fails(vec![b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()], "posture", 3, &["[cannot-connect]"]);
}

#[test]
fn an_answer_that_is_cut_off_shows_nothing() {
    let body = page(None);
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let part = body.get(..cut).unwrap();
        for line in ["token list", "token list --json", "alert list --csv"] {
            fails(vec![promising("200 OK", body.len(), part)], line, 3, &["error: "]);
        }
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{part}\r\n",
            part.len() + usize::from(cut == 0)
        );
        fails(vec![chunked.into_bytes()], "token list", 3, &["error: "]);
    }
    // The second page does not come: the first is not shown as if it were all.
    let first = whole("200 OK", &page(Some("aa")));
    let body = page(None);
    let half = promising("200 OK", body.len(), body.get(..20).unwrap());
    fails(vec![first.clone(), half], "token list", 3, &["error: "]);
    let busy = r#"{"error":{"code":"overloaded","fault":"service","message":"more requests are in flight than the service takes"}}"#;
    fails(
        vec![first.clone(), whole("503 Service Unavailable", busy)],
        "token list --json",
        4,
        &["[overloaded]"],
    );

    // Both come; and a cursor that stays where it is ends it.
    let both = vec![first.clone(), whole("200 OK", &page(None))];
    let (code, out, _) = ended(&command(&answers(both), "token list").output().unwrap());
    assert_eq!((code, out.matches("0193").count()), (0, 2), "{out}");
    let (code, out, _) = ended(&command(&answers(vec![first.clone(); 2]), "token list").output().unwrap());
    assert_eq!(code, 0, "{out}");
    // JSON that is not all says so, where no program reads it as a row.
    let (code, out, err) =
        ended(&command(&answers(vec![first]), "token list --json --limit 1").output().unwrap());
    assert_eq!((code, err.as_str()), (0, "… more than 1 token: raise --limit or filter\n"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn parameters_are_said_as_flags() {
    for (message, said) in [
        ("limit must be 1 to 1000", "--limit must be 1 to 1000"),
        ("expires_at must be in the future", "--until must be in the future"),
    ] {
        let refused =
            format!(r#"{{"error":{{"code":"invalid-value","fault":"client","message":"{message}"}}}}"#);
        fails(vec![whole("400 Bad Request", &refused)], "token list", 4, &[said]);
    }
}

/// `veriboot … | head -1`.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    for line in ["token list", "token list --json", "--help"] {
        let url = answers(vec![whole("200 OK", &page(None))]);
        let mut child = command(&url, line).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _, err) = ended(&child.wait_with_output().unwrap());
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
    }
    // A stream has no end of its own.
    let event =
        r#"{"sequence":1,"at":"2026-11-22T00:00:00Z","kind":"vm.enrolled","severity":"info","data":{}}"#;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut child = command(&url, "watch").spawn().unwrap();
    drop(child.stdout.take());
    let (mut stream, _) = listener.accept().unwrap();
    self::head(&mut stream);
    write!(stream, "{head}id: 1\ndata: {event}\n\n").unwrap();
    // The stream stays open.
    let (code, _, err) = ended(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}

fn refused(code: &str, message: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","fault":"client","message":"{message}"}}}}"#)
}

#[test]
fn a_service_that_is_older_is_said_to_be_or_asked_as_it_can_be() {
    // No preview: nothing is accepted that was not shown.
    let missing = whole("404 Not Found", &refused("no-such-route", "there is no such path"));
    fails(vec![missing], "baseline accept web-0", 4, &["[no-such-route]", "upgrade the service first"]);
    let other = refused("method-not-allowed", "this path does not take that method");
    let other = whole("405 Method Not Allowed", &other);
    fails(vec![other], "baseline accept web-0", 4, &["[method-not-allowed]", "upgrade the service first"]);

    // No time of an export: once more without it.
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export.toml");
    std::fs::write(&export, "format = \"veriboot-inventory/1\"\n\n[[vms]]\nname = \"web-0\"\n").unwrap();
    let unknown = "Failed to deserialize query string: unknown field `exported_at`, expected one of `format`";
    let unknown = whole("400 Bad Request", &refused("invalid-query", unknown));
    let retired = whole("409 Conflict", &refused("inventory-source-retired", "it is no longer used"));
    let line = format!("inventory sync --source lab --format veriboot {}", export.display());
    let (url, told) = heard(vec![unknown.clone(), retired]);
    let (code, _, err) = ended(&command(&url, &line).output().unwrap());
    assert!(code == 4 && err.contains("note: the service is older than this program"), "{err}");
    assert!(err.contains("[inventory-source-retired]"), "{err}");
    let requests: Vec<bool> = told.iter().map(|head| head.contains("exported_at=")).collect();
    assert_eq!(requests, [true, false]);
    let (url, told) = heard(vec![unknown.clone(), unknown]);
    let (code, _, err) = ended(&command(&url, &line).output().unwrap());
    assert!(code == 4 && err.contains("[invalid-query]"), "{err}");
    assert_eq!(told.iter().count(), 2, "once more, and not again");

    // No `If-None-Match`: the source that is there is not written over.
    let source = r#"{"name":"lab","format":"az-vm","revision":3,"items":1,"matched":0,"gone":0,"created_at":"2026-11-22T00:00:00Z","created_by":"ann"}"#;
    let (url, told) = heard(vec![whole("200 OK", source)]);
    let (code, out, err) = ended(&command(&url, "inventory sources add lab").output().unwrap());
    assert_eq!((code, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("[precondition-failed]") && err.contains("inventory sources set"), "{err}");
    assert_eq!(told.iter().count(), 1);
    let absent = whole("404 Not Found", &refused("not-found", "there is no such inventory source"));
    let made = whole("412 Precondition Failed", &refused("precondition-failed", "there is one"));
    let (url, told) = heard(vec![absent, made]);
    let (code, _, err) = ended(&command(&url, "inventory sources add lab").output().unwrap());
    assert!(code == 4 && err.contains("inventory sources set"), "made meanwhile: {err}");
    assert!(told.iter().nth(1).unwrap().contains("if-none-match: *"));
}

#[test]
fn what_is_accepted_follows_what_was_shown() {
    let shown = |etag: &str| {
        let preview = format!(
            r#"{{"vm":"0193","vm_name":"web-0","boot_id":"b1","scope":{{"kind":"vm","group":"g","id":"web-0"}}{etag},"differences":[]}}"#
        );
        let changed = whole("412 Precondition Failed", &refused("precondition-failed", "it was changed"));
        heard(vec![whole("200 OK", &preview), changed])
    };
    for (etag, flag, condition) in [
        (r#","etag":"vm/g/web-0@1""#, "", "if-match: \"vm/g/web-0@1\""),
        (r#","etag":"vm/g/web-0@1""#, " --etag vm/g/web-0@7", "if-match: \"vm/g/web-0@7\""),
        ("", "", "if-none-match: *"),
    ] {
        let (url, told) = shown(etag);
        let line = format!("baseline accept web-0{flag}");
        let (code, out, err) = ended(&command(&url, &line).output().unwrap());
        assert_eq!((code, out.as_str()), (4, ""), "{err}");
        assert!(err.contains("[precondition-failed]"), "{err}");
        let request = told.iter().nth(1).unwrap();
        assert!(request.contains(condition), "{condition}\n{request}");
    }
}
