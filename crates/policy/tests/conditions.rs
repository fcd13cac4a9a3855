//! Conditions on real logs: what they see, what they come to, and that CEL's own interpreter agrees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::path::Path;

use cel::objects::{Key, Map, Value};
use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::{Boot, Compiled, Evaluated, Fact, Policy, Record, Subject, Vm};
use veriboot_wire::{Finding, Severity};

fn boot(variant: &str) -> Boot {
    let golden = veriboot_testkit::corpus::golden(variant).unwrap();
    read(&golden.event_log)
}

fn read(log: &[u8]) -> Boot {
    Boot::read(log, &examine(log), None, &Profile::default().run_time_pcrs)
}

fn condition(expression: &str) -> Condition {
    Condition {
        id: "test".to_owned(),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    }
}

fn compiled(expression: &str) -> Compiled {
    Compiled::compile(&condition(expression)).unwrap_or_else(|e| panic!("{expression}: {e:?}")).0
}

fn evaluated(expression: &str, boot: &Boot) -> Evaluated {
    compiled(expression).evaluate(boot, &Subject::new(Vm::default(), &[]))
}

/// Each expression with what it is for the capture `secure-boot`.
const TRUE: &[&str] = &[
    "secure_boot.enabled",
    "secure_boot.enabled && secure_boot.shim_validates",
    "!has(secure_boot.mode) && secure_boot.?mode.orValue('user') == 'user'",
    "log.format == 'tcg2' && 'sha256' in log.banks && log.events > 40",
    "!has(firmware.version) && firmware.drivers == 0",
    "keys.db.exists(c, c.name == 'Microsoft Corporation UEFI CA 2011')",
    "keys.db.all(c, c.sha256.size() == 64)",
    "size(keys.pk) == 1 && keys.microsoft_2011 && size(keys.kek) >= 1",
    "dbx.hashes >= 1 && size(dbx.sha256) == 64",
    "sbat.date >= '2021-01-01' && sbat.generations['sbat'] >= 1",
    "sbat.generations.sbat == 1 && has(sbat.generations.sbat) && !has(sbat.generations.nothing)",
    "size(images) >= 3 && images[0].role == 'shim'",
    "images.exists_one(i, i.role == 'shim')",
    "images.filter(i, has(i.authority)).size() >= 1",
    "images.map(i, i.role).exists(r, r == 'kernel')",
    "size(authorities) >= 2 && authorities.exists(a, a.name.startsWith('Debian'))",
    "has(kernel.digest) && kernel.digest.size() == 64",
    "size(initrds) == 1",
    "command_line.text.contains('console=ttyS0')",
    "parameters.exists(p, p.name == 'console' && p.value == 'ttyS0')",
    "!parameters.exists(p, p.name == 'init')",
    "parameters.all(p, p.name in ['console', 'quiet', 'panic', 'root', 'BOOT_IMAGE', 'rdinit', 'loglevel', 'ro'] || true)",
    "!windows.measured && !has(windows.code_integrity)",
    "windows.?code_integrity.orValue(true)",
    "!windows.?code_integrity.hasValue()",
    "confidential.?technology.orValue('none') == 'none'",
    "log.events + 1 > log.events && -1 < 0 && 7 % 4 == 3 && 7 / 2 == 3 && 2 * 3 - 1 == 5",
    "int('12') == 12 && string(12) == '12' && string(true) == 'true'",
    "command_line.text.matches('console=tty[A-Z]+[0-9]')",
    "secure_boot.enabled ? has(keys.db) : false",
    "images[?99].hasValue() == false && images[?0].hasValue()",
    "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
    "[1, 2] != [1, 2, 3] && 'a' != 'b' && true != false",
    "'abc'.endsWith('c') && 'abc' < 'abd' && 'abc' <= 'abc' && 'b' > 'a'",
    "boot_loader.commands > 0 && has(boot_loader.path)",
    "size(findings) == 0 && findings.all(f, f.fails)",
    "windows.code_integrity || secure_boot.enabled",
    "!(windows.code_integrity && !secure_boot.enabled)",
    "images.exists(i, i.authority == 'x' || i.role == 'shim')",
];

const FALSE: &[&str] = &[
    "!secure_boot.enabled",
    "parameters.exists(p, p.name == 'init')",
    "images.all(i, i.role == 'shim')",
    "images.exists_one(i, has(i.path))",
    "has(windows.test_signing)",
    "'sha1' in log.banks && log.events < 5",
    "sbat.generations['sbat'] > 100",
    "windows.code_integrity && !secure_boot.enabled",
];

