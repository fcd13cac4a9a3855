//! Each kind of rule on its own: what it demands, what it explains, and what it does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::path::Path;

use common::{Machine, SHA256};
use veriboot_appraisal::{Baseline, Judgement, LogReport, Profile, examine, judge};
use veriboot_eventlog::HashAlg;

fn rules(text: &str) -> Baseline {
    Baseline::from_toml(&format!("schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n{text}")).unwrap()
}

fn machine(change: impl FnOnce(&mut Machine)) -> Machine {
    let mut machine = Machine::default();
    change(&mut machine);
    machine
}

fn report(machine: &Machine) -> LogReport {
    examine(&machine.log().bytes())
}

fn capture(variant: &str) -> LogReport {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant).join("eventlog.bin");
    examine(&std::fs::read(path).unwrap())
}

/// A boot held against the boot of `before` and these rules.
fn held(before: &LogReport, text: &str, now: &LogReport) -> Judgement {
    let mut baseline = Baseline::learn(before, SHA256).unwrap();
    baseline.rules = rules(text).rules;
    judge(now, SHA256, Some(&baseline.compile()), &Profile::default())
}

fn told(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|f| format!("{} {}: {}\n", f.severity, f.code, f.message)).collect()
}

fn minimum(component: &str, text: &str) -> String {
    format!("[[rules]]\ncomponent = \"{component}\"\nminimum = {text}\n")
}

#[test]
fn revocations_have_a_least_revision() {
    let boot = capture("secure-boot");
    let of = |component: &str, text: &str| held(&boot, &minimum(component, text), &boot);
    // The capture has level 2025021800 (shim 4, grub 5) and one hash in dbx, which revokes nothing that exists.
    for (component, text) in [
        ("sbat-level", "{ level = 2025021800 }"),
        ("sbat-level", "{ level = 2021030218, generations = { shim = 4, grub = 5 } }"),
        ("revocation-db", "{ entries = 1 }"),
    ] {
        assert_eq!(told(&of(component, text)), "", "{text}");
    }
    for (component, text, words) in [
        ("sbat-level", "{ level = 2025021801 }", "it is of 2025021800, and 2025021801 is the least"),
        ("sbat-level", "{ generations = { grub = 6 } }", "grub is at 5, and 6 is the least"),
        ("sbat-level", "{ generations = { systemd = 1 } }", "systemd is at 0, and 1 is the least"),
        ("revocation-db", "{ entries = 2 }", "it has 1 entry, and 2 is the least"),
    ] {
        let judgement = of(component, text);
        assert!(!judgement.accepts() && told(&judgement).contains(words), "{words}: {}", told(&judgement));
        assert_eq!(judgement.findings[0].code, "rule-violated");
        assert_eq!(judgement.findings[0].pcr, Some(7));
    }
    let missing = format!("{{ hashes = [\"{}\"] }}", "ab".repeat(32));
    assert!(told(&of("revocation-db", &missing)).contains("1 of the entries it must have are missing"));
    // By name: what the machine revokes.
    let updated = capture("dbx-updated");
    assert!(told(&held(&updated, &minimum("revocation-db", "{ entries = 4 }"), &updated)).is_empty());
    // A rule that is met explains that the list is another one; a lower level is explained by none.
    assert_eq!(told(&held(&boot, &minimum("revocation-db", "{ entries = 1 }"), &updated)), "");
    let lower = held(&capture("sbat-raised"), &minimum("sbat-level", "{ level = 2025051000 }"), &boot);
    assert!(!lower.accepts());
    // Without shim nothing shows a level.
    let uki = capture("uki");
    let judgement = held(&uki, &minimum("sbat-level", "{ level = 2021030218 }"), &uki);
    assert!(told(&judgement).contains("No SBAT level is measured"), "{}", told(&judgement));
}

