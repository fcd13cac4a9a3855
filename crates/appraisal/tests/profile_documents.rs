//! Profiles as documents: what is read, what is refused and why, and that docs/schema/profile.schema.json says the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use veriboot_appraisal::{MAX_CONDITIONS, MAX_RULES, Profile};
use veriboot_eventlog::ComponentKind;
use veriboot_wire::{ChangeAction, ChangeClass, Severity};

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A document that says everything that can be said.
fn everything() -> Value {
    let rule = |component: &str, word: &str, says: Value| json!({"component": component, "description": "why", word: says});
    json!({
        "name": "all", "description": "all of it", "secure_boot": "required", "learn": "never",
        "components": {"boot-order": "enforce", "boot-entry": "ignore", "platform-config": "note"},
        "run_time_pcrs": [10, 23],
        "changes": {"kernel-update": {"action": "propose", "signed": false, "following": true}},
        "rules": [
            rule("kernel", "authorities", json!([{"sha256": "ab".repeat(32), "subject": "CN=x"}])),
            rule("initrd", "digests", json!(["cd".repeat(32)])),
            rule("sbat-level", "minimum", json!({"level": 2_024_010_900, "generations": {"grub": 5}})),
            rule("kernel-command-line", "parameters", json!({"forbid_dangerous": true})),
            rule("mok-state", "state", json!({"machine-owner-keys": "off"})),
            rule("boot-entry", "any", json!(["Boot*"])),
        ],
        "conditions": [{"id": "x", "expression": "true", "severity": "low", "message": "m", "hint": "h"}],
    })
}

fn refusal(document: &Value) -> String {
    let error = Profile::from_json(document.to_string().as_bytes()).unwrap_err();
    assert!(!error.hint().is_empty() && error.code().starts_with("profile-"));
    error.to_string()
}

#[test]
fn what_is_written_is_what_was_read() {
    for profile in Profile::NAMES.iter().map(|name| Profile::named(name).unwrap()) {
        assert_eq!(Profile::from_json(profile.to_json().unwrap().as_bytes()), Ok(profile.clone()));
        assert_eq!(Profile::from_toml(&profile.to_toml().unwrap()), Ok(profile));
    }
    let document = everything();
    let profile = Profile::from_json(document.to_string().as_bytes()).unwrap();
    let again: Value = serde_json::from_str(&profile.to_json().unwrap()).unwrap();
    assert_eq!(again, document);
}

