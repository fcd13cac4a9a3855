//! The TPM commands against a real swtpm, with tpm2-tools and openssl as judges.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)]

mod support;

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use support::{check_quote, make_credential, name_of, run};
use veriboot_agent::tpm::{EndorsementKeyType, Tpm, TpmError};
use veriboot_agent::{AkAlgorithm, Connector, TpmAddress, Transport};
use veriboot_testkit::swtpm::{Swtpm, SwtpmOptions};

fn address(swtpm: &Swtpm) -> TpmAddress {
    swtpm.tpm_address().parse().unwrap()
}

fn open(swtpm: &Swtpm) -> Tpm {
    Tpm::open(&address(swtpm)).unwrap()
}

fn tool(swtpm: &Swtpm, name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("TPM2TOOLS_TCTI", swtpm.tcti());
    command
}

#[test]
fn endorsement_keys_are_the_standard_ones() {
    let swtpm = Swtpm::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (key, algorithm) in [(EndorsementKeyType::EccP256, "ecc"), (EndorsementKeyType::Rsa2048, "rsa")] {
        let ours = open(&swtpm).endorsement_public(key).unwrap();
        let theirs = dir.path().join(algorithm);
        run(tool(&swtpm, "tpm2_createek")
            .args(["-Q", "-G", algorithm, "-c"])
            .arg(dir.path().join("ctx"))
            .arg("-u")
            .arg(&theirs));
        run(tool(&swtpm, "tpm2_flushcontext").arg("-t"));
        assert_eq!(ours, std::fs::read(theirs).unwrap(), "{algorithm}");
    }
}

#[test]
fn credentials_open_and_quotes_verify_for_every_key() {
    let swtpm = Swtpm::start().unwrap();
    swtpm.extend(4, "sha256", &[4; 32]).unwrap();
    let all: Vec<u8> = (0..16).collect();
    for algorithm in [AkAlgorithm::Ecc, AkAlgorithm::Rsa] {
        let mut tpm = open(&swtpm);
        let ak = tpm.create_ak(algorithm).unwrap();
        for ek in [EndorsementKeyType::EccP256, EndorsementKeyType::Rsa2048] {
            let ek_public = tpm.endorsement_public(ek).unwrap();
            let (blob, secret) =
                make_credential(&ek_public, &name_of(&ak.public), b"thirty-two bytes are a secret...");
            let opened = tpm.activate_credential(ek, &ak, &blob, &secret).unwrap();
            assert_eq!(opened, b"thirty-two bytes are a secret...");
            // For another AK it stays closed.
            let other = tpm.create_ak(algorithm).unwrap();
            let error = tpm.activate_credential(ek, &other, &blob, &secret).unwrap_err();
            assert_eq!(error.code(), "tpm-refused", "{error}");
        }
        let quote = tpm.quote(&ak, &[9; 32], 0x000b, &all).unwrap();
        assert!(check_quote(&ak.public, &quote.attest, &quote.signature, &[9; 32]));
        assert!(!check_quote(&ak.public, &quote.attest, &quote.signature, &[8; 32]));
        // Nothing stays behind in the TPM.
        drop(tpm);
        let left = run(tool(&swtpm, "tpm2_getcap").arg("handles-transient"));
        assert!(left.is_empty(), "{}", String::from_utf8_lossy(&left));
        let left = run(tool(&swtpm, "tpm2_getcap").arg("handles-loaded-session"));
        assert!(left.is_empty(), "{}", String::from_utf8_lossy(&left));
    }
}

