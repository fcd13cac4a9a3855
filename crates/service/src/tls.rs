//! The server's certificate: the operator's own, or one of a self-made CA.
//!
//! Files in the data folder, all written once with mode 0600 and moved into place: `ca.key` and `ca.pem` (kept
//! for ever), `tls.key` (kept, so that a pinned public key stays valid over renewals) and `tls.pem` (the leaf,
//! made again when it is close to its end or its names changed).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use veriboot_wire::Time;
use x509_cert::der::{Decode as _, Encode as _};

use crate::files::{exists, read_secret, read_text, write_secret};
use crate::{Config, StartError, files};

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 90;
const RENEW_BEFORE_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;

/// What the server shows of itself, and what others need to recognise it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Ready for the acceptor.
    pub(crate) server: Arc<ServerConfig>,
    /// CA for agents and people to trust, PEM; absent when `tls.cert` is said to be from a public CA.
    pub ca_pem: Option<String>,
    /// SHA-256 of the CA certificate's DER, lower-case hex.
    pub ca_sha256: Option<String>,
    /// What `curl --pinnedpubkey` takes: base64 of the SHA-256 of the leaf's SubjectPublicKeyInfo.
    pub pin: String,
    /// End of the leaf's validity.
    pub expires_at: Time,
}

/// Installs aws-lc-rs as the only cryptography of rustls in this process. May be called often.
pub fn install_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            // An error says that one is installed already, which is as good.
            let _ = provider.clone().install_default();
            Arc::new(provider)
        })
        .clone()
}

/// Loads or makes the server's certificate.
///
/// # Errors
/// [`StartError::Certificate`], [`StartError::DataDir`], [`StartError::ExposedKey`].
pub fn load(config: &Config, now: Time) -> Result<Identity, StartError> {
    match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => own(cert, key, config.tls.ca.as_deref(), now),
        _ => self_made(config, now),
    }
}

fn own(cert_path: &Path, key_path: &Path, ca_path: Option<&Path>, now: Time) -> Result<Identity, StartError> {
    let bad = |path: &Path, reason: String| StartError::Certificate { path: path.to_owned(), reason };
    let read = |path: &Path| std::fs::read(path).map_err(|e| bad(path, e.to_string()));
    let chain = CertificateDer::pem_slice_iter(&read(cert_path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(cert_path, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
        .map_err(|e| bad(key_path, format!("no private key in PEM: {e}")))?;
    let ca = match ca_path {
        None => None,
        Some(path) => {
            let ca = CertificateDer::from_pem_slice(&read(path)?)
                .map_err(|e| bad(path, format!("no certificate in PEM: {e}")))?;
            Some(ca.into_owned())
        }
    };
    if files::readable_by_others(key_path) {
        let path = key_path.display();
        tracing::warn!(%path, "every user may read the private key of the server's certificate; chmod 0600 it");
    }
    let leaf = chain.first().ok_or_else(|| bad(cert_path, "no certificate in PEM".to_owned()))?;
    let facts = LeafFacts::of(leaf).map_err(|reason| bad(cert_path, reason))?;
    if facts.not_after <= now {
        tracing::error!(path = %cert_path.display(), expired_at = %facts.not_after, "the server's certificate is expired: agents refuse this service");
    }
    identity(chain, key, ca, &facts).map_err(|reason| bad(cert_path, reason))
}

fn self_made(config: &Config, now: Time) -> Result<Identity, StartError> {
    let dir = &config.data_dir;
    let (ca_key_path, ca_path) = (dir.join("ca.key"), dir.join("ca.pem"));
    let (key_path, leaf_path) = (dir.join("tls.key"), dir.join("tls.pem"));
    let made = |path: &Path| {
        let path = path.to_owned();
        move |e: rcgen::Error| StartError::Certificate { path, reason: e.to_string() }
    };
    // The certificate is written last: a key without one is left from an interrupted first start.
    if !exists(&ca_path)? {
        let key = KeyPair::generate().map_err(made(&ca_key_path))?;
        let certificate = ca_params(now).self_signed(&key).map_err(made(&ca_path))?;
        write_secret(&ca_key_path, key.serialize_pem().as_bytes())?;
        write_secret(&ca_path, certificate.pem().as_bytes())?;
    }
    if !exists(&key_path)? {
        let key = KeyPair::generate().map_err(made(&key_path))?;
        write_secret(&key_path, key.serialize_pem().as_bytes())?;
    }
    let ca_pem = read_text(&ca_path)?;
    let bad = |path: &Path, reason: String| StartError::Certificate { path: path.to_owned(), reason };
    let ca_der =
        CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| bad(&ca_path, e.to_string()))?;
    let ca_key = KeyPair::from_pem(&read_secret(&ca_key_path)?).map_err(made(&ca_key_path))?;
    let leaf_key = KeyPair::from_pem(&read_secret(&key_path)?).map_err(made(&key_path))?;
    let names = names(config);

    let kept =
        if exists(&leaf_path)? { kept_leaf(&leaf_path, &ca_der, &leaf_key, &names, now) } else { None };
    let leaf = match kept {
        Some(leaf) => leaf,
        None => {
            let issuer = Issuer::from_ca_cert_der(&ca_der, &ca_key).map_err(made(&ca_path))?;
            let params = leaf_params(&names, now).map_err(made(&leaf_path))?;
            let leaf = params.signed_by(&leaf_key, &issuer).map_err(made(&leaf_path))?;
            write_secret(&leaf_path, leaf.pem().as_bytes())?;
            leaf.der().clone()
        }
    };
    let facts = LeafFacts::of(&leaf).map_err(|reason| bad(&leaf_path, reason))?;
    let key = PrivateKeyDer::try_from(leaf_key.serialize_der())
        .map_err(|reason| bad(&key_path, reason.to_owned()))?;
    identity(vec![leaf, ca_der.clone()], key, Some(ca_der), &facts).map_err(|reason| bad(&leaf_path, reason))
}

/// The leaf on disk, when it is for this key and these names, of this CA, and far from its end.
fn kept_leaf(
    path: &Path,
    ca: &CertificateDer<'_>,
    key: &KeyPair,
    names: &[String],
    now: Time,
) -> Option<CertificateDer<'static>> {
    let leaf = CertificateDer::from_pem_slice(read_text(path).ok()?.as_bytes()).ok()?.into_owned();
    let facts = LeafFacts::of(&leaf).ok()?;
    let issuer = LeafFacts::of(ca).ok()?;
    let fresh = facts.not_before <= now && now.plus_s(RENEW_BEFORE_DAYS * DAY_S) < facts.not_after;
    let same = facts.spki == rcgen::PublicKeyData::subject_public_key_info(key)
        && facts.issuer == issuer.subject
        && facts.names == sorted(names);
    (fresh && same).then_some(leaf)
}

fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: Option<CertificateDer<'static>>,
    facts: &LeafFacts,
) -> Result<Identity, String> {
    let mut server = ServerConfig::builder_with_provider(install_provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| e.to_string())?;
    // Agents come back every few minutes on a new connection: resuming spares both sides the signature.
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|e| e.to_string())?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let ca_pem = ca.as_ref().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec())));
    Ok(Identity {
        server: Arc::new(server),
        ca_sha256: ca.as_ref().map(|der| hex::encode(digest(&SHA256, der))),
        ca_pem: ca_pem.map(|text| text.replace("\r\n", "\n")),
        pin: STANDARD.encode(digest(&SHA256, &facts.spki)),
        expires_at: facts.not_after,
    })
}

