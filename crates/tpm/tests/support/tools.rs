//! Real TPM keys and quotes: swtpm, driven by tpm2-tools.
#![allow(dead_code, missing_docs)]

use std::path::PathBuf;
use std::process::Command;

use veriboot_testkit::swtpm::{Swtpm, SwtpmOptions};

/// Attributes of an attestation key as tpm2-tools spell them.
pub const AK_ATTRIBUTES: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
/// Attributes of an endorsement key that opens credentials without a policy session.
pub const EK_ATTRIBUTES: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt";

/// A TPM and a folder for what the tools write.
pub struct Tpm {
    pub swtpm: Swtpm,
    dir: tempfile::TempDir,
}

/// A quote as the TPM gave it.
pub struct Evidence {
    /// TPM2B_PUBLIC.
    pub ak: Vec<u8>,
    pub quote: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Tpm {
    /// Starts a TPM with these banks; `None`, said plainly, where the tools are missing.
    pub fn start(banks: &[&str]) -> Option<Self> {
        for tool in ["swtpm", "swtpm_setup", "tpm2"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED: {tool} is not installed");
                return None;
            }
        }
        let swtpm = SwtpmOptions::default().banks(banks).start().unwrap();
        Some(Self { swtpm, dir: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs one command of tpm2-tools in the folder, after flushing what the one before left in the TPM.
    pub fn tpm2(&self, arguments: &[&str]) {
        let (ok, text) = self.try_tpm2(arguments);
        assert!(ok, "tpm2 {arguments:?}: {text}");
    }

    /// The same; whether it succeeded and what it printed.
    pub fn try_tpm2(&self, arguments: &[&str]) -> (bool, String) {
        let _ = self.run(&["flushcontext", "-t"]);
        self.run(arguments)
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("tpm2")
            .args(arguments)
            .current_dir(self.dir.path())
            .env("TPM2TOOLS_TCTI", self.swtpm.tcti())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Makes a primary key in the endorsement hierarchy: context `name.ctx`; gives its TPM2B_PUBLIC.
    pub fn primary(&self, name: &str, algorithm: &str, attributes: &str) -> Vec<u8> {
        self.primary_named(name, algorithm, attributes, "sha256")
    }

    /// The same with another name algorithm.
    pub fn primary_named(&self, name: &str, algorithm: &str, attributes: &str, name_alg: &str) -> Vec<u8> {
        let context = format!("{name}.ctx");
        let public = format!("{name}.pub");
        self.tpm2(&[
            "createprimary",
            "-C",
            "e",
            "-g",
            name_alg,
            "-G",
            algorithm,
            "-a",
            attributes,
            "-c",
            &context,
        ]);
        self.tpm2(&["readpublic", "-c", &context, "-o", &public, "-n", &format!("{name}.name")]);
        self.read(&public)
    }

    /// Quotes with the key of `name.ctx`; `arguments` may name the hash and the scheme.
    pub fn quote(&self, name: &str, pcrs: &str, nonce: &[u8], arguments: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let context = format!("{name}.ctx");
        let nonce = hex::encode(nonce);
        let mut all =
            vec!["quote", "-c", &context, "-l", pcrs, "-m", "quote", "-s", "signature", "-q", &nonce];
        all.extend(arguments);
        self.tpm2(&all);
        (self.read("quote"), self.read("signature"))
    }

    /// The value of a PCR as the TPM says it now.
    pub fn pcr(&self, bank: u16, pcr: u8) -> Option<Vec<u8>> {
        let name = veriboot_tpm::alg::bank_name(bank)?;
        self.swtpm.pcr_read(u32::from(pcr), name).ok()
    }

    /// Gives every static PCR of a bank a value of its own.
    pub fn extend_all(&self, bank: &str, size: usize) {
        for pcr in 0..16_u8 {
            self.swtpm.extend(u32::from(pcr), bank, &vec![pcr + 1; size]).unwrap();
        }
    }
}
