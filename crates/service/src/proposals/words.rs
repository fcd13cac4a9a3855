//! A proposal in words: what the VMs do differently, and what is asked.
//!
//! For people. File names are claims of the log; what is accepted is what the findings name by digest.

use std::collections::BTreeSet;

use veriboot_appraisal::LogReport;
use veriboot_eventlog::ComponentKind;
use veriboot_store::proposals::ProposalRow;
use veriboot_wire::{ChangeClass, Finding, Proposal, ProposalState, Scope, ScopeKind, counted};

/// Characters of a part of a title, and of a signer.
const MAX_CHARS: usize = 120;
/// File names of kernels start so.
const KERNEL_PREFIXES: [&str; 5] = ["vmlinuz-", "vmlinux-", "bzImage-", "kernel-", "linux-"];

/// What is said about the changes of one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// "boot kernel 6.1.0-56 and have another SBAT level".
    pub title: String,
    /// Who signed what changed.
    pub signer: Option<String>,
    /// Each once, in the order of the findings.
    pub classes: Vec<ChangeClass>,
}

/// Says what findings propose. `report` is the log that they are about.
pub(crate) fn words(findings: &[Finding], report: Option<&LogReport>) -> Words {
    let mut classes = Vec::new();
    let (mut boots, mut has) = (Vec::new(), Vec::new());
    for finding in findings {
        let Some(class) = finding.change else { continue };
        if classes.contains(&class) {
            continue;
        }
        classes.push(class);
        match class {
            ChangeClass::KernelUpdate => boots.push(match report.and_then(kernel) {
                Some(version) => format!("kernel {version}"),
                None => "another kernel".to_owned(),
            }),
            ChangeClass::InitrdChange => boots.push("another initrd".to_owned()),
            ChangeClass::BootloaderUpdate => boots.push("another boot loader".to_owned()),
            ChangeClass::ShimUpdate => boots.push("another shim".to_owned()),
            ChangeClass::FirmwareUpdate => boots.push("other firmware".to_owned()),
            ChangeClass::SbatUpdate => has.push(match &finding.seen {
                Some(level) => format!("SBAT level {}", short(level)),
                None => "another SBAT level".to_owned(),
            }),
            ChangeClass::DbxUpdate => has.push("another revocation list (dbx)".to_owned()),
            ChangeClass::CmdlineChange => has.push("another kernel command line".to_owned()),
            ChangeClass::SecureBootKeyChange => has.push("other Secure Boot keys".to_owned()),
            ChangeClass::MokChange => has.push("other machine owner keys (MOK)".to_owned()),
            _ => has.push(match &finding.component {
                Some(component) => format!("another {}", short(component)),
                None => "other measurements".to_owned(),
            }),
        }
    }
    let parts = [("boot", boots), ("have", has)].into_iter().filter(|(_, what)| !what.is_empty());
    let mut title =
        parts.map(|(verb, what)| format!("{verb} {}", listed(&what))).collect::<Vec<_>>().join(" and ");
    if title.is_empty() {
        title = "boot something else".to_owned();
    }
    let signers: BTreeSet<&str> = findings.iter().filter_map(|f| f.signer.as_deref()).collect();
    let signer = match signers.len() {
        0 => report.and_then(|report| admitted_by(report, &classes)),
        _ => Some(short(&listed(&signers.into_iter().map(common_name).collect::<Vec<_>>()))),
    };
    Words { title, signer, classes }
}

/// Whose certificate admitted what changed, when no finding says it: firmware measures what admitted shim first, shim
/// what admitted boot loader and kernel last.
fn admitted_by(report: &LogReport, classes: &[ChangeClass]) -> Option<String> {
    let mut authorities = report
        .entries
        .iter()
        .filter(|e| e.kind == ComponentKind::Authority)
        .filter_map(|e| e.signer.as_deref());
    let changed = |class| classes.contains(&class);
    let signer = match () {
        () if changed(ChangeClass::KernelUpdate) || changed(ChangeClass::BootloaderUpdate) => {
            authorities.next_back()
        }
        () if changed(ChangeClass::ShimUpdate) => authorities.next(),
        () => None,
    };
    signer.map(|signer| short(common_name(signer)))
}

