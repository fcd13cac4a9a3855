//! A whole service over TLS on either database, and guests: the real agent library on a real swtpm.
#![allow(dead_code)] // each test binary uses its part of this
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod attacks;
pub mod baselines;
pub mod boot;
pub mod captured;
pub mod copies;
pub mod operator;
pub mod proposals;
pub mod raw;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;
use veriboot_agent::{Agent, AgentConfig, AgentError, Trust};
use veriboot_service::{AppState, Clock, Config, ServeOptions, Server, auth};
use veriboot_store::vms::VmRow;
use veriboot_store::{StoreError, Tx, alerts, attestations, audit, boots, join_tokens, new_id, vms};
use veriboot_testkit::postgres::Postgres;
use veriboot_testkit::swtpm::Swtpm;
use veriboot_wire::{
    Alert, AlertQuery, Attestation, AuditEntry, Boot as BootRow, EvidenceRequest, JoinToken, Receipt, Verdict,
};

use boot::Boot;

/// Runs a scenario on SQLite and on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                super::scenario::$name(&$crate::agent_support::World::sqlite());
            }
            #[test]
            fn postgres() {
                if let Some(world) = $crate::agent_support::World::postgres() {
                    super::scenario::$name(&world);
                }
            }
        }
    )+};
}

/// Runs a scenario on SQLite.
#[macro_export]
macro_rules! on_sqlite {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            scenario::$name(&$crate::agent_support::World::sqlite());
        }
    )+};
}

/// One running service.
pub struct World {
    server: Option<Server>,
    /// Where the last service listened that was stopped.
    address: Option<std::net::SocketAddr>,
    runtime: Runtime,
    pub clock: Clock,
    dir: tempfile::TempDir,
    postgres: Option<(Arc<Postgres>, String)>,
}

impl World {
    pub fn sqlite() -> Self {
        Self::start(None, &|_| {})
    }

    /// On SQLite, with something else than the defaults.
    pub fn sqlite_with(adjust: impl Fn(&mut Config)) -> Self {
        Self::start(None, &adjust)
    }

    pub fn postgres() -> Option<Self> {
        let postgres = Postgres::shared().expect("PostgreSQL starts")?;
        let url = postgres.database().expect("a database is made");
        Some(Self::start(Some((postgres, url)), &|_| {}))
    }

    /// On a PostgreSQL as in production, for benches.
    pub fn lasting_postgres() -> Option<Self> {
        let postgres = Arc::new(Postgres::start_lasting().expect("PostgreSQL starts")?);
        let url = postgres.database().expect("a database is made");
        Some(Self::start(Some((postgres, url)), &|_| {}))
    }

    /// What a database does in the background sooner or later: counts its rows.
    pub fn settle_database(&self) {
        if let Some((server, url)) = &self.postgres {
            let name = url.rsplit('/').next().expect("a URL names a database");
            server.psql(name, "VACUUM ANALYZE").expect("the database is vacuumed");
        }
    }

    fn start(postgres: Option<(Arc<Postgres>, String)>, adjust: &dyn Fn(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Clock::system();
        let mut world = Self { server: None, address: None, runtime, clock: clock.clone(), dir, postgres };
        world.server = Some(world.serve(&clock, "data", adjust));
        world
    }

    fn serve(&self, clock: &Clock, folder: &str, adjust: &dyn Fn(&mut Config)) -> Server {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: self.dir.path().join(folder),
            database: self.postgres.as_ref().map(|(_, url)| url.clone()),
            ..Config::default()
        };
        // Attacks that try hundreds of variations are about something else; evidence_limits.rs is about this.
        config.limits.evidence_burst = 10_000;
        adjust(&mut config);
        self.runtime
            .block_on(Server::start(config, clock.clone(), &ServeOptions::default()))
            .expect("the service starts")
    }

