//! Logs that lie: the machine booted something else, its root user extended the PCRs with what the baseline has, and the
//! log says of the rest whatever makes it look harmless. Digests replay; types, names and texts are free.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Log, Machine, SHA256, Tpm, appraise, codes};
use veriboot_appraisal::{Baseline, CompiledBaseline, LogReport, Profile, components_in, examine, judge};
use veriboot_eventlog::{ComponentKind, Digest, EventType, HashAlg, parse};
use veriboot_wire::{AlertReason, FactState, Severity, Verdict};

const CAPTURES: &[&str] = &[
    "secure-boot",
    "cmdline",
    "initrd",
    "other-kernel",
    "mok",
    "uki",
    "three-banks",
    "secure-boot-off",
    "direct-kernel",
];
/// PCRs in which nothing is noted that the baseline does not have.
const ENFORCED: &[u32] = &[0, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14];

#[derive(Clone, Debug)]
struct Raw {
    pcr: u32,
    event_type: u32,
    digests: Vec<(HashAlg, Vec<u8>)>,
    data: Vec<u8>,
}

/// A log that is taken apart, changed and put together again.
#[derive(Clone, Debug)]
struct Capture {
    header: Vec<u8>,
    banks: Vec<HashAlg>,
    events: Vec<Raw>,
}

impl Capture {
    fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        Self::parse(&std::fs::read(folder.join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}")))
    }

