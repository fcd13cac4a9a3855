//! What may be proposed or accepted by rules, and what an attacker makes of that: logs that replay to the PCRs of a machine
//! that booted something else, with whatever types, names and texts look best. "Extended later" is what root of that
//! machine can do: append digests. Nothing that was measured before can be taken out or overtaken.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::path::Path;

use veriboot_appraisal::{Baseline, ChangeRule, Judgement, Profile, examine, judge};
use veriboot_eventlog::{EventType, HashAlg, parse};
use veriboot_wire::{ChangeAction, ChangeClass, Severity};

const SHA256: HashAlg = HashAlg::Sha256;

#[derive(Clone, Debug)]
struct Ev {
    pcr: u32,
    event_type: u32,
    digest: Vec<u8>,
    data: Vec<u8>,
}

/// A capture of one bank, taken apart.
#[derive(Clone, Debug)]
struct Boot {
    header: Vec<u8>,
    events: Vec<Ev>,
}

impl Boot {
    fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        Self::read(&std::fs::read(folder.join("eventlog.bin")).unwrap_or_else(|e| panic!("{variant}: {e}")))
    }

    fn read(bytes: &[u8]) -> Self {
        let log = parse(bytes).unwrap();
        assert_eq!(log.banks, [SHA256]);
        let events = log.events[1..].iter().map(|e| Ev {
            pcr: e.pcr,
            event_type: e.event_type.0,
            digest: e.digest(SHA256).unwrap().to_vec(),
            data: e.data.to_vec(),
        });
        Self { header: bytes[..log.events[1].offset].to_vec(), events: events.collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.header.clone();
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.event_type.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
            out.extend(SHA256.tpm_id().to_le_bytes());
            out.extend(&event.digest);
            out.extend((event.data.len() as u32).to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    fn baseline(&self) -> Baseline {
        Baseline::learn(&examine(&self.bytes()), SHA256).unwrap()
    }

    /// Positions of the images in PCR 4.
    fn images(&self) -> Vec<usize> {
        let image = EventType::EV_EFI_BOOT_SERVICES_APPLICATION.0;
        (0..self.events.len())
            .filter(|at| self.events[*at].pcr == 4 && self.events[*at].event_type == image)
            .collect()
    }

    fn find(&self, pcr: u32, data: &[u8]) -> usize {
        let found = |e: &Ev| e.pcr == pcr && e.data.windows(data.len()).any(|w| w == data);
        self.events.iter().position(found).unwrap_or_else(|| panic!("PCR {pcr} has no such event"))
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }
}

fn digest(text: &str) -> Vec<u8> {
    SHA256.hash(&[text.as_bytes()]).as_ref().to_vec()
}

fn judged(baseline: &Baseline, boot: &Boot, profile: &Profile) -> Judgement {
    judge(&examine(&boot.bytes()), SHA256, Some(&baseline.clone().compile()), profile)
}

/// Neither the judgement nor the log itself lets the boot pass.
fn passes(baseline: Option<&Baseline>, boot: &Boot, profile: &Profile) -> bool {
    let report = examine(&boot.bytes());
    let compiled = baseline.map(|baseline| baseline.clone().compile());
    let judgement = judge(&report, SHA256, compiled.as_ref(), profile);
    judgement.accepts() && !report.findings.iter().any(|f| f.fails())
}

fn told(judgement: &Judgement) -> String {
    judgement
        .findings
        .iter()
        .map(|f| format!("{} {:?} {:?}: {}\n", f.severity, f.change, f.action, f.message))
        .collect()
}

/// Types under which an event can be shown.
const TYPES: &[EventType] = &[
    EventType::EV_EFI_BOOT_SERVICES_APPLICATION,
    EventType::EV_EFI_BOOT_SERVICES_DRIVER,
    EventType::EV_EFI_VARIABLE_DRIVER_CONFIG,
    EventType::EV_EFI_VARIABLE_AUTHORITY,
    EventType::EV_EFI_VARIABLE_BOOT,
    EventType::EV_EFI_ACTION,
    EventType::EV_ACTION,
    EventType::EV_SEPARATOR,
    EventType::EV_IPL,
    EventType::EV_EVENT_TAG,
    EventType::EV_COMPACT_HASH,
    EventType::EV_EFI_GPT_EVENT,
    EventType::EV_PLATFORM_CONFIG_FLAGS,
    EventType::EV_POST_CODE,
    EventType(0x1234),
];

/// Every way to show event `at`: its own data, none, and that of every other event of its PCR and of PCRs 4, 7 and 8.
fn forged(boot: &Boot, at: usize) -> Vec<Boot> {
    let mut texts: Vec<Vec<u8>> = vec![boot.events[at].data.clone(), Vec::new(), vec![0; 4]];
    let pcr = boot.events[at].pcr;
    texts.extend(
        boot.events.iter().filter(|e| e.pcr == pcr || matches!(e.pcr, 7 | 8)).map(|e| e.data.clone()),
    );
    texts.dedup();
    let forms = TYPES.iter().flat_map(|event_type| texts.iter().map(move |text| (event_type, text)));
    forms
        .map(|(event_type, text)| {
            boot.with(|boot| {
                boot.events[at].event_type = event_type.0;
                boot.events[at].data.clone_from(text);
            })
        })
        .collect()
}

#[test]
fn a_signed_kernel_is_proposed_and_named() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let (file, images) = (boot.find(9, b"/vmlinuz"), boot.images());
    let update = |name: &str| {
        boot.with(|boot| {
            boot.events[file].digest = digest(&format!("{name} file"));
            for at in &images[2..] {
                boot.events[*at].digest = digest(name);
            }
        })
    };
    let judgement = judged(&baseline, &update("linux 2"), &Profile::default());
    assert!(judgement.accepts(), "{}", told(&judgement));
    let proposed = judgement.proposed.clone().unwrap();
    assert_eq!(proposed.pcrs.iter().copied().collect::<Vec<_>>(), [4, 9]);
    assert_eq!(proposed.findings, judgement.findings);
    let finding = &judgement.findings[0];
    assert_eq!((finding.severity, finding.reason), (Severity::Medium, None));
    assert_eq!(
        (finding.change, finding.action),
        (Some(ChangeClass::KernelUpdate), Some(ChangeAction::Propose))
    );
    // The same change has the same key on a machine with other boot entries; another kernel has another one.
    let elsewhere = update("linux 2").with(|boot| {
        let entry = boot.events.iter().position(|e| e.pcr == 1).unwrap();
        boot.events[entry].digest = digest("another address");
        boot.events[entry].event_type = EventType::EV_PLATFORM_CONFIG_FLAGS.0;
    });
    let key = |boot: &Boot| judged(&baseline, boot, &Profile::default()).proposed.map(|p| p.key);
    assert_eq!(key(&elsewhere), Some(proposed.key.clone()));
    let other = key(&update("linux 3")).unwrap();
    assert_ne!(other, proposed.key);
    // One thing more that nobody signed, and all of it fails.
    let more = update("linux 2").with(|boot| {
        let at = boot.find(9, b"/initrd.img");
        boot.events[at].digest = digest("initrd 2");
    });
    let judgement = judged(&baseline, &more, &Profile::default());
    assert!(judgement.proposed.is_none());
    assert!(
        judgement.findings.iter().all(|f| f.action == Some(ChangeAction::Fail) && f.fails()),
        "{}",
        told(&judgement)
    );
}

#[test]
fn actions_are_the_profiles_choice() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let update = boot.with(|boot| {
        let file = boot.find(9, b"/vmlinuz");
        boot.events[file].digest = digest("file");
        for at in boot.images().split_off(2) {
            boot.events[at].digest = digest("linux 2");
        }
    });
    let with = |action, signed| {
        let mut profile = Profile::default();
        profile.changes.insert(ChangeClass::KernelUpdate, ChangeRule { action, signed, following: false });
        judged(&baseline, &update, &profile)
    };
    assert!(!with(ChangeAction::Fail, true).accepts());
    let accepted = with(ChangeAction::Accept, true);
    assert!(accepted.accepts() && accepted.proposed.is_none());
    assert!(accepted.findings.iter().all(|f| f.severity == Severity::Info), "{}", told(&accepted));
    assert!(with(ChangeAction::Propose, false).proposed.is_some());
    // Where nothing is verified, no signature counts; a profile may ask for none.
    let off = Boot::of("secure-boot-off");
    let baseline = off.baseline();
    let update = off.with(|boot| {
        let file = boot.find(9, b"/vmlinuz");
        boot.events[file].digest = digest("linux 2");
    });
    let mut profile = Profile::measured_only();
    assert!(!judged(&baseline, &update, &profile).accepts());
    let rule = ChangeRule { action: ChangeAction::Propose, signed: false, following: false };
    profile.changes.insert(ChangeClass::KernelUpdate, rule);
    assert!(judged(&baseline, &update, &profile).proposed.is_some());
}

