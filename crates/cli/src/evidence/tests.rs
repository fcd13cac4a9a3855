//! Bundles of a real TPM, good and bent in every part, and bundles of the corpus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use veriboot_appraisal::Profile;
use veriboot_eventlog::HashAlg;
use veriboot_tpm::chain::Anchors;
use veriboot_wire::Time;

use super::bundle::Material;
use super::judges::Judges;
use super::verify::{Demands, Report, verify};
use super::{EvidenceCommand, VerifyArgs, run};
use crate::error::CliError;
use crate::output::Output;

#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#[path = "../../../tpm/tests/support/real.rs"]
mod real;
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#[path = "../../../tpm/tests/support/tools.rs"]
mod tools;

const NONCE: [u8; 32] = [0xD7; 32];
/// In 2033: within the validity of what openssl makes today.
const NOW_UNIX_S: u64 = 2_000_000_000;

/// What the operator asks; the profile is the default one.
#[derive(Default)]
struct Ask {
    nonce: Option<Vec<u8>>,
    anchors: Option<Anchors>,
    quote_only: bool,
    measured_only: bool,
}

fn judge(bundle: &Value, ask: &Ask) -> Report {
    let material = Material::read(bundle.to_string().as_bytes()).map_err(|e| e.message).unwrap();
    let profile = if ask.measured_only { Profile::measured_only() } else { Profile::default() };
    let judges = Judges::of(profile, None);
    verify(
        &material,
        &Demands {
            nonce: ask.nonce.as_deref(),
            anchors: ask.anchors.as_ref(),
            judges: &judges,
            quote_only: ask.quote_only,
            at_unix_s: NOW_UNIX_S,
        },
    )
}

fn codes(report: &Report) -> Vec<&str> {
    report.findings.iter().filter(|f| f.fails()).map(|f| f.code.as_str()).collect()
}

#[track_caller]
fn assert_trusted(bundle: &Value, ask: &Ask) -> Report {
    let report = judge(bundle, ask);
    assert!(report.trusted, "{:#?}", report.findings);
    report
}

#[track_caller]
fn assert_refused(bundle: &Value, ask: &Ask, code: &str) -> Report {
    let report = judge(bundle, ask);
    assert!(!report.trusted);
    assert!(codes(&report).contains(&code), "{code} is not among {:?}", codes(&report));
    report
}

/// Event log of a boot variant of our own captures.
fn captured(variant: &str) -> Vec<u8> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus").join(variant).join("eventlog.bin");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A TPM whose PCRs hold this log, and the bundle that it gives. The key is `name.ctx` in the TPM's folder.
fn machine(variant: &str, algorithm: &str) -> Option<(tools::Tpm, Value)> {
    let tpm = tools::Tpm::start(&["sha256"])?;
    let log = captured(variant);
    let parsed = veriboot_eventlog::parse(&log).unwrap();
    for event in parsed.events.iter().filter(|event| event.event_type.0 != 3) {
        tpm.swtpm.extend(event.pcr, "sha256", event.digest(HashAlg::Sha256).unwrap()).unwrap();
    }
    let ak = tpm.primary("ak", algorithm, tools::AK_ATTRIBUTES);
    let pcrs: Vec<String> = (0..16).map(|pcr: u8| pcr.to_string()).collect();
    let (quote, signature) =
        tpm.quote("ak", &format!("sha256:{}", pcrs.join(",")), &NONCE, &["-g", "sha256"]);
    let values: BTreeMap<String, String> = (0..16_u8)
        .map(|pcr| (pcr.to_string(), hex::encode(tpm.pcr(veriboot_tpm::alg::SHA256, pcr).unwrap())))
        .collect();
    let bundle = json!({
        "ak_public": STANDARD.encode(&ak),
        "quote": STANDARD.encode(quote),
        "signature": STANDARD.encode(signature),
        "nonce": hex::encode(NONCE),
        "pcrs": { "sha256": values },
        "event_log": STANDARD.encode(log),
    });
    Some((tpm, bundle))
}

fn with(bundle: &Value, member: &str, value: Value) -> Value {
    let mut bent = bundle.clone();
    bent[member] = value;
    bent
}

fn without(bundle: &Value, member: &str) -> Value {
    let mut bent = bundle.clone();
    bent.as_object_mut().unwrap().remove(member);
    bent
}

/// The bytes of a member with one bit flipped.
fn flipped(bundle: &Value, member: &str, at: usize) -> Value {
    let mut bytes = STANDARD.decode(bundle[member].as_str().unwrap()).unwrap();
    bytes[at] ^= 1;
    with(bundle, member, STANDARD.encode(bytes).into())
}

