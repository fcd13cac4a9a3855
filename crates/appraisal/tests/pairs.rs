//! One pair of real boots for each class of change (SPEC section 5; docs/lab.md says how each was made): a baseline is
//! learned from the first, the second is judged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::path::Path;

use serde_json::Value;
use veriboot_appraisal::{
    Baseline, CompiledBaseline, Conclude, Judgement, LogReport, Outcome, PreviousBoot, Profile, conclude,
    examine, judge,
};
use veriboot_eventlog::HashAlg;
use veriboot_tpm::{AttestationKey, Expectation, Quote, verify_quote};
use veriboot_wire::{
    AlertReason, ChangeAction, ChangeClass, EvidenceBundle, FactState, Finding, Severity, Verdict,
};

const SHA256: HashAlg = HashAlg::Sha256;

fn folder(variant: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant)
}

fn report(variant: &str) -> LogReport {
    let log =
        std::fs::read(folder(variant).join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}"));
    examine(&log)
}

/// What coreutils and virt-firmware said about the files of a capture.
fn meta(variant: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder(variant).join("meta.json")).unwrap()).unwrap()
}

fn sha256(variant: &str, file: &str) -> String {
    meta(variant)["sha256"][file].as_str().unwrap().to_owned()
}

fn authenticode(variant: &str, image: &str) -> String {
    meta(variant)["authenticode"][image].as_str().unwrap().to_owned()
}

fn judged_under(before: &str, after: &str, profile: &Profile) -> Judgement {
    let baseline = Baseline::learn(&report(before), SHA256).unwrap().compile();
    let again = judge(&report(before), SHA256, Some(&baseline), &Profile::measured_only());
    assert_eq!(again.findings, [], "{before} deviates from its own baseline");
    judge(&report(after), SHA256, Some(&baseline), profile)
}

fn judged(before: &str, after: &str) -> Judgement {
    judged_under(before, after, &Profile::default())
}

/// What is asked of one finding. Texts are parts that must be there.
struct Told<'a> {
    class: ChangeClass,
    component: &'a str,
    pcr: u32,
    expected: &'a str,
    seen: &'a str,
}

/// A finding of this class about this component.
fn told<'a>(class: ChangeClass, component: &'a str, pcr: u32, expected: &'a str, seen: &'a str) -> Told<'a> {
    Told { class, component, pcr, expected, seen }
}

fn line(finding: &Finding) -> String {
    format!(
        "{} [{}] {:?} {:?} {:?} PCR {:?}: {} (expected {:?}, seen {:?})",
        finding.severity,
        finding.code,
        finding.change.map(|c| c.to_string()),
        finding.action.map(|a| a.to_string()),
        finding.component,
        finding.pcr,
        finding.message,
        finding.expected,
        finding.seen
    )
}

fn lines(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|f| format!("  {}\n", line(f))).collect()
}

