//! EFI images of Debian against what firmware measured of them and what other programs say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use veriboot_eventlog::HashAlg;
use veriboot_predict::limits::MAX_SIGNATURE_BYTES;
use veriboot_predict::pe::{Anchor, Image, ImageRole, PeError, Verified, signatures};

/// Golden values: PCR 4 events of crates/testkit/corpus, extended by OVMF, not by us.
const MEASURED: &[(&str, ImageRole, &str)] = &[
    (
        "shim-signed_1.51~1+deb12u1+16.1-2~deb12u1_amd64.deb/usr/lib/shim/shimx64.efi.signed",
        ImageRole::Shim,
        "80a66d53a945d2286fcadd780fae1c225aa732079cd67b5225dc78aaab4e2ff8",
    ),
    (
        "grub-efi-amd64-signed_1+2.06+13+deb12u2_amd64.deb/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        ImageRole::Grub,
        "a68f6d71ebddaa19751ff8d729f67d11b0df8e4c49400c3e7e90de16119e1265",
    ),
    (
        "vmlinuz-6.1.0-56-cloud-amd64",
        ImageRole::Kernel,
        "5f21ff2c0d5d899842b28a8b19901ba72cf7a7ab93c02a77fadc6ff72be85b31",
    ),
];

#[test]
fn digests_are_those_that_firmware_measured() {
    for (name, role, digest) in MEASURED {
        for path in common::lab_files("unpacked", name) {
            let bytes = std::fs::read(&path).unwrap();
            let image = Image::parse(&bytes).unwrap();
            assert_eq!(image.role("x"), *role, "{name}");
            assert_eq!(image.authenticode(HashAlg::Sha256).unwrap().to_string(), *digest, "{name}");
        }
    }
}

#[test]
fn every_bank_as_osslsigncode_says() {
    for path in
        common::lab_files("unpacked", "grub-efi-amd64-signed_1+2.06+13+deb12u2_amd64.deb/usr/lib/grub")
    {
        let bytes = std::fs::read(&path).unwrap();
        let Ok(image) = Image::parse(&bytes) else { continue };
        let Some(said) = common::output("osslsigncode", &["verify", "-in", path.to_str().unwrap()]) else {
            return;
        };
        let digest = image.authenticode(HashAlg::Sha256).unwrap().to_string().to_uppercase();
        assert!(said.contains(&digest), "{}: {digest} is not in {said}", path.display());
    }
}

#[test]
fn sbat_and_roles() {
    for path in common::lab_files("unpacked", "systemd-bootx64.efi") {
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(Image::parse(&bytes).unwrap().role("x"), ImageRole::SystemdBoot);
    }
    for path in common::lab_files("unpacked", "grubx64.efi.signed") {
        let bytes = std::fs::read(&path).unwrap();
        let sbat = Image::parse(&bytes).unwrap().sbat().unwrap();
        assert!(sbat.generations.get("grub") >= Some(&4), "{sbat:?}");
        assert!(sbat.generations.contains_key("grub.debian"));
    }
}

#[test]
fn signatures_are_followed_to_the_certificate_inside_shim() {
    let Some(shim) = common::lab_files("unpacked", "shimx64.efi.signed").pop() else { return };
    let shim = std::fs::read(shim).unwrap();
    let image = Image::parse(&shim).unwrap();
    let anchors = veriboot_predict::shim::vendor_certificates(&image);
    assert_eq!(anchors.len(), 1, "Debian's shim has one certificate");
    let of_shim = signatures(&image, &anchors).unwrap();
    assert!(
        of_shim.iter().any(|s| s
            .chain
            .iter()
            .any(|c| c.subject.starts_with("Microsoft Corporation UEFI CA"))
            || matches!(&s.verified, Verified::IssuerMissing { issuer } if issuer.starts_with("Microsoft"))),
        "{of_shim:?}"
    );
    for name in ["grubx64.efi.signed", "vmlinuz-6.1.0-56"] {
        for path in common::lab_files("unpacked", name) {
            let bytes = std::fs::read(&path).unwrap();
            let image = Image::parse(&bytes).unwrap();
            let found = signatures(&image, &anchors).unwrap();
            assert!(
                matches!(&found[0].verified, Verified::ByAnchor { subject, .. } if subject == "Debian Secure Boot CA"),
                "{found:?}"
            );
            assert!(matches!(signatures(&image, &[]).unwrap()[0].verified, Verified::IssuerMissing { .. }));
            // One byte of the code: the signature belongs to another image now.
            let mut edited = bytes.clone();
            let middle = edited.len() / 2;
            edited[middle] ^= 1;
            let edited = signatures(&Image::parse(&edited).unwrap(), &anchors).unwrap();
            assert!(matches!(edited[0].verified, Verified::Invalid { .. }), "{edited:?}");
            // A certificate of the same name with another key.
            let Some(der) = stranger("Debian Secure Boot CA") else { continue };
            let stranger = Anchor { from: "test".to_owned(), der };
            let found = signatures(&image, &[stranger]).unwrap();
            assert!(matches!(found[0].verified, Verified::IssuerMissing { .. }), "{found:?}");
        }
    }
}

