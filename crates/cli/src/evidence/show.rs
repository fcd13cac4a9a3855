//! The verdict on a bundle, for people.

use veriboot_wire::{FactState, Facts, counted};

use super::verify::Report;
use crate::error::CliError;
use crate::output::{Output, Tone, fact_tone, safe, short};

/// Prints verdict, facts and findings.
pub(super) fn show(report: &Report, out: Output) -> Result<(), CliError> {
    let (word, tone) = if report.trusted { ("TRUSTED", Tone::Good) } else { ("NOT TRUSTED", Tone::Bad) };
    let why = match report.findings.first().filter(|f| f.fails()) {
        Some(finding) => format!(": {}", safe(&finding.message)),
        None if report.trusted && report.facts.baseline == FactState::Unknown => {
            let judged =
                if report.log.is_some() { "quote and log; no" } else { "quote alone; no log and no" };
            format!(" ({judged} baseline was compared)")
        }
        None => String::new(),
    };
    out.line(&format!("{}{why}", out.paint(word, tone)))?;
    out.line("")?;
    let mut fields = Vec::new();
    if let Some(key) = &report.key {
        let name = key.name.as_deref().map_or_else(|| "without public area".to_owned(), short);
        fields.push(("Key", format!("{name}, attributes {}", key.attributes)));
        if !key.certificate_path.is_empty() {
            let path: Vec<String> = key.certificate_path.iter().map(|subject| safe(subject)).collect();
            let state = match key.certified {
                Some(true) => "leads to a trusted root",
                Some(false) => "not trusted",
                None => "not checked",
            };
            fields.push(("Certificate", format!("{} ({state})", path.join(" <- "))));
        }
    }
    if let Some(quote) = &report.quote {
        fields.push(("Quote", format!("{}, signed with {}", quote.selection, quote.digest_alg)));
        fields.push(("Nonce", if quote.nonce.is_empty() { "none".to_owned() } else { quote.nonce.clone() }));
        let clock = quote.clock_ms / 1000;
        let safe = if quote.safe { "" } else { " (clock not safe)" };
        let counts =
            format!("reset {}, restart {}, clock {clock} s{safe}", quote.reset_count, quote.restart_count);
        fields.push(("TPM", format!("{counts}, firmware {}", quote.firmware_version)));
    }
    if let Some(log) = &report.log {
        let format = log.format.unwrap_or("unreadable");
        fields.push((
            "Event log",
            format!("{format}, {}, SHA-256 {}", counted(log.bytes, "byte"), short(&log.sha256)),
        ));
    }
    fields.push(("Facts", facts(&report.facts, out)));
    if let Some(stored) = &report.stored {
        let same = match (stored.same, stored.failing.is_empty()) {
            (true, _) => "the same as here".to_owned(),
            (false, true) => "not the same as here".to_owned(),
            (false, false) => format!("not the same as here: {}", safe(&stored.failing.join(", "))),
        };
        let what = format!("{} at {}, {same}", stored.verdict.as_str(), stored.at);
        fields.push(("Service said", format!("{what} ({})", safe(&stored.attestation))));
    }
    out.fields(&fields)?;
    if !report.findings.is_empty() {
        out.line("\nFindings")?;
        out.findings(&report.findings)?;
    }
    Ok(())
}

fn facts(facts: &Facts, out: Output) -> String {
    [
        ("quote", facts.quote),
        ("log", facts.log),
        ("Secure Boot", facts.secure_boot),
        ("baseline", facts.baseline),
        ("endorsement", facts.endorsement),
    ]
    .map(|(name, state)| format!("{name} {}", out.paint(state.as_str(), fact_tone(state))))
    .join(" · ")
}
