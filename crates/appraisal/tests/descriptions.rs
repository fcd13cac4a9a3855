//! Types and texts of a log are claims: what rules ask about is not hidden by other ones.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::path::Path;

use common::SHA256;
use common::boot::{Boot, Ev, digest, forged, passes, rules_and_note};
use veriboot_appraisal::{Profile, examine, judge};
use veriboot_eventlog::EventType;
use veriboot_wire::ChangeClass;

/// `by-authority` on a machine with a certificate that nobody knows, a hidden command line, or a machine owner key.
#[test]
fn by_authority_is_not_deceived_by_descriptions() {
    let profile = Profile::by_authority();
    let honest = Boot::of("secure-boot");
    assert!(passes(None, &honest, &profile));
    // Another authority in PCR 7: that of the lab's key, and a bare hash.
    let lab = Boot::of("extra-program");
    let stranger = lab
        .events
        .iter()
        .filter(|e| e.pcr == 7 && e.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY.0)
        .find(|e| e.data.windows(12).any(|w| w == b"Veriboot lab"))
        .unwrap();
    let mut bare = stranger.clone();
    bare.data.truncate(bare.data.len() - 100);
    bare.digest = SHA256.hash(&[&bare.data]).as_ref().to_vec();
    for event in [stranger.clone(), bare] {
        let at = honest.find(7, b"sbat,1");
        let evil = honest.with(|boot| boot.events.insert(at, event));
        for forgery in forged(&evil, at) {
            assert!(!passes(None, &forgery, &profile), "{:?}", forgery.events[at]);
        }
    }
    // A dangerous command line, called something else.
    let evil = Boot::of("cmdline");
    for needle in [&b"kernel_cmdline"[..], b"grub_cmd: linux"] {
        let at = evil.find(8, needle);
        for forgery in forged(&evil, at) {
            assert!(!passes(None, &forgery, &profile), "{:?}", forgery.events[at]);
        }
    }
    // What shim measured of the owner's keys came first.
    let evil = Boot::of("mok");
    let list = evil.events.iter().position(|e| e.pcr == 14).unwrap();
    let vendor = honest.events.iter().find(|e| e.pcr == 14).unwrap().clone();
    for forgery in forged(&evil, list) {
        assert!(!passes(None, &forgery, &profile));
        assert!(!passes(None, &forgery.with(|boot| boot.events.push(vendor.clone())), &profile));
    }
}

/// Test signing on Windows, whatever the log calls the event that says so.
#[test]
fn windows_settings_are_not_hidden() {
    let Some(corpus) = std::env::var_os("VERIBOOT_CORPUS") else {
        println!("skipped: VERIBOOT_CORPUS is not set");
        return;
    };
    let log = std::fs::read(Path::new(&corpus).join("logs/python3-uefi-eventlog--ideapad1.bin")).unwrap();
    let boot = Boot::read(&log);
    let profile = Profile::by_authority();
    let complaints = |boot: &Boot| -> Vec<String> {
        let judgement = judge(&examine(&boot.bytes()), SHA256, None, &profile);
        let settings =
            judgement.findings.into_iter().filter(|f| f.change == Some(ChangeClass::WindowsPolicyChange));
        settings.map(|f| f.message).collect()
    };
    assert_eq!(complaints(&boot), Vec::<String>::new());
    for (id, value, words) in [
        (0x0005_0003_u32, 1_u8, "test signing is on and must be off"),
        (0x0005_0002, 0, "code integrity is off and must be on"),
        (0x0004_0001, 1, "boot debugging is on and must be off"),
        (0x0005_0001, 1, "kernel debugging is on and must be off"),
    ] {
        // A container of a trust boundary with one flag, as the boot manager measures it.
        let flag = [&id.to_le_bytes()[..], &1_u32.to_le_bytes(), &[value]].concat();
        let data = [&0x4001_0001_u32.to_le_bytes()[..], &(flag.len() as u32).to_le_bytes(), &flag].concat();
        let at = boot.events.iter().position(|e| e.pcr == 12).unwrap();
        let digest = SHA256.hash(&[&data]).as_ref().to_vec();
        let evil = boot.with(|boot| {
            boot.events.insert(at, Ev { pcr: 12, event_type: EventType::EV_EVENT_TAG.0, digest, data });
        });
        assert!(
            complaints(&evil).iter().any(|told| told.contains(words)),
            "{words}: {:?}",
            complaints(&evil)
        );
        for forgery in forged(&evil, at) {
            let report = examine(&forgery.bytes());
            let edited = report.findings.iter().any(|f| f.fails());
            assert!(edited || !complaints(&forgery).is_empty(), "{:?}", forgery.events[at]);
        }
    }
}

