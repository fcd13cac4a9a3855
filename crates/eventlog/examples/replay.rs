//! Reads a log and prints its replayed registers, events and story as JSON.
//!
//! `cargo run -p veriboot-eventlog --example replay -- FILE`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().next_back().ok_or("usage: replay FILE")?;
    let bytes = std::fs::read(path)?;
    let log = veriboot_eventlog::parse(&bytes)?;
    serde_json::to_writer_pretty(std::io::stdout().lock(), &veriboot_eventlog::Document::new(&log))?;
    Ok(())
}
