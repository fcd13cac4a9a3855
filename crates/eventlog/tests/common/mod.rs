//! Builds event logs byte by byte, with the digests that the test asks for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;

pub const SHA1: u16 = 0x0004;
pub const SHA256: u16 = 0x000B;
pub const SHA384: u16 = 0x000C;
pub const SM3: u16 = 0x0012;

pub const NO_ACTION: u32 = 3;
pub const SEPARATOR: u32 = 4;
pub const EVENT_TAG: u32 = 6;
pub const CRTM_VERSION: u32 = 8;
pub const IPL: u32 = 13;
pub const DRIVER_CONFIG: u32 = 0x8000_0001;
pub const VARIABLE_BOOT: u32 = 0x8000_0002;
pub const APPLICATION: u32 = 0x8000_0003;
pub const ACTION: u32 = 0x8000_0007;
pub const AUTHORITY: u32 = 0x8000_00E0;

pub fn size_of(alg: u16) -> usize {
    match alg {
        SHA1 => 20,
        SHA256 | SM3 => 32,
        SHA384 => 48,
        _ => 64,
    }
}

/// A log in the crypto-agile layout.
#[derive(Clone)]
pub struct LogBuilder {
    pub bytes: Vec<u8>,
    pub banks: Vec<u16>,
}

impl LogBuilder {
    pub fn new(banks: &[u16]) -> Self {
        let mut log = Self { bytes: Vec::new(), banks: banks.to_vec() };
        log.header(0);
        log
    }

    /// With the register index of the Spec ID event.
    pub fn ccel(bank: u16) -> Self {
        let mut log = Self { bytes: Vec::new(), banks: vec![bank] };
        log.header(1);
        log
    }

    pub fn header(&mut self, pcr: u32) {
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend(0_u32.to_le_bytes());
        data.extend([0, 2, 0, 2]);
        data.extend(u32::try_from(self.banks.len()).unwrap().to_le_bytes());
        for bank in &self.banks {
            data.extend(bank.to_le_bytes());
            data.extend(u16::try_from(size_of(*bank)).unwrap().to_le_bytes());
        }
        data.push(0);
        sha1_event(&mut self.bytes, pcr, NO_ACTION, &[0; 20], &data);
    }

    /// An event whose digest in each bank is the digest of its data.
    pub fn event(&mut self, pcr: u32, kind: u32, data: &[u8]) -> &mut Self {
        self.event_over(pcr, kind, data, data)
    }

    /// An event whose digest in each bank is the digest of `measured`.
    pub fn event_over(&mut self, pcr: u32, kind: u32, data: &[u8], measured: &[u8]) -> &mut Self {
        let digests: Vec<(u16, Vec<u8>)> =
            self.banks.iter().map(|bank| (*bank, hash(*bank, measured))).collect();
        self.raw(pcr, kind, &digests, data)
    }