/// Each expression with the variable that is absent, or the reason.
const ABSENT: &[(&str, &str)] = &[
    ("windows.code_integrity", "windows.code_integrity"),
    ("!windows.test_signing", "windows.test_signing"),
    ("confidential.technology == 'AMD SEV'", "confidential.technology"),
    ("sbat.generations['nothing'] >= 1", "sbat.generations['nothing']"),
    ("images[99].role == 'shim'", "images[99]"),
    ("vm.group == 'web'", "vm.group"),
    ("windows.modules.exists(m, m.path == 'x')", "windows.modules"),
];

const ERROR: &[&str] = &[
    "log.events / (log.events - log.events) == 1",
    "int(log.format) == 1",
    "9223372036854775807 + log.events > 0",
];

#[test]
fn a_real_boot_is_seen() {
    let boot = boot("secure-boot");
    let wrong: Vec<_> =
        TRUE.iter().map(|e| (e, evaluated(e, &boot))).filter(|(_, came_to)| !came_to.holds()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", serde_json::to_string_pretty(boot.variables()).unwrap());
    for expression in FALSE {
        assert!(matches!(evaluated(expression, &boot), Evaluated::Fails { .. }), "{expression}");
    }
    for (expression, variable) in ABSENT {
        let expected = Evaluated::Absent { variable: (*variable).to_owned() };
        assert_eq!(evaluated(expression, &boot), expected, "{expression}");
    }
    for expression in ERROR {
        assert!(matches!(evaluated(expression, &boot), Evaluated::Error { .. }), "{expression}");
    }
}

#[test]
fn what_changed_between_captures_decides() {
    for (variant, expression, holds) in [
        ("secure-boot-off", "secure_boot.enabled", false),
        ("secure-boot-off", "!parameters.exists(p, p.name == 'init')", true),
        ("cmdline", "!parameters.exists(p, p.name == 'init')", false),
        ("mok", "'MokList' in mok.variables", true),
        ("secure-boot", "uki.sections == []", true),
        ("uki", "'.linux' in uki.sections || size(uki.sections) > 0", true),
    ] {
        let boot = boot(variant);
        assert_eq!(
            evaluated(expression, &boot).holds(),
            holds,
            "{variant}: {expression}\n{}",
            serde_json::to_string_pretty(boot.variables()).unwrap()
        );
    }
}

#[test]
fn findings_name_the_condition_and_what_was_seen() {
    let boot = boot("cmdline");
    let mut source = condition("!parameters.exists(p, p.name == 'init')");
    source.id = "no-init-override".to_owned();
    source.message = "The command line starts another first process".to_owned();
    source.hint = Some("Look at the boot loader's configuration.".to_owned());
    let (policy, _) = Policy::compile(std::slice::from_ref(&source)).unwrap();
    let findings = policy.findings(&boot, &Subject::new(Vm::default(), &[]));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.code.as_str(), finding.severity), ("policy-condition", Severity::High));
    assert_eq!(finding.message, source.message);
    assert_eq!(finding.hint, source.hint);
    assert!(finding.fails() && finding.reason.is_some());
    assert_eq!(finding.component.as_deref(), Some("condition no-init-override"));
    assert!(finding.seen.as_deref().unwrap().contains("init"), "{finding:?}");

    source.expression = "windows.code_integrity".to_owned();
    source.severity = Severity::Medium;
    let finding = compiled_finding(&source, &boot);
    assert_eq!(finding.code, "policy-data-absent");
    assert!(
        finding.message.contains("windows.code_integrity") && !finding.fails() && finding.reason.is_none()
    );
    source.expression = "1 / (log.events - log.events) == 1".to_owned();
    assert_eq!(compiled_finding(&source, &boot).code, "policy-condition-error");
}

fn compiled_finding(source: &Condition, boot: &Boot) -> Finding {
    let compiled = Compiled::compile(source).unwrap().0;
    compiled.finding(&compiled.evaluate(boot, &Subject::new(Vm::default(), &[]))).unwrap()
}

#[test]
fn findings_and_vm_are_variables() {
    let boot = boot("secure-boot");
    let mut changed = Finding::new("component-changed", Severity::High, "changed");
    changed.change = Some(veriboot_wire::ChangeClass::KernelUpdate);
    changed.pcr = Some(4);
    let own = Finding::new("policy-condition", Severity::High, "another condition");
    let findings = [changed, own];
    let vm = Vm { name: Some("db-0"), group: Some("prod"), scale_set: None, os: Some("linux") };
    let subject = Subject::new(vm, &findings);
    for (expression, holds) in [
        ("size(findings) == 1 && findings[0].pcr == 4 && findings[0].fails", true),
        ("!findings.exists(f, f.change == 'kernel-update')", false),
        ("vm.group == 'prod' && vm.os == 'linux' && vm.name.startsWith('db-') && !has(vm.scale_set)", true),
    ] {
        assert_eq!(compiled(expression).evaluate(&boot, &subject).holds(), holds, "{expression}");
    }
}

