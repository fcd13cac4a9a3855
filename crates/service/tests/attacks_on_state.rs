//! Attacks over the wire on what the record of a VM says: faults, floods, sessions, registers (rows 9 to 13 and 18); docs/threat-model.md names the rows alike.
//! Each asserts that the attacker got no healthy verdict and no token, that the refusal has its stable code, and
//! that the record of the victim is as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    row_09_bad_signature_replaces_the_healthy_state,
    row_09_fault_during_checks_is_never_healthy,
    row_09_enrolling_again_keeps_nothing_healthy,
    row_09_faults_hide_nothing,
    row_09_talking_is_no_attesting,
    row_09_enrolling_again_has_a_pace,
    row_11_two_quotes_on_one_challenge,
    row_18_pcr_extended_at_run_time,
);
on_sqlite!(
    row_10_structure_and_signature_games,
    row_11_qualifying_data_of_another_session,
    row_12_selection_and_values_relabelled,
);

mod scenario {
    use super::agent_support::attacks::{assert_untouched, attest_with_log};
    use super::agent_support::boot::{Boot, EV_IPL, encode};
    use super::agent_support::*;
    use veriboot_agent::tpm::Tpm;
    use veriboot_service::silence;
    use veriboot_testkit::swtpm::SwtpmOptions;
    use veriboot_wire::{AlertReason, FactState, Verdict, VmStatus};

    pub fn row_09_bad_signature_replaces_the_healthy_state(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let mut evidence = guest.evidence();
        let last = evidence.signature.0.len() - 1;
        evidence.signature.0[last] ^= 1;
        let receipt = guest.submit(&evidence).unwrap();
        assert_caught(&receipt, "quote-signature-invalid");
        let vm = world.vm(&id);
        assert_eq!((vm.status, receipt.status), (VmStatus::Unhealthy, VmStatus::Unhealthy));
        assert_eq!(vm.facts.quote, FactState::Invalid);
        assert_eq!(vm.facts.log, FactState::Unknown, "nothing else is claimed");
        assert_eq!(world.attestations(&id).len(), 2);
        assert_eq!(world.open_alerts(&id)[0].reason, AlertReason::QuoteUntrusted);
        // An honest quote over the same challenge comes too late: it was used.
        evidence.signature.0[last] ^= 1;
        assert_eq!(guest.submit(&evidence).unwrap_err(), "challenge-used");
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert!(world.open_alerts(&id).is_empty());
    }

    pub fn row_09_fault_during_checks_is_never_healthy(world: &World) {
        // The stored key cannot be read back.
        let mut guest = world.healthy_guest("key");
        let id = guest.vm_id();
        let vm_id = id.clone();
        world.write(move |tx| {
            tx.execute(
                "UPDATE vms SET ak_public = $2 WHERE id = $1",
                &[vm_id.as_str().into(), [0_u8; 7].as_slice().into()],
            )
        });
        let receipt = guest.attest();
        assert_caught(&receipt, "appraisal-failed");
        let vm = world.vm(&id);
        assert_eq!((vm.status, vm.facts.quote), (VmStatus::Error, FactState::Unknown));

        // The stored baseline is not what it was.
        let mut guest = world.healthy_guest("baseline");
        let id = guest.vm_id();
        world.write(|tx| {
            tx.execute(
                "UPDATE baselines SET document = $2 WHERE name = $1",
                &["vm/default/baseline".into(), "{}".into()],
            )
        });
        world.state().attest.forget();
        let receipt = guest.attest();
        assert_caught(&receipt, "appraisal-failed");
        assert_eq!(world.vm(&id).status, VmStatus::Error);
        assert!(world.vm(&id).status_detail.is_some());

        // The stored log is not what it was; another service has not examined it yet.
        let mut guest = world.healthy_guest("log");
        let id = guest.vm_id();
        let sha256 = world.vm(&id).log_sha256.unwrap();
        world.write(move |tx| {
            tx.execute(
                "UPDATE logs SET content = $2 WHERE sha256 = $1",
                &[sha256.as_str().into(), [0_u8; 7].as_slice().into()],
            )
        });
        world.state().attest.forget();
        let receipt = guest.attest();
        assert_caught(&receipt, "appraisal-failed");
        assert_eq!(world.vm(&id).status, VmStatus::Error);
    }