    fn parse(bytes: &[u8]) -> Self {
        let log = parse(bytes).unwrap();
        assert!(log.cut.is_none());
        let digests = |event: &veriboot_eventlog::Event<'_>| {
            log.banks.iter().filter_map(|bank| Some((*bank, event.digest(*bank)?.to_vec()))).collect()
        };
        let events = log.events[1..].iter().map(|e| Raw {
            pcr: e.pcr,
            event_type: e.event_type.0,
            digests: digests(e),
            data: e.data.to_vec(),
        });
        let capture = Self {
            header: bytes[..log.events[1].offset].to_vec(),
            banks: log.banks.clone(),
            events: events.collect(),
        };
        assert!(bytes.starts_with(&capture.bytes()));
        capture
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.header.clone();
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.event_type.to_le_bytes());
            out.extend((event.digests.len() as u32).to_le_bytes());
            for (bank, digest) in &event.digests {
                out.extend(bank.tpm_id().to_le_bytes());
                out.extend(digest);
            }
            out.extend((event.data.len() as u32).to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    fn add(&mut self, pcr: u32, event_type: EventType, measured: &[u8], data: &[u8]) {
        let digests =
            self.banks.iter().map(|bank| (*bank, bank.hash(&[measured]).as_ref().to_vec())).collect();
        self.events.push(Raw { pcr, event_type: event_type.0, digests, data: data.to_vec() });
    }

    /// A TPM that was extended with exactly these events.
    fn tpm(&self) -> Tpm {
        let mut tpm = Tpm::booted(&Log { banks: self.banks.clone(), events: Vec::new() });
        for event in self.events.iter().filter(|e| e.event_type != EventType::EV_NO_ACTION.0) {
            for (bank, digest) in &event.digests {
                let registers = tpm.pcrs.get_mut(&bank.tpm_id()).unwrap();
                let value = bank.hash(&[&registers[&event.pcr], digest]).as_ref().to_vec();
                registers.insert(event.pcr, value);
            }
        }
        tpm
    }

    fn baseline(&self) -> CompiledBaseline {
        Baseline::learn(&examine(&self.bytes()), SHA256).unwrap().compile()
    }

    /// `self` booted, and the PCRs were extended until they hold everything that `genuine` measured, in its order. Each
    /// event that is not genuine is described as `event_type` and `data`.
    fn covered_up(&self, genuine: &Self, event_type: EventType, data: &[u8]) -> Self {
        let mut forged = self.clone();
        for pcr in (0..16).filter(|pcr| *pcr != 7) {
            let extends = |e: &&Raw| e.pcr == pcr && e.event_type != EventType::EV_NO_ACTION.0;
            let wanted: Vec<&Raw> = genuine.events.iter().filter(extends).collect();
            let there: Vec<usize> = (0..self.events.len()).filter(|at| extends(&&self.events[*at])).collect();
            let same = wanted
                .iter()
                .zip(&there)
                .take_while(|(wanted, at)| wanted.digests == self.events[**at].digests)
                .count();
            if same == wanted.len() && same == there.len() {
                continue;
            }
            for at in &there[same..] {
                forged.events[*at].event_type = event_type.0;
                forged.events[*at].data = data.to_vec();
            }
            forged.events.extend(wanted[same..].iter().map(|raw| (*raw).clone()));
        }
        forged
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// What event data can look like: everything that any part of the engine gives a meaning to.
fn forms() -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = [
        &b""[..],
        &[0; 4],
        &[0; 8],
        &[0xFF; 4],
        &[1, 0, 0, 0],
        &[0; 16],
        &[1],
        b"grubenv\0",
        b"(hd0,gpt2)/boot/grub/grubenv\0",
        b"/boot/grub2/grubenv\0",
        b"counter\0",
        b"boot counter",
        b"monotonic-counter\0",
        b"/vmlinuz\0",
        b"/initrd.img\0",
        b"/grub.cfg\0",
        b"grub_cmd: insmod x\0",
        b"grub_cmd: linux /vmlinuz root=/dev/sda\0",
        b"kernel_cmdline: /vmlinuz root=/dev/sda\0",
        b"module_cmdline: x\0",
        b"grub_linuxefi Kernel\0",
        b"grub_linuxefi Initrd\0",
        b"MokList\0",
        b"MokListTrusted\0",
        b"MokSBState\0",
        b".linux\0",
        b".cmdline\0",
        b"ACPI DATA",
        b"SMBIOS",
        b"kernel\0",
        b"initrd\0",
        b"DirectBoot Command Line\0",
        b"etc/acpi/tables\0",
        b"WBCL",
        b"Calling EFI Application from Boot Option",
        b"Returning from EFI Application from Boot Option",
        b"Exit Boot Services Invocation",
        b"Exit Boot Services Returned with Success",
        b"Booting BCV Device USB",
        b"UEFI Debug Mode",
        b"EFI PART\0\0\x01\0\x5c\0\0\0",
        b"StartupLocality\0\x03",
        b"\x04Fv(7CB8BDC9)\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"td_hob\0",
    ]
    .map(<[u8]>::to_vec)
    .into();
    forms.push(utf16("BootOrder\0"));
    forms.push(utf16("root=/dev/sda counter\0"));
    forms.push(utf16("initrd=x counter\0"));
    for id in [0x8F3B_22EC_u32, 0x8F3B_22ED, 0xF5BC_582A, 0x4001_0001, 0x0002_0002, 0x0001_0001] {
        forms.push([&id.to_le_bytes()[..], &4_u32.to_le_bytes(), &[0; 4]].concat());
    }
    let mut variables = Log { banks: vec![], events: vec![] };
    for vendor in [common::GLOBAL, common::SECURITY, common::SHIM, [5; 16]] {
        for name in
            ["BootOrder", "BootNext", "Boot0001", "SecureBoot", "db", "Counter", "SbatLevel", "MokSBState"]
        {
            variables.variable(1, EventType::EV_EFI_VARIABLE_BOOT, vendor, name, &[0, 0]);
        }
    }
    variables.application("\\EFI\\BOOT\\BOOTX64.EFI", b"");
    variables.application("\\EFI\\debian\\grubenv", b"");
    variables.application("", b"");
    forms.extend(variables.events.into_iter().map(|e| e.data));
    forms
}

fn event_types() -> impl Iterator<Item = EventType> {
    let unregistered =
        [0x14, 0x4FE, 0x500, 0x8000_0011, 0x8000_00E5, 0x9000_0000, 0xFFFF_FFFF].map(EventType);
    EventType::ALL.iter().copied().filter(|t| *t != EventType::EV_NO_ACTION).chain(unregistered)
}

/// The report of `genuine` with one more measurement at the end.
fn with_one(genuine: &LogReport, added: &LogReport, at: usize) -> LogReport {
    let mut report = genuine.clone();
    report.entries.push(added.entries[at].clone());
    for bank in &mut report.banks {
        let digests = &added.bank(bank.replay.bank).unwrap().digests;
        bank.digests.push(digests[at]);
    }
    report
}

/// One event more, of any type and any content, in a PCR where something that runs or configures trust is measured.
#[test]
fn nothing_can_be_added_unseen() {
    let (forms, profile) = (forms(), Profile::measured_only());
    let mut tried = 0;
    for (nth, variant) in CAPTURES.iter().enumerate() {
        let capture = Capture::of(variant);
        // All forms against the first capture, a third of them against each other one: a debug build takes its time.
        let forms = || forms.iter().skip(nth % 3).step_by(if nth == 0 { 1 } else { 3 }).map(Vec::as_slice);
        let forms: Vec<&[u8]> = forms().collect();
        tried += add_everything(&capture, &capture.baseline(), &profile, ENFORCED, &forms);
    }
    assert!(tried > 10_000, "{tried}");
    println!("{tried} additions");
}

/// Adds one event of each type and form in each PCR to a log that is accepted; none of it may be. Gives how many.
fn add_everything(
    capture: &Capture,
    baseline: &CompiledBaseline,
    profile: &Profile,
    pcrs: &[u32],
    forms: &[&[u8]],
) -> usize {
    let genuine = examine(&capture.bytes());
    let judgement = judge(&genuine, SHA256, Some(baseline), profile);
    assert!(judgement.accepts(), "{:?}", judgement.findings);
    let own: BTreeSet<&[u8]> = capture.events.iter().map(|e| e.data.as_slice()).collect();
    let mut tried = 0;
    for pcr in pcrs {
        let mut long = Capture { events: Vec::new(), ..capture.clone() };
        for event_type in event_types() {
            for data in forms.iter().copied().chain(own.iter().copied()) {
                long.add(*pcr, event_type, b"evil", data);
            }
        }
        // Logs are bounded, so the additions come in several.
        let events = std::mem::take(&mut long.events);
        let mut seen = BTreeSet::new();
        for chunk in events.chunks(4096) {
            let added = examine(&Capture { events: chunk.to_vec(), ..long.clone() }.bytes());
            assert_eq!(added.entries.len(), chunk.len());
            for (at, entry) in added.entries.iter().enumerate() {
                if !seen.insert((entry.event_type.0, entry.kind, entry.name.clone())) {
                    continue;
                }
                let judgement = judge(&with_one(&genuine, &added, at), SHA256, Some(baseline), profile);
                assert!(!judgement.accepts(), "PCR {pcr} {entry:?}: {:?}", judgement.findings);
                tried += 1;
            }
        }
    }
    tried
}

/// The same where a baseline has several boots, rules for what varies, and patterns of names.
#[test]
fn nothing_can_be_added_to_what_was_learned_from_several_boots() {
    let reports: Vec<LogReport> = ["secure-boot", "other-disk", "boot-entry", "initrd"]
        .iter()
        .map(|variant| examine(&Capture::of(variant).bytes()))
        .collect();
    let baseline = Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap();
    assert!(baseline.boots.len() > 1 && !baseline.rules.is_empty() && !baseline.merged.is_empty());
    let (baseline, forms) = (baseline.compile(), forms());
    let forms: Vec<&[u8]> = forms.iter().step_by(5).map(Vec::as_slice).collect();
    for variant in ["secure-boot", "other-disk", "initrd"] {
        add_everything(&Capture::of(variant), &baseline, &Profile::measured_only(), ENFORCED, &forms);
    }
}

/// And where nothing but lists of digests says what may run, and everything else is let pass.
#[test]
fn nothing_can_be_added_where_rules_list_what_may_run() {
    use veriboot_appraisal::{Rule, Says, Unlisted};
    let pcrs = [4, 8, 9];
    let capture = Capture::of("secure-boot");
    let report = examine(&capture.bytes());
    let mut listed: BTreeMap<ComponentKind, BTreeSet<Digest>> = BTreeMap::new();
    for (entry, digest) in report.entries.iter().zip(&report.bank(SHA256).unwrap().digests) {
        let named_by_itself = [ComponentKind::Separator, ComponentKind::FirmwareAction].contains(&entry.kind);
        if pcrs.contains(&entry.pcr) && !named_by_itself {
            listed.entry(entry.kind).or_default().insert(digest.unwrap());
        }
    }
    let mut baseline = Baseline::new(SHA256);
    baseline.unlisted = Unlisted::Note;
    baseline.rules =
        listed.into_iter().map(|(kind, digests)| Rule::new(kind, Says::Digests(digests))).collect();
    assert!(baseline.flaws().iter().all(|flaw| !flaw.refused), "{:?}", baseline.flaws());
    let (baseline, forms) = (baseline.compile(), forms());
    let forms: Vec<&[u8]> = forms.iter().step_by(3).map(Vec::as_slice).collect();
    add_everything(&capture, &baseline, &Profile::default(), &pcrs, &forms);
    for variant in ["cmdline", "initrd", "other-kernel"] {
        let other = examine(&Capture::of(variant).bytes());
        assert!(!judge(&other, SHA256, Some(&baseline), &Profile::default()).accepts(), "{variant}");
    }
}

/// The machine booted something else and extended everything that the baseline has after it.
#[test]
fn appending_the_baseline_hides_nothing() {
    let good = Capture::of("secure-boot");
    let baseline = good.baseline();
    for variant in ["cmdline", "initrd", "other-kernel"] {
        let evil = Capture::of(variant);
        for event_type in event_types() {
            for data in forms().iter().step_by(if variant == "initrd" { 2 } else { 9 }) {
                let forged = evil.covered_up(&good, event_type, data);
                let judgement =
                    judge(&examine(&forged.bytes()), SHA256, Some(&baseline), &Profile::default());
                assert!(!judgement.accepts(), "{variant} as {event_type} {data:x?}");
            }
        }
        for (event_type, data) in [
            (EventType::EV_EFI_HANDOFF_TABLES, &[0; 8][..]),
            (EventType::EV_IPL, b"grubenv\0"),
            (EventType::EV_COMPACT_HASH, b"counter"),
            (EventType::EV_NONHOST_CONFIG, b"x"),
            (EventType::EV_TABLE_OF_DEVICES, b"x"),
        ] {
            let forged = evil.covered_up(&good, event_type, data);
            let outcome = appraise(&forged.tpm(), &forged.bytes(), Some(&baseline), None);
            assert_eq!(outcome.facts.log, FactState::Valid, "it replays: {:?}", codes(&outcome));
            assert_eq!(outcome.verdict, Verdict::Unhealthy, "{variant} as {event_type}");
            assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation], "{:?}", codes(&outcome));
        }
    }
}

