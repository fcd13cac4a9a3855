//! The shortest log of a boot that a quote can be held against.

/// A log with the bank SHA-256 and one event: an EV_IPL in PCR 8 with this digest.
pub fn of_one_event(digest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut log = vec![0; 4];
    log.extend(3_u32.to_le_bytes());
    log.extend([0; 20]);
    log.extend(33_u32.to_le_bytes());
    log.extend(b"Spec ID Event03\0");
    log.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
    log.extend(8_u32.to_le_bytes());
    log.extend(0xd_u32.to_le_bytes());
    log.extend(1_u32.to_le_bytes());
    log.extend(0x0b_u16.to_le_bytes());
    log.extend(digest);
    log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    log.extend(data);
    log
}
