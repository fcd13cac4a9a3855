//! Parts of answers about baselines that several commands show.

use std::collections::BTreeSet;

use veriboot_appraisal::{Authority, Baseline, Flaw, Says, Unlisted};
use veriboot_wire::counted;

use super::document;
use crate::error::CliError;
use crate::output::{Output, Tone, safe, short};

/// Everything of a document but its measurements.
pub fn whole(baseline: &Baseline, out: Output) -> Result<(), CliError> {
    boots(baseline, out)?;
    rules(baseline, out)?;
    merged(baseline, out)?;
    flaws(&baseline.flaws(), "baseline", out)
}

/// The rules, one line each.
fn rules(baseline: &Baseline, out: Output) -> Result<(), CliError> {
    if !baseline.rules.is_empty() {
        out.line("")?;
        out.line("Rules")?;
    }
    for (at, rule) in baseline.rules.iter().enumerate() {
        out.line(&format!("  rules[{at}]  {}: {}", rule.component.title(), safe(&said(&rule.says))))?;
        if let Some(description) = &rule.description {
            out.line(&out.paint(&format!("            {}", safe(description)), Tone::Dim))?;
        }
    }
    if baseline.unlisted == Unlisted::Note {
        out.line("  What no boot and no rule speaks of is accepted")?;
    }
    Ok(())
}

/// What a rule says, in words.
fn said(says: &Says) -> String {
    match says {
        Says::Digests(digests) => format!("{} accepted", counted(digests.len(), "digest")),
        Says::Authorities(authorities) => {
            let name = |authority: &Authority| match authority.subject.as_str() {
                "" => short(&authority.sha256.to_string()),
                subject => subject.to_owned(),
            };
            format!("admitted by {}", listed(authorities.iter().map(name)))
        }
        Says::Minimum(minimum) => {
            let mut parts = Vec::new();
            parts.extend(minimum.level.map(|level| format!("level {level}")));
            parts.extend(minimum.generations.iter().map(|(component, least)| format!("{component} {least}")));
            parts.extend(minimum.entries.map(|entries| counted(entries, "entry")));
            if !minimum.hashes.is_empty() {
                parts.push(format!("{} revoked", counted(minimum.hashes.len(), "hash")));
            }
            format!("at least {}", listed(parts.into_iter()))
        }
        Says::Parameters(parameters) => {
            let mut parts = Vec::new();
            for (word, patterns) in [
                ("requires", &parameters.required),
                ("allows", &parameters.allowed),
                ("forbids", &parameters.forbidden),
            ] {
                if !patterns.is_empty() {
                    parts.push(format!("{word} {}", listed(patterns.iter().map(ToString::to_string))));
                }
            }
            if parameters.forbid_dangerous {
                parts.push("forbids what is known to be dangerous".to_owned());
            }
            parts.join("; ")
        }
        Says::State(state) => {
            listed(state.iter().map(|(flag, switch)| format!("{} {}", flag.as_str(), switch.as_str())))
        }
        Says::Any(patterns) => {
            format!("whatever is called {}", listed(patterns.iter().map(ToString::to_string)))
        }
    }
}

/// The first members, and how many more there are.
fn listed(members: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 6;
    let total = members.len();
    let mut text = members.take(SHOWN).collect::<Vec<_>>().join(", ");
    if total > SHOWN {
        text.push_str(&format!(" and {} more", total - SHOWN));
    }
    text
}

/// Accepted boots, when there are several or partial ones.
fn boots(baseline: &Baseline, out: Output) -> Result<(), CliError> {
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
fn merged(baseline: &Baseline, out: Output) -> Result<(), CliError> {
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

/// What is wrong with a baseline or a profile.
pub fn flaws(flaws: &[Flaw], of: &str, out: Output) -> Result<(), CliError> {
    if flaws.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.line(&format!("What is wrong with the {of}"))?;
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
