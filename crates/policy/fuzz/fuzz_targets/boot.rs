//! Any bytes as an event log that conditions are asked of.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::{Boot, Policy, Subject, Vm};
use veriboot_wire::Severity;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let conditions: Vec<Condition> = [
        "secure_boot.enabled && size(images) > 0 && images.all(i, has(i.authority))",
        "!parameters.exists(p, p.name == 'init' && p.?value.orValue('') != '')",
        "sbat.generations['shim'] >= 4 && keys.db.all(c, c.sha256.size() == 64)",
        "windows.modules.all(m, m.path.matches('[a-z]+[.]sys$'))",
    ]
    .into_iter()
    .enumerate()
    .map(|(n, expression)| Condition {
        id: format!("c{n}"),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    })
    .collect();
    Policy::compile(&conditions).map(|(policy, _)| policy).unwrap_or_default()
});

fuzz_target!(|log: &[u8]| {
    assert!(!POLICY.is_empty());
    let report = examine(log);
    let boot = Boot::read(log, &report, None, &Profile::default().run_time_pcrs);
    for finding in POLICY.findings(&boot, &Subject::new(Vm::default(), &report.findings)) {
        assert!(!finding.message.chars().any(char::is_control));
        assert!(finding.seen.is_none_or(|seen| !seen.chars().any(char::is_control)));
    }
});