    /// A machine that was tampered with must not stay healthy by enrolling instead of attesting.
    pub fn row_09_enrolling_again_keeps_nothing_healthy(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        guest.agent.enroll().unwrap();
        let vm = world.vm(&id);
        assert_eq!(vm.status, VmStatus::Pending);
        assert!(vm.status_detail.unwrap().contains("enrolled again"));
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        // What is wrong stays wrong.
        guest.boot(&Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() });
        assert_eq!(guest.attest().status, VmStatus::Unhealthy);
        guest.agent.enroll().unwrap();
        assert_eq!(world.vm(&id).status, VmStatus::Unhealthy);
        assert_eq!(world.open_alerts(&id).len(), 1);
    }

    /// What is known to be wrong stays known while the agent speaks of something else.
    pub fn row_09_faults_hide_nothing(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        guest.boot(&Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() });
        assert_eq!(guest.attest().status, VmStatus::Unhealthy);
        let detail = world.vm(&id).status_detail;
        guest.agent.report_fault("tpm-busy", "wait").unwrap();
        let vm = world.vm(&id);
        assert_eq!((vm.status, vm.fault.as_deref()), (VmStatus::Unhealthy, Some("tpm-busy: wait")));
        assert_eq!(vm.status_detail, detail);
        assert_eq!(world.open_alerts(&id).len(), 1);
        world.pass_ms(2_000_000);
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 1);
        guest.agent.report_fault("tpm-busy", "wait").unwrap();
        assert_eq!(world.vm(&id).status, VmStatus::Stale);
        assert_eq!(world.open_alerts(&id).len(), 2);
    }

    /// A VM that never attests again turns stale, however busily its agent reports faults and enrols.
    pub fn row_09_talking_is_no_attesting(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        // Heard of in every interval.
        for round in 1..=6 {
            world.pass_ms(290_000);
            if round % 3 == 0 {
                guest.agent.enroll().unwrap();
            } else {
                guest.agent.report_fault("tpm-busy", "wait").unwrap();
            }
            assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0, "round {round}");
        }
        world.pass_ms(120_000);
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 1);
        let vm = world.vm(&id);
        assert_eq!(vm.status, VmStatus::Stale);
        let open = world.open_alerts(&id);
        assert_eq!((open.len(), open[0].reason), (1, AlertReason::AgentSilent));
        assert!(open[0].message.contains("tpm-busy: wait"), "{}", open[0].message);
        guest.agent.report_fault("tpm-busy", "wait").unwrap();
        guest.agent.enroll().unwrap();
        assert_eq!(world.vm(&id).status, VmStatus::Stale);
        assert_eq!(world.open_alerts(&id).len(), 1);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert!(world.open_alerts(&id).is_empty());
    }

    /// Each enrolment writes to the audit log: a known TPM does not fill it.
    pub fn row_09_enrolling_again_has_a_pace(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let (request, endorsement, ak) = guest.agent.enroll_request().unwrap();
        // Who only begins to enrol uses nothing up.
        for _ in 0..6 {
            guest.agent.client().unwrap().enroll(&request).unwrap();
        }
        for _ in 0..4 {
            guest.agent.enroll().unwrap();
        }
        let late = guest.agent.client().unwrap().enroll(&request).unwrap();
        let secret = guest.agent.activation(&endorsement, &ak, &late).unwrap();
        guest.agent.enroll().unwrap();
        let before = world.vm(&id);
        assert_eq!(code(&guest.agent.enroll().unwrap_err()), "enrolment-too-often");
        // One that was begun before ends no better.
        let client = guest.agent.client().unwrap();
        let refused = client.activate(&late.enrolment_id, &secret).unwrap_err();
        assert_eq!(refused.code(), "enrolment-too-often");
        let body = serde_json::to_vec(&request).unwrap();
        let answer = raw::post(world.address(), &world.ca_file(), "/v1/agent/enroll", None, &body);
        assert_eq!((answer.status, answer.code()), (429, "enrolment-too-often"));
        let wait = answer.body["error"]["retry_after_s"].as_i64().unwrap();
        assert!((600..=721).contains(&wait), "{wait}");
        assert_untouched(world, &before);
        assert_eq!(world.audit().iter().filter(|e| e.action == "vm.reenroll").count(), 5);
        assert_eq!(guest.attest().status, VmStatus::Healthy, "the agent that enrolled last is not disturbed");
        world.clock.step_ms(721_000);
        guest.agent.enroll().unwrap();
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn row_10_structure_and_signature_games(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        type Bend = fn(&mut Vec<u8>, &mut Vec<u8>);
        let games: [(&str, Bend); 9] = [
            ("quote-not-tpm-generated", |quote, _| quote[0] ^= 1),
            ("quote-not-a-quote", |quote, _| quote[5] = 0x17),
            ("quote-trailing-bytes", |quote, _| quote.push(0)),
            ("quote-malformed", |quote, _| quote.truncate(quote.len() - 1)),
            ("quote-malformed", |quote, _| quote.clear()),
            ("quote-signature-malformed", |_, signature| signature.push(0)),
            ("quote-signature-malformed", |_, signature| signature.truncate(10)),
            ("quote-scheme-refused", |_, signature| signature[..2].copy_from_slice(&[0x00, 0x10])),
            ("quote-hash-refused", |_, signature| signature[2..4].copy_from_slice(&[0x00, 0x04])),
        ];
        for (wanted, bend) in games {
            let mut evidence = guest.evidence();
            bend(&mut evidence.quote.0, &mut evidence.signature.0);
            let receipt = guest.submit(&evidence).unwrap();
            assert_caught(&receipt, wanted);
        }
        // ECDSA with r = s = 0, in TPMT_SIGNATURE with sizes of 32.
        let mut evidence = guest.evidence();
        assert_eq!(evidence.signature.0[..4], [0x00, 0x18, 0x00, 0x0b], "swtpm offers P-256");
        evidence.signature.0.truncate(4);
        for _ in 0..2 {
            evidence.signature.0.extend([0, 32]);
            evidence.signature.0.extend([0; 32]);
        }
        let receipt = guest.submit(&evidence).unwrap();
        assert_caught(&receipt, "quote-signature-invalid");
        // Every byte of the signed structure matters.
        for at in (0..evidence.quote.0.len()).step_by(9) {
            let mut evidence = guest.evidence();
            evidence.quote.0[at] ^= 0x10;
            let receipt = guest.submit(&evidence).unwrap();
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None), "byte {at}");
        }
        assert_eq!(world.open_alerts(&id).len(), 1);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn row_11_qualifying_data_of_another_session(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let mut other = world.healthy_guest("other");
        let before = world.vm(&other.vm_id());
        // A fresh challenge is named, the quote answers an older one.
        let stale = guest.evidence();
        let mut evidence = stale.clone();
        evidence.nonce = guest.agent.fresh_challenge().unwrap().nonce;
        assert_caught(&guest.submit(&evidence).unwrap(), "quote-nonce-mismatch");
        // The quote answers the challenge of another VM.
        let foreign = other.agent.fresh_challenge().unwrap();
        let mut evidence = guest.agent.evidence_for(&foreign).unwrap();
        evidence.nonce = guest.agent.fresh_challenge().unwrap().nonce;
        assert_caught(&guest.submit(&evidence).unwrap(), "quote-nonce-mismatch");
        // The quote of another VM over this VM's challenge: web-3 of the demo.
        let challenge = guest.agent.fresh_challenge().unwrap();
        let evidence = other.agent.evidence_for(&challenge).unwrap();
        assert_caught(&guest.submit(&evidence).unwrap(), "quote-signature-invalid");
        assert_untouched(world, &before);
    }

    pub fn row_11_two_quotes_on_one_challenge(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let challenge = guest.agent.fresh_challenge().unwrap();
        let first = guest.agent.evidence_for(&challenge).unwrap();
        let second = guest.agent.evidence_for(&challenge).unwrap();
        assert_ne!(first.signature.0, second.signature.0);
        assert_eq!(guest.submit(&first).unwrap().verdict, Verdict::Healthy);
        assert_eq!(guest.submit(&second).unwrap_err(), "challenge-used");
        assert_eq!(world.attestations(&guest.vm_id()).len(), 2);
    }

    pub fn row_12_selection_and_values_relabelled(world: &World) {
        let token = world.join_token(None, 1);
        let tpm = SwtpmOptions::default().banks(&["sha1", "sha256", "sha384"]).start().unwrap();
        let mut guest = world.guest_with(tpm, "web-0", Some(&token));
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        let ak = guest.agent.state().ak().unwrap().unwrap();
        // Other PCRs, another bank, PCRs that software resets, nothing at all.
        for (bank, pcrs) in [
            (0x000b_u16, (0..8).collect::<Vec<u8>>()),
            (0x000b, (0..15).collect()),
            (0x000b, (0..24).collect()),
            (0x000b, vec![16, 23]),
            (0x0004, (0..16).collect()),
        ] {
            let challenge = guest.agent.fresh_challenge().unwrap();
            let mut evidence = guest.agent.evidence_for(&challenge).unwrap();
            let nonce: [u8; 32] = challenge.nonce.0.clone().try_into().unwrap();
            let quote = Tpm::open(&guest.config.tpm).unwrap().quote(&ak, &nonce, bank, &pcrs).unwrap();
            evidence.quote = quote.attest.into();
            evidence.signature = quote.signature.into();
            assert_caught(&guest.submit(&evidence).unwrap(), "quote-selection-mismatch");
        }
        // A bank that was asked for, that the TPM has, and that firmware never extended: nothing explains it.
        let challenge = guest.agent.fresh_challenge().unwrap();
        let mut evidence = guest.agent.evidence_for(&challenge).unwrap();
        let nonce: [u8; 32] = challenge.nonce.0.clone().try_into().unwrap();
        let all: Vec<u8> = (0..16).collect();
        let quote = Tpm::open(&guest.config.tpm).unwrap().quote(&ak, &nonce, 0x000c, &all).unwrap();
        evidence.quote = quote.attest.into();
        evidence.signature = quote.signature.into();
        assert_caught(&guest.submit(&evidence).unwrap(), "log-bank-missing");

        // Unsigned values that show a healthy machine beside a quote that does not: not looked at.
        let mut evidence = guest.evidence();
        let good = evidence.pcrs.clone();
        guest.tpm.extend(8, "sha256", &[1; 32]).unwrap();
        let mut bad = guest.evidence();
        bad.pcrs = good;
        assert_eq!(guest.submit(&bad).unwrap().verdict, Verdict::Unhealthy);
        // And the other way round they do no harm.
        guest.boot(&Boot::default());
        evidence = guest.evidence();
        for values in evidence.pcrs.values_mut() {
            values.values_mut().for_each(|v| *v = "00".repeat(32));
        }
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Healthy);
    }

    pub fn row_18_pcr_extended_at_run_time(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        guest.tpm.extend(8, "sha256", &[7; 32]).unwrap();
        let receipt = guest.attest();
        assert_caught(&receipt, "runtime-extend");
        let finding = receipt.findings.iter().find(|f| f.code == "runtime-extend").unwrap();
        assert_eq!(finding.pcr, Some(8));
        let vm = world.vm(&id);
        assert_eq!((vm.status, vm.facts.log), (VmStatus::Unhealthy, FactState::Invalid));
        assert_eq!(world.open_alerts(&id)[0].reason, AlertReason::LogMismatch);
        // It stays so until the machine is reset.
        assert_caught(&guest.attest(), "runtime-extend");
        assert_eq!(world.open_alerts(&id)[0].count, 2);
        // An event in the log that explains the extend does not help: the log changed without a reboot.
        let mut events = Boot::default().events();
        events.push(super::agent_support::boot::Measured {
            pcr: 8,
            kind: EV_IPL,
            data: b"x".to_vec(),
            digest: vec![7; 32],
        });
        assert_caught(&attest_with_log(&mut guest, &encode(&events)), "log-changed-without-reboot");
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert!(world.open_alerts(&id).is_empty());
    }
}
