//! Builds event logs event by event, as a Debian machine with shim and GRUB writes them, and the quotes that belong to
//! them. Replays by itself: nothing here uses the replay of the crate under test.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "also built into the bench, which is no test to clippy"
)]

pub mod boot;
pub mod capture;
pub mod case;
pub mod machines;
pub mod pairs;

use std::collections::BTreeMap;

use veriboot_appraisal::{Conclude, Outcome, PcrValues, PreviousBoot, Profile, conclude, examine, judge};
use veriboot_eventlog::{EventType, HashAlg};
use veriboot_tpm::{PcrSelection, Quote};

pub const SHA256: HashAlg = HashAlg::Sha256;
pub const GLOBAL: [u8; 16] =
    [0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0x00, 0xE0, 0x98, 0x03, 0x2B, 0x8C];
pub const SECURITY: [u8; 16] =
    [0xCB, 0xB2, 0x19, 0xD7, 0x3A, 0x3D, 0x96, 0x45, 0xA3, 0xBC, 0xDA, 0xD0, 0x0E, 0x67, 0x65, 0x6F];
pub const SHIM: [u8; 16] =
    [0x50, 0xAB, 0x5D, 0x60, 0x46, 0xE0, 0x00, 0x43, 0xAB, 0xB6, 0x3D, 0xD8, 0x10, 0xDD, 0x8B, 0x23];
const CERT_X509: [u8; 16] =
    [0xA1, 0x59, 0xC0, 0xA5, 0xE4, 0x94, 0xA7, 0x4A, 0x87, 0xB5, 0xAB, 0x15, 0x5C, 0x2B, 0xF0, 0x72];
const CERT_SHA256: [u8; 16] =
    [0x26, 0x16, 0xC4, 0xC1, 0x4C, 0x50, 0x92, 0x40, 0xAC, 0xA9, 0x41, 0xF9, 0x36, 0x93, 0x43, 0x28];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ev {
    pub pcr: u32,
    pub event_type: EventType,
    /// What is hashed.
    pub measured: Vec<u8>,
    /// What the log says.
    pub data: Vec<u8>,
}

/// A log under construction.
#[derive(Clone, Debug)]
pub struct Log {
    pub banks: Vec<HashAlg>,
    pub events: Vec<Ev>,
}

/// What a machine boots. Change a field and build the log again.
#[derive(Clone, Debug)]
pub struct Machine {
    pub banks: Vec<HashAlg>,
    pub firmware: &'static str,
    pub secure_boot: Option<bool>,
    pub db: Vec<&'static str>,
    pub dbx_hashes: usize,
    pub shim: &'static str,
    pub grub: &'static str,
    pub kernel: &'static str,
    pub kernel_path: &'static str,
    pub initrd: &'static str,
    pub command_line: &'static str,
    pub more_commands: Vec<&'static str>,
    pub extra_application: bool,
    pub boot_order: Vec<u8>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            banks: vec![HashAlg::Sha1, HashAlg::Sha256],
            firmware: "OVMF 2022.11",
            secure_boot: Some(true),
            db: vec!["Microsoft Corporation UEFI CA 2011", "Microsoft Windows Production PCA 2011"],
            dbx_hashes: 77,
            shim: "shim 15.8",
            grub: "grub 2.06",
            kernel: "linux 6.1.0-50",
            kernel_path: "/vmlinuz-6.1.0-50-cloud-amd64",
            initrd: "initrd 1",
            command_line: "root=/dev/vda1 ro console=ttyS0",
            more_commands: vec![],
            extra_application: false,
            boot_order: vec![0, 0, 1, 0],
        }
    }
}

