//! Whose certificates a target's server may have: those of its own CA, or those that the system trusts.

use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::tell::SendError;

/// Certificates in one `ca`.
const MAX_CERTIFICATES: usize = 64;

static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// The certificates of a PEM text, or those that the system trusts. All of them can be used as roots.
pub(super) fn roots(ca: Option<&str>) -> Result<Vec<CertificateDer<'static>>, SendError> {
    match ca {
        Some(pem) => from_pem(pem).map_err(SendError::failed),
        None => Ok(SYSTEM.get_or_init(system).clone()),
    }
}

fn system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!(errors = ?found.errors, "the system trusts no certificates: targets with TLS need their own ca");
    }
    found.certs.into_iter().filter(usable).collect()
}

fn usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

/// The certificates of a PEM text.
pub(super) fn from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(MAX_CERTIFICATES + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| "ca is not PEM".to_owned())?;
    if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
        return Err(format!("ca must hold 1 to {MAX_CERTIFICATES} certificates in PEM"));
    }
    if !certificates.iter().all(usable) {
        return Err("ca holds a certificate that cannot be read".to_owned());
    }
    Ok(certificates)
}

/// The same as a store of rustls.
pub(super) fn store(ca: Option<&str>) -> Result<RootCertStore, SendError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots(ca)?);
    Ok(store)
}