#[test]
fn a_mistake_is_told_with_what_is_allowed() {
    type Edit = fn(&mut Value);
    let edits: &[(Edit, &[&str])] = &[
        (|d| d["secureboot"] = "x".into(), &["unknown field `secureboot`", "secure_boot"]),
        (|d| drop(d.as_object_mut().unwrap().remove("secure_boot")), &["missing field `secure_boot`"]),
        (
            |d| d["components"] = json!({"kernal": "note"}),
            &["unknown variant `kernal`", "`kernel`", "`initrd`"],
        ),
        (
            |d| d["changes"] = json!({"kernel": {"action": "fail"}}),
            &["unknown variant `kernel`", "`kernel-update`"],
        ),
        (
            |d| d["changes"]["kernel-update"]["action"] = "allow".into(),
            &["unknown variant `allow`", "`propose`"],
        ),
        (
            |d| d["rules"][0]["component"] = "kernels".into(),
            &["unknown variant `kernels`", "`kernel-command-line`"],
        ),
        (|d| d["rules"][0]["any"] = json!(["*"]), &["exactly one of digests, authorities", "it has 2"]),
        (|d| d["rules"][0]["authorities"] = json!([]), &["`authorities` of a rule about `kernel` is empty"]),
        (
            |d| d["rules"][2]["component"] = "kernel".into(),
            &["`minimum` cannot be said of `kernel`", "sbat-level"],
        ),
        (|d| d["rules"][2]["minimum"] = json!({"entries": 3}), &["contradicts itself", "revocation-db"]),
        (
            |d| d["rules"][4]["state"] = json!({"secure-boot": "on"}),
            &["`secure-boot` is a setting of `secure-boot-state`"],
        ),
        (
            |d| d["rules"][4]["state"] = json!({"moks": "on"}),
            &["unknown variant `moks`", "`machine-owner-keys`"],
        ),
        (
            |d| d["rules"][3]["parameters"] = json!({"required": ["ro"], "forbidden": ["ro"]}),
            &["`ro` is required and forbidden"],
        ),
        (|d| d["rules"][5]["any"] = json!([""]), &["a pattern is empty"]),
        (|d| d["name"] = "../x".into(), &["a profile's name has"]),
        (
            |d| d["conditions"] = vec![d["conditions"][0].clone(); MAX_CONDITIONS + 1].into(),
            &["65 conditions; 64"],
        ),
        (|d| d["rules"] = vec![d["rules"][0].clone(); MAX_RULES + 1].into(), &["1025 rules; 1024"]),
    ];
    for (edit, parts) in edits {
        let mut document = everything();
        edit(&mut document);
        let told = refusal(&document);
        for part in *parts {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
    }
    assert!(
        Profile::from_json(&vec![b' '; 2 * 1024 * 1024]).unwrap_err().to_string().contains("longer than")
    );
}

#[test]
fn built_in_profiles_have_no_flaw() {
    for name in Profile::NAMES {
        let profile = Profile::named(name).unwrap();
        assert_eq!(profile.name, *name);
        assert!(!profile.description.is_empty());
        assert_eq!(profile.flaws(), [], "{name}");
    }
}

#[test]
fn flaws_are_found() {
    let codes = |text: &str, refused: bool| -> Vec<&'static str> {
        let profile = Profile::from_toml(&format!("name = \"x\"\n{text}")).unwrap();
        profile.flaws().into_iter().filter(|flaw| flaw.refused == refused).map(|flaw| flaw.code).collect()
    };
    let accepts: String = ChangeClass::ALL
        .iter()
        .map(|c| format!("{c} = {{ action = \"accept\", signed = false }}\n"))
        .collect();
    let on = "secure_boot = \"required\"\n";
    let off = "secure_boot = \"not-required\"\n";
    assert_eq!(codes(&format!("{on}[changes]\n{accepts}"), true), ["profile-accepts-everything"]);
    assert_eq!(codes(&format!("{off}learn = \"never\""), true), ["profile-accepts-everything"]);
    let noted: String = [
        "shim",
        "boot-loader",
        "boot-loader-config",
        "kernel",
        "initrd",
        "kernel-command-line",
        "uki-section",
        "signature-db",
        "authority",
    ]
    .iter()
    .map(|kind| format!("{kind} = \"ignore\"\n"))
    .collect();
    assert_eq!(codes(&format!("{on}[components]\n{noted}"), true), ["profile-accepts-everything"]);
    let demand = "[[rules]]\ncomponent = \"secure-boot-state\"\nstate = { secure-boot = \"off\" }\n";
    assert_eq!(codes(&format!("{on}{demand}"), true), ["profile-contradictory"]);
    let condition =
        "[[conditions]]\nid = \"a\"\nexpression = \"true\"\nseverity = \"high\"\nmessage = \"m\"\n";
    assert_eq!(codes(&format!("{on}{condition}{condition}"), true), ["condition-twice"]);
    let one = "[changes]\ninitrd-change = { action = \"accept\", signed = false }\n\
               kernel-update = { action = \"propose\", signed = false }\nmok-change = { action = \"fail\", following = true }\n";
    assert_eq!(
        codes(&format!("{on}{one}"), false),
        ["change-proposed-unsigned", "change-accepted-unsigned", "no-effect"]
    );
    assert_eq!(codes(&format!("{on}[components]\ninitrd = \"note\"\n"), false), ["component-not-enforced"]);
    assert_eq!(codes(&format!("{on}[components]\nseparator = \"note\"\n"), false), ["no-effect"]);
    let by = format!(
        "{off}[[rules]]\ncomponent = \"kernel\"\nauthorities = [{{ sha256 = \"{}\" }}]\n",
        "ab".repeat(32)
    );
    assert_eq!(codes(&by, false), ["authorities-without-secure-boot"]);
}

#[test]
fn the_schema_has_the_words_of_the_code() {
    let (schema, baseline) = (schema("profile.schema.json"), schema("baseline.schema.json"));
    // A rule is the same in both.
    for name in ["rule", "component", "pattern", "sha256", "digest"] {
        assert_eq!(schema["$defs"][name], baseline["$defs"][name], "{name}");
    }
    let keys = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let document = everything();
    assert_eq!(keys(&schema["properties"]), keys(&document));
    let defs = &schema["$defs"];
    assert_eq!(keys(&defs["change"]["properties"]), keys(&document["changes"]["kernel-update"]));
    assert_eq!(keys(&defs["condition"]["properties"]), keys(&document["conditions"][0]));
    let classes: BTreeSet<String> = ChangeClass::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(keys(&schema["properties"]["changes"]["properties"]), classes);
    let actions: Vec<String> = ChangeAction::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words(&defs["change"]["properties"]["action"]["enum"]), actions);
    let severities: Vec<String> = Severity::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words(&defs["condition"]["properties"]["severity"]["enum"]), severities);
    let kinds: BTreeSet<String> = ComponentKind::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words(&defs["component"]["enum"]).into_iter().collect::<BTreeSet<_>>(), kinds);
    assert_eq!(schema["properties"]["rules"]["maxItems"], MAX_RULES);
    assert_eq!(schema["properties"]["conditions"]["maxItems"], MAX_CONDITIONS);
    assert_eq!(schema["required"], json!(["name", "secure_boot"]));
}
