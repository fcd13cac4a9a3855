//! Whether the certificates of 2023 are there before (or after) those of 2011 end.

use veriboot_wire::{PostureReferences, Time};

use super::with_log;
use crate::references::AUTHORITIES_OF_2011;
use crate::{Outcome, ResourceFacts};

const DAY_S: i64 = 86_400;

pub(crate) fn assess(facts: &ResourceFacts<'_>, references: &PostureReferences, now: Time) -> Outcome {
    let log = match with_log(facts) {
        Ok((_, log)) => log,
        Err(outcome) => return outcome,
    };
    let Some(keys) = log.microsoft_keys else {
        return Outcome::not_applicable(
            "keys-not-measured",
            "The event log has no KEK and db that could be read.",
        );
    };
    let old: Vec<_> = AUTHORITIES_OF_2011.iter().filter(|authority| (authority.has_old)(&keys)).collect();
    if old.is_empty() {
        return Outcome::not_applicable(
            "no-certificate-of-2011",
            "KEK and db have none of Microsoft's certificates of 2011.",
        );
    }
    let missing: Vec<_> = old.iter().filter(|authority| !(authority.has_new)(&keys)).collect();
    let Some(first) = missing.iter().min_by_key(|authority| authority.ends_at_s) else {
        return Outcome::healthy("KEK and db have Microsoft's certificates of 2023 beside those of 2011.");
    };
    let list = |part: &dyn Fn(&crate::Authority2011) -> String| {
        missing.iter().map(|authority| part(authority)).collect::<Vec<_>>().join(", ")
    };
    let lacks = list(&|a| format!("{} in {}", a.new_name, a.list));
    let ends = list(&|a| format!("{} ({})", a.old_name, a.ends_on));
    let left_s = first.ends_at_s.saturating_sub(now.unix_ms().div_euclid(1000));
    if left_s <= 0 {
        return Outcome::unhealthy(
            "ca-2011-expired",
            format!(
                "Missing: {lacks}. The certificates that they replace have ended or are about to: {ends}."
            ),
        );
    }
    if left_s <= i64::from(references.ca_warning_days).saturating_mul(DAY_S) {
        return Outcome::unhealthy(
            "ca-2011-expiring",
            format!("Missing: {lacks}. The certificates that they replace are about to end: {ends}."),
        );
    }
    Outcome::healthy(format!("The certificates of 2011 do not end soon: {ends}."))
}
