//! Predictions against boots that happened: the corpus of crates/testkit, made by `cargo xtask capture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::PathBuf;

use veriboot_appraisal::{Baseline, Profile, examine, judge};
use veriboot_eventlog::{ComponentKind, Digest, HashAlg};
use veriboot_predict::{Inputs, Prediction, RowChange, predict};
use veriboot_testkit::corpus::{Golden, golden};

const BANK: HashAlg = HashAlg::Sha256;

fn learned(variant: &str) -> Baseline {
    Baseline::learn(&examine(&golden(variant).unwrap().event_log), BANK).unwrap()
}

/// A file of the lab whose SHA-256 the corpus names.
fn initrd(golden: &Golden) -> Option<Vec<u8>> {
    let digest = golden.meta["sha256"]["initrd"].as_str().unwrap();
    let path = common::root().join(format!(".cache/lab/initramfs/initramfs-{digest}.img"));
    let found = std::fs::read(&path).ok();
    if found.is_none() {
        println!("skipped: {} is not there, `cargo xtask capture` makes it", path.display());
    }
    found
}

fn package(golden: &Golden, name: &str) -> Option<PathBuf> {
    let version = golden.meta["packages"][name].as_str().unwrap();
    let part = format!("{name}_{version}_amd64.deb");
    common::lab_files("archives", &part).pop()
}

/// Accepts the boot with the predicted baseline, and nothing without.
fn accepts(baseline: &Baseline, prediction: &Prediction, boot: &Golden) {
    let boot = examine(&boot.event_log);
    let profile = Profile::secure_boot_required();
    let before = judge(&boot, BANK, Some(&baseline.clone().compile()), &profile);
    assert!(before.findings.iter().any(|f| f.change.is_some()), "there is something to predict");
    let next = baseline.with_measurements(prediction.boot.clone().unwrap()).unwrap();
    let judgement = judge(&boot, BANK, Some(&next.compile()), &profile);
    assert!(judgement.accepts(), "{:#?}\n{:#?}", judgement.findings, prediction.measurements);
    assert!(judgement.findings.is_empty(), "{:#?}", judgement.findings);
}

#[test]
fn a_kernel_package_and_its_initrd() {
    let (baseline, boot) = (learned("secure-boot"), golden("other-kernel").unwrap());
    let kernel =
        boot.meta["packages"].as_object().unwrap().keys().find(|name| name.starts_with("linux-image"));
    let (Some(package), Some(initrd)) = (package(&boot, kernel.unwrap()), initrd(&boot)) else { return };
    let mut inputs = Inputs::new();
    inputs.add_deb("linux-image.deb", &std::fs::read(package).unwrap()).unwrap();
    inputs.add_initrd("initrd.img", initrd).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert!(prediction.is_complete(), "{:#?}", prediction.unpredicted);
    accepts(&baseline, &prediction, &boot);
    let changed: Vec<(u32, ComponentKind)> = prediction
        .measurements
        .iter()
        .filter(|row| row.change == RowChange::Changed)
        .map(|row| (row.pcr, row.component))
        .collect();
    use ComponentKind as K;
    assert_eq!(changed, [(9, K::Kernel), (4, K::Kernel), (4, K::Kernel), (9, K::Initrd)]);
    let image = &prediction.images[0];
    assert_eq!(image.admitted_by.as_ref().unwrap().authority, "Debian Secure Boot CA");
}

#[test]
fn without_the_initrd_the_prediction_says_so() {
    let (baseline, boot) = (learned("secure-boot"), golden("other-kernel").unwrap());
    let Some(kernel) = common::lab_files("unpacked", "boot/vmlinuz-6.1.0-50").pop() else { return };
    let mut inputs = Inputs::new();
    inputs.add_kernel("vmlinuz", std::fs::read(kernel).unwrap()).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert_eq!(prediction.unpredicted.len(), 1, "{:#?}", prediction.unpredicted);
    assert_eq!(prediction.unpredicted[0].code, "initrd-missing");
    let next = baseline.with_measurements(prediction.boot.unwrap()).unwrap().compile();
    let judgement = judge(&examine(&boot.event_log), BANK, Some(&next), &Profile::secure_boot_required());
    let components: Vec<_> = judgement.findings.iter().filter_map(|f| f.component.as_deref()).collect();
    assert_eq!(components, [ComponentKind::Initrd.title()], "{:#?}", judgement.findings);
}

