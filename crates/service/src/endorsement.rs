//! Whether the endorsement certificate of a VM's TPM leads to a root that the operator trusts.
//!
//! The path is verified once for each certificate and set of roots, and then once a day; in between, the VM's record says
//! what came of it. Only a certificate that was believed and is not any more fails an attestation: most vTPMs have none,
//! and identity that rests on first use is a matter of posture.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};
use veriboot_store::vms::{Endorsement, VmRow};
use veriboot_tpm::chain::{Anchors, ChainError, Expiry, Policy, Purpose, Warning, verify_chain};
use veriboot_tpm::{Certificate, RevocationList};
use veriboot_wire::{FactState, Time};

use crate::StartError;
use crate::config::{EndorsementConfig, Expired};

/// Changes with how a path is judged, so that a new release judges all again.
const VERSION: &[u8] = b"1";
/// Bytes of a file with certificates or revocation lists.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Milliseconds after which a path is verified again: certificates expire.
const MAX_AGE_MS: i64 = 86_400 * 1000;

/// What the operator trusts.
#[derive(Debug)]
pub(crate) struct EndorsementTrust {
    anchors: Anchors,
    expired: Expired,
    /// Digest over all of it, 16 hex digits.
    id: String,
}

impl EndorsementTrust {
    /// Reads the files.
    ///
    /// # Errors
    /// [`StartError::EndorsementTrust`].
    pub(crate) fn read(config: &EndorsementConfig, now: Time) -> Result<Self, StartError> {
        let mut hash = Context::new(&SHA256);
        hash.update(VERSION);
        hash.update(match config.expired {
            Expired::Accept => b"accept",
            Expired::Refuse => b"refuse",
        });
        let mut anchors = Anchors::default();
        let unusable = |setting, path: &Path, reason| StartError::EndorsementTrust {
            setting,
            path: path.to_owned(),
            reason,
        };
        let mut texts = Vec::with_capacity(config.roots.len());
        for path in &config.roots {
            let unusable = |reason: String| unusable("endorsement.roots", path, reason);
            let bytes = content(path).map_err(unusable)?;
            let more = Anchors::from_pem_or_der(&bytes).map_err(|e| unusable(e.to_string()))?;
            if more.is_empty() {
                return Err(unusable("it holds no CERTIFICATE".to_owned()));
            }
            hash.update(digest(&SHA256, &bytes).as_ref());
            anchors.extend(more);
            if bytes.first() != Some(&0x30) {
                texts.push((path, bytes));
            }
        }
        // Lists that stand between the certificates count as well, whichever file their issuer stands in.
        for (path, text) in texts {
            anchors.revoke(&text).map_err(|e| unusable("endorsement.roots", path, e.to_string()))?;
        }
        hash.update(b"revocation lists");
        if let (Some(path), 0) = (config.roots.first(), anchors.roots()) {
            let reason = "none of the certificates there is a root: each is signed by another one";
            return Err(unusable("endorsement.roots", path, reason.to_owned()));
        }
        for path in &config.revocation_lists {
            let unusable = |reason: String| unusable("endorsement.revocation_lists", path, reason);
            let bytes = content(path).map_err(unusable)?;
            let lists = anchors.revoke(&bytes).map_err(|e| unusable(e.to_string()))?;
            if lists.is_empty() {
                return Err(unusable("it holds no X509 CRL".to_owned()));
            }
            hash.update(digest(&SHA256, &bytes).as_ref());
            lists.iter().for_each(|list| tell(list, path, now));
        }
        let digest = hash.finish();
        let id = hex::encode(digest.as_ref().first_chunk::<8>().copied().unwrap_or_default());
        Ok(Self { anchors, expired: config.expired, id })
    }

    /// What holds for this VM now; `Some` when the record does not say so yet.
    pub(crate) fn news(&self, vm: &VmRow, now: Time) -> Option<Endorsement> {
        let known = vm.endorsement.as_ref().is_some_and(|known| {
            known.trust == self.id && (0..MAX_AGE_MS).contains(&(now.unix_ms() - known.at.unix_ms()))
        });
        (!known).then(|| self.judge(vm.ek_certificate.as_deref(), now))
    }

    /// Whether a certificate that a VM brings when it enrols again takes the place of the one that it has. What was believed, or was
    /// and is not any more, only gives way to another one that is believed: anybody can make one that nobody believes, and so
    /// get rid of one that was revoked.
    pub(crate) fn may_replace(&self, vm: &VmRow, new: &[u8], now: Time) -> bool {
        let known = vm.endorsement.as_ref().map_or(FactState::Unknown, |known| known.state);
        known == FactState::Unknown || self.judge(Some(new), now).state == FactState::Valid
    }

    fn judge(&self, certificate: Option<&[u8]>, now: Time) -> Endorsement {
        let (state, detail) = match certificate {
            None => (FactState::Unknown, None),
            Some(_) if self.anchors.roots() == 0 => {
                (FactState::Unknown, Some("no root is trusted: endorsement.roots is not set".to_owned()))
            }
            Some(der) => self.verified(der, now),
        };
        Endorsement { state, detail, trust: self.id.clone(), at: now }
    }

