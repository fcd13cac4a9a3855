//! The two key derivations of TPM 2.0 (Part 1, sections 11.4.10.2 and 11.4.10.3).

use aws_lc_rs::{digest, hmac};

use crate::alg::Hash;

/// KDFa: SP 800-108 in counter mode with HMAC. `bytes` is a whole number of bytes, at most 64.
pub(crate) fn kdf_a(hash: Hash, key: &[u8], label: &[u8], u: &[u8], v: &[u8], bytes: u16) -> Vec<u8> {
    let key = hmac::Key::new(hmac_algorithm(hash), key);
    blocks(bytes, |counter| {
        let mut context = hmac::Context::with_key(&key);
        context.update(&counter.to_be_bytes());
        context.update(label);
        context.update(&[0]);
        context.update(u);
        context.update(v);
        context.update(&(u32::from(bytes) * 8).to_be_bytes());
        context.sign()
    })
}

/// KDFe: SP 800-56A concatenation with a hash, for ECDH.
pub(crate) fn kdf_e(hash: Hash, z: &[u8], label: &[u8], u: &[u8], v: &[u8], bytes: u16) -> Vec<u8> {
    blocks(bytes, |counter| {
        let mut context = digest::Context::new(hash.algorithm());
        for part in [&counter.to_be_bytes()[..], z, label, &[0], u, v] {
            context.update(part);
        }
        context.finish()
    })
}

/// The HMAC of this hash.
pub(crate) fn hmac_algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    }
}

fn blocks<B: AsRef<[u8]>>(bytes: u16, block: impl Fn(u32) -> B) -> Vec<u8> {
    let wanted = usize::from(bytes);
    let mut out = Vec::with_capacity(wanted + 64);
    let mut counter = 1;
    while out.len() < wanted {
        out.extend_from_slice(block(counter).as_ref());
        counter += 1;
    }
    out.truncate(wanted);
    out
}
