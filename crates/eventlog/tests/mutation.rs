//! Every byte flipped, every length field set to 0, the maximum and one off, every cut: nothing panics, nothing grows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;

/// Logs to mutate: one with everything in both layouts, and the smaller ones of our own machines.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![rich_log().bytes];
    let mut sha1 = Vec::new();
    let agile = rich_log();
    for event in &veriboot_eventlog::parse(&agile.bytes).unwrap().events[1..] {
        let digest: [u8; 20] = event.digests.raw().get(2..22).map_or([0; 20], |d| d.try_into().unwrap());
        sha1_event(&mut sha1, event.pcr, event.event_type.0, &digest, event.data);
    }
    seeds.push(sha1);
    seeds.extend(
        captures()
            .into_iter()
            .filter_map(|(_, path)| std::fs::read(path.join("eventlog.bin")).ok())
            .filter(|b| b.len() < 6_000),
    );
    seeds
}

#[test]
fn each_byte_flipped() {
    for seed in seeds() {
        let mut bytes = seed.clone();
        // Whole bytes for every offset; single bits on a stride that visits each bit position.
        for at in 0..bytes.len() {
            for mask in [0xFF, 1 << (at % 8)] {
                bytes[at] ^= mask;
                exercise(&bytes);
                bytes[at] ^= mask;
            }
        }
    }
}

#[test]
fn each_length_zero_max_and_one_off() {
    for seed in seeds() {
        let log = veriboot_eventlog::parse(&seed).unwrap();
        let mut bytes = seed.clone();
        let ends: Vec<usize> = log.events.iter().skip(1).map(|e| e.offset).chain([seed.len()]).collect();
        for (event, end) in log.events.iter().zip(ends) {
            // The event's own length and, inside its data, every place that could hold a length.
            let start = end - event.data.len();
            for at in [event.offset + 8, start - 4].into_iter().chain((start..end).step_by(2)) {
                let Some(field) = bytes.get(at..at + 4) else { continue };
                let old: [u8; 4] = field.try_into().unwrap();
                let value = u32::from_le_bytes(old);
                for new in [0, 1, value.wrapping_add(1), value.wrapping_sub(1), 0x7FFF_FFFF, u32::MAX] {
                    bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
                    exercise(&bytes);
                }
                bytes[at..at + 4].copy_from_slice(&old);
            }
        }
        assert_eq!(bytes, seed);
    }
}

#[test]
fn cut_at_each_offset() {
    for seed in seeds() {
        for end in (0..seed.len()).step_by(if seed.len() > 4_096 { 3 } else { 1 }) {
            exercise(&seed[..end]);
        }
    }
}

/// The same for the event data alone: each decoder gets each prefix of each event.
#[test]
fn each_event_cut_at_each_length() {
    let rich = rich_log();
    for event in veriboot_eventlog::parse(&rich.bytes).unwrap().events {
        for len in 0..event.data.len() {
            let mut log = LogBuilder::new(&[SHA256]);
            log.raw(event.pcr, event.event_type.0, &[(SHA256, vec![1; 32])], &event.data[..len]);
            exercise(&log.bytes);
        }
    }
}

mod arbitrary {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// Any bytes as the data of any type of event.
        #[test]
        fn any_data_for_any_type(kind in prop_oneof![0_u32..0x20, 0x400_u32..0x420, 0x8000_0000_u32..0x8000_0010, Just(0x8000_00E0)],
                                 pcr in 0_u32..26,
                                 data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut log = super::LogBuilder::new(&[super::SHA256]);
            log.raw(pcr, kind, &[(super::SHA256, vec![1; 32])], &data);
            super::exercise(&log.bytes);
        }

        /// Any bytes as a log.
        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            super::exercise(&data);
        }
    }
}
