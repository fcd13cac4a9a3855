//! Which boots a rejection refuses: real captures, in which digests are exchanged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeSet;
use std::path::Path;

use veriboot_appraisal::{
    Baseline, Booted, ChangeRule, MAX_PROPOSED, Profile, Proposed, Rejected, Source, examine, judge,
};
use veriboot_eventlog::{EventType, HashAlg, parse};
use veriboot_wire::{ChangeAction, ChangeClass};

const SHA256: HashAlg = HashAlg::Sha256;

/// A capture of one bank.
#[derive(Clone)]
struct Boot(Vec<u8>);

impl Boot {
    fn of(variant: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant);
        Self(std::fs::read(folder.join("eventlog.bin")).unwrap())
    }

    /// Digests of the images in PCR 4.
    fn images(&self) -> Vec<Vec<u8>> {
        let log = parse(&self.0).unwrap();
        let image = |e: &&veriboot_eventlog::Event<'_>| {
            e.pcr == 4 && e.event_type == EventType::EV_EFI_BOOT_SERVICES_APPLICATION
        };
        log.events.iter().filter(image).map(|e| e.digest(SHA256).unwrap().to_vec()).collect()
    }

    /// Digest of the file in PCR 9 with this in its name.
    fn file(&self, name: &str) -> Vec<u8> {
        let log = parse(&self.0).unwrap();
        let named = |data: &[u8]| data.windows(name.len()).any(|w| w == name.as_bytes());
        log.events.iter().find(|e| e.pcr == 9 && named(e.data)).unwrap().digest(SHA256).unwrap().to_vec()
    }

    /// Another digest in the place of each of these.
    fn exchanged(mut self, old: &[Vec<u8>], new: &str) -> Self {
        let new = SHA256.hash(&[new.as_bytes()]);
        for old in old {
            let mut at = 0;
            while let Some(found) = self.0[at..].windows(old.len()).position(|w| w == old) {
                at += found;
                self.0[at..at + old.len()].copy_from_slice(new.as_ref());
            }
        }
        self
    }

    /// Another kernel, in PCR 4 and as a file.
    fn kernel(self, name: &str) -> Self {
        let (images, file) = (self.images().split_off(2), self.file("/vmlinuz"));
        self.exchanged(&images, name).exchanged(&[file], &format!("{name} file"))
    }

    fn initrd(self, name: &str) -> Self {
        let file = self.file("/initrd");
        self.exchanged(&[file], name)
    }

    fn baseline(&self) -> Baseline {
        Baseline::learn(&examine(&self.0), SHA256).unwrap()
    }
}

fn and(baseline: &Baseline, boot: &Boot, replace: bool) -> Baseline {
    let source = Source::Approved { log_sha256: "00".repeat(32), proposal: "p".to_owned() };
    let pcrs = BTreeSet::from([4, 7, 9]);
    baseline.with_boot(&examine(&boot.0), Some(&pcrs), source, replace).unwrap()
}

fn proposed_under(baseline: &Baseline, boot: &Boot, profile: &Profile) -> Option<Proposed> {
    judge(&examine(&boot.0), SHA256, Some(&baseline.clone().compile()), profile).proposed
}

fn proposed(baseline: &Baseline, boot: &Boot) -> Proposed {
    proposed_under(baseline, boot, &Profile::default()).unwrap()
}

/// Whether the rejection of `what` refuses a boot that proposes something.
#[track_caller]
fn refused(what: &Proposed, baseline: &Baseline, boot: &Boot) -> bool {
    let now = proposed(baseline, boot);
    let report = examine(&boot.0);
    let booted = Booted::new(&now, &report, SHA256, Some(baseline));
    booted.is_refused_by(Rejected { key: &what.key, marks: &what.marks })
}

#[test]
fn a_rejection_stands_whatever_else_changes() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let x = boot.clone().kernel("x");
    let rejected = proposed(&baseline, &x);
    assert!(rejected.marks.iter().all(|mark| mark.starts_with("4 ")), "{:?}", rejected.marks);
    assert!(rejected.added.len() > rejected.marks.len());
    assert!(refused(&rejected, &baseline, &x));

    // Together with another change; that one alone is another question.
    let z = Boot::of("dbx-updated");
    let both = z.clone().kernel("x");
    assert_ne!(proposed(&baseline, &both).key, rejected.key);
    assert!(refused(&rejected, &baseline, &both));
    assert!(!refused(&rejected, &baseline, &z));
    assert!(!refused(&rejected, &baseline, &boot.clone().kernel("y")));

    // After something else took the place of what was accepted, so that the difference is another one.
    let y = boot.clone().kernel("y");
    let replaced = and(&baseline, &y, true);
    assert_ne!(proposed(&replaced, &x).key, rejected.key);
    assert!(refused(&rejected, &replaced, &x));
    assert!(refused(&rejected, &replaced, &both));
    assert!(!refused(&rejected, &replaced, &boot), "what was accepted before is another question");
    // The rejection of two things is one of neither alone.
    let of_both = proposed(&baseline, &both);
    assert!(refused(&of_both, &baseline, &both));
    assert!(!refused(&of_both, &baseline, &x) && !refused(&of_both, &baseline, &z));
}

