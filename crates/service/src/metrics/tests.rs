//! What is registered is documented, and what rules and dashboard ask for exists.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_store::deliveries::Depth;
use veriboot_wire::{ChangeClass, FleetSummary, TargetKind, Time};

use super::*;
use crate::blessed;

/// One row of docs/metrics.md.
struct Row {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    samples: usize,
}

/// Everything with a sample, so that each metric shows its labels.
fn sample() -> String {
    let metrics = Metrics::default();
    metrics.answered("GET", "/v1/vms", 200, Some("not-found"), Duration::from_millis(1));
    let nothing = FleetSummary {
        now: Time::from_unix_ms(0),
        vms: 0,
        by_status: BTreeMap::new(),
        open_alerts: 0,
        open_alerts_by_reason: BTreeMap::new(),
        open_proposals: 0,
    };
    let classes = ChangeClass::ALL.iter().map(|class| (class.as_str(), 0));
    metrics.fleet.read(&nothing, classes, &BTreeMap::new());
    metrics.work.read(work::Waiting::default());
    metrics.database.read((0, 0));
    metrics.inventory.set(&inventory::Listed::default(), Time::from_unix_ms(0));
    let depth = |kind: &TargetKind| Depth {
        kind: *kind,
        waiting: 0,
        dead: 0,
        oldest_waiting_at: None,
        clock_skew_ms: 0,
    };
    metrics.notify.depths(&TargetKind::ALL.iter().map(depth).collect::<Vec<_>>());
    metrics.text().unwrap()
}

/// Without a sample a metric would be missing in the table, and its labels unknown.
#[test]
fn the_sample_has_every_metric() {
    for (name, row) in rows(&sample()) {
        assert!(row.samples > 0, "{name} has no sample");
    }
}

fn rows(text: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                kinds.insert(name.to_owned(), kind.to_owned());
            }
            ["#", "HELP", name, help] => {
                let row = Row {
                    kind: String::new(),
                    help: help.trim_end_matches('.').to_owned(),
                    labels: BTreeSet::new(),
                    samples: 0,
                };
                rows.insert(name.to_owned(), row);
            }
            _ if !line.starts_with('#') => {
                let end = line.find(['{', ' ']).unwrap();
                let name = family(&line[..end], &rows);
                let row: &mut Row = rows.get_mut(&name).unwrap_or_else(|| panic!("{line}"));
                row.samples += 1;
                if let Some((_, labels)) = line.split_once('{') {
                    let labels = labels.rsplit_once('}').unwrap().0;
                    for label in labels.split("\",").filter_map(|pair| pair.split_once('=')) {
                        if label.0 != "le" {
                            row.labels.insert(label.0.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    for (name, kind) in kinds {
        rows.get_mut(&name).unwrap().kind = kind;
    }
    rows
}

/// The metric that a sample belongs to.
fn family(sample: &str, rows: &BTreeMap<String, Row>) -> String {
    ["", "_total", "_bucket", "_sum", "_count", "_info"]
        .iter()
        .filter_map(|end| sample.strip_suffix(end))
        .find(|name| rows.contains_key(*name))
        .unwrap_or(sample)
        .to_owned()
}

#[test]
fn the_page_documents_every_metric() {
    let mut table = String::from("| metric | type | labels | what it counts |\n|---|---|---|---|\n");
    for (name, row) in rows(&sample()) {
        let shown = match row.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!("| `{shown}` | {} | {} | {} |\n", row.kind, labels.join(", "), row.help));
    }
    blessed::section("docs/metrics.md", "metrics", &table);
}

#[test]
fn no_label_names_a_vm() {
    for (name, row) in rows(&sample()) {
        for label in &row.labels {
            let known = [
                "method",
                "route",
                "status",
                "code",
                "verdict",
                "reason",
                "stage",
                "cause",
                "queue",
                "operation",
                "class",
                "scope",
                "kind",
                "outcome",
                "version",
                "arch",
                "os",
                "severity",
                "check",
                "state",
            ];
            assert!(known.contains(&label.as_str()), "{name} has the label {label}: is it a closed set?");
        }
    }
}

/// Names of metrics in an expression.
fn asked(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("veriboot_")).map(str::to_owned).collect()
}

fn known(name: &str, rows: &BTreeMap<String, Row>) -> bool {
    rows.contains_key(&family(name, rows))
}

#[test]
fn rules_and_dashboard_ask_for_what_exists() {
    let rows = rows(&sample());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rules = std::fs::read_to_string(root.join("deploy/prometheus/veriboot.rules.yml")).unwrap();
    let runbook = std::fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let code: String = rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let names = asked(&code);
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        assert!(known(name, &rows), "the rules ask for {name}");
    }
    for line in rules.lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(
                runbook.contains(&format!("\n### {alert}\n")),
                "{alert} has no section in docs/metrics.md"
            );
            let link = format!("runbook: docs/metrics.md#{}", alert.to_lowercase());
            assert!(rules.contains(&link), "{alert} has no link");
        }
    }
    let dashboard = std::fs::read(root.join("deploy/grafana/veriboot-fleet.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let names = asked(expression);
            assert!(!names.is_empty(), "{expression}");
            for name in names {
                assert!(known(&name, &rows), "panel {} asks for {name}", panel["title"]);
            }
        }
    }
}
