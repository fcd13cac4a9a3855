//! Offline work on event logs: what a boot was, replayed registers, differences (SPEC section 10).

mod diff;
mod events;
mod later;
mod load;
mod show;

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use load::Loaded;
use veriboot_eventlog::{BootLogs, Document, EventLog, LogsDocument, limits, parse};

use crate::error::CliError;
use crate::output::Output;

/// Commands on event logs. No server, no network.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Tell the story of a boot
    Show {
        /// Log of the firmware (TCG 1.2, TCG 2.0, CCEL), of Linux IMA, of systemd or pcrlock; `-` reads standard input
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
        /// Log of any kind; `-` reads standard input
        file: PathBuf,
        /// List of Linux IMA to replay after it: PCR 10
        #[arg(long, value_name = "FILE")]
        ima: Option<PathBuf>,
        /// Log of systemd to replay after it: PCR 11 and 15
        #[arg(long, value_name = "FILE")]
        userspace: Option<PathBuf>,
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
            let options = show::Options { events, pcr };
            match Loaded::new(&file, &bytes)? {
                Loaded::Firmware(log) => show::show(&file, &log, &options, out),
                later => later::show(&file, &later, &options, out),
            }
        }
        LogCommand::Replay { file, ima, userspace } => {
            replay(&file, ima.as_deref(), userspace.as_deref(), out)?;
            Ok(0)
        }
        LogCommand::Diff { from, to } => diff::diff(&read(&from)?, &read(&to)?, (&from, &to), out),
    }
}

/// Replays one log, or several of one boot.
fn replay(file: &Path, ima: Option<&Path>, userspace: Option<&Path>, out: Output) -> Result<(), CliError> {
    let bytes = read(file)?;
    let loaded = Loaded::new(file, &bytes)?;
    let ima_bytes = ima.map(read).transpose()?;
    let list = ima.zip(ima_bytes.as_deref()).map(|(file, bytes)| load::ima(file, bytes)).transpose()?;
    let user_bytes = userspace.map(read).transpose()?;
    let user = userspace
        .zip(user_bytes.as_deref())
        .map(|(file, bytes)| load::user_space(file, bytes))
        .transpose()?;
    let mut logs = loaded.alone();
    if logs.ima.is_some() && list.is_some() || logs.user_space.is_some() && user.is_some() {
        return Err(CliError::usage("log-twice", "two logs of one kind were given; a boot has one of each")
            .hint("give the log of the firmware first, the others with --ima and --userspace"));
    }
    logs = BootLogs {
        firmware: logs.firmware,
        ima: logs.ima.or(list.as_ref()),
        user_space: logs.user_space.or(user.as_ref()),
    };
    match (logs, out.json) {
        (BootLogs { firmware: Some(log), ima: None, user_space: None }, true) => {
            out.print_json(&Document::new(log))?;
        }
        (BootLogs { firmware: Some(log), ima: None, user_space: None }, false) => show::registers(log, out)?,
        (_, true) => out.print_json(&LogsDocument::new(&logs))?,
        (_, false) => later::registers(&logs, out)?,
    }
    loaded.warn_when_cut(file);
    if let Some((file, list)) = ima.zip(list) {
        Loaded::Ima(list).warn_when_cut(file);
    }
    if let Some((file, log)) = userspace.zip(user) {
        Loaded::UserSpace(log).warn_when_cut(file);
    }
    Ok(())
}

/// Reads at most one byte more than the engine takes, so that no file makes the CLI run out of memory.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, CliError> {
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
            let error = CliError::unreadable("cannot-read", file, &e);
            Err(match e.kind() {
                ErrorKind::PermissionDenied => error.hint(
                    "the kernel shows its log to root only: /sys/kernel/security/tpm0/binary_bios_measurements",
                ),
                ErrorKind::NotFound => error.hint(
                    "check the path; the kernel's log is /sys/kernel/security/tpm0/binary_bios_measurements",
                ),
                _ => error,
            })
        }
    }
}

pub(crate) fn parse_log<'a>(file: &Path, bytes: &'a [u8]) -> Result<EventLog<'a>, CliError> {
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
pub(crate) fn warn_when_cut(file: &Path, log: &EventLog<'_>) {
    if let Some(cut) = &log.cut {
        warn_cut(file, cut.offset, &cut.reason.to_string(), cut.code());
    }
}

fn warn_cut(file: &Path, offset: usize, reason: &str, code: &str) {
    eprintln!("warning: {} could be read up to byte {offset} only: {reason} [{code}]", file.display());
}