#[test]
fn parameters_are_required_forbidden_and_allowed() {
    let rule = |text: &str| format!("[[rules]]\ncomponent = \"kernel-command-line\"\nparameters = {text}\n");
    let boot = capture("secure-boot");
    let evil = capture("cmdline");
    for text in [
        "{ required = [\"quiet\", \"console=*\"] }",
        "{ forbidden = [\"init=*\", \"lockdown=none\"] }",
        "{ forbid_dangerous = true }",
    ] {
        assert_eq!(told(&held(&boot, &rule(text), &boot)), "", "{text}");
    }
    // In a profile, against a baseline that accepts that very boot.
    for (text, words) in [
        ("{ required = [\"lockdown=integrity\"] }", "`lockdown=integrity` missing"),
        ("{ forbidden = [\"init=*\"] }", "`init=/bin/sh` forbidden"),
        ("{ forbid_dangerous = true }", "`lockdown=none` switches kernel lockdown off"),
    ] {
        let profile = Profile { rules: rules(&rule(text)).rules, ..Profile::default() };
        let baseline = Baseline::learn(&evil, SHA256).unwrap().compile();
        let judgement = judge(&evil, SHA256, Some(&baseline), &profile);
        assert!(!judgement.accepts() && told(&judgement).contains(words), "{words}: {}", told(&judgement));
        assert_eq!(judgement.findings[0].change, Some(veriboot_wire::ChangeClass::CmdlineChange));
    }
    // Allowed ones explain the command, the command line, the file that they were read from and what the kernel's stub
    // measures again.
    let before = report(&Machine::default());
    let now = |line: &'static str| report(&machine(|m| m.command_line = line));
    let allowed = rule("{ allowed = [\"console=*\", \"quiet\"] }");
    for line in
        ["root=/dev/vda1 ro console=ttyS1", "root=/dev/vda1 ro", "root=/dev/vda1 ro console=ttyS0 quiet"]
    {
        assert_eq!(told(&held(&before, &allowed, &now(line))), "", "{line}");
    }
    for line in [
        "root=/dev/vda1 ro console=ttyS1 init=/bin/sh",
        "root=/dev/vdb1 ro console=ttyS0",
        "ro root=/dev/vda1 console=ttyS0",
        "root=/dev/vda1 ro \"console=x init=/bin/sh\" y",
    ] {
        assert!(!held(&before, &allowed, &now(line)).accepts(), "{line}");
    }
    // Another command is no parameter, and then the file explains nothing either.
    let more = machine(|m| {
        m.command_line = "root=/dev/vda1 ro";
        m.more_commands = vec!["chainloader /evil.efi"];
    });
    assert!(!held(&before, &allowed, &report(&more)).accepts());
    // The configuration alone.
    let config = report(&machine(|m| m.more_commands = vec!["set timeout=1"]));
    assert!(!held(&before, &allowed, &config).accepts());
}

#[test]
fn settings_are_demanded() {
    let rule =
        |component: &str, text: &str| format!("[[rules]]\ncomponent = \"{component}\"\nstate = {text}\n");
    let boot = capture("secure-boot");
    let of = |boot: &LogReport, component: &str, text: &str| held(boot, &rule(component, text), boot);
    for (component, text) in [
        (
            "secure-boot-state",
            "{ secure-boot = \"on\", shim-validation = \"on\", setup-mode = \"off\", audit-mode = \"off\" }",
        ),
        ("mok-state", "{ machine-owner-keys = \"off\" }"),
        ("signature-db", "{ third-party-keys = \"on\" }"),
        // Windows did not run.
        ("windows-policy", "{ test-signing = \"off\", code-integrity = \"on\" }"),
    ] {
        assert_eq!(told(&of(&boot, component, text)), "", "{text}");
    }
    for (variant, component, text, words) in [
        (
            "secure-boot",
            "secure-boot-state",
            "{ deployed-mode = \"on\" }",
            "Nothing shows that deployed mode is on",
        ),
        ("secure-boot", "secure-boot-state", "{ setup-mode = \"on\" }", "setup mode is off and must be on"),
        ("mok", "mok-state", "{ machine-owner-keys = \"off\" }", "shim's list of keys (MokList)"),
        ("secure-boot", "signature-db", "{ third-party-keys = \"off\" }", "signs loaders of everybody"),
        (
            "mok-validation-off",
            "secure-boot-state",
            "{ shim-validation = \"on\" }",
            "verification by shim is off",
        ),
    ] {
        let judgement = of(&capture(variant), component, text);
        assert!(!judgement.accepts() && told(&judgement).contains(words), "{words}: {}", told(&judgement));
    }
}

#[test]
fn digests_count_at_the_place_of_another() {
    let before = report(&Machine::default());
    let digest = |text: &str| SHA256.hash(&[text.as_bytes()]).to_string();
    let rule = |component: &str, text: &str| {
        format!("[[rules]]\ncomponent = \"{component}\"\ndigests = [\"{}\"]\n", digest(text))
    };
    let initrd = |text: &'static str| report(&machine(|m| m.initrd = text));
    assert_eq!(told(&held(&before, &rule("initrd", "initrd 2"), &initrd("initrd 2"))), "");
    assert!(!held(&before, &rule("initrd", "initrd 2"), &initrd("initrd 3")).accepts());
    // Listed for another component.
    assert!(!held(&before, &rule("boot-loader-file", "initrd 2"), &initrd("initrd 2")).accepts());
    // In addition to what is there.
    let mut log = Machine::default().log();
    log.ipl(9, "/initrd.img", b"initrd 2");
    let added = examine(&log.bytes());
    assert!(!held(&before, &rule("initrd", "initrd 2"), &added).accepts());
    // An accepted application in front of the loaders is still in front of them.
    let extra = report(&machine(|m| m.extra_application = true));
    for kind in ["boot-loader", "shim", "kernel"] {
        let judgement = held(&before, &rule(kind, "evil"), &extra);
        assert!(!judgement.accepts() && judgement.proposed.is_none(), "{kind}: {}", told(&judgement));
    }
}