    /// Another replica on the same database (PostgreSQL only).
    pub fn replica(&self) -> Replica<'_> {
        assert!(self.postgres.is_some(), "SQLite has one service");
        // The same CA, as an operator would arrange it.
        let (ours, theirs) = (self.dir.path().join("data"), self.dir.path().join("replica"));
        std::fs::create_dir(&theirs).unwrap();
        for file in ["ca.pem", "ca.key", "tls.key"] {
            std::fs::copy(ours.join(file), theirs.join(file)).unwrap();
        }
        Replica { world: self, server: Some(self.serve(&self.clock, "replica", &|_| {})) }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn state(&self) -> &AppState {
        self.server().state()
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.server().address().port())
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server().address()
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("data/ca.pem")
    }

    /// Ends the service. It leaves nothing behind by that which a kill would not: crates/cli/tests/kill_nine.rs.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.address = Some(server.address());
            self.runtime.block_on(server.stop());
        }
    }

    /// Starts the service again on the same data and port.
    pub fn restart(&mut self) {
        self.restart_with(&|_| {});
    }

    /// The same with other settings.
    pub fn restart_with(&mut self, adjust: &dyn Fn(&mut Config)) {
        self.stop();
        let (clock, address) = (self.clock.clone(), self.address);
        self.server = Some(self.serve(&clock, "data", &|config| {
            if let Some(address) = address {
                config.listen = address;
            }
            adjust(config);
        }));
    }

    /// Lets time pass in which the service lives.
    pub fn pass_ms(&self, ms: i64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(30_000);
            self.clock.advance_ms(step);
            self.block_on(veriboot_service::heartbeat::beat(self.state())).expect("the service lives");
            left -= step;
        }
    }

    pub fn block_on<F: std::future::Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    pub fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.block_on(self.state().store.read(work)).expect("the database answers")
    }

    pub fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.block_on(self.state().store.write(work)).expect("the database answers")
    }

    /// A join token for the group `default`.
    pub fn join_token(&self, scale_set: Option<&str>, uses: u32) -> String {
        self.join_token_until(scale_set, uses, 3600)
    }

    pub fn join_token_until(&self, scale_set: Option<&str>, uses: u32, expires_in_s: i64) -> String {
        let secret = auth::new_secret(auth::JOIN_TOKEN_PREFIX).unwrap();
        let (now, hash) = (self.clock.now(), auth::secret_hash(&secret));
        let token = JoinToken {
            id: new_id(now),
            group: "default".into(),
            scale_set: scale_set.map(str::to_owned),
            image: None,
            uses_left: uses,
            expires_at: now.plus_s(expires_in_s),
            created_at: now,
            created_by: "test".into(),
            comment: None,
            revoked: false,
        };
        self.write(move |tx| join_tokens::insert(tx, &token, &hash));
        secret
    }

    /// The row of a join token.
    pub fn join_token_row(&self, secret: &str) -> JoinToken {
        let hash = auth::secret_hash(secret);
        self.read(move |tx| join_tokens::by_secret_sha256(tx, &hash)).expect("the token is there")
    }

    pub fn vm(&self, id: &str) -> VmRow {
        let id = id.to_owned();
        self.read(move |tx| vms::by_id(tx, &id)).expect("the VM is there")
    }

    pub fn vm_named(&self, name: &str) -> Option<VmRow> {
        let name = name.to_owned();
        self.read(move |tx| vms::by_name(tx, "default", &name))
    }

    pub fn attestations(&self, vm_id: &str) -> Vec<Attestation> {
        let id = vm_id.to_owned();
        self.read(move |tx| attestations::list(tx, &id, Some(1000), None)).items
    }

    pub fn boots(&self, vm_id: &str) -> Vec<BootRow> {
        let id = vm_id.to_owned();
        self.read(move |tx| boots::list(tx, &id, Some(1000), None)).items
    }

    pub fn alerts(&self, vm_id: &str) -> Vec<Alert> {
        let query = AlertQuery { vm: Some(vm_id.to_owned()), ..AlertQuery::default() };
        self.read(move |tx| alerts::list(tx, &query)).items
    }

    pub fn open_alerts(&self, vm_id: &str) -> Vec<Alert> {
        self.alerts(vm_id).into_iter().filter(|a| a.closed_at.is_none()).collect()
    }

    pub fn audit(&self) -> Vec<AuditEntry> {
        let all = veriboot_wire::AuditQuery { limit: Some(1000), ..Default::default() };
        self.read(move |tx| audit::list(tx, &all)).items
    }

    /// A machine with a TPM of its own that booted `boot`; not enrolled yet.
    pub fn guest(&self, name: &str, join_token: Option<&str>) -> Guest {
        let tpm = Swtpm::start().expect("swtpm starts");
        self.guest_with(tpm, name, join_token)
    }

    pub fn guest_with(&self, tpm: Swtpm, name: &str, join_token: Option<&str>) -> Guest {
        self.guest_at(&self.url(), tpm, name, join_token)
    }

    pub fn guest_at(&self, url: &str, tpm: Swtpm, name: &str, join_token: Option<&str>) -> Guest {
        let dir = tempfile::tempdir().unwrap();
        let config = AgentConfig {
            join_token: join_token.map(str::to_owned),
            trust: Trust::CaFile(self.ca_file()),
            tpm: tpm.tpm_address().parse().unwrap(),
            event_log: dir.path().join("log"),
            // The kernel below the tests is another matter on each machine that they run on.
            kernel_root: dir.path().join("root"),
            name: Some(name.to_owned()),
            ..AgentConfig::new(url, dir.path().join("state"))
        };
        let mut guest = Guest { agent: Agent::new(config.clone()).unwrap(), config, tpm, dir };
        guest.boot(&Boot::default());
        guest
    }

    /// A guest that enrolled and attested once, healthy.
    pub fn healthy_guest(&self, name: &str) -> Guest {
        let token = self.join_token(None, 1);
        let mut guest = self.guest(name, Some(&token));
        let receipt = guest.attest();
        assert_eq!(receipt.verdict, Verdict::Healthy, "{:#?}", receipt.findings);
        guest
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}