fn fresh() -> Ask {
    Ask { nonce: Some(NONCE.to_vec()), ..Ask::default() }
}

#[test]
fn a_bundle_of_a_real_tpm_and_everything_bent_in_it() {
    let Some((tpm, bundle)) = machine("secure-boot", "rsa2048:rsassa-sha256:null") else { return };
    let report = assert_trusted(&bundle, &fresh());
    assert_eq!(report.quote.as_ref().unwrap().nonce, hex::encode(NONCE));
    assert_eq!(report.log.as_ref().unwrap().secure_boot, Some(true));
    assert_eq!(report.key.as_ref().unwrap().attributes, "fit");
    assert_trusted(&bundle, &Ask::default());

    // Challenge (row 11).
    let other = Ask { nonce: Some(vec![0; 32]), ..Ask::default() };
    assert_refused(&bundle, &other, "quote-nonce-mismatch");
    assert_refused(&with(&bundle, "nonce", "00".into()), &Ask::default(), "quote-nonce-mismatch");
    assert_refused(&with(&bundle, "nonce", "00".into()), &fresh(), "quote-nonce-mismatch");
    assert_trusted(&without(&bundle, "nonce"), &fresh());

    // Quote and signature (rows 9, 10).
    assert_refused(&flipped(&bundle, "quote", 60), &fresh(), "quote-signature-invalid");
    assert_refused(&flipped(&bundle, "quote", 0), &fresh(), "quote-not-tpm-generated");
    assert_refused(&flipped(&bundle, "signature", 100), &fresh(), "quote-signature-invalid");
    assert_refused(&with(&bundle, "quote", "AAAA".into()), &fresh(), "quote-malformed");

    // PCR values (row 12).
    let mut bent = bundle.clone();
    bent["pcrs"]["sha256"]["4"] = "00".repeat(32).into();
    assert_refused(&bent, &fresh(), "pcr-values-mismatch");
    let mut bent = bundle.clone();
    bent["pcrs"]["sha256"]["16"] = "00".repeat(32).into();
    let report = assert_trusted(&bent, &fresh());
    assert!(report.findings.iter().any(|f| f.code == "pcr-values-unsigned"));
    assert_trusted(&without(&bundle, "pcrs"), &fresh());

    // Log (rows 15, 16).
    let report = assert_refused(&without(&bundle, "event_log"), &fresh(), "log-missing");
    assert_eq!(report.facts.quote, veriboot_wire::FactState::Valid);
    let quote_only = || Ask { quote_only: true, ..fresh() };
    assert_trusted(&without(&bundle, "event_log"), &quote_only());
    assert_refused(&flipped(&bundle, "signature", 100), &quote_only(), "quote-signature-invalid");
    let of_another = with(&bundle, "event_log", STANDARD.encode(captured("cmdline")).into());
    assert_refused(&of_another, &fresh(), "log-mismatch");
    let log = captured("secure-boot");
    for event in veriboot_eventlog::parse(&log).unwrap().events.iter().skip(1).step_by(9) {
        let digest = event.digest(HashAlg::Sha256).unwrap();
        let at = event.offset + log[event.offset..].windows(32).position(|bytes| bytes == digest).unwrap();
        let report = judge(&flipped(&bundle, "event_log", at), &fresh());
        assert!(!report.trusted, "digest of event {}", event.index);
    }

    // Key (rows 5, 10): another one, unfit ones.
    // Another template makes another key from the same seed.
    let attributes = format!("{}|noda", tools::AK_ATTRIBUTES);
    let other = tpm.primary("other", "rsa2048:rsassa-sha256:null", &attributes);
    assert_refused(
        &with(&bundle, "ak_public", STANDARD.encode(other).into()),
        &fresh(),
        "quote-signature-invalid",
    );
    let attributes = tools::AK_ATTRIBUTES.replace("|restricted", "");
    let loose = tpm.primary("loose", "rsa2048:rsassa-sha256:null", &attributes);
    assert_refused(
        &with(&bundle, "ak_public", STANDARD.encode(loose).into()),
        &fresh(),
        "ak-attributes-unfit",
    );
    let sha1 = tpm.primary("sha1", "rsa2048:rsassa-sha1:null", tools::AK_ATTRIBUTES);
    assert_refused(&with(&bundle, "ak_public", STANDARD.encode(sha1).into()), &fresh(), "ak-scheme-refused");

    // Every form of the key.
    let tpm2b = STANDARD.decode(bundle["ak_public"].as_str().unwrap()).unwrap();
    assert_trusted(&with(&bundle, "ak_public", STANDARD.encode(&tpm2b[2..]).into()), &fresh());
    tpm.tpm2(&["readpublic", "-c", "ak.ctx", "-f", "pem", "-o", "ak.pem"]);
    let pem = String::from_utf8(tpm.read("ak.pem")).unwrap();
    let report = assert_trusted(&with(&bundle, "ak_public", pem.clone().into()), &fresh());
    assert_eq!(report.key.unwrap().attributes, "unknown");
    assert_trusted(&with(&bundle, "ak_public", STANDARD.encode(pem).into()), &fresh());

    // TEE evidence is never silently taken as verified.
    let report = assert_trusted(&with(&bundle, "tee", json!({"kind": "snp"})), &fresh());
    assert_eq!(report.facts.tee, veriboot_wire::FactState::Unknown);
}

