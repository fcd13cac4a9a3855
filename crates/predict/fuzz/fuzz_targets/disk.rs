//! Any bytes as a disk image: qcow2, partition tables, FAT, ext4.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use veriboot_predict::disk::Disk;

fuzz_target!(|bytes: &[u8]| {
    let Ok(disk) = Disk::open(Rc::new(bytes.to_vec())) else { return };
    for partition in disk.all_partitions() {
        for folder in ["", "EFI", "boot", "loader/entries"] {
            for name in disk.list(partition, folder).unwrap_or_default().into_iter().take(8) {
                let _ = disk.read(partition, &format!("{folder}/{name}"));
            }
        }
        let _ = disk.read(partition, "EFI/BOOT/BOOTX64.EFI");
    }
});
