//! Profiles that operators store and assign: whom they judge, from when on, and who is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    an_assigned_profile_judges_at_once_and_the_most_specific_wins,
    a_new_version_judges_where_the_profile_is_assigned,
    of_two_operators_at_once_one_is_told,
    a_tag_names_what_is_replaced,
    a_profile_that_was_changed_behind_the_service_judges_nothing,
);
on_sqlite!(documents_that_are_no_profiles_are_refused, a_profile_may_forbid_learning);

#[test]
fn groups_of_the_configuration_are_the_default() {
    let world = agent_support::World::sqlite_with(|config| {
        config.measured_only_groups = vec!["default".to_owned()];
    });
    scenario::the_configuration_is_the_default(&world);
}

mod scenario {
    use super::agent_support::boot::Boot;
    use super::agent_support::captured::Captured;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_store::Tx;
    use veriboot_store::api_tokens::Role;
    use veriboot_wire::{Verdict, VmStatus};

    fn group() -> Value {
        json!({ "kind": "group", "group": "default" })
    }

    fn off() -> Boot {
        Boot { secure_boot: false, ..Boot::default() }
    }

    fn assign(scope: &Value, profile: Option<&str>, expected: Option<&str>) -> Value {
        json!({ "scope": scope, "profile": profile, "expected_profile": expected, "comment": "why" })
    }

    fn put(document: &Value, expected: Option<u32>) -> Value {
        json!({ "document": document.to_string(), "format": "json", "expected_version": expected })
    }

    /// `measured-only` under another name.
    fn document(name: &str) -> Value {
        json!({ "name": name, "description": "ours", "secure_boot": "not-required" })
    }

    pub fn an_assigned_profile_judges_at_once_and_the_most_specific_wins(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        guest.boot(&off());
        assert_caught(&guest.attest(), "secure-boot-disabled");
        let id = guest.vm_id();

        let done = operator.put("/v1/profile-assignments", &assign(&group(), Some("measured-only"), None));
        assert_eq!(
            (&done["assignment"]["profile"], &done["assignment"]["assigned_by"]),
            (&json!("measured-only"), &json!("ann"))
        );
        assert_eq!(done["reappraisal"]["turned"], 1, "{done}");
        assert_eq!(world.vm(&id).status, VmStatus::Healthy);
        assert_eq!(operator.get("/v1/vms/db-0")["profile"], "measured-only@built-in");
        // Now it learns, since its own attestation is healthy.
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        assert_eq!(world.vm(&id).baseline.as_deref(), Some("vm/default/db-0@1"));

        let vm = json!({ "kind": "vm", "group": "default", "id": "db-0" });
        let done = operator.put("/v1/profile-assignments", &assign(&vm, Some("secure-boot-required"), None));
        assert_eq!(
            (&done["assignment"]["scope"]["id"], &done["reappraisal"]["turned"]),
            (&json!(id), &json!(1))
        );
        assert_eq!(world.vm(&id).status, VmStatus::Unhealthy);
        let listed = operator.get("/v1/profile-assignments");
        assert_eq!(listed["items"].as_array().unwrap().len(), 2);
        let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|a| &a["vm_name"]).collect();
        assert_eq!(names, [&Value::Null, &json!("db-0")]);
        assert_eq!(operator.get("/v1/profiles/measured-only")["assigned"], json!([group_with_id()]));
        let done = operator.put("/v1/profile-assignments", &assign(&vm, None, Some("secure-boot-required")));
        assert!(done["assignment"].is_null() && done["changed"] == true, "{done}");
        assert_eq!(world.vm(&id).status, VmStatus::Healthy);
        // Once more changes nothing: nobody is judged again, and there is nothing to tell.
        let (audited, asked) = (world.audit().len(), operator.get("/v1/reappraisals"));
        let again = operator.put("/v1/profile-assignments", &assign(&vm, None, None));
        assert!(again["assignment"].is_null() && again["changed"] == false, "{again}");
        assert_eq!((&again["reappraisal"]["vms"], &again["reappraisal"]["id"]), (&json!(0), &json!("")));
        assert_eq!((world.audit().len(), operator.get("/v1/reappraisals")), (audited, asked));