#[test]
fn quotes_carry_the_true_reset_count() {
    let swtpm = Swtpm::start().unwrap();
    let mut counts = Vec::new();
    let ak = open(&swtpm).create_ak(AkAlgorithm::Auto).unwrap();
    for _ in 0..3 {
        let quote = open(&swtpm).quote(&ak, &[1; 32], 0x000b, &[0]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("quote");
        std::fs::write(&file, &quote.attest).unwrap();
        let shown = String::from_utf8(run(Command::new("tpm2_print").args(["-t", "TPMS_ATTEST"]).arg(&file)))
            .unwrap();
        let count = shown
            .lines()
            .find_map(|l| l.trim().strip_prefix("resetCount: "))
            .unwrap()
            .parse::<u32>()
            .unwrap();
        let clock = String::from_utf8(run(&mut tool(&swtpm, "tpm2_readclock"))).unwrap();
        assert!(clock.contains(&format!("reset_count: {count}")), "{clock} {count}");
        counts.push(count);
        swtpm.reboot().unwrap();
    }
    assert_eq!(counts[1], counts[0] + 1);
    assert_eq!(counts[2], counts[0] + 2);
}

#[test]
fn pcr_values_and_banks_are_what_the_tpm_says() {
    let swtpm = SwtpmOptions::default().banks(&["sha1", "sha256", "sha384"]).start().unwrap();
    swtpm.extend(15, "sha384", &[5; 48]).unwrap();
    let mut tpm = open(&swtpm);
    let mut names: Vec<String> = tpm.active_banks().unwrap().iter().map(|b| b.name()).collect();
    names.sort();
    assert_eq!(names, ["sha1", "sha256", "sha384"]);
    let all: Vec<u8> = (0..24).collect();
    let values = tpm.pcr_values(0x000c, &all).unwrap();
    drop(tpm);
    assert_eq!(values.len(), 24);
    for pcr in [0, 15, 17, 23] {
        assert_eq!(values[&pcr], hex::encode(swtpm.pcr_read(pcr, "sha384").unwrap()), "PCR {pcr}");
    }
}

#[test]
fn the_endorsement_certificate_comes_from_nv() {
    let swtpm = SwtpmOptions::default().banks(&["sha256"]).with_ek_certificate().start().unwrap();
    let endorsement = open(&swtpm).endorsement().unwrap();
    assert_eq!(endorsement.key, EndorsementKeyType::Rsa2048);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ek.der");
    std::fs::write(&file, endorsement.certificate.unwrap()).unwrap();
    let verified =
        run(Command::new("openssl").args(["x509", "-inform", "der", "-noout", "-issuer", "-in"]).arg(&file));
    assert!(String::from_utf8_lossy(&verified).contains("swtpm-localca"));
    // The certificate is for the key that the agent shows.
    let modulus =
        run(Command::new("openssl").args(["x509", "-inform", "der", "-noout", "-modulus", "-in"]).arg(&file));
    let ek = open(&swtpm).endorsement_public(EndorsementKeyType::Rsa2048).unwrap();
    let modulus = String::from_utf8(modulus).unwrap().trim().trim_start_matches("Modulus=").to_lowercase();
    assert!(hex::encode(ek).contains(&modulus));
    // Without certificates the ECC key is used.
    let plain = open(&Swtpm::start().unwrap()).endorsement().unwrap();
    assert_eq!((plain.key, plain.certificate), (EndorsementKeyType::EccP256, None));
}

#[test]
fn leftover_handles_of_others_do_not_stop_the_agent() {
    let swtpm = Swtpm::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // swtpm has three slots for objects and three for sessions.
    let fill = || {
        for i in 0..8 {
            let _ = tool(&swtpm, "tpm2_createprimary")
                .args(["-Q", "-c"])
                .arg(dir.path().join(i.to_string()))
                .output();
            let _ = tool(&swtpm, "tpm2_startauthsession")
                .arg("-S")
                .arg(dir.path().join(format!("s{i}")))
                .output();
        }
        let left = run(tool(&swtpm, "tpm2_getcap").arg("handles-transient"));
        assert!(left.iter().filter(|b| **b == b'\n').count() >= 3);
    };
    fill();
    let ak = open(&swtpm).create_ak(AkAlgorithm::Auto).unwrap();
    fill();
    open(&swtpm).quote(&ak, &[1; 32], 0x000b, &[0]).unwrap();
    fill();
    let mut tpm = open(&swtpm);
    let ek_public = tpm.endorsement_public(EndorsementKeyType::EccP256).unwrap();
    let (blob, secret) = make_credential(&ek_public, &name_of(&ak.public), b"secret");
    assert_eq!(tpm.activate_credential(EndorsementKeyType::EccP256, &ak, &blob, &secret).unwrap(), b"secret");
}

#[test]
fn a_key_of_another_tpm_is_named_as_such() {
    let (one, two) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
    let ak = open(&one).create_ak(AkAlgorithm::Auto).unwrap();
    assert_eq!(open(&two).check_ak(&ak).unwrap_err().code(), "tpm-key-foreign");
    for cut in [0, 1, 2, ak.private.len() / 2, ak.private.len() - 1] {
        let mut broken = ak.clone();
        broken.private.truncate(cut);
        assert_eq!(open(&one).check_ak(&broken).unwrap_err().code(), "tpm-key-foreign", "cut at {cut}");
    }
    open(&one).check_ak(&ak).unwrap();
}

/// Answers the first commands with a response code, then passes them on.
struct Moody {
    inner: Box<dyn Transport>,
    code: u32,
    left: Arc<AtomicU32>,
}

impl Transport for Moody {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            let mut answer = vec![0x80, 0x01, 0, 0, 0, 10];
            answer.extend(self.code.to_be_bytes());
            return Ok(answer);
        }
        self.inner.transact(command)
    }

    fn resource_managed(&self) -> bool {
        self.inner.resource_managed()
    }
}

