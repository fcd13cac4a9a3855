//! What a fleet does on good and on ordinary days, end to end: real agent, real TPM, real database, TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    first_boot_is_learned_and_later_boots_are_held_to_it,
    tampered_boot_is_named_and_healing_resolves_the_alert,
    scale_set_members_share_a_baseline,
    silent_agents_turn_stale_once_and_come_back,
    an_agent_that_lost_its_state_keeps_its_record,
    an_accepted_baseline_is_judged_at_once,
    faults_are_errors_and_never_failed_attestations,
);
on_sqlite!(
    tokens_are_checked_by_the_published_keys_also_after_a_rotation,
    secure_boot_off_is_unhealthy_and_never_learned,
    a_clock_set_back_by_a_day_stops_nobody,
    an_ek_certificate_must_be_of_the_ek,
    an_unmonitored_vm_is_appraised_and_raises_nothing,
    a_dismissed_alert_stays_dismissed_until_the_cause_is_another_one,
    one_cause_raises_one_alert,
);

#[test]
fn a_group_may_run_without_secure_boot() {
    let world = agent_support::World::sqlite_with(|config| {
        config.measured_only_groups = vec!["lab".into(), "default".into()];
    });
    scenario::secure_boot_may_be_off(&world);
}

mod scenario {
    use super::agent_support::boot::Boot;
    use super::agent_support::*;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use veriboot_service::attest::reappraise;
    use veriboot_service::result_token::{EarClaims, EarStatus, JwkSet};
    use veriboot_service::silence;
    use veriboot_store::{alerts, baselines, vms};
    use veriboot_testkit::swtpm::SwtpmOptions;
    use veriboot_wire::{AlertReason, AlertState, FactState, Verdict, VmStatus};

    pub fn first_boot_is_learned_and_later_boots_are_held_to_it(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let vm = world.vm(&guest.vm_id());
        assert_eq!((vm.status, vm.status_detail.as_deref()), (VmStatus::Healthy, None));
        assert_eq!(vm.baseline.as_deref(), Some("vm/default/web-0@1"));
        assert_eq!(vm.facts.baseline, FactState::Valid);
        assert_eq!(vm.facts.log, FactState::Valid);
        let learned: Vec<_> = world.audit().into_iter().filter(|e| e.action == "baseline.learn").collect();
        assert_eq!(learned.len(), 1);
        assert_eq!(learned[0].target, "baseline:vm/default/web-0@1");

        // Steady state: the log travels as its digest, on the challenge that came with the last answer.
        let receipt = guest.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy);
        assert!(receipt.token.is_some());
        assert_eq!(world.boots(&vm.id).len(), 1);
        assert_eq!(world.boots(&vm.id)[0].attestations, 2);