impl Machine {
    pub fn log(&self) -> Log {
        let mut log = Log { banks: self.banks.clone(), events: Vec::new() };
        log.text(0, EventType::EV_S_CRTM_VERSION, &utf16(self.firmware));
        log.firmware_blob(self.firmware.as_bytes());
        if let Some(on) = self.secure_boot {
            log.variable(7, EventType::EV_EFI_VARIABLE_DRIVER_CONFIG, GLOBAL, "SecureBoot", &[u8::from(on)]);
        }
        log.variable(
            7,
            EventType::EV_EFI_VARIABLE_DRIVER_CONFIG,
            GLOBAL,
            "PK",
            &signatures(&["Owner PK"], 0),
        );
        log.variable(
            7,
            EventType::EV_EFI_VARIABLE_DRIVER_CONFIG,
            GLOBAL,
            "KEK",
            &signatures(&["Microsoft Corporation KEK CA 2011"], 0),
        );
        log.variable(7, EventType::EV_EFI_VARIABLE_DRIVER_CONFIG, SECURITY, "db", &signatures(&self.db, 0));
        let dbx = signatures(&[], self.dbx_hashes);
        log.variable(7, EventType::EV_EFI_VARIABLE_DRIVER_CONFIG, SECURITY, "dbx", &dbx);
        log.separator(7);
        log.variable(1, EventType::EV_EFI_VARIABLE_BOOT, GLOBAL, "BootOrder", &self.boot_order);
        log.text(4, EventType::EV_EFI_ACTION, b"Calling EFI Application from Boot Option");
        for pcr in 0..=6 {
            log.separator(pcr);
        }
        if self.secure_boot == Some(true) {
            let authority = [&[7; 16][..], &certificate("Microsoft Corporation UEFI CA 2011")].concat();
            log.variable(7, EventType::EV_EFI_VARIABLE_AUTHORITY, SECURITY, "db", &authority);
        }
        if self.extra_application {
            log.application("\\EFI\\TOOLS\\EVIL.EFI", b"evil");
        }
        log.application("\\EFI\\BOOT\\BOOTX64.EFI", self.shim.as_bytes());
        log.variable(
            7,
            EventType::EV_EFI_VARIABLE_AUTHORITY,
            SHIM,
            "SbatLevel",
            b"sbat,1,2023012900\nshim,2\n",
        );
        log.application("\\EFI\\debian\\grubx64.efi", self.grub.as_bytes());
        let grub_cfg = format!("linux {} {}", self.kernel_path, self.command_line);
        log.ipl(
            9,
            "(hd0,gpt1)/EFI/debian/grub.cfg",
            format!("{grub_cfg}{:?}", self.more_commands).as_bytes(),
        );
        for command in &self.more_commands {
            log.ipl(8, &format!("grub_cmd: {command}"), command.as_bytes());
        }
        log.ipl(8, &format!("grub_cmd: {grub_cfg}"), grub_cfg.as_bytes());
        log.application(self.kernel_path, self.kernel.as_bytes());
        let text = format!("{} {}", self.kernel_path, self.command_line);
        log.ipl(8, &format!("kernel_cmdline: {text}"), text.as_bytes());
        log.ipl(8, "grub_cmd: initrd /initrd.img", b"initrd /initrd.img");
        log.ipl(9, "/initrd.img", self.initrd.as_bytes());
        log.load_options(&format!("BOOT_IMAGE={text}"));
        log.text(5, EventType::EV_EFI_ACTION, b"Exit Boot Services Invocation");
        log.text(5, EventType::EV_EFI_ACTION, b"Exit Boot Services Returned with Success");
        log
    }
}

impl Log {
    pub fn push(&mut self, pcr: u32, event_type: EventType, measured: &[u8], data: &[u8]) {
        self.events.push(Ev { pcr, event_type, measured: measured.to_vec(), data: data.to_vec() });
    }

    pub fn text(&mut self, pcr: u32, event_type: EventType, data: &[u8]) {
        self.push(pcr, event_type, data, data);
    }

    pub fn separator(&mut self, pcr: u32) {
        self.text(pcr, EventType::EV_SEPARATOR, &[0; 4]);
    }

    pub fn variable(&mut self, pcr: u32, event_type: EventType, vendor: [u8; 16], name: &str, data: &[u8]) {
        let mut bytes = vendor.to_vec();
        bytes.extend((name.encode_utf16().count() as u64).to_le_bytes());
        bytes.extend((data.len() as u64).to_le_bytes());
        bytes.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        bytes.extend(data);
        self.text(pcr, event_type, &bytes);
    }

    pub fn secure_boot_variable(&mut self, value: u8) {
        self.variable(7, EventType::EV_EFI_VARIABLE_DRIVER_CONFIG, GLOBAL, "SecureBoot", &[value]);
    }

    pub fn mok_state_variable(&mut self, name: &str, data: &[u8]) {
        self.variable(7, EventType::EV_EFI_VARIABLE_AUTHORITY, SHIM, name, data);
    }

