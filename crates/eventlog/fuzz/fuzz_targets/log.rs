//! Any bytes as a log: structure, labels, digest checks, story, JSON. One bank is labelled and checked, and a document is
//! written for one input in four: the rest of a run goes to what finds more per second.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::{Document, check_digests, measurements, parse, replay, story};

fuzz_target!(|data: &[u8]| {
    let Ok(log) = parse(data) else { return };
    assert!(log.trailing <= data.len());
    assert!(log.events.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    check_digests(&log);
    story(&log);
    if let Some(bank) = log.active_banks().first() {
        let measured = measurements(&log, *bank);
        let extended = log.session().iter().filter(|e| e.extends() && e.digest(*bank).is_some()).count();
        assert_eq!(measured.len(), extended);
        replay(&log, *bank);
    }
    if data.last().is_some_and(|last| last % 4 == 0) {
        let json = serde_json::to_vec(&Document::new(&log)).expect("a document can always be written");
        assert!(json.len() < 64 * data.len() + 65_536);
    }
});