        // A reboot of the same system is another boot, healthy, and learns nothing.
        guest.boot(&Boot::default());
        assert_eq!(guest.attest().verdict, Verdict::Healthy);
        assert_eq!(world.boots(&vm.id).len(), 2);
        assert_eq!(world.vm(&vm.id).baseline.as_deref(), Some("vm/default/web-0@1"));
        assert!(world.alerts(&vm.id).is_empty());
    }

    pub fn tampered_boot_is_named_and_healing_resolves_the_alert(world: &World) {
        let mut guest = world.healthy_guest("web-2");
        let id = guest.vm_id();
        guest.boot(&Boot { cmdline: "root=/dev/vda1 ro quiet init=/bin/sh".into(), ..Boot::default() });
        let receipt = guest.attest();
        assert_eq!(receipt.status, VmStatus::Unhealthy);
        assert_eq!(receipt.token, None);
        let cmdline = receipt
            .findings
            .iter()
            .find(|f| f.fails() && f.component.as_deref() == Some("kernel command line"))
            .unwrap_or_else(|| panic!("{:#?}", receipt.findings));
        assert!(cmdline.message.contains("init=/bin/sh"), "{}", cmdline.message);
        assert_eq!(cmdline.reason, Some(AlertReason::BaselineDeviation));

        let open = world.open_alerts(&id);
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].reason, AlertReason::BaselineDeviation);
        assert_eq!(open[0].component.as_deref(), Some("kernel command line"));
        assert_eq!(open[0].attestation_id.as_deref(), Some(receipt.attestation_id.as_str()));
        assert_eq!((open[0].count, open[0].state), (1, AlertState::Active));
        assert!(!open[0].findings.is_empty());

        // Again: one alert, counted.
        guest.attest();
        assert_eq!(world.open_alerts(&id).len(), 1);
        assert_eq!(world.open_alerts(&id)[0].count, 2);
        assert!(world.vm(&id).status_detail.unwrap().contains("init=/bin/sh"));

        guest.boot(&Boot::default());
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        let closed = world.alerts(&id);
        assert_eq!((closed.len(), closed[0].state), (1, AlertState::Resolved));
        assert_eq!(closed[0].timeline.last().unwrap().by, "service");
        assert_eq!(world.vm(&id).status_detail, None);
    }

    pub fn scale_set_members_share_a_baseline(world: &World) {
        let token = world.join_token(Some("web"), 4);
        let mut first = world.guest("web-0", Some(&token));
        let mut second = world.guest("web-1", Some(&token));
        assert_eq!(first.attest().verdict, Verdict::Healthy);
        assert_eq!(second.attest().verdict, Verdict::Healthy);
        for guest in [&first, &second] {
            assert_eq!(world.vm(&guest.vm_id()).baseline.as_deref(), Some("scale-set/default/web@1"));
        }
        // A third that boots something else on its first day is held to the set, and teaches it nothing.
        let mut third = world.guest("web-2", Some(&token));
        third.boot(&Boot { kernel: "vmlinuz-6.1.0-41-evil".into(), ..Boot::default() });
        let receipt = third.attest();
        assert_eq!(receipt.status, VmStatus::Unhealthy);
        assert!(
            receipt.findings.iter().any(|f| f.fails() && f.component.as_deref() == Some("kernel")),
            "{:#?}",
            receipt.findings
        );
        let current = world.read(|tx| baselines::by_name(tx, "scale-set/default/web", None)).unwrap();
        assert_eq!(current.summary.version, 1);
        assert_eq!(first.attest().verdict, Verdict::Healthy);
    }

    pub fn silent_agents_turn_stale_once_and_come_back(world: &World) {
        let mut guest = world.healthy_guest("quiet");
        let id = guest.vm_id();
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0);
        world.pass_ms(901_000);
        // Asking for challenges is no sign of health.
        guest.agent.fresh_challenge().unwrap();
        let (a, b) = world
            .block_on(async { tokio::join!(silence::sweep(world.state()), silence::sweep(world.state())) });
        assert_eq!(a.unwrap() + b.unwrap(), 1);
        let vm = world.vm(&id);
        assert_eq!(vm.status, VmStatus::Stale);
        let open = world.open_alerts(&id);
        assert_eq!((open.len(), open[0].reason, open[0].count), (1, AlertReason::AgentSilent, 1));
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0, "never twice");

        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert!(world.open_alerts(&id).is_empty());
        assert_eq!(world.alerts(&id)[0].state, AlertState::Resolved);
    }

    pub fn an_agent_that_lost_its_state_keeps_its_record(world: &World) {
        let mut guest = world.healthy_guest("db-0");
        let before = world.vm(&guest.vm_id());
        let old_token = guest.agent_token();
        guest.lose_state();
        // The join token is used up; the EK is known and needs none.
        let receipt = guest.attest();
        assert_eq!(receipt.status, VmStatus::Healthy, "{:#?}", receipt.findings);
        let after = world.vm(&guest.vm_id());
        assert_eq!(
            (&after.id, &after.name, after.enrolled_at),
            (&before.id, &before.name, before.enrolled_at)
        );
        assert_ne!(after.ak_name, before.ak_name);
        assert_ne!(guest.agent_token(), old_token);
        let entry = world.audit().into_iter().find(|e| e.action == "vm.reenroll").unwrap();
        assert_eq!(entry.detail["ak_replaced"], true);
        // The keys of one TPM show the same counters: it is the same boot with the same log, and that is said once.
        assert!(
            receipt.findings.iter().any(|f| f.code == "ak-replaced" && !f.fails()),
            "{:#?}",
            receipt.findings
        );
        assert_eq!((after.reset_count, &after.log_sha256), (before.reset_count, &before.log_sha256));
        assert_eq!(world.boots(&after.id).len(), 1);
        let again = guest.attest();
        assert!(again.findings.iter().all(|f| f.code != "ak-replaced"), "{:#?}", again.findings);
        let path = format!("/v1/agent/vms/{}/challenge", after.id);
        let answer = raw::post(world.address(), &world.ca_file(), &path, Some(&old_token), b"");
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"));
    }

    pub fn an_accepted_baseline_is_judged_at_once(world: &World) {
        let mut guest = world.healthy_guest("app-0");
        let id = guest.vm_id();
        guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() });
        assert_eq!(guest.attest().status, VmStatus::Unhealthy);
        let attested_at = world.vm(&id).last_attested_at;
        let log = guest.log();
        let vm_id = id.clone();
        let signer = world.state().attest.baseline_signer().clone();
        world.write(move |tx| {
            let current = baselines::by_name(tx, "vm/default/app-0", None)?.unwrap();
            let report = veriboot_appraisal::examine(&log);
            let learned =
                veriboot_appraisal::Baseline::learn(&report, veriboot_eventlog::HashAlg::Sha256).unwrap();
            let new = baselines::NewBaseline {
                name: &current.summary.name,
                scope: &current.summary.scope,
                origin: veriboot_wire::BaselineOrigin::Accepted,
                document: &learned.to_json().unwrap(),
                components: 1,
                boot_id: None,
                comment: None,
                created_by: "test",
                created_at: veriboot_wire::Time::from_unix_ms(1),
            };
            baselines::insert_next(tx, &new, &signer)?;
            let _ = &vm_id;
            Ok(())
        });
        let again = world.block_on(reappraise(world.state(), &id)).unwrap();
        assert_eq!(again.verdict, Verdict::Healthy, "{:#?}", again.findings);
        let vm = world.vm(&id);
        assert_eq!((vm.status, vm.baseline.as_deref()), (VmStatus::Healthy, Some("vm/default/app-0@2")));
        assert_eq!(vm.last_attested_at, attested_at, "judging again makes nothing fresher");
        assert!(world.open_alerts(&id).is_empty());
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn faults_are_errors_and_never_failed_attestations(world: &World) {
        let mut guest = world.healthy_guest("faulty");
        let id = guest.vm_id();
        guest.agent.report_fault("tpm-busy", "the TPM\u{1b}[2J did not answer").unwrap();
        let vm = world.vm(&id);
        assert_eq!(vm.status, VmStatus::Error);
        assert_eq!(vm.fault.as_deref(), Some("tpm-busy: the TPM\u{fffd}[2J did not answer"));
        assert!(world.alerts(&id).is_empty());
        assert_eq!(world.attestations(&id).len(), 1);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_eq!(world.vm(&id).fault, None);
    }

    pub fn tokens_are_checked_by_the_published_keys_also_after_a_rotation(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let before = guest.attest().token.unwrap();
        let first_keys = keys(world);
        let rotated = world.block_on(world.state().attest.signer().rotate()).unwrap();
        let after = guest.attest().token.unwrap();
        let both = keys(world);
        assert_eq!(both.keys.len(), 2);
        assert_eq!(both.keys[0].kid, rotated, "the active one first");
        assert_eq!(jsonwebtoken::decode_header(&after).unwrap().kid.as_deref(), Some(rotated.as_str()));
        for token in [&before, &after] {
            let claims = verify(world, token, &both).unwrap();
            assert_eq!((claims.sub, claims.veriboot.vm_name.as_str()), (guest.vm_id(), "web-0"));
            assert_eq!(claims.submods["vtpm"].status, EarStatus::Affirming);
            assert_eq!(claims.veriboot.baseline.as_deref(), Some("vm/default/web-0@1"));
        }
        assert!(verify(world, &after, &first_keys).is_err(), "the old key set does not have the new key");
        let discovery = raw::get(world.address(), &world.ca_file(), "/.well-known/openid-configuration").body;
        assert_eq!(discovery["issuer"], world.state().public_url.as_str());
        assert_eq!(discovery["jwks_uri"], format!("{}/.well-known/jwks.json", world.state().public_url));

        // The old key leaves the set when its last token has run out.
        world.clock.step_ms(3_901_000);
        let left = keys(world);
        assert_eq!(left.keys.iter().map(|k| &k.kid).collect::<Vec<_>>(), [&rotated]);
    }

    fn keys(world: &World) -> JwkSet {
        let answer = raw::get(world.address(), &world.ca_file(), "/.well-known/jwks.json");
        serde_json::from_value(answer.body).unwrap()
    }

    fn verify(world: &World, token: &str, keys: &JwkSet) -> Result<EarClaims, jsonwebtoken::errors::Error> {
        let kid = jsonwebtoken::decode_header(token)?.kid.unwrap();
        let Some(key) = keys.keys.iter().find(|k| k.kid == kid) else {
            return Err(jsonwebtoken::errors::ErrorKind::InvalidToken.into());
        };
        let key = DecodingKey::from_ec_components(&key.x, &key.y)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["veriboot"]);
        validation.set_issuer(&[&world.state().public_url]);
        Ok(jsonwebtoken::decode::<EarClaims>(token, &key, &validation)?.claims)
    }

    pub fn secure_boot_off_is_unhealthy_and_never_learned(world: &World) {
        let token = world.join_token(None, 1);
        let mut guest = world.guest("db-0", Some(&token));
        guest.boot(&Boot { secure_boot: false, ..Boot::default() });
        let receipt = guest.attest();
        assert_caught(&receipt, "secure-boot-disabled");
        let vm = world.vm(&guest.vm_id());
        assert_eq!((vm.status, vm.baseline), (VmStatus::Unhealthy, None));
        assert_eq!(vm.facts.secure_boot, FactState::Invalid);
        assert!(world.audit().iter().all(|e| e.action != "baseline.learn"));
    }

    pub fn secure_boot_may_be_off(world: &World) {
        let off = Boot { secure_boot: false, ..Boot::default() };
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        guest.boot(&off);
        let receipt = guest.attest();
        assert_eq!(receipt.status, VmStatus::Healthy, "{:#?}", receipt.findings);
        let id = guest.vm_id();
        let vm = world.vm(&id);
        assert_eq!(vm.baseline.as_deref(), Some("vm/default/db-0@1"));
        assert_eq!(vm.facts.secure_boot, FactState::Invalid);
        // Judged again from what is stored, by the same profile.
        assert_eq!(world.block_on(reappraise(world.state(), &id)).unwrap().verdict, Verdict::Healthy);
        // Held to its baseline like any other.
        guest.boot(&Boot { kernel: "vmlinuz-6.1.0-41".into(), ..off });
        assert_caught(&guest.attest(), "component-changed");
    }

    pub fn a_clock_set_back_by_a_day_stops_nobody(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        world.clock.step_ms(-86_400_000);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        world.clock.step_ms(2 * 86_400_000);
        // The held challenge is too old by then; the agent asks for another one.
        assert_eq!(guest.attest().status, VmStatus::Healthy);
    }

    pub fn an_unmonitored_vm_is_appraised_and_raises_nothing(world: &World) {
        let mut guest = world.healthy_guest("lab-0");
        let id = guest.vm_id();
        let vm_id = id.clone();
        world.write(move |tx| vms::set_monitoring(tx, &vm_id, false, VmStatus::Unmonitored));
        guest.boot(&Boot { cmdline: "init=/bin/sh".into(), ..Boot::default() });
        let receipt = guest.attest();
        assert_eq!((receipt.verdict, receipt.status), (Verdict::Unhealthy, VmStatus::Unmonitored));
        guest.agent.report_fault("tpm-busy", "x").unwrap();
        world.pass_ms(3_600_000);
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0);
        assert_eq!(world.vm(&id).status, VmStatus::Unmonitored);
        assert!(world.alerts(&id).is_empty());
        guest.boot(&Boot::default());
        let receipt = guest.attest();
        assert_eq!((receipt.status, receipt.token), (VmStatus::Unmonitored, None));
    }

    pub fn a_dismissed_alert_stays_dismissed_until_the_cause_is_another_one(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        let deviating = Boot { cmdline: "root=/dev/vda1 ro quiet debug".into(), ..Boot::default() };
        let dismiss = |id: String| {
            let now = world.clock.now();
            world.write(move |tx| {
                alerts::change_state(tx, &id, AlertState::Dismissed, "ann", Some("known"), now)
            });
        };
        guest.boot(&deviating);
        guest.attest();
        dismiss(world.open_alerts(&id)[0].id.clone());

        // The same cause, in this boot and the next: counted where it was dismissed, nothing is opened.
        guest.attest();
        guest.boot(&deviating);
        let last = guest.attest();
        assert_eq!(last.status, VmStatus::Unhealthy);
        let all = world.alerts(&id);
        assert_eq!(all.len(), 1, "{all:#?}");
        assert_eq!((all[0].state, all[0].count), (AlertState::Dismissed, 3));
        assert_eq!(all[0].attestation_id.as_deref(), Some(last.attestation_id.as_str()));
        assert!(all[0].closed_at.unwrap() <= all[0].last_at && all[0].first_at < all[0].last_at);

        // Another cause is another alert, and afterwards the first one is news too.
        let other = Boot { kernel: "vmlinuz-6.1.0-41".into(), ..deviating.clone() };
        guest.boot(&other);
        guest.attest();
        assert_eq!((world.alerts(&id).len(), world.open_alerts(&id).len()), (2, 1));
        dismiss(world.open_alerts(&id)[0].id.clone());
        guest.attest();
        assert!(world.open_alerts(&id).is_empty());

        // A healthy attestation ends the memory; two do not note it twice.
        guest.boot(&Boot::default());
        guest.attest();
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_eq!(world.alerts(&id)[0].state, AlertState::Dismissed);
        let steps: Vec<_> = world.alerts(&id)[0].timeline.iter().map(|step| step.by.clone()).collect();
        assert_eq!(steps, ["service", "ann", "service"]);
        guest.boot(&other);
        guest.attest();
        assert_eq!((world.alerts(&id).len(), world.open_alerts(&id).len()), (3, 1));
    }

    pub fn one_cause_raises_one_alert(world: &World) {
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        // An extension of PCR 7 behind the log's back: the log is not believed, so Secure Boot is unknown too.
        guest.tpm.extend(7, "sha256", &[7; 32]).unwrap();
        let receipt = guest.attest();
        assert_caught(&receipt, "secure-boot-unknown");
        let open = world.open_alerts(&id);
        assert_eq!(
            open.iter().map(|a| a.reason).collect::<Vec<_>>(),
            [AlertReason::LogMismatch],
            "{open:#?}"
        );
    }

    pub fn an_ek_certificate_must_be_of_the_ek(world: &World) {
        let token = world.join_token(None, 2);
        let tpm = SwtpmOptions::default().banks(&["sha256"]).with_ek_certificate().start().unwrap();
        let mut guest = world.guest_with(tpm, "certified", Some(&token));
        let (request, _, _) = guest.agent.enroll_request().unwrap();
        let certificate = request.ek_certificate.clone().expect("swtpm_setup made one");
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_eq!(world.vm(&guest.vm_id()).ek_certificate.as_deref(), Some(&*certificate));

        let mut other = world.guest("other", Some(&token));
        let (mut request, _, _) = other.agent.enroll_request().unwrap();
        request.ek_certificate = Some(certificate.clone());
        let refused = other.agent.client().unwrap().enroll(&request).unwrap_err();
        assert_eq!(refused.code(), "ek-certificate-mismatch");
        request.ek_certificate = Some(certificate[..100].into());
        let refused = other.agent.client().unwrap().enroll(&request).unwrap_err();
        assert_eq!(refused.code(), "ek-certificate-malformed");
        assert_eq!(world.vm_named("other"), None);
    }
}
