//! Packages: those of Debian, packages made here, and hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::Write as _;

use veriboot_predict::archive::{ArchiveError, deb, is_boot_file, rpm};

#[test]
fn boot_files_of_debian_packages_are_those_that_dpkg_unpacks() {
    for path in common::lab_files("archives", ".deb") {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let members = deb(&std::fs::read(&path).unwrap(), &is_boot_file).unwrap();
        if file.starts_with("linux-image") || file.contains("signed") || file.starts_with("systemd") {
            assert!(!members.is_empty(), "{file}");
        }
        for member in members {
            let unpacked = common::root().join(".cache/lab/packages/unpacked").join(&file).join(&member.path);
            assert!(member.bytes == std::fs::read(&unpacked).unwrap(), "{}", unpacked.display());
        }
    }
}

/// One ar member.
fn ar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out =
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len()).into_bytes();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(2), b'\n');
    out
}

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn package(data_name: &str, data: &[u8]) -> Vec<u8> {
    [&b"!<arch>\n"[..], &ar("debian-binary", b"2.0\n"), &ar(data_name, data)].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn piped(program: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child = std::process::Command::new(program)
        .args(["-c", "-q"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Some(output.stdout)
}

#[test]
fn every_compression_and_long_names() {
    let long = format!("usr/{}/vmlinuz-long", "x".repeat(300));
    let data = tarball(&[("./boot/vmlinuz-1", b"kernel"), ("etc/passwd", b"no"), (&long, b"long")]);
    let mut packed = vec![("data.tar", data.clone()), ("data.tar.gz", gzip(&data))];
    packed.extend(piped("xz", &data).map(|bytes| ("data.tar.xz", bytes)));
    packed.extend(piped("zstd", &data).map(|bytes| ("data.tar.zst", bytes)));
    for (name, bytes) in packed {
        let members = deb(&package(name, &bytes), &is_boot_file).unwrap();
        let paths: Vec<&str> = members.iter().map(|m| m.path.as_str()).collect();
        assert_eq!(paths, ["boot/vmlinuz-1", long.as_str()], "{name}");
        assert_eq!(members[0].bytes, b"kernel");
    }
}

fn cpio_entry(path: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let fields = [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, path.len() as u32 + 1, 0];
    let mut out = b"070701".to_vec();
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn rpm_package(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xed, 0xab, 0xee, 0xdb];
    out.resize(96, 0);
    let header = |entries: u32, data: &[u8]| {
        let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        header.extend(entries.to_be_bytes());
        header.extend((data.len() as u32).to_be_bytes());
        header.resize(header.len() + 16 * entries as usize, 0);
        header.extend_from_slice(data);
        header
    };
    out.extend(header(1, b"abc"));
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(header(2, b"defg"));
    out.extend_from_slice(payload);
    out
}

#[test]
fn rpm_payloads() {
    let cpio = [
        cpio_entry("./boot", 0o040_755, b""),
        cpio_entry("./lib/modules/6/vmlinuz", 0o100_755, b"kernel!"),
        cpio_entry("./etc/x", 0o100_644, b"other"),
        cpio_entry("TRAILER!!!", 0, b""),
    ]
    .concat();
    let mut payloads = vec![cpio.clone(), gzip(&cpio)];
    payloads.extend(piped("zstd", &cpio));
    for payload in payloads {
        let members = rpm(&rpm_package(&payload), &is_boot_file).unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!(
            (members[0].path.as_str(), members[0].bytes.as_slice()),
            ("lib/modules/6/vmlinuz", &b"kernel!"[..])
        );
    }
    assert_eq!(rpm(b"no", &is_boot_file), Err(ArchiveError::Format("an RPM package")));
    for end in 0..rpm_package(&cpio).len() {
        assert!(rpm(&rpm_package(&cpio)[..end], &is_boot_file).is_err(), "{end}");
    }
}

#[test]
fn bombs_and_lies_are_errors() {
    // A file that claims 8 GiB.
    let mut header = tar::Header::new_gnu();
    header.set_path("boot/vmlinuz-1").unwrap();
    header.set_size(8 << 30);
    header.set_cksum();
    let lie = [header.as_bytes().to_vec(), vec![0; 512]].concat();
    assert_eq!(deb(&package("data.tar", &lie), &is_boot_file), Err(ArchiveError::Bomb));
    // Many files of 64 MiB each, some kilobytes packed.
    let zeros = vec![0_u8; 64 << 20];
    let files: Vec<(String, &[u8])> =
        (0..9).map(|n| (format!("boot/vmlinuz-{n}"), zeros.as_slice())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    assert_eq!(deb(&package("data.tar.gz", &gzip(&tarball(&files))), &is_boot_file), Err(ArchiveError::Bomb));
    // Cut, mixed up, unknown.
    let data = gzip(&tarball(&[("boot/vmlinuz-1", b"kernel")]));
    let whole = package("data.tar.gz", &data);
    for end in 0..whole.len() - 20 {
        assert!(deb(&whole[..end], &is_boot_file).is_err(), "{end}");
    }
    assert!(matches!(deb(&package("data.tar.xz", &data), &is_boot_file), Err(ArchiveError::Malformed(_))));
    assert!(matches!(
        deb(&package("data.tar.lz", b"LZIP"), &is_boot_file),
        Err(ArchiveError::Compression(_))
    ));
    assert!(matches!(deb(&package("other", b""), &is_boot_file), Err(ArchiveError::Malformed(_))));
    assert_eq!(deb(b"PK", &is_boot_file), Err(ArchiveError::Format("a Debian package")));
    // A long name of 1 GiB.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    assert!(matches!(
        deb(&package("data.tar", header.as_bytes()), &is_boot_file),
        Err(ArchiveError::Malformed(_))
    ));
}
