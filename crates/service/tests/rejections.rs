//! What an operator rejected stays rejected, whatever else a machine boots and whatever is approved: real captured boots on
//! real (software) TPMs, over HTTPS, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

mod agent_support;

on_both!(a_rejection_stands_whatever_else_is_booted_and_approved,);
on_sqlite!(
    what_is_shown_together_with_something_rejected_turns_at_once,
    a_baseline_that_accepts_it_ends_a_rejection,
    conditions_are_asked_again_before_anything_is_approved,
);

mod scenario {
    use super::agent_support::boot::sha256;
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::proposals::*;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_store::Param;
    use veriboot_wire::{AlertReason, VmStatus};

    /// A capture with another kernel: its image, and its file.
    fn with_kernel(variant: &str, name: &str) -> Captured {
        let meta = veriboot_testkit::corpus::golden(variant).unwrap().meta;
        let of = |kind: &str| hex(meta[kind]["kernel"].as_str().unwrap());
        let (image, file) = (of("authenticode"), of("sha256"));
        Captured::named(variant).with(|event| {
            for (old, new) in [(&image, name.to_owned()), (&file, format!("{name}'s file"))] {
                if event.digest == *old {
                    event.digest = sha256(new.as_bytes());
                }
            }
        })
    }

    /// Reboots a guest into a boot that fails because of the rejection with this id.
    #[track_caller]
    fn refused(guest: &mut Guest, boot: &Captured, id: &str) {
        boot.boot(guest);
        let receipt = guest.attest();
        assert_eq!(receipt.status, VmStatus::Unhealthy, "{:#?}", receipt.findings);
        assert!(receipt.findings.iter().any(|f| f.message.contains(id)), "{:#?}", receipt.findings);
        assert_eq!(receipt.token, None);
    }

    fn preview(operator: &Operator, guest: &Guest, baseline: &Value) -> Value {
        let mut ask = json!({ "vm": guest.vm_id() });
        ask.as_object_mut().unwrap().extend(baseline.as_object().unwrap().clone());
        let answer = operator.try_post("/v1/reappraise", &ask);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["vms"][0]["after"].clone()
    }