/// An old signed kernel in the place of the boot loader measures nothing of what it loads; its root user extends the rest.
#[test]
fn another_image_does_not_hide_behind_what_is_extended_later() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let images = boot.images();
    for profile in ["secure-boot-required", "distribution-updates"] {
        let profile = Profile::named(profile).unwrap();
        // It ran before shim, between shim and GRUB, or between GRUB and the kernel.
        for before in &images[..3] {
            let evil = boot.with(|boot| {
                let mut event = boot.events[*before].clone();
                event.digest = digest("old kernel");
                boot.events.insert(*before, event);
            });
            for forgery in forged(&evil, *before) {
                assert!(!passes(Some(&baseline), &forgery, &profile), "{:?}", forgery.events[*before]);
            }
        }
        // The log leaves out one of the loaders, or shows them in another order.
        for (gone, name) in [(0, "shim"), (1, "grub")] {
            let evil = boot.with(|boot| {
                boot.events.remove(images[gone]);
                let last = boot.images().pop().unwrap();
                boot.events[last].digest = digest("linux 2");
            });
            assert!(!passes(Some(&baseline), &evil, &profile), "{name}");
        }
        let swapped = boot.with(|boot| {
            boot.events[images[2]].digest = digest("linux 2");
            boot.events[images[3]].digest = digest("linux 2");
            let kernel = boot.events.remove(images[2]);
            boot.events.insert(images[1], kernel);
        });
        assert!(!passes(Some(&baseline), &swapped, &profile));
    }
}

