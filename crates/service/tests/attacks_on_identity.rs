//! Attacks over the wire on who somebody is: keys, challenges, names, join tokens, copies of a machine (rows 1 to 8); docs/threat-model.md names the rows alike.
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
);
on_sqlite!(row_07_judging_again_believes_no_more_than_before, row_07_cloned_vm_and_restored_snapshot,);

mod scenario {
    use super::agent_support::attacks::assert_untouched;
    use super::agent_support::boot::Boot;
    use super::agent_support::*;
    use std::sync::Barrier;
    use veriboot_agent::AkAlgorithm;
    use veriboot_agent::tpm::Tpm;
    use veriboot_service::attest::reappraise;
    use veriboot_store::vms;
    use veriboot_wire::{ActivateRequest, AlertReason, Blob, EnrollRequest, FactState, Verdict, VmStatus};

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
}