/// "a", "a and b", "a, b and c".
fn listed(words: &[impl AsRef<str>]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

/// The common name of a certificate's subject, or all of it.
fn common_name(subject: &str) -> &str {
    subject.split(", ").find_map(|part| part.strip_prefix("CN=")).unwrap_or(subject)
}

/// The kernel as people call it: the version in the name of its file, else that name.
fn kernel(report: &LogReport) -> Option<String> {
    let names = || {
        let kernels = report.entries.iter().filter(|e| e.kind == ComponentKind::Kernel).map(|e| &*e.name);
        let lines = report.entries.iter().filter(|e| e.kind == ComponentKind::KernelCommandLine);
        let images =
            lines.filter_map(|e| e.value.as_deref()?.split_whitespace().find(|w| w.starts_with('/')));
        kernels.chain(images).filter_map(|path| path.rsplit(['/', '\\']).next())
    };
    let version = |name: &str| {
        let version = KERNEL_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
        let version = version.strip_suffix(".efi").unwrap_or(version);
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| short(version))
    };
    let file = || names().find(|name| name.contains(|c: char| c.is_ascii_digit())).map(short);
    names().find_map(version).or_else(file)
}

/// One proposal as the API shows it.
pub(crate) fn shown(row: ProposalRow, of_vms: u64) -> Proposal {
    let etag = row.etag();
    let summary = summary(&row, of_vms);
    Proposal {
        id: row.id,
        state: row.state,
        summary,
        title: row.title,
        classes: row.classes,
        signer: row.signer,
        vms: row.vms,
        of_vms,
        scope: row.scope,
        baseline: row.baseline,
        baseline_id: row.baseline_id,
        profile: row.profile,
        pcrs: row.pcrs,
        change_key: row.change_key,
        etag,
        first_seen_at: row.first_seen_at,
        last_seen_at: row.last_seen_at,
        decided_at: row.decided_at,
        decided_by: row.decided_by,
        comment: row.comment,
        result: row.result,
    }
}

fn summary(row: &ProposalRow, of_vms: u64) -> String {
    let one = row.scope.kind == ScopeKind::Vm || row.vms == 1;
    let title = if one { singular(&row.title) } else { row.title.clone() };
    let signed = row.signer.as_ref().map(|signer| format!(", signed by {signer}")).unwrap_or_default();
    let who = match row.scope.kind {
        ScopeKind::Vm => format!("VM `{}`", row.representative.vm_name),
        _ => format!("{} of {} in `{}`", row.vms, counted(of_vms, "VM"), place(&row.scope)),
    };
    let by = row.decided_by.as_deref().unwrap_or("service");
    match row.state {
        ProposalState::Open => format!("{who} now {title}{signed}: approve?"),
        ProposalState::Approved => {
            let result = row.result.as_deref().unwrap_or_default();
            format!("{who} now {title}{signed}: approved by {by} as {result}")
        }
        ProposalState::Rejected => format!("{who} now {title}{signed}: rejected by {by}"),
        ProposalState::Superseded => {
            format!("{who} now {title}{signed}: superseded, the baseline got another version")
        }
        ProposalState::Withdrawn => {
            format!("No VM in `{}` does so any more: {}{signed}", place(&row.scope), row.title)
        }
    }
}

fn place(scope: &Scope) -> &str {
    if scope.id.is_empty() { &scope.group } else { &scope.id }
}

