//! What an appraisal costs beside the cryptography that nobody can leave out (SPEC section 12).
//!
//! `cargo bench -p veriboot-appraisal` prints the usual times and then the ratios, each measured against operations that
//! run in turn with it: one RSA-2048 verification, for a log never seen also SHA-256 over the log, and for baselines of
//! many digests and boots the same judgement by a plain baseline. Medians; with `VERIBOOT_BENCH_LEAST=1` the least times,
//! which say more on a machine where something else runs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may fail loudly")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, rand};
use common::{Log, Machine, SHA256, Tpm};
use criterion::Criterion;
use veriboot_appraisal::{
    Baseline, CompiledBaseline, Conclude, Judgement, LogReport, Memo, Outcome, PcrValues, Profile, Rule,
    Says, conclude, examine, examine_with, judge,
};
use veriboot_eventlog::{ComponentKind, Registers, check_digests_of, hashes, measurements, parse, replay};
use veriboot_tpm::{AttestationKey, Expectation, PcrSelection, verify_quote};
use veriboot_wire::Verdict;

/// Everything that an appraisal starts from.
struct Bench {
    ak: AttestationKey,
    public_key: ParsedPublicKey,
    attest: Vec<u8>,
    /// TPMT_SIGNATURE; the raw signature is its tail.
    signature: Vec<u8>,
    nonce: Vec<u8>,
    selection: Vec<PcrSelection>,
    values: PcrValues,
    log: Vec<u8>,
    events: usize,
    baseline: CompiledBaseline,
    profile: Profile,
}

impl Bench {
    /// What a machine of the test kit writes.
    fn new(log: &Log) -> Self {
        Self::of(log.bytes(), &Tpm::booted(log))
    }

    /// A boot that was captured: the registers are those to which its log replays.
    fn captured(name: &str) -> Self {
        let path = format!("{}/../testkit/corpus/{name}/eventlog.bin", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let registers =
            |pcrs: &Registers| pcrs.iter().map(|(pcr, value)| (*pcr, value.as_ref().to_vec())).collect();
        let banks = examine(&bytes).banks;
        let mut tpm = Tpm::booted(&typical_machine().log());
        tpm.pcrs = banks.iter().map(|b| (b.replay.bank.tpm_id(), registers(&b.replay.pcrs))).collect();
        Self::of(bytes, &tpm)
    }

    fn of(bytes: Vec<u8>, tpm: &Tpm) -> Self {
        let nonce = vec![7; 32];
        let selection = vec![PcrSelection::new(SHA256.tpm_id(), 0..16).unwrap()];
        let quote = tpm.quote_of(selection.clone());

        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // RSAPublicKey: nine bytes of headers and sign byte, the modulus, the exponent 65537.
        let public = key.public_key().as_ref().to_vec();
        let mut attest = vec![0xFF, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 0];
        attest.extend((nonce.len() as u16).to_be_bytes());
        attest.extend(&nonce);
        attest.extend(quote.clock_ms.to_be_bytes());
        attest.extend(quote.reset_count.to_be_bytes());
        attest.extend(quote.restart_count.to_be_bytes());
        attest.push(1);
        attest.extend(quote.firmware_version.to_be_bytes());
        attest.extend([0, 0, 0, 1, 0, 0x0B, 3, 0xFF, 0xFF, 0]);
        attest.extend((quote.pcr_digest.len() as u16).to_be_bytes());
        attest.extend(&quote.pcr_digest);
        let mut raw = vec![0; 256];
        key.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), &attest, &mut raw).unwrap();
        let signature = [&[0, 0x14, 0, 0x0B, 1, 0], raw.as_slice()].concat();

        // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
        let attributes = (1_u32 << 1) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 16) | (1 << 18);
        let mut area = vec![0, 1, 0, 0x0B];
        area.extend(attributes.to_be_bytes());
        area.extend([0, 0, 0, 0x10, 0, 0x14, 0, 0x0B, 8, 0, 0, 0, 0, 0, 1, 0]);
        area.extend(&public[9..265]);
        let tpm2b = [&(area.len() as u16).to_be_bytes()[..], &area].concat();

        let report = examine(&bytes);
        Self {
            ak: AttestationKey::from_tpm2b(&tpm2b).unwrap(),
            public_key: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public).unwrap(),
            attest,
            signature,
            nonce,
            selection,
            values: tpm.values(),
            events: report.events,
            baseline: Baseline::learn(&report, SHA256).unwrap().compile(),
            profile: Profile::default(),
            log: bytes,
        }
    }

    fn raw_verify(&self) {
        self.public_key.verify_sig(black_box(&self.attest), &self.signature[6..]).unwrap();
    }

    fn raw_verify_and_hash(&self) {
        self.raw_verify();
        black_box(digest::digest(&digest::SHA256, black_box(&self.log)));
    }

    fn known(&self, report: &LogReport, judgement: &Judgement) -> Outcome {
        let expect = Expectation { nonce: Some(&self.nonce), selection: Some(&self.selection) };
        let quote = verify_quote(&self.ak, black_box(&self.attest), &self.signature, &expect);
        conclude(Conclude {
            quote: quote.as_ref(),
            pcr_values: Some(&self.values),
            report: Some(report),
            log_absent_because: None,
            judgement: Some(judgement),
            profile: &self.profile,
            previous: None,
        })
    }

    fn new_log(&self, memo: &Memo) -> Outcome {
        let report = examine_with(black_box(&self.log), memo).report;
        let judgement = judge(&report, SHA256, Some(&self.baseline), &self.profile);
        self.known(&report, &judgement)
    }
}

/// About 18 KB and 95 events in one bank: a full dbx and a GRUB menu.
fn typical() -> Bench {
    Bench::new(&typical_machine().log())
}

fn typical_machine() -> Machine {
    let commands: Vec<&'static str> = (0..56)
        .map(|n| &*format!("menuentry Debian-{n} --class debian --class gnu-linux --class os").leak())
        .collect();
    Machine { banks: vec![SHA256], dbx_hashes: 144, more_commands: commands, ..Machine::default() }
}

/// Digests that the large baseline accepts beside its boots.
const ACCEPTED_DIGESTS: u32 = 10_000;

/// The baseline of `bench` with [`ACCEPTED_DIGESTS`] more digests of kernels, loaders and initrds, among them those of
/// `also`.
fn of_many_digests(bench: &Bench, also: &[&str]) -> CompiledBaseline {
    let mut baseline = Baseline::clone(&bench.baseline);
    let kinds =
        [ComponentKind::Kernel, ComponentKind::BootLoader, ComponentKind::Shim, ComponentKind::Initrd];
    for kind in kinds {
        let known =
            (0..ACCEPTED_DIGESTS / 4).map(|n| SHA256.hash(&[kind.as_str().as_bytes(), &n.to_le_bytes()]));
        let also = also.iter().map(|text| SHA256.hash(&[text.as_bytes()]));
        baseline.rules.push(Rule::new(kind, Says::Digests(known.chain(also).collect())));
    }
    baseline.compile()
}

/// The baseline of `bench` with 63 more boots of other initrds.
fn of_many_boots(bench: &Bench) -> CompiledBaseline {
    let mut baseline = Baseline::clone(&bench.baseline);
    let newest = baseline.boots.pop().unwrap();
    for n in 0_u32..63 {
        let mut boot = newest.clone();
        for reference in boot.measurements.iter_mut().filter(|r| r.kind == ComponentKind::Initrd) {
            reference.digest = SHA256.hash(&[&n.to_le_bytes()]);
        }
        baseline.boots.push(boot);
    }
    baseline.boots.insert(0, newest);
    baseline.compile()
}

/// What the service gives the memo, so that a service that just started is measured as it is.
fn empty_memo() -> Memo {
    Memo::new(16 * 1024 * 1024)
}

/// Pairs of boots that were captured: what the service has seen, and the log that it has not.
const PAIRS: &[(&str, &str, &str)] = &[
    ("another kernel", "secure-boot", "other-kernel"),
    ("an updated dbx", "secure-boot", "dbx-updated"),
    ("GRUB menu of Debian, updated", "debian-menu", "debian-menu-updated"),
    ("GRUB menu of Debian, after another machine", "microsoft-2023", "debian-menu"),
];

/// A log never seen, by a service that has seen nothing, and by one that has seen another log.
fn ratios_of_new_logs() {
    for (what, seen, new) in PAIRS {
        let (seen, new) = (Bench::captured(seen), Bench::captured(new));
        assert_ne!(seen.log, new.log);
        ratio_of_a_new_log(what, &new, &seen.log);
    }
    let machine = Machine { kernel: "linux 6.1.0-51", initrd: "initrd 2", ..typical_machine() };
    let new = Bench::new(&machine.log());
    ratio_of_a_new_log("made log, kernel and initrd updated", &new, &typical().log);
}

