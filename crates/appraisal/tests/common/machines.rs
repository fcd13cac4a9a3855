//! Baselines of machines that are described, and not captured.

use veriboot_appraisal::{Baseline, Judgement, LogReport, Profile, examine, judge};

use super::{Machine, SHA256};

pub fn with(change: impl Fn(&mut Machine)) -> Machine {
    let mut machine = Machine::default();
    change(&mut machine);
    machine
}

pub fn report(machine: &Machine) -> LogReport {
    examine(&machine.log().bytes())
}

pub fn learned(machines: &[&Machine]) -> Baseline {
    let reports: Vec<LogReport> = machines.iter().map(|machine| report(machine)).collect();
    Baseline::learn_from(&reports.iter().collect::<Vec<_>>(), SHA256).unwrap()
}

pub fn judged(baseline: &Baseline, machine: &Machine) -> Judgement {
    judge(&report(machine), SHA256, Some(&baseline.clone().compile()), &Profile::default())
}

pub fn told(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|f| format!("{} {}: {}\n", f.severity, f.code, f.message)).collect()
}

pub fn toml(text: &str) -> Baseline {
    Baseline::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
}

pub fn old() -> Machine {
    Machine::default()
}

pub fn new() -> Machine {
    with(|m| {
        m.kernel = "linux 6.1.0-56";
        m.kernel_path = "/vmlinuz-6.1.0-56-cloud-amd64";
        m.initrd = "initrd 2";
    })
}