#[test]
fn secure_boot_off_is_judged_by_the_profile() {
    let Some((_tpm, bundle)) = machine("secure-boot-off", "ecc256:ecdsa-sha256:null") else { return };
    assert_refused(&bundle, &fresh(), "secure-boot-disabled");
    assert_trusted(&bundle, &Ask { measured_only: true, ..fresh() });
}

/// A certificate for the key of `bundle` by a root that openssl makes: DER of the certificate, PEM of the root.
fn certify(tpm: &tools::Tpm, root: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(tpm.path("")).output().ok()?;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    let (key, pem) = (format!("{root}.key"), format!("{root}.pem"));
    let subject = format!("/CN={root}");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        &key,
        "-out",
        &pem,
        "-days",
        "9000",
        "-subj",
        &subject,
    ])?;
    std::fs::write(tpm.path("ak.ext"), "extendedKeyUsage=2.23.133.8.3\nkeyUsage=critical,digitalSignature\n")
        .unwrap();
    tpm.tpm2(&["readpublic", "-c", "ak.ctx", "-f", "pem", "-o", "ak.pem"]);
    // A request cannot be signed by a restricted key: another key asks, and the public key is put in its place.
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=ak", "-out", "ak.csr"])?;
    openssl(&[
        "x509",
        "-req",
        "-in",
        "ak.csr",
        "-force_pubkey",
        "ak.pem",
        "-CA",
        &pem,
        "-CAkey",
        &key,
        "-set_serial",
        "1",
        "-days",
        "9000",
        "-extfile",
        "ak.ext",
        "-outform",
        "der",
        "-out",
        "ak.der",
    ])?;
    Some((tpm.read("ak.der"), tpm.read(&pem)))
}

#[test]
fn certificates_of_the_key() {
    let Some((tpm, bundle)) = machine("secure-boot", "ecc384:ecdsa-sha256:null") else { return };
    let Some((_, other_root)) = certify(&tpm, "stranger") else { return };
    let Some((certificate, root)) = certify(&tpm, "provider") else { return };
    let trust = |pem: &[u8]| Ask { anchors: Some(Anchors::from_pem_or_der(pem).unwrap()), ..fresh() };
    let certified = with(&bundle, "ak_certificate", STANDARD.encode(&certificate).into());
    let report = assert_trusted(&certified, &trust(&root));
    assert_eq!(report.facts.endorsement, veriboot_wire::FactState::Valid);
    assert_eq!(report.key.unwrap().certificate_path, ["CN=ak", "CN=provider"]);
    // The certificate alone carries the key as well.
    let report = assert_trusted(&without(&certified, "ak_public"), &trust(&root));
    assert_eq!(report.key.unwrap().certified, Some(true));
    assert!(!report.findings.iter().any(|f| f.code.starts_with("ak-")), "{:?}", report.findings);

    assert_refused(&certified, &trust(&other_root), "ak-certificate-untrusted");
    assert_refused(&bundle, &trust(&root), "ak-certificate-missing");
    let report = assert_trusted(&certified, &fresh());
    assert!(report.findings.iter().any(|f| f.code == "ak-not-certified"));
    // A certificate of another key.
    tpm.primary("ak", "ecc256:ecdsa-sha256:null", tools::AK_ATTRIBUTES);
    let (of_other_key, root) = certify(&tpm, "provider").unwrap();
    let bent = with(&bundle, "ak_certificate", STANDARD.encode(of_other_key).into());
    assert_refused(&bent, &trust(&root), "ak-certificate-mismatch");
    assert_refused(&bent, &fresh(), "ak-certificate-mismatch");
}

fn exit_code(content: &[u8]) -> u8 {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| tempfile::tempdir().unwrap());
    let bundle: PathBuf = dir.path().join(format!("{:?}", std::thread::current().id()));
    std::fs::write(&bundle, content).unwrap();
    let args = VerifyArgs {
        bundle,
        nonce: None,
        trust: None,
        baseline: None,
        baseline_key: None,
        profile: None,
        evidence_only: false,
        quote_only: false,
    };
    let out = Output { json: true, color: false, now: Time::from_unix_ms(1_790_000_000_000) };
    let nowhere = || Err(CliError::usage("no-server", "no service is needed"));
    match run(EvidenceCommand::Verify(args), nowhere, out) {
        Ok(code) => code,
        Err(error) => error.exit,
    }
}

