//! Whoever owns a guest chooses what its log calls an event, and may append events by extending PCRs. Neither makes a
//! condition true that the boot does not deserve.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_eventlog::{HashAlg, parse};
use veriboot_policy::{Boot, Compiled, Evaluated, Subject, Vm};
use veriboot_wire::Severity;

const NO_ACTION: u32 = 3;
const SEPARATOR: u32 = 4;
const ACTION: u32 = 5;
const CRTM_VERSION: u32 = 8;
const IPL: u32 = 0xd;
const EFI_ACTION: u32 = 0x8000_0007;
const APPLICATION: u32 = 0x8000_0003;
const AUTHORITY: u32 = 0x8000_00E0;

fn evaluated(expression: &str, log: &[u8], bank: Option<HashAlg>) -> Evaluated {
    let condition = Condition {
        id: "test".to_owned(),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    };
    let boot = Boot::read(log, &examine(log), bank, &Profile::default().run_time_pcrs);
    Compiled::compile(&condition).unwrap().0.evaluate(&boot, &Subject::new(Vm::default(), &[]))
}

fn holds(expression: &str, log: &[u8]) -> bool {
    evaluated(expression, log, None).holds()
}

fn capture(variant: &str) -> Vec<u8> {
    veriboot_testkit::corpus::golden(variant).unwrap().event_log
}

/// One event of SHA-256.
fn event(pcr: u32, kind: u32, digest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = pcr.to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0x0b_u16.to_le_bytes());
    bytes.extend(digest);
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

fn sha256(data: &[u8]) -> Vec<u8> {
    HashAlg::Sha256.hash(&[data]).as_ref().to_vec()
}

/// A capture with an event appended, as whoever runs in the guest can: extend the PCR, write the log.
fn appended(variant: &str, events: &[Vec<u8>]) -> Vec<u8> {
    let mut log = capture(variant);
    log.extend(events.concat());
    log
}

/// A capture in which events of one register that `which` picks by type and data are called something else.
fn renamed(
    log: &[u8],
    pcr: u32,
    which: impl Fn(u32, &[u8]) -> bool,
    as_what: impl Fn(&[u8]) -> (u32, Vec<u8>),
) -> Vec<u8> {
    let parsed = parse(log).unwrap();
    let mut out = log[..parsed.events[1].offset].to_vec();
    let mut count = 0;
    for event_ in &parsed.events[1..] {
        let digest = event_.digest(HashAlg::Sha256).unwrap_or(&[0; 32]);
        let (mut kind, mut data) = (event_.event_type.0, event_.data.to_vec());
        if event_.pcr == pcr && which(kind, &data) {
            (kind, data) = as_what(&data);
            count += 1;
        }
        out.extend(event(event_.pcr, kind, digest, &data));
    }
    assert!(count > 0, "nothing was renamed");
    out
}

const NO_INIT: &str = "!parameters.exists(p, p.name == 'init')";

fn line(text: &str) -> Vec<u8> {
    event(8, IPL, &sha256(text.as_bytes()), format!("kernel_cmdline: {text}\0").as_bytes())
}

#[test]
fn a_second_command_line_hides_nothing() {
    assert!(holds(NO_INIT, &capture("secure-boot")) && !holds(NO_INIT, &capture("cmdline")));
    for forged in [
        vec![line("/vmlinuz quiet")],
        vec![line("/vmlinuz quiet"), line("/vmlinuz quiet")],
        // In registers that anybody may extend.
        vec![event(16, IPL, &sha256(b"/vmlinuz quiet"), b"kernel_cmdline: /vmlinuz quiet\0")],
        vec![event(10, IPL, &sha256(b"/vmlinuz quiet"), b"kernel_cmdline: /vmlinuz quiet\0")],
        vec![event(9, IPL, &sha256(b"/vmlinuz quiet"), b"kernel_cmdline: /vmlinuz quiet\0")],
    ] {
        assert!(!holds(NO_INIT, &appended("cmdline", &forged)));
    }
    // And what is demanded cannot be added.
    let lockdown = "parameters.exists(p, p.name == 'lockdown' && p.value == 'integrity')";
    assert!(!holds(lockdown, &appended("secure-boot", &[line("/vmlinuz lockdown=integrity")])));
}

#[test]
fn the_true_command_line_cannot_be_called_something_else() {
    let log = appended("cmdline", &[line("/vmlinuz quiet")]);
    let is_line =
        |_: u32, data: &[u8]| data.starts_with(b"kernel_cmdline: ") && data.windows(5).any(|w| w == b"init=");
    let text = |data: &[u8]| data.strip_prefix(b"kernel_cmdline: ").unwrap().to_vec();
    let plain = |data: &[u8]| text(data).into_iter().filter(|b| *b != 0).collect::<Vec<u8>>();
    for (what, forged) in [
        ("command", renamed(&log, 8, is_line, |data| (IPL, [b"grub_cmd: ", &text(data)[..]].concat()))),
        ("module", renamed(&log, 8, is_line, |data| (IPL, [b"module_cmdline: ", &text(data)[..]].concat()))),
        ("text", renamed(&log, 8, is_line, |data| (IPL, plain(data)))),
        ("nonsense", renamed(&log, 8, is_line, |_| (IPL, b"nothing to see".to_vec()))),
        ("file", renamed(&log, 8, is_line, |_| (IPL, b"/boot/file\0".to_vec()))),
        ("action", renamed(&log, 8, is_line, |data| (ACTION, plain(data)))),
        ("firmware action", renamed(&log, 8, is_line, |data| (EFI_ACTION, plain(data)))),
        ("separator", renamed(&log, 8, is_line, |_| (SEPARATOR, vec![0; 4]))),
        ("separator with text", renamed(&log, 8, is_line, |data| (SEPARATOR, plain(data)))),
        ("blob", renamed(&log, 8, is_line, |_| (0x8000_0008, vec![0; 16]))),
        ("unknown", renamed(&log, 8, is_line, |_| (0x1234_5678, vec![1; 16]))),
    ] {
        let came_to = evaluated(NO_INIT, &forged, None);
        assert!(!came_to.holds(), "{what}: {came_to:?}");
    }
}