/// An action or a boot entry whose text is the measured content: the digest check has nothing to say.
#[test]
fn an_image_is_no_action_and_no_boot_entry() {
    let machine = Machine::default().log();
    let baseline = Baseline::learn(&examine(&machine.bytes()), SHA256).unwrap().compile();
    let mut evil = machine.clone();
    evil.text(4, EventType::EV_EFI_ACTION, b"an evil image of a boot loader");
    let mut variable = Log { banks: vec![], events: vec![] };
    variable.variable(4, EventType::EV_EFI_VARIABLE_BOOT, common::GLOBAL, "BootOrder", b"ev");
    let mut also = machine.clone();
    also.events.extend(variable.events);
    for log in [evil, also] {
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), Some(&baseline), None);
        assert_eq!(outcome.facts.log, FactState::Valid, "{:?}", codes(&outcome));
        assert_eq!(outcome.reasons, [AlertReason::BaselineDeviation], "{:?}", codes(&outcome));
    }
}

fn grub_files(before: &[(&str, &[u8])], now: &[(&str, &[u8])]) -> Vec<veriboot_wire::Finding> {
    let log = |files: &[(&str, &[u8])]| {
        let mut log = Machine::default().log();
        for (name, content) in files {
            log.ipl(9, name, content);
        }
        log
    };
    let baseline = Baseline::learn(&examine(&log(before).bytes()), SHA256).unwrap().compile();
    judge(&examine(&log(now).bytes()), SHA256, Some(&baseline), &Profile::default()).findings
}

