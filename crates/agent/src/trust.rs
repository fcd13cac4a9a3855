//! Which CA the service must be certified by.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::{AgentConfig, Trust};
use crate::error::Blame;
use crate::state::{StateDir, StateError};
use crate::url::ServerUrl;

/// CA bundles of the distributions, in the order they are tried; `SSL_CERT_FILE` goes before them.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// No CA bundle is longer.
const MAX_BUNDLE: u64 = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no certificate to recognise the service by.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA file cannot be read or has no certificate.
    #[error("no CA certificate in {path}: {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The pinned CA in the state folder is no certificate any more.
    #[error("the pinned CA in {path} is broken: {reason}")]
    KeptCa {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The distribution has no CA bundle.
    #[error("this system has no CA bundle")]
    NoSystemBundle,
    /// The service shows other certificates than the pinned one.
    #[error("the service does not show the CA certificate sha256:{wanted}; it shows {seen}")]
    Fingerprint {
        /// The pinned one.
        wanted: String,
        /// The ones in its chain.
        seen: String,
    },
    /// The service's certificate is not valid under the pinned CA.
    #[error("the service's certificate is not valid under the pinned CA: {reason}")]
    Certificate {
        /// What rustls says.
        reason: String,
    },
    /// The service cannot be reached.
    #[error("cannot reach {server}: {source}")]
    Unreachable {
        /// The service.
        server: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
}

impl TrustError {
    /// Stable identifier in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CaFile { .. } => "ca-file",
            Self::KeptCa { .. } => "ca-kept-broken",
            Self::NoSystemBundle => "ca-system-bundle-missing",
            Self::Fingerprint { .. } => "ca-fingerprint-mismatch",
            Self::Certificate { .. } => "service-certificate-invalid",
            Self::Unreachable { .. } => "service-unreachable",
            Self::State(e) => e.code(),
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::CaFile { .. } | Self::NoSystemBundle => Blame::Operator,
            Self::Fingerprint { .. } | Self::Certificate { .. } | Self::Unreachable { .. } => Blame::Network,
            Self::KeptCa { .. } | Self::State(_) => Blame::Machine,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::CaFile { .. } => "give the PEM file of the CA that certifies the service".into(),
            Self::KeptCa { .. } => {
                "give --ca-fingerprint again, or --ca; without either, removing the file makes the system's CAs roots"
                    .into()
            }
            Self::NoSystemBundle => "install ca-certificates, or give --ca or --ca-fingerprint".into(),
            Self::Fingerprint { .. } => "compare with the fingerprint that `veriboot serve` prints; if it is right, \
                                         somebody between this machine and the service opens its TLS"
                .into(),
            Self::Certificate { .. } => {
                "check that --server names a host that is in the service's certificate, and that this machine's clock \
                 is right"
                    .into()
            }
            Self::Unreachable { .. } => "check name, port, firewall and HTTPS_PROXY".into(),
            Self::State(e) => e.hint(),
        }
    }
}

/// The one crypto provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The roots that the service's chain must end in: the CA file, the CA with the fingerprint, else the CA that was
/// pinned before, else the system's.
///
/// With a fingerprint and no CA in the state folder this connects to the service.
///
/// # Errors
/// Any [`TrustError`].
pub(crate) fn roots(
    config: &AgentConfig,
    url: &ServerUrl,
    state: &StateDir,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    match &config.trust {
        Trust::CaFile(path) => pem_file(path),
        Trust::System => {
            if let Some(der) = state.ca()? {
                return kept(der, state).map(|ca| vec![ca]);
            }
            let own = std::env::var_os("SSL_CERT_FILE");
            let bundles = own.iter().map(Path::new).chain(SYSTEM_BUNDLES.iter().map(Path::new));
            for bundle in bundles {
                if bundle.exists() {
                    return pem_file(bundle);
                }
            }
            Err(TrustError::NoSystemBundle)
        }
        Trust::CaFingerprint(fingerprint) => {
            if let Some(der) = state.ca()?
                && sha256(&der) == *fingerprint
            {
                return Ok(vec![CertificateDer::from(der)]);
            }
            let ca = pinned_ca(url, *fingerprint)?;
            state.set_ca(&ca)?;
            tracing::info!(fingerprint = %hex::encode(fingerprint), "the service showed the pinned CA");
            Ok(vec![ca])
        }
    }
}

/// A CA that was pinned once stays the only root when its fingerprint is not configured any more.
fn kept(der: Vec<u8>, state: &StateDir) -> Result<CertificateDer<'static>, TrustError> {
    let ca = CertificateDer::from(der);
    match RootCertStore::empty().add(ca.clone()) {
        Ok(()) => Ok(ca),
        Err(e) => {
            Err(TrustError::KeptCa { path: state.ca_path().display().to_string(), reason: e.to_string() })
        }
    }
}