/// GRUB may be replaced where shim holds it against SBAT, and nowhere else.
#[test]
fn a_boot_loader_counts_where_shim_asks_for_its_generation() {
    let boot = Boot::of("secure-boot");
    let grub = |boot: &Boot| {
        let at = boot.images()[1];
        boot.with(|boot| boot.events[at].digest = digest("grub 2"))
    };
    let judgement = judged(&boot.baseline(), &grub(&boot), &Profile::default());
    assert_eq!(judgement.proposed.unwrap().findings[0].change, Some(ChangeClass::BootloaderUpdate));
    // shim from before SBAT; or somebody extended the level after the boot loader's certificate was used.
    let level = boot.find(7, b"sbat,1");
    let old = boot.with(|boot| {
        boot.events.remove(level);
    });
    let late = boot.with(|boot| {
        let level = boot.events.remove(level);
        boot.events.push(level);
    });
    for boot in [old, late] {
        let judgement = judged(&boot.baseline(), &grub(&boot), &Profile::default());
        assert!(judgement.proposed.is_none() && !judgement.accepts(), "{}", told(&judgement));
        // The kernel alone is still started and measured by a loader that is known.
        let kernel = boot.with(|boot| {
            for at in boot.images().split_off(2) {
                boot.events[at].digest = digest("linux 2");
            }
        });
        assert!(judged(&boot.baseline(), &kernel, &Profile::default()).proposed.is_some());
    }
}

