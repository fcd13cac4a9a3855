//! A stub of the service: speaks the agent protocol, and misbehaves when it is told to.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use veriboot_wire::{ActivateRequest, Blob, EnrollRequest, EvidenceRequest};

use super::{check_quote, make_credential, name_of};

/// One answer that is given instead of the protocol's.
#[derive(Clone)]
pub struct Canned {
    /// Part of the path that it applies to.
    pub path: &'static str,
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
    /// How often the body is sent again, for endless ones.
    pub repeat: usize,
}

impl Canned {
    pub fn new(path: &'static str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { path, status, headers: String::new(), body: body.into(), repeat: 1 }
    }

    pub fn header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }

    pub fn problem(path: &'static str, status: u16, code: &str) -> Self {
        Self::new(
            path,
            status,
            json!({"error": {"code": code, "message": "as the test asks", "fault": "client"}}).to_string(),
        )
    }
}

/// One request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub token: Option<String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    canned: VecDeque<Canned>,
    seen: Vec<Seen>,
    logs: HashSet<String>,
    /// (EK, AK, secret) of the enrolment in progress.
    pending: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    /// (EK, AK, token) of the VM.
    vm: Option<(Vec<u8>, Vec<u8>, String)>,
    nonces: HashSet<Vec<u8>>,
    next: u8,
    challenge: Value,
    accepts: Vec<String>,
}

pub struct Stub {
    addr: SocketAddr,
    tls: Option<Tls>,
    inner: Arc<Mutex<Inner>>,
    stop: Arc<AtomicBool>,
}

pub struct Tls {
    pub ca: CertificateDer<'static>,
    pub ca_pem: String,
    config: Arc<ServerConfig>,
}

/// How the certificate of a stub is made.
pub struct TlsOptions {
    pub name: &'static str,
    pub not_after_year: i32,
    /// Whether the CA is sent in the chain.
    pub send_ca: bool,
    /// Whether the leaf is signed by another CA than the one in the chain.
    pub foreign_leaf: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { name: "127.0.0.1", not_after_year: 2100, send_ca: true, foreign_leaf: false }
    }
}

impl Tls {
    pub fn new(options: &TlsOptions) -> Self {
        let ca = || {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, "stub CA");
            let certificate = params.self_signed(&key).unwrap();
            (certificate, Issuer::new(params, key))
        };
        let (ca_certificate, issuer) = ca();
        let (_, foreign) = ca();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![options.name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(options.not_after_year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, if options.foreign_leaf { &foreign } else { &issuer }).unwrap();
        let mut chain = vec![leaf.der().clone()];
        if options.send_ca {
            chain.push(ca_certificate.der().clone());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
            .unwrap();
        Self { ca: ca_certificate.der().clone(), ca_pem: ca_certificate.pem(), config: Arc::new(config) }
    }
}

impl Stub {
    pub fn http() -> Self {
        Self::start(None)
    }

    pub fn https(options: &TlsOptions) -> Self {
        Self::start(Some(Tls::new(options)))
    }

    fn start(tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let challenge =
            json!({"expires_in_s": 600, "banks": ["sha256", "sha384"], "pcrs": (0..16).collect::<Vec<_>>()});
        let inner = Arc::new(Mutex::new(Inner { challenge, ..Inner::default() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (config, shared, stopped) = (tls.as_ref().map(|t| t.config.clone()), inner.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let _ = match &config {
                    Some(config) => {
                        let connection = ServerConnection::new(config.clone()).unwrap();
                        serve(&mut StreamOwned::new(connection, stream), &shared)
                    }
                    None => serve(&mut { stream }, &shared),
                };
            }
        });
        Self { addr, tls, inner, stop }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.addr)
    }

    pub fn tls(&self) -> &Tls {
        self.tls.as_ref().unwrap()
    }

    /// Queues an answer for the next request to its path.
    pub fn next(&self, canned: Canned) {
        self.inner.lock().unwrap().canned.push_back(canned);
    }

    /// Changes a member of all challenges.
    pub fn challenge(&self, member: &str, value: Value) {
        self.inner.lock().unwrap().challenge[member] = value;
    }

