//! Endorsement certificates that swtpm_setup made, roots that the operator names, and a revocation list by OpenSSL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_support::boot::Boot;
use agent_support::operator::Operator;
use agent_support::*;
use serde_json::Value;
use veriboot_service::attest::reappraise;
use veriboot_testkit::swtpm::SwtpmOptions;
use veriboot_wire::{AlertReason, FactState, VmStatus};

/// What the check `endorsement-verified` says: its status, its cause, and whether the description has these words.
fn assessed(operator: &Operator, words: &str) -> (String, Option<String>, bool) {
    let all = operator.get("/v1/assessments?check=endorsement-verified");
    let one = &all["items"][0];
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    (
        one["status"].as_str().unwrap().to_owned(),
        one["cause"].as_str().map(str::to_owned),
        one["description"].as_str().unwrap().contains(words),
    )
}

/// A list of that authority that takes the certificate back.
fn revoke(ca: &Path, certificate: &[u8]) -> PathBuf {
    let der = ca.join("ek.der");
    std::fs::write(&der, certificate).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(ca).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let serial = run(&["x509", "-inform", "DER", "-in", "ek.der", "-noout", "-serial"]);
    let serial = serial.trim().strip_prefix("serial=").unwrap();
    std::fs::write(
        ca.join("index.txt"),
        format!("R\t400101000000Z\t260101000000Z\t{serial}\tunknown\t/CN=ek\n"),
    )
    .unwrap();
    std::fs::write(
        ca.join("crl.conf"),
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\ncrlnumber=number\n",
    )
    .unwrap();
    std::fs::write(ca.join("number"), "01\n").unwrap();
    run(&[
        "ca",
        "-gencrl",
        "-config",
        "crl.conf",
        "-keyfile",
        "signkey.pem",
        "-cert",
        "issuercert.pem",
        "-out",
        "list.pem",
    ]);
    ca.join("list.pem")
}

/// Enrols once more with a certificate for the key of the TPM that an authority of the guest's own signed.
fn enrol_with_own_certificate(guest: &mut Guest, ca: &Path) {
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").current_dir(ca).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["x509", "-inform", "DER", "-in", "ek.der", "-pubkey", "-noout", "-out", "ek.pub"]);
    run(&[
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.pem", "-subj",
        "/CN=own",
    ]);
    run(&["req", "-new", "-key", "own.key", "-subj", "/CN=ek", "-out", "ek.csr"]);
    run(&[
        "x509",
        "-req",
        "-in",
        "ek.csr",
        "-CA",
        "own.pem",
        "-CAkey",
        "own.key",
        "-force_pubkey",
        "ek.pub",
        "-outform",
        "DER",
        "-out",
        "own.der",
        "-set_serial",
        "7",
    ]);
    let (mut request, endorsement, ak) = guest.agent.enroll_request().unwrap();
    request.ek_certificate = Some(std::fs::read(ca.join("own.der")).unwrap().into());
    let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
    let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
    guest.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap();
    // The agent's own enrolment goes on with its own certificate.
    guest.lose_state();
}

