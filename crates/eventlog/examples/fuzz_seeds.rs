//! Cuts logs into seeds for the fuzz targets: `fuzz_seeds FOLDER LOG…`.
//!
//! Short inputs are fuzzed faster than whole logs. FOLDER gets `log` (a header with one event each), `event_data` (type,
//! register, data) and `structures` (the data alone). Logs that cannot be read are left out.

use std::path::Path;

use veriboot_eventlog::{EventType, parse};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: fuzz_seeds FOLDER LOG…");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    for target in ["log", "event_data", "structures"] {
        std::fs::create_dir_all(folder.join(target))?;
    }
    for (number, path) in arguments.enumerate() {
        let bytes = std::fs::read(path)?;
        let Ok(log) = parse(&bytes) else { continue };
        let end = |index: usize| log.events.get(index).map_or(bytes.len() - log.trailing, |e| e.offset);
        let header = bytes.get(..end(1)).unwrap_or_default();
        for (index, event) in log.events.iter().enumerate().skip(1) {
            let name = format!("{number}-{index}");
            let record = bytes.get(event.offset..end(index + 1)).unwrap_or_default();
            std::fs::write(folder.join("log").join(&name), [header, record].concat())?;
            std::fs::write(folder.join("structures").join(&name), event.data)?;
            let kind = EventType::ALL.iter().position(|kind| *kind == event.event_type);
            if let Some(kind) = kind.and_then(|kind| u8::try_from(kind).ok()) {
                let register = u8::try_from(event.pcr).unwrap_or(0);
                let seed = [&[kind, register], event.data].concat();
                std::fs::write(folder.join("event_data").join(&name), seed)?;
            }
        }
    }
    Ok(())
}
