//! What may be proposed, and what an attacker makes of that. "Extended later" is what root of that machine can do: append
//! digests. Nothing that was measured before can be taken out or overtaken.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use common::boot::{Boot, digest, forged, judged, passes, told};
use veriboot_appraisal::{ChangeRule, Profile};
use veriboot_eventlog::EventType;
use veriboot_wire::{ChangeAction, ChangeClass, Severity};

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

/// Whoever owns a machine whose change was rejected calls its parts something else: it is the same change still.
#[test]
fn a_change_has_one_key_whatever_its_parts_are_called() {
    let (before, now) = (Boot::of("uki"), Boot::of("uki-other-kernel"));
    let (baseline, profile) = (before.baseline(), Profile::named("distribution-updates").unwrap());
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
