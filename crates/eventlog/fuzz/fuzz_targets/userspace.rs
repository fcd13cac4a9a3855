//! Any bytes as a log of user space; whatever a record says must be valid JSON again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::{BootLogs, LogsDocument, userspace};

fuzz_target!(|data: &[u8]| {
    let Ok(log) = userspace::parse(data) else { return };
    assert!(!log.records.is_empty());
    userspace::check_words(&log);
    let logs = BootLogs { user_space: Some(&log), ..BootLogs::default() };
    let json = serde_json::to_vec(&LogsDocument::new(&logs)).expect("a document can always be written");
    assert!(json.len() < 64 * data.len() + 65_536);
});
