//! SHA-256 of extends and of event data, block by block (FIPS 180-4).
//!
//! A log has a hundred messages of one to three blocks; a general hash context costs more than they do. And one message
//! is a chain in which each block waits for the one before it, while a processor with instructions for SHA-256 can work
//! on two chains in three quarters of the time: what does not depend on each other goes in pairs ([`Batch`]).

use sha2::block_api::compress256;

const BLOCK: usize = 64;
/// Longer messages gain nothing here, alone.
pub(crate) const SHORT: usize = 1_024;
/// FIPS 180-4, section 5.3.3.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// What follows a message of 64 bytes.
const PADDING_OF_A_PAIR: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    let [mark, .., high, low] = &mut block;
    *mark = 0x80;
    [*high, *low] = 512_u16.to_be_bytes();
    block
};

/// Digest of two digests, one after the other: TPM2_PCR_Extend of the SHA-256 bank.
pub(crate) fn extend(register: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    let blocks = [pair(register, digest), PADDING_OF_A_PAIR];
    let mut state = START;
    compress256(&mut state, &blocks);
    bytes(state)
}

/// Digest of a message.
pub(crate) fn hash(message: &[u8]) -> [u8; 32] {
    let (whole, rest) = message.as_chunks::<BLOCK>();
    let mut state = START;
    compress256(&mut state, whole);
    let mut last = [[0; BLOCK]; 2];
    if let Some(last) = last.get_mut(..blocks_at_end(rest)) {
        fill_end(last, rest, message.len());
        compress256(&mut state, last);
    }
    bytes(state)
}

/// The block of two digests.
fn pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if let Some((first, second)) = block.split_first_chunk_mut::<32>() {
        *first = *left;
        second.copy_from_slice(right);
    }
    block
}

/// How many blocks follow the whole blocks of a message that ends in `rest`: mark and length need nine bytes.
fn blocks_at_end(rest: &[u8]) -> usize {
    if rest.len() + 9 > BLOCK { 2 } else { 1 }
}

/// Writes the end of a message of so many bytes into blocks of zeros: its rest, a mark and its length.
fn fill_end(blocks: &mut [[u8; BLOCK]], rest: &[u8], len: usize) {
    let end = blocks.as_flattened_mut();
    if let Some((start, [mark, ..])) = end.split_at_mut_checked(rest.len()) {
        start.copy_from_slice(rest);
        *mark = 0x80;
    }
    if let Some(end) = end.last_chunk_mut::<8>() {
        *end = (len as u64).wrapping_mul(8).to_be_bytes();
    }
}

fn bytes(state: [u32; 8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    out
}

/// Digests to compute that do not depend on each other.
pub(crate) struct Batch<'t> {
    tasks: Vec<Task<'t>>,
    /// The last blocks of messages, one message after the other: what is to be taken in lies ready.
    last: Vec<[u8; BLOCK]>,
}

