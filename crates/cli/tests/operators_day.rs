//! docs/operations.md, run as it stands (page/mod.rs): three clouds and a folder of libvirt, agents on some machines, a real
//! Alertmanager and a webhook.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

#[path = "../../service/tests/agent_support/mod.rs"]
mod agent_support;
#[path = "../../service/tests/notify_support/mod.rs"]
mod notify_support;
mod page;

use std::fs;

use agent_support::World;
use agent_support::operator::Operator;
use notify_support::alertmanager::Alertmanager;
use notify_support::{OK, Receiver, until};
use page::{Stage, exports};
use serde_json::{Value, json};
use veriboot_service::silence;
use veriboot_store::api_tokens::Role;

/// The only one of a list.
fn only(operator: &Operator, path: &str) -> String {
    let list = operator.get(path);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list:#}");
    items[0]["id"].as_str().unwrap().to_owned()
}

/// Members of the scale set `web` are of the group `shop`.
fn join_token(operator: &Operator, name: &str) -> String {
    let asked = match name.starts_with("web") {
        true => json!({ "group": "shop", "scale_set": "web", "uses": 1, "expires_in_s": 3600 }),
        false => json!({ "uses": 1, "expires_in_s": 3600 }),
    };
    let made = operator.send("POST", "/v1/join-tokens", "", Some(&asked));
    assert!(matches!(made.status, 200 | 201), "{}", made.body);
    made.body["secret"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned()
}

/// What the webhook was told of a kind of event about a VM.
fn told(chat: &Receiver, kind: &str, vm: &str) -> Option<Value> {
    let all = chat.requests();
    let mut events = all.iter().map(|request| request.json());
    events.find(|event| event["type"] == format!("veriboot.{kind}") && event["data"]["vm_name"] == vm)
}

#[test]
fn the_page_is_true() {
    let world = World::sqlite();
    let operator = Operator::with_role(&world, "ann", Role::Admin);
    let folder = tempfile::tempdir().unwrap();
    let pager = Alertmanager::start(&folder.path().join("alertmanager"));
    let chat = Receiver::start(OK);
    let (pager_url, chat_url) = (pager.url(), chat.url());
    let mut stage = Stage {
        world: &world,
        operator: &operator,
        guests: Default::default(),
        join_token: Box::new(|name| join_token(&operator, name)),
        words: vec![
            ("ALERTMANAGER", Box::new(move |_| pager_url.clone())),
            ("WEBHOOK", Box::new(move |_| chat_url.clone())),
            ("PROPOSAL", Box::new(|operator| only(operator, "/v1/proposals?state=open"))),
            ("ALERT", Box::new(|operator| only(operator, "/v1/alerts?open=true"))),
        ],
        folder,
    };
    let own = |stage: &mut Stage<'_>, word: &str, rest: &str| match (word, rest.split_once(' ')) {
        ("exports", _) => exports::write(stage.folder.path()),
        ("recommendations", _) => {
            let found = operator.get("/v1/recommendations");
            let counts = found
                .as_array()
                .or(found["items"].as_array())
                .unwrap()
                .iter()
                .map(|r| format!("{}={}", r["check"].as_str().unwrap(), r["unhealthy"]));
            let mut counts: Vec<String> = counts.collect();
            let mut wanted: Vec<&str> = rest.split(' ').collect();
            counts.sort();
            wanted.sort_unstable();
            assert_eq!(counts, wanted);
        }
        ("told", Some((kind, vm))) => {
            let event = until(|| told(&chat, kind, vm), || format!("{kind} of {vm}"));
            assert_eq!(event["specversion"], "1.0");
        }
        ("not", Some(("firing", vm))) => {
            until(|| pager.firing(vm).is_none().then_some(()), || format!("an end of the alert of {vm}"));
        }
        ("not", Some((_, rest))) => {
            let (kind, vm) = rest.split_once(' ').unwrap();
            // Everything that waited is delivered by now, in its order.
            until(
                || {
                    let waiting = operator.get("/v1/notification-deliveries?state=waiting");
                    waiting["items"].as_array().unwrap().is_empty().then_some(())
                },
                || "an empty outbox".into(),
            );
            assert_eq!(told(&chat, kind, vm), None);
        }
        ("firing", _) => {
            let alert = until(|| pager.firing(rest), || format!("an alert of {rest}"));
            assert_eq!(alert["labels"]["group"], "shop");
        }
        // Machines say nothing until their time is over, and the others attest: of which is an alert raised?
        ("silent", _) => {
            let (silent, missed) = rest.split_once(": ").unwrap();
            let silent: Vec<&str> = silent.split(' ').collect();
            stage.world.pass_ms(905_000);
            let others = stage.guests.iter_mut().filter(|(name, _)| !silent.contains(&name.as_str()));
            others.for_each(|(_, guest)| drop(guest.attest()));
            stage.world.block_on(silence::sweep(stage.world.state())).unwrap();
            let alerts = operator.get("/v1/alerts?open=true&reason=agent-silent");
            let of = |alert: &Value| alert["vm_name"].as_str().unwrap().to_owned();
            let found: Vec<String> = alerts["items"].as_array().unwrap().iter().map(of).collect();
            assert_eq!(found.join(" "), missed);
        }
        ("scale-in", _) => {
            let mut left = exports::az_scale_set();
            left.as_array_mut().unwrap().retain(|member| member["osProfile"]["computerName"] != rest);
            fs::write(stage.folder.path().join("az-web.json"), left.to_string()).unwrap();
        }
        (other, _) => panic!("no direction {other:?}"),
    };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let commands = stage.play(&fs::read_to_string(page).unwrap(), own);
    assert!(commands > 25, "the page has {commands} commands only");
}
