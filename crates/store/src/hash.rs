//! SHA-256.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256, lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}