    pub fn raw(&mut self, pcr: u32, kind: u32, digests: &[(u16, Vec<u8>)], data: &[u8]) -> &mut Self {
        self.bytes.extend(pcr.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(u32::try_from(digests.len()).unwrap().to_le_bytes());
        for (alg, digest) in digests {
            self.bytes.extend(alg.to_le_bytes());
            self.bytes.extend(digest);
        }
        self.bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        self.bytes.extend(data);
        self
    }
}

pub fn sha1_event(out: &mut Vec<u8>, pcr: u32, kind: u32, digest: &[u8; 20], data: &[u8]) {
    out.extend(pcr.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(digest);
    out.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    out.extend(data);
}

/// Straight from aws-lc-rs: not through the crate under test.
pub fn hash(alg: u16, data: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest as d;
    let alg = match alg {
        SHA1 => &d::SHA1_FOR_LEGACY_USE_ONLY,
        SHA256 => &d::SHA256,
        SHA384 => &d::SHA384,
        SM3 => {
            use sm3::Digest as _;
            return sm3::Sm3::digest(data).to_vec();
        }
        _ => &d::SHA512,
    };
    d::digest(alg, data).as_ref().to_vec()
}

pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UEFI_VARIABLE_DATA.
pub fn variable(vendor: [u8; 16], name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = vendor.to_vec();
    out.extend((name.encode_utf16().count() as u64).to_le_bytes());
    out.extend((data.len() as u64).to_le_bytes());
    out.extend(utf16(name));
    out.extend(data);
    out
}

pub fn global() -> [u8; 16] {
    veriboot_eventlog::guids::GLOBAL_VARIABLE.0
}

pub fn shim_lock() -> [u8; 16] {
    veriboot_eventlog::guids::SHIM_LOCK.0
}

/// UEFI_IMAGE_LOAD_EVENT with one file path node.
pub fn image(path: &str) -> Vec<u8> {
    let mut node = vec![4, 4];
    let mut name = utf16(path);
    name.extend([0, 0]);
    node.extend(u16::try_from(4 + name.len()).unwrap().to_le_bytes());
    node.extend(name);
    node.extend([0x7F, 0xFF, 4, 0]);
    let mut out = vec![0; 24];
    out.extend((node.len() as u64).to_le_bytes());
    out.extend(node);
    out
}

/// A log with one of everything that decoding knows, so that mutation reaches every decoder.
pub fn rich_log() -> LogBuilder {
    let mut log = LogBuilder::new(&[SHA1, SHA256]);
    log.raw(0, NO_ACTION, &[(SHA1, vec![0; 20]), (SHA256, vec![0; 32])], b"StartupLocality\0\x03");
    log.event(0, CRTM_VERSION, &utf16("Test 1.0\0"));
    log.event(0, 0x8000_0008, &[7; 16]);
    log.event(0, 0x8000_000A, b"\x04Fv(1)0123456789abcdef");
    log.event(7, DRIVER_CONFIG, &variable(global(), "SecureBoot", &[1]));
    log.event(7, DRIVER_CONFIG, &variable(global(), "PK", &signature_list(&[9; 64])));
    log.event_over(1, VARIABLE_BOOT, &variable(global(), "BootOrder", &[1, 0, 0, 0]), &[1, 0, 0, 0]);
    let mut option = vec![1, 0, 0, 0];
    let path = &image("\\EFI\\BOOT\\BOOTX64.EFI")[32..];
    option.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
    option.extend(utf16("Linux\0"));
    option.extend(path);
    option.extend(b"extra");
    log.event_over(1, VARIABLE_BOOT, &variable(global(), "Boot0001", &option), &option);
    let mut tables = 1_u64.to_le_bytes().to_vec();
    tables.extend(veriboot_eventlog::guids::SMBIOS3_TABLE.0);
    tables.extend([0; 8]);
    log.event_over(1, 0x8000_0009, &tables, b"tables");
    log.event(4, ACTION, b"Calling EFI Application from Boot Option");
    for pcr in 0..8 {
        log.event(pcr, SEPARATOR, &[0; 4]);
    }
    log.event_over(4, APPLICATION, &image("\\EFI\\debian\\shimx64.efi"), b"shim");
    log.event(7, AUTHORITY, &variable(shim_lock(), "SbatLevel", b"sbat,1,2024010900\n"));
    log.event_over(14, IPL, b"MokList\0", b"mok");
    log.event_over(4, APPLICATION, &image("\\EFI\\debian\\grubx64.efi"), b"grub");
    log.event_over(
        8,
        IPL,
        b"grub_cmd: linux /vmlinuz-6.1.0-1-amd64 root=/dev/vda1 ro\0",
        b"linux /vmlinuz-6.1.0-1-amd64 root=/dev/vda1 ro",
    );
    log.event_over(9, IPL, b"/vmlinuz-6.1.0-1-amd64\0", b"kernel");
    log.event_over(
        8,
        IPL,
        b"kernel_cmdline: /vmlinuz-6.1.0-1-amd64 root=/dev/vda1 ro\0",
        b"/vmlinuz-6.1.0-1-amd64 root=/dev/vda1 ro",
    );
    log.event_over(9, IPL, b"/initrd.img-6.1.0-1-amd64\0", b"initrd");
    log.event_over(12, IPL, &utf16("console=ttyS0 quiet\0"), b"x");
    log.event_over(11, IPL, &utf16(".linux\0"), b".linux\0");
    log.event(12, EVENT_TAG, &windows());
    let mut tag = 0x8F3B_22EC_u32.to_le_bytes().to_vec();
    tag.extend(13_u32.to_le_bytes());
    tag.extend(b"Linux initrd\0");
    log.event_over(9, EVENT_TAG, &tag, b"initrd");
    log.event(5, ACTION, b"Exit Boot Services Invocation");
    log.event(5, ACTION, b"Exit Boot Services Returned with Success");
    log.raw(u32::MAX, NO_ACTION, &[], &windows());
    log
}

fn tagged(id: u32, data: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &u32::try_from(data.len()).unwrap().to_le_bytes(), data].concat()
}

/// A trust boundary with settings and one module.
pub fn windows() -> Vec<u8> {
    let module = [
        tagged(0x0007_0001, &utf16("\\Windows\\System32\\winload.efi\0")),
        tagged(0x0007_0004, &[0xAB; 32]),
        tagged(0x0007_000A, &[1]),
        tagged(0x0007_0008, &utf16("Microsoft Windows\0")),
    ]
    .concat();
    let mut revocation = 1_u64.to_le_bytes().to_vec();
    revocation.extend(32_u32.to_le_bytes());
    revocation.extend(11_u16.to_le_bytes());
    revocation.extend([5; 32]);
    let inner = [
        tagged(0x0002_0002, &117_u64.to_le_bytes()),
        tagged(0x0004_0001, &[0]),
        tagged(0x0005_0002, &[1]),
        tagged(0x0005_0003, &[0]),
        tagged(0x0004_0002, &revocation),
        tagged(0x4001_0003, &module),
    ]
    .concat();
    tagged(0x4001_0001, &inner)
}

/// EFI_SIGNATURE_LIST with one SHA-256 list of `hashes`.
pub fn signature_list(hashes: &[u8]) -> Vec<u8> {
    let entries: Vec<u8> = hashes.chunks(32).flat_map(|h| [&[0xAA_u8; 16][..], h].concat()).collect();
    let mut out = veriboot_eventlog::guids::CERT_SHA256.0.to_vec();
    out.extend(u32::try_from(28 + entries.len()).unwrap().to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend(48_u32.to_le_bytes());
    out.extend(entries);
    out
}

/// Everything that the crate can do with bytes. Must not panic, whatever the bytes are.
pub fn exercise(bytes: &[u8]) {
    let Ok(log) = veriboot_eventlog::parse(bytes) else { return };
    assert!(log.trailing <= bytes.len());
    let document = serde_json::to_vec(&veriboot_eventlog::Document::new(&log)).unwrap();
    // JSON output stays within a constant factor of the log.
    assert!(
        document.len() < 64 * bytes.len() + 65_536,
        "{} bytes of JSON for {}",
        document.len(),
        bytes.len()
    );
    for bank in log.active_banks() {
        veriboot_eventlog::measurements(&log, bank);
    }
}

/// Folder of the shared corpus, where the environment names one.
pub fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("VERIBOOT_CORPUS").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: VERIBOOT_CORPUS is not set");
    }
    path
}

/// Logs captured from machines of our own, with the folder name.
pub fn captures() -> Vec<(String, PathBuf)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus");
    let Ok(folders) = std::fs::read_dir(root) else { return Vec::new() };
    let mut found: Vec<_> = folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("eventlog.bin").is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}
