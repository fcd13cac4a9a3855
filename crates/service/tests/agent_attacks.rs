//! Attacks over the wire, one scenario for each row of the threat list (docs/threat-model.md names them alike).
//! Each asserts that the attacker got no healthy verdict and no token, that the refusal has its stable code, and
//! that the record of the victim is as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    row_01_credential_answered_with_another_key,
    row_02_quote_by_a_key_that_was_never_activated,
    row_03_challenge_replayed,
    row_03_challenge_late_or_of_another_vm,
    row_04_name_of_another_vm,
    row_04_registrations_race_for_a_name,
    row_08_join_token_beyond_its_limits,
    row_08_join_tokens_last_use_is_raced_for,
    row_07_another_attestation_key_hides_no_rollback,
    row_08_nobody_fills_the_room_of_others,
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
    row_07_judging_again_believes_no_more_than_before,
    row_07_cloned_vm_and_restored_snapshot,
    row_10_structure_and_signature_games,
    row_11_qualifying_data_of_another_session,
    row_12_selection_and_values_relabelled,
    row_15_events_edited,
    row_16_log_of_another_machine_or_boot,
    row_16_log_missing_cut_and_padded,
    row_16_log_counts_and_sizes,
    row_19_hostile_words,
    row_22_agent_routes_without_the_right_token,
    row_22_bodies,
);

mod scenario {
    use std::sync::Barrier;

    use super::agent_support::boot::{Boot, EV_IPL, command, encode, encode_one, hashed, measure, sha256};
    use super::agent_support::*;
    use veriboot_agent::AkAlgorithm;
    use veriboot_agent::tpm::Tpm;
    use veriboot_service::attest::reappraise;
    use veriboot_service::silence;
    use veriboot_store::vms;
    use veriboot_testkit::swtpm::SwtpmOptions;
    use veriboot_wire::{
        ActivateRequest, AlertReason, Blob, EnrollRequest, FactState, LogEvidence, MachineInfo, Receipt,
        Verdict, VmStatus,
    };

    /// Sends evidence with a log of this content, for a fresh challenge.
    fn attest_with_log(guest: &mut Guest, log: &[u8]) -> Receipt {
        let mut evidence = guest.evidence();
        evidence.log = Some(LogEvidence { sha256: hex::encode(sha256(log)), content: Some(log.into()) });
        guest.submit(&evidence).expect("appraised")
    }

    /// Asserts that nothing about a VM changed but what asking for challenges changes: nothing.
    #[track_caller]
    fn assert_untouched(world: &World, before: &vms::VmRow) {
        assert_eq!(&world.vm(&before.id), before);
    }

    pub fn row_01_credential_answered_with_another_key(world: &World) {
        let victim = world.healthy_guest("victim");
        let before = world.vm(&victim.vm_id());
        let token = world.join_token(None, 1);
        let mut attacker = world.guest("attacker", Some(&token));
        let mut other = world.guest("other", None);

        // Own EK, an AK that lives in another TPM: the credential opens only where both live.
        let (mut request, endorsement, own_ak) = attacker.agent.enroll_request().unwrap();
        let (foreign, ..) = other.agent.enroll_request().unwrap();
        request.ak_public = foreign.ak_public.clone();
        let challenge = attacker.agent.client().unwrap().enroll(&request).unwrap();
        assert!(attacker.agent.activation(&endorsement, &own_ak, &challenge).is_err(), "the TPM refuses");
        for _ in 0..3 {
            let guess = ActivateRequest { secret: Blob(vec![0x5a; 32]) };
            let refused =
                attacker.agent.client().unwrap().activate(&challenge.enrolment_id, &guess).unwrap_err();
            assert_eq!(refused.code(), "credential-wrong");
        }
        let guess = ActivateRequest { secret: Blob(vec![]) };
        let refused = attacker.agent.client().unwrap().activate(&challenge.enrolment_id, &guess).unwrap_err();
        assert_eq!(refused.code(), "enrolment-unknown", "three attempts and no more");

        // The victim's EK with the attacker's AK: known EK, so no join token is asked for, yet nothing is won.
        let (mut request, endorsement, ak) = attacker.agent.enroll_request().unwrap();
        request.ek_public = Blob(before.ek_public.clone());
        request.join_token = None;
        let challenge = attacker.agent.client().unwrap().enroll(&request).unwrap();
        assert!(attacker.agent.activation(&endorsement, &ak, &challenge).is_err());
        assert_untouched(world, &before);
        assert_eq!(world.vm_named("attacker"), None);
        assert_eq!(world.join_token_row(&token).uses_left, 1);

        // The secret of one enrolment does not open another one, and an expired one is told apart.
        let (request, endorsement, ak) = attacker.agent.enroll_request().unwrap();
        let challenge = attacker.agent.client().unwrap().enroll(&request).unwrap();
        world.clock.step_ms(301_000);
        let secret = attacker.agent.activation(&endorsement, &ak, &challenge).unwrap();
        let refused =
            attacker.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap_err();
        assert_eq!(refused.code(), "enrolment-expired");
        let refused = attacker.agent.client().unwrap().activate("no-such-enrolment", &secret).unwrap_err();
        assert_eq!(refused.code(), "enrolment-unknown");
    }