    fn verified(&self, der: &[u8], now: Time) -> (FactState, Option<String>) {
        let leaf = match Certificate::from_der(der) {
            Ok(leaf) => leaf,
            Err(error) => return (FactState::Unknown, Some(error.to_string())),
        };
        let path = |expiry| {
            let at_unix_s = u64::try_from(now.unix_ms() / 1000).ok();
            let policy = Policy { purpose: Purpose::EndorsementKey, at_unix_s, expiry, allow_sha1: true };
            verify_chain(&leaf, &[], &self.anchors, &policy)
        };
        let wanted = match self.expired {
            Expired::Accept => path(Expiry::Warn),
            Expired::Refuse => path(Expiry::Refuse),
        };
        let error = match wanted {
            Ok(path) => {
                let root = path.subjects.last().map(|root| format!("its certificate leads to {root}"));
                let tolerated = path.warnings.iter().map(ToString::to_string);
                let said: Vec<String> = root.into_iter().chain(tolerated).collect();
                return (FactState::Valid, Some(said.join("; ")));
            }
            Err(error) => error,
        };
        let lost = match &error {
            // The root, or an authority of the operator's files, signed both the certificate and the list.
            ChainError::Revoked(_) => true,
            // Only what leads to a root but for its age was ever believed: others can write any date.
            _ if self.expired == Expired::Refuse => path(Expiry::Warn)
                .is_ok_and(|path| path.warnings.iter().any(|warning| matches!(warning, Warning::Expired(_)))),
            _ => false,
        };
        (if lost { FactState::Invalid } else { FactState::Unknown }, Some(error.to_string()))
    }
}

fn content(path: &PathBuf) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