#[test]
fn what_nobody_signed_does_not_tell_boots_apart() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let updates = Profile::named("distribution-updates").unwrap();
    let with = |initrd: &str| boot.clone().kernel("x").initrd(initrd);
    let rejected = proposed_under(&baseline, &with("one"), &updates).unwrap();
    for other in [
        with("two"),
        boot.clone().kernel("x"),
        // Bytes of a file that no signature covers.
        with("one")
            .exchanged(&[SHA256.hash(&[b"x file"]).as_ref().to_vec()], "the same kernel in another file"),
    ] {
        let now = proposed_under(&baseline, &other, &updates).unwrap();
        let report = examine(&other.0);
        let booted = Booted::new(&now, &report, SHA256, Some(&baseline));
        assert_ne!(now.key, rejected.key);
        assert!(booted.is_refused_by(Rejected { key: &rejected.key, marks: &rejected.marks }));
    }
}

#[test]
fn what_the_baseline_has_is_not_refused() {
    let boot = Boot::of("secure-boot");
    let baseline = boot.baseline();
    let (x, y) = (boot.clone().kernel("x"), boot.clone().kernel("y"));
    let rejected = proposed(&baseline, &x);
    let both = Boot::of("dbx-updated").kernel("x");
    let accepted = and(&baseline, &x, false);
    assert!(!refused(&rejected, &accepted, &both));
    // Only while it has it.
    let replaced = and(&accepted, &y, true);
    assert!(refused(&rejected, &replaced, &both));
    // All of it: half of what was rejected accepts nothing.
    let of_both = proposed(&baseline, &both);
    assert!(["4 ", "7 "].iter().all(|pcr| of_both.marks.iter().any(|mark| mark.starts_with(pcr))));
    assert!(refused(&of_both, &accepted, &both));
}

/// The boot that a register is held against need not be the one that has what was rejected.
#[test]
fn what_any_boot_of_the_baseline_has_is_not_refused() {
    let off = Boot::of("secure-boot-off");
    let mut profile = Profile::measured_only();
    let rule = ChangeRule { action: ChangeAction::Propose, signed: false, following: false };
    for class in ChangeClass::ALL {
        profile.changes.insert(*class, rule);
    }
    let x = off.clone().initrd("x");
    let rejected = proposed_under(&off.baseline(), &x, &profile).unwrap();
    let far = x.clone().exchanged(&[x.file("/vmlinuz"), x.file("grub.cfg")], "others");
    let accepted = and(&off.baseline(), &far, false);
    let more = x.clone().exchanged(&x.images()[..1], "another image");
    let now = proposed_under(&accepted, &more, &profile).unwrap();
    assert!(rejected.marks.iter().all(|mark| now.added.contains(mark)), "{:?}", now.added);
    let report = examine(&more.0);
    let of = |baseline: &Baseline| {
        let booted = Booted::new(&now, &report, SHA256, Some(baseline));
        booted.is_refused_by(Rejected { key: &rejected.key, marks: &rejected.marks })
    };
    assert!(!of(&accepted));
    assert!(of(&off.baseline()));
    // As often as it was rejected.
    let twice: Vec<String> = rejected.marks.iter().flat_map(|mark| [mark.clone(), mark.clone()]).collect();
    let booted = Booted::new(&now, &report, SHA256, Some(&accepted));
    assert!(booted.is_refused_by(Rejected { key: &rejected.key, marks: &twice }));
}

#[test]
fn where_nothing_is_signed_all_of_it_counts() {
    let off = Boot::of("secure-boot-off");
    let baseline = off.baseline();
    let mut profile = Profile::measured_only();
    let rule = ChangeRule { action: ChangeAction::Propose, signed: false, following: false };
    profile.changes.insert(ChangeClass::KernelUpdate, rule);
    profile.changes.insert(ChangeClass::InitrdChange, rule);
    let kernel = off.clone().exchanged(&[off.file("/vmlinuz")], "x");
    let both = kernel.clone().initrd("new");
    let rejected = proposed_under(&baseline, &kernel, &profile).unwrap();
    assert_eq!(rejected.marks, rejected.added);
    let now = proposed_under(&baseline, &both, &profile).unwrap();
    let report = examine(&both.0);
    let of = |what: &Proposed, now: &Proposed| {
        Booted::new(now, &report, SHA256, Some(&baseline))
            .is_refused_by(Rejected { key: &what.key, marks: &what.marks })
    };
    assert!(of(&rejected, &now));
    assert!(!of(&Proposed { key: "another".to_owned(), marks: Vec::new(), ..rejected.clone() }, &now));
    assert!(of(&Proposed { marks: Vec::new(), ..now.clone() }, &now), "by its key alone");
}

#[test]
fn nobody_is_asked_about_more_than_can_be_looked_at() {
    let off = Boot::of("secure-boot-off");
    let baseline = off.baseline();
    let mut profile = Profile::measured_only();
    let rule = ChangeRule { action: ChangeAction::Propose, signed: false, following: false };
    for class in ChangeClass::ALL {
        profile.changes.insert(*class, rule);
    }
    let with = |more: usize| {
        let mut log = off.clone();
        for n in 0..more {
            log.0.extend(9_u32.to_le_bytes());
            log.0.extend(EventType::EV_IPL.0.to_le_bytes());
            log.0.extend(1_u32.to_le_bytes());
            log.0.extend(SHA256.tpm_id().to_le_bytes());
            log.0.extend(SHA256.hash(&[&n.to_le_bytes()]).as_ref());
            log.0.extend(4_u32.to_le_bytes());
            log.0.extend(b"/x\0\0");
        }
        judge(&examine(&log.0), SHA256, Some(&baseline.clone().compile()), &profile)
    };
    let most = with(MAX_PROPOSED);
    assert_eq!(most.proposed.as_ref().map(|p| p.added.len()), Some(MAX_PROPOSED), "{:?}", most.findings);
    let more = with(MAX_PROPOSED + 1);
    assert!(more.proposed.is_none() && !more.accepts(), "{:?}", more.findings);
}