enum Task<'t> {
    /// Whole blocks, and from where to where in [`Batch::last`] the rest is.
    Message { whole: &'t [[u8; BLOCK]], from: usize, to: usize },
    /// A value, and the digests with which it is extended.
    Register { start: &'t [u8; 32], digests: &'t [&'t [u8; 32]] },
}

impl<'t> Batch<'t> {
    /// For about as many tasks.
    pub(crate) fn with_capacity(tasks: usize) -> Self {
        Self { tasks: Vec::with_capacity(tasks), last: Vec::with_capacity(2 * tasks) }
    }

    /// Adds the digest of a message.
    pub(crate) fn message(&mut self, message: &'t [u8]) {
        let (whole, rest) = message.as_chunks();
        let from = self.last.len();
        self.last.resize(from + blocks_at_end(rest), [0; BLOCK]);
        fill_end(self.last.get_mut(from..).unwrap_or_default(), rest, message.len());
        self.tasks.push(Task::Message { whole, from, to: self.last.len() });
    }

    /// Adds the value of a register after it was extended with these digests, in this order.
    pub(crate) fn register(&mut self, start: &'t [u8; 32], digests: &'t [&'t [u8; 32]]) {
        self.tasks.push(Task::Register { start, digests });
    }

    /// Computes all, two at a time, and gives the results in the order in which they were added. Long ones should come
    /// first: the last one runs alone.
    pub(crate) fn compute(&self) -> Vec<[u8; 32]> {
        let mut results = vec![[0; 32]; self.tasks.len()];
        let mut queue = self.tasks.iter().zip(results.iter_mut());
        let (mut left, mut right) = (Lane::default(), Lane::default());
        while left.has_work(&mut queue, &self.last) && right.has_work(&mut queue, &self.last) {
            let (of_left, of_right) = (left.source.blocks(), right.source.blocks());
            let both = of_left.len().min(of_right.len());
            for (a, b) in of_left.iter().zip(of_right) {
                compress256(&mut left.state, std::slice::from_ref(a));
                compress256(&mut right.state, std::slice::from_ref(b));
            }
            left.source.skip(both);
            right.source.skip(both);
        }
        for lane in [&mut left, &mut right] {
            while lane.has_work(&mut queue, &self.last) {
                let blocks = lane.source.blocks();
                let all = blocks.len();
                compress256(&mut lane.state, blocks);
                lane.source.skip(all);
            }
        }
        results
    }
}

/// One of two chains.
struct Lane<'t, 'r> {
    state: [u32; 8],
    source: Source<'t>,
    /// Where the result of its task goes; `None` without a task.
    result: Option<&'r mut [u8; 32]>,
}

/// The blocks that a lane is to take in: those of a message, or those of one extend after the other.
struct Source<'t> {
    now: &'t [[u8; BLOCK]],
    then: &'t [[u8; BLOCK]],
    extend: [[u8; BLOCK]; 2],
    /// The first block of `extend` that is to be taken in.
    from: usize,
    /// Digests with which the register is extended after that.
    digests: &'t [&'t [u8; 32]],
}

impl Default for Lane<'_, '_> {
    fn default() -> Self {
        let extend = [[0; BLOCK], PADDING_OF_A_PAIR];
        let source = Source { now: &[], then: &[], extend, from: 2, digests: &[] };
        Self { state: START, source, result: None }
    }
}

impl<'t, 'r> Lane<'t, 'r> {
    /// Whether there are blocks to take in, of its task or of the next one in the queue.
    #[inline]
    fn has_work(
        &mut self,
        queue: &mut impl Iterator<Item = (&'t Task<'t>, &'r mut [u8; 32])>,
        last: &'t [[u8; BLOCK]],
    ) -> bool {
        while self.source.blocks().is_empty() {
            if let Some(result) = &mut self.result {
                let value = bytes(self.state);
                if self.source.extend(&value) {
                    self.state = START;
                    return true;
                }
                **result = value;
                self.result = None;
            }
            let Some((task, result)) = queue.next() else { return false };
            match task {
                Task::Message { whole, from, to } => {
                    let last = last.get(*from..*to).unwrap_or_default();
                    (self.source.now, self.source.then) =
                        if whole.is_empty() { (last, &[][..]) } else { (*whole, last) };
                }
                Task::Register { start, digests } => {
                    self.source.digests = digests;
                    if !self.source.extend(start) {
                        *result = **start;
                        continue;
                    }
                }
            }
            self.state = START;
            self.result = Some(result);
        }
        true
    }
}

impl Source<'_> {
    #[inline]
    fn blocks(&self) -> &[[u8; BLOCK]] {
        match self.now {
            [] => self.extend.get(self.from..).unwrap_or_default(),
            now => now,
        }
    }

    #[inline]
    fn skip(&mut self, blocks: usize) {
        if self.now.is_empty() {
            self.from += blocks;
            return;
        }
        self.now = self.now.get(blocks..).unwrap_or_default();
        if self.now.is_empty() {
            self.now = std::mem::take(&mut self.then);
        }
    }

    /// Takes up the next digest for a register with this value; whether there is one.
    #[inline]
    fn extend(&mut self, register: &[u8; 32]) -> bool {
        let Some((digest, rest)) = self.digests.split_first() else { return false };
        let [block, _] = &mut self.extend;
        *block = pair(register, digest);
        self.from = 0;
        self.digests = rest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Vec<u8> {
        (0..=300_u32).map(|n| (n * 7) as u8).collect()
    }

    /// Held against the other library for every length around the block borders.
    #[test]
    fn every_length_gives_the_digest_of_the_other_library() {
        let message = message();
        for len in 0..=message.len() {
            let other = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &message[..len]);
            assert_eq!(hash(&message[..len]), other.as_ref(), "{len} bytes");
        }
        let pair: [u8; 64] = message[..64].try_into().unwrap();
        let (left, right) = pair.split_at(32);
        assert_eq!(extend(left.try_into().unwrap(), right.try_into().unwrap()), hash(&pair));
    }

    /// Messages of every length and registers of every length, in several orders, so that either lane runs dry first.
    #[test]
    fn side_by_side_is_what_each_task_gives_alone() {
        let message = message();
        let digests: Vec<[u8; 32]> = (0..9).map(|n| hash(&[n])).collect();
        let digests: Vec<&[u8; 32]> = digests.iter().collect();
        let start = [3; 32];
        // A message of so many bytes, or a register that is extended so many times.
        let mut tasks: Vec<(bool, usize)> = Vec::new();
        for len in 0..=message.len() {
            tasks.extend([(true, len), (false, len % 10)]);
        }
        let alone = |(is_message, len): &(bool, usize)| match is_message {
            true => hash(&message[..*len]),
            false => digests[..*len].iter().fold(start, |register, digest| extend(&register, digest)),
        };
        let together = |tasks: &[(bool, usize)]| {
            let mut batch = Batch::with_capacity(tasks.len());
            for (is_message, len) in tasks {
                match is_message {
                    true => batch.message(&message[..*len]),
                    false => batch.register(&start, &digests[..*len]),
                }
            }
            batch.compute()
        };
        let sorted = |by: fn(&(bool, usize)) -> usize| {
            let mut sorted = tasks.clone();
            sorted.sort_by_key(by);
            sorted
        };
        let orders = [
            tasks.clone(),
            tasks.iter().rev().copied().collect(),
            sorted(|(is_message, len)| if *is_message { *len } else { 96 * len }),
            sorted(|(is_message, _)| usize::from(*is_message)),
            sorted(|(is_message, _)| usize::from(!is_message)),
        ];
        for order in orders {
            let expected: Vec<[u8; 32]> = order.iter().map(alone).collect();
            assert_eq!(together(&order), expected);
            for few in 0..5 {
                assert_eq!(together(&order[..few]), expected[..few], "{few} tasks");
            }
        }
    }
}