/// Exactly these findings matter, and each says what it should.
fn hold(name: &str, judgement: &Judgement, severity: Severity, expected: &[Told<'_>]) {
    let matter: Vec<&Finding> =
        judgement.findings.iter().filter(|f| f.severity >= Severity::Medium && f.change.is_some()).collect();
    let all = lines(judgement);
    for told in expected {
        let found = matter
            .iter()
            .find(|f| f.change == Some(told.class) && f.component.as_deref() == Some(told.component))
            .unwrap_or_else(|| panic!("{name}: no {} of {}:\n{all}", told.class, told.component));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!(found.pcr, Some(told.pcr), "{name}: {}\n{all}", told.component);
        assert!(text(&found.expected).contains(told.expected), "{name}: expected {}\n{all}", told.expected);
        assert!(text(&found.seen).contains(told.seen), "{name}: seen {}\n{all}", told.seen);
        assert_eq!(found.severity, severity, "{name}: {}\n{all}", told.component);
        assert!(found.risk.is_some() && found.hint.is_some(), "{name}: risk and hint of {}", told.component);
    }
    assert_eq!(matter.len(), expected.len(), "{name}: other findings\n{all}");
}

/// The boot fails, for these deviations.
fn fails(before: &str, after: &str, expected: &[Told<'_>]) -> Judgement {
    let name = format!("{before} -> {after}");
    let judgement = judged(before, after);
    assert!(judgement.proposed.is_none(), "{name} is proposed");
    assert!(!judgement.accepts(), "{name} is accepted");
    let matter = judgement.findings.iter().filter(|f| f.severity >= Severity::Medium && f.change.is_some());
    for finding in matter {
        assert_eq!(finding.action, Some(ChangeAction::Fail), "{name}: {}", line(finding));
        assert!(finding.reason.is_some(), "{name}: {}", line(finding));
    }
    hold(&name, &judgement, Severity::High, expected);
    judgement
}

/// The boot passes, and these deviations are put before an operator.
fn proposes(before: &str, after: &str, expected: &[Told<'_>]) -> Judgement {
    let name = format!("{before} -> {after}");
    let judgement = judged(before, after);
    let proposed = judgement.proposed.as_ref().unwrap_or_else(|| panic!("{name}:\n{}", lines(&judgement)));
    assert!(judgement.accepts(), "{name} fails:\n{}", lines(&judgement));
    assert_eq!(proposed.key.len(), 64, "{name}");
    for told in expected {
        assert!(proposed.pcrs.contains(&told.pcr), "{name}: PCR {} is not in {:?}", told.pcr, proposed.pcrs);
    }
    for finding in judgement.findings.iter().filter(|f| f.severity >= Severity::Medium) {
        assert_eq!(finding.action, Some(ChangeAction::Propose), "{name}: {}", line(finding));
        assert_eq!(finding.reason, None, "{name}: {}", line(finding));
    }
    hold(&name, &judgement, Severity::Medium, expected);
    judgement
}

use ChangeClass as C;

const KERNEL: &str = "kernel";
const INITRD: &str = "initial RAM disk (initrd)";
const CMDLINE: &str = "kernel command line";
const SBAT: &str = "SBAT level";
const DBX: &str = "revoked signatures (dbx)";
const DB: &str = "allowed signatures (db)";
const KEK: &str = "key exchange keys (KEK)";
const PK: &str = "platform key (PK)";
const MOK: &str = "machine owner keys (MOK)";

/// A kernel package brings an initrd along, which nobody signed: the boot fails unless the profile lets initrds follow
/// from signed kernels.
#[test]
fn kernel_update() {
    let (kernel, initrd) = (sha256("secure-boot", "kernel"), sha256("secure-boot", "initrd"));
    let (new_kernel, new_initrd) = (sha256("other-kernel", "kernel"), sha256("other-kernel", "initrd"));
    fails(
        "secure-boot",
        "other-kernel",
        &[
            told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
            told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        ],
    );
    let updates = Profile::named("distribution-updates").unwrap();
    let judgement = judged_under("secure-boot", "other-kernel", &updates);
    assert!(judgement.accepts(), "{}", lines(&judgement));
    let proposed = judgement.proposed.as_ref().unwrap();
    assert_eq!(proposed.pcrs.iter().copied().collect::<Vec<_>>(), [4, 9]);
    hold(
        "distribution-updates",
        &judgement,
        Severity::Medium,
        &[
            told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
            told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        ],
    );
    // An initrd alone follows from nothing.
    let judgement = judged_under("secure-boot", "initrd", &updates);
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
}

/// The same as a distribution does it: names with the release, an entry more in the menu, another message.
#[test]
fn kernel_update_with_a_menu() {
    let (before, after) = ("debian-menu", "debian-menu-updated");
    let updates = Profile::named("distribution-updates").unwrap();
    let judgement = judged_under(before, after, &updates);
    assert!(judgement.accepts(), "{}", lines(&judgement));
    let proposed = judgement.proposed.as_ref().unwrap();
    assert_eq!(proposed.pcrs.iter().copied().collect::<Vec<_>>(), [4, 8, 9]);
    let (kernel, initrd) = (sha256(before, "kernel"), sha256(before, "initrd"));
    let (new_kernel, new_initrd) = (sha256(after, "kernel"), sha256(after, "initrd"));
    let told = [
        told(C::KernelUpdate, KERNEL, 9, &kernel, &new_kernel),
        told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        told(C::BootloaderUpdate, "boot loader configuration", 8, "6.1.0-50", "6.1.0-56"),
    ];
    hold("distribution-updates", &judgement, Severity::Medium, &told);
    // The default takes no initrd and no configuration on trust.
    fails(before, after, &told);
    // Back to the kernel before: signed as well, and no signature says which is newer.
    assert!(judged_under(after, before, &updates).proposed.is_some());
}

/// The signature over a unified kernel image covers all that is in it, the initrd as well.
#[test]
fn kernel_update_in_a_unified_image() {
    let (old, new) = (authenticode("uki", "uki"), authenticode("uki-other-kernel", "uki"));
    let (initrd, new_initrd) = (sha256("uki", "initrd"), sha256("uki-other-kernel", "initrd"));
    let judgement = proposes(
        "uki",
        "uki-other-kernel",
        &[
            told(C::KernelUpdate, KERNEL, 4, &old, &new),
            told(C::InitrdChange, INITRD, 9, &initrd, &new_initrd),
        ],
    );
    let pcrs = &judgement.proposed.as_ref().unwrap().pcrs;
    assert_eq!(pcrs.iter().copied().collect::<Vec<_>>(), [4, 9, 11]);
}

#[test]
fn initrd_change() {
    let (old, new) = (sha256("secure-boot", "initrd"), sha256("initrd", "initrd"));
    fails("secure-boot", "initrd", &[told(C::InitrdChange, INITRD, 9, &old, &new)]);
}

#[test]
fn command_line_change() {
    let words = "console=ttyS0 quiet panic=-1 no_timer_check";
    let judgement = fails(
        "secure-boot",
        "cmdline",
        &[told(C::CmdlineChange, CMDLINE, 8, words, &format!("{words} init=/bin/sh lockdown=none"))],
    );
    assert!(judgement.findings[0].message.contains("added `init=/bin/sh`, `lockdown=none`"));
    // The reverse is a change of the same class.
    fails("cmdline", "secure-boot", &[told(C::CmdlineChange, CMDLINE, 8, "init=/bin/sh", words)]);
}

/// The key that may sign images may sign any command line into them: the boot fails all the same.
#[test]
fn command_line_change_in_a_unified_image() {
    let (old, new) = (authenticode("uki", "uki"), authenticode("uki-cmdline", "uki"));
    let words = "console=ttyS0 quiet panic=-1 no_timer_check";
    fails(
        "uki",
        "uki-cmdline",
        &[
            told(C::KernelUpdate, KERNEL, 4, &old, &new),
            told(C::CmdlineChange, CMDLINE, 12, words, &format!("{words} lockdown=none")),
        ],
    );
}

#[test]
fn grub_update() {
    let (old, new) = (authenticode("grub-older", "grub"), authenticode("shim-older", "grub"));
    proposes("grub-older", "shim-older", &[told(C::BootloaderUpdate, "boot loader", 4, &old, &new)]);
    // An older GRUB by the same signer is nothing that Secure Boot tells from a newer one.
    proposes("shim-older", "grub-older", &[told(C::BootloaderUpdate, "boot loader", 4, &new, &old)]);
}

/// Nobody signs the configuration of GRUB.
#[test]
fn grub_configuration_change() {
    fails(
        "secure-boot",
        "grub-config",
        &[told(C::BootloaderUpdate, "boot loader configuration", 8, "not measured", "set superusers=lab")],
    );
}

/// shim measures what it then refuses.
#[test]
fn unsigned_kernel_refused() {
    let judgement = judged("secure-boot", "unsigned-kernel");
    assert!(judgement.proposed.is_none() && !judgement.accepts());
    let kernel = judgement.findings.iter().find(|f| f.change == Some(C::KernelUpdate)).unwrap();
    assert_eq!((kernel.code.as_str(), kernel.pcr), ("component-added", Some(4)));
    assert!(kernel.message.contains("vmlinuz.unsigned"), "{}", kernel.message);
    let classes: Vec<_> = judgement.findings.iter().filter_map(|f| f.change).collect();
    assert!(classes.contains(&C::BootloaderUpdate), "{}", lines(&judgement));
}

/// A newer shim brings a newer SBAT level along.
#[test]
fn shim_update() {
    let (old, new) = (authenticode("shim-older", "shim"), authenticode("secure-boot", "shim"));
    proposes(
        "shim-older",
        "secure-boot",
        &[
            told(C::ShimUpdate, "shim", 4, &old, &new),
            told(C::SbatUpdate, SBAT, 7, "sbat,1,2024010900", "sbat,1,2025021800; shim,4; grub,5"),
        ],
    );
    // With the older shim the level falls too, and that is no update.
    fails(
        "secure-boot",
        "shim-older",
        &[
            told(C::ShimUpdate, "shim", 4, &new, &old),
            told(C::SbatUpdate, SBAT, 7, "sbat,1,2025021800", "sbat,1,2024010900"),
        ],
    );
}

#[test]
fn sbat_level_raised_and_lowered() {
    let (low, high) =
        ("sbat,1,2025021800; shim,4; grub,5", "sbat,1,2025051000; shim,4; grub,5; grub.proxmox,2");
    proposes("secure-boot", "sbat-raised", &[told(C::SbatUpdate, SBAT, 7, low, high)]);
    fails("sbat-raised", "secure-boot", &[told(C::SbatUpdate, SBAT, 7, high, low)]);
}

#[test]
fn dbx_grown_shrunk_and_emptied() {
    proposes("secure-boot", "dbx-updated", &[told(C::DbxUpdate, DBX, 7, "1 hash", "4 hashes")]);
    fails("dbx-updated", "secure-boot", &[told(C::DbxUpdate, DBX, 7, "4 hashes", "1 hash")]);
    fails("dbx-updated", "dbx-emptied", &[told(C::DbxUpdate, DBX, 7, "4 hashes", "empty")]);
    fails("secure-boot", "dbx-emptied", &[told(C::DbxUpdate, DBX, 7, "1 hash", "empty")]);
}

#[test]
fn certificates_of_2023_added_and_removed() {
    let judgement = fails(
        "secure-boot",
        "microsoft-2023",
        &[
            told(
                C::SecureBootKeyChange,
                KEK,
                7,
                "Microsoft Corporation KEK CA 2011",
                "Microsoft Corporation KEK 2K CA 2023",
            ),
            told(
                C::SecureBootKeyChange,
                DB,
                7,
                "Microsoft Corporation UEFI CA 2011",
                "Microsoft UEFI CA 2023",
            ),
        ],
    );
    for finding in judgement.findings.iter().filter(|f| f.change.is_some()) {
        assert!(finding.message.contains("2023 certificates"), "{}", finding.message);
    }
    let judgement = fails(
        "microsoft-2023",
        "secure-boot",
        &[
            told(C::SecureBootKeyChange, KEK, 7, "Microsoft Corporation KEK 2K CA 2023", "KEK CA 2011"),
            told(C::SecureBootKeyChange, DB, 7, "Windows UEFI CA 2023", "Microsoft Corporation UEFI CA 2011"),
        ],
    );
    for finding in judgement.findings.iter().filter(|f| f.change.is_some()) {
        assert!(finding.message.contains("removed"), "{}", finding.message);
    }
}

#[test]
fn own_keys() {
    let (microsoft, own) = ("Microsoft Corporation UEFI CA 2011", "Veriboot lab db key");
    let findings = |from: &'static str,
                    to: &'static str,
                    pk: (&'static str, &'static str),
                    kek: (&'static str, &'static str)| {
        [
            told(C::SecureBootKeyChange, PK, 7, pk.0, pk.1),
            told(C::SecureBootKeyChange, KEK, 7, kek.0, kek.1),
            told(C::SecureBootKeyChange, DB, 7, from, to),
            told(C::SecureBootKeyChange, "authority that admitted an image", 7, from, to),
        ]
    };
    let (pk, kek) = ("Veriboot lab platform key", "Veriboot lab key exchange key");
    let debian = "Debian UEFI Secure Boot (PK/KEK key)";
    fails("secure-boot", "own-keys", &findings(microsoft, own, (debian, pk), (debian, kek)));
    fails("own-keys", "secure-boot", &findings(own, microsoft, (pk, debian), (kek, debian)));
}

#[test]
fn certificate_added_to_db() {
    fails(
        "secure-boot",
        "operator-db",
        &[told(C::SecureBootKeyChange, DB, 7, "UEFI CA 2011", "Veriboot lab db key")],
    );
    fails(
        "operator-db",
        "secure-boot",
        &[told(C::SecureBootKeyChange, DB, 7, "Veriboot lab db key", "UEFI CA 2011")],
    );
}

#[test]
fn machine_owner_key_enrolled() {
    fails("secure-boot", "mok", &[told(C::MokChange, MOK, 14, "", "")]);
}

/// What shim does not verify, it does not measure either: that follows.
#[test]
fn machine_owner_switched_validation_off() {
    let judgement = fails(
        "secure-boot",
        "mok-validation-off",
        &[
            told(C::MokChange, MOK, 7, "not measured", "01"),
            told(C::MokChange, "shim", 7, "verifies", "verification is off"),
        ],
    );
    assert!(judgement.findings.iter().any(|f| f.code == "shim-validation-disabled"), "{}", lines(&judgement));
}

#[test]
fn firmware_update() {
    for (before, after) in [
        ("firmware-older", "secure-boot"),
        ("secure-boot", "firmware-older"),
        ("secure-boot", "firmware-next"),
    ] {
        let judgement = judged(before, after);
        assert!(judgement.proposed.is_none() && !judgement.accepts());
        let failing: Vec<&Finding> = judgement.findings.iter().filter(|f| f.fails()).collect();
        assert_eq!(failing[0].change, Some(C::FirmwareUpdate), "{}", lines(&judgement));
        assert_eq!((failing[0].pcr, failing[0].component.as_deref()), (Some(0), Some("firmware")));
    }
}

/// Boot entries and partition tables differ harmlessly: they are told, and fail where the profile says so.
#[test]
fn boot_order_and_disk_changed() {
    for after in ["boot-entry", "other-disk"] {
        let judgement = judged("secure-boot", after);
        assert!(judgement.accepts() && judgement.proposed.is_none(), "{}", lines(&judgement));
        assert!(!judgement.findings.is_empty());
        for finding in &judgement.findings {
            assert_eq!(
                (finding.severity, finding.change),
                (Severity::Info, Some(C::BootOrderChange)),
                "{after}: {}",
                line(finding)
            );
        }
    }
    use veriboot_appraisal::Enforcement;
    use veriboot_eventlog::ComponentKind as K;
    let mut strict = Profile::default();
    for kind in [K::BootOrder, K::BootEntry, K::PartitionTable] {
        strict.components.insert(kind, Enforcement::Enforce);
    }
    for (after, pcr) in [("boot-entry", 1), ("other-disk", 5)] {
        let judgement = judged_under("secure-boot", after, &strict);
        assert!(!judgement.accepts() && judgement.proposed.is_none(), "{after}");
        let failing: Vec<&Finding> = judgement.findings.iter().filter(|f| f.fails()).collect();
        assert!(
            failing.iter().all(|f| f.change == Some(C::BootOrderChange) && f.pcr == Some(pcr)),
            "{}",
            lines(&judgement)
        );
    }
}

#[test]
fn secure_boot_disabled() {
    fails(
        "secure-boot",
        "secure-boot-disabled",
        &[told(C::SecureBootDisabled, "Secure Boot state", 7, "on", "off")],
    );
    let judgement = judged("secure-boot", "secure-boot-off");
    assert_eq!(judgement.findings[0].change, Some(C::SecureBootDisabled), "{}", lines(&judgement));
}

/// Something that was never there runs before the boot loader, admitted by a certificate that db holds.
#[test]
fn program_before_the_boot_loader() {
    let judgement = judged("operator-db", "extra-program");
    let program = authenticode("extra-program", "program");
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
    let found = judgement
        .findings
        .iter()
        .find(|f| f.seen.as_deref() == Some(&program))
        .unwrap_or_else(|| panic!("{}", lines(&judgement)));
    assert_eq!(
        (found.change, found.pcr, found.severity),
        (Some(C::UnknownComponent), Some(4), Severity::High)
    );
    assert_eq!(found.code, "component-added");
}

/// shim refuses a revoked GRUB; the firmware goes on with the second disk, where everything is as usual.
#[test]
fn revoked_grub_refused() {
    let judgement = judged("secure-boot", "grub-revoked");
    assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", lines(&judgement));
    let twice =
        judgement.findings.iter().find(|f| f.seen.as_deref() == Some(&authenticode("secure-boot", "shim")));
    let twice = twice.unwrap_or_else(|| panic!("{}", lines(&judgement)));
    assert_eq!((twice.change, twice.code.as_str()), (Some(C::UnknownComponent), "component-added"));
}

/// A quote of a capture, checked, with the PCR values that came beside it.
fn quoted(variant: &str, file: &str) -> (Quote, EvidenceBundle) {
    let bundle: EvidenceBundle =
        serde_json::from_slice(&std::fs::read(folder(variant).join(file)).unwrap()).unwrap();
    let public = serde_json::to_string(bundle.ak_public.as_ref().unwrap()).unwrap();
    let public: veriboot_wire::Blob = serde_json::from_str(&public).unwrap();
    let ak = AttestationKey::from_tpm2b(&public).unwrap();
    let nonce = hex::decode(bundle.nonce.as_ref().unwrap()).unwrap();
    let expect = Expectation { nonce: Some(&nonce), selection: None };
    let quote = verify_quote(&ak, &bundle.quote, &bundle.signature, &expect).unwrap();
    (quote, bundle)
}

fn concluded(
    variant: &str,
    file: &str,
    baseline: &CompiledBaseline,
    profile: &Profile,
    previous: Option<&PreviousBoot>,
) -> Outcome {
    let (quote, bundle) = quoted(variant, file);
    let report = report(variant);
    let judgement = judge(&report, SHA256, Some(baseline), profile);
    conclude(Conclude {
        quote: Ok(&quote),
        pcr_values: Some(&bundle.pcrs),
        report: Some(&report),
        log_absent_because: None,
        judgement: Some(&judgement),
        profile,
        previous,
    })
}

/// One boot, one log, two quotes: between them a process of the guest extended PCR 9.
#[test]
fn pcr_extended_at_run_time() {
    let variant = "runtime-extend";
    let baseline = Baseline::learn(&report("secure-boot"), SHA256).unwrap().compile();
    let profile = Profile::default();
    let first = concluded(variant, "bundle.json", &baseline, &profile, None);
    assert_eq!(first.verdict, Verdict::Healthy, "{:?}", first.findings);
    let (quote, bundle) = quoted(variant, "bundle.json");
    let log = bundle.event_log.as_ref().unwrap();
    let previous = PreviousBoot {
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        clock_ms: quote.clock_ms,
        firmware_version: quote.firmware_version,
        log_sha256: Some(HashAlg::Sha256.hash(&[log]).to_string()),
        // Each call of `veriboot-agent evidence` makes a key of its own.
        ak_replaced: true,
    };
    let later = concluded(variant, "bundle-later.json", &baseline, &profile, Some(&previous));
    assert_eq!(later.verdict, Verdict::Unhealthy);
    assert_eq!(later.reasons, [AlertReason::LogMismatch]);
    let failing: Vec<&Finding> = later.findings.iter().filter(|f| f.fails()).collect();
    assert_eq!(failing.len(), 1, "{failing:?}");
    assert_eq!(
        (failing[0].change, failing[0].pcr),
        (Some(C::RuntimeExtend), Some(9)),
        "{}",
        line(failing[0])
    );
    assert!(failing[0].message.contains("extended after boot"), "{}", failing[0].message);
    assert_eq!(later.facts.log, FactState::Invalid);
    // Without the quote before, nobody can say when: the log does not explain PCR 9.
    let alone = concluded(variant, "bundle-later.json", &baseline, &profile, None);
    let failing: Vec<&Finding> = alone.findings.iter().filter(|f| f.fails()).collect();
    assert_eq!((failing[0].code.as_str(), failing[0].pcr), ("log-mismatch", Some(9)));
}

fn captures() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 28, "{names:?}");
    names
}

/// A baseline learned from a boot accepts that boot, quote and log together, and no other boot that differs in what is
/// enforced.
#[test]
fn each_capture_is_accepted_by_its_own_baseline_alone() {
    // What these differ in is not enforced: other banks, boot entries, disks, and what happened after the boot.
    let alike = ["boot-entry", "other-disk", "runtime-extend", "secure-boot", "three-banks"];
    let names = captures();
    for name in &names {
        let baseline = Baseline::learn(&report(name), SHA256).unwrap().compile();
        let outcome = concluded(name, "bundle.json", &baseline, &Profile::measured_only(), None);
        assert_eq!(outcome.verdict, Verdict::Healthy, "{name}: {:?}", outcome.findings);
        assert!(outcome.learnable, "{name}");
        for other in &names {
            let judgement = judge(&report(other), SHA256, Some(&baseline), &Profile::measured_only());
            let same = name == other || (alike.contains(&name.as_str()) && alike.contains(&other.as_str()));
            let differs = judgement.proposed.is_some() || !judgement.accepts();
            assert_eq!(differs, !same, "{name} -> {other}:\n{}", lines(&judgement));
        }
    }
}
