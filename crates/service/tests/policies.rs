//! Conditions of profiles judge every attestation, are tried without changing anything, and are refused when they cannot be
//! used: real captured boots on real (software) TPMs, over HTTPS, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

mod agent_support;

on_both!(a_condition_of_the_profile_fails_a_machine, conditions_are_tried_on_what_vms_attested);
on_sqlite!(
    what_cannot_be_evaluated_does_not_hold,
    a_profile_with_unusable_conditions_is_refused,
    bad_requests_are_refused,
    a_machine_that_fails_a_condition_teaches_nothing,
    notes_do_not_fail,
    conditions_count_when_judged_again_and_in_previews,
);

mod scenario {
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_store::api_tokens::Role;
    use veriboot_wire::{AlertReason, Verdict, VmStatus};

    const NO_INIT: &str = "!parameters.exists(p, p.name == 'init')";

    fn condition(id: &str, expression: &str, severity: &str) -> Value {
        json!({ "id": id, "expression": expression, "severity": severity, "message": format!("{id} does not hold") })
    }

    fn booted(world: &World, name: &str, variant: &str) -> Guest {
        let join = world.join_token(None, 1);
        let guest = world.guest(name, Some(&join));
        Captured::named(variant).boot(&guest);
        guest
    }

    pub fn a_condition_of_the_profile_fails_a_machine(world: &World) {
        let operator = Operator::new(world, "ann");
        operator.judge_by(&[condition("no-init", NO_INIT, "high")]);
        let mut good = booted(world, "good", "secure-boot");
        let receipt = good.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy, "{:#?}", receipt.findings);
        assert!(receipt.token.is_some());