#[test]
fn what_cannot_be_read_is_exit_code_2() {
    let sound = json!({
        "ak_public": STANDARD.encode([0, 1]), "quote": "AAAA", "signature": "AAAA",
    });
    for bent in [
        b"".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        vec![0xFF; 100],
        vec![b' '; 49 << 20],
        [vec![b'['; 100_000], vec![b']'; 100_000]].concat(),
        without(&sound, "quote").to_string().into_bytes(),
        without(&sound, "ak_public").to_string().into_bytes(),
        with(&sound, "quote", "not base64".into()).to_string().into_bytes(),
        with(&sound, "ak_public", "not base64".into()).to_string().into_bytes(),
        with(&sound, "ak_public", "-----BEGIN NOTHING-----".into()).to_string().into_bytes(),
        with(&sound, "ak_certificate", "AAAA".into()).to_string().into_bytes(),
        with(&sound, "nonce", "xyz".into()).to_string().into_bytes(),
        sound.to_string().into_bytes(),
    ] {
        assert_eq!(exit_code(&bent), 2, "{}", String::from_utf8_lossy(&bent[..bent.len().min(80)]));
    }
}

#[test]
fn exit_codes_of_verdicts() {
    let Some((_tpm, bundle)) = machine("secure-boot", "ecc256:ecdsa-sha256:null") else { return };
    assert_eq!(exit_code(bundle.to_string().as_bytes()), 0);
    assert_eq!(exit_code(flipped(&bundle, "quote", 60).to_string().as_bytes()), 1);
    assert_eq!(exit_code(without(&bundle, "event_log").to_string().as_bytes()), 1);
}

/// Every quote of the corpus as bundle: trusted exactly where its signature is good.
#[test]
fn bundles_of_the_corpus() {
    let Some(corpus) = real::corpus() else { return };
    let roots = ["tpm_ek_root_1.cer", "tpm_ek_intermediate_2.crt", "tpm_ek_intermediate_3.crt"];
    let roots: String = roots
        .iter()
        .flat_map(|name| {
            let content = real::read(corpus.join("quotes/gce").join(name));
            veriboot_tpm::Certificate::many_from_pem_or_der(&content).unwrap()
        })
        .map(|c| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(c.der()))
        })
        .collect();
    let mut count = 0;
    for row in real::json(corpus.join("quotes.json")).as_array().unwrap() {
        let Some(evidence) = real::evidence_of(&corpus, row) else { continue };
        count += 1;
        let file = &row["file"];
        let mut pcrs = BTreeMap::<&str, BTreeMap<String, String>>::new();
        for ((bank, pcr), value) in &evidence.pcrs {
            let bank = veriboot_tpm::alg::bank_name(*bank).unwrap();
            pcrs.entry(bank).or_default().insert(pcr.to_string(), hex::encode(value));
        }
        let mut bundle = json!({
            "ak_public": STANDARD.encode(&evidence.key),
            "quote": STANDARD.encode(&evidence.quote),
            "signature": STANDARD.encode(&evidence.signature),
            "pcrs": pcrs,
        });
        let quote_only = || Ask { quote_only: true, ..Ask::default() };
        let report = judge(&bundle, &quote_only());
        assert_eq!(Some(report.trusted), row["sig_ok"].as_bool(), "{file}: {:#?}", report.findings);
        if !report.trusted {
            continue;
        }
        for (member, at) in [("quote", 50), ("signature", 20)] {
            assert!(!judge(&flipped(&bundle, member, at), &quote_only()).trusted, "{file}");
        }
        assert!(!judge(&bundle, &Ask { nonce: Some(vec![1]), ..quote_only() }).trusted);
        if let (Some(certificate), Some(log)) = (&evidence.certificate, &evidence.log) {
            bundle["ak_certificate"] = STANDARD.encode(certificate).into();
            bundle["event_log"] = STANDARD.encode(log).into();
            let anchors = Some(Anchors::from_pem_or_der(roots.as_bytes()).unwrap());
            let report = assert_trusted(&bundle, &Ask { anchors, ..Ask::default() });
            assert_eq!(report.facts.log, veriboot_wire::FactState::Valid);
            assert_eq!(report.facts.endorsement, veriboot_wire::FactState::Valid);
        }
    }
    assert_eq!(count, 17);
}