/// GRUB measures the command and the command line that it hands over; the words before both are in no digest.
#[test]
fn a_command_line_is_not_hidden_by_both_of_its_descriptions() {
    let profile = Profile::by_authority();
    let required = rules_and_note(
        "[[rules]]\ncomponent = \"kernel-command-line\"\nparameters = { required = [\"lockdown=integrity\"] }\n",
    );
    let evil = Boot::of("cmdline");
    assert!(passes(None, &Boot::of("secure-boot"), &profile) && !passes(None, &evil, &profile));
    let prefixes = ["kernel_cmdline: ", "grub_cmd: ", "module_cmdline: "];
    let places: Vec<usize> = (0..evil.events.len())
        .filter(|at| {
            let event = &evil.events[*at];
            event.pcr == 8
                && (event.data.starts_with(b"kernel_cmdline: ") || event.data.starts_with(b"grub_cmd: linux"))
        })
        .collect();
    assert!(places.len() >= 2, "{places:?}");
    let text_of = |at: usize| {
        let data = &evil.events[at].data;
        let prefix = prefixes.iter().find(|p| data.starts_with(p.as_bytes())).unwrap();
        data[prefix.len()..].to_vec()
    };
    for kinds in [["module_cmdline: ", "grub_cmd: "], ["module_cmdline: ", "module_cmdline: "]] {
        let mut forged = evil.clone();
        for at in &places {
            let text = text_of(*at);
            let prefix = if text.starts_with(b"linux") { kinds[0] } else { kinds[1] };
            forged.events[*at].data = [prefix.as_bytes(), &text].concat();
        }
        assert!(!passes(None, &forged, &profile), "{kinds:?}");
        // A second command line that has all that is required.
        let line = "/vmlinuz lockdown=integrity";
        forged.events.push(Ev {
            pcr: 8,
            event_type: EventType::EV_IPL.0,
            digest: digest(line),
            data: format!("kernel_cmdline: {line}\0").into_bytes(),
        });
        assert!(!passes(None, &forged, &profile), "{kinds:?}");
        assert!(!passes(Some(&required), &forged, &Profile::default()), "{kinds:?}");
    }
    let mut actions = evil.clone();
    for at in &places {
        let text = text_of(*at);
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        assert_eq!(SHA256.hash(&[text]).as_ref(), actions.events[*at].digest, "what GRUB measures");
        actions.events[*at].event_type = EventType::EV_ACTION.0;
        actions.events[*at].data = text.to_vec();
    }
    assert!(!passes(None, &actions, &profile));
}

/// What systemd-stub measures as its options, with an end that names of measured things have, or as a command.
#[test]
fn options_of_the_stub_are_command_lines_whatever_they_end_with() {
    let forbidden = rules_and_note(
        "[[rules]]\ncomponent = \"kernel-command-line\"\nparameters = { forbidden = [\"init=*\"] }\n",
    );
    let boot = Boot::of("secure-boot");
    assert!(passes(Some(&forbidden), &boot, &Profile::default()));
    for line in ["init=/bin/sh", "init=/bin/sh initrd", "init=/bin/sh credentials", "init=/bin/sh extensions"]
    {
        let wide: Vec<u8> = line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        for prefix in ["", "grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "] {
            let evil = boot.with(|boot| {
                let digest = SHA256.hash(&[&wide]).as_ref().to_vec();
                let data = [prefix.as_bytes(), &wide].concat();
                boot.events.push(Ev { pcr: 12, event_type: EventType::EV_IPL.0, digest, data });
            });
            assert!(!passes(Some(&forbidden), &evil, &Profile::default()), "{prefix}{line}");
        }
    }
}

