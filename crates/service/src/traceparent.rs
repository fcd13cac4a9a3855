//! The header `traceparent` of W3C Trace Context: which trace a request belongs to, and below which span of it.
//!
//! Anybody may send one: it is read strictly, names ids only, and decides nothing. Whether a request is traced is decided
//! here (`traces.one_in`); `tracestate` is not read and not passed on.

use std::fmt;

use axum::http::{HeaderMap, HeaderName};

/// Name of the header.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of `VERSION-TRACE-SPAN-FLAGS` in version 00.
const LENGTH: usize = 55;
/// A later version may have more behind it. What is longer than that is none.
const MAX_LENGTH: usize = 256;

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceparent {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    /// Whether the span is recorded by whoever sends this.
    pub sampled: bool,
}

impl Traceparent {
    /// That of a request; `None` when there is none, more than one, or one that is malformed.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::read(value.as_bytes()) }
    }

    /// Reads the value of the header.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = ids(parts.next()?)?;
        let (trace, span, [flags]) = (ids(parts.next()?)?, ids(parts.next()?)?, ids(parts.next()?)?);
        let whole = match version {
            0x00 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || (more.starts_with(b"-") && value.len() <= MAX_LENGTH),
        };
        let named = trace != [0; 16] && span != [0; 8];
        (whole && named && parts.next().is_none()).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", hex::encode(self.trace), hex::encode(self.span))
    }
}

/// So many bytes of lower-case hex, and no more.
fn ids<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_what_is_written() {
        let read = Traceparent::read(GOOD.as_bytes()).unwrap();
        assert_eq!(read.to_string(), GOOD);
        assert!(read.sampled);
        let not = Traceparent::read(GOOD.replace("b7-01", "b7-00").as_bytes()).unwrap();
        assert_eq!((not.trace, not.sampled), (read.trace, false));
        for later in
            [GOOD.replacen("00", "01", 1), GOOD.replacen("00", "cc", 1) + "-what-the-future-will-be-like"]
        {
            assert_eq!(Traceparent::read(later.as_bytes()), Some(read), "{later}");
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        for cut in 0..GOOD.len() {
            assert_eq!(Traceparent::read(&GOOD.as_bytes()[..cut]), None);
            for byte in [b'-', b'g', b'A', b' ', 0, 0xff] {
                let mut bad = GOOD.as_bytes().to_vec();
                if bad[cut] != byte {
                    bad[cut] = byte;
                    assert_eq!(Traceparent::read(&bad), None, "{}", String::from_utf8_lossy(&bad));
                }
            }
        }
        for bad in [
            GOOD.to_owned() + "-",
            GOOD.to_owned() + "0",
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "01", 1) + "x",
            GOOD.replacen("00", "01", 1) + "-" + &"x".repeat(MAX_LENGTH),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.to_uppercase(),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(Traceparent::read(bad.as_bytes()), None);
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Traceparent::of(&headers), None);
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert!(Traceparent::of(&headers).is_some());
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(Traceparent::of(&headers), None, "two");
    }
}
