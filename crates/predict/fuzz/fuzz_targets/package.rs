//! Any bytes as `.deb` and `.rpm`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_predict::archive::{deb, rpm};
use veriboot_predict::limits::MAX_KEPT_BYTES;

fuzz_target!(|bytes: &[u8]| {
    for members in [deb(bytes, &|_| true), rpm(bytes, &|_| true)].into_iter().flatten() {
        assert!(members.iter().map(|member| member.bytes.len()).sum::<usize>() <= MAX_KEPT_BYTES);
    }
});
