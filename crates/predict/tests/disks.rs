//! Disk images made by other programs: mtools, mke2fs, qemu-img.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use veriboot_predict::disk::{Disk, DiskError, PartitionKind};
use veriboot_predict::limits::{MAX_DISK_BYTES, MAX_FILE_SYSTEMS};

const MIB: usize = 1 << 20;

fn run(program: &str, args: &[&str]) -> bool {
    let done =
        Command::new(program).args(args).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").output();
    match done {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            println!("skipped: {program} is not installed");
            false
        }
    }
}

/// Content that compresses and content that does not.
fn kernel() -> Vec<u8> {
    (0..3 * MIB + 77).map(|n| if n < MIB { 0 } else { (n * n / 7 % 251) as u8 }).collect()
}

/// A FAT file system of `mib` MiB with some files; `None` without mtools.
fn fat(folder: &Path, mib: usize, kind: &[&str]) -> Option<Vec<u8>> {
    let image = folder.join(format!("fat-{mib}.img"));
    std::fs::write(&image, vec![0; mib * MIB]).unwrap();
    let file = folder.join("kernel");
    std::fs::write(&file, kernel()).unwrap();
    let path = image.to_str().unwrap();
    let blocks = (mib * 2048).to_string();
    let mut format = vec!["-i", path, "-T", &blocks, "-h", "16", "-s", "63"];
    format.extend(kind);
    format.push("::");
    if !run("mformat", &format) {
        return None;
    }
    run("mmd", &["-i", path, "::/EFI", "::/EFI/A Folder With A Long Name"]);
    run(
        "mcopy",
        &["-i", path, file.to_str().unwrap(), "::/EFI/A Folder With A Long Name/vmlinuz-6.1.0-cloud"],
    );
    run("mcopy", &["-i", path, file.to_str().unwrap(), "::/EFI/SHORT.EFI"]);
    Some(std::fs::read(image).unwrap())
}

/// An ext4 file system with /boot/vmlinuz behind a symbolic link; `None` without mke2fs.
fn ext4(folder: &Path) -> Option<Vec<u8>> {
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("boot")).unwrap();
    std::fs::write(tree.join("boot/vmlinuz-1"), kernel()).unwrap();
    let _ = std::os::unix::fs::symlink("vmlinuz-1", tree.join("boot/vmlinuz"));
    let image = folder.join("ext4.img");
    std::fs::write(&image, vec![0; 32 * MIB]).unwrap();
    run("mke2fs", &["-q", "-t", "ext4", "-d", tree.to_str().unwrap(), image.to_str().unwrap()])
        .then(|| std::fs::read(image).unwrap())
}

/// A GPT disk with these partitions, ESP first. CRCs are left out: nobody here believes them.
fn gpt(partitions: &[Vec<u8>]) -> Vec<u8> {
    let mut disk = vec![0_u8; MIB];
    let mut entries = Vec::new();
    for (index, content) in partitions.iter().enumerate() {
        let kind: [u8; 16] = if index == 0 {
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]
        } else {
            [1; 16]
        };
        let mut entry = [kind, [index as u8; 16]].concat();
        entry.extend((disk.len() as u64 / 512).to_le_bytes());
        disk.extend_from_slice(content);
        entry.extend((disk.len() as u64 / 512 - 1).to_le_bytes());
        entry.resize(128, 0);
        entries.extend(entry);
    }
    disk[1024..1024 + entries.len()].copy_from_slice(&entries);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[512..520].copy_from_slice(b"EFI PART");
    disk[512 + 72..512 + 80].copy_from_slice(&2_u64.to_le_bytes());
    disk[512 + 80..512 + 84].copy_from_slice(&128_u32.to_le_bytes());
    disk[512 + 84..512 + 88].copy_from_slice(&128_u32.to_le_bytes());
    disk.resize(disk.len() + MIB, 0);
    disk
}

fn check(image: Vec<u8>) {
    let disk = Disk::open(Rc::new(image)).unwrap();
    assert_eq!(disk.partitions(PartitionKind::EfiSystem), [1]);
    assert_eq!(disk.all_partitions(), [1, 2]);
    let long = disk.read(1, r"\EFI\a folder with a LONG name\vmlinuz-6.1.0-cloud").unwrap().unwrap();
    assert!(long.bytes == kernel());
    assert!(disk.read(1, "/EFI/short.efi").unwrap().unwrap().bytes == kernel());
    assert!(disk.read(2, "/boot/vmlinuz").unwrap().unwrap().bytes == kernel(), "through the link");
    for (partition, path) in [
        (1, "/EFI"),
        (1, "/EFI/none"),
        (2, "/boot"),
        (2, "/boot/x/y"),
        (3, "/x"),
        (1, ""),
        (1, "/EFI/SHORT.EFI/x"),
    ] {
        assert_eq!(disk.read(partition, path).unwrap(), None, "{path}");
    }
    assert_eq!(disk.list(1, "EFI").unwrap(), ["SHORT.EFI"]);
    assert_eq!(disk.list(2, "boot").unwrap(), ["vmlinuz", "vmlinuz-1"]);
}

