//! Inputs that fuzzing found: each once made a reader panic or allocate what the input merely claims.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::rc::Rc;

use veriboot_predict::disk::Disk;

#[test]
fn superblocks_that_claim_more_than_the_image_holds_are_passed_over() {
    for name in ["ext4-groups", "ext4-blocks-high"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzzed").join(format!("{name}.bin"));
        let image = std::fs::read(file).unwrap();
        assert!(Disk::open(Rc::new(image)).is_err(), "{name}");
    }
}
