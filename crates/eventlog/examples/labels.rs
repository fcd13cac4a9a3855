//! Prints what each event measures, and the events whose digest does not belong to their data.
//!
//! `cargo run -p veriboot-eventlog --example labels -- FILE`

use veriboot_eventlog::{check_digests, measurements, parse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().next_back().ok_or("usage: labels FILE")?;
    let bytes = std::fs::read(path)?;
    let log = parse(&bytes)?;
    let bank = *log.active_banks().last().ok_or("no active bank")?;
    for m in measurements(&log, bank) {
        println!(
            "{:>3} pcr {:>2} {:<22} {} | {} | {}",
            m.event,
            m.pcr,
            m.kind,
            m.name,
            m.value.unwrap_or_default().chars().take(150).collect::<String>(),
            m.signer.unwrap_or_default()
        );
    }
    for m in check_digests(&log) {
        let event = log.events.get(m.event as usize).map(|e| e.event_type.to_string());
        println!(
            "MISMATCH event {} pcr {} {} {event:?} expected {} seen {}",
            m.event, m.pcr, m.bank, m.expected, m.seen
        );
    }
    Ok(())
}