    pub fn a_rejection_stands_whatever_else_is_booted_and_approved(world: &World) {
        let mut guests = fleet(world, 4);
        let operator = Operator::new(world, "ann");
        let x = with_kernel("secure-boot", "x");
        healthy(&mut guests[0], &x);
        let rejected = operator.only();
        let id = text(&rejected, "id").to_owned();
        assert_eq!(operator.reject(&rejected, "not rolled out by us").status, 200);
        assert_eq!(world.vm(&guests[0].vm_id()).status, VmStatus::Unhealthy);

        // Another kernel takes the place of the one before: the difference of x is another one by now.
        let y = with_kernel("secure-boot", "y");
        healthy(&mut guests[1], &y);
        let other = operator.only();
        let answer = operator.approve(&other, json!({ "replace": true }));
        assert_eq!(answer.status, 200, "{}", answer.body);
        refused(&mut guests[0], &x, &id);
        assert_eq!(world.vm(&guests[0].vm_id()).baseline.as_deref(), Some("scale-set/default/web@2"));
        let alert = world.open_alerts(&guests[0].vm_id()).remove(0);
        assert_eq!(alert.reason, AlertReason::BaselineDeviation);
        assert!(alert.message.contains("rejected by ann"), "{}", alert.message);

        // Together with another change that alone is a question.
        let z = with_kernel("dbx-updated", "y");
        refused(&mut guests[2], &with_kernel("dbx-updated", "x"), &id);
        assert_eq!(operator.open().len(), 0, "nobody is asked");
        assert_eq!(vm_shown(&operator, &guests[2])["proposal_id"], *id);
        assert_eq!(operator.get(&format!("/v1/proposals/{id}"))["vms"], 2);
        healthy(&mut guests[3], &z);
        let question = operator.only();
        assert_eq!(question["classes"], json!(["dbx-update"]));

        // What is held against another version, or a document, is held against the rejection too.
        for baseline in [
            json!({ "baseline": "scale-set/default/web@1" }),
            json!({ "baseline": "scale-set/default/web@2" }),
            json!({ "document": stored_document(world) }),
        ] {
            assert_eq!(preview(&operator, &guests[0], &baseline), "unhealthy", "{baseline}");
            assert_eq!(preview(&operator, &guests[2], &baseline), "unhealthy", "{baseline}");
        }
        assert_eq!(
            preview(&operator, &guests[3], &json!({ "baseline": "scale-set/default/web@2" })),
            "healthy"
        );

        // Whoever checks the evidence elsewhere comes to the same verdict.
        let last = world.attestations(&guests[2].vm_id()).remove(0);
        let bundle = operator.get(&format!("/v1/attestations/{}/evidence", last.id));
        assert_eq!(bundle["judged_with"]["verdict"], "unhealthy");
        assert_eq!(bundle["judged_with"]["rejection"]["id"], *id);

        // Approving the question does not make it good; taking it back does.
        assert_eq!(operator.approve(&question, json!({ "replace": true })).status, 200);
        assert_eq!(guests[2].attest().status, VmStatus::Unhealthy);
        let answer = operator.try_post(&format!("/v1/proposals/{id}/reopen"), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(world.vm(&guests[2].vm_id()).status, VmStatus::Healthy);
        let open = operator.only();
        assert_eq!((open["vms"].as_u64(), open["classes"].clone()), (Some(1), json!(["kernel-update"])));
        assert_eq!(operator.approve(&open, json!({})).status, 200);
        assert!(world.open_alerts(&guests[2].vm_id()).is_empty());
    }

    fn stored_document(world: &World) -> String {
        world
            .read(|tx| veriboot_store::baselines::by_name(tx, "scale-set/default/web", None))
            .unwrap()
            .document
    }

    pub fn what_is_shown_together_with_something_rejected_turns_at_once(world: &World) {
        let mut guests = fleet(world, 3);
        let operator = Operator::new(world, "ann");
        healthy(&mut guests[0], &with_kernel("secure-boot", "x"));
        let x = operator.only();
        healthy(&mut guests[1], &with_kernel("dbx-updated", "x"));
        healthy(&mut guests[2], &Captured::named("dbx-updated"));
        let open = operator.open();
        assert_eq!(open.len(), 3);
        let both = open.iter().find(|p| p["classes"].as_array().unwrap().len() == 2).unwrap().clone();
        assert_eq!(operator.reject(&x, "no").status, 200);
        // Nobody had to attest.
        for (guest, status) in
            guests.iter().zip([VmStatus::Unhealthy, VmStatus::Unhealthy, VmStatus::Healthy])
        {
            assert_eq!(world.vm(&guest.vm_id()).status, status);
        }
        assert_eq!(operator.only()["classes"], json!(["dbx-update"]));
        let late = operator.approve(&both, json!({}));
        assert_eq!((late.status, late.code()), (409, "wrong-state"), "{}", late.body);
        // Nor is it approved while its VMs were not judged again yet.
        let id = text(&both, "id").to_owned();
        world.write(move |tx| {
            tx.execute("UPDATE proposals SET state = 'open' WHERE id = $1", &[Param::Text(&id)])
        });
        let both = operator.get(&format!("/v1/proposals/{}", text(&both, "id")));
        let late = operator.approve(&both, json!({}));
        assert_eq!((late.status, late.code()), (409, "proposal-changed"), "{}", late.body);
        assert!(late.body.to_string().contains(text(&x, "id")), "{}", late.body);
    }

    pub fn a_baseline_that_accepts_it_ends_a_rejection(world: &World) {
        let mut guests = fleet(world, 2);
        let operator = Operator::new(world, "ann");
        let x = with_kernel("secure-boot", "x");
        healthy(&mut guests[0], &x);
        assert_eq!(operator.reject(&operator.only(), "no").status, 200);
        // Somebody trusts that boot after all, by another way.
        let vm = vm_shown(&operator, &guests[0]);
        let boot = operator.get(&format!("/v1/vms/{}/boots", text(&vm, "id")))["items"][0]["id"].clone();
        let accept = json!({ "vm": vm["id"], "boot_id": boot, "comment": "it is ours" });
        let answer = operator.try_post("/v1/baselines/accept", &accept);
        assert_eq!(answer.status, 200, "{}", answer.body);
        healthy(&mut guests[0], &x);
        assert_eq!(vm_shown(&operator, &guests[0])["proposal_id"], Value::Null);
        // Nor does it refuse another change of a machine that has it.
        healthy(&mut guests[1], &with_kernel("dbx-updated", "x"));
        assert_eq!(operator.only()["classes"], json!(["dbx-update"]));
    }

    pub fn conditions_are_asked_again_before_anything_is_approved(world: &World) {
        let operator = Operator::new(world, "ann");
        let condition = json!({ "id": "named", "expression": "vm.name.startsWith('web-')", "severity": "high",
            "message": "another name" });
        operator.judge_by(&[condition]);
        let mut guests = fleet(world, 1);
        healthy(&mut guests[0], &with_kernel("secure-boot", "x"));
        let proposal = operator.only();
        let rename = |name: &'static str| {
            let id = guests[0].vm_id();
            world.write(move |tx| {
                tx.execute("UPDATE vms SET name = $2 WHERE id = $1", &[Param::Text(&id), Param::Text(name)])
            });
        };
        rename("db-0");
        let answer = operator.approve(&proposal, json!({}));
        assert_eq!((answer.status, answer.code()), (409, "proposal-not-proven"), "{}", answer.body);
        rename("web-0");
        assert_eq!(operator.approve(&proposal, json!({})).status, 200);
    }
}