fn ratio_of_a_new_log(what: &str, new: &Bench, seen: &[u8]) {
    let mut memo = empty_memo();
    memo.learn(seen, &examine_with(seen, &memo).unknown);
    let unknown = examine_with(&new.log, &memo).unknown;
    let nothing = empty_memo();
    for memo in [&memo, &nothing] {
        assert_eq!(new.new_log(memo).verdict, Verdict::Healthy, "{:?}", new.new_log(memo).findings);
    }
    let banks = parse(&new.log).unwrap().active_banks().len();
    println!("{what}: {} bytes, {} events, {banks} banks", new.log.len(), new.events);
    for (before, memo) in [("nothing seen before", &nothing), ("another boot seen before", &memo)] {
        let (new, raw) = in_turn(|| drop(black_box(new.new_log(memo))), || new.raw_verify_and_hash());
        println!("  {before}: {:.1} µs, raw {:.1} µs, ratio {:.2} (bar 2)", new / 1e3, raw / 1e3, new / raw);
    }
    // After the answer, and only of what is new.
    let (learn, _) = in_turn(|| empty_memo().learn(&new.log, &unknown), || {});
    println!("  to learn its {} new events: {:.1} µs", unknown.len(), learn / 1e3);
}

fn ratio_of_judgements(bench: &Bench) {
    let report = examine(&bench.log);
    let profile = &bench.profile;
    let judged = |report: &LogReport, baseline: &CompiledBaseline| {
        black_box(judge(black_box(report), SHA256, Some(baseline), profile));
    };
    let many = of_many_digests(bench, &[]);
    let (large, plain) = in_turn(|| judged(&report, &many), || judged(&report, &bench.baseline));
    println!(
        "judge by {ACCEPTED_DIGESTS} digests: {:.1} µs, by a plain baseline {:.1} µs, ratio {:.2} (bar about 1)",
        large / 1e3,
        plain / 1e3,
        large / plain
    );
    // A boot that is accepted by one of the digests, and one that deviates.
    for (what, initrd, fits) in [("accepted by a digest", "initrd 2", true), ("deviating", "initrd 3", false)]
    {
        let machine = Machine { initrd, ..typical_machine() };
        let other = examine(&machine.log().bytes());
        let (few, many) = (few_digests(bench, "initrd 2"), of_many_digests(bench, &["initrd 2"]));
        for baseline in [&few, &many] {
            assert_eq!(judge(&other, SHA256, Some(baseline), profile).accepts(), fits);
        }
        let (large, plain) = in_turn(|| judged(&other, &many), || judged(&other, &few));
        println!(
            "{what}: {:.1} µs by {ACCEPTED_DIGESTS} digests, {:.1} µs by one, ratio {:.2} (bar about 1)",
            large / 1e3,
            plain / 1e3,
            large / plain
        );
    }
    let boots = of_many_boots(bench);
    let (large, plain) = in_turn(|| judged(&report, &boots), || judged(&report, &bench.baseline));
    println!(
        "judge by 64 boots: {:.1} µs, by one {:.1} µs, ratio {:.2} (bar about 1)",
        large / 1e3,
        plain / 1e3,
        large / plain
    );
}

fn few_digests(bench: &Bench, initrd: &str) -> CompiledBaseline {
    let mut baseline = Baseline::clone(&bench.baseline);
    let digests = [SHA256.hash(&[initrd.as_bytes()])].into();
    baseline.rules.push(Rule::new(ComponentKind::Initrd, Says::Digests(digests)));
    baseline.compile()
}

/// Median (or least) nanoseconds of `a` and of `b`, which run in turn so that both see the same machine.
fn in_turn(mut a: impl FnMut(), mut b: impl FnMut()) -> (f64, f64) {
    const ROUNDS: usize = 201;
    const PER_ROUND: u32 = 20;
    let time = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            f();
        }
        start.elapsed().as_nanos() as f64 / f64::from(PER_ROUND)
    };
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_a.push(time(&mut a));
        of_b.push(time(&mut b));
    }
    let place = if std::env::var_os("VERIBOOT_BENCH_LEAST").is_some() { 0 } else { ROUNDS / 2 };
    let one = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[place]
    };
    (one(of_a), one(of_b))
}

