//! Attestation results that others can check: an EAR (draft-ietf-rats-ear) in a JWT, signed with ES256.
//!
//! A token is made for a healthy appraisal and for nothing else. Many relying parties of OpenID Connect look
//! at issuer, audience, subject and signature only; a signed token that says "contraindicated" would let an
//! unhealthy VM in there. docs/tokens.md describes every claim.

mod routes;
mod signer;

use std::collections::BTreeMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use veriboot_wire::{FactState, Facts, Finding, Time, Verdict};

pub(crate) use routes::routes;
pub use signer::{RotateError, Signer, published};

/// `eat_profile` of an EAR (draft-ietf-rats-ear section 3).
pub const EAT_PROFILE: &str = "tag:github.com,2023:veraison/ear";
/// The longest that a token may live, seconds.
pub const MAX_LIFETIME_S: u32 = 3600;
/// Name of the only submodule: the boot of the VM as its (v)TPM shows it.
pub const SUBMODULE: &str = "vtpm";

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key in the store is not a P-256 private key in PKCS#8, or making a new one failed.
    #[error("the signing key is not usable")]
    Key,
    /// The claims are not JSON.
    #[error("the claims cannot be written: {0}")]
    Claims(#[from] serde_json::Error),
    /// The crypto library failed.
    #[error("signing failed")]
    Sign,
}

/// Appraisal status (AR4SI tiers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EarStatus {
    /// Nothing is claimed.
    None,
    /// All claims that are made are good.
    Affirming,
    /// Something is not as good as it could be.
    Warning,
    /// Not trustworthy. Never signed by this service.
    Contraindicated,
}

/// AR4SI trustworthiness vector (draft-ietf-rats-ar4si section 2.3): 2..=31 affirming, 32..=95 warning,
/// 96..=127 contraindicated, 0 no claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrustVector {
    /// The attesting environment is the enrolled one.
    pub instance_identity: i8,
    /// Secure Boot.
    pub configuration: i8,
    /// What was loaded during boot.
    pub executables: i8,
    /// Not appraised.
    pub file_system: i8,
    /// The TPM's endorsement.
    pub hardware: i8,
    /// Not appraised.
    pub runtime_opaque: i8,
    /// Not appraised.
    pub storage_opaque: i8,
    /// Not appraised.
    pub sourced_data: i8,
}

impl TrustVector {
    /// The vector that the facts of one appraisal support. Anything that was not shown is a warning or no
    /// claim, never affirming.
    pub fn of(facts: &Facts) -> Self {
        let holds = |fact| fact == FactState::Valid;
        Self {
            // 2: recognised and not known to be compromised. 97: not recognised.
            instance_identity: if holds(facts.quote) && holds(facts.vtpm) { 2 } else { 97 },
            // 2: approved configuration. 32: exposes vulnerabilities.
            configuration: if holds(facts.secure_boot) { 2 } else { 32 },
            // 3: only approved executables were loaded during boot. 33: unrecognised ones.
            executables: if holds(facts.log) && holds(facts.baseline) { 3 } else { 33 },
            // 2: genuine. 96: contraindicated.
            hardware: match facts.endorsement {
                FactState::Valid => 2,
                FactState::Invalid => 96,
                FactState::Unknown | FactState::NotApplicable => 0,
            },
            ..Self::default()
        }
    }

    /// The worst tier among the claims.
    pub fn status(&self) -> EarStatus {
        let tier = |claim: i8| match claim {
            2..=31 => EarStatus::Affirming,
            32..=95 => EarStatus::Warning,
            96..=127 => EarStatus::Contraindicated,
            _ => EarStatus::None,
        };
        [self.instance_identity, self.configuration, self.executables, self.hardware]
            .into_iter()
            .map(tier)
            .max()
            .unwrap_or(EarStatus::None)
    }
}

/// Who appraised (draft-ietf-rats-ear section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifierId {
    /// Who made the verifier.
    pub developer: String,
    /// Name and version of the verifier.
    pub build: String,
}

