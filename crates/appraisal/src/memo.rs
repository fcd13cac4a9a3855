//! What events of earlier logs say, so that the same event in a log never seen costs a comparison of bytes: it is neither
//! hashed nor decoded nor put into words again.
//!
//! Machines of one image, and boots of one machine, write the same events: variables of Secure Boot, commands of GRUB,
//! separators. What is kept of an event depends on its type, its register, its data and its digests alone, and an event is
//! found by all four of them, byte by byte. So a report is the same with a memo as without one, whoever filled it,
//! and all that anybody can do to it is to make it forget.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use veriboot_eventlog::{ComponentKind, Event, EventType, HashAlg, parse};

use crate::report::{Component, component_of, is_separator};

/// Events with more data are not kept. The largest dbx that anybody ships has half of it.
const MAX_DATA: usize = 64 * 1024;
/// Events with longer digests are not kept: five banks have 186 bytes.
const MAX_DIGESTS: usize = 256;
/// Events that one log adds.
const MAX_PER_LOG: usize = 512;
/// Part of the memo that one log may add.
const SHARE_OF_A_LOG: usize = 16;
/// What an event costs beside its data and its words, from above.
const OVERHEAD: usize = 512;

/// Events of earlier logs and what they say, bounded in bytes.
pub struct Memo {
    known: HashMap<Key, Seen, Keyed>,
    bytes: usize,
    max_bytes: usize,
}

/// The start of its SHA-256 digest, and its register. Finds an event and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(u64, u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // One number: most of the digest is as good as random.
        state.write_u64(self.0 ^ u64::from(self.1).rotate_right(16));
    }
}

/// Hashes numbers by a key of its own, so that nobody can write events that all fall into one place. Each event of a log is
/// looked for, and the hash that `HashMap` brings takes half of that time.
#[derive(Clone)]
struct Keyed(u64, u64);

impl Keyed {
    fn new() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1) | 1)
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { key: self.clone(), state: 0 }
    }
}

struct Folded {
    key: Keyed,
    state: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let [low, high] = [self.state ^ number ^ self.key.0, self.key.1];
        let product = u128::from(low) * u128::from(high);
        self.state = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

/// An event whose data has its digests.
pub(crate) struct Seen {
    event_type: EventType,
    /// By algorithm. The bytes as they stand in a log would not do: how they are divided is said by its header, which nothing
    /// measures.
    digests: Box<[(HashAlg, Box<[u8]>)]>,
    data: Box<[u8]>,
    pub kind: ComponentKind,
    pub component: Arc<Component>,
    /// Whether it was found since the memo was last full.
    used: AtomicBool,
    bytes: usize,
}

impl Memo {
    /// A memo that takes about so many bytes of memory at most. With none it keeps nothing.
    pub fn new(max_bytes: usize) -> Self {
        Self { known: HashMap::with_hasher(Keyed::new()), bytes: 0, max_bytes }
    }

    /// Events that it has.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of memory that they take, estimated from above.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether there is room for any event.
    pub(crate) fn keeps_anything(&self) -> bool {
        self.max_bytes > 0
    }

    /// Whether an event is one that a memo keeps: it says something by itself, and its digest is taken over its data.
    pub(crate) fn would_keep(&self, event: &Event<'_>) -> bool {
        self.keeps_anything()
            && event.data.len() <= MAX_DATA
            && event.digests.raw().len() <= MAX_DIGESTS
            && event.extends()
            && !is_separator(event)
            && (event.stands_alone() || event.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY)
    }

    /// The same event of an earlier log.
    pub(crate) fn find(&self, event: &Event<'_>) -> Option<&Seen> {
        if self.known.is_empty() || is_separator(event) {
            return None;
        }
        let seen = self.known.get(&key(event)?)?;
        let same = seen.event_type == event.event_type
            && seen.digests.iter().map(|(alg, digest)| (*alg, &**digest)).eq(event.digests.iter())
            && *seen.data == *event.data;
        if same && !seen.used.load(Ordering::Relaxed) {
            seen.used.store(true, Ordering::Relaxed);
        }
        same.then_some(seen)
    }

    /// Keeps events of a log, by their indices. They should be those that [`crate::examine_with`] did not find, of a log
    /// that a quote proves: anybody can write other logs. Their digests are computed here.
    pub fn learn(&mut self, log: &[u8], events: &[u32]) {
        let Ok(log) = parse(log) else { return };
        let mut left = self.max_bytes / SHARE_OF_A_LOG;
        for index in events.iter().take(MAX_PER_LOG) {
            let event = usize::try_from(*index).ok().and_then(|at| log.events.get(at));
            let Some(event) = event.filter(|event| self.would_keep(event)) else { continue };
            let Some(key) = key(event) else { continue };
            if self.known.contains_key(&key) || !event.has_digests_of_data(log.format) {
                continue;
            }
            let (kind, component) = component_of(event);
            let bytes = OVERHEAD + event.data.len() + component.heap_bytes();
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
            self.make_room(bytes);
            let seen = Seen {
                event_type: event.event_type,
                digests: event.digests.iter().map(|(alg, digest)| (alg, digest.into())).collect(),
                data: event.data.into(),
                kind,
                component: Arc::new(component),
                used: AtomicBool::new(false),
                bytes,
            };
            self.bytes += bytes;
            self.known.insert(key, seen);
        }
    }

