//! Any bytes as an export, in the format that they look like and in one that the first byte names. What is read is
//! bounded, fit to be shown, and the same when it travels in the declarative form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_inventory::{InventoryFormat, Listing, MAX_TEXT_CHARS, Options, merge, read, to_json};

fn check(listing: Listing) {
    for item in &listing.items {
        assert!(!item.key.is_empty() && !item.name.is_empty());
        assert!(!item.name.chars().any(char::is_control) && item.name.chars().count() <= MAX_TEXT_CHARS);
        assert!(!item.group.chars().any(char::is_control));
    }
    let again = to_json(&listing.items).map(|text| read(text.as_bytes(), &Options::default()));
    assert_eq!(again.unwrap().unwrap().items, listing.items);
    if let Ok(merged) = merge(vec![listing]) {
        assert!(merged.items.is_sorted_by(|a, b| a.key < b.key));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let formats = InventoryFormat::ALL;
    let named = formats[usize::from(*first) % formats.len()];
    for (format, bytes) in [(Some(named), rest), (None, bytes), (None, rest)] {
        match read(bytes, &Options { format, group: None }) {
            Ok(listing) => check(listing),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
        }
    }
});
