//! SHA-256 of extends and of short event data, block by block (FIPS 180-4).
//!
//! A log has a hundred messages of one to three blocks; a general hash context costs more than they do.

use sha2::block_api::compress256;

const BLOCK: usize = 64;
/// Longer messages gain nothing here.
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
    let mut blocks = [[0; BLOCK], PADDING_OF_A_PAIR];
    let [pair, _] = &mut blocks;
    if let Some((left, right)) = pair.split_first_chunk_mut::<32>() {
        *left = *register;
        right.copy_from_slice(digest);
    }
    let mut state = START;
    compress256(&mut state, &blocks);
    bytes(state)
}

/// Digest of a message.
pub(crate) fn hash(message: &[u8]) -> [u8; 32] {
    let (whole, rest) = message.as_chunks::<BLOCK>();
    let mut state = START;
    compress256(&mut state, whole);
    // The rest is below one block; mark and length need nine bytes more.
    let mut last = [[0_u8; BLOCK]; 2];
    let blocks = if rest.len() + 9 <= BLOCK { 1 } else { 2 };
    let tail = last.as_flattened_mut();
    if let Some((start, after)) = tail.split_at_mut_checked(rest.len()) {
        start.copy_from_slice(rest);
        if let Some(mark) = after.first_mut() {
            *mark = 0x80;
        }
    }
    let bits = (message.len() as u64).wrapping_mul(8);
    if let Some(end) = tail.get_mut(..blocks * BLOCK).and_then(<[u8]>::last_chunk_mut::<8>) {
        *end = bits.to_be_bytes();
    }
    compress256(&mut state, last.get(..blocks).unwrap_or_default());
    bytes(state)
}

fn bytes(state: [u32; 8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held against the other library for every length around the block borders.
    #[test]
    fn every_length_gives_the_digest_of_the_other_library() {
        let message: Vec<u8> = (0..=300_u32).map(|n| (n * 7) as u8).collect();
        for len in 0..=message.len() {
            let other = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &message[..len]);
            assert_eq!(hash(&message[..len]), other.as_ref(), "{len} bytes");
        }
        let pair: [u8; 64] = message[..64].try_into().unwrap();
        let (left, right) = pair.split_at(32);
        assert_eq!(extend(left.try_into().unwrap(), right.try_into().unwrap()), hash(&pair));
    }
}
