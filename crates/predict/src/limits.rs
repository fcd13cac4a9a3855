//! The bounds of this crate: what a file may cost, whatever it claims.

/// Bytes of one file that is read whole: package, EFI image, initrd.
pub const MAX_FILE_BYTES: usize = 1 << 30;
/// Bytes that one package may unpack to. Debian's largest kernel package unpacks to 700 MB.
pub const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// Bytes that the files which are kept out of one package may have together.
pub const MAX_KEPT_BYTES: usize = 512 << 20;
/// Memory of the xz and zstd decoders (their window). `xz -9` needs 64 MiB.
pub const MAX_WINDOW_BYTES: u32 = 128 << 20;
/// Members of one archive. A kernel package has some 5,000.
pub const MAX_MEMBERS: usize = 200_000;
/// Bytes of a path in an archive or file system.
pub const MAX_PATH_BYTES: usize = 4_096;
/// Sections of one PE image; UKIs with profiles have some 40.
pub const MAX_SECTIONS: usize = 96;
/// Signatures on one PE image.
pub const MAX_SIGNATURES: usize = 8;
/// Bytes of one signature: what is in its sets is sorted by insertion. Such with two signers, their chains and time stamps
/// have some 30 KB.
pub const MAX_SIGNATURE_BYTES: usize = 64 << 10;
/// Certificates in one signature, or built into shim.
pub const MAX_CERTIFICATES: usize = 32;
/// Bytes of a GRUB configuration or loader entry.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;
/// Commands that one GRUB configuration may run.
pub const MAX_COMMANDS: usize = 65_536;
/// Depth of nested blocks, functions and files of GRUB configurations.
pub const MAX_DEPTH: usize = 32;
/// Bytes of the L1 table of a qcow2 image: 32 MiB addresses petabytes.
pub const MAX_QCOW2_L1_BYTES: u64 = 32 << 20;
/// Largest cluster of a qcow2 image (QEMU, `docs/interop/qcow2.txt`).
pub const MAX_CLUSTER_BITS: u32 = 21;
/// Bytes that are read of a disk image, tables and what is unpacked included. A boot needs some 500 MB of it.
pub const MAX_DISK_BYTES: u64 = 8 << 30;
/// What an entry of a folder costs in bytes that are read: names are made of it, and compared.
pub const DIRECTORY_COST: u64 = 16;
/// What a read costs in bytes, however little it asks for.
pub const READ_COST: u64 = 512;
/// Memory of the zstd decoder for a cluster of a qcow2 image; QEMU's encoder uses 2 MiB.
pub const MAX_CLUSTER_WINDOW_BYTES: u64 = 8 << 20;
/// Entries of a partition table.
pub const MAX_PARTITIONS: u32 = 128;
/// File systems of a disk image that are opened.
pub const MAX_FILE_SYSTEMS: usize = 32;
/// Entries of one FAT directory.
pub const MAX_DIRECTORY_ENTRIES: usize = 65_536;
/// Files named on one command line.
pub const MAX_INPUTS: usize = 256;
