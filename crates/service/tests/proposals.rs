//! Changes of trusted classes gather across VMs, and are approved or rejected as a whole: real captured boots on real
//! (software) TPMs, over HTTPS, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

mod agent_support;

on_both!(
    a_kernel_update_gathers_and_is_approved_as_a_whole,
    what_is_rejected_fails_until_that_is_taken_back,
    several_are_approved_together_or_not_at_all,
);
on_sqlite!(
    vms_that_boot_something_else_leave,
    replacing_ends_what_was_accepted_before,
    a_profile_lets_an_initrd_follow_from_a_signed_kernel,
    members_are_judged_again_without_the_request_that_asked,
    metrics_and_the_list_count_what_is_open,
);

mod scenario {
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::proposals::*;
    use super::agent_support::*;
    use serde_json::json;
    use veriboot_service::members;
    use veriboot_store::reappraise_queue;
    use veriboot_wire::{AlertReason, AlertState, Verdict, VmStatus};

    pub fn a_kernel_update_gathers_and_is_approved_as_a_whole(world: &World) {
        let mut guests = fleet(world, 4);
        let operator = Operator::new(world, "ann");
        assert_eq!(operator.open().len(), 0);
        let update = kernel_update();
        healthy(&mut guests[0], &update);
        healthy(&mut guests[1], &update);
        guests[1].attest(); // again, as every five minutes
        let proposal = operator.only();
        let summary = text(&proposal, "summary");
        assert!(summary.starts_with("2 of 4 VMs in `web` now boot "), "{summary}");
        assert!(summary.ends_with("kernel, signed by Debian Secure Boot CA: approve?"), "{summary}");
        assert_eq!((proposal["vms"].as_u64(), proposal["of_vms"].as_u64()), (Some(2), Some(4)));
        assert_eq!(proposal["classes"], json!(["kernel-update"]));
        assert_eq!(proposal["baseline"], "scale-set/default/web@1");
        assert_eq!(proposal["pcrs"], json!([4, 9]));
        let findings = proposal["findings"].as_array().unwrap();
        assert!(!findings.is_empty() && findings.iter().all(|f| f["action"] == "propose"), "{findings:#?}");
        let members = operator.get(&format!("/v1/proposals/{}/members", text(&proposal, "id")));
        let names: Vec<_> = members["items"].as_array().unwrap().iter().map(|m| text(m, "vm_name")).collect();
        assert_eq!(names, ["web-0", "web-1"]);
        // Healthy, and marked.
        let vm = vm_shown(&operator, &guests[0]);
        assert_eq!((text(&vm, "status"), vm["open_proposals"].as_u64()), ("healthy", Some(1)));
        assert_eq!(vm["proposal_id"], proposal["id"]);
        assert_eq!(vm_shown(&operator, &guests[2])["open_proposals"], 0);
        assert!(world.alerts(&guests[0].vm_id()).is_empty());

        let answer = operator.approve(&proposal, json!({ "comment": "rolled out" }));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["baselines"][0]["version"], 2);
        assert_eq!(answer.body["baselines"][0]["origin"], "approved");
        assert_eq!(answer.body["baselines"][0]["created_by"], "ann");
        assert_eq!(answer.body["baselines"][0]["comment"], "rolled out");
        assert_eq!(answer.body["reappraised"], 2);
        let decided = &answer.body["proposals"][0];
        assert_eq!(
            (text(decided, "state"), text(decided, "result")),
            ("approved", "scale-set/default/web@2")
        );
        assert_eq!(decided["decided_by"], "ann");
        // Judged again by now: no VM had to attest.
        for guest in &guests[..2] {
            let vm = world.vm(&guest.vm_id());
            assert_eq!(
                (vm.status, vm.baseline.as_deref()),
                (VmStatus::Healthy, Some("scale-set/default/web@2"))
            );
            assert_eq!(vm.proposal_id, None);
            let last = world.attestations(&guest.vm_id()).remove(0);
            assert!(last.findings.iter().all(|f| f.action.is_none()), "{:#?}", last.findings);
        }
        assert_eq!(operator.open().len(), 0);
        let entry = world.audit().into_iter().find(|e| e.action == "proposal.approve").unwrap();
        assert_eq!((entry.actor.as_str(), entry.target.as_str()), ("ann", text(&proposal, "id")));
        assert_eq!(entry.detail["baseline"], "scale-set/default/web@2");
        assert_eq!(entry.detail["vms"], 2);

