//! What the tests of the agent share.
#![allow(dead_code)]

pub mod service;

use std::path::Path;
use std::process::Command;

/// Runs a program that must succeed and gives its standard output.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// TPM2_MakeCredential by tpm2-tools, in software: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
pub fn make_credential(ek_public: &[u8], ak_name: &[u8], secret: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("ek.pub"), ek_public).unwrap();
    std::fs::write(file("secret"), secret).unwrap();
    run(Command::new("tpm2_makecredential")
        .args(["-Q", "-T", "none", "-n", &hex::encode(ak_name)])
        .arg("-u")
        .arg(file("ek.pub"))
        .arg("-s")
        .arg(file("secret"))
        .arg("-o")
        .arg(file("out")));
    let out = std::fs::read(file("out")).unwrap();
    // Header of tpm2-tools: magic and version, 4 bytes each.
    let out = &out[8..];
    let size = 2 + usize::from(u16::from_be_bytes([out[0], out[1]]));
    (out[..size].to_vec(), out[size..].to_vec())
}

/// TPM name of a TPM2B_PUBLIC with nameAlg SHA-256 (part 1, 16): by sha256sum, not by our code.
pub fn name_of(public: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("public");
    std::fs::write(&file, &public[2..]).unwrap();
    let sum = String::from_utf8(run(Command::new("sha256sum").arg(&file))).unwrap();
    let mut name = vec![0x00, 0x0b];
    name.extend(hex::decode(&sum[..64]).unwrap());
    name
}

/// Checks a quote with tpm2_checkquote: signature, magic and nonce.
pub fn check_quote(ak_public: &[u8], attest: &[u8], signature: &[u8], nonce: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("ak.pub"), ak_public).unwrap();
    std::fs::write(file("quote"), attest).unwrap();
    std::fs::write(file("sig"), signature).unwrap();
    let output = Command::new("tpm2_checkquote")
        .args(["-Q", "-g", "sha256", "-q", &hex::encode(nonce)])
        .arg("-u")
        .arg(file("ak.pub"))
        .arg("-m")
        .arg(file("quote"))
        .arg("-s")
        .arg(file("sig"))
        .output()
        .unwrap();
    println!("tpm2_checkquote: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// A file with something like an event log in it.
pub fn log_file(dir: &Path, contents: &[u8]) -> std::path::PathBuf {
    let path = dir.join("log");
    std::fs::write(&path, contents).unwrap();
    path
}
