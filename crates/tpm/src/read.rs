//! How bytes of TPM structures are read: big-endian, bounded, without copying.

/// A structure that does not have the shape of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Malformed {
    /// What was wrong, in the words of the specification.
    pub what: &'static str,
    /// Offset in bytes from the start of the structure.
    pub offset: usize,
}

/// A cursor that cannot read past its end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// The error for something that was read just now.
    pub(crate) fn fault(&self, what: &'static str) -> Malformed {
        Malformed { what, offset: self.offset }
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.fault(what))?;
        self.rest = rest;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.fault(what))?;
        self.rest = rest;
        self.offset += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A TPM2B: 16 bits of size, then as many bytes, at most `limit`.
    pub(crate) fn sized(&mut self, limit: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let start = self.offset;
        let size = usize::from(self.u16(what)?);
        if size > limit {
            return Err(Malformed { what, offset: start });
        }
        self.take(size, what)
    }

    /// The structure must end here.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fault(what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_reads_past_the_end() {
        let bytes = [0, 3, 1, 2];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.sized(8, "x"), Err(Malformed { what: "x", offset: 2 }));
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.sized(2, "limit"), Err(Malformed { what: "limit", offset: 0 }));
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u64("y"), Err(Malformed { what: "y", offset: 0 }));
        assert_eq!(reader.u16("y"), Ok(3));
        assert_eq!(reader.finish("end"), Err(Malformed { what: "end", offset: 2 }));
    }
}
