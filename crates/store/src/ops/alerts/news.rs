//! What an open alert shows that it did not show before: another code, another component, or another digest of the same.
//!
//! Whoever works on an update is told when something else is found beside it. An agent decides what it boots and how
//! often it attests, so that digests and components are told of a bounded number of times in the life of an alert; codes
//! and classes of change are few, and every one that is new is told.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_wire::{Alert, ChangeClass, Finding};

use crate::StoreError;
use crate::hash::sha256_hex;
use crate::rows::query_in;
use crate::tx::{Tx, json};

/// Times that components and digests are told of while an alert is open.
const MAX_SHOWN: usize = 32;
/// Findings that one step of the timeline tells.
const MAX_TOLD: usize = 3;
/// Characters of each.
const MAX_CHARS: usize = 200;
/// Hex digits that stand for what failed together.
const DIGITS: usize = 16;

/// Something other about an alert than the last time.
pub(super) struct News {
    /// One sentence for the timeline; `None` where that is less than before, and nothing new.
    pub comment: Option<String>,
    /// Everything that was shown, for the alert's row.
    pub shown: String,
}

/// What a finding stands for: code, component, class, and the digest of what was booted.
type Mark<'a> = (&'a str, Option<&'a str>, Option<ChangeClass>, Option<&'a str>);

/// Values of counters and clocks differ each time and say nothing: only of changes it matters what was seen.
fn marks(findings: &[Finding]) -> BTreeSet<Mark<'_>> {
    let seen = |f: &'_ Finding| f.change.is_some();
    let mark = |f| {
        let f: &Finding = f;
        (f.code.as_str(), f.component.as_deref(), f.change, f.seen.as_deref().filter(|_| seen(f)))
    };
    findings.iter().map(mark).collect()
}

fn code_of(mark: &Mark<'_>) -> String {
    format!("code:{}/{}", mark.0, mark.2.map_or("", ChangeClass::as_str))
}

fn set_of(marks: &BTreeSet<Mark<'_>>) -> Result<String, StoreError> {
    let mut digest = sha256_hex(json(marks)?.as_bytes());
    digest.truncate(DIGITS);
    Ok(format!("set:{digest}"))
}

/// Whether these findings are others than the alert has, so that [`news`] has to be asked.
pub(super) fn differs(alert: &Alert, findings: &[Finding]) -> bool {
    marks(&alert.findings) != marks(findings)
}

/// What alerts have shown since they were opened, by id.
pub(super) fn shown(tx: &mut dyn Tx, ids: &[&str]) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let rows = query_in(tx, "SELECT id, shown FROM alerts WHERE id", "", &[], ids)?;
    rows.into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok((c.text()?, c.json()?))
        })
        .collect()
}

/// What these findings show that an open alert has not shown since it was opened: `shown`.
pub(super) fn news(
    open: &Alert,
    findings: &[Finding],
    mut shown: Vec<String>,
) -> Result<Option<News>, StoreError> {
    let (before, now) = (marks(&open.findings), marks(findings));
    let new: Vec<_> = now.difference(&before).collect();
    if new.is_empty() && !shown.is_empty() {
        return Ok(None);
    }
    let known = |shown: &[String], word: &String| shown.contains(word);
    for word in before.iter().map(code_of).chain([set_of(&before)?]) {
        if !known(&shown, &word) {
            shown.push(word);
        }
    }
    if new.is_empty() {
        // What it was opened with is not new when all of it is seen again.
        return Ok(Some(News { comment: None, shown: json(&shown)? }));
    }
    let set = set_of(&now)?;
    let sets = shown.iter().filter(|word| word.starts_with("set:")).count();
    let new_code = new.iter().any(|mark| !known(&shown, &code_of(mark)));
    let new_set = !known(&shown, &set) && sets < MAX_SHOWN;
    if !new_code && !new_set {
        return Ok(None);
    }
    for word in now.iter().map(code_of) {
        if !known(&shown, &word) {
            shown.push(word);
        }
    }
    if new_set {
        shown.push(set);
    }
    let told =
        findings.iter().filter(|f| marks(std::slice::from_ref(*f)).iter().any(|mark| new.contains(&mark)));
    let told: Vec<String> =
        told.take(MAX_TOLD).map(|f| f.message.chars().take(MAX_CHARS).collect()).collect();
    let more = match new.len().saturating_sub(told.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let last = if new_set && sets + 1 == MAX_SHOWN {
        " (from now on other digests and components are counted, and only other kinds of findings are told)"
    } else {
        ""
    };
    let comment = format!("shows what it did not show before: {}{more}{last}", told.join("; "));
    Ok(Some(News { comment: Some(comment), shown: json(&shown)? }))
}