/// A new certificate of this name; `None` without openssl.
fn stranger(name: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.der"));
    let subject = format!("/CN={name}");
    // Names compare by their bytes: the string type is that of the real one.
    let config = folder.path().join("openssl.cnf");
    std::fs::write(&config, "[req]\nstring_mask = default\ndistinguished_name = dn\n[dn]\n").unwrap();
    let args =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-outform", "DER", "-subj", &subject];
    let files = [
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        certificate.to_str().unwrap(),
        "-config",
        config.to_str().unwrap(),
    ];
    common::output("openssl", &[&args[..], &files].concat())?;
    Some(std::fs::read(certificate).unwrap())
}

#[test]
fn cut_and_overlapping_images_are_refused() {
    let Some(path) = common::lab_files("unpacked", "systemd-bootx64.efi").pop() else { return };
    let bytes = std::fs::read(path).unwrap();
    for end in (0..bytes.len()).step_by(997) {
        if let Ok(image) = Image::parse(&bytes[..end]) {
            let _ = (image.authenticode(HashAlg::Sha256), image.sections(), image.sbat(), image.role(""));
            let _ = signatures(&image, &[]);
        }
    }
    assert!(matches!(Image::parse(b"MZ"), Err(PeError::NotPe(_))));
    let pe = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize;
    let mut overlapping = bytes.clone();
    // SizeOfRawData of the first section: as large as the file.
    let optional = u16::from_le_bytes(bytes[pe + 20..pe + 22].try_into().unwrap()) as usize;
    let at = pe + 24 + optional + 16;
    overlapping[at..at + 4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    assert_eq!(Image::parse(&overlapping).unwrap_err(), PeError::SectionsOutside);
}

/// A signature of this size: signed data with as many algorithms as fit, each smaller than the one before. Their reader sorts
/// them by insertion.
fn with_signature(image: &[u8], bytes: usize) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        let length = match content.len() {
            0..128 => vec![length[3]],
            128..256 => vec![0x81, length[3]],
            256..65_536 => vec![0x82, length[2], length[3]],
            _ => vec![0x83, length[1], length[2], length[3]],
        };
        [vec![tag], length, content.to_vec()].concat()
    };
    let number = |n: u32| [&[6, 6, 0x2A][..], &n.to_be_bytes().map(|b| b & 0x7F | 0x80), &[1]].concat();
    let count = u32::try_from(bytes / 10).unwrap();
    let algorithms: Vec<u8> =
        (0..count).rev().flat_map(|n| tlv(0x30, &number((n >> 7 & 0x7F) << 8 | n & 0x7F))).collect();
    let content = tlv(0x30, &[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1]);
    let signed = tlv(0x30, &[&[2, 1, 1][..], &tlv(0x31, &algorithms), &content, &tlv(0x31, &[])].concat());
    let kind = [6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2];
    let info = tlv(0x30, &[&kind[..], &tlv(0xA0, &signed)].concat());
    let mut out = image.to_vec();
    out.resize(out.len().next_multiple_of(8), 0);
    let at = out.len();
    let size = (info.len() + 8).next_multiple_of(8);
    out.extend(u32::try_from(size).unwrap().to_le_bytes());
    out.extend([0, 2, 2, 0]);
    out.extend(&info);
    out.resize(at + size, 0);
    // Data directory 4 of a PE32+ header.
    let pe = u32::from_le_bytes(out[0x3c..0x40].try_into().unwrap()) as usize;
    let directory = pe + 24 + 112 + 4 * 8;
    out[directory..directory + 4].copy_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
    out[directory + 4..directory + 8].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
    out
}

#[test]
fn signatures_that_take_for_ever_are_refused() {
    let Some(path) = common::lab_files("unpacked", "systemd-bootx64.efi").pop() else { return };
    let bytes = std::fs::read(path).unwrap();
    let started = std::time::Instant::now();
    let large = with_signature(&bytes, 400_000);
    let error = signatures(&Image::parse(&large).unwrap(), &[]).unwrap_err();
    assert!(error.to_string().contains(&MAX_SIGNATURE_BYTES.to_string()), "{error}");
    let small = with_signature(&bytes, MAX_SIGNATURE_BYTES - 1024);
    assert_eq!(signatures(&Image::parse(&small).unwrap(), &[]).unwrap()[0].signer, "unknown");
    assert!(started.elapsed().as_secs() < 60, "{:?} in a debug build", started.elapsed());
}
