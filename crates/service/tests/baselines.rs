//! Baselines as operators change them: real agents on real (software) TPMs, over HTTPS, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    an_applied_baseline_turns_its_vms_at_once,
    a_more_specific_baseline_wins_and_is_retired,
    of_two_operators_at_once_one_is_told,
    a_version_that_was_changed_behind_the_service_judges_nothing,
    what_a_change_would_do_is_said_before_it_is_done,
    work_that_a_replica_left_is_done_by_another,
    a_document_that_judges_already_changes_nothing,
);
on_sqlite!(
    documents_that_must_not_judge_are_refused,
    weaknesses_are_allowed_by_name_or_not_at_all,
    what_one_service_exports_another_imports,
    an_image_is_a_scope_of_its_own,
    versions_are_compared_and_shown,
);

#[test]
fn a_document_that_is_learned_further_is_applied_to_stay() {
    let world = agent_support::World::sqlite_with(|config| config.learn_boots = 3);
    scenario::applied_to_stay(&world);
}

mod scenario {
    use super::agent_support::boot::Boot;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_appraisal::Baseline;
    use veriboot_eventlog::HashAlg;
    use veriboot_service::reappraisals;
    use veriboot_store::api_tokens::Role;
    use veriboot_store::{Tx, join_tokens};
    use veriboot_wire::{Verdict, VmStatus};

