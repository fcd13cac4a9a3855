//! Any bytes as a log: structure, replay, labels, story, JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::{Document, measurements, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(log) = parse(data) else { return };
    assert!(log.trailing <= data.len());
    assert!(log.events.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    for bank in log.active_banks() {
        measurements(&log, bank);
    }
    let json = serde_json::to_vec(&Document::new(&log)).expect("a document can always be written");
    assert!(json.len() < 64 * data.len() + 65_536);
});