/// A second service on the same database.
pub struct Replica<'w> {
    world: &'w World,
    server: Option<Server>,
}

impl Replica<'_> {
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.server.as_ref().unwrap().address().port())
    }

    pub fn state(&self) -> &AppState {
        self.server.as_ref().unwrap().state()
    }
}

impl Drop for Replica<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.world.runtime.block_on(server.stop());
        }
    }
}

/// One machine.
pub struct Guest {
    pub agent: Agent,
    pub config: AgentConfig,
    pub tpm: Swtpm,
    dir: tempfile::TempDir,
}

impl Guest {
    /// Reboots into `boot`.
    pub fn boot(&mut self, boot: &Boot) {
        let log = boot.boot(&self.tpm);
        self.set_log(&log);
    }

    /// What the agent will find as event log.
    pub fn set_log(&self, log: &[u8]) {
        std::fs::write(self.dir.path().join("log"), log).unwrap();
    }

    pub fn remove_log(&self) {
        let _ = std::fs::remove_file(self.dir.path().join("log"));
    }

    pub fn log(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("log")).unwrap()
    }

    pub fn vm_id(&self) -> String {
        self.agent.enrolment().unwrap().expect("enrolled").vm_id
    }

    pub fn agent_token(&self) -> String {
        self.agent.enrolment().unwrap().expect("enrolled").agent_token
    }

    /// One round of the real agent.
    pub fn attest(&mut self) -> Receipt {
        self.agent.attest_once().expect("the service answers")
    }

    /// Evidence for a fresh challenge, the log by content.
    pub fn evidence(&mut self) -> EvidenceRequest {
        let challenge = self.agent.fresh_challenge().unwrap();
        let mut evidence = self.agent.evidence_for(&challenge).unwrap();
        if let Some(log) = &mut evidence.log {
            log.content = Some(self.log().into());
        }
        evidence
    }

    /// Sends evidence; gives the receipt or the code of the refusal.
    pub fn submit(&mut self, evidence: &EvidenceRequest) -> Result<Receipt, String> {
        self.agent.submit(evidence).map_err(|e| code(&e))
    }

    /// Forgets keys and enrolment, as after a reinstallation.
    pub fn lose_state(&mut self) {
        std::fs::remove_dir_all(&self.config.state_dir).unwrap();
        self.agent = Agent::new(self.config.clone()).unwrap();
    }
}

/// Code of an agent error; refusals carry the service's own.
pub fn code(error: &AgentError) -> String {
    error.code().to_owned()
}

/// Codes of the findings that fail.
pub fn failing(receipt: &Receipt) -> Vec<&str> {
    receipt.findings.iter().filter(|f| f.fails()).map(|f| f.code.as_str()).collect()
}

/// Asserts an unhealthy receipt without a token that has a failing finding of this code.
#[track_caller]
pub fn assert_caught(receipt: &Receipt, code: &str) {
    assert_eq!(receipt.verdict, Verdict::Unhealthy, "{:#?}", receipt.findings);
    assert_eq!(receipt.token, None);
    assert!(failing(receipt).contains(&code), "wanted {code}, have {:?}", failing(receipt));
}