/// The lab's configuration with another command line.
fn grub_config(cmdline: &str) -> Vec<u8> {
    format!(
        "serial --unit=0\nterminal_output serial\nset timeout=0\nlinuxefi /vmlinuz {cmdline}\ninitrdefi /initrd.img\nboot\n"
    )
    .into_bytes()
}

#[test]
fn a_grub_configuration() {
    let (baseline, boot) = (learned("secure-boot"), golden("cmdline").unwrap());
    let mut inputs = Inputs::new();
    inputs.add_grub_config("grub.cfg", grub_config(boot.meta["cmdline"].as_str().unwrap())).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert!(prediction.is_complete(), "{:#?}", prediction.unpredicted);
    accepts(&baseline, &prediction, &boot);
}

#[test]
fn a_command_line_alone_leaves_the_configuration_open() {
    let (baseline, boot) = (learned("secure-boot"), golden("cmdline").unwrap());
    let mut inputs = Inputs::new();
    inputs.set_cmdline(boot.meta["cmdline"].as_str().unwrap());
    let prediction = predict(&baseline, &inputs).unwrap();
    assert_eq!(prediction.unpredicted[0].code, "grub-config-missing");
    let next = baseline.with_measurements(prediction.boot.unwrap()).unwrap().compile();
    let judgement = judge(&examine(&boot.event_log), BANK, Some(&next), &Profile::secure_boot_required());
    assert!(judgement.findings.iter().all(|f| f.pcr == Some(9)), "{:#?}", judgement.findings);
}

#[test]
fn what_is_there_already_changes_nothing() {
    let baseline = learned("secure-boot");
    let Some(kernel) = common::lab_files("unpacked", "boot/vmlinuz-6.1.0-56").pop() else { return };
    let Some(initrd) = initrd(&golden("secure-boot").unwrap()) else { return };
    let mut inputs = Inputs::new();
    inputs.add_kernel("vmlinuz", std::fs::read(kernel).unwrap()).unwrap();
    inputs.add_initrd("initrd.img", initrd).unwrap();
    let cmdline = golden("secure-boot").unwrap().meta["cmdline"].as_str().unwrap().to_owned();
    inputs.add_grub_config("grub.cfg", grub_config(&cmdline)).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert!(prediction.is_complete() && prediction.boot.is_none(), "{prediction:#?}");
}

#[test]
fn an_image_that_nobody_of_the_reference_boot_signed() {
    let baseline = learned("secure-boot");
    let Some(loader) = common::lab_files("unpacked", "systemd-bootx64.efi").pop() else { return };
    let mut inputs = Inputs::new();
    inputs.add_efi("systemd-bootx64.efi", std::fs::read(loader).unwrap()).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    // It is no GRUB, so it replaces nothing.
    assert_eq!(prediction.unpredicted[0].code, "file-not-used");
    assert!(prediction.boot.is_none());
    // The reference boot of the UKI has another authority, which did not sign Debian's kernel.
    let Some(grub) = common::lab_files("unpacked", "grubx64.efi.signed").pop() else { return };
    let mut inputs = Inputs::new();
    inputs.add_efi("grubx64.efi", std::fs::read(grub).unwrap()).unwrap();
    let prediction = predict(&learned("uki"), &inputs).unwrap();
    assert!(
        prediction.unpredicted.iter().any(|p| p.code == "authority-unknown"),
        "{:#?}",
        prediction.unpredicted
    );
}

#[test]
fn banks_are_those_of_the_baseline() {
    let log = golden("three-banks").unwrap().event_log;
    let Some(kernel) = common::lab_files("unpacked", "boot/vmlinuz-6.1.0-56").pop() else { return };
    for bank in [HashAlg::Sha1, HashAlg::Sha384] {
        let mut baseline = Baseline::learn(&examine(&log), bank).unwrap();
        let mut expected = baseline.boots[0].measurements.clone();
        for reference in &mut baseline.boots[0].measurements {
            if reference.kind == ComponentKind::Kernel {
                reference.digest = Digest::zero(bank);
            }
        }
        let mut inputs = Inputs::new();
        inputs.add_kernel("vmlinuz", std::fs::read(&kernel).unwrap()).unwrap();
        let boot = predict(&baseline, &inputs).unwrap().boot.unwrap();
        expected.retain(|reference| boot.pcrs.as_ref().unwrap().contains(&reference.pcr));
        assert_eq!(boot.measurements, expected, "{bank}");
    }
}

#[test]
fn a_grub_package() {
    let (baseline, boot) = (learned("grub-older"), golden("shim-older").unwrap());
    let Some(package) = package(&boot, "grub-efi-amd64-signed") else { return };
    let mut inputs = Inputs::new();
    inputs.add_deb("grub.deb", &std::fs::read(package).unwrap()).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert!(prediction.is_complete(), "{:#?}", prediction.unpredicted);
    accepts(&baseline, &prediction, &boot);
}

