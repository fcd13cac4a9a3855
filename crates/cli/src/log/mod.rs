//! Offline work on event logs: what a boot was, replayed registers, differences (SPEC section 10).

mod diff;
mod events;
mod show;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use veriboot_eventlog::{Document, EventLog, limits, parse};

use crate::error::CliError;
use crate::output::Output;

/// Commands on event logs. No server, no network.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Tell the story of a boot
    Show {
        /// Event log: TCG 1.2, TCG 2.0 or CCEL; `-` reads standard input
        file: PathBuf,
        /// List every event after the story
        #[arg(long)]
        events: bool,
        /// List only the events of this PCR (or register)
        #[arg(long, value_name = "N")]
        pcr: Option<u32>,
    },
    /// Replay a log and print the registers
    Replay {
        /// Event log; `-` reads standard input
        file: PathBuf,
    },
    /// Explain the difference between two logs; exit code 1 when they differ
    Diff {
        /// The earlier log
        from: PathBuf,
        /// The later log
        to: PathBuf,
    },
}

/// Runs a command. Gives the exit code: 0, or 1 when two logs differ.
pub fn run(command: LogCommand, out: Output) -> Result<u8, CliError> {
    match command {
        LogCommand::Show { file, events, pcr } => {
            let bytes = read(&file)?;
            let log = parse_log(&file, &bytes)?;
            show::show(&file, &log, &show::Options { events, pcr }, out)
        }
        LogCommand::Replay { file } => {
            let bytes = read(&file)?;
            let log = parse_log(&file, &bytes)?;
            if out.json {
                out.print_json(&Document::new(&log))?
            } else {
                show::registers(&log, out)?
            }
            warn_when_cut(&file, &log);
            Ok(0)
        }
        LogCommand::Diff { from, to } => diff::diff(&read(&from)?, &read(&to)?, (&from, &to), out),
    }
}

/// Reads at most one byte more than the engine takes, so that no file makes the CLI run out of memory.
fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    let limit = u64::try_from(limits::MAX_LOG_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let done = if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit).read_to_end(&mut bytes))
    };
    match done {
        Ok(_) => Ok(bytes),
        Err(e) => {
            let error = CliError::usage("cannot-read", format!("cannot read {}: {e}", file.display()));
            Err(if e.kind() == std::io::ErrorKind::PermissionDenied {
                error.hint("the kernel shows its log to root only: /sys/kernel/security/tpm0/binary_bios_measurements")
            } else {
                error
            })
        }
    }
}

fn parse_log<'a>(file: &Path, bytes: &'a [u8]) -> Result<EventLog<'a>, CliError> {
    let refuse = |error: veriboot_eventlog::StructureError| {
        CliError::usage(
            error.code(),
            format!("{} is not an event log: {}, at byte {}", file.display(), error.reason, error.offset),
        )
        .hint("expected the binary log of the firmware (TCG 1.2, TCG 2.0 or CCEL)")
    };
    let log = parse(bytes).map_err(refuse)?;
    match log.cut {
        // A Spec ID event alone says nothing about a boot.
        Some(cut) if log.events.len() <= 1 => Err(refuse(cut)),
        _ => Ok(log),
    }
}

/// Says on standard error that a log could be read only in part.
fn warn_when_cut(file: &Path, log: &EventLog<'_>) {
    if let Some(cut) = &log.cut {
        eprintln!(
            "warning: {} could be read up to byte {} only: {} [{}]",
            file.display(),
            cut.offset,
            cut.reason,
            cut.code()
        );
    }
}