        let mut bad = booted(world, "bad", "cmdline");
        let receipt = bad.attest();
        assert_caught(&receipt, "policy-condition");
        let finding = receipt.findings.iter().find(|f| f.code == "policy-condition").unwrap();
        assert_eq!(finding.message, "no-init does not hold");
        assert_eq!(finding.component.as_deref(), Some("condition no-init"));
        assert!(finding.seen.as_deref().unwrap().contains("init"), "{finding:?}");
        assert_eq!(world.vm(&bad.vm_id()).status, VmStatus::Unhealthy);
        let alerts = world.open_alerts(&bad.vm_id());
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0].reason, AlertReason::BaselineDeviation);
        // The log travels once per boot; what conditions know of it is remembered or read again.
        assert_caught(&bad.attest(), "policy-condition");
        world.state().attest.forget();
        assert_caught(&bad.attest(), "policy-condition");
        assert_eq!(good.attest().verdict, Verdict::Healthy);
        // The machine boots as it should.
        Captured::named("secure-boot").boot(&bad);
        assert_eq!(bad.attest().verdict, Verdict::Healthy);
        assert!(world.open_alerts(&bad.vm_id()).is_empty());
    }

    /// A baseline is not learned from a boot that fails a condition.
    pub fn a_machine_that_fails_a_condition_teaches_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        operator.judge_by(&[condition("no-init", NO_INIT, "high")]);
        let mut guest = booted(world, "bad", "cmdline");
        assert_caught(&guest.attest(), "policy-condition");
        let shown = operator.send("GET", "/v1/baselines", "", None);
        assert_eq!(shown.body["items"].as_array().unwrap().len(), 0, "{}", shown.body);
    }

    pub fn what_cannot_be_evaluated_does_not_hold(world: &World) {
        let operator = Operator::new(world, "ann");
        let absent = condition("windows-only", "windows.code_integrity", "high");
        let fault = condition("division", "1 / (log.events - log.events) == 1", "critical");
        operator.judge_by(&[absent, fault]);
        let mut guest = booted(world, "linux", "secure-boot");
        let receipt = guest.attest();
        assert_eq!(failing(&receipt), ["policy-condition-error", "policy-data-absent"]);
        assert!(receipt.token.is_none());
        // What the log cannot be believed for is no question of policy: it fails by itself.
        guest.tpm.extend(8, "sha256", &[7; 32]).unwrap();
        let receipt = guest.attest();
        assert_eq!(failing(&receipt), ["runtime-extend"], "{:#?}", receipt.findings);
        guest.remove_log();
        let receipt = guest.attest();
        assert!(!failing(&receipt).iter().any(|code| code.starts_with("policy")), "{:#?}", receipt.findings);
    }

    pub fn notes_do_not_fail(world: &World) {
        let operator = Operator::new(world, "ann");
        operator.judge_by(&[condition("ca-2023", "keys.microsoft_2023", "low")]);
        let mut guest = booted(world, "vm", "secure-boot");
        let receipt = guest.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy);
        assert!(receipt.findings.iter().any(|f| f.code == "policy-condition" && !f.fails()));
        // Conditions may ask about the VM and about findings.
        let conditions = [
            condition("vm", "vm.name == 'vm' && vm.group == 'default' && !has(vm.scale_set)", "high"),
            condition("findings", "findings.all(f, !f.fails)", "high"),
        ];
        let tested =
            operator.send("POST", "/v1/policies/test", "", Some(&json!({ "conditions": conditions })));
        assert_eq!(tested.body["items"].as_array().unwrap().len(), 0, "{}", tested.body);
    }

    pub fn conditions_are_tried_on_what_vms_attested(world: &World) {
        let viewer = Operator::with_role(world, "view", Role::Viewer);
        let mut guests: Vec<Guest> =
            ["a", "b", "c"].into_iter().map(|n| booted(world, n, "secure-boot")).collect();
        for guest in &mut guests {
            guest.attest();
        }
        Captured::named("cmdline").boot(&guests[1]);
        guests[1].attest();
        let before = world.attestations(&guests[1].vm_id()).len();
        let audited = world.audit().len();
        let body = json!({ "conditions": [condition("no-init", NO_INIT, "high")] });
        let answer = viewer.send("POST", "/v1/policies/test", "", Some(&body));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (items, body) = (answer.body["items"].as_array().unwrap().clone(), &answer.body);
        assert_eq!(
            (body["vms"].as_u64(), body["attestations"].as_u64(), body["failing_vms"].as_u64()),
            (Some(3), Some(3), Some(1))
        );
        assert_eq!(items.len(), 1, "{body}");
        assert_eq!((items[0]["vm_name"].as_str(), items[0]["would_fail"].as_bool()), (Some("b"), Some(true)));
        assert_eq!(items[0]["findings"][0]["code"], "policy-condition");
        assert_eq!(world.attestations(&guests[1].vm_id()).len(), before, "nothing is stored");
        assert_eq!(world.audit().len(), audited, "nothing is changed");

        // Earlier attestations, and pages.
        let mut cursor = Value::Null;
        let (mut vms, mut attestations, mut rounds) = (0, 0, 0);
        loop {
            let mut body = json!({ "conditions": [condition("all", "secure_boot.enabled", "high")], "last": 5, "limit": 1 });
            if !cursor.is_null() {
                body["cursor"] = cursor.clone();
            }
            let answer = viewer.send("POST", "/v1/policies/test", "", Some(&body));
            assert_eq!(answer.status, 200, "{}", answer.body);
            vms += answer.body["vms"].as_u64().unwrap();
            attestations += answer.body["attestations"].as_u64().unwrap();
            rounds += 1;
            cursor = answer.body["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!((vms, attestations, rounds), (3, 4, 3));
        // Of another group there is nothing.
        let body = json!({ "conditions": [condition("no-init", NO_INIT, "high")], "group": "other" });
        assert_eq!(viewer.send("POST", "/v1/policies/test", "", Some(&body)).body["vms"], 0);
        // What was not believed is named and not tried.
        guests[0].tpm.extend(8, "sha256", &[7; 32]).unwrap();
        guests[0].attest();
        let body = json!({ "conditions": [condition("all", "secure_boot.enabled", "high")] });
        let answer = viewer.send("POST", "/v1/policies/test", "", Some(&body));
        assert_eq!(answer.body["items"][0]["vm_name"], "a");
        assert!(answer.body["items"][0]["not_tried"].is_string(), "{}", answer.body);
    }

    pub fn a_profile_with_unusable_conditions_is_refused(world: &World) {
        let operator = Operator::new(world, "ann");
        for expression in ["secureboot.enabled", "secure_boot.enabled &&", "1 + 1"] {
            let conditions = [condition("wrong", expression, "high")];
            let document =
                json!({ "name": "house", "secure_boot": "required", "conditions": conditions }).to_string();
            let put = json!({ "document": document, "format": "json" });
            let answer = operator.send("PUT", "/v1/profiles/house", "", Some(&put));
            assert_eq!((answer.status, answer.code()), (422, "profile-invalid"), "{}", answer.body);
            let message = answer.body["error"]["message"].as_str().unwrap();
            assert!(message.contains("condition `wrong`"), "{message}");
        }
    }

    pub fn bad_requests_are_refused(world: &World) {
        let viewer = Operator::with_role(world, "view", Role::Viewer);
        let good = condition("good", "secure_boot.enabled", "high");
        let many: Vec<Value> = (0..65).map(|n| condition(&format!("c{n}"), "true", "high")).collect();
        for (path, body, code) in [
            ("/v1/policies/test", json!({ "conditions": [] }), "invalid-value"),
            ("/v1/policies/test", json!({ "conditions": many }), "invalid-value"),
            ("/v1/policies/test", json!({ "conditions": [good], "last": 21 }), "invalid-value"),
            ("/v1/policies/test", json!({ "conditions": [good], "limit": 0 }), "invalid-value"),
            ("/v1/policies/test", json!({ "conditions": [good], "cursor": "nonsense" }), "invalid-cursor"),
            ("/v1/policies/test", json!({ "conditions": [good], "surprise": 1 }), "invalid-body"),
            ("/v1/policies/check", json!({ "conditions": [{ "id": "x" }] }), "invalid-body"),
        ] {
            let answer = viewer.send("POST", path, "", Some(&body));
            assert_eq!(answer.code(), code, "{body}: {}", answer.body);
        }
        // Wrong conditions are an answer, not a refusal; nothing is tried with them.
        let body = json!({ "conditions": [condition("wrong", "secureboot.enabled", "high")] });
        let answer = viewer.send("POST", "/v1/policies/test", "", Some(&body));
        assert_eq!(
            (answer.status, answer.body["problems"][0]["code"].as_str()),
            (200, Some("unknown-variable"))
        );
        let answer = viewer.send("POST", "/v1/policies/check", "", Some(&body));
        assert_eq!(answer.body["problems"][0]["column"], 1);
        let answer = raw::post(world.address(), &world.ca_file(), "/v1/policies/test", None, b"{}");
        assert_eq!(answer.code(), "unauthenticated");
        let shown = viewer.send("GET", "/v1/policies/variables", "", None);
        assert!(shown.body.as_array().unwrap().iter().any(|v| v["name"] == "parameters[].value"));
    }

    /// A profile that is assigned later judges at once, by what is stored; a preview says so before.
    pub fn conditions_count_when_judged_again_and_in_previews(world: &World) {
        let operator = Operator::new(world, "ann");
        let (mut good, mut bad) = (booted(world, "good", "secure-boot"), booted(world, "bad", "cmdline"));
        assert_eq!(good.attest().verdict, Verdict::Healthy);
        assert_eq!(bad.attest().verdict, Verdict::Healthy);
        let document = json!({
            "name": "house", "secure_boot": "required", "conditions": [condition("no-init", NO_INIT, "high")],
        });
        let put = json!({ "document": document.to_string(), "format": "json" });
        assert_eq!(operator.send("PUT", "/v1/profiles/house", "", Some(&put)).status, 200);
        world.state().attest.forget();
        let ask = json!({ "profile": "house", "group": "default" });
        let preview = operator.send("POST", "/v1/reappraise", "", Some(&ask));
        assert_eq!(preview.status, 200, "{}", preview.body);
        let text = preview.body.to_string();
        assert!(text.contains("no-init does not hold"), "{text}");
        assert_eq!(preview.body["counts"]["turn_unhealthy"], 1, "{text}");
        assert_eq!(preview.body["counts"]["stay_healthy"], 1, "{text}");
        assert_eq!(world.vm(&bad.vm_id()).status, VmStatus::Healthy);

        let scope = json!({ "kind": "group", "group": "default", "id": "" });
        let assign = json!({ "scope": scope, "profile": "house" });
        let answer = operator.send("PUT", "/v1/profile-assignments", "", Some(&assign));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(world.vm(&bad.vm_id()).status, VmStatus::Unhealthy);
        assert_eq!(world.vm(&good.vm_id()).status, VmStatus::Healthy);
    }
}
