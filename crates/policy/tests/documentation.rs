//! docs/policies.md has the tables of the code, and its examples do what they say on real boots.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::{
    Basis, Boot, Compiled, Level, PROBLEMS, Subject, Vm, lint, read_conditions, variables,
};
use veriboot_wire::{ChangeClass, Finding, Severity};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies.md")
}

fn replaced(text: &str, name: &str, content: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).unwrap();
    let (_, after) = rest.split_once(&close).unwrap();
    format!("{before}{open}{content}{close}{after}")
}

#[test]
fn the_tables_are_those_of_the_code() {
    let mut table =
        String::from("| variable | type | rests on | meaning | absent when |\n|---|---|---|---|---|\n");
    for variable in variables() {
        let basis = match variable.basis {
            Basis::Proven => "proven",
            Basis::Claim => "claim",
            Basis::Service => "service",
        };
        let words = match variable.words.as_slice() {
            [] => String::new(),
            words if words.len() > 8 => ", a word of docs/findings.md".to_owned(),
            words => format!(": {}", words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")),
        };
        let absent = variable.absent.unwrap_or("–");
        writeln!(
            table,
            "| `{}` | {} | {basis} | {}{words} | {absent} |",
            variable.name, variable.ty, variable.meaning
        )
        .unwrap();
    }
    let mut problems = String::from("| code | level | meaning |\n|---|---|---|\n");
    for (code, level, meaning) in PROBLEMS {
        writeln!(problems, "| `{code}` | {} | {meaning} |", level.as_str()).unwrap();
    }
    let text = std::fs::read_to_string(path()).unwrap();
    let wanted = replaced(&replaced(&text, "variables", &table), "problems", &problems);
    if std::env::var_os("VERIBOOT_BLESS").is_some() {
        std::fs::write(path(), &wanted).unwrap();
        return;
    }
    assert!(text == wanted, "docs/policies.md is out of date: run with VERIBOOT_BLESS=1");
}

fn examples() -> Vec<Condition> {
    let text = std::fs::read_to_string(path()).unwrap();
    let (_, examples) = text.split_once("## Examples").unwrap();
    let (examples, _) = examples.split_once("\n## ").unwrap();
    examples
        .split("```toml\n")
        .skip(1)
        .flat_map(|block| read_conditions(block.split("```").next().unwrap().as_bytes()).unwrap())
        .collect()
}

#[test]
fn the_first_block_is_a_profile() {
    let text = std::fs::read_to_string(path()).unwrap();
    let block = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let profile: Profile = toml::from_str(block).unwrap();
    assert_eq!(profile.conditions.len(), 1);
    assert_eq!(read_conditions(block.as_bytes()).unwrap(), profile.conditions);
    assert!(lint(&profile.conditions).is_clean());
}

/// Each example on boots for which it holds and for which it does not.
#[test]
fn the_examples_do_what_they_say() {
    let examples = examples();
    assert_eq!(examples.len(), 10);
    let linted = lint(&examples);
    assert!(linted.problems.iter().all(|p| p.level < Level::Error), "{:?}", linted.problems);
    let warned: Vec<_> = linted
        .problems
        .iter()
        .filter(|p| p.level == Level::Warning)
        .map(|p| (p.condition.clone().unwrap(), p.code))
        .collect();
    // Two say on purpose what absence means; the text above them says that the lint warns.
    assert!(
        warned.iter().all(|(id, code)| *code == "passes-when-absent"
            && ["secure-boot-enforced", "protections-on"].contains(&id.as_str())),
        "{warned:?}"
    );

    let read = |variant: &str| {
        let log = veriboot_testkit::corpus::golden(variant).unwrap().event_log;
        Boot::read(&log, &examine(&log), None, &Profile::default().run_time_pcrs)
    };
    let mut firmware = Finding::new("component-changed", Severity::Medium, "changed");
    firmware.change = Some(ChangeClass::FirmwareUpdate);
    let (none, changed) = (vec![], vec![firmware]);
    for (id, variant, group, findings, holds) in [
        ("secure-boot-enforced", "secure-boot", "lab", &none, true),
        ("secure-boot-enforced", "secure-boot-off", "lab", &none, false),
        ("no-way-past-login", "secure-boot", "lab", &none, true),
        ("no-way-past-login", "cmdline", "lab", &none, false),
        ("protections-on", "secure-boot", "lab", &none, true),
        ("known-authorities", "secure-boot", "lab", &none, true),
        ("known-authorities", "secure-boot-off", "lab", &none, false),
        ("sbat-of-2023", "secure-boot", "lab", &none, true),
        ("secure-boot-ca-2023", "secure-boot", "lab", &none, false),
        ("firmware-is-looked-at", "secure-boot", "lab", &none, true),
        ("firmware-is-looked-at", "secure-boot", "lab", &changed, false),
        ("windows-hardened", "secure-boot", "lab", &none, true),
        ("short-chain", "secure-boot", "lab", &none, true),
        ("production-has-one-owner", "secure-boot", "production", &none, true),
        ("production-has-one-owner", "secure-boot-off", "lab", &none, true),
    ] {
        let source = examples.iter().find(|c| c.id == id).unwrap();
        let (compiled, _) = Compiled::compile(source).unwrap();
        let vm = Vm { group: Some(group), ..Vm::default() };
        let came_to = compiled.evaluate(&read(variant), &Subject::new(vm, findings));
        assert_eq!(came_to.holds(), holds, "{id} on {variant}: {came_to:?}");
    }
    let tried = examples.iter().filter(|c| c.id.is_empty()).count();
    assert_eq!(tried, 0);
}
