//! docs/schema/baseline.schema.json says what a baseline is: what Veriboot writes fits it, and what does not fit it is not
//! read.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Machine, SHA256};
use serde_json::{Value, json};
use veriboot_appraisal::{
    BASELINE_SCHEMA, Baseline, MAX_BASELINE_MEASUREMENTS, MAX_BOOTS, MAX_RULE_DIGESTS, MAX_RULE_MEMBERS,
    MAX_RULES, StateFlag, examine,
};
use veriboot_eventlog::{ComponentKind, EventType, HashAlg};

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/baseline.schema.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The keywords of JSON Schema 2020-12 that our schema uses; another one is a mistake of the schema or of this test.
struct Validator {
    root: Value,
    /// Places of the schema that a value was held against.
    used: BTreeSet<String>,
}

impl Validator {
    fn check(&mut self, schema: &Value, place: &str, value: &Value) -> Result<(), String> {
        self.used.insert(place.to_owned());
        for (keyword, asked) in schema.as_object().unwrap() {
            let fits = match keyword.as_str() {
                "$schema" | "$id" | "title" | "description" | "default" | "$defs" => true,
                "$ref" => {
                    let name = asked.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    let target = self.root["$defs"][name].clone();
                    self.check(&target, name, value)?;
                    true
                }
                "type" => match asked {
                    Value::String(word) => is_a(value, word),
                    words => words.as_array().unwrap().iter().any(|word| is_a(value, word.as_str().unwrap())),
                },
                "const" => value == asked,
                "enum" => asked.as_array().unwrap().contains(value),
                "oneOf" => {
                    let mut held =
                        |(at, one): (usize, &Value)| self.check(one, &format!("{place}/{at}"), value).is_ok();
                    asked.as_array().unwrap().iter().enumerate().filter(|pair| held(*pair)).count() == 1
                }
                "properties" => {
                    for (name, inner) in asked.as_object().unwrap() {
                        if let Some(member) = value.get(name) {
                            self.check(inner, &format!("{place}.{name}"), member)?;
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = &schema["properties"];
                    let others =
                        value.as_object().into_iter().flatten().filter(|(name, _)| known.get(name).is_none());
                    match asked {
                        Value::Bool(allowed) => *allowed || others.count() == 0,
                        inner => {
                            for (_, member) in others {
                                self.check(inner, &format!("{place}.*"), member)?;
                            }
                            true
                        }
                    }
                }
                "required" => {
                    asked.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.check(asked, &format!("{place}[]"), item)?;
                    }
                    true
                }
                "minItems" => {
                    value.as_array().is_none_or(|items| items.len() as u64 >= asked.as_u64().unwrap())
                }
                "maxItems" => {
                    value.as_array().is_none_or(|items| items.len() as u64 <= asked.as_u64().unwrap())
                }
                "uniqueItems" => value.as_array().is_none_or(|items| {
                    items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
                }),
                "minProperties" => {
                    value.as_object().is_none_or(|o| o.len() as u64 >= asked.as_u64().unwrap())
                }
                "minLength" => {
                    value.as_str().is_none_or(|s| s.chars().count() as u64 >= asked.as_u64().unwrap())
                }
                "maxLength" => {
                    value.as_str().is_none_or(|s| s.chars().count() as u64 <= asked.as_u64().unwrap())
                }
                "minimum" => value.as_i64().is_none_or(|n| n >= asked.as_i64().unwrap()),
                "maximum" => value.as_i64().is_none_or(|n| n <= asked.as_i64().unwrap()),
                // All our patterns are about numbers of hex digits.
                "pattern" => value.as_str().is_none_or(|text| {
                    let sizes = asked
                        .as_str()
                        .unwrap()
                        .split("{")
                        .skip(1)
                        .map(|part| part.split('}').next().unwrap());
                    text.bytes().all(|b| b.is_ascii_hexdigit())
                        && sizes.map(|size| size.parse::<usize>().unwrap()).any(|size| size == text.len())
                }),
                other => panic!("{place}: keyword {other}"),
            };
            if !fits {
                return Err(format!(
                    "{place}: {keyword} {}",
                    value.to_string().chars().take(80).collect::<String>()
                ));
            }
        }
        Ok(())
    }
}

fn is_a(value: &Value, word: &str) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

fn validated(value: &Value) -> Result<BTreeSet<String>, String> {
    let root = schema();
    let mut validator = Validator { root: root.clone(), used: BTreeSet::new() };
    validator.check(&root, "", value).map(|()| validator.used)
}

/// A document that says everything that can be said.
fn everything() -> Value {
    let digest = "ab".repeat(32);
    let boot = |source: Value| {
        json!({
            "source": source, "secure_boot": true, "pcrs": [9],
            "measurements": [{
                "pcr": 9, "type": "EV_IPL", "kind": "initrd", "name": "/initrd", "value": "x", "signer": "CN=x",
                "items": ["1 hash"], "signatures": ["ab".repeat(16)], "digest": digest,
                "varies": {"name": "/initrd*", "value": "*"},
            }, {"pcr": 9, "type": 4660, "kind": "unknown", "name": "", "digest": digest}],
        })
    };
    let rule = |component: &str, says: Value| {
        let mut rule = json!({"component": component, "description": "why"});
        rule.as_object_mut().unwrap().extend(says.as_object().unwrap().clone());
        rule
    };
    let components: BTreeSet<ComponentKind> = StateFlag::ALL.iter().map(|flag| flag.component()).collect();
    let states = components.into_iter().map(|component| {
        let flags = StateFlag::ALL.iter().filter(|flag| flag.component() == component);
        let state: serde_json::Map<String, Value> =
            flags.map(|flag| (flag.as_str().to_owned(), "on".into())).collect();
        rule(component.as_str(), json!({"state": state}))
    });
    let mut document = json!({
        "schema": BASELINE_SCHEMA, "name": "web", "description": "all of it", "bank": "sha256", "unlisted": "fail",
        "merged": [{"component": "boot-order", "what": "x", "because": "y"}],
        "rules": [
            rule("kernel", json!({"digests": [digest]})),
            rule("kernel", json!({"authorities": [{"sha256": digest, "subject": "CN=x"}]})),
            rule("sbat-level", json!({"minimum": {"level": 2_023_012_900, "generations": {"shim": 4}}})),
            rule("revocation-db", json!({"minimum": {"entries": 77, "hashes": [digest]}})),
            rule("kernel-command-line", json!({"parameters": {
                "required": ["ro"], "allowed": ["root=*"], "forbidden": ["init=*"], "forbid_dangerous": true,
            }})),
            rule("boot-entry", json!({"any": ["*"]})),
        ],
        "boots": [
            boot(json!({"kind": "learned", "log_sha256": digest})),
            boot(json!({"kind": "predicted", "from": [{"name": "x.deb", "sha256": digest}], "base": "web@1"})),
            boot(json!({"kind": "approved", "log_sha256": digest, "proposal": "1"})),
            boot(json!({"kind": "written"})),
        ],
    });
    document["rules"].as_array_mut().unwrap().splice(5..5, states);
    document
}

fn read(document: &Value) -> Result<Baseline, String> {
    Baseline::from_json(document.to_string().as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn what_is_written_fits_the_schema() {
    let document = everything();
    let used = validated(&document).unwrap();
    let baseline = read(&document).unwrap();
    // Written again, it has every member that it had.
    let again: Value = serde_json::from_str(&baseline.to_json().unwrap()).unwrap();
    assert_eq!(validated(&again).unwrap().len(), used.len() - usize::from(again.get("unlisted").is_none()));
    // The schema says nothing that no document can have.
    let mut said = BTreeSet::new();
    places(&schema(), "", &mut said);
    let unsaid: Vec<&String> = said.difference(&used).collect();
    assert!(unsaid.is_empty(), "{unsaid:?}");
    for machine in [Machine::default(), Machine { secure_boot: None, ..Machine::default() }] {
        let learned = Baseline::learn(&examine(&machine.log().bytes()), SHA256).unwrap();
        validated(&serde_json::from_str(&learned.to_json().unwrap()).unwrap()).unwrap();
    }
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus")).unwrap().flatten()
    {
        let Ok(bytes) = std::fs::read(entry.path().join("eventlog.bin")) else { continue };
        let report = examine(&bytes);
        for bank in &report.banks {
            let Ok(learned) = Baseline::learn(&report, bank.replay.bank) else { continue };
            validated(&serde_json::from_str(&learned.to_json().unwrap()).unwrap()).unwrap();
        }
    }
}

/// Every property of the schema, in the notation of [`Validator::used`].
fn places(schema: &Value, place: &str, said: &mut BTreeSet<String>) {
    let Some(members) = schema.as_object() else { return };
    for (keyword, inner) in members {
        match keyword.as_str() {
            "properties" => {
                for (name, inner) in inner.as_object().unwrap() {
                    said.insert(format!("{place}.{name}"));
                    places(inner, &format!("{place}.{name}"), said);
                }
            }
            "$defs" => inner.as_object().unwrap().iter().for_each(|(name, inner)| places(inner, name, said)),
            _ => {}
        }
    }
}

/// Each of these is refused by the schema and by the reader.
#[test]
fn what_does_not_fit_is_not_read() {
    type Edit = fn(&mut Value);
    let edits: &[(&str, Edit)] = &[
        ("no schema", |d| drop(d.as_object_mut().unwrap().remove("schema"))),
        ("newer schema", |d| d["schema"] = "veriboot-baseline/3".into()),
        ("no bank", |d| drop(d.as_object_mut().unwrap().remove("bank"))),
        ("unknown bank", |d| d["bank"] = "md5".into()),
        ("unknown member", |d| d["rule"] = 1.into()),
        ("unknown word", |d| d["unlisted"] = "allow".into()),
        ("unknown component", |d| d["rules"][0]["component"] = "kernal".into()),
        ("rule without content", |d| drop(d["rules"][0].as_object_mut().unwrap().remove("digests"))),
        ("rule of two", |d| d["rules"][0]["any"] = json!(["x"])),
        ("no digest at all", |d| d["rules"][0]["digests"] = json!([])),
        ("a digest of three bytes", |d| d["rules"][0]["digests"] = json!(["ababab"])),
        ("a certificate by SHA-1", |d| d["rules"][1]["authorities"][0]["sha256"] = "ab".repeat(20).into()),
        ("a hash by SHA-1", |d| d["rules"][3]["minimum"]["hashes"] = json!(["ab".repeat(20)])),
        ("an empty minimum", |d| d["rules"][2]["minimum"] = json!({})),
        ("unknown parameter list", |d| d["rules"][4]["parameters"] = json!({"denied": ["x"]})),
        ("an empty pattern", |d| d["rules"][4]["parameters"]["required"] = json!([""])),
        ("unknown switch", |d| d["rules"][5]["state"] = json!({"secureboot": "on"})),
        ("unknown position", |d| d["rules"][5]["state"] = json!({"secure-boot": "maybe"})),
        ("no source", |d| drop(d["boots"][0].as_object_mut().unwrap().remove("source"))),
        ("unknown source", |d| d["boots"][0]["source"] = json!({"kind": "guessed"})),
        ("half a source", |d| d["boots"][0]["source"] = json!({"kind": "learned"})),
        ("unknown event type", |d| d["boots"][0]["measurements"][0]["type"] = "EV_NONSENSE".into()),
        ("a number that is no event type", |d| d["boots"][0]["measurements"][0]["type"] = (-1).into()),
        ("no digest", |d| drop(d["boots"][0]["measurements"][0].as_object_mut().unwrap().remove("digest"))),
        ("unknown member of a measurement", |d| d["boots"][0]["measurements"][0]["extra"] = 1.into()),
        ("too many boots", |d| {
            let boot = d["boots"][0].clone();
            d["boots"] = vec![boot; MAX_BOOTS + 1].into();
        }),
        ("too many rules", |d| {
            let rule = d["rules"][0].clone();
            d["rules"] = vec![rule; MAX_RULES + 1].into();
        }),
    ];
    for (what, edit) in edits {
        let mut document = everything();
        edit(&mut document);
        assert!(validated(&document).is_err(), "the schema takes: {what}");
        assert!(read(&document).is_err(), "the reader takes: {what}");
    }
}

#[test]
fn words_and_limits_are_those_of_the_code() {
    let schema = schema();
    let words = |value: &Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let defs = &schema["$defs"];
    let kinds = ComponentKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(words(&defs["component"]["enum"]), kinds);
    let types = EventType::ALL.iter().filter_map(|t| t.name()).map(str::to_owned).collect();
    assert_eq!(words(&defs["measurement"]["properties"]["type"]["oneOf"][0]["enum"]), types);
    let banks = HashAlg::ALL.iter().map(|bank| bank.name().to_owned()).collect();
    assert_eq!(words(&schema["properties"]["bank"]["enum"]), banks);
    let flags: BTreeSet<String> = StateFlag::ALL.iter().map(|flag| flag.as_str().to_owned()).collect();
    let said =
        defs["rule"]["properties"]["state"]["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(flags, said);
    let limit = |value: &Value| usize::try_from(value["maxItems"].as_u64().unwrap()).unwrap();
    assert_eq!(limit(&schema["properties"]["boots"]), MAX_BOOTS);
    assert_eq!(limit(&schema["properties"]["rules"]), MAX_RULES);
    assert_eq!(limit(&defs["boot"]["properties"]["measurements"]), MAX_BASELINE_MEASUREMENTS);
    assert_eq!(limit(&defs["rule"]["properties"]["digests"]), MAX_RULE_DIGESTS);
    assert_eq!(limit(&defs["rule"]["properties"]["any"]), MAX_RULE_MEMBERS);
}
