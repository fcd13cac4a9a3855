//! Whether TPM clock and counters only went forward since the last quote of the same TPM.
//!
//! Quotes by a key outside of the endorsement and platform hierarchies carry resetCount, restartCount and
//! firmwareVersion plus an offset that the TPM derives from the hierarchy's proof value and the key (TPM 2.0 Part 1,
//! section 36.7, obfuscation). The offset is the same in every quote of one key and is added modulo the width of the
//! field. Differences between two quotes of one key are therefore the true differences modulo 2^32 (2^64), and are
//! read as signed numbers: the upper half is "went back".
//!
//! Another key of the same TPM ends nothing: a restored snapshot could enrol a new key at will. Keys of the endorsement
//! hierarchy have no offset, so their quotes compare as before. A key elsewhere has an offset of its own; it shows in
//! the firmware version, whose 64 bits nobody hits by trying keys, and then nothing can be compared.

use veriboot_tpm::Quote;
use veriboot_wire::{Finding, counted};

use crate::code;
use crate::conclude::PreviousBoot;

/// The TPM saves its clock at least this often, so an unorderly reset can set it back by as much (Part 1, section
/// 36.3: the update interval is at most 2^22 milliseconds, about 70 minutes).
const CLOCK_SAVE_INTERVAL_MS: u64 = 1 << 22;

/// Whether quote and `previous` are of the same boot: no reset, restart or resume between them.
pub(crate) fn same_boot(quote: &Quote, previous: &PreviousBoot) -> bool {
    quote.reset_count == previous.reset_count && quote.restart_count == previous.restart_count
}

/// Findings about clock, counters and firmware version. A normal reboot has none.
pub(crate) fn check(quote: &Quote, previous: &PreviousBoot) -> Vec<Finding> {
    let mut findings = Vec::new();
    if previous.ak_replaced {
        findings.push(replaced());
    }
    let resets = signed32(quote.reset_count, previous.reset_count);
    let restarts = signed32(quote.restart_count, previous.restart_count);
    if resets < 0 {
        findings.push(back(
            code::RESET_COUNT_WENT_BACK.finding(format!(
                "The TPM was reset {} less than at the last attestation: a snapshot was restored, the TPM was \
                 cleared, or another copy of the vTPM answers",
                counted(resets.unsigned_abs(), "time")
            )),
            previous.reset_count,
            quote.reset_count,
        ));
    }
    if resets == 0 && restarts < 0 {
        findings.push(back(
            code::RESTART_COUNT_WENT_BACK.finding(
                "The TPM was resumed less often than at the last attestation of this boot: a snapshot was restored or \
                 another copy of the vTPM answers",
            ),
            previous.restart_count,
            quote.restart_count,
        ));
    }
    let lost_at_most = if resets > 0 { CLOCK_SAVE_INTERVAL_MS } else { 0 };
    if resets >= 0 && quote.clock_ms.saturating_add(lost_at_most) < previous.clock_ms {
        findings.push(back(
            code::CLOCK_WENT_BACK.finding(
                "The TPM's clock is earlier than at the last attestation: a snapshot was restored or another copy of \
                 the vTPM answers",
            ),
            format!("{} ms or later", previous.clock_ms),
            format!("{} ms", quote.clock_ms),
        ));
    }
    findings.extend(firmware(quote, previous, resets));
    findings
}

fn firmware(quote: &Quote, previous: &PreviousBoot, resets: i32) -> Option<Finding> {
    let step = quote.firmware_version.wrapping_sub(previous.firmware_version).cast_signed();
    let finding = match step {
        0 => return None,
        _ if previous.ak_replaced => code::AK_NOT_COMPARABLE.finding(
            "The attestation key was replaced and the TPM's firmware version is another one: whether the TPM was set \
             back cannot be seen any more",
        ),
        _ if resets == 0 => code::TPM_FIRMWARE_CHANGED_WHILE_RUNNING
            .finding("The TPM's firmware version changed without a reset: another TPM answers"),
        1.. => code::TPM_FIRMWARE_CHANGED.finding("The TPM runs newer firmware than at the last attestation"),
        _ => code::TPM_FIRMWARE_WENT_BACK.finding("The TPM runs older firmware than at the last attestation"),
    };
    let mut finding = back(
        finding,
        format!("{:#018x}", previous.firmware_version),
        format!("{:#018x}", quote.firmware_version),
    );
    if previous.ak_replaced {
        return Some(finding);
    }
    finding.hint = Some(
        "The numbers may carry a constant offset that hides them; only their difference counts. Ask who maintains \
         the hypervisor whether the vTPM was updated."
            .to_owned(),
    );
    Some(finding)
}

fn back(mut finding: Finding, expected: impl ToString, seen: impl ToString) -> Finding {
    finding.component = Some("TPM".to_owned());
    finding.expected = Some(expected.to_string());
    finding.seen = Some(seen.to_string());
    finding.hint.get_or_insert_with(|| {
        "Find out whether this VM was cloned, set back to a snapshot, or its TPM cleared. If that was on purpose, \
         delete the VM's record and let it enrol anew with a join token; another attestation key does not end this."
            .to_owned()
    });
    finding
}

fn replaced() -> Finding {
    let mut finding = code::AK_REPLACED
        .finding("The VM enrolled again with another attestation key; this is the first quote of that key");
    finding.component = Some("TPM".to_owned());
    finding.hint =
        Some("Expected after a reinstallation of the agent. Else find out who enrolled the VM.".to_owned());
    finding
}

/// `now - before` where both carry the same unknown offset modulo 2^32.
fn signed32(now: u32, before: u32) -> i32 {
    now.wrapping_sub(before).cast_signed()
}
