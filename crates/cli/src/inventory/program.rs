//! Runs a program whose answer nobody here answers for: bounded in size and time.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Bytes of complaints that are read, and characters that are shown.
const MAX_COMPLAINT_BYTES: usize = 64 * 1024;
const MAX_COMPLAINT_CHARS: usize = 500;
/// Between two looks whether it ended.
const LOOK: Duration = Duration::from_millis(10);

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// There is no such program.
    Absent,
    /// It cannot be started.
    Start(std::io::Error),
    /// It says more than it may.
    TooMuch,
    /// It takes longer than it may.
    TooLong,
    /// It failed, and says this: one line, without control characters.
    Said(String),
}

/// What a program prints, at most `most` bytes, when it ends well within `patience`.
pub fn run(program: &str, args: &[&str], most: usize, patience: Duration) -> Result<Vec<u8>, Failed> {
    let until = Instant::now() + patience;
    let child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failed::Absent,
        _ => Failed::Start(error),
    })?;
    let answer = answer(&mut child, most, until);
    if answer.is_err() {
        // Also what ended already is waited for. What it started in turn is not ours to end, and nobody waits for it.
        let _ = child.kill();
        let _ = child.wait();
    }
    answer
}

fn answer(child: &mut Child, most: usize, until: Instant) -> Result<Vec<u8>, Failed> {
    let printed = reader(child.stdout.take(), most)?;
    let complaints = reader(child.stderr.take(), MAX_COMPLAINT_BYTES)?;
    let left = || until.saturating_duration_since(Instant::now());
    let printed = printed.recv_timeout(left()).map_err(|_| Failed::TooLong)?;
    if printed.len() > most {
        return Err(Failed::TooMuch);
    }
    let complaints = complaints.recv_timeout(left()).map_err(|_| Failed::TooLong)?;
    if complaints.len() > MAX_COMPLAINT_BYTES {
        return Err(Failed::Said(one_line(&complaints)));
    }
    loop {
        match child.try_wait().map_err(Failed::Start)? {
            Some(status) if status.success() => return Ok(printed),
            Some(_) => return Err(Failed::Said(one_line(&complaints))),
            None if left().is_zero() => return Err(Failed::TooLong),
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Reads to the end, or one byte more than `most`, on a thread of its own, which may outlive its use: the output may be kept
/// open by somebody else.
fn reader(from: Option<impl Read + Send + 'static>, most: usize) -> Result<Receiver<Vec<u8>>, Failed> {
    let (sender, receiver) = channel();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // What was read until it failed is all there is.
            let _ = from.take(most).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    };
    std::thread::Builder::new().spawn(read).map_err(Failed::Start)?;
    Ok(receiver)
}

fn one_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    lines.join("; ").chars().take(MAX_COMPLAINT_CHARS).map(visible).collect()
}