fn tell(list: &RevocationList, path: &Path, now: Time) {
    let RevocationList { issuer, certificates, next_update_unix_s } = list;
    let path = path.display();
    tracing::info!(%path, issuer, certificates, "revocation list of endorsement certificates read");
    let now_s = u64::try_from(now.unix_ms() / 1000).unwrap_or_default();
    if next_update_unix_s.is_some_and(|next| next < now_s) {
        tracing::warn!(%path, issuer, "this revocation list is old: its issuer has made a newer one since");
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
        ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
    };

    use super::*;

    fn now() -> Time {
        Time::from_unix_ms(1_790_000_000_000)
    }

    struct Made {
        params: CertificateParams,
        key: KeyPair,
        der: Vec<u8>,
    }

    fn make(name: &str, until: i32, issuer: Option<&Made>) -> Made {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        match name {
            "ek" => {
                let purpose = ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1]);
                params.extended_key_usages = vec![purpose];
            }
            _ => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            }
        }
        let key = KeyPair::generate().unwrap();
        let made = match issuer {
            Some(issuer) => {
                params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)).unwrap()
            }
            None => params.self_signed(&key).unwrap(),
        };
        Made { der: made.der().to_vec(), params, key }
    }

    fn list(issuer: &Made) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2025, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&issuer.params, &issuer.key)).unwrap().der().to_vec()
    }

    fn trust(roots: &[&[u8]], lists: &[&[u8]], expired: Expired) -> Result<EndorsementTrust, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let write = |kind: &str, all: &[&[u8]]| -> Vec<PathBuf> {
            let path = |n: usize| folder.path().join(format!("{kind}{n}"));
            all.iter().enumerate().for_each(|(n, bytes)| std::fs::write(path(n), bytes).unwrap());
            (0..all.len()).map(path).collect()
        };
        let config = EndorsementConfig {
            roots: write("root", roots),
            revocation_lists: write("list", lists),
            expired,
        };
        EndorsementTrust::read(&config, now())
    }

    #[test]
    fn expired_certificates_are_a_setting() {
        let root = make("Maker", 2040, None);
        let (old, new) = (make("ek", 2021, Some(&root)), make("ek", 2039, Some(&root)));
        let [accept, refuse] =
            [Expired::Accept, Expired::Refuse].map(|expired| trust(&[&root.der], &[], expired).unwrap());
        let state = |trust: &EndorsementTrust, made: &Made| trust.judge(Some(&made.der), now()).state;
        assert_eq!(state(&accept, &new), FactState::Valid);
        assert_eq!(state(&refuse, &new), FactState::Valid);
        assert_eq!(state(&accept, &old), FactState::Valid);
        assert_eq!(
            accept.judge(Some(&old.der), now()).detail.unwrap(),
            "its certificate leads to CN=Maker; the certificate of CN=ek has expired"
        );
        assert_eq!(state(&refuse, &old), FactState::Invalid);
        assert_eq!(
            refuse.judge(Some(&old.der), now()).detail.unwrap(),
            "the certificate of CN=ek has expired"
        );
        // Expired, and of nobody: nothing was lost.
        let forged = make("ek", 2021, Some(&make("Maker", 2040, None)));
        assert_eq!(state(&refuse, &forged), FactState::Unknown);
        assert_eq!(refuse.judge(None, now()).state, FactState::Unknown);
        assert_eq!(refuse.judge(Some(b"\x30\x03junk"), now()).state, FactState::Unknown);
        assert!(accept.id != refuse.id);
    }

    #[test]
    fn an_authority_that_was_renewed_is_taken_whichever_stands_first() {
        let root = make("Maker", 2040, None);
        let old = make("Between", 2021, Some(&root));
        // The same name and key, with a longer life.
        let mut params = old.params.clone();
        params.not_after = rcgen::date_time_ymd(2039, 1, 1);
        let renewed = params.signed_by(&old.key, &Issuer::from_params(&root.params, &root.key)).unwrap();
        let ek = make("ek", 2039, Some(&old));
        for roots in
            [[&root.der, &old.der, renewed.der().as_ref()], [&root.der, renewed.der().as_ref(), &old.der]]
        {
            let trust = trust(&roots, &[], Expired::Refuse).unwrap();
            assert_eq!(trust.judge(Some(&ek.der), now()).state, FactState::Valid);
        }
        let expired = trust(&[&root.der, &old.der], &[], Expired::Refuse).unwrap();
        assert_eq!(expired.judge(Some(&ek.der), now()).state, FactState::Invalid);
        // Lists count in whichever of the two settings they stand.
        let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let both = pem("CERTIFICATE", &root.der) + &pem("X509 CRL", &list(&root));
        assert!(trust(&[both.as_bytes()], &[], Expired::Accept).is_ok());
        let strange = pem("CERTIFICATE", &root.der) + &pem("X509 CRL", &list(&old));
        assert!(trust(&[strange.as_bytes()], &[], Expired::Accept).is_err());
    }

    #[test]
    fn only_what_is_believed_takes_the_place_of_what_was() {
        let (root, own) = (make("Maker", 2040, None), make("Own", 2040, None));
        let (ek, by_own) = (make("ek", 2039, Some(&root)), make("ek", 2039, Some(&own)));
        let trust = trust(&[&root.der], &[], Expired::Accept).unwrap();
        let mut vm = VmRow::enrolling("id".into(), now());
        for (state, own_may) in
            [(FactState::Unknown, true), (FactState::Valid, false), (FactState::Invalid, false)]
        {
            vm.endorsement = Some(Endorsement { state, detail: None, trust: String::new(), at: now() });
            assert_eq!(trust.may_replace(&vm, &by_own.der, now()), own_may, "{state}");
            assert!(trust.may_replace(&vm, &ek.der, now()));
        }
    }

    #[test]
    fn what_is_known_holds_for_a_day_and_for_what_was_trusted() {
        let root = make("Maker", 2040, None);
        let ek = make("ek", 2039, Some(&root));
        let [with, without] =
            [vec![root.der.as_slice()], vec![]].map(|roots| trust(&roots, &[], Expired::Accept).unwrap());
        let mut vm = VmRow { ek_certificate: Some(ek.der), ..VmRow::enrolling("id".into(), now()) };
        vm.endorsement = with.news(&vm, now());
        assert_eq!(vm.endorsement.as_ref().unwrap().state, FactState::Valid);
        assert_eq!(with.news(&vm, now().plus_s(86_399)), None);
        assert!(with.news(&vm, now().plus_s(86_400)).is_some());
        // A clock that was set back.
        assert!(with.news(&vm, now().plus_s(-1)).is_some());
        assert_eq!(without.news(&vm, now()).unwrap().state, FactState::Unknown);
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let root = make("Maker", 2040, None);
        let between = make("Between", 2040, Some(&root));
        let refused = |roots: &[&[u8]], lists: &[&[u8]]| {
            let error = trust(roots, lists, Expired::Accept).unwrap_err();
            assert_eq!(error.code(), "endorsement-trust-unusable");
            error.to_string()
        };
        assert!(refused(&[b"nothing"], &[]).ends_with("it holds no CERTIFICATE"));
        assert!(refused(&[b"\x30\x00"], &[]).contains("endorsement.roots"));
        assert!(refused(&[&between.der], &[]).contains("none of the certificates there is a root"));
        assert!(refused(&[&root.der], &[b"nothing"]).ends_with("it holds no X509 CRL"));
        let strange = list(&make("Maker", 2040, None));
        assert!(refused(&[&root.der], &[&strange]).contains("signed by none of the trusted certificates"));
        assert!(trust(&[&root.der, &between.der], &[&list(&root), &list(&between)], Expired::Accept).is_ok());
        let missing = EndorsementConfig { roots: vec!["/nowhere".into()], ..EndorsementConfig::default() };
        assert!(EndorsementTrust::read(&missing, now()).unwrap_err().to_string().contains("/nowhere"));
    }
}
