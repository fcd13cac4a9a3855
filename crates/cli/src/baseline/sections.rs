//! Parts of answers about baselines that several commands show.

use std::collections::BTreeSet;

use veriboot_appraisal::{Baseline, Flaw};

use super::document;
use crate::error::CliError;
use crate::output::{Output, Tone, safe};

/// Accepted boots, when there are several or partial ones.
pub fn boots(baseline: &Baseline, out: Output) -> Result<(), CliError> {
    if baseline.boots.len() < 2 && baseline.boots.iter().all(|boot| boot.pcrs.is_none()) {
        return Ok(());
    }
    out.line("")?;
    out.line("Accepted boots, oldest first")?;
    for (at, boot) in baseline.boots.iter().enumerate() {
        let pcrs = boot.pcrs.as_ref().map_or_else(|| "all PCRs".to_owned(), pcr_list);
        out.line(&format!("  boots[{at}]  {pcrs}, {}", document::source(&boot.source)))?;
    }
    Ok(())
}

/// What was merged while learning.
pub fn merged(baseline: &Baseline, out: Output) -> Result<(), CliError> {
    if baseline.merged.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line("Left to vary")?;
    for merged in &baseline.merged {
        out.line(&format!("  {}", safe(&merged.what)))?;
        out.line(&out.paint(&format!("    {}", safe(&merged.because)), Tone::Dim))?;
    }
    Ok(())
}

/// What is wrong with a baseline.
pub fn flaws(flaws: &[Flaw], out: Output) -> Result<(), CliError> {
    if flaws.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line("What is wrong with the baseline")?;
    for flaw in flaws {
        let (word, tone) = if flaw.refused { ("refused", Tone::Bad) } else { ("warning", Tone::Warn) };
        let place = if flaw.place.is_empty() { String::new() } else { format!("{}: ", flaw.place) };
        let word = out.paint(&format!("{word:<8}"), tone);
        out.line(&format!("  {word} {place}{}", safe(&flaw.message)))?;
        out.line(&format!("           {}", flaw.code))?;
        out.line(&format!("           hint: {}", flaw.hint))?;
    }
    Ok(())
}

fn pcr_list(pcrs: &BTreeSet<u32>) -> String {
    let list: Vec<String> = pcrs.iter().map(u32::to_string).collect();
    match list.len() {
        1 => format!("PCR {}", list.concat()),
        _ => format!("PCRs {}", list.join(", ")),
    }
}