    /// When it is full, what was found since it was full before stays; if that is nearly all, nothing does.
    fn make_room(&mut self, bytes: usize) {
        if self.bytes + bytes <= self.max_bytes {
            return;
        }
        self.known.retain(|_, seen| std::mem::take(seen.used.get_mut()));
        self.bytes = self.known.values().map(|seen| seen.bytes).sum();
        if self.bytes + bytes > self.max_bytes / 4 * 3 {
            self.known.clear();
            self.bytes = 0;
        }
    }
}

fn key(event: &Event<'_>) -> Option<Key> {
    let head = event.digest(HashAlg::Sha256)?.first_chunk()?;
    Some(Key(u64::from_le_bytes(*head), event.pcr))
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memo({} events, {} bytes)", self.known.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of GRUB commands, with digests of what `measured` makes of them.
    fn log(commands: impl Iterator<Item = String>, measured: impl Fn(&str) -> String) -> Vec<u8> {
        let mut log = vec![0; 4];
        log.extend(3_u32.to_le_bytes());
        log.extend([0; 20]);
        let header = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0b\0\x20\0\0";
        log.extend((header.len() as u32).to_le_bytes());
        log.extend(header);
        for command in commands {
            log.extend([8_u32, EventType::EV_IPL.0, 1].into_iter().flat_map(u32::to_le_bytes));
            log.extend([0x0b, 0]);
            log.extend(HashAlg::Sha256.hash(&[measured(&command).as_bytes()]).as_ref());
            let data = format!("grub_cmd: {command}\0");
            log.extend((data.len() as u32).to_le_bytes());
            log.extend(data.as_bytes());
        }
        log
    }

    #[test]
    fn stays_bounded_and_keeps_what_is_used() {
        let mut memo = Memo::new(64 * 1024);
        let used = log(["set root=hd0".to_owned()].into_iter(), str::to_owned);
        memo.learn(&used, &[1]);
        for round in 0..200 {
            assert!(memo.find(&parse(&used).unwrap().events[1]).is_some(), "round {round}");
            let others = log((0..100).map(|n| format!("echo {round} {n}")), str::to_owned);
            memo.learn(&others, &(0..200).collect::<Vec<_>>());
            assert!(memo.bytes <= memo.max_bytes);
            assert_eq!(memo.bytes, memo.known.values().map(|seen| seen.bytes).sum::<usize>());
        }
        assert!(memo.len() > 50, "{memo:?}");
    }

    #[test]
    fn a_memo_full_of_what_is_used_starts_again() {
        let mut memo = Memo::new(64 * 1024);
        for round in 0..100 {
            let others = log((0..5).map(|n| format!("echo {round} {n}")), str::to_owned);
            memo.learn(&others, &[1, 2, 3, 4, 5]);
            let others = parse(&others).unwrap();
            // What came before the new start is gone, what came after it is there.
            let found: Vec<bool> =
                others.events[1..].iter().map(|event| memo.find(event).is_some()).collect();
            assert!(found.is_sorted() && found[4], "round {round}: {found:?}");
            assert!(memo.bytes <= memo.max_bytes);
        }
    }

    /// The header of a log, which nothing measures, says how its digests are divided: a digest that was part of another one's
    /// bytes is not known.
    #[test]
    fn the_same_bytes_under_another_header_are_another_event() {
        let mut raw = vec![0x0b, 0];
        raw.extend(HashAlg::Sha256.hash(&[b"set benign=1"]).as_ref());
        raw.extend([0x77, 0, 0x0c, 0]);
        raw.extend(HashAlg::Sha384.hash(&[b"set evil=1"]).as_ref());
        let log = |algorithms: &[(u16, u16)]| {
            let mut header = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
            header.extend((algorithms.len() as u32).to_le_bytes());
            header.extend(algorithms.iter().flat_map(|(id, size)| [*id, *size]).flat_map(u16::to_le_bytes));
            header.push(0);
            let mut log = [&[0; 4][..], &3_u32.to_le_bytes(), &[0; 20]].concat();
            log.extend((header.len() as u32).to_le_bytes());
            log.extend(header);
            let event = [8, EventType::EV_IPL.0, algorithms.len() as u32];
            log.extend(event.into_iter().flat_map(u32::to_le_bytes));
            log.extend(&raw);
            let data = b"grub_cmd: set benign=1\0";
            log.extend((data.len() as u32).to_le_bytes());
            log.extend(data);
            log
        };
        let (learned, forged) = (log(&[(0x0b, 32), (0x77, 50)]), log(&[(0x0b, 32), (0x77, 0), (0x0c, 48)]));
        let mut memo = Memo::new(1 << 20);
        memo.learn(&learned, &[1]);
        assert!(memo.find(&parse(&learned).unwrap().events[1]).is_some());
        assert!(memo.find(&parse(&forged).unwrap().events[1]).is_none());
        let with = crate::examine_with(&forged, &memo).report;
        assert_eq!(with.findings, crate::examine(&forged).findings);
        assert!(
            with.findings.iter().any(|finding| finding.code == "log-digest-mismatch"),
            "{:?}",
            with.findings
        );
    }

    #[test]
    fn what_does_not_have_its_digest_is_not_kept() {
        let mut memo = Memo::new(1 << 20);
        let forged = log(["set root=hd0".to_owned()].into_iter(), |_| "set root=hd1".to_owned());
        memo.learn(&forged, &[0, 1, 2, u32::MAX]);
        assert!(memo.is_empty());
        // Neither is another log believed that has the digest of a known event and another text.
        let genuine = log(["set root=hd1".to_owned()].into_iter(), str::to_owned);
        memo.learn(&genuine, &[1]);
        assert!(memo.find(&parse(&genuine).unwrap().events[1]).is_some());
        assert!(memo.find(&parse(&forged).unwrap().events[1]).is_none());
    }
}