/// Names for the self-made certificate, each once, in a stable order.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(crate::files::host_name());
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    if let Some(host) = config.public_url.as_deref().and_then(crate::config::public_host) {
        names.push(without_port(host).to_owned());
    }
    names.extend(config.tls.names.iter().map(|n| match n.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => n.to_ascii_lowercase(),
    }));
    sorted(&names)
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// The host of `HOST[:PORT]`, without the brackets of an IPv6 address.
pub(crate) fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.split(':').next().unwrap_or(host)
}

fn ca_params(now: Time) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Veriboot CA of {}", year_month_day(now).0));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, CA_DAYS);
    params
}

fn leaf_params(names: &[String], now: Time) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Veriboot service");
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, LEAF_DAYS);
    Ok(params)
}

/// From the day before (clocks of guests may be behind) for so many days.
fn validity(params: &mut CertificateParams, now: Time, days: i64) {
    let day = |t: Time| {
        let (year, month, day) = year_month_day(t);
        rcgen::date_time_ymd(year, month, day)
    };
    params.not_before = day(now.plus_s(-DAY_S));
    params.not_after = day(now.plus_s(days * DAY_S));
}

fn year_month_day(time: Time) -> (i32, u8, u8) {
    let date = jiff::Timestamp::from_millisecond(time.unix_ms())
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let small = |n: i8| u8::try_from(n).unwrap_or(1);
    (i32::from(date.year()), small(date.month()), small(date.day()))
}

/// What is read back from a certificate.
struct LeafFacts {
    spki: Vec<u8>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    names: Vec<String>,
    not_before: Time,
    not_after: Time,
}

impl LeafFacts {
    fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let fault = |e: x509_cert::der::Error| format!("not a certificate: {e}");
        let certificate = x509_cert::Certificate::from_der(der).map_err(fault)?;
        let tbs = certificate.tbs_certificate();
        let at = |t: &x509_cert::time::Time| {
            Time::from_unix_ms(i64::try_from(t.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
        };
        let mut names = Vec::new();
        let san = tbs.get_extension::<x509_cert::ext::pkix::SubjectAltName>().map_err(|e| e.to_string())?;
        for name in san.into_iter().flat_map(|(_, san)| san.0) {
            match name {
                x509_cert::ext::pkix::name::GeneralName::DnsName(n) => names.push(n.to_string()),
                x509_cert::ext::pkix::name::GeneralName::IpAddress(ip) => {
                    let bytes = ip.as_bytes();
                    names.extend(<[u8; 4]>::try_from(bytes).ok().map(|b| IpAddr::from(b).to_string()));
                    names.extend(<[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::from(b).to_string()));
                }
                _ => {}
            }
        }
        Ok(Self {
            spki: tbs.subject_public_key_info().to_der().map_err(fault)?,
            subject: tbs.subject().to_der().map_err(fault)?,
            issuer: tbs.issuer().to_der().map_err(fault)?,
            names: sorted(&names),
            not_before: at(&tbs.validity().not_before),
            not_after: at(&tbs.validity().not_after),
        })
    }
}

/// Where the CA's certificate is, for people who want to copy it.
pub fn ca_path(config: &Config) -> PathBuf {
    match &config.tls.ca {
        Some(path) if config.tls.cert.is_some() => path.clone(),
        _ => config.data_dir.join("ca.pem"),
    }
}

#[cfg(test)]
mod tests;
