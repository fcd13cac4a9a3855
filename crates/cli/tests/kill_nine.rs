//! What was acknowledged survives `kill -9` (ATTACKS.md row 24): the real binary, real agents, the embedded
//! database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod made_log;
mod serve;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serve::{Service, free_port};
use veriboot_agent::{Agent, AgentConfig, Trust};
use veriboot_store::audit::ChainReport;
use veriboot_store::{Store, attestations, audit, baselines, vms};
use veriboot_testkit::swtpm::Swtpm;
use veriboot_wire::VmStatus;

const ROUNDS: usize = 5;
const GUESTS: usize = 3;

struct Guest {
    agent: Agent,
    tpm: Swtpm,
    dir: tempfile::TempDir,
    boots: u32,
}

impl Guest {
    fn new(url: &str, ca: &Path, name: &str, join_token: &str) -> Self {
        let (tpm, dir) = (Swtpm::start().unwrap(), tempfile::tempdir().unwrap());
        let config = AgentConfig {
            join_token: Some(join_token.to_owned()),
            trust: Trust::CaFile(ca.to_owned()),
            tpm: tpm.tpm_address().parse().unwrap(),
            event_log: dir.path().join("log"),
            kernel_root: dir.path().join("root"),
            name: Some(name.to_owned()),
            ..AgentConfig::new(url, dir.path().join("state"))
        };
        Self { agent: Agent::new(config).unwrap(), tpm, dir, boots: 0 }
    }

    /// Every boot is another one, and none has Secure Boot: each attestation raises an alert, so that every
    /// table is written.
    fn boot(&mut self) {
        self.boots += 1;
        self.tpm.reboot().unwrap();
        let data = format!("boot {}", self.boots).into_bytes();
        let digest = sha256(&data);
        self.tpm.extend(8, "sha256", &digest).unwrap();
        let log = made_log::of_one_event(&digest, &data);
        std::fs::write(self.dir.path().join("log"), log).unwrap();
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    veriboot_eventlog::HashAlg::Sha256.hash(&[data]).as_ref().to_vec()
}

#[test]
fn row_24_acknowledged_attestations_survive_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("https://127.0.0.1:{port}");
    let mut service = Service::start_at(dir.path(), port);
    let join_token = join_token(dir.path(), service);
    service = Service::start_at(dir.path(), port);
    let ca = dir.path().join("data/ca.pem");
    let mut guests: Vec<Guest> =
        (0..GUESTS).map(|n| Guest::new(&url, &ca, &format!("vm-{n}"), &join_token)).collect();
    // What the service said that it has: (VM, attestation).
    let acknowledged: Mutex<Vec<(String, String)>> = Mutex::default();

    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for guest in &mut guests {
                let (stop, acknowledged) = (&stop, &acknowledged);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        guest.boot();
                        // Refused connections and broken answers are what a killed service looks like.
                        if let Ok(receipt) = guest.agent.attest_once() {
                            let vm = guest.agent.enrolment().unwrap().unwrap().vm_id;
                            acknowledged.lock().unwrap().push((vm, receipt.attestation_id));
                        }
                    }
                });
            }
            let (enough, start) = (GUESTS * 4 * (round + 1), Instant::now());
            while acknowledged.lock().unwrap().len() < enough && start.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(3));
            }
            service.kill();
            stop.store(true, Ordering::Relaxed);
        });
        verify(dir.path(), &acknowledged.lock().unwrap());
        service = Service::start_at(dir.path(), port);
    }
    assert!(acknowledged.lock().unwrap().len() >= GUESTS * 4 * ROUNDS);
    for guest in &mut guests {
        guest.boot();
        let receipt = guest.agent.attest_once().expect("goes on as if nothing had been");
        assert_eq!((receipt.status, receipt.token), (VmStatus::Unhealthy, None));
    }
}

