//! Baselines as operators change them: real agents on real (software) TPMs, over HTTPS, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    an_applied_baseline_turns_its_vms_at_once,
    a_more_specific_baseline_wins_and_is_retired,
    what_accepting_comes_to_is_asked_first,
    of_two_operators_at_once_one_is_told,
    a_version_that_was_changed_behind_the_service_judges_nothing,
    work_that_a_replica_left_is_done_by_another,
    a_document_that_judges_already_changes_nothing,
);
on_sqlite!(an_image_is_a_scope_of_its_own);

#[test]
fn a_document_that_is_learned_further_is_applied_to_stay() {
    let world = agent_support::World::sqlite_with(|config| config.learn_boots = 3);
    scenario::applied_to_stay(&world);
}

mod scenario {
    use super::agent_support::baselines::*;
    use super::agent_support::boot::Boot;
    use super::agent_support::operator::Operator;
    use super::agent_support::*;
    use serde_json::{Value, json};
    use veriboot_service::reappraisals;
    use veriboot_store::api_tokens::Role;
    use veriboot_store::join_tokens;
    use veriboot_wire::{Verdict, VmStatus};

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

    pub fn what_accepting_comes_to_is_asked_first(world: &World) {
        let (operator, viewer) =
            (Operator::new(world, "ann"), Operator::with_role(world, "vic", Role::Viewer));
        let [first, second] = members(world);
        let audited = world.audit().len();
        let ask = |vm: &str| viewer.post("/v1/baselines/accept/preview", &json!({ "vm": vm }));
        let asked = ask("web-1");
        assert_eq!((&asked["vm"], &asked["vm_name"]), (&json!(second.vm_id()), &json!("web-1")), "{asked}");
        assert_eq!((&asked["scope"]["kind"], &asked["vms"]), (&json!("scale-set"), &json!(2)));
        assert_eq!(asked["etag"], "scale-set/default/web@1");
        assert!(asked["refused"].is_null() && asked["components"].as_u64() > Some(10), "{asked}");
        assert!(!asked["differences"].as_array().unwrap().is_empty(), "{asked}");
        assert_eq!(ask("web-0")["differences"], json!([]));
        // A boot that is not the last one would be refused, and nothing is said about it.
        let other = json!({ "vm": "web-1", "boot_id": ask("web-0")["boot_id"] });
        let refused = viewer.post("/v1/baselines/accept/preview", &other);
        assert_eq!((&refused["refused_code"], &refused["differences"]), (&json!("boot-changed"), &json!([])));
        assert_eq!(world.audit().len(), audited);
        assert_eq!(world.vm(&second.vm_id()).status, VmStatus::Unhealthy);

        // None judged it when it was looked at: one does by now.
        let body = json!({ "vm": "web-1", "boot_id": asked["boot_id"] });
        let late = operator.send("POST", "/v1/baselines/accept", "If-None-Match: *\r\n", Some(&body));
        assert_eq!((late.status, late.code()), (412, "precondition-failed"));

        // The baseline that was looked at has a name: another one of the same version is another state.
        let accept = |tag: &str| {
            let body = json!({ "vm": "web-1", "boot_id": asked["boot_id"] });
            operator.send("POST", "/v1/baselines/accept", &format!("If-Match: \"{tag}\"\r\n"), Some(&body))
        };
        for tag in ["1", "vm/default/web-1@1", "scale-set/default/web@2"] {
            let refused = accept(tag);
            assert_eq!((refused.status, refused.code()), (412, "precondition-failed"), "{tag}");
        }
        let done = accept(asked["etag"].as_str().unwrap());
        assert_eq!(
            (done.status, done.etag.as_deref()),
            (200, Some("\"scale-set/default/web@2\"")),
            "{}",
            done.body
        );
        assert_eq!(done.body["components"], asked["components"]);
        assert_eq!(world.vm(&second.vm_id()).status, VmStatus::Healthy);
        assert_eq!(world.vm(&first.vm_id()).status, VmStatus::Unhealthy);
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
        let tag = "\"scale-set/default/web@6\"";
        assert_eq!(answer.etag.as_deref(), Some(tag));
        let shown = format!("/v1/baselines/{}", answer.body["baseline"]["id"].as_str().unwrap());
        assert_eq!(operator.send("GET", &shown, "", None).etag.as_deref(), Some(tag));
        let another =
            operator.send("POST", "/v1/baselines", "If-Match: \"vm/default/web@6\"\r\n", Some(&none));
        assert_eq!((another.status, another.code()), (412, "precondition-failed"));
        let same = operator.send("POST", "/v1/baselines", &format!("If-Match: {tag}\r\n"), Some(&none));
        assert_eq!((same.status, &same.body["changed"]), (200, &json!(false)), "{}", same.body);
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

    pub fn work_that_a_replica_left_is_done_by_another(world: &World) {
        let operator = Operator::new(world, "ann");
        let [first, second] = members(world);
        operator.post("/v1/baselines", &apply(&scale_set("web"), &learned(&second), Some(1)));
        // As if the replica had died in the middle: one VM was looked at, and its claim still stands.
        let looked_at = first.vm_id();
        world.write(move |tx| {
            let sql = "UPDATE reappraisals SET finished_at = NULL, done = 1, after_id = $1, always = 1";
            tx.execute(sql, &[(&looked_at).into()])
        });
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
}