    pub fn row_02_quote_by_a_key_that_was_never_activated(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let ak_before = world.vm(&id).ak_public;
        // A second key of the same TPM, as good as the first one but never bound to the EK.
        let challenge = guest.agent.fresh_challenge().unwrap();
        let mut evidence = guest.agent.evidence_for(&challenge).unwrap();
        let mut tpm = Tpm::open(&guest.config.tpm).unwrap();
        let second = tpm.create_ak(AkAlgorithm::Auto).unwrap();
        let nonce: [u8; 32] = challenge.nonce.0.clone().try_into().unwrap();
        let quote = tpm.quote(&second, &nonce, 0x000b, &(0..16).collect::<Vec<u8>>()).unwrap();
        drop(tpm);
        evidence.quote = quote.attest.into();
        evidence.signature = quote.signature.into();
        let receipt = guest.submit(&evidence).unwrap();
        assert_caught(&receipt, "quote-signature-invalid");
        let vm = world.vm(&id);
        assert_eq!((vm.status, vm.facts.quote), (VmStatus::Unhealthy, FactState::Invalid));
        assert_eq!(vm.ak_public, ak_before);
        assert_eq!(world.attestations(&id)[0].boot_id, None);
        let open = world.open_alerts(&id);
        assert_eq!((open.len(), open[0].reason), (1, AlertReason::QuoteUntrusted));

        // The second step of an enrolment cannot name a key at all.
        let (request, endorsement, ak) = guest.agent.enroll_request().unwrap();
        let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
        let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
        let mut body = serde_json::to_value(&secret).unwrap();
        body["ak_public"] = serde_json::to_value(Blob(second.public)).unwrap();
        let path = format!("/v1/agent/enroll/{}/activate", challenge.enrolment_id);
        let answer =
            raw::post(world.address(), &world.ca_file(), &path, None, &serde_json::to_vec(&body).unwrap());
        assert_eq!((answer.status, answer.code()), (400, "invalid-body"));
        assert_eq!(world.vm(&id).ak_public, ak_before);
    }

    pub fn row_03_challenge_replayed(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let old = guest.evidence();
        assert_eq!(guest.submit(&old).unwrap().verdict, Verdict::Healthy);
        let before = world.vm(&id);
        assert_eq!(guest.submit(&old).unwrap_err(), "challenge-used");
        // Two challenges in hand: using the later one retires the earlier one.
        let first = guest.evidence();
        let second = guest.evidence();
        assert_eq!(guest.submit(&second).unwrap().verdict, Verdict::Healthy);
        assert_eq!(guest.submit(&first).unwrap_err(), "challenge-used");
        let after = world.vm(&id);
        assert_eq!(after.status, VmStatus::Healthy);
        assert_eq!(world.attestations(&id).len(), 3);
        assert!(world.alerts(&id).is_empty(), "refused challenges raise nothing");
        assert!(after.challenge_used_us > before.challenge_used_us);

        // The same evidence many times at once: one is taken.
        let evidence = guest.evidence();
        let body = serde_json::to_vec(&evidence).unwrap();
        let (path, token) = (format!("/v1/agent/vms/{id}/evidence"), guest.agent_token());
        let answers: Vec<_> = std::thread::scope(|scope| {
            let run = || raw::post(world.address(), &world.ca_file(), &path, Some(&token), &body);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1, "{answers:?}");
        assert!(
            answers
                .iter()
                .filter(|a| a.status != 200)
                .all(|a| ["challenge-used", "evidence-in-flight"].contains(&a.code())),
            "{answers:?}"
        );
        assert_eq!(world.attestations(&id).len(), 4);
    }

    pub fn row_03_challenge_late_or_of_another_vm(world: &World) {
        let mut a = world.healthy_guest("a");
        let mut b = world.healthy_guest("b");
        let before = (world.vm(&a.vm_id()), world.vm(&b.vm_id()));
        // Of another VM, though quoted by the right TPM.
        let challenge = b.agent.fresh_challenge().unwrap();
        let evidence = a.agent.evidence_for(&challenge).unwrap();
        assert_eq!(a.submit(&evidence).unwrap_err(), "challenge-unknown");
        // Invented.
        let mut challenge = a.agent.fresh_challenge().unwrap();
        challenge.nonce.0[31] ^= 1;
        let evidence = a.agent.evidence_for(&challenge).unwrap();
        assert_eq!(a.submit(&evidence).unwrap_err(), "challenge-unknown");
        // Skipped.
        let mut evidence = a.evidence();
        evidence.nonce = Blob(vec![]);
        assert_eq!(a.submit(&evidence).unwrap_err(), "challenge-unknown");
        // Late: a minute is the limit of one that was asked for, so that quotes of this boot cannot be put aside.
        let evidence = a.evidence();
        world.clock.step_ms(61_000);
        assert_eq!(a.submit(&evidence).unwrap_err(), "challenge-expired");
        assert_untouched(world, &before.0);
        assert_untouched(world, &before.1);
        // One that came with an answer outlasts two intervals and a minute.
        let receipt = a.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy);
        assert_eq!(receipt.directions.challenge.expires_in_s, 660);
        let evidence = a.agent.evidence_for(&receipt.directions.challenge).unwrap();
        world.clock.step_ms(661_000);
        assert_eq!(a.submit(&evidence).unwrap_err(), "challenge-expired");
        let receipt = a.attest();
        let evidence = a.agent.evidence_for(&receipt.directions.challenge).unwrap();
        world.clock.step_ms(659_000);
        assert_eq!(a.submit(&evidence).unwrap().verdict, Verdict::Healthy);
    }