/// One appraised part of the attester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submodule {
    /// The worst tier of the vector.
    #[serde(rename = "ear.status")]
    pub status: EarStatus,
    /// The claims.
    #[serde(rename = "ear.trustworthiness-vector")]
    pub trust_vector: TrustVector,
    /// Baseline that judged, as `name@version`.
    #[serde(rename = "ear.appraisal-policy-id", default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What Veriboot knows beyond the EAR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VeribootClaims {
    /// Id of the VM; the same as `sub`.
    pub vm_id: String,
    /// Name of the VM.
    pub vm_name: String,
    /// Group of the VM.
    pub group: String,
    /// Scale set of the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// Id of the attested boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The stored attestation; the same as `jti`.
    pub attestation_id: String,
    /// The separate facts.
    pub facts: Facts,
    /// Baseline that judged, as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// Codes of all findings, sorted, each once.
    pub findings: Vec<String>,
}

/// All claims of a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EarClaims {
    /// Public URL of the service; discovery is below it.
    pub iss: String,
    /// Id of the VM.
    pub sub: String,
    /// Who the token is for.
    pub aud: String,
    /// Issue time, seconds since 1970.
    pub iat: i64,
    /// Not valid before, seconds since 1970.
    pub nbf: i64,
    /// Expiry, seconds since 1970.
    pub exp: i64,
    /// Id of the stored attestation.
    pub jti: String,
    /// Always [`EAT_PROFILE`].
    pub eat_profile: String,
    /// Who appraised.
    #[serde(rename = "ear.verifier-id")]
    pub verifier: VerifierId,
    /// One entry, [`SUBMODULE`].
    pub submods: BTreeMap<String, Submodule>,
    /// What Veriboot knows beyond the EAR.
    pub veriboot: VeribootClaims,
}

/// Who issues tokens, for whom and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`: the public URL of the service.
    pub url: String,
    /// `aud`.
    pub audience: String,
    /// Seconds from `iat` to `exp`; at most [`MAX_LIFETIME_S`].
    pub lifetime_s: u32,
}

/// Lifetime when none is configured: two intervals and a minute, so that a VM that attests on time always has
/// a valid token.
pub fn default_lifetime_s(interval_s: u32) -> u32 {
    interval_s.saturating_mul(2).saturating_add(60).min(MAX_LIFETIME_S)
}

/// One appraisal as the token tells it.
#[derive(Clone, Copy, Debug)]
pub struct Appraised<'a> {
    /// The verdict; anything but healthy makes no token.
    pub verdict: Verdict,
    /// When.
    pub at: Time,
    /// Id of the VM.
    pub vm_id: &'a str,
    /// Name of the VM.
    pub vm_name: &'a str,
    /// Group of the VM.
    pub group: &'a str,
    /// Scale set of the VM.
    pub scale_set: Option<&'a str>,
    /// Id of the boot.
    pub boot_id: Option<&'a str>,
    /// Id of the stored attestation.
    pub attestation_id: &'a str,
    /// The separate facts.
    pub facts: &'a Facts,
    /// Baseline as `name@version`.
    pub baseline: Option<&'a str>,
    /// The findings.
    pub findings: &'a [Finding],
}

/// The claims for a healthy appraisal; `None` for any other, and for one whose facts do not support it.
pub fn claims(issuer: &Issuer, appraised: &Appraised<'_>) -> Option<EarClaims> {
    if appraised.verdict != Verdict::Healthy || appraised.findings.iter().any(Finding::fails) {
        return None;
    }
    let trust_vector = TrustVector::of(appraised.facts);
    let status = trust_vector.status();
    if !matches!(status, EarStatus::Affirming | EarStatus::Warning) {
        return None;
    }
    let iat = appraised.at.unix_ms().div_euclid(1000);
    let codes: std::collections::BTreeSet<&str> =
        appraised.findings.iter().map(|f| f.code.as_str()).collect();
    let baseline = appraised.baseline.map(str::to_owned);
    Some(EarClaims {
        iss: issuer.url.clone(),
        sub: appraised.vm_id.to_owned(),
        aud: issuer.audience.clone(),
        iat,
        nbf: iat,
        exp: iat.saturating_add(i64::from(issuer.lifetime_s.min(MAX_LIFETIME_S))),
        jti: appraised.attestation_id.to_owned(),
        eat_profile: EAT_PROFILE.to_owned(),
        verifier: VerifierId {
            developer: "Veriboot".to_owned(),
            build: concat!("veriboot ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        submods: BTreeMap::from([(
            SUBMODULE.to_owned(),
            Submodule { status, trust_vector, policy: baseline.clone() },
        )]),
        veriboot: VeribootClaims {
            vm_id: appraised.vm_id.to_owned(),
            vm_name: appraised.vm_name.to_owned(),
            group: appraised.group.to_owned(),
            scale_set: appraised.scale_set.map(str::to_owned),
            boot_id: appraised.boot_id.map(str::to_owned),
            attestation_id: appraised.attestation_id.to_owned(),
            facts: *appraised.facts,
            baseline,
            findings: codes.into_iter().map(str::to_owned).collect(),
        },
    })
}