/// Who could not attest because nobody listened is not silent: not after the restart, but one limit later.
#[test]
fn a_service_that_was_killed_calls_nobody_silent_for_it() {
    let settings = [("VERIBOOT_INTERVAL_S", "1"), ("VERIBOOT_SILENCE_LIMIT_S", "10")];
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let service = Service::start_with(dir.path(), port, &settings);
    let join_token = join_token(dir.path(), service);
    let service = Service::start_with(dir.path(), port, &settings);
    let ca = dir.path().join("data/ca.pem");
    let mut guest = Guest::new(&format!("https://127.0.0.1:{port}"), &ca, "quiet", &join_token);
    guest.boot();
    guest.agent.attest_once().unwrap();
    let vm = guest.agent.enrolment().unwrap().unwrap().vm_id;
    service.kill();
    std::thread::sleep(Duration::from_secs(12));
    let service = Service::start_with(dir.path(), port, &settings);
    let back = Instant::now();
    let status = || {
        let vm = vm.clone();
        on_store(dir.path(), move |tx| {
            let row = vms::by_id(tx, &vm)?.unwrap();
            let alerts = veriboot_store::alerts::open_for(tx, &vm, veriboot_wire::AlertReason::AgentSilent)?;
            Ok((row.status, alerts.map(|alert| alert.count)))
        })
    };
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(
        status(),
        (VmStatus::Unhealthy, None),
        "22 seconds without evidence, and 5 in which it could come"
    );
    while status().0 != VmStatus::Stale {
        assert!(back.elapsed() < Duration::from_secs(60), "silence is noticed");
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(back.elapsed() >= Duration::from_secs(9), "{:?}", back.elapsed());
    assert_eq!(status(), (VmStatus::Stale, Some(1)));
    service.kill();
    let outage = on_store(dir.path(), veriboot_store::heartbeats::last_outage).unwrap();
    let lasted = outage.until.unix_ms() - outage.from.unix_ms();
    assert!((11_000..30_000).contains(&lasted), "{outage:?}");
}

/// A join token, made in the database while the service is stopped.
fn join_token(dir: &Path, service: Service) -> String {
    service.kill();
    let secret = "vbj_only-for-this-test".to_owned();
    let hash = sha256(secret.as_bytes());
    on_store(dir, move |tx| {
        let now = veriboot_wire::Time::from_unix_ms(1_700_000_000_000);
        let token = veriboot_wire::JoinToken {
            id: veriboot_store::new_id(now),
            group: "default".into(),
            scale_set: None,
            image: None,
            uses_left: 100,
            expires_at: veriboot_wire::Time::from_unix_ms(i64::MAX),
            created_at: now,
            created_by: "test".into(),
            comment: None,
            revoked: false,
        };
        veriboot_store::join_tokens::insert(tx, &token, &hash)
    });
    secret
}

fn on_store<T: Send + 'static>(
    dir: &Path,
    work: impl FnMut(&mut dyn veriboot_store::Tx) -> Result<T, veriboot_store::StoreError> + Send + 'static,
) -> T {
    let url = format!("sqlite:{}", dir.join("data/veriboot.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&url).expect("the database opens after the kill");
        let value = store.write(work).await.unwrap();
        store.close().await;
        value
    })
}

/// Everything that was acknowledged is there, and what is there fits together.
fn verify(dir: &Path, acknowledged: &[(String, String)]) {
    let expected = acknowledged.to_vec();
    on_store(dir, move |tx| {
        for (vm, id) in &expected {
            let attestation = attestations::by_id(tx, id)?.unwrap_or_else(|| panic!("{id} is lost"));
            assert_eq!(&attestation.vm_id, vm);
            assert!(attestations::evidence(tx, id)?.is_some());
            // Of logs that were never healthy the last ones are kept.
            if let Some(log) = attestation.log_sha256 {
                assert!(veriboot_store::logs::has(tx, &log)?);
            }
        }
        for vm in expected.iter().map(|(vm, _)| vm).collect::<std::collections::BTreeSet<_>>() {
            let row = vms::by_id(tx, vm)?.expect("the VM is there");
            let last = attestations::latest(tx, vm)?.expect("attested");
            assert_eq!(
                row.last_attestation_id.as_deref(),
                Some(last.id.as_str()),
                "record and history agree"
            );
            assert_eq!(row.current_boot_id, last.boot_id);
            let log = last.log_sha256.expect("with its log");
            assert!(veriboot_store::logs::has(tx, &log)?);
            assert_eq!(row.status, VmStatus::Unhealthy);
            let open = veriboot_store::alerts::open_count(tx, vm)?;
            assert_eq!(open, 1, "one open alert");
            // One alert, counted once for each attestation of this VM that is stored: all or nothing.
            let query = veriboot_wire::AlertQuery { vm: Some(vm.clone()), ..Default::default() };
            let raised: u64 = veriboot_store::alerts::list(tx, &query)?.items.iter().map(|a| a.count).sum();
            let stored = attestations::list(tx, vm, Some(1000), None)?.items.len();
            assert_eq!(raised, u64::try_from(stored).unwrap());
        }
        assert!(matches!(audit::verify_chain(tx)?, ChainReport::Intact { .. }));
        assert!(baselines::list(tx, &Default::default())?.items.is_empty(), "nothing was healthy");
        Ok(())
    });
}