#[test]
fn raw_and_qcow2() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(esp), Some(root)) = (fat(folder.path(), 64, &["-F"]), ext4(folder.path())) else { return };
    let disk = gpt(&[esp, root]);
    let raw = folder.path().join("disk.raw");
    std::fs::write(&raw, &disk).unwrap();
    check(disk);
    let raw = raw.to_str().unwrap();
    for options in [
        &["-O", "qcow2"][..],
        &["-O", "qcow2", "-o", "compat=0.10"],
        &["-O", "qcow2", "-c"],
        &["-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=8k"],
    ] {
        let target = folder.path().join("disk.qcow2");
        let mut args = vec!["convert", "-f", "raw"];
        args.extend(options);
        args.extend([raw, target.to_str().unwrap()]);
        if !run("qemu-img", &args) {
            return;
        }
        check(std::fs::read(&target).unwrap());
    }
    let over = folder.path().join("over.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", over.to_str().unwrap()]);
    let error = Disk::open(Rc::new(std::fs::read(over).unwrap())).unwrap_err();
    assert!(error.to_string().contains("backing file"), "{error}");
}

#[test]
fn small_fat_without_a_table() {
    let folder = tempfile::tempdir().unwrap();
    for mib in [9, 20] {
        let Some(image) = fat(folder.path(), mib, &[]) else { return };
        let disk = Disk::open(Rc::new(image)).unwrap();
        assert!(disk.read(1, "EFI/SHORT.EFI").unwrap().unwrap().bytes == kernel(), "{mib} MiB");
    }
}

#[test]
fn damaged_images_are_errors() {
    assert_eq!(Disk::open(Rc::new(Vec::new())).unwrap_err(), DiskError::NoFileSystem);
    assert_eq!(Disk::open(Rc::new(vec![0; 4096])).unwrap_err(), DiskError::NoFileSystem);
    let folder = tempfile::tempdir().unwrap();
    let Some(mut esp) = fat(folder.path(), 9, &[]) else { return };
    // All chains become circles of one cluster.
    let fat_at = 512 * usize::from(esp[14]);
    for pair in 1..2000 {
        let (a, b) = (2 * pair, 2 * pair + 1);
        let packed = [(a & 0xff) as u8, ((a >> 8) as u8 & 0xf) | (((b & 0xf) as u8) << 4), (b >> 4) as u8];
        esp[fat_at + 3 * pair..fat_at + 3 * pair + 3].copy_from_slice(&packed);
    }
    let disk = Disk::open(Rc::new(esp)).unwrap();
    assert!(matches!(disk.read(1, "EFI/SHORT.EFI"), Err(DiskError::FileSystem { .. })));
    // A qcow2 header that claims everything.
    let mut header = vec![0xff_u8; 512];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    header[8..16].fill(0);
    header[32..36].fill(0);
    header[72..80].fill(0);
    assert_eq!(Disk::open(Rc::new(header)).unwrap_err(), DiskError::Qcow2Large);
}

/// A qcow2 image whose clusters are all one and the same shows far more than it has.
#[test]
fn no_more_is_read_than_a_boot_needs() {
    let folder = tempfile::tempdir().unwrap();
    let Some(esp) = fat(folder.path(), 64, &["-F"]) else { return };
    let disk = Disk::open(Rc::new(esp)).unwrap();
    let size = kernel().len() as u64;
    let mut reads = 0;
    let error = loop {
        match disk.read(1, "/EFI/short.efi") {
            Ok(_) => reads += 1,
            Err(error) => break error,
        }
        assert!(reads * size <= MAX_DISK_BYTES, "{reads}");
    };
    assert!(error.to_string().contains(&MAX_DISK_BYTES.to_string()), "{error}");
    println!("{reads} reads of {size} bytes");
}

/// The same partition 128 times: each file system that is opened has its tables in memory.
#[test]
fn partitions_that_overlap_are_not_all_opened() {
    let folder = tempfile::tempdir().unwrap();
    let Some(esp) = fat(folder.path(), 9, &[]) else { return };
    let mut disk = gpt(&[esp]);
    let entry = disk[1024..1152].to_vec();
    for nth in 1..128 {
        disk[1024 + 128 * nth..1152 + 128 * nth].copy_from_slice(&entry);
    }
    let disk = Disk::open(Rc::new(disk)).unwrap();
    assert_eq!(disk.all_partitions().len(), MAX_FILE_SYSTEMS);
}
