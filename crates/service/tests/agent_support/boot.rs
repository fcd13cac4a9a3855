//! A measured boot for tests: the log that firmware, shim, GRUB and kernel would write, and the same digests for
//! the TPM, so that the log replays to real PCRs of a real (software) TPM.

use aws_lc_rs::digest::{SHA256, digest};
use veriboot_testkit::swtpm::Swtpm;

const EV_NO_ACTION: u32 = 0x3;
const EV_SEPARATOR: u32 = 0x4;
const EV_S_CRTM_VERSION: u32 = 0x8;
pub const EV_IPL: u32 = 0xd;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
const EV_EFI_ACTION: u32 = 0x8000_0007;
const EV_EFI_PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;

const EFI_GLOBAL_VARIABLE: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
const IMAGE_SECURITY_DATABASE: [u8; 16] =
    [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    pub pcr: u32,
    pub kind: u32,
    pub data: Vec<u8>,
    pub digest: Vec<u8>,
}

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Boot {
    pub secure_boot: bool,
    pub firmware: String,
    pub shim: String,
    pub kernel: String,
    pub cmdline: String,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            secure_boot: true,
            firmware: "edk2 2022.11".into(),
            shim: "shim 15.8".into(),
            kernel: "vmlinuz-6.1.0-40".into(),
            cmdline: "root=/dev/vda1 ro quiet".into(),
        }
    }
}

impl Boot {
    /// Every event in the order of a boot.
    pub fn events(&self) -> Vec<Measured> {
        let mut events = vec![
            hashed(0, EV_S_CRTM_VERSION, utf16(&self.firmware)),
            image(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, blob(0x0082_0000, 0x000e_0000), &self.firmware),
            variable(&EFI_GLOBAL_VARIABLE, "SecureBoot", &[u8::from(self.secure_boot)]),
            variable(&EFI_GLOBAL_VARIABLE, "PK", b""),
            variable(&EFI_GLOBAL_VARIABLE, "KEK", b""),
            variable(&IMAGE_SECURITY_DATABASE, "db", b""),
            variable(&IMAGE_SECURITY_DATABASE, "dbx", b""),
        ];
        events.push(hashed(7, EV_SEPARATOR, vec![0; 4]));
        events.push(hashed(4, EV_EFI_ACTION, b"Calling EFI Application from Boot Option".to_vec()));
        events.extend((0..7).map(|pcr| hashed(pcr, EV_SEPARATOR, vec![0; 4])));
        events.push(image(
            4,
            EV_EFI_BOOT_SERVICES_APPLICATION,
            load("\\EFI\\debian\\shimx64.efi"),
            &self.shim,
        ));
        events.push(image(
            4,
            EV_EFI_BOOT_SERVICES_APPLICATION,
            load("\\EFI\\debian\\grubx64.efi"),
            "grub 2.06",
        ));
        events.push(grub(9, "(hd0,gpt1)/boot/grub/grub.cfg", "menuentry"));
        events.push(image(4, EV_EFI_BOOT_SERVICES_APPLICATION, load("\\boot\\vmlinuz"), &self.kernel));
        events.push(command(&format!("grub_cmd: linux /boot/{} {}", self.kernel, self.cmdline)));
        events.push(grub(9, &format!("/boot/{}", self.kernel), &self.kernel));
        events.push(command(&format!("kernel_cmdline: /boot/{} {}", self.kernel, self.cmdline)));
        events.push(grub(9, "/boot/initrd.img", "initrd 1"));
        events.push(hashed(5, EV_EFI_ACTION, b"Exit Boot Services Invocation".to_vec()));
        events.push(hashed(5, EV_EFI_ACTION, b"Exit Boot Services Returned with Success".to_vec()));
        events
    }

    /// Power-cycles the TPM, measures this boot into its SHA-256 bank and gives the log.
    pub fn boot(&self, tpm: &Swtpm) -> Vec<u8> {
        tpm.reboot().expect("the TPM restarts");
        measure(tpm, &self.events());
        encode(&self.events())
    }
}