struct MoodyConnector {
    address: TpmAddress,
    code: u32,
    left: Arc<AtomicU32>,
}

impl Connector for MoodyConnector {
    fn connect(&self) -> Result<Box<dyn Transport>, TpmError> {
        Ok(Box::new(Moody { inner: self.address.connect()?, code: self.code, left: self.left.clone() }))
    }
}

#[test]
fn a_busy_tpm_is_asked_again_but_not_for_ever() {
    let swtpm = Swtpm::start().unwrap();
    let outcome = |code, times| {
        let left = Arc::new(AtomicU32::new(times));
        let connector = MoodyConnector { address: address(&swtpm), code, left };
        Tpm::open(&connector).and_then(|mut tpm| tpm.active_banks()).map_err(|e| e.code())
    };
    for passing in [0x922, 0x908, 0x90a, 0x902, 0x153] {
        assert!(outcome(passing, 1).is_ok(), "{passing:#x}");
    }
    assert!(outcome(0x922, 5).is_ok());
    assert_eq!(outcome(0x921, 1).unwrap_err(), "tpm-lockout");
    assert_eq!(outcome(0x101, 1).unwrap_err(), "tpm-refused");
    // A code that no list knows is refused, not misread.
    assert_eq!(outcome(0xffff_ffff, 1).unwrap_err(), "tpm-refused");
    let begin = std::time::Instant::now();
    assert_eq!(outcome(0x922, u32::MAX).unwrap_err(), "tpm-busy");
    assert!(begin.elapsed().as_secs() < 30);
}

#[test]
fn no_tpm_is_said_so() {
    for (address, code, message, hint) in [
        ("/dev/veriboot-no-such-tpm", "tpm-missing", "does not exist", "vTPM"),
        ("tcp:127.0.0.1:1", "tpm-unreachable", "refused", "swtpm"),
    ] {
        let tpm: TpmAddress = address.parse().unwrap();
        let Err(error) = Tpm::open(&tpm) else { panic!("{address}") };
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
}

/// Answers that no TPM gives.
struct Liar(Vec<u8>);

impl Transport for Liar {
    fn transact(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn resource_managed(&self) -> bool {
        true
    }
}

struct LiarConnector(Vec<u8>);

impl Connector for LiarConnector {
    fn connect(&self) -> Result<Box<dyn Transport>, TpmError> {
        Ok(Box::new(Liar(self.0.clone())))
    }
}

#[test]
fn broken_answers_are_errors_and_nothing_else() {
    let swtpm = Swtpm::start().unwrap();
    let ak = open(&swtpm).create_ak(AkAlgorithm::Auto).unwrap();
    // A true answer to GetCapability(PCRS), then cut and with sizes that lie.
    let good =
        swtpm.command(&[0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    let mut answers: Vec<Vec<u8>> = (0..good.len()).map(|cut| good[..cut].to_vec()).collect();
    for at in 0..good.len() {
        for value in [0x00, 0xff] {
            let mut changed = good.clone();
            changed[at] = value;
            answers.push(changed);
        }
    }
    for cut in 10..good.len() {
        let mut sized = good[..cut].to_vec();
        sized[2..6].copy_from_slice(&u32::try_from(cut).unwrap().to_be_bytes());
        answers.push(sized);
    }
    for answer in answers {
        // NEEDS_TEST and busy codes cannot come out of these changes.
        let mut tpm = Tpm::open(&LiarConnector(answer)).unwrap();
        let _ = tpm.active_banks();
        let _ = tpm.endorsement();
        let _ = tpm.quote(&ak, &[0; 32], 0x000b, &[0]);
        let _ = tpm.pcr_values(0x000b, &[0, 1, 2]);
    }
}