/// GRUB's environment block differs from boot to boot; only the one that the baseline has, where it has it.
#[test]
fn the_environment_block_is_noted_where_it_was() {
    const ENV: &str = "(hd0,gpt2)/boot/grub/grubenv";
    let before: &[(&str, &[u8])] = &[("/a.mod", b"a"), (ENV, b"1"), ("/b.mod", b"b")];
    let honest = grub_files(before, &[("/a.mod", b"a"), (ENV, b"2"), ("/b.mod", b"b")]);
    assert_eq!(honest.len(), 1, "{honest:?}");
    assert_eq!((honest[0].severity, honest[0].code.as_str()), (Severity::Info, "component-changed"));

    let refused: &[&[(&str, &[u8])]] = &[
        &[("/a.mod", b"a"), (ENV, b"1"), ("/b.mod", b"b"), (ENV, b"evil")],
        &[("/a.mod", b"a"), ("/b.mod", b"b"), (ENV, b"evil")],
        &[("/a.mod", b"a"), ("(hd0,gpt1)/grubenv", b"evil"), ("/b.mod", b"b")],
        &[("/a.mod", b"a"), ("/b.mod", b"b")],
        &[("/a.mod", b"a"), (ENV, b"evil"), (ENV, b"1"), ("/b.mod", b"b")],
    ];
    for now in refused {
        let findings = grub_files(before, now);
        assert!(findings.iter().any(veriboot_wire::Finding::fails), "{now:?}: {findings:?}");
    }
    let findings = grub_files(&[], &[(ENV, b"new")]);
    assert!(findings.iter().any(veriboot_wire::Finding::fails));
}