/// The separator of PCR 7 and what admitted an image, both shown as actions with the data that was measured.
#[test]
fn an_authority_is_not_hidden_with_the_separator() {
    let profile = Profile::by_authority();
    let honest = Boot::of("secure-boot");
    let lab = Boot::of("extra-program");
    let authority = EventType::EV_EFI_VARIABLE_AUTHORITY.0;
    let of_lab =
        |e: &&Ev| e.pcr == 7 && e.event_type == authority && e.data.windows(12).any(|w| w == b"Veriboot lab");
    let stranger = lab.events.iter().find(of_lab).unwrap().clone();
    let at = honest.find(7, b"sbat,1");
    let evil = honest.with(|boot| boot.events.insert(at, stranger));
    assert!(!passes(None, &evil, &profile));
    let separator = |e: &Ev| e.pcr == 7 && e.event_type == EventType::EV_SEPARATOR.0;
    let separator = evil.events.iter().position(separator).unwrap();
    for event_type in [EventType::EV_EFI_ACTION, EventType::EV_ACTION, EventType::EV_SEPARATOR] {
        let forged = evil.with(|boot| {
            boot.events[separator].event_type = event_type.0;
            boot.events[at].event_type = EventType::EV_EFI_ACTION.0;
        });
        assert!(!passes(None, &forged, &profile), "{event_type}");
    }
}

/// The level that shim applied came first, whatever the log calls it.
#[test]
fn a_low_sbat_level_is_not_overtaken() {
    let wanted = rules_and_note("[[rules]]\ncomponent = \"sbat-level\"\nminimum = { level = 2025051000 }\n");
    let (low, high) = (Boot::of("secure-boot"), Boot::of("sbat-raised"));
    assert!(passes(Some(&wanted), &high, &Profile::default()));
    assert!(!passes(Some(&wanted), &low, &Profile::default()));
    let at = low.find(7, b"sbat,1");
    let level = high.events[high.find(7, b"sbat,1")].clone();
    let late = low.with(|boot| boot.events.push(level));
    for forged in forged(&late, at) {
        assert!(!passes(Some(&wanted), &forged, &Profile::default()), "{:?}", forged.events[at]);
    }
}

/// Who may change db is not hidden by showing KEK as an action.
#[test]
fn key_exchange_keys_are_not_hidden() {
    let (boot, profile) = (Boot::of("own-keys"), Profile::own_keys());
    assert!(passes(None, &boot, &profile));
    let name: Vec<u8> = "KEK".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = boot.events.iter().position(|e| e.pcr == 7 && e.data.get(32..38) == Some(&name[..])).unwrap();
    for event_type in [EventType::EV_EFI_ACTION, EventType::EV_ACTION] {
        let forged = boot.with(|boot| boot.events[at].event_type = event_type.0);
        assert!(!passes(None, &forged, &profile), "{event_type}");
    }
}

/// Firmware that loads option ROMs early measures who admitted them before the separator of PCR 7. The type is in no digest.
#[test]
fn an_authority_before_the_separator_is_not_hidden_by_its_type() {
    let honest = Boot::of("secure-boot");
    let lab = Boot::of("extra-program");
    let is_stranger = |e: &&Ev| e.pcr == 7 && e.data.windows(12).any(|w| w == b"Veriboot lab");
    let is_authority = |e: &&Ev| e.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY.0;
    let stranger = lab.events.iter().filter(is_stranger).find(is_authority).unwrap().clone();
    let mut bare = stranger.clone();
    bare.data.truncate(bare.data.len() - 100);
    bare.digest = SHA256.hash(&[&bare.data]).as_ref().to_vec();
    let separator = EventType::EV_SEPARATOR.0;
    let at = honest.events.iter().position(|e| e.pcr == 7 && e.event_type == separator).unwrap();
    // Rules that list whose images may run, and nothing about who admits.
    let images: String = ["shim", "boot-loader", "kernel"]
        .iter()
        .map(|component| {
            format!(
                "[[rules]]\ncomponent = \"{component}\"\nauthorities = [\n\
                 {{ sha256 = \"48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507\", subject = \"A\" }},\n\
                 {{ sha256 = \"079646974bce09b1f04da67bd722d1fb0947ae4c4010bccdbba52d5b23cbf1a2\", subject = \"B\" }},\n]\n"
            )
        })
        .collect();
    let by_images = rules_and_note(&images);
    let profile = Profile::by_authority();
    assert!(passes(None, &honest, &profile) && passes(Some(&by_images), &honest, &Profile::default()));
    for event in [stranger, bare] {
        let evil = honest.with(|boot| boot.events.insert(at, event));
        for forgery in forged(&evil, at) {
            assert!(!passes(None, &forgery, &profile), "{:?}", forgery.events[at]);
            assert!(!passes(Some(&by_images), &forgery, &Profile::default()), "{:?}", forgery.events[at]);
        }
    }
}