    pub fn firmware_blob(&mut self, content: &[u8]) {
        let data = [0x0082_0000_u64.to_le_bytes(), 0x000E_0000_u64.to_le_bytes()].concat();
        self.push(0, EventType::EV_EFI_PLATFORM_FIRMWARE_BLOB, content, &data);
    }

    pub fn application(&mut self, path: &str, image: &[u8]) {
        let path: Vec<u8> =
            path.replace('/', "\\").encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let mut device_path = vec![4, 4];
        device_path.extend((path.len() as u16 + 4).to_le_bytes());
        device_path.extend(path);
        device_path.extend([0x7F, 0xFF, 4, 0]);
        let mut data = Vec::new();
        data.extend(0x7E00_0000_u64.to_le_bytes());
        data.extend((image.len() as u64).to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend((device_path.len() as u64).to_le_bytes());
        data.extend(device_path);
        self.push(4, EventType::EV_EFI_BOOT_SERVICES_APPLICATION, image, &data);
    }

    /// GRUB hashes what it names without the terminating zero.
    pub fn ipl(&mut self, pcr: u32, text: &str, measured: &[u8]) {
        self.push(pcr, EventType::EV_IPL, measured, &[text.as_bytes(), &[0]].concat());
    }

    /// The EFI stub of Linux: LOADED_IMAGE::LoadOptions.
    pub fn load_options(&mut self, text: &str) {
        let options: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let name = b"LOADED_IMAGE::LoadOptions\0";
        let mut data = 0x8F3B_22ED_u32.to_le_bytes().to_vec();
        data.extend((name.len() as u32).to_le_bytes());
        data.extend(name);
        self.push(9, EventType::EV_EVENT_TAG, &options, &data);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut spec = b"Spec ID Event03\0".to_vec();
        spec.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        spec.extend((self.banks.len() as u32).to_le_bytes());
        for bank in &self.banks {
            spec.extend(bank.tpm_id().to_le_bytes());
            spec.extend((bank.size() as u16).to_le_bytes());
        }
        spec.push(0);
        let mut out = Vec::new();
        out.extend(0_u32.to_le_bytes());
        out.extend(3_u32.to_le_bytes());
        out.extend([0; 20]);
        out.extend((spec.len() as u32).to_le_bytes());
        out.extend(spec);
        for event in &self.events {
            out.extend(event.pcr.to_le_bytes());
            out.extend(event.event_type.0.to_le_bytes());
            out.extend((self.banks.len() as u32).to_le_bytes());
            for bank in &self.banks {
                out.extend(bank.tpm_id().to_le_bytes());
                out.extend(bank.hash(&[&event.measured]).as_ref());
            }
            out.extend((event.data.len() as u32).to_le_bytes());
            out.extend(&event.data);
        }
        out
    }

    /// PCR values of a TPM that was extended with these events.
    pub fn pcrs(&self, bank: HashAlg) -> BTreeMap<u32, Vec<u8>> {
        let mut pcrs: BTreeMap<u32, Vec<u8>> = (0..24)
            .map(|pcr| (pcr, vec![if (17..=22).contains(&pcr) { 0xFF } else { 0 }; bank.size()]))
            .collect();
        for event in &self.events {
            let old = pcrs[&event.pcr].clone();
            let digest = bank.hash(&[&event.measured]);
            pcrs.insert(event.pcr, bank.hash(&[&old, digest.as_ref()]).as_ref().to_vec());
        }
        pcrs
    }
}

/// A TPM that holds PCR values and counts its resets.
#[derive(Clone, Debug)]
pub struct Tpm {
    pub pcrs: BTreeMap<u16, BTreeMap<u32, Vec<u8>>>,
    pub reset_count: u32,
    pub restart_count: u32,
    pub clock_ms: u64,
    pub firmware_version: u64,
}

impl Tpm {
    pub fn booted(log: &Log) -> Self {
        Self {
            pcrs: log.banks.iter().map(|bank| (bank.tpm_id(), log.pcrs(*bank))).collect(),
            reset_count: 0xFFFF_FFFF,
            restart_count: 7,
            clock_ms: 1_000_000,
            firmware_version: 0x2019_1023_0016_3636,
        }
    }