    fn other() -> Boot {
        Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() }
    }

    /// The document that this guest's present log teaches.
    fn learned(guest: &Guest) -> String {
        let report = veriboot_appraisal::examine(&guest.log());
        Baseline::learn(&report, HashAlg::Sha256).unwrap().to_json().unwrap()
    }

    fn scale_set(name: &str) -> Value {
        json!({ "kind": "scale-set", "group": "default", "id": name })
    }

    fn apply(scope: &Value, document: &str, expected: Option<u32>) -> Value {
        json!({ "scope": scope, "document": document, "format": "json", "expected_version": expected, "comment": "why" })
    }

    /// Runs SQL behind the service's back.
    fn meddle(world: &World, sql: &'static str) {
        world.write(move |tx: &mut dyn Tx| tx.execute(sql, &[]));
    }

    /// Two members of one scale set; the first one's boot is the baseline, the second boots something else.
    fn members(world: &World) -> [Guest; 2] {
        let token = world.join_token(Some("web"), 2);
        let mut first = world.guest("web-0", Some(&token));
        assert_eq!(first.attest().status, VmStatus::Healthy);
        let mut second = world.guest("web-1", Some(&token));
        second.boot(&other());
        assert_eq!(second.attest().status, VmStatus::Unhealthy);
        [first, second]
    }

    pub fn an_applied_baseline_turns_its_vms_at_once(world: &World) {
        let operator = Operator::new(world, "ann");
        let [first, second] = members(world);
        let changed = operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        let baseline = &changed["baseline"];
        assert_eq!(baseline["name"], "scale-set/default/web");
        assert_eq!((&baseline["version"], &baseline["origin"]), (&json!(2), &json!("applied")));
        assert_eq!((&baseline["created_by"], &baseline["comment"]), (&json!("ann"), &json!("why")));
        // Nobody waited for an interval.
        assert_eq!(world.vm(&first.vm_id()).status, VmStatus::Unhealthy);
        assert_eq!(world.vm(&second.vm_id()).status, VmStatus::Healthy);
        let done = &changed["reappraisal"];
        assert_eq!(
            (&done["vms"], &done["done"], &done["turned"]),
            (&json!(2), &json!(2), &json!(2)),
            "{done}"
        );
        assert!(done["finished_at"].is_string());
        let shown = operator.get(&format!("/v1/reappraisals/{}", done["id"].as_str().unwrap()));
        assert_eq!(shown, *done);
        assert_eq!(operator.get("/v1/reappraisals")["items"][0], *done);
        let metrics = raw::get_text_as(world.address(), &world.ca_file(), "/metrics", operator.token());
        for line in [
            "veriboot_baselines{scope=\"scale-set\"} 1",
            "veriboot_baselines{scope=\"vm\"} 0",
            "veriboot_reappraisals_pending 0",
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
        assert_eq!(world.open_alerts(&first.vm_id()).len(), 1);
        assert!(world.open_alerts(&second.vm_id()).is_empty());

        let vm = operator.get("/v1/vms/web-1");
        assert_eq!(
            (&vm["baseline"], &vm["baseline_scope"]),
            (&json!("scale-set/default/web@2"), &json!("scale-set"))
        );
        assert_eq!(vm["profile"], "secure-boot-required@built-in");
        let last = &operator.get("/v1/vms/web-1/attestations?limit=1")["items"][0];
        assert_eq!((&last["baseline_scope"], &last["profile"]), (&vm["baseline_scope"], &vm["profile"]));
        let entry = world.audit().into_iter().find(|e| e.action == "baseline.apply").unwrap();
        assert_eq!((entry.actor.as_str(), &entry.detail["replaces"]), ("ann", &json!(1)));
        assert_eq!(entry.detail["sha256"], baseline["sha256"]);
    }

    /// The current version of the scale set, as it leaves the service.
    fn exported(operator: &Operator) -> String {
        let version = operator.get("/v1/baselines")["items"][0]["id"].as_str().unwrap().to_owned();
        operator.get(&format!("/v1/baselines/{version}/export?format=json")).to_string()
    }

    pub fn a_document_that_judges_already_changes_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        let [_, second] = members(world);
        let document = exported(&operator);
        let audited = world.audit().len();
        let attested = world.attestations(&second.vm_id()).len();
        // The same in other words: order of members and white space are not content.
        let request = apply(&scale_set("web"), &format!("  {document}\n"), Some(1));
        let same = operator.post("/v1/baselines", &request);
        assert_eq!((&same["changed"], &same["baseline"]["version"]), (&json!(false), &json!(1)), "{same}");
        assert!(same["reappraisal"].is_null(), "{same}");
        assert_eq!(world.audit().len(), audited);
        assert_eq!(world.attestations(&second.vm_id()).len(), attested);
        assert_eq!(operator.get("/v1/baselines?all_versions=true")["items"].as_array().unwrap().len(), 1);
        // Who looked at another version is told all the same.
        let request = apply(&scale_set("web"), &document, None);
        assert_eq!(operator.refused("POST", "/v1/baselines", &request).1, "version-conflict");
        let next = operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        assert_eq!((&next["changed"], &next["baseline"]["version"]), (&json!(true), &json!(2)));
        // Back to what was before is a change.
        let back = operator.post("/v1/baselines", &apply(&scale_set("web"), &document, Some(2)));
        assert_eq!((&back["changed"], &back["baseline"]["version"]), (&json!(true), &json!(3)));
    }

    /// Boots to come are learned into the present version, and not into one that an operator applied.
    pub fn applied_to_stay(world: &World) {
        let operator = Operator::new(world, "ann");
        members(world);
        let document = exported(&operator);
        let fixed = operator.post("/v1/baselines", &apply(&scale_set("web"), &document, Some(1)));
        assert_eq!((&fixed["changed"], &fixed["baseline"]["origin"]), (&json!(true), &json!("applied")));
        let same = operator.post("/v1/baselines", &apply(&scale_set("web"), &document, Some(2)));
        assert_eq!((&same["changed"], &same["baseline"]["version"]), (&json!(false), &json!(2)));
    }

    pub fn a_more_specific_baseline_wins_and_is_retired(world: &World) {
        let operator = Operator::new(world, "ann");
        let [_, second] = members(world);
        let id = second.vm_id();
        let scope = json!({ "kind": "vm", "group": "default", "id": "web-1" });
        let changed = operator.post("/v1/baselines", &apply(&scope, &learned(&second), None));
        let version = changed["baseline"]["id"].as_str().unwrap().to_owned();
        assert_eq!(changed["baseline"]["name"], "vm/default/web-1");
        assert_eq!(changed["baseline"]["scope"]["id"], id.as_str());
        assert_eq!(world.vm(&id).status, VmStatus::Healthy);
        assert_eq!(operator.get("/v1/vms/web-1")["baseline_scope"], "vm");

        let viewer = Operator::with_role(world, "vic", Role::Viewer);
        let path = format!("/v1/baselines/{version}");
        assert_eq!(viewer.send("DELETE", &path, "", None).code(), "forbidden");
        let stale = operator.send("DELETE", &path, "If-Match: \"2\"\r\n", None);
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        let retired = operator.done("DELETE", &format!("{path}?comment=gone"), None);
        assert!(retired["baseline"].is_null() && retired["reappraisal"]["turned"] == 1, "{retired}");
        assert_eq!(world.vm(&id).status, VmStatus::Unhealthy);
        assert_eq!(operator.get("/v1/vms/web-1")["baseline"], "scale-set/default/web@1");
        let again = operator.send("DELETE", &path, "", None);
        assert_eq!((again.status, again.code()), (409, "version-conflict"));
        // What does not judge any more is in no state that a tag could name.
        let again = operator.send("DELETE", &path, "If-Match: \"1\"\r\n", None);
        assert_eq!((again.status, again.code()), (412, "precondition-failed"));
        // The name goes on where it was.
        let changed = operator.post("/v1/baselines", &apply(&scope, &learned(&second), None));
        assert_eq!(changed["baseline"]["version"], 2);
        assert!(world.audit().iter().any(|e| e.action == "baseline.retire" && e.detail["comment"] == "gone"));
    }

    pub fn of_two_operators_at_once_one_is_told(world: &World) {
        let operator = Operator::new(world, "ann");
        let [first, second] = members(world);
        let document = learned(&second);
        for round in 0..4_u32 {
            // Another one each time: what is there already would be no change.
            let next = if round % 2 == 0 { document.clone() } else { learned(&first) };
            let request = apply(&scale_set("web"), &next, Some(round + 1));
            let statuses: Vec<(u16, String)> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let answer = operator.send("POST", "/v1/baselines", "", Some(&request));
                            (answer.status, answer.code().to_owned())
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let taken = statuses.iter().filter(|(status, _)| *status == 200).count();
            assert_eq!(taken, 1, "{statuses:?}");
            let told = statuses.iter().filter(|(_, code)| code == "version-conflict").count();
            assert_eq!(told, 3, "{statuses:?}");
        }
        let all = operator.get("/v1/baselines?name=scale-set/default/web&all_versions=true");
        let versions: Vec<_> =
            all["items"].as_array().unwrap().iter().map(|b| b["version"].clone()).collect();
        assert_eq!(versions, [5, 4, 3, 2, 1].map(Value::from));
        let none = apply(&scale_set("web"), &document, None);
        assert_eq!(operator.refused("POST", "/v1/baselines", &none), (409, "version-conflict".to_owned()));
        // If-Match takes the place of expected_version, and must not say something else.
        let stale = operator.send("POST", "/v1/baselines", "If-Match: \"4\"\r\n", Some(&none));
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        let answer = operator.send("POST", "/v1/baselines", "If-Match: \"5\"\r\n", Some(&none));
        assert_eq!((answer.status, &answer.body["baseline"]["version"]), (200, &json!(6)), "{}", answer.body);
        assert_eq!(answer.etag.as_deref(), Some("\"6\""));
        let shown = format!("/v1/baselines/{}", answer.body["baseline"]["id"].as_str().unwrap());
        assert_eq!(operator.send("GET", &shown, "", None).etag.as_deref(), Some("\"6\""));
        let both = apply(&scale_set("web"), &document, Some(5));
        let answer = operator.send("POST", "/v1/baselines", "If-Match: \"6\"\r\n", Some(&both));
        assert_eq!((answer.status, answer.code()), (400, "invalid-value"));
        let answer = operator.send("POST", "/v1/baselines", "If-Match: W/6\r\n", Some(&none));
        assert_eq!((answer.status, answer.code()), (400, "invalid-value"));
    }

    /// What somebody writes into the database is never what judges, and never as if there were nothing.
    pub fn a_version_that_was_changed_behind_the_service_judges_nothing(world: &World) {
        let operator = Operator::new(world, "ann");
        for (number, sql) in [
            // A document with its digest, without a signature.
            "UPDATE baselines SET document = replace(document, 'kernel', 'kernek'), sha256 = 'x'",
            "UPDATE baselines SET signature = NULL",
            "UPDATE baselines SET signed_by = NULL",
            "UPDATE baselines SET signed_by = '00'",
            // The signature of the same document under another name or number.
            "UPDATE baselines SET version = 7",
            "UPDATE baselines SET created_by = 'somebody'",
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("db-{number}");
            let mut guest = world.healthy_guest(&name);
            meddle(world, sql);
            world.state().attest.forget();
            let receipt = guest.attest();
            assert_eq!((receipt.verdict, receipt.status), (Verdict::Unhealthy, VmStatus::Error), "{sql}");
            assert_eq!(failing(&receipt), ["appraisal-failed"], "{sql}");
            assert_eq!(receipt.token, None);
            let version = operator.get("/v1/baselines")["items"][0]["id"].as_str().unwrap().to_owned();
            let export = operator.send("GET", &format!("/v1/baselines/{version}/export"), "", None);
            assert!(export.status == 500 || export.status == 503, "{sql}: {}", export.body);
            // Nothing was learned in its place.
            assert_eq!(operator.get("/v1/baselines?all_versions=true")["items"].as_array().unwrap().len(), 1);
            // An operator ends it.
            let vm = json!({ "kind": "vm", "group": "default", "id": name });
            let expected = operator.get("/v1/baselines")["items"][0]["version"].clone();
            let again = json!({
                "scope": vm, "document": learned(&guest), "format": "json", "expected_version": expected,
            });
            let answer = operator.send("POST", "/v1/baselines", "", Some(&again));
            assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
            assert_eq!(guest.attest().status, VmStatus::Healthy, "{sql}");
            meddle(world, "DELETE FROM baselines");
        }
    }

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

    pub fn work_that_a_replica_left_is_done_by_another(world: &World) {
        let operator = Operator::new(world, "ann");
        let [first, second] = members(world);
        operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        // As if the replica had died in the middle: one VM was looked at, and its claim still stands.
        meddle(
            world,
            "UPDATE reappraisals SET finished_at = NULL, done = 1, after_name = 'web-0', always = 1",
        );
        let hour = world.clock.now().plus_s(3600).unix_ms();
        world.write(move |tx| {
            tx.execute("UPDATE reappraisals SET claimed_until = $1, claimed_by = 'dead'", &[hour.into()])
        });
        let count = |guest: &Guest| world.attestations(&guest.vm_id()).len();
        let before = (count(&first), count(&second));
        world.block_on(reappraisals::drain(world.state())).unwrap();
        assert_eq!((count(&first), count(&second)), before, "somebody else has it");
        world.clock.step_ms(3_601_000);
        world.block_on(reappraisals::drain(world.state())).unwrap();
        assert_eq!((count(&first), count(&second)), (before.0, before.1 + 1), "from where it stopped");
        let last = &operator.get("/v1/reappraisals")["items"][0];
        assert!(last["finished_at"].is_string() && last["done"] == 2, "{last}");
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

    pub fn an_image_is_a_scope_of_its_own(world: &World) {
        let operator = Operator::new(world, "ann");
        let made =
            operator.send("POST", "/v1/join-tokens", "", Some(&json!({ "image": "debian-12", "uses": 3 })));
        assert_eq!((made.status, &made.body["image"]), (201, &json!("debian-12")));
        let token = made.body["secret"].as_str().unwrap().to_owned();
        let bad = json!({ "image": "debian 12" });
        assert_eq!(operator.refused("POST", "/v1/join-tokens", &bad), (400, "invalid-value".to_owned()));
        let row = world.join_token_row(&token);
        assert_eq!(row.image.as_deref(), Some("debian-12"));
        world.read(move |tx| join_tokens::by_id(tx, &row.id)).unwrap();

        let mut first = world.guest("app-0", Some(&token));
        let image = json!({ "kind": "image", "group": "default", "id": "debian-12" });
        let group = json!({ "kind": "group", "group": "default" });
        let document = learned(&first);
        first.boot(&other());
        operator.post("/v1/baselines", &apply(&group, &learned(&first), None));
        let changed = operator.post("/v1/baselines", &apply(&image, &document, None));
        assert_eq!(changed["baseline"]["name"], "image/default/debian-12");
        assert_eq!(changed["reappraisal"]["vms"], 0);
        // The image wins over the group.
        first.boot(&Boot::default());
        assert_eq!(first.attest().status, VmStatus::Healthy);
        let vm = operator.get("/v1/vms/app-0");
        assert_eq!((&vm["image"], &vm["baseline_scope"]), (&json!("debian-12"), &json!("image")));
        assert_eq!(operator.get("/v1/vms?image=debian-12")["items"].as_array().unwrap().len(), 1);
        assert_eq!(operator.get("/v1/vms?image=other")["items"], json!([]));
        // A VM of no image is the group's.
        let mut plain = world.guest("app-1", Some(&world.join_token(None, 1)));
        plain.boot(&other());
        assert_eq!(plain.attest().status, VmStatus::Healthy);
        assert_eq!(operator.get("/v1/vms/app-1")["baseline"], "group/default@1");
        // Retired, the group's judges the image's VMs too.
        let id = changed["baseline"]["id"].as_str().unwrap();
        let retired = operator.done("DELETE", &format!("/v1/baselines/{id}"), None);
        assert_eq!(
            (&retired["reappraisal"]["vms"], &retired["reappraisal"]["turned"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(world.vm(&first.vm_id()).status, VmStatus::Unhealthy);
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