/// "boot a and have b" of one VM.
fn singular(title: &str) -> String {
    let title = match title.split_once(' ') {
        Some(("boot", rest)) => format!("boots {rest}"),
        Some(("have", rest)) => format!("has {rest}"),
        _ => title.to_owned(),
    };
    title.replacen(" and have ", " and has ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use veriboot_wire::{Representative, Severity, Time};

    fn finding(class: ChangeClass, signer: Option<&str>) -> Finding {
        Finding {
            change: Some(class),
            signer: signer.map(str::to_owned),
            ..Finding::new("component-changed", Severity::Medium, "x")
        }
    }

    fn row(scope: Scope, vms: u64, words: Words) -> ProposalRow {
        ProposalRow {
            id: "p".into(),
            baseline_id: "b".into(),
            baseline: "scale-set/default/web@1".into(),
            baseline_name: "scale-set/default/web".into(),
            scope,
            profile: "secure-boot-required".into(),
            change_key: "k".into(),
            state: ProposalState::Open,
            revision: 1,
            classes: words.classes,
            title: words.title,
            signer: words.signer,
            pcrs: vec![4],
            representative: Representative {
                vm_id: "v".into(),
                vm_name: "web-0".into(),
                boot_id: "o".into(),
                attestation_id: "a".into(),
                log_sha256: "l".into(),
            },
            first_seen_at: Time::from_unix_ms(0),
            last_seen_at: Time::from_unix_ms(0),
            decided_at: None,
            decided_by: None,
            comment: None,
            result: None,
            vms,
        }
    }

    #[test]
    fn the_question_reads_like_one() {
        let signer = "CN=Debian Secure Boot Signer 2022, O=Debian";
        let said = words(
            &[
                finding(ChangeClass::KernelUpdate, Some(signer)),
                finding(ChangeClass::ShimUpdate, Some(signer)),
                finding(ChangeClass::DbxUpdate, None),
                finding(ChangeClass::KernelUpdate, None),
            ],
            None,
        );
        assert_eq!(
            said.classes,
            [ChangeClass::KernelUpdate, ChangeClass::ShimUpdate, ChangeClass::DbxUpdate]
        );
        let set = Scope { kind: ScopeKind::ScaleSet, group: "default".into(), id: "web".into() };
        assert_eq!(
            summary(&row(set.clone(), 12, said.clone()), 40),
            "12 of 40 VMs in `web` now boot another kernel and another shim and have another revocation list (dbx), \
             signed by Debian Secure Boot Signer 2022: approve?"
        );
        assert_eq!(
            summary(&row(set, 1, said.clone()), 40),
            "1 of 40 VMs in `web` now boots another kernel and another shim and has another revocation list (dbx), \
             signed by Debian Secure Boot Signer 2022: approve?"
        );
        let vm = Scope { kind: ScopeKind::Vm, group: "default".into(), id: "v".into() };
        assert!(summary(&row(vm, 1, said), 1).starts_with("VM `web-0` now boots another kernel"));
    }

    #[test]
    fn who_admitted_a_kernel_is_in_its_boot() {
        let log = veriboot_testkit::corpus::golden("other-kernel").unwrap().event_log;
        let report = veriboot_appraisal::examine(&log);
        let of = |class| words(&[finding(class, None)], Some(&report)).signer;
        assert_eq!(of(ChangeClass::KernelUpdate).as_deref(), Some("Debian Secure Boot CA"));
        assert_eq!(of(ChangeClass::ShimUpdate).as_deref(), Some("Microsoft Corporation UEFI CA 2011"));
        assert_eq!(of(ChangeClass::DbxUpdate), None);
    }

    #[test]
    fn nothing_is_longer_than_it_may_be() {
        let long = "é".repeat(100_000);
        let findings = [Finding {
            seen: Some(long.clone()),
            signer: Some(long),
            ..finding(ChangeClass::SbatUpdate, None)
        }];
        let said = words(&findings, None);
        assert!(said.title.chars().count() < 200 && said.signer.unwrap().chars().count() < 200);
    }
}
