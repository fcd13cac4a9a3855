//! The parts of the configuration, and their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the service reads into its inventory by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InventoryConfig {
    /// `NAME=PATH` or `NAME=FORMAT:PATH`: a file, or a folder of files.
    pub sources: Vec<String>,
    /// Seconds between two looks at a source.
    pub interval_s: u32,
}

impl Default for InventoryConfig {
    fn default() -> Self {
        Self { sources: Vec::new(), interval_s: 300 }
    }
}

/// Server certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file: certificate, then its chain. A self-made CA is used when absent.
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert`.
    pub key: Option<PathBuf>,
    /// PEM file: the CA of `cert` that agents shall trust; the system's roots when absent.
    pub ca: Option<PathBuf>,
    /// Host names and IP addresses that the self-made certificate is for, beside those the service finds.
    pub names: Vec<String>,
}

/// What the log looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Text or JSON lines.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing`: `info`, `veriboot_service=debug,info`.
    pub level: String,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// OTLP over HTTP: `http://HOST:4318`. No traces when absent.
    pub otlp_endpoint: Option<String>,
    /// One request in so many is traced.
    pub one_in: u32,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, one_in: 1 }
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What shows that a TPM is genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndorsementConfig {
    /// PEM or DER files: roots of endorsement certificates, and authorities between them and the certificates.
    pub roots: Vec<PathBuf>,
    /// PEM or DER files: revocation lists of these authorities.
    pub revocation_lists: Vec<PathBuf>,
    /// What becomes of certificates whose validity is over.
    pub expired: Expired,
}

/// What becomes of endorsement certificates whose validity is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expired {
    /// They count: TPMs outlive their certificates.
    #[default]
    Accept,
    /// They do not, and the VM is unhealthy.
    Refuse,
}

/// The life of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Seconds after it was resolved in which an alert comes back as the same one.
    pub reopen_window_s: u32,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self { reopen_window_s: 7 * 86_400 }
    }
}

/// Events and who is told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationConfig {
    /// Folder of the files that targets of kind `ocsf` append to; `DATA_DIR/export` when absent.
    pub export_dir: Option<PathBuf>,
    /// Seconds after which telling an event is given up.
    pub give_up_s: u32,
    /// Seconds that events, and deliveries that were given up, are kept.
    pub retention_s: u32,
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self { export_dir: None, give_up_s: 86_400, retention_s: 30 * 86_400 }
    }
}

/// What evidence is held against beside baselines, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostureConfig {
    /// Date of the revision that dbx is at least on x86-64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_revision: Option<String>,
    /// Entries that dbx has at least on AArch64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbx_entries_aarch64: Option<u32>,
    /// The SBAT level that shim applies at least, ten digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbat_level: Option<u64>,
    /// Version that agents have at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Days before the end of a certificate from which on it counts as about to end.
    pub ca_warning_days: u32,
    /// Seconds between two sweeps over all resources.
    pub sweep_interval_s: u32,
}

impl Default for PostureConfig {
    fn default() -> Self {
        Self {
            dbx_revision: None,
            dbx_entries_aarch64: None,
            sbat_level: None,
            agent_version: None,
            ca_warning_days: 365,
            sweep_interval_s: 3600,
        }
    }
}

/// Signed results of attestations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// `aud` of the results.
    pub audience: String,
    /// Seconds that a result is valid, counted from its attestation; 2 × interval + 60 when absent.
    pub lifetime_s: Option<u32>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self { audience: "veriboot".to_owned(), lifetime_s: None }
    }
}

/// Limits against overload and abuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time; more are closed at once.
    pub connections: u32,
    /// Requests in flight at the same time; more are answered 503 with Retry-After.
    pub requests: u32,
    /// Seconds for the TLS handshake and for a request's headers, also the longest idle time of a connection.
    pub header_timeout_s: u32,
    /// Seconds for a whole request, its body included.
    pub request_timeout_s: u32,
    /// Seconds that requests in flight get to finish when the service is stopped.
    pub stop_timeout_s: u32,
    /// Reports (evidence, faults) that one VM may send at once after a rest.
    pub evidence_burst: u32,
    /// Seconds after which a VM that used up its burst may send one more report.
    pub evidence_refill_s: u32,
    /// MiB of evidence that are taken in at the same time, counted for bodies above 64 KiB.
    pub evidence_mib: u32,
    /// Streams of events that one API token may have open on one replica.
    pub streams_per_token: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            requests: 1024,
            header_timeout_s: 20,
            request_timeout_s: 60,
            stop_timeout_s: 20,
            evidence_burst: 60,
            evidence_refill_s: 10,
            evidence_mib: 128,
            streams_per_token: 32,
        }
    }
}