/// Another description does not hide another order.
#[test]
fn an_order_is_not_hidden_by_names() {
    let before: &[(&str, &[u8])] = &[("/a.mod", b"a"), ("/b.mod", b"b")];
    let findings = grub_files(before, &[("/a.mod", b"b"), ("/b.mod", b"a")]);
    assert!(findings.iter().any(|f| f.code == "component-reordered" && f.fails()), "{findings:?}");
}

/// What may differ between two honest boots of one machine, and no more, is noted.
#[test]
fn an_honest_second_boot_passes() {
    let first = Machine::default();
    let mut log = first.log();
    let tables = |log: &mut Log, content: &[u8]| {
        let data = [&[9][..], b"ACPI DATA", &1_u64.to_le_bytes(), &[3; 24]].concat();
        log.push(1, EventType::EV_EFI_HANDOFF_TABLES2, content, &data);
    };
    tables(&mut log, b"addresses 1");
    let baseline = Baseline::learn(&examine(&log.bytes()), SHA256).unwrap().compile();
    let again = Machine { boot_order: vec![1, 0, 0, 0], ..first };
    let mut log = again.log();
    tables(&mut log, b"addresses 2");
    // A boot option that was tried before the one that works, and ExitBootServices that had to be called again.
    let at = log.events.iter().position(|e| e.data.starts_with(b"Calling EFI")).unwrap();
    let mut retry = Log { banks: vec![], events: vec![] };
    retry.text(4, EventType::EV_EFI_ACTION, b"Calling EFI Application from Boot Option");
    retry.text(4, EventType::EV_EFI_ACTION, b"Returning from EFI Application from Boot Option");
    log.events.splice(at..at, retry.events);
    log.text(5, EventType::EV_EFI_ACTION, b"Exit Boot Services Returned with Failure");
    let outcome = appraise(&Tpm::booted(&log), &log.bytes(), Some(&baseline), None);
    assert_eq!(outcome.verdict, Verdict::Healthy, "{:?}", outcome.findings);
    assert_eq!(outcome.facts.baseline, FactState::Valid);
    let noted: BTreeMap<u32, usize> =
        outcome.findings.iter().filter_map(|f| f.pcr).fold(BTreeMap::new(), |mut counts, pcr| {
            *counts.entry(pcr).or_default() += 1;
            counts
        });
    assert_eq!(noted.keys().copied().collect::<Vec<_>>(), [1, 4, 5]);
    assert!(outcome.findings.iter().all(|f| f.severity == Severity::Info && f.reason.is_none()));
}

/// Captures of one machine: every boot entry and the order of them in another way.
#[test]
fn a_capture_with_another_boot_order_passes() {
    for variant in CAPTURES {
        let capture = Capture::of(variant);
        let mut other = capture.clone();
        let mut changed = 0;
        for event in other.events.iter_mut().filter(|e| e.pcr == 1 && e.event_type == 0x8000_0002) {
            *event.data.last_mut().unwrap() ^= 1;
            let name = u64::from_le_bytes(event.data[16..24].try_into().unwrap());
            let content = event.data[32 + 2 * usize::try_from(name).unwrap()..].to_vec();
            for (bank, digest) in &mut event.digests {
                *digest = bank.hash(&[&content]).as_ref().to_vec();
            }
            changed += 1;
        }
        assert!(changed > 0, "{variant}");
        other.events.push(capture.events.iter().find(|e| e.pcr == 1).unwrap().clone());
        let judgement =
            judge(&examine(&other.bytes()), SHA256, Some(&capture.baseline()), &Profile::measured_only());
        assert!(judgement.accepts(), "{variant}: {:?}", judgement.findings);
        assert!(!judgement.findings.is_empty());
    }
}

