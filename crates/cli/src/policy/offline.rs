//! Conditions on event logs, without a service.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use veriboot_appraisal::{Profile, examine};
use veriboot_policy::{Boot, Evaluated, Policy, Problem, Subject, Vm};
use veriboot_wire::Finding;

use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, safe};

/// `policy test --json` on event logs.
#[derive(Serialize)]
struct Tested {
    ok: bool,
    problems: Vec<Problem>,
    logs: Vec<TestedLog>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct TestedLog {
    file: PathBuf,
    holds: bool,
    would_fail: bool,
    results: Vec<TestedCondition>,
}

#[derive(Serialize)]
struct TestedCondition {
    id: String,
    #[serde(flatten)]
    result: Evaluated,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<Finding>,
}

#[derive(Serialize)]
struct Skipped {
    file: PathBuf,
    why: String,
}

/// The variables of a log that need no service, and the findings about the log itself.
pub fn read(file: &Path) -> Result<(Boot, Vec<Finding>), CliError> {
    let bytes = crate::log::read(file)?;
    let log = crate::log::parse_log(file, &bytes)?;
    crate::log::warn_when_cut(file, &log);
    Ok(boot(&bytes))
}

fn boot(bytes: &[u8]) -> (Boot, Vec<Finding>) {
    let report = examine(bytes);
    let run_time: BTreeSet<u32> = Profile::default().run_time_pcrs;
    (Boot::read(bytes, &report, None, &run_time), report.findings)
}

/// What is tried.
pub struct Trial<'a> {
    /// The conditions.
    pub policy: &'a Policy,
    /// What the lint said about them.
    pub problems: Vec<Problem>,
    /// The VM that the logs are taken to be of.
    pub vm: Vm<'a>,
}

/// Tries conditions on files. In a folder, files that are no event logs are named and skipped.
pub fn run(trial: Trial<'_>, logs: &[PathBuf], corpus: Option<&Path>, out: Output) -> Result<u8, CliError> {
    let mut tested = Tested { ok: true, problems: trial.problems, logs: Vec::new(), skipped: Vec::new() };
    for file in logs {
        let (boot, findings) = read(file)?;
        tested.logs.push(test(trial.policy, file, &boot, &Subject::new(trial.vm, &findings)));
    }
    for file in corpus.map(super::files_of).transpose()?.unwrap_or_default() {
        match std::fs::read(&file).map_err(|e| e.to_string()).and_then(|bytes| {
            veriboot_eventlog::parse(&bytes).map_err(|e| e.to_string())?;
            Ok(boot(&bytes))
        }) {
            Ok((boot, findings)) => {
                tested.logs.push(test(trial.policy, &file, &boot, &Subject::new(trial.vm, &findings)));
            }
            Err(why) => tested.skipped.push(Skipped { file, why }),
        }
    }
    tested.ok = tested.logs.iter().all(|log| log.holds);
    let exit = if tested.ok { 0 } else { EXIT_NEGATIVE };
    match out.json {
        true => out.print_json(&tested)?,
        false => show(&tested, out)?,
    }
    Ok(exit)
}

fn test(policy: &Policy, file: &Path, boot: &Boot, subject: &Subject<'_>) -> TestedLog {
    let results: Vec<TestedCondition> = policy
        .conditions()
        .iter()
        .map(|condition| {
            let result = condition.evaluate(boot, subject);
            let finding = condition.finding(&result);
            TestedCondition { id: condition.source().id.clone(), result, finding }
        })
        .collect();
    TestedLog {
        file: file.to_owned(),
        holds: results.iter().all(|r| r.result.holds()),
        would_fail: results.iter().filter_map(|r| r.finding.as_ref()).any(Finding::fails),
        results,
    }
}

fn show(tested: &Tested, out: Output) -> Result<(), CliError> {
    for log in &tested.logs {
        let (word, tone) = match (log.holds, log.would_fail) {
            (true, _) => ("holds", Tone::Good),
            (false, false) => ("noted", Tone::Warn),
            (false, true) => ("would fail", Tone::Bad),
        };
        out.line(&format!("{:<10} {}", out.paint(word, tone), safe(&log.file.display().to_string())))?;
        for result in &log.results {
            let said = match &result.result {
                Evaluated::Holds => continue,
                Evaluated::Fails { seen } if seen.is_empty() => "does not hold".to_owned(),
                Evaluated::Fails { seen } => format!("does not hold: {seen}"),
                Evaluated::Absent { variable } => format!("`{variable}` is absent"),
                Evaluated::Error { why } => format!("cannot be evaluated: {why}"),
            };
            out.line(&format!("  {}: {}", safe(&result.id), safe(&said)))?;
        }
    }
    for skipped in &tested.skipped {
        let file = safe(&skipped.file.display().to_string());
        out.line(&format!("{:<10} {file}: {}", out.paint("skipped", Tone::Dim), safe(&skipped.why)))?;
    }
    let failing = tested.logs.iter().filter(|log| !log.holds).count();
    out.line(&format!("event logs that do not meet all conditions: {failing} of {}", tested.logs.len()))
}
