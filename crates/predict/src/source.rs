//! Bytes at an offset: what a disk image is read through, so that this crate never opens a file.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits::{MAX_DISK_BYTES, READ_COST};

/// A read that did not give all bytes that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {bytes} bytes at offset {offset}: {reason}")]
pub struct ReadError {
    /// Offset in bytes.
    pub offset: u64,
    /// Bytes that were asked for.
    pub bytes: usize,
    /// Why.
    pub reason: String,
}

/// Random access to an image. All offsets in bytes.
pub trait Source {
    /// Bytes of the image.
    fn bytes(&self) -> u64;

    /// Fills `buffer` from `offset`, wholly or with an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError>;
}

impl<S: Source + ?Sized> Source for std::rc::Rc<S> {
    fn bytes(&self) -> u64 {
        self.as_ref().bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.as_ref().read_at(offset, buffer)
    }
}

impl Source for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let part =
            usize::try_from(offset).ok().and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        match part {
            Some(part) => {
                buffer.copy_from_slice(part);
                Ok(())
            }
            None => Err(past_end(offset, buffer.len())),
        }
    }
}

/// The error of a read behind the end.
pub(crate) fn past_end(offset: u64, bytes: usize) -> ReadError {
    ReadError { offset, bytes, reason: "it is behind the end".to_owned() }
}

/// How much of an image may still be read. A small qcow2 image, or a file system whose chains share their clusters, can
/// show far more than it has.
#[derive(Debug)]
pub(crate) struct Meter(Cell<u64>);

impl Meter {
    pub fn new(bytes: u64) -> Self {
        Self(Cell::new(bytes))
    }

    /// Takes note of bytes that were read, unpacked or looked through.
    pub fn charge(&self, bytes: u64) -> Result<(), ReadError> {
        match self.0.get().checked_sub(bytes) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                let reason = format!("more than {MAX_DISK_BYTES} bytes would have to be read");
                Err(ReadError { offset: 0, bytes: 0, reason })
            }
        }
    }
}

/// A source of which no more is read than a meter has left.
pub(crate) struct Metered {
    pub source: Rc<dyn Source>,
    pub meter: Rc<Meter>,
}

impl Source for Metered {
    fn bytes(&self) -> u64 {
        self.source.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.meter.charge(READ_COST.max(buffer.len() as u64))?;
        self.source.read_at(offset, buffer)
    }
}

/// A part of another source: one partition.
#[derive(Clone, Debug)]
pub(crate) struct Window<S> {
    pub source: S,
    pub start: u64,
    pub bytes: u64,
}

impl<S: Source> Source for Window<S> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.bytes);
        match end.and_then(|_| self.start.checked_add(offset)) {
            Some(at) => self.source.read_at(at, buffer),
            None => Err(past_end(offset, buffer.len())),
        }
    }
}

/// Little-endian integers out of a block that was read.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    pub fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    pub fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    pub fn u32_be(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
    pub fn u64_be(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
}

/// SHA-256 over a whole image.
pub fn sha256_of(source: &dyn Source) -> Result<veriboot_eventlog::Digest, ReadError> {
    const CHUNK: u64 = 1 << 20;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0_u8; 1 << 20];
    let mut at = 0;
    while at < source.bytes() {
        let count = usize::try_from((source.bytes() - at).min(CHUNK)).unwrap_or_default();
        let part = buffer.get_mut(..count).unwrap_or_default();
        source.read_at(at, part)?;
        context.update(part);
        at += count as u64;
    }
    veriboot_eventlog::Digest::new(context.finish().as_ref()).ok_or_else(|| past_end(0, 0))
}