/// The column of a bank that no quote proves says what the agent wants; so it must not become a reference.
#[test]
fn digests_of_another_bank_are_never_believed() {
    let banks = vec![SHA256, HashAlg::Sha384];
    let honest = Machine { banks: banks.clone(), ..Machine::default() };
    let evil = Machine { initrd: "evil initrd", ..honest.clone() };
    let mut prepared = Capture::parse(&honest.log().bytes());
    let evil = Capture::parse(&evil.log().bytes());
    for (ours, theirs) in prepared.events.iter_mut().zip(&evil.events) {
        ours.digests[1] = theirs.digests[1].clone();
    }
    let report = examine(&prepared.bytes());
    let baseline = Baseline::learn(&report, SHA256).unwrap().compile();
    assert!(judge(&report, SHA256, Some(&baseline), &Profile::default()).accepts());
    for bank in [SHA256, HashAlg::Sha384] {
        let judgement = judge(&examine(&evil.bytes()), bank, Some(&baseline), &Profile::default());
        assert!(!judgement.accepts(), "{bank}");
    }
    let other = judge(&examine(&evil.bytes()), HashAlg::Sha384, Some(&baseline), &Profile::default());
    assert_eq!(other.findings[0].code, "baseline-bank-mismatch");
}

/// An event of which the quoted bank has nothing: neither judged nor learned, and not shown as a part of the boot.
#[test]
fn an_event_without_a_digest_of_the_quoted_bank_fails() {
    let machine = Machine { banks: vec![HashAlg::Sha1, SHA256], ..Machine::default() };
    let baseline = Baseline::learn(&examine(&machine.log().bytes()), SHA256).unwrap().compile();
    let mut log = Capture::parse(&machine.log().bytes());
    log.add(9, EventType::EV_IPL, b"x", b"/initrd-of-the-attacker\0");
    log.events.last_mut().unwrap().digests.truncate(1);
    let report = examine(&log.bytes());
    let last = report.entries.last().unwrap();
    assert_eq!(Baseline::learn(&report, SHA256).unwrap_err().code(), "digest-missing");
    let shown = |bank| components_in(&report, bank).values().any(|text| text.contains("of-the-attacker"));
    assert!(!shown(SHA256));
    for baseline in [None, Some(&baseline)] {
        let outcome = appraise(&log.tpm(), &log.bytes(), baseline, None);
        assert_eq!(outcome.reasons, [AlertReason::LogMismatch], "{:?}", codes(&outcome));
        let finding = outcome.primary().unwrap();
        assert_eq!((finding.code.as_str(), finding.event), ("log-digest-missing", Some(last.event)));
        assert!(!outcome.learnable);
    }
}

/// Nothing can be proven about a register that the TPM does not have, so it is no part of the boot.
#[test]
fn events_of_registers_that_do_not_exist_fail() {
    let machine = Machine::default();
    let baseline = Baseline::learn(&examine(&machine.log().bytes()), SHA256).unwrap().compile();
    let genuine = Capture::parse(&machine.log().bytes());
    let tpm = genuine.tpm();
    for pcr in [24, 31, 32, 100, 0xFFFF_FFFE] {
        let mut log = genuine.clone();
        log.add(pcr, EventType::EV_IPL, b"x", b"/initrd\0");
        let report = examine(&log.bytes());
        assert!(report.entries.iter().all(|e| e.pcr != pcr));
        let outcome = appraise(&tpm, &log.bytes(), Some(&baseline), None);
        assert_eq!(outcome.reasons, [AlertReason::LogMismatch], "{pcr}: {:?}", codes(&outcome));
        assert_eq!(outcome.primary().unwrap().code, "log-register-unknown");
        assert!(!outcome.learnable);
    }
}

