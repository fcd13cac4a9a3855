//! The life of alerts over the real service: real agents' evidence in, the operator's API out, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

use agent_support::boot::Boot;
use agent_support::operator::Operator;
use agent_support::{Guest, World, raw};
use serde_json::{Value, json};
use veriboot_service::silence;
use veriboot_wire::{Time, Verdict, VmStatus};

on_both!(
    an_alert_comes_back_as_the_same_one,
    members_that_fail_alike_are_one_incident,
    a_rule_made_ahead_hides_an_update_and_not_an_attack,
    a_rule_that_ends_opens_the_alert_again,
    a_rule_that_ends_tells_of_vms_that_are_still_silent,
    maintenance_keeps_silence_quiet,
    evidence_that_cannot_be_appraised_has_an_alert_of_its_own,
    many_are_changed_at_once,
);

fn count(page: &Value) -> usize {
    page["items"].as_array().unwrap().len()
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Members of the scale set `web` that attested once, healthy.
fn members(world: &World, count: u32) -> Vec<Guest> {
    let token = world.join_token(Some("web"), count);
    (0..count)
        .map(|n| {
            let mut guest = world.guest(&format!("web-{n}"), Some(&token));
            assert_eq!(guest.attest().verdict, Verdict::Healthy);
            guest
        })
        .collect()
}

fn other_kernel() -> Boot {
    Boot { kernel: "vmlinuz-6.1.0-41".into(), ..Boot::default() }
}

fn shell() -> Boot {
    Boot { cmdline: "root=/dev/vda1 ro quiet init=/bin/sh".into(), ..Boot::default() }
}

fn after(world: &World, seconds: i64) -> Time {
    world.clock.now().plus_s(seconds)
}

mod scenario {
    use super::*;

    pub fn an_alert_comes_back_as_the_same_one(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guest = world.healthy_guest("web-0");
        guest.boot(&shell());
        let failed = guest.attest();
        let alert = ann.get("/v1/alerts?open=true")["items"][0].clone();
        let id = alert["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/alerts/{id}");

        // What an operator needs stands in it.
        assert_eq!(alert["kind"], "vm-attestation-failed");
        assert_eq!((&alert["entity"]["kind"], &alert["entity"]["name"]), (&json!("vm"), &json!("web-0")));
        assert!(alert["classes"].as_array().unwrap().contains(&json!("cmdline-change")), "{alert:#}");
        let techniques: Vec<_> =
            alert["techniques"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap()).collect();
        assert_eq!(techniques, ["T1542.003", "T1562"]);
        let steps: Vec<_> = alert["steps"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert!(steps[0].contains("init="), "{steps:#?}");
        assert!(
            steps.iter().any(|s| s.contains("veriboot boot diff")) && steps.iter().all(|s| !s.contains('{'))
        );
        assert_eq!(
            alert["links"]["evidence"],
            format!("/v1/attestations/{}/evidence", failed.attestation_id)
        );
        let diff = ann.get(alert["links"]["diff"].as_str().unwrap());
        assert!(diff["changes"].to_string().contains("init=/bin/sh"), "{diff:#}");
        assert_eq!(ann.get(alert["links"]["boot"].as_str().unwrap())["verdict"], "unhealthy");

        // Decided on an older state: refused. Counting once more is no other state.
        guest.attest();
        ann.post(&format!("{path}/acknowledge"), &json!({}));
        let stale = ann.send("POST", &format!("{path}/resolve"), "If-Match: \"1\"\r\n", Some(&json!({})));
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        let current = ann.get(&path)["revision"].as_u64().unwrap();
        let resolved = ann.send(
            "POST",
            &format!("{path}/resolve"),
            &format!("If-Match: \"{current}\"\r\n"),
            Some(&json!({"comment": "mine"})),
        );
        assert_eq!((resolved.status, &resolved.body["state"]), (200, &json!("resolved")));

        // The cause is still there: the same alert, with its history.
        guest.attest();
        let back = ann.get(&path);
        assert_eq!(
            (&back["state"], &back["reopened"], &back["count"]),
            (&json!("active"), &json!(1), &json!(3))
        );
        assert_eq!(count(&ann.get("/v1/alerts")), 1);
        guest.boot(&Boot::default());
        guest.attest();
        assert_eq!(ann.get(&path)["state"], "resolved");
        guest.boot(&shell());
        guest.attest();
        let back = ann.get(&path);
        assert_eq!((&back["state"], &back["reopened"]), (&json!("active"), &json!(2)));
        let by: Vec<_> = back["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["by"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(by, ["service", "ann", "ann", "service", "service", "service"]);
        // Too late, it is a new one.
        guest.boot(&Boot::default());
        guest.attest();
        world.pass_ms(1000);
        world.clock.step_ms(8 * 86_400_000);
        guest.attest();
        guest.boot(&shell());
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?reason=baseline-deviation")), 2);
        let told = ann.get("/v1/events?format=json&kind=alert.*&limit=1000");
        let kinds: Vec<_> = told["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.iter().filter(|k| *k == "alert.reopened").count(), 2);
        assert_eq!(kinds.iter().filter(|k| *k == "alert.opened").count(), 2, "{kinds:?}");
    }

    pub fn members_that_fail_alike_are_one_incident(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guests = members(world, 3);
        for guest in &mut guests {
            guest.boot(&other_kernel());
            assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        }
        let open = ann.get("/v1/incidents?state=open");
        assert_eq!(count(&open), 1, "{open:#}");
        let incident = &open["items"][0];
        assert_eq!(
            (&incident["members"], &incident["open"], &incident["scale_set"]),
            (&json!(3), &json!(3), &json!("web"))
        );
        let path = format!("/v1/incidents/{}", incident["id"].as_str().unwrap());
        let first = ann.get(&format!("{path}/members?limit=2"));
        let rest = ann.get(&format!("{path}/members?cursor={}", first["next_cursor"].as_str().unwrap()));
        assert_eq!((count(&first), count(&rest)), (2, 1));
        assert_eq!(count(&ann.get(incident["alerts"].as_str().unwrap())), 3);
        // One that fails for another reason is an incident of its own, and told although its alert was open.
        guests[0].boot(&shell());
        guests[0].attest();
        guests[0].attest();
        let changed = ann.get("/v1/events?format=json&kind=alert.changed");
        assert_eq!((count(&changed), &changed["items"][0]["vm_name"]), (1, &json!("web-0")));
        assert_eq!(ann.get(&path)["open"], 2);
        assert_eq!(count(&ann.get("/v1/incidents?state=open")), 2);
        // Who looked before somebody else acted acts on nothing.
        let act = |tag: &str, action: &str| {
            let header = format!("If-Match: {tag}\r\n");
            ann.send("POST", &format!("{path}/{action}"), &header, Some(&json!({})))
        };
        let shown = ann.send("GET", &path, "", None);
        let tag = shown.etag.unwrap();
        assert_eq!(shown.body["etag"], *tag.trim_matches('"'));
        assert_eq!(ann.send("GET", &path, "", None).etag.as_deref(), Some(&*tag));
        assert_eq!(act(&tag, "acknowledge").status, 200);
        let late = act(&tag, "dismiss");
        assert_eq!((late.status, late.code()), (412, "precondition-failed"));
        assert_eq!(ann.get(&path)["open"], 2);
        let csv =
            raw::get_text_as(world.address(), &world.ca_file(), "/v1/incidents.csv?sort=active", ann.token());
        assert!(csv.starts_with("id,state,group,scale_set,") && csv.lines().count() == 3, "{csv}");
        // Acting on it acts on all; it closes with its last alert.
        let done = ann.post(&format!("{path}/acknowledge"), &json!({"comment": "rolling back"}));
        assert_eq!((&done["changed"], &ann.get(&path)["state"]), (&json!(2), &json!("open")));
        for guest in &mut guests[1..] {
            guest.boot(&Boot::default());
            assert_eq!(guest.attest().verdict, Verdict::Healthy);
        }
        let closed = ann.get(&path);
        assert_eq!((&closed["state"], &closed["open"]), (&json!("closed"), &json!(0)));
        assert!(closed["closed_at"].is_string());
        assert_eq!(ann.refused("POST", "/v1/incidents/none/resolve", &json!({})), (404, "not-found".into()));
    }

    pub fn a_rule_made_ahead_hides_an_update_and_not_an_attack(world: &World) {
        let ann = Operator::new(world, "ann");
        let viewer = Operator::with_role(world, "vic", veriboot_store::api_tokens::Role::Viewer);
        let mut guest = members(world, 1).remove(0);
        let matches =
            json!({"classes": ["kernel-update", "cmdline-change"], "scale_set": "web", "group": "default"});
        let only_kernel = json!({"classes": ["kernel-update"], "scale_set": "web", "group": "default"});
        let make = |matches: &Value, more: Value| {
            let mut body = json!({"match": matches, "reason": "roll-out of 6.1.0-41"});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ann.send("POST", "/v1/suppressions", "", Some(&body))
        };
        let in_a_day = json!({"expires_at": after(world, 86_400)});
        // What would hide too much, or for ever, needs a word.
        for (matches, more, status, code) in [
            (json!({}), in_a_day.clone(), 422, "suppression-broad"),
            (json!({"kind": "vm-attestation-failed"}), in_a_day.clone(), 422, "suppression-broad"),
            (json!({"group": "default"}), in_a_day.clone(), 422, "suppression-broad"),
            (json!({"reason": "agent-silent"}), in_a_day.clone(), 422, "suppression-broad"),
            (only_kernel.clone(), json!({}), 400, "invalid-value"),
            (only_kernel.clone(), json!({"expires_at": world.clock.now()}), 400, "invalid-value"),
            (only_kernel.clone(), json!({"expires_at": after(world, 367 * 86_400)}), 400, "invalid-value"),
            (
                only_kernel.clone(),
                json!({"expires_at": after(world, 60), "no_expiry": true}),
                400,
                "invalid-value",
            ),
            (json!({"vm": "nobody"}), in_a_day.clone(), 404, "not-found"),
            (json!({"vm": "web-0", "scale_set": "db"}), in_a_day.clone(), 400, "invalid-value"),
            (json!({"kind": "no-such-type"}), in_a_day.clone(), 400, "invalid-value"),
            (json!({"class": "kernel-update"}), in_a_day.clone(), 400, "invalid-body"),
        ] {
            let answer = make(&matches, more);
            assert_eq!((answer.status, answer.code()), (status, code), "{matches}");
        }
        let body = json!({"match": only_kernel, "reason": "x", "expires_at": after(world, 60)});
        assert_eq!(viewer.refused("POST", "/v1/suppressions", &body), (403, "forbidden".into()));
        let never = make(&only_kernel, json!({"expires_at": after(world, 400 * 86_400)})).body.to_string();
        assert!(never.contains("366 days") && never.contains("no_expiry"), "{never}");
        let made = make(&matches, in_a_day);
        assert_eq!(made.status, 201, "{:#}", made.body);
        let rule = made.body["id"].as_str().unwrap().to_owned();

        // The update is hidden, and still there to see.
        guest.boot(&other_kernel());
        assert_eq!(guest.attest().status, VmStatus::Unhealthy, "hidden is not healthy");
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 0);
        let hidden = ann.get("/v1/alerts?suppressed=true");
        assert_eq!(count(&hidden), 1, "{:#}", ann.get("/v1/alerts"));
        let alert = &hidden["items"][0];
        assert_eq!(
            (&alert["state"], &alert["suppressed_by"], &alert["count"]),
            (&json!("dismissed"), &json!(rule), &json!(2))
        );
        assert_eq!(count(&ann.get("/v1/incidents")), 0);
        assert_eq!(ann.get(&format!("/v1/suppressions/{rule}"))["alerts"], 1);
        let kinds = ann.get("/v1/events?format=json&kind=alert.*")["items"].to_string();
        assert!(kinds.contains("alert.suppressed") && !kinds.contains("alert.opened"));
        // Anything beside what was expected is not hidden.
        guest.boot(&Boot { firmware: "edk2 of somebody else".into(), ..other_kernel() });
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 1);

        // What would a rule have hidden? The one that is too narrow nothing of the second.
        let all = json!({"match": {"scale_set": "web", "group": "default"}});
        let seen = viewer.post("/v1/suppressions/simulate", &all);
        assert_eq!((&seen["matched"], &seen["open"]), (&json!(2), &json!(1)));
        let seen = viewer.post("/v1/suppressions/simulate", &json!({"match": matches}));
        assert_eq!((&seen["matched"], &seen["attacks"]), (&json!(1), &json!(0)));
        assert!(seen["by_class"].to_string().contains("kernel-update"));
        assert_eq!(viewer.post("/v1/suppressions/simulate", &json!({}))["broad"], "everything");
    }

    pub fn a_rule_that_ends_opens_the_alert_again(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guest = world.healthy_guest("db-0");
        let make = |expires_s: i64| {
            let body = json!({"match": {"vm": "db-0"}, "reason": "lab", "comment": "LAB-7", "expires_at": after(world, expires_s)});
            let made = ann.send("POST", "/v1/suppressions", "", Some(&body));
            assert_eq!(made.status, 201, "{:#}", made.body);
            made.body["id"].as_str().unwrap().to_owned()
        };
        // An alert that is open is dismissed by the next failing attestation.
        guest.boot(&shell());
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 1);
        let rule = make(86_400);
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 0);
        assert_eq!(count(&ann.get(&format!("/v1/alerts?suppressed_by={rule}"))), 1);
        let path = format!("/v1/suppressions/{rule}/end");
        let other = ann.send("POST", &path, "If-Match: \"2\"\r\n", Some(&json!({})));
        assert_eq!((other.status, other.code()), (412, "precondition-failed"));
        assert_eq!(ann.get(&format!("/v1/suppressions/{rule}"))["state"], "active");
        let ended = ann.send("POST", &path, "If-Match: \"1\"\r\n", Some(&json!({"comment": "done"})));
        assert_eq!(ended.status, 200, "{:#}", ended.body);
        let ended = ended.body;
        assert_eq!((&ended["state"], &ended["ended_by"]), (&json!("ended"), &json!("ann")));
        assert_eq!(ended["revision"], 2);
        let stale = ann.send("POST", &path, "If-Match: \"1\"\r\n", Some(&json!({})));
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        assert_eq!(ann.post(&path, &json!({})), ended, "ending twice is answered like ending once");
        guest.attest();
        let open = ann.get("/v1/alerts?open=true");
        assert_eq!((count(&open), &open["items"][0]["suppressed_by"]), (1, &Value::Null));
        assert_eq!(count(&ann.get("/v1/alerts")), 1, "the same alert");

        // One that expires does the same, and is shown as expired.
        let second = make(3600);
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 0);
        world.pass_ms(3_600_000);
        let listed = ann.get("/v1/suppressions?state=expired");
        assert_eq!(ids(&listed), [second]);
        assert!(listed["items"][0]["warnings"][0].as_str().unwrap().starts_with("expired"));
        guest.attest();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 1);
        let actions = ann.get("/v1/audit?limit=100")["items"].to_string();
        assert!(actions.contains("suppression.create") && actions.contains("suppression.end"));
    }

    pub fn a_rule_that_ends_tells_of_vms_that_are_still_silent(world: &World) {
        let ann = Operator::new(world, "ann");
        let guest = members(world, 1).remove(0);
        let mut other = world.healthy_guest("db-0");
        let rule = |expires_s: i64| {
            let matches = json!({"reason": "agent-silent", "group": "default"});
            let body = json!({"match": matches, "reason": "lab", "expires_at": after(world, expires_s)});
            ann.send("POST", "/v1/suppressions", "", Some(&body)).body["id"].as_str().unwrap().to_owned()
        };
        let first = rule(86_400);
        world.pass_ms(1_000_000);
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 2);
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 0);
        assert_eq!(count(&ann.get("/v1/alerts?suppressed=true")), 2);
        // One of them comes back by itself; the other is still silent when the rule ends, while a second one holds.
        assert_eq!(other.attest().verdict, Verdict::Healthy);
        let second = rule(200);
        ann.post(&format!("/v1/suppressions/{first}/end"), &json!({}));
        world.block_on(silence::sweep(world.state())).unwrap();
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 0, "another rule hides it");
        assert_eq!(count(&ann.get(&format!("/v1/alerts?suppressed_by={second}"))), 1);
        world.pass_ms(201_000);
        world.block_on(silence::sweep(world.state())).unwrap();
        let open = ann.get("/v1/alerts?open=true");
        assert_eq!((count(&open), &open["items"][0]["vm_id"]), (1, &json!(guest.vm_id())));
        assert_eq!(open["items"][0]["reopened"], 1);
        world.block_on(silence::sweep(world.state())).unwrap();
        assert_eq!(
            ann.get("/v1/alerts?open=true")["items"][0]["count"],
            open["items"][0]["count"],
            "told once"
        );
    }

    pub fn maintenance_keeps_silence_quiet(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guest = members(world, 1).remove(0);
        let id = guest.vm_id();
        let declare = |body: Value| ann.send("POST", "/v1/maintenance", "", Some(&body));
        let set = json!({"kind": "scale-set", "group": "default", "id": "web"});
        for body in [
            json!({"scope": set, "until": world.clock.now(), "comment": "x"}),
            json!({"scope": set, "until": after(world, 40 * 86_400), "comment": "x"}),
            json!({"scope": set, "until": after(world, 60), "comment": " "}),
            json!({"scope": {"kind": "image", "group": "default", "id": "x"}, "until": after(world, 60), "comment": "x"}),
        ] {
            assert_eq!(declare(body.clone()).status, 400, "{body}");
        }
        let made = declare(json!({"scope": set, "until": after(world, 7200), "comment": "new disks"}));
        assert_eq!((made.status, &made.body["state"]), (201, &json!("active")));
        assert_eq!(made.body["vms"], 1);
        // One for VMs to come; called off, it keeps its plan.
        let (from, until) = (json!(after(world, 60)), json!(after(world, 90_000)));
        let to_come = json!({"kind": "scale-set", "group": "lab", "id": "web"});
        let ahead = json!({"scope": to_come, "from": from, "until": until, "comment": "x"});
        let ahead = declare(ahead).body;
        assert_eq!((&ahead["vms"], &ahead["state"]), (&json!(0), &json!("planned")));
        let path = format!("/v1/maintenance/{}", ahead["id"].as_str().unwrap());
        let other = ann.send("POST", &format!("{path}/end"), "If-Match: \"2\"\r\n", None);
        assert_eq!((other.status, other.code()), (412, "precondition-failed"));
        let over = ann.send("POST", &format!("{path}/end"), "If-Match: \"1\"\r\n", None);
        assert_eq!((over.status, &over.body["state"]), (200, &json!("over")));
        assert_eq!((&over.body["from"], &over.body["until"]), (&from, &until));
        assert!(over.body["ended_at"].as_str() < from.as_str() && over.body["ended_at"].is_string());
        assert_eq!(ann.get(&path), over.body);
        let stale = ann.send("POST", &format!("{path}/end"), "If-Match: \"1\"\r\n", None);
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        let window = made.body["id"].as_str().unwrap();

        // Silent for longer than it may, and nobody is called.
        for _ in 0..4 {
            world.pass_ms(1_500_000);
            assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0);
        }
        assert!(world.open_alerts(&id).is_empty());
        assert_ne!(world.vm(&id).status, VmStatus::Stale);
        // A failed attestation is an alert all the same.
        guest.boot(&shell());
        assert_eq!(guest.attest().verdict, Verdict::Unhealthy);
        assert_eq!(world.open_alerts(&id).len(), 1);
        guest.boot(&Boot::default());
        guest.attest();
        // Ended early, silence counts from then.
        let ended = ann.post(&format!("/v1/maintenance/{window}/end"), &json!({}));
        assert_eq!((&ended["state"], &ended["ended_by"]), (&json!("over"), &json!("ann")));
        assert_eq!(count(&ann.get("/v1/maintenance?state=active")), 0);
        assert_eq!(count(&ann.get("/v1/maintenance?state=over&group=default")), 1);
        assert_eq!(count(&ann.get("/v1/maintenance?state=over")), 2);
        world.pass_ms(890_000);
        assert_eq!(world.block_on(silence::sweep(world.state())).unwrap(), 0, "not before one silence limit");
        world.pass_ms(3_600_000);
        world.block_on(silence::sweep(world.state())).unwrap();
        world.pass_ms(1_800_000);
        world.block_on(silence::sweep(world.state())).unwrap();
        assert_eq!(world.vm(&id).status, VmStatus::Stale);
        let open = ann.get("/v1/alerts?open=true&reason=agent-silent");
        assert_eq!(count(&open), 1);
        assert!(open["items"][0]["techniques"].to_string().contains("T1562"));
    }

    pub fn evidence_that_cannot_be_appraised_has_an_alert_of_its_own(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guest = world.healthy_guest("web-0");
        let id = guest.vm_id();
        // A baseline that was changed behind the service's back judges nothing.
        let baseline = world.vm(&id).baseline.expect("learned");
        world.write(move |tx| {
            let name = baseline.split('@').next().unwrap_or_default().to_owned();
            tx.execute("UPDATE baselines SET document = '{' WHERE name = $1", &[name.as_str().into()])
                .map(drop)
        });
        world.state().attest.forget();
        let receipt = guest.attest();
        assert_eq!(receipt.status, VmStatus::Error);
        let open = ann.get("/v1/alerts?open=true&kind=vm-appraisal-failed");
        assert_eq!(count(&open), 1, "{:#}", ann.get("/v1/alerts"));
        let alert = &open["items"][0];
        assert_eq!((&alert["reason"], &alert["severity"]), (&json!("appraisal-failed"), &json!("high")));
        assert_eq!(count(&ann.get("/v1/alerts?severity=high")), 1);
        // Appraised again, whatever the verdict: it is over.
        let accepted = ann.send(
            "POST",
            "/v1/baselines/accept",
            "",
            Some(&json!({"vm": id, "boot_id": world.boots(&id)[0].id})),
        );
        assert!(matches!(accepted.status, 200 | 409), "{:#}", accepted.body);
        world.write(|tx| tx.execute("UPDATE baselines SET is_current = 0", &[]).map(drop));
        guest.boot(&Boot { secure_boot: false, ..Boot::default() });
        assert_eq!(guest.attest().status, VmStatus::Unhealthy);
        assert_eq!(count(&ann.get("/v1/alerts?open=true&kind=vm-appraisal-failed")), 0);
        assert_eq!(count(&ann.get("/v1/alerts?open=true")), 1);
    }

    pub fn many_are_changed_at_once(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guests = members(world, 3);
        for guest in &mut guests {
            guest.boot(&shell());
            guest.attest();
        }
        let bulk = "/v1/alerts/bulk";
        let filter = json!({"scale_set": "web", "class": "cmdline-change"});
        for (body, code) in [
            (json!({"action": "resolve"}), "invalid-value"),
            (json!({"action": "resolve", "filter": {}}), "invalid-value"),
            (json!({"action": "resolve", "filter": filter}), "invalid-value"),
            (json!({"action": "resolve", "ids": []}), "invalid-value"),
            (json!({"action": "explode", "ids": ["x"]}), "invalid-body"),
            (json!({"action": "resolve", "filter": {"colour": "red"}}), "invalid-body"),
        ] {
            assert_eq!(ann.refused("POST", bulk, &body).1, code, "{body}");
        }
        let dry = ann.post(bulk, &json!({"action": "dismiss", "filter": filter, "dry_run": true}));
        assert_eq!(
            (&dry["matched"], &dry["changed"], dry["sample"].as_array().unwrap().len()),
            (&json!(3), &json!(0), 3)
        );
        let wrong = json!({"action": "dismiss", "filter": filter, "expected": 2});
        assert_eq!(ann.refused("POST", bulk, &wrong), (409, "count-differs".into()));
        let open = ids(&ann.get("/v1/alerts?open=true&sort=count"));
        let named =
            ann.post(bulk, &json!({"action": "acknowledge", "ids": [open[0], "nobody"], "comment": "on it"}));
        assert_eq!((&named["changed"], &named["skipped"]), (&json!(1), &json!(["nobody"])));
        assert_eq!(count(&ann.get("/v1/alerts?state=in-progress")), 1);
        let done =
            ann.post(bulk, &json!({"action": "dismiss", "filter": filter, "expected": 3, "comment": "lab"}));
        assert_eq!((&done["changed"], count(&ann.get("/v1/alerts?open=true"))), (&json!(3), 0));
        assert_eq!(count(&ann.get("/v1/incidents?state=open")), 0);
        let audit = ann.get("/v1/audit?limit=1")["items"][0].clone();
        assert_eq!(
            (&audit["action"], &audit["detail"]["count"], &audit["actor"]),
            (&json!("alert.dismiss"), &json!(3), &json!("ann"))
        );

        // The export has the same rows.
        let csv = ann.send("GET", "/v1/alerts.csv?sort=newest&limit=2", "", None);
        assert_eq!(csv.status, 200);
    }
}
