//! The bounds of this crate. Every count and length that a log claims is held against one of them.

/// Logs above this many bytes are refused unread. The largest areas seen in the field are CCEL areas of 1 MiB.
pub const MAX_LOG_BYTES: usize = 64 * 1024 * 1024;
/// Reading stops at this many events. Machines with every module of GRUB measured stay below 2,000.
pub const MAX_EVENTS: usize = 65_536;
/// Algorithms that a Spec ID event may list, and digests that one event may carry.
pub const MAX_ALGORITHMS: usize = 16;
/// Warnings kept per log; one that counts the rest follows.
pub const MAX_WARNINGS: usize = 256;
/// Sessions (boots or resumes) in one concatenated log.
pub const MAX_SESSIONS: usize = 16;
/// Nodes of one device path.
pub const MAX_DEVICE_PATH_NODES: usize = 64;
/// Signature lists in one EFI signature database.
pub const MAX_SIGNATURE_LISTS: usize = 4_096;
/// Partition entries described of one GPT.
pub const MAX_PARTITIONS: usize = 128;
/// Tables described of one hand-off event.
pub const MAX_TABLES: usize = 64;
/// Depth of nested Windows trust boundaries.
pub const MAX_SIPA_DEPTH: usize = 8;
/// Tagged events described of one Windows measured-boot event.
pub const MAX_SIPA_EVENTS: usize = 4_096;
/// Depth of nested DER values.
pub const MAX_DER_DEPTH: usize = 16;
/// Characters that a name made from log data may have; longer ones end in `…`.
pub const MAX_NAME_CHARS: usize = 512;
/// Characters that a value made from log data may have; a kernel command line is at most 4 KiB on x86-64.
pub const MAX_VALUE_CHARS: usize = 16_384;
/// Entries of an IMA list. A policy that measures every file that root reads makes some 100,000 in a long uptime.
pub const MAX_IMA_ENTRIES: usize = 1 << 20;
/// Bytes that the name of an IMA template may have: fifteen fields of sixteen bytes.
pub const MAX_IMA_NAME_BYTES: usize = 256;
/// Fields that an IMA template may have (Linux, IMA_TEMPLATE_NUM_FIELDS_MAX).
pub const MAX_IMA_FIELDS: usize = 15;
/// Records of a user-space log; systemd writes some ten per boot.
pub const MAX_RECORDS: usize = 65_536;
/// Bytes of one record of a user-space log.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
/// Components of an SBAT level or of an image.
pub const MAX_SBAT_ENTRIES: usize = 1_024;