/// With anything else different in PCR 7 or PCR 14, no signature counts.
#[test]
fn another_authority_proposes_nothing() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let update = boot.with(|boot| {
        for at in boot.images().split_off(2) {
            boot.events[at].digest = digest("linux 2");
        }
    });
    assert!(judged(&baseline, &update, &Profile::default()).proposed.is_some());
    let positions: Vec<usize> =
        (0..update.events.len()).filter(|at| matches!(update.events[*at].pcr, 7 | 14)).collect();
    for at in positions {
        let gone = update.with(|boot| {
            boot.events.remove(at);
        });
        assert!(judged(&baseline, &gone, &Profile::default()).proposed.is_none());
        let twice = update.with(|boot| {
            let event = boot.events[at].clone();
            boot.events.push(event);
        });
        assert!(judged(&baseline, &twice, &Profile::default()).proposed.is_none());
        let other = update.with(|boot| boot.events[at].digest = digest("evil"));
        for forgery in forged(&other, at) {
            assert!(!passes(Some(&baseline), &forgery, &Profile::default()), "{:?}", forgery.events[at]);
        }
    }
}

/// Names are free: nothing that GRUB reads passes as the kernel, and no other kind passes as what a profile trusts.
#[test]
fn an_initrd_is_not_called_a_kernel() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let initrd = boot.find(9, b"/initrd.img");
    let evil = boot.with(|boot| {
        boot.events[initrd].digest = digest("evil");
        let file = boot.find(9, b"/vmlinuz");
        boot.events[file].digest = digest("linux 2 file");
        for at in boot.images().split_off(2) {
            boot.events[at].digest = digest("linux 2");
        }
    });
    for forgery in forged(&evil, initrd) {
        assert!(!passes(Some(&baseline), &forgery, &Profile::default()), "{:?}", forgery.events[initrd]);
    }
    // Each name for each of the files.
    let files: Vec<usize> = (0..evil.events.len()).filter(|at| evil.events[*at].pcr == 9).collect();
    for from in &files {
        for to in &files {
            let forgery = evil.with(|boot| {
                let name = boot.events[*from].data.clone();
                let other = std::mem::replace(&mut boot.events[*to].data, name);
                boot.events[*from].data = other;
            });
            assert!(!passes(Some(&baseline), &forgery, &Profile::default()));
        }
    }
}

/// The profile that lets initrds follow does so with another kernel only, and takes no other parameters.
#[test]
fn what_follows_follows_from_a_kernel() {
    let profile = Profile::named("distribution-updates").unwrap();
    let (boot, update) = (Boot::of("secure-boot"), Boot::of("other-kernel"));
    let baseline = boot.baseline();
    assert!(judged(&baseline, &update, &profile).proposed.is_some());
    for changed in ["initrd", "cmdline", "grub-config", "mok", "operator-db", "dbx-emptied", "shim-older"] {
        let judgement = judged(&baseline, &Boot::of(changed), &profile);
        assert!(judgement.proposed.is_none() && !judgement.accepts(), "{changed}: {}", told(&judgement));
    }
    // A command line that the kernel update brings along.
    let (command, line) = (update.find(8, b"grub_cmd: linux"), update.find(8, b"kernel_cmdline"));
    let with = |words: &str, path: &str| {
        update.with(|boot| {
            let text = |prefix: &str, command: &str| {
                let text = format!("{command}{path} console=ttyS0 quiet panic=-1 no_timer_check{words}");
                (digest(&text), format!("{prefix}{text}\0").into_bytes())
            };
            (boot.events[command].digest, boot.events[command].data) = text("grub_cmd: ", "linuxefi ");
            (boot.events[line].digest, boot.events[line].data) = text("kernel_cmdline: ", "");
        })
    };
    assert!(judged(&baseline, &with("", "/vmlinuz-2"), &profile).proposed.is_some());
    for words in [" init=/bin/sh", " lockdown=none", " x", " /init=/bin/sh y=z", " initrd=/x"] {
        let judgement = judged(&baseline, &with(words, "/vmlinuz-2"), &profile);
        assert!(judgement.proposed.is_none() && !judgement.accepts(), "{words}: {}", told(&judgement));
    }
}

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