/// Extends every event into the TPM.
pub fn measure(tpm: &Swtpm, events: &[Measured]) {
    for event in events {
        tpm.extend(event.pcr, "sha256", &event.digest).expect("the TPM extends");
    }
}

/// The log in the crypto-agile format, SHA-256 only (PC Client PFP section 10.2).
pub fn encode(events: &[Measured]) -> Vec<u8> {
    let mut spec_id = b"Spec ID Event03\0".to_vec();
    spec_id.extend(0_u32.to_le_bytes()); // platformClass: client
    spec_id.extend([0, 2, 0, 2]); // minor, major, errata, uintnSize
    spec_id.extend(1_u32.to_le_bytes());
    spec_id.extend(0x000b_u16.to_le_bytes());
    spec_id.extend(32_u16.to_le_bytes());
    spec_id.push(0);
    let mut log = Vec::new();
    log.extend(0_u32.to_le_bytes());
    log.extend(EV_NO_ACTION.to_le_bytes());
    log.extend([0; 20]);
    log.extend(u32::try_from(spec_id.len()).unwrap().to_le_bytes());
    log.extend(spec_id);
    for event in events {
        log.extend(encode_one(event));
    }
    log
}

/// One TCG_PCR_EVENT2.
pub fn encode_one(event: &Measured) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(event.pcr.to_le_bytes());
    bytes.extend(event.kind.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0x000b_u16.to_le_bytes());
    bytes.extend(&event.digest);
    bytes.extend(u32::try_from(event.data.len()).unwrap().to_le_bytes());
    bytes.extend(&event.data);
    bytes
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// An event whose digest is over its data.
pub fn hashed(pcr: u32, kind: u32, data: Vec<u8>) -> Measured {
    Measured { pcr, kind, digest: sha256(&data), data }
}

/// An event whose digest is over something else than its data.
fn image(pcr: u32, kind: u32, data: Vec<u8>, content: &str) -> Measured {
    Measured { pcr, kind, digest: sha256(content.as_bytes()), data }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn blob(base: u64, length: u64) -> Vec<u8> {
    [base.to_le_bytes(), length.to_le_bytes()].concat()
}

/// UEFI_VARIABLE_DATA.
fn variable(guid: &[u8; 16], name: &str, value: &[u8]) -> Measured {
    let name: Vec<u16> = name.encode_utf16().collect();
    let mut data = guid.to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((value.len() as u64).to_le_bytes());
    data.extend(name.into_iter().flat_map(u16::to_le_bytes));
    data.extend(value);
    hashed(7, EV_EFI_VARIABLE_DRIVER_CONFIG, data)
}

/// UEFI_IMAGE_LOAD_EVENT with a device path of one file path node.
fn load(path: &str) -> Vec<u8> {
    let name = utf16(path);
    let mut device_path = vec![4, 4];
    device_path.extend(u16::try_from(name.len() + 4).unwrap().to_le_bytes());
    device_path.extend(name);
    device_path.extend([0x7f, 0xff, 4, 0]);
    let mut data = Vec::new();
    data.extend(0x7e00_0000_u64.to_le_bytes());
    data.extend(0x000a_0000_u64.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend((device_path.len() as u64).to_le_bytes());
    data.extend(device_path);
    data
}

/// What GRUB measures of a file: the name as data, the content as digest.
fn grub(pcr: u32, path: &str, content: &str) -> Measured {
    image(pcr, EV_IPL, [path.as_bytes(), &[0]].concat(), content)
}

/// What GRUB measures of a command: the digest is over the text behind the prefix.
pub fn command(text: &str) -> Measured {
    let (_, measured) = text.split_once(": ").unwrap();
    image(8, EV_IPL, [text.as_bytes(), &[0]].concat(), measured)
}
