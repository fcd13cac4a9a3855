//! What conditions cost: reading a log once, compiling once, and evaluating on every attestation.
//!
//! `cargo bench -p veriboot-policy` ends with the cost of one condition, and with that of ten beside one RSA-2048
//! verification, which an attestation cannot do without.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use veriboot_appraisal::{Condition, Profile, examine};
use veriboot_policy::{Boot, Policy, Subject, Vm};
use veriboot_wire::Severity;

const LOG: &[u8] = include_bytes!("../../testkit/corpus/secure-boot/eventlog.bin");
/// One RSA-2048 verification by aws-lc-rs (docs/performance.md).
const VERIFY_US: f64 = 16.0;

const EXPRESSIONS: [&str; 10] = [
    "secure_boot.enabled && secure_boot.shim_validates",
    "!parameters.exists(p, p.name in ['init', 'rdinit', 'single', 'systemd.debug-shell', 'rd.break'])",
    "size(authorities) > 0 && authorities.all(a, a.name in ['Microsoft Corporation UEFI CA 2011', 'Debian Secure Boot CA'])",
    "sbat.date >= '2023-01-29' && sbat.generations['shim'] >= 2",
    "keys.microsoft_2023",
    "!findings.exists(f, f.change in ['firmware-update', 'secure-boot-key-change'])",
    "!windows.measured || (windows.code_integrity && !windows.test_signing)",
    "size(images) in [3, 4] && images.all(i, i.role in ['shim', 'boot-loader', 'kernel'])",
    "vm.group != 'production' || (size(keys.pk) == 1 && keys.pk[0].sha256.startsWith('5fb05ed8'))",
    "command_line.text.matches('^console=ttyS0( |$)')",
];

fn conditions() -> Vec<Condition> {
    EXPRESSIONS
        .iter()
        .enumerate()
        .map(|(n, expression)| Condition {
            id: format!("c{n}"),
            expression: (*expression).to_owned(),
            severity: Severity::High,
            message: "It does not hold".to_owned(),
            hint: None,
        })
        .collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let registers = Profile::default().run_time_pcrs;
    let report = examine(LOG);
    let conditions = conditions();
    let (policy, _) = Policy::compile(&conditions).unwrap();
    let boot = Boot::read(LOG, &report, None, &registers);
    let vm = Vm { name: Some("db-0"), group: Some("default"), scale_set: None, os: Some("linux") };
    let evaluate = || {
        let subject = Subject::new(vm, &report.findings);
        policy.conditions().iter().filter(|condition| condition.evaluate(&boot, &subject).holds()).count()
    };
    assert_eq!(evaluate(), 9, "all but the certificates of 2023");
    criterion
        .bench_function("read a log", |b| b.iter(|| Boot::read(black_box(LOG), &report, None, &registers)));
    criterion
        .bench_function("compile ten conditions", |b| b.iter(|| Policy::compile(black_box(&conditions))));
    criterion.bench_function("evaluate ten conditions", |b| b.iter(|| black_box(evaluate())));
    criterion.final_summary();

    const ROUNDS: u32 = 20_000;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(evaluate());
    }
    let ten_us = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!(
        "one condition: {:.2} µs; ten: {:.2} × one RSA-2048 verification",
        ten_us / 10.0,
        ten_us / VERIFY_US
    );
}
