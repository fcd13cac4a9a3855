//! The inventory over the API: exports of every format, matched to agents with real (software) TPMs, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agent_support;

on_both!(
    exports_of_every_format_are_synced_twice,
    an_agent_is_matched_by_its_endorsement_key_and_contradicted,
    a_contradiction_is_told_once_and_so_is_its_end,
    items_are_linked_by_hand,
);
on_sqlite!(
    what_would_hide_a_fleet_is_asked_for,
    sources_are_changed_and_retired,
    mistakes_are_told_with_their_place
);

#[test]
fn a_folder_of_the_configuration_is_read_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    for name in ["secure.xml", "several.xml"] {
        std::fs::copy(scenario::samples().join("libvirt").join(name), path.join(name)).unwrap();
    }
    let setting = format!("lab=libvirt:{}", path.display());
    let world =
        agent_support::World::sqlite_with(move |config| config.inventory.sources = vec![setting.clone()]);
    scenario::a_configured_folder(&world, &path);
}

mod scenario {
    use std::path::{Path, PathBuf};

    use super::agent_support::boot::Boot;
    use super::agent_support::operator::Operator;
    use super::agent_support::raw::{self, Answer};
    use super::agent_support::*;
    use serde_json::{Value, json};

    pub fn samples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../inventory/tests/samples")
    }

    fn sample(name: &str) -> Vec<u8> {
        std::fs::read(samples().join(name)).unwrap()
    }

    /// Posts a document as it is.
    fn post(world: &World, operator: &Operator, source: &str, query: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST /v1/inventory/sources/{source}/sync{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            operator.token(),
            body.len()
        );
        raw::exchange(world.address(), &world.ca_file(), &head, body)
    }

    #[track_caller]
    fn sync(world: &World, operator: &Operator, source: &str, body: &[u8]) -> Value {
        let made = format!("?exported_at={}", world.clock.now());
        let answer = post(world, operator, source, &made, body);
        assert_eq!(answer.status, 200, "{source}: {}", answer.body);
        answer.body
    }

    fn counts(synced: &Value) -> [u64; 5] {
        ["added", "changed", "gone", "returned", "unchanged"].map(|name| synced[name].as_u64().unwrap())
    }

    fn fleet(vms: &Value) -> Vec<u8> {
        serde_json::to_vec(&json!({ "format": "veriboot-inventory/1", "vms": vms })).unwrap()
    }

    fn names(list: &Value) -> Vec<&str> {
        list["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect()
    }

    pub fn exports_of_every_format_are_synced_twice(world: &World) {
        let ann = Operator::new(world, "ann");
        let all = [
            ("file", "fleet.toml", 3),
            ("hv1", "libvirt/several.xml", 5),
            ("azure", "az-vm.json", 3),
            ("azure-sets", "az-vmss.json", 0),
            ("azure-api", "az-vmss-instances.json", 2),
            ("google", "gcloud.json", 3),
            ("amazon", "aws-ec2.json", 3),
            ("proxmox", "proxmox.json", 4),
        ];
        for (source, name, items) in all {
            let dry = post(world, &ann, source, "?dry_run=true", &sample(name));
            assert_eq!((dry.status, counts(&dry.body)), (200, [items, 0, 0, 0, 0]), "{name}");
            assert_eq!(counts(&sync(world, &ann, source, &sample(name))), [items, 0, 0, 0, 0], "{name}");
            assert_eq!(counts(&sync(world, &ann, source, &sample(name))), [0, 0, 0, 0, items], "{name}");
        }
        assert_eq!(ann.get("/v1/inventory/items")["items"].as_array().unwrap().len(), 23);
        assert_eq!(ann.get("/v1/inventory/sources")["items"].as_array().unwrap().len(), 8);
        let of = |query: &str| ann.get(&format!("/v1/inventory/items?{query}"));
        assert_eq!(names(&of("platform=azure&power=stopped")), ["vault-0"]);
        assert_eq!(names(&of("security_type=confidential&platform=gcp")), ["ledger-0"]);
        assert_eq!(names(&of("scale_set=queue")), ["queue-0"]);
        assert_eq!(names(&of("group=shop-rg&secure_boot=off")), ["api_4", "vault-0"]);
        // Only the page that is asked for.
        let first = of("limit=10");
        assert_eq!(first["items"].as_array().unwrap().len(), 10);
        let rest = of(&format!("limit=1000&cursor={}", first["next_cursor"].as_str().unwrap()));
        assert_eq!(rest["items"].as_array().unwrap().len(), 13);

        // A new export: one stopped, one is gone, and is there again in the next.
        let stopped = String::from_utf8(sample("gcloud.json")).unwrap().replacen("RUNNING", "TERMINATED", 1);
        let synced = sync(world, &ann, "google", stopped.as_bytes());
        assert_eq!(counts(&synced), [0, 1, 0, 0, 2]);
        assert_eq!(
            synced["changes"][0]["differences"][0],
            json!({ "field": "power", "from": "running", "to": "stopped" })
        );
        let mut two: Vec<Value> = serde_json::from_str(&stopped).unwrap();
        let cache = two.remove(0);
        assert_eq!(counts(&sync(world, &ann, "google", &serde_json::to_vec(&two).unwrap())), [0, 0, 1, 0, 2]);
        assert_eq!(names(&of("source=google&gone=true")), ["cache-x1y2"]);
        let part =
            post(world, &ann, "google", "?complete=false", &serde_json::to_vec(&json!([cache])).unwrap());
        assert_eq!(counts(&part.body), [0, 0, 0, 1, 0], "{}", part.body);
        let changes = ann.get("/v1/inventory/changes?source=google");
        let kinds: Vec<_> =
            changes["items"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["returned", "gone", "changed", "added", "added", "added"]);

        // What happened is in the audit log and among the events; a sync that changed nothing is not.
        let synced = world.audit().iter().filter(|e| e.action == "inventory.sync").count();
        assert_eq!(synced, 7 + 3);
        let events = ann.get("/v1/events?format=json&kind=inventory.synced&limit=100");
        assert_eq!(events["items"].as_array().unwrap().len(), 10);
        let viewer = Operator::with_role(world, "vic", veriboot_store::api_tokens::Role::Viewer);
        assert_eq!(post(world, &viewer, "google", "", b"[]").status, 403);
    }

    pub fn an_agent_is_matched_by_its_endorsement_key_and_contradicted(world: &World) {
        let ann = Operator::new(world, "ann");
        let guest = world.healthy_guest("web-a");
        let vm = world.vm(&guest.vm_id());
        let unlisted = ann.get("/v1/inventory/unlisted");
        assert_eq!(names(&unlisted), ["web-a"]);
        let with = |power: &str, secure_boot: &str| {
            fleet(&json!([
                { "name": "renamed", "group": "default", "power": power, "secure_boot": secure_boot, "vtpm": "off",
                  "ek_sha256": vm.ek_sha256.to_uppercase() },
                { "name": "alone", "group": "lab", "secure_boot": "on", "vtpm": "on" },
            ]))
        };
        let synced = sync(world, &ann, "file", &with("running", "on"));
        assert_eq!(synced["matched"], 1);
        assert_eq!(names(&ann.get("/v1/inventory/items?matched=true")), ["renamed"]);
        assert_eq!(names(&ann.get("/v1/inventory/items?matched=false")), ["alone"]);
        assert_eq!(ann.get("/v1/inventory/unlisted")["items"], json!([]));

        // Beside each other on the page of the VM, and the vTPM is a contradiction.
        let page = ann.get(&format!("/v1/vms/{}", vm.id));
        let item = &page["inventory"]["items"][0];
        assert_eq!(
            (item["name"].as_str(), item["matched_by"].as_str()),
            (Some("renamed"), Some("verified-identity"))
        );
        let codes = |item: &Value| -> Vec<String> {
            item["disagreements"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d["code"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(codes(item), ["inventory-vtpm-differs"]);
        sync(world, &ann, "file", &with("running", "off"));
        let rows = ann.get("/v1/inventory/items?disagrees=true");
        assert_eq!(names(&rows), ["renamed"]);
        assert_eq!(codes(&rows["items"][0]), ["inventory-secure-boot-differs", "inventory-vtpm-differs"]);

        // A second source that says something else is shown beside the first; neither is merged into the other.
        let other =
            fleet(&json!([{ "name": "web-a", "power": "stopped", "vtpm": "on", "ek_sha256": vm.ek_sha256 }]));
        sync(world, &ann, "hypervisor", &other);
        let page = ann.get(&format!("/v1/vms/{}", vm.id));
        let items = page["inventory"]["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        assert!(
            items.iter().all(|item| codes(item).iter().any(|code| code == "inventory-sources-disagree")),
            "{items:?}"
        );
        let absent = |world: &World| {
            let id = vm.id.clone();
            world.read(move |tx| veriboot_store::inventory::absent_since(tx, &id))
        };
        assert_eq!(absent(world), None, "one of them says that it runs");
        sync(world, &ann, "file", &with("stopped", "on"));
        assert!(absent(world).is_some(), "both say that it is stopped");

        // Its record goes; what the sources say stays, and it is found again when it enrols again.
        let mut guest = guest;
        let path = format!("/v1/vms/{}", vm.id);
        let shown = ann.send("GET", &path, "", None);
        let tag = shown.etag.unwrap();
        assert_eq!(shown.body["etag"], *tag.trim_matches('"'));
        let late = ann.send("DELETE", &path, "If-Match: \"stale-0000\"\r\n", None);
        assert_eq!((late.status, late.code()), (412, "precondition-failed"));
        let csv =
            raw::get_text_as(world.address(), &world.ca_file(), "/v1/vms.csv?sort=enrolled", ann.token());
        assert!(csv.starts_with("id,name,group,") && csv.contains(",web-a,default,"), "{csv}");
        let changed = ann.get("/v1/inventory/items?all=true&sort=changed");
        let times: Vec<_> = changed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["changed_at"].as_str().unwrap())
            .collect();
        assert!(times.len() == 3 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
        assert_eq!(ann.send("DELETE", &path, &format!("If-Match: {tag}\r\n"), None).status, 204);
        assert_eq!(ann.get("/v1/inventory/items?matched=true")["items"], json!([]));
        guest.lose_state();
        let token = world.join_token(None, 1);
        let mut again = world.guest_with(guest.tpm, "web-a", Some(&token));
        again.boot(&Boot::default());
        again.attest();
        assert_eq!(ann.get("/v1/inventory/items?matched=true")["items"].as_array().unwrap().len(), 2);
    }

    pub fn a_contradiction_is_told_once_and_so_is_its_end(world: &World) {
        let ann = Operator::new(world, "ann");
        let mut guest = world.healthy_guest("web-a");
        let vm = world.vm(&guest.vm_id());
        let listed = |secure_boot: &str, vtpm: &str| {
            let row = json!({ "name": "web-a", "power": "running", "secure_boot": secure_boot, "vtpm": vtpm,
                              "ek_sha256": vm.ek_sha256 });
            sync(world, &ann, "file", &fleet(&json!([row])));
        };
        let told = || -> Vec<(String, String, String)> {
            let events = ann.get("/v1/events?format=json&kind=inventory.contradicted,inventory.agrees");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let codes = |event: &Value| {
                event["data"]["codes"].as_array().unwrap().iter().map(&text).collect::<Vec<_>>().join(",")
            };
            let mut all: Vec<_> = events["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| {
                    (
                        event["sequence"].as_u64(),
                        (text(&event["kind"]), text(&event["severity"]), codes(event)),
                    )
                })
                .collect();
            all.sort();
            all.into_iter().map(|(_, event)| event).collect()
        };
        let event = |kind: &str, severity: &str, codes: &str| {
            (format!("inventory.{kind}"), severity.to_owned(), codes.to_owned())
        };
        let metric = |code: &str| -> u64 {
            let page = raw::get_text_as(world.address(), &world.ca_file(), "/metrics", ann.token());
            let line = format!("veriboot_inventory_contradicted{{code=\"{code}\"}} ");
            page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap()
        };
        listed("on", "on");
        assert_eq!(told(), []);

        // The inventory says something else of it than its evidence.
        listed("on", "off");
        let vtpm = event("contradicted", "medium", "inventory-vtpm-differs");
        assert_eq!(told(), std::slice::from_ref(&vtpm));
        assert_eq!((metric("inventory-vtpm-differs"), metric("inventory-secure-boot-differs")), (1, 0));
        guest.attest();
        listed("on", "off");
        assert_eq!(told().len(), 1, "told once");

        // Its evidence turns: Secure Boot is off now.
        guest.boot(&Boot { secure_boot: false, ..Boot::default() });
        guest.attest();
        let both = event("contradicted", "medium", "inventory-secure-boot-differs,inventory-vtpm-differs");
        assert_eq!(told(), [vtpm.clone(), both.clone()]);

        // The next export is right.
        listed("off", "on");
        assert_eq!(told(), [vtpm, both, event("agrees", "info", "")]);
        assert_eq!(metric("inventory-vtpm-differs"), 0);
        // The sweep finds nothing to tell.
        world.block_on(veriboot_service::posture::drain(world.state())).unwrap();
        assert_eq!(told().len(), 3);
    }

    pub fn items_are_linked_by_hand(world: &World) {
        let ann = Operator::new(world, "ann");
        let one = world.healthy_guest("web-a");
        let token = world.join_token(Some("web"), 1);
        let mut two = world.guest("web-b", Some(&token));
        two.attest();
        let _three = world.healthy_guest("web-c");
        sync(
            world,
            &ann,
            "file",
            &fleet(&json!([
                { "name": "web-a" }, { "name": "web-b", "scale_set": "web" }, { "name": "web-c" }, { "name": "strange" },
                { "name": "other-tpm", "ek_sha256": "ab".repeat(32) },
            ])),
        );
        let list = ann.get("/v1/inventory/items");
        let id = |name: &str| {
            let items = list["items"].as_array().unwrap();
            items.iter().find(|i| i["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
        };
        // Nothing is matched by a name; it is suggested.
        assert_eq!(ann.get("/v1/inventory/items?matched=true")["items"], json!([]));
        let detail = ann.get(&format!("/v1/inventory/items/{}", id("web-a")));
        assert_eq!(detail["suggestions"][0]["vm_id"], one.vm_id());
        let page = ann.get(&format!("/v1/vms/{}", one.vm_id()));
        assert_eq!(page["inventory"]["suggestions"][0]["item_name"], "web-a");
        let link = |name: &str| format!("/v1/inventory/items/{}/link", id(name));
        assert_eq!(
            ann.refused("PUT", &link("other-tpm"), &json!({ "vm": "web-a" })),
            (409, "inventory-link-refused".into())
        );
        assert_eq!(ann.refused("PUT", &link("strange"), &json!({ "vm": "nobody" })).0, 404);
        let stale =
            ann.send("PUT", &link("strange"), "If-Match: \"99\"\r\n", Some(&json!({ "vm": "web-a" })));
        assert_eq!((stale.status, stale.code()), (412, "precondition-failed"));
        let linked = ann.put(&link("strange"), &json!({ "vm": one.vm_id(), "comment": "asked the owner" }));
        assert_eq!((linked["vm_name"].as_str(), linked["linked_by"].as_str()), (Some("web-a"), Some("ann")));
        // One item of a source for one VM.
        assert_eq!(
            ann.refused("PUT", &link("web-a"), &json!({ "vm": one.vm_id() })),
            (409, "inventory-link-refused".into())
        );
        let planned = ann.post("/v1/inventory/links", &json!({ "dry_run": true }));
        assert_eq!(planned["linked"].as_array().unwrap().len(), 1, "{planned}");
        assert_eq!(planned["left"], 1, "a name alone is what any guest can call itself: {planned}");
        let detail = ann.get(&format!("/v1/inventory/items/{}", id("web-c")));
        assert_eq!(detail["suggestions"][0]["by_hand_because"], "only this agrees: name");
        let done = ann.post("/v1/inventory/links", &json!({ "source": "file" }));
        assert_eq!(done["linked"][0]["vm_id"], two.vm_id());
        assert_eq!(ann.post("/v1/inventory/links", &json!({}))["linked"], json!([]));
        assert_eq!(ann.get(&format!("/v1/inventory/items/{}", id("web-b")))["matched_by"], "suggestion");
        // What was taken with others can be confirmed one by one.
        assert_eq!(ann.put(&link("web-b"), &json!({ "vm": two.vm_id() }))["matched_by"], "link");
        assert_eq!(ann.done("DELETE", &link("strange"), None)["vm_id"], Value::Null);
        assert_eq!(ann.refused("DELETE", &link("strange"), &json!({})), (409, "wrong-state".into()));
        let actions: Vec<String> = world.audit().into_iter().map(|e| e.action).collect();
        for (action, times) in [("inventory.link", 3), ("inventory.unlink", 1)] {
            assert_eq!(actions.iter().filter(|a| *a == action).count(), times, "{actions:?}");
        }
    }

    pub fn what_would_hide_a_fleet_is_asked_for(world: &World) {
        let ann = Operator::new(world, "ann");
        let many: Vec<Value> = (0..30).map(|n| json!({ "name": format!("vm-{n:02}") })).collect();
        sync(world, &ann, "file", &fleet(&json!(many)));
        let empty = fleet(&json!([]));
        let answer = post(world, &ann, "file", "", &empty);
        assert_eq!((answer.status, answer.code()), (409, "inventory-shrinks"), "{}", answer.body);
        assert_eq!(ann.get("/v1/inventory/items?limit=1000")["items"].as_array().unwrap().len(), 30);
        // It is at the source, for whom nobody reads the output of the job.
        let source = ann.get("/v1/inventory/sources/file");
        assert!(source["last_error"].as_str().unwrap().contains("30 of 30 VMs"), "{source}");
        // Half of them may go; a partial list makes none go; and it can be asked for.
        assert_eq!(counts(&sync(world, &ann, "file", &fleet(&json!(many[15..])))), [0, 0, 15, 0, 15]);
        assert_eq!(counts(&post(world, &ann, "file", "?complete=false", &empty).body), [0; 5]);
        assert_eq!(counts(&post(world, &ann, "file", "?allow_shrink=true", &empty).body), [0, 0, 15, 0, 0]);
        assert_eq!(ann.get("/v1/inventory/sources/file")["last_error"], Value::Null);
        assert_eq!(ann.get("/v1/inventory/sources/file")["gone"], 30);
    }

    pub fn sources_are_changed_and_retired(world: &World) {
        let ann = Operator::new(world, "ann");
        let put =
            |headers: &str, body: Value| ann.send("PUT", "/v1/inventory/sources/lab", headers, Some(&body));
        assert_eq!(put("", json!({ "group": "mine", "comment": "the lab" })).status, 200);
        sync(world, &ann, "lab", &sample("az-vm.json"));
        assert_eq!(ann.get("/v1/inventory/items?group=mine")["items"].as_array().unwrap().len(), 3);
        assert_eq!(put("If-Match: \"7\"\r\n", json!({})).status, 412);
        // Who means a new one does not replace this one, and who means this one makes no new one.
        let new = put("If-None-Match: *\r\n", json!({}));
        assert_eq!((new.status, new.code()), (412, "precondition-failed"), "{}", new.body);
        assert_eq!(put("If-None-Match: \"1\"\r\n", json!({})).status, 400);
        let typo = ann.send("PUT", "/v1/inventory/sources/lap", "If-Match: *\r\n", Some(&json!({})));
        assert_eq!((typo.status, typo.code()), (412, "precondition-failed"), "{}", typo.body);
        let next = ann.send("PUT", "/v1/inventory/sources/lap", "If-None-Match: *\r\n", Some(&json!({})));
        assert_eq!((next.status, next.etag.as_deref()), (200, Some("\"1\"")), "{}", next.body);
        assert_eq!(ann.send("DELETE", "/v1/inventory/sources/lap", "If-Match: \"2\"\r\n", None).status, 412);
        assert_eq!(ann.send("DELETE", "/v1/inventory/sources/lap", "If-Match: \"1\"\r\n", None).status, 204);
        assert_eq!(ann.get("/v1/inventory/sources/lab")["comment"], "the lab");
        assert_eq!(put("If-Match: \"1\"\r\n", json!({ "group": "a b" })).status, 400);
        assert_eq!(put("If-Match: \"1\"\r\n", json!({ "format": "az-vm" })).status, 200);
        // Its format holds for what is posted without one.
        assert_eq!(counts(&post(world, &ann, "lab", "?complete=false", b"[]").body), [0; 5]);
        let csv = ann.send("GET", "/v1/inventory/items.csv?source=lab", "", None);
        assert_eq!(csv.status, 200);
        assert_eq!(ann.send("DELETE", "/v1/inventory/sources/lab", "", None).status, 204);
        assert_eq!(
            ann.refused("DELETE", "/v1/inventory/sources/lab", &json!({})),
            (409, "inventory-source-retired".into())
        );
        assert_eq!(post(world, &ann, "lab", "", &sample("az-vm.json")).code(), "inventory-source-retired");
        assert_eq!(ann.get("/v1/inventory/sources")["items"], json!([]));
        assert_eq!(ann.get("/v1/inventory/sources?all=true")["items"].as_array().unwrap().len(), 2);
        assert_eq!(ann.get("/v1/inventory/items?source=lab&gone=true")["items"].as_array().unwrap().len(), 3);
        // Used again: its VMs are there again, with their history.
        assert_eq!(put("", json!({})).status, 200);
        assert_eq!(counts(&sync(world, &ann, "lab", &sample("az-vm.json"))), [0, 0, 0, 3, 0]);
        assert_eq!(ann.refused("GET", "/v1/inventory/sources/nowhere", &json!({})).0, 404);
    }

    pub fn mistakes_are_told_with_their_place(world: &World) {
        let ann = Operator::new(world, "ann");
        let text = String::from_utf8(sample("az-vm.json")).unwrap();
        let broken = text.replacen("\"secureBootEnabled\": true", "\"secureBootEnabled\": \"yes\"", 1);
        let answer = post(world, &ann, "azure", "", broken.as_bytes());
        assert_eq!((answer.status, answer.code()), (422, "inventory-element"));
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("[0].securityProfile.uefiSettings.secureBootEnabled (line 14"), "{message}");
        let cut = post(world, &ann, "azure", "", &text.as_bytes()[..text.len() / 2]);
        assert_eq!((cut.status, cut.code()), (422, "inventory-malformed"));
        assert_eq!(post(world, &ann, "azure", "", b"[]").code(), "inventory-format-unknown");
        assert_eq!(post(world, &ann, "azure", "?format=vmware", b"[]").status, 400);
        assert_eq!(post(world, &ann, "a%20b", "", b"[]").code(), "invalid-value");
        let twice = fleet(&json!([{ "name": "a", "key": "k" }, { "name": "b", "key": "k" }]));
        assert_eq!(post(world, &ann, "azure", "", &twice).code(), "inventory-duplicate");
        // Nothing of it made a source or an item.
        assert_eq!(ann.get("/v1/inventory/sources")["items"], json!([]));
    }

    pub fn a_configured_folder(world: &World, folder: &Path) {
        let ann = Operator::new(world, "ann");
        let state = world.state().clone();
        let look = || {
            // The background task of the service itself may have been faster.
            world.block_on(veriboot_service::inventory::read_configured(&state)).unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            loop {
                let source = ann.send("GET", "/v1/inventory/sources/lab", "", None).body;
                if source["last_sync_at"] != Value::Null || std::time::Instant::now() > deadline {
                    return source;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
                world.block_on(veriboot_service::inventory::read_configured(&state)).unwrap();
            }
        };
        let source = look();
        assert_eq!(source["items"], 6, "{source}");
        assert_eq!(source["path"].as_str(), Some(folder.to_str().unwrap()));
        // A file that is broken says so at the source, and takes nothing away.
        std::fs::write(folder.join("broken.xml"), "<domain><name>x</name>").unwrap();
        world.pass_ms(400_000);
        look();
        let source = ann.get("/v1/inventory/sources/lab");
        let error = source["last_error"].as_str().unwrap();
        assert!(error.contains("broken.xml") && error.contains("inventory-malformed"), "{error}");
        assert_eq!(source["items"], 6);
        std::fs::remove_file(folder.join("broken.xml")).unwrap();
        std::fs::remove_file(folder.join("secure.xml")).unwrap();
        world.pass_ms(400_000);
        look();
        let source = ann.get("/v1/inventory/sources/lab");
        assert_eq!(
            (source["items"].as_u64(), source["gone"].as_u64(), &source["last_error"]),
            (Some(5), Some(1), &Value::Null)
        );
    }
}