/// A public key as relying parties read it (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// x coordinate, base64url.
    pub x: String,
    /// y coordinate, base64url.
    pub y: String,
    /// RFC 7638 thumbprint, SHA-256.
    pub kid: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: String,
    /// `ES256`.
    pub alg: String,
}

/// Every key whose tokens may still be valid (RFC 7517 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JwkSet {
    /// The active key first.
    pub keys: Vec<Jwk>,
}

/// What relying parties look up first (OpenID Connect Discovery section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discovery {
    /// Same as `iss` of the tokens.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// No interactive flow is offered: only `id_token` as a type.
    pub response_types_supported: Vec<String>,
    /// `public`.
    pub subject_types_supported: Vec<String>,
    /// `ES256`.
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// Names of the claims.
    pub claims_supported: Vec<String>,
}

/// The discovery document of this service.
pub fn discovery(public_url: &str) -> Discovery {
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    Discovery {
        issuer: public_url.to_owned(),
        jwks_uri: format!("{}/.well-known/jwks.json", public_url.trim_end_matches('/')),
        response_types_supported: words(&["id_token"]),
        subject_types_supported: words(&["public"]),
        id_token_signing_alg_values_supported: words(&["ES256"]),
        claims_supported: words(&[
            "iss",
            "sub",
            "aud",
            "iat",
            "nbf",
            "exp",
            "jti",
            "eat_profile",
            "ear.verifier-id",
            "submods",
            "veriboot",
        ]),
    }
}

/// A key that signs results.
pub struct SigningKey {
    jwk: Jwk,
    pair: EcdsaKeyPair,
    /// Protected header, base64url, and the dot behind it.
    header: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.jwk.kid)
    }
}

/// A new P-256 private key, PKCS#8 DER.
pub fn generate_pkcs8() -> Result<Vec<u8>, TokenError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map(|document| document.as_ref().to_vec())
        .map_err(|_| TokenError::Key)
}

impl SigningKey {
    /// From PKCS#8 DER.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, TokenError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| TokenError::Key)?;
        let jwk = jwk(pair.public_key().as_ref()).ok_or(TokenError::Key)?;
        // The thumbprint is base64url: nothing in it needs escaping.
        let header = format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{}"}}"#, jwk.kid);
        Ok(Self { header: URL_SAFE_NO_PAD.encode(header) + ".", jwk, pair })
    }

    /// RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// The public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Signs the claims: JWS compact serialisation (RFC 7515 section 3.1) with ES256 (RFC 7518 section 3.4).
    ///
    /// Done here because the parsed key is kept: libraries parse and check it for each token, which takes four
    /// times as long as signing.
    ///
    /// # Errors
    /// [`TokenError`] when the crypto library fails.
    pub fn sign(&self, claims: &EarClaims) -> Result<String, TokenError> {
        let mut token = self.header.clone();
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature =
            self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| TokenError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

/// From an uncompressed point, 0x04 ‖ x ‖ y (SEC 1 section 2.3.3).
fn jwk(point: &[u8]) -> Option<Jwk> {
    let (prefix, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at_checked(32)?;
    if *prefix != 4 || y.len() != 32 {
        return None;
    }
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    // RFC 7638 section 3.2: required members only, in lexicographic order, no white space.
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    Some(Jwk {
        kty: "EC".to_owned(),
        crv: "P-256".to_owned(),
        x,
        y,
        kid: URL_SAFE_NO_PAD.encode(thumbprint),
        usage: "sig".to_owned(),
        alg: "ES256".to_owned(),
    })
}

#[cfg(test)]
mod tests;