#[test]
fn a_log_that_says_nothing_leaves_everything_absent() {
    for log in [&b""[..], &[0; 100], b"prose and no log at all, really"] {
        let boot = read(log);
        assert!(matches!(evaluated("secure_boot.enabled", &boot), Evaluated::Absent { .. }));
        assert!(matches!(evaluated("images.all(i, false)", &boot), Evaluated::Absent { .. }));
        assert!(matches!(evaluated("!has(keys.db)", &boot), Evaluated::Absent { .. }));
    }
}

// ---- CEL's own interpreter as the second opinion ----

fn value(fact: &Fact) -> Value {
    match fact {
        Fact::Bool(value) => Value::Bool(*value),
        Fact::Int(value) => Value::Int(*value),
        Fact::Text(text) => Value::from(text.as_str()),
        Fact::List(items) => Value::List(items.iter().map(value).collect::<Vec<_>>().into()),
        Fact::Map(map) => {
            let map: HashMap<Key, Value> =
                map.iter().map(|(k, v)| (Key::from(k.as_str()), value(v))).collect();
            Value::Map(Map { map: map.into() })
        }
        Fact::Record(record) => Value::Map(Map { map: members(record).collect::<HashMap<_, _>>().into() }),
    }
}

fn members(record: &Record) -> impl Iterator<Item = (Key, Value)> {
    record
        .schema()
        .members
        .iter()
        .filter_map(|member| Some((Key::from(member.name), value(record.get(member.name)?))))
}

/// The interpreter of the crate `cel`: `Some` for a truth value, `None` when it has none.
fn second_opinion(expression: &str, boot: &Boot) -> Option<bool> {
    let program = cel::Env::stdlib().compile(expression).unwrap();
    let mut context = cel::Context::default();
    for (name, value) in members(boot.variables()) {
        let Key::String(name) = name else { panic!() };
        context.add_variable_from_value(name.as_str(), value);
    }
    context.add_variable_from_value("vm", Value::Map(Map { map: HashMap::new().into() }));
    context.add_variable_from_value("findings", Value::List(Vec::new().into()));
    match program.execute(&context) {
        Ok(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

#[test]
fn the_interpreter_of_cel_agrees() {
    let mut boots: Vec<(String, Boot)> = veriboot_testkit::corpus::all()
        .unwrap()
        .iter()
        .map(|g| (g.name.clone(), read(&g.event_log)))
        .collect();
    boots.extend(shared_logs().into_iter().map(|(name, log)| (name, read(&log))));
    let expressions =
        TRUE.iter().chain(FALSE).copied().chain(ABSENT.iter().map(|(e, _)| *e)).chain(ERROR.iter().copied());
    let mut compared = 0;
    for expression in expressions {
        // Its regular expressions are switched off here, as in the product.
        if expression.contains("matches") {
            continue;
        }
        let ours = compiled(expression);
        for (name, boot) in &boots {
            let ours = match ours.evaluate(boot, &Subject::new(Vm::default(), &[])) {
                Evaluated::Holds => Some(true),
                Evaluated::Fails { .. } => Some(false),
                _ => None,
            };
            assert_eq!(ours, second_opinion(expression, boot), "{name}: {expression}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
}

fn shared_logs() -> Vec<(String, Vec<u8>)> {
    let Ok(folder) = std::env::var("VERIBOOT_CORPUS") else { return Vec::new() };
    let mut logs: Vec<_> = std::fs::read_dir(Path::new(&folder).join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    logs.sort();
    logs
}

/// Every log of the corpus can be judged, and where a variable is there it has its type: nothing but absence and numbers
/// makes a checked condition fail to have a value.
#[test]
fn every_log_of_the_corpus_can_be_judged() {
    let logs = shared_logs();
    let conditions: Vec<Compiled> = TRUE.iter().chain(FALSE).map(|e| compiled(e)).collect();
    let (mut command_lines, mut windows) = (0, 0);
    for (name, log) in &logs {
        let boot = read(log);
        command_lines += usize::from(evaluated("has(command_line.text)", &boot).holds());
        windows += usize::from(evaluated("windows.measured", &boot).holds());
        for condition in &conditions {
            let came_to = condition.evaluate(&boot, &Subject::new(Vm::default(), &[]));
            assert!(
                !matches!(came_to, Evaluated::Error { .. }),
                "{name}: {}: {came_to:?}",
                condition.source().expression
            );
        }
    }
    if !logs.is_empty() {
        assert!(command_lines >= 5 && windows >= 1, "{command_lines} command lines, {windows} of Windows");
    }
}
