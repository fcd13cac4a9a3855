//! Reads TPM answers from their raw bytes, within bounds.

use super::TpmError;

/// A response, split as part 1, 18.9 says: header, handle, parameters. The session area is left out.
#[derive(Debug)]
pub(super) struct Answer {
    /// TPM_RC.
    pub(super) code: u32,
    /// The handle, where the command gives one.
    pub(super) handle: u32,
    parameters: Vec<u8>,
}

const HEADER: usize = 10;
const TAG_SESSIONS: u16 = 0x8002;

impl Answer {
    /// `handles` is 0 or 1 by the command's definition in part 3; a refusal has a header only.
    pub(super) fn parse(bytes: Vec<u8>, handles: usize) -> Result<Self, TpmError> {
        let mut reader = Reader(&bytes);
        let tag = reader.u16()?;
        let size = reader.u32()?;
        let code = reader.u32()?;
        if size as usize != bytes.len() || bytes.len() < HEADER {
            return Err(TpmError::Malformed { what: "its size field differs from its size" });
        }
        if code != 0 {
            return Ok(Self { code, handle: 0, parameters: Vec::new() });
        }
        let handle = if handles == 0 { 0 } else { reader.u32()? };
        let parameters = if tag == TAG_SESSIONS {
            let size = reader.u32()?;
            reader.take(size as usize)?
        } else {
            reader.0
        };
        Ok(Self { code, handle, parameters: parameters.to_vec() })
    }

    /// The parameter area.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader(&self.parameters)
    }
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], TpmError> {
        let (head, tail) =
            self.0.split_at_checked(count).ok_or(TpmError::Malformed { what: "it ends too early" })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        <[u8; N]>::try_from(self.take(N)?).map_err(|_| TpmError::Malformed { what: "it ends too early" })
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), TpmError> {
        self.take(count).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8, TpmError> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The contents of a TPM2B.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }

    /// A TPM2B with its size field, as it stands.
    pub(super) fn sized_raw(&mut self) -> Result<&'a [u8], TpmError> {
        let all = self.0;
        let size = self.sized()?.len() + 2;
        all.get(..size).ok_or(TpmError::Malformed { what: "it ends too early" })
    }
}