#[test]
fn lists_of_keys_hold_what_rules_name() {
    let boot = capture("secure-boot");
    let authorities = |component: &str, digests: &[&str]| {
        let listed: Vec<String> = digests.iter().map(|d| format!("{{ sha256 = \"{d}\" }}")).collect();
        format!("[[rules]]\ncomponent = \"{component}\"\nauthorities = [{}]\n", listed.join(", "))
    };
    // Values of `openssl x509 -outform der | sha256sum`.
    let microsoft = "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507";
    let windows = "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961";
    let debian = "079646974bce09b1f04da67bd722d1fb0947ae4c4010bccdbba52d5b23cbf1a2";
    assert_eq!(told(&held(&boot, &authorities("authority", &[microsoft, debian]), &boot)), "");
    assert_eq!(told(&held(&boot, &authorities("signature-db", &[microsoft, windows]), &boot)), "");
    let stranger = held(&boot, &authorities("authority", &[microsoft]), &boot);
    let words = format!(
        "An authority that no rule names admitted something: `Debian Secure Boot CA` of Debian (SHA-256 {debian})"
    );
    assert!(!stranger.accepts() && told(&stranger).contains(&words), "{}", told(&stranger));
    let stranger = held(&boot, &authorities("signature-db", &[microsoft]), &boot);
    assert!(
        told(&stranger).contains("`Microsoft Windows Production PCA 2011` of Microsoft"),
        "{}",
        told(&stranger)
    );
    let own = held(&boot, &authorities("platform-key", &[debian]), &boot);
    assert!(told(&own).contains("platform key (PK) has certificates that no rule names"), "{}", told(&own));
    // Another db with known certificates only is explained; the rule of db says nothing of KEK.
    let added = capture("microsoft-2023");
    let all = [
        microsoft,
        windows,
        "f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901",
        "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330",
        "e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1",
    ];
    let judgement = held(&boot, &authorities("signature-db", &all), &added);
    assert!(!told(&judgement).contains("(db)") && told(&judgement).contains("(KEK)"), "{}", told(&judgement));
}

/// The profile of own keys refuses Microsoft's, and takes the operator's.
#[test]
fn own_keys() {
    let profile = Profile::own_keys();
    let judged = |variant: &str| {
        let boot = capture(variant);
        judge(&boot, SHA256, Some(&Baseline::learn(&boot, SHA256).unwrap().compile()), &profile)
    };
    assert_eq!(told(&judged("own-keys")), "");
    for variant in ["secure-boot", "operator-db", "microsoft-2023"] {
        assert!(told(&judged(variant)).contains("signs loaders of everybody"), "{variant}");
    }
    assert!(!judged("secure-boot-off").accepts());
}

/// A setting that was measured twice is what protects least, whichever came last: who controls the system may measure more.
#[test]
fn the_weakest_reading_of_a_windows_setting_counts() {
    let Some(corpus) = std::env::var_os("VERIBOOT_CORPUS") else {
        println!("skipped: VERIBOOT_CORPUS is not set");
        return;
    };
    let name = "go-attestation--attest_testdata_windows_gcp_shielded_vm.json__Log_Raw.bin";
    let log = std::fs::read(Path::new(&corpus).join("logs").join(name)).unwrap();
    let end = log.len() - veriboot_eventlog::parse(&log).unwrap().trailing;
    let tagged = |id: u32, data: &[u8]| {
        let size = u32::try_from(data.len()).unwrap();
        [&id.to_le_bytes()[..], &size.to_le_bytes(), data].concat()
    };
    let complains = |setting: &str, wanted: &str, id: u32, values: &[u8]| {
        let mut log = log[..end].to_vec();
        for value in values {
            let data = tagged(0x4001_0001, &tagged(id, &[*value]));
            log.extend([12_u32, 6].into_iter().flat_map(u32::to_le_bytes));
            log.extend(HashAlg::Sha1.hash(&[&data]).as_ref());
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
        }
        let profile = serde_json::json!({
            "name": "settings",
            "secure_boot": "not-required",
            "rules": [{"component": "windows-policy", "state": {setting: wanted}}],
        });
        let profile = Profile::from_json(profile.to_string().as_bytes()).unwrap();
        let judgement = judge(&examine(&log), HashAlg::Sha1, None, &profile);
        judgement.findings.iter().any(|finding| {
            finding.change == Some(veriboot_wire::ChangeClass::WindowsPolicyChange)
                && finding.message.contains("must be")
                || finding.message.contains("Nothing shows that")
        })
    };
    let (hvci, test_signing) = (0x000A_0007, 0x0005_0003);
    for (values, expected) in [(&[1][..], false), (&[0], true), (&[0, 1], true), (&[1, 0], true)] {
        assert_eq!(complains("hvci", "on", hvci, values), expected, "hvci {values:?}");
    }
    for (values, expected) in [(&[0][..], false), (&[1], true), (&[0, 1], true), (&[1, 0], true)] {
        assert_eq!(
            complains("test-signing", "off", test_signing, values),
            expected,
            "test signing {values:?}"
        );
    }
}
