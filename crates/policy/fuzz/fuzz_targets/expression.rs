//! Any text as the expression of a condition, on a real boot.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::{Boot, Compiled, Evaluated, Subject, Vm};
use veriboot_wire::Severity;

static BOOT: LazyLock<Boot> = LazyLock::new(|| {
    let log = include_bytes!("../../../testkit/corpus/secure-boot/eventlog.bin");
    Boot::read(log, &examine(log), None, &Profile::default().run_time_pcrs)
});

fuzz_target!(|expression: &str| {
    let condition = Condition {
        id: "fuzz".to_owned(),
        expression: expression.to_owned(),
        severity: Severity::High,
        message: "It does not hold".to_owned(),
        hint: None,
    };
    match Compiled::compile(&condition) {
        Ok((compiled, _)) => {
            let came_to = compiled.evaluate(&BOOT, &Subject::new(Vm::default(), &[]));
            // Types are right after the check: only data, numbers and the number of steps can fail.
            if let Evaluated::Error { why } = &came_to {
                assert!(!why.starts_with("it is") && !why.starts_with("it has") && !why.starts_with("it cannot"), "{why}");
            }
            assert_eq!(compiled.finding(&came_to).is_none(), came_to.holds());
        }
        Err(problems) => assert!(!problems.is_empty()),
    }
});