fn main() {
    let bench = typical();
    let nothing = empty_memo();
    let report = examine(&bench.log);
    let judgement = judge(&report, SHA256, Some(&bench.baseline), &bench.profile);
    assert_eq!(bench.new_log(&nothing).verdict, Verdict::Healthy, "{:?}", bench.new_log(&nothing).findings);
    assert_eq!(bench.known(&report, &judgement).verdict, Verdict::Healthy);

    // For profilers: nothing but new logs, so many of them.
    if let Some(times) = std::env::var("VERIBOOT_BENCH_NEW_LOGS").ok().and_then(|times| times.parse().ok()) {
        (0..times).for_each(|_: u32| drop(black_box(bench.new_log(&nothing))));
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("raw: RSA-2048 verify", |b| b.iter(|| bench.raw_verify()));
    criterion.bench_function("raw: RSA-2048 verify + SHA-256 of the log", |b| {
        b.iter(|| bench.raw_verify_and_hash())
    });
    let parsed = parse(&bench.log).unwrap();
    criterion.bench_function("part: parse", |b| b.iter(|| parse(black_box(&bench.log))));
    criterion
        .bench_function("part: SHA-256 of the log", |b| b.iter(|| SHA256.hash(&[black_box(&bench.log)])));
    criterion.bench_function("part: replay", |b| b.iter(|| replay(black_box(&parsed), SHA256)));
    criterion
        .bench_function("part: check digests", |b| b.iter(|| check_digests_of(black_box(&parsed), SHA256)));
    criterion.bench_function("part: SHA-256 of the log, replay and check of digests side by side", |b| {
        b.iter(|| hashes(black_box(&bench.log), black_box(&parsed)));
    });
    criterion.bench_function("part: measurements", |b| b.iter(|| measurements(black_box(&parsed), SHA256)));
    criterion.bench_function("log: examine", |b| b.iter(|| examine(black_box(&bench.log))));
    criterion.bench_function("log: judge by baseline", |b| {
        b.iter(|| judge(black_box(&report), SHA256, Some(&bench.baseline), &bench.profile));
    });
    criterion.bench_function("appraisal of a known log", |b| b.iter(|| bench.known(&report, &judgement)));
    criterion.bench_function("appraisal of a new log", |b| b.iter(|| bench.new_log(&nothing)));
    criterion.final_summary();

    let (new, raw) = in_turn(
        || {
            black_box(bench.new_log(&nothing));
        },
        || bench.raw_verify_and_hash(),
    );
    let (known, verify) = in_turn(
        || {
            black_box(bench.known(&report, &judgement));
        },
        || bench.raw_verify(),
    );
    println!("log of {} bytes, {} events, 1 bank", bench.log.len(), bench.events);
    println!(
        "new log:   {:.1} µs, raw (verify + SHA-256) {:.1} µs, ratio {:.2} (bar 2)",
        new / 1e3,
        raw / 1e3,
        new / raw
    );
    println!(
        "known log: {:.1} µs, raw (verify) {:.1} µs, ratio {:.2} (bar 1.3)",
        known / 1e3,
        verify / 1e3,
        known / verify
    );
    parts_of_a_new_log(&bench, &report, &judgement);
    ratios_of_new_logs();
    ratio_of_judgements(&bench);
}

/// Where the time of a new log goes, each part by itself.
fn parts_of_a_new_log(bench: &Bench, report: &LogReport, judgement: &Judgement) {
    let parsed = parse(&bench.log).unwrap();
    let parts: [(&str, &dyn Fn()); 9] = [
        ("quote and conclusion", &|| drop(black_box(bench.known(report, judgement)))),
        ("parse", &|| drop(black_box(parse(&bench.log)))),
        ("log digest, replay, digest checks", &|| drop(black_box(hashes(&bench.log, &parsed)))),
        ("- log digest alone", &|| {
            black_box(SHA256.hash(&[black_box(&bench.log)]));
        }),
        ("- replay alone", &|| drop(black_box(replay(&parsed, SHA256)))),
        ("- digest checks alone", &|| drop(black_box(check_digests_of(&parsed, SHA256)))),
        ("labels", &|| drop(black_box(measurements(&parsed, SHA256)))),
        ("examine, of which all of these are parts but the first", &|| drop(black_box(examine(&bench.log)))),
        ("judge", &|| {
            drop(black_box(judge(report, SHA256, Some(&bench.baseline), &bench.profile)));
        }),
    ];
    for (name, part) in parts {
        let (time, _) = in_turn(part, || {});
        println!("part of a new log: {name}: {:.1} µs", time / 1e3);
    }
}