#[test]
fn an_image_stays_an_image() {
    let known = {
        let log = capture("secure-boot");
        let boot = Boot::read(&log, &examine(&log), None, &Profile::default().run_time_pcrs);
        let json = serde_json::to_value(boot.variables()).unwrap();
        let digests: Vec<String> = json["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| format!("'{}'", i["digest"].as_str().unwrap()))
            .collect();
        format!("size(images) > 0 && images.all(i, i.digest in [{}])", digests.join(", "))
    };
    assert!(holds(&known, &capture("secure-boot")));
    let evil = event(4, APPLICATION, &[7; 32], &[0; 32]);
    let log = appended("secure-boot", &[evil]);
    assert!(!holds(&known, &log));
    let is_evil = |kind: u32, data: &[u8]| kind == APPLICATION && data == [0; 32];
    for (kind, data) in [
        (IPL, b"grub_cmd: set a=b\0".to_vec()),
        (IPL, b"text".to_vec()),
        (EFI_ACTION, b"Calling EFI Application from Boot Option".to_vec()),
        (ACTION, b"Returning".to_vec()),
        (SEPARATOR, vec![0; 4]),
        (0x8000_0008, vec![0; 16]),
        (0x1234_5678, Vec::new()),
    ] {
        let forged = renamed(&log, 4, is_evil, |_| (kind, data.clone()));
        assert!(!holds(&known, &forged), "{kind:x}");
    }
}

#[test]
fn versions_and_levels_cannot_be_added() {
    let version: Vec<u8> = "good version\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_good = "has(firmware.version) && firmware.version.contains('good')";
    for pcr in [0, 4, 8, 16] {
        let forged = event(pcr, CRTM_VERSION, &sha256(&version), &version);
        assert!(!holds(is_good, &appended("secure-boot", &[forged])), "PCR {pcr}");
    }
    // Another SBAT level in PCR 7, as shim would measure it.
    let log = capture("secure-boot");
    let parsed = parse(&log).unwrap();
    let name: Vec<u8> = "SbatLevel".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let level = parsed.events.iter().find(|e| e.data.windows(name.len()).any(|w| w == name)).unwrap();
    let newer: Vec<u8> =
        String::from_utf8_lossy(level.data).contains("2025021800").then(|| level.data.to_vec()).unwrap();
    let at = newer.windows(10).position(|w| w == b"2025021800").unwrap();
    let mut newer = newer;
    newer[at..at + 4].copy_from_slice(b"2099");
    assert!(holds("sbat.date >= '2025-02-18'", &log));
    for pcr in [7, 14, 16] {
        let forged = event(pcr, AUTHORITY, &sha256(&newer), &newer);
        assert!(!holds("sbat.date >= '2099-01-01'", &appended("secure-boot", &[forged])), "PCR {pcr}");
    }
    // What is not extended is no evidence.
    let forged = event(0, NO_ACTION, &[0; 32], &version);
    assert!(!holds("has(firmware.vendor)", &appended("secure-boot", &[forged])));
}

/// Windows measures what it allows; calling one of these events something else does not take it back.
#[test]
fn settings_of_windows_cannot_be_renamed() {
    let Ok(folder) = std::env::var("VERIBOOT_CORPUS") else { return };
    let path = "logs/go-attestation--attest_testdata_windows_gcp_shielded_vm.json__Log_Raw.bin";
    let log = std::fs::read(std::path::Path::new(&folder).join(path)).unwrap();
    let hardened = "windows.measured && windows.code_integrity && !windows.test_signing";
    let sha1 = parse(&log).unwrap().active_banks();
    assert!(holds(hardened, &log), "{:?} {sha1:?}", evaluated(hardened, &log, None));
    if sha1 == [HashAlg::Sha256] {
        let first = std::cell::Cell::new(true);
        let forged = renamed(&log, 12, |_, _| first.replace(false), |_| (IPL, b"text".to_vec()));
        assert!(!holds(hardened, &forged));
    }
}

/// Only the bank that the quote proves says anything.
#[test]
fn another_bank_is_not_believed() {
    let log = capture("three-banks");
    let banks = parse(&log).unwrap().active_banks();
    assert!(banks.len() == 3, "{banks:?}");
    let size = |bank: HashAlg, characters: usize| {
        evaluated(
            &format!("images.all(i, size(i.digest) == {characters}) && size(images) > 0"),
            &log,
            Some(bank),
        )
        .holds()
    };
    assert!(size(HashAlg::Sha256, 64) && size(HashAlg::Sha384, 96) && !size(HashAlg::Sha384, 64));
    // A bank that the log does not extend proves nothing of it.
    assert!(matches!(
        evaluated("secure_boot.enabled", &log, Some(HashAlg::Sm3_256)),
        Evaluated::Absent { .. }
    ));
}
