//! Any bytes as the data of any type of event in any register: one byte of type, one of register, the data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::{EventType, HashAlg, measurements, parse, story};

fuzz_target!(|input: &[u8]| {
    let [kind, pcr, data @ ..] = input else { return };
    let kind = EventType::ALL[usize::from(*kind) % EventType::ALL.len()];
    let mut log = Vec::with_capacity(data.len() + 128);
    log.extend([0; 4]);
    log.extend(3_u32.to_le_bytes());
    log.extend([0; 20]);
    log.extend(33_u32.to_le_bytes());
    log.extend(b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0b\0\x20\0\0");
    log.extend(u32::from(pcr % 25).to_le_bytes());
    log.extend(kind.0.to_le_bytes());
    log.extend(1_u32.to_le_bytes());
    log.extend(0x000B_u16.to_le_bytes());
    log.extend([1; 32]);
    log.extend((data.len() as u32).to_le_bytes());
    log.extend(data);
    let log = parse(&log).expect("the frame is well formed");
    assert_eq!(log.events.len(), 2);
    for m in measurements(&log, HashAlg::Sha256) {
        assert!(!m.name.chars().chain(m.value.iter().flat_map(|v| v.chars())).any(char::is_control));
    }
    story(&log);
});