        for (request, status, code) in [
            (assign(&group(), None, None), 409, "version-conflict"),
            (assign(&group(), Some("own-keys"), Some("by-authority")), 409, "version-conflict"),
            (assign(&group(), Some("no-such"), Some("measured-only")), 404, "not-found"),
            (
                assign(&json!({ "kind": "vm", "group": "default", "id": "no" }), Some("measured-only"), None),
                404,
                "not-found",
            ),
        ] {
            let refused = operator.refused("PUT", "/v1/profile-assignments", &request);
            assert_eq!(refused, (status, code.to_owned()), "{request}");
        }
        let viewer = Operator::with_role(world, "vic", Role::Viewer);
        let request = assign(&group(), None, Some("measured-only"));
        assert_eq!(viewer.refused("PUT", "/v1/profile-assignments", &request).1, "forbidden");
        let actions: Vec<_> = world.audit().into_iter().map(|e| e.action).collect();
        let count = |action: &str| actions.iter().filter(|a| *a == action).count();
        assert_eq!((count("profile.assign"), count("profile.unassign")), (2, 1));
    }

    fn group_with_id() -> Value {
        json!({ "kind": "group", "group": "default", "id": "" })
    }

    pub fn a_new_version_judges_where_the_profile_is_assigned(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        guest.boot(&off());
        guest.attest();
        let id = guest.vm_id();
        let made = operator.put("/v1/profiles/ours", &put(&document("ours"), None));
        assert_eq!((&made["profile"]["version"], &made["reappraisals"]), (&json!(1), &json!([])));
        operator.put("/v1/profile-assignments", &assign(&group(), Some("ours"), None));
        assert_eq!(world.vm(&id).status, VmStatus::Healthy);
        assert_eq!(world.vm(&id).profile.as_deref(), Some("ours@1"));

        let mut stricter = document("ours");
        stricter["secure_boot"] = json!("required");
        let conflict = operator.refused("PUT", "/v1/profiles/ours", &put(&stricter, None));
        assert_eq!(conflict, (409, "version-conflict".to_owned()));
        let audited = world.audit().len();
        let same = operator.put("/v1/profiles/ours", &put(&document("ours"), Some(1)));
        assert_eq!((&same["changed"], &same["profile"]["version"]), (&json!(false), &json!(1)), "{same}");
        assert_eq!((&same["reappraisals"], world.audit().len()), (&json!([]), audited));
        let made = operator.put("/v1/profiles/ours", &put(&stricter, Some(1)));
        assert_eq!((&made["changed"], &made["profile"]["version"]), (&json!(true), &json!(2)), "{made}");
        assert_eq!(made["reappraisals"][0]["turned"], 1, "{made}");
        assert_eq!(world.vm(&id).status, VmStatus::Unhealthy);
        assert_eq!(operator.get("/v1/vms/db-0")["profile"], "ours@2");
        // The old judgement is not remembered for the new version, nor the other way round.
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        let shown = operator.get("/v1/profiles/ours?version=1");
        assert_eq!(
            (&shown["document"]["secure_boot"], &shown["current"]),
            (&json!("not-required"), &json!(false))
        );
        let versions = operator.get("/v1/profiles/ours/versions");
        assert_eq!(versions["items"].as_array().unwrap().len(), 2);
        let names: Vec<_> = operator.get("/v1/profiles")["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            names.contains(&"ours".to_owned()) && names.contains(&"by-authority".to_owned()),
            "{names:?}"
        );
        let preview = operator.post("/v1/reappraise", &json!({ "profile": "ours@1", "vm": "db-0" }));
        assert_eq!(preview["counts"]["turn_healthy"], 1);
        assert!(world.audit().iter().any(|e| e.action == "profile.put" && e.detail["replaces"] == 1));
    }

    pub fn of_two_operators_at_once_one_is_told(world: &World) {
        let operator = Operator::new(world, "ann");
        let together = |path: &str, requests: &[Value]| -> Vec<(u16, String)> {
            std::thread::scope(|scope| {
                let threads: Vec<_> = requests
                    .iter()
                    .map(|request| {
                        let operator = &operator;
                        scope.spawn(move || {
                            let answer = operator.send("PUT", path, "", Some(request));
                            (answer.status, answer.code().to_owned())
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        let fair = |answers: Vec<(u16, String)>| {
            assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
            let told = answers.iter().filter(|(_, code)| code == "version-conflict").count();
            assert_eq!(told, answers.len() - 1, "{answers:?}");
        };
        for version in [None, Some(1), Some(2)] {
            let mut next = document("ours");
            next["description"] = json!(format!("after {version:?}"));
            fair(together("/v1/profiles/ours", &vec![put(&next, version); 4]));
        }
        let requests =
            ["ours", "measured-only", "by-authority"].map(|name| assign(&group(), Some(name), None));
        fair(together("/v1/profile-assignments", &requests));
        assert_eq!(operator.get("/v1/profile-assignments")["items"].as_array().unwrap().len(), 1);
    }

    /// Sends requests at once that each name the same tag.
    fn tagged(operator: &Operator, path: &str, tag: &str, requests: &[Value]) -> Vec<(u16, String)> {
        let headers = format!("If-Match: {tag}\r\n");
        std::thread::scope(|scope| {
            let send = |request| {
                let answer = operator.send("PUT", path, &headers, Some(request));
                (answer.status, answer.code().to_owned())
            };
            let threads: Vec<_> = requests.iter().map(|r| scope.spawn(move || send(r))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[track_caller]
    fn one_is_taken(answers: &[(u16, String)]) {
        assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1, "{answers:?}");
        let told =
            answers.iter().filter(|(status, code)| (*status, code.as_str()) == (412, "precondition-failed"));
        assert_eq!(told.count(), answers.len() - 1, "{answers:?}");
    }

    pub fn a_tag_names_what_is_replaced(world: &World) {
        let operator = Operator::new(world, "ann");
        let tag_of = |path: &str| operator.send("GET", path, "", None).etag;
        let next = |text: &str| {
            let mut next = document("ours");
            next["description"] = json!(text);
            put(&next, None)
        };
        // Versions of a profile.
        let made = operator.send("PUT", "/v1/profiles/ours", "", Some(&next("one")));
        assert_eq!((made.status, made.etag.as_deref()), (200, Some("\"1\"")), "{}", made.body);
        let tag = tag_of("/v1/profiles/ours").unwrap();
        let changes = ["two", "zwei", "deux", "due"].map(next);
        one_is_taken(&tagged(&operator, "/v1/profiles/ours", &tag, &changes));
        assert_eq!(tag_of("/v1/profiles/ours").as_deref(), Some("\"2\""));
        assert_eq!(tag_of("/v1/profiles/ours?version=1"), Some(tag));
        assert_eq!(operator.get("/v1/profiles/ours/versions")["items"].as_array().unwrap().len(), 2);
        assert_eq!(tag_of("/v1/profiles/by-authority"), None);
        // What is not there yet has no tag.
        let mut new = document("new");
        new["description"] = json!("x");
        let refused = operator.send("PUT", "/v1/profiles/new", "If-Match: *\r\n", Some(&put(&new, None)));
        assert_eq!((refused.status, refused.code()), (412, "precondition-failed"));

        // Assignments: that there is none is a state, too.
        let status = "/v1/profile-assignments/status?kind=group&group=default";
        assert_eq!(tag_of(status).as_deref(), Some("\"0\""));
        assert_eq!(operator.get(status)["profile"], "secure-boot-required");
        let path = "/v1/profile-assignments";
        let all = ["ours", "measured-only", "by-authority"].map(|name| assign(&group(), Some(name), None));
        one_is_taken(&tagged(&operator, path, "\"0\"", &all));
        let tag = tag_of(status).unwrap();
        let shown = operator.get(status);
        assert_eq!(tag, format!("\"{}\"", shown["etag"].as_str().unwrap()));
        assert_eq!(operator.get(path)["items"][0]["etag"], shown["etag"]);
        assert_eq!((&shown["assignment"]["profile"], &shown["scope"]), (&shown["profile"], &group_with_id()));
        one_is_taken(&tagged(&operator, path, &tag, &all));
        // The same profile for another reason is another state.
        let present = operator.get(status)["profile"].as_str().unwrap().to_owned();
        let tag = tag_of(status).unwrap();
        let mut because = assign(&group(), Some(&present), Some(&present));
        because["comment"] = json!("for another reason");
        operator.put(path, &because);
        assert_ne!(tag_of(status), Some(tag.clone()));
        let [gone] = [assign(&group(), None, None)];
        assert_eq!(tagged(&operator, path, &tag, std::slice::from_ref(&gone))[0].0, 412);
        let tag = tag_of(status).unwrap();
        // A tag that is right does not make a name right.
        let other = assign(&group(), None, Some("no-such"));
        assert_eq!(tagged(&operator, path, &tag, &[other])[0].1, "version-conflict");
        one_is_taken(&tagged(&operator, path, &tag, &[gone]));
        assert_eq!(tag_of(status).as_deref(), Some("\"0\""));
        // A member has no assignment of its own, and is judged all the same.
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        guest.boot(&off());
        guest.attest();
        operator.put(path, &assign(&group(), Some("measured-only"), None));
        let member = operator.get("/v1/profile-assignments/status?kind=vm&id=db-0");
        assert_eq!((&member["profile"], &member["etag"]), (&json!("measured-only"), &json!("0")));
        assert_eq!(member["scope"]["id"], guest.vm_id().as_str());
        let nobody = operator.send("GET", "/v1/profile-assignments/status?kind=vm&id=no", "", None);
        assert_eq!((nobody.status, nobody.code()), (404, "not-found"));
    }

    pub fn a_profile_that_was_changed_behind_the_service_judges_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        operator.put("/v1/profiles/ours", &put(&document("ours"), None));
        operator.put("/v1/profile-assignments", &assign(&group(), Some("ours"), None));
        let mut guest = world.healthy_guest("db-0");
        for sql in [
            "UPDATE profiles SET document = replace(document, 'ours', 'evil'), sha256 = 'x'",
            "UPDATE profiles SET version = 9",
            "UPDATE profiles SET signed_by = '00'",
            // Not the default in its place.
            "DELETE FROM profiles",
        ] {
            world.write(move |tx: &mut dyn Tx| tx.execute(sql, &[]));
            world.state().attest.forget();
            let receipt = guest.attest();
            assert_eq!((receipt.verdict, receipt.status), (Verdict::Unhealthy, VmStatus::Error), "{sql}");
            assert_eq!(receipt.token, None);
        }
    }

    pub fn documents_that_are_no_profiles_are_refused(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut surprise = document("ours");
        surprise["secureboot"] = json!("off");
        let mut open = document("ours");
        open["changes"] = veriboot_wire::ChangeClass::ALL
            .iter()
            .map(|class| (class.to_string(), json!({ "action": "accept", "signed": false })))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut weak = document("ours");
        weak["changes"] = json!({ "initrd-change": { "action": "accept", "signed": false } });
        let mut class = document("ours");
        class["rules"] = json!([{ "component": "kernal", "any": ["*"] }]);
        for (name, document, code) in [
            ("ours", json!({}), "profile-invalid"),
            ("ours", surprise, "profile-invalid"),
            ("ours", document("theirs"), "profile-invalid"),
            ("ours", class, "profile-invalid"),
            ("ours", open, "profile-refused"),
            ("ours", weak.clone(), "document-flawed"),
            ("by-authority", document("by-authority"), "built-in"),
            ("o%20urs", document("o urs"), "invalid-value"),
        ] {
            let (_, said) = operator.refused("PUT", &format!("/v1/profiles/{name}"), &put(&document, None));
            assert_eq!(said, code, "{name} {document}");
        }
        let mut allowed = put(&weak, None);
        allowed["allow_flaws"] = json!(["change-accepted-unsigned"]);
        assert_eq!(
            operator.put("/v1/profiles/ours", &allowed)["flaws"][0]["code"],
            "change-accepted-unsigned"
        );
        let toml = json!({
            "document": "name = \"t\"\nsecure_boot = \"required\"\n", "format": "toml", "expected_version": null,
        });
        assert_eq!(operator.put("/v1/profiles/t", &toml)["profile"]["version"], 1);
        let built_in = operator.get("/v1/profiles/by-authority");
        assert_eq!((&built_in["built_in"], &built_in["version"]), (&json!(true), &Value::Null));
        assert_eq!(operator.send("GET", "/v1/profiles/none", "", None).status, 404);
    }

    pub fn a_profile_may_forbid_learning(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut never = document("never");
        never["learn"] = json!("never");
        // Without a baseline something must say what may run.
        let refused = operator.refused("PUT", "/v1/profiles/never", &put(&never, None));
        assert_eq!(refused.1, "profile-refused");
        // Day one: no baseline, and none is made.
        operator.put("/v1/profile-assignments", &assign(&group(), Some("by-authority"), None));
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        Captured::named("secure-boot").boot(&guest);
        let receipt = guest.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy, "{:#?}", receipt.findings);
        let vm = world.vm(&guest.vm_id());
        assert_eq!((vm.baseline, vm.profile.as_deref()), (None, Some("by-authority@built-in")));
        assert_eq!(operator.get("/v1/baselines?all_versions=true")["items"], json!([]));
        // A key of somebody who is not known fails without a baseline, too.
        Captured::named("mok").boot(&guest);
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
    }

    pub fn the_configuration_is_the_default(world: &World) {
        let operator = Operator::new(world, "ann");
        let mut guest = world.guest("db-0", Some(&world.join_token(None, 1)));
        guest.boot(&off());
        assert_eq!(guest.attest().status, VmStatus::Healthy);
        let listed = operator.get("/v1/profile-assignments");
        assert_eq!(
            (&listed["items"][0]["profile"], &listed["items"][0]["assigned_by"]),
            (&json!("measured-only"), &json!("configuration"))
        );
        // What is assigned wins.
        operator.put("/v1/profile-assignments", &assign(&group(), Some("secure-boot-required"), None));
        assert_eq!(world.vm(&guest.vm_id()).status, VmStatus::Unhealthy);
        let listed = operator.get("/v1/profile-assignments");
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(listed["items"][0]["assigned_by"], "ann");
    }
}
