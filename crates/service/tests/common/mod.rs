//! A real service in this process, on a free loopback port, with real TLS.
//!
//! ```ignore
//! mod common;
//! let server = common::TestServer::start();
//! let reply = server.admin().get("/v1/vms");
//! assert_eq!(reply.status, 200);
//! ```
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use veriboot_service::{Announcement, AppState, Clock, Config, ServeOptions, Server, StartError};

type Adjust = Box<dyn FnOnce(&mut Config)>;

/// Builds a [`TestServer`].
pub struct Builder {
    database: Option<String>,
    adjust: Vec<Adjust>,
}

impl Builder {
    /// Another database than SQLite in the server's own folder.
    pub fn database(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// Changes the configuration before the start.
    pub fn config(mut self, adjust: impl FnOnce(&mut Config) + 'static) -> Self {
        self.adjust.push(Box::new(adjust));
        self
    }

    /// Starts the server.
    pub fn start(self) -> TestServer {
        self.try_start().unwrap_or_else(|e| panic!("the test server does not start: {} ({})", e, e.code()))
    }

    /// Starts the server, or says why not.
    pub fn try_start(self) -> Result<TestServer, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: folder.path().join("data"),
            database: self.database,
            ..Config::default()
        };
        for adjust in self.adjust {
            adjust(&mut config);
        }
        let clock = Clock::system();
        let (runtime, server) = run(&config, &clock)?;
        let first = server.announcement().first_start.clone().unwrap();
        let config = Config { listen: server.address(), ..config };
        Ok(TestServer {
            folder,
            admin_token: first.admin_token.unwrap(),
            clock,
            config,
            running: Some((runtime, server)),
        })
    }
}

fn run(config: &Config, clock: &Clock) -> Result<(tokio::runtime::Runtime, Server), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(config.clone(), clock.clone(), &ServeOptions::default()))?;
    Ok((runtime, server))
}

/// A running service; it stops when dropped.
pub struct TestServer {
    folder: tempfile::TempDir,
    admin_token: String,
    clock: Clock,
    config: Config,
    running: Option<(tokio::runtime::Runtime, Server)>,
}

impl TestServer {
    /// SQLite, defaults.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Something else than the defaults.
    pub fn builder() -> Builder {
        Builder { database: None, adjust: Vec::new() }
    }

    fn server(&self) -> &Server {
        &self.running.as_ref().unwrap().1
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// What handlers see: store, clock, configuration.
    pub fn state(&self) -> &AppState {
        self.server().state()
    }

    /// What was announced at the (last) start.
    pub fn announcement(&self) -> &Announcement {
        self.server().announcement()
    }

    /// The clock of the server; `step_ms` moves it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Folder of its own that lives as long as the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// File with the CA certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.config.data_dir.join("ca.pem")
    }

    /// Secret of the first admin token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Runs a future on the server's runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.running.as_ref().unwrap().0.block_on(future)
    }

    /// A client without credential.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url(), &self.ca_file(), None)
    }

    /// A client with the first admin token.
    pub fn admin(&self) -> Client {
        self.with_token(&self.admin_token)
    }

    /// A client with this token.
    pub fn with_token(&self, token: &str) -> Client {
        Client::new(&self.url(), &self.ca_file(), Some(token))
    }

    /// A client with a new token of this scope (`viewer`, `operator`, `admin`).
    pub fn with_scope(&self, scope: &str) -> Client {
        self.with_token(&self.secret(scope))
    }

    /// Secret of a new token of this scope.
    pub fn secret(&self, scope: &str) -> String {
        let name = format!("{scope}-{}", self.clock.now_us());
        let made = self.admin().post("/v1/api-tokens", &json!({ "name": name, "scope": scope }));
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    /// Secret of a new join token.
    pub fn join_token(&self, group: &str, scale_set: Option<&str>, uses: u32) -> String {
        let request = json!({ "group": group, "scale_set": scale_set, "uses": uses });
        let made = self.admin().post("/v1/join-tokens", &request);
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    /// Stops gracefully.
    pub fn stop(&mut self) {
        if let Some((runtime, server)) = self.running.take() {
            runtime.block_on(server.stop());
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Stops and starts again on the same data and port, after changing the configuration.
    pub fn restart_with(&mut self, adjust: impl FnOnce(&mut Config)) {
        self.stop();
        adjust(&mut self.config);
        let (runtime, server) = run(&self.config, &self.clock).unwrap();
        self.running = Some((runtime, server));
    }

    /// Stops and starts again on the same data and port.
    pub fn restart(&mut self) {
        self.restart_with(|_| {});
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A blocking HTTPS client that trusts the server's CA only.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: ureq::http::HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The code of a refusal. Checks its shape.
    #[track_caller]
    pub fn code(&self) -> String {
        let problem: veriboot_wire::Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()));
        assert!(problem.error.request_id.is_some(), "no request id: {}", self.text());
        problem.error.code
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

impl Client {
    /// A client for a URL; `ca_file` is the only root.
    pub fn new(url: &str, ca_file: &Path, token: Option<&str>) -> Self {
        veriboot_service::tls::install_provider();
        let pem = std::fs::read(ca_file).unwrap();
        let roots: Vec<_> = ureq::tls::parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(ureq::tls::PemItem::Certificate(c)) => Some(c),
                _ => None,
            })
            .collect();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(veriboot_service::tls::install_provider())
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { agent, url: url.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same client with another token.
    pub fn token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None, b"")
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None, b"")
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some("application/json"), &serde_json::to_vec(body).unwrap())
    }

    /// Anything.
    pub fn send(&self, method: &str, path: &str, content_type: Option<&str>, body: &[u8]) -> Reply {
        self.try_send(method, path, content_type, body).unwrap()
    }

    /// A request as it is.
    pub fn run(&self, request: ureq::http::Request<impl ureq::AsSendBody>) -> Reply {
        let mut response = self.agent.run(request).unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
        Reply { status, headers, body }
    }

    /// Anything, when the connection may fail.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Reply, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let mut response = if body.is_empty() && matches!(method, "GET" | "DELETE" | "HEAD" | "OPTIONS") {
            self.agent.run(request.body(()).unwrap())?
        } else {
            self.agent.run(request.body(body.to_vec()).unwrap())?
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Reply { status, headers, body })
    }
}

/// Sends bytes over TLS as they are and reads until the server closes, at most a few seconds.
pub fn raw(server: &TestServer, request: &[u8]) -> String {
    let mut stream = connect(server);
    let _ = std::io::Write::write_all(&mut stream, request);
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = std::io::Read::read(&mut stream, &mut buffer) {
        reply.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&reply).into_owned()
}

/// A TLS connection to write to by hand; reads time out after three seconds.
pub fn connect(server: &TestServer) -> rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream> {
    use rustls_pki_types::pem::PemObject as _;
    veriboot_service::tls::install_provider();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(server.ca_file()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connection =
        rustls::ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    rustls::StreamOwned::new(connection, stream)
}