    pub fn row_04_name_of_another_vm(world: &World) {
        let victim = world.healthy_guest("db-0");
        let before = world.vm(&victim.vm_id());
        let token = world.join_token(None, 1);
        let mut attacker = world.guest("db-0", Some(&token));
        assert_eq!(code(&attacker.agent.attest_once().unwrap_err()), "name-taken");
        assert_untouched(world, &before);
        assert_eq!(world.join_token_row(&token).uses_left, 1, "a refusal costs no use");
        for name in ["db-0 ", "db-0\u{0}", "../db-0", "db-0\u{200b}", ".db-0", ""] {
            let (mut request, ..) = attacker.agent.enroll_request().unwrap();
            request.name = name.into();
            let refused = attacker.agent.client().unwrap().enroll(&request).unwrap_err();
            assert_eq!(refused.code(), "name-invalid", "{name:?}");
        }
    }

    /// Enrols all guests at the same moment; gives what became of each.
    fn race(guests: Vec<Guest>) -> Vec<Result<String, String>> {
        let barrier = Barrier::new(guests.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = guests
                .into_iter()
                .map(|guest| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        let mut guest: Guest = guest; // the whole of it, its TPM too
                        let (request, endorsement, ak) = guest.agent.enroll_request().unwrap();
                        let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
                        let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
                        barrier.wait();
                        let client = guest.agent.client().unwrap();
                        client
                            .activate(&challenge.enrolment_id, &secret)
                            .map(|enrolled| enrolled.vm_id)
                            .map_err(|e| e.code().to_owned())
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    pub fn row_04_registrations_race_for_a_name(world: &World) {
        let token = world.join_token(None, 10);
        let guests = (0..4).map(|_| world.guest("wanted", Some(&token))).collect();
        let outcomes = race(guests);
        let won: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().filter_map(|o| o.as_ref().err()).all(|c| c == "name-taken"), "{outcomes:?}");
        assert_eq!(&world.vm_named("wanted").unwrap().id, won[0]);
        assert_eq!(world.join_token_row(&token).uses_left, 9, "only the winner used the token");
    }

    pub fn row_08_join_token_beyond_its_limits(world: &World) {
        let mut guest = world.guest("late", None);
        let mut enroll = |token: Option<&str>| {
            let (mut request, ..) = guest.agent.enroll_request().unwrap();
            request.join_token = token.map(str::to_owned);
            guest.agent.client().unwrap().enroll(&request).map(|_| ()).map_err(|e| e.code().to_owned())
        };
        assert_eq!(enroll(None).unwrap_err(), "join-token-required");
        assert_eq!(enroll(Some("vbj_guess")).unwrap_err(), "join-token-unknown");
        assert_eq!(enroll(Some(&"x".repeat(300))).unwrap_err(), "invalid-value");
        let used_up = world.join_token(None, 1);
        let mut first = world.guest("first", Some(&used_up));
        assert_eq!(first.attest().verdict, Verdict::Healthy);
        assert_eq!(enroll(Some(&used_up)).unwrap_err(), "join-token-used-up");
        let revoked = world.join_token(None, 5);
        let id = world.join_token_row(&revoked).id;
        world.write(move |tx| veriboot_store::join_tokens::revoke(tx, &id));
        assert_eq!(enroll(Some(&revoked)).unwrap_err(), "join-token-revoked");
        let expiring = world.join_token_until(None, 5, 60);
        assert_eq!(enroll(Some(&expiring)), Ok(()));
        world.clock.step_ms(60_000);
        assert_eq!(enroll(Some(&expiring)).unwrap_err(), "join-token-expired");
        assert_eq!(world.vm_named("late"), None);

        // Valid at the first step and no longer at the second: it counts where the VM is made.
        let mut slow = world.guest("slow", None);
        let between = world.join_token(None, 5);
        let (mut request, endorsement, ak) = slow.agent.enroll_request().unwrap();
        request.join_token = Some(between.clone());
        let challenge = slow.agent.client().unwrap().enroll(&request).unwrap();
        let secret = slow.agent.activation(&endorsement, &ak, &challenge).unwrap();
        let id = world.join_token_row(&between).id;
        world.write(move |tx| veriboot_store::join_tokens::revoke(tx, &id));
        let refused = slow.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap_err();
        assert_eq!(refused.code(), "join-token-revoked");
        assert_eq!(world.vm_named("slow"), None);
    }

    pub fn row_08_join_tokens_last_use_is_raced_for(world: &World) {
        let token = world.join_token(None, 2);
        let guests = (0..4).map(|n| world.guest(&format!("web-{n}"), Some(&token))).collect();
        let outcomes = race(guests);
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 2, "{outcomes:?}");
        assert!(
            outcomes.iter().filter_map(|o| o.as_ref().err()).all(|c| c == "join-token-used-up"),
            "{outcomes:?}"
        );
        assert_eq!(world.join_token_row(&token).uses_left, 0);
    }

    fn pending(world: &World) -> i64 {
        world.read(|tx| {
            let rows = tx.query("SELECT COUNT(*) FROM enrolments", &[])?;
            rows.into_iter().next().map_or(Ok(-1), |row| row.columns().int())
        })
    }

    /// Enrolments that are begun and never ended, by somebody who knows a public EK and by a holder of a join token.
    pub fn row_08_nobody_fills_the_room_of_others(world: &World) {
        let mut victim = world.healthy_guest("victim");
        let (request, endorsement, ak) = victim.agent.enroll_request().unwrap();
        let mut begin = |request: &EnrollRequest| {
            victim.agent.client().unwrap().enroll(request).map_err(|e| e.code().to_owned())
        };
        let first = begin(&request).unwrap();
        for _ in 0..12 {
            begin(&request).unwrap();
        }
        assert_eq!(pending(world), 3, "of one EK, whoever names it");
        let last = begin(&request).unwrap();

        // One join token of one use, and as many TPMs as one likes: an EK with another policy is another EK.
        let token = world.join_token(None, 1);
        let taken: Vec<_> = (0..12)
            .map(|n| {
                let mut request = request.clone();
                request.name = format!("bot-{n}");
                request.join_token = Some(token.clone());
                request.ek_certificate = None;
                request.ek_public.0[12] ^= n + 1;
                begin(&request).map(|_| ())
            })
            .collect();
        assert_eq!(taken.iter().filter(|t| t.is_ok()).count(), 9, "{taken:?}");
        assert_eq!(taken[9..], vec![Err("enrolments-busy".to_owned()); 3]);
        assert_eq!(pending(world), 12);

        // The others go on.
        let secret = victim.agent.activation(&endorsement, &ak, &last).unwrap();
        let client = victim.agent.client().unwrap();
        assert_eq!(client.activate(&first.enrolment_id, &secret).unwrap_err().code(), "enrolment-unknown");
        client.activate(&last.enrolment_id, &secret).unwrap();
        assert_eq!(world.healthy_guest("newcomer").attest().status, VmStatus::Healthy);
    }

    pub fn row_07_cloned_vm_and_restored_snapshot(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        // A reboot that the snapshot will not know of.
        let earlier = guest.evidence();
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        // The earlier quote itself is dead with its challenge.
        assert_eq!(guest.submit(&earlier).unwrap_err(), "challenge-used");
        // As if the TPM had been further along when it was last seen: what it says now went back.
        let (vm_id, resets) = (id.clone(), world.vm(&id).reset_count.unwrap());
        world.write(move |tx| {
            let sql = "UPDATE vms SET reset_count = $2 WHERE id = $1";
            tx.execute(sql, &[vm_id.as_str().into(), resets.wrapping_add(1).into()])
        });
        let receipt = guest.attest();
        assert_caught(&receipt, "reset-count-went-back");
        assert_eq!(
            world.vm(&id).reset_count,
            Some(resets.wrapping_add(1)),
            "a quote that is not believed moves nothing"
        );
        assert_caught(&guest.attest(), "reset-count-went-back");
        assert_eq!(world.open_alerts(&id)[0].reason, AlertReason::QuoteUntrusted);
    }

    /// A restored snapshot enrols another AK by the EK that is known: what its TPM counted before still binds it.
    pub fn row_07_another_attestation_key_hides_no_rollback(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let (vm_id, before) = (id.clone(), world.vm(&id));
        let resets = before.reset_count.unwrap().wrapping_add(1);
        world.write(move |tx| {
            let sql = "UPDATE vms SET reset_count = $2 WHERE id = $1";
            tx.execute(sql, &[vm_id.as_str().into(), resets.into()])
        });
        assert_caught(&guest.attest(), "reset-count-went-back");
        for _ in 0..2 {
            guest.lose_state();
            let receipt = guest.attest();
            assert_caught(&receipt, "reset-count-went-back");
            assert!(receipt.findings.iter().any(|f| f.code == "ak-replaced"), "{:#?}", receipt.findings);
        }
        let vm = world.vm(&id);
        assert_ne!(vm.ak_name, before.ak_name);
        assert_eq!((vm.reset_count, vm.counted_ak_name), (Some(resets), Some(before.ak_name)));
        let open = world.open_alerts(&id);
        assert_eq!((open.len(), open[0].reason, open[0].count), (1, AlertReason::QuoteUntrusted, 3));

        // Only an operator ends it: without the record the VM is a new one, which needs a join token.
        world.write({
            let id = id.clone();
            move |tx| vms::delete(tx, &id, veriboot_wire::Time::from_unix_ms(0))
        });
        guest.lose_state();
        assert_eq!(code(&guest.agent.attest_once().unwrap_err()), "join-token-used-up");
        guest.config.join_token = Some(world.join_token(None, 1));
        guest.lose_state();
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_ne!(guest.vm_id(), id);
    }

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

    /// An operator who accepts a baseline does not thereby accept a quote that was not believed.
    pub fn row_07_judging_again_believes_no_more_than_before(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let (vm_id, resets) = (id.clone(), world.vm(&id).reset_count.unwrap());
        world.write(move |tx| {
            let sql = "UPDATE vms SET reset_count = $2 WHERE id = $1";
            tx.execute(sql, &[vm_id.as_str().into(), resets.wrapping_add(1).into()])
        });
        assert_caught(&guest.attest(), "reset-count-went-back");
        let before = world.vm(&id);
        assert!(world.block_on(reappraise(world.state(), &id)).is_err());
        assert_untouched(world, &before);
        assert_eq!(world.open_alerts(&id).len(), 1);
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

    pub fn row_15_events_edited(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let events = Boot::default().events();
        let kernel = events.iter().position(|e| e.kind == EV_IPL && e.pcr == 8).unwrap();
        let secure_boot = 2;
        type Edit = fn(&mut Vec<super::agent_support::boot::Measured>, usize);
        let edits: [(&str, usize, Edit); 9] = [
            ("removed", kernel, |events, at| {
                events.remove(at);
            }),
            ("added", kernel, |events, at| events.insert(at, command("grub_cmd: echo hello"))),
            ("added to a PCR that the log does not use", kernel, |events, at| {
                events.insert(at, hashed(13, EV_IPL, b"extension".to_vec()));
            }),
            ("reordered", kernel, |events, at| events.swap(at, at + 2)),
            ("edited with a matching digest", kernel, |events, at| {
                events[at] = command("grub_cmd: linux /boot/vmlinuz-6.1.0-40 root=/dev/vda1 ro");
            }),
            ("edited without", kernel, |events, at| {
                events[at].data = b"grub_cmd: linux /boot/vmlinuz-6.1.0-40 ro\0".to_vec();
            }),
            ("Secure Boot said to be on otherwise", secure_boot, |events, at| {
                let last = events[at].data.len() - 1;
                events[at].data[last] ^= 1;
            }),
            ("type swapped", kernel, |events, at| events[at].kind = 0x8000_0007),
            ("PCR swapped", kernel, |events, at| events[at].pcr = 9),
        ];
        for (what, at, edit) in edits {
            let mut events = events.clone();
            edit(&mut events, at);
            let receipt = attest_with_log(&mut guest, &encode(&events));
            assert_eq!((receipt.verdict, receipt.token.as_ref()), (Verdict::Unhealthy, None), "{what}");
            assert!(!failing(&receipt).is_empty(), "{what}");
            assert_eq!(world.vm(&id).facts.log, FactState::Invalid, "{what}: {:?}", failing(&receipt));
        }
        // The digest of a boot application does not cover the event's data: the baseline holds the data too.
        let mut swapped = events.clone();
        let image = swapped.iter().position(|e| e.kind == 0x8000_0003).unwrap();
        let at = swapped[image].data.windows(2).position(|w| w == b"s\0").unwrap();
        swapped[image].data[at] = b'z';
        let receipt = attest_with_log(&mut guest, &encode(&swapped));
        assert_eq!((receipt.verdict, receipt.token.as_ref()), (Verdict::Unhealthy, None));
        // Nothing of all that became the log that later evidence is held against.
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn row_16_log_of_another_machine_or_boot(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let earlier = guest.log();
        let other = Boot { firmware: "another vendor".into(), ..Boot::default() };
        assert_caught(&attest_with_log(&mut guest, &encode(&other.events())), "log-mismatch");
        guest.boot(&Boot { cmdline: "root=/dev/vda1 ro debug".into(), ..Boot::default() });
        // The earlier, good log beside the quote of a boot that was tampered with.
        let receipt = attest_with_log(&mut guest, &earlier);
        assert_caught(&receipt, "log-mismatch");
        assert!(receipt.findings.iter().any(|f| f.pcr == Some(8)), "{:#?}", receipt.findings);
        // The same by digest alone.
        let mut evidence = guest.evidence();
        evidence.log = Some(LogEvidence { sha256: hex::encode(sha256(&earlier)), content: None });
        assert_caught(&guest.submit(&evidence).unwrap(), "log-mismatch");
        // An unknown digest costs no challenge.
        let mut evidence = guest.evidence();
        evidence.log = Some(LogEvidence { sha256: "ab".repeat(32), content: None });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-needed");
        evidence.log = Some(LogEvidence {
            sha256: hex::encode(sha256(&guest.log())),
            content: Some(guest.log().into()),
        });
        assert_eq!(guest.submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        // A digest that is not the content's.
        let mut evidence = guest.evidence();
        evidence.log =
            Some(LogEvidence { sha256: hex::encode(sha256(&earlier)), content: Some(guest.log().into()) });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-digest-mismatch");
        for sha256 in ["", "zz", &"AB".repeat(32), &"a".repeat(63)] {
            let mut evidence = guest.evidence();
            evidence.log = Some(LogEvidence { sha256: sha256.into(), content: None });
            assert_eq!(guest.submit(&evidence).unwrap_err(), "invalid-value", "{sha256:?}");
        }
    }

    pub fn row_16_log_missing_cut_and_padded(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let log = guest.log();
        // Missing: its own state with its own finding.
        let mut evidence = guest.evidence();
        evidence.log = None;
        evidence.log_absent_because = Some("no securityfs\u{1b}[31m".into());
        let receipt = guest.submit(&evidence).unwrap();
        assert_caught(&receipt, "log-missing");
        assert_eq!(receipt.status, VmStatus::Error);
        assert!(!receipt.findings[0].message.contains('\u{1b}'));
        assert_ne!(world.vm(&id).facts.log, FactState::Valid);
        for empty in [vec![], vec![0; 4096], vec![0xff; 4096]] {
            let receipt = attest_with_log(&mut guest, &empty);
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None));
        }
        // Cut: every event boundary is inside of this, and places in between.
        for length in (1..log.len()).step_by(log.len() / 40) {
            let receipt = attest_with_log(&mut guest, &log[..length]);
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None), "{length} bytes");
        }
        // Padded, in the middle of a boot that was attested without padding: firmware writes one log.
        for byte in [0x00, 0xff] {
            let padded = [log.as_slice(), &[byte; 512]].concat();
            assert_caught(&attest_with_log(&mut guest, &padded), "log-changed-without-reboot");
        }
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        // Padded from the start of a boot is a quirk of real machines.
        guest.boot(&Boot::default());
        let padded = [guest.log().as_slice(), &[0xff; 512]].concat();
        guest.set_log(&padded);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        // As large as a log can be, and one byte larger.
        let mut largest = guest.log();
        largest.resize(veriboot_wire::MAX_EVENT_LOG_BYTES, 0xff);
        assert_eq!(attest_with_log(&mut guest, &largest).verdict, Verdict::Unhealthy);
        largest.push(0xff);
        let mut evidence = guest.evidence();
        evidence.log =
            Some(LogEvidence { sha256: hex::encode(sha256(&largest)), content: Some(Blob(largest)) });
        assert_eq!(guest.submit(&evidence).unwrap_err(), "log-too-large");
    }