    /// Optional members of evidence that the stub says it takes.
    pub fn accepts(&self, words: &[&str]) {
        self.inner.lock().unwrap().accepts = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Gives challenges the member that they have by themselves.
    pub fn drop_member(&self, member: &str) {
        self.inner.lock().unwrap().challenge.as_object_mut().unwrap().remove(member);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    pub fn forget_seen(&self) {
        self.inner.lock().unwrap().seen.clear();
    }

    pub fn forget_logs(&self) {
        self.inner.lock().unwrap().logs.clear();
    }

    /// The last evidence that came in.
    pub fn evidence(&self) -> EvidenceRequest {
        let seen = self.seen();
        let last = seen.iter().rev().find(|seen| seen.path.ends_with("/evidence")).unwrap();
        serde_json::from_slice(&last.body).unwrap()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve<S: Read + Write>(stream: &mut S, inner: &Mutex<Inner>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body)?;
    } else if header("transfer-encoding").is_some() {
        body = chunked(stream)?;
    }
    let path = head.split_whitespace().nth(1).unwrap().to_owned();
    let token = header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
    let seen = Seen { path, token, body };
    let answer = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(seen.clone());
        match inner.canned.iter().position(|canned| seen.path.contains(canned.path)) {
            Some(at) => inner.canned.remove(at).unwrap(),
            None => {
                let (status, value) = inner.answer(&seen);
                Canned::new("", status, value.to_string())
            }
        }
    };
    let length = answer.body.len() * answer.repeat;
    write!(
        stream,
        "HTTP/1.1 {} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{}\r\n",
        answer.status, answer.headers
    )?;
    for _ in 0..answer.repeat {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}

fn chunked<S: Read>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0u8; 1];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

impl Inner {
    fn directions(&mut self) -> Value {
        self.next += 1;
        let mut nonce = vec![self.next; 32];
        nonce[0] = 0xee;
        self.nonces.insert(nonce.clone());
        let mut challenge = self.challenge.clone();
        if challenge.get("nonce").is_none() {
            challenge["nonce"] = serde_json::to_value(Blob(nonce)).unwrap();
        }
        let mut directions =
            json!({"challenge": challenge, "interval_s": 300, "now": "2026-11-21T18:04:00.000Z"});
        // A service of an earlier release does not know the member.
        if !self.accepts.is_empty() {
            directions["accepts"] = json!(self.accepts);
        }
        directions
    }

    fn answer(&mut self, seen: &Seen) -> (u16, Value) {
        let problem = |status, code: &str| {
            (
                status,
                json!({"error": {"code": code, "message": "refused by the stub", "fault": "client", "hint": "h"}}),
            )
        };
        let path = seen.path.as_str();
        if path == "/v1/agent/enroll" {
            let request: EnrollRequest = serde_json::from_slice(&seen.body).unwrap();
            let known = self.vm.as_ref().is_some_and(|(ek, ..)| *ek == request.ek_public.0);
            match request.join_token.as_deref() {
                Some("good") => {}
                None if known => {}
                None => return problem(403, "join-token-required"),
                Some(_) if known => {}
                Some(_) => return problem(403, "join-token-invalid"),
            }
            let secret = vec![42; 32];
            let (blob, encrypted) =
                make_credential(&request.ek_public, &name_of(&request.ak_public), &secret);
            self.pending = Some((request.ek_public.0, request.ak_public.0, secret));
            return (
                200,
                json!({"enrolment_id": "e-1", "credential_blob": Blob(blob), "encrypted_secret": Blob(encrypted),
                       "expires_in_s": 300}),
            );
        }
        if path == "/v1/agent/enroll/e-1/activate" {
            let request: ActivateRequest = serde_json::from_slice(&seen.body).unwrap();
            let Some((ek, ak, secret)) = self.pending.take() else {
                return problem(404, "enrolment-unknown");
            };
            if secret != request.secret.0 {
                return problem(403, "activation-failed");
            }
            let token = format!("token-{}", self.next);
            self.vm = Some((ek, ak, token.clone()));
            let directions = self.directions();
            return (
                200,
                json!({"vm_id": "vm-1", "name": "n", "agent_token": token, "directions": directions}),
            );
        }
        let Some((_, ak, token)) = self.vm.clone() else { return problem(401, "token-unknown") };
        if seen.token.as_deref() != Some(&token) {
            return problem(401, "token-unknown");
        }
        match path {
            "/v1/agent/vms/vm-1/challenge" | "/v1/agent/vms/vm-1/fault" => (200, self.directions()),
            "/v1/agent/vms/vm-1/evidence" => {
                let request: EvidenceRequest = serde_json::from_slice(&seen.body).unwrap();
                if !self.nonces.contains(&request.nonce.0) {
                    return problem(409, "challenge-unknown");
                }
                if let Some(log) = &request.log {
                    if log.content.is_some() {
                        self.logs.insert(log.sha256.clone());
                    } else if !self.logs.contains(&log.sha256) {
                        return problem(409, "log-needed");
                    }
                }
                self.nonces.remove(&request.nonce.0);
                let good = check_quote(&ak, &request.quote, &request.signature, &request.nonce);
                let (verdict, status) =
                    if good { ("healthy", "healthy") } else { ("unhealthy", "unhealthy") };
                let directions = self.directions();
                (
                    200,
                    json!({"attestation_id": "a-1", "verdict": verdict, "status": status, "findings": [],
                           "directions": directions}),
                )
            }
            _ => problem(404, "path-unknown"),
        }
    }
}
