//! Cost of reading a log beside the cost of the hashing that reading it cannot avoid.
//!
//! `cargo bench -p veriboot-eventlog` prints, for each log: parse + decode of every event + replay of one bank, the
//! hashing alone (one extend per event), and their ratio; then throughput. Logs: the captures of this repository, and
//! those of `VERIBOOT_CORPUS` where it is set.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use veriboot_eventlog::{HashAlg, check_digests, ima, measurements, parse, replay, story};

fn logs() -> Vec<(String, Vec<u8>)> {
    let mut logs = Vec::new();
    let captures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/corpus");
    let folders = std::fs::read_dir(captures).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = folders.map(|folder| folder.path().join("eventlog.bin")).collect();
    if let Some(corpus) = std::env::var_os("VERIBOOT_CORPUS") {
        let files = std::fs::read_dir(PathBuf::from(corpus).join("logs")).into_iter().flatten();
        paths.extend(files.filter_map(Result::ok).map(|file| file.path()));
    }
    paths.sort();
    for path in paths {
        let name =
            path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>();
        if let Ok(bytes) = std::fs::read(&path)
            && parse(&bytes).is_ok()
        {
            logs.push((name.join(" of "), bytes));
        }
    }
    logs
}

/// What the engine does for one log in one bank.
fn engine(bytes: &[u8], bank: HashAlg) {
    let Ok(log) = parse(bytes) else { return };
    for event in &log.events {
        black_box(event.decode());
    }
    black_box(replay(&log, bank));
}

/// The hashing that no engine can leave out: one extend per event.
fn hashing(digests: &[&[u8]], bank: HashAlg) {
    let mut register = veriboot_eventlog::Digest::zero(bank);
    for digest in digests {
        register = bank.extend(&register, digest);
    }
    black_box(register);
}

/// Shortest of several rounds: the least disturbed one.
fn shortest(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        for _ in 0..20 {
            work();
        }
        best = best.min(start.elapsed() / 20);
    }
    best
}

fn ratios(logs: &[(String, Vec<u8>)]) {
    let (mut total_engine, mut total_hashing, mut total_all) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut bytes_read, mut events) = (0, 0);
    for (name, bytes) in logs {
        let Ok(log) = parse(bytes) else { continue };
        let Some(bank) =
            log.active_banks().into_iter().find(|b| *b != HashAlg::Sha1).or(log.banks.first().copied())
        else {
            continue;
        };
        let digests: Vec<&[u8]> =
            log.session().iter().filter(|e| e.extends()).filter_map(|e| e.digest(bank)).collect();
        let (engine, hashing) = (shortest(|| engine(bytes, bank)), shortest(|| hashing(&digests, bank)));
        let all = shortest(|| {
            let Ok(log) = parse(bytes) else { return };
            black_box((replay(&log, bank), measurements(&log, bank), check_digests(&log), story(&log)));
        });
        println!(
            "{name:<70} {:>7} B {:>4} events {:>8.1} µs engine {:>8.1} µs hashing  ratio {:>5.2}  {:>8.1} µs with story",
            bytes.len() - log.trailing,
            log.events.len(),
            engine.as_secs_f64() * 1e6,
            hashing.as_secs_f64() * 1e6,
            engine.as_secs_f64() / hashing.as_secs_f64(),
            all.as_secs_f64() * 1e6,
        );
        total_engine += engine;
        total_hashing += hashing;
        total_all += all;
        bytes_read += bytes.len() - log.trailing;
        events += log.events.len();
    }
    let seconds = total_engine.as_secs_f64();
    println!(
        "TOTAL ratio {:.2} (bar: 1.3, or 1 GB/s); {:.0} MB/s; {:.0} logs/s; {:.0} ns/event; {:.1} µs per log with story",
        seconds / total_hashing.as_secs_f64(),
        bytes_read as f64 / seconds / 1e6,
        logs.len() as f64 / seconds,
        seconds * 1e9 / events as f64,
        total_all.as_secs_f64() * 1e6 / logs.len() as f64,
    );
}

/// A list of IMA as a busy machine has it: signed files with long paths.
fn ima_list(entries: u32) -> Vec<u8> {
    let mut list = Vec::new();
    for entry in 0..entries {
        let digest = HashAlg::Sha256.hash(&[&entry.to_le_bytes()]);
        let name = format!("/usr/lib/x86_64-linux-gnu/libexample-{entry}.so.1.2.3\0");
        let mut data = Vec::new();
        for field in [&[b"sha256:\0", digest.as_ref()].concat(), name.as_bytes(), &[3; 264]] {
            data.extend((field.len() as u32).to_le_bytes());
            data.extend(field);
        }
        list.extend(10_u32.to_le_bytes());
        list.extend(HashAlg::Sha1.hash(&[&data]).as_ref());
        list.extend(7_u32.to_le_bytes());
        list.extend(b"ima-sig");
        list.extend((data.len() as u32).to_le_bytes());
        list.extend(data);
    }
    list
}

/// Reading, decoding and replaying a list, beside the digests of the template data and the extends.
fn ima_ratio() {
    let bytes = ima_list(2_000);
    let bank = HashAlg::Sha256;
    let engine = shortest(|| {
        let Ok(list) = ima::parse(&bytes) else { return };
        for entry in &list.entries {
            black_box(entry.decode());
        }
        black_box(ima::replay(&list, bank, ima::Extend::OwnDigest, |_| None));
    });
    let list = ima::parse(&bytes).ok();
    let data: Vec<&[u8]> = list.iter().flat_map(|l| &l.entries).filter_map(|e| e.data.as_deref()).collect();
    let hashing = shortest(|| {
        let mut register = veriboot_eventlog::Digest::zero(bank);
        for data in &data {
            register = bank.extend(&register, bank.hash(&[data]).as_ref());
        }
        black_box(register);
    });
    println!(
        "IMA list of {} entries: ratio {:.2} (bar: 1.3, or 1 GB/s); {:.0} MB/s; {:.0} ns/entry",
        data.len(),
        engine.as_secs_f64() / hashing.as_secs_f64(),
        bytes.len() as f64 / engine.as_secs_f64() / 1e6,
        engine.as_secs_f64() * 1e9 / data.len() as f64,
    );
}

fn main() {
    ima_ratio();
    let logs = logs();
    if logs.is_empty() {
        println!("no logs: neither ../testkit/corpus nor VERIBOOT_CORPUS");
        return;
    }
    ratios(&logs);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("engine");
    for (name, bytes) in logs.iter().take(3) {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| engine(bytes, HashAlg::Sha256)));
    }
    group.finish();
}