    pub fn row_16_log_counts_and_sizes(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let log = guest.log();
        let event = |pcr: u32, count: u32, alg: u16, size: u32| {
            let mut bytes = pcr.to_le_bytes().to_vec();
            bytes.extend(EV_IPL.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(alg.to_le_bytes());
            bytes.extend([0xaa; 32]);
            bytes.extend(size.to_le_bytes());
            bytes
        };
        for (what, tail) in [
            ("size of 2^32-1", event(8, 1, 0x000b, u32::MAX)),
            ("count of 2^32-1", event(8, u32::MAX, 0x000b, 0)),
            ("65,535 digests", event(8, 65_535, 0x000b, 0)),
            ("unknown algorithm", event(8, 1, 0x7777, 0)),
            ("PCR 0xffffffff extended", event(u32::MAX, 1, 0x000b, 0)),
            ("PCR 24", event(24, 1, 0x000b, 0)),
        ] {
            let receipt = attest_with_log(&mut guest, &[log.as_slice(), &tail].concat());
            assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None), "{what}");
        }
        // A header that promises 2^32-1 banks.
        let mut header = log.clone();
        header[32 + 24..32 + 28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(attest_with_log(&mut guest, &header).verdict, Verdict::Unhealthy);
        // As many events as fit.
        let one = encode_one(&hashed(8, EV_IPL, Vec::new()));
        let many = one.repeat(veriboot_wire::MAX_EVENT_LOG_BYTES / one.len() - 200);
        let receipt = attest_with_log(&mut guest, &[log.as_slice(), &many].concat());
        assert_eq!((receipt.verdict, receipt.token), (Verdict::Unhealthy, None));
        assert_eq!(guest.attest().status, VmStatus::Healthy);
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

    pub fn row_19_hostile_words(world: &World) {
        let token = world.join_token(None, 1);
        let mut guest = world.guest("web-0", Some(&token));
        let nasty =
            "\u{1b}]0;owned\u{7}<script>alert(1)</script>\u{202e}=cmd|'/c calc'!A1\0';DROP TABLE vms;--";
        let hostile = || MachineInfo {
            hostname: nasty.repeat(1000),
            os: nasty.into(),
            os_version: nasty.into(),
            kernel: nasty.into(),
            arch: nasty.into(),
            platform: nasty.into(),
            boot_id: nasty.into(),
            agent_version: nasty.into(),
            machine_uuid: nasty.into(),
        };
        let (mut request, endorsement, ak) = guest.agent.enroll_request().unwrap();
        request.machine = hostile();
        let challenge = guest.agent.client().unwrap().enroll(&request).unwrap();
        let secret = guest.agent.activation(&endorsement, &ak, &challenge).unwrap();
        guest.agent.client().unwrap().activate(&challenge.enrolment_id, &secret).unwrap();
        // The agent forgot to keep that enrolment; it enrols again by its EK.
        let mut boot =
            Boot { cmdline: format!("root=/dev/vda1 {}", nasty.replace('\0', "")), ..Boot::default() };
        guest.boot(&boot);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        boot.cmdline.push_str("\u{1b}[2J");
        guest.boot(&boot);
        let mut evidence = guest.evidence();
        evidence.machine = hostile();
        evidence.pcrs.insert(nasty.into(), [(7, nasty.into())].into());
        let receipt = guest.submit(&evidence).unwrap();
        assert_eq!(receipt.verdict, Verdict::Unhealthy);
        let vm = world.vm(&guest.vm_id());
        let stored = [
            serde_json::to_string(&vm.machine).unwrap(),
            vm.status_detail.clone().unwrap(),
            serde_json::to_string(&receipt.findings).unwrap(),
            serde_json::to_string(&world.alerts(&vm.id)).unwrap(),
            serde_json::to_string(&world.boots(&vm.id)).unwrap(),
        ];
        for text in stored {
            assert!(text.len() < 64 * 1024, "{} bytes", text.len());
            let bad = text.chars().find(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}'));
            assert_eq!(bad, None, "{text}");
            for escaped in ["\\u001b", "\\u0000", "\\u0007"] {
                assert!(!text.contains(escaped), "{text}");
            }
        }
    }

    pub fn row_22_agent_routes_without_the_right_token(world: &World) {
        let mut a = world.healthy_guest("a");
        let b = world.healthy_guest("b");
        let before = (world.vm(&a.vm_id()), world.vm(&b.vm_id()));
        let evidence = serde_json::to_vec(&a.evidence()).unwrap();
        let fault = br#"{"code":"tpm-missing","message":"x"}"#;
        let bodies: [(&str, &[u8]); 3] = [("challenge", b""), ("evidence", &evidence), ("fault", fault)];
        let flipped = {
            let mut token = a.agent_token();
            let last = token.pop().unwrap();
            token.push(if last == 'A' { 'B' } else { 'A' });
            token
        };
        for (route, body) in bodies {
            let path = format!("/v1/agent/vms/{}/{route}", a.vm_id());
            for token in [
                None,
                Some(b.agent_token()),
                Some(flipped.clone()),
                Some("vba_".into()),
                Some("x".repeat(5000)),
            ] {
                let answer = raw::post(world.address(), &world.ca_file(), &path, token.as_deref(), body);
                assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{route} {token:?}");
            }
            // An unknown VM looks the same.
            let path = format!("/v1/agent/vms/0193b1c0-0000-7000-8000-000000000001/{route}");
            let answer = raw::post(world.address(), &world.ca_file(), &path, Some(&a.agent_token()), body);
            assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{route}");
        }
        assert_untouched(world, &before.0);
        assert_untouched(world, &before.1);
        assert!(world.alerts(&a.vm_id()).is_empty());
    }

    pub fn row_22_bodies(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let before = world.vm(&id);
        let (address, ca, token) = (world.address(), world.ca_file(), guest.agent_token());
        let path = format!("/v1/agent/vms/{id}/evidence");
        let evidence = guest.evidence();
        let good = serde_json::to_vec(&evidence).unwrap();
        let send = |body: &[u8]| raw::post(address, &ca, &path, Some(&token), body);
        // Truncated, padded, doubled, not UTF-8, deeply nested, of another shape, with members that nobody knows.
        let mut unknown = serde_json::to_value(&evidence).unwrap();
        unknown["verdict"] = "healthy".into();
        let mut doubled = good.clone();
        doubled.extend_from_slice(&good);
        let mut latin = good.clone();
        latin[2] = 0xe4;
        for (what, body) in [
            ("empty", Vec::new()),
            ("truncated", good[..good.len() / 2].to_vec()),
            ("doubled", doubled),
            ("not UTF-8", latin),
            ("nested", [b"[".repeat(100_000), b"]".repeat(100_000)].concat()),
            ("array", b"[]".to_vec()),
            ("unknown member", serde_json::to_vec(&unknown).unwrap()),
        ] {
            let answer = send(&body);
            assert_eq!((answer.status, answer.code()), (400, "invalid-body"), "{what}");
        }
        // Larger than the route takes: 8 MiB for evidence, 256 KiB elsewhere.
        let answer = send(&vec![b' '; 8 * 1024 * 1024 + 1]);
        assert_eq!((answer.status, answer.code()), (413, "body-too-large"));
        let answer = raw::post(address, &ca, "/v1/agent/enroll", None, &vec![b' '; 256 * 1024 + 1]);
        assert_eq!((answer.status, answer.code()), (413, "body-too-large"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 18446744073709551615\r\nConnection: close\r\n\r\n"
        );
        let status = raw::exchange(address, &ca, &head, b"{}").status;
        assert!(matches!(status, 400 | 413 | 431), "{status}");
        // Parts that are too large for what they are.
        for (member, bytes) in [("quote", 5000), ("signature", 3000)] {
            let mut large = serde_json::to_value(&evidence).unwrap();
            large[member] = serde_json::to_value(Blob(vec![0; bytes])).unwrap();
            let answer = send(&serde_json::to_vec(&large).unwrap());
            assert_eq!((answer.status, answer.code()), (400, "invalid-value"), "{member}");
        }
        for code in ["", "TPM", "a b", "x\u{7}", &"x".repeat(65)] {
            let refused = guest.agent.report_fault(code, "x").unwrap_err();
            assert_eq!(super::agent_support::code(&refused), "invalid-value", "{code:?}");
        }
        assert_untouched(world, &before);
        // Trailing white space is JSON.
        let padded = [good.as_slice(), &[b'\n'; 4096]].concat();
        assert_eq!(send(&padded).status, 200);
    }

    /// The harness itself: what is measured is what the TPM holds.
    #[test]
    fn the_log_replays_to_the_tpm() {
        let tpm = veriboot_testkit::swtpm::Swtpm::start().unwrap();
        let events = Boot::default().events();
        measure(&tpm, &events);
        let report = veriboot_appraisal::examine(&encode(&events));
        let bank = report.bank(veriboot_eventlog::HashAlg::Sha256).unwrap();
        for pcr in 0..16 {
            assert_eq!(bank.replay.pcrs[&pcr].as_ref(), tpm.pcr_read(pcr, "sha256").unwrap(), "PCR {pcr}");
        }
    }
}
