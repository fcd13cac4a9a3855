//! Documents of baselines: what is refused, said beforehand, exported, imported and compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(what_a_change_would_do_is_said_before_it_is_done);
on_sqlite!(
    documents_that_must_not_judge_are_refused,
    weaknesses_are_allowed_by_name_or_not_at_all,
    what_one_service_exports_another_imports,
    versions_are_compared_and_shown,
);

mod scenario {
    use super::agent_support::baselines::*;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_store::api_tokens::Role;
    use veriboot_wire::VmStatus;

    pub fn what_a_change_would_do_is_said_before_it_is_done(world: &World) {
        let operator = Operator::new(world, "ann");
        let viewer = Operator::with_role(world, "vic", Role::Viewer);
        let [first, second] = members(world);
        let token = world.join_token(Some("web"), 1);
        let mut silent = world.guest("web-2", Some(&token));
        silent.agent.enroll().unwrap();
        let before = (world.attestations(&first.vm_id()).len(), world.audit().len());
        let ask = json!({ "document": learned(&second), "format": "json", "scale_set": "web" });
        let preview = viewer.post("/v1/reappraise", &ask);
        assert_eq!(preview["baseline"], "document");
        assert_eq!(
            preview["counts"],
            json!({ "stay_healthy": 0, "stay_unhealthy": 0, "turn_healthy": 1, "turn_unhealthy": 1,
                    "without_evidence": 1 })
        );
        let vms = preview["vms"].as_array().unwrap();
        assert_eq!(
            (&vms[0]["name"], &vms[0]["before"], &vms[0]["after"]),
            (&json!("web-0"), &json!("healthy"), &json!("unhealthy"))
        );
        let appear = vms[0]["appear"].to_string();
        assert!(appear.contains("component-changed") && appear.contains("kernel"), "{appear}");
        assert!(vms[1]["disappear"].to_string().contains("kernel"), "{}", vms[1]);
        assert_eq!(
            (&vms[0]["judged_by"], &vms[0]["profile"]),
            (&json!("scale-set/default/web@1"), &json!("secure-boot-required@built-in"))
        );
        assert!(vms[2]["without_evidence"].is_string());
        // Nothing was written.
        assert_eq!((world.attestations(&first.vm_id()).len(), world.audit().len()), before);
        assert_eq!(world.vm(&first.vm_id()).status, VmStatus::Healthy);

        // Pages, a stored version, a profile, one VM.
        let page = viewer.post(
            "/v1/reappraise",
            &json!({ "baseline": "scale-set/default/web@1", "group": "default", "limit": 2 }),
        );
        assert_eq!(page["vms"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&page["counts"]["stay_healthy"], &page["counts"]["stay_unhealthy"]),
            (&json!(1), &json!(1))
        );
        let ask = json!({
            "baseline": "scale-set/default/web@1", "group": "default", "limit": 2, "cursor": page["next_cursor"],
        });
        let page = viewer.post("/v1/reappraise", &ask);
        assert_eq!((&page["vms"][0]["name"], &page["next_cursor"]), (&json!("web-2"), &Value::Null));
        let one = viewer.post("/v1/reappraise", &json!({ "profile": "measured-only", "vm": "web-0" }));
        assert_eq!(
            (&one["vms"][0]["after"], &one["vms"][0]["profile"]),
            (&json!("healthy"), &json!("measured-only@built-in"))
        );
        for (ask, status, code) in [
            (json!({ "vm": "web-0" }), 400, "invalid-value"),
            (json!({ "vm": "web-0", "scale_set": "web", "profile": "measured-only" }), 400, "invalid-value"),
            (json!({ "vm": "nobody", "profile": "measured-only" }), 404, "not-found"),
            (json!({ "vm": "web-0", "baseline": "scale-set/default/web@9" }), 404, "not-found"),
            (json!({ "vm": "web-0", "profile": "none" }), 404, "not-found"),
            (json!({ "vm": "web-0", "document": "{}" }), 422, "baseline-malformed"),
            (json!({ "profile": "measured-only", "cursor": "zz" }), 400, "invalid-cursor"),
        ] {
            assert_eq!(viewer.refused("POST", "/v1/reappraise", &ask), (status, code.to_owned()), "{ask}");
        }

        // Done, it is as it was said.
        operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        let statuses = [&first, &second].map(|guest| world.vm(&guest.vm_id()).status);
        assert_eq!(statuses, [VmStatus::Unhealthy, VmStatus::Healthy]);
    }

