//! Any bytes as a measurement list of IMA, binary or ASCII.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::{BootLogs, LogsDocument, ima};

fuzz_target!(|data: &[u8]| {
    let Ok(list) = ima::parse(data) else { return };
    assert!(list.entries.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    for entry in &list.entries {
        if let Some(name) = entry.decode().name() {
            assert!(!name.to_string().chars().any(char::is_control));
        }
    }
    let logs = BootLogs { ima: Some(&list), ..BootLogs::default() };
    let json = serde_json::to_vec(&LogsDocument::new(&logs)).expect("a document can always be written");
    assert!(json.len() < 64 * data.len() + 65_536);
});