fn rules_and_note(text: &str) -> Baseline {
    let head = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\nunlisted = \"note\"\n\
                [[rules]]\ncomponent = \"secure-boot-state\"\nstate = { secure-boot = \"on\" }\n";
    Baseline::from_toml(&format!("{head}{text}")).unwrap()
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

/// Whoever owns a machine whose change was rejected calls its parts something else: it is the same change still.
#[test]
fn a_change_has_one_key_whatever_its_parts_are_called() {
    let (before, now) = (Boot::of("uki"), Boot::of("uki-other-kernel"));
    let (baseline, profile) = (before.baseline(), Profile::default());
    let key = |boot: &Boot| judged(&baseline, boot, &profile).proposed.map(|proposed| proposed.key);
    let honest = key(&now).unwrap();
    let names: Vec<Vec<u8>> = now.events.iter().filter(|e| e.pcr == 11).map(|e| e.data.clone()).collect();
    let mut proposed = 0;
    for at in (0..now.events.len()).filter(|at| now.events[*at].pcr == 11) {
        for name in &names {
            let forged = now.with(|boot| boot.events[at].data.clone_from(name));
            if let Some(key) = key(&forged) {
                assert_eq!(key, honest, "{at} as {}", String::from_utf8_lossy(name));
                proposed += 1;
            }
        }
    }
    println!("{proposed} of {} still proposed", names.len() * names.len());
    assert!(proposed > names.len());
}

/// A rule that is met explains the list that it was held against, and reads it once.
#[test]
fn further_revocation_lists_are_neither_explained_nor_held_against_a_rule() {
    use std::time::{Duration, Instant};
    let boot = Boot::of("secure-boot");
    let name: Vec<u8> = "dbx".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = boot.events.iter().position(|e| e.pcr == 7 && e.data.get(32..38) == Some(&name[..])).unwrap();
    let vendor = boot.events[at].data[..16].to_vec();
    let dbx = |hashes: u32| {
        // EFI_CERT_SHA256_GUID
        let kind =
            [0x26, 0x16, 0xC4, 0xC1, 0x4C, 0x50, 0x92, 0x40, 0xAC, 0xA9, 0x41, 0xF9, 0x36, 0x93, 0x43, 0x28];
        let mut list = kind.to_vec();
        for field in [28 + hashes * 48, 0, 48] {
            list.extend(field.to_le_bytes());
        }
        for n in 0..hashes {
            list.extend([0; 16]);
            list.extend(SHA256.hash(&[&n.to_le_bytes()]).as_ref());
        }
        let sizes = [3_u64.to_le_bytes(), (list.len() as u64).to_le_bytes()].concat();
        let data = [&vendor[..], &sizes, &name, &list].concat();
        let digest = SHA256.hash(&[&data]).as_ref().to_vec();
        Ev { pcr: 7, event_type: EventType::EV_EFI_VARIABLE_DRIVER_CONFIG.0, digest, data }
    };
    let mut baseline = boot.baseline();
    baseline.rules =
        rules_and_note("[[rules]]\ncomponent = \"revocation-db\"\nminimum = { entries = 1 }\n").rules;
    let larger = boot.with(|boot| boot.events[at] = dbx(12_000));
    assert!(judged(&baseline, &larger, &Profile::default()).accepts());
    let evil = larger.with(|boot| boot.events.extend(std::iter::repeat_with(|| dbx(1)).take(4000)));
    let report = examine(&evil.bytes());
    let compiled = baseline.compile();
    let started = Instant::now();
    assert!(!judge(&report, SHA256, Some(&compiled), &Profile::default()).accepts());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
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