        // The others follow without a question, and whoever has the old kernel still is healthy.
        healthy(&mut guests[2], &update);
        assert_eq!(guests[3].attest().verdict, Verdict::Healthy);
        assert_eq!(operator.open().len(), 0);
        assert_eq!(world.vm(&guests[3].vm_id()).baseline.as_deref(), Some("scale-set/default/web@2"));
        // Twice is a conflict.
        let again = operator.approve(&proposal, json!({}));
        assert_eq!((again.status, again.code()), (409, "wrong-state"));
    }

    pub fn what_is_rejected_fails_until_that_is_taken_back(world: &World) {
        let mut guests = fleet(world, 3);
        let operator = Operator::new(world, "bob");
        let update = kernel_update();
        healthy(&mut guests[0], &update);
        let proposal = operator.only();
        let id = text(&proposal, "id").to_owned();
        assert_eq!(operator.reject(&proposal, " ").code(), "invalid-value");
        let answer = operator.reject(&proposal, "not rolled out by us");
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(text(&answer.body, "state"), "rejected");

        // At once, with an alert that names it.
        let vm = world.vm(&guests[0].vm_id());
        assert_eq!(vm.status, VmStatus::Unhealthy);
        let alert = world.open_alerts(&vm.id).remove(0);
        assert_eq!(alert.reason, AlertReason::BaselineDeviation);
        assert!(
            alert.message.contains("rejected by bob") && alert.message.contains(&id),
            "{}",
            alert.message
        );
        let hint = alert.findings[0].hint.as_deref().unwrap();
        assert!(hint.contains("not rolled out by us"), "{hint}");
        let shown = vm_shown(&operator, &guests[0]);
        assert_eq!((shown["open_proposals"].as_u64(), text(&shown, "proposal_id")), (Some(0), id.as_str()));

        // Whenever it attests, and whoever else boots it.
        assert_eq!(guests[0].attest().status, VmStatus::Unhealthy);
        update.boot(&guests[1]);
        let receipt = guests[1].attest();
        assert_eq!(receipt.status, VmStatus::Unhealthy);
        assert_eq!(receipt.token, None);
        assert_eq!(operator.open().len(), 0, "it is not asked again");
        let rejected = operator.get(&format!("/v1/proposals/{id}"));
        assert_eq!(rejected["vms"], 2);

        // Another change is approved: the next version does not make this one good.
        healthy(&mut guests[2], &Captured::named("dbx-updated"));
        let other = operator.only();
        assert_eq!(other["classes"], json!(["dbx-update"]));
        assert_eq!(operator.approve(&other, json!({})).status, 200);
        assert_eq!(guests[0].attest().status, VmStatus::Unhealthy);
        assert_eq!(world.vm(&guests[0].vm_id()).baseline.as_deref(), Some("scale-set/default/web@2"));
        assert_eq!(operator.open().len(), 0);

        // Taken back: healthy and marked again, against the version of now.
        let answer =
            operator.try_post(&format!("/v1/proposals/{id}/reopen"), &json!({ "comment": "it is ours" }));
        assert_eq!(answer.status, 200, "{}", answer.body);
        for guest in &guests[..2] {
            let vm = world.vm(&guest.vm_id());
            assert_eq!(vm.status, VmStatus::Healthy);
            assert!(world.alerts(&vm.id).iter().all(|a| a.state == AlertState::Resolved));
        }
        let proposal = operator.only();
        assert_eq!(
            (proposal["vms"].as_u64(), text(&proposal, "baseline")),
            (Some(2), "scale-set/default/web@2")
        );
        assert_eq!(operator.approve(&proposal, json!({})).status, 200);
        assert_eq!(guests[0].attest().status, VmStatus::Healthy);
        let actions: Vec<_> =
            world.audit().into_iter().map(|e| e.action).filter(|a| a.starts_with("proposal.")).collect();
        assert_eq!(actions, ["proposal.approve", "proposal.reopen", "proposal.approve", "proposal.reject"]);
    }

    pub fn several_are_approved_together_or_not_at_all(world: &World) {
        let mut guests = fleet(world, 3);
        let operator = Operator::new(world, "ann");
        healthy(&mut guests[0], &kernel_update());
        healthy(&mut guests[1], &Captured::named("dbx-updated"));
        let open = operator.open();
        assert_eq!(open.len(), 2);
        let body = |etags: [&str; 2]| {
            let proposals: Vec<_> = open
                .iter()
                .zip(etags)
                .map(|(p, etag)| json!({ "id": p["id"], "expected_etag": etag }))
                .collect();
            json!({ "proposals": proposals, "comment": "the update of November" })
        };
        let etags = [text(&open[0], "etag"), text(&open[1], "etag")];
        let stale = operator.try_post("/v1/proposals/approve", &body([etags[0], "0"]));
        assert_eq!((stale.status, stale.code()), (409, "proposal-changed"));
        assert_eq!(operator.open().len(), 2, "all or none");
        let twice = json!({ "proposals": [
            { "id": open[0]["id"], "expected_etag": etags[0] }, { "id": open[0]["id"], "expected_etag": etags[0] }] });
        assert_eq!(operator.try_post("/v1/proposals/approve", &twice).code(), "invalid-value");
        assert_eq!(
            operator.try_post("/v1/proposals/approve", &json!({ "proposals": [] })).code(),
            "invalid-value"
        );

        let answer = operator.try_post("/v1/proposals/approve", &body(etags));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["baselines"].as_array().unwrap().len(), 1, "one version for one baseline");
        assert_eq!(answer.body["reappraised"], 2);
        for guest in &mut guests {
            let vm = world.vm(&guest.vm_id());
            assert_eq!((vm.status, vm.proposal_id), (VmStatus::Healthy, None));
            assert_eq!(guest.attest().verdict, Verdict::Healthy);
        }
        assert_eq!(operator.open().len(), 0);
        // Both changes in one machine: each register has a sequence that was approved.
        healthy(&mut guests[2], &kernel_update());
        assert_eq!(world.vm(&guests[2].vm_id()).baseline.as_deref(), Some("scale-set/default/web@2"));
    }

    pub fn vms_that_boot_something_else_leave(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        let (old, update) = (Captured::named("secure-boot"), kernel_update());
        healthy(&mut guests[0], &update);
        healthy(&mut guests[1], &update);
        let first = operator.only();
        assert_eq!(text(&first["representative"], "vm_name"), "web-0");
        healthy(&mut guests[0], &old);
        let second = operator.only();
        assert_eq!((second["vms"].as_u64(), text(&second["representative"], "vm_name")), (Some(1), "web-1"));
        assert_ne!(second["etag"], first["etag"], "another boot stands for it");
        let stale = operator.approve(&first, json!({}));
        assert_eq!((stale.status, stale.code()), (409, "proposal-changed"));
        // A VM whose evidence is not believed shows nothing.
        let mut evidence = guests[1].evidence();
        let last = evidence.signature.0.len() - 1;
        evidence.signature.0[last] ^= 1;
        assert_eq!(guests[1].submit(&evidence).unwrap().verdict, Verdict::Unhealthy);
        assert_eq!(operator.open().len(), 0);
        let gone = operator.get(&format!("/v1/proposals/{}", text(&first, "id")));
        assert_eq!((text(&gone, "state"), gone["vms"].as_u64()), ("withdrawn", Some(0)));
        assert_eq!(operator.approve(&gone, json!({})).code(), "wrong-state");
        assert_eq!(guests[1].attest().verdict, Verdict::Healthy);
        let back = operator.only();
        assert_eq!((text(&back, "id"), back["vms"].as_u64()), (text(&first, "id"), Some(1)));
        // Forgotten VMs leave too.
        let id = guests[1].vm_id();
        let now = world.clock.now();
        world.write(move |tx| veriboot_store::vms::delete(tx, &id, now));
        assert_eq!(operator.open().len(), 0);
    }

    pub fn replacing_ends_what_was_accepted_before(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        let (old, update) = (Captured::named("secure-boot"), kernel_update());
        healthy(&mut guests[0], &update);
        let proposal = operator.only();
        assert_eq!(operator.approve(&proposal, json!({ "replace": true })).status, 200);
        assert_eq!(guests[0].attest().verdict, Verdict::Healthy);
        // The old kernel is a change by now: one that may be proposed like every other.
        old.boot(&guests[1]);
        guests[1].attest();
        let proposal = operator.only();
        assert_eq!(text(&proposal, "baseline"), "scale-set/default/web@2");
        let reply = operator.reject(&proposal, "too old");
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(world.vm(&guests[1].vm_id()).status, VmStatus::Unhealthy);
        healthy(&mut guests[1], &update);
        assert_eq!(world.open_alerts(&guests[1].vm_id()).len(), 0);
    }

    /// A replica that dies after a decision leaves nothing behind: whoever runs goes on.
    pub fn members_are_judged_again_without_the_request_that_asked(world: &World) {
        let mut guests = fleet(world, 1);
        healthy(&mut guests[0], &kernel_update());
        let (id, now) = (guests[0].vm_id(), world.clock.now());
        let before = world.attestations(&id).len();
        let vm = id.clone();
        world.write(move |tx| reappraise_queue::queue(tx, &vm, now));
        for _ in 0..100 {
            if world.block_on(members::waiting(world.state())).unwrap() == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert_eq!(world.attestations(&id).len(), before + 1);
        // VMs that are gone do not stop the others.
        world.write(move |tx| reappraise_queue::queue(tx, "nobody", now));
        assert_eq!(world.block_on(members::drain(world.state(), 10)).unwrap_or(0).min(1), 1);
        assert_eq!(world.block_on(members::waiting(world.state())).unwrap(), 0);
    }

    /// The pair as it was captured: kernel and initrd together, under the profile that lets initrds follow from signed
    /// kernels.
    pub fn a_profile_lets_an_initrd_follow_from_a_signed_kernel(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        let now = world.clock.now();
        world.write(move |tx| {
            let web = veriboot_wire::Scope {
                kind: veriboot_wire::ScopeKind::ScaleSet,
                group: "default".into(),
                id: "web".into(),
            };
            veriboot_store::profiles::assign(tx, &web, "distribution-updates", "test", None, now)
        });
        let update = Captured::named("other-kernel");
        healthy(&mut guests[0], &update);
        let proposal = operator.only();
        assert_eq!(proposal["classes"], json!(["kernel-update", "initrd-change"]));
        assert_eq!(text(&proposal, "profile"), "distribution-updates@built-in");
        let summary = text(&proposal, "summary");
        assert!(summary.contains("another initrd"), "{summary}");
        assert_eq!(operator.approve(&proposal, json!({})).status, 200);
        healthy(&mut guests[1], &update);
        assert_eq!(operator.open().len(), 0);
        // An initrd alone follows from nothing.
        Captured::named("initrd").boot(&guests[1]);
        assert_eq!(guests[1].attest().verdict, Verdict::Unhealthy);
        assert_eq!(operator.open().len(), 0);
    }

    pub fn metrics_and_the_list_count_what_is_open(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        let metric = |class: &str| {
            let answer = raw::get_text(world.address(), &world.ca_file(), "/metrics");
            let name = format!("veriboot_proposals_open{{class=\"{class}\"}} ");
            answer.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
        };
        assert_eq!(metric("kernel-update").as_deref(), Some("0"));
        healthy(&mut guests[0], &kernel_update());
        assert_eq!(metric("kernel-update").as_deref(), Some("1"));
        assert_eq!(metric("dbx-update").as_deref(), Some("0"));
        let list =
            |query: &str| operator.get(&format!("/v1/proposals?{query}"))["items"].as_array().unwrap().len();
        assert_eq!(list("class=kernel-update&scale_set=web&group=default"), 1);
        assert_eq!(list("class=dbx-update"), 0);
        assert_eq!(list("scale_set=db"), 0);
        let vms = operator.get("/v1/vms");
        let marks: Vec<_> =
            vms["items"].as_array().unwrap().iter().map(|vm| vm["open_proposals"].as_u64()).collect();
        assert_eq!(marks, [Some(1), Some(0)]);
    }
}