/// The newer shim raises the SBAT level by itself.
#[test]
fn a_shim_package() {
    let (baseline, boot) = (learned("shim-older"), golden("secure-boot").unwrap());
    let Some(package) = package(&boot, "shim-signed") else { return };
    let mut inputs = Inputs::new();
    inputs.add_deb("shim.deb", &std::fs::read(package).unwrap()).unwrap();
    let prediction = predict(&baseline, &inputs).unwrap();
    assert!(prediction.is_complete(), "{:#?}", prediction.unpredicted);
    accepts(&baseline, &prediction, &boot);
    assert_eq!(prediction.boot.unwrap().pcrs.unwrap().into_iter().collect::<Vec<_>>(), [4, 7]);
}

#[test]
fn an_image_that_the_sbat_level_refuses() {
    let older = golden("grub-older").unwrap();
    let Some(package) = package(&older, "grub-efi-amd64-signed") else { return };
    let mut inputs = Inputs::new();
    inputs.add_deb("grub.deb", &std::fs::read(package).unwrap()).unwrap();
    let prediction = predict(&learned("secure-boot"), &inputs).unwrap();
    let codes: Vec<&str> = prediction.unpredicted.iter().map(|p| p.code).collect();
    assert_eq!(codes, ["image-revoked"], "{:#?}", prediction.unpredicted);
    // The machine of the corpus shows that shim refused it.
    let revoked = examine(&golden("grub-revoked").unwrap().event_log);
    let grub = older.meta["authenticode"]["grub"].as_str().unwrap();
    assert!(prediction.images.iter().any(|image| image.digest.to_string() == grub));
    let started = revoked.bank(BANK).unwrap().digests.iter().flatten();
    assert!(started.into_iter().all(|digest| digest.to_string() != grub));
}

/// A UKI as `cargo xtask capture` builds it, unsigned.
fn uki(golden: &Golden, folder: &std::path::Path) -> Option<Vec<u8>> {
    use veriboot_testkit::vm::{UkiParts, build_uki};
    let kernel =
        golden.meta["packages"].as_object().unwrap().keys().find(|name| name.starts_with("linux-image"))?;
    let release = kernel.trim_start_matches("linux-image-").to_owned();
    let parts = UkiParts {
        stub: common::lab_files("unpacked", "boot/efi/linuxx64.efi.stub").pop()?,
        kernel: common::lab_files("unpacked", &format!("boot/vmlinuz-{release}")).pop()?,
        initrd: {
            initrd(golden)?;
            let digest = golden.meta["sha256"]["initrd"].as_str().unwrap();
            common::root().join(format!(".cache/lab/initramfs/initramfs-{digest}.img"))
        },
        cmdline: golden.meta["cmdline"].as_str().unwrap().to_owned(),
        os_release: "ID=veriboot-lab\nNAME=\"Veriboot lab\"\nVERSION_ID=1\n".to_owned(),
        uname: release,
    };
    common::output("objcopy", &["--version"])?;
    let target = folder.join("uki.efi");
    build_uki(&parts, &target).unwrap();
    Some(std::fs::read(target).unwrap())
}

#[test]
fn unified_kernel_images() {
    let baseline = learned("uki");
    for variant in ["uki-other-kernel", "uki-cmdline"] {
        let boot = golden(variant).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let Some(bytes) = uki(&boot, folder.path()) else { return };
        let mut inputs = Inputs::new();
        inputs.add_uki("veriboot.efi", bytes).unwrap();
        let prediction = predict(&baseline, &inputs).unwrap();
        let codes: Vec<&str> = prediction.unpredicted.iter().map(|p| p.code).collect();
        assert_eq!(codes, ["image-not-signed"], "{variant}");
        // objcopy writes the time into the header, so the image itself is another one than that of the corpus; its sections
        // are the same.
        let mut boot_of_files = prediction.boot.clone().unwrap();
        let image = boot_of_files
            .measurements
            .iter_mut()
            .find(|m| m.pcr == 4 && m.kind == ComponentKind::Kernel)
            .unwrap();
        assert_eq!(image.digest, prediction.images[0].digest);
        image.digest = Digest::from_hex(boot.meta["authenticode"]["uki"].as_str().unwrap()).unwrap();
        accepts(&baseline, &Prediction { boot: Some(boot_of_files), ..prediction }, &boot);
    }
}
