//! Any text as a GRUB configuration, a loader entry.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_predict::{LoaderEntry, grub};

fuzz_target!(|bytes: &[u8]| {
    let _ = grub::parse(bytes);
    let _ = LoaderEntry::parse(bytes);
});
