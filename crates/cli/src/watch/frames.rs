//! Frames of a stream of server-sent events, read line by line.

use std::io::{BufRead, Read};

/// Longest line, and longest data of one frame, bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// One frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where the stream is after it.
    pub id: Option<u64>,
    /// Kind of frame; empty for a plain message.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// The frames of a stream. It ends where the stream breaks, in the middle of a frame too: that frame is not given.
pub struct Frames<R> {
    reader: R,
}

impl<R: BufRead> Frames<R> {
    /// Over the body of an answer.
    pub fn new(reader: R) -> Self {
        Self { reader }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        self.reader.by_ref().take(most).read_until(b'\n', &mut line).ok()?;
        if line.pop() != Some(b'\n') {
            return None;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).ok()
    }
}

impl<R: BufRead> Iterator for Frames<R> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let mut frame = Frame::default();
        let mut any = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                if any {
                    return Some(frame);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            any |= !field.is_empty();
            match field {
                "id" => frame.id = value.parse().ok(),
                "event" => value.clone_into(&mut frame.event),
                "data" if frame.data.len() + value.len() > MAX_BYTES => return None,
                "data" => {
                    if !frame.data.is_empty() {
                        frame.data.push('\n');
                    }
                    frame.data.push_str(value);
                }
                // A comment, or what this program does not know.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> Vec<Frame> {
        Frames::new(text.as_bytes()).collect()
    }

    fn frame(id: u64, event: &str, data: &str) -> Frame {
        Frame { id: Some(id), event: event.into(), data: data.into() }
    }

    #[test]
    fn frames_are_read_as_the_standard_says() {
        let text = ": hello\nretry: 2000\nid: 7\n\n: alive\n\nid:8\r\nevent: alert.opened\r\ndata: {\"a\":\r\ndata:  1}\r\n\r\n";
        assert_eq!(frames(text), [frame(7, "", ""), frame(8, "alert.opened", "{\"a\":\n 1}")]);
    }

    #[test]
    fn a_broken_frame_is_not_given() {
        let whole = "id: 1\nevent: x\ndata: 1\n\nid: 2\ndata: 22\n\n";
        for cut in 0..whole.len() {
            let found = frames(whole.get(..cut).unwrap());
            let whole = [frame(1, "x", "1"), frame(2, "", "22")];
            assert!(found.len() < 2 && whole.starts_with(&found), "{cut}: {found:?}");
        }
        assert_eq!(frames(whole).len(), 2);
        assert!(frames(&format!("data: {}\n\n", "x".repeat(2 * MAX_BYTES))).is_empty());
        assert!(frames(&format!("{}\n", format!("data: {}\n", "x".repeat(1000)).repeat(2000))).is_empty());
        assert!(Frames::new(&b"data: \xff\n\n"[..]).next().is_none());
    }
}
