//! Any two texts as SBAT level and section of an image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::sbat::{Sbat, compare, compare_levels};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (Some(level), Some(image)) = (Sbat::parse(&input.0), Sbat::parse(&input.1)) else { return };
    for revoked in compare(&level, &image) {
        assert!(revoked.has < revoked.needs);
        assert!(!revoked.component.chars().any(char::is_control));
    }
    assert!(compare_levels(&level, &level).is_empty());
    let _ = (level.date_text(), level.generations_text());
});