    pub fn documents_that_must_not_judge_are_refused(world: &World) {
        let operator = Operator::new(world, "ann");
        let guest = world.healthy_guest("db-0");
        let good: Value = serde_json::from_str(&learned(&guest)).unwrap();
        let with = |member: &str, value: Value| {
            let mut document = good.clone();
            document[member] = value;
            document.to_string()
        };
        let empty = json!({ "schema": "veriboot-baseline/2", "bank": "sha256", "boots": [], "rules": [] });
        let open = json!({ "schema": "veriboot-baseline/2", "bank": "sha256", "boots": [], "rules": [], "unlisted": "note" });
        let contradictory = json!([
            { "component": "secure-boot-state", "state": { "secure-boot": "on" } },
            { "component": "secure-boot-state", "state": { "secure-boot": "off" } },
        ]);
        for (document, status, code) in [
            (String::new(), 422, "baseline-malformed"),
            ("not json".to_owned(), 422, "baseline-malformed"),
            (with("schema", json!("veriboot-baseline/3")), 422, "baseline-schema-unknown"),
            (with("surprise", json!(1)), 422, "baseline-malformed"),
            (good.to_string().replacen('{', r#"{"bank":"sha256","#, 1), 422, "baseline-malformed"),
            (with("rules", json!([{ "component": "kernal", "any": ["*"] }])), 422, "baseline-unknown-class"),
            (with("rules", contradictory), 422, "baseline-contradictory"),
            (empty.to_string(), 422, "baseline-empty"),
            (open.to_string(), 422, "baseline-accepts-everything"),
        ] {
            let request = apply(&scale_set("web"), &document, None);
            let refused = operator.refused("POST", "/v1/baselines", &request);
            assert_eq!(refused, (status, code.to_owned()), "{document:.200}");
        }
        let toml = "schema = \"veriboot-baseline/2\"\nbank = \"sha256\"\n[[rules]]\ncomponent = \"kernal\"\nany = [\"*\"]\n";
        let mut request = apply(&scale_set("web"), toml, None);
        request["format"] = json!("toml");
        assert_eq!(
            operator.refused("POST", "/v1/baselines", &request),
            (422, "baseline-unknown-class".to_owned())
        );
        for (scope, status, code) in [
            (json!({ "kind": "scale-set", "group": "default", "id": "" }), 400, "invalid-value"),
            (json!({ "kind": "scale-set", "group": "../x", "id": "web" }), 400, "invalid-value"),
            (json!({ "kind": "group", "group": "default", "id": "web" }), 400, "invalid-value"),
            (json!({ "kind": "vm", "group": "default", "id": "nobody" }), 404, "not-found"),
            (json!({ "kind": "planet", "group": "default", "id": "web" }), 400, "invalid-body"),
        ] {
            let request = apply(&scope, &good.to_string(), None);
            assert_eq!(
                operator.refused("POST", "/v1/baselines", &request),
                (status, code.to_owned()),
                "{scope}"
            );
        }
        let viewer = Operator::with_role(world, "vic", Role::Viewer);
        let request = apply(&scale_set("web"), &good.to_string(), None);
        assert_eq!(viewer.refused("POST", "/v1/baselines", &request).1, "forbidden");
        assert_eq!(operator.get("/v1/baselines?all_versions=true")["items"].as_array().unwrap().len(), 1);
        // A document that is larger than other bodies may be is read.
        let mut large = request.clone();
        large["document"] = json!(format!("{}{}", " ".repeat(2 << 20), good));
        assert_eq!(operator.post("/v1/baselines", &large)["baseline"]["version"], 1);
    }

    pub fn weaknesses_are_allowed_by_name_or_not_at_all(world: &World) {
        let operator = Operator::new(world, "ann");
        let guest = world.healthy_guest("db-0");
        let mut document: Value = serde_json::from_str(&learned(&guest)).unwrap();
        let boots = document["boots"].as_array_mut().unwrap();
        let twice = boots[0].clone();
        boots.push(twice);
        let mut request = apply(&scale_set("web"), &document.to_string(), None);
        let answer = operator.send("POST", "/v1/baselines", "", Some(&request));
        assert_eq!((answer.status, answer.code()), (422, "document-flawed"));
        let told = answer.body["error"].to_string();
        assert!(told.contains("boot-twice") && told.contains("boots[1]"), "{told}");
        request["allow_flaws"] = json!(["no-effect"]);
        assert_eq!(operator.refused("POST", "/v1/baselines", &request).1, "document-flawed");
        request["allow_flaws"] = json!(["boot-twice"]);
        let changed = operator.post("/v1/baselines", &request);
        assert_eq!(changed["flaws"][0]["code"], "boot-twice");
        let entry = world.audit().into_iter().find(|e| e.action == "baseline.apply").unwrap();
        assert_eq!(entry.detail["allowed_flaws"], json!(["boot-twice"]));
        // What must not judge is not for anybody to allow.
        request["document"] = json!(r#"{"schema":"veriboot-baseline/2","bank":"sha256","unlisted":"note"}"#);
        request["allow_flaws"] = json!(["baseline-accepts-everything"]);
        assert_eq!(operator.refused("POST", "/v1/baselines", &request).1, "baseline-accepts-everything");
    }

    pub fn what_one_service_exports_another_imports(world: &World) {
        let operator = Operator::new(world, "ann");
        let guest = world.healthy_guest("db-0");
        let listed = operator.get("/v1/baselines")["items"][0].clone();
        let path = format!("/v1/baselines/{}/export", listed["id"].as_str().unwrap());
        let envelope = operator.get(&path);
        assert_eq!(envelope["payloadType"], "application/vnd.veriboot.baseline+json");
        let keys = operator.get("/v1/baseline-keys");
        assert_eq!((&keys[0]["id"], &keys[0]["own"]), (&listed["signed_by"], &json!(true)));
        assert_eq!(envelope["signatures"][0]["keyid"], keys[0]["id"]);
        let bare = operator.get(&format!("{path}?format=json"));
        assert_eq!(bare["schema"], "veriboot-baseline/2");
        assert_eq!(operator.send("GET", &format!("{path}?format=xml"), "", None).code(), "invalid-query");

        // One's own signature is believed.
        let import = |envelope: &Value, expected: Option<u32>| json!({ "scope": scale_set("web"), "envelope": envelope.to_string(), "expected_version": expected });
        let changed = operator.post("/v1/baselines/import", &import(&envelope, None));
        assert_eq!(changed["baseline"]["origin"], "imported");
        assert_eq!(changed["baseline"]["sha256"], listed["sha256"]);
        let entry = world.audit().into_iter().find(|e| e.action == "baseline.import").unwrap();
        assert_eq!(entry.detail["signed_by"], keys[0]["id"]);

        let edited = |member: &str, value: Value| {
            let mut envelope = envelope.clone();
            envelope[member] = value;
            operator.refused("POST", "/v1/baselines/import", &import(&envelope, Some(1)))
        };
        assert_eq!(edited("signatures", json!([])), (422, "unsigned".to_owned()));
        assert_eq!(edited("payload", json!("e30=")), (422, "signature-invalid".to_owned()));
        assert_eq!(edited("payloadType", json!("text/plain")), (422, "envelope-malformed".to_owned()));
        assert_eq!(
            operator.refused("POST", "/v1/baselines/import", &import(&bare, Some(1))),
            (422, "envelope-malformed".to_owned())
        );
        assert_eq!(
            operator.refused("POST", "/v1/baselines/import", &import(&envelope, None)),
            (409, "version-conflict".to_owned())
        );

        // Another service does not know the key, until it is told.
        let stranger = World::sqlite();
        let there = Operator::new(&stranger, "bob");
        assert_eq!(
            there.refused("POST", "/v1/baselines/import", &import(&envelope, None)),
            (422, "signed-by-unknown-key".to_owned())
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("partner.pem");
        std::fs::write(&file, keys[0]["pem"].as_str().unwrap()).unwrap();
        let trusting = World::sqlite_with(|config| config.baseline_trusted_keys = vec![file.clone()]);
        let there = Operator::new(&trusting, "bob");
        let known = there.get("/v1/baseline-keys");
        assert_eq!((&known[1]["id"], &known[1]["own"]), (&keys[0]["id"], &json!(false)));
        let token = trusting.join_token(Some("web"), 1);
        there.post("/v1/baselines/import", &import(&envelope, None));
        let mut same = trusting.guest("web-0", Some(&token));
        assert_eq!(same.attest().status, VmStatus::Healthy);
        assert_eq!(trusting.vm(&same.vm_id()).baseline.as_deref(), Some("scale-set/default/web@1"));
        same.boot(&other());
        assert_caught(&same.attest(), "component-changed");
        // A trusted key imports; it does not store: a version is believed only when this service stored it.
        let key_id = keys[0]["id"].as_str().unwrap().to_owned();
        trusting
            .write(move |tx| tx.execute("UPDATE baselines SET signed_by = $1", &[key_id.as_str().into()]));
        trusting.state().attest.forget();
        assert_eq!(same.attest().status, VmStatus::Error);
        drop(guest);
    }

    pub fn versions_are_compared_and_shown(world: &World) {
        let operator = Operator::new(world, "ann");
        let [_, second] = members(world);
        let changed = operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        let id = changed["baseline"]["id"].as_str().unwrap();
        let diff = operator.get(&format!("/v1/baselines/{id}/diff?against=scale-set%2Fdefault%2Fweb@1"));
        assert_eq!(
            (&diff["from"], &diff["to"]),
            (&json!("scale-set/default/web@1"), &json!("scale-set/default/web@2"))
        );
        assert!(diff["changes"].to_string().contains("kernel"), "{diff}");
        assert_eq!(operator.get(&format!("/v1/baselines/{id}/diff")), diff, "against the one before");
        let same = operator.get(&format!("/v1/baselines/{id}/diff?against={id}"));
        assert_eq!(same["changes"], json!([]));
        let none = operator.send("GET", &format!("/v1/baselines/{id}/diff?against=no"), "", None);
        assert_eq!(none.status, 404);
        let of_scope = operator.get("/v1/baselines?scope_kind=scale-set&scope_group=default&scope_id=web");
        assert_eq!(of_scope["items"].as_array().unwrap().len(), 1);
        assert_eq!(operator.get("/v1/baselines?scope_kind=image")["items"], json!([]));
        // TOML in and out says the same.
        let toml = raw::get_text_as(
            world.address(),
            &world.ca_file(),
            &format!("/v1/baselines/{id}/export?format=toml"),
            operator.token(),
        );
        let mut request = apply(&scale_set("web"), &toml, Some(2));
        request["format"] = json!("toml");
        let again = operator.post("/v1/baselines", &request);
        assert_eq!((&again["baseline"], &again["changed"]), (&changed["baseline"], &json!(false)));
    }
}
