//! What the verification of a quote costs, beside the one signature check that nobody can avoid, measured in the
//! same run. Prints the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/support/forge.rs"]
mod forge;

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use criterion::Criterion;
use forge::{AK_ATTRIBUTES, Attest, NONCE, Signer, asked, pcr_value};
use veriboot_tpm::{AttestationKey, EndorsementKey, Expectation, make_credential, verify_quote};

/// Runs of one comparison; the two sides take turns, so that a busy machine disturbs both alike.
const ROUNDS: usize = 60;
/// Calls in one run.
const CALLS: u32 = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, signer) in [("rsa2048", Signer::rsa()), ("p256", Signer::ecc())] {
        bench_kind(&mut criterion, name, &signer);
    }
    bench_credential(&mut criterion);
    criterion.final_summary();
}

fn bench_kind(criterion: &mut Criterion, name: &str, signer: &Signer) {
    let public = signer.public(AK_ATTRIBUTES);
    let ak = AttestationKey::from_tpm2b(&public).unwrap();
    let quote = Attest::sound().bytes();
    let signature = signer.sign(&quote);
    let values: Vec<Vec<u8>> = (0..16).map(pcr_value).collect();
    let asked = asked();
    let expect = Expectation { nonce: Some(&NONCE), selection: Some(&asked) };

    let (algorithm, key, raw_signature): (&'static dyn VerificationAlgorithm, Vec<u8>, Vec<u8>) = match signer
    {
        Signer::Rsa(pair) => {
            (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec(), signature[6..].to_vec())
        }
        Signer::Ecc(pair) => {
            let raw = [&signature[6..38], &signature[40..]].concat();
            (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().to_vec(), raw)
        }
    };
    let raw_key = ParsedPublicKey::new(algorithm, &key).unwrap();

    let raw = || raw_key.verify_sig(black_box(&quote), black_box(&raw_signature)).is_ok();
    let whole = |ak: &AttestationKey| {
        verify_quote(ak, black_box(&quote), black_box(&signature), &expect)
            .is_ok_and(|quote| quote.pcr_digest_matches(|_, pcr| values.get(usize::from(pcr))))
    };
    let known = || whole(&ak);
    let fresh = || whole(&AttestationKey::from_tpm2b(black_box(&public)).unwrap());
    assert!(raw() && known() && fresh());

    let mut group = criterion.benchmark_group(format!("quote/{name}"));
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    group.bench_function("raw signature check", |b| b.iter(raw));
    group.bench_function("quote, known key", |b| b.iter(known));
    group.bench_function("quote, key parsed anew", |b| b.iter(fresh));
    group.finish();
    println!("{name}: quote with a known key / raw signature check = {:.3}", ratio(known, raw));
    println!("{name}: quote with the key parsed anew / raw signature check = {:.3}\n", ratio(fresh, raw));
}

/// The median over [`ROUNDS`] of the time of one over the time of the other.
fn ratio(one: impl Fn() -> bool, other: impl Fn() -> bool) -> f64 {
    let time = |work: &dyn Fn() -> bool| {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(work());
        }
        begin.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..ROUNDS).map(|_| time(&one) / time(&other)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

fn bench_credential(criterion: &mut Criterion) {
    let template = "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100800";
    let tpmt = [hex::decode(template).unwrap(), vec![0; 4], forge::sized(&Signer::rsa().modulus())].concat();
    let ek = EndorsementKey::from_tpm2b(&forge::sized(&tpmt)).unwrap();
    let name = [&[0, 0x0B][..], &[1; 32]].concat();
    criterion.bench_function("make_credential/rsa2048", |b| {
        b.iter(|| make_credential(&ek, black_box(&name), black_box(&[7; 32])).unwrap());
    });
}