fn certificates_are_believed_by_named_roots_until_they_are_revoked(mut world: World) {
    let token = world.join_token(None, 1);
    let tpm = SwtpmOptions::default().banks(&["sha256"]).with_ek_certificate().start().unwrap();
    let ca = tpm.ek_ca_folder();
    let roots = vec![ca.join("issuercert.pem"), ca.join("swtpm-localca-rootca-cert.pem")];
    let mut guest = world.guest_with(tpm, "web-0", Some(&token));
    guest.boot(&Boot::default());
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    let operator = Operator::new(&world, "ann");
    let id = guest.vm_id();
    let fact = |world: &World| world.vm(&id).facts.endorsement;
    let shown = |operator: &Operator| operator.get(&format!("/v1/vms/{id}"));
    assert_eq!(fact(&world), FactState::Unknown);
    assert_eq!(
        assessed(&operator, "(no root is trusted: endorsement.roots is not set)"),
        ("unhealthy".into(), Some("certificate-not-verified".into()), true)
    );

    // Another maker's root does not help.
    let stranger = SwtpmOptions::default().banks(&["sha256"]).with_ek_certificate().start().unwrap();
    let strange = vec![stranger.ek_ca_folder().join("swtpm-localca-rootca-cert.pem")];
    world.restart_with(&|config| config.endorsement.roots.clone_from(&strange));
    guest.attest();
    assert_eq!(fact(&world), FactState::Unknown);
    assert_eq!(assessed(&operator, "is unknown)").1.as_deref(), Some("certificate-not-verified"));

    world.restart_with(&|config| config.endorsement.roots.clone_from(&roots));
    guest.attest();
    assert_eq!(fact(&world), FactState::Valid);
    assert_eq!(assessed(&operator, "its certificate leads to CN="), ("healthy".into(), None, true));
    let told = |vm: &Value| vm["endorsement_detail"].as_str().unwrap_or_default().to_owned();
    assert!(told(&shown(&operator)).starts_with("its certificate leads to CN="), "{}", shown(&operator));
    // What was verified is not verified again, until a day has passed.
    let noted = |world: &World| world.vm(&id).endorsement.unwrap().at;
    let first = noted(&world);
    world.clock.advance_ms(300_000);
    guest.attest();
    assert_eq!(noted(&world), first);
    world.pass_ms(86_400_000);
    guest.attest();
    assert!(noted(&world) > first);
    // Judging again keeps it.
    let again = world.block_on(reappraise(world.state(), &id)).unwrap();
    assert_eq!(again.facts.endorsement, FactState::Valid);
    // A VM that enrols again with the same certificate keeps what came of it.
    guest.lose_state();
    guest.attest();
    assert_eq!(fact(&world), FactState::Valid);

    let certificate = world.vm(&id).ek_certificate.unwrap();
    let list = revoke(&ca, &certificate);
    world.restart_with(&|config| {
        config.endorsement.roots.clone_from(&roots);
        config.endorsement.revocation_lists = vec![list.clone()];
    });
    let receipt = guest.attest();
    assert_caught(&receipt, "endorsement-invalid");
    assert_eq!((receipt.status, fact(&world)), (VmStatus::Unhealthy, FactState::Invalid));
    let open = world.open_alerts(&id);
    assert_eq!(open.iter().map(|alert| alert.reason).collect::<Vec<_>>(), [AlertReason::EndorsementLost]);
    assert_eq!(
        assessed(&operator, "was revoked by its issuer"),
        ("unhealthy".into(), Some("endorsement-invalid".into()), true)
    );
    let bundle = operator.get(&format!("/v1/attestations/{}/evidence", receipt.attestation_id));
    assert_eq!(bundle["judged_with"]["failing"], serde_json::json!(["endorsement-invalid"]));
    assert!(bundle["judged_with"]["endorsement_invalid"].as_str().unwrap().contains("was revoked"));
    let again = world.block_on(reappraise(world.state(), &id)).unwrap();
    assert_eq!(again.findings.iter().filter(|f| f.fails()).count(), 1);
    // Enrolling again with a certificate of one's own making for the same key gets nobody rid of it.
    enrol_with_own_certificate(&mut guest, &ca);
    assert_eq!(world.vm(&id).ek_certificate, Some(certificate));
    let audit = world.audit();
    let enrolled = audit.iter().rfind(|entry| entry.action == "vm.reenroll").unwrap();
    assert_eq!(enrolled.detail["ek_certificate_replaced"], false);
    assert_caught(&guest.attest(), "endorsement-invalid");

    // The roots are taken away too: healthy, and the alert waits for somebody to look at it.
    world.restart_with(&|_| {});
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    assert_eq!((fact(&world), world.open_alerts(&id).len()), (FactState::Unknown, 1));
    // Verified again: its cause has ended.
    world.restart_with(&|config| config.endorsement.roots.clone_from(&roots));
    assert_eq!(guest.attest().status, VmStatus::Healthy);
    assert_eq!(fact(&world), FactState::Valid);
    assert_eq!(world.open_alerts(&id).len(), 0);
}

mod certificates_are_believed_by_named_roots_until_they_are_revoked {
    use super::World;

    #[test]
    fn sqlite() {
        super::certificates_are_believed_by_named_roots_until_they_are_revoked(World::sqlite());
    }

    #[test]
    fn postgres() {
        if let Some(world) = World::postgres() {
            super::certificates_are_believed_by_named_roots_until_they_are_revoked(world);
        }
    }
}
