//! Where values of a JSON text are, without reading them: linear, no recursion, nothing allocated. What it finds is
//! read strictly afterwards.

/// Offset of the first byte that is no white space (RFC 8259, section 2) or record separator (RFC 7464), from `at`.
pub(super) fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x1E)).count()
}

/// The value that starts at `at`; `None` when it does not end.
pub(super) fn value(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let len = match rest.first()? {
        b'"' => string_len(rest)?,
        b'{' | b'[' => nested_len(rest)?,
        _ => rest
            .iter()
            .position(|b| matches!(b, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n' | 0x1E))
            .unwrap_or(rest.len()),
    };
    rest.get(..len).filter(|value| !value.is_empty())
}

/// Length of the string that these bytes start with, quotes included.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            // A separator cannot be inside a JSON text: the record before it was cut.
            0x1E => return None,
            _ => {}
        }
    }
    None
}

/// Length of the object or array that these bytes start with.
fn nested_len(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string_len(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            0x1E => return None,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The members of an object, or the elements of an array with an empty name: name without quotes, place, value.
pub(super) struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
    named: bool,
    first: bool,
}

/// A part of an object or array, or `Err` with the offset where its syntax breaks.
pub(super) type Part<'a> = Result<(&'a [u8], usize, &'a [u8]), usize>;

impl<'a> Parts<'a> {
    /// The parts of the value that starts at `at`, which is `{` or `[`.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at + 1, named: bytes.get(at) == Some(&b'{'), first: true }
    }

    fn part(&mut self) -> Option<Part<'a>> {
        let mut at = skip_space(self.bytes, self.at);
        match self.bytes.get(at) {
            Some(b'}' | b']') => return None,
            Some(b',') if !self.first => at = skip_space(self.bytes, at + 1),
            Some(_) if self.first => {}
            _ => return Some(Err(at)),
        }
        self.first = false;
        let mut name: &[u8] = b"";
        if self.named {
            let Some(quoted) = value(self.bytes, at).filter(|v| v.starts_with(b"\"")) else {
                return Some(Err(at));
            };
            name = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            at = skip_space(self.bytes, at + quoted.len());
            if self.bytes.get(at) != Some(&b':') {
                return Some(Err(at));
            }
            at = skip_space(self.bytes, at + 1);
        }
        let Some(found) = value(self.bytes, at) else { return Some(Err(at)) };
        self.at = at + found.len();
        Some(Ok((name, at, found)))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = self.part();
        if matches!(part, None | Some(Err(_))) {
            // Nothing after the end, or after an error.
            (self.bytes, self.at, self.first) = (b"}", 0, true);
        }
        part
    }
}