/// Work and findings stay bounded whatever the log holds.
#[test]
fn a_log_with_too_many_events_is_not_judged() {
    let genuine = Capture::parse(&Machine::default().log().bytes());
    let baseline = genuine.baseline();
    let with = |count: u32, pcr: fn(u32) -> u32| {
        let mut log = genuine.clone();
        for n in 0..count {
            log.add(pcr(n), EventType::EV_IPL, &n.to_le_bytes(), format!("/file-{n}\0").as_bytes());
        }
        log
    };
    let large = with(8192, |n| n % 24);
    let report = examine(&large.bytes());
    assert_eq!(report.entries, []);
    assert_eq!(Baseline::learn(&report, SHA256).unwrap_err().code(), "baseline-too-large");
    for baseline in [None, Some(&baseline)] {
        assert!(!judge(&report, SHA256, baseline, &Profile::measured_only()).accepts());
    }
    let outcome = appraise(&large.tpm(), &large.bytes(), Some(&baseline), None);
    assert_eq!(outcome.primary().unwrap().code, "log-too-many-events", "{:?}", codes(&outcome));
    assert!(!outcome.learnable);
    assert_eq!(veriboot_appraisal::compare(&report, &report)[0].code, "log-too-many-events");

    // Just below the bound: everything differs, in the registers that exist, and in others.
    for pcr in [(|n| n % 24) as fn(u32) -> u32, |n| 100 + n, |_| 9] {
        let started = std::time::Instant::now();
        let report = examine(&with(8000, pcr).bytes());
        let judgement = judge(&report, SHA256, Some(&baseline), &Profile::default());
        let bytes: usize = report.findings.iter().chain(&judgement.findings).map(|f| f.message.len()).sum();
        assert!(bytes < 64 * 1024, "{bytes} bytes of findings");
        assert!(started.elapsed().as_secs() < 10, "{:?} in a debug build", started.elapsed());
    }
}

/// Row 11: shim was told not to verify, and the log calls what shim measured something else.
#[test]
fn shim_validation_is_read_by_digest() {
    let state = |content: u8| {
        let mut log = Log { banks: vec![], events: vec![] };
        log.mok_state_variable("MokSBState", &[content]);
        log.ipl(14, "MokSBState", &[content]);
        log.events
    };
    let verdict = |change: &dyn Fn(&mut Log)| {
        let mut log = Machine::default().log();
        log.ipl(14, "MokListTrusted", &[1]);
        change(&mut log);
        let outcome = appraise(&Tpm::booted(&log), &log.bytes(), None, None);
        codes(&outcome).contains(&"shim-validation-disabled")
    };
    assert!(!verdict(&|_| {}), "MokListTrusted is 1 on most machines");
    assert!(!verdict(&|log| log.events.extend(state(0))));
    assert!(verdict(&|log| log.events.extend(state(1))));
    // PCR 7 alone, as an action whose text is the measured variable.
    assert!(verdict(&|log| {
        let variable = state(1)[0].clone();
        log.text(7, EventType::EV_EFI_ACTION, &variable.data);
    }));
    // PCR 14 alone, as something else, without a name, and as a second MokListTrusted.
    for (event_type, data) in [
        (EventType::EV_IPL, &b"MokListX\0"[..]),
        (EventType::EV_IPL, b"MokListTrusted\0"),
        (EventType::EV_COMPACT_HASH, b"MokListTrusted\0"),
        (EventType::EV_EFI_HANDOFF_TABLES, b""),
    ] {
        assert!(verdict(&|log| log.push(14, event_type, &[1], data)), "{event_type} {data:?}");
    }
    // shim runs again after a boot option failed: its lists come first, and then MokListTrusted once more. What the log
    // calls MokListTrusted twice within one run is not.
    let runs = |log: &mut Log, trusted_lists: &[usize]| {
        log.events.retain(|e| e.pcr != 14);
        for count in trusted_lists {
            log.ipl(14, "MokList", b"the vendor's certificate");
            (0..*count).for_each(|_| log.ipl(14, "MokListTrusted", &[1]));
        }
    };
    assert!(!verdict(&|log| runs(log, &[1, 1, 1])));
    assert!(verdict(&|log| runs(log, &[1, 2])));
    assert!(verdict(&|log| runs(log, &[2, 1])));
}