fn pem_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |reason: String| TrustError::CaFile { path: path.display().to_string(), reason };
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
    file.take(MAX_BUNDLE).read_to_end(&mut pem).map_err(|e| failed(e.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(failed("no PEM certificate in it".to_owned())),
        Err(e) => Err(failed(e.to_string())),
    }
}

/// Handshakes with the service once and gives the CA certificate with this fingerprint out of its chain.
///
/// The handshake succeeds only when the chain has that certificate above the leaf, the leaf is valid under it (and
/// under no other root), names the host, and signed the handshake.
fn pinned_ca(url: &ServerUrl, fingerprint: [u8; 32]) -> Result<CertificateDer<'static>, TrustError> {
    let certificate = |e: rustls::Error| TrustError::Certificate { reason: e.to_string() };
    let verifier = Arc::new(PinnedCa { fingerprint, provider: provider(), outcome: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(certificate)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(url.host().to_owned())
        .map_err(|e| TrustError::Certificate { reason: format!("{:?}: {e}", url.host()) })?;
    let unreachable = |source| TrustError::Unreachable { server: url.to_string(), source };
    let mut stream = connect(url).map_err(unreachable)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(certificate)?;
    while connection.is_handshaking() {
        if let Err(e) = connection.complete_io(&mut stream) {
            if e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                break;
            }
            return Err(unreachable(e));
        }
    }
    let done = !connection.is_handshaking();
    let outcome = verifier.outcome.lock().map(|mut o| std::mem::take(&mut *o)).unwrap_or_default();
    match outcome {
        Outcome::Found(ca) if done => Ok(ca),
        Outcome::NotShown(seen) => Err(TrustError::Fingerprint {
            wanted: hex::encode(fingerprint),
            seen: if seen.is_empty() { "none".into() } else { seen.join(", ") },
        }),
        Outcome::Invalid(reason) => Err(TrustError::Certificate { reason }),
        Outcome::Found(_) | Outcome::Nothing => {
            Err(TrustError::Certificate { reason: "the TLS handshake did not complete".into() })
        }
    }
}

/// Opens TCP to the service, through the proxy that HTTPS_PROXY names unless NO_PROXY says otherwise.
fn connect(url: &ServerUrl) -> io::Result<TcpStream> {
    let proxy = ureq::Proxy::try_from_env()
        .filter(|proxy| url.to_string().parse::<ureq::http::Uri>().is_ok_and(|uri| !proxy.is_no_proxy(&uri)));
    let Some(proxy) = proxy else { return dial(url.host(), url.port()) };
    if proxy.protocol() != ureq::ProxyProtocol::Http {
        return Err(io::Error::other(
            "--ca-fingerprint works through http:// proxies only; give --ca instead",
        ));
    }
    let mut stream = dial(proxy.host(), proxy.port())?;
    let target = url.authority();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(user) = proxy.username() {
        let credentials = format!("{user}:{}", proxy.password().unwrap_or_default());
        let credentials = base64::engine::general_purpose::STANDARD.encode(credentials);
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0u8; 1];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > 8192 {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
    }
    let status = String::from_utf8_lossy(&head).split_whitespace().nth(1).unwrap_or_default().to_owned();
    if status == "200" { Ok(stream) } else { Err(io::Error::other(format!("the proxy answered {status:?}"))) }
}

fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[derive(Debug, Default)]
enum Outcome {
    #[default]
    Nothing,
    /// SHA-256 of the certificates that were shown.
    NotShown(Vec<String>),
    Invalid(String),
    Found(CertificateDer<'static>),
}

/// Accepts a chain that holds the CA certificate with one fingerprint and is valid under it.
#[derive(Debug)]
struct PinnedCa {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
    outcome: Mutex<Outcome>,
}

impl PinnedCa {
    fn conclude(&self, outcome: Outcome) {
        if let Ok(mut slot) = self.outcome.lock() {
            *slot = outcome;
        }
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(ca) = intermediates.iter().find(|c| sha256(c) == self.fingerprint) else {
            let shown = std::iter::once(end_entity).chain(intermediates).take(8);
            self.conclude(Outcome::NotShown(
                shown.map(|c| format!("sha256:{}", hex::encode(sha256(c)))).collect(),
            ));
            return Err(CertificateError::UnknownIssuer.into());
        };
        let ca = ca.clone().into_owned();
        let verified = (|| {
            let mut roots = RootCertStore::empty();
            roots.add(ca.clone())?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                    .build()
                    .map_err(|e| rustls::Error::General(e.to_string()))?;
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        })();
        match &verified {
            Ok(_) => self.conclude(Outcome::Found(ca)),
            Err(e) => self.conclude(Outcome::Invalid(e.to_string())),
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