    /// TPM2_PCR_Extend with the hash of `text` in every bank.
    pub fn extend(&mut self, pcr: u32, text: &str) {
        for (id, bank) in &mut self.pcrs {
            let alg = HashAlg::from_tpm_id(*id).unwrap();
            let old = bank[&pcr].clone();
            bank.insert(pcr, alg.hash(&[&old, alg.hash(&[text.as_bytes()]).as_ref()]).as_ref().to_vec());
        }
    }

    pub fn quote_of(&self, selections: Vec<PcrSelection>) -> Quote {
        let mut bytes = Vec::new();
        for selection in &selections {
            for pcr in selection.pcrs.iter() {
                bytes.extend(&self.pcrs[&selection.alg][&u32::from(pcr)]);
            }
        }
        Quote {
            nonce: vec![1; 32],
            selections,
            pcr_digest: SHA256.hash(&[&bytes]).as_ref().to_vec(),
            digest_alg: SHA256.tpm_id(),
            clock_ms: self.clock_ms,
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            safe: true,
            firmware_version: self.firmware_version,
            qualified_signer: vec![],
        }
    }

    pub fn quote(&self) -> Quote {
        self.quote_of(vec![PcrSelection::new(SHA256.tpm_id(), 0..16).unwrap()])
    }

    pub fn values(&self) -> PcrValues {
        let bank = |id: &u16| HashAlg::from_tpm_id(*id).unwrap().name().to_owned();
        let values =
            |bank: &BTreeMap<u32, Vec<u8>>| bank.iter().map(|(pcr, v)| (*pcr, hex::encode(v))).collect();
        self.pcrs.iter().map(|(id, pcrs)| (bank(id), values(pcrs))).collect()
    }

    pub fn previous(&self, log: &Log) -> PreviousBoot {
        PreviousBoot {
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            clock_ms: self.clock_ms,
            firmware_version: self.firmware_version,
            log_sha256: Some(examine(&log.bytes()).sha256),
            ak_replaced: false,
        }
    }
}

/// The whole appraisal of `bytes` against the quote of `tpm`.
pub fn appraise(
    tpm: &Tpm,
    bytes: &[u8],
    baseline: Option<&veriboot_appraisal::CompiledBaseline>,
    previous: Option<&PreviousBoot>,
) -> Outcome {
    let profile = Profile::default();
    let report = examine(bytes);
    let judgement = judge(&report, SHA256, baseline, &profile);
    conclude(Conclude {
        quote: Ok(&tpm.quote()),
        pcr_values: Some(&tpm.values()),
        report: Some(&report),
        log_absent_because: None,
        judgement: Some(&judgement),
        profile: &profile,
        previous,
    })
}

pub fn codes(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.code.as_str()).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// EFI_SIGNATURE_LISTs: one per certificate, one for all hashes.
pub fn signatures(certificates: &[&str], hashes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for name in certificates {
        let der = certificate(name);
        out.extend(CERT_X509);
        out.extend((28 + 16 + der.len() as u32).to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend((16 + der.len() as u32).to_le_bytes());
        out.extend([9; 16]);
        out.extend(der);
    }
    if hashes > 0 {
        out.extend(CERT_SHA256);
        out.extend((28 + 48 * hashes as u32).to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(48_u32.to_le_bytes());
        for n in 0..hashes {
            out.extend([9; 16]);
            out.extend(SHA256.hash(&[&n.to_le_bytes()]).as_ref());
        }
    }
    out
}

/// The skeleton of a certificate: what a reader of names needs, with an empty key and signature.
pub fn certificate(name: &str) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let mut out = vec![tag];
        match content.len() {
            n @ 0..0x80 => out.push(n as u8),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend(content);
        out
    };
    let common_name = tlv(0x30, &[tlv(0x06, &[0x55, 0x04, 0x03]), tlv(0x0C, name.as_bytes())].concat());
    let subject = tlv(0x30, &tlv(0x31, &common_name));
    let time = tlv(0x17, b"300101000000Z");
    let algorithm = tlv(0x30, &tlv(0x06, &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B]));
    let tbs = [
        tlv(0xA0, &tlv(0x02, &[2])),
        tlv(0x02, &[1]),
        algorithm.clone(),
        subject.clone(),
        tlv(0x30, &[time.clone(), time].concat()),
        subject,
        tlv(0x30, &[algorithm.clone(), tlv(0x03, &[0])].concat()),
    ]
    .concat();
    tlv(0x30, &[tlv(0x30, &tbs), algorithm, tlv(0x03, &[0])].concat())
}
